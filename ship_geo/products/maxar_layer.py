"""Where the pixels of one DigitalGlobe image product lie: its tiles or its one raster, checked against the metadata.

The size comes from the tiles, never from the IMD: readers that believe the IMD crop or pad without a word. The origin
comes from the georeference of a tile; the IMD, whose ``ULX / ULY`` are the *centre* of a pixel, is a cross-check.
Names in a TIL are untrusted and must lie inside the delivery. Only one tile is opened here, the others are checked when
the layer is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ship_geo.errors import ProductError
from ship_geo.products.maxar_metadata import Metadata, Section, find_roles_of_codes, number_in
from ship_geo.products.product import LayerFiles, Tile
from ship_geo.products.rpb import rpc_from_rpb
from ship_geo.raster import inspect
from ship_geo.rpc import Rpc

if TYPE_CHECKING:
    from ship_geo.products.maxar_names import Half
    from ship_geo.products.texts import Group
    from ship_geo.products.tree import Tree
    from ship_geo.raster import RasterInfo

NODATA = 0.0
"""Outside the strip or the order; the files carry no tag."""

BASIC = "1B"
_READY_FOR_ORTHO = "2A"
_ORIGIN_TOLERANCE = 0.01  # pixels
_MOST_PIXELS = 2**31 - 1  # rows or columns that GDAL can count
_CORNERS = ("ulcoloffset", "ulrowoffset", "lrcoloffset", "lrrowoffset")


@dataclass(frozen=True)
class FoundLayer:
    """A layer and what is to be said about it."""

    files: LayerFiles
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Mosaic:
    """Tiles that are there, those that are not, and the size of the whole."""

    tiles: tuple[Tile, ...]
    absent: tuple[str, ...]
    shape: tuple[int, int]
    index: str


def read_layer(tree: Tree, half: Half, meta: Metadata, *, missing: str) -> FoundLayer:
    """Find the images of a product and check them against its metadata.

    Parameters
    ----------
    tree
        The delivery.
    half
        The files of the product.
    meta
        Its metadata.
    missing
        ``"raise"``, or ``"mask"``: pixels of missing tiles are invalid.

    Returns
    -------
    FoundLayer
        The layer with its roles, nodata rule, RPC and time.

    Raises
    ------
    ProductError
        When there is no image, a tile is missing or lies outside the delivery, the bands are not those of the
        metadata, or a product in sensor geometry has no RPC.
    """
    # Before GDAL sees the images: it looks at the RPB, too, and does not name what is wrong.
    model = rpc_from_rpb(meta.rpb.group, source=f"{tree.root}/{meta.rpb.name}") if meta.rpb is not None else None
    mosaic = _read_mosaic(tree, half, meta.til, missing) if meta.til is not None else None
    notes: tuple[str, ...] = ()
    if mosaic is None:
        raster = _only_raster(tree, half)
        if meta.til is not None:
            notes = (f"the index of {half.title} names another file than {raster}, its only image: that is taken",)
        info = inspect(tree.path(raster))
        shape, place, files = info.grid.shape, (0, 0), LayerFiles((tree.path(raster),))
    else:
        first = mosaic.tiles[0]
        info = inspect(first.path)
        shape, place = mosaic.shape, (first.row, first.col)
        files = LayerFiles((tree.path(mosaic.index),), mosaic.tiles, shape)
    rpc, rpc_notes, rpc_warnings = _choose_rpc(tree, half, meta, info, model)
    time = meta.time or half.stamp
    return FoundLayer(
        replace(
            files,
            roles=_roles(tree, meta, info),
            nodata=NODATA,
            rpc=rpc,
            time=time.isoformat(timespec="milliseconds").replace("+00:00", "Z") if time else None,
        ),
        (*notes, *rpc_notes),
        (*_odd_tiles(mosaic), *_odd_size(half, meta, shape), *_odd_origin(half, meta, info, place), *rpc_warnings),
    )


def tile_names(til: Section, tree: Tree) -> list[tuple[str, Group]]:
    """Return the file names and groups of a TIL, in its order.

    Raises
    ------
    ProductError
        When it states another unit than pixels, another number of tiles than it has, or a tile without a name.
    """
    tiles = [group for key, group in til.group.items() if key.startswith("tile_") and isinstance(group, dict)]
    stated = number_in(til.group, "numtiles")
    unit = str(til.group.get("tileunits", "Pixels"))
    source = f"{tree.root}/{til.name}"
    if unit.lower() != "pixels":
        msg = f"tiles must be counted in pixels, got {unit!r} in {source}; pass the images with `pan=` and `ms=`"
        raise ProductError(msg)
    if not tiles or (stated is not None and stated != len(tiles)):
        msg = (
            f"a TIL must describe as many tiles as it states, got {len(tiles)} and not {stated or 'any':g} in {source}"
            if stated
            else f"a TIL must describe a tile, got none in {source}"
        )
        raise ProductError(f"{msg}; fetch the delivery again, the file is damaged")
    names = [group.get("filename") for group in tiles]
    if not all(isinstance(name, str) and name for name in names):
        msg = f"each tile of a TIL must have a file name, got {names} in {source}; fetch the delivery again"
        raise ProductError(msg)
    return [(str(name), group) for name, group in zip(names, tiles, strict=True)]


def _read_mosaic(tree: Tree, half: Half, til: Section, missing: str) -> _Mosaic | None:
    """Return the tiles of an index; None where it names one tile under another name than that of the only image."""
    tiles, absent, ends = [], [], []
    listed = tile_names(til, tree)
    for name, group in listed:
        row, col, n_row, n_col = _place(group, f"{tree.root}/{til.name}")
        ends.append((row + n_row, col + n_col))
        found = tree.resolve(til.name, name)
        if found is None:
            absent.append(name)
        else:
            tiles.append(Tile(tree.path(found), row, col, (n_row, n_col)))
    if absent and len(listed) == len(half.rasters) == 1:
        return None
    if absent and (missing != "mask" or not tiles):
        msg = (
            f"every tile of a mosaic must be there, got no {', '.join(absent[:5])} of the {len(listed)} tiles that "
            f'{tree.root}/{til.name} lists; copy the delivery again, or pass `missing="mask"` for invalid pixels there'
        )
        raise ProductError(msg)
    shape = (max(end[0] for end in ends), max(end[1] for end in ends))
    return _Mosaic(tuple(tiles), tuple(absent), shape, til.name)


def _place(group: Group, source: str) -> tuple[int, int, int, int]:
    """Row, column, rows and columns of a tile; offsets in the file are inclusive."""
    corners = [number_in(group, key) for key in _CORNERS]
    left, top, right, bottom = (int(v) if v is not None and v == int(v) else -1 for v in corners)
    if not (0 <= left <= right < _MOST_PIXELS and 0 <= top <= bottom < _MOST_PIXELS):
        msg = (
            f"a tile must have whole offsets from 0 that grow to the lower right, got {corners} for {_CORNERS} of "
            f"{group.get('filename')} in {source}; fetch the delivery again, the file is damaged"
        )
        raise ProductError(msg)
    return top, left, bottom - top + 1, right - left + 1


def _only_raster(tree: Tree, half: Half) -> str:
    if len(half.rasters) == 1:
        return half.rasters[0]
    if half.rasters:
        names = ", ".join(PurePosixPath(name).name for name in half.rasters[:5])
        msg = f"several images must have a TIL that says where they lie, got {names} without one in {tree.root}"
        raise ProductError(f"{msg}; copy the .TIL or .XML of {half.title}, or mosaic the tiles and pass the mosaic")
    msg = f"an image product must have a TIFF or NITF file, got none for {half.title} in {tree.root}"
    raise ProductError(f"{msg}; copy the delivery again")


def _roles(tree: Tree, meta: Metadata, info: RasterInfo) -> tuple[str, ...]:
    source = f"{tree.root}/{meta.imd.name}"
    if len(meta.codes) != info.n_band:
        msg = (
            f"the metadata must list each band of the image, got {', '.join(meta.codes).upper() or 'no BAND group'} in "
            f"{source} for the {info.n_band} bands of {info.path}; name the bands with `pan=`, `ms=` and `bands=`"
        )
        raise ProductError(msg)
    return find_roles_of_codes(meta.codes, source)


def _choose_rpc(
    tree: Tree, half: Half, meta: Metadata, info: RasterInfo, model: Rpc | None
) -> tuple[Rpc | None, tuple[str, ...], tuple[str, ...]]:
    """Return the model with notes and warnings; only Basic and Ortho-Ready products keep one that holds."""
    level = half.level or meta.level
    descriptor = meta.text("imagedescriptor") or ""
    keeps = level in {BASIC, "", None} or (level == _READY_FOR_ORTHO and descriptor.lower() in {"", "orstandard2a"})
    if not keeps:
        ignored = model is not None or bool(half.file(".rpb"))
        note = f"RPC of {half.title} ignored: {descriptor or level} is rectified, its model no longer holds"
        return None, (note,) if ignored else (), ()
    if model is not None:
        return model, (), ()
    if info.rpc:
        note = f"RPC of {half.title} taken from the image, there is no RPB"
        return Rpc.from_tags(info.rpc, source=info.path), (note,), ()
    if level == BASIC:
        msg = (
            f"a product of level 1B must have an RPC, its only link to the ground, got none for {half.title} in "
            f"{tree.root}; copy its .RPB or .XML file"
        )
        raise ProductError(msg)
    empty = half.file(".rpb")
    return None, (), (f"{empty} is empty: no RPC",) if empty else ()


def _odd_tiles(mosaic: _Mosaic | None) -> tuple[str, ...]:
    if mosaic is None or not mosaic.absent:
        return ()
    return (f"missing tiles, their pixels are invalid: {', '.join(mosaic.absent)}",)


def _odd_size(half: Half, meta: Metadata, shape: tuple[int, int]) -> tuple[str, ...]:
    stated = meta.number("numrows"), meta.number("numcolumns")
    if None in stated or stated == shape:
        return ()
    said = f"{stated[0]:g} x {stated[1]:g}"
    return (f"{half.title}: the metadata say {said} pixels, the images have {shape[0]} x {shape[1]}: the images hold",)


def _odd_origin(half: Half, meta: Metadata, info: RasterInfo, place: tuple[int, int]) -> tuple[str, ...]:
    """Compare the centre of the first pixel; `place` is row and column of the image on the mosaic."""
    if not info.is_georeferenced:
        return ()
    pairs = [(meta.number(f"{key}x"), meta.number(f"{key}y")) for key in ("ul", "origin")]
    stated = next(((x, y) for x, y in pairs if x is not None and y is not None), None)
    if stated is None:
        return ()
    a, b, c, d, e, f = info.grid.transform[:6]
    col, row = 0.5 - place[1], 0.5 - place[0]
    centre = (a * col + b * row + c, d * col + e * row + f)
    off = max(abs(have - want) for have, want in zip(stated, centre, strict=True)) / min(info.grid.resolution)
    if off <= _ORIGIN_TOLERANCE:
        return ()
    said, found = (f"({x:.10g}, {y:.10g})" for x, y in (stated, centre))
    text = f"{half.title}: the metadata put the centre of the first pixel at {said}, the image at {found}"
    return (f"{text}, {off:.3g} pixels away: the image holds",)
