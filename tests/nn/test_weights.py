from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ship_geo.errors import ArgumentError, CheckpointError
from ship_geo.nn import ShipPlusPlus, ShipPlusPlusConfig, weights
from ship_geo.nn.checkpoint import save_checkpoint
from ship_geo.nn.weights import ShipPlusPlus_Weights, resolve_weights


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder that stands for the one of the package."""
    monkeypatch.setattr(weights, "_folder", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def shipped(folder: Path) -> Path:
    """A small network in the place of the default weights."""
    torch.manual_seed(0)
    model = ShipPlusPlus(ShipPlusPlusConfig(n_feature=4, n_order=2, n_stage=1))
    return save_checkpoint(
        folder / "ship_plus_plus_naip.safetensors",
        model,
        window=64,
        overlap=16,
        trained_on="nothing",
        licence="CC0-1.0",
        metrics={"ergas": 2.0},
    )


def test_default_is_a_member_with_a_file_in_the_package() -> None:
    default = ShipPlusPlus_Weights.DEFAULT
    assert default is ShipPlusPlus_Weights.PANSHARPENING_NAIP
    assert default.path.parts[-3:] == ("ship_geo", "weights", "ship_plus_plus_naip.safetensors")


def test_every_member_names_a_file_of_its_own() -> None:
    paths = [member.path for member in ShipPlusPlus_Weights]
    assert len(set(paths)) == len(paths)


def test_meta_tells_licence_training_card_and_figures(shipped: Path) -> None:
    meta = ShipPlusPlus_Weights.DEFAULT.meta
    assert set(meta) == {"licence", "trained_on", "card", "metrics"}
    assert meta["metrics"] == {"ergas": 2.0}
    assert meta["card"].parent == shipped.parent


def test_state_fills_a_network_of_the_same_config(shipped: Path) -> None:
    assert shipped.is_file()
    checkpoint = ShipPlusPlus_Weights.DEFAULT.load()
    model = ShipPlusPlus(checkpoint.config)
    model.load_state_dict(ShipPlusPlus_Weights.DEFAULT.get_state_dict())


@pytest.mark.parametrize(
    "name",
    [
        None,
        "default",
        "DEFAULT",
        "pansharpening_naip",
        "PANSHARPENING_NAIP",
        "ShipPlusPlus_Weights.PANSHARPENING_NAIP",
        ShipPlusPlus_Weights.PANSHARPENING_NAIP,
    ],
)
def test_names_and_members_give_the_shipped_weights(shipped: Path, name: str | None) -> None:
    assert resolve_weights(name).path == shipped


def test_paths_and_checkpoints_are_taken_as_they_are(shipped: Path) -> None:
    by_path = resolve_weights(shipped)
    assert resolve_weights(str(shipped)) == by_path
    assert resolve_weights(by_path) is by_path


@pytest.mark.parametrize("name", ["panshrpening_naip", "", "best"])
def test_unknown_name_lists_the_legal_ones(name: str) -> None:
    with pytest.raises(ArgumentError, match=r"PANSHARPENING_NAIP, DEFAULT or the path .*, got '.*'; "):
        resolve_weights(name)


@pytest.mark.parametrize("name", ["mine.safetensors", "some/folder/mine", Path("mine")])
def test_missing_path_is_a_checkpoint_error(name: str | Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        resolve_weights(name)


def test_missing_shipped_file_is_a_checkpoint_error(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=str(folder)):
        resolve_weights("default")
