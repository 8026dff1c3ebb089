"""Networks: SHIP as published, SHIP++, and what they are made of.

Tensor code only: nothing here knows of files of imagery, coordinates or sensors. Weights on disk are the business of
``nn.checkpoint`` and ``nn.weights``.
"""

from __future__ import annotations

from ship_geo.nn.ship import Ship, ShipConfig
from ship_geo.nn.ship_plus_plus import ShipPlusPlus, ShipPlusPlusConfig
from ship_geo.nn.ship_sharpening import ShipSharpening, ShipSharpeningConfig

__all__ = ["Ship", "ShipConfig", "ShipPlusPlus", "ShipPlusPlusConfig", "ShipSharpening", "ShipSharpeningConfig"]
