"""Whether an output can be written, found out before any work is done for it; nothing is changed on the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Literal

from ship_geo._typing import PathLike
from ship_geo.errors import ArgumentError, OutputError
from ship_geo.raster import is_remote

Format = Literal["cog", "zarr"]
"""What an output is: a Cloud Optimized GeoTIFF or a Zarr store."""

_SUFFIXES: dict[str, Format] = {**dict.fromkeys((".tif", ".tiff", ".gtiff", ".cog"), "cog"), ".zarr": "zarr"}
_FOREIGN = frozenset(
    f".{name}"
    for group in (
        "bmp gif jp2 jpeg jpg png webp",
        "img nitf ntf vrt",
        "h5 hdf nc npy npz",
        "csv gpkg geojson json parquet pdf txt xml zip",
        "imd man rpb rpc til",  # of deliveries
    )
    for name in group.split()
)

_LONGEST_NAME = 200
"""Bytes of a name; file systems take 255, and hidden names beside it are longer."""


def format_of(path: PathLike, to: str = "auto") -> Format:
    """Return what an output is to be, by its suffix unless it is told.

    Raises
    ------
    ArgumentError
        When there is no such format, or the name belongs to another.
    """
    suffix = Path(path).suffix.lower()
    named = _SUFFIXES.get(suffix)
    if to not in ("auto", "cog", "zarr"):
        msg = f"`to` must be one of auto, cog, zarr, got {to!r}; choose one of them"
        raise ArgumentError(msg)
    chosen: Format = "zarr" if to == "zarr" else "cog" if to == "cog" or named is None else named
    if suffix in _FOREIGN or (named is not None and named != chosen):
        is_cog = chosen == "cog"
        what, name = ("a GeoTIFF", ".tif") if is_cog else ("a Zarr store", ".zarr")
        msg = f"the output is {what} and must be named so, got {path}; name it {Path(path).with_suffix(name).name}"
        raise ArgumentError(msg)
    return chosen


def check_output(
    path: PathLike,
    *,
    overwrite: bool = False,
    inputs: Iterable[str] = (),
    n_byte: int = 0,
    to: Format = "cog",
) -> Path:
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
    to
        What is written: a file, or the folder of a Zarr store.

    Returns
    -------
    Path
        The target, links resolved.

    Raises
    ------
    ArgumentError
        When the path is empty.
    OutputError
        When the target exists, is no plain file, or is an input; when its folder is missing or not writable; when the
        disk is too full.
    """
    if not os.fspath(path):
        msg = "the output must be named, got an empty path; say where the result goes, such as fused.tif"
        raise ArgumentError(msg)
    if is_remote(os.fspath(path)):
        msg = f"the output must be a file on a local disk, got {path}; write it locally and copy it"
        raise OutputError(msg)
    target = Path(path).resolve()
    if (n_byte_of_name := len(os.fsencode(target.name))) > _LONGEST_NAME:
        msg = f"the name of the output must fit into {_LONGEST_NAME} bytes, got {n_byte_of_name}; shorten it"
        raise OutputError(msg)
    if to == "zarr":
        _check_store(path, target, inputs)
    else:
        _check_target(path, target, inputs)
    if target.exists() and not overwrite:
        msg = f"the output must not exist, got {path}; choose another name or pass overwrite=True"
        raise OutputError(msg)
    _check_folder(target.parent, n_byte)
    return target


def check_names(written: Mapping[str, PathLike | None], inputs: Iterable[PathLike | None] = ()) -> None:
    """Check that every file to be written has a name of its own, which is none of an input.

    Parameters
    ----------
    written
        Files by the arguments that name them; None where there is none. One that lies in a store counts as that store.
    inputs
        Files that must never be replaced; None and addresses are left out.

    Raises
    ------
    ArgumentError
        When two of the files are one, or one of them is an input.
    """
    chosen = {name: path for name, path in written.items() if path is not None}
    sources = [source for source in inputs if source is not None and not is_remote(os.fspath(source))]
    for name, path in chosen.items():
        if any(_is_same_file(Path(source), Path(path)) for source in sources):
            msg = f"a file to be written must not be one of the inputs, got {path} for `{name}`; choose another name"
            raise ArgumentError(msg)
    for (first, path), (second, other) in combinations(chosen.items(), 2):
        if _is_same_file(Path(path), Path(other)) or _is_inside(path, other) or _is_inside(other, path):
            msg = (
                f"files to be written need a name each, got {path} for `{first}` and {other} for `{second}`; "
                "choose another name for one"
            )
            raise ArgumentError(msg)


def disk_full(folder: Path, needed: int, free: int) -> str:
    """Return the message for a disk without room."""
    return (
        f"the disk of the output must have room, got {free:,} bytes free of at least {needed:,} needed in {folder}; "
        "free some, or choose another folder"
    )


def _check_target(path: PathLike, target: Path, inputs: Iterable[str]) -> None:
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


def _check_store(path: PathLike, target: Path, inputs: Iterable[str]) -> None:
    local = {source: Path(source).resolve() for source in inputs if not is_remote(source)}
    held = [source for source, file in local.items() if target in (file, *file.parents)]
    if held:
        msg = f"the output must not hold an input, got {path} around {held[0]}; choose another name"
        raise OutputError(msg)
    if target.exists() and not any((target / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray")):
        msg = (
            f"only a Zarr store is replaced by a Zarr store, got another file or folder at {path}; choose another name"
        )
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
    return source.resolve() == target.resolve()


def _is_inside(inner: PathLike, outer: PathLike) -> bool:
    return Path(outer).resolve() in Path(inner).resolve().parents
