"""Q2n, the hypercomplex quality index for images of any number of bands (Q4, Q8 …).

Treats the bands of a pixel as one number of a Cayley-Dickson algebra, so that it sees errors of colour and of
structure at once. Blind to a contrast inversion of all bands: print the correlation beside it. The conventions that
could surprise: both images are rounded to 16-bit integers, bands are padded to a power of two, the index is not
symmetric, and blocks whose reference is constant in a band are left out and counted.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from ship_geo.errors import ArgumentError
from ship_geo.metrics._inputs import mean_or_nan, prepare_pair
from ship_geo.metrics._windows import cut_blocks, whole_blocks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_CONSTANT = 1e-24
"""A variance below this share of the squared mean is rounding."""

_ZERO_STD = float(np.finfo(np.float64).eps)
"""Stands for a standard deviation of zero."""

ConstantBlocks = Literal["exclude", "score"]
Tail = Literal["drop", "mirror"]


@lru_cache
def product_table(n: int) -> NDArray[np.float64]:
    """Structure constants of the Cayley-Dickson algebra of dimension `n`: (i, j, k), e_i e_j = sum_k t_ijk e_k.

    Doubling is (a, b)(c, d) = (a c - conj(d) b, d a + b conj(c)).

    Parameters
    ----------
    n
        A power of two.

    Returns
    -------
    numpy.ndarray
        (n, n, n) float64 of -1, 0, 1. Shared between callers: do not write into it.
    """
    if n == 1:
        return np.ones((1, 1, 1))
    half = n // 2
    small = product_table(half)
    conjugate = np.where(np.arange(half) == 0, 1.0, -1.0)
    swapped = small.transpose(1, 0, 2)
    table = np.zeros((n, n, n))
    table[:half, :half, :half] = small
    table[half:, half:, :half] = -swapped * conjugate[None, :, None]
    table[:half, half:, half:] = swapped
    table[half:, :half, half:] = small * conjugate[None, :, None]
    return table


def q2n_blocks(fused: NDArray[np.float64], ref: NDArray[np.float64]) -> NDArray[np.float64]:
    """Index of every block.

    Parameters
    ----------
    fused, ref
        (block, band, pixel) DN, all finite.

    Returns
    -------
    numpy.ndarray
        (block,) float64.

    References
    ----------
    L. Alparone et al., "A global quality measurement of pan-sharpened multispectral imagery", IEEE GRSL 1(4), 2004;
    A. Garzelli, F. Nencini, "Hypercomplex quality assessment of multi/hyperspectral images", IEEE GRSL 6(4), 2009.
    """
    y, z = _normalise(_pad_bands(_to_uint16(ref)), _pad_bands(_to_uint16(fused)))
    z[:, 1:] *= -1
    unbiased = y.shape[-1] / (y.shape[-1] - 1)
    mean_y, mean_z = y.mean(axis=-1), z.mean(axis=-1)
    centred_y, centred_z = y - mean_y[..., None], z - mean_z[..., None]
    cross = centred_y @ centred_z.swapaxes(-1, -2) / y.shape[-1]
    cov = np.linalg.norm(np.einsum("nij,ijk->nk", cross, product_table(y.shape[1])), axis=-1)
    var = _variance(centred_y, mean_y) + _variance(centred_z, mean_z)
    norm_y, norm_z = np.linalg.norm(mean_y, axis=-1), np.linalg.norm(mean_z, axis=-1)
    luminance = 2 * norm_y * norm_z / (norm_y**2 + norm_z**2)
    contrast = np.divide(2 * unbiased * cov, unbiased * var, out=np.ones_like(var), where=var > 0)
    return np.asarray(contrast * luminance)


def _to_uint16(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round half up and clip to 16 bits, still float64."""
    return np.floor(values + 0.5).clip(0, 65535)


