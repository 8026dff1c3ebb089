"""The ablation script: equal cost, equal batches, runs that are not repeated, a table that follows from its runs."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from ship_geo.nn import ShipPlusPlusConfig, ShipSharpeningConfig
from ship_geo.nn.checkpoint import load_checkpoint

SCRIPT = runpy.run_path(str(Path(__file__).resolve().parents[2] / "pipelines" / "ablate.py"))
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
rate = 1e-2
rise = 1
steps = 4
fall = 2

[simulation]
ratios = [4, 2]
ratio_weights = [0.5, 0.5]

[publish]
window = 64
overlap = 16
trained_on = "noise"
licence = "MIT"
"""

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:The number of training batches:UserWarning",
        "ignore:.*does not have many workers:UserWarning",
        "ignore:You defined a `validation_step` but have no:UserWarning",
    )
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    n_thread = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_thread)


@pytest.fixture
def ablate(tmp_path: Path) -> Callable[..., Result]:
    (tmp_path / "config.toml").write_text(CONFIG)
    chips = np.random.default_rng(0).integers(20, 230, (5, 4, 96, 96), dtype=np.uint8)
    np.savez(tmp_path / "chips.npz", chips=chips, city=["a", "a", "b", "b", "b"])
    files = (tmp_path / "config.toml", "--train", tmp_path / "chips.npz", "--val", tmp_path / "chips.npz")
    fixed = [str(word) for word in (*files, "--out", tmp_path / "out")]
    return lambda *words: CliRunner().invoke(SCRIPT["main"], [*fixed, *(str(word) for word in words)])


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    folder = tmp_path / "scenes"
    folder.mkdir()
    random = np.random.default_rng(3)
    ms = random.integers(100, 900, (4, 36, 36)).repeat(2, 1).repeat(2, 2).astype(np.uint16)
    pan = ms.mean(0).repeat(4, 0).repeat(4, 1).astype(np.uint16) + random.integers(0, 90, (288, 288)).astype(np.uint16)
    np.savez(folder / "field.npz", ms=ms, pan=pan)
    (folder / "meta.json").write_text(json.dumps({"field": {"sensor": "QB", "bits": 11, "pan_offset_px": [0, 0]}}))
    return folder


def runs_in(folder: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("run_*.json"))}


def test_every_variant_costs_what_the_whole_network_costs() -> None:
    whole = ShipPlusPlusConfig()
    variants = SCRIPT["variants_of"](whole)
    names = ("evolve", "integrate", "memorise")
    assert set(variants) == {"ship++", "ship", *(f"without {name}" for name in names), "order 1", "order 2", "order 4"}
    budget = SCRIPT["cost_of"](whole)
    for config in variants.values():
        assert SCRIPT["cost_of"](config) == pytest.approx(budget, rel=0.05)
        assert config.n_stage == whole.n_stage
    for name in names:
        assert [getattr(variants[f"without {name}"], other) for other in names] == [other != name for other in names]
    assert [variants[f"order {n}"].n_order for n in (1, 2, 4)] == [1, 2, 4]
    assert isinstance(variants["ship"], ShipSharpeningConfig)
    assert variants["ship"].n_order == whole.n_order


def test_networks_are_checked_at_the_scales_they_are_trained_at(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG.replace("val_steps = 1", "val_steps = 20\nscales = [1, 2, 2]"))
    chips = np.zeros((4, 4, 160, 160), np.uint8)
    chips[..., ::2] = 200  # a pattern that is gone at half the resolution
    np.savez(tmp_path / "chips.npz", chips=chips, city=["a"] * 4)
    files = (tmp_path / name for name in ("config.toml", "chips.npz", "chips.npz"))
    checks = SCRIPT["Recipe"].read(*files, None).checks()
    assert 8 <= sum(batch.chips.float().std() < 1 for batch in checks) <= 18


def test_runs_are_trained_once_and_tabulated(ablate: Callable[..., Result], tmp_path: Path) -> None:
    words = ("--variant", "ship++", "--variant", "ship", "--seeds", 2)
    done = ablate(*words)
    assert done.exit_code == 0, done.output
    out = tmp_path / "out"
    runs = runs_in(out)
    assert set(runs) == {f"run_{name}_{seed}" for name in ("ship++", "ship") for seed in (1, 2)}
    table = (out / "table.json").read_bytes()

    (out / "run_ship_2.json").unlink()
    again = ablate(*words)
    assert again.exit_code == 0, again.output
    assert "ship, seed 2" in again.output
    assert "ship, seed 1" not in again.output
    repeated = runs_in(out)
    assert repeated["run_ship_2"]["metrics"] == runs["run_ship_2"]["metrics"]
    assert all(repeated[name] == runs[name] for name in runs if name != "run_ship_2")

    rows = {row["variant"]: row for row in json.loads(table)["rows"]}
    for name, row in rows.items():
        values = {seed: runs[f"run_{name}_{seed}"]["metrics"]["ergas_ratio"] for seed in (1, 2)}
        spread = row["metrics"]["ergas_ratio"]
        assert spread["mean"] == pytest.approx(np.mean(list(values.values())))
        assert spread["std"] == pytest.approx(np.std(list(values.values()), ddof=1))
        assert f"{spread['mean']:.4f} ± {spread['std']:.4f}" in (out / "table.md").read_text()
        weights = load_checkpoint(out / f"run_{name}_1.safetensors")
        assert sum(value.numel() for value in weights.state.values()) >= row["parameters"]
    differences = [
        runs[f"run_ship_{seed}"]["metrics"]["ergas_ratio"] - runs[f"run_ship++_{seed}"]["metrics"]["ergas_ratio"]
        for seed in (1, 2)
    ]
    assert rows["ship"]["ergas_ratio_to_whole"]["mean"] == pytest.approx(np.mean(differences))
    assert rows["ship++"]["ergas_ratio_to_whole"] is None


