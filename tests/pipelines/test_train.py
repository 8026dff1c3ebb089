"""The training script: a run that was killed and taken up again elsewhere ends with the weights of an unbroken one."""

from __future__ import annotations

import csv
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from ship_geo.nn import ShipPlusPlus, ShipPlusPlusConfig
from ship_geo.nn.checkpoint import save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "pipelines" / "train.py"
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
save_every = {save_every}

[network]
n_feature = 4
n_order = 2
n_stage = 1

[schedule]
rate = {rate}
rise = 1
steps = {steps}
fall = 1

[simulation]
ratios = [4, 2]
ratio_weights = [0.5, 0.5]

[publish]
window = 64
"""

pytestmark = pytest.mark.filterwarnings(
    # a run of a few steps, and one whose steps come from its own sampler
    "ignore:Checkpoint directory .* exists and is not empty:UserWarning",
    "ignore:The number of training batches:UserWarning",
    "ignore:.*does not have many workers:UserWarning",
    "ignore:You're resuming from a checkpoint that ended before the epoch:UserWarning",
)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "chips.npz"
    chips = np.random.default_rng(0).integers(20, 230, (5, 4, 96, 96), dtype=np.uint8)
    np.savez(path, chips=chips, city=["a", "a", "b", "b", "b"])
    return path


@pytest.fixture(scope="module")
def train() -> Iterator[Callable[..., Result]]:
    """Run the script in this process, which keeps its number of threads."""
    n_thread = torch.get_num_threads()
    script = runpy.run_path(str(SCRIPT))["main"]
    yield lambda *words: CliRunner().invoke(script, words)
    torch.set_num_threads(n_thread)


def arguments(folder: Path, pack: Path, steps: int = 12, save_every: int = 2, rate: float = 1e-2) -> list[str]:
    folder.mkdir(exist_ok=True)
    config = folder / "config.toml"
    config.write_text(CONFIG.format(steps=steps, save_every=save_every, rate=rate))
    return [str(part) for part in (config, "--train", pack, "--val", pack, "--out", folder / "run", "--threads", "1")]


def start(folder: Path, pack: Path, log: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    with log.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, SCRIPT, *arguments(folder, pack)], env=environment, stdout=stream, stderr=stream
        )


def checkpoint(folder: Path) -> dict:
    return torch.load(folder / "run" / "last.ckpt", weights_only=True)


@pytest.mark.slow
def test_killed_run_ends_with_the_weights_of_an_unbroken_one(
    tmp_path: Path, pack: Path, train: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # no CUDA device, as in the other process
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    whole, parts, log = tmp_path / "whole", tmp_path / "parts", tmp_path / "killed.log"
    killed = start(parts, pack, log)
    while not (parts / "run" / "last.ckpt").exists() and killed.poll() is None:
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL, log.read_text()
    first = checkpoint(parts)["global_step"]
    assert 0 < first < 12

    for folder in (parts, whole):
        done = train(*arguments(folder, pack))
        assert done.exit_code == 0, done.output
    one, other = checkpoint(whole), checkpoint(parts)
    assert one["global_step"] == other["global_step"] == 12
    for kind in ("state_dict", "current_model_state"):
        assert one[kind].keys() == other[kind].keys()
        differing = [name for name, value in one[kind].items() if not torch.equal(value, other[kind][name])]
        assert not differing
    assert any(not torch.equal(value, one["current_model_state"][name]) for name, value in one["state_dict"].items())

    with (whole / "run" / "from_0" / "metrics.csv").open(newline="") as stream:
        curve = [row for row in csv.DictReader(stream) if row["val/loss"]]
    assert [int(row["step"]) for row in curve] == [3, 7, 11]
    assert all(float(row["val/rmse_ratio"]) > 0 for row in curve)
    assert (parts / "run" / f"from_{first}" / "metrics.csv").exists()


def test_new_run_starts_from_the_weights_it_is_given(tmp_path: Path, pack: Path, train: Callable[..., Result]) -> None:
    torch.manual_seed(5)
    network = ShipPlusPlus(ShipPlusPlusConfig(n_feature=4, n_order=2, n_stage=1))
    weights = save_checkpoint(
        tmp_path / "start.safetensors", network, window=64, overlap=16, trained_on="nothing", licence="MIT", metrics={}
    )
    still = arguments(tmp_path, pack, steps=2, rate=0.0)
    done = train(*still, "--start", str(weights))
    assert done.exit_code == 0, done.output
    trained = checkpoint(tmp_path)["state_dict"]
    assert trained
    for name, value in trained.items():
        torch.testing.assert_close(value.cpu(), network.state_dict()[name.removeprefix("network.")], rtol=0, atol=0)


def test_steps_that_would_not_be_saved_are_refused(tmp_path: Path, pack: Path, train: Callable[..., Result]) -> None:
    done = train(*arguments(tmp_path, pack, steps=7))
    assert done.exit_code == 2
    assert "steps are a multiple of save_every, got 7 and 2" in done.output
