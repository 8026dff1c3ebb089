"""All indices in one call: agreement with the single ones, borders, masks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ship_geo.errors import ArgumentError
from ship_geo.metrics import ergas, full_reference, q2n, sam

IDEAL = {"sam": 0, "ergas": 0, "q2n": 1, "q": 1, "rmse": 0, "cc": 1, "ssim": 1, "scc_sobel": 1, "scc_laplacian": 1}


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    ref = rng.integers(50, 2000, (3, 80, 96)).astype(np.float64)
    return np.round(ref + rng.normal(0, 60, ref.shape)), ref


def test_an_image_is_perfect_against_itself(pair: tuple[np.ndarray, np.ndarray]) -> None:
    scores = full_reference(pair[1], pair[1], ratio=4, peak=2047)
    assert scores.pop("psnr") == math.inf
    assert scores.pop("valid_fraction") == 1
    assert scores == pytest.approx(IDEAL, abs=1e-5)


def test_a_border_is_cut_before_everything(pair: tuple[np.ndarray, np.ndarray]) -> None:
    fused, ref = pair
    inner = (slice(None), slice(5, -6), slice(5, -6))
    scores = full_reference(fused, ref, ratio=4, peak=2047, border=(5, 6), tail="mirror")
    assert scores["sam"] == pytest.approx(sam(fused[inner], ref[inner]))
    assert scores["ergas"] == pytest.approx(ergas(fused[inner], ref[inner], ratio=4))
    assert scores["q2n"] == pytest.approx(q2n(fused[inner], ref[inner], tail="mirror"))


@pytest.mark.parametrize("fill", [0.0, 60000.0, math.nan])
def test_nodata_never_matters(fill: float, pair: tuple[np.ndarray, np.ndarray]) -> None:
    fused, ref = pair
    valid = np.ones(ref.shape[1:], dtype=bool)
    valid[:20, :10] = False
    scores = full_reference(np.where(valid, fused, fill), np.where(valid, ref, fill), ratio=4, peak=2047, valid=valid)
    assert scores == pytest.approx(full_reference(fused, ref, ratio=4, peak=2047, valid=valid), rel=1e-12)


def test_a_border_that_leaves_nothing_is_refused(pair: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ArgumentError, match="leaves pixels, got 40"):
        full_reference(*pair, ratio=4, peak=2047, border=40)
