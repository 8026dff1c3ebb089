"""The shift that is left between PAN and MS when both lie where their transforms say.

Real pairs are off by up to some PAN pixels, and the two detector arrays of WorldView-2 and -3 by different amounts.
Windows spread over a scene come in, a few numbers come out: for all bands together and for each band. PAN is brought
to the MS grid at *trial positions* through the MTF, so that neither image is ever interpolated, and the trial whose
local contrast the bands explain best is taken. Not for warps, not for files: `ship_geo.alignment` reads the windows.

The convention that could surprise: a shift is counted in MS pixels and says how far the *content of MS* must be moved
(down, right) to lie on PAN; `moved_grid` does so by moving the MS grid. The MTF gain hardly matters, as a symmetric
blur moves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from torch import Tensor

from ship_geo._typing import RowCol
from ship_geo.errors import ArgumentError
from ship_geo.grids import Grid
from ship_geo.ops.correlate import correlate, explained, find_peak, local_contrast
from ship_geo.ops.masks import fill_invalid
from ship_geo.ops.resample import axis_decimate

MAX_SHIFT = 8
"""Largest shift that is found, MS pixels."""

BORDER = MAX_SHIFT + 5
"""MS pixels around a window's template in which it is searched; includes what the MTF sees beyond."""

CONFIDENT = 0.5
"""Confidence above which a shift may be believed."""

CONTRAST_SIGMA = 1.0
"""Standard deviation of the local mean that is taken off both images, MS pixels."""

N_TRIAL = 2
"""Trials on either side of a first guess, along rows and along columns."""

STEP = 0.25
"""Distance of the trials around the first guess, MS pixels; first guesses are rounded to it as well."""

AGREEMENT = 1.5
"""Distance at which the whole-pixel peak of a window, searched alone, agrees with the scene, MS pixels."""

_REACH = MAX_SHIFT + N_TRIAL
_KNOWN = 0.98  # share of an MTF's weight that must fall on valid PAN pixels
_MAD = 1.4826  # standard deviation of a normal distribution in units of its median absolute deviation
_OUTLIER = 3.0  # in units of the median distance
_NEAR = 0.05  # MS pixels; within which nothing is an outlier


@dataclass(frozen=True)
class Shift:
    """How far the content of MS must be moved to lie on PAN.

    Attributes
    ----------
    row, col
        Of all bands together, MS pixels, positive down and right.
    confidence
        From 0 to 1: the share of windows (weighted by what PAN and MS have in common in them) which find the same shift
        when each is searched alone within `MAX_SHIFT`, times n / (n + 1) for n such windows. Windows of unrelated or
        featureless images agree by chance only, about one in fifty; a single window never gets beyond 0.5.
    n_window
        Windows that agree.
    spread
        Robust standard deviation of the shifts of these windows (the larger of row and column), MS pixels. Divided by
        the root of their number it tells how exact the shift is.
    per_band
        (row, col, confidence) of each band alone.
    """

    row: float
    col: float
    confidence: float
    n_window: int
    spread: float
    per_band: tuple[tuple[float, float, float], ...]

    @property
    def is_confident(self) -> bool:
        """Whether the shift may be believed."""
        return self.confidence > CONFIDENT

    @property
    def band_spread(self) -> float:
        """Largest distance between the shifts of two bands that may be believed, MS pixels; 0 for fewer than two."""
        sure = [(row, col) for row, col, confidence in self.per_band if confidence > CONFIDENT]
        return max((math.dist(one, other) for one in sure for other in sure), default=0.0)


@dataclass(frozen=True, eq=False)
class WindowPair:
    """One window: MS, and PAN that covers it.

    Attributes
    ----------
    ms, ms_valid
        (band, row, col), DN, and (row, col) bool. The outer `BORDER` pixels are no part of the template; they only
        say where PAN is searched.
    pan, pan_valid
        (1, row, col), DN, and (row, col) bool.
    ratio, phase
        (row, col) as in `ship_geo.ops.resample`: phase of ``ms[:, 0, 0]`` in PAN pixels of `pan`.
    """

    ms: NDArray[np.generic]
    ms_valid: NDArray[np.bool_]
    pan: NDArray[np.generic]
    pan_valid: NDArray[np.bool_]
    ratio: RowCol
    phase: RowCol

    def __post_init__(self) -> None:
        if min(self.ms_valid.shape) <= 2 * BORDER:
            msg = (
                f"a window must hold more MS pixels than its border of {BORDER} on every side, "
                f"got {self.ms_valid.shape}; read a larger one"
            )
            raise ArgumentError(msg)

    @property
    def usable(self) -> float:
        """Share of the template's MS pixels that are valid in all bands and lie on valid PAN, roughly."""
        ms = self.ms_valid[BORDER:-BORDER, BORDER:-BORDER]
        return float(ms.mean() * self.pan_valid.mean()) if ms.size else 0.0


