from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from ship_geo.data.reader import ArrayPairReader, FilePairReader, PairReader
from ship_geo.errors import ArgumentError, GridError
from ship_geo.grids import Grid, GridPair
from ship_geo.scene import Scene, open_scene

Landsat: TypeAlias = tuple[Scene, np.ndarray, np.ndarray]

PAN_GRID = Affine(15, 0, 392.5, 0, -15, 707.5)
MS_GRID = Affine(30, 0, 385, 0, -30, 715)


class WriteRaster(Protocol):
    def __call__(self, name: str, array: np.ndarray, *args: Any, **options: Any) -> Path: ...


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 2000, shape).astype(np.uint16)


@pytest.fixture
def landsat(raster: WriteRaster) -> Landsat:
    """Landsat-like pair with phase (-0.5, -0.5); MS has 10 x 11, PAN 19 x 21 pixels."""
    ms, pan = noise(3, 10, 11), noise(1, 19, 21, seed=1)
    ms[:, 4, 4], ms[1, 5, 5], pan[0, 7, 7] = 0, 0, 0
    paths = {
        "ms": raster("a_MS.tif", ms, MS_GRID, nodata=0, descriptions=("blue", "green", "red")),
        "pan": raster("a_PAN.tif", pan, PAN_GRID, nodata=0),
    }
    return open_scene(**paths), ms, pan


def test_sample_holds_each_sensor_on_its_own_grid(landsat: Landsat) -> None:
    scene, ms, pan = landsat
    reader = FilePairReader(scene)
    assert isinstance(reader, PairReader)
    assert (reader.shape, reader.n_band) == ((19, 21), 3)
    sample = reader.read(4, 10, 6, 14, margin=0)
    assert np.array_equal(sample.pan, pan[:, 4:10, 6:14])
    # MS edge k lies at 2 k - 0.5 on PAN: rows 4 to 10 need edges 3.5 to 11.5, columns 6 to 14 edges 5.5 to 15.5.
    assert np.array_equal(sample.ms, np.where(ms[:, 2:6, 3:8].all(axis=0) | (ms[:, 2:6, 3:8] > 0), ms[:, 2:6, 3:8], 0))
    assert sample.ratio == (2, 2)
    assert sample.phase == (-0.5, -0.5)
    assert sample.pan_start == (4, 6)
    assert (sample.ms.dtype, sample.pan.dtype) == (np.uint16, np.uint16)


def test_validity_is_per_pixel_and_a_zero_in_one_band_is_a_value(landsat: Landsat) -> None:
    scene, _, _ = landsat
    sample = FilePairReader(scene).read(0, 19, 0, 21, margin=0)
    assert np.argwhere(~sample.ms_valid).tolist() == [[4, 4]]
    assert np.argwhere(~sample.pan_valid).tolist() == [[7, 7]]
    assert sample.ms[1, 5, 5] == 0
    assert sample.ms_valid[5, 5]


@given(start=st.tuples(st.integers(-12, 25), st.integers(-12, 25)), size=st.integers(1, 12), margin=st.integers(0, 4))
def test_any_block_agrees_with_the_whole(start: tuple[int, int], size: int, margin: int) -> None:
    ms, pan = noise(2, 9, 10), noise(1, 31, 37, seed=1)
    pair = GridPair.from_grids(
        Grid((9, 10), Affine(2.0002, 0, 103.25, 0, -2.0002, 95.1)), Grid((31, 37), Affine(0.5, 0, 102, 0, -0.5, 94.5))
    )
    reader = ArrayPairReader(ms, pan, pair=pair)
    row, col = start
    sample = reader.read(row, row + size, col, col + size, margin)
    row0, _, col0, _ = pair.overlap
    for r, c in np.ndindex(size, size):
        at = row + r + row0, col + c + col0
        inside = 0 <= at[0] < 31 and 0 <= at[1] < 37
        assert sample.pan_valid[r, c] == inside
        assert sample.pan[0, r, c] == (pan[0, at[0], at[1]] if inside else 0)
    # The corner of every MS pixel, on the map, from the sample and from the file.
    first = [(sample.phase[i] + sample.pan_start[i] + (row0, col0)[i] - pair.phase[i]) / pair.ratio[i] for i in (0, 1)]
    top, left = (round(value) for value in first)
    assert first == pytest.approx([top, left], abs=1e-6)
    for r, c in np.ndindex(*sample.ms_valid.shape):
        at = top + r, left + c
        inside = 0 <= at[0] < 9 and 0 <= at[1] < 10
        assert sample.ms_valid[r, c] == inside
        assert sample.ms[1, r, c] == (ms[1, at[0], at[1]] if inside else 0)
    # MS covers the block and its margin.
    for axis in (0, 1):
        far = sample.phase[axis] + sample.ratio[axis] * sample.ms_valid.shape[axis]
        assert sample.phase[axis] <= -margin * sample.ratio[axis] + 1e-5
        assert far >= size + margin * sample.ratio[axis] - 1e-5


def test_pan_beyond_the_output_is_real(raster: WriteRaster) -> None:
    pan = noise(1, 64, 64)
    ms = raster("a_MS.tif", noise(2, 8, 8), Affine(2, 0, 500008, 0, -2, 4639992), descriptions=("red", "nir"))
    reader = FilePairReader(open_scene(ms=ms, pan=raster("a_PAN.tif", pan)))
    assert reader.shape == (32, 32)
    sample = reader.read(-4, 4, -4, 4)
    assert sample.pan_valid.all()
    assert np.array_equal(sample.pan, pan[:, 12:20, 12:20])


