"""Where PAN and MS pixels lie: one raster's grid, and the exact relation of a PAN / MS pair.

For planning only: nothing here opens a file or touches a pixel, and nothing estimates a residual shift between the
images (that is ``register``). Two conventions could surprise. Grids are pixel-area: the transform maps pixel *edges*,
(0, 0) is the outer corner of the upper-left pixel. And ``phase`` is the position of the outer corner of MS pixel
(0, 0) on the PAN grid, in PAN pixels: 0 for a nested pair, -0.5 for Landsat, whose bands share pixel *centres*.

odc-geo and pyproj take a good part of a second to import, so they load only when a GeoBox or a comparison of two
differently written CRS is asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, TypeAlias

from affine import Affine

from ship_geo.errors import ArgumentError, GridError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from pyproj import CRS

    from ship_geo._typing import Box, RowCol, Shape

Span: TypeAlias = tuple[int, int]
"""Half-open range of rows or columns (start, stop)."""

Bounds: TypeAlias = tuple[float, float, float, float]
"""Rectangle in map units (left, bottom, right, top)."""

RATIO_RANGE = (1.5, 8.0)
"""Accepted MS / PAN pixel size ratios, both ends included."""
_EDGE_TOLERANCE = 1e-6  # PAN pixels; float noise of a transform must not cost a row when snapping inwards
_LONGEST_CODE = 32  # characters; a longer CRS text is WKT
_SKEW_TOLERANCE = 0.05  # PAN pixels over the whole MS grid; below what any registration can see


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape, transform and CRS of one raster, compared by value.

    Two grids are equal when shape and transform are equal and the CRS mean the same, however they are written.

    Parameters
    ----------
    shape
        Number of rows and columns, each at least 1.
    transform
        Maps (column, row) of pixel edges to map coordinates.
    crs
        CRS as text (``EPSG:32633``, WKT, ...), or None when the raster has none.

    Raises
    ------
    GridError
        When the shape is empty or the transform is not finite and invertible.

    """

    shape: Shape
    transform: Affine
    crs: str | None = None

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            msg = f"a grid must have at least one row and one column, got shape {self.shape}; check the raster or crop"
            raise GridError(msg)
        six = self.transform[:6]
        if not all(map(math.isfinite, six)) or self.transform.determinant == 0:
            msg = f"a grid transform must be finite and invertible, got {six}; check the georeference of the raster"
            raise GridError(msg)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        same_place = self.shape == other.shape and self.transform[:6] == other.transform[:6]
        return same_place and is_same_crs(self.crs, other.crs)

    def __hash__(self) -> int:
        # The CRS is left out: texts that differ may mean the same.
        return hash((self.shape, self.transform[:6]))

    @property
    def geobox(self) -> GeoBox:
        """The same grid as an odc-geo ``GeoBox`` (imports odc-geo)."""
        from odc.geo.geobox import GeoBox  # odc-geo pulls dask in, about half a second

        return GeoBox(self.shape, self.transform, self.crs)

    @property
    def bounds(self) -> Bounds:
        """Smallest upright rectangle around the grid (left, bottom, right, top), in map units."""
        a, b, c, d, e, f = self.transform[:6]
        n_row, n_col = self.shape
        corners = [(0, 0), (0, n_col), (n_row, 0), (n_row, n_col)]
        xs = [c + a * col + b * row for row, col in corners]
        ys = [f + d * col + e * row for row, col in corners]
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def resolution(self) -> RowCol:
        """Pixel size along (row, col) in map units, always positive, also for rotated grids."""
        a, b, _, d, e, _ = self.transform[:6]
        return math.hypot(b, e), math.hypot(a, d)

    def crop(self, row0: int, row1: int, col0: int, col1: int) -> Grid:
        """Return the grid of rows ``[row0, row1)`` and columns ``[col0, col1)``, which may exceed this grid.

        Raises
        ------
        GridError
            When the block is empty.

        """
        a, b, c, d, e, f = self.transform[:6]
        corner_x, corner_y = c + a * col0 + b * row0, f + d * col0 + e * row0
        return Grid((row1 - row0, col1 - col0), Affine(a, b, corner_x, d, e, corner_y), self.crs)


