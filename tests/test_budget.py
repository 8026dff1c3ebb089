"""Budgets: sizes as people write them, blocks that fit, refusals that say what would do, and forecasts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ship_geo import budget, fusers
from ship_geo.budget import BLOCK, N_THREAD, PROCESS_BYTES, Budget, forecast, parse_size
from ship_geo.errors import ArgumentError
from ship_geo.jobs import Job
from ship_geo.lazy import chunk_shape
from ship_geo.scene import open_scene
from ship_geo.tiling import Plan

GIB = 2**30


@pytest.fixture
def job(write_pair: Callable[..., Any], tmp_path: Path) -> Job:
    return Job.of(open_scene(write_pair(tmp_path).pan), "mtf-glp-fs", "cpu", "float32")


@pytest.fixture
def large(job: Job) -> Job:
    """The same of 45056 x 45056 pixels, for planning alone."""
    return replace(job, plan=Plan((45056, 45056), 512, 0, 32))


@pytest.fixture
def network(job: Job, tiny_checkpoint: Path) -> Job:
    made = Job.of(job.scene, tiny_checkpoint, "cpu", "float32")
    return replace(made, plan=Plan((45056, 45056), 64, 16, 32))


# Sizes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "n_byte"),
    [
        ("2GiB", 2 * GIB),
        ("2 GiB", 2 * GIB),
        ("500MB", 500_000_000),
        ("1.5gb", 1_500_000_000),
        (4096, 4096),
        (None, None),
    ],
)
def test_sizes_are_read_as_people_write_them(text: Any, n_byte: int | None) -> None:
    assert parse_size(text) == n_byte


@pytest.mark.parametrize("text", ["much", "", "-2GiB", "0", 0, -1, True, "2 apples", "inf GB", float("nan")])
def test_other_sizes_are_refused(text: Any) -> None:
    with pytest.raises(ArgumentError, match=r"`max_memory` is a positive number of bytes .*, got .*; for instance"):
        parse_size(text)


# Blocks -------------------------------------------------------------------------------------------------------------


def test_default_is_large_blocks_and_two_at_a_time(large: Job) -> None:
    chosen = Budget.of(large)
    assert (chosen.block_shape, chosen.in_flight, chosen.batch, chosen.gpu_bytes) == ((BLOCK, BLOCK), N_THREAD, 1, 0)
    assert Budget.of(large, max_memory="64GiB").block_shape == (BLOCK, BLOCK)  # room alone makes nothing larger


def test_network_on_a_processor_takes_one_block_at_a_time(network: Job) -> None:
    chosen = Budget.of(network)
    assert chosen.in_flight == 1
    assert chosen.block_shape == chunk_shape("auto", network.plan)


def test_two_gibibytes_do_for_the_largest_scene_and_memory_does_not_grow_with_it(job: Job, large: Job) -> None:
    chosen = Budget.of(large, max_memory="2GiB")
    assert chosen.block_shape == (BLOCK, BLOCK)
    assert chosen.host_bytes <= 2 * GIB
    medium = replace(job, plan=Plan((4096, 4096), 512, 0, 32))
    assert Budget.of(medium).host_bytes == Budget.of(large).host_bytes


def test_tighter_budget_makes_blocks_smaller_first_and_then_fewer_at_a_time(large: Job) -> None:
    free = Budget.of(large)
    smaller = Budget.of(large, max_memory=free.host_bytes - 1)
    assert smaller.in_flight == free.in_flight
    assert smaller.block_shape == (512, 512)
    fewer = Budget.of(large, max_memory=smaller.host_bytes - 1)
    assert fewer.in_flight == 1
    for chosen in (smaller, fewer):
        assert chosen.host_bytes <= chosen.max_memory
        assert chosen.block_shape[0] % large.plan.rows.stride == 0


def test_blocks_follow_from_the_arguments_alone(network: Job) -> None:
    one, two = (Budget.of(network, max_memory="2500MB") for _ in range(2))
    assert one == two


def test_budget_too_small_for_a_window_tells_the_smallest_that_would_do(network: Job, large: Job) -> None:
    for job in (network, large):
        with pytest.raises(
            ArgumentError, match=r"max_memory must be at least .* for blocks of .*, got .*; allow"
        ) as caught:
            Budget.of(job, max_memory="200MB")
        told = str(caught.value).split("at least ")[1].split(" for")[0]
        number, unit = told.split()
        assert Budget.of(job, max_memory=f"{float(number) + 0.01:.2f} {unit}").block_shape


def test_chunks_that_are_asked_for_are_kept_or_refused(large: Job) -> None:
    assert Budget.of(large, (2048, 512)).block_shape == (2048, 512)
    need_two = Budget.of(large, 4096).host_bytes
    assert Budget.of(large, 4096, max_memory=need_two - 1).in_flight == 1
    with pytest.raises(ArgumentError, match="chunks='auto'"):
        Budget.of(large, 16384, max_memory="2GiB")


def test_small_scene_is_one_block(job: Job) -> None:
    assert Budget.of(job).block_shape == job.plan.shape


# GPU ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_has_gpu", lambda *_: True)


@pytest.mark.usefixtures("on_gpu")
def test_gpu_memory_decides_the_batch(network: Job) -> None:
    assert Budget.of(network).batch == fusers.GPU_BATCH
    batches = []
    for size in ("1GiB", "2GiB", "4GiB"):
        chosen = Budget.of(network, max_gpu_memory=size)
        assert chosen.gpu_bytes <= chosen.max_gpu_memory
        batches.append(chosen.batch)
    assert batches == sorted(set(batches))


@pytest.mark.usefixtures("on_gpu")
def test_gpu_too_small_for_a_window_is_refused(network: Job) -> None:
    with pytest.raises(ArgumentError, match=r"max_gpu_memory must be at least .* for one window, got .*; allow"):
        Budget.of(network, max_gpu_memory="300MB")


# Forecast -----------------------------------------------------------------------------------------------------------


def test_forecast_tells_blocks_memory_disk_and_time(large: Job) -> None:
    told = forecast(large, Budget.of(large), staged_bytes=10**9, measured=False)
    assert told["blocks"] == 44 * 44
    assert told["memory_bytes"] > PROCESS_BYTES
    assert told["disk_bytes"] == 10**9 + 10**9 * 4 // 3
    assert told["seconds"] is None


def test_time_is_measured_on_windows_of_the_scene(
    write_pair: Callable[..., Any], tmp_path: Path, tiny_checkpoint: Path
) -> None:
    scene = open_scene(write_pair(tmp_path, (300, 300)).pan)
    for model in ("mtf-glp-fs", tiny_checkpoint):
        job = Job.of(scene, model, "cpu", "float32")
        start = time.perf_counter()
        told = forecast(job, Budget.of(job), staged_bytes=1000)
        assert 0 < told["seconds"] < 60 * (time.perf_counter() - start)


def test_scene_of_nodata_has_no_forecast_of_time(write_pair: Callable[..., Any], tmp_path: Path) -> None:
    import numpy as np

    pair = write_pair(tmp_path, ms=np.zeros((4, 24, 24)), pan=np.zeros((96, 96)), nodata=0)
    job = Job.of(open_scene(pair.pan), "exp", "cpu", "float32")
    assert forecast(job, Budget.of(job), staged_bytes=1000)["seconds"] is None
