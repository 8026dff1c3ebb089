from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ship_geo.nn.blocks import (
    CentralDifference,
    ChannelLayerNorm,
    ChannelOffset,
    ConvPair,
    CrossDifference,
    DenseBlock,
    EdgeBlock,
    HalfInstanceBlock,
    PixelMLP,
    join,
)

OFFSETS = {
    "plus": [(-1, 0), (0, -1), (0, 0), (0, 1), (1, 0)],
    "diagonal": [(-1, -1), (-1, 1), (0, 0), (1, -1), (1, 1)],
}


def random_tensor(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


def randomise(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(11)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return module


@pytest.mark.parametrize("layouts", [(True, True), (False, True), (False, False)])
def test_join_puts_channels_one_after_the_other_in_any_memory_layout(layouts: tuple[bool, bool]) -> None:
    parts = [random_tensor(2, n, 3, 4) for n in (2, 5)]
    formats = [torch.channels_last if last else torch.contiguous_format for last in layouts]
    joined = join([part.contiguous(memory_format=kind) for part, kind in zip(parts, formats, strict=True)])
    assert joined.shape == (2, 7, 3, 4)
    assert torch.equal(joined[:, :2], parts[0])
    assert torch.equal(joined[:, 2:], parts[1])
    assert joined.is_contiguous(memory_format=formats[0])


def test_channel_layer_norm_equals_a_loop_over_pixels() -> None:
    norm = randomise(ChannelLayerNorm(5, eps=1e-3))
    x = random_tensor(2, 5, 3, 4)
    expected = np.empty(x.shape)
    for n, row, col in np.ndindex(2, 3, 4):
        pixel = x[n, :, row, col].double().numpy()
        scaled = (pixel - pixel.mean()) / np.sqrt(pixel.var() + 1e-3)
        expected[n, :, row, col] = scaled * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    np.testing.assert_allclose(norm(x).detach().numpy(), expected, atol=1e-6)


def test_channel_layer_norm_ignores_scale_and_offset_of_a_pixel() -> None:
    norm = ChannelLayerNorm(8, eps=0.0)
    x = random_tensor(1, 8, 4, 4)
    torch.testing.assert_close(norm(3.0 * x + 100.0), norm(x), atol=1e-4, rtol=0.0)


def test_channel_layer_norm_keeps_channels_last() -> None:
    x = random_tensor(1, 6, 4, 5).contiguous(memory_format=torch.channels_last)
    assert ChannelLayerNorm(6)(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("stencil", ["plus", "diagonal"])
@pytest.mark.parametrize("theta", [0.0, 0.8, 1.0])
def test_central_difference_of_a_plane_has_its_closed_form(stencil: str, theta: float) -> None:
    layer = randomise(CentralDifference(3, stencil, theta=theta)).double()
    rows, cols = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    level, row_slope, col_slope = (torch.tensor(v, dtype=torch.float64) for v in ([1, -2, 3], [0, 0.5, -1], [2, 1, 0]))
    plane = (level[:, None, None] + row_slope[:, None, None] * rows + col_slope[:, None, None] * cols)[None]
    weight = layer.weight.double()
    moments = torch.tensor(OFFSETS[stencil], dtype=torch.float64)
    level_term = (1.0 - theta) * torch.einsum("oik,irc->orc", weight, plane[0])
    slopes = torch.stack((row_slope, col_slope), -1)
    slope_term = torch.einsum("oik,kd,id->o", weight, moments, slopes)
    expected = level_term + slope_term[:, None, None]
    torch.testing.assert_close(layer(plane)[0, :, 1:-1, 1:-1], expected[:, 1:-1, 1:-1])


def test_pure_central_difference_does_not_see_a_constant() -> None:
    layer = randomise(CentralDifference(2, "plus", theta=1.0))
    assert layer(torch.full((1, 2, 5, 5), 9.0))[..., 1:-1, 1:-1].abs().max() < 1e-5


def test_central_difference_keeps_float32_weights_under_autocast() -> None:
    layer = randomise(CentralDifference(4, "plus"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer.kernel(), CentralDifference.kernel(layer))
        assert layer.kernel().dtype == torch.float32


@pytest.mark.parametrize("blend", [-30.0, 0.0, 30.0])
def test_cross_difference_blends_its_two_stencils(blend: float) -> None:
    layer = randomise(CrossDifference(3))
    nn.init.constant_(layer.blend, blend)
    x = random_tensor(1, 3, 5, 6)
    share = 1.0 / (1.0 + np.exp(-blend))
    torch.testing.assert_close(layer(x), share * layer.plus(x) + (1 - share) * layer.diagonal(x) + x)


def test_cross_difference_starts_as_an_equal_blend() -> None:
    assert CrossDifference(2).blend.item() == 0.0


def test_edge_block_with_silent_pair_is_the_cross_difference_of_its_entry() -> None:
    block = EdgeBlock(4)
    for parameter in block.pair[2].parameters():
        nn.init.zeros_(parameter)
    x = random_tensor(1, 4, 5, 5)
    torch.testing.assert_close(block(x), block.cross(block.enter(x)))


def test_channel_offset_adds_the_same_vector_to_every_pixel() -> None:
    x = random_tensor(2, 8, 5, 6)
    offset = ChannelOffset(8)(x) - x
    torch.testing.assert_close(offset, offset[..., :1, :1].expand_as(offset), atol=1e-6, rtol=0.0)
    assert offset.abs().max() > 0.0


def test_half_instance_block_ignores_the_contrast_of_the_first_half() -> None:
    block = HalfInstanceBlock(3, 4)
    x = random_tensor(1, 3, 8, 8)
    plain = block(x) - block.skip(x)
    with torch.no_grad():
        block.enter.weight[:2] *= 50.0
        block.enter.bias[:2] *= 50.0
    torch.testing.assert_close(block(x) - block.skip(x), plain, atol=1e-3, rtol=0.0)


@pytest.mark.parametrize("size", [(2, 2), (7, 5), (8, 16)])
@pytest.mark.parametrize(
    "block",
    [ConvPair(4), PixelMLP(4, 2), EdgeBlock(4), ChannelOffset(4), DenseBlock(4, 6)],
    ids=lambda b: type(b).__name__,
)
def test_blocks_keep_the_shape(block: nn.Module, size: tuple[int, int]) -> None:
    assert block(random_tensor(2, 4, *size)).shape == (2, 4, *size)


def test_conv_pair_changes_the_channels_as_asked() -> None:
    pair = ConvPair(3, 5, n_hidden=7)
    assert pair(random_tensor(1, 3, 4, 4)).shape == (1, 5, 4, 4)
    assert pair[0].out_channels == 7
