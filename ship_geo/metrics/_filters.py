"""The two low-pass filters that the indices without reference need, on NumPy arrays at PAN scale.

Not public. The convention that could surprise: `through_mtf` does not decimate, and `pan_on_ms_grid_and_back` follows
the usual definition of D_S: antialiased bicubic (a = -1/2) down, the interpolation of MS up, no MTF.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ship_geo.ops.resample import apply_axes, axis_decimate, shrink, upsample

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
    low = shrink(torch.from_numpy(pan), shape, ratio, phase)
    return upsample(low, (pan.shape[1], pan.shape[2]), ratio, phase).numpy()
