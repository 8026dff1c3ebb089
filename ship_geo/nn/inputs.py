"""What the pan-sharpening network reads: standardised streams that carry the sensor with them.

The sharpened stream holds the upsampled MS and the details that three classical injections would add to it: two take
what the tabulated MTF removes from PAN (MTF-GLP-FS, MTF-GLP-HPM), one takes PAN minus an intensity made of the bands
(GSA), which carries the MS' true blur and phase whatever a table says. The guiding stream holds PAN and what the MTF
takes away from it. So the network need not learn a sensor: it comes in through these and the scene's statistics. Not
for reading files or estimating statistics.

The convention that could surprise: all values come in DN and leave in units of the scene's standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

N_STREAM = 4
"""Channels of the sharpened stream per band: MS, and the details of regression, modulation and substitution."""

N_GUIDE = 2
"""Channels of the guiding stream: PAN, PAN minus its low-pass."""

FLOOR = 0.2
"""Smallest low-passed PAN of the modulation detail, as a fraction of the band's mean: dark water must not explode."""

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
    weight
        Weight of each band in the intensity that comes nearest to the low-passed PAN (Aiazzi et al. 2007).
    intensity_gain
        Injection gain cov(intensity, ms_up) / var(intensity) of each band (Aiazzi et al. 2007).
    """

    ms_mean: Tensor
    ms_std: Tensor
    pan_mean: Tensor
    pan_std: Tensor
    pan_low_mean: Tensor
    pan_low_std: Tensor
    gain: Tensor
    weight: Tensor
    intensity_gain: Tensor


def network_streams(ms_up: Tensor, pan: Tensor, pan_low: Tensor, statistics: BandStatistics) -> tuple[Tensor, Tensor]:
    """Build both input streams of `ship_geo.nn.ShipPlusPlus`.

    Parameters
    ----------
    ms_up
        (n, band, row, col), DN.
    pan
        (n, 1, row, col), DN.
    pan_low
        (n, band, row, col), DN: PAN through each band's MTF, decimated and interpolated back.
    statistics
        Of the scene, not of the window.

    Returns
    -------
    tuple of torch.Tensor
        (n, 4 band, row, col) and (n, 2, row, col), standardised.
    """
    s = statistics
    detail = pan - pan_low
    scale = s.ms_std / s.pan_low_std
    matched_low = torch.maximum(
        (pan_low - s.pan_low_mean) * scale + s.ms_mean, FLOOR * s.ms_mean.abs() + s.ms_std * 0.05
    )
    modulation = ms_up * detail * scale / matched_low
    intensity = (s.weight * (ms_up - s.ms_mean)).sum(1, keepdim=True)
    substitution = s.intensity_gain * (pan - s.pan_mean - intensity)
    ms_stream = torch.cat(
        [
            (ms_up - s.ms_mean) / s.ms_std,
            (s.gain * detail / s.ms_std).clamp(-LIMIT, LIMIT),
            (modulation / s.ms_std).clamp(-LIMIT, LIMIT),
            (substitution / s.ms_std).clamp(-LIMIT, LIMIT),
        ],
        1,
    )
    guide_stream = torch.cat(
        [
            (pan - s.pan_mean) / s.pan_std,
            (detail.mean(1, keepdim=True) / s.pan_std).clamp(-LIMIT, LIMIT),
        ],
        1,
    )
    return ms_stream, guide_stream
