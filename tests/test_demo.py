from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer

from ship_geo.api import pansharpen_scene
from ship_geo.demo import DemoScene, make_scene, run_demo
from ship_geo.demo import delivery as delivery_module
from ship_geo.demo.acquire import acquire
from ship_geo.demo.canvas import STEP, Canvas, Frame, Raised, Texture
from ship_geo.demo.ground import draw_cars, draw_ground
from ship_geo.demo.materials import Material, band_response, band_table, pan_response
from ship_geo.demo.picture import save_picture
from ship_geo.demo.run import format_table
from ship_geo.errors import ArgumentError, OutputError
from ship_geo.scene import open_scene

SIZE = 256
SEED = 5
ORDER = "000000000000_01"
Arrays = dict[str, NDArray[np.float64]]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> DemoScene:
    return make_scene(tmp_path_factory.mktemp("demo"), size=SIZE, seed=SEED)


@pytest.fixture(scope="module")
def arrays(scene: DemoScene) -> Arrays:
    found = acquire(SIZE, scene.sensor, np.random.default_rng(SEED))
    return {name: values.astype(np.float64) for name, values in zip(("ms", "pan", "ref"), found, strict=True)}


def read(path: Path) -> NDArray[np.float64]:
    with rasterio.open(path) as source:
        return source.read().astype(np.float64)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Delivery -----------------------------------------------------------------------------------------------------------


def test_delivery_opens_as_a_nested_worldview_pair_without_a_warning(scene: DemoScene) -> None:
    for source in (scene.folder, scene.delivery, scene.ms, scene.pan):
        opened = open_scene(source)
        assert (opened.family, opened.name) == ("digitalglobe", f"{ORDER}_P001")
        assert opened.warnings == ()
    assert opened.sensor.name == "worldview-2"
    assert opened.sensor.bits == 11
    assert opened.ms.roles == ("blue", "green", "red", "nir")
    assert opened.pair.ratio == (4.0, 4.0)
    assert opened.pair.phase == (0.0, 0.0)
    assert opened.pair.output.shape == (SIZE, SIZE)
    assert opened.pair.output.resolution == (0.5, 0.5)
    assert opened.time == "2016-04-25T09:55:10.046Z"
    assert (opened.acquisition.sun_azimuth, opened.acquisition.sun_elevation) == (150.0, 58.2)


def test_tiles_hold_the_arrays_for_this_package_and_for_gdal(scene: DemoScene, arrays: Arrays) -> None:
    opened = open_scene(scene.delivery)
    for kind, index, layer in (("ms", scene.ms, opened.ms), ("pan", scene.pan, opened.pan)):
        assert len(layer.tiles) == 4
        with layer.open() as reader:
            values, valid = reader.read(0, *layer.grid.shape[:1], 0, *layer.grid.shape[1:])
        assert valid.all()
        assert np.array_equal(values, arrays[kind])
        assert np.array_equal(read(index), arrays[kind])  # by GDAL's own driver for these indices
        with rasterio.open(index) as source:
            assert source.driver == "TIL"
            assert source.transform == layer.grid.transform
            assert source.crs == layer.grid.crs
    assert np.array_equal(read(scene.reference), arrays["ref"])


def test_rpc_says_the_same_as_the_map(scene: DemoScene) -> None:
    opened = open_scene(scene.delivery)
    assert opened.rpc is not None
    rows, cols = np.mgrid[0 : SIZE + 1 : 32, 0 : SIZE + 1 : 32]
    to_degrees = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(500000 + 0.5 * cols, 4650000 - 0.5 * rows)
    row, col = opened.rpc.project(lon, lat, 100.0)
    assert np.abs(row - rows).max() < 1e-3
    assert np.abs(col - cols).max() < 1e-3


def test_calibration_leads_back_to_the_reflectance_that_was_drawn(scene: DemoScene, arrays: Arrays) -> None:
    toa = pansharpen_scene(scene.delivery, model="exp", radiometry="toa").to_numpy().mean((1, 2))
    assert toa == pytest.approx(arrays["ms"].mean((1, 2)) / 2700, abs=0.02)


def test_values_fit_eleven_bits_and_use_them(arrays: Arrays) -> None:
    for values in arrays.values():
        assert values.min() >= 1
        assert values.max() <= 2047
        assert values.std() > 60


def test_equal_seeds_give_equal_files_and_other_seeds_other_ground(scene: DemoScene, tmp_path: Path) -> None:
    same = make_scene(tmp_path / "same", size=SIZE, seed=SEED)
    other = make_scene(tmp_path / "other", size=SIZE, seed=6)
    assert contents(same.folder) == contents(scene.folder)
    for kind in ("pan", "ms", "reference"):
        assert not np.array_equal(read(getattr(other, kind)), read(getattr(scene, kind)))