def _pad_bands(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add zero bands up to a power of two."""
    n_band = values.shape[1]
    return np.pad(values, ((0, 0), (0, (1 << (n_band - 1).bit_length()) - n_band), (0, 0)))


def _normalise(ref: NDArray[np.float64], fused: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both blocks relative to mean and standard deviation of the reference, plus one."""
    mean = ref.mean(axis=-1, keepdims=True)
    std = ref.std(axis=-1, ddof=1, keepdims=True)
    std = np.where(std > 0, std, _ZERO_STD)
    scale = np.where(mean == 0, 1.0, std)
    return (ref - mean) / std + 1, (fused - mean) / scale + 1


def _variance(centred: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over components of the population variance, zero where it is rounding."""
    var = (centred**2).mean(axis=-1)
    return np.asarray(np.where(var > _CONSTANT * mean**2, var, 0.0).sum(axis=-1))


class Q2nAccumulator:
    """Sum of the index over the blocks seen so far.

    Attributes
    ----------
    total
        Sum over counted blocks.
    count
        Counted blocks.
    excluded
        Whole valid blocks left out because the reference is constant in a band.
    """

    def __init__(self, block: int = 32, constant_blocks: ConstantBlocks = "exclude", *, name: str = "Q2n") -> None:
        if block < 2:  # noqa: PLR2004  one pixel has no variance
            msg = f"blocks are at least 2 pixels wide, got {block}; 32 is usual"
            raise ArgumentError(msg)
        self.name = name  # in warnings
        self.block = block
        self.constant_blocks = constant_blocks
        self.total = 0.0
        self.count = 0
        self.excluded = 0

    def update(self, fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None) -> None:
        """Add the whole, fully valid blocks of (band, row, col) DN images under a (row, col) mask.

        Parts of a scene must start on multiples of the block.
        """
        first, second, mask = prepare_pair(fused, ref, valid)
        whole = whole_blocks(mask, self.block)
        fused_blocks, ref_blocks = cut_blocks(first, self.block)[whole], cut_blocks(second, self.block)[whole]
        if self.constant_blocks == "exclude":
            varies = (np.ptp(_to_uint16(ref_blocks), axis=-1) > 0).all(axis=-1)
            self.excluded += int((~varies).sum())
            fused_blocks, ref_blocks = fused_blocks[varies], ref_blocks[varies]
        self.total += float(q2n_blocks(fused_blocks, ref_blocks).sum())
        self.count += len(ref_blocks)

    def merge(self, other: Q2nAccumulator) -> None:
        """Add what another accumulator has seen."""
        self.total += other.total
        self.count += other.count
        self.excluded += other.excluded

    def compute(self) -> float:
        """Mean over counted blocks; NaN and a warning if there is none."""
        return mean_or_nan(self.total, self.count, self.name, f"{self.block} x {self.block} blocks")


def q2n(
    fused: ArrayLike,
    ref: ArrayLike,
    valid: ArrayLike | None = None,
    *,
    block: int = 32,
    tail: Tail = "drop",
    constant_blocks: ConstantBlocks = "exclude",
) -> float:
    """Hypercomplex quality index, mean over blocks; 1 is best.

    Parameters
    ----------
    fused, ref
        (band, row, col) DN.
    valid
        (row, col) bool; None for all.
    block
        Side of the blocks, pixels.
    tail
        "drop" counts whole blocks only; "mirror" extends bottom and right symmetrically, as the published tables do.
    constant_blocks
        "exclude" leaves out blocks whose reference is constant in a band; "score" gives them the recipe's value.

    Raises
    ------
    ArgumentError
        If shapes do not fit.
    """
    first, second, mask = prepare_pair(fused, ref, valid)
    if tail == "mirror":
        pad = [(0, -length % block) for length in mask.shape]
        first, second = (np.pad(image, [(0, 0), *pad], mode="symmetric") for image in (first, second))
        mask = np.pad(mask, pad, mode="symmetric")
    accumulator = Q2nAccumulator(block, constant_blocks)
    accumulator.update(first, second, mask)
    return accumulator.compute()
