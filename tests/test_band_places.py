"""Where the ground lies in a result, through files: where each band's georeferencing puts it, or on PAN when asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from scipy.ndimage import gaussian_filter, shift
from skimage.registration import phase_cross_correlation

from ship_geo.api import pansharpen_scene

SHAPE, RATIO, EDGE = (512, 512), 4, 40
PLACES = np.array([(1.2, 0.8), (1.2, 0.8), (0.4, 1.6), (1.2, 0.8)])
"""Where each band of the ground lies off PAN, PAN pixels (row, col)."""


@pytest.fixture(scope="module")
def truth(ground: Callable[..., np.ndarray]) -> np.ndarray:
    """Ground with fine structure and no flat parts, (band, row, col)."""
    coarse = ground(4, SHAPE, 7)
    texture = np.random.default_rng(7).normal(size=(4, *SHAPE))
    texture = 0.8 * texture[:1] + 0.2 * texture
    return coarse + 250 * gaussian_filter(texture, (0, 1.5, 1.5)) / gaussian_filter(texture, (0, 1.5, 1.5)).std() * 0.4


@pytest.fixture(scope="module")
def pair(truth: np.ndarray, write_pair: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    moved = np.stack([shift(band, place, order=5, mode="reflect") for band, place in zip(truth, PLACES, strict=True)])
    seen = gaussian_filter(moved, (0, 1.6, 1.6))  # a gain of about 0.3 at the Nyquist frequency of MS
    ms = seen.reshape(4, SHAPE[0] // RATIO, RATIO, SHAPE[1] // RATIO, RATIO).mean((2, 4)).round()
    return write_pair(tmp_path_factory.mktemp("places"), SHAPE, ms=ms, pan=truth.mean(0).round())


def places_of(path: Path, truth: np.ndarray, corner: Affine) -> np.ndarray:
    """Where the ground lies in each band of a file, PAN pixels (row, col)."""
    with rasterio.open(path) as dataset:
        fused = dataset.read().astype(float)
        col, row = (round(place) for place in ~corner @ (dataset.transform.c, dataset.transform.f))
    truth = truth[:, row : row + fused.shape[1], col : col + fused.shape[2]]  # an edge that MS does not cover is lost
    inner = np.s_[EDGE:-EDGE, EDGE:-EDGE]
    return np.array(
        [
            phase_cross_correlation(image[inner], band[inner], upsample_factor=50, normalization=None)[0]
            for image, band in zip(fused, truth, strict=True)
        ]
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:MS (should lie on PAN|bands should lie alike)")
def test_colours_stay_where_ms_has_them_unless_they_shall_lie_on_pan(
    pair: Any, truth: np.ndarray, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    for register in ("report", "auto"):
        pansharpen_scene(
            ms=pair.ms, pan=pair.pan, model=tiny_checkpoint, register=register, output=tmp_path / f"{register}.tif"
        ).close()
    with rasterio.open(pair.pan) as pan:
        corner = pan.transform
    kept, brought = (places_of(tmp_path / f"{register}.tif", truth, corner) for register in ("report", "auto"))
    np.testing.assert_allclose(kept, PLACES, atol=0.3)
    np.testing.assert_allclose(brought, 0, atol=0.3)
