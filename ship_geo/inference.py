"""From windows to a blended block: read, prepare, fuse, feather; arrays in, array out.

The result is a function of the scene and the model alone: windows have one size and hang on pixel (0, 0) of the output
grid, never on the block that asks for them. Not for graphs, files or schedulers. The convention that could surprise: a
window that several blocks share is fused once per process, as long as the cache holds it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ship_geo._typing import Box, RowCol
from ship_geo.data.reader import PairReader, PairSample
from ship_geo.fusers import BandGroups, Fuser
from ship_geo.ops.moments import Moments
from ship_geo.ops.views import MAX_WINDOWS, BandView, fit_views, observe
from ship_geo.ops.windows import PreparedWindow, fill, prepare_window
from ship_geo.sampling import spread, statistics_windows
from ship_geo.scene import Scene
from ship_geo.sensors import Sensor
from ship_geo.stats import SceneStats, WindowStats
from ship_geo.tiling import Plan, Window

CACHE_BYTES = 192 * 2**20
"""Of windows that several blocks need: what lies between two rows of blocks, 16384 pixels wide with four bands."""

FusedWindow = tuple[Tensor, Tensor]
"""Values (band, row, col) float32 DN and validity (row, col) bool."""


class WindowSource(Protocol):
    """Anything that reads the windows of a plan."""

    def samples(self, plan: Plan, windows: Sequence[Window]) -> Iterator[PairSample]:
        """Read windows of a plan, each with the plan's halo."""


@dataclass(frozen=True)
class ReaderSource:
    """Windows from a `PairReader`, for pairs in memory."""

    reader: PairReader

    def samples(self, plan: Plan, windows: Sequence[Window]) -> Iterator[PairSample]:
        """Read windows of a plan, each with the plan's halo."""
        return (self.reader.read(*window.read(plan.halo)) for window in windows)


class SceneSource:
    """Windows of a scene through the TorchGeo dataset and its sampler, as in training.

    Parameters
    ----------
    scene
        What is read.
    """

    def __init__(self, scene: Scene) -> None:
        from ship_geo.data.dataset import ScenePairDataset  # loads torchgeo, which takes seconds

        self.dataset = ScenePairDataset([scene])

    def samples(self, plan: Plan, windows: Sequence[Window]) -> Iterator[PairSample]:
        """Read windows of a plan, each with the plan's halo."""
        for window in windows:
            yield as_sample(self.dataset[self.dataset.query(0, window.read(plan.halo))])


def prepare(
    sample: PairSample,
    gnyq_ms: tuple[float, ...],
    halo: int,
    *,
    with_low: bool = True,
    for_stats: bool = False,
    views: Sequence[BandView] = (),
) -> PreparedWindow:
    """Bring a sample that was read with a halo to the PAN grid; see `prepare_window` for what is optional."""
    return prepare_window(
        (sample.ms, sample.ms_valid),
        (sample.pan, sample.pan_valid),
        ratio=sample.ratio,
        phase=sample.phase,
        gnyq_ms=gnyq_ms,
        halo=halo,
        with_low=with_low,
        for_stats=for_stats,
        views=views,
    )


def observe_window(source: WindowSource, plan: Plan, window: Window) -> Moments:
    """Compare the bands of one window of a plan with PAN, see `ship_geo.ops.views`."""
    (sample,) = source.samples(plan, [window])
    (ms, ms_valid), (pan, pan_valid) = (
        fill(values, valid) for values, valid in ((sample.ms, sample.ms_valid), (sample.pan, sample.pan_valid))
    )
    return observe(ms, ms_valid, pan, pan_valid, ratio=sample.ratio, phase=sample.phase)


def observed_windows(plan: Plan) -> list[Window]:
    """Return the windows that are looked at for how bands see PAN: some of those that are measured."""
    measured = statistics_windows(plan)
    return [measured[index] for index in spread(len(measured), MAX_WINDOWS)]


def measure_window(
    source: WindowSource, plan: Plan, window: Window, sensor: Sensor, views: Sequence[BandView] = ()
) -> WindowStats:
    """Gather the statistics of one window of a plan, as far as it lies in the scene."""
    (sample,) = source.samples(plan, [window])
    row0, _, col0, _ = window.core
    inside = slice(0, max(0, plan.shape[0] - row0)), slice(0, max(0, plan.shape[1] - col0))
    ms_max = float(sample.ms[:, sample.ms_valid].max()) if sample.ms_valid.any() else -np.inf
    # Views are for networks; what some classical methods are fitted from beside the moments is measured without them.
    prepared = prepare(sample, sensor.gnyq_ms, plan.halo, for_stats=not views, views=views)
    return WindowStats.measure(prepared, inside, ms_max)


