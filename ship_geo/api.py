"""The public verbs: open a scene, sharpen it, plan the work, judge the result.

Each function reads top to bottom as the way of the data: source, scene, job, lazy array or file. Not a place for
computing. The convention that could surprise: nothing is computed before it is asked for, unless `output` is given.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Unpack
from warnings import warn

import rioxarray
import xarray as xr

import ship_geo.accessor  # noqa: F401  registers .ship_geo of xarray
from ship_geo._typing import PathLike
from ship_geo.alignment import register_scene
from ship_geo.arrays import sharpen_arrays
from ship_geo.assessment import Assessment, Options, assess_images
from ship_geo.baselines.registry import METHODS, method_names
from ship_geo.budget import Budget, forecast
from ship_geo.catalog import find_scenes
from ship_geo.dispatch import Log
from ship_geo.errors import ArgumentError, CheckpointError
from ship_geo.fusers import pick_device, pick_precision
from ship_geo.jobs import Job
from ship_geo.lazy import Chunks, attributes, lazy_array, run_facts
from ship_geo.nn.weights import ShipPlusPlus_Weights
from ship_geo.progress import track_blocks
from ship_geo.provenance import software_version, tags_of
from ship_geo.runner import run_job
from ship_geo.scene import Scene, SceneOptions, open_scene
from ship_geo.sensors import Sensor
from ship_geo.tuning import Tuning, check_weights, tune
from ship_geo.writer import PIXELS, Format, OutputProfile, Staging, check_free, check_names, check_output, format_of

__all__ = [
    "assess",
    "find_scenes",
    "list_models",
    "open_scene",
    "pansharpen",
    "pansharpen_scene",
    "plan_scene",
    "quality",
]


REPORT_BASELINES = ("exp", "bt-h", "bdsd-pc", "mtf-glp-fs")
"""Methods that the report of `pansharpen_scene` compares with: the floor, what GIS programs do, and two good ones."""


def pansharpen_scene(  # noqa: PLR0913  one verb, its options by keyword
    source: PathLike | Scene | None = None,
    *,
    ms: PathLike | Sequence[PathLike] | None = None,
    pan: PathLike | None = None,
    sensor: str | Sensor | None = None,
    bands: Sequence[str] | None = None,
    model: Any = "auto",
    device: str = "auto",
    precision: str = "auto",
    chunks: Chunks = "auto",
    register: Literal["auto", "report", "off"] = "report",
    radiometry: Literal["dn", "radiance", "toa"] = "dn",
    output: PathLike | None = None,
    to: Literal["auto", "cog", "zarr"] = "auto",
    overwrite: bool = False,
    restart: bool = False,
    stac: bool = False,
    report: PathLike | None = None,
    compare: Sequence[str] = REPORT_BASELINES,
    progress: bool = True,
    max_memory: str | int | None = None,
    max_gpu_memory: str | int | None = None,
    client: Any = None,
    log: Log | None = None,
    adapt: Literal["off", "auto"] | int = "off",
    adapt_time: float | None = None,
    save_weights: PathLike | None = None,
    **opening: Unpack[SceneOptions],
) -> xr.DataArray:
    """Sharpen a scene onto its PAN grid.

    Parameters
    ----------
    source
        What the operator delivered: a folder, ``.tar``, ``.tar.gz`` or ``.zip``, or any file of it; a folder with one
        PAN / MS pair, a file beside which its partner lies, a stacked file whose PAN band is named, or an opened
        `Scene`.
    ms, pan
        The pair itself, instead of `source`; `ms` may be a list of single-band files.
    sensor
        Name of the sensor where the files do not tell, for instance ``"WorldView-2"``.
    bands
        Roles of the MS bands in file order where the files do not tell: ``("blue", "green", "red", "nir")``.
    model
        ``"auto"`` (the shipped SHIP++ weights), the name of other weights, the path of a checkpoint, or a classical
        method: ``"brovey"``, ``"bt-h"``, ``"gsa"``, ``"bdsd-pc"``, ``"mtf-glp-fs"``, ``"mtf-glp-hpm"``,
        ``"mtf-glp-hpm-r"``, ``"exp"``.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    precision
        ``"auto"``, ``"float32"`` or ``"bfloat16"`` for the network's convolutions.
    chunks
        Rows and columns of the output's chunks; they do not change the result.
    register
        The shift between PAN and MS: ``"report"`` measures it when `output` is written and warns where it is large,
        ``"auto"`` measures it at once, and corrects it where it is, ``"off"`` does not look.
    radiometry
        Values of the result: ``"dn"``, ``"radiance"`` in W m-2 sr-1 um-1, or ``"toa"``, reflectance at the top of the
        atmosphere; the latter two are float32 and need the calibration of the product.
    output
        Path to write. Blocks are streamed into a hidden folder beside it; it is there when complete, not before.
    to
        ``"cog"`` (GeoTIFF), ``"zarr"`` (Zarr v3, whose shards workers write directly), or ``"auto"``: by the suffix.
    overwrite
        Whether an existing `output` may be replaced.
    restart
        Whether to start anew where an interrupted run to the same `output` left finished blocks; else the same call
        goes on with them, if scene, model and parameters are the same.
    stac
        Write a STAC Item beside `output`, too.
    report
        Path of an HTML page that shows how good `output` is, see `ship_geo.report`; it reads the scene once more.
        `overwrite` holds for it, too.
    compare
        Classical methods that the report compares with, see `list_models`.
    progress
        Show progress on the standard error while writing.
    max_memory, max_gpu_memory
        Most that a process may take while writing, bytes or text such as ``"2GiB"``; blocks and batches are chosen to
        fit. None: no limit.
    client
        A `distributed.Client` whose workers make the blocks of `output`; an active one is used without being passed.
    log
        Called while writing with the name of each event, and facts by keyword; see `ship_geo.runner.run_job`.
    adapt
        Fit the network to the scene before it is fused: ``"auto"``, a number of steps, or ``"off"``. The scene degraded
        once more is what it learns from; the weights of the start are kept where a held-out part shows no gain.
    adapt_time
        Seconds after which fitting stops, whatever step it is; the result then depends on the machine. Default 200.
    save_weights
        Where the fitted weights are kept, for other scenes of the same strip (``model=``). A file there that was made
        of the same scene and weights is used as it is, another is replaced with `overwrite`. On a cluster it must lie
        where all workers see it.
    **opening
        How the scene is opened, see `ship_geo.scene.SceneOptions`: ``product``, ``geometry``, ``dem`` and others.

    Returns
    -------
    xarray.DataArray
        Dims ("band", "y", "x") on the PAN grid (common overlap), data type and nodata value of MS, `.rio.crs`. Lazy;
        with `output` the opened file, its record of the run as JSON in ``attrs["ship_geo_record"]``.

    Warns
    -----
    UserWarning
        When PAN and MS are shifted against each other and the shift is not corrected.

    Raises
    ------
    ArgumentError
        When an argument cannot work, two files to be written are one, or an argument has a meaning for a written file
        only and there is no `output`; `GridError` when the grids do not fit each other.
    ProductError
        When a file is missing, damaged or not understood, or no pixel is valid.
    CheckpointError
        When the weights cannot be used.
    OutputError
        When the output exists or cannot be written; nothing half-written remains.

    Examples
    --------
    >>> import ship_geo  # doctest: +SKIP
    >>> fused = ship_geo.pansharpen_scene("delivery/", output="fused.tif")  # doctest: +SKIP
    """
    if output is None:
        memory = {"max_memory": max_memory, "max_gpu_memory": max_gpu_memory}
        is_replacing = overwrite and save_weights is None
        _refuse_unwritten(**memory, to=to, stac=stac, overwrite=is_replacing, restart=restart)
    scene = _as_scene(source, ms=ms, pan=pan, sensor=sensor, bands=bands, **opening)
    _check_weights(scene, model, save_weights, {"output": output, "report": report})
    method_names(compare)
    _check_files(scene, output, to, report, radiometry, stac=stac, overwrite=overwrite)
    if register == "auto" or output is not None:
        scene = register_scene(scene, register)
    tuning = Tuning.of(adapt, adapt_time, save_weights, overwrite=overwrite)
    job, adaptation = tune(Job.of(scene, model, device, precision, radiometry), tuning, client)
    if output is None:
        return lazy_array(job, chunks)
    run = RunOptions(chunks, max_memory, max_gpu_memory, client, restart, log, adaptation, format_of(output, to))
    written = _write(job, run, output, overwrite=overwrite, stac=stac, progress=progress)
    if report is not None:
        judged = written if run.to == "zarr" else output
        with _told_as_missing("the report", output, "; make it with `ship-geo quality`"):
            assess(judged, scene, baselines=compare, progress=progress).to_html(report, overwrite=overwrite)
    return written


@contextmanager
def _told_as_missing(
    what: str, output: PathLike, remedy: str = "; make both anew, replacing the output"
) -> Iterator[None]:
    """Let an error that comes after the output was made tell that only something beside it is missing."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"{output} is finished, {what} is not{remedy}")
        raise


