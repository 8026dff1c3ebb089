"""Ablation: what each mechanism of SHIP++ and each order is worth at equal cost, and what SHIP reaches with the same.

Usage: ``python pipelines/ablate.py CONFIG.toml --train TRAIN.npz --val VAL.npz --out FOLDER [--scenes SCENES]``.

Every variant is trained from scratch with the same steps, batches, schedule and seeds. Its width is the one whose
multiply-adds come nearest to those of CONFIG's network, so a mechanism that is left out pays for more features. SHIP is
the published stages between SHIP++'s stems and head (`ship_geo.nn.ship_sharpening`). FOLDER gets weights and one JSON
a run, and the table of all finished runs as Markdown and JSON. Finished runs are skipped: the same command goes on
where it was stopped, and may run several times at once, each with some of the cores (``OMP_NUM_THREADS``).

Figures are of the averaged weights on simulated pairs from VAL: SAM, and RMSE, ERGAS and SAM divided by those of the
best of four classical details on the same pair, which is a choice per pair that no single method has; below 1 is
better. SCENES, see `pipelines/evaluate.py`, adds the mean over scenes of ERGAS divided by that of the best classical
method of the scene, to be reported, not to choose by.
"""

from __future__ import annotations

import bisect
import dataclasses
import fcntl
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import lightning
import torch
from cases import read_cases
from lightning.pytorch.callbacks import EMAWeightAveraging
from script import Script
from settings import Publish, Settings
from torch.utils.data import DataLoader

from ship_geo.baselines import METHODS
from ship_geo.data.chips import ChipPack, ChipSteps
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.fusers import pick_device
from ship_geo.nn.checkpoint import save_checkpoint
from ship_geo.nn.cost import multiply_adds
from ship_geo.nn.registry import build_sharpener
from ship_geo.nn.sharpener import SharpenerConfig
from ship_geo.nn.ship_plus_plus import ShipPlusPlusConfig
from ship_geo.nn.ship_sharpening import ShipSharpeningConfig
from ship_geo.training import PansharpeningTask, Schedule, StopWhereNotFinite, trainer_precision
from ship_geo.writer.aside import aside

WHOLE = "ship++"
MECHANISMS = ("evolve", "integrate", "memorise")
ORDERS = (1, 2, 3, 4)
COST_WINDOW = 64
MAX_FEATURE = 96


def variants_of(whole: ShipPlusPlusConfig) -> dict[str, SharpenerConfig]:
    """Every network to train, by name, each as costly as `whole`."""
    sizes = {name: getattr(whole, name) for name in ("n_band", "n_in", "n_guide", "n_order", "n_stage")}
    wanted: dict[str, SharpenerConfig] = {"ship": ShipSharpeningConfig(**sizes)}
    wanted |= {f"without {name}": dataclasses.replace(whole, **{name: False}) for name in MECHANISMS}
    wanted |= {f"order {n}": dataclasses.replace(whole, n_order=n) for n in ORDERS if n != whole.n_order}
    budget = cost_of(whole)
    return {WHOLE: whole, **{name: at_cost(config, budget) for name, config in wanted.items()}}


def cost_of(config: SharpenerConfig) -> float:
    """Multiply-adds per pixel, Fourier transforms included."""
    with torch.random.fork_rng(devices=[]):
        return sum(multiply_adds(build_sharpener(config), COST_WINDOW))


