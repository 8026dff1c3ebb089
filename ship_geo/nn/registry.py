"""The networks that a checkpoint can name.

To offer another network, add one line to `NETWORKS`: a frozen dataclass of plain values, and a module that takes it
and keeps it as ``config``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from ship_geo.nn.sharpener import Sharpener, SharpenerConfig
from ship_geo.nn.ship import Ship, ShipConfig
from ship_geo.nn.ship_plus_plus import ShipPlusPlus, ShipPlusPlusConfig
from ship_geo.nn.ship_sharpening import ShipSharpening, ShipSharpeningConfig

NetworkConfig: TypeAlias = ShipConfig | ShipPlusPlusConfig | ShipSharpeningConfig
Network: TypeAlias = Ship | ShipPlusPlus | ShipSharpening


class NetworkKind(NamedTuple):
    """Configuration class of a network, and the network's class."""

    config: type[NetworkConfig]
    network: type[Any]

    def build(self, config: NetworkConfig) -> Network:
        """Return a new network with random weights."""
        network: Network = self.network(config)
        return network


NETWORKS: Mapping[str, NetworkKind] = {
    "Ship": NetworkKind(ShipConfig, Ship),
    "ShipPlusPlus": NetworkKind(ShipPlusPlusConfig, ShipPlusPlus),
    "ShipSharpening": NetworkKind(ShipSharpeningConfig, ShipSharpening),
}


def build_sharpener(config: SharpenerConfig) -> Sharpener:
    """Return a new network of the kind that a configuration belongs to, with random weights."""
    kind = next(kind for kind in NETWORKS.values() if kind.config is type(config))
    network: Sharpener = kind.network(config)
    return network
