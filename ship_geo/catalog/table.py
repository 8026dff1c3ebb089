"""Scenes as a table, in memory and as a file of plain values.

The convention that could surprise: times are UTC to the millisecond, which is what GeoPackage and GeoJSON can hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ship_geo._typing import PathLike
from ship_geo.catalog.entries import Entry
from ship_geo.catalog.outlines import LONLAT
from ship_geo.catalog.search import search
from ship_geo.errors import ArgumentError, OutputError, ProductError
from ship_geo.writer import check_output
from ship_geo.writer.aside import aside

if TYPE_CHECKING:
    import geopandas as gpd

_TEXTS = ("name", "family", "sensor", "platform", "product_id", "level", "bands", "source", "ms", "pan", "problem")
_NUMBERS = ("cloud", "sun_elevation", "off_nadir", "resolution")
_COLUMNS = (
    *("name", "family", "sensor", "platform", "product_id", "level", "time", "cloud", "sun_elevation", "off_nadir"),
    *("resolution", "bands", "source", "ms", "pan", "problem", "geometry"),
)
_SUFFIXES = (".gpkg", ".geojson", ".parquet")


def find_scenes(folder: PathLike, *, unpack: bool = False) -> gpd.GeoDataFrame:
    """List the scenes below a folder.

    Parameters
    ----------
    folder
        Looked through with all its subfolders; hidden ones are left out, links to folders are not followed.
    unpack
        Whether compressed archives of more than 32 MiB are looked into, too, one after the other.

    Returns
    -------
    geopandas.GeoDataFrame
        One row per scene, sorted by time and name, footprints in EPSG:4326 (cut in two at the antimeridian): name,
        family, sensor, platform, product_id, level, time (UTC), cloud (0 to 1), sun_elevation and off_nadir (degrees),
        resolution (of PAN, in the unit of its CRS; 1 in sensor geometry), bands, source (for `open_scene`, with
        ``product=name``), ms and pan (paths, several separated by new lines), problem (empty, or why the scene cannot
        be opened). ``to_file("scenes.gpkg")`` and ``to_parquet("scenes.parquet")`` work; `write_catalog` never leaves
        half a file.

    Raises
    ------
    ProductError
        When the folder does not exist or cannot be read.
    """
    root = Path(folder)
    try:
        is_empty = next(root.iterdir(), None) is None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"scenes are looked for in a folder, got {folder} ({reason}); pass an existing folder that can be read"
        raise ProductError(msg) from error
    return _table([] if is_empty else search(str(root.absolute()), unpack=unpack))


def _table(scenes: Iterable[Entry]) -> gpd.GeoDataFrame:
    import geopandas as gpd
    import pandas as pd

    rows = [_row(scene) for scene in scenes]
    columns = {name: [row.get(name) for row in rows] for name in _COLUMNS}
    values: dict[str, Any] = {name: pd.Series(columns[name], dtype="object") for name in _TEXTS}
    values |= {name: pd.Series(columns[name], dtype="float64") for name in _NUMBERS}
    time = pd.to_datetime(pd.Series(columns["time"], dtype="object"), utc=True, format="ISO8601", errors="coerce")
    values["time"] = time.astype("datetime64[ms, UTC]")
    values["geometry"] = gpd.GeoSeries(columns["geometry"], crs=LONLAT)
    frame = gpd.GeoDataFrame({name: values[name] for name in _COLUMNS}, geometry="geometry", crs=LONLAT)
    return frame.sort_values(["time", "name", "source"], kind="stable", ignore_index=True)


def _row(scene: Entry) -> dict[str, Any]:
    own = {"name": scene.name, "source": scene.source, "family": scene.family, "problem": scene.problem}
    row = {**scene.facts, **own}
    return {name: _written(value) if isinstance(value, str) else value for name, value in row.items()}


def _written(text: str) -> str:
    """Return a text that any file can hold: names of files need not be UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def as_geojson(scenes: gpd.GeoDataFrame) -> str:
    """Return a table of scenes as the text of a GeoJSON, times in ISO 8601, for programs that read one line."""
    import pandas as pd

    times = [None if pd.isna(t) else t.isoformat(timespec="milliseconds")[:-6] + "Z" for t in scenes["time"]]
    return str(scenes.assign(time=pd.Series(times, index=scenes.index, dtype="object")).to_json(drop_id=True))


def check_catalog(path: PathLike, *, overwrite: bool = False) -> Path:
    """Check that a table of scenes can be written, before any work is done for it.

    Parameters
    ----------
    path
        File to be written: .gpkg, .geojson or .parquet.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The target, links resolved.

    Raises
    ------
    ArgumentError
        When the suffix is another one.
    OutputError
        When the file exists, or its folder is missing or not writable.
    """
    if Path(path).suffix.lower() not in _SUFFIXES:
        msg = f"a table of scenes must be one of {', '.join(_SUFFIXES)}, got {path}; choose one of these suffixes"
        raise ArgumentError(msg)
    return check_output(path, overwrite=overwrite)


def write_catalog(scenes: gpd.GeoDataFrame, path: PathLike, *, overwrite: bool = False) -> Path:
    """Write a table of scenes, whole or not at all.

    Parameters
    ----------
    scenes
        What `find_scenes` gave.
    path
        GeoPackage (.gpkg), GeoJSON (.geojson) or GeoParquet (.parquet, which needs pyarrow).
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The file, links resolved.

    Raises
    ------
    ArgumentError
        When the suffix is another one.
    OutputError
        When the file exists or cannot be written.
    """
    target = check_catalog(path, overwrite=overwrite)
    try:
        with aside(target, overwrite=overwrite) as made:
            _write(scenes, made)
    except ImportError as error:
        msg = f"GeoParquet needs pyarrow, got {error} for {path}; install ship-geo[catalog], or use .gpkg"
        raise OutputError(msg) from error
    except (OSError, ValueError, RuntimeError) as error:
        msg = f"a table of scenes must be writable, got {error} for {path}; check the disk and its permissions"
        raise OutputError(msg) from error
    return target


def _write(scenes: gpd.GeoDataFrame, made: Path) -> None:
    drivers = {".gpkg": "GPKG", ".geojson": "GeoJSON"}
    driver = drivers.get(made.suffix.lower())
    if driver is None:
        scenes.to_parquet(made)
    else:
        scenes.to_file(made, driver=driver, engine="pyogrio")
