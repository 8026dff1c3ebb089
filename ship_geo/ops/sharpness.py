"""How sharp an image is, told by the energy of its finest details beside that of the next coarser ones.

For telling a network what kind of PAN it reads: PAN that was decimated with an ideal filter is full of the finest
details, PAN as a sensor delivers it is blurred by its own MTF. Not a measure of quality. The convention that could
surprise: it is a logarithm of a ratio, the same for every contrast and unit: near 0 for images without blur, near -1
where a Gaussian of 0.6 pixels has passed over them.
"""

from __future__ import annotations

import torch
from torch import Tensor

REACH = 3
"""Pixels of the border whose details depend on what lies beyond."""

_TAPS = (0.25, 0.5, 0.25)
_FLOOR = 1e-12


def _smooth(image: Tensor, step: int) -> Tensor:
    """Binomial low-pass (1, 2, 1) with holes, valid positions only; (..., row, col)."""
    for axis in (-2, -1):
        n = image.shape[axis] - 2 * step
        image = torch.stack([tap * image.narrow(axis, k * step, n) for k, tap in enumerate(_TAPS)]).sum(0)
    return image


def detail_energy(image: Tensor) -> Tensor:
    """Squares of the finest details and of the next coarser ones, an octave lower, of an a-trous pyramid.

    Parameters
    ----------
    image
        (..., row, col) float, at least 7 x 7.

    Returns
    -------
    torch.Tensor
        (2, ..., row - 6, col - 6), squared unit of the image.
    """
    once = _smooth(image, 1)
    twice = _smooth(once, 2)
    fine = image[..., REACH:-REACH, REACH:-REACH] - once[..., 2:-2, 2:-2]
    coarse = once[..., 2:-2, 2:-2] - twice
    return torch.stack([fine, coarse]).square()


def sharpness(energy: Tensor) -> Tensor:
    """Logarithm of the ratio of mean energies, (2, ...) -> (...); 0 where nothing varies."""
    fine, coarse = energy
    varies = (fine > _FLOOR) & (coarse > _FLOOR)
    return torch.where(varies, torch.log(fine.clamp(min=_FLOOR) / coarse.clamp(min=_FLOOR)), 0.0)
