"""One layer of a scene, PAN or MS: its bands, grid and validity rule, decided once from tags and a sample of pixels.

Tags of real files are often wrong or missing, so that about 25 small samples spread over the layer (all of a small one)
are looked at, too: a constant band is an alpha and no measurement, an untagged 0 in all bands of whole areas is nodata,
and equal blocks of pixels are replicated MS. Whatever the sample decides is kept in the `Layer` and told in its notes;
reads never decide anew. Not for relating two layers: see `ship_geo.scene`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from affine import Affine

from ship_geo.errors import ArgumentError, GridError, ProductError
from ship_geo.grids import Grid
from ship_geo.products.product import LayerFiles
from ship_geo.products.roles import find_roles
from ship_geo.products.stacks import Lattice, centre_lattice, find_lattice
from ship_geo.raster import BandRef, RasterInfo, RasterReader, Tile, Values, Warp, to_dtype
from ship_geo.sensors import Sensor

_SAMPLE_SIZE = 128
_SAMPLES_PER_AXIS = 5
_FILL_SHARE = 0.001
_SAME_SIZE = 1e-6

_Samples = list[tuple[int, int, Values]]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Layer:
    """PAN or MS of a scene.

    Attributes
    ----------
    files
        The bands, in order.
    grid
        Of the pixels that are read; coarser than the file's where MS was replicated.
    dtype
        NumPy name of the data type.
    nodata
        Value that marks invalid pixels, tagged or inferred; None where every finite value is valid.
        Zero or positive: where all bands have it; negative: where any band has it.
    roles
        Per band: role, or ``band1``, ``band2`` ... where it is not known.
    descriptions, colours
        Per band: description and colour interpretation of the file.
    mask
        Whether masks or alpha bands of the files mark invalid pixels, too.
    scales, offsets
        Per band: how values become physical, as tagged.
    step, origin, pool
        Pixel (row, col) is file pixel ``origin + step * (row, col)``, or the mean of `pool` (row, col) pixels from it.
    tiles
        Files of a mosaic, whose index file then stands in `files`; empty for plain rasters.
    warp
        How the files are brought onto `grid` as they are read; None: they lie on it.
    files_shape
        Rows and columns of the files, where they are warped.
    """

    files: tuple[BandRef, ...]
    grid: Grid
    dtype: str
    nodata: float | None
    roles: tuple[str, ...]
    descriptions: tuple[str, ...]
    mask: bool = False
    colours: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    step: tuple[int, int] = (1, 1)
    origin: tuple[int, int] = (0, 0)
    pool: tuple[int, int] = (1, 1)
    tiles: tuple[Tile, ...] = ()
    warp: Warp | None = None
    files_shape: tuple[int, int] | None = None

    @property
    def n_band(self) -> int:
        """Number of bands."""
        return len(self.files)

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the rasters, each once, in the order of their first band or tile."""
        return tuple(dict.fromkeys(part.path for part in (self.tiles or self.files)))

    def open(self) -> RasterReader:
        """Return a reader of this layer; no file is opened before the first read."""
        return RasterReader(
            self.files,
            self.grid.shape,
            nodata=self.nodata,
            has_mask=self.mask,
            step=self.step,
            origin=self.origin,
            pool=self.pool,
            tiles=self.tiles,
            warp=self.warp,
            files_shape=self.files_shape,
        )

    def warped(self, warp: Warp) -> Layer:
        """Return the layer on the target grid of a warp.

        Raises
        ------
        GridError
            When the layer is replicated: its native pixels cannot be warped.
        """
        if self.step != (1, 1):
            msg = f"a replicated layer cannot be warped, got {self.files[0].path}; write its native pixels to a file"
            raise GridError(msg)
        return replace(self, grid=warp.target, warp=warp, files_shape=self.files_shape or self.grid.shape)

    def select(self, places: Sequence[int]) -> Layer:
        """Return the layer with these bands only, given by their positions from 0."""

        def pick(values: tuple[_T, ...]) -> tuple[_T, ...]:
            return tuple(values[i] for i in places)

        return replace(  # every field that has a value per band
            self,
            files=pick(self.files),
            roles=pick(self.roles),
            descriptions=pick(self.descriptions),
            colours=pick(self.colours),
            scales=pick(self.scales),
            offsets=pick(self.offsets),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the layer as values that JSON can hold; `from_dict` is the inverse."""
        plan = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plan["files"] = [[ref.path, ref.band] for ref in self.files]
        plan["warp"] = None if self.warp is None else self.warp.to_dict()
        plan["tiles"] = [[tile.path, tile.row, tile.col, list(tile.shape)] for tile in self.tiles]
        plan["grid"] = {
            "shape": list(self.grid.shape),
            "transform": list(self.grid.transform[:6]),
            "crs": self.grid.crs,
        }
        if self.nodata is not None and not np.isfinite(self.nodata):
            plan["nodata"] = str(self.nodata)  # JSON has no NaN
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plan.items()}

    @classmethod
    def from_dict(cls, plan: Mapping[str, Any]) -> Layer:
        """Return the layer that `to_dict` wrote; no file is opened."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in plan.items()
        }
        grid = plan["grid"]
        fields["files"] = tuple(BandRef(path, band) for path, band in plan["files"])
        fields["tiles"] = tuple(Tile(path, row, col, tuple(shape)) for path, row, col, shape in plan["tiles"])
        fields["warp"] = None if plan["warp"] is None else Warp.from_dict(plan["warp"])
        fields["grid"] = Grid((grid["shape"][0], grid["shape"][1]), Affine(*grid["transform"]), grid["crs"])
        fields["nodata"] = None if plan["nodata"] is None else float(plan["nodata"])
        return cls(**fields)


