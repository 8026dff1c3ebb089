"""Judging a scene: reads it once, block by block, and gathers the scores of the image and of chosen baselines.

Memory is bounded by the block, whatever the size of the scene. The convention that could surprise: baselines are made
block by block with the statistics of the scene, rounded as a file would be, and counted on the pixels that are valid in
the judged image, so that all methods are measured on the same ground.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, TypeAlias

import numpy as np
import rasterio
import rioxarray  # noqa: F401  the accessor .rio
import xarray as xr
from affine import Affine
from numpy.typing import NDArray

from ship_geo._typing import Box, PathLike
from ship_geo.array_pair import ArrayPair
from ship_geo.assessment.blocks import BlockScorer, Frame, ms_span, read_frame
from ship_geo.assessment.pictures import ScenePixels
from ship_geo.assessment.scores import Scores, Settings, histogram
from ship_geo.assessment.sources import Raster, Sources, open_sources
from ship_geo.assessment.tiles import BLOCK, READ, Tile, TileGrid
from ship_geo.assessment.value import BAND, TOTAL, Assessment
from ship_geo.baselines.registry import method_names
from ship_geo.errors import ArgumentError
from ship_geo.fusers import ClassicalFuser
from ship_geo.inference import ReaderSource, gather_stats, prepare, to_dtype, value_limits
from ship_geo.ops.mtf import RADIUS
from ship_geo.progress import track_blocks
from ship_geo.provenance import source_name
from ship_geo.sampling import statistics_plan
from ship_geo.scene import Scene
from ship_geo.stats import SceneStats
from ship_geo.tiling import halo_for

FUSED = "fused"
"""Name of the judged image among the methods."""

MS = "ms"

CACHE_BYTES = 64 * 2**20
"""Of GDAL, for blocks of files; its own choice is a twentieth of the machine's memory."""

N_BIN = 256
"""Bins of the histograms."""

Make: TypeAlias = Callable[[Frame], NDArray[np.float64]]
"""Makes the pixels of a frame by another method, DN."""


@dataclass(frozen=True)
class Options:
    """How a scene is judged.

    Attributes
    ----------
    baselines
        Classical methods to compare with, by name.
    tile
        Rows and columns of a tile, or ``"auto"``.
    border
        Pixels to cut off each side, or (leading, trailing).
    peak
        Largest value, DN; None for ``2**bits - 1`` of the sensor.
    progress
        Whether progress is shown on the standard error.
    read
        Rows and columns that are read at once; totals do not depend on it.
    """

    baselines: Sequence[str] = ()
    tile: int | str = "auto"
    border: int | tuple[int, int] = 0
    peak: float | None = None
    progress: bool = False
    read: int = READ


def assess_scene(
    fused: PathLike | Raster,
    scene: Scene | ArrayPair,
    ref: PathLike | Raster | None = None,
    options: Options | None = None,
) -> Assessment:
    """Judge an image that was sharpened from a pair.

    Parameters
    ----------
    fused
        The result on the output grid of the pair: a file, or an array that may be lazy.
    scene
        The pair it was made from.
    ref
        Reference on the same grid, or None.
    options
        How it is judged.

    Raises
    ------
    ArgumentError
        If an image is not on the output grid, or an option cannot work.
    ProductError
        If a file is missing or damaged.
    """
    how = options or Options()
    sources = open_sources(scene, fused, ref)
    known = sources.scene
    tiles = TileGrid.of(known.pair.output.shape, how.tile, how.border)
    spans = [ms_span(tiles.region, axis, known.pair.ratio[axis], known.pair.output_phase[axis]) for axis in (0, 1)]
    n_ms = min(last - first for first, last in spans)
    settings = Settings(float(np.mean(known.pair.ratio)), _peak_of(known, how.peak), sources.ref is not None, n_ms)
    result = _gather(sources, tiles, settings, _open_rivals(sources, how.baselines), how)
    return Assessment(
        dataset=result.dataset(known, tiles),
        conventions=_conventions(known, tiles, how, settings, result.scores),
        scene=_facts(sources),
        pixels=ScenePixels(sources),
    )


def _peak_of(scene: Scene, given: float | None) -> float:
    peak = 2.0**scene.sensor.bits - 1 if given is None else float(given)
    if not 0 < peak < np.inf:
        msg = f"`peak` is positive, got {peak}; it is the largest value of the sensor, 2047 for 11 bits"
        raise ArgumentError(msg)
    return peak


