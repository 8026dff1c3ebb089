"""The ``key = value`` text of IMD, RPB and TIL files and of Landsat's MTL, as a nested lower-case table.

Use it through `ship_geo.products.texts`. Reads text, not meaning; the text is untrusted, so that time grows with its
length only, and depths and counts are limited. The convention that could surprise: quoted values and times stay
strings (``"28.4"``), bare numbers become int or float.
"""

from __future__ import annotations

import math
import re
from typing import NoReturn, TypeAlias, Union

from ship_geo.errors import ProductError
from ship_geo.products.members import MAX_BYTES

Value: TypeAlias = Union[str, float, int, list["Value"], "Group"]
Group: TypeAlias = dict[str, Value]

MAX_VALUES = 500_000
_MAX_GROUPS = 16
_MAX_LISTS = 8
_MAX_DIGITS = 40

# Possessive repeats: no pattern can go back, so none takes more than linear time.
_GAP = re.compile(r"(?:[\s\0;]++|/\*.*?\*/)*+", re.DOTALL)
_BLANK = re.compile(r"(?:[\s\0]++|/\*.*?\*/)*+", re.DOTALL)
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.:\-]*+")
_QUOTED = re.compile(r"\"([^\"]*+)\"|'([^'\r\n]*+)'")
_BARE = re.compile(r"[^\r\n;\"=(){}]*+")
_ITEM = re.compile(r"[^\s,;\"'=(){}]++")
_INT = re.compile(r"[+-]?[0-9]++")
_FLOAT = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?")
_OPENS = frozenset({"begin_group", "group", "begin_object", "object"})
_CLOSES = frozenset({"end_group", "end_object"})
_ENDS_STATEMENT = frozenset("\r\n;")


def parse_pvl(text: str, *, source: str) -> Group:
    """Parse the ``key = value`` text of IMD, RPB and TIL files, and the ODL of Landsat's MTL.

    A statement ends at its ``;``, or where the value or the line ends; lists in parentheses run over lines. Groups
    begin with ``BEGIN_GROUP``, ``GROUP`` or ``OBJECT`` and must be closed by their own name; the last ``END`` may lack.

    Parameters
    ----------
    text
        The decoded file.
    source
        Its name, for messages.

    Returns
    -------
    Group
        Nested table; keys and names of groups in lower case.

    Raises
    ------
    ProductError
        When the text is empty, is no such text, or ends inside a group, a list or a string; when a key has two
        different values in one group; when it is larger or deeper than metadata are.
    """
    if len(text) > MAX_BYTES:
        refuse_size(source)
    return _Pvl(text, source).parse()


def refuse_size(source: str) -> NoReturn:
    """Refuse a metadata file that is larger than metadata are."""
    msg = f"a metadata file must have at most {MAX_BYTES // 2**20} MiB, got more in {source}; fetch the delivery again"
    raise ProductError(msg)


def parse_number(text: str) -> str | float | int:
    """Return the number that a bare text is, else the text; what does not fit a float stays a text."""
    if len(text) <= _MAX_DIGITS and _FLOAT.fullmatch(text):
        if _INT.fullmatch(text):
            return int(text)
        value = float(text)
        if math.isfinite(value):
            return value
    return text


