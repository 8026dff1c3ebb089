"""Wald's consistency: the fused image seen through the MS bands' MTF, sampled on the MS grid, against MS itself.

Blind to detail above the MS Nyquist frequency. The conventions that could surprise: sampling follows the sub-pixel
phase of the grids; only MS pixels whose filter lies wholly on valid pixels of the fused image count; and blocks start
at the first MS pixel for which the edges of the image leave room for the filter.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from ship_geo.errors import ArgumentError
from ship_geo.metrics._inputs import prepare
from ship_geo.metrics.pointwise import ErrorAccumulator, sam
from ship_geo.metrics.q2n import ConstantBlocks, q2n
from ship_geo.metrics.uqi import q
from ship_geo.ops.mtf import RADIUS
from ship_geo.ops.resample import degrade, ms_centres

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_EPSILON = 1e-9  # MS pixels; rounding of a phase must not move a pixel to its neighbour


def owned(start: int, stop: int, ratio: float, phase: float) -> tuple[int, int]:
    """MS pixels whose centres lie on PAN pixels [start, stop) of an axis, half open; see `ship_geo.ops.resample`."""
    first, last = (math.ceil((edge - phase) / ratio - 0.5 - _EPSILON) for edge in (start, stop))
    return first, last


def margin(ratio: float) -> int:
    """MS pixels at an edge of the image for which the filter has no room."""
    return math.ceil(RADIUS / ratio)


def seen_on_ms_grid(
    fused: NDArray[np.float64],
    valid: NDArray[np.bool_],
    shape: tuple[int, int],
    *,
    ratio: tuple[float, float],
    phase: tuple[float, float],
    gnyq: Sequence[float],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Filter (band, row, col) by each band's MTF, sample it on an MS grid, and tell where the filter was supported.

    Parameters
    ----------
    fused, valid
        On the PAN grid; pixels beyond it count as invalid.
    shape
        (row, col) of the MS grid.
    ratio, phase, gnyq
        As in `ship_geo.ops.resample.degrade`.
    """
    low = degrade(torch.from_numpy(fused), shape, ratio, phase, tuple(map(float, gnyq))).numpy()
    bad = np.pad((~valid).astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    (top, bottom, rows), (left, right, cols) = (
        _support(n, n_pan, axis_ratio, axis_phase)
        for n, n_pan, axis_ratio, axis_phase in zip(shape, valid.shape, ratio, phase, strict=True)
    )
    count = bad[np.ix_(bottom, right)] - bad[np.ix_(top, right)] - bad[np.ix_(bottom, left)] + bad[np.ix_(top, left)]
    return low, (count == 0) & rows[:, None] & cols


def _support(
    n_ms: int, n_pan: int, ratio: float, phase: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """First and last (exclusive) PAN pixel under the filter of each MS pixel, and whether both are there."""
    centres = ms_centres(n_ms, ratio, phase)
    first = np.ceil(centres - RADIUS - _EPSILON).astype(np.int64)
    stop = np.floor(centres + RADIUS + _EPSILON).astype(np.int64) + 1
    return first.clip(0, n_pan), stop.clip(0, n_pan), (first >= 0) & (stop <= n_pan)


def consistency(  # noqa: PLR0913  two images, two masks, and how they relate
    fused: ArrayLike,
    ms: ArrayLike,
    *,
    ratio: tuple[float, float],
    phase: tuple[float, float],
    gnyq_ms: Sequence[float],
    valid: ArrayLike | None = None,
    ms_valid: ArrayLike | None = None,
    block: int = 32,
    constant_blocks: ConstantBlocks = "exclude",
) -> dict[str, float]:
    """Compare a fused image in memory with the MS image that it was made from, on the grid of that.

    Parameters
    ----------
    fused, ms
        (band, row, col) DN on the PAN grid, and on the MS grid.
    ratio, phase
        (row, col) as in `ship_geo.ops.resample`.
    gnyq_ms
        MTF gain at Nyquist per band.
    valid, ms_valid
        (row, col) bool on either grid; None for all.
    block
        Side of the blocks of R-Q2n and of the windows of R-Q, MS pixels.
    constant_blocks
        As in `ship_geo.metrics.q2n.q2n`.

    Returns
    -------
    dict
        r_sam (degrees), r_ergas, r_q2n, r_q.

    Raises
    ------
    ArgumentError
        If shapes or numbers of bands do not fit, or the image is too small for the filter.

    References
    ----------
    G. Scarpa, M. Ciotola, "Full-resolution quality assessment for pansharpening", Remote Sensing 14(8), 2022.
    """
    (sharp,), mask = prepare((fused,), valid)
    (coarse,), ms_mask = prepare((ms,), ms_valid)
    if not len(sharp) == len(coarse) == len(gnyq_ms):
        msg = (
            f"fused, ms and gnyq_ms have the same bands, got {len(sharp)}, {len(coarse)} and {len(gnyq_ms)}; "
            "select bands first"
        )
        raise ArgumentError(msg)
    shape = (coarse.shape[1], coarse.shape[2])
    low, supported = seen_on_ms_grid(sharp, mask, shape, ratio=ratio, phase=phase, gnyq=gnyq_ms)
    inner = [
        slice(max(first + margin(r), 0), max(last - margin(r), 0))
        for (first, last), r in ((owned(0, n, r, p), r) for n, r, p in zip(mask.shape, ratio, phase, strict=True))
    ]
    low, coarse, counted = low[:, *inner], coarse[:, *inner], (supported & ms_mask)[*inner]
    if not counted.size:
        msg = f"the filter reaches {RADIUS} pixels to all sides, got an image of {mask.shape}; pass a larger one"
        raise ArgumentError(msg)
    errors = ErrorAccumulator()
    errors.update(low, coarse, counted)
    return {
        "r_sam": sam(low, coarse, counted),
        "r_ergas": errors.ergas(float(np.mean(ratio))),
        "r_q2n": q2n(low, coarse, counted, block=block, constant_blocks=constant_blocks),
        "r_q": q(low, coarse, counted, window=block),
    }
