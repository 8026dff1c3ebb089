"""Judging a sharpened scene: brings fused, pair and reference onto one grid and calls the indices.

Not for the indices themselves, see `ship_geo.metrics`. Whole images in memory: a limit refuses what would not fit.
"""

from __future__ import annotations

import numpy as np
import rioxarray
import xarray as xr
from numpy.typing import NDArray

from ship_geo import metrics
from ship_geo._typing import PathLike
from ship_geo.data.reader import FilePairReader
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.grids import Grid
from ship_geo.raster import inspect
from ship_geo.scene import Scene

MAX_PIXELS = 40_000_000
"""Output pixels that are judged at once; indices hold several float64 copies of every band."""

_TOLERANCE = 1e-3

Image = tuple[NDArray[np.float64], NDArray[np.bool_]]


def assess_scene(
    fused: PathLike | xr.DataArray, scene: Scene, ref: PathLike | xr.DataArray | None = None
) -> dict[str, float]:
    """Compute all indices of a result.

    Parameters
    ----------
    fused
        The result on the output grid of `scene`.
    scene
        The pair it was made from.
    ref
        Reference on the same grid, or None.

    Returns
    -------
    dict of str to float
        Indices of `ship_geo.metrics.full_reference` where there is a reference, and of `no_reference`.

    Raises
    ------
    ArgumentError
        If an image is not on the output grid, or too large.
    """
    shape = scene.pair.output.shape
    if shape[0] * shape[1] > MAX_PIXELS:
        msg = f"quality takes images of at most {MAX_PIXELS} pixels, got {shape[0]} x {shape[1]}; crop all inputs"
        raise ArgumentError(msg)
    values, valid = _open_on_grid(fused, scene.pair.output, scene.ms.n_band, "fused")
    pair = FilePairReader(scene).read(0, shape[0], 0, shape[1], margin=0)
    known = valid & pair.pan_valid
    report: dict[str, float] = {}
    if ref is not None:
        expected, also = _open_on_grid(ref, scene.pair.output, scene.ms.n_band, "reference")
        peak = 2.0**scene.sensor.bits - 1
        report |= metrics.full_reference(
            values, expected, ratio=float(np.mean(scene.pair.ratio)), peak=peak, valid=known & also
        )
    return report | metrics.no_reference(
        values,
        pair.ms.astype(np.float64),
        pair.pan.astype(np.float64),
        ratio=pair.ratio,
        phase=pair.phase,
        gnyq_ms=scene.sensor.gnyq_ms,
        valid=known,
    )


def _open_on_grid(image: PathLike | xr.DataArray, grid: Grid, n_band: int, name: str) -> Image:
    """Read an image and its mask, after checking that it lies on the grid."""
    if not isinstance(image, xr.DataArray):
        inspect(image)  # missing, empty or damaged files are named as such
        opened = rioxarray.open_rasterio(image, masked=True)
        if not isinstance(opened, xr.DataArray):
            msg = f"the {name} is one raster, got subdatasets in {image}; name one of them"
            raise ProductError(msg)
        image = opened
    elif image.rio.nodata is not None and image.rio.encoded_nodata is None:
        image = image.where(image != image.rio.nodata)
    values = np.asarray(image.values, np.float64)
    if values.shape != (n_band, *grid.shape):
        msg = (
            f"the {name} lies on the output grid of the pair, got shape {values.shape} instead of "
            f"{(n_band, *grid.shape)}; pass the images that belong together"
        )
        raise ArgumentError(msg)
    transform = image.rio.transform()
    steps = np.abs(np.subtract(transform[:6], grid.transform[:6])) / max(grid.resolution)
    if float(steps.max()) > _TOLERANCE and grid.crs is not None:
        msg = (
            f"the {name} lies on the output grid of the pair, got transform {tuple(transform[:6])} instead of "
            f"{tuple(grid.transform[:6])}; pass the images that belong together"
        )
        raise ArgumentError(msg)
    valid: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(values), axis=0)
    return np.where(valid, values, 0), valid
