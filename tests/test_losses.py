"""Training losses: closed forms, invariances, and structural similarity of scikit-image without its luminance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ship_geo.losses import WINDOW, pansharpening_loss, structural_dissimilarity


@pytest.fixture
def ref() -> torch.Tensor:
    return torch.randn(2, 3, 16, 14, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_identical_images_cost_nothing(ref: torch.Tensor) -> None:
    assert float(pansharpening_loss(ref, ref)) == pytest.approx(0, abs=1e-9)


def test_constant_error_costs_its_absolute_value_and_half_its_square(ref: torch.Tensor) -> None:
    assert float(pansharpening_loss(ref + 0.4, ref)) == pytest.approx(0.4 + 0.5 * 0.16, abs=1e-9)
    assert float(pansharpening_loss(ref + 0.4, ref, squared=0, structural=0)) == pytest.approx(0.4)


def test_structure_is_blind_to_an_offset_and_symmetric(ref: torch.Tensor) -> None:
    other = ref.roll(1, -1)
    expected = structural_dissimilarity(other, ref)
    torch.testing.assert_close(structural_dissimilarity(other + 7, ref), expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(structural_dissimilarity(ref, other), expected)


def test_flat_image_beside_texture_costs_almost_one() -> None:
    texture = torch.tensor([1.0, -1.0]).repeat(8, 4)[None, None]
    flat = torch.zeros_like(texture)
    # variance of seven samples, four of one sign and three of the other
    variance = 1 - (1 / 7) ** 2
    assert float(structural_dissimilarity(flat, texture)) == pytest.approx(1 - 0.05 / (variance + 0.05), abs=1e-6)


def test_inverted_contrast_costs_almost_two() -> None:
    texture = torch.tensor([1.0, -1.0]).repeat(8, 4)[None, None]
    variance = 1 - (1 / 7) ** 2
    expected = 1 - (0.05 - 2 * variance) / (0.05 + 2 * variance)
    assert float(structural_dissimilarity(-texture, texture)) == pytest.approx(expected, abs=1e-6)


def test_structure_is_the_mean_over_windows_of_a_loop(ref: torch.Tensor) -> None:
    fused = (0.8 * ref + 0.3 * ref.roll(1, 2)).numpy()
    truth = ref.numpy()
    values = []
    for n, band in np.ndindex(2, 3):
        for row in range(16 - WINDOW + 1):
            for col in range(14 - WINDOW + 1):
                cut = (n, band, slice(row, row + WINDOW), slice(col, col + WINDOW))
                table = np.cov(fused[cut].ravel(), truth[cut].ravel(), ddof=0)
                values.append((2 * table[0, 1] + 0.05) / (table[0, 0] + table[1, 1] + 0.05))
    got = structural_dissimilarity(torch.from_numpy(fused), ref)
    assert float(got) == pytest.approx(1 - np.mean(values), abs=1e-9)


def test_gradient_points_towards_the_reference(ref: torch.Tensor) -> None:
    fused = (ref + 0.2 * ref.roll(1, 2)).requires_grad_()
    loss = pansharpening_loss(fused, ref)
    loss.backward()
    assert fused.grad is not None
    assert float(pansharpening_loss(fused.detach() - fused.grad, ref)) < loss.item()
