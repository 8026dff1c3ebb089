"""What is known of the scenes of a batch: a record each, and the tables made of them; part of ``pansharpen_batch.py``.

A record is a JSON file ``records/NAME.json`` below the output folder, written when a scene begins and when it ends, so
that a batch which was killed knows what it has done. Whoever owns a record may replace the output it names.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ship_geo.catalog import write_catalog
from ship_geo.errors import OutputError
from ship_geo.stac import write_collection
from ship_geo.writer import write_json

RECORDS, CATALOG, SUMMARY = "records", "catalog.parquet", "summary.json"
Row = dict[str, Any]
"""A scene as values that JSON can hold, by the names of the columns of an index; a record has more of them."""

DONE, FAILED, STOPPED, RUNNING, PENDING = "done", "failed", "stopped", "running", "pending"

_SCENE = (
    *("name", "source", "family", "sensor", "platform", "product_id", "level", "time", "cloud", "sun_elevation"),
    *("off_nadir", "resolution", "bands"),
)
_RUN = (
    *("output", "item", "model", "model_digest", "radiometry", "started", "ended"),
    *("seconds", "megapixels_per_second", "n_pixel", "n_byte", "n_clipped", "n_moved", "n_invalid", "valid_fraction"),
    *("n_block", "n_resumed", "n_retry"),
)
_TEXTS = frozenset(
    {"name", "source", "family", "sensor", "platform", "product_id", "level", "bands", "output", "item", "model"}
    | {"model_digest", "radiometry", "started", "ended"}
)


@contextmanager
def owning(folder: Path) -> Iterator[None]:
    """Make the output folder, and be the only batch there.

    Raises
    ------
    OutputError
        When the folder cannot be made, or another batch works there.
    """
    try:
        (folder / RECORDS).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / RECORDS / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        msg = f"the folder of the outputs must be writable, got {error.strerror} for {folder}; choose another"
        raise OutputError(msg) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        msg = f"one batch at a time works in a folder, got another in {folder}; wait for it, or choose another folder"
        raise OutputError(msg) from error
    except OSError:  # a file system without locks; each output still has its own
        pass
    try:
        yield
    finally:
        os.close(descriptor)


class Records:
    """The records of an output folder.

    Parameters
    ----------
    folder
        Of the outputs; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, stem: str) -> dict[str, Any]:
        """Return the record of an output; empty where there is none, or none that can be read."""
        try:
            record = json.loads((self.folder / RECORDS / f"{stem}.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def write(self, stem: str, record: Mapping[str, Any]) -> None:
        """Write the record of an output, whole."""
        write_json(record, self.folder / RECORDS / f"{stem}.json", overwrite=True)

    def is_whole(self, record: Mapping[str, Any]) -> bool:
        """Whether the files that a record names are there, with the size that was noted."""
        output, item = record.get("output"), record.get("item")
        try:
            is_there = (self.folder / str(output)).stat().st_size == record.get("n_byte")
        except OSError:
            return False
        return is_there and (not item or (self.folder / item).is_file())

    def all(self, pending: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """Return all records by the name of their output, those of earlier batches too, and what has none yet."""
        known = {path.stem: self.read(path.stem) for path in sorted((self.folder / RECORDS).glob("*.json"))}
        waiting = {stem: {**scene, "status": PENDING} for stem, scene in pending.items() if not known.get(stem)}
        # What is running while nothing runs was killed.
        stopped = {stem: {**one, "status": STOPPED} for stem, one in known.items() if one.get("status") == RUNNING}
        return {stem: one for stem, one in {**known, **stopped, **waiting}.items() if one}


def write_tables(folder: Path, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Write ``catalog.parquet`` and the STAC Collection of an output folder from its records."""
    write_catalog(as_table(records), folder / CATALOG, overwrite=True)
    items = [folder / record["item"] for record in records.values() if _has_item(folder, record)]
    write_collection(
        folder,
        items,
        name=re.sub(r"[^\w.-]+", "-", folder.resolve().name) or "pan-sharpened",
        description="Scenes that ship_geo pan-sharpened.",
    )


def as_table(records: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return records as a GeoDataFrame: a row each, footprints in EPSG:4326."""
    import geopandas as gpd
    import pandas as pd
    from shapely.geometry import shape

    rows = [dict(record) for record in records.values()]
    columns: dict[str, Any] = {"status": [row.get("status") for row in rows]}
    for name in (*_SCENE, *_RUN):
        values = [row.get(name) for row in rows]
        if name == "time":
            times = pd.to_datetime(pd.Series(values, dtype="object"), utc=True, format="ISO8601", errors="coerce")
            columns[name] = times.astype("datetime64[ms, UTC]")
        else:
            columns[name] = pd.Series(values, dtype="object" if name in _TEXTS else "float64")
    columns["error"] = [(row.get("error") or {}).get("message", "") for row in rows]
    outlines = [None if row.get("geometry") is None else shape(row["geometry"]) for row in rows]
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(outlines, crs="EPSG:4326"), crs="EPSG:4326")


def now() -> str:
    """Return the time, UTC, ISO 8601."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _has_item(folder: Path, record: Mapping[str, Any]) -> bool:
    return record.get("status") == DONE and bool(record.get("item")) and (folder / record["item"]).is_file()
