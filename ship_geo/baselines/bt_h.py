"""BT-H, the Brovey transform after haze is taken off: ratios of what is above the path radiance.

Not for data without an offset of the atmosphere, where it is `ship_geo.baselines.brovey` with a matched PAN. Two
conventions could surprise. Bands whose role is blue, green, red or nir have a share of their first percentile as haze,
whatever other bands there are; the authors' toolbox does so in images of four bands only, and takes the minima in all
others. And the intensity counts at least as a share of its mean, as in `brovey`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ship_geo.baselines.layout import StackLayout, gathered, per_band, varies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from ship_geo.baselines.layout import SceneMeasures

HAZE_SHARES: Mapping[str, float] = {"blue": 0.95, "green": 0.45, "red": 0.40, "nir": 0.05}
"""Haze of a band as a share of its first percentile; of any other band it is the minimum."""

FLOOR_SHARE = 0.05
"""The intensity counts at least as this share of its mean over the scene: PAN detail over black stays bounded."""

_RANK_TOLERANCE = 1e-10
"""Directions of the bands' second moments below this share of the largest are not regressed on."""


@dataclass(frozen=True)
class BtHCoefficients:
    """Haze, weights of the intensity, and the linear match of PAN to it.

    Attributes
    ----------
    haze
        One per band, DN.
    weights
        One per band: share of the band above its haze in the intensity.
    gain, offset
        The matched PAN is gain * PAN + offset, DN.
    floor
        Smallest intensity that divides, DN.
    """

    haze: tuple[float, ...]
    weights: tuple[float, ...]
    gain: float
    offset: float
    floor: float


def haze_of(measures: SceneMeasures) -> tuple[float, ...]:
    """Haze of each band, DN: by role a share of the first percentile, else the minimum."""
    roles = measures.roles or ("",) * len(measures.ms_min)
    return tuple(
        HAZE_SHARES[role] * dark if role in HAZE_SHARES else least
        for role, dark, least in zip(roles, measures.first_percentile, measures.ms_min, strict=True)
    )


def fit_bt_h(measures: SceneMeasures) -> BtHCoefficients:
    """Fit the weights by regression of the low-passed PAN on the bands without intercept, and match PAN to I.

    With I = sum w_b (E_b - L_b): gain std(I) / std(P_L), offset mean(I) - gain * mean(P_L); all over the same sample of
    pixels, whose chance then cancels. Weights may be negative.
    Weights, gain and offset are zero (the result is `ms_up`) where PAN does not vary or the mean of I is not positive.

    Parameters
    ----------
    measures
        Of the scene.

    Raises
    ------
    ArgumentError
        If the moments with `pan_plain` are missing.

    References
    ----------
    S. Lolli, L. Alparone, A. Garzelli, G. Vivone, "Haze correction for contrast-based multispectral pansharpening",
    IEEE GRSL 14(12), 2017.
    """
    n_band = StackLayout.of(measures.moments).n_band
    plain = gathered(measures.plain, n_band + 1)
    raw = plain.cov + np.outer(plain.mean, plain.mean)
    weights = np.linalg.lstsq(raw[:-1, :-1], raw[:-1, -1], rcond=_RANK_TOLERANCE)[0]
    haze = haze_of(measures)
    mean = float(weights @ (plain.mean[:-1] - haze))
    if not varies(plain)[-1] or mean <= 0:
        nothing = (0.0,) * n_band
        return BtHCoefficients(measures.ms_min, nothing, 0.0, 0.0, 0.0)
    gain = float(np.sqrt(weights @ plain.cov[:-1, :-1] @ weights) / plain.std[-1])
    offset = mean - gain * float(plain.mean[-1])
    return BtHCoefficients(haze, tuple(weights.tolist()), gain, offset, FLOOR_SHARE * mean)


def apply_bt_h(ms_up: Tensor, pan: Tensor, pan_low: Tensor, coefficients: BtHCoefficients) -> Tensor:
    """Fuse pointwise: F_b = max(E_b, L_b) + max(E_b - L_b, 0) (P' - I) / I, which is L_b + max(E_b - L_b, 0) P' / I.

    Where I is below the floor, zero or negative, the floor divides instead.

    Parameters
    ----------
    ms_up, pan
        (..., band, row, col) and (..., 1, row, col), float, DN.
    pan_low
        Not used; there for the common signature.
    coefficients
        From `fit_bt_h`.

    Returns
    -------
    torch.Tensor
        Shape, dtype and unit of `ms_up`.
    """
    del pan_low
    haze = per_band(coefficients.haze, ms_up)
    clear = ms_up - haze
    intensity = (per_band(coefficients.weights, ms_up) * clear).sum(dim=-3, keepdim=True)
    unexplained = coefficients.gain * pan + coefficients.offset - intensity
    return ms_up.maximum(haze) + clear.clamp(min=0) * (
        unexplained / intensity.clamp(min=max(coefficients.floor, 1e-30))
    )
