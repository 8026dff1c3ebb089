"""Input streams: closed forms on numbers, scale invariance, and what dark or hot pixels may do."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from ship_geo.nn.inputs import LIMIT, N_GUIDE, N_STREAM, BandStatistics, network_streams


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)


def plain_statistics() -> BandStatistics:
    return BandStatistics(
        ms_mean=column(100, 200),
        ms_std=column(10, 20),
        pan_mean=column(300),
        pan_std=column(30),
        pan_low_mean=column(300, 300),
        pan_low_std=column(25, 20),
        gain=column(0.5, 2),
        weight=column(0.6, 1.1),
        intensity_gain=column(0.3, 0.8),
    )


def images(n: int = 2, size: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    ms_up = torch.rand(n, 2, size, size, generator=generator) * 20 + torch.tensor([90.0, 190.0])[:, None, None]
    pan = torch.rand(n, 1, size, size, generator=generator) * 60 + 270
    return ms_up, pan, pan * 0.5 + 150


def test_streams_have_the_stated_channels() -> None:
    ms_up, pan, pan_low = images()
    ms_stream, guide_stream = network_streams(ms_up, pan, pan_low.expand(-1, 2, -1, -1), plain_statistics())
    assert ms_stream.shape[1] == 2 * N_STREAM
    assert guide_stream.shape[1] == N_GUIDE


def test_one_pixel_has_its_closed_form() -> None:
    ms_up, pan, pan_low = column(120, 180), column(345), column(320, 330)
    ms_stream, guide_stream = network_streams(ms_up, pan, pan_low, plain_statistics())
    # the low-passed PAN matched to MS has its mean and standard deviation
    matched = (100 + 20 * 10 / 25, 200 + 30 * 20 / 20)
    modulation = (120 * 25 * 0.4 / matched[0] / 10, 180 * 15 * 1.0 / matched[1] / 20)
    unexplained = 45 - (0.6 * 20 - 1.1 * 20)  # PAN minus the intensity of the bands, both centred
    substitution = (0.3 * unexplained / 10, 0.8 * unexplained / 20)
    assert ms_stream.flatten().tolist() == pytest.approx([2.0, -1.0, 1.25, 1.5, *modulation, *substitution])
    assert guide_stream.flatten().tolist() == pytest.approx([1.5, 20 / 30])


def test_skip_comes_first_and_is_the_standardised_ms() -> None:
    ms_up, pan, pan_low = images()
    s = plain_statistics()
    ms_stream, _ = network_streams(ms_up, pan, pan_low.expand(-1, 2, -1, -1), s)
    torch.testing.assert_close(ms_stream[:, :2] * s.ms_std + s.ms_mean, ms_up)


def test_details_vanish_where_pan_equals_its_low_pass() -> None:
    ms_up, pan, _ = images()
    ms_stream, guide_stream = network_streams(ms_up, pan, pan.expand(-1, 2, -1, -1), plain_statistics())
    assert not ms_stream[:, 2:6].any()
    assert not guide_stream[:, 1:].any()


def test_all_details_of_a_band_that_is_pan_are_the_same() -> None:
    # a band that equals the low-passed PAN in mean, spread and value gets pan - pan_low whole
    _, pan, pan_low = images()
    one = column(300)
    s = BandStatistics(one, column(25), one, column(30), one, column(25), column(1), column(1), column(1))
    ms_stream, _ = network_streams(pan_low, pan, pan_low, s)
    for detail in (2, 3):
        torch.testing.assert_close(ms_stream[:, detail], ms_stream[:, 1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("factor", [0.01, 30.0])
def test_unit_of_the_dn_does_not_matter(factor: float) -> None:
    ms_up, pan, pan_low = images()
    pan_low = pan_low.expand(-1, 2, -1, -1)
    s = plain_statistics()
    names = ("ms_mean", "ms_std", "pan_mean", "pan_std", "pan_low_mean", "pan_low_std")
    scaled = dataclasses.replace(s, **{name: factor * getattr(s, name) for name in names})
    expected = network_streams(ms_up, pan, pan_low, s)
    for got, stream in zip(
        network_streams(*(factor * x for x in (ms_up, pan, pan_low)), scaled), expected, strict=True
    ):
        torch.testing.assert_close(got, stream, atol=1e-4, rtol=1e-4)


def test_offset_of_pan_does_not_matter() -> None:
    ms_up, pan, pan_low = images()
    pan_low = pan_low.expand(-1, 2, -1, -1)
    s = plain_statistics()
    moved = dataclasses.replace(s, pan_mean=s.pan_mean + 500, pan_low_mean=s.pan_low_mean + 500)
    expected = network_streams(ms_up, pan, pan_low, s)
    for got, stream in zip(network_streams(ms_up, pan + 500, pan_low + 500, moved), expected, strict=True):
        torch.testing.assert_close(got, stream, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dn", [0.0, 1e6])
def test_dark_and_hot_pixels_stay_within_the_limit(dn: float) -> None:
    ms_up, pan, pan_low = images()
    pan[0, 0, 4, 4] = dn
    pan_low[0, 0, 4, 4] = 0
    ms_stream, guide_stream = network_streams(ms_up, pan, pan_low.expand(-1, 2, -1, -1), plain_statistics())
    assert bool(torch.isfinite(ms_stream).all())
    assert float(ms_stream[:, 2:].abs().max()) <= LIMIT
    assert float(guide_stream[:, 1:].abs().max()) <= LIMIT


def test_statistics_of_each_sample_are_its_own() -> None:
    ms_up, pan, pan_low = images()
    pan_low = pan_low.expand(-1, 2, -1, -1)
    s = plain_statistics()
    names = tuple(BandStatistics.__dataclass_fields__)
    pair = BandStatistics(*(torch.cat([getattr(s, name), getattr(s, name) * 1.5]) for name in names))
    other = BandStatistics(*(getattr(s, name) * 1.5 for name in names))
    together = network_streams(ms_up, pan, pan_low, pair)
    for i, own in enumerate((s, other)):
        alone = network_streams(ms_up[[i]], pan[[i]], pan_low[[i]], own)
        for got, stream in zip(together, alone, strict=True):
            torch.testing.assert_close(got[[i]], stream)
