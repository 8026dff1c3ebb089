"""Which windows the network sees, and how their results are blended: one axis first, then the product of two.

Plans only, no pixels and no I/O. What could surprise: windows are anchored to pixel (0, 0) of the output grid and never
to a chunk, so the result does not depend on chunking; they all have one size, so the last one of a row or column may
stick out beyond the image (its reader pads); and feather weights depend on the window's place in the whole plan only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ship_geo.errors import ArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ship_geo._typing import Box, RowCol, Shape

_HALO_MULTIPLE = 4
_MS_MARGIN = 3  # MS pixels: two for the bicubic support, one for the phase
_RATIO_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Axis:
    """Windows of one size along one axis, each sharing `overlap` pixels with the next.

    Window ``i`` covers ``[i * stride, i * stride + window)`` with ``stride = window - overlap``. As the overlap is at
    most half a window, no pixel lies in more than two windows.

    Parameters
    ----------
    length
        Pixels of the axis.
    window
        Pixels of a window; may exceed the length.
    overlap
        Pixels shared by neighbours, from 0 to ``window // 2``.

    Raises
    ------
    ArgumentError
        When one of the three is out of range.

    """

    length: int
    window: int
    overlap: int

    def __post_init__(self) -> None:
        if self.length < 1 or self.window < 1:
            msg = (
                f"length and window must be at least 1, got {self.length} and {self.window}; pass a raster with pixels"
            )
            raise ArgumentError(msg)
        if not 0 <= self.overlap <= self.window // 2:
            msg = (
                f"overlap must be from 0 to half a window, got {self.overlap} for window {self.window}; "
                f"pass at most {self.window // 2}"
            )
            raise ArgumentError(msg)

    @property
    def stride(self) -> int:
        """Pixels from the start of one window to the start of the next."""
        return self.window - self.overlap

    def __len__(self) -> int:
        """Count the windows: as few as cover the axis, at least one."""
        return max(1, math.ceil((self.length - self.overlap) / self.stride))

    def start(self, index: int) -> int:
        """Return the first pixel of window `index`.

        Raises
        ------
        ArgumentError
            When there is no such window.

        """
        if not 0 <= index < len(self):
            msg = f"a window index must be from 0 to {len(self) - 1}, got {index}; iterate over `touching`"
            raise ArgumentError(msg)
        return index * self.stride

    def touching(self, start: int, stop: int) -> range:
        """Return the indices of the windows that share a pixel of the axis with ``[start, stop)``."""
        start, stop = max(start, 0), min(stop, self.length)
        if start >= stop:
            return range(0)
        first = max(0, (start - self.window) // self.stride + 1)
        return range(first, min(len(self), -(-stop // self.stride)))

    def weights(self, index: int) -> NDArray[np.float32]:
        """Return the feather weights of window `index`, ``(window,) float32``.

        Raised-cosine ramps over the overlaps, flat elsewhere; the outer ends of the first and the last window stay
        at one. At every pixel of the axis the weights of all windows sum to one.

        Raises
        ------
        ArgumentError
            When there is no such window.

        """
        self.start(index)
        weights = np.ones(self.window, np.float32)
        if self.overlap == 0:
            return weights
        steps = (np.arange(self.overlap) + 0.5) / self.overlap
        ramp = ((1 - np.cos(np.pi * steps)) / 2).astype(np.float32)
        if index > 0:
            weights[: self.overlap] = ramp
        if index < len(self) - 1:
            weights[-self.overlap :] = 1 - ramp
        return weights


@dataclass(frozen=True)
class Window:
    """One window of a `Plan`.

    Parameters
    ----------
    row_index, col_index
        Place of the window in the plan.
    core
        Its pixels (row0, row1, col0, col1) on the output grid; may stick out to the right and at the bottom.

    """

    row_index: int
    col_index: int
    core: Box

    def read(self, halo: int) -> Box:
        """Return the core enlarged by `halo` pixels on all sides; may start below zero."""
        row0, row1, col0, col1 = self.core
        return row0 - halo, row1 + halo, col0 - halo, col1 + halo


@dataclass(frozen=True)
class Plan:
    """All windows of an image, row by row, anchored to its pixel (0, 0).

    Parameters
    ----------
    shape
        Rows and columns of the output grid.
    window, overlap
        Size of a window and pixels shared by neighbours, the same along rows and columns.
    halo
        PAN pixels the model is given around a window beyond those it predicts.

    Raises
    ------
    ArgumentError
        When a number is out of range.

    """

    shape: Shape
    window: int
    overlap: int
    halo: int = 0

    def __post_init__(self) -> None:
        if self.halo < 0:
            msg = f"halo must not be negative, got {self.halo}; pass 0 or more pixels"
            raise ArgumentError(msg)
        _ = self.rows, self.cols  # raise for numbers that cannot work

    @cached_property
    def rows(self) -> Axis:
        """Windows along the rows of the image."""
        return Axis(self.shape[0], self.window, self.overlap)

    @cached_property
    def cols(self) -> Axis:
        """Windows along the columns of the image."""
        return Axis(self.shape[1], self.window, self.overlap)

    def __len__(self) -> int:
        """Count the windows of the whole image."""
        return len(self.rows) * len(self.cols)

    def windows(self) -> list[Window]:
        """Return all windows, row by row."""
        return self.windows_in(0, self.shape[0], 0, self.shape[1])

    def windows_in(self, row0: int, row1: int, col0: int, col1: int) -> list[Window]:
        """Return the windows that touch rows ``[row0, row1)`` and columns ``[col0, col1)``, row by row."""
        cols = self.cols.touching(col0, col1)
        return [self._window(row, col) for row in self.rows.touching(row0, row1) for col in cols]

    def weights(self, window: Window) -> NDArray[np.float32]:
        """Return the feather weights of a window of this plan, ``(window, window) float32``; all sum to one."""
        return np.multiply.outer(self.rows.weights(window.row_index), self.cols.weights(window.col_index))

    def blocks(self, block_shape: Shape) -> list[Box]:
        """Cut the image into blocks, row by row; those at the right and bottom edge may be smaller.

        Parameters
        ----------
        block_shape
            Rows and columns of a block.

        Returns
        -------
        list of Box
            (row0, row1, col0, col1), every pixel of the image in exactly one of them.

        Raises
        ------
        ArgumentError
            When a block would be empty.

        """
        if min(block_shape) < 1:
            msg = f"a block must not be empty, got {block_shape}; pass positive sizes"
            raise ArgumentError(msg)
        (n_row, n_col), (step_row, step_col) = self.shape, block_shape
        return [
            (row, min(row + step_row, n_row), col, min(col + step_col, n_col))
            for row in range(0, n_row, step_row)
            for col in range(0, n_col, step_col)
        ]

    def _window(self, row_index: int, col_index: int) -> Window:
        row0, col0 = self.rows.start(row_index), self.cols.start(col_index)
        return Window(row_index, col_index, (row0, row0 + self.window, col0, col0 + self.window))


def halo_for(ratio: float | RowCol, radius: int = 20) -> int:
    """Return the PAN pixels a window needs around it.

    The reach of the model plus three MS pixels for interpolation, rounded up to a multiple of four.

    Parameters
    ----------
    ratio
        MS pixel size / PAN pixel size, one number or (row, col), of which the larger counts.
    radius
        PAN pixels the model reaches beyond the pixel it predicts.

    Raises
    ------
    ArgumentError
        When the ratio is not positive and finite or the radius is negative.

    """
    largest = max(ratio) if isinstance(ratio, tuple) else ratio
    if not (math.isfinite(largest) and largest > 0) or radius < 0:
        msg = f"ratio must be positive and radius not negative, got {ratio} and {radius}; pass GridPair.ratio"
        raise ArgumentError(msg)
    reach = radius + _MS_MARGIN * math.ceil(largest - _RATIO_TOLERANCE)
    return -(-reach // _HALO_MULTIPLE) * _HALO_MULTIPLE
