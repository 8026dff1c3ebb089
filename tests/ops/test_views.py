"""How bands see PAN: known shifts and blurs are found, whatever the lattice, the masks and the windows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from ship_geo.ops.moments import Moments
from ship_geo.ops.mtf import mtf_sigma
from ship_geo.ops.resample import ms_centres
from ship_geo.ops.views import MIN_COUNT, REACH, BandView, blur_of, fit_views, observe
from ship_geo.ops.windows import fill

TABLE = (0.29, 0.31, 0.33, 0.35)
SHIFTS = ((0.0, 0.0), (0.63, -0.37), (-0.71, 0.22), (0.45, 0.74))
"""PAN pixels (row, col) by which bands lie off their nominal place; within the reach at ratio 2."""
GAINS = (0.22, 0.3, 0.38, 0.48)
N_WAVE = 500


class Ground:
    """Waves whose amplitudes fall as those of natural images: known at every place, and behind every Gaussian."""

    def __init__(self, seed: int = 0, n_wave: int = N_WAVE) -> None:
        rng = np.random.default_rng(seed)
        radius = np.exp(rng.uniform(math.log(0.01), math.log(0.6), n_wave))  # octaves alike
        turn = rng.uniform(0, 2 * np.pi, n_wave)
        self.frequency = np.stack([radius * np.sin(turn), radius * np.cos(turn)])  # cycles per PAN pixel
        self.phase = rng.uniform(0, 2 * np.pi, n_wave)
        self.strength = 120 * np.sqrt(2 / n_wave)

    def seen(self, rows: np.ndarray, cols: np.ndarray, sigma: float) -> np.ndarray:
        """Values at PAN positions, behind a Gaussian of `sigma` PAN pixels."""
        damping = np.exp(-2 * (np.pi * sigma) ** 2 * (self.frequency**2).sum(0))
        down = np.exp(2j * np.pi * np.outer(rows, self.frequency[0])) * (self.strength * damping)
        right = np.exp(1j * (2 * np.pi * np.outer(self.frequency[1], cols) + self.phase[:, None]))
        return np.asarray((down @ right).real)


def make_pair(
    ratio: float,
    phase: tuple[float, float],
    n_ms: int = 64,
    shifts: Sequence[tuple[float, float]] = SHIFTS,
    gains: Sequence[float] = GAINS,
    seed: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bands and PAN, whose own blur is half a pixel; bands see what PAN sees, through their own Gaussian."""
    ground, own = Ground(seed), 0.5
    n_pan = math.ceil(n_ms * ratio)
    pan = 900 + ground.seen(np.arange(n_pan), np.arange(n_pan), own)
    bands = []
    for level, ((row, col), gain) in enumerate(zip(shifts, gains, strict=True)):
        rows, cols = (ms_centres(n_ms, ratio, phase[axis]) + (row, col)[axis] for axis in (0, 1))
        sigma = math.hypot(own, mtf_sigma(gain, ratio))
        bands.append(500 + 100 * level + (0.6 + 0.2 * level) * ground.seen(rows, cols, sigma))
    return torch.from_numpy(np.stack(bands)), torch.from_numpy(pan)[None]


def look(
    ms: torch.Tensor,
    pan: torch.Tensor,
    ratio: float,
    phase: tuple[float, float] = (0.0, 0.0),
    ms_valid: torch.Tensor | None = None,
    pan_valid: torch.Tensor | None = None,
) -> Moments:
    ms_valid = torch.ones(ms.shape[-2:], dtype=torch.bool) if ms_valid is None else ms_valid
    pan_valid = torch.ones(pan.shape[-2:], dtype=torch.bool) if pan_valid is None else pan_valid
    return observe(ms, ms_valid, pan, pan_valid, ratio=(ratio, ratio), phase=phase)


def fit(moments: Sequence[Moments], ratio: float, table: Sequence[float] = TABLE) -> tuple[BandView, ...]:
    return fit_views(moments, table, (ratio, ratio))


