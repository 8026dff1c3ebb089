"""The drawn ground as an instrument sees it: PAN, MS and, as no real delivery has it, the truth.

The instrument's MTF, its noise and its bits, and three things that real pairs have: PAN sees wavelengths that no MS
band sees, it lies a fraction of a pixel beside MS, and cars move between the two exposures. The reference is the ground
as the MS bands would see it from the height at which their pixels are those of PAN; MS is made of it as Wald's protocol
says (L. Wald, T. Ranchin, M. Mangolini, PE&RS 63(6), 1997). The convention that could surprise: noise and brightness
are those of 11 bits, and a sensor with other bits has these values times a power of two. Not for files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ship_geo.demo.canvas import STEP, Canvas, Texture
from ship_geo.demo.ground import draw_cars, draw_ground
from ship_geo.demo.materials import air_light, band_response, pan_response
from ship_geo.ops.resample import degrade

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ship_geo._typing import RowCol
    from ship_geo.sensors import Sensor

GSD_PAN = 0.5
"""Pixel of PAN, m."""

RATIO = 4
"""How many times larger a pixel of MS is."""

DN_PER_REFLECTANCE = 2700.0
"""Brightness that a reflectance of 1 above the atmosphere has in 11 bits."""

PAN_DELAY = 0.2
"""Seconds by which PAN is exposed after MS."""

_PAN_SHIFT = (0.12, -0.18)  # rows and columns, PAN pixels
_NOISE_FLOOR, _NOISE_GAIN = 1.2, 0.012  # DN and DN per DN, of the variance's square root and the variance
_BITS = 11


@dataclass(frozen=True)
class Ground:
    """A drawn place at the moments of the two exposures.

    Attributes
    ----------
    at_ms, at_pan
        The map with its cars where they are as MS and PAN are exposed.
    texture
        Shared by both.
    """

    at_ms: Canvas
    at_pan: Canvas
    texture: Texture

    @classmethod
    def random(cls, side: int, rng: np.random.Generator) -> Ground:
        """Draw a new square place of `side` PAN pixels."""
        ground, cars = draw_ground(side * GSD_PAN, rng)
        texture = Texture.random(ground.n, rng)
        return cls(draw_cars(ground, cars, 0.0), draw_cars(ground, cars, PAN_DELAY), texture)


def acquire(
    size: int, sensor: Sensor, rng: np.random.Generator
) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint16]]:
    """Look at a new ground with an instrument.

    Parameters
    ----------
    size
        Rows and columns of PAN, a multiple of 4.
    sensor
        Bands, bits and MTF gains.
    rng
        Source of every random number.

    Returns
    -------
    ms, pan, ref
        (band, row, col), (1, row, col) and (band, row, col) uint16.
    """
    ground = Ground.random(size, rng)
    ref = see_reference(ground, sensor, (size, size))
    pan = see_pan(ground, sensor, (size, size))
    n_ms = size // RATIO
    ms = see_ms(ref, sensor, (n_ms, n_ms))
    return digitise(ms, sensor, rng), digitise(pan, sensor, rng), digitise(ref, sensor, None)


def see_reference(ground: Ground, sensor: Sensor, shape: tuple[int, int]) -> torch.Tensor:
    """Return the MS bands at the scale of PAN, through their MTF; (band, row, col) DN, not yet rounded."""
    return torch.cat(
        [
            _expose(ground.at_ms, ground.texture, band_response(band.role), shape, band.gnyq, (0.0, 0.0))
            for band in sensor.bands
        ]
    )


def see_ms(
    ref: torch.Tensor,
    sensor: Sensor,
    shape: tuple[int, int],
    ratio: RowCol = (RATIO, RATIO),
    phase: RowCol = (0.0, 0.0),
) -> torch.Tensor:
    """Return MS of what `see_reference` gives; `ratio` and `phase` as in `ship_geo.ops.resample`."""
    return degrade(ref, shape, ratio, phase, sensor.gnyq_ms)


def see_pan(ground: Ground, sensor: Sensor, shape: tuple[int, int]) -> torch.Tensor:
    """Return PAN through its MTF, (1, row, col) DN, not yet rounded; it lies a little beside MS."""
    return _expose(ground.at_pan, ground.texture, pan_response(), shape, sensor.gnyq_pan, _PAN_SHIFT)


def digitise(values: torch.Tensor, sensor: Sensor, rng: np.random.Generator | None) -> NDArray[np.uint16]:
    """Add the noise of photons and readout, where there is a `rng`, and round to the sensor's bits, never to 0."""
    exact = values.numpy().astype(np.float64)
    if rng is not None:
        exact += rng.standard_normal(exact.shape) * np.sqrt(_NOISE_FLOOR**2 + _NOISE_GAIN * np.abs(exact))
    exact *= 2.0 ** (sensor.bits - _BITS)
    return np.clip(np.rint(exact), 1, 2**sensor.bits - 1).astype(np.uint16)


def _expose(
    canvas: Canvas,
    texture: Texture,
    response: NDArray[np.float64],
    shape: tuple[int, int],
    gnyq: float,
    shift: RowCol,
) -> torch.Tensor:
    """One band at PAN scale through its MTF; (1, row, col) DN, not yet rounded."""
    fine = torch.from_numpy(canvas.brightness(response, texture) + np.float32(air_light(response)))
    ratio = GSD_PAN / STEP
    phase = (shift[0] * ratio, shift[1] * ratio)
    return degrade(fine[None] * DN_PER_REFLECTANCE, shape, (ratio, ratio), phase, (gnyq,))
