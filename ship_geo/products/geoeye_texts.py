"""Texts of GeoEye's old layout: ``Key: value unit`` lines of orders, and RPC models written the same way.

Not for IMD or RPB files, see `ship_geo.products.texts`. The convention that could surprise: an order text repeats keys
for each image it was made from, and only the first value of a key is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from ship_geo.errors import ProductError
from ship_geo.rpc import N_TERM, Rpc

_POLYNOMIALS = ("LINE_NUM_COEFF", "LINE_DEN_COEFF", "SAMP_NUM_COEFF", "SAMP_DEN_COEFF")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})\s+(\d{2}:\d{2}(?::\d{2})?)")


def parse_lines(text: str) -> dict[str, str]:
    """Parse ``Key: value`` lines; blanks around both are ignored, and of several values of a key the first holds."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and value.strip():
            values.setdefault(key.strip(), value.strip())
    return values


def read_rpc_text(text: str, *, source: str) -> Rpc:
    """Parse an ``_rpc.txt``: ``LINE_OFF: +000128.00 pixels`` ... ``LINE_NUM_COEFF_1: +1.0E+00`` ..., one a line.

    Parameters
    ----------
    text
        The file; units after the numbers are ignored.
    source
        Its name, for messages.

    Raises
    ------
    ProductError
        When a value is missing or no number.
    """
    values = {key.upper(): value for key, value in parse_lines(text).items()}
    tags = {key: value for key, value in values.items() if not key.startswith(_POLYNOMIALS)}
    for key in _POLYNOMIALS:
        terms = [values.get(f"{key}_{number}", "") for number in range(1, N_TERM + 1)]
        if not all(terms):
            lacking = f"{key}_{terms.index('') + 1}"
            msg = f"an RPC must have {N_TERM} terms of each polynomial, got no {lacking} in {source}"
            raise ProductError(f"{msg}; copy the file again, or move it away to open the image without it")
        tags[key] = " ".join(terms)
    return Rpc.from_tags(tags, source=source)


def number_of(values: Mapping[str, str], key: str) -> float | None:
    """Return the number a value begins with, whatever unit follows; None without one."""
    hit = _NUMBER.match(values.get(key, ""))
    return float(hit.group()) if hit else None


def time_of(text: str) -> str | None:
    """Return ``2011-07-04 10:22 GMT`` as ISO 8601 UTC; None where there is no such time."""
    hit = _TIME.search(text)
    if hit is None:
        return None
    try:
        time = datetime.fromisoformat(f"{hit.group(1)}T{hit.group(2)}+00:00")
    except ValueError:
        return None
    return time.isoformat().replace("+00:00", "Z")
