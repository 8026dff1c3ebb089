"""Which scenes a batch works on, and how their outputs are called; part of ``pansharpen_batch.py``."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from batch_records import Records, Row

RESERVED = ("catalog", "collection", "summary")
"""Names that no output may have: its Item would be one of the batch's own files."""


def find_rows(source: str, out: Path, *, unpack: bool) -> list[Row]:
    """Return the scenes of a folder or a table as plain values; what lies in the output folder is none."""
    import pandas as pd
    from shapely.geometry import mapping

    from ship_geo.catalog import find_scenes, read_catalog

    found = find_scenes(source, unpack=unpack) if Path(source).is_dir() else read_catalog(source)
    empty = dict.fromkeys(("family", "sensor", "time", "cloud", "problem"))
    inside = f"{out.resolve()}{os.sep}"
    rows = []
    for known in found.to_dict("records"):
        row = {
            **empty,
            **{name: None if pd.api.types.is_scalar(one) and pd.isna(one) else one for name, one in known.items()},
        }
        if isinstance(row["time"], pd.Timestamp):
            moment = row["time"] if row["time"].tzinfo else row["time"].tz_localize("UTC")
            row["time"] = moment.tz_convert("UTC").isoformat().replace("+00:00", "Z")
        outline = row.pop("geometry", None)
        row["geometry"] = None if outline is None else mapping(outline)
        if not str(row["source"]).startswith(inside):
            rows.append(row)
    return rows


def select(rows: Sequence[Row], names: Sequence[str], wanted: Any) -> tuple[list[tuple[Row, str]], Counter[str]]:
    """Return the scenes that pass a filter with the names of their outputs, and how many others there are by reason.

    Of a scene that could not be opened nothing is known: it is tried again, and judged then.
    """
    chosen, left_out = [], Counter[str]()
    for row, stem in zip(rows, names, strict=True):
        refusal = "" if row["problem"] else wanted.refuses({**row, "geometry": shape_of(row["geometry"])})
        if refusal:
            left_out[refusal] += 1
        else:
            chosen.append((row, stem))
    return chosen, left_out


def stems(scenes: Sequence[Mapping[str, Any]], records: Records) -> list[str]:
    """Name the output of each scene: by its own name, and where several would have the same by a digest of the source.

    All of those that collide get a digest, so that names depend neither on the order of scenes nor on filters. A scene
    keeps the name that an earlier batch gave it, and gets none that another scene had.
    """
    plain = [_plain(str(scene["name"])) for scene in scenes]
    count = Counter(name.casefold() for name in plain)
    count.update(RESERVED)
    names = []
    for scene, name in zip(scenes, plain, strict=True):
        old = records.read(name)
        is_own = all(old.get(key) == scene[key] for key in ("source", "name"))
        digest = hashlib.sha256(f"{scene['source']}\n{scene['name']}".encode()).hexdigest()[:8]
        names.append(name if is_own or (not old and count[name.casefold()] == 1) else f"{name}-{digest}")
    return names


def files_digest(row: Mapping[str, Any]) -> str:
    """Return a digest of names, sizes and times of the files of a scene, those beside them with the same stem too."""
    named = [str(row["source"]), *(path for key in ("ms", "pan") for path in str(row.get(key) or "").splitlines())]
    facts = []
    for path in sorted({file for name in named for file in _files(Path(name))}):
        with suppress(OSError):  # gone meanwhile
            known = path.stat()
            facts.append([str(path), known.st_size, known.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _files(path: Path) -> list[Path]:
    try:
        if path.is_dir():
            return [file for file in path.rglob("*") if file.is_file()]
        return [file for file in path.parent.iterdir() if file.name.startswith(path.stem) and file.is_file()]
    except OSError:
        return []


def drop_repeated(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """Return scenes, each once, and how many more entries of the same source and name there were."""
    kept = {(row["source"], row["name"]): row for row in reversed(rows)}
    first = [row for row in rows if kept[row["source"], row["name"]] is row]
    return first, len(rows) - len(first)


def _plain(name: str) -> str:
    """Return a name that any file may have, without the suffix of an archive."""
    bare = re.sub(r"\.(zip|tar|tar\.gz|tgz)$", "", name, flags=re.IGNORECASE)
    return re.sub(r"[^\w.+-]+", "_", bare).strip("._") or "scene"


def shape_of(outline: Any) -> Any:
    """Return the geometry of a footprint in GeoJSON; None for none."""
    from shapely.geometry import shape

    return None if outline is None else shape(outline)
