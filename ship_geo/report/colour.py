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

GAMMA = 0.8
"""Exponent after the stretch: dark ground, which is most of a scene, gets more of the screen's range."""

_NATURAL = ("red", "green", "blue")
_INFRARED = ("nir", "red", "green")
_LEAST_RANGE = 0.25  # of the scene's, for a tile: noise of a flat tile must not look like contrast


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
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float32], valid: NDArray[np.bool_], within: Stretch | None = None) -> Stretch:
        """Find the limits of an image.

        Parameters
        ----------
        values, valid
            (band, row, col) DN, and (row, col).
        within
            Limits of the scene that this image is part of: its range is at least a quarter of theirs.
        """
        n_band = len(values)
        if not valid.any():
            return within or cls(np.zeros(n_band), np.ones(n_band))
        low, high = np.percentile(values[:, valid].astype(np.float64), PERCENTILES, axis=1)
        least = np.full(n_band, 1e-6) if within is None else _LEAST_RANGE * (within.high - within.low)
        missing = np.maximum(least - (high - low), 0) / 2
        return cls(low - missing, high + missing)

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(band, row, col) DN -> (row, col, band) for the screen."""
        low, high = self.low[:, None, None], self.high[:, None, None]
        scaled = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) ** GAMMA
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
    def of(cls, view: View, bands: tuple[int, int, int], within: Painter | None = None) -> Painter:
        """Find the limits of a view; of a part of a scene within those of the whole."""
        return cls(
            bands,
            Stretch.of(view.ms_up[list(bands)], view.valid, None if within is None else within.ms),
            Stretch.of(view.pan[None], view.valid, None if within is None else within.pan),
        )

    def paint(self, view: View) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """Paint MS, PAN and fused: (row, col, 3), (row, col) and (row, col, 3)."""
        chosen = list(self.bands)
        ms, fused = (self.ms.apply(values[chosen]) for values in (view.ms_up, view.fused))
        return ms, self.pan.apply(view.pan[None])[..., 0], fused
