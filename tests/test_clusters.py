"""Clusters by name: what is asked for is started and ended, and what is missing is told with a remedy."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from ship_geo.clusters import QUEUES, ClusterConfig, make_cluster, open_client
from ship_geo.errors import ArgumentError, ShipGeoError

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "pipelines" / "configs" / "slurm.toml"
QUIET = {"dashboard_address": ":0"}


def test_local_cluster_has_processes_which_end_with_it() -> None:
    told = []
    config = ClusterConfig(cluster={"n_workers": 2, **QUIET})
    with open_client("local", config, log=lambda event, **facts: told.append((event, facts))) as client:
        processes = [psutil.Process(pid) for pid in client.run(os.getpid).values()]
        assert len(processes) == 2
        assert os.getpid() not in {process.pid for process in processes}
        assert set(client.nthreads().values()) == {1}
        assert told[0][0] == "cluster"
        assert told[0][1]["scheduler"] == client.scheduler.address
    psutil.wait_procs(processes, timeout=20)
    assert not any(process.is_running() for process in processes)


def test_scheduler_that_runs_is_found_by_its_address_and_goes_on(tmp_path: Path) -> None:
    config = ClusterConfig(cluster={"n_workers": 1, **QUIET, "processes": False, "protocol": "tcp"})
    with open_client("local", config) as owner:
        owner.write_scheduler_file(str(tmp_path / "scheduler.json"))
        for where in (owner.scheduler.address, str(tmp_path / "scheduler.json")):
            with open_client(where) as guest:
                assert guest.submit(sum, [1, 2]).result() == 3
        assert owner.submit(sum, [3, 4]).result() == 7
        with pytest.raises(ArgumentError, match="takes no config"), open_client(owner.scheduler.address, config):
            pass


def test_nobody_at_the_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ship_geo.clusters._PATIENCE", "300ms")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ShipGeoError, match=r"a scheduler must answer.*start it with `dask"), open_client(address):
        pass


@pytest.mark.parametrize(
    ("where", "text"),
    [("moon", "a cluster must be local, cuda, slurm"), ("gone.json", "the file of a scheduler must exist")],
)
def test_what_is_no_cluster_is_refused(where: str, text: str) -> None:
    with pytest.raises(ArgumentError, match=text), open_client(where):
        pass


@pytest.mark.parametrize(
    ("kind", "package", "text"),
    [("cuda", "dask_cuda", r"ship-geo\[cuda\]"), ("slurm", "dask_jobqueue", r"ship-geo\[cluster\]")],
)
def test_missing_package_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, kind: str, package: str, text: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ShipGeoError, match=text), open_client(kind):
        pass


def test_cuda_cluster_declares_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no GPU is, its class is a `LocalCluster`, which takes the same arguments."""
    import types

    from distributed import LocalCluster

    fake = types.SimpleNamespace(LocalCUDACluster=LocalCluster)
    monkeypatch.setitem(sys.modules, "dask_cuda", fake)
    config = ClusterConfig(cluster={"n_workers": 1, "threads_per_worker": 1, "processes": False, **QUIET})
    with open_client("cuda", config) as client:
        (worker,) = client.scheduler_info()["workers"].values()
        assert worker["resources"] == {"GPU": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[cluster", "must be a TOML file"),
        ("[workers]\ncores = 1", "has the tables cluster, scale, adapt, got workers"),
        ("cluster = 3", "has the tables cluster, scale, adapt, got cluster"),
    ],
)
def test_config_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(ArgumentError, match=message):
        ClusterConfig.from_toml(tmp_path / "config.toml")
    with pytest.raises(ArgumentError, match="must be a TOML file"):
        ClusterConfig.from_toml(tmp_path / "gone.toml")


def test_config_that_does_not_suit_the_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # What Dask half made complains of not being closed, which nobody can do.
    monkeypatch.setattr("distributed.deploy.cluster.Cluster.__del__", lambda _: None)
    with pytest.raises(ArgumentError, match=r"must suit LocalCluster, got .*change its table \[cluster\]"):
        make_cluster("local", ClusterConfig(cluster={"n_workers": "two", **QUIET}))
    with pytest.raises(ArgumentError, match=r"\[scale\] and \[adapt\] must suit LocalCluster"):
        make_cluster("local", ClusterConfig(cluster={"n_workers": 0, **QUIET}, scale={"moons": 2}))
    pytest.importorskip("dask_jobqueue")
    with pytest.raises(ArgumentError, match=r"must suit SLURMCluster, got .*cores"):
        make_cluster("slurm")
    gc.collect()


# Batch systems ------------------------------------------------------------------------------------------------------


