"""The Lightning task that trains SHIP++ for pan-sharpening on simulated pairs, and on real ones degraded once more.

Not for running training: `pipelines/train.py` reads the config, builds the trainer and publishes the weights. The
learning rate rises, stays, and falls over the last steps, so that a run can be prolonged before its fall without harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from ship_geo.data.chips import ChipBatch
from ship_geo.data.simulation import SimulatedBatch, SimulationConfig, simulate
from ship_geo.errors import ArgumentError, ShipGeoError
from ship_geo.fusers import pick_precision
from ship_geo.losses import pansharpening_loss
from ship_geo.nn.inputs import N_DETAIL, N_GUIDE, N_STREAM, BandStatistics
from ship_geo.nn.registry import build_sharpener
from ship_geo.nn.sharpener import Sharpener, SharpenerConfig


@dataclass(frozen=True)
class Schedule:
    """Learning rate over steps: linear rise, plateau at `rate`, linear fall to zero over the last `fall` steps.

    Attributes
    ----------
    rate
        Largest learning rate.
    rise, steps, fall
        Steps of the rise, of the whole run and of the fall, each at least 1.
    """

    rate: float = 1e-3
    rise: int = 200
    steps: int = 10000
    fall: int = 3000

    def __post_init__(self) -> None:
        """Refuse a schedule without rise, run or fall, and a rate that is none."""
        if min(self.rise, self.steps, self.fall) < 1:
            msg = f"rise, steps and fall of a schedule are at least 1, got {self}; correct the config"
            raise ArgumentError(msg)
        if not 0 <= self.rate <= 1:
            msg = f"the rate of a schedule is from 0 to 1, got {self}; correct the config"
            raise ArgumentError(msg)

    def factor(self, step: int) -> float:
        """Fraction of `rate` at `step`."""
        return max(0.0, min(1.0, (step + 1) / self.rise, (self.steps - step) / self.fall))


class PairBatch(Protocol):
    """Streams and reference that are ready for the network, as of `ship_geo.data.reduced.ReducedSteps`."""

    @property
    def ms_stream(self) -> Tensor:
        """(n, channel, row, col), standardised."""

    @property
    def guide_stream(self) -> Tensor:
        """(n, channel, row, col), standardised."""

    @property
    def ref(self) -> Tensor:
        """(n, band, row, col), standardised."""

    @property
    def statistics(self) -> BandStatistics:
        """Statistics of the scene of each sample, DN."""


def _units(pair: PairBatch) -> tuple[Tensor, Tensor]:
    return pair.statistics.ms_mean, pair.statistics.ms_std


class PansharpeningTask(lightning.LightningModule):
    """Trains a network on batches of chips, which it simulates on its device, or of pairs that are ready.

    Parameters
    ----------
    config
        The network, of any kind that reads the streams of `ship_geo.nn.inputs`.
    simulation
        Ranges of the simulated sensors.
    schedule
        Learning rate.
    weight_decay
        Of AdamW.
    """

    def __init__(
        self,
        config: SharpenerConfig,
        simulation: SimulationConfig,
        schedule: Schedule,
        weight_decay: float = 1e-4,
    ) -> None:
        super().__init__()
        self.network = build_sharpener(config).to(memory_format=torch.channels_last)
        start_from_details(self.network)
        self.simulation, self.schedule, self.weight_decay = simulation, schedule, weight_decay

    def forward(self, ms_stream: Tensor, guide_stream: Tensor) -> Tensor:
        """Run the network on channels-last streams."""
        last = torch.channels_last
        fused: Tensor = self.network(
            ms_stream.contiguous(memory_format=last), guide_stream.contiguous(memory_format=last)
        )
        return fused

    def _simulate(self, batch: ChipBatch) -> SimulatedBatch:
        generator = torch.Generator().manual_seed(batch.seed)
        # in float32 whatever the trainer's precision: autocast would round the reference itself to bfloat16
        with torch.autocast(batch.chips.device.type, enabled=False):
            return simulate(batch.chips, generator, batch.scene_mean, batch.scene_std, self.simulation)

    def _pair(self, batch: ChipBatch | PairBatch) -> PairBatch:
        return self._simulate(batch) if isinstance(batch, ChipBatch) else batch

    def training_step(self, batch: ChipBatch | PairBatch, _: int) -> Tensor:
        """Loss of one batch."""
        pair = self._pair(batch)
        loss = pansharpening_loss(self(pair.ms_stream, pair.guide_stream), pair.ref, _units(pair))
        self.log("train/loss", loss, batch_size=len(pair.ref))
        return loss

    def validation_step(self, batch: ChipBatch | PairBatch, _: int, dataloader_idx: int = 0) -> None:
        """Log the loss, and quality against the best of the four classical details on the same pair.

        Names begin with ``val/`` for chips and with ``val_scenes/`` for real pairs, which have a loader of their own.
        """
        del dataloader_idx  # batches tell what they are
        place = "val" if isinstance(batch, ChipBatch) else "val_scenes"
        pair = self._pair(batch)
        fused = self(pair.ms_stream, pair.guide_stream)
        scores = {"loss": pansharpening_loss(fused, pair.ref, _units(pair)), **_mean_scores(fused.float(), pair)}
        for name, value in scores.items():
            self.log(f"{place}/{name}", value, batch_size=len(pair.ref), sync_dist=True, add_dataloader_idx=False)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with the schedule, stepped every batch."""
        # not fused: Lightning clips no gradients of fused optimizers in mixed precision
        optimizer = torch.optim.AdamW(self.network.parameters(), self.schedule.rate, weight_decay=self.weight_decay)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule.factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class StopWhereNotFinite(lightning.Callback):
    """Stops a run whose loss or weights are not finite, before the weights are saved: what was saved before stays."""

    def on_before_backward(self, trainer: lightning.Trainer, _: lightning.LightningModule, loss: Tensor) -> None:
        """Look at the loss of a step."""
        if not bool(loss.isfinite()):
            self._stop(f"a loss of {loss.detach().item()}", trainer)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, _: dict[str, Any]
    ) -> None:
        """Look at the weights that would be saved."""
        self._look(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Look at the weights of the last step."""
        self._look(trainer, pl_module)

    def _look(self, trainer: lightning.Trainer, task: lightning.LightningModule) -> None:
        if not all(bool(part.isfinite().all()) for part in task.parameters()):
            self._stop("weights that are not", trainer)

    @staticmethod
    def _stop(what: str, trainer: lightning.Trainer) -> None:
        msg = f"a run has finite losses and weights, got {what} after {trainer.global_step} steps; lower the rate"
        raise ShipGeoError(msg)


def trainer_precision(precision: str, device: torch.device) -> str:
    """Return what a trainer takes: ``"auto"`` is bf16-mixed where the device multiplies it faster, else 32-true."""
    if precision != "auto":
        return precision
    return "bf16-mixed" if pick_precision("auto", device) == "bfloat16" else "32-true"


@torch.no_grad()
def start_from_details(network: Sharpener) -> None:
    """Let training begin at the mean of the classical details, which a line of weights expresses.

    Raises
    ------
    ArgumentError
        If the network does not read the streams of `ship_geo.nn.inputs`.
    """
    n_feature, n_band = network.config.n_feature, network.config.n_band
    if network.config.n_in != N_STREAM * n_band or network.config.n_guide != N_GUIDE:
        msg = (
            f"a pan-sharpening network reads {N_STREAM} channels per band and {N_GUIDE} of PAN, got {network.config}; "
            "correct n_in and n_guide"
        )
        raise ArgumentError(msg)
    for band in range(n_band):
        for detail in range(1, N_DETAIL + 1):
            network.out.weight[band, n_feature + detail * n_band + band, 1, 1] = 1 / N_DETAIL


def relative_error(image: Tensor, ref: Tensor) -> Tensor:
    """ERGAS of (n, band, row, col) images, DN, for a ratio of 1: (n,). See `ship_geo.metrics.ergas`."""
    mse, mean = (image - ref).square().mean((-2, -1)), ref.mean((-2, -1))
    return 100 * (mse / mean.square()).mean(1).sqrt()


def spectral_angle(image: Tensor, ref: Tensor) -> Tensor:
    """SAM of (n, band, row, col) images, DN, degrees: (n,). See `ship_geo.metrics.sam`.

    After W. Kahan: the arc cosine of a small angle has no digits left in float32, this has all of them.
    """
    one, other = (part / torch.linalg.vector_norm(part, dim=1, keepdim=True).clamp(min=1e-12) for part in (image, ref))
    chord, sum_ = (torch.linalg.vector_norm(part, dim=1) for part in (one - other, one + other))
    return torch.rad2deg(2 * torch.atan2(chord, sum_)).mean((-2, -1))


def _mean_scores(fused: Tensor, pair: PairBatch) -> dict[str, Tensor]:
    """Mean over the pairs of SAM, and of RMSE, ERGAS and SAM divided by those of the best classical detail."""
    skip, *others = torch.split(pair.ms_stream, fused.shape[1], 1)
    images = (fused, *(skip + detail for detail in others[:N_DETAIL]))
    s = pair.statistics
    *values, ref = (part * s.ms_std + s.ms_mean for part in (*images, pair.ref))
    errors = {
        "rmse": torch.stack([(image - pair.ref).square().mean((1, 2, 3)).sqrt() for image in images]),
        "ergas": torch.stack([relative_error(image, ref) for image in values]),
        "sam": torch.stack([spectral_angle(image, ref) for image in values]),
    }
    ratios = {f"{name}_ratio": (error[0] / error[1:].amin(0)).mean() for name, error in errors.items()}
    return {"sam": errors["sam"][0].mean(), **ratios}
