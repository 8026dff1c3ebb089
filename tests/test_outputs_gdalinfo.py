"""Outputs as other programs see them: rio-cogeo's validator, and a ``gdalinfo`` that is not rasterio's GDAL."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate
from value_scenes import sensor_scene, value_scene

from ship_geo.grids import Grid
from ship_geo.products.layers import Layer
from ship_geo.provenance import TAGS, tags_of
from ship_geo.writer import GeoTiffWriter, OutputProfile

SHAPE = (1100, 1300)
FACTS = {
    "model": "ship++",
    "model_digest": "ab" * 32,
    "parameters": {"chunks": "auto", "note": "<高 & 'b'>"},
    "shift": {"row": 0.25, "col": -0.5},
}


@dataclass(frozen=True)
class Output:
    """A written output and what it was made of."""

    path: Path
    profile: OutputProfile
    values: np.ndarray
    valid: np.ndarray


def enlarged(layer: Layer, ratio: int) -> Layer:
    n_row, n_col = SHAPE[0] // ratio, SHAPE[1] // ratio
    return replace(layer, grid=Grid((n_row, n_col), layer.grid.transform, layer.grid.crs))


def write(folder: Path, geometry: str, **changes: Any) -> Output:
    """An output of 1100 x 1300 pixels in four bands, a tenth of them invalid."""
    scene = (sensor_scene if geometry == "sensor" else value_scene)(folder)
    scene = replace(scene, ms=enlarged(scene.ms, 4), pan=enlarged(scene.pan, 1))
    profile = replace(OutputProfile.from_scene(scene, tags_of(scene, FACTS)), **changes)
    rng = np.random.default_rng(5)
    values = rng.integers(1, 20, (4, *SHAPE)).astype(np.uint16)
    valid = np.ones(SHAPE, bool)
    valid[:110] = False
    path = folder / "fused.tif"
    with GeoTiffWriter(path, profile) as writer:
        writer.write(values, 0, 0, valid)
        writer.finish()
    return Output(path, profile, values, valid)


@pytest.fixture(scope="module", params=["map", "mask", "sensor", "zstd"])
def output(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Output:
    folder = tmp_path_factory.mktemp(request.param)
    changes: Mapping[str, Any] = {"mask": {"nodata": None}, "zstd": {"compress": "zstd"}}.get(request.param, {})
    return write(folder, request.param, **changes)


@pytest.fixture(scope="module")
def info(output: Output) -> dict[str, Any]:
    program = shutil.which("gdalinfo")
    if program is None:
        pytest.skip("the program gdalinfo is not installed (package gdal-bin)")
    done = subprocess.run(
        [program, "-json", "-mdd", "all", str(output.path)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_file_is_a_valid_cog_alone(output: Output) -> None:
    is_valid, errors, warnings = cog_validate(output.path, strict=True)
    assert (is_valid, errors, warnings) == (True, [], [])
    assert [path.name for path in output.path.parent.iterdir()] == ["fused.tif"]


def test_share_of_valid_pixels_survives(output: Output) -> None:
    with rasterio.open(output.path) as made:
        assert (made.dataset_mask() > 0).mean() == output.valid.mean() == 0.9
        assert np.array_equal(made.read()[:, output.valid], output.values[:, output.valid])
    with rasterio.open(output.path, overview_level=0) as half:
        assert (half.dataset_mask() > 0).mean() == pytest.approx(0.9)


def test_gdalinfo_sees_bands_overviews_and_mask(output: Output, info: dict[str, Any]) -> None:
    bands = info["bands"]
    assert info["size"] == [1300, 1100]
    assert [band.get("description") for band in bands] == ["blue", "green", "red", "N"]
    assert [band["colorInterpretation"] for band in bands][:3] == ["Blue", "Green", "Red"]
    assert bands[3]["colorInterpretation"] in ("NIR", "Undefined")  # GDAL before 3.10 has no NIR
    assert [[level["size"] for level in band["overviews"]] for band in bands] == [[[650, 550], [325, 275]]] * 4
    assert bands[0]["block"] == [512, 512]
    if output.profile.nodata is None:
        assert "noDataValue" not in bands[0]
        assert bands[0]["mask"]["flags"] == ["PER_DATASET"]
        assert [level["size"] for level in bands[0]["mask"]["overviews"]] == [[650, 550], [325, 275]]
    else:
        assert [band["noDataValue"] for band in bands] == [0] * 4


def test_gdalinfo_sees_every_tag(output: Output, info: dict[str, Any]) -> None:
    seen = info["metadata"][""]
    expected = dict(output.profile.tags)
    assert set(expected) == set(TAGS)
    assert {key: seen.get(key) for key in expected} == expected
    assert set(seen) - set(expected) <= {"AREA_OR_POINT"}
    assert json.loads(seen["SHIP_GEO_PARAMETERS"]) == FACTS["parameters"]
    structure = info["metadata"]["IMAGE_STRUCTURE"]
    assert structure["LAYOUT"] == "COG"
    assert structure["COMPRESSION"] == output.profile.compress.upper()


def test_gdalinfo_sees_wavelengths(info: dict[str, Any]) -> None:
    assert info["bands"][3]["metadata"]["IMAGERY"] == {"CENTRAL_WAVELENGTH_UM": "0.8325", "FWHM_UM": "0.125"}


def test_gdalinfo_sees_either_map_or_model(output: Output, info: dict[str, Any]) -> None:
    rpc = output.profile.rpc
    if rpc is None:
        assert info["geoTransform"] == [500000, 0.5, 0, 4640000, 0, -0.5]
        assert "WGS 84 / UTM zone 33N" in info["coordinateSystem"]["wkt"]
        assert "RPC" not in info["metadata"]
        return
    assert "geoTransform" not in info
    assert not info.get("coordinateSystem", {}).get("wkt")
    seen = info["metadata"]["RPC"]
    for name, text in rpc.to_tags().items():
        assert [float(part) for part in seen[name].split()] == pytest.approx([float(part) for part in text.split()])


@pytest.mark.parametrize("output", ["sensor"], indirect=True)
def test_model_places_pixels_where_it_says(output: Output) -> None:
    program, rpc = shutil.which("gdaltransform"), output.profile.rpc
    if program is None:
        pytest.skip("the program gdaltransform is not installed (package gdal-bin)")
    assert rpc is not None
    command = [program, "-rpc", "-to", "RPC_HEIGHT=100", str(output.path)]
    done = subprocess.run(command, input="12.5 30.5\n", capture_output=True, text=True, check=True)
    lon, lat = (float(part) for part in done.stdout.split()[:2])
    expected = rpc.locate(30.5, 12.5, 100.0)
    assert (lon, lat) == pytest.approx((float(expected[0]), float(expected[1])), abs=1e-9)
