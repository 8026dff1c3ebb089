"""The Lightning datamodule of a training run: which step reads which batch, on any number of devices.

Datasets here are indexed by step (`ship_geo.data.chips.ChipSteps`, `ship_geo.data.reduced.PooledSteps`, `MixedSteps`):
every batch is a function of its index alone. So a run that goes on skips what it has seen, several devices never read
the same batch, and the number of loader processes changes nothing. The list of files that were trained on is part of
the datamodule's state, hence of every checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import Any

import lightning
from torch.utils.data import DataLoader, Dataset, Sampler

from ship_geo.data.training_files import TrainingFiles


class StepSampler(Sampler[int]):
    """Step i of rank r of n reads batch i n + r.

    Parameters
    ----------
    steps
        Of the whole run. This is the length: the trainer counts on from its checkpoint.
    first
        Steps that are done.
    rank, n_rank
        Which process of how many.
    """

    def __init__(self, steps: int, first: int = 0, rank: int = 0, n_rank: int = 1) -> None:
        self.steps, self.first, self.rank, self.n_rank = steps, first, rank, n_rank

    def __iter__(self) -> Iterator[int]:
        """Yield the batches of the remaining steps."""
        return (step * self.n_rank + self.rank for step in range(self.first, self.steps))

    def __len__(self) -> int:
        """Count all steps of the run."""
        return self.steps


class PairDataModule(lightning.LightningDataModule):
    """Loaders of a run.

    Parameters
    ----------
    train
        Batches by index: as many as steps times processes.
    checks
        The same for validation, one dataset a loader.
    first
        Steps that are done.
    files
        What is trained and validated on.
    n_worker
        Processes that read ahead, for each loader; 0 reads between the steps.
    """

    def __init__(
        self, train: Dataset[Any], checks: Sequence[Dataset[Any]], first: int, files: TrainingFiles, n_worker: int = 0
    ) -> None:
        super().__init__()
        self.train, self.checks, self.first, self.files, self.n_worker = train, checks, first, files, n_worker

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of the remaining steps of this process."""
        return self._loader(self.train, self.first)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """Batches of validation of this process, one loader a dataset."""
        return [self._loader(part, 0) for part in self.checks]

    def _loader(self, batches: Dataset[Any], first: int) -> DataLoader[Any]:
        assert isinstance(batches, Sized)  # noqa: S101  for the type checker: datasets need no length
        rank, n_rank = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        sampler = StepSampler(len(batches) // n_rank, first, rank, n_rank)
        return DataLoader(
            batches,
            batch_size=None,
            sampler=sampler,
            num_workers=self.n_worker,
            persistent_workers=self.n_worker > 0,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the list of files, for the checkpoint."""
        return {"files": self.files.to_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Add the files that the run had read before."""
        self.files = TrainingFiles.from_dict(state_dict["files"]) | self.files
