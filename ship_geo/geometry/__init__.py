"""Where PAN and MS lie when their files do not say it on one map: camera models, and grids of different CRS.

Plans only: plain values go in, grids and `Warp` values come out, no pixel is read. Not for pairs whose transforms fit
already; `ship_geo.grids` relates those.
"""

from ship_geo.geometry.ortho import ortho_grids, ortho_warp, utm_zone
from ship_geo.geometry.reproject import reproject_warp
from ship_geo.geometry.sensor import SENSOR_TOLERANCE, SensorPair, sensor_pair

__all__ = [
    "SENSOR_TOLERANCE",
    "SensorPair",
    "ortho_grids",
    "ortho_warp",
    "reproject_warp",
    "sensor_pair",
    "utm_zone",
]
