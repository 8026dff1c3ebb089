from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import rasterio
from affine import Affine

from ship_geo.errors import ArgumentError, GridError, ProductError
from ship_geo.scene import Scene, open_scene
from ship_geo.sensors import Sensor


class WriteRaster(Protocol):
    def __call__(self, name: str, array: np.ndarray, *args: Any, **options: Any) -> Path: ...


class WritePair(Protocol):
    def __call__(
        self, ms: np.ndarray | None = None, pan: np.ndarray | None = None, **options: Any
    ) -> tuple[Path, Path]: ...


NAMES = ("blue", "green", "red", "nir")
PAN_GRID = Affine(0.5, 0, 500000, 0, -0.5, 4640000)
MS_GRID = Affine(2, 0, 500000, 0, -2, 4640000)


def noise(*shape: int, seed: int = 0, low: int = 1, dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(seed).integers(low, 250 if dtype == "uint8" else 2000, shape).astype(dtype)


@pytest.fixture
def write_pair(raster: WriteRaster) -> WritePair:
    """Write X_MS.tif and X_PAN.tif; keyword arguments go to `raster`, with `ms_` or `pan_` to one of the two."""

    def write(
        ms: np.ndarray | None = None, pan: np.ndarray | None = None, name: str = "city", **options: Any
    ) -> tuple[Path, Path]:
        ms = noise(4, 16, 20) if ms is None else ms
        pan = noise(1, 64, 80, seed=1) if pan is None else pan
        chosen: dict[str, dict[str, Any]] = {
            "ms": {"transform": MS_GRID, "descriptions": NAMES[: len(ms)]},
            "pan": {"transform": PAN_GRID},
        }
        for key, value in options.items():
            kind, _, option = key.rpartition("_") if key.startswith(("ms_", "pan_")) else ("", "", key)
            for each in (kind,) if kind else ("ms", "pan"):
                chosen[each][option] = value
        return raster(f"{name}_MS.tif", ms, **chosen["ms"]), raster(f"{name}_PAN.tif", pan, **chosen["pan"])

    return write


def test_every_way_to_name_a_pair_opens_the_same_scene(write_pair: WritePair, tmp_path: Path) -> None:
    ms, pan = write_pair()
    scenes = [
        open_scene(tmp_path),
        open_scene(str(ms)),
        open_scene(pan),
        open_scene(ms=ms),
        open_scene(pan=pan),
        open_scene(ms=ms, pan=pan),
        open_scene(ms=[ms], pan=pan),
    ]
    assert all(scene == scenes[0] for scene in scenes)
    assert (scenes[0].name, scenes[0].ms.roles, scenes[0].pan.roles) == ("city", NAMES, ("pan",))
    assert scenes[0].pair.ratio == (4, 4)


def test_single_band_files_become_one_ms(raster: WriteRaster) -> None:
    paths = [raster(f"{name}.tif", noise(1, 8, 8, seed=i), MS_GRID) for i, name in enumerate(("red", "nir", "blue"))]
    pan = raster("pan.tif", noise(1, 32, 32), PAN_GRID)
    scene = open_scene(ms=paths, pan=pan)
    assert scene.ms.roles == ("red", "nir", "blue")
    with scene.ms.open() as reader:
        values, _ = reader.read(0, 8, 0, 8)
    assert np.array_equal(values[1], noise(1, 8, 8, seed=1)[0])


def test_landsat_files_are_named_by_their_numbers(raster: WriteRaster) -> None:
    stem = "LC08_L1TP_195025_20200706_20200913_02_T1"
    for number in (2, 3, 4, 5, 6, 7):
        raster(f"{stem}_B{number}.TIF", noise(1, 10, 10, seed=number), Affine(30, 0, 385, 0, -30, 715))
    pan = raster(f"{stem}_B8.TIF", noise(1, 19, 19), Affine(15, 0, 392.5, 0, -15, 707.5))
    scene = open_scene(pan)
    assert scene.ms.roles == ("blue", "green", "red", "nir", "swir1", "swir2")
    assert (scene.sensor.name, scene.time, scene.name) == ("landsat-8", "2020-07-06", stem)
    assert scene.pair.phase == (-0.5, -0.5)
    assert scene.sensor.gnyq_ms[:4] == (0.55, 0.55, 0.55, 0.53)


def test_missing_source(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=r"source must exist, got .*nowhere; check the path"):
        open_scene(tmp_path / "nowhere")


def test_missing_file_of_a_pair(write_pair: WritePair, tmp_path: Path) -> None:
    ms, _ = write_pair()
    with pytest.raises(ProductError, match=r"must exist, got .*nowhere\.tif"):
        open_scene(ms=ms, pan=tmp_path / "nowhere.tif")


def test_no_partner(write_pair: WritePair) -> None:
    ms, pan = write_pair()
    pan.unlink()
    with pytest.raises(ProductError, match=r"no PAN partner lies beside it\); pass both files"):
        open_scene(ms)


@pytest.mark.parametrize("arguments", [{}, {"source": "a", "pan": "b"}, {"ms": []}])
def test_source_must_be_one(arguments: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=r"needs one source|is searched for one MS file"):
        open_scene(**arguments)


def test_several_ms_files_need_pan() -> None:
    with pytest.raises(ArgumentError, match="searched for one MS file, got 2; pass `pan`"):
        open_scene(ms=["a.tif", "b.tif"])


def test_remote_partner_is_not_searched(write_pair: WritePair, tmp_path: Path) -> None:
    import zipfile

    ms, pan = write_pair()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(ms, "ms.tif")
        archive.write(pan, "pan.tif")
    root = f"/vsizip/{tmp_path}/a.zip"
    assert open_scene(ms=f"{root}/ms.tif", pan=f"{root}/pan.tif").pair == open_scene(ms).pair
    with pytest.raises(ProductError, match="no partner is searched on remote file systems"):
        open_scene(f"{root}/ms.tif")


@pytest.mark.parametrize("kind", ["ms", "pan"])
def test_no_crs_on_one_of_the_two(write_pair: WritePair, kind: str) -> None:
    ms, _ = write_pair(**{f"{kind}_crs": None})
    with pytest.raises(
        GridError, match=f"both have a CRS or both have none, got no CRS for {kind.upper()} beside EPSG:32633"
    ):
        open_scene(ms)


def test_no_crs_on_both_is_noted(write_pair: WritePair) -> None:
    ms, _ = write_pair(crs=None)
    scene = open_scene(ms)
    assert scene.pair.ratio == (4, 4)
    assert "neither file has a CRS: their coordinates are used as they are" in scene.notes


def test_unreferenced_pair_with_multiple_sizes(write_pair: WritePair) -> None:
    ms, _ = write_pair(crs=None, transform=Affine.identity())
    scene = open_scene(ms)
    assert (scene.pair.ratio, scene.pair.phase, scene.pair.output.shape) == ((4, 4), (0, 0), (64, 80))
    assert any("taken to cover the same ground at ratio 4" in note for note in scene.notes)


def test_unreferenced_pair_with_other_sizes_is_refused(write_pair: WritePair) -> None:
    ms, _ = write_pair(pan=noise(1, 63, 80), crs=None, transform=Affine.identity())
    with pytest.raises(GridError, match=r"exact multiple .* got PAN \(63, 80\) and MS \(16, 20\); georeference both"):
        open_scene(ms)


def test_one_unreferenced_file_is_refused(write_pair: WritePair) -> None:
    ms, _ = write_pair(crs=None, ms_transform=Affine.identity())
    with pytest.raises(GridError, match="both be georeferenced or neither, got no georeference for MS"):
        open_scene(ms)


def test_no_overlap(write_pair: WritePair) -> None:
    ms, _ = write_pair(ms_transform=Affine(2, 0, 510000, 0, -2, 4640000))
    with pytest.raises(GridError, match=r"must overlap.*, got PAN \(500000.* and MS \(510000"):
        open_scene(ms)


def test_pan_with_three_bands(write_pair: WritePair) -> None:
    ms, pan = write_pair(pan=noise(3, 64, 80))
    with pytest.raises(ProductError, match=r"PAN must have one band, got 3 in .*city_PAN\.tif; pass the panchromatic"):
        open_scene(ms=ms, pan=pan)


def test_swapped_files(write_pair: WritePair) -> None:
    ms, pan = write_pair()
    right, turned = open_scene(ms=ms, pan=pan), open_scene(ms=pan, pan=ms)
    assert (turned.ms, turned.pan, turned.name) == (right.ms, right.pan, right.name)
    assert "MS and PAN were exchanged: PAN is the file with one band" in turned.warnings


def test_ms_finer_than_pan(write_pair: WritePair) -> None:
    ms, _ = write_pair(ms_transform=PAN_GRID, pan_transform=MS_GRID)
    with pytest.raises(GridError, match=r"PAN must be finer than MS, got ratio \(0.25, 0.25\); .*swapped"):
        open_scene(ms)


def test_unknown_sensor(write_pair: WritePair) -> None:
    ms, _ = write_pair()
    with pytest.raises(ArgumentError, match=r"sensor must be one of worldview-2, .*got 'hubble'"):
        open_scene(ms, sensor="hubble")


def test_sensor_whose_bands_do_not_fit(write_pair: WritePair) -> None:
    ms, _ = write_pair(ms_descriptions=("blue", "green", "red", "yellow"))
    with pytest.raises(ArgumentError, match="GeoEye-1 has the bands blue, green, red, nir, got yellow"):
        open_scene(ms, sensor="GE01")


def test_unnamed_bands_of_a_given_sensor_that_cannot_fit(write_pair: WritePair) -> None:
    ms, _ = write_pair(ms=noise(3, 16, 20), ms_descriptions=())
    with pytest.raises(
        ArgumentError, match=r"must be bands of GeoEye-1 .*, got band1, band2, band3; name them with `bands=`"
    ):
        open_scene(ms, sensor="GE01")


def test_single_pixel_pair_opens(write_pair: WritePair) -> None:
    ms, _ = write_pair(ms=noise(4, 1, 1), pan=noise(1, 1, 1))
    assert open_scene(ms).pair.output.shape == (1, 1)


@pytest.mark.parametrize("sensor", ["WV02", "worldview-3"])
def test_four_unnamed_bands_of_an_eight_band_camera(write_pair: WritePair, sensor: str | None) -> None:
    ms, _ = write_pair(ms_descriptions=("b1", "b2", "b3", "b4 nir"))
    scene = open_scene(ms, sensor=sensor)
    assert scene.ms.roles == ("blue", "green", "red", "nir")
    assert any("taken to follow the order" in note for note in scene.notes)


def test_eight_unnamed_bands_take_the_file_order(write_pair: WritePair) -> None:
    ms, _ = write_pair(ms=noise(8, 16, 20), ms_descriptions=())
    assert open_scene(ms, sensor="WV03").ms.roles == open_scene(ms, sensor="WV03").sensor.roles
    assert open_scene(ms, sensor="WV03").ms.roles[4] == "red"


def test_known_name_that_contradicts_the_file_order_forbids_a_guess(write_pair: WritePair) -> None:
    ms, _ = write_pair(ms_descriptions=("red", "", "", ""), name="WV02_city")
    scene = open_scene(ms)
    assert scene.ms.roles == ("red", "band2", "band3", "band4")
    assert scene.sensor.name == "generic"


def test_unknown_bands_are_numbered_never_coloured(write_pair: WritePair) -> None:
    ms, _ = write_pair(ms_descriptions=())
    scene = open_scene(ms)
    assert scene.ms.roles == ("band1", "band2", "band3", "band4")
    assert scene.sensor == Sensor.generic(4)
    assert any("role of MS band 1, 2, 3, 4 is not known" in note for note in scene.notes)


def test_colour_interpretation_names_bands(write_pair: WritePair) -> None:
    ms, _ = write_pair(ms=noise(3, 16, 20, dtype="uint8"), ms_descriptions=(), ms_photometric="RGB")
    assert open_scene(ms).ms.roles == ("red", "green", "blue")


def test_given_roles_win_and_the_contradiction_is_noted(write_pair: WritePair) -> None:
    ms, _ = write_pair()
    scene = open_scene(ms, bands=["Red", "green", "B", "NIR"])
    assert scene.ms.roles == ("red", "green", "blue", "nir")
    assert "band roles as given differ from the files: red (file: blue), blue (file: red)" in scene.notes


@pytest.mark.parametrize("bands", [["red"], ["red", "red", "blue", "nir"], "red,green"])
def test_given_roles_must_name_each_band_once(write_pair: WritePair, bands: list[str] | str) -> None:
    ms, _ = write_pair()
    with pytest.raises(ArgumentError, match="must name each of the 4 MS bands once, got"):
        open_scene(ms, bands=bands)


def test_permuted_files_permute_the_sensor(write_pair: WritePair) -> None:
    ms, _ = write_pair(ms_descriptions=("nir", "red", "green", "blue"))
    scene = open_scene(ms, sensor="QB02")
    assert scene.sensor.gnyq_ms == (0.22, 0.30, 0.32, 0.34)


@pytest.mark.parametrize("photometric", ["RGB", "MINISBLACK"])
def test_constant_alpha_band_is_no_measurement(write_pair: WritePair, photometric: str) -> None:
    ms = noise(4, 16, 20, dtype="uint8")
    ms[3] = 255
    path, _ = write_pair(ms=ms, ms_descriptions=("red", "green", "blue"), ms_photometric=photometric)
    scene = open_scene(path)
    assert scene.ms.roles == ("red", "green", "blue")
    assert "band 4 of city_MS.tif holds 0 or its maximum only: taken for an alpha band and left out" in scene.notes


def test_true_alpha_band_marks_invalid_pixels(write_pair: WritePair) -> None:
    ms = noise(4, 16, 20, dtype="uint8")
    ms[3] = 255
    ms[:, :5] = 0
    path, _ = write_pair(ms=ms, ms_descriptions=("red", "green", "blue"), ms_alpha="YES")
    scene = open_scene(path)
    assert (scene.ms.n_band, scene.ms.mask) == (3, True)
    with scene.ms.open() as reader:
        assert np.array_equal(reader.read(0, 16, 0, 20)[1][0], ms[3] > 0)


def test_band_that_is_only_called_alpha_is_kept(write_pair: WritePair) -> None:
    # GDAL takes the fourth band of bytes for an alpha band unless it is told otherwise.
    ms, _ = write_pair(ms=noise(4, 16, 20, dtype="uint8"))
    with rasterio.open(ms) as dataset:
        assert dataset.colorinterp[3].name == "alpha"
    scene = open_scene(ms)
    assert (scene.ms.roles, scene.ms.mask) == (NAMES, False)
    assert any("is called alpha but holds measurements" in note for note in scene.notes)


def test_constant_scene_keeps_all_bands(write_pair: WritePair) -> None:
    ms, _ = write_pair(ms=np.full((4, 16, 20), 255, np.uint8), ms_photometric="MINISBLACK", ms_alpha="NO")
    assert open_scene(ms).ms.n_band == 4


def test_untagged_wedge_of_zeros_is_nodata(write_pair: WritePair) -> None:
    ms, pan = noise(4, 16, 20), noise(1, 64, 80)
    ms[:, :, :4], pan[:, :, :16] = 0, 0
    ms[3, 8, 9] = 0
    path, _ = write_pair(ms=ms, pan=pan)
    scene = open_scene(path)
    assert (scene.ms.nodata, scene.pan.nodata) == (0, 0)
    assert "MS has no nodata tag and 20.0% of a sample is 0: nodata where all bands are 0" in scene.notes
    assert "PAN has no nodata tag and 20.0% of a sample is 0: nodata where it is 0" in scene.notes
    with scene.ms.open() as reader:
        valid = reader.read(0, 16, 0, 20)[1]
    assert valid[:, :, 4:].all()
    assert not valid[:, :, :4].any()


def test_wedge_of_a_large_raster_is_seen(write_pair: WritePair) -> None:
    pan = noise(1, 1600, 1600)
    pan[0, np.add.outer(np.arange(1600), np.arange(1600)) < 60] = 0  # 0.07 % of all, but a corner of the samples
    ms, _ = write_pair(ms=noise(1, 400, 400), pan=pan, ms_descriptions=("red",))
    assert open_scene(ms).pan.nodata == 0


def test_zeros_among_negative_values_are_values(write_pair: WritePair) -> None:
    ms, pan = noise(4, 16, 20).astype(np.int16) - 500, noise(1, 64, 80).astype(np.int16) - 500
    ms[:, :, :4], pan[:, :, :16] = 0, 0
    scene = open_scene(write_pair(ms=ms, pan=pan)[0])
    assert (scene.ms.nodata, scene.pan.nodata) == (None, None)


def test_few_zeros_are_values(write_pair: WritePair) -> None:
    pan = noise(1, 64, 80)
    pan[0, 3, 3:8] = 0
    path, _ = write_pair(pan=pan)
    scene = open_scene(path)
    assert scene.pan.nodata is None
    with scene.pan.open() as reader:
        assert reader.read(0, 64, 0, 80)[1].all()


def test_tagged_nodata_is_kept(write_pair: WritePair) -> None:
    ms, _ = write_pair(nodata=256)
    assert open_scene(ms).ms.nodata == 256
    assert open_scene(ms).pan.nodata == 256
    with rasterio.open(ms, "r+") as dataset:
        dataset.nodata = 65535
    assert open_scene(ms).ms.nodata == 65535


def test_float_scene_needs_no_nodata(write_pair: WritePair) -> None:
    ms, pan = noise(4, 16, 20).astype(np.float32), noise(1, 64, 80).astype(np.float32)
    ms[1, 2, 3], pan[0, 0, 0], pan[0, 0, 1] = np.nan, np.inf, -np.inf
    path, _ = write_pair(ms=ms, pan=pan, nodata=np.nan)
    scene = open_scene(path)
    with scene.ms.open() as reader:
        assert np.argwhere(~reader.read(0, 16, 0, 20)[1]).tolist() == [[1, 2, 3]]
    with scene.pan.open() as reader:
        assert np.argwhere(~reader.read(0, 64, 0, 80)[1]).tolist() == [[0, 0, 0], [0, 0, 1]]


def test_differing_ms_files_are_refused(raster: WriteRaster) -> None:
    pan = raster("pan.tif", noise(1, 32, 32), PAN_GRID)
    blue = raster("blue.tif", noise(1, 8, 8), MS_GRID, nodata=0)
    with pytest.raises(ProductError, match=r"one grid and data type, got uint16 \(8, 8\) .* and uint16 \(8, 9\)"):
        open_scene(ms=[blue, raster("red.tif", noise(1, 8, 9), MS_GRID)], pan=pan)
    with pytest.raises(ProductError, match=r"share one nodata value, got \[0.0, 9.0\]"):
        open_scene(ms=[blue, raster("nir.tif", noise(1, 8, 8), MS_GRID, nodata=9)], pan=pan)


def test_replicated_ms_file_is_read_at_its_own_size(write_pair: WritePair) -> None:
    ms = noise(4, 16, 20)
    path, _ = write_pair(ms=ms.repeat(2, axis=1).repeat(2, axis=2), ms_transform=Affine(1, 0, 500000, 0, -1, 4640000))
    scene = open_scene(path)
    assert (scene.pair.ratio, scene.ms.grid.shape) == ((4, 4), (16, 20))
    with scene.ms.open() as reader:
        assert np.array_equal(reader.read(0, 16, 0, 20)[0], ms)


def test_description_tells_what_matters(write_pair: WritePair) -> None:
    ms, _ = write_pair(nodata=0, name="WV02_city")
    text = open_scene(ms).describe()
    for part in (
        "WV02_city: WorldView-2",
        "16 x 20 x 4, uint16, pixel 2 x 2, nodata 0 where all bands have it; bands blue, green, red, nir",
        "64 x 80 x 1, uint16, pixel 0.5 x 0.5, nodata 0",
        "EPSG:32633",
        "ratio 4 x 4, phase (0, 0) PAN pixels, output 64 x 80",
    ):
        assert part in text


def test_unusual_ratio_is_noted(write_pair: WritePair) -> None:
    ms, _ = write_pair(ms_transform=Affine(3, 0, 500000, 0, -3, 4640000), name="WV02_city")
    assert "the ratio 6 is unusual for WorldView-2, whose products have 4" in open_scene(ms).warnings


@pytest.mark.parametrize("nodata", [None, 0, np.nan])
def test_scene_travels_as_json_and_pickle(write_pair: WritePair, nodata: float | None) -> None:
    ms, _ = write_pair(ms=noise(4, 16, 20).astype(np.float32), ms_nodata=nodata, name="WV02_city")
    scene = open_scene(ms)
    again = Scene.from_dict(json.loads(json.dumps(scene.to_dict(), allow_nan=False)))
    assert again.to_dict() == scene.to_dict()
    assert again.identity == scene.identity
    assert again.sensor == scene.sensor
    assert pickle.loads(pickle.dumps(scene)).to_dict() == scene.to_dict()


def test_identity_follows_content_not_place(write_pair: WritePair, tmp_path: Path) -> None:
    ms, pan = write_pair()
    before = open_scene(ms).identity
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in (ms, pan):
        shutil.copy2(path, moved)
    assert open_scene(moved).identity == before
    os.utime(pan, ns=(1, 1))
    assert open_scene(ms).identity != before


def test_identity_of_a_scene_whose_file_is_gone(write_pair: WritePair) -> None:
    ms, pan = write_pair()
    scene = open_scene(ms)
    pan.unlink()
    with pytest.raises(ProductError, match=r"must stay where they are, got .*city_PAN.tif"):
        _ = scene.identity


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "sensor", "roles", "phase", "output"),
    [
        ("L7_marburg", "landsat-7", "blue green red nir", (-0.5, 0.5), (81, 81)),
        ("L8_017051_momotombo", "landsat-8", "blue green red nir swir1 swir2", (0.5, -0.5), (667, 935)),
        ("L8_elkton_va", "landsat-8", "blue green red nir", (0, 0), (337, 371)),
        ("L8_madrid", "landsat-8", "red green blue", (-0.5, -1.5), (1197, 1498)),
        ("L8_marburg", "landsat-8", "blue green red nir", (-0.5, 0.5), (81, 81)),
        ("WV2_rotterdam_1", "worldview-2", "blue green red nir", (0, 0), (600, 600)),
        ("WV2_rotterdam_2", "worldview-2", "blue green red nir", (0, 0), (600, 600)),
    ],
)
def test_real_pairs_open(
    data_root: Path, name: str, sensor: str | None, roles: str, phase: tuple[float, float], output: tuple[int, int]
) -> None:
    scene = open_scene(data_root / "scenes" / "open" / f"{name}_PAN.tif")
    assert (scene.sensor.name, " ".join(scene.ms.roles)) == (sensor, roles)
    assert scene.pair.phase == phase
    assert scene.pair.output.shape == output
    assert scene.ms.nodata == (0 if sensor == "worldview-2" else None)
