"""A scene for an index: what `open_scene` says of bands, grids, sensor and time, from headers and one small block.

`open_scene` looks at fifty samples of the pixels; they tell invalid values, alpha bands and replicated MS. For an index
one block of MS is enough as soon as it disproves the latter two; what it cannot disprove is left to `build_scene`, and
so is all that goes wrong, so that its words are the same. Not for reading: layers have no rule of validity here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ship_geo.errors import ShipGeoError
from ship_geo.products import PairFiles
from ship_geo.products.archives import Scratch
from ship_geo.products.layers import Layer
from ship_geo.products.names import find_platform, find_time
from ship_geo.products.pairs import scene_name
from ship_geo.products.product import LayerFiles, Product
from ship_geo.products.roles import find_roles
from ship_geo.raster import BandRef, RasterInfo, Values, inspect, inspect_mosaic
from ship_geo.rpc import Rpc
from ship_geo.scene import Scene, build_scene, fit_sensor
from ship_geo.scene.placement import Part, place
from ship_geo.sensors import Sensor

_BLOCK = 64  # pixels; rows of a raster in strips are read whole
_FEWEST_EDGES = 4  # fewer do not disprove that MS is replicated


def look(product: Product, scratch: Scratch | None = None) -> Scene:
    """Return what there is to say of a product.

    Parameters
    ----------
    product
        What a reader found.
    scratch
        Folder in which the product was unpacked.

    Returns
    -------
    Scene
        For its facts only: nodata, masks, notes and warnings may be missing.

    Raises
    ------
    ProductError, GridError, ArgumentError
        As `build_scene`.
    """
    try:
        scene = _glance(product)
    except ShipGeoError:
        scene = None
    return build_scene(product, scratch=scratch) if scene is None else scene


def pair_product(files: PairFiles) -> Product:
    """Return a plain pair as a product."""
    ms, pan = LayerFiles(files.ms), LayerFiles((files.pan,))
    return Product(name=scene_name(files.pan), family="pair", ms=ms, pan=pan, notes=files.notes)


def _glance(product: Product) -> Scene | None:
    """Return the scene; None where the pixels must be looked at."""
    ms_infos = [_inspect(product.ms, path) for path in product.ms.paths]
    pan_info = _inspect(product.pan, product.pan.paths[0])
    if product.pan_band is not None or pan_info.n_band != 1 or not _is_uniform(ms_infos):
        return None
    names = [Path(path).name for path in (*product.pan.paths, *product.ms.paths)]
    found = product.sensor or find_platform(names, _tags([pan_info, *ms_infos]))
    ms = _ms_layer(product.ms, ms_infos, found)
    if ms is None:
        return None
    pan = _layer([pan_info], ("pan",))
    _check_end(pan, pan_info)
    ms_part = Part(ms, ms_infos[0], _rpc_of(product.ms, ms_infos[0]))
    placing = place(ms_part, Part(pan, pan_info, _rpc_of(product.pan, pan_info)), {})
    return Scene(
        ms=placing.ms,
        pan=placing.pan,
        sensor=fit_sensor(found, ms, is_given=False)[0],
        acquisition=replace(product.acquisition, time=product.acquisition.time or find_time(names)),
        family=product.family,
        geometry=placing.geometry,
        heights=placing.heights,
        rpc=placing.rpc,
        name=product.name,
    )


def _inspect(layer: LayerFiles, path: str) -> RasterInfo:
    return inspect_mosaic(path, layer.tiles, layer.shape or (1, 1)) if layer.tiles else inspect(path)


def _is_uniform(infos: Sequence[RasterInfo]) -> bool:
    first = infos[0]
    return all((one.grid, one.dtype, one.nodata) == (first.grid, first.dtype, first.nodata) for one in infos[1:])


def _tags(infos: Sequence[RasterInfo]) -> dict[str, str]:
    return {key: value for info in infos for key, value in info.tags.items()}


def _rpc_of(layer: LayerFiles, info: RasterInfo) -> Rpc | None:
    if layer.rpc is not None or not info.rpc:
        return layer.rpc
    return Rpc.from_tags(info.rpc, source=info.path)


def _ms_layer(known: LayerFiles, infos: Sequence[RasterInfo], sensor: Sensor | None) -> Layer | None:
    """Return MS; None where it may be replicated or have an alpha band, or the metadata list other bands."""
    layer = _layer(infos, ())
    if known.bands is not None:
        layer = layer.select([number - 1 for number in known.bands])
    is_named = known.roles is not None
    block = _centre(layer.select([0]) if is_named else layer)  # bands are files: one shows what all would
    if not _is_native(block) or not (is_named or _is_measured(block)):
        return None
    _check_end(layer, infos[0])
    if known.roles is not None:
        return replace(layer, roles=known.roles) if len(known.roles) == layer.n_band else None
    return replace(layer, roles=find_roles(layer.files, layer.descriptions, layer.colours, sensor=sensor)[0])


def _layer(infos: Sequence[RasterInfo], roles: tuple[str, ...]) -> Layer:
    """Return the bands of some files of one grid; without roles they are numbered."""
    bands = [(info, i) for info in infos for i in range(info.n_band)]
    return Layer(
        files=tuple(BandRef(info.path, i + 1) for info, i in bands),
        grid=infos[0].grid,
        dtype=infos[0].dtype,
        nodata=None,
        roles=roles or tuple(f"band{number}" for number in range(1, len(bands) + 1)),
        descriptions=tuple(info.descriptions[i] for info, i in bands),
        colours=tuple(info.colours[i] for info, i in bands),
        scales=tuple(info.scales[i] for info, i in bands),
        offsets=tuple(info.offsets[i] for info, i in bands),
        tiles=infos[0].tiles,
    )


def _centre(layer: Layer) -> Values:
    n_row, n_col = layer.grid.shape
    row, col = max(0, (n_row - _BLOCK) // 2), max(0, (n_col - _BLOCK) // 2)
    with layer.open() as reader:
        return reader.read(row, min(row + _BLOCK, n_row), col, min(col + _BLOCK, n_col))[0]


def _check_end(layer: Layer, info: RasterInfo) -> None:
    """Read the last pixel of what is no TIFF: only for those `inspect` knows that nothing is missing."""
    if info.driver != "GTiff":
        n_row, n_col = layer.grid.shape
        with layer.open() as reader:
            reader.read(n_row - 1, n_row, n_col - 1, n_col)


def _is_native(values: Values) -> bool:
    """Whether the block proves that pixels are not replicated: three different rows, or columns, in a row."""
    rows = (values[:, 1:] != values[:, :-1]).any(axis=(0, 2))
    cols = (values[:, :, 1:] != values[:, :, :-1]).any(axis=(0, 1))
    return any(bool((edges[1:] & edges[:-1]).any() and edges.sum() >= _FEWEST_EDGES) for edges in (rows, cols))


def _is_measured(values: Values) -> bool:
    """Whether the block proves that no band is a mask: every band has two values besides 0."""
    return all(np.unique(band[band != 0]).size > 1 for band in values)
