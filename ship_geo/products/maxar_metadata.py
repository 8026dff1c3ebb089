"""Metadata of one DigitalGlobe image product: IMD, or its XML twin where the IMD is missing or empty, with TIL and RPB.

Says what the files say, in the words of this package; judging PAN against MS is for `ship_geo.products.digitalglobe`.
Conventions that could surprise: -999 means "not assessed" and becomes None, and `cloud` is a fraction, not percent.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ship_geo.errors import ProductError
from ship_geo.products.texts import decode, isd_to_groups, parse_pvl, parse_xml

if TYPE_CHECKING:
    from ship_geo.products.maxar_names import Half
    from ship_geo.products.texts import Group
    from ship_geo.products.tree import Tree

ROLES = {
    "p": "pan",
    "c": "coastal",
    "b": "blue",
    "g": "green",
    "y": "yellow",
    "r": "red",
    "re": "rededge",
    "re1": "rededge",
    "re2": "rededge2",
    "n": "nir",
    "n1": "nir",
    "n2": "nir2",
}
"""Codes of the groups ``BAND_x`` in lower case."""

_NOT_ASSESSED = -999.0
_LEVEL = re.compile(r"(?:LV)?(1B|2A|3[A-Z])", re.IGNORECASE)
_BITS_OF_A_BYTE = 8
_BITS_OF_THE_SENSORS = 11


@dataclass(frozen=True)
class Section:
    """A parsed part of the metadata, and the file it was read from."""

    group: Group
    name: str


@dataclass(frozen=True)
class Metadata:
    """What IMD, TIL and RPB of one image product say.

    Attributes
    ----------
    imd
        The table of the IMD.
    til, rpb
        The same for the index of the tiles and the RPC; None without one.
    notes
        Which file stood in for which.
    """

    imd: Section
    til: Section | None = None
    rpb: Section | None = None
    notes: tuple[str, ...] = ()

    def text(self, key: str) -> str | None:
        """Return a value of the product or of its first image as text; None where it is missing or empty."""
        return _text(self.imd.group, key) or _text(self._image, key)

    def number(self, key: str) -> float | None:
        """Return a value of the product, its first image or its map as a number; None where it is missing or -999."""
        tables = (self.imd.group, self._image, _table(self.imd.group, "map_projected_product"))
        return next((value for table in tables if (value := number_in(table, key)) is not None), None)

    @property
    def n_image(self) -> int:
        """Number of strips."""
        return sum(key.startswith("image_") and isinstance(value, dict) for key, value in self.imd.group.items())

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of the bands in file order, lower case."""
        groups = self.imd.group.items()
        return tuple(
            key[len("band_") :] for key, value in groups if key.startswith("band_") and isinstance(value, dict)
        )

    def band_numbers(self, key: str) -> tuple[float | None, ...]:
        """Return a value of each band, in file order."""
        return tuple(number_in(_table(self.imd.group, f"band_{code}"), key) for code in self.codes)

    @property
    def level(self) -> str | None:
        """Processing level, for instance ``"2A"``."""
        match = _LEVEL.fullmatch(self.text("productlevel") or "")
        return match.group(1).upper() if match else None

    @property
    def time(self) -> datetime | None:
        """Acquisition of the first line, UTC."""
        for key in ("firstlinetime", "earliestacqtime"):
            text = self.text(key) or _text(_table(self.imd.group, "map_projected_product"), key)
            try:
                time = datetime.fromisoformat(text or "")
            except ValueError:
                continue
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
        return None

    @property
    def is_stretched(self) -> bool:
        """Whether values were changed after calibration."""
        return (self.text("radiometricenhancement") or "Off").lower() != "off"

    @property
    def bits(self) -> int:
        """Bits that values use; the whole pixel where values were stretched."""
        pixel = int(self.number("bitsperpixel") or 0)
        if pixel == _BITS_OF_A_BYTE or (self.is_stretched and pixel):
            return pixel
        return _BITS_OF_THE_SENSORS

    def angle(self, name: str) -> float | None:
        """Return the mean of an angle, degrees: ``"SunEl"``; older products state one value instead."""
        mean = self.number(f"mean{name}".lower())
        return mean if mean is not None else self.number(name.lower())

    @property
    def _image(self) -> Group:
        return _table(self.imd.group, "image_1")


