"""Budgets: how large blocks are and how many are in flight, so that a job keeps to the memory it was given.

A model of memory with measured constants (``pipelines/bench/memory.py --constants`` measures them), no measurement at
run time: the same arguments must give the same blocks, or a job could not go on where it stopped. Host memory is the
resident memory of this process with everything it starts, or, on a cluster, of each worker process with one thread.
The convention that could surprise: nothing gets larger than its default because there is room; a larger budget only
keeps what a smaller one takes away.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.utils import format_bytes
from dask.utils import parse_bytes as parse_text

from ship_geo._typing import Shape
from ship_geo.dispatch import gpu_resources
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.fusers import GPU_BATCH, GPU_CONTEXT_BYTES, load_fuser, pick_device, pick_precision
from ship_geo.inference import CACHE_BYTES, measure_window, observe_window, prepare
from ship_geo.jobs import Job, open_source
from ship_geo.lazy import Chunks, chunk_shape
from ship_geo.nn.ship_plus_plus import ShipPlusPlusConfig
from ship_geo.nn.weights import resolve_weights
from ship_geo.ops.views import fit_views
from ship_geo.sampling import spread, statistics_windows
from ship_geo.stats import SceneStats

N_THREAD = 2
"""Blocks at a time on this machine, except for networks on the CPU: one is fused while the next is read."""

GPU_THREADS = 8
"""Blocks at a time, at most, where a GPU waits for windows to be read and prepared."""

BLOCK = 1024
"""Rows and columns of blocks where windows do not overlap, and where the budget does not make them smaller."""

MIB = 2**20

PROCESS_BYTES = 1250 * MIB
"""A process with all libraries loaded, open files, and the making of the COG."""

NETWORK_BYTES = 400 * MIB
"""Beside a network on a processor: memory that was freed and is kept for the next window."""

CUDA_BYTES = 1024 * MIB
"""Of the host, in a process that has started CUDA."""

PIXEL_BYTES = 6.0
"""Of a pixel of one band of a block, beside two copies in the output's data type: float32 sum, masks, the rest."""

WINDOW_VARIABLES = 8.0
"""Float32 images per band that exist while a window is read, prepared and fused."""

GPU_MARGIN = 1.5
"""What libraries take on a GPU per byte of activations: workspace, and gaps between blocks of memory."""

COPY_BYTES_PER_SECOND = 60e6
"""Staged bytes that become a COG with overviews in a second, per core."""


@dataclass(frozen=True)
class Budget:
    """What a job may take, and what follows from it.

    Attributes
    ----------
    block_shape
        Rows and columns of a block of the output.
    in_flight
        Blocks at a time in a process.
    batch
        Windows of one call of the model.
    host_bytes
        Resident memory that is expected at most.
    gpu_bytes
        Memory of the GPU that is expected at most; 0 without one.
    max_memory, max_gpu_memory
        What was allowed, bytes; None: anything.
    """

    block_shape: Shape
    in_flight: int
    batch: int
    host_bytes: int
    gpu_bytes: int
    max_memory: int | None = None
    max_gpu_memory: int | None = None

    @classmethod
    def of(
        cls,
        job: Job,
        chunks: Chunks = "auto",
        *,
        max_memory: str | int | None = None,
        max_gpu_memory: str | int | None = None,
        client: Any = None,
    ) -> Budget:
        """Choose blocks and batches for a job.

        Parameters
        ----------
        job
            The job.
        chunks
            Blocks that are wanted, see `ship_geo.lazy.chunk_shape`; ``"auto"`` makes them fit.
        max_memory, max_gpu_memory
            Bytes, or text such as ``"2GiB"`` or ``"500 MB"``; None: no limit.
        client
            Where the job will run, for whether there is a GPU; None: here.

        Raises
        ------
        ArgumentError
            When a size cannot be read, or a budget is too small for one window; the message tells which would do.
        """
        host, device = parse_size(max_memory, "max_memory"), parse_size(max_gpu_memory, "max_gpu_memory")
        on_gpu = job.spec.kind == "network" and _has_gpu(job, client)
        model = _Model.of(job, on_gpu=on_gpu)
        batch = model.batch_within(device)
        sizes = list(_sizes(job, chunks))
        most = min(GPU_THREADS, os.cpu_count() or 1) if on_gpu else model.most_in_flight
        for in_flight in range(max(1, most), 0, -1):
            for size in sizes:
                needed = model.host_bytes(size, in_flight, batch)
                if host is None or needed <= host:
                    return cls(size, in_flight, batch, needed, model.gpu_bytes(batch), host, device)
        smallest = model.host_bytes(sizes[-1], 1, 1)
        if batch > 1 and host is not None and smallest <= host:
            return cls(sizes[-1], 1, 1, smallest, model.gpu_bytes(1), host, device)
        remedy = "" if chunks == "auto" else ", or leave the blocks to ship_geo by chunks='auto'"
        msg = (
            f"max_memory must be at least {_told(smallest)} for blocks of {sizes[-1]} with {job.spec.name}, "
            f"got {_told(host or 0)}; allow that much{remedy}"
        )
        raise ArgumentError(msg)


