"""Open files: the one driver that the first bytes call for, and GDAL's options for files that are elsewhere.

How files behind a network are read nevertheless when connections drop: see `ship_geo.raster.network`.

The convention that could surprise: a ``.tif`` that holds VRT text is refused instead of reading the files it names.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from ship_geo.errors import ProductError
from ship_geo.raster.network import forgetting, is_network, network_message, network_options, persist, whole_header

_DRIVERS = {
    b"II*\x00": "GTiff",
    b"MM\x00*": "GTiff",
    b"II+\x00": "GTiff",  # BigTIFF
    b"MM\x00+": "GTiff",
    b"\x00\x00\x00\x0cjP": "JP2OpenJPEG",
    b"\xffO\xffQ": "JP2OpenJPEG",  # bare code stream
    b"NITF": "NITF",
}
_BESIDE = (".msk", ".ovr")
_TIFF = tuple(magic for magic, driver in _DRIVERS.items() if driver == "GTiff")
_REMOTE_DRIVERS = {".jp2": "JP2OpenJPEG", ".j2k": "JP2OpenJPEG", ".ntf": "NITF", ".nitf": "NITF"}
_REMOTE_OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
_ARCHIVE = re.compile(r"/vsi(?:zip|tar)/(?:\{(.+)\}/.*|(.+))", re.DOTALL)
_OPEN_LOCK = threading.Lock()  # the filters of `warnings` belong to the process, not to the thread


def is_remote(path: str) -> bool:
    """Whether a path is for GDAL's virtual file systems only: ``/vsi...`` or a URL."""
    return path.startswith("/vsi") or "://" in path


def local_file(path: str) -> Path | None:
    """Return the file on a local disk that a path reads, an archive for its members; None where there is none."""
    archive = _ARCHIVE.match(path)
    if archive is None:
        return None if is_remote(path) else Path(path)
    braced, bare = archive.groups()
    if braced is not None:
        return Path(braced)
    return next((parent for parent in Path(bare).parents if parent.is_file()), None)


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """Open a raster for a `with` block.

    Raises
    ------
    ProductError
        When it cannot be opened.
    """
    try:
        dataset = persist(path, lambda: open_raster(path))
    except RasterioIOError as error:
        raise ProductError(unreadable(path, error)) from (None if is_network(path) else error)
    with gdal_options(path), dataset:
        yield dataset


def open_raster(path: str) -> Any:
    """Open a raster with the driver that its first bytes (elsewhere: its suffix) call for.

    Raises
    ------
    ProductError
        When there is no such file, or it is empty or of another format.
    RasterioIOError
        When GDAL cannot open it.
    """
    driver = _remote_driver(path) if is_remote(path) else _local_driver(Path(path))
    with _OPEN_LOCK, warnings.catch_warnings(), gdal_options(path):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # sensor-geometry products are legal; scenes check
        if not is_network(path):
            return rasterio.open(path, driver=driver)
        return _open_whole(path, driver)


def _open_whole(path: str, driver: str) -> Any:
    with ExitStack() as stack:
        with whole_header():
            dataset = stack.enter_context(rasterio.open(path, driver=driver))
            _ = dataset.mask_flag_enums  # goes on through all directories
        stack.pop_all()
        return dataset


def gdal_options(path: str) -> Any:
    """Return the environment in which GDAL is to open and read a file."""
    if is_network(path):
        return rasterio.Env(**network_options())
    return rasterio.Env(**_REMOTE_OPTIONS) if is_remote(path) else rasterio.Env()


def forget(path: str) -> None:
    """Make GDAL forget what it remembers of a file behind a network; open handles of the file can go on."""
    other = "NITF" if _remote_driver(path) == "GTiff" else "GTiff"  # looks at the file and leaves it
    with gdal_options(path), forgetting(), suppress(RasterioIOError):
        rasterio.open(path, driver=other).close()


def open_text(vrt: str, path: str) -> Any:
    """Open a VRT that this package wrote; `path` is one of its files."""
    with _OPEN_LOCK, warnings.catch_warnings(), gdal_options(path):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(vrt, driver="VRT")


def _remote_driver(path: str) -> str:
    suffix = Path(path.split("?", maxsplit=1)[0]).suffix.lower()
    return _REMOTE_DRIVERS.get(suffix, "GTiff")


def _local_driver(path: Path) -> str:
    for beside in _sidecars(path):
        if not _read_head(beside).startswith(_TIFF):
            msg = f"a mask or overviews beside a raster must be a TIFF, got another format in {beside}; remove the file"
            raise ProductError(msg)
    head = _read_head(path)
    if not head:
        msg = f"a raster must have content, got the empty file {path}; copy or download it again"
        raise ProductError(msg)
    for magic, driver in _DRIVERS.items():
        if head.startswith(magic):
            return driver
    what = "VRT text, which names other files" if b"<VRTDataset" in head else f"a file that begins with {head[:8]!r}"
    msg = f"a raster must be GeoTIFF, JPEG 2000 or NITF, got {what}, in {path}; convert it with gdal_translate"
    raise ProductError(msg)


def _sidecars(path: Path) -> list[Path]:
    """Files that GDAL opens together with a raster, with any driver: VRT text in them would read other files."""
    try:
        beside = _masks_in(path.parent, path.parent.stat().st_mtime_ns)
    except OSError:
        return []
    return [other for suffix in _BESIDE for other in beside.get(f"{path.name}{suffix}".casefold(), ())]


@lru_cache(maxsize=64)
def _masks_in(folder: Path, _changed: int) -> dict[str, list[Path]]:
    """Masks and overviews of a folder by their names without case; listed anew when something is added or removed."""
    found: dict[str, list[Path]] = {}
    for path in folder.iterdir():
        if path.suffix.casefold() in _BESIDE and path.is_file():
            found.setdefault(path.name.casefold(), []).append(path)
    return found


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(512)
    except FileNotFoundError as error:
        msg = f"a raster file must exist, got {path}; check the path"
        raise ProductError(msg) from error
    except IsADirectoryError as error:
        msg = f"a raster must be a file, got the folder {path}; pass one file, or the folder as the whole source"
        raise ProductError(msg) from error
    except OSError as error:
        msg = f"a raster file must be readable, got {path} ({error.strerror}); check its permissions"
        raise ProductError(msg) from error


def unreadable(path: str, error: Exception) -> str:
    """Return the message for a file that GDAL cannot read."""
    if is_network(path):
        return network_message(path, error)
    reason = error.__cause__ or error
    return f"a raster must be readable, got {path} ({reason}); it may be damaged: copy or download it again"
