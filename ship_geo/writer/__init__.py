"""Writing the result: blocks in any order become one cloud-optimised GeoTIFF, whole or not at all.

Blocks go uncompressed to a hidden folder beside the target; `finish` makes the COG of them, overviews included, and
renames that over the target; of a Zarr store each block is a shard, and the store is renamed when it is whole.
Whatever fails on the way, an existing target stays. `Staging` keeps what is finished for the next run, and lets workers
write themselves; `GeoTiffWriter` takes any blocks and keeps nothing. The scene is never held in memory. Three
conventions could surprise. A scene with a nodata value keeps it, and a valid value that equals it is moved by the least
step, and counted. A scene without one gets a mask, and that only if some pixel is invalid. And provenance goes to the
default tag domain: GDAL drops others, or writes them to files beside the output.
"""

from __future__ import annotations

from ship_geo.writer.assembly import CACHE_BYTES, WriteRecord
from ship_geo.writer.checks import Format, check_names, check_output, format_of
from ship_geo.writer.chunks import PIXELS
from ship_geo.writer.cog import COG_THREADS, TILE
from ship_geo.writer.folder import check_free, describe, discard
from ship_geo.writer.geotiff import GeoTiffWriter
from ship_geo.writer.nodata import apply_nodata, choose_nodata
from ship_geo.writer.profile import OutputProfile
from ship_geo.writer.sink import BlockSink
from ship_geo.writer.staging import Staging
from ship_geo.writer.texts import as_plain, write_json

__all__ = [
    "CACHE_BYTES",
    "COG_THREADS",
    "PIXELS",
    "TILE",
    "BlockSink",
    "Format",
    "GeoTiffWriter",
    "OutputProfile",
    "Staging",
    "WriteRecord",
    "apply_nodata",
    "as_plain",
    "check_free",
    "check_names",
    "check_output",
    "choose_nodata",
    "describe",
    "discard",
    "format_of",
    "write_json",
]
