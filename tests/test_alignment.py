"""From a pair to its shift: which windows are read, tiny and huge scenes, correction of a scene, real scenes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from affine import Affine

from ship_geo.alignment import N_WINDOW, lay_windows, measure_scene_shift, measure_shift, register_scene
from ship_geo.data.reader import ArrayPairReader, PairSample
from ship_geo.grids import Grid, GridPair
from ship_geo.ops.resample import degrade
from ship_geo.register import Shift, moved_grid
from ship_geo.scene import Scene, open_scene

Ground = Callable[[int, tuple[int, int], int], np.ndarray]


def make_pair(ground: Ground, n_ms: int, shift: tuple[float, float], ratio: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """MS whose content must be moved by `shift` MS pixels, and PAN."""
    bands = ground(3, (n_ms * ratio, n_ms * ratio), 1)
    phase = (ratio * shift[0], ratio * shift[1])
    ms = degrade(torch.from_numpy(bands), (n_ms, n_ms), (ratio, ratio), phase, (0.35,) * 3)
    return ms.numpy(), bands.mean(0)


@dataclass
class Endless:
    """A reader that repeats a small pair for ever, and counts what is read."""

    small: ArrayPairReader
    shape: tuple[int, int] = (200_000, 300_000)
    n_band: int = 3
    n_read: int = 0

    def read(self, row0: int, row1: int, col0: int, col1: int, margin: int = 3) -> PairSample:
        self.n_read += 1
        n_row, n_col = (n // 2 for n in self.small.shape)
        top, left = n_row - (row1 - row0) // 2, n_col - (col1 - col0) // 2
        top, left = top - (top - row0) % 2, left - (left - col0) % 2
        return self.small.read(top, top + row1 - row0, left, left + col1 - col0, margin)


def test_a_known_shift_of_a_pair_is_found(ground: Ground) -> None:
    ms, pan = make_pair(ground, 128, (1.3, -2.4))
    found = measure_shift(ArrayPairReader(ms, pan), (2.0, 2.0), (0.3,) * 3)
    assert (found.row, found.col) == pytest.approx((1.3, -2.4), abs=0.025)
    assert found.is_confident


def test_a_tiny_scene_is_one_window_that_is_not_believed_alone(ground: Ground) -> None:
    ms, pan = make_pair(ground, 41, (0.6, -0.2))
    found = measure_shift(ArrayPairReader(ms, pan), (2.0, 2.0), (0.3,) * 3)
    assert (found.row, found.col) == pytest.approx((0.6, -0.2), abs=0.05)
    assert found.n_window == 1
    assert not found.is_confident


def test_few_windows_of_a_huge_scene_are_read(ground: Ground) -> None:
    ms, pan = make_pair(ground, 128, (0.4, 0.7))
    reader = Endless(ArrayPairReader(ms, pan))
    found = measure_shift(reader, (2.0, 2.0), (0.3,) * 3)
    assert reader.n_read == N_WINDOW
    assert (found.row, found.col) == pytest.approx((0.4, 0.7), abs=0.03)


def test_windows_without_data_are_passed_over(ground: Ground) -> None:
    ms, pan = make_pair(ground, 256, (0.4, 0.7))
    valid = np.add.outer(np.arange(256), np.arange(256)) < 200
    reader = ArrayPairReader(ms, pan, ms_valid=valid)
    found = measure_shift(reader, (2.0, 2.0), (0.3,) * 3)
    assert (found.row, found.col) == pytest.approx((0.4, 0.7), abs=0.03)
    assert found.is_confident
    blind = measure_shift(ArrayPairReader(ms, pan, ms_valid=np.zeros_like(valid)), (2.0, 2.0), (0.3,) * 3)
    assert blind.confidence == 0


@pytest.mark.parametrize(
    ("shape", "n"), [((3, 5), (1, 1)), ((82, 82), (1, 1)), ((301, 300), (3, 3)), ((4096, 2048), (32, 16))]
)
def test_windows_lie_side_by_side_from_edge_to_edge(shape: tuple[int, int], n: tuple[int, int]) -> None:
    for spans, length, count in zip(lay_windows(shape, (2.0, 2.0)), shape, n, strict=True):
        assert len(spans) == count
        assert [pixel for span in spans for pixel in range(*span)] == list(range(length))


@pytest.mark.parametrize("n_ms", [1, 5, 12])
def test_scenes_of_a_few_pixels_do_no_harm(ground: Ground, n_ms: int) -> None:
    ms, pan = make_pair(ground, n_ms, (0.0, 0.0))
    assert not measure_shift(ArrayPairReader(ms, pan), (2.0, 2.0), (0.3,) * 3).is_confident


def test_moving_the_grid_of_ms_changes_the_estimate_by_just_that(ground: Ground) -> None:
    ms, pan = make_pair(ground, 96, (0.35, -0.15))
    grids = Grid((96, 96), Affine(2, 0, 0, 0, -2, 0)), Grid((192, 192), Affine(1, 0, 0, 0, -1, 0))
    for move in ((0.35, -0.15), (-0.4, 1.7)):
        pair = GridPair.from_grids(moved_grid(grids[0], move), grids[1])
        found = measure_shift(ArrayPairReader(ms, pan, pair=pair), (2.0, 2.0), (0.3,) * 3)
        assert (found.row + move[0], found.col + move[1]) == pytest.approx((0.35, -0.15), abs=0.025)


@pytest.fixture
def shifted_scene(tmp_path: Path, ground: Ground, write_pair) -> Scene:
    ms, pan = make_pair(ground, 96, (1.25, -0.75))
    made = write_pair(tmp_path, ms=ms, pan=pan, ratio=2.0)
    return open_scene(ms=made.ms, pan=made.pan)


def test_a_large_shift_is_corrected_on_request(shifted_scene: Scene) -> None:
    scene = register_scene(shifted_scene, "auto")
    assert scene.shift is not None
    assert (scene.shift.row, scene.shift.col) == pytest.approx((1.25, -0.75), abs=0.025)
    assert scene.notes[-1].startswith("MS lay (-1.2")
    assert scene.pair.phase == pytest.approx((2.5, -1.5), abs=0.05)
    again = measure_scene_shift(scene)
    assert (again.row, again.col) == pytest.approx((0, 0), abs=0.02)
    assert scene.pan == shifted_scene.pan


def test_a_large_shift_is_reported_with_the_remedy(shifted_scene: Scene) -> None:
    with pytest.warns(UserWarning, match=r'MS should lie on PAN, got it \(-1\.2\d, \+0\.7\d\) MS.*register="auto"'):
        scene = register_scene(shifted_scene, "report")
    assert scene.ms == shifted_scene.ms
    assert scene.shift is not None


def test_nobody_looks_when_it_is_off(shifted_scene: Scene) -> None:
    assert register_scene(shifted_scene, "off") is shifted_scene


def test_a_shift_too_small_to_matter_is_left_alone(shifted_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    shift = Shift(0.06, 0.06, 0.9, 9, 0.0, ())
    monkeypatch.setattr("ship_geo.alignment.measure_scene_shift", lambda _: shift)
    assert register_scene(shifted_scene, "auto") == replace(shifted_scene, shift=shift, is_registered=True)


def test_a_doubtful_shift_is_left_alone_and_told(shifted_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    shift = Shift(3.0, 3.0, 0.4, 9, 0.0, ())
    monkeypatch.setattr("ship_geo.alignment.measure_scene_shift", lambda _: shift)
    with pytest.warns(UserWarning, match=r"got confidence 0\.40 from 9 windows: MS is left where it is"):
        assert register_scene(shifted_scene, "auto") == replace(shifted_scene, shift=shift)


def test_bands_that_are_shifted_against_each_other_are_reported(
    shifted_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = Shift(0.0, 0.0, 0.9, 9, 0.0, ((0.3, 0.0, 0.9), (-0.3, 0.0, 0.9), (5.0, 0.0, 0.2)))
    monkeypatch.setattr("ship_geo.alignment.measure_scene_shift", lambda _: shift)
    with pytest.warns(UserWarning, match=r"MS bands should lie alike, got shifts 0\.60 MS pixels apart"):
        register_scene(shifted_scene, "report")


@pytest.mark.real_data
@pytest.mark.parametrize("move", [(1.37, 2.81), (-2.6, 0.55)])
@pytest.mark.parametrize("name", ["WV2_rotterdam_1", "WV2_rotterdam_2", "L8_madrid"])
def test_real_scenes_follow_a_move_of_their_grid(data_root: Path, name: str, move: tuple[float, float]) -> None:
    scene = open_scene(data_root / "scenes" / "open" / f"{name}_PAN.tif")
    before = measure_scene_shift(scene)
    moved = measure_scene_shift(replace(scene, ms=replace(scene.ms, grid=moved_grid(scene.ms.grid, move))))
    assert before.is_confident
    assert (moved.row + move[0], moved.col + move[1]) == pytest.approx((before.row, before.col), abs=0.05)


@pytest.mark.real_data
def test_a_real_worldview_pair_is_off_and_landsat_is_not(data_root: Path) -> None:
    worldview, landsat = (
        measure_scene_shift(open_scene(data_root / "scenes" / "open" / f"{name}_PAN.tif"))
        for name in ("WV2_rotterdam_1", "L8_madrid")
    )
    assert 1.0 < 4 * np.hypot(worldview.row, worldview.col) < 1.5  # PAN pixels
    assert np.hypot(landsat.row, landsat.col) < 0.02
