from __future__ import annotations

import contextlib
import time

import pytest

from ship_geo.errors import ProductError
from ship_geo.products import pvl
from ship_geo.products.texts import decode, isd_to_groups, parse_pvl, parse_xml

IMD = """version = "28.4";
generationTime = 2016-07-02T08:15:42.000000Z;
numRows = 64;
BEGIN_GROUP = BAND_B
	absCalFactor = 1.230000e-02;
	ULHAE = -120.5;
END_GROUP = BAND_B
BEGIN_GROUP = IMAGE_1
	satId = "WV02";
	CatId = "1030010000000001";
	cloudCover = -999;
	numTLC = 2;
	TLCList = (
	(0, 0.000000),
	(10240, 0.512000) );
END_GROUP = IMAGE_1
END;
"""

XML = """<?xml version="1.0" encoding="UTF-8"?>
<isd><IMD><VERSION>28.4</VERSION><GENERATIONTIME>2016-07-02T08:15:42.000000Z</GENERATIONTIME><NUMROWS>64</NUMROWS>
<BAND_B><ABSCALFACTOR>1.230000e-02</ABSCALFACTOR><ULHAE>-120.5</ULHAE></BAND_B>
<IMAGE><SATID>WV02</SATID><CATID>1030010000000001</CATID><CLOUDCOVER>-999</CLOUDCOVER><NUMTLC>2</NUMTLC>
<TLCLISTList><TLCLIST>0 0.000000</TLCLIST><TLCLIST>10240 0.512000</TLCLIST></TLCLISTList></IMAGE></IMD></isd>
"""

GROUPS = {
    "version": "28.4",
    "generationtime": "2016-07-02T08:15:42.000000Z",
    "numrows": 64,
    "band_b": {"abscalfactor": 0.0123, "ulhae": -120.5},
    "image_1": {
        "satid": "WV02",
        "catid": "1030010000000001",
        "cloudcover": -999,
        "numtlc": 2,
        "tlclist": [[0, 0.0], [10240, 0.512]],
    },
}

MTL = """GROUP = LANDSAT_METADATA_FILE
  GROUP = PRODUCT_CONTENTS
    PROCESSING_LEVEL = "L2SP"
    FILE_NAME_BAND_2 = "LC08_SR_B2.TIF"
  END_GROUP = PRODUCT_CONTENTS
  GROUP = LEVEL1_PROCESSING_RECORD
    FILE_NAME_BAND_2 = "LC08_B2.TIF"
    DATE_ACQUIRED = 2020-07-06
    WRS_ROW = 025
    SUN_AZIMUTH = -1.5E+02
  END_GROUP = LEVEL1_PROCESSING_RECORD
END_GROUP = LANDSAT_METADATA_FILE
END
"""


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["END;\n", "END", ""])
def test_imd_becomes_a_lower_case_table_of_typed_values(eol: str, end: str) -> None:
    text = IMD.replace("END;\n", end).replace("\n", eol)
    groups = parse_pvl(text, source="a.IMD")
    assert groups == GROUPS
    assert isinstance(groups["numrows"], int)


def test_xml_twin_gives_the_same_table() -> None:
    assert isd_to_groups(parse_xml(XML.encode(), source="a.XML")) == GROUPS


def test_xml_twin_numbers_tiles_and_splits_coefficients() -> None:
    xml = (
        "<isd><IMD><BANDID>Multi</BANDID></IMD><ATT><X>1</X></ATT>"
        "<TIL><NUMTILES>2</NUMTILES><TILE><FILENAME>a_R1C1.TIF</FILENAME></TILE><TILE><FILENAME>7</FILENAME></TILE></TIL>"
        "<RPB><SPECID>RPC00B</SPECID><IMAGE><LINEOFFSET>32</LINEOFFSET>"
        "<LINENUMCOEFList><LINENUMCOEF>1 -2.5e-3\n 3</LINENUMCOEF></LINENUMCOEFList></IMAGE></RPB></isd>"
    )
    assert isd_to_groups(parse_xml(xml.encode(), source="a.XML")) == {
        "bandid": "Multi",
        "til": {"numtiles": 2, "tile_1": {"filename": "a_R1C1.TIF"}, "tile_2": {"filename": "7"}},
        "rpb": {"specid": "RPC00B", "image": {"lineoffset": 32, "linenumcoef": [1, -0.0025, 3]}},
    }


