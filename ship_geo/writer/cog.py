"""From the staged GeoTIFF to the file at the target: the COG copy, and the one step in which it takes its name."""

from __future__ import annotations

import os
from pathlib import Path

import rasterio.shutil

from ship_geo.errors import OutputError

TILE = 512
"""Edge of the tiles of the output, pixels; blocks that start and end at multiples of it are written fastest."""

COG_THREADS = 8
"""Threads that compress the COG at most; each takes 25 MB."""

_STALE_SIDECARS = (".aux.xml", ".ovr", ".msk")


def copy_to_cog(staged: Path, made: Path, compress: str = "deflate") -> None:
    """Make a COG of a GeoTIFF, with averaged overviews; nodata, mask, tags and RPC are kept."""
    rasterio.shutil.copy(
        staged,
        made,
        driver="COG",
        COMPRESS=compress.upper(),
        PREDICTOR="YES",  # 2 for integers, 3 for floats
        BLOCKSIZE=str(TILE),
        BIGTIFF="IF_SAFER",
        OVERVIEWS="IGNORE_EXISTING",
        OVERVIEW_RESAMPLING="AVERAGE",
        NUM_THREADS=str(min(COG_THREADS, os.cpu_count() or 1)),
    )


def move(made: Path, target: Path, *, overwrite: bool) -> None:
    """Give a finished file its name, for good: it survives a power cut.

    Raises
    ------
    OutputError
        When another file has taken the name meanwhile and must not be replaced.
    """
    with made.open("rb+") as file:
        os.fsync(file.fileno())
    if overwrite:
        made.replace(target)
    else:
        _move_if_free(made, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # else the new name may be lost with the power
    finally:
        os.close(folder)


def remove_sidecars(target: Path) -> None:
    """Remove the files that described a file which was replaced: GDAL would apply them to the new one."""
    for suffix in _STALE_SIDECARS:
        target.with_name(target.name + suffix).unlink(missing_ok=True)


def _move_if_free(made: Path, target: Path) -> None:
    try:
        os.link(made, target)  # in one step, unlike a look and a rename
    except OSError as error:
        if target.exists():
            msg = f"the output must not exist, got {target}, made while this job ran; choose another name"
            raise OutputError(msg) from error
        made.replace(target)  # a file system without hard links
