"""Where the pixels of an xarray object lie: by its coordinates, with the exact steps that its transform states.

Two conventions could surprise. Coordinates decide: the transform that rioxarray and odc-geo keep beside them stays as
it was when an array is sliced, flipped or coarsened, so that it lends its steps and its lattice only where they agree.
And an array without coordinates, or on a rotated grid, lies where its transform says: cut those by `.rio.isel_window`.
"""

from __future__ import annotations

import math

import numpy as np
import rioxarray  # noqa: F401  the accessor .rio
import xarray as xr
from affine import Affine
from numpy.typing import NDArray

from ship_geo.errors import GridError
from ship_geo.grids import Grid

_OFF_AXIS = 0.05  # pixels that a coordinate may lie off an even spacing
_ON_LATTICE = 1e-6  # pixels

Axis = tuple[float, float]
"""Outer edge of the first pixel of an axis, and step, in map units."""


def grid_of(image: xr.DataArray, name: str) -> Grid:
    """Find the grid of an array, dims "y" and "x" and others.

    Parameters
    ----------
    image
        The array.
    name
        What messages call it.

    Raises
    ------
    GridError
        When its coordinates are not evenly spaced, or there is nothing that tells the size of its only row or column.
    """
    crs = image.rio.crs
    n_row, n_col = image.sizes["y"], image.sizes["x"]
    return Grid((n_row, n_col), _transform_of(image, name), None if crs is None else crs.to_wkt())


def _transform_of(image: xr.DataArray, name: str) -> Affine:
    stated = _stated_transform(image)
    if stated is not None and not is_upright(stated):
        return stated
    if not {"y", "x"} <= set(image.coords):
        return Affine.identity() if stated is None else stated
    known = (None, None) if stated is None else ((stated.f, stated.e), (stated.c, stated.a))
    (top, down), (left, right) = (
        _axis(np.asarray(image.coords[dim].values, np.float64), axis, f"{dim} of {name}")
        for dim, axis in zip(("y", "x"), known, strict=True)
    )
    return Affine(right, 0.0, left, 0.0, down, top)


def _stated_transform(image: xr.DataArray) -> Affine | None:
    place = image.coords.get(image.rio.grid_mapping)
    text = None if place is None else place.attrs.get("GeoTransform")
    if text is None:
        return None
    return Affine.from_gdal(*map(float, text.split() if isinstance(text, str) else text))


def is_upright(transform: Affine) -> bool:
    """Whether rows and columns run along the axes of the map."""
    return bool(transform.b == 0 and transform.d == 0)


def _axis(centres: NDArray[np.float64], stated: Axis | None, name: str) -> Axis:
    """Find edge and step of pixels from their centres.

    Parameters
    ----------
    centres
        In map units.
    stated
        Axis of the raster from which the pixels may have been cut, flipped or not.
    name
        Of the coordinate, for messages.
    """
    step, first = _step(centres, stated, name), float(centres[0])
    if stated is not None and abs(step) == abs(stated[1]):
        edge, size = stated
        place = (first - edge) / size - 0.5
        if abs(place - round(place)) <= _ON_LATTICE:
            return edge + size * (round(place) + (step != size)), step
    return first - step / 2, step


def _step(centres: NDArray[np.float64], stated: Axis | None, name: str) -> float:
    """Measure a step; one that is stated, or short, is meant where it is as good."""
    if centres.size == 1:
        if stated is not None:
            return stated[1]
        msg = f"{name} needs two pixels or a transform to tell their size, got one; add it by .rio.write_transform()"
        raise GridError(msg)
    step = float(centres[-1] - centres[0]) / (centres.size - 1)
    off = np.abs(centres - (centres[0] + step * np.arange(centres.size))).max()
    if step == 0 or not off <= _OFF_AXIS * abs(step):
        steps = np.diff(centres)
        msg = (
            f"{name} must be evenly spaced, got steps from {steps.min():.10g} to {steps.max():.10g}; resample the "
            "array to a regular grid, or store its coordinates as float64"
        )
        raise GridError(msg)
    # Coordinates of 5e6 m hold a step of 0.3 m to nine digits only.
    meant = [(float(f"{step:.12g}"), _ON_LATTICE)]
    if stated is not None:
        meant.insert(0, (math.copysign(stated[1], step), _OFF_AXIS))
    return next((exact for exact, most in meant if abs(exact - step) * centres.size <= most * abs(step)), step)
