"""Turn a training checkpoint into weights: ``python pipelines/publish.py RUN/last.ckpt CONFIG.toml OUT.safetensors``.

The averaged (EMA) weights are taken, as they are the ones that validation saw. Window and overlap, licence and the
description of the training data come from the config's ``[publish]`` table.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import click
import torch

from ship_geo.nn import ShipPlusPlus, ShipPlusPlusConfig
from ship_geo.nn.checkpoint import save_checkpoint


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--metric", multiple=True, type=(str, float), help="NAME VALUE, stored in the header.")
def main(checkpoint: Path, config: Path, out: Path, metric: tuple[tuple[str, float], ...]) -> None:
    """Write OUT from CHECKPOINT by CONFIG."""
    settings = tomllib.loads(config.read_text())
    saved = torch.load(checkpoint, weights_only=True, map_location="cpu")
    prefix = "network."
    state = {name[len(prefix) :]: value for name, value in saved["state_dict"].items() if name.startswith(prefix)}
    network = ShipPlusPlus(ShipPlusPlusConfig(**settings["network"]))
    network.load_state_dict(state)
    path = save_checkpoint(out, network, metrics=dict(metric), **settings["publish"])
    click.echo(f"step {saved['global_step']}, {path.stat().st_size} bytes -> {path}")


if __name__ == "__main__":
    main()
