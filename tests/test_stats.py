"""Statistics of a scene: equal to plain numpy over all valid pixels, whatever the parts; gains in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ship_geo.errors import ArgumentError, ProductError
from ship_geo.ops.sharpness import detail_energy, sharpness
from ship_geo.ops.views import BandView, blur_of
from ship_geo.ops.windows import PreparedWindow
from ship_geo.stats import HAZE, SceneStats, WindowStats, intensity_weights

ALL = slice(None), slice(None)
VIEWS = tuple(BandView(0.0, 0.0, gain, 1.0) for gain in (0.2, 0.3, 0.45))


def make_window(seed: int = 0, n_band: int = 3, shape: tuple[int, int] = (20, 24)) -> PreparedWindow:
    generator = torch.Generator().manual_seed(seed)

    def draw(n: int) -> torch.Tensor:
        return torch.rand(n, *shape, generator=generator) * 1000 + 100

    valid = torch.rand(*shape, generator=generator) > 0.2
    ms_up = draw(n_band)
    return PreparedWindow(ms_up=ms_up, pan=draw(1), pan_low=draw(n_band), valid=valid, ms_placed=ms_up)


def measure(window: PreparedWindow, inside: tuple[slice, slice] = ALL) -> WindowStats:
    return WindowStats.measure(window, inside, float(window.ms_up.max()))


def stacked(window: PreparedWindow, inside: tuple[slice, slice] = ALL) -> np.ndarray:
    """(variable, valid pixel) float64."""
    whole = np.concatenate([window.ms_up, window.pan, window.pan_low]).astype(np.float64)
    return whole[:, *inside][:, window.valid.numpy()[inside]]


def test_moments_are_those_of_the_valid_pixels_inside_the_scene() -> None:
    window, inside = make_window(), (slice(0, 11), slice(0, 17))
    stats = SceneStats.merged([measure(window, inside)])
    samples = stacked(window, inside)
    np.testing.assert_allclose(stats.moments.mean, samples.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(stats.moments.cov, np.cov(samples, bias=True), rtol=1e-9)
    assert stats.moments.count == samples.shape[1]
    assert stats.n_pixel == 11 * 17
    assert stats.valid_fraction == samples.shape[1] / (11 * 17)


def test_parts_of_a_scene_make_the_whole() -> None:
    window = make_window()
    halves = [measure(window, (slice(0, 7), slice(None))), measure(window, (slice(7, None), slice(None)))]
    whole, merged = SceneStats.merged([measure(window)]), SceneStats.merged(halves)
    np.testing.assert_allclose(merged.moments.cov, whole.moments.cov, rtol=1e-10)
    assert (merged.ms_max, merged.n_pixel, merged.valid_fraction) == (whole.ms_max, whole.n_pixel, whole.valid_fraction)


def test_window_without_valid_pixels_adds_nothing() -> None:
    window = make_window()
    empty = replace(window, valid=torch.zeros_like(window.valid))
    alone = SceneStats.merged([measure(window)])
    both = SceneStats.merged([WindowStats.measure(empty, ALL, -np.inf), measure(window)])
    np.testing.assert_array_equal(both.moments.cov, alone.moments.cov)
    assert (both.ms_max, both.haze) == (alone.ms_max, alone.haze)
    assert both.valid_fraction == alone.valid_fraction / 2


def test_scene_without_valid_pixels_is_refused() -> None:
    window = make_window()
    empty = replace(window, valid=torch.zeros_like(window.valid))
    with pytest.raises(
        ProductError,
        match=r"needs pixels that are valid in PAN and in all MS bands, got none among 960; check the nodata",
    ):
        SceneStats.merged([WindowStats.measure(empty, ALL, -np.inf)] * 2)


def test_haze_is_a_low_quantile_of_each_band() -> None:
    window = make_window()
    stats = SceneStats.merged([measure(window)])
    expected = np.quantile(stacked(window)[:3], HAZE, axis=1)
    np.testing.assert_allclose(stats.haze, expected, atol=25)  # a sample of the pixels


def make_mixture(seed: int = 0) -> tuple[PreparedWindow, np.ndarray]:
    """PAN is a known mixture of the bands without any detail; bands follow PAN with known gains."""
    rng = np.random.default_rng(seed)
    weights = np.array([0.2, 0.5, 0.3])
    ms = rng.uniform(100, 1500, (3, 40, 50)).astype(np.float32)
    pan = np.tensordot(weights, ms, 1)[None] + 77
    tensors = [torch.from_numpy(values.astype(np.float32)) for values in (ms, pan, np.repeat(pan, 3, 0))]
    return PreparedWindow(*tensors, torch.ones(40, 50, dtype=torch.bool), tensors[0]), weights


def test_intensity_of_a_mixture_has_its_weights_and_offset() -> None:
    window, weights = make_mixture()
    found, offset = SceneStats.merged([measure(window)]).intensity
    np.testing.assert_allclose(found, weights, atol=1e-3)
    assert offset == pytest.approx(77, abs=1)


def test_gains_of_the_network_are_the_regressions_of_their_sources() -> None:
    window, weights = make_mixture()
    stats = SceneStats.merged([measure(window)], views=VIEWS)
    samples = stacked(window)
    cov = np.cov(samples, bias=True)
    statistics = stats.network_statistics([2, 0, 0])
    np.testing.assert_allclose(statistics.gain.ravel(), (cov[3, :3] / cov[3, 4:])[[2, 0, 0]], rtol=1e-5)
    intensity = weights @ samples[:3]
    slopes = [np.cov(intensity, band, bias=True)[0, 1] / intensity.var() for band in samples[:3]]
    np.testing.assert_allclose(statistics.intensity_gain.ravel(), np.array(slopes)[[2, 0, 0]], rtol=5e-3)
    np.testing.assert_allclose(statistics.ms_std.ravel(), samples[[2, 0, 0]].std(axis=1), rtol=1e-5)
    np.testing.assert_allclose(statistics.ms_mean.ravel(), samples[[2, 0, 0]].mean(axis=1), rtol=1e-6)
    assert statistics.pan_mean.shape == (1, 1, 1, 1)
    slopes = [np.polyfit(low, band, 1)[0] for low, band in zip(samples[4:], samples[:3], strict=True)]
    np.testing.assert_allclose(statistics.low_gain.ravel(), np.array(slopes)[[2, 0, 0]], rtol=1e-4)
    np.testing.assert_allclose(statistics.blur.ravel(), [blur_of(gain) for gain in (0.45, 0.2, 0.2)], rtol=1e-6)
    expected = sharpness(detail_energy(window.pan[0].double()).sum((1, 2)))
    assert float(statistics.sharpness) == pytest.approx(float(expected), rel=1e-6)


def test_statistics_without_views_are_not_for_networks() -> None:
    stats = SceneStats.merged([measure(make_window())])
    with pytest.raises(ArgumentError, match="statistics without views; gather them with `observe`"):
        stats.network_statistics([0])


def test_energy_of_detail_is_that_of_pixels_with_valid_neighbours() -> None:
    window = make_window()
    valid = torch.ones_like(window.valid)
    valid[9, 4] = False
    part = measure(replace(window, valid=valid))
    each = detail_energy(window.pan[0].double())  # of pixels 3 from the edge on
    known = torch.ones(14, 18, dtype=torch.bool)
    known[3:10, :5] = False  # within 3 pixels of the invalid one at (9, 4)
    np.testing.assert_allclose(part.energy, each[:, known].sum(1), rtol=1e-12)
    hot = window.pan.clone()
    hot[0, 9, 4] = 1e9
    np.testing.assert_array_equal(measure(replace(window, valid=valid, pan=hot)).energy, part.energy)


def test_energies_of_windows_add_up_and_small_windows_have_none() -> None:
    one, other = make_window(0), make_window(1, shape=(16, 30))
    parts = [measure(replace(window, valid=torch.ones_like(window.valid))) for window in (one, other)]
    tiny = measure(make_window(2, shape=(6, 24)))
    assert tiny.energy.tolist() == [0, 0]
    assert all((part.energy > 0).all() for part in parts)
    np.testing.assert_allclose(SceneStats.merged([*parts, tiny]).energy, parts[0].energy + parts[1].energy)


def test_constant_scene_gives_finite_statistics() -> None:
    flat = torch.full((2, 8, 8), 500.0)
    window = PreparedWindow(flat, flat[:1], flat, torch.ones(8, 8, dtype=torch.bool), flat)
    statistics = SceneStats.merged([measure(window)], views=VIEWS[:2]).network_statistics([0, 1])
    for name, value in vars(statistics).items():
        assert bool(torch.isfinite(value).all()), name
    assert bool((statistics.ms_std > 0).all())
    assert bool((statistics.gain == 0).all())


def test_equal_bands_share_their_weight() -> None:
    cov = np.full((3, 3), 400.0)
    np.testing.assert_allclose(intensity_weights(cov, np.full(3, 400.0)), np.full(3, 1 / 3), rtol=1e-3)
