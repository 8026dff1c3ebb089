"""SHIP's stages for pan-sharpening: the published computation between the stems and the head of SHIP++."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ship_geo.errors import ArgumentError
from ship_geo.nn import Ship, ShipConfig, ShipPlusPlus, ShipPlusPlusConfig, ShipSharpening, ShipSharpeningConfig
from ship_geo.nn.checkpoint import build_model, load_checkpoint, save_checkpoint
from ship_geo.nn.cost import multiply_adds
from ship_geo.nn.registry import NETWORKS, build_sharpener

SMALL = ShipSharpeningConfig(n_band=2, n_in=5, n_guide=2, n_feature=4, n_order=3, n_stage=2, n_growth=2)


def opened() -> ShipSharpening:
    """A network whose last convolution is no longer zero, as after training."""
    torch.manual_seed(0)
    network = ShipSharpening(SMALL).eval()
    torch.nn.init.normal_(network.out.weight, std=0.1)
    return network


def streams() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 5, 12, 10, generator=generator), torch.randn(2, 2, 12, 10, generator=generator)


def test_stages_are_those_of_the_published_network() -> None:
    network = opened()
    published = Ship(ShipConfig(n_feature=4, n_order=3, n_stage=2, n_growth=2)).eval()
    own = {name.replace(".interaction.", "."): value for name, value in network.stages.state_dict().items()}
    published.stages.load_state_dict(own)
    ms_stream, guide_stream = streams()
    with torch.inference_mode():
        features, guide = network.stem(ms_stream), network.guide_stem(guide_stream)
        for stage in published.stages:
            features, guide = stage(features, guide)
        features = torch.relu(network.head(features))
        expected = ms_stream[:, :2] + network.out(torch.cat([features, ms_stream, guide_stream], 1))
        torch.testing.assert_close(network(ms_stream, guide_stream), expected)


def test_stems_and_head_are_those_of_ship_plus_plus() -> None:
    sizes = {name: getattr(SMALL, name) for name in ("n_band", "n_in", "n_guide", "n_feature", "n_order", "n_stage")}
    other = ShipPlusPlus(ShipPlusPlusConfig(**sizes)).state_dict()
    for name, value in opened().state_dict().items():
        assert name.startswith("stages.") or value.shape == other[name].shape


def test_untrained_network_returns_the_skip_exactly() -> None:
    ms_stream, guide_stream = streams()
    with torch.inference_mode():
        assert torch.equal(ShipSharpening(SMALL)(ms_stream, guide_stream), ms_stream[:, :2])


def test_every_weight_has_a_gradient() -> None:
    network = opened()
    network(*streams()).square().mean().backward()
    silent = {name for name, value in network.named_parameters() if value.grad is None}
    assert not silent


def test_checkpoint_gives_the_same_network_back(tmp_path: Path) -> None:
    network = opened()
    about = {"window": 64, "overlap": 16, "trained_on": "nothing", "licence": "MIT", "metrics": {}}
    again = build_model(load_checkpoint(save_checkpoint(tmp_path / "w.safetensors", network, **about)))
    with torch.inference_mode():
        torch.testing.assert_close(again(*streams()), network(*streams()))


@pytest.mark.parametrize("growth", [0, 3])
def test_growth_that_cannot_be_halved_is_refused(growth: int) -> None:
    with pytest.raises(ArgumentError, match="growth of dense blocks is positive and even, got"):
        ShipSharpeningConfig(n_growth=growth)


@pytest.mark.parametrize("kind", ["ShipPlusPlus", "ShipSharpening"])
def test_network_is_built_by_its_configuration(kind: str) -> None:
    assert type(build_sharpener(NETWORKS[kind].config())) is NETWORKS[kind].network


def test_multiply_adds_are_those_counted_by_hand() -> None:
    n, growth = 4, 2
    stems = 9 * (5 * n + n * n) + 9 * (2 * n + n * n)
    spatial = 2 * 2 * 2 * 9 * n * n  # two higher orders of both streams, two convolutions each
    channel = 2 * 2 * 9 * (2 * n) ** 2
    grown = 9 * (n * growth + growth * growth) + n * growth + 9 * 2 * growth * growth + growth * growth
    coupling = (2 * n) ** 2 + 3 * (grown + 9 * (n + 2 * growth) * n)
    once = (3 * 2 * 2 * n * n + 2 * (2 * n) ** 3) / 16**2  # a window: gates, and the product of the mix' factors
    ends = 9 * n * n + 9 * (n + 5 + 2) * 2
    layers, fourier = multiply_adds(ShipSharpening(SMALL), 16)
    assert layers == pytest.approx(stems + 2 * (spatial + channel + coupling + 2 * n * n + once) + ends)
    assert fourier == pytest.approx(2 * n * 3 * 2.5 * 8 / 2)