def test_files_and_arrays_read_alike(landsat: Landsat) -> None:
    scene, ms, pan = landsat
    arrays = ArrayPairReader(ms, pan, pair=scene.pair, nodata_ms=0, nodata_pan=0)
    files = FilePairReader(scene)
    for block in ((0, 19, 0, 21), (-5, 3, 15, 30), (7, 8, 7, 8)):
        left, right = files.read(*block), arrays.read(*block)
        for name in ("ms", "ms_valid", "pan", "pan_valid"):
            assert np.array_equal(getattr(left, name), getattr(right, name))
        assert (left.phase, left.ratio, left.pan_start) == (right.phase, right.ratio, right.pan_start)


def test_fill_values_never_show(raster: WriteRaster) -> None:
    samples = []
    for fill in (0, 60000):
        ms, pan = noise(2, 8, 8), noise(1, 32, 32)
        ms[:, :, :2], pan[:, :, :8] = fill, fill
        paths = {
            "ms": raster(f"a{fill}_MS.tif", ms, Affine(2, 0, 500000, 0, -2, 4640000), nodata=fill),
            "pan": raster(f"a{fill}_PAN.tif", pan, nodata=fill),
        }
        samples.append(FilePairReader(open_scene(**paths)).read(0, 32, 0, 32))
    assert np.array_equal(samples[0].ms, samples[1].ms)
    assert np.array_equal(samples[0].pan, samples[1].pan)


def test_nan_in_any_band_makes_the_pixel_invalid_and_zero() -> None:
    ms = np.ones((3, 4, 4), np.float32)
    ms[2, 1, 1], ms[0, 2, 2] = np.nan, np.inf
    sample = ArrayPairReader(ms, np.ones((16, 16), np.float32)).read(0, 16, 0, 16, margin=0)
    assert np.argwhere(~sample.ms_valid).tolist() == [[1, 1], [2, 2]]
    assert sample.ms.sum() == 3 * 14


def test_given_masks_count() -> None:
    valid = np.ones((4, 4), bool)
    valid[0, 0] = False
    reader = ArrayPairReader(noise(1, 4, 4), noise(1, 16, 16), ms_valid=valid, pan_valid=np.zeros((16, 16), bool))
    sample = reader.read(0, 16, 0, 16, margin=0)
    assert np.array_equal(sample.ms_valid, valid)
    assert not sample.pan_valid.any()


def test_arrays_without_grids_cover_the_same_ground() -> None:
    reader = ArrayPairReader(noise(4, 5, 6), noise(20, 24))
    assert (reader.shape, reader.pair.ratio, reader.pair.phase) == ((20, 24), (4, 4), (0, 0))


@pytest.mark.parametrize(
    ("ms", "pan", "rule"),
    [
        (noise(4, 4), noise(1, 16, 16), r"MS must be an array \(band, row, col\) .* got shape \(4, 4\)"),
        (noise(4, 4, 4), noise(3, 16, 16), "PAN must have one band, got 3"),
        (noise(4, 4, 0), noise(1, 16, 16), "that is not empty"),
    ],
)
def test_arrays_must_be_bands_of_pixels(ms: np.ndarray, pan: np.ndarray, rule: str) -> None:
    with pytest.raises(ArgumentError, match=rule):
        ArrayPairReader(ms, pan)


def test_arrays_must_fit_masks_and_grids() -> None:
    with pytest.raises(ArgumentError, match=r"MS must fit its mask, got array \(4, 4\), mask \(5, 4\)"):
        ArrayPairReader(noise(1, 4, 4), noise(1, 16, 16), ms_valid=np.ones((5, 4), bool))
    with pytest.raises(GridError, match="PAN must be finer than MS"):
        ArrayPairReader(noise(1, 16, 16), noise(1, 4, 4))


def test_readers_survive_pickling(landsat: Landsat) -> None:
    scene, ms, pan = landsat
    for reader in (FilePairReader(scene), ArrayPairReader(ms, pan, pair=scene.pair)):
        before = reader.read(0, 5, 0, 5)
        again = pickle.loads(pickle.dumps(reader)).read(0, 5, 0, 5)
        assert np.array_equal(again.ms, before.ms)


def test_closed_reader_opens_again(landsat: Landsat) -> None:
    reader = FilePairReader(landsat[0])
    before = reader.read(0, 5, 0, 5).pan
    reader.close()
    assert np.array_equal(reader.read(0, 5, 0, 5).pan, before)


def test_reading_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, ship_geo.data.reader; print(sorted({'torch', 'torchgeo'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.real_data
def test_wedge_of_rotterdam_is_masked_exactly(data_root: Path) -> None:
    import rasterio

    folder = data_root / "scenes" / "open"
    reader = FilePairReader(open_scene(folder / "WV2_rotterdam_2_PAN.tif"))
    sample = reader.read(0, *reader.shape[:1], 0, reader.shape[1], margin=0)
    with (
        rasterio.open(folder / "WV2_rotterdam_2_PAN.tif") as pan,
        rasterio.open(folder / "WV2_rotterdam_2_MS.tif") as ms,
    ):
        assert np.array_equal(sample.pan_valid, pan.read(1) > 0)
        assert np.array_equal(sample.ms_valid, (ms.read() > 0).any(axis=0))
