"""MTF kernels: closed form in the frequency plane, DC gain, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ship_geo.errors import ArgumentError
from ship_geo.ops.mtf import RADIUS, mtf_sigma, mtf_taps

OFFSETS = np.arange(-RADIUS, RADIUS + 1)


def gain_at(taps: np.ndarray, offsets: np.ndarray, frequency: float) -> float:
    return float(np.abs(np.sum(taps * np.exp(-2j * np.pi * frequency * offsets))))


@pytest.mark.parametrize(
    ("gnyq", "sigma"),
    [(0.11, 2.675), (0.15, 2.480), (0.22, 2.216), (0.30, 1.976), (0.35, 1.845), (0.55, 1.392)],
)
def test_widths_are_the_published_ones_and_scale_with_the_ratio(gnyq: float, sigma: float) -> None:
    assert mtf_sigma(gnyq, 4) == pytest.approx(sigma, abs=6e-4)
    assert mtf_sigma(gnyq, 2) == pytest.approx(mtf_sigma(gnyq, 4) / 2)


@given(st.floats(0.08, 0.6), st.floats(1.5, 6), st.floats(-0.5, 0.5))
def test_response_at_the_ms_nyquist_frequency_is_the_gain(gnyq: float, ratio: float, centre: float) -> None:
    sigma = mtf_sigma(gnyq, ratio)
    if sigma < 0.9:  # a narrower Gaussian aliases when it is sampled
        return
    taps = mtf_taps(OFFSETS - centre, sigma)
    assert gain_at(taps, OFFSETS, 1 / (2 * ratio)) == pytest.approx(gnyq, abs=1e-3)


@given(st.floats(0.3, 6), st.floats(-0.5, 0.5))
def test_taps_sum_to_one_and_are_never_negative(sigma: float, centre: float) -> None:
    taps = mtf_taps(OFFSETS - centre, sigma)
    assert taps.sum() == pytest.approx(1, abs=1e-12)
    assert taps.min() >= 0


def test_constant_of_500_stays_500_after_rounding() -> None:
    taps = mtf_taps(OFFSETS, mtf_sigma(0.3, 4)).astype(np.float32)
    assert np.round(500 * taps.sum()) == 500


def test_taps_beyond_the_radius_are_zero() -> None:
    offsets = np.arange(-30, 31)
    assert not mtf_taps(offsets, 8.0)[np.abs(offsets) > RADIUS].any()


def test_each_row_of_offsets_has_its_own_centre() -> None:
    centres = np.array([0.0, 0.25, -0.5])
    taps = mtf_taps(OFFSETS - centres[:, None], 2.0)
    np.testing.assert_allclose(taps @ OFFSETS, centres, atol=1e-9)


@pytest.mark.parametrize("gnyq", [0.0, 1.0, -0.1, math.nan])
def test_gain_outside_zero_and_one_is_refused(gnyq: float) -> None:
    with pytest.raises(ArgumentError, match="between 0 and 1, got"):
        mtf_sigma(gnyq, 4)


@pytest.mark.parametrize("ratio", [0.0, -4.0, math.nan])
def test_ratio_that_is_not_positive_is_refused(ratio: float) -> None:
    with pytest.raises(ArgumentError, match="the ratio is positive, got"):
        mtf_sigma(0.3, ratio)
