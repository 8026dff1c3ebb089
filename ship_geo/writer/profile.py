"""What the output looks like: grid, data type, bands and everything that is said of them.

Plain values; nothing is opened. The convention that could surprise: a band whose role is known gets the colour
interpretation of that role even if the inputs had none, and no band is ever an alpha band.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from ship_geo.errors import ArgumentError
from ship_geo.grids import Grid
from ship_geo.writer.nodata import choose_nodata

if TYPE_CHECKING:
    from ship_geo.rpc import Rpc
    from ship_geo.scene import Scene
    from ship_geo.sensors import Wavelength

Compression = Literal["deflate", "zstd"]

_COMPRESSIONS = ("deflate", "zstd")
_COLOURS = {
    "red": "red",
    "green": "green",
    "blue": "blue",
    "nir": "nir",
    "nir2": "nir",
    "coastal": "coastal",
    "rededge": "rededge",
    "rededge2": "rededge",
    "swir1": "swir",
    "swir2": "swir",
}


@dataclass(frozen=True)
class OutputProfile:
    """What the output looks like.

    Attributes
    ----------
    grid
        Shape, transform and CRS.
    dtype
        NumPy name of the data type.
    descriptions
        One per band, in order; their number is the number of bands.
    nodata
        Value of invalid pixels; None: an internal mask marks them, if there are any.
    colours
        GDAL colour interpretation per band, in lower case; none given: undefined.
    scales, offsets
        How values become physical, per band; none given: 1 and 0.
    tags
        Metadata for the default domain.
    wavelengths
        Lower and upper limit per band, nm; None where they are not known. Centre and width go to the band's IMAGERY
        domain in um, where GDAL 3.10 looks for them.
    rpc
        Camera model in pixels of the output. Without a CRS the output is in sensor geometry and has no transform.
    compress
        ``"deflate"``, which every reader knows, or ``"zstd"``, which is faster and a little smaller. Of GeoTIFFs only.
    roles
        Names of the bands as coordinates; none given: their numbers.

    Raises
    ------
    ArgumentError
        When the compression is another.
    """

    grid: Grid
    dtype: str
    descriptions: tuple[str, ...]
    nodata: float | None = None
    colours: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    wavelengths: tuple[Wavelength | None, ...] = ()
    rpc: Rpc | None = None
    compress: Compression = "deflate"
    roles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.compress not in _COMPRESSIONS:
            msg = f"the compression must be one of {', '.join(_COMPRESSIONS)}, got {self.compress!r}; choose one"
            raise ArgumentError(msg)

    @property
    def n_band(self) -> int:
        """Number of bands."""
        return len(self.descriptions)

    @property
    def n_byte(self) -> int:
        """Uncompressed size, bytes."""
        n_row, n_col = self.grid.shape
        return n_row * n_col * self.n_band * np.dtype(self.dtype).itemsize

    @property
    def n_staged(self) -> int:
        """Room needed beside the target, bytes, not counting the COG: how far that compresses nobody knows."""
        n_row, n_col = self.grid.shape
        return self.n_byte + (n_row * n_col if self.nodata is None else 0)  # the mask has one byte a pixel

    @classmethod
    def from_scene(cls, scene: Scene, tags: Mapping[str, str] | None = None) -> OutputProfile:
        """Return the profile of a sharpened scene: the grid of PAN, everything else as MS has it.

        Parameters
        ----------
        scene
            The scene.
        tags
            Provenance to add to the tags of the scene.
        """
        bands = scene.sensor.bands
        colours = scene.ms.colours or ("undefined",) * scene.ms.n_band
        return cls(
            grid=scene.pair.output,
            dtype=scene.ms.dtype,
            descriptions=tuple(text or role for text, role in zip(scene.ms.descriptions, scene.ms.roles, strict=True)),
            nodata=choose_nodata(scene),
            colours=tuple(_colour_of(role, colour) for role, colour in zip(scene.ms.roles, colours, strict=True)),
            scales=scene.ms.scales,
            offsets=scene.ms.offsets,
            tags={**scene.tags, **(tags or {})},
            wavelengths=tuple(band.wavelength for band in bands),
            rpc=scene.output_rpc,
            roles=scene.ms.roles,
        )

    def band_tags(self, place: int) -> dict[str, str]:
        """Return the tags for the IMAGERY domain of the band at a position from 0."""
        limits = self.wavelengths[place] if self.wavelengths else None
        if limits is None:
            return {}
        centre, width = (limits[0] + limits[1]) / 2000, (limits[1] - limits[0]) / 1000
        return {"CENTRAL_WAVELENGTH_UM": f"{centre:.6g}", "FWHM_UM": f"{width:.6g}"}


def _colour_of(role: str, colour: str) -> str:
    known = _COLOURS.get(role)
    return known if known is not None else "undefined" if colour in ("alpha", *_COLOURS.values()) else colour
