"""Going between the MS and the PAN grid with the exact ratio and phase, as one small matrix per axis.

Blur, sub-pixel phase and decimation are one operation (`axis_decimate` with the band's MTF, `axis_shrink` with an
antialiased cubic), interpolation is another (`axis_interpolate`); all are separable, so an image is moved by
``rows @ image @ cols.T``. Not for arbitrary warps.

The convention that could surprise: ``phase`` is the outer corner of MS pixel 0 on the PAN axis, in PAN pixels, so
the centre of MS pixel k lies at PAN index ``phase + ratio * (k + 0.5) - 0.5``. Samples beyond the array repeat its
edge; only `axis_shrink` mirrors it, as the indices that use it are defined. The matrices are dense and meant for
windows: an axis of 10,000 PAN pixels at ratio 4 takes 100 MB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ship_geo.ops.mtf import RADIUS, mtf_sigma, mtf_taps

LANCZOS = 4
"""Lobes of the sinc on either side of a sample that is moved by a fraction of a pixel."""


def ms_centres(n_ms: int, ratio: float, phase: float) -> NDArray[np.float64]:
    """PAN indices of the centres of the first `n_ms` MS pixels, float64."""
    return np.asarray(phase + ratio * (np.arange(n_ms) + 0.5) - 0.5, dtype=np.float64)


def _around(positions: NDArray[np.float64], reach: int) -> NDArray[np.int64]:
    """Indices of the samples within `reach` of each position, and a few more: (position, sample)."""
    return np.floor(positions)[:, None].astype(np.int64) + np.arange(-reach, reach + 2)


def _fold(weights: NDArray[np.float64], index: NDArray[np.int64], n_sample: int) -> Tensor:
    """Make a matrix of weights at indices, both (row, tap); samples beyond the array give theirs to its edge."""
    matrix = np.zeros((len(weights), n_sample))
    np.add.at(matrix, (np.arange(len(weights))[:, None], np.clip(index, 0, n_sample - 1)), weights)
    return torch.from_numpy(matrix.astype(np.float32))


@lru_cache(maxsize=256)
def axis_decimate(n_ms: int, n_pan: int, ratio: float, phase: float, gnyq: float) -> Tensor:
    """Matrix that blurs one PAN axis with the band's MTF and samples it at the MS pixel centres.

    Parameters
    ----------
    n_ms, n_pan
        Lengths of the axis on either grid.
    ratio
        MS pixel size / PAN pixel size along this axis.
    phase
        Outer corner of MS pixel 0, PAN pixels.
    gnyq
        Gain of the band's MTF at the MS Nyquist frequency.

    Returns
    -------
    torch.Tensor
        (n_ms, n_pan) float32; each row sums to one. Shared between callers: do not write into it.
    """
    centres = np.clip(ms_centres(n_ms, ratio, phase), -RADIUS, n_pan - 1 + RADIUS)
    index = _around(centres, RADIUS)
    return _fold(mtf_taps(index - centres[:, None], mtf_sigma(gnyq, ratio)), index, n_pan)


@lru_cache(maxsize=256)
def axis_interpolate(n_pan: int, n_ms: int, ratio: float, phase: float) -> Tensor:
    """Matrix that interpolates one MS axis at every PAN pixel centre by cubic convolution (a = -1/2).

    Parameters
    ----------
    n_pan, n_ms
        Lengths of the axis on either grid.
    ratio
        MS pixel size / PAN pixel size along this axis.
    phase
        Outer corner of MS pixel 0, PAN pixels.

    Returns
    -------
    torch.Tensor
        (n_pan, n_ms) float32; each row sums to one, linear ramps are kept. Shared between callers: do not write
        into it.

    References
    ----------
    R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29(6), 1981, eq. 15.
    """
    position = np.clip((np.arange(n_pan) + 0.5 - phase) / ratio - 0.5, -1, n_ms)
    index = _around(position, 2)
    return _fold(_keys(np.abs(position[:, None] - index)), index, n_ms)


@lru_cache(maxsize=64)
def axis_shrink(n_ms: int, n_pan: int, ratio: float, phase: float) -> Tensor:
    """Matrix that decimates one PAN axis by antialiased cubic convolution (a = -1/2), without any MTF.

    The kernel is stretched by the ratio and mirrored at the edges, as ``imresize`` of MATLAB does; for PAN at MS
    resolution in the indices and benchmarks that are defined so.

    Parameters
    ----------
    n_ms, n_pan
        Lengths of the axis on either grid.
    ratio
        MS pixel size / PAN pixel size along this axis, at least 1.
    phase
        Outer corner of MS pixel 0, PAN pixels.

    Returns
    -------
    torch.Tensor
        (n_ms, n_pan) float64; each row sums to one. Shared between callers: do not write into it.
    """
    reach = math.ceil(2 * ratio) + 1
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
    """Keys' cubic with a = -1/2 at non-negative distances."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))  # noqa: PLR2004  the kernel's own knots


