"""A STAC Collection over the Items of a folder, so that a catalogue takes all outputs in at once.

Items get the link to it and its id, relative, so that the folder can be moved as a whole. The convention that could
surprise: times and places of the Collection are those of the Items, nothing else is looked at; without an Item there is
none, since a Collection must tell its extent.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ship_geo._typing import PathLike
from ship_geo.errors import OutputError
from ship_geo.writer.texts import write_json

if TYPE_CHECKING:
    import pystac

COLLECTION = "collection.json"
"""Name of the file."""

_SUMMARISED = ("platform", "gsd", "proj:code", "mlm:name")
_GLOBE = [-180.0, -90.0, 180.0, 90.0]
_SPANNED = 180.0  # degrees: a box that is wider is one across the antimeridian, or around a pole


def write_collection(
    folder: PathLike, items: Sequence[PathLike], *, name: str, description: str, licence: str = "other"
) -> Path | None:
    """Write the Collection of some Items that lie in a folder, and let them link to it.

    Parameters
    ----------
    folder
        Where the Collection goes, as `COLLECTION`; an older one is replaced.
    items
        Files of Items in that folder.
    name, description, licence
        Id, description and licence of the Collection; ``"other"`` where the links or the vendor tell the terms.

    Returns
    -------
    Path or None
        The Collection; None where there is no Item, and then no Collection either.

    Raises
    ------
    OutputError
        When an Item cannot be read, or a file cannot be written.
    """
    root, target = Path(folder).resolve(), Path(folder).resolve() / COLLECTION
    read = {Path(path).resolve(): _read(Path(path)) for path in sorted(map(str, items))}
    if not read:
        target.unlink(missing_ok=True)
        return None
    collection = make_collection(list(read.values()), name=name, description=description, licence=licence)
    described = collection.to_dict(include_self_link=False, transform_hrefs=False)
    described["links"] = [
        {"rel": "root", "href": f"./{COLLECTION}", "type": "application/json"},
        *(_link("item", path.relative_to(root).as_posix(), "application/geo+json") for path in read),
    ]
    for path, item in read.items():
        linked = _linked(item, name)
        if linked != item:
            write_json(linked, path, overwrite=True)
    return write_json(described, target, overwrite=True)


def make_collection(
    items: Sequence[Mapping[str, Any]], *, name: str, description: str, licence: str = "other"
) -> pystac.Collection:
    """Describe some Items, given as values of JSON, as a Collection without links.

    Returns
    -------
    pystac.Collection
        Extent in space: a box around all Items, then that of each. Extent in time: from the first to the last.
        Summaries: platforms, ground sampling distances, CRS and networks that occur.
    """
    import pystac

    boxes = [list(item["bbox"]) for item in items if item.get("bbox")]
    spatial = [_around(boxes), *(boxes if len(boxes) > 1 else [])] if boxes else [_GLOBE]
    moments = [moment for item in items for moment in _moments(item["properties"])]
    extent = pystac.Extent(
        pystac.SpatialExtent(spatial), pystac.TemporalExtent([[min(moments, default=None), max(moments, default=None)]])
    )
    collection = pystac.Collection(name, description, extent, title=name, license=licence)
    for key in _SUMMARISED:
        values = {item["properties"][key] for item in items if item["properties"].get(key) is not None}
        if values:
            collection.summaries.add(key, sorted(values))
    return collection


def _read(path: Path) -> dict[str, Any]:
    try:
        item: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"a STAC Item must be readable, got {error} for {path}; make its output anew"
        raise OutputError(msg) from error
    return item


def _around(boxes: Sequence[Sequence[float]]) -> list[float]:
    """Return the box around boxes; the whole turn where one crosses the antimeridian."""
    west, south, east, north = zip(*boxes, strict=True)
    crosses = any(box[0] > box[2] or box[2] - box[0] > _SPANNED for box in boxes)
    edges = (_GLOBE[0], _GLOBE[2]) if crosses else (min(west), max(east))
    return [edges[0], min(south), edges[1], max(north)]


def _moments(properties: Mapping[str, Any]) -> list[dt.datetime]:
    texts = [properties.get(key) for key in ("datetime", "start_datetime", "end_datetime")]
    return [dt.datetime.fromisoformat(text) for text in texts if text]


def _linked(item: Mapping[str, Any], name: str) -> dict[str, Any]:
    own = ("root", "parent", "collection")
    kept = [link for link in item.get("links", ()) if link.get("rel") not in own]
    return {**item, "collection": name, "links": [*(_link(rel, COLLECTION, "application/json") for rel in own), *kept]}


def _link(rel: str, href: str, kind: str) -> dict[str, str]:
    return {"rel": rel, "href": f"./{href}", "type": kind}
