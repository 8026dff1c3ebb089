"""The training task: its schedule, what a step learns, and that precision of the network leaves the pairs alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from ship_geo import fusers
from ship_geo.data.chips import ChipBatch, ChipPack, ChipSteps
from ship_geo.data.simulation import SimulatedBatch, SimulationConfig
from ship_geo.errors import ArgumentError
from ship_geo.losses import pansharpening_loss
from ship_geo.metrics import ergas, sam
from ship_geo.nn import ShipPlusPlusConfig
from ship_geo.nn.inputs import N_DETAIL
from ship_geo.training import PansharpeningTask, Schedule, spectral_angle, trainer_precision

TINY = ShipPlusPlusConfig(n_feature=4, n_order=2, n_stage=1)
CALM = SimulationConfig(ratios=(4,), ratio_weights=(1.0,))

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers:UserWarning",
    "ignore:You defined a `validation_step` but have no:UserWarning",
)


@pytest.fixture
def pack() -> ChipPack:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(3, 4, 24, 24, generator=generator)
    chips = (200 * torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear") + 20).to(torch.uint8)
    values = chips.float()
    return ChipPack(chips, values.mean((2, 3)), values.std((2, 3)))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors: threads would wait for each other longer than they work."""
    n_thread = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_thread)


def fit(task: PansharpeningTask, steps: ChipSteps, folder: Path, **options: object) -> None:
    trainer = lightning.Trainer(
        default_root_dir=folder,
        max_steps=len(steps),
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(task, DataLoader(steps, batch_size=None))


def loss_of(task: PansharpeningTask, batch: ChipBatch) -> float:
    pair = task._simulate(batch)
    return float(pansharpening_loss(task(pair.ms_stream, pair.guide_stream), pair.ref))


def test_schedule_rises_stays_and_falls() -> None:
    schedule = Schedule(rate=1e-3, rise=10, steps=100, fall=20)
    factors = np.array([schedule.factor(step) for step in range(101)])
    np.testing.assert_allclose(factors[:10], np.arange(1, 11) / 10)
    np.testing.assert_allclose(factors[10:80], 1)
    np.testing.assert_allclose(factors[80:], np.linspace(1, 0, 21), atol=1e-12)


@given(st.integers(1, 50), st.integers(1, 300), st.integers(1, 200), st.integers(1, 300))
def test_longer_run_equals_the_shorter_one_before_its_fall(rise: int, steps: int, fall: int, more: int) -> None:
    short, long = (Schedule(rise=rise, steps=n, fall=fall) for n in (steps, steps + more))
    for step in range(max(0, steps - fall) + 1):
        if step + fall <= steps:
            assert short.factor(step) == long.factor(step)
    assert short.factor(steps) == 0
    assert all(0 <= short.factor(step) <= 1 for step in range(steps + 5))


@pytest.mark.parametrize("name", ["rise", "steps", "fall"])
def test_schedule_without_rise_run_or_fall_is_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match="rise, steps and fall of a schedule are at least 1, got"):
        Schedule(**{name: 0})


def test_loss_on_one_batch_falls(pack: ChipPack, tmp_path: Path) -> None:
    batch = ChipSteps(pack, 1, batch_size=1, region=72, seed=0)[0]

    class Same(ChipSteps):
        def __getitem__(self, step: int):
            if step >= self.steps:
                raise IndexError(step)
            return batch

    lightning.seed_everything(0, verbose=False)
    task = PansharpeningTask(TINY, CALM, Schedule(rate=1e-2, rise=1, steps=30, fall=1))
    with torch.no_grad():
        before = loss_of(task, batch)
    fit(task, Same(pack, 30, 1, 72, 0), tmp_path, gradient_clip_val=1.0)
    with torch.no_grad():
        assert loss_of(task, batch) < 0.9 * before


