"""Recipes for Dask clusters: processes of this machine, its GPUs, a Slurm queue, or a scheduler that runs already.

`open_cluster` gives the client that `ship_geo` uses while it is open, and takes down what it has put up. A recipe is
named ``none``, ``local``, ``cuda`` or ``slurm``, is the address of a scheduler (``tcp://...``; those of Dask Gateway,
Kubernetes and Coiled print theirs), or is a TOML file with the fields of `Recipe`, see ``pipelines/configs/clusters``.
Not for starting workers by hand: ``dask scheduler`` and ``dask worker ADDRESS --resources GPU=1`` do that. Two
conventions could surprise. Workers of local clusters have one thread each, since a block keeps a core busy. And every
worker with GPUs declares them as the resource ``GPU``, so that as many blocks run on it at a time as it has GPUs.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from ship_geo.errors import ArgumentError, ShipGeoError
from ship_geo.provenance import software_version

KINDS = ("none", "local", "cuda", "slurm", "address")


class ClusterError(ShipGeoError):
    """A cluster cannot be put up or reached, or its workers cannot work."""


@dataclass(frozen=True)
class Recipe:
    """How a cluster is put up.

    Attributes
    ----------
    kind
        One of `KINDS`.
    address
        Of the scheduler, for ``"address"``.
    workers
        Worker processes, for Slurm jobs; by default one per core, per GPU, or one job.
    threads
        Of each worker process.
    memory
        Limit of each worker process, for instance ``"8GiB"``; for Slurm that of the job, which must be given.
    gpus
        Of each worker process, declared as the resource ``GPU``; for Slurm asked for with ``--gpus``.
    queue, account, walltime
        For Slurm: partition, account and longest time of a job, ``HH:MM:SS``.
    directives
        For Slurm: more ``#SBATCH`` options.
    prologue
        For Slurm: shell lines that run before the worker, for instance ``module load`` or ``source .../activate``.
    python
        For Slurm: the interpreter on the nodes; by default the one that runs here.
    interface
        For Slurm: network interface of scheduler and workers, for instance ``"ib0"``.
    logs, scratch
        For Slurm: folders for the logs of jobs, and for what a worker spills.
    wait
        Seconds until the first worker must be there, and for local clusters all of them.
    """

    kind: str = "none"
    address: str = ""
    workers: int | None = None
    threads: int = 1
    memory: str | None = None
    gpus: int = 0
    queue: str | None = None
    account: str | None = None
    walltime: str = "01:00:00"
    directives: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    python: str | None = None
    interface: str | None = None
    logs: str | None = None
    scratch: str | None = None
    wait: float = 300.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            msg = f"a cluster must be one of {', '.join(KINDS)}, got {self.kind!r}; name one of them"
            raise ArgumentError(msg)
        if self.kind == "address" and "://" not in self.address:
            msg = f"a scheduler must have an address, got {self.address!r}; write it like tcp://host:8786"
            raise ArgumentError(msg)
        if (self.workers is not None and self.workers < 1) or self.threads < 1 or self.gpus < 0:
            got = f"{self.workers} workers, {self.threads} threads and {self.gpus} GPUs"
            msg = f"a cluster has a worker with a thread at least, got {got}; correct the numbers"
            raise ArgumentError(msg)

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the recipe that a word, an address or a TOML file means.

        Raises
        ------
        ArgumentError
            When it means none.
        """
        if "://" in text:
            return cls("address", address=text)
        if text.endswith(".toml"):
            return cls._of_file(Path(text))
        if text in KINDS and text != "address":
            return cls(text)
        msg = (
            f"a cluster must be none, local, cuda, slurm, an address or a .toml file, got {text!r}; choose one, or "
            "write an address like tcp://host:8786"
        )
        raise ArgumentError(msg)

    @classmethod
    def _of_file(cls, path: Path) -> Self:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            msg = f"a recipe must be a readable TOML file, got {error} for {path}; see pipelines/configs/clusters"
            raise ArgumentError(msg) from error
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            msg = f"a recipe has the fields {', '.join(known)}, got {', '.join(unknown)} in {path}; correct the names"
            raise ArgumentError(msg)
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**given)

    @property
    def resources(self) -> dict[str, float]:
        """What each worker declares."""
        return {"GPU": float(self.gpus)} if self.gpus else {}


