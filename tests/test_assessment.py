"""Judging: the truth scores best, whole equals parts, other grids are told, holes do not count, and every way out."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from ship_geo import metrics
from ship_geo.api import assess, pansharpen_scene, quality
from ship_geo.assessment import Assessment, Options, assess_scene, sources
from ship_geo.assessment.tiles import TileGrid
from ship_geo.errors import ArgumentError, OutputError, ProductError
from ship_geo.metrics import INDICES
from ship_geo.scene import Scene, open_scene

Write = Callable[..., Any]

REFERENCE = {name for name, index in INDICES.items() if index.kind == "reference"}


@pytest.fixture(scope="module")
def folder(write_pair: Write, ground: Write, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair, and the truth it was made from as a third file."""
    folder = tmp_path_factory.mktemp("assessment")
    write_pair(folder, (288, 320), seed=5, nodata=0)
    truth = ground(4, (288, 320), 5)
    write_pair(folder / "truth", (288, 320), ms=truth, pan=np.ones((288, 320)), ratio=1, nodata=0)
    return folder


@pytest.fixture(scope="module")
def scene(folder: Path) -> Scene:
    return open_scene(folder)


@pytest.fixture(scope="module")
def truth(folder: Path) -> Path:
    return folder / "truth" / "town_MS.tif"


