"""The training script on a table of scenes: what is held back, what is listed; several processes, compiled networks."""

from __future__ import annotations

import csv
import hashlib
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from ship_geo.catalog import find_scenes, write_catalog
from ship_geo.nn.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "pipelines" / "train.py"
CONFIG = """
[run]
seed = 1
batch_size = 1
region = 72
weight_decay = 1e-4
ema = 0.5
precision = "32-true"
val_every = 2
val_steps = 2
val_region = 72
save_every = 2
{run}

[network]
n_feature = 4
n_order = 2
n_stage = 1

[schedule]
rate = 1e-2
rise = 1
steps = 2
fall = 1

[simulation]

[publish]
window = 64
overlap = 16
trained_on = "noise"
licence = "MIT"

{trainer}
"""

pytestmark = pytest.mark.filterwarnings(
    "ignore:Checkpoint directory .* exists and is not empty:UserWarning",
    "ignore:The number of training batches:UserWarning",
    "ignore:.*does not have many workers:UserWarning",
    "ignore:The .*_dataloader. does not have many:UserWarning",
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    n_thread = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_thread)


@pytest.fixture(scope="module")
def train() -> Callable[..., Result]:
    script = runpy.run_path(str(SCRIPT))["main"]
    return lambda *words: CliRunner().invoke(script, [str(word) for word in words])


def write_config(folder: Path, run: str = "", trainer: str = "") -> Path:
    path = folder / "config.toml"
    path.write_text(CONFIG.format(run=run, trainer=trainer))
    return path


def write_pack(path: Path) -> Path:
    chips = np.random.default_rng(0).integers(20, 230, (2, 4, 96, 96), dtype=np.uint8)
    np.savez(path, chips=chips, city=["a", "b"], name=["a.tif", "b.tif"], sha256=["11", "22"])
    return path


@pytest.fixture
def deliveries(write_pair, tmp_path: Path) -> Path:
    """Four scenes: two of the same ground, two elsewhere, in three CRS."""
    folder = tmp_path / "deliveries"
    for index, (name, zone) in enumerate((("here", 33), ("here_again", 33), ("west", 32), ("far", 1))):
        crs = f"EPSG:{32600 + zone}"
        write_pair(folder / name, (160, 160), ratio=2, stem=name, crs=crs, pan_crs=crs, seed=index)
    return folder


def digests(folder: Path, name: str) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / name).iterdir()}