def open_ms(
    infos: Sequence[RasterInfo],
    *,
    pan_band: int | None = None,
    sensor: Sensor | None = None,
    bands: Sequence[str] | None = None,
    known: LayerFiles | None = None,
    ratio: int | None = None,
    pan: Grid | None = None,
) -> tuple[Layer, tuple[str, ...]]:
    """Make the MS layer of one file or several.

    Parameters
    ----------
    infos
        The files in band order.
    pan_band
        Band of the only file that is PAN and therefore left out.
    sensor
        Sensor, given or found; gives roles to numbered bands, and to unnamed ones in its file order.
    bands
        Roles of all bands, which override what the files say.
    known
        What the metadata of a product say of the layer; its roles and nodata rule then hold.
    ratio
        Original ratio of MS that was interpolated to the PAN grid; None where it was not.
    pan
        Grid of the PAN file, for `ratio`; not needed for a stack.

    Returns
    -------
    layer
        The layer.
    notes
        What was decided from the sample, and what is odd.

    Raises
    ------
    ProductError
        When the files differ in grid, data type or nodata.
    ArgumentError
        When `bands` does not name every band once, or `ratio` is given for MS that cannot be of it.
    """
    layer = _join(infos, pan_band)
    if known is not None and known.bands is not None:
        layer = layer.select([number - 1 for number in known.bands])
    samples = _sample(layer.open())
    is_named = known is not None and known.roles is not None
    layer, alpha_notes = (_with_mask(layer, infos), ()) if is_named else _drop_alpha(layer, infos, samples)
    layer = _with_rule(layer, known)
    layer, fill_notes = _infer_nodata(layer, "MS", samples)
    layer, lattice_notes = _at_native_size(
        layer, find_lattice(samples), ratio, layer.grid if pan_band is not None else pan
    )
    if known is not None and known.roles is not None and bands is None:
        return replace(layer, roles=_checked_roles(layer, known.roles)), (*fill_notes, *lattice_notes)
    roles, role_notes = find_roles(layer.files, layer.descriptions, layer.colours, sensor=sensor, bands=bands)
    return replace(layer, roles=roles), (*alpha_notes, *fill_notes, *lattice_notes, *role_notes)


def open_pan(
    info: RasterInfo, *, pan_band: int | None = None, known: LayerFiles | None = None
) -> tuple[Layer, tuple[str, ...]]:
    """Make the PAN layer of a file with one band (an alpha apart), or of one band of a stack.

    Returns
    -------
    layer
        The layer.
    notes
        What was decided from the sample, and what is odd.

    Raises
    ------
    ProductError
        When several bands could be PAN.
    """
    layer = _join([info], None)
    samples = _sample(layer.open())
    layer, alpha_notes = (layer, ()) if pan_band is not None else _drop_alpha(layer, [info], samples)
    if pan_band is not None:
        layer, samples = layer.select([pan_band - 1]), _pick(samples, [pan_band - 1])
    if layer.n_band != 1:
        msg = (
            f"PAN must have one band, got {layer.n_band} in {info.path}; pass the panchromatic file with `pan=`, "
            "or describe the PAN band of a stack as 'pan'"
        )
        raise ProductError(msg)
    layer, fill_notes = _infer_nodata(_with_rule(layer, known), "PAN", samples)
    return replace(layer, roles=("pan",)), (*alpha_notes, *fill_notes)


