"""Weighted Brovey transform: every band is multiplied by the ratio of PAN to a weighted sum of the bands.

Ratios of DN keep the spectral angle and follow shadows; they amplify haze. Not for data that can be negative. The
convention that could surprise: the weights are non-negative and come without intercept, so that the sum stays
positive wherever the bands are; they approximate PAN as the MS pixels see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ship_geo.baselines.layout import StackLayout, per_band

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ship_geo.ops.moments import Moments

FLOOR_SHARE = 0.05
"""The intensity counts at least as this share of its mean over the scene: PAN detail over black stays bounded."""

_RANK_TOLERANCE = 1e-10
"""Directions of the bands' second moments below this share of the largest are not regressed on."""


@dataclass(frozen=True)
class BroveyCoefficients:
    """Weights of the bands in the intensity.

    Attributes
    ----------
    weights
        One per band, not negative.
    floor
        Smallest intensity that divides, DN.
    """

    weights: tuple[float, ...]
    floor: float


def fit_brovey(moments: Moments) -> BroveyCoefficients:
    """Fit the band weights by regression of the low-passed PAN on the interpolated bands, 1 / n_band if that fails.

    The low-passed PAN is `pan_low` averaged over the bands.

    Parameters
    ----------
    moments
        Moments of the variables of `StackLayout`, DN.

    Raises
    ------
    ArgumentError
        If `moments` has not the variables of `StackLayout`.

    References
    ----------
    A. R. Gillespie, A. B. Kahle, R. E. Walker, "Color enhancement of highly correlated images. II", Remote Sensing
    of Environment 22(3), 1987.
    """
    layout = StackLayout.of(moments)
    joint = layout.intensity(moments)
    weights = _positive_weights(joint.cov + np.outer(joint.mean, joint.mean))
    mean = float(weights @ joint.mean[:-1])
    return BroveyCoefficients(tuple(weights.tolist()), max(FLOOR_SHARE * mean, 0.0))


def _positive_weights(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve for the last variable from the others given all raw second moments, dropping bands of negative weight."""
    n_band = len(gram) - 1
    kept = [band for band in range(n_band) if gram[band, band] > 0]
    while kept:
        solved = np.linalg.lstsq(gram[np.ix_(kept, kept)], gram[kept, -1], rcond=_RANK_TOLERANCE)[0]
        if (solved >= 0).all():
            break
        del kept[int(solved.argmin())]
    if not kept or not solved.any():
        return np.full(n_band, 1 / n_band)
    weights = np.zeros(n_band)
    weights[kept] = solved
    return weights


def apply_brovey(ms_up: Tensor, pan: Tensor, pan_low: Tensor, coefficients: BroveyCoefficients) -> Tensor:
    """Fuse pointwise: F_b = E_b + E_b (P - I) / I with I = sum w_b E_b, which is E_b P / I.

    Where I is below the floor, zero or negative, the floor divides instead.

    Parameters
    ----------
    ms_up, pan
        (..., band, row, col) and (..., 1, row, col), float, DN.
    pan_low
        Not used; there for the common signature.
    coefficients
        From `fit_brovey`.

    Returns
    -------
    torch.Tensor
        Shape, dtype and unit of `ms_up`.
    """
    del pan_low
    intensity = (per_band(coefficients.weights, ms_up) * ms_up).sum(dim=-3, keepdim=True)
    tiny = max(coefficients.floor, 1e-30)
    return ms_up + ms_up * ((pan - intensity) / intensity.clamp(min=tiny))