def assert_found(
    views: Sequence[BandView],
    shifts: Sequence[tuple[float, float]] = SHIFTS,
    gains: Sequence[float] = GAINS,
    pixels: float = 0.05,
    gain: float = 0.03,
) -> None:
    found = np.array([(view.row, view.col) for view in views])
    np.testing.assert_allclose(found, shifts, atol=pixels)
    np.testing.assert_allclose([view.gnyq for view in views], gains, atol=gain)


@pytest.mark.parametrize(
    ("ratio", "phase"),
    [(4.0, (0.0, 0.0)), (4.0, (0.37, -1.3)), (2.0, (0.0, 0.0)), (2.0, (-0.5, 0.5)), (1.995, (0.3, -0.2))],
)
def test_known_shifts_and_blurs_are_found(ratio: float, phase: tuple[float, float]) -> None:
    views = fit([look(*make_pair(ratio, phase), ratio, phase)], ratio)
    assert_found(views)
    assert min(view.explained for view in views) > 0.98


def test_axes_have_their_own_ratio() -> None:
    ms, pan = make_pair(2.0, (0.0, 0.0))
    alike = torch.ones(64, 32, dtype=torch.bool)
    # every other column of MS: a pixel of 2 x 4, and the blur of 2 along both axes
    moments = observe(
        ms[:, :, ::2], alike, pan, torch.ones(128, 128, dtype=torch.bool), ratio=(2.0, 4.0), phase=(0, -1)
    )
    found = np.array([(view.row, view.col) for view in fit_views([moments], TABLE, (2.0, 4.0))])
    np.testing.assert_allclose(found, SHIFTS, atol=0.1)


def test_noise_costs_little() -> None:
    ms, pan = make_pair(4.0, (0.0, 0.0))
    rng = np.random.default_rng(1)
    noisy = [part + torch.from_numpy(rng.normal(0, 5, part.shape)) for part in (ms, pan)]
    assert_found(fit([look(*noisy, 4.0)], 4.0), pixels=0.1, gain=0.05)


@pytest.mark.parametrize("value", [0.0, 65535.0])
def test_wedges_without_data_neither_matter_nor_their_value(value: float) -> None:
    ms, pan = make_pair(4.0, (0.37, -1.3), n_ms=80)
    ms_valid = torch.from_numpy(np.add.outer(np.arange(80), np.arange(80)) > 50)
    pan_valid = torch.from_numpy(np.add.outer(np.arange(320), -np.arange(320)) < 150)
    filled = [
        fill(np.where(valid, part.numpy(), value), valid.numpy()) for part, valid in ((ms, ms_valid), (pan, pan_valid))
    ]
    moments = look(filled[0][0], filled[1][0], 4.0, (0.37, -1.3), filled[0][1], filled[1][1])
    assert 1000 < moments.count < 5000
    assert_found(fit([moments], 4.0))


def test_values_under_invalid_pixels_change_nothing() -> None:
    ms, pan = make_pair(4.0, (0.0, 0.0), n_ms=40)
    ms_valid, pan_valid = torch.ones(40, 40, dtype=torch.bool), torch.ones(160, 160, dtype=torch.bool)
    ms_valid[:10, 5:12] = False
    pan_valid[100:, 130:] = False
    found = []
    for value in (0.0, 60000.0):
        parts = [
            fill(np.where(valid, part.numpy(), value), valid.numpy())
            for part, valid in ((ms, ms_valid), (pan, pan_valid))
        ]
        found.append(look(parts[0][0], parts[1][0], 4.0, (0.0, 0.0), parts[0][1], parts[1][1]))
    assert found[0].count == found[1].count < 32 * 32
    np.testing.assert_array_equal(found[0].cov, found[1].cov)


def test_windows_of_a_scene_make_the_whole() -> None:
    ms, pan = make_pair(4.0, (0.0, 0.0), n_ms=96)
    corners = [(row, col) for row in (0, 48) for col in (0, 48)]
    parts = [
        look(ms[:, row : row + 48, col : col + 48], pan[:, 4 * row : 4 * row + 192, 4 * col : 4 * col + 192], 4.0)
        for row, col in corners
    ]
    assert_found(fit(parts, 4.0))
    merged = Moments.empty(parts[0].mean.size)
    for part in parts[::-1]:
        merged = merged.merge(part)
    for one, other in zip(fit(parts, 4.0), fit([merged], 4.0), strict=True):
        assert (one.row, one.col, one.gnyq) == pytest.approx((other.row, other.col, other.gnyq), abs=1e-6)
    whole = fit([look(ms, pan, 4.0)], 4.0)
    for one, other in zip(fit(parts, 4.0), whole, strict=True):
        assert (one.row, one.col) == pytest.approx((other.row, other.col), abs=0.03)