def _join(infos: Sequence[RasterInfo], left_out: int | None) -> Layer:
    first = infos[0]
    for info in infos[1:]:
        if info.grid != first.grid or info.dtype != first.dtype:
            msg = (
                f"all MS files must have one grid and data type, got {first.dtype} {first.grid.shape} in {first.path} "
                f"and {info.dtype} {info.grid.shape} in {info.path}; pass bands of one resolution and one product"
            )
            raise ProductError(msg)
    kept = [(info, i) for info in infos for i in range(info.n_band) if i + 1 != left_out]
    return Layer(
        files=tuple(BandRef(info.path, i + 1) for info, i in kept),
        grid=first.grid,
        dtype=first.dtype,
        nodata=_common_nodata(infos),
        roles=tuple(f"band{number}" for number in range(1, len(kept) + 1)),
        descriptions=tuple(info.descriptions[i] for info, i in kept),
        colours=tuple(info.colours[i] for info, i in kept),
        scales=tuple(info.scales[i] for info, i in kept),
        offsets=tuple(info.offsets[i] for info, i in kept),
        tiles=first.tiles,
    )


def _with_mask(layer: Layer, infos: Sequence[RasterInfo]) -> Layer:
    return replace(layer, mask=any(info.has_mask for info in infos))


def _with_rule(layer: Layer, known: LayerFiles | None) -> Layer:
    """Take the nodata rule of a product where the files carry no tag and no mask."""
    if known is None or known.nodata is None or layer.nodata is not None or layer.mask:
        return layer
    return replace(layer, nodata=known.nodata)


def _checked_roles(layer: Layer, roles: tuple[str, ...]) -> tuple[str, ...]:
    if len(roles) != layer.n_band:
        msg = (
            f"the metadata must list each band of the image, got {', '.join(roles)} for the {layer.n_band} bands of "
            f"{layer.files[0].path}; name the bands with `bands=`"
        )
        raise ProductError(msg)
    return roles


def _common_nodata(infos: Sequence[RasterInfo]) -> float | None:
    tagged = {info.nodata for info in infos if info.nodata is not None and not np.isnan(info.nodata)}
    if len(tagged) > 1:
        msg = f"all MS files must share one nodata value, got {sorted(tagged)}; retag them with gdal_edit.py -a_nodata"
        raise ProductError(msg)
    if tagged:
        return tagged.pop()
    return next((info.nodata for info in infos if info.nodata is not None), None)


def _sample(reader: RasterReader) -> _Samples:
    with reader:
        return [
            (row, col, reader.read(row, min(row + _SAMPLE_SIZE, n_row), col, min(col + _SAMPLE_SIZE, n_col))[0])
            for n_row, n_col in [reader.shape]
            for row in _sample_starts(n_row)
            for col in _sample_starts(n_col)
        ]


def _sample_starts(length: int) -> list[int]:
    if length <= _SAMPLE_SIZE * _SAMPLES_PER_AXIS:
        return list(range(0, length, _SAMPLE_SIZE))
    return [int(start) for start in np.linspace(0, length - _SAMPLE_SIZE, _SAMPLES_PER_AXIS)]


def _pick(samples: _Samples, places: Sequence[int]) -> _Samples:
    return [(row, col, values[list(places)]) for row, col, values in samples]


def _drop_alpha(layer: Layer, infos: Sequence[RasterInfo], samples: _Samples) -> tuple[Layer, tuple[str, ...]]:
    called_alpha = {BandRef(info.path, info.alpha) for info in infos if info.alpha is not None}
    is_alpha = [_is_alpha(samples, i) for i in range(layer.n_band)]
    notes = []
    for ref, drops in zip(layer.files, is_alpha, strict=True):
        name = f"band {ref.band} of {Path(ref.path).name}"
        if drops:
            notes.append(f"{name} holds 0 or its maximum only: taken for an alpha band and left out")
        elif ref in called_alpha:
            notes.append(f"{name} is called alpha but holds measurements: kept as a band, not used as a mask")
    kept = [i for i, drops in enumerate(is_alpha) if not drops]
    samples[:] = _pick(samples, kept)
    false_alpha = called_alpha & {layer.files[i] for i in kept}
    has_mask = any(info.has_mask for info in infos) and not false_alpha
    return replace(layer.select(kept), mask=has_mask), tuple(notes)


