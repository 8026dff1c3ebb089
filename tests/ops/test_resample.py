"""Resampling: ramps, centroids, frequency response, loops in float64, and the antialiased cubic of torch and Pillow."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from ship_geo.ops.mtf import mtf_sigma
from ship_geo.ops.resample import (
    apply_axes,
    axis_decimate,
    axis_interpolate,
    axis_shift,
    axis_shrink,
    degrade,
    move,
    ms_centres,
    shrink,
    upsample,
)

RATIOS = (4.0, 2.0, 1.995, 4.0004)
PHASES = (0.0, -0.5, 0.5, 1.3, -2.0)

lattices = st.tuples(st.integers(1, 30), st.integers(1, 90), st.floats(1, 8), st.floats(-9, 9), st.floats(0.1, 0.6))


def centre(k: int, ratio: float, phase: float) -> float:
    """PAN index of the centre of MS pixel k: the middle between its two outer edges, edges being half a pixel off."""
    return (phase + k * ratio + phase + (k + 1) * ratio) / 2 - 0.5


def test_centres_lie_in_the_middle_of_the_pixels_they_cover() -> None:
    np.testing.assert_allclose(ms_centres(4, 4.0, 0.0), [1.5, 5.5, 9.5, 13.5])
    np.testing.assert_allclose(ms_centres(3, 2.0, -0.5), [0, 2, 4])
    np.testing.assert_allclose(ms_centres(9, 1.995, 0.3), [centre(k, 1.995, 0.3) for k in range(9)])


@given(lattices)
def test_rows_of_every_matrix_sum_to_one(lattice: tuple[int, int, float, float, float]) -> None:
    n_ms, n_pan, ratio, phase, gnyq = lattice
    matrices = (
        axis_decimate(n_ms, n_pan, ratio, phase, gnyq),
        axis_interpolate(n_pan, n_ms, ratio, phase),
        axis_shrink(n_ms, n_pan, ratio, phase),
        axis_shift(n_pan, phase),
    )
    for matrix in matrices:
        assert bool(torch.isfinite(matrix).all())
        torch.testing.assert_close(matrix.double().sum(1), torch.ones(len(matrix)).double(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("phase", PHASES)
def test_ramp_survives_upsampling(ratio: float, phase: float) -> None:
    n_ms, n_pan = 14, 50
    ms = torch.from_numpy(ms_centres(n_ms, ratio, phase)).float()
    ramp = axis_interpolate(n_pan, n_ms, ratio, phase) @ ms
    index = torch.arange(n_pan)
    inside = (index >= centre(1, ratio, phase)) & (index <= centre(n_ms - 2, ratio, phase))
    assert int(inside.sum()) > 15
    torch.testing.assert_close(ramp[inside], index[inside].float(), atol=2e-5, rtol=0)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("phase", PHASES)
def test_ramp_survives_decimation(ratio: float, phase: float) -> None:
    ms = axis_decimate(30, 120, ratio, phase, 0.3) @ torch.arange(120.0)
    centres = torch.from_numpy(ms_centres(30, ratio, phase)).float()
    inside = (centres >= 20) & (centres <= 99)
    torch.testing.assert_close(ms[inside], centres[inside], atol=1e-3, rtol=0)


@pytest.mark.parametrize(("phase", "expected"), [(0.0, 4 * 6 + 1.5), (-1.5, 4 * 6), (0.5, 4 * 6 + 2)])
def test_impulse_has_its_centroid_at_the_centre_of_its_pixel(phase: float, expected: float) -> None:
    ms = torch.zeros(1, 13, 13)
    ms[0, 6, 6] = 1
    ms_up = upsample(ms, (52, 52), (4.0, 4.0), (phase, phase))[0]
    for axis in (0, 1):
        line = ms_up.sum(1 - axis)
        assert float((line * torch.arange(52.0)).sum() / line.sum()) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("ratio", "gnyq"), [(4.0, 0.11), (4.0, 0.35), (4.0, 0.55), (2.0, 0.22), (1.995, 0.2)])
def test_wave_at_the_ms_nyquist_frequency_is_damped_by_the_gain(ratio: float, gnyq: float) -> None:
    assert mtf_sigma(gnyq, ratio) >= 0.9
    row = axis_decimate(1, 81, ratio, 40.0, gnyq)[0].double()
    position = torch.arange(81).double() - centre(0, ratio, 40.0)
    response = torch.stack([(row * wave(math.pi / ratio * position)).sum() for wave in (torch.cos, torch.sin)])
    assert float(response.norm()) == pytest.approx(gnyq, abs=1e-3)


@pytest.mark.parametrize(("ratio", "phase"), [(4.0, 0.0), (2.0, -0.5), (1.995, 0.37)])
def test_decimation_is_the_double_loop(ratio: float, phase: float) -> None:
    n_ms, n_pan, gnyq = 7, 19, 0.27
    pan = np.random.default_rng(0).normal(size=n_pan)
    sigma = ratio / math.pi * math.sqrt(-2 * math.log(gnyq))
    expected = []
    for k in range(n_ms):
        total = weight = 0.0
        middle = centre(k, ratio, phase)
        for j in range(-60, 80):
            if abs(j - middle) <= 20:
                w = math.exp(-((j - middle) ** 2) / (2 * sigma**2))
                total += w * pan[min(max(j, 0), n_pan - 1)]
                weight += w
        expected.append(total / weight)
    got = axis_decimate(n_ms, n_pan, ratio, phase, gnyq).double().numpy() @ pan
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_interpolation_is_the_centred_cubic_of_torch() -> None:
    ms = torch.rand(1, 1, 12, 10, generator=torch.Generator().manual_seed(0))
    # with antialias=True torch takes a = -1/2; upwards the filter is not stretched
    oracle = functional.interpolate(ms, scale_factor=4, mode="bicubic", antialias=True)[0]
    ms_up = upsample(ms[0], (48, 40), (4.0, 4.0), (0.0, 0.0))
    torch.testing.assert_close(ms_up[:, 8:-8, 8:-8], oracle[:, 8:-8, 8:-8], atol=1e-5, rtol=0)


def test_interpolation_returns_the_samples_where_centres_coincide() -> None:
    ms = torch.rand(3, 9, 9, generator=torch.Generator().manual_seed(0))
    ms_up = upsample(ms, (17, 17), (2.0, 2.0), (-0.5, -0.5))
    torch.testing.assert_close(ms_up[:, ::2, ::2], ms)


def test_pixels_beyond_the_array_repeat_its_edge() -> None:
    ms = torch.rand(5, generator=torch.Generator().manual_seed(0))
    far = axis_interpolate(60, 5, 4.0, 20.0) @ ms
    torch.testing.assert_close(far[:12], ms[0].expand(12))
    torch.testing.assert_close(far[-10:], ms[-1].expand(10))
    torch.testing.assert_close(axis_decimate(2, 5, 4.0, -100.0, 0.3) @ ms, ms[0].expand(2))


@pytest.mark.parametrize(("ratio", "phase"), [(4.0, 0.0), (2.0, -0.5), (3.98, 1.3)])
def test_shrinking_keeps_ramps_inside(ratio: float, phase: float) -> None:
    matrix = axis_shrink(12, 48, ratio, phase).numpy()
    centres = np.array([centre(k, ratio, phase) for k in range(12)])
    inside = (centres > 2 * ratio) & (centres < 47 - 2 * ratio)
    np.testing.assert_allclose((matrix @ np.arange(48.0))[inside], centres[inside], atol=0.02)


def test_shrinking_is_the_antialiased_cubic_of_torch() -> None:
    pan = torch.rand(1, 1, 64, 48, generator=torch.Generator().manual_seed(0)).double()
    oracle = functional.interpolate(pan, scale_factor=0.25, mode="bicubic", antialias=True)[0]
    low = shrink(pan[0], (16, 12), (4.0, 4.0), (0.0, 0.0))
    torch.testing.assert_close(low[:, 2:-2, 2:-2], oracle[:, 2:-2, 2:-2], atol=1e-6, rtol=0)


def test_shrinking_is_that_of_pillow() -> None:
    image = pytest.importorskip("PIL.Image")
    line = np.random.default_rng(0).normal(size=(1, 64)).astype(np.float32)
    oracle = np.asarray(image.fromarray(line).resize((16, 1), image.Resampling.BICUBIC))[0]
    np.testing.assert_allclose((axis_shrink(16, 64, 4.0, 0.0).numpy() @ line[0])[2:-2], oracle[2:-2], atol=1e-5)


def test_shrinking_mirrors_the_edge() -> None:
    line = torch.rand(16, generator=torch.Generator().manual_seed(0)).double()
    mirrored = torch.cat([line.flip(0), line, line.flip(0)])
    long = axis_shrink(12, 48, 4.0, 0.0) @ mirrored
    torch.testing.assert_close(axis_shrink(4, 16, 4.0, 0.0) @ line, long[4:8])


@pytest.mark.parametrize("shift", [0.3, -0.5, 1.75, -2.1])
def test_shift_samples_a_ramp_further_on(shift: float) -> None:
    index = torch.arange(40.0)
    inside = slice(7, -7)
    # a windowed sinc keeps lines nearly: its weights sum to one, their centroid is off by less than this
    torch.testing.assert_close((axis_shift(40, shift) @ index)[inside], (index + shift)[inside], atol=0.02, rtol=0)


@pytest.mark.parametrize("shift", [0, 1, -3, 40])
def test_whole_shift_is_a_copy_with_the_edge_repeated(shift: int) -> None:
    line = torch.rand(12, generator=torch.Generator().manual_seed(0))
    expected = line[(torch.arange(12) + shift).clamp(0, 11)]
    assert torch.equal(axis_shift(12, float(shift)) @ line, expected)


@pytest.mark.parametrize("shift", [0.25, -0.5, 1.6])
def test_shift_of_a_wave_is_its_phase(shift: float) -> None:
    index = torch.arange(60, dtype=torch.float64)
    for frequency in (0.05, 0.15, 0.3):
        wave = torch.cos(2 * math.pi * frequency * index)
        expected = torch.cos(2 * math.pi * frequency * (index + shift))
        moved = axis_shift(60, shift).double() @ wave
        torch.testing.assert_close(moved[8:-8], expected[8:-8], atol=0.02, rtol=0)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_axes_shorter_than_the_sinc_keep_a_constant(n: int) -> None:
    torch.testing.assert_close(axis_shift(n, 0.4) @ torch.full((n,), 7.0), torch.full((n,), 7.0))


def test_bands_move_by_their_own_rows_and_columns() -> None:
    values = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    shifts = [(0.0, 0.0), (2.0, -3.0), (-0.4, 0.7)]
    moved = move(values, shifts)
    assert torch.equal(moved[:, 0], values[:, 0])
    assert torch.equal(moved[:, 1, :-2, 3:], values[:, 1, 2:, :-3])
    expected = axis_shift(20, -0.4) @ values[:, 2] @ axis_shift(24, 0.7).mT
    torch.testing.assert_close(moved[:, 2], expected)


def test_move_back_gives_what_is_not_too_fine_back() -> None:
    rows, cols = torch.meshgrid(torch.arange(50.0), torch.arange(40.0), indexing="ij")
    waves = (torch.cos(0.9 * rows + 0.4 * cols), torch.sin(0.2 * rows - 1.1 * cols))
    values = torch.stack(waves).double()
    shifts = [(0.45, -1.3), (-0.8, 0.5)]
    moved = move(values, shifts)
    back = move(moved, [(-row, -col) for row, col in shifts])
    inside = np.s_[:, 10:-10, 10:-10]
    assert float((moved - values)[inside].abs().max()) > 0.5
    torch.testing.assert_close(back[inside], values[inside], atol=0.02, rtol=0)


def test_axes_are_rows_then_columns() -> None:
    values = torch.rand(2, 6, 8, generator=torch.Generator().manual_seed(0))
    rows, cols = torch.eye(6)[[4]], torch.eye(8)[[1, 7]]
    torch.testing.assert_close(apply_axes(values, rows, cols), values[:, [4]][:, :, [1, 7]])


@pytest.mark.parametrize("gnyq", [(0.3, 0.3, 0.3), (0.2, 0.3, 0.4)])
def test_bands_are_degraded_by_their_own_gain(gnyq: tuple[float, ...]) -> None:
    pan = torch.rand(2, 3, 40, 32, generator=torch.Generator().manual_seed(0))
    ratio, phase = (4.0, 2.0), (0.0, -0.5)
    together = degrade(pan, (10, 16), ratio, phase, gnyq)
    for band, gain in enumerate(gnyq):
        alone = degrade(pan[:, [band]], (10, 16), ratio, phase, (gain,))
        torch.testing.assert_close(together[:, [band]], alone)


@pytest.mark.parametrize("gnyq", [(0.3, 0.3), (0.2, 0.4)])
def test_one_band_is_shared_by_all_gains(gnyq: tuple[float, ...]) -> None:
    pan = torch.rand(1, 24, 24, generator=torch.Generator().manual_seed(0))
    low = degrade(pan, (6, 6), (4.0, 4.0), (0.0, 0.0), gnyq)
    assert low.shape == (2, 6, 6)
    torch.testing.assert_close(low[[1]], degrade(pan, (6, 6), (4.0, 4.0), (0.0, 0.0), gnyq[1:]))


@settings(max_examples=30)
@given(st.integers(0, 65535), st.floats(1, 6), st.floats(-3, 3))
def test_constant_is_reproduced_after_rounding(dn: int, ratio: float, phase: float) -> None:
    pan = torch.full((1, 30, 30), float(dn))
    there = degrade(pan, (8, 8), (ratio, ratio), (phase, phase), (0.3,))
    back = upsample(there, (30, 30), (ratio, ratio), (phase, phase))
    assert bool((back.round() == dn).all())
