"""D_lambda, D_S, D_lambda_K, QNR: closed forms, loops over blocks, masks, the filters they stand on."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import ndimage

from ship_geo.errors import ArgumentError
from ship_geo.metrics import DistortionAccumulator, d_lambda_k, no_reference, q, qnr
from ship_geo.metrics._filters import through_mtf

RATIO = (4.0, 4.0)
PHASE = (0.0, 0.0)


@pytest.fixture
def stack() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    fused = rng.integers(50, 2000, (3, 24, 33)).astype(np.float64)
    ms_up = fused + rng.normal(0, 200, fused.shape)
    pan = fused.mean(axis=0, keepdims=True)
    return fused, ms_up, pan, ms_up.mean(axis=0, keepdims=True)


def _block_mean(x: np.ndarray, y: np.ndarray, corners: list[tuple[int, int]]) -> float:
    """Mean over 8 x 8 blocks of the index of two bands, each measured as one sliding window."""
    cuts = [(slice(r, r + 8), slice(c, c + 8)) for r, c in corners]
    return float(np.mean([q(x[cut][None], y[cut][None], window=8) for cut in cuts]))


def test_products_have_their_closed_form() -> None:
    assert qnr(0.1, 0.2) == pytest.approx(0.72)


def test_distortions_are_differences_of_block_means(stack: tuple[np.ndarray, ...]) -> None:
    fused, ms_up, pan, low = stack
    valid = np.ones((24, 33), dtype=bool)
    valid[9, 9] = False
    corners = [(r, c) for r in (0, 8, 16) for c in (0, 8, 16, 24) if (r, c) != (8, 8)]
    accumulator = DistortionAccumulator(8)
    accumulator.update(np.where(valid, fused, np.nan), ms_up, pan, low, valid)
    assert accumulator.count == len(corners)
    pairs = [
        abs(_block_mean(fused[i], fused[j], corners) - _block_mean(ms_up[i], ms_up[j], corners))
        for i, j in itertools.combinations(range(3), 2)
    ]
    to_pan = [
        abs(_block_mean(x, pan[0], corners) - _block_mean(y, low[0], corners))
        for x, y in zip(fused, ms_up, strict=True)
    ]
    assert accumulator.d_lambda() == pytest.approx(np.mean(pairs), rel=1e-9)
    assert accumulator.d_lambda(p=2) == pytest.approx(np.sqrt(np.mean(np.square(pairs))), rel=1e-9)
    assert accumulator.d_s() == pytest.approx(np.mean(to_pan), rel=1e-9)


def test_parts_are_merged_before_the_absolute_value(stack: tuple[np.ndarray, ...]) -> None:
    whole, merged = DistortionAccumulator(8), DistortionAccumulator(8)
    whole.update(*stack)
    parts = []
    for rows in (slice(16, 24), slice(0, 16)):
        part = DistortionAccumulator(8)
        part.update(*(image[:, rows] for image in stack))
        merged.merge(part)
        parts.append(part.d_s())
    assert merged.d_lambda() == pytest.approx(whole.d_lambda(), rel=1e-12)
    assert merged.d_s() == pytest.approx(whole.d_s(), rel=1e-12)
    assert whole.d_s() <= (parts[0] + 2 * parts[1]) / 3 + 1e-12


def test_interpolated_ms_has_no_spectral_distortion_and_one_band_none_either(stack: tuple[np.ndarray, ...]) -> None:
    _, ms_up, pan, low = stack
    accumulator = DistortionAccumulator(8)
    accumulator.update(ms_up, ms_up, pan, low)
    assert accumulator.d_lambda() == 0
    single = DistortionAccumulator(8)
    single.update(ms_up[:1], ms_up[:1], pan, low)
    assert single.d_lambda() == 0


def test_constants_survive_the_mtf() -> None:
    constant = np.full((2, 64, 64), 500.0)
    value = d_lambda_k(constant, constant, ratio=RATIO, gnyq_ms=(0.3, 0.11), constant_blocks="score")
    assert value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("gnyq", "sigma"), [(0.3, 1.976), (0.55, 1.392)])
def test_mtf_at_full_rate_is_a_gaussian_of_the_known_width(gnyq: float, sigma: float) -> None:
    image = np.random.default_rng(0).normal(size=(1, 50, 40))
    oracle = ndimage.gaussian_filter(image[0], sigma, mode="nearest", radius=20)
    np.testing.assert_allclose(through_mtf(image, RATIO, (gnyq,))[0], oracle, atol=2e-3)


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A smooth scene: fused, ms and PAN."""
    rng = np.random.default_rng(5)
    smooth = ndimage.gaussian_filter(rng.normal(size=(3, 128, 128)), (0, 2, 2))
    fused = np.round(700 + 300 * smooth / smooth.std() * np.array([1, 0.8, 0.6])[:, None, None])
    ms = fused.reshape(3, 32, 4, 32, 4).mean(axis=(2, 4))
    return fused, ms, fused.mean(axis=0, keepdims=True)


