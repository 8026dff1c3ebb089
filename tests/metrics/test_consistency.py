"""R-indices: constants, a degraded image, SciPy's filter, supports, masks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from ship_geo.errors import ArgumentError
from ship_geo.metrics import consistency, ergas, q, q2n, sam
from ship_geo.metrics.consistency import owned, seen_on_ms_grid

SETTING = {"ratio": (4.0, 4.0), "phase": (0.0, 0.0), "gnyq_ms": (0.3, 0.22)}


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A fused image of 192 x 208 pixels, and MS that is not what the MTF makes of it."""
    rng = np.random.default_rng(0)
    fused = 500 + 90 * ndimage.gaussian_filter(rng.normal(size=(2, 192, 208)), (0, 1.5, 1.5)) * 5
    ms = fused.reshape(2, 48, 4, 52, 4).mean((2, 4)) + rng.normal(0, 3, (2, 48, 52))
    return np.round(fused), np.round(ms)


def test_constants_are_consistent() -> None:
    flat = np.full((2, 256, 256), 500.0)
    values = consistency(flat, flat[:, :64, :64], **SETTING, constant_blocks="score")
    assert values == pytest.approx({"r_sam": 0, "r_ergas": 0, "r_q2n": 1, "r_q": 1}, abs=1e-5)


def test_indices_are_those_of_the_filtered_and_sampled_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    fused, ms = pair
    sigma = [4 / np.pi * np.sqrt(-2 * np.log(gain)) for gain in SETTING["gnyq_ms"]]
    offsets = np.arange(-21, 22)
    low = []
    for band, width in zip(fused, sigma, strict=True):
        taps = np.exp(-0.5 * ((offsets + 0.5) / width) ** 2) * (np.abs(offsets + 0.5) <= 20)  # centres at 4 k + 1.5
        taps /= taps.sum()
        blurred = ndimage.correlate1d(ndimage.correlate1d(band, taps, 0), taps, 1)
        low.append(blurred[2::4, 2::4])
    inner = np.s_[:, 5:-5, 5:-5]  # 20 / 4 pixels without the whole filter
    seen, expected = np.stack(low)[inner], ms[inner]
    values = consistency(fused, ms, **SETTING)
    assert values["r_sam"] == pytest.approx(sam(seen, expected), rel=1e-5)
    assert values["r_ergas"] == pytest.approx(ergas(seen, expected, ratio=4), rel=1e-5)
    assert values["r_q2n"] == pytest.approx(q2n(seen, expected), rel=1e-4)
    assert values["r_q"] == pytest.approx(q(seen, expected), rel=1e-5)


def test_the_phase_is_seen(pair: tuple[np.ndarray, np.ndarray]) -> None:
    fused, ms = pair
    moved = consistency(fused, ms, **{**SETTING, "phase": (1.0, 1.0)})
    assert moved["r_ergas"] > 1.3 * consistency(fused, ms, **SETTING)["r_ergas"]


def test_filter_needs_whole_support() -> None:
    valid = np.ones((60, 60), bool)
    image = np.ones((1, 60, 60))
    _, supported = seen_on_ms_grid(image, valid, (15, 15), ratio=(4.0, 4.0), phase=(0.0, 0.0), gnyq=(0.3,))
    expected = np.zeros((15, 15), bool)
    expected[5:10, 5:10] = True  # centres 21.5 … 37.5: 20 pixels to all sides
    np.testing.assert_array_equal(supported, expected)
    valid[20, 3] = False
    _, supported = seen_on_ms_grid(image, valid, (15, 15), ratio=(4.0, 4.0), phase=(0.0, 0.0), gnyq=(0.3,))
    expected[:, 5] = False  # of these alone the filter reaches column 3
    np.testing.assert_array_equal(supported, expected)


def test_what_lies_under_the_masks_never_matters(pair: tuple[np.ndarray, np.ndarray]) -> None:
    fused, ms = pair
    valid, ms_valid = np.ones(fused.shape[1:], bool), np.ones(ms.shape[1:], bool)
    valid[:10, 170:] = False
    ms_valid[40:, 9] = False
    masks = {"valid": valid, "ms_valid": ms_valid}
    first = consistency(fused, ms, **SETTING, **masks)
    second = consistency(np.where(valid, fused, 60000), np.where(ms_valid, ms, np.nan), **SETTING, **masks)
    assert second == pytest.approx(first, rel=1e-12)


def test_every_ms_pixel_has_one_owner() -> None:
    edges = [0, 13, 64, 65, 101]
    for ratio, phase in ((4.0, 0.0), (1.995, -0.4975), (2.0, -0.5), (4.0, 0.5)):
        parts = [owned(start, stop, ratio, phase) for start, stop in itertools.pairwise(edges)]
        assert [stop for _, stop in parts[:-1]] == [start for start, _ in parts[1:]]
        first, last = owned(0, 101, ratio, phase)
        assert (parts[0][0], parts[-1][1]) == (first, last)
        centres = phase + ratio * (np.arange(first, last) + 0.5) - 0.5
        assert centres[0] >= -0.5
        assert centres[-1] < 100.5


def test_inputs_that_do_not_fit_are_refused(pair: tuple[np.ndarray, np.ndarray]) -> None:
    fused, ms = pair
    with pytest.raises(ArgumentError, match="got 2, 1 and 2; select bands first"):
        consistency(fused, ms[:1], **SETTING)
    with pytest.raises(ArgumentError, match="the filter reaches 20 pixels"):
        consistency(fused[:, :32, :32], ms[:, :8, :8], **SETTING)
