"""Modulation transfer functions as Gaussians known from one number: the gain at the MS Nyquist frequency.

Not for measuring an MTF. The convention that could surprise: widths and centres are in PAN pixels, pixel centres
sit on the integers, and the taps sum to one (several published kernels do not).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ship_geo.errors import ArgumentError

RADIUS = 20
"""Support of the kernel in PAN pixels on either side of its centre."""


def mtf_sigma(gnyq: float, ratio: float) -> float:
    """Standard deviation of the Gaussian whose response at the MS Nyquist frequency is `gnyq`.

    Parameters
    ----------
    gnyq
        Gain at 1 / (2 ratio) cycles per PAN pixel, between 0 and 1, exclusive.
    ratio
        MS pixel size divided by PAN pixel size.

    Returns
    -------
    float
        Standard deviation, PAN pixels: ratio / pi * sqrt(-2 ln gnyq).

    Raises
    ------
    ArgumentError
        If `gnyq` is not inside (0, 1) or `ratio` is not positive.

    References
    ----------
    B. Aiazzi et al., "MTF-tailored multiscale fusion of high-resolution MS and Pan imagery", PE&RS 72(5), 2006.
    """
    if not 0 < gnyq < 1:
        msg = f"the MTF gain at Nyquist lies between 0 and 1, got {gnyq}; take it from the sensor table"
        raise ArgumentError(msg)
    if not ratio > 0:
        msg = f"the ratio is positive, got {ratio}; it is MS pixel size / PAN pixel size"
        raise ArgumentError(msg)
    return ratio / math.pi * math.sqrt(-2 * math.log(gnyq))


def mtf_taps(offsets: ArrayLike, sigma: float) -> NDArray[np.float64]:
    """Gaussian weights of samples at `offsets` from the kernel's centre, cut at `RADIUS` and normalised.

    Parameters
    ----------
    offsets
        (..., n) distances from the centre, PAN pixels.
    sigma
        Standard deviation, PAN pixels.

    Returns
    -------
    numpy.ndarray
        (..., n) float64 weights that sum to one along the last axis.
    """
    distance = np.asarray(offsets, dtype=np.float64)
    weights = np.exp(-0.5 * (distance / sigma) ** 2) * (np.abs(distance) <= RADIUS)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))
