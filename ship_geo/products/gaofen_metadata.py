"""What the flat XML of a GaoFen scene tells: numbers, time base, UTM zone.

Tags are searched by name at any depth, and a missing one never fails: scenes of 2014 to 2022 lack the centre and the
gains. Two conventions could surprise. A time of the XML may be UTC or Beijing time (UTC+8), which no tag tells: both
are tried against the solar zenith that the XML states. And a zone number is believed only where it is near the scene,
since numbers of Gauss-Krueger zones occur, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ship_geo.products.texts import parse_xml

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from ship_geo.products.tree import Tree

ROOT = "ProductMetaData"
BEIJING = timedelta(hours=8)

_TIMES = ("CenterTime", "StartTime", "EndTime", "ReceiveTime")  # the first one that is there counts
_CORNERS = ("TopLeft", "TopRight", "BottomRight", "BottomLeft")
_TIME = re.compile(r"(\d{4})\D(\d{1,2})\D(\d{1,2})[T\s]+(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,6}))?\d*\s*(Z?)")
_ZONE = re.compile(r"(?:UTM)?\s*(-?)(\d{1,2})(?:\.0*)?\s*([NS]?)", re.IGNORECASE)
_MOST_DIFFERENCE = 3.0  # degrees between the stated and the computed solar zenith
_N_ZONE = 60
_NEAR_ZONES = (0, 1, _N_ZONE - 1)
_UTM_LATITUDES = (-80.0, 84.0)
_J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Place:
    """Where a scene lies, and what says so; degrees."""

    lat: float
    lon: float
    source: str


@dataclass(frozen=True)
class SceneTime:
    """Time of a layer: ISO 8601, with a Z where it is known to be UTC, and what is to be said about it."""

    text: str | None
    note: str = ""
    warning: str = ""


def read_tags(tree: Tree, name: str | None) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the tags of an XML file that hold a text, and what is odd about the file.

    Parameters
    ----------
    tree
        The delivery.
    name
        The file; None: there is none.

    Returns
    -------
    tags
        The first text of each tag, by tag; empty where the file is missing or empty.
    warnings
        Plain sentences.

    Raises
    ------
    ProductError
        When the file is no XML, or declares a document type or entities.
    """
    raw = b"" if name is None else tree.read(name)
    if name is None or not raw.strip():
        return {}, () if name is None else (f"{name} is ignored: file is empty",)
    root = parse_xml(raw, source=name)
    tags: dict[str, str] = {}
    for element in root.iter():
        text = (element.text or "").strip()
        if text:
            tags.setdefault(_local(element), text)
    if _local(root) == ROOT:
        return tags, ()
    return tags, (f"{name} has the root {_local(root)}, not {ROOT}; its tags are read all the same",)


