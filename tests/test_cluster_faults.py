"""Real processes that die: workers and drivers killed in the middle of a job lose at most the blocks in flight."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import product
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil
import pytest
from distributed import Client

from ship_geo.dispatch import gpu_resources
from ship_geo.errors import OutputError, ShipGeoError
from ship_geo.jobs import Job, measure, sharpen
from ship_geo.runner import RunRecord, run_job
from ship_geo.scene import Scene, open_scene
from ship_geo.writer import OutputProfile, Staging, format_of

pytestmark = pytest.mark.slow

SHAPE = (300, 260)
BLOCK = (50, 40)
N_BLOCK = 6 * 7
ROOT = Path(__file__).resolve().parents[1]
PASSIVE = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}  # many processes wait for each other on few cores
NEAR = {"no_proxy": "127.0.0.1", "GDAL_HTTP_RETRY_DELAY": "0.01"}
ENVIRONMENT = os.environ | PASSIVE | NEAR | {"PYTHONPATH": str(ROOT)}
MODEL = "mtf-glp-fs"
MEMORY_LIMIT = 2 * 2**30
# The nanny kills at 95 % of the limit, and nothing before that slows a worker down.
WATCHFUL = {
    f"DASK_DISTRIBUTED__WORKER__MEMORY__{name}": value
    for name, value in {"TARGET": "False", "SPILL": "False", "PAUSE": "False", "MONITOR_INTERVAL": "50ms"}.items()
}

DRIVER = f"""
import sys
from pathlib import Path
from ship_geo.budget import Budget
from ship_geo.jobs import Job
from ship_geo.runner import run_job
from ship_geo.scene import open_scene
from ship_geo.writer import OutputProfile, Staging, format_of

pan, model, output, stop_at = *sys.argv[1:4], int(sys.argv[4])
scene = open_scene(pan)
job = Job.of(scene, model, "cpu", "float32")
blocks = job.plan.blocks({BLOCK})
seen = []

def advance(n_pixel):
    seen.append(n_pixel)
    if len(seen) == stop_at:
        print("here", flush=True)
        sys.stdin.readline()

print("ready", flush=True)
sys.stdin.readline()
with Staging(output, OutputProfile.from_scene(scene), job.facts, blocks) as staging:
    run_job(job, staging, blocks, budget=Budget({BLOCK}, 2, 1, 0, 0), advance=advance)
"""


@pytest.fixture(scope="module")
def scene(write_pair: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Floats with a hole, so that every bit shows."""
    folder = tmp_path_factory.mktemp("faults")
    pair = write_pair(folder / "plain", SHAPE, dtype="float32")
    pan = pair.pan_values[0].copy()
    pan[48:70, 36:90] = np.nan
    return open_scene(write_pair(folder, SHAPE, ms=pair.ms_values, pan=pan + 0.25, dtype="float32").pan)