def _score(fused: np.ndarray, ms: np.ndarray, pan: np.ndarray, valid: np.ndarray | None = None) -> dict[str, float]:
    return no_reference(fused, ms, pan, ratio=RATIO, phase=PHASE, gnyq_ms=(0.3,) * 3, valid=valid)


def test_whole_scores_hang_together(pair: tuple[np.ndarray, ...]) -> None:
    scores = _score(*pair)
    assert scores["qnr"] == pytest.approx((1 - scores["d_lambda"]) * (1 - scores["d_s"]))
    assert scores["hqnr"] == pytest.approx((1 - scores["d_lambda_k"]) * (1 - scores["d_s"]))
    assert scores["valid_fraction"] == 1
    assert 0 <= scores["d_lambda_k"] < 0.2


def test_half_a_pixel_of_phase_is_seen(pair: tuple[np.ndarray, ...]) -> None:
    fused, ms, pan = pair
    shifted = no_reference(fused, ms, pan, ratio=RATIO, phase=(1.0, 1.0), gnyq_ms=(0.3,) * 3)
    assert shifted["d_lambda_k"] > 1.5 * _score(fused, ms, pan)["d_lambda_k"]


def test_what_lies_under_the_mask_never_matters(pair: tuple[np.ndarray, ...]) -> None:
    fused, ms, pan = pair
    valid = np.ones(fused.shape[1:], dtype=bool)
    valid[:8, :8] = False
    first = _score(np.where(valid, fused, 0), ms, pan, valid)
    coarse = ms.copy()
    coarse[:, :2, :2] = 60000
    second = _score(np.where(valid, fused, 60000), coarse, np.where(valid, pan, np.nan), valid)
    assert second == pytest.approx(first, rel=1e-12)
    coarse[:, :2, :2] = np.nan
    assert _score(fused, coarse, pan) == pytest.approx(first, rel=1e-12)
    assert first["valid_fraction"] == pytest.approx(1 - 64 / 128**2)


def test_no_valid_block_is_nan_and_a_warning(stack: tuple[np.ndarray, ...]) -> None:
    accumulator = DistortionAccumulator(32)
    accumulator.update(*stack)
    for index in (accumulator.d_lambda, accumulator.d_s, DistortionAccumulator().d_s):
        with pytest.warns(UserWarning, match="got none"):
            assert math.isnan(index())


def test_bands_that_do_not_fit_are_refused(stack: tuple[np.ndarray, ...]) -> None:
    fused, ms_up, pan, low = stack
    with pytest.raises(ArgumentError, match="PAN has one"):
        DistortionAccumulator().update(fused, ms_up[:2], pan, low)
    with pytest.raises(ArgumentError, match="gnyq_ms"):
        d_lambda_k(fused, ms_up, ratio=RATIO, gnyq_ms=(0.3,))
    with pytest.raises(ArgumentError, match="bands of fused"):
        no_reference(fused, ms_up[:2], pan, ratio=RATIO, phase=PHASE, gnyq_ms=(0.3,) * 3)
