"""Indices from pixels alone: SAM, RMSE, PSNR, ERGAS, CC.

Blind to where an error lies. The conventions that could surprise: SAM is in degrees and skips pixels where a vector
is zero; PSNR pools all bands before the logarithm; the mean in ERGAS is the reference's, so the order (fused, ref)
matters. Accumulators hold sums or merged moments, so any partition of a scene gives the scene's value.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ship_geo.errors import ArgumentError
from ship_geo.metrics._inputs import mean_or_nan, nan_because, prepare_pair
from ship_geo.ops.moments import Moments

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_CONSTANT = 1e-24
"""A variance below this share of the squared mean is rounding."""


class SamAccumulator:
    """Sum of spectral angles over the pixels seen so far.

    Attributes
    ----------
    total
        Sum of angles, radians.
    count
        Pixels in the sum.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0

    def update(self, fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None) -> None:
        """Add the pixels of (band, row, col) DN images under a (row, col) mask."""
        first, second, mask = prepare_pair(fused, ref, valid)
        dot = np.einsum("brc,brc->rc", first, second)
        norm = np.sqrt(np.einsum("brc,brc->rc", first, first) * np.einsum("brc,brc->rc", second, second))
        counted = mask & (norm > 0)
        cosine = np.clip(dot[counted] / norm[counted], -1, 1)
        self.total += float(np.arccos(cosine).sum())
        self.count += int(counted.sum())

    def merge(self, other: SamAccumulator) -> None:
        """Add what another accumulator has seen."""
        self.total += other.total
        self.count += other.count

    def compute(self) -> float:
        """Mean angle, degrees; NaN and a warning if no pixel counted."""
        return math.degrees(mean_or_nan(self.total, self.count, "SAM"))


class ErrorAccumulator:
    """Moments of error, reference and fused image of every band: all that RMSE, PSNR, ERGAS and CC need."""

    def __init__(self) -> None:
        self._moments: Moments | None = None

    @property
    def count(self) -> int:
        """Pixels seen so far."""
        return 0 if self._moments is None else int(self._moments.count)

    def update(self, fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None) -> None:
        """Add the pixels of (band, row, col) DN images under a (row, col) mask."""
        first, second, mask = prepare_pair(fused, ref, valid)
        self._add(Moments.from_samples(np.concatenate([first - second, second, first])[:, mask]))

    def merge(self, other: ErrorAccumulator) -> None:
        """Add what another accumulator has seen."""
        if other._moments is not None:
            self._add(other._moments)

    def _add(self, moments: Moments) -> None:
        self._moments = moments if self._moments is None else self._moments.merge(moments)

    def _parts(self, name: str) -> tuple[Moments, int]:
        """Moments and number of bands; NaN means and a warning if no pixel counted."""
        moments = self._moments
        if moments is None or moments.count == 0:
            mean_or_nan(0.0, 0, name)
            return Moments(0.0, np.full(3, np.nan), np.full((3, 3), np.nan)), 1
        return moments, moments.mean.size // 3

    def mse(self, name: str = "MSE") -> list[float]:
        """Mean squared error of every band, DN²."""
        moments, n_band = self._parts(name)
        return [float(value) for value in moments.var[:n_band] + moments.mean[:n_band] ** 2]

    def bands(self, peak: float) -> dict[str, list[float]]:
        """Per band ``rmse`` (DN), ``psnr`` (dB), ``cc``, and ``bias``, the mean of fused minus reference (DN)."""
        moments, n_band = self._parts("the error of a band")
        rmse = [math.sqrt(value) for value in self.mse()] if moments.count else [math.nan] * n_band
        return {
            "rmse": rmse,
            "psnr": [math.inf if value == 0 else 20 * math.log10(peak / value) for value in rmse],
            "cc": self._correlations(moments, n_band).tolist(),
            "bias": moments.mean[:n_band].tolist(),
        }

    def rmse(self) -> float:
        """Root mean squared error over all bands, DN."""
        return math.sqrt(np.mean(self.mse("RMSE")))

    def psnr(self, peak: float) -> float:
        """Peak signal-to-noise ratio over all bands, dB; infinite without error. `peak` is 2**bits - 1 DN."""
        rmse = math.sqrt(np.mean(self.mse("PSNR")))
        return math.inf if rmse == 0 else 20 * math.log10(peak / rmse)

    def ergas(self, ratio: float) -> float:
        """Relative global error in synthesis, (100 / ratio) sqrt(mean over bands of MSE / mean(ref)²).

        NaN and a warning if a band of the reference has mean zero.
        """
        moments, n_band = self._parts("ERGAS")
        if not ratio > 0:
            msg = f"the ratio is positive, got {ratio}; it is MS pixel size / PAN pixel size"
            raise ArgumentError(msg)
        means = moments.mean[n_band : 2 * n_band]
        mse = moments.var[:n_band] + moments.mean[:n_band] ** 2
        if not means.all():
            return nan_because("ERGAS needs bands of the reference whose mean is not zero, got one that is")
        return 100 / ratio * math.sqrt(np.mean(mse / means**2))

    def cc(self, name: str = "CC") -> float:
        """Pearson correlation, mean over bands; NaN and a warning that names the index if a band is constant."""
        moments, n_band = self._parts(name)
        value = float(np.mean(self._correlations(moments, n_band)))
        if moments.count and math.isnan(value):
            return nan_because(f"{name} needs bands that vary, got a constant one")
        return value

    @staticmethod
    def _correlations(moments: Moments, n_band: int) -> NDArray[np.float64]:
        ref, fused = np.arange(n_band, 2 * n_band), np.arange(2 * n_band, 3 * n_band)
        noise = _CONSTANT * moments.mean**2
        product = moments.var[ref] * moments.var[fused]
        varies = (moments.var[ref] > noise[ref]) & (moments.var[fused] > noise[fused])
        return np.asarray(moments.cov[ref, fused] / np.sqrt(np.where(varies, product, np.nan)))


def _errors(fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None) -> ErrorAccumulator:
    """Accumulator that has seen one pair of images."""
    accumulator = ErrorAccumulator()
    accumulator.update(fused, ref, valid)
    return accumulator


def sam(fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Spectral angle mapper, mean over pixels, degrees; 0 is best.

    Parameters
    ----------
    fused, ref
        (band, row, col) DN.
    valid
        (row, col) bool; None for all.

    Raises
    ------
    ArgumentError
        If shapes do not fit.

    References
    ----------
    R. H. Yuhas, A. F. H. Goetz, J. W. Boardman, "Discrimination among semi-arid landscape endmembers using the
    spectral angle mapper (SAM) algorithm", 1992.
    """
    accumulator = SamAccumulator()
    accumulator.update(fused, ref, valid)
    return accumulator.compute()


def rmse(fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Root mean squared error over all bands and valid pixels, DN; arguments as in `sam`."""
    return _errors(fused, ref, valid).rmse()


def psnr(fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None, *, peak: float) -> float:
    """Peak signal-to-noise ratio, pooled over bands, dB; `peak` is 2**bits - 1 DN, other arguments as in `sam`."""
    return _errors(fused, ref, valid).psnr(peak)


def ergas(fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None, *, ratio: float) -> float:
    """Erreur relative globale adimensionnelle de synthese (Ranchin & Wald 2000); 0 is best.

    `ratio` is MS pixel size / PAN pixel size, other arguments as in `sam`. Values of different ratios do not compare.
    """
    return _errors(fused, ref, valid).ergas(ratio)


def cc(fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Pearson correlation per band, mean over bands; 1 is best; arguments as in `sam`."""
    return _errors(fused, ref, valid).cc()
