"""Plans of geometry: MS in pixels of PAN, map grids around camera models, grids in the CRS of PAN."""

from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine
from deliveries.cameras import Camera, fit_rpc, local_metres
from deliveries.pixels import linear_rpc
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from ship_geo.errors import ArgumentError, GridError
from ship_geo.geometry import ortho_grids, ortho_warp, reproject_warp, sensor_pair, utm_zone
from ship_geo.grids import Grid, GridPair
from ship_geo.rpc import Rpc

UTM = "EPSG:32633"


def wv3(line_offset, line_scale, sample_offset, sample_scale) -> Rpc:
    """The linear model of a synthetic WorldView-3 product."""
    values = linear_rpc(line_offset, line_scale, sample_offset, sample_scale)
    words = {"line": "line", "samp": "sample", "lat": "lat", "long": "long", "height": "height"}
    numbers = {f"{new}_{end.lower()}": values[old + end] for old, new in words.items() for end in ("Offset", "Scale")}
    lists = {f"{new}_{end.lower()}": tuple(values[f"{old}{end}Coef"]) for old, new in list(words.items())[:2]
             for end in ("Num", "Den")}  # fmt: skip
    return Rpc(**numbers, **lists)


PAN_RPC = wv3(240, 240, 320, 320)
MS_RPC = wv3(59.875, 60, 79.225, 80)
SHAPES = (120, 160), (480, 640)


# --- sensor geometry --------------------------------------------------------------------------------------------------


def test_a_basic_product_has_its_ratio_and_phase():
    pair = sensor_pair(SHAPES[0], MS_RPC, SHAPES[1], PAN_RPC)
    grids = GridPair.from_grids(pair.ms, pair.pan)
    assert grids.ratio == pytest.approx((4.0, 4.0), abs=1e-8)
    assert grids.phase == pytest.approx((-1.0, 1.6), abs=1e-6)
    assert (pair.pan.transform, pair.pan.crs, pair.ms.shape) == (Affine.identity(), None, (120, 160))
    assert pair.residual < 1e-6
    assert pair.parallax < 1e-6
    assert pair.warp is None
    assert pair.height == 100.0


@settings(max_examples=20)
@given(
    ratio=st.tuples(st.floats(1.6, 6.0), st.floats(1.6, 6.0)),
    corner=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    height=st.floats(-100, 500),
)
def test_any_scale_and_offset_are_recovered(ratio, corner, height):
    ms_rpc = PAN_RPC.shifted(*corner).scaled(ratio)
    shape = math.ceil(480 / ratio[0]), math.ceil(640 / ratio[1])
    pair = sensor_pair(shape, ms_rpc, (480, 640), PAN_RPC, height)
    a, _, c, _, e, f = pair.ms.transform[:6]
    assert (e, a) == pytest.approx(ratio, abs=1e-8)
    assert (f, c) == pytest.approx(corner, abs=1e-6)


def test_an_exact_ratio_is_exact_so_that_grids_nest():
    pair = sensor_pair((120, 160), PAN_RPC.scaled((4.0, 4.0)), (480, 640), PAN_RPC)
    assert GridPair.from_grids(pair.ms, pair.pan).is_nested


def test_ms_of_a_part_of_pan_is_related_by_that_part():
    rpc = PAN_RPC.shifted(200, 300).scaled((4.0, 4.0))
    pair = sensor_pair((30, 40), rpc, (480, 640), PAN_RPC)
    assert pair.ms.transform[:6] == pytest.approx((4.0, 0.0, 300.0, 0.0, 4.0, 200.0), abs=1e-6)