def at_cost(config: SharpenerConfig, budget: float) -> SharpenerConfig:
    """Return the network with as many features as cost nearest to `budget`; SHIP's dense blocks grow by nearly as many.

    Widths of SHIP are even, as its dense blocks halve their channels; their growth makes up for the coarse steps.
    """
    is_ship = isinstance(config, ShipSharpeningConfig)

    def wider(n_feature: int, more: int = 0) -> SharpenerConfig:
        growth = {"n_growth": n_feature + more} if is_ship else {}
        return dataclasses.replace(config, n_feature=n_feature, **growth)

    widths = range(4, MAX_FEATURE, 2) if is_ship else range(2, MAX_FEATURE)
    above = bisect.bisect_left(widths, budget, key=lambda width: cost_of(wider(width)))
    changes = (-2, 0, 2) if is_ship else (0,)
    near = [wider(width, more) for width in widths[max(0, above - 1) : above + 1] for more in changes]
    return min(near, key=lambda one: abs(cost_of(one) - budget))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What all runs share; `record` is what makes runs comparable."""

    settings: Settings
    train: ChipPack
    val: ChipPack
    schedule: Schedule
    precision: str
    record: Mapping[str, Any]
    publish: Publish

    def __post_init__(self) -> None:
        """Refuse regions that are larger than the chips, before the first run and not after it."""
        self.steps(self.settings.run.seed)
        self.checks()

    @classmethod
    def read(cls, config: Path, train: Path, val: Path, steps: int | None) -> Recipe:
        """Read config and packs; `steps` shortens or prolongs the schedule, its fall in proportion."""
        settings = Settings.read(config)
        schedule, n_band = settings.schedule, settings.network.n_band
        if steps:
            fall = max(1, round(schedule.fall * steps / schedule.steps))
            schedule = dataclasses.replace(schedule, steps=steps, fall=fall)
        precision = trainer_precision(settings.run.precision, pick_device("auto"))
        record = {
            "run": {**settings.tables["run"], "precision": precision},
            "simulation": settings.tables["simulation"],
            "schedule": dataclasses.asdict(schedule),
            "packs": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (train, val)},
        }
        packs = (ChipPack.from_file(path, n_band) for path in (train, val))
        return cls(settings, *packs, schedule, precision, record, settings.publish)

    def steps(self, seed: int) -> ChipSteps:
        """Batches of a run."""
        run = self.settings.run
        return ChipSteps(self.train, self.schedule.steps, run.batch_size, run.region, seed, run.scales)

    def checks(self) -> ChipSteps:
        """Validation pairs, the same for all runs, at the scales that are trained on."""
        run = self.settings.run
        return ChipSteps(self.val, run.val_steps, 4, run.val_region, run.seed + 1, run.scales)

    def task(self, config: SharpenerConfig, seed: int) -> PansharpeningTask:
        """Network with the initial weights of a seed."""
        lightning.seed_everything(seed, verbose=False)
        return PansharpeningTask(config, self.settings.simulation, self.schedule, self.settings.run.weight_decay)


def train(recipe: Recipe, config: SharpenerConfig, seed: int, weights: Path) -> dict[str, Any]:
    """Train one variant with one seed, write its weights and return its figures."""
    task, batches, checks = recipe.task(config, seed), recipe.steps(seed), recipe.checks()
    trainer = lightning.Trainer(
        max_steps=recipe.schedule.steps,
        max_epochs=-1,
        accelerator="auto",
        devices=1,
        precision=recipe.precision,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[EMAWeightAveraging(decay=recipe.settings.run.ema), StopWhereNotFinite()],
    )
    start = time.perf_counter()
    trainer.fit(task, DataLoader(batches, batch_size=None))
    seconds = time.perf_counter() - start
    (scores,) = trainer.validate(task, DataLoader(checks, batch_size=None), verbose=False)
    metrics = {name.removeprefix("val/"): float(value) for name, value in scores.items()}
    network = task.network.cpu()
    save_checkpoint(weights, network, metrics=metrics, **dataclasses.asdict(recipe.publish))
    layers, fourier = multiply_adds(network, COST_WINDOW)
    return {
        "config": dataclasses.asdict(config),
        "parameters": sum(value.numel() for value in network.parameters()),
        "multiply_adds": layers,
        "fourier_multiply_adds": fourier,
        "seconds": seconds,
        "seconds_per_step": seconds / recipe.schedule.steps,
        "metrics": metrics,
    }


def score_scenes(folder: Path, weights: Path, opponents: Path) -> float:
    """Mean over scenes of ERGAS against the best classical method, whose figures are kept in a file."""
    best = read_json(opponents) if opponents.exists() else None
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch) / "table"
        words = [folder, "--model", weights, "--resolution", "reduced", "--out", table]
        words += [] if best is None else ["--baseline", "exp"]
        command = [sys.executable, Path(__file__).with_name("evaluate.py"), *words]
        done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            click.echo(done.stderr, err=True, nl=False)
            msg = (
                f"scenes are measured by pipelines/evaluate.py, got its exit code {done.returncode} on {folder}, see "
                "above; correct the scenes and repeat the command: the run is kept"
            )
            raise ProductError(msg)
        rows = json.loads(table.with_suffix(".json").read_text())["rows"]
    if best is None:
        best = {row["scene"]: min(row["scores"][name]["ergas"] for name in METHODS if name != "exp") for row in rows}
        write_text(opponents, json.dumps(best, indent=1))
    if strange := [row["scene"] for row in rows if row["scene"] not in best]:
        msg = f"all runs of a table are measured on the same scenes, got {strange[0]} beside {opponents}; pass those"
        raise ArgumentError(msg)
    return statistics.mean(row["scores"][weights.stem]["ergas"] / best[row["scene"]] for row in rows)


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of an earlier call.

    Raises
    ------
    ProductError
        If it is damaged.
    """
    try:
        known = json.loads(path.read_text())
    except ValueError:
        known = None
    if not isinstance(known, dict):
        msg = f"what an ablation wrote is JSON, got {path}, which is damaged; delete it, and it is made anew"
        raise ProductError(msg)
    return known


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    with aside(path, overwrite=True) as made:
        made.write_text(text)


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process has a run to itself; the system ends the claim with the process."""
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def read_runs(folder: Path, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Finished runs; those of another recipe would not compare."""
    runs = [read_json(path) for path in sorted(folder.glob("run_*.json"))]
    if any(run.get("recipe") != record for run in runs):
        msg = f"all runs of a table have one config, steps and packs, got others in {folder}; pass another --out"
        raise click.UsageError(msg)
    return runs


