"""Simulated pairs: reproducible, standardised, and physically what the network is told they are."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from ship_geo.data.simulation import (
    MARGIN,
    SimulatedBatch,
    SimulationConfig,
    _bias,
    _Draw,
    _towards_scene,
    band_statistics,
    gaussian_filter,
    simulate,
)
from ship_geo.nn.inputs import N_DETAIL, N_GUIDE, N_STREAM, BandStatistics
from ship_geo.ops.mtf import mtf_sigma
from ship_geo.ops.resample import degrade, upsample
from ship_geo.ops.sharpness import detail_energy, sharpness

CLEAN = SimulationConfig(
    gnyq=(0.3, 0.3),
    gnyq_spread=0.0,
    gnyq_error=0.0,
    shift=0.0,
    band_shift=0.0,
    ref_blur=0.0,
    pan_blur=0.0,
    noise=0.0,
    haze=0.0,
    repeat=0.0,
    nir_blind=0.0,
    crispness=0.0,
)


BLUR = torch.full((1, 1, 1, 1), 0.5)
"""Told to the network; no other statistic depends on it."""


def chips(n: int, size: int, band: int = 4) -> Tensor:
    """Textured DN, uint8."""
    coarse = torch.rand(n, band, size // 4, size // 4, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")
    fine = torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(1))
    return (40 + 120 * smooth + 60 * fine).to(torch.uint8)


def run(config: SimulationConfig | None = None, seed: int = 0, n: int = 1, size: int = 96) -> SimulatedBatch:
    values = chips(n, size)
    mean, std = values.float().mean((-2, -1)), values.float().std((-2, -1))
    return simulate(values, torch.Generator().manual_seed(seed), mean, std, config)


def only(ratio: int, **changes: object) -> SimulationConfig:
    return dataclasses.replace(CLEAN, ratios=(ratio,), ratio_weights=(1.0,), **changes)  # type: ignore[arg-type]


def in_dn(batch: SimulatedBatch) -> tuple[Tensor, Tensor]:
    """Upsampled MS and reference with the standardisation undone."""
    s = batch.statistics
    return batch.ms_stream[:, :4] * s.ms_std + s.ms_mean, batch.ref * s.ms_std + s.ms_mean


def test_same_seed_gives_the_same_bytes_and_another_one_does_not() -> None:
    one, two, other = run(seed=5), run(seed=5), run(seed=6)
    for name in ("ms_stream", "guide_stream", "ref"):
        assert torch.equal(getattr(one, name), getattr(two, name))
        assert not torch.equal(getattr(one, name), getattr(other, name))


def test_global_random_numbers_are_neither_read_nor_written() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    one = run()
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(99)
    assert torch.equal(run().ref, one.ref)


@pytest.mark.parametrize("ratio", [2, 4])
def test_streams_have_their_channels_and_lose_the_margin(ratio: int) -> None:
    batch = run(only(ratio), n=2)
    inner = 96 - 2 * MARGIN
    assert batch.ms_stream.shape == (2, N_STREAM * 4, inner, inner)
    assert batch.guide_stream.shape == (2, N_GUIDE, inner, inner)
    assert batch.ref.shape == (2, 4, inner, inner)


@pytest.mark.parametrize("seed", range(3))
def test_everything_is_finite_and_of_order_one(seed: int) -> None:
    batch = run(seed=seed)
    for part in (batch.ms_stream, batch.guide_stream, batch.ref):
        assert part.dtype == torch.float32
        assert bool(torch.isfinite(part).all())
        assert 0.05 < float(part.std()) < 10


@pytest.mark.parametrize(("ratio", "seed"), [(2, 0), (4, 1), (4, 2)])
def test_without_nuisances_ms_is_the_degraded_reference(ratio: int, seed: int) -> None:
    ms_up, ref = in_dn(run(only(ratio), seed, size=136))
    size = ref.shape[-1]
    steps, phase = (float(ratio), float(ratio)), (0.0, 0.0)
    low = degrade(ref, (size // ratio, size // ratio), steps, phase, (0.3,) * 4)
    inside = (..., slice(24, -24), slice(24, -24))  # further in than the filters of both sides reach
    torch.testing.assert_close(upsample(low, (size, size), steps, phase)[inside], ms_up[inside], atol=2e-4, rtol=0)


@pytest.mark.parametrize("ratio", [2, 4])
def test_ms_holds_little_beyond_its_nyquist_frequency(ratio: int) -> None:
    ms_up, ref = in_dn(run(only(ratio), size=128))

    def share_beyond(values: Tensor) -> float:
        window = torch.hann_window(values.shape[-1])
        power = torch.fft.fft2((values - values.mean((-2, -1), keepdim=True)) * window * window[:, None]).abs() ** 2
        frequency = torch.fft.fftfreq(values.shape[-1]).abs()
        beyond = torch.maximum(frequency, frequency[:, None]) > 1.2 / (2 * ratio)
        return float(power[..., beyond].sum() / power.sum())

    assert share_beyond(ms_up) < 0.02
    assert share_beyond(ref) > 5 * share_beyond(ms_up)


def test_shift_moves_ms_against_the_reference() -> None:
    still, moved = (in_dn(run(only(2, shift=shift), seed=3))[0] for shift in (0.0, 0.4))
    difference = (still - moved).abs().mean()
    slope = (still.diff(dim=-1).abs().mean() + still.diff(dim=-2).abs().mean()) * 0.4
    assert 0 < float(difference) <= float(slope)


def test_each_nuisance_changes_the_pair() -> None:
    clean = run(only(4), n=3)  # blur of PAN is small in many samples
    for change in (
        {"noise": 0.1},
        {"haze": 1.0},
        {"ref_blur": 2.0},
        {"pan_blur": 20.0},
        {"gnyq_error": 0.05},
        {"repeat": 1.0},
    ):
        changed = run(only(4, **change), n=3)
        assert not torch.equal(changed.ms_stream, clean.ms_stream), change


def test_statistics_are_between_the_regions_own_and_the_scenes() -> None:
    values = chips(2, 96)
    own = values.float().mean((-2, -1)), values.float().std((-2, -1))
    order = torch.Generator().manual_seed(0)
    permutation = torch.randperm(4, generator=order)  # the first draw of a simulation
    far = simulate(values, torch.Generator().manual_seed(0), own[0] + own[1], 2 * own[1], only(4)).statistics
    near = simulate(values, torch.Generator().manual_seed(0), *own, only(4)).statistics
    spread = own[1][:, permutation, None, None] / 256
    step = far.ms_mean - near.ms_mean
    assert bool((step > 0).all())
    assert bool((step <= spread * 1.05).all())
    growth = far.ms_std / near.ms_std
    assert bool(((growth >= 1) & (growth <= 2.01)).all())


def test_statistics_are_moments_over_the_pixels_of_each_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    ms_up, pan_low = (torch.rand(2, 3, 20, 16, generator=generator).double() for _ in range(2))
    pan = torch.rand(2, 1, 20, 16, generator=generator).double()
    blur = torch.full((2, 3, 1, 1), 0.5)
    s, *_ = band_statistics(ms_up, pan, pan_low, blur)
    assert s.blur is blur
    told = sharpness(detail_energy(pan[:, 0]).mean((-2, -1)))
    torch.testing.assert_close(s.sharpness.flatten(), told)
    for n in range(2):
        for band in range(3):
            table = torch.stack([ms_up[n, band].flatten(), pan[n, 0].flatten(), pan_low[n, band].flatten()])
            covariance = torch.cov(table)
            assert float(s.ms_mean[n, band]) == pytest.approx(float(table[0].mean()))
            assert float(s.low_gain[n, band]) == pytest.approx(float(covariance[0, 2] / covariance[2, 2]))
            if covariance[1, 2] > 0.01:
                assert float(s.gain[n, band]) == pytest.approx(float(covariance[0, 1] / covariance[1, 2]), rel=1e-2)


def test_gain_of_a_band_that_is_pan_is_the_ratio_of_covariances() -> None:
    pan = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    pan_low = upsample(degrade(pan, (16, 16), (4.0, 4.0), (0.0, 0.0), (0.3,)), (64, 64), (4.0, 4.0), (0.0, 0.0))
    assert float(band_statistics(pan_low, pan, pan_low, BLUR)[0].gain) == pytest.approx(1, rel=1e-5)
    assert float(band_statistics(3 * pan_low + 5, pan, pan_low, BLUR)[0].gain) == pytest.approx(3, rel=1e-4)


def test_intensity_and_its_gains_are_those_of_least_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    ms_up = torch.rand(2, 3, 20, 16, generator=generator)
    pan = (0.5 * ms_up[:, [0]] + 0.2 * ms_up[:, [2]] + 0.05 * torch.rand(2, 1, 20, 16, generator=generator)) + 1
    s, intensity, weight = band_statistics(ms_up, pan, pan.expand(-1, 3, -1, -1), BLUR)
    for n in range(2):
        table = ms_up[n].flatten(1).double().numpy()
        design = np.vstack([table, np.ones(table.shape[1])])
        expected, *_ = np.linalg.lstsq(design.T, pan[n].flatten().double().numpy(), rcond=None)
        np.testing.assert_allclose(weight[n].flatten().numpy(), expected[:3], atol=2e-4)
        fitted = expected @ design
        np.testing.assert_allclose(intensity[n].flatten().numpy(), fitted, atol=2e-4)
        gains = [np.cov(fitted, band, ddof=0)[0, 1] / fitted.var() for band in table]
        np.testing.assert_allclose(s.intensity_gain[n, :, 0, 0].numpy(), gains, rtol=2e-3)


def test_repeated_band_shares_its_weight() -> None:
    ms_up = torch.rand(1, 3, 20, 16, generator=torch.Generator().manual_seed(0))[:, [0, 1, 1]]
    _, _, weight = band_statistics(ms_up, ms_up[:, [1]], ms_up[:, [1]].expand(-1, 3, -1, -1), BLUR)
    assert weight.flatten().tolist() == pytest.approx([0, 0.5, 0.5], abs=1e-3)


def test_haze_is_a_low_quantile_and_the_intensity_there() -> None:
    # values 0 ... 1999 in any order: sampled at every eighth of them, the lowest half per cent ends near 10
    ms_up = torch.randperm(2000, generator=torch.Generator().manual_seed(0)).reshape(1, 1, 40, 50) / 2000
    ms_up = torch.cat([ms_up, 0.5 + 0.25 * ms_up.flip(-1)], 1)
    pan = 0.3 * ms_up[:, :1] + 0.5 * ms_up[:, 1:] + 2
    s, _, weight = band_statistics(ms_up, pan, pan.expand(-1, 2, -1, -1), BLUR)
    assert 0 <= float(s.haze[0, 0]) <= 0.02
    assert 0.5 <= float(s.haze[0, 1]) <= 0.505
    assert weight.flatten().tolist() == pytest.approx([0.3, 0.5], abs=1e-3)
    expected = 0.3 * float(s.haze[0, 0]) + 0.5 * float(s.haze[0, 1]) + 2
    assert float(s.intensity_haze) == pytest.approx(expected, abs=1e-3)


def own_statistics() -> tuple[BandStatistics, Tensor]:
    """Statistics and weights of some regions of four bands."""
    ms_up = chips(6, 32).float() / 256
    pan = ms_up.mean(1, keepdim=True) + 0.1
    s, _, weight = band_statistics(ms_up, pan, pan.expand(-1, 4, -1, -1), BLUR)
    return s, weight


def test_statistics_on_their_way_to_the_scene_stay_those_of_one_intensity() -> None:
    own, weight = own_statistics()
    step = torch.linspace(-1, 2, 24).reshape(6, 4, 1, 1)
    draw = _Draw(torch.Generator().manual_seed(0), torch.device("cpu"))
    s = _towards_scene(own, weight, step, torch.full_like(step, 3.0), draw)
    share = (s.ms_mean - own.ms_mean) / (step * own.ms_std)
    torch.testing.assert_close(share, share.mean(1, keepdim=True).expand_as(share), atol=1e-4, rtol=1e-4)
    assert bool(((share > 0) & (share < 1)).all())
    for moved, before in ((s.ms_std, own.ms_std), (s.pan_std, own.pan_std)):
        torch.testing.assert_close(moved / before, 3 ** share[:, : moved.shape[1]], atol=1e-4, rtol=1e-4)
    # what the bands' means move, the intensity's mean does; what their haze moves, its haze does
    brighter = (weight * (s.ms_mean - own.ms_mean)).sum(1, keepdim=True)
    torch.testing.assert_close(s.pan_mean - own.pan_mean, brighter, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(s.pan_low_mean - own.pan_low_mean, brighter.expand(-1, 4, -1, -1), atol=1e-5, rtol=1e-4)
    at_haze = own.pan_mean + (weight * (s.haze - own.ms_mean)).sum(1, keepdim=True)
    torch.testing.assert_close(s.intensity_haze, at_haze, atol=1e-5, rtol=1e-4)
    assert bool((s.haze < own.haze).all())
    jitter = s.gain / own.gain
    torch.testing.assert_close(s.intensity_gain / own.intensity_gain, jitter, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(s.low_gain / own.low_gain, jitter, atol=1e-4, rtol=1e-4)
    assert s.blur is own.blur
    assert bool(((jitter > 0.5) & (jitter < 2)).all())


def test_error_of_the_intensity_is_a_small_slope_and_offset() -> None:
    intensity = torch.randn(500, 1, 6, 6, generator=torch.Generator().manual_seed(0)) * 3
    draw = _Draw(torch.Generator().manual_seed(1), torch.device("cpu"))
    error = _bias(intensity, draw).flatten(1).double().numpy()
    lines = np.array([np.polyfit(x, y, 1) for x, y in zip(intensity.flatten(1).double().numpy(), error, strict=True)])
    made = lines[:, :1] * intensity.flatten(1).double().numpy() + lines[:, 1:]
    np.testing.assert_allclose(made, error, atol=1e-5)
    spread = intensity.std((-3, -2, -1)).double().numpy()
    slope, offset = lines[:, 0], lines[:, 1] / spread
    for part in (slope, offset):
        assert abs(part.mean()) < 0.01
        assert part.std() == pytest.approx(0.05, rel=0.15)
    assert abs(np.corrcoef(slope, offset)[0, 1]) < 0.15


def test_haze_adds_one_offset_to_each_band_and_to_pan() -> None:
    clear, hazy = (run(only(4, haze=haze), n=2) for haze in (0.0, 0.7))

    def pan_of(batch: SimulatedBatch) -> Tensor:
        return batch.guide_stream[:, :1] * batch.statistics.pan_std + batch.statistics.pan_mean

    for one, other in ((in_dn(clear)[1], in_dn(hazy)[1]), (pan_of(clear), pan_of(hazy))):
        offset = other - one
        torch.testing.assert_close(offset, offset[..., :1, :1].expand_as(offset), atol=2e-4, rtol=0)
        share = offset.mean((-2, -1)) / one.mean((-2, -1))
        assert bool(((share > 0) & (share < 0.7**2 * 1.1)).all())


def test_darkest_pixels_may_be_clear_or_hazy() -> None:
    clear, hazy = (run(only(4, haze=haze), n=2).statistics for haze in (0.0, 0.7))
    assert bool((hazy.haze > clear.haze).all())


@pytest.mark.parametrize("shape", [(1, 1), (2, 3)])
def test_gaussian_filter_is_that_of_scipy(shape: tuple[int, int]) -> None:
    values = torch.rand(*shape, 40, 30, generator=torch.Generator().manual_seed(0))
    sigma = 0.7 + torch.rand(shape, generator=torch.Generator().manual_seed(1))
    got = gaussian_filter(values, sigma)
    for n in range(shape[0]):
        for band in range(shape[1]):
            oracle = ndimage.gaussian_filter(values[n, band].numpy(), float(sigma[n, band]), radius=12, mode="nearest")
            torch.testing.assert_close(got[n, band], torch.from_numpy(oracle), atol=1e-5, rtol=0)


def test_gaussian_filter_samples_a_ramp_further_on() -> None:
    rows, cols = torch.meshgrid(torch.arange(50.0), torch.arange(50.0), indexing="ij")
    ramps = torch.stack([rows, cols])[None]
    shift = torch.tensor([[[0.3, -9.0], [7.0, -0.4]]])
    moved = gaussian_filter(ramps, torch.full((1, 2), 1.5), shift)[..., 24:26, 24:26]
    torch.testing.assert_close(moved, ramps[..., 24:26, 24:26] + torch.tensor([0.3, -0.4])[:, None, None])


def test_radius_holds_the_widest_kernel() -> None:
    widest = mtf_sigma(0.08, 4)
    reach = 12 - (1.5 + SimulationConfig().shift + SimulationConfig().band_shift)
    assert math.erfc(reach / widest / math.sqrt(2)) < 2e-3


@pytest.mark.parametrize("detail", range(1, N_DETAIL + 1))
def test_details_the_network_reads_predict_what_ms_lacks(detail: int) -> None:
    batch = run(only(4, hidden=0.0, cover=0.0), seed=1, size=128)
    missing, guess = batch.ref - batch.ms_stream[:, :4], batch.ms_stream[:, 4 * detail : 4 * detail + 4]
    correlation = torch.corrcoef(torch.stack([missing.flatten(), guess.flatten()]))[0, 1]
    assert float(correlation) > 0.65  # PAN is sharper than the reference, and its response is bent
