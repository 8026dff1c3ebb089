"""Raster files as pixels and facts: what a file holds, and reads of any block of it.

For single files and bundles of them on one grid; nothing here knows what a PAN band is, and nothing resamples. Three
conventions could surprise. A file is opened with the one driver its first bytes call for, so a ``.tif`` that holds VRT
text is refused instead of reading the files it names. A block may reach over the edge of the raster: there the values
are 0 and not valid. And a nodata value that a measurement can have, too (zero or positive), marks a pixel only where
*all* bands have it, so that a true zero in one band stays valid; a negative one marks it in any band.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from os import fspath, getpid
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.windows import Window

from ship_geo._typing import PathLike
from ship_geo.errors import ProductError
from ship_geo.grids import Grid

Values = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

_DRIVERS = {
    b"II*\x00": "GTiff",
    b"MM\x00*": "GTiff",
    b"II+\x00": "GTiff",  # BigTIFF
    b"MM\x00+": "GTiff",
    b"\x00\x00\x00\x0cjP": "JP2OpenJPEG",
    b"\xffO\xffQ": "JP2OpenJPEG",  # bare code stream
    b"NITF": "NITF",
}
_REMOTE_DRIVERS = {".jp2": "JP2OpenJPEG", ".j2k": "JP2OpenJPEG", ".ntf": "NITF", ".nitf": "NITF"}
_REMOTE_OPTIONS = {
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
}
_MOST_BLOCKS_CHECKED = 200_000  # a second or two; larger block tables are checked at even steps
_OPEN_LOCK = threading.Lock()  # the filters of `warnings` belong to the process, not to the thread


@dataclass(frozen=True)
class BandRef:
    """One band of one file.

    Parameters
    ----------
    path
        Local path, ``/vsi...`` path or URL.
    band
        Number of the band, counted from 1.

    """

    path: str
    band: int


@dataclass(frozen=True)
class RasterInfo:
    """What a raster file says about itself, without a look at its pixels.

    Parameters
    ----------
    path, driver
        Where it is, and the GDAL driver that reads it.
    grid
        Shape, transform and CRS. Without georeference the transform is the identity.
    dtype
        NumPy name of the data type of all bands.
    nodata
        Tagged nodata value; None without one.
    has_mask
        Whether a mask or an alpha band says which pixels are valid.
    alpha
        Number of the band that the file calls alpha, from 1; None without one.
    has_rpc
        Whether rational polynomial coefficients come with the file.
    descriptions, colours
        Per band: its description ("" without one) and its GDAL colour interpretation in lower case.
    scales, offsets
        Per band: how values become physical, as tagged.
    tags
        Metadata of the default domain.

    """

    path: str
    driver: str
    grid: Grid
    dtype: str
    nodata: float | None
    has_mask: bool
    alpha: int | None
    has_rpc: bool
    descriptions: tuple[str, ...]
    colours: tuple[str, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    tags: dict[str, str]

    @property
    def n_band(self) -> int:
        """Number of bands, an alpha band included."""
        return len(self.descriptions)

    @property
    def is_georeferenced(self) -> bool:
        """Whether the file says where its pixels lie on a map (a transform that is not the identity)."""
        return self.grid.transform != Affine.identity()


def is_remote(path: str) -> bool:
    """Whether a path is for GDAL's virtual file systems only: ``/vsi...`` or a URL."""
    return path.startswith("/vsi") or "://" in path


def inspect(path: PathLike) -> RasterInfo:
    """Open a raster, check that it is whole, and return what it says about itself.

    Parameters
    ----------
    path
        GeoTIFF, JPEG 2000 or NITF: a local path, a ``/vsi...`` path or a URL.

    Raises
    ------
    ProductError
        When there is no such file, it is empty, truncated or no raster of these formats, or its bands are complex or
        of several data types.

    """
    with _opened(fspath(path)) as dataset:
        _check_types(dataset)
        _check_is_whole(dataset)
        return _describe(dataset)