def parse_size(size: str | int | None, name: str = "max_memory") -> int | None:
    """Return a number of bytes from ``"2GiB"``, ``"500 MB"`` or a whole number; None stays None.

    Raises
    ------
    ArgumentError
        If it is neither, or not positive.
    """
    if size is None:
        return None
    try:
        if isinstance(size, str):
            n_byte = parse_text(size) if size.strip()[:1].isdigit() else 0  # a unit alone would be one of it
        else:
            n_byte = 0 if isinstance(size, bool) else int(size)
    except (ValueError, TypeError, OverflowError):
        n_byte = 0
    if n_byte <= 0:
        msg = (
            f"`{name}` is a positive number of bytes or a text such as '2GiB', got {size!r}; for instance {name}='2GiB'"
        )
        raise ArgumentError(msg)
    return n_byte


def forecast(job: Job, budget: Budget, *, staged_bytes: int, measured: bool = True) -> dict[str, Any]:
    """Say what a job will take.

    Parameters
    ----------
    job, budget
        The job and its budget.
    staged_bytes
        Room that the output takes before it is compressed, `ship_geo.writer.OutputProfile.n_staged`.
    measured
        Whether some windows are sharpened to tell how long all of them will take.

    Returns
    -------
    dict
        Plain values: ``blocks``, ``block_shape``, ``blocks_in_flight``, ``batch``, ``memory_bytes``,
        ``gpu_memory_bytes``, ``disk_bytes`` (the most while the COG is made) and ``seconds``; the last is None when it
        was not measured or no pixel that was tried is valid.
    """
    per_window = seconds_per_window(job, budget) if measured else None
    seconds = None
    if per_window is not None:
        n_core = min(4, os.cpu_count() or 1)
        n_sample = len(statistics_windows(job.sample_plan))
        seconds = per_window * (len(job.plan) + n_sample) + staged_bytes / (COPY_BYTES_PER_SECOND * n_core)
    return {
        "blocks": len(job.plan.blocks(budget.block_shape)),
        "block_shape": list(budget.block_shape),
        "blocks_in_flight": budget.in_flight,
        "batch": budget.batch,
        "memory_bytes": budget.host_bytes,
        "gpu_memory_bytes": budget.gpu_bytes,
        "disk_bytes": staged_bytes + staged_bytes * 4 // 3,  # overviews add a third
        "seconds": None if seconds is None else round(seconds, 1),
    }


def seconds_per_window(job: Job, budget: Budget) -> float | None:
    """Sharpen some windows in the middle of a scene, and return how long one takes where many are in flight.

    Returns
    -------
    float or None
        None if no pixel of the windows that were tried is valid.
    """
    source, stats = open_source(job), _some_stats(job)
    if stats is None:
        return None
    fuser = load_fuser(
        job.spec, job.device, job.precision, batch_size=budget.batch, max_gpu_memory=budget.max_gpu_memory or 0
    )
    windows = job.plan.windows()
    middle = len(windows) // 2
    views = stats.views

    def fuse(first: int) -> None:
        chosen = [windows[(middle + first + index) % len(windows)] for index in range(budget.batch)]
        samples = source.samples(job.plan, chosen)
        made = [
            prepare(sample, job.gnyq_ms, job.plan.halo, with_low=fuser.reads_pan_low, views=views) for sample in samples
        ]
        fuser.fuse(made, stats, job.groups)

    fuse(0)  # loads what is loaded once
    n_call = 2 * budget.in_flight
    start = time.perf_counter()
    with ThreadPoolExecutor(budget.in_flight) as pool:
        list(pool.map(fuse, range(0, n_call * budget.batch, budget.batch)))
    return (time.perf_counter() - start) / (n_call * budget.batch)


