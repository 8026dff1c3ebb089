"""File names of DigitalGlobe, Maxar and Vantor: which files make one image product, and of which kind it is.

Names only; no file is opened. A name is searched for the vendor's grammar,
``YYMONDDhhmmss-<kind><level>S[_R<row>C<col>]-<order>_<part>_P<product>.<suffix>``, and not anchored at its beginning:
archives put satellite, date and catalogue id in front. The convention that could surprise: a stamp belongs to one image
product, so PAN and MS of one bundle, a second apart, are two `Half` values with the same product id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath

PAN, MS, SHARPENED = "P", "M", "S"
KINDS = {PAN: "PAN", MS: "MS", SHARPENED: "pan-sharpened", "A": "SWIR", "C": "CAVIS"}
"""Letter of the grammar and what it means to people."""

RASTERS = (".tif", ".tiff", ".ntf", ".nitf")
_METADATA = (".imd", ".xml", ".til", ".rpb")
_SIDECARS = (*_METADATA, ".att", ".eph", ".geo")
_GRAMMAR = re.compile(
    r"(?P<stamp>\d{2}[A-Z]{3}\d{8})-(?P<kind>[PMSAC])(?P<level>1B|2A|3[A-Z])S(?P<tile>_R\d+C\d+)?"
    r"-(?P<product>\d{12}_\d{2}_P\d{3})(?P<suffix>\.[A-Z]+)$",
    re.IGNORECASE,
)
_LAYER_FOLDER = re.compile(r"_(?:MUL|PAN)$", re.IGNORECASE)
_AUXILIARY_FOLDER = "gis_files"


@dataclass(frozen=True)
class Half:
    """The files of one image product: PAN or MS of a bundle.

    Attributes
    ----------
    kind
        Letter of the grammar, see `KINDS`.
    level
        For instance ``"2A"``; empty where it is not known.
    product
        Order, part and product, for instance ``"056078906010_01_P001"``; empty where it is not known.
    stamp
        Time of the image to the second, UTC; None where it is not known.
    title
        Name without tile and suffix.
    files
        Names in the tree.
    platform
        Satellite, where names tell nothing and the metadata had to be asked.
    """

    kind: str
    level: str
    product: str
    stamp: datetime | None
    title: str
    files: tuple[str, ...]
    platform: str = field(default="", compare=False)

    def file(self, suffix: str) -> str | None:
        """Name of the file with a suffix, ignoring case; None without one."""
        return next((name for name in self.files if _suffix(name) == suffix), None)

    @property
    def rasters(self) -> tuple[str, ...]:
        """Names of the images."""
        return tuple(name for name in self.files if _suffix(name) in RASTERS)

    @property
    def has_metadata(self) -> bool:
        """Whether there is any IMD, XML, TIL or RPB."""
        return any(_suffix(name) in _METADATA for name in self.files)


def find_named(names: Iterable[str]) -> tuple[Half, ...]:
    """Return the image products that file names tell of.

    Parameters
    ----------
    names
        Relative POSIX names.
    """
    found: dict[tuple[str, ...], list[tuple[bool, str, re.Match[str]]]] = {}
    for name in names:
        match = match_name(PurePosixPath(name).name)
        folders = [part.lower() for part in PurePosixPath(name).parent.parts]
        if match is None or _AUXILIARY_FOLDER in folders:
            continue
        words = (match.string[: match.start()], *match.group("stamp", "kind", "level", "product"))
        key = ("/".join(folders), *(word.lower() for word in words))
        found.setdefault(key, []).append((match.group("tile") is not None, name, match))
    return tuple(_half(group) for _, group in sorted(found.items()))


def match_name(name: str) -> re.Match[str] | None:
    """Match a file name, without folders, against the grammar; None for suffixes that are no part of a product."""
    match = _GRAMMAR.search(name)
    return match if match and match.group("suffix").lower() in (*RASTERS, *_SIDECARS) else None


def by_stem(names: Iterable[str]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the files of products by folder and stem, the latter in lower case."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for name in names:
        path = PurePosixPath(name)
        if path.suffix.lower() in (*RASTERS, *_SIDECARS):
            key = (str(path.parent), path.stem.lower())
            found[key] = (*found.get(key, ()), name)
    return found


def levels_above(name: str, parents: tuple[str, ...]) -> int | None:
    """Say how many folders above a file its delivery begins; None when it is not of this family."""
    if match_name(name) is None and _suffix(name) not in {".imd", ".til"}:
        return None
    return 2 if parents and _LAYER_FOLDER.search(parents[0]) else 1


def _half(group: list[tuple[bool, str, re.Match[str]]]) -> Half:
    ordered = sorted(group, key=lambda item: item[:2])  # sidecars of the whole before those of a tile
    match = ordered[0][2]
    tile = match.group("tile") or ""
    title = match.string.replace(tile, "") if tile else match.string
    return Half(
        kind=match.group("kind").upper(),
        level=match.group("level").upper(),
        product=match.group("product").upper(),
        stamp=_time(match.group("stamp")),
        title=PurePosixPath(title).stem,
        files=tuple(name for _, name, _ in ordered),
    )


def _time(stamp: str) -> datetime | None:
    with suppress(ValueError):
        return datetime.strptime(stamp.title(), "%y%b%d%H%M%S").replace(tzinfo=UTC)
    return None


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()
