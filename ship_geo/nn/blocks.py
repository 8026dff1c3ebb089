"""Layers that the fusion networks share: normalisation, convolution pairs, central differences, gates, dense blocks.

Not here: the invertible coupling (``nn.coupling``) and the networks themselves (``nn.ship``, ``nn.ship_plus_plus``).

Convention: tensors are ``(n, channel, row, col)``; convolutions have a bias, zero padding and stride 1 unless a class
says otherwise; a layer keeps rows and columns. No layer writes an attribute while it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Stencil = Literal["plus", "diagonal"]

# Taps of a 3 x 3 kernel in row-major order (0 = north-west, 4 = centre, 8 = south-east).
_STENCIL_TAPS: dict[Stencil, tuple[int, ...]] = {"plus": (1, 3, 4, 5, 7), "diagonal": (0, 2, 4, 6, 8)}
_CENTRE_TAP = 4


def conv3(n_in: int, n_out: int) -> nn.Conv2d:
    """Return a 3 x 3 convolution with bias and zero padding."""
    return nn.Conv2d(n_in, n_out, 3, padding=1)


def conv1(n_in: int, n_out: int) -> nn.Conv2d:
    """Return a 1 x 1 convolution with bias."""
    return nn.Conv2d(n_in, n_out, 1)


def join(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate ``(n, channel, row, col)`` along the channels.

    Channels-last tensors are joined along the last axis of their memory, which on CPUs is three times as fast.
    """
    if all(part.is_contiguous(memory_format=torch.channels_last) for part in parts):
        return torch.cat([part.permute(0, 2, 3, 1) for part in parts], -1).permute(0, 3, 1, 2)
    return torch.cat(tuple(parts), 1)


class ChannelLayerNorm(nn.Module):
    """Layer normalisation over the channels of each pixel, with one gain and one offset per channel.

    ``y = (x - mean_c x) / sqrt(var_c x + eps) * weight + bias`` (Ba et al., 2016), the variance being the biased one.
    On channels-last tensors the two permutations are views and nothing is copied.

    Parameters
    ----------
    n_feature : int
        Channels of the input.
    eps : float
        Added to the variance.
    """

    def __init__(self, n_feature: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(n_feature))
        self.bias = nn.Parameter(torch.zeros(n_feature))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(n, channel, row, col)``."""
        last = x.permute(0, 2, 3, 1)
        return functional.layer_norm(last, self.weight.shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class ConvPair(nn.Sequential):
    """``conv3(relu(conv3(x)))``; children ``0`` and ``2`` hold the weights.

    Parameters
    ----------
    n_in : int
        Channels of the input.
    n_out : int, optional
        Channels of the output, `n_in` when left out.
    n_hidden : int, optional
        Channels between the two convolutions, `n_out` when left out.
    """

    def __init__(self, n_in: int, n_out: int | None = None, n_hidden: int | None = None) -> None:
        n_out = n_in if n_out is None else n_out
        n_hidden = n_out if n_hidden is None else n_hidden
        super().__init__(conv3(n_in, n_hidden), nn.ReLU(), conv3(n_hidden, n_out))


class PixelMLP(nn.Sequential):
    """``conv1(relu(conv1(x)))``, a two-layer perceptron at each pixel; children ``0`` and ``2`` hold the weights.

    Parameters
    ----------
    n_feature : int
        Channels of input and output.
    n_hidden : int
        Channels between.
    """

    def __init__(self, n_feature: int, n_hidden: int) -> None:
        super().__init__(conv1(n_feature, n_hidden), nn.ReLU(), conv1(n_hidden, n_feature))


class CentralDifference(nn.Module):
    """Bias-free 3 x 3 convolution on five taps, minus a share of the same taps applied to the centre pixel.

    ``y(p) = sum_k w_k x(p + k) - theta x(p) sum_k w_k`` (Yu et al., CVPR 2020, eq. 3). A constant image ``c`` gives
    ``(1 - theta) c sum w`` away from the border; a linear ramp additionally gives its slope times ``sum_k w_k k``.

    Parameters
    ----------
    n_feature : int
        Channels of input and output.
    stencil : {"plus", "diagonal"}
        Taps N, W, C, E, S or NW, NE, C, SW, SE, in this order in `weight`, whose shape is ``(n, n, 5)``.
    theta : float
        Share of the central difference, 0 for a plain convolution and 1 for a pure difference.
    """

    placement: Tensor

    def __init__(self, n_feature: int, stencil: Stencil, theta: float = 0.8) -> None:
        super().__init__()
        taps = _STENCIL_TAPS[stencil]
        self.weight = nn.Parameter(torch.empty(n_feature, n_feature, len(taps)))
        bound = (n_feature * len(taps)) ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        placement = torch.zeros(len(taps), 9)
        placement[torch.arange(len(taps)), list(taps)] = 1.0
        placement[:, _CENTRE_TAP] -= theta
        self.register_buffer("placement", placement, persistent=False)

    def kernel(self) -> Tensor:
        """Return the equivalent 3 x 3 kernel ``(n_out, n_in, 3, 3)``, the difference folded into its centre."""
        # A sum, not a matrix product: autocast would round a product to bfloat16.
        taps = (self.weight.unsqueeze(-1) * self.placement).sum(-2)
        return taps.reshape(*taps.shape[:2], 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(n, channel, row, col)``."""
        return functional.conv2d(x, self.kernel(), padding=1)


