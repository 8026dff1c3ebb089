"""Where each variable lies in the stack whose moments all classical methods are fitted from.

One pass over a scene gathers the moments of [ms_up of every band, pan, pan_low of every band] at PAN scale over the
valid pixels. Not a place for formulas. The convention that could surprise: `pan_low` has one layer per MS band, the
PAN seen through that band's MTF, decimated to the MS grid and interpolated back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ship_geo.errors import ArgumentError

if TYPE_CHECKING:
    from torch import Tensor

    from ship_geo.ops.moments import Moments


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
