"""SSIM and the two SCC: closed forms, scikit-image, SciPy, masks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ship_geo.metrics import scc_laplacian, scc_sobel, ssim


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    ref = rng.integers(50, 2000, (2, 30, 34)).astype(np.float64)
    return ref + rng.normal(0, 150, ref.shape), ref


def test_ssim_of_constants_has_its_closed_form() -> None:
    value = ssim(np.full((1, 20, 20), 110.0), np.full((1, 20, 20), 100.0), peak=2047)
    assert value == pytest.approx(0.995559, abs=5e-7)


def test_ssim_is_that_of_scikit_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    from skimage.metrics import structural_similarity

    oracle = structural_similarity(
        *pair, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=2047
    )
    assert ssim(*pair, peak=2047) == pytest.approx(oracle, rel=1e-10)


def test_ssim_counts_wholly_valid_windows(pair: tuple[np.ndarray, np.ndarray]) -> None:
    fused, ref = pair
    valid = np.ones(ref.shape[1:], dtype=bool)
    valid[:, 20] = False
    maps = [ssim(np.where(valid, fused, 6e4), ref, valid, peak=2047), ssim(fused[:, :, :20], ref[:, :, :20], peak=2047)]
    right = ssim(fused[:, :, 21:], ref[:, :, 21:], peak=2047)
    assert maps[0] == pytest.approx((10 * maps[1] + 3 * right) / 13, rel=1e-10)


def test_doubling_keeps_both_correlations(pair: tuple[np.ndarray, np.ndarray]) -> None:
    ref = pair[1]
    assert scc_sobel(2 * ref, ref) == pytest.approx(1, abs=1e-12)
    assert scc_laplacian(2 * ref, ref) == pytest.approx(1, abs=1e-12)


def test_constants_correlate_in_sobel_by_their_ring_alone() -> None:
    first, second = np.full((1, 12, 12), 3.0), np.full((1, 12, 12), 5.0)
    assert scc_sobel(first, second) == pytest.approx(1, abs=1e-12)
    with pytest.warns(UserWarning, match=r"SCC \(Laplacian\) needs bands that vary"):
        assert math.isnan(scc_laplacian(first, second))


def test_filters_are_those_of_scipy(pair: tuple[np.ndarray, np.ndarray]) -> None:
    from scipy import ndimage

    edges = [
        np.stack(
            [np.hypot(*(ndimage.sobel(band[1:-1, 1:-1], axis, mode="constant") for axis in (0, 1))) for band in image]
        )
        for image in pair
    ]
    oracle = (edges[0] * edges[1]).sum() / math.sqrt((edges[0] ** 2).sum() * (edges[1] ** 2).sum())
    assert scc_sobel(*pair) == pytest.approx(oracle, rel=1e-12)
    kernel = np.full((3, 3), -1.0)
    kernel[1, 1] = 8
    sharp = [[ndimage.correlate(band, kernel)[1:-1, 1:-1].ravel() for band in image] for image in pair]
    oracle = np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(*sharp, strict=True)])
    assert scc_laplacian(*pair) == pytest.approx(oracle, rel=1e-12)


@pytest.mark.parametrize("index", [scc_sobel, scc_laplacian])
def test_masked_pixels_and_their_neighbours_never_matter(index: object, pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert callable(index)
    fused, ref = pair
    valid = np.ones(ref.shape[1:], dtype=bool)
    valid[12, 7] = False
    spoiled = np.where(valid, fused, 6e4)
    assert index(spoiled, ref, valid) == index(np.where(valid, fused, np.nan), ref, valid)
    assert index(spoiled, ref, valid) != index(fused, ref)
    assert index(spoiled, ref, valid) == pytest.approx(index(fused, ref), abs=0.01)


def test_nothing_valid_is_nan_and_a_warning(pair: tuple[np.ndarray, np.ndarray]) -> None:
    nowhere = np.zeros(pair[1].shape[1:], dtype=bool)
    for index in (scc_sobel, scc_laplacian):
        with pytest.warns(UserWarning, match="got none"):
            assert math.isnan(index(*pair, nowhere))
    with pytest.warns(UserWarning, match="SSIM"):
        assert math.isnan(ssim(*pair, nowhere, peak=255))