def test_ms_is_the_reference_seen_from_farther_away(arrays: Arrays) -> None:
    ms, ref = arrays["ms"], arrays["ref"]
    boxes = ref.reshape(4, SIZE // 4, 4, SIZE // 4, 4).mean((2, 4))
    inner = np.s_[:, 4:-4, 4:-4]
    assert np.abs(ms[inner].mean((1, 2)) / ref.mean((1, 2)) - 1).max() < 0.03
    for band in range(4):
        assert np.corrcoef(ms[inner][band].ravel(), boxes[inner][band].ravel())[0, 1] > 0.97


def test_pan_is_no_mere_mix_of_the_bands(arrays: Arrays) -> None:
    pan, ref = arrays["pan"].ravel(), arrays["ref"].reshape(4, -1)
    terms = np.vstack([ref, np.ones_like(pan)]).T
    left = pan - terms @ np.linalg.lstsq(terms, pan, rcond=None)[0]
    assert 0.80 < 1 - left.var() / pan.var() < 0.995


def test_eight_bands_are_those_of_worldview_in_file_order(tmp_path: Path) -> None:
    made = make_scene(tmp_path, size=128, n_band=8)
    assert len(made.sensor.roles) == 8
    assert open_scene(made.delivery).ms.roles == made.sensor.roles
    assert 'bandId = "Multi"' in made.ms.with_suffix(".IMD").read_text()


# Files --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"size": 130}, "multiple of 4 and at least 128, got 130"),
        ({"size": 64}, "got 64"),
        ({"n_band": 3}, "4 or 8 bands, got 3"),
        ({"seed": -1}, "got -1"),
    ],
)
def test_impossible_scenes_are_refused_before_a_folder_is_made(
    tmp_path: Path, wrong: dict[str, int], text: str
) -> None:
    with pytest.raises(ArgumentError, match=text):
        make_scene(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()


def test_existing_files_stay_unless_overwriting_is_allowed(tmp_path: Path) -> None:
    made = make_scene(tmp_path, size=128)
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=r"replaces no file, got .*README\.TXT"):
        make_scene(tmp_path, size=132, seed=1)
    assert contents(tmp_path) == before
    own = made.ms.with_name("notes.txt")
    own.write_text("mine")
    make_scene(tmp_path, size=132, n_band=8, overwrite=True)
    assert own.read_text() == "mine"
    assert set(contents(tmp_path)) == {*before, own.relative_to(tmp_path).as_posix()}
    assert read(made.ms).shape == (8, 33, 33)
    assert read(made.reference).shape == (8, 132, 132)


@pytest.mark.parametrize("name", ["demo_reference.tif", "demo_fused.tif", "demo_fused.json", "demo.png"])
def test_files_of_another_origin_are_never_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match=f"only files that it made itself, got .*{name}"):
        run_demo(tmp_path, size=128, model="exp", overwrite=True)
    assert contents(tmp_path) == {name: b"mine"}


def test_folder_in_the_place_of_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "demo_reference.tif").mkdir()
    with pytest.raises(OutputError, match="made itself"):
        make_scene(tmp_path, size=128, overwrite=True)


@pytest.mark.parametrize("has_earlier", [False, True])
def test_a_scene_that_fails_leaves_the_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_earlier: bool
) -> None:
    if has_earlier:
        make_scene(tmp_path, size=128)
    before = contents(tmp_path)

    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(delivery_module, "readme_text", fail)  # the last file of the delivery
    with pytest.raises(OutputError, match="No space left"):
        make_scene(tmp_path, size=128, seed=1, overwrite=True)
    assert contents(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == 2 * has_earlier


def test_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="must be writable"):
        make_scene(tmp_path / "file" / "below", size=128)


# Ground -------------------------------------------------------------------------------------------------------------


def test_reflectances_are_physical_and_shadows_darker_and_bluer() -> None:
    blue, nir = band_table(band_response("blue")), band_table(band_response("nir"))
    for table in (blue, nir):
        assert table.min() > 0
        assert table.max() < 1
    assert np.all(blue[1] < blue[0])
    assert np.all(blue[1] / blue[0] > nir[1] / nir[0])


def test_vegetation_is_bright_in_nir_and_water_dark() -> None:
    red, nir = (band_table(band_response(role))[0, 0] for role in ("red", "nir"))
    for plant in (Material.GRASS, Material.CROP, Material.TREE):
        assert nir[plant] > 4 * red[plant]
    assert nir[Material.WATER] < 0.02


def test_responses_sum_to_one_and_pan_sees_what_no_band_sees() -> None:
    bands = [band_response(role) for role in ("coastal", "blue", "green", "yellow", "red", "rededge", "nir", "nir2")]
    assert pan_response().sum() == pytest.approx(1)
    assert all(response.sum() == 1 for response in bands)
    assert pan_response()[np.sum(bands, axis=0) == 0].sum() > 0.05
    with pytest.raises(ArgumentError, match="got 'swir1'"):
        band_response("swir1")


