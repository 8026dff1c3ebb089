from __future__ import annotations

import numpy as np
import pytest
from deliveries import generic
from deliveries.pixels import formula

from ship_geo.errors import ArgumentError, GridError, ProductError
from ship_geo.grids import Grid
from ship_geo.products.layers import Layer, open_ms
from ship_geo.products.stacks import centre_lattice
from ship_geo.raster import inspect
from ship_geo.scene import open_scene


def corner(grid):
    return grid.transform.c, grid.transform.f


def read_all(layer):
    with layer.open() as reader:
        return reader.read(0, layer.grid.shape[0], 0, layer.grid.shape[1])


def smooth(kind, n_band, n_row, n_col):
    """Values that change by up to 60 from pixel to pixel, and their second differences are small."""
    del kind
    band, row, col = np.ogrid[:n_band, :n_row, :n_col]
    return np.rint(900 + 300 * np.sin(row / 5 + band) + 200 * np.cos(col / 4)).astype(np.uint16)


# Pairs ---------------------------------------------------------------------------------------------------------------


def test_pair_whose_ratio_is_no_integer(tmp_path):
    scene = open_scene(generic.pair_4_0004(tmp_path))
    assert scene.pair.ratio == pytest.approx((4.0004, 4.0004), abs=1e-9)
    assert scene.pair.phase == pytest.approx((10.5, 6.5), abs=1e-6)
    assert scene.pair.overlap == (11, 970, 7, 1006)
    assert scene.pair.output.shape == (959, 999)
    assert corner(scene.pair.output) == pytest.approx((500003.5, 4639994.5), abs=5e-7)
    assert (scene.ms.roles, scene.sensor.name) == (generic.NAMES, "generic")


def test_ratio_comes_from_pixel_sizes_not_from_counts(tmp_path):
    scene = open_scene(generic.pair_counts(tmp_path))
    assert (scene.pair.ratio, scene.pair.phase) == ((4, 4), (0, 0))
    assert scene.pair.output.shape == (1024, 1024)
    assert corner(scene.pair.output) == (500000, 4640000)


def test_pair_may_be_passed_in_any_form(tmp_path):
    folder = generic.pair_4_0004(tmp_path)
    ms, pan = folder / "ms.tif", folder / "pan.tif"
    scenes = [open_scene(folder), open_scene(ms), open_scene(pan), open_scene(ms=ms, pan=pan)]
    assert all(scene == scenes[0] for scene in scenes)


def test_alpha_of_rgba_is_a_mask_and_no_band(tmp_path):
    scene = open_scene(generic.pair_rgba(tmp_path))
    assert scene.ms.roles == ("red", "green", "blue")
    values, valid = read_all(scene.ms)
    assert np.array_equal(values[:, :, 4:], formula(3, 16, 20, modulus=250, dtype="uint8")[:, :, 4:])
    assert np.array_equal(valid, np.broadcast_to(np.arange(20) >= 4, valid.shape))


@pytest.mark.parametrize(
    ("dtype", "value", "is_tagged"),
    [
        ("uint16", 0, False),
        ("uint8", 0, False),
        ("int16", -32768, True),
        ("uint16", 256, True),
        ("float32", -3.4e38, True),
        ("float32", -3.4028234663852886e38, True),
        ("float64", -1.7e308, True),
        ("float32", np.nan, True),
        ("float32", np.nan, False),
    ],
)
def test_every_form_of_nodata_is_found(tmp_path, dtype, value, is_tagged):
    scene = open_scene(generic.pair_nodata(tmp_path, dtype, value, is_tagged=is_tagged))
    for layer, n_edge in ((scene.ms, 4), (scene.pan, 16)):
        _, valid = read_all(layer)
        assert np.array_equal(valid, np.broadcast_to(np.arange(valid.shape[2]) >= n_edge, valid.shape))


