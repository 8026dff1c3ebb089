"""From DN to physical values: the coefficients that vendors publish, and the arithmetic that combines them.

For facts and plain numbers: nothing here opens a file or touches a pixel. Readers bring what the metadata say, and a
`Calibration` holds one gain and one offset for each band in file order. The convention that could surprise: gain and
offset are always meant as ``value = gain * DN + offset``, whatever form the vendor uses.
"""

from __future__ import annotations

from ship_geo.calibration.values import KINDS, Calibration, sun_distance
from ship_geo.calibration.vendors import dimap, gaofen, landsat, worldview

__all__ = ["KINDS", "Calibration", "dimap", "gaofen", "landsat", "sun_distance", "worldview"]
