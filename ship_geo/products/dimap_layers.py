"""The images of one DIMAP component as a layer: which files, in which order of bands, placed how.

Opens headers only. The convention that could surprise: an image's own transform is used as it is, and ULXMAP / ULYMAP
of the metadata, which may mean the corner or the centre of the first pixel, are only compared with it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from ship_geo.errors import ProductError
from ship_geo.products.dimap_metadata import BandGroup, Component, DataFile
from ship_geo.products.dimap_xml import read_rpc
from ship_geo.products.product import LayerFiles, OpenOptions, Tile
from ship_geo.raster import RasterInfo, inspect

if TYPE_CHECKING:
    from ship_geo.products.tree import Tree

ROLES = {
    "P": "pan",
    "PAN": "pan",
    "B0": "blue",
    "B1": "green",
    "B2": "red",
    "B3": "nir",
    "DB": "coastal",
    "B": "blue",
    "G": "green",
    "R": "red",
    "RE": "rededge",
    "NIR": "nir",
}
"""Role of each BAND_ID."""

_TOLERANCE = 0.01  # pixels
_HALF = 0.5


@dataclass(frozen=True)
class LayerRead:
    """A layer, what was decided, and what is odd."""

    files: LayerFiles
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Images:
    """The files of a layer and the header of one of them, whose upper-left pixel is `at` on the layer."""

    files: LayerFiles
    info: RasterInfo
    at: tuple[int, int]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_layer(tree: Tree, component: Component, options: OpenOptions) -> LayerRead:
    """Find and check the images of a component.

    Parameters
    ----------
    tree
        The delivery.
    component
        What its ``DIM_*.XML`` says.
    options
        Whether tiles may be missing.

    Raises
    ------
    ProductError
        When an image is missing or damaged, or its bands or size contradict the metadata.
    """
    if not component.groups:
        msg = f"a component must name its images, got no DATA_FILE_PATH in {component.name}; fetch the delivery again"
        raise ProductError(msg)
    is_tiled = any(len(group.files) > 1 for group in component.groups)
    images = _mosaic(tree, component, options) if is_tiled else _whole(tree, component)
    roles, role_warnings = _roles(component)
    rpc_name = _rpc_name(tree, component.name)
    files = LayerFiles(
        paths=images.files.paths,
        tiles=images.files.tiles,
        shape=images.files.shape,
        roles=roles,
        nodata=component.nodata,
        rpc=None if rpc_name is None else read_rpc(tree, rpc_name),
        time=component.time,
    )
    return LayerRead(
        files,
        (*images.notes, *_notes(component, rpc_name)),
        (*images.warnings, *role_warnings, *_place_warnings(component, images)),
    )


def _whole(tree: Tree, component: Component) -> _Images:
    """One image with all bands, or one for each group of bands."""
    paths, infos = [], []
    for group in component.groups:
        path = _require(tree, component, group.files[0])
        paths.append(path)
        infos.append(_inspect(path, group, component))
    size = infos[0].grid.shape
    warnings: tuple[str, ...] = ()
    if component.shape not in {None, size}:
        warnings = (
            f"{component.name} says {component.shape} rows and columns, the image has {size}: the image is right",
        )
    return _Images(LayerFiles(tuple(paths)), infos[0], (0, 0), warnings=warnings)


def _mosaic(tree: Tree, component: Component, options: OpenOptions) -> _Images:
    if len(component.groups) > 1:
        listed = ", ".join(file.href for group in component.groups for file in group.files[:2])
        msg = (
            f"bands in several sets of files must have one tile each, got tiles {listed} ... in {component.name}; "
            "make one GeoTIFF of the component with gdal_translate and pass it with `ms=`"
        )
        raise ProductError(msg)
    if any(component.overlap):
        msg = f"tiles must not overlap, got an overlap of {component.overlap} in {component.name}; merge the tiles"
        raise ProductError(msg)
    group = component.groups[0]
    places = {(file.row, file.col): file for file in group.files}
    found = {place: _find(tree, component, file) for place, file in places.items()}
    present = {place: path for place, path in found.items() if path is not None}
    gone = [file.href for place, file in places.items() if place not in present]
    gone += [f"R{row}C{col}" for row, col in _expected(component) if (row, col) not in places]
    if gone and (options.missing != "mask" or not present):
        msg = (
            f"every tile of a mosaic must be present, got no {', '.join(gone)} for {component.name}; "
            "copy the delivery again, or pass missing='mask' to leave these pixels invalid"
        )
        raise ProductError(msg)
    rows, cols = _edges(component, present, is_whole=not gone)
    tiles = tuple(
        Tile(path, rows[row - 1], cols[col - 1], (rows[row] - rows[row - 1], cols[col] - cols[col - 1]))
        for (row, col), path in sorted(present.items())
    )
    files = LayerFiles((tree.path(component.name),), tiles=tiles, shape=(rows[-1], cols[-1]))
    notes: tuple[str, ...] = (f"{len(tiles)} tiles make one image of {rows[-1]} x {cols[-1]} pixels",)
    if gone:
        notes = (*notes, f"tiles are missing, their pixels are invalid: {', '.join(gone)}")
    info = _inspect(tiles[0].path, group, component)
    return _Images(files, info, (tiles[0].row, tiles[0].col), notes)


def _expected(component: Component) -> list[tuple[int, int]]:
    """Every place in the table of tiles; empty where its size is not stated."""
    if component.shape is None or component.tile_shape is None or min(component.tile_shape) < 1:
        return []
    n_row, n_col = (-(-size // step) for size, step in zip(component.shape, component.tile_shape, strict=True))
    return list(product(range(1, n_row + 1), range(1, n_col + 1)))


def _edges(component: Component, present: dict[tuple[int, int], str], *, is_whole: bool) -> tuple[list[int], list[int]]:
    """Rows and columns between tiles: by the stated size of a tile, else by the sizes of the images."""
    legal = _expected(component)
    if legal:
        wrong = sorted(set(present) - set(legal))
        if wrong:
            msg = (
                f"tiles must lie inside the image, got R{wrong[0][0]}C{wrong[0][1]} of {legal[-1]} in {component.name}"
            )
            raise ProductError(f"{msg}; fetch the delivery again")
        shape, step = component.shape or (0, 0), component.tile_shape or (1, 1)
        rows, cols = ([min(i * step[axis], shape[axis]) for i in range(legal[-1][axis] + 1)] for axis in (0, 1))
        return rows, cols
    if not is_whole:
        msg = f"missing tiles need a stated tile size, got none in {component.name}; copy the delivery again"
        raise ProductError(msg)
    shapes = {place: inspect(path).grid.shape for place, path in present.items()}
    return _summed(component, shapes, 0), _summed(component, shapes, 1)


def _summed(component: Component, shapes: dict[tuple[int, int], tuple[int, int]], axis: int) -> list[int]:
    sizes: dict[int, int] = {}
    for place, shape in shapes.items():
        sizes.setdefault(place[axis], shape[axis])
    if sorted(sizes) != list(range(1, len(sizes) + 1)):
        msg = f"tiles must be numbered from 1 without a gap, got {sorted(sizes)} in {component.name}; copy it again"
        raise ProductError(msg)
    edges = [0]
    for number in sorted(sizes):
        edges.append(edges[-1] + sizes[number])
    return edges


def _find(tree: Tree, component: Component, file: DataFile) -> str | None:
    name = tree.resolve(component.name, file.href)
    return None if name is None else tree.path(name)


def _require(tree: Tree, component: Component, file: DataFile) -> str:
    path = _find(tree, component, file)
    if path is None:
        msg = f"the image of a component must be present, got no {file.href} for {component.name}; copy it again"
        raise ProductError(msg)
    return path


def _inspect(path: str, group: BandGroup, component: Component) -> RasterInfo:
    info = inspect(path)
    if group.bands and info.n_band != len(group.bands):
        msg = (
            f"the metadata must list each band of the image, got {', '.join(group.bands)} in {component.name} for the "
            f"{info.n_band} bands of {path}; pass the images with `pan=`, `ms=` and `bands=`"
        )
        raise ProductError(msg)
    return info


def _roles(component: Component) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Roles in the order of the raster; None where a band is not known."""
    if component.kind == "pan":
        return ("pan",), ()
    bands = component.bands
    roles = [ROLES.get(band.upper()) for band in bands]
    known = tuple(role for role in roles if role is not None)
    if not bands or len(set(known)) != len(bands):
        listed = ", ".join(bands) or "none"
        return None, (f"the bands of {component.name} are not known by their BAND_ID ({listed})",)
    shown = component.display
    if component.is_order_listed or not shown or bands[: len(shown)] == shown:
        return known, ()
    warning = (
        f"the order of bands is not sure: {component.name} has no BAND_INDEX, lists {', '.join(bands)} and shows "
        f"{', '.join(shown)} as red, green, blue; {', '.join(known)} is assumed, name others with `bands=`"
    )
    return known, (warning,)


