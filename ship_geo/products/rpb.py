"""RPC models from RPB metadata of DigitalGlobe and GaoFen deliveries.

Only turns a parsed table into a checked `ship_geo.rpc.Rpc`; nothing is projected here. The order of the 20 terms is
RPC00B: 1, L, P, H, LP, LH, PH, LL, PP, HH, PLH, LLL, LPP, LHH, LLP, PPP, PHH, LLH, PPH, HHH.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NoReturn

from ship_geo.errors import ProductError
from ship_geo.rpc import Rpc

if TYPE_CHECKING:
    from ship_geo.products.texts import Group

N_TERM = 20
_AXES = {"line": "line", "samp": "sample", "lat": "lat", "long": "long", "height": "height"}


def rpc_from_rpb(group: Group, *, source: str) -> Rpc:
    """Make the RPC model that an RPB file describes.

    Parameters
    ----------
    group
        A parsed RPB, or the group ``rpb`` of `ship_geo.products.texts.isd_to_groups`: values under ``image``.
    source
        Name of the file, for messages.

    Returns
    -------
    Rpc
        Offsets as in the file, which count from the centre of pixel 0.

    Raises
    ------
    ProductError
        When a value is missing or no finite number, a polynomial has not 20 terms, a scale is zero, a denominator is
        zero everywhere, or the terms are in another order than RPC00B.
    """
    spec = group.get("specid", "RPC00B")
    if str(spec).upper() != "RPC00B":
        _fail("an RPC must have its terms in the order RPC00B", f"SpecId {spec!r}", source)
    image = group.get("image", group)
    if not isinstance(image, dict):
        _fail("an RPC must be in the group IMAGE", f"{image!r}", source)
    values = {}
    for key, name in _AXES.items():
        values[f"{name}_offset"] = _number(image, f"{key}offset", source)
        values[f"{name}_scale"] = _scale(image, f"{key}scale", source)
    return Rpc(
        **values,
        line_num=_terms(image, "linenumcoef", source),
        line_den=_denominator(image, "linedencoef", source),
        sample_num=_terms(image, "sampnumcoef", source),
        sample_den=_denominator(image, "sampdencoef", source),
        err_bias=_number(image, "errbias", source) if "errbias" in image else None,
        err_rand=_number(image, "errrand", source) if "errrand" in image else None,
    )


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _number(image: Group, key: str, source: str) -> float:
    value = image.get(key)
    if not isinstance(value, (int, float)) or not _finite(value):
        _fail(f"{key} of an RPC must be a finite number", "none" if value is None else f"{value!r}", source)
    return float(value)


def _scale(image: Group, key: str, source: str) -> float:
    value = _number(image, key, source)
    if value == 0:
        _fail(f"{key} of an RPC must not be zero", "0", source)
    return value


def _terms(image: Group, key: str, source: str) -> tuple[float, ...]:
    values = image.get(key)
    if not isinstance(values, list) or len(values) != N_TERM:
        got = f"{len(values)}" if isinstance(values, list) else "no list"
        _fail(f"{key} of an RPC must have {N_TERM} terms", got, source)
    numbers = tuple(float(value) for value in values if isinstance(value, (int, float)) and _finite(value))
    if len(numbers) != N_TERM:
        _fail(f"the terms of {key} must be finite numbers", f"{values!r}", source)
    return numbers


def _denominator(image: Group, key: str, source: str) -> tuple[float, ...]:
    terms = _terms(image, key, source)
    if not any(terms):
        _fail(f"{key} of an RPC must have a term that is not zero", "only zeros", source)
    return terms


def _fail(rule: str, got: str, source: str) -> NoReturn:
    msg = f"{rule}, got {got} in {source}; fetch the delivery again, or open the images without their RPC file"
    raise ProductError(msg)
