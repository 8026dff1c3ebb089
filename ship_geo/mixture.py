"""How much of the network's residual, and of each classical detail, a scene gets: a few weights from the scene itself.

No injection is best everywhere: a haze-corrected product wins over hazy towns, an additive detail over farmland, and a
network knows the sensors that it was shown. The scene one scale coarser (`ship_geo.coarser`) tells which mixture of
them comes nearest to the delivered MS: one ridge regression of four details and the residual, for all bands together
and then, held to that, for each band. Nothing is trained, and a few hundred thousand pixels are read. The idea is that
of regression at reduced resolution (A. Garzelli, F. Nencini, L. Capobianco, IEEE TGRS 46(1), 2008) and of stacking (D.
Wolpert, Neural Networks 5(2), 1992).

The convention that could surprise: weights are rounded, so that the last bits of a sum on another machine change no
pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ship_geo.coarser import CoarseBlock, CoarseScene, Pair, read_coarser
from ship_geo.inference import WindowSource
from ship_geo.nn.inputs import N_DETAIL, injected_details, network_streams
from ship_geo.stats import SceneStats

SIDE = 128
"""Rows and columns of a block, MS pixels."""

MAX_BLOCKS = 8
"""Blocks that are read of a large scene."""

PRIOR = (0.05, 0.05, 0.05, 0.35, 0.5)
"""Weights of the details and of the network's residual where the scene tells nothing."""

RIDGE, BAND_RIDGE = 0.3, 1.0
"""Pull of the prior on all bands, and of the weights of all bands on each, as a share of the mean energy."""

MIN_COUNT = 500
"""MS pixels that must count for the scene to be asked."""

DIGITS = 4

_DARKEST = 1e-6
_DIM = 0.1  # of the mean brightness; what is darker weighs no more

Mixture = tuple[tuple[float, ...], ...]
"""Per band: weights of the four details and of the network's residual."""

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
    energy = np.zeros((n_band, N_DETAIL + 1, N_DETAIL + 1))
    shared = np.zeros((n_band, N_DETAIL + 1))
    for block in scene.blocks:
        weight = _weight(block)
        for group in groups:
            parts = _parts(scene, block, list(group), residual)
            target = block.missing[list(group)][:, block.counts].double()
            for index, band in enumerate(group):
                if band in group[:index]:
                    continue  # a short group repeats its last band
                table = (weight * parts[:, index]).numpy()
                energy[band] += table @ table.T
                shared[band] += table @ (weight * target[index]).numpy()
    return _solve(energy, shared, scene.stats.moments.var[:n_band])


def add_mixture(
    stats: SceneStats, source: WindowSource, pair: Pair, residual: Residual, groups: Sequence[Sequence[int]]
) -> SceneStats:
    """Read a scene one scale coarser, and put its mixture into its statistics."""
    scene = read_coarser(source, pair, SIDE, MAX_BLOCKS)
    return replace(stats, mixture=fit_mixture(scene, residual, groups, len(pair.gnyq_ms)))


def _parts(scene: CoarseScene, block: CoarseBlock, bands: list[int], residual: Residual) -> Tensor:
    """Details and residual of a group where they count, (N_DETAIL + 1, band, pixel) float64, DN."""
    inputs = scene.network_inputs(block, bands)
    added = residual(*network_streams(*inputs)) * inputs[-1].ms_std
    return torch.cat([*injected_details(*inputs), added])[:, :, block.counts].double()


def _weight(block: CoarseBlock) -> Tensor:
    """Root of the brightness, inverted, of the pixels that count: dark ones show errors of colour as bright ones do."""
    bands = block.inputs.ms_up[:, block.counts].double()
    level = bands.mean(1, keepdim=True).abs().clamp(min=_DARKEST)
    return (bands / level).square().mean(0).sqrt().clamp(min=_DIM) ** -0.5


def _solve(energy: NDArray[np.float64], shared: NDArray[np.float64], variance: NDArray[np.float64]) -> Mixture:
    """Ridge towards the prior for all bands, each in units of its own variance, then of each band towards all."""
    scale = 1 / np.maximum(variance, np.finfo(np.float64).tiny)
    together = _ridge(np.einsum("b,bij->ij", scale, energy), scale @ shared, np.asarray(PRIOR), RIDGE)
    weights = [_ridge(one, own, together, BAND_RIDGE) for one, own in zip(energy, shared, strict=True)]
    return tuple(tuple(round(float(weight), DIGITS) for weight in band) for band in weights)


def _ridge(
    energy: NDArray[np.float64], shared: NDArray[np.float64], prior: NDArray[np.float64], ridge: float
) -> NDArray[np.float64]:
    pull = ridge * float(np.trace(energy)) / len(energy)
    if not pull > 0:
        return prior
    solved = np.linalg.solve(energy + pull * np.eye(len(energy)), shared + pull * prior)
    return np.asarray(solved)
