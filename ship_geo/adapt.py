"""Fitting a network to one scene before it is fused: the scene, degraded once more, is what it learns from.

What is learnt one scale coarser (`ship_geo.coarser`) is believed to hold one scale finer, so it pays where the scene is
large and the blur of its bands is known. Not for training on many scenes, see `ship_geo.training`. The conventions that
could surprise: everything lies on the MS grid; a part of the scene is held out, the weights which do best there are
kept, and those of the start where none do better; and a run is a function of the scene, the weights and the config
alone, unless its time runs out, which is told.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ship_geo.coarser import EDGE, CoarseBlock, CoarseScene, Pair, read_coarser
from ship_geo.errors import ArgumentError
from ship_geo.fusers import BandGroups
from ship_geo.inference import WindowSource
from ship_geo.losses import pansharpening_loss
from ship_geo.nn.inputs import BandStatistics, network_streams
from ship_geo.nn.sharpener import Sharpener

BLOCK = 160
"""Rows and columns of the parts of a scene that are read, MS pixels."""


@dataclass(frozen=True)
class AdaptConfig:
    """How a network is fitted to a scene.

    Attributes
    ----------
    steps
        Steps of the optimiser.
    rate
        Largest learning rate; it falls to zero.
    batch_size, patch
        Patches of a step, and their rows and columns in MS pixels.
    max_blocks
        Blocks of `BLOCK` x `BLOCK` MS pixels that are read of a large scene.
    n_check
        How often the held-out part is looked at.
    share
        Of the fitted weights in those that are kept, the rest being those of the start: what was learnt one scale
        coarser holds only in part (averaging as in M. Wortsman et al., "Robust fine-tuning of zero-shot models", 2022).
    gain
        Share by which the error on the held-out part must fall for the adapted weights to be taken.
    max_seconds
        When to stop, whatever step it is.
    seed
        Of everything drawn.
    """

    steps: int = 240
    rate: float = 6e-4
    batch_size: int = 8
    patch: int = 64
    max_blocks: int = 24
    n_check: int = 6
    share: float = 0.5
    gain: float = 0.005
    max_seconds: float = 200.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a run without steps, patches or time."""
        sizes = self.steps, self.batch_size, self.patch, self.max_blocks, self.n_check
        if min(sizes) < 1 or min(self.rate, self.max_seconds, self.share) <= 0:
            msg = f"steps, sizes, rate, share and time of an adaptation are positive, got {self}; correct them"
            raise ArgumentError(msg)


@dataclass(frozen=True)
class AdaptRecord:
    """What an adaptation did.

    Attributes
    ----------
    error_before, error_after
        Relative error (ERGAS at a ratio of 1) on the held-out part, of the weights at the start and of those kept.
    is_adapted
        Whether other weights than those of the start were kept.
    steps, seconds
        Steps that were made, and the time that all took.
    n_block, n_held_out
        Blocks that were learnt from, and held out.
    reason
        Why there was no adaptation, or why it ended early; empty otherwise.
    """

    error_before: float
    error_after: float
    is_adapted: bool
    steps: int
    seconds: float
    n_block: int
    n_held_out: int
    reason: str = ""


@dataclass(frozen=True, eq=False)
class _Lesson:
    """A block at reduced resolution as the network reads one group of its bands; all (1, channel, row, col)."""

    ms_stream: Tensor
    guide_stream: Tensor
    ref: Tensor
    counts: Tensor
    statistics: BandStatistics


