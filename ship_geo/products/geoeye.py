"""GeoEye-1 and IKONOS in the old layout: ``po_<order>_<band>_<component>.tif``, one file a band, texts beside them.

For orders from before DigitalGlobe's names; GeoEye-1 in those is for `ship_geo.products.digitalglobe`. Conventions that
could surprise: the metadata are one text for the whole order, ``Key: value unit`` a line, of which the first value of a
key holds; cloud is percent there and a fraction here; there are no calibration factors in it, so products stay in DN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ship_geo.errors import ArgumentError, ProductError
from ship_geo.products.geoeye_texts import number_of, parse_lines, read_rpc_text, time_of
from ship_geo.products.product import Acquisition, Candidate, LayerFiles, OpenOptions, Product
from ship_geo.products.texts import decode
from ship_geo.raster import inspect
from ship_geo.rpc import Rpc
from ship_geo.sensors import Sensor, find_sensor

if TYPE_CHECKING:
    from ship_geo.products.tree import Tree

NAME = "geoeye"

_GRAMMAR = re.compile(
    r"(?P<order>po_\d+)_(?:(?P<band>pan|blu|grn|red|nir|rgb|bgrn|msi)_(?P<component>\d+)(?P<rpc>_rpc)?|metadata)"
    r"\.(?P<suffix>tiff?|ntf|nitf|txt)$",
    re.IGNORECASE,
)
_PAN = "pan"
_SINGLE = {"blu": "blue", "grn": "green", "red": "red", "nir": "nir"}
_STACKED = {"bgrn": tuple(_SINGLE.values()), "msi": tuple(_SINGLE.values()), "rgb": ("red", "green", "blue")}
_PLATFORMS = {"geoeye": "GE01", "ikonos": "IK01"}
_SHARPENED = re.compile(r"sharp|\bpsm\b", re.IGNORECASE)
_NODATA = 0.0
_MOST_PERCENT = 100
_MOST_LISTED = 10
_UNCALIBRATED = "the metadata of the old layout have no calibration factors"


@dataclass(frozen=True)
class Plan:
    """Files of one component.

    Attributes
    ----------
    images
        Name of the image by code: ``"pan"``, ``"blu"`` ...
    rpcs
        Name of the RPC text by the same codes.
    metadata
        Name of the text of the order; None without one.
    notes
        What `match` found beside them.
    """

    images: Mapping[str, str]
    rpcs: Mapping[str, str]
    metadata: str | None
    notes: tuple[str, ...] = ()


def match(tree: Tree) -> tuple[Candidate, ...]:
    """Find the components of the orders in a tree by names."""
    found: dict[tuple[str, str, str], list[tuple[str, re.Match[str]]]] = {}
    texts: dict[tuple[str, str], str] = {}
    for name in tree.names:
        hit = _GRAMMAR.search(PurePosixPath(name).name)
        if hit is None:
            continue
        folder, order = str(PurePosixPath(name).parent), hit.group("order").lower()
        if hit.group("band") is None:
            texts[folder, order] = name
        else:
            found.setdefault((folder, order, hit.group("component")), []).append((name, hit))
    known = {name for group in found.values() for name, _ in group} | set(texts.values())
    ignored = [name for name in tree.names if name not in known]
    more = f" and {len(ignored) - _MOST_LISTED} more" if len(ignored) > _MOST_LISTED else ""
    notes = (f"ignored files: {', '.join(ignored[:_MOST_LISTED])}{more}",) if ignored else ()
    return tuple(
        _candidate(tree, f"{order}_{component}", group, texts.get((folder, order)), notes)
        for (folder, order, component), group in sorted(found.items())
    )


def open(tree: Tree, candidate: Candidate, options: OpenOptions) -> Product:  # noqa: A001, ARG001
    """Read the metadata of a component and look at its MS images.

    Raises
    ------
    ProductError
        When the candidate has a problem, it is sharpened already, a text is damaged, or an image has another number of
        bands than its name says.
    """
    plan = candidate.plan
    if candidate.problem or not isinstance(plan, Plan):
        raise ProductError(candidate.problem or f"a candidate must be made by match, got {candidate}; call match")
    values, odd_text = _read_metadata(tree, plan)
    _check_is_bundle(tree, plan, values)
    platform = _platform(values)
    codes, roles = _choose(plan.images)
    # Before GDAL sees the images: it looks at the texts beside them, too, and does not name what is wrong.
    rpcs = {code: _read_rpc(tree, plan.rpcs.get(code)) for code in (*codes, _PAN)}
    for code in codes:
        _check_bands(tree.path(plan.images[code]), len(_STACKED.get(code, (code,))))
    time = time_of(values.get("acquisition date/time", ""))
    sensor, odd_sensor = _find_sensor(platform, roles)
    cloud, odd_cloud = _cloud(values)
    ms = LayerFiles(
        tuple(tree.path(plan.images[code]) for code in codes),
        roles=roles,
        nodata=_NODATA,
        rpc=rpcs[codes[0]],
        time=time,
    )
    pan = LayerFiles(
        (tree.path(plan.images[_PAN]),),
        roles=("pan",),
        nodata=_NODATA,
        rpc=rpcs[_PAN],
        time=time,
    )
    taken = ", ".join(plan.images[code] for code in codes)
    return Product(
        name=candidate.name,
        family=NAME,
        ms=ms,
        pan=pan,
        sensor=sensor,
        acquisition=Acquisition(
            platform=platform,
            product_id=candidate.name,
            level=values.get("processing level") or None,
            time=time,
            cloud=cloud,
            sun_azimuth=number_of(values, "sun angle azimuth"),
            sun_elevation=number_of(values, "sun angle elevation"),
            view_azimuth=number_of(values, "nominal collection azimuth"),
            bits=_bits(values),
        ),
        uncalibrated=_UNCALIBRATED,
        notes=(f"MS is {taken}, as {', '.join(roles)}; PAN is {plan.images[_PAN]}", *plan.notes),
        warnings=(*odd_text, *odd_sensor, *odd_cloud),
    )


def root_of(name: str, parents: tuple[str, ...]) -> int | None:  # noqa: ARG001
    """Say how many folders above a file its delivery begins: 1, as all files of an order lie in one folder."""
    return 1 if _GRAMMAR.search(name) else None


def _candidate(
    tree: Tree, name: str, group: list[tuple[str, re.Match[str]]], metadata: str | None, notes: tuple[str, ...]
) -> Candidate:
    images: dict[str, str] = {}
    rpcs: dict[str, str] = {}
    problem = ""
    for file, hit in group:
        code, is_text = hit.group("band").lower(), hit.group("suffix").lower() == "txt"
        if is_text and hit.group("rpc"):
            rpcs[code] = file
        elif not is_text and not hit.group("rpc"):
            if code in images:
                problem = f"a band must have one image, got {images[code]} and {file} in {tree.root}; keep one of them"
            images[code] = file
    members = tuple(sorted([*(file for file, _ in group), *([metadata] if metadata else [])]))
    return Candidate(name, NAME, members, problem or _problem(tree, images), Plan(images, rpcs, metadata, notes))


def _problem(tree: Tree, images: Mapping[str, str]) -> str:
    has_ms = bool(images.keys() - {_PAN})
    if _PAN in images and has_ms:
        return ""
    lacking = "multispectral product found" if not has_ms else "PAN product found"
    found = ", ".join(images.values()) or "texts only"
    return (
        f"a delivery must hold PAN and MS of one component, got {found} and no {lacking} in {tree.root}; "
        "copy the missing po_ files beside them, or pass the images with `pan=` and `ms=`"
    )


def _choose(images: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the codes of the MS files to take, and their roles: all four bands if there are, whatever the files."""
    for code in ("bgrn", "msi"):
        if code in images:
            return (code,), _STACKED[code]
    single = tuple(code for code in _SINGLE if code in images)
    if "rgb" in images and len(single) < len(_STACKED["rgb"]):
        return ("rgb",), _STACKED["rgb"]
    return single, tuple(_SINGLE[code] for code in single)