def test_shadow_falls_away_from_the_sun_and_not_on_the_roof() -> None:
    canvas = Canvas(30.0)
    roof = Frame(10, 14, 0).rectangle(0, 0, 8, 8)
    canvas.raised.append(Raised(roof, 8.0, ((roof, Material.TILE, 1.0),)))
    bare = Canvas(30.0)
    flat = Texture(np.zeros((canvas.n, canvas.n), np.float32), np.zeros((canvas.n, canvas.n), np.float32))
    canvas.raise_all()
    after, before = (item.brightness(band_response("green"), flat) for item in (canvas, bare))

    def at(values: NDArray[np.float32], x: float, y: float) -> float:
        return float(values[int(y / STEP), int(x / STEP)])

    assert at(after, 12, 12) < 0.5 * at(before, 12, 12)  # north of the house
    assert at(after, 14, 24) == at(before, 14, 24)  # south of it
    assert at(after, 14, 18) == pytest.approx(float(band_table(band_response("green"))[0, 0, Material.TILE]))


def test_only_cars_move_between_the_exposures() -> None:
    ground, cars = draw_ground(128.0, np.random.default_rng(2))
    texture = Texture.random(ground.n, np.random.default_rng(3))
    first, second = (draw_cars(ground, cars, time).brightness(pan_response(), texture) for time in (0.0, 0.2))
    assert 0 < np.mean(first != second) < 0.02
    assert np.array_equal(first, draw_cars(ground, cars, 0.0).brightness(pan_response(), texture))


# Picture and run ----------------------------------------------------------------------------------------------------


def test_picture_shows_three_panels_in_their_colours(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1000, 64).reshape(8, 8)
    ms = np.stack([ramp * 0, ramp * 0, ramp])  # blue, green, red: a red ramp
    pan, fused = np.kron(ramp, np.ones((1, 4, 4)))[:1], np.kron(ms, np.ones((1, 4, 4)))
    save_picture(tmp_path / "p.png", ms, pan.reshape(1, 32, 32), fused, roles=("blue", "green", "red"))
    with Image.open(tmp_path / "p.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    gap = (width - 3 * 32) // 2
    bottom = [pixels[height - 1, column] for column in (31, 63 + gap, width - 1)]
    assert bottom[0].tolist() == [255, 0, 0]
    assert bottom[2].tolist() == [255, 0, 0]
    assert bottom[1][0] == bottom[1][1] == bottom[1][2] == 255


def test_picture_in_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    values = np.ones((4, 8, 8))
    with pytest.raises(OutputError, match="picture must be writable"):
        save_picture(tmp_path / "no" / "p.png", values, values[:1], values, roles=("a", "b", "c", "d"))


def test_demo_writes_its_files_and_a_table_that_json_can_hold(tmp_path: Path) -> None:
    report = run_demo(tmp_path, size=128, model="gsa")
    files = {
        "delivery": ORDER,
        "reference": "demo_reference.tif",
        "fused": "demo_fused.tif",
        "stac": "demo_fused.json",
        "picture": "demo.png",
    }
    assert report["files"] == {kind: str(tmp_path / name) for kind, name in files.items()}
    assert {path.name for path in tmp_path.iterdir()} == set(files.values())
    table = report["quality"]
    assert list(table) == ["exp", "brovey", "mtf-glp-fs", report["model"]]
    for method in ("mtf-glp-fs", "gsa"):  # sharpening is better than interpolating
        assert table[method]["ergas"] < table["exp"]["ergas"]
        assert table[method]["psnr"] > table["exp"]["psnr"]
    assert json.loads(json.dumps(report)) == report
    lines = format_table(table).splitlines()
    assert lines[0].split() == ["method", "SAM", "ERGAS", "Q2n", "PSNR", "D_lambda", "D_s", "QNR", "HQNR"]
    assert len({len(line) for line in lines}) == 1


def test_stac_item_of_the_demo_leads_to_the_tiles_of_its_delivery(tmp_path: Path) -> None:
    files = run_demo(tmp_path, size=128, model="exp")["files"]
    item = json.loads(Path(files["stac"]).read_text())
    sources = [tmp_path / link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert sorted(sources) == sorted(Path(files["delivery"]).rglob("*.TIF"))
    assert item["properties"]["datetime"].startswith("2016-04-25T09:55:10.046")


def test_demo_replaces_the_files_of_an_earlier_one_when_asked(tmp_path: Path) -> None:
    first = run_demo(tmp_path, size=128, model="exp")["files"]
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="replaces no file"):
        run_demo(tmp_path, size=128, model="exp")
    assert contents(tmp_path) == before
    assert run_demo(tmp_path, size=128, seed=1, model="exp", overwrite=True)["files"] == first
    after = contents(tmp_path)
    assert after.keys() == before.keys()
    changed = [name for name in after if after[name] != before[name]]
    assert {Path(name).suffix for name in changed} >= {".tif", ".TIF", ".png", ".json"}


def test_demo_does_not_replace_an_earlier_result(tmp_path: Path) -> None:
    (tmp_path / "demo.png").touch()
    with pytest.raises(OutputError, match=r"demo\.png"):
        run_demo(tmp_path, size=128, model="exp")
    assert [path.name for path in tmp_path.iterdir()] == ["demo.png"]
