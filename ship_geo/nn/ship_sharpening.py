"""SHIP's interactions for pan-sharpening: what SHIP++ is measured by.

The stages are those of the published network (`ship_geo.nn.ship`); streams, stems, head and skip are those of SHIP++,
so that the two differ in how the streams interact and in nothing else. Not the published network as a whole, whose
head predicts the image itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ship_geo.errors import ArgumentError
from ship_geo.nn.sharpener import Sharpener, SharpenerConfig
from ship_geo.nn.ship import ShipStage


@dataclass(frozen=True)
class ShipSharpeningConfig(SharpenerConfig):
    """Sizes of the network.

    Attributes
    ----------
    n_growth
        Growth of the dense blocks in the couplings, even; published with as many as there are features.
    """

    n_growth: int = 24

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        super().__post_init__()
        if self.n_growth < 1 or self.n_growth % 2:
            msg = f"the growth of dense blocks is positive and even, got {self}; correct n_growth"
            raise ArgumentError(msg)


class ShipSharpening(Sharpener):
    """Published stages between the stems and the head of SHIP++.

    Parameters
    ----------
    config
        Sizes.
    """

    config: ShipSharpeningConfig

    def __init__(self, config: ShipSharpeningConfig | None = None) -> None:
        config = config or ShipSharpeningConfig()
        super().__init__(config, lambda: _Stage(config))


class _Stage(nn.Module):
    """A published stage, past which the memory goes untouched."""

    def __init__(self, config: ShipSharpeningConfig) -> None:
        super().__init__()
        self.interaction = ShipStage(config)

    def forward(self, features: Tensor, guide: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features, guide = self.interaction(features, guide)
        return features, guide, memory
