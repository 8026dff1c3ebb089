"""Judging: the truth scores best, blur and other grids are told, holes do not count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray
import xarray as xr

from ship_geo.api import pansharpen_scene, quality
from ship_geo.assessment import assess_scene
from ship_geo.assessment import scene as assessment
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.scene import Scene, open_scene

Write = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(write_pair: Write, ground: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair, and the truth it was made from as a third file."""
    folder = tmp_path_factory.mktemp("assessment")
    write_pair(folder, (128, 128), seed=5, nodata=0)
    truth = ground(4, (128, 128), 5)
    write_pair(folder / "truth", (128, 128), ms=truth, pan=np.ones((128, 128)), ratio=1, nodata=0)
    return folder


@pytest.fixture(scope="module")
def scene(folder: Path) -> Scene:
    return open_scene(folder)


@pytest.fixture(scope="module")
def truth(folder: Path) -> Path:
    return folder / "truth" / "town_MS.tif"


def test_truth_is_perfect_against_itself(scene: Scene, truth: Path) -> None:
    values = assess_scene(truth, scene, truth)
    assert values["sam"] == pytest.approx(0, abs=1e-5)
    assert (values["ergas"], values["rmse"], values["psnr"]) == (0, 0, np.inf)
    assert values["q2n"] == pytest.approx(1)
    assert {"d_lambda", "d_s", "qnr", "d_lambda_k", "hqnr"} <= values.keys()


def test_sharpening_comes_nearer_to_the_truth_than_interpolation(scene: Scene, truth: Path) -> None:
    sharp, blurred = (
        assess_scene(pansharpen_scene(scene, model=model), scene, truth) for model in ("mtf-glp-fs", "exp")
    )
    assert sharp["ergas"] < blurred["ergas"]
    assert sharp["q2n"] > blurred["q2n"]
    assert sharp["psnr"] > blurred["psnr"]
    assert sharp["hqnr"] > blurred["hqnr"]


def test_without_a_reference_there_are_only_indices_that_need_none(scene: Scene) -> None:
    values = assess_scene(pansharpen_scene(scene, model="gsa"), scene)
    assert "ergas" not in values
    assert 0 < values["qnr"] < 1


def test_files_arrays_and_lazy_arrays_are_judged_alike(scene: Scene, truth: Path, tmp_path: Path) -> None:
    lazy = pansharpen_scene(scene, model="gsa")
    pansharpen_scene(scene, model="gsa", output=tmp_path / "fused.tif", progress=False).close()
    masked = rioxarray.open_rasterio(tmp_path / "fused.tif", masked=True)
    assert isinstance(masked, xr.DataArray)
    results = [assess_scene(image, scene, truth) for image in (tmp_path / "fused.tif", lazy, lazy.compute(), masked)]
    assert results[0] == results[1] == results[2] == results[3]
    by_verb = quality(tmp_path / "fused.tif", ms=scene.ms.paths[0], pan=scene.pan.paths[0], ref=truth)
    assert by_verb == results[0]


def test_holes_do_not_count(folder: Path, truth: Path, write_pair: Write, tmp_path: Path) -> None:
    whole = open_scene(folder)
    with rioxarray.open_rasterio(whole.pan.paths[0]) as pan, rioxarray.open_rasterio(whole.ms.paths[0]) as ms:
        pan_values, ms_values = pan.to_numpy()[0], ms.to_numpy()
    pan_values[:32, :32] = 0
    ms_values[:, :8, :8] = 0
    holed = open_scene(write_pair(tmp_path, ms=ms_values, pan=pan_values, nodata=0).pan)
    fused = pansharpen_scene(holed, model="gsa").compute()
    assert (fused[:, :32, :32] == 0).all()
    values = assess_scene(fused, holed, truth)
    spoilt = fused.copy()
    spoilt[:, :32, :32] = 60000
    spoilt = spoilt.where(spoilt != 60000)  # whatever stands there
    assert assess_scene(spoilt.rio.write_crs(fused.rio.crs), holed, truth)["ergas"] == values["ergas"]
    complete = assess_scene(pansharpen_scene(whole, model="gsa"), whole, truth)
    assert values["ergas"] == pytest.approx(complete["ergas"], rel=0.1)
    assert values["valid_fraction"] < complete["valid_fraction"]


def test_image_on_another_grid_is_refused(scene: Scene, truth: Path) -> None:
    fused = pansharpen_scene(scene, model="exp").compute()
    with pytest.raises(
        ArgumentError, match=r"the fused lies on the output grid .* got shape \(4, 128, 127\) instead of"
    ):
        assess_scene(fused[:, :, 1:], scene)
    with pytest.raises(ArgumentError, match=r"the fused lies .* got shape \(3, 128, 128\) instead of \(4, 128, 128\)"):
        assess_scene(fused[:3], scene)
    moved = fused.assign_coords(x=fused.x + 1).drop_vars("spatial_ref").rio.write_crs(fused.rio.crs)
    with pytest.raises(
        ArgumentError, match=r"the reference lies on the output grid .* got transform .*; pass the images"
    ):
        assess_scene(truth, scene, moved)


def test_image_too_large_for_memory_is_refused(scene: Scene, truth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assessment, "MAX_PIXELS", 1000)
    with pytest.raises(ArgumentError, match=r"images of at most 1000 pixels, got 128 x 128; crop all inputs"):
        assess_scene(truth, scene)


def test_missing_image_is_named(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=r"a raster file must exist, got .*fused.tif; check the path"):
        assess_scene(tmp_path / "fused.tif", scene)