def _refuse_unwritten(**given: Any) -> None:
    """Refuse what has a meaning for a file only, where none is written."""
    for name, value in given.items():
        if value not in (None, False, "auto"):
            msg = f"`{name}` is for a written file, got {name}={value!r} without `output=`; leave it out, or pass both"
            raise ArgumentError(msg)


def _check_weights(scene: Scene, model: Any, path: PathLike | None, others: dict[str, PathLike | None]) -> None:
    """Find out whether fitted weights would replace what is read, or what is written beside them."""
    if path is not None:
        read = [model] if isinstance(model, str | os.PathLike) else []
        check_names({"save_weights": path}, [*scene.files, *read])
        check_names({**others, "save_weights": path})
        check_weights(Path(path))


def _check_files(
    scene: Scene,
    output: PathLike | None,
    to: Literal["auto", "cog", "zarr"],
    report: PathLike | None,
    radiometry: str,
    *,
    stac: bool,
    overwrite: bool,
) -> None:
    """Find out before any work is done whether all that shall be written can be."""
    if output is not None:
        check_output(output, overwrite=overwrite, inputs=scene.files, to=format_of(output, to))
        check_free(output)
        if stac:
            from ship_geo.stac import check_item  # loads geopandas

            check_item(output, scene, overwrite=overwrite)
    if report is not None:
        check_names({"output": output, "report": report})
        _check_page(report, output, scene, radiometry, overwrite=overwrite)