def test_other_xml_is_no_twin() -> None:
    with pytest.raises(ProductError, match="root isd with an IMD"):
        isd_to_groups(parse_xml(b"<ProductMetaData/>", source="a.xml"))


def test_mtl_keeps_equal_keys_of_different_groups_apart() -> None:
    groups = parse_pvl(MTL, source="a_MTL.txt")
    assert groups == {
        "landsat_metadata_file": {
            "product_contents": {"processing_level": "L2SP", "file_name_band_2": "LC08_SR_B2.TIF"},
            "level1_processing_record": {
                "file_name_band_2": "LC08_B2.TIF",
                "date_acquired": "2020-07-06",
                "wrs_row": 25,
                "sun_azimuth": -150.0,
            },
        }
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('a = "x;y = (1)";', "x;y = (1)"),
        ('a = "two\nlines";', "two\nlines"),
        ("a = 2016-06-23T09:53:30.046000Z;", "2016-06-23T09:53:30.046000Z"),
        ('a = "28.4";', "28.4"),
        ("a = 28.4;", 28.4),
        ("a = +.5E-1", 0.05),
        ("a = -999;", -999),
        ("a = nan;", "nan"),
        ("a = 1e999;", "1e999"),
        ("a = 1_000;", "1_000"),
        (f"a = {'9' * 5000};", "9" * 5000),
        ("a = ;", ""),
        ("a =\nb = 1;", ""),
        ('a =\n "x";', "x"),
        ("a = two words;", "two words"),
        ("a = ();", []),
        ('a = ( 1, ("x;)", 2e1 ), (\n) );', [1, ["x;)", 20.0], []]),
        ("a = (1, 2, );", [1, 2]),
        ("a = {1, 2}", [1, 2]),
        ("/* note; */ a = 1; /* b = 2; */", 1),
        ("a = 1;;\n;", 1),
        ("a = 1; END; a = 2;", 1),
        ("a = 1;\na = 1;", 1),
        ("a = 1;\n\0\0\0", 1),
    ],
)
def test_forms_of_a_value(text: str, value: object) -> None:
    parsed = parse_pvl(text, source="a")["a"]
    assert parsed == value
    assert type(parsed) is type(value)


def test_missing_semicolons_end_at_the_value_or_the_line() -> None:
    text = 'bandId = "Multi"\nnumTiles = 2\nlist = (1,\n2)\nlast = "x" numRows = 3;'
    assert parse_pvl(text, source="a.TIL") == {
        "bandid": "Multi",
        "numtiles": 2,
        "list": [1, 2],
        "last": "x",
        "numrows": 3,
    }


@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        ("", "must hold key = value", 1),
        (" \n\n", "must hold key = value", 1),
        ("a = 1;\n\nhello", "must read key = value", 3),
        ("a = 1;\n= 2;", "must read key = value", 2),
        ("a = 1;\n\x01\x02", "must read key = value", 2),
        ('a = 1;\nb = "open', "string must be closed", 2),
        ("a = (1,\n(2, 3)", "list must be closed", 2),
        ("a = (1;2)", "list must be closed", 1),
        ("a = (1,,2)", "list must hold values", 1),
        ("a = (1\n=2)", "list must be closed", 2),
        ("a = b = 1;", "statement must end", 1),
        ("BEGIN_GROUP = X\na = 1;\n", "'x' must be closed", 3),
        ("BEGIN_GROUP = X\nEND;", "'x' must be closed", 2),
        ("BEGIN_GROUP = X\nEND_GROUP = Y\n", "must close the open group", 2),
        ("END_GROUP = X\n", "no group", 1),
        ("GROUP = \nEND_GROUP", "must have a name", 1),
        ("GROUP = X\nEND_GROUP = X\nGROUP = X\nEND_GROUP = X", "must occur once", 3),
        ("a = 1;\na = 2;", "one value", 2),
        ("a = " + "(" * 1000, "at most 8 deep", 1),
        ("GROUP = X\n" * 1000, "at most 16 deep", 17),
        ("/* never closed a = 1;", "must read key = value", 1),
    ],
)
def test_damage_is_named_with_file_and_line(text: str, rule: str, line: int) -> None:
    with pytest.raises(ProductError, match="file is damaged") as caught:
        parse_pvl(text, source="x/a.IMD")
    assert rule in str(caught.value)
    assert f"in x/a.IMD, line {line};" in str(caught.value)