def size_recipe(recipe: Recipe, workers: int | None = None, max_memory: int | None = None) -> Recipe:
    """Put the numbers of a call into a recipe, and what this machine has where it leaves them open.

    Parameters
    ----------
    recipe
        As it was written.
    workers
        Instead of the number in the recipe.
    max_memory
        Bytes that the workers of this machine may have together; instead of `Recipe.memory`.

    Raises
    ------
    ArgumentError
        When a number means nothing for this kind.
    ClusterError
        When there is no GPU for a cluster of GPUs.
    """
    if workers is not None:
        if recipe.kind in ("none", "address"):
            msg = f"workers are counted where they start, got {workers} for `cluster={recipe.kind!r}`; leave them out"
            raise ArgumentError(msg)
        recipe = replace(recipe, workers=workers)
    if recipe.kind == "local":
        recipe = replace(recipe, workers=recipe.workers or len(os.sched_getaffinity(0)))
    if recipe.kind == "cuda":
        n_gpu = _count_gpus()
        recipe = replace(recipe, workers=recipe.workers or n_gpu, gpus=1)
        if recipe.workers is not None and recipe.workers > n_gpu:
            msg = f"every worker has a GPU of its own, got {recipe.workers} workers and {n_gpu} GPUs; lower the number"
            raise ArgumentError(msg)
    if max_memory is None:
        return recipe
    if recipe.kind not in ("local", "cuda") or recipe.workers is None:
        msg = (
            f"a limit of memory is for workers of this machine, got one for `cluster={recipe.kind!r}`; give it to "
            "`cluster='local'`, to the recipe of the queue, or to the workers where they are started"
        )
        raise ArgumentError(msg)
    return replace(recipe, memory=f"{max_memory // recipe.workers}B")


@contextmanager
def open_cluster(cluster: str | Recipe, *, workers: int | None = None, max_memory: int | None = None) -> Iterator[Any]:
    """Put a cluster up, or reach one, for a `with` block.

    Parameters
    ----------
    cluster
        A recipe, or what `Recipe.of` takes.
    workers, max_memory
        See `size_recipe`.

    Yields
    ------
    distributed.Client or None
        The client, which is active; None for ``"none"``.

    Raises
    ------
    ArgumentError
        When a number means nothing for this kind.
    ClusterError
        When the cluster cannot be put up or reached, has no workers in time, or they cannot load ship_geo.
    """
    recipe = size_recipe(Recipe.of(cluster) if isinstance(cluster, str) else cluster, workers, max_memory)
    if recipe.kind == "none":
        yield None
        return
    from distributed import Client

    with _server(recipe) as server:
        try:
            client = Client(server, timeout=recipe.wait)
        except (OSError, TimeoutError, ValueError) as error:
            msg = f"a scheduler must answer, got {type(error).__name__} ({error}) from {recipe.address}; start it first"
            raise ClusterError(msg) from error
        with client:
            _wait_for_workers(client, recipe)
            yield client