def adapt(
    network: Sharpener, source: WindowSource, pair: Pair, groups: BandGroups, config: AdaptConfig | None = None
) -> tuple[Sharpener, AdaptRecord]:
    """Fit a copy of a network to a scene.

    Parameters
    ----------
    network
        The weights to start from; left as they are. Where it lies is where the work is done.
    source
        Reads windows of the scene at its own resolution.
    pair
        What belongs to them.
    groups
        Bands that the network sees together.
    config
        How; the defaults are those of ``adapt="auto"``.

    Returns
    -------
    network
        The adapted copy; one with the weights of the start where nothing better was found.
    record
        What was done.
    """
    config, start = config or AdaptConfig(), time.monotonic()
    scene = read_coarser(source, pair, BLOCK, config.max_blocks)
    learnt, held_out = _divide(_lessons(scene, groups) if scene else [], config.patch)
    if not learnt or not held_out:
        seconds = round(time.monotonic() - start, 3)
        reason = f"the scene is too small or too empty at reduced resolution: {len(learnt)} parts to learn from"
        return network, AdaptRecord(math.nan, math.nan, False, 0, seconds, len(learnt), len(held_out), reason)
    tuned = copy.deepcopy(network).train()
    device = next(tuned.parameters()).device
    best, before, after, steps = _fit(tuned, (learnt, held_out), config, device, start + config.max_seconds)
    tuned.load_state_dict(best)
    reason = "" if steps == config.steps else f"stopped after {config.max_seconds:g} s"
    if not after < before:
        reason = reason or "nothing did better on the held-out part"
    record = AdaptRecord(
        round(before, 5),
        round(after, 5),
        after < before,
        steps,
        round(time.monotonic() - start, 3),
        len(learnt),
        len(held_out),
        reason,
    )
    return tuned.eval(), record


def _lessons(scene: CoarseScene, groups: BandGroups) -> list[list[_Lesson]]:
    """Per block one lesson a group."""
    return [[_lesson(scene, block, group) for group in groups] for block in scene.blocks]


def _lesson(scene: CoarseScene, block: CoarseBlock, bands: Sequence[int]) -> _Lesson:
    inputs = scene.network_inputs(block, bands)
    ms_stream, guide_stream = network_streams(*inputs)
    statistics = inputs[-1]
    ref = ms_stream[:, : len(bands)] + block.missing[None, list(bands)] / statistics.ms_std
    whole = _Lesson(ms_stream, guide_stream, ref, block.counts[None, None], statistics)
    return _part(whole, _extent(block.counts.any(1)), _extent(block.counts.any(0)))


def _extent(known: Tensor) -> slice:
    """From the first to the last that is known, with the edge that does not count."""
    found = known.nonzero()
    return slice(max(0, int(found[0]) - EDGE), int(found[-1]) + 1 + EDGE)


