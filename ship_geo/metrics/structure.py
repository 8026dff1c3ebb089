"""Indices of spatial structure against a reference: SSIM and two of the indices that go by the name of SCC.

The convention that could surprise: "SCC" names at least four different numbers; here each has its own name, and the
per-band Pearson correlation that some tables print as SCC is `cc`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ship_geo.metrics._inputs import mean_or_nan, prepare_pair
from ship_geo.metrics._windows import box_sum, filter_valid
from ship_geo.metrics.pointwise import ErrorAccumulator

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_SIGMA = 1.5
_RADIUS = 5
_K = (0.01, 0.03)

SSIM_SIDE = 2 * _RADIUS + 1
"""Rows and columns of the window of SSIM."""

Edges = tuple[bool, bool, bool, bool]
"""Whether the first row, last row, first column and last column of a part are those of the scene."""

_EVERY_EDGE: Edges = (True, True, True, True)


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
    accumulator = SsimAccumulator(peak)
    accumulator.update(fused, ref, valid)
    return accumulator.compute()


class SsimAccumulator:
    """Sum of structural similarity over the windows seen so far, band by band.

    Attributes
    ----------
    total
        (band,) sum; None before the first update.
    count
        Windows in the sum.
    """

    def __init__(self, peak: float) -> None:
        self.peak = peak
        self.total: NDArray[np.float64] | None = None
        self.count = 0

    def update(self, fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None) -> None:
        """Add every fully valid window inside (band, row, col) DN images under a (row, col) mask.

        Parts of a scene overlap by `SSIM_SIDE` - 1 pixels, so that each window lies in one of them.
        """
        first, second, mask = prepare_pair(fused, ref, valid)
        counted = box_sum(mask.astype(np.float64), SSIM_SIDE) > SSIM_SIDE**2 - 0.5
        if counted.any():
            totals = [float(_ssim_map(x, y, self.peak)[counted].sum()) for x, y in zip(first, second, strict=True)]
            self._add(np.array(totals), int(counted.sum()))

    def merge(self, other: SsimAccumulator) -> None:
        """Add what another accumulator has seen."""
        if other.total is not None:
            self._add(other.total, other.count)

    def _add(self, total: NDArray[np.float64], count: int) -> None:
        self.total = total if self.total is None else self.total + total
        self.count += count

    def bands(self) -> list[float]:
        """Mean of every band over its windows; empty if there was none."""
        return [] if self.total is None else [float(value) for value in self.total / self.count]

    def compute(self) -> float:
        """Mean over windows and bands; NaN and a warning if there is none."""
        return mean_or_nan(sum(self.bands()), len(self.bands()), "SSIM", "windows")


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
    accumulator = SobelAccumulator()
    accumulator.update(fused, ref, valid)
    return accumulator.compute()


class SobelAccumulator:
    """Products of Sobel magnitudes over the pixels seen so far.

    Attributes
    ----------
    total
        (3,) sums of fused times reference, fused squared and reference squared.
    count
        Pixels and bands in the sums.
    """

    def __init__(self) -> None:
        self.total = np.zeros(3)
        self.count = 0

    def update(
        self, fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None, *, edges: Edges = _EVERY_EDGE
    ) -> None:
        """Add every pixel of (band, row, col) DN images that has its eight neighbours there, valid as it is.

        Parts of a scene overlap by 2 pixels. `edges` tells where a part ends because the scene does: the filter sees
        zeros there.
        """
        first, second, mask = prepare_pair(fused, ref, valid)
        counted = _inner(mask)
        x, y = (_sobel(_ringed(image, edges))[:, counted] for image in (first, second))
        self.total += [float((x * y).sum()), float((x * x).sum()), float((y * y).sum())]
        self.count += x.size

    def merge(self, other: SobelAccumulator) -> None:
        """Add what another accumulator has seen."""
        self.total = self.total + other.total
        self.count += other.count

    def compute(self) -> float:
        """Cosine; NaN and a warning if there is no edge in an image."""
        norm = math.sqrt(float(self.total[1] * self.total[2]))
        return mean_or_nan(float(self.total[0]) / (norm or 1.0), int(norm > 0), "SCC (Sobel)", "edges")


def _inner(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a pixel and its neighbours are valid, for all pixels that have eight."""
    return np.asarray(box_sum(mask.astype(np.float64), 3) > 9 - 0.5)


def _ringed(image: NDArray[np.float64], edges: Edges) -> NDArray[np.float64]:
    """Put zeros into the outermost lines of the scene."""
    if not any(edges):
        return image
    top, bottom, left, right = (1 if is_edge else 0 for is_edge in edges)
    n_row, n_col = image.shape[1:]
    ringed = np.zeros_like(image)
    inner = (slice(None), slice(top, n_row - bottom), slice(left, n_col - right))
    ringed[inner] = image[inner]
    return ringed


def _sobel(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sobel magnitude of all pixels that have eight neighbours."""
    smooth_rows = values[:, :-2] + 2 * values[:, 1:-1] + values[:, 2:]
    smooth_cols = values[:, :, :-2] + 2 * values[:, :, 1:-1] + values[:, :, 2:]
    return np.hypot(smooth_rows[:, :, 2:] - smooth_rows[:, :, :-2], smooth_cols[:, 2:] - smooth_cols[:, :-2])


def scc_laplacian(fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Pearson correlation of the 3 x 3 Laplacians (8 at the centre), mean over bands; 1 is best.

    Only pixels whose 3 x 3 neighbourhood lies inside the image and is valid count; arguments as in `scc_sobel`.

    References
    ----------
    J. Zhou, D. L. Civco, J. A. Silander, "A wavelet transform method to merge Landsat TM and SPOT panchromatic data",
    International Journal of Remote Sensing 19(4), 1998.
    """
    accumulator = LaplacianAccumulator()
    accumulator.update(fused, ref, valid)
    return accumulator.compute()


class LaplacianAccumulator:
    """Moments of the Laplacians of both images over the pixels seen so far."""

    def __init__(self) -> None:
        self._errors = ErrorAccumulator()

    @property
    def count(self) -> int:
        """Pixels seen so far."""
        return self._errors.count

    def update(self, fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None = None) -> None:
        """Add every pixel of (band, row, col) DN images that has its eight neighbours there, valid as it is.

        Parts of a scene overlap by 2 pixels.
        """
        first, second, mask = prepare_pair(fused, ref, valid)
        x, y = (9 * image[:, 1:-1, 1:-1] - box_sum(image, 3) for image in (first, second))
        self._errors.update(x, y, _inner(mask))

    def merge(self, other: LaplacianAccumulator) -> None:
        """Add what another accumulator has seen."""
        self._errors.merge(other._errors)

    def compute(self) -> float:
        """Pearson correlation, mean over bands; NaN and a warning if a band has none."""
        return self._errors.cc("SCC (Laplacian)")
