from __future__ import annotations

from typing import Any

import pytest
from deliveries.pixels import linear_rpc, rpb_text

from ship_geo.errors import ProductError
from ship_geo.products.rpb import rpc_from_rpb
from ship_geo.products.texts import isd_to_groups, parse_pvl, parse_xml

VALUES = linear_rpc(32.0, 64.0, 48.5, 96.0)


def table(**changed: Any) -> dict[str, Any]:
    groups = parse_pvl(rpb_text(VALUES, "WV02", "Multi"), source="a.RPB")
    image = {key: value for key, value in groups["image"].items() if key not in changed}
    return {**groups, "image": image | {key: value for key, value in changed.items() if value is not None}}


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_text_gives_the_model_it_was_written_from(eol: str) -> None:
    rpc = rpc_from_rpb(parse_pvl(rpb_text(VALUES, "GF2", "PAN", eol), source="a.rpb"), source="a.rpb")
    assert (rpc.line_offset, rpc.line_scale, rpc.sample_offset, rpc.sample_scale) == (32.0, 64.0, 48.5, 96.0)
    assert (rpc.lat_offset, rpc.long_offset, rpc.height_offset, rpc.height_scale) == (41.9, 15.0, 100.0, 500.0)
    assert rpc.line_num == (0.0, 0.0, -1.0, *[0.0] * 17)
    assert rpc.sample_num == (0.0, 1.0, *[0.0] * 18)
    assert rpc.line_den == rpc.sample_den == (1.0, *[0.0] * 19)
    assert (rpc.err_bias, rpc.err_rand) == (1.0, 0.1)


def test_xml_twin_gives_the_same_model() -> None:
    values = {key.upper(): value for key, value in VALUES.items()}
    texts = {key: " ".join(map(repr, value)) for key, value in values.items() if key.endswith("COEF")}
    lists = {f"{key}List": f"<{key}>{text}</{key}>" for key, text in texts.items()}
    plain = {key: value for key, value in values.items() if key not in texts}
    items = "".join(f"<{key}>{value}</{key}>" for key, value in (plain | lists).items())
    groups = isd_to_groups(parse_xml(f"<isd><IMD/><RPB><IMAGE>{items}</IMAGE></RPB></isd>".encode(), source="a.XML"))
    assert rpc_from_rpb(groups["rpb"], source="a.XML") == rpc_from_rpb(table(), source="a.RPB")


def test_error_estimates_may_lack() -> None:
    rpc = rpc_from_rpb(table(errbias=None, errrand=None), source="a.RPB")
    assert (rpc.err_bias, rpc.err_rand) == (None, None)


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"lineoffset": None}, "lineoffset of an RPC must be a finite number, got none"),
        ({"lineoffset": "abc"}, "lineoffset of an RPC must be a finite number"),
        ({"latoffset": float("nan")}, "latoffset of an RPC must be a finite number"),
        ({"heightscale": 0}, "heightscale of an RPC must not be zero"),
        ({"linenumcoef": None}, "linenumcoef of an RPC must have 20 terms, got no list"),
        ({"sampdencoef": [1.0] * 19}, "sampdencoef of an RPC must have 20 terms, got 19"),
        ({"sampnumcoef": [1.0] * 19 + ["x"]}, "terms of sampnumcoef must be finite"),
        ({"sampnumcoef": [1.0] * 19 + [float("inf")]}, "terms of sampnumcoef must be finite"),
        ({"linenumcoef": [[1.0] * 20]}, "linenumcoef of an RPC must have 20 terms"),
        ({"linedencoef": [0] * 20}, "linedencoef of an RPC must have a term that is not zero"),
    ],
)
def test_values_that_are_no_model_are_refused(changed: dict[str, Any], rule: str) -> None:
    with pytest.raises(ProductError, match=r"in x/a\.RPB") as caught:
        rpc_from_rpb(table(**changed), source="x/a.RPB")
    assert rule in str(caught.value)


def test_other_orders_of_terms_are_refused() -> None:
    with pytest.raises(ProductError, match="RPC00A"):
        rpc_from_rpb({**table(), "specid": "RPC00A"}, source="a.RPB")


def test_group_may_be_the_image_itself_but_no_other_text() -> None:
    assert rpc_from_rpb(table()["image"], source="a") == rpc_from_rpb(table(), source="a")
    with pytest.raises(ProductError, match="lineoffset"):
        rpc_from_rpb({"satid": "WV02"}, source="a")
    with pytest.raises(ProductError, match="group IMAGE"):
        rpc_from_rpb({"image": 3}, source="a")
