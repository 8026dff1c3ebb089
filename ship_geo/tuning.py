"""A job whose network is fitted to its scene first: when, where the weights are kept, and what a run is told.

How a network is fitted is `ship_geo.adapt`. Weights of a scene are a checkpoint like any other; its notes tell what
they were made of, so that the same call finds them again, and another scene of the strip can use them. The convention
that could surprise: on a cluster one worker fits the network, before any block is made, and the file must lie where all
workers see it.
"""

from __future__ import annotations

import atexit
import json
import math
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from warnings import warn

import torch

from ship_geo._typing import PathLike
from ship_geo.adapt import AdaptConfig, adapt
from ship_geo.errors import ArgumentError, CheckpointError, OutputError
from ship_geo.fusers import ModelSpec, pick_device, settle_threads
from ship_geo.jobs import Job, coarse_pair, measure, open_source
from ship_geo.nn.checkpoint import build_model, load_checkpoint, save_checkpoint
from ship_geo.nn.sharpener import Sharpener
from ship_geo.nn.weights import resolve_weights
from ship_geo.writer.checks import check_output


@dataclass(frozen=True)
class Tuning:
    """Whether and how the network of a job is fitted to its scene.

    Attributes
    ----------
    config
        Steps, time and seed; None: not at all.
    path
        Where the weights go; None: into a folder that goes away with this process.
    overwrite
        Whether other weights there may be replaced.
    """

    config: AdaptConfig | None = None
    path: Path | None = None
    overwrite: bool = False

    @classmethod
    def of(
        cls,
        how: str | int = "off",
        seconds: float | None = None,
        path: PathLike | None = None,
        *,
        overwrite: bool = False,
    ) -> Tuning:
        """Read the arguments of `ship_geo.pansharpen_scene`.

        Raises
        ------
        ArgumentError
            If one of them cannot work, or weights shall be saved that are not fitted.
        """
        if how == "off":
            if path is not None:
                msg = f"weights are saved where they are fitted to the scene, got {path} without it; adapt, too"
                raise ArgumentError(msg)
            if seconds is not None:
                msg = f"`adapt_time` is for fitting the network, got {seconds} without it; adapt, too, or leave it out"
                raise ArgumentError(msg)
            return cls()
        config = AdaptConfig()
        if how != "auto":
            if isinstance(how, bool) or not isinstance(how, int) or how < 1:
                msg = f"`adapt` is 'off', 'auto' or a positive number of steps, got {how!r}; choose one of them"
                raise ArgumentError(msg)
            config = replace(config, steps=how)
        if seconds is not None:
            if not 0 < seconds < math.inf:
                usual = f"leave it out for {config.max_seconds:g}"
                msg = f"`adapt_time` is a positive number of seconds, got {seconds}; {usual}"
                raise ArgumentError(msg)
            config = replace(config, max_seconds=float(seconds))
        return cls(config, None if path is None else Path(path), overwrite)


def check_weights(path: Path) -> None:
    """Check that weights can be written, and would replace no file of another kind; an empty one is none.

    Raises
    ------
    ArgumentError
        When the file is there and holds no tensors.
    OutputError
        When the path is a folder, or its own is missing or not writable.
    """
    check_output(path, overwrite=True)
    if not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(9)
    if head and head[8:] != b"{":  # a safetensors file: eight bytes for the size of the header, which is JSON
        msg = f"fitted weights replace weights only, got {path} that holds none; choose another name"
        raise ArgumentError(msg)


def tune(job: Job, tuning: Tuning, client: Any = None) -> tuple[Job, dict[str, Any] | None]:
    """Fit the network of a job to its scene, where that is wanted.

    Parameters
    ----------
    job
        The job.
    tuning
        Whether and how.
    client
        A `distributed.Client` one worker of which does the work; None: here.

    Returns
    -------
    job
        With the fitted weights as its model.
    record
        What was done, as plain values; None where nothing was wanted.

    Raises
    ------
    ArgumentError
        If the model is no network.
    OutputError
        If there are other weights where these should go, or they cannot be written.
    """
    if tuning.config is None:
        return job, None
    if job.spec.kind != "network":
        msg = f"networks are fitted to a scene, got the classical method {job.spec.name}; adapt='off', or a network"
        raise ArgumentError(msg)
    path, made_of = tuning.path or _passing_path(), _made_of(job, tuning.config)
    record = _known(path, made_of)
    if record is None:
        if path.exists() and not tuning.overwrite:
            msg = f"weights are not replaced without being told so, got {path} made of something else; overwrite it"
            raise OutputError(msg)
        record = _there(client, job, tuning.config, path, made_of)
    if not record["is_adapted"]:
        warn(f"the weights are used as they are, not fitted to the scene: {record['reason']}", stacklevel=3)
        return job, record
    spec = replace(ModelSpec.resolve(path), name=f"{job.spec.name} adapted")
    tuned = replace(job, spec=spec, token=f"{job.token}-{spec.digest[:16]}")
    return tuned, record


def _there(client: Any, job: Job, config: AdaptConfig, path: Path, made_of: str) -> dict[str, Any]:
    if client is None:
        return fit_to_scene(job, config, path, made_of)
    made: dict[str, Any] = client.submit(fit_to_scene, job, config, path, made_of, pure=False).result()
    return made


def fit_to_scene(job: Job, config: AdaptConfig, path: Path, made_of: str) -> dict[str, Any]:
    """Fit the network of a job to its scene, write the weights, and return what was done."""
    checkpoint = resolve_weights(job.spec.path)
    network = build_model(checkpoint)
    if not isinstance(network, Sharpener):
        msg = f"a pan-sharpening network is fitted to a scene, got {checkpoint.kind}; pass other weights"
        raise CheckpointError(msg)
    stats, scene = measure(job), job.scene
    pair = coarse_pair(job, stats.views)
    device = pick_device(job.device)
    settle_threads(device)
    network = network.to(device).to(memory_format=torch.channels_last)
    tuned, done = adapt(network, open_source(job), pair, job.groups, config)
    errors = ("error_before", "error_after")  # NaN where nothing was tried, which JSON does not know
    record = asdict(done) | {key: None for key in errors if math.isnan(getattr(done, key))}
    source = f"; then fitted to the scene {scene.name}" if done.is_adapted else ""
    save_checkpoint(
        path,
        tuned.cpu(),
        window=checkpoint.window,
        overlap=checkpoint.overlap,
        trained_on=checkpoint.trained_on + source,
        licence=checkpoint.licence,
        metrics=checkpoint.metrics,
        notes={**checkpoint.notes, "adapted": made_of, "adaptation": json.dumps(record)},
    )
    return record


def _made_of(job: Job, config: AdaptConfig) -> str:
    """Text that is the same for the same scene, weights, and way of fitting."""
    facts = {"scene": job.scene.identity, "model": job.spec.digest, "bits": job.bits, "config": asdict(config)}
    return json.dumps({**facts, "device": pick_device(job.device).type}, sort_keys=True)


def _known(path: Path, made_of: str) -> dict[str, Any] | None:
    """Return what was done when the weights at a path were made, if they were made of the same."""
    if not path.exists():
        return None
    try:
        notes = load_checkpoint(path).notes
    except CheckpointError:
        return None
    if notes.get("adapted") != made_of:
        return None
    record: dict[str, Any] = json.loads(notes["adaptation"])
    return record


def _passing_path() -> Path:
    folder = tempfile.mkdtemp(prefix="ship-geo-weights-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / "adapted.safetensors"
