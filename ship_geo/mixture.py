"""How much of the network's residual, and of two classical details, a scene gets: a few weights from the scene itself.

No injection is best everywhere: a haze-corrected product wins over hazy towns, an additive detail over farmland, PAN is
sharper or softer than the bands should become, and a network knows the sensors that it was shown. The scene one scale
coarser (`ship_geo.coarser`) tells which mixture of them (`ship_geo.nn.inputs.mixture_parts`) comes nearest to the
delivered MS, by ridge regression: for all bands together and then, held to that, for each band. What is made small is
the squared error of each band, in units of its variance, and the angle between the spectra. Nothing is trained, and a
few hundred thousand pixels are read. The idea is that of regression at reduced resolution (A. Garzelli, F. Nencini, L.
Capobianco, IEEE TGRS 46(1), 2008) and of stacking (D. Wolpert, Neural Networks 5(2), 1992).

The convention that could surprise: weights are rounded, so that the last bits of a sum on another machine change no
pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ship_geo.coarser import CoarseBlock, CoarseScene, Pair, read_coarser
from ship_geo.inference import WindowSource
from ship_geo.nn.inputs import N_PART, injected_details, mixture_parts, network_streams
from ship_geo.stats import SceneStats

SIDE = 128
"""Rows and columns of a block, MS pixels."""

MAX_BLOCKS = 8
"""Blocks that are read of a large scene."""

PRIOR = (0.1, 0.4, 0.0, 0.0, 0.5)
"""Weights where the scene tells nothing."""

RIDGE, BAND_RIDGE = 0.1, 1.0
"""Pull of the prior on all bands, and of the weights of all bands on each, as a share of the mean energy."""

ANGLE = 0.5
"""How much the angle between spectra counts beside the squared errors, in equal units."""

MIN_COUNT = 500
"""MS pixels that must count for the scene to be asked."""

DIGITS = 4

_DIM = 0.1  # of the mean length of the spectra; the angle of what is darker counts no more

_TINY = float(np.finfo(np.float64).tiny)

Mixture = tuple[tuple[float, ...], ...]
"""Per band: weights of the parts of a mixture."""

Residual = Callable[[Tensor, Tensor], Tensor]
"""Streams of a group of bands -> what the network adds, standardised, (1, band, row, col)."""


def fit_mixture(scene: CoarseScene | None, residual: Residual, groups: Sequence[Sequence[int]], n_band: int) -> Mixture:
    """Find the weights of a scene.

    Parameters
    ----------
    scene
        One scale coarser; None where nothing counts.
    residual
        Runs the network.
    groups
        Bands that it sees together.
    n_band
        Bands of the scene.

    Returns
    -------
    tuple of tuple of float
        The prior for every band where the scene is too small.
    """
    if scene is None or sum(int(block.counts.sum()) for block in scene.blocks) < MIN_COUNT:
        return (PRIOR,) * n_band
    errors, angles = _System.empty(n_band), _System.empty(n_band)
    scale = 1 / np.maximum(scene.stats.moments.var[:n_band], _TINY) ** 0.5
    for block in scene.blocks:
        parts, missing = _parts(scene, block, groups, residual), block.missing[:, block.counts].double().numpy()
        spectra = block.inputs.ms_up[:, block.counts].double().numpy() + missing
        errors.add(parts * scale[:, None], missing * scale[:, None])
        _add_angles(angles, parts, missing, spectra)
    return _solve(errors + angles.scaled(ANGLE * errors.size / max(angles.size, _TINY)))


def add_mixture(
    stats: SceneStats, source: WindowSource, pair: Pair, residual: Residual, groups: Sequence[Sequence[int]]
) -> SceneStats:
    """Read a scene one scale coarser, and put its mixture into its statistics."""
    scene = read_coarser(source, pair, SIDE, MAX_BLOCKS)
    return replace(stats, mixture=fit_mixture(scene, residual, groups, len(pair.gnyq_ms)))


def _parts(
    scene: CoarseScene, block: CoarseBlock, groups: Sequence[Sequence[int]], residual: Residual
) -> NDArray[np.float64]:
    """Parts of the mixture where they count, (part, band, pixel) DN."""
    made = torch.zeros(N_PART, *block.missing[:, block.counts].shape, dtype=torch.float64)
    for group in groups:
        inputs = scene.network_inputs(block, group)
        added = residual(*network_streams(*inputs)) * inputs[-1].ms_std
        # a short group repeats its last band
        made[:, list(group)] = torch.cat(mixture_parts(injected_details(*inputs), added))[:, :, block.counts].double()
    return made.numpy()


@dataclass(frozen=True, eq=False)
class _System:
    """Normal equations of the weights of all bands.

    Attributes
    ----------
    energy
        (band, part, band, part).
    shared
        (band, part).
    """

    energy: NDArray[np.float64]
    shared: NDArray[np.float64]

    @classmethod
    def empty(cls, n_band: int) -> _System:
        """Nothing is known."""
        return cls(np.zeros((n_band, N_PART, n_band, N_PART)), np.zeros((n_band, N_PART)))

    @property
    def size(self) -> float:
        """Sum of the energies of all parts of all bands."""
        return float(np.einsum("bpbp->", self.energy))

    def add(self, parts: NDArray[np.float64], target: NDArray[np.float64]) -> None:
        """Add the errors of every band by itself; (part, band, pixel) and (band, pixel)."""
        for band in range(len(target)):
            self.energy[band, :, band] += parts[:, band] @ parts[:, band].T
            self.shared[band] += parts[:, band] @ target[band]

    def scaled(self, factor: float) -> _System:
        """Return the same equations in other units."""
        return _System(self.energy * factor, self.shared * factor)

    def __add__(self, other: _System) -> _System:
        """Return the equations of both."""
        return _System(self.energy + other.energy, self.shared + other.shared)


def _add_angles(
    angles: _System, parts: NDArray[np.float64], missing: NDArray[np.float64], spectra: NDArray[np.float64]
) -> None:
    """Add errors across the spectra, as a share of their length: what lies along a spectrum does not turn it."""
    length = np.linalg.norm(spectra, axis=0)
    share = 1 / np.maximum(length, max(_DIM * float(length.mean()), _TINY))
    along = spectra / np.maximum(length, _TINY)
    angles.add(parts * share, missing * share)
    turned = (parts * (along * share)).swapaxes(0, 1).reshape(-1, parts.shape[-1])
    angles.energy[...] -= (turned @ turned.T).reshape(angles.energy.shape)
    angles.shared[...] -= (turned @ ((along * missing).sum(0) * share)).reshape(angles.shared.shape)


def _solve(system: _System) -> Mixture:
    """Ridge towards the prior for all bands, then of the bands towards that."""
    n_band = len(system.shared)
    together = _ridge(system.energy.sum((0, 2)), system.shared.sum(0), np.asarray(PRIOR), RIDGE)
    n = n_band * N_PART
    own = np.einsum("bpbp->b", system.energy) / N_PART
    pulls = np.repeat(BAND_RIDGE * np.maximum(own, _TINY), N_PART)
    target = system.shared.ravel() + pulls * np.tile(together, n_band)
    weights = np.linalg.solve(system.energy.reshape(n, n) + np.diag(pulls), target).reshape(n_band, N_PART)
    return tuple(tuple(round(float(weight), DIGITS) for weight in band) for band in weights)


def _ridge(
    energy: NDArray[np.float64], shared: NDArray[np.float64], prior: NDArray[np.float64], ridge: float
) -> NDArray[np.float64]:
    pull = ridge * float(np.trace(energy)) / len(energy)
    if not pull > 0:
        return prior
    solved = np.linalg.solve(energy + pull * np.eye(len(energy)), shared + pull * prior)
    return np.asarray(solved)
