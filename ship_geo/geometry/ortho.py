"""A common map grid for PAN and MS that come with camera models: north-up, nested, around the ground both show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from ship_geo.errors import ArgumentError, GridError
from ship_geo.geometry.points import GROUND_CRS, Floats, find_transformer, outline
from ship_geo.grids import Grid
from ship_geo.raster.warp import Warp

if TYPE_CHECKING:
    from ship_geo._typing import Shape
    from ship_geo.grids import Bounds
    from ship_geo.rpc import Rpc

_SHARP_SCALE = 0.95  # from here on GDAL does not widen its kernels
_POLES = (-80.0, 84.0)  # latitudes where UTM ends


def ortho_grids(
    ms_shape: Shape,
    ms_rpc: Rpc,
    pan_shape: Shape,
    pan_rpc: Rpc,
    *,
    height: float,
    ratio: int | None = None,
    crs: str | None = None,
    resolution: float | None = None,
) -> tuple[Grid, Grid]:
    """Plan nested north-up grids around the ground that PAN and MS both show.

    Parameters
    ----------
    ms_shape, pan_shape
        Rows and columns.
    ms_rpc, pan_rpc
        Camera models.
    height
        Mean height of the ground, metres above the ellipsoid.
    ratio
        MS pixel size / PAN pixel size of the result, a whole number; None: that of the images on the ground, rounded.
    crs
        CRS of the result; None: the UTM zone of its centre.
    resolution
        PAN pixel size of the result in units of the CRS; None: that of PAN on the ground at its centre, rounded to
        two digits.

    Returns
    -------
    ms, pan
        Grids with the same outer corners. Their corners lie on multiples of the MS pixel size.

    Raises
    ------
    ArgumentError
        When `ratio` is no whole number of at least 1, or `resolution` is not positive.
    GridError
        When a camera model cannot be solved, the images show different ground, or the CRS cannot be read.
    """
    _check_ortho(ratio, resolution)
    lon, lat = _centre(pan_shape, pan_rpc, height)
    crs = utm_zone(lon, lat) if crs is None else crs
    pixel = resolution or _two_digits(_pixel_on_map(pan_shape, pan_rpc, height, crs))
    ratio = ratio or max(
        1, round(_pixel_on_map(ms_shape, ms_rpc, height, crs) / _pixel_on_map(pan_shape, pan_rpc, height, crs))
    )
    left, bottom, right, top = _common_ground([(ms_shape, ms_rpc), (pan_shape, pan_rpc)], height, crs)
    step = pixel * ratio
    col, row = math.floor(left / step), math.ceil(top / step)
    n_col, n_row = math.ceil(right / step) - col, row - math.floor(bottom / step)
    corner = col * step, row * step
    ms = Grid((n_row, n_col), Affine(step, 0.0, corner[0], 0.0, -step, corner[1]), crs)
    pan = Grid((n_row * ratio, n_col * ratio), Affine(pixel, 0.0, corner[0], 0.0, -pixel, corner[1]), crs)
    return ms, pan


def ortho_warp(shape: Shape, rpc: Rpc, target: Grid, *, height: float, dem: str | None = None) -> Warp:
    """Plan how an image with a camera model comes onto a map grid.

    Parameters
    ----------
    shape, rpc
        Of the image.
    target
        Map grid, from `ortho_grids`.
    height
        Mean height of the ground, metres above the ellipsoid; with `dem`, metres to add to its heights: 0 where these
        are above the ellipsoid, the height of the geoid where they are above the sea.
    dem
        Path of a raster with terrain heights; None: the ground is level.

    Raises
    ------
    GridError
        When `target` has no CRS or the camera model cannot be solved.
    """
    if target.crs is None:
        msg = "a map grid must have a CRS, got none; pass an EPSG code"
        raise GridError(msg)
    level = rpc.height_offset if dem is not None else height
    scale = min(1.0, _pixel_on_map(shape, rpc, level, target.crs) / math.sqrt(abs(target.transform.determinant)))
    sharp = 1.0 if scale >= _SHARP_SCALE else scale
    return Warp(target, rpc=rpc, height=height, dem=dem, scale=(sharp, sharp))


def utm_zone(lon: float, lat: float) -> str:
    """Return the EPSG code of the UTM zone (WGS 84) of a point, of polar stereographic (UPS) beyond 84 N and 80 S."""
    is_north = lat >= 0
    if not _POLES[0] <= lat <= _POLES[1]:
        return "EPSG:32661" if is_north else "EPSG:32761"
    zone = int((lon + 180.0) // 6.0) % 60 + 1
    return f"EPSG:{32600 + zone if is_north else 32700 + zone}"


def _on_map(rows: Any, cols: Any, rpc: Rpc, height: float, crs: str) -> Floats:
    lon, lat = rpc.locate(rows, cols, height)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        msg = (
            f"an RPC model must be solvable inside its image, got no ground point at {height:g} m; check the height, "
            f"the model is made for {rpc.height_offset - rpc.height_scale:g} to "
            f"{rpc.height_offset + rpc.height_scale:g} m"
        )
        raise GridError(msg)
    return np.stack(find_transformer(GROUND_CRS, crs).transform(lon, lat))


def _centre(shape: Shape, rpc: Rpc, height: float) -> tuple[float, float]:
    lon, lat = _on_map(shape[0] / 2, shape[1] / 2, rpc, height, GROUND_CRS)
    return float(lon), float(lat)


def _pixel_on_map(shape: Shape, rpc: Rpc, height: float, crs: str) -> float:
    """Side, in map units, of a square as large as a pixel in the middle of the image."""
    rows, cols = shape[0] / 2 + np.array([-0.5, 0.5, 0.0, 0.0]), shape[1] / 2 + np.array([0.0, 0.0, -0.5, 0.5])
    x, y = _on_map(rows, cols, rpc, height, crs)
    return math.sqrt(abs((x[1] - x[0]) * (y[3] - y[2]) - (y[1] - y[0]) * (x[3] - x[2])))


def _two_digits(value: float) -> float:
    return float(f"{value:.1e}")


def _common_ground(images: list[tuple[Shape, Rpc]], height: float, crs: str) -> Bounds:
    from shapely import Polygon, intersection_all  # loads GEOS, for this alone

    outlines = [_on_map(*outline(shape), rpc, height, crs) for shape, rpc in images]
    common = intersection_all([Polygon(points.T) for points in outlines])
    if common.area == 0:
        boxes = [f"({', '.join(f'{value:.10g}' for value in Polygon(points.T).bounds)})" for points in outlines]
        msg = (
            f"PAN and MS must show the same ground, got PAN {boxes[1]} and MS {boxes[0]} (left, bottom, right, top) in "
            f"{crs} by their RPC models; check that both belong to one scene"
        )
        raise GridError(msg)
    left, bottom, right, top = common.bounds
    return left, bottom, right, top


def _check_ortho(ratio: float | None, resolution: float | None) -> None:
    if ratio is not None and (ratio < 1 or ratio != int(ratio)):
        msg = f"the ratio of nested grids must be a whole number, got {ratio}; pass 4 for MS pixels four times larger"
        raise ArgumentError(msg)
    if resolution is not None and not 0 < resolution < math.inf:
        msg = f"the resolution must be positive, got {resolution}; pass the PAN pixel size in units of the CRS"
        raise ArgumentError(msg)
