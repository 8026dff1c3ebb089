"""Tiles as one raster: a VRT in memory, so that GDAL does the reading and nothing is written to a disk.

Whether the tiles fit each other is for `inspect_mosaic` to say. Where a tile is missing the mosaic holds 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from rasterio.dtypes import dtype_rev, typename_fwd

from ship_geo.raster.facts import Tile
from ship_geo.raster.handles import local_file, open_raster, open_text


def open_mosaic(tiles: Sequence[Tile], shape: tuple[int, int]) -> Any:
    """Open tiles as one raster of at least `shape`.

    Raises
    ------
    ProductError
        When the first tile is missing or no raster.
    RasterioIOError
        When GDAL cannot open it.
    """
    with open_raster(tiles[0].path) as first:
        text = mosaic_text(tiles, shape, first.count, first.dtypes[0], first.nodata)
    return open_text(text, tiles[0].path)


def mosaic_text(
    tiles: Sequence[Tile], shape: tuple[int, int], n_band: int, dtype: str, nodata: float | None = None
) -> str:
    """Return the VRT of a mosaic, in pixel coordinates.

    Parameters
    ----------
    tiles
        Where they lie.
    shape
        Rows and columns of the mosaic; more where a tile reaches farther.
    n_band, dtype, nodata
        Of every tile; `dtype` is the NumPy name.
    """
    n_row, n_col = (max(ends) for ends in zip(shape, *map(_end, tiles), strict=True))
    root = Element("VRTDataset", rasterXSize=str(n_col), rasterYSize=str(n_row))
    for number in range(1, n_band + 1):
        band = SubElement(root, "VRTRasterBand", dataType=typename_fwd[dtype_rev[dtype]], band=str(number))
        if nodata is not None:
            SubElement(band, "NoDataValue").text = repr(nodata)
        for tile in tiles:
            _add_source(band, tile, number)
    return tostring(root, encoding="unicode")


def _end(tile: Tile) -> tuple[int, int]:
    return tile.row + tile.shape[0], tile.col + tile.shape[1]


def add_version(source: Element, path: str) -> None:
    """Tell a file of a VRT from another one that had its name: GDAL keeps closed files open by name and options."""
    options = SubElement(source, "OpenOptions")
    SubElement(options, "OOI", key="@VERSION").text = _version(path)


def _version(path: str) -> str:
    file = local_file(path)
    if file is None or not file.exists():
        return ""
    facts = file.stat()
    return f"{facts.st_ino}-{facts.st_size}-{facts.st_mtime_ns}"


def _add_source(band: Element, tile: Tile, number: int) -> None:
    source = SubElement(band, "SimpleSource")
    # Not shared: handles of several threads must not meet in one file.
    SubElement(source, "SourceFilename", relativeToVRT="0", shared="0").text = tile.path
    add_version(source, tile.path)
    SubElement(source, "SourceBand").text = str(number)
    for name, row, col in (("SrcRect", 0, 0), ("DstRect", tile.row, tile.col)):
        n_row, n_col = map(str, tile.shape)
        SubElement(source, name, xOff=str(col), yOff=str(row), xSize=n_col, ySize=n_row)
