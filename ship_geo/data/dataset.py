"""PAN / MS scenes as a TorchGeo dataset: one window of the output grid per query, each sensor on its own grid.

For training and inference alike; it reads windows and nothing more: nothing is scaled, normalised or resampled. What
could surprise: two TorchGeo datasets joined with ``&`` would give MS resampled to PAN, so a pair is one dataset here,
and its resolution and CRS cannot be changed. A query is rounded to whole PAN pixels and may reach outside its scene;
there samples are 0 and masked. The data type is float32 where that holds every value of the file exactly (integers of
up to 16 bits, float32), else float64. And works with TorchGeo 0.8 and 0.10, whose bases differ.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from os import PathLike as OsPathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import torch
from torch import Tensor
from torchgeo.datasets import GeoDataset

from ship_geo.data.reader import MARGIN, FilePairReader, PairSample
from ship_geo.errors import ArgumentError, GridError, ProductError
from ship_geo.grids import Grid, is_same_crs
from ship_geo.products.pairs import has_pan_name, rasters_in
from ship_geo.raster import Values
from ship_geo.scene import Scene, open_scene

if TYPE_CHECKING:
    from pyproj import CRS

    from ship_geo._typing import Box, PathLike

Sample: TypeAlias = dict[str, Any]
"""What the dataset returns, see `ScenePairDataset.__getitem__`."""

_DATE_LENGTH = len("2010-05-04")
_LEAST_SKEW = 1e-3  # a box around a window turned by 45 degrees says the sum of its sides, not the sides
_MS_PADDED = frozenset({"ms", "ms_mask"})


class SceneQuery(tuple[slice, slice, slice]):  # noqa: SLOT001 - a tuple with slots could not hold the scene
    """Slices (x, y, t) as TorchGeo samplers yield them, which also know the scene they were made for.

    Parameters
    ----------
    slices
        Map coordinates along x and y, and times.
    scene
        Position of the scene in its dataset.

    """

    scene: int

    def __new__(cls, slices: tuple[slice, slice, slice], scene: int = 0) -> Self:
        """Make a tuple of three slices and note the scene."""
        query = super().__new__(cls, slices)
        query.scene = scene
        return query


class ScenePairDataset(GeoDataset):
    """PAN / MS pairs, indexed by footprint and time of acquisition.

    Parameters
    ----------
    sources
        One scene or several: `Scene` objects, either file of a pair, stacked files, or folders, of which every pair
        is taken. Where there are several, those that cannot be opened or have no place on the map (products with RPC
        only) are left out with a warning.
    margin
        MS pixels to read around every window, on each side.
    transforms
        Applied to every sample.

    Attributes
    ----------
    scenes
        The scenes, in the order of the index.
    index
        GeoDataFrame with one row per scene: footprint of the output grid, and ``datetime``, the second or day of
        acquisition. A scene whose time is not known lies in all times.

    Raises
    ------
    ArgumentError
        When no source is given.
    ProductError
        When the only source cannot be opened, or none can.
    GridError
        When scenes have different CRS, or a grid is rotated by 45 degrees.

    """

    def __init__(
        self,
        sources: Scene | PathLike | Sequence[Scene | PathLike],
        *,
        margin: int = MARGIN,
        transforms: Callable[[Sample], Sample] | None = None,
    ) -> None:
        self.scenes = _in_one_crs(open_scenes(sources))
        self.margin = margin
        self.transforms = transforms
        self.paths = [path for scene in self.scenes for path in scene.paths]
        self.index = _index_of(self.scenes)
        row_size, col_size = self.scenes[0].pair.output.resolution
        self._res = (col_size, row_size)
        self._readers = [FilePairReader(scene) for scene in self.scenes]

    @property  # type: ignore[override]  # a scene in pixel coordinates has none
    def crs(self) -> CRS | None:
        """CRS of all scenes; None when they have none, where coordinates are those of their transforms."""
        crs: CRS | None = self.index.crs
        return crs

    @crs.setter
    def crs(self, new_crs: object) -> None:
        if new_crs != self.crs:
            msg = (
                f"pairs cannot be reprojected, got {new_crs} for scenes in {self.crs}; put the pairs first in `&`, `|`"
            )
            raise ArgumentError(msg)

    @property
    def res(self) -> tuple[float, float]:
        """PAN pixel size (x, y) of the first scene."""
        return self._res

    @res.setter
    def res(self, new_res: float | tuple[float, float]) -> None:
        wanted = new_res if isinstance(new_res, tuple) else (new_res, new_res)
        if wanted != self._res:
            msg = f"pairs cannot be resampled, got {new_res} for {self._res}; put the pairs first in `&`, `|`"
            raise ArgumentError(msg)

    def __getitem__(self, query: Any) -> Sample:
        """Read one window.

        Parameters
        ----------
        query
            Slices of map coordinates and times, (x, y, t) or fewer, as TorchGeo samplers yield them. Without a scene
            (see `SceneQuery`) the one that covers most of it is read, the first of equals.

        Returns
        -------
        dict
            ``ms`` (band, row, col), DN on the MS grid with the margin; ``ms_mask`` (row, col) bool, all bands valid;
            ``pan`` (1, row, col), DN on the PAN grid; ``mask`` (row, col) bool, PAN valid; ``ratio`` and ``phase``
            (row, col) float64, the latter the outer corner of ``ms[:, 0, 0]`` in pixels of ``pan``; ``pan_start``
            (row, col) int64 of ``pan`` on the output grid; ``scene`` int64; ``transform`` of ``pan``, nine float64
            numbers row by row; ``bounds`` (x0, x1, dx, y0, y1, dy, t0, t1, 1), float64; ``crs``, pyproj.

        Raises
        ------
        IndexError
            When no scene lies where and when the query asks.
        ArgumentError
            When the query is smaller than a PAN pixel.
        ProductError
            When a file cannot be read.

        """
        exact = query if isinstance(query, SceneQuery) else self._find_scene(query)
        block = block_of(self.scenes[exact.scene].pair.output, exact[0], exact[1])
        sample = self._sample(exact.scene, block, self.read(exact.scene, block))
        return sample if self.transforms is None else self.transforms(sample)

    def read(self, scene: int, block: Box) -> PairSample:
        """Read a block (row0, row1, col0, col1) of the output grid of a scene, as arrays in the data type of the file.

        Raises
        ------
        ProductError
            When a file cannot be read.

        """
        return self._readers[scene].read(*block, margin=self.margin)

    def query(self, scene: int, block: Box) -> SceneQuery:
        """Return the query that reads a block (row0, row1, col0, col1) of the output grid of a scene."""
        left, bottom, right, top = self.scenes[scene].pair.output.crop(*block).bounds
        interval = self.index.index[scene]
        return SceneQuery((slice(left, right), slice(bottom, top), slice(interval.left, interval.right)), scene)

    def _find_scene(self, query: Any) -> SceneQuery:
        x, y, t = self._disambiguate_slice(query)
        area = shapely.box(x.start, y.start, x.stop, y.stop)
        shared = shapely.area(shapely.intersection(self.index.geometry.to_numpy(), area))
        shared[(self.index.index.right < t.start) | (self.index.index.left > t.stop)] = 0
        if not shared.any():
            where = f"x {x.start} to {x.stop}, y {y.start} to {y.stop}, time {t.start} to {t.stop}"
            msg = f"a query must share an area and a time with a scene, got {where}; the dataset spans {self.bounds}"
            raise IndexError(msg)
        return SceneQuery((x, y, t), int(np.argmax(shared)))

    def _sample(self, scene: int, block: Box, pair: PairSample) -> Sample:
        grid = self.scenes[scene].pair.output.crop(*block)
        left, bottom, right, top = grid.bounds
        row_size, col_size = grid.resolution
        interval = self.index.index[scene]
        times = interval.left.timestamp(), interval.right.timestamp()
        return {
            "ms": _to_tensor(pair.ms),
            "ms_mask": torch.from_numpy(pair.ms_valid),
            "pan": _to_tensor(pair.pan),
            "mask": torch.from_numpy(pair.pan_valid),
            "ratio": torch.tensor(pair.ratio, dtype=torch.float64),
            "phase": torch.tensor(pair.phase, dtype=torch.float64),
            "pan_start": torch.tensor(pair.pan_start, dtype=torch.int64),
            "scene": torch.tensor(scene, dtype=torch.int64),
            "transform": torch.tensor([*grid.transform[:6], 0, 0, 1], dtype=torch.float64),
            "bounds": torch.tensor([left, right, col_size, bottom, top, row_size, *times, 1], dtype=torch.float64),
            "crs": self.crs,
        }


def collate_pairs(samples: Iterable[Sample]) -> dict[str, Any]:
    """Make a batch of samples, for `torch.utils.data.DataLoader`.

    Windows of one size may cover one MS pixel more or less where the ratio is no whole number: the smaller ones get
    rows below and columns to the right that are 0 and masked, which leaves their phase as it is. TorchGeo's
    ``stack_samples`` serves, too, for whole ratios, but 0.10 stacks tensors only: take ``crs`` out in `transforms`.

    Parameters
    ----------
    samples
        Samples of `ScenePairDataset` with one window size and one number of bands.

    Returns
    -------
    dict
        Tensors with a first axis for the samples; lists of what is no tensor.

    """
    columns: dict[str, list[Any]] = {}
    for sample in samples:
        for name, value in sample.items():
            columns.setdefault(name, []).append(value)
    return {name: _stack(_pad(values) if name in _MS_PADDED else values) for name, values in columns.items()}


def block_of(grid: Grid, x: slice, y: slice) -> Box:
    """Return the block of a grid whose upright bounding box is nearest to a box on the map.

    The inverse of ``grid.crop(*block).bounds``, for rotated grids, too: centres map to centres, and the sides of a
    block follow from those of its box through two linear equations.

    Returns
    -------
    Box
        (row0, row1, col0, col1), which may exceed the grid; equal boxes give equal sizes wherever they lie.

    Raises
    ------
    ArgumentError
        When a side is shorter than half a pixel.

    """
    a, b, c, d, e, f = grid.transform[:6]
    centre_x, centre_y = (x.start + x.stop) / 2 - c, (y.start + y.stop) / 2 - f
    det = a * e - b * d
    col, row = (e * centre_x - b * centre_y) / det, (a * centre_y - d * centre_x) / det
    width, height = x.stop - x.start, y.stop - y.start
    skew = abs(a * e) - abs(b * d)
    n_col, n_row = (abs(e) * width - abs(b) * height) / skew, (abs(a) * height - abs(d) * width) / skew
    if min(_nearest(n_row), _nearest(n_col)) < 1:
        msg = f"a query must cover a PAN pixel, got {n_row:.3g} x {n_col:.3g} pixels; pass (xmin:xmax, ymin:ymax)"
        raise ArgumentError(msg)
    row0, col0 = _nearest(row - n_row / 2), _nearest(col - n_col / 2)
    return row0, row0 + _nearest(n_row), col0, col0 + _nearest(n_col)


def footprint_of(grid: Grid) -> shapely.Polygon:
    """Return the outline of a grid on the map, which for a rotated grid is no upright rectangle."""
    a, b, c, d, e, f = grid.transform[:6]
    n_row, n_col = grid.shape
    corners = [(0, 0), (0, n_col), (n_row, n_col), (n_row, 0)]
    return shapely.Polygon([(c + a * col + b * row, f + d * col + e * row) for row, col in corners])


def _nearest(value: float) -> int:
    return math.floor(value + 0.5)  # `round` takes halves to even numbers: sizes would depend on the place


def _as_sources(sources: Scene | PathLike | Sequence[Scene | PathLike]) -> list[Scene | PathLike]:
    given = [sources] if isinstance(sources, Scene | str | OsPathLike) else list(sources)
    if not given:
        msg = "a dataset needs a scene, got no source; pass files, folders or scenes"
        raise ArgumentError(msg)
    return [one for source in given for one in _members(source)]


def _members(source: Scene | PathLike) -> Sequence[Scene | PathLike]:
    if isinstance(source, Scene) or not Path(source).is_dir():
        return [source]
    pans = [path for path in rasters_in(Path(source)) if has_pan_name(path)]
    return pans if len(pans) > 1 else [source]


def open_scenes(sources: Scene | PathLike | Sequence[Scene | PathLike]) -> list[Scene]:
    """Open what `ScenePairDataset` takes, whatever the CRS of the scenes.

    Raises
    ------
    ArgumentError
        When no source is given.
    ProductError, GridError
        When the only source cannot be opened, or none can.
    """
    return _open_all(_as_sources(sources))


def _open_all(sources: Sequence[Scene | PathLike]) -> list[Scene]:
    scenes = []
    for source in sources:
        try:
            scenes.append(source if isinstance(source, Scene) else open_scene(source))
        except (ProductError, GridError) as error:
            if len(sources) == 1:
                raise
            warnings.warn(f"a source that cannot be opened is left out: {error}", UserWarning, stacklevel=3)
    if not scenes:
        listed = ", ".join(map(str, sources))
        msg = f"one source at least must open, got none of {listed}; the warnings say why"
        raise ProductError(msg)
    return scenes


def _in_one_crs(scenes: list[Scene]) -> list[Scene]:
    placed = [scene for scene in scenes if scene.pair.output.crs is not None]
    if not placed:
        return scenes
    for scene in scenes:
        if scene.pair.output.crs is None:
            msg = f"a scene without a CRS has no place beside others and is left out: {scene.name}; georeference it"
            warnings.warn(msg, UserWarning, stacklevel=3)
    first = placed[0]
    for scene in placed:
        if not is_same_crs(scene.pair.output.crs, first.pair.output.crs):
            msg = (
                f"all scenes of a dataset must have one CRS, got {first.pair.output.crs} for {first.name} and "
                f"{scene.pair.output.crs} for {scene.name}; make one dataset per CRS"
            )
            raise GridError(msg)
    return placed


def _index_of(scenes: Sequence[Scene]) -> gpd.GeoDataFrame:
    for scene in scenes:
        a, b, _, d, e, _ = scene.pair.output.transform[:6]
        if abs(abs(a * e) - abs(b * d)) < _LEAST_SKEW * (abs(a * e) + abs(b * d)):
            got = f"{scene.pair.output.transform[:6]} for {scene.name}"
            msg = f"a grid must not be rotated by 45 degrees, got {got}; warp the files north up"
            raise GridError(msg)
    starts, stops = zip(*(_interval(scene.time) for scene in scenes), strict=True)
    times = pd.IntervalIndex.from_arrays(pd.DatetimeIndex(starts), pd.DatetimeIndex(stops), "both", name="datetime")
    return gpd.GeoDataFrame(
        {"filepath": [scene.pan.paths[0] for scene in scenes], "name": [scene.name for scene in scenes]},
        index=times,
        geometry=[footprint_of(scene.pair.output) for scene in scenes],
        crs=scenes[0].pair.output.crs,
    )


def _interval(time: str | None) -> tuple[pd.Timestamp, pd.Timestamp]:
    # TorchGeo keeps time zones away. PAN and MS may be a second apart; a scene has one time, that of its pair.
    if time is None:
        return pd.Timestamp.min, pd.Timestamp.max
    start = pd.Timestamp(time)
    if start.tzinfo is not None:
        start = start.tz_convert(None)
    length = pd.Timedelta(days=1) if len(time) == _DATE_LENGTH else pd.Timedelta(seconds=1)
    return start.as_unit("ns"), (start.as_unit("ns") + length - pd.Timedelta(microseconds=1)).as_unit("ns")


def _to_tensor(values: Values) -> Tensor:
    kind = np.float32 if np.can_cast(values.dtype, np.float32) else np.float64
    return torch.from_numpy(values.astype(kind))


def _pad(values: list[Tensor]) -> list[Tensor]:
    n_row, n_col = (max(value.shape[axis] for value in values) for axis in (-2, -1))
    return [
        torch.nn.functional.pad(value, (0, n_col - value.shape[-1], 0, n_row - value.shape[-2])) for value in values
    ]


def _stack(values: list[Any]) -> Any:
    return torch.stack(values) if isinstance(values[0], Tensor) else values
