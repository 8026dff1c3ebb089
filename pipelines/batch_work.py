"""What is done about each scene of a batch, one after the other or some at a time; part of ``pansharpen_batch.py``."""

from __future__ import annotations

import json
import os
import queue
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from batch_progress import BatchProgress
from batch_records import DONE, FAILED, RUNNING, STOPPED, Records, Row, now
from batch_scenes import files_digest, shape_of

from ship_geo.errors import ArgumentError, ShipGeoError

SKIP, MAKE, LEAVE = "skip", "make", "leave out"

UNCHANGED = "done and unchanged"
FAILED_BEFORE = "failed before"
NOT_AGAIN = "failed before, not tried again; pass --retry-failed"

Log = Callable[..., None]

CURRENT: ContextVar[str] = ContextVar("CURRENT", default="")
"""Scene that the thread works on, for warnings."""

_SINGLE_FILES = (".zip", ".tar", ".tar.gz", ".tgz")
_GRACE = 20.0  # seconds that threads get to stop


@dataclass(frozen=True)
class Step:
    """What is to be done about one scene, and why."""

    row: Row
    stem: str
    action: str
    why: str
    scene: Any = None
    old: Mapping[str, Any] | None = None


class ClusterLostError(ShipGeoError):
    """The cluster has gone: what is not done cannot be, but nothing is wrong with the scenes."""


