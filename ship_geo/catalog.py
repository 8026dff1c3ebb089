"""Which scenes lie below a folder: one row each, with footprint, sensor and time, whatever their family.

Every delivery and every plain pair is opened as `open_scene` would; one that cannot be opened becomes a row that says
why, never an exception. Not for reading pixels. Two conventions could surprise. Footprints are in longitude and
latitude (EPSG:4326), those of products with RPC only at the mean height of their model. And compressed archives
(``.tar.gz``) are listed but not unpacked unless asked for: that takes minutes and gigabytes each.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from ship_geo._typing import PathLike
from ship_geo.errors import OutputError, ProductError, ShipGeoError
from ship_geo.grids import Grid
from ship_geo.products.archives import archive_kind
from ship_geo.products.discovery import FAMILIES, family_of, find_candidates
from ship_geo.products.pairs import has_pan_name, rasters_in
from ship_geo.products.product import Candidate, OpenOptions
from ship_geo.products.tree import Tree, open_tree
from ship_geo.scene import Scene, build_scene, open_scene
from ship_geo.writer import check_output

LONLAT = "EPSG:4326"

_COLUMNS = (
    "name",
    "family",
    "sensor",
    "platform",
    "product_id",
    "level",
    "time",
    "cloud",
    "sun_elevation",
    "off_nadir",
    "resolution",
    "bands",
    "source",
    "ms",
    "pan",
    "problem",
)
_EDGE_POINTS = 9  # of each side of a footprint: sides that are straight on the map are not in longitude and latitude


def find_scenes(folder: PathLike, *, unpack: bool = False) -> gpd.GeoDataFrame:
    """List the scenes below a folder.

    Parameters
    ----------
    folder
        Looked through with all its subfolders; links to folders are not followed.
    unpack
        Whether compressed archives are unpacked, one after the other, to be looked at.

    Returns
    -------
    geopandas.GeoDataFrame
        One row per scene, sorted by time and name, footprints in EPSG:4326: name, family, sensor, platform, product_id,
        level, time (UTC), cloud (0 to 1), sun_elevation and off_nadir (degrees), resolution (of PAN, in the unit of its
        CRS), bands, source (to be passed to `open_scene`, with ``product=name`` where it holds several), ms and pan
        (paths, several separated by new lines), problem (empty, or why the scene cannot be opened). Files of plain
        values: ``to_file("scenes.gpkg")`` and ``to_parquet("scenes.parquet")`` work.

    Raises
    ------
    ProductError
        When the folder does not exist or cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        msg = f"scenes are looked for in a folder, got {root}; pass an existing folder"
        raise ProductError(msg)
    rows = [_row(found) for found in _walk(root, unpack=unpack)]
    table = pd.DataFrame(rows, columns=[*_COLUMNS, "geometry"])
    table["time"] = pd.to_datetime(table["time"], utc=True, format="ISO8601")
    for name in ("cloud", "sun_elevation", "off_nadir", "resolution"):
        table[name] = table[name].astype("float64")
    frame = gpd.GeoDataFrame(table, geometry="geometry", crs=LONLAT)
    return frame.sort_values(["time", "name"], kind="stable", ignore_index=True)


@dataclass(frozen=True)
class _Found:
    """A scene, or why there is none."""

    name: str
    source: Path
    family: str
    scene: Scene | None = None
    problem: str = ""


def _walk(root: Path, *, unpack: bool) -> Iterator[_Found]:
    files = [Path(folder, name) for folder, _, names in os.walk(root) for name in sorted(names)]
    used: set[Path] = set()
    for start in _starts(files, root):
        yield from _deliveries(start, used)
    for path in files:
        if path not in used and path.name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz")):
            yield from _archive(path, unpack=unpack)
    for folder in sorted({path.parent for path in files}):
        yield from _pairs(folder, used)


def _starts(files: list[Path], root: Path) -> list[Path]:
    """Return the folders in which deliveries begin, the innermost first: their own names tell most."""
    starts: set[Path] = set()
    for path in files:
        parents = tuple(parent.name for parent in path.parents)
        levels = next((found for family in FAMILIES if (found := family.root_of(path.name, parents)) is not None), None)
        if levels is not None:
            start = path.parents[levels - 1]
            starts.add(start if root in (start, *start.parents) else root)
    return sorted(starts, key=lambda start: (-len(start.parts), start))


def _deliveries(start: Path, used: set[Path]) -> Iterator[_Found]:
    try:
        tree = open_tree(start)
        candidates = find_candidates(tree)
    except ShipGeoError as error:
        yield _Found(start.name, start, "", problem=str(error))
        return
    for candidate in candidates:
        members = {Path(tree.root, name) for name in candidate.members}
        if members <= used:
            continue
        used |= members
        yield _opened(tree, candidate, start)


