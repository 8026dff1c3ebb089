"""What is looked at of a scene: everything of a small one; of a large one few tiles of its files, in all its parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ship_geo._typing import Box
from ship_geo.coarser import Pair, block_windows
from ship_geo.sampling import CELL, MAX_PLACES, MAX_WINDOWS, PLACE, places, spread, statistics_plan, statistics_windows
from ship_geo.tiling import halo_for

RATIO, TILE = 4, 256
HALO = halo_for(RATIO)


def tiles(box: Box, margin: int, step: int) -> set[tuple[int, int]]:
    """Tiles of a file that a box (in PAN pixels) touches, one pixel of the file being `step` of them."""
    row0, row1, col0, col1 = box
    rows, cols = (
        range((first // step - margin) // TILE, -(-(-(-last // step) + margin) // TILE))
        for first, last in ((row0, row1), (col0, col1))
    )
    return {(row, col) for row in rows for col in cols}


@given(n_item=st.integers(1, 20_000))
def test_sample_has_every_item_of_few_and_some_of_many(n_item: int) -> None:
    chosen = spread(n_item)
    assert len(chosen) == min(n_item, MAX_WINDOWS)
    assert chosen == sorted(set(chosen))
    assert chosen[0] >= 0
    assert chosen[-1] < n_item


@pytest.mark.parametrize(("n_row", "n_col"), [(40, 40), (16, 100), (100, 16), (176, 176), (34, 55)])
def test_sample_reaches_all_parts(n_row: int, n_col: int) -> None:
    counts = np.zeros((4, 4), int)
    for index in spread(n_row * n_col):
        counts[index // n_col * 4 // n_row, index % n_col * 4 // n_col] += 1
    assert counts.min() >= 1
    assert counts.max() <= 4 * MAX_WINDOWS / 16


@given(rows=st.integers(1, 8 * CELL), cols=st.integers(1, 12 * CELL))
def test_every_pixel_of_a_small_scene_is_measured(rows: int, cols: int) -> None:
    plan = statistics_plan((rows, cols), HALO)
    assert statistics_windows(plan) == plan.windows()
    assert places((rows, cols), 8) == []


@given(rows=st.integers(1, 60_000), cols=st.integers(1, 60_000))
def test_windows_of_a_large_scene_lie_in_it_and_apart_and_are_not_many(rows: int, cols: int) -> None:
    plan = statistics_plan((rows, cols), HALO)
    windows = statistics_windows(plan)
    starts = [(window.core[0], window.core[2]) for window in windows]
    assert starts == sorted(set(starts))
    assert 1 <= len(windows) <= MAX_WINDOWS + MAX_PLACES
    if len(plan) > MAX_WINDOWS:
        for axis, length in enumerate((rows, cols)):
            sheltered = HALO if length >= PLACE else 0
            assert all(window.core[2 * axis] % CELL == sheltered for window in windows)
            assert all(window.core[2 * axis] < length for window in windows)
            assert all(window.core[2 * axis + 1] + sheltered <= max(length, PLACE) for window in windows)


def test_windows_of_a_large_scene_touch_one_tile_of_pan_each_and_few_of_ms() -> None:
    windows = statistics_windows(statistics_plan((16384, 16384), HALO))
    pan = [tiles(window.read(HALO), 0, 1) for window in windows]
    ms = set.union(*(tiles(window.read(HALO), 3, RATIO) for window in windows))
    assert all(len(touched) == 1 for touched in pan)
    assert len(windows) == 2 * MAX_PLACES
    assert len(ms) == MAX_PLACES


def test_what_is_learnt_one_scale_coarser_touches_tiles_of_ms_that_are_read_anyway() -> None:
    shape = (16384, 16384)
    plan, blocks = block_windows(Pair(shape, (RATIO, RATIO), (0.3,) * 4, 0.15), 128, 8)
    measured = set.union(*(tiles(w.read(HALO), 3, RATIO) for w in statistics_windows(statistics_plan(shape, HALO))))
    touched = [tiles(block.read(plan.halo), 3, RATIO) for block in blocks]
    assert len(blocks) == 8
    assert all(len(one) == 1 for one in touched)
    assert set.union(*touched) <= measured


@pytest.mark.parametrize("shape", [(16384, 16384), (45056, 9000), (3000, 60000)])
def test_places_reach_all_parts_of_a_large_scene(shape: tuple[int, int]) -> None:
    starts = np.array([window.core[::2] for window in statistics_windows(statistics_plan(shape, HALO))])
    for axis in (0, 1):
        parts = np.histogram(starts[:, axis], bins=3, range=(0, shape[axis]))[0]
        assert parts.min() >= 0.2 * len(starts)


@pytest.mark.parametrize("shape", [(300, 60000), (60000, 20), (1500, 20000)])
def test_blocks_of_a_strip_lie_in_it(shape: tuple[int, int]) -> None:
    plan, blocks = block_windows(Pair(shape, (RATIO, RATIO), (0.3,) * 4, 0.15), 128, 8)
    assert 1 <= len(blocks) <= 8
    for block in blocks:
        for first, length in zip(block.core[::2], shape, strict=True):
            assert first == 0 if length <= plan.window else 0 <= first <= length - plan.window


def test_more_places_than_those_of_the_statistics_can_be_had() -> None:
    many = places((45056, 45056), 24)
    assert len(set(many)) == 24
    assert all(row % PLACE == col % PLACE == 0 for row, col in many)
