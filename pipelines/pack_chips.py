"""Pack a folder of multi-band GeoTIFF chips into one array file for training.

Usage: ``python pipelines/pack_chips.py FOLDER INDEX.csv OUT.npz``. The index has the columns ``city``, ``year`` and
``file``; chips of one city and year share their scene statistics. Names and SHA-256 of the files go into the pack, and
from there into the list of what weights were trained on.
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import click
import numpy as np
import rasterio


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("index", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def main(folder: Path, index: Path, out: Path) -> None:
    """Write OUT with ``chips`` (n, band, row, col), ``city``, ``name``, ``sha256`` of the indexed chips in FOLDER."""
    with index.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if (folder / row["file"]).exists()]
    rows.sort(key=lambda row: row["file"])
    chips = []
    for row in rows:
        with rasterio.open(folder / row["file"]) as source:
            chips.append(source.read())
    digests = [hashlib.sha256((folder / row["file"]).read_bytes()).hexdigest() for row in rows]
    groups = [f"{row['city']}_{row['year']}" for row in rows]
    names = [row["file"] for row in rows]
    np.savez_compressed(out, chips=np.stack(chips), city=groups, name=names, sha256=digests)
    click.echo(f"{len(chips)} chips, {len(set(groups))} groups -> {out}")


if __name__ == "__main__":
    main()
