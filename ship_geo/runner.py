"""Running the blocks of a job, here or on a Dask cluster, into an output that keeps what is finished.

Not for lazy arrays, whose blocks the scheduler of the caller computes. Three conventions could surprise. An active
`distributed.Client` is used without being asked for, as Dask itself does; the setting ``scheduler="synchronous"`` of
Dask is honoured, any other local scheduler means threads. Workers that see the folder of the output write their blocks
themselves, and only from others do pixels come to this process. And blocks come in the order in which they finish.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import dask
import dask.config
import rasterio

from ship_geo._typing import Box
from ship_geo.budget import Budget
from ship_geo.dispatch import Attempts, ClusterRun, Log, gpu_resources, run_in_threads, run_in_turn
from ship_geo.jobs import Block, Job, StoppableSource, measure, open_source, sharpen, sharpen_into
from ship_geo.ledger import Entry
from ship_geo.stats import SceneStats
from ship_geo.writer import BlockSink

READ_CACHE_BYTES = 128 * 2**20
"""GDAL's block cache in a process that makes blocks; by itself GDAL would take a share of the machine's memory."""

Made = Entry | Block
"""What becomes of a block: what was noted of it when it was written, or the block itself."""


class Target(Protocol):
    """An output that takes blocks; `ship_geo.writer.Staging` is one."""

    @property
    def done(self) -> frozenset[Box]:
        """Blocks that are there already."""

    def sink(self) -> BlockSink | None:
        """Return what workers write blocks with; None where they cannot."""

    def write(self, box: Box, values: Any, valid: Any = None, counts: Mapping[str, int] | None = None) -> None:
        """Write a block."""

    def accept(self, entry: Entry) -> None:
        """Take note of a block that a worker wrote."""

    def totals(self) -> dict[str, int]:
        """Sum the counts of all blocks."""

    def finish(self) -> Any:
        """Make the output whole, and return what was written, with its size as `n_byte`."""


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
        PAN megapixels that this run made, end to end.
    n_clipped, n_moved, n_invalid
        Values cut to the legal range; valid values moved off nodata; pixels without a result. Blocks of earlier runs
        count, too.
    valid_fraction
        Of the windows from which statistics were made.
    n_byte
        Size of the file.
    n_block, n_resumed
        Blocks in all, and those that an earlier run had finished.
    n_retry, retries
        How often a block was tried again, and why.
    seconds_statistics, seconds_blocks, seconds_finish
        Parts of the time.
    """

    seconds: float
    n_pixel: int
    megapixels_per_second: float
    n_clipped: int
    n_moved: int
    n_invalid: int
    valid_fraction: float
    n_byte: int
    n_block: int = 0
    n_resumed: int = 0
    n_retry: int = 0
    retries: tuple[str, ...] = ()
    seconds_statistics: float = 0.0
    seconds_blocks: float = 0.0
    seconds_finish: float = 0.0


def active_client() -> Any:
    """Return the `distributed.Client` that Dask would use, or None."""
    distributed = sys.modules.get("distributed")  # who has a client has loaded it, which takes a second
    if distributed is None or dask.config.get("scheduler", None) not in (None, "dask.distributed", "distributed"):
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


def run_job(
    job: Job,
    staging: Target,
    blocks: Sequence[Box],
    *,
    client: Any = None,
    budget: Budget | None = None,
    advance: Callable[[int], None] | None = None,
    log: Log | None = None,
) -> RunRecord:
    """Sharpen the blocks that are not done into an entered output, and finish it.

    Parameters
    ----------
    job
        What is to be done.
    staging
        Where blocks go.
    blocks
        (row0, row1, col0, col1), every output pixel in exactly one.
    client
        A `distributed.Client`; None takes the active one, if there is one.
    budget
        Blocks at a time, and windows at once; the defaults of the job if None.
    advance
        Called with the number of pixels of each finished block, at once with those that were done before.
    log
        Called with the name of an event and facts by keyword: ``start``, ``statistics``, ``block``, ``retry``,
        ``waiting``, ``finish``, ``done``.

    Returns
    -------
    RunRecord

    Raises
    ------
    ShipGeoError
        When a block fails again and again, workers die over one, or the output cannot be written. What is finished
        stays in the output, for the next run.
    """
    run = _Run(job, staging, blocks, budget or Budget.of(job), advance or _ignore, log or _ignore)
    with rasterio.Env(GDAL_CACHEMAX=READ_CACHE_BYTES):
        return run.to_end(client if client is not None else active_client())


