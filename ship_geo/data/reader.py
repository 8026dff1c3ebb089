"""Reading a PAN / MS pair by blocks: each sensor on its own grid, native data types, validity apart from values.

NumPy only (and rasterio below): no tensor is made here, and nothing is resampled or scaled. Three conventions could
surprise. Blocks are asked for on the *output* grid, the part of the PAN grid that MS covers, and may reach outside it:
PAN beyond the output is real data as long as the file has it. The values of invalid pixels are 0, whatever the file
holds there, so that no result can depend on a fill value. And a pixel of MS is valid only where all its bands are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from affine import Affine

from ship_geo.errors import ArgumentError
from ship_geo.grids import Grid, GridPair
from ship_geo.raster import Mask, Values, find_valid

if TYPE_CHECKING:
    from ship_geo.scene import Scene

Edges = tuple[int, int, int, int]
"""Block (row0, row1, col0, col1), half open; may lie outside its raster."""

MARGIN = 3
"""MS pixels read around a block unless asked otherwise: bicubic interpolation needs 2, and 1 is for the phase."""


@dataclass(frozen=True, eq=False)
class PairSample:
    """What one block of a pair holds.

    Attributes
    ----------
    ms
        (band, row, col) on the MS grid, data type of the source; 0 where it is not valid.
    ms_valid
        (row, col) of bool: all bands are valid.
    pan
        (1, row, col) on the PAN grid, data type of the source; 0 where it is not valid.
    pan_valid
        (row, col) of bool.
    ratio
        MS / PAN pixel size (row, col).
    phase
        Outer corner of ``ms[:, 0, 0]`` in PAN pixels of `pan` (row, col).
    pan_start
        Pixel (row, col) of the output grid at which `pan` starts; may be negative.
    """

    ms: Values
    ms_valid: Mask
    pan: Values
    pan_valid: Mask
    ratio: tuple[float, float]
    phase: tuple[float, float]
    pan_start: tuple[int, int]


@runtime_checkable
class PairReader(Protocol):
    """Anything that gives blocks of a pair."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the output grid."""

    @property
    def n_band(self) -> int:
        """Number of MS bands."""

    def read(self, row0: int, row1: int, col0: int, col1: int, margin: int = MARGIN) -> PairSample:
        """Read rows ``[row0, row1)`` and columns ``[col0, col1)`` of the output grid, which may lie outside it.

        Parameters
        ----------
        row0, row1, col0, col1
            Block on the output grid.
        margin
            MS pixels to add on every side of the block.
        """


class FilePairReader:
    """Reads the files of a scene; opens them when first needed, from any thread, and anew after pickling.

    Parameters
    ----------
    scene
        The scene.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._ms = scene.ms.open()
        self._pan = scene.pan.open()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the output grid."""
        return self.scene.pair.output.shape

    @property
    def n_band(self) -> int:
        """Number of MS bands."""
        return self.scene.ms.n_band

    def read(self, row0: int, row1: int, col0: int, col1: int, margin: int = MARGIN) -> PairSample:
        """Read a block of the output grid; see `PairReader.read`.

        Raises
        ------
        ArgumentError
            When the block is empty.
        ProductError
            When a file cannot be read.
        """
        return read_pair(self.scene.pair, self._ms, self._pan, (row0, row1, col0, col1), margin)

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        self._ms.close()
        self._pan.close()


