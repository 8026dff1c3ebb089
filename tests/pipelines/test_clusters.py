"""Clusters of every kind that can run here: real processes, real command lines, a real Slurm where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from ship_geo.errors import ArgumentError

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "pipelines" / "configs" / "clusters"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(autouse=True)
def pipelines_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "pipelines")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # workers are processes of their own


@contextmanager
def process(*command: object, log: Path, end: int = signal.SIGKILL) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as stream:
        started = subprocess.Popen([str(part) for part in command], env=ENVIRONMENT, stdout=stream, stderr=stream)
    try:
        yield started
    finally:
        started.send_signal(end)
        started.wait(30)


def wait_for(text: str, log: Path, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while text not in log.read_text():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def run(*words: object) -> int:
    from pansharpen_batch import main

    return main(["--model", "exp", "--register", "off", "--quiet", *map(str, words)])


def values(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read()


@pytest.fixture
def scenes(tmp_path: Path, write_pair) -> Path:
    for number in range(3):
        write_pair(tmp_path / "scenes", (48, 48), seed=number, stem=f"town{number}")
    return tmp_path / "scenes"


def test_batch_on_a_scheduler_that_runs_already(scenes: Path, tmp_path: Path, capsys) -> None:
    port, logs = free_port(), [tmp_path / f"{name}.log" for name in ("scheduler", "worker")]
    address = f"tcp://127.0.0.1:{port}"
    dask = (sys.executable, "-m", "dask")
    scheduler = (*dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
    worker = (*dask, "worker", address, "--nthreads", 2, "--no-nanny", "--resources", "GPU=1", "--no-dashboard")
    place = ("--local-directory", tmp_path / "worker")
    assert run(scenes, tmp_path / "here") == 0
    with ExitStack() as stack:
        running = stack.enter_context(process(*scheduler, log=logs[0]))
        wait_for("Scheduler at", logs[0])
        stack.enter_context(process(*worker, *place, log=logs[1]))
        assert run(scenes, tmp_path / "there", "--cluster", address, "--scenes-at-once", 2) == 0
        for path in (tmp_path / "here").glob("*.tif"):
            np.testing.assert_array_equal(values(path), values(tmp_path / "there" / path.name))

        running.kill()
        running.wait()
    capsys.readouterr()
    (tmp_path / "recipe.toml").write_text(f'kind = "address"\naddress = "{address}"\nwait = 0.5\n')
    (tmp_path / "there" / "town1.tif").unlink()
    assert run(scenes, tmp_path / "there", "--cluster", tmp_path / "recipe.toml") == 1
    assert "a scheduler must answer, got" in capsys.readouterr().err
    assert run(scenes, tmp_path / "there") == 0


def test_local_cluster_is_of_processes_with_their_share_of_the_memory() -> None:
    from clusters import open_cluster
    from distributed import default_client

    with open_cluster("local", workers=1, max_memory=2**30) as client:
        assert default_client() is client
        (worker,) = client.scheduler_info()["workers"].values()
        assert (worker["memory_limit"], worker["nthreads"], worker["resources"]) == (2**30, 1, {})
        (pid,) = client.run(os.getpid).values()
        assert pid != os.getpid()
    with pytest.raises(ValueError, match="No clients"):
        default_client()


def test_lost_scheduler_ends_the_batch_and_blames_no_scene(scenes: Path, tmp_path: Path, monkeypatch) -> None:
    import batch.run
    from batch.state import State, make_entries
    from clusters import ClusterError

    from ship_geo.catalog import find_scenes

    client = SimpleNamespace(status="running", close=lambda: None)

    def lose(*_: Any, **__: Any) -> None:
        client.status = "closed"
        raise OSError("connection lost")

    monkeypatch.setattr("ship_geo.api.pansharpen_scene", lose)
    with State(tmp_path) as state:
        entries = make_entries(find_scenes(scenes), scenes, state)
        job = batch.run.Batch(tmp_path, state, {}, {}, False, False, True, client)
        for at_once in (1, 2):
            with pytest.raises(ClusterError, match="connection lost"):
                job.run(entries, at_once)
            assert {record["status"] for record in state.latest.values()} == {"running"}
            job.stop.clear()
            client.status = "running"


def test_gpu_workers_declare_the_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    from clusters import ClusterError, Recipe, open_cluster, size_recipe
    from distributed import LocalCluster

    asked: dict[str, Any] = {}

    def cluster(**options: Any) -> LocalCluster:
        asked.update(options)
        return LocalCluster(**{**options, "n_workers": 1}, processes=False)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setitem(sys.modules, "dask_cuda", SimpleNamespace(LocalCUDACluster=cluster))
    with open_cluster("cuda", workers=1) as client:
        (worker,) = client.scheduler_info()["workers"].values()
        assert worker["resources"] == {"GPU": 1}
        assert client.submit(sum, [1, 2], resources={"GPU": 1}).result() == 3
    assert size_recipe(Recipe.of("cuda")).workers == 3
    with pytest.raises(ArgumentError, match="got 4 workers and 3 GPUs"):
        size_recipe(Recipe.of("cuda"), workers=4)

    monkeypatch.setitem(sys.modules, "dask_cuda", None)
    with pytest.raises(ClusterError, match="a cluster of GPUs needs dask-cuda, got"), open_cluster("cuda"):
        pass
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ClusterError, match="needs a CUDA device, got none"), open_cluster("cuda"):
        pass


def test_worker_without_the_package_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import clusters
    from distributed import Client, LocalCluster

    with LocalCluster(1, processes=False, dashboard_address="127.0.0.1:0") as here, Client(here) as client:
        clusters._check_package(client)
        monkeypatch.setitem(sys.modules, "ship_geo.jobs", None)
        with pytest.raises(clusters.ClusterError, match="must be able to load ship_geo"):
            clusters._check_package(client)
    other = SimpleNamespace(run=lambda *_, **__: {"tcp://there": "0.0"})
    with pytest.raises(clusters.ClusterError, match=r"must have the same ship_geo, got 0\.0 on tcp://there and"):
        clusters._check_package(other)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_in_the_repository_are_valid(path: Path) -> None:
    from clusters import Recipe, size_recipe

    assert size_recipe(Recipe.of(str(path)), workers=5).workers == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind = 'moon'", "a cluster must be one of"),
        ("kind = 'address'", "a scheduler must have an address"),
        ("worker = 2", "got worker in"),
        ("workers = 0", "has a worker with a thread at least"),
        ("workers = ", "must be a readable TOML file"),
    ],
)
def test_recipe_that_means_nothing_is_refused(tmp_path: Path, text: str, message: str) -> None:
    from clusters import Recipe

    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(ArgumentError, match=message):
        Recipe.of(str(tmp_path / "recipe.toml"))


def test_slurm_job_asks_for_what_the_recipe_says() -> None:
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    from clusters import Recipe, slurm_cluster

    recipe = Recipe.of(str(CONFIGS / "slurm-gpu.toml"))
    with slurm_cluster(recipe) as cluster:
        lines = cluster.job_script().splitlines()
    asked = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")}
    assert {"-p gpu", "--cpus-per-task=4", "--mem=32G", "-t 04:00:00", "--gpus=1", "--exclusive=user"} <= asked
    (command,) = [line for line in lines if "dask_worker" in line]
    assert "--nthreads 4" in command
    assert "--memory-limit 32.00GiB" in command
    assert "--resources GPU=1" in command
    with pytest.raises(ArgumentError, match="a Slurm job must say its memory"):
        slurm_cluster(Recipe("slurm"))


SLURM = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
CommunicationParameters=NoInAddrAny
SlurmctldPort={port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4000 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Slurm of one node on loopback."""
    found = {name: shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("slurmctld", "slurmd")}
    if not all(found.values()) or not shutil.which("sbatch") or os.geteuid() != 0:
        pytest.skip("slurmctld, slurmd and sbatch must be installed, and slurmd wants root")
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    for name in ("state", "spool"):
        (tmp_path / name).mkdir()
    facts = {"host": socket.gethostname().split(".")[0], "user": "root", "folder": tmp_path}
    numbers = {"port": free_port(), "node_port": free_port(), "cores": len(os.sched_getaffinity(0))}
    (tmp_path / "slurm.conf").write_text(SLURM.format(**facts, **numbers))
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    monkeypatch.setitem(ENVIRONMENT, "SLURM_CONF", str(tmp_path / "slurm.conf"))
    with ExitStack() as stack:
        for name, path in found.items():
            stack.enter_context(process(path, "-D", log=tmp_path / f"{name}.log", end=signal.SIGTERM))
        end = time.monotonic() + 60
        while "idle" not in said("sinfo", "-h", "-o", "%T"):
            assert time.monotonic() < end, (tmp_path / "slurmctld.log").read_text()
            time.sleep(0.2)
        yield
        said("scancel", "--full", "--user=root")  # what a failed test has left


@pytest.mark.slow
@pytest.mark.usefixtures("slurm")
def test_batch_on_a_slurm_queue(scenes: Path, tmp_path: Path) -> None:
    recipe = {"kind": "slurm", "memory": "3GiB", "interface": "lo", "scratch": str(tmp_path), "logs": str(tmp_path)}
    text = "wait = 120\n" + "\n".join(f"{name} = {json.dumps(value)}" for name, value in recipe.items())
    (tmp_path / "recipe.toml").write_text(text + '\nprologue = ["export OMP_NUM_THREADS=1"]\n')
    assert run(scenes, tmp_path / "there", "--cluster", tmp_path / "recipe.toml") == 0
    assert sorted(path.name for path in (tmp_path / "there").glob("*.tif")) == [f"town{n}.tif" for n in range(3)]
    end = time.monotonic() + 30
    while said("squeue", "-h"):  # the job ends with the batch
        assert time.monotonic() < end
        time.sleep(0.2)
