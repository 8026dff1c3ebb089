"""Outlines on the globe as GeoJSON (RFC 7946): rings across the antimeridian are cut there, as catalogues want them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_DIGITS = 7  # of degrees: a centimetre
_HALF, _TURN = 180.0, 360.0


def geometry_of(ring: Sequence[tuple[float, float]]) -> tuple[dict[str, Any], list[float]]:
    """Return a closed ring of longitudes and latitudes as GeoJSON geometry with its bbox.

    Steps of more than half a turn are taken to cross the antimeridian: such a ring is cut there. A ring around a pole
    becomes the band of latitudes from its outermost point to the pole.
    """
    from shapely import MultiPolygon, Polygon, box
    from shapely.affinity import translate
    from shapely.geometry import mapping
    from shapely.geometry.polygon import orient

    lon = np.unwrap([point[0] for point in ring], period=_TURN)
    lat = np.array([point[1] for point in ring])
    if abs(lon[-1] - lon[0]) > _HALF:
        south, north = (float(lat.min()), 90.0) if lat.mean() > 0 else (-90.0, float(lat.max()))
        return _rounded(mapping(orient(box(-_HALF, south, _HALF, north)))), [-_HALF, south, _HALF, north]
    lon -= _TURN * math.floor((lon.mean() + _HALF) / _TURN)
    whole = Polygon(np.column_stack([lon, lat]))
    parts = []
    for turn in (-1, 0, 1):
        part = translate(whole, turn * _TURN).intersection(box(-_HALF, -90, _HALF, 90))
        pieces = getattr(part, "geoms", [part])
        parts += [orient(piece) for piece in pieces if isinstance(piece, Polygon) and not piece.is_empty]
    shape = parts[0] if len(parts) == 1 else MultiPolygon(parts)
    west, east = ((edge + _HALF) % _TURN - _HALF if len(parts) > 1 else edge for edge in (lon.min(), lon.max()))
    bbox = [round(float(value), _DIGITS) for value in (west, lat.min(), east, lat.max())]
    return _rounded(mapping(shape)), bbox


def _rounded(geometry: Mapping[str, Any]) -> dict[str, Any]:
    def plain(values: Any) -> Any:
        return round(float(values), _DIGITS) if isinstance(values, float | int) else [plain(value) for value in values]

    return {"type": geometry["type"], "coordinates": plain(geometry["coordinates"])}
