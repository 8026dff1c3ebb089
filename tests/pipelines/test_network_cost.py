"""Cost of a network: counts by hand, memory of known tensors, a receptive field that follows from the layers."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from ship_geo.nn import ShipPlusPlus, ShipPlusPlusConfig

COST = runpy.run_path(str(Path(__file__).resolve().parents[2] / "pipelines" / "bench" / "network_cost.py"))
TINY = ShipPlusPlusConfig(n_band=2, n_in=3, n_guide=1, n_feature=4, n_order=2, n_stage=1)


@pytest.fixture
def network() -> ShipPlusPlus:
    torch.manual_seed(0)
    network = ShipPlusPlus(TINY).eval()
    for values in network.parameters():
        if not values.any():  # as after training
            torch.nn.init.normal_(values, std=0.1)
    return network


def test_multiply_adds_are_those_counted_by_hand(network: ShipPlusPlus) -> None:
    stems = 9 * (3 * 4 + 4 * 4) + 9 * (1 * 4 + 4 * 4)
    spatial = 4 * 4 * 2 + 9 * 4 * 4 * 2 + 4 * 4 + 8 * 4  # projections, step and guide step, evolution, integration
    channel = 8 * 4 + 9 * 4 + 4 * 4 + 8 * 4  # join, step by channel and across, integration
    ends = 4 * 4 + 9 * 4 * 4 + 9 * (4 + 3 + 1) * 2  # memory, head, output
    gates = (8 * 4 + 4 * 4) / 32**2  # once a window
    layers, fourier = COST["multiply_adds"](network, 32)
    assert layers == pytest.approx(stems + spatial + channel + ends + gates)
    assert fourier == pytest.approx(4 * 3 * 2.5 * 10 / 2)


def test_memory_is_what_is_alive_at_once() -> None:
    with torch.no_grad(), COST["LiveMemory"]() as memory:
        one = torch.zeros(1000)
        two = one + 1
        three = two * 2
        del one, two
        four = three.view(10, 100) + 1
    assert memory.peak == 3 * 4000
    assert four.shape == (10, 100)


def test_receptive_field_is_that_of_the_local_layers(network: ShipPlusPlus) -> None:
    field = COST["receptive_field"](network, 48)
    # stem 2, guide through one spatial and one channel step 1 + 1, head and output 2
    assert field.radius <= 6
    assert 1 <= field.radius_95 <= field.radius
    assert 0 < field.global_share < 0.5


def test_figures_are_printed() -> None:
    done = CliRunner().invoke(COST["main"], ["--window", "32"])
    assert done.exit_code == 0, done.output
    assert "88,864" in done.output
    assert "receptive field" in done.output
