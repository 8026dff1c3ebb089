"""GSA, adaptive Gram-Schmidt: PAN replaces the combination of bands that predicts it best.

Not the fixed-weight Gram-Schmidt of older software. The convention that could surprise: the paper regresses PAN that
was low-passed by an a-trous B3 spline and decimated; here it is `pan_low` (PAN through the bands' own MTF, on the MS
grid and back) averaged over the bands, at PAN scale, so that one pass over the scene serves every method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ship_geo.baselines.layout import StackLayout, per_band

if TYPE_CHECKING:
    from torch import Tensor

    from ship_geo.ops.moments import Moments

_RANK_TOLERANCE = 1e-10
"""Directions of the band covariance below this share of its largest are not regressed on."""


@dataclass(frozen=True)
class GsaCoefficients:
    """Weights of the intensity, gains of the detail, and means.

    Attributes
    ----------
    weights
        One per band: share of the band in the intensity.
    gains
        One per band: DN of the band per DN of detail.
    offset
        sum(weights * mean of the band) - mean of PAN, DN: makes the detail's mean zero.
    """

    weights: tuple[float, ...]
    gains: tuple[float, ...]
    offset: float


def fit_gsa(moments: Moments) -> GsaCoefficients:
    """Fit weights by least squares with intercept, and gains cov(I, E_b) / var(I).

    Parameters
    ----------
    moments
        Moments of the variables of `StackLayout`, DN.

    Returns
    -------
    GsaCoefficients
        Gains are zero (the result is `ms_up`) where the bands say nothing about PAN.

    Raises
    ------
    ArgumentError
        If `moments` has not the variables of `StackLayout`.

    References
    ----------
    B. Aiazzi, S. Baronti, M. Selva, "Improving component substitution pansharpening through multivariate regression
    of MS + Pan data", IEEE TGRS 45(10), 2007.
    """
    layout = StackLayout.of(moments)
    joint = layout.intensity(moments)
    among, with_pan = joint.cov[:-1, :-1], joint.cov[:-1, -1]
    weights = np.linalg.lstsq(among, with_pan, rcond=_RANK_TOLERANCE)[0]
    shared = among @ weights
    variance = float(weights @ shared)
    gains = shared / variance if variance > 0 else np.zeros(layout.n_band)
    offset = float(weights @ joint.mean[:-1] - moments.mean[layout.pan])
    return GsaCoefficients(tuple(weights.tolist()), tuple(gains.tolist()), offset)


def apply_gsa(ms_up: Tensor, pan: Tensor, pan_low: Tensor, coefficients: GsaCoefficients) -> Tensor:
    """Fuse pointwise: F_b = E_b + g_b (P - mean P - I), I = sum w_b (E_b - mean E_b).

    Parameters
    ----------
    ms_up, pan
        (..., band, row, col) and (..., 1, row, col), float, DN.
    pan_low
        Not used; there for the common signature.
    coefficients
        From `fit_gsa`.

    Returns
    -------
    torch.Tensor
        Shape, dtype and unit of `ms_up`; band means over the fitted pixels are those of `ms_up`.
    """
    del pan_low
    intensity = (per_band(coefficients.weights, ms_up) * ms_up).sum(dim=-3, keepdim=True)
    return ms_up + per_band(coefficients.gains, ms_up) * (pan - intensity + coefficients.offset)