class ArrayPairReader:
    """Reads a pair that is in memory.

    Parameters
    ----------
    ms
        (band, row, col).
    pan
        (1, row, col) or (row, col).
    pair
        Grids of the two arrays; by default both cover the same ground and the ratio follows from the shapes.
    ms_valid, pan_valid
        (row, col) of bool; by default every finite value is valid. NaN and infinity never are.
    nodata_ms, nodata_pan
        Values that mark invalid pixels, as in `ship_geo.raster.find_valid`.
    ms_start, pan_start
        Pixel (row, col) of its grid at which each array starts, where an array is a part of its grid.

    Raises
    ------
    ArgumentError
        When a shape fits neither its grid nor its mask, or PAN has several bands.
    """

    def __init__(  # noqa: PLR0913  two images, each with its grid, mask and place
        self,
        ms: Values,
        pan: Values,
        *,
        pair: GridPair | None = None,
        ms_valid: Mask | None = None,
        pan_valid: Mask | None = None,
        nodata_ms: float | None = None,
        nodata_pan: float | None = None,
        ms_start: tuple[int, int] = (0, 0),
        pan_start: tuple[int, int] = (0, 0),
    ) -> None:
        pan = pan[np.newaxis] if pan.ndim == len(("row", "col")) else pan
        _check_arrays(ms, pan)
        self.pair = pair or _pair_of_shapes(ms.shape[1:], pan.shape[1:])
        for name, array, start, grid in (("MS", ms, ms_start, self.pair.ms), ("PAN", pan, pan_start, self.pair.pan)):
            _check_place(name, array.shape[1:], start, grid.shape)
        self._ms = _ArraySource(ms, _all_valid(ms, ms_valid, nodata_ms, "MS"), ms_start)
        self._pan = _ArraySource(pan, _all_valid(pan, pan_valid, nodata_pan, "PAN"), pan_start)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the output grid."""
        return self.pair.output.shape

    @property
    def n_band(self) -> int:
        """Number of MS bands."""
        return int(self._ms.values.shape[0])

    def read(self, row0: int, row1: int, col0: int, col1: int, margin: int = MARGIN) -> PairSample:
        """Read a block of the output grid; see `PairReader.read`.

        Raises
        ------
        ArgumentError
            When the block is empty.
        """
        return read_pair(self.pair, self._ms, self._pan, (row0, row1, col0, col1), margin)


@dataclass(frozen=True, eq=False)
class _ArraySource:
    """An array that reads like a `RasterReader`."""

    values: Values  # (band, row, col)
    valid: Mask  # (row, col)
    start: tuple[int, int]  # of the array on its grid

    def read(self, row0: int, row1: int, col0: int, col1: int) -> tuple[Values, Mask]:
        row0, row1, col0, col1 = row0 - self.start[0], row1 - self.start[0], col0 - self.start[1], col1 - self.start[1]
        n_band, n_row, n_col = self.values.shape
        values = np.zeros((n_band, row1 - row0, col1 - col0), self.values.dtype)
        valid = np.zeros(values.shape, np.bool_)
        rows, cols = slice(max(row0, 0), min(row1, n_row)), slice(max(col0, 0), min(col1, n_col))
        if rows.start < rows.stop and cols.start < cols.stop:
            inside = np.s_[:, rows.start - row0 : rows.stop - row0, cols.start - col0 : cols.stop - col0]
            values[inside], valid[inside] = self.values[:, rows, cols], self.valid[rows, cols]
        return values, valid


class BlockSource(Protocol):
    """One image of a pair: anything that reads as `ship_geo.raster.RasterReader` does."""

    def read(self, row0: int, row1: int, col0: int, col1: int) -> tuple[Values, Mask]:
        """Read rows and columns, which may lie outside; give new arrays (band, row, col) of values and validity."""


def read_pair(pair: GridPair, ms: BlockSource, pan: BlockSource, block: Edges, margin: int) -> PairSample:
    """Read a block of the output grid from two images; see `PairReader.read`."""
    row0, row1, col0, col1 = block
    ms_rows, ms_cols = pair.ms_from_pan((row0, row1), (col0, col1), margin)
    first_row, _, first_col, _ = pair.overlap
    ms_values, ms_valid = _masked(*ms.read(*ms_rows, *ms_cols))
    pan_values, pan_valid = _masked(*pan.read(row0 + first_row, row1 + first_row, col0 + first_col, col1 + first_col))
    return PairSample(
        ms=ms_values,
        ms_valid=ms_valid,
        pan=pan_values,
        pan_valid=pan_valid,
        ratio=pair.ratio,
        phase=(
            pair.output_phase[0] + pair.ratio[0] * ms_rows[0] - row0,
            pair.output_phase[1] + pair.ratio[1] * ms_cols[0] - col0,
        ),
        pan_start=(row0, col0),
    )


def _masked(values: Values, valid: Mask) -> tuple[Values, Mask]:
    whole: Mask = np.logical_and.reduce(valid, axis=0)
    values[:, ~whole] = 0
    return values, whole


def _check_arrays(ms: Values, pan: Values) -> None:
    for name, array in (("MS", ms), ("PAN", pan)):
        if array.ndim != len(("band", "row", "col")) or min(array.shape) < 1:
            msg = f"{name} must be an array (band, row, col) that is not empty, got shape {array.shape}; reshape it"
            raise ArgumentError(msg)
    if pan.shape[0] != 1:
        msg = f"PAN must have one band, got {pan.shape[0]}; pass the panchromatic band alone"
        raise ArgumentError(msg)


def _pair_of_shapes(ms_shape: tuple[int, ...], pan_shape: tuple[int, ...]) -> GridPair:
    (ms_rows, ms_cols), (pan_rows, pan_cols) = ms_shape, pan_shape
    # North up, as rasters are; the unit is the PAN pixel.
    pan = Grid((pan_rows, pan_cols), Affine(1, 0, 0, 0, -1, 0))
    ms = Grid((ms_rows, ms_cols), Affine(pan_cols / ms_cols, 0, 0, 0, -pan_rows / ms_rows, 0))
    return GridPair.from_grids(ms, pan)


def _check_place(name: str, shape: tuple[int, ...], start: tuple[int, int], grid: tuple[int, int]) -> None:
    ends = [first + size for first, size in zip(start, shape, strict=True)]
    is_part = min(start) >= 0 and all(end <= size for end, size in zip(ends, grid, strict=True))
    if not is_part:
        msg = f"{name} must lie on its grid, got array {shape} from {start} on, grid {grid}; pass what belongs together"
        raise ArgumentError(msg)


def _all_valid(values: Values, given: Mask | None, nodata: float | None, name: str) -> Mask:
    if given is not None and given.shape != values.shape[1:]:
        msg = f"{name} must fit its mask, got array {values.shape[1:]}, mask {given.shape}; pass what belongs together"
        raise ArgumentError(msg)
    valid: Mask = np.logical_and.reduce(find_valid(values, nodata), axis=0)
    return valid if given is None else valid & given.astype(np.bool_)
