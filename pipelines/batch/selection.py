"""Which scenes a batch is about: a folder or a table of scenes in, the rows that pass the filters out.

Not for opening scenes. Two conventions could surprise. A row that does not tell what a filter asks for (a scene without
a known cloud cover, say) is left out and counted, since nobody can tell that it would pass. And a row that says why its
scene cannot be opened always stays, as nothing else is known of it.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from ship_geo.catalog import LONLAT, find_scenes
from ship_geo.errors import ArgumentError
from ship_geo.raster import is_remote

_NEEDED = ("name", "source", "family", "problem")
_ALL = (*_NEEDED, "sensor", "platform", "product_id", "time", "cloud", "ms", "pan")


@dataclass(frozen=True)
class Filters:
    """What is asked of a scene.

    Attributes
    ----------
    aoi
        Area that the footprint touches, longitude and latitude.
    sensors
        Parts of the name of sensor or platform, of which one must occur; case, blanks and hyphens do not matter.
    first, last
        Moments (UTC) between which it was taken, both included.
    max_cloud
        Share of the scene under cloud, 0 to 1.
    """

    aoi: shapely.Geometry | None = None
    sensors: tuple[str, ...] = ()
    first: dt.datetime | None = None
    last: dt.datetime | None = None
    max_cloud: float | None = None


def read_scenes(source: Path, *, unpack: bool = False) -> gpd.GeoDataFrame:
    """Return the table of scenes that a folder holds, or that a file is.

    Parameters
    ----------
    source
        Folder, or a table made by `ship_geo.find_scenes`: ``.parquet``, ``.gpkg``, ``.geojson`` or what else GDAL
        reads. Relative paths in it start at the working directory, else at the folder of the table.
    unpack
        See `ship_geo.find_scenes`.

    Raises
    ------
    ArgumentError
        When the file is no table of scenes.
    """
    if source.is_dir():
        return find_scenes(source, unpack=unpack)
    table = read_vectors(source, "a table of scenes")
    missing = [name for name in _NEEDED if name not in table.columns]
    if missing:
        msg = f"a table of scenes has the columns {', '.join(_NEEDED)}, got no {', '.join(missing)} in {source}"
        raise ArgumentError(f"{msg}; make one with `ship-geo find FOLDER -o scenes.parquet`")
    for name in _ALL:
        if name not in table.columns:
            table[name] = None
        if name not in ("time", "cloud"):
            table[name] = table[name].fillna("").astype(str)  # GeoPackage and GeoJSON know no empty text
    table["time"] = pd.to_datetime(table["time"], utc=True, format="ISO8601")
    table["cloud"] = table["cloud"].astype("float64")
    table["source"] = [_located(name, source.parent) for name in table["source"]]
    return table.to_crs(LONLAT) if table.crs is not None else table.set_crs(LONLAT)


def read_vectors(path: Path, what: str) -> gpd.GeoDataFrame:
    """Read any file of features.

    Raises
    ------
    ArgumentError
        When GeoPandas cannot read it.
    """
    try:
        return gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path)
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        msg = f"{what} must be a file that GeoPandas reads, got {reason} for {path}; pass .parquet, .gpkg or .geojson"
        raise ArgumentError(msg) from error


def read_aoi(path: Path) -> shapely.Geometry:
    """Return an area of interest in longitude and latitude.

    Parameters
    ----------
    path
        Any file of features that GeoPandas reads; all of them together are the area.

    Raises
    ------
    ArgumentError
        When there is no area in it, or it has no CRS or one that cannot be brought to longitude and latitude.
    """
    table = read_vectors(path, "an area of interest")
    if not isinstance(table, gpd.GeoDataFrame) or table.geometry.isna().all() or table.geometry.is_empty.all():
        msg = f"an area of interest must have a geometry, got {len(table)} features without one in {path}"
        raise ArgumentError(f"{msg}; draw the area, or leave the option out")
    if table.crs is None:
        msg = f"an area of interest must say its CRS, got none in {path}; assign one, for instance with ogr2ogr -a_srs"
        raise ArgumentError(msg)
    area = shapely.make_valid(table.geometry.to_crs(LONLAT).union_all())
    if area.is_empty or not np.isfinite(area.bounds).all():
        msg = f"an area of interest must lie where its CRS is valid, got {table.crs.to_string()} in {path}"
        raise ArgumentError(f"{msg}; check the coordinates, and whether the CRS is the right one")
    return area


def parse_moment(text: str, *, is_end: bool = False) -> dt.datetime:
    """Return a moment in UTC; a date alone is its first moment, or its last.

    Raises
    ------
    ArgumentError
        When it is not ISO 8601.
    """
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"a date must be ISO 8601, got {text!r}; write it like 2024-05-01 or 2024-05-01T10:30:00Z"
        raise ArgumentError(msg) from error
    if is_end and re.fullmatch(r"[\dW-]+", text):
        moment += dt.timedelta(days=1, microseconds=-1)
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def select_scenes(table: gpd.GeoDataFrame, filters: Filters) -> tuple[gpd.GeoDataFrame, dict[str, int]]:
    """Return the rows that pass, and how many each filter left out.

    Raises
    ------
    ArgumentError
        When none is left.
    """
    left_out: dict[str, int] = {}
    chosen = table
    for name, passes in _tests(filters).items():
        kept = passes(chosen) | (chosen["problem"] != "")
        left_out[name] = int((~kept).sum())
        chosen = chosen[kept]
    if chosen.empty:
        told = ", ".join(f"{count} left out by {name}" for name, count in left_out.items() if count) or "none of them"
        msg = f"a batch needs a scene at least, got {len(table)} in all, {told}; look at them with `ship-geo find`"
        raise ArgumentError(msg)
    return chosen, left_out


def _tests(filters: Filters) -> dict[str, Any]:
    """Return a test for every filter that is set; comparisons with what is not known are false."""
    words = [_plain(word) for word in filters.sensors]
    first, last = (None if moment is None else pd.Timestamp(moment) for moment in (filters.first, filters.last))
    tests = {
        "aoi": (filters.aoi is not None, lambda rows: rows.geometry.intersects(filters.aoi)),
        "sensor": (bool(words), lambda rows: _names(rows).map(lambda name: any(word in name for word in words))),
        "from": (filters.first is not None, lambda rows: rows["time"] >= first),
        "to": (filters.last is not None, lambda rows: rows["time"] <= last),
        "max_cloud": (filters.max_cloud is not None, lambda rows: rows["cloud"] <= filters.max_cloud),
    }
    return {name: test for name, (is_set, test) in tests.items() if is_set}


def _names(rows: gpd.GeoDataFrame) -> pd.Series:
    return rows["sensor"].fillna("").map(_plain) + " " + rows["platform"].fillna("").map(_plain)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _located(name: str, folder: Path) -> str:
    is_found = is_remote(name) or Path(name).is_absolute() or Path(name).exists()
    return name if is_found else str(folder / name)
