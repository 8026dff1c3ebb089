"""Staged pixels: uncompressed tiles at places in a file that follow from the raster's shape alone.

So any process can write its blocks with nothing but the name of the folder, and no byte is read to write another.
Together with a header (`ship_geo.writer.header`) each file is a TIFF. Nothing is mapped into memory. Two conventions
could surprise. Room for the header stays free at the front, and files are sparse: what was not written is 0. And
nothing waits for the disk: files are opened and closed for each block, so that other machines see it, and what a power
cut took is found by its checksum.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ship_geo._typing import Box, Shape
from ship_geo.errors import ArgumentError
from ship_geo.raster import Mask, Values
from ship_geo.writer.cog import TILE
from ship_geo.writer.nodata import mask_bytes

HEADER_ROOM = 2**20
"""Bytes at the front of a file for what is said of the raster, beside the table of its tiles."""

_TABLE_ENTRY = 32  # bytes for the place and the size of a tile, and for what GDAL writes in their stead
_PAGE = 4096


@dataclass(frozen=True)
class TiledFile:
    """Where the tiles of a raster lie in a file: row by row, bands interleaved by pixel.

    Attributes
    ----------
    path
        The file.
    shape
        (row, col) of the raster.
    n_band, dtype
        Bands and NumPy name of the data type.
    """

    path: Path
    shape: Shape
    n_band: int
    dtype: str

    @property
    def n_tile(self) -> int:
        """Number of tiles."""
        return -(-self.shape[0] // TILE) * self._n_across

    @property
    def tile_bytes(self) -> int:
        """Size of a tile, those at the edges included."""
        return TILE * TILE * self._pixel_bytes

    @property
    def start(self) -> int:
        """Where the first tile begins."""
        needed = HEADER_ROOM + self.n_tile * _TABLE_ENTRY
        return -(-needed // _PAGE) * _PAGE

    def allocate(self) -> None:
        """Make the file if it is missing, at its full length."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            length = self.start + self.n_tile * self.tile_bytes
            if os.fstat(descriptor).st_size < length:
                os.ftruncate(descriptor, length)
        finally:
            os.close(descriptor)

    def write(self, box: Box, values: Values, checksum: int = 0) -> int:
        """Write a block.

        Parameters
        ----------
        box
            (row0, row1, col0, col1), inside the raster.
        values
            (band, row, col).
        checksum
            CRC-32 to go on from.

        Returns
        -------
        int
            CRC-32 of the bytes that were written.
        """
        descriptor = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for place, width, rows, cols in self._pieces(box):
                piece = np.ascontiguousarray(values[:, rows, cols].transpose(1, 2, 0))
                lines = piece.view(np.uint8).reshape(len(piece), -1)
                checksum = zlib.crc32(lines.data, checksum)
                if width == TILE:
                    _write_all(descriptor, lines.reshape(-1).data, place)
                else:
                    for number, line in enumerate(lines):
                        _write_all(descriptor, line.data, place + number * self._line_bytes)
        finally:
            os.close(descriptor)
        return checksum

    def checksum(self, box: Box, checksum: int = 0) -> int:
        """Return the CRC-32 of a block as it lies on the disk."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for place, width, rows, _ in self._pieces(box):
                skipped = (place - self.start) % self._line_bytes
                n_row = rows.stop - rows.start
                lines = os.pread(descriptor, n_row * self._line_bytes, place - skipped)
                if width < TILE:
                    table = np.frombuffer(lines, np.uint8).reshape(n_row, self._line_bytes)
                    part = table[:, skipped : skipped + width * self._pixel_bytes]
                    checksum = zlib.crc32(np.ascontiguousarray(part).data, checksum)
                else:
                    checksum = zlib.crc32(lines, checksum)
        finally:
            os.close(descriptor)
        return checksum

    @property
    def _n_across(self) -> int:
        return -(-self.shape[1] // TILE)

    @property
    def _pixel_bytes(self) -> int:
        return self.n_band * np.dtype(self.dtype).itemsize

    @property
    def _line_bytes(self) -> int:
        return TILE * self._pixel_bytes

    def _pieces(self, box: Box) -> Iterator[tuple[int, int, slice, slice]]:
        """Cut a block at the edges of tiles: place in the file, columns, and rows and columns of the block."""
        row0, row1, col0, col1 = box
        for rows in _cuts(row0, row1):
            for cols in _cuts(col0, col1):
                tile = rows.start // TILE * self._n_across + cols.start // TILE
                inside = rows.start % TILE * self._line_bytes + cols.start % TILE * self._pixel_bytes
                place = self.start + tile * self.tile_bytes + inside
                yield place, cols.stop - cols.start, _moved(rows, row0), _moved(cols, col0)


@dataclass(frozen=True)
class StagedPixels:
    """The pixels of an output on their way to a COG, and their mask where there is no nodata value.

    Attributes
    ----------
    folder
        Where the files are.
    shape, n_band, dtype
        Of the output.
    has_mask
        Whether a mask is kept.
    """

    folder: Path
    shape: Shape
    n_band: int
    dtype: str
    has_mask: bool

    @property
    def raster(self) -> TiledFile:
        """The file of the pixels."""
        return TiledFile(self.folder / "staged.tif", self.shape, self.n_band, self.dtype)

    @property
    def mask(self) -> TiledFile:
        """The file of the mask; not yet named as GDAL looks for it, since it may turn out to be needless."""
        return TiledFile(self.folder / "mask.tif", self.shape, 1, "uint8")

    @property
    def path(self) -> Path:
        """What must be writable."""
        return self.raster.path

    def check(self, box: Box, values: Values, valid: Mask | None) -> None:
        """Check that a block fits; see `check_block`."""
        check_block((self.n_band, *self.shape), self.dtype, box, values, valid)

    def allocate(self) -> None:
        """Make the files where they are missing."""
        self.hide_mask()
        self.raster.allocate()
        if self.has_mask:
            self.mask.allocate()

    def write(self, box: Box, values: Values, valid: Mask | None) -> int:
        """Write a block and its mask (None: all pixels are valid), and return the CRC-32 of both."""
        checksum = self.raster.write(box, values)
        return self.mask.write(box, mask_bytes(values, valid)[np.newaxis], checksum) if self.has_mask else checksum

    def checksum(self, box: Box) -> int:
        """Return the CRC-32 of a block and its mask as they lie on the disk."""
        checksum = self.raster.checksum(box)
        return self.mask.checksum(box, checksum) if self.has_mask else checksum

    def show_mask(self) -> None:
        """Name the mask so that GDAL takes it for the mask of the pixels."""
        self.mask.path.replace(self._shown_mask)

    def hide_mask(self) -> None:
        """Undo `show_mask` if that was done, by this process or one before."""
        if self._shown_mask.exists():
            self._shown_mask.replace(self.mask.path)

    @property
    def _shown_mask(self) -> Path:
        return self.raster.path.with_name(f"{self.raster.path.name}.msk")


def check_block(shape: tuple[int, int, int], dtype: str, box: Box, values: Values, valid: Mask | None) -> None:
    """Check that a block fits an output.

    Parameters
    ----------
    shape, dtype
        (band, row, col) and data type of the output.
    box
        (row0, row1, col0, col1) on the output.
    values, valid
        (band, row, col), and its mask (row, col) or None.

    Raises
    ------
    ArgumentError
        When it has another band count or data type, or reaches over the edge of the output.
    """
    row0, row1, col0, col1 = box
    n_band, n_row, n_col = shape
    fits = (
        0 <= row0 < row1 <= n_row
        and 0 <= col0 < col1 <= n_col
        and values.shape == (n_band, row1 - row0, col1 - col0)
        and values.dtype == np.dtype(dtype)
        and (valid is None or valid.shape == values.shape[1:])
    )
    if not fits:
        mask = "" if valid is None else f" with mask {valid.shape}"
        msg = (
            f"a block must be {dtype} with {n_band} bands inside {(n_row, n_col)} and fit its mask, "
            f"got {values.dtype} {values.shape} for rows {row0}-{row1} and columns {col0}-{col1}{mask}; "
            "cut it to the output"
        )
        raise ArgumentError(msg)


def _cuts(start: int, stop: int) -> Iterator[slice]:
    while start < stop:
        end = min(stop, start // TILE * TILE + TILE)
        yield slice(start, end)
        start = end


def _moved(cut: slice, origin: int) -> slice:
    return slice(cut.start - origin, cut.stop - origin)


def _write_all(descriptor: int, data: memoryview, place: int) -> None:
    while data:
        n_written = os.pwrite(descriptor, data, place)
        data, place = data[n_written:], place + n_written
