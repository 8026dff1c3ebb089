"""Sharpness: closed forms of waves and impulses, a loop, Gaussians of known width, and what must not matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from ship_geo.ops.sharpness import REACH, detail_energy, sharpness


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def told(image: torch.Tensor) -> float:
    return float(sharpness(detail_energy(image).mean((-2, -1))))


@pytest.mark.parametrize("frequency", [0.05, 0.15, 0.3, 0.45])
def test_wave_has_its_closed_form(frequency: float) -> None:
    angle = 2 * math.pi * frequency
    rows = torch.arange(400, dtype=torch.float64)[:, None].expand(400, 12)
    pair = torch.stack([torch.cos(angle * rows), torch.sin(angle * rows)])
    # a binomial filter damps a wave by cos(angle / 2) squared, with holes by cos(angle) squared
    once, twice = math.cos(angle / 2) ** 2, math.cos(angle / 2) ** 2 * math.cos(angle) ** 2
    expected = torch.tensor([(1 - once) ** 2, (once - twice) ** 2], dtype=torch.float64)
    energy = detail_energy(pair).sum(1)  # cosine and sine squared sum to one
    torch.testing.assert_close(energy, expected[:, None, None].expand_as(energy))
    expected_log = 2 * math.log((1 - once) / (once - twice))
    assert float(sharpness(energy.mean((-2, -1)))) == pytest.approx(expected_log, rel=1e-9)


def test_details_are_those_of_filters_of_scipy() -> None:
    image = noise(3, 20, 17)
    energy = detail_energy(image)
    assert energy.shape == (2, 3, 20 - 2 * REACH, 17 - 2 * REACH)
    near, far = np.array([1, 2, 1]) / 4, np.array([1, 0, 2, 0, 1]) / 4
    inner = np.s_[REACH:-REACH, REACH:-REACH]
    for band, values in enumerate(image.numpy()):
        once = ndimage.convolve(values, np.outer(near, near))
        twice = ndimage.convolve(once, np.outer(far, far))
        np.testing.assert_allclose(energy[0, band], ((values - once) ** 2)[inner], atol=1e-12)
        np.testing.assert_allclose(energy[1, band], ((once - twice) ** 2)[inner], atol=1e-12)


def test_blur_lowers_sharpness_step_by_step() -> None:
    sharp = noise(200, 200)
    values = [told(torch.from_numpy(ndimage.gaussian_filter(sharp.numpy(), width))) for width in (0.4, 0.6, 0.9, 1.3)]
    assert all(left - 0.2 > right for left, right in zip([told(sharp), *values], values, strict=False))


def test_unit_offset_and_slope_do_not_matter() -> None:
    image = noise(60, 60)
    rows = torch.arange(60, dtype=torch.float64)[:, None]
    assert told(37 * image - 800) == pytest.approx(told(image), rel=1e-9)
    assert told(image + 5 * rows - 3 * rows.mT) == pytest.approx(told(image), abs=1e-9)


def test_image_without_contrast_is_neither_sharp_nor_blurred() -> None:
    assert told(torch.full((20, 20), 500.0)) == 0
    assert sharpness(torch.tensor([[4.0, 0.0, 4.0], [1.0, 1.0, 0.0]])).tolist() == pytest.approx([math.log(4), 0, 0])