def test_recipe_asks_slurm_for_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    jobqueue = pytest.importorskip("dask_jobqueue")
    scaled = []
    monkeypatch.setattr(jobqueue.SLURMCluster, "adapt", lambda _, **how: scaled.append(how))
    config = ClusterConfig.from_toml(RECIPE)
    here = {**config.cluster, "scheduler_options": {"dashboard_address": ":0"}}
    del here["interface"]  # of another machine
    with make_cluster("slurm", ClusterConfig(here, config.scale, config.adapt)) as cluster:
        script = cluster.job_script()
    lines = script.splitlines()
    for directive in ("-p gpu", "-A remote-sensing", "--cpus-per-task=8", "--mem=30G", "-t 04:00:00", "--gres=gpu:1"):
        assert f"#SBATCH {directive}" in lines, script
    assert "source /shared/ship-geo/bin/activate" in lines
    assert "--nthreads 8" in script
    assert "--resources GPU=1" in script
    assert scaled == [{"minimum_jobs": 1, "maximum_jobs": 8}]
    assert lines.index("module load python") < next(i for i, line in enumerate(lines) if "distributed.cli" in line)


@pytest.mark.parametrize("kind", sorted(set(QUEUES) - {"slurm"}))
def test_other_batch_systems_are_a_word_away(kind: str) -> None:
    jobqueue = pytest.importorskip("dask_jobqueue")
    assert issubclass(getattr(jobqueue, QUEUES[kind]), jobqueue.JobQueueCluster)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Slurm of one node with this process's user, in a folder of its own, and away afterwards."""
    programs = {name: shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") for name in PROGRAMS}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        pytest.skip(f"Slurm is not installed: no {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o755)
    (folder / "munge.key").write_bytes(np.random.default_rng(0).bytes(1024))
    (folder / "munge.key").chmod(0o400)
    ports = free_ports(2)
    (folder / "slurm.conf").write_text(SLURM_CONF.format(folder=folder, host=socket.gethostname().split(".")[0],
        user=psutil.Process().username(), ctld=ports[0], d=ports[1], cpus=os.cpu_count()))  # fmt: skip
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "log", "pid", "seed")]
    commands = [
        [programs["munged"], "--foreground", "--force", f"--socket={folder}/munge.socket", *files],
        [programs["slurmctld"], "-D", "-c", "-f", f"{folder}/slurm.conf"],
        [programs["slurmd"], "-D", "-c", "-f", f"{folder}/slurm.conf", "-N", socket.gethostname().split(".")[0]],
    ]
    started = []
    with pytest.MonkeyPatch.context() as patch, (folder / "said").open("w") as said:
        patch.setenv("SLURM_CONF", f"{folder}/slurm.conf")
        try:
            for command in commands:
                started.append(subprocess.Popen(command, stdout=said, stderr=said))
                time.sleep(0.5)
            deadline = time.monotonic() + 60
            while "idle" not in (state := say("sinfo", "-h", "-o", "%T")):
                if time.monotonic() > deadline or any(process.poll() is not None for process in started):
                    pytest.fail(f"Slurm does not start: {state}, {(folder / 'said').read_text()[-3000:]}")
                time.sleep(0.5)
            yield
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait(timeout=20)


PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "sinfo", "scancel", "squeue")
SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ctld}
SlurmdPort={d}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/d.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/d.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def say(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout + done.stderr


def free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.mark.slow
@pytest.mark.usefixtures("slurm")
def test_jobs_of_slurm_make_the_blocks_of_a_scene(write_pair, tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    from ship_geo import pansharpen_scene

    pair = write_pair(tmp_path / "in")
    config = ClusterConfig(
        cluster={
            "queue": "all",
            "cores": 1,
            "memory": "1GB",
            "job_directives_skip": ["--mem"],
            "walltime": "00:10:00",
            "python": sys.executable,
            "log_directory": str(tmp_path / "log"),
            "local_directory": str(tmp_path),
            "job_script_prologue": [f"export PYTHONPATH={ROOT} OMP_NUM_THREADS=1"],
            "worker_extra_args": ["--no-dashboard", "--memory-limit", "0"],
            "scheduler_options": {"dashboard_address": ":0", "host": "127.0.0.1"},
        },
        scale={"jobs": 1},
    )
    with open_client("slurm", config) as client:
        (environment,) = client.run(lambda: dict(os.environ)).values()
        assert environment["SLURM_JOB_ID"]
        pansharpen_scene(pair.pan, model="brovey", output=tmp_path / "slurm.tif", client=client, progress=False).close()
    pansharpen_scene(pair.pan, model="brovey", output=tmp_path / "here.tif", progress=False).close()
    assert (tmp_path / "slurm.tif").read_bytes() == (tmp_path / "here.tif").read_bytes()
