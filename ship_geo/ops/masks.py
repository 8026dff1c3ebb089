"""Validity masks apart from values: filling invalid pixels before any filter, and carrying MS masks to the PAN grid.

Not for finding out what is invalid: readers decide that in the source dtype. The convention that could surprise: a
mask is True where a pixel is valid, and values under an invalid pixel never influence a result.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ship_geo.ops.resample import apply_axes

REACH = 20
"""Rows and columns over which a valid pixel can fill an invalid one: as far as the MTF filters see beyond an edge."""

DECAY = 0.5
"""Distance over which a pixel's weight falls to 1/e: the next pixel counts seven times less, so edges are continued."""


@lru_cache(maxsize=32)
def _nearness(n: int) -> Tensor:
    """Matrix (n, n) of weights exp(-distance / DECAY) within `REACH`."""
    distance = torch.arange(n)
    distance = (distance[:, None] - distance).abs()
    return torch.where(distance <= REACH, torch.exp(-distance / DECAY), 0.0)


def fill_invalid(values: Tensor, valid: Tensor, fallback: Tensor) -> Tensor:
    """Replace invalid pixels by a mean of the valid ones around them, in which the nearest rule.

    Parameters
    ----------
    values
        (band, row, col) float.
    valid
        (row, col) bool.
    fallback
        (band,) used where no pixel within `REACH` rows and columns is valid.

    Returns
    -------
    torch.Tensor
        (band, row, col); valid pixels are unchanged, every value is finite.
    """
    if bool(valid.all()):
        return values
    # Only what lies around invalid pixels; in most windows that is a strip outside the scene.
    part = _extent(valid.all(1)), _extent(valid.all(0))
    known, inner = valid[part], values[:, *part]
    rows, cols = (_nearness(n).to(values.device, values.dtype) for n in known.shape)
    weight = apply_axes(known.to(values.dtype), rows, cols)
    total = apply_axes(torch.where(known, inner, 0), rows, cols)
    near = torch.where(weight > 0, total / weight.clamp(min=torch.finfo(values.dtype).tiny), fallback[:, None, None])
    filled = values.clone()
    filled[:, *part] = torch.where(known, inner, near)
    return filled


def _extent(is_whole: Tensor) -> slice:
    """Rows (or columns) within `REACH` of those that are not wholly valid."""
    found = (~is_whole).nonzero()
    return slice(max(0, int(found[0]) - REACH), int(found[-1]) + 1 + REACH)


def erode(valid: Tensor, radius: int) -> Tensor:
    """Pixels (row, col) whose square neighbourhood is wholly valid and inside the array."""
    lost = torch.nn.functional.pad((~valid)[None].float(), (radius,) * 4, value=1.0)
    return torch.nn.functional.max_pool2d(lost, 2 * radius + 1, stride=1)[0] < 0.5  # noqa: PLR2004  half a pixel


def ms_mask_on_pan(
    valid: Tensor, shape: tuple[int, int], ratio: tuple[float, float], phase: tuple[float, float]
) -> Tensor:
    """Carry an MS mask to the PAN grid: a PAN pixel takes the mask of the MS pixel that holds its centre.

    Parameters
    ----------
    valid
        (row, col) bool on the MS grid.
    shape
        (row, col) of the PAN grid.
    ratio, phase
        (row, col) as in `ship_geo.ops.resample`.

    Returns
    -------
    torch.Tensor
        (row, col) bool of `shape`; False beyond the MS array.
    """
    rows, cols = (np.floor((np.arange(shape[i]) + 0.5 - phase[i]) / ratio[i] + 1e-9).astype(np.int64) for i in (0, 1))
    inside = [(index >= 0) & (index < n) for index, n in zip((rows, cols), valid.shape, strict=True)]
    # Columns first: they are gathered one by one, rows are copied whole.
    taken = valid[:, torch.from_numpy(cols.clip(0, valid.shape[1] - 1))][
        torch.from_numpy(rows.clip(0, valid.shape[0] - 1))
    ]
    return taken & torch.from_numpy(inside[0][:, None] & inside[1]).to(valid.device)
