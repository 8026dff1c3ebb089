"""The images of an assessment as things that read blocks: files by windows, lazy arrays by whole rows of chunks.

Knows where images must lie, not what is measured. Two conventions could surprise. MS beyond the output grid is used
where the file has it, as in sharpening, but PAN and the judged images end with the output. And arrays that together
take no more than `HELD_BYTES` are computed in one go, so that what they share is computed once; larger ones are
computed chunk row by chunk row, which bounds memory by the width of the scene.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import fspath
from typing import Any

import dask.array as da
import numpy as np
import torch
import xarray as xr
from dask.base import compute
from numpy.typing import NDArray

from ship_geo._typing import Box, PathLike
from ship_geo.array_pair import ArrayPair, Image, read_image
from ship_geo.data.reader import MARGIN, BlockSource, FilePairReader, PairReader, PairSample, read_pair
from ship_geo.errors import ArgumentError
from ship_geo.grids import Grid, GridPair, brief_crs, is_same_crs
from ship_geo.ops.masks import ms_mask_on_pan
from ship_geo.provenance import run_tags
from ship_geo.raster import BandRef, RasterReader, find_valid, inspect, public_name
from ship_geo.scene import Scene

HELD_BYTES = 256 * 2**20
"""Arrays of an assessment that together take no more are computed at once."""

_TOLERANCE = 1e-3  # pixels

Raster = xr.DataArray | xr.Dataset


class ArraySource:
    """Reads blocks of a (band, row, col) array; of a lazy one it keeps the rows of chunks that are in use.

    Parameters
    ----------
    values
        NumPy or Dask array.
    nodata
        As in `ship_geo.raster.find_valid`.
    """

    def __init__(self, values: da.Array | NDArray[Any], nodata: float | None) -> None:
        self._values, self._nodata = values, nodata
        rows = values.chunks[1] if isinstance(values, da.Array) else (values.shape[1],)
        self._edges = [0, *np.cumsum(rows).tolist()]
        self._held: dict[int, NDArray[Any]] = {}

    def read(self, row0: int, row1: int, col0: int, col1: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read rows and columns, which may lie outside: there the values are 0 and not valid."""
        n_band, n_row, n_col = self._values.shape
        values = np.zeros((n_band, row1 - row0, col1 - col0), self._values.dtype)
        valid = np.zeros(values.shape, np.bool_)
        rows, cols = (max(row0, 0), min(row1, n_row)), slice(max(col0, 0), min(col1, n_col))
        if rows[0] >= rows[1] or cols.start >= cols.stop:
            return values, valid
        for first, part in self._parts(*rows):
            start, stop = max(first, rows[0]), min(first + part.shape[1], rows[1])
            seen = part[:, start - first : stop - first, cols]
            place = np.s_[:, start - row0 : stop - row0, cols.start - col0 : cols.stop - col0]
            values[place], valid[place] = seen, find_valid(seen, self._nodata)
        return values, valid

    def _parts(self, row0: int, row1: int) -> list[tuple[int, NDArray[Any]]]:
        """Give the rows of chunks that rows [row0, row1) meet, each with its first row."""
        if not isinstance(self._values, da.Array):
            return [(0, self._values)]
        spans = list(zip(self._edges, self._edges[1:], strict=False))
        wanted = {start: stop for start, stop in spans if start < row1 and stop > row0}
        self._held = {start: part for start, part in self._held.items() if start in wanted}
        missing = [start for start in wanted if start not in self._held]
        made = compute(*(self._values[:, start : wanted[start]] for start in missing))
        self._held.update(zip(missing, made, strict=True))
        return [(start, self._held[start]) for start in wanted]