def test_real_scenes_are_added_to_finished_runs(ablate: Callable[..., Result], tmp_path: Path, scenes: Path) -> None:
    words = ("--variant", "order 1", "--seeds", 1)
    assert ablate(*words).exit_code == 0
    before = runs_in(tmp_path / "out")["run_order_1_1"]
    done = ablate(*words, "--scenes", scenes)
    assert done.exit_code == 0, done.output
    after = runs_in(tmp_path / "out")["run_order_1_1"]
    ratio = after["metrics"].pop("scenes_ergas_ratio")
    assert after == before
    assert ratio > 0
    assert f"{ratio:.4f}" in (tmp_path / "out" / "table.md").read_text()


def test_run_of_another_process_is_left_alone(ablate: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with SCRIPT["claimed"](tmp_path / "out" / "run_order_1_1.lock") as is_mine:
        assert is_mine
        done = ablate("--variant", "order 1", "--seeds", 1)
    assert done.exit_code == 0, done.output
    assert not runs_in(tmp_path / "out")


def test_runs_of_another_recipe_are_refused(ablate: Callable[..., Result]) -> None:
    words = ("--variant", "order 1", "--seeds", 1)
    assert ablate(*words).exit_code == 0
    done = ablate(*words, "--steps", 6)
    assert done.exit_code == 2
    assert "all runs of a table have one config, steps and packs" in done.output


def test_unknown_variant_is_refused_with_the_list_of_known_ones(ablate: Callable[..., Result]) -> None:
    done = ablate("--variant", "order 9")
    assert done.exit_code == 2
    assert "a variant is one of ship++, ship, without evolve" in done.output


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        ("seed = 1", "", 2, "got seed unknown or missing"),
        ('precision = "auto"', 'precision = "17"', 2, "precision of [run] is one of auto, 16-mixed"),
        ("n_stage = 1", "n_stages = 1", 2, "got n_stages unknown or missing"),
        ('licence = "MIT"', "", 2, "got licence unknown or missing"),
        ("overlap = 16", "overlap = 60", 2, "the overlap of [publish] is half a window at most"),
        ("val_region = 72", "val_region = 200", 2, "regions fit into the chips at every scale, got 200"),
        ("n_stage = 1", "n_stage = 1\nn_band = 3\nn_in = 18", 1, "chips must have 3 bands, got 4"),
    ],
)
def test_config_that_cannot_work_is_told_before_a_run(
    ablate: Callable[..., Result], tmp_path: Path, old: str, new: str, code: int, message: str
) -> None:
    (tmp_path / "config.toml").write_text(CONFIG.replace(old, new, 1))
    done = ablate("--variant", "order 1", "--seeds", 1)
    assert (done.exit_code, type(done.exception)) == (code, SystemExit), done.output
    assert message in done.output
    assert not (tmp_path / "out").exists()


def test_scenes_that_are_none_are_told_before_a_run(ablate: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    done = ablate("--variant", "order 1", "--seeds", 1, "--scenes", tmp_path / "nothing")
    assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.output
    assert "a source holds pairs, got none in" in done.output
    assert not (tmp_path / "out").exists()


def test_run_is_kept_where_its_scenes_cannot_be_measured(
    ablate: Callable[..., Result], tmp_path: Path, scenes: Path
) -> None:
    meta = json.loads((scenes / "meta.json").read_text())
    (scenes / "meta.json").write_text(json.dumps({**meta, "gone": meta["field"]}))
    done = ablate("--variant", "order 1", "--seeds", 1, "--scenes", scenes)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.output
    assert "gone.npz" in done.output
    assert "got its exit code 1" in done.output
    assert "scenes_ergas_ratio" not in runs_in(tmp_path / "out")["run_order_1_1"]["metrics"]


def test_damaged_run_is_named(ablate: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run_order_1_1.json").write_text('{"variant":')
    done = ablate("--variant", "order 1", "--seeds", 1)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.output
    assert "run_order_1_1.json, which is damaged" in done.output
