"""DigitalGlobe products whose files were renamed: found by their IMD or XML twin, paired by what it says.

The convention that could surprise: metadata that cannot be read are passed over here, as they may be of anything; they
are reported when a product that needs them is opened.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ship_geo.errors import ProductError
from ship_geo.products.maxar_layer import tile_names
from ship_geo.products.maxar_metadata import Metadata, read_metadata
from ship_geo.products.maxar_names import MS, PAN, RASTERS, SHARPENED, Half, by_stem

if TYPE_CHECKING:
    from ship_geo.products.tree import Tree

_SWIR = "A"
_SWIR_CODE = re.compile(r"s\d")
_ROOT_TAG = re.compile(rb"<isd[\s>]", re.IGNORECASE)
_HEAD = 4096


def find_renamed(tree: Tree, taken: Collection[str]) -> tuple[Half, ...]:
    """Return the image products that metadata tell of.

    Parameters
    ----------
    tree
        The delivery.
    taken
        Names that need no look.
    """
    groups = by_stem(name for name in tree.names if name not in taken)
    halves = (_read(tree, files) for files in groups.values() if _may_tell(tree, files))
    return tuple(half for half in halves if half is not None)


def _may_tell(tree: Tree, files: tuple[str, ...]) -> bool:
    suffixes = {PurePosixPath(name).suffix.lower(): name for name in files}
    if ".imd" in suffixes:
        return True
    # XML may be anything: it must lie beside an image, and begin as a twin does.
    if ".xml" not in suffixes or not suffixes.keys() & {*RASTERS, ".til"}:
        return False
    try:
        return _ROOT_TAG.search(tree.read(suffixes[".xml"])[:_HEAD]) is not None
    except ProductError:
        return False


def _read(tree: Tree, files: tuple[str, ...]) -> Half | None:
    bare = Half(MS, "", "", None, PurePosixPath(files[0]).stem, files)
    try:
        meta = read_metadata(tree, bare)
        tiles = [tree.resolve(meta.til.name, name) for name, _ in tile_names(meta.til, tree)] if meta.til else []
    except ProductError:
        return None
    if not meta.codes or meta.text("satid") is None:
        return None
    time = meta.time
    return Half(
        kind=_kind(meta),
        level=meta.level or "",
        product=(meta.text("productorderid") or "").upper(),
        stamp=time.replace(microsecond=0) if time else None,
        title=bare.title,
        files=(*files, *(name for name in tiles if name is not None and name not in files)),
        platform=(meta.text("satid") or "").upper(),
    )


def _kind(meta: Metadata) -> str:
    if (meta.text("pansharpenalgorithm") or "None").lower() != "none":
        return SHARPENED
    if meta.codes == ("p",):
        return PAN
    if any(_SWIR_CODE.fullmatch(code) for code in meta.codes):
        return _SWIR
    return MS
