"""Training losses: closed forms, invariances, and structural similarity of scikit-image without its luminance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ship_geo.losses import WINDOW, pansharpening_loss, spectral_angle, structural_dissimilarity


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


def spectra(*vectors: tuple[float, float, float]) -> torch.Tensor:
    """One row of pixels (1, band, 1, col)."""
    return torch.tensor(vectors, dtype=torch.float64).T[None, :, None].clone()


@pytest.mark.parametrize("angle", [0.1, 0.5, math.pi / 3, math.pi / 2])
def test_angle_of_spectra_is_the_chord_between_them(angle: float) -> None:
    one, other = spectra((3.0, 0.0, 0.0)), spectra((math.cos(angle), math.sin(angle), 0.0))
    assert float(spectral_angle(one, other)) == pytest.approx(2 * math.sin(angle / 2), rel=1e-3)
    pair = spectral_angle(torch.cat([one, one], 3), torch.cat([other, one], 3))
    assert float(pair) == pytest.approx(math.sin(angle / 2), abs=1e-3)  # the mean with a pixel that agrees


def test_angle_of_spectra_is_blind_to_brightness_and_tame_where_they_agree_or_vanish() -> None:
    ref = (
        torch.rand(2, 4, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.2
    ).requires_grad_()
    assert float(spectral_angle(2.5 * ref, ref).detach()) == pytest.approx(0, abs=2e-3)
    for fused in (ref.detach(), torch.zeros_like(ref)):
        (gradient,) = torch.autograd.grad(spectral_angle(fused, ref), ref)
        assert bool(torch.isfinite(gradient).all())


def test_loss_counts_the_angle_in_physical_units(ref: torch.Tensor) -> None:
    fused = ref + 0.3 * ref.roll(1, 2)
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in ([9.0, 6.0, 7.0], [1.0, 2.0, 0.5]))
    plain = pansharpening_loss(fused, ref)
    angle = spectral_angle(fused * std + mean, ref * std + mean)
    assert float(angle) > 0.02
    torch.testing.assert_close(pansharpening_loss(fused, ref, (mean, std)), plain + 0.5 * angle)
    torch.testing.assert_close(pansharpening_loss(fused, ref, (mean, std), angular=0), plain)