def _check_page(report: PathLike, output: PathLike | None, scene: Scene, radiometry: str, *, overwrite: bool) -> None:
    from ship_geo.report import check_report

    if output is None:
        msg = f"`report` judges a written file, got {report} without `output=`; say where the result goes, too"
        raise ArgumentError(msg)
    if radiometry != "dn":
        msg = f"`report` compares DN with DN, got radiometry={radiometry!r}; leave it out, or use radiometry='dn'"
        raise ArgumentError(msg)
    check_report(report, overwrite=overwrite, inputs=scene.files)


def _write(job: Job, run: RunOptions, output: PathLike, *, overwrite: bool, stac: bool, progress: bool) -> xr.DataArray:
    facts = run_facts(job)
    profile = OutputProfile.from_scene(job.scene, tags_of(job.scene, facts))
    if job.gain:
        profile = replace(profile, dtype=job.dtype, nodata=job.nodata, scales=(), offsets=())
    budget = run.budget(job)
    blocks = job.plan.blocks(budget.block_shape)
    inputs = job.scene.files
    with (
        Staging(
            output,
            profile,
            _causes(job),
            blocks,
            overwrite=overwrite,
            inputs=inputs,
            restart=run.restart,
            to=run.to,
        ) as staging,
        track_blocks(job.plan.shape[0] * job.plan.shape[1], enabled=progress) as advance,
    ):
        if staging.restarted_because:
            warn(f"the job starts anew: {staging.restarted_because}", UserWarning, stacklevel=3)
        record = run_job(job, staging, blocks, client=run.client, budget=budget, advance=advance, log=run.log)
    if stac:
        from ship_geo.stac import write_item

        with _told_as_missing("the STAC Item", output):
            write_item(output, job.scene, facts, overwrite=overwrite)
    told = {
        "shift": facts["shift"],
        "warnings": list(job.scene.warnings),
        "adaptation": run.adaptation,
        **asdict(record),
    }
    return _reopen(Path(output), job, json.dumps(told), run.to)


