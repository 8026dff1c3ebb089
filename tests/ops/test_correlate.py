"""Masked correlation: closed forms, independence of invalid pixels, sub-pixel peaks of known parabolas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ship_geo.ops.correlate import correlate, explained, find_peak, local_contrast


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def everywhere(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.bool)


def test_local_contrast_of_a_constant_is_zero_up_to_the_edges() -> None:
    valid = everywhere(20, 30)
    valid[3:9, :7] = False
    contrast = local_contrast(torch.full((2, 20, 30), 700.0), valid, 1.5)
    assert contrast.abs().max() < 1e-9


def test_local_contrast_does_not_see_invalid_values() -> None:
    image, valid = noise(1, 24, 24), everywhere(24, 24)
    valid[:, 10:15] = False
    other = torch.where(valid, image, 6e4)
    torch.testing.assert_close(local_contrast(other, valid, 2), local_contrast(image, valid, 2), rtol=0, atol=0)


def test_bands_explain_their_own_mixture_whatever_its_colours() -> None:
    bands = noise(3, 500)
    mixture = 0.7 * bands[0] - 1.9 * bands[1] + 3
    together, *single = explained(bands, torch.stack([mixture, -5 * mixture]))
    assert together.numpy() == pytest.approx([1, 1], abs=2e-3)
    expected = [np.corrcoef(band, mixture)[0, 1] ** 2 for band in bands.numpy()]
    assert [float(values[0]) for values in single] == pytest.approx(expected, abs=1e-9)


def test_nothing_is_explained_where_nothing_varies() -> None:
    assert explained(noise(2, 100), torch.full((1, 100), 8.0, dtype=torch.float64)).abs().max() == 0
    assert explained(torch.full((2, 100), 8.0, dtype=torch.float64), noise(1, 100)).abs().max() == 0


def test_bands_that_repeat_each_other_share_a_weight() -> None:
    band = noise(1, 400)
    together = explained(torch.cat([band, band, band]), band)[0]
    assert float(together[0]) == pytest.approx(1, abs=1e-3)


def test_a_template_is_found_where_it_was_cut_out_in_any_contrast() -> None:
    image = noise(40, 44)
    template = torch.stack([-3 * image[7:31, 12:36], noise(24, 24, seed=1)])
    surfaces = correlate(template, everywhere(24, 24), image, everywhere(40, 44))
    assert surfaces.shape == (3, 17, 21)
    for surface in surfaces[:2]:
        assert divmod(int(surface.argmax()), 21) == (7, 12)
        assert float(surface.max()) == pytest.approx(1, abs=1e-3)


def test_masked_correlation_is_the_sum_over_common_pixels() -> None:
    image, template = noise(14, 15), noise(1, 9, 10, seed=1)
    image_valid, template_valid = noise(14, 15, seed=2) > -0.8, noise(9, 10, seed=3) > -0.8
    image, template = image * image_valid, template * template_valid
    surface = correlate(template, template_valid, image, image_valid)[1]
    cut, known = image[2:11, 4:14].numpy(), (template_valid & image_valid[2:11, 4:14]).numpy()
    one, other = template[0].numpy()[known], cut[known]
    assert float(surface[2, 4]) == pytest.approx((one @ other) ** 2 / (one @ one) / (other @ other))


def test_shifts_with_few_common_pixels_do_not_count() -> None:
    image, valid = noise(20, 20), everywhere(20, 20)
    valid[:, :12] = False
    surface = correlate(noise(1, 10, 10), everywhere(10, 10), image * valid, valid)[0]
    assert surface[:, :4].abs().max() == 0  # at most 2 of 10 columns are valid
    assert (surface[:, 5:] > 0).all()


@given(st.floats(-0.45, 0.45), st.floats(-0.45, 0.45), st.floats(-0.5, 0.5))
def test_the_peak_of_a_paraboloid_is_exact(row: float, col: float, twist: float) -> None:
    down, right = torch.meshgrid(torch.arange(5.0) - 2 - row, torch.arange(5.0) - 2 - col, indexing="ij")
    found = find_peak((-(down**2) - right**2 - 0.5 * twist * down * right).to(torch.float64))
    assert found[:2] == pytest.approx((2 + row, 2 + col), abs=1e-5)
    assert found[2]


def test_a_maximum_on_the_border_or_on_a_plain_is_no_peak() -> None:
    slope = torch.arange(25, dtype=torch.float64).reshape(5, 5)
    assert find_peak(slope) == (4.0, 4.0, False)
    ridge = torch.tensor([0.0, 1, 2, 1, 0], dtype=torch.float64).expand(5, 5)
    assert not find_peak(ridge)[2]
