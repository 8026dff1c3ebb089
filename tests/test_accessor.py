"""The accessor: registered when asked for, cheap, the same as the functions; arrays are judged as their files."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray
import xarray as xr

import ship_geo.accessor
from ship_geo import api
from ship_geo.errors import ArgumentError

ROOT = Path(ship_geo.accessor.__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def pair(write_pair: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """160 x 140 pixels with a hole."""
    folder = tmp_path_factory.mktemp("accessor")
    plain = write_pair(folder / "plain", (160, 140))
    ms = plain.ms_values.copy()
    ms[:, 20:23, 5:9] = 0
    return write_pair(folder, ms=ms, pan=plain.pan_values[0], nodata=0)


@pytest.fixture(scope="module")
def images(pair: Any) -> tuple[xr.DataArray, xr.DataArray]:
    return rioxarray.open_rasterio(pair.ms), rioxarray.open_rasterio(pair.pan)


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout


# Registration -------------------------------------------------------------------------------------------------------


def test_import_of_the_module_registers_and_loads_no_torch() -> None:
    code = (
        "import sys, xarray as xr, ship_geo; print(hasattr(xr.DataArray, 'ship_geo'))\n"
        "import ship_geo.accessor; print(hasattr(xr.DataArray, 'ship_geo'), hasattr(xr.Dataset, 'ship_geo'))\n"
        "print('torch' in sys.modules, 'rasterio' in sys.modules)"
    )
    assert run_python(code).split() == ["False", "True", "True", "False", "False"]


def test_first_use_of_a_function_registers() -> None:
    code = "import xarray as xr, ship_geo; ship_geo.pansharpen; print(hasattr(xr.DataArray, 'ship_geo'))"
    assert run_python(code).split() == ["True"]


# Sharpening ---------------------------------------------------------------------------------------------------------


def test_arguments_are_those_of_the_function() -> None:
    calls = ship_geo.accessor.ShipGeoAccessor.pansharpen, api.pansharpen
    own, function = (inspect.signature(call).parameters for call in calls)
    assert list(own)[1:] == list(function)[1:]
    assert all(own[name].default == function[name].default for name in list(function)[1:])


def test_ms_is_sharpened_as_by_the_function(images: tuple[xr.DataArray, xr.DataArray]) -> None:
    ms, pan = images
    options: Any = {"model": "gsa", "chunks": 64, "bands": ("green", "red", "rededge", "nir")}
    fused = ms.ship_geo.pansharpen(pan, **options)
    assert fused.chunks is not None
    xr.testing.assert_identical(fused.compute(), api.pansharpen(ms, pan, **options).compute())
    assert fused.data.name == ms.ship_geo.pansharpen(pan, **options).data.name


def test_dataset_is_sharpened_and_comes_back(images: tuple[xr.DataArray, xr.DataArray]) -> None:
    ms, pan = images
    bands = xr.Dataset({f"b{number}": ms.sel(band=number, drop=True) for number in (1, 2, 3, 4)})
    fused = bands.ship_geo.pansharpen(pan.to_dataset(name="pan"), model="exp").to_dataset("band")
    assert list(fused) == list(bands)
    np.testing.assert_array_equal(fused.to_dataarray(), api.pansharpen(ms, pan, model="exp"))


# Quality ------------------------------------------------------------------------------------------------------------


def test_quality_of_arrays_is_that_of_their_files(pair: Any, images: tuple[xr.DataArray, xr.DataArray]) -> None:
    ms, pan = images
    fused = ms.ship_geo.pansharpen(pan, model="gsa")
    ref = fused.compute().astype("float32") + 3
    expected = api.quality(fused.compute(), ms=pair.ms, pan=pair.pan)
    assert fused.ship_geo.quality(ms=ms, pan=pan) == pytest.approx(expected)
    assert fused.ship_geo.quality(ms=pair.ms, pan=pair.pan) == pytest.approx(expected)
    judged = fused.ship_geo.quality(ms=ms, pan=pan, ref=ref.where(fused != 0))
    assert {name: judged[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert judged["rmse"] == pytest.approx(3)


def test_quality_of_lazy_arrays_computes_inputs_once(images: tuple[xr.DataArray, xr.DataArray]) -> None:
    ms, pan = images
    seen = []

    def note(block: np.ndarray) -> np.ndarray:
        seen.append(block.shape)
        return block

    noted = pan.copy(
        data=pan.chunk({"y": 80, "x": 80}).data.map_blocks(note, dtype=pan.dtype, meta=np.empty((0, 0, 0)))
    )
    ms.ship_geo.pansharpen(noted, model="exp").ship_geo.quality(ms=ms, pan=noted)
    assert len(seen) == 4


def test_reference_may_be_a_file(pair: Any, images: tuple[xr.DataArray, xr.DataArray], tmp_path: Path) -> None:
    ms, pan = images
    fused = ms.ship_geo.pansharpen(pan, model="exp").compute()
    fused.rio.to_raster(tmp_path / "ref.tif")
    for given in ({"ms": ms, "pan": pan}, {"ms": pair.ms, "pan": pair.pan}):
        judged = fused.ship_geo.quality(**given, ref=tmp_path / "ref.tif")
        assert (judged["rmse"], judged["cc"]) == pytest.approx((0, 1))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda fused: fused[:, 1:], r"fused must lie on the output grid of the pair, got \(4, 159, 140\)"),
        (lambda fused: fused.assign_coords(x=fused.x + 0.5), r"fused must lie .* 500000\.5, .* instead of"),
        (lambda fused: fused[:3], r"fused must lie .* got \(3, 160, 140\)"),
    ],
)
def test_image_elsewhere_is_refused(images: tuple[xr.DataArray, xr.DataArray], change: Any, text: str) -> None:
    ms, pan = images
    fused = ms.ship_geo.pansharpen(pan, model="exp")
    with pytest.raises(ArgumentError, match=text):
        change(fused).ship_geo.quality(ms=ms, pan=pan)


def test_an_array_beside_a_file_is_refused(pair: Any, images: tuple[xr.DataArray, xr.DataArray]) -> None:
    ms, pan = images
    fused = ms.ship_geo.pansharpen(pan, model="exp")
    with pytest.raises(ArgumentError, match="both arrays or both files, got DataArray and PosixPath; open both"):
        fused.ship_geo.quality(ms=ms, pan=pair.pan)