def pixel_centres(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates (x, y) of pixel centres along the axes of a grid that is not rotated."""
    import numpy as np  # a grid is imported without

    a, _, c, _, e, f = grid.transform[:6]
    n_row, n_col = grid.shape
    return c + a * (np.arange(n_col) + 0.5), f + e * (np.arange(n_row) + 0.5)


@dataclass(frozen=True)
class GridPair:
    """An MS grid and a PAN grid over the same ground, with their exact relation.

    Edge ``k`` of the MS grid lies at ``phase + ratio * k`` on the PAN grid, along rows and along columns. The output
    grid is the part of the PAN grid that MS covers. Build pairs with `from_grids`, which checks that they fit.

    Parameters
    ----------
    ms, pan
        The two grids, in one CRS and with parallel axes.

    """

    ms: Grid
    pan: Grid

    @classmethod
    def from_grids(cls, ms: Grid, pan: Grid) -> GridPair:
        """Check that two grids make a pair and return it.

        Raises
        ------
        GridError
            When the CRS differ or one is missing, the grids are rotated or mirrored against each other, MS is finer
            than PAN, the ratio is outside `RATIO_RANGE`, or no whole PAN pixel lies inside MS.

        """
        pair = cls(ms, pan)
        _check_crs(ms, pan)
        _check_axes(pair)
        _check_ratio(pair)
        _ = pair.overlap  # raises when empty
        return pair

    @cached_property
    def ratio(self) -> RowCol:
        """MS pixel size / PAN pixel size along (row, col), from the transforms and never from pixel counts."""
        a, _, _, e, _, _ = _ms_to_pan(self.ms.transform, self.pan.transform)
        return float(e), float(a)

    @cached_property
    def phase(self) -> RowCol:
        """Outer corner of MS pixel (0, 0) on the PAN grid (row, col), in PAN pixels."""
        *_, row, col = _ms_to_pan(self.ms.transform, self.pan.transform)
        return float(row), float(col)

    @cached_property
    def overlap(self) -> Box:
        """Whole PAN pixels inside MS (row0, row1, col0, col1), on the PAN grid, half-open.

        An edge within 1e-6 PAN pixel of a whole pixel counts as being on it.

        Raises
        ------
        GridError
            When there is none.

        """
        rows, cols = map(_snap_inwards, self.phase, self.ratio, self.ms.shape, self.pan.shape)
        if rows[0] >= rows[1] or cols[0] >= cols[1]:
            raise GridError(_no_overlap(self.pan.bounds, self.ms.bounds, self.pan.crs))
        return (*rows, *cols)

    @cached_property
    def output(self) -> Grid:
        """Grid of the result: the PAN grid cropped to `overlap`."""
        return self.pan.crop(*self.overlap)

    @property
    def output_phase(self) -> RowCol:
        """Outer corner of MS pixel (0, 0) on the output grid (row, col), in PAN pixels."""
        row0, _, col0, _ = self.overlap
        return self.phase[0] - row0, self.phase[1] - col0

    @property
    def is_nested(self) -> bool:
        """Whether every edge of the MS grid is an edge of the PAN grid, to 1e-6 PAN pixel."""
        return all(
            _is_whole(ratio * n_ms) and _is_whole(ratio) and _is_whole(phase)
            for ratio, phase, n_ms in zip(self.ratio, self.phase, self.ms.shape, strict=True)
        )

    def ms_from_pan(self, rows: Span, cols: Span, margin: int = 0) -> tuple[Span, Span]:
        """Return the MS pixels that cover a block of the output grid.

        Parameters
        ----------
        rows, cols
            Half-open ranges of output rows and columns; they may lie outside the output.
        margin
            MS pixels to add on every side.

        Returns
        -------
        tuple of Span
            Half-open ranges of MS rows and columns. They may exceed the MS grid.

        Raises
        ------
        ArgumentError
            When a range is empty.

        """
        if rows[0] >= rows[1] or cols[0] >= cols[1]:
            msg = f"a block must not be empty, got rows {rows} and cols {cols}; pass ranges with start < stop"
            raise ArgumentError(msg)
        phase_row, phase_col = self.output_phase
        ms_rows = _cover(rows, self.ratio[0], phase_row)
        ms_cols = _cover(cols, self.ratio[1], phase_col)
        return (ms_rows[0] - margin, ms_rows[1] + margin), (ms_cols[0] - margin, ms_cols[1] + margin)


def is_same_crs(left: str | None, right: str | None) -> bool:
    """Whether two CRS texts place a raster alike: WKT and EPSG forms, axis order and a vertical part do not matter.

    Raises
    ------
    GridError
        When the texts differ and one of them is no CRS.

    """
    if left == right:
        return True
    if left is None or right is None:
        return False
    # Rasters are always read as (x, y), whatever axis order the authority declares.
    return _horizontal(left).equals(_horizontal(right), ignore_axis_order=True)


@lru_cache(maxsize=64)
def _horizontal(text: str) -> CRS:
    from pyproj import CRS  # a tenth of a second that most comparisons do not need
    from pyproj.exceptions import CRSError

    try:
        crs = CRS.from_user_input(text)
    except CRSError as error:
        msg = f"a CRS must be readable by PROJ, got {text!r}; pass an EPSG code or WKT"
        raise GridError(msg) from error
    while (crs.is_compound and crs.sub_crs_list) or (crs.is_bound and crs.source_crs is not None):
        crs = crs.sub_crs_list[0] if crs.is_compound else crs.source_crs  # type: ignore[assignment]
    return crs


def _ms_to_pan(ms: Affine, pan: Affine) -> tuple[Fraction, Fraction, Fraction, Fraction, Fraction, Fraction]:
    # inverse(pan) @ ms in rational arithmetic, as (col/col, col/row, row/col, row/row, corner row, corner col): with
    # coordinates of 5e6 m and pixels of 0.3 m a float inverse would lose nine digits of a ratio like 4.0004.
    a, b, c, d, e, f = map(Fraction, pan[:6])
    ms_a, ms_b, ms_c, ms_d, ms_e, ms_f = map(Fraction, ms[:6])
    det = a * e - b * d

    def solve(x: Fraction, y: Fraction) -> tuple[Fraction, Fraction]:
        return (e * x - b * y) / det, (a * y - d * x) / det

    col_col, row_col = solve(ms_a, ms_d)
    col_row, row_row = solve(ms_b, ms_e)
    corner_col, corner_row = solve(ms_c - c, ms_f - f)
    return col_col, col_row, row_col, row_row, corner_row, corner_col


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) <= _EDGE_TOLERANCE


def _snap_inwards(phase: float, ratio: float, n_ms: int, n_pan: int) -> Span:
    start = math.ceil(phase - _EDGE_TOLERANCE)
    stop = math.floor(phase + ratio * n_ms + _EDGE_TOLERANCE)
    return max(start, 0), min(stop, n_pan)


def _cover(span: Span, ratio: float, phase: float) -> Span:
    start = math.floor((span[0] - phase + _EDGE_TOLERANCE) / ratio)
    stop = math.ceil((span[1] - phase - _EDGE_TOLERANCE) / ratio)
    return start, stop


def _check_crs(ms: Grid, pan: Grid) -> None:
    if is_same_crs(ms.crs, pan.crs):
        return
    if ms.crs is None or pan.crs is None:
        bare, named = ("MS", pan.crs) if ms.crs is None else ("PAN", ms.crs)
        msg = (
            f"PAN and MS must both have a CRS or both have none, got no CRS for {bare} beside {brief_crs(named)}; "
            f"write the CRS of {bare} into its file (gdal_edit.py -a_srs), or pass `assume_aligned=True`"
        )
        raise GridError(msg)
    ms_bounds = _reproject(ms.bounds, ms.crs, pan.crs)
    if ms_bounds is None or not _is_touching(ms_bounds, pan.bounds):
        seen = ms_bounds if ms_bounds is not None else ms.bounds
        msg = _no_overlap(pan.bounds, seen, pan.crs, f"; MS is labelled {brief_crs(ms.crs)}, perhaps wrongly")
    else:
        msg = (
            f"PAN and MS must have the same CRS, got {brief_crs(pan.crs)} for PAN and {brief_crs(ms.crs)} for MS; "
            "reproject MS to the CRS of PAN"
        )
    raise GridError(msg)


def _check_axes(pair: GridPair) -> None:
    col_col, col_row, row_col, row_row, _, _ = _ms_to_pan(pair.ms.transform, pair.pan.transform)
    n_row, n_col = pair.ms.shape
    is_skewed = abs(col_row) * n_row > _SKEW_TOLERANCE or abs(row_col) * n_col > _SKEW_TOLERANCE
    if is_skewed or col_col <= 0 or row_row <= 0:
        msg = (
            "PAN and MS must have parallel axes that run the same way, got transforms "
            f"{pair.pan.transform[:6]} and {pair.ms.transform[:6]}; warp MS to the orientation of PAN"
        )
        raise GridError(msg)


def _check_ratio(pair: GridPair) -> None:
    ratios = f"ratio ({pair.ratio[0]:.6g}, {pair.ratio[1]:.6g})"
    if min(pair.ratio) < 1 - _EDGE_TOLERANCE:
        msg = f"PAN must be finer than MS, got {ratios}; check whether `ms` and `pan` are swapped"
        raise GridError(msg)
    low, high = RATIO_RANGE
    if min(pair.ratio) < low - _EDGE_TOLERANCE or max(pair.ratio) > high + _EDGE_TOLERANCE:
        msg = (
            f"the MS / PAN pixel size ratio must be from {low} to {high}, got {ratios}; "
            "pass MS at its native resolution, or with `ratio=` what it had before it was resampled to PAN"
        )
        raise GridError(msg)


def _no_overlap(pan: Bounds, ms: Bounds, crs: str | None, hint: str = "") -> str:
    pan_text, ms_text = (f"({', '.join(f'{value:.10g}' for value in bounds)})" for bounds in (pan, ms))
    place = f"in {brief_crs(crs)}" if crs is not None else "without a CRS"
    return (
        f"PAN and MS must overlap by a whole PAN pixel, got PAN {pan_text} and MS {ms_text} "
        f"(left, bottom, right, top) {place}{hint}; check the CRS labels, or pass a matching pair with `ms=` and `pan=`"
    )


def _is_touching(left: Bounds, right: Bounds) -> bool:
    return left[0] < right[2] and right[0] < left[2] and left[1] < right[3] and right[1] < left[3]


def _reproject(bounds: Bounds, source: str, target: str) -> Bounds | None:
    from pyproj import Transformer  # only for an error message
    from pyproj.exceptions import ProjError

    try:
        transformer = Transformer.from_crs(_horizontal(source), _horizontal(target), always_xy=True)
        moved = transformer.transform_bounds(*bounds)
    except ProjError:
        return None
    return moved if all(map(math.isfinite, moved)) else None


def brief_crs(crs: str | None) -> str:
    """Return a CRS as people write it: a WKT of thousands of characters helps nobody in a message."""
    if crs is None or len(crs) <= _LONGEST_CODE:
        return str(crs)
    found = _horizontal(crs)
    code = found.to_epsg()
    return f"EPSG:{code}" if code is not None else found.name