@dataclass(frozen=True)
class _Model:
    """How memory follows from blocks and batches."""

    n_band: int
    pixel_bytes: float
    window_bytes: float
    fixed_bytes: int
    activation_bytes: float
    weight_bytes: int
    on_gpu: bool
    most_in_flight: int
    most_windows: int

    @classmethod
    def of(cls, job: Job, *, on_gpu: bool) -> _Model:
        n_band, plan = len(job.gnyq_ms), job.plan
        is_network = job.spec.kind == "network"
        fixed = PROCESS_BYTES + (CACHE_BYTES if plan.overlap else 0)
        if is_network:
            fixed += CUDA_BYTES if on_gpu else NETWORK_BYTES
        item = np.dtype(job.dtype).itemsize
        activations, weights = _network_bytes(job, on_gpu=on_gpu) if is_network else (0.0, 0)
        return cls(
            n_band=n_band,
            pixel_bytes=n_band * (PIXEL_BYTES + (3 if job.gain else 2) * item),
            window_bytes=(plan.window + 2 * plan.halo) ** 2 * 4.0 * WINDOW_VARIABLES * (n_band + 1),
            fixed_bytes=fixed,
            activation_bytes=activations,
            weight_bytes=weights,
            on_gpu=on_gpu,
            most_in_flight=1 if is_network else N_THREAD,
            most_windows=max(1, len(plan)),
        )

    def host_bytes(self, size: Shape, in_flight: int, batch: int) -> int:
        """Resident memory of the process at its peak; one block more than is in flight is being written."""
        blocks = size[0] * size[1] * self.pixel_bytes * (in_flight + (in_flight > 1))
        windows = in_flight * batch * self.window_bytes
        return int(self.fixed_bytes + blocks + windows + (0 if self.on_gpu else self.activation_bytes))

    def gpu_bytes(self, batch: int) -> int:
        """Memory of the GPU at its peak."""
        return int(self._gpu_fixed + batch * self.activation_bytes * GPU_MARGIN) if self.on_gpu else 0

    def batch_within(self, max_gpu_memory: int | None) -> int:
        """Return the largest batch that a budget allows."""
        if not self.on_gpu:
            return 1
        if max_gpu_memory is None:
            return GPU_BATCH
        room = max_gpu_memory - self._gpu_fixed
        batch = int(room // (self.activation_bytes * GPU_MARGIN))
        if batch < 1:
            msg = (
                f"max_gpu_memory must be at least {_told(self.gpu_bytes(1))} for one window, "
                f"got {_told(max_gpu_memory)}; allow that much, or use device='cpu'"
            )
            raise ArgumentError(msg)
        return min(batch, self.most_windows)

    @property
    def _gpu_fixed(self) -> int:
        return GPU_CONTEXT_BYTES + self.weight_bytes


def _network_bytes(job: Job, *, on_gpu: bool) -> tuple[float, int]:
    """Bytes of the activations of one window at their peak, and of the weights.

    Counted as PyTorch allocates them: float32 takes 4 (n_feature (10 + 2 n_order) + n_in + n_guide) per pixel, and with
    bfloat16 the features half of that.
    """
    checkpoint = resolve_weights(job.spec.path)
    config = checkpoint.config
    if not isinstance(config, ShipPlusPlusConfig):  # never: the model was resolved
        raise TypeError(type(config))
    precision = "bfloat16" if on_gpu and job.precision == "auto" else job.precision
    if not on_gpu:
        precision = pick_precision(job.precision, pick_device("cpu"))
    feature = 2 if precision == "bfloat16" else 4
    channels = config.n_in + config.n_guide + 3 * config.n_band + 2
    per_pixel = feature * config.n_feature * (10 + 2 * config.n_order) + 4 * channels
    weights = sum(tensor.nbytes for tensor in checkpoint.state.values())
    return float(per_pixel * job.plan.window**2), weights


def _has_gpu(job: Job, client: Any) -> bool:
    if job.device.startswith("cpu"):
        return False
    return pick_device(job.device).type == "cuda" if client is None else bool(gpu_resources(client))


def _sizes(job: Job, chunks: Chunks) -> Iterator[Shape]:
    """Shapes of blocks, the best first."""
    if chunks != "auto":
        yield chunk_shape(chunks, job.plan)
        return
    n_row, n_col = job.plan.shape
    step = job.plan.rows.stride
    size = chunk_shape("auto", job.plan)[0] if job.plan.overlap else max(step, BLOCK // step * step)
    for count in range(max(1, -(-size // step)), 0, -1):
        yield min(count * step, n_row), min(count * step, n_col)


def _some_stats(job: Job) -> SceneStats | None:
    """Statistics of one window near the middle that has valid pixels: good enough to take time by."""
    windows, source = job.sample_plan.windows(), open_source(job)
    for index in (len(windows) // 2, *spread(len(windows), 12)):
        looks = [observe_window(source, job.sample_plan, windows[index])] if job.observes else []
        views = fit_views(looks, job.gnyq_ms, job.scene.pair.ratio) if looks else ()
        part = measure_window(source, job.sample_plan, windows[index], job.scene.sensor, views)
        try:
            return SceneStats.merged([part], job.scene.sensor.roles, views)
        except ProductError:
            continue
    return None


def _told(n_byte: int) -> str:
    return str(format_bytes(n_byte))
