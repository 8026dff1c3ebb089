"""A job: everything a worker must know to sharpen any block of a scene, and the functions that do it there.

The job is small and plain, so that it can travel; files are opened, and the model is loaded, where the work is done.
Not for graphs or writing: `ship_geo.lazy` and `ship_geo.api` build on this. The convention that could surprise: a
block comes back in the output's data type with nodata in place, and with its mask, so that nothing is decided twice.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from ship_geo._typing import Box
from ship_geo.coarser import CoarseScene, Pair, read_coarser
from ship_geo.data.reader import PairSample
from ship_geo.errors import ArgumentError
from ship_geo.fusers import BandGroups, ModelSpec, NetworkFuser, band_groups, load_fuser, pick_device, pick_precision
from ship_geo.inference import (
    SceneSource,
    WindowSource,
    fuse_block,
    gather_stats,
    to_dtype,
    to_physical,
    value_limits,
)
from ship_geo.ledger import Entry
from ship_geo.mixture import MAX_BLOCKS, SIDE, fit_mixture
from ship_geo.ops.views import BandView
from ship_geo.sampling import statistics_plan
from ship_geo.scene import Scene
from ship_geo.stats import SceneStats
from ship_geo.tiling import Plan, Window, halo_for
from ship_geo.writer import BlockSink, apply_nodata, choose_nodata

RADIOMETRIES = ("dn", "radiance", "toa")

MAX_OPEN = 8
"""Scenes whose files a process keeps open, and whose statistics it remembers."""

GPU_PARTS = 3
"""Parts of a block that are read and prepared beside each other while one of them is on the GPU."""

_SOURCES: dict[str, SceneSource] = {}
_STATS: dict[str, SceneStats] = {}


class Stopped(BaseException):
    """Work was given up in the middle because its result is not wanted any more; not an error."""


@dataclass(frozen=True)
class StoppableSource:
    """Reads windows until it is told to stop, so that nobody waits for a block that is not wanted any more.

    Parameters
    ----------
    source
        Where windows are read.
    stop
        Once set, the next read raises `Stopped`.
    """

    source: WindowSource
    stop: threading.Event

    def samples(self, plan: Plan, windows: Sequence[Window]) -> Iterator[PairSample]:
        """Read windows of a plan, each with the plan's halo."""
        if self.stop.is_set():
            raise Stopped
        return self.source.samples(plan, windows)


