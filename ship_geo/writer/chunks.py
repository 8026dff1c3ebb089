"""A Zarr store in the making: each block of a job is one shard of its arrays, written by whoever made it.

So no two workers ever write to one object, and nothing passes through the driver. What is said of the pixels is said
by `ship_geo.writer.description`. Two conventions could surprise. The arrays of a store that is not published yet have
no description but their layout. And a shard that holds nothing but the fill value has no object, as Zarr defines it.
"""

from __future__ import annotations

import shutil
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Self

import numpy as np

from ship_geo._typing import Box, Shape
from ship_geo.errors import ArgumentError
from ship_geo.raster import Mask, Values
from ship_geo.writer.nodata import mask_bytes
from ship_geo.writer.profile import OutputProfile
from ship_geo.writer.tiles import check_block

CHUNK = 512
"""Largest rows and columns of the part of a shard that is read at once."""

PIXELS, VALID = "pansharpened", "valid"
"""Names of the arrays."""

_SMALLEST_CHUNK = 64  # below, a shard is read as a whole
_FIRST_VERSION = 3
_LEVEL = 3  # of Zstandard: level 5 takes twice the time for 2 % less


@dataclass(frozen=True)
class ZarrPixels:
    """The arrays of an output on their way to a published store.

    Attributes
    ----------
    folder
        Where the store is made.
    shape
        (row, col) of the output.
    n_band, dtype
        Bands and NumPy name of the data type.
    fill
        Value of pixels that nobody wrote; None for 0, NaN for floats.
    has_mask
        Whether an array of validity is kept.
    shard, chunk
        Rows and columns of what is one object, and of what is compressed together.
    """

    folder: Path
    shape: Shape
    n_band: int
    dtype: str
    fill: float | None
    has_mask: bool
    shard: Shape
    chunk: Shape

    @classmethod
    def of(cls, folder: Path, profile: OutputProfile, blocks: Sequence[Box]) -> Self:
        """Lay out a store for the blocks of a job.

        Raises
        ------
        ArgumentError
            When zarr is not installed, or the blocks are no regular grid.
        """
        require_zarr()
        shape = profile.grid.shape
        (shard_row, chunk_row), (shard_col, chunk_col) = (
            _layout(size, [(box[2 * axis], box[2 * axis + 1]) for box in blocks]) for axis, size in enumerate(shape)
        )
        return cls(
            folder=folder,
            shape=shape,
            n_band=profile.n_band,
            dtype=profile.dtype,
            fill=profile.nodata,
            has_mask=profile.nodata is None,
            shard=(shard_row, shard_col),
            chunk=(chunk_row, chunk_col),
        )

    @property
    def path(self) -> Path:
        """The store."""
        return self.folder / "made.zarr"

    @property
    def fill_value(self) -> Any:
        """Value of pixels that nobody wrote, in the data type of the arrays."""
        empty = np.nan if np.dtype(self.dtype).kind == "f" else 0
        return np.dtype(self.dtype).type(empty if self.fill is None else self.fill)

    def check(self, box: Box, values: Values, valid: Mask | None) -> None:
        """Check that a block fits; see `ship_geo.writer.tiles.check_block`."""
        check_block((self.n_band, *self.shape), self.dtype, box, values, valid)

    def allocate(self) -> None:
        """Make the arrays where they are missing."""
        import zarr

        if not (self.path / "zarr.json").exists():
            made = self.folder / "new.zarr"
            shutil.rmtree(made, ignore_errors=True)
            self.create_arrays(zarr.create_group(made, zarr_format=3))
            made.rename(self.path)
        elif self._needless.exists():
            self._needless.rename(self.path / VALID)

    def drop_mask(self) -> None:
        """Take the array of validity out of the store, until `allocate` puts it back: blocks may be verified again."""
        if (self.path / VALID).exists():
            (self.path / VALID).rename(self._needless)

    def create_arrays(self, root: Any, attributes: Any = None) -> None:
        """Make the empty arrays in a group, with attributes by array."""
        known = attributes or {}
        layouts: dict[str, tuple[tuple[int, ...], tuple[str, ...], str, Any]] = {
            PIXELS: ((self.n_band,), ("band",), self.dtype, self.fill_value)
        }
        if self.has_mask:
            layouts[VALID] = ((), (), "uint8", 0)
        for name, (bands, dims, dtype, fill) in layouts.items():
            chunk, shard = (*bands, *self.chunk), (*bands, *self.shard)
            root.create_array(
                name,
                shape=(*bands, *self.shape),
                dtype=dtype,
                chunks=chunk,
                shards=None if shard == chunk else shard,
                compressors=_compressor(),
                fill_value=fill,
                dimension_names=(*dims, "y", "x"),
                attributes=known.get(name, {}),
            )

    def write(self, box: Box, values: Values, valid: Mask | None) -> int:
        """Write a block and its mask (None: all pixels are valid), and return the CRC-32 of both."""
        rows, cols = slice(box[0], box[1]), slice(box[2], box[3])
        self._open(PIXELS, "r+")[:, rows, cols] = values
        checksum = zlib.crc32(np.ascontiguousarray(values).view(np.uint8).data)
        if self.has_mask:
            mask = mask_bytes(values, valid) // 255
            self._open(VALID, "r+")[rows, cols] = mask
            checksum = zlib.crc32(np.ascontiguousarray(mask).data, checksum)
        return checksum

    def checksum(self, box: Box) -> int:
        """Return the CRC-32 of a block and its mask as they lie on the disk; -1 where they cannot be read."""
        rows, cols = slice(box[0], box[1]), slice(box[2], box[3])
        try:
            values = self._open(PIXELS, "r")[:, rows, cols]
            checksum = zlib.crc32(np.ascontiguousarray(values).view(np.uint8).data)
            if self.has_mask:
                checksum = zlib.crc32(np.ascontiguousarray(self._open(VALID, "r")[rows, cols]).data, checksum)
        except (OSError, ValueError, RuntimeError):  # what Zarr and its codecs raise over bytes that are damaged
            return -1
        return checksum

    @property
    def _needless(self) -> Path:
        return self.folder / "needless"

    def _open(self, name: str, mode: str) -> Any:
        import zarr

        return zarr.open_array(self.path / name, mode=mode)


