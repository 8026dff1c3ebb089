"""The writer for blocks as they come: takes them from any thread, and puts a whole COG at the target or nothing.

Not for jobs that are to go on after an interruption, or whose workers write themselves: see `Staging`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import numpy as np

from ship_geo._typing import PathLike
from ship_geo.errors import ArgumentError
from ship_geo.raster import Mask, Values
from ship_geo.writer.assembly import WriteRecord, publish, staged_pixels
from ship_geo.writer.checks import check_output
from ship_geo.writer.faults import failures
from ship_geo.writer.folder import StagingFolder, folder_of
from ship_geo.writer.header import check_header
from ship_geo.writer.nodata import apply_nodata
from ship_geo.writer.profile import OutputProfile
from ship_geo.writer.tiles import StagedPixels


class GeoTiffWriter:
    """Writes one GeoTIFF by blocks, from any thread; nothing is at the target before `finish`.

    Use it as a context: leaving it without `finish`, for whatever reason, removes everything that was written. What an
    interrupted run to the same target left is removed first.

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
        When entering the context: see `check_output`; also when another run makes the same output.

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
        self._folder: StagingFolder | None = None
        self._pixels: StagedPixels | None = None
        self._tags: dict[str, str] = {}
        self._n_written = self._n_invalid = self._n_moved = 0

    def __enter__(self) -> Self:
        target = check_output(self.path, overwrite=self.overwrite, inputs=self.inputs)
        needed = self.profile.n_staged
        try:
            with failures(self.path, folder_of(target), needed):
                self._folder = StagingFolder(target)
                self._folder.empty()  # before the look for room
                check_output(self.path, overwrite=self.overwrite, inputs=self.inputs, n_byte=needed)
                self._pixels = staged_pixels(self._folder.path, self.profile)
                check_header(self._pixels, self.profile)
                self._pixels.allocate()
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._discard()

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
        folder, pixels = self._opened
        box = (row, row + block.shape[-2], col, col + block.shape[-1])
        pixels.check(box, block, valid)
        values, n_moved = (block, 0) if valid is None else apply_nodata(block, valid, self.profile.nodata)
        with failures(self.path, folder.path, self.profile.n_staged):
            pixels.write(box, values, valid)
        with self._lock:
            self._n_written += block[0].size
            self._n_invalid += 0 if valid is None else int(np.count_nonzero(~valid))
            self._n_moved += n_moved

    def add_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags to the default domain, known only while blocks are computed; those of the same name are replaced.

        Raises
        ------
        ArgumentError
            When the writer is finished.
        """
        _ = self._opened
        self._tags.update(tags)

    def finish(self) -> WriteRecord:
        """Make the COG, put it at the target, and return what was written.

        Raises
        ------
        ArgumentError
            When some pixels were not written, or some twice.
        OutputError
            When it cannot be written.
        """
        folder, pixels = self._opened
        n_row, n_col = self.profile.grid.shape
        if self._n_written != n_row * n_col:
            msg = (
                f"every pixel must be written once, got {self._n_written} of {n_row * n_col}; write the missing blocks"
            )
            raise ArgumentError(msg)
        is_masked = self._n_invalid > 0
        with failures(
            self.path, folder.path, self.profile.n_staged + self.profile.n_byte * 4 // 3
        ):  # overviews add a third
            target = self.path.resolve()
            size = publish(pixels, self.profile, self._tags, target, overwrite=self.overwrite, is_masked=is_masked)
        self._discard()
        return WriteRecord(self.path, size, self._n_invalid, self._n_moved, self.profile.nodata)

    @property
    def _opened(self) -> tuple[StagingFolder, StagedPixels]:
        if self._folder is None or self._pixels is None:
            msg = f"a writer must be used inside its context and until it is finished, got {self.path}; use `with`"
            raise ArgumentError(msg)
        return self._folder, self._pixels

    def _discard(self) -> None:
        folder, self._folder, self._pixels = self._folder, None, None
        if folder is not None:
            folder.remove()
