"""The mixing step of an invertible network, used forward only: an invertible 1 x 1 convolution and an affine coupling.

Not a normalising flow: neither the inverse nor the log-determinant is needed for fusion, so neither is offered. The
sources are Kingma and Dhariwal (Glow, NeurIPS 2018, section 3.2: ``W = P L U``) and Dinh et al. (Real NVP, ICLR 2017).

What could surprise: of `lower` and `upper` only the strict triangles are read; the other entries are stored with the
weights and count as parameters, as in the published network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ship_geo.nn.blocks import DenseBlock

_CLAMP = 0.8  # the log-scale of the coupling stays within plus and minus this


class InvertibleMix(nn.Module):
    """1 x 1 convolution with the weight ``W = P L (U + diag(sign exp(log_s)))``, invertible for all parameters.

    ``P`` is a fixed permutation, ``L`` unit-lower and ``U`` strictly upper triangular; a new layer is a random
    rotation.

    Parameters
    ----------
    n_channel : int
        Channels of input and output.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, n_channel: int) -> None:
        super().__init__()
        rotation, _ = torch.linalg.qr(torch.randn(n_channel, n_channel))
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", diagonal.sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_scale = nn.Parameter(diagonal.abs().log())

    def matrix(self) -> Tensor:
        """Return ``W``, shape ``(channel, channel)``, in the precision of the parameters even under autocast."""
        with torch.autocast(self.lower.device.type, enabled=False):
            lower = self.lower.tril(-1) + torch.eye(len(self.lower)).to(self.lower)
            upper = self.upper.triu(1) + torch.diag(self.sign * self.log_scale.exp())
            return self.permutation @ (lower @ upper)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the channels of ``(n, channel, row, col)``."""
        return functional.conv2d(x, self.matrix()[:, :, None, None])


class Coupling(nn.Module):
    """Invertible mix, then an affine coupling of its two halves; ``n_channel`` channels in and out.

    ``x1, x2 = halves(W x)``; ``y1 = x1 + f(x2)``; ``s = 0.8 (2 sigmoid(h(y1)) - 1)``; ``y2 = x2 exp(s) + g(y1)``,
    with `DenseBlock` for f, g and h.

    Parameters
    ----------
    n_channel : int
        Channels of input and output, even.
    n_growth : int
        Growth of the dense blocks, even.
    """

    def __init__(self, n_channel: int, n_growth: int = 16) -> None:
        super().__init__()
        self.mix = InvertibleMix(n_channel)
        self.f = DenseBlock(n_channel // 2, n_growth)
        self.g = DenseBlock(n_channel // 2, n_growth)
        self.h = DenseBlock(n_channel // 2, n_growth)

    def forward(self, x: Tensor) -> Tensor:
        """Couple the channels of ``(n, channel, row, col)``."""
        first, second = self.mix(x).chunk(2, dim=1)
        shifted = first + self.f(second)
        log_scale = _CLAMP * (2.0 * torch.sigmoid(self.h(shifted)) - 1.0)
        scaled = second * log_scale.exp() + self.g(shifted)
        return torch.cat((shifted, scaled), dim=1)
