from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from torchgeo.datasets import GeoDataset, stack_samples

from ship_geo.data.dataset import ScenePairDataset, SceneQuery, block_of, collate_pairs
from ship_geo.errors import ArgumentError, GridError, ProductError
from ship_geo.grids import Grid
from ship_geo.products.product import Acquisition
from ship_geo.scene import Scene, open_scene

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import replace
from dataclasses import replace
from pathlib import Path

EAST, NORTH = 500000.0, 5200000.0


@pytest.fixture
def pair(raster) -> Callable[..., Path]:
    """Write a pair whose values all differ, PAN corner at (EAST, NORTH), and return the path of PAN."""

    def write(
        name: str = "a",
        *,
        ratio: float = 4,
        offset: float = 0,
        east: float = EAST,
        crs: str | None = "EPSG:32633",
        shape: tuple[int, int] = (6, 8),
        pan_size: float = 0.5,
        pan_shape: tuple[int, int] | None = None,
    ) -> Path:
        n_row, n_col = shape
        size = ratio * pan_size
        ms = np.arange(3 * n_row * n_col).reshape(3, n_row, n_col) + 1
        ms_transform = Affine(size, 0, east + offset * pan_size, 0, -size, NORTH - offset * pan_size)
        raster(f"{name}_MS.tif", ms.astype(np.uint16), ms_transform, crs)
        pan_rows, pan_cols = pan_shape or (round(n_row * ratio), round(n_col * ratio))
        pan = np.arange(pan_rows * pan_cols).reshape(1, pan_rows, pan_cols) + 1
        return raster(f"{name}_PAN.tif", pan.astype(np.uint16), Affine(pan_size, 0, east, 0, -pan_size, NORTH), crs)

    return write


