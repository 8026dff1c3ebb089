"""What all classical methods are fitted from, and where each variable lies in the stacks whose moments are taken.

One pass over a scene gathers the moments of [ms_up of every band, pan, pan_low of every band] at PAN scale; of [ms of
every band, ms_low of every band, pan_lr] on the MS grid; and of [ms_up of every band, pan_plain] at a ninth of the PAN
pixels; always over valid pixels. Not a place for formulas. The convention that could surprise: `pan_low` has one layer
per MS band, the PAN seen through that band's MTF, decimated to the MS grid and interpolated back; `pan_plain` has one,
the PAN through a Gaussian that knows no sensor, at full rate; `pan_lr` is decimated without any MTF.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from ship_geo.errors import ArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ship_geo.ops.moments import Moments


_FLAT = 1e-10
"""Of the mean square: a smaller variance is rounding, 1 / 100,000 of the mean as a standard deviation."""


class SceneMeasures(Protocol):
    """What one pass over a scene tells of it."""

    @property
    def moments(self) -> Moments:
        """Of the variables of `StackLayout`, DN."""

    @property
    def coarse(self) -> Moments | None:
        """Of [ms, ms_low, pan_lr] on the MS grid, 2 * n_band + 1 variables, DN; None where they were not gathered."""

    @property
    def plain(self) -> Moments | None:
        """Of [ms_up, pan_plain], n_band + 1 variables, DN; None where they were not gathered."""

    @property
    def first_percentile(self) -> tuple[float, ...]:
        """Value of each band below which lies a hundredth of its pixels, DN."""

    @property
    def ms_min(self) -> tuple[float, ...]:
        """Smallest value of each band on the PAN grid, DN."""

    @property
    def roles(self) -> tuple[str, ...]:
        """Role of each band; empty where unknown."""


@dataclass(frozen=True)
class StackLayout:
    """Indices of the variables for `n_band` MS bands.

    Attributes
    ----------
    n_band
        Number of MS bands.
    """

    n_band: int

    @classmethod
    def of(cls, moments: Moments) -> StackLayout:
        """Layout that fits the number of variables of `moments`.

        Raises
        ------
        ArgumentError
            If that number is not 2 * n_band + 1.
        """
        n_variable = moments.mean.size
        if n_variable % 2 == 0 or n_variable == 1:
            msg = (
                f"baselines are fitted from 2 * n_band + 1 variables, got {n_variable}; "
                "stack ms_up, pan and pan_low with StackLayout.stack"
            )
            raise ArgumentError(msg)
        return cls(n_variable // 2)

    @property
    def n_variable(self) -> int:
        """Number of variables, 2 * n_band + 1."""
        return 2 * self.n_band + 1

    @property
    def ms_up(self) -> range:
        """Indices of the interpolated MS bands."""
        return range(self.n_band)

    @property
    def pan(self) -> int:
        """Index of the PAN."""
        return self.n_band

    @property
    def pan_low(self) -> range:
        """Indices of the low-passed PAN, one per MS band."""
        return range(self.n_band + 1, self.n_variable)

    def stack(self, ms_up: Tensor, pan: Tensor, pan_low: Tensor) -> Tensor:
        """Join the variables along the band axis, (..., variable, row, col), DN.

        Parameters
        ----------
        ms_up, pan, pan_low
            (..., band, row, col), (..., 1, row, col) and (..., band, row, col), DN.
        """
        return torch.cat([ms_up, pan, pan_low], dim=-3)

    def intensity(self, moments: Moments) -> Moments:
        """Moments of [ms_up of every band, pan_low averaged over the bands]."""
        rows = np.zeros((self.n_band + 1, self.n_variable))
        rows[self.ms_up, self.ms_up] = 1
        rows[-1, self.pan_low] = 1 / self.n_band
        return moments.project(rows)


def varies(moments: Moments) -> NDArray[np.bool_]:
    """Tell of each variable whether it varies by more than the rounding of the filters that made it."""
    return np.asarray(moments.var > _FLAT * moments.mean**2)


def gathered(moments: Moments | None, n_variable: int) -> Moments:
    """Return moments that a method needs beside those of `StackLayout`.

    Raises
    ------
    ArgumentError
        If they were not gathered, or are those of other variables.
    """
    if moments is None or moments.mean.size != n_variable:
        got = "none" if moments is None else f"{moments.mean.size}"
        msg = (
            f"this method is fitted from {n_variable} more variables, got {got}; "
            "prepare the windows of the statistics with `for_stats=True`"
        )
        raise ArgumentError(msg)
    return moments


def per_band(numbers: tuple[float, ...], like: Tensor) -> Tensor:
    """Give one number per band the shape (band, 1, 1), dtype and device of `like`.

    Raises
    ------
    ArgumentError
        If there are not as many numbers as bands.
    """
    if len(numbers) != like.shape[-3]:
        msg = (
            f"coefficients are fitted for the bands they are applied to, got {len(numbers)} numbers and "
            f"{like.shape[-3]} bands; fit them again for this stack"
        )
        raise ArgumentError(msg)
    return torch.tensor(numbers, dtype=like.dtype, device=like.device)[:, None, None]
