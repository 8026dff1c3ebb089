"""A scene degraded once more, in blocks: what is learnt from the scene itself before it is fused.

By Wald's protocol MS is the reference, and the pair one scale coarser the input, prepared as inference prepares it. MS
is degraded by the blur that was found in the scene (`ship_geo.ops.views`), not by the table's. Not for training on many
scenes, see `ship_geo.data.reduced`. The convention that could surprise: everything lies on the MS grid, and the
reference is brought to where PAN shows its ground.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ship_geo._typing import RowCol, Shape
from ship_geo.data.reader import PairSample
from ship_geo.degrade import ReducedPair, degrade_pair
from ship_geo.inference import WindowSource
from ship_geo.nn.inputs import BandStatistics
from ship_geo.ops.masks import erode
from ship_geo.ops.resample import move
from ship_geo.ops.views import BandView, fit_views, observe
from ship_geo.ops.windows import PreparedWindow, prepare_window
from ship_geo.sampling import PLACE, places, spread
from ship_geo.stats import SceneStats, WindowStats
from ship_geo.tiling import Plan, Window

HALO = 24
"""MS pixels read around a block: what the filters of the degradation see."""

EDGE = 4
"""MS pixels by which what counts keeps away from edges and masks, where inputs are guesses."""


@dataclass(frozen=True)
class Pair:
    """Facts of a pair that its windows do not carry.

    Attributes
    ----------
    shape
        Rows and columns of the output.
    ratio
        (row, col).
    gnyq_ms, gnyq_pan
        MTF gains at Nyquist; those of MS as they were found in the scene.
    """

    shape: Shape
    ratio: RowCol
    gnyq_ms: tuple[float, ...]
    gnyq_pan: float


@dataclass(frozen=True, eq=False)
class CoarseBlock:
    """A block one scale coarser, all on the MS grid.

    Attributes
    ----------
    inputs
        What a model is shown, DN.
    missing
        (band, row, col) DN: what a model should add, which is the reference minus the interpolated MS, brought to where
        PAN shows its ground.
    counts
        (row, col) bool: where it counts.
    """

    inputs: PreparedWindow
    missing: Tensor
    counts: Tensor


@dataclass(frozen=True, eq=False)
class CoarseScene:
    """Blocks of a scene one scale coarser, and its statistics there."""

    blocks: tuple[CoarseBlock, ...]
    stats: SceneStats

    def network_inputs(
        self, block: CoarseBlock, bands: Sequence[int]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, BandStatistics]:
        """Arguments of `ship_geo.nn.inputs.network_streams` for a group of bands of a block."""
        weights, offset = self.stats.intensity
        weight = torch.from_numpy(weights.astype(np.float32))[:, None, None]
        window, chosen = block.inputs, list(bands)
        intensity = (weight * window.ms_up).sum(0, keepdim=True) + offset
        statistics = self.stats.network_statistics(chosen)
        return window.ms_up[None, chosen], window.pan[None], window.pan_low[None, chosen], intensity[None], statistics


def block_windows(pair: Pair, side: int, max_blocks: int) -> tuple[Plan, list[Window]]:
    """Windows of the output under blocks of `side` x `side` MS pixels, at most so many, spread over the scene.

    In a large scene they lie in the middle of its places, see `ship_geo.sampling`.
    """
    plan = Plan(pair.shape, math.ceil(side * max(pair.ratio)), 0, math.ceil(HALO * max(pair.ratio)))
    if corners := places(pair.shape, max_blocks):
        return plan, [_in_place(plan, row, col) for row, col in corners]
    windows = plan.windows()
    return plan, [windows[index] for index in spread(len(windows), max_blocks)]


def _in_place(plan: Plan, row: int, col: int) -> Window:
    """Return a window in the middle of the place that begins at a pixel, as far as the scene lets it."""
    middle = max(0, PLACE - plan.window) // 2
    row0, col0 = (max(0, min(first + middle, n - plan.window)) for first, n in zip((row, col), plan.shape, strict=True))
    return Window(row // PLACE, col // PLACE, (row0, row0 + plan.window, col0, col0 + plan.window))


def read_coarser(source: WindowSource, pair: Pair, side: int, max_blocks: int) -> CoarseScene | None:
    """Read blocks of a scene and degrade them; None where nothing counts.

    Parameters
    ----------
    source
        Reads windows of the scene.
    pair
        What belongs to them.
    side
        Rows and columns of a block, MS pixels.
    max_blocks
        Blocks of a large scene.
    """
    plan, windows = block_windows(pair, side, max_blocks)

    def samples() -> Iterator[PairSample]:
        for window in windows:
            yield from source.samples(plan, [window])

    return make_coarser(samples(), pair, side)


def make_coarser(samples: Iterable[PairSample], pair: Pair, side: int) -> CoarseScene | None:
    """Degrade the samples of `block_windows` and prepare them as inference would; None where nothing counts."""
    reduced = [_degrade(sample, pair) for sample in samples]
    looks = [
        observe(one.ms_lr, one.ms_lr_valid, one.pan_lr, one.pan_lr_valid, ratio=one.ratio, phase=one.phase)
        for one in reduced
    ]
    views = fit_views(looks, pair.gnyq_ms, pair.ratio)
    blocks = [block for block in (_prepare(one, pair, views, side) for one in reduced) if bool(block.counts.any())]
    if not blocks:
        return None
    everything = slice(None), slice(None)
    parts = [WindowStats.measure(block.inputs, everything, math.nan) for block in blocks]
    return CoarseScene(tuple(blocks), SceneStats.merged(parts, views=views))


def _degrade(sample: PairSample, pair: Pair) -> ReducedPair:
    return degrade_pair(
        sample.ms,
        sample.pan,
        ratio=sample.ratio,
        phase=sample.phase,
        gnyq_ms=pair.gnyq_ms,
        gnyq_pan=pair.gnyq_pan,
        ms_valid=sample.ms_valid,
        pan_valid=sample.pan_valid,
    )


def _prepare(one: ReducedPair, pair: Pair, views: Sequence[BandView], side: int) -> CoarseBlock:
    window = prepare_window(
        (one.ms_lr.numpy(), one.ms_lr_valid.numpy()),
        (one.pan_lr.numpy(), one.pan_lr_valid.numpy()),
        ratio=one.ratio,
        phase=one.phase,
        gnyq_ms=pair.gnyq_ms,
        halo=0,
        views=views,
    )
    known = window.valid & one.ref_valid & _middle(one.ref_valid.shape, side)
    missing = move(one.ref - window.ms_placed, [(-view.row, -view.col) for view in views])
    return CoarseBlock(window, missing, erode(known, EDGE))


def _middle(shape: Sequence[int], side: int) -> Tensor:
    """Pixels of a block without what was read around it, (row, col) bool."""
    mask = torch.zeros(*shape, dtype=torch.bool)
    row, col = (max(0, (n - side) // 2) for n in shape)
    mask[row : row + side, col : col + side] = True
    return mask
