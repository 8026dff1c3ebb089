"""MTF-matched generalised Laplacian pyramids: the detail is what each band's own MTF took away from PAN.

Three ways to inject it: additive with the full-scale regression gain (FS), and multiplicative, high-pass modulation, of
a PAN that is matched to the band by mean and standard deviation (HPM) or by regression (HPM-R). Not the filtering
itself: `pan_low` comes in filtered, decimated and interpolated. The convention that could surprise: regression and mean
of HPM use the decimated `pan_low`, not the filtered PAN at full rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ship_geo.baselines.layout import StackLayout, per_band, varies

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ship_geo.ops.moments import Moments

FLOOR_SHARE = 0.1
"""The matched low-passed PAN counts at least as this share of the band's mean: water and shadow stay bounded."""


@dataclass(frozen=True)
class GlpFsCoefficients:
    """Injection gains of MTF-GLP-FS.

    Attributes
    ----------
    gains
        One per band: DN of the band per DN of PAN detail.
    """

    gains: tuple[float, ...]


@dataclass(frozen=True)
class GlpHpmCoefficients:
    """Linear match of PAN to each band, for MTF-GLP-HPM and MTF-GLP-HPM-R.

    Attributes
    ----------
    gains, offsets
        One per band: the matched PAN is gain * PAN + offset, DN.
    floors
        One per band: smallest matched low-passed PAN that divides, DN.
    """

    gains: tuple[float, ...]
    offsets: tuple[float, ...]
    floors: tuple[float, ...]


def fit_glp_fs(moments: Moments) -> GlpFsCoefficients:
    """Fit g_b = cov(E_b, P) / cov(P_L,b, P); zero where PAN does not vary.

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
    G. Vivone, R. Restaino, J. Chanussot, "Full scale regression-based injection coefficients for panchromatic
    sharpening", IEEE TIP 27(7), 2018, eq. 15.
    """
    layout = StackLayout.of(moments)
    with_pan = moments.cov[layout.pan]
    below = with_pan[list(layout.pan_low)]
    usable = (below > 0) & varies(moments)[layout.pan]
    gains = np.divide(with_pan[list(layout.ms_up)], below, out=np.zeros(layout.n_band), where=usable)
    return GlpFsCoefficients(tuple(gains.tolist()))


def apply_glp_fs(ms_up: Tensor, pan: Tensor, pan_low: Tensor, coefficients: GlpFsCoefficients) -> Tensor:
    """Fuse pointwise: F_b = E_b + g_b (P - P_L,b).

    Parameters
    ----------
    ms_up, pan, pan_low
        (..., band, row, col), (..., 1, row, col) and (..., band, row, col), float, DN.
    coefficients
        From `fit_glp_fs`.

    Returns
    -------
    torch.Tensor
        Shape, dtype and unit of `ms_up`.
    """
    return ms_up + per_band(coefficients.gains, ms_up) * (pan - pan_low)


def fit_glp_hpm(moments: Moments) -> GlpHpmCoefficients:
    """Match PAN to each band: gain std(E_b) / std(P_L,b), offset mean(E_b) - gain * mean(P).

    Gain and offset are zero (the result is `ms_up`) where PAN does not vary or the band's mean is not positive.

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
    B. Aiazzi et al., "An MTF-based spectral distortion minimizing model for pan-sharpening of very high resolution
    multispectral images of urban areas", 2003; B. Aiazzi et al., "MTF-tailored multiscale fusion of high-resolution
    MS and Pan imagery", PE&RS 72(5), 2006.
    """
    layout = StackLayout.of(moments)
    return _matched(moments, moments.std[list(layout.ms_up)], moments.std[list(layout.pan_low)])


def fit_glp_hpm_r(moments: Moments) -> GlpHpmCoefficients:
    """Match PAN to each band by regression: gain cov(E_b, P_L,b) / var(P_L,b), offset mean(E_b) - gain * mean(P).

    The paper writes F_b = E_b (P + c) / (P_L,b + c) with c = mean(E_b) / gain - mean(P), which is the same. Gain and
    offset are zero (the result is `ms_up`) where PAN does not vary or the band's mean is not positive; the gain of a
    band that runs against PAN is negative, and so is the detail.

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
    G. Vivone, R. Restaino, J. Chanussot, "A regression-based high-pass modulation pansharpening approach", IEEE TGRS
    56(2), 2018.
    """
    layout = StackLayout.of(moments)
    low = list(layout.pan_low)
    return _matched(moments, moments.cov[list(layout.ms_up), low], moments.var[low])


def _matched(moments: Moments, numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> GlpHpmCoefficients:
    """Gain and offset of each band where the gain can be told and the band has light."""
    layout = StackLayout.of(moments)
    means = moments.mean[list(layout.ms_up)]
    usable = varies(moments)[list(layout.pan_low)] & (means > 0)
    gains = np.divide(numerator, denominator, out=np.zeros(layout.n_band), where=usable)
    offsets = np.where(usable, means - gains * moments.mean[layout.pan], 0.0)
    floors = np.where(usable, FLOOR_SHARE * means, 1.0)
    return GlpHpmCoefficients(tuple(gains.tolist()), tuple(offsets.tolist()), tuple(floors.tolist()))


def apply_glp_hpm(ms_up: Tensor, pan: Tensor, pan_low: Tensor, coefficients: GlpHpmCoefficients) -> Tensor:
    """Fuse pointwise: F_b = E_b + E_b s_b (P - P_L,b) / (s_b P_L,b + o_b), which is E_b times matched P over P_L.

    Where the divisor is below its floor, zero or negative, the floor divides instead.

    Parameters
    ----------
    ms_up, pan, pan_low
        (..., band, row, col), (..., 1, row, col) and (..., band, row, col), float, DN.
    coefficients
        From `fit_glp_hpm` or `fit_glp_hpm_r`.

    Returns
    -------
    torch.Tensor
        Shape, dtype and unit of `ms_up`.
    """
    gains, offsets, floors = (
        per_band(numbers, ms_up) for numbers in (coefficients.gains, coefficients.offsets, coefficients.floors)
    )
    matched = (gains * pan_low + offsets).clamp(min=floors)
    return ms_up + ms_up * (gains * (pan - pan_low) / matched)
