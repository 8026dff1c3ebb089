"""Roles of MS bands: by what the files say, else by what the sensor's files usually hold, else numbered.

In this order: the roles that the caller gives; names in descriptions (or of files that hold one band each); colour
interpretation; the file order of the sensor, where the number of bands and all known names agree with it. A band that
stays unknown is called ``band1``, ``band2`` ... and never by a colour. What was assumed is told in a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ship_geo.errors import ArgumentError
from ship_geo.products.names import PAN_ROLE, find_role
from ship_geo.raster import BandRef
from ship_geo.sensors import Sensor

_COLOUR_ROLES = frozenset({"red", "green", "blue", "yellow", "coastal", "rededge", "nir"})
_EIGHT_BAND_CAMERAS = frozenset({"worldview-2", "worldview-3", "legion"})
_FOUR_BAND_ORDER = ("blue", "green", "red", "nir")  # their four-band product


def find_roles(
    files: Sequence[BandRef],
    descriptions: Sequence[str],
    colours: Sequence[str],
    *,
    sensor: Sensor | None = None,
    bands: Sequence[str] | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the roles of MS bands.

    Parameters
    ----------
    files, descriptions, colours
        Per band: where it lies, its description and its colour interpretation.
    sensor
        Sensor, where it is known.
    bands
        Roles that the caller gives, in file order.

    Returns
    -------
    roles
        One per band, all different.
    notes
        What was assumed.

    Raises
    ------
    ArgumentError
        When `bands` does not name every band once.
    """
    alone = _unique([ref.path for ref in files])
    found = _unique(
        [
            _named_role(text, Path(path).stem if path is not None else "", sensor)
            for path, text in zip(alone, descriptions, strict=True)
        ]
    )
    if bands is not None:
        return _given_roles(bands, found)
    notes = []
    shown = [colour if colour in _COLOUR_ROLES else None for colour in colours]
    if not any(found) and any(shown):
        found = _unique(shown)
        notes.append("band roles are taken from the colour interpretation")
    if None in found and sensor is not None:
        order = _file_order(sensor, found)
        if order is not None:
            notes.append(f"bands without a name are taken to follow the order of {sensor.title}: {', '.join(order)}")
            found = list(order)
    unknown = [number for number, role in enumerate(found, 1) if role is None]
    if unknown:
        listed = ", ".join(map(str, unknown))
        notes.append(f"the role of MS band {listed} is not known; name the bands with `bands=` or their descriptions")
    return tuple(role or f"band{number}" for number, role in enumerate(found, 1)), tuple(notes)


def _named_role(description: str, stem: str, sensor: Sensor | None) -> str | None:
    # The name of a file speaks for its band only where it holds no other.
    tail = stem.replace("-", "_").rsplit("_", maxsplit=1)[-1]
    texts = [description, tail, stem]
    roles = (find_role(text, sensor) for text in texts)
    return next((role for role in roles if role not in {None, PAN_ROLE}), None)


def _unique(roles: Sequence[str | None]) -> list[str | None]:
    """Keep the names that occur once: two bands with one name say nothing about either."""
    return [role if roles.count(role) == 1 else None for role in roles]


def _given_roles(bands: Sequence[str], found: Sequence[str | None]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names = bands.split(",") if isinstance(bands, str) else bands
    roles = tuple(find_role(name) or name.strip().lower() for name in names)
    if len(roles) != len(found) or len(set(roles)) != len(roles) or not all(roles):
        msg = f"`bands` must name each of the {len(found)} MS bands once, got {list(roles)}; list them in file order"
        raise ArgumentError(msg)
    differing = [f"{role} (file: {name})" for role, name in zip(roles, found, strict=True) if name not in {None, role}]
    note = f"band roles as given differ from the files: {', '.join(differing)}"
    return roles, (note,) if differing else ()


def _file_order(sensor: Sensor, found: Sequence[str | None]) -> tuple[str, ...] | None:
    orders = [sensor.roles]
    if sensor.name in _EIGHT_BAND_CAMERAS:
        orders.append(_FOUR_BAND_ORDER)
    for order in orders:
        if len(order) == len(found) and all(mine in {None, role} for mine, role in zip(found, order, strict=True)):
            return order
    return None
