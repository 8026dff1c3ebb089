"""SAM, RMSE, PSNR, ERGAS and CC: closed forms, masks, streaming, torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ship_geo.errors import ArgumentError
from ship_geo.metrics import ErrorAccumulator, SamAccumulator, cc, ergas, psnr, rmse, sam


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    ref = rng.integers(50, 2000, (4, 40, 36)).astype(np.float64)
    return ref + rng.normal(0, 60, ref.shape), ref


def _pixel(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None, None]


def test_angle_of_two_known_vectors() -> None:
    assert sam(_pixel(3, 4), _pixel(4, 3)) == pytest.approx(16.2602, abs=5e-5)


def test_angle_ignores_gain_and_zero_vectors() -> None:
    fused = np.concatenate([_pixel(6, 8), _pixel(0, 0)], axis=2)
    ref = np.concatenate([_pixel(3, 4), _pixel(1, 2)], axis=2)
    assert sam(fused, ref) == pytest.approx(0, abs=1e-5)


def test_identical_images_have_no_angle(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert sam(pair[1], pair[1]) < 1e-5


def test_ergas_closed_form_and_its_order() -> None:
    fused, ref = _pixel(110, 50), _pixel(100, 50)
    assert ergas(fused, ref, ratio=4) == pytest.approx(1.76777, abs=5e-6)
    assert ergas(ref, fused, ratio=4) != pytest.approx(1.76777, abs=1e-3)


def test_psnr_closed_form() -> None:
    ref = np.full((3, 5, 5), 700.0)
    assert psnr(ref + 10, ref, peak=2047) == pytest.approx(46.2224, abs=5e-5)
    assert psnr(ref, ref, peak=2047) == math.inf
    assert rmse(ref + 10, ref) == pytest.approx(10)


def test_correlation_sees_sign_but_neither_gain_nor_offset(pair: tuple[np.ndarray, np.ndarray]) -> None:
    ref = pair[1]
    assert cc(2 * ref + 3, ref) == pytest.approx(1, abs=1e-12)
    assert cc(5 - ref, ref) == pytest.approx(-1, abs=1e-12)
    with pytest.warns(UserWarning, match="CC needs bands that vary, got a constant one; it is NaN"):
        assert math.isnan(cc(np.full_like(ref, 0.1), ref))


def test_torchmetrics_agrees(pair: tuple[np.ndarray, np.ndarray]) -> None:
    from torchmetrics.functional import mean_squared_error, pearson_corrcoef
    from torchmetrics.functional.image import (
        error_relative_global_dimensionless_synthesis,
        peak_signal_noise_ratio,
        spectral_angle_mapper,
    )

    fused, ref = (torch.from_numpy(image)[None] for image in pair)
    assert sam(*pair) == pytest.approx(math.degrees(spectral_angle_mapper(fused, ref)), rel=1e-9)
    oracle = error_relative_global_dimensionless_synthesis(fused, ref, ratio=4)
    assert ergas(*pair, ratio=4) == pytest.approx(float(oracle), rel=1e-9)
    assert rmse(*pair) == pytest.approx(float(mean_squared_error(fused, ref, squared=False)), rel=1e-9)
    assert psnr(*pair, peak=2047) == pytest.approx(float(peak_signal_noise_ratio(fused, ref, data_range=2047.0)))
    oracle = pearson_corrcoef(fused[0].flatten(1).T, ref[0].flatten(1).T).mean()
    assert cc(*pair) == pytest.approx(float(oracle), rel=1e-9)


def test_masked_pixels_never_matter(pair: tuple[np.ndarray, np.ndarray]) -> None:
    fused, ref = pair
    valid = np.random.default_rng(1).random(ref.shape[1:]) > 0.3
    spoiled = np.where(valid, fused, np.nan)
    spoiled[:, :3][:, ~valid[:3]] = 60000
    kept = fused[:, valid][:, :, None], ref[:, valid][:, :, None]
    for index in (sam, rmse, cc):
        assert index(spoiled, ref, valid) == pytest.approx(index(*kept), rel=1e-12)
    assert rmse(np.where(valid, fused, np.inf), ref) == pytest.approx(rmse(*kept), rel=1e-12)


@settings(max_examples=15)
@given(st.integers(0, 40), st.integers(0, 36), st.booleans())
def test_any_partition_gives_the_value_of_the_whole(row: int, col: int, swap: bool) -> None:
    rng = np.random.default_rng(row * 37 + col)
    ref = rng.integers(50, 2000, (2, 40, 36)).astype(np.float64)
    fused, valid = ref + rng.normal(0, 30, ref.shape), rng.random((40, 36)) > 0.2
    rows, cols = [slice(0, row), slice(row, 40)], [slice(0, col), slice(col, 36)]
    angles, errors = SamAccumulator(), ErrorAccumulator()
    for part in [(r, c) for r in rows for c in cols][:: -1 if swap else 1]:
        angle, error = SamAccumulator(), ErrorAccumulator()
        for accumulator in (angle, error):
            accumulator.update(fused[:, *part], ref[:, *part], valid[part])
        angles.merge(angle)
        errors.merge(error)
    assert errors.count == angles.count == valid.sum()
    assert angles.compute() == pytest.approx(sam(fused, ref, valid), rel=1e-10)
    assert errors.rmse() == pytest.approx(rmse(fused, ref, valid), rel=1e-10)
    assert errors.ergas(4) == pytest.approx(ergas(fused, ref, valid, ratio=4), rel=1e-10)
    assert errors.cc() == pytest.approx(cc(fused, ref, valid), rel=1e-10)


def test_nothing_valid_is_nan_and_a_warning(pair: tuple[np.ndarray, np.ndarray]) -> None:
    nowhere = np.zeros(pair[1].shape[1:], dtype=bool)
    for index in (sam, rmse, cc):
        with pytest.warns(UserWarning, match="got none"):
            assert math.isnan(index(*pair, nowhere))
    with pytest.warns(UserWarning, match="ERGAS"):
        assert math.isnan(ergas(*pair, nowhere, ratio=4))
    with pytest.warns(UserWarning, match="PSNR"):
        assert math.isnan(psnr(*pair, nowhere, peak=255))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ArgumentError, match="same bands, got 2 and 3"):
        sam(np.ones((2, 4, 4)), np.ones((3, 4, 4)))
    with pytest.raises(ArgumentError, match="one grid"):
        sam(np.ones((2, 4, 4)), np.ones((2, 4, 5)))
    with pytest.raises(ArgumentError, match="the mask"):
        sam(np.ones((2, 4, 4)), np.ones((2, 4, 4)), np.ones((4, 5), dtype=bool))
    with pytest.raises(ArgumentError, match="ratio is positive"):
        ergas(np.ones((2, 4, 4)), np.ones((2, 4, 4)), ratio=0)
