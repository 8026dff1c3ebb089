"""D_rho: how far each band of a fused image follows the detail of PAN in its neighbourhood.

Its optimum is PAN copied into every band, so it is no verdict alone. The convention that could surprise: windows have
an even side, and only positions whose whole support lies inside the image count; the published code pads with zeros
instead, which spoils the frame.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ship_geo.errors import ArgumentError
from ship_geo.metrics._inputs import mean_or_nan, prepare
from ship_geo.metrics._windows import box_sum

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_CONSTANT = 1e-24
"""Energy of detail below this share of the squared value is rounding."""


class RhoAccumulator:
    """Sum of 1 - local correlation over the positions seen so far, band by band.

    Parameters
    ----------
    ratio
        MS pixel size / PAN pixel size; windows have twice as many pixels a side, rounded up.

    Attributes
    ----------
    side
        Rows and columns of a window.
    total
        (band,) sum; None before the first update.
    count
        Positions in the sum.
    """

    def __init__(self, ratio: float) -> None:
        if not ratio > 0:
            msg = f"the ratio is positive, got {ratio}; it is MS pixel size / PAN pixel size"
            raise ArgumentError(msg)
        self.side = 2 * math.ceil(ratio / 2)
        self.total: NDArray[np.float64] | None = None
        self.count = 0

    @property
    def support(self) -> int:
        """Rows and columns that a position looks at: two windows after each other."""
        return 2 * self.side - 1

    def update(self, fused: ArrayLike, pan: ArrayLike, valid: ArrayLike | None = None) -> None:
        """Add every position whose support lies inside (band, row, col) and (1, row, col) DN images and is valid.

        Parts of a scene overlap by ``support - 1`` pixels.
        """
        (first, second), mask = prepare((fused, pan), valid)
        if len(second) != 1:
            msg = f"PAN has one band, got {len(second)}; pass the panchromatic band alone"
            raise ArgumentError(msg)
        counted = box_sum(mask.astype(np.float64), self.support) > self.support**2 - 0.5
        if not counted.any():
            return
        detail = self._detail(second[0])
        energy = box_sum(detail**2, self.side)
        totals = [float((1 - self._correlate(band, detail, energy)[counted]).sum()) for band in first]
        self._add(np.array(totals), int(counted.sum()))

    def _detail(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        """Deviation of pixels from the mean of the window around them; zero where it is rounding."""
        before, n = self.side // 2 - 1, self.side - 1
        centre = image[before : before + image.shape[0] - n, before : before + image.shape[1] - n]
        detail = centre - box_sum(image, self.side) / self.side**2
        return np.where(detail**2 > _CONSTANT * centre**2, detail, 0.0)

    def _correlate(
        self, image: NDArray[np.float64], detail: NDArray[np.float64], energy: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Correlation of the detail of an image with that of PAN in every window; zero where either has none."""
        own = self._detail(image)
        norm = np.sqrt(box_sum(own**2, self.side) * energy)
        product = box_sum(own * detail, self.side)
        return np.clip(np.divide(product, norm, out=np.zeros_like(norm), where=norm > 0), -1, 1)

    def merge(self, other: RhoAccumulator) -> None:
        """Add what another accumulator has seen."""
        if other.total is not None:
            self._add(other.total, other.count)

    def _add(self, total: NDArray[np.float64], count: int) -> None:
        self.total = total if self.total is None else self.total + total
        self.count += count

    def bands(self) -> list[float]:
        """Mean of every band over its positions; empty if there was none."""
        return [] if self.total is None else [float(value) for value in self.total / self.count]

    def compute(self) -> float:
        """Mean over positions and bands; NaN and a warning if there is none."""
        return mean_or_nan(sum(self.bands()), len(self.bands()), "D_rho", "positions")


def d_rho(fused: ArrayLike, pan: ArrayLike, valid: ArrayLike | None = None, *, ratio: float) -> float:
    """Spatial distortion by local correlation with PAN, mean over positions and bands; 0 is best, 2 is worst.

    Parameters
    ----------
    fused, pan
        (band, row, col) and (1, row, col) DN on the PAN grid.
    valid
        (row, col) bool; None for all.
    ratio
        MS pixel size / PAN pixel size.

    Raises
    ------
    ArgumentError
        If shapes do not fit.

    References
    ----------
    G. Scarpa, M. Ciotola, "Full-resolution quality assessment for pansharpening", Remote Sensing 14(8), 2022.
    """
    accumulator = RhoAccumulator(ratio)
    accumulator.update(fused, pan, valid)
    return accumulator.compute()
