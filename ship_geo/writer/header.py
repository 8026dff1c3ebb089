"""What makes TIFFs of staged tiles: headers that GDAL writes for empty rasters, with the places of the tiles put in.

So everything that is said of the output is said by GDAL, and the pixels need not pass through it. The convention that
could surprise: headers are written when all blocks are there, again at every try, so that nothing depends on what an
interrupted run said of its output.
"""

from __future__ import annotations

import shutil
import struct
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from ship_geo.errors import ArgumentError
from ship_geo.writer.cog import TILE
from ship_geo.writer.profile import OutputProfile
from ship_geo.writer.tiles import HEADER_ROOM, StagedPixels, TiledFile

_UNKEPT_TAGS = frozenset({"AREA_OR_POINT", "METADATATYPE"})
_RGB = ("red", "green", "blue")
_OLD_COLOURS = frozenset({"undefined", "gray", "grey", "palette", *_RGB, "hue", "saturation", "lightness", "yellow"})
_FIRST_SPECTRAL = (3, 10)  # GDAL that knows nir, coastal, rededge ...
_OPEN_LOCK = threading.Lock()  # the filters of `warnings` belong to the process, not to the thread

_ENTRY = struct.Struct("<HHQ8s")  # tag, type, count and value of a directory of BigTIFF
_LONG8 = 16
_OFFSETS, _SIZES = 324, 325


def write_headers(pixels: StagedPixels, profile: OutputProfile, tags: Mapping[str, str], *, is_masked: bool) -> Path:
    """Make a TIFF of staged pixels, with its mask beside it as GDAL wants it, and return its path.

    Raises
    ------
    ArgumentError
        When more is said of the output than there is room for.
    RasterioError, OSError
        When it cannot be written.
    """
    source = pixels.raster.path
    made = pixels.folder / "header"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    _create_raster(made / source.name, profile, tags)
    _put(made / source.name, pixels.raster)
    for sidecar in made.iterdir():  # what GDAL could not say inside
        sidecar.replace(pixels.folder / sidecar.name)
    pixels.hide_mask()
    if is_masked:
        _create_mask(made / "mask.tif", profile)
        _put(made / "mask.tif", pixels.mask)
        pixels.show_mask()
    made.rmdir()
    return source


def check_header(pixels: StagedPixels, profile: OutputProfile) -> None:
    """Find out before any work whether GDAL can make and describe such an output.

    Raises
    ------
    ArgumentError
        When more is said of the output than there is room for.
    RasterioError, OSError
        When GDAL refuses.
    """
    path = pixels.folder / "header.tif"
    try:
        _create_raster(path, profile, {})
        _header(path, pixels.raster)
    finally:
        for made in pixels.folder.glob("header.tif*"):
            made.unlink()


def _put(path: Path, file: TiledFile) -> None:
    """Write a header to the front of staged tiles, and remove it where it was."""
    content = _header(path, file)
    path.unlink()
    with file.path.open("r+b") as staged:
        staged.write(content)


def _header(path: Path, file: TiledFile) -> bytearray:
    content = bytearray(path.read_bytes())
    _point_at_tiles(content, file)
    if len(content) > file.start:
        msg = f"the tags of the output must fit in {HEADER_ROOM:,} bytes, got {len(content):,}; leave out some"
        raise ArgumentError(msg)
    return content


def _point_at_tiles(content: bytearray, file: TiledFile) -> None:
    """Replace the tables of an empty BigTIFF, which has one directory, by where the tiles are and how long."""
    (directory,) = struct.unpack_from("<Q", content, 8)
    (n_entry,) = struct.unpack_from("<Q", content, directory)
    places = (file.start + np.arange(file.n_tile, dtype="<u8") * np.uint64(file.tile_bytes)).astype("<u8")
    sizes = np.full(file.n_tile, file.tile_bytes, "<u8")
    tables = {_OFFSETS: places.tobytes(), _SIZES: sizes.tobytes()}
    for number in range(n_entry):
        at = directory + 8 + number * _ENTRY.size
        tag = _ENTRY.unpack_from(content, at)[0]
        if tag not in tables:
            continue
        table = tables.pop(tag)
        if file.n_tile > 1:
            content += bytes(-len(content) % 8)
            value = struct.pack("<Q", len(content))
            content += table
        else:
            value = table
        _ENTRY.pack_into(content, at, tag, _LONG8, file.n_tile, value)
    if tables:
        raise RuntimeError(sorted(tables))  # GDAL has always written both


def _create_raster(path: Path, profile: OutputProfile, tags: Mapping[str, str]) -> None:
    is_rgb = profile.colours[:3] == _RGB
    # Without these GDAL takes the fourth band of bytes for an alpha band.
    colour = {"photometric": "RGB" if is_rgb else "MINISBLACK", "ALPHA": "NO"}
    extra = {"count": profile.n_band, "dtype": profile.dtype, "nodata": profile.nodata}
    with _create(path, **_creation_options(profile), **extra, **colour) as raster:
        _describe(raster, profile, tags)


def _create_mask(path: Path, profile: OutputProfile) -> None:
    with _create(path, **_creation_options(profile), count=1, dtype="uint8") as mask:
        mask.update_tags(INTERNAL_MASK_FLAGS_1="2")  # GDAL takes a file of the right name and this tag for the mask


def _describe(raster: Any, profile: OutputProfile, tags: Mapping[str, str]) -> None:
    for number, text in enumerate(profile.descriptions, start=1):
        raster.set_band_description(number, text)
        if known := profile.band_tags(number - 1):
            raster.update_tags(number, ns="IMAGERY", **known)
    if profile.colours:
        raster.colorinterp = [_colour(name) for name in profile.colours]
    if set(profile.scales) - {1.0} or set(profile.offsets) - {0.0}:
        raster.scales = profile.scales or (1.0,) * profile.n_band
        raster.offsets = profile.offsets or (0.0,) * profile.n_band
    if profile.rpc is not None:
        raster.update_tags(ns="RPC", **profile.rpc.to_tags())
    said = {**profile.tags, **tags}
    raster.update_tags(**{key: value for key, value in said.items() if key not in _UNKEPT_TAGS})


def _creation_options(profile: OutputProfile) -> dict[str, Any]:
    n_row, n_col = profile.grid.shape
    # In sensor geometry there must be no transform: readers would take it for the truth.
    is_bare = profile.rpc is not None and profile.grid.crs is None
    place = {} if is_bare else {"transform": profile.grid.transform, "crs": profile.grid.crs}
    return {
        "driver": "GTiff",
        "height": n_row,
        "width": n_col,
        **place,
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "interleave": "pixel",
        "BIGTIFF": "YES",
        "SPARSE_OK": "TRUE",
        "ENDIANNESS": "LITTLE",
    }


def _create(path: Path, **options: Any) -> Any:
    with _OPEN_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # outputs in sensor geometry are meant to be so
        return rasterio.open(path, "w", **options)


def _colour(name: str) -> ColorInterp:
    version = tuple(int(part) for part in rasterio.__gdal_version__.split(".")[:2])
    is_known = name in ColorInterp.__members__ and (name in _OLD_COLOURS or version >= _FIRST_SPECTRAL)
    return ColorInterp[name] if is_known and name != "alpha" else ColorInterp.undefined
