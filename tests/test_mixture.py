"""The scene one scale coarser, and the few weights that are learnt from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ship_geo import mixture
from ship_geo.coarser import EDGE, CoarseBlock, CoarseScene, Pair, block_windows, read_coarser
from ship_geo.fusers import NetworkFuser, load_fuser
from ship_geo.inference import prepare
from ship_geo.jobs import Job, measure, open_source
from ship_geo.mixture import PRIOR, fit_mixture
from ship_geo.nn.inputs import N_PART, injected_details, mixture_parts, network_streams
from ship_geo.ops.resample import move
from ship_geo.scene import Scene, open_scene

Write = Callable[..., Any]
SHAPE = (384, 320)
GROUP = ((0, 1, 2, 3),)


@pytest.fixture(scope="module")
def scene(write_pair: Write, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return open_scene(write_pair(tmp_path_factory.mktemp("mixture"), SHAPE, seed=5).pan)


def coarse(scene: Scene, side: int = 48, blocks: int = 8) -> CoarseScene:
    sensor = scene.sensor
    pair = Pair(scene.pair.output.shape, scene.pair.ratio, sensor.gnyq_ms, sensor.gnyq_pan)
    read = read_coarser(open_source(Job.of(scene, "exp", "cpu", "float32")), pair, side, blocks)
    assert read is not None
    return read


def blur_of_pan(ms_stream: Tensor, guide_stream: Tensor) -> Tensor:
    """Stands for a network: adds something that no detail is."""
    return 0.3 * guide_stream[:, :1].roll(1, -1) - 0.1 * ms_stream[:, :4].square()


def parts_of(read: CoarseScene, block: CoarseBlock, bands: list[int]) -> Tensor:
    inputs = read.network_inputs(block, bands)
    added = blur_of_pan(*network_streams(*inputs)) * inputs[-1].ms_std
    return torch.cat(mixture_parts(injected_details(*inputs), added))


def made_of(read: CoarseScene, weights: np.ndarray) -> CoarseScene:
    """The scene, if what is missing were exactly a mixture."""
    blocks = []
    for block in read.blocks:
        missing = (torch.from_numpy(weights).float().mT[:, :, None, None] * parts_of(read, block, [0, 1, 2, 3])).sum(0)
        blocks.append(replace(block, missing=missing))
    return replace(read, blocks=tuple(blocks))


def test_mixture_that_the_scene_is_made_of_is_found(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture, "RIDGE", 1e-9)
    monkeypatch.setattr(mixture, "BAND_RIDGE", 1e-9)
    weights = np.random.default_rng(0).uniform(-0.5, 1, (4, N_PART))
    found = fit_mixture(made_of(coarse(scene), weights), blur_of_pan, GROUP, 4)
    np.testing.assert_allclose(found, weights, atol=5e-3)


def test_mixture_comes_nearer_than_the_prior_and_the_ridge_holds_it_back(scene: Scene) -> None:
    read = coarse(scene)
    found = np.array(fit_mixture(read, blur_of_pan, GROUP, 4))

    def error(weights: np.ndarray) -> float:
        table = torch.from_numpy(weights).float().mT[:, :, None, None]
        return sum(
            float((((table * parts_of(read, one, [0, 1, 2, 3])).sum(0) - one.missing)[:, one.counts] ** 2).sum())
            for one in read.blocks
        )

    assert error(found) < 0.95 * error(np.tile(PRIOR, (4, 1)))
    assert np.abs(found).max() < 3


def test_angle_of_spectra_counts_beside_squared_errors(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture, "RIDGE", 1e-9)
    monkeypatch.setattr(mixture, "BAND_RIDGE", 1e-9)
    read = coarse(scene)

    def scores(weights: Any) -> tuple[float, float]:
        """Sums of the squared errors, in units of the variance of each band, and of the angles of the spectra."""
        squares, angles = 0.0, 0.0
        table = torch.tensor(weights).mT[:, :, None, None]
        for one in read.blocks:
            added = (table * parts_of(read, one, [0, 1, 2, 3])).sum(0)[:, one.counts]
            ms_up, missing = one.inputs.ms_up[:, one.counts], one.missing[:, one.counts]
            var = torch.tensor(read.stats.moments.var[:4].tolist())[:, None]
            squares += float(((added - missing).square() / var).sum())
            cosine = torch.cosine_similarity(ms_up + added, ms_up + missing, dim=0).clamp(-1, 1)
            angles += float(cosine.double().acos().sum())
        return squares, angles

    found = {}
    for angle in (0.0, 0.5, 100.0):
        monkeypatch.setattr(mixture, "ANGLE", angle)
        found[angle] = scores(fit_mixture(read, blur_of_pan, GROUP, 4))
    assert found[0.0][0] < found[0.5][0] < found[100.0][0]
    assert found[0.0][1] > found[0.5][1] > found[100.0][1]


def test_scene_without_evidence_has_the_prior(scene: Scene) -> None:
    assert fit_mixture(None, blur_of_pan, GROUP, 4) == (PRIOR,) * 4
    few = replace(coarse(scene), blocks=tuple(replace(b, counts=b.counts & False) for b in coarse(scene).blocks))
    assert fit_mixture(few, blur_of_pan, GROUP, 4) == (PRIOR,) * 4


def test_repeated_band_counts_once(scene: Scene) -> None:
    read = coarse(scene)

    def none(ms_stream: Tensor, _: Tensor) -> Tensor:
        return torch.zeros_like(ms_stream[:, :4])

    whole = fit_mixture(read, none, ((0, 1, 2, 3),), 4)
    split = fit_mixture(read, none, ((0, 1, 0, 1), (3, 2, 2, 2)), 4)
    np.testing.assert_allclose(split, whole, atol=2e-4)


def test_blocks_keep_away_from_edges_and_masks(write_pair: Write, tmp_path: Path, ground: Write) -> None:
    values = ground(4, SHAPE, 2)
    ms = values.reshape(4, SHAPE[0] // 4, 4, SHAPE[1] // 4, 4).mean((2, 4)).round()
    ms[:, 40:44, 30:34] = 0
    read = coarse(open_scene(write_pair(tmp_path, SHAPE, ms=ms, nodata=0).pan), side=96, blocks=1)
    (block,) = read.blocks
    known = np.argwhere(block.counts.numpy())
    assert len(known) > 1000
    hole = np.argwhere(~block.inputs.valid.numpy())
    distance = np.abs(known[:, None] - hole[None]).max(-1).min()
    assert distance > EDGE


def test_fill_of_invalid_pixels_changes_nothing(write_pair: Write, tmp_path: Path, ground: Write) -> None:
    values, found = ground(4, SHAPE, 2), []
    for fill in (0, 60000):
        ms = values.reshape(4, SHAPE[0] // 4, 4, SHAPE[1] // 4, 4).mean((2, 4)).round()
        ms[:, :30] = fill
        read = coarse(open_scene(write_pair(tmp_path / str(fill), SHAPE, ms=ms, nodata=fill).pan))
        found.append(fit_mixture(read, blur_of_pan, GROUP, 4))
    assert found[0] == found[1]


def test_large_scene_is_read_in_few_blocks() -> None:
    plan, windows = block_windows(Pair((40000, 40000), (4.0, 4.0), (0.3,) * 4, 0.15), 128, 8)
    assert len(windows) == 8
    assert plan.window == 512


# What a network does with them -------------------------------------------------------------------------------------


@pytest.fixture
def job(scene: Scene, tiny_checkpoint: Path) -> Job:
    return Job.of(scene, tiny_checkpoint, "cpu", "float32")


def fused_by(job: Job, weights: tuple[float, ...] | None) -> tuple[Tensor, Any, Any]:
    stats = measure(job)
    stats = replace(stats, mixture=() if weights is None else (weights,) * 4)
    (sample,) = open_source(job).samples(job.plan, [job.plan.windows()[3]])
    window = prepare(sample, job.gnyq_ms, job.plan.halo, views=stats.views)
    fuser = load_fuser(job.spec, "cpu", "float32")
    assert isinstance(fuser, NetworkFuser)
    return fuser.fuse([window], stats, job.groups)[0], window, stats


def test_residual_alone_is_the_network(job: Job) -> None:
    plain, *_ = fused_by(job, None)
    alone, *_ = fused_by(job, (0.0, 0.0, 0.0, 0.0, 1.0))
    torch.testing.assert_close(plain, alone, atol=1e-3, rtol=0)


def test_first_weight_alone_is_mtf_glp_fs_on_bands_brought_together(job: Job) -> None:
    fused, window, stats = fused_by(job, (1.0, 0.0, 0.0, 0.0, 0.0))
    gain = stats.network_statistics([0, 1, 2, 3]).gain[0]
    added = gain * (window.pan - window.pan_low)
    expected = window.ms_placed + move(added, [(view.row, view.col) for view in stats.views])
    torch.testing.assert_close(fused, expected, atol=2e-2, rtol=0)


def test_job_measures_a_mixture_for_networks_only(job: Job, scene: Scene) -> None:
    assert len(measure(job).mixture) == 4
    assert measure(Job.of(scene, "gsa", "cpu", "float32")).mixture == ()
