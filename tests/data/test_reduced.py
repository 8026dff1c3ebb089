"""Pairs of real scenes degraded once more: what is drawn, where it lies in the file, and what a network is shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ship_geo.data import reduced
from ship_geo.data.dataset import ScenePairDataset
from ship_geo.data.reduced import (
    MixedSteps,
    PooledSteps,
    ReducedBatch,
    ReducedSteps,
    ReducedWindow,
    measure_reduced,
    window_size,
    with_room,
)
from ship_geo.degrade import degrade_pair
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.nn.inputs import N_GUIDE, N_STREAM
from ship_geo.ops.resample import degrade, upsample
from ship_geo.ops.views import BandView
from ship_geo.scene import open_scene

PATCH = 12
SIZE = {4: 352, 2: 176}  # PAN pixels of a scene; windows take 304 and 136


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny tensors: threads would wait for each other longer than they work."""
    n_thread = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_thread)


@pytest.fixture(autouse=True)
def small_statistics(monkeypatch):
    """Let windows for statistics fit into tiny scenes."""
    monkeypatch.setattr(reduced, "STATS_PATCH", 24)


@pytest.fixture
def in_place(monkeypatch):
    """Take all bands to lie on PAN: labels are noise, and moved ones could not be read any more."""

    def nominal(_parts, gnyq_ms, _ratio):
        return tuple(BandView(0.0, 0.0, gain, 1.0) for gain in gnyq_ms)

    monkeypatch.setattr(reduced, "fit_views", nominal)


def labelled(n_band: int, size: int, first: int = 1) -> np.ndarray:
    """MS whose values all differ, so that each tells its band, row and column."""
    values = np.random.default_rng(first).permutation(n_band * size * size) + first
    return values.reshape(n_band, size, size)


def write_labelled(write_pair, folder, ratio=4, n_band=4, first=1, **options):
    n_ms = SIZE[ratio] // ratio
    ms = labelled(n_band, n_ms, first)
    pan = np.kron(ms.mean(axis=0), np.ones((ratio, ratio)))
    return write_pair(folder, (SIZE[ratio],) * 2, ratio=ratio, ms=ms, pan=pan, **options)


def in_dn(batch: ReducedBatch) -> np.ndarray:
    """Reference with the standardisation undone."""
    s = batch.statistics
    return (batch.ref.double() * s.ms_std.double() + s.ms_mean.double()).numpy()


def place_of(ms: np.ndarray, ref: np.ndarray) -> tuple[list[int], tuple[int, int], tuple[int, int, int, int]]:
    """Bands, top left corner and the steps of row and column along both axes, after checking that all pixels agree."""
    where = np.full((ms.max() + 1, 3), -1)
    where[ms.ravel()] = np.argwhere(ms >= 0)
    found = where[np.rint(ref).astype(int)]  # (band, row, col, 3)
    np.testing.assert_allclose(ref, np.rint(ref), atol=0.05)
    assert (found >= 0).all()
    bands = found[:, 0, 0, 0]
    np.testing.assert_array_equal(found[..., 0], np.broadcast_to(bands[:, None, None], ref.shape))
    np.testing.assert_array_equal(found[..., 1:], np.broadcast_to(found[:1, ..., 1:], found[..., 1:].shape))
    down, right = found[0, 1, 0, 1:] - found[0, 0, 0, 1:], found[0, 0, 1, 1:] - found[0, 0, 0, 1:]
    steps = np.stack(np.mgrid[: ref.shape[1], : ref.shape[2]])
    expected = found[0, 0, 0, 1:] + steps[0][..., None] * down + steps[1][..., None] * right
    np.testing.assert_array_equal(found[0, ..., 1:], expected)
    corner = found[0, ..., 1:].reshape(-1, 2).min(axis=0)
    return bands.tolist(), (int(corner[0]), int(corner[1])), (*map(int, down), *map(int, right))


def test_same_seed_and_step_give_the_same_bytes_in_any_order(write_pair, tmp_path):
    write_pair(tmp_path, (320, 320))

    def steps(seed: int = 3) -> ReducedSteps:
        return ReducedSteps(ScenePairDataset(tmp_path), 5, 2, 8, seed)

    one = steps()
    first, second = one[0], one[1]
    torch.manual_seed(5)
    again = pickle.loads(pickle.dumps(steps()))[1]
    for name in ("ms_stream", "guide_stream", "ref"):
        assert torch.equal(getattr(second, name), getattr(again, name))
        assert not torch.equal(getattr(second, name), getattr(first, name))
        assert not torch.equal(getattr(second, name), getattr(steps(4)[1], name))
    assert all(torch.equal(second.measured[name], again.measured[name]) for name in second.measured)
    assert len(one) == 5
    with pytest.raises(IndexError):
        one[5]