def gather_stats(source: WindowSource, plan: Plan, sensor: Sensor, ratio: RowCol | None = None) -> SceneStats:
    """Measure windows spread over a scene; all of them where the sample meets no valid pixel.

    Parameters
    ----------
    source
        Reads windows.
    plan
        Windows to choose from, see `ship_geo.sampling.statistics_plan`.
    sensor
        With the bands of the scene, in their order.
    ratio
        (row, col) of the pair where it shall be found out first how bands see PAN, which networks are told.

    Raises
    ------
    ProductError
        If no pixel of the scene is valid.
    """
    views: tuple[BandView, ...] = ()
    if ratio is not None:
        looks = [observe_window(source, plan, window) for window in observed_windows(plan)]
        views = fit_views(looks, sensor.gnyq_ms, ratio)
    parts = [measure_window(source, plan, window, sensor, views) for window in statistics_windows(plan)]
    if not any(part.moments.count for part in parts):
        parts = [measure_window(source, plan, window, sensor, views) for window in plan.windows()]
    return SceneStats.merged(parts, sensor.roles, views)


class _WindowCache:
    """Windows that are fused, or that a thread is about to fuse; the least recently used leave first."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self._size = max_bytes, 0
        self._held: OrderedDict[Any, Future[FusedWindow]] = OrderedDict()
        self._lock = threading.Lock()

    def claim(self, key: Any) -> tuple[Future[FusedWindow], bool]:
        """Return the place of a window, and whether the caller must fill it."""
        with self._lock:
            is_new = key not in self._held
            place = self._held.setdefault(key, Future())
            self._held.move_to_end(key)
            return place, is_new

    def fill(self, key: Any, place: Future[FusedWindow], window: FusedWindow) -> None:
        """Put a window where others wait for it, and drop old ones."""
        with self._lock:
            place.set_result(window)
            if self._held.get(key) is place:
                self._size += _n_byte(window)
            while self._size > self.max_bytes:
                _, old = self._held.popitem(last=False)
                self._size -= _n_byte(old.result()) if old.done() else 0

    def clear(self) -> None:
        """Forget every window."""
        with self._lock:
            self._held.clear()
            self._size = 0

    def fail(self, key: Any, place: Future[FusedWindow], error: BaseException) -> None:
        """Tell those who wait for a window that it will not come."""
        with self._lock:
            if self._held.get(key) is place:
                del self._held[key]
        place.set_exception(error)


def _n_byte(window: FusedWindow) -> int:
    return window[0].nbytes + window[1].nbytes


_CACHE = _WindowCache(CACHE_BYTES)


def forget_windows() -> None:
    """Drop the windows that are kept for other blocks, so that the next run starts as in a fresh process."""
    _CACHE.clear()


def fuse_block(
    source: WindowSource,
    plan: Plan,
    block: Box,
    fuser: Fuser,
    stats: SceneStats,
    *,
    gnyq_ms: tuple[float, ...],
    groups: BandGroups,
    cache_key: str | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Sharpen one block of the output.

    Parameters
    ----------
    source
        Reads windows.
    plan
        Windows of the whole output.
    block
        (row0, row1, col0, col1) on the output grid.
    fuser, stats
        The model, and what it is told of the scene.
    gnyq_ms
        MTF gain at Nyquist of each band.
    groups
        Bands that the model sees together.
    cache_key
        Names scene, model and parameters; windows shared by blocks are then fused once.

    Returns
    -------
    values
        (band, row, col) float32 DN.
    valid
        (row, col) bool.
    """
    row0, row1, col0, col1 = block
    total = np.zeros((len(gnyq_ms), row1 - row0, col1 - col0), np.float32)
    valid = np.zeros(total.shape[1:], np.bool_)
    for window, fused, mask in _fused_windows(source, plan, block, fuser, stats, gnyq_ms, groups, cache_key):
        on_block, on_window = _common(block, window.core)
        part = fused[(slice(None), *on_window)].numpy()
        total[(slice(None), *on_block)] += plan.weights(window)[on_window] * part if plan.overlap else part
        valid[on_block] |= mask[on_window].numpy()
    return total, valid


