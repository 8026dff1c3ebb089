"""What every network for sharpening shares: two stems, stages of any kind, one head and the skip.

Networks that differ in their stages alone can be compared. The convention that could surprise: the first `n_band`
channels of the first stream are the skip, so a network returns them plus a residual, and an untrained one returns them
unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ship_geo.errors import ArgumentError
from ship_geo.nn.blocks import ConvPair, conv3, join


@dataclass(frozen=True)
class SharpenerConfig:
    """Sizes of a network.

    Attributes
    ----------
    n_band
        Bands of the output, and of the skip: 4 for a group of MS bands, 1 for the luminance of a visible image.
    n_in
        Channels of the sharpened stream; its first `n_band` are the skip.
    n_guide
        Channels of the guiding stream: PAN and its details, or infrared.
    n_feature, n_order, n_stage
        Features per stream, order of the interactions, stages.
    """

    n_band: int = 4
    n_in: int = 24
    n_guide: int = 3
    n_feature: int = 24
    n_order: int = 3
    n_stage: int = 2

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        sizes = (self.n_band, self.n_in, self.n_guide, self.n_feature, self.n_order, self.n_stage)
        if min(sizes) < 1 or self.n_in < self.n_band:
            msg = f"sizes of a network are positive and n_in >= n_band, got {self}; correct the config"
            raise ArgumentError(msg)


class Sharpener(nn.Module):
    """Stems, stages, head and skip.

    Parameters
    ----------
    config
        Sizes.
    make_stage
        Builds a stage: features, guide and memory, each (n, feature, row, col), in and out.
    """

    config: SharpenerConfig

    def __init__(self, config: SharpenerConfig, make_stage: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.config = config
        n = config.n_feature
        self.stem = ConvPair(config.n_in, n)
        self.guide_stem = ConvPair(config.n_guide, n)
        self.stages = nn.ModuleList(make_stage() for _ in range(config.n_stage))
        self.head = conv3(n, n)
        self.out = conv3(n + config.n_in + config.n_guide, config.n_band)
        nn.init.zeros_(self.out.weight)
        if self.out.bias is not None:
            nn.init.zeros_(self.out.bias)

    def forward(self, ms_stream: Tensor, guide_stream: Tensor) -> Tensor:
        """Fuse two streams of one window.

        Parameters
        ----------
        ms_stream
            (n, n_in, row, col), standardised; the first `n_band` channels are the image to be sharpened.
        guide_stream
            (n, n_guide, row, col), standardised.

        Returns
        -------
        torch.Tensor
            (n, n_band, row, col), standardised.
        """
        features, guide = self.stem(ms_stream), self.guide_stem(guide_stream)
        memory = torch.zeros_like(features)
        for stage in self.stages:
            features, guide, memory = stage(features, guide, memory)
        features = torch.relu(self.head(features + memory))
        residual = self.out(join([features, ms_stream, guide_stream]))
        fused: Tensor = ms_stream[:, : self.config.n_band] + residual
        return fused
