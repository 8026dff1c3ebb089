"""How each MS band sees what PAN sees: where its pixels lie on PAN, and how much it blurs.

Tables of sensors and georeferencing are nearly right; the pixels tell the rest. PAN is blurred and decimated to the MS
grid at a lattice of shifts and widths; moments of these images and of the bands over windows of a scene are all that is
kept, and from them follows, for each band, the shift and the width at which blurred PAN explains it best. Not for
coarse registration, see `ship_geo.register`: shifts beyond `REACH` are not found. The conventions that could surprise:
images are compared without their coarse parts, so haze and land cover count little; and a band that PAN hardly
explains takes the shift and the gain of the others.

The idea of matching PAN to MS by regression goes back to G. Vivone et al., "Pansharpening based on semiblind
deconvolution", IEEE TGRS 53(4), 2015.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ship_geo.ops.masks import erode
from ship_geo.ops.moments import Moments
from ship_geo.ops.mtf import mtf_sigma
from ship_geo.ops.resample import axis_decimate

RowCol = tuple[float, float]

REACH = 0.4
"""Largest shift that is found, MS pixels."""

MAX_WINDOWS = 32
"""Windows of a large scene that are looked at: 32 of 64 x 64 MS pixels."""

MIN_COUNT = 200
"""MS pixels that must be valid for an estimate."""

TRUSTED = (0.3, 0.7)
"""Share of a band's fine structure that PAN explains: below the first, the band's own estimate does not count; above
the second, nothing else does."""

_SHIFTS = (-REACH, -REACH / 2, 0.0, REACH / 2, REACH)  # MS pixels
_GAINS = (0.12, 0.3, 0.6)
_COARSE = 2.0  # standard deviation of what is taken for coarse, MS pixels
_EDGE = 4  # MS pixels that a comparison loses at edges and masks
_SEEN = 1e-3
_STEPS = 17  # of a shift, over the range that is searched
_ROUNDS = 4


@dataclass(frozen=True)
class BandView:
    """How one band sees what PAN sees.

    Attributes
    ----------
    row, col
        How far right and down on PAN the ground lies that a pixel of the band shows, PAN pixels.
    gnyq
        Gain of the band's blur at its Nyquist frequency, beside that of PAN.
    explained
        Share of the band's fine structure that PAN explains, seen so, 0 to 1.
    """

    row: float
    col: float
    gnyq: float
    explained: float


def blur_of(gnyq: float) -> float:
    """Standard deviation of the Gaussian whose gain at the Nyquist frequency is `gnyq`, pixels of the band's grid."""
    return mtf_sigma(gnyq, 1.0)


def observe(
    ms: Tensor,
    ms_valid: Tensor,
    pan: Tensor,
    pan_valid: Tensor,
    *,
    ratio: RowCol,
    phase: RowCol,
) -> Moments:
    """Compare one window of MS with PAN seen in many ways.

    Parameters
    ----------
    ms
        (band, row, col) float, DN, invalid pixels filled.
    ms_valid
        (row, col) bool.
    pan
        (1, row', col') float, DN, invalid pixels filled; pixels of MS that it does not cover do not count.
    pan_valid
        (row', col') bool.
    ratio, phase
        (row, col) as in `ship_geo.ops.resample`.

    Returns
    -------
    Moments
        Of PAN at every place of the lattice, then of the bands, without their coarse parts; DN.
    """
    shape = (ms.shape[-2], ms.shape[-1])
    views = _views(pan[0], shape, ratio, phase)
    covered = _views(pan_valid.to(pan.dtype), shape, ratio, phase, _GAINS[:1], (-REACH, REACH))
    whole = ((covered - 1).abs().amax((0, 1, 2)) < _SEEN) & _is_inside(pan.shape[-2:], shape, ratio, phase) & ms_valid
    known = erode(whole, _EDGE)
    images = torch.cat([views.flatten(0, 2), ms])
    return Moments.from_samples(_fine(images)[:, known].numpy())


def _is_inside(pan_shape: Sequence[int], shape: tuple[int, int], ratio: RowCol, phase: RowCol) -> Tensor:
    """MS pixels whose centres lie on PAN, (row, col) bool."""
    axes = []
    for axis in (0, 1):
        centre = phase[axis] + ratio[axis] * (np.arange(shape[axis]) + 0.5) - 0.5
        axes.append(torch.from_numpy((centre >= 0) & (centre <= pan_shape[axis] - 1)))
    return axes[0][:, None] & axes[1]


def _views(
    pan: Tensor,
    shape: tuple[int, int],
    ratio: RowCol,
    phase: RowCol,
    gains: Sequence[float] = _GAINS,
    shifts: Sequence[float] = _SHIFTS,
) -> Tensor:
    """PAN on the MS grid at every gain and shift, (gain, row shift, col shift, row, col)."""

    def axis(index: int) -> Tensor:
        matrices = [
            axis_decimate(shape[index], pan.shape[index], ratio[index], phase[index] + step * ratio[index], gain)
            for gain, step in product(gains, shifts)
        ]
        return torch.stack(matrices).reshape(len(gains), len(shifts), shape[index], -1).to(pan.dtype)

    rows = axis(0) @ pan
    return rows[:, :, None] @ axis(1)[:, None].mT


