from __future__ import annotations

import hashlib
import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pystac.validation import JsonSchemaSTACValidator
from shapely.geometry import box, shape
from value_scenes import sensor_scene, unknown_scene, value_scene

from ship_geo.errors import ArgumentError, OutputError
from ship_geo.products.product import Acquisition
from ship_geo.stac import EXTENSIONS, check_item, item_path, make_item, write_item
from ship_geo.stac.outline import geometry_of

NETWORK = {"model": "ship++ wv", "model_digest": "ab" * 32, "kind": "network", "window": 512, "overlap": 64}
CLASSICAL = {"model": "brovey", "model_digest": "brovey", "kind": "classical", "parameters": {"chunks": "auto"}}

# Field names of the extensions in the versions that are declared, from their specifications.
FIELDS = {
    "proj": {"code", "wkt2", "projjson", "geometry", "bbox", "centroid", "shape", "transform"},
    "eo": {"cloud_cover", "common_name", "center_wavelength", "full_width_half_max"},
    "raster": {"sampling", "bits_per_sample", "spatial_resolution", "scale", "offset", "histogram"},
    "view": {"off_nadir", "incidence_angle", "azimuth", "sun_azimuth", "sun_elevation"},
    "processing": {"expression", "lineage", "level", "facility", "software"},
    "file": {"byte_order", "checksum", "header_size", "size", "values", "local_path"},
    "mlm": {"name", "architecture", "tasks", "framework", "pretrained", "input", "output", "hyperparameters",
            "artifact_type"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "out" / "fused.tif"
    path.parent.mkdir()
    path.write_bytes(b"pixels")
    return path


def check_extensions(item: dict[str, Any]) -> None:
    """Every field with a prefix belongs to a declared extension, and every declared extension is used."""
    holders = [item["properties"], *item["assets"].values()]
    holders += [band for asset in item["assets"].values() for band in asset.get("bands", [])]
    used = {tuple(key.split(":")) for holder in holders for key in holder if ":" in key}
    assert {prefix for prefix, _ in used} == {
        prefix for prefix, uri in EXTENSIONS.items() if uri in item["stac_extensions"]
    }
    assert not {(prefix, name) for prefix, name in used if name not in FIELDS[prefix]}


def checked(item: pystac.Item) -> dict[str, Any]:
    """Validate against the schemas that pystac brings, and return the Item as JSON holds it."""
    plain = json.loads(json.dumps(item.to_dict(include_self_link=False), allow_nan=False))
    assert JsonSchemaSTACValidator().validate_core(plain, pystac.STACObjectType.ITEM, plain["stac_version"])
    check_extensions(plain)
    assert pystac.Item.from_dict(plain).to_dict(include_self_link=False) == plain
    return plain


def test_item_of_a_known_scene(tmp_path: Path, output: Path) -> None:
    item = checked(make_item(output, value_scene(tmp_path), CLASSICAL))
    assert (item["stac_version"], item["id"]) == ("1.1.0", "fused")
    properties = item["properties"]
    assert properties["datetime"] == "2023-07-05T10:20:30.123456Z"
    assert (properties["platform"], properties["gsd"]) == ("worldview-2", 0.5)
    assert properties["proj:code"] == "EPSG:32633"
    assert properties["proj:shape"] == [40, 48]
    assert properties["proj:transform"] == [0.5, 0, 500000, 0, -0.5, 4640000]
    assert properties["proj:bbox"] == [500000, 4639980, 500024, 4640000]
    assert properties["eo:cloud_cover"] == 12.5
    assert [properties[f"view:{name}"] for name in ("off_nadir", "azimuth", "sun_azimuth", "sun_elevation")] == [
        12.5, 350, 150.5, 60.25,
    ]  # fmt: skip
    assert properties["processing:expression"]["expression"] == {"chunks": "auto"}
    assert "brovey" in properties["processing:lineage"]


def test_asset_of_a_known_scene(tmp_path: Path, output: Path) -> None:
    asset = checked(make_item(output, value_scene(tmp_path), CLASSICAL))["assets"]["data"]
    assert (asset["href"], asset["type"], asset["roles"]) == ("./fused.tif", pystac.MediaType.COG, ["data"])
    assert (asset["data_type"], asset["nodata"], asset["raster:spatial_resolution"]) == ("uint16", 0, 0.5)
    assert asset["file:size"] == 6
    assert asset["file:checksum"] == "1220" + hashlib.sha256(b"pixels").hexdigest()
    assert [band["eo:common_name"] for band in asset["bands"]] == ["blue", "green", "red", "nir"]
    assert asset["bands"][3] == {
        "name": "nir",
        "description": "N",
        "eo:common_name": "nir",
        "eo:center_wavelength": 0.8325,  # 770 to 895 nm
        "eo:full_width_half_max": 0.125,
    }


def test_geometry_lies_where_the_grid_does(tmp_path: Path, output: Path) -> None:
    # Zone 33 has its central meridian at 15 degrees east: easting 500000, whatever the latitude.
    item = checked(make_item(output, value_scene(tmp_path), CLASSICAL))
    west, south, east, north = item["bbox"]
    assert west == pytest.approx(15, abs=1e-6)
    assert (east - west) * 111320 * np.cos(np.radians(north)) == pytest.approx(24, rel=0.01)
    assert (north - south) * 111320 == pytest.approx(20, rel=0.01)
    assert shape(item["geometry"]).bounds == pytest.approx(item["bbox"])
    assert shape(item["geometry"]).exterior.is_ccw


def test_source_files_are_linked_relative_to_the_item(tmp_path: Path, output: Path) -> None:
    item = checked(make_item(output, value_scene(tmp_path), CLASSICAL))
    links = [link for link in item["links"] if link["rel"] == "derived_from"]
    assert [link["href"] for link in links] == ["../in/a_MS.TIF", "../in/a_PAN.TIF"]
    assert {link["rel"] for link in item["links"]} == {"derived_from"}
    assert str(tmp_path) not in json.dumps(item)


def test_sources_of_the_network_are_linked_without_their_query(tmp_path: Path, output: Path) -> None:
    scene = value_scene(tmp_path)
    path = "/vsicurl/https://host/a.tif?sig=secret"
    remote = replace(scene, ms=replace(scene.ms, files=tuple(replace(ref, path=path) for ref in scene.ms.files)))
    item = checked(make_item(output, remote, CLASSICAL))
    assert item["links"][0]["href"] == "https://host/a.tif"
    assert "secret" not in json.dumps(item)


def test_network_is_described_and_a_classical_method_is_not(tmp_path: Path, output: Path) -> None:
    scene = value_scene(tmp_path)
    item = checked(make_item(output, scene, NETWORK))
    properties, model = item["properties"], item["assets"]["model"]
    assert (properties["mlm:name"], properties["mlm:architecture"]) == ("shipplusplus wv", "SHIP++")
    assert properties["mlm:input"][0]["input"]["shape"] == [-1, 4, -1, -1]
    assert properties["mlm:hyperparameters"] == {"window": 512, "overlap": 64}
    assert (model["href"], model["roles"]) == ("urn:sha256:" + "ab" * 32, ["mlm:model", "mlm:weights"])
    classical = checked(make_item(output, scene, CLASSICAL))
    assert list(classical["assets"]) == ["data"]
    assert EXTENSIONS["mlm"] not in classical["stac_extensions"]


def test_sensor_geometry_is_placed_by_its_model(tmp_path: Path, output: Path) -> None:
    item = checked(make_item(output, sensor_scene(tmp_path), CLASSICAL))
    assert item["bbox"] == pytest.approx([14.999, 41.899, 15.001, 41.901], abs=1e-7)
    assert item["properties"]["proj:code"] is None
    assert "proj:transform" not in item["properties"]
    assert item["properties"]["proj:shape"] == [40, 48]


def test_scene_without_a_place_has_no_geometry(tmp_path: Path, output: Path) -> None:
    item = checked(make_item(output, value_scene(tmp_path, crs=None, geometry="pixel"), CLASSICAL))
    assert item["geometry"] is None
    assert "bbox" not in item


def test_crs_without_a_code_is_written_out(tmp_path: Path, output: Path) -> None:
    crs = "+proj=tmerc +lat_0=0 +lon_0=9.5 +k=1 +x_0=500000 +ellps=GRS80 +units=m"
    properties = checked(make_item(output, value_scene(tmp_path, crs=crs), CLASSICAL))["properties"]
    assert "proj:code" not in properties
    assert properties["proj:wkt2"].startswith("PROJCRS")


def test_degrees_are_no_metres(tmp_path: Path, output: Path) -> None:
    scene = value_scene(tmp_path, crs="EPSG:4326", corner=(10, 50))
    item = checked(make_item(output, scene, CLASSICAL))
    assert item["properties"]["gsd"] == 0.46  # the sensor's
    assert "raster:spatial_resolution" not in item["assets"]["data"]


def test_values_of_a_calibrated_output(tmp_path: Path, output: Path) -> None:
    scene = value_scene(tmp_path)
    scaled = replace(scene, ms=replace(scene.ms, scales=(0.1,) * 4, offsets=(0.0,) * 4))
    facts = {**CLASSICAL, "radiometry": "radiance", "dtype": "float32", "nodata": float("nan")}
    asset = checked(make_item(output, scaled, facts))["assets"]["data"]
    assert (asset["data_type"], asset["nodata"], asset["unit"]) == ("float32", "nan", "W.m-2.sr-1.um-1")
    assert "raster:scale" not in asset["bands"][0]
    asset = checked(make_item(output, scaled, CLASSICAL))["assets"]["data"]
    assert (asset["bands"][0]["raster:scale"], "raster:offset" in asset["bands"][0]) == (0.1, False)


def test_time_is_needed_and_may_be_given(tmp_path: Path, output: Path) -> None:
    scene = unknown_scene(tmp_path)
    with pytest.raises(ArgumentError, match="needs the time of acquisition, got none for a; pass it with `time=`"):
        make_item(output, scene, CLASSICAL)
    properties = checked(make_item(output, scene, CLASSICAL, time="2024-05-01T12:00:00+02:00"))["properties"]
    assert properties["datetime"] == "2024-05-01T10:00:00Z"
    assert set(properties) & {"platform", "gsd", "eo:cloud_cover", "view:azimuth"} == {"gsd"}


def test_day_becomes_a_span(tmp_path: Path, output: Path) -> None:
    scene = replace(value_scene(tmp_path), acquisition=Acquisition(time="2024-02-29"))
    properties = checked(make_item(output, scene, CLASSICAL))["properties"]
    assert properties["datetime"] is None
    assert properties["start_datetime"] == "2024-02-29T00:00:00Z"
    assert properties["end_datetime"] == "2024-02-29T23:59:59.999000Z"


@pytest.mark.parametrize("text", ["05/01/2024", "2024-13-01", "T"])
def test_time_that_is_none_is_refused(tmp_path: Path, output: Path, text: str) -> None:
    with pytest.raises(ArgumentError, match=r"must be ISO 8601, got '.*'; write it like"):
        make_item(output, value_scene(tmp_path), CLASSICAL, time=text)


def test_missing_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"must exist, got .*none\.tif \(No such file or directory\); write it first"):
        make_item(tmp_path / "none.tif", value_scene(tmp_path), CLASSICAL)


def test_item_is_written_beside_the_output(tmp_path: Path, output: Path) -> None:
    path = write_item(output, value_scene(tmp_path), NETWORK)
    assert path == item_path(output) == output.parent / "fused.json"
    assert sorted(file.name for file in output.parent.iterdir()) == ["fused.json", "fused.tif"]
    read = pystac.Item.from_file(str(path))
    assert read.assets["data"].get_absolute_href() == str(output)
    assert json.loads(path.read_text())["assets"]["data"]["href"] == "./fused.tif"


def test_existing_item_is_replaced_only_when_asked_for(tmp_path: Path, output: Path) -> None:
    scene = value_scene(tmp_path)
    item_path(output).write_text("old")
    with pytest.raises(OutputError, match=r"must not exist, got .*fused\.json"):
        check_item(output, scene)
    with pytest.raises(OutputError, match=r"must not exist, got .*fused\.json"):
        write_item(output, scene, CLASSICAL)
    assert item_path(output).read_text() == "old"
    write_item(output, scene, CLASSICAL, overwrite=True)
    assert json.loads(item_path(output).read_text())["id"] == "fused"


def test_output_named_like_its_item_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"named like it with \.json, got the output .*; name it \.tif"):
        check_item(tmp_path / "fused.json", value_scene(tmp_path))


