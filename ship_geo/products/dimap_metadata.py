"""What the XML files of a DIMAP v2 delivery say: volumes and components, as plain values.

Elements are found by their name wherever they stand, and namespaces are ignored, because layouts differ between
Pleiades, SPOT-6/7 and Pleiades Neo. Nothing here opens an image. The convention that could surprise: bands are listed
in the order of the raster, which is that of BAND_INDEX and not always that of the radiometric list.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ship_geo.products.dimap_xml import attribute, every, href_of, local_name, number_of, size_of, text_of, whole_pair
from ship_geo.products.texts import parse_xml

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from ship_geo.products.tree import Tree

_TILE_PART = re.compile(r"_R\d+C\d+(?=\.[^.]*$)", re.IGNORECASE)
_NEO_PARTS = {"RGB": ("R", "G", "B"), "NED": ("NIR", "RE", "DB")}
_PLAIN_RADIOMETRY = frozenset({"", "BASIC", "RAW"})
_EIGHT_BITS = 8
_DEFAULT_BITS = 12


@dataclass(frozen=True)
class DataFile:
    """One image file: its name as written, and its place in the table of tiles, counted from 1."""

    href: str
    row: int
    col: int


@dataclass(frozen=True)
class BandGroup:
    """The tiles that hold the same bands.

    Attributes
    ----------
    files
        One or more tiles.
    bands
        BAND_ID in the order of the raster; empty where not known.
    """

    files: tuple[DataFile, ...]
    bands: tuple[str, ...]


@dataclass(frozen=True)
class Component:
    """What a ``DIM_*.XML`` says; None where it is silent.

    Attributes
    ----------
    name
        Name of the file in the delivery.
    kind
        ``"pan"``, ``"ms"``, ``"sharpened"``, or the unknown word itself.
    dataset, level, mission, radiometry
        DATASET_NAME, PROCESSING_LEVEL, MISSION with MISSION_INDEX, RADIOMETRIC_PROCESSING.
    time
        ISO 8601, UTC.
    groups
        Images.
    is_order_listed
        Whether the order of bands comes from BAND_INDEX (or there is one band).
    display
        BAND_ID shown as red, green and blue.
    shape, tile_shape, overlap
        Rows and columns of the raster, of a tile, and of the overlap of tiles.
    nodata, saturated
        Special values.
    corner
        ULXMAP, ULYMAP.
    radiance, irradiance
        (GAIN, BIAS) and VALUE by BAND_ID.
    cloud
        Fraction.
    angles
        Sun azimuth and elevation, view azimuth and off-nadir angle at the centre; degrees.
    bits
        Bits that pixel values use.
    """

    name: str
    kind: str
    dataset: str
    level: str
    mission: str
    radiometry: str
    time: str | None
    groups: tuple[BandGroup, ...]
    is_order_listed: bool
    display: tuple[str, ...]
    shape: tuple[int, int] | None
    tile_shape: tuple[int, int] | None
    overlap: tuple[int, int]
    nodata: float | None
    saturated: float | None
    corner: tuple[float, float] | None
    radiance: dict[str, tuple[float, float]]
    irradiance: dict[str, float]
    cloud: float | None
    angles: tuple[float | None, float | None, float | None, float | None]
    bits: int | None

    @property
    def bands(self) -> tuple[str, ...]:
        """BAND_ID of all groups, in order."""
        return tuple(band for group in self.groups for band in group.bands)

    @property
    def is_plain(self) -> bool:
        """Whether values are counts of the instrument, not stretched or turned into something else."""
        return self.radiometry in _PLAIN_RADIOMETRY


def component_hrefs(tree: Tree, volume: str) -> tuple[str, ...]:
    """Return the names of ``DIM_*.XML`` that a volume lists, as written.

    Raises
    ------
    ProductError
        When the file cannot be read as XML.
    """
    root = parse_xml(tree.read(volume), source=volume)
    hrefs = (href_of(element) for element in every(root, "COMPONENT_PATH"))
    return tuple(href for href in hrefs if posixpath.basename(href.replace("\\", "/")).upper().startswith("DIM_"))


def read_component(tree: Tree, name: str) -> Component | None:
    """Read a ``DIM_*.XML``; None when it is XML of another kind.

    Raises
    ------
    ProductError
        When the file cannot be read as XML.
    """
    root = parse_xml(tree.read(name), source=name)
    if not local_name(root).endswith("DIMAP_DOCUMENT"):
        return None
    groups, is_listed = _groups(root)
    radiometry = text_of(root, "RADIOMETRIC_PROCESSING").upper()
    return Component(
        name=name,
        kind=_kind(root, name),
        dataset=text_of(root, "DATASET_NAME") or posixpath.basename(name).rsplit(".", 1)[0],
        level=text_of(root, "PROCESSING_LEVEL").upper(),
        mission=" ".join(filter(None, (text_of(root, "MISSION"), text_of(root, "MISSION_INDEX")))),
        radiometry=radiometry,
        time=_time(root),
        groups=groups,
        is_order_listed=is_listed,
        display=tuple(filter(None, (text_of(root, f"{colour}_CHANNEL") for colour in ("RED", "GREEN", "BLUE")))),
        shape=whole_pair(text_of(root, "NROWS"), text_of(root, "NCOLS")),
        tile_shape=size_of(root, "NTILES_SIZE"),
        overlap=_overlap(root),
        nodata=_special(root, "NODATA"),
        saturated=_special(root, "SATURATED"),
        corner=_corner(root),
        radiance=_radiance(root),
        irradiance=_irradiance(root),
        cloud=_fraction(number_of(text_of(root, "CLOUD_COVERAGE"))),
        angles=_angles(root),
        bits=_bits(root, is_plain=radiometry in _PLAIN_RADIOMETRY),
    )


def _groups(root: Element) -> tuple[tuple[BandGroup, ...], bool]:
    """Images by the bands they hold, and whether the order of bands is stated by BAND_INDEX."""
    found: dict[tuple[int, str], list[DataFile]] = {}
    listed: dict[int, tuple[str, ...]] = {}
    for number, part in enumerate(every(root, "DATA_FILES")):
        listed[number] = _indexed_bands(part)
        for element in every(part, "DATA_FILE"):
            href = next((href_of(path) for path in every(element, "DATA_FILE_PATH")), "")
            places = whole_pair(attribute(element, "tile_R"), attribute(element, "tile_C")) or (1, 1)
            if href:
                found.setdefault((number, _TILE_PART.sub("", href).upper()), []).append(DataFile(href, *places))
    whole = _indexed_bands(root) if len(found) == 1 else ()
    radiometric = tuple(dict.fromkeys(text_of(band, "BAND_ID") for band in every(root, "BAND_RADIANCE")))
    groups, is_listed = [], True
    for (number, stem), files in found.items():
        bands = listed[number] or whole
        if not bands:
            is_listed = False
            bands = radiometric if len(found) == 1 else _bands_of_part(stem)
        groups.append(BandGroup(tuple(files), bands))
    is_alone = sum(len(group.bands) for group in groups) == 1
    return tuple(groups), is_listed or is_alone


def _indexed_bands(element: Element) -> tuple[str, ...]:
    """BAND_ID of a list of raster bands, sorted by BAND_INDEX; empty where the indices are not 1, 2, 3 ..."""
    items = [
        (number_of(text_of(item, "BAND_INDEX")), text_of(item, "BAND_ID")) for item in every(element, "RASTER_INDEX")
    ]
    places = sorted((place, band) for place, band in items if place is not None)
    if len(places) != len(items) or [place for place, _ in places] != list(range(1, len(places) + 1)):
        return ()
    return tuple(band for _, band in places)


def _bands_of_part(stem: str) -> tuple[str, ...]:
    words = re.split(r"[_\-.]", stem)
    return next((bands for word, bands in _NEO_PARTS.items() if word in words), ())


def _kind(root: Element, name: str) -> str:
    word = text_of(root, "SPECTRAL_PROCESSING").upper()
    if not word:
        match = re.search(r"_(PMS|PAN|P|MS)(?=[_\-.])", posixpath.basename(name), re.IGNORECASE)
        word = match.group(1).upper() if match else ""
    if word.startswith("PMS"):
        return "sharpened"
    if word in {"P", "PAN"}:
        return "pan"
    return "ms" if word.startswith(("MS", "XS")) else word or "unknown"


def _time(root: Element) -> str | None:
    """Moment of the strip; the date alone where the clock makes no sense, None where the date makes none."""
    date, clock = text_of(root, "IMAGING_DATE"), text_of(root, "IMAGING_TIME").rstrip("Z")
    for text in (f"{date}T{clock}", date):
        try:
            datetime.fromisoformat(text)
        except ValueError:
            continue
        return text if text == date else f"{text}Z"
    return None


def _special(root: Element, word: str) -> float | None:
    """Special value of one name; None where there is none, or parts of the product disagree."""
    items = [item for item in every(root, "SPECIAL_VALUE") if text_of(item, "SPECIAL_VALUE_TEXT").upper() == word]
    values = {number_of(text_of(item, "SPECIAL_VALUE_COUNT") or text_of(item, "SPECIAL_VALUE_INDEX")) for item in items}
    return values.pop() if len(values) == 1 else None


def _corner(root: Element) -> tuple[float, float] | None:
    x, y = number_of(text_of(root, "ULXMAP")), number_of(text_of(root, "ULYMAP"))
    return None if x is None or y is None else (x, y)


def _overlap(root: Element) -> tuple[int, int]:
    by_text = whole_pair(text_of(root, "OVERLAP_ROW"), text_of(root, "OVERLAP_COL"))
    return by_text or size_of(root, "NTILES_OVERLAP") or (0, 0)


def _radiance(root: Element) -> dict[str, tuple[float, float]]:
    items = (
        (text_of(band, "BAND_ID"), text_of(band, "GAIN"), text_of(band, "BIAS"))
        for band in every(root, "BAND_RADIANCE")
    )
    pairs = ((band, number_of(gain), number_of(bias)) for band, gain, bias in items)
    return {band: (gain, bias) for band, gain, bias in pairs if gain is not None and bias is not None}


def _irradiance(root: Element) -> dict[str, float]:
    bands = every(root, "BAND_SOLAR_IRRADIANCE")
    items = ((text_of(band, "BAND_ID"), number_of(text_of(band, "VALUE"))) for band in bands)
    return {band: value for band, value in items if value is not None}


def _angles(root: Element) -> tuple[float | None, float | None, float | None, float | None]:
    """Angles at the centre, else at the first place that is given; the incidence where no viewing angle is."""
    places = list(every(root, "LOCATED_GEOMETRIC_VALUES"))
    centres = [place for place in places if text_of(place, "LOCATION_TYPE").upper() == "CENTER"]
    if not places:
        return None, None, None, None
    place = (centres or places)[0]
    tags = ("SUN_AZIMUTH", "SUN_ELEVATION", "AZIMUTH_ANGLE", "VIEWING_ANGLE")
    azimuth, elevation, view, nadir = (number_of(text_of(place, tag)) for tag in tags)
    return azimuth, elevation, view, nadir if nadir is not None else number_of(text_of(place, "INCIDENCE_ANGLE"))


def _bits(root: Element, *, is_plain: bool) -> int | None:
    if number_of(text_of(root, "NBITS")) == _EIGHT_BITS:
        return _EIGHT_BITS
    stated = number_of(text_of(root, "PRODUCT_RANGE")) or number_of(text_of(root, "ACQUISITION_RANGE"))
    if is_plain and stated is not None and stated in range(_EIGHT_BITS, 17):
        return int(stated)
    return _DEFAULT_BITS if is_plain else None


def _fraction(percent: float | None) -> float | None:
    return percent / 100 if percent is not None and 0 <= percent <= 100 else None  # noqa: PLR2004
