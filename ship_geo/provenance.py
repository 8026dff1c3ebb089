"""What an output says of its origin: tags for the default domain of a GeoTIFF, the only one that survives every copy.

`TAGS` is the whole list; nothing else is added to the tags that the inputs carried. Facts of the scene have plain
names, facts of the run begin with ``SHIP_GEO_``. What is not known has no tag. The convention that could surprise:
files are named without their folders, and addresses without their query, so that an output can be given away; and
cloud is in percent, as vendors write it, though `Acquisition.cloud` is a fraction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ship_geo.scene import Scene

TAGS: Mapping[str, str] = MappingProxyType(
    {
        "ACQUISITION_TIME": "of MS, ISO 8601, with a Z where it is known to be UTC",
        "SENSOR": "title of the row of the sensor table",
        "PLATFORM": "satellite as the vendor writes it",
        "LEVEL": "processing level of the inputs as the vendor writes it",
        "PRODUCT_ID": "name of the product that was sharpened",
        "CLOUD_COVER": "percent of the scene",
        "SUN_AZIMUTH": "degrees from north",
        "SUN_ELEVATION": "degrees above the horizon",
        "VIEW_AZIMUTH": "degrees from north, from the scene to the satellite",
        "OFF_NADIR": "degrees, seen from the satellite",
        "SOURCE_FILES": "names of the rasters, MS first, as a JSON list",
        "RADIOMETRY": "dn, radiance or toa",
        "UNITS": "unit of the values; 1 for reflectance",
        "TIFFTAG_SOFTWARE": "ship_geo and its version",
        "SHIP_GEO_MODEL": "name of the weights or of the classical method",
        "SHIP_GEO_MODEL_DIGEST": "SHA-256 of the weights, or the name of the classical method",
        "SHIP_GEO_PARAMETERS": "arguments of the run, as JSON",
        "SHIP_GEO_SHIFT": "shift between PAN and MS that was measured, as JSON",
        "SHIP_GEO_GEOMETRY": "map, sensor, ortho or pixel; for an RPC model with the heights behind it",
    }
)
"""Every tag with its meaning."""

UNITS: Mapping[str, str] = MappingProxyType({"dn": "DN", "radiance": "W m-2 sr-1 um-1", "toa": "1"})
"""Unit of the values of each radiometry."""


def tags_of(scene: Scene, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of an output.

    Parameters
    ----------
    scene
        What was sharpened.
    facts
        Of the run, any of: ``model``, ``model_digest``, ``parameters`` (a mapping), ``shift`` (values that JSON can
        hold), ``radiometry`` (``"dn"`` by default). Others are left alone.

    Returns
    -------
    dict of str to str
        Keys of `TAGS`, in that order; what is not known or None is left out.
    """
    known = {**_scene_facts(scene), **_run_facts(facts)}
    return {key: _one_line(known[key]) for key in TAGS if known.get(key) not in (None, "")}


def run_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return those tags of a file that tell of the run which made it."""
    of_run = [key for key in TAGS if key.startswith("SHIP_GEO_") or key in {"RADIOMETRY", "TIFFTAG_SOFTWARE"}]
    return {key: tags[key] for key in of_run if key in tags}


def software_version() -> str:
    """Return the version of this package; ``0+unknown`` in a checkout that was never installed."""
    try:
        return metadata.version("ship-geo")
    except metadata.PackageNotFoundError:
        return "0+unknown"


def source_name(path: str) -> str:
    """Return the name of a source file: without folders, archives and what may be secret in an address."""
    return path.split("?", maxsplit=1)[0].rstrip("/").replace("\\", "/").rsplit("/", maxsplit=1)[-1]


def _scene_facts(scene: Scene) -> dict[str, Any]:
    known = scene.acquisition
    return {
        "ACQUISITION_TIME": known.time,
        "SENSOR": scene.sensor.title,
        "PLATFORM": known.platform,
        "LEVEL": known.level,
        "PRODUCT_ID": known.product_id,
        "CLOUD_COVER": None if known.cloud is None else known.cloud * 100,
        "SUN_AZIMUTH": known.sun_azimuth,
        "SUN_ELEVATION": known.sun_elevation,
        "VIEW_AZIMUTH": known.view_azimuth,
        "OFF_NADIR": known.off_nadir,
        "SOURCE_FILES": json.dumps([source_name(path) for path in scene.paths], ensure_ascii=False),
        "SHIP_GEO_GEOMETRY": f"{scene.geometry}, {scene.heights}" if scene.heights else scene.geometry,
    }


def _run_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    radiometry = facts.get("radiometry", "dn")
    return {
        "RADIOMETRY": radiometry,
        "UNITS": UNITS.get(radiometry),
        "TIFFTAG_SOFTWARE": f"ship_geo {software_version()}",
        "SHIP_GEO_MODEL": facts.get("model"),
        "SHIP_GEO_MODEL_DIGEST": facts.get("model_digest"),
        "SHIP_GEO_PARAMETERS": _as_json(facts.get("parameters")),
        "SHIP_GEO_SHIFT": _as_json(facts.get("shift")),
    }


def _as_json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _one_line(value: Any) -> str:
    """Return text that any reader of tags can show: GDAL keeps them as XML, which bears no control characters."""
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
