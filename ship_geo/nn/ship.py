"""SHIP: synergistic high-order interaction of two image streams, as published.

Source: N. Zheng, M. Zhou et al., "Probing Synergistic High-Order Interaction in Infrared and Visible Image Fusion",
CVPR 2024, and M. Zhou et al., "Probing Synergistic High-Order Interaction for Multi-Modal Image Fusion", IEEE TPAMI
47(2):840-857, 2025. The default configuration has the architecture and size of the released infrared-visible network
and reproduces its output from the released weights.

What could surprise: the Fourier product and the pooling reach over the whole tile, so the value of a pixel depends on
the tile it was computed in; there is no image-level skip, the network predicts the fused image itself.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol, Self

import torch
from torch import Tensor, nn

from ship_geo.errors import ArgumentError
from ship_geo.nn.blocks import ChannelLayerNorm, ChannelOffset, ConvPair, EdgeBlock, PixelMLP, conv1, conv3
from ship_geo.nn.coupling import Coupling
from ship_geo.nn.released import read_released

if TYPE_CHECKING:
    from pathlib import Path


# Legal values of each field: lowest, highest, and what it must be a multiple of. The highest values are far above
# anything useful; they keep a damaged configuration from asking for more memory than there is.
_LIMITS = {
    "n_band": (1, 64, 1),
    "n_pan": (1, 64, 1),
    "n_feature": (4, 256, 4),
    "n_stage": (1, 16, 1),
    "n_order": (1, 16, 1),
    "n_growth": (2, 256, 2),
}


@dataclass(frozen=True, slots=True)
class ShipConfig:
    """Size of a `Ship`; the defaults are the published network.

    Parameters
    ----------
    n_band : int
        Channels of the first stream and of the output: MS bands on the PAN grid, or 1 for the visible luma.
    n_pan : int
        Channels of the guiding stream, PAN or infrared.
    n_feature : int
        Features of each stream, a multiple of 4.
    n_stage : int
        Stages, each a spatial and a channel interaction.
    n_order : int
        Highest order of interaction within a stage.
    n_growth : int
        Growth of the dense blocks in the couplings, even.

    Raises
    ------
    ArgumentError
        When a value is no whole number or out of its limits.
    """

    n_band: int = 1
    n_pan: int = 1
    n_feature: int = 16
    n_stage: int = 3
    n_order: int = 4
    n_growth: int = 16

    def __post_init__(self) -> None:
        """Check every field."""
        for field in fields(self):
            low, high, step = _LIMITS[field.name]
            value = getattr(self, field.name)
            if type(value) is not int or not low <= value <= high or value % step:
                message = (
                    f"{field.name} must be a whole number from {low} to {high}, a multiple of {step}, got {value!r}; "
                    f"pass another {field.name}"
                )
                raise ArgumentError(message)


class Ship(nn.Module):
    """The published network: two stems, stages of spatial and channel interaction, one head.

    Parameters
    ----------
    config : ShipConfig, optional
        Sizes; the published ones when left out.
    """

    def __init__(self, config: ShipConfig | None = None) -> None:
        super().__init__()
        self.config = config = ShipConfig() if config is None else config
        self.ms_stem = _Stem(config.n_band, config.n_feature)
        self.pan_stem = _Stem(config.n_pan, config.n_feature)
        self.stages = nn.ModuleList(ShipStage(config) for _ in range(config.n_stage))
        self.head = _Head(config)

    def forward(self, ms_up: Tensor, pan: Tensor) -> Tensor:
        """Fuse two images of the same size.

        Parameters
        ----------
        ms_up : Tensor
            ``(n, n_band, row, col)``, MS on the PAN grid, or the visible luma in [0, 1].
        pan : Tensor
            ``(n, n_pan, row, col)``, PAN, or infrared in [0, 1].

        Returns
        -------
        Tensor
            Fused image ``(n, n_band, row, col)`` in the scale of `ms_up`.
        """
        ms_features, pan_features = self.ms_stem(ms_up), self.pan_stem(pan)
        seen: list[Tensor] = []
        for stage in self.stages:
            ms_features, pan_features = stage(ms_features, pan_features)
            seen.append(ms_features)
        fused: Tensor = self.head(torch.cat(seen, dim=1))
        return fused

    @classmethod
    def from_released(cls, path: str | Path) -> Self:
        """Build the published infrared-visible network from its released weights.

        Parameters
        ----------
        path : path
            Safetensors file with the tensor names of the authors' release.

        Returns
        -------
        Ship
            In evaluation mode, channels last: faster on CPUs, and its float32 convolutions round less.

        Raises
        ------
        CheckpointError
            When the file is missing, damaged, or holds other tensors.
        """
        config = ShipConfig()
        model = cls(config)
        shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        model.load_state_dict(read_released(path, shapes, n_stage=config.n_stage, n_order=config.n_order))
        return model.eval().to(memory_format=torch.channels_last)


class _Stem(nn.Module):
    """``conv1`` and two edge blocks."""

    def __init__(self, n_in: int, n_feature: int) -> None:
        super().__init__()
        self.enter = conv1(n_in, n_feature)
        self.edges = nn.Sequential(EdgeBlock(n_feature), EdgeBlock(n_feature))

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.edges(self.enter(image))
        return features


class StageSizes(Protocol):
    """What a stage needs to know of its network."""

    @property
    def n_feature(self) -> int:
        """Features of each stream."""

    @property
    def n_order(self) -> int:
        """Highest order of interaction."""

    @property
    def n_growth(self) -> int:
        """Growth of the dense blocks."""


class ShipStage(nn.Module):
    """Spatial, then channel interaction; the guiding stream leaves as the spatial interaction made it."""

    def __init__(self, config: StageSizes) -> None:
        super().__init__()
        self.spatial = _SpatialInteraction(config)
        self.channel = _ChannelInteraction(config)

    def forward(self, ms: Tensor, pan: Tensor) -> tuple[Tensor, Tensor]:
        """Return both streams after the stage, each ``(n, n_feature, row, col)``."""
        ms, pan = self.spatial(ms, pan)
        return self.channel(ms, pan), pan


class _SpatialInteraction(nn.Module):
    """Circular convolution of both streams, multiplied again and again by the evolving guiding stream.

    ``o_1 = LN_1(A) R_1``; ``R_{k+1} = D_k(R_k)``; ``o_{k+1} = LN_{k+1}(C_k(o_k)) R_{k+1}``, with ``A`` the circular
    convolution of V and R_1 in each channel. Out: ``o_K + V`` and ``R_K``.
    """

    def __init__(self, config: StageSizes) -> None:
        super().__init__()
        n_step = config.n_order - 1
        self.norms = nn.ModuleList(ChannelLayerNorm(config.n_feature) for _ in range(config.n_order))
        self.fused_steps = nn.ModuleList(ConvPair(config.n_feature) for _ in range(n_step))
        self.pan_steps = nn.ModuleList(ConvPair(config.n_feature) for _ in range(n_step))

    def forward(self, ms: Tensor, pan: Tensor) -> tuple[Tensor, Tensor]:
        fused = self.norms[0](convolve_circularly(ms, pan)) * pan
        for norm, fused_step, pan_step in zip(self.norms[1:], self.fused_steps, self.pan_steps, strict=True):
            pan = pan_step(pan)
            fused = norm(fused_step(fused)) * pan
        return fused + ms, pan


class _ChannelInteraction(nn.Module):
    """Both streams, gated per channel again and again: ``f_1 = F a_1``, ``f_{k+1} = E_k(f_k) a_{k+1}``.

    ``F = cat(V, R)``; ``a_1 = softmax(M_0(mean F))``, ``a_{k+1} = softmax(M_k(a_k))`` over the channels.
    """

    def __init__(self, config: StageSizes) -> None:
        super().__init__()
        n_feature, n_both = config.n_feature, 2 * config.n_feature
        self.gates = nn.ModuleList(PixelMLP(n_both, n_feature) for _ in range(config.n_order))
        self.steps = nn.ModuleList(ConvPair(n_both) for _ in range(config.n_order - 1))
        self.coupling = Coupling(n_both, config.n_growth)
        self.leave = conv1(n_both, n_feature)

    def forward(self, ms: Tensor, pan: Tensor) -> Tensor:
        both = torch.cat((ms, pan), dim=1)
        gate = self.gates[0](both.mean(dim=(-2, -1), keepdim=True)).softmax(dim=1)
        both = both * gate
        for mlp, step in zip(self.gates[1:], self.steps, strict=True):
            gate = mlp(gate).softmax(dim=1)
            both = step(both) * gate
        return torch.add(self.leave(self.coupling(both)), ms)


class _Head(nn.Module):
    """The features of all stages to the fused image."""

    def __init__(self, config: ShipConfig) -> None:
        super().__init__()
        n_feature, n_all = config.n_feature, config.n_stage * config.n_feature
        self.coupling = Coupling(n_all, config.n_growth)
        self.merge = conv1(n_all, n_feature)
        self.enter = conv3(n_feature, n_feature)
        self.offsets = nn.Sequential(ChannelOffset(n_feature), ChannelOffset(n_feature))
        self.leave = conv3(n_feature, config.n_band)

    def forward(self, features: Tensor) -> Tensor:
        image: Tensor = self.leave(self.offsets(self.enter(self.merge(self.coupling(features)))))
        return image


def convolve_circularly(first: Tensor, second: Tensor) -> Tensor:
    """Convolve two tensors channel by channel over the torus of their pixels, ``irfft2(rfft2(a) rfft2(b))``.

    Parameters
    ----------
    first, second : Tensor
        ``(..., row, col)`` of the same shape, any parity.

    Returns
    -------
    Tensor
        Same shape, in float32 at least: half precision has no transform and too little range for the sum.
    """
    dtype = torch.promote_types(first.dtype, torch.float32)
    spectrum = torch.fft.rfft2(first.to(dtype)) * torch.fft.rfft2(second.to(dtype))
    product: Tensor = torch.fft.irfft2(spectrum, s=first.shape[-2:])
    return product
