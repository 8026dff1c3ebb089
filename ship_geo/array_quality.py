"""Judging a sharpened array beside the arrays, or the files, that it was made from.

For images in memory or lazy; files alone are judged by `ship_geo.assessment`, with the same indices and limits. The
convention that could surprise: all inputs are computed in one go, so that what a lazy result shares with them is
computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import rioxarray
import xarray as xr
from dask.base import compute
from numpy.typing import NDArray

from ship_geo import metrics
from ship_geo._typing import PathLike
from ship_geo.array_pair import Image, open_pair, read_image
from ship_geo.assessment.scene import MAX_PIXELS, assess_scene
from ship_geo.data.reader import ArrayPairReader
from ship_geo.errors import ArgumentError
from ship_geo.grids import Grid
from ship_geo.raster import find_valid
from ship_geo.scene import open_scene
from ship_geo.sensors import Sensor

Raster = xr.DataArray | xr.Dataset

_TOLERANCE = 1e-3  # pixels


def assess_arrays(
    fused: Raster,
    *,
    ms: Raster | PathLike | Sequence[PathLike],
    pan: Raster | PathLike,
    ref: Raster | PathLike | None = None,
    sensor: str | Sensor | None = None,
    bands: Sequence[str] | None = None,
) -> dict[str, float]:
    """Compute all indices of a sharpened array.

    Parameters
    ----------
    fused
        The result, on the output grid of the pair.
    ms, pan
        The pair it was made from: both arrays, or both files.
    ref
        A reference on the same grid, where one exists.
    sensor, bands
        As in `ship_geo.pansharpen`.

    Returns
    -------
    dict of str to float
        Indices of `ship_geo.metrics.full_reference` where there is a reference, and of `no_reference`.

    Raises
    ------
    ArgumentError
        If an image is not on the output grid, or too large, or only one of the pair is an array.
    """
    if isinstance(ms, xr.DataArray | xr.Dataset) and isinstance(pan, xr.DataArray | xr.Dataset):
        return _assess_pair(fused, ms, pan, ref, sensor, bands)
    if isinstance(ms, xr.DataArray | xr.Dataset) or isinstance(pan, xr.DataArray | xr.Dataset):
        msg = (
            f"`ms` and `pan` are both arrays or both files, got {type(ms).__name__} and {type(pan).__name__}; open both"
        )
        raise ArgumentError(msg)
    return assess_scene(_one_array(fused), open_scene(ms=ms, pan=pan, sensor=sensor, bands=bands), _one_array(ref))


def _assess_pair(
    fused: Raster,
    ms: Raster,
    pan: Raster,
    ref: Raster | PathLike | None,
    sensor: str | Sensor | None,
    bands: Sequence[str] | None,
) -> dict[str, float]:
    pair = open_pair(ms, pan, sensor=sensor, bands=bands)
    scene = pair.scene
    grid, n_band = scene.pair.output, scene.ms.n_band
    n_row, n_col = grid.shape
    if n_row * n_col > MAX_PIXELS:
        msg = f"quality takes images of at most {MAX_PIXELS} pixels, got {n_row} x {n_col}; crop all inputs"
        raise ArgumentError(msg)
    images = [
        _on_grid(image, grid, n_band, name) for image, name in ((fused, "fused"), (ref, "ref")) if image is not None
    ]
    held = compute(pair.ms.values, pair.pan.values, *(image.values for image in images))
    reader = ArrayPairReader(held[0], held[1], pair=scene.pair, nodata_ms=scene.ms.nodata, nodata_pan=scene.pan.nodata)
    sample = reader.read(0, n_row, 0, n_col, margin=0)
    (values, valid), *rest = (_masked(*both) for both in zip(held[2:], images, strict=True))
    known = valid & sample.pan_valid
    report: dict[str, float] = {}
    for expected, also in rest:
        ratio, peak = float(np.mean(scene.pair.ratio)), 2.0**scene.sensor.bits - 1
        report = metrics.full_reference(values, expected, ratio=ratio, peak=peak, valid=known & also)
    return report | metrics.no_reference(
        values,
        sample.ms.astype(np.float64),
        sample.pan.astype(np.float64),
        ratio=sample.ratio,
        phase=sample.phase,
        gnyq_ms=scene.sensor.gnyq_ms,
        valid=known,
    )


def _on_grid(image: Raster | PathLike, grid: Grid, n_band: int, name: str) -> Image:
    opened: Any = image if isinstance(image, xr.DataArray | xr.Dataset) else rioxarray.open_rasterio(image)
    found = read_image(opened, name)
    wanted = (n_band, *grid.shape)
    steps = np.abs(np.subtract(found.grid.transform[:6], grid.transform[:6])) / max(grid.resolution)
    if found.values.shape != wanted or float(steps.max()) > _TOLERANCE:
        msg = (
            f"{name} must lie on the output grid of the pair, got {found.values.shape} at {found.grid.transform[:6]} "
            f"instead of {wanted} at {grid.transform[:6]}; pass the images that belong together"
        )
        raise ArgumentError(msg)
    return found


def _masked(values: NDArray[Any], image: Image) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    valid: NDArray[np.bool_] = np.logical_and.reduce(find_valid(values, image.nodata), axis=0)
    return np.where(valid, values, 0).astype(np.float64), valid


def _one_array(image: Raster | PathLike | None) -> Any:
    """Return what `assess_scene` takes: an array with bands, or a path."""
    return image.to_dataarray("band") if isinstance(image, xr.Dataset) else image
