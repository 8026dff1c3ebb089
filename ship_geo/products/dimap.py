"""Pleiades, SPOT-6/7 and Pleiades Neo as the vendor ships them: DIMAP v2, one ``DIM_*.XML`` each for PAN and MS.

A ``VOL_*.XML`` says which of them belong together; without it their names do. Not for products that are sharpened
already (PMS), nor for DIMAP v1 (SPOT-5). Conventions that could surprise: the images themselves say where they lie,
ULXMAP / ULYMAP are only compared; and the order of bands is that of BAND_INDEX, or of the radiometric list.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ship_geo import calibration
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.products.dimap_layers import read_layer
from ship_geo.products.dimap_metadata import Component, component_hrefs, read_component
from ship_geo.products.product import Acquisition, Candidate, OpenOptions, Product
from ship_geo.sensors import Sensor, find_sensor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ship_geo.products.tree import Tree

NAME = "dimap"

_TILE = re.compile(r"^IMG_.*_R\d+C\d+\.(TIFF?|JP2)$", re.IGNORECASE)
_METADATA = re.compile(r"^(DIM|RPC)_.*\.XML$", re.IGNORECASE)
_COMPONENT = re.compile(r"^DIM_.*\.XML$", re.IGNORECASE)
_VOLUME = re.compile(r"^VOL_.*\.XML$", re.IGNORECASE)
_STAMP = re.compile(r"(?<!\d)\d{14,17}(?!\d)")
_SPECTRAL = re.compile(r"(?<=_)(PMS|PAN|P|MS|XS)(-[A-Z]+)?(?=[_\-.])", re.IGNORECASE)


@dataclass(frozen=True)
class _Plan:
    pan: str
    ms: str
    volume: str | None = None


@dataclass(frozen=True)
class _Set:
    """Components that belong together, and what is wrong with the volume that lists them."""

    names: tuple[str, ...]
    volume: str | None = None
    problem: str = ""


def match(tree: Tree) -> tuple[Candidate, ...]:
    """Find the products of a tree by their volumes, and by the names of components that no volume lists."""
    volumes = [_volume(tree, name) for name in tree.names if _VOLUME.match(posixpath.basename(name))]
    taken = {name for one in volumes for name in one.names}
    closed = [posixpath.dirname(one.volume or "") for one in volumes if one.problem]
    loose = [
        name
        for name in tree.names
        if _COMPONENT.match(posixpath.basename(name))
        and name not in taken
        and not any(_is_below(name, folder) for folder in closed)
    ]
    sets = (*volumes, *(_Set(names) for names in _by_name(loose)))
    found = (candidate for one in sets if one.names or one.problem for candidate in _candidates(tree, one))
    return tuple(found)


def root_of(name: str, parents: tuple[str, ...]) -> int | None:
    """Say how many folders above a file its delivery begins: 2 in an ``IMG_*`` folder, else 1."""
    if _VOLUME.match(name):
        return 1
    if _METADATA.match(name) or _TILE.match(name):
        return 2 if parents and parents[0].upper().startswith("IMG_") else 1
    return None


def open(tree: Tree, candidate: Candidate, options: OpenOptions) -> Product:  # noqa: A001
    """Read the metadata of a product and the headers of its images.

    Raises
    ------
    ProductError
        When an image is missing or not what the metadata say, or PAN and MS are not of one acquisition.
    """
    plan: _Plan = candidate.plan
    pan, ms = (_component(tree, name) for name in (plan.pan, plan.ms))
    warnings = _check_partners(pan, ms)
    pan_read, ms_read = (read_layer(tree, one, options) for one in (pan, ms))
    sensor, sensor_notes = _sensor(ms.mission)
    calibrated, reason = _calibrate(ms)
    where = plan.volume or "the names of the components"
    level = (
        ("level SENSOR: the images lie on no map, only their RPC models place them",) if ms.level == "SENSOR" else ()
    )
    return Product(
        name=candidate.name,
        family=NAME,
        ms=ms_read.files,
        pan=pan_read.files,
        sensor=sensor,
        acquisition=_acquisition(ms),
        calibration=calibrated,
        uncalibrated=reason,
        notes=(
            f"PAN {posixpath.basename(pan.name)} and MS {posixpath.basename(ms.name)} paired by {where}",
            *level,
            *sensor_notes,
            *pan_read.notes,
            *ms_read.notes,
        ),
        warnings=(*warnings, *pan_read.warnings, *ms_read.warnings),
    )


def _volume(tree: Tree, name: str) -> _Set:
    try:
        found = [tree.resolve(name, href) for href in component_hrefs(tree, name)]
    except ProductError as error:
        return _Set((), name, str(error))
    return _Set(tuple(dict.fromkeys(one for one in found if one is not None)), name)


def _by_name(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Group components by satellite and time stamp, or by the name without the word for PAN or MS."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_key(name), []).append(name)
    return tuple(tuple(group) for group in groups.values())


def _key(name: str) -> str:
    base = posixpath.basename(name).upper()
    stamp = _STAMP.search(base)
    if stamp:
        return f"{base.split('_')[1]} {stamp.group()}"
    return _SPECTRAL.sub("*", base)


def _candidates(tree: Tree, found: _Set) -> tuple[Candidate, ...]:
    """Return the product of a set of components; several where the set holds several pairs."""
    label = posixpath.basename(found.names[0] if found.names else found.volume or "")
    if found.problem:
        folder = posixpath.dirname(found.volume or "")
        below = tuple(name for name in tree.names if _is_below(name, folder))
        return (Candidate(label, NAME, below, found.problem),)
    try:
        components = [one for name in found.names if (one := read_component(tree, name)) is not None]
    except ProductError as error:
        return (Candidate(label, NAME, _members(tree, found.names, found.volume), str(error)),)
    pairs = [one for one in components if one.kind in {"pan", "ms"}]
    others = [[one] for one in components if one not in pairs]
    kinds = [one.kind for one in pairs]
    if max(kinds.count("pan"), kinds.count("ms")) > 1:
        groups = _by_name(one.name for one in pairs)
        parts = [[one for one in pairs if one.name in group] for group in groups]
    else:
        parts = [pairs]
    return tuple(_pair(tree, part, found.volume) for part in [*parts, *others] if part)


def _pair(tree: Tree, components: list[Component], volume: str | None) -> Candidate:
    pans, mss = ([one for one in components if one.kind == kind] for kind in ("pan", "ms"))
    members = _members(tree, [one.name for one in components], volume)
    if len(pans) == len(mss) == 1:
        plan = _Plan(pans[0].name, mss[0].name, volume)
        return Candidate(mss[0].dataset, NAME, members, plan=plan)
    listed = ", ".join(f"{posixpath.basename(one.name)} ({one.kind})" for one in components)
    if components[0].kind == "sharpened":
        problem = (
            f"the input must be a PAN and an MS product, got the pan-sharpened product {listed} in {tree.root}; "
            "order the bundle it was made from"
        )
    elif not pans and not mss:
        problem = f"a component must be PAN or MS, got {listed} in {tree.root}; pass its images with `pan=` and `ms=`"
    elif pans and mss:
        problem = f"a product must have one PAN and one MS component, got {listed} in {tree.root}; keep one of each"
    else:
        lacking = "panchromatic" if mss else "multispectral"
        problem = f"no {lacking} product found, got {listed} in {tree.root}; add the component that belongs to it"
    return Candidate(components[0].dataset, NAME, members, problem)


def _members(tree: Tree, components: Iterable[str], volume: str | None) -> tuple[str, ...]:
    """Return the files of components: all in a folder IMG_*, else those whose names go on like theirs."""
    names = {volume} if volume else set()
    for component in components:
        folder, base = posixpath.split(component)
        stem = posixpath.splitext(base)[0][len("DIM_") :].upper()
        is_own = posixpath.basename(folder).upper().startswith("IMG_")
        beside = [name for name in tree.names if _is_below(name, folder)]
        names.update(name for name in beside if is_own or posixpath.basename(name).upper()[4:].startswith(stem))
        names.add(component)
    return tuple(sorted(names))


def _is_below(name: str, folder: str) -> bool:
    return not folder or name.startswith(f"{folder}/")


def _component(tree: Tree, name: str) -> Component:
    component = read_component(tree, name)
    if component is None:
        msg = f"a component must be a DIMAP document, got XML of another kind in {name}; fetch the delivery again"
        raise ProductError(msg)
    return component


def _check_partners(pan: Component, ms: Component) -> tuple[str, ...]:
    """Refuse PAN and MS that do not belong together; return what is merely odd."""
    for what, of_pan, of_ms in (("satellite", pan.mission, ms.mission), ("level", pan.level, ms.level)):
        if of_pan and of_ms and of_pan != of_ms:
            msg = (
                f"PAN and MS must be of one {what}, got {of_pan} in {pan.name} and {of_ms} in {ms.name}; "
                "pass the two that were delivered as one product"
            )
            raise ProductError(msg)
    if pan.time and ms.time and pan.time[:10] != ms.time[:10]:
        return (f"PAN was taken at {pan.time}, MS at {ms.time}: another day",)
    return ()


def _sensor(mission: str) -> tuple[Sensor | None, tuple[str, ...]]:
    try:
        return find_sensor(mission), ()
    except ArgumentError:
        return None, (f"the satellite {mission or '(no MISSION)'} is not in the sensor table",)


def _acquisition(ms: Component) -> Acquisition:
    azimuth, elevation, view, nadir = ms.angles
    return Acquisition(
        platform=ms.mission or None,
        product_id=ms.dataset,
        level=ms.level or None,
        time=ms.time,
        cloud=ms.cloud,
        sun_azimuth=azimuth,
        sun_elevation=elevation,
        view_azimuth=view,
        off_nadir=nadir,
        bits=ms.bits,
    )


def _calibrate(ms: Component) -> tuple[calibration.Calibration | None, str]:
    if not ms.is_plain:
        return None, f"values are not counts of the instrument: RADIOMETRIC_PROCESSING is {ms.radiometry} in {ms.name}"
    pairs = [ms.radiance.get(band) for band in ms.bands]
    gains = [pair[0] for pair in pairs if pair is not None]
    biases = [pair[1] for pair in pairs if pair is not None]
    if not pairs or len(gains) != len(pairs) or not all(gain > 0 for gain in gains):
        return None, f"GAIN and BIAS of every band are needed, and {ms.name} lacks some"
    values = [ms.irradiance.get(band) for band in ms.bands]
    known = [value for value in values if value is not None and value > 0]
    found = calibration.dimap(gains, biases, known if len(known) == len(values) else None, ms.time, ms.angles[1])
    return (found, "") if found is not None else (None, f"GAIN and BIAS of {ms.name} cannot be used")
