"""The ground of the demo scene: a town with its streets, a river, and fields behind it.

Everything follows from one seed. Not a model of any place. Lengths are metres; the order of drawing is the order of the
functions in `draw_ground`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ship_geo.demo.blocks import BLOCKS, Site, car, car_paint, tree
from ship_geo.demo.canvas import Canvas, Frame
from ship_geo.demo.materials import Material

_STREET = 7.5
_SIDEWALK = 2.2
_NARROWEST_BLOCK = 24.0
_BESIDE_STREET = {"parked": 0.16, "moving": 0.03, "tree": 0.07, "nothing": 0.74}


@dataclass(frozen=True)
class MovingCar:
    """A car that moves between the exposure of MS and that of PAN."""

    frame: Frame
    step: float
    material: Material


@dataclass(frozen=True)
class Plan:
    """Where things are: the frame of the town, its streets, and the line of the river in that frame."""

    town: Frame
    streets_u: tuple[float, ...]
    streets_v: tuple[float, ...]
    river: Callable[[float], float]
    length: float


def draw_ground(length: float, rng: np.random.Generator) -> tuple[Canvas, tuple[MovingCar, ...]]:
    """Draw the ground.

    Parameters
    ----------
    length
        Side of the square, m.
    rng
        Source of every random number.

    Returns
    -------
    Canvas, tuple of MovingCar
        The ground without the moving cars, and these.
    """
    canvas = Canvas(length)
    plan = _plan(length, rng)
    site = Site(canvas, plan.town, rng)
    _fields(site, plan)
    _river_bed(site, plan)
    canvas.raised[:] = [item for item in canvas.raised if canvas.material_at(*item.outline[0]) is not Material.WATER]
    _blocks(site, plan)
    cars = _streets(site, plan)
    canvas.raise_all()
    return canvas, cars


def draw_cars(canvas: Canvas, cars: tuple[MovingCar, ...], time: float) -> Canvas:
    """Return the canvas with the moving cars where they are at `time`, s."""
    moved = canvas.copy()
    site = Site(moved, Frame(0, 0, 0), np.random.default_rng(0))
    for item in cars:
        car(site, item.frame.at(item.step * time, 0), item.material)
    moved.raise_all()
    return moved


def _plan(length: float, rng: np.random.Generator) -> Plan:
    town = Frame(0.0, 0.0, -0.21 + 0.06 * rng.standard_normal())
    start, stop = -0.45 * length, 1.45 * length
    bend, turn, middle = 0.05 * length, rng.uniform(0, 2 * math.pi), rng.uniform(0.62, 0.68) * length

    def river(v: float) -> float:
        return middle + bend * math.sin(5.2 * v / length + turn) + 0.25 * bend * math.sin(13 * v / length)

    return Plan(
        town,
        _lines(start, stop, (72, 105), rng),
        _lines(start, stop, (52, 66), rng),
        river,
        length,
    )


def _lines(start: float, stop: float, spacing: tuple[float, float], rng: np.random.Generator) -> tuple[float, ...]:
    lines = [start]
    while lines[-1] < stop:
        lines.append(lines[-1] + rng.uniform(*spacing))
    return tuple(lines)


def _bank(plan: Plan, v0: float, v1: float, reach: float) -> float:
    """Largest u of a block between v0 and v1 that stays `reach` off the middle of the river."""
    return min(plan.river(v) for v in np.linspace(v0, v1, 5)) - reach


# Fields and river ---------------------------------------------------------------------------------------------------


def _fields(site: Site, plan: Plan) -> None:
    rng, length = site.rng, plan.length
    frame = plan.town.at(0.4 * length, -0.5 * length, rng.uniform(-0.18, -0.1))
    u = 0.0
    while u < 1.4 * length:
        width = rng.uniform(75, 150)
        v = 0.0
        while v < 2 * length:
            depth = rng.uniform(35, 80)
            _field(site, frame.at(u, v), width - 3.5, depth - (3.5 if site.happens(0.3) else 1.2))
            v += depth
        site.canvas.fill(frame.rectangle(u + width - 3.5, 0, u + width, 2 * length), Material.GRAVEL, 0.9)
        u += width


def _field(site: Site, frame: Frame, width: float, depth: float) -> None:
    rng = site.rng
    kind = rng.choice([Material.CROP, Material.CROP, Material.GRAIN, Material.SOIL, Material.MEADOW])
    material, tone = Material(int(kind)), rng.uniform(0.86, 1.12)
    site.canvas.fill(frame.rectangle(0, 0, width, depth), material, tone)
    if material is Material.MEADOW:
        for _ in range(rng.integers(0, 4)):
            tree(site, frame.at(rng.uniform(0, width), rng.uniform(0, depth)), rng.uniform(2.5, 5))
        return
    between = Material.SOIL if material is Material.CROP and site.happens(0.6) else material
    spacing = rng.uniform(1.6, 3.4)
    for v in np.arange(spacing, depth - 0.5, spacing):
        shade = tone * (0.95 if between is not material else 0.86)
        row = frame.rectangle(0.5, float(v), width - 0.5, float(v) + 0.38 * spacing)
        site.canvas.fill(row, between, shade)
    for v in np.arange(rng.uniform(5, 10), depth - 3, 18.0):
        for side in (0.0, 1.9):
            track = frame.rectangle(0, float(v) + side, width, float(v) + side + 0.5)
            site.canvas.fill(track, Material.SOIL, 0.95 * tone)


def _river_bed(site: Site, plan: Plan) -> None:
    rng, length = site.rng, plan.length
    steps = np.linspace(-0.5 * length, 1.5 * length, 160)
    left = [11 + 1.5 * math.sin(v / 21) for v in steps]
    right = [12 + 2.0 * math.sin(v / 33 + 1) for v in steps]
    for extra, material, tone in ((13, Material.MEADOW, 1.0), (1.8, Material.GRAVEL, 0.85), (0, Material.WATER, 1.0)):
        west = [plan.town.point(plan.river(v) - w - extra, v) for v, w in zip(steps, left, strict=True)]
        east = [plan.town.point(plan.river(v) + w + extra, v) for v, w in zip(steps, right, strict=True)]
        site.canvas.fill([*west, *reversed(east)], material, tone)
    for v in np.arange(-0.5 * length, 1.5 * length, 5.0):
        for side in (-1, 1):
            if site.happens(0.6):
                u = plan.river(v) + side * rng.uniform(16, 24)
                tree(site, plan.town.at(u, float(v) + rng.uniform(-3, 3)), rng.uniform(2.0, 4.8))


# Town ---------------------------------------------------------------------------------------------------------------


def _blocks(site: Site, plan: Plan) -> None:
    inset = _STREET / 2 + _SIDEWALK
    names = list(BLOCKS)
    shares = np.array([BLOCKS[name].share for name in names])
    for u0, u1 in zip(plan.streets_u, plan.streets_u[1:], strict=False):
        for v0, v1 in zip(plan.streets_v, plan.streets_v[1:], strict=False):
            right = min(u1, _bank(plan, v0, v1, 34))
            name = str(site.rng.choice(names, p=shares / shares.sum()))
            width, depth = right - u0 - 2 * inset, v1 - v0 - 2 * inset
            if width < _NARROWEST_BLOCK:
                continue
            frame = plan.town.at(u0 + inset, v0 + inset)
            pavement = frame.rectangle(-_SIDEWALK, -_SIDEWALK, width + _SIDEWALK, depth + _SIDEWALK)
            site.canvas.fill(pavement, Material.CONCRETE, 0.8)
            BLOCKS[name].draw(Site(site.canvas, frame, site.rng), width, depth)


def _streets(site: Site, plan: Plan) -> tuple[MovingCar, ...]:
    town = plan.town
    stop = max(plan.river(v) for v in np.linspace(-plan.length / 2, 1.5 * plan.length, 40))
    bridge = min(plan.streets_v, key=lambda v: abs(v - 0.62 * plan.length))
    moving: list[MovingCar] = []
    for u in plan.streets_u:
        if u > stop - 30:
            continue
        end = min((v for v in plan.streets_v if plan.river(v) < u + 34), default=plan.streets_v[-1])
        moving += _street(site, town.at(u, plan.streets_v[0], math.pi / 2), end - plan.streets_v[0], _STREET)
    for v in plan.streets_v:
        is_main = v == bridge
        reach = plan.length * 1.4 if is_main else _bank(plan, v - 8, v + 8, 34)
        width = _STREET + 4 if is_main else _STREET
        moving += _street(site, town.at(plan.streets_u[0], v), reach - plan.streets_u[0], width)
        if is_main:
            _bridge(site, town.at(plan.river(v), v), width)
    return tuple(moving)


def _bridge(site: Site, frame: Frame, width: float) -> None:
    half = width / 2 + 1.5
    for v in (-half, half):
        site.canvas.fill(frame.rectangle(-16, v - 0.5, 16, v + 0.5), Material.CONCRETE, 1.1)


def _street(site: Site, frame: Frame, length: float, width: float) -> list[MovingCar]:
    rng, canvas, half = site.rng, site.canvas, width / 2
    canvas.fill(frame.rectangle(-half, -half, length + half, half), Material.ASPHALT, rng.uniform(0.85, 1.15))
    for u in np.arange(6, length - 4, 6.0):
        canvas.fill(frame.rectangle(float(u), -0.13, float(u) + 2.6, 0.13), Material.PAINT, 0.8)
    moving = []
    for u in np.arange(8, length - 8, 7.0):
        found = rng.choice(list(_BESIDE_STREET), p=list(_BESIDE_STREET.values()))
        side = 1 if site.happens(0.5) else -1
        if found == "parked":
            car(site, frame.at(float(u), side * (half - 1.1)))
        elif found == "moving":
            heading = frame.at(float(u), side * 0.25 * width, 0.0 if side > 0 else math.pi)
            moving.append(MovingCar(heading, rng.uniform(8, 14), car_paint(rng)))
        elif found == "tree":
            tree(site, frame.at(float(u), side * (half + 1.4)), rng.uniform(1.6, 2.8))
    return moving