@dataclass(frozen=True, eq=False)
class Job:
    """One scene, one model, and how they meet.

    Attributes
    ----------
    scene
        What is read; travels as plain values.
    spec, device, precision
        The model and where it runs.
    plan, sample_plan
        Windows of the model, and windows of the statistics.
    gnyq_ms, groups
        MTF gain of each band; bands that the model sees together.
    dtype, bits, nodata
        Of the output; `bits` is the sensor's nominal depth.
    radiometry
        ``"dn"``, ``"radiance"`` (W m-2 sr-1 um-1) or ``"toa"`` (reflectance at the top of the atmosphere).
    gain, offset
        Per band: how DN become the values of the output; empty for DN.
    token
        Names what the job computes.
    batch
        Windows of one call of a network on a GPU; 0: its own choice. Not part of what is computed.
    max_gpu_memory
        Bytes that a process may take of a GPU; 0: all there are.
    """

    scene: Scene
    spec: ModelSpec
    device: str
    precision: str
    plan: Plan
    sample_plan: Plan
    gnyq_ms: tuple[float, ...]
    groups: BandGroups
    dtype: str
    bits: int
    nodata: float | None
    radiometry: str = "dn"
    gain: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()
    token: str = field(default="")
    batch: int = 0
    max_gpu_memory: int = 0

    @classmethod
    def of(cls, scene: Scene, model: Any, device: str, precision: str, radiometry: str = "dn") -> Job:
        """Plan a scene.

        Raises
        ------
        ShipGeoError
            If model, device or precision cannot be used, or the scene has no coefficients for the radiometry.
        """
        gain, offset = _coefficients(scene, radiometry)
        spec = ModelSpec.resolve(model)
        chosen = pick_device(device)
        exact = pick_precision(precision, chosen)
        shape, halo = scene.pair.output.shape, halo_for(scene.pair.ratio)
        gnyq = scene.sensor.gnyq_ms
        values = scene.identity, gnyq, scene.sensor.bits, gain, offset, scene.is_registered
        token = tokenize(values, spec.digest, chosen.type, exact)
        return cls(
            scene=scene,
            spec=spec,
            device=str(chosen) if device != "auto" else "auto",
            precision=precision,
            plan=Plan(shape, spec.window, spec.overlap, halo),
            sample_plan=statistics_plan(shape, halo),
            gnyq_ms=gnyq,
            groups=band_groups(scene.ms.roles, spec.n_band),
            dtype="float32" if gain else scene.ms.dtype,
            bits=scene.sensor.bits,
            nodata=np.nan if gain and choose_nodata(scene) is not None else choose_nodata(scene),
            radiometry=radiometry,
            gain=gain,
            offset=offset,
            token=token,
        )

    @property
    def observes(self) -> bool:
        """Whether it is found out how each band sees what PAN sees, which networks are told."""
        return self.spec.kind == "network"

    @property
    def onto_pan(self) -> bool:
        """Whether bands are brought onto PAN, each by its own shift: where a correction of the shift was asked for."""
        return self.observes and self.scene.is_registered

    @property
    def facts(self) -> dict[str, Any]:
        """All that the pixels of the output depend on, by cause; values that JSON can hold."""
        device = pick_device(self.device)
        return {
            "scene": self.scene.identity,
            "model": self.spec.name,
            "model_digest": self.spec.digest,
            "device": device.type if self.spec.kind == "network" else "any",
            "precision": pick_precision(self.precision, device) if self.spec.kind == "network" else "float32",
            "window": [self.plan.window, self.plan.overlap, self.plan.halo],
            "onto_pan": self.onto_pan,
            "mtf": list(self.gnyq_ms),
            "bits": self.bits,
            "radiometry": self.radiometry,
            "coefficients": [list(self.gain), list(self.offset)],
        }

    def __dask_tokenize__(self) -> str:
        """Name the job by what it computes."""
        return self.token


