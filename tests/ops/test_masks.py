"""Masks: valid pixels never change, what lies under invalid ones never matters, MS masks land on the right pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ship_geo.ops.masks import DECAY, REACH, fill_invalid, ms_mask_on_pan
from ship_geo.ops.resample import upsample


@pytest.fixture
def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Two bands of DN with a wedge of nodata, a hole, and a true zero in a valid pixel."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(100, 2000, (2, 20, 24), generator=generator).float()
    values[1, 10, 20] = 0
    valid = torch.arange(20)[:, None] + torch.arange(24) > 9
    valid[15, 15] = False
    return values, valid


MEAN = torch.tensor([500.0, 700.0])


def test_valid_pixels_stay_and_a_valid_zero_is_one_of_them(scene: tuple[torch.Tensor, torch.Tensor]) -> None:
    values, valid = scene
    filled = fill_invalid(values, valid, MEAN)
    assert torch.equal(filled[:, valid], values[:, valid])
    assert filled[1, 10, 20] == 0


@pytest.mark.parametrize("nodata", [0.0, 60000.0, float("nan"), float("inf")])
def test_result_does_not_depend_on_what_nodata_is(scene: tuple[torch.Tensor, torch.Tensor], nodata: float) -> None:
    values, valid = scene
    filled = fill_invalid(torch.where(valid, values, nodata), valid, MEAN)
    assert torch.equal(filled, fill_invalid(torch.where(valid, values, 123.0), valid, MEAN))
    assert bool(torch.isfinite(filled).all())
    assert torch.equal(filled[:, valid], values[:, valid])


def test_valid_pixels_beside_nodata_do_not_darken_when_upsampled() -> None:
    valid = torch.arange(16)[:, None] + torch.zeros(16) > 7
    constant = torch.where(valid, 501.0, 0.0)[None]
    ms_up = upsample(fill_invalid(constant, valid, torch.tensor([9.0])), (64, 64), (4.0, 4.0), (0.0, 0.0))
    on_pan = ms_mask_on_pan(valid, (64, 64), (4.0, 4.0), (0.0, 0.0))
    assert bool((ms_up[0][on_pan].round() == 501).all())


def test_fill_is_a_mean_in_which_the_nearest_pixel_rules() -> None:
    values = torch.tensor([[[10.0, 0.0, 0.0, 40.0]]])
    valid = torch.tensor([[True, False, False, True]])
    filled = fill_invalid(values, valid, torch.tensor([0.0]))
    further = math.exp(-1 / DECAY)  # weight of the pixel that is one column further away
    assert float(filled[0, 0, 1]) == pytest.approx((10 + 40 * further) / (1 + further))
    assert float(filled[0, 0, 2]) == pytest.approx((10 * further + 40) / (1 + further))


def test_fallback_is_taken_where_no_valid_pixel_is_near() -> None:
    n = REACH + 3
    values, valid = torch.ones(2, n, n), torch.zeros(n, n, dtype=torch.bool)
    valid[0, 0] = True
    filled = fill_invalid(values, valid, MEAN)
    assert torch.equal(filled[:, REACH + 1, 0], MEAN)
    assert torch.equal(filled[:, 0, REACH + 1], MEAN)
    torch.testing.assert_close(filled[:, REACH, REACH], torch.ones(2))
    assert torch.equal(fill_invalid(values, torch.zeros_like(valid), MEAN)[:, 4, 4], MEAN)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_fill_stays_within_the_range_of_the_valid_pixels(seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(1, 9, 11, generator=generator) * 4000
    valid = torch.rand(9, 11, generator=generator) < share
    valid[4, 5] = True
    known = values[0][valid]
    filled = fill_invalid(values, valid, known.mean()[None])
    assert float(filled.min()) >= float(known.min()) * (1 - 1e-5)
    assert float(filled.max()) <= float(known.max()) * (1 + 1e-5)


def test_area_registered_mask_is_repeated_per_block() -> None:
    valid = torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) > 0.5
    expected = torch.from_numpy(np.kron(valid.numpy(), np.ones((4, 4), bool)))
    assert torch.equal(ms_mask_on_pan(valid, (20, 28), (4.0, 4.0), (0.0, 0.0)), expected)


def test_shared_centres_give_the_pixel_between_two_to_the_second() -> None:
    # MS pixel k covers PAN coordinates 2 k - 0.5 .. 2 k + 1.5; PAN pixel 2 k + 1 has its centre on the seam
    valid = torch.tensor([[True, False, True]])
    on_pan = ms_mask_on_pan(valid, (1, 6), (1.0, 2.0), (0.0, -0.5))
    assert on_pan[0].tolist() == [True, False, False, True, True, False]


@given(st.floats(1, 6), st.floats(-8, 8), st.integers(1, 9), st.integers(1, 40))
def test_every_pixel_has_the_mask_of_the_ms_pixel_that_holds_its_centre(
    ratio: float, phase: float, n_ms: int, n_pan: int
) -> None:
    valid = torch.arange(n_ms)[None] % 3 != 1
    on_pan = ms_mask_on_pan(valid, (1, n_pan), (1.0, ratio), (0.0, phase))[0]
    for j in range(n_pan):
        k = (j + 0.5 - phase) / ratio
        if abs(k - round(k)) > 1e-6:  # on a seam either neighbour is right
            inside = 0 <= k < n_ms
            assert bool(on_pan[j]) == (inside and bool(valid[0, int(k)]))


def test_pixels_beyond_the_ms_array_are_invalid() -> None:
    on_pan = ms_mask_on_pan(torch.ones(2, 2, dtype=torch.bool), (12, 12), (4.0, 4.0), (2.0, -3.0))
    expected = torch.zeros(12, 12, dtype=torch.bool)
    expected[2:10, :5] = True
    assert torch.equal(on_pan, expected)
