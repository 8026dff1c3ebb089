"""A STAC Item (1.1) beside an output: where, when and how it was made, for catalogues.

The Item of ``fused.tif`` is ``fused.json`` in the same folder, as the best practices of STAC name it: by its id. It has
no self link and relative addresses only, so that both files may move together. Extensions: projection, eo, raster,
view, processing, file, and mlm for networks; what is not known is left out, and so is an extension without a field.
`write_collection` binds the Items of a folder together. Three conventions could surprise. Bands are the common
``bands`` of STAC 1.1, which eo and raster extend since their version 2. A time without a zone is taken for UTC. And a
scene whose time nobody knows gets no Item, since STAC knows no data without a time.
"""

from __future__ import annotations

from ship_geo.stac.collection import COLLECTION, make_collection, write_collection
from ship_geo.stac.item import EXTENSIONS, check_item, item_path, make_item, write_item

__all__ = [
    "COLLECTION",
    "EXTENSIONS",
    "check_item",
    "item_path",
    "make_collection",
    "make_item",
    "write_collection",
    "write_item",
]
