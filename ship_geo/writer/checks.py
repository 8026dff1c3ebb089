"""Whether an output can be written, found out before any work is done for it; nothing is changed on the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ship_geo._typing import PathLike
from ship_geo.errors import OutputError
from ship_geo.raster import is_remote


def check_output(path: PathLike, *, overwrite: bool = False, inputs: Iterable[str] = (), n_byte: int = 0) -> Path:
    """Check that an output can be written, before any work is done for it.

    Parameters
    ----------
    path
        File to be written, on a local disk.
    overwrite
        Whether an existing file may be replaced.
    inputs
        Files that must never be replaced.
    n_byte
        Room needed beside the target; `OutputProfile.n_staged` of a profile.

    Returns
    -------
    Path
        The target, links resolved.

    Raises
    ------
    OutputError
        When the target exists, is no plain file, or is an input; when its folder is missing or not writable; when the
        disk is too full.
    """
    if is_remote(os.fspath(path)):
        msg = f"the output must be a file on a local disk, got {path}; write it locally and copy it"
        raise OutputError(msg)
    target = Path(path).resolve()
    _check_target(path, target, overwrite=overwrite, inputs=inputs)
    _check_folder(target.parent, n_byte)
    return target


def disk_full(folder: Path, needed: int, free: int) -> str:
    """Return the message for a disk without room."""
    return (
        f"the disk of the output must have room, got {free:,} bytes free of at least {needed:,} needed in {folder}; "
        "free some, or choose another folder"
    )


def _check_target(path: PathLike, target: Path, *, overwrite: bool, inputs: Iterable[str]) -> None:
    for source in inputs:
        if not is_remote(source) and _is_same_file(Path(source), target):
            msg = f"the output must not be one of the inputs, got {path} for both; choose another name"
            raise OutputError(msg)
    if target.is_dir():
        msg = f"the output must be a file, got the folder {path}; add a file name"
        raise OutputError(msg)
    if target.exists() and not target.is_file():
        msg = f"the output must be a plain file, got the device or pipe {path}; choose another name"
        raise OutputError(msg)
    if target.exists() and not overwrite:
        msg = f"the output must not exist, got {path}; choose another name or allow to overwrite it"
        raise OutputError(msg)


def _check_folder(folder: Path, n_byte: int) -> None:
    if not folder.is_dir():
        msg = f"the folder of the output must exist, got {folder}; make it first"
        raise OutputError(msg)
    if not os.access(folder, os.W_OK | os.X_OK):
        msg = f"the folder of the output must be writable, got {folder}; change its permissions or choose another"
        raise OutputError(msg)
    free = shutil.disk_usage(folder).free
    if free < n_byte:
        raise OutputError(disk_full(folder, n_byte, free))


def _is_same_file(source: Path, target: Path) -> bool:
    if source.exists() and target.exists():
        return source.samefile(target)
    return source.resolve() == target
