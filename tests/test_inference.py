"""Windows become blocks: any block is a cut of the whole, windows are fused once, values are rounded and clipped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ship_geo import inference
from ship_geo.data.dataset import ScenePairDataset
from ship_geo.data.reader import ArrayPairReader, FilePairReader, PairSample
from ship_geo.errors import ProductError
from ship_geo.fusers import ClassicalFuser, Fuser, ModelSpec, load_fuser
from ship_geo.inference import (
    ReaderSource,
    SceneSource,
    fuse_block,
    gather_stats,
    to_dtype,
    value_limits,
)
from ship_geo.ops.windows import PreparedWindow
from ship_geo.sampling import statistics_plan, statistics_windows
from ship_geo.scene import open_scene
from ship_geo.sensors import Band, Sensor
from ship_geo.stats import SceneStats
from ship_geo.tiling import Plan, Window

GAINS = (0.29, 0.3, 0.31, 0.35)
SENSOR = Sensor("odd", "Odd", (), tuple(map(Band, ("blue", "green", "red", "nir"), [None] * 4, GAINS)))
GROUPS = ((0, 1, 2, 3),)
CLASSICAL = ("mtf-glp-fs", "mtf-glp-hpm", "mtf-glp-hpm-r", "gsa", "bt-h", "bdsd-pc")
SHAPE = (150, 132)
HALO = 32


@dataclass
class Bench:
    """A scene in memory, its statistics, and models to run on it."""

    source: ReaderSource
    stats: dict[str, SceneStats]
    tiny: Fuser
    whole: dict[str, np.ndarray]

    def fuse(self, model: str, block: Sequence[int], window: int = 64, key: str | None = None) -> np.ndarray:
        fuser = self.tiny if model == "tiny" else ClassicalFuser(model)
        stats = self.stats["network" if model == "tiny" else "classical"]
        plan = Plan(SHAPE, window, 16 if model == "tiny" else 0, HALO)
        row0, row1, col0, col1 = block
        return fuse_block(
            self.source, plan, (row0, row1, col0, col1), fuser, stats, gnyq_ms=GAINS, groups=GROUPS, cache_key=key
        )[0]


@pytest.fixture(scope="module")
def bench(ground: Callable[..., np.ndarray], tiny_checkpoint: Path) -> Bench:
    rows, cols = 152, 132
    bands = ground(4, (rows, cols), 1)
    ms = bands.reshape(4, rows // 4, 4, cols // 4, 4).mean(axis=(2, 4)).astype(np.float32)
    pan = bands.mean(axis=0)[:150].astype(np.float32)
    ms[:, 20:, :5] = np.nan
    from affine import Affine

    from ship_geo.grids import Grid, GridPair

    pair = GridPair.from_grids(Grid((38, 33), Affine.scale(2, -2), None), Grid(SHAPE, Affine.scale(0.5, -0.5), None))
    source = ReaderSource(ArrayPairReader(ms, pan, pair=pair))
    plan = statistics_plan(SHAPE, HALO)
    stats = {"classical": gather_stats(source, plan, SENSOR), "network": gather_stats(source, plan, SENSOR, pair.ratio)}
    made = Bench(source, stats, load_fuser(ModelSpec.resolve(tiny_checkpoint), "cpu", "float32"), {})
    made.whole = {model: made.fuse(model, (0, 150, 0, 132)) for model in ("tiny", *CLASSICAL)}
    return made


# Blocks -------------------------------------------------------------------------------------------------------------


@settings(max_examples=12)
@given(
    model=st.sampled_from(["tiny", "mtf-glp-fs"]),
    rows=st.tuples(st.integers(0, 149), st.integers(1, 150)),
    cols=st.tuples(st.integers(0, 131), st.integers(1, 132)),
)
def test_any_block_is_a_cut_of_the_whole(
    bench: Bench, model: str, rows: tuple[int, int], cols: tuple[int, int]
) -> None:
    row0, col0 = rows[0], cols[0]
    row1, col1 = min(row0 + rows[1], 150), min(col0 + cols[1], 132)
    np.testing.assert_array_equal(
        bench.fuse(model, (row0, row1, col0, col1)), bench.whole[model][:, row0:row1, col0:col1]
    )


@pytest.mark.parametrize("max_bytes", [0, 150_000, 2**30])
def test_cache_changes_no_byte(bench: Bench, monkeypatch: pytest.MonkeyPatch, max_bytes: int) -> None:
    monkeypatch.setattr(inference, "_CACHE", inference._WindowCache(max_bytes))
    for row in (0, 50, 100):
        for col in (0, 66):
            block = (row, row + 50, col, col + 66)
            fused = bench.fuse("tiny", block, key="scene")
            np.testing.assert_array_equal(fused, bench.whole["tiny"][:, row : row + 50, col : col + 66])
    assert inference._CACHE._size <= max_bytes


def test_cache_keeps_scenes_and_models_apart(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "_CACHE", inference._WindowCache(2**30))
    block = (0, 70, 0, 70)
    first = bench.fuse("tiny", block, key="one")
    monkeypatch.setattr(ReaderSource, "samples", no_samples)
    np.testing.assert_array_equal(bench.fuse("tiny", (0, 1, 66, 70), key="one"), first[:, :1, 66:70])
    with pytest.raises(AssertionError, match="read"):
        bench.fuse("tiny", block, key="two")


def no_samples(*_: Any) -> Iterator[PairSample]:
    msg = "a window was read"
    raise AssertionError(msg)


def test_threads_share_windows_and_fuse_each_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "_CACHE", inference._WindowCache(2**30))
    seen, lock = [], threading.Lock()
    read = ReaderSource.samples

    def counting(self: ReaderSource, plan: Plan, windows: Sequence[Window]) -> Iterator[PairSample]:
        with lock:
            seen.extend(windows)
        return read(self, plan, windows)

    monkeypatch.setattr(ReaderSource, "samples", counting)
    blocks = [(row, row + 30, col, col + 44) for row in range(0, 150, 30) for col in range(0, 132, 44)]
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda block: bench.fuse("tiny", block, key="scene"), blocks))
    for (row0, row1, col0, col1), part in zip(blocks, parts, strict=True):
        np.testing.assert_array_equal(part, bench.whole["tiny"][:, row0:row1, col0:col1])
    assert len(seen) == len(set(seen)) == len(Plan(SHAPE, 64, 16, HALO))


def test_failed_window_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "_CACHE", inference._WindowCache(2**30))
    with monkeypatch.context() as patch:
        patch.setattr(ReaderSource, "samples", no_samples)
        with pytest.raises(AssertionError):
            bench.fuse("tiny", (0, 50, 0, 50), key="scene")
    np.testing.assert_array_equal(bench.fuse("tiny", (0, 50, 0, 50), key="scene"), bench.whole["tiny"][:, :50, :50])


def test_feathers_of_a_network_that_returns_its_input_leave_no_trace(bench: Bench) -> None:
    class Identity:
        batch_size = 3
        reads_pan_low = False

        def fuse(self, windows: Sequence[PreparedWindow], *_: object) -> list[torch.Tensor]:
            return [window.ms_placed for window in windows]

    plan = Plan(SHAPE, 64, 16, HALO)
    fused, valid = fuse_block(
        bench.source, plan, (0, 150, 0, 132), Identity(), bench.stats["network"], gnyq_ms=GAINS, groups=GROUPS
    )
    whole = bench.fuse("exp", (0, 150, 0, 132), window=512)
    np.testing.assert_allclose(fused[:, valid], whole[:, valid], rtol=1e-5)


@pytest.mark.parametrize("model", CLASSICAL)
def test_windows_of_a_classical_method_leave_no_trace(bench: Bench, model: str) -> None:
    # Statistics are the scene's and the halo reaches as far as the filters: windows of 64 or 512, it is one image.
    np.testing.assert_allclose(bench.fuse(model, (0, 150, 0, 132), window=512), bench.whole[model], atol=0.02)


# Sources ------------------------------------------------------------------------------------------------------------


def test_scenes_are_read_through_the_torchgeo_dataset(
    write_pair: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = open_scene(write_pair(tmp_path, (60, 72), dtype="int16").pan)
    queries = []
    get = ScenePairDataset.__getitem__
    monkeypatch.setattr(ScenePairDataset, "__getitem__", lambda self, query: queries.append(query) or get(self, query))
    plan = Plan((60, 72), 32, 8, HALO)
    samples = list(SceneSource(scene).samples(plan, plan.windows()))
    assert len(queries) == len(plan)
    plain = list(ReaderSource(FilePairReader(scene)).samples(plan, plan.windows()))
    for through, direct in zip(samples, plain, strict=True):
        for name in ("ms", "ms_valid", "pan", "pan_valid"):
            np.testing.assert_array_equal(getattr(through, name), getattr(direct, name))
        assert through.ratio == direct.ratio
        assert through.phase == pytest.approx(direct.phase)
        assert through.pan_start == direct.pan_start


def test_statistics_look_at_every_window_if_the_sample_meets_nothing_valid() -> None:
    n_ms, n_pan = 60, 240
    ms, pan = np.full((4, n_ms, n_ms), np.nan), np.full((n_pan, n_pan), 500.0)
    plan = Plan((n_pan, n_pan), 16, 0, HALO)
    looked_at = {(window.row_index, window.col_index) for window in statistics_windows(plan)}
    row, col = sorted(set(np.ndindex(len(plan.rows), len(plan.cols))) - looked_at)[40]
    ms[:, row * 4 + 1, col * 4 + 2] = 700
    stats = gather_stats(ReaderSource(ArrayPairReader(ms, pan)), plan, SENSOR)
    assert stats.moments.count == 16  # PAN pixels in one MS pixel
    assert stats.ms_max == 700


def test_scene_without_a_valid_pixel_is_refused() -> None:
    source = ReaderSource(ArrayPairReader(np.full((4, 8, 8), np.nan), np.ones((32, 32))))
    with pytest.raises(ProductError, match="valid in PAN and in all MS bands, got none among 1024"):
        gather_stats(source, statistics_plan((32, 32), HALO), SENSOR)


def test_pixels_beyond_the_scene_are_no_statistics() -> None:
    # PAN goes on where MS ends: what lies beyond the overlap is read with the halo, and not counted.
    from affine import Affine

    from ship_geo.grids import Grid, GridPair

    pair = GridPair.from_grids(Grid((8, 8), Affine.scale(4, -4), None), Grid((60, 60), Affine.scale(1, -1), None))
    pan = np.full((60, 60), 9000.0)
    pan[:32, :32] = 100
    source = ReaderSource(ArrayPairReader(np.full((4, 8, 8), 50.0), pan, pair=pair))
    stats = gather_stats(source, statistics_plan((32, 32), HALO), SENSOR)
    assert stats.n_pixel == stats.moments.count == 32 * 32
    assert stats.moments.mean[4] == 100


def test_interpolation_beyond_the_largest_value_does_not_count_as_a_value() -> None:
    # Bright on dark overshoots in between; the nominal bit depth must hold all the same.
    ms = np.full((4, 12, 12), 100.0)
    ms[:, 4:8, 4:8] = 2047
    source = ReaderSource(ArrayPairReader(ms, np.full((48, 48), 300.0)))
    stats = gather_stats(source, statistics_plan((48, 48), HALO), SENSOR)
    assert stats.ms_max == 2047


# Values -------------------------------------------------------------------------------------------------------------


def test_values_are_rounded_to_the_nearest_and_clipped_values_counted() -> None:
    fused = np.array([-3.0, -0.4, 0.5, 1.5, 2.49, 2046.6, 2047.4, 2047.6], np.float32).reshape(2, 2, 2)
    values, n_clipped = to_dtype(fused, "uint16", (0, 2047))
    assert values.dtype == np.uint16
    assert values.ravel().tolist() == [0, 0, 0, 2, 2, 2047, 2047, 2047]
    assert n_clipped == 2


def test_ramp_keeps_its_mean() -> None:
    ramp = np.linspace(10, 900, 20_000, dtype=np.float32).reshape(1, 100, 200)
    values, _ = to_dtype(ramp, "uint16", (0, 65535))
    assert abs(values.mean() - ramp.astype(np.float64).mean()) < 0.01


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
def test_values_beyond_the_data_type_end_at_its_limits(dtype: str) -> None:
    info = np.iinfo(dtype)
    limits = value_limits(dtype, 64, 1e30)
    values, n_clipped = to_dtype(np.array([[[-1e20, 1e20]]], np.float32), dtype, limits)
    assert values.ravel().tolist() == [info.min, info.max]
    assert n_clipped == 2


def test_floats_are_neither_rounded_nor_clipped() -> None:
    fused = np.array([[[-0.25, 1e6]]], np.float32)
    values, n_clipped = to_dtype(fused, "float64", value_limits("float64", 11, 5.0))
    assert (values.tolist(), values.dtype, n_clipped) == ([[[-0.25, 1e6]]], np.float64, 0)


@pytest.mark.parametrize(
    ("dtype", "bits", "ms_max", "expected"),
    [
        ("uint16", 11, 2047, (0, 2047)),
        ("uint16", 11, 2048, (0, 65535)),  # the product does not keep to its nominal depth
        ("uint16", 10, 900, (0, 1023)),
        ("int16", 11, 1500, (-32768, 2047)),
        ("uint8", 11, 255, (0, 255)),
        ("int16", 16, 20000, (-32768, 32767)),
    ],
)
def test_limit_is_the_bit_depth_where_the_scene_keeps_to_it(
    dtype: str, bits: int, ms_max: float, expected: tuple[float, float]
) -> None:
    assert value_limits(dtype, bits, ms_max) == expected