def read_metadata(tree: Tree, half: Half) -> Metadata:
    """Read the metadata of an image product.

    Parameters
    ----------
    tree
        The delivery.
    half
        Its files.

    Returns
    -------
    Metadata
        Parts without a text file of their own are taken from the XML twin.

    Raises
    ------
    ProductError
        When there is neither an IMD nor an XML twin with content, or a file is damaged.
    """
    parts = {suffix: _read_text(tree, half.file(suffix)) for suffix in (".imd", ".til", ".rpb")}
    notes = []
    if None in parts.values():
        twin, reason = _read_twin(tree, half.file(".xml"), is_needed=parts[".imd"] is None)
        notes += [reason] if reason else []
        notes += _fill(parts, twin, half)
    imd = parts[".imd"]
    if imd is None:
        empty = half.file(".imd") or half.file(".xml")
        what = f"the empty file {_place(tree, empty)}" if empty else "neither"
        msg = (
            f"an image product must have an IMD file or its XML twin, got {what} for {half.title} in {tree.root}; "
            "copy the metadata of the order, or pass the images with `pan=`, `ms=` and `bands=`"
        )
        raise ProductError(msg)
    return Metadata(imd, parts[".til"], parts[".rpb"], tuple(notes))


def find_roles_of_codes(codes: tuple[str, ...], source: str) -> tuple[str, ...]:
    """Return the roles of band codes.

    Raises
    ------
    ProductError
        When a code is not known or occurs twice.
    """
    roles = tuple(ROLES.get(code, "") for code in codes)
    if not all(roles) or len(set(roles)) != len(roles):
        msg = (
            f"band groups must be among {', '.join(code.upper() for code in ROLES)}, each once, got "
            f"{', '.join(code.upper() for code in codes)} in {source}; pass the images with `pan=`, `ms=` and `bands=`"
        )
        raise ProductError(msg)
    return roles


def number_in(group: Group, key: str) -> float | None:
    """Return a value as a number; None where it is missing, no number, or -999."""
    value = group.get(key)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value == _NOT_ASSESSED:
        return None
    return float(value)


def _read_text(tree: Tree, name: str | None) -> Section | None:
    raw = tree.read(name) if name is not None else b""
    if name is None or not raw.strip():
        return None
    source = _place(tree, name)
    return Section(parse_pvl(decode(raw, source=source), source=source), name)


def _read_twin(tree: Tree, name: str | None, *, is_needed: bool) -> tuple[Section | None, str]:
    """Read the XML twin; where the IMD is there, a twin that cannot be read is told and left alone."""
    raw = tree.read(name) if name is not None else b""
    if name is None or not raw.strip():
        return None, ""
    source = _place(tree, name)
    try:
        return Section(isd_to_groups(parse_xml(raw, source=source)), name), ""
    except ProductError as error:
        if is_needed:
            raise
        return None, f"{name} ignored: {error}"


def _fill(parts: dict[str, Section | None], twin: Section | None, half: Half) -> list[str]:
    if twin is None:
        return []
    inner = {".imd": twin.group, ".til": twin.group.get("til"), ".rpb": twin.group.get("rpb")}
    notes = []
    for suffix, group in inner.items():
        if parts[suffix] is None and isinstance(group, dict):
            parts[suffix] = Section(group, twin.name)
            state = "empty" if half.file(suffix) else "missing"
            notes.append(f"{suffix[1:].upper()} of {half.title} is {state}: read from its XML twin")
    return notes


def _place(tree: Tree, name: str | None) -> str:
    return f"{tree.root}/{name}"


def _table(group: Group, key: str) -> Group:
    value = group.get(key)
    return value if isinstance(value, dict) else {}


def _text(group: Group, key: str) -> str | None:
    value = group.get(key)
    return str(value).strip() or None if isinstance(value, (str, int, float)) else None
