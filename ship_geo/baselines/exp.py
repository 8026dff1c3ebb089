"""EXP: the interpolated MS itself. The floor of every comparison: a method below it is broken.

Not a fusion. The convention that could surprise: it has no coefficients, and returns its input unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ship_geo.ops.moments import Moments


@dataclass(frozen=True)
class ExpCoefficients:
    """Nothing to fit."""


def fit_exp(moments: Moments) -> ExpCoefficients:
    """Return the empty coefficients; `moments` is there for the common signature."""
    del moments
    return ExpCoefficients()


def apply_exp(ms_up: Tensor, pan: Tensor, pan_low: Tensor, coefficients: ExpCoefficients) -> Tensor:
    """Return `ms_up`, (..., band, row, col), DN; the other arguments are there for the common signature."""
    del pan, pan_low, coefficients
    return ms_up
