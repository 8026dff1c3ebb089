from __future__ import annotations

import math

import pytest
import torch

from ship_geo.nn.coupling import Coupling, InvertibleMix


def invert(coupling: Coupling, y: torch.Tensor) -> torch.Tensor:
    shifted, scaled = y.chunk(2, dim=1)
    scale = torch.exp(1.6 / (1.0 + torch.exp(-coupling.h(shifted))) - 0.8)
    second = (scaled - coupling.g(shifted)) / scale
    mixed = torch.cat((shifted - coupling.f(second), second), dim=1)
    return torch.einsum("oi,nirc->norc", torch.linalg.inv(coupling.mix.matrix()), mixed)


@pytest.fixture
def coupling() -> Coupling:
    torch.manual_seed(3)
    return Coupling(8, n_growth=4).double()


def test_coupling_can_be_undone(coupling: Coupling) -> None:
    x = torch.randn(2, 8, 7, 6, dtype=torch.float64)
    torch.testing.assert_close(invert(coupling, coupling(x)), x, atol=1e-9, rtol=0.0)


def test_new_mix_is_a_rotation(coupling: Coupling) -> None:
    matrix = coupling.mix.matrix()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(8, dtype=torch.float64), atol=1e-5, rtol=0.0)


def test_mix_is_the_product_of_its_factors(coupling: Coupling) -> None:
    mix = coupling.mix
    unit_lower = mix.lower.tril(-1) + torch.eye(8)
    upper = mix.upper.triu(1) + torch.diag(mix.sign * mix.log_scale.exp())
    expected = torch.einsum("ij,jk,kl->il", mix.permutation, unit_lower, upper)
    torch.testing.assert_close(mix.matrix(), expected)


def test_determinant_of_the_mix_is_the_product_of_the_scales(coupling: Coupling) -> None:
    mix = coupling.mix
    with torch.no_grad():
        mix.log_scale.copy_(torch.linspace(-0.5, 0.6, 8))
        mix.lower.add_(0.3)
        mix.upper.sub_(0.2)
    assert torch.linalg.det(mix.matrix()).abs().item() == pytest.approx(math.exp(mix.log_scale.sum().item()))


def test_mix_reads_the_strict_triangles_only(coupling: Coupling) -> None:
    before = coupling.mix.matrix()
    with torch.no_grad():
        coupling.mix.lower.add_(torch.full((8, 8), 5.0).triu())
        coupling.mix.upper.add_(torch.full((8, 8), 5.0).tril())
    assert torch.equal(coupling.mix.matrix(), before)


def test_mix_permutes_with_a_permutation() -> None:
    permutation = InvertibleMix(6).permutation
    assert torch.equal(permutation.sum(0), torch.ones(6))
    assert torch.equal(permutation.sum(1), torch.ones(6))
    assert set(permutation.unique().tolist()) == {0.0, 1.0}


def test_mix_keeps_its_precision_under_autocast() -> None:
    mix = InvertibleMix(6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = mix.matrix()
    assert torch.equal(inside, mix.matrix())


def test_scale_of_the_second_half_is_bounded(coupling: Coupling) -> None:
    with torch.no_grad():
        coupling.h.merge.bias.fill_(1e6)
    x = torch.randn(1, 8, 4, 4, dtype=torch.float64)
    shifted, scaled = coupling(x).chunk(2, dim=1)
    _, second = coupling.mix(x).chunk(2, dim=1)
    torch.testing.assert_close(scaled, second * math.exp(0.8) + coupling.g(shifted))