def _is_alpha(samples: _Samples, band: int) -> bool:
    """Whether a band is 0 or full only, and 0 only where all others are 0, while some other band varies."""
    dtype = samples[0][2].dtype
    tops = {255, np.iinfo(dtype).max} if dtype.kind in "ui" else {1, 255}
    found: set[float] = set()
    varies = False
    for _, _, values in samples:
        own, others = values[band], np.delete(values, band, axis=0)
        found.update(np.unique(own).tolist())
        if len(found - {0}) > 1 or others[:, own == 0].any():
            return False
        varies |= bool((others != others[:, :1, :1]).any())
    return varies and len(found - {0}) == 1 and (found - {0}) <= tops


def _infer_nodata(layer: Layer, kind: str, samples: _Samples) -> tuple[Layer, tuple[str, ...]]:
    if layer.nodata is not None:
        is_held = np.isnan(layer.nodata) or to_dtype(layer.nodata, layer.dtype) is not None
        note = f"{kind} nodata is tagged as {layer.nodata:g}, which {layer.dtype} cannot hold: ignored"
        return (layer, ()) if is_held else (replace(layer, nodata=None), (note,))
    if layer.mask or np.dtype(layer.dtype).kind == "f" or any((values < 0).any() for _, _, values in samples):
        return layer, ()  # where values go below 0, 0 is one of them
    n_fill = sum(int((values == 0).all(axis=0).sum()) for _, _, values in samples)
    share = n_fill / sum(values[0].size for _, _, values in samples)
    if share <= _FILL_SHARE:
        return layer, ()
    where = "all bands are 0" if layer.n_band > 1 else "it is 0"
    note = f"{kind} has no nodata tag and {share:.1%} of a sample is 0: nodata where {where}"
    return replace(layer, nodata=0.0), (note,)


def _at_native_size(
    layer: Layer, lattice: Lattice, ratio: int | None, pan: Grid | None
) -> tuple[Layer, tuple[str, ...]]:
    if ratio is not None:
        lattice = _stated_lattice(layer, lattice, ratio, pan)
    shape = lattice.count(layer.grid.shape)
    if lattice.is_trivial or min(shape) < 1:
        return layer, ()
    rows, cols = lattice.step
    corner = layer.grid.crop(lattice.origin[0], layer.grid.shape[0], lattice.origin[1], layer.grid.shape[1])
    a, b, c, d, e, f = corner.transform[:6]
    grid = Grid(shape, Affine(a * cols, b * rows, c, d * cols, e * rows, f), layer.grid.crs)
    note = f"MS is replicated: every block of {rows} x {cols} pixels is equal, one of each is read"
    if (lattice.inset, lattice.pool) != ((0, 0), (1, 1)):
        note = f"MS was interpolated at ratio {rows}, as stated: values at the centres of its own pixels are read"
    first = lattice.origin[0] + lattice.inset[0], lattice.origin[1] + lattice.inset[1]
    return replace(layer, grid=grid, step=lattice.step, origin=first, pool=lattice.pool), (note,)


def _stated_lattice(layer: Layer, found: Lattice, ratio: int, pan: Grid | None) -> Lattice:
    stated = centre_lattice(ratio)
    if not found.is_trivial:
        if found.step != stated.step:
            msg = (
                f"`ratio` must be that of the file, got {ratio} for {layer.files[0].path}, whose pixels are replicated "
                f"in blocks of {found.step[0]} x {found.step[1]}; leave it out"
            )
            raise ArgumentError(msg)
        return found
    own = layer.grid.resolution
    if pan is None or not np.allclose(own, pan.resolution, rtol=_SAME_SIZE, atol=0):
        seen = "no PAN" if pan is None else f"{pan.resolution[0]:g} (PAN)"
        msg = f"`ratio` is for MS on the PAN grid, got pixels of {own[0]:g} (MS) and {seen}; leave it out"
        raise ArgumentError(msg)
    if min(layer.grid.shape) < ratio:
        msg = f"MS must hold at least one block of {ratio} x {ratio} pixels, got {layer.grid.shape}; check `ratio`"
        raise ArgumentError(msg)
    return stated
