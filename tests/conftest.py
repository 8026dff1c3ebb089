"""Fixtures for all tests: real data, tiny rasters, and a machine that is not overrun."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

# Before anything loads torch or OpenBLAS: tests share the machine, and equal thread counts give equal sums.
os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")


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
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning
        from rasterio.transform import from_origin

        bands = np.asarray(array)
        if bands.ndim == 2:
            bands = bands[np.newaxis]
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
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

    return write