@pytest.mark.usefixtures("in_place")
@pytest.mark.parametrize("ratio", [2, 4])
def test_reference_is_a_turned_piece_of_the_file(write_pair, tmp_path, ratio):
    pair = write_labelled(write_pair, tmp_path, ratio)
    steps = ReducedSteps(ScenePairDataset(tmp_path), 6, 2, PATCH, 0)
    corners, turns, orders = set(), set(), set()
    for batch in (steps[index] for index in range(6)):
        assert batch.ref.shape == (2, 4, PATCH, PATCH)
        assert batch.ms_stream.shape == (2, N_STREAM * 4, PATCH, PATCH)
        assert batch.guide_stream.shape == (2, N_GUIDE, PATCH, PATCH)
        assert batch.ref.dtype == batch.ms_stream.dtype == torch.float32
        for ref in in_dn(batch):
            bands, corner, turn = place_of(pair.ms_values, ref)
            assert sorted(bands) == [0, 1, 2, 3]
            corners, turns, orders = corners | {corner}, turns | {turn}, orders | {tuple(bands)}
    assert min(len(corners), len(turns), len(orders)) > 3


@pytest.mark.parametrize("ratio", [2, 4])
@pytest.mark.parametrize("pan_filter", ["bicubic", "mtf"])
def test_window_is_what_the_degraded_scene_shows_there(write_pair, tmp_path, ratio, pan_filter):
    pair = write_pair(tmp_path, (SIZE[ratio] + 4 * ratio**2,) * 2, ratio=ratio)
    dataset = ScenePairDataset(tmp_path)
    gains, gain = dataset.scenes[0].sensor.gnyq_ms, dataset.scenes[0].sensor.gnyq_pan
    start = np.array([ratio**2, 2 * ratio**2])  # on the lattice of the degraded pixels
    rows, cols = window_size(PATCH, (ratio, ratio))
    query = dataset.query(0, (start[0], start[0] + rows, start[1], start[1] + cols))
    window = ReducedWindow.read(dataset, query, PATCH, pan_filter)

    whole = degrade_pair(
        pair.ms_values,
        pair.pan_values,
        ratio=(ratio, ratio),
        phase=(0, 0),
        gnyq_ms=gains,
        gnyq_pan=gain,
        pan_filter=pan_filter,
    )
    shape = (whole.ref.shape[-2], whole.ref.shape[-1])
    low = degrade(whole.pan_lr, whole.ms_lr.shape[-2:], whole.ratio, whole.phase, gains)
    row, col = start // ratio + (np.array([rows, cols]) // ratio - PATCH) // 2
    inner = np.s_[:, row : row + PATCH, col : col + PATCH]
    assert window.valid.all()
    np.testing.assert_array_equal(window.ref, pair.ms_values[inner])
    for got, expected in (
        (window.inputs.ms_up, upsample(whole.ms_lr, shape, whole.ratio, whole.phase)),
        (window.inputs.pan, whole.pan_lr),
        (window.inputs.pan_low, upsample(low, shape, whole.ratio, whole.phase)),
    ):
        torch.testing.assert_close(got, expected[inner], atol=0.01, rtol=0)


@pytest.mark.usefixtures("in_place")
@pytest.mark.parametrize(("ratio", "offset"), [(2, (-0.5, -0.5)), (4, (0.37, 1.6)), (4, (-3, 2)), (1.994, (0, 0.2))])
def test_phases_off_the_lattice_leave_whole_patches(write_pair, tmp_path, ratio, offset):
    n_ms = 100
    ms = labelled(4, n_ms)
    step = round(ratio)
    pan = np.kron(ms.mean(axis=0), np.ones((step, step)))
    pair = write_pair(tmp_path, pan.shape, ratio=ratio, offset=offset, ms=ms, pan=pan)
    batch = ReducedSteps(ScenePairDataset(tmp_path), 1, 3, 9, 0)[0]
    for ref in in_dn(batch):
        place_of(pair.ms_values, ref)