def number(tags: Mapping[str, str], key: str) -> float | None:
    """Return the finite number that a tag holds; None without one."""
    try:
        value = float(tags.get(key, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def scene_gains(tags: Mapping[str, str]) -> tuple[float, ...] | None:
    """Return the numbers of ``AbsCeof``, with commas, semicolons or blanks between them; None for anything else."""
    words = [word for word in re.split(r"[\s,;]+", tags.get("AbsCeof", "")) if word]
    try:
        return tuple(map(float, words)) or None
    except ValueError:
        return None


def off_nadir(tags: Mapping[str, str]) -> float | None:
    """Return the angle between the view and the nadir, from roll and pitch: cos a = cos roll cos pitch, degrees."""
    roll, pitch = number(tags, "RollViewingAngle"), number(tags, "PitchViewingAngle")
    if roll is None:
        return None
    cosine = math.cos(math.radians(roll)) * math.cos(math.radians(pitch or 0.0))
    return round(math.degrees(math.acos(max(-1.0, min(1.0, cosine)))), 6)


def places(tags: Mapping[str, str], named: Place | None) -> tuple[Place, ...]:
    """Return where the scene lies by each source that tells: its centre, its corners (all four), its name."""
    found = [_place([""], "Center", tags, "the centre"), _place(_CORNERS, "", tags, "the corners"), named]
    return tuple(place for place in found if place is not None and _is_on_earth(place))


def utm_epsg(tags: Mapping[str, str], named: Place | None = None) -> tuple[int, str] | None:
    """Return the UTM zone of a scene in four steps: ``ZoneNo``, centre, mean of the corners, place in the name.

    Parameters
    ----------
    tags
        Of the XML, by tag.
    named
        Place that the file name tells.

    Returns
    -------
    tuple of int and str
        EPSG code (WGS 84 / UTM), for instance 32649, and the source: ``"ZoneNo"``, ``"the centre"``,
        ``"the corners"`` or ``"the file name"``. None where nothing tells, or the scene lies beyond the UTM latitudes.

    Notes
    -----
    The zone is that of the longitude alone; the exceptions at Norway and Svalbard are not made.
    """
    known = places(tags, named)
    stated = _ZONE.fullmatch(tags.get("ZoneNo", "").strip())
    if stated:
        sign, digits, letter = stated.groups()
        zone = int(digits)
        near = not known or (zone - _zone(known[0])) % _N_ZONE in _NEAR_ZONES
        if 1 <= zone <= _N_ZONE and near:
            south = letter.upper() == "S" or sign == "-" or (not letter and bool(known) and known[0].lat < 0)
            return _epsg(zone, south=south), "ZoneNo"
    for place in known:
        if _UTM_LATITUDES[0] <= place.lat <= _UTM_LATITUDES[1]:
            return _epsg(_zone(place), south=place.lat < 0), place.source
    return None


def scene_time(tags: Mapping[str, str], known: Sequence[Place]) -> SceneTime:
    """Return the time of a scene, in UTC where the solar zenith tells which reading is right.

    Parameters
    ----------
    tags
        Of the XML, by tag.
    known
        Where the scene lies; the first counts.

    Returns
    -------
    SceneTime
        Without zone, and with a warning, where neither reading or both fit the stated zenith within 3 degrees.
    """
    key, moment, is_utc = _stated_time(tags)
    if moment is None:
        return SceneTime(None)
    stated = f"{key} {tags[key]}"
    if is_utc:
        return SceneTime(_iso(moment))
    zenith = number(tags, "SolarZenith")
    plain = _iso(moment).removesuffix("Z")
    if zenith is None or not known:
        lack = "SolarZenith" if zenith is None else "place"
        warning = f"{stated} may be UTC or Beijing time: there is no {lack} to tell; left without zone"
        return SceneTime(plain, warning=warning)
    as_utc = solar_zenith(moment, known[0].lat, known[0].lon)
    as_beijing = solar_zenith(moment - BEIJING, known[0].lat, known[0].lon)
    off_utc, off_beijing = abs(as_utc - zenith), abs(as_beijing - zenith)
    if min(off_utc, off_beijing) > _MOST_DIFFERENCE or abs(off_utc - off_beijing) <= _MOST_DIFFERENCE:
        warning = (
            f"{stated} may be UTC or Beijing time: the solar zenith is {zenith:.1f} degrees, computed are {as_utc:.1f} "
            f"and {as_beijing:.1f}; left without zone"
        )
        return SceneTime(plain, warning=warning)
    base, fits, other = ("UTC", as_utc, as_beijing) if off_utc < off_beijing else ("Beijing time", as_beijing, as_utc)
    note = f"{stated} is {base}: its solar zenith is {fits:.1f} degrees as stated, the other reading has {other:.1f}"
    return SceneTime(_iso(moment if base == "UTC" else moment - BEIJING), note=note)


def solar_zenith(moment: datetime, lat: float, lon: float) -> float:
    """Angle between the sun and the vertical, without refraction.

    Parameters
    ----------
    moment
        Time with a zone.
    lat, lon
        Degrees.

    Returns
    -------
    float
        Degrees, within about 0.02 for 1950 to 2050: the low-precision formulas of the Astronomical Almanac as given by
        Michalsky, Solar Energy 40 (1988), 227-235.
    """
    days = (moment - _J2000).total_seconds() / 86400
    hours = (days + 0.5) % 1 * 24  # J2000 is a noon
    anomaly = math.radians(357.528 + 0.9856003 * days)
    mean_longitude = 280.460 + 0.9856474 * days
    longitude = math.radians(mean_longitude + 1.915 * math.sin(anomaly) + 0.020 * math.sin(2 * anomaly))
    tilt = math.radians(23.439 - 4e-7 * days)
    ascension = math.degrees(math.atan2(math.cos(tilt) * math.sin(longitude), math.cos(longitude)))
    declination = math.asin(math.sin(tilt) * math.sin(longitude))
    sidereal = 15 * (6.697375 + 0.0657098242 * days + hours)
    hour_angle = math.radians(sidereal + lon - ascension)
    vertical = math.sin(math.radians(lat)) * math.sin(declination)
    sideways = math.cos(math.radians(lat)) * math.cos(declination) * math.cos(hour_angle)
    return math.degrees(math.acos(max(-1.0, min(1.0, vertical + sideways))))


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _place(heads: Sequence[str], prefix: str, tags: Mapping[str, str], source: str) -> Place | None:
    lats = [number(tags, f"{prefix}{head}Latitude") for head in heads]
    lons = [number(tags, f"{prefix}{head}Longitude") for head in heads]
    lat = [value for value in lats if value is not None]
    lon = [value for value in lons if value is not None]
    if len(lat) < len(heads) or len(lon) < len(heads):
        return None
    if max(lon) - min(lon) > 180:  # noqa: PLR2004 (the scene crosses the 180th meridian)
        lon = [value % 360 for value in lon]
    return Place(sum(lat) / len(lat), (sum(lon) / len(lon) + 180) % 360 - 180, source)


def _is_on_earth(place: Place) -> bool:
    return abs(place.lat) <= 90 and abs(place.lon) <= 180  # noqa: PLR2004


def _zone(place: Place) -> int:
    return int((place.lon + 180) // 6) % _N_ZONE + 1


def _epsg(zone: int, *, south: bool) -> int:
    return (32700 if south else 32600) + zone


def _stated_time(tags: Mapping[str, str]) -> tuple[str, datetime | None, bool]:
    for key in _TIMES:
        match = _TIME.fullmatch(tags.get(key, ""))
        if match:
            *parts, fraction, zulu = match.groups()
            year, month, day, hour, minute, second = map(int, parts)
            micro = int((fraction or "0").ljust(6, "0"))
            try:
                moment = datetime(year, month, day, hour, minute, second, micro, tzinfo=UTC)
            except ValueError:
                continue
            return key, moment, bool(zulu)
    return "", None, False


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
