"""Grids: exact ratio and phase, overlap, CRS that mean the same, refusals. Expected numbers are worked out by hand."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from fractions import Fraction

import pytest
from affine import Affine
from hypothesis import assume, given
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from ship_geo.errors import ArgumentError, GridError
from ship_geo.grids import Grid, GridPair, is_same_crs

UTM = "EPSG:32633"


def north_up(shape: tuple[int, int], pixel: float, x: float = 500000.0, y: float = 4640000.0, crs: str = UTM) -> Grid:
    return Grid(shape, Affine(pixel, 0.0, x, 0.0, -pixel, y), crs)


def pair_4_0004() -> GridPair:
    return GridPair.from_grids(ms=north_up((240, 250), 2.0002, 500003.25, 4639994.75), pan=north_up((1024, 1024), 0.5))


def rotated(grid: Grid, degrees: float) -> Grid:
    """Turn a grid about the map origin (written out: affine 2 and 3 spell the product differently)."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    a, b, c, d, e, f = grid.transform[:6]
    upper = (cos * a - sin * d, cos * b - sin * e, cos * c - sin * f)
    lower = (sin * a + cos * d, sin * b + cos * e, sin * c + cos * f)
    return Grid(grid.shape, Affine(*upper, *lower), grid.crs)


def local_pair(
    ratio: tuple[float, float], phase: tuple[float, float], n_ms: tuple[int, int], n_pan: tuple[int, int]
) -> GridPair:
    """Make a pair whose PAN pixel is the map unit, so ratio and phase stand in the MS transform as they are."""
    ms = Grid(n_ms, Affine(ratio[1], 0.0, phase[1], 0.0, ratio[0], phase[0]))
    return GridPair(ms, Grid(n_pan, Affine.identity()))


# --- one grid ---------------------------------------------------------------------------------------------------------


def test_bounds_and_resolution_of_a_north_up_grid() -> None:
    grid = north_up((3, 4), 0.5)
    assert grid.bounds == (500000.0, 4639998.5, 500002.0, 4640000.0)
    assert grid.resolution == (0.5, 0.5)


def test_resolution_is_row_then_column_and_survives_rotation() -> None:
    grid = rotated(Grid((10, 10), Affine(2.0, 0.0, 100.0, 0.0, -3.0, 200.0)), 30.0)
    assert grid.resolution == pytest.approx((3.0, 2.0))


@given(degrees=st.floats(-180, 180), n_row=st.integers(1, 50), n_col=st.integers(1, 50))
def test_bounds_agree_with_odc_geo_for_any_rotation(degrees: float, n_row: int, n_col: int) -> None:
    grid = rotated(north_up((n_row, n_col), 0.5, 10.0, 20.0), degrees)
    assert grid.bounds == pytest.approx(grid.geobox.boundingbox.bbox, abs=1e-9)


def test_geobox_carries_shape_transform_and_crs() -> None:
    geobox = north_up((3, 4), 0.5).geobox
    assert (geobox.shape.yx, geobox.affine, geobox.crs) == ((3, 4), Affine(0.5, 0, 5e5, 0, -0.5, 4.64e6), UTM)


@given(row0=st.integers(0, 20), col0=st.integers(0, 20), inner=st.integers(0, 10), size=st.integers(1, 10))
def test_crop_of_a_crop_is_one_crop(row0: int, col0: int, inner: int, size: int) -> None:
    grid = north_up((50, 50), 0.5)
    twice = grid.crop(row0, row0 + 30, col0, col0 + 30).crop(inner, inner + size, inner, inner + size)
    assert twice == grid.crop(row0 + inner, row0 + inner + size, col0 + inner, col0 + inner + size)


def test_crop_may_exceed_the_grid_and_keeps_pixel_places() -> None:
    assert north_up((4, 4), 2.0).crop(-1, 5, -2, 4).bounds == (499996.0, 4639990.0, 500008.0, 4640002.0)


def test_empty_crop_is_refused() -> None:
    with pytest.raises(GridError, match="at least one row and one column"):
        north_up((4, 4), 2.0).crop(2, 2, 0, 4)


@pytest.mark.parametrize("bad", [Affine(0, 0, 1, 0, -1, 1), Affine(math.nan, 0, 1, 0, -1, 1), Affine(1, 1, 0, 1, 1, 0)])
def test_transform_that_cannot_be_inverted_is_refused(bad: Affine) -> None:
    with pytest.raises(GridError, match="finite and invertible"):
        Grid((2, 2), bad)


