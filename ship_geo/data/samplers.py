"""Which windows of a `ScenePairDataset` are read, in which order: those of a plan, or random ones for training.

Both are TorchGeo samplers that yield queries of exact pixel windows. TorchGeo's own ones also work with the dataset,
but their windows follow neither the plan of a model nor the lattice of MS pixels, and some leave the scene silently.
What could surprise: the bases of TorchGeo 0.8 and 0.10 are initialised differently, so theirs is not called; and an
iteration of the random sampler draws the same windows again until `RandomPairGeoSampler.set_epoch` tells it the epoch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd
import shapely
from shapely.affinity import affine_transform
from torchgeo.samplers import GeoSampler

from ship_geo.data.dataset import ScenePairDataset, SceneQuery
from ship_geo.errors import ArgumentError

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from ship_geo._typing import Box, Shape
    from ship_geo.grids import Bounds, Grid, GridPair
    from ship_geo.tiling import Plan, Window

Region: TypeAlias = "BaseGeometry | Bounds"
"""Part of the map in the CRS of a dataset: a geometry, or (left, bottom, right, top)."""

_TOLERANCE = 1e-6  # PAN pixels; float noise must not make neighbours touch


class WindowGeoSampler(GeoSampler):
    """Windows of a plan over one scene, with its halo, row by row.

    Parameters
    ----------
    dataset
        The scenes.
    plan
        Plan of the output grid of the scene; a query covers ``window.read(plan.halo)``.
    scene
        Position of the scene in the dataset.
    roi
        Restricts to windows whose core shares an area with it: a geometry or (left, bottom, right, top), in the CRS
        of the dataset.
    block
        Restricts to windows that touch it: (row0, row1, col0, col1) on the output grid.

    Raises
    ------
    ArgumentError
        When there is no such scene, the plan is of another shape, or `roi` and `block` leave no window.

    """

    def __init__(
        self,
        dataset: ScenePairDataset,
        plan: Plan,
        *,
        scene: int = 0,
        roi: Region | None = None,
        block: Box | None = None,
    ) -> None:
        grid = _output_of(dataset, scene)
        if plan.shape != grid.shape:
            msg = f"the plan must be of the output grid, got {plan.shape} for {grid.shape}; use GridPair.output.shape"
            raise ArgumentError(msg)
        _set_torchgeo_names(self, dataset, roi)
        self.dataset, self.plan, self.scene, self.block = dataset, plan, scene, block
        self._region = None if roi is None else _to_pixels(roi, grid)
        if (roi is not None or block is not None) and not self._chosen:
            where = f"roi={roi}, block={block}; the scene spans {grid.bounds} and {grid.shape} pixels"
            msg = f"roi and block must touch the scene, got {where}; pass a part of it"
            raise ArgumentError(msg)

    @property
    def windows(self) -> Iterator[tuple[Window, SceneQuery]]:
        """Every window with its query, in the order in which queries are yielded."""
        return ((window, self.query(window)) for window in self._chosen)

    def query(self, window: Window) -> SceneQuery:
        """Return the query that reads a window of the plan, with its halo."""
        return self.dataset.query(self.scene, window.read(self.plan.halo))

    @cached_property
    def _chosen(self) -> list[Window]:
        # Late, as whoever asks for the query of a window needs no list of all of them.
        chosen = self.plan.windows() if self.block is None else self.plan.windows_in(*self.block)
        return chosen if self._region is None else _touching(chosen, self._region, self.plan.shape)

    def __iter__(self) -> Iterator[SceneQuery]:
        """Yield the query of every window."""
        return (query for _, query in self.windows)

    def __len__(self) -> int:
        """Count the windows."""
        return len(self._chosen)


class RandomPairGeoSampler(GeoSampler):
    """Random windows of one size, all inside their scene.

    Where the ratio is a whole number windows start at steps of it, so that they cut no MS pixel and all have the same
    phase. The draws of an epoch are a function of the seed and the epoch alone.

    Parameters
    ----------
    dataset
        The scenes; those smaller than a window are never drawn, the others as often as they have room.
    size
        Rows and columns of a window in PAN pixels.
    length
        Windows per epoch; by default about as many as fit side by side.
    seed
        Of everything drawn.
    scene
        Position of the only scene to draw from; all by default.
    roi
        Geometry or (left, bottom, right, top) in the CRS of the dataset; windows lie inside the box of pixels around
        its part of a scene.
    margin
        PAN pixels that windows keep away from the edges of that box, so that a halo read with them is real, too.

    Raises
    ------
    ArgumentError
        When a number is out of range, or no scene has room for a window.

    """

    def __init__(
        self,
        dataset: ScenePairDataset,
        size: int | tuple[int, int],
        *,
        length: int | None = None,
        seed: int = 0,
        scene: int | None = None,
        roi: Region | None = None,
        margin: int = 0,
    ) -> None:
        self.size = (size, size) if isinstance(size, int) else size
        _check_numbers(self.size, length, seed, margin)
        _set_torchgeo_names(self, dataset, roi)
        self.dataset = dataset
        self.seed = seed
        self.epoch = 0
        places = range(len(dataset.scenes)) if scene is None else [scene]
        rooms = (_room(dataset, place, self.size, roi, margin) for place in places)
        self._rooms = [room for room in rooms if room is not None]
        if not self._rooms:
            got = f"windows of {self.size} with margin {margin}, roi={roi}"
            msg = f"a scene must have room for a window, got {got}; pass a smaller size or another roi"
            raise ArgumentError(msg)
        self.length = sum(room.fitting for room in self._rooms) if length is None else length

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is drawn next; training loops such as Lightning's call it by themselves."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[SceneQuery]:
        """Yield the queries of this epoch."""
        generator = np.random.default_rng([self.seed, self.epoch])
        share = np.array([room.rows.n_start * room.cols.n_start for room in self._rooms], np.float64)
        for place in generator.choice(len(self._rooms), self.length, p=share / share.sum()):
            room = self._rooms[place]
            row0, col0 = (span.start + span.step * int(generator.integers(span.n_start)) for span in room.spans)
            yield self.dataset.query(room.scene, (row0, row0 + self.size[0], col0, col0 + self.size[1]))

    def __len__(self) -> int:
        """Count the windows of an epoch."""
        return self.length


@dataclass(frozen=True)
class _Span:
    """Where windows may start along one axis: `n_start` places from `start` on, `step` apart."""

    start: int
    step: int
    n_start: int


@dataclass(frozen=True)
class _Room:
    """Where windows may start in one scene, and how many fit side by side."""

    scene: int
    rows: _Span
    cols: _Span
    fitting: int

    @property
    def spans(self) -> tuple[_Span, _Span]:
        return self.rows, self.cols


def _room(
    dataset: ScenePairDataset, scene: int, size: tuple[int, int], roi: Region | None, margin: int
) -> _Room | None:
    grid = _output_of(dataset, scene)
    row0, row1, col0, col1 = (0, grid.shape[0], 0, grid.shape[1]) if roi is None else _block_around(roi, grid)
    sides = (row0 + margin, row1 - margin), (col0 + margin, col1 - margin)
    rows, cols = (_starts(dataset.scenes[scene].pair, axis, sides[axis], size[axis]) for axis in (0, 1))
    if min(rows.n_start, cols.n_start) < 1:
        return None
    fitting = math.prod((stop - start) // length for (start, stop), length in zip(sides, size, strict=True))
    return _Room(scene, rows, cols, fitting)


def _starts(pair: GridPair, axis: int, side: tuple[int, int], size: int) -> _Span:
    ratio, phase = pair.ratio[axis], pair.output_phase[axis]
    step = round(ratio)
    if abs(ratio - step) * pair.ms.shape[axis] > _TOLERANCE:
        step = 1  # no lattice of MS pixels to keep to
    # The first MS edge of the lattice is the outer corner, or the first whole pixel behind it.
    origin = math.ceil(phase - _TOLERANCE)
    start = origin + step * math.ceil((side[0] - origin) / step)
    return _Span(start, step, (side[1] - size - start) // step + 1)


def _touching(windows: list[Window], region: BaseGeometry, shape: Shape) -> list[Window]:
    inside = shapely.box(0, 0, shape[1], shape[0])
    shapely.prepare(region)
    chosen = []
    for window in windows:
        row0, row1, col0, col1 = window.core
        core = shapely.box(col0, row0, col1, row1).intersection(inside).buffer(-_TOLERANCE, join_style="mitre")
        if region.intersects(core):
            chosen.append(window)
    return chosen


def _block_around(roi: Region, grid: Grid) -> Box:
    # Pixels that the region cuts count; float noise at its edges does not.
    part = _to_pixels(roi, grid).intersection(shapely.box(0, 0, grid.shape[1], grid.shape[0]))
    if part.is_empty:
        return 0, 0, 0, 0
    col0, row0, col1, row1 = part.bounds
    return (
        math.floor(row0 + _TOLERANCE),
        math.ceil(row1 - _TOLERANCE),
        math.floor(col0 + _TOLERANCE),
        math.ceil(col1 - _TOLERANCE),
    )


def _to_pixels(roi: Region, grid: Grid) -> BaseGeometry:
    a, b, c, d, e, f = grid.transform[:6]
    det = a * e - b * d
    shift_col, shift_row = (b * f - e * c) / det, (d * c - a * f) / det
    return affine_transform(_as_geometry(roi), [e / det, -b / det, -d / det, a / det, shift_col, shift_row])


def _as_geometry(roi: Region) -> BaseGeometry:
    return shapely.box(*roi) if isinstance(roi, tuple) else roi


def _output_of(dataset: ScenePairDataset, scene: int) -> Grid:
    if not 0 <= scene < len(dataset.scenes):
        msg = f"a scene must be from 0 to {len(dataset.scenes) - 1}, got {scene}; see `dataset.scenes`"
        raise ArgumentError(msg)
    return dataset.scenes[scene].pair.output


def _check_numbers(size: tuple[int, int], length: int | None, seed: int, margin: int) -> None:
    if min(size) < 1 or (length is not None and length < 1) or seed < 0 or margin < 0:
        got = f"size {size}, length {length}, seed {seed}, margin {margin}"
        msg = f"size and length must be at least 1, seed and margin not negative, got {got}; pass whole numbers"
        raise ArgumentError(msg)


def _set_torchgeo_names(
    sampler: WindowGeoSampler | RandomPairGeoSampler, dataset: ScenePairDataset, roi: Region | None
) -> None:
    # What the base of TorchGeo 0.8 sets; that of 0.10 takes no arguments and sets nothing.
    x, y, t = dataset.bounds
    sampler.index = dataset.index
    sampler.res = dataset.res
    sampler.roi = shapely.box(x.start, y.start, x.stop, y.stop) if roi is None else _as_geometry(roi)
    sampler.toi = pd.Interval(t.start, t.stop)
