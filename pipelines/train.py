"""Train a network on simulated pairs, on real scenes, or both: seeded, resumable, everything in one config file.

Usage: ``python pipelines/train.py pipelines/configs/naip.toml --train TRAIN.npz --val VAL.npz --out RUN``. The same
command goes on from ``RUN/last.ckpt``. ``metrics.csv`` in the run's folder holds the curves; `pipelines/publish.py`
turns the checkpoint into weights, with the list of all files that were trained on.

``--scenes SOURCE``, once or more often, takes a share of the steps from real PAN and MS pairs, degraded once more by
Wald's protocol; all steps where there is no pack to train on. A source is a folder, a file of a pair, or a table that
``ship-geo find FOLDER --output scenes.parquet`` wrote. Sources are drawn equally often, the scenes of a source as often
as they have room for windows. ``--val-share`` of their ground is validated on and never trained on: scenes that
overlap go to the same side. Whether scenes show ground that is measured elsewhere is up to whoever names them.

Tables of the config are told in `settings.py`: ``[run]``, ``[network]``, ``[schedule]``, ``[simulation]``, and
``[trainer]`` with ``accelerator``, ``devices``, ``num_nodes`` and ``strategy`` as Lightning takes them: every device
has batches of its own, of ``batch_size`` each. A loss or weights that are not finite stop the run; what was saved
before stays.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from runs import load_weights, read_run
from script import Script
from settings import Run, Settings

from ship_geo.data.chips import ChipPack, ChipSteps
from ship_geo.data.datamodule import PairDataModule
from ship_geo.data.simulation import MARGIN
from ship_geo.data.training_files import TrainingFiles, files_at, files_of_pack
from ship_geo.errors import ArgumentError, ShipGeoError
from ship_geo.fusers import pick_device
from ship_geo.nn.checkpoint import load_checkpoint
from ship_geo.training import PansharpeningTask, StopWhereNotFinite, trainer_precision

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from ship_geo.data.reduced import PooledSteps
    from ship_geo.scene import Scene

CHECK_BATCH = 4
TABLES = (".parquet", ".gpkg", ".geojson")
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclasses.dataclass(frozen=True)
class Sources:
    """What is trained and validated on.

    Attributes
    ----------
    train, val
        Packs of chips.
    scenes
        Scenes to train on, by source.
    held
        Scenes to validate on.
    share
        Of the steps that come from scenes.
    """

    train: Path | None
    val: Path | None
    scenes: Sequence[Sequence[Scene]]
    held: Sequence[Scene]
    share: float

    @classmethod
    def find(
        cls,
        patch: int,
        *,
        train: Path | None,
        val: Path | None,
        scenes: tuple[Path, ...],
        share: float,
        val_share: float | None,
    ) -> Sources:
        """Open the scenes with room for patches, and hold some back: a fifth of their ground where `val` is no pack."""
        if not train and not scenes:
            msg = "training needs a pack of chips or scenes, got neither; pass --train or --scenes"
            raise click.UsageError(msg)
        opened = [open_source(source, patch) for source in scenes]
        wanted = (0.0 if val else 0.2) if val_share is None else val_share
        kept, held = hold_back(opened, wanted)
        if not val and not held:
            msg = "training needs something to validate on, got neither; pass --val, or --scenes and --val-share"
            raise click.UsageError(msg)
        return cls(train, val, kept, held, share if train else 1.0)

    def files(self) -> TrainingFiles:
        """Every file with its digest."""
        used = [path for scenes in self.scenes for scene in scenes for path in scene.files]
        train = (files_of_pack(self.train) if self.train else {}) | files_at(used)
        held = files_at(path for scene in self.held for path in scene.files)
        return TrainingFiles(train, (files_of_pack(self.val) if self.val else {}) | held)

    def batches(self, run: Run, count: int, n_band: int) -> Dataset[Any]:
        """Batches to train on, by index."""
        from ship_geo.data.reduced import MixedSteps

        size, patch, seed = run.batch_size, run.region - 2 * MARGIN, run.seed
        real = [
            pool(scenes, count, size, patch, seed + index, n_band) for index, scenes in enumerate(self.scenes) if scenes
        ]
        chips = None
        if self.train:
            chips = ChipSteps(ChipPack.from_file(self.train, n_band), count, size, run.region, seed, run.scales)
        if not real:
            assert chips is not None  # noqa: S101  one of the two was asked for
            return chips
        return MixedSteps(chips, real, self.share, seed)

    def checks(self, run: Run, count: int, n_band: int) -> list[Dataset[Any]]:
        """Batches to validate on, by index: of chips and of scenes."""
        seed, checks = run.seed + 1, list["Dataset[Any]"]()
        if self.val:
            pack = ChipPack.from_file(self.val, n_band)
            checks.append(ChipSteps(pack, count, CHECK_BATCH, run.val_region, seed, run.scales))
        if self.held:
            checks.append(pool(self.held, count, CHECK_BATCH, run.region - 2 * MARGIN, seed, n_band))
        return checks


def open_source(source: Path, patch: int) -> list[Scene]:
    """Open the scenes of a folder, of a file, or of a table; what cannot be used is left out with a warning."""
    from ship_geo.data.dataset import open_scenes
    from ship_geo.data.reduced import with_room

    scenes = list(listed_in(source)) if source.suffix.lower() in TABLES else open_scenes(source)
    if not scenes:
        msg = f"one scene of a table at least must open, got none of {source}; the warnings say why"
        raise click.ClickException(msg)
    return with_room(scenes, patch)


def listed_in(table: Path) -> Iterator[Scene]:
    """Open the scenes of a table that can be opened."""
    from ship_geo.catalog import read_catalog
    from ship_geo.scene import open_scene

    for row in read_catalog(table).itertuples():
        problem = getattr(row, "problem", "")  # a table of one's own need not tell; empty cells are no text
        problem = problem if isinstance(problem, str) else ""
        try:
            if not problem:
                yield open_scene(row.source, product=row.name)
        except ShipGeoError as error:
            problem = str(error)
        if problem:
            warnings.warn(f"a scene that cannot be opened is left out: {problem}", stacklevel=2)


def hold_back(sources: Sequence[Sequence[Scene]], share: float) -> tuple[Sequence[Sequence[Scene]], Sequence[Scene]]:
    """Hold back a share of the ground for validation; then scenes whose ground is not known are left out."""
    from ship_geo.catalog import footprint, on_globe
    from ship_geo.data.splits import split_by_ground

    if not share or not sources:
        return sources, ()
    placed = []
    for index, scenes in enumerate(sources):
        for scene in scenes:
            ring = footprint(scene)
            if ring is None:
                warnings.warn(f"a scene whose ground is not known is left out: {scene.name}", stacklevel=2)
            else:
                placed.append((index, scene, on_globe(ring)))
    split = split_by_ground([outline for *_, outline in placed], share)
    kept: list[list[Scene]] = [[] for _ in sources]
    for position in split.train:
        kept[placed[position][0]].append(placed[position][1])
    return kept, [placed[position][1] for position in split.val]


def pool(scenes: Sequence[Scene], count: int, size: int, patch: int, seed: int, n_band: int) -> PooledSteps:
    """Batches of scenes, each from those of one CRS."""
    from ship_geo.data.dataset import ScenePairDataset
    from ship_geo.data.reduced import PooledSteps, ReducedSteps
    from ship_geo.grids import is_same_crs

    groups: list[list[Scene]] = []
    for scene in scenes:
        own = next((one for one in groups if is_same_crs(one[0].pair.output.crs, scene.pair.output.crs)), None)
        if own is None:
            groups.append([scene])
        else:
            own.append(scene)
    return PooledSteps(
        [ReducedSteps(ScenePairDataset(group), count, size, patch, seed, n_band) for group in groups], seed
    )


def make_trainer(settings: Settings, out: Path, first: int) -> lightning.Trainer:
    """Trainer of a run; `[trainer]` of the config says on what."""
    run, steps, place = settings.run, settings.schedule.steps, dataclasses.asdict(settings.trainer)
    device = torch.device("cpu") if place["accelerator"] == "cpu" else pick_device("auto")
    try:
        return lightning.Trainer(
            **place,
            default_root_dir=out,
            max_steps=steps,
            max_epochs=-1,
            precision=trainer_precision(run.precision, device),
            gradient_clip_val=1.0,
            logger=CSVLogger(out, name="", version=f"from_{first}"),
            val_check_interval=min(run.val_every, steps),
            log_every_n_steps=50,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,  # the datamodule deals the batches
            callbacks=[
                EMAWeightAveraging(decay=run.ema),
                StopWhereNotFinite(),
                ModelCheckpoint(out, filename="last", every_n_train_steps=run.save_every, enable_version_counter=False),
            ],
        )
    except (MisconfigurationException, TypeError, ValueError) as error:
        msg = f"[trainer] is what Lightning takes here, got {place} ({error}); correct the config"
        raise ArgumentError(msg) from error


def make_task(settings: Settings, start: Path | None) -> PansharpeningTask:
    """Network of the config, with weights of `start` if there are."""
    task = PansharpeningTask(settings.network, settings.simulation, settings.schedule, settings.run.weight_decay)
    if start:
        load_weights(task.network, load_checkpoint(start).state, start)
    if backend := settings.run.compile:
        known = torch.compiler.list_backends(exclude_tags=())
        if backend not in known:
            msg = f"compile of [run] is one of {', '.join(known)}, got {backend!r}; correct the config"
            raise ArgumentError(msg)
        task.network.compile(backend=backend)  # in place: names of weights stay as they are
    return task


def steps_done(task: PansharpeningTask, last: Path) -> int:
    """Steps of the run that goes on, whose network must be that of the task; 0 where there is none."""
    if not last.exists():
        return 0
    saved = read_run(last)
    load_weights(task, saved["state_dict"], last)
    return int(saved["global_step"])


def list_files(sources: Sources, start: Path | None) -> TrainingFiles:
    """Every file that weights come from."""
    return sources.files() | TrainingFiles.beside(start) if start else sources.files()


@click.command(cls=Script)
@click.argument("config", type=_EXISTING)
@click.option("--train", type=_EXISTING, metavar="PACK", help="Chips to train on.")
@click.option("--val", type=_EXISTING, metavar="PACK", help="Chips to validate on.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--scenes",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="SOURCE",
    help="Real PAN and MS pairs: a folder, a file, or a table of ship-geo find; may be repeated.",
)
@click.option(
    "--scene-share",
    "share",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Share of the steps that come from scenes where there are chips, too.",
)
@click.option(
    "--val-share",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of the scenes' ground to validate on; by default 0 with --val, else 0.2.",
)
@click.option("--start", type=_EXISTING, help="Weights from which a new run starts.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads; all cores when left out.")
def main(config: Path, out: Path, start: Path | None, threads: int | None, **named: Any) -> None:
    """Train by CONFIG, or go on with the run in OUT."""
    if threads:
        torch.set_num_threads(threads)
    settings = Settings.read(config)
    run, steps = settings.run, settings.schedule.steps
    if steps % run.save_every:
        msg = f"steps are a multiple of save_every, got {steps} and {run.save_every}; the last would be lost"
        raise click.UsageError(msg)
    lightning.seed_everything(run.seed)
    task, last = make_task(settings, start), out / "last.ckpt"
    first = steps_done(task, last)
    sources = Sources.find(run.region - 2 * MARGIN, **named)
    trainer = make_trainer(settings, out, first)
    files = list_files(sources, start) if trainer.is_global_zero else TrainingFiles()
    n_rank, n_band = trainer.num_devices * trainer.num_nodes, settings.network.n_band
    batches = sources.batches(run, steps * n_rank, n_band)
    checks = sources.checks(run, -(-run.val_steps // n_rank) * n_rank, n_band)
    loaders = PairDataModule(batches, checks, first, files, run.workers)
    trainer.fit(task, datamodule=loaders, ckpt_path=last if first else None, weights_only=True)


if __name__ == "__main__":
    main()
