"""How well one image explains another at many shifts: masked correlation, local contrast, sub-pixel peaks.

Tensor functions for registration by area, not by features. Two conventions could surprise. Correlations are squared, so
a band that is dark where PAN is bright counts like one that is bright; and several bands count together by the share of
the variance that their best linear combination explains (squared multiple correlation), whatever the colours are.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

RIDGE = 1e-3
"""Added to the correlation matrix of the bands: bands that repeat each other share a weight."""

MIN_SHARE = 0.25
"""Share of the template's pixels that must be valid in both images for a shift to count."""

_TINY = 1e-12
_SMALL = 1e-6  # sums over a window that are rounding errors of the Fourier transform


@lru_cache(maxsize=64)
def _smoother(n: int, sigma: float) -> Tensor:
    """Matrix (n, n) float64 of Gaussian weights."""
    index = torch.arange(n, dtype=torch.float64)
    return torch.exp(-0.5 * ((index[:, None] - index) / sigma) ** 2)


def local_contrast(images: Tensor, valid: Tensor, sigma: float) -> Tensor:
    """Subtract from each pixel the Gaussian mean of the valid pixels around it.

    Parameters
    ----------
    images
        (..., row, col) float; finite everywhere.
    valid
        (row, col) bool.
    sigma
        Standard deviation of the Gaussian, pixels.

    Returns
    -------
    torch.Tensor
        (..., row, col) float64; 0 where not valid.
    """
    known = valid.to(torch.float64)
    rows, cols = _smoother(valid.shape[0], sigma), _smoother(valid.shape[1], sigma)
    values = images.to(torch.float64) * known
    weight = rows @ known @ cols
    return (values - rows @ values @ cols / weight.clamp(min=_TINY)) * known


def explained(bands: Tensor, images: Tensor) -> Tensor:
    """Share of the variance of each image that each band explains, and all bands together.

    Parameters
    ----------
    bands
        (band, pixel) float64.
    images
        (image, pixel) float64.

    Returns
    -------
    torch.Tensor
        (1 + band, image) float64 from 0 to 1: first all bands together, then each alone; 0 where nothing varies.
    """
    bands, images = bands - bands.mean(-1, keepdim=True), images - images.mean(-1, keepdim=True)
    bands, images = _unit(bands), _unit(images)
    return _combined(bands @ bands.mT, bands @ images.mT)


def correlate(template: Tensor, template_valid: Tensor, image: Tensor, image_valid: Tensor) -> Tensor:
    """Squared correlation of a template with every part of an image, over the pixels valid in both.

    Parameters
    ----------
    template
        (band, row, col) float64 of zero local mean, as `local_contrast` makes it; 0 where not valid.
    template_valid
        (row, col) bool.
    image, image_valid
        (row', col') of no fewer rows and columns, the same of both.

    Returns
    -------
    torch.Tensor
        (1 + band, row' - row + 1, col' - col + 1) float64 from 0 to 1: all bands together, then each alone; 0 where
        fewer than `MIN_SHARE` of the template's pixels are valid in both.

    References
    ----------
    D. Padfield, "Masked object registration in the Fourier domain", IEEE TIP 21(5), 2012: the sums over common pixels.
    """
    shape = tuple(n - m + 1 for n, m in zip(image.shape, template_valid.shape, strict=True))
    known = template_valid.to(torch.float64)
    parts = _spectrum(torch.cat([template, template**2, known[None]]), image.shape).conj()
    values, squares, valid = _spectrum(torch.stack([image, image**2, image_valid.to(image.dtype)]), image.shape)
    n_band = len(template)
    sums = torch.cat([parts[:n_band] * values, parts[n_band:] * valid, parts[-1:] * squares])
    sums = torch.fft.irfft2(sums, s=tuple(image.shape))[:, : shape[0], : shape[1]].flatten(1)
    norm = (sums[n_band:-2].clamp(min=0) * sums[-1].clamp(min=0)).sqrt()
    single = torch.where(norm > _SMALL, sums[:n_band] / norm.clamp(min=_SMALL), 0.0)
    unit = _unit(template.flatten(1))
    together = _combined(unit @ unit.mT, single)
    enough: Tensor = sums[-2] >= MIN_SHARE * known.numel()
    return (together * enough).reshape(-1, *shape)


def _spectrum(images: Tensor, shape: torch.Size) -> Tensor:
    spectrum: Tensor = torch.fft.rfft2(images, s=tuple(shape))
    return spectrum


def _unit(values: Tensor) -> Tensor:
    norm = (values**2).sum(-1, keepdim=True).sqrt()
    return torch.where(norm > _TINY, values / norm.clamp(min=_TINY), 0.0)


def _combined(among: Tensor, single: Tensor) -> Tensor:
    """Squared multiple correlation, then the squared single ones: of (band, band) and (band, image) correlations."""
    weight = torch.linalg.solve(among + RIDGE * torch.eye(len(among), dtype=among.dtype), single)
    return torch.cat([(weight * single).sum(0, keepdim=True), single**2]).clamp(0, 1)


def find_peak(surface: Tensor) -> tuple[float, float, bool]:
    """Find the maximum of a surface between its samples, by a paraboloid through the 3 x 3 samples around the largest.

    Parameters
    ----------
    surface
        (row, col) float64, at least 3 x 3.

    Returns
    -------
    row, col
        Index, to fractions of a sample; whole where the largest sample lies on the border.
    is_inside
        Whether it does not, and the surface has one maximum there.
    """
    n_row, n_col = surface.shape
    row, col = divmod(int(surface.argmax()), n_col)
    if not (0 < row < n_row - 1 and 0 < col < n_col - 1):
        return float(row), float(col), False
    near = surface[row - 1 : row + 2, col - 1 : col + 2]
    axis = torch.tensor([-1.0, 0.0, 1.0], dtype=near.dtype)
    slope = torch.stack([(near.sum(1) * axis).sum(), (near.sum(0) * axis).sum()]) / 6
    bend = torch.stack([(near.sum(1) * (3 * axis**2 - 2)).sum(), (near.sum(0) * (3 * axis**2 - 2)).sum()]) / 3
    twist = (near * axis[:, None] * axis).sum() / 4
    hessian = torch.stack([torch.stack([bend[0], twist]), torch.stack([twist, bend[1]])])
    if not bool((bend < 0).all() & (torch.linalg.det(hessian) > 0)):
        return float(row), float(col), False
    step = torch.linalg.solve(hessian, -slope).clamp(-1, 1)
    return row + float(step[0]), col + float(step[1]), True
