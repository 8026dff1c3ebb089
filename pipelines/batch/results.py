"""What a batch leaves behind beside its outputs: a table of all scenes, and a STAC collection of those that are done.

Both are made of the state and of the Items, whole or not at all, and made anew each time. Two conventions could
surprise. They cover every scene that the folder knows, also those of earlier calls with other filters. And all
addresses in them are relative, so that the folder may move.
"""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely

from ship_geo.catalog import LONLAT
from ship_geo.errors import OutputError

CATALOG, COLLECTION = "catalog.parquet", "collection.json"
_RELATIONS = ("root", "parent", "collection")


def catalog_rows(records: Sequence[Mapping[str, Any]]) -> gpd.GeoDataFrame:
    """Return one row per scene, sorted by time and name.

    Parameters
    ----------
    records
        As `batch.state.State.latest` has them.

    Returns
    -------
    geopandas.GeoDataFrame
        name, family, sensor, platform, product_id, time (UTC), source; status: ``"done"``, ``"failed"`` or
        ``"unfinished"``; output (file beside the table, empty unless done), reason (why it failed), seconds,
        megapixels (of the output), warnings (separated by new lines), footprint in EPSG:4326.
    """
    rows = [_row(record) for record in records]
    table = pd.DataFrame(rows, columns=list(_row({"status": "", "facts": {}})))
    table["time"] = pd.to_datetime(table["time"], utc=True, format="ISO8601")
    for name in ("seconds", "megapixels"):
        table[name] = table[name].astype("float64")
    frame = gpd.GeoDataFrame(table, geometry="geometry", crs=LONLAT)
    return frame.sort_values(["time", "name", "source"], kind="stable", ignore_index=True)


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    facts, is_done = record["facts"], record["status"] == "done"
    outline = facts.get("footprint")
    return {
        **{name: facts.get(name, "") for name in ("name", "family", "sensor", "platform", "product_id")},
        "time": facts.get("time"),
        "source": record.get("source", ""),
        "status": record["status"] if record["status"] in ("done", "failed") else "unfinished",
        "output": record["output"] if is_done else "",
        "reason": record.get("reason", ""),
        "seconds": record.get("seconds"),
        "megapixels": record.get("megapixels"),
        "warnings": "\n".join(record.get("warnings", ())),
        "geometry": None if outline is None else shapely.from_wkt(outline),
    }


def write_catalog(folder: Path, table: gpd.GeoDataFrame) -> Path:
    """Write the table as GeoParquet; an old one is replaced.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    with replacing(folder / CATALOG) as made:
        table.to_parquet(made)
    return folder / CATALOG


def write_collection(folder: Path, items: Sequence[Path]) -> Path:
    """Write a STAC Collection of Items, and tell each Item that it belongs to it.

    Parameters
    ----------
    folder
        Of the Items; its name becomes the id of the collection.
    items
        Files of Items in it.

    Returns
    -------
    Path
        ``collection.json``.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    import pystac

    identity = folder.resolve().name or "batch"
    read = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(items)}
    collection = pystac.Collection(
        id=identity,
        description=f"Pan-sharpened scenes: {len(read)} outputs of ship_geo",
        extent=_extent(list(read.values())),
        license="other",
        summaries=_summaries(list(read.values())),
    )
    collection.clear_links()
    collection.add_link(pystac.Link("root", f"./{COLLECTION}", media_type=pystac.MediaType.JSON))
    for path in read:
        collection.add_link(pystac.Link("item", f"./{path.name}", media_type=pystac.MediaType.GEOJSON))
    for path, item in read.items():
        _join(path, item, identity)
    _write_json(folder / COLLECTION, collection.to_dict(include_self_link=False, transform_hrefs=False))
    return folder / COLLECTION


def _join(path: Path, item: Mapping[str, Any], identity: str) -> None:
    links = [link for link in item["links"] if link["rel"] not in _RELATIONS]
    links += [{"rel": name, "href": f"./{COLLECTION}", "type": "application/json"} for name in _RELATIONS]
    joined = {**item, "collection": identity, "links": links}
    if joined != item:
        _write_json(path, joined)


def _extent(items: Sequence[Mapping[str, Any]]) -> Any:
    """Place and time of Items; the whole Earth where none of them has a place."""
    import pystac

    boxes = [item["bbox"] for item in items if item.get("bbox")] or [[-180.0, -90.0, 180.0, 90.0]]
    whole = [min(box[0] for box in boxes), min(box[1] for box in boxes)]
    whole += [max(box[2] for box in boxes), max(box[3] for box in boxes)]
    times = [_moment(text) for item in items for text in _times(item["properties"])]
    span: list[dt.datetime | None] = [min(times), max(times)] if times else [None, None]
    return pystac.Extent(pystac.SpatialExtent([whole]), pystac.TemporalExtent([span]))


def _times(properties: Mapping[str, Any]) -> list[str]:
    found = (properties.get(name) for name in ("datetime", "start_datetime", "end_datetime"))
    return [text for text in found if text]


def _moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _summaries(items: Sequence[Mapping[str, Any]]) -> Any:
    import pystac

    names = ("platform", "gsd", "proj:code")
    found = {name: {item["properties"].get(name) for item in items} - {None} for name in names}
    return pystac.Summaries({name: sorted(values) for name, values in found.items() if values})


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    with replacing(path) as made:
        made.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place to write a file, which takes the name of `path` when the block ends well.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.part-", dir=path.absolute().parent) as folder:
            made = Path(folder) / path.name
            yield made
            made.replace(path)
    except (OSError, ValueError) as error:
        msg = f"{path.name} must be writable, got {error} for {path}; check the disk and its permissions"
        raise OutputError(msg) from error