@dataclass(frozen=True)
class RunOptions:
    """How a job is run: what `pansharpen_scene` is told of blocks, memory and workers."""

    chunks: Chunks
    max_memory: str | int | None
    max_gpu_memory: str | int | None
    client: Any
    restart: bool = False
    log: Log | None = None
    adaptation: dict[str, Any] | None = None
    to: Format = "cog"

    def budget(self, job: Job) -> Budget:
        """Choose blocks and batches."""
        return Budget.of(
            job,
            self.chunks,
            max_memory=self.max_memory,
            max_gpu_memory=self.max_gpu_memory,
            client=self.client,
        )


def _causes(job: Job) -> dict[str, Any]:
    """Return what the pixels of a job depend on, by names that tell a user why it must start anew."""
    return {
        "scene": job.scene.identity,
        "model": job.spec.digest,
        "radiometry": [job.radiometry, list(job.gain), list(job.offset)],
        "precision": job.precision,
        "sensor": [list(job.gnyq_ms), job.bits],
        "version": software_version(),
    }


def _reopen(path: Path, job: Job, record: str, to: Format) -> xr.DataArray:
    if to == "zarr":
        held = xr.open_zarr(path, chunks={}, decode_coords="all", mask_and_scale=False)
        return xr.DataArray(held[PIXELS].assign_attrs(**attributes(job), ship_geo_record=record))
    opened = rioxarray.open_rasterio(path, chunks={"band": -1, "y": 2048, "x": 2048}, masked=False)
    if not isinstance(opened, xr.DataArray):  # never for a plain GeoTIFF
        raise TypeError(type(opened))
    named = opened.assign_coords(band=list(job.scene.ms.roles)).rename("pansharpened")
    return named.assign_attrs(**attributes(job), ship_geo_record=record)


def pansharpen(
    ms: xr.DataArray | xr.Dataset,
    pan: xr.DataArray | xr.Dataset,
    *,
    sensor: str | Sensor | None = None,
    bands: Sequence[str] | None = None,
    model: Any = "auto",
    device: str = "auto",
    precision: str = "auto",
    chunks: Chunks = "auto",
) -> xr.DataArray:
    """Sharpen two arrays; lazy, also where they are.

    Parameters
    ----------
    ms
        Dims ("band", "y", "x") with `.rio` georeference; NaN and `.rio.nodata` are invalid. A Dataset has one variable
        per band; bands keep their names.
    pan
        Dims ("y", "x") or ("band", "y", "x") with one band.
    sensor, bands, model, device, precision, chunks
        As in `pansharpen_scene`; `bands` defaults to the names of the band coordinate.

    Returns
    -------
    xarray.DataArray
        Dims ("band", "y", "x") on the PAN grid (common overlap), data type and nodata value of `ms`.

    Raises
    ------
    ArgumentError
        When an argument cannot work; `GridError` when the grids do not fit each other.
    """
    return sharpen_arrays(
        ms, pan, sensor=sensor, bands=bands, model=model, device=device, precision=precision, chunks=chunks
    )