def test_grids_are_values() -> None:
    grid = north_up((3, 4), 0.5)
    same = north_up((3, 4), 0.5, crs=CRS(UTM).to_wkt())
    assert grid == same
    assert len({grid, same}) == 1
    assert pickle.loads(pickle.dumps(grid)) == grid
    assert grid != north_up((4, 3), 0.5)
    assert grid != north_up((3, 4), 0.25)
    assert grid != north_up((3, 4), 0.5, crs="EPSG:32634")
    assert grid != "grid"


# --- CRS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [32633, 32719, 4326, 3857, 27700, 2056])
@pytest.mark.parametrize("version", ["WKT1_GDAL", "WKT1_ESRI", "WKT2_2019"])
def test_crs_is_the_same_in_every_spelling(code: int, version: str) -> None:
    assert is_same_crs(f"EPSG:{code}", CRS(code).to_wkt(version))


def test_crs_with_heights_is_the_same_on_the_ground() -> None:
    assert is_same_crs("EPSG:32633+5773", UTM)


@pytest.mark.parametrize(("left", "right"), [(UTM, "EPSG:32634"), (UTM, "EPSG:25833"), (UTM, None), (None, UTM)])
def test_crs_that_differ_are_told_apart(left: str | None, right: str | None) -> None:
    assert not is_same_crs(left, right)


def test_unreadable_crs_is_named() -> None:
    with pytest.raises(GridError, match="got 'Utopia'; pass an EPSG code or WKT"):
        is_same_crs("Utopia", UTM)


# --- pairs with known numbers -----------------------------------------------------------------------------------------


def test_ratio_4_0004_with_offset_corner_gives_the_expected_output() -> None:
    pair = pair_4_0004()
    assert pair.ratio == (4.0004, 4.0004)
    assert pair.phase == (10.5, 6.5)
    assert pair.overlap == (11, 970, 7, 1006)  # rows 11-969, columns 7-1005
    assert pair.output == north_up((959, 999), 0.5, 500003.5, 4639994.5)
    assert pair.output_phase == (-0.5, -0.5)
    assert not pair.is_nested


def test_counts_that_do_not_divide_leave_the_ratio_at_four() -> None:
    pair = GridPair.from_grids(ms=north_up((256, 256), 2.0), pan=north_up((1027, 1027), 0.5))
    assert pair.ratio == (4.0, 4.0)
    assert pair.output.shape == (1024, 1024)
    assert pair.is_nested


def test_landsat_shares_pixel_centres_so_phase_is_minus_half() -> None:
    pair = GridPair.from_grids(
        ms=north_up((51, 61), 30.0, 389985.0, 5689215.0), pan=north_up((101, 121), 15.0, 389992.5, 5689207.5)
    )
    assert pair.ratio == (2.0, 2.0)
    assert pair.phase == (-0.5, -0.5)
    assert pair.overlap == (0, 101, 0, 121)
    assert pair.output == pair.pan
    assert not pair.is_nested


def test_landsat_cropped_the_other_way_has_phase_plus_half() -> None:
    pair = GridPair.from_grids(
        ms=north_up((334, 468), 30.0, 543975.0, 1378995.0), pan=north_up((668, 935), 15.0, 543982.5, 1379002.5)
    )
    assert pair.phase == (0.5, -0.5)
    assert pair.overlap == (1, 668, 0, 935)


def test_reprojected_landsat_keeps_a_ratio_below_two() -> None:
    pair = GridPair.from_grids(ms=north_up((169, 186), 29.91), pan=north_up((337, 371), 14.99))
    assert pair.ratio == (29.91 / 14.99, 29.91 / 14.99)
    assert pair.ratio[0] == pytest.approx(1.995, abs=5e-4)
    assert pair.output == pair.pan


def test_rows_and_columns_have_their_own_ratio() -> None:
    ms = Grid((169, 186), Affine(29.90640459139769, 0, 703986.502389, 0, -29.883120236686878, 4254601.8671), UTM)
    pan = Grid((337, 371), Affine(14.993507423180512, 0, 703986.502389, 0, -14.985897091988372, 4254601.8671), UTM)
    pair = GridPair.from_grids(ms, pan)
    assert pair.ratio == (29.883120236686878 / 14.985897091988372, 29.90640459139769 / 14.993507423180512)
    assert pair.phase == (0.0, 0.0)


@pytest.mark.parametrize("offset", [-4e-7, 0.0, 4e-7])
def test_float_noise_at_an_edge_costs_no_pixel(offset: float) -> None:
    pair = local_pair((4.0, 4.0), (offset, offset), (8, 8), (32, 32))
    assert pair.overlap == (0, 32, 0, 32)
    assert pair.ms_from_pan((4, 8), (0, 32)) == ((1, 2), (0, 8))
    assert pair.is_nested


