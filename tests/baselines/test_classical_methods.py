"""Classical methods: closed forms, invariants, and the measured effect of our low-pass on GSA."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ship_geo.baselines import (
    METHODS,
    BroveyCoefficients,
    GlpHpmCoefficients,
    StackLayout,
    apply_brovey,
    apply_glp_hpm,
    apply_gsa,
    fit_brovey,
    fit_glp_fs,
    fit_glp_hpm,
    fit_glp_hpm_r,
    fit_gsa,
    get_method,
)
from ship_geo.errors import ArgumentError
from ship_geo.ops.moments import Moments
from ship_geo.ops.resample import degrade
from ship_geo.ops.windows import prepare_window
from ship_geo.stats import SceneStats, WindowStats

RATIO = (4.0, 4.0)
PHASE = (0.0, 0.0)


def _layers(ms: Tensor, pan: Tensor, gnyq: tuple[float, ...]) -> tuple[Tensor, Tensor, SceneStats]:
    """Interpolated MS, low-passed PAN and the statistics of the scene, of which this is the only window."""
    layers = [(image.numpy(), np.ones(image.shape[1:], np.bool_)) for image in (ms, pan)]
    window = prepare_window(*layers, ratio=RATIO, phase=PHASE, gnyq_ms=gnyq, halo=0, for_stats=True)
    measured = WindowStats.measure(window, (slice(None), slice(None)), float(ms.max()))
    roles = ("blue", "green", "red", "nir") if len(ms) == 4 else ()
    return window.ms_up, window.pan_low, SceneStats.merged([measured], roles)


@pytest.fixture
def scene() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Reference, PAN as a combination of its bands, MS, and the gains' tensor: a world where fusion is possible."""
    rng = np.random.default_rng(3)
    spectrum = np.fft.rfft2(rng.normal(size=(4, 64, 64)))
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64))
    texture = np.fft.irfft2(spectrum / (0.02 + frequency), s=(64, 64))
    mixing = np.array([[1, 0.1, 0, 0], [0.9, 0.3, 0, 0], [0.8, 0.2, 0.3, 0], [0.5, -0.2, 0.1, 0.3]])
    ref = 500 + 60 * np.tensordot(mixing, texture / texture.std(), 1)
    pan = 20 + np.tensordot([0.1, 0.3, 0.4, 0.2], ref, 1)[None]
    tensors = [torch.from_numpy(array.astype(np.float32)) for array in (ref, pan)]
    ms = degrade(tensors[0], (16, 16), RATIO, PHASE, (0.3,) * 4)
    return tensors[0], tensors[1], ms, torch.tensor([0.3] * 4)


@pytest.mark.parametrize("name", METHODS)
def test_shape_and_type_are_those_of_ms_up(name: str, scene: tuple[Tensor, ...]) -> None:
    _, pan, ms, _ = scene
    ms_up, pan_low, stats = _layers(ms, pan, (0.3,) * 4)
    method = get_method(name.upper())
    coefficients = method.fit(stats)
    fused = method.apply(ms_up, pan, pan_low, coefficients)
    assert (fused.shape, fused.dtype) == (ms_up.shape, torch.float32)
    batch = method.apply(ms_up.repeat(2, 1, 1, 1), pan.repeat(2, 1, 1, 1), pan_low.repeat(2, 1, 1, 1), coefficients)
    torch.testing.assert_close(batch[1], fused)


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_pointwise(name: str, scene: tuple[Tensor, ...]) -> None:
    _, pan, ms, _ = scene
    ms_up, pan_low, stats = _layers(ms, pan, (0.3,) * 4)
    method = METHODS[name]
    coefficients = method.fit(stats)
    whole = method.apply(ms_up, pan, pan_low, coefficients)
    window = (slice(None), slice(5, 20), slice(40, 64))
    torch.testing.assert_close(method.apply(ms_up[window], pan[window], pan_low[window], coefficients), whole[window])