def test_bands_lie_over_the_streams_they_belong_to(write_pair, tmp_path):
    write_pair(tmp_path, (352, 352))
    batch = ReducedSteps(ScenePairDataset(tmp_path), 1, 4, 16, 0)[0]
    skip = batch.ms_stream[:, :4]
    for ref, ms_up in zip(batch.ref, skip, strict=True):
        misfits = torch.stack([(ref - ms_up.roll(shift, 0)).square().mean() for shift in range(4)])
        assert misfits.argmin() == 0
        turned = torch.stack([(ref - ms_up.rot90(turn, (-2, -1))).square().mean() for turn in range(4)])
        assert turned.argmin() == 0
    guide = batch.guide_stream[:, 0].flatten(1)
    for n in range(4):
        assert torch.corrcoef(torch.stack([guide[n], batch.ref[n].mean(0).flatten()]))[0, 1] > 0.8


def test_classical_detail_comes_nearer_to_the_reference(write_pair, tmp_path):
    write_pair(tmp_path, (384, 384))
    batch = ReducedSteps(ScenePairDataset(tmp_path), 1, 4, 24, 0)[0]
    skip, detail = batch.ms_stream[:, :4], batch.ms_stream[:, 4:8]
    error = (skip - batch.ref).square().mean()
    assert (skip + detail - batch.ref).square().mean() < 0.7 * error


def test_statistics_are_those_of_the_whole_scene(write_pair, tmp_path):
    pair = write_pair(tmp_path, (384, 384))
    dataset = ScenePairDataset(tmp_path)
    batch = ReducedSteps(dataset, 1, 3, 8, 0)[0]
    stats = measure_reduced(dataset, 0)
    np.testing.assert_allclose(stats.moments.mean[:4], pair.ms_values.mean(axis=(1, 2)), rtol=0.01)
    assert stats.moments.count == (96 - 2 * 4) ** 2  # all but the rim of degraded pixels that see beyond the scene
    assert stats.roles == dataset.scenes[0].sensor.roles
    assert len(stats.views) == 4
    for n in range(3):
        expected = np.sort(stats.moments.mean[:4])
        np.testing.assert_allclose(np.sort(batch.statistics.ms_mean[n].flatten().numpy()), expected, rtol=1e-6)
        assert batch.statistics.pan_mean[n].item() == pytest.approx(stats.moments.mean[4])


def test_large_scenes_are_sampled_and_measured_once(write_pair, tmp_path, monkeypatch):
    write_pair(tmp_path, (SIZE[2],) * 2, ratio=2)
    monkeypatch.setattr(reduced, "STATS_PATCH", 8)
    monkeypatch.setattr(reduced, "MAX_STATS_WINDOWS", 5)
    read = []
    whole = ReducedWindow.read
    monkeypatch.setattr(
        ReducedWindow, "read", lambda *given, **options: read.append(given[2]) or whole(*given, **options)
    )
    steps = ReducedSteps(ScenePairDataset(tmp_path), 2, 3, PATCH, 0)
    assert len([steps[index] for index in (0, 1)]) == 2
    assert read.count(8) == 5
    assert read.count(PATCH) == 6


@pytest.mark.usefixtures("in_place")
@pytest.mark.parametrize("n_band", [1, 3])
def test_short_groups_repeat_their_last_band(write_pair, tmp_path, n_band):
    pair = write_labelled(write_pair, tmp_path, 2, n_band)
    steps = ReducedSteps(ScenePairDataset(tmp_path), 3, 3, PATCH, 0)
    last = set()
    for batch in (steps[index] for index in range(3)):
        for ref in in_dn(batch):
            bands, _, _ = place_of(pair.ms_values, ref)
            assert sorted(bands[:n_band]) == list(range(n_band))
            assert bands[n_band:] == bands[n_band - 1 : n_band] * (4 - n_band)
            last.add(bands[-1])
    assert len(last) == min(n_band, 3)


@pytest.mark.usefixtures("in_place")
def test_groups_of_many_bands_are_drawn_without_repetition(write_pair, tmp_path):
    pair = write_labelled(write_pair, tmp_path, 2, 8)
    batch = ReducedSteps(ScenePairDataset(tmp_path), 1, 6, PATCH, 0)[0]
    groups = [place_of(pair.ms_values, ref)[0] for ref in in_dn(batch)]
    assert all(len(set(bands)) == 4 for bands in groups)
    assert set().union(*groups) == set(range(8))


