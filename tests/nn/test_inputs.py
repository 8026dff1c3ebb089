"""Input streams: closed forms on numbers, the classical methods they stand for, and what dark or hot pixels may do."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ship_geo.baselines import get_method
from ship_geo.data.simulation import band_statistics
from ship_geo.nn.inputs import (
    BLUR,
    BLUR_SPREAD,
    FLOOR,
    LIMIT,
    N_DETAIL,
    N_GUIDE,
    N_PART,
    N_STREAM,
    SHARPNESS,
    SHARPNESS_SPREAD,
    SOFT,
    BandStatistics,
    mixture_parts,
    network_streams,
)
from ship_geo.ops.moments import Moments
from ship_geo.ops.sharpness import detail_energy
from ship_geo.ops.views import BandView, blur_of
from ship_geo.stats import SAMPLE_SIZE, SceneStats, WindowStats

FS, HPM, GSA, BT_H = (slice(3 * k, 3 * k + 3) for k in (1, 2, 3, 4))
"""Channels of the details of three bands."""

VIEWS = tuple(BandView(0.0, 0.0, gain, 1.0) for gain in (0.25, 0.3, 0.35))


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)


def plain_statistics() -> BandStatistics:
    return BandStatistics(
        ms_mean=column(100, 200),
        ms_std=column(10, 20),
        pan_mean=column(300),
        pan_std=column(30),
        pan_low_mean=column(300, 300),
        low_gain=column(0.4, 1),
        gain=column(0.5, 2),
        intensity_gain=column(0.3, 0.8),
        haze=column(60, 120),
        intensity_haze=column(220),
        blur=column(0.6, 0.45),
        sharpness=column(-0.5),
    )


def images(n: int = 2, size: int = 9) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """MS, PAN, low-passed PAN and intensity around the means of `plain_statistics`."""
    generator = torch.Generator().manual_seed(0)
    ms_up = torch.rand(n, 2, size, size, generator=generator) * 20 + torch.tensor([90.0, 190.0])[:, None, None]
    pan = torch.rand(n, 1, size, size, generator=generator) * 60 + 270
    intensity = 300 + 0.8 * (ms_up.mean(1, keepdim=True) - 150)
    return ms_up, pan, (pan * 0.5 + 150).repeat(1, 2, 1, 1), intensity


@dataclass(frozen=True)
class Scene:
    """Three bands and PAN, (band, row, col), with the statistics over their pixels."""

    ms_up: Tensor
    pan: Tensor
    pan_low: Tensor
    stats: SceneStats

    @property
    def intensity(self) -> Tensor:
        weight, offset = self.stats.intensity
        return (torch.from_numpy(weight).float()[:, None, None] * self.ms_up).sum(0, keepdim=True) + offset

    def streams(self, statistics: BandStatistics | None = None) -> tuple[Tensor, Tensor]:
        """Streams without the sample axis."""
        statistics = statistics or self.stats.network_statistics((0, 1, 2))
        parts = (part[None] for part in (self.ms_up, self.pan, self.pan_low, self.intensity))
        ms_stream, guide_stream = network_streams(*parts, statistics)
        return ms_stream[0], guide_stream[0]

    def detail(self, channels: slice) -> Tensor:
        """Detail of a method in DN."""
        return self.streams()[0][channels] * self.stats.network_statistics((0, 1, 2)).ms_std[0]


def measured(ms_up: Tensor, pan: Tensor, pan_low: Tensor, n_window: int = 2) -> SceneStats:
    """Statistics of a scene that is read in windows of whole rows."""
    parts = []
    for window in zip(*(part.chunk(n_window, 1) for part in (ms_up, pan, pan_low)), strict=True):
        values = torch.cat(window).flatten(1).numpy()
        sample = values[:3, :: -(-values.shape[1] // SAMPLE_SIZE)]
        energy = detail_energy(window[1][0].double()).sum((1, 2)).numpy()
        parts.append(
            WindowStats(Moments.from_samples(values), float(values[:3].max()), values.shape[1], sample, energy)
        )
    return SceneStats.merged(parts, views=VIEWS)


def scene(shape: tuple[int, int] = (20, 24), *, explained: bool = False) -> Scene:
    """A scene far from all floors and limits; `explained`: low-passed PAN is exactly a mix of the bands."""
    generator = torch.Generator().manual_seed(3)
    own = torch.randn(3, *shape, generator=generator)
    level, spread = (torch.tensor(values)[:, None, None] for values in ([900.0, 600.0, 400.0], [60.0, 50.0, 40.0]))
    ms_up = level + spread * (own + 0.7 * torch.randn(shape, generator=generator)) / 2
    mix = 0.5 * ms_up[:1] + 0.3 * ms_up[1:2] + 0.4 * ms_up[2:]
    pan_low = mix + (0 if explained else 8) * torch.randn(3, *shape, generator=generator)
    pan_low = pan_low - pan_low.mean((1, 2), keepdim=True) + mix.mean()
    fine = 15 * torch.randn(1, *shape, generator=generator)
    pan = mix + fine - fine.mean()  # as bright as the low-passed PAN, as it is where filters keep the mean
    return Scene(ms_up, pan, pan_low, measured(ms_up, pan, pan_low))


def test_streams_have_the_stated_channels() -> None:
    ms_stream, guide_stream = network_streams(*images(), plain_statistics())
    assert ms_stream.shape[1] == 2 * N_STREAM
    assert guide_stream.shape[1] == N_GUIDE


def test_one_pixel_has_its_closed_form() -> None:
    pixel = column(120, 180), column(345), column(320, 330), column(310)
    ms_stream, guide_stream = network_streams(*pixel, plain_statistics())
    # the low-passed PAN is matched to MS by regression
    matched = (100 + 20 * 0.4, 200 + 30 * 1.0)
    modulation = (120 * 25 * 0.4 / matched[0] / 10, 180 * 15 * 1.0 / matched[1] / 20)
    unexplained = 345 - 310
    substitution = (0.3 * unexplained / 10, 0.8 * unexplained / 20)
    clear = 310 - 220
    dehazed = ((120 - 60) * unexplained / clear / 10, (180 - 120) * unexplained / clear / 20)
    expected = [2.0, -1.0, 1.25, 1.5, *modulation, *substitution, *dehazed, 1.0, -0.5]
    assert ms_stream.flatten().tolist() == pytest.approx(expected)
    assert guide_stream.flatten().tolist() == pytest.approx([1.5, 20 / 30, -0.5])


def test_skip_comes_first_and_is_the_standardised_ms() -> None:
    ms_up, *others = images()
    s = plain_statistics()
    ms_stream, _ = network_streams(ms_up, *others, s)
    torch.testing.assert_close(ms_stream[:, :2] * s.ms_std + s.ms_mean, ms_up)


@pytest.mark.parametrize(("name", "channels"), [("mtf-glp-fs", FS), ("gsa", GSA)])
def test_detail_is_what_the_classical_method_adds(name: str, channels: slice) -> None:
    made, method = scene(), get_method(name)
    fused = method.apply(made.ms_up, made.pan, made.pan_low, method.fit(made.stats))
    added = fused - made.ms_up
    assert float(added.std()) > 3
    # the regression of the intensity has a ridge here and none there
    torch.testing.assert_close(made.detail(channels), added, atol=0.02, rtol=0)


def test_second_detail_is_the_modulation_by_regressed_pan() -> None:
    made = scene()
    bands, pan, low = (part.double().flatten(1).numpy() for part in (made.ms_up, made.pan, made.pan_low))
    for band in range(3):
        slope, offset = np.polyfit(low[band], bands[band], 1)
        matched = slope * low[band] + offset
        # MTF-GLP-HPM-R: ms_up * (matched PAN / matched low PAN), both by the same line
        fused = bands[band] * (slope * pan[0] + offset) / matched
        added = torch.from_numpy(fused - bands[band]).float().reshape(made.ms_up[band].shape)
        assert float(added.std()) > 3
        torch.testing.assert_close(made.detail(HPM)[band], added, atol=0.02, rtol=0)


def test_planes_tell_blur_and_sharpness_within_three_spreads() -> None:
    s = dataclasses.replace(plain_statistics(), blur=column(BLUR + BLUR_SPREAD, 9), sharpness=column(-9.0))
    ms_stream, guide_stream = network_streams(*images(), s)
    torch.testing.assert_close(ms_stream[:, 10], torch.ones_like(ms_stream[:, 10]))
    assert bool((ms_stream[:, 11] == 3).all())
    assert bool((guide_stream[:, 2] == -3).all())
    s = dataclasses.replace(s, sharpness=column(SHARPNESS + 2 * SHARPNESS_SPREAD))
    _, guide_stream = network_streams(*images(), s)
    torch.testing.assert_close(guide_stream[:, 2], torch.full_like(guide_stream[:, 2], 2.0))


def test_last_detail_is_that_of_bth_where_the_bands_explain_pan() -> None:
    made = scene(explained=True)
    bands, pan, low = (part.double().flatten(1).numpy() for part in (made.ms_up, made.pan, made.pan_low))
    haze = np.quantile(bands, 0.005, axis=1)[:, None]
    weight, *_ = np.linalg.lstsq(bands.T, low[0], rcond=None)
    clear = weight @ (bands - haze)
    stretched = (pan[0] - low[0].mean()) * clear.std() / low[0].std() + clear.mean()
    fused = np.maximum(bands - haze, 0) * stretched / clear + haze
    added = torch.from_numpy(fused - np.maximum(bands, haze)).float().reshape(made.ms_up.shape)

    s = made.stats.network_statistics((0, 1, 2))
    floor = FLOOR * float(s.pan_mean - s.intensity_haze) + 0.05 * float(s.pan_std)
    far = torch.from_numpy(clear > 1.05 * floor).reshape(made.pan.shape[1:])
    assert float(far.float().mean()) > 0.9
    assert bool((made.ms_up < torch.from_numpy(haze).float()[:, None]).any())
    torch.testing.assert_close(made.detail(BT_H)[:, far], added[:, far], atol=0.05, rtol=2e-3)


def test_last_detail_of_a_dark_pixel_divides_by_the_floor() -> None:
    pixel = column(70, 110), column(260), column(255, 255), column(222)  # 2 above the intensity of the haze
    ms_stream, _ = network_streams(*pixel, plain_statistics())
    floor = 0.2 * (300 - 220) + 0.05 * 30
    assert ms_stream[0, 8:10].flatten().tolist() == pytest.approx([10 * 38 / floor / 10, 0.0])


def test_details_vanish_where_pan_equals_its_low_pass_or_intensity() -> None:
    ms_up, pan, _, intensity = images()
    same = pan.expand(-1, 2, -1, -1)
    ms_stream, guide_stream = network_streams(ms_up, pan, same, intensity, plain_statistics())
    assert not ms_stream[:, 2:6].any()
    assert not guide_stream[:, 1].any()
    ms_stream, _ = network_streams(ms_up, pan, same, pan, plain_statistics())
    assert not ms_stream[:, 2 : 2 + 2 * N_DETAIL].any()


def test_all_details_of_a_band_that_is_pan_are_the_same() -> None:
    # a band that equals the low-passed PAN in mean, spread and value gets pan - pan_low whole
    _, pan, pan_low, _ = images()
    low, one, none = pan_low[:, :1], column(300), column(0)
    slope, told = column(1), (column(BLUR), column(SHARPNESS))
    s = BandStatistics(one, column(25), one, column(30), one, slope, slope, slope, none, none, *told)
    ms_stream, _ = network_streams(low, pan, low, low, s)
    for detail in (2, 3, 4):
        torch.testing.assert_close(ms_stream[:, detail], ms_stream[:, 1], atol=1e-5, rtol=1e-5)


def is_free_of_unit(name: str) -> bool:
    return name.endswith("gain") or name in ("blur", "sharpness")


@pytest.mark.parametrize("factor", [0.01, 30.0])
def test_unit_of_the_dn_does_not_matter(factor: float) -> None:
    s = plain_statistics()
    names = [field.name for field in dataclasses.fields(s) if not is_free_of_unit(field.name)]
    scaled = dataclasses.replace(s, **{name: factor * getattr(s, name) for name in names})
    expected = network_streams(*images(), s)
    for got, stream in zip(network_streams(*(factor * x for x in images()), scaled), expected, strict=True):
        torch.testing.assert_close(got, stream, atol=1e-4, rtol=1e-4)


def test_offset_of_pan_does_not_matter() -> None:
    ms_up, pan, pan_low, intensity = images()
    s = plain_statistics()
    names = ("pan_mean", "pan_low_mean", "intensity_haze")
    moved = dataclasses.replace(s, **{name: getattr(s, name) + 500 for name in names})
    expected = network_streams(ms_up, pan, pan_low, intensity, s)
    shifted = network_streams(ms_up, pan + 500, pan_low + 500, intensity + 500, moved)
    for got, stream in zip(shifted, expected, strict=True):
        torch.testing.assert_close(got, stream, atol=1e-4, rtol=1e-4)


def test_haze_matters_to_the_last_detail_alone() -> None:
    s = plain_statistics()
    hazier = dataclasses.replace(s, haze=s.haze + 20, intensity_haze=s.intensity_haze + 16)
    expected, _ = network_streams(*images(), s)
    got, _ = network_streams(*images(), hazier)
    assert torch.equal(got[:, :8], expected[:, :8])
    assert not torch.isclose(got[:, 8:10], expected[:, 8:10]).any()
    assert torch.equal(got[:, 10:], expected[:, 10:])


@pytest.mark.parametrize("dn", [0.0, 1e6])
def test_dark_and_hot_pixels_stay_within_the_limit(dn: float) -> None:
    ms_up, pan, pan_low, intensity = images()
    pan[0, 0, 4, 4] = dn
    pan_low[0, :, 4, 4] = intensity[0, :, 4, 4] = 0
    ms_stream, guide_stream = network_streams(ms_up, pan, pan_low, intensity, plain_statistics())
    assert bool(torch.isfinite(ms_stream).all())
    assert float(ms_stream[:, 2:].abs().max()) <= LIMIT
    assert float(guide_stream[:, 1:].abs().max()) <= LIMIT


def test_statistics_of_each_sample_are_its_own() -> None:
    s = plain_statistics()
    names = tuple(BandStatistics.__dataclass_fields__)
    pair = BandStatistics(*(torch.cat([getattr(s, name), getattr(s, name) * 1.5]) for name in names))
    other = BandStatistics(*(getattr(s, name) * 1.5 for name in names))
    together = network_streams(*images(), pair)
    for i, own in enumerate((s, other)):
        alone = network_streams(*(part[[i]] for part in images()), own)
        for got, stream in zip(together, alone, strict=True):
            torch.testing.assert_close(got[[i]], stream)


def test_parts_of_a_mixture_are_two_details_their_soft_copies_and_the_residual() -> None:
    generator = torch.Generator().manual_seed(3)
    *details, residual = (torch.randn(2, 3, 40, 44, generator=generator) for _ in range(N_DETAIL + 1))
    parts = mixture_parts(details, residual)
    assert len(parts) == N_PART
    for part, same in zip((parts[0], parts[1], parts[4]), (details[0], details[3], residual), strict=True):
        assert part is same
    for soft, sharp in ((parts[2], details[0]), (parts[3], details[3])):
        expected = gaussian_filter(sharp.numpy(), SOFT, axes=(2, 3), mode="nearest", truncate=8)
        np.testing.assert_allclose(soft, expected, atol=1e-5)


def test_intensity_of_a_scene_is_least_squares_with_intercept() -> None:
    made = scene()
    bands, low = (part.double().flatten(1).numpy() for part in (made.ms_up, made.pan_low))
    design = np.vstack([bands, np.ones(bands.shape[1])])
    expected, *_ = np.linalg.lstsq(design.T, low.mean(0), rcond=None)
    weight, offset = made.stats.intensity
    np.testing.assert_allclose(weight, expected[:-1], rtol=2e-3)  # a ridge of 1e-4
    assert offset == pytest.approx(expected[-1], abs=2e-3 * float(made.pan.mean()))
    assert float(made.intensity.mean()) == pytest.approx(float(made.pan.mean()), rel=1e-6)


def test_statistics_of_repeated_and_flat_bands_stay_finite() -> None:
    base = scene()
    ms_up = torch.cat([base.ms_up[[0, 0]], torch.full_like(base.pan, 77.0)])
    made = Scene(ms_up, base.pan, base.pan_low, measured(ms_up, base.pan, base.pan_low))
    weight, _ = made.stats.intensity
    assert weight[0] == pytest.approx(weight[1], rel=1e-3)
    for bands in ((0, 1, 2), (0, 0, 0), (1, 2, 2), (2, 2, 2)):
        statistics = made.stats.network_statistics(bands)
        assert all(bool(torch.isfinite(value).all()) for value in vars(statistics).values())
        parts = (part[None] for part in (ms_up[list(bands)], made.pan, made.pan_low, made.intensity))
        ms_stream, guide_stream = network_streams(*parts, statistics)
        assert bool(torch.isfinite(ms_stream).all())
        assert bool(torch.isfinite(guide_stream).all())


def test_scene_without_any_contrast_gives_finite_streams() -> None:
    base = scene()
    ms_up, pan, pan_low = (torch.full_like(part, 100.0) for part in (base.ms_up, base.pan, base.pan_low))
    ms_stream, guide_stream = Scene(ms_up, pan, pan_low, measured(ms_up, pan, pan_low)).streams()
    assert not ms_stream[: 3 * (1 + N_DETAIL)].any()
    assert not guide_stream[:2].any()
    assert bool(torch.isfinite(ms_stream).all())
    assert bool(torch.isfinite(guide_stream).all())


def test_network_reads_in_the_field_what_it_was_trained_on() -> None:
    made = scene((64, 64))
    pixels = (made.ms_up, made.pan, made.pan_low)
    made = dataclasses.replace(made, stats=measured(*pixels, n_window=1))  # looks for haze at every eighth pixel, too
    unit = 1 / 1000  # training sees values around one
    parts = tuple(unit * part[None] for part in pixels)
    blur = column(*(blur_of(view.gnyq) for view in VIEWS))
    trained, intensity, weight = band_statistics(*parts, blur)
    field = made.stats.network_statistics((0, 1, 2))
    for name, value in vars(field).items():
        factor = 1.0 if is_free_of_unit(name) else unit
        torch.testing.assert_close(factor * value, getattr(trained, name), atol=1e-4, rtol=1e-3, msg=name)
    torch.testing.assert_close(weight.flatten(), torch.from_numpy(made.stats.intensity[0]).float(), atol=1e-3, rtol=0)
    torch.testing.assert_close(unit * made.intensity[None], intensity, atol=1e-4, rtol=0)
    for got, stream in zip(made.streams(), network_streams(*parts, intensity, trained), strict=True):
        torch.testing.assert_close(got[None], stream, atol=5e-3, rtol=5e-3)