def turned(degrees: float) -> tuple[Rpc, Rpc]:
    """PAN, and MS of four times larger pixels that is turned about the middle of its image."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    one = (1.0,) + (0.0,) * 19

    def camera(size: float, cos: float, sin: float) -> Rpc:
        lines, samples = [0.0] * 20, [0.0] * 20
        lines[1:3], samples[1:3] = [sin, -cos], [cos, sin]
        offset, scale = 200.0 / size - 0.5, 200.0 / size
        return Rpc(offset, offset, 41.9, 15.0, 100.0, scale, scale, 0.005, 0.005, 500.0,
                   tuple(lines), one, tuple(samples), one)  # fmt: skip

    return camera(4.0, cos, sin), camera(1.0, 1.0, 0.0)


def test_a_tiny_turn_is_no_reason_to_interpolate():
    ms_rpc, pan_rpc = turned(0.04)  # 0.2 PAN pixel at the corners
    pair = sensor_pair((100, 100), ms_rpc, (400, 400), pan_rpc)
    assert pair.warp is None
    assert 0.1 < pair.residual < 0.25
    assert pair.residual_affine < 1e-6


@pytest.mark.parametrize("degrees", [3.0, 90.0, 180.0])
def test_turned_ms_is_warped_upright_by_an_exact_map(degrees):
    ms_rpc, pan_rpc = turned(degrees)
    pair = sensor_pair((100, 100), ms_rpc, (400, 400), pan_rpc)
    assert pair.warp is not None
    assert pair.warp.target == pair.ms
    assert pair.residual_affine < 1e-6
    grids = GridPair.from_grids(pair.ms, pair.pan)
    assert grids.ratio == pytest.approx((4.0, 4.0))
    # The middle of the images is one point; a corner turns about it.
    a, b, c, d, e, f = pair.warp.source[:6]
    assert (50 * a + 50 * b + c, 50 * d + 50 * e + f) == pytest.approx((200.0, 200.0))
    x, y = 100 * a + 50 * b + c, 100 * d + 50 * e + f
    angle = math.radians(degrees)
    assert (x - 200, y - 200) == pytest.approx((200 * math.cos(angle), -200 * math.sin(angle)), abs=1e-6)


def test_models_that_no_affine_map_joins_are_refused():
    bent = list(MS_RPC.line_num)
    bent[7] = 0.01  # half a MS pixel by the square of longitude
    ms_rpc = Rpc.from_dict({**MS_RPC.to_dict(), "line_num": bent})
    with pytest.raises(GridError, match=r"must agree to 0\.25 PAN pixels, got \d\.\d\d at 100 m; use geometry='ortho'"):
        sensor_pair(SHAPES[0], ms_rpc, SHAPES[1], PAN_RPC)


def test_models_of_different_scenes_are_refused():
    ms_rpc = Rpc.from_dict({**MS_RPC.to_dict(), "lat_offset": 42.9})
    with pytest.raises(GridError, match="must show the same ground, got 0 of"):
        sensor_pair(SHAPES[0], ms_rpc, SHAPES[1], PAN_RPC)


# --- sensor geometry over terrain -------------------------------------------------------------------------------------


def terrain(east, north):
    """Between 350 and 650 m."""
    return 500.0 + 150.0 * np.sin(east / 700.0) * np.cos(north / 900.0)


def misalignment(along_track: float) -> tuple[float, float]:
    """Largest distance of MS and PAN over terrain, by the cameras themselves, and what the pair says of 100 m."""
    pan = Camera(shape=(4000, 4000), pixel=0.5, off_nadir=20.0)
    ms = Camera(shape=(1000, 1000), pixel=2.0, off_nadir=20.0, along_track=along_track)
    pair = sensor_pair(ms.shape, fit_rpc(ms), pan.shape, fit_rpc(pan))
    east, north = np.meshgrid(np.linspace(-900.0, 900.0, 61), np.linspace(-900.0, 900.0, 61))
    height = terrain(east, north)
    row, col = pan.see(east, north, height)
    ms_row, ms_col = ms.see(east, north, height)
    a, b, c, d, e, f = pair.ms.transform[:6]
    off = np.hypot(a * ms_col + b * ms_row + c - col, d * ms_col + e * ms_row + f - row)
    is_inside = (row > 0) & (row < 4000) & (col > 0) & (col < 4000)
    assert is_inside.mean() > 0.9
    return float(off[is_inside].max()), pair.parallax


def test_a_bundle_stays_aligned_over_300_m_of_relief():
    """20 degrees off nadir, PAN and MS 0.5 mrad apart along the track."""
    worst, parallax = misalignment(0.5e-3)
    assert worst <= 0.25
    assert parallax == pytest.approx(0.1, abs=0.01)  # 100 m x 0.5 mrad of pixels of 0.5 m


def test_the_parallax_foretells_how_far_relief_moves_ms():
    worst, parallax = misalignment(2e-3)
    assert worst == pytest.approx(1.5 * parallax, rel=0.05)  # 150 m above and below the mean
    assert worst > 0.5


# --- map grids --------------------------------------------------------------------------------------------------------


def ortho(**changes):
    values = {"height": 100.0, "ratio": 4}
    return ortho_grids(SHAPES[0], MS_RPC, SHAPES[1], PAN_RPC, **{**values, **changes})


def test_map_grids_nest_and_have_round_pixels():
    ms, pan = ortho()
    assert ms.crs == pan.crs == UTM
    # 0.01 degree of longitude at 41.9 north on 640 columns, of latitude on 480 rows: 1.297 x 2.314 m
    assert pan.transform.a == 1.7
    assert ms.transform.a == pytest.approx(6.8)
    assert pan.shape == (4 * ms.shape[0], 4 * ms.shape[1])
    assert (pan.transform.c, pan.transform.f) == (ms.transform.c, ms.transform.f)
    assert GridPair.from_grids(ms, pan).is_nested
    for value in ms.bounds:
        assert value / ms.transform.a == pytest.approx(round(value / ms.transform.a), abs=1e-6)


def test_map_grids_surround_the_common_ground_closely():
    _, pan = ortho(resolution=1.0)
    # PAN shows 14.995 to 15.005 and 41.895 to 41.905; MS begins 1.6 columns later and ends a row earlier.
    east, north = Transformer.from_crs("EPSG:4326", UTM, always_xy=True).transform(
        [14.995 + 1.6 / 64000, 15.005] * 2, [41.905, 41.905, 41.895 + 1 / 48000, 41.895 + 1 / 48000]
    )
    left, bottom, right, top = pan.bounds
    assert 0 <= min(east) - left <= 4.5
    assert 0 <= right - max(east) <= 4.5
    assert 0 <= top - max(north) <= 4.5
    assert 0 <= min(north) - bottom <= 4.5


def test_the_ratio_is_that_of_the_ground_also_where_no_affine_map_joins_the_images():
    bent = list(MS_RPC.line_num)
    bent[7] = 0.01
    ms_rpc = Rpc.from_dict({**MS_RPC.to_dict(), "line_num": bent})
    ms, pan = ortho_grids(SHAPES[0], ms_rpc, SHAPES[1], PAN_RPC, height=100.0)
    assert GridPair.from_grids(ms, pan).ratio == pytest.approx((4.0, 4.0))


@pytest.mark.parametrize(("crs", "resolution"), [("EPSG:32634", 2.0), ("EPSG:4326", 1e-5), ("EPSG:3857", None)])
def test_crs_and_resolution_may_be_given(crs, resolution):
    ms, pan = ortho(crs=crs, resolution=resolution)
    assert pan.crs == crs
    assert resolution is None or pan.transform.a == resolution
    assert GridPair.from_grids(ms, pan).ratio == pytest.approx((4.0, 4.0))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"ratio": 3.5}, ArgumentError, "whole number, got 3.5"),
        ({"ratio": 0}, ArgumentError, "whole number, got 0"),
        ({"resolution": -1.0}, ArgumentError, "resolution must be positive, got -1.0"),
        ({"resolution": float("nan")}, ArgumentError, "resolution must be positive, got nan"),
        ({"crs": "EPSG:999999"}, GridError, "must be readable by PROJ"),
        ({"height": float("nan")}, GridError, "solvable inside its image, got no ground point at nan m"),
    ],
)
def test_impossible_map_grids_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        ortho(**changes)


def test_map_grids_of_different_scenes_are_refused():
    far = Rpc.from_dict({**MS_RPC.to_dict(), "lat_offset": 42.9})
    with pytest.raises(GridError, match=r"same ground, got PAN .* and MS .* in EPSG:32633"):
        ortho_grids(SHAPES[0], far, SHAPES[1], PAN_RPC, height=100.0, ratio=4)


def test_pixels_are_averaged_only_where_the_target_is_coarser():
    fine, coarse = (ortho(resolution=size)[1] for size in (1.7, 5.1))
    sharp = ortho_warp(SHAPES[1], PAN_RPC, fine, height=100.0)
    assert (sharp.scale, sharp.rpc, sharp.height, sharp.dem) == ((1.0, 1.0), PAN_RPC, 100.0, None)
    scale = ortho_warp(SHAPES[1], PAN_RPC, coarse, height=100.0).scale
    assert scale == pytest.approx((1 / 3, 1 / 3), rel=0.05)


def test_a_map_grid_without_crs_is_refused():
    with pytest.raises(GridError, match="must have a CRS"):
        ortho_warp(SHAPES[1], PAN_RPC, Grid((4, 4), Affine.identity()), height=100.0)


@pytest.mark.parametrize(
    ("lon", "lat", "code"),
    [
        (15.0, 41.9, 32633),
        (108.0, 21.7, 32649),
        (-71.6, -33.1, 32719),
        (116.5, 39.9, 32650),
        (180.0, 1.0, 32601),
        (-180.0, -1.0, 32701),
        (179.999, 0.0, 32660),
        (180.004, 10.0, 32601),
        (10.0, 85.0, 32661),
        (10.0, -81.0, 32761),
    ],
)
def test_utm_zones(lon, lat, code):
    assert utm_zone(lon, lat) == f"EPSG:{code}"


# --- another CRS ------------------------------------------------------------------------------------------------------


def north_up(shape, pixel, x, y, crs) -> Grid:
    return Grid(shape, Affine(pixel, 0.0, x, 0.0, -pixel, y), crs)


def test_ms_of_the_neighbouring_zone_comes_onto_pan_pixels():
    pan = north_up((256, 256), 0.5, 250000.0, 4640000.0, UTM)  # three degrees west of the middle of its zone
    x, y = Transformer.from_crs(UTM, "EPSG:32632", always_xy=True).transform(250000.0, 4640000.0)
    ms = north_up((80, 80), 2.0, x - 20.0, y + 20.0, "EPSG:32632")
    warp = reproject_warp(ms, pan)
    grids = GridPair.from_grids(warp.target, pan)
    assert grids.ratio == (4.0, 4.0)
    assert grids.is_nested
    assert grids.overlap == (0, 256, 0, 256)
    assert (warp.source, warp.crs, warp.rpc) == (ms.transform, "EPSG:32632", None)


def test_a_ratio_that_is_not_whole_is_kept():
    pan = north_up((300, 300), 1.0, 500000.0, 4640000.0, UTM)
    ms = north_up((120, 120), 2.5, 500000.0, 4640000.0, "EPSG:32634")
    x, y = Transformer.from_crs(UTM, "EPSG:32634", always_xy=True).transform(500000.0, 4640000.0)
    moved = north_up(ms.shape, 2.5, x, y, "EPSG:32634")
    ratio = GridPair.from_grids(reproject_warp(moved, pan).target, pan).ratio
    assert ratio[0] == ratio[1] == pytest.approx(2.5, rel=0.01)


def test_ms_elsewhere_is_refused():
    pan = north_up((256, 256), 0.5, 250000.0, 4640000.0, UTM)
    with pytest.raises(GridError, match=r"PAN and MS must overlap, got rows .* and columns .* of MS in pixels of PAN"):
        reproject_warp(north_up((80, 80), 2.0, 250000.0, 4640000.0, "EPSG:32632"), pan)
    with pytest.raises(GridError, match="must have CRS to be brought together"):
        reproject_warp(Grid((8, 8), pan.transform), pan)


def test_the_cameras_of_these_tests_are_met_by_their_rpc():
    camera = Camera(shape=(256, 256), pixel=4.0, off_nadir=20.0, heading=25.0)
    rng = np.random.default_rng(1)
    east, north, height = rng.uniform((-600.0, -600.0, 350.0), (600.0, 600.0, 650.0), (200, 3)).T
    lon, lat = local_metres.to_degrees(east, north)
    np.testing.assert_allclose(fit_rpc(camera).project(lon, lat, height), camera.see(east, north, height), atol=0.005)
