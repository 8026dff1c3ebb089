"""The shift between PAN and MS: known shifts are found, nodata and noise do no harm, and nonsense is not believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from affine import Affine

from ship_geo.errors import ArgumentError
from ship_geo.grids import Grid, GridPair
from ship_geo.ops.resample import degrade
from ship_geo.register import BORDER, Shift, WindowPair, estimate_shift, moved_grid

N_MS = 2 * BORDER + 44
COLOURS = ((0.9, 0.2), (0.6, 0.5), (0.4, 0.8), (-0.3, 0.9))


def draw_town(n: int, seed: int) -> np.ndarray:
    """Two materials' worth of overlapping rectangles, (2, n, n)."""
    rng = np.random.default_rng(seed)
    town = np.zeros((2, n, n))
    for _ in range(n * n // 250):
        row, col = rng.integers(0, n, 2)
        height, width = rng.integers(4, 24, 2)
        town[:, row : row + height, col : col + width] = rng.uniform(0, 400, (2, 1, 1))
    return town + 300


def look(
    shifts: Sequence[tuple[float, float]],
    *,
    ratio: float = 4.0,
    phase: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
    noise: float = 0.0,
    gnyq: float = 0.35,
) -> WindowPair:
    """A window whose band k must be moved by ``shifts[k]`` MS pixels; PAN sees both materials and noise."""
    n_pan, rng = int(N_MS * ratio), np.random.default_rng(seed + 100)
    town = torch.from_numpy(draw_town(n_pan, seed))
    colours = torch.tensor(COLOURS[: len(shifts)], dtype=town.dtype)
    bands = torch.einsum("bm,mrc->brc", colours, town)
    ms = torch.cat(
        [
            degrade(
                band[None], (N_MS, N_MS), (ratio, ratio), tuple(phase[i] + ratio * shift[i] for i in (0, 1)), (gnyq,)
            )
            for band, shift in zip(bands, shifts, strict=True)
        ]
    ).numpy()
    pan = 0.6 * town[:1].numpy() + 0.5 * town[1:].numpy()
    ms, pan = (image + noise * rng.normal(size=image.shape) for image in (ms, pan))
    everywhere = np.ones((N_MS, N_MS), np.bool_), np.ones((n_pan, n_pan), np.bool_)
    return WindowPair(ms, everywhere[0], pan, everywhere[1], (ratio, ratio), phase)


def masked(window: WindowPair, fill: float) -> WindowPair:
    """A wedge without data in both images, another edge in each."""
    masks = []
    for image, offset in ((window.ms, 0.1), (window.pan, 0.14)):
        rows, cols = np.indices(image.shape[1:]) / image.shape[1]
        masks.append(rows + 0.3 * cols > 0.35 + offset)
    ms, pan = (np.where(mask, image, fill) for mask, image in zip(masks, (window.ms, window.pan), strict=True))
    return WindowPair(ms, masks[0], pan, masks[1], window.ratio, window.phase)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.37, -0.81), (-2.9, 1.55), (3.0, -3.0), (7.6, -6.2)])
def test_known_shifts_are_found_to_a_fiftieth_of_a_pixel(shift: tuple[float, float]) -> None:
    found = estimate_shift([look([shift] * 4)], (0.3,) * 4)
    assert (found.row, found.col) == pytest.approx(shift, abs=0.02)
    for row, col, _ in found.per_band:
        assert (row, col) == pytest.approx(shift, abs=0.1)


@pytest.mark.parametrize("phase", [(0.0, 0.0), (-0.5, -0.5), (-1.3, 0.4)])
@pytest.mark.parametrize("ratio", [2.0, 1.995])
def test_the_phase_of_the_grids_is_no_shift(ratio: float, phase: tuple[float, float]) -> None:
    found = estimate_shift([look([(1.2, -0.4)] * 3, ratio=ratio, phase=phase)], (0.3,) * 3)
    assert (found.row, found.col) == pytest.approx((1.2, -0.4), abs=0.02)


@pytest.mark.parametrize("gnyq", [0.15, 0.5])
def test_the_mtf_need_not_be_known(gnyq: float) -> None:
    found = estimate_shift([look([(0.6, 0.3)] * 4)], (gnyq,) * 4)
    assert (found.row, found.col) == pytest.approx((0.6, 0.3), abs=0.03)


def test_noise_does_little_harm() -> None:
    windows = [look([(-1.4, 0.7)] * 4, ratio=2, noise=25, seed=seed) for seed in range(3)]
    found = estimate_shift(windows, (0.3,) * 4)
    assert (found.row, found.col) == pytest.approx((-1.4, 0.7), abs=0.03)
    assert found.is_confident
    assert found.n_window == 3


