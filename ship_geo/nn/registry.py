"""The networks that a checkpoint can name.

To offer another network, add one line to `NETWORKS`: a frozen dataclass of plain values, and a module that takes it
and keeps it as ``config``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from ship_geo.nn.ship import Ship, ShipConfig
from ship_geo.nn.ship_plus_plus import ShipPlusPlus, ShipPlusPlusConfig

NetworkConfig: TypeAlias = ShipConfig | ShipPlusPlusConfig
Network: TypeAlias = Ship | ShipPlusPlus


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
}
