"""Points on images and maps: what the plans of this package share.

Points are arrays (2, n) of rows and columns of pixel edges; on a map (2, n) of x and y.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from affine import Affine

from ship_geo.errors import GridError

if TYPE_CHECKING:
    from pyproj import Transformer

    from ship_geo._typing import Shape

Floats: TypeAlias = npt.NDArray[np.float64]

GROUND_CRS = "EPSG:4326"
"""Longitude and latitude of camera models."""

_EDGE_POINTS = 21  # along each side of an outline
_DIGITS = 9  # decimals of a fitted transform: what is behind them is noise of the fit


def outline(shape: Shape) -> tuple[Floats, Floats]:
    """Return rows and columns of points around an image, in order."""
    n_row, n_col = shape
    along = np.linspace(0.0, 1.0, _EDGE_POINTS)[:-1]
    none, full = np.zeros_like(along), np.ones_like(along)
    rows = np.concatenate([none, along, full, 1.0 - along]) * n_row
    cols = np.concatenate([along, full, 1.0 - along, none]) * n_col
    return rows, cols


def apply(transform: Affine, points: Floats) -> Floats:
    """Transform rows and columns to (y, x), which are rows and columns again between two images."""
    a, b, c, d, e, f = transform[:6]
    return np.stack([d * points[1] + e * points[0] + f, a * points[1] + b * points[0] + c])


def rounded(six: tuple[float, ...]) -> Affine:
    """Return a fitted transform (a, b, c, d, e, f) less the last digits."""
    # Without the noise of the fit an exact ratio of 4 is 4, and nested grids nest.
    return Affine(*(round(float(value), _DIGITS) for value in six))


def compose(outer: Affine, inner: Affine) -> Affine:
    """Return the transform that applies `inner`, then `outer`."""
    # Written out: affine 2 and 3 spell the product differently.
    a, b, c, d, e, f = outer[:6]
    p, q, r, s, t, u = inner[:6]
    return Affine(a * p + b * s, a * q + b * t, a * r + b * u + c, d * p + e * s, d * q + e * t, d * r + e * u + f)


@lru_cache(maxsize=16)
def find_transformer(source: str, target: str) -> Transformer:
    """Return the transformer between two CRS in the order (x, y), always.

    Raises
    ------
    GridError
        When PROJ cannot read one of them.
    """
    from pyproj import CRS, Transformer  # a tenth of a second that pairs on one map do not need
    from pyproj.exceptions import CRSError

    try:
        return Transformer.from_crs(CRS.from_user_input(source), CRS.from_user_input(target), always_xy=True)
    except CRSError as error:
        msg = f"a CRS must be readable by PROJ, got {source!r} and {target!r}; pass an EPSG code or WKT"
        raise GridError(msg) from error
