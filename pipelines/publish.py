"""Turn a training checkpoint into weights: ``python pipelines/publish.py RUN/last.ckpt CONFIG.toml OUT.safetensors``.

The averaged (EMA) weights are taken, as they are the ones that validation saw. Window and overlap, licence and the
description of the training data come from the config's ``[publish]`` table. ``OUT.training.json`` lists every file that
was trained and validated on with its SHA-256; the header of the weights holds the digest of that list. A checkpoint of
before such lists needs ``--train-pack`` and ``--val-pack``, the packs it was made with.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any

import click
import torch

from ship_geo.data.training_files import TrainingFiles, files_of_pack, list_path
from ship_geo.nn import ShipPlusPlus, ShipPlusPlusConfig
from ship_geo.nn.checkpoint import save_checkpoint

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


@click.command()
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
    settings = tomllib.loads(config.read_text())
    saved = torch.load(checkpoint, weights_only=True, map_location="cpu")
    prefix = "network."
    state = {name[len(prefix) :]: value for name, value in saved["state_dict"].items() if name.startswith(prefix)}
    network = ShipPlusPlus(ShipPlusPlusConfig(**settings["network"]))
    network.load_state_dict(state)
    text = files_of(saved, train_pack, val_pack).to_json().encode()
    notes = {"training_files": hashlib.sha256(text).hexdigest()}
    path = save_checkpoint(out, network, metrics=dict(metric), notes=notes, **settings["publish"])
    list_path(out).write_bytes(text)
    click.echo(f"step {saved['global_step']}, {path.stat().st_size} bytes -> {path}")


if __name__ == "__main__":
    main()
