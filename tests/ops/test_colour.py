from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ship_geo.ops.colour import luma, replace_luma, rgb_from_ycrcb, ycrcb_from_rgb

channel = st.floats(0.0, 1.0, width=32)


def one_pixel(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)


@given(channel, channel, channel)
def test_round_trip_is_exact_to_a_millionth(red: float, green: float, blue: float) -> None:
    rgb = one_pixel(red, green, blue)
    assert (rgb_from_ycrcb(ycrcb_from_rgb(rgb)) - rgb).abs().max() <= 1e-6


@given(channel, channel, channel)
def test_luma_and_chroma_stay_in_the_unit_interval(red: float, green: float, blue: float) -> None:
    ycrcb = ycrcb_from_rgb(one_pixel(red, green, blue))
    assert ycrcb.min() >= -1e-6
    assert ycrcb.max() <= 1.0 + 1e-6


@pytest.mark.parametrize(
    ("rgb", "ycrcb"),
    [
        ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5)),
        ((1.0, 1.0, 1.0), (1.0, 0.5, 0.5)),
        ((0.25, 0.25, 0.25), (0.25, 0.5, 0.5)),
        ((1.0, 0.0, 0.0), (0.299, 1.0, 0.5 - 0.299 / 1.772)),
        ((0.0, 0.0, 1.0), (0.114, 0.5 - 0.114 / 1.402, 1.0)),
        ((0.0, 1.0, 0.0), (0.587, 0.5 - 0.587 / 1.402, 0.5 - 0.587 / 1.772)),
    ],
)
def test_primaries_have_the_values_of_the_standard(rgb: tuple[float, ...], ycrcb: tuple[float, ...]) -> None:
    np.testing.assert_allclose(ycrcb_from_rgb(one_pixel(*rgb)).flatten(), ycrcb, atol=1e-6)


def test_replaced_luma_is_the_new_one_and_chroma_stays() -> None:
    generator = torch.Generator().manual_seed(3)
    rgb, new_luma = torch.rand(2, 3, 4, 5, generator=generator), torch.rand(2, 1, 4, 5, generator=generator)
    before, after = ycrcb_from_rgb(rgb), ycrcb_from_rgb(replace_luma(rgb, new_luma))
    torch.testing.assert_close(after[:, :1], new_luma, atol=1e-6, rtol=0.0)
    torch.testing.assert_close(after[:, 1:], before[:, 1:], atol=1e-6, rtol=0.0)


def test_own_luma_changes_nothing() -> None:
    rgb = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(8))
    assert torch.equal(replace_luma(rgb, luma(rgb)), rgb)
