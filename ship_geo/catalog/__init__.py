"""Which scenes lie below a folder: one row each, with footprint, sensor and time, whatever their family.

Deliveries, archives and plain pairs become rows with what `open_scene` would say of them; one that cannot be opened
becomes a row that says why, never an exception. Not for reading pixels. Three conventions could surprise. Footprints
are in longitude and latitude (EPSG:4326), those of products with RPC only at the mean height of their model. Large
compressed archives are listed but not unpacked unless asked for: that takes minutes and gigabytes each. And stacks are
not looked for, since that would mean opening every raster.
"""

from __future__ import annotations

from ship_geo.catalog.outlines import footprint, on_globe
from ship_geo.catalog.table import as_geojson, check_catalog, find_scenes, read_catalog, write_catalog

__all__ = ["as_geojson", "check_catalog", "find_scenes", "footprint", "on_globe", "read_catalog", "write_catalog"]