def test_constant_gain_of_the_sensor_changes_nothing(write_pair, tmp_path):
    pair = write_pair(tmp_path / "one", (SIZE[2],) * 2, ratio=2)
    write_pair(tmp_path / "other", (SIZE[2],) * 2, ratio=2, ms=5 * pair.ms_values, pan=5 * pair.pan_values)
    one, other = (ReducedSteps(ScenePairDataset(tmp_path / name), 1, 2, PATCH, 0)[0] for name in ("one", "other"))
    for name in ("ms_stream", "guide_stream", "ref"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("is_pan_flat", [False, True])
def test_constant_scenes_are_finite_and_ask_for_nothing(write_pair, tmp_path, is_pan_flat):
    ms = np.full((4, 88, 88), 500) + np.arange(4)[:, None, None]
    pan = np.full((176, 176), 600) + (0 if is_pan_flat else np.arange(176) % 7)
    write_pair(tmp_path, (176, 176), ratio=2, ms=ms, pan=pan)
    batch = ReducedSteps(ScenePairDataset(tmp_path), 1, 2, PATCH, 0)[0]
    assert all(bool(part.isfinite().all()) for part in (batch.ms_stream, batch.guide_stream))
    torch.testing.assert_close(batch.ref, torch.zeros_like(batch.ref), atol=1e-2, rtol=0)


def holed(ratio: int, hole: int) -> tuple[np.ndarray, np.ndarray]:
    """A labelled MS with a hole in its middle rows, and its PAN."""
    ms = labelled(4, SIZE[ratio] // ratio)
    pan = np.kron(ms.mean(axis=0), np.ones((ratio, ratio)))
    middle = slice(ms.shape[1] // 2 - 3, ms.shape[1] // 2 + 3)
    ms[:, middle] = hole
    return ms, pan


@pytest.mark.usefixtures("in_place")
def test_invalid_pixels_ask_for_the_upsampled_ms_whatever_value_marks_them(write_pair, tmp_path):
    batches = []
    for hole in (0, 65535):
        ms, pan = holed(2, hole)
        write_pair(tmp_path / str(hole), pan.shape, ratio=2, ms=ms, pan=pan, nodata=hole)
        batches.append(ReducedSteps(ScenePairDataset(tmp_path / str(hole)), 1, 6, 24, 0)[0])
    for name in ("ms_stream", "guide_stream", "ref"):
        assert torch.equal(*(getattr(batch, name) for batch in batches))
        assert bool(getattr(batches[0], name).isfinite().all())
    is_skip = (batches[0].ref == batches[0].ms_stream[:, :4]).all(1).numpy()
    is_of_the_file = np.isin(np.rint(in_dn(batches[0])), ms[:, ms[0, :, 0] != 65535]).all(axis=1)
    assert is_of_the_file[~is_skip].all()
    assert (~is_of_the_file).sum() > 100  # what fills the hole has no labels
    assert 0 < is_skip.mean() < 0.9
    assert float(batches[0].statistics.ms_mean.min()) >= 1


def test_windows_without_valid_pixels_are_drawn_again(write_pair, tmp_path):
    ms = labelled(4, 150)
    ms[:, :, 50:] = 0
    pan = np.kron(ms.mean(axis=0), np.ones((2, 2)))
    write_pair(tmp_path, pan.shape, ratio=2, ms=ms, pan=pan, nodata=0)
    steps = ReducedSteps(ScenePairDataset(tmp_path), 4, 4, 8, 0)
    for batch in (steps[index] for index in range(4)):
        assert bool((batch.ref != batch.ms_stream[:, :4]).flatten(1).any(1).all())


def test_scenes_where_no_window_is_valid_are_named(write_pair, tmp_path, monkeypatch):
    monkeypatch.setattr(reduced, "MAX_DRAWS", 1)
    ms = labelled(4, 150)
    ms[:, :, 12:] = 0
    pan = np.kron(ms.mean(axis=0), np.ones((2, 2)))
    write_pair(tmp_path, pan.shape, ratio=2, ms=ms, pan=pan, nodata=0)
    steps = ReducedSteps(ScenePairDataset(tmp_path), 20, 1, 8, 0)
    with pytest.raises(ProductError, match="windows need a valid pixel, got none in 1 of town"):
        [steps[index] for index in range(20)]


def test_scenes_without_valid_pixels_are_named(write_pair, tmp_path):
    size = SIZE[2]
    write_pair(
        tmp_path, (size, size), ratio=2, ms=np.zeros((4, size // 2, size // 2)), pan=np.ones((size, size)), nodata=0
    )
    steps = ReducedSteps(ScenePairDataset(tmp_path), 1, 1, 8, 0)
    with pytest.raises(ProductError, match="town: a scene needs pixels that are valid in PAN and in all MS bands"):
        steps[0]
    with pytest.raises(ProductError, match="valid in PAN and in all MS bands"):
        steps.scene_stats(0)


@pytest.mark.usefixtures("in_place")
def test_batches_have_one_ratio_and_all_scenes_with_room_come_up(write_pair, tmp_path):
    fine = write_labelled(write_pair, tmp_path, 2, first=1, stem="fine")
    other = write_labelled(write_pair, tmp_path, 2, first=31001, stem="other")
    coarse = write_labelled(write_pair, tmp_path, 4, first=62001, stem="coarse", dtype="uint32")
    write_pair(tmp_path, (64, 64), stem="tiny")
    dataset = ScenePairDataset(tmp_path)
    assert len(dataset.scenes) == 4
    steps = ReducedSteps(dataset, 12, 3, PATCH, 0)
    seen = set()
    for batch in (steps[index] for index in range(12)):
        scenes = [next(k for k, pair in enumerate((fine, other, coarse)) if pair.ms_values.max() >= ref.max() - 0.5)
                  for ref in in_dn(batch)]  # fmt: skip
        for scene, ref in zip(scenes, in_dn(batch), strict=True):
            place_of((fine, other, coarse)[scene].ms_values, ref)
        assert set(scenes) in ({0}, {1}, {0, 1}, {2})
        seen |= set(scenes)
    assert seen == {0, 1, 2}


def test_numbers_and_scenes_that_do_not_fit_are_refused(write_pair, tmp_path):
    write_pair(tmp_path, (64, 64))
    dataset = ScenePairDataset(tmp_path)
    with pytest.raises(ArgumentError, match=r"room for a patch of 8 MS pixels with its margin, got .*\(64, 64\)"):
        ReducedSteps(dataset, 1, 1, 8, 0)
    with pytest.raises(ArgumentError, match="are at least 1, got 1 steps, batch size 0"):
        ReducedSteps(dataset, 1, 0, 8, 0)


def test_mixture_takes_its_share_of_the_same_steps():
    chips, one, other = ([(name, step) for step in range(2000)] for name in ("chips", "one", "other"))
    mixed = MixedSteps(chips, [one, other], 0.2, 7)
    taken = [mixed[step] for step in range(2000)]
    assert [step for _, step in taken] == list(range(2000))
    counts = {name: [kind for kind, _ in taken].count(name) for name in ("chips", "one", "other")}
    assert counts["one"] == pytest.approx(200, abs=60)
    assert counts["other"] == pytest.approx(200, abs=60)
    assert [mixed[step] for step in (1999, 3)] == [taken[1999], taken[3]]
    assert [MixedSteps(chips, [one], 0.0, 7)[step] for step in range(50)] == chips[:50]
    assert [MixedSteps(chips, [one], 1.0, 7)[step] for step in range(50)] == one[:50]
    assert [MixedSteps(chips, [one, other], 0.2, 8)[step] for step in range(2000)] != taken


@pytest.mark.parametrize(("scenes", "share"), [([], 0.2), ([[1, 2]], 1.1), ([[1, 2]], -0.1), ([[1, 2, 3]], 0.2)])
def test_mixtures_that_do_not_fit_are_refused(scenes, share):
    with pytest.raises(ArgumentError, match="a share from 0 to 1"):
        MixedSteps([1, 2], scenes, share, 0)


def test_batch_travels_through_loader_and_trainer_and_is_learnt_from_as_it_is(write_pair, tmp_path: Path):
    from lightning.fabric.utilities import move_data_to_device

    from ship_geo.data.simulation import SimulationConfig
    from ship_geo.losses import pansharpening_loss
    from ship_geo.nn import ShipPlusPlusConfig
    from ship_geo.training import PansharpeningTask, Schedule

    write_pair(tmp_path, (SIZE[2],) * 2, ratio=2)
    steps = ReducedSteps(ScenePairDataset(tmp_path), 1, 2, PATCH, 0)
    batch = move_data_to_device(next(iter(DataLoader(steps, batch_size=None))), torch.device("cpu"))
    assert isinstance(batch, ReducedBatch)
    assert torch.equal(batch.statistics.haze, steps[0].statistics.haze)
    torch.manual_seed(0)
    config = ShipPlusPlusConfig(n_band=4, n_in=N_STREAM * 4, n_guide=N_GUIDE, n_feature=4, n_order=2, n_stage=1)
    task = PansharpeningTask(config, SimulationConfig(), Schedule())
    logged = {}
    task.log = lambda name, value, batch_size, **_: logged.update({name: (float(value.detach()), batch_size)})
    loss = task.training_step(batch, 0)
    loss.backward()
    assert any(bool(parameter.grad.any()) for parameter in task.parameters() if parameter.grad is not None)
    with torch.no_grad():
        task.validation_step(batch, 0)
        units = batch.statistics.ms_mean, batch.statistics.ms_std
        expected = float(pansharpening_loss(task(batch.ms_stream, batch.guide_stream), batch.ref, units))
    assert logged["train/loss"] == (pytest.approx(expected, rel=1e-5), 2)
    assert logged["val_scenes/loss"] == (pytest.approx(expected, rel=1e-5), 2)
    assert logged["val_scenes/rmse_ratio"][0] > 0


def test_pooled_steps_are_those_of_the_parts_drawn_by_their_room(write_pair, tmp_path: Path):
    write_pair(tmp_path / "small", (136, 136), ratio=2)
    write_pair(tmp_path / "large", (560, 272), ratio=2, crs="EPSG:32632", pan_crs="EPSG:32632")
    small, large = (ReducedSteps(ScenePairDataset(tmp_path / name), 60, 1, PATCH, 5) for name in ("small", "large"))
    assert large.room == 8 * small.room == 8
    pooled = PooledSteps([small, large], seed=1)
    assert len(pooled) == 60
    chosen = []
    for part in (small, large):
        part.__class__ = type("Watched", (ReducedSteps,), {"__getitem__": lambda self, step: (self, step)})
    for step in range(60):
        part, index = pooled[step]
        assert index == step
        chosen.append(part is large)
    assert chosen == [pooled[step][0] is large for step in range(60)]
    assert 44 <= sum(chosen) <= 59  # 53.3 expected, 3 standard deviations


def test_pool_of_unequal_or_no_parts_is_refused(write_pair, tmp_path: Path):
    write_pair(tmp_path, (136, 136), ratio=2)
    dataset = ScenePairDataset(tmp_path)
    with pytest.raises(ArgumentError, match=r"steps of one length are pooled, got lengths \[1, 2\]"):
        PooledSteps([ReducedSteps(dataset, n, 1, PATCH, 0) for n in (1, 2)], 0)
    with pytest.raises(ArgumentError, match=r"got lengths \[\]"):
        PooledSteps([], 0)


def test_scenes_alone_make_all_steps(write_pair, tmp_path: Path):
    write_pair(tmp_path, (136, 136), ratio=2)
    steps = ReducedSteps(ScenePairDataset(tmp_path), 2, 1, PATCH, 0)
    mixed = MixedSteps(None, [steps], 1.0, 0)
    assert len(mixed) == 2
    assert torch.equal(mixed[1].ref, steps[1].ref)
    with pytest.raises(ArgumentError, match=r"share 0\.5"):
        MixedSteps(None, [steps], 0.5, 0)


def test_scenes_that_are_too_small_are_left_out(write_pair, tmp_path: Path):
    write_pair(tmp_path / "small", (120, 160), ratio=2)
    write_pair(tmp_path / "large", (136, 160), ratio=2)
    small, large = (open_scene(tmp_path / name) for name in ("small", "large"))
    with pytest.warns(UserWarning, match=r"too small is left out: .* got town \(120, 160\)"):
        assert with_room([small, large], PATCH) == [large]
    with (
        pytest.warns(UserWarning, match="too small"),
        pytest.raises(ArgumentError, match=f"room for a patch of {PATCH} MS pixels"),
    ):
        with_room([small], PATCH)
    assert with_room([], PATCH) == []
