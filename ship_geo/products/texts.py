"""Metadata texts of deliveries: ``key = value`` files (IMD, RPB, TIL, MTL) and XML, all as one lower-case table.

Reads text, not meaning: units, fill values and the choice of a key are up to the reader of the family. Every input is
untrusted: time and memory grow with the size of the file only, and sizes, depths and counts are limited.
Conventions that could surprise: keys and group names are lower-case, so that an IMD and its XML twin give the same
table; quoted values and times stay strings (``"28.4"``), bare numbers become int or float.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NoReturn
from xml.etree.ElementTree import ParseError, TreeBuilder

from ship_geo.errors import ProductError
from ship_geo.products.members import MAX_BYTES
from ship_geo.products.pvl import MAX_VALUES, Group, Value, parse_number, parse_pvl, refuse_size

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["Group", "Value", "decode", "isd_to_groups", "parse_pvl", "parse_xml"]

_MAX_XML_DEPTH = 64

_DECLARED = re.compile(rb"\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._\-]{1,40})[\"']")
_WESTERN = frozenset({"iso-8859-1", "iso8859-1", "latin-1", "latin1", "iso-8859-15", "windows-1252", "cp1252"})
_FORBIDDEN = re.compile(r"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
# Values that are quoted in the text form although they may look like numbers.
_STRINGS = re.compile(r"(?:.*id|.*time|version|filename)")


def decode(raw: bytes, *, source: str = "a metadata file") -> str:
    """Decode a metadata file: UTF-8, then GB18030, which includes GB2312 and GBK; a byte order mark is taken off.

    Parameters
    ----------
    raw
        The file.
    source
        Its name, for the message.

    Returns
    -------
    str
        Its text.

    Raises
    ------
    ProductError
        When it is neither.
    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings: tuple[str, ...] = ("utf-16",)
    else:
        encodings = ("utf-8-sig", "gb18030")
    return _decode(raw, encodings, source)


def _decode(raw: bytes, encodings: tuple[str, ...], source: str) -> str:
    for encoding in encodings:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    msg = (
        f"metadata must be text in {' or '.join(encodings)}, got bytes of another kind in {source}; "
        "fetch the delivery again"
    )
    raise ProductError(msg)


class _LimitedBuilder(TreeBuilder):
    """Tree builder that refuses trees deeper or larger than metadata are."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = source
        self._depth = 0
        self._count = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self._depth += 1
        self._count += 1 + len(attrs)
        if self._depth > _MAX_XML_DEPTH or self._count > MAX_VALUES:
            msg = (
                f"XML metadata must have at most {_MAX_XML_DEPTH} levels and {MAX_VALUES} elements, "
                f"got more in {self._source}; fetch the delivery again, the file is damaged"
            )
            raise ProductError(msg)
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def parse_xml(raw: bytes, *, source: str) -> Element:
    """Parse an XML metadata file; what it declares of entities and encodings is not trusted.

    Parameters
    ----------
    raw
        The file.
    source
        Its name, for messages.

    Returns
    -------
    Element
        Root of the tree.

    Raises
    ------
    ProductError
        When it has more than 32 MiB, declares a document type or an entity, is no text, or is not well-formed.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import DefusedXMLParser

    text = _xml_text(raw, source)
    parser = DefusedXMLParser(target=_LimitedBuilder(source), forbid_dtd=True)
    try:
        # A str overrides the declared encoding: expat knows no multi-byte ones.
        parser.feed(text)
        root: Element = parser.close()
    except DefusedXmlException as error:
        _refuse_doctype(source, error)
    except (ParseError, ValueError) as error:
        msg = f"XML metadata must be well-formed, got {error} in {source}; fetch the delivery again"
        raise ProductError(msg) from error
    return root


def _xml_text(raw: bytes, source: str) -> str:
    if len(raw) > MAX_BYTES:
        refuse_size(source)
    if not raw.strip():
        msg = f"XML metadata must have a root element, got {source}: file is empty; fetch the delivery again"
        raise ProductError(msg)
    declared = _DECLARED.match(raw)
    # Latin letters would pass for Chinese ones, so the declaration decides, but after UTF-8: the surest sign.
    if declared and declared.group(1).decode("ascii").lower() in _WESTERN:
        text = _decode(raw, ("utf-8-sig", "cp1252", "latin-1"), source)
    else:
        text = decode(raw, source=source)
    if _FORBIDDEN.search(text):
        _refuse_doctype(source, None)
    return text


def _refuse_doctype(source: str, error: Exception | None) -> NoReturn:
    msg = f"XML metadata must not declare DOCTYPE or ENTITY, got one in {source}; remove it if you trust it"
    raise ProductError(msg) from error


def isd_to_groups(root: Element) -> Group:
    """Give DigitalGlobe's XML twin the key table of the text files.

    Parameters
    ----------
    root
        The element ``isd``.

    Returns
    -------
    Group
        What `parse_pvl` makes of the IMD (``IMAGE`` is ``image_1``), with the groups ``til`` (its tiles are
        ``tile_1`` ...) and ``rpb`` where the file has them.

    Raises
    ------
    ProductError
        When the root is another element, or has no part ``IMD``.
    """
    sections = {_tag(child): child for child in root}
    if _tag(root) != "isd" or "imd" not in sections:
        msg = (
            f"an XML twin must have the root isd with an IMD, got {root.tag!r} with {', '.join(sections) or 'nothing'}"
        )
        raise ProductError(f"{msg}; pass the IMD file")
    groups = _group_of(sections["imd"], numbered="image")
    if "til" in sections:
        groups["til"] = _group_of(sections["til"], numbered="tile")
    if "rpb" in sections:
        groups["rpb"] = _group_of(sections["rpb"])
    return groups


def _tag(element: Element) -> str:
    return str(element.tag).rpartition("}")[2].lower()


def _group_of(element: Element, numbered: str = "") -> Group:
    group: Group = {}
    numbers: Counter[str] = Counter()
    for child in element:
        tag = _tag(child)
        if tag == numbered:
            numbers[tag] += 1
            group[f"{tag}_{numbers[tag]}"] = _group_of(child)
        elif tag.endswith("list") and len({_tag(item) for item in child}) == 1:
            group[_tag(child[0])] = _list_of(child)
        else:
            group[tag] = _group_of(child, numbered) if len(child) else _leaf(tag, child.text)
    return group


def _list_of(element: Element) -> Value:
    """``<XList><X>1 2</X></XList>`` is one flat list; several ``X`` are a list of tuples."""
    rows: list[list[Value]] = [[parse_number(word) for word in (item.text or "").split()] for item in element]
    return rows[0] if len(rows) == 1 else [*rows]


def _leaf(tag: str, text: str | None) -> Value:
    bare = (text or "").strip()
    return bare if _STRINGS.fullmatch(tag) else parse_number(bare)