def plan_scene(  # noqa: PLR0913  the arguments of `pansharpen_scene`
    source: PathLike | Scene | None = None,
    *,
    ms: PathLike | Sequence[PathLike] | None = None,
    pan: PathLike | None = None,
    sensor: str | Sensor | None = None,
    bands: Sequence[str] | None = None,
    model: Any = "auto",
    device: str = "auto",
    precision: str = "auto",
    chunks: Chunks = "auto",
    register: Literal["auto", "report", "off"] = "report",
    radiometry: Literal["dn", "radiance", "toa"] = "dn",
    output: PathLike | None = None,
    to: Literal["auto", "cog", "zarr"] = "auto",
    overwrite: bool = False,
    stac: bool = False,
    report: PathLike | None = None,
    compare: Sequence[str] = REPORT_BASELINES,
    max_memory: str | int | None = None,
    max_gpu_memory: str | int | None = None,
    client: Any = None,
    measured: bool = False,
    **opening: Unpack[SceneOptions],
) -> dict[str, Any]:
    """Say what `pansharpen_scene` would do with the same arguments, without doing it.

    The files to be written are checked as they would be there; a shift is measured only for ``register="auto"``.

    Returns
    -------
    dict
        Plain values: scene, model, device, output shape, data type, windows, blocks, bytes of the output
        (uncompressed), memory and disk that it takes; with `measured` also the seconds, from a few windows that are
        sharpened for it.
    """
    scene = _as_scene(source, ms=ms, pan=pan, sensor=sensor, bands=bands, **opening)
    method_names(compare)
    _check_files(scene, output, to, report, radiometry, stac=stac, overwrite=overwrite)
    if register == "auto":
        scene = register_scene(scene, register)
    job = Job.of(scene, model, device, precision, radiometry)
    budget = RunOptions(chunks, max_memory, max_gpu_memory, client).budget(job)
    chosen = pick_device(device)
    profile = OutputProfile.from_scene(scene)
    forecasted = forecast(job, budget, staged_bytes=profile.n_staged, measured=measured)
    n_band = len(job.gnyq_ms)
    return {
        "scene": scene.name,
        "sensor": scene.sensor.title,
        "bands": list(scene.ms.roles),
        "model": job.spec.name,
        "model_digest": job.spec.digest,
        "device": str(chosen),
        "precision": pick_precision(precision, chosen) if job.spec.kind == "network" else "float32",
        "output_shape": [n_band, *job.plan.shape],
        "dtype": job.dtype,
        "nodata": job.nodata,
        "windows": len(job.plan),
        "window": job.plan.window,
        "overlap": job.plan.overlap,
        "output_bytes": profile.n_byte,
        **forecasted,
    }


