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
    band_statistics,
    gaussian_filter,
    simulate,
)
from ship_geo.ops.mtf import mtf_sigma
from ship_geo.ops.resample import degrade, upsample

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
)


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
    assert batch.ms_stream.shape == (2, 16, inner, inner)
    assert batch.guide_stream.shape == (2, 2, inner, inner)
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
    clean = run(only(4))
    for change in (
        {"noise": 0.1},
        {"haze": 1.0},
        {"ref_blur": 2.0},
        {"pan_blur": 2.0},
        {"gnyq_error": 0.05},
        {"repeat": 1.0},
    ):
        changed = run(only(4, **change))
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
    s = band_statistics(ms_up, pan, pan_low)
    for n in range(2):
        for band in range(3):
            table = torch.stack([ms_up[n, band].flatten(), pan[n, 0].flatten(), pan_low[n, band].flatten()])
            covariance = torch.cov(table)
            assert float(s.ms_mean[n, band]) == pytest.approx(float(table[0].mean()))
            assert float(s.pan_low_std[n, band]) == pytest.approx(math.sqrt(float(covariance[2, 2])))
            if covariance[1, 2] > 0.01:
                assert float(s.gain[n, band]) == pytest.approx(float(covariance[0, 1] / covariance[1, 2]), rel=1e-2)


def test_gain_of_a_band_that_is_pan_is_the_ratio_of_covariances() -> None:
    pan = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    pan_low = upsample(degrade(pan, (16, 16), (4.0, 4.0), (0.0, 0.0), (0.3,)), (64, 64), (4.0, 4.0), (0.0, 0.0))
    assert float(band_statistics(pan_low, pan, pan_low).gain) == pytest.approx(1, rel=1e-5)
    assert float(band_statistics(3 * pan_low + 5, pan, pan_low).gain) == pytest.approx(3, rel=1e-4)


def test_weights_and_gains_of_the_intensity_are_those_of_least_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    ms_up = torch.rand(2, 3, 20, 16, generator=generator)
    pan_low = (0.5 * ms_up[:, [0]] + 0.2 * ms_up[:, [2]] + 0.05 * torch.rand(2, 1, 20, 16, generator=generator)) + 1
    s = band_statistics(ms_up, pan_low, pan_low.expand(-1, 3, -1, -1))
    for n in range(2):
        table = ms_up[n].flatten(1).double().numpy()
        centred = table - table.mean(axis=1, keepdims=True)
        target = pan_low[n].flatten().double().numpy()
        expected, *_ = np.linalg.lstsq(centred.T, target - target.mean(), rcond=None)
        np.testing.assert_allclose(s.weight[n, :, 0, 0].numpy(), expected, atol=2e-4)
        intensity = expected @ centred
        gains = [np.cov(intensity, band, ddof=0)[0, 1] / intensity.var() for band in centred]
        np.testing.assert_allclose(s.intensity_gain[n, :, 0, 0].numpy(), gains, rtol=2e-3)


def test_repeated_band_shares_its_weight() -> None:
    ms_up = torch.rand(1, 3, 20, 16, generator=torch.Generator().manual_seed(0))[:, [0, 1, 1]]
    s = band_statistics(ms_up, ms_up[:, [1]], ms_up[:, [1]].expand(-1, 3, -1, -1))
    assert s.weight.flatten().tolist() == pytest.approx([0, 0.5, 0.5], abs=1e-3)


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


def test_details_the_network_reads_predict_what_ms_lacks() -> None:
    batch = run(only(4, hidden=0.0, cover=0.0), seed=1, size=128)
    missing, detail = batch.ref - batch.ms_stream[:, :4], batch.ms_stream[:, 4:8]
    correlation = torch.corrcoef(torch.stack([missing.flatten(), detail.flatten()]))[0, 1]
    assert float(correlation) > 0.8
