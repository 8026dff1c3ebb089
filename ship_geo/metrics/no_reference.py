"""Indices at full resolution, where there is no reference: D_lambda, D_S, QNR, D_lambda_K, HQNR.

Not a verdict alone: QNR favours blur, and the MS interpolated has D_lambda zero by definition. The conventions that
could surprise: the index of two bands is averaged over the scene's blocks first and the absolute difference taken
after, so chunks are merged before anything is computed; comparisons use `ms_up`, not `ms`; the low-passed PAN of D_S
is antialiased bicubic on the MS grid, interpolated back as `ms_up` was; the MTF of D_lambda_K sums to one.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch

from ship_geo.errors import ArgumentError
from ship_geo.metrics._filters import pan_on_ms_grid_and_back, through_mtf
from ship_geo.metrics._inputs import erode, fill_mean, prepare
from ship_geo.metrics.q2n import ConstantBlocks, q2n
from ship_geo.metrics.uqi import BlockUqiAccumulator
from ship_geo.ops.masks import ms_mask_on_pan
from ship_geo.ops.mtf import RADIUS
from ship_geo.ops.resample import upsample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


class DistortionAccumulator:
    """Block sums of the indices between bands, from which D_lambda, D_S and QNR follow."""

    def __init__(self, block: int = 32) -> None:
        self._sharp = BlockUqiAccumulator(block)
        self._coarse = BlockUqiAccumulator(block)

    @property
    def count(self) -> int:
        """Blocks seen so far."""
        return self._sharp.count

    def update(
        self,
        fused: ArrayLike,
        ms_up: ArrayLike,
        pan: ArrayLike,
        pan_low_up: ArrayLike,
        valid: ArrayLike | None = None,
    ) -> None:
        """Add the whole, fully valid blocks of a part that starts on multiples of the block.

        Parameters
        ----------
        fused, ms_up
            (band, row, col) DN.
        pan, pan_low_up
            (1, row, col) DN; `pan_low_up` is PAN decimated to the MS grid and interpolated as `ms_up` was.
        valid
            (row, col) bool; None for all.
        """
        images, mask = prepare((fused, ms_up, pan, pan_low_up), valid)
        _check_bands(images)
        self._sharp.update(np.concatenate([images[0], images[2]]), mask)
        self._coarse.update(np.concatenate([images[1], images[3]]), mask)

    def merge(self, other: DistortionAccumulator) -> None:
        """Add what another accumulator has seen."""
        self._sharp.merge(other._sharp)
        self._coarse.merge(other._coarse)

    def d_lambda(self, p: float = 1.0) -> float:
        """Spectral distortion: change of the index between all pairs of bands; 0 is best.

        References
        ----------
        L. Alparone et al., "Multispectral and panchromatic data fusion assessment without reference", PE&RS 74(2),
        2008, eq. 1.
        """
        change = self._change("D_lambda")[:-1, :-1]
        pairs = change[np.triu_indices(len(change), k=1)]
        return float(np.mean(pairs**p)) ** (1 / p) if pairs.size else 0.0

    def d_s(self, q: float = 1.0) -> float:
        """Spatial distortion: change of the index between every band and PAN; 0 is best (Alparone 2008, eq. 2)."""
        change = self._change("D_S")
        return float(np.mean(change[:-1, -1] ** q)) ** (1 / q) if len(change) > 1 else math.nan

    def bands(self) -> dict[str, list[float]]:
        """Per band: ``d_lambda``, mean change against the other bands, and ``d_s``, change against PAN."""
        if not self.count:
            return {}
        change = self._change("D_S")
        n_band = len(change) - 1
        others = change[:-1, :-1].sum(axis=1) / max(n_band - 1, 1)
        return {"d_lambda": others.tolist(), "d_s": change[:-1, -1].tolist()}

    def _change(self, name: str) -> NDArray[np.float64]:
        """(band + pan, band + pan) absolute change of the mean index; NaN and a warning without blocks."""
        if not self.count:
            msg = f"{name} needs at least one whole valid block, got none; it is NaN"
            warnings.warn(msg, UserWarning, stacklevel=3)
            return np.full((3, 3), np.nan)
        return np.abs(self._sharp.compute() - self._coarse.compute())


def _check_bands(images: Sequence[NDArray[np.float64]]) -> None:
    bands = [len(image) for image in images]
    if bands[0] != bands[1] or bands[2:] != [1, 1]:
        msg = f"fused and ms_up have the same bands and PAN has one, got {bands}; select bands first"
        raise ArgumentError(msg)


def d_lambda_k(
    fused: ArrayLike,
    ms_up: ArrayLike,
    valid: ArrayLike | None = None,
    *,
    ratio: tuple[float, float],
    gnyq_ms: Sequence[float],
    block: int = 32,
    constant_blocks: ConstantBlocks = "exclude",
) -> float:
    """Khan's spectral distortion, 1 - Q2n of the fused image seen through the MS bands' MTF against `ms_up`.

    Parameters
    ----------
    fused, ms_up
        (band, row, col) DN at PAN scale.
    valid
        (row, col) bool; None for all. Pixels whose MTF neighbourhood holds an invalid one do not count.
    ratio
        (row, col) MS pixel size / PAN pixel size.
    gnyq_ms
        MTF gain at Nyquist per band.
    block, constant_blocks
        As in `ship_geo.metrics.q2n.q2n`.

    Returns
    -------
    float
        0 is best.

    References
    ----------
    M. M. Khan, L. Alparone, J. Chanussot, "Pansharpening quality assessment using the modulation transfer functions
    of instruments", IEEE TGRS 47(11), 2009; A. Arienzo et al., IEEE GRSM 10(3), 2022.
    """
    images, mask = prepare((fused, ms_up), valid)
    if not len(images[0]) == len(images[1]) == len(gnyq_ms):
        msg = (
            f"fused, ms_up and gnyq_ms have the same bands, got {len(images[0])}, {len(images[1])} and "
            f"{len(gnyq_ms)}; select bands first"
        )
        raise ArgumentError(msg)
    blurred = through_mtf(fill_mean(images[0], mask), ratio, gnyq_ms)
    counted = erode(mask, RADIUS)
    return 1 - q2n(blurred, images[1], counted, block=block, constant_blocks=constant_blocks)


def qnr(spectral: float, spatial: float) -> float:
    """(1 - spectral)(1 - spatial): QNR from D_lambda and D_S, HQNR from D_lambda_K and D_S; 1 is best."""
    return (1 - spectral) * (1 - spatial)


def no_reference(
    fused: ArrayLike,
    ms: ArrayLike,
    pan: ArrayLike,
    *,
    ratio: tuple[float, float],
    phase: tuple[float, float],
    gnyq_ms: Sequence[float],
    valid: ArrayLike | None = None,
    block: int = 32,
) -> dict[str, float]:
    """Score a fused image in memory against the pair it was made from.

    Clip and round `fused` to the output's range and dtype before.

    Parameters
    ----------
    fused, ms, pan
        (band, row, col) on the PAN grid, (band, row, col) on the MS grid, (1, row, col); DN.
    ratio, phase
        (row, col) as in `ship_geo.ops.resample`.
    gnyq_ms
        MTF gain at Nyquist per band.
    valid
        (row, col) bool on the PAN grid: PAN and MS are valid; None for all. Interpolated and filtered pixels count
        only where all they were made from is valid.
    block
        Side of the blocks, pixels.

    Returns
    -------
    dict
        d_lambda, d_s, qnr, d_lambda_k, hqnr, and valid_fraction of the mask.

    Raises
    ------
    ArgumentError
        If shapes or numbers of bands do not fit.
    """
    (sharp, panchromatic), mask = prepare((fused, pan), valid)
    ms_values = np.asarray(ms, dtype=np.float64)
    if ms_values.ndim != sharp.ndim or len(ms_values) != len(sharp) or len(panchromatic) != 1:
        msg = (
            f"ms has the bands of fused and PAN has one, got shapes {ms_values.shape}, {sharp.shape} and "
            f"{panchromatic.shape}; pass (band, row, col) arrays"
        )
        raise ArgumentError(msg)
    grid = (mask.shape[0], mask.shape[1])
    finite = torch.from_numpy(np.isfinite(ms_values).all(axis=0))
    if not finite.all():
        mask = mask & ms_mask_on_pan(finite, grid, ratio, phase).numpy()
    known = np.nan_to_num(ms_values, nan=0.0, posinf=0.0, neginf=0.0)
    ms_up = upsample(torch.from_numpy(known), grid, ratio, phase).numpy()
    pan_low_up = pan_on_ms_grid_and_back(
        fill_mean(panchromatic, mask), (ms_values.shape[1], ms_values.shape[2]), ratio, phase
    )
    reach = math.ceil(2 * max(ratio))
    accumulator = DistortionAccumulator(block)
    accumulator.update(sharp, ms_up, panchromatic, pan_low_up, erode(mask, 2 * reach))
    spectral, spatial = accumulator.d_lambda(), accumulator.d_s()
    whole = erode(mask, max(reach - RADIUS, 0))  # d_lambda_k takes the rest, RADIUS
    khan = d_lambda_k(sharp, ms_up, whole, ratio=ratio, gnyq_ms=gnyq_ms, block=block)
    return {
        "d_lambda": spectral,
        "d_s": spatial,
        "qnr": qnr(spectral, spatial),
        "d_lambda_k": khan,
        "hqnr": qnr(khan, spatial),
        "valid_fraction": float(mask.mean()),
    }
