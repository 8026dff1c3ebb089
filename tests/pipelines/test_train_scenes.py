"""The training script with real scenes beside chips, each run in its own process."""

from __future__ import annotations

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
region = 72
weight_decay = 1e-4
ema = 0.5
precision = "auto"
val_every = 4
val_steps = 1
val_region = 72
save_every = 4

[network]
n_in = 20
n_guide = 2
n_feature = 4
n_order = 2
n_stage = 1

[schedule]
rate = 1e-2
rise = 1
steps = 4
fall = 1

[simulation]
"""

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}


def start(folder: Path, *options: object) -> subprocess.Popen[str]:
    files = ("config.toml", "--train", "chips.npz", "--val", "chips.npz", "--threads", "1")
    command = [sys.executable, ROOT / "pipelines" / "train.py", *files, *options]
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_share_of_the_steps_comes_from_the_folders_named(write_pair, tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    chips = np.random.default_rng(0).integers(20, 230, (2, 4, 80, 80), dtype=np.uint8)
    np.savez(tmp_path / "chips.npz", chips=chips, city=["a", "b"])
    write_pair(tmp_path / "near", (160, 160), ratio=2)
    write_pair(tmp_path / "far", (320, 320), ratio=4, crs="EPSG:32601", pan_crs="EPSG:32601")
    folders = ("--scenes", "near", "--scenes", "far")
    runs = {
        "none": start(tmp_path, "--out", "none", *folders, "--scene-share", "0"),
        "all": start(tmp_path, "--out", "all", *folders, "--scene-share", "1"),
    }
    for run in runs.values():
        said, _ = run.communicate(timeout=600)
        assert run.returncode == 0, said
    one, other = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in runs)
    assert one["global_step"] == other["global_step"] == 4
    assert any(not torch.equal(value, other["state_dict"][name]) for name, value in one["state_dict"].items())
    assert all(bool(value.isfinite().all()) for value in other["state_dict"].values())


@pytest.mark.slow
def test_training_on_chips_needs_no_geospatial_library():
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('torchgeo', 'rasterio', 'geopandas', 'shapely')))\n"
        "import ship_geo.data.chips, ship_geo.data.simulation, ship_geo.training\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
