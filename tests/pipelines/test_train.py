"""The training script in its own process: a run that was interrupted and taken up again ends with the same weights."""

from __future__ import annotations

import csv
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "pipelines" / "train.py"
CONFIG = """
[run]
seed = 1
batch_size = 1
region = 72
weight_decay = 1e-4
ema = 0.5
precision = "bf16-mixed"
val_every = 4
val_steps = 1
val_region = 72
save_every = {save_every}

[network]
n_feature = 4
n_order = 2
n_stage = 1

[schedule]
rate = 1e-2
rise = 1
steps = {steps}
fall = 1

[simulation]
ratios = [4, 2]
ratio_weights = [0.5, 0.5]

[publish]
window = 64
"""


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "chips.npz"
    chips = np.random.default_rng(0).integers(20, 230, (5, 4, 96, 96), dtype=np.uint8)
    np.savez(path, chips=chips, city=["a", "a", "b", "b", "b"])
    return path


def arguments(folder: Path, pack: Path, steps: int = 12, save_every: int = 2) -> list[str]:
    folder.mkdir(exist_ok=True)
    config = folder / "config.toml"
    config.write_text(CONFIG.format(steps=steps, save_every=save_every))
    return [str(part) for part in (config, "--train", pack, "--val", pack, "--out", folder / "run", "--threads", "1")]


def start(folder: Path, pack: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, SCRIPT, *arguments(folder, pack)], env=environment, stdout=log, stderr=log
        )


def checkpoint(folder: Path) -> dict:
    return torch.load(folder / "run" / "last.ckpt", weights_only=True)


@pytest.mark.slow
def test_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path, pack: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    interrupted = start(parts, pack)
    while not (parts / "run" / "last.ckpt").exists() and interrupted.poll() is None:
        time.sleep(0.01)
    interrupted.kill()
    interrupted.wait()
    first = checkpoint(parts)["global_step"]
    assert first < 12
    for run in [start(folder, pack) for folder in (whole, parts)]:
        assert run.wait() == 0, [log.read_text() for log in tmp_path.glob("*.log")]
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


def test_steps_that_would_not_be_saved_are_refused(tmp_path: Path, pack: Path) -> None:
    done = CliRunner().invoke(runpy.run_path(str(SCRIPT))["main"], arguments(tmp_path, pack, steps=7))
    assert done.exit_code == 2
    assert "steps are a multiple of save_every, got 7 and 2" in done.output
