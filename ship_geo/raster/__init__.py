"""Raster files as pixels and facts: what a file holds, and reads of any block of it.

For single files, bundles of them on one grid, and mosaics of tiles; nothing here knows what a PAN band is. Two
conventions could surprise. A block may reach over the edge of the raster: there the values are 0 and not valid. And
nothing is resampled, unless a layer says that it is to be warped, which happens block by block as it is read.
"""

from ship_geo.raster.facts import BandRef, Mask, RasterInfo, Tile, Values
from ship_geo.raster.handles import is_remote, local_file
from ship_geo.raster.inspection import inspect, inspect_mosaic
from ship_geo.raster.network import public_name
from ship_geo.raster.reader import RasterReader
from ship_geo.raster.values import find_valid, to_dtype
from ship_geo.raster.warp import Warp

__all__ = [
    "BandRef",
    "Mask",
    "RasterInfo",
    "RasterReader",
    "Tile",
    "Values",
    "Warp",
    "find_valid",
    "inspect",
    "inspect_mosaic",
    "is_remote",
    "local_file",
    "public_name",
    "to_dtype",
]
