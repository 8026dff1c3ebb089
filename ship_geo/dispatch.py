"""Blocks in flight: a bounded number at a time, here in threads or on a Dask cluster, tried again where they fail.

Knows nothing of pixels: work is a function of a box. Three conventions could surprise. Tasks on a cluster are named by
the run, so that nothing which another run computes is mistaken for written here. What all tasks share is itself a task,
not scattered data: when its worker dies it is made again. And stopping does not wait for blocks in flight.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, TypeVar

from ship_geo._typing import Box
from ship_geo.errors import ArgumentError, CheckpointError, OutputError, ShipGeoError

Log = Callable[..., None]
"""Called with the name of an event, and facts by keyword that JSON can hold; from one thread."""

Result = TypeVar("Result")

MAX_ATTEMPTS = 3
"""How often a block is tried before the job fails."""

PER_THREAD = 2
"""Blocks per thread of a cluster: one that runs, and one that waits so that no thread has to."""

_PAUSE = 0.1  # seconds before a block is tried again here; four times as long before the third time
_LOOK = 2.0  # seconds between two looks at the cluster while nothing comes back
_HOPELESS = (ArgumentError, CheckpointError, OutputError)


class Attempts:
    """Counts how often blocks fail, and keeps what was said.

    Parameters
    ----------
    log
        Told of each block that is tried again.
    """

    def __init__(self, log: Log) -> None:
        self.reasons: list[str] = []
        self._log = log
        self._n_failure: Counter[Box] = Counter()

    def may_retry(self, box: Box, error: BaseException) -> bool:
        """Note a failure, and say whether the block is to be tried again."""
        self._n_failure[box] += 1
        if isinstance(error, _HOPELESS) or not isinstance(error, Exception):
            return False
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")
        if self._n_failure[box] >= MAX_ATTEMPTS:
            error.add_note(f"block {box} was tried {MAX_ATTEMPTS} times")
            return False
        self.reasons.append(f"block {box}: {reason}")
        self._log("retry", block=list(box), attempt=self._n_failure[box] + 1, reason=reason)
        return True

    def pause(self, box: Box) -> float:
        """Seconds to wait before a block that failed is tried again."""
        return float(_PAUSE * 4 ** (self._n_failure[box] - 1))


def run_in_turn(
    work: Callable[[Box], Result], blocks: Sequence[Box], attempts: Attempts
) -> Iterator[tuple[Box, Result]]:
    """Work on one block after the other, in this thread."""
    for box in blocks:
        while True:
            try:
                made = work(box)
            except Exception as error:
                if not attempts.may_retry(box, error):
                    raise
                time.sleep(attempts.pause(box))
            else:
                break
        yield box, made


def run_in_threads(
    work: Callable[[Box], Result], blocks: Sequence[Box], n_thread: int, attempts: Attempts, stop: threading.Event
) -> Iterator[tuple[Box, Result]]:
    """Work on blocks in threads of this process, in the order in which they finish.

    Parameters
    ----------
    work
        What is done to a block; it should give up soon after `stop` is set.
    blocks
        The blocks.
    n_thread
        Blocks at a time.
    attempts
        Decides about those that fail.
    stop
        Set when this ends, however it does.
    """
    waiting = iter(blocks)
    running: dict[Future[Result], Box] = {}
    pool = ThreadPoolExecutor(n_thread, thread_name_prefix="ship-geo")

    def again(box: Box) -> Result:
        stop.wait(attempts.pause(box))
        return work(box)

    try:
        running.update((pool.submit(work, box), box) for box in islice(waiting, n_thread))
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                box = running.pop(future)
                error = future.exception()
                if error is not None and attempts.may_retry(box, error):
                    running[pool.submit(again, box)] = box
                    continue
                made = future.result()
                del future
                running.update((pool.submit(work, following), following) for following in islice(waiting, 1))
                yield box, made
                del made  # large, and not to be kept while waiting for the next
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


class ClusterRun:
    """Work on blocks by the workers of a `distributed.Client`.

    Parameters
    ----------
    client
        The client.
    name
        Of this run, unlike that of any other.
    attempts
        Decides about blocks that fail.
    log
        Told when there is nobody to work.
    resources
        What a task needs of a worker.
    """

    def __init__(
        self, client: Any, name: str, attempts: Attempts, log: Log, resources: Mapping[str, float] | None = None
    ) -> None:
        self.client, self.name = client, name
        self.attempts, self.log = attempts, log
        self.resources = dict(resources or {}) or None
        self._is_waiting = False

    def once(self, title: str, function: Callable[..., Result], *arguments: Any) -> Result:
        """Compute one value on the cluster."""
        future = self.client.submit(
            function, *arguments, key=f"ship-{title}-{self.name}", resources=self.resources, pure=False
        )
        self._next_done({future: None})
        result: Result = _result(future)
        return result

    def blocks(
        self, work: Callable[..., Result], shared: Sequence[Any], blocks: Sequence[Box]
    ) -> Iterator[tuple[Box, Result]]:
        """Work on blocks, in the order in which they finish.

        Parameters
        ----------
        work
            Called with the tuple that is shared, and a box.
        shared
            What every block needs; small.
        blocks
            The blocks.
        """
        common = self.client.submit(_together, *shared, key=f"ship-job-{self.name}", pure=False)
        waiting = iter(blocks)
        running: dict[Any, Box] = {}
        try:
            self._submit(running, work, common, waiting)
            while running:
                for future in self._next_done(running):
                    box = running.pop(future)
                    if future.status == "error" and self._try_again(future, box):
                        running[future] = box
                        continue
                    made: Result = _result(future)
                    future.release()  # or the worker keeps it
                    del future
                    yield box, made
                    del made
                self._submit(running, work, common, waiting)
        finally:
            with suppress(OSError, RuntimeError, CancelledError):  # the cluster may be gone
                self.client.cancel([*running, common], force=True)

    def _submit(self, running: dict[Any, Box], work: Callable[..., Any], common: Any, waiting: Iterator[Box]) -> None:
        with _connected():
            limit = max(PER_THREAD, PER_THREAD * sum(self.client.nthreads().values()))
            for box in islice(waiting, max(0, limit - len(running))):
                key = "-".join(("ship-sharpen", self.name, *map(str, box)))
                running[self.client.submit(work, common, box, key=key, resources=self.resources, pure=False)] = box

    def _next_done(self, running: Mapping[Any, Any]) -> list[Any]:
        from distributed import wait as wait_for

        while True:
            with _connected():
                try:
                    with self.client.as_current():  # or it looks for another
                        return list(wait_for(list(running), timeout=_LOOK, return_when=FIRST_COMPLETED).done)
                except TimeoutError:
                    self._look()

    def _look(self) -> None:
        is_waiting = not self.client.nthreads()
        if is_waiting and not self._is_waiting:
            self.log("waiting", reason="the cluster has no worker")
        self._is_waiting = is_waiting

    def _try_again(self, future: Any, box: Box) -> bool:
        from distributed import KilledWorker

        error = future.exception()
        if isinstance(error, KilledWorker) or not self.attempts.may_retry(box, error):
            return False
        time.sleep(self.attempts.pause(box))
        with _connected():
            future.retry()
        return True


def gpu_resources(client: Any) -> dict[str, float]:
    """Return what a task that uses a GPU asks for: ``{"GPU": 1}`` where a worker declares such a thing."""
    try:
        known = client.scheduler_info(n_workers=-1)
    except TypeError:  # before it was limited to five workers
        known = client.scheduler_info()
    declared = any(worker.get("resources", {}).get("GPU") for worker in known["workers"].values())
    return {"GPU": 1.0} if declared else {}


@contextmanager
def _connected() -> Iterator[None]:
    """Say what it means that the scheduler does not answer."""
    try:
        yield
    except (OSError, CancelledError) as error:
        raise ShipGeoError(_lost(error)) from error


def _together(*shared: Any) -> tuple[Any, ...]:
    return shared


def _result(future: Any) -> Any:
    """Return what a task made, or raise what it raised; failures of the cluster in words that help."""
    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    try:
        return future.result()
    except KilledWorker as error:
        msg = (
            f"a worker must live long enough to make a block, got {error.allowed_failures + 1} that died over one; "
            "give workers more memory, or let blocks be smaller by max_memory or chunks, and run again, which goes on"
        )
        raise ShipGeoError(msg) from error
    except (CancelledError, CommClosedError) as error:
        raise ShipGeoError(_lost(error)) from error


def _lost(error: BaseException) -> str:
    reason = str(error) or type(error).__name__
    return f"the cluster must stay while a job runs, got {reason}; start it and run again, which goes on"
