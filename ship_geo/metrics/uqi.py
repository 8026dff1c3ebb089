"""Wang and Bovik's universal quality index: sliding windows against a reference (Q), blocks between any two bands.

Not SSIM. The convention that could surprise: where neither image varies the index is its luminance term, and a window
or block counts only if all its pixels are valid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ship_geo.errors import ArgumentError
from ship_geo.metrics._inputs import mean_or_nan, prepare, prepare_pair
from ship_geo.metrics._windows import box_sum, cut_blocks, whole_blocks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_CONSTANT = 1e-24
"""A block variance below this share of the squared mean is rounding."""


def uqi_from_moments(
    mean_x: NDArray[np.float64],
    mean_y: NDArray[np.float64],
    var_sum: NDArray[np.float64],
    cov: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Index from means, the sum of both variances and the covariance, elementwise.

    A factor whose denominator is zero is one.

    References
    ----------
    Z. Wang, A. C. Bovik, "A universal image quality index", IEEE Signal Processing Letters 9(3), 2002, eq. 1.
    """
    energy = mean_x**2 + mean_y**2
    luminance = np.divide(2 * mean_x * mean_y, energy, out=np.ones_like(energy), where=energy > 0)
    structure = np.divide(2 * cov, var_sum, out=np.ones_like(cov), where=var_sum > 0)
    return np.asarray(luminance * structure)


def q(fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None, *, window: int = 32) -> float:
    """Universal quality index in sliding windows of stride 1, mean over valid windows, then bands; 1 is best.

    Parameters
    ----------
    fused, ref
        (band, row, col) DN.
    valid
        (row, col) bool; None for all.
    window
        Side of the window, pixels.

    Raises
    ------
    ArgumentError
        If shapes do not fit or `window` is smaller than 2.
    """
    accumulator = UqiAccumulator(window)
    accumulator.update(fused, ref, valid)
    return accumulator.compute()


class UqiAccumulator:
    """Sum of the index over the sliding windows seen so far, band by band.

    Attributes
    ----------
    total
        (band,) sum; None before the first update.
    count
        Windows in the sum.
    """

    def __init__(self, window: int = 32, *, name: str = "Q") -> None:
        _check_side(window)
        self.name = name  # in warnings
        self.window = window
        self.total: NDArray[np.float64] | None = None
        self.count = 0

    def update(self, fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None) -> None:
        """Add every fully valid window inside (band, row, col) DN images under a (row, col) mask.

        Parts of a scene overlap by ``window - 1`` pixels, so that each window lies in one of them.
        """
        first, second, mask = prepare_pair(fused, ref, valid)
        counted = box_sum(mask.astype(np.float64), self.window) > self.window**2 - 0.5
        if counted.any():
            totals = [float(_uqi_map(x, y, self.window)[counted].sum()) for x, y in zip(first, second, strict=True)]
            self._add(np.array(totals), int(counted.sum()))

    def merge(self, other: UqiAccumulator) -> None:
        """Add what another accumulator has seen."""
        if other.total is not None:
            self._add(other.total, other.count)

    def _add(self, total: NDArray[np.float64], count: int) -> None:
        self.total = total if self.total is None else self.total + total
        self.count += count

    def bands(self) -> list[float]:
        """Mean of every band over its windows; empty if there was none."""
        return [] if self.total is None else [float(value) for value in self.total / self.count]

    def compute(self) -> float:
        """Mean over windows and bands; NaN and a warning if there is none."""
        return mean_or_nan(sum(self.bands()), len(self.bands()), self.name, "windows")


def _uqi_map(x: NDArray[np.float64], y: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Index of every window of two (row, col) images."""
    n = window**2
    sum_x, sum_y, sum_squares, sum_product = (box_sum(values, window) for values in (x, y, x * x + y * y, x * y))
    var_sum = (sum_squares - (sum_x**2 + sum_y**2) / n).clip(min=0)
    return uqi_from_moments(sum_x / n, sum_y / n, var_sum, sum_product - sum_x * sum_y / n)


def _check_side(side: int) -> None:
    if side < 2:  # noqa: PLR2004  one pixel has no variance
        msg = f"windows and blocks are at least 2 pixels wide, got {side}; 32 is usual"
        raise ArgumentError(msg)


class BlockUqiAccumulator:
    """Sum over blocks of the index between all pairs of bands of one image.

    Attributes
    ----------
    total
        (band, band) sum; None before the first update.
    count
        Blocks in the sum.
    """

    def __init__(self, block: int = 32) -> None:
        _check_side(block)
        self.block = block
        self.total: NDArray[np.float64] | None = None
        self.count = 0

    def update(self, values: ArrayLike, valid: ArrayLike | None = None) -> None:
        """Add the whole, fully valid blocks of a (band, row, col) image under a (row, col) mask.

        Parts of a scene must start on multiples of the block.
        """
        (image,), mask = prepare((values,), valid)
        blocks = cut_blocks(image, self.block)[whole_blocks(mask, self.block)]
        self._add(_block_uqi(blocks).sum(axis=0), len(blocks))

    def merge(self, other: BlockUqiAccumulator) -> None:
        """Add what another accumulator has seen."""
        if other.total is not None:
            self._add(other.total, other.count)

    def _add(self, total: NDArray[np.float64], count: int) -> None:
        self.total = total if self.total is None else self.total + total
        self.count += count

    def compute(self) -> NDArray[np.float64]:
        """(band, band) mean index over blocks; all NaN if there was no whole valid block."""
        if self.total is None:
            return np.full((1, 1), np.nan)
        return self.total / self.count if self.count else np.full_like(self.total, np.nan)


def _block_uqi(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(block, band, band) index between all bands of (block, band, pixel) values."""
    mean = blocks.mean(axis=-1)
    centred = blocks - mean[..., None]
    cov = centred @ centred.swapaxes(-1, -2) / blocks.shape[-1]
    var = cov.diagonal(axis1=-2, axis2=-1)
    var = np.where(var > _CONSTANT * mean**2, var, 0.0)
    return uqi_from_moments(
        np.broadcast_to(mean[:, :, None], cov.shape),
        np.broadcast_to(mean[:, None, :], cov.shape),
        var[:, :, None] + var[:, None, :],
        cov,
    )