class Batch:
    """Scenes, how they are sharpened, and what becomes of them."""

    def __init__(self, folder: Path, options: Mapping[str, Any], wanted: Any) -> None:
        from ship_geo.fusers import ModelSpec

        self.folder, self.options, self.wanted = folder, options, wanted
        self.records = Records(folder)
        names = ("model", "device", "precision", "register", "radiometry", "max_memory", "max_gpu_memory")
        self.how = {name: options[name] for name in names}
        self.how["chunks"] = options["chunks"] or "auto"
        self.digest = ModelSpec.resolve(options["model"]).digest
        self.stop = threading.Event()

    def decide(self, row: Row, stem: str) -> Step:
        """Say what is to be done about a scene, which is opened for it.

        Raises
        ------
        ShipGeoError
            When it cannot be opened.
        """
        old = self.records.read(stem)
        tried = self._since_failure(row, old)
        if tried == NOT_AGAIN:
            return Step(row, stem, SKIP, NOT_AGAIN, old=old)
        is_done = bool(old.get("made")) and self.records.is_whole(old) and not self.options["restart"]
        parameters = self._parameters(row)
        if is_done and old.get("stamp") and old["stamp"] == _stamp(row) and _same(old["causes"], parameters):
            return Step(row, stem, SKIP, UNCHANGED, old=old)
        scene = self._open(row)
        seen = {**row, **facts_of(scene)}
        refusal = self.wanted.refuses({**seen, "geometry": shape_of(seen["geometry"])}) if row["problem"] else ""
        if refusal:
            return Step(row, stem, LEAVE, refusal)
        causes = {**parameters, "scene": scene.identity}
        if is_done and old["causes"] == causes:
            return Step(row, stem, SKIP, UNCHANGED, old=old)
        why = tried or _why(old, causes, is_done=is_done, is_restart=self.options["restart"])
        return Step({**seen, "causes": causes}, stem, MAKE, why, scene, old)

    def make(self, step: Step, client: Any, log: Log) -> Row:
        """Sharpen a scene, and return its record."""
        from ship_geo.api import pansharpen_scene
        from ship_geo.stac import check_item, item_path
        from ship_geo.writer import check_output

        old, path = step.old or {}, self.folder / f"{step.stem}.tif"
        may_replace = bool(old.get("owns")) or self.options["overwrite"]
        record = {**step.row, "status": RUNNING, "output": path.name, "started": now(), "stamp": _stamp(step.row)}
        check_output(path, overwrite=may_replace, inputs=step.scene.files)
        try:
            check_item(path, step.scene, overwrite=may_replace)
            record["item"] = item_path(path).name
        except ArgumentError:  # no time is known
            told = "a STAC Item needs a time of acquisition, got none; give it in the column `time` of a table"
            warnings.warn(told, UserWarning, stacklevel=1)
        self.records.write(step.stem, {**record, "owns": True, "made": False})
        with pansharpen_scene(
            step.scene,
            **self.how,
            output=path,
            overwrite=may_replace,
            restart=self.options["restart"],
            stac="item" in record,
            progress=False,
            client=client,
            log=log,
        ) as fused:
            told = json.loads(fused.attrs["ship_geo_record"])
            known = {name: fused.attrs[name] for name in ("model", "model_digest", "radiometry")}
        return {**record, **known, **told, "status": DONE, "owns": True, "made": True, "ended": now()}

    def one(self, row: Row, stem: str, client: Any, log: Log) -> Row:
        """Do what is to be done about a scene; whatever is wrong with it is kept in its record.

        Raises
        ------
        ClusterLostError
            When nothing can be done any more.
        """
        step = None
        try:
            step = self.decide(row, stem)
            if step.action != MAKE:
                log("skipped", why=step.why)
                return self._left(step)
            log("scene", why=step.why, output=f"{stem}.tif")
            record = self.make(step, client, log)
        except Exception as error:  # noqa: BLE001  one bad scene must not end the batch
            return self._failed(row, stem, error, client, log)
        except BaseException:
            self._stopped(stem)
            raise
        self.records.write(stem, record)
        return record

    def _left(self, step: Step) -> Row:
        """Return the record of a scene that is left as it is."""
        old = dict(step.old or {})
        if step.action == LEAVE:
            return {**step.row, "status": LEAVE, "why": step.why}
        if old["status"] != DONE and step.why == UNCHANGED:  # its source was away for a while
            old = {**old, "status": DONE, "error": None}
            self.records.write(step.stem, old)
        return {**old, "why": step.why}

    def _failed(self, row: Row, stem: str, error: Exception, client: Any, log: Log) -> Row:
        if self.stop.is_set() or (client is not None and client.status != "running"):
            self._stopped(stem)
            msg = f"the cluster must stay while a batch runs, got {error}; start it and run again, which goes on"
            raise ClusterLostError(msg) from error
        told = {"type": type(error).__name__, "message": str(error)}
        if self.options["debug"]:
            told["traceback"] = "".join(traceback.format_exception(error))
        log("failed", **told)
        ended = {"status": FAILED, "error": told, "tried": self._attempt(row), "ended": now()}
        record = {**row, **self.records.read(stem), **ended}
        self.records.write(stem, record)
        return record

    def _stopped(self, stem: str) -> None:
        """Note that a scene was begun and not finished; what is done stays so."""
        old = self.records.read(stem)
        if old.get("status") == RUNNING:
            self.records.write(stem, {**old, "status": STOPPED, "ended": now()})

    def _open(self, row: Row) -> Any:
        from ship_geo.scene import open_scene

        names = ("geometry", "dem", "geoid", "crs", "resolution", "missing", "scratch")
        opening = {name: self.options[name] for name in names if self.options[name] is not None}
        sensor = self.options["pair_sensor"] if row["family"] in ("pair", "stack", None) else None
        # What could not be opened may be an archive that nobody looked into: its name is that of the file.
        product = None if row["problem"] else row["name"]
        scene = open_scene(row["source"], sensor=sensor, product=product, **opening)
        if scene.time is None and row["time"]:
            return replace(scene, acquisition=replace(scene.acquisition, time=row["time"]))
        return scene

    def _since_failure(self, row: Row, old: Mapping[str, Any]) -> str:
        """Say why a scene that failed is tried again, or that it is not; empty where it did not fail."""
        from ship_geo.ledger import changes

        if old.get("status") != FAILED or self.options["restart"]:
            return ""
        if self.options["retry_failed"]:
            return FAILED_BEFORE
        tried = old.get("tried")
        changed = changes(tried, self._attempt(row)) if tried else ""
        return f"{FAILED_BEFORE}; {changed}" if changed else NOT_AGAIN

    def _attempt(self, row: Row) -> Row:
        """All that may be another when a scene fails once and not the next time, by names that a user knows."""
        names = ("device", "max_memory", "max_gpu_memory", "scratch", "overwrite")
        chosen = {name: self.options[name] for name in names}
        return {**self._parameters(row), **chosen, "block": self.options["chunks"], "files": files_digest(row)}

    def _parameters(self, row: Row) -> Row:
        names = ("radiometry", "precision", "geometry", "dem", "geoid", "crs", "resolution", "missing", "pair_sensor")
        chosen = {name: self.options[name] for name in names if self.options[name] is not None}
        return {**chosen, "model": self.digest, "register": self.options["register"] == "auto", "time": row["time"]}


