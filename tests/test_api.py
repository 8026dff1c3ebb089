"""The public verbs on whole scenes: the file that comes out, its grid, names, tags and record; odd sizes and phases."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr

import ship_geo
from ship_geo.api import list_models, pansharpen_scene, plan_scene
from ship_geo.baselines.registry import METHODS
from ship_geo.errors import ArgumentError, OutputError
from ship_geo.nn.weights import ShipPlusPlus_Weights
from ship_geo.scene import open_scene
from ship_geo.writer.folder import StagingFolder

Write = Callable[..., Any]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def sharpen(source: Any, output: Path, model: Any = "mtf-glp-fs", **options: Any) -> xr.DataArray:
    with pansharpen_scene(source, model=model, output=output, progress=False, **options) as fused:
        return fused.load()


# The file -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(write_pair: Write, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """WorldView-2 by its name, with a wedge of nodata, larger than a tile of the output."""
    folder = tmp_path_factory.mktemp("api")
    plain = write_pair(folder / "plain", (520, 300))
    wedge = np.add.outer(np.arange(130), np.arange(75)) < 60
    return write_pair(
        folder,
        ms=np.where(wedge, 0, plain.ms_values),
        pan=np.where(np.kron(wedge, np.ones((4, 4))) > 0, 0, plain.pan_values[0]),
        nodata=0,
        stem="10MAY04_WV02_P001",
        roles=("Blue", "Green", "Red", "NIR"),
    )


@pytest.fixture(scope="module")
def output(pair: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("output") / "fused.tif"
    with rasterio.open(pair.ms, "r+") as ms:
        ms.update_tags(TIFFTAG_COPYRIGHT="nobody", ORDER="12 34")
    sharpen(pair.pan, path, chunks=(200, 150))
    return path


def test_file_has_the_grid_of_pan_and_the_names_of_ms(pair: Any, output: Path) -> None:
    with rasterio.open(output) as fused, rasterio.open(pair.pan) as pan, rasterio.open(pair.ms) as ms:
        assert (fused.shape, fused.transform, fused.crs) == (pan.shape, pan.transform, pan.crs)
        assert (fused.dtypes, fused.nodata) == (ms.dtypes, ms.nodata)
        assert fused.descriptions == ms.descriptions == ("Blue", "Green", "Red", "NIR")
        assert [colour.name for colour in fused.colorinterp[:3]] == ["blue", "green", "red"]


def test_file_is_a_cloud_optimised_geotiff_and_the_only_file(output: Path) -> None:
    with rasterio.open(output) as fused:
        assert fused.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert fused.profile["tiled"]
        assert fused.block_shapes == [(512, 512)] * 4
        assert fused.compression.name == "deflate"
        assert fused.overviews(1) == [2]
    assert names_in(output.parent) == ["fused.tif"]


def test_file_tells_where_it_comes_from(output: Path) -> None:
    with rasterio.open(output) as fused:
        tags = fused.tags()
    assert tags["SHIP_GEO_MODEL"] == tags["SHIP_GEO_MODEL_DIGEST"] == "mtf-glp-fs"
    assert tags["SENSOR"] == "WorldView-2"
    assert (tags["TIFFTAG_COPYRIGHT"], tags["ORDER"]) == ("nobody", "12 34")


def test_file_holds_what_the_lazy_array_holds(pair: Any, output: Path) -> None:
    lazy = pansharpen_scene(pair.pan, model="mtf-glp-fs", chunks=None).compute(scheduler="synchronous")
    with rasterio.open(output) as fused:
        np.testing.assert_array_equal(fused.read(), lazy)
        np.testing.assert_array_equal(fused.read_masks(1) > 0, (lazy != 0).all("band"))
    assert float(lazy.rio.nodata) == 0


def test_opened_result_names_its_bands_and_has_its_record(pair: Any, tmp_path: Path) -> None:
    with pansharpen_scene(pair.pan, model="exp", output=tmp_path / "fused.tif", progress=False) as fused:
        assert fused.chunks is not None
        assert fused.band.to_numpy().tolist() == ["blue", "green", "red", "nir"]
        assert (fused.dtype, fused.rio.nodata) == (np.uint16, 0)
        record = json.loads(fused.attrs["ship_geo_record"])
        known = {"n_pixel": 520 * 300, "n_clipped": 0, "n_moved": 0, "n_invalid": int((fused == 0).all("band").sum())}
        assert known.items() <= record.items()
        assert record["n_byte"] == (tmp_path / "fused.tif").stat().st_size
        assert 0 < record["valid_fraction"] < 1
        assert record["seconds"] > 0


def test_scene_with_a_mask_and_no_nodata_gets_a_mask(write_pair: Write, tmp_path: Path) -> None:
    pair = write_pair(tmp_path, dtype="float32")
    with rasterio.open(pair.ms, "r+") as ms:
        values = ms.read()
        values[1, 3:5, 7] = np.nan
        ms.write(values)
    sharpen(pair.pan, tmp_path / "fused.tif")
    with rasterio.open(tmp_path / "fused.tif") as fused:
        mask = fused.dataset_mask() > 0
        assert fused.nodata is None
    expected = np.ones((96, 96), bool)
    expected[12:20, 28:32] = False
    np.testing.assert_array_equal(mask, expected)


def test_existing_file_is_replaced_only_when_allowed(pair: Any, tmp_path: Path) -> None:
    output = tmp_path / "fused.tif"
    output.write_bytes(b"kept")
    with pytest.raises(OutputError, match=r"the output must not exist, got .*fused.tif; choose .* or pass overwrite"):
        sharpen(pair.pan, output, "exp")
    assert output.read_bytes() == b"kept"
    sharpen(pair.pan, output, "exp", overwrite=True)
    assert names_in(tmp_path) == ["fused.tif"]
    with rasterio.open(output) as fused:
        assert fused.count == 4


SLOW_RUN = """
import os, sys, time
import ship_geo.runner as runner
sharpen, n = runner.sharpen, 0
def slow(*arguments):
    global n
    n += 1
    if n > 3:
        os.write(1, b"half way\\n")  # in one piece: blocks are made by several threads
        time.sleep(60)
    return sharpen(*arguments)