class _Run:
    """One call of `run_job`, from statistics to the record."""

    def __init__(
        self,
        job: Job,
        staging: Target,
        blocks: Sequence[Box],
        budget: Budget,
        advance: Callable[[int], None],
        log: Log,
    ) -> None:
        self.job = replace(job, batch=budget.batch, max_gpu_memory=budget.max_gpu_memory or 0)
        self.staging, self.blocks, self.budget = staging, tuple(blocks), budget
        self.advance, self.log = advance, log
        self.attempts = Attempts(log)
        self.resumed = frozenset(self.blocks) & staging.done

    def to_end(self, client: Any) -> RunRecord:
        start = time.perf_counter()
        todo = [box for box in self.blocks if box not in self.resumed]
        self.log("start", scene=self.job.scene.name, blocks=len(self.blocks), done=len(self.resumed))
        self.advance(sum(map(_n_pixel, self.resumed)))
        run = None if client is None else self._on(client)
        stats = measure(self.job) if run is None else run.once("statistics", _measure_there, self.job)
        measured = time.perf_counter()
        self.log("statistics", seconds=round(measured - start, 3), valid_fraction=round(stats.valid_fraction, 6))
        for box, made in self._here(stats, todo) if run is None else self._there(run, stats, todo):
            self._take(box, made)
        worked = time.perf_counter()
        self.log("finish", blocks=len(todo), seconds=round(worked - measured, 3))
        n_byte = self.staging.finish().n_byte
        return self._record(stats, n_byte, self.staging.totals(), (start, measured, worked, time.perf_counter()))

    def _here(self, stats: SceneStats, todo: Sequence[Box]) -> Iterator[tuple[Box, Made]]:
        stop = threading.Event()
        source = StoppableSource(open_source(self.job), stop) if todo else None

        def work(box: Box) -> Block:
            return sharpen(self.job, stats, box, source)

        is_told = dask.config.get("scheduler", None) in ("synchronous", "sync", "single-threaded")
        if is_told or self.budget.in_flight == 1:
            return run_in_turn(work, todo, self.attempts)
        return run_in_threads(work, todo, self.budget.in_flight, self.attempts, stop)

    def _on(self, client: Any) -> ClusterRun:
        sink = self.staging.sink()
        name = f"{self.job.token[:12]}-{(sink.token if sink else _unlike_others())[:12]}"
        uses_gpu = self.job.spec.kind == "network" and not self.job.device.startswith("cpu")
        return ClusterRun(client, name, self.attempts, self.log, gpu_resources(client) if uses_gpu else None)

    def _there(self, run: ClusterRun, stats: SceneStats, todo: Sequence[Box]) -> Iterator[tuple[Box, Made]]:
        return run.blocks(_work_there, (self.job, stats, self.staging.sink()), todo)

    def _take(self, box: Box, made: Made) -> None:
        if isinstance(made, Entry):
            self.staging.accept(made)
        else:
            self.staging.write(box, made.values, made.valid, made.counts)
        self.advance(_n_pixel(box))
        self.log("block", block=list(box))

    def _record(self, stats: SceneStats, n_byte: int, totals: Mapping[str, int], times: Sequence[float]) -> RunRecord:
        start, measured, worked, end = times
        n_row, n_col = self.job.plan.shape
        n_made = n_row * n_col - sum(map(_n_pixel, self.resumed))
        record = RunRecord(
            seconds=round(end - start, 3),
            n_pixel=n_row * n_col,
            megapixels_per_second=round(n_made / 1e6 / max(end - start, 1e-9), 4),
            n_clipped=totals.get("n_clipped", 0),
            n_moved=totals.get("n_moved", 0),
            n_invalid=totals.get("n_invalid", 0),
            valid_fraction=round(stats.valid_fraction, 6),
            n_byte=n_byte,
            n_block=len(self.blocks),
            n_resumed=len(self.resumed),
            n_retry=len(self.attempts.reasons),
            retries=tuple(self.attempts.reasons),
            seconds_statistics=round(measured - start, 3),
            seconds_blocks=round(worked - measured, 3),
            seconds_finish=round(end - worked, 3),
        )
        self.log("done", seconds=record.seconds, n_byte=n_byte)
        return record


def _work_there(shared: tuple[Job, SceneStats, BlockSink | None], box: Box) -> Made:
    job, stats, sink = shared
    with rasterio.Env(GDAL_CACHEMAX=READ_CACHE_BYTES):
        return sharpen_into(job, stats, box, sink)


def _measure_there(job: Job) -> SceneStats:
    with rasterio.Env(GDAL_CACHEMAX=READ_CACHE_BYTES):
        return measure(job)


def _unlike_others() -> str:
    import uuid

    return uuid.uuid4().hex


def _n_pixel(box: Box) -> int:
    return (box[1] - box[0]) * (box[3] - box[2])


def _ignore(*_: Any, **__: Any) -> None:
    pass


class _Writer:
    """A `GeoTiffWriter` as a target that keeps nothing between runs."""

    done: frozenset[Box] = frozenset()

    def __init__(self, writer: Any) -> None:
        self._writer, self._counts = writer, Counter[str]()

    def sink(self) -> None:
        return None

    def accept(self, entry: Entry) -> None:
        raise TypeError(entry)  # nobody writes but this process

    def write(self, box: Box, values: Any, valid: Any = None, counts: Mapping[str, int] | None = None) -> None:
        self._writer.write(values, box[0], box[2], valid)
        self._counts.update(counts or {}, n_invalid=int((~valid).sum()))

    def totals(self) -> dict[str, int]:
        return dict(self._counts)

    def finish(self) -> Any:
        return self._writer.finish()


def write_job(job: Job, writer: Any, blocks: Sequence[Box], advance: Callable[[int], None]) -> RunRecord:
    """Sharpen all blocks into an entered `GeoTiffWriter`, and finish it."""
    return run_job(job, _Writer(writer), blocks, advance=advance)
