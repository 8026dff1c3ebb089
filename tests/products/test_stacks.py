from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ship_geo.errors import GridError, ProductError
from ship_geo.products.stacks import Lattice, find_lattice, find_stack
from ship_geo.raster import inspect
from ship_geo.scene import open_scene

NAMES = ("pan", "blue", "green", "red", "nir")


class WriteRaster(Protocol):
    def __call__(self, name: str, array: np.ndarray, *args: Any, **options: Any) -> Path: ...


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 2000, shape).astype(np.uint16)


def replicate(ms: np.ndarray, rows: int, cols: int) -> np.ndarray:
    return ms.repeat(rows, axis=1).repeat(cols, axis=2)


def interpolate(ms: np.ndarray, ratio: int) -> np.ndarray:
    # Linear along both axes, without any library that the code uses.
    n_row, n_col = ms.shape[1] * ratio, ms.shape[2] * ratio
    rows, cols = (np.arange(n_row) + 0.5) / ratio - 0.5, (np.arange(n_col) + 0.5) / ratio - 0.5
    along = np.stack([[np.interp(cols, np.arange(band.shape[1]), line) for line in band] for band in ms])
    down = np.stack([[np.interp(rows, np.arange(band.shape[0]), line) for line in band.T] for band in along])
    return down.transpose(0, 2, 1).round().astype(ms.dtype)


@given(step=st.tuples(st.integers(2, 8), st.integers(2, 8)), cut=st.tuples(st.integers(0, 7), st.integers(0, 7)))
def test_lattice_of_replicated_pixels_is_found(step: tuple[int, int], cut: tuple[int, int]) -> None:
    cut = cut[0] % step[0], cut[1] % step[1]
    values = replicate(noise(2, 12, 13), *step)[:, cut[0] :, cut[1] :]
    lattice = find_lattice([(0, 0, values)])
    assert lattice.step == step
    assert lattice.origin == ((-cut[0]) % step[0], (-cut[1]) % step[1])


def test_lattice_is_found_from_scattered_samples() -> None:
    values = replicate(noise(1, 60, 60), 4, 4)
    blocks = [(row, col, values[:, row : row + 31, col : col + 31]) for row in (0, 101, 209) for col in (3, 57)]
    assert find_lattice(blocks) == Lattice((4, 4), (0, 0))


@pytest.mark.parametrize(
    "values",
    [
        noise(1, 40, 40),
        np.ones((1, 40, 40), np.uint16),
        np.where(np.arange(40) < 20, 5, 9)[None, None, :].repeat(40, axis=1),
        replicate(noise(1, 40, 20), 1, 2),
    ],
    ids=["noise", "constant", "two halves", "one axis"],
)
def test_other_images_have_no_lattice(values: np.ndarray) -> None:
    assert find_lattice([(0, 0, values)]).is_trivial


def test_nan_next_to_nan_is_no_edge() -> None:
    values = replicate(noise(1, 10, 10), 3, 3).astype(np.float32)
    values[:, :9] = np.nan
    assert find_lattice([(0, 0, values)]).step == (3, 3)


def test_replicated_stack_gives_back_its_ms(raster: WriteRaster) -> None:
    ms, pan = noise(4, 64, 64), noise(1, 256, 256, seed=1)
    path = raster("stack.tif", np.concatenate([pan, replicate(ms, 4, 4)]), descriptions=NAMES)
    scene = open_scene(path)
    assert scene.pair.ratio == (4, 4)
    assert scene.pair.phase == (0, 0)
    assert scene.ms.roles == NAMES[1:]
    with scene.ms.open() as reader:
        assert np.array_equal(reader.read(0, 64, 0, 64)[0], ms)
    with scene.pan.open() as reader:
        assert np.array_equal(reader.read(0, 256, 0, 256)[0], pan)
    assert any("every block of 4 x 4 pixels is equal" in note for note in scene.notes)


def test_pan_may_be_any_band_and_blocks_may_start_late(raster: WriteRaster) -> None:
    ms, pan = noise(2, 20, 20), noise(1, 75, 74, seed=1)
    cut = replicate(ms, 4, 4)[:, 2:77, 3:77]
    path = raster("stack.tif", np.concatenate([cut, pan]), descriptions=("red", "nir", "Panchromatic"))
    scene = open_scene(path)
    assert scene.pair.phase == (2, 1)
    assert scene.ms.grid.shape == (18, 18)
    with scene.ms.open() as reader:
        assert np.array_equal(reader.read(0, 18, 0, 18)[0], ms[:, 1:19, 1:19])


def test_interpolated_stack_is_refused(raster: WriteRaster) -> None:
    ms = interpolate(noise(4, 32, 32), 4)
    path = raster("stack.tif", np.concatenate([noise(1, 128, 128, seed=1), ms]), descriptions=NAMES)
    with pytest.raises(GridError, match=r"ratio must be from 1.5 to 8.*native resolution, or with `ratio=`"):
        open_scene(path)


def test_stack_without_georeference_uses_pixels(raster: WriteRaster) -> None:
    from rasterio import Affine

    array = np.concatenate([noise(1, 64, 64, seed=1), replicate(noise(4, 16, 16), 4, 4)])
    scene = open_scene(raster("stack.tif", array, Affine.identity(), crs=None, descriptions=NAMES))
    assert scene.pair.ratio == (4, 4)


def test_folder_with_one_stack_opens(raster: WriteRaster, tmp_path: Path) -> None:
    raster("stack.tif", np.concatenate([noise(1, 64, 64), replicate(noise(4, 16, 16), 4, 4)]), descriptions=NAMES)
    assert open_scene(tmp_path).ms.n_band == 4


def test_unnamed_bands_are_no_stack(raster: WriteRaster) -> None:
    path = raster("five.tif", noise(5, 16, 16))
    assert find_stack(inspect(path)) is None
    with pytest.raises(ProductError, match=r"be a stack with a band described as 'pan', got .*five\.tif"):
        open_scene(path)


def test_two_pan_bands_are_refused(raster: WriteRaster) -> None:
    path = raster("two.tif", noise(3, 16, 16), descriptions=("pan", "red", "PAN"))
    with pytest.raises(ProductError, match=r"one PAN band, got bands \[1, 3\]"):
        find_stack(inspect(path))