def read_all(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read()


def ms_path(pan: Path) -> Path:
    return pan.with_name(pan.name.replace("PAN", "MS"))


def test_ms_of_a_sample_is_the_pixels_of_the_file(pair):
    pan = pair()
    dataset = ScenePairDataset(pan, margin=0)
    sample = dataset[dataset.query(0, (4, 12, 8, 24))]
    np.testing.assert_array_equal(sample["ms"], read_all(ms_path(pan))[:, 1:3, 2:6])
    np.testing.assert_array_equal(sample["pan"], read_all(pan)[:, 4:12, 8:24])
    assert sample["ms"].dtype == sample["pan"].dtype == torch.float32
    assert sample["mask"].all()
    assert sample["mask"].shape == (8, 16)
    assert sample["ms_mask"].shape == (2, 4)


@pytest.mark.parametrize(("ratio", "offset"), [(4, 0), (2, -0.5), (2, 0.5), (1.994, -0.37), (4.0004, 0.2)])
def test_phase_and_transform_put_ms_where_the_file_puts_it(pair, ratio, offset):
    pan = pair(ratio=ratio, offset=offset, shape=(20, 30))
    dataset = ScenePairDataset(pan, margin=2)
    sample = dataset[dataset.query(0, (11, 24, 13, 30))]
    row, col = np.argwhere(read_all(ms_path(pan))[0] == int(sample["ms"][0, 0, 0]))[0]
    a, _, c, _, e, f = sample["transform"][:6].tolist()
    phase_row, phase_col = sample["phase"].tolist()
    with rasterio.open(ms_path(pan)) as source:
        left, top = source.transform.c + source.transform.a * col, source.transform.f + source.transform.e * row
    assert (c + a * phase_col, f + e * phase_row) == pytest.approx((left, top), abs=1e-6)
    assert int(sample["pan"][0, 0, 0]) == read_all(pan)[0, round((f - NORTH) / e), round((c - EAST) / a)]
    assert sample["ratio"].tolist() == pytest.approx([ratio, ratio], rel=1e-9)


def test_outside_the_scene_is_zero_and_masked(pair):
    pan = pair()
    sample = (dataset := ScenePairDataset(pan))[dataset.query(0, (-4, 8, 28, 40))]
    expected = np.zeros((12, 12), bool)
    expected[4:, :4] = True
    np.testing.assert_array_equal(sample["mask"], expected)
    np.testing.assert_array_equal(sample["pan"][0] > 0, expected)
    np.testing.assert_array_equal(sample["ms"][0] > 0, sample["ms_mask"])
    assert sample["pan_start"].tolist() == [-4, 28]


GRIDS = {
    "wv2 in utm": Grid((4000, 4000), Affine(0.3, 0, 699999.7, 0, -0.3, 5999999.9)),
    "landsat": Grid((15000, 15000), Affine(15, 0, 483592.5, 0, -15, 4204807.5)),
    "degrees": Grid((9000, 9000), Affine(2.7e-6, 0, 139.7, 0, -2.7e-6, -35.6)),
    "odd ratio": Grid((500, 500), Affine(30 / 1.994, 0, 500000.123, 0, -30 / 1.994, 4000000.456)),
    "pixels": Grid((300, 200), Affine(1, 0, 0, 0, 1, 0)),
    "rotated": Grid((300, 200), Affine(0.4, 0.3, 600000, 0.3, -0.4, 5000000)),
    "turned by 90": Grid((300, 200), Affine(0, 0.5, 600000, 0.5, 0, 5000000)),
}


@given(
    name=st.sampled_from(sorted(GRIDS)),
    start=st.tuples(st.integers(-600, 15000), st.integers(-600, 15000)),
    size=st.tuples(st.integers(1, 1200), st.integers(1, 1200)),
)
def test_block_survives_the_way_over_the_map(name, start, size):
    block = (start[0], start[0] + size[0], start[1], start[1] + size[1])
    left, bottom, right, top = GRIDS[name].crop(*block).bounds
    assert block_of(GRIDS[name], slice(left, right), slice(bottom, top)) == block


@given(shift=st.floats(-50, 50), size=st.floats(1, 40))
def test_equal_queries_have_equal_sizes_wherever_they_lie(shift, size):
    def shape(x: float) -> tuple[int, int]:
        row0, row1, col0, col1 = block_of(GRIDS["pixels"], slice(x, x + size), slice(x, x + size))
        return row1 - row0, col1 - col0

    assert abs(shape(shift)[0] - size) <= 0.5 + 1e-9
    assert shape(round(shift)) == shape(0)


def test_query_smaller_than_a_pixel_is_refused(pair):
    dataset = ScenePairDataset(pair())
    with pytest.raises(ArgumentError, match="must cover a PAN pixel, got 0"):
        dataset[EAST + 1 : EAST + 1.1, NORTH - 1.1 : NORTH - 1]


def test_plain_slices_without_time_read_the_same_window(pair):
    dataset = ScenePairDataset(pair())
    exact = dataset[dataset.query(0, (4, 12, 8, 24))]
    plain = dataset[EAST + 4 : EAST + 12, NORTH - 6 : NORTH - 2]
    for name in ("ms", "pan", "mask", "ms_mask", "phase", "pan_start", "bounds", "transform"):
        assert torch.equal(exact[name], plain[name]), name


def test_whole_footprint_is_the_whole_output(pair):
    dataset = ScenePairDataset(pair())
    x, y, t = dataset.bounds
    assert dataset[x, y, t]["pan"].shape == (1, 24, 32)
    assert (x.step, y.step) == dataset.res == (0.5, 0.5)


def test_sample_tells_bounds_and_crs(pair):
    dataset = ScenePairDataset(pair())
    sample = dataset[dataset.query(0, (4, 12, 8, 24))]
    x0, x1, dx, y0, y1, dy = sample["bounds"][:6].tolist()
    assert (x0, x1, dx, y0, y1, dy) == (EAST + 4, EAST + 12, 0.5, NORTH - 6, NORTH - 2, 0.5)
    assert sample["crs"].to_epsg() == 32633
    assert isinstance(dataset, GeoDataset)


def test_integers_beyond_24_bits_stay_exact(raster):
    values = np.array([[2**31 - 1, 2**24 + 1], [3, 4]], np.int32)
    raster("a_MS.tif", values, Affine(2, 0, 0, 0, -2, 0))
    pan = raster("a_PAN.tif", np.ones((4, 4), np.uint8), Affine(1, 0, 0, 0, -1, 0))
    sample = (dataset := ScenePairDataset(pan, margin=0))[dataset.query(0, (0, 4, 0, 4))]
    np.testing.assert_array_equal(sample["ms"][0], values)
    assert (sample["ms"].dtype, sample["pan"].dtype) == (torch.float64, torch.float32)


def test_time_of_a_scene_is_one_interval(pair):
    instant, day, unknown = "2010-05-04T10:11:12Z", "2010-05-04", None
    scene = open_scene(pair())
    dataset = ScenePairDataset([_at(scene, time) for time in (instant, day, unknown)])
    assert list(dataset.index.index.left[:2]) == [pd.Timestamp("2010-05-04T10:11:12"), pd.Timestamp("2010-05-04")]
    assert dataset.index.index.right[0] == pd.Timestamp("2010-05-04T10:11:12.999999")
    assert dataset.index.index.right[1] == pd.Timestamp("2010-05-04T23:59:59.999999")
    assert dataset.index.index[2].left == pd.Timestamp.min
    assert (dataset.index.index.name, dataset.index.index.closed) == ("datetime", "both")


def test_query_finds_the_scene_of_its_time(pair):
    scene = open_scene(pair())
    dataset = ScenePairDataset([_at(scene, "2010-05-04"), _at(scene, "2011-05-04T10:11:12Z")])
    x, y, _ = dataset.bounds
    moment = pd.Timestamp("2011-05-04T10:11:12")
    assert dataset[x, y, slice(moment, moment)]["scene"] == 1
    with pytest.raises(IndexError, match="must share an area and a time"):
        dataset[x, y, slice(pd.Timestamp("2012-01-01"), pd.Timestamp("2013-01-01"))]


def test_query_finds_the_scene_that_covers_most(pair):
    dataset = ScenePairDataset([pair("a"), pair("b", east=EAST + 8)])
    south = slice(NORTH - 12, NORTH)
    assert dataset[EAST + 2 : EAST + 12, south]["scene"] == 0
    assert dataset[EAST + 12 : EAST + 20, south]["scene"] == 1
    assert dataset[dataset.query(1, (0, 8, 0, 8))]["scene"] == 1
    with pytest.raises(IndexError, match="the dataset spans"):
        dataset[EAST - 9 : EAST - 8, south]


def test_folder_gives_all_its_pairs(pair):
    folder = pair("a").parent
    pair("b", east=EAST + 100)
    assert [scene.name for scene in ScenePairDataset(folder).scenes] == ["a", "b"]


def test_unreadable_scene_among_others_is_left_out_with_a_warning(pair):
    good, bad = pair("a"), pair("b")
    bad.write_bytes(b"")
    with pytest.warns(UserWarning, match=r"left out: .*empty file .*b_PAN\.tif"):
        dataset = ScenePairDataset([bad, good])
    assert len(dataset) == len(dataset.scenes) == 1
    with pytest.raises(ProductError, match=r"b_PAN\.tif"):
        ScenePairDataset(bad)
    with pytest.raises(ProductError, match="must open, got none of"), pytest.warns(UserWarning, match="left out"):
        ScenePairDataset([bad, bad])


def test_scene_without_place_on_the_map_is_left_out_beside_others(pair, raster):
    raster("rpc_MS.tif", np.ones((3, 4, 4), np.uint16), Affine.identity(), None)
    bare = raster("rpc_PAN.tif", np.ones((16, 16), np.uint16), Affine.identity(), None)
    with pytest.warns(UserWarning, match="without a CRS has no place beside others and is left out: rpc"):
        dataset = ScenePairDataset([bare, pair()])
    assert [scene.name for scene in dataset.scenes] == ["a"]


def test_scene_without_crs_works_alone(raster):
    raster("rpc_MS.tif", np.arange(48).reshape(3, 4, 4).astype(np.uint16), Affine.identity(), None)
    bare = raster("rpc_PAN.tif", np.ones((16, 16), np.uint16), Affine.identity(), None)
    dataset = ScenePairDataset(bare, margin=0)
    sample = dataset[dataset.query(0, (4, 12, 0, 16))]
    assert dataset.crs is None
    assert sample["crs"] is None
    np.testing.assert_array_equal(sample["ms"], read_all(ms_path(bare))[:, 1:3])
    np.testing.assert_array_equal(dataset[0:16, 4:12]["ms"], sample["ms"])


def test_scenes_in_several_crs_are_refused(pair):
    with pytest.raises(GridError, match=r"must have one CRS, got EPSG:32633 for a and EPSG:32634 for b; make one"):
        ScenePairDataset([pair("a"), pair("b", crs="EPSG:32634")])


def test_no_source_is_refused():
    with pytest.raises(ArgumentError, match="got no source"):
        ScenePairDataset([])


def test_grid_rotated_by_45_degrees_is_refused(raster):
    raster("a_MS.tif", np.ones((4, 4), np.uint8), Affine(2, 2, 0, 2, -2, 0))
    pan = raster("a_PAN.tif", np.ones((16, 16), np.uint8), Affine(0.5, 0.5, 0, 0.5, -0.5, 0))
    with pytest.raises(GridError, match="must not be rotated by 45 degrees"):
        ScenePairDataset(pan)


def test_crs_and_resolution_cannot_be_changed(pair):
    dataset = ScenePairDataset(pair())
    dataset.crs, dataset.res = dataset.crs, 0.5
    with pytest.raises(ArgumentError, match="cannot be resampled, got 1"):
        dataset.res = 1
    with pytest.raises(ArgumentError, match="cannot be reprojected, got EPSG:4326"):
        dataset.crs = "EPSG:4326"


def test_dataset_and_query_survive_pickling(pair):
    dataset = ScenePairDataset(pair())
    query = dataset.query(0, (4, 12, 8, 24))
    again = pickle.loads(pickle.dumps(query))
    assert isinstance(again, SceneQuery)
    assert (again, again.scene) == (query, 0)
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[again]["ms"], dataset[query]["ms"])