def _same(causes: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    return {name: value for name, value in causes.items() if name != "scene"} == parameters


def _why(old: Mapping[str, Any], causes: Mapping[str, Any], *, is_done: bool, is_restart: bool) -> str:
    from ship_geo.ledger import changes

    if is_restart:
        return "a restart was asked for"
    if is_done:
        return changes(old["causes"], causes)
    reasons = {"": "not done yet", DONE: "its output is not there any more", FAILED: FAILED_BEFORE}
    return reasons.get(old.get("status", ""), "was stopped")


def _stamp(row: Mapping[str, Any]) -> list[int] | None:
    """Size and time of an archive that holds all of a scene: unchanged, it need not be unpacked to be skipped."""
    if not str(row["source"]).lower().endswith(_SINGLE_FILES):
        return None
    try:
        facts = os.stat(row["source"])  # noqa: PTH116  may be a name that is no path
    except OSError:
        return None
    return [facts.st_size, facts.st_mtime_ns]


def facts_of(scene: Any) -> Row:
    """Return what a record tells of a scene, by the names of the columns of an index."""
    from shapely.geometry import mapping

    from ship_geo.catalog import footprint, on_globe

    known, ring = scene.acquisition, footprint(scene)
    return {
        "sensor": scene.sensor.title,
        "family": scene.family,
        **{name: getattr(known, name) for name in ("platform", "product_id", "level", "time", "cloud")},
        **{name: getattr(known, name) for name in ("sun_elevation", "off_nadir")},
        "resolution": scene.pair.output.resolution[0],
        "bands": ",".join(scene.ms.roles),
        "geometry": None if ring is None else mapping(on_globe(ring)),
    }


def run_all(
    batch: Batch, tasks: Sequence[tuple[Row, str]], client: Any, log: Log, progress: BatchProgress
) -> Iterator[tuple[str, Row]]:
    """Work on scenes, one after the other here, some at a time on a cluster, and give their records."""

    def work(row: Row, stem: str) -> Row:
        def tell(event: str, /, **facts: Any) -> None:
            if batch.stop.is_set():
                raise _Stop
            log(event, **{**facts, "scene": stem})
            progress.event(stem, event, facts)

        CURRENT.set(stem)
        return batch.one(row, stem, client, tell)

    n_thread = batch.options["jobs"] or (1 if client is None else 3)
    if n_thread == 1:
        yield from ((stem, work(row, stem)) for row, stem in tasks)
    else:
        yield from _run_in_threads(work, tasks, n_thread, batch.stop)


def _run_in_threads(
    work: Callable[[Row, str], Row], tasks: Sequence[tuple[Row, str]], n_thread: int, stop: threading.Event
) -> Iterator[tuple[str, Row]]:
    waiting: queue.SimpleQueue[tuple[Row, str]] = queue.SimpleQueue()
    results: queue.SimpleQueue[tuple[str, Row | BaseException]] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)

    def serve() -> None:
        with suppress(queue.Empty):
            while not stop.is_set():
                row, stem = waiting.get_nowait()
                try:
                    results.put((stem, work(row, stem)))
                except BaseException as error:  # noqa: BLE001  raised where the batch waits
                    results.put((stem, error))

    # Daemons: what does not stop in time must not keep the process; what is finished of it stays on the disk.
    threads = [threading.Thread(target=serve, daemon=True, name=f"scene-{i}") for i in range(n_thread)]
    try:
        for thread in threads:
            thread.start()
        for _ in tasks:
            stem, result = results.get()
            if isinstance(result, BaseException):
                raise result
            yield stem, result
    finally:
        stop.set()
        for thread in threads:
            thread.join(_GRACE / n_thread)


class _Stop(BaseException):
    """The batch is being stopped."""