@pytest.mark.parametrize(
    "piece", ["(", "a", "a=", '"', "/*", "/* */", "\\", "a = (", "a = 1 ", "a\n", "(1,", " ", ";", "<", "é", "a.", "1e"]
)
@pytest.mark.parametrize("start", ["", "a = ", "a = ("])
def test_hostile_repetition_takes_linear_time(start: str, piece: str) -> None:
    begin = time.perf_counter()
    with contextlib.suppress(ProductError):
        parse_pvl(start + piece * (400_000 // len(piece)), source="a")
    assert time.perf_counter() - begin < 1


def test_size_and_count_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pvl, "MAX_VALUES", 1000)
    with pytest.raises(ProductError, match="at most 32 MiB"):
        parse_pvl(" " * (32 * 2**20 + 1), source="a")
    with pytest.raises(ProductError, match="at most 1000 values"):
        parse_pvl("a = (" + "1," * 1001, source="a")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb2312", "gbk", "gb18030", "utf-16"])
def test_decode_finds_the_encoding(encoding: str) -> None:
    assert decode("高分二号 GF2".encode(encoding)) == "高分二号 GF2"


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ProductError, match="bytes of another kind"):
        decode(b"\xff\xd8\xff\xe0\x00\x10JFIF\xff", source="a.IMD")


@pytest.mark.parametrize("declared", ["GB2312", "gbk", "GB18030", "UTF-8", "no-such-encoding"])
@pytest.mark.parametrize("actual", ["utf-8", "gb18030"])
def test_declared_encoding_of_xml_does_not_matter(declared: str, actual: str) -> None:
    text = f'<?xml version="1.0" encoding="{declared}"?><ProductMetaData><Name>高分</Name></ProductMetaData>'
    assert parse_xml(text.encode(actual), source="a.xml").findtext("Name") == "高分"


def test_western_xml_keeps_its_accents() -> None:
    raw = '<?xml version="1.0" encoding="ISO-8859-1"?><a>Pléiades</a>'.encode("latin-1")
    assert parse_xml(raw, source="a.xml").text == "Pléiades"


def bomb() -> bytes:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    return f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e0 "ha">{entities}]><a>&e11;</a>'.encode()


@pytest.mark.parametrize(
    "raw",
    [
        bomb(),
        bomb().decode().encode("utf-16"),
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd"><a/>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>',
        b"<!DOCTYPE a><a/>",
        b" " * 100_000 + b"<!DOCTYPE a><a/>",
    ],
)
def test_document_types_and_entities_are_refused_at_once(raw: bytes) -> None:
    begin = time.perf_counter()
    with pytest.raises(ProductError, match="must not declare DOCTYPE or ENTITY"):
        parse_xml(raw, source="a.xml")
    assert time.perf_counter() - begin < 0.2


@pytest.mark.parametrize("raw", [b"<a>", b"<a></b>", b"text", b"<a>&undefined;</a>", b"<a/><b/>", b"<a>\0</a>"])
def test_broken_xml_is_named(raw: bytes) -> None:
    with pytest.raises(ProductError, match=r"well-formed, got .* in a\.xml"):
        parse_xml(raw, source="a.xml")


@pytest.mark.parametrize("raw", [b"", b" \n"])
def test_empty_xml_is_named(raw: bytes) -> None:
    with pytest.raises(ProductError, match="file is empty"):
        parse_xml(raw, source="a.xml")


def test_xml_is_limited_in_size_and_depth() -> None:
    with pytest.raises(ProductError, match="at most 32 MiB"):
        parse_xml(b" " * (32 * 2**20 + 1), source="a.xml")
    with pytest.raises(ProductError, match="at most 64 levels"):
        parse_xml(b"<a>" * 100_000, source="a.xml")
