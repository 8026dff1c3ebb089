"""The demo scene as an instrument like WorldView-2 sees it: PAN, MS and, as no real delivery has it, the truth.

The instrument's MTF, its noise and 11 bits, and three things that real pairs have: PAN sees wavelengths that no MS band
sees, it lies a fraction of a pixel beside MS, and cars move between the two exposures. The reference is the ground as
the MS bands would see it from the height at which their pixels are those of PAN; MS is made of it as Wald's protocol
says (L. Wald, T. Ranchin, M. Mangolini, PE&RS 63(6), 1997).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import torch
from rasterio.errors import RasterioError
from rasterio.transform import from_origin

from ship_geo.demo.canvas import STEP, Canvas, Texture
from ship_geo.demo.ground import draw_cars, draw_ground
from ship_geo.demo.materials import air_light, band_response, pan_response
from ship_geo.errors import ArgumentError, OutputError
from ship_geo.ops.resample import degrade
from ship_geo.sensors import Sensor, find_sensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ship_geo._typing import PathLike

GSD_PAN = 0.5
"""Pixel of PAN, m; that of MS is four times as large."""

CRS = "EPSG:32633"
ORIGIN = (500000.0, 4650000.0)
"""Easting and northing of the upper left corner, m."""

MIN_SIZE = 128

_RATIO = 4
_FOUR_BANDS = ("blue", "green", "red", "nir")
_DN_PER_REFLECTANCE = 2700.0
_PAN_SHIFT = (0.12, -0.18)  # rows and columns, PAN pixels
_PAN_DELAY = 0.2  # s after MS
_NOISE_FLOOR, _NOISE_GAIN = 1.2, 0.012  # DN and DN per DN, of the variance's square root and the variance


@dataclass(frozen=True)
class DemoScene:
    """Files of a demo scene, and the sensor with exactly its bands.

    Attributes
    ----------
    folder
        Where they lie.
    pan, ms
        The pair, uint16.
    reference
        The truth on the PAN grid, uint16, bands of MS.
    sensor
        WorldView-2, or four bands of it.
    """

    folder: Path
    pan: Path
    ms: Path
    reference: Path
    sensor: Sensor


def make_scene(
    folder: PathLike, *, size: int = 1024, n_band: int = 4, seed: int = 0, overwrite: bool = False
) -> DemoScene:
    """Make a synthetic scene: ``demo_PAN.tif``, ``demo_MS.tif`` and ``demo_reference.tif``.

    Parameters
    ----------
    folder
        Where to; made if need be.
    size
        Rows and columns of PAN: a multiple of 4, at least 128.
    n_band
        4 (blue, green, red, nir) or 8 (all of WorldView-2).
    seed
        Equal seeds give equal scenes.
    overwrite
        Whether files of these names may be replaced.

    Returns
    -------
    DemoScene
        The files.

    Raises
    ------
    ArgumentError
        If `size`, `n_band` or `seed` is none of these.
    OutputError
        If the folder cannot be made or written, or has files of these names and `overwrite` is not set.
    """
    _check(size, n_band, seed)
    worldview = find_sensor("worldview-2")
    sensor = worldview if n_band == len(worldview.bands) else worldview.select(_FOUR_BANDS)
    target = Path(folder)
    pan_path, ms_path, ref_path = (target / f"demo_{kind}.tif" for kind in ("PAN", "MS", "reference"))
    scene = DemoScene(target, pan_path, ms_path, ref_path, sensor)
    refuse_existing((scene.pan, scene.ms, scene.reference), overwrite=overwrite)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"the folder of the demo must be writable, got {target} ({error.strerror}); choose another one"
        raise OutputError(msg) from error
    ms, pan, ref = acquire(size, sensor, np.random.default_rng(seed))
    _write(scene.ms, ms, GSD_PAN * _RATIO, sensor.roles, sensor)
    _write(scene.pan, pan, GSD_PAN, ("pan",), sensor)
    _write(scene.reference, ref, GSD_PAN, sensor.roles, sensor)
    return scene


def refuse_existing(paths: tuple[Path, ...], *, overwrite: bool) -> None:
    """Raise `OutputError` if one of the files exists and must not be replaced."""
    found = [str(path) for path in paths if path.exists()]
    if found and not overwrite:
        msg = f"the demo replaces no file, got {', '.join(found)}; choose another folder or allow it with overwrite"
        raise OutputError(msg)


def acquire(
    size: int, sensor: Sensor, rng: np.random.Generator
) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint16]]:
    """Look at a new ground with an instrument.

    Parameters
    ----------
    size
        Rows and columns of PAN, a multiple of 4.
    sensor
        Bands and their MTF gains.
    rng
        Source of every random number.

    Returns
    -------
    ms, pan, ref
        (band, row, col), (1, row, col) and (band, row, col) uint16, DN of 11 bits.
    """
    ground, cars = draw_ground(size * GSD_PAN, rng)
    texture = Texture.random(ground.n, rng)
    at_ms, at_pan = draw_cars(ground, cars, 0.0), draw_cars(ground, cars, _PAN_DELAY)
    ref = torch.cat(
        [_expose(at_ms, texture, band_response(band.role), size, band.gnyq, (0.0, 0.0)) for band in sensor.bands]
    )
    pan = _expose(at_pan, texture, pan_response(), size, sensor.gnyq_pan, _PAN_SHIFT)
    n_ms = size // _RATIO
    gains = tuple(band.gnyq for band in sensor.bands)
    ms = degrade(ref, (n_ms, n_ms), (float(_RATIO), float(_RATIO)), (0.0, 0.0), gains)
    return _digitise(ms, sensor, rng), _digitise(pan, sensor, rng), _digitise(ref, sensor, None)


def _expose(
    canvas: Canvas,
    texture: Texture,
    response: NDArray[np.float64],
    size: int,
    gnyq: float,
    shift: tuple[float, float],
) -> torch.Tensor:
    """One band at PAN scale through its MTF; (1, row, col) DN, not yet rounded."""
    fine = torch.from_numpy(canvas.brightness(response, texture) + np.float32(air_light(response)))
    ratio = GSD_PAN / STEP
    phase = (shift[0] * ratio, shift[1] * ratio)
    return degrade(fine[None] * _DN_PER_REFLECTANCE, (size, size), (ratio, ratio), phase, (gnyq,))


def _digitise(values: torch.Tensor, sensor: Sensor, rng: np.random.Generator | None) -> NDArray[np.uint16]:
    """Add the noise of photons and readout, where there is a `rng`, and round to the sensor's bits."""
    exact = values.numpy().astype(np.float64)
    if rng is not None:
        exact += rng.standard_normal(exact.shape) * np.sqrt(_NOISE_FLOOR**2 + _NOISE_GAIN * np.abs(exact))
    return np.clip(np.rint(exact), 1, 2**sensor.bits - 1).astype(np.uint16)