class RasterReader:
    """Reads any block of some bands on one grid, from any thread; survives pickling by opening the files anew.

    Handles are opened when first needed and kept: as many per file as threads ever read at once.

    Parameters
    ----------
    bands
        Bands in the order in which they are returned, all with one grid and data type.
    shape
        Rows and columns that this reader offers.
    nodata
        Value that marks invalid pixels; the module docstring says how. Compared exactly, in the data type of the file.
    has_mask
        Whether masks or alpha bands of the files count, too.
    step, origin
        Reader pixel (row, col) is file pixel ``origin + step * (row, col)``: (1, 1) and (0, 0) read every pixel.

    """

    def __init__(
        self,
        bands: Sequence[BandRef],
        shape: tuple[int, int],
        *,
        nodata: float | None = None,
        has_mask: bool = False,
        step: tuple[int, int] = (1, 1),
        origin: tuple[int, int] = (0, 0),
    ) -> None:
        self.bands = tuple(bands)
        self.shape = shape
        self.nodata = nodata
        self.has_mask = has_mask
        self.step = step
        self.origin = origin
        self._lock = threading.Lock()
        self._idle: list[dict[str, Any]] = []
        self._owner = getpid()

    @property
    def n_band(self) -> int:
        """Number of bands."""
        return len(self.bands)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the values."""
        with self._handles() as handles:
            kind: np.dtype[Any] = np.dtype(next(iter(handles.values())).dtypes[0])
        return kind

    def read(self, row0: int, row1: int, col0: int, col1: int) -> tuple[Values, Mask]:
        """Read rows ``[row0, row1)`` and columns ``[col0, col1)``, which may lie outside the raster.

        Returns
        -------
        values
            (band, row, col) in the data type of the files; 0 outside the raster.
        valid
            (band, row, col) of bool; False outside the raster, at nodata and where a value is not finite.

        Raises
        ------
        ProductError
            When a file cannot be opened or read.

        """
        size = (self.n_band, row1 - row0, col1 - col0)
        values, valid = np.zeros(size, self.dtype), np.zeros(size, np.bool_)
        rows = max(row0, 0), min(row1, self.shape[0])
        cols = max(col0, 0), min(col1, self.shape[1])
        if rows[0] < rows[1] and cols[0] < cols[1]:
            inside = np.s_[:, rows[0] - row0 : rows[1] - row0, cols[0] - col0 : cols[1] - col0]
            values[inside], valid[inside] = self._read_inside(rows, cols)
        return values, valid

    def close(self) -> None:
        """Close the idle handles; a later read opens new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for handles in idle:
            _close(handles)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in {"_lock", "_idle", "_owner"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), _idle=[], _owner=getpid())

    def _read_inside(self, rows: tuple[int, int], cols: tuple[int, int]) -> tuple[Values, Mask]:
        window = _file_window(rows, cols, self.step, self.origin)
        thin = np.s_[:, :: self.step[0], :: self.step[1]]
        parts: list[Values] = [np.empty(0)] * self.n_band
        masks: list[Values] = [np.empty(0)] * self.n_band
        with self._handles() as handles:
            for path, dataset in handles.items():
                places = [i for i, ref in enumerate(self.bands) if ref.path == path]
                numbers = [self.bands[i].band for i in places]
                for i, part in zip(places, dataset.read(numbers, window=window)[thin], strict=True):
                    parts[i] = part
                if self.has_mask:
                    for i, mask in zip(places, dataset.read_masks(numbers, window=window)[thin], strict=True):
                        masks[i] = mask
        values = np.stack(parts)
        valid = find_valid(values, self.nodata)
        return values, valid & (np.stack(masks) > 0) if self.has_mask else valid

    @contextmanager
    def _handles(self) -> Iterator[dict[str, Any]]:
        if self._owner != getpid():  # forked: parent and child would move one file position
            self.__setstate__(self.__getstate__())
        with self._lock:
            handles = self._idle.pop() if self._idle else {}
        try:
            for ref in self.bands:
                if ref.path not in handles:
                    handles[ref.path] = _open(ref.path)
            with _gdal_options(self.bands[0].path):
                yield handles
        except RasterioIOError as error:
            _close(handles)
            raise ProductError(_unreadable(self.bands[0].path, error)) from error
        except BaseException:
            _close(handles)
            raise
        with self._lock:
            self._idle.append(handles)


def find_valid(values: Values, nodata: float | None) -> Mask:
    """Tell valid from invalid values of all bands of a layer.

    Parameters
    ----------
    values
        (band, row, col) in the data type of the source.
    nodata
        Marks a pixel where all bands have it when it is zero or positive, in any band when it is negative.

    Returns
    -------
    Mask
        (band, row, col) of bool. NaN and infinity are never valid.

    """
    valid = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, np.bool_)
    marker = to_dtype(nodata, values.dtype)
    if marker is not None:
        marked = values == marker
        if marker >= 0:
            marked = np.broadcast_to(marked.all(axis=0), values.shape)
        else:
            marked = np.broadcast_to(marked.any(axis=0), values.shape)
        valid &= ~marked
    return valid


def to_dtype(nodata: float | None, dtype: npt.DTypeLike) -> Any | None:
    """Return a nodata value as a scalar of a data type, or None when that type cannot hold it (or it is not finite)."""
    kind = np.dtype(dtype)
    if nodata is None or not np.isfinite(nodata):
        return None
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            scalar = np.float64(nodata).astype(kind)
        return scalar if np.isfinite(scalar) else None
    limits = np.iinfo(kind)
    is_held = float(nodata).is_integer() and limits.min <= nodata <= limits.max
    return kind.type(int(nodata)) if is_held else None


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    try:
        dataset = _open(path)
    except RasterioIOError as error:
        raise ProductError(_unreadable(path, error)) from error
    with _gdal_options(path), dataset:
        yield dataset


