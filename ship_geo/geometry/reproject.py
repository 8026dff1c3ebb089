"""MS whose map has another CRS than PAN's, or another orientation: a grid for it along the axes of PAN."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from ship_geo.errors import GridError
from ship_geo.geometry.points import Floats, apply, compose, find_transformer, outline
from ship_geo.grids import Grid
from ship_geo.raster.warp import Warp

if TYPE_CHECKING:
    from ship_geo._typing import RowCol, Shape

_WHOLE_RATIO_TOLERANCE = 0.02


def reproject_warp(ms: Grid, pan: Grid) -> Warp:
    """Plan how MS comes into the CRS of PAN: its axes parallel to those of PAN, corners on whole PAN pixels.

    The pixel size of MS is about kept; a ratio within 2 % of a whole number becomes whole, so that the grids nest.
    Only the part of MS that PAN shows is planned for.

    Raises
    ------
    GridError
        When a CRS is missing or cannot be read, or the two do not overlap.
    """
    if ms.crs is None or pan.crs is None:
        msg = f"MS and PAN must have CRS to be brought together, got {ms.crs} and {pan.crs}; write them into the files"
        raise GridError(msg)
    to_pan = _map_to_pixels(ms, pan)
    rows, cols = to_pan(*outline(ms.shape))
    box = _intersect(rows, cols, pan.shape)
    if box is None:
        msg = (
            f"PAN and MS must overlap, got rows {_span(rows)} and columns {_span(cols)} of MS in pixels of PAN, whose "
            f"shape is {pan.shape}; check the CRS labels"
        )
        raise GridError(msg)
    ratio = _ratio_at(to_pan, ms.shape)
    row0, row1, col0, col1 = box
    shape = math.ceil((row1 - row0) / ratio[0]), math.ceil((col1 - col0) / ratio[1])
    place = Affine(ratio[1], 0.0, float(col0), 0.0, ratio[0], float(row0))
    return Warp(Grid(shape, compose(pan.transform, place), pan.crs), source=ms.transform, crs=ms.crs)


def _map_to_pixels(ms: Grid, pan: Grid) -> Any:
    """Return the function from MS pixel edges (rows, cols) to PAN pixel edges (rows, cols)."""
    transformer = find_transformer(str(ms.crs), str(pan.crs))
    inverse = ~pan.transform

    def to_pan(rows: Floats, cols: Floats) -> Floats:
        y, x = apply(ms.transform, np.stack([rows, cols]))
        x, y = transformer.transform(x, y)
        return apply(inverse, np.stack([np.asarray(y), np.asarray(x)]))

    return to_pan


def _intersect(rows: Floats, cols: Floats, shape: Shape) -> tuple[int, int, int, int] | None:
    if not (np.isfinite(rows).all() and np.isfinite(cols).all()):
        return None
    row0, row1 = max(math.floor(rows.min()), 0), min(math.ceil(rows.max()), shape[0])
    col0, col1 = max(math.floor(cols.min()), 0), min(math.ceil(cols.max()), shape[1])
    return (row0, row1, col0, col1) if row0 < row1 and col0 < col1 else None


def _ratio_at(to_pan: Any, shape: Shape) -> RowCol:
    row, col = shape[0] / 2, shape[1] / 2
    rows, cols = to_pan(row + np.array([-0.5, 0.5, 0.0, 0.0]), col + np.array([0.0, 0.0, -0.5, 0.5]))
    size = math.sqrt(abs((rows[1] - rows[0]) * (cols[3] - cols[2]) - (cols[1] - cols[0]) * (rows[3] - rows[2])))
    whole = round(size)
    ratio = float(whole) if whole and abs(size - whole) <= _WHOLE_RATIO_TOLERANCE * size else size
    return ratio, ratio


def _span(values: Floats) -> str:
    return f"{np.min(values):.1f} to {np.max(values):.1f}"
