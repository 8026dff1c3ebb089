"""What a job has finished: a few lines of text beside its staged pixels, from which the same job goes on.

A folder holds the facts of the job (`write_facts`) and the blocks that are finished (`append`, `read`). Not for pixels,
and not for who may write. Three conventions could surprise. Every process appends to a file of its own, since
appending from several machines to one file loses lines on network file systems. The order of lines means nothing: a
block is finished if the pixels on the disk have the checksum of any of its lines, so a line that was written for
pixels which never reached the disk does no harm. And what cannot be read, such as a line that a power cut tore, is
left out.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ship_geo._typing import Box

FACTS = "facts.json"
"""Name of the file with the facts."""

N_BLOCK = "n_block"
"""Fact that tells how many blocks a job has, if it is known."""

_BLOCKS = "blocks-{}.jsonl"
_SHORT = 40
_PROCESS = uuid.uuid4().hex[:12]  # process numbers are the same in many containers


@dataclass(frozen=True)
class Entry:
    """One finished block.

    Attributes
    ----------
    box
        (row0, row1, col0, col1) on the output.
    checksum
        CRC-32 of its pixels and mask as they lie on the disk.
    counts
        What was counted in it, such as clipped values; small whole numbers by name.
    """

    box: Box
    checksum: int
    counts: Mapping[str, int] = field(default_factory=dict)


def append(folder: Path, entry: Entry) -> None:
    """Note a finished block, in one write, so that lines of several threads do not mix.

    Raises
    ------
    OSError
        When the line cannot be written; what there is of it is skipped by `read`.
    """
    descriptor = os.open(folder / _own_name(), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # The line break comes first, too: the line before may be torn.
        line = f"\n{_line(entry)}\n".encode()
        if os.write(descriptor, line) != len(line):
            msg = "the line of a finished block was cut short"
            raise OSError(msg)
    finally:
        os.close(descriptor)


def read(folder: Path) -> tuple[Entry, ...]:
    """Return the blocks that were noted by any process; several of one box if it was written several times."""
    found = []
    for path in sorted(folder.glob(_BLOCKS.format("*"))):
        with suppress(FileNotFoundError):  # a living run put its lines together
            lines = path.read_bytes().split(b"\n")
            found += [entry for line in lines if line and (entry := _parse(line)) is not None]
    return tuple(found)


def rewrite(folder: Path, entries: Iterable[Entry]) -> None:
    """Note these blocks and no others."""
    own = folder / _own_name()
    _write_whole(own, "".join(f"{_line(entry)}\n" for entry in entries))
    for path in folder.glob(_BLOCKS.format("*")):
        if path != own:
            path.unlink(missing_ok=True)


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write what a job depends on; values must be such as JSON can hold."""
    _write_whole(folder / FACTS, json.dumps(facts, sort_keys=True, ensure_ascii=False))


def read_facts(folder: Path) -> dict[str, Any] | None:
    """Return what the job of a folder depends on; None when that is missing or cannot be read."""
    try:
        facts = json.loads((folder / FACTS).read_bytes())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say in which facts two jobs differ.

    Returns
    -------
    str
        ``"model_digest and bits (11, now 12) changed"``; empty when they are the same.
    """
    was, now = ({key: json.dumps(value, sort_keys=True) for key, value in facts.items()} for facts in (old, new))
    told = [
        f"{key} ({was[key]}, now {now[key]})"
        if key in was and key in now and len(was[key] + now[key]) < _SHORT
        else key
        for key in dict.fromkeys([*now, *was])
        if was.get(key) != now.get(key)
    ]
    if not told:
        return ""
    return f"{', '.join(told[:-1])} and {told[-1]} changed" if len(told) > 1 else f"{told[0]} changed"


def kept(folder: Path) -> str:
    """Say how much of a job is finished, as a sentence; empty when nothing is."""
    n_done = len({entry.box for entry in read(folder)})
    if not n_done:
        return ""
    n_block = (read_facts(folder) or {}).get(N_BLOCK, "?")
    return f"{n_done} of {n_block} blocks are finished and kept in {folder}, and the same call goes on from there"


def _own_name() -> str:
    return _BLOCKS.format(f"{_PROCESS}-{os.getpid()}")  # a forked process has the same text and another number


def _line(entry: Entry) -> str:
    return json.dumps({"box": entry.box, "checksum": entry.checksum, "counts": dict(entry.counts)})


def _parse(line: bytes) -> Entry | None:
    try:
        value = json.loads(line)
        row0, row1, col0, col1 = (int(edge) for edge in value["box"])
        counts = {str(name): int(count) for name, count in value["counts"].items()}
        return Entry((row0, row1, col0, col1), int(value["checksum"]), counts)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that after a crash it is the old or the new one."""
    made = path.with_name(f"{path.name}.new")
    with made.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    made.replace(path)
