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
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from ship_geo.errors import ShipGeoError
from ship_geo.nn import ShipPlusPlus, ShipPlusPlusConfig
from ship_geo.nn.checkpoint import save_checkpoint
from ship_geo.training import StopWhereNotFinite

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


def spoilt(folder: Path, name: str) -> Path:
    """Write a pack that is none, in one way or another."""
    chips = np.random.default_rng(0).integers(20, 230, (5, 4, 96, 96), dtype=np.uint8)
    city = ["a"] * 5
    if name == "empty":
        chips, city = chips[:0], []
    elif name == "three bands":
        chips = chips[:, :3]
    elif name == "city":
        city = city[:3]
    elif name == "float":
        chips = np.full(chips.shape, np.nan, np.float32)
    np.savez(folder / "spoilt.npz", chips=chips, city=city)
    return folder / "spoilt.npz"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[run]",
            "[ran]",
            "a config has the tables run, network, schedule, simulation and perhaps trainer, publish, got",
        ),
        ("[network]", "[trainer]", "a config has the tables"),
        ("[network]", '[trainer]\naccelerator = "abacus"\n[network]', "[trainer] is what Lightning takes here, got"),
        ("[schedule]", "[publish2]", "a config has the tables"),
        ("[run]", "[[run]]", "[run] of a config is a table, got"),
        ("[run]", "[run", "a config is a TOML file"),
        ("seed = 1", "", "got seed unknown or missing"),
        ("seed = 1", "seed = -5", "the seed of [run] is from 0 to 2**32 - 1, got -5"),
        ("seed = 1", "seed = true", "seed of [run] is of the type int, got True"),
        ("batch_size = 1", "bach_size = 1", "got bach_size, batch_size unknown or missing"),
        ("save_every = 2", "save_every = 0", "[run] has numbers of at least 1"),
        ("\nregion = 72", "\nregion = 20", "regions of [run] are multiples of 4 above 64, got (20, 72)"),
        ("\nregion = 72", "\nregion = 200", "regions fit into the chips at every scale, got 200"),
        ('precision = "auto"', 'precision = "17"', "precision of [run] is one of auto, 16-mixed"),
        ('precision = "auto"', 'precision = "auto"\ncompile = "gcc"', "compile of [run] is one of"),
        ("n_feature = 4", "n_features = 4", "got n_features unknown or missing"),
        ("n_order = 2", "n_order = 0", "sizes of a network are positive"),
        ("steps = 12", 'steps = "two"', "steps of [schedule] is of the type int, got 'two'"),
        ("rise = 1", "raise = 1", "got raise unknown or missing"),
        ("rate = 0.01", "rate = nan", "rate of [schedule] is of the type float, got nan"),
        ("rate = 0.01", "rate = -1", "the rate of a schedule is from 0 to 1"),
        ("rate = 0.01", "rate = 1e30", "the rate of a schedule is from 0 to 1"),
        ("ratios = [4, 2]", "ratio = [4, 2]", "got ratio unknown or missing"),
        ("ratios = [4, 2]", "ratios = [4, 0.5]", "ratios of [simulation] is of the type tuple[int, ...], got [4, 0.5]"),
        ("ratios = [4, 2]", "ratios = [4]", "every ratio has a weight"),
        ("ratios = [4, 2]", "gnyq = [0.5, 0.1]", "gnyq is a range of gains"),
    ],
)
def test_config_that_cannot_work_is_told(
    tmp_path: Path, pack: Path, train: Callable[..., Result], old: str, new: str, message: str
) -> None:
    words = arguments(tmp_path, pack)
    text = Path(words[0]).read_text()
    assert old in text
    Path(words[0]).write_text(text.replace(old, new, 1))
    done = train(*words)
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert isinstance(done.exception, SystemExit)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "a pack has chips (n, band, row, col) of uint8 and n cities, got (0, 4, 96, 96)"),
        ("three bands", "chips must have 4 bands, got 3"),
        ("city", "a pack has chips (n, band, row, col) of uint8 and n cities"),
        ("float", "a pack has chips (n, band, row, col) of uint8 and n cities"),
    ],
)
def test_pack_that_is_none_is_told(tmp_path: Path, train: Callable[..., Result], name: str, message: str) -> None:
    done = train(*arguments(tmp_path, spoilt(tmp_path, name)))
    assert done.exit_code == 1, done.output
    assert message in done.output
    assert isinstance(done.exception, SystemExit)


def test_weights_and_runs_that_do_not_fit_are_told(tmp_path: Path, pack: Path, train: Callable[..., Result]) -> None:
    network = ShipPlusPlus(ShipPlusPlusConfig(n_feature=6, n_order=2, n_stage=1))
    described = {"window": 64, "overlap": 16, "trained_on": "nothing", "licence": "MIT", "metrics": {}}
    wide = save_checkpoint(tmp_path / "wide.safetensors", network, **described)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(wide.read_bytes()[:-9])
    for weights, message in ((wide, "weights fit the network of the config"), (cut, "cut.safetensors")):
        done = train(*arguments(tmp_path, pack), "--start", str(weights))
        assert (done.exit_code, type(done.exception)) == (1, SystemExit), (done.output, done.exception)
        assert message in done.output
    last = tmp_path / "run" / "last.ckpt"
    last.parent.mkdir()
    for saved in (b"no run", b""):
        last.write_bytes(saved)
        done = train(*arguments(tmp_path, pack))
        assert (done.exit_code, type(done.exception)) == (1, SystemExit), (done.output, done.exception)
        assert "a run is read from what pipelines/train.py saved" in done.output
        assert last.read_bytes() == saved


def test_run_stops_where_its_loss_is_not_finite(tmp_path: Path, pack: Path, train: Callable[..., Result]) -> None:
    assert train(*arguments(tmp_path, pack, steps=2)).exit_code == 0
    saved, last = checkpoint(tmp_path), tmp_path / "run" / "last.ckpt"
    for value in saved["current_model_state"].values():
        value.fill_(1e38)
    torch.save(saved, last)
    good = last.read_bytes()
    done = train(*arguments(tmp_path, pack, steps=8))
    assert (done.exit_code, type(done.exception)) == (1, SystemExit), (done.output, done.exception)
    assert "a run has finite losses and weights, got a loss of" in done.output
    assert "after 2 steps; lower the rate" in done.output
    assert last.read_bytes() == good


def test_weights_that_are_not_finite_are_not_saved() -> None:
    network = torch.nn.Linear(1, 1)
    StopWhereNotFinite().on_save_checkpoint(SimpleNamespace(global_step=3), network, {})
    network.bias.data.fill_(torch.nan)
    with pytest.raises(ShipGeoError, match="got weights that are not after 3 steps; lower the rate"):
        StopWhereNotFinite().on_save_checkpoint(SimpleNamespace(global_step=3), network, {})
