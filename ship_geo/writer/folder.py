"""The hidden folder beside an output in which it is made, and who may use it: one job at a time.

The folder's name follows from the target, so that the next run finds what an interrupted one left and can go on. Its
owner file names the process and holds a lock. A run is refused while the owner may live: while the lock is held; where
the file system has no locks, while the process is there; and when it ran on another machine, until its file has not
been touched for a minute and a half, as living owners do. Two conventions could surprise. The lock counts more than the
process number, since containers that share a folder see only their own processes. And an owner that leaves its folder
on purpose empties the file: then nobody owns it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ship_geo import ledger
from ship_geo._typing import PathLike
from ship_geo.errors import OutputError
from ship_geo.writer.faults import disk_use

BEAT = 15.0
"""Seconds between two touches of the owner file."""

STALE = 90.0
"""Seconds after which an owner on another machine counts as gone."""

_OWNER = "owner.json"
_N_TRY = 20


def folder_of(target: Path) -> Path:
    """Return the folder in which a target is made; links of the target must be resolved."""
    return target.with_name(f".{target.name}.ship-geo")


def describe(target: PathLike) -> dict[str, Any] | None:
    """Tell what an interrupted run to a target left, or what a living one has done.

    Returns
    -------
    dict or None
        Plain values: ``folder``, ``n_byte`` (on the disk), ``n_done`` and ``n_block``, ``facts``, ``owner`` (empty for
        nobody); None when there is nothing.
    """
    folder = folder_of(Path(target).resolve())
    if folder.is_symlink() or not folder.is_dir():
        return None
    facts = ledger.read_facts(folder) or {}
    try:
        owner = json.loads((folder / _OWNER).read_bytes())
    except (OSError, ValueError):
        owner = {}
    return {
        "folder": str(folder),
        "n_byte": disk_use(folder),
        "n_done": len({entry.box for entry in ledger.read(folder)}),
        "n_block": facts.get(ledger.N_BLOCK),
        "facts": facts,
        "owner": owner,
    }


def discard(target: PathLike) -> bool:
    """Remove what an interrupted run to a target left; the target stays as it is.

    Returns
    -------
    bool
        Whether there was anything.

    Raises
    ------
    OutputError
        When a run may be using it.
    """
    resolved = Path(target).resolve()
    folder = folder_of(resolved)
    if folder.is_symlink() or not folder.is_dir():
        return False
    StagingFolder(resolved).remove()
    return True


def check_free(target: PathLike) -> None:
    """Check that no run makes a target now; what an interrupted one left stays as it is.

    Raises
    ------
    OutputError
        When a run may be making it.
    """
    folder = folder_of(Path(target).resolve())
    try:
        descriptor = os.open(folder / _OWNER, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # there is none, or it is not ours to look at
        return
    try:
        is_locked = _try_lock(descriptor, folder, fcntl.LOCK_SH)
        _refuse_living(_owner_in(descriptor), descriptor, folder, is_locked=is_locked)
    finally:
        os.close(descriptor)


class StagingFolder:
    """The folder of a target, owned from construction until `leave` or `remove`.

    Parameters
    ----------
    target
        File that is going to be made, links resolved; its folder must exist.

    Raises
    ------
    OutputError
        When another run may be using the folder, or something else has its name.
    """

    def __init__(self, target: Path) -> None:
        self.path = folder_of(target)
        self._lock: int | None = _own(self.path)
        self._end = threading.Event()
        self._heart = threading.Thread(target=self._beat, args=(self._lock,), name="ship-geo-owner", daemon=True)
        self._heart.start()

    @property
    def is_owned(self) -> bool:
        """Whether the folder is still that of this run."""
        return self._lock is not None and _is_at(self._lock, self.path / _OWNER)

    def empty(self) -> None:
        """Remove everything but the owner file."""
        for path in self.path.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != _OWNER:
                path.unlink()

    def leave(self) -> None:
        """Leave the folder to the next run; doing so again does nothing."""
        if self._lock is not None:
            with suppress(OSError):
                os.ftruncate(self._lock, 0)
            self._release()

    def remove(self) -> None:
        """Remove the folder and everything in it; doing so again does nothing."""
        if self._lock is None:
            return
        if self.is_owned:
            with suppress(OSError):
                self.empty()
            # The owner file last: whoever waits for the lock then sees that the folder is another one.
            shutil.rmtree(self.path, ignore_errors=True)
        self._release()

    def _release(self) -> None:
        self._end.set()
        self._heart.join()
        descriptor, self._lock = self._lock, None
        if descriptor is not None:
            os.close(descriptor)

    def _beat(self, descriptor: int) -> None:
        while not self._end.wait(BEAT):
            with suppress(OSError):
                os.utime(descriptor)


def _own(folder: Path) -> int:
    """Become the owner of a folder, made if need be, and return the descriptor that holds its lock."""
    for _ in range(_N_TRY):
        _make(folder)
        try:
            descriptor = os.open(folder / _OWNER, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:  # its owner removed it just now
            continue
        try:
            is_locked = _try_lock(descriptor, folder)
            if not _is_at(descriptor, folder / _OWNER):
                os.close(descriptor)
                continue
            _refuse_living(_owner_in(descriptor), descriptor, folder, is_locked=is_locked)
            owner = {"pid": os.getpid(), "host": socket.gethostname(), "start": _start_of(os.getpid())}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(owner).encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    raise OutputError(_in_use(folder, "that come and go"))


def _make(folder: Path) -> None:
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if folder.is_symlink() or not folder.is_dir() or _is_foreign(folder):
        msg = f"the folder in which the output is made must be this user's own, got {folder}; remove it"
        raise OutputError(msg)


def _is_foreign(folder: Path) -> bool:
    """Whether another user may have put a folder where everybody may, such as /tmp, and still own it."""
    return bool(folder.parent.stat().st_mode & stat.S_ISVTX) and folder.stat().st_uid != os.geteuid()


def _refuse_living(owner: dict[str, Any], descriptor: int, folder: Path, *, is_locked: bool) -> None:
    if not owner:
        return
    is_here = owner.get("host") == socket.gethostname()
    if is_here and not is_locked and _is_running(owner):
        raise OutputError(_in_use(folder, _name_of(owner)))
    if not is_here:
        age = _now_at(folder) - os.fstat(descriptor).st_mtime
        if age < STALE:
            msg = _in_use(folder, f"{_name_of(owner)}, {max(age, 0):.0f} s ago")
            raise OutputError(f"{msg}; if that was killed, try again in {STALE - max(age, 0):.0f} s")


def _in_use(folder: Path, who: str) -> str:
    return (
        f"an output must be made by one job at a time, got {folder} in use by {who}; "
        "wait for the other job or choose another output"
    )


def _name_of(owner: dict[str, Any]) -> str:
    return f"process {owner['pid']} on {owner['host']}" if "pid" in owner and "host" in owner else "another process"


def _owner_in(descriptor: int) -> dict[str, Any]:
    """Return who is named in an owner file; empty for nobody."""
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _is_running(owner: dict[str, Any]) -> bool:
    try:
        pid = int(owner["pid"])
        os.kill(pid, 0)
    except (KeyError, TypeError, ValueError, ProcessLookupError):
        return False
    except (PermissionError, OverflowError):
        return True
    # The number may have gone to another process since; where the system does not tell the start, it counts as ours.
    start = _start_of(pid)
    return start is None or owner.get("start") is None or start == owner["start"]


def _start_of(pid: int) -> str | None:
    """Return boot and clock tick at which a process started: they tell it from others of its number; None: no /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return f"{boot} {fields[19]}"  # field 22 of proc(5), counted from the state, which is field 3


def _try_lock(descriptor: int, folder: Path, kind: int = fcntl.LOCK_EX) -> bool:
    """Lock an owner file; False where the file system has no locks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(_in_use(folder, _name_of(_owner_in(descriptor)))) from error
    except OSError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether a file that was opened still has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _now_at(folder: Path) -> float:
    """Return the time by the clock that stamps the files of a folder, which may be that of a server."""
    probe = folder / ".clock"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        probe.unlink(missing_ok=True)