def test_transforms_see_every_sample(pair):
    dataset = ScenePairDataset(pair(), transforms=lambda sample: sample | {"pan": sample["pan"] + 1})
    plain = ScenePairDataset(pair())
    query = dataset.query(0, (0, 8, 0, 8))
    assert torch.equal(dataset[query]["pan"], plain[query]["pan"] + 1)


def test_batch_of_unequal_ms_windows_is_padded_behind(pair):
    dataset = ScenePairDataset(pair(ratio=1.5, shape=(20, 20)), margin=0)
    samples = [dataset[dataset.query(0, block)] for block in ((0, 4, 0, 4), (2, 6, 1, 5))]
    assert samples[0]["ms"].shape != samples[1]["ms"].shape
    batch = collate_pairs(samples)
    for place, sample in enumerate(samples):
        _, n_row, n_col = sample["ms"].shape
        assert torch.equal(batch["ms"][place, :, :n_row, :n_col], sample["ms"])
        assert batch["ms"][place].sum() == sample["ms"].sum()
        assert batch["ms_mask"][place].sum() == sample["ms_mask"].sum()
        assert torch.equal(batch["phase"][place], sample["phase"])
    assert batch["pan"].shape == (2, 1, 4, 4)
    assert batch["crs"] == [dataset.crs, dataset.crs]


