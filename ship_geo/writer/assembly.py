"""From staged pixels to the finished file at the target, overviews and all.

Shared by writers that keep what they have and writers that do not. The convention that could surprise: staged pixels
stay as they are until the target has its name, so that everything here can be done again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import rasterio

from ship_geo._typing import Box
from ship_geo.errors import OutputError
from ship_geo.raster import inspect
from ship_geo.writer.checks import Format
from ship_geo.writer.chunks import ZarrPixels
from ship_geo.writer.cog import copy_to_cog, move, remove_sidecars
from ship_geo.writer.header import check_header, write_headers
from ship_geo.writer.profile import OutputProfile
from ship_geo.writer.store import publish_store
from ship_geo.writer.tiles import StagedPixels

CACHE_BYTES = 64 * 2**20
"""GDAL's block cache while the COG is made."""


@dataclass(frozen=True)
class WriteRecord:
    """What was written.

    Attributes
    ----------
    path
        The output.
    n_byte
        Its size.
    n_invalid
        Pixels that were passed as invalid.
    n_moved
        Valid values that equalled nodata and were moved by the least step.
    nodata
        Nodata value of the output; None without one.
    """

    path: Path
    n_byte: int
    n_invalid: int
    n_moved: int
    nodata: float | None


def staged_pixels(folder: Path, profile: OutputProfile) -> StagedPixels:
    """Return where the pixels of an output are staged in a folder."""
    return StagedPixels(folder, profile.grid.shape, profile.n_band, profile.dtype, profile.nodata is None)


def lay_out(folder: Path, profile: OutputProfile, to: Format, blocks: Sequence[Box]) -> StagedPixels | ZarrPixels:
    """Return where the pixels of an output are made in a folder.

    Raises
    ------
    ArgumentError
        When a Zarr store cannot be made, or not of these blocks.
    """
    if to == "zarr":
        return ZarrPixels.of(folder, profile, blocks)
    return staged_pixels(folder, profile)


def prepare(pixels: StagedPixels | ZarrPixels, profile: OutputProfile) -> None:
    """Make what blocks are written into, and find out before any work whether the output can be described."""
    if isinstance(pixels, StagedPixels):
        check_header(pixels, profile)
    pixels.allocate()


def publish(
    pixels: StagedPixels | ZarrPixels,
    profile: OutputProfile,
    tags: Mapping[str, str],
    target: Path,
    *,
    overwrite: bool,
    is_masked: bool,
) -> int:
    """Make the output of its pixels, give it its name, and return its size.

    Raises
    ------
    OutputError
        When another file has taken the name meanwhile and must not be replaced, or the COG is not whole.
    """
    if isinstance(pixels, ZarrPixels):
        return publish_store(
            pixels, profile, tags, target, overwrite=overwrite, is_masked=is_masked and pixels.has_mask
        )
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        staged = write_headers(pixels, profile, tags, is_masked=is_masked and pixels.has_mask)
        inspect(str(staged))
        made = pixels.folder / "cog.tif"
        made.unlink(missing_ok=True)
        copy_to_cog(staged, made, profile.compress)
        # A full disk may show only when buffers are flushed, and GDAL merely logs that.
        info = inspect(str(made))
    if info.grid.shape != profile.grid.shape or info.n_band != profile.n_band:
        msg = f"the output must be complete, got {info.n_band} bands of {info.grid.shape}; write it again"
        raise OutputError(msg)
    had_target = target.exists()
    move(made, target, overwrite=overwrite)
    if had_target:
        remove_sidecars(target)
    return target.stat().st_size
