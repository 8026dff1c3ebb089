"""Progress of long runs on the standard error: a bar for people, plain lines for logs, nothing when not wanted.

Knows pixels only. The convention that could surprise: where the standard error is no terminal, there is a line at most
every ten seconds, and one at the end; so a log of an hour has some hundred lines, not a million.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Advance: TypeAlias = Callable[[int], None]
"""Called with the number of pixels that were finished; from any thread."""

LINE_EVERY = 10.0
"""Shortest time between two plain lines, s."""

_MEGA = 1e6


@contextmanager
def track_blocks(n_pixel_total: int, *, enabled: bool) -> Iterator[Advance]:
    """Show progress on the standard error while the context lasts.

    Parameters
    ----------
    n_pixel_total
        Pixels to be finished.
    enabled
        Whether anything is shown at all.

    Yields
    ------
    Callable
        To be called with the number of pixels that were finished since the last call.
    """
    if not enabled:
        yield _ignore
    elif sys.stderr.isatty():
        with _bar(n_pixel_total) as advance:
            yield advance
    else:
        lines = _Lines(n_pixel_total)
        yield lines.advance
        lines.close()


def format_duration(seconds: float) -> str:
    """Return a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _ignore(n_pixel: int) -> None:
    del n_pixel


@contextmanager
def _bar(n_pixel_total: int) -> Iterator[Advance]:
    from rich.console import Console  # not for runs that show nothing
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeftColumn
    from rich.text import Text

    class SpeedColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed / _MEGA:.2f} megapixels/s")

    columns = (TextColumn("sharpening"), BarColumn(), TaskProgressColumn(), SpeedColumn(), TimeLeftColumn())
    with Progress(*columns, console=Console(file=sys.stderr)) as progress:
        task = progress.add_task("sharpening", total=n_pixel_total)

        def advance(n_pixel: int) -> None:
            progress.advance(task, n_pixel)

        yield advance


class _Lines:
    """Plain lines with share, speed and time left."""

    def __init__(self, n_pixel_total: int) -> None:
        self._total = max(1, n_pixel_total)
        self._done = 0
        self._start = self._last = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, n_pixel: int) -> None:
        """Count, and write a line if the last one is old."""
        with self._lock:
            self._done += n_pixel
            now = time.monotonic()
            if now - self._last < LINE_EVERY or self._done >= self._total:  # the end has a line of its own
                return
            self._last = now
            left = (now - self._start) * (self._total - self._done) / max(1, self._done)
            self._write(f"{self._done / self._total:.0%}, {self._speed(now)}, {format_duration(left)} left")

    def close(self) -> None:
        """Write the last line."""
        now = time.monotonic()
        self._write(f"{self._done / self._total:.0%}, {self._speed(now)}, {format_duration(now - self._start)} in all")

    def _speed(self, now: float) -> str:
        return f"{self._done / _MEGA / max(now - self._start, 1e-9):.2f} megapixels/s"

    def _write(self, text: str) -> None:
        sys.stderr.write(f"sharpening: {text}\n")
        sys.stderr.flush()
