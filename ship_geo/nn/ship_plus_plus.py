"""SHIP++: high-order spatial and channel interaction with evolving attention, integrated orders and a residual memory.

Source: M. Zhou et al., "Probing Synergistic High-Order Interaction for Multi-Modal Image Fusion", IEEE TPAMI 47(2),
2025, of which only the abstract describes SHIP++. This is our definition of its three mechanisms, each switchable:

1. *cross-order attention evolving* (``evolve``): the attention of order k + 1 grows out of the attention of order k;
2. *cross-order information integration* (``integrate``): every order contributes to the output, not the last alone;
3. *residual information memorizing* (``memorise``): a memory runs along the stages beside the features.

Not here: stems, head and skip, which every network for sharpening shares (`ship_geo.nn.sharpener`). Fourier products
see the whole window, hence a network is used with one window size only (see `ship_geo.tiling`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ship_geo.nn.blocks import ChannelLayerNorm, conv1, conv3, join
from ship_geo.nn.sharpener import Sharpener, SharpenerConfig


@dataclass(frozen=True)
class ShipPlusPlusConfig(SharpenerConfig):
    """Everything that defines a SHIP++ network: the sizes of `SharpenerConfig` and three switches.

    Attributes
    ----------
    evolve, integrate, memorise
        Switches of the three mechanisms.
    """

    evolve: bool = True
    integrate: bool = True
    memorise: bool = True

    @classmethod
    def infrared_visible(cls, **changes: int | bool) -> ShipPlusPlusConfig:
        """Config for fusing the luminance of a visible image with an infrared image."""
        return cls(**{"n_band": 1, "n_in": 1, "n_guide": 1, **changes})  # type: ignore[arg-type]


def correlate(features: Tensor, guide: Tensor) -> Tensor:
    """Circular cross-correlation per channel, tapered to the window's border.

    Parameters
    ----------
    features, guide
        (n, feature, row, col).

    Returns
    -------
    torch.Tensor
        (n, feature, row, col) float32, irfft2(rfft2(features) * conj(rfft2(guide))) with orthonormal transforms, so
        that the scale does not depend on the window.
    """
    size = features.shape[-2:]
    rows, cols = (torch.hann_window(n + 2, periodic=False, device=features.device)[1:-1].sqrt() for n in size)
    taper = rows[:, None] * cols
    with torch.autocast(features.device.type, enabled=False):
        # Contiguous: transforms of channels-last tensors take a third longer.
        one, other = (torch.fft.rfft2((part.float() * taper).contiguous(), norm="ortho") for part in (features, guide))
        correlation: Tensor = torch.fft.irfft2(one * other.conj(), s=size, norm="ortho")
    return correlation


class SpatialInteraction(nn.Module):
    """o_1 = A_1 R_1, o_{k+1} = A_{k+1} C_k(o_k) R_{k+1}, R_{k+1} = R_k + D_k(R_k).

    A_1 = LN(correlation of the projected streams), A_{k+1} = LN(A_k + phi_k(A_k)). Without `evolve` the attention is
    made anew from the features: LN(C_k(o_k)) stands for A_{k+1} C_k(o_k). Without `integrate` only o_K leaves.
    """

    def __init__(self, config: ShipPlusPlusConfig) -> None:
        super().__init__()
        n, higher = config.n_feature, range(config.n_order - 1)
        self.project_features = conv1(n, n)
        self.project_guide = conv1(n, n)
        self.first_norm = _gate_norm(n)
        self.step = nn.ModuleList(conv3(n, n) for _ in higher)
        self.evolve = nn.ModuleList(conv1(n, n) for _ in higher) if config.evolve else None
        self.norm = nn.ModuleList(_gate_norm(n) if config.evolve else ChannelLayerNorm(n) for _ in higher)
        self.guide_step = nn.ModuleList(conv3(n, n) for _ in higher)
        self.integrate = config.integrate
        self.out = conv1(n * (config.n_order if config.integrate else 1), n)

    def forward(self, features: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
        """Return the interaction to add to the features, and the guide of the last order; (n, feature, row, col)."""
        correlation = correlate(self.project_features(features), self.project_guide(guide))
        attention = self.first_norm(_like(correlation, features))
        orders = [attention * guide]
        for k, (step, norm, guide_step) in enumerate(zip(self.step, self.norm, self.guide_step, strict=True)):
            guide = guide + guide_step(torch.relu(guide))
            moved = step(orders[-1])
            if self.evolve is None:
                moved = norm(moved)
            else:
                attention = norm(attention + torch.relu(self.evolve[k](attention)))
                moved = moved * attention
            orders.append(moved * guide)
        return self.out(join(orders) if self.integrate else orders[-1]), guide


class ChannelInteraction(nn.Module):
    """f_1 = P(F) a_1, f_{k+1} = E_k(f_k) a_{k+1}, over both streams F.

    a_1 = sigmoid(W_0 mean(F)), a_{k+1} = sigmoid(W_k a_k) with `evolve`, else sigmoid(W_k mean(E_k(f_k))). P joins the
    streams by a 1 x 1 convolution; E_k is a 3 x 3 convolution per channel, then a 1 x 1 convolution across them.
    """

    def __init__(self, config: ShipPlusPlusConfig) -> None:
        super().__init__()
        n, higher = config.n_feature, range(config.n_order - 1)
        self.join = conv1(2 * n, n)
        self.gate = nn.ModuleList(nn.Linear(2 * n if k == 0 else n, n) for k in range(config.n_order))
        self.step = nn.ModuleList(
            nn.Sequential(nn.Conv2d(n, n, 3, padding=1, groups=n), nn.ReLU(), conv1(n, n)) for _ in higher
        )
        self.evolve = config.evolve
        self.out = conv1(n * (config.n_order if config.integrate else 1), n)
        self.integrate = config.integrate

    def forward(self, features: Tensor, guide: Tensor) -> Tensor:
        """Return the interaction to add to the features, (n, feature, row, col)."""
        both = join([features, guide])
        attention = torch.sigmoid(self.gate[0](both.mean((-2, -1))))
        orders = [self.join(both) * attention[..., None, None]]
        for step, gate in zip(self.step, self.gate[1:], strict=True):
            moved = step(orders[-1])
            attention = torch.sigmoid(gate(attention if self.evolve else moved.mean((-2, -1))))
            orders.append(moved * attention[..., None, None])
        out: Tensor = self.out(join(orders) if self.integrate else orders[-1])
        return out


class Stage(nn.Module):
    """Spatial, then channel interaction, with a memory m <- m + u(stage output) beside the features V.

    The spatial interaction reads LN(V + m); what it gives is added to V itself, so no norm lies between the first
    features and the head. Interactions and memory begin at zero: an untrained stage changes nothing.
    """

    def __init__(self, config: ShipPlusPlusConfig) -> None:
        super().__init__()
        n = config.n_feature
        self.spatial = SpatialInteraction(config)
        self.channel = ChannelInteraction(config)
        self.recall = ChannelLayerNorm(n) if config.memorise else None
        self.memorise = conv1(n, n) if config.memorise else None
        for last in (self.spatial.out, self.channel.out, self.memorise):
            if last is not None:
                _begin_at_zero(last)

    def forward(self, features: Tensor, guide: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return features, guide and memory after the stage, each (n, feature, row, col)."""
        seen = features if self.recall is None else self.recall(features + memory)
        interaction, guide = self.spatial(seen, guide)
        features = features + interaction
        features = features + self.channel(features, guide)
        if self.memorise is not None:
            memory = memory + self.memorise(features)
        return features, guide, memory


class ShipPlusPlus(Sharpener):
    """SHIP++ for any pair of streams: pan-sharpening or infrared-visible fusion.

    Parameters
    ----------
    config
        Sizes and switches; the default is the shipped pan-sharpening network.
    """

    config: ShipPlusPlusConfig

    def __init__(self, config: ShipPlusPlusConfig | None = None) -> None:
        config = config or ShipPlusPlusConfig()
        super().__init__(config, lambda: Stage(config))


def _gate_norm(n: int) -> ChannelLayerNorm:
    """Layer norm that starts near one: an attention which opens before it selects."""
    norm = ChannelLayerNorm(n)
    nn.init.constant_(norm.weight, 0.1)
    nn.init.ones_(norm.bias)
    return norm


def _begin_at_zero(layer: nn.Conv2d) -> None:
    """Let a layer give nothing until it has learnt."""
    for values in layer.parameters():
        nn.init.zeros_(values)


def _like(values: Tensor, other: Tensor) -> Tensor:
    """`values` in the dtype of `other`, channels last as the convolutions around it."""
    return values.to(other.dtype).contiguous(memory_format=torch.channels_last)