def _gather(sources: Sources, tiles: TileGrid, settings: Settings, rivals: Mapping[str, Make], how: Options) -> _Result:
    """Read the scene and score every method in every tile."""
    grids = sources.scene.pair
    result = _Result.empty([FUSED, *rivals], tiles, settings, sources.scene.ms.n_band)
    row0, row1, col0, col1 = tiles.region
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES),
        track_blocks((row1 - row0) * (col1 - col0), enabled=how.progress) as advance,
    ):
        for box, members in tiles.blocks(how.read):
            frame, fused = read_frame(sources, box)
            if frame.valid.any():
                result.look(frame, members)
                result.count(MS, frame.ms_up, frame, box)
                for method in result.scores:
                    values = fused if method == FUSED else rivals[method](frame)
                    result.count(method, values, frame, box)
                    scorer = BlockScorer(frame, values, tiles.region, grids.output_phase, settings)
                    for tile in members:
                        result.add(method, tile, scorer.score(tile))
            advance((box[1] - box[0]) * (box[3] - box[2]))
    return result


def _open_rivals(sources: Sources, names: Sequence[str]) -> dict[str, Make]:
    """Give for each baseline what makes a block of it."""
    chosen = method_names(names)
    if not chosen:
        return {}
    scene = sources.scene
    halo = halo_for(scene.pair.ratio)
    stats = gather_stats(ReaderSource(sources.pair), statistics_plan(scene.pair.output.shape, halo), scene.sensor)
    return {name: _Rival(sources, ClassicalFuser(name), stats, halo) for name in chosen}


@dataclass(frozen=True, eq=False)
class _Rival:
    """A baseline, block by block."""

    sources: Sources
    fuser: ClassicalFuser
    stats: SceneStats
    halo: int

    def __call__(self, frame: Frame) -> NDArray[np.float64]:
        """Make the pixels of a frame, rounded and clipped as a file would hold them."""
        scene = self.sources.scene
        row0, row1, col0, col1 = frame.box
        wide = row0 - self.halo, row1 + self.halo, col0 - self.halo, col1 + self.halo
        window = prepare(
            self.sources.pair.read(*wide), scene.sensor.gnyq_ms, self.halo, with_low=self.fuser.reads_pan_low
        )
        (made,) = self.fuser.fuse([window], self.stats, (tuple(range(scene.ms.n_band)),))
        limits = value_limits(scene.ms.dtype, scene.sensor.bits, self.stats.ms_max)
        return to_dtype(made.numpy(), scene.ms.dtype, limits)[0].astype(np.float64)