def slurm_cluster(recipe: Recipe) -> Any:
    """Return the `dask_jobqueue.SLURMCluster` of a recipe, without any job yet.

    Raises
    ------
    ClusterError
        When dask-jobqueue is missing.
    ArgumentError
        When the recipe does not tell the memory of a job.
    """
    if recipe.memory is None:
        msg = "a Slurm job must say its memory, got none; write a recipe with memory, see pipelines/configs/clusters"
        raise ArgumentError(msg)
    jobqueue = _import("dask_jobqueue", "dask-jobqueue", "a Slurm queue")
    gpus = [f"--gpus={recipe.gpus}"] if recipe.gpus else []
    declared = ["--resources", ",".join(f"{name}={value:g}" for name, value in recipe.resources.items())]
    return jobqueue.SLURMCluster(
        queue=recipe.queue,
        account=recipe.account,
        walltime=recipe.walltime,
        cores=recipe.threads,
        processes=1,
        memory=recipe.memory,
        job_extra_directives=[*gpus, *recipe.directives],
        job_script_prologue=list(recipe.prologue),
        worker_extra_args=declared if recipe.gpus else [],
        python=recipe.python,
        interface=recipe.interface,
        log_directory=recipe.logs,
        local_directory=recipe.scratch,
        job_name="ship-geo",
        scheduler_options={"dashboard_address": ":0"},
    )


@contextmanager
def _server(recipe: Recipe) -> Iterator[Any]:
    """Give what a client connects to."""
    if recipe.kind == "address":
        yield recipe.address
        return
    with _ignoring_interrupts():
        cluster = {"local": _local, "cuda": _cuda, "slurm": slurm_cluster}[recipe.kind](recipe)
    try:
        if recipe.kind == "slurm":
            cluster.scale(jobs=recipe.workers or 1)
        yield cluster
    finally:
        cluster.close()


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Let processes that are started meanwhile ignore Ctrl-C: this one ends them, in order and without tracebacks."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _local(recipe: Recipe) -> Any:
    from distributed import LocalCluster

    return LocalCluster(**_local_options(recipe))


def _cuda(recipe: Recipe) -> Any:
    return _import("dask_cuda", "dask-cuda", "a cluster of GPUs").LocalCUDACluster(**_local_options(recipe))


def _local_options(recipe: Recipe) -> dict[str, Any]:
    return {
        "n_workers": recipe.workers,
        "threads_per_worker": recipe.threads,
        "memory_limit": recipe.memory or "auto",
        "resources": recipe.resources,
        "local_directory": recipe.scratch,
        "dashboard_address": "127.0.0.1:0",  # a fixed port may be taken, which would be a warning
    }


def _count_gpus() -> int:
    import torch

    n_gpu = torch.cuda.device_count()
    if n_gpu == 0:
        msg = "a cluster of GPUs needs a CUDA device, got none that PyTorch sees; use `cluster='local'`"
        raise ClusterError(msg)
    return int(n_gpu)


def _import(module: str, package: str, purpose: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        msg = f"{purpose} needs {package}, got {error}; install it: pip install {package}"
        raise ClusterError(msg) from error


def _wait_for_workers(client: Any, recipe: Recipe) -> None:
    n_worker = recipe.workers if recipe.kind in ("local", "cuda") and recipe.workers else 1
    try:
        client.wait_for_workers(n_worker, timeout=recipe.wait)
    except TimeoutError as error:
        n_there = len(client.scheduler_info()["workers"])
        where = recipe.address or f"the {recipe.kind} cluster"
        msg = f"{n_worker} workers must be there in {recipe.wait:g} s, got {n_there} at {where}; look at their logs"
        raise ClusterError(msg) from error
    _check_package(client)


def _check_package(client: Any) -> None:
    """Load the package on every worker, so that a fault of theirs is told once and at once."""
    loaded = client.run(pkgutil.resolve_name, "ship_geo.jobs:RADIOMETRIES", on_error="return")
    for worker, result in loaded.items():
        if isinstance(result, BaseException):
            msg = f"workers must be able to load ship_geo, got {result!r} on {worker}; install it there"
            raise ClusterError(msg)
    ours = software_version()
    for worker, version in client.run(software_version).items():
        if version != ours:
            msg = f"workers must have the same ship_geo, got {version} on {worker} and {ours} here; install one of them"
            raise ClusterError(msg)
