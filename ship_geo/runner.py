"""Running the blocks of a job, here or on a Dask cluster, a bounded number at a time, and writing them as they come.

Not for lazy arrays, whose blocks the scheduler of the caller computes. The convention that could surprise: an active
`distributed.Client` is used without being asked for, as Dask itself does; the setting ``scheduler="synchronous"`` of
Dask is honoured, any other local scheduler means threads.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import dask
import dask.config

from ship_geo._typing import Box
from ship_geo.fusers import pick_device
from ship_geo.jobs import Block, Job, measure, sharpen
from ship_geo.stats import SceneStats
from ship_geo.writer import GeoTiffWriter

N_THREAD = 2
"""Blocks at a time on this machine, except for networks on the CPU: one is fused while the next is read."""


@dataclass(frozen=True)
class RunRecord:
    """What a run did.

    Attributes
    ----------
    seconds
        From the first read to the finished file.
    n_pixel
        Output pixels.
    megapixels_per_second
        PAN megapixels, end to end.
    n_clipped, n_moved, n_invalid
        Values cut to the legal range; valid values moved off nodata; pixels without a result.
    valid_fraction
        Of the windows from which statistics were made.
    n_byte
        Size of the file.
    """

    seconds: float
    n_pixel: int
    megapixels_per_second: float
    n_clipped: int
    n_moved: int
    n_invalid: int
    valid_fraction: float
    n_byte: int


def active_client() -> Any:
    """Return the `distributed.Client` that Dask would use, or None."""
    distributed = sys.modules.get("distributed")  # who has a client has loaded it, which takes a second
    if distributed is None or dask.config.get("scheduler", None) not in (None, "dask.distributed", "distributed"):
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


def write_job(job: Job, writer: GeoTiffWriter, blocks: Sequence[Box], advance: Callable[[int], None]) -> RunRecord:
    """Sharpen all blocks into an entered writer, and finish it.

    Parameters
    ----------
    job
        What is to be done.
    writer
        Where blocks go.
    blocks
        (row0, row1, col0, col1), every output pixel in exactly one.
    advance
        Called with the number of pixels of each written block.

    Returns
    -------
    RunRecord
    """
    start = time.perf_counter()
    n_clipped = n_moved = n_invalid = 0
    client = active_client()
    if client is None:
        stats = measure(job)
        made = _run_here(job, stats, blocks)
    else:
        stats = client.submit(measure, job, pure=False).result()
        made = _run_on(client, job, stats, blocks)
    for box, block in made:
        row0, row1, col0, col1 = box
        writer.write(block.values, row0, col0, block.valid)
        n_clipped, n_moved = n_clipped + block.n_clipped, n_moved + block.n_moved
        n_invalid += int((~block.valid).sum())
        advance((row1 - row0) * (col1 - col0))
    written = writer.finish()
    seconds = time.perf_counter() - start
    n_row, n_col = job.plan.shape
    return RunRecord(
        seconds=round(seconds, 3),
        n_pixel=n_row * n_col,
        megapixels_per_second=round(n_row * n_col / 1e6 / max(seconds, 1e-9), 4),
        n_clipped=n_clipped,
        n_moved=n_moved,
        n_invalid=n_invalid,
        valid_fraction=round(stats.valid_fraction, 6),
        n_byte=written.n_byte,
    )


def _run_here(job: Job, stats: SceneStats, blocks: Sequence[Box]) -> Iterator[tuple[Box, Block]]:
    """Sharpen in threads of this process, in order, or one after the other if Dask is told to."""
    is_told = dask.config.get("scheduler", None) in ("synchronous", "sync", "single-threaded")
    # A network on the CPU has all cores at work already: a second thread beside it cost a fifth of the speed.
    if is_told or (job.spec.kind == "network" and pick_device(job.device).type == "cpu"):
        yield from ((box, sharpen(job, stats, box)) for box in blocks)
        return
    with ThreadPoolExecutor(N_THREAD, thread_name_prefix="ship-geo") as pool:

        def submit(box: Box) -> tuple[Box, Future[Block]]:
            return box, pool.submit(sharpen, job, stats, box)

        waiting = iter(blocks)
        running = [submit(box) for box in islice(waiting, N_THREAD)]
        try:
            while running:
                box, future = running.pop(0)
                block = future.result()
                running += [submit(following) for following in islice(waiting, 1)]
                yield box, block
        finally:
            for _, future in running:
                future.cancel()


def _run_on(client: Any, job: Job, stats: SceneStats, blocks: Sequence[Box]) -> Iterator[tuple[Box, Block]]:
    """Sharpen on a cluster, at most two blocks per worker thread in flight, in the order in which they finish."""
    shared = client.scatter([job, stats], broadcast=True, hash=False)
    limit = max(2, 2 * sum(client.nthreads().values()))
    waiting = iter(blocks)
    running: dict[Any, Box] = {}

    def submit_more() -> None:
        for box in islice(waiting, limit - len(running)):
            running[client.submit(sharpen, shared[0], shared[1], box, pure=False)] = box

    submit_more()
    from distributed import wait as wait_for

    try:
        while running:
            done = wait_for(list(running), return_when=FIRST_COMPLETED).done
            for future in done:
                box = running.pop(future)
                block = future.result()
                future.release()
                yield box, block
            submit_more()
    finally:
        client.cancel(list(running))