def test_a_wedge_without_data_does_no_harm_and_its_fill_none_at_all() -> None:
    window = look([(0.9, -2.3)] * 4)
    found, other = (estimate_shift([masked(window, fill)], (0.3,) * 4) for fill in (0.0, 60000.0))
    assert (found.row, found.col) == pytest.approx((0.9, -2.3), abs=0.025)
    assert found == other


def test_two_groups_of_bands_with_their_own_shifts_show_up_per_band() -> None:
    shifts = [(0.4, -0.3), (0.4, -0.3), (-0.6, 0.9), (-0.6, 0.9)]
    found = estimate_shift([look(shifts, seed=seed) for seed in range(3)], (0.3,) * 4)
    for (row, col, confidence), shift in zip(found.per_band, shifts, strict=True):
        assert (row, col) == pytest.approx(shift, abs=0.1)
        assert confidence > 0.5
    assert found.band_spread == pytest.approx(np.hypot(1.0, 1.2), abs=0.1)


def test_a_window_that_moved_otherwise_is_left_out() -> None:
    windows = [look([shift] * 4, ratio=2, seed=seed) for seed, shift in enumerate([(0.5, 0.25)] * 4 + [(0.9, -0.4)])]
    found = estimate_shift(windows, (0.3,) * 4)
    assert (found.row, found.col) == pytest.approx((0.5, 0.25), abs=0.02)


def test_unrelated_images_are_not_believed() -> None:
    windows = []
    for seed in range(4):
        one, other = (look([(0.0, 0.0)] * 4, ratio=2, seed=number) for number in (seed, seed + 50))
        windows.append(WindowPair(one.ms, one.ms_valid, other.pan, other.pan_valid, one.ratio, one.phase))
    found = estimate_shift(windows, (0.3,) * 4)
    assert found.confidence < 0.4
    assert not found.is_confident


def test_images_without_features_are_not_believed() -> None:
    shape, pan_shape, rng = (2, N_MS, N_MS), (1, 2 * N_MS, 2 * N_MS), np.random.default_rng(0)
    masks = np.ones(shape[1:], np.bool_), np.ones(pan_shape[1:], np.bool_)
    noisy = [
        WindowPair(rng.normal(500, 3, shape), masks[0], rng.normal(700, 3, pan_shape), masks[1], (2, 2), (0, 0))
        for _ in range(4)
    ]
    plain = WindowPair(np.full(shape, 500), masks[0], np.full(pan_shape, 700), masks[1], (2.0, 2.0), (0.0, 0.0))
    assert estimate_shift(noisy, (0.3, 0.3)).confidence < 0.4
    assert estimate_shift([plain], (0.3, 0.3)).confidence == 0


def test_one_window_alone_and_none_at_all_are_not_believed() -> None:
    assert not estimate_shift([look([(0.2, 0.2)] * 4)], (0.3,) * 4).is_confident
    assert estimate_shift([], (0.3, 0.3)) == Shift(0.0, 0.0, 0.0, 0, 0.0, ((0.0, 0.0, 0.0),) * 2)


def test_nothing_valid_gives_no_confidence() -> None:
    window = look([(0.0, 0.0)] * 2, ratio=2)
    blind = WindowPair(window.ms, ~window.ms_valid, window.pan, window.pan_valid, window.ratio, window.phase)
    found = estimate_shift([blind], (0.3, 0.3))
    assert (found.confidence, found.n_window, found.spread) == (0, 0, 0)


def test_the_estimate_does_not_depend_on_the_number_of_threads() -> None:
    window, before = look([(0.3, -0.2)] * 3, ratio=2), torch.get_num_threads()
    found = estimate_shift([window], (0.3,) * 3)
    try:
        torch.set_num_threads(1)
        assert estimate_shift([window], (0.3,) * 3) == found
    finally:
        torch.set_num_threads(before)


def test_windows_without_room_for_a_template_are_refused() -> None:
    small = np.ones((2 * BORDER, 2 * BORDER), np.bool_)
    with pytest.raises(ArgumentError, match=rf"border of {BORDER} on every side, got \({2 * BORDER}, "):
        WindowPair(small[None], small, small[None], small, (2.0, 2.0), (0.0, 0.0))


def test_a_moved_grid_puts_the_content_of_ms_where_pan_has_it() -> None:
    pan = Grid((80, 80), Affine(0.5, 0, 500000, 0, -0.5, 4640000), "EPSG:32633")
    ms = Grid((20, 20), Affine(2, 0, 500000, 0, -2, 4640000), "EPSG:32633")
    moved = moved_grid(ms, (0.25, -0.5))
    assert moved.transform[:6] == (2, 0, 499999.0, 0, -2, 4639999.5)
    assert GridPair.from_grids(moved, pan).phase == (1.0, -2.0)  # PAN pixels: ratio 4 times the shift
    assert (moved.shape, moved.crs) == (ms.shape, ms.crs)
