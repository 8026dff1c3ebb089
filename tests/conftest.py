"""Fixtures for all tests: real data, tiny rasters, and a machine that is not overrun."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

# Before anything loads torch or OpenBLAS: tests share the machine, and equal thread counts give equal sums.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin would starve those of other processes

import numpy as np
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from affine import Affine

settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


class WriteRaster(Protocol):
    """Call of the `raster` fixture."""

    def __call__(
        self,
        name: str | Path,
        array: np.ndarray,
        transform: Affine | None = None,
        crs: str | None = "EPSG:32633",
        nodata: float | None = None,
        descriptions: Sequence[str] = (),
        **profile: Any,
    ) -> Path: ...


@dataclass(frozen=True)
class Pair:
    """Files of a pair, and what is in them, (band, row, col)."""

    ms: Path
    pan: Path
    ms_values: np.ndarray
    pan_values: np.ndarray


class WritePair(Protocol):
    """Call of the `write_pair` fixture."""

    def __call__(
        self,
        folder: Path,
        shape: tuple[int, int] = (96, 96),
        *,
        ms: np.ndarray | None = None,
        pan: np.ndarray | None = None,
        ratio: float = 4.0,
        offset: tuple[float, float] = (0.0, 0.0),
        n_band: int = 4,
        dtype: str = "uint16",
        nodata: float | None = None,
        roles: Sequence[str] | None = None,
        seed: int = 0,
        stem: str = "town",
        crs: str | None = "EPSG:32633",
        pan_crs: str | None = "EPSG:32633",
    ) -> Pair: ...


ROLES = ("blue", "green", "red", "nir", "coastal", "yellow", "rededge", "nir2")


def draw_ground(n_band: int, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Bands that share their edges, (band, row, col) float64 between 100 and 1900 DN."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    shared = 0.5 * np.sin(rows / 7 + cols / 11) + 0.2 * rng.normal(size=shape)
    for _ in range(14):
        height, width = rng.integers(6, 40, 2)
        row, col = rng.integers(-5, shape[0]), rng.integers(-5, shape[1])
        shared[max(row, 0) : max(row + height, 0), max(col, 0) : max(col + width, 0)] += rng.normal()
    shared /= np.abs(shared).max()
    level, gain, slope = rng.uniform(-1, 1, (3, n_band, 1, 1))
    tint = 60 * np.sin((rows * (1 + slope / 2) + cols) / 29)
    return np.clip(900 + 120 * level + (500 + 150 * gain) * shared + tint, 100, 1900)


def write_raster(
    path: Path,
    array: np.ndarray,
    transform: Affine | None = None,
    crs: str | None = "EPSG:32633",
    nodata: float | None = None,
    descriptions: Sequence[str] = (),
    **profile: Any,
) -> Path:
    """Write a GeoTIFF; see the fixture `raster`."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.transform import from_origin

    bands = array[np.newaxis] if array.ndim == 2 else array
    options = {
        "driver": "GTiff",
        "count": bands.shape[0],
        "height": bands.shape[1],
        "width": bands.shape[2],
        "dtype": bands.dtype,
        "transform": from_origin(500000, 4640000, 0.5, 0.5) if transform is None else transform,
        "crs": crs,
        "nodata": nodata,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # an identity transform may be what a test wants
        with rasterio.open(path, "w", **(options | profile)) as target:
            target.write(bands)
            for index, description in enumerate(descriptions, start=1):
                target.set_band_description(index, description)
    return path


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")


@pytest.fixture(autouse=True, scope="module")
def _own_scheduler() -> Iterator[None]:
    """Leave no scheduler to the next module: clients that close in another order than they opened do."""
    yield
    if "dask" in sys.modules:
        import dask

        dask.config.config.pop("scheduler", None)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the real scenes: $SHIP_GEO_DATA, or ../shared/data beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("SHIP_GEO_DATA") or default)
    if not root.is_dir():
        pytest.skip(f"real data are not here: no folder {root}; set SHIP_GEO_DATA")
    return root


