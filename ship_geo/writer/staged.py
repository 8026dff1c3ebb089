"""The uncompressed GeoTIFF that takes the blocks, with its mask beside it, as GDAL wants both for the COG copy.

The convention that could surprise: the mask is a file of its own until the copy, so that it can be dropped when every
pixel turns out valid.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError  # what closing raises on a full disk; rasterio.errors does not offer it
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from ship_geo.raster import Mask, Values, inspect
from ship_geo.writer.cog import TILE
from ship_geo.writer.nodata import mask_bytes
from ship_geo.writer.profile import OutputProfile

_UNKEPT_TAGS = frozenset({"AREA_OR_POINT", "METADATATYPE"})
_RGB = ("red", "green", "blue")
_OLD_COLOURS = frozenset({"undefined", "gray", "grey", "palette", *_RGB, "hue", "saturation", "lightness", "yellow"})
_FIRST_SPECTRAL = (3, 10)  # GDAL that knows nir, coastal, rededge ...
_OPEN_LOCK = threading.Lock()  # the filters of `warnings` belong to the process, not to the thread


class StagedRaster:
    """Blocks on their way to a COG.

    Parameters
    ----------
    folder
        Where the files go.
    profile
        What the output looks like.
    """

    def __init__(self, folder: Path, profile: OutputProfile) -> None:
        self.path = folder / "staged.tif"
        self._mask_path = folder / "staged.tif.msk"
        self._raster: Any = None
        self._mask: Any = None
        try:
            self._open(profile)
        except BaseException:
            self.close_quietly()
            raise

    def write(self, values: Values, window: Window, valid: Mask | None) -> None:
        """Write a block and its mask; None: all pixels are valid."""
        self._raster.write(values, window=window)
        if self._mask is not None:
            self._mask.write(mask_bytes(values, valid), 1, window=window)

    def add_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags to the default domain."""
        self._raster.update_tags(**{key: value for key, value in tags.items() if key not in _UNKEPT_TAGS})

    def close(self, *, is_masked: bool) -> None:
        """Write everything to the disk, and drop the mask unless it is needed.

        Raises
        ------
        RasterioError, CPLE_BaseError, ProductError
            When the files are not whole.
        """
        for dataset in self._datasets:
            dataset.close()
        inspect(str(self.path))
        if self._mask is not None and not is_masked:
            self._mask_path.unlink()

    def close_quietly(self) -> None:
        """Close the files because they are thrown away; on a full disk closing fails once more."""
        for dataset in self._datasets:
            with suppress(RasterioError, CPLE_BaseError, OSError):
                dataset.close()

    @property
    def _datasets(self) -> list[Any]:
        return [dataset for dataset in (self._raster, self._mask) if dataset is not None]

    def _open(self, profile: OutputProfile) -> None:
        base = _creation_options(profile)
        is_rgb = profile.colours[:3] == _RGB
        # Without these GDAL takes the fourth band of bytes for an alpha band.
        colour = {"photometric": "RGB" if is_rgb else "MINISBLACK", "ALPHA": "NO"}
        extra = {"count": profile.n_band, "dtype": profile.dtype, "nodata": profile.nodata}
        self._raster = _create(self.path, **base, **extra, **colour)
        self._describe(profile)
        if profile.nodata is None:
            # GDAL takes a file of this name and tag for the mask; dropped before the copy if all is valid.
            self._mask = _create(self._mask_path, **base, count=1, dtype="uint8")
            self._mask.update_tags(INTERNAL_MASK_FLAGS_1="2")

    def _describe(self, profile: OutputProfile) -> None:
        raster = self._raster
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
        self.add_tags(profile.tags)


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
        "BIGTIFF": "IF_SAFER",
    }


def _create(path: Path, **options: Any) -> Any:
    with _OPEN_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # outputs in sensor geometry are meant to be so
        return rasterio.open(path, "w", **options)


def _colour(name: str) -> ColorInterp:
    version = tuple(int(part) for part in rasterio.__gdal_version__.split(".")[:2])
    is_known = name in ColorInterp.__members__ and (name in _OLD_COLOURS or version >= _FIRST_SPECTRAL)
    return ColorInterp[name] if is_known and name != "alpha" else ColorInterp.undefined
