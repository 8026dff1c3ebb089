"""Warped pixels against the camera that took them: images whose values are their own rows and columns."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from deliveries.cameras import GROUND, Camera, fit_rpc, local_metres
from deliveries.pixels import write_tiff
from pyproj import Transformer
from rasterio.windows import Window

from ship_geo.geometry import ortho_grids, ortho_warp, reproject_warp, sensor_pair
from ship_geo.grids import Grid
from ship_geo.raster import BandRef, Tile
from ship_geo.raster.warp import Warp, open_warped, read_warped

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

UTM = "EPSG:32633"
PAN = Camera(shape=(256, 256), pixel=4.0, off_nadir=20.0, heading=25.0)
MS = Camera(shape=(64, 64), pixel=16.0, off_nadir=20.0, heading=25.0, along_track=1e-4)
RPC = fit_rpc(PAN)
IMAGE = Affine.identity()


def terrain(east, north):
    """Between 350 and 650 m."""
    return GROUND + 150.0 * np.sin(np.asarray(east) / 240.0) * np.cos(np.asarray(north) / 300.0)


def own_places(shape) -> np.ndarray:
    """Two bands of float32: row and column of each pixel centre."""
    rows, cols = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    return np.stack([rows, cols]).astype("float32")


def write_dem(path, crs) -> str:
    """Terrain at 10 m, or a ten-thousandth of a degree."""
    if crs == "EPSG:4326":
        step, (left, top), n = 1e-4, local_metres.to_degrees(-1200.0, 1200.0), 300
    else:
        step, n = 10.0, 240
        left, top = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(
            *local_metres.to_degrees(-1200.0, 1200.0)
        )
    col, row = np.meshgrid(np.arange(n) + 0.5, np.arange(n) + 0.5)
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(left + step * col, top - step * row)
    heights = terrain(*local_metres.from_degrees(lon, lat)).astype("float32")[None]
    return str(write_tiff(path, heights, size=step, corner=(left, top), crs=crs))


def refs(path, n=2) -> list[BandRef]:
    return [BandRef(str(path), number) for number in range(1, n + 1)]


def read(bands, warp, window=None, **options):
    with open_warped(bands, warp, **options) as dataset:
        return read_warped(dataset, window or Window(0, 0, warp.target.shape[1], warp.target.shape[0]))


def ground_of(grid: Grid):
    """Local metres (east, north) of the pixel centres of a map grid."""
    col, row = np.meshgrid(np.arange(grid.shape[1]) + 0.5, np.arange(grid.shape[0]) + 0.5)
    a, _, c, _, e, f = grid.transform[:6]
    transformer = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    return local_metres.from_degrees(*transformer.transform(a * col + c, e * row + f))


def is_inside(place, shape, margin):
    row, col = place
    return (row > margin) & (row < shape[0] - margin) & (col > margin) & (col < shape[1] - margin)


@pytest.fixture
def image(tmp_path):
    return write_tiff(tmp_path / "pan.tif", own_places(PAN.shape))


@pytest.fixture
def grids() -> tuple[Grid, Grid]:
    return ortho_grids(MS.shape, fit_rpc(MS), PAN.shape, RPC, height=GROUND, ratio=4)


# --- onto a map -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crs", ["EPSG:4326", UTM])
def test_terrain_is_met_to_a_tenth_of_a_pixel(image, grids, tmp_path, crs):
    _, target = grids
    dem = write_dem(tmp_path / "Heights Of It.TIF", crs)
    values, valid = read(refs(image), ortho_warp(PAN.shape, RPC, target, height=0.0, dem=dem))
    east, north = ground_of(target)
    truth = np.stack(PAN.see(east, north, terrain(east, north)))
    inside = is_inside(truth, PAN.shape, 2)
    assert inside.mean() > 0.5
    assert valid[0][inside].all()
    assert np.abs(values - truth)[:, inside].max() < 0.1


def test_level_ground_is_met_to_a_tenth_of_a_pixel(image, grids):
    _, target = grids
    values, valid = read(refs(image), ortho_warp(PAN.shape, RPC, target, height=GROUND))
    truth = np.stack(PAN.see(*ground_of(target), GROUND))
    inside = is_inside(truth, PAN.shape, 2)
    assert np.abs(values - truth)[:, inside].max() < 0.1
    # What lies outside the image is not valid, to a pixel.
    assert valid[0][is_inside(truth, PAN.shape, 0.1)].all()
    assert not valid[0][~is_inside(truth, PAN.shape, -0.6)].any()
    assert (valid[0] == valid[1]).all()


def test_pan_and_ms_meet_on_the_map(image, grids, tmp_path):
    ms_image = write_tiff(tmp_path / "ms.tif", own_places(MS.shape))
    dem = write_dem(tmp_path / "dem.tif", UTM)
    for camera, path, target in ((MS, ms_image, grids[0]), (PAN, image, grids[1])):
        warp = ortho_warp(camera.shape, fit_rpc(camera), target, height=0.0, dem=dem)
        values, _ = read(refs(path), warp)
        east, north = ground_of(target)
        truth = np.stack(camera.see(east, north, terrain(east, north)))
        inside = is_inside(truth, camera.shape, 2)
        assert inside.sum() > 500
        assert np.abs(values - truth)[:, inside].max() * camera.pixel < 0.1 * PAN.pixel


def test_a_wrong_height_moves_the_image_by_what_the_angle_foretells(image, grids):
    _, target = grids
    right, _ = read(refs(image), ortho_warp(PAN.shape, RPC, target, height=GROUND))
    wrong, _ = read(refs(image), ortho_warp(PAN.shape, RPC, target, height=GROUND + 50.0))
    middle = np.s_[:, target.shape[0] // 2, target.shape[1] // 2]
    row, col = wrong[middle] - right[middle]
    assert abs(row) < 0.02
    assert abs(col) == pytest.approx(50.0 * np.tan(np.radians(20.0)) / 4.0, rel=0.02)


def test_heights_above_the_sea_are_raised_by_the_height_given(image, grids, tmp_path):
    """A level DEM of 460 m and 40 m of geoid are 500 m above the ellipsoid."""
    _, target = grids
    left, top = Transformer.from_crs("EPSG:4326", UTM, always_xy=True).transform(
        *local_metres.to_degrees(-1200.0, 1200.0)
    )
    dem = write_tiff(tmp_path / "dem.tif", np.full((1, 25, 25), 460, "int16"), size=100.0, corner=(left, top))
    raised, _ = read(refs(image), ortho_warp(PAN.shape, RPC, target, height=40.0, dem=str(dem)))
    level, _ = read(refs(image), ortho_warp(PAN.shape, RPC, target, height=500.0))
    np.testing.assert_allclose(raised, level, atol=1e-3)


def test_where_the_dem_ends_nothing_is_valid(image, grids, tmp_path):
    _, target = grids
    left, top = Transformer.from_crs("EPSG:4326", UTM, always_xy=True).transform(*local_metres.to_degrees(0.0, 1200.0))
    dem = write_tiff(tmp_path / "dem.tif", np.full((1, 25, 25), 500, "int16"), size=100.0, corner=(left, top))
    _, valid = read(refs(image), ortho_warp(PAN.shape, RPC, target, height=0.0, dem=str(dem)))
    east, north = ground_of(target)
    inside = is_inside(PAN.see(east, north, GROUND), PAN.shape, 2)
    assert not valid[0][east < -100.0].any()
    assert valid[0][inside & (east > 100.0)].all()


@pytest.mark.parametrize("has_dem", [False, True])
def test_a_pixel_does_not_depend_on_the_block_it_is_read_with(image, grids, tmp_path, has_dem):
    _, target = grids
    dem = write_dem(tmp_path / "dem.tif", UTM) if has_dem else None
    warp = ortho_warp(PAN.shape, RPC, target, height=0.0 if has_dem else GROUND, dem=dem)
    whole, mask = read(refs(image), warp)
    for row, col, n_row, n_col in [(0, 0, 1, 1), (101, 57, 37, 3), (250, 250, 12, 9), (17, 200, 1, 99)]:
        values, valid = read(refs(image), warp, Window(col, row, n_col, n_row))
        block = np.s_[:, row : row + n_row, col : col + n_col]
        assert values.tobytes() == whole[block].tobytes()
        assert valid.tobytes() == mask[block].tobytes()


# --- other maps, other pixels -----------------------------------------------------------------------------------------


def test_another_utm_zone_is_met_to_a_hundredth_of_a_pixel(tmp_path):
    x, y = Transformer.from_crs(UTM, "EPSG:32632", always_xy=True).transform(250000.0, 4640000.0)
    path = write_tiff(tmp_path / "ms.tif", own_places((90, 90)), size=2.0, corner=(x - 20, y + 20), crs="EPSG:32632")
    ms = Grid((90, 90), Affine(2.0, 0.0, x - 20, 0.0, -2.0, y + 20), "EPSG:32632")
    pan = Grid((256, 256), Affine(0.5, 0.0, 250000.0, 0.0, -0.5, 4640000.0), UTM)
    warp = reproject_warp(ms, pan)
    values, valid = read(refs(path), warp)
    a, _, c, _, e, f = warp.target.transform[:6]
    col, row = np.meshgrid(np.arange(warp.target.shape[1]) + 0.5, np.arange(warp.target.shape[0]) + 0.5)
    back = Transformer.from_crs(UTM, "EPSG:32632", always_xy=True).transform(a * col + c, e * row + f)
    truth = np.stack([(y + 20 - back[1]) / 2.0, (back[0] - x + 20) / 2.0])
    assert valid.all()
    assert np.abs(values - truth).max() < 0.01


def test_turned_ms_lies_on_pan_where_both_cameras_say(tmp_path):
    ms = Camera(shape=(64, 64), pixel=16.0, off_nadir=20.0, heading=30.0)
    pair = sensor_pair(ms.shape, fit_rpc(ms), PAN.shape, RPC)
    path = write_tiff(tmp_path / "ms.tif", own_places(ms.shape))
    assert pair.warp is not None
    values, valid = read(refs(path), pair.warp)
    a, _, c, _, e, f = pair.ms.transform[:6]
    col, row = np.meshgrid(np.arange(pair.ms.shape[1]) + 0.5, np.arange(pair.ms.shape[0]) + 0.5)
    lon, lat = RPC.locate(e * row + f, a * col + c, GROUND)
    truth = np.stack(ms.see(*local_metres.from_degrees(lon, lat), GROUND))
    inside = is_inside(truth, ms.shape, 2)
    assert valid[0][inside].all()
    assert np.abs(values - truth)[:, inside].max() * 4 < 0.25


# --- what files hold --------------------------------------------------------------------------------------------------

SHIFT = Warp(Grid((40, 40), Affine(1.0, 0.0, 0.0, 0.0, 1.0, 0.0)), source=Affine(1.0, 0.0, 0.25, 0.0, 1.0, 0.25))
"""Moves pixels by a quarter, so that every value is interpolated."""


def marked(dtype) -> np.ndarray:
    """Two bands: no data in both in the left, zero in one band in the right."""
    values = np.full((2, 40, 40), 50, dtype)
    values[:, :, :10] = 0
    values[0, :, 30:] = 0
    return values


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
def test_zero_is_nodata_where_all_bands_have_it(tmp_path, dtype):
    path = write_tiff(tmp_path / "ms.tif", marked(dtype))
    values, valid = read(refs(path), SHIFT, nodata=0.0)
    assert values.dtype == dtype
    assert not valid[:, :, :9].any()
    assert valid[:, 1:, 11:].all()
    # Values next to nodata are not mixed with it; zero in one band is a value.
    assert (values[1, 1:, 11:] == 50).all()
    assert (values[0, 1:, 34:] == 0).all()


def test_negative_nodata_holds_in_any_band(tmp_path):
    values = np.full((2, 40, 40), 50, "int16")
    values[1, :, :10] = -9999
    path = write_tiff(tmp_path / "ms.tif", values, nodata=-9999)
    warped, valid = read(refs(path), SHIFT, nodata=-9999.0)
    assert not valid[:, :, :9].any()
    assert (warped[:, 1:, 11:] == 50).all()


def test_tags_that_a_scene_ignores_are_ignored(tmp_path):
    path = write_tiff(tmp_path / "ms.tif", marked("uint16"), nodata=50)
    values, valid = read(refs(path), SHIFT)
    assert valid[:, 1:, 1:].all()
    assert (values[1, 1:, 12:] == 50).all()


def test_nodata_that_the_data_type_cannot_hold_is_ignored(tmp_path):
    path = write_tiff(tmp_path / "ms.tif", marked("uint8"))
    for nodata in (-9999.0, 256.0, float("nan")):
        _, valid = read(refs(path), SHIFT, nodata=nodata)
        assert valid[:, 1:, 1:].all()


def test_values_that_are_not_finite_are_not_valid(tmp_path):
    values = np.full((1, 40, 40), 5.0, "float32")
    values[0, 20, 20] = np.nan
    bands = refs(write_tiff(tmp_path / "ms.tif", values), 1)
    _, valid = read(bands, SHIFT)
    assert not valid[0, 20, 20]
    assert read(bands, SHIFT, nodata=float("nan"))[1].sum() >= valid.sum()
    assert valid[0, 1:16, 1:].all()


@pytest.mark.parametrize("kind", ["mask", "alpha"])
def test_masks_and_alpha_bands_of_files_count_when_asked_for(tmp_path, kind):
    shown = np.full((40, 40), 255, "uint8")
    shown[:, :10] = 0
    values = np.full((2, 40, 40), 50, "uint8")
    path = tmp_path / "ms.tif"
    if kind == "alpha":
        write_tiff(path, np.concatenate([values, shown[None]]), photometric="minisblack")
        with rasterio.open(path, "r+") as file:
            file.colorinterp = [*file.colorinterp[:2], rasterio.enums.ColorInterp.alpha]
    else:
        write_tiff(path, values)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
            file.write_mask(shown)
    warped, valid = read(refs(path), SHIFT, has_mask=True)
    assert warped.shape == (2, 40, 40)
    assert not valid[:, :, :9].any()
    assert valid[:, 1:, 11:].all()
    assert (warped[:, 1:, 11:] == 50).all()


def test_bands_come_in_the_order_asked_for_also_from_several_files(tmp_path):
    values = marked("uint16")
    both = write_tiff(tmp_path / "both.tif", values)
    one, two = (write_tiff(tmp_path / f"{i}.tif", values[i : i + 1]) for i in range(2))
    expected, mask = read(refs(both)[::-1], SHIFT, nodata=0.0)
    parts, part_mask = read([BandRef(str(two), 1), BandRef(str(one), 1)], SHIFT, nodata=0.0)
    assert (parts == expected).all()
    assert (part_mask == mask).all()
    assert (read(refs(both), SHIFT, nodata=0.0)[0] == expected[::-1]).all()


def test_mosaics_are_warped_without_seams(tmp_path):
    values = own_places((40, 40))
    whole = write_tiff(tmp_path / "whole.tif", values)
    left = write_tiff(tmp_path / "left & low.tif", values[:, :, :23])
    right = write_tiff(tmp_path / "right.tif", values[:, :, 23:])
    tiles = (Tile(str(left), 0, 0, (40, 23)), Tile(str(right), 0, 23, (40, 17)))
    mosaic, valid = read(refs(tmp_path / "index.til"), SHIFT, tiles=tiles, shape=(40, 40))
    expected, mask = read(refs(whole), SHIFT)
    assert (mosaic == expected).all()
    assert (valid == mask).all()


def test_a_plan_survives_json(grids):
    warp = ortho_warp(PAN.shape, RPC, grids[1], height=12.5, dem="/some/Dem.tif")
    for plan in (warp, SHIFT):
        assert Warp.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
