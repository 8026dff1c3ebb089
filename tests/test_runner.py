"""Running a job into a file: here, in threads or on a cluster it is the same file; a failure ends it at once."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
import pytest
import rasterio
from distributed import Client, LocalCluster

from ship_geo import jobs, runner
from ship_geo.budget import N_THREAD, Budget
from ship_geo.dispatch import MAX_ATTEMPTS
from ship_geo.errors import ArgumentError, OutputError, ProductError
from ship_geo.jobs import Block, Job, StoppableSource, Stopped
from ship_geo.lazy import lazy_array
from ship_geo.runner import RunRecord, active_client, run_job
from ship_geo.scene import Scene, open_scene
from ship_geo.writer import OutputProfile, Staging

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
            LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
            Client(cluster, set_as_default=False) as made,
        ):
            yield made


def write(scene: Scene, model: Any, path: Path, size: tuple[int, int] = (50, 60), **options: Any) -> RunRecord:
    job = Job.of(scene, model, "cpu", "float32")
    blocks = job.plan.blocks(size)
    with Staging(path, OutputProfile.from_scene(scene), job.facts, blocks) as staging:
        return run_job(job, staging, blocks, **options)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        values: np.ndarray = dataset.read()
    return values


@pytest.mark.slow
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
            lazy = lazy_array(Job.of(scene, model, "cpu", "float32"), 70)
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


def test_pixels_go_through_the_driver_where_workers_do_not_see_the_folder(
    scene: Scene, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []
    write_block = Staging.write
    monkeypatch.setattr(Staging, "write", lambda self, box, *rest: written.append(box) or write_block(self, box, *rest))
    write(scene, "mtf-glp-fs", tmp_path / "seen.tif", client=client)
    assert written == []
    client.run(look_away, True)
    try:
        write(scene, "mtf-glp-fs", tmp_path / "unseen.tif", client=client)
    finally:
        client.run(look_away, False)
    assert len(written) == 9
    assert (tmp_path / "seen.tif").read_bytes() == (tmp_path / "unseen.tif").read_bytes()


def look_away(is_blind: bool) -> None:
    """Let this process see no file of a run, as on a machine without the file system."""
    from ship_geo.writer import BlockSink

    if is_blind:
        BlockSink.seen = BlockSink.can_see
        BlockSink.can_see = lambda _: False
    else:
        BlockSink.can_see = BlockSink.seen


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


def test_progress_reaches_the_number_of_pixels_and_events_tell_the_course(scene: Scene, tmp_path: Path) -> None:
    seen: list[int] = []
    events: list[str] = []
    record = write(scene, "exp", tmp_path / "f.tif", advance=seen.append, log=lambda event, **_: events.append(event))
    assert sum(seen) == SHAPE[0] * SHAPE[1]
    assert events == ["start", "statistics", *["block"] * 9, "finish", "done"]
    assert (record.n_block, record.n_resumed, record.n_retry, record.retries) == (9, 0, 0, ())
    parts = record.seconds_statistics + record.seconds_blocks + record.seconds_finish
    assert parts == pytest.approx(record.seconds, abs=0.01)


def test_few_blocks_are_in_flight(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = count_most(monkeypatch)
    write(scene, "exp", tmp_path / "fused.tif", (30, 30))
    assert 1 <= most() <= N_THREAD
    most = count_most(monkeypatch)
    budget = Budget((30, 30), 1, 1, 0, 0)
    write(scene, "exp", tmp_path / "one.tif", (30, 30), budget=budget)
    assert most() == 1


def count_most(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    lock, running, most = threading.Lock(), 0, 0

    def watched(*arguments: Any) -> Block:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return jobs.sharpen(*arguments)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(runner, "sharpen", watched)
    return lambda: most


# Failures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_block_that_fails_once_is_tried_again_and_the_reason_kept(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    write(scene, "exp", tmp_path / "plain.tif")
    fail_at(monkeypatch, (50, 100, 60, 120), n_time=1)
    with dask.config.set(scheduler=scheduler):
        record = write(scene, "exp", tmp_path / "fused.tif")
    assert record.n_retry == 1
    assert record.retries == ("block (50, 100, 60, 120): ProductError: a disk was pulled",)
    assert (tmp_path / "fused.tif").read_bytes() == (tmp_path / "plain.tif").read_bytes()


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_block_that_always_fails_ends_the_run_and_the_next_goes_on(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    write(scene, "exp", tmp_path / "plain.tif", (20, 20))
    with monkeypatch.context() as patch, dask.config.set(scheduler=scheduler):
        started = fail_at(patch, (20, 40, 20, 40), n_time=1000)
        with pytest.raises(ProductError, match="a disk was pulled") as caught:
            write(scene, "exp", tmp_path / "fused.tif", (20, 20))
    assert started.count((20, 40, 20, 40)) == MAX_ATTEMPTS
    assert f"block (20, 40, 20, 40) was tried {MAX_ATTEMPTS} times" in caught.value.__notes__
    assert not (tmp_path / "fused.tif").exists()
    events: list[tuple[str, dict[str, Any]]] = []
    record = write(
        scene, "exp", tmp_path / "fused.tif", (20, 20), log=lambda event, **facts: events.append((event, facts))
    )
    assert 0 < record.n_resumed < record.n_block == 42
    assert events[0] == ("start", {"scene": scene.name, "blocks": 42, "done": record.n_resumed})
    assert (tmp_path / "fused.tif").read_bytes() == (tmp_path / "plain.tif").read_bytes()


def fail_at(monkeypatch: pytest.MonkeyPatch, box: Any, n_time: int, error: Exception | None = None) -> list[Any]:
    """Let a block fail some times, and return the blocks that are started."""
    started: list[Any] = []

    def failing(job: Job, stats: Any, block: Any, source: Any) -> Block:
        started.append(block)
        if block == box and started.count(box) <= n_time:
            raise error or ProductError("a disk was pulled")
        return jobs.sharpen(job, stats, block, source)

    monkeypatch.setattr(runner, "sharpen", failing)
    return started


def test_what_cannot_get_better_is_not_tried_again(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (ArgumentError("no"), OutputError("full")):
        started = fail_at(monkeypatch, (0, 50, 0, 60), 9, error)
        with pytest.raises(type(error)):
            write(scene, "exp", tmp_path / "fused.tif")
        assert started.count((0, 50, 0, 60)) == 1


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_interruption_stops_at_the_next_window_and_the_next_run_goes_on(
    scene: Scene, tiny_checkpoint: Path, tmp_path: Path, scheduler: str
) -> None:
    write(scene, tiny_checkpoint, tmp_path / "plain.tif")
    n_done = 0

    def interrupt(_: int) -> None:
        nonlocal n_done
        n_done += 1
        if n_done == 4:  # the first call tells of what was done before
            raise KeyboardInterrupt

    with dask.config.set(scheduler=scheduler), pytest.raises(KeyboardInterrupt) as caught:
        write(scene, tiny_checkpoint, tmp_path / "fused.tif", advance=interrupt, budget=Budget((50, 60), 2, 1, 0, 0))
    assert any("3 of 9" in note for note in caught.value.__notes__)
    record = write(scene, tiny_checkpoint, tmp_path / "fused.tif")
    assert record.n_resumed == 3
    assert (tmp_path / "fused.tif").read_bytes() == (tmp_path / "plain.tif").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_stopped_source_reads_no_more(scene: Scene) -> None:
    job = Job.of(scene, "exp", "cpu", "float32")
    stop = threading.Event()
    source = StoppableSource(jobs.open_source(job), stop)
    windows = job.plan.windows()
    assert len(list(source.samples(job.plan, windows[:1]))) == 1
    stop.set()
    with pytest.raises(Stopped):
        source.samples(job.plan, windows[:1])


def test_client_is_not_used_when_dask_is_told_otherwise(client: Client) -> None:
    with client.as_current():
        assert active_client() is client
        for scheduler in ("threads", "synchronous"):
            with dask.config.set(scheduler=scheduler):
                assert active_client() is None
    assert active_client() is None


# Memory -------------------------------------------------------------------------------------------------------------


def test_memory_is_flat_over_two_hundred_blocks(write_pair: Callable[..., Any], client: Client, tmp_path: Path) -> None:
    scene = open_scene(write_pair(tmp_path / "in", (640, 640)).pan)
    here, there = psutil.Process(), [psutil.Process(pid) for pid in client.run(os.getpid).values()]
    for how, processes in ((None, [here]), (client, [*there, here])):
        write(scene, "brovey", tmp_path / f"warm{how is None}.tif", (45, 45), client=how)
        before = [process.memory_info().rss for process in processes]
        record = write(scene, "brovey", tmp_path / f"flat{how is None}.tif", (45, 45), client=how)
        assert record.n_block == 225
        after = [process.memory_info().rss for process in processes]
        assert max(late - early for early, late in zip(before, after, strict=True)) < 24e6