def assess(  # noqa: PLR0913  images, what is known of them, and options by keyword
    fused: PathLike | xr.DataArray | xr.Dataset,
    source: PathLike | Scene | None = None,
    *,
    ms: PathLike | Sequence[PathLike] | xr.DataArray | xr.Dataset | None = None,
    pan: PathLike | xr.DataArray | xr.Dataset | None = None,
    ref: PathLike | xr.DataArray | xr.Dataset | None = None,
    sensor: str | Sensor | None = None,
    bands: Sequence[str] | None = None,
    baselines: Sequence[str] = (),
    tile: int | str = "auto",
    border: int | tuple[int, int] = 0,
    peak: float | None = None,
    progress: bool = False,
    **opening: Unpack[SceneOptions],
) -> Assessment:
    """Judge a sharpened scene of any size, per tile, per band and in total.

    The scene is read once, block by block; memory depends on the block and not on the scene.

    Parameters
    ----------
    fused
        The result, a path or an array (lazy or not), on the output grid of the pair. DN, as they were written.
    source
        The delivery that it was made from, as in `pansharpen_scene`, or an opened `Scene`.
    ms, pan
        The pair itself, instead of `source`: both files, or both arrays.
    ref
        A reference on the grid of the result, where one exists. An image that says that its bands are in another order
        than those of MS, or that its values are no DN, is refused.
    sensor, bands, **opening
        As in `pansharpen_scene`.
    baselines
        Names of classical methods to compare with, see `list_models`; they are made block by block in the same pass
        and not written.
    tile
        Rows and columns of a tile of the map, a multiple of 32 pixels up to 1024, or ``"auto"``. Totals do not depend
        on it.
    border
        Pixels to cut off each side before anything is counted, or (leading, trailing); published tables at reduced
        resolution cut (20, 21).
    peak
        Largest value for PSNR and SSIM, DN; ``2**bits - 1`` of the sensor by default.
    progress
        Show progress on the standard error.

    Returns
    -------
    Assessment
        ``.totals``, ``.comparison``, ``.dataset`` (per tile and band), ``.to_json()``, ``.to_html()``, ``.plot()``.

    Warns
    -----
    UserWarning
        When an index had nothing to count; it is NaN.

    Raises
    ------
    ArgumentError
        When the result is not on the grid of the pair, or an argument cannot work.
    ProductError
        When a file is missing or damaged.

    Examples
    --------
    >>> import ship_geo  # doctest: +SKIP
    >>> judged = ship_geo.assess("fused.tif", "delivery/", baselines=("exp", "mtf-glp-fs"))  # doctest: +SKIP
    >>> judged.totals["hqnr"], judged.comparison["exp"]["hqnr"]  # doctest: +SKIP
    """
    options = Options(baselines, tile, border, peak, progress)
    pair: dict[str, Any] = {"ms": ms, "pan": pan, "sensor": sensor, "bands": bands, **opening}
    return assess_images(fused, source, ref=ref, options=options, **pair)


def quality(
    fused: PathLike | xr.DataArray | xr.Dataset,
    source: PathLike | Scene | None = None,
    **arguments: Any,
) -> dict[str, float]:
    """Judge a sharpened scene by its totals alone.

    Parameters
    ----------
    fused, source, **arguments
        As in `assess`.

    Returns
    -------
    dict of str to float
        With `ref`: sam (degrees), ergas, q2n, q, psnr (dB), rmse (DN), cc, ssim, scc_sobel, scc_laplacian. Always:
        d_lambda, d_s, qnr, d_lambda_k, hqnr, d_rho, valid_fraction; and where MS is large enough for their windows
        r_sam, r_ergas, r_q2n, r_q. See `ship_geo.metrics`.
    """
    return assess(fused, source, **arguments).totals


def list_models() -> list[dict[str, Any]]:
    """Return what `model=` takes by name: weights that are shipped, then classical methods."""
    networks = [_describe_weights(member) for member in ShipPlusPlus_Weights]
    classical = [
        {
            "name": name,
            "kind": "classical",
            "title": method.title,
            "citation": method.citation,
            "licence": "",
            "bytes": 0,
        }
        for name, method in METHODS.items()
    ]
    return [*networks, *classical]


def _describe_weights(member: ShipPlusPlus_Weights) -> dict[str, Any]:
    known: dict[str, Any] = {
        "name": member.name,
        "kind": "network",
        "title": "SHIP++",
        "citation": "Zhou et al. 2025, IEEE TPAMI 47(2)",
    }
    try:
        meta = member.meta
    except CheckpointError as error:
        return {**known, "licence": "", "bytes": 0, "problem": str(error)}
    return {**known, "licence": str(meta.get("licence", "")), "bytes": member.path.stat().st_size}


def _as_scene(source: PathLike | Scene | None, **selection: Any) -> Scene:
    if not isinstance(source, Scene):
        return open_scene(source, **selection)
    given = [name for name, value in selection.items() if value is not None]
    if given:
        msg = f"an opened scene is taken as it is, got {', '.join(given)} beside it; pass them to `open_scene`"
        raise ArgumentError(msg)
    return source
