"""Building blocks of the demo town: houses with gardens, flats, workshops with car parks, and parks.

Each function draws into a rectangle from (0, 0) to (width, depth) of the site's frame, metres. Objects above the ground
go to the canvas's list of raised ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ship_geo.demo.canvas import SUN, Canvas, Frame, Raised, circle
from ship_geo.demo.materials import Material

_PAINTS = (Material.METAL, Material.DARK_CAR, Material.CONCRETE, Material.RED_CAR, Material.PAINT, Material.BLUE_METAL)

# m: gardens at least this deep have a pool or trees; parks at least this wide have a pitch; trees keep off the path
_POOL_DEPTH, _TREE_DEPTH = 5.0, 3.0
_SHORTEST_PITCH = 24.0
_BESIDE_PATH = 4.0


@dataclass(frozen=True)
class Site:
    """Where something is drawn: canvas, frame of coordinates, and random numbers."""

    canvas: Canvas
    frame: Frame
    rng: np.random.Generator

    def happens(self, probability: float) -> bool:
        """Throw a die."""
        return bool(self.rng.random() < probability)

    def within(self, u: float, v: float, angle: float = 0.0) -> Site:
        """Same canvas, frame moved to (u, v) and turned."""
        return Site(self.canvas, self.frame.at(u, v, angle), self.rng)


def car_paint(rng: np.random.Generator) -> Material:
    """Draw the paint of a car."""
    return Material(int(rng.choice(_PAINTS)))


def car(site: Site, frame: Frame, paint: Material | None = None) -> None:
    """Draw a car whose long axis is u of `frame`."""
    paint = car_paint(site.rng) if paint is None else paint
    body = frame.rectangle(-2.2, -0.9, 2.2, 0.9)
    faces = [(body, paint, 0.9), (frame.rectangle(0.7, -0.75, 1.25, 0.75), Material.GLASS, 1.0)]
    faces.append((frame.rectangle(-1.9, -0.75, -1.5, 0.75), Material.GLASS, 1.0))
    site.canvas.raised.append(Raised(body, 1.5, tuple(faces)))


def tree(site: Site, frame: Frame, radius: float) -> None:
    """Draw a tree with a lit and a dark side."""
    tone = site.rng.uniform(0.8, 1.1)
    crown = circle(frame.x, frame.y, radius)
    dark = circle(frame.x - 0.2 * radius * SUN[0], frame.y - 0.2 * radius * SUN[1], 0.95 * radius)
    lit = circle(frame.x + 0.3 * radius * SUN[0], frame.y + 0.3 * radius * SUN[1], 0.62 * radius)
    faces = ((crown, Material.TREE, 0.95 * tone), (dark, Material.TREE, 0.72 * tone), (lit, Material.TREE, 1.22 * tone))
    site.canvas.raised.append(Raised(crown, 1.9 * radius + 1, faces))


def gabled_house(site: Site, size: tuple[float, float], material: Material) -> None:
    """Draw a house with its ridge along u; `size` is (length, width)."""
    (length, width), frame, tone = size, site.frame, site.rng.uniform(0.85, 1.15)
    outline = frame.rectangle(0, 0, length, width)
    bright = frame.sunlit(0, 1)
    faces = (
        (frame.rectangle(0, 0, length, width / 2), material, tone * (1 - 0.3 * bright)),
        (frame.rectangle(0, width / 2, length, width), material, tone * (1 + 0.3 * bright)),
    )
    chimney = frame.at(length * site.rng.uniform(0.2, 0.8), width * 0.45).rectangle(0, 0, 0.9, 0.9)
    site.canvas.raised.append(Raised(outline, site.rng.uniform(6, 8), (*faces, (chimney, Material.BITUMEN, 1.0))))


def flat_roof(site: Site, size: tuple[float, float], material: Material, height: float) -> None:
    """Draw a flat roof with parapet, skylights and air conditioners; `size` is (length, width)."""
    (length, width), frame, rng = size, site.frame, site.rng
    outline = frame.rectangle(0, 0, length, width)
    tone = rng.uniform(0.85, 1.12)
    faces = [(outline, Material.CONCRETE, 0.95)]
    faces.append((frame.rectangle(0.6, 0.6, length - 0.6, width - 0.6), material, tone))
    if material in {Material.METAL, Material.BLUE_METAL}:  # sheets
        seams = np.arange(3.0, length - 1, 3.0)
        faces += [(frame.rectangle(u, 0.6, u + 0.45, width - 0.6), material, 0.86 * tone) for u in seams]
    for u in np.arange(4, length - 4, rng.uniform(6, 10)):
        for v in np.arange(4, width - 4, rng.uniform(7, 12)):
            if site.happens(0.4):
                kind = Material.GLASS if site.happens(0.5) else Material.METAL
                faces.append((frame.rectangle(float(u), float(v), float(u) + 1.6, float(v) + 1.2), kind, 1.0))
    site.canvas.raised.append(Raised(outline, height, tuple(faces)))


def draw_houses(site: Site, width: float, depth: float) -> None:
    """Two rows of houses, each with its garden."""
    for v, turn in ((0.0, 0.0), (depth, math.pi)):
        shares = site.rng.uniform(0.85, 1.2, max(1, round(width / 18)))
        ends = np.cumsum(shares) / shares.sum() * width
        for u, end in zip([0.0, *ends], ends, strict=False):
            start = u if turn == 0.0 else end
            _lot(site.within(float(start), v, turn), float(end - u), depth / 2)


def _lot(site: Site, width: float, depth: float) -> None:
    rng, frame, canvas = site.rng, site.frame, site.canvas
    lawn = Material.GRASS if site.happens(0.8) else Material.MEADOW
    canvas.fill(frame.rectangle(0, 0, width, depth), lawn, rng.uniform(0.82, 1.12))
    canvas.fill(
        frame.rectangle(width - 3.6, 0, width - 0.8, rng.uniform(7, 13)), Material.CONCRETE, rng.uniform(0.6, 1)
    )
    if site.happens(0.5):
        hedge = frame.rectangle(-0.5, 0, 0.5, depth)
        canvas.raised.append(Raised(hedge, 1.8, ((hedge, Material.TREE, 0.95),)))
    roof = Material(int(rng.choice([Material.TILE, Material.TILE, Material.TILE, Material.SLATE, Material.BITUMEN])))
    length, breadth, set_back = min(rng.uniform(9.5, 13), width - 5), rng.uniform(7.5, 10), rng.uniform(3.5, 6)
    if site.happens(0.7):
        gabled_house(site.within(1.2, set_back), (length, breadth), roof)
    else:
        gabled_house(site.within(1.2 + breadth, set_back, math.pi / 2), (length, breadth), roof)
    back = set_back + max(length, breadth) + 1.5
    if site.happens(0.12) and depth - back > _POOL_DEPTH:
        canvas.fill(frame.rectangle(2.4, back - 0.8, 10.6, back + 4.6), Material.CONCRETE, 1.0)
        canvas.fill(frame.rectangle(3.2, back, 9.8, back + 3.8), Material.POOL, 1.0)
    elif depth - back > _TREE_DEPTH:
        for _ in range(rng.integers(1, 5)):
            tree(site, frame.at(rng.uniform(1, width - 1), rng.uniform(back, depth - 1)), rng.uniform(1.3, 3.4))
    if site.happens(0.6):
        car(site, frame.at(width - 2.2, 4.0, math.pi / 2))


def draw_flats(site: Site, width: float, depth: float) -> None:
    """Slabs of flats on a lawn with trees and a strip of parked cars."""
    rng, frame = site.rng, site.frame
    site.canvas.fill(frame.rectangle(0, 0, width, depth), Material.GRASS, rng.uniform(0.85, 1.05))
    _car_park(site, width, 6.0)
    height = rng.uniform(11, 17)
    for u in np.arange(4, width - 14, 30.0):
        roof = Material(int(rng.choice([Material.BITUMEN, Material.GRAVEL, Material.CONCRETE])))
        flat_roof(site.within(float(u), 11), (13, depth - 16), roof, height)
    for _ in range(int(width * depth / 110)):
        tree(site, frame.at(rng.uniform(1, width - 1), rng.uniform(9, depth - 1)), rng.uniform(1.8, 4))


def _car_park(site: Site, width: float, depth: float) -> None:
    """One row of stalls along u with the lane behind it."""
    rng, frame = site.rng, site.frame
    site.canvas.fill(frame.rectangle(0, 0, width, depth), Material.ASPHALT, rng.uniform(0.95, 1.2))
    for u in np.arange(1.0, width - 3, 2.7):
        line = frame.rectangle(float(u) - 0.12, 0.3, float(u) + 0.12, 5)
        site.canvas.fill(line, Material.PAINT, 0.85)
        if site.happens(0.62):
            car(site, frame.at(float(u) + 1.35, 2.7, math.pi / 2))


def draw_workshops(site: Site, width: float, depth: float) -> None:
    """A hall or two with a car park."""
    rng, frame = site.rng, site.frame
    site.canvas.fill(frame.rectangle(0, 0, width, depth), Material.ASPHALT, rng.uniform(0.9, 1.3))
    for v in np.arange(0.5, 14, 12.5):
        _car_park(site.within(0.5, float(v)), width - 1, 5.5)
    u = 3.0
    while u < width - 20:
        length = min(rng.uniform(26, 46), width - u - 3)
        kinds = [Material.METAL, Material.METAL, Material.BLUE_METAL, Material.BITUMEN, Material.GRAVEL]
        flat_roof(site.within(u, 21), (length, depth - 24), Material(int(rng.choice(kinds))), rng.uniform(7, 11))
        u += length + 7


def draw_park(site: Site, width: float, depth: float) -> None:
    """Lawn, paths and trees, and a pitch where there is room."""
    rng, frame, canvas = site.rng, site.frame, site.canvas
    canvas.fill(frame.rectangle(0, 0, width, depth), Material.GRASS, 0.95)
    rise = rng.uniform(0.3, 0.7) * depth
    path = [frame.point(u, rise + 5 * math.sin(u / 11)) for u in np.linspace(0, width, 30)]
    back = [frame.point(u, rise + 5 * math.sin(u / 11) + 2) for u in np.linspace(width, 0, 30)]
    canvas.fill([*path, *back], Material.GRAVEL, 1.0)
    pitch = min(width - 40, 42.0)
    if pitch > _SHORTEST_PITCH:
        _pitch(site.within(4, 4), pitch, depth - 8)
    for _ in range(int(width * depth / 60)):
        u, v = rng.uniform(2, width - 2), rng.uniform(2, depth - 2)
        if u > pitch + 8 and abs(v - rise - 1) > _BESIDE_PATH:
            tree(site, frame.at(u, v), rng.uniform(2, 4.6))


def _pitch(site: Site, length: float, width: float) -> None:
    frame, canvas = site.frame, site.canvas
    stripe = length / 8
    for k in range(8):
        points = frame.rectangle(k * stripe, 0, (k + 1) * stripe, width)
        canvas.fill(points, Material.GRASS, 1.12 if k % 2 else 0.95)
    for u in (0.5, length / 2, length - 0.8):
        canvas.fill(frame.rectangle(u, 0.5, u + 0.3, width - 0.5), Material.PAINT, 0.9)
    for v in (0.5, width - 0.8):
        canvas.fill(frame.rectangle(0.5, v, length - 0.5, v + 0.3), Material.PAINT, 0.9)


@dataclass(frozen=True)
class Block:
    """A kind of block: how it is drawn, and its share of all blocks."""

    draw: Callable[[Site, float, float], None]
    share: float


BLOCKS: Mapping[str, Block] = MappingProxyType(
    {
        "houses": Block(draw_houses, 0.55),
        "flats": Block(draw_flats, 0.16),
        "workshops": Block(draw_workshops, 0.19),
        "park": Block(draw_park, 0.10),
    }
)
"""Every kind of block by name."""
