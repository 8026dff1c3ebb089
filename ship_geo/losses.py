"""Training losses on standardised images: absolute and squared error, structural dissimilarity, spectral angle.

Not for reporting quality: see `ship_geo.metrics`. Convention: (n, band, row, col), units of the scene's
standard deviation.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

WINDOW = 7
_SHORTEST = 1e-3
_SMOOTH = 1e-6


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


def spectral_angle(fused: Tensor, ref: Tensor) -> Tensor:
    """Mean angle between the spectra of two images in physical units (n, band, row, col), radians.

    From the distance of the unit vectors (a chord), whose gradient stays finite where they agree.
    """
    one, other = (functional.normalize(image, dim=1, eps=_SHORTEST) for image in (fused, ref))
    chord: Tensor = ((one - other).square().sum(1) + _SMOOTH).sqrt().mean()
    return chord


def pansharpening_loss(
    fused: Tensor,
    ref: Tensor,
    units: tuple[Tensor, Tensor] | None = None,
    *,
    squared: float = 0.5,
    structural: float = 0.1,
    angular: float = 0.5,
) -> Tensor:
    """Loss of standardised images, a scalar.

    Parameters
    ----------
    fused, ref
        (n, band, row, col), standardised.
    units
        Mean and standard deviation of the bands, where the angle of spectra shall count.
    squared, structural, angular
        Weights of mean squared error, dissimilarity and spectral angle beside the mean absolute error.
    """
    error = fused - ref
    total = error.abs().mean() + squared * error.square().mean()
    if structural:
        total = total + structural * structural_dissimilarity(fused, ref)
    if units is not None and angular:
        mean, std = units
        total = total + angular * spectral_angle(fused * std + mean, ref * std + mean)
    return torch.as_tensor(total)
