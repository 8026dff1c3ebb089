"""Wald's protocol: geometry in map coordinates, constants, gains, masks, and what is cut off."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ship_geo.degrade import ReducedPair, degrade_pair
from ship_geo.errors import ArgumentError
from ship_geo.ops.resample import degrade, shrink, upsample

GNYQ = (0.3, 0.25)
OPTIONS = {"gnyq_ms": GNYQ, "gnyq_pan": 0.15}
AREA = ((4.0, 4.0), (0.0, 0.0))


def reduce(ms: object, pan: object, ratio: float = 4.0, phase: float = 0.0, **changes: object) -> ReducedPair:
    return degrade_pair(ms, pan, ratio=(ratio, ratio), phase=(phase, phase), **(OPTIONS | changes))  # type: ignore[arg-type]


def ramps(n_ms: int, n_pan: int, ratio: float, phase: float) -> tuple[np.ndarray, np.ndarray]:
    """MS and PAN that hold their own position in PAN pixels: row in the first band, column in the second."""
    centres = phase + ratio * (np.arange(n_ms) + 0.5) - 0.5
    ms = np.stack(np.broadcast_arrays(centres[:, None], centres[None, :]))
    pan = np.broadcast_to(np.arange(n_pan, dtype=np.float64)[:, None], (n_pan, n_pan))[None]
    return ms, pan


@pytest.mark.parametrize("pan_filter", ["mtf", "bicubic"])
@pytest.mark.parametrize(
    ("ratio", "phase", "n_ms", "n_pan"),
    [(4.0, 0.0, 48, 192), (4.0, 0.3, 48, 192), (2.0, -0.5, 50, 99), (1.995, 0.0, 53, 105), (4.0, -5.0, 52, 190)],
)
def test_every_image_shows_the_same_place_at_the_same_map_coordinate(
    pan_filter: str, ratio: float, phase: float, n_ms: int, n_pan: int
) -> None:
    pair = reduce(*ramps(n_ms, n_pan, ratio, phase), ratio, phase, pan_filter=pan_filter)
    inside = slice(12, -12)
    # PAN shows rows: at MS pixel centres it equals the first band of the reference
    torch.testing.assert_close(pair.pan_lr[0, inside, inside], pair.ref[0, inside, inside], atol=0.02, rtol=0)
    ms_up = upsample(pair.ms_lr, (pair.ref.shape[1], pair.ref.shape[2]), pair.ratio, pair.phase)
    torch.testing.assert_close(ms_up[:, inside, inside], pair.ref[:, inside, inside], atol=0.02, rtol=0)


@pytest.mark.parametrize("phase", [0.0, -0.5, 0.25])
def test_phase_is_that_of_full_resolution(phase: float) -> None:
    pair = reduce(*ramps(32, 128, 4.0, phase), 4.0, phase)
    assert pair.phase == pytest.approx((phase, phase))
    assert pair.ratio == (4.0, 4.0)


def test_phase_beyond_a_pixel_changes_by_whole_pixels_only() -> None:
    pair = reduce(*ramps(32, 120, 4.0, 2.75), 4.0, 2.75)
    assert pair.phase == pytest.approx((-0.25, -0.25))


@pytest.mark.parametrize("pan_filter", ["mtf", "bicubic"])
@pytest.mark.parametrize(("ratio", "phase"), [(4.0, 0.0), (2.0, -0.5), (1.995, 0.2)])
def test_constant_stays_constant(pan_filter: str, ratio: float, phase: float) -> None:
    pair = reduce(
        np.full((2, 31, 29), 500, np.uint16),
        np.full((1, 130, 130), 301, np.uint16),
        ratio,
        phase,
        pan_filter=pan_filter,
    )
    for values, dn in ((pair.ms_lr, 500), (pair.ref, 500), (pair.pan_lr, 301)):
        torch.testing.assert_close(values, torch.full_like(values, dn), atol=1e-3, rtol=0)


def test_impulse_degraded_and_upsampled_keeps_its_centroid() -> None:
    ms = torch.zeros(2, 64, 64)
    ms[:, 30, 33] = 1000
    pair = reduce(ms, torch.ones(1, 256, 256))
    ms_up = upsample(pair.ms_lr, (64, 64), pair.ratio, pair.phase)[0]
    index = torch.arange(64.0)
    assert float((ms_up.sum(1) * index).sum() / ms_up.sum()) == pytest.approx(30, abs=0.1)
    assert float((ms_up.sum(0) * index).sum() / ms_up.sum()) == pytest.approx(33, abs=0.1)


def test_pan_filter_is_the_one_that_was_named() -> None:
    generator = torch.Generator().manual_seed(0)
    ms, pan = torch.rand(2, 16, 16, generator=generator), torch.rand(1, 64, 64, generator=generator)
    torch.testing.assert_close(reduce(ms, pan).pan_lr, shrink(pan, (16, 16), *AREA))
    torch.testing.assert_close(reduce(ms, pan, pan_filter="mtf").pan_lr, degrade(pan, (16, 16), *AREA, (0.15,)))


def test_waves_are_damped_by_the_gain_of_their_band() -> None:
    position = np.arange(256) - (4 * 31 + 1.5)  # crest on the centre of one degraded pixel
    wave = np.broadcast_to(np.cos(math.pi / 4 * position), (2, 256, 256))
    pair = reduce(wave, np.ones((1, 1024, 1024)))
    for band, gain in enumerate(GNYQ):
        assert float(pair.ms_lr[band, 32, 31]) == pytest.approx(gain, abs=1e-3)


def test_arrays_and_tensors_of_any_type_give_the_same() -> None:
    rng = np.random.default_rng(0)
    ms, pan = rng.integers(0, 2000, (2, 16, 16)), rng.integers(0, 2000, (1, 64, 64))
    expected = reduce(ms, pan)
    read_only = ms.astype(np.uint16)
    read_only.flags.writeable = False
    for kind in (reduce(read_only, pan.astype(">u2")), reduce(torch.from_numpy(ms), torch.from_numpy(pan).double())):
        for name in ("ms_lr", "pan_lr", "ref"):
            assert getattr(kind, name).dtype == torch.float32
            assert torch.equal(getattr(kind, name), getattr(expected, name))


def masked_pair() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    ms, pan = rng.uniform(100, 900, (2, 40, 40)), rng.uniform(100, 900, (1, 160, 160))
    ms_valid, pan_valid = np.ones((40, 40), bool), np.ones((160, 160), bool)
    ms_valid[:12] = False
    pan_valid[:, 100:] = False
    return ms, pan, ms_valid, pan_valid


@pytest.mark.parametrize("pan_filter", ["mtf", "bicubic"])
def test_what_lies_under_nodata_never_matters(pan_filter: str) -> None:
    ms, pan, ms_valid, pan_valid = masked_pair()
    results = [
        reduce(np.where(ms_valid, ms, fill), np.where(pan_valid, pan, fill), pan_filter=pan_filter, **masks)
        for fill, masks in ((0, {"ms_valid": ms_valid, "pan_valid": pan_valid}), (math.nan, {}))
    ]
    results.append(reduce(np.where(ms_valid, ms, 6e4), np.where(pan_valid, pan, 6e4), pan_filter=pan_filter,
                          ms_valid=torch.from_numpy(ms_valid), pan_valid=pan_valid))  # fmt: skip
    for name in ReducedPair.__dataclass_fields__:
        first, *others = (getattr(result, name) for result in results)
        for other in others:
            assert torch.equal(first, other) if isinstance(first, torch.Tensor) else first == other
    assert bool(torch.isfinite(results[0].ms_lr).all())


@pytest.mark.parametrize("pan_filter", ["mtf", "bicubic"])
def test_masks_follow_nodata_and_give_way_where_the_filter_sees_it(pan_filter: str) -> None:
    ms, pan, ms_valid, pan_valid = masked_pair()
    pair = reduce(ms, pan, ms_valid=ms_valid, pan_valid=pan_valid, pan_filter=pan_filter)
    assert torch.equal(pair.ref_valid, torch.from_numpy(ms_valid))
    assert pair.ms_lr_valid.shape == pair.ms_lr.shape[1:]
    assert not pair.ms_lr_valid[:3].any()  # degraded pixels under nodata
    assert bool(pair.ms_lr_valid[5:].all())  # and those far from it
    assert not pair.pan_lr_valid[:, 25:].any()
    assert bool(pair.pan_lr_valid[:, :23].all())


def test_hole_in_a_constant_leaves_no_trace() -> None:
    ms, valid = np.full((2, 32, 32), 700.0), np.ones((32, 32), bool)
    valid[10:14, 9:20] = False
    pair = reduce(np.where(valid, ms, 0), np.full((1, 128, 128), 5.0), ms_valid=valid)
    torch.testing.assert_close(pair.ms_lr, torch.full_like(pair.ms_lr, 700), atol=1e-2, rtol=0)


def test_valid_zero_stays_valid_and_zero() -> None:
    ms = np.full((2, 16, 16), 300.0)
    ms[1, 8, 8] = 0
    pair = reduce(ms, np.ones((1, 64, 64)), ms_valid=np.ones((16, 16), bool))
    assert bool(pair.ref_valid.all())
    assert pair.ref[1, 8, 8] == 0
    assert pair.ref[0, 8, 8] == 300


@pytest.mark.parametrize(
    ("n_ms", "n_pan", "ratio", "phase", "n_ref", "n_lr"),
    [
        (64, 256, 4.0, 0.0, 64, 16),
        (67, 268, 4.0, 0.0, 64, 16),  # three MS pixels make no degraded pixel
        (64, 250, 4.0, 0.0, 60, 15),  # PAN ends inside MS pixel 62
        (64, 127, 2.0, -0.5, 64, 32),  # Landsat: half a pixel may jut out
        (64, 256, 4.0, -4.0, 60, 15),  # the first MS pixel lies before PAN
        (66, 131, 1.995, 0.0, 64, 32),
    ],
)
def test_only_whole_pixels_stay(n_ms: int, n_pan: int, ratio: float, phase: float, n_ref: int, n_lr: int) -> None:
    pair = reduce(np.ones((2, n_ms, n_ms)), np.ones((1, n_pan, n_pan)), ratio, phase)
    assert pair.ref.shape == (2, n_ref, n_ref)
    assert pair.pan_lr.shape == (1, n_ref, n_ref)
    assert pair.ms_lr.shape == (2, n_lr, n_lr)


@settings(max_examples=40)
@given(st.integers(9, 40), st.integers(30, 160), st.floats(1.5, 5), st.floats(-12, 12))
def test_grids_always_fit_each_other(n_ms: int, n_pan: int, ratio: float, phase: float) -> None:
    try:
        pair = reduce(*ramps(n_ms, n_pan, ratio, phase), ratio, phase)
    except ArgumentError:
        return
    n_ref, n_lr = pair.ref.shape[1], pair.ms_lr.shape[1]
    assert pair.pan_lr.shape == (1, n_ref, n_ref)
    assert abs(pair.phase[0]) <= 0.5 + 1e-5
    assert abs(pair.phase[0] + ratio * n_lr - n_ref) <= 0.5 + 1e-5
    # the first reference pixel lies on PAN, up to half a pixel
    assert float(pair.ref[0, 0, 0]) - ratio / 2 + 0.5 >= -0.5 - 1e-4
    assert float(pair.ref[0, -1, 0]) + ratio / 2 + 0.5 <= n_pan + 0.5 + 1e-4


def test_rows_and_columns_have_their_own_ratio_and_phase() -> None:
    pair = degrade_pair(np.ones((2, 20, 24)), np.ones((1, 80, 47)), ratio=(4.0, 2.0), phase=(0.0, -0.5), **OPTIONS)
    assert pair.ms_lr.shape == (2, 5, 12)
    assert pair.phase == (0.0, -0.5)


@pytest.mark.parametrize(
    ("ms", "pan", "changes", "message"),
    [
        ((2, 16, 16), (2, 64, 64), {}, "MS is .band, row, col. and PAN .1, row, col., got"),
        ((16, 16), (1, 64, 64), {}, "MS is .band, row, col. and PAN .1, row, col., got"),
        ((3, 16, 16), (1, 64, 64), {}, "got 2 gains for 3 bands"),
        ((2, 16, 16), (1, 64, 64), {"ratio": 0.5}, "MS is not finer than PAN, got ratio"),
        ((2, 16, 16), (1, 64, 64), {"pan_filter": "nearest"}, "'mtf' or 'bicubic', got 'nearest'"),
        ((2, 3, 3), (1, 12, 12), {}, "at least one degraded pixel, got 3 MS pixels on 12 PAN pixels"),
        ((2, 16, 16), (1, 64, 64), {"phase": 900.0}, "at least one degraded pixel, got 0 MS pixels"),
        ((2, 16, 16), (1, 64, 64), {"ms_valid": np.ones((4, 4), bool)}, "a mask has the rows and columns"),
    ],
)
def test_what_does_not_fit_is_refused(
    ms: tuple[int, ...], pan: tuple[int, ...], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        reduce(np.ones(ms), np.ones(pan), **changes)
