"""MS in pixels of PAN by their camera models at one height: no map, and in most scenes no pixel is interpolated.

The convention that could surprise: the map unit is the PAN pixel, x to the right and y *downwards*; the PAN transform
is the identity and there is no CRS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine

from ship_geo.errors import GridError
from ship_geo.geometry.points import Floats, apply, outline, rounded
from ship_geo.grids import Grid
from ship_geo.raster.warp import Warp

if TYPE_CHECKING:
    from ship_geo._typing import Shape
    from ship_geo.rpc import Rpc

SENSOR_TOLERANCE = 0.25
"""Largest residual, PAN pixels, of a linear relation between MS and PAN in sensor geometry."""

_LATTICE = 33  # points along each axis; RPC are cubic, so that a few would do
_FEWEST_POINTS = 3  # rows and columns of the lattice that must lie inside MS


@dataclass(frozen=True)
class SensorPair:
    """MS in pixels of PAN, from their camera models at one height.

    Attributes
    ----------
    ms, pan
        The grids, without CRS, in PAN pixels; PAN has the identity as transform.
    height
        Metres above the ellipsoid at which they were related.
    residual
        Largest distance, PAN pixels, between the camera models and an upright relation (a scale and an offset for
        each axis).
    residual_affine
        The same for a relation that may rotate.
    parallax
        How far MS moves against PAN, PAN pixels at most, where the ground is 100 m higher or lower.
    warp
        How MS comes onto `ms`; None where its pixels lie there as they are.
    """

    ms: Grid
    pan: Grid
    height: float
    residual: float
    residual_affine: float
    parallax: float
    warp: Warp | None = None


def sensor_pair(
    ms_shape: Shape, ms_rpc: Rpc, pan_shape: Shape, pan_rpc: Rpc, height: float | None = None
) -> SensorPair:
    """Relate MS to PAN in sensor geometry.

    A lattice of PAN points goes to the ground by PAN's model and on to MS by its own. Where an upright relation fits
    to `SENSOR_TOLERANCE` it is taken, and no pixel is interpolated; else MS is warped by an affine one, if that fits.

    Parameters
    ----------
    ms_shape, pan_shape
        Rows and columns.
    ms_rpc, pan_rpc
        Camera models.
    height
        Metres above the ellipsoid; None: the height offset of PAN's model, about the mean of the scene.

    Raises
    ------
    GridError
        When the images show different ground, or no affine relation fits.
    """
    level = pan_rpc.height_offset if height is None else height
    ms, pan = _tie_points(ms_shape, ms_rpc, pan_shape, pan_rpc, level)
    upright, affine = _fit_upright(ms, pan), _fit_affine(ms, pan)
    residual, residual_affine = _residual(upright, ms, pan), _residual(affine, ms, pan)
    pan_grid = Grid(pan_shape, Affine.identity())
    parallax = _parallax(affine, ms_rpc, pan_rpc, pan, level)
    if residual <= SENSOR_TOLERANCE and min(upright.a, upright.e) > 0:
        return SensorPair(Grid(ms_shape, upright), pan_grid, level, residual, residual_affine, parallax)
    if not residual_affine <= SENSOR_TOLERANCE:
        msg = (
            f"the RPC models of PAN and MS must agree to {SENSOR_TOLERANCE} PAN pixels, got {residual_affine:.2f} at "
            f"{level:g} m; use geometry='ortho'"
        )
        raise GridError(msg)
    target = _upright_around(ms_shape, affine)
    return SensorPair(target, pan_grid, level, residual, residual_affine, parallax, Warp(target, source=affine))


def _tie_points(ms_shape: Shape, ms_rpc: Rpc, pan_shape: Shape, pan_rpc: Rpc, height: float) -> tuple[Floats, Floats]:
    rows, cols = (np.linspace(0.0, n, _LATTICE) for n in pan_shape)
    pan = np.stack([part.ravel() for part in np.meshgrid(rows, cols, indexing="ij")])
    ms = _through_ground(pan, pan_rpc, ms_rpc, height)
    size = np.array(ms_shape, np.float64)[:, None]
    with np.errstate(invalid="ignore"):
        is_inside = ((ms >= -1.0) & (ms <= size + 1.0)).all(axis=0)  # an MS pixel more: extents differ a little
    ms, pan = ms[:, is_inside], pan[:, is_inside]
    if any(np.unique(part).size < _FEWEST_POINTS for part in pan):
        msg = (
            f"PAN and MS must show the same ground, got {is_inside.sum()} of {is_inside.size} points of PAN inside MS "
            f"at {height:g} m by their RPC models; check that both belong to one scene"
        )
        raise GridError(msg)
    return ms, pan


def _through_ground(points: Floats, source: Rpc, target: Rpc, height: float) -> Floats:
    lon, lat = source.locate(points[0], points[1], height)
    return np.stack(target.project(lon, lat, height))


def _fit_upright(ms: Floats, pan: Floats) -> Affine:
    (row_ratio, row0), (col_ratio, col0) = (
        np.linalg.lstsq(np.stack([part, np.ones_like(part)], 1), there, rcond=None)[0]
        for part, there in zip(ms, pan, strict=True)
    )
    return rounded((col_ratio, 0.0, col0, 0.0, row_ratio, row0))


def _fit_affine(ms: Floats, pan: Floats) -> Affine:
    columns = np.stack([ms[1], ms[0], np.ones_like(ms[0])], 1)
    solution = np.linalg.lstsq(columns, pan[::-1].T, rcond=None)[0]
    return rounded(tuple(solution.T.ravel()))


def _residual(transform: Affine, ms: Floats, pan: Floats) -> float:
    return float(np.hypot(*(apply(transform, ms) - pan)).max())


def _parallax(transform: Affine, ms_rpc: Rpc, pan_rpc: Rpc, pan: Floats, height: float) -> float:
    level = apply(transform, _through_ground(pan, pan_rpc, ms_rpc, height))
    moved = (apply(transform, _through_ground(pan, pan_rpc, ms_rpc, height + up)) for up in (-100.0, 100.0))
    return max(float(np.nanmax(np.hypot(*(there - level)))) for there in moved)


def _upright_around(shape: Shape, transform: Affine) -> Grid:
    # The upright grid in PAN pixels that holds a rotated MS, with its pixel size.
    a, b, _, d, e, _ = transform[:6]
    col_ratio, row_ratio = math.hypot(a, d), math.hypot(b, e)
    if abs(d) > abs(a):  # a quarter turn
        col_ratio, row_ratio = row_ratio, col_ratio
    rows, cols = apply(transform, np.stack(outline(shape)))
    n_row, n_col = math.ceil(np.ptp(rows) / row_ratio), math.ceil(np.ptp(cols) / col_ratio)
    return Grid((n_row, n_col), rounded((col_ratio, 0.0, cols.min(), 0.0, row_ratio, rows.min())))