def test_torchgeo_stacks_samples_without_crs(pair):
    dataset = ScenePairDataset(pair(), transforms=lambda sample: {k: v for k, v in sample.items() if k != "crs"})
    samples = [dataset[dataset.query(0, (row, row + 8, 0, 8))] for row in (0, 4)]
    batch = stack_samples(samples)
    expected = collate_pairs(samples)
    assert set(batch) == set(expected)
    assert all(torch.equal(batch[name], expected[name]) for name in expected)


def test_importing_the_subpackage_does_not_load_torchgeo():
    code = "import sys, ship_geo.data, ship_geo.data.reader; sys.exit('torchgeo' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["L8_elkton_va", "L8_madrid", "WV2_rotterdam_2"])
def test_real_pair_is_read_as_stored(data_root, name):
    pan = data_root / "scenes" / "open" / f"{name}_PAN.tif"
    dataset = ScenePairDataset(pan, margin=0)
    scene = dataset.scenes[0]
    block = (40, 72, 50, 90)
    sample = dataset[dataset.query(0, block)]
    (row0, row1), (col0, col1) = scene.pair.ms_from_pan(block[:2], block[2:])
    stored = read_all(ms_path(pan))[:, row0:row1, col0:col1]
    np.testing.assert_array_equal(sample["ms"].numpy() * sample["ms_mask"].numpy(), stored * sample["ms_mask"].numpy())
    first_row, _, first_col, _ = scene.pair.overlap
    stored_pan = read_all(pan)[:, first_row + 40 : first_row + 72, first_col + 50 : first_col + 90]
    np.testing.assert_array_equal(sample["pan"].numpy(), stored_pan * sample["mask"].numpy())


def _at(scene: Scene, time: str | None) -> Scene:
    return replace(scene, acquisition=Acquisition(time=time))
