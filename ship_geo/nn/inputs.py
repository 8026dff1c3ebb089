"""What the pan-sharpening network reads: standardised streams that carry the sensor with them.

The sharpened stream holds the upsampled MS and the details that four classical injections would add to it. Two take
what the band's MTF removes from PAN (MTF-GLP-FS, MTF-GLP-HPM-R); two take PAN minus an intensity made of the bands
(GSA, and a haze-corrected product after BT-H). A plane per band tells how sharp the band is on its own grid, one how
sharp PAN is: by these the network knows how much of the finest detail belongs into the result. The guiding stream
holds PAN and what the MTF takes away from it. So the network need not learn a sensor: it comes in through these and
the scene's statistics. Not for reading files or estimating statistics.

Convention: all values come in DN and leave in units of the scene's standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ship_geo.ops.resample import blur

N_DETAIL = 4
"""Classical details per band: FS, HPM-R, GSA and the haze-corrected product."""

N_STREAM = N_DETAIL + 2
"""Channels of the sharpened stream per band: MS, the details, a plane of the band's blur."""

N_GUIDE = 3
"""Channels of the guiding stream: PAN, PAN minus its low-pass, a plane of PAN's sharpness."""

N_PART = 5
"""Parts of a mixture: two details, what is left of them without their finest structure, and the network's residual."""

SOFT = 0.8
"""Standard deviation of the Gaussian that takes the finest structure away, PAN pixels."""

BLUR, BLUR_SPREAD = 0.5, 0.1
"""Usual blur of a band, standard deviation in pixels of its own grid (gain 0.29 at Nyquist), and how it varies."""

SHARPNESS, SHARPNESS_SPREAD = -0.3, 0.4
"""Usual sharpness of PAN, see `ship_geo.ops.sharpness`, and how it varies."""

FLOOR = 0.2
"""Smallest divisor of the multiplicative details, as a fraction of its mean: dark water must not explode."""

LIMIT = 8.0
"""Details are cut at this many standard deviations: one hot pixel must not rule a window."""


@dataclass(frozen=True)
class BandStatistics:
    """Scene statistics of a group of bands, each tensor (n or 1, band or 1, 1, 1), DN.

    Attributes
    ----------
    ms_mean, ms_std
        Of the upsampled MS bands.
    pan_mean, pan_std
        Of PAN.
    pan_low_mean
        Of PAN through each band's MTF.
    low_gain
        Slope of each band over PAN through its MTF, cov(ms_up, pan_low) / var(pan_low) (Vivone et al. 2018).
    gain
        Injection gain cov(ms_up, pan) / cov(pan_low, pan) of each band (Vivone et al. 2018).
    intensity_gain
        Injection gain cov(intensity, ms_up) / var(intensity) of each band (Aiazzi et al. 2007).
    haze, intensity_haze
        Value of the darkest pixels of each band, and of the intensity there (Lolli et al. 2017).
    blur
        Standard deviation of each band's blur, pixels of its own grid.
    sharpness
        Of PAN, (n or 1, 1, 1, 1), see `ship_geo.ops.sharpness`.
    """

    ms_mean: Tensor
    ms_std: Tensor
    pan_mean: Tensor
    pan_std: Tensor
    pan_low_mean: Tensor
    low_gain: Tensor
    gain: Tensor
    intensity_gain: Tensor
    haze: Tensor
    intensity_haze: Tensor
    blur: Tensor
    sharpness: Tensor


def injected_details(
    ms_up: Tensor, pan: Tensor, pan_low: Tensor, intensity: Tensor, statistics: BandStatistics
) -> tuple[Tensor, ...]:
    """Return what each of the `N_DETAIL` classical injections would add; arguments as of `network_streams`.

    Returns
    -------
    tuple of torch.Tensor
        (n, band, row, col) each, DN, as large as they come.
    """
    s = statistics
    detail, unexplained = pan - pan_low, pan - intensity
    matched = (pan_low - s.pan_low_mean) * s.low_gain + s.ms_mean
    matched_floor = FLOOR * s.ms_mean.abs() + 0.05 * s.ms_std
    clear = intensity - s.intensity_haze
    clear_floor = FLOOR * (s.pan_mean - s.intensity_haze).clamp(min=0) + 0.05 * s.pan_std
    return (
        s.gain * detail,
        ms_up * detail * s.low_gain / torch.maximum(matched, matched_floor),
        s.intensity_gain * unexplained,
        (ms_up - s.haze).clamp(min=0) * unexplained / torch.maximum(clear, clear_floor),
    )


def mixture_parts(details: Sequence[Tensor], residual: Tensor) -> tuple[Tensor, ...]:
    """Return what a result is mixed of, see `ship_geo.mixture`.

    The additive and the haze-corrected detail span the others nearly; with their soft copies the mixture can sharpen or
    soften PAN to what the bands show.

    Parameters
    ----------
    details
        Of `injected_details`.
    residual
        What the network adds, DN, (n, band, row, col).

    Returns
    -------
    tuple of torch.Tensor
        `N_PART` of (n, band, row, col), DN.
    """
    additive, *_, product = details
    gain = math.exp(-0.5 * (math.pi * SOFT) ** 2)  # of the Gaussian at the Nyquist frequency
    soft = (blur(detail, (1.0, 1.0), (gain,)) for detail in (additive, product))
    return additive, product, *soft, residual


def network_streams(
    ms_up: Tensor, pan: Tensor, pan_low: Tensor, intensity: Tensor, statistics: BandStatistics
) -> tuple[Tensor, Tensor]:
    """Build both input streams of `ship_geo.nn.ShipPlusPlus`.

    Parameters
    ----------
    ms_up
        (n, band, row, col), DN.
    pan
        (n, 1, row, col), DN.
    pan_low
        (n, band, row, col), DN: PAN through each band's MTF, decimated and interpolated back.
    intensity
        (n, 1, row, col), DN of PAN: the combination of all bands of the scene that comes nearest to low-passed PAN.
    statistics
        Of the scene, not of the window.

    Returns
    -------
    tuple of torch.Tensor
        (n, 6 band, row, col) and (n, 3, row, col), standardised; the planes of blur come last.
    """
    s = statistics
    details = injected_details(ms_up, pan, pan_low, intensity, s)
    blur = ((s.blur - BLUR) / BLUR_SPREAD).clamp(-3, 3)
    ms_stream = [
        (ms_up - s.ms_mean) / s.ms_std,
        *((part / s.ms_std).clamp(-LIMIT, LIMIT) for part in details),
        blur.expand_as(ms_up),
    ]
    sharpness = ((s.sharpness - SHARPNESS) / SHARPNESS_SPREAD).clamp(-3, 3)
    guide_stream = [
        (pan - s.pan_mean) / s.pan_std,
        ((pan - pan_low).mean(1, keepdim=True) / s.pan_std).clamp(-LIMIT, LIMIT),
        sharpness.expand_as(pan),
    ]
    return torch.cat(ms_stream, 1), torch.cat(guide_stream, 1)