def test_geographic_pair_of_a_nested_bundle_loses_no_row() -> None:
    pan = Grid((4000, 4000), Affine(4.5e-6, 0.0, 15.123456789, 0.0, -4.5e-6, 41.987654321), "EPSG:4326")
    ms = Grid((1000, 1000), Affine(1.8e-5, 0.0, 15.123456789, 0.0, -1.8e-5, 41.987654321), "EPSG:4326")
    assert GridPair.from_grids(ms, pan).overlap == (0, 4000, 0, 4000)


def test_pair_rotated_as_a_whole_keeps_ratio_and_phase() -> None:
    flat = pair_4_0004()
    pair = GridPair.from_grids(rotated(flat.ms, 12.0), rotated(flat.pan, 12.0))
    assert pair.ratio == pytest.approx(flat.ratio, rel=1e-12)
    assert pair.phase == pytest.approx(flat.phase, abs=1e-6)
    assert pair.overlap == flat.overlap


def test_south_up_pair_is_accepted() -> None:
    ms = Grid((8, 8), Affine(2, 0, 0, 0, 2, 0), UTM)
    assert GridPair.from_grids(ms, Grid((32, 32), Affine(0.5, 0, 0, 0, 0.5, 0), UTM)).overlap == (0, 32, 0, 32)


def test_pair_of_single_pixels() -> None:
    pair = GridPair.from_grids(north_up((1, 1), 2.0), north_up((1, 1), 0.5))
    assert pair.output == pair.pan


def test_pair_without_crs_is_accepted() -> None:
    assert local_pair((4.0, 4.0), (0.0, 0.0), (2, 2), (8, 8)).output.crs is None


# --- properties -------------------------------------------------------------------------------------------------------

ratios = st.floats(1.5, 8.0)
phases = st.floats(-40.0, 40.0)
counts = st.integers(1, 60)


@given(ratio=st.tuples(ratios, ratios), phase=st.tuples(phases, phases))
def test_ratio_and_phase_are_exact(ratio: tuple[float, float], phase: tuple[float, float]) -> None:
    pair = local_pair(ratio, phase, (5, 5), (20, 20))
    assert (pair.ratio, pair.phase) == (ratio, phase)


@given(ratio=ratios, phase=phases, n_ms=counts, n_pan=st.integers(1, 300))
def test_overlap_is_exactly_the_pan_pixels_inside_ms(ratio: float, phase: float, n_ms: int, n_pan: int) -> None:
    low, high = Fraction(phase), Fraction(phase) + Fraction(ratio) * n_ms
    noise = Fraction(1, 10**6)
    assume(all(abs(abs(edge - round(edge)) - noise) > noise / 1000 for edge in (low, high)))
    inside = [pixel for pixel in range(n_pan) if pixel >= low - noise and pixel + 1 <= high + noise]
    pair = local_pair((ratio, ratio), (phase, phase), (n_ms, n_ms), (n_pan, n_pan))
    if inside:
        row0, row1, col0, col1 = pair.overlap
        assert list(range(row0, row1)) == list(range(col0, col1)) == inside
        assert pair.output_phase == pytest.approx((phase - inside[0],) * 2)
    else:
        with pytest.raises(GridError, match="must overlap"):
            _ = pair.overlap


@given(ratio=ratios, phase=phases, start=st.integers(-50, 100), size=st.integers(1, 50), margin=st.integers(0, 4))
def test_ms_from_pan_covers_the_block_and_nothing_more(
    ratio: float, phase: float, start: int, size: int, margin: int
) -> None:
    pair = local_pair((ratio, 4.0), (phase, 0.0), (60, 60), (200, 200))
    assume(phase + ratio * 60 > max(phase, 0) + 2)
    origin, noise = pair.overlap[0], 2e-6
    (first, last), cols = pair.ms_from_pan((start, start + size), (0, 4), margin)
    first, last = first + margin, last - margin
    edges = [phase - origin + ratio * k for k in (first, first + 1, last - 1, last)]
    assert edges[0] <= start + noise
    assert edges[1] > start - noise
    assert edges[2] < start + size + noise
    assert edges[3] >= start + size - noise
    assert cols == (-margin, 1 + margin)


def test_ms_from_pan_is_relative_to_the_output_corner() -> None:
    pair = GridPair.from_grids(ms=north_up((8, 8), 2.0, 500008.0), pan=north_up((64, 64), 0.5))
    assert pair.overlap == (0, 32, 16, 48)
    assert pair.ms_from_pan((0, 4), (0, 4)) == ((0, 1), (0, 1))
    assert pair.ms_from_pan((3, 5), (-1, 33), margin=2) == ((-2, 4), (-3, 11))


