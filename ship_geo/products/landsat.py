"""Landsat-7, 8 and 9 scenes with their MTL: one TIFF for each band, PAN among them.

A scene is what its MTL says it is; a folder of bands without one is left to the generic pairs. Conventions that could
surprise: PAN and MS share the *centres* of their corner pixels, so that their bounds differ by half a PAN pixel, which
is right as the files state it; 0 is fill though no tag says so; and all reflective bands are taken, also those that
PAN does not see.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ship_geo import calibration
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.products.landsat_metadata import Mtl, read_mtl
from ship_geo.products.product import Acquisition, Candidate, LayerFiles, OpenOptions, Product
from ship_geo.sensors import Sensor, find_sensor

if TYPE_CHECKING:
    from ship_geo.products.tree import Tree

__all__ = ["NAME", "match", "open", "root_of"]

NAME = "landsat"

_MTL = re.compile(r"(?P<stem>.+)_MTL\.(?P<kind>txt|xml)", re.IGNORECASE)
_SCENE = re.compile(
    r"L[COTEM]\d\d_L\d\w\w_\d{6}_\d{8}_\d{8}_\d\d_(T1|T2|RT)[_.]|L[COTEM][4-9]\d{13}\w{3}\d\d[_.]", re.IGNORECASE
)
_PAN = 8
_NUMBERS: Mapping[str, tuple[int, ...]] = {
    "landsat-7": (1, 2, 3, 4, 5, 7),
    "landsat-8": (1, 2, 3, 4, 5, 6, 7),
    "landsat-9": (1, 2, 3, 4, 5, 6, 7),
}
_GAPS_SINCE = "2003-05-31"
_PASS_PAIR = "or pass the rasters with `ms=` and `pan=`"  # noqa: S105 (no password)


@dataclass(frozen=True)
class _Plan:
    """A scene as its MTL tells of it: files in the tree by band number, MS in the order of the sensor."""

    mtl: Mtl
    sensor: Sensor
    ms: Mapping[int, str]
    pan: str
    absent: tuple[int, ...]
    ignored: tuple[str, ...]
    warnings: tuple[str, ...]


def match(tree: Tree) -> tuple[Candidate, ...]:
    """Find the scenes of a tree by their MTL files, which are read: names do not tell which files belong to a scene.

    Parameters
    ----------
    tree
        The delivery.

    Returns
    -------
    tuple of Candidate
        One for each MTL (text and XML of one scene count once); with a `problem` where it is damaged, of level 2, or
        the PAN or all MS files are not delivered.
    """
    scenes: dict[str, list[str]] = {}
    for name in tree.names:
        found = _MTL.fullmatch(name)
        if found:
            scenes.setdefault(found["stem"], []).append(name)
    candidates = (_candidate(tree, stem, sorted(names, key=str.lower)) for stem, names in scenes.items())
    return tuple(candidate for candidate in candidates if candidate is not None)


def open(  # noqa: A001
    tree: Tree,
    candidate: Candidate,
    options: OpenOptions,  # noqa: ARG001 (a band is one file: nothing can be missing in part)
) -> Product:
    """Read what the MTL says of a scene.

    Parameters
    ----------
    tree
        The delivery.
    candidate
        One that `match` gave.
    options
        Not used: a band is one file.

    Returns
    -------
    Product
        With all reflective bands that are delivered, in the order of their numbers.

    Raises
    ------
    ProductError
        When the candidate has a problem, or a file is a link that leaves the delivery.
    """
    if candidate.problem:
        raise ProductError(candidate.problem)
    plan: _Plan = candidate.plan
    mtl, numbers = plan.mtl, tuple(plan.ms)
    roles = tuple(_roles(plan.sensor)[number] for number in numbers)
    gains, reason, said = _calibrate(mtl, numbers)
    ms = LayerFiles(tuple(map(tree.path, plan.ms.values())), roles=roles, nodata=0, time=mtl.time)
    return Product(
        name=candidate.name,
        family=NAME,
        ms=ms,
        pan=LayerFiles((tree.path(plan.pan),), nodata=0, time=mtl.time),
        sensor=plan.sensor,
        acquisition=_acquisition(candidate.name, mtl, (*numbers, _PAN)),
        calibration=gains,
        uncalibrated=reason,
        notes=(*_notes(plan, roles), *said),
        warnings=plan.warnings,
    )


def root_of(name: str, parents: tuple[str, ...]) -> int | None:  # noqa: ARG001 (the protocol of a family)
    """Say how many folders above a file its delivery begins: 1, its own folder; None for names of other families.

    Parameters
    ----------
    name
        File name.
    parents
        Names of the folders above it; they do not matter.
    """
    is_archive = name.lower().endswith((".tar", ".gz", ".tgz", ".zip"))
    return 1 if not is_archive and (_MTL.fullmatch(name) or _SCENE.match(name)) else None


def _candidate(tree: Tree, stem: str, names: Sequence[str]) -> Candidate | None:
    members = [name for name in tree.names if name.lower().startswith((f"{stem.lower()}_", f"{stem.lower()}."))]
    title = stem.rpartition("/")[2]
    try:
        mtl, warnings = read_mtl(tree, names)
        if mtl is None:
            return None
        title = _identity(mtl, title)
        files = {band: (said, tree.resolve(mtl.name, said)) for band, said in mtl.files.items()}
        members += [name for _, name in files.values() if name is not None]
        plan = _plan(mtl, files, members, warnings)
    except ProductError as error:
        return Candidate(title, NAME, tuple(dict.fromkeys(members)), str(error))
    return Candidate(title, NAME, tuple(dict.fromkeys(members)), plan=plan)


def _identity(mtl: Mtl, fallback: str) -> str:
    return mtl.text("landsat_product_id") or mtl.text("landsat_scene_id") or fallback


def _plan(
    mtl: Mtl, files: Mapping[str, tuple[str, str | None]], members: Sequence[str], warnings: tuple[str, ...]
) -> _Plan:
    """Choose the files of PAN and MS.

    Raises
    ------
    ProductError
        When the scene has no PAN, no MS, or is of a satellite without both.
    """
    rule = f"a Landsat scene needs PAN and MS, got {mtl.name}"
    level = mtl.level or ""
    if level.upper().startswith("L2"):
        msg = f"{rule} of level {level}, and there is no PAN in level 2; pass the level 1 product, {_PASS_PAIR}"
        raise ProductError(msg)
    sensor = _find_sensor(mtl)
    said, pan = files.get(str(_PAN), ("", None))
    if pan is None:
        what = f"without its PAN file {said}; add it" if said else "which names no PAN (band 8); pass a scene with it"
        raise ProductError(f"{rule} {what}, {_PASS_PAIR}")
    numbers = _NUMBERS[sensor.name]
    ms = {number: name for number in numbers if (name := files.get(str(number), ("", None))[1]) is not None}
    if not ms:
        raise ProductError(f"{rule} without the file of any MS band; add them, {_PASS_PAIR}")
    used = {mtl.name, pan, *ms.values()}
    rasters = {name for name in members if name.lower().endswith((".tif", ".tiff"))}
    absent = tuple(number for number in numbers if number not in ms)
    return _Plan(mtl, sensor, ms, pan, absent, tuple(sorted(rasters - used)), warnings)


def _find_sensor(mtl: Mtl) -> Sensor:
    platform = mtl.text("spacecraft_id")
    with suppress(ArgumentError):
        sensor = find_sensor(platform or "")
        if sensor.name in _NUMBERS:
            return sensor
    known = ", ".join(name.replace("-", "_").upper() for name in _NUMBERS)
    msg = (
        f"a Landsat scene with PAN is of {known}, got SPACECRAFT_ID {platform or 'without a value'} in {mtl.name}; "
        f"pass a scene of these, {_PASS_PAIR}"
    )
    raise ProductError(msg)


def _roles(sensor: Sensor) -> dict[int, str]:
    return dict(zip(_NUMBERS[sensor.name], sensor.roles, strict=True))


def _acquisition(name: str, mtl: Mtl, numbers: Sequence[int]) -> Acquisition:
    return Acquisition(
        platform=mtl.text("spacecraft_id"),
        product_id=name,
        level=mtl.level,
        time=mtl.time,
        cloud=mtl.cloud,
        sun_azimuth=mtl.number("sun_azimuth"),
        sun_elevation=mtl.number("sun_elevation"),
        bits=mtl.bits(numbers),
    )


def _calibrate(mtl: Mtl, numbers: Sequence[int]) -> tuple[calibration.Calibration | None, str, tuple[str, ...]]:
    try:
        found = calibration.landsat(
            mtl.rescaling("radiance_mult", numbers),
            mtl.rescaling("radiance_add", numbers),
            mtl.rescaling("reflectance_mult", numbers),
            mtl.rescaling("reflectance_add", numbers),
            mtl.number("sun_elevation"),
        )
    except ArgumentError as error:
        return None, f"the rescaling factors of {mtl.name} cannot be used: {error}", ()
    if found is None:
        return None, f"{mtl.name} has no rescaling factors of these bands", ()
    return found, "", (f"not all physical values are offered: {found.missing}",) if found.missing else ()


def _notes(plan: _Plan, roles: Sequence[str]) -> tuple[str, ...]:
    notes = [_sight(plan.sensor, roles)]
    if plan.sensor.name == "landsat-7" and (plan.mtl.time or "") >= _GAPS_SINCE:
        notes.append(f"stripes without data: the scan line corrector of Landsat-7 is off since {_GAPS_SINCE}")
    if plan.absent:
        listed = ", ".join(f"B{number} ({_roles(plan.sensor)[number]})" for number in plan.absent)
        notes.append(f"bands that are not delivered are left out: {listed}")
    if plan.ignored:
        listed = ", ".join(name.rpartition("/")[2] for name in plan.ignored)
        notes.append(f"rasters that are neither PAN nor reflective bands are ignored: {listed}")
    return tuple(notes)


def _sight(sensor: Sensor, roles: Sequence[str]) -> str:
    """Which bands PAN sees, by the limits of the sensor table."""
    low, high = sensor.pan_wavelength or (0.0, 0.0)
    seen: dict[str, list[str]] = {"sees": [], "sees in part": [], "does not see": []}
    for band in sensor.select(roles).bands:
        lower, upper = band.wavelength or (0.0, 0.0)
        if low <= lower and upper <= high:
            seen["sees"].append(band.role)
        elif lower < high and low < upper:
            seen["sees in part"].append(band.role)
        else:
            seen["does not see"].append(band.role)
    parts = [f"{verb} {', '.join(names)}" for verb, names in seen.items() if names]
    return f"PAN of {sensor.title} {'; '.join(parts)}"
