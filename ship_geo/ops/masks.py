"""Validity masks apart from values: filling invalid pixels before any filter, and carrying MS masks to the PAN grid.

Not for finding out what is invalid: readers decide that in the source dtype. The convention that could surprise: a
mask is True where a pixel is valid, and values under an invalid pixel never influence a result.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def fill_invalid(values: Tensor, valid: Tensor, fallback: Tensor, radius: int = 6) -> Tensor:
    """Replace invalid pixels by a mean of the valid ones around them, weighted by distance to the power -4.

    Parameters
    ----------
    values
        (band, row, col) float.
    valid
        (row, col) bool.
    fallback
        (band,) used where no pixel within `radius` is valid.
    radius
        Half width of the square neighbourhood, pixels.

    Returns
    -------
    torch.Tensor
        (band, row, col); valid pixels are unchanged, every value is finite.
    """
    if bool(valid.all()):
        return values
    known = torch.where(valid, values, 0)
    offset = torch.arange(-radius, radius + 1, dtype=values.dtype, device=values.device)
    square = offset[:, None] ** 2 + offset**2
    kernel = torch.where(square > 0, square, 1).pow(-2)[None, None]
    weight = functional.conv2d(valid.to(values.dtype)[None, None], kernel, padding=radius)[0, 0]
    total = functional.conv2d(known[:, None], kernel, padding=radius)[:, 0]
    lightest = 0.5 * kernel.min()  # below it no pixel was valid: what is left is rounding of the convolution
    filled = torch.where(weight > lightest, total / weight.clamp(min=lightest), fallback[:, None, None])
    return torch.where(valid, values, filled)


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
    taken = valid[torch.from_numpy(rows.clip(0, valid.shape[0] - 1))][
        :, torch.from_numpy(cols.clip(0, valid.shape[1] - 1))
    ]
    return taken & torch.from_numpy(inside[0][:, None] & inside[1]).to(valid.device)
