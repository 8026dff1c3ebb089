"""Training losses on standardised images: absolute and squared error with structural dissimilarity.

Not for reporting quality: see `ship_geo.metrics`. Convention: (n, band, row, col), units of the scene's
standard deviation.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

WINDOW = 7


def structural_dissimilarity(fused: Tensor, ref: Tensor, stabiliser: float = 0.05) -> Tensor:
    """1 - SSIM without its luminance term, uniform 7 x 7 windows at valid positions, mean over all.

    The luminance term is left out because standardised values have no meaningful zero. `stabiliser` is the constant
    added to numerator and denominator, in units of variance (after Wang et al. 2004, eq. 13).
    """

    def mean(values: Tensor) -> Tensor:
        return functional.avg_pool2d(values, WINDOW, 1)

    mean_fused, mean_ref = mean(fused), mean(ref)
    covariance = mean(fused * ref) - mean_fused * mean_ref
    variances = mean(fused**2) - mean_fused**2 + mean(ref**2) - mean_ref**2
    return 1 - ((2 * covariance + stabiliser) / (variances.clamp(min=0) + stabiliser)).mean()


def pansharpening_loss(fused: Tensor, ref: Tensor, squared: float = 0.5, structural: float = 0.1) -> Tensor:
    """Mean absolute error + `squared` x mean squared error + `structural` x dissimilarity, a scalar."""
    error = fused - ref
    total = error.abs().mean() + squared * error.square().mean()
    return total + structural * structural_dissimilarity(fused, ref) if structural else torch.as_tensor(total)
