"""The two low-pass filters that the indices without reference need, on NumPy arrays at PAN scale.

Not public. The convention that could surprise: `through_mtf` does not decimate, and `pan_on_ms_grid_and_back` follows
the usual definition of D_S: antialiased bicubic (a = -1/2) down, the interpolation of MS up, no MTF.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from ship_geo.ops.resample import apply_axes, axis_decimate, ms_centres, upsample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def through_mtf(values: NDArray[np.float64], ratio: tuple[float, float], gnyq: Sequence[float]) -> NDArray[np.float64]:
    """Blur every band of (band, row, col) with its MTF at full rate; edges are replicated."""
    blurred = np.empty_like(values)
    for band, gain in enumerate(gnyq):
        # a Gaussian of gain G at 1 / (2 r) has gain G ** r² at 1 / 2, the Nyquist frequency of ratio 1
        rows, cols = (
            axis_decimate(n, n, 1.0, 0.0, float(gain) ** (axis_ratio**2)).double()
            for n, axis_ratio in zip(values.shape[1:], ratio, strict=True)
        )
        blurred[band] = apply_axes(torch.from_numpy(values[band]), rows, cols).numpy()
    return blurred


def pan_on_ms_grid_and_back(
    pan: NDArray[np.float64], shape: tuple[int, int], ratio: tuple[float, float], phase: tuple[float, float]
) -> NDArray[np.float64]:
    """Decimate (1, row, col) PAN to the MS grid of `shape` and interpolate it back."""
    rows, cols = (axis_shrink(shape[i], pan.shape[i + 1], ratio[i], phase[i]) for i in (0, 1))
    low = apply_axes(torch.from_numpy(pan), rows, cols)
    return upsample(low, (pan.shape[1], pan.shape[2]), ratio, phase).numpy()


@lru_cache(maxsize=64)
def axis_shrink(n_ms: int, n_pan: int, ratio: float, phase: float) -> torch.Tensor:
    """Matrix (n_ms, n_pan) float64 of antialiased bicubic decimation, symmetric beyond the ends."""
    reach = int(np.ceil(2 * ratio)) + 1
    centres = ms_centres(n_ms, ratio, phase)
    index = np.floor(centres)[:, None].astype(np.int64) + np.arange(-reach, reach + 1)
    weights = _keys(np.abs(index - centres[:, None]) / ratio)
    weights /= weights.sum(axis=1, keepdims=True)
    folded = index % (2 * n_pan)
    folded = np.where(folded < n_pan, folded, 2 * n_pan - 1 - folded)
    matrix = np.zeros((n_ms, n_pan))
    np.add.at(matrix, (np.arange(n_ms)[:, None], folded), weights)
    return torch.from_numpy(matrix)


def _keys(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cubic convolution kernel, a = -1/2 (Keys 1981)."""
    near = 1 + distance**2 * (1.5 * distance - 2.5)
    far = 2 - distance * (4 - distance * (2.5 - 0.5 * distance))
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))  # noqa: PLR2004  knots of the kernel
