"""Sharpening two DataArrays, in memory or lazy, through the same windows and statistics as files.

A block of the output depends on slices of both inputs and on one task of statistics, so nothing is computed before it
is asked for, and only what it needs. Not for files: those are opened by the workers themselves. The convention that
could surprise: inputs are cut into the slices that blocks need, so a window near a block's edge is read twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  the accessor .rio
import xarray as xr
from dask.base import tokenize
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from ship_geo._typing import Box
from ship_geo.data.reader import MARGIN, ArrayPairReader
from ship_geo.errors import ArgumentError
from ship_geo.grids import Grid
from ship_geo.inference import ReaderSource, measure_window
from ship_geo.jobs import Job, sharpen
from ship_geo.lazy import Chunks, assemble, chunk_shape
from ship_geo.products.layers import Layer
from ship_geo.products.product import Acquisition
from ship_geo.products.roles import find_roles
from ship_geo.raster import BandRef
from ship_geo.scene import Scene, fit_sensor
from ship_geo.sensors import Sensor, find_sensor
from ship_geo.stats import SceneStats, WindowStats, spread
from ship_geo.tiling import Window

Slice = tuple[Delayed, tuple[int, int]]
"""Part of an input, to be computed, and the pixel (row, col) of its grid at which it starts."""


def sharpen_arrays(
    ms: xr.DataArray,
    pan: xr.DataArray,
    *,
    sensor: str | Sensor | None,
    bands: Sequence[str] | None,
    model: Any,
    device: str,
    precision: str,
    chunks: Chunks,
) -> xr.DataArray:
    """Describe the sharpened image of two arrays; see `ship_geo.pansharpen`."""
    ms, pan = _with_bands(ms, "ms"), _with_bands(pan, "pan")
    if pan.sizes["band"] != 1:
        msg = f"PAN must have one band, got {pan.sizes['band']}; pass the panchromatic band alone"
        raise ArgumentError(msg)
    scene = _scene_of(ms, pan, find_sensor(sensor) if isinstance(sensor, str) else sensor, bands)
    job = Job.of(scene, model, device, precision)
    parts = _Parts(job, _as_dask(ms), _as_dask(pan))
    task = delayed(job, name=f"ship-job-{job.token}", traverse=False)
    stats = _stats_task(job, task, parts)

    def block_task(block: Box, key: str) -> Delayed:
        slices = parts.under_block(block)
        made: Delayed = delayed(_sharpen_slices, pure=True)(task, stats, block, slices, dask_key_name=key)
        return made

    return assemble(job, chunk_shape(chunks, job.plan), block_task)


def _with_bands(image: xr.DataArray, name: str) -> xr.DataArray:
    if not isinstance(image, xr.DataArray):
        got = type(image).__name__
        msg = f"{name} must be an xarray.DataArray with .rio georeference, got {got}; open it by rioxarray"
        raise ArgumentError(msg)
    if {"y", "x"} <= set(map(str, image.dims)) and set(map(str, image.dims)) <= {"band", "y", "x"}:
        whole = image if "band" in image.dims else image.expand_dims("band")
        return whole.transpose("band", "y", "x")
    msg = f"{name} has the dims ('band', 'y', 'x'), got {image.dims}; rename or select them"
    raise ArgumentError(msg)


def _as_dask(image: xr.DataArray) -> da.Array:
    held = image.data
    return held if isinstance(held, da.Array) else da.from_array(held, chunks=(-1, 1024, 1024))


def _scene_of(ms: xr.DataArray, pan: xr.DataArray, sensor: Sensor | None, bands: Sequence[str] | None) -> Scene:
    ms_layer, pan_layer = _layer(ms, "ms"), _layer(pan, "pan")
    roles, notes = find_roles(ms_layer.files, ms_layer.descriptions, ms_layer.colours, sensor=sensor, bands=bands)
    ms_layer, pan_layer = replace(ms_layer, roles=roles), replace(pan_layer, roles=("pan",))
    fitted, more = fit_sensor(sensor, ms_layer, is_given=sensor is not None)
    time = ms.attrs.get("time")
    return Scene(
        ms_layer,
        pan_layer,
        fitted,
        Acquisition(time=str(time) if time else None),
        family="arrays",
        notes=(*notes, *more),
        name="arrays",
    )


def _layer(image: xr.DataArray, name: str) -> Layer:
    n_band, n_row, n_col = image.shape
    crs = image.rio.crs
    names = image.attrs.get("long_name", ())
    if "band" in image.coords and image.coords["band"].dtype.kind in "UO":
        names = image.coords["band"].values.tolist()
    texts = tuple(map(str, names)) if not isinstance(names, str) and len(names) == n_band else ("",) * n_band
    nodata = image.rio.nodata
    path = f"/vsimem/{name}-{tokenize(image)}"
    return Layer(
        files=tuple(BandRef(path, band) for band in range(1, n_band + 1)),
        grid=Grid((n_row, n_col), image.rio.transform(), None if crs is None else crs.to_wkt()),
        dtype=image.dtype.name,
        nodata=None if nodata is None else float(nodata),
        roles=tuple(f"band{band}" for band in range(1, n_band + 1)),
        descriptions=texts,
        colours=("undefined",) * n_band,
        scales=(1.0,) * n_band,
        offsets=(0.0,) * n_band,
    )


class _Parts:
    """Cuts the slices of both inputs that windows need."""

    def __init__(self, job: Job, ms: da.Array, pan: da.Array) -> None:
        self.job, self.ms, self.pan = job, ms, pan

    def under_block(self, block: Box) -> tuple[Slice, Slice]:
        """Slices under all windows of a block."""
        cores = [window.core for window in self.job.plan.windows_in(*block)]
        first, last = cores[0], cores[-1]
        return self.under((first[0], last[1], first[2], last[3]))

    def under(self, core: Box) -> tuple[Slice, Slice]:
        """Slices under pixels of the output grid and their halo."""
        pair, halo = self.job.scene.pair, self.job.plan.halo
        rows, cols = (core[0] - halo, core[1] + halo), (core[2] - halo, core[3] + halo)
        ms_rows, ms_cols = pair.ms_from_pan(rows, cols, MARGIN)
        row0, _, col0, _ = pair.overlap
        pan_rows, pan_cols = (rows[0] + row0, rows[1] + row0), (cols[0] + col0, cols[1] + col0)
        return _cut(self.ms, ms_rows, ms_cols), _cut(self.pan, pan_rows, pan_cols)


def _cut(image: da.Array, rows: tuple[int, int], cols: tuple[int, int]) -> Slice:
    starts, stops = [], []
    for (start, stop), size in zip((rows, cols), image.shape[1:], strict=True):
        starts.append(min(max(start, 0), size - 1))
        stops.append(max(min(stop, size), starts[-1] + 1))
    part = image[:, starts[0] : stops[0], starts[1] : stops[1]].rechunk(-1)
    return part.to_delayed().item(), (starts[0], starts[1])


def _reader(
    job: Job, ms: tuple[NDArray[Any], tuple[int, int]], pan: tuple[NDArray[Any], tuple[int, int]]
) -> ReaderSource:
    scene = job.scene
    reader = ArrayPairReader(
        np.asarray(ms[0]),
        np.asarray(pan[0]),
        pair=scene.pair,
        nodata_ms=scene.ms.nodata,
        nodata_pan=scene.pan.nodata,
        ms_start=ms[1],
        pan_start=pan[1],
    )
    return ReaderSource(reader)


def _sharpen_slices(job: Job, stats: SceneStats, block: Box, slices: tuple[Any, Any]) -> NDArray[Any]:
    return sharpen(job, stats, block, _reader(job, *slices)).values


def _measure_slices(job: Job, window: Window, slices: tuple[Any, Any]) -> WindowStats:
    return measure_window(_reader(job, *slices), job.sample_plan, window, job.gnyq_ms)


def _stats_task(job: Job, task: Delayed, parts: _Parts) -> Delayed:
    windows = job.sample_plan.windows()
    measured = [
        delayed(_measure_slices, pure=True)(task, windows[index], parts.under(windows[index].core))
        for index in spread(len(windows))
    ]
    key = f"ship-statistics-{job.token}"
    merged: Delayed = delayed(SceneStats.merged, pure=True)(measured, dask_key_name=key)
    return merged
