from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ship_geo.errors import CheckpointError
from ship_geo.nn import Ship
from ship_geo.nn.released import released_names


def released_tensors() -> dict[str, torch.Tensor]:
    """Random weights under the released names and in the released shapes."""
    torch.manual_seed(9)
    state = Ship().state_dict()
    tensors = {released: state[ours].clone() for released, ours in released_names().items()}
    return {name: t.unsqueeze(2) if name.endswith("_conv.conv.weight") else t for name, t in tensors.items()}


def test_names_map_one_to_one_onto_the_network() -> None:
    names = released_names()
    assert len(set(names.values())) == len(names)
    assert set(names.values()) == Ship().state_dict().keys()


def test_weights_under_released_names_fill_the_network(tmp_path: Path) -> None:
    tensors = released_tensors()
    save_file(tensors, tmp_path / "released.safetensors")
    network = Ship.from_released(tmp_path / "released.safetensors")
    assert not network.training
    state = network.state_dict()
    for released, ours in released_names().items():
        assert torch.equal(state[ours].flatten(), tensors[released].flatten()), released


@pytest.mark.parametrize("change", ["missing", "additional", "wrong shape"])
def test_other_tensors_are_refused(tmp_path: Path, change: str) -> None:
    tensors = released_tensors()
    if change == "missing":
        del tensors["vis.conv.weight"]
    elif change == "additional":
        tensors["surprise"] = torch.zeros(1)
    else:
        tensors["vis.conv.weight"] = torch.zeros(16, 3, 1, 1)
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"must .*, got .*; pass the infrared-visible weights"):
        Ship.from_released(tmp_path / "other.safetensors")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors"):
        Ship.from_released(tmp_path / "nowhere.safetensors")