def test_ms_from_pan_refuses_an_empty_block() -> None:
    with pytest.raises(ArgumentError, match="not be empty"):
        pair_4_0004().ms_from_pan((3, 3), (0, 4))


# --- refusals ---------------------------------------------------------------------------------------------------------

PAN = north_up((1027, 1027), 0.5)
MS = north_up((256, 256), 2.0)


def test_pair_ten_kilometres_apart_is_refused_with_both_footprints() -> None:
    with pytest.raises(GridError) as error:
        GridPair.from_grids(north_up((256, 256), 2.0, 510000.0), PAN)
    text = str(error.value)
    assert "PAN (500000, 4639486.5, 500513.5, 4640000)" in text
    assert "MS (510000, 4639488, 510512, 4640000)" in text
    assert "EPSG:32633" in text


def test_wrong_zone_label_is_refused_as_no_overlap_and_names_the_label() -> None:
    with pytest.raises(GridError, match=r"must overlap.* in EPSG:32633; MS is labelled EPSG:32634, perhaps wrongly"):
        GridPair.from_grids(north_up((256, 256), 2.0, crs="EPSG:32634"), PAN)


def test_other_crs_over_the_same_ground_asks_for_reprojection() -> None:
    west, south, east, north = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform_bounds(*PAN.bounds)
    ms = Grid((256, 256), Affine((east - west) / 256, 0, west, 0, (south - north) / 256, north), "EPSG:4326")
    with pytest.raises(GridError, match="same CRS, got EPSG:32633 for PAN and EPSG:4326 for MS; reproject MS"):
        GridPair.from_grids(ms, PAN)


def test_missing_crs_on_one_side_is_refused() -> None:
    with pytest.raises(GridError, match="got no CRS for PAN beside EPSG:32633"):
        GridPair.from_grids(MS, Grid(PAN.shape, PAN.transform, None))
    with pytest.raises(GridError, match="got no CRS for MS beside EPSG:32633"):
        GridPair.from_grids(Grid(MS.shape, MS.transform, None), PAN)


def test_wkt_beside_epsg_is_one_crs() -> None:
    assert GridPair.from_grids(Grid(MS.shape, MS.transform, CRS(UTM).to_wkt("WKT1_GDAL")), PAN).ratio == (4.0, 4.0)


def test_long_wkt_is_named_by_its_code_in_errors() -> None:
    with pytest.raises(GridError, match="labelled EPSG:32634"):
        GridPair.from_grids(north_up((256, 256), 2.0, crs=CRS("EPSG:32634").to_wkt()), PAN)


@pytest.mark.parametrize(
    "ms",
    [
        Grid((8, 8), Affine(2, 0.2, 5e5, -0.2, -2, 4.64e6), UTM),
        Grid((8, 8), Affine(2, 0, 5e5, 0, 2, 4.64e6 - 16), UTM),
        Grid((8, 8), Affine(-2, 0, 5e5 + 16, 0, -2, 4.64e6), UTM),
    ],
    ids=["rotated", "flipped", "mirrored"],
)
def test_axes_that_run_differently_are_refused(ms: Grid) -> None:
    with pytest.raises(GridError, match="parallel axes"):
        GridPair.from_grids(ms, PAN)


def test_swapped_pair_is_refused() -> None:
    with pytest.raises(GridError, match=r"PAN must be finer than MS, got ratio \(0.25, 0.25\); .* swapped"):
        GridPair.from_grids(PAN, MS)


@pytest.mark.parametrize("pixel", [0.5, 0.7, 4.1])
def test_ratio_outside_the_accepted_range_is_refused(pixel: float) -> None:
    with pytest.raises(GridError, match=r"from 1.5 to 8.0, got ratio .* native resolution"):
        GridPair.from_grids(north_up((100, 100), pixel), PAN)


@pytest.mark.parametrize("pixel", [0.75, 4.0])
def test_ends_of_the_ratio_range_are_accepted(pixel: float) -> None:
    assert GridPair.from_grids(north_up((100, 100), pixel), PAN).ratio == (pixel / 0.5,) * 2


def test_importing_grids_loads_no_geography_library() -> None:
    heavy = ("odc.geo", "pyproj", "dask", "rasterio", "torch", "numpy")
    code = f"import sys, ship_geo.grids; sys.exit(' '.join(name for name in {heavy} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stderr.strip() == ""
