"""Where both layers of a pair lie: on one map, in the pixels of PAN, or brought onto a map; as the files allow.

The way of each case is one function that gives a `Placing`. Nothing is resampled here: a layer that must be warped
gets a rule for it, and its readers warp block by block. The convention that could surprise: products that have RPC
models only are laid on each other through both models at one height, the mean height that PAN's model states.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from ship_geo._typing import PathLike, Shape
from ship_geo.errors import ArgumentError, GridError, ProductError
from ship_geo.geometry import ortho_grids, ortho_warp, reproject_warp, sensor_pair
from ship_geo.geometry.points import compose, find_transformer
from ship_geo.grids import Grid, GridPair, brief_crs, is_same_crs
from ship_geo.products.layers import Layer
from ship_geo.raster import RasterInfo, inspect, is_remote
from ship_geo.rpc import Rpc

_MOST_SCALE = 1000.0
"""Times by which an ortho image may have more, or fewer, pixels than PAN; a slanting strip has some ten times more."""

_LARGE_PARALLAX = 0.25
"""PAN pixels that 100 m of height may move MS against PAN before a note tells."""


@dataclass(frozen=True)
class Part:
    """One layer, and what is known of its place.

    Attributes
    ----------
    layer
        The layer, on the grid of its file.
    info
        Of its first file.
    rpc
        Its model, from the product or from the file; None without one.
    """

    layer: Layer
    info: RasterInfo
    rpc: Rpc | None

    @property
    def is_placed(self) -> bool:
        """Whether the file lies on a map, or at least somewhere in a plane."""
        return self.layer.grid.crs is not None or self.info.is_georeferenced


@dataclass(frozen=True)
class Placing:
    """Two layers that lie on each other.

    Attributes
    ----------
    ms, pan
        The layers.
    geometry, heights, rpc, notes, warnings
        See `ship_geo.scene.Scene`.
    """

    ms: Layer
    pan: Layer
    geometry: str = "map"
    heights: str = ""
    rpc: Rpc | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def place(ms: Part, pan: Part, options: Mapping[str, Any]) -> Placing:
    """Lay MS on PAN.

    Parameters
    ----------
    ms, pan
        The layers.
    options
        Those of `ship_geo.scene.SceneOptions` that have to do with geometry.

    Raises
    ------
    GridError
        When they cannot be related.
    ArgumentError
        When the geometry asked for is not to be had.
    """
    geometry = options.get("geometry", "auto")
    _check_use(options, geometry)
    if geometry == "ortho":
        return _ortho(ms, pan, options)
    has_models = ms.rpc is not None and pan.rpc is not None
    if geometry == "sensor" or (has_models and not ms.is_placed and not pan.is_placed):
        return _sensor(ms, pan, options)
    if not ms.is_placed and not pan.is_placed:
        return _bare(ms, pan)
    if options.get("dem") is not None:
        msg = (
            f"`dem` is for a geometry by RPC, got {options['dem']} for {pan.info.path}, which has none to use; "
            "leave it out"
        )
        raise ArgumentError(msg)
    if not options.get("assume_aligned", False):
        return _map(ms, pan)
    assumed = [name for name, part in (("MS", ms), ("PAN", pan)) if not part.is_placed or part.layer.grid.crs is None]
    placing = _map(_aligned(ms, pan), _aligned(pan, ms))
    notes = [f"{name} has no CRS of its own: that of the other is assumed, as stated" for name in assumed]
    return replace(placing, notes=(*placing.notes, *notes))


def _check_use(options: Mapping[str, Any], geometry: str) -> None:
    """Refuse options that would change nothing."""
    given = [name for name in ("crs", "resolution", "geoid") if options.get(name) not in (None, 0)]
    if given and geometry != "ortho":
        msg = f"`{given[0]}` is for an ortho image, got {options[given[0]]!r} without it; pass geometry='ortho', too"
        raise ArgumentError(msg)
    dem = options.get("dem")
    if "geoid" in given and not isinstance(dem, str | os.PathLike):
        msg = f"`geoid` is added to a raster of heights, got {options['geoid']} with `dem` {dem}; add it to the height"
        raise ArgumentError(msg)
    crs = options.get("crs")
    if crs is not None and _is_no_plane(crs):
        msg = f"`crs` must be projected or geographic, got {crs}; pass a UTM zone, for instance"
        raise ArgumentError(msg)


def _is_no_plane(crs: str) -> bool:
    from pyproj import CRS  # a tenth of a second, for this alone
    from pyproj.exceptions import CRSError

    try:
        found = CRS.from_user_input(crs)
    except CRSError as error:
        msg = f"`crs` must be readable by PROJ, got {crs!r}; pass an EPSG code or WKT"
        raise ArgumentError(msg) from error
    return found.is_geocentric or not (found.is_projected or found.is_geographic)


def _map(ms: Part, pan: Part) -> Placing:
    if ms.is_placed != pan.is_placed:
        bare = "MS" if pan.is_placed else "PAN"
        msg = (
            f"PAN and MS must both be georeferenced or neither, got no georeference for {bare}; add it (gdal_edit.py), "
            "or pass `assume_aligned=True` where both cover the same ground"
        )
        raise GridError(msg)
    ms_crs, pan_crs = ms.layer.grid.crs, pan.layer.grid.crs
    if ms_crs is None and pan_crs is None:
        note = "neither file has a CRS: their coordinates are used as they are"
        return Placing(ms.layer, pan.layer, rpc=pan.rpc, notes=(note,))
    if ms_crs is None or pan_crs is None or is_same_crs(ms_crs, pan_crs):
        return Placing(ms.layer, pan.layer, rpc=pan.rpc)  # a missing CRS: the pair of grids refuses it
    try:
        warp = reproject_warp(ms.layer.grid, pan.layer.grid)
    except GridError:
        GridPair.from_grids(ms.layer.grid, pan.layer.grid)  # its message names both footprints
        raise
    note = f"MS is reprojected from {brief_crs(ms_crs)} to the CRS of PAN, {brief_crs(pan_crs)}, as it is read"
    return Placing(ms.layer.warped(warp), pan.layer, rpc=pan.rpc, notes=(note,))


def _bare(ms: Part, pan: Part) -> Placing:
    if ms.info.path == pan.info.path:  # the bands of a stack share their grid
        note = "the file has no georeference: pixel coordinates are used"
        return Placing(ms.layer, pan.layer, "pixel", notes=(note,))
    grid = _same_ground(ms.layer.grid, pan.layer.grid)
    note = f"neither file is georeferenced: they are taken to cover the same ground at ratio {grid.transform.a:g}"
    return Placing(replace(ms.layer, grid=grid), pan.layer, "pixel", notes=(note,))


def _same_ground(ms: Grid, pan: Grid) -> Grid:
    """Return the grid of MS on PAN. Without any georeference only sizes tell, and only as an exact multiple."""
    ratio = pan.shape[0] / ms.shape[0]
    if not ratio.is_integer() or ratio * ms.shape[1] != pan.shape[1]:
        msg = (
            "PAN and MS without CRS and georeference must be an exact multiple of each other in size, got PAN "
            f"{pan.shape} and MS {ms.shape}; georeference both files"
        )
        raise GridError(msg)
    return Grid(ms.shape, compose(pan.transform, Affine.scale(ratio)), pan.crs)


def _aligned(part: Part, other: Part) -> Part:
    """Give a layer without a CRS, or without any place, that of the other."""
    own, its = part.layer.grid, other.layer.grid
    if part.is_placed and own.crs is not None:
        return part
    if part.info.is_georeferenced:
        return replace(part, layer=replace(part.layer, grid=replace(own, crs=its.crs)))
    finer = own.shape[0] > its.shape[0]
    grid = Grid(own.shape, compose(its.transform, Affine.scale(its.shape[0] / own.shape[0])), its.crs)
    _same_ground(its, grid) if finer else _same_ground(grid, its)  # refuses other sizes
    return replace(part, layer=replace(part.layer, grid=grid), info=replace(part.info, grid=grid))


def _sensor(ms: Part, pan: Part, options: Mapping[str, Any]) -> Placing:
    ms_rpc, pan_rpc = _models(ms, pan)
    dem = options.get("dem")
    if isinstance(dem, str | os.PathLike):
        msg = f"sensor geometry takes one height, got the raster {dem}; pass metres, or geometry='ortho'"
        raise ArgumentError(msg)
    related = sensor_pair(ms.layer.grid.shape, ms_rpc, pan.layer.grid.shape, pan_rpc, dem)
    heights = f"{related.height:g} m above the ellipsoid"
    error = related.residual if related.warp is None else related.residual_affine
    notes = [f"MS is laid on PAN through both RPC models at {heights}, to {error:.3f} PAN pixel"]
    warnings = []
    if related.parallax > _LARGE_PARALLAX:
        warnings.append(
            f"100 m of height move MS against PAN by {related.parallax:.2f} PAN pixel: state the mean height with "
            "`dem=`, or use geometry='ortho' with a DEM"
        )
    warnings += _odd_height(related.height, pan_rpc)
    layer = replace(ms.layer, grid=related.ms) if related.warp is None else ms.layer.warped(related.warp)
    placed = replace(pan.layer, grid=related.pan)
    return Placing(layer, placed, "sensor", heights, pan_rpc, tuple(notes), tuple(warnings))


def _ortho(ms: Part, pan: Part, options: Mapping[str, Any]) -> Placing:
    ms_rpc, pan_rpc = _models(ms, pan)
    dem = _dem_of(options.get("dem"))
    level = pan_rpc.height_offset if dem.path is not None or dem.height is None else dem.height
    shapes = ms.layer.grid.shape, pan.layer.grid.shape
    ms_grid, pan_grid = ortho_grids(
        shapes[0],
        ms_rpc,
        shapes[1],
        pan_rpc,
        height=level,
        crs=options.get("crs"),
        resolution=options.get("resolution"),
    )
    _check_size(pan_grid, shapes[1])
    lift = float(options.get("geoid") or 0.0)
    height = lift if dem.path is not None else level
    layers = [
        part.layer.warped(ortho_warp(part.layer.grid.shape, rpc, grid, height=height, dem=dem.path))
        for part, rpc, grid in ((ms, ms_rpc, ms_grid), (pan, pan_rpc, pan_grid))
    ]
    if dem.path is None:
        heights = f"level ground at {level:g} m above the ellipsoid"
    else:
        added = f", {lift:g} m added" if lift else ", taken as heights above the ellipsoid"
        heights = f"DEM {Path(dem.path).name}{added}"
    note = f"PAN and MS are brought onto {pan_grid.crs} with pixels of {pan_grid.resolution[0]:g} units; {heights}"
    odd = _odd_height(level, pan_rpc) if dem.grid is None else _uncovered(pan_grid, dem.grid, str(dem.path))
    return Placing(layers[0], layers[1], "ortho", heights, notes=(note,), warnings=odd)


def _odd_height(height: float, rpc: Rpc) -> tuple[str, ...]:
    """Warn of a height for which a model was not made: its polynomials then mean nothing."""
    low, high = rpc.height_offset - rpc.height_scale, rpc.height_offset + rpc.height_scale
    if low <= height <= high:
        return ()
    return (f"the height {height:g} m is outside the {low:g} to {high:g} m for which the RPC model of PAN was made",)


def _uncovered(grid: Grid, dem: Grid, path: str) -> tuple[str, ...]:
    """Warn of ground without heights, which becomes invalid.

    Raises
    ------
    ProductError
        When the DEM lies elsewhere.
    """
    corners = ((0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5))
    rows, cols = (np.array([corner[axis] for corner in corners]) * grid.shape[axis] for axis in (0, 1))
    x, y = grid.transform[2] + grid.transform[0] * cols, grid.transform[5] + grid.transform[4] * rows
    x, y = find_transformer(str(grid.crs), str(dem.crs)).transform(x, y)
    left, bottom, right, top = dem.bounds
    is_inside = (left <= x) & (x <= right) & (bottom <= y) & (y <= top)
    is_beside = x.max() < left or x.min() > right or y.max() < bottom or y.min() > top
    if is_beside:
        msg = f"a DEM must cover the scene, got {path}, which lies elsewhere; pass the heights of this ground"
        raise ProductError(msg)
    if is_inside.all():
        return ()
    return (f"the DEM {Path(path).name} does not cover the whole scene: what lies outside it is invalid",)


def _check_size(grid: Grid, shape: Shape) -> None:
    """Refuse a pixel size that is far from that of the image: mostly the unit of the CRS is another one."""
    n_pixel, n_image = (float(n_row) * n_col for n_row, n_col in (grid.shape, shape))
    if not 1 / _MOST_SCALE <= n_pixel / n_image <= _MOST_SCALE:
        from pyproj import CRS

        unit = "degrees" if CRS.from_user_input(grid.crs).is_geographic else "units of the CRS"
        msg = (
            f"`resolution` must be near that of PAN, got {grid.resolution[0]:g}, with which {shape[0]} x {shape[1]} "
            f"pixels become {grid.shape[0]} x {grid.shape[1]}; pass the pixel size in {unit}, or leave it out"
        )
        raise ArgumentError(msg)


@dataclass(frozen=True)
class _Heights:
    path: str | None = None
    height: float | None = None
    grid: Grid | None = None


def _dem_of(dem: PathLike | float | None) -> _Heights:
    if dem is None or isinstance(dem, int | float):
        return _Heights(height=None if dem is None else float(dem))
    path = os.fspath(dem)
    info = inspect(path)
    if info.grid.crs is None:
        msg = f"a DEM must have a CRS, got none for {path}; write it into the file (gdal_edit.py -a_srs)"
        raise ProductError(msg)
    return _Heights(path=path if is_remote(path) else str(Path(path).resolve()), grid=info.grid)


def _models(ms: Part, pan: Part) -> tuple[Rpc, Rpc]:
    if ms.rpc is None or pan.rpc is None:
        bare = " and ".join(name for name, part in (("PAN", pan), ("MS", ms)) if part.rpc is None)
        msg = f"a geometry by RPC needs the models of PAN and MS, got none for {bare}; leave `geometry` out"
        raise ArgumentError(msg)
    if ms.is_placed or pan.is_placed:
        msg = (
            f"a geometry by RPC is for products in sensor geometry, got georeferenced files for {pan.info.path}; "
            "leave `geometry` out"
        )
        raise ArgumentError(msg)
    return ms.rpc, pan.rpc
