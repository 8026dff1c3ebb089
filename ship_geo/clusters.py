"""Dask clusters by name: processes or GPUs of this machine, jobs of a batch system, or a scheduler that runs already.

A cluster is asked for by one word, and tuned by a TOML file with the tables ``[cluster]`` (arguments of the class),
``[scale]`` and ``[adapt]`` (arguments of its methods of that name). Dask Gateway, Kubernetes and Coiled come down to
the address of their scheduler. Not for jobs, which take any client. Two conventions could surprise: processes here
have one thread each, since a network keeps a processor busy by itself; and a worker with a GPU declares it as a
resource, which makes one block at a time of it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ship_geo._typing import PathLike
from ship_geo.dispatch import Log
from ship_geo.errors import ArgumentError, ShipGeoError

QUEUES: Mapping[str, str] = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
    "oar": "OARCluster",
    "moab": "MoabCluster",
    "htcondor": "HTCondorCluster",
}
"""Batch systems, and their classes in dask-jobqueue."""

KINDS = ("local", "cuda", *QUEUES)
"""What is started here; anything else is the address of a scheduler, or a file that holds it."""

_TABLES = ("cluster", "scale", "adapt")
_PATIENCE = "30s"  # for a scheduler to answer
_LOOK = 10.0  # seconds between two looks for the first worker


@dataclass(frozen=True)
class ClusterConfig:
    """How a cluster is made.

    Attributes
    ----------
    cluster
        Arguments of its class.
    scale, adapt
        Arguments of its methods of that name; empty: the method is not called.
    """

    cluster: Mapping[str, Any] = field(default_factory=dict)
    scale: Mapping[str, Any] = field(default_factory=dict)
    adapt: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_toml(cls, path: PathLike) -> ClusterConfig:
        """Read a file with the tables ``[cluster]``, ``[scale]`` and ``[adapt]``, each of which may be missing.

        Raises
        ------
        ArgumentError
            When the file cannot be read, or holds anything else.
        """
        try:
            tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            msg = f"a cluster config must be a TOML file, got {error} for {path}; see pipelines/configs/slurm.toml"
            raise ArgumentError(msg) from error
        unknown = [name for name, table in tables.items() if name not in _TABLES or not isinstance(table, dict)]
        if unknown:
            msg = f"a cluster config has the tables {', '.join(_TABLES)}, got {', '.join(unknown)} in {path}; move it"
            raise ArgumentError(msg)
        return cls(**tables)


@contextmanager
def open_client(where: str, config: ClusterConfig | None = None, *, log: Log | None = None) -> Iterator[Any]:
    """Start a cluster, or find one, and give its client while the context lasts.

    Parameters
    ----------
    where
        One of `KINDS`; the address of a scheduler, such as ``"tcp://10.0.0.1:8786"`` or ``"tls://…"``; or the path of
        the ``.json`` that a scheduler writes. What was started here ends with the context, what ran already goes on.
    config
        How it is made; the defaults of Dask if None. A scheduler that runs already takes none.
    log
        Told as ``cluster`` where the dashboard is, and as ``waiting`` while there is no worker.

    Yields
    ------
    distributed.Client
        With at least one worker.

    Raises
    ------
    ArgumentError
        When `where` is none of these, or the config does not fit.
    ShipGeoError
        When the cluster cannot be started or does not answer, or a package is missing.
    """
    with ExitStack() as stack:
        client = _found(where, config, stack) if where not in KINDS else _started(where, config, stack)
        if log is not None:
            log("cluster", scheduler=client.scheduler.address, dashboard=client.dashboard_link)
        _wait(client, log)
        yield client


def make_cluster(kind: str, config: ClusterConfig | None = None) -> Any:
    """Start one of `KINDS` as a Dask cluster, scaled as the config says; the caller closes it.

    Raises
    ------
    ArgumentError
        When the config does not fit.
    ShipGeoError
        When a package is missing, or the cluster cannot be started.
    """
    chosen = config or ClusterConfig()
    make, defaults = _class_of(kind)
    try:
        cluster = make(**{**defaults, **chosen.cluster})
    except (TypeError, ValueError) as error:
        msg = f"the config of the cluster must suit {make.__name__}, got {error}; change its table [cluster]"
        raise ArgumentError(msg) from error
    except (OSError, RuntimeError) as error:
        msg = f"the cluster must start, got {error} from {make.__name__}; try it by itself, without ship_geo"
        raise ShipGeoError(msg) from error
    try:
        _scale(cluster, kind, chosen)
    except BaseException:
        cluster.close()
        raise
    return cluster


def _scale(cluster: Any, kind: str, config: ClusterConfig) -> None:
    try:
        if config.scale or (kind in QUEUES and not config.adapt):
            cluster.scale(**(config.scale or {"jobs": 1}))
        if config.adapt:
            cluster.adapt(**config.adapt)
    except TypeError as error:
        msg = f"[scale] and [adapt] must suit {type(cluster).__name__}, got {error}; change these tables"
        raise ArgumentError(msg) from error


def _class_of(kind: str) -> tuple[Any, dict[str, Any]]:
    """Return the class of a cluster, and arguments that it gets unless they are given."""
    if kind == "local":
        from dask.system import CPU_COUNT
        from distributed import LocalCluster

        return LocalCluster, {"processes": True, "threads_per_worker": 1, "n_workers": CPU_COUNT}
    if kind == "cuda":
        reason = "pip install 'ship-geo[cuda]' on Linux with a GPU of NVIDIA"
        return _import("dask_cuda", reason).LocalCUDACluster, {"resources": {"GPU": 1}}
    return getattr(_import("dask_jobqueue", "pip install 'ship-geo[cluster]'"), QUEUES[kind]), {}


def _import(name: str, remedy: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        msg = f"this kind of cluster needs {name.replace('_', '-')}, got {error}; {remedy}"
        raise ShipGeoError(msg) from error


def _started(kind: str, config: ClusterConfig | None, stack: ExitStack) -> Any:
    from distributed import Client

    cluster = make_cluster(kind, config)
    stack.callback(_close, cluster)
    client = Client(cluster, set_as_default=False)
    stack.callback(_close, client)
    return client


def _found(where: str, config: ClusterConfig | None, stack: ExitStack) -> Any:
    """Return the client of a scheduler that runs already."""
    from distributed import Client

    is_file = where.lower().endswith(".json")
    if not is_file and "://" not in where:
        msg = f"a cluster must be {', '.join(KINDS)}, an address or a .json, got {where!r}; write tcp://HOST:8786"
        raise ArgumentError(msg)
    if is_file and not Path(where).is_file():
        msg = f"the file of a scheduler must exist, got {where}; start the scheduler with --scheduler-file {where}"
        raise ArgumentError(msg)
    if config is not None:
        msg = f"a scheduler that runs already takes no config, got one for {where}; leave it out"
        raise ArgumentError(msg)
    target = {"scheduler_file": where} if is_file else {"address": where}
    try:
        client = Client(**target, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        msg = f"a scheduler must answer, got {error} for {where}; start it with `dask scheduler`, or check the address"
        raise ShipGeoError(msg) from error
    stack.callback(_close, client)
    return client


def _close(thing: Any) -> None:
    with suppress(OSError, RuntimeError, TimeoutError):  # it may be gone
        thing.close()


def _wait(client: Any, log: Log | None) -> None:
    """Wait for the first worker: from it follows whether there is a GPU. Jobs of a batch system may queue for hours."""
    while not client.nthreads():
        try:
            client.wait_for_workers(1, timeout=_LOOK)
        except TimeoutError:
            if log is not None:
                log("waiting", reason="the cluster has no worker")
