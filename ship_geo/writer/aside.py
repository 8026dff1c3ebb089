"""Small files that are whole or absent: written in a hidden folder beside their place, moved there when complete."""

from __future__ import annotations

import glob
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ship_geo.writer.cog import move

STALE_SECONDS = 3600
"""A hidden folder that is older was left by a process that was killed."""


@contextmanager
def aside(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a path to write to; what is there afterwards becomes the target, unless an error leaves the block.

    Parameters
    ----------
    target
        Where the file shall be; its folder exists.
    overwrite
        Whether a file that appeared there meanwhile may be replaced.

    Raises
    ------
    OutputError
        When another file has taken the name meanwhile and must not be replaced.
    OSError
        When the disk is full or the folder cannot be written.
    """
    prefix = f".{target.name}.part-"
    _sweep(target.parent, prefix)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent) as folder:
        made = Path(folder) / target.name
        yield made
        move(made, target, overwrite=overwrite)


def _sweep(folder: Path, prefix: str) -> None:
    """Remove what killed processes left of the same file."""
    for left in folder.glob(f"{glob.escape(prefix)}*"):
        if left.is_dir() and time.time() - left.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