@dataclass(frozen=True, eq=False)
class Block:
    """A sharpened block.

    Attributes
    ----------
    values
        (band, row, col), data type of the output, nodata in place.
    valid
        (row, col) bool.
    n_clipped, n_moved
        Values cut to the legal range; valid values moved off the nodata value.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_]
    n_clipped: int
    n_moved: int

    @property
    def counts(self) -> dict[str, int]:
        """What is summed over all blocks."""
        return {"n_clipped": self.n_clipped, "n_moved": self.n_moved}


def _coefficients(scene: Scene, radiometry: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if radiometry not in RADIOMETRIES:
        msg = f"`radiometry` must be one of {', '.join(RADIOMETRIES)}, got {radiometry!r}; choose one of them"
        raise ArgumentError(msg)
    if radiometry == "dn":
        return (), ()
    if scene.calibration is None:
        reason = scene.uncalibrated or "the files carry no calibration"
        msg = f"{radiometry} needs the calibration of the scene, got none for {scene.name} ({reason}); use DN"
        raise ArgumentError(msg)
    return scene.calibration.coefficients(radiometry)


def open_source(job: Job) -> SceneSource:
    """Open the scene of a job, once per process; the last few stay open, unpacked ones while their folder lives."""
    source = _SOURCES.get(job.token)
    if source is None:
        while len(_SOURCES) >= MAX_OPEN:
            _SOURCES.pop(next(iter(_SOURCES)), None)
        # What stays open here must not keep a scratch folder that nobody else wants.
        scratch = job.scene.scratch
        source = _SOURCES.setdefault(job.token, SceneSource(replace(job.scene, scratch=None)))
        if scratch is not None:
            weakref.finalize(scratch, _SOURCES.pop, job.token, None).atexit = False
    return source


def measure(job: Job, source: WindowSource | None = None) -> SceneStats:
    """Gather the statistics of a job's scene; those of the last few scenes are remembered.

    Raises
    ------
    ProductError
        If no pixel is valid, or a file cannot be read.
    """
    if source is not None:
        return _gather(job, source)
    stats = _STATS.get(job.token)
    if stats is None:
        while len(_STATS) >= MAX_OPEN:
            _STATS.pop(next(iter(_STATS)), None)
        stats = _gather(job, open_source(job))
        _STATS[job.token] = stats
    return stats


def _gather(job: Job, source: WindowSource) -> SceneStats:
    if not job.observes:
        return gather_stats(source, job.sample_plan, job.scene.sensor)
    stats = gather_stats(source, job.sample_plan, job.scene.sensor, job.scene.pair.ratio)
    return complete(job, stats, read_coarser(source, coarse_pair(job, stats.views), SIDE, MAX_BLOCKS))


def coarse_pair(job: Job, views: Sequence[BandView]) -> Pair:
    """Return what the scene of a job is degraded by, to learn from it."""
    scene = job.scene
    gains = tuple(view.gnyq for view in views)
    return Pair(scene.pair.output.shape, scene.pair.ratio, gains, scene.sensor.gnyq_pan)


def complete(job: Job, stats: SceneStats, coarser: CoarseScene | None) -> SceneStats:
    """Add to the statistics of a scene what the network of a job must be told beside them.

    Parameters
    ----------
    job, stats
        The job and the statistics of its scene.
    coarser
        The scene one scale coarser, by `coarse_pair`.
    """
    fuser = load_fuser(job.spec, job.device, job.precision, batch_size=job.batch, max_gpu_memory=job.max_gpu_memory)
    if not isinstance(fuser, NetworkFuser):  # never: the job says that it is one
        raise TypeError(type(fuser))
    mixture = fit_mixture(coarser, fuser.residual, job.groups, len(job.gnyq_ms))
    return replace(stats, mixture=mixture, onto_pan=job.onto_pan)


def sharpen(job: Job, stats: SceneStats, block: Box, source: WindowSource | None = None) -> Block:
    """Sharpen one block of a job.

    Parameters
    ----------
    job, stats
        The job and the statistics of its scene.
    block
        (row0, row1, col0, col1) on the output grid.
    source
        Where windows are read; the job's files by default.
    """
    fused, valid = _fuse(job, stats, block, source or open_source(job))
    limits = value_limits(job.scene.ms.dtype, job.bits, stats.ms_max)
    fused[:, ~valid] = 0
    if job.gain:
        values, n_clipped = to_physical(fused, limits, job.gain, job.offset)
    else:
        values, n_clipped = to_dtype(fused, job.dtype, limits)
    del fused  # the copies that follow are large
    values, n_moved = apply_nodata(values, valid, job.nodata)
    return Block(values, valid, n_clipped, n_moved)


def _fuse(
    job: Job, stats: SceneStats, block: Box, source: WindowSource
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    fuser = load_fuser(job.spec, job.device, job.precision, batch_size=job.batch, max_gpu_memory=job.max_gpu_memory)

    def fuse(part: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        return fuse_block(
            source, job.plan, part, fuser, stats, gnyq_ms=job.gnyq_ms, groups=job.groups, cache_key=job.token
        )

    parts = parts_of(block, job.plan, GPU_PARTS if fuser.device_type == "cuda" else 1)
    if len(parts) == 1:
        return fuse(block)
    # A GPU is left alone while the next windows are read and prepared, unless somebody else does that meanwhile.
    with ThreadPoolExecutor(len(parts), thread_name_prefix="ship-geo-part") as pool:
        made = list(pool.map(fuse, parts))
    return np.concatenate([values for values, _ in made], axis=1), np.concatenate([valid for _, valid in made])


def parts_of(block: Box, plan: Plan, n_part: int) -> list[Box]:
    """Cut a block into at most `n_part` stripes of rows, at the windows' starts."""
    row0, row1, col0, col1 = block
    stride = plan.rows.stride
    n_window = -(-(row1 - row0) // stride)
    step = -(-n_window // max(1, n_part)) * stride
    return [(row, min(row + step, row1), col0, col1) for row in range(row0, row1, step)]


def sharpen_into(
    job: Job, stats: SceneStats, block: Box, sink: BlockSink | None, source: WindowSource | None = None
) -> Entry | Block:
    """Sharpen one block and write it, where this process sees the folder of the run; else give it back.

    Parameters
    ----------
    job, stats, block, source
        See `sharpen`.
    sink
        Where the block goes; None: it is always given back.

    Returns
    -------
    Entry or Block
        What was noted of a block that is on the disk, or the block.
    """
    made = sharpen(job, stats, block, source)
    if sink is None or not sink.can_see():
        return made
    return sink.write(block, made.values, made.valid, made.counts)
