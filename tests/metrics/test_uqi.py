"""Universal quality index: closed forms, a float64 double loop, blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ship_geo.errors import ArgumentError
from ship_geo.metrics import BlockUqiAccumulator, q

SQUARE = np.array([[[1.0, 2.0], [3.0, 4.0]]])


def _uqi_by_hand(x: np.ndarray, y: np.ndarray) -> float:
    """Wang's index of one window, by plain sums over Python floats."""
    a, b = [float(v) for v in x.flat], [float(v) for v in y.flat]
    n = len(a)
    mean_a, mean_b = math.fsum(a) / n, math.fsum(b) / n
    var_a = math.fsum((v - mean_a) ** 2 for v in a) / n
    var_b = math.fsum((v - mean_b) ** 2 for v in b) / n
    cov = math.fsum((v - mean_a) * (w - mean_b) for v, w in zip(a, b, strict=True)) / n
    energy = mean_a**2 + mean_b**2
    luminance = 2 * mean_a * mean_b / energy if energy else 1.0
    return luminance * (2 * cov / (var_a + var_b) if var_a + var_b else 1.0)


@pytest.mark.parametrize(
    ("fused", "expected"), [(SQUARE, 1), (SQUARE + 1, 0.945946), (2 * SQUARE, 0.64), (5 - SQUARE, -1)]
)
def test_one_window_has_its_closed_form(fused: np.ndarray, expected: float) -> None:
    assert q(fused, SQUARE, window=2) == pytest.approx(expected, abs=5e-7)


def test_constants_have_their_luminance_term() -> None:
    assert q(np.full((1, 32, 32), 110.0), np.full((1, 32, 32), 100.0)) == pytest.approx(0.995475, abs=5e-7)
    assert q(np.zeros((1, 32, 32)), np.zeros((1, 32, 32))) == 1
    assert q(np.full((1, 40, 40), 0.1), np.full((1, 40, 40), 0.1)) == 1


@pytest.mark.parametrize("window", [3, 4, 8])
def test_sliding_windows_are_those_of_a_double_loop(window: int) -> None:
    rng = np.random.default_rng(window)
    ref = rng.integers(0, 2047, (2, 14, 13)).astype(np.float64)
    fused = np.round(ref + rng.normal(0, 200, ref.shape))
    fused[:, :6, :6] = ref[:, :6, :6] = 7
    valid = np.ones((14, 13), dtype=bool)
    valid[10, 4] = False
    expected = [
        _uqi_by_hand(x[r : r + window, c : c + window], y[r : r + window, c : c + window])
        for x, y in zip(fused, ref, strict=True)
        for r in range(15 - window)
        for c in range(14 - window)
        if valid[r : r + window, c : c + window].all()
    ]
    assert q(np.where(valid, fused, np.nan), ref, valid, window=window) == pytest.approx(np.mean(expected), rel=1e-11)


def test_block_index_between_bands_is_that_of_the_loop() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 2047, (3, 17, 26)).astype(np.float64)
    image[1, :8, :8] = 0.1
    image[2, :8, :8] = 0.1
    valid = np.ones((17, 26), dtype=bool)
    valid[3, 20] = False
    blocks = [(r, c) for r in (0, 8) for c in (0, 8, 16) if valid[r : r + 8, c : c + 8].all()]
    accumulator = BlockUqiAccumulator(8)
    accumulator.update(image, valid)
    assert accumulator.count == len(blocks) == 5
    for i in range(3):
        for j in range(3):
            values = [_uqi_by_hand(image[i, r : r + 8, c : c + 8], image[j, r : r + 8, c : c + 8]) for r, c in blocks]
            assert accumulator.compute()[i, j] == pytest.approx(np.mean(values), rel=1e-9)


def test_no_whole_valid_window_is_nan_and_a_warning() -> None:
    with pytest.warns(UserWarning, match="Q needs"):
        assert math.isnan(q(np.ones((1, 20, 20)), np.ones((1, 20, 20))))


def test_windows_of_one_pixel_are_refused() -> None:
    with pytest.raises(ArgumentError, match="at least 2 pixels"):
        q(SQUARE, SQUARE, window=1)
