"""From DN to colours on a screen: which bands are shown, and between which values.

For the eye only. The convention that could surprise: limits are percentiles of interpolated MS, and hold for the
sharpened image, too, so that a difference in colour is one in the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ship_geo.report.judged import View

PERCENTILES = (1.0, 99.0)
"""Of the valid pixels: darker ones are black, brighter ones white."""

GREY = 0.38
"""What the median of a scene becomes, between black and white: clouds must not leave the ground in the dark."""

GAMMAS = (0.45, 1.0)
"""Exponents that may be taken for it."""

_NATURAL = ("red", "green", "blue")
_INFRARED = ("nir", "red", "green")
_LEAST_RANGE = 0.25  # of the scene's, for a part: noise of flat ground must not look like contrast
_LEAST = 1e-6  # DN
_NOTHING = 128  # shade of pixels without data
_THREE = (PERCENTILES[0], 50.0, PERCENTILES[1])


def choose_bands(roles: Sequence[str]) -> tuple[int, int, int]:
    """Choose the bands for red, green and blue of the screen by their roles.

    Natural colours where there are such bands, else colour infrared, else the first three bands, the longest wave
    first; one or two bands are shown in grey.
    """
    for wanted in (_NATURAL, _INFRARED):
        if set(wanted) <= set(roles):
            red, green, blue = (list(roles).index(role) for role in wanted)
            return red, green, blue
    return (2, 1, 0) if len(roles) >= len(_NATURAL) else (0, 0, 0)


@dataclass(frozen=True, eq=False)
class Stretch:
    """Values that become black and white.

    Attributes
    ----------
    low, high
        One value per band, DN, ``low < high``.
    gamma
        Exponent for all bands after the limits.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    gamma: float = 1.0

    @classmethod
    def of(cls, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> Stretch:
        """Find the limits of an image: `values` (band, row, col) DN, `valid` (row, col)."""
        if not valid.any():
            return cls(np.zeros(len(values)), np.ones(len(values)))
        low, middle, high = np.percentile(values[:, valid].astype(np.float64), _THREE, axis=1)
        high = np.maximum(high, low + _LEAST)
        return cls(low, high, _gamma(float(np.mean((middle - low) / (high - low)))))

    def tightened(self, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> Stretch:
        """Narrow these limits to a part of the image, all bands by the same share, so that hues stay what they are."""
        if not valid.any():
            return self
        width = (self.high - self.low)[:, None]
        shares = (values[:, valid].astype(np.float64) - self.low[:, None]) / width
        first, middle, last = np.percentile(shares, _THREE)
        missing = max(_LEAST_RANGE - (last - first), 0.0) / 2
        first, last = first - missing, last + missing
        gamma = _gamma(float((middle - first) / (last - first)))
        return Stretch(self.low + first * width[:, 0], self.low + last * width[:, 0], gamma)

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(band, row, col) DN -> (row, col, band) for the screen."""
        low, high = self.low[:, None, None], self.high[:, None, None]
        scaled = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) ** self.gamma
        return np.rint(scaled * 255).astype(np.uint8).transpose(1, 2, 0)


@dataclass(frozen=True, eq=False)
class Painter:
    """Paints views of one scene.

    Attributes
    ----------
    bands
        For red, green and blue.
    ms, pan
        Limits of the three bands, and of PAN.
    """

    bands: tuple[int, int, int]
    ms: Stretch
    pan: Stretch

    @classmethod
    def of(cls, view: View, bands: tuple[int, int, int]) -> Painter:
        """Find the limits of a scene."""
        return cls(bands, Stretch.of(view.ms_up[list(bands)], view.valid), Stretch.of(view.pan[None], view.valid))

    def tightened(self, view: View) -> Painter:
        """Narrow the limits of a scene to a part of it."""
        return Painter(
            self.bands,
            self.ms.tightened(view.ms_up[list(self.bands)], view.valid),
            self.pan.tightened(view.pan[None], view.valid),
        )

    def paint(self, view: View) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """Paint MS, PAN and fused: (row, col, 3), (row, col) and (row, col, 3); what is not valid becomes grey."""
        chosen = list(self.bands)
        ms, fused = (self.ms.apply(values[chosen]) for values in (view.ms_up, view.fused))
        pan = self.pan.apply(view.pan[None])[..., 0]
        for picture in (ms, pan, fused):
            picture[~view.valid] = _NOTHING
        return ms, pan, fused


def _gamma(middle: float) -> float:
    """Exponent that brings a share to `GREY`."""
    return float(np.clip(np.log(GREY) / np.log(np.clip(middle, 1e-3, 1 - 1e-3)), *GAMMAS))
