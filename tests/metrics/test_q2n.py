"""Q2n: closed forms, an independent float64 loop with a recursive product on tuples, blocks, masks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ship_geo.errors import ArgumentError
from ship_geo.metrics import Q2nAccumulator, q2n
from ship_geo.metrics.q2n import product_table

SQUARE = np.array([[1.0, 2.0], [3.0, 4.0]])
Number = tuple[float, ...]


def _conjugate(a: Number) -> Number:
    return (a[0], *(-v for v in a[1:]))


def _add(a: Number, b: Number, sign: int = 1) -> Number:
    return tuple(v + sign * w for v, w in zip(a, b, strict=True))


def _times(x: Number, y: Number) -> Number:
    """Cayley-Dickson product by recursion."""
    if len(x) == 1:
        return (x[0] * y[0],)
    half = len(x) // 2
    a, b, c, d = x[:half], x[half:], y[:half], y[half:]
    first = _add(_times(a, c), _times(_conjugate(d), b), -1)
    return first + _add(_times(d, a), _times(b, _conjugate(c)))


def _norm(a: Number) -> float:
    return math.sqrt(math.fsum(v * v for v in a))


def _mean(numbers: list[Number]) -> Number:
    return tuple(math.fsum(parts) / len(numbers) for parts in zip(*numbers, strict=True))


def _q2n_by_hand(fused: np.ndarray, ref: np.ndarray) -> float:
    """The recipe of one (band, row, col) block, pixel by pixel."""
    n_band = len(ref)
    size = 1
    while size < n_band:
        size *= 2
    n = ref[0].size
    y_bands, z_bands = [], []
    for band in range(size):
        if band < n_band:
            y, f = (
                [float(min(max(math.floor(v + 0.5), 0), 65535)) for v in image[band].flat] for image in (ref, fused)
            )
        else:
            y, f = [0.0] * n, [0.0] * n
        mean = math.fsum(y) / n
        std = math.sqrt(math.fsum((v - mean) ** 2 for v in y) / (n - 1)) or 2.220446049250313e-16
        y_bands.append([(v - mean) / std + 1 for v in y])
        z_bands.append([v + 1 if mean == 0 else (v - mean) / std + 1 for v in f])
    y_pixels = list(zip(*y_bands, strict=True))
    z_pixels = [_conjugate(pixel) for pixel in zip(*z_bands, strict=True)]
    mean_y, mean_z = _mean(y_pixels), _mean(z_pixels)
    products = _mean([_times(y, z) for y, z in zip(y_pixels, z_pixels, strict=True)])
    cov = _norm(_add(products, _times(mean_y, mean_z), -1)) * n / (n - 1)
    energy = _norm(mean_y) ** 2 + _norm(mean_z) ** 2
    var = math.fsum(_norm(p) ** 2 for p in y_pixels + z_pixels) / n - energy
    luminance = 2 * _norm(mean_y) * _norm(mean_z) / energy
    return luminance * 2 * cov / (var * n / (n - 1)) if var > 1e-9 * energy else luminance


def _one_block(fused: np.ndarray, ref: np.ndarray, **options: object) -> float:
    return q2n(fused, ref, block=2, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n_band", "expected"), [(1, 0.855394), (2, 0.855394), (3, 0.894896), (4, 0.855394)])
def test_an_offset_of_one_has_its_closed_form(n_band: int, expected: float) -> None:
    ref = np.repeat(SQUARE[None], n_band, axis=0)
    assert _one_block(ref + 1, ref) == pytest.approx(expected, abs=5e-7)


def test_gain_inversion_and_swapped_bands_have_their_closed_forms() -> None:
    ref = np.repeat(SQUARE[None], 2, axis=0)
    assert _one_block(ref, ref) == pytest.approx(1, abs=1e-12)
    assert _one_block(2 * ref, ref) == pytest.approx(0.488246, abs=5e-7)
    assert _one_block(5 - ref, ref) == pytest.approx(1, abs=1e-12)
    bands = np.array([[[1.0, 2.0], [3.0, 4.0]], [[4.0, 2.0], [3.0, 1.0]]])
    assert _one_block(bands[::-1], bands) == pytest.approx(0.8, abs=1e-12)


def test_constant_blocks_are_cliffs_where_they_are_scored() -> None:
    constant = np.full((2, 2, 2), 500.0)
    assert _one_block(constant, constant, constant_blocks="score") == pytest.approx(1)
    assert _one_block(constant - 1, constant, constant_blocks="score") == pytest.approx(0, abs=1e-12)


def test_constant_blocks_are_left_out_and_counted() -> None:
    rng = np.random.default_rng(0)
    ref = rng.integers(0, 2047, (2, 4, 8)).astype(np.float64)
    fused = ref + rng.normal(0, 100, ref.shape)
    expected = q2n(fused[:, :, 4:], ref[:, :, 4:], block=4)
    ref[1, :, :4] = 9
    accumulator = Q2nAccumulator(4)
    accumulator.update(fused, ref)
    assert (accumulator.count, accumulator.excluded) == (1, 1)
    assert accumulator.compute() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n_band", [1, 2, 3, 4, 5, 8, 9])
def test_blocks_are_those_of_the_recursive_loop(n_band: int) -> None:
    rng = np.random.default_rng(n_band)
    ref = rng.integers(0, 2047, (n_band, 10, 13)).astype(np.float64)
    fused = ref + rng.normal(0, 300, ref.shape)
    valid = np.ones((10, 13), dtype=bool)
    valid[1, 1] = False
    expected = [
        _q2n_by_hand(fused[:, r : r + 4, c : c + 4], ref[:, r : r + 4, c : c + 4])
        for r in (0, 4)
        for c in (0, 4, 8)
        if (r, c) != (0, 0)
    ]
    assert q2n(np.where(valid, fused, np.nan), ref, valid, block=4) == pytest.approx(np.mean(expected), rel=1e-10)


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16])
def test_table_multiplies_like_the_recursion(size: int) -> None:
    rng = np.random.default_rng(size)
    x, y = rng.normal(size=size), rng.normal(size=size)
    np.testing.assert_allclose(np.einsum("i,j,ijk->k", x, y, product_table(size)), _times(tuple(x), tuple(y)))


def test_values_are_rounded_half_up_and_clipped() -> None:
    rng = np.random.default_rng(0)
    ref = rng.integers(1, 100, (2, 4, 4)).astype(np.float64)
    assert q2n(ref + 0.49, ref - 0.5, block=4) == pytest.approx(1, abs=1e-12)
    dark = ref.copy()
    dark[0, 0, 0] = 0
    assert q2n(np.where(dark == 0, -40, dark), dark, block=4) == pytest.approx(1, abs=1e-12)


def test_parts_on_block_borders_give_the_whole() -> None:
    rng = np.random.default_rng(0)
    ref = rng.integers(0, 2047, (3, 20, 17)).astype(np.float64)
    fused = ref + rng.normal(0, 100, ref.shape)
    merged = Q2nAccumulator(4)
    for row in (8, 0):
        part = Q2nAccumulator(4)
        stop = 20 if row else 8
        part.update(fused[:, row:stop], ref[:, row:stop])
        merged.merge(part)
    assert merged.count == 20
    assert merged.compute() == pytest.approx(q2n(fused, ref, block=4), rel=1e-12)


def test_mirrored_tail_counts_incomplete_blocks() -> None:
    rng = np.random.default_rng(0)
    ref = rng.integers(0, 2047, (2, 6, 7)).astype(np.float64)
    fused = ref + rng.normal(0, 100, ref.shape)
    mirrored = [np.concatenate([image, image[:, :, ::-1]], axis=2)[:, :, :8] for image in (fused, ref)]
    mirrored = [np.concatenate([image, image[:, ::-1]], axis=1)[:, :8] for image in mirrored]
    assert q2n(fused, ref, block=4, tail="mirror") == pytest.approx(q2n(*mirrored, block=4), rel=1e-12)


def test_no_whole_valid_block_is_nan_and_a_warning() -> None:
    with pytest.warns(UserWarning, match="32 x 32 blocks"):
        assert math.isnan(q2n(np.ones((2, 31, 64)), np.ones((2, 31, 64))))
    with pytest.raises(ArgumentError, match="at least 2"):
        Q2nAccumulator(1)
