"""Lazy scenes: nothing is read before it is asked for, any chunking gives the same bytes, graphs stay small."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from ship_geo import fusers, jobs, lazy
from ship_geo.api import pansharpen_scene
from ship_geo.errors import ArgumentError
from ship_geo.grids import Grid
from ship_geo.jobs import Job
from ship_geo.lazy import chunk_shape, lazy_array
from ship_geo.nn.checkpoint import build_model
from ship_geo.products.layers import Layer
from ship_geo.raster import BandRef, RasterReader
from ship_geo.scene import Scene, open_scene
from ship_geo.sensors import find_sensor
from ship_geo.tiling import Plan

SHAPE = (150, 133)


class CountingScheduler:
    """Computes synchronously and counts how often it is asked to; more often than allowed is an error."""

    def __init__(self, most: int = 0) -> None:
        self.most, self.n = most, 0

    def __call__(self, graph: Any, keys: Any, **options: Any) -> Any:
        self.n += 1
        if self.n > self.most:
            msg = f"computed {self.n} times, allowed were {self.most}"
            raise AssertionError(msg)
        return dask.get(graph, keys, **options)


@pytest.fixture(scope="module")
def scene(write_pair: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """150 x 133 pixels of float32 with a wedge of NaN; a float shows every bit."""
    folder = tmp_path_factory.mktemp("lazy")
    pair = write_pair(folder, SHAPE, dtype="float32")
    ms, pan = pair.ms_values.copy(), pair.pan_values[0].copy()
    wedge = np.add.outer(np.arange(ms.shape[1]), np.arange(ms.shape[2])) < 20
    ms[:, wedge] = np.nan
    pan[np.kron(wedge, np.ones((4, 4)))[: SHAPE[0], : SHAPE[1]] > 0] = np.nan
    return open_scene(write_pair(folder / "wedge", SHAPE, ms=ms, pan=pan + 0.25, dtype="float32").pan)


@pytest.fixture(scope="module")
def whole(scene: Scene, tiny_checkpoint: Path) -> dict[str, np.ndarray]:
    """Results in one chunk by the synchronous scheduler."""
    models = {"tiny": tiny_checkpoint, "mtf-glp-fs": "mtf-glp-fs", "gsa": "gsa"}
    return {
        name: pansharpen_scene(scene, model=model, precision="float32", chunks=None)
        .compute(scheduler="synchronous")
        .to_numpy()
        for name, model in models.items()
    }


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Blocks that are read from files."""
    seen: list[tuple[int, ...]] = []
    read = RasterReader.read
    monkeypatch.setattr(RasterReader, "read", lambda self, *block: seen.append(block) or read(self, *block))
    return seen


# Laziness -----------------------------------------------------------------------------------------------------------


def test_nothing_is_computed_or_read_before_it_is_asked_for(
    scene: Scene, tiny_checkpoint: Path, reads: list[tuple[int, ...]]
) -> None:
    scheduler = CountingScheduler(most=1)
    with dask.config.set(scheduler=scheduler):
        fused = pansharpen_scene(scene, model=tiny_checkpoint, chunks=50)
        part = fused.sel(band=["red"]).isel(y=slice(60, 80), x=slice(60, 90)) * 2 + 1
        assert (scheduler.n, reads) == (0, [])
        assert part.shape == (1, 20, 30)
        assert "pansharpened" in repr(fused)
        assert (scheduler.n, reads) == (0, [])
        part.compute()
    assert scheduler.n == 1
    assert reads


def test_part_of_a_scene_costs_statistics_and_its_own_windows(scene: Scene, reads: list[tuple[int, ...]]) -> None:
    jobs._STATS.clear()
    fused = pansharpen_scene(scene, model="mtf-glp-fs", chunks=50)
    fused.isel(y=slice(0, 5), x=slice(0, 5)).compute(scheduler="synchronous")
    n_window = len(Job.of(scene, "mtf-glp-fs", "cpu", "auto").plan)
    assert len(reads) == 2 * (1 + n_window)  # PAN and MS; one window of statistics, one of the method


def test_statistics_are_gathered_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    gather = lazy.measure
    monkeypatch.setattr(lazy, "measure", lambda job: calls.append(job) or gather(job))
    pansharpen_scene(scene, model="exp", chunks=40).compute(scheduler="synchronous")
    assert len(calls) == 1