def _opened(tree: Tree, candidate: Candidate, source: Path) -> _Found:
    if candidate.problem:
        return _Found(candidate.name, source, candidate.family, problem=candidate.problem)
    try:
        product = family_of(candidate).open(tree, candidate, OpenOptions())
        scene = build_scene(product, scratch=tree.scratch)
    except ShipGeoError as error:
        return _Found(candidate.name, source, candidate.family, problem=str(error))
    return _Found(candidate.name, source, candidate.family, scene)


def _archive(path: Path, *, unpack: bool) -> Iterator[_Found]:
    try:
        if not unpack and archive_kind(path) == "tar.gz":
            problem = f"a compressed archive is not looked into, got {path}; pass `unpack=True`, or open it by itself"
            yield _Found(path.name, path, "", problem=problem)
            return
        tree = open_tree(path)
        try:
            for candidate in find_candidates(tree):
                yield _opened(tree, candidate, path)
        finally:
            tree.close()
    except (ShipGeoError, OSError) as error:
        yield _Found(path.name, path, "", problem=str(error))


def _pairs(folder: Path, used: set[Path]) -> Iterator[_Found]:
    try:
        files = [path for path in rasters_in(folder) if path not in used]
    except ProductError as error:
        yield _Found(folder.name, folder, "", problem=str(error))
        return
    for path in files:
        if has_pan_name(path):
            try:
                scene = open_scene(pan=path)
            except ShipGeoError as error:
                yield _Found(path.stem, path, "pair", problem=str(error))
            else:
                yield _Found(scene.name, path, scene.family, scene)


def _row(found: _Found) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys((*_COLUMNS, "geometry"))
    row |= {"name": found.name, "source": str(found.source), "family": found.family, "problem": found.problem}
    if found.scene is None:
        return row
    try:
        return row | _facts(found.scene)
    except ShipGeoError as error:
        return row | {"problem": str(error)}


def _facts(scene: Scene) -> dict[str, Any]:
    known = scene.acquisition
    return {
        "sensor": scene.sensor.title,
        **{name: getattr(known, name) for name in ("platform", "product_id", "level", "time", "cloud")},
        **{name: getattr(known, name) for name in ("sun_elevation", "off_nadir")},
        "resolution": scene.pair.output.resolution[0],
        "bands": ",".join(scene.ms.roles),
        "ms": "\n".join(scene.ms.paths),
        "pan": "\n".join(scene.pan.paths),
        "geometry": footprint(scene),
    }


def write_catalog(scenes: gpd.GeoDataFrame, path: PathLike) -> None:
    """Write a table of scenes: ``.parquet`` as GeoParquet, else what GDAL makes of the suffix, whole or not at all.

    Raises
    ------
    OutputError
        When the file exists or cannot be written.
    """
    target = check_output(path)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.part-", dir=target.parent) as folder:
        made = Path(folder) / target.name
        try:
            scenes.to_parquet(made) if target.suffix == ".parquet" else scenes.to_file(made)
        except (ImportError, OSError, ValueError, RuntimeError) as error:
            msg = f"a table of scenes must be writable, got {error} for {path}; use .gpkg, .geojson or .parquet"
            raise OutputError(msg) from error
        made.replace(target)


def footprint(scene: Scene) -> shapely.Polygon | None:
    """Return the outline of the output of a scene in longitude and latitude; None where it has no place on Earth."""
    grid, rpc = scene.pair.output, scene.output_rpc
    rows, cols = _outline(grid)
    if grid.crs is not None:
        from pyproj import Transformer

        a, b, c, d, e, f = grid.transform[:6]
        to_lonlat = Transformer.from_crs(grid.crs, LONLAT, always_xy=True)
        lon, lat = to_lonlat.transform(c + a * cols + b * rows, f + d * cols + e * rows)
    elif scene.geometry == "sensor" and rpc is not None:
        lon, lat = rpc.locate(rows, cols, rpc.height_offset)
    else:
        return None
    points = np.column_stack([lon, lat])
    return shapely.Polygon(points) if np.isfinite(points).all() else None


def _outline(grid: Grid) -> tuple[Any, Any]:
    """Points (row, col) around a grid."""
    n_row, n_col = grid.shape
    steps = np.linspace(0, 1, _EDGE_POINTS)[:-1]
    ones, zeros = np.ones_like(steps), np.zeros_like(steps)
    rows = np.concatenate([zeros, steps, ones, 1 - steps])
    cols = np.concatenate([steps, ones, 1 - steps, zeros])
    return rows * n_row, cols * n_col
