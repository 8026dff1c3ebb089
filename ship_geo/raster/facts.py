"""What a raster file says about itself, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine

from ship_geo.grids import Grid

Values = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class BandRef:
    """One band of one file.

    Parameters
    ----------
    path
        Local path, ``/vsi...`` path or URL.
    band
        Number of the band, counted from 1.

    """

    path: str
    band: int


@dataclass(frozen=True)
class Tile:
    """One file of a mosaic.

    Attributes
    ----------
    path
        Where GDAL opens it.
    row, col
        Its upper-left pixel on the mosaic.
    shape
        Rows and columns that the index of the mosaic states for it.
    """

    path: str
    row: int
    col: int
    shape: tuple[int, int]


@dataclass(frozen=True)
class RasterInfo:
    """What a raster file says about itself, without a look at its pixels.

    Parameters
    ----------
    path, driver
        Where it is, and the GDAL driver that reads it.
    grid
        Shape, transform and CRS. Without georeference the transform is the identity.
    dtype
        NumPy name of the data type of all bands.
    nodata
        Tagged nodata value; None without one.
    has_mask
        Whether a mask or an alpha band says which pixels are valid.
    alpha
        Number of the band that the file calls alpha, from 1; None without one.
    rpc
        Rational polynomial coefficients that come with the file, by the names of GDAL's RPC domain; empty without any.
    descriptions, colours
        Per band: its description ("" without one) and its GDAL colour interpretation in lower case.
    scales, offsets
        Per band: how values become physical, as tagged.
    tags
        Metadata of the default domain.
    tiles
        Files of a mosaic; empty for a single file.

    """

    path: str
    driver: str
    grid: Grid
    dtype: str
    nodata: float | None
    has_mask: bool
    alpha: int | None
    rpc: dict[str, str]
    descriptions: tuple[str, ...]
    colours: tuple[str, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    tags: dict[str, str]
    tiles: tuple[Tile, ...] = ()

    @property
    def n_band(self) -> int:
        """Number of bands, an alpha band included."""
        return len(self.descriptions)

    @property
    def is_georeferenced(self) -> bool:
        """Whether the file says where its pixels lie on a map (a transform that is not the identity)."""
        return self.grid.transform != Affine.identity()
