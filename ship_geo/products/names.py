"""What names tell: the role of a band from its description, the sensor and the time from the name of a file.

Names only; no file is opened. The convention that could surprise: an answer is given only where a name allows no other
reading. ``"B4"`` alone is no role (red on Landsat-8, nir on Landsat-7), ``"band 4 red"`` is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from ship_geo.errors import ArgumentError
from ship_geo.sensors import Sensor, find_sensor

PAN_ROLE = "pan"

# Longer names first: what was read as "red edge" must not be read as "red" again.
_ROLE_WORDS: Mapping[str, str] = {
    r"red ?edge ?2|re ?2": "rededge2",
    r"(vegetation )?red ?edge( ?1)?|re ?1": "rededge",
    r"coastal( blue| aerosol)?|aerosols?|(deep|ultra) blue": "coastal",
    r"nir ?2|near ?infra ?red ?2|near ?ir ?2": "nir2",
    r"nir ?1?|near ?infra ?red( ?1)?|near ?ir( ?1)?": "nir",
    r"swir ?1|short ?wave ?infra ?red ?1": "swir1",
    r"swir ?2|short ?wave ?infra ?red ?2": "swir2",
    r"pan|panchromatic": PAN_ROLE,
    r"yellow": "yellow",
    r"green|grn": "green",
    r"blue|blu": "blue",
    r"red": "red",
}
_ROLE_CODES: Mapping[str, str] = {
    "p": PAN_ROLE,
    "c": "coastal",
    "b": "blue",
    "g": "green",
    "y": "yellow",
    "r": "red",
    "re": "rededge",
    "n": "nir",
    "n1": "nir",
    "n2": "nir2",
    # Written with a zero they are Sentinel-2 and HLS numbers, which agree up to red.
    "b02": "blue",
    "b03": "green",
    "b04": "red",
}
_OLI_ROLES = {1: "coastal", 2: "blue", 3: "green", 4: "red", 5: "nir", 6: "swir1", 7: "swir2", 8: PAN_ROLE}
_ETM_ROLES = {1: "blue", 2: "green", 3: "red", 4: "nir", 5: "swir1", 7: "swir2", 8: PAN_ROLE}
_LANDSAT_ROLES = {"landsat-7": _ETM_ROLES, "landsat-8": _OLI_ROLES, "landsat-9": _OLI_ROLES}

_LANDSAT_WORD = re.compile(
    r"(?<![a-z0-9])l[coe]?0?([789])(?![0-9])|(?<![a-z0-9])l[coe]([789])(?=\d{13})", re.IGNORECASE
)
_PLATFORM_TAGS = ("SATELLITE", "SATID", "SATELLITEID", "SPACECRAFT_ID", "PLATFORM", "MISSION", "SENSOR")
_DIGITALGLOBE_STAMP = re.compile(r"(?<![0-9])(\d{2}[A-Z]{3}\d{8})-[PM](?:1B|2A|3[A-Z])S", re.IGNORECASE)
_DATE_STAMPS = (
    re.compile(r"L[COE]0[789]_L\w{3}_\d{6}_(\d{8})_\d{8}_0[12]", re.IGNORECASE),
    re.compile(r"GF\d[A-D]?_\w+?_[EW][\d.]+_[NS][\d.]+_(\d{8})_L\d", re.IGNORECASE),
)


def find_role(text: str, sensor: Sensor | None = None) -> str | None:
    """Return the role that a band description names.

    Parameters
    ----------
    text
        Description as found, for example ``"Blue"``, ``"NIR-1"``, ``"red edge"``, ``"BAND_R"``, ``"b4 nir"``.
    sensor
        Allows numbers of Landsat bands (``"B4"``) to be read, when it is a Landsat.

    Returns
    -------
    str or None
        Role, ``"pan"`` included; None when the text names none, or several.
    """
    # "NIR1" and "NIR-1" are one word, "B4_red" is two.
    words = re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()
    found: list[str] = []
    for pattern, role in _ROLE_WORDS.items():
        words, n_found = re.subn(rf"(?<![a-z0-9])(?:{pattern})(?![a-z0-9])", " ", words)
        found += [role] * bool(n_found)
    if found:
        return found[0] if len(found) == 1 else None
    code = re.sub(r"^(band|sr) ", "", words.strip())
    return _ROLE_CODES.get(code) or _landsat_role(code, sensor)


def find_platform(names: Iterable[str], tags: Mapping[str, str]) -> Sensor | None:
    """Return the sensor that file names and metadata name, or None when they name none or several.

    Parameters
    ----------
    names
        Names of files, without folders.
    tags
        Metadata of the files.
    """
    said = [value.strip('"') for key, value in tags.items() if key.upper() in _PLATFORM_TAGS]
    words = [word for name in names for word in re.split(r"[^A-Za-z0-9]+", name)]
    numbers = {first or second for name in [*names, *said] for first, second in _LANDSAT_WORD.findall(name)}
    found: dict[str, Sensor] = {}
    for word in [*said, *words, *(f"landsat-{number}" for number in numbers)]:
        with suppress(ArgumentError):
            sensor = find_sensor(word)
            found[sensor.name] = sensor
    return next(iter(found.values())) if len(found) == 1 else None


def find_time(names: Iterable[str]) -> str | None:
    """Return the time of acquisition that file names tell, in ISO 8601 (UTC, or a date alone), or None."""
    for name in names:
        stamp = _DIGITALGLOBE_STAMP.search(name)
        if stamp:
            with suppress(ValueError):
                time = datetime.strptime(stamp.group(1).title(), "%y%b%d%H%M%S").replace(tzinfo=UTC)
                return time.isoformat().replace("+00:00", "Z")
        for pattern in _DATE_STAMPS:
            date = pattern.search(name)
            if date:
                with suppress(ValueError):
                    return datetime.strptime(date.group(1), "%Y%m%d").replace(tzinfo=UTC).date().isoformat()
    return None


def _landsat_role(code: str, sensor: Sensor | None) -> str | None:
    roles = _LANDSAT_ROLES.get(sensor.name) if sensor is not None else None
    number = re.fullmatch(r"(?:b|band ?)?0*(\d)", code)
    return roles.get(int(number.group(1))) if roles is not None and number else None