@pytest.fixture(scope="module")
def images(folder: Path, truth: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fused (the truth with noise), reference, MS and PAN as arrays."""
    held = []
    for path in (truth, folder / "town_MS.tif", folder / "town_PAN.tif"):
        with rioxarray.open_rasterio(path) as opened:
            held.append(opened.to_numpy().astype(np.float64))
    ref, ms, pan = held
    noise = np.random.default_rng(0).normal(0, 25, ref.shape)
    return np.clip(np.round(ref + noise), 1, 2047), ref, ms, pan


def as_raster(values: np.ndarray, step: float) -> xr.DataArray:
    """An array on the map, its corner at (0, 0)."""
    n_row, n_col = values.shape[1:]
    array = xr.DataArray(
        values,
        dims=("band", "y", "x"),
        coords={"y": -(np.arange(n_row) + 0.5) * step, "x": (np.arange(n_col) + 0.5) * step},
    )
    return array.rio.write_crs("EPSG:32633")


# Totals ---------------------------------------------------------------------------------------------------------------


def test_truth_is_perfect_against_itself(scene: Scene, truth: Path) -> None:
    values = assess_scene(truth, scene, truth).totals
    assert values["sam"] == pytest.approx(0, abs=1e-5)
    assert (values["ergas"], values["rmse"], values["psnr"]) == (0, 0, np.inf)
    assert [values[name] for name in ("q2n", "q", "cc", "ssim", "scc_sobel", "scc_laplacian")] == pytest.approx([1] * 6)
    assert set(INDICES) | {"valid_fraction"} == values.keys()


def test_totals_are_those_of_the_whole_images(scene: Scene, images: tuple[np.ndarray, ...]) -> None:
    fused, ref, ms, pan = images
    valid = np.ones(fused.shape[1:], bool)
    valid[30:41, 200:230] = False
    valid[250:, :9] = False
    gaps = np.where(valid, fused, np.nan)
    known = scene.sensor
    totals = assess_scene(_like(scene, gaps), scene, _like(scene, ref), Options(tile=96, read=192)).totals
    ratio, phase, gnyq = (4.0, 4.0), (0.0, 0.0), known.gnyq_ms
    expected = {
        **metrics.full_reference(fused, ref, ratio=4, peak=2.0**known.bits - 1, valid=valid),
        **metrics.no_reference(fused, ms, pan, ratio=ratio, phase=phase, gnyq_ms=gnyq, valid=valid),
        **metrics.consistency(fused, ms, ratio=ratio, phase=phase, gnyq_ms=gnyq, valid=valid),
        "d_rho": metrics.d_rho(fused, pan, valid, ratio=4),
    }
    assert totals == pytest.approx(expected, rel=1e-6, abs=1e-9)


def _like(scene: Scene, values: np.ndarray) -> xr.DataArray:
    """An array on the output grid of a scene."""
    with rioxarray.open_rasterio(scene.pan.paths[0]) as pan:
        coords = {"y": pan.y.to_numpy(), "x": pan.x.to_numpy()}
        return xr.DataArray(values, dims=("band", "y", "x"), coords=coords).rio.write_crs(pan.rio.crs)


@pytest.mark.filterwarnings("ignore:.* needs at least one of its:UserWarning")
@settings(max_examples=3, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    tile=st.sampled_from([32, 64, 96, 160]),
    read=st.sampled_from([32, 100, 200, 1024]),
    chunk=st.integers(40, 330),
    hole=st.tuples(st.integers(0, 180), st.integers(0, 200), st.integers(1, 60), st.integers(1, 60)),
    ratio=st.sampled_from([2.0, 4.0]),
)
@example(tile=32, read=32, chunk=77, hole=(0, 0, 40, 40), ratio=2.0)
def test_any_tiles_blocks_and_chunks_give_the_same_totals(
    tile: int, read: int, chunk: int, hole: tuple[int, int, int, int], ratio: float
) -> None:
    rng = np.random.default_rng(3)
    row, col, n_row, n_col = hole
    ref = rng.integers(50, 1500, (3, 25, 27)).repeat(8, 1).repeat(8, 2) + rng.integers(0, 200, (3, 200, 216))
    fused = np.round(ref + rng.normal(0, 30, ref.shape)).astype(np.float32)
    fused[:, row : row + n_row, col : col + n_col] = np.nan
    step = int(ratio)
    ms = ref.reshape(3, 200 // step, step, 216 // step, step).mean((2, 4)).astype(np.float32)
    pan = ref.mean(0, keepdims=True).astype(np.float32)
    ms[:, 5, 7] = np.nan
    pair = {"ms": as_raster(ms, ratio), "pan": as_raster(pan, 1.0)}
    chunked = as_raster(fused, 1.0).copy(data=da.from_array(fused, chunks=(3, chunk, chunk)))
    whole = _totals(as_raster(fused, 1.0), as_raster(ref, 1.0), pair, Options(tile=1024, read=1024), held=True)
    parts = _totals(chunked, as_raster(ref, 1.0), pair, Options(tile=tile, read=read), held=False)
    assert parts == pytest.approx(whole, rel=1e-6, abs=1e-9, nan_ok=True)


def _totals(fused: xr.DataArray, ref: xr.DataArray, pair: Any, options: Options, *, held: bool) -> dict[str, float]:
    from ship_geo.array_pair import open_pair

    with pytest.MonkeyPatch.context() as patch:
        if not held:
            patch.setattr(sources, "HELD_BYTES", 0)
        return assess_scene(fused, open_pair(**pair, bands=("blue", "green", "red")), ref, options).totals


def test_border_is_cut_before_anything_is_counted(scene: Scene, images: tuple[np.ndarray, ...]) -> None:
    fused, ref, *_ = images
    totals = assess_scene(_like(scene, fused), scene, _like(scene, ref), Options(border=(20, 21))).totals
    peak = 2.0**scene.sensor.bits - 1
    expected = metrics.full_reference(fused, ref, ratio=4, peak=peak, border=(20, 21))
    assert {name: totals[name] for name in REFERENCE} == pytest.approx({name: expected[name] for name in REFERENCE})


def test_sharpening_comes_nearer_to_the_truth_than_interpolation(scene: Scene, truth: Path) -> None:
    judged = assess_scene(pansharpen_scene(scene, model="mtf-glp-fs"), scene, truth, Options(baselines=("exp",)))
    sharp, blurred = judged.comparison["fused"], judged.comparison["exp"]
    assert sharp["ergas"] < blurred["ergas"]
    assert sharp["q2n"] > blurred["q2n"]
    assert sharp["psnr"] > blurred["psnr"]
    assert sharp["hqnr"] > blurred["hqnr"]
    assert sharp["d_rho"] < blurred["d_rho"]


def test_baselines_are_what_sharpening_writes(scene: Scene, truth: Path) -> None:
    names = ("exp", "gsa", "mtf-glp-fs")
    judged = assess_scene(truth, scene, truth, Options(baselines=names, read=160, tile=160)).comparison
    for name in names:
        written = assess_scene(pansharpen_scene(scene, model=name), scene, truth).totals
        assert judged[name] == pytest.approx(written, rel=1e-4, abs=1e-5)


def test_files_arrays_and_lazy_arrays_are_judged_alike(scene: Scene, truth: Path, tmp_path: Path) -> None:
    lazy = pansharpen_scene(scene, model="gsa")
    pansharpen_scene(scene, model="gsa", output=tmp_path / "fused.tif", progress=False).close()
    masked = rioxarray.open_rasterio(tmp_path / "fused.tif", masked=True)
    assert isinstance(masked, xr.DataArray)
    images = (tmp_path / "fused.tif", lazy, masked, lazy.to_dataset("band"))
    results = [assess_scene(image, scene, truth).totals for image in images]
    assert results[0] == results[1] == results[2] == results[3]
    assert quality(tmp_path / "fused.tif", ms=scene.ms.paths[0], pan=scene.pan.paths[0], ref=truth) == results[0]


def test_holes_do_not_count(folder: Path, truth: Path, write_pair: Write, tmp_path: Path) -> None:
    whole = open_scene(folder)
    with rioxarray.open_rasterio(whole.pan.paths[0]) as pan, rioxarray.open_rasterio(whole.ms.paths[0]) as ms:
        pan_values, ms_values = pan.to_numpy()[0], ms.to_numpy()
    pan_values[:32, :32] = 0
    ms_values[:, :8, :8] = 0
    holed = open_scene(write_pair(tmp_path, ms=ms_values, pan=pan_values, nodata=0).pan)
    fused = pansharpen_scene(holed, model="gsa").compute()
    assert (fused[:, :32, :32] == 0).all()
    judged = assess_scene(fused, holed, truth)
    values = judged.totals
    spoilt = fused.copy()
    spoilt[:, :32, :32] = 60000
    spoilt = spoilt.where(spoilt != 60000)  # whatever stands there
    again = assess_scene(spoilt.rio.write_crs(fused.rio.crs), holed, truth).totals
    assert again == pytest.approx(values, rel=1e-12)
    assert values["valid_fraction"] == pytest.approx(1 - 32 * 32 / (288 * 320))
    assert judged.dataset["valid_fraction"][0, 0] == pytest.approx(1 - 32 * 32 / 128**2)


def test_scene_without_a_valid_pixel_is_nan_and_warned_of(scene: Scene, tmp_path: Path) -> None:
    blank = _like(scene, np.full((4, *scene.pair.output.shape), np.nan))
    with pytest.warns(UserWarning, match="got none"):
        judged = assess_scene(blank, scene)
    totals = judged.totals
    assert totals.pop("valid_fraction") == 0
    assert all(math.isnan(value) for value in totals.values())
    assert judged.worst_tiles() == []
    assert judged.to_html(tmp_path / "page.html").exists()


# What comes out -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(scene: Scene, truth: Path, images: tuple[np.ndarray, ...]) -> Assessment:
    fused = images[0].copy()
    fused[:, 128:256, 256:] = fused[:, 128:256, 256:].mean()
    return assess(_like(scene, fused), scene, ref=truth, baselines=("exp",))


def test_dataset_lies_on_the_map(judged: Assessment, scene: Scene) -> None:
    dataset = judged.dataset
    assert dataset["ergas"].dims == ("product", "y", "x")
    assert dataset["ergas"].shape == (2, 3, 3)
    assert dataset.rio.crs.to_epsg() == 32633
    left, top = scene.pair.output.transform @ (0, 0)
    assert (dataset.x[0], dataset.y[0]) == (left + 32, top - 32)  # tiles of 128 pixels of 0.5 m
    assert dataset.rio.transform().a == 64
    assert dataset["histogram"].sum(("band", "bin")).values.tolist() == [4 * 288 * 320] * 3
    assert dataset.image.values.tolist() == ["fused", "exp", "ms"]
    assert dataset["rmse_band"].sizes == {"product": 2, "band": 4}
    assert np.sqrt((dataset["rmse_band"][0] ** 2).mean()) == pytest.approx(judged.totals["rmse"])


def test_worst_tile_is_the_one_that_was_spoilt(judged: Assessment) -> None:
    for index in ("q2n", "ergas", "d_rho"):
        worst = judged.worst_tiles(index, 1)[0]
        assert (worst["row"], worst["col"], worst["box"]) == (1, 2, (128, 256, 256, 320))
    with pytest.raises(ArgumentError, match=r"an index of tiles is one of sam, .*, got 'beauty'; choose"):
        judged.worst_tiles("beauty")


def test_json_holds_all_numbers_and_what_they_depend_on(judged: Assessment, tmp_path: Path) -> None:
    text = judged.to_json(tmp_path / "judged.json")
    assert (tmp_path / "judged.json").read_text() == text
    told = json.loads(text)
    assert told["methods"] == ["fused", "exp"]
    for method, totals in judged.comparison.items():
        assert told["totals"][method] == pytest.approx(totals, rel=1e-6)
    assert told["tiles"]["values"]["exp"]["sam"][2][1] == pytest.approx(float(judged.dataset["sam"][1, 2, 1]), rel=1e-6)
    known = told["conventions"]
    assert (known["block"], known["tile"], known["border"], known["phase"]) == (32, 128, [0, 0], [0, 0])
    assert known["peak"] == 2.0 ** told["scene"]["bits"] - 1
    assert "radius 20" in known["mtf"]
    assert [path.name for path in tmp_path.iterdir()] == ["judged.json"]
    (tmp_path / "judged.json").write_text("mine")
    with pytest.raises(OutputError, match="must not exist"):
        judged.to_json(tmp_path / "judged.json")
    assert (tmp_path / "judged.json").read_text() == "mine"
    assert judged.to_json(tmp_path / "judged.json", overwrite=True) == text


def test_overview_is_the_mean_and_parts_are_the_pixels(judged: Assessment, images: tuple[np.ndarray, ...]) -> None:
    assert judged.pixels is not None
    view = judged.pixels.overview(100)
    assert view.fused.shape == (4, 72, 80)
    pan = images[3][0].reshape(72, 4, 80, 4).mean((1, 3))
    np.testing.assert_allclose(view.pan, pan, rtol=1e-6)
    part = judged.pixels.read(-5, 20, 300, 400)
    assert part.box == (0, 20, 300, 320)
    np.testing.assert_array_equal(part.fused, images[0][:, :20, 300:])
    with pytest.raises(ArgumentError, match="a part lies on the output grid of 288 x 320"):
        judged.pixels.read(300, 400, 0, 10)


def test_plot_draws_a_map_for_every_image(judged: Assessment) -> None:
    figure = judged.plot("hqnr")
    assert [axes.get_title().split(":")[0] for axes in figure.axes[:2]] == ["fused", "exp"]
    drawn = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(drawn, judged.dataset["hqnr"][0])


def test_plot_without_matplotlib_says_what_to_install(judged: Assessment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ArgumentError, match=r"ship-geo\[plot\]"):
        judged.plot()


# Bad input ------------------------------------------------------------------------------------------------------------


def test_image_on_another_grid_is_refused(scene: Scene, truth: Path) -> None:
    fused = pansharpen_scene(scene, model="exp").compute()
    for cut, shape in ((fused[:, :, 1:], r"\(4, 288, 319\)"), (fused[:3], r"\(3, 288, 320\)")):
        with pytest.raises(ArgumentError, match=rf"fused must lie on the output grid .* got {shape} .* instead of"):
            assess_scene(cut, scene)
    moved = fused.assign_coords(x=fused.x + 1).drop_vars("spatial_ref").rio.write_crs(fused.rio.crs)
    with pytest.raises(ArgumentError, match=r"ref must lie on the output grid .*; pass the images that belong"):
        assess_scene(truth, scene, moved)
    elsewhere = fused.drop_vars("spatial_ref").rio.write_crs("EPSG:32632")
    with pytest.raises(ArgumentError, match=r"in EPSG:32632 instead of .* in EPSG:32633"):
        assess_scene(elsewhere, scene)


def test_image_that_says_it_is_something_else_is_refused(scene: Scene, truth: Path, tmp_path: Path) -> None:
    order = ["nir", "red", "green", "blue"]
    with rasterio.open(truth) as source:
        profile, values, tags = source.profile, source.read(), source.tags()
    for name, told in (("order.tif", {}), ("toa.tif", {"RADIOMETRY": "toa"})):
        with rasterio.open(tmp_path / name, "w", **profile) as target:
            target.write(values)
            target.update_tags(**tags, **told)
            target.descriptions = order if name == "order.tif" else scene.ms.roles
    array = pansharpen_scene(scene, model="exp").compute()
    for turned in (tmp_path / "order.tif", array.isel(band=[3, 2, 1, 0])):
        with pytest.raises(ArgumentError, match="fused has the bands in the order of MS, got nir, red, green, blue"):
            assess_scene(turned, scene)
        with pytest.raises(ArgumentError, match="ref has the bands"):
            assess_scene(truth, scene, turned)
    for physical in (tmp_path / "toa.tif", array.assign_attrs(radiometry="toa")):
        with pytest.raises(ArgumentError, match="fused is compared with DN, got values of 'toa'"):
            assess_scene(physical, scene)


def test_images_are_paths_or_arrays_of_xarray(scene: Scene, truth: Path) -> None:
    for images, name in (((np.zeros((4, 288, 320)), None), "fused"), ((truth, 3), "ref")):
        with pytest.raises(ArgumentError, match=f"`{name}` is a path or an array of xarray"):
            assess(images[0], scene, ref=images[1])


def test_missing_image_is_named(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=r"a raster file must exist, got .*fused.tif; check the path"):
        assess_scene(tmp_path / "fused.tif", scene)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tile": 100}, "`tile` is 'auto' or a multiple of 32 up to 1024 pixels, got 100"),
        ({"tile": 2048}, "got 2048"),
        ({"border": -1}, "`border` is not negative"),
        ({"border": "a"}, "`border` is a number of pixels"),
        ({"border": (1,)}, "`border` is a number of pixels"),
        ({"border": 1.5}, "`border` is a number of pixels"),
        ({"border": 140}, "leaves at least 32 x 32 pixels, got 140 of 288 x 320"),
        ({"peak": 0}, "`peak` is positive, got 0"),
        ({"baselines": ("best",)}, "a classical method is one of"),
    ],
)
def test_options_that_cannot_work_are_refused(scene: Scene, truth: Path, options: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        assess_scene(truth, scene, None, Options(**options))


def test_scene_beside_other_arguments_is_refused(scene: Scene, truth: Path) -> None:
    with pytest.raises(ArgumentError, match="an opened scene is taken as it is, got sensor beside it"):
        assess(truth, scene, sensor="WorldView-2")


def test_indices_for_which_the_image_is_too_small_are_left_out(write_pair: Write, tmp_path: Path) -> None:
    scene = open_scene(write_pair(tmp_path, (128, 128)).pan)
    judged = assess_scene(pansharpen_scene(scene, model="exp"), scene)
    assert set(judged.indices) == {name for name in INDICES if name not in REFERENCE} - {"r_q2n", "r_q"}
    assert set(judged.conventions["left_out"]) == {"r_q2n", "r_q"}


def test_large_scenes_have_few_enough_tiles() -> None:
    assert TileGrid.of((16384, 16384)).shape == (64, 64)
    assert TileGrid.of((200, 128)).tile == 128
    assert TileGrid.of((100_000, 90_000)).tile == 1024