def test_network_is_loaded_once(scene: Scene, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(fusers, "build_model", lambda checkpoint: calls.append(1) or build_model(checkpoint))
    fusers._load_fuser.cache_clear()
    pansharpen_scene(scene, model=tiny_checkpoint, chunks=30).compute(scheduler="threads")
    assert len(calls) == 1


# Same bytes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("chunks", [50, 96, (200, 37), None])
@pytest.mark.parametrize("model", ["tiny", "mtf-glp-fs"])
def test_chunks_and_schedulers_change_no_byte(
    scene: Scene, whole: dict[str, np.ndarray], tiny_checkpoint: Path, model: str, chunks: Any, scheduler: str
) -> None:
    chosen = tiny_checkpoint if model == "tiny" else model
    fused = pansharpen_scene(scene, model=chosen, precision="float32", chunks=chunks)
    assert fused.compute(scheduler=scheduler).to_numpy().tobytes() == whole[model].tobytes()


@settings(max_examples=15)
@given(chunks=st.tuples(st.integers(9, 160), st.integers(9, 160)))
def test_any_chunking_gives_the_same_bytes(scene: Scene, whole: dict[str, np.ndarray], chunks: tuple[int, int]) -> None:
    fused = pansharpen_scene(scene, model="gsa", chunks=chunks)
    assert fused.data.chunksize == (4, min(chunks[0], SHAPE[0]), min(chunks[1], SHAPE[1]))
    assert fused.compute(scheduler="synchronous").to_numpy().tobytes() == whole["gsa"].tobytes()


def test_chunks_computed_one_by_one_are_the_whole(scene: Scene, whole: dict[str, np.ndarray]) -> None:
    fused = pansharpen_scene(scene, model="mtf-glp-fs", chunks=64)
    for row in range(0, SHAPE[0], 64):
        for col in range(0, SHAPE[1], 64):
            part = fused[:, row : row + 64, col : col + 64].compute(scheduler="synchronous").to_numpy()
            np.testing.assert_array_equal(part, whole["mtf-glp-fs"][:, row : row + 64, col : col + 64])


def test_number_of_threads_of_torch_changes_no_byte(
    scene: Scene, whole: dict[str, np.ndarray], tiny_checkpoint: Path
) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        for n_thread in (3, 4):
            torch.set_num_threads(n_thread)
            for model in ("tiny", "mtf-glp-fs"):
                chosen = tiny_checkpoint if model == "tiny" else model
                fused = pansharpen_scene(scene, model=chosen, precision="float32", chunks=None)
                assert fused.compute(scheduler="synchronous").to_numpy().tobytes() == whole[model].tobytes()
    finally:
        torch.set_num_threads(before)


# What the array says of itself --------------------------------------------------------------------------------------


def test_array_lies_on_the_pan_grid_and_tells_its_origin(
    write_pair: Callable[..., Any], tmp_path: Path, tiny_checkpoint: Path
) -> None:
    pair = write_pair(tmp_path, (40, 56), nodata=0, roles=("red", "nir", "blue", "green"), stem="03JUN22_WV02")
    fused = pansharpen_scene(pair.pan, sensor="WorldView-2", model=tiny_checkpoint)
    assert isinstance(fused, xr.DataArray)
    assert (fused.dims, fused.shape, fused.dtype) == (("band", "y", "x"), (4, 40, 56), np.uint16)
    assert fused.band.to_numpy().tolist() == ["red", "nir", "blue", "green"]
    with rasterio.open(pair.pan) as pan:
        assert fused.rio.crs == pan.crs
        assert fused.rio.transform() == pan.transform
        assert fused.rio.transform(recalc=True).almost_equals(pan.transform)  # the coordinates are pixel centres
    assert fused.rio.nodata == 0
    assert fused.attrs["sensor"] == "WorldView-2"
    assert fused.attrs["model"] == tiny_checkpoint.stem
    assert len(fused.attrs["model_digest"]) == 64
    assert fused.attrs["long_name"] == ("red", "nir", "blue", "green")


def test_scene_without_crs_and_nodata_gives_an_array_without(write_pair: Callable[..., Any], tmp_path: Path) -> None:
    pair = write_pair(tmp_path, (40, 40), crs=None, pan_crs=None)
    fused = pansharpen_scene(pair.pan, model="exp")
    assert fused.rio.crs is None
    assert fused.rio.nodata is None


# Chunks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        (100, (100, 100)),
        ((50, 7), (50, 7)),
        (None, (2000, 3000)),
        (-1, (2000, 3000)),
        ((64, None), (64, 3000)),
        (10**6, (2000, 3000)),
        ("auto", (1728, 1728)),  # whole strides of 192
    ],
)
def test_chunks_are_numbers_pairs_or_the_whole(chunks: Any, expected: tuple[int, int]) -> None:
    assert chunk_shape(chunks, Plan((2000, 3000), 256, 64, 32)) == expected


@pytest.mark.parametrize("chunks", [0, -5, "large", (10, 10, 10), (10,), 1.5, (0, 10), [64, 64]])
def test_other_chunks_are_refused(chunks: Any) -> None:
    with pytest.raises(
        ArgumentError, match=r"chunks are a number of pixels, \(row, col\), 'auto' or None, got .*; for"
    ):
        chunk_shape(chunks, Plan((2000, 3000), 256, 64, 32))


# Graphs -------------------------------------------------------------------------------------------------------------


def make_huge_scene() -> Scene:
    """45056 x 45056 pixels in a file that does not exist: planning opens nothing."""
    sensor = find_sensor("WorldView-2").select(("blue", "green", "red", "nir"))
    n = 45056

    def layer(name: str, pixel: float, roles: tuple[str, ...]) -> Layer:
        path = f"/vsimem/{name}.tif"
        size = int(n * 0.5 / pixel)
        return Layer(
            files=tuple(BandRef(path, band + 1) for band in range(len(roles))),
            grid=Grid((size, size), Affine(pixel, 0, 500000, 0, -pixel, 4640000), "EPSG:32633"),
            dtype="uint16",
            nodata=0.0,
            roles=roles,
            descriptions=roles,
        )

    return Scene(layer("huge_MS", 2.0, sensor.roles), layer("huge_PAN", 0.5, ("pan",)), sensor)


def test_graph_of_a_huge_scene_is_small_quick_and_named(tiny_checkpoint: Path) -> None:
    job = Job.of(make_huge_scene(), tiny_checkpoint, "cpu", "float32")
    start = time.process_time()
    with dask.config.set(scheduler=CountingScheduler()):
        fused = lazy_array(job, "auto")
    assert time.process_time() - start < 2
    graph = fused.__dask_graph__()
    assert len(pickle.dumps(dict(graph))) < 1_000_000
    names = [key if isinstance(key, str) else key[0] for key in graph]
    n_block = fused.data.npartitions
    assert n_block == len(job.plan.blocks(chunk_shape("auto", job.plan)))
    assert sum(name.startswith(f"ship-sharpen-{job.token}-") for name in names) >= n_block
    assert sum(name == f"ship-statistics-{job.token}" for name in names) == 1
    assert sum(name == f"ship-job-{job.token}" for name in names) == 1