@pytest.mark.parametrize("name", [name for name in METHODS if name != "exp"])
def test_methods_beat_interpolation(name: str, scene: tuple[Tensor, ...]) -> None:
    ref, pan, ms, _ = scene
    ms_up, pan_low, stats = _layers(ms, pan, (0.3,) * 4)
    fused = METHODS[name].apply(ms_up, pan, pan_low, METHODS[name].fit(stats))
    assert float((fused - ref).square().mean()) < 0.5 * float((ms_up - ref).square().mean())


@pytest.mark.parametrize("name", METHODS)
def test_a_constant_scene_stays_as_it_is(name: str) -> None:
    ms = torch.tensor([300.0, 200.0])[:, None, None].expand(2, 16, 16)
    pan = torch.full((1, 64, 64), 250.0)
    ms_up, pan_low, stats = _layers(ms, pan, (0.3, 0.3))
    fused = METHODS[name].apply(ms_up, pan, pan_low, METHODS[name].fit(stats))
    torch.testing.assert_close(fused, ms_up, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("exp", "brovey")])
def test_pan_that_does_not_vary_adds_nothing(name: str, scene: tuple[Tensor, ...]) -> None:
    ms_up, pan_low, stats = _layers(scene[2], torch.full((1, 64, 64), 250.0), (0.3,) * 4)
    pan = torch.full((1, 64, 64), 250.0)
    fused = METHODS[name].apply(ms_up, pan, pan_low, METHODS[name].fit(stats))
    torch.testing.assert_close(fused, ms_up, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", ["one band", "two bands", "a constant band", "a black band", "noise", "black"])
def test_odd_scenes_give_values_near_those_of_ms(name: str, kind: str, scene: tuple[Tensor, ...]) -> None:
    ms, pan = scene[2].clone(), scene[1]
    if kind == "one band":
        ms = ms[:1]
    elif kind == "two bands":
        ms = ms[:2]
    elif kind == "a constant band":
        ms[1] = 400
    elif kind == "a black band":
        ms[1] = 0
    elif kind == "noise":
        ms[2] = 500 + 60 * torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
    else:
        ms, pan = ms * 0, pan * 0
    ms_up, pan_low, stats = _layers(ms, pan, (0.3,) * len(ms))
    fused = METHODS[name].apply(ms_up, pan, pan_low, METHODS[name].fit(stats))
    spread = 5 * float(pan.max() - pan.min())
    assert torch.isfinite(fused).all()
    assert float((fused - ms_up).abs().max()) <= spread
    if kind in ("a constant band", "a black band") and name in ("gsa", "mtf-glp-fs", "mtf-glp-hpm", "mtf-glp-hpm-r"):
        torch.testing.assert_close(fused[1], ms_up[1], rtol=1e-3, atol=1e-3)  # they inject by covariance or variance


def test_gsa_restores_band_means(scene: tuple[Tensor, ...]) -> None:
    _, pan, ms, _ = scene
    ms_up, pan_low, stats = _layers(ms, pan, (0.3,) * 4)
    fused = apply_gsa(ms_up, pan, pan_low, fit_gsa(stats.moments))
    torch.testing.assert_close(fused.double().mean((1, 2)), ms_up.double().mean((1, 2)), rtol=1e-6, atol=0)


def test_gsa_finds_the_weights_of_a_linear_pan() -> None:
    rng = np.random.default_rng(0)
    bands = rng.normal(400, 50, (3, 900))
    pan = np.array([0.2, 0.5, 0.3]) @ bands + 30
    moments = Moments.from_samples(np.concatenate([bands, pan[None], np.repeat(pan[None], 3, axis=0)]))
    np.testing.assert_allclose(fit_gsa(moments).weights, [0.2, 0.5, 0.3], rtol=1e-9)


def test_gsa_survives_a_repeated_band() -> None:
    rng = np.random.default_rng(0)
    band = rng.normal(400, 50, (1, 900))
    moments = Moments.from_samples(np.concatenate([band, band, band, band, band]))
    coefficients = fit_gsa(moments)
    np.testing.assert_allclose(coefficients.weights, [0.5, 0.5], rtol=1e-9)
    np.testing.assert_allclose(coefficients.gains, [1, 1], rtol=1e-9)


def test_full_scale_gain_is_one_where_the_band_is_the_low_passed_pan() -> None:
    rng = np.random.default_rng(0)
    low = rng.normal(400, 50, 500)
    pan = low + rng.normal(0, 20, 500)
    moments = Moments.from_samples(np.stack([low, 3 * low, pan, low, low]))
    np.testing.assert_allclose(fit_glp_fs(moments).gains, [1, 3], rtol=1e-9)


def test_brovey_multiplies_by_pan_over_intensity() -> None:
    ms_up = torch.tensor([100.0, 300.0])[:, None, None]
    fused = apply_brovey(ms_up, torch.full((1, 1, 1), 400.0), ms_up, BroveyCoefficients((0.5, 0.5), 1.0))
    torch.testing.assert_close(fused.flatten(), torch.tensor([200.0, 600.0]))


def test_brovey_weights_are_not_negative_and_fall_back_to_equal_ones() -> None:
    rng = np.random.default_rng(0)
    bands = rng.normal(400, 50, (2, 900))
    pan = bands[0] - 0.2 * bands[1]
    against = Moments.from_samples(np.stack([*bands, pan, pan, pan]))
    assert fit_brovey(against).weights[1] == 0
    assert fit_brovey(against).weights[0] == pytest.approx(0.8, abs=0.02)
    assert fit_brovey(Moments.from_samples(np.stack([*bands, -bands[0], -bands[0], -bands[0]]))).weights == (0.5, 0.5)


@pytest.mark.parametrize("value", [0.0, -5.0, 1e-3])
def test_black_and_negative_intensity_gives_bounded_values(value: float) -> None:
    ms_up = torch.full((2, 1, 1), value)
    pan = torch.full((1, 1, 1), 50.0)
    fused = apply_brovey(ms_up, pan, ms_up, BroveyCoefficients((0.5, 0.5), 20.0))
    assert torch.isfinite(fused).all()
    assert (fused - ms_up).abs().max() <= abs(value) * 60 / 20
    assert torch.isfinite(apply_brovey(ms_up * 0, pan * 0, ms_up, BroveyCoefficients((0.5, 0.5), 0.0))).all()


def test_high_pass_modulation_matches_pan_and_divides() -> None:
    coefficients = GlpHpmCoefficients((0.5,), (50.0,), (10.0,))
    ms_up, pan, pan_low = (torch.full((1, 1, 1), value) for value in (90.0, 300.0, 260.0))
    matched, matched_low = 0.5 * 300 + 50, 0.5 * 260 + 50
    assert apply_glp_hpm(ms_up, pan, pan_low, coefficients).item() == pytest.approx(90 * matched / matched_low)
    dark = apply_glp_hpm(ms_up, pan, torch.full((1, 1, 1), -100.0), coefficients)
    assert dark.item() == pytest.approx(90 + 90 * 0.5 * 400 / 10)


def test_regression_takes_the_slope_of_the_band_on_the_low_passed_pan() -> None:
    rng = np.random.default_rng(0)
    low = rng.normal(400, 50, 5000)
    pan, bands = low + rng.normal(0, 20, 5000), np.stack([0.5 * low + 30, 900 - low]) + rng.normal(0, 40, (2, 5000))
    found = fit_glp_hpm_r(Moments.from_samples(np.stack([*bands, pan, low, low])))
    for band, gain, offset in zip(bands, found.gains, found.offsets, strict=True):
        slope = np.polyfit(low, band, 1)[0]
        assert gain == pytest.approx(slope, rel=1e-9)
        assert offset == pytest.approx(band.mean() - slope * pan.mean(), rel=1e-9)
    ms_up, pan_px, low_px = (torch.full((2, 1, 1), value) for value in (90.0, 300.0, 260.0))
    fused = apply_glp_hpm(ms_up, pan_px[:1], low_px, found)
    for value, band, gain in zip(fused.flatten().tolist(), bands, found.gains, strict=True):
        c = band.mean() / gain - pan.mean()  # as the paper writes it
        assert value == pytest.approx(90 * (300 + c) / (260 + c), rel=1e-5)


def test_high_pass_modulation_leaves_a_band_without_light_alone() -> None:
    rng = np.random.default_rng(0)
    pan = rng.normal(400, 50, 500)
    coefficients = fit_glp_hpm(Moments.from_samples(np.stack([np.zeros(500), pan, pan])))
    assert coefficients.gains == (0.0,)


def test_layout_names_every_variable_once() -> None:
    layout = StackLayout(3)
    assert [*layout.ms_up, layout.pan, *layout.pan_low] == list(range(layout.n_variable))
    assert StackLayout.of(Moments.empty(7)) == layout
    with pytest.raises(ArgumentError, match=r"2 \* n_band \+ 1"):
        StackLayout.of(Moments.empty(6))


def test_wrong_names_and_band_counts_are_refused() -> None:
    with pytest.raises(ArgumentError, match="exp, brovey, bt-h, gsa, bdsd-pc, mtf-glp-fs, mtf-glp-hpm, mtf-glp-hpm-r"):
        get_method("ihs")
    with pytest.raises(ArgumentError, match="3 numbers and 2 bands"):
        apply_brovey(torch.ones(2, 4, 4), torch.ones(1, 4, 4), torch.ones(2, 4, 4), BroveyCoefficients((1, 1, 1), 0.1))


def _b_spline_twice(pan: np.ndarray) -> np.ndarray:
    """Two levels of the a-trous B3 spline low-pass, edges replicated, by shifted sums."""
    for step in (1, 2):
        for axis in (0, 1):
            pad = [(2 * step, 2 * step) if i == axis else (0, 0) for i in (0, 1)]
            wide = np.pad(pan, pad, mode="edge")
            length = pan.shape[axis]
            parts = [np.take(wide, range(k * step, k * step + length), axis=axis) for k in range(5)]
            pan = sum(w / 16 * part for w, part in zip((1, 4, 6, 4, 1), parts, strict=True))
    return pan


def _gsa_as_published(ms: np.ndarray, ms_up: np.ndarray, pan: np.ndarray) -> np.ndarray:
    """Whole-image GSA with the a-trous low-pass, sampled at the MS centres (the mean of the four pixels around)."""
    low = _b_spline_twice(pan)
    sampled = sum(low[1 + i :: 4, 1 + j :: 4] for i in (0, 1) for j in (0, 1)) / 4
    design = np.stack([*(band.ravel() - band.mean() for band in ms), np.ones(sampled.size)], axis=1)
    weights = np.linalg.lstsq(design, (sampled - pan.mean()).ravel(), rcond=None)[0][:-1]
    centred = ms_up - ms_up.mean(axis=(1, 2), keepdims=True)
    intensity = np.tensordot(weights, centred, 1)
    gains = (centred * intensity).mean(axis=(1, 2)) / intensity.var()
    return ms_up + gains[:, None, None] * (pan - pan.mean() - intensity)


def _ergas(fused: np.ndarray, ref: np.ndarray) -> float:
    return 25 * math.sqrt(np.mean(((fused - ref) ** 2).mean(axis=(1, 2)) / ref.mean(axis=(1, 2)) ** 2))


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["WV2_WV2-2", "WV2_WV2-6"])
def test_the_mtf_low_pass_serves_gsa_as_well_as_the_published_one(data_root: Path, name: str) -> None:
    folder = data_root / "scenes" / "measure_only"
    assert json.loads((folder / "meta.json").read_text())[name]["pan_offset_px"] == [0, 0]
    with np.load(folder / f"{name}.npz") as arrays:
        ref, ms, pan = (
            torch.from_numpy(arrays[key][..., :256, :256].astype(np.float32)) for key in ("ref", "ms", "pan")
        )
    ms, pan = ms[:, :64, :64], pan[None]
    ms_up, pan_low, stats = _layers(ms, pan, (*(0.35,) * 7, 0.27))
    ours = _ergas(apply_gsa(ms_up, pan, pan_low, fit_gsa(stats.moments)).double().numpy(), ref.double().numpy())
    published = _ergas(
        _gsa_as_published(ms.double().numpy(), ms_up.double().numpy(), pan[0].double().numpy()), ref.double().numpy()
    )
    assert ours < 1.02 * published
