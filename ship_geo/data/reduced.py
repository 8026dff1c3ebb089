"""Training pairs from real scenes: windows read through the TorchGeo dataset and degraded once more.

By Wald's protocol the delivered MS is the reference, and the network sees the pair as inference would show it: prepared
by the same functions, with the statistics of the whole scene at reduced resolution. Chips of other imagery are read by
`ship_geo.data.chips`, which needs no geospatial library; `MixedSteps` joins both.

What could surprise: everything here lies on the MS grid, where a window of the PAN grid is `ratio` times as large. A
pixel that is not valid has the upsampled MS as its reference, so all that the loss asks for there is to add no detail.
And a step is a function of the scenes, the seed and the number of the step alone, so a run can be taken up again.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ship_geo.data.chips import ChipBatch, ChipSteps
from ship_geo.data.samplers import RandomPairGeoSampler
from ship_geo.degrade import PanFilter, ReducedPair, degrade_pair
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.nn.inputs import BandStatistics, network_streams
from ship_geo.ops.moments import Moments
from ship_geo.ops.resample import move
from ship_geo.ops.views import BandView, fit_views, observe
from ship_geo.ops.windows import PreparedWindow, prepare_window
from ship_geo.sampling import spread
from ship_geo.stats import SceneStats, WindowStats
from ship_geo.tiling import Plan, halo_for

if TYPE_CHECKING:
    from ship_geo.data.dataset import ScenePairDataset, SceneQuery
    from ship_geo.scene import Scene

STATS_PATCH = 128
"""Rows and columns, MS pixels, of the windows of which the statistics of a scene are made."""

MAX_STATS_WINDOWS = 32
"""Windows that are read of a large scene: 32 of 128 x 128 MS pixels at ratio 4 lie over 8 megapixels of PAN."""

MAX_DRAWS = 1000
"""Windows that are drawn in the hope of a valid pixel: enough where one in a hundred has some."""

_DRAWS, _MIXTURE, _POOL = (
    1,
    2,
    3,
)  # keep the random numbers of this module apart from those of the chips of the same step
_ROUNDING = 1e-6


class ReducedBatch(NamedTuple):
    """What `ship_geo.data.simulation.simulate` gives, of real scenes; a tuple, as loaders take dataclasses badly.

    Attributes
    ----------
    ms_stream, guide_stream, ref
        Streams of the network and the reference, standardised: (n, 6 band, row, col), (n, 3, row, col) and
        (n, band, row, col).
    measured
        The fields of `statistics`.
    """

    ms_stream: Tensor
    guide_stream: Tensor
    ref: Tensor
    measured: dict[str, Tensor]

    @property
    def statistics(self) -> BandStatistics:
        """Statistics of the scene of each sample, DN."""
        return BandStatistics(**self.measured)


@dataclass(frozen=True, eq=False)
class ReducedWindow:
    """A window at reduced resolution and its reference.

    Attributes
    ----------
    inputs
        What a model is shown, DN, on the MS grid.
    ref
        (band, row, col) the delivered MS, DN; a fill where it is not valid.
    valid
        (row, col) bool: inputs and reference are valid.
    """

    inputs: PreparedWindow
    ref: Tensor
    valid: Tensor

    @classmethod
    def read(
        cls,
        dataset: ScenePairDataset,
        query: SceneQuery,
        patch: int,
        pan_filter: PanFilter = "bicubic",
        views: Sequence[BandView] = (),
    ) -> ReducedWindow:
        """Read a window, degrade it with the gains of its sensor and keep the middle of it.

        Parameters
        ----------
        dataset
            The scenes.
        query
            A window of `window_size`.
        patch
            MS rows and columns to keep.
        pan_filter
            How PAN is degraded, see `ship_geo.degrade.degrade_pair`.
        views
            How each band sees what PAN sees at reduced resolution; the reference then lies on PAN.
        """
        pair = degrade_window(dataset, query, pan_filter)
        row, col = ((n - patch) // 2 for n in pair.ref.shape[-2:])
        halo = min(row, col)  # phases off the lattice cost one of the axes a pixel
        around = np.s_[row - halo : row + patch + halo, col - halo : col + patch + halo]
        inner = np.s_[row : row + patch, col : col + patch]
        inputs = prepare_window(
            (pair.ms_lr.numpy(), pair.ms_lr_valid.numpy()),
            (pair.pan_lr[:, *around].numpy(), pair.pan_lr_valid[around].numpy()),
            ratio=pair.ratio,
            phase=(pair.phase[0] - (row - halo), pair.phase[1] - (col - halo)),
            gnyq_ms=dataset.scenes[query.scene].sensor.gnyq_ms,
            halo=halo,
            views=views,
        )
        ref = move(pair.ref, [(-view.row, -view.col) for view in views]) if views else pair.ref
        return cls(inputs, ref[:, *inner], inputs.valid & pair.ref_valid[inner])


def degrade_window(dataset: ScenePairDataset, query: SceneQuery, pan_filter: PanFilter = "bicubic") -> ReducedPair:
    """Read a window and degrade it with the gains of its sensor, see `ship_geo.degrade.degrade_pair`."""
    sensor, sample = dataset.scenes[query.scene].sensor, dataset[query]
    return degrade_pair(
        sample["ms"],
        sample["pan"],
        ratio=tuple(sample["ratio"].tolist()),
        phase=tuple(sample["phase"].tolist()),
        gnyq_ms=sensor.gnyq_ms,
        gnyq_pan=sensor.gnyq_pan,
        pan_filter=pan_filter,
        ms_valid=sample["ms_mask"],
        pan_valid=sample["mask"],
    )


def margin_for(ratio: tuple[float, float]) -> int:
    """MS pixels around a patch: as many as inference reads in PAN pixels, a few of which the degradation may cut."""
    return halo_for(ratio)


def window_size(patch: int, ratio: tuple[float, float]) -> tuple[int, int]:
    """Rows and columns, PAN pixels, of a window that holds a patch of the MS grid and its margin."""
    side = patch + 2 * margin_for(ratio)
    return math.ceil(side * ratio[0] - _ROUNDING), math.ceil(side * ratio[1] - _ROUNDING)


def with_room(scenes: Sequence[Scene], patch: int) -> list[Scene]:
    """Leave out scenes that have no room for a patch, with a warning.

    Raises
    ------
    ArgumentError
        If none has room.
    """
    from ship_geo.data.dataset import ScenePairDataset

    roomy, refusals = [], []
    for scene in scenes:
        try:
            _samplers_of(ScenePairDataset(scene), patch)
            roomy.append(scene)
        except ArgumentError as error:
            refusals.append(error)
            warnings.warn(f"a scene that is too small is left out: {error}", UserWarning, stacklevel=2)
    if refusals and not roomy:
        raise refusals[0]
    return roomy


def measure_reduced(dataset: ScenePairDataset, scene: int, pan_filter: PanFilter = "bicubic") -> SceneStats:
    """Statistics of a scene at reduced resolution, from at most `MAX_STATS_WINDOWS` windows spread over it.

    All windows are read where those meet no valid pixel.

    Raises
    ------
    ProductError
        If no pixel of the scene is valid at reduced resolution, or a file cannot be read.
    """
    pair = dataset.scenes[scene].pair
    size = max(window_size(STATS_PATCH, pair.ratio))
    halo = math.ceil(margin_for(pair.ratio) * max(pair.ratio))
    plan = Plan(pair.output.shape, size - 2 * halo, 0, halo)
    queries = [dataset.query(scene, window.read(halo)) for window in plan.windows()]
    chosen = spread(len(queries), MAX_STATS_WINDOWS)
    looks = [_look(degrade_window(dataset, queries[index], pan_filter)) for index in chosen]
    sensor = dataset.scenes[scene].sensor
    views = fit_views(looks, sensor.gnyq_ms, pair.ratio)

    def measure(index: int) -> WindowStats:
        window = ReducedWindow.read(dataset, queries[index], STATS_PATCH, pan_filter, views)
        ms_max = float(window.ref[:, window.valid].max()) if window.valid.any() else -math.inf
        return WindowStats.measure(window.inputs, (slice(None), slice(None)), ms_max)

    parts = [measure(index) for index in chosen]
    if not any(part.moments.count for part in parts):
        parts = [measure(index) for index in range(len(queries))]
    return SceneStats.merged(parts, sensor.roles, views)


def _look(pair: ReducedPair) -> Moments:
    masks = pair.ms_lr_valid, pair.pan_lr_valid
    return observe(pair.ms_lr, masks[0], pair.pan_lr, masks[1], ratio=pair.ratio, phase=pair.phase)


class ReducedSteps(Dataset[ReducedBatch]):
    """One batch of random windows per training step, all of one ratio, flipped and transposed at random.

    Scenes are drawn as often as they have room for windows; those that have none are never drawn, nor are windows
    without a valid pixel.

    Parameters
    ----------
    dataset
        The scenes.
    steps
        Length.
    batch_size
        Windows per batch.
    patch
        Rows and columns of a sample, MS pixels.
    seed
        Of everything drawn; step i draws from (seed, i) alone.
    n_band
        Bands that the network sees together: as many of the scene's in random order, of which the last is repeated
        where there are fewer.
    pan_filter
        How PAN is degraded, see `ship_geo.degrade.degrade_pair`.

    Raises
    ------
    ArgumentError
        If a number is less than 1, or no scene has room for a window.
    """

    def __init__(
        self,
        dataset: ScenePairDataset,
        steps: int,
        batch_size: int,
        patch: int,
        seed: int,
        n_band: int = 4,
        pan_filter: PanFilter = "bicubic",
    ) -> None:
        if min(steps, batch_size, patch, n_band) < 1:
            got = f"{steps} steps, batch size {batch_size}, patch {patch}, {n_band} bands"
            msg = f"steps, batch size, patch and bands are at least 1, got {got}; correct them"
            raise ArgumentError(msg)
        self.dataset, self.steps, self.batch_size, self.patch, self.seed = dataset, steps, batch_size, patch, seed
        self.n_band, self.pan_filter = n_band, pan_filter
        self._samplers = _samplers_of(dataset, patch)
        self._stats: dict[int, SceneStats] = {}
        self._groups: dict[tuple[float, ...], list[int]] = {}
        for scene in self._samplers:
            key = tuple(round(ratio, 3) for ratio in dataset.scenes[scene].pair.ratio)
            self._groups.setdefault(key, []).append(scene)

    def __len__(self) -> int:
        """Count the steps."""
        return self.steps

    @property
    def room(self) -> int:
        """Windows that the scenes have room for, side by side."""
        return sum(len(sampler) for sampler in self._samplers.values())

    def __getitem__(self, step: int) -> ReducedBatch:
        """Read the batch of a step.

        Raises
        ------
        IndexError
            If there is no such step.
        ProductError
            If a file cannot be read, or no valid pixel is found.
        """
        if not 0 <= step < self.steps:
            raise IndexError(step)
        random = np.random.default_rng((self.seed, step, _DRAWS))
        groups = list(self._groups.values())
        group = groups[_choose([sum(len(self._samplers[scene]) for scene in one) for one in groups], random)]
        return _joined([self._sample(group, random) for _ in range(self.batch_size)])

    def scene_stats(self, scene: int) -> SceneStats:
        """Statistics of a scene at reduced resolution; measured when first asked for."""
        if scene not in self._stats:
            try:
                self._stats[scene] = measure_reduced(self.dataset, scene, self.pan_filter)
            except ProductError as error:
                msg = f"{self.dataset.scenes[scene].name}: {error}"
                raise ProductError(msg) from error
        return self._stats[scene]

    def _sample(self, group: list[int], random: np.random.Generator) -> ReducedBatch:
        scene, window = self._draw(group, random)
        stats, inputs = self.scene_stats(scene), window.inputs
        order = [int(band) for band in random.permutation(len(window.ref))[: self.n_band]]
        bands = order + order[-1:] * (self.n_band - len(order))
        weights, offset = stats.intensity
        weight = torch.from_numpy(weights.astype(np.float32))[:, None, None]
        intensity = (weight * inputs.ms_up).sum(0, keepdim=True) + offset
        statistics = stats.network_statistics(bands)
        ms_stream, guide_stream = network_streams(
            inputs.ms_up[None, bands], inputs.pan[None], inputs.pan_low[None, bands], intensity[None], statistics
        )
        standardised = (window.ref[None, bands] - statistics.ms_mean) / statistics.ms_std
        ref = torch.where(window.valid, standardised, ms_stream[:, : self.n_band])
        turn = _draw_turn(random)
        return ReducedBatch(turn(ms_stream), turn(guide_stream), turn(ref), vars(statistics))

    def _draw(self, group: list[int], random: np.random.Generator) -> tuple[int, ReducedWindow]:
        """Draw windows until one has a valid pixel."""
        shares = [len(self._samplers[scene]) for scene in group]
        for _ in range(MAX_DRAWS):
            scene = group[_choose(shares, random)]
            sampler = self._samplers[scene]
            sampler.set_epoch(int(random.integers(2**31)))
            views = self.scene_stats(scene).views
            window = ReducedWindow.read(self.dataset, next(iter(sampler)), self.patch, self.pan_filter, views)
            if window.valid.any():
                return scene, window
        names = ", ".join(self.dataset.scenes[scene].name for scene in group)
        msg = f"windows need a valid pixel, got none in {MAX_DRAWS} of {names}; check the nodata values of the files"
        raise ProductError(msg)


class PooledSteps(Dataset[ReducedBatch]):
    """Steps of several datasets, such as one for each CRS, drawn as often as they have room for windows.

    Parameters
    ----------
    parts
        Of equal length.
    seed
        Step i chooses by (seed, i) alone.

    Raises
    ------
    ArgumentError
        If there are no parts, or lengths differ.
    """

    def __init__(self, parts: Sequence[ReducedSteps], seed: int) -> None:
        if len({len(part) for part in parts}) != 1:
            msg = f"steps of one length are pooled, got lengths {[len(part) for part in parts]}; make them equal"
            raise ArgumentError(msg)
        self.parts, self.seed = list(parts), seed

    def __len__(self) -> int:
        """Count the steps."""
        return len(self.parts[0])

    def __getitem__(self, step: int) -> ReducedBatch:
        """Read the batch of a step."""
        random = np.random.default_rng((self.seed, step, _POOL))
        return self.parts[_choose([part.room for part in self.parts], random)][step]


class MixedSteps(Dataset[ChipBatch | ReducedBatch]):
    """Steps of chips, a share of which is replaced by the same steps of scenes.

    Parameters
    ----------
    chips
        What the other steps read; None where the share is 1.
    scenes
        Each drawn as often as the others, whatever its size.
    share
        Of steps from scenes, 0 to 1.
    seed
        Step i chooses by (seed, i) alone.

    Raises
    ------
    ArgumentError
        If `share` is out of range, there are no scenes, no chips for the rest, or lengths differ.
    """

    def __init__(
        self, chips: ChipSteps | None, scenes: Sequence[ReducedSteps | PooledSteps], share: float, seed: int
    ) -> None:
        lengths = [len(steps) for steps in ([] if chips is None else [chips]) + list(scenes)]
        if not scenes or not 0 <= share <= 1 or len(set(lengths)) > 1 or (chips is None and share < 1):
            got = f"share {share} and lengths {lengths}"
            msg = f"a share from 0 to 1 of the steps of chips comes from scenes of equal length, got {got}; correct it"
            raise ArgumentError(msg)
        self.chips, self.scenes, self.share, self.seed = chips, list(scenes), share, seed

    def __len__(self) -> int:
        """Count the steps."""
        return len(self.scenes[0])

    def __getitem__(self, step: int) -> ChipBatch | ReducedBatch:
        """Read the batch of a step."""
        random = np.random.default_rng((self.seed, step, _MIXTURE))
        if self.chips is not None and random.random() >= self.share:
            return self.chips[step]
        return self.scenes[int(random.integers(len(self.scenes)))][step]


def _samplers_of(dataset: ScenePairDataset, patch: int) -> dict[int, RandomPairGeoSampler]:
    """Samplers of the scenes that have room for a window."""
    samplers, refusals = {}, []
    for scene, found in enumerate(dataset.scenes):
        try:
            samplers[scene] = RandomPairGeoSampler(dataset, window_size(patch, found.pair.ratio), scene=scene)
        except ArgumentError as error:  # the only rule left to break is that of room
            refusals.append(error)
    if not samplers:
        sizes = ", ".join(f"{found.name} {found.pair.output.shape}" for found in dataset.scenes)
        msg = f"a scene must have room for a patch of {patch} MS pixels with its margin, got {sizes}; make it smaller"
        raise ArgumentError(msg) from refusals[0]
    return samplers


def _choose(shares: list[int], random: np.random.Generator) -> int:
    return int(random.choice(len(shares), p=np.asarray(shares) / sum(shares)))


def _draw_turn(random: np.random.Generator) -> Callable[[Tensor], Tensor]:
    """Draw a flip and a transposition, harmless as the MTF of a band is the same along rows and columns."""
    axes = [axis for axis in (-2, -1) if random.random() < 0.5]  # noqa: PLR2004  a fair coin
    is_transposed = random.random() < 0.5  # noqa: PLR2004

    def turn(image: Tensor) -> Tensor:
        flipped = image.flip(axes)
        return (flipped.mT if is_transposed else flipped).contiguous()

    return turn


def _joined(samples: list[ReducedBatch]) -> ReducedBatch:
    return ReducedBatch(
        torch.cat([sample.ms_stream for sample in samples]),
        torch.cat([sample.guide_stream for sample in samples]),
        torch.cat([sample.ref for sample in samples]),
        {name: torch.cat([sample.measured[name] for sample in samples]) for name in samples[0].measured},
    )
