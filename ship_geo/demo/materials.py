"""What the ground of the demo scene is made of: reflectances, textures, and how an instrument's band sees them.

Reflectances are invented after the look of published spectral libraries; they are plausible, not measured. The
convention that could surprise: a material has two spectra, and every pixel lies somewhere between them (a lawn between
lush and dry), so that land cover is no handful of single colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from ship_geo.errors import ArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHANNELS = ("coastal", "blue", "green", "yellow", "red", "gap1", "rededge", "gap2", "nir", "nir2")
"""Wavelengths of the spectra: the bands of WorldView-2, and the gaps 690-705 and 745-770 nm, which only PAN sees."""

PAN_WEIGHTS = (0.005, 0.142, 0.209, 0.144, 0.234, 0.030, 0.157, 0.060, 0.116, 0.0)
"""Response of PAN to `CHANNELS`: weights in use for WorldView-3 (sum 1.007), and the two gaps."""

PATH = (0.095, 0.068, 0.045, 0.036, 0.029, 0.025, 0.021, 0.018, 0.013, 0.009)
"""Reflectance of the air above the ground."""

TRANSMITTANCE = (0.70, 0.76, 0.82, 0.85, 0.88, 0.89, 0.90, 0.91, 0.93, 0.92)

SKYLIGHT = (0.46, 0.39, 0.31, 0.27, 0.24, 0.22, 0.20, 0.19, 0.17, 0.15)
"""Share of the light that reaches a shadow: the sky is blue."""


class Material(IntEnum):
    """Index into the tables of this module."""

    GRASS = 0
    MEADOW = 1
    CROP = 2
    GRAIN = 3
    SOIL = 4
    TREE = 5
    WATER = 6
    ASPHALT = 7
    CONCRETE = 8
    GRAVEL = 9
    TILE = 10
    SLATE = 11
    METAL = 12
    BLUE_METAL = 13
    BITUMEN = 14
    PAINT = 15
    POOL = 16
    DARK_CAR = 17
    RED_CAR = 18
    GLASS = 19


_SPECTRA: dict[Material, tuple[Sequence[float], Sequence[float]]] = {
    Material.GRASS: (
        (0.030, 0.040, 0.085, 0.070, 0.050, 0.090, 0.210, 0.350, 0.420, 0.430),
        (0.055, 0.075, 0.125, 0.140, 0.135, 0.160, 0.220, 0.285, 0.330, 0.350),
    ),
    Material.MEADOW: (
        (0.035, 0.045, 0.090, 0.080, 0.065, 0.100, 0.200, 0.310, 0.370, 0.380),
        (0.065, 0.090, 0.140, 0.170, 0.175, 0.195, 0.235, 0.270, 0.305, 0.330),
    ),
    Material.CROP: (
        (0.024, 0.032, 0.068, 0.050, 0.034, 0.085, 0.240, 0.420, 0.500, 0.510),
        (0.035, 0.045, 0.090, 0.080, 0.062, 0.105, 0.220, 0.340, 0.400, 0.410),
    ),
    Material.GRAIN: (
        (0.080, 0.115, 0.180, 0.245, 0.270, 0.285, 0.310, 0.330, 0.360, 0.390),
        (0.065, 0.090, 0.150, 0.190, 0.195, 0.215, 0.255, 0.290, 0.330, 0.350),
    ),
    Material.SOIL: (
        (0.070, 0.095, 0.140, 0.190, 0.220, 0.235, 0.250, 0.270, 0.305, 0.345),
        (0.055, 0.072, 0.100, 0.130, 0.148, 0.158, 0.170, 0.185, 0.215, 0.245),
    ),
    Material.TREE: (
        (0.020, 0.026, 0.050, 0.040, 0.030, 0.065, 0.170, 0.290, 0.360, 0.370),
        (0.024, 0.034, 0.064, 0.055, 0.044, 0.080, 0.165, 0.260, 0.310, 0.320),
    ),
    Material.WATER: (
        (0.045, 0.046, 0.050, 0.038, 0.026, 0.020, 0.014, 0.010, 0.008, 0.006),
        (0.050, 0.058, 0.072, 0.062, 0.046, 0.036, 0.026, 0.018, 0.014, 0.010),
    ),
    Material.ASPHALT: (
        (0.085, 0.095, 0.105, 0.113, 0.118, 0.120, 0.123, 0.126, 0.132, 0.140),
        (0.115, 0.130, 0.145, 0.157, 0.163, 0.166, 0.170, 0.174, 0.180, 0.190),
    ),
    Material.CONCRETE: (
        (0.190, 0.220, 0.255, 0.280, 0.292, 0.297, 0.303, 0.310, 0.318, 0.325),
        (0.230, 0.270, 0.315, 0.345, 0.360, 0.366, 0.372, 0.378, 0.385, 0.390),
    ),
    Material.GRAVEL: (
        (0.150, 0.180, 0.225, 0.262, 0.280, 0.288, 0.298, 0.310, 0.330, 0.350),
        (0.120, 0.150, 0.195, 0.235, 0.256, 0.266, 0.278, 0.290, 0.312, 0.335),
    ),
    Material.TILE: (
        (0.062, 0.072, 0.105, 0.195, 0.255, 0.270, 0.280, 0.290, 0.310, 0.340),
        (0.070, 0.080, 0.105, 0.150, 0.180, 0.190, 0.198, 0.208, 0.230, 0.260),
    ),
    Material.SLATE: (
        (0.095, 0.105, 0.112, 0.115, 0.117, 0.118, 0.119, 0.120, 0.124, 0.130),
        (0.120, 0.130, 0.135, 0.137, 0.140, 0.142, 0.144, 0.147, 0.152, 0.158),
    ),
    Material.METAL: (
        (0.420, 0.480, 0.510, 0.520, 0.525, 0.525, 0.525, 0.520, 0.515, 0.490),
        (0.350, 0.400, 0.430, 0.445, 0.450, 0.452, 0.454, 0.455, 0.455, 0.440),
    ),
    Material.BLUE_METAL: (
        (0.230, 0.300, 0.250, 0.165, 0.135, 0.132, 0.140, 0.170, 0.240, 0.270),
        (0.200, 0.255, 0.225, 0.165, 0.145, 0.143, 0.150, 0.175, 0.230, 0.260),
    ),
    Material.BITUMEN: (
        (0.060, 0.066, 0.071, 0.075, 0.078, 0.080, 0.082, 0.085, 0.092, 0.100),
        (0.105, 0.115, 0.125, 0.133, 0.138, 0.141, 0.144, 0.148, 0.156, 0.165),
    ),
    Material.PAINT: ((0.380, 0.430, 0.460, 0.470, 0.475, 0.475, 0.475, 0.475, 0.470, 0.460),) * 2,
    Material.POOL: ((0.260, 0.310, 0.270, 0.150, 0.080, 0.050, 0.030, 0.022, 0.016, 0.010),) * 2,
    Material.DARK_CAR: ((0.045, 0.047, 0.048, 0.050, 0.051, 0.052, 0.054, 0.057, 0.064, 0.070),) * 2,
    Material.RED_CAR: ((0.055, 0.052, 0.050, 0.130, 0.280, 0.310, 0.330, 0.340, 0.350, 0.360),) * 2,
    Material.GLASS: ((0.070, 0.080, 0.085, 0.085, 0.083, 0.082, 0.080, 0.078, 0.075, 0.072),) * 2,
}

_TEXTURE: dict[Material, float] = {
    Material.TREE: 0.26,
    Material.CROP: 0.10,
    Material.MEADOW: 0.11,
    Material.GRASS: 0.08,
    Material.GRAIN: 0.06,
    Material.SOIL: 0.07,
    Material.GRAVEL: 0.06,
    Material.TILE: 0.05,
    Material.WATER: 0.02,
    Material.POOL: 0.02,
}


def texture_table() -> NDArray[np.float32]:
    """Standard deviation of the texture of each material, relative to its brightness; (material,)."""
    return np.array([_TEXTURE.get(material, 0.035) for material in Material], dtype=np.float32)


def band_response(role: str) -> NDArray[np.float64]:
    """Response of an MS band to `CHANNELS`, sums to one; (channel,).

    Raises
    ------
    ArgumentError
        If the demo scene has no such band.
    """
    if role not in CHANNELS or role.startswith("gap"):
        legal = ", ".join(name for name in CHANNELS if not name.startswith("gap"))
        msg = f"a band of the demo scene is one of {legal}, got {role!r}; choose one of them"
        raise ArgumentError(msg)
    return np.asarray(np.array(CHANNELS) == role, dtype=np.float64)


def pan_response() -> NDArray[np.float64]:
    """Response of PAN to `CHANNELS`, sums to one; (channel,)."""
    weights = np.array(PAN_WEIGHTS)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def band_table(response: NDArray[np.float64]) -> NDArray[np.float32]:
    """Brightness of every material as one band sees it from space, without its air light.

    Parameters
    ----------
    response
        (channel,) response of the band.

    Returns
    -------
    numpy.ndarray
        (2 illumination: sun, shadow; 2 spectra; material) reflectance times transmittance.
    """
    spectra = np.array([_SPECTRA[material] for material in Material])
    light = np.array([np.ones(len(CHANNELS)), SKYLIGHT]) * np.array(TRANSMITTANCE) * response
    return np.asarray(np.einsum("lc,msc->lsm", light, spectra), dtype=np.float32)


def air_light(response: NDArray[np.float64]) -> float:
    """Reflectance of the air as a band with this response sees it."""
    return float(response @ np.array(PATH))