def _divide(blocks: list[list[_Lesson]], patch: int) -> tuple[list[_Lesson], list[_Lesson]]:
    """Hold out every fourth block; of a few blocks the lower quarter of each. What remains has room for a patch."""
    if len(blocks) >= 4:  # noqa: PLR2004  a quarter of them is one
        learnt = [lesson for index, block in enumerate(blocks) if index % 4 != 1 for lesson in block]
        held_out = [lesson for index, block in enumerate(blocks) if index % 4 == 1 for lesson in block]
    else:
        every = [lesson for block in blocks for lesson in block]
        cut = [lesson.ref.shape[-2] - lesson.ref.shape[-2] // 4 for lesson in every]
        learnt = [_part(lesson, slice(row)) for lesson, row in zip(every, cut, strict=True)]
        held_out = [_part(lesson, slice(row, None)) for lesson, row in zip(every, cut, strict=True)]
    smallest = min(patch, 24)
    learnt = [lesson for lesson in learnt if min(lesson.ref.shape[-2:]) >= smallest and bool(lesson.counts.any())]
    return learnt, [lesson for lesson in held_out if bool(lesson.counts.any())]


def _part(lesson: _Lesson, rows: slice, cols: slice = slice(None)) -> _Lesson:
    images = (lesson.ms_stream, lesson.guide_stream, lesson.ref, lesson.counts)
    ms_stream, guide_stream, ref, counts = (image[..., rows, cols] for image in images)
    return _Lesson(ms_stream, guide_stream, ref, counts, lesson.statistics)


def _fit(
    network: Sharpener,
    lessons: tuple[list[_Lesson], list[_Lesson]],
    config: AdaptConfig,
    device: torch.device,
    deadline: float,
) -> tuple[dict[str, Tensor], float, float, int]:
    """Train, look at the held-out part now and then, and return the best weights, the errors and the steps."""
    learnt, held_out = lessons
    optimizer = torch.optim.AdamW(network.parameters(), config.rate, weight_decay=0.0)
    patches = _patches(learnt, config, device)
    before, tried = _error(network, held_out, device), copy.deepcopy(network)
    start = _copy(network)
    best, after, interval = start, before * (1 - config.gain), math.ceil(config.steps / config.n_check)
    averaged, steps, found = torch.optim.swa_utils.AveragedModel(network, avg_fn=_average), 0, before
    for step in range(config.steps):
        if time.monotonic() > deadline:
            break
        for group in optimizer.param_groups:
            group["lr"] = config.rate * _factor(step, config.steps)
        loss = _loss(network, next(patches), device)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        averaged.update_parameters(network)
        steps = step + 1
        if steps % interval == 0 or steps == config.steps:
            tried.load_state_dict(_mixed(start, averaged.module.state_dict(), config.share))
            error = _error(tried, held_out, device)
            if error < after:
                best, after, found = _copy(tried), error, error
    return best, before, found, steps


def _average(old: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
    """Average of the weights over about the last thirty steps, over all where there are fewer."""
    share = min(float(count) / (float(count) + 1), 1 - 1 / 30)
    return share * old + (1 - share) * new


def _factor(step: int, steps: int) -> float:
    """Rise over a tenth of the run, then half a cosine to zero."""
    rise = max(1, steps // 10)
    return min((step + 1) / rise, 0.5 * (1 + math.cos(math.pi * max(0, step - rise) / max(1, steps - rise))))


def _mixed(start: dict[str, Tensor], end: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    return {name: torch.lerp(value, end[name], share) for name, value in start.items()}


def _copy(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


_Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""Streams, reference, where it counts, and mean and standard deviation of the bands."""


def _patches(lessons: list[_Lesson], config: AdaptConfig, device: torch.device) -> Iterator[_Batch]:
    """Draw batches of patches without end, turned at random; lessons come up as often as they have pixels."""
    random = np.random.default_rng(config.seed)
    side = min(config.patch, *(min(lesson.ref.shape[-2:]) for lesson in lessons))
    share = np.array([float(lesson.counts.sum()) for lesson in lessons])
    while True:
        drawn = [
            _patch(lessons[int(random.choice(len(lessons), p=share / share.sum()))], side, random)
            for _ in range(config.batch_size)
        ]
        ms_stream, guide_stream, ref, counts, mean, std = (
            torch.cat(parts).to(device) for parts in zip(*drawn, strict=True)
        )
        yield ms_stream, guide_stream, ref, counts, mean, std


def _patch(lesson: _Lesson, side: int, random: np.random.Generator) -> _Batch:
    n_row, n_col = lesson.ref.shape[-2:]
    row, col = (int(random.integers(n - side + 1)) for n in (n_row, n_col))
    inner = (..., slice(row, row + side), slice(col, col + side))
    axes = [axis for axis in (-2, -1) if random.random() < 0.5]  # noqa: PLR2004  a fair coin
    is_transposed = random.random() < 0.5  # noqa: PLR2004

    def turn(image: Tensor) -> Tensor:
        flipped = image[inner].flip(axes)
        return flipped.mT if is_transposed else flipped

    images = (lesson.ms_stream, lesson.guide_stream, lesson.ref, lesson.counts)
    ms_stream, guide_stream, ref, counts = (turn(image) for image in images)
    return ms_stream, guide_stream, ref, counts, lesson.statistics.ms_mean, lesson.statistics.ms_std


def _loss(network: Sharpener, batch: _Batch, device: torch.device) -> Tensor:
    ms_stream, guide_stream, ref, counts, mean, std = batch
    fused = _run(network, ms_stream, guide_stream, device)
    return pansharpening_loss(torch.where(counts, fused, ref), ref, (mean, std))


def _run(network: torch.nn.Module, ms_stream: Tensor, guide_stream: Tensor, device: torch.device) -> Tensor:
    last = torch.channels_last
    streams = (stream.to(device).contiguous(memory_format=last) for stream in (ms_stream, guide_stream))
    fused: Tensor = network(*streams)
    return fused.float()


@torch.no_grad()
def _error(network: torch.nn.Module, lessons: Sequence[_Lesson], device: torch.device) -> float:
    """Relative error of all lessons together: root of the mean over bands of squared error by squared mean, percent."""
    total, count = 0.0, 0.0
    for lesson in lessons:
        fused = _run(network, lesson.ms_stream, lesson.guide_stream, device).cpu()
        scale = lesson.statistics.ms_std / lesson.statistics.ms_mean.abs().clamp(min=1e-6)
        squares = ((fused - lesson.ref) * scale).square() * lesson.counts
        total += float(squares.double().mean(1).sum())
        count += float(lesson.counts.sum())
    return 100 * math.sqrt(total / count)
