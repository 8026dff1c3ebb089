"""Pack a folder of multi-band GeoTIFF chips into one array file for training.

Usage: ``python pipelines/pack_chips.py FOLDER INDEX.csv OUT.npz``. The index has the columns ``city``, ``year`` and
``file``; chips of one city and year share their scene statistics. Names and SHA-256 of the files go into the pack, and
from there into the list of what weights were trained on. All chips that the index names must be there, of one shape and
of uint8; where it has the column ``split``, too, only those whose split is the name of FOLDER.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import click
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from script import Script

from ship_geo.data.training_files import digest_of
from ship_geo.errors import OutputError, ProductError
from ship_geo.writer.aside import aside
from ship_geo.writer.checks import check_names, check_output

COLUMNS = ("city", "year", "file")


def read_index(index: Path, folder: Path) -> list[dict[str, str]]:
    """Read the rows of an index, in the order of their files.

    Raises
    ------
    ProductError
        If it is none, or names files that are not in the folder.
    """
    try:
        with index.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream)
            rows, columns = list(table), table.fieldnames or ()
    except (ValueError, csv.Error) as error:  # no UTF-8, or no CSV
        msg = f"an index is a CSV file of UTF-8, got {index} ({error}); write it anew"
        raise ProductError(msg) from error
    if "split" in columns:
        rows = [row for row in rows if row["split"] == folder.resolve().name]
    bare = sum(not all(row.get(name) for name in COLUMNS) for row in rows)
    if not rows or bare:
        msg = (
            f"an index has rows with {', '.join(COLUMNS)}, got {len(rows)} rows, {bare} of them without one, and the "
            f"columns {', '.join(columns) or 'none'} in {index}; correct it"
        )
        raise ProductError(msg)
    if missing := [row["file"] for row in rows if not (folder / row["file"]).is_file()]:
        msg = f"chips of the index are in {folder}, got {len(missing)} that are not, first {missing[0]}; correct either"
        raise ProductError(msg)
    return sorted(rows, key=lambda row: row["file"])


def read_chip(path: Path, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Read a chip, (band, row, col) uint8.

    Raises
    ------
    ProductError
        If it is no raster, or of another shape or type.
    """
    try:
        with rasterio.open(path) as source:
            chip: NDArray[Any] = source.read()
    except RasterioError as error:
        msg = f"chips are rasters, got {path} ({error}); make it anew, or take it out of the index"
        raise ProductError(msg) from error
    if chip.dtype != np.uint8 or (shape or chip.shape) != chip.shape:
        msg = f"chips are uint8 of one shape, got {chip.dtype} {chip.shape} in {path}; take others out of the index"
        raise ProductError(msg)
    return chip


@click.command(cls=Script)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("index", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
def main(folder: Path, index: Path, out: Path, *, overwrite: bool) -> None:
    """Write OUT with ``chips`` (n, band, row, col), ``city``, ``name``, ``sha256`` of the indexed chips in FOLDER."""
    rows = read_index(index, folder)
    paths = [folder / row["file"] for row in rows]
    check_names({"OUT": out}, (index, *paths))
    if out.exists() and not overwrite:
        msg = f"the output must not exist, got {out}; choose another name or pass --overwrite"
        raise OutputError(msg)
    check_output(out, overwrite=True)
    first = read_chip(paths[0])
    chips = np.stack([read_chip(path, first.shape) for path in paths])
    digests = [digest_of(path) for path in paths]
    groups = [f"{row['city']}_{row['year']}" for row in rows]
    names = [row["file"] for row in rows]
    with aside(out, overwrite=overwrite) as made, made.open("wb") as stream:  # a stream keeps the name as it is
        np.savez_compressed(stream, chips=chips, city=groups, name=names, sha256=digests)
    click.echo(f"{len(chips)} chips, {len(set(groups))} groups -> {out}")


if __name__ == "__main__":
    main()
