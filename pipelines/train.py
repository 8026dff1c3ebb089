"""Train SHIP++ on simulated pairs: seeded, resumable, everything in one config file.

Usage: ``python pipelines/train.py pipelines/configs/naip.toml --train TRAIN.npz --val VAL.npz --out RUN``. The same
command goes on from ``RUN/last.ckpt``. ``metrics.csv`` in the run's folder holds the curve; `pipelines/publish.py`
turns the checkpoint into weights.

``--scenes FOLDER``, once or more often, takes a share of the steps from real PAN and MS pairs, degraded once more by
Wald's protocol. The scenes of a folder have one CRS; folders are drawn equally often. Validation keeps to VAL.npz:
whether scenes show ground that is measured later is up to whoever names them.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, Sampler

from ship_geo.data.chips import ChipPack, ChipSteps
from ship_geo.data.simulation import MARGIN, SimulationConfig
from ship_geo.fusers import pick_device
from ship_geo.nn import ShipPlusPlusConfig
from ship_geo.nn.checkpoint import load_checkpoint
from ship_geo.training import PansharpeningTask, Schedule, trainer_precision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.utils.data import Dataset


class _Remaining(Sampler[int]):
    """Steps from `first` on. Its length is that of the whole run: the trainer counts on from its checkpoint."""

    def __init__(self, steps: int, first: int) -> None:
        self.steps, self.first = steps, first

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.steps))

    def __len__(self) -> int:
        return self.steps


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--train", "train_pack", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--val", "val_pack", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--scenes",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="FOLDER",
    help="Real PAN and MS pairs of one CRS to train on, too; may be repeated.",
)
@click.option(
    "--scene-share",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Share of the steps that come from scenes.",
)
@click.option("--start", type=click.Path(exists=True, dir_okay=False), help="Weights from which a new run starts.")
@click.option("--threads", type=int, help="CPU threads; all cores when left out.")
def main(
    config: Path,
    train_pack: Path,
    val_pack: Path,
    out: Path,
    scenes: tuple[Path, ...],
    scene_share: float,
    start: str | None,
    threads: int | None,
) -> None:
    """Train by CONFIG, or go on with the run in OUT."""
    if threads:
        torch.set_num_threads(threads)
    settings = tomllib.loads(config.read_text())
    run = settings["run"]
    lightning.seed_everything(run["seed"])
    schedule = Schedule(**settings["schedule"])
    if schedule.steps % run["save_every"]:
        msg = (
            f"steps are a multiple of save_every, got {schedule.steps} and {run['save_every']}; the last would be lost"
        )
        raise click.UsageError(msg)
    task = PansharpeningTask(
        ShipPlusPlusConfig(**settings["network"]),
        SimulationConfig(**{key: _tuples(value) for key, value in settings["simulation"].items()}),
        schedule,
        run["weight_decay"],
    )
    if start:
        task.network.load_state_dict(load_checkpoint(start).state)
    last = out / "last.ckpt"
    first = torch.load(last, weights_only=True, map_location="cpu")["global_step"] if last.exists() else 0
    steps = ChipSteps(
        ChipPack.from_file(train_pack),
        schedule.steps,
        run["batch_size"],
        run["region"],
        run["seed"],
        tuple(run["scales"]),
    )
    mixed = _mixed(steps, scenes, scene_share, task.network.config.n_band) if scenes else steps
    checks = ChipSteps(ChipPack.from_file(val_pack), run["val_steps"], 4, run["val_region"], run["seed"] + 1)
    trainer = lightning.Trainer(
        default_root_dir=out,
        max_steps=schedule.steps,
        max_epochs=-1,
        accelerator="auto",
        devices=1,
        precision=trainer_precision(run["precision"], pick_device("auto")),
        gradient_clip_val=1.0,
        logger=CSVLogger(out, name="", version=f"from_{first}"),
        val_check_interval=min(run["val_every"], schedule.steps),
        log_every_n_steps=50,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            EMAWeightAveraging(decay=run["ema"]),
            ModelCheckpoint(out, filename="last", every_n_train_steps=run["save_every"], enable_version_counter=False),
        ],
    )
    trainer.fit(
        task,
        DataLoader(mixed, batch_size=None, sampler=_Remaining(len(steps), first)),
        DataLoader(checks, batch_size=None),
        ckpt_path=last if first else None,
        weights_only=True,
    )


def _mixed(chips: ChipSteps, folders: tuple[Path, ...], share: float, n_band: int) -> Dataset[Any]:
    """Take a share of the steps from scenes, in patches as large as those that the simulation makes of chips."""
    from ship_geo.data.dataset import ScenePairDataset  # torchgeo, for those who have scenes
    from ship_geo.data.reduced import MixedSteps, ReducedSteps

    patch = chips.region - 2 * MARGIN
    read = [
        ReducedSteps(ScenePairDataset(folder), len(chips), chips.batch_size, patch, chips.seed + index, n_band)
        for index, folder in enumerate(folders)
    ]
    return MixedSteps(chips, read, share, chips.seed)


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


if __name__ == "__main__":
    main()
