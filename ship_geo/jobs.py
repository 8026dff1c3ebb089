"""A job: everything a worker must know to sharpen any block of a scene, and the functions that do it there.

The job is small and plain, so that it can travel; files are opened, and the model is loaded, where the work is done.
Not for graphs or writing: `ship_geo.lazy` and `ship_geo.api` build on this. The convention that could surprise: a
block comes back in the output's data type with nodata in place, and with its mask, so that nothing is decided twice.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from ship_geo._typing import Box
from ship_geo.errors import ArgumentError
from ship_geo.fusers import BandGroups, ModelSpec, band_groups, load_fuser, pick_device, pick_precision
from ship_geo.inference import (
    SceneSource,
    WindowSource,
    fuse_block,
    gather_stats,
    stats_plan,
    to_dtype,
    to_physical,
    value_limits,
)
from ship_geo.scene import Scene
from ship_geo.stats import SceneStats
from ship_geo.tiling import Plan, halo_for
from ship_geo.writer import apply_nodata, choose_nodata

RADIOMETRIES = ("dn", "radiance", "toa")

MAX_OPEN = 8
"""Scenes whose files a process keeps open."""

_SOURCES: dict[str, SceneSource] = {}


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
        token = tokenize(scene.identity, gnyq, scene.sensor.bits, spec.digest, chosen.type, exact, gain, offset)
        return cls(
            scene=scene,
            spec=spec,
            device=str(chosen) if device != "auto" else "auto",
            precision=precision,
            plan=Plan(shape, spec.window, spec.overlap, halo),
            sample_plan=stats_plan(shape, halo),
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
    """Gather the statistics of a job's scene.

    Raises
    ------
    ProductError
        If no pixel is valid, or a file cannot be read.
    """
    return gather_stats(source or open_source(job), job.sample_plan, job.gnyq_ms)


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
    fuser = load_fuser(job.spec, job.device, job.precision)
    fused, valid = fuse_block(
        source or open_source(job),
        job.plan,
        block,
        fuser,
        stats,
        gnyq_ms=job.gnyq_ms,
        groups=job.groups,
        cache_key=job.token,
    )
    limits = value_limits(job.scene.ms.dtype, job.bits, stats.ms_max)
    fused[:, ~valid] = 0
    if job.gain:
        values, n_clipped = to_physical(fused, limits, job.gain, job.offset)
    else:
        values, n_clipped = to_dtype(fused, job.dtype, limits)
    values, n_moved = apply_nodata(values, valid, job.nodata)
    return Block(values, valid, n_clipped, n_moved)
