"""Elements of DIMAP documents by their name, and the RPC model that one of them holds.

Elements are found wherever they stand and namespaces are ignored, because layouts differ between Pleiades, SPOT-6/7 and
Pleiades Neo. The convention that could surprise: names of elements are asked for in upper case.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ship_geo.products.rpb import rpc_from_rpb
from ship_geo.products.texts import parse_xml

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from ship_geo.products.texts import Group, Value
    from ship_geo.products.tree import Tree
    from ship_geo.rpc import Rpc


def read_rpc(tree: Tree, name: str) -> Rpc:
    """Read an ``RPC_*.XML``: the model from ground to image, which users' guides call the inverse one.

    Its offsets count pixel centres from 1 (Pleiades, SPOT), or from what FIRST_ROW and FIRST_COL of the image domain
    say (Pleiades Neo: 0); here they count from 0.

    Raises
    ------
    ProductError
        When the file cannot be read as XML, or the model is not complete.
    """
    root = parse_xml(tree.read(name), source=name)
    model = one(root, "INVERSE_MODEL", "GROUNDTOIMAGE_VALUES")
    image: Group = {}
    for key in ("line", "samp", "lat", "long", "height"):
        for part, tag in (("offset", "OFF"), ("scale", "SCALE")):
            number = number_of(text_of(root, f"{key.upper()}_{tag}"))
            if number is not None:
                image[f"{key}{part}"] = number
    for axis, first in (("line", "FIRST_ROW"), ("samp", "FIRST_COL")):
        value = image.get(f"{axis}offset")
        if isinstance(value, float):
            image[f"{axis}offset"] = value - _first_pixel(root, first)
        for part in ("num", "den"):
            tag = f"{axis.upper()}_{part.upper()}_COEFF"
            numbers = [] if model is None else [number_of(text_of(model, f"{tag}_{i}")) for i in range(1, 21)]
            terms: list[Value] = [number for number in numbers if number is not None]
            image[f"{axis}{part}coef"] = terms
    return rpc_from_rpb({"image": image}, source=name)


def _first_pixel(root: Element, tag: str) -> float:
    """Number of the first row or column in the model of an image: 1, or what files of version 3 say."""
    domain = one(root, "IMAGETOGROUND_VALIDITY_DOMAIN")
    if domain is None:
        return 1.0
    first = number_of(text_of(domain, tag))
    return first if first in {0.0, 1.0} else 0.0


def local_name(element: Element) -> str:
    """Name of an element without its namespace, upper-case."""
    return str(element.tag).rsplit("}", 1)[-1].upper()


def every(root: Element, tag: str) -> Iterator[Element]:
    """Elements of an upper-case name, in the order of the document."""
    return (element for element in root.iter() if local_name(element) == tag)


def one(root: Element, *tags: str) -> Element | None:
    """First element that has one of some upper-case names."""
    return next((element for element in root.iter() if local_name(element) in tags), None)


def text_of(root: Element, tag: str) -> str:
    """First text of the elements of an upper-case name that is not empty; else ``""``."""
    return next((text for element in every(root, tag) if (text := (element.text or "").strip())), "")


def attribute(element: Element, name: str) -> str:
    """Value of an attribute, whatever the case of its name; ``""`` without it."""
    return next((value for key, value in element.attrib.items() if key.rsplit("}", 1)[-1].upper() == name.upper()), "")


def href_of(element: Element) -> str:
    """Name of the file that an element points to; ``""`` without one."""
    return attribute(element, "href").strip()


def size_of(root: Element, tag: str) -> tuple[int, int] | None:
    """Rows and columns in the attributes of an element."""
    element = one(root, tag)
    return None if element is None else whole_pair(attribute(element, "nrows"), attribute(element, "ncols"))


def whole_pair(row: str, col: str) -> tuple[int, int] | None:
    """Two whole numbers; None where one is none."""
    fits = re.fullmatch(r"\d{1,9}", row) and re.fullmatch(r"\d{1,9}", col)
    return (int(row), int(col)) if fits else None


def number_of(text: str) -> float | None:
    """A finite number; None where the text is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