def moved_grid(grid: Grid, shift: RowCol) -> Grid:
    """Move an MS grid so that its content lies on PAN.

    Parameters
    ----------
    grid
        The grid of MS.
    shift
        (row, col) MS pixels, as in `Shift`.

    Returns
    -------
    Grid
        Same shape and CRS, moved transform.
    """
    a, b, c, d, e, f = grid.transform[:6]
    row, col = shift
    return Grid(grid.shape, Affine(a, b, c + a * col + b * row, d, e, f + d * col + e * row), grid.crs)


def estimate_shift(windows: Sequence[WindowPair], gnyq_ms: Sequence[float]) -> Shift:
    """Estimate the shift of a scene from windows of it.

    Whole pixels first, where the windows together fit best; then the peaks of the windows around it; then the peaks of
    trials at fractions of a pixel around their mean. The means leave out outliers and weigh windows by the share of the
    local contrast of PAN that MS explains in them.

    Parameters
    ----------
    windows
        Of the same bands, any size.
    gnyq_ms
        MTF gain at Nyquist of each band; their mean is used.

    Returns
    -------
    Shift
        Of confidence 0 where nothing could be compared; its row and column then mean nothing.
    """
    if not windows:
        return Shift(0.0, 0.0, 0.0, 0, 0.0, ((0.0, 0.0, 0.0),) * len(gnyq_ms))
    with _one_thread():
        prepared = [_Prepared.of(window, float(np.mean(gnyq_ms))) for window in windows]
        size = np.array([float(window.valid.sum()) for window in prepared])
        searched = np.stack([window.search().numpy() for window in prepared], axis=1)  # (target, window, row, col)
        found = _refine(prepared, size, [_first_guess(surfaces, size) for surfaces in searched])
    together, *single = (_judge(peaks, surfaces, size) for peaks, surfaces in zip(found, searched, strict=True))
    return replace(together, per_band=tuple((band.row, band.col, band.confidence) for band in single))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: on images this small others only wait, and sums do not depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A window with its template cut out, values of about unit size, invalid PAN pixels filled."""

    template: Tensor  # (band, row, col) float64
    valid: Tensor  # (row, col) bool
    pan: Tensor  # (row, col) float32
    pan_known: Tensor  # (row, col) float32, 1 where valid
    ratio: RowCol
    phase: RowCol  # of the template
    gnyq: float

    @classmethod
    def of(cls, window: WindowPair, gnyq: float) -> _Prepared:
        inner = slice(BORDER, -BORDER)
        known = torch.from_numpy(window.pan_valid)
        pan = _standardised(window.pan, window.pan_valid).to(torch.float32)
        row, col = (phase + BORDER * ratio for phase, ratio in zip(window.phase, window.ratio, strict=True))
        return cls(
            template=_standardised(window.ms[:, inner, inner], window.ms_valid[inner, inner]),
            valid=torch.from_numpy(window.ms_valid[inner, inner].copy()),
            pan=fill_invalid(pan, known, pan.new_zeros(1))[0],
            pan_known=known.to(pan.dtype),
            ratio=window.ratio,
            phase=(row, col),
            gnyq=gnyq,
        )

    def low_passed(self, rows: Sequence[float], cols: Sequence[float], extra: int = 0) -> tuple[Tensor, Tensor]:
        """PAN through the MTF where shifts put the pixels of MS, and whether it is known there.

        Both are (shift along rows, shift along columns, row, col); the template is made `extra` pixels longer.
        """
        down, right = (
            torch.stack([self._axis(axis, shift, extra) for shift in shifts])
            for axis, shifts in enumerate((rows, cols))
        )
        down, right = down[:, None], right.mT[None]
        images = down @ self.pan @ right
        if bool(self.pan_known.all()):
            return images, torch.ones_like(images, dtype=torch.bool)
        return images, down @ self.pan_known @ right > _KNOWN

    def _axis(self, axis: int, shift: float, extra: int) -> Tensor:
        phase = self.phase[axis] + self.ratio[axis] * shift
        return axis_decimate(self.valid.shape[axis] + extra, self.pan.shape[axis], self.ratio[axis], phase, self.gnyq)

    def search(self) -> Tensor:
        """Squared correlations at whole shifts up to `_REACH`: (target, row, col)."""
        images, known = self.low_passed([-_REACH], [-_REACH], 2 * _REACH)
        image = local_contrast(images[0, 0], known[0, 0], CONTRAST_SIGMA)
        template = local_contrast(self.template, self.valid, CONTRAST_SIGMA)
        return correlate(template, self.valid, image, known[0, 0])

    def try_around(self, centre: RowCol) -> Tensor:
        """Squared correlations at trials around a first guess, all over the same pixels: (target, row, col)."""
        offsets = STEP * np.arange(-N_TRIAL, N_TRIAL + 1)
        images, known = self.low_passed((centre[0] + offsets).tolist(), (centre[1] + offsets).tolist())
        valid = self.valid & known.all(0).all(0)
        if not bool(valid.any()):
            return self.template.new_zeros((1 + len(self.template), *images.shape[:2]))
        bands, trials = (local_contrast(part, valid, CONTRAST_SIGMA)[..., valid] for part in (self.template, images))
        return explained(bands, trials.flatten(0, 1)).reshape(-1, *images.shape[:2])


def _standardised(values: NDArray[np.generic], valid: NDArray[np.bool_]) -> Tensor:
    """Zero mean and unit variance of each band (band, row, col) float64; 0 where not valid."""
    image = values.astype(np.float64)
    known = image[:, valid]
    if not known.size:
        return torch.from_numpy(np.zeros_like(image))
    mean, std = known.mean(1), known.std(1)
    scaled = (image - mean[:, None, None]) / np.where(std > 0, std, 1)[:, None, None]
    return torch.from_numpy(np.where(valid, scaled, 0))


def _whole_peak(surface: NDArray[np.float64]) -> RowCol:
    row, col = np.unravel_index(int(surface.argmax()), surface.shape)
    return float(row - _REACH), float(col - _REACH)


@dataclass(frozen=True, eq=False)
class _Peaks:
    """Where the scene and its windows place one target."""

    centre: RowCol
    windows: NDArray[np.float64]  # (window, (row, col, weight)); weight 0 where there is no peak


def _first_guess(searched: NDArray[np.float64], size: NDArray[np.float64]) -> RowCol:
    """Mean of the peaks of windows (window, row, col) around the whole pixel at which they fit best together."""
    pooled = (searched * size[:, None, None]).sum(0)[N_TRIAL:-N_TRIAL, N_TRIAL:-N_TRIAL]
    row, col = np.unravel_index(int(pooled.argmax()), pooled.shape)
    near = searched[:, row : row + 2 * N_TRIAL + 1, col : col + 2 * N_TRIAL + 1]
    return _locate(near, size, (float(row - MAX_SHIFT), float(col - MAX_SHIFT)), 1.0).centre


def _refine(prepared: Sequence[_Prepared], size: NDArray[np.float64], guesses: Sequence[RowCol]) -> list[_Peaks]:
    """Find the peaks of each target around its first guess, to fractions of a pixel."""
    centres = [(round(row / STEP) * STEP, round(col / STEP) * STEP) for row, col in guesses]
    tried = {
        centre: np.stack([window.try_around(centre).numpy() for window in prepared])
        for centre in dict.fromkeys(centres)
    }
    return [_locate(tried[centre][:, target], size, centre, STEP) for target, centre in enumerate(centres)]


def _locate(surfaces: NDArray[np.float64], size: NDArray[np.float64], centre: RowCol, step: float) -> _Peaks:
    """Find the peaks of all windows (window, row, col), and their weighted mean without outliers."""
    peaks = np.zeros((len(surfaces), 3))
    for index, surface in enumerate(surfaces):
        row, col, is_inside = find_peak(torch.from_numpy(surface))
        weight = float(surface.max()) * size[index] if is_inside else 0.0
        peaks[index] = centre[0] + (row - N_TRIAL) * step, centre[1] + (col - N_TRIAL) * step, weight
    usable = peaks[peaks[:, 2] > 0]
    if not len(usable):
        return _Peaks(centre, peaks)
    middle = [_weighted_median(usable[:, axis], usable[:, 2]) for axis in (0, 1)]
    distance = np.abs(usable[:, :2] - middle).max(1)
    near = usable[distance <= max(_OUTLIER * float(np.median(distance)), _NEAR)]
    row, col = (near[:, :2] * near[:, 2:]).sum(0) / near[:, 2].sum()
    return _Peaks((float(row), float(col)), peaks)


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def _judge(peaks: _Peaks, searched: NDArray[np.float64], size: NDArray[np.float64]) -> Shift:
    """Compare what each window finds alone (window, row, col) with what the scene finds."""
    row, col = peaks.centre
    weight = searched.max((1, 2)) * size
    agrees = np.array([math.dist(_whole_peak(surface), peaks.centre) <= AGREEMENT for surface in searched])
    n_window = int(agrees.sum())
    share = float(weight[agrees].sum() / weight.sum()) if weight.sum() > 0 else 0.0
    is_in_range = max(abs(row), abs(col)) <= MAX_SHIFT + AGREEMENT / 2
    confidence = share * n_window / (n_window + 1) if is_in_range else 0.0
    known = peaks.windows[agrees & (peaks.windows[:, 2] > 0), :2]
    spread = _MAD * float(np.median(np.abs(known - np.median(known, 0)), 0).max()) if len(known) else 0.0
    return Shift(row, col, confidence, n_window, spread, ())
