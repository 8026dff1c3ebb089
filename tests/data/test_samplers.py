from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import shapely
from affine import Affine
from torch.utils.data import DataLoader
from torchgeo.samplers import GeoSampler

from ship_geo.data.dataset import ScenePairDataset, block_of, collate_pairs
from ship_geo.data.samplers import RandomPairGeoSampler, WindowGeoSampler
from ship_geo.errors import ArgumentError
from ship_geo.tiling import Plan

EAST, NORTH = 483592.5, 4204807.5


@pytest.fixture
def dataset(raster) -> ScenePairDataset:
    """One scene of 100 x 140 PAN pixels of 15 m, with the half pixel of Landsat."""
    rng = np.random.default_rng(1)
    raster("a_MS.tif", rng.integers(1, 9999, (2, 51, 71), np.uint16), Affine(30, 0, EAST - 7.5, 0, -30, NORTH + 7.5))
    pan = rng.integers(1, 9999, (100, 140), np.uint16)
    return ScenePairDataset(raster("a_PAN.tif", pan, Affine(15, 0, EAST, 0, -15, NORTH)))


@pytest.fixture
def two_scenes(raster) -> ScenePairDataset:
    """Two scenes without overlap: 40 x 60 and 20 x 24 PAN pixels of 0.5 m, ratio 4."""
    paths = []
    for name, (n_row, n_col), east in (("a", (40, 60), 0), ("b", (20, 24), 1000)):
        raster(f"{name}_MS.tif", np.ones((2, n_row // 4, n_col // 4), np.uint8), Affine(2, 0, east, 0, -2, 5e6))
        paths.append(raster(f"{name}_PAN.tif", np.ones((n_row, n_col), np.uint8), Affine(0.5, 0, east, 0, -0.5, 5e6)))
    return ScenePairDataset(paths)


def blocks(dataset: ScenePairDataset, queries) -> list[tuple[int, int, int, int]]:
    return [block_of(dataset.scenes[query.scene].pair.output, query[0], query[1]) for query in queries]


def test_queries_are_the_windows_of_the_plan_in_its_order(dataset):
    plan = Plan((100, 140), 32, 8, halo=12)
    sampler = WindowGeoSampler(dataset, plan)
    assert isinstance(sampler, GeoSampler)
    assert blocks(dataset, sampler) == [window.read(12) for window in plan.windows()]
    assert len(sampler) == len(plan) == len(list(sampler))
    assert list(sampler.windows) == list(zip(plan.windows(), sampler, strict=True))
    assert list(map(sampler.query, plan.windows())) == list(sampler)


def test_windows_put_together_are_the_scene(dataset):
    plan = Plan((100, 140), 48, 0)
    fused = np.zeros((144, 144), np.float32)
    loader = DataLoader(dataset, batch_size=4, sampler=WindowGeoSampler(dataset, plan), collate_fn=collate_pairs)
    for batch in loader:
        for pan, (row, col) in zip(batch["pan"], batch["pan_start"].tolist(), strict=True):
            fused[row : row + 48, col : col + 48] = pan[0]
    np.testing.assert_array_equal(fused[:100, :140], dataset.read(0, (0, 100, 0, 140)).pan[0])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_worker_processes_read_the_same(dataset):
    sampler = WindowGeoSampler(dataset, Plan((100, 140), 64, 8, halo=8))
    here, there = (
        [batch["ms"] for batch in DataLoader(dataset, 2, sampler=sampler, collate_fn=collate_pairs, num_workers=n)]
        for n in (0, 1)
    )
    assert all(a.equal(b) for a, b in zip(here, there, strict=True))


def test_block_keeps_the_windows_that_touch_it(dataset):
    plan = Plan((100, 140), 32, 8)
    sampler = WindowGeoSampler(dataset, plan, block=(30, 40, 0, 24))
    assert [window.core for window, _ in sampler.windows] == [(0, 32, 0, 32), (24, 56, 0, 32)]


@pytest.mark.parametrize("block", [(30, 40, 0, 24), (24, 48, 24, 48), (0, 1, 0, 1), (99, 100, 139, 140)])
def test_roi_on_the_map_means_the_same_as_its_block(dataset, block):
    plan = Plan((100, 140), 32, 8)
    roi = dataset.scenes[0].pair.output.crop(*block).bounds
    by_block = list(WindowGeoSampler(dataset, plan, block=block).windows)
    assert list(WindowGeoSampler(dataset, plan, roi=roi).windows) == by_block
    assert list(WindowGeoSampler(dataset, plan, roi=shapely.box(*roi)).windows) == by_block


def test_roi_of_any_shape_keeps_what_it_really_touches(dataset):
    x, y, _ = dataset.bounds
    corners = shapely.Polygon([(x.start, y.stop), (x.start, y.start), (x.start + 150, y.start)])  # along the left edge
    sampler = WindowGeoSampler(dataset, Plan((100, 140), 20, 0), roi=corners)
    assert {window.col_index for window, _ in sampler.windows} == {0}
    assert len(sampler) == 5


def test_roi_outside_and_foreign_plans_are_refused(dataset):
    plan = Plan((100, 140), 32, 8)
    with pytest.raises(ArgumentError, match="roi and block must touch the scene"):
        WindowGeoSampler(dataset, plan, roi=(0, 0, 1, 1))
    with pytest.raises(ArgumentError, match=r"must be of the output grid, got \(99, 140\) for \(100, 140\)"):
        WindowGeoSampler(dataset, Plan((99, 140), 32, 8))
    with pytest.raises(ArgumentError, match="a scene must be from 0 to 0, got 1"):
        WindowGeoSampler(dataset, plan, scene=1)


def test_second_scene_is_sampled_as_itself(two_scenes):
    sampler = WindowGeoSampler(two_scenes, Plan((20, 24), 16, 4), scene=1)
    assert {query.scene for query in sampler} == {1}
    assert {int(two_scenes[query]["scene"]) for query in sampler} == {1}


def test_random_windows_lie_inside_and_on_the_lattice(two_scenes):
    sampler = RandomPairGeoSampler(two_scenes, (16, 12), length=300, seed=3)
    seen = set()
    for query, (row0, row1, col0, col1) in zip(sampler, blocks(two_scenes, sampler), strict=True):
        n_row, n_col = two_scenes.scenes[query.scene].pair.output.shape
        assert (row1 - row0, col1 - col0) == (16, 12)
        assert (row0 % 4, col0 % 4) == (0, 0)
        assert 0 <= row0 <= n_row - 16
        assert 0 <= col0 <= n_col - 12
        seen.add((query.scene, row0, col0))
    assert {place for place in seen if place[0] == 1} == {(1, row, col) for row in (0, 4) for col in (0, 4, 8, 12)}
    assert {row for scene, row, _ in seen if scene == 0} == set(range(0, 25, 4))


def test_random_windows_of_whole_ratio_all_have_one_phase(dataset):
    sampler = RandomPairGeoSampler(dataset, 24, length=20)
    batch = collate_pairs([dataset[query] for query in sampler])
    assert (batch["phase"] == batch["phase"][0]).all()
    assert len({tuple(start) for start in batch["pan_start"].tolist()}) > 10
    assert batch["mask"].all()


def test_random_windows_of_odd_ratio_start_anywhere(raster):
    size = 30 / 1.994
    raster("a_MS.tif", np.ones((1, 40, 40), np.uint8), Affine(30, 0, 500000, 0, -30, 4e6))
    pan = raster("a_PAN.tif", np.ones((79, 79), np.uint8), Affine(size, 0, 500000, 0, -size, 4e6))
    dataset = ScenePairDataset(pan)
    starts = {block[0] for block in blocks(dataset, RandomPairGeoSampler(dataset, 70, length=200))}
    assert starts == set(range(10))


def test_draws_follow_seed_and_epoch_alone(dataset):
    sampler = RandomPairGeoSampler(dataset, 16, length=20, seed=5)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    again = RandomPairGeoSampler(dataset, 16, length=20, seed=5)
    again.set_epoch(1)
    assert list(again) == list(sampler)
    assert list(RandomPairGeoSampler(dataset, 16, length=20, seed=6)) != first


def test_length_is_what_fits_side_by_side(two_scenes):
    assert len(RandomPairGeoSampler(two_scenes, 20)) == 2 * 3 + 1
    assert len(RandomPairGeoSampler(two_scenes, 20, scene=1)) == 1
    assert len(list(RandomPairGeoSampler(two_scenes, 20, length=9))) == 9


def test_scene_without_room_is_never_drawn(two_scenes):
    assert {query.scene for query in RandomPairGeoSampler(two_scenes, 32, length=40)} == {0}
    with pytest.raises(ArgumentError, match=r"must have room for a window, got windows of \(64, 64\)"):
        RandomPairGeoSampler(two_scenes, 64)


def test_random_windows_stay_in_the_roi_and_off_its_edges(dataset):
    roi = dataset.scenes[0].pair.output.crop(10, 60, 20, 90).bounds
    for row0, row1, col0, col1 in blocks(dataset, RandomPairGeoSampler(dataset, 16, length=200, roi=roi, margin=4)):
        assert row0 >= 14
        assert row1 <= 56
        assert col0 >= 24
        assert col1 <= 86


def test_roi_beside_all_scenes_is_refused(dataset):
    with pytest.raises(ArgumentError, match="must have room"):
        RandomPairGeoSampler(dataset, 8, roi=(0, 0, 100, 100))


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": 8, "length": 0}, {"size": 8, "seed": -1}])
def test_numbers_out_of_range_are_refused(dataset, wrong):
    with pytest.raises(ArgumentError, match="must be at least 1"):
        RandomPairGeoSampler(dataset, **wrong)


def test_random_windows_are_spread_evenly(dataset):
    rows = [block[0] for block in blocks(dataset, RandomPairGeoSampler(dataset, 20, length=600))]
    counts = np.histogram(rows, bins=4, range=(0, 80))[0]
    assert counts.min() > 100
    assert all(a != b for a, b in pairwise(sorted(set(rows))))
