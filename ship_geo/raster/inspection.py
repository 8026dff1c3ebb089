"""A look at a raster file: its facts, and a check that it is whole, before hours of work depend on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from os import fspath
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

from ship_geo._typing import PathLike
from ship_geo.errors import ProductError
from ship_geo.grids import Grid
from ship_geo.raster.facts import RasterInfo, Tile
from ship_geo.raster.handles import is_remote, local_file, opened, unreadable

_TILE_TOLERANCE = 0.01  # pixels
_MOST_BLOCKS_CHECKED = 200_000  # a second or two; larger block tables are checked at even steps


def inspect(path: PathLike) -> RasterInfo:
    """Open a raster, check that it is whole, and return what it says about itself.

    Parameters
    ----------
    path
        GeoTIFF, JPEG 2000 or NITF: a local path, a ``/vsi...`` path or a URL.

    Raises
    ------
    ProductError
        When there is no such file, it is empty, truncated or no raster of these formats, or its bands are complex or
        of several data types.

    """
    with opened(fspath(path)) as dataset:
        _check_types(dataset)
        _check_is_whole(dataset)
        return _describe(dataset)


def inspect_mosaic(path: str, tiles: Sequence[Tile], shape: tuple[int, int]) -> RasterInfo:
    """Look at every tile of a mosaic, check that they fit each other, and return what the whole is.

    Parameters
    ----------
    path
        Index file, which names the mosaic.
    tiles
        Its tiles, as the index states them; tiles may be missing.
    shape
        Rows and columns of the whole.

    Raises
    ------
    ProductError
        When a tile cannot be opened, has another size than stated, or differs in bands, data type or georeference.
    """
    infos = [inspect(tile.path) for tile in tiles]
    for tile, info in zip(tiles, infos, strict=True):
        _check_tile(tile, info, tiles[0], infos[0])
    first = infos[0]
    grid = first.grid
    if first.is_georeferenced:
        grid = grid.crop(-tiles[0].row, shape[0] - tiles[0].row, -tiles[0].col, shape[1] - tiles[0].col)
    return replace(first, path=path, grid=replace(grid, shape=shape), tiles=tuple(tiles))


def _check_tile(tile: Tile, info: RasterInfo, first: Tile, first_info: RasterInfo) -> None:
    if info.grid.shape != tile.shape:
        msg = (
            f"a tile must have the size its mosaic states, got {info.grid.shape} and not {tile.shape} for {tile.path}; "
            "copy the delivery again"
        )
        raise ProductError(msg)
    if (info.n_band, info.dtype, info.nodata) != (first_info.n_band, first_info.dtype, first_info.nodata):
        msg = (
            f"all tiles must have the same bands and data type, got {first_info.n_band} x {first_info.dtype} in "
            f"{first.path} and {info.n_band} x {info.dtype} in {tile.path}; copy the delivery again"
        )
        raise ProductError(msg)
    expected = first_info.grid.crop(
        tile.row - first.row, tile.row - first.row + 1, tile.col - first.col, tile.col - first.col + 1
    )
    off = [abs(have - want) for have, want in zip(info.grid.transform[2:6:3], expected.transform[2:6:3], strict=True)]
    if info.is_georeferenced and max(off) > _TILE_TOLERANCE * min(info.grid.resolution):
        msg = (
            f"tiles must lie where their mosaic states, got {tile.path} {max(off):.6g} map units away; "
            "the index and the tiles do not belong together: copy the delivery again"
        )
        raise ProductError(msg)


def _check_types(dataset: Any) -> None:
    kinds = sorted(set(dataset.dtypes))
    if len(kinds) != 1 or kinds[0] not in np.sctypeDict or np.dtype(kinds[0]).kind not in "uif":
        msg = (
            f"all bands must have one integer or float data type, got {', '.join(kinds)} in {dataset.name}; "
            "convert it with gdal_translate -ot"
        )
        raise ProductError(msg)


def _check_is_whole(dataset: Any) -> None:
    # GDAL opens a TIFF of which 2 % are left without a word, and fails at the block that is missing.
    if dataset.driver != "GTiff":
        return
    if is_remote(dataset.name):
        _check_last_block(dataset)
        return
    present = Path(dataset.name).stat().st_size
    expected = max(_block_ends(dataset), default=0)
    if expected > present:
        msg = (
            f"a TIFF must hold all its blocks, got {present} of at least {expected} bytes in {dataset.name}; "
            "it is truncated: copy or download it again"
        )
        raise ProductError(msg)


def _check_last_block(dataset: Any) -> None:
    # Only a local archive: elsewhere a look at the last block may cost more than the answer is worth.
    if local_file(dataset.name) is None:
        return
    corner = Window(dataset.width - 1, dataset.height - 1, 1, 1)
    try:
        dataset.read(window=corner)
    except RasterioIOError as error:
        raise ProductError(unreadable(dataset.name, error)) from error


def _block_ends(dataset: Any) -> Iterator[int]:
    n_row, n_col = dataset.block_shapes[0]
    across, down = -(-dataset.width // n_col), -(-dataset.height // n_row)
    # Pixel-interleaved bands share their blocks.
    numbers = [1] if dataset.profile.get("interleave") == "pixel" else list(dataset.indexes)
    n_block = across * down * len(numbers)
    # Files grow as they are written: the last block is checked whatever the step.
    for i in range(n_block - 1, -1, -max(1, n_block // _MOST_BLOCKS_CHECKED)):
        number, place = divmod(i, across * down)
        row, col = divmod(place, across)
        offset = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", dm="TIFF", bidx=numbers[number])
        size = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", dm="TIFF", bidx=numbers[number])
        if offset is not None and size is not None:  # None: a sparse block, which takes no room
            yield int(offset) + int(size)


def _describe(dataset: Any) -> RasterInfo:
    flags = dataset.mask_flag_enums[0]
    is_alpha = [colour is ColorInterp.alpha for colour in dataset.colorinterp]
    return RasterInfo(
        path=dataset.name,
        driver=dataset.driver,
        grid=Grid((dataset.height, dataset.width), dataset.transform, _crs_text(dataset.crs)),
        dtype=dataset.dtypes[0],
        nodata=dataset.nodata,
        has_mask=MaskFlags.per_dataset in flags,
        alpha=is_alpha.index(True) + 1 if any(is_alpha) else None,
        rpc=dict(dataset.tags(ns="RPC")),
        descriptions=tuple(text or "" for text in dataset.descriptions),
        colours=tuple(colour.name for colour in dataset.colorinterp),
        scales=tuple(dataset.scales),
        offsets=tuple(dataset.offsets),
        tags=dict(dataset.tags()),
    )


def _crs_text(crs: Any) -> str | None:
    if not crs:
        return None
    code = crs.to_epsg()
    # to_epsg also returns near matches; only an exact one may replace the text.
    return f"EPSG:{code}" if code is not None and rasterio.CRS.from_epsg(code) == crs else str(crs.to_wkt())
