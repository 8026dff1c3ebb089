"""Tiling: weights sum to one, nothing is left out, and chunking changes nothing. Checked by brute force per pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ship_geo.errors import ArgumentError
from ship_geo.tiling import Axis, Plan, Window, halo_for

LENGTHS = [1, 2, 3, 5, 7, 31, 97, 101, 127, 251]


@st.composite
def axes(draw: st.DrawFn, max_length: int = 400) -> Axis:
    window = draw(st.integers(1, 64))
    return Axis(draw(st.integers(1, max_length)), window, draw(st.integers(0, window // 2)))


@st.composite
def plans(draw: st.DrawFn, max_length: int = 90) -> Plan:
    window = draw(st.integers(2, 40))
    shape = draw(st.tuples(st.integers(1, max_length), st.integers(1, max_length)))
    return Plan(shape, window, draw(st.integers(0, window // 2)), draw(st.integers(0, 8)))


def pixels(axis: Axis, index: int) -> range:
    return range(axis.start(index), axis.start(index) + axis.window)


def summed_weights(plan: Plan) -> np.ndarray:
    reach = (plan.rows.start(len(plan.rows) - 1) + plan.window, plan.cols.start(len(plan.cols) - 1) + plan.window)
    total = np.zeros(reach)
    for window in plan.windows():
        row0, row1, col0, col1 = window.core
        total[row0:row1, col0:col1] += plan.weights(window)
    return total[: plan.shape[0], : plan.shape[1]]


# --- one axis ---------------------------------------------------------------------------------------------------------


@given(axes())
def test_weights_sum_to_one_at_every_pixel(axis: Axis) -> None:
    total = np.zeros(axis.start(len(axis) - 1) + axis.window)
    for index in range(len(axis)):
        total[list(pixels(axis, index))] += axis.weights(index)
    np.testing.assert_allclose(total[: axis.length], 1.0, rtol=0, atol=1e-6)


@given(axes())
def test_weights_are_float32_positive_and_at_most_one(axis: Axis) -> None:
    for index in {0, len(axis) // 2, len(axis) - 1}:
        weights = axis.weights(index)
        assert (weights.dtype, weights.shape) == (np.float32, (axis.window,))
        assert weights.min() > 0
        assert weights.max() <= 1


@given(axes())
def test_windows_cover_the_axis_and_none_is_needless(axis: Axis) -> None:
    covered = {pixel for index in range(len(axis)) for pixel in pixels(axis, index)}
    assert covered >= set(range(axis.length))
    without_last = {pixel for index in range(len(axis) - 1) for pixel in pixels(axis, index)}
    assert not without_last >= set(range(axis.length))


@given(axes())
def test_no_pixel_lies_in_more_than_two_windows(axis: Axis) -> None:
    hits = np.zeros(axis.start(len(axis) - 1) + axis.window, int)
    for index in range(len(axis)):
        hits[list(pixels(axis, index))] += 1
    assert hits.max() <= 2


@given(axis=axes(), start=st.integers(-80, 450), size=st.integers(-5, 200))
def test_touching_agrees_with_testing_every_window(axis: Axis, start: int, size: int) -> None:
    wanted = set(range(start, start + size)) & set(range(axis.length))
    expected = [index for index in range(len(axis)) if wanted.intersection(pixels(axis, index))]
    assert list(axis.touching(start, start + size)) == expected


def test_ramp_is_a_raised_cosine_at_pixel_centres() -> None:
    axis = Axis(20, 8, 4)
    rising = [math.sin(math.pi / 2 * (k + 0.5) / 4) ** 2 for k in range(4)]
    np.testing.assert_allclose(axis.weights(1), [*rising, *rising[::-1]], atol=1e-7)
    np.testing.assert_allclose(axis.weights(0), [1, 1, 1, 1, *rising[::-1]], atol=1e-7)
    np.testing.assert_allclose(axis.weights(len(axis) - 1), [*rising, 1, 1, 1, 1], atol=1e-7)


@pytest.mark.parametrize(("length", "expected"), [(1, 1), (4, 1), (8, 1), (9, 2), (12, 2), (13, 3), (16, 3)])
def test_count_of_windows_of_eight_with_overlap_four(length: int, expected: int) -> None:
    assert len(Axis(length, 8, 4)) == expected


@pytest.mark.parametrize("length", [1, 3, 255, 256])
def test_axis_shorter_than_a_window_has_one_window_of_weight_one(length: int) -> None:
    axis = Axis(length, 256, 64)
    assert len(axis) == 1
    assert (axis.weights(0) == 1).all()


def test_windows_do_not_depend_on_the_length() -> None:
    short, long = Axis(1000, 256, 64), Axis(5000, 256, 64)
    shared = range(len(short) - 1)
    assert [short.start(index) for index in shared] == [long.start(index) for index in shared]
    assert all((short.weights(index) == long.weights(index)).all() for index in shared)


@pytest.mark.parametrize("numbers", [(0, 8, 2), (5, 0, 0), (5, 8, 5), (5, 8, -1), (5, 1, 1)])
def test_numbers_that_cannot_work_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ArgumentError, match=r"must be .*, got .*; pass"):
        Axis(*numbers)


@pytest.mark.parametrize("index", [-1, 3])
def test_window_outside_the_axis_is_refused(index: int) -> None:
    axis = Axis(16, 8, 4)
    with pytest.raises(ArgumentError, match="from 0 to 2"):
        axis.weights(index)


# --- two axes ---------------------------------------------------------------------------------------------------------


@given(plans())
def test_weights_of_the_plan_sum_to_one_at_every_pixel(plan: Plan) -> None:
    np.testing.assert_allclose(summed_weights(plan), 1.0, rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_row", [1, 7, 31])
@pytest.mark.parametrize("n_col", LENGTHS)
def test_single_pixels_lines_and_primes_are_covered(n_row: int, n_col: int) -> None:
    for shape in ((n_row, n_col), (n_col, n_row)):
        np.testing.assert_allclose(summed_weights(Plan(shape, 16, 4)), 1.0, rtol=0, atol=1e-6)


@given(plan=plans(), block=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_windows_seen_through_any_chunking_are_the_windows_of_the_plan(plan: Plan, block: tuple[int, int]) -> None:
    windows = plan.windows()
    seen = [window for one in plan.blocks(block) for window in plan.windows_in(*one)]
    assert set(seen) == set(windows)
    order = {window: place for place, window in enumerate(windows)}
    for one in plan.blocks(block):
        places = [order[window] for window in plan.windows_in(*one)]
        assert places == sorted(places)


@given(plan=plans(), block=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_windows_of_a_block_are_all_that_touch_it(plan: Plan, block: tuple[int, int]) -> None:
    row0, row1, col0, col1 = plan.blocks(block)[-1]
    expected = [
        window
        for window in plan.windows()
        if window.core[0] < row1 and window.core[1] > row0 and window.core[2] < col1 and window.core[3] > col0
    ]
    assert plan.windows_in(row0, row1, col0, col1) == expected


@given(plan=plans(), block=st.tuples(st.integers(1, 120), st.integers(1, 120)))
def test_blocks_hold_every_pixel_exactly_once(plan: Plan, block: tuple[int, int]) -> None:
    hits = np.zeros(plan.shape, int)
    for row0, row1, col0, col1 in plan.blocks(block):
        assert 0 < row1 - row0 <= block[0]
        assert 0 < col1 - col0 <= block[1]
        hits[row0:row1, col0:col1] += 1
    assert (hits == 1).all()


def test_windows_come_row_by_row_from_the_origin() -> None:
    plan = Plan((10, 13), 8, 4)
    assert len(plan) == len(plan.windows()) == 6
    assert plan.windows()[:4] == [
        Window(0, 0, (0, 8, 0, 8)),
        Window(0, 1, (0, 8, 4, 12)),
        Window(0, 2, (0, 8, 8, 16)),
        Window(1, 0, (4, 12, 0, 8)),
    ]


def test_scene_smaller_than_a_window_is_one_window_that_sticks_out() -> None:
    plan = Plan((1, 1), 256, 64, halo=32)
    (window,) = plan.windows()
    assert window == Window(0, 0, (0, 256, 0, 256))
    assert window.read(plan.halo) == (-32, 288, -32, 288)
    assert (plan.weights(window) == 1).all()


def test_block_outside_the_image_touches_nothing() -> None:
    plan = Plan((10, 10), 8, 4)
    assert plan.windows_in(10, 20, 0, 10) == []
    assert plan.windows_in(-5, 0, 0, 10) == []


@pytest.mark.parametrize("plan", [((4, 4), 8, 4, -1), ((0, 4), 8, 4, 0), ((4, 4), 8, 5, 0)])
def test_plan_that_cannot_work_is_refused(plan: tuple[tuple[int, int], int, int, int]) -> None:
    with pytest.raises(ArgumentError):
        Plan(*plan)


def test_empty_blocks_are_refused() -> None:
    with pytest.raises(ArgumentError, match="not be empty"):
        Plan((4, 4), 8, 4).blocks((0, 4))


# --- halo -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "radius", "expected"),
    [
        (4.0, 20, 32),
        (4.0004, 20, 36),
        (2.0, 20, 28),
        (1.995, 20, 28),
        (4.0 + 1e-9, 20, 32),
        ((2.0, 4.0), 20, 32),
        (4, 0, 12),
    ],
)
def test_halo_is_reach_plus_three_ms_pixels_in_fours(ratio: float, radius: int, expected: int) -> None:
    assert halo_for(ratio, radius) == expected


@pytest.mark.parametrize(("ratio", "radius"), [(0.0, 20), (math.nan, 20), (4.0, -1)])
def test_halo_of_impossible_numbers_is_refused(ratio: float, radius: int) -> None:
    with pytest.raises(ArgumentError, match="ratio must be positive"):
        halo_for(ratio, radius)
