"""Running a job into a file: here, in threads or on a cluster it is the same file; a failure ends it at once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import rasterio
from distributed import Client, LocalCluster

from ship_geo import runner
from ship_geo.api import pansharpen_scene
from ship_geo.errors import ProductError
from ship_geo.jobs import Block, Job
from ship_geo.runner import N_THREAD, RunRecord, active_client, write_job
from ship_geo.scene import Scene, open_scene
from ship_geo.writer import GeoTiffWriter, OutputProfile

SHAPE = (120, 133)


@pytest.fixture(scope="module")
def scene(write_pair: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Floats with a hole of NaN, so that every bit shows and edges are filled."""
    folder = tmp_path_factory.mktemp("runner")
    pair = write_pair(folder / "plain", SHAPE, dtype="float32")
    ms, pan = pair.ms_values.copy(), pair.pan_values[0].copy()
    ms[:, :12, :9] = np.nan
    pan[:48, :36] = np.nan
    return open_scene(write_pair(folder, ms=ms, pan=pan + 0.25, dtype="float32").pan)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two processes with one thread of torch each, where this one has more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
            Client(cluster, set_as_default=False) as made,
        ):
            yield made


def write(scene: Scene, model: Any, path: Path, size: tuple[int, int] = (50, 60)) -> RunRecord:
    job = Job.of(scene, model, "cpu", "float32")
    with GeoTiffWriter(path, OutputProfile.from_scene(scene)) as writer:
        return write_job(job, writer, job.plan.blocks(size), lambda _: None)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        values: np.ndarray = dataset.read()
    return values


def test_cluster_threads_and_one_thread_write_the_same_file(
    scene: Scene, client: Client, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    digests = set()
    for model in (tiny_checkpoint, "mtf-glp-fs"):
        name = Path(model).stem
        write(scene, model, tmp_path / f"{name}-threads.tif")
        with dask.config.set(scheduler="synchronous"):
            write(scene, model, tmp_path / f"{name}-sync.tif", (96, 37))
        with client.as_current():
            assert active_client() is client
            write(scene, model, tmp_path / f"{name}-cluster.tif")
            lazy = pansharpen_scene(scene, model=model, device="cpu", precision="float32", chunks=70)
            computed = client.compute(lazy.data).result()
        assert active_client() is None
        one, *others = (read(tmp_path / f"{name}-{how}.tif") for how in ("threads", "sync", "cluster"))
        for other in (*others, computed):
            assert other.tobytes() == one.tobytes()
        digests |= {
            hashlib.sha256((tmp_path / f"{name}-{how}.tif").read_bytes()).hexdigest() for how in ("threads", "cluster")
        }
    assert len(digests) == 2  # not only the values: the files of a model are equal
    sources = client.run(lambda: len(__import__("ship_geo.jobs").jobs._SOURCES))
    loads = client.run(lambda: __import__("ship_geo.fusers").fusers._load_fuser.cache_info().misses)
    assert max(*sources.values(), *loads.values()) <= 2, (sources, loads)  # two models, each once per process


def test_failure_on_the_cluster_names_its_reason_and_leaves_nothing(
    write_pair: Callable[..., Any], client: Client, tmp_path: Path
) -> None:
    pair = write_pair(tmp_path / "in", ms=np.zeros((4, 24, 24)), pan=np.zeros((96, 96)), nodata=0)
    out = tmp_path / "out"
    out.mkdir()
    with client.as_current(), pytest.raises(ProductError, match="got none among 9216"):
        write(open_scene(pair.pan), "exp", out / "fused.tif")
    assert list(out.iterdir()) == []


def test_record_tells_what_was_done(write_pair: Callable[..., Any], tmp_path: Path) -> None:
    pair = write_pair(tmp_path / "plain")
    ms, pan = pair.ms_values.copy(), pair.pan_values[0].copy()
    ms[:, 2, 3] = 0
    ms[0, 14:18, 14:18] = 0
    pan[50, 60:65] = 0
    scene = open_scene(write_pair(tmp_path, ms=ms, pan=pan, nodata=0).pan)
    record = write(scene, "exp", tmp_path / "fused.tif")
    assert record.n_pixel == 96 * 96
    assert record.n_invalid == 16 + 5
    assert record.n_byte == (tmp_path / "fused.tif").stat().st_size
    assert record.valid_fraction == pytest.approx(1 - 21 / 9216, abs=1e-6)
    assert record.n_clipped > 0  # interpolation undershoots around the true zero
    assert record.n_moved >= 16  # which is kept apart from nodata
    assert record.megapixels_per_second == pytest.approx(96 * 96 / 1e6 / record.seconds, rel=0.2)


def test_progress_reaches_the_number_of_pixels(scene: Scene, tmp_path: Path) -> None:
    job, seen = Job.of(scene, "exp", "cpu", "auto"), []
    with GeoTiffWriter(tmp_path / "fused.tif", OutputProfile.from_scene(scene)) as writer:
        write_job(job, writer, job.plan.blocks((50, 60)), seen.append)
    assert sum(seen) == SHAPE[0] * SHAPE[1]
    assert len(seen) == 9


def test_few_blocks_are_in_flight(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, running, most = threading.Lock(), 0, 0
    sharpen = runner.sharpen

    def watched(*arguments: Any) -> Block:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return sharpen(*arguments)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(runner, "sharpen", watched)
    write(scene, "exp", tmp_path / "fused.tif", (30, 30))
    assert most <= N_THREAD


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_failing_block_ends_the_run_and_leaves_nothing(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    sharpen, started = runner.sharpen, []

    def failing(job: Job, stats: Any, block: Any) -> Block:
        started.append(block)
        if len(started) == 3:
            msg = "a disk was pulled"
            raise ProductError(msg)
        return sharpen(job, stats, block)

    monkeypatch.setattr(runner, "sharpen", failing)
    with dask.config.set(scheduler=scheduler), pytest.raises(ProductError, match="a disk was pulled"):
        write(scene, "exp", tmp_path / "fused.tif", (20, 20))
    assert len(started) <= 3 + N_THREAD  # of 42
    assert list(tmp_path.iterdir()) == []


def test_client_is_not_used_when_dask_is_told_otherwise(client: Client) -> None:
    with client.as_current():
        assert active_client() is client
        for scheduler in ("threads", "synchronous"):
            with dask.config.set(scheduler=scheduler):
                assert active_client() is None
    assert active_client() is None
