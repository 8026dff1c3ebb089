"""What the pan-sharpening network reads: standardised streams that carry the sensor with them.

The sharpened stream holds the upsampled MS and the details that four classical injections would add to it. Two take
what the tabulated MTF removes from PAN (MTF-GLP-FS, MTF-GLP-HPM); two take PAN minus an intensity made of the bands
(GSA, and a haze-corrected product after BT-H), which carries the MS' true blur and phase whatever a table says. The
guiding stream holds PAN and what the MTF takes away from it. So the network need not learn a sensor: it comes in
through these and the scene's statistics. Not for reading files or estimating statistics.

Convention: all values come in DN and leave in units of the scene's standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

N_STREAM = 5
"""Channels of the sharpened stream per band: MS, then the details of FS, HPM, GSA and the haze-corrected product."""

N_GUIDE = 2
"""Channels of the guiding stream: PAN, PAN minus its low-pass."""

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
    pan_low_mean, pan_low_std
        Of PAN through each band's MTF.
    gain
        Injection gain cov(ms_up, pan) / cov(pan_low, pan) of each band (Vivone et al. 2018).
    intensity_gain
        Injection gain cov(intensity, ms_up) / var(intensity) of each band (Aiazzi et al. 2007).
    haze, intensity_haze
        Value of the darkest pixels of each band, and of the intensity there (Lolli et al. 2017).
    """

    ms_mean: Tensor
    ms_std: Tensor
    pan_mean: Tensor
    pan_std: Tensor
    pan_low_mean: Tensor
    pan_low_std: Tensor
    gain: Tensor
    intensity_gain: Tensor
    haze: Tensor
    intensity_haze: Tensor


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
        (n, 5 band, row, col) and (n, 2, row, col), standardised.
    """
    s = statistics
    detail = pan - pan_low
    scale = s.ms_std / s.pan_low_std
    matched = (pan_low - s.pan_low_mean) * scale + s.ms_mean
    matched_floor = FLOOR * s.ms_mean.abs() + 0.05 * s.ms_std
    unexplained = pan - intensity
    clear = intensity - s.intensity_haze
    clear_floor = FLOOR * (s.pan_mean - s.intensity_haze).clamp(min=0) + 0.05 * s.pan_std
    details = (
        s.gain * detail,
        ms_up * detail * scale / torch.maximum(matched, matched_floor),
        s.intensity_gain * unexplained,
        (ms_up - s.haze).clamp(min=0) * unexplained / torch.maximum(clear, clear_floor),
    )
    ms_stream = [(ms_up - s.ms_mean) / s.ms_std, *((part / s.ms_std).clamp(-LIMIT, LIMIT) for part in details)]
    guide_stream = [
        (pan - s.pan_mean) / s.pan_std,
        (detail.mean(1, keepdim=True) / s.pan_std).clamp(-LIMIT, LIMIT),
    ]
    return torch.cat(ms_stream, 1), torch.cat(guide_stream, 1)