def test_internal_masks_are_kept(tmp_path):
    scene = open_scene(generic.pair_mask(tmp_path))
    assert (scene.ms.mask, scene.pan.mask, scene.ms.nodata) == (True, True, None)
    for layer, n_edge in ((scene.ms, 4), (scene.pan, 16)):
        _, valid = read_all(layer)
        assert np.array_equal(valid, np.broadcast_to(np.arange(valid.shape[2]) >= n_edge, valid.shape))


# Stacks --------------------------------------------------------------------------------------------------------------


def test_replicated_stack_gives_back_its_ms(tmp_path):
    scene = open_scene(generic.stack_rep(tmp_path))
    assert (scene.ms.grid.shape, scene.ms.grid.resolution) == ((64, 64), (2, 2))
    assert (scene.pair.ratio, scene.pair.phase, scene.pair.output.shape) == ((4, 4), (0, 0), (256, 256))
    assert np.array_equal(read_all(scene.ms)[0], formula(4, 64, 64))
    assert np.array_equal(read_all(scene.pan)[0], formula(1, 256, 256))


def test_interpolated_stack_is_refused(tmp_path):
    with pytest.raises(GridError, match=r"ratio must be from 1.5 to 8.*native resolution"):
        open_scene(generic.stack_interp(tmp_path))


@pytest.mark.parametrize("ratio", [2, 3, 4, 5, 8])
def test_interpolated_stack_is_read_at_its_stated_ratio(tmp_path, ratio):
    info = inspect(generic.stack_interp(tmp_path, ratio=ratio, n=32, pixels=smooth))
    layer, notes = open_ms([info], pan_band=1, ratio=ratio)
    assert (layer.grid.shape, layer.grid.resolution) == ((32, 32), (ratio / 2, ratio / 2))
    assert corner(layer.grid) == (500000, 4640000)
    assert any(f"MS was interpolated at ratio {ratio}" in note for note in notes)
    values, valid = read_all(layer)
    truth = smooth("ms", 4, 32, 32).astype(float)
    # The documented error: second differences of both axes by 4 x ratio, none for odd ratios; and rounding.
    padded = np.pad(truth, ((0, 0), (1, 1), (1, 1)), mode="edge")
    bend = [np.abs(np.diff(padded, 2, axis=axis)).max() for axis in (1, 2)]
    allowed = 0.5 if ratio % 2 else sum(bend) / (4 * ratio) + 1
    assert np.abs(values - truth).max() <= allowed
    assert valid.all()


def test_values_of_interpolated_ms_do_not_depend_on_the_block(tmp_path):
    info = inspect(generic.stack_interp(tmp_path, n=16))
    layer, _ = open_ms([info], pan_band=1, ratio=4)
    whole, _ = read_all(layer)
    with layer.open() as reader:
        part, valid = reader.read(5, 18, -2, 7)
    assert np.array_equal(part[:, :11, 2:], whole[:, 5:16, :7])
    assert valid[:, :11, 2:].all()
    assert not valid[:, 11:].any()


def test_mean_of_pixels_is_valid_where_all_of_them_are(tmp_path):
    ms = generic.interpolate(formula(4, 16, 16), 4)
    ms[:, 21, 26] = 0  # one of the four pixels around the centre of MS pixel (5, 6)
    ms[:, 8, 8] = 0  # none of those that are read
    ms[:, :4] = 0
    layer, _ = open_ms([inspect(generic.stack(tmp_path, np.rint(ms)))], pan_band=1, ratio=4)
    assert layer.nodata == 0
    _, valid = read_all(layer)
    assert np.argwhere(~valid[0]).tolist() == [[0, col] for col in range(16)] + [[5, 6]]


def test_layer_of_stated_ratio_travels_as_plain_values(tmp_path):
    layer, _ = open_ms([inspect(generic.stack_interp(tmp_path, n=16))], pan_band=1, ratio=4)
    assert Layer.from_dict(layer.to_dict()) == layer