def _open(path: str) -> Any:
    driver = _remote_driver(path) if is_remote(path) else _local_driver(Path(path))
    with _OPEN_LOCK, warnings.catch_warnings(), _gdal_options(path):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # sensor-geometry products are legal; scenes check
        return rasterio.open(path, driver=driver)


def _gdal_options(path: str) -> Any:
    return rasterio.Env(**_REMOTE_OPTIONS) if is_remote(path) else rasterio.Env()


def _close(handles: dict[str, Any]) -> None:
    for dataset in handles.values():
        dataset.close()


def _remote_driver(path: str) -> str:
    suffix = Path(path.split("?", maxsplit=1)[0]).suffix.lower()
    return _REMOTE_DRIVERS.get(suffix, "GTiff")


def _local_driver(path: Path) -> str:
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


def _unreadable(path: str, error: Exception) -> str:
    reason = error.__cause__ or error
    return f"a raster must be readable, got {path} ({reason}); it may be damaged: copy or download it again"


def _check_types(dataset: Any) -> None:
    kinds = sorted(set(dataset.dtypes))
    if len(kinds) != 1 or kinds[0] not in np.sctypeDict or np.dtype(kinds[0]).kind not in "uif":
        msg = (
            f"all bands must have one integer or float data type, got {', '.join(kinds)} in {dataset.name}; "
            "convert it with gdal_translate -ot"
        )
        raise ProductError(msg)


def _check_is_whole(dataset: Any) -> None:
    # GDAL opens a TIFF of which 2 % are left without a word, and fails at the block that is missing.
    if dataset.driver != "GTiff" or is_remote(dataset.name):
        return
    present = Path(dataset.name).stat().st_size
    expected = max(_block_ends(dataset), default=0)
    if expected > present:
        msg = (
            f"a TIFF must hold all its blocks, got {present} of at least {expected} bytes in {dataset.name}; "
            "it is truncated: copy or download it again"
        )
        raise ProductError(msg)


def _block_ends(dataset: Any) -> Iterator[int]:
    n_row, n_col = dataset.block_shapes[0]
    across, down = -(-dataset.width // n_col), -(-dataset.height // n_row)
    # Pixel-interleaved bands share their blocks.
    numbers = [1] if dataset.profile.get("interleave") == "pixel" else list(dataset.indexes)
    n_block = across * down * len(numbers)
    # Files grow as they are written: the last block is checked whatever the step.
    for i in range(n_block - 1, -1, -max(1, n_block // _MOST_BLOCKS_CHECKED)):
        number, place = divmod(i, across * down)
        row, col = divmod(place, across)
        offset = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", dm="TIFF", bidx=numbers[number])
        size = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", dm="TIFF", bidx=numbers[number])
        if offset is not None and size is not None:  # None: a sparse block, which takes no room
            yield int(offset) + int(size)


def _describe(dataset: Any) -> RasterInfo:
    flags = dataset.mask_flag_enums[0]
    is_alpha = [colour is ColorInterp.alpha for colour in dataset.colorinterp]
    return RasterInfo(
        path=dataset.name,
        driver=dataset.driver,
        grid=Grid((dataset.height, dataset.width), dataset.transform, _crs_text(dataset.crs)),
        dtype=dataset.dtypes[0],
        nodata=dataset.nodata,
        has_mask=MaskFlags.per_dataset in flags,
        alpha=is_alpha.index(True) + 1 if any(is_alpha) else None,
        has_rpc=dataset.rpcs is not None,
        descriptions=tuple(text or "" for text in dataset.descriptions),
        colours=tuple(colour.name for colour in dataset.colorinterp),
        scales=tuple(dataset.scales),
        offsets=tuple(dataset.offsets),
        tags=dict(dataset.tags()),
    )


def _crs_text(crs: Any) -> str | None:
    if not crs:
        return None
    code = crs.to_epsg()
    # to_epsg also returns near matches; only an exact one may replace the text.
    return f"EPSG:{code}" if code is not None and rasterio.CRS.from_epsg(code) == crs else str(crs.to_wkt())


def _file_window(
    rows: tuple[int, int], cols: tuple[int, int], step: tuple[int, int], origin: tuple[int, int]
) -> Window:
    height, width = (rows[1] - rows[0] - 1) * step[0] + 1, (cols[1] - cols[0] - 1) * step[1] + 1
    return Window(origin[1] + cols[0] * step[1], origin[0] + rows[0] * step[0], width, height)
