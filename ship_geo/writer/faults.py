"""What is said when staging or publishing an output fails: how much room there is, and what is kept."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rasterio._err import CPLE_BaseError  # what rasterio.shutil.copy raises; rasterio.errors does not offer it
from rasterio.errors import RasterioError

from ship_geo import ledger
from ship_geo.errors import OutputError, ProductError
from ship_geo.writer.checks import disk_full


@contextmanager
def failures(output: Path, folder: Path, n_needed: int) -> Iterator[None]:
    """Turn what GDAL and the system raise into one error that says what is to be done.

    Parameters
    ----------
    output
        What is being made, for the message.
    folder
        Where it is staged; need not exist.
    n_needed
        Room on the disk that the whole step takes, bytes, with what the folder has already.

    Raises
    ------
    OutputError
        In the place of errors of GDAL and of the system.
    """
    try:
        yield
    except (RasterioError, CPLE_BaseError, ProductError, OSError) as error:
        kept = ledger.kept(folder)
        remedy = f"; {kept}" if kept else ""
        free = shutil.disk_usage(folder.parent).free
        room = free + disk_use(folder)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            n_needed = max(n_needed, room + 1)  # the system knows of quotas and of what others wrote since
        if room < n_needed:
            raise OutputError(disk_full(folder.parent, n_needed, room) + remedy) from error
        msg = f"the output must be writable, got {error} for {output}; check the disk and its permissions{remedy}"
        raise OutputError(msg) from error


def disk_use(folder: Path) -> int:
    """Room that the files in a folder take on the disk, bytes; holes take none."""
    try:
        return sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))
    except OSError:
        return 0
