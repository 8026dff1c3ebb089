"""What a reader of one delivery family gives: where the pixels of a pair lie, and what the metadata say of them.

Plain values, no open file. A family is a module with two functions, `match` (names only, cheap) and `open` (metadata
and headers of the images); see `Family`. Not a place for judging whether two grids fit: that is `ship_geo.scene`.
The convention that could surprise: what the metadata do not tell is None, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ship_geo.raster import Tile

if TYPE_CHECKING:
    from ship_geo.calibration import Calibration
    from ship_geo.products.tree import Tree
    from ship_geo.rpc import Rpc
    from ship_geo.sensors import Sensor


__all__ = ["Acquisition", "Candidate", "Family", "LayerFiles", "OpenOptions", "Product", "Tile"]


@dataclass(frozen=True)
class LayerFiles:
    """Where the pixels of PAN or MS lie.

    Attributes
    ----------
    paths
        As GDAL opens them: one raster with all bands, or several in band order. Of a mosaic: the one index file (TIL,
        DIM), which gives the layer its name and is not opened as a raster.
    tiles
        Files of the mosaic; empty where `paths` are rasters.
    shape
        Rows and columns of the mosaic; None where `paths` are rasters.
    bands
        Numbers, from 1, of the bands to take of every file; None: all.
    roles
        Role of each band in the order of the files, as the metadata say; None where they do not.
    nodata
        Value that the product's rules call invalid where the files carry no tag; None without such a rule.
    rpc
        Model that came with the images; None without one.
    time
        Acquisition of this layer, ISO 8601 UTC.
    """

    paths: tuple[str, ...]
    tiles: tuple[Tile, ...] = ()
    shape: tuple[int, int] | None = None
    bands: tuple[int, ...] | None = None
    roles: tuple[str, ...] | None = None
    nodata: float | None = None
    rpc: Rpc | None = None
    time: str | None = None


@dataclass(frozen=True)
class Acquisition:
    """What the metadata say of the moment a scene was taken; None where they are silent.

    Attributes
    ----------
    platform
        Satellite as the vendor writes it, for instance ``"WV02"``.
    product_id, level
        Name of the product and its processing level, as the vendor writes them.
    time
        Of MS, ISO 8601; with a Z where it is known to be UTC.
    cloud
        Fraction of the scene, 0 to 1.
    sun_azimuth, sun_elevation, view_azimuth, off_nadir
        Degrees, at the middle of the scene.
    bits
        Bits that pixel values of this product use.
    """

    platform: str | None = None
    product_id: str | None = None
    level: str | None = None
    time: str | None = None
    cloud: float | None = None
    sun_azimuth: float | None = None
    sun_elevation: float | None = None
    view_azimuth: float | None = None
    off_nadir: float | None = None
    bits: int | None = None


@dataclass(frozen=True)
class Product:
    """One PAN / MS pair of a delivery.

    Attributes
    ----------
    name
        Short name of the scene.
    family
        Name of the reader.
    ms, pan
        The layers.
    sensor
        Row of the sensor table; None where the platform is not known.
    acquisition
        When and how it was taken.
    calibration
        DN to physical values, one entry for each MS band; None where there are no coefficients.
    uncalibrated
        Why there is no calibration, as a sentence; empty where there is one.
    pan_band
        Number of the PAN band, from 1, where one file holds PAN and MS.
    notes
        What was found, decided or ignored.
    warnings
        What is odd, each a plain sentence.
    """

    name: str
    family: str
    ms: LayerFiles
    pan: LayerFiles
    sensor: Sensor | None = None
    acquisition: Acquisition = field(default_factory=Acquisition)
    calibration: Calibration | None = None
    uncalibrated: str = ""
    pan_band: int | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A product that names tell of, not opened yet.

    Attributes
    ----------
    name
        Identifies it to people, who choose by it: the product id.
    family
        Name of the reader.
    members
        Names of its files in the tree; each of them may be passed as the source.
    problem
        Why it cannot be opened (a partner is missing), as a whole error message; empty where nothing speaks against it.
    plan
        What `open` of the family needs.
    """

    name: str
    family: str
    members: tuple[str, ...]
    problem: str = ""
    plan: Any = None


class Family(Protocol):
    """A module that reads one delivery family."""

    NAME: str

    def match(self, tree: Tree) -> tuple[Candidate, ...]:
        """Find the products of a tree by names (and the smallest look into metadata where names do not suffice)."""

    def open(self, tree: Tree, candidate: Candidate, options: OpenOptions) -> Product:
        """Read the metadata of a product.

        Raises
        ------
        ProductError
            When a file is missing, damaged or contradicts another in a way that cannot be mended.
        """

    def root_of(self, name: str, parents: tuple[str, ...]) -> int | None:
        """Say how many folders above a file its delivery begins: 1 is its own folder; None: not of this family.

        Parameters
        ----------
        name
            File name.
        parents
            Names of the folders above it, the nearest first.
        """


@dataclass(frozen=True)
class OpenOptions:
    """What the caller allows.

    Attributes
    ----------
    missing
        ``"raise"``, or ``"mask"``: pixels of missing tiles are invalid.
    """

    missing: str = "raise"