class CrossDifference(nn.Module):
    """Blend of plus and diagonal central differences on top of the input, ``s h(x) + (1 - s) d(x) + x``.

    ``s`` is the sigmoid of one learned scalar that starts at 0, an equal blend. Both kernels are blended before the
    one convolution that is run.

    Parameters
    ----------
    n_feature : int
        Channels of input and output.
    """

    def __init__(self, n_feature: int) -> None:
        super().__init__()
        self.plus = CentralDifference(n_feature, "plus")
        self.diagonal = CentralDifference(n_feature, "diagonal")
        self.blend = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Filter ``(n, channel, row, col)``."""
        share = torch.sigmoid(self.blend)
        kernel = share * self.plus.kernel() + (1.0 - share) * self.diagonal.kernel()
        return functional.conv2d(x, kernel, padding=1) + x


class EdgeBlock(nn.Module):
    """Convolution, then a convolution pair beside a `CrossDifference`: ``u = conv3(x); pair(u) + cross(u)``.

    Parameters
    ----------
    n_feature : int
        Channels of input and output.
    """

    def __init__(self, n_feature: int) -> None:
        super().__init__()
        self.enter = conv3(n_feature, n_feature)
        self.pair = ConvPair(n_feature)
        self.cross = CrossDifference(n_feature)

    def forward(self, x: Tensor) -> Tensor:
        """Filter ``(n, channel, row, col)``."""
        entered = self.enter(x)
        return torch.add(self.pair(entered), self.cross(entered))


class ChannelOffset(nn.Module):
    """Add a gated vector, pooled from the whole tile, to every pixel: ``x + y sigmoid(mlp(y))``, ``y = mean(pair(x))``.

    Parameters
    ----------
    n_feature : int
        Channels of input and output, a multiple of `reduction`.
    reduction : int
        Narrowing of the gate's hidden layer.
    """

    def __init__(self, n_feature: int, reduction: int = 4) -> None:
        super().__init__()
        self.pair = ConvPair(n_feature)
        self.gate = PixelMLP(n_feature, n_feature // reduction)

    def forward(self, x: Tensor) -> Tensor:
        """Shift ``(n, channel, row, col)``."""
        pooled = self.pair(x).mean(dim=(-2, -1), keepdim=True)
        return torch.add(x, pooled * torch.sigmoid(self.gate(pooled)))


class HalfInstanceBlock(nn.Module):
    """Residual pair of convolutions whose first half of channels is instance-normalised in between (Chen et al., 2021).

    ``u = conv3(x)``; half of ``u`` through an affine InstanceNorm; ``lrelu(conv3(lrelu(u))) + conv1(x)``, slope 0.1.

    Parameters
    ----------
    n_in : int
        Channels of the input.
    n_out : int
        Channels of the output, even.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.enter = conv3(n_in, n_out)
        self.norm = nn.InstanceNorm2d(n_out // 2, affine=True)
        self.leave = conv3(n_out, n_out)
        self.skip = conv1(n_in, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Filter ``(n, channel, row, col)``; a tile must have more than one pixel."""
        first, second = self.enter(x).chunk(2, dim=1)
        hidden = functional.leaky_relu(torch.cat((self.norm(first), second), dim=1), 0.1)
        return torch.add(functional.leaky_relu(self.leave(hidden), 0.1), self.skip(x))


class DenseBlock(nn.Module):
    """Two `HalfInstanceBlock` and a convolution of everything so far, ``lrelu(conv3(cat(x, u1, u2)))``, slope 0.2.

    Parameters
    ----------
    n_feature : int
        Channels of input and output.
    n_growth : int
        Channels of each inner block, even.
    """

    def __init__(self, n_feature: int, n_growth: int = 16) -> None:
        super().__init__()
        self.grow = nn.ModuleList([HalfInstanceBlock(n_feature, n_growth), HalfInstanceBlock(n_growth, n_growth)])
        self.merge = conv3(n_feature + 2 * n_growth, n_feature)

    def forward(self, x: Tensor) -> Tensor:
        """Filter ``(n, channel, row, col)``."""
        seen = [x]
        for block in self.grow:
            seen.append(functional.leaky_relu(block(seen[-1]), 0.2))
        return functional.leaky_relu(self.merge(torch.cat(seen, dim=1)), 0.2)
