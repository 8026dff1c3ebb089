"""Opening a scene: find the files, read what they say, relate PAN and MS, and keep every decision.

The way is product (or plain pair, or stack), layers, placement of both layers on one grid, sensor. The convention that
could surprise: two rasters without any georeference are taken to cover the same ground only if their sizes are an
exact multiple.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import replace
from os import fspath
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import numpy as np

from ship_geo._typing import PathLike
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.products import PairFiles
from ship_geo.products.archives import Scratch
from ship_geo.products.discovery import Search, find_product
from ship_geo.products.layers import Layer, open_ms, open_pan
from ship_geo.products.members import is_text, shown
from ship_geo.products.names import find_platform, find_time
from ship_geo.products.pairs import (
    RASTER_SUFFIXES,
    find_pair,
    find_pair_among,
    has_pan_name,
    rasters_in,
    scene_name,
)
from ship_geo.products.product import Acquisition, LayerFiles, Product
from ship_geo.products.stacks import find_stack
from ship_geo.products.tree import is_archive, open_tree
from ship_geo.raster import RasterInfo, inspect, inspect_mosaic, is_remote, public_name
from ship_geo.rpc import Rpc
from ship_geo.scene.placement import Part, place
from ship_geo.scene.value import Scene
from ship_geo.sensors import Sensor, find_sensor

__all__ = ["SceneOptions", "fit_sensor", "open_scene"]

_RATIO_TOLERANCE = 0.02
_IGNORED_TAGS = frozenset({"AREA_OR_POINT", "METADATATYPE"})


class SceneOptions(TypedDict, total=False):
    """Keywords that say how a scene is to be opened; every verb that takes a source takes them.

    Attributes
    ----------
    product
        Part of the name of the product that is meant, where a delivery holds several.
    time
        Acquisition, ISO 8601, where the files do not tell it or are wrong.
    missing
        ``"raise"`` (default), or ``"mask"``: pixels of missing tiles are invalid.
    follow_links
        Whether files of a delivery may be links that leave it; False by default.
    scratch
        Folder for what must be unpacked of a ``.tar.gz``; by default that of the system for temporary files.
    max_unpacked
        Bytes that may be unpacked, 64 GiB by default.
    geometry
        ``"auto"``: as delivered, products with RPC only in the geometry of PAN; ``"sensor"``, the same, for these
        products only; ``"ortho"``: brought onto a map through the RPC models.
    dem
        For a geometry by RPC: height above the ellipsoid in m, or (``"ortho"``) path of a raster of heights. By default
        the mean height that the RPC model of PAN states.
    geoid
        Metres added to the heights of a DEM: 0 (default) where they are above the ellipsoid, the height of the geoid
        where they are above the sea.
    crs, resolution
        For ``"ortho"``: CRS (by default UTM) and PAN pixel size in its unit (by default about that of the image).
    ratio
        Original ratio of MS that was interpolated to the PAN grid.
    assume_aligned
        Whether a raster without CRS or georeference may be taken to cover the ground of the other; False by default.
    """

    product: str | None
    time: str | None
    missing: Literal["raise", "mask"]
    follow_links: bool
    scratch: PathLike | None
    max_unpacked: int
    geometry: Literal["auto", "sensor", "ortho"]
    dem: PathLike | float | None
    geoid: float
    crs: str | None
    resolution: float | None
    ratio: int | None
    assume_aligned: bool


def open_scene(
    source: PathLike | None = None,
    *,
    ms: PathLike | Sequence[PathLike] | None = None,
    pan: PathLike | None = None,
    sensor: str | Sensor | None = None,
    bands: Sequence[str] | None = None,
    **options: Unpack[SceneOptions],
) -> Scene:
    """Open what an operator delivered, or a PAN / MS pair.

    Parameters
    ----------
    source
        A delivery (folder, ``.tar``, ``.tar.gz``, ``.zip``) or any file of it; a folder or archive that holds exactly
        one pair, either file of a pair whose partner lies beside it, or one stacked file whose PAN band is described as
        such.
    ms, pan
        The pair instead of `source`; `ms` may be several files in band order. Given alone, the other one is searched.
    sensor
        Sensor or its name; by default from the metadata and file names, else a generic one.
    bands
        Roles of the MS bands in file order, where the files do not tell or are wrong.
    **options
        See `SceneOptions`.

    Returns
    -------
    Scene
        Checked, nothing read but metadata and samples.

    Raises
    ------
    ArgumentError
        When the arguments do not say one source, the sensor is unknown, or roles do not fit.
    ProductError
        When a file is missing, damaged or no raster, or the pair is ambiguous.
    GridError
        When the two grids do not fit each other.
    """
    check_options(options)
    given = find_sensor(sensor) if isinstance(sensor, str) else sensor
    product, scratch = _find(source, ms, pan, _search_of(options))
    return build_scene(product, scratch=scratch, sensor=given, bands=bands, options=options)


def build_scene(
    product: Product,
    *,
    scratch: Scratch | None = None,
    sensor: Sensor | None = None,
    bands: Sequence[str] | None = None,
    options: SceneOptions | None = None,
) -> Scene:
    """Make a scene of a product: look at its rasters, lay MS on PAN, and keep what was found.

    Parameters
    ----------
    product
        What a reader found.
    scratch
        Folder in which the product was unpacked.
    sensor, bands, options
        As in `open_scene`.

    Raises
    ------
    ProductError, GridError, ArgumentError
        As in `open_scene`.
    """
    chosen = options or SceneOptions()
    ms_infos, pan_info = _look(product)
    product, ms_infos, pan_info = _in_order(product, ms_infos, pan_info)
    tags = _merge_tags([pan_info, *ms_infos])
    names = [Path(public_name(path)).name for path in (*product.pan.paths, *product.ms.paths)]
    found = sensor or product.sensor or find_platform(names, tags)
    ms_layer, ms_notes = open_ms(
        ms_infos,
        pan_band=product.pan_band,
        sensor=found,
        bands=bands,
        known=product.ms,
        ratio=chosen.get("ratio"),
        pan=pan_info.grid,
    )
    pan_layer, pan_notes = open_pan(pan_info, pan_band=product.pan_band, known=product.pan)
    ms_part = Part(ms_layer, ms_infos[0], _rpc_of(product.ms, ms_infos[0]))
    placing = place(ms_part, Part(pan_layer, pan_info, _rpc_of(product.pan, pan_info)), chosen)
    fitted, sensor_notes = fit_sensor(found, ms_layer, is_given=sensor is not None)
    scene = Scene(
        ms=placing.ms,
        pan=placing.pan,
        sensor=_with_bits(fitted, product.acquisition.bits),
        acquisition=replace(
            product.acquisition, time=chosen.get("time") or product.acquisition.time or find_time(names)
        ),
        family=product.family,
        geometry=placing.geometry,
        heights=placing.heights,
        rpc=placing.rpc,
        calibration=product.calibration,
        uncalibrated=product.uncalibrated,
        tags=tags,
        notes=(*product.notes, *ms_notes, *pan_notes, *placing.notes, *sensor_notes),
        warnings=(*product.warnings, *placing.warnings, *_contradiction(product.sensor, sensor)),
        name=product.name,
        scratch=scratch,
    )
    return _checked(scene)


def _contradiction(told: Sensor | None, given: Sensor | None) -> tuple[str, ...]:
    """Tell where a sensor was given that is not the one of the metadata."""
    if told is None or given is None or told.title == given.title:
        return ()
    return (f"the metadata say {told.title}: its calibration holds, bands and MTF gains are those of {given.title}",)


def _rpc_of(layer: LayerFiles, info: RasterInfo) -> Rpc | None:
    """Return the model of the product, else that of the file."""
    if layer.rpc is not None or not info.rpc:
        return layer.rpc
    return Rpc.from_tags(info.rpc, source=info.path)


def check_options(options: SceneOptions) -> None:
    """Refuse options that mean nothing.

    Raises
    ------
    ArgumentError
        When an option is unknown or has an unknown value.
    """
    unknown = sorted(set(options) - set(SceneOptions.__annotations__))
    if unknown:
        msg = f"unknown arguments, got {', '.join(unknown)}; known are {', '.join(SceneOptions.__annotations__)}"
        raise TypeError(msg)
    for name, legal in (("geometry", ("auto", "sensor", "ortho")), ("missing", ("raise", "mask"))):
        value = options.get(name, legal[0])
        if value not in legal:
            msg = f"`{name}` must be one of {', '.join(legal)}, got {value!r}; choose one of them"
            raise ArgumentError(msg)
    for name, height in (("dem", options.get("dem")), ("geoid", options.get("geoid"))):
        if isinstance(height, int | float) and not math.isfinite(height):
            msg = f"`{name}` must be a finite number of metres, got {height}; state the height, or leave it out"
            raise ArgumentError(msg)
    _check_time(options.get("time"))


def _check_time(time: str | None) -> None:
    try:
        if time is not None:
            dt.datetime.fromisoformat(time.strip())
    except ValueError as error:
        msg = f"a time must be ISO 8601, got {time!r}; write it like 2024-05-01T10:30:00Z"
        raise ArgumentError(msg) from error


def _search_of(options: SceneOptions) -> Search:
    scratch = options.get("scratch")
    default = Search()
    return Search(
        product=options.get("product"),
        missing=options.get("missing", default.missing),
        follow_links=options.get("follow_links", default.follow_links),
        scratch=None if scratch is None else Path(scratch),
        max_unpacked=options.get("max_unpacked", default.max_unpacked),
    )


def _find(
    source: PathLike | None, ms: PathLike | Sequence[PathLike] | None, pan: PathLike | None, search: Search
) -> tuple[Product, Scratch | None]:
    ms_paths = _as_paths(ms)
    if (source is None) == (ms is None and pan is None):
        given = f"source={source!r}, ms={ms!r}, pan={pan!r}"
        msg = f"a scene needs one source, got {given}; pass `source`, or `ms` and `pan`"
        raise ArgumentError(msg)
    paths = [fspath(source)] if source is not None else [*ms_paths, *([] if pan is None else [fspath(pan)])]
    if paths and not any(map(is_remote, paths)) and all(Path(path).exists() for path in paths):
        found = find_product([Path(path) for path in paths], search)
        if found is not None:
            return found
        if is_archive(paths[0]):
            return _find_in_archive(paths[0], search)
    files = _find_files(source, ms_paths, pan)
    return _require_name(_as_product(files), search.product), None


def _find_in_archive(path: str, search: Search) -> tuple[Product, Scratch | None]:
    """Return the plain pair, or the stack, that an archive holds."""
    tree = open_tree(path, scratch=search.scratch, max_unpacked=search.max_unpacked)
    rasters = [Path(tree.path(name)) for name in tree.names if Path(name).suffix.lower() in RASTER_SUFFIXES]
    pair = find_pair_among(rasters, tree.root)
    files = pair or _require_stack(str(rasters[0]), "it is alone in the archive")
    return _require_name(_as_product(files), search.product), tree.scratch


def _find_files(source: PathLike | None, ms_paths: tuple[str, ...], pan: PathLike | None) -> PairFiles:
    if source is not None:
        return _search_pair(fspath(source))
    if pan is not None and ms_paths:
        return PairFiles(ms_paths, fspath(pan))
    if pan is None and len(ms_paths) != 1:
        msg = f"the partner is searched for one MS file, got {len(ms_paths)}; pass `pan`, too"
        raise ArgumentError(msg)
    return _search_pair(fspath(pan) if pan is not None else ms_paths[0])


def _as_product(files: PairFiles) -> Product:
    return Product(
        name=scene_name(public_name(files.pan)),
        family="pair" if files.pan_band is None else "stack",
        ms=LayerFiles(files.ms),
        pan=LayerFiles((files.pan,)),
        pan_band=files.pan_band,
        notes=files.notes,
    )


def _require_name(found: Product, product: str | None) -> Product:
    """Refuse a plain pair that is not the product asked for."""
    if product is not None and product.lower() not in found.name.lower():
        msg = f"`product` must name one of the products, got {product!r} and {found.name}; pass a part of a name"
        raise ProductError(msg)
    return found


def _as_paths(ms: PathLike | Sequence[PathLike] | None) -> tuple[str, ...]:
    if ms is None:
        return ()
    # A str is a sequence, too, but one path.
    return (fspath(ms),) if isinstance(ms, str) or not isinstance(ms, Sequence) else tuple(fspath(path) for path in ms)


def _search_pair(source: str) -> PairFiles:
    if is_remote(source):
        return _require_stack(source, "no partner is searched on remote file systems")
    path = Path(source)
    if not path.exists():
        msg = f"the source must exist, got {path}; check the path"
        raise ProductError(msg)
    pair = find_pair(path)
    if pair is not None:
        return pair
    if path.is_dir():
        (path,) = rasters_in(path)
    looked = f"no {'MS' if has_pan_name(path) else 'PAN'} partner lies beside it"
    return _require_stack(str(path), looked)


def _require_stack(path: str, looked: str) -> PairFiles:
    stack = find_stack(inspect(path))
    if stack is None:
        msg = (
            f"one file must have a partner named like it (X_PAN / X_MS) or be a stack with a band described as 'pan', "
            f"got {public_name(path)} ({looked}); pass both files with `pan=` and `ms=`"
        )
        raise ProductError(msg)
    return stack


def _look(product: Product) -> tuple[list[RasterInfo], RasterInfo]:
    ms, pan = ([_inspect(layer, path) for path in layer.paths] for layer in (product.ms, product.pan))
    return ms, pan[0]


def _inspect(layer: LayerFiles, path: str) -> RasterInfo:
    if not is_text(path):
        msg = f"names of files must be UTF-8, got {shown(path)}; rename the file or its folder"
        raise ProductError(msg)
    return inspect_mosaic(path, layer.tiles, layer.shape or (1, 1)) if layer.tiles else inspect(path)


def _in_order(
    product: Product, ms_infos: list[RasterInfo], pan_info: RasterInfo
) -> tuple[Product, list[RasterInfo], RasterInfo]:
    """Exchange a plain pair that was passed the wrong way round: PAN has one band, MS several."""
    is_swapped = len(ms_infos) == 1 and ms_infos[0].n_band == 1 and pan_info.n_band > 1
    if product.family != "pair" or not is_swapped:
        return product, ms_infos, pan_info
    told = "MS and PAN were exchanged: PAN is the file with one band"
    warnings = (*product.warnings, told)
    turned = replace(product, ms=product.pan, pan=product.ms, name=scene_name(product.ms.paths[0]), warnings=warnings)
    return turned, [pan_info], ms_infos[0]


def _merge_tags(infos: Sequence[RasterInfo]) -> dict[str, str]:
    return {key: value for info in infos for key, value in info.tags.items() if key not in _IGNORED_TAGS}


def fit_sensor(sensor: Sensor | None, ms: Layer, *, is_given: bool) -> tuple[Sensor, tuple[str, ...]]:
    """Return a sensor with exactly the bands of an MS layer, generic where none is known, and what was assumed.

    Raises
    ------
    ArgumentError
        When a sensor was given and the bands are not its own.
    """
    generic = Sensor.generic(ms.roles, bits=8 if np.dtype(ms.dtype).itemsize == 1 else 16)
    if sensor is None:
        return generic, ("the sensor is not known: MTF gains are defaults",)
    if set(ms.roles) <= set(sensor.roles):
        return sensor.select(ms.roles), ()
    if is_given and set(ms.roles) & set(sensor.roles):
        sensor.select(ms.roles)  # raises: some bands are known, and they are not this sensor's
    if is_given:
        msg = (
            f"the MS bands must be bands of {sensor.title} ({', '.join(sensor.roles)}), got {', '.join(ms.roles)}; "
            "name them with `bands=`"
        )
        raise ArgumentError(msg)
    return generic, (f"the names suggest {sensor.title}, whose bands do not fit: MTF gains are defaults",)


def _with_time(acquisition: Acquisition, given: str | None, names: Sequence[str]) -> Acquisition:
    return replace(acquisition, time=given or acquisition.time or find_time(names))


def _with_bits(sensor: Sensor, bits: int | None) -> Sensor:
    return sensor if bits is None else replace(sensor, bits=bits)


def _checked(scene: Scene) -> Scene:
    ratio, nominal = scene.pair.ratio, scene.sensor.ratio
    notes, warnings = list(scene.notes), list(scene.warnings)
    is_generic = not scene.sensor.platform_ids
    if not is_generic and max(abs(value / nominal - 1) for value in ratio) > _RATIO_TOLERANCE:
        warnings.append(
            f"the ratio {ratio[0]:.4g} is unusual for {scene.sensor.title}, whose products have {nominal:g}"
        )
    if scene.ms.dtype != scene.pan.dtype:
        notes.append(f"MS is {scene.ms.dtype} and PAN {scene.pan.dtype}: the output is {scene.ms.dtype}")
    return replace(scene, notes=tuple(notes), warnings=tuple(warnings))
