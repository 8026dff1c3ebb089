"""WorldView, QuickBird, GeoEye, IKONOS and Legion as DigitalGlobe, Maxar and Vantor deliver them.

Pairs PAN and MS of an order, which come as two image products, and says what their metadata mean. A tile, an IMD or any
other file of a product leads to the same pair as its folder. Not for the old layout: see `ship_geo.products.geoeye`.
Two conventions could surprise. PAN and MS are paired by order, part and product, as their stamps usually differ by a
second. And products of renamed files are found by what their metadata say, which costs a look into each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from ship_geo.calibration import Calibration, worldview
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.products.maxar_layer import read_layer
from ship_geo.products.maxar_metadata import Metadata, read_metadata
from ship_geo.products.maxar_names import KINDS, MS, PAN, SHARPENED, Half, find_named, levels_above
from ship_geo.products.maxar_renamed import find_renamed
from ship_geo.products.product import Acquisition, Candidate, OpenOptions, Product
from ship_geo.sensors import Sensor, find_sensor

if TYPE_CHECKING:
    from ship_geo.products.tree import Tree

NAME = "digitalglobe"

_SAME_SCENE = timedelta(seconds=2)
_USUAL_LAG = timedelta(seconds=1)
_MOST_LISTED = 10
_PAN_ONLY = "WV01"


@dataclass(frozen=True)
class Plan:
    """What `open` needs: the two image products, and what `match` found beside them."""

    ms: Half
    pan: Half
    notes: tuple[str, ...]


def match(tree: Tree) -> tuple[Candidate, ...]:
    """Find the products of a tree by names; metadata are read only of files whose names tell nothing.

    A group of bare images without any sidecar is left to the generic pairs.
    """
    named = find_named(tree.names)
    halves = (*named, *find_renamed(tree, {name for half in named for name in half.files}))
    notes = _notes_beside(tree, halves)
    return tuple(
        candidate
        for group in _groups(halves)
        if any(half.has_metadata or len(half.rasters) > 1 for half in group)
        for candidate in _candidates(tree, group, notes)
    )


def open(tree: Tree, candidate: Candidate, options: OpenOptions) -> Product:  # noqa: A001
    """Read the metadata of a pair and look at one image of each.

    Raises
    ------
    ProductError
        When the candidate has a problem, the two do not belong together, one is sharpened already, or a file is
        missing or damaged.
    """
    plan = candidate.plan
    if candidate.problem or not isinstance(plan, Plan):
        raise ProductError(candidate.problem or f"a candidate must be made by match, got {candidate}; call match")
    ms_meta, pan_meta = read_metadata(tree, plan.ms), read_metadata(tree, plan.pan)
    _check_partners(tree, plan, ms_meta, pan_meta)
    ms = read_layer(tree, plan.ms, ms_meta, missing=options.missing)
    pan = read_layer(tree, plan.pan, pan_meta, missing=options.missing)
    roles = ms.files.roles or ()
    if pan.files.roles != ("pan",) or "pan" in roles:
        msg = (
            f"PAN must have the band P alone and MS others, got {pan.files.roles} for {plan.pan.title} and {roles} for"
        )
        raise ProductError(f"{msg} {plan.ms.title} in {tree.root}; pass the images with `pan=`, `ms=` and `bands=`")
    sensor, odd_sensor = _find_sensor(ms_meta, roles)
    cloud, odd_cloud = _cloud(ms_meta)
    calibration, uncalibrated, said = _calibrate(ms_meta, roles, ms.files.time)
    lag_notes, lag_warnings = _lag(plan)
    return Product(
        name=candidate.name,
        family=NAME,
        ms=ms.files,
        pan=pan.files,
        sensor=sensor,
        acquisition=replace(_acquisition(plan, ms_meta), time=ms.files.time, cloud=cloud),
        calibration=calibration,
        uncalibrated=uncalibrated,
        notes=(
            *plan.notes,
            *lag_notes,
            *ms_meta.notes,
            *pan_meta.notes,
            *ms.notes,
            *pan.notes,
            *_strips(ms_meta),
            *said,
        ),
        warnings=(*lag_warnings, *ms.warnings, *pan.warnings, *odd_sensor, *odd_cloud),
    )


def root_of(name: str, parents: tuple[str, ...]) -> int | None:
    """Say how many folders above a file its delivery begins: 2 in a ``_MUL`` or ``_PAN`` folder, else 1."""
    return levels_above(name, parents)


def _groups(halves: Iterable[Half]) -> list[list[Half]]:
    """Halves of one product id; those without one by satellite and time."""
    known: dict[str, list[Half]] = {}
    unknown = []
    for half in halves:
        if half.product:
            known.setdefault(half.product, []).append(half)
        else:
            unknown.append(half)
    groups = [known[product] for product in sorted(known)]
    for _, same in groupby(sorted(unknown, key=_moment), key=lambda half: half.platform):
        last = None
        for half in same:
            if last is None or last.stamp is None or half.stamp is None or half.stamp - last.stamp > _SAME_SCENE:
                groups.append([])
            groups[-1].append(half)
            last = half
    return groups


def _moment(half: Half) -> tuple[str, float, str]:
    return half.platform, half.stamp.timestamp() if half.stamp else 0.0, half.title


def _candidates(tree: Tree, group: list[Half], notes: tuple[str, ...]) -> list[Candidate]:
    """One candidate for each level of which PAN and MS are there; one with a problem when there is none."""
    levels = {half.level for half in group}
    complete = [level for level in sorted(levels) if {PAN, MS} <= {h.kind for h in group if h.level == level}]
    found = []
    wanted: list[str | None] = [*complete] or [None]
    for level in wanted:
        halves = [half for half in group if half.kind in {PAN, MS} and level in {half.level, None}] or group
        name = halves[0].product or next((h.title for h in halves if h.kind == MS), halves[0].title)
        name = f"{name} {level}" if len(complete) > 1 else name
        problem = _problem(tree, halves)
        members = tuple(sorted(file for half in halves for file in half.files))
        plan = None
        if not problem:
            ms, pan = (next(half for half in halves if half.kind == kind) for kind in (MS, PAN))
            plan = Plan(ms, pan, (f"MS is {ms.title}, PAN is {pan.title}", *notes))
        found.append(Candidate(name, NAME, members, problem, plan))
    return found


def _problem(tree: Tree, halves: Sequence[Half]) -> str:
    pan, ms = ([half for half in halves if half.kind == kind] for kind in (PAN, MS))
    listed = ", ".join(f"the {KINDS[half.kind]} product {half.title}" for half in halves[:_MOST_LISTED])
    if len(pan) == len(ms) == 1:
        if pan[0].level == ms[0].level:
            return ""
        return f"PAN and MS must have the same processing level, got {listed} in {tree.root}; order both at one level"
    if pan and ms:
        return (
            f"a product must have one PAN and one MS image, got {listed} in {tree.root}; "
            "leave one of each in the folder, or pass them with `pan=` and `ms=`"
        )
    if any(half.kind == SHARPENED for half in halves):
        return (
            f"the input must be a PAN and an MS product, got {listed} in {tree.root}, which is pan-sharpened already; "
            "pass the bundle it was made from"
        )
    return _partner_missing(tree, halves, pan, listed)


def _partner_missing(tree: Tree, halves: Sequence[Half], pan: Sequence[Half], listed: str) -> str:
    lacking = "PAN" if any(half.kind == MS for half in halves) else "multispectral"
    got = f"got {listed} and no {lacking} product found in {tree.root}"
    if pan and any(_platform(tree, half) == _PAN_ONLY for half in pan):
        remedy = "WorldView-1 records PAN only: pass the MS of another satellite with `ms=`"
    else:
        folder = "_MUL" if pan else "_PAN"
        remedy = f"pass the folder of the order with its {folder} folder, or the images with `pan=` and `ms=`"
    return f"a delivery must hold PAN and MS of one product, {got}; {remedy}"


def _platform(tree: Tree, half: Half) -> str | None:
    """Satellite as far as it can be read: only for a message, so that damaged metadata do not matter here."""
    try:
        return half.platform or read_metadata(tree, half).text("satid")
    except ProductError:
        return None


def _notes_beside(tree: Tree, halves: Sequence[Half]) -> tuple[str, ...]:
    notes = [f"{KINDS[half.kind]} product {half.title} is not fused" for half in halves if half.kind not in {PAN, MS}]
    used = {name for half in halves for name in half.files}
    ignored = [name for name in tree.names if name not in used]
    if ignored:
        more = f" and {len(ignored) - _MOST_LISTED} more" if len(ignored) > _MOST_LISTED else ""
        notes.append(f"ignored files: {', '.join(ignored[:_MOST_LISTED])}{more}")
    return tuple(notes)


def _check_partners(tree: Tree, plan: Plan, ms: Metadata, pan: Metadata) -> None:
    for meta in (ms, pan):
        algorithm = meta.text("pansharpenalgorithm") or "None"
        if algorithm.lower() != "none":
            msg = (
                f"the input must not be pan-sharpened, got panSharpenAlgorithm {algorithm!r} in "
                f"{tree.root}/{meta.imd.name}; pass the bundle it was made from"
            )
            raise ProductError(msg)
    for key, what in (("satid", "satId"), ("catid", "CatId")):
        mine, other = ms.text(key), pan.text(key)
        if mine and other and mine.upper() != other.upper():
            msg = (
                f"PAN and MS must come from one image of one satellite, got {what} {mine} in {ms.imd.name} and "
                f"{other} in {pan.imd.name} of {tree.root}; pass PAN and MS of one product with `pan=` and `ms=`"
            )
            raise ProductError(msg)
    if ms.text("satid") is None:
        msg = f"the metadata must name the satellite, got no satId in {tree.root}/{ms.imd.name}"
        raise ProductError(f"{msg}; fetch {plan.ms.title} again, or pass the images with `pan=` and `ms=`")


def _acquisition(plan: Plan, ms: Metadata) -> Acquisition:
    return Acquisition(
        platform=ms.text("satid"),
        product_id=ms.text("productorderid") or plan.ms.product or None,
        level=plan.ms.level or ms.level,
        sun_azimuth=ms.angle("SunAz"),
        sun_elevation=ms.angle("SunEl"),
        view_azimuth=ms.angle("SatAz"),
        off_nadir=ms.angle("OffNadirViewAngle"),
        bits=ms.bits,
    )


def _find_sensor(meta: Metadata, roles: tuple[str, ...]) -> tuple[Sensor | None, tuple[str, ...]]:
    platform = meta.text("satid") or ""
    try:
        return find_sensor(platform).select(roles), ()
    except ArgumentError as error:
        return None, (f"no sensor facts for {platform} with {', '.join(roles)}: {error}",)


def _cloud(meta: Metadata) -> tuple[float | None, tuple[str, ...]]:
    cloud = meta.number("cloudcover")
    if cloud is None or 0 <= cloud <= 1:
        return cloud, ()
    return None, (f"cloudCover is {cloud:g}, not a fraction from 0 to 1: ignored",)


def _calibrate(
    meta: Metadata, roles: tuple[str, ...], time: str | None
) -> tuple[Calibration | None, str, tuple[str, ...]]:
    """Return the calibration of MS, the reason where there is none, and notes."""
    if meta.is_stretched:
        state = meta.text("radiometricenhancement")
        return None, f"values were stretched after calibration (radiometricEnhancement {state!r})", ()
    factors = [[value or 0.0 for value in meta.band_numbers(key)] for key in ("abscalfactor", "effectivebandwidth")]
    try:
        calibration, notes = worldview(
            meta.text("satid") or "", roles, factors[0], factors[1], time, meta.angle("SunEl")
        )
    except ArgumentError as error:
        return None, str(error), ()
    return calibration, "", notes


def _lag(plan: Plan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Notes and warnings about the time between the two."""
    if plan.ms.stamp is None or plan.pan.stamp is None or plan.ms.stamp == plan.pan.stamp:
        return (), ()
    lag = abs(plan.ms.stamp - plan.pan.stamp)
    text = f"stamps of PAN and MS differ by {lag.total_seconds():g} s"
    return ((f"{text}, as is usual",), ()) if lag <= _USUAL_LAG else ((), (f"{text}, usual is 1 s at most",))


def _strips(meta: Metadata) -> tuple[str, ...]:
    if meta.n_image < 2:  # noqa: PLR2004
        return ()
    return (f"the product joins {meta.n_image} strips: time and angles are those of the first",)
