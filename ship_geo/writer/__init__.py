"""Writing the result: blocks in any order become one cloud-optimised GeoTIFF, whole or not at all.

Blocks go to an uncompressed tiled GeoTIFF in a hidden folder beside the target; `GeoTiffWriter.finish` makes the COG of
it, overviews included, and renames that over the target. Whatever fails on the way, the hidden folder goes and an
existing target stays. The scene is never held: memory is GDAL's block cache. Three conventions could surprise. A scene
with a nodata value keeps it, and a valid value that equals it is moved by the least step, and counted. A scene without
one gets an internal mask, and that only if some pixel is invalid. And provenance goes to the default tag domain: GDAL
drops others, or writes them to files beside the output.
"""

from __future__ import annotations

from ship_geo.writer.checks import check_output
from ship_geo.writer.cog import COG_THREADS, TILE
from ship_geo.writer.geotiff import CACHE_BYTES, GeoTiffWriter, WriteRecord
from ship_geo.writer.nodata import apply_nodata, choose_nodata
from ship_geo.writer.profile import OutputProfile

__all__ = [
    "CACHE_BYTES",
    "COG_THREADS",
    "TILE",
    "GeoTiffWriter",
    "OutputProfile",
    "WriteRecord",
    "apply_nodata",
    "check_output",
    "choose_nodata",
]
