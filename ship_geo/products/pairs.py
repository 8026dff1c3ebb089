"""Generic PAN / MS pairs: the partner of a file, or the one pair of a folder, by the usual names.

Known spellings, whatever their case: ``_PAN`` beside ``_MS``, ``_MUL``, ``_MSS`` or ``_MUX`` (also ``-PAN1`` beside
``-MSS1``, and ``.pan`` beside ``.ms``), ``P2AS`` beside ``M2AS``, and Landsat's ``_B8`` beside ``_B2`` ... ``_B7``.
Only names are looked at, no raster is opened, and nothing is picked silently: two candidates are an error that lists
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ship_geo.errors import ProductError
from ship_geo.products import PairFiles

RASTER_SUFFIXES = frozenset({".tif", ".tiff", ".jp2", ".j2k", ".ntf", ".nitf"})

_WORD = re.compile(
    r"(?<![a-z0-9])(?:(?P<pan>(?:bwd)?pan(?:chromatic)?)|(?P<ms>(?:bwd)?(?:mss|mux|mul|ms|multispectral)))(?P<camera>\d?)"
    r"(?![a-z0-9])",
    re.IGNORECASE,
)
# Two stamps of one delivery may differ by a second, so that order, part and product make the key.
_DIGITALGLOBE = re.compile(
    r"\d{2}[A-Z]{3}\d{8}-(?P<kind>[PMSAC])(?P<level>1B|2A|3[A-Z])S(?P<tile>_R\d+C\d+)?-(?P<order>\d{12}_\d{2}_P\d{3})",
    re.IGNORECASE,
)
_VENDOR_LETTER = re.compile(r"(?<![a-z0-9])(?P<kind>[PMS])(?P<level>1B|2A|3[A-Z])S(?![a-z0-9])", re.IGNORECASE)
_LANDSAT = re.compile(r"^(?P<scene>L[COE]\d.*|.*?)_B(?P<number>[1-8])$", re.IGNORECASE)
_LANDSAT_PAN = 8
_ETM = re.compile(r"^L(E|7)", re.IGNORECASE)
_SHARPENED = re.compile(r"^IMG_.*_PMS|pan-?sharpened", re.IGNORECASE)


@dataclass(frozen=True)
class _Name:
    path: Path
    kind: str  # pan, ms, sharpened
    key: str
    number: int = 0  # of a Landsat band


def find_pair(source: Path) -> PairFiles | None:
    """Return the pair that a file belongs to, or the only pair of a folder.

    Parameters
    ----------
    source
        Existing folder, or either file of a pair.

    Returns
    -------
    PairFiles or None
        None when the name of a file says nothing about PAN or MS, or no partner lies beside it, or a folder
        holds a single raster: it may be a stack.

    Raises
    ------
    ProductError
        When there are several candidates, a folder holds no pair, or the product is pan-sharpened already.
    """
    if source.is_dir():
        return find_pair_among(rasters_in(source), str(source))
    own = _classify(source)
    if own is None:
        return None
    _refuse_sharpened(own)
    folder = [name for name in _names_in(source.parent) if name.key == own.key and name.kind != "sharpened"]
    pairs = _pairs(folder)
    return pairs[0] if pairs else None


def find_pairs(files: Iterable[Path]) -> dict[Path, PairFiles | ProductError | None]:
    """Return what `find_pair` says of every PAN file of one folder, in one look at the names.

    Parameters
    ----------
    files
        Rasters of the folder; no disk is touched.

    Returns
    -------
    dict
        By PAN file: its pair; the error where there are several candidates; None where no partner lies beside it.
    """
    groups: dict[str, list[_Name]] = {}
    for name in filter(None, map(_classify, files)):
        if name.kind != "sharpened":
            groups.setdefault(name.key, []).append(name)
    found: dict[Path, PairFiles | ProductError | None] = {}
    for group in groups.values():
        result: PairFiles | ProductError | None
        try:
            result = next(iter(_pairs(group)), None)
        except ProductError as error:
            result = error
        found |= {name.path: result for name in group if name.kind == "pan"}
    return found


def rasters_in(folder: Path) -> list[Path]:
    """Return the raster files of a folder by their suffix, sorted by name; subfolders are not entered.

    Raises
    ------
    ProductError
        When the folder cannot be listed.
    """
    try:
        return sorted(path for path in folder.iterdir() if _is_raster(path))
    except OSError as error:
        msg = f"a folder must be readable, got {folder} ({error.strerror}); check its permissions"
        raise ProductError(msg) from error


def _is_raster(path: Path) -> bool:
    # Hidden ones are not rasters but what some systems note about them ("._town_PAN.tif").
    return path.suffix.lower() in RASTER_SUFFIXES and not path.name.startswith(".") and path.is_file()


def has_pan_name(path: Path) -> bool:
    """Whether the name of a file says that it is PAN."""
    name = _classify(path)
    return name is not None and name.kind == "pan"


def scene_name(pan: str) -> str:
    """Return the name of a scene: that of its PAN file without the word for PAN and the suffix."""
    stem = Path(pan).stem
    landsat = _LANDSAT.match(stem)
    bare = landsat.group("scene") if landsat else _WORD.sub("", stem)
    return re.sub(r"([_\-. ])[_\-. ]+", r"\1", bare).strip("_-. ") or stem


def find_pair_among(files: Sequence[Path], place: str) -> PairFiles | None:
    """Return the only pair among the rasters of a folder or an archive.

    Parameters
    ----------
    files
        The rasters; no disk is touched.
    place
        Where they are, for messages.

    Returns
    -------
    PairFiles or None
        None when there is a single raster: it may be a stack.

    Raises
    ------
    ProductError
        When there is no pair or several, or the product is pan-sharpened already.
    """
    names = [name for name in map(_classify, files) if name is not None]
    pairs = _pairs(name for name in names if name.kind != "sharpened")
    if len(pairs) == 1:
        return pairs[0]
    if pairs:
        listed = "; ".join(f"{Path(pair.pan).name} with {', '.join(Path(ms).name for ms in pair.ms)}" for pair in pairs)
        msg = f"a folder must hold one PAN / MS pair, got {len(pairs)} in {place}: {listed}; pass one of the files"
        raise ProductError(msg)
    for name in names:
        _refuse_sharpened(name)
    if len(files) == 1:
        return None
    found = ", ".join(path.name for path in files[:20]) or "no GeoTIFF, JPEG 2000 or NITF file"
    msg = (
        f"a folder must hold a PAN / MS pair, got {found} in {place}; name the files like X_PAN and X_MS, "
        "or pass them with `pan=` and `ms=`"
    )
    raise ProductError(msg)


def _pairs(names: Iterable[_Name]) -> list[PairFiles]:
    groups: dict[str, list[_Name]] = {}
    for name in names:
        groups.setdefault(name.key, []).append(name)
    pairs = []
    for group in groups.values():
        pan = [name for name in group if name.kind == "pan"]
        ms = sorted((name for name in group if name.kind == "ms"), key=lambda name: name.number)
        if pan and ms:
            _refuse_several(pan)
            if not ms[0].number:
                _refuse_several(ms)
            pairs.append(PairFiles(tuple(str(name.path) for name in ms), str(pan[0].path)))
    return pairs


def _refuse_several(names: list[_Name]) -> None:
    if len(names) > 1:
        listed = ", ".join(name.path.name for name in names)
        what = "PAN" if names[0].kind == "pan" else "MS"
        msg = f"a pair must have one {what} file, got the candidates {listed}; pass the right one with `pan=` or `ms=`"
        raise ProductError(msg)


def _refuse_sharpened(name: _Name) -> None:
    if name.kind == "sharpened":
        msg = (
            f"the input must be a PAN and an MS product, got the pan-sharpened product {name.path.name}; "
            "pass the bundle it was made from"
        )
        raise ProductError(msg)


def _names_in(folder: Path) -> list[_Name]:
    return [name for name in map(_classify, rasters_in(folder)) if name is not None]


def _classify(path: Path) -> _Name | None:
    stem = path.stem
    if _SHARPENED.search(stem):
        return _Name(path, "sharpened", stem.lower())
    return _vendor_name(path) or _landsat_name(path) or _plain_name(path)


def _vendor_name(path: Path) -> _Name | None:
    match = _DIGITALGLOBE.search(path.stem)
    if match:
        tile, level = match.group("tile") or "", match.group("level")
        key = f"{match.group('order')} {level} {tile}"
    else:
        match = _VENDOR_LETTER.search(path.stem)
        if match is None:
            return None
        key = f"{path.stem[: match.start()]}*{match.group('level')}{path.stem[match.end() :]}"
    kind = {"P": "pan", "M": "ms", "S": "sharpened"}.get(match.group("kind").upper())
    return _Name(path, kind, key.lower()) if kind is not None else None


def _landsat_name(path: Path) -> _Name | None:
    match = _LANDSAT.match(path.stem)
    if match is None:
        return None
    scene, number = match.group("scene"), int(match.group("number"))
    if number == _LANDSAT_PAN:
        return _Name(path, "pan", scene.lower(), number)
    # B1 is blue on ETM+ but coastal on OLI, which its PAN does not see; B6 is thermal on ETM+.
    wanted = {1, 2, 3, 4, 5, 7} if _ETM.match(scene) else {2, 3, 4, 5, 6, 7}
    return _Name(path, "ms", scene.lower(), number) if number in wanted else None


def _plain_name(path: Path) -> _Name | None:
    *_, match = [None, *_WORD.finditer(path.stem)]
    if match is None:
        return None
    kind = "pan" if match.group("pan") else "ms"
    key = f"{path.stem[: match.start()]}*{match.group('camera')}{path.stem[match.end() :]}"
    return _Name(path, kind, key.lower())