def test_table_of_scenes_is_split_by_ground_and_listed(
    train: Callable[..., Result], deliveries: Path, tmp_path: Path
) -> None:
    table = write_catalog(find_scenes(deliveries), tmp_path / "scenes.parquet")
    done = train(write_config(tmp_path), "--scenes", table, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    files = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["PairDataModule"]["files"]
    sides = {name: set(files[name]) for name in ("train", "validation")}
    assert not sides["train"] & sides["validation"]
    owners = {
        name: [side for side, held in sides.items() if digests(deliveries, name) <= held]
        for name in ("here", "here_again", "west", "far")
    }
    assert all(len(side) == 1 for side in owners.values())
    assert owners["here"] == owners["here_again"]
    assert {side for (side,) in owners.values()} == {"train", "validation"}
    with (tmp_path / "run" / "from_0" / "metrics.csv").open(newline="") as stream:
        (row,) = [row for row in csv.DictReader(stream) if row["val_scenes/loss"]]
    assert all(float(row[f"val_scenes/{name}"]) > 0 for name in ("rmse_ratio", "ergas_ratio", "sam_ratio", "sam"))


def test_pack_and_scenes_are_validated_apart(train: Callable[..., Result], deliveries: Path, tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack.npz")
    words = ("--train", pack, "--val", pack, "--scenes", deliveries / "here", "--scenes", deliveries / "far")
    done = train(write_config(tmp_path), *words, "--val-share", 0.5, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    with (tmp_path / "run" / "from_0" / "metrics.csv").open(newline="") as stream:
        (row,) = [row for row in csv.DictReader(stream) if row["val/loss"]]
    assert row["val/loss"] != row["val_scenes/loss"]
    files = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["PairDataModule"]["files"]
    assert {"11", "22"} < set(files["train"])
    assert {"11", "22"} < set(files["validation"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "training needs a pack of chips or scenes, got neither"),
        (("--scenes", "here", "--val-share", "0"), "training needs something to validate on, got neither"),
        (("--scenes", "here"), "got one connected piece of ground with 1 scenes"),
    ],
)
def test_run_without_data_on_a_side_is_refused(
    train: Callable[..., Result], deliveries: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    named = [deliveries / word if word == "here" else word for word in words]
    done = train(write_config(tmp_path), *named, "--out", tmp_path / "run")
    assert done.exit_code in (1, 2)
    assert message in done.output
    assert not (tmp_path / "run").exists()


def test_table_that_is_none_is_refused(train: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "scenes.parquet").write_text("no table")
    done = train(write_config(tmp_path), "--scenes", tmp_path / "scenes.parquet", "--out", tmp_path / "run")
    assert done.exit_code == 1
    assert "a table of scenes must be a file that GeoPandas reads, got" in done.output


def test_published_weights_come_with_the_list_of_their_files(train: Callable[..., Result], tmp_path: Path) -> None:
    pack, config = write_pack(tmp_path / "pack.npz"), write_config(tmp_path)
    assert train(config, "--train", pack, "--val", pack, "--out", tmp_path / "run").exit_code == 0
    publish = runpy.run_path(str(ROOT / "pipelines" / "publish.py"))["main"]
    out = tmp_path / "weights.safetensors"
    done = CliRunner().invoke(publish, [str(tmp_path / "run" / "last.ckpt"), str(config), str(out)])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "weights.training.json").read_bytes()
    assert load_checkpoint(out).notes["training_files"] == hashlib.sha256(text).hexdigest()
    assert b'"11": "a.tif"' in text

    again = train(config, "--train", pack, "--val", pack, "--start", out, "--out", tmp_path / "next")
    assert again.exit_code == 0, again.output
    files = torch.load(tmp_path / "next" / "last.ckpt", weights_only=True)["PairDataModule"]["files"]
    assert files["unlisted"] == []
    (tmp_path / "weights.training.json").unlink()
    bare = train(config, "--train", pack, "--val", pack, "--start", out, "--out", tmp_path / "bare")
    assert bare.exit_code == 0, bare.output
    files = torch.load(tmp_path / "bare" / "last.ckpt", weights_only=True)["PairDataModule"]["files"]
    assert files["unlisted"] == [hashlib.sha256(out.read_bytes()).hexdigest()]

    old = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    del old["PairDataModule"]
    torch.save(old, tmp_path / "old.ckpt")
    refused = CliRunner().invoke(publish, [str(tmp_path / "old.ckpt"), str(config), str(tmp_path / "o.safetensors")])
    assert refused.exit_code == 2
    assert "weights are published with the files they were trained on" in refused.output
    assert not (tmp_path / "o.safetensors").exists()


def test_compiled_network_saves_the_same_names(train: Callable[..., Result], tmp_path: Path) -> None:
    pack, names = write_pack(tmp_path / "pack.npz"), []
    for run in ("", 'compile = "eager"'):
        out = tmp_path / f"run_{len(names)}"
        done = train(write_config(tmp_path, run), "--train", pack, "--val", pack, "--out", out)
        assert done.exit_code == 0, done.output
        names.append(torch.load(out / "last.ckpt", weights_only=True)["state_dict"])
    assert names[0].keys() == names[1].keys()
    for name, value in names[0].items():
        torch.testing.assert_close(value, names[1][name], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_two_processes_train_one_network_on_different_batches(train: Callable[..., Result], tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack.npz")
    place = '[trainer]\naccelerator = "cpu"\ndevices = 2\nstrategy = "ddp"'
    config = write_config(tmp_path, trainer=place)
    words = (SCRIPT, config, "--train", pack, "--val", pack, "--out", tmp_path / "two", "--threads", 1)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, *(str(word) for word in words)],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert train(write_config(tmp_path), "--train", pack, "--val", pack, "--out", tmp_path / "one").exit_code == 0
    two, one = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("two", "one"))
    assert two["global_step"] == one["global_step"] == 2
    assert set(two["PairDataModule"]["files"]["train"]) == {"11", "22"}
    assert any(not torch.equal(value, one["state_dict"][name]) for name, value in two["state_dict"].items())
    with (tmp_path / "two" / "from_0" / "metrics.csv").open(newline="") as stream:
        assert [float(row["val/loss"]) > 0 for row in csv.DictReader(stream) if row["val/loss"]] == [True]