def _check(size: int, n_band: int, seed: int) -> None:
    if size < MIN_SIZE or size % _RATIO:
        msg = f"the size of a demo scene is a multiple of {_RATIO} and at least {MIN_SIZE}, got {size}; choose another"
        raise ArgumentError(msg)
    if n_band not in {4, 8}:
        msg = f"a demo scene has 4 or 8 bands, got {n_band}; choose one of them"
        raise ArgumentError(msg)
    if seed < 0:
        msg = f"a seed is 0 or greater, got {seed}; choose such a number"
        raise ArgumentError(msg)


def _write(path: Path, values: NDArray[np.uint16], gsd: float, names: tuple[str, ...], sensor: Sensor) -> None:
    n_band, n_row, n_col = values.shape
    profile = {
        "driver": "GTiff",
        "dtype": "uint16",
        "count": n_band,
        "height": n_row,
        "width": n_col,
        "crs": CRS,
        "transform": from_origin(*ORIGIN, gsd, gsd),
        "compress": "deflate",
        "predictor": 2,
    }
    try:
        with rasterio.open(path, "w", **profile) as target:
            target.write(values)
            target.descriptions = names
            target.update_tags(SATID=sensor.platform_ids[0], TIFFTAG_IMAGEDESCRIPTION="synthetic scene of ship_geo")
    except (OSError, RasterioError) as error:
        path.unlink(missing_ok=True)
        msg = f"the folder of the demo must be writable, got {path} ({error}); choose another one"
        raise OutputError(msg) from error
