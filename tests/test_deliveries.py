"""Every valid delivery end to end: what is said of it, what comes out, and that the way in does not matter."""

from __future__ import annotations

import gc
import json
import math
import re
import tempfile

import dask
import numpy as np
import pytest
import rasterio
import torch
from deliveries import digitalglobe, gaofen, landsat
from deliveries.index import DELIVERIES, GE01, MAXAR_BANDWIDTH, MAXAR_SUN, PHR, WV02, pack, sun_factor, write_stack
from deliveries.pixels import formula, linear_rpc, rpb_text, write_tiff
from pyproj import Transformer
from scipy.ndimage import zoom

from ship_geo.api import open_scene, pansharpen_scene
from ship_geo.cli import main
from ship_geo.errors import ArgumentError, ProductError

IDS = list(DELIVERIES)
ARCHIVES = ("zip", "tar", "tar.gz")
PAN_RPC = {  # line offset and scale, sample offset and scale, latitude, longitude
    "wv2_2a_til": (128, 128, 192, 192, 41.9, 15.0),
    "wv3_1b": (240, 240, 320, 320, 41.9, 15.0),
    "qb2_2a": (128, 128, 192, 192, 41.9, 15.0),
    "ge1_2a": (128, 128, 192, 192, 41.9, 15.0),
    "ge1_old": (128, 128, 128, 128, 41.9, 15.0),
    "gf2_tar_new": (159.5, 160, 191.5, 192, 21.7, 108.3),
    "gf2_dir_old": (159.5, 160, 191.5, 192, -33.1, -71.6),
    "gf6_dir": (127.5, 128, 127.5, 128, 39.9, 116.5),
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Tiny arrays: threads would wait for each other, on a busy machine ten times as long as they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with dask.config.set(scheduler="synchronous"):
        yield
    torch.set_num_threads(before)


def differences(found, expected, path="record"):
    """Name what differs between two records; texts of notes and warnings are patterns."""
    if isinstance(expected, dict):
        if not isinstance(found, dict) or set(found) != set(expected):
            return [f"{path} has {found}, expected the keys of {expected}"]
        return [text for key in expected for text in differences(found[key], expected[key], f"{path}.{key}")]
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return [f"{path} is {found}, expected {expected}"]
        pairs = enumerate(zip(found, expected, strict=True))
        return [text for place, pair in pairs for text in differences(*pair, f"{path}[{place}]")]
    if isinstance(expected, float) and isinstance(found, float | int):
        is_place = any(word in path for word in ("transform", "phase", "ratio"))
        # 1e-6 of the smallest pixel, also for coordinates of seven digits
        tolerance = {"rel_tol": 1e-13, "abs_tol": 2e-7} if is_place else {"rel_tol": 1e-9}
        is_same = math.isclose(found, expected, **tolerance)
    elif path.startswith(("record.notes", "record.warnings")):
        is_same = re.search(expected, found) is not None
    else:
        is_same = found == expected
    return [] if is_same else [f"{path} is {found!r}, expected {expected!r}"]


@pytest.fixture(scope="module")
def delivery(tmp_path_factory):
    """Give what a user passes, by the name of the delivery; each is written once."""
    written = {}

    def give(name):
        if name not in written:
            written[name] = DELIVERIES[name].write(tmp_path_factory.mktemp(name))
        return written[name]

    return give


@pytest.mark.parametrize("name", IDS)
def test_info_prints_the_whole_record(delivery, name, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main(["info", str(delivery(name)), "--json"]) == 0
    assert differences(json.loads(capsys.readouterr().out), DELIVERIES[name].record) == []
    assert list(tmp_path.iterdir()) == []


def sharpen(source=None, output=None, model="brovey", **options):
    """Pixels of the lazy result, or of the written one."""
    options = {"model": model, "register": "off", **options}
    if output is None:
        return pansharpen_scene(source, **options).compute().to_numpy()
    with pansharpen_scene(source, output=output, progress=False, **options) as fused:
        return fused.to_numpy()


# What comes out ------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # sensor geometry has none
@pytest.mark.parametrize(
    ("name", "model"),
    [(name, "mtf-glp-fs" if name == "l7_c1" else "brovey") for name in IDS],
)
def test_output_lies_on_pan_and_keeps_what_is_known(delivery, name, model, tmp_path):
    expected, path = DELIVERIES[name].record, tmp_path / "fused.tif"
    sharpen(delivery(name), path, model)
    grid = expected["output"]
    with rasterio.open(path) as fused:
        assert (*fused.shape, fused.count) == (*grid["shape"], len(expected["bands"]))
        assert fused.descriptions == tuple(band["description"] or band["role"] for band in expected["bands"])
        assert set(fused.dtypes) == {expected["ms"]["dtype"]}
        assert fused.nodata == expected["ms"]["nodata"]
        assert fused.tags().get("ACQUISITION_TIME") == expected["time"]
        assert fused.tags().get("PLATFORM") == expected["platform"]
        assert fused.tags()["SHIP_GEO_GEOMETRY"].startswith(expected["geometry"])
        assert (None if fused.crs is None else fused.crs.to_string()) == expected["crs"]
        if expected["crs"] is not None:
            size = grid["resolution"][0]
            for corner in ((0, 0), (0, fused.width), (fused.height, 0), fused.shape):
                place = fused.transform @ corner[::-1] if hasattr(fused.transform, "__matmul__") else None
                place = place or fused.transform * corner[::-1]
                a, _, c, _, e, f = grid["transform"]
                assert place == pytest.approx((c + a * corner[1], f + e * corner[0]), rel=0, abs=1e-6 * size)
        assert (fused.rpcs is not None) == expected["rpc"]
        if expected["rpc"]:
            check_ground(fused.rpcs, PAN_RPC[name], expected["overlap"])
    assert [file.name for file in tmp_path.iterdir()] == ["fused.tif"]


def check_ground(rpcs, pan, overlap):
    """Ground points of PAN pixels must be those of the same pixels of the output, to 1e-6 pixel."""
    line, line_scale, sample, sample_scale, lat, lon = pan
    linear = {"line_num_coeff": {2: -1.0}, "samp_num_coeff": {1: 1.0}, "line_den_coeff": {0: 1.0}}
    for key, terms in {**linear, "samp_den_coeff": {0: 1.0}}.items():
        assert list(getattr(rpcs, key)) == [terms.get(place, 0.0) for place in range(20)]
    for row, col in ((overlap[0], overlap[2]), (overlap[1] - 1, overlap[3] - 1), (100, 31)):
        north, east = -0.005 * (row - line) / line_scale, 0.005 * (col - sample) / sample_scale
        point = (lat + north - rpcs.lat_off) / rpcs.lat_scale, (lon + east - rpcs.long_off) / rpcs.long_scale
        assert rpcs.line_off - rpcs.line_scale * point[0] == pytest.approx(row - overlap[0], abs=1e-6)
        assert rpcs.samp_off + rpcs.samp_scale * point[1] == pytest.approx(col - overlap[2], abs=1e-6)


# The way in ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IDS)
def test_every_member_is_the_same_scene(delivery, name):
    root = delivery(name)
    if not root.is_dir():
        root = DELIVERIES[name].write(root.parent, kind="dir")
    plan = open_scene(root).to_dict()
    members = [file for file in sorted(root.rglob("*")) if file.is_file() and file.name != "README.TXT"]
    for member in members:
        assert open_scene(member).to_dict() == plan, member


@pytest.mark.parametrize("name", IDS)
def test_bytes_do_not_depend_on_the_way_in(name, tmp_path):
    folder, scratch = tmp_path / "in", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    root = DELIVERIES[name].write(folder, **DELIVERIES[name].small)
    expected = sharpen(root)
    scene = open_scene(root)
    ms, pan = [*scene.ms.paths], scene.pan.paths[0]
    ways = {kind: {"source": pack(root, tmp_path / f"{root.name}.{kind}"), "scratch": scratch} for kind in ARCHIVES}
    if name != "stack_rep":  # one file is no pair
        ways |= {"pan": {"source": pan}, "pair": {"ms": ms, "pan": pan}, "swapped": {"ms": pan, "pan": ms[-1]}}
    for way, how in ways.items():
        assert np.array_equal(sharpen(**how), expected), way
    gc.collect()
    assert list(scratch.iterdir()) == []


def test_scratch_folder_lives_as_long_as_the_lazy_result(tmp_path):
    path = pack(gaofen.gf2_tar_new(tmp_path, kind="dir", ms_shape=(20, 24)), tmp_path / "scene.tar.gz")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    fused = pansharpen_scene(path, model="brovey", scratch=scratch)
    gc.collect()
    assert len(list(scratch.iterdir())) == 1
    part = fused.isel(y=slice(0, 40))
    del fused
    assert int(part.compute().min()) > 0
    assert len(list(scratch.iterdir())) == 1
    del part
    gc.collect()
    assert list(scratch.iterdir()) == []


# Values --------------------------------------------------------------------------------------------------------------


def level(kind):
    """DN of a scene without texture: PAN 700, MS bands 500, 540, 580 ... of which every method makes the same."""
    return 700 if kind == "pan" else 500


def flat(kind, n_band, n_row, n_col):
    return np.broadcast_to(level(kind) + 40 * np.arange(n_band)[:, None, None], (n_band, n_row, n_col)).astype("uint16")


def flat_landsat(kind, number, n_row, n_col):
    return np.full((1, n_row, n_col), level(kind) + (0 if kind == "pan" else 40 * (number - 1)), np.uint16)


def flat_dimap(n_band, n_row, n_col):
    return flat("pan" if n_band == 1 else "ms", n_band, n_row, n_col)


DN = 500.0 + 40 * np.arange(8)
GF2_GAIN, GF2_ESUN = [0.1374, 0.1784, 0.1723, 0.1894], [1966.81, 1822.61, 1523.19, 1066.55]
L8_MULT = np.array([1.2e-2, 1.25e-2, 1.15e-2, 9.7e-3, 5.9e-3, 1.4e-3, 4.9e-4])


def maxar(rows, abs_cal, time):
    gain, offset, esun = np.transpose(rows)
    radiance = gain * DN[: len(rows)] * abs_cal / MAXAR_BANDWIDTH + offset
    return radiance, radiance * sun_factor(time, MAXAR_SUN) / esun


def gaofen_2():
    radiance = GF2_GAIN * DN[:4]
    return radiance, radiance * sun_factor("2025-04-02T03:30:58Z", 64.5) / GF2_ESUN


def pleiades():
    gain, _, esun = np.transpose(PHR)
    radiance = gain * DN[:4]
    return radiance, radiance * sun_factor("2019-05-01T10:30:15.2Z", 60.0) / esun


def landsat_8():
    sine = math.sin(math.radians(57.9))
    return L8_MULT * DN[:7] - 5 * L8_MULT, (2.0e-05 * DN[:7] - 0.1) / sine


PHYSICAL = {
    "wv2_2a_til": (flat, lambda: maxar(WV02, 1.23e-2, "2016-06-23T09:53:30.046Z")),
    "ge1_2a": (flat, lambda: maxar(GE01, 0.017, "2011-07-04T10:22:33.046Z")),
    "gf2_tar_new": (flat, gaofen_2),
    "l8_c2": (flat_landsat, landsat_8),
    "phr_dimap": (flat_dimap, pleiades),
}


@pytest.mark.parametrize("name", PHYSICAL)
def test_physical_values_follow_the_published_formulas(name, tmp_path):
    pixels, expected = PHYSICAL[name]
    root = DELIVERIES[name].write(tmp_path, pixels=pixels, **DELIVERIES[name].small)
    for radiometry, values in zip(("radiance", "toa"), expected(), strict=True):
        fused = sharpen(root, model="exp", radiometry=radiometry)
        assert fused.dtype == np.float32
        assert np.ptp(fused, axis=(1, 2)) == pytest.approx(0, abs=1e-6 * values.max())
        assert fused[:, 5, 7] == pytest.approx(values, rel=1e-5)


def test_written_radiance_says_its_unit(tmp_path):
    root = gaofen.gf2_tar_new(tmp_path, kind="dir", ms_shape=(20, 24), pixels=flat)
    fused = sharpen(root, tmp_path / "fused.tif", "exp", radiometry="radiance")
    assert fused[:, 1, 1] == pytest.approx(gaofen_2()[0], rel=1e-5)
    with rasterio.open(tmp_path / "fused.tif") as file:
        assert (file.tags()["RADIOMETRY"], file.tags()["UNITS"]) == ("radiance", "W m-2 sr-1 um-1")
        assert set(file.dtypes) == {"float32"}


def test_without_coefficients_dn_is_all_there_is(delivery):
    message = r"radiance needs the calibration .*GF2 PMS2 of 2016-05-11.* no table covers the year.*; use DN"
    with pytest.raises(ArgumentError, match=message):
        pansharpen_scene(delivery("gf2_dir_old"), model="exp", radiometry="radiance")
    with pytest.raises(ArgumentError, match=r"toa needs .*the solar irradiance of a band is not known"):
        pansharpen_scene(delivery("gf6_dir"), model="exp", radiometry="toa")


# Validity ------------------------------------------------------------------------------------------------------------


def read_all(layer):
    with layer.open() as reader:
        return reader.read(0, layer.grid.shape[0], 0, layer.grid.shape[1])


def test_missing_tile_may_be_masked(tmp_path):
    root = digitalglobe.bad_tile(tmp_path)
    scene = open_scene(root, missing="mask")
    assert any("R2C2" in text and "invalid" in text for text in scene.warnings)
    values, valid = read_all(scene.ms)
    gap = np.zeros((64, 96), bool)
    gap[48:, 64:] = True
    assert np.array_equal(valid, np.broadcast_to(~gap, (8, 64, 96)))
    assert np.array_equal(values[:, ~gap], formula(8, 64, 96)[:, ~gap])
    assert read_all(scene.pan)[1].all()
    sharpen(scene, tmp_path / "fused.tif")
    with rasterio.open(tmp_path / "fused.tif") as fused:
        assert np.array_equal(fused.dataset_mask() == 0, np.kron(gap, np.ones((4, 4))) > 0)


def test_fill_of_landsat_is_invalid(delivery, tmp_path):
    scene = open_scene(delivery("l8_c2"))
    triangle = {12: landsat.fill_triangle(51, 61, 12), 24: landsat.fill_triangle(101, 121, 24)}
    assert np.array_equal(read_all(scene.ms)[1], np.broadcast_to(~triangle[12], (7, 51, 61)))
    assert np.array_equal(read_all(scene.pan)[1], ~triangle[24][None])
    sharpen(scene, tmp_path / "fused.tif")
    with rasterio.open(tmp_path / "fused.tif") as fused:
        invalid = fused.dataset_mask() == 0
        assert (fused.read()[:, invalid] == 0).all()
    # Shared centres: that of PAN pixel p lies at p / 2, in MS pixel floor(p / 2 + 1 / 2).
    rows, cols = (np.arange(n) // 2 + np.arange(n) % 2 for n in (101, 121))
    expected = triangle[24] | triangle[12][rows][:, cols]
    assert np.array_equal(invalid, expected)


# Geometry by RPC -----------------------------------------------------------------------------------------------------

TILT = 0.2  # of the line, half images for each 500 m
POINTS = [(-0.55, -0.5), (-0.4, 0.45), (0.1, -0.05), (0.5, -0.6), (0.45, 0.55)]  # latitude and longitude, normalised


def tilted_scene(folder, height_of):
    """A small `wv3_1b` whose camera looks along the track, PAN with a spot at each of `POINTS` on the ground.

    `height_of(lon)` is the height there.
    """

    def spots(kind, n_band, n_row, n_col):
        if kind == "ms":
            return np.full((n_band, n_row, n_col), 500, np.uint16)
        rows, cols = np.mgrid[:n_row, :n_col]
        values = np.full((n_row, n_col), 300.0)
        for lat, lon in POINTS:
            row = 60 + 60 * (-lat + TILT * (height_of(15.0 + 0.005 * lon) - 100) / 500)  # of a centre, from 0
            values += 1200 * np.exp(-((rows - row) ** 2 + (cols - 80 - 80 * lon) ** 2) / 8)
        return values[None].astype(np.uint16)

    root = digitalglobe.wv3_1b(folder, codes=digitalglobe.FOUR, pixels=spots, **DELIVERIES["wv3_1b"].small)
    for kind, values in (("P", (60.0, 60.0, 80.0, 80.0)), ("M", (14.875, 15.0, 19.225, 20.0))):
        model = linear_rpc(*values)
        model["lineNumCoef"][3] = TILT
        next(root.rglob(f"*-{kind}1BS-*.RPB")).write_text(rpb_text(model, "WV03", kind))
    return root


def slope(lon):
    """300 m over the scene, from west to east."""
    return 100 + 300 * (lon - 14.994) / 0.012


def write_dem(path):
    cols = np.arange(24)
    values = np.broadcast_to(slope(14.988 + 0.001 * (cols + 0.5)), (1, 24, 24)).astype("float32")
    return write_tiff(path, values, size=0.001, corner=(14.988, 41.912), crs="EPSG:4326")


@pytest.mark.parametrize(("dem", "geoid", "text"), [
    (350.0, 0.0, "level ground at 350 m above the ellipsoid"),
    ("dem.tif", 0.0, "DEM dem.tif, taken as heights above the ellipsoid"),
    ("dem.tif", 45.0, "DEM dem.tif, 45 m added"),
])  # fmt: skip
def test_ortho_puts_pixels_where_the_camera_model_says(tmp_path, dem, geoid, text):
    is_file = isinstance(dem, str)
    root = tilted_scene(tmp_path, (lambda lon: slope(lon) + geoid) if is_file else lambda _: dem)
    heights = write_dem(tmp_path / dem) if is_file else dem
    scene = open_scene(root, geometry="ortho", dem=heights, geoid=geoid)
    assert (scene.geometry, scene.heights, scene.rpc) == ("ortho", text, None)
    output = tmp_path / "fused.tif"
    values = sharpen(scene, output)[0].astype(float)
    with rasterio.open(output) as fused:
        assert fused.crs.to_string() == "EPSG:32633"
        assert fused.tags()["SHIP_GEO_GEOMETRY"] == f"ortho, {text}"
        a, _, c, _, e, f = fused.transform[:6]
    to_map = Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True)
    for lat, lon in POINTS:
        x, y = to_map.transform(15.0 + 0.005 * lon, 41.9 + 0.005 * lat)
        row, col = (y - f) / e - 0.5, (x - c) / a - 0.5
        top, left = round(row) - 8, round(col) - 8
        weight = values[top : top + 17, left : left + 17]
        weight = np.clip(weight - np.median(weight) - 0.02 * np.ptp(weight), 0, None)
        rows, cols = np.mgrid[top : top + 17, left : left + 17]
        found = (rows * weight).sum() / weight.sum(), (cols * weight).sum() / weight.sum()
        assert found == pytest.approx((row, col), abs=0.5)


def test_ms_lies_on_pan_in_sensor_geometry(tmp_path):
    def ramp(_, n_band, n_row, n_col):
        rows, cols = np.mgrid[:n_row, :n_col]
        return np.broadcast_to(100 + 20 * (rows + cols), (n_band, n_row, n_col)).astype(np.uint16)

    root = digitalglobe.wv3_1b(tmp_path, codes=digitalglobe.FOUR, pixels=ramp, **DELIVERIES["wv3_1b"].small)
    fused = sharpen(root, model="exp")[0].astype(float)
    # ms = pan / 4 + (0.25, -0.40) in edge coordinates; PAN begins at row 0 and column 2 where MS does.
    row = (np.arange(fused.shape[0]) + 0.5) / 4 + 0.25 - 0.5
    col = (np.arange(2, fused.shape[1] + 2) + 0.5) / 4 - 0.40 - 0.5
    error = fused - (100 + 20 * np.add.outer(row, col))
    inside = error[16:-16, 16:-16]
    assert abs(inside).max() / 5 <= 0.25  # 5 DN a PAN pixel
    assert abs(inside.mean()) / 5 <= 0.01


def test_mean_height_may_be_given(delivery):
    scene = open_scene(delivery("wv3_1b"), geometry="sensor", dem=250)
    assert scene.heights == "250 m above the ellipsoid"
    assert any("at 250 m above the ellipsoid" in note for note in scene.notes)
    with pytest.raises(ArgumentError, match=r"sensor geometry takes one height, got the raster heights.tif"):
        open_scene(delivery("wv3_1b"), dem="heights.tif")
    with pytest.raises(ArgumentError, match=r"needs the models of PAN and MS, got none for PAN and MS"):
        open_scene(delivery("l8_c2"), geometry="ortho")


# Several products ----------------------------------------------------------------------------------------------------


def test_several_products_are_listed_and_chosen_by_name(tmp_path):
    root = digitalglobe.wv2_two_products(tmp_path)
    landsat.l7_c1(tmp_path)
    gaofen.gf1_cameras(tmp_path)
    names = ["056078906010_01_P001", "056078906010_01_P002", landsat.L7_C1, gaofen.GF1.format(1, 1)]
    with pytest.raises(ProductError) as caught:
        open_scene(tmp_path)
    message = str(caught.value)
    assert [name in message for name in names] == [True] * 4
    assert "choose with `product=`" in message
    assert open_scene(tmp_path, product="_P002").name == names[1]
    assert open_scene(tmp_path, product="le07_").name == landsat.L7_C1
    assert open_scene(tmp_path, product="GF1_PMS2").name == gaofen.GF1.format(2, 2)
    assert any("other products beside it: 056078906010_01_P001" in n for n in open_scene(root, product="P002").notes)
    with pytest.raises(ProductError, match=r"must name one of the products, got 'P003' and 056078906010_01_P001, "):
        open_scene(root, product="P003")


def test_a_file_chooses_its_product(tmp_path):
    root = digitalglobe.wv2_two_products(tmp_path)
    tile = next(root.rglob("*R1C2*_P002.TIF"))
    assert open_scene(tile).name == "056078906010_01_P002"


# Generic pairs -------------------------------------------------------------------------------------------------------


def test_interpolated_stack_needs_its_ratio(tmp_path):
    ms = zoom(formula(4, 64, 64).astype(float), (1, 4, 4), order=1, mode="nearest", grid_mode=True)
    write_stack(tmp_path, np.concatenate([formula(1, 256, 256), np.rint(ms).astype(np.uint16)]))
    with pytest.raises(ArgumentError, match=r"ratio"):
        open_scene(tmp_path)
    scene = open_scene(tmp_path, ratio=4)
    assert (scene.ms.grid.shape, scene.pair.ratio, scene.pair.phase) == ((64, 64), (4, 4), (0, 0))