def _common(block: Box, core: Box) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Pixels that a block and a window share, as slices of either."""
    starts = [max(block[axis], core[axis]) for axis in (0, 2)]
    stops = [min(block[axis], core[axis]) for axis in (1, 3)]

    def slices(origin: Box) -> tuple[slice, slice]:
        rows, cols = (
            slice(start - origin[axis], stop - origin[axis])
            for start, stop, axis in zip(starts, stops, (0, 2), strict=True)
        )
        return rows, cols

    return slices(block), slices(core)


def _fused_windows(
    source: WindowSource,
    plan: Plan,
    block: Box,
    fuser: Fuser,
    stats: SceneStats,
    gnyq_ms: tuple[float, ...],
    groups: BandGroups,
    cache_key: str | None,
) -> Iterator[tuple[Window, Tensor, Tensor]]:
    """Give the windows of a block in the order of the plan; those that other blocks share are fused once."""

    def fuse(windows: Sequence[Window]) -> list[FusedWindow]:
        samples = source.samples(plan, windows)
        prepared = [
            prepare(sample, gnyq_ms, plan.halo, with_low=fuser.reads_pan_low, views=stats.views) for sample in samples
        ]
        return [(fused, made.valid) for fused, made in zip(fuser.fuse(prepared, stats, groups), prepared, strict=True)]

    for batch in _claimed(plan, block, fuser, cache_key):
        _fill([claim for claim in batch if claim.is_new], fuse)
        for claim in batch:
            yield claim.window, *claim.place.result()


class _Claim(NamedTuple):
    """A window of a block, its key in the cache and its place, and whether this thread must fill it."""

    window: Window
    key: Any
    place: Future[FusedWindow]
    is_new: bool


def _claimed(plan: Plan, block: Box, fuser: Fuser, cache_key: str | None) -> Iterator[list[_Claim]]:
    """Claim the windows of a block, until there is a batch to be fused; so nobody waits who is waited for."""
    batch: list[_Claim] = []
    for window in plan.windows_in(*block):
        if cache_key is None or _is_inside(window.core, block, plan):
            batch.append(_Claim(window, None, Future(), is_new=True))
        else:
            key = (cache_key, window.row_index, window.col_index)
            batch.append(_Claim(window, key, *_CACHE.claim(key)))
        if sum(claim.is_new for claim in batch) >= fuser.batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _is_inside(core: Box, block: Box, plan: Plan) -> bool:
    """Whether no other block needs a window."""
    ends = min(core[1], plan.shape[0]), min(core[3], plan.shape[1])
    return block[0] <= core[0] and ends[0] <= block[1] and block[2] <= core[2] and ends[1] <= block[3]


def _fill(claims: Sequence[_Claim], fuse: Callable[[Sequence[Window]], list[FusedWindow]]) -> None:
    if not claims:
        return
    try:
        made = fuse([claim.window for claim in claims])
    except BaseException as error:
        for claim in claims:
            _CACHE.fail(claim.key, claim.place, error)
        raise
    for claim, window in zip(claims, made, strict=True):
        _CACHE.fill(claim.key, claim.place, window)


def to_dtype(values: NDArray[np.float32], dtype: str, limits: tuple[float, float] | None) -> tuple[NDArray[Any], int]:
    """Round and clip to the output's data type.

    Parameters
    ----------
    values
        (band, row, col) float32 DN.
    dtype
        NumPy name.
    limits
        Smallest and largest legal value; None for floats, which are not clipped.

    Returns
    -------
    values
        (band, row, col) of `dtype`.
    n_clipped
        Values that lay beyond the limits by more than rounding.
    """
    if limits is None:
        return values.astype(dtype), 0
    low, high = limits
    # float32 cannot hold the limits of 32 bits: they would be rounded up to values beyond them.
    exact = np.float64 if np.dtype(dtype).itemsize >= np.dtype(np.float32).itemsize else np.float32
    legal, n_clipped = np.empty(values.shape, dtype), 0
    for band, target in zip(values, legal, strict=True):  # one after the other: three copies of a block are large
        rounded = np.rint(band, dtype=exact)
        n_clipped += int(np.count_nonzero((rounded < low) | (rounded > high)))
        target[...] = rounded.clip(low, high)
    return legal, n_clipped


def to_physical(
    values: NDArray[np.float32],
    limits: tuple[float, float] | None,
    gain: Sequence[float],
    offset: Sequence[float],
) -> tuple[NDArray[np.float32], int]:
    """Clip DN to the legal range and make physical values of them, without rounding in between.

    Parameters
    ----------
    values
        (band, row, col) float32 DN.
    limits
        Smallest and largest legal DN; None for floats, which are not clipped.
    gain, offset
        Per band: result = gain * DN + offset.

    Returns
    -------
    values
        (band, row, col) float32.
    n_clipped
        Values that lay beyond the limits by more than rounding.
    """
    legal, n_clipped = values, 0
    if limits is not None:
        low, high = limits
        n_clipped = int(np.count_nonzero((values < low - 0.5) | (values > high + 0.5)))
        legal = values.clip(low, high)
    scale, shift = (np.asarray(factors, np.float32)[:, np.newaxis, np.newaxis] for factors in (gain, offset))
    return legal * scale + shift, n_clipped


def value_limits(dtype: str, bits: int, ms_max: float) -> tuple[float, float] | None:
    """Legal output values: those of the sensor's bit depth if the scene keeps to it, else those of the data type.

    Parameters
    ----------
    dtype
        NumPy name.
    bits
        Nominal bit depth of the sensor.
    ms_max
        Largest MS value of the scene.

    Returns
    -------
    tuple of float or None
        None for floats.
    """
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return None
    info = np.iinfo(kind)
    nominal = 2.0**bits - 1
    high = nominal if ms_max <= nominal <= info.max else float(info.max)
    return float(info.min), high


def as_sample(item: dict[str, Any]) -> PairSample:
    """Turn a sample of the TorchGeo dataset into a `PairSample`."""
    return PairSample(
        ms=item["ms"].numpy(),
        ms_valid=item["ms_mask"].numpy(),
        pan=item["pan"].numpy(),
        pan_valid=item["mask"].numpy(),
        ratio=tuple(item["ratio"].tolist()),
        phase=tuple(item["phase"].tolist()),
        pan_start=tuple(item["pan_start"].tolist()),
    )
