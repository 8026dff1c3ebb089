"""The hidden folder beside an output in which it is made, and what becomes of those of runs that were killed.

A run that is killed (SIGKILL, power) cannot remove its folder. The next run to the same target does, but only when it
is sure that nobody uses it: the folder's owner file must name this host and a process that is gone, and the lock that
the owner held on it must be free. Folders of other hosts, of living runs, and such without a readable owner file stay.
The convention that could surprise: the lock counts as well as the process number, since containers that share a folder
see only their own processes.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_OWNER = "owner.json"


class StagingFolder:
    """A hidden folder beside a target; leaving the context removes it.

    Parameters
    ----------
    target
        File that is going to be made; its folder must exist.
    """

    def __init__(self, target: Path) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
        try:
            self._lock: int | None = _claim(self.path / _OWNER)
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Remove the folder and everything in it; doing so again does nothing."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def n_byte(self) -> int:
        """Size of the files in the folder, bytes."""
        return sum(path.stat().st_size for path in self.path.iterdir()) if self.path.exists() else 0


def sweep(target: Path) -> tuple[Path, ...]:
    """Remove what killed runs to the same target left beside it.

    Parameters
    ----------
    target
        File that is going to be made, links resolved.

    Returns
    -------
    tuple of Path
        Folders that were removed.
    """
    try:
        found = [path for path in target.parent.iterdir() if path.name.startswith(_prefix(target))]
    except OSError:
        return ()  # the check of the output has a better message
    left = tuple(path for path in found if path.is_dir() and not path.is_symlink() and _is_left(path / _OWNER))
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    return left


def _prefix(target: Path) -> str:
    return f".{target.name}.part-"


def _claim(file: Path) -> int:
    """Write an owner file and return its descriptor, which holds the lock until it is closed or the process ends."""
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        _try_lock(descriptor)  # first: whoever can read the owner finds the lock held
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "start": _start_of(os.getpid())}
        os.write(descriptor, json.dumps(owner).encode())
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_left(file: Path) -> bool:
    """Whether the run that owns a folder is surely gone."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        owner = json.loads(os.read(descriptor, 4096))
        return owner["host"] == socket.gethostname() and not _is_running(owner) and _try_lock(descriptor)
    except (OSError, ValueError, TypeError, KeyError):
        return False
    finally:
        os.close(descriptor)


def _is_running(owner: dict[str, Any]) -> bool:
    pid = int(owner["pid"])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    # The number may have gone to another process since; where the system does not tell the start, it counts as ours.
    start = _start_of(pid)
    return start is None or owner["start"] is None or start == owner["start"]


def _start_of(pid: int) -> str | None:
    """Return boot and clock tick at which a process started: they tell it from others of its number; None: no /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return f"{boot} {fields[19]}"  # field 22 of proc(5), counted from the state, which is field 3


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held by the owner, or a file system without locks
        return False
    return True
