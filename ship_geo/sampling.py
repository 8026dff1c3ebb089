"""Which parts of a scene are looked at before it is fused, where it is too large to be read twice.

Plans only, no pixels and no I/O. A scene is judged by a sample spread over it. Files are read by tiles, so the sample
of a large scene keeps to a few *places*, squares that one tile of MS covers in most files, and in them to windows that
touch no further tile: reading a little of many tiles would mean reading all of them. What could surprise: places hang
on pixel (0, 0) of the output grid, whatever the files hold, so pixels do not depend on how a file is stored.
"""

from __future__ import annotations

from itertools import product
from math import ceil, gcd
from typing import TYPE_CHECKING

from ship_geo.tiling import Axis, Plan, Window

if TYPE_CHECKING:
    from ship_geo._typing import Shape

CELL = 256
"""Rows and columns of a window of the statistics; in a large scene its halo is a part of them."""

PLACE = 1024
"""Rows and columns of a place: 256 MS pixels at ratio 4."""

MAX_WINDOWS = 96
"""Windows of the statistics of which all are read, and how many a larger scene gets as long as its places are few."""

MAX_PLACES = 20
"""Places of the statistics of a large scene."""

MIN_CELLS = 2
"""Windows of the statistics in each of them."""

_SIDE = PLACE // CELL


def spread(n_item: int, n_sample: int = MAX_WINDOWS) -> list[int]:
    """Indices of at most `n_sample` of `n_item` items that lie row by row, in order and evenly spread over both axes.

    Steps of the golden ratio, which fall into no rhythm with the rows.
    """
    if n_item <= n_sample:
        return list(range(n_item))
    step = max(1, round(n_item * 0.6180339887498949))
    while gcd(step, n_item) != 1:
        step += 1
    return sorted(index * step % n_item for index in range(n_sample))


def statistics_plan(shape: Shape, halo: int) -> Plan:
    """Windows of which statistics are made; the same for every model, so that all see the same scene."""
    return Plan(shape, CELL, 0, halo)


def statistics_windows(plan: Plan) -> list[Window]:
    """Return the windows that are measured, row by row.

    Parameters
    ----------
    plan
        From `statistics_plan`; any plan without overlap serves.

    Returns
    -------
    list of Window
        All windows of a small scene. Of a large one some in each of its places, those in the middle first, and without
        the pixels that are their neighbours' halo.
    """
    if len(plan) <= MAX_WINDOWS:
        return plan.windows()
    groups = _groups(plan)
    chosen = spread(len(groups), MAX_PLACES)
    n_cell = max(MIN_CELLS, ceil(MAX_WINDOWS / len(groups)))
    cells = sorted({cell for index in chosen for cell in groups[index][:n_cell]})
    return [_sheltered(plan, row, col) for row, col in cells]


def places(shape: Shape, n_place: int) -> list[tuple[int, int]]:
    """First pixels (row, col) of at most `n_place` places of a large scene; none of a small one.

    Few places are among those of the statistics.
    """
    plan = statistics_plan(shape, 0)
    if len(plan) <= MAX_WINDOWS:
        return []
    groups = _groups(plan)
    chosen = spread(len(groups), max(n_place, MAX_PLACES))
    corners = [min(groups[index]) for index in (chosen[i] for i in spread(len(chosen), n_place))]
    return [(row * plan.window, col * plan.window) for row, col in corners]


def _groups(plan: Plan) -> list[list[tuple[int, int]]]:
    """Cells (row, col) of each place, those in its middle first."""
    rows, cols = ([range(first, last) for first, last in _spans(axis)] for axis in (plan.rows, plan.cols))
    return [sorted(product(*place), key=_off_middle) for place in product(rows, cols)]


def _spans(axis: Axis) -> list[tuple[int, int]]:
    """Windows (first, last + 1) of the places along an axis; all of them where it is shorter than a place.

    What is left at the far edge makes a place where it is half of one, together with windows of the place before.
    """
    n_whole = _n_whole(axis)
    if n_whole < _SIDE:
        return [(0, len(axis))]
    starts = list(range(0, n_whole - _SIDE + 1, _SIDE))
    if n_whole % _SIDE >= _SIDE // 2:
        starts.append(n_whole - _SIDE)
    return [(start, start + _SIDE) for start in starts]


def _n_whole(axis: Axis) -> int:
    """Count the windows that do not stick out."""
    return axis.length // axis.window


def _off_middle(cell: tuple[int, int]) -> tuple[int, int]:
    """Order of the cells of a place: those away from multiples of `PLACE`, where tiles of MS end, come first."""
    row, col = (index % _SIDE for index in cell)
    return max(abs(2 * row - _SIDE + 1), abs(2 * col - _SIDE + 1)), (row - col) % _SIDE


def _sheltered(plan: Plan, row: int, col: int) -> Window:
    """Return a window of a plan without its outer pixels, along axes that are long enough for places."""
    core: list[int] = []
    for axis, index in ((plan.rows, row), (plan.cols, col)):
        margin = plan.halo if 4 * plan.halo <= axis.window and _n_whole(axis) >= _SIDE else 0
        core += [axis.start(index) + margin, axis.start(index) + axis.window - margin]
    row0, row1, col0, col1 = core
    return Window(row, col, (row0, row1, col0, col1))