def _check_bands(path: str, expected: int) -> None:
    count = inspect(path).n_band
    if count != expected:
        msg = f"an image must have the bands its name says ({expected}), got {count} in {path}"
        raise ProductError(f"{msg}; pass the images with `pan=`, `ms=` and `bands=`")


def _read_metadata(tree: Tree, plan: Plan) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the values by lower-case key, and a warning where there are none."""
    raw = tree.read(plan.metadata) if plan.metadata is not None else b""
    values = parse_lines(decode(raw, source=f"{tree.root}/{plan.metadata}"))
    if not values:
        what = f"{plan.metadata} is empty" if plan.metadata else "there is no po_..._metadata.txt"
        return {}, (f"{what}: satellite, time and angles are not known",)
    return {key.lower(): value for key, value in values.items()}, ()


def _check_is_bundle(tree: Tree, plan: Plan, values: Mapping[str, str]) -> None:
    for key in ("image type", "product type", "multispectral algorithm"):
        if _SHARPENED.search(values.get(key, "")):
            msg = (
                f"the input must not be pan-sharpened, got {key} {values[key]!r} in {tree.root}/{plan.metadata}; "
                "pass the bundle it was made from"
            )
            raise ProductError(msg)


def _platform(values: Mapping[str, str]) -> str | None:
    name = values.get("sensor name") or values.get("sensor")
    return next((code for word, code in _PLATFORMS.items() if name and name.lower().startswith(word)), name)


def _find_sensor(platform: str | None, roles: tuple[str, ...]) -> tuple[Sensor | None, tuple[str, ...]]:
    if platform is None:
        return None, ()
    try:
        return find_sensor(platform).select(roles), ()
    except ArgumentError as error:
        return None, (f"no sensor facts for {platform}: {error}",)


def _read_rpc(tree: Tree, name: str | None) -> Rpc | None:
    raw = tree.read(name) if name is not None else b""
    source = f"{tree.root}/{name}"
    return read_rpc_text(decode(raw, source=source), source=source) if raw.strip() else None


def _cloud(values: Mapping[str, str]) -> tuple[float | None, tuple[str, ...]]:
    percent = number_of(values, "percent cloud cover")
    if percent is None or percent < 0:
        return None, ()
    if percent > _MOST_PERCENT:
        return None, (f"Percent Cloud Cover is {percent:g}: ignored",)
    return percent / _MOST_PERCENT, ()


def _bits(values: Mapping[str, str]) -> int | None:
    bits = number_of(values, "bits per pixel per band")
    return int(bits) if bits in {8, 11, 16} else None