class _Pvl:
    """One pass over a text; `pos` only grows."""

    def __init__(self, text: str, source: str) -> None:
        self.text = text
        self.source = source
        self.pos = 0
        self.count = 0

    def parse(self) -> Group:
        root: Group = {}
        open_groups: list[tuple[str, Group]] = [("", root)]
        while True:
            self._skip(_GAP)
            if self.pos == len(self.text):
                break
            start, key = self.pos, self._key()
            if key == "end":
                break
            if key in _CLOSES:
                self._close(open_groups, start)
            elif key in _OPENS:
                self._open(open_groups, start)
            else:
                self._store(open_groups[-1][1], key, self._value(), start)
        if len(open_groups) > 1:
            self._fail(f"group {open_groups[-1][0]!r} must be closed", "the end of the file", len(self.text))
        if not root:
            self._fail("a metadata file must hold key = value", "no statement", 0)
        return root

    def _open(self, open_groups: list[tuple[str, Group]], start: int) -> None:
        name, group = str(self._value()).lower(), Group()
        if not name:
            self._fail("a group must have a name", "none", start)
        if len(open_groups) > _MAX_GROUPS:
            self._fail(f"groups must be at most {_MAX_GROUPS} deep", f"group {name!r} below them", start)
        if name in open_groups[-1][1]:
            self._fail("a name must occur once in its group", f"a second group {name!r}", start)
        self._store(open_groups[-1][1], name, group, start)
        open_groups.append((name, group))

    def _close(self, open_groups: list[tuple[str, Group]], start: int) -> None:
        self._skip(_BLANK)
        # ODL allows END_GROUP without the name.
        name = str(self._value()).lower() if self.text.startswith("=", self.pos) else open_groups[-1][0]
        if len(open_groups) == 1 or name != open_groups[-1][0]:
            expected = f"group {open_groups[-1][0]!r}" if len(open_groups) > 1 else "no group"
            self._fail(f"END_GROUP must close the open group ({expected})", f"{name!r}", start)
        open_groups.pop()

    def _store(self, group: Group, key: str, value: Value, start: int) -> None:
        if key in group and group[key] != value:
            self._fail("a key must have one value in its group", f"a second one for {key!r}", start)
        group[key] = value
        self._add(start)

    def _add(self, start: int) -> None:
        self.count += 1
        if self.count > MAX_VALUES:
            self._fail(f"metadata must have at most {MAX_VALUES} values", "more", start)

    def _key(self) -> str:
        match = _KEY.match(self.text, self.pos)
        if match is None:
            self._fail("a statement must read key = value", self._excerpt(), self.pos)
        self.pos = match.end()
        return match.group().lower()

    def _value(self) -> Value:
        start = self.pos
        self._skip(_BLANK)
        if not self.text.startswith("=", self.pos):
            self._fail("a statement must read key = value", f"no '=' before {self._excerpt()}", start)
        self.pos += 1
        after = self.pos
        self._skip(_BLANK)
        head = self.text[self.pos : self.pos + 1]
        if head in {"(", "{"}:
            return self._list(1)
        if head in {'"', "'"}:
            return self._string()
        if "\n" in self.text[after : self.pos]:
            return ""  # only a string or a list may begin on the next line: a bare word there is the next key
        return self._bare()

    def _bare(self) -> Value:
        match = _BARE.match(self.text, self.pos)
        end = match.end() if match else self.pos
        if end < len(self.text) and self.text[end] not in _ENDS_STATEMENT:
            self._fail("a statement must end before the next begins", self._excerpt(), self.pos)
        text, self.pos = self.text[self.pos : end].strip(" \t\0"), end
        return parse_number(text)

    def _string(self) -> str:
        match = _QUOTED.match(self.text, self.pos)
        if match is None:
            self._fail("a string must be closed", self._excerpt(), self.pos)
        self.pos = match.end()
        return str(match.group(1) if match.group(1) is not None else match.group(2))

    def _list(self, depth: int) -> Value:
        start = self.pos
        if depth > _MAX_LISTS:
            self._fail(f"lists must be at most {_MAX_LISTS} deep", "a deeper one", start)
        closing = ")" if self.text[start] == "(" else "}"
        self.pos += 1
        values: list[Value] = []
        while True:
            self._skip(_BLANK)
            if self.text.startswith(closing, self.pos):
                self.pos += 1
                return values
            values.append(self._item(depth, start))
            self._skip(_BLANK)
            if self.text.startswith(",", self.pos):
                self.pos += 1
            elif not self.text.startswith(closing, self.pos):
                self._fail(f"a list must be closed by {closing!r} and have commas", self._excerpt(), self.pos)

    def _item(self, depth: int, start: int) -> Value:
        self._add(start)
        head = self.text[self.pos : self.pos + 1]
        if head in {"(", "{"}:
            return self._list(depth + 1)
        if head in {'"', "'"}:
            return self._string()
        match = _ITEM.match(self.text, self.pos)
        if match is None:
            self._fail("a list must hold values and be closed", self._excerpt() or "the end of the file", self.pos)
        self.pos = match.end()
        return parse_number(match.group())

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.pos)
        self.pos = match.end() if match else self.pos

    def _excerpt(self) -> str:
        words = self.text[self.pos : self.pos + 40].split("\n")[0].strip()
        return repr(words) if words else "the end of the line or file"

    def _fail(self, rule: str, got: str, pos: int) -> NoReturn:
        line = self.text.count("\n", 0, pos) + 1
        msg = f"{rule}, got {got} in {self.source}, line {line}; fetch the delivery again, the file is damaged"
        raise ProductError(msg)