def test_item_across_the_antimeridian_is_cut(tmp_path: Path, output: Path) -> None:
    # Zone 60 ends at 180 degrees east, near easting 833978 on the equator.
    scene = value_scene(tmp_path, crs="EPSG:32660", corner=(833968, 10))
    item = checked(make_item(output, scene, CLASSICAL))
    assert item["geometry"]["type"] == "MultiPolygon"
    west, _, east, _ = item["bbox"]
    assert 179.999 < west < 180
    assert -180 < east < -179.999


@given(west=st.floats(-180, 179.99), width=st.floats(0.01, 90), south=st.floats(-80, 70), height=st.floats(0.01, 10))
def test_outline_covers_the_same_ground(west: float, width: float, south: float, height: float) -> None:
    east, north = west + width, south + height
    ring = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    geometry, bbox = geometry_of([((lon + 180) % 360 - 180, lat) for lon, lat in ring])
    made = shape(geometry)
    assert made.is_valid
    assert made.area == pytest.approx(width * height, rel=1e-3, abs=1e-5)
    assert -180 <= made.bounds[0] <= made.bounds[2] <= 180
    inside = bbox[0] <= bbox[2]
    spans = [box(*bbox)] if inside else [box(bbox[0], bbox[1], 180, bbox[3]), box(-180, bbox[1], bbox[2], bbox[3])]
    assert sum(span.area for span in spans) == pytest.approx(made.area, rel=1e-3, abs=1e-5)


def test_outline_around_a_pole_reaches_it() -> None:
    ring = [(lon, 85.0) for lon in (0, 90, 180, -90, 0)]
    geometry, bbox = geometry_of(ring)
    assert bbox == [-180, 85, 180, 90]
    assert shape(geometry).bounds == (-180, 85, 180, 90)