@pytest.fixture
def raster(tmp_path: Path) -> WriteRaster:
    """Write a tiny GeoTIFF below `tmp_path` and return its path.

    ``raster(name, array, transform, crs, nodata, descriptions, **profile)``: array (band, row, col) or (row, col);
    without a transform the outer corner is (500000, 4640000) and a pixel 0.5 m, ``crs=None`` writes none.
    """

    def write(
        name: str | Path,
        array: np.ndarray,
        transform: Affine | None = None,
        crs: str | None = "EPSG:32633",
        nodata: float | None = None,
        descriptions: Sequence[str] = (),
        **profile: Any,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_raster(path, np.asarray(array), transform, crs, nodata, descriptions, **profile)

    return write


@pytest.fixture(scope="session")
def ground() -> Callable[[int, tuple[int, int], int], np.ndarray]:
    """Draw a synthetic ground: see `draw_ground`."""
    return draw_ground


@pytest.fixture(scope="session")
def write_pair() -> WritePair:
    """Write a tiny PAN / MS pair into a folder.

    ``write_pair(folder, shape, ...)``: rows and columns of PAN, whose pixel is 0.5 m. MS has pixels `ratio` times as
    large, its corner lies `offset` (row, col) PAN pixels off that of PAN. Values: `ms` and `pan`, or a synthetic ground
    (see `draw_ground`) by means over the pixels.
    """

    def write(
        folder: Path,
        shape: tuple[int, int] = (96, 96),
        *,
        ms: np.ndarray | None = None,
        pan: np.ndarray | None = None,
        ratio: float = 4.0,
        offset: tuple[float, float] = (0.0, 0.0),
        n_band: int = 4,
        dtype: str = "uint16",
        nodata: float | None = None,
        roles: Sequence[str] | None = None,
        seed: int = 0,
        stem: str = "town",
        crs: str | None = "EPSG:32633",
        pan_crs: str | None = "EPSG:32633",
    ) -> Pair:
        from affine import Affine

        step = max(1, int(ratio))
        whole = tuple(-(-n // step) * step for n in shape)
        ground = draw_ground(n_band, whole, seed)
        if ms is None:
            ms = ground.reshape(n_band, whole[0] // step, step, whole[1] // step, step).mean(axis=(2, 4)).round()
        if pan is None:
            pan = ground.mean(axis=0)[: shape[0], : shape[1]].round()
        ms, pan = ms.astype(dtype), np.atleast_3d(pan.T).T.astype(dtype)
        names = ROLES[: len(ms)] if roles is None else roles
        corner = Affine.translation(500000, 4640000) @ Affine.scale(0.5, -0.5)
        ms_corner = corner @ Affine.translation(offset[1], offset[0]) @ Affine.scale(ratio, ratio)
        folder.mkdir(parents=True, exist_ok=True)
        ms_path = write_raster(folder / f"{stem}_MS.tif", ms, ms_corner, crs, nodata, names)
        pan_path = write_raster(folder / f"{stem}_PAN.tif", pan, corner, pan_crs, nodata)
        return Pair(ms_path, pan_path, ms, pan)

    return write


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SHIP++ network for four bands with random weights, which runs in milliseconds: window 64, overlap 16."""
    import torch

    from ship_geo.nn.checkpoint import save_checkpoint
    from ship_geo.nn.inputs import N_GUIDE, N_STREAM
    from ship_geo.nn.ship_plus_plus import ShipPlusPlus, ShipPlusPlusConfig

    size = ShipPlusPlusConfig(n_band=4, n_in=N_STREAM * 4, n_guide=N_GUIDE, n_feature=8, n_order=2, n_stage=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ShipPlusPlus(size)
        for values in network.parameters():
            if values.ndim > 1 and not values.any():  # else the network returns its input
                torch.nn.init.normal_(values, std=0.02)
    return save_checkpoint(
        tmp_path_factory.mktemp("weights") / "tiny.safetensors",
        network,
        window=64,
        overlap=16,
        trained_on="nothing: random numbers",
        licence="MIT",
        metrics={},
    )