@pytest.fixture(scope="module")
def driver(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A driver that has loaded everything and waits; started first, so that it loads while others do."""
    with Driver(scene, tmp_path_factory.mktemp("driver") / "fused.tif") as started:
        yield started


@pytest.fixture(scope="module")
def second_driver(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with Driver(scene, tmp_path_factory.mktemp("driver") / "fused.tif") as started:
        yield started


@pytest.fixture(scope="module")
def expected(scene: Scene, tiny_checkpoint: Path) -> dict[str, np.ndarray]:
    """Values of one block that is the whole scene."""
    made = {}
    for model in (tiny_checkpoint, "mtf-glp-fs"):
        job = Job.of(scene, model, "cpu", "float32")
        made[str(model)] = sharpen(job, measure(job), (0, SHAPE[0], 0, SHAPE[1])).values
    return made


@pytest.fixture(scope="module")
def workers(driver: Driver, second_driver: Driver) -> Iterator[Workers]:
    """A scheduler and three workers on loopback, by their own command lines."""
    del driver, second_driver  # only that they are started
    with Workers(3) as started:
        yield started


class Driver:
    """A job in a process of its own, which stops to be killed."""

    def __init__(self, scene: Scene, output: Path) -> None:
        self.output = output
        command = [sys.executable, "-c", DRIVER, scene.pan.paths[0], MODEL, str(output), "11"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=ENVIRONMENT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def go_to_the_middle(self) -> None:
        """Let ten of its blocks be finished."""
        for word in ("ready", "here"):
            assert self.process.stdout.readline().strip() == word
            if word == "ready":
                self.process.stdin.write("\n")
                self.process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


class Workers:
    """A scheduler and workers."""

    def __init__(self, n_worker: int, memory_limit: int = 0) -> None:
        self.n_worker, self.memory_limit = n_worker, memory_limit
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            file = f"/tmp/ship-geo-scheduler-{uuid.uuid4().hex}.json"  # of this cluster alone: several live at once
            stack.callback(lambda: Path(file).unlink(missing_ok=True))
            common = ["--scheduler-file", file, "--no-dashboard"]
            self._start(stack, "scheduler", "--host", "127.0.0.1", "--port", "0", *common)
            for number in range(self.n_worker):
                limits = ["--nanny"] if self.memory_limit else ["--no-nanny", "--resources", "GPU=1"]
                options = [*limits, "--nthreads", "1", "--memory-limit", str(self.memory_limit)]
                preload = ["--preload", "ship_geo.data.dataset", "--preload", "ship_geo.runner"]
                self._start(stack, "worker", *common, *options, *preload, "--name", f"worker-{number}")
            deadline = time.monotonic() + 60
            while not Path(file).exists():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            self.client = stack.enter_context(Client(scheduler_file=file, set_as_default=False))
            self.client.wait_for_workers(self.n_worker, timeout=240)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @staticmethod
    def _start(stack: ExitStack, kind: str, *options: str) -> None:
        command = [sys.executable, "-m", "dask", kind, *options]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, env=ENVIRONMENT | WATCHFUL, stdout=quiet, stderr=quiet)

        def end() -> None:
            children = psutil.Process(process.pid).children(recursive=True)  # a nanny's worker outlives its kill
            for victim in (process, *children):
                with suppress(psutil.NoSuchProcess):
                    victim.kill()
            process.wait()

        stack.callback(end)


def write(scene: Scene, model: Any, path: Path, **options: Any) -> RunRecord:
    job = Job.of(scene, model, "cpu", "float32")
    blocks = job.plan.blocks(BLOCK)
    with Staging(path, OutputProfile.from_scene(scene), job.facts, blocks, to=format_of(path)) as staging:
        return run_job(job, staging, blocks, **options)


def read(path: Path) -> bytes:
    import rasterio
    import zarr

    if path.suffix == ".zarr":
        return bytes(zarr.open_array(path / "pansharpened", mode="r")[:].tobytes())
    with rasterio.open(path) as dataset:
        values: bytes = dataset.read().tobytes()
    return values


def at(n_block: int, action: Callable[[], None]) -> Callable[[int], None]:
    """Do something when so many blocks are finished."""
    calls: list[int] = []

    def advance(n_pixel: int) -> None:
        calls.append(n_pixel)
        if len(calls) == n_block + 1:  # the first tells of blocks of earlier runs
            action()

    return advance


# Drivers ------------------------------------------------------------------------------------------------------------


def test_second_job_is_refused_and_the_killed_driver_loses_only_blocks_in_flight(
    driver: Driver, workers: Workers, scene: Scene, expected: dict[str, np.ndarray]
) -> None:
    driver.go_to_the_middle()
    with pytest.raises(OutputError, match=f"one job at a time, got .* process {driver.process.pid}"):
        write(scene, MODEL, driver.output)
    os.kill(driver.process.pid, signal.SIGKILL)
    driver.process.wait()
    assert not driver.output.exists()
    record = write(scene, MODEL, driver.output, client=workers.client)  # another way goes on, too
    assert 10 <= record.n_resumed <= 13
    assert read(driver.output) == expected[MODEL].tobytes()
    assert [path.name for path in driver.output.parent.iterdir()] == ["fused.tif"]


def test_interrupted_driver_stops_within_seconds_and_leaves_what_is_finished(
    second_driver: Driver, scene: Scene, expected: dict[str, np.ndarray]
) -> None:
    driver = second_driver
    driver.go_to_the_middle()
    start = time.monotonic()
    driver.process.send_signal(signal.SIGINT)
    _, said = driver.process.communicate(timeout=20)
    assert time.monotonic() - start < 5
    assert driver.process.returncode != 0
    assert "KeyboardInterrupt" in said
    record = write(scene, MODEL, driver.output)
    assert 10 <= record.n_resumed <= 13
    assert read(driver.output) == expected[MODEL].tobytes()


# Workers ------------------------------------------------------------------------------------------------------------


def test_workers_over_tcp_write_the_same_bytes(
    workers: Workers, scene: Scene, tiny_checkpoint: Path, tmp_path: Path, expected: dict[str, np.ndarray]
) -> None:
    assert gpu_resources(workers.client) == {"GPU": 1}
    for model, suffix in product((tiny_checkpoint, "mtf-glp-fs"), (".tif", ".zarr")):
        path = tmp_path / f"{Path(model).stem}{suffix}"
        write(scene, model, path, client=workers.client)
        assert read(path) == expected[str(model)].tobytes()


@pytest.mark.parametrize("kind", ["cut", "reset", 503])
def test_workers_read_from_a_server_whose_answers_fail(
    workers: Workers, scene: Scene, tmp_path: Path, expected: dict[str, np.ndarray], kind: Any
) -> None:
    from http_files import serve  # workers, which load this module, have it not

    ms, pan = (Path(layer.paths[0]) for layer in (scene.ms, scene.pan))
    assert ms.parent == pan.parent
    with serve(ms.parent, lambda number, *_: kind if number % 4 == 0 else None) as server:
        remote = open_scene(ms=server.url(ms.name), pan=server.url(pan.name))
        before = len(server.requests)
        write(remote, MODEL, tmp_path / "fused.tif", client=workers.client)
        assert len(server.requests) > before + 3
        assert server.n_fault > 2
    assert read(tmp_path / "fused.tif") == expected[MODEL].tobytes()


def test_block_that_fails_once_on_a_worker_is_tried_again(
    workers: Workers, scene: Scene, tmp_path: Path, expected: dict[str, np.ndarray]
) -> None:
    flag = tmp_path / "failed"
    workers.client.run(fail_once, str(flag), (50, 100, 40, 80))
    try:
        record = write(scene, "mtf-glp-fs", tmp_path / "fused.tif", client=workers.client)
    finally:
        workers.client.run(mend)
    assert flag.exists()
    assert record.retries == ("block (50, 100, 40, 80): RuntimeError: a cable was loose",)
    assert read(tmp_path / "fused.tif") == expected["mtf-glp-fs"].tobytes()


def fail_once(flag: str, unlucky: Any) -> None:
    """Let a block fail on whichever worker is the first to try it."""
    from ship_geo import jobs, runner

    def failing(job: Any, stats: Any, box: Any, sink: Any) -> Any:
        if box == unlucky and not Path(flag).exists():
            Path(flag).touch()
            raise RuntimeError("a cable was loose")
        return jobs.sharpen_into(job, stats, box, sink)

    runner.sharpen_into = failing


def mend() -> None:
    from ship_geo import jobs, runner

    runner.sharpen_into = jobs.sharpen_into


def test_full_disk_of_the_workers_is_told_and_what_is_finished_kept(
    workers: Workers, scene: Scene, tmp_path: Path, expected: dict[str, np.ndarray]
) -> None:
    path = tmp_path / "fused.tif"
    workers.client.run(fill_disk, 4)
    try:
        with pytest.raises(
            OutputError, match=r"the disk of the output must have room, got .* blocks are finished and kept"
        ):
            write(scene, MODEL, path, client=workers.client)
    finally:
        workers.client.run(free_disk)
    assert [found.name for found in tmp_path.iterdir()] == [".fused.tif.ship-geo"]
    record = write(scene, MODEL, path, client=workers.client)
    assert 2 <= record.n_resumed <= 8  # both workers keep four files at most
    assert read(path) == expected[MODEL].tobytes()


def fill_disk(n_block: int) -> None:
    """Let the disk of this worker take so many files of blocks, pixels or masks, and no more."""
    import errno

    from ship_geo.writer import tiles

    write, written = tiles.TiledFile.write, []

    def full(self: Any, box: Any, values: Any, checksum: int = 0) -> int:
        written.append(box)
        if len(written) > n_block:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, box, values, checksum)

    tiles.TiledFile.whole_write, tiles.TiledFile.write = write, full


def free_disk() -> None:
    from ship_geo.writer import tiles

    tiles.TiledFile.write = tiles.TiledFile.whole_write


def test_killed_worker_costs_only_what_it_was_doing(
    workers: Workers, scene: Scene, tmp_path: Path, expected: dict[str, np.ndarray]
) -> None:
    victim = next(iter(workers.client.run(os.getpid).values()))
    kill = at(8, lambda: os.kill(victim, signal.SIGKILL))
    record = write(scene, MODEL, tmp_path / "fused.tif", client=workers.client, advance=kill)
    assert not psutil.pid_exists(victim) or psutil.Process(victim).status() == psutil.STATUS_ZOMBIE
    assert len(workers.client.nthreads()) == 2
    assert record.n_block == N_BLOCK
    assert read(tmp_path / "fused.tif") == expected[MODEL].tobytes()


def test_worker_beyond_its_memory_limit_is_started_anew_or_told(
    scene: Scene, tmp_path: Path, expected: dict[str, np.ndarray]
) -> None:
    flag = tmp_path / "killed"
    with Workers(1, MEMORY_LIMIT) as limited:
        (victim,) = limited.client.run(os.getpid).values()
        limited.client.run(devour_once, str(flag), (50, 100, 40, 80))
        record = write(scene, MODEL, tmp_path / "fused.tif", client=limited.client)
        assert flag.exists()
        assert not psutil.pid_exists(victim)
        assert record.n_block == N_BLOCK
        assert read(tmp_path / "fused.tif") == expected[MODEL].tobytes()
        limited.client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
        flag.unlink()
        limited.client.wait_for_workers(1, timeout=240)
        limited.client.run(devour_once, str(flag), (50, 100, 40, 80))
        with pytest.raises(ShipGeoError, match="1 that died over one; give workers more memory"):
            write(scene, MODEL, tmp_path / "again.tif", client=limited.client)
    record = write(scene, MODEL, tmp_path / "again.tif")
    assert 0 < record.n_resumed < record.n_block
    assert read(tmp_path / "again.tif") == expected[MODEL].tobytes()


def devour_once(flag: str, greedy: Any) -> None:
    """Let a block take memory until this worker is killed; its successor knows nothing of that."""
    from ship_geo import jobs, runner

    def devouring(job: Any, stats: Any, box: Any, sink: Any) -> Any:
        if box == greedy:
            Path(flag).touch()
            eaten = []
            while len(eaten) < 32:
                eaten.append(bytes(2**26).replace(b"\0", b"x"))  # pages that are touched
            time.sleep(120)  # here the kill comes
        return jobs.sharpen_into(job, stats, box, sink)

    runner.sharpen_into = devouring


def test_cluster_that_goes_away_is_told(scene: Scene, tmp_path: Path) -> None:
    with Workers(1) as lost:
        scheduler = lost.client.run_on_scheduler(os.getpid)
        kill = at(5, lambda: os.kill(scheduler, signal.SIGKILL))
        with pytest.raises(ShipGeoError, match="the cluster must stay while a job runs"):
            write(scene, MODEL, tmp_path / "fused.tif", client=lost.client, advance=kill)
    record = write(scene, MODEL, tmp_path / "fused.tif")
    assert record.n_resumed >= 5
