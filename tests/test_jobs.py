"""A job on a scene: what a value, a mask and a hole of the input become, and how jobs are told apart."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dask.base import tokenize

from ship_geo import jobs
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.jobs import Block, Job, measure, open_source, sharpen
from ship_geo.scene import Scene, open_scene
from ship_geo.sensors import Sensor

METHODS = ("exp", "brovey", "bt-h", "gsa", "bdsd-pc", "mtf-glp-fs", "mtf-glp-hpm", "mtf-glp-hpm-r")
Write = Callable[..., Any]


@pytest.fixture
def small(write_pair: Write, tmp_path: Path) -> Scene:
    return open_scene(write_pair(tmp_path).pan)


def run(scene: Scene, model: Any = "mtf-glp-fs") -> Block:
    job = Job.of(scene, model, "cpu", "float32")
    n_row, n_col = job.plan.shape
    return sharpen(job, measure(job), (0, n_row, 0, n_col))


def wedge_of(n: int) -> np.ndarray:
    """Invalid MS pixels: a corner."""
    return np.add.outer(np.arange(n), np.arange(n)) < n // 2


# Identity -----------------------------------------------------------------------------------------------------------


def test_job_is_known_by_what_it_computes(small: Scene, tiny_checkpoint: Path) -> None:
    job = Job.of(small, "gsa", "auto", "auto")
    assert tokenize(job) == tokenize(Job.of(open_scene(small.pan.paths[0]), "gsa", "auto", "auto"))
    other = replace(small, sensor=Sensor.generic(small.ms.roles, bits=11))
    different = [
        Job.of(small, "brovey", "auto", "auto"),
        Job.of(small, tiny_checkpoint, "cpu", "float32"),
        Job.of(small, tiny_checkpoint, "cpu", "bfloat16"),
        Job.of(other, "gsa", "auto", "auto"),
        Job.of(replace(small, ms=replace(small.ms, nodata=7.0)), "gsa", "auto", "auto"),
    ]
    assert len({job.token, *(one.token for one in different)}) == 6


def test_changed_file_is_another_job(write_pair: Write, tmp_path: Path) -> None:
    first = Job.of(open_scene(write_pair(tmp_path).pan), "exp", "auto", "auto")
    second = Job.of(open_scene(write_pair(tmp_path, seed=1).pan), "exp", "auto", "auto")
    assert first.token != second.token


def test_job_is_small_and_survives_travel(small: Scene, tiny_checkpoint: Path) -> None:
    job = Job.of(small, tiny_checkpoint, "cpu", "float32")
    packed = pickle.dumps(job)
    assert len(packed) < 10_000
    moved = pickle.loads(packed)
    block = (10, 30, 20, 70)
    np.testing.assert_array_equal(
        sharpen(moved, measure(moved), block).values, sharpen(job, measure(job), block).values
    )


def test_files_are_opened_once_and_a_few_scenes_stay_open(
    write_pair: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_SOURCES", {})
    made = [
        Job.of(open_scene(write_pair(tmp_path, (8, 8), stem=f"s{i}").pan), "exp", "cpu", "auto")
        for i in range(jobs.MAX_OPEN + 2)
    ]
    first = open_source(made[0])
    assert open_source(made[0]) is first
    for job in made[1:]:
        open_source(job)
    assert len(jobs._SOURCES) <= jobs.MAX_OPEN


@pytest.mark.parametrize("option", [{"model": "best"}, {"device": "tpu"}, {"precision": "half"}])
def test_option_that_cannot_be_used_is_refused_before_any_work(small: Scene, option: dict[str, str]) -> None:
    with pytest.raises(ArgumentError, match="got"):
        Job.of(small, **{"model": "exp", "device": "auto", "precision": "auto", **option})


# Values -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("model", ["mtf-glp-fs", "tiny"])
def test_constant_scene_is_reproduced_in_its_data_type(
    write_pair: Write, tmp_path: Path, tiny_checkpoint: Path, dtype: str, model: str
) -> None:
    ms = np.broadcast_to(np.array([50, 101, 77, 200])[:, None, None], (4, 20, 20))
    pair = write_pair(tmp_path, (80, 80), ms=ms, pan=np.full((80, 80), 123), dtype=dtype)
    block = run(open_scene(pair.pan), tiny_checkpoint if model == "tiny" else model)
    assert block.values.dtype == np.dtype(dtype)
    expected = np.kron(ms, np.ones((1, 4, 4)))
    # Floats keep float32 rounding; a deviation that is zero has a floor, which random weights scale.
    tolerance = 0.0 if np.dtype(dtype).kind != "f" else 2e-3 if model == "tiny" else 1e-6
    np.testing.assert_allclose(block.values, expected, rtol=tolerance)
    assert (block.n_clipped, block.n_moved) == (0, 0)


@pytest.mark.parametrize("model", METHODS)
def test_constant_bands_stay_constant_under_every_method(write_pair: Write, tmp_path: Path, model: str) -> None:
    ms = np.broadcast_to(np.array([400, 700])[:, None, None], (2, 10, 10))
    pair = write_pair(tmp_path, (40, 40), ms=ms, pan=np.full((40, 40), 550), roles=("red", "nir"))
    np.testing.assert_array_equal(run(open_scene(pair.pan), model).values, np.kron(ms, np.ones((1, 4, 4))))


def test_values_above_the_bit_depth_are_cut_and_counted(write_pair: Write, tmp_path: Path, ground: Write) -> None:
    bands = ground(4, (96, 96), 2)
    bands[:, 40:56, 40:56] = 2047
    ms = bands.reshape(4, 24, 4, 24, 4).mean(axis=(2, 4))
    pan = bands.mean(axis=0)
    pair = write_pair(tmp_path, ms=ms, pan=pan)
    scene = open_scene(pair.pan, sensor="WorldView-2")
    assert scene.sensor.bits == 11
    block = run(scene)
    assert block.values.max() == 2047
    job = Job.of(scene, "mtf-glp-fs", "cpu", "auto")
    free = sharpen(replace(job, bits=16, token="free"), measure(job), (0, 96, 0, 96))
    assert block.n_clipped == int((free.values > 2047).sum()) > 0
    np.testing.assert_array_equal(block.values, np.minimum(free.values, 2047))
    # What was saturated stays so inside; beside it PAN's own edge is followed.
    assert block.values[:, 44:52, 44:52].min() > 1990


def test_scene_above_its_nominal_bit_depth_has_the_whole_data_type(
    write_pair: Write, tmp_path: Path, ground: Write
) -> None:
    bands = ground(4, (96, 96), 2) * 8
    pair = write_pair(tmp_path, ms=bands[:, ::4, ::4], pan=bands.mean(axis=0))
    block = run(open_scene(pair.pan, sensor="WorldView-2"))
    assert block.values.max() > 9_000
    assert block.n_clipped == 0


def test_hot_pixel_changes_nothing_far_away(write_pair: Write, tmp_path: Path) -> None:
    # Interpolation has no statistics: not a value. The gains of a method are regressions over all pixels of the scene,
    # here few: one of them at 2047 may move the details, which the gains scale, by some DN, but sets no scale.
    plain = write_pair(tmp_path / "a", (192, 192))
    ms, pan = plain.ms_values.copy(), plain.pan_values.copy()
    ms[:, 4, 4] = 2047
    pan[0, 18, 18] = 2047
    for name, limit, changed in (
        ("exp", 0, {"ms": ms, "pan": pan}),
        ("mtf-glp-fs", 3, {"ms": plain.ms_values, "pan": pan}),
    ):
        hot = write_pair(tmp_path / name, **changed)
        one, two = (run(open_scene(pair.pan), name).values.astype(int) for pair in (plain, hot))
        step = np.abs(one - two)[:, 64:, 64:]
        assert step.max() <= limit, name
        assert step.mean() <= limit / 8, name


# Holes and masks ----------------------------------------------------------------------------------------------------


def test_true_zero_in_one_band_stays_valid(write_pair: Write, tmp_path: Path) -> None:
    pair = write_pair(tmp_path / "a")
    ms, pan = pair.ms_values.copy(), pair.pan_values.copy()
    ms[3, 10:14, 10:14] = 0
    ms[:, :, :3] = 0
    pan[:, :, :12] = 0
    pair = write_pair(tmp_path / "b", ms=ms, pan=pan, nodata=0)
    block = run(open_scene(pair.pan), "exp")
    np.testing.assert_array_equal(block.valid, np.arange(96) >= np.full((96, 1), 12))
    lake = block.values[:, 44:52, 44:52]
    assert (lake[3] <= 1).all()  # 0 is the mark of nodata: a true one is moved by the least step, and counted
    assert (lake[:3] > 100).all()
    assert block.n_moved >= 4 * 4


@pytest.mark.parametrize("model", ["mtf-glp-fs", "gsa", "tiny"])
def test_fill_value_changes_nothing(write_pair: Write, tmp_path: Path, tiny_checkpoint: Path, model: str) -> None:
    plain = write_pair(tmp_path / "plain")
    wedge = wedge_of(24)
    on_pan = np.kron(wedge, np.ones((4, 4))) > 0
    results = []
    for fill in (0, 60000, 7):
        pair = write_pair(
            tmp_path / f"fill{fill}",
            ms=np.where(wedge, fill, plain.ms_values),
            pan=np.where(on_pan, fill, plain.pan_values[0]),
            nodata=fill,
        )
        block = run(open_scene(pair.pan), tiny_checkpoint if model == "tiny" else model)
        np.testing.assert_array_equal(block.valid, ~on_pan)
        assert (block.values[:, on_pan] == fill).all()
        results.append(block.values[:, ~on_pan])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_result_is_valid_where_pan_and_ms_are(write_pair: Write, tmp_path: Path) -> None:
    plain = write_pair(tmp_path / "plain")
    ms, pan = plain.ms_values.copy(), plain.pan_values[0].copy()
    ms[:, 5, 7] = 0
    pan[60:63, 11] = 0
    pair = write_pair(tmp_path / "holes", ms=ms, pan=pan, nodata=0)
    expected = np.ones((96, 96), bool)
    expected[20:24, 28:32] = False
    expected[60:63, 11] = False
    block = run(open_scene(pair.pan))
    np.testing.assert_array_equal(block.valid, expected)
    assert (block.values[:, ~expected] == 0).all()
    assert (block.values[:, expected] > 0).all()


def test_negative_nodata_in_one_band_masks_the_pixel(write_pair: Write, tmp_path: Path) -> None:
    plain = write_pair(tmp_path / "plain", dtype="int16")
    ms = plain.ms_values.copy()
    ms[2, 5, 7] = -32768
    pair = write_pair(tmp_path / "hole", ms=ms, pan=plain.pan_values[0], dtype="int16", nodata=-32768)
    block = run(open_scene(pair.pan))
    assert int((~block.valid).sum()) == 16
    assert (block.values[:, 20:24, 28:32] == -32768).all()


@pytest.mark.parametrize("model", ["exp", "mtf-glp-fs", "tiny"])
def test_pixels_beside_a_wedge_are_not_darkened(
    write_pair: Write, tmp_path: Path, tiny_checkpoint: Path, model: str
) -> None:
    whole = write_pair(tmp_path / "whole", (192, 192))
    wedge = wedge_of(48)
    on_pan = np.kron(wedge, np.ones((4, 4))) > 0
    cut = write_pair(
        tmp_path / "cut",
        ms=np.where(wedge, 0, whole.ms_values),
        pan=np.where(on_pan, 0, whole.pan_values[0]),
        nodata=0,
    )
    chosen = tiny_checkpoint if model == "tiny" else model
    full, part = (run(open_scene(pair.pan), chosen).values.astype(float) for pair in (whole, cut))
    rows, cols = np.mgrid[:192, :192]
    distance = (rows + cols - 96) / np.sqrt(2)  # from the edge of the wedge, in PAN pixels
    near, far = ~on_pan & (distance < 8), distance > 40
    darkening = part[:, near].mean(axis=1) / full[:, near].mean(axis=1)
    np.testing.assert_allclose(darkening, 1, atol=0.02)
    assert part[:, near].min() > 0.5 * full[:, near].min()
    if model == "exp":
        np.testing.assert_array_equal(part[:, far], full[:, far])
    else:  # statistics are those of another set of pixels, and so is what the residual of a network weighs
        alike = np.isclose(part[:, far], full[:, far], rtol=0.05, atol=8)
        assert alike.mean() > 0.995 if model == "tiny" else alike.all()


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_valid(write_pair: Write, tmp_path: Path, tiny_checkpoint: Path, odd: float) -> None:
    plain = write_pair(tmp_path / "plain", dtype="float32")
    ms, pan = plain.ms_values.copy(), plain.pan_values[0].copy()
    ms[1, 5, 7] = odd
    pan[60:63, 11] = odd
    pair = write_pair(tmp_path / "odd", ms=ms, pan=pan, dtype="float32")
    scene = open_scene(pair.pan)
    for model in ("mtf-glp-fs", tiny_checkpoint):
        block = run(scene, model)
        expected = np.ones((96, 96), bool)
        expected[20:24, 28:32] = False
        expected[60:63, 11] = False
        np.testing.assert_array_equal(block.valid, expected)
        assert np.isfinite(block.values[:, expected]).all()
        assert np.isnan(block.values[:, ~expected]).all()


def test_scene_of_nodata_is_refused(write_pair: Write, tmp_path: Path) -> None:
    pair = write_pair(tmp_path, ms=np.zeros((4, 24, 24)), pan=np.zeros((96, 96)), nodata=0)
    with pytest.raises(ProductError, match=r"got none among 9216; check the nodata values of both files"):
        run(open_scene(pair.pan))


# Scene, not tiles ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["mtf-glp-fs", "mtf-glp-hpm", "mtf-glp-hpm-r", "gsa", "brovey", "bt-h", "bdsd-pc"])
def test_two_halves_of_different_brightness_show_no_step_between_windows(
    write_pair: Write, tmp_path: Path, ground: Write, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    bands = ground(4, (160, 160), 4) * np.where(np.arange(160) < 72, 0.2, 1.0)
    pair = write_pair(
        tmp_path, ms=bands.reshape(4, 40, 4, 40, 4).mean(axis=(2, 4)), pan=bands.mean(axis=0), dtype="float32"
    )
    scene = open_scene(pair.pan)
    one = run(scene, model).values
    monkeypatch.setattr("ship_geo.fusers.CLASSICAL_WINDOW", 64)
    many = run(scene, model).values
    np.testing.assert_allclose(many, one, atol=0.02)


@pytest.mark.parametrize("model", METHODS)
def test_order_of_the_bands_changes_the_order_and_nothing_else(write_pair: Write, tmp_path: Path, model: str) -> None:
    order = [2, 0, 3, 1]
    pair = write_pair(tmp_path / "a", n_band=4)
    moved = write_pair(
        tmp_path / "b",
        ms=pair.ms_values[order],
        pan=pair.pan_values,
        roles=[("blue", "green", "red", "nir")[index] for index in order],
    )
    first, second = (run(open_scene(one.pan, sensor="WorldView-2"), model).values for one in (pair, moved))
    # Sums over bands run in another order: a value in ten thousand may round the other way.
    step = np.abs(second.astype(int) - first[order])
    assert step.max() <= 1
    assert (step > 0).mean() < 1e-3
