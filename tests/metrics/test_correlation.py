"""D_rho: closed forms, a double loop, masks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ship_geo.errors import ArgumentError
from ship_geo.metrics import RhoAccumulator, d_rho


@pytest.fixture
def pan() -> np.ndarray:
    return np.random.default_rng(0).integers(50, 2000, (1, 19, 17)).astype(np.float64)


@pytest.mark.parametrize(("gain", "offset", "expected"), [(0.5, 30, 0), (-0.5, 3000, 2), (0, 700, 1)])
def test_linear_images_of_pan_have_their_closed_form(
    pan: np.ndarray, gain: float, offset: float, expected: float
) -> None:
    fused = gain * pan + np.array([offset, offset + 7.0])[:, None, None]
    assert d_rho(fused, pan, ratio=4) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("ratio", [2, 3.3, 4])
def test_positions_are_those_of_a_double_loop(pan: np.ndarray, ratio: float) -> None:
    fused = pan * np.array([1, 0.3])[:, None, None] + np.random.default_rng(1).normal(0, 300, (2, *pan.shape[1:]))
    valid = np.ones(pan.shape[1:], bool)
    valid[6, 12] = False
    w = math.ceil(ratio / 2)
    reach = range(-w + 1, w + 1)

    def detail(image: np.ndarray, r: int, c: int) -> float:
        return float(image[r, c]) - math.fsum(image[r + i, c + j] for i in reach for j in reach) / (2 * w) ** 2

    found = []
    for band in fused:
        for r in range(2 * w - 2, pan.shape[1] - 2 * w):
            for c in range(2 * w - 2, pan.shape[2] - 2 * w):
                around = np.s_[r - 2 * w + 2 : r + 2 * w + 1, c - 2 * w + 2 : c + 2 * w + 1]
                if valid[around].all():
                    x, y = ([detail(image, r + i, c + j) for i in reach for j in reach] for image in (band, pan[0]))
                    product = math.fsum(a * b for a, b in zip(x, y, strict=True))
                    found.append(1 - product / math.sqrt(math.fsum(a * a for a in x) * math.fsum(b * b for b in y)))
    assert d_rho(np.where(valid, fused, np.nan), pan, valid, ratio=ratio) == pytest.approx(np.mean(found), rel=1e-10)


def test_nothing_to_count_is_nan_and_a_warning(pan: np.ndarray) -> None:
    with pytest.warns(UserWarning, match="D_rho needs"):
        assert math.isnan(d_rho(pan[:, :6, :6], pan[:, :6, :6], ratio=4))


def test_inputs_that_do_not_fit_are_refused(pan: np.ndarray) -> None:
    with pytest.raises(ArgumentError, match="PAN has one band, got 2"):
        d_rho(pan, np.concatenate([pan, pan]), ratio=4)
    with pytest.raises(ArgumentError, match="ratio is positive, got 0"):
        RhoAccumulator(0)
