"""Reads of any block of some bands on one grid."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from os import getpid
from typing import Any, Self

import numpy as np
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

from ship_geo.errors import ProductError
from ship_geo.raster.facts import BandRef, Mask, Tile, Values
from ship_geo.raster.handles import forget, gdal_options, open_raster, unreadable
from ship_geo.raster.mosaic import open_mosaic
from ship_geo.raster.network import forgetting, is_final, is_network, persist
from ship_geo.raster.values import find_valid, pooled
from ship_geo.raster.warp import Warp, open_warped, read_warped

Span = tuple[int, int]

_SMALL_WINDOW = 128  # pixels; larger ones are halved when a connection drops
_MOST_FAILURES = 3  # in a row, before the files are opened anew


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
    step, origin, pool
        Reader pixel (row, col) is file pixel ``origin + step * (row, col)``: (1, 1) and (0, 0) read every pixel; with
        a `pool` the mean of so many rows and columns from there on, valid where all of them are.
    tiles
        Files of a mosaic, of which `bands` then name the index file.
    warp
        How the files come onto another grid, of `shape`; excludes `step` and `origin`.
    files_shape
        Rows and columns of the mosaic, where it is warped.

    """

    def __init__(  # noqa: PLR0913 - what a layer keeps, by keyword
        self,
        bands: Sequence[BandRef],
        shape: tuple[int, int],
        *,
        nodata: float | None = None,
        has_mask: bool = False,
        step: tuple[int, int] = (1, 1),
        origin: tuple[int, int] = (0, 0),
        pool: tuple[int, int] = (1, 1),
        tiles: Sequence[Tile] = (),
        warp: Warp | None = None,
        files_shape: tuple[int, int] | None = None,
    ) -> None:
        self.bands = tuple(bands)
        self.shape = shape
        self.nodata = nodata
        self.has_mask = has_mask
        self.step = step
        self.origin = origin
        self.pool = pool
        self.tiles = tuple(tiles)
        self.warp = warp
        self.files_shape = files_shape or shape
        self._forgets = False  # whether GDAL's memory of files behind a network is not to be trusted
        self._lock = threading.Lock()
        self._idle: list[_Handles] = []
        self._owner = getpid()

    @property
    def n_band(self) -> int:
        """Number of bands."""
        return len(self.bands)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the values."""
        with self._told_errors(), self._handles() as handles:
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

    def _read_inside(self, rows: Span, cols: Span) -> tuple[Values, Mask]:
        with self._told_errors():
            return self._read_patiently(rows, cols)

    def _read_patiently(self, rows: Span, cols: Span) -> tuple[Values, Mask]:
        """Read a window; where a connection drops, again in smaller and smaller parts, so that what came is kept."""
        if not is_network(self._first_file):
            return self._read_once(rows, cols)
        axis, halves = _halves(rows, cols)
        if len(halves) == 1:
            return persist(self._first_file, lambda: self._read_once(rows, cols))
        try:
            return self._read_once(rows, cols)
        except RasterioIOError as error:
            if is_final(error):
                raise
        parts = [self._read_patiently(*half) for half in halves]
        values, valid = (np.concatenate(kind, axis=axis) for kind in zip(*parts, strict=True))
        return values, valid

    def _read_once(self, rows: Span, cols: Span) -> tuple[Values, Mask]:
        if self.warp is not None:
            window = Window(cols[0], rows[0], cols[1] - cols[0], rows[1] - rows[0])
            with self._handles() as handles:
                return read_warped(handles[self.bands[0].path], window)
        window = _file_window(rows, cols, self.step, self.origin, self.pool)
        thin = np.s_[:, :: self.step[0], :: self.step[1]] if self.pool == (1, 1) else np.s_[:]
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
        valid = valid & (np.stack(masks) > 0) if self.has_mask else valid
        return (values, valid) if self.pool == (1, 1) else pooled(values, valid, self.step, self.pool)

    @property
    def _first_file(self) -> str:
        return self.tiles[0].path if self.tiles else self.bands[0].path

    def _open(self, path: str) -> Any:
        if self.warp is not None:
            return open_warped(
                self.bands,
                self.warp,
                nodata=self.nodata,
                has_mask=self.has_mask,
                tiles=self.tiles,
                shape=self.files_shape,
            )
        return open_mosaic(self.tiles, self.shape) if self.tiles else open_raster(path)

    @property
    def _names(self) -> tuple[str, ...]:
        """Names of the handles: one for all files that GDAL joins."""
        names = tuple(dict.fromkeys(ref.path for ref in self.bands))
        return names if self.warp is None else names[:1]

    def _open_patiently(self, path: str) -> Any:
        name = self._first_file if self.tiles else path
        try:
            return persist(name, lambda: self._open(path))
        except RasterioIOError as error:
            raise _error(name, error) from (None if is_network(name) else error)

    @contextmanager
    def _told_errors(self) -> Iterator[None]:
        name = self._first_file
        try:
            yield
        except RasterioIOError as error:
            raise _error(name, error) from (None if is_network(name) else error)

    @contextmanager
    def _handles(self) -> Iterator[_Handles]:
        if self._owner != getpid():  # forked: parent and child would move one file position
            self.__setstate__(self.__getstate__())
        with self._lock:
            handles = self._idle.pop() if self._idle else _Handles()
        try:
            with gdal_options(self._first_file), forgetting(enabled=self._forgets):
                for path in self._names:
                    if path not in handles:
                        handles[path] = self._open_patiently(path)
                yield handles
            handles.n_failure = 0
        except BaseException as error:
            if not isinstance(error, RasterioIOError) or not self._forget(handles):
                _close(handles)
                raise
            with self._lock:
                self._idle.append(handles)
            raise
        with self._lock:
            self._idle.append(handles)

    def _forget(self, handles: _Handles) -> bool:
        """Make GDAL forget what it remembers of files behind a network; return whether handles may be tried again."""
        if not is_network(self._first_file):
            return False
        self._forgets = True
        handles.n_failure += 1
        if handles.n_failure > _MOST_FAILURES or self.tiles or self.warp is not None:
            return False
        # Each time once more: a server that drops every third connection must not always meet the same request.
        for path in [*handles] * handles.n_failure:
            forget(path)
        return True


class _Handles(dict[str, Any]):
    """Open files by name, and how often in a row reading them has failed."""

    n_failure = 0


def _error(path: str, error: RasterioIOError) -> ProductError:
    return ProductError(unreadable(path, error))


def _halves(rows: Span, cols: Span) -> tuple[int, list[tuple[Span, Span]]]:
    """Return both halves of a window along its longer side, and their axis in (band, row, col)."""
    n_row, n_col = rows[1] - rows[0], cols[1] - cols[0]
    if max(n_row, n_col) <= _SMALL_WINDOW:
        return 0, [(rows, cols)]
    if n_row >= n_col:
        middle = (rows[0] + rows[1]) // 2
        return 1, [((rows[0], middle), cols), ((middle, rows[1]), cols)]
    middle = (cols[0] + cols[1]) // 2
    return 2, [(rows, (cols[0], middle)), (rows, (middle, cols[1]))]


def _close(handles: dict[str, Any]) -> None:
    for dataset in handles.values():
        dataset.close()


def _file_window(rows: Span, cols: Span, step: Span, origin: Span, pool: Span) -> Window:
    height, width = (rows[1] - rows[0] - 1) * step[0] + pool[0], (cols[1] - cols[0] - 1) * step[1] + pool[1]
    return Window(origin[1] + cols[0] * step[1], origin[0] + rows[0] * step[0], width, height)
