"""The Item itself: put together, checked beforehand, and written whole or not at all."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ship_geo._typing import PathLike
from ship_geo.catalog import footprint
from ship_geo.errors import ArgumentError, OutputError
from ship_geo.provenance import source_name
from ship_geo.raster import local_file
from ship_geo.stac.fields import data_asset, processing_fields, scene_fields
from ship_geo.stac.model import model_asset, model_fields
from ship_geo.stac.outline import geometry_of
from ship_geo.writer import check_output
from ship_geo.writer.aside import aside

if TYPE_CHECKING:
    import pystac

    from ship_geo.scene import Scene

EXTENSIONS: Mapping[str, str] = {
    "proj": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "eo": "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "raster": "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "view": "https://stac-extensions.github.io/view/v1.0.0/schema.json",
    "processing": "https://stac-extensions.github.io/processing/v1.1.0/schema.json",
    "file": "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "mlm": "https://stac-extensions.github.io/mlm/v1.4.0/schema.json",
}
"""Prefix of the fields of each extension, and its schema."""

_STORES = {"/vsis3/": "s3://", "/vsigs/": "gs://", "/vsiaz/": "az://", "/vsicurl/": ""}


class _Span(NamedTuple):
    moment: dt.datetime | None
    start: dt.datetime | None = None
    end: dt.datetime | None = None


def item_path(output: PathLike) -> Path:
    """Return where the Item of an output goes."""
    return Path(output).with_suffix(".json")


def check_item(output: PathLike, scene: Scene, *, overwrite: bool = False, time: str | None = None) -> None:
    """Check that an Item can be written, before any work is done for its output.

    Raises
    ------
    ArgumentError
        When the time of the scene is not known and `time` does not tell it.
    OutputError
        When the Item exists or cannot be written, or the output has the name of its Item.
    """
    _span(scene, time)
    path = item_path(output)
    if path == Path(output):
        msg = f"the STAC Item of an output is named like it with .json, got the output {path}; name it .tif"
        raise OutputError(msg)
    check_output(path, overwrite=overwrite, inputs=scene.files)


def write_item(
    output: PathLike, scene: Scene, facts: Mapping[str, Any], *, overwrite: bool = False, time: str | None = None
) -> Path:
    """Write the Item of an output beside it, whole or not at all.

    Parameters
    ----------
    output, scene, facts, time
        As in `make_item`.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The Item, `item_path` of the output.

    Raises
    ------
    ArgumentError, OutputError
        See `check_item`.
    """
    check_item(output, scene, overwrite=overwrite, time=time)
    item = make_item(output, scene, facts, time=time)
    text = json.dumps(item.to_dict(include_self_link=False), indent=2, ensure_ascii=False, allow_nan=False)
    path = item_path(output).resolve()
    try:
        with aside(path, overwrite=overwrite) as made:
            made.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        msg = f"the STAC Item must be writable, got {error} for {path}; check the disk and its permissions"
        raise OutputError(msg) from error
    return path


def make_item(output: PathLike, scene: Scene, facts: Mapping[str, Any], *, time: str | None = None) -> pystac.Item:
    """Describe an output.

    Parameters
    ----------
    output
        The finished file.
    scene
        What was sharpened.
    facts
        Of the run, any of: ``model``, ``model_digest``, ``kind`` (``"network"`` or ``"classical"``), ``window``,
        ``overlap`` (of the model, pixels), ``radiometry``, ``dtype`` and ``nodata`` (of the output, where they are not
        those of MS), ``parameters`` (a mapping of values that JSON can hold).
    time
        Time of acquisition, ISO 8601, where the scene does not know it; a date alone means that day.

    Returns
    -------
    pystac.Item
        Geometry in EPSG:4326 from the output grid, in sensor geometry from the RPC model at its mean height; null for
        a scene without any place. Assets: ``data`` and, for a network, ``model``. Links ``derived_from`` name the
        source files.

    Raises
    ------
    ArgumentError
        When the time is not known.
    OutputError
        When the output cannot be read.
    """
    import pystac  # a tenth of a second that most runs do not need

    path = Path(output)
    span = _span(scene, time)
    outline = footprint(scene)
    geometry, bbox = (None, None) if outline is None else geometry_of(list(outline.exterior.coords))
    model = model_fields(scene, facts)
    item = pystac.Item(
        id=path.stem,
        geometry=geometry,
        bbox=bbox,
        datetime=span.moment,
        start_datetime=span.start,
        end_datetime=span.end,
        properties={**scene_fields(scene), **processing_fields(scene, facts), **model},
    )
    item.add_asset("data", pystac.Asset.from_dict(data_asset(path, scene, facts)))
    if model:
        item.add_asset("model", pystac.Asset.from_dict(model_asset(facts)))
    for source in scene.files:
        kind = "image/tiff" if source_name(source).lower().endswith((".tif", ".tiff")) else None
        link = pystac.Link("derived_from", _reference(source, path), media_type=kind, title=source_name(source))
        item.add_link(link)
    item.stac_extensions = _used_extensions(item.to_dict(include_self_link=False))
    return item


def _span(scene: Scene, time: str | None) -> _Span:
    """Return the moment of acquisition, or first and last moment of the day where only that is known."""
    text = (time or scene.acquisition.time or "").strip()
    if not text:
        msg = f"a STAC Item needs the time of acquisition, got none for {scene.name}; pass it with `time=`"
        raise ArgumentError(msg)
    try:
        if "T" not in text and " " not in text:
            start = dt.datetime.combine(dt.date.fromisoformat(text), dt.time(), dt.UTC)
            return _Span(None, start, start + dt.timedelta(days=1, milliseconds=-1))
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"a time must be ISO 8601, got {text!r}; write it like 2024-05-01T10:30:00Z"
        raise ArgumentError(msg) from error
    return _Span(moment.astimezone(dt.UTC) if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC))


def _reference(source: str, output: Path) -> str:
    """Address of a source file: relative to the Item, or that of the network without its query, which may be secret."""
    file = local_file(source)
    if file is not None:
        return Path(os.path.relpath(file.resolve(), output.resolve().parent)).as_posix()
    bare = source.split("?", maxsplit=1)[0]
    store = next((name for name in _STORES if bare.startswith(name)), "")
    return _STORES.get(store, "") + bare.removeprefix(store)


def _used_extensions(item: Mapping[str, Any]) -> list[str]:
    holders = [item["properties"], *item["assets"].values()]
    holders += [band for asset in item["assets"].values() for band in asset.get("bands", ())]
    prefixes = {key.partition(":")[0] for holder in holders for key in holder if ":" in key}
    return [uri for prefix, uri in EXTENSIONS.items() if prefix in prefixes]
