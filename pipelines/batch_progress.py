"""Progress of a batch on the standard error: bars for people, plain lines for logs; part of ``pansharpen_batch.py``."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Self

import click

from ship_geo.progress import LINE_EVERY, format_duration


class BatchProgress:
    """Shows how far each scene and the whole batch are, from the events of the runs; a context.

    Parameters
    ----------
    n_scene
        Scenes in all.
    enabled
        Whether anything is shown.
    """

    def __init__(self, n_scene: int, *, enabled: bool) -> None:
        self._total, self._ended = n_scene, 0
        self._blocks: dict[str, list[int]] = {}
        self._enabled = enabled
        self._lock = threading.Lock()
        self._start = self._last = time.monotonic()
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._enabled and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bars = self._stack.enter_context(Progress(*columns, console=Console(file=sys.stderr)))
            self._tasks[""] = self._bars.add_task("scenes", total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def event(self, scene: str, event: str, facts: Mapping[str, Any]) -> None:
        """Take note of an event of a run; from any thread."""
        if event not in ("start", "block"):
            return
        with self._lock:
            known = self._blocks.setdefault(scene, [0, 1])
            if event == "start":
                known[:] = facts["done"], max(1, facts["blocks"])
            else:
                known[0] += 1
            self._show(scene, *known)

    def end(self, scene: str, text: str) -> None:
        """Take note of a scene that has ended, and say how."""
        with self._lock:
            self._ended += 1
            self._blocks.pop(scene, None)
            self.say(f"[{self._ended}/{self._total}] {scene}: {text}")
            if self._bars is not None:
                self._bars.advance(self._tasks[""])
                task = self._tasks.pop(scene, None)
                if task is not None:
                    self._bars.remove_task(task)

    def say(self, text: str) -> None:
        """Show a line, above the bars."""
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False)
        elif self._enabled:
            click.echo(text, err=True)

    def _show(self, scene: str, n_done: int, n_block: int) -> None:
        if self._bars is not None:
            if scene not in self._tasks:
                self._tasks[scene] = self._bars.add_task(scene, total=n_block)
            self._bars.update(self._tasks[scene], completed=n_done, total=n_block)
            return
        now = time.monotonic()
        if now - self._last >= LINE_EVERY:
            self._last = now
            spent = format_duration(now - self._start)
            self.say(f"[{self._ended}/{self._total}] {scene}: {n_done} of {n_block} blocks, {spent} since the start")
