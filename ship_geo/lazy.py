"""Sharpened scenes as lazy arrays: a Dask graph whose tasks carry coordinates in and blocks out.

Building the graph opens no pixel and computes nothing; statistics are one task on which all blocks depend. Not for
writing files. The convention that could surprise: chunks are the output's only, the windows of the model stay where
they are, so any chunking gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  the accessor .rio
import xarray as xr
from dask.delayed import delayed

from ship_geo.errors import ArgumentError
from ship_geo.grids import pixel_centres
from ship_geo.jobs import Job, measure, sharpen
from ship_geo.provenance import UNITS
from ship_geo.stats import SceneStats
from ship_geo.tiling import Plan

TARGET_CHUNK = 1792
"""Rows and columns that chunks have unless asked otherwise, rounded to whole strides of the model's windows."""

SMALL_CHUNK = 512
"""The same where windows do not overlap: no window is fused for two chunks, and a small part of a scene stays cheap."""

Chunks = int | tuple[int, int] | str | None


def chunk_shape(chunks: Chunks, plan: Plan) -> tuple[int, int]:
    """Rows and columns of a chunk.

    Parameters
    ----------
    chunks
        Number, (row, col), ``"auto"``, or None or -1 for one chunk.
    plan
        Windows of the output.

    Raises
    ------
    ArgumentError
        If `chunks` is none of these.
    """
    if chunks == "auto":
        step = plan.rows.stride
        size = max(1, round((TARGET_CHUNK if plan.overlap else SMALL_CHUNK) / step)) * step
        return min(size, plan.shape[0]), min(size, plan.shape[1])
    pair: Sequence[object] = chunks if isinstance(chunks, tuple) else (chunks, chunks)
    sizes = [n if size in (None, -1) else size for size, n in zip(pair, plan.shape, strict=False)]
    whole = [size for size in sizes if isinstance(size, int) and size > 0]
    if len(pair) != len(plan.shape) or len(whole) != len(plan.shape):
        msg = f"chunks are a number of pixels, (row, col), 'auto' or None, got {chunks!r}; for instance chunks=1024"
        raise ArgumentError(msg)
    return min(whole[0], plan.shape[0]), min(whole[1], plan.shape[1])


def lazy_array(job: Job, chunks: Chunks) -> xr.DataArray:
    """Describe a sharpened scene as a Dask-backed array.

    Parameters
    ----------
    job
        What is to be done.
    chunks
        See `chunk_shape`.

    Returns
    -------
    xarray.DataArray
        Dims ("band", "y", "x"), data type of MS.
    """
    size = chunk_shape(chunks, job.plan)
    task = delayed(job, name=f"ship-job-{job.token}", traverse=False)
    stats = delayed(measure, pure=True)(task, dask_key_name=f"ship-statistics-{job.token}")
    kind = np.dtype(job.dtype)
    # One layer with a rule instead of a task per chunk: made in no time, whatever the size of the scene.
    values = da.map_blocks(
        sharpen_chunk,
        job=task,
        stats=stats,
        size=size,
        chunks=((len(job.gnyq_ms),), *(_cut(n, step) for n, step in zip(job.plan.shape, size, strict=True))),
        dtype=kind,
        meta=np.empty((0, 0, 0), kind),
        name=f"ship-sharpen-{job.token}-{size[0]}-{size[1]}",
    )
    return describe(values, job)


def sharpen_chunk(job: Job, stats: SceneStats, size: tuple[int, int], block_id: tuple[int, int, int]) -> Any:
    """Sharpen the chunk of a number and give its values alone, (band, row, col)."""
    (row0, row1), (col0, col1) = (
        (index * step, min((index + 1) * step, n))
        for index, step, n in zip(block_id[1:], size, job.plan.shape, strict=True)
    )
    return sharpen(job, stats, (row0, row1, col0, col1)).values


def _cut(n: int, step: int) -> tuple[int, ...]:
    return tuple(min(step, n - start) for start in range(0, n, step))


def describe(values: Any, job: Job) -> xr.DataArray:
    """Wrap an array (band, row, col) with coordinates, CRS, nodata and attributes of a job."""
    scene, grid = job.scene, job.scene.pair.output
    xs, ys = pixel_centres(grid)
    array = xr.DataArray(
        values,
        dims=("band", "y", "x"),
        coords={"band": list(scene.ms.roles), "y": ys, "x": xs},
        name="pansharpened",
        attrs=attributes(job),
    )
    if grid.crs is not None:
        array = array.rio.write_crs(grid.crs)
    array = array.rio.write_transform(grid.transform)
    return array if job.nodata is None else xr.DataArray(array.rio.write_nodata(job.nodata))


def attributes(job: Job) -> dict[str, Any]:
    """Provenance of a sharpened scene: plain values that survive in files."""
    scene = job.scene
    names = [text or role for text, role in zip(scene.ms.descriptions, scene.ms.roles, strict=True)]
    known = {"time": scene.time} if scene.time else {}
    return {
        "long_name": tuple(names),
        "sensor": scene.sensor.title,
        **known,
        "scene_geometry": scene.geometry,  # CF gives another meaning to plain "geometry"
        "radiometry": job.radiometry,
        "units": UNITS[job.radiometry],
        "model": job.spec.name,
        "model_digest": job.spec.digest,
    }


def run_facts(job: Job) -> dict[str, Any]:
    """Return what a run is: model, radiometry, shift and parameters, as values that JSON can hold."""
    parameters = {
        "window": job.plan.window,
        "overlap": job.plan.overlap,
        "precision": job.precision,
        "bands": list(job.scene.ms.roles),
        "gnyq_ms": list(job.gnyq_ms),
        "bits": job.bits,
    }
    return {
        "model": job.spec.name,
        "model_digest": job.spec.digest,
        "kind": job.spec.kind,
        "radiometry": job.radiometry,
        "shift": shift_facts(job),
        "parameters": parameters,
    }


def shift_facts(job: Job) -> dict[str, Any] | None:
    """Return the shift between PAN and MS that was measured, MS pixels; None where nobody looked."""
    shift = job.scene.shift
    if shift is None:
        return None
    return {
        "row": round(shift.row, 4),
        "col": round(shift.col, 4),
        "confidence": round(shift.confidence, 3),
        "n_window": shift.n_window,
        "spread": round(shift.spread, 4),
    }