def test_stated_ratio_of_ms_in_a_file_of_its_own(tmp_path):
    ms = np.rint(generic.interpolate(smooth("ms", 4, 16, 16), 3)).astype(np.uint16)
    generic.pair(
        tmp_path, (48, 48), (48, 48), ms_size=0.5, pixels=lambda kind, *shape: ms if kind == "ms" else formula(*shape)
    )
    info, pan = inspect(tmp_path / "ms.tif"), inspect(tmp_path / "pan.tif")
    layer, _ = open_ms([info], ratio=3, pan=pan.grid)
    assert np.array_equal(read_all(layer)[0], smooth("ms", 4, 16, 16))
    coarser = Grid(pan.grid.shape, pan.grid.transform @ pan.grid.transform.scale(0.25), pan.grid.crs)
    for grid in (coarser, None):
        with pytest.raises(ArgumentError, match=r"`ratio` is for MS on the PAN grid, got pixels of 0.5 \(MS\) and"):
            open_ms([info], ratio=3, pan=grid)


def test_stated_ratio_must_be_that_of_replicated_pixels(tmp_path):
    info = inspect(generic.stack_rep(tmp_path))
    assert open_ms([info], pan_band=1, ratio=4)[0] == open_ms([info], pan_band=1)[0]
    with pytest.raises(ArgumentError, match=r"got 2 for .*stack.tif, whose pixels are replicated in blocks of 4 x 4"):
        open_ms([info], pan_band=1, ratio=2)


@pytest.mark.parametrize("ratio", [0, 1, 9, 2.5, -4, True])
def test_stated_ratio_must_be_possible(ratio):
    with pytest.raises(ArgumentError, match="must be an integer from 2 to 8, got"):
        centre_lattice(ratio)


# Malformed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.9, 0.5, 0.02])
def test_truncated_pan_is_refused_with_both_sizes(tmp_path, share):
    folder = generic.bad_truncated(tmp_path, share)
    present = (folder / "pan.tif").stat().st_size
    with pytest.raises(ProductError, match=rf"got {present} of at least \d+ bytes in .*pan.tif; it is truncated: copy"):
        open_scene(folder)


def test_wrong_crs_is_refused_with_both_footprints(tmp_path):
    with pytest.raises(
        GridError, match=r"must overlap .*, got PAN \(500000, .* and MS \(.*EPSG:32634, perhaps wrongly"
    ):
        open_scene(generic.bad_crs(tmp_path))


def test_pan_without_crs_is_refused(tmp_path):
    with pytest.raises(GridError, match=r"got no CRS for PAN beside EPSG:32633; write the CRS of PAN"):
        open_scene(generic.bad_crs_none(tmp_path))


def test_pair_without_overlap_is_refused_with_both_footprints(tmp_path):
    with pytest.raises(
        GridError, match=r"got PAN \(500000, 4639486.5, 500513.5, 4640000\) and MS \(510000, 4639488, 510512, 4640000\)"
    ):
        open_scene(generic.bad_overlap(tmp_path))


def test_empty_pan_is_refused(tmp_path):
    with pytest.raises(ProductError, match=r"got the empty file .*pan.tif; copy or download it again"):
        open_scene(generic.bad_empty(tmp_path))


def test_vrt_in_the_place_of_pan_is_refused_and_not_followed(tmp_path):
    with pytest.raises(ProductError, match=r"got VRT text, which names other files, in .*pan.tif"):
        open_scene(generic.bad_vrt(tmp_path))


def test_pan_without_crs_is_taken_to_lie_on_ms_when_told_so(tmp_path):
    scene = open_scene(generic.bad_crs_none(tmp_path), assume_aligned=True)
    assert (scene.pair.output.crs, scene.pair.output.shape) == ("EPSG:32633", (1024, 1024))
    assert corner(scene.pair.output) == (500000, 4640000)
