"""Structured logs: one JSON object a line, for programs that watch runs.

An event has a ``time`` (UTC), a ``level``, its name as ``event``, and facts by name; which events there are says
`ship_geo.runner.run_job`. The convention that could surprise: ``-`` means the standard error, since results go to the
standard output. And a log that cannot be written any more is given up with a warning: no run ends for it.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO
from warnings import warn

from ship_geo._typing import PathLike
from ship_geo.dispatch import Log
from ship_geo.errors import ArgumentError, OutputError
from ship_geo.writer.texts import as_plain

STANDARD_ERROR = "-"

_LONGEST = 2**20  # bytes of a first line that are looked at

_LEVELS = {"retry": "warning", "waiting": "warning", "warning": "warning", "stopped": "warning", "failed": "error"}


@contextmanager
def json_log(where: PathLike | None) -> Iterator[Log]:
    """Open a log while the context lasts.

    Parameters
    ----------
    where
        File to which lines are added, ``"-"`` for the standard error, or None for no log at all.

    Yields
    ------
    Log
        To be called with the name of an event, and facts by keyword; from any thread.

    Raises
    ------
    ArgumentError
        When the file is there and holds something else than events.
    OutputError
        When the file cannot be opened.
    """
    if where is None:
        yield _ignore
    elif str(where) == STANDARD_ERROR:
        yield _Lines(sys.stderr).log
    else:
        check_log(where)
        try:
            file = Path(where).open("a", encoding="utf-8")  # noqa: SIM115  closed below; only opening may raise
        except OSError as error:
            msg = f"a log must be writable, got {error.strerror} for {where}; choose another file"
            raise OutputError(msg) from error
        try:
            yield _Lines(file).log
        finally:
            with suppress(OSError):  # what could not be written is told already
                file.close()


def check_log(where: PathLike) -> None:
    """Check that a file to which lines are to be added is a log, new or empty, so that nothing else is spoiled.

    Raises
    ------
    ArgumentError
        When the file holds something else than events.
    """
    path = Path(where)
    if not path.is_file():  # new, or a pipe that a program reads
        return
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST)
        is_log = not line or "event" in json.loads(line)
    except OSError:  # told when it is opened
        return
    except (ValueError, TypeError):
        is_log = False
    if not is_log:
        msg = f"events are added to a log of events only, got the file {where} that is none; choose another name"
        raise ArgumentError(msg)


class _Lines:
    def __init__(self, file: TextIO) -> None:
        self._file, self._lock, self._is_lost = file, threading.Lock(), False

    def log(self, event: str, /, **facts: Any) -> None:
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        known = {"time": now, "level": _LEVELS.get(event, "info"), "event": event, **facts}
        line = json.dumps(as_plain(known), ensure_ascii=False, allow_nan=False, default=str) + "\n"
        with self._lock:
            if self._is_lost:
                return
            try:
                self._file.write(line)
                self._file.flush()
            except (OSError, ValueError) as error:
                self._is_lost = True
                warn(f"the log must be writable, got {error}; no more events are logged", UserWarning, stacklevel=3)


def _ignore(event: str, /, **facts: Any) -> None:
    del event, facts