def tabulate(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a variant: means and spreads over its seeds, differences to SHIP++ seed by seed."""
    by_name: dict[str, dict[int, dict[str, Any]]] = {}
    for run in runs:
        by_name.setdefault(run["variant"], {})[run["seed"]] = run
    rows = []
    for name, own in by_name.items():
        first, whole = next(iter(own.values())), by_name.get(WHOLE, {})
        names = set.intersection(*(set(run["metrics"]) for run in own.values()))
        pairs = [
            run["metrics"]["ergas_ratio"] - whole[seed]["metrics"]["ergas_ratio"]
            for seed, run in own.items()
            if seed in whole
        ]
        rows.append(
            {
                "variant": name,
                "seeds": sorted(own),
                **{key: first[key] for key in ("config", "parameters", "multiply_adds", "fourier_multiply_adds")},
                "seconds_per_step": statistics.median(run["seconds_per_step"] for run in own.values()),
                "metrics": {key: _spread([run["metrics"][key] for run in own.values()]) for key in sorted(names)},
                "ergas_ratio_to_whole": _spread(pairs) if name != WHOLE else None,
            }
        )
    return sorted(rows, key=lambda row: row["metrics"]["ergas_ratio"]["mean"])


def _spread(values: list[float]) -> dict[str, float | None] | None:
    """Mean and standard deviation, which one value does not have."""
    if not values:
        return None
    return {"mean": statistics.mean(values), "std": statistics.stdev(values) if len(values) > 1 else None}


def _text(spread: Mapping[str, float | None] | None, sign: str = "") -> str:
    if spread is None:
        return "-"
    return f"{spread['mean']:{sign}.4f}" + ("" if spread["std"] is None else f" ± {spread['std']:.4f}")


def as_markdown(rows: list[dict[str, Any]], record: Mapping[str, Any]) -> str:
    """Return the table for the model card."""
    schedule, run = record["schedule"], record["run"]
    caption = (
        f"{schedule['steps']} steps of batch {run['batch_size']}, {run['precision']}; mean ± standard deviation over "
        "seeds; difference: ERGAS ratio minus that of SHIP++ with the same seed."
    )
    titles = (
        *("variant", "seeds", "features", "parameters", "multiply-adds (+ Fourier)", "s / step", "RMSE ratio"),
        *("ERGAS ratio", "difference", "SAM ratio", "real scenes, ERGAS ratio"),
    )
    lines = [caption, "", "| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for row in rows:
        metrics = row["metrics"]
        cells = (
            row["variant"],
            len(row["seeds"]),
            row["config"]["n_feature"],
            f"{row['parameters']:,}",
            f"{row['multiply_adds']:,.0f} (+ {row['fourier_multiply_adds']:,.0f})",
            f"{row['seconds_per_step']:.3f}",
            *(_text(metrics[name]) for name in ("rmse_ratio", "ergas_ratio")),
            _text(row["ergas_ratio_to_whole"], "+"),
            _text(metrics["sam_ratio"]),
            _text(metrics.get("scenes_ergas_ratio")),
        )
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


@click.command(cls=Script)
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--train", "train_pack", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--val", "val_pack", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--scenes", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Real scenes to report.")
@click.option("--steps", type=click.IntRange(1), help="Steps of a run; those of CONFIG when left out.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--variant", "chosen", multiple=True, help="Only this one; may be repeated. All when left out.")
def main(
    config: Path,
    train_pack: Path,
    val_pack: Path,
    out: Path,
    scenes: Path | None,
    steps: int | None,
    seeds: int,
    chosen: tuple[str, ...],
) -> None:
    """Train all variants of CONFIG's network, seed by seed, and write the table."""
    recipe = Recipe.read(config, train_pack, val_pack, steps)
    read_runs(out, recipe.record)
    variants = variants_of(recipe.settings.network)
    if unknown := set(chosen) - set(variants):
        msg = f"a variant is one of {', '.join(variants)}, got {', '.join(sorted(unknown))}; choose one of them"
        raise click.UsageError(msg)
    if scenes:
        next(read_cases(scenes))  # fails now, not after hours, where there are none
    out.mkdir(parents=True, exist_ok=True)
    first = recipe.settings.run.seed
    for seed in range(first, first + seeds):
        for name in chosen or variants:
            run_once(recipe, out, name, variants[name], seed, scenes)
    click.echo(write_table(out, recipe.record))


def run_once(recipe: Recipe, out: Path, name: str, config: SharpenerConfig, seed: int, scenes: Path | None) -> None:
    """Train, measure and note one run, unless it is finished or another process is at it."""
    stem = out / f"run_{name.replace(' ', '_')}_{seed}"
    note, weights = stem.with_suffix(".json"), stem.with_suffix(".safetensors")
    with claimed(stem.with_suffix(".lock")) as is_mine:
        if not is_mine:
            return
        run = read_json(note) if note.exists() else {}
        lacks_scenes = scenes is not None and "scenes_ergas_ratio" not in run.get("metrics", {})
        if run and not lacks_scenes:
            return
        if not run:
            run = {"variant": name, "seed": seed, "recipe": recipe.record, **train(recipe, config, seed, weights)}
            write_text(note, json.dumps(run, indent=1))  # scoring may fail
        if lacks_scenes:
            run["metrics"]["scenes_ergas_ratio"] = score_scenes(scenes, weights, out / "opponents.json")
            write_text(note, json.dumps(run, indent=1))
    figures = ", ".join(f"{key} {value:.4f}" for key, value in run["metrics"].items())
    click.echo(f"{name}, seed {seed}: {figures}; {run['seconds_per_step']:.3f} s a step")
    write_table(out, recipe.record)


def write_table(out: Path, record: Mapping[str, Any]) -> str:
    """Write the table of all finished runs as JSON and Markdown, and return the latter."""
    rows = tabulate(read_runs(out, record))
    text = as_markdown(rows, record)
    write_text(out / "table.json", json.dumps({"recipe": record, "rows": rows}, indent=1))
    write_text(out / "table.md", text)
    return text


if __name__ == "__main__":
    main()
