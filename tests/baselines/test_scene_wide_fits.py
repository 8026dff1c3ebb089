"""BT-H and BDSD-PC through the engine against whole-image float64 implementations written from the formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.optimize import nnls

from ship_geo.baselines import (
    METHODS,
    BdsdPcCoefficients,
    BtHCoefficients,
    apply_bdsd_pc,
    apply_bt_h,
    fit_bdsd_pc,
    fit_bt_h,
)
from ship_geo.baselines.bdsd_pc import solve_nonnegative
from ship_geo.baselines.bt_h import haze_of
from ship_geo.data.reader import ArrayPairReader
from ship_geo.errors import ArgumentError
from ship_geo.fusers import ClassicalFuser
from ship_geo.inference import ReaderSource, fuse_block, gather_stats
from ship_geo.ops.resample import shrink, upsample
from ship_geo.sampling import statistics_plan
from ship_geo.sensors import Band, Sensor
from ship_geo.stats import SceneStats, WindowStats
from ship_geo.tiling import Plan

ROLES = ("blue", "green", "red", "nir")
GAINS = (0.34, 0.32, 0.30, 0.22)
SENSOR = Sensor("odd", "Odd", (), tuple(map(Band, ROLES, [None] * 4, GAINS)))
SIZE = 600  # three rows and columns of windows of statistics
RATIO = 4.0
HALO = 32


@dataclass
class World:
    """A pair in memory, DN, with its interpolated MS (float64) and the statistics that the engine gathers."""

    ref: np.ndarray
    ms: np.ndarray
    pan: np.ndarray
    ms_up: np.ndarray
    stats: SceneStats

    def fuse(self, name: str, stats: SceneStats | None = None) -> np.ndarray:
        fused, _ = fuse_block(
            ReaderSource(ArrayPairReader(self.ms, self.pan)),
            Plan((SIZE, SIZE), 256, 0, HALO),
            (0, SIZE, 0, SIZE),
            ClassicalFuser(name),
            stats or self.stats,
            gnyq_ms=GAINS,
            groups=((0, 1, 2, 3),),
        )
        return fused.astype(np.float64)


def sigma(gain: float) -> float:
    return RATIO / math.pi * math.sqrt(-2 * math.log(gain))


def blurred(image: np.ndarray, gain: float) -> np.ndarray:
    return gaussian_filter(image, sigma(gain), mode="nearest", truncate=9)


@pytest.fixture(scope="module")
def world(ground: Callable[..., np.ndarray]) -> World:
    ref = ground(4, (SIZE, SIZE), 5)
    ref[0] += 300  # haze
    ms = np.stack([blurred(band, gain) for band, gain in zip(ref, GAINS, strict=True)])
    ms = sum(ms[:, 1 + i :: 4, 1 + j :: 4] for i in (0, 1) for j in (0, 1)) / 4  # the centres lie between pixels
    pan = np.tensordot([0.1, 0.3, 0.35, 0.25], ref, 1) + 15
    ms, pan = ms.astype(np.float32), pan.astype(np.float32)
    ms_up = upsample(torch.from_numpy(ms).double(), (SIZE, SIZE), (RATIO, RATIO), (0, 0)).numpy()
    stats = gather_stats(ReaderSource(ArrayPairReader(ms, pan)), statistics_plan((SIZE, SIZE), HALO), SENSOR)
    return World(ref, ms, pan, ms_up, stats)


def error(fused: np.ndarray, world: World) -> float:
    return float(np.sqrt(((fused - world.ref) ** 2).mean()))


def bt_h_as_published(world: World, haze: np.ndarray) -> np.ndarray:
    """Lolli et al. 2017 over the whole image."""
    pan = world.pan.astype(np.float64)
    low = blurred(pan, 0.30)
    weights = np.linalg.lstsq(world.ms_up.reshape(4, -1).T, low.ravel(), rcond=None)[0]
    clear = world.ms_up - haze[:, None, None]
    intensity = np.tensordot(weights, clear, 1)
    matched = (pan - low.mean()) * intensity.std() / low.std() + intensity.mean()
    return np.maximum(clear, 0) * matched / intensity + haze[:, None, None]


def bdsd_pc_as_published(world: World, pan_lr: np.ndarray) -> np.ndarray:
    """Vivone 2019 over the whole image, from the delivered MS."""
    ms = world.ms.astype(np.float64)
    ms_low = np.stack([blurred(band, gain) for band, gain in zip(ms, GAINS, strict=True)])
    design = np.concatenate([pan_lr[None], -ms_low]).reshape(5, -1).T
    inputs = np.concatenate([world.pan[None].astype(np.float64), -world.ms_up])
    gains = np.stack([nnls(design, (band - low).ravel())[0] for band, low in zip(ms, ms_low, strict=True)])
    return world.ms_up + np.tensordot(gains, inputs, 1)


def pan_on_ms_grid(world: World) -> np.ndarray:
    shape = (SIZE // 4, SIZE // 4)
    return shrink(torch.from_numpy(world.pan[None]), shape, (RATIO, RATIO), (0, 0))[0].numpy().astype(np.float64)


# BT-H -----------------------------------------------------------------------------------------------------------------


def test_bt_h_of_windows_is_that_of_the_whole_image(world: World) -> None:
    dark = np.percentile(world.ms_up.reshape(4, -1), 1, axis=1)
    expected = bt_h_as_published(world, np.array([0.95, 0.45, 0.40, 0.05]) * dark)
    fused = world.fuse("bt-h")
    # the engine takes the percentile, and the weights, of a sample of the pixels
    assert np.sqrt(((fused - expected) ** 2).mean()) < 0.01 * np.sqrt(((expected - world.ms_up) ** 2).mean())
    assert error(fused, world) == pytest.approx(error(expected, world), rel=0.01)
    exact = world.fuse("bt-h", replace(world.stats, first_percentile=tuple(dark)))
    assert np.sqrt(((exact - expected) ** 2).mean()) < 0.003 * np.sqrt(((expected - world.ms_up) ** 2).mean())


def test_haze_goes_by_role_and_else_by_the_minimum(world: World) -> None:
    mixed = replace(world.stats, roles=("nir", "coastal", "blue", "odd"))
    dark, least = world.stats.first_percentile, world.stats.ms_min
    assert haze_of(mixed) == (0.05 * dark[0], least[1], 0.95 * dark[2], least[3])
    assert haze_of(replace(world.stats, roles=())) == least
    np.testing.assert_allclose(least, world.ms_up.reshape(4, -1).min(axis=1), rtol=1e-5)


def test_bt_h_multiplies_what_is_above_the_haze() -> None:
    coefficients = BtHCoefficients((50.0, 20.0), (0.5, 0.5), 0.9, 10.0, 1.0)
    ms_up, pan = torch.tensor([100.0, 320.0])[:, None, None], torch.full((1, 1, 1), 400.0)
    share = (0.9 * 400 + 10) / (0.5 * 50 + 0.5 * 300)
    fused = apply_bt_h(ms_up, pan, ms_up, coefficients).flatten()
    torch.testing.assert_close(fused, torch.tensor([50 + 50 * share, 20 + 300 * share]))
    below = torch.tensor([40.0, 320.0])[:, None, None]
    assert apply_bt_h(below, pan, below, coefficients)[0].item() == 50


def test_bt_h_stays_bounded_over_water_and_shadow(world: World) -> None:
    coefficients = fit_bt_h(world.stats)
    dark = torch.tensor(coefficients.haze)[:, None, None] + torch.tensor([1.0, 0, 0, 0])[:, None, None]
    fused = apply_bt_h(dark, torch.full((1, 1, 1), 1500.0), dark, coefficients)
    assert coefficients.floor == pytest.approx(
        0.05 * float(np.dot(coefficients.weights, world.stats.moments.mean[:4] - coefficients.haze)), rel=1e-3
    )
    assert float((fused - dark).abs().max()) <= 1500 / coefficients.floor


# BDSD-PC --------------------------------------------------------------------------------------------------------------


def test_bdsd_pc_of_windows_is_that_of_the_whole_image(world: World) -> None:
    expected = bdsd_pc_as_published(world, pan_on_ms_grid(world))
    fused = world.fuse("bdsd-pc")
    assert np.sqrt(((fused - expected) ** 2).mean()) < 0.005 * np.sqrt(((expected - world.ms_up) ** 2).mean())


def test_bdsd_pc_signs_are_physical(world: World) -> None:
    coefficients = fit_bdsd_pc(world.stats)
    assert min(coefficients.pan) > 0
    assert max(max(row) for row in coefficients.bands) <= 0


def test_bdsd_pc_adds_pan_and_takes_bands() -> None:
    coefficients = BdsdPcCoefficients((0.5, 2.0), ((-0.1, -0.2), (0.0, -1.0)))
    ms_up = torch.tensor([100.0, 300.0])[:, None, None]
    fused = apply_bdsd_pc(ms_up, torch.full((1, 1, 1), 200.0), ms_up, coefficients)
    torch.testing.assert_close(fused.flatten(), torch.tensor([100 + 100 - 10 - 60.0, 300 + 400 - 300.0]))


def test_coefficients_for_other_bands_are_refused() -> None:
    ms_up, pan = torch.ones(3, 1, 1), torch.ones(1, 1, 1)
    with pytest.raises(ArgumentError, match="2 numbers and 3 bands"):
        apply_bdsd_pc(ms_up, pan, ms_up, BdsdPcCoefficients((0.5, 2.0), ((0.0, 0.0), (0.0, 0.0))))


@given(st.integers(0, 10**6), st.integers(1, 9), st.booleans())
def test_nonnegative_least_squares_is_that_of_scipy(seed: int, n: int, repeats: bool) -> None:
    rng = np.random.default_rng(seed)
    design = rng.normal(size=(40, n)) + rng.normal(size=(40, 1))
    if repeats:
        design = np.concatenate([design, design[:, :1], np.zeros((40, 1))], axis=1)
    design *= 10.0 ** rng.uniform(-3, 3, design.shape[1])
    target = rng.normal(size=40) + design @ rng.normal(size=design.shape[1])
    found = solve_nonnegative(design.T @ design, design.T @ target)
    expected = nnls(design, target)[0]
    assert (found >= 0).all()
    assert np.linalg.norm(design @ found - target) <= np.linalg.norm(design @ expected - target) * (1 + 1e-6) + 1e-6


# What both are fitted from --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), [("bt-h", 5), ("bdsd-pc", 9)])
def test_statistics_without_their_moments_are_refused(world: World, name: str, count: int) -> None:
    bare = replace(world.stats, coarse=None, plain=None)
    with pytest.raises(ArgumentError, match=f"fitted from {count} more variables, got none; prepare .*for_stats=True"):
        METHODS[name].fit(bare)


def test_moments_on_the_ms_grid_are_those_of_the_whole_image(world: World) -> None:
    ms = world.ms.astype(np.float64)
    ms_low = np.stack([blurred(band, gain) for band, gain in zip(ms, GAINS, strict=True)])
    samples = np.concatenate([ms, ms_low, pan_on_ms_grid(world)[None]]).reshape(9, -1)
    coarse = world.stats.coarse
    assert coarse is not None
    assert coarse.count == (SIZE // 4) ** 2
    np.testing.assert_allclose(coarse.mean, samples.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(coarse.cov, np.cov(samples, bias=True), rtol=2e-3)


def test_invalid_pixels_are_in_no_moments(world: World) -> None:
    ms, pan = world.ms.copy(), world.pan.copy()
    ms[:, :70] = pan[:, 500:] = np.nan
    source = ReaderSource(ArrayPairReader(ms, pan))
    stats = gather_stats(source, statistics_plan((SIZE, SIZE), HALO), SENSOR)
    assert stats.coarse is not None
    assert stats.plain is not None
    assert stats.coarse.count == 80 * 125
    assert stats.plain.count == pytest.approx(320 * 500 / 9, rel=0.02)
    assert all(np.isfinite(moments.cov).all() for moments in (stats.moments, stats.coarse, stats.plain))
    bare = WindowStats(stats.moments, 0, 1, np.ones((4, 1), np.float32), np.zeros(2), stats.ms_min)
    known = replace(bare, coarse=stats.coarse, plain=stats.plain)
    assert SceneStats.merged([known, bare]).coarse is None  # never those of half a scene
    assert SceneStats.merged([known, known]).coarse is not None
