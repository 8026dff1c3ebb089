"""The training script with real scenes beside chips, what they change."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = runpy.run_path(str(ROOT / "pipelines" / "train.py"))["main"]
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
n_in = 24
n_guide = 3
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

pytestmark = pytest.mark.filterwarnings(
    "ignore:Checkpoint directory .* exists and is not empty:UserWarning",
    "ignore:The number of training batches:UserWarning",
    "ignore:.*does not have many workers:UserWarning",
)


def test_share_of_the_steps_comes_from_the_folders_named(write_pair, tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    chips = np.random.default_rng(0).integers(20, 230, (2, 4, 80, 80), dtype=np.uint8)
    np.savez(tmp_path / "chips.npz", chips=chips, city=["a", "b"])
    write_pair(tmp_path / "near", (160, 160), ratio=2)
    write_pair(tmp_path / "far", (320, 320), ratio=4, crs="EPSG:32601", pan_crs="EPSG:32601")
    n_thread = torch.get_num_threads()
    for share in (0, 1):
        files = ("config.toml", "--train", "chips.npz", "--val", "chips.npz", "--scenes", "near", "--scenes", "far")
        words = [str(tmp_path / word) if (tmp_path / word).exists() else word for word in files]
        words += ["--threads", "1", "--out", str(tmp_path / f"share_{share}"), "--scene-share", str(share)]
        done = CliRunner().invoke(SCRIPT, words)
        assert done.exit_code == 0, done.output
    torch.set_num_threads(n_thread)
    one, other = (torch.load(tmp_path / f"share_{share}" / "last.ckpt", weights_only=True) for share in (0, 1))
    assert one["global_step"] == other["global_step"] == 4
    assert any(not torch.equal(value, other["state_dict"][name]) for name, value in one["state_dict"].items())
    assert all(bool(value.isfinite().all()) for value in other["state_dict"].values())


@pytest.mark.slow
def test_training_on_chips_needs_no_geospatial_library():
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('torchgeo', 'rasterio', 'geopandas', 'shapely')))\n"
        "import ship_geo.data.chips, ship_geo.data.datamodule, ship_geo.data.simulation, ship_geo.training\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
