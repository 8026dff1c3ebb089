"""Making the demo scene: an order folder and its reference, whole or not at all.

Everything is written into a hidden folder first and takes its place when it is complete. The convention that could
surprise: even where overwriting is allowed, a file is replaced only if it is of an earlier demo, which its name or its
content says; nothing is ever removed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from rasterio.errors import RasterioError

from ship_geo.demo.acquire import GSD_PAN, RATIO, acquire
from ship_geo.demo.delivery import files_of, index_of, write_delivery, write_raster
from ship_geo.demo.metadata import ORDER, ORIGIN
from ship_geo.errors import ArgumentError, OutputError
from ship_geo.sensors import Sensor, find_sensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ship_geo._typing import PathLike

MIN_SIZE = 128

_FOUR_BANDS = ("blue", "green", "red", "nir")
_REFERENCE = "demo_reference.tif"


@dataclass(frozen=True)
class DemoScene:
    """Files of a demo scene, and the sensor with exactly its bands.

    Attributes
    ----------
    folder
        Where they lie.
    delivery
        Folder of the order, with PAN and MS in tiles, uint16.
    pan, ms
        The indices of their tiles; each leads to the delivery.
    reference
        The truth on the PAN grid, uint16, bands of MS.
    sensor
        WorldView-2, or four bands of it.
    """

    folder: Path
    delivery: Path
    pan: Path
    ms: Path
    reference: Path
    sensor: Sensor


def make_scene(
    folder: PathLike, *, size: int = 1024, n_band: int = 4, seed: int = 0, overwrite: bool = False
) -> DemoScene:
    """Make a synthetic delivery, ``000000000000_01``, and its truth, ``demo_reference.tif``.

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
        Whether the files of an earlier demo may be replaced.

    Returns
    -------
    DemoScene
        The files.

    Raises
    ------
    ArgumentError
        If `size`, `n_band` or `seed` is none of these.
    OutputError
        If the folder cannot be made or written, or has files of these names and `overwrite` is not set or they are of
        another origin.
    """
    _check(size, n_band, seed)
    worldview = find_sensor("worldview-2")
    sensor = worldview if n_band == len(worldview.bands) else worldview.select(_FOUR_BANDS)
    target = Path(folder)
    root = target / ORDER
    scene = DemoScene(
        target, root, index_of(root, is_pan=True), index_of(root, is_pan=False), target / _REFERENCE, sensor
    )
    refuse_existing(files_of_scene(target), overwrite=overwrite)
    try:
        target.mkdir(parents=True, exist_ok=True)
        ms, pan, ref = acquire(size, sensor, np.random.default_rng(seed))
        _write(scene, ms, pan, ref, overwrite=overwrite)
    except (OSError, RasterioError) as error:
        msg = f"the folder of the demo must be writable, got {target} ({error}); choose another one"
        raise OutputError(msg) from error
    return scene


def files_of_scene(folder: Path) -> tuple[Path, ...]:
    """Return all files that `make_scene` writes into a folder."""
    return (*files_of(folder / ORDER), folder / _REFERENCE)


def refuse_existing(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Raise `OutputError` if one of the files exists and must not be replaced."""
    found = [path for path in paths if path.exists() or path.is_symlink()]
    if found and not overwrite:
        listed = ", ".join(map(str, found[:5]))
        msg = f"the demo replaces no file, got {listed}; choose another folder or allow it with overwrite"
        raise OutputError(msg)
    foreign = [path for path in found if not _is_of_demo(path)]
    if foreign:
        listed = ", ".join(map(str, foreign[:5]))
        msg = f"the demo replaces only files that it made itself, got {listed}; move them, or choose another folder"
        raise OutputError(msg)


def _is_of_demo(path: Path) -> bool:
    """Whether a file is of an earlier demo: its name, or its content, has the order that does not exist."""
    if not path.is_file():
        return False
    return ORDER in path.name or ORDER.encode() in path.read_bytes()


def _write(
    scene: DemoScene, ms: NDArray[np.uint16], pan: NDArray[np.uint16], ref: NDArray[np.uint16], *, overwrite: bool
) -> None:
    with TemporaryDirectory(prefix=f".{ORDER}.part-", dir=scene.folder) as staging:
        delivery, reference = Path(staging, ORDER), Path(staging, _REFERENCE)
        write_delivery(delivery, ms, pan, scene.sensor.roles)
        write_raster(reference, ref, ORIGIN, GSD_PAN, scene.sensor.roles)
        refuse_existing(files_of_scene(scene.folder), overwrite=overwrite)  # made meanwhile
        _publish(delivery, scene.delivery)
        _publish(reference, scene.reference)


def _publish(made: Path, target: Path) -> None:
    """Give what is complete its name: a folder that is not there yet in one step, else file by file."""
    if made.is_dir() and target.is_dir():
        for part in sorted(made.iterdir()):
            _publish(part, target / part.name)
    else:
        made.replace(target)


def _check(size: int, n_band: int, seed: int) -> None:
    if size < MIN_SIZE or size % RATIO:
        msg = f"the size of a demo scene is a multiple of {RATIO} and at least {MIN_SIZE}, got {size}; choose another"
        raise ArgumentError(msg)
    if n_band not in {4, 8}:
        msg = f"a demo scene has 4 or 8 bands, got {n_band}; choose one of them"
        raise ArgumentError(msg)
    if seed < 0:
        msg = f"a seed is 0 or greater, got {seed}; choose such a number"
        raise ArgumentError(msg)
