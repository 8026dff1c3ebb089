"""The writer: takes blocks from any thread, and puts a whole COG at the target or nothing."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError  # what rasterio.shutil.copy raises; rasterio.errors does not offer it
from rasterio.errors import RasterioError
from rasterio.windows import Window

from ship_geo._typing import PathLike
from ship_geo.errors import ArgumentError, OutputError, ProductError
from ship_geo.raster import Mask, Values, inspect, is_remote
from ship_geo.writer.checks import check_output, disk_full
from ship_geo.writer.cog import copy_to_cog, move, remove_sidecars
from ship_geo.writer.nodata import apply_nodata
from ship_geo.writer.profile import OutputProfile
from ship_geo.writer.staged import StagedRaster
from ship_geo.writer.staging import StagingFolder, sweep

CACHE_BYTES = 64 * 2**20
"""GDAL's block cache while a writer is open."""


@dataclass(frozen=True)
class WriteRecord:
    """What was written.

    Attributes
    ----------
    path
        The output.
    n_byte
        Its size.
    n_invalid
        Pixels that were passed as invalid.
    n_moved
        Valid values that equalled nodata and were moved by the least step.
    nodata
        Nodata value of the output; None without one.
    """

    path: Path
    n_byte: int
    n_invalid: int
    n_moved: int
    nodata: float | None


