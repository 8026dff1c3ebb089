"""Choosing among the scenes of an index: by place, time, sensor and cloud; and reading an index from a file.

The convention that could surprise: what a scene does not tell passes no filter that asks for it, unless unknown values
are kept on purpose. Cloud is a fraction, as in the table.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ship_geo._typing import PathLike
from ship_geo.catalog.outlines import LONLAT
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.sensors import find_sensor

if TYPE_CHECKING:
    import geopandas as gpd

_NEEDED = ("name", "source")
_PARQUET = (".parquet", ".geoparquet", ".pq")


@dataclass(frozen=True)
class SceneFilter:
    """What is wanted of a scene; None and empty: anything.

    Attributes
    ----------
    aoi
        Area in longitude and latitude that the footprint must touch, a shapely geometry.
    sensors
        Names of sensors, see `ship_geo.find_sensor`.
    start, end
        First and last moment of acquisition, with time zone.
    max_cloud
        Most cloud, 0 to 1.
    keep_unknown
        Whether a scene that does not tell passes.
    """

    aoi: Any = None
    sensors: tuple[str, ...] = ()
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    max_cloud: float | None = None
    keep_unknown: bool = False

    def __post_init__(self) -> None:
        """Check that the sensors are known and the numbers make sense."""
        for name in self.sensors:
            find_sensor(name)
        if self.max_cloud is not None and not 0 <= self.max_cloud <= 1:
            msg = f"the most cloud lies between 0 and 1, got {self.max_cloud}; 0.2 are 20 percent"
            raise ArgumentError(msg)
        if self.start is not None and self.end is not None and self.start > self.end:
            msg = f"the first day must not come after the last, got {self.start} and {self.end}; exchange them"
            raise ArgumentError(msg)

    def refuses(self, scene: Mapping[str, Any]) -> str:
        """Say which filter a scene does not pass.

        Parameters
        ----------
        scene
            Values by the names of the columns of an index: ``geometry``, ``sensor``, ``time``, ``cloud``.

        Returns
        -------
        str
            ``"aoi"``, ``"sensor"``, ``"time"`` or ``"cloud"``; empty where it passes all.
        """
        is_known, passes = self._judge(scene)
        for name, passed in passes.items():
            if not (passed if is_known[name] else self.keep_unknown):
                return name
        return ""

    def _judge(self, scene: Mapping[str, Any]) -> tuple[dict[str, bool], dict[str, bool]]:
        import pandas as pd

        outline, time, cloud = (scene.get(name) for name in ("geometry", "time", "cloud"))
        sensor = str(scene.get("sensor") or "")
        known = {"aoi": outline is not None, "sensor": bool(sensor), "time": not pd.isna(time)}
        known["cloud"] = not pd.isna(cloud)
        passes: dict[str, bool] = {}
        if self.aoi is not None:
            passes["aoi"] = known["aoi"] and bool(self.aoi.intersects(outline))
        if self.sensors:
            passes["sensor"] = sensor in {find_sensor(name).title for name in self.sensors}
        if self.start is not None or self.end is not None:
            passes["time"] = known["time"] and self._is_in_time(pd.Timestamp(time))
        if self.max_cloud is not None:
            passes["cloud"] = known["cloud"] and float(cloud or 0) <= self.max_cloud
        return known, passes

    def _is_in_time(self, time: Any) -> bool:
        moment = time.tz_localize("UTC") if time.tzinfo is None else time
        is_after = self.start is None or moment >= self.start
        return bool(is_after and (self.end is None or moment <= self.end))


def parse_moment(text: str, *, is_end: bool = False) -> dt.datetime:
    """Return a moment of ISO 8601 in UTC; a date alone is its first moment, or its last one.

    Raises
    ------
    ArgumentError
        When the text is no time.
    """
    try:
        moment = dt.datetime.fromisoformat(text.strip())
    except ValueError as error:
        msg = f"a time must be ISO 8601, got {text!r}; write it like 2024-05-01"
        raise ArgumentError(msg) from error
    if is_end and "T" not in text and " " not in text.strip():
        moment += dt.timedelta(days=1, microseconds=-1)
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def read_area(path: PathLike) -> Any:
    """Read an area of interest: the union of all that is in a file.

    Parameters
    ----------
    path
        Anything that GeoPandas reads: GeoPackage, GeoJSON, Shapefile, GeoParquet and others.

    Returns
    -------
    shapely.Geometry
        Longitude and latitude (EPSG:4326), prepared for many questions.

    Raises
    ------
    ProductError
        When the file cannot be read, or has no CRS or no geometry.
    """
    import shapely

    frame = _read(path, "an area of interest")
    if frame.crs is None:
        msg = f"an area of interest must have a CRS, got none in {path}; write it with one"
        raise ProductError(msg)
    area = frame.to_crs(LONLAT).geometry.dropna().make_valid().union_all()
    if area.is_empty:
        msg = f"an area of interest must hold a geometry, got none in {path}; draw one"
        raise ProductError(msg)
    shapely.prepare(area)
    return area


def read_catalog(path: PathLike) -> gpd.GeoDataFrame:
    """Read a table of scenes, as `write_catalog` wrote it, or edited since.

    Parameters
    ----------
    path
        GeoPackage, GeoJSON, GeoParquet, or another file that GeoPandas reads. Needed columns: ``name`` and ``source``;
        those of `find_scenes` that are missing are unknown.

    Returns
    -------
    geopandas.GeoDataFrame
        Footprints in EPSG:4326; a ``source`` without a root is one beside the file.

    Raises
    ------
    ProductError
        When the file cannot be read, or is no table of scenes.
    """
    import geopandas as gpd
    import pandas as pd

    read = _read(path, "a table of scenes")
    missing = [name for name in _NEEDED if name not in read]
    if missing:
        msg = f"a table of scenes has the columns {', '.join(_NEEDED)}, got none {', '.join(missing)} in {path}"
        raise ProductError(f"{msg}; write it with `ship-geo find`")
    place = Path(path).absolute().parent
    values = pd.DataFrame(read).drop(columns=read.geometry.name)
    values["source"] = [source if "://" in source else str(place / source) for source in map(str, values["source"])]
    outlines = read.geometry if read.crs is None else read.geometry.to_crs(LONLAT)
    return gpd.GeoDataFrame(values, geometry=outlines.array, crs=LONLAT)


def _read(path: PathLike, what: str) -> Any:
    import geopandas as gpd

    try:
        if Path(path).suffix.lower() in _PARQUET:
            frame = gpd.read_parquet(path)
        else:
            frame = gpd.read_file(path, engine="pyogrio")
    except ImportError as error:
        msg = f"GeoParquet needs pyarrow, got {error} for {path}; install ship-geo[catalog], or use .gpkg"
        raise ProductError(msg) from error
    except Exception as error:  # of pyogrio, pyarrow and geopandas: there is no common base
        msg = f"{what} must be a file that GeoPandas reads, got {error} for {path}; convert it to GeoPackage"
        raise ProductError(msg) from error
    if not isinstance(frame, gpd.GeoDataFrame):
        msg = f"{what} must hold geometries, got a plain table in {path}; write it with GeoPandas"
        raise ProductError(msg)
    return frame
