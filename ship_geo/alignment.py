"""Measuring the shift between PAN and MS of a scene: which windows are read, and that they are few.

The estimate itself is `ship_geo.register`. At most `MAX_READS` windows are read however large the scene is, so this
takes a second or two. The convention that could surprise: a shift is corrected by moving the grid of MS, never its
pixels, so nothing is resampled twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from typing import Literal
from warnings import warn

from ship_geo._typing import RowCol, Shape
from ship_geo.data.reader import FilePairReader, PairReader
from ship_geo.grids import Span
from ship_geo.register import BORDER, Shift, WindowPair, estimate_shift, moved_grid
from ship_geo.sampling import spread
from ship_geo.scene import Scene

N_WINDOW = 20
"""Windows that are compared."""

APART = 0.5
"""Distance of two bands from which on a warning tells of it, MS pixels; one band is found less exactly than all."""

MAX_READS = 60
"""Windows that are looked at, where many hold nodata."""

SIDES = (40, 64)
"""Smallest and largest side of a window, MS pixels: a quarter of the scene within these."""

MIN_USABLE = 0.3
"""Share of valid pixels below which another window is taken instead."""

CORRECTED = 0.1
"""Shift from which on it is corrected on request, MS pixels: several times the error of the estimate."""

LARGE = 0.3
"""Shift from which on a warning tells of it where it is not corrected, MS pixels: colours leave their edges."""


def register_scene(scene: Scene, how: Literal["auto", "report", "off"] = "auto") -> Scene:
    """Measure the shift between PAN and MS of a scene, and correct it on request.

    Parameters
    ----------
    scene
        The scene.
    how
        ``"auto"`` moves the grid of MS where the shift may be believed and is at least `CORRECTED`; ``"report"`` warns
        where it may be believed and is at least `LARGE`; ``"off"`` returns the scene as it is.

    Returns
    -------
    Scene
        With the measured `shift`, `is_registered` where it was to be corrected and may be believed and, where the
        grid of MS was moved, a note.

    Warns
    -----
    UserWarning
        When the shift is large and not corrected, it was to be corrected and cannot be believed, or the bands are
        shifted against each other.

    Raises
    ------
    ProductError
        When a file cannot be read.
    """
    if how == "off":
        return scene
    shift = measure_scene_shift(scene)
    scene = replace(scene, shift=shift)
    if shift.band_spread >= APART:
        bands = f"MS bands should lie alike, got shifts {shift.band_spread:.2f} MS pixels apart"
        warn(f"{bands}; one shift cannot fit all of them", UserWarning, stacklevel=3)
    size, off = math.hypot(shift.row, shift.col), f"({-shift.row:+.2f}, {-shift.col:+.2f}) MS pixels (row, col) off PAN"
    if how == "report":
        if shift.is_confident and size >= LARGE:
            warn(f'MS should lie on PAN, got it {off}; correct it with register="auto"', UserWarning, stacklevel=3)
        return scene
    if not shift.is_confident:
        found = f"got confidence {shift.confidence:.2f} from {shift.n_window} windows"
        warn(f"a shift must be sure to be corrected, {found}: MS is left where it is", UserWarning, stacklevel=3)
        return scene
    scene = replace(scene, is_registered=True)
    if size < CORRECTED:
        return scene
    layer = replace(scene.ms, grid=moved_grid(scene.ms.grid, (shift.row, shift.col)))
    return replace(scene, ms=layer, notes=(*scene.notes, f"MS lay {off}: its grid was moved"))


def measure_scene_shift(scene: Scene) -> Shift:
    """Measure the shift that is left between PAN and MS of a scene.

    Parameters
    ----------
    scene
        The scene; at most `MAX_READS` windows of it are read.

    Returns
    -------
    Shift
        How far the content of MS must be moved to lie on PAN, MS pixels.

    Raises
    ------
    ProductError
        When a file cannot be read.
    """
    with closing(FilePairReader(scene)) as reader:
        return measure_shift(reader, scene.pair.ratio, scene.sensor.gnyq_ms)


def measure_shift(reader: PairReader, ratio: RowCol, gnyq_ms: Sequence[float]) -> Shift:
    """Measure the shift that is left between PAN and MS of a pair.

    Parameters
    ----------
    reader
        Reads blocks of the pair.
    ratio
        MS / PAN pixel size (row, col).
    gnyq_ms
        MTF gain at Nyquist of each band; a default serves as well.

    Returns
    -------
    Shift
        How far the content of MS must be moved to lie on PAN, MS pixels.
    """
    return estimate_shift(list(_usable_windows(reader, ratio)), gnyq_ms)


def _usable_windows(reader: PairReader, ratio: RowCol) -> Iterator[WindowPair]:
    """Read windows until enough of them show something; at the end those that show little, for what they are worth."""
    rows, cols = lay_windows(reader.shape, ratio)
    poor, n_good = list[WindowPair](), 0
    for index in _reading_order(len(rows) * len(cols)):
        window = _read(reader, rows[index // len(cols)], cols[index % len(cols)], ratio)
        if window.usable < MIN_USABLE:
            poor.append(window)
            continue
        yield window
        n_good += 1
        if n_good == N_WINDOW:
            return
    yield from sorted(poor, key=lambda window: -window.usable)[: N_WINDOW - n_good]


def _reading_order(n_block: int) -> list[int]:
    """Evenly spread blocks first, then as evenly spread ones in case that the first hold nodata."""
    return list(dict.fromkeys([*spread(n_block, N_WINDOW), *spread(n_block, MAX_READS)]))[:MAX_READS]


def lay_windows(shape: Shape, ratio: RowCol) -> tuple[list[Span], list[Span]]:
    """Lay windows side by side over an output grid, from edge to edge.

    Parameters
    ----------
    shape
        Rows and columns of the output grid.
    ratio
        MS / PAN pixel size (row, col).

    Returns
    -------
    rows, cols
        (start, stop) of the windows along either axis; one where the axis is shorter than two windows.
    """
    side = min(max(min(shape[0] / ratio[0], shape[1] / ratio[1]) / 4, SIDES[0]), SIDES[1])
    rows, cols = (_lay(n, round(side * size)) for n, size in zip(shape, ratio, strict=True))
    return rows, cols


def _lay(length: int, window: int) -> list[Span]:
    n_window = max(1, length // window)
    edges = [length * index // n_window for index in range(n_window + 1)]
    return list(pairwise(edges))


def _read(reader: PairReader, rows: Span, cols: Span, ratio: RowCol) -> WindowPair:
    """Read a window with what lies around it, as far as PAN is searched."""
    down, right = (math.ceil((BORDER + 1) * size) for size in ratio)
    sample = reader.read(rows[0] - down, rows[1] + down, cols[0] - right, cols[1] + right, 0)
    return WindowPair(sample.ms, sample.ms_valid, sample.pan, sample.pan_valid, sample.ratio, sample.phase)