class GeoTiffWriter:
    """Writes one GeoTIFF by blocks, from any thread; nothing is at the target before `finish`.

    Use it as a context: leaving it without `finish`, for whatever reason, removes everything that was written. What a
    killed run to the same target left beside it is removed first.

    Parameters
    ----------
    path
        Target.
    profile
        What the output looks like.
    overwrite
        Whether an existing file may be replaced, at the very end.
    inputs
        Files that must never be replaced.

    Raises
    ------
    OutputError
        When entering the context: see `check_output`.

    Examples
    --------
    >>> with GeoTiffWriter("fused.tif", profile) as writer:  # doctest: +SKIP
    ...     writer.write(block, 0, 0, valid)
    ...     record = writer.finish()
    """

    def __init__(
        self, path: PathLike, profile: OutputProfile, *, overwrite: bool = False, inputs: Iterable[str] = ()
    ) -> None:
        self.path = Path(path)
        self.profile = profile
        self.overwrite = overwrite
        self.inputs = tuple(inputs)
        self._lock = threading.Lock()
        self._target = self.path
        self._folder: StagingFolder | None = None
        self._staged: StagedRaster | None = None
        self._options = ExitStack()
        self._n_written = self._n_invalid = self._n_moved = 0

    def __enter__(self) -> Self:
        if not is_remote(os.fspath(self.path)):
            sweep(self.path.resolve())  # before the check, which looks for room
        needed = self.profile.n_staged
        self._target = check_output(self.path, overwrite=self.overwrite, inputs=self.inputs, n_byte=needed)
        with ExitStack() as options:
            options.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES))
            self._stage(needed)
            self._options = options.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._discard()
        self._options.close()

    def write(self, block: Values, row: int, col: int, valid: Mask | None = None) -> None:
        """Write a block whose upper-left pixel is (row, col) of the output; every pixel is to be written once.

        Parameters
        ----------
        block
            (band, row, col), data type of the output.
        row, col
            Where it goes.
        valid
            (row, col) of bool; invalid pixels get nodata and valid ones are kept apart from it, see `apply_nodata`.
            None: the block is written as it is, all pixels valid where a mask must tell.

        Raises
        ------
        ArgumentError
            When the block has another band count or data type, or reaches over the edge of the output.
        OutputError
            When it cannot be written.
        """
        _, staged = self._opened
        self._check_block(block, row, col, valid)
        values, n_moved = (block, 0) if valid is None else apply_nodata(block, valid, self.profile.nodata)
        window = Window(col, row, block.shape[2], block.shape[1])
        with self._lock, self._failures(self.profile.n_staged):
            staged.write(values, window, valid)
            self._n_written += block[0].size
            self._n_invalid += 0 if valid is None else int((~valid).sum())
            self._n_moved += n_moved

    def add_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags to the default domain, known only while blocks are computed; those of the same name are replaced.

        Raises
        ------
        ArgumentError
            When the writer is finished.
        """
        _, staged = self._opened
        with self._lock, self._failures(self.profile.n_staged):
            staged.add_tags(tags)

    def finish(self) -> WriteRecord:
        """Make the COG, put it at the target, and return what was written.

        Raises
        ------
        ArgumentError
            When some pixels were not written, or some twice.
        OutputError
            When it cannot be written.
        """
        folder, staged = self._opened
        n_row, n_col = self.profile.grid.shape
        if self._n_written != n_row * n_col:
            msg = (
                f"every pixel must be written once, got {self._n_written} of {n_row * n_col}; write the missing blocks"
            )
            raise ArgumentError(msg)
        with self._lock, self._failures(self.profile.n_staged + self.profile.n_byte * 4 // 3):  # overviews add a third
            staged.close(is_masked=self._n_invalid > 0)
            made = folder.path / "cog.tif"
            copy_to_cog(staged.path, made, self.profile.compress)
            self._check(made)
            had_target = self._target.exists()
            move(made, self._target, overwrite=self.overwrite)
        if had_target:
            remove_sidecars(self._target)
        self._discard()
        size = self._target.stat().st_size
        return WriteRecord(self.path, size, self._n_invalid, self._n_moved, self.profile.nodata)

    @property
    def _opened(self) -> tuple[StagingFolder, StagedRaster]:
        if self._folder is None or self._staged is None:
            msg = f"a writer must be used inside its context and until it is finished, got {self.path}; use `with`"
            raise ArgumentError(msg)
        return self._folder, self._staged

    def _stage(self, needed: int) -> None:
        with self._failures(needed):
            self._folder = StagingFolder(self._target)
            try:
                self._staged = StagedRaster(self._folder.path, self.profile)
            except BaseException:
                self._discard()
                raise

    def _check_block(self, block: Values, row: int, col: int, valid: Mask | None) -> None:
        n_row, n_col = self.profile.grid.shape
        fits = (
            block.ndim == len(("band", "row", "col"))
            and block.shape[0] == self.profile.n_band
            and block.dtype == np.dtype(self.profile.dtype)
            and 0 <= row <= row + block.shape[1] <= n_row
            and 0 <= col <= col + block.shape[2] <= n_col
            and (valid is None or valid.shape == block.shape[1:])
        )
        if not fits:
            mask = "" if valid is None else f" with mask {valid.shape}"
            msg = (
                f"a block must be {self.profile.dtype} with {self.profile.n_band} bands inside {(n_row, n_col)} and "
                f"fit its mask, got {block.dtype} {block.shape} at {(row, col)}{mask}; cut it to the output"
            )
            raise ArgumentError(msg)

    def _check(self, made: Path) -> None:
        # A full disk may show only when buffers are flushed, and GDAL merely logs that.
        info = inspect(str(made))
        if info.grid.shape != self.profile.grid.shape or info.n_band != self.profile.n_band:
            msg = f"the output must be complete, got {info.n_band} bands of {info.grid.shape}; write it again"
            raise OutputError(msg)

    def _discard(self) -> None:
        staged, self._staged = self._staged, None
        folder, self._folder = self._folder, None
        if staged is not None:
            staged.close_quietly()
        if folder is not None:
            folder.remove()

    @contextmanager
    def _failures(self, n_needed: int) -> Iterator[None]:
        """Turn what GDAL and the system raise into one error that tells how much room there is."""
        try:
            with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
                yield
        except (RasterioError, CPLE_BaseError, ProductError, OSError) as error:
            folder = self._target.parent
            room = shutil.disk_usage(folder).free + (self._folder.n_byte if self._folder is not None else 0)
            if room < n_needed:
                raise OutputError(disk_full(folder, n_needed, room)) from error
            msg = f"the output must be writable, got {error} for {self.path}; check the disk and its permissions"
            raise OutputError(msg) from error
