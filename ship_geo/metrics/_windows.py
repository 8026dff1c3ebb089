"""Sums over sliding windows and cuts into blocks, in NumPy.

Not public. The convention that could surprise: sliding windows give valid positions only, and sums are built by
doubling, so that a window of a power of two over a constant has a variance of exactly zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def box_sum(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Sum over every `window` x `window` square inside (..., row, col); the axes shrink by window - 1."""
    return _run_sum(_run_sum(values, window).swapaxes(-1, -2), window).swapaxes(-1, -2)


def _run_sum(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Sum of `window` consecutive values along the last axis, from sums of 1, 2, 4 … values."""
    n_position = max(values.shape[-1] - window + 1, 0)
    total = np.zeros((*values.shape[:-1], n_position))
    power, length, start = values, 1, 0
    while n_position:
        if window & length:
            total += power[..., start : start + n_position]
            start += length
        if 2 * length > window:
            break
        power = power[..., :-length] + power[..., length:]
        length *= 2
    return total


def filter_valid(values: NDArray[np.float64], taps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlate both last axes with `taps`, valid positions only."""
    for _ in range(2):
        n_position = values.shape[-1] - len(taps) + 1
        result = np.zeros((*values.shape[:-1], max(n_position, 0)))
        for offset, tap in enumerate(taps):
            result += tap * values[..., offset : offset + n_position]
        values = result.swapaxes(-1, -2)
    return values


def cut_blocks(values: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """Whole blocks of (band, row, col) as (block, band, pixel), row-major; the tail is dropped."""
    n_band, n_row, n_col = values.shape[0], values.shape[1] // block, values.shape[2] // block
    whole = values[:, : n_row * block, : n_col * block].reshape(n_band, n_row, block, n_col, block)
    return whole.transpose(1, 3, 0, 2, 4).reshape(n_row * n_col, n_band, block * block)


def whole_blocks(valid: NDArray[np.bool_], block: int) -> NDArray[np.bool_]:
    """(block,) True where every pixel of the block is valid."""
    return np.asarray(cut_blocks(valid[None].astype(np.float64), block).min(axis=(1, 2), initial=1.0) > 0)
