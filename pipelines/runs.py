"""Checkpoints of `train.py`, read by itself and by `publish.py`."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from ship_geo.errors import CheckpointError


def read_run(path: Path) -> dict[str, Any]:
    """Read the checkpoint of a run.

    Raises
    ------
    CheckpointError
        If it is none, or damaged.
    """
    saved = None
    if zipfile.is_zipfile(path):
        try:
            saved = torch.load(path, weights_only=True, map_location="cpu")
        except (EOFError, LookupError, RuntimeError, TypeError, UnpicklingError, ValueError) as error:
            raise CheckpointError(_no_run(path)) from error
    if not isinstance(saved, dict) or not isinstance(saved.get("global_step"), int) or not _is_state(saved):
        raise CheckpointError(_no_run(path))
    return saved


def _is_state(saved: Mapping[str, Any]) -> bool:
    state = saved.get("state_dict")
    return isinstance(state, dict) and all(isinstance(name, str) for name in state)


def _no_run(path: Path) -> str:
    return f"a run is read from what pipelines/train.py saved, got {path}, which is damaged or none; pass another"


def load_weights(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Give a network the weights of a file.

    Raises
    ------
    CheckpointError
        If they are those of another network.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        msg = f"weights fit the network of the config, got others in {path}; correct [network], or pass others"
        raise CheckpointError(msg) from error