def test_band_that_pan_does_not_explain_takes_what_the_others_have() -> None:
    shifts, gains = ((0.6, -0.4),) * 4, (0.4,) * 4
    ms, pan = make_pair(4.0, (0.0, 0.0), shifts=shifts, gains=gains)
    ms[2] = make_pair(4.0, (0.0, 0.0), shifts=shifts, gains=gains, seed=9)[0][2]  # other ground
    views = fit([look(ms, pan, 4.0)], 4.0)
    assert views[2].explained < 0.3
    assert_found(views, shifts, gains)


def test_band_that_is_dark_where_pan_is_bright_is_not_believed() -> None:
    shifts, gains = ((0.6, -0.4),) * 4, (0.4,) * 4
    ms, pan = make_pair(4.0, (0.0, 0.0), shifts=shifts, gains=gains)
    opposed = make_pair(4.0, (0.0, 0.0), shifts=((-1.2, 1.2),) * 4, gains=gains)[0]
    ms[3] = 2000 - opposed[3]
    views = fit([look(ms, pan, 4.0)], 4.0)
    assert views[3].explained < 0.3
    assert_found(views, shifts, gains)


@pytest.mark.parametrize("is_pan_flat", [False, True])
def test_scene_without_features_has_the_values_of_the_table(is_pan_flat: bool) -> None:
    ms, pan = make_pair(4.0, (0.0, 0.0), n_ms=40)
    if is_pan_flat:
        pan = torch.full_like(pan, 500.0)
    else:
        ms = torch.full_like(ms, 500.0)
    views = fit([look(ms, pan, 4.0)], 4.0)
    assert_found(views, ((0.0, 0.0),) * 4, TABLE, pixels=1e-9, gain=1e-9)


def test_unrelated_scene_has_the_values_of_the_table() -> None:
    ms, _ = make_pair(4.0, (0.0, 0.0), seed=4)
    _, pan = make_pair(4.0, (0.0, 0.0), seed=5)
    assert_found(fit([look(ms, pan, 4.0)], 4.0), ((0.0, 0.0),) * 4, TABLE, pixels=1e-9, gain=1e-9)


def test_shift_beyond_the_reach_is_not_believed() -> None:
    far = 1.5 * REACH * 4
    views = fit([look(*make_pair(4.0, (0.0, 0.0), shifts=((far, 0.0),) * 4), 4.0)], 4.0)
    assert_found(views, ((0.0, 0.0),) * 4, TABLE, pixels=1e-9, gain=1e-9)


@pytest.mark.parametrize("n_ms", [4, 9, 20])
def test_few_pixels_tell_nothing(n_ms: int) -> None:
    moments = look(*make_pair(4.0, (0.0, 0.0), n_ms=n_ms), 4.0)
    assert moments.count < MIN_COUNT
    views = fit([moments], 4.0)
    assert [(view.row, view.col, view.gnyq, view.explained) for view in views] == [(0, 0, gain, 0) for gain in TABLE]


def test_gain_and_offset_of_a_band_do_not_matter() -> None:
    ms, pan = make_pair(4.0, (0.0, 0.0))
    plain, other = fit([look(ms, pan, 4.0)], 4.0), fit([look(7 * ms - 900, 0.1 * pan + 80, 4.0)], 4.0)
    for one, two in zip(plain, other, strict=True):
        assert (one.row, one.col, one.gnyq) == pytest.approx((two.row, two.col, two.gnyq), abs=1e-4)


def test_blur_of_a_gain_is_its_gaussian() -> None:
    for gain in (0.12, 0.3, 0.55):
        assert math.exp(-2 * (math.pi * blur_of(gain) * 0.5) ** 2) == pytest.approx(gain)
