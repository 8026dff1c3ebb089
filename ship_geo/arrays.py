"""Sharpening two DataArrays, in memory or lazy, through the same windows and statistics as files.

A block of the output depends on those parts of both inputs that lie under it and on one task of statistics, so nothing
is computed before it is asked for, and only what it needs. Not for files: those are opened by the workers themselves.
Two conventions could surprise. Inputs are cut into the parts that blocks need, chunk by chunk, so that a chunk is
computed once however many blocks touch it. And only where no sampled window holds a valid pixel, the task of statistics
computes the others itself, which it needs the graphs of both inputs for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask._task_spec import DataNode, GraphNode, List, Task, TaskRef
from dask.base import tokenize
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph
from dask.typing import Key
from numpy.typing import NDArray

from ship_geo._typing import Box
from ship_geo.array_pair import ArrayPair, open_pair
from ship_geo.coarser import block_windows, make_coarser
from ship_geo.data.reader import MARGIN, ArrayPairReader, PairSample
from ship_geo.inference import ReaderSource, measure_window, observe_window, observed_windows
from ship_geo.jobs import Job, coarse_pair, complete, sharpen
from ship_geo.lazy import Chunks, chunk_shape, describe
from ship_geo.mixture import MAX_BLOCKS, SIDE
from ship_geo.ops.moments import Moments
from ship_geo.ops.views import BandView, fit_views
from ship_geo.sampling import statistics_windows
from ship_geo.sensors import Sensor
from ship_geo.stats import SceneStats, WindowStats
from ship_geo.tiling import Plan, Window

Span = tuple[int, int]
Graph = dict[Key, GraphNode]


def sharpen_arrays(
    ms: xr.DataArray | xr.Dataset,
    pan: xr.DataArray | xr.Dataset,
    *,
    sensor: str | Sensor | None,
    bands: Sequence[str] | None,
    model: Any,
    device: str,
    precision: str,
    chunks: Chunks,
) -> xr.DataArray:
    """Describe the sharpened image of two arrays; see `ship_geo.pansharpen`."""
    pair = open_pair(ms, pan, sensor=sensor, bands=bands)
    job = Job.of(pair.scene, model, device, precision)
    return pair.place(describe(_lazy_values(job, pair, chunk_shape(chunks, job.plan)), job))


def _lazy_values(job: Job, pair: ArrayPair, size: tuple[int, int]) -> da.Array:
    """Put the blocks of a job together, as one layer over the graphs of both inputs."""
    parts = _Parts(job, pair.ms.values, pair.pan.values)
    stats = _add_statistics(parts)
    name = f"ship-sharpen-{tokenize(job.token, size)}"
    for block in job.plan.blocks(size):
        key = (name, 0, block[0] // size[0], block[2] // size[1])
        parts.graph[key] = Task(key, _sharpen_parts, parts.job_ref, stats, block, *parts.under_block(block))
    spans = [_sizes(n, step) for n, step in zip(job.plan.shape, size, strict=True)]
    dtype = np.dtype(job.dtype)
    return da.Array(
        parts.over_inputs(name), name, ((len(job.gnyq_ms),), *spans), dtype=dtype, meta=np.empty((0, 0, 0), dtype)
    )


def _sizes(length: int, step: int) -> tuple[int, ...]:
    return tuple(min(step, length - start) for start in range(0, length, step))


@dataclass(frozen=True)
class _Layout:
    """How an array is put together: its shape, its pixel (row, col) on its grid, and the corner of each part in it."""

    shape: tuple[int, int, int]
    start: tuple[int, int]
    corners: tuple[tuple[int, int, int], ...]


_Along = tuple[int, int, list[tuple[int, int, Span]]]
"""A span inside an axis: start, length, and of each chunk: index, where in the span it starts, what is used of it."""


class _Cutter:
    """Cuts an image (band, row, col) into what windows need; equal parts are one task."""

    def __init__(self, image: da.Array, graph: Graph) -> None:
        self.image, self.graph = image, graph
        self._edges = [list(accumulate(sizes, initial=0)) for sizes in image.chunks]
        self._bands = list(enumerate(self._edges[0][:-1]))
        self._found: dict[tuple[int, int, int], _Along] = {}
        self._name = f"ship-part-{tokenize(image.name)}"

    def cut(self, rows: Span, cols: Span) -> tuple[List, _Layout]:
        """Cut pixels of the grid, as far as they are inside; at least one."""
        bands, (row0, n_row, on_rows), (col0, n_col, on_cols) = self._bands, self._along(1, rows), self._along(2, cols)
        refs = [
            self._part((band, i, j), row, col) for band, _ in bands for i, _, row in on_rows for j, _, col in on_cols
        ]
        corners = tuple((band, row, col) for _, band in bands for _, row, _ in on_rows for _, col, _ in on_cols)
        return List(*refs), _Layout((self.image.shape[0], n_row, n_col), (row0, col0), corners)

    def _along(self, axis: int, span: Span) -> _Along:
        """Find what a span shares with the chunks of an axis; blocks of one row or column ask for the same."""
        key = (axis, *span)
        if key not in self._found:
            edges, size = self._edges[axis], self.image.shape[axis]
            start = min(max(span[0], 0), size - 1)
            stop = max(min(span[1], size), start + 1)
            touched = []
            for index in range(bisect_right(edges, start) - 1, bisect_left(edges, stop)):
                low, high = max(edges[index], start), min(edges[index + 1], stop)
                if low < high:  # chunks may be empty
                    touched.append((index, low - start, (low - edges[index], high - edges[index])))
            self._found[key] = (start, stop - start, touched)
        return self._found[key]

    def _part(self, chunk: tuple[int, int, int], rows: Span, cols: Span) -> TaskRef:
        source = (self.image.name, *chunk)
        sizes = (self.image.chunks[1][chunk[1]], self.image.chunks[2][chunk[2]])
        if (rows, cols) == ((0, sizes[0]), (0, sizes[1])):
            return TaskRef(source)
        key = (self._name, *chunk, *rows, *cols)
        if key not in self.graph:
            self.graph[key] = Task(key, _take, TaskRef(source), rows, cols)
        return TaskRef(key)


class _Parts:
    """The graph of a job, and what its tasks need of both inputs."""

    def __init__(self, job: Job, ms: da.Array, pan: da.Array) -> None:
        key = f"ship-job-{job.token}"
        self.job, self.job_ref = job, TaskRef(key)
        self.graph: Graph = {key: DataNode(key, job)}
        self.ms, self.pan = _Cutter(ms, self.graph), _Cutter(pan, self.graph)

    def under_block(self, block: Box) -> tuple[List, _Layout, List, _Layout]:
        """Parts under all windows of a block."""
        plan = self.job.plan
        rows, cols = plan.rows.touching(*block[:2]), plan.cols.touching(*block[2:])
        row0, col0 = plan.rows.start(rows[0]), plan.cols.start(cols[0])
        row1, col1 = (axis.start(found[-1]) + plan.window for axis, found in ((plan.rows, rows), (plan.cols, cols)))
        return self.under((row0, row1, col0, col1))

    def under(self, core: Box, halo: int | None = None) -> tuple[List, _Layout, List, _Layout]:
        """Parts under pixels of the output grid and their halo, that of the job unless told otherwise."""
        pair, halo = self.job.scene.pair, self.job.plan.halo if halo is None else halo
        rows, cols = (core[0] - halo, core[1] + halo), (core[2] - halo, core[3] + halo)
        ms_rows, ms_cols = pair.ms_from_pan(rows, cols, MARGIN)
        row0, _, col0, _ = pair.overlap
        pan_rows, pan_cols = (rows[0] + row0, rows[1] + row0), (cols[0] + col0, cols[1] + col0)
        return *self.ms.cut(ms_rows, ms_cols), *self.pan.cut(pan_rows, pan_cols)

    def measure(self, index: int, window: Window, views: Any) -> TaskRef:
        """Add the task that measures a window of the statistics; `views` are those of the scene, or their task."""
        key = (f"ship-window-{self.job.token}", index)
        self.graph[key] = Task(key, _measure_parts, self.job_ref, window, views, *self.under(window.core))
        return TaskRef(key)

    def observe(self, index: int, window: Window) -> TaskRef:
        """Add the task that compares the bands of a window with PAN."""
        key = (f"ship-look-{self.job.token}", index)
        self.graph[key] = Task(key, _observe_parts, self.job_ref, window, *self.under(window.core))
        return TaskRef(key)

    def over_inputs(self, name: str) -> HighLevelGraph:
        """Return the graph as one layer over those of both inputs."""
        inputs: list[Any] = [self.ms.image, self.pan.image]
        return HighLevelGraph.from_collections(name, self.graph, dependencies=inputs)


def _add_statistics(parts: _Parts) -> TaskRef:
    plan = parts.job.sample_plan
    chosen = statistics_windows(plan)
    views = _add_views(parts)
    measured = List(*(parts.measure(index, window, views) for index, window in enumerate(chosen)))
    inputs = _Inputs(parts.ms.image, parts.pan.image) if len(chosen) < len(plan) else None
    key = f"ship-statistics-{parts.job.token}"
    parts.graph[key] = Task(key, _merge, parts.job_ref, measured, views, inputs)
    return _add_mixture(parts, TaskRef(key)) if parts.job.observes else TaskRef(key)


def _add_mixture(parts: _Parts, stats: TaskRef) -> TaskRef:
    """Add the tasks that read the scene one scale coarser, and that which learns the mixture from them."""
    job, key = parts.job, f"ship-mixture-{parts.job.token}"
    plan, windows = block_windows(coarse_pair(job, ()), SIDE, MAX_BLOCKS)
    samples = []
    for index, window in enumerate(windows):
        name = (f"ship-coarse-{job.token}", index)
        parts.graph[name] = Task(name, _sample_parts, parts.job_ref, window, plan, *parts.under(window.core, plan.halo))
        samples.append(TaskRef(name))
    parts.graph[key] = Task(key, _complete, parts.job_ref, stats, List(*samples))
    return TaskRef(key)


def _add_views(parts: _Parts) -> TaskRef:
    """Add the tasks that find out how each band sees what PAN sees, as far as the job wants to know."""
    plan, key = parts.job.sample_plan, f"ship-views-{parts.job.token}"
    chosen = observed_windows(plan) if parts.job.observes else []
    looks = List(*(parts.observe(index, window) for index, window in enumerate(chosen)))
    parts.graph[key] = Task(key, _find_views, parts.job_ref, looks)
    return TaskRef(key)


@dataclass(frozen=True, eq=False)
class _Inputs:
    """Both inputs with their graphs, hidden from Dask, which would compute them before the task that holds them."""

    ms: da.Array
    pan: da.Array


def _merge(
    job: Job, measured: Sequence[WindowStats], views: tuple[BandView, ...], inputs: _Inputs | None
) -> SceneStats:
    if inputs is not None and not any(part.moments.count for part in measured):
        measured = _measure_all(job, views, inputs)
    return SceneStats.merged(measured, job.scene.sensor.roles, views)


def _find_views(job: Job, looks: Sequence[Moments]) -> tuple[BandView, ...]:
    return fit_views(looks, job.gnyq_ms, job.scene.pair.ratio) if looks else ()


def _measure_all(job: Job, views: tuple[BandView, ...], inputs: _Inputs) -> list[WindowStats]:
    """Measure every window, from inside a task: most of a large scene is masked, and the sample met nothing else."""
    parts = _Parts(job, inputs.ms, inputs.pan)
    key = f"ship-all-windows-{job.token}"
    refs = [parts.measure(index, window, views) for index, window in enumerate(job.sample_plan.windows())]
    parts.graph[key] = Task(key, list, List(*refs))
    made: list[WindowStats] = Delayed(key, parts.over_inputs(key)).compute()
    return made


def _take(chunk: Any, rows: Span, cols: Span) -> NDArray[Any]:
    """Cut a part off a chunk; a small one is copied, so that it does not keep the whole chunk in memory."""
    whole = np.asarray(chunk)
    part = whole[:, slice(*rows), slice(*cols)]
    return part.copy() if 2 * part.size <= whole.size else part


def _join(parts: Sequence[Any], layout: _Layout) -> NDArray[Any]:
    if len(parts) == 1:
        return np.asarray(parts[0])
    whole = np.empty(layout.shape, parts[0].dtype)
    for part, (band, row, col) in zip(parts, layout.corners, strict=True):
        n_band, n_row, n_col = part.shape
        whole[band : band + n_band, row : row + n_row, col : col + n_col] = part
    return whole


def _source(job: Job, ms: Sequence[Any], ms_layout: _Layout, pan: Sequence[Any], pan_layout: _Layout) -> ReaderSource:
    scene = job.scene
    reader = ArrayPairReader(
        _join(ms, ms_layout),
        _join(pan, pan_layout),
        pair=scene.pair,
        nodata_ms=scene.ms.nodata,
        nodata_pan=scene.pan.nodata,
        ms_start=ms_layout.start,
        pan_start=pan_layout.start,
    )
    return ReaderSource(reader)


def _sharpen_parts(job: Job, stats: SceneStats, block: Box, *parts: Any) -> NDArray[Any]:
    return sharpen(job, stats, block, _source(job, *parts)).values


def _measure_parts(job: Job, window: Window, views: tuple[BandView, ...], *parts: Any) -> WindowStats:
    return measure_window(_source(job, *parts), job.sample_plan, window, job.scene.sensor, views)


def _sample_parts(job: Job, window: Window, plan: Plan, *parts: Any) -> PairSample:
    (sample,) = _source(job, *parts).samples(plan, [window])
    return sample


def _complete(job: Job, stats: SceneStats, samples: Sequence[PairSample]) -> SceneStats:
    return complete(job, stats, make_coarser(samples, coarse_pair(job, stats.views), SIDE))


def _observe_parts(job: Job, window: Window, *parts: Any) -> Moments:
    return observe_window(_source(job, *parts), job.sample_plan, window)
