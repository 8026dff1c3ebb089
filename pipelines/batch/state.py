"""What a batch knows of its scenes: one line of JSON for every start and every end, in the folder of the outputs.

The last line of a scene is the truth; a line that a crash has torn counts as never written. The file is locked while a
batch runs, so that two do not write into one folder. Not for the blocks of a scene, which the job itself keeps account
of. The convention that could surprise: a scene is started in the state before its output is touched, and only the
output of a scene that was ever started is ever replaced; a file of somebody else never is.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import geopandas as gpd
import pandas as pd

from ship_geo.errors import OutputError
from ship_geo.raster import is_remote, local_file

STATE = "batch.jsonl"
RESERVED = frozenset({"batch", "catalog", "collection"})
"""Names that no output may have: those of the files about the batch."""

_FACTS = ("name", "family", "sensor", "platform", "product_id")
_LONGEST = 120  # bytes of UTF-8 in a name, so that a suffix and the name of a hidden sibling fit in 255


@dataclass(frozen=True)
class Entry:
    """A scene of the batch.

    Attributes
    ----------
    key
        Names it in the state: source, relative to the folder that was searched, and product.
    source, product
        For `ship_geo.open_scene`; product is None for a plain pair.
    output
        Name of its file.
    stamp
        Changes with the files of the scene and with what the table says of it.
    problem
        Why it cannot be opened, or empty.
    facts
        For the catalog, as values that JSON can hold: name, sensor, time, footprint (WKT) and others.
    """

    key: str
    source: str
    product: str | None
    output: str
    stamp: str
    problem: str
    facts: Mapping[str, Any]


class State:
    """The file of a batch, for a `with` block.

    Parameters
    ----------
    folder
        Of the outputs; made if missing.

    Attributes
    ----------
    latest
        Last record of every scene, by key: ``status`` (``"running"``, ``"done"`` or ``"failed"``), ``output`` (empty
        where the batch has never touched it), ``stamp`` and others.

    Raises
    ------
    OutputError
        When it cannot be written, or another batch has it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / STATE
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as error:
            msg = f"the folder of a batch must be writable, got {error.strerror} for {self.path}; choose another one"
            raise OutputError(msg) from error
        self.latest: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._file)
            msg = f"one batch at a time writes into a folder, got another in {self.path.parent}; wait for it"
            raise OutputError(msg) from error
        except OSError:
            pass  # a file system without locks
        text = self.path.read_bytes()
        if text and not text.endswith(b"\n"):
            os.write(self._file, b"\n")
        self.read()
        return self

    def read(self) -> None:
        """Take `latest` from the file: what it says is the truth, also after a signal in the middle of `write`."""
        found = map(_parsed, self.path.read_bytes().splitlines())
        self.latest = {record["key"]: record for record in found if record is not None}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def write(self, entry: Entry, status: str, **more: Any) -> None:
        """Record what became of a scene, for good: it survives a power cut."""
        known = {"key": entry.key, "status": status, "stamp": entry.stamp, "output": entry.output}
        record: dict[str, Any] = {**known, "source": entry.source, "facts": dict(entry.facts), **more}
        with self._lock:
            os.write(self._file, json.dumps(record, ensure_ascii=False).encode() + b"\n")
            os.fsync(self._file)
            self.latest[entry.key] = record

    def owns(self, entry: Entry) -> bool:
        """Whether the output of a scene was ever begun by this batch, so that it may be replaced."""
        return bool(self.latest.get(entry.key, {}).get("output"))


def make_entries(table: gpd.GeoDataFrame, root: Path, state: State) -> list[Entry]:
    """Return the scenes of a table, with outputs of names that differ even where case does not matter.

    Parameters
    ----------
    table
        All scenes, before any filter: so the names do not depend on it.
    root
        Folder that was searched, or file of the table.
    state
        A scene keeps the name that it has there.
    """
    rows = list(table.itertuples())
    keys = _distinct([_key(row, root) for row in rows])
    taken = {key: record["output"] for key, record in state.latest.items() if record.get("output")}
    outputs = name_outputs({key: row.name for key, row in zip(keys, rows, strict=True)}, taken)
    return [_entry(row, key, outputs[key]) for key, row in zip(keys, rows, strict=True)]


def name_outputs(names: Mapping[str, str], taken: Mapping[str, str]) -> dict[str, str]:
    """Give every scene the name of a file.

    Parameters
    ----------
    names
        Key of a scene to what it is called.
    taken
        Key of a scene to the file it has already, also of scenes that are not in `names`.

    Returns
    -------
    dict of str to str
        The name where it is the only one, else the name with a hash of the key.
    """
    bare = {key: _slug(name) for key, name in names.items() if key not in taken}
    uses = Counter(slug.casefold() for slug in bare.values())
    uses.update(dict.fromkeys(RESERVED, 2))
    uses.update(Path(file).stem.casefold() for file in taken.values())
    chosen = {}
    for key, slug in bare.items():
        is_alone = uses[slug.casefold()] == 1
        chosen[key] = f"{slug if is_alone else f'{slug}-{_digest(key)[:10]}'}.tif"
    return {**{key: taken[key] for key in names if key in taken}, **chosen}


def _entry(row: Any, key: str, output: str) -> Entry:
    facts: dict[str, Any] = {name: _text(getattr(row, name)) for name in _FACTS}
    facts["time"] = None if pd.isna(row.time) else row.time.isoformat()
    facts["footprint"] = None if row.geometry is None or row.geometry.is_empty else row.geometry.wkt
    product = None if row.family in ("", "pair", "stack") else row.name
    stamp = _digest([facts, None if pd.isna(row.cloud) else row.cloud, _stats(row)])
    return Entry(key, _absolute(row.source), product, output, stamp, _text(row.problem), facts)


def _stats(row: Any) -> list[list[Any]]:
    """Name, size and time of the files of a scene; of those elsewhere than on a local disk the name alone."""
    paths = [row.source, *_text(row.ms).split("\n"), *_text(row.pan).split("\n")]
    files = dict.fromkeys(str(local_file(path) or path) for path in paths if path)
    return [[Path(file).name, *_stat(Path(file))] for file in files]


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _stat(path: Path) -> tuple[int, ...]:
    try:
        known = path.stat()
    except OSError:
        return ()
    return (known.st_size, known.st_mtime_ns) if path.is_file() else ()


def _absolute(source: str) -> str:
    return source if is_remote(source) else str(Path(source).absolute())


def _key(row: Any, root: Path) -> str:
    source, start = Path(_absolute(row.source)), root.absolute()
    place = source.relative_to(start) if source.is_relative_to(start) else source
    return f"{place.as_posix()}::{row.name}"


def _distinct(keys: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    made = []
    for key in keys:
        seen[key] += 1
        made.append(key if seen[key] == 1 else f"{key}#{seen[key]}")
    return made


def _slug(name: str) -> str:
    bare = re.sub(r"[^\w.+-]+", "_", unicodedata.normalize("NFKC", name)).strip("._-")
    return bare.encode()[:_LONGEST].decode(errors="ignore") or "scene"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and {"key", "status"} <= set(record) else None
