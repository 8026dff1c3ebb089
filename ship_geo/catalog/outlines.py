"""Outlines of scenes in longitude and latitude.

The convention that could surprise: `footprint` is one ring, whose longitudes jump where it crosses the antimeridian;
`on_globe` cuts it there.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import shapely

    from ship_geo.grids import Grid
    from ship_geo.scene import Scene

LONLAT = "EPSG:4326"

_EDGE_POINTS = 8  # of each side: sides that are straight on the map are not in longitude and latitude
_HALF, _TURN, _POLE = 180.0, 360.0, 90.0


def footprint(scene: Scene) -> shapely.Polygon | None:
    """Return the outline of the output of a scene in longitude and latitude; None where it has no place on Earth.

    Parameters
    ----------
    scene
        On a map, or in sensor geometry: then the outline is at the mean height that the RPC model of PAN states.

    Returns
    -------
    shapely.Polygon or None
        A single ring, corners and points between them. Across the antimeridian longitudes jump: see `on_globe`.
    """
    import shapely

    grid, rpc = scene.pair.output, scene.output_rpc
    rows, cols = _outline(grid)
    if grid.crs is not None:
        a, b, c, d, e, f = grid.transform[:6]
        lon, lat = _to_lonlat(grid.crs).transform(c + a * cols + b * rows, f + d * cols + e * rows)
    elif scene.geometry == "sensor" and rpc is not None:
        lon, lat = rpc.locate(rows, cols, rpc.height_offset)
    else:
        return None
    points = np.column_stack([lon, lat])
    return shapely.Polygon(points) if np.isfinite(points).all() else None


def on_globe(ring: shapely.Polygon) -> shapely.Polygon | shapely.MultiPolygon:
    """Return an outline with longitudes from -180 to 180, cut in two where it crosses the antimeridian (RFC 7946).

    Parameters
    ----------
    ring
        Degrees; steps of more than half a turn are taken to cross the antimeridian. A ring around a pole becomes the
        band of latitudes from its outermost point to the pole.

    Returns
    -------
    shapely.Polygon or shapely.MultiPolygon
        Exterior rings run counterclockwise.
    """
    import shapely
    from shapely.geometry.polygon import orient

    points = np.asarray(ring.exterior.coords)
    lon, lat = np.unwrap(points[:, 0], period=_TURN), points[:, 1]
    if abs(lon[-1] - lon[0]) > _HALF:
        south, north = (lat.min(), _POLE) if lat.mean() > 0 else (-_POLE, lat.max())
        return shapely.box(-_HALF, south, _HALF, north)
    lon = lon - _TURN * math.floor((lon.mean() + _HALF) / _TURN)
    if lon.min() >= -_HALF and lon.max() <= _HALF:
        return orient(shapely.Polygon(np.column_stack([lon, lat])))
    parts = []
    for turn in (-_TURN, 0.0, _TURN):
        moved = shapely.Polygon(np.column_stack([lon + turn, lat]))
        part = moved.intersection(shapely.box(-_HALF, -_POLE, _HALF, _POLE))
        parts += [
            orient(one) for one in getattr(part, "geoms", [part]) if isinstance(one, shapely.Polygon) and one.area
        ]
    return shapely.MultiPolygon(parts) if len(parts) > 1 else parts[0]


@lru_cache(maxsize=64)
def _to_lonlat(crs: str) -> Any:
    from pyproj import Transformer  # a tenth of a second, and a hundredth for every CRS

    return Transformer.from_crs(crs, LONLAT, always_xy=True)


def _outline(grid: Grid) -> tuple[Any, Any]:
    """Points (row, col) around a grid, in pixel edges, from the upper-left corner."""
    n_row, n_col = grid.shape
    steps = np.arange(_EDGE_POINTS) / _EDGE_POINTS
    ones, zeros = np.ones_like(steps), np.zeros_like(steps)
    rows = np.concatenate([zeros, steps, ones, 1 - steps])
    cols = np.concatenate([steps, ones, 1 - steps, zeros])
    return rows * n_row, cols * n_col
