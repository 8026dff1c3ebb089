"""GaoFen deliveries (GF-1, 1B, 1C, 1D, 2, 6, 7, and ZY-3 of the same form): two TIFFs, each with a flat XML and an RPB.

Products are known by their names, ``<satellite>_<sensor>_<E|W><lon>_<N|S><lat>_<date>_<level><id>-<layer>``, never by
what GDAL calls them: the ``.rpb`` beside the image makes it say DigitalGlobe. Layers are paired within one product and
one camera. Conventions that could surprise: a level 1 product has no map grid, only an RPC model, whose offsets are
taken to count pixels from 0; and 0 is no data though no tag says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ship_geo import calibration
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.products.gaofen_metadata import (
    number,
    off_nadir,
    places,
    read_tags,
    scene_gains,
    scene_time,
    solar_zenith,
    utm_epsg,
)
from ship_geo.products.gaofen_names import NAME, PASS_PAIR, LayerNames, Plan, classify, find_candidates
from ship_geo.products.product import Acquisition, Candidate, LayerFiles, OpenOptions, Product
from ship_geo.products.rpb import rpc_from_rpb
from ship_geo.products.texts import decode, parse_pvl
from ship_geo.raster import inspect
from ship_geo.sensors import Sensor, find_sensor

if TYPE_CHECKING:
    from ship_geo.products.tree import Tree
    from ship_geo.raster import RasterInfo
    from ship_geo.rpc import Rpc

__all__ = ["NAME", "match", "open", "root_of", "solar_zenith", "utm_epsg"]

ROLES = ("blue", "green", "red", "nir")

_TEN_BITS = frozenset({"GF1", "GF2"})


@dataclass(frozen=True)
class _Opened:
    """What the files of one layer hold."""

    files: LayerFiles
    info: RasterInfo
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def match(tree: Tree) -> tuple[Candidate, ...]:
    """Find the products of a tree by their names.

    Parameters
    ----------
    tree
        The delivery.

    Returns
    -------
    tuple of Candidate
        One for each pair, and one with a `problem` for each layer that has no partner.
    """
    return find_candidates(tree.names)


def open(  # noqa: A001
    tree: Tree,
    candidate: Candidate,
    options: OpenOptions,  # noqa: ARG001 (a layer is one file: nothing can be missing in part)
) -> Product:
    """Read the metadata of a product and the headers of its images.

    Parameters
    ----------
    tree
        The delivery.
    candidate
        One that `match` gave.
    options
        Not used: a layer is one file.

    Returns
    -------
    Product
        The note ``UTM zone from <source>: EPSG:<code>`` tells the map zone of a product that has an RPC model only.

    Raises
    ------
    ProductError
        When an image, an XML or an RPB is damaged, or the candidate has a problem.
    """
    if candidate.problem:
        raise ProductError(candidate.problem)
    plan: Plan = candidate.plan
    tags, pan_tags, warnings = _both_tags(tree, plan)
    known = places(tags, plan.place)
    time, pan_time = scene_time(tags, known), scene_time({**tags, **pan_tags}, known)
    ms = _open_layer(tree, plan.ms, tags, time.text, "ms")
    pan = _open_layer(tree, plan.pan, pan_tags, pan_time.text, "pan")
    acquisition = _acquisition(plan, tags, time.text)
    gains, reason, said = _calibrate(plan, tags, acquisition, ms.files.roles)
    zone = utm_epsg(tags, plan.place) if ms.info.grid.crs is None else None
    notes = [*ms.notes, *pan.notes, time.note, *said]
    notes += [f"UTM zone from {zone[1]}: EPSG:{zone[0]}"] if zone else []
    notes += [f"preview images are ignored: {plan.n_preview}"] if plan.n_preview else []
    odd = [*warnings, *ms.warnings, *pan.warnings, time.warning, pan_time.warning, *_name_warnings(plan, tags)]
    return Product(
        name=candidate.name,
        family=NAME,
        ms=ms.files,
        pan=pan.files,
        sensor=_find_sensor(acquisition.platform),
        acquisition=acquisition,
        calibration=gains,
        uncalibrated=reason,
        notes=_sentences(notes),
        warnings=_sentences(odd),
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
    file = classify(name)
    return None if file is None or file.kind == "archive" else 1


def _both_tags(tree: Tree, plan: Plan) -> tuple[dict[str, str], dict[str, str], tuple[str, ...]]:
    """Tags of MS and of PAN; where MS has no XML, those of PAN that hold for the scene serve both."""
    tags, odd = read_tags(tree, plan.ms.xml)
    pan_tags, pan_odd = read_tags(tree, plan.pan.xml)
    warnings = [*odd, *pan_odd]
    if not tags and pan_tags:
        own = {"AbsCeof", "Bands", "ImageGSD", "WidthInPixels", "HeightInPixels"}
        tags = {key: value for key, value in pan_tags.items() if key not in own}
        warnings.append(f"{plan.ms.image} has no XML of its own; that of {plan.pan.layer} is used")
    elif not tags:
        warnings.append(f"{plan.base} has no XML; only its name tells of it")
    return tags, pan_tags, tuple(warnings)


def _open_layer(tree: Tree, names: LayerNames, tags: Mapping[str, str], time: str | None, kind: str) -> _Opened:
    path = tree.path(names.image)
    rpc = None if names.rpb is None else _read_rpc(tree, names.rpb)  # first: GDAL reads it, too, and says less
    info = inspect(path)
    _check_bands(info, names.image, kind)
    notes, warnings = [], []
    if info.grid.crs is not None:
        notes += [f"{names.rpb} is ignored: the image is on a map grid"] if rpc else []
        rpc = None
    elif rpc is None:
        warnings.append(f"{names.image} has no RPB, so its place on the ground is not known")
    else:
        notes.append("RPC offsets are taken to count pixels from 0")
    stated = number(tags, "HeightInPixels"), number(tags, "WidthInPixels")
    if None not in stated and stated != info.grid.shape:
        rows, cols = info.grid.shape
        warnings.append(f"{names.image} has {rows} x {cols} pixels, its XML says {stated[0]:g} x {stated[1]:g}")
    roles = None
    if kind == "ms" and info.n_band == len(ROLES):
        roles = ROLES
    elif kind == "ms":
        warnings.append(f"{names.image} has {info.n_band} bands in place of {len(ROLES)}; their roles are not known")
    return _Opened(LayerFiles((path,), roles=roles, nodata=0, rpc=rpc, time=time), info, tuple(notes), tuple(warnings))


def _read_rpc(tree: Tree, name: str) -> Rpc:
    return rpc_from_rpb(parse_pvl(decode(tree.read(name), source=name), source=name), source=name)


def _check_bands(info: RasterInfo, name: str, kind: str) -> None:
    if (info.n_band == 1) != (kind == "pan"):
        rule = "PAN must have one band" if kind == "pan" else "MS must have several bands"
        raise ProductError(f"{rule}, got {info.n_band} in {name}; fetch the delivery again, {PASS_PAIR}")


def _acquisition(plan: Plan, tags: Mapping[str, str], time: str | None) -> Acquisition:
    cloud, zenith = number(tags, "CloudPercent"), number(tags, "SolarZenith")
    platform = tags.get("SatelliteID", plan.satellite)
    date = f"{plan.date[:4]}-{plan.date[4:6]}-{plan.date[6:]}"
    return Acquisition(
        platform=platform,
        product_id=plan.base,
        level=tags.get("ProductLevel", plan.level),
        time=time or date,
        cloud=cloud / 100 if cloud is not None and 0 <= cloud <= 100 else None,  # noqa: PLR2004
        sun_azimuth=number(tags, "SolarAzimuth"),
        sun_elevation=None if zenith is None else round(90.0 - zenith, 6),
        view_azimuth=number(tags, "SatelliteAzimuth"),
        off_nadir=off_nadir(tags),
        bits=10 if _plain(platform) in _TEN_BITS else None,
    )


def _calibrate(
    plan: Plan, tags: Mapping[str, str], acquisition: Acquisition, roles: tuple[str, ...] | None
) -> tuple[calibration.Calibration | None, str, tuple[str, ...]]:
    if roles is None:
        return None, "the roles of the bands are not known, so no coefficients can be given to them", ()
    return calibration.gaofen(
        _plain(acquisition.platform or plan.satellite),
        tags.get("SensorID", plan.sensor),
        roles,
        acquisition.time,
        scene_gains(tags),
        number(tags, "SolarZenith"),
        acquisition.time,
    )


def _name_warnings(plan: Plan, tags: Mapping[str, str]) -> list[str]:
    said = {"SatelliteID": plan.satellite, "SensorID": plan.sensor}
    return [
        f"{plan.base} is {own} by its name, but its XML says {key} {tags[key]}, which is believed"
        for key, own in said.items()
        if key in tags and _plain(tags[key]) != _plain(own)
    ]


def _find_sensor(platform: str | None) -> Sensor | None:
    with suppress(ArgumentError):
        return find_sensor(_plain(platform or ""))
    return None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).upper()


def _sentences(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))
