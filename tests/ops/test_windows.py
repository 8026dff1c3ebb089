"""A window on the PAN grid: ramps keep their place, fill values never count, the mask is PAN and MS."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ship_geo.ops.masks import ms_mask_on_pan
from ship_geo.ops.resample import degrade, upsample
from ship_geo.ops.views import BandView
from ship_geo.ops.windows import PreparedWindow, fill, prepare_window

HALO = 32
SIZE = 48
GAINS = (0.29, 0.35)
VIEWS = (BandView(0.75, -1.5, 0.2, 1.0), BandView(-0.4, 0.3, 0.45, 1.0))


def layout(ratio: float, phase: float) -> tuple[int, float]:
    """MS pixels along an axis that cover a window with its halo, three to spare; outer corner of the first one."""
    first = math.floor(-phase / ratio) - 3
    return math.ceil((SIZE + 2 * HALO) / ratio) + 8, phase + first * ratio


def prepare(
    ms: np.ndarray,
    pan: np.ndarray,
    *,
    ms_valid: np.ndarray | None = None,
    pan_valid: np.ndarray | None = None,
    **how: object,
) -> PreparedWindow:
    ms_valid = np.ones(ms.shape[1:], bool) if ms_valid is None else ms_valid
    pan_valid = np.ones(pan.shape[1:], bool) if pan_valid is None else pan_valid
    options = {"ratio": (4.0, 4.0), "phase": (-12.0, -12.0), "gnyq_ms": GAINS, "halo": HALO, **how}
    return prepare_window((ms, ms_valid), (pan, pan_valid), **options)  # type: ignore[arg-type]


@pytest.fixture
def noise() -> tuple[np.ndarray, np.ndarray]:
    """MS and PAN of one window with its halo, ratio 4, phase -12."""
    rng = np.random.default_rng(3)
    n_pan = SIZE + 2 * HALO
    return rng.integers(100, 2000, (2, n_pan // 4 + 6, n_pan // 4 + 6)), rng.integers(100, 2000, (1, n_pan, n_pan))


@pytest.mark.parametrize(("ratio", "phase"), [(4.0, 0.0), (2.0, -0.5), (1.995, 0.37), (4.0004, -1.25)])
def test_ramp_on_the_map_stays_where_it_is(ratio: float, phase: float) -> None:
    n_ms, corner = layout(ratio, phase)
    pan_at = np.arange(SIZE + 2 * HALO) + 0.5
    ms_at = corner + ratio * (np.arange(n_ms) + 0.5)
    ms = np.stack([1000 + 3 * ms_at[:, None] - 2 * ms_at, 500 - ms_at[:, None] + 0 * ms_at])
    pan = 700 + 2 * pan_at[:, None] + 5 * pan_at
    window = prepare(ms, pan[None], ratio=(ratio, ratio), phase=(corner, corner))
    core = slice(HALO, HALO + SIZE)
    rows, cols = pan_at[core, None], pan_at[core]
    np.testing.assert_allclose(window.ms_up[0], 1000 + 3 * rows - 2 * cols, atol=2e-3)
    np.testing.assert_allclose(window.ms_up[1], 500 - rows + 0 * cols, atol=2e-3)
    np.testing.assert_array_equal(window.pan[0], pan[core, core].astype(np.float32))
    for low in window.pan_low:
        np.testing.assert_allclose(low, pan[core, core], atol=5e-3)
    assert bool(window.valid.all())


def test_halo_is_cut_off(noise: tuple[np.ndarray, np.ndarray]) -> None:
    window = prepare(*noise)
    assert window.ms_up.shape == window.pan_low.shape == (2, SIZE, SIZE)
    assert window.pan.shape == (1, SIZE, SIZE)
    assert window.valid.shape == (SIZE, SIZE)
    assert {part.dtype for part in (window.ms_up, window.pan, window.pan_low)} == {torch.float32}


def test_halo_is_wide_enough_that_more_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    ms, pan = rng.uniform(0, 2000, (2, 50, 50)), rng.uniform(0, 2000, (1, 200, 200))
    wide = prepare(ms, pan, phase=(0.0, 0.0), halo=60)
    near = prepare(ms[:, 7:-7, 7:-7], pan[:, 28:-28, 28:-28], phase=(0.0, 0.0), halo=32)
    for name in ("ms_up", "pan_low"):
        np.testing.assert_allclose(getattr(wide, name), getattr(near, name), atol=2e-3)


@pytest.mark.parametrize("fill", [60000.0, float("nan"), float("inf"), -3.4e38])
def test_values_under_invalid_pixels_never_count(noise: tuple[np.ndarray, np.ndarray], fill: float) -> None:
    ms, pan = (values.astype(np.float64) for values in noise)
    ms_valid, pan_valid = np.ones(ms.shape[1:], bool), np.ones(pan.shape[1:], bool)
    ms_valid[:12, :14] = False
    pan_valid[30:50, 60:] = False
    masks = {"ms_valid": ms_valid, "pan_valid": pan_valid}
    plain = prepare(np.where(ms_valid, ms, 0), np.where(pan_valid, pan, 0), **masks)
    other = prepare(np.where(ms_valid, ms, fill), np.where(pan_valid, pan, fill), **masks)
    for name in ("ms_up", "pan", "pan_low", "valid", "ms_placed"):
        assert torch.equal(getattr(plain, name), getattr(other, name)), name
    plain = prepare(np.where(ms_valid, ms, 0), np.where(pan_valid, pan, 0), **masks, views=VIEWS)
    other = prepare(np.where(ms_valid, ms, fill), np.where(pan_valid, pan, fill), **masks, views=VIEWS)
    for name in ("ms_up", "pan_low", "ms_placed"):
        assert torch.equal(getattr(plain, name), getattr(other, name)), name


def test_constant_beside_nodata_is_not_darkened() -> None:
    ms, pan = np.full((2, 34, 34), 700), np.full((1, 112, 112), 900)
    ms_valid, pan_valid = np.ones((34, 34), bool), np.ones((112, 112), bool)
    ms_valid[:, :16] = False
    pan_valid[:, :55] = False
    window = prepare(ms * ms_valid, pan * pan_valid, ms_valid=ms_valid, pan_valid=pan_valid)
    np.testing.assert_allclose(window.ms_up[:, window.valid], 700, rtol=1e-6)
    np.testing.assert_allclose(window.pan_low[:, window.valid], 900, rtol=1e-6)


def test_pixel_is_valid_where_pan_and_the_ms_pixel_over_its_centre_are() -> None:
    rng = np.random.default_rng(5)
    ratio, phase = 1.995, -2.3137  # no centre of a PAN pixel on an edge of MS
    n_ms, n_pan = 62, SIZE + 2 * HALO
    ms_valid, pan_valid = rng.random((n_ms, n_ms)) > 0.2, rng.random((n_pan, n_pan)) > 0.2
    window = prepare(
        np.ones((2, n_ms, n_ms)),
        np.ones((1, n_pan, n_pan)),
        ms_valid=ms_valid,
        pan_valid=pan_valid,
        ratio=(ratio, ratio),
        phase=(phase, phase),
    )
    expected = np.zeros((SIZE, SIZE), bool)
    for row in range(SIZE):
        for col in range(SIZE):
            ms_row, ms_col = (math.floor((HALO + at + 0.5 - phase) / ratio) for at in (row, col))
            is_inside = 0 <= ms_row < n_ms and 0 <= ms_col < n_ms
            expected[row, col] = pan_valid[HALO + row, HALO + col] and is_inside and ms_valid[ms_row, ms_col]
    np.testing.assert_array_equal(window.valid, expected)


def test_window_without_a_valid_pixel_is_finite_and_invalid(noise: tuple[np.ndarray, np.ndarray]) -> None:
    ms, pan = (np.full(values.shape, np.nan) for values in noise)
    window = prepare(ms, pan, ms_valid=np.zeros(ms.shape[1:], bool), pan_valid=np.zeros(pan.shape[1:], bool))
    assert not bool(window.valid.any())
    assert all(bool((part == 0).all()) for part in (window.ms_up, window.pan, window.pan_low))


def test_fill_does_not_depend_on_the_number_of_threads() -> None:
    # torch adds parts of a long sum per thread: the mean that fills holes must not be such a sum.
    rng = np.random.default_rng(1)
    pan, pan_valid = rng.uniform(0, 2000, (1, 320, 320)), np.ones((320, 320), bool)
    pan_valid[200:, 37:] = False
    ms = rng.uniform(0, 2000, (2, 86, 86))
    before = torch.get_num_threads()
    try:
        results = []
        for n_thread in (1, 2, 4):
            torch.set_num_threads(n_thread)
            results.append(prepare(ms, pan, pan_valid=pan_valid))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(results[0].pan_low, other.pan_low) for other in results[1:])
    assert all(torch.equal(results[0].pan, other.pan) for other in results[1:])


def test_window_without_views_is_plain_interpolation_and_degradation(noise: tuple[np.ndarray, np.ndarray]) -> None:
    ms, pan = noise
    ms_valid, pan_valid = torch.ones(ms.shape[1:], dtype=torch.bool), torch.ones(pan.shape[1:], dtype=torch.bool)
    ms_valid[3:6, 8:] = False
    pan_valid[40:60, 40:50] = False
    masks = {"ms_valid": ms_valid.numpy(), "pan_valid": pan_valid.numpy()}
    window = prepare(*noise, **masks)
    (filled, _), (full, _) = fill(noise[0], masks["ms_valid"]), fill(noise[1], masks["pan_valid"])
    ratio, core = (4.0, 4.0), (-12.0 - HALO,) * 2
    low = degrade(full, ms.shape[-2:], ratio, (-12.0, -12.0), GAINS)
    assert torch.equal(window.ms_up, upsample(filled, (SIZE, SIZE), ratio, core))
    assert torch.equal(window.pan_low, upsample(low, (SIZE, SIZE), ratio, core))
    assert window.ms_placed is window.ms_up
    core_valid = pan_valid[HALO:-HALO, HALO:-HALO] & ms_mask_on_pan(ms_valid, (SIZE, SIZE), ratio, core)
    assert torch.equal(window.valid, core_valid)


def test_views_leave_pan_the_mask_and_the_place_of_bands_as_they_are(noise: tuple[np.ndarray, np.ndarray]) -> None:
    plain, seen = prepare(*noise), prepare(*noise, views=VIEWS)
    for name in ("pan", "valid", "ms_placed"):
        assert torch.equal(getattr(plain, name), getattr(seen, name)), name
    assert torch.equal(seen.ms_placed, plain.ms_up)
    assert not torch.equal(seen.ms_up, plain.ms_up)
    nominal = [BandView(0.0, 0.0, gain, 1.0) for gain in GAINS]
    same = prepare(*noise, views=nominal)
    for name in ("ms_up", "pan_low"):
        torch.testing.assert_close(getattr(same, name), getattr(plain, name), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("ratio", "phase"), [(4.0, 0.0), (2.0, -0.5), (1.995, 0.37)])
def test_bands_come_to_lie_where_pan_shows_their_ground(ratio: float, phase: float) -> None:
    n_ms, corner = layout(ratio, phase)
    pan_at = np.arange(SIZE + 2 * HALO) + 0.5
    ms_at = corner + ratio * (np.arange(n_ms) + 0.5)

    def ground(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        return 1000 + 3 * rows[:, None] - 2 * cols

    pan = ground(pan_at, pan_at)
    ms = np.stack([ground(ms_at + view.row, ms_at + view.col) for view in VIEWS])
    window = prepare(ms, pan[None], ratio=(ratio, ratio), phase=(corner, corner), views=VIEWS)
    core = slice(HALO, HALO + SIZE)
    for band, view in enumerate(VIEWS):
        np.testing.assert_allclose(window.ms_up[band], pan[core, core], atol=5e-3)
        np.testing.assert_allclose(window.pan_low[band], pan[core, core], atol=1e-2)
        off = 3 * view.row - 2 * view.col
        np.testing.assert_allclose(window.ms_placed[band], pan[core, core] + off, atol=5e-3)


def test_pan_is_blurred_as_each_band_is(noise: tuple[np.ndarray, np.ndarray]) -> None:
    ms, pan = noise
    image = torch.from_numpy(pan.astype(np.float32))
    window = prepare(ms, pan, views=VIEWS)
    for band, view in enumerate(VIEWS):
        seen = (-12.0 + view.row, -12.0 + view.col)
        low = degrade(image, ms.shape[-2:], (4.0, 4.0), seen, (view.gnyq,))
        expected = upsample(low, (SIZE, SIZE), (4.0, 4.0), (seen[0] - HALO, seen[1] - HALO))
        torch.testing.assert_close(window.pan_low[[band]], expected, atol=1e-3, rtol=0)


def test_halo_is_wide_enough_for_bands_that_are_moved() -> None:
    rng = np.random.default_rng(0)
    ms, pan = rng.uniform(0, 2000, (2, 50, 50)), rng.uniform(0, 2000, (1, 200, 200))
    far = (BandView(1.6, -1.6, 0.12, 1.0), BandView(-1.6, 1.6, 0.12, 1.0))  # as far as bands are ever moved
    wide = prepare(ms, pan, phase=(0.0, 0.0), halo=60, views=far)
    near = prepare(ms[:, 7:-7, 7:-7], pan[:, 28:-28, 28:-28], phase=(0.0, 0.0), halo=32, views=far)
    for name in ("ms_up", "pan_low"):
        np.testing.assert_allclose(getattr(wide, name), getattr(near, name), atol=2e-3)


def test_views_are_those_of_all_bands(noise: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"zip\(\)"):
        prepare(*noise, views=VIEWS[:1])
