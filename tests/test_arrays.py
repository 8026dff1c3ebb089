"""Arrays instead of files: the same bytes, as lazy as its inputs, and errors for what is no pair."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import rioxarray
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from ship_geo.api import pansharpen, pansharpen_scene
from ship_geo.errors import ArgumentError, GridError, ProductError

Write = Callable[..., Any]


def open_array(path: Path, chunks: Any = None) -> xr.DataArray:
    opened = rioxarray.open_rasterio(path, chunks=chunks)
    assert isinstance(opened, xr.DataArray)
    return opened


@pytest.fixture(scope="module")
def pair(write_pair: Write, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """MS and PAN of different extent, with holes."""
    folder = tmp_path_factory.mktemp("arrays")
    plain = write_pair(folder / "plain", (150, 133), dtype="int16")
    ms, pan = plain.ms_values[:, 1:-2, 2:].copy(), plain.pan_values[0].copy()
    ms[:, 10:14, 9] = -999
    pan[70:90, 100:] = -999
    return write_pair(folder, ms=ms, pan=pan, offset=(4, 8), dtype="int16", nodata=-999)


@pytest.fixture(scope="module")
def from_files(pair: Any, tiny_checkpoint: Path) -> dict[str, xr.DataArray]:
    models = {"tiny": tiny_checkpoint} | {name: name for name in ("mtf-glp-fs", "bt-h", "bdsd-pc")}
    return {
        name: pansharpen_scene(pair.pan, model=model, precision="float32").compute() for name, model in models.items()
    }


@pytest.mark.parametrize("model", ["tiny", "mtf-glp-fs", "bt-h", "bdsd-pc"])
@pytest.mark.parametrize("chunks", [None, {"band": 1, "y": 17, "x": 40}])
def test_arrays_give_what_their_files_give(
    pair: Any, from_files: dict[str, xr.DataArray], tiny_checkpoint: Path, model: str, chunks: Any
) -> None:
    ms, pan = open_array(pair.ms, chunks), open_array(pair.pan, chunks)
    chosen = tiny_checkpoint if model == "tiny" else model
    fused = pansharpen(ms, pan, model=chosen, precision="float32", chunks=60)
    assert fused.chunks is not None
    expected = from_files[model]
    np.testing.assert_array_equal(fused.compute(scheduler="threads"), expected)
    assert (fused.dtype, fused.rio.nodata, fused.rio.crs) == (np.int16, -999, expected.rio.crs)
    assert fused.rio.transform() == expected.rio.transform()
    assert fused.band.to_numpy().tolist() == expected.band.to_numpy().tolist() == ["blue", "green", "red", "nir"]


@settings(max_examples=10)
@given(inputs=st.integers(5, 60), chunks=st.tuples(st.integers(20, 160), st.integers(20, 160)))
def test_any_chunking_of_inputs_and_output_gives_the_same_bytes(
    pair: Any, from_files: dict[str, xr.DataArray], inputs: int, chunks: tuple[int, int]
) -> None:
    ms, pan = open_array(pair.ms, {"y": inputs, "x": inputs + 3}), open_array(pair.pan, {"y": inputs * 2, "x": inputs})
    fused = pansharpen(ms, pan, model="mtf-glp-fs", chunks=chunks)
    np.testing.assert_array_equal(fused.compute(scheduler="synchronous"), from_files["mtf-glp-fs"])


def test_nothing_is_computed_before_it_is_asked_for(pair: Any, from_files: dict[str, xr.DataArray]) -> None:
    n = 0

    def scheduler(graph: Any, keys: Any, **options: Any) -> Any:
        nonlocal n
        n += 1
        return dask.get(graph, keys, **options)

    with dask.config.set(scheduler=scheduler):
        ms, pan = open_array(pair.ms, {"y": 20, "x": 20}), open_array(pair.pan, {"y": 50, "x": 50})
        part = pansharpen(ms, pan, model="mtf-glp-fs", chunks=40)[:, 50:60, 50:60]
        assert n == 0
        part.load()
    assert n == 1
    np.testing.assert_array_equal(part, from_files["mtf-glp-fs"][:, 50:60, 50:60])


def test_chunks_of_the_inputs_are_computed_once(pair: Any) -> None:
    seen: list[tuple[int, int]] = []

    def note(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        seen.append(block_info[0]["chunk-location"][1:])
        return block

    ms, pan = open_array(pair.ms, {"y": 20, "x": 20}), open_array(pair.pan, {"y": 50, "x": 50})
    noted = pan.copy(data=da.map_blocks(note, pan.data, dtype=pan.dtype, meta=pan.data._meta))
    pansharpen(ms, noted, model="exp", chunks=40).compute(scheduler="synchronous")
    # Statistics and blocks share them.
    assert len(seen) == len(set(seen)) == 9


def test_pan_may_have_no_band_and_dims_any_order(pair: Any, from_files: dict[str, xr.DataArray]) -> None:
    ms, pan = open_array(pair.ms).transpose("y", "x", "band"), open_array(pair.pan).squeeze("band", drop=True)
    fused = pansharpen(ms, pan, model="mtf-glp-fs")
    assert fused.dims == ("band", "y", "x")
    np.testing.assert_array_equal(fused, from_files["mtf-glp-fs"])


def test_masked_floats_have_nan_where_nothing_is_known(pair: Any, from_files: dict[str, xr.DataArray]) -> None:
    ms = rioxarray.open_rasterio(pair.ms, masked=True)
    pan = rioxarray.open_rasterio(pair.pan, masked=True)
    assert isinstance(ms, xr.DataArray)
    assert isinstance(pan, xr.DataArray)
    fused = pansharpen(ms, pan, model="mtf-glp-fs").compute()
    expected = from_files["mtf-glp-fs"].where(from_files["mtf-glp-fs"] != -999)
    assert fused.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(fused), np.isnan(expected))
    np.testing.assert_allclose(fused, expected, atol=0.51)  # integers are rounded


def test_bands_are_named_by_coordinate_argument_or_sensor(pair: Any) -> None:
    ms, pan = open_array(pair.ms), open_array(pair.pan)
    named = ms.assign_coords(band=["nir", "red", "green", "blue"])
    assert pansharpen(named, pan, model="exp").band.to_numpy().tolist() == ["nir", "red", "green", "blue"]
    plain = ms.assign_coords(band=[1, 2, 3, 4]).assign_attrs(long_name=("", "", "", ""))
    given_names = pansharpen(plain, pan, model="exp", bands=("green", "red", "rededge", "nir"))
    assert given_names.band.to_numpy().tolist() == ["green", "red", "rededge", "nir"]
    by_sensor = pansharpen(plain, pan, model="exp", sensor="WorldView-2")
    assert by_sensor.band.to_numpy().tolist() == ["blue", "green", "red", "nir"]
    assert by_sensor.attrs["sensor"] == "WorldView-2"


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda ms, pan: (ms, xr.concat([pan] * 3, "band")), ArgumentError, r"PAN must have one band, got 3; pass the"),
        (
            lambda ms, pan: (ms.rename(band="channel"), pan),
            ArgumentError,
            r"ms has the dims .* got \('channel', 'y', 'x'\)",
        ),
        (
            lambda ms, pan: (ms, pan.isel(y=0, drop=True)),
            ArgumentError,
            r"pan has the dims .* got \('band', 'x'\); rename",
        ),
        (lambda ms, pan: (pan, ms.isel(band=[0])), GridError, r"PAN must be finer than MS, got ratio \(0.25, 0.25\)"),
        (lambda ms, pan: (ms.rio.write_crs("EPSG:4326"), pan), GridError, r"PAN and MS must overlap"),
        (
            lambda ms, pan: (ms.assign_coords(x=ms.x + 1e5).drop_vars("spatial_ref"), pan),
            GridError,
            r"got no CRS for MS",
        ),
    ],
)
def test_what_is_no_pair_is_refused(pair: Any, change: Callable[..., Any], error: type[Exception], text: str) -> None:
    ms, pan = change(open_array(pair.ms), open_array(pair.pan))
    with pytest.raises(error, match=text):
        pansharpen(ms, pan, model="exp")


def test_arrays_without_a_valid_pixel_are_refused_when_computed(pair: Any) -> None:
    ms, pan = open_array(pair.ms), open_array(pair.pan)
    fused = pansharpen(xr.full_like(ms, -999), pan, model="exp")
    with pytest.raises(ProductError, match="valid in PAN and in all MS bands, got none"):
        fused.compute(scheduler="synchronous")