def require_zarr() -> None:
    """Check that Zarr can be written.

    Raises
    ------
    ArgumentError
        When the package is missing, or older than format 3.
    """
    try:
        import zarr
    except ImportError as error:
        msg = "a Zarr output needs the package zarr, got none installed; install ship-geo[zarr], or write a GeoTIFF"
        raise ArgumentError(msg) from error
    if int(zarr.__version__.split(".")[0]) < _FIRST_VERSION:
        msg = f"a Zarr output needs zarr 3, got {zarr.__version__}; install ship-geo[zarr], or write a GeoTIFF"
        raise ArgumentError(msg)


def consolidate(path: Path) -> None:
    """Put a copy of all metadata in the root, for readers that cannot list a store, such as over HTTP."""
    import zarr

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata", UserWarning)  # an extension that readers may skip
        zarr.consolidate_metadata(path, zarr_format=3)


def _compressor() -> Any:
    from zarr.codecs import BloscCodec

    return BloscCodec(cname="zstd", clevel=_LEVEL, shuffle="shuffle")


def _layout(n_pixel: int, spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return shard and chunk along an axis such that every block is one shard."""
    starts = sorted({start for start, _ in spans})
    if len(starts) == 1:
        chunk = min(n_pixel, CHUNK)
        return ceil(n_pixel / chunk) * chunk, chunk
    step = starts[1]
    fits = starts == list(range(0, n_pixel, step)) and all(stop == min(start + step, n_pixel) for start, stop in spans)
    if not fits:
        msg = f"the blocks of a Zarr output must be a regular grid, got starts {starts[:4]}; cut them by one step"
        raise ArgumentError(msg)
    chunk = next(size for size in range(min(step, CHUNK), 0, -1) if step % size == 0)
    return step, step if chunk < _SMALLEST_CHUNK else chunk
