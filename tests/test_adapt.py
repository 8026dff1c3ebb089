"""A network fitted to a scene does better on what was held out, or is the one that came; the same again and again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ship_geo.adapt import AdaptConfig, adapt
from ship_geo.api import pansharpen_scene
from ship_geo.coarser import Pair
from ship_geo.errors import ArgumentError, OutputError
from ship_geo.jobs import Job, open_source
from ship_geo.nn.checkpoint import build_model, load_checkpoint
from ship_geo.nn.sharpener import Sharpener
from ship_geo.scene import Scene, open_scene
from ship_geo.tuning import Tuning, tune

QUICK = AdaptConfig(steps=24, rate=5e-3, batch_size=2, patch=24, n_check=3)
SHAPE = (256, 224)


@pytest.fixture(scope="module")
def scene(write_pair: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return open_scene(write_pair(tmp_path_factory.mktemp("adapt"), SHAPE, seed=3).pan)


@pytest.fixture
def network(tiny_checkpoint: Path) -> Sharpener:
    built = build_model(load_checkpoint(tiny_checkpoint))
    assert isinstance(built, Sharpener)
    return built


def pair_of(scene: Scene) -> Pair:
    sensor = scene.sensor
    return Pair(scene.pair.output.shape, scene.pair.ratio, sensor.gnyq_ms, sensor.gnyq_pan)


def fitted(scene: Scene, network: Sharpener, config: AdaptConfig = QUICK) -> tuple[Sharpener, Any]:
    source = open_source(Job.of(scene, "exp", "cpu", "float32"))
    return adapt(network, source, pair_of(scene), ((0, 1, 2, 3),), config)


def state_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_random_network_learns_the_scene(scene: Scene, network: Sharpener) -> None:
    before = state_of(network)
    tuned, record = fitted(scene, network)
    assert record.is_adapted
    assert record.steps == 24
    assert not record.reason
    assert record.error_after < 0.9 * record.error_before
    assert same(before, state_of(network)), "the network that came must stay as it is"
    assert not same(before, state_of(tuned))


def test_same_seed_gives_the_same_weights_and_another_gives_others(scene: Scene, network: Sharpener) -> None:
    first, second = (state_of(fitted(scene, network)[0]) for _ in range(2))
    assert same(first, second)
    assert not same(first, state_of(fitted(scene, network, replace(QUICK, seed=1))[0]))


def test_weights_stay_where_nothing_does_better(scene: Scene, network: Sharpener) -> None:
    tuned, record = fitted(scene, network, replace(QUICK, steps=3, rate=1e-9))
    assert not record.is_adapted
    assert "held-out" in record.reason
    assert record.error_after == record.error_before
    assert same(state_of(network), state_of(tuned))


def test_destructive_steps_are_not_kept(scene: Scene, network: Sharpener) -> None:
    tuned, record = fitted(scene, network)
    worse, again = fitted(scene, tuned, replace(QUICK, rate=30.0))
    assert again.error_after <= again.error_before == pytest.approx(record.error_after, rel=1e-4)
    assert same(state_of(tuned), state_of(worse)) or again.is_adapted


def test_time_ends_the_run_and_is_told(scene: Scene, network: Sharpener) -> None:
    _, record = fitted(scene, network, replace(QUICK, max_seconds=1e-6))
    assert record.steps == 0
    assert not record.is_adapted
    assert "stopped" in record.reason


def test_scene_without_room_is_left_alone(write_pair: Callable[..., Any], tmp_path: Path, network: Sharpener) -> None:
    small = open_scene(write_pair(tmp_path, (96, 96)).pan)
    tuned, record = fitted(small, network)
    assert tuned is network
    assert not record.is_adapted
    assert math.isnan(record.error_before)
    assert "too small" in record.reason


def test_invalid_pixels_teach_nothing(
    write_pair: Callable[..., Any], tmp_path: Path, network: Sharpener, ground: Callable[..., np.ndarray]
) -> None:
    values = ground(4, SHAPE, 3)
    states = []
    for index, fill in enumerate((0, 9000)):
        ms = values.reshape(4, SHAPE[0] // 4, 4, SHAPE[1] // 4, 4).mean((2, 4)).round()
        pan = values.mean(0).round()
        pan[:60], ms[:, :15] = fill, fill
        made = write_pair(tmp_path / str(index), SHAPE, ms=ms, pan=pan, nodata=fill)
        states.append(state_of(fitted(open_scene(made.pan), network)[0]))
    assert same(*states)


@pytest.mark.parametrize("change", [{"steps": 0}, {"rate": 0.0}, {"batch_size": 0}, {"max_seconds": -1.0}])
def test_config_that_cannot_run_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="positive"):
        replace(QUICK, **change)


# A job -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["yes", 0, -3, True, 2.5])
def test_other_words_than_auto_and_off_are_refused(how: Any) -> None:
    with pytest.raises(ArgumentError, match="'off', 'auto' or a positive number"):
        Tuning.of(how)


def test_weights_are_not_saved_without_fitting() -> None:
    with pytest.raises(ArgumentError, match="adapt"):
        Tuning.of("off", path="weights.safetensors")


@pytest.mark.parametrize(
    ("how", "seconds", "text"),
    [("off", 5, "without it; adapt, too"), ("auto", math.nan, "positive"), (4, 0, "positive")],
)
def test_time_is_for_fitting_and_ends(how: Any, seconds: float, text: str) -> None:
    with pytest.raises(ArgumentError, match=f"`adapt_time` is .*{text}"):
        Tuning.of(how, seconds)


def test_place_of_the_weights_is_looked_at_before_any_work(
    scene: Scene, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ship_geo.api.tune", None)
    for place in (tmp_path / "missing" / "w.safetensors", tmp_path):
        with pytest.raises(OutputError, match="must"):
            pansharpen_scene(scene, model=tiny_checkpoint, adapt=4, save_weights=place)


def test_scene_that_teaches_nothing_keeps_its_weights_and_says_so(
    write_pair: Callable[..., Any], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    small = open_scene(write_pair(tmp_path, (96, 96)).pan)
    path, job = tmp_path / "kept.safetensors", Job.of(small, tiny_checkpoint, "cpu", "float32")
    for _ in range(2):  # made, and found again
        with pytest.warns(UserWarning, match="used as they are, not fitted to the scene: the scene is too small"):
            same_job, record = tune(job, Tuning.of(4, path=path))
        assert same_job is job
        assert record is not None
        assert (record["is_adapted"], record["error_before"]) == (False, None)
    kept, start = load_checkpoint(path), load_checkpoint(tiny_checkpoint)
    assert kept.trained_on == start.trained_on
    assert same(kept.state, start.state)


def test_classical_methods_are_not_fitted(scene: Scene) -> None:
    with pytest.raises(ArgumentError, match="classical"):
        tune(Job.of(scene, "gsa", "cpu", "float32"), Tuning.of(4))


def test_weights_are_found_again_and_others_are_not_replaced_unasked(
    scene: Scene, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, job = tmp_path / "fitted.safetensors", Job.of(scene, tiny_checkpoint, "cpu", "float32")
    first, record = tune(job, Tuning.of(4, path=path))
    assert record is not None
    assert path.exists()
    assert first.token != job.token
    monkeypatch.setattr("ship_geo.tuning.fit_to_scene", None)  # what is there is taken
    again, known = tune(job, Tuning.of(4, path=path))
    assert known == record
    assert (again.spec.digest, again.token) == (first.spec.digest, first.token)
    with pytest.raises(OutputError, match="made of something else"):
        tune(job, Tuning.of(5, path=path))


def test_scene_is_sharpened_with_its_own_weights_which_serve_as_a_model(
    scene: Scene, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    weights, output = tmp_path / "own.safetensors", tmp_path / "fused.tif"
    options = {"device": "cpu", "precision": "float32", "progress": False}
    fused = pansharpen_scene(scene, model=tiny_checkpoint, output=output, adapt=12, save_weights=weights, **options)
    with fused:
        told = json.loads(fused.attrs["ship_geo_record"])["adaptation"]
        assert told["steps"] == 12
        assert told["error_after"] <= told["error_before"]
        values = fused.to_numpy()
    plain = pansharpen_scene(scene, model=tiny_checkpoint, **options).to_numpy()
    reused = pansharpen_scene(scene, model=weights, **options).to_numpy()
    lazy = pansharpen_scene(scene, model=tiny_checkpoint, adapt=12, **options).to_numpy()
    np.testing.assert_array_equal(values, reused)
    np.testing.assert_array_equal(values, lazy)
    assert not np.array_equal(values, plain)
