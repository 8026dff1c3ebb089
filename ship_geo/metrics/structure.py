"""Indices of spatial structure against a reference: SSIM and two of the indices that go by the name of SCC.

The convention that could surprise: "SCC" names at least four different numbers; here each has its own name, and the
per-band Pearson correlation that some tables print as SCC is `cc`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ship_geo.metrics._inputs import erode, mean_or_nan, prepare_pair
from ship_geo.metrics._windows import box_sum, filter_valid
from ship_geo.metrics.pointwise import cc

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_SIGMA = 1.5
_RADIUS = 5
_K = (0.01, 0.03)


def ssim(fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None, *, peak: float) -> float:
    """Structural similarity, Gaussian 11 x 11 window of sigma 1.5, valid positions, mean over windows and bands.

    Parameters
    ----------
    fused, ref
        (band, row, col) DN.
    valid
        (row, col) bool; None for all. A window counts only if all its pixels do.
    peak
        2**bits - 1, DN.

    Raises
    ------
    ArgumentError
        If shapes do not fit.

    References
    ----------
    Z. Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 13(4), 2004,
    eq. 13; population moments.
    """
    first, second, mask = prepare_pair(fused, ref, valid)
    side = 2 * _RADIUS + 1
    counted = box_sum(mask.astype(np.float64), side) > side**2 - 0.5
    total = sum(float(_ssim_map(x, y, peak)[counted].sum()) for x, y in zip(first, second, strict=True))
    return mean_or_nan(total, int(counted.sum()) * len(first), "SSIM", "windows")


def _ssim_map(x: NDArray[np.float64], y: NDArray[np.float64], peak: float) -> NDArray[np.float64]:
    """Similarity in every window of two (row, col) images."""
    taps = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
    taps /= taps.sum()
    mean_x, mean_y, squares, product = filter_valid(np.stack([x, y, x * x + y * y, x * y]), taps)
    energy, cross = mean_x**2 + mean_y**2, mean_x * mean_y
    c_mean, c_var = ((k * peak) ** 2 for k in _K)
    similar = (2 * cross + c_mean) * (2 * (product - cross) + c_var)
    return np.asarray(similar / ((energy + c_mean) * (squares - energy + c_var)))


def scc_sobel(fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Cosine between the Sobel magnitudes of both images over all bands and pixels; 1 is best.

    One pixel is cut off every side and the rest is filtered with zeros around it, as in the published tables: the
    ring this draws around the image counts, unless a mask takes it away.

    Parameters
    ----------
    fused, ref
        (band, row, col) DN.
    valid
        (row, col) bool; None for all. A pixel counts only if its neighbours do.

    Raises
    ------
    ArgumentError
        If shapes do not fit.
    """
    first, second, mask = prepare_pair(fused, ref, valid)
    counted = erode(mask, 1)[1:-1, 1:-1]
    edges = [_sobel(image[:, 1:-1, 1:-1])[:, counted] for image in (first, second)]
    norm = math.sqrt(float((edges[0] ** 2).sum() * (edges[1] ** 2).sum()))
    return mean_or_nan(float((edges[0] * edges[1]).sum()) / (norm or 1.0), int(norm > 0), "SCC (Sobel)", "edges")


def _sobel(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sobel magnitude with zero padding."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    smooth_rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    smooth_cols = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    return np.hypot(smooth_rows[:, :, 2:] - smooth_rows[:, :, :-2], smooth_cols[:, 2:] - smooth_cols[:, :-2])


def scc_laplacian(fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Pearson correlation of the 3 x 3 Laplacians (8 at the centre), mean over bands; 1 is best.

    Only pixels whose 3 x 3 neighbourhood lies inside the image and is valid count; arguments as in `scc_sobel`.

    References
    ----------
    J. Zhou, D. L. Civco, J. A. Silander, "A wavelet transform method to merge Landsat TM and SPOT panchromatic data",
    International Journal of Remote Sensing 19(4), 1998.
    """
    first, second, mask = prepare_pair(fused, ref, valid)
    counted = erode(mask, 1)[1:-1, 1:-1]
    edges = [9 * image[:, 1:-1, 1:-1] - box_sum(image, 3) for image in (first, second)]
    return cc(edges[0], edges[1], counted)
