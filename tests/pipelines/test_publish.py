"""Publishing: weights and their list are both there or neither, and nothing else is ever replaced."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from ship_geo.nn import ShipPlusPlus, ShipPlusPlusConfig
from ship_geo.nn.checkpoint import load_checkpoint

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
CONFIG = """
[run]
seed = 1
batch_size = 1
region = 72
weight_decay = 1e-4
ema = 0.5
precision = "auto"
val_every = 4
val_steps = 1
val_region = 72
save_every = 4

[network]
n_feature = 4
n_order = 2
n_stage = 1

[schedule]
[simulation]

[publish]
window = 64
overlap = 16
trained_on = "noise"
licence = "MIT"
"""


@pytest.fixture(scope="module")
def publish() -> Callable[..., Result]:
    script = runpy.run_path(str(PIPELINES / "publish.py"))["main"]
    return lambda *words: CliRunner().invoke(script, [str(word) for word in words])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint, its config, and files that are neither."""
    torch.manual_seed(0)
    state = ShipPlusPlus(ShipPlusPlusConfig(n_feature=4, n_order=2, n_stage=1)).state_dict()
    saved = {
        "state_dict": {f"network.{name}": value for name, value in state.items()},
        "global_step": 4,
        "PairDataModule": {"files": {"train": {"11": "a.tif"}, "validation": {}, "unlisted": []}},
    }
    torch.save(saved, tmp_path / "last.ckpt")
    torch.save({"weights": 1}, tmp_path / "other.ckpt")
    torch.save({"state_dict": {1: 2}, "global_step": 4}, tmp_path / "odd.ckpt")
    (tmp_path / "cut.ckpt").write_bytes((tmp_path / "last.ckpt").read_bytes()[:-900])
    (tmp_path / "ok.toml").write_text(CONFIG)
    (tmp_path / "wide.toml").write_text(CONFIG.replace("n_feature = 4", "n_feature = 6"))
    (tmp_path / "bare.toml").write_text(CONFIG.replace('licence = "MIT"', ""))
    (tmp_path / "notes.txt").write_text("keep me")
    (tmp_path / "a.training.json").write_text("[1]")
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("last.ckpt ok.toml ok.toml", 2, "a file to be written must not be one of the inputs"),
        ("last.ckpt ok.toml last.ckpt", 2, "a file to be written must not be one of the inputs"),
        ("last.ckpt ok.toml other.ckpt", 2, "weights replace weights only"),
        ("last.ckpt ok.toml notes.txt", 2, "weights replace weights only"),
        ("last.ckpt ok.toml a.safetensors", 2, "a list of training files is the JSON"),
        ("last.ckpt ok.toml missing/a.safetensors", 1, "the folder of the output must exist"),
        ("last.ckpt wide.toml w.safetensors", 1, "weights fit the network of the config"),
        ("last.ckpt bare.toml w.safetensors", 2, "got licence unknown or missing"),
        ("last.ckpt notes.txt w.safetensors", 2, "a config is a TOML file"),
        ("ok.toml ok.toml w.safetensors", 1, "a run is read from what pipelines/train.py saved"),
        ("other.ckpt ok.toml w.safetensors", 1, "a run is read from what pipelines/train.py saved"),
        ("odd.ckpt ok.toml w.safetensors", 1, "a run is read from what pipelines/train.py saved"),
        ("cut.ckpt ok.toml w.safetensors", 1, "a run is read from what pipelines/train.py saved"),
    ],
)
def test_wrong_words_change_nothing(
    publish: Callable[..., Result], folder: Path, words: str, code: int, message: str
) -> None:
    before = content(folder)
    done = publish(*(folder / word for word in words.split()))
    assert done.exit_code == code, done.output
    assert message in done.output
    assert isinstance(done.exception, SystemExit)
    assert content(folder) == before


def test_weights_replace_weights_and_their_list(publish: Callable[..., Result], folder: Path) -> None:
    words = (folder / "last.ckpt", folder / "ok.toml", folder / "w.safetensors")
    for _ in range(2):
        done = publish(*words)
        assert done.exit_code == 0, done.output
    assert load_checkpoint(folder / "w.safetensors").licence == "MIT"
    assert json.loads((folder / "w.training.json").read_text())["train"] == {"11": "a.tif"}