@lru_cache(maxsize=256)
def axis_shift(n: int, shift: float) -> Tensor:
    """Matrix that samples an axis `shift` pixels further on, by a sinc under a window of eight taps (Lanczos 4).

    Parameters
    ----------
    n
        Length of the axis.
    shift
        Pixels, of any size and sign.

    Returns
    -------
    torch.Tensor
        (n, n) float32; each row sums to one. Shared between callers: do not write into it.
    """
    position = np.clip(np.arange(n) + shift, -1, n)
    index = _around(position, LANCZOS - 1)
    distance = np.abs(position[:, None] - index)
    weights = np.sinc(distance) * np.sinc(distance / LANCZOS) * (distance < LANCZOS)
    return _fold(weights / weights.sum(axis=1, keepdims=True), index, n)


def move(values: Tensor, shifts: Sequence[tuple[float, float]]) -> Tensor:
    """Sample each band some pixels further on.

    Parameters
    ----------
    values
        (..., band, row, col).
    shifts
        (row, col) of each band, pixels.

    Returns
    -------
    torch.Tensor
        Like `values`: at (r, c) stands what `values` shows at (r + row, c + col); beyond the array its edge.
    """
    rows, cols = (
        torch.stack([axis_shift(values.shape[axis - 2], shift[axis]) for shift in shifts]).to(
            values.device, values.dtype
        )
        for axis in (0, 1)
    )
    return apply_axes(values, rows, cols)


def apply_axes(values: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Apply one matrix to the row axis and one to the column axis.

    Parameters
    ----------
    values
        (..., row, col).
    rows, cols
        (..., row', row) and (..., col', col), broadcast against the leading axes of `values`.

    Returns
    -------
    torch.Tensor
        (..., row', col').
    """
    return rows @ values @ cols.mT


def upsample(ms: Tensor, shape: tuple[int, int], ratio: tuple[float, float], phase: tuple[float, float]) -> Tensor:
    """Interpolate MS onto the PAN grid.

    Parameters
    ----------
    ms
        (..., row, col) on the MS grid.
    shape
        (row, col) of the PAN grid.
    ratio, phase
        (row, col); see the module's convention.

    Returns
    -------
    torch.Tensor
        (..., row, col) of `shape`.
    """
    rows, cols = (
        axis_interpolate(shape[i], ms.shape[i - 2], ratio[i], phase[i]).to(ms.device, ms.dtype) for i in (0, 1)
    )
    return apply_axes(ms, rows, cols)


def degrade(
    pan: Tensor,
    shape: tuple[int, int],
    ratio: tuple[float, float],
    phase: tuple[float, float],
    gnyq: tuple[float, ...],
) -> Tensor:
    """Blur each band with its MTF and sample it on the MS grid.

    Parameters
    ----------
    pan
        (..., band, row, col) on the PAN grid; one band is shared by all gains.
    shape
        (row, col) of the MS grid.
    ratio, phase
        (row, col); see the module's convention.
    gnyq
        Gain at Nyquist of each band.

    Returns
    -------
    torch.Tensor
        (..., len(gnyq), row, col) of `shape`.
    """
    rows, cols = (
        torch.stack([axis_decimate(shape[i], pan.shape[i - 2], ratio[i], phase[i], gain) for gain in gnyq]).to(
            pan.device, pan.dtype
        )
        for i in (0, 1)
    )
    if len(set(gnyq)) == 1:
        rows, cols = rows[0], cols[0]
    return apply_axes(pan, rows, cols).expand(*pan.shape[:-3], len(gnyq), *shape)


def blur(values: Tensor, ratio: tuple[float, float], gnyq: tuple[float, ...]) -> Tensor:
    """Blur each band with its MTF without leaving its grid.

    Parameters
    ----------
    values
        (..., band, row, col).
    ratio
        (row, col) of the pair; gains are those at 1 / (2 ratio) cycles per pixel of `values`.
    gnyq
        Gain of each band, or one for all of them.

    Returns
    -------
    torch.Tensor
        Like `values`.
    """
    # A Gaussian of gain G at 1 / (2 r) has gain G ** r² at 1 / 2, the Nyquist frequency of ratio 1.
    rows, cols = (
        torch.stack([axis_decimate(n, n, 1.0, 0.0, gain ** (step**2)) for gain in gnyq]).to(values.device, values.dtype)
        for n, step in zip(values.shape[-2:], ratio, strict=True)
    )
    return apply_axes(values, rows, cols)


def shrink(pan: Tensor, shape: tuple[int, int], ratio: tuple[float, float], phase: tuple[float, float]) -> Tensor:
    """Decimate PAN to the MS grid by antialiased cubic convolution, without any MTF; see `axis_shrink`.

    Parameters
    ----------
    pan
        (..., row, col) on the PAN grid.
    shape
        (row, col) of the MS grid.
    ratio, phase
        (row, col); see the module's convention.

    Returns
    -------
    torch.Tensor
        (..., row, col) of `shape`.
    """
    rows, cols = (axis_shrink(shape[i], pan.shape[i - 2], ratio[i], phase[i]).to(pan.device, pan.dtype) for i in (0, 1))
    return apply_axes(pan, rows, cols)
