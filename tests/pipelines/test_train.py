"""The training script in its own process: a run that was interrupted and taken up again ends with the same weights."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
[run]
seed = 1
batch_size = 1
region = 80
weight_decay = 1e-4
ema = 0.5
precision = "bf16-mixed"
val_every = 2
val_steps = 1
val_region = 80
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

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "chips.npz"
    chips = np.random.default_rng(0).integers(20, 230, (5, 4, 96, 96), dtype=np.uint8)
    np.savez(path, chips=chips, city=["a", "a", "b", "b", "b"])
    return path


def train(folder: Path, pack: Path, steps: int, save_every: int = 1) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    config = folder / "config.toml"
    config.write_text(CONFIG.format(steps=steps, save_every=save_every))
    files = ["--train", pack, "--val", pack, "--out", folder / "run", "--threads", "1"]
    return subprocess.run(
        [sys.executable, ROOT / "pipelines" / "train.py", config, *files],
        env=os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def checkpoint(folder: Path) -> dict:
    return torch.load(folder / "run" / "last.ckpt", weights_only=True)


def test_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path, pack: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder, steps in ((whole, 7), (parts, 3), (parts, 7)):  # with fall = 1 a shorter run is the start of a longer
        done = train(folder, pack, steps)
        assert done.returncode == 0, done.stderr
    one, other = checkpoint(whole), checkpoint(parts)
    assert one["global_step"] == other["global_step"] == 7
    for kind in ("state_dict", "current_model_state"):
        assert one[kind].keys() == other[kind].keys()
        differing = [name for name, value in one[kind].items() if not torch.equal(value, other[kind][name])]
        assert not differing
    assert any(not torch.equal(value, one["current_model_state"][name]) for name, value in one["state_dict"].items())

    with (whole / "run" / "from_0" / "metrics.csv").open(newline="") as stream:
        curve = [row for row in csv.DictReader(stream) if row["val/loss"]]
    assert [int(row["step"]) for row in curve] == [1, 3, 5]
    assert all(float(row["val/rmse_ratio"]) > 0 for row in curve)
    assert (parts / "run" / "from_3" / "metrics.csv").exists()


def test_steps_that_would_not_be_saved_are_refused(tmp_path: Path, pack: Path) -> None:
    done = train(tmp_path, pack, steps=7, save_every=2)
    assert done.returncode == 2
    assert "steps are a multiple of save_every, got 7 and 2" in done.stderr
