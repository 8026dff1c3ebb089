"""Choosing scenes of an index: what they tell decides, and what they do not tell passes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
from shapely import MultiPolygon, Point, box

from ship_geo.catalog import SceneFilter, parse_moment, read_area, read_catalog
from ship_geo.errors import ArgumentError, ProductError

SCENE = {
    "sensor": "WorldView-2",
    "time": pd.Timestamp("2020-05-17T10:00:00Z"),
    "cloud": 0.2,
    "geometry": box(15, 41, 16, 42),
}
UNKNOWN = {"sensor": "", "time": pd.NaT, "cloud": float("nan"), "geometry": None}


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({}, ""),
        ({"aoi": Point(15.5, 41.5)}, ""),
        ({"aoi": Point(17, 41.5)}, "aoi"),
        ({"sensors": ("wv02",)}, ""),
        ({"sensors": ("WV3", "LANDSAT_8")}, "sensor"),
        ({"start": parse_moment("2020-05-17")}, ""),
        ({"start": parse_moment("2020-05-17T10:00:01Z")}, "time"),
        ({"end": parse_moment("2020-05-17", is_end=True)}, ""),
        ({"end": parse_moment("2020-05-17T12:00:00+02:00")}, ""),
        ({"end": parse_moment("2020-05-16", is_end=True)}, "time"),
        ({"max_cloud": 0.2}, ""),
        ({"max_cloud": 0.19}, "cloud"),
        ({"max_cloud": 0.0, "aoi": Point(0, 0)}, "aoi"),
    ],
)
def test_filter_names_what_a_scene_does_not_pass(wanted: dict[str, Any], reason: str) -> None:
    assert SceneFilter(**wanted).refuses(SCENE) == reason
    assert SceneFilter(**wanted).refuses(UNKNOWN) == next((name for key, name in NAMES.items() if key in wanted), "")
    assert SceneFilter(**wanted, keep_unknown=True).refuses(UNKNOWN) == ""


NAMES = {"aoi": "aoi", "sensors": "sensor", "start": "time", "end": "time", "max_cloud": "cloud"}


def test_footprint_across_the_antimeridian_is_found_on_both_sides() -> None:
    scene = SCENE | {"geometry": MultiPolygon([box(179, 0, 180, 1), box(-180, 0, -179, 1)])}
    for lon in (179.5, -179.5):
        assert SceneFilter(aoi=Point(lon, 0.5)).refuses(scene) == ""
    assert SceneFilter(aoi=Point(0, 0.5)).refuses(scene) == "aoi"


def test_date_alone_is_a_whole_day() -> None:
    start, end = parse_moment("2020-02-29"), parse_moment("2020-02-29", is_end=True)
    assert (end - start).total_seconds() == pytest.approx(86400)
    assert start.isoformat() == "2020-02-29T00:00:00+00:00"
    assert parse_moment("2020-02-29T06:00:00", is_end=True).hour == 6


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"sensors": ("Sputnik",)}, "sensor must be one of"),
        ({"max_cloud": 20}, "the most cloud lies between 0 and 1, got 20"),
        ({"start": parse_moment("2021-01-01"), "end": parse_moment("2020-01-01")}, "must not come after the last"),
    ],
)
def test_filter_that_means_nothing_is_refused(wanted: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        SceneFilter(**wanted)


@pytest.mark.parametrize("name", ["aoi.gpkg", "aoi.geojson", "aoi.shp", "aoi.parquet"])
def test_area_is_the_union_of_a_file_in_any_crs(tmp_path: Path, name: str) -> None:
    crs = "EPSG:4326" if name.endswith("geojson") else "EPSG:32633"
    areas = (
        gpd.GeoSeries([box(15, 41, 15.5, 42), box(15.4, 41, 16, 42)], crs="EPSG:4326").to_crs(crs).to_frame("geometry")
    )
    path = tmp_path / name
    areas.to_parquet(path) if name.endswith("parquet") else areas.to_file(path)
    area = read_area(path)
    assert area.bounds == pytest.approx((15, 41, 16, 42), abs=0.02)
    assert area.contains(Point(15.45, 41.5))


def test_area_without_crs_or_geometry_is_refused(tmp_path: Path) -> None:
    gpd.GeoSeries([box(0, 0, 1, 1)]).to_frame("geometry").to_parquet(tmp_path / "bare.parquet")
    with pytest.raises(ProductError, match="must have a CRS, got none"):
        read_area(tmp_path / "bare.parquet")
    gpd.GeoSeries([None], crs=4326).to_frame("geometry").to_parquet(tmp_path / "none.parquet")
    with pytest.raises(ProductError, match="must hold a geometry, got none"):
        read_area(tmp_path / "none.parquet")
    (tmp_path / "text.gpkg").write_text("no database")
    with pytest.raises(ProductError, match="must be a file that GeoPandas reads"):
        read_area(tmp_path / "text.gpkg")


def test_sources_of_a_table_lie_beside_it_unless_they_say_where(tmp_path: Path) -> None:
    sources = ["a/town_PAN.tif", "/data/b_PAN.tif", "https://example.org/c_PAN.tif"]
    frame = gpd.GeoDataFrame({"name": ["a", "b", "c"], "source": sources}, geometry=[None, None, None], crs=4326)
    frame.to_parquet(tmp_path / "scenes.parquet")
    read = read_catalog(tmp_path / "scenes.parquet")
    assert read.source.tolist() == [str(tmp_path / sources[0]), *sources[1:]]
    frame.drop(columns="source").to_parquet(tmp_path / "short.parquet")
    with pytest.raises(ProductError, match="got none source"):
        read_catalog(tmp_path / "short.parquet")
    pd.DataFrame({"name": ["a"]}).to_parquet(tmp_path / "plain.parquet")
    with pytest.raises(ProductError, match=r"must be a file that GeoPandas reads|plain table"):
        read_catalog(tmp_path / "plain.parquet")