@lru_cache(maxsize=64)
def _smoother(n: int) -> Tensor:
    """Matrix (n, n) of a Gaussian mean that ends at the edges."""
    index = torch.arange(n, dtype=torch.float64)
    weight = torch.exp(-0.5 * ((index[:, None] - index) / _COARSE) ** 2)
    return weight / weight.sum(1, keepdim=True)


def _fine(images: Tensor) -> Tensor:
    exact = images.double()
    return exact - _smoother(images.shape[-2]) @ exact @ _smoother(images.shape[-1]).mT


def fit_views(parts: Iterable[Moments], gnyq_ms: Sequence[float], ratio: RowCol) -> tuple[BandView, ...]:
    """Find how each band sees what PAN sees.

    Parameters
    ----------
    parts
        What `observe` gave for windows of one scene.
    gnyq_ms
        Gain at Nyquist of each band by the table: what a scene is taken to have that tells nothing.
    ratio
        (row, col) of the pair.

    Returns
    -------
    tuple of BandView
    """
    total = Moments.empty(_N_VIEW + len(gnyq_ms))
    for part in parts:
        total = total.merge(part)
    if total.count < MIN_COUNT:
        return tuple(BandView(0.0, 0.0, gain, 0.0) for gain in gnyq_ms)
    among = total.cov[:_N_VIEW, :_N_VIEW]
    found = [
        _search(among, total.cov[:_N_VIEW, _N_VIEW + band], total.var[_N_VIEW + band]) for band in range(len(gnyq_ms))
    ]
    return tuple(_settle(found, gnyq_ms, ratio))


_N_VIEW = len(_GAINS) * len(_SHIFTS) ** 2

_Found = tuple[NDArray[np.float64], float]
"""Row and column shift in MS pixels and squared blur in MS pixels; explained share."""


def _settle(found: Sequence[_Found], gnyq_ms: Sequence[float], ratio: RowCol) -> list[BandView]:
    """Let bands that PAN explains speak for those that it does not, and the table where there are none."""
    low, high = TRUSTED
    place = np.stack([where for where, _ in found])
    table = np.array([[0.0, 0.0, blur_of(gain) ** 2] for gain in gnyq_ms])
    explained = np.array([share for _, share in found])
    trust = ((explained - low) / (high - low)).clip(0, 1)
    trust[np.abs(place[:, :2]).max(1) >= REACH * (1 - 1e-6)] = 0  # beyond the reach, or a fluke
    common = table
    if trust.any():
        weight = trust / trust.sum()
        strength = trust.max()
        common = strength * (weight @ place) + (1 - strength) * table
    settled = trust[:, None] * place + (1 - trust[:, None]) * common
    return [
        BandView(float(row * ratio[0]), float(col * ratio[1]), math.exp(-0.5 * math.pi**2 * float(blur)), float(share))
        for (row, col, blur), share in zip(settled, explained, strict=True)
    ]


def _search(among: NDArray[np.float64], with_band: NDArray[np.float64], variance: float) -> _Found:
    """Find shift and squared blur at which PAN explains a band best, by grids that close in on it."""
    blurs = [blur_of(gain) ** 2 for gain in _GAINS]
    low = np.array([-REACH, -REACH, min(blurs)])
    high = np.array([REACH, REACH, max(blurs)])
    lower, upper, best, share = low, high, (low + high) / 2, 0.0
    for _ in range(_ROUNDS):
        axes = [np.linspace(start, stop, _STEPS) for start, stop in zip(lower, upper, strict=True)]
        places = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        shares = _explained(places, among, with_band, variance)
        best, share = places[int(shares.argmax())], float(shares.max())
        reach = (upper - lower) / 8
        lower, upper = np.maximum(best - reach, low), np.minimum(best + reach, high)
    return best, share


def _explained(
    places: NDArray[np.float64], among: NDArray[np.float64], with_band: NDArray[np.float64], variance: float
) -> NDArray[np.float64]:
    """Squared correlation of a band with PAN seen from (row, col, squared blur), between the places of the lattice.

    Zero where they are opposed: a band that is dark where PAN is bright is left to the others.
    """
    blurs = np.array([blur_of(gain) ** 2 for gain in _GAINS])
    on_blur, on_row, on_col = (
        _lagrange(np.asarray(nodes), places[:, axis]) for nodes, axis in ((blurs, 2), (_SHIFTS, 0), (_SHIFTS, 1))
    )
    weights = np.einsum("pi,pj,pk->pijk", on_blur, on_row, on_col).reshape(len(places), -1)
    shared = weights @ with_band
    energy = np.einsum("pv,pv->p", weights @ among, weights) * variance
    shares: NDArray[np.float64] = np.zeros(len(places))
    np.divide(shared.clip(0) ** 2, energy, out=shares, where=energy > 0)
    return shares.clip(0, 1)


def _lagrange(nodes: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (place, node) of the polynomial through all nodes."""
    columns = []
    for index, node in enumerate(nodes):
        others = np.delete(nodes, index)
        columns.append(np.prod((at[:, None] - others) / (node - others), axis=1))
    return np.stack(columns, 1)
