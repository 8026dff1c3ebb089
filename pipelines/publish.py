"""Turn a training checkpoint into weights: ``python pipelines/publish.py RUN/last.ckpt CONFIG.toml OUT.safetensors``.

The averaged (EMA) weights are taken, as they are the ones that validation saw. Window and overlap, licence and the
description of the training data come from the config's ``[publish]`` table. ``OUT.training.json`` lists every file that
was trained and validated on with its SHA-256; the header of the weights holds the digest of that list. A checkpoint of
before such lists needs ``--train-pack`` and ``--val-pack``, the packs it was made with. Weights and their list replace
such files only, and never an input.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from runs import load_weights, read_run
from script import Script
from settings import Settings

from ship_geo.data.training_files import TrainingFiles, files_of_pack, list_path
from ship_geo.nn import ShipPlusPlus
from ship_geo.nn.checkpoint import save_checkpoint
from ship_geo.tuning import check_weights
from ship_geo.writer.aside import aside
from ship_geo.writer.checks import check_names

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


def files_of(saved: dict[str, Any], train: tuple[Path, ...], val: tuple[Path, ...]) -> TrainingFiles:
    """List of files in a checkpoint, and those of the packs that were named."""
    files = TrainingFiles()
    if "PairDataModule" in saved:
        files = TrainingFiles.from_dict(saved["PairDataModule"]["files"])
    for pack in train:
        files |= TrainingFiles(train=files_of_pack(pack))
    for pack in val:
        files |= TrainingFiles(validation=files_of_pack(pack))
    if not files.train:
        msg = "weights are published with the files they were trained on, got a checkpoint without; pass --train-pack"
        raise click.UsageError(msg)
    return files


def check_places(out: Path, inputs: Sequence[Path]) -> None:
    """Check that weights and their list replace no input, and nothing but such files.

    Raises
    ------
    ArgumentError
        If they would.
    """
    check_names({"OUT": out, "OUT.training.json": list_path(out)}, inputs)
    check_weights(out)
    if list_path(out).exists():
        TrainingFiles.beside(out)


@click.command(cls=Script)
@click.argument("checkpoint", type=_EXISTING)
@click.argument("config", type=_EXISTING)
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--metric", multiple=True, type=(str, float), help="NAME VALUE, stored in the header.")
@click.option("--train-pack", multiple=True, type=_EXISTING, help="A pack that was trained on, too; may be repeated.")
@click.option("--val-pack", multiple=True, type=_EXISTING, help="A pack that was validated on, too; may be repeated.")
def main(
    checkpoint: Path,
    config: Path,
    out: Path,
    metric: tuple[tuple[str, float], ...],
    train_pack: tuple[Path, ...],
    val_pack: tuple[Path, ...],
) -> None:
    """Write OUT and the list beside it from CHECKPOINT by CONFIG."""
    check_places(out, (checkpoint, config, *train_pack, *val_pack))
    settings, saved = Settings.read(config), read_run(checkpoint)
    prefix = "network."
    state = {name[len(prefix) :]: value for name, value in saved["state_dict"].items() if name.startswith(prefix)}
    network = ShipPlusPlus(settings.network)
    load_weights(network, state, checkpoint)
    text = files_of(saved, train_pack, val_pack).to_json().encode()
    notes = {"training_files": hashlib.sha256(text).hexdigest()}
    described = dataclasses.asdict(settings.publish)
    with aside(list_path(out), overwrite=True) as listed:  # there are no weights without their list
        listed.write_bytes(text)
        path = save_checkpoint(out, network, metrics=dict(metric), notes=notes, **described)
    click.echo(f"step {saved['global_step']}, {path.stat().st_size} bytes -> {path}")


if __name__ == "__main__":
    main()
