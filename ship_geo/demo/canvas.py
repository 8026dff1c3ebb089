"""A map of materials that objects are drawn on, and its brightness in one band.

Knows nothing of towns or sensors. Coordinates are metres, x to the right, y downwards. The convention that could
surprise: objects that stand above the ground are drawn by `Canvas.raise_all` at the end, after all shadows, because the
shadow of one must not lie on the roof of the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from ship_geo.demo.materials import Material, band_table, texture_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

Points: TypeAlias = Sequence[tuple[float, float]]

STEP = 0.25
"""Pixel of the map, m."""

SUN = (0.5, 0.866)
"""Direction towards the sun on the map: south-south-east."""

SHADOW_LENGTH = 0.62
"""Of an object of 1 m: the sun stands 58.2 degrees above the horizon."""

_HALF = 0.5


@dataclass(frozen=True)
class Frame:
    """A rotated and shifted coordinate system (u, v)."""

    x: float
    y: float
    angle: float

    def point(self, u: float, v: float) -> tuple[float, float]:
        """Position of (u, v) on the map."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return self.x + u * cos - v * sin, self.y + u * sin + v * cos

    def rectangle(self, u0: float, v0: float, u1: float, v1: float) -> list[tuple[float, float]]:
        """Corners of a rectangle on the map."""
        return [self.point(u, v) for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))]

    def at(self, u: float, v: float, angle: float = 0.0) -> Frame:
        """Frame with its origin at (u, v), turned by `angle`."""
        return Frame(*self.point(u, v), self.angle + angle)

    def sunlit(self, du: float, dv: float) -> float:
        """How far direction (du, dv) points towards the sun; -1 to 1."""
        x, y = self.point(du, dv)
        return (x - self.x) * SUN[0] + (y - self.y) * SUN[1]


@dataclass(frozen=True)
class Raised:
    """An object above the ground: outline, height in m, and its faces (outline, material, tone)."""

    outline: Points
    height: float
    faces: tuple[tuple[Points, Material, float], ...]


def circle(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    """Corners of a polygon that looks like a circle."""
    turns = [2 * math.pi * k / 14 for k in range(14)]
    return [(x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in turns]


def noise(n: int, cell: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth noise of unit variance with features of `cell` pixels; (n, n)."""
    n_cell = math.ceil(n / cell) + 3
    coarse = Image.fromarray(rng.standard_normal((n_cell, n_cell)).astype(np.float32))
    n_fine = round(n_cell * cell)
    fine = np.asarray(coarse.resize((n_fine, n_fine), Image.Resampling.BICUBIC))[:n, :n]
    return np.asarray(fine / max(float(fine.std()), 1e-6), dtype=np.float32)


@dataclass
class Canvas:
    """Materials, tone (relative brightness) and shadow of a square of ground.

    Attributes
    ----------
    length
        Side, m.
    raised
        Objects above the ground, drawn by `raise_all`.
    """

    length: float
    raised: list[Raised] = field(default_factory=list)

    def __post_init__(self) -> None:
        n = round(self.length / STEP)
        self._material = Image.new("L", (n, n), int(Material.MEADOW))
        self._tone = Image.new("F", (n, n), 1.0)
        self._shadow = Image.new("L", (n, n), 0)

    @property
    def n(self) -> int:
        """Side, pixels."""
        return self._material.width

    def copy(self) -> Canvas:
        """Return an independent canvas with the same ground and nothing left to raise."""
        other = Canvas(self.length)
        other._material, other._tone, other._shadow = (
            image.copy() for image in (self._material, self._tone, self._shadow)
        )
        return other

    def fill(self, points: Points, material: Material, tone: float = 1.0) -> None:
        """Draw a polygon on the ground."""
        pixels = _pixels(points)
        ImageDraw.Draw(self._material).polygon(pixels, fill=int(material))
        ImageDraw.Draw(self._tone).polygon(pixels, fill=tone)

    def material_at(self, x: float, y: float) -> Material | None:
        """Material of the ground at a point; None beyond the canvas."""
        col, row = math.floor(x / STEP), math.floor(y / STEP)
        if not (0 <= col < self.n and 0 <= row < self.n):
            return None
        return Material(int(np.asarray(self._material)[row, col]))

    def raise_all(self) -> None:
        """Draw all shadows, then all raised objects, low ones first."""
        shadow = ImageDraw.Draw(self._shadow)
        for item in self.raised:
            length = item.height * SHADOW_LENGTH
            moved = [(x - length * SUN[0], y - length * SUN[1]) for x, y in item.outline]
            for (a, b), (c, d) in zip(_edges(item.outline), _edges(moved), strict=True):
                shadow.polygon(_pixels([a, b, d, c]), fill=255)
            shadow.polygon(_pixels(moved), fill=255)
        for item in sorted(self.raised, key=lambda item: item.height):
            shadow.polygon(_pixels(item.outline), fill=0)
            for points, material, tone in item.faces:
                self.fill(points, material, tone)
        self.raised.clear()

    def brightness(self, response: NDArray[np.float64], texture: Texture) -> NDArray[np.float32]:
        """Brightness in a band with this response; (row, col), reflectance units."""
        material = np.asarray(self._material)
        grain = texture_table()[material] * texture.grain
        tone = np.asarray(self._tone) * np.clip(1 + grain, 0.3, 1.9)
        shadow = np.asarray(self._shadow, dtype=np.float32) / 255
        sun, dark = (
            (table[0][material] * (1 - texture.mix) + table[1][material] * texture.mix)
            for table in band_table(response)
        )
        return np.asarray((sun * (1 - shadow) + dark * shadow) * tone, dtype=np.float32)


@dataclass(frozen=True)
class Texture:
    """Random structure of the ground: relative brightness `grain`, and `mix` between a material's two spectra."""

    grain: NDArray[np.float32]
    mix: NDArray[np.float32]

    @classmethod
    def random(cls, n: int, rng: np.random.Generator) -> Texture:
        """Draw a texture of (n, n) pixels."""
        grain = 0.65 * noise(n, 2, rng) + 0.65 * noise(n, 6, rng) + 0.4 * noise(n, 40, rng)
        mix = 0.45 + 0.22 * noise(n, 220, rng) + 0.17 * noise(n, 45, rng) + 0.08 * noise(n, 8, rng)
        return cls(np.asarray(grain, np.float32), np.asarray(np.clip(mix, 0, 1), np.float32))


def _pixels(points: Points) -> list[tuple[float, float]]:
    return [(x / STEP - _HALF, y / STEP - _HALF) for x, y in points]


def _edges(points: Points) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    return list(zip(points, [*points[1:], points[0]], strict=True))