@dataclass(frozen=True)
class ArraysReader:
    """A pair of arrays that reads like the files of a scene."""

    pair: GridPair
    ms: BlockSource
    pan: BlockSource
    n_band: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the output grid."""
        return self.pair.output.shape

    def read(self, row0: int, row1: int, col0: int, col1: int, margin: int = MARGIN) -> PairSample:
        """Read a block of the output grid; see `ship_geo.data.reader.PairReader.read`."""
        return read_pair(self.pair, self.ms, self.pan, (row0, row1, col0, col1), margin)


@dataclass(frozen=True, eq=False)
class Sources:
    """All images of an assessment.

    Attributes
    ----------
    scene
        What is known of the pair.
    pair
        Reads blocks of PAN and MS.
    fused, ref
        The judged image and its reference, on the output grid.
    names
        What they are called in the record: ``fused`` and ``reference``.
    tags
        What the file of the judged image says of the run that made it; empty for an array.
    """

    scene: Scene
    pair: PairReader
    fused: BlockSource
    ref: BlockSource | None
    names: tuple[str, str | None]
    tags: Mapping[str, str]


def open_sources(scene: Scene | ArrayPair, fused: PathLike | Raster, ref: PathLike | Raster | None = None) -> Sources:
    """Open the images, and check that they lie on the output grid of the pair.

    Raises
    ------
    ArgumentError
        When an image lies elsewhere or has other bands.
    ProductError
        When a file is missing or damaged.
    """
    known = scene.scene if isinstance(scene, ArrayPair) else scene
    opened = [None if image is None else _open(image, known, name) for image, name in ((fused, "fused"), (ref, "ref"))]
    lazy = [image for image in opened if isinstance(image, Image)]
    if isinstance(scene, ArrayPair):
        lazy = [*lazy, scene.ms, scene.pan]
    held = _sources_of(lazy)
    first, second = (held.get(id(image)) if isinstance(image, Image) else image for image in opened)
    reader: PairReader = (
        ArraysReader(known.pair, held[id(scene.ms)], held[id(scene.pan)], known.ms.n_band)
        if isinstance(scene, ArrayPair)
        else FilePairReader(scene)
    )
    if first is None:  # never: `fused` is no option
        raise TypeError(fused)
    names = _name_of(fused), None if ref is None else _name_of(ref)
    tags = {} if isinstance(fused, Raster) else run_tags(inspect(fused).tags)
    return Sources(known, reader, first, second, names, tags)


def _name_of(image: PathLike | Raster) -> str:
    return "array" if isinstance(image, Raster) else public_name(fspath(image))


def _sources_of(images: Sequence[Image]) -> dict[int, ArraySource]:
    """Make sources of arrays, by their identity; small ones are computed together."""
    if sum(image.values.nbytes for image in images) > HELD_BYTES:
        return {id(image): ArraySource(image.values, image.nodata) for image in images}
    made = compute(*(image.values for image in images))
    return {id(image): ArraySource(values, image.nodata) for image, values in zip(images, made, strict=True)}


def _open(image: PathLike | Raster, scene: Scene, name: str) -> Image | RasterReader:
    if isinstance(image, Raster):
        found = read_image(image, name)
        _check_place(name, found.values.shape[0], found.grid, scene)
        _check_meaning(name, found.texts, image.attrs.get("radiometry"), scene)
        return found
    info = inspect(image)
    bands = [number for number in range(1, info.n_band + 1) if number != info.alpha]
    _check_place(name, len(bands), info.grid, scene)
    _check_meaning(name, [info.descriptions[number - 1] for number in bands], info.tags.get("RADIOMETRY"), scene)
    refs = [BandRef(info.path, number) for number in bands]
    return RasterReader(refs, info.grid.shape, nodata=info.nodata, has_mask=info.has_mask, tiles=info.tiles)


def _check_place(name: str, n_band: int, grid: Grid, scene: Scene) -> None:
    wanted, places = scene.pair.output, (n_band, *grid.shape)
    steps = np.abs(np.subtract(grid.transform[:6], wanted.transform[:6])) / max(wanted.resolution)
    is_elsewhere = wanted.crs is not None and (
        float(steps.max()) > _TOLERANCE or (grid.crs is not None and not is_same_crs(grid.crs, wanted.crs))
    )
    if places != (scene.ms.n_band, *wanted.shape) or is_elsewhere:
        msg = (
            f"{name} must lie on the output grid of the pair, got {places} at {grid.transform[:6]} in "
            f"{brief_crs(grid.crs)} instead of {(scene.ms.n_band, *wanted.shape)} at {wanted.transform[:6]} in "
            f"{brief_crs(wanted.crs)}; pass the images that belong together"
        )
        raise ArgumentError(msg)


def _check_meaning(name: str, texts: Sequence[str], radiometry: str | None, scene: Scene) -> None:
    """Refuse an image that says of itself that its bands or values are not those of MS."""
    if radiometry not in (None, "dn"):
        msg = f"{name} is compared with DN, got values of {radiometry!r}; sharpen with radiometry='dn'"
        raise ArgumentError(msg)
    bands, wanted = [text.strip().lower() for text in texts], list(scene.ms.roles)
    if bands != wanted and sorted(bands) == sorted(wanted):
        orders = f"{', '.join(bands)} instead of {', '.join(wanted)}"
        msg = f"{name} has the bands in the order of MS, got {orders}; reorder them"
        raise ArgumentError(msg)


@dataclass(frozen=True, eq=False)
class PairWindow:
    """PAN and MS around a block, DN as float64.

    Attributes
    ----------
    ms, ms_valid
        (band, row, col) on the MS grid, and (row, col).
    ms_start
        MS pixel (row, col) at which `ms` starts.
    phase
        Outer corner of ``ms[:, 0, 0]`` in PAN pixels of the window.
    pan
        (1, row, col).
    valid
        (row, col) bool: PAN and all MS bands are valid.
    """

    ms: NDArray[np.float64]
    ms_valid: NDArray[np.bool_]
    ms_start: tuple[int, int]
    phase: tuple[float, float]
    pan: NDArray[np.float64]
    valid: NDArray[np.bool_]


def read_window(sources: Sources, box: Box) -> PairWindow:
    """Read PAN and MS of a box of the output grid; MS ends with its raster, as edges are continued there."""
    grids, sample = sources.scene.pair, sources.pair.read(*box)
    spans = grids.ms_from_pan(box[:2], box[2:], MARGIN)
    starts = tuple(max(0, -first) for first, _ in spans)
    stops = tuple(min(last, n) - first for (first, last), n in zip(spans, grids.ms.shape, strict=True))
    inside = tuple(slice(start, stop) for start, stop in zip(starts, stops, strict=True))
    ratio, (row, col) = sample.ratio, sample.phase
    phase = (row + ratio[0] * starts[0], col + ratio[1] * starts[1])
    ms_valid = sample.ms_valid[inside]
    shape = (box[1] - box[0], box[3] - box[2])
    covered = ms_mask_on_pan(torch.from_numpy(ms_valid), shape, ratio, phase).numpy()
    return PairWindow(
        ms=sample.ms[(slice(None), *inside)].astype(np.float64),
        ms_valid=ms_valid,
        ms_start=(spans[0][0] + starts[0], spans[1][0] + starts[1]),
        phase=phase,
        pan=sample.pan.astype(np.float64),
        valid=sample.pan_valid & covered,
    )


def read_image_window(source: BlockSource, box: Box) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Read an image on the output grid: (band, row, col) float64, 0 where invalid, and (row, col) of all bands."""
    values, valid = source.read(*box)
    whole: NDArray[np.bool_] = np.logical_and.reduce(valid, axis=0)
    return np.where(whole, values, 0).astype(np.float64), whole