def test_learning_rate_follows_the_schedule_step_by_step(pack: ChipPack, tmp_path: Path) -> None:
    schedule, seen = Schedule(rate=1e-2, rise=2, steps=6, fall=2), []

    class Watch(lightning.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:  # noqa: ARG002
            seen.append(optimizer.param_groups[0]["lr"])

    task = PansharpeningTask(TINY, CALM, schedule)
    fit(task, ChipSteps(pack, 6, 1, 72, 0), tmp_path, callbacks=[Watch()])
    assert seen == pytest.approx([1e-2 * schedule.factor(step) for step in range(6)])
    assert seen == pytest.approx([0.005, 0.01, 0.01, 0.01, 0.01, 0.005])


def test_pairs_are_simulated_in_float32_whatever_the_precision(pack: ChipPack) -> None:
    task = PansharpeningTask(TINY, CALM, Schedule())
    batch = ChipSteps(pack, 1, batch_size=1, region=72, seed=0)[0]
    expected = task._simulate(batch)
    with torch.autocast("cpu", torch.bfloat16):
        pair = task._simulate(batch)
    for name in ("ms_stream", "guide_stream", "ref"):
        assert torch.equal(getattr(pair, name), getattr(expected, name))


def test_same_seeds_train_the_same_weights(pack: ChipPack, tmp_path: Path) -> None:
    weights = []
    for _ in range(2):
        lightning.seed_everything(7, verbose=False)
        task = PansharpeningTask(TINY, SimulationConfig(), Schedule(rate=1e-2, rise=1, steps=3, fall=1))
        fit(task, ChipSteps(pack, 3, 2, 72, 0), tmp_path)
        weights.append(task.network.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def start_of(pair: SimulatedBatch) -> torch.Tensor:
    """MS plus the mean of the classical details."""
    skip, *others = torch.split(pair.ms_stream, 4, 1)
    return skip + torch.stack(others[:N_DETAIL]).mean(0)


def test_training_begins_at_the_mean_of_the_classical_details(pack: ChipPack) -> None:
    task = PansharpeningTask(TINY, CALM, Schedule())
    pair = task._simulate(ChipSteps(pack, 1, batch_size=1, region=72, seed=0)[0])
    with torch.no_grad():
        torch.testing.assert_close(task(pair.ms_stream, pair.guide_stream), start_of(pair))


@pytest.mark.parametrize("changes", [{"n_in": 16}, {"n_guide": 1}])
def test_network_that_does_not_read_the_streams_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match="reads 6 channels per band and 3 of PAN, got"):
        PansharpeningTask(dataclasses.replace(TINY, **changes), CALM, Schedule())


def test_validation_compares_with_the_best_classical_detail(pack: ChipPack) -> None:
    task = PansharpeningTask(TINY, CALM, Schedule())
    logged = {}
    task.log = lambda name, value, **_: logged.update({name: float(value)})  # type: ignore[method-assign]
    batch = ChipSteps(pack, 1, batch_size=2, region=72, seed=0)[0]
    pair = task._simulate(batch)
    with torch.no_grad():
        task.validation_step(batch, 0)
    fused = start_of(pair)
    ms_up = pair.ms_stream[:, :4]
    ratios = []
    for n in range(2):
        opponents = [torch.dist(ms_up[n] + pair.ms_stream[n, 4 * k : 4 * k + 4], pair.ref[n]) for k in (1, 2, 3, 4)]
        ratios.append(float(torch.dist(fused[n], pair.ref[n]) / min(opponents)))
    assert logged["val/rmse_ratio"] == pytest.approx(np.mean(ratios), rel=1e-4)


def test_validation_scores_are_those_of_the_metrics_in_dn(pack: ChipPack) -> None:
    task = PansharpeningTask(TINY, CALM, Schedule())
    logged: dict[str, float] = {}
    task.log = lambda name, value, **_: logged.update({name: float(value)})  # type: ignore[method-assign]
    batch = ChipSteps(pack, 1, batch_size=2, region=72, seed=0)[0]
    pair = task._simulate(batch)
    with torch.no_grad():
        task.validation_step(batch, 0)
    s = pair.statistics
    dn = [(image * s.ms_std + s.ms_mean).numpy() for image in (start_of(pair), pair.ref)]
    skip, *others = torch.split(pair.ms_stream, 4, 1)
    classical = [((skip + detail) * s.ms_std + s.ms_mean).numpy() for detail in others[:N_DETAIL]]
    for name, index in (("sam", sam), ("ergas", partial(ergas, ratio=4))):
        own = [index(dn[0][n], dn[1][n]) for n in range(2)]
        best = [min(index(image[n], dn[1][n]) for image in classical) for n in range(2)]
        assert logged[f"val/{name}_ratio"] == pytest.approx(np.mean(np.divide(own, best)), rel=1e-4)
        if name == "sam":
            assert logged["val/sam"] == pytest.approx(np.mean(own), rel=1e-4)


def test_small_angles_keep_their_digits() -> None:
    ref = torch.full((1, 4, 8, 8), 1000.0)
    image = ref.clone()
    image[:, 0] += 0.5  # half a DN: 0.0248 degrees, of which a float32 cosine knows nothing
    expected = sam(image[0].double().numpy(), ref[0].double().numpy())
    assert float(spectral_angle(image, ref)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_gradients_are_clipped_in_any_precision(pack: ChipPack, tmp_path: Path, precision: str) -> None:
    norms = []

    class Watch(lightning.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:  # noqa: ARG002
            raw = torch.nn.utils.get_total_norm([p.grad for p in pl_module.parameters() if p.grad is not None])
            norms.append(float(raw))

        def on_before_zero_grad(self, trainer, pl_module, optimizer) -> None:  # noqa: ARG002
            grads = [p.grad for p in pl_module.parameters() if p.grad is not None]
            if grads:
                norms.append(float(torch.nn.utils.get_total_norm(grads)))

    task = PansharpeningTask(TINY, CALM, Schedule())
    steps = ChipSteps(pack, 2, 1, 72, 0)
    fit(task, steps, tmp_path, gradient_clip_val=1e-3, precision=precision, callbacks=[Watch()])
    assert norms[0] > 1e-3
    assert norms[1] == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("is_fast", [True, False])
def test_precision_is_half_where_the_device_multiplies_it_faster(
    monkeypatch: pytest.MonkeyPatch, is_fast: bool
) -> None:
    monkeypatch.setattr(fusers, "_cpu_multiplies_bfloat16", lambda: is_fast)
    cpu = torch.device("cpu")
    assert trainer_precision("auto", cpu) == ("bf16-mixed" if is_fast else "32-true")
    assert trainer_precision("16-mixed", cpu) == "16-mixed"
