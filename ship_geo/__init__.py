"""Pan-sharpening of real satellite scenes with SHIP++.

A PAN and MS pair goes in, a raster on the PAN grid with the same CRS, metadata and value range comes out.

The convention that could surprise: names resolve when they are first used (PEP 562), so that importing the package
costs nothing; torch, torchgeo and the like load with the first function that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ship_geo.api import assess, find_scenes, open_scene, pansharpen, pansharpen_scene, quality
    from ship_geo.assessment import Assessment
    from ship_geo.errors import (
        ArgumentError,
        CheckpointError,
        GridError,
        OutputError,
        ProductError,
        ShipGeoError,
    )
    from ship_geo.nn import Ship, ShipPlusPlus
    from ship_geo.nn.weights import ShipPlusPlus_Weights
    from ship_geo.scene import Scene
    from ship_geo.sensors import Sensor, find_sensor

    __version__: str

_MODULE_OF = {
    "ArgumentError": "ship_geo.errors",
    "Assessment": "ship_geo.assessment",
    "CheckpointError": "ship_geo.errors",
    "GridError": "ship_geo.errors",
    "OutputError": "ship_geo.errors",
    "ProductError": "ship_geo.errors",
    "Scene": "ship_geo.scene",
    "Sensor": "ship_geo.sensors",
    "Ship": "ship_geo.nn",
    "ShipGeoError": "ship_geo.errors",
    "ShipPlusPlus": "ship_geo.nn",
    "ShipPlusPlus_Weights": "ship_geo.nn.weights",
    "assess": "ship_geo.api",
    "find_scenes": "ship_geo.api",
    "find_sensor": "ship_geo.sensors",
    "open_scene": "ship_geo.api",
    "pansharpen": "ship_geo.api",
    "pansharpen_scene": "ship_geo.api",
    "quality": "ship_geo.api",
}

__all__ = [
    "ArgumentError",
    "Assessment",
    "CheckpointError",
    "GridError",
    "OutputError",
    "ProductError",
    "Scene",
    "Sensor",
    "Ship",
    "ShipGeoError",
    "ShipPlusPlus",
    "ShipPlusPlus_Weights",
    "__version__",
    "assess",
    "find_scenes",
    "find_sensor",
    "open_scene",
    "pansharpen",
    "pansharpen_scene",
    "quality",
]


def _installed_version() -> str:
    """Version of the installed distribution; ``0+unknown`` in a checkout that was never installed."""
    from importlib import metadata  # costs more than the rest of the package's import

    try:
        return metadata.version("ship-geo")
    except metadata.PackageNotFoundError:
        return "0+unknown"


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = _installed_version()
    elif name in _MODULE_OF:
        value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    else:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
