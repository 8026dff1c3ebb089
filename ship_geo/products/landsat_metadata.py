"""The MTL of a Landsat scene, as text or XML, of collection 1, 2 and the time before them.

Read by group, never as one flat table: a level 2 MTL repeats the keys of level 1, file names included. What could
surprise: file names come from the group of the product's contents alone, and sizes are not read at all, since the MTL
of a cropped scene keeps those of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ship_geo.errors import ProductError
from ship_geo.products.texts import decode, parse_pvl, parse_xml

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from ship_geo.products.texts import Group
    from ship_geo.products.tree import Tree

ROOTS = ("landsat_metadata_file", "l1_metadata_file")  # collection 2; collection 1 and before

_CONTENTS = {"landsat_metadata_file": "product_contents", "l1_metadata_file": "product_metadata"}
_LEVEL_KEYS = ("processing_level", "data_type")
_SCENE_GROUPS = ("product_contents", "image_attributes", "product_metadata", "metadata_file_info")
_RESCALING = ("level1_radiometric_rescaling", "radiometric_rescaling")
_LIMITS = ("level1_min_max_pixel_value", "min_max_pixel_value")
_FILE = "file_name_band_"


@dataclass(frozen=True)
class Mtl:
    """A parsed MTL.

    Attributes
    ----------
    name
        The file in its tree.
    root
        Name of the outer group: which of the two generations it is.
    groups
        What is in the outer group.
    """

    name: str
    root: str
    groups: Group

    @property
    def files(self) -> dict[str, str]:
        """File name by band, ``"8"`` or ``"6_vcid_1"``, as the group of the product's contents has them."""
        contents = self._group(_CONTENTS[self.root])
        return {key.removeprefix(_FILE): str(name) for key, name in contents.items() if _is_band_file(key)}

    @property
    def level(self) -> str | None:
        """Processing level, for instance ``"L1TP"``."""
        contents = (_CONTENTS[self.root],)
        return next((level for key in _LEVEL_KEYS if (level := self.text(key, contents)) is not None), None)

    @property
    def time(self) -> str | None:
        """Middle of the acquisition, ISO 8601 UTC, to the microsecond: further digits are cut; or the date alone."""
        date, clock = self.text("date_acquired"), self.text("scene_center_time")
        if date is None:
            return None
        with suppress(ValueError):
            if clock is not None:
                return _iso(f"{date}T{clock.rstrip('Zz')}")
        with suppress(ValueError):
            return _iso(date)[:10]
        return None

    @property
    def cloud(self) -> float | None:
        """Fraction of the scene under cloud; None where it was not assessed (-1)."""
        percent = self.number("cloud_cover")
        return percent / 100 if percent is not None and 0 <= percent <= 100 else None  # noqa: PLR2004

    def bits(self, bands: Iterable[int]) -> int | None:
        """Bits of a pixel value, from the largest one the MTL states for these bands."""
        largest = [self.number(f"quantize_cal_max_band_{band}", _LIMITS) for band in bands]
        known = [int(value) for value in largest if value is not None and value >= 1]
        return max(known).bit_length() if known else None

    def rescaling(self, kind: str, bands: Sequence[int]) -> tuple[float, ...] | None:
        """Return one factor for each band, ``kind`` for instance ``"radiance_mult"``; None where one is missing."""
        values = [self.number(f"{kind}_band_{band}", _RESCALING) for band in bands]
        known = tuple(value for value in values if value is not None)
        return known if len(known) == len(bands) else None

    def text(self, key: str, groups: Sequence[str] = _SCENE_GROUPS) -> str | None:
        """Return the value of a key in the first of these groups that has it, as text."""
        for group in groups:
            value = self._group(group).get(key, "")
            if isinstance(value, (str, int, float)) and str(value).strip():
                return str(value).strip()
        return None

    def number(self, key: str, groups: Sequence[str] = _SCENE_GROUPS) -> float | None:
        """Return the finite number that a key has; None without one."""
        try:
            value = float(self.text(key, groups) or "")
        except ValueError:
            return None
        return value if math.isfinite(value) else None

    def _group(self, name: str) -> Group:
        group = self.groups.get(name, {})
        return group if isinstance(group, dict) else {}


def read_mtl(tree: Tree, names: Sequence[str]) -> tuple[Mtl | None, tuple[str, ...]]:
    """Read the MTL of a scene from the first file that holds something.

    Parameters
    ----------
    tree
        The delivery.
    names
        Files with the same content, the preferred one first.

    Returns
    -------
    mtl
        None where the file is the metadata of something else.
    warnings
        Which files are empty.

    Raises
    ------
    ProductError
        When all are empty, or the file is damaged.
    """
    warnings: list[str] = []
    for name in names:
        raw = tree.read(name)
        if raw.strip():
            return _parse(raw, name), tuple(warnings)
        warnings.append(f"{name} is ignored: file is empty")
    msg = f"a Landsat scene needs its MTL, got {', '.join(names)}: file is empty; fetch the delivery again"
    raise ProductError(msg)


def _iso(text: str) -> str:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).isoformat().replace("+00:00", "Z")


def _parse(raw: bytes, name: str) -> Mtl | None:
    if name.lower().endswith(".xml"):
        element = parse_xml(raw, source=name)
        groups: Group = {_tag(element): _group_of(element)}
    else:
        groups = parse_pvl(decode(raw, source=name), source=name)
    for root in ROOTS:
        content = groups.get(root)
        if isinstance(content, dict):
            return Mtl(name, root, content)
    return None


def _group_of(element: Element) -> Group:
    return {_tag(child): _group_of(child) if len(child) else (child.text or "").strip() for child in element}


def _tag(element: Element) -> str:
    return str(element.tag).rpartition("}")[2].lower()


def _is_band_file(key: str) -> bool:
    return key.startswith(_FILE) and key.removeprefix(_FILE)[:1].isdigit()
