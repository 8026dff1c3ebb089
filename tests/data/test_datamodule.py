"""Loaders of a run: every batch once, on any number of processes, before and after an interruption."""

from __future__ import annotations

from itertools import chain
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ship_geo.data.datamodule import PairDataModule, StepSampler
from ship_geo.data.training_files import TrainingFiles


class Numbers:
    """Batches that are their own index."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> int:
        return index


@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 30))
def test_processes_share_the_batches_and_go_on_where_they_stopped(steps: int, n_rank: int, first: int) -> None:
    samplers = [StepSampler(steps, 0, rank, n_rank) for rank in range(n_rank)]
    assert all(len(sampler) == steps for sampler in samplers)
    whole = [list(sampler) for sampler in samplers]
    assert sorted(chain.from_iterable(whole)) == list(range(steps * n_rank))
    rest = [list(StepSampler(steps, first, rank, n_rank)) for rank in range(n_rank)]
    assert rest == [batches[first:] for batches in whole]


def test_each_process_reads_its_own_batches() -> None:
    module = PairDataModule(Numbers(12), [Numbers(4), Numbers(2)], 2, TrainingFiles())
    module.trainer = SimpleNamespace(global_rank=1, world_size=2)
    assert list(module.train_dataloader()) == [5, 7, 9, 11]
    assert [list(loader) for loader in module.val_dataloader()] == [[1, 3], [1]]


@pytest.mark.parametrize("n_worker", [0, 2])
def test_processes_that_read_ahead_change_nothing(n_worker: int) -> None:
    module = PairDataModule(Numbers(5), [], 1, TrainingFiles(), n_worker)
    assert list(module.train_dataloader()) == [1, 2, 3, 4]


def test_run_that_goes_on_keeps_the_files_it_had_read() -> None:
    before = PairDataModule(Numbers(1), [], 0, TrainingFiles({"aa": "old.tif"}, {"bb": "val.tif"}, ("cc",)))
    after = PairDataModule(Numbers(1), [], 0, TrainingFiles({"dd": "new.tif"}))
    after.load_state_dict(before.state_dict())
    assert after.files == TrainingFiles({"aa": "old.tif", "dd": "new.tif"}, {"bb": "val.tif"}, ("cc",))