def _notes(component: Component, rpc_name: str | None) -> tuple[str, ...]:
    notes = []
    if component.nodata is not None:
        notes.append(f"{_title(component)} nodata is {component.nodata:g} by its metadata")
    if component.saturated is not None:
        notes.append(f"{_title(component)} pixels of {component.saturated:g} are saturated")
    if rpc_name is not None:
        notes.append(f"{_title(component)} RPC model from {posixpath.basename(rpc_name)}")
    if component.kind == "ms" and not component.is_order_listed:
        notes.append(f"the order of bands is that of the radiometric list: {', '.join(component.bands)}")
    return tuple(notes)


def _place_warnings(component: Component, images: _Images) -> tuple[str, ...]:
    """Compare ULXMAP / ULYMAP with the corner that the image states."""
    if component.corner is None or component.level == "SENSOR":
        return ()
    base = posixpath.basename(component.name)
    if not images.info.is_georeferenced:
        return (f"{_title(component)} has no georeference in its image, though {base} states one, which is not used",)
    row, col = images.at
    grid = images.info.grid.crop(-row, 1 - row, -col, 1 - col)
    corner = (grid.transform.c, grid.transform.f)
    size_y, size_x = grid.resolution
    off = (abs(component.corner[0] - corner[0]) / size_x, abs(component.corner[1] - corner[1]) / size_y)
    if max(off) <= _TOLERANCE:
        return ()
    is_half = all(abs(value - _HALF) <= _TOLERANCE for value in off)
    how = "half a pixel" if is_half else f"{off[1]:.3g} rows and {off[0]:.3g} columns"
    message = (
        f"{_title(component)} begins at {_point(corner)} by its image, and at {_point(component.corner)} by ULXMAP and "
        f"ULYMAP of {base}, {how} apart: the image is right"
    )
    return (message,)


def _point(corner: Sequence[float]) -> str:
    return f"({corner[0]:.10g}, {corner[1]:.10g})"


def _title(component: Component) -> str:
    return "PAN" if component.kind == "pan" else "MS"


def _rpc_name(tree: Tree, component: str) -> str | None:
    """Return the RPC file of a component: of the same name, else the only one in its folder."""
    folder, base = posixpath.split(component)
    beside = [name for name in tree.names if posixpath.dirname(name) == folder]
    found = [
        name for name in beside if posixpath.basename(name).upper().startswith("RPC_") and name.upper().endswith(".XML")
    ]
    same = [name for name in found if posixpath.basename(name).upper()[4:] == base.upper()[4:]]
    return same[0] if same else found[0] if len(found) == 1 and _is_alone(beside) else None


def _is_alone(names: Sequence[str]) -> bool:
    return sum(posixpath.basename(name).upper().startswith("DIM_") for name in names) == 1
