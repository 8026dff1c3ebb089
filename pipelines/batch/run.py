"""Sharpening the scenes of a batch, one after the other or several at once, each for itself.

Whatever goes wrong with a scene is recorded with the reason, and the next one follows; only an interruption, and the
loss of the cluster, end the batch. The convention that could surprise: when it is interrupted, what breaks in the
scenes that were at work counts as not finished, not as failed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from batch.state import Entry, State
from clusters import ClusterError

from ship_geo.errors import OutputError, ShipGeoError


@dataclass
class Batch:
    """One call: what to do with every scene, and where to keep account of it.

    Attributes
    ----------
    folder
        Of the outputs.
    state
        The account, see `batch.state`.
    how
        Arguments of `pansharpen_scene` that all scenes share.
    identity
        Of the model and of the parameters that change pixels: outputs of another one are made anew.
    with_stac
        Whether outputs get Items.
    progress
        Whether the blocks of a scene are shown.
    quiet
        Whether nothing is said of scenes.
    client
        Of the cluster, or None.
    made
        Megapixels of each scene that was done.
    stop
        Set when the batch is interrupted: what breaks then has not failed.
    """

    folder: Path
    state: State
    how: dict[str, Any]
    identity: dict[str, Any]
    with_stac: bool
    progress: bool
    quiet: bool
    client: Any = None
    made: list[float] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def why(self, entry: Entry) -> str:
        """Return why a scene is to be sharpened now; empty when it is not."""
        known = self.state.latest.get(entry.key)
        if known is None:
            return "new"
        if known["status"] == "running":
            return "not finished before"
        if known["stamp"] != entry.stamp:
            return "its files or metadata changed"
        if known.get("how") != self.identity:
            return "model or parameters changed"
        is_lost = known["status"] == "done" and not (self.folder / known["output"]).exists()
        return "its output has gone" if is_lost else ""

    def choose(self, entries: Sequence[Entry], *, retry_failed: bool) -> list[Entry]:
        """Return the scenes to be sharpened; those that cannot be opened are recorded as failed."""
        chosen = []
        for entry in entries:
            known = self.state.latest.get(entry.key, {})
            is_failed = known.get("status") == "failed"
            if entry.problem:
                if not is_failed or known["reason"] != entry.problem:
                    self.state.write(entry, "failed", output=known.get("output", ""), reason=entry.problem)
            elif is_failed if retry_failed else self.why(entry):
                chosen.append(entry)
        return chosen

    def run(self, entries: Sequence[Entry], at_once: int) -> None:
        """Sharpen scenes, `at_once` at a time."""
        if at_once == 1:
            for number, entry in enumerate(entries, start=1):
                self._tell(f"{number}/{len(entries)}", entry, self._attempt(entry))
            return
        with ThreadPoolExecutor(at_once, thread_name_prefix="scene") as pool, self._stopping(pool):
            running = {pool.submit(self._attempt, entry): entry for entry in entries}
            for number, future in enumerate(as_completed(running), start=1):
                self._tell(f"{number}/{len(entries)}", running[future], future.result())

    @contextmanager
    def _stopping(self, pool: ThreadPoolExecutor) -> Iterator[None]:
        """End the scenes of other threads, too, when this one is interrupted or the cluster is lost."""
        try:
            yield
        except BaseException:
            self.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            self.client.close()
            raise

    def _attempt(self, entry: Entry) -> str:
        """Sharpen a scene and record what became of it; return that in words."""
        if self.stop.is_set():
            return "not begun"
        start = time.perf_counter()
        try:
            made = self._sharpen(entry)
        except Exception as error:  # one scene must not end the others
            if self.stop.is_set():
                return "not finished"
            if self.client is not None and self.client.status != "running":
                msg = f"the scheduler must stay there, got none any more ({error}); start it and repeat the command"
                raise ClusterError(msg) from error
            reason = str(error) if isinstance(error, ShipGeoError) else f"{type(error).__name__}: {error}"
            kept = entry.output if self.state.owns(entry) else ""
            seconds = round(time.perf_counter() - start, 3)
            self.state.write(entry, "failed", output=kept, reason=reason, seconds=seconds, how=self.identity)
            return f"failed: {reason}"
        self.state.write(entry, "done", how=self.identity, **made)
        self.made.append(made["megapixels"])
        return f"done, {made['seconds']:.1f} s, {made['megapixels'] / max(made['seconds'], 1e-9):.2f} megapixels/s"

    def _sharpen(self, entry: Entry) -> dict[str, Any]:
        from ship_geo.api import pansharpen_scene

        target, is_ours = self.folder / entry.output, self.state.owns(entry)
        theirs = [] if is_ours else [path for path in (target, target.with_suffix(".json")) if path.exists()]
        if theirs:
            msg = (
                f"an output must not exist, got {theirs[0]}, which is not of this batch; move it, or choose another OUT"
            )
            raise OutputError(msg)
        start = time.perf_counter()
        self.state.write(entry, "running", how=self.identity)
        with pansharpen_scene(
            entry.source,
            product=entry.product,
            output=target,
            overwrite=is_ours,
            stac=self._gets_item(entry),
            progress=self.progress,
            **self.how,
        ) as fused:
            record = json.loads(fused.attrs["ship_geo_record"])
        return {
            "seconds": round(time.perf_counter() - start, 3),
            "megapixels": round(record["n_pixel"] / 1e6, 6),
            "warnings": record["warnings"],
        }

    def _gets_item(self, entry: Entry) -> bool:
        return self.with_stac and entry.facts["time"] is not None  # STAC knows no data without a time

    def _tell(self, number: str, entry: Entry, text: str) -> None:
        if not self.quiet:
            click.echo(f"{number} {entry.facts['name']}: {text}", err=True)

    def items(self) -> list[Path]:
        """Return the Items of all outputs; those that are missing are made."""
        from ship_geo.stac import item_path

        found = []
        for record in self.state.latest.values():
            target = self.folder / record["output"]
            if record["status"] != "done" or not target.exists() or record["facts"]["time"] is None:
                continue
            if not item_path(target).exists():
                self._describe(record, target)
            found.append(item_path(target))
        return found

    def _describe(self, record: Mapping[str, Any], target: Path) -> None:
        """Write the Item of an output that was made without one."""
        from ship_geo.jobs import Job
        from ship_geo.lazy import run_facts
        from ship_geo.scene import open_scene
        from ship_geo.stac import write_item

        facts = record["facts"]
        product = None if facts["family"] in ("", "pair", "stack") else facts["name"]
        scene = open_scene(record["source"], product=product)
        named = (self.how[name] for name in ("model", "device", "precision", "radiometry"))
        write_item(target, scene, run_facts(Job.of(scene, *named)))