runner.sharpen = slow
from ship_geo import pansharpen_scene
pansharpen_scene(sys.argv[1], model="exp", output=sys.argv[2], chunks=64, progress=False)
"""


def test_killed_run_leaves_no_output(pair: Any, tmp_path: Path) -> None:
    output = tmp_path / "fused.tif"
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_RUN, str(pair.pan), str(output)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half way\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert names_in(tmp_path) == [".fused.tif.ship-geo"]  # hidden, and never taken for the output
    with sharpen(pair.pan, output, "exp", chunks=64) as made:  # goes on where it stopped
        record = json.loads(made.attrs["ship_geo_record"])
    assert 1 <= record["n_resumed"] < record["n_block"]
    assert names_in(tmp_path) == ["fused.tif"]
    sharpen(pair.pan, tmp_path / "whole.tif", "exp", chunks=64).close()
    with rasterio.open(output) as resumed, rasterio.open(tmp_path / "whole.tif") as whole:
        np.testing.assert_array_equal(resumed.read(), whole.read())


@pytest.mark.filterwarnings("ignore:the job starts anew. .*model:UserWarning")  # any other reason is an error
def test_interrupted_run_is_not_gone_on_with_by_another_model(pair: Any, tmp_path: Path) -> None:
    output = tmp_path / "fused.tif"
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_RUN, str(pair.pan), str(output)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with sharpen(pair.pan, output, "mtf-glp-fs", chunks=64) as made:
        assert json.loads(made.attrs["ship_geo_record"])["n_resumed"] == 0
    assert names_in(tmp_path) == ["fused.tif"]


SLOW_COMMAND = (
    SLOW_RUN.replace("from ship_geo import pansharpen_scene\n", "from ship_geo.cli import main\n")
    .replace(
        'pansharpen_scene(sys.argv[1], model="exp", output=sys.argv[2], chunks=64, progress=False)',
        "import ship_geo.budget\n"
        "ship_geo.budget._sizes = lambda *_: iter([(64, 64)])\n"
        "sys.exit(main(['pansharpen', sys.argv[1], '-o', sys.argv[2], '--model', 'exp', '-q']))",
    )
    .replace("time.sleep(60)", "time.sleep(5)")
)


@pytest.mark.slow
def test_terminated_command_leaves_what_the_next_one_goes_on_with(pair: Any, tmp_path: Path) -> None:
    output = tmp_path / "fused.tif"
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_COMMAND, str(pair.pan), str(output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half way\n"
        process.terminate()
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "terminated\n" in errors
    assert "blocks are finished and kept in" in errors.splitlines()[-1]
    assert names_in(tmp_path) == [".fused.tif.ship-geo"]  # the same command goes on with it


# Geometry -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["exp", "mtf-glp-fs"])
@pytest.mark.parametrize(
    ("ratio", "offset", "shape"),
    [
        (2.0, (-0.5, -0.5), (160, 140)),  # Landsat: pixels of MS and PAN share centres
        (2.0, (0.5, -0.5), (121, 160)),
        (1.995, (0.0, 0.0), (140, 161)),
        (4.00025, (0.0, 0.0), (160, 160)),
        (4.0, (-3.3, -9.1), (131, 149)),
    ],
)
def test_ramp_on_the_map_has_no_step(
    write_pair: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ratio: float,
    offset: tuple[float, float],
    shape: tuple[int, int],
    model: str,
) -> None:
    monkeypatch.setattr("ship_geo.fusers.CLASSICAL_WINDOW", 64)  # several windows
    n_ms = tuple(int((n - start) / ratio) + 1 for n, start in zip(shape, offset, strict=True))
    at = [start + ratio * (np.arange(n) + 0.5) for n, start in zip(n_ms, offset, strict=True)]
    ms = np.stack([500 + 3 * at[0][:, None] + 2 * at[1], 1500 - 2 * at[0][:, None] + 0.5 * at[1]])
    pan = 700 + 2.5 * (np.arange(shape[0]) + 0.5)[:, None] + (np.arange(shape[1]) + 0.5)
    pair = write_pair(tmp_path, ms=ms, pan=pan, ratio=ratio, offset=offset, dtype="float32", roles=("red", "nir"))
    scene = open_scene(pair.pan)
    fused = pansharpen_scene(scene, model=model).compute().to_numpy()
    row0, row1, col0, col1 = scene.pair.overlap
    rows, cols = np.arange(row0, row1)[:, None] + 0.5, np.arange(col0, col1) + 0.5
    expected = np.stack([500 + 3 * rows + 2 * cols, 1500 - 2 * rows + 0.5 * cols])
    # PAN's ramp is kept by its filter; where it ends, it cannot be. Floats of 32 bits have rounding of 1e-4 here.
    inner = (slice(None), slice(32, -32), slice(32, -32))
    np.testing.assert_allclose(fused[inner], expected[inner], atol=0.02)


@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (1, 37), (200, 4), (97, 101)])
def test_every_pixel_of_odd_sizes_comes_out(
    write_pair: Write, tmp_path: Path, tiny_checkpoint: Path, shape: tuple[int, int]
) -> None:
    pair = write_pair(tmp_path, shape)
    for model in ("mtf-glp-fs", "gsa", tiny_checkpoint):
        output = tmp_path / f"{Path(model).stem}.tif"
        fused = sharpen(pair.pan, output, model, chunks=31)
        assert fused.shape == (4, *shape)
        assert (fused > 0).all()
        whole = pansharpen_scene(pair.pan, model=model, chunks=None)
        np.testing.assert_array_equal(fused, whole)
    if pair.ms_values.shape == (4, 1, 1):
        flat = pansharpen_scene(pair.pan, model="exp").compute()
        np.testing.assert_array_equal(flat, np.broadcast_to(pair.ms_values, (4, *shape)))


def test_output_is_the_common_part(write_pair: Write, tmp_path: Path) -> None:
    plain = write_pair(tmp_path / "plain")
    pair = write_pair(tmp_path, ms=plain.ms_values[:, 5:20, 3:], pan=plain.pan_values[0], offset=(20, 12))
    part = sharpen(pair.pan, tmp_path / "fused.tif", "exp")
    assert part.shape == (4, 60, 84)
    with rasterio.open(tmp_path / "fused.tif") as fused, rasterio.open(pair.pan) as pan:
        assert fused.transform == pan.transform @ rasterio.Affine.translation(12, 20)
    whole = pansharpen_scene(plain.pan, model="exp").compute().to_numpy()[:, 20:80, 12:]
    np.testing.assert_allclose(part[:, 8:-8, 8:], whole[:, 8:-8, 8:], atol=1)  # sums begin elsewhere


@pytest.mark.parametrize("n_band", [1, 3, 6, 8])
def test_any_number_of_bands_goes_through_a_network_of_four(
    write_pair: Write, tmp_path: Path, tiny_checkpoint: Path, n_band: int
) -> None:
    pair = write_pair(tmp_path, (64, 64), n_band=n_band)
    fused = sharpen(pair.pan, tmp_path / "fused.tif", tiny_checkpoint)
    blurred = pansharpen_scene(pair.pan, model="exp").compute()
    assert fused.shape == (n_band, 64, 64)
    for band, low in zip(fused.astype(float), blurred.astype(float), strict=True):
        assert np.corrcoef(band.to_numpy().ravel(), low.to_numpy().ravel())[0, 1] > 0.6


# Source -------------------------------------------------------------------------------------------------------------


def test_folder_file_pair_and_scene_are_the_same_source(pair: Any) -> None:
    wanted = pansharpen_scene(pair.pan, model="exp").compute()
    for source, options in (
        (pair.pan.parent, {}),
        (pair.ms, {}),
        (str(pair.pan), {}),
        (None, {"ms": pair.ms, "pan": pair.pan}),
        (open_scene(pair.pan), {}),
    ):
        np.testing.assert_array_equal(pansharpen_scene(source, model="exp", **options), wanted)


def test_shipped_network_is_the_default(write_pair: Write, tmp_path: Path) -> None:
    if not ShipPlusPlus_Weights.DEFAULT.path.exists():
        pytest.skip("the weights are not built")
    fused = pansharpen_scene(write_pair(tmp_path, (40, 40)).pan)
    assert fused.attrs["model"] == ShipPlusPlus_Weights.DEFAULT.name
    assert fused.compute().shape == (4, 40, 40)


# Other verbs --------------------------------------------------------------------------------------------------------


def test_plan_says_what_would_be_done(pair: Any, tiny_checkpoint: Path) -> None:
    plan = plan_scene(pair.pan, model=tiny_checkpoint, device="cpu", precision="float32", chunks=100)
    assert plan["output_shape"] == [4, 520, 300]
    assert (plan["dtype"], plan["nodata"], plan["precision"]) == ("uint16", 0, "float32")
    assert (plan["window"], plan["overlap"], plan["windows"]) == (64, 16, 11 * 6)
    assert (plan["blocks"], plan["block_shape"]) == (18, [100, 100])
    assert plan["output_bytes"] == 520 * 300 * 4 * 2
    assert plan["sensor"] == "WorldView-2"
    assert json.loads(json.dumps(plan)) == plan


@pytest.mark.parametrize(
    "given",
    [{"max_memory": "abc"}, {"max_gpu_memory": 1}, {"to": "zarr"}, {"stac": True}, {"overwrite": True}, {"restart": 1}],
)
def test_what_has_a_meaning_for_a_file_only_is_refused_without_one(pair: Any, given: dict[str, Any]) -> None:
    ((name, value),) = given.items()
    with pytest.raises(ArgumentError, match=f"`{name}` is for a written file, got {name}={value!r} without `output=`"):
        pansharpen_scene(pair.pan, model="exp", **given)


def test_output_without_a_name_is_refused(pair: Any) -> None:
    with pytest.raises(ArgumentError, match="the output must be named, got an empty path"):
        pansharpen_scene(pair.pan, model="exp", output="")


def test_fitted_weights_replace_weights_only(pair: Any, tmp_path: Path) -> None:
    (tmp_path / "scene.imd").write_text('satId = "WV02";')
    with pytest.raises(ArgumentError, match="fitted weights replace weights only"):
        pansharpen_scene(pair.pan, adapt=1, save_weights=tmp_path / "scene.imd", overwrite=True)
    assert (tmp_path / "scene.imd").read_text() == 'satId = "WV02";'


@pytest.mark.parametrize("taken", ["pan", "output"])
def test_fitted_weights_replace_neither_an_input_nor_the_output(pair: Any, tmp_path: Path, taken: str) -> None:
    output, before = tmp_path / "fused.tif", pair.pan.read_bytes()
    path = pair.pan if taken == "pan" else output
    with pytest.raises(ArgumentError, match="for `save_weights`"):
        pansharpen_scene(pair.pan, adapt=1, output=output, save_weights=path, overwrite=True)
    assert pair.pan.read_bytes() == before
    assert not list(tmp_path.iterdir())


def test_plan_of_an_output_that_another_run_makes_is_refused_as_the_run_would_be(pair: Any, tmp_path: Path) -> None:
    folder = StagingFolder(tmp_path / "fused.tif")
    with pytest.raises(OutputError, match=f"one job at a time, got .* in use by process {os.getpid()} on"):
        plan_scene(pair.pan, model="exp", output=tmp_path / "fused.tif")
    folder.remove()
    plan_scene(pair.pan, model="exp", output=tmp_path / "fused.tif")
    assert not list(tmp_path.iterdir())


def test_models_are_listed_with_their_kind() -> None:
    models = {model["name"]: model for model in list_models()}
    assert set(METHODS) | set(ShipPlusPlus_Weights.__members__) - {"DEFAULT"} == set(models)
    assert {models[name]["kind"] for name in METHODS} == {"classical"}
    assert json.loads(json.dumps(list_models())) == list_models()


def test_public_names_are_these() -> None:
    assert {"pansharpen", "pansharpen_scene", "open_scene", "quality"} <= set(ship_geo.__all__)
    for name in ship_geo.__all__:
        assert getattr(ship_geo, name) is not None


def test_import_is_light() -> None:
    code = (
        "import sys, time; start = time.process_time(); import ship_geo; took = time.process_time() - start\n"
        "heavy = {'torch', 'torchgeo', 'lightning', 'matplotlib', 'xarray', 'dask'} & set(sys.modules)\n"
        "print(took, *heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    took, *heavy = done.stdout.split()
    assert heavy == []
    assert float(took) < 0.3