@dataclass(eq=False)
class _Result:
    """What is gathered while a scene is read."""

    scores: dict[str, Scores]
    per_tile: dict[str, defaultdict[str, NDArray[np.float64]]]
    valid: NDArray[np.float64]
    histograms: dict[str, NDArray[np.int64]]
    edges: NDArray[np.float64]

    @classmethod
    def empty(cls, methods: Sequence[str], tiles: TileGrid, settings: Settings, n_band: int) -> _Result:
        return cls(
            scores={method: Scores(settings) for method in methods},
            per_tile={method: defaultdict(lambda: np.full(tiles.shape, np.nan)) for method in methods},
            valid=np.zeros(tiles.shape),
            histograms={name: np.zeros((n_band, N_BIN), np.int64) for name in (*methods, MS)},
            edges=np.linspace(0, settings.peak + 1, N_BIN + 1),
        )

    def add(self, method: str, tile: Tile, scores: Scores) -> None:
        """Take the scores of a tile."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a tile without a valid block is no news; the total tells
            values = scores.compute()
        for name, value in values.items():
            self.per_tile[method][name][tile.row, tile.col] = value
        self.scores[method].merge(scores)

    def look(self, frame: Frame, members: Sequence[Tile]) -> None:
        """Take the shares of valid pixels of a block."""
        for tile in members:
            self.valid[tile.row, tile.col] = frame.valid[frame.inside(tile.box)].mean()

    def count(self, name: str, image: NDArray[np.float64], frame: Frame, box: Box) -> None:
        """Add a block of an image to its histogram."""
        part = frame.inside(box)
        self.histograms[name] += histogram(image[:, *part], frame.valid[part], self.edges)

    def dataset(self, scene: Scene, tiles: TileGrid) -> xr.Dataset:
        """Lay everything out as xarray does."""
        methods, roles = list(self.scores), list(scene.ms.roles)
        totals = {method: scores.compute() for method, scores in self.scores.items()}
        bands = {method: scores.bands() for method, scores in self.scores.items()}
        variables: dict[str, Any] = {}
        for name in totals[FUSED]:
            variables[name] = (("product", "y", "x"), np.stack([self.per_tile[method][name] for method in methods]))
            variables[name + TOTAL] = (("product",), [totals[method][name] for method in methods])
        for name in dict.fromkeys(name for values in bands.values() for name in values):
            blank = [np.nan] * len(roles)
            variables[name + BAND] = (("product", "band"), [bands[method].get(name, blank) for method in methods])
        row0, row1, col0, col1 = tiles.region
        sizes = [
            [(box[1] - box[0]) * (box[3] - box[2]) for box in (tiles.box(r, c) for c in range(tiles.shape[1]))]
            for r in range(tiles.shape[0])
        ]
        share = float((self.valid * np.array(sizes)).sum() / ((row1 - row0) * (col1 - col0)))
        variables |= {
            "valid_fraction": (("y", "x"), self.valid),
            "valid_fraction_total": ((), share),
            "histogram": (("image", "band", "bin"), np.stack(list(self.histograms.values()))),
        }
        made = xr.Dataset(
            variables,
            coords={"product": methods, "band": roles, "image": list(self.histograms), "bin": self.edges[:-1]},
        )
        return _placed(made, scene, tiles)


def _placed(made: xr.Dataset, scene: Scene, tiles: TileGrid) -> xr.Dataset:
    """Give the tiles their place on the map: the last ones as if they were whole."""
    a, b, c, d, e, f = scene.pair.output.transform[:6]
    row0, _, col0, _ = tiles.region
    step = tiles.tile
    corner = (c + a * col0 + b * row0, f + d * col0 + e * row0)
    transform = Affine(a * step, b * step, corner[0], d * step, e * step, corner[1])
    n_row, n_col = tiles.shape
    rows, cols = np.arange(n_row) + 0.5, np.arange(n_col) + 0.5
    if not (b or d):  # the axes of a rotated grid have no coordinates
        made = made.assign_coords(y=corner[1] + e * step * rows, x=corner[0] + a * step * cols)
    else:
        made = made.assign_coords(y=rows, x=cols)
    if scene.pair.output.crs is not None:
        made = made.rio.write_crs(scene.pair.output.crs)
    placed: xr.Dataset = made.rio.write_transform(transform)
    return placed


def _conventions(
    scene: Scene, tiles: TileGrid, how: Options, settings: Settings, scores: Mapping[str, Scores]
) -> dict[str, Any]:
    lead, trail = (how.border, how.border) if isinstance(how.border, int) else how.border
    return {
        "block": BLOCK,
        "tile": tiles.tile,
        "region": list(tiles.region),
        "border": [lead, trail],
        "tail": "blocks that are not whole are left out",
        "mtf": f"Gaussian of the gain at Nyquist, radius {RADIUS} PAN pixels, normalised to sum 1",
        "gnyq_ms": list(map(float, scene.sensor.gnyq_ms)),
        "upsampling": "cubic convolution, a = -1/2",
        "pan_low": "antialiased cubic convolution to the MS grid and back, no MTF",
        "ratio": list(map(float, scene.pair.ratio)),
        "phase": list(map(float, scene.pair.output_phase)),
        "peak": settings.peak,
        "units": {"sam": "degree", "r_sam": "degree", "psnr": "dB", "rmse": "DN"},
        "d_lambda": "against MS interpolated, p = 1; absolute value after the mean over blocks",
        "masks": "a pixel counts if fused, PAN and all MS bands are valid, and all that a filter saw",
        "baselines": "rounded and clipped as a file would be, statistics of the scene",
        "left_out": dict.fromkeys(settings.left_out, "the image is too small on the MS grid"),
        "counted": {method: each.counts for method, each in scores.items()},
    }


def _facts(sources: Sources) -> dict[str, Any]:
    scene = sources.scene
    grid, record = scene.pair.output, scene.record()
    fused, ref = sources.names
    chosen = (
        "name",
        "family",
        "sensor",
        "platform",
        "product_id",
        "level",
        "time",
        "geometry",
        "shift",
        "notes",
        "warnings",
    )
    return {
        **{name: record[name] for name in chosen},
        "fused": source_name(fused),
        "reference": None if ref is None else source_name(ref),
        "files": [source_name(str(path)) for path in scene.files],
        "tags": dict(sources.tags),
        "bands": list(scene.ms.roles),
        "bits": scene.sensor.bits,
        "dtype": scene.ms.dtype,
        "shape": list(grid.shape),
        "ratio": list(map(float, scene.pair.ratio)),
        "phase": list(map(float, scene.pair.output_phase)),
        "crs": grid.crs,
        "transform": list(grid.transform[:6]),
        "version": metadata.version("ship-geo"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
