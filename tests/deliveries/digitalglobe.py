"""Deliveries of WorldView, QuickBird and GeoEye as they come from the vendor: TIL mosaics, single rasters, sidecars.

One function per delivery; each writes a small one and returns the folder that a user would pass. `Bundle` says what can
be varied. Malformed deliveries are the good one with a single change.
"""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass
from datetime import datetime

from deliveries.pixels import formula, linear_rpc, rpb_text, write_tiff

EIGHT = ("C", "B", "G", "Y", "R", "RE", "N", "N2")
FOUR = ("B", "G", "R", "N")


class Bare(str):
    """A value that is written without quotes."""

    __slots__ = ()


@dataclass(frozen=True)
class Bundle:
    """A PAN / MS pair; sizes are those of MS, PAN is four times finer.

    `metadata` lists the sidecars to write: imd, xml, til, rpb. `rows` and `cols` are the sizes of the tiles; one raster
    is written where it is not tiled. `imd_size` is what the IMD of MS says instead of its size, `pixels` a function of
    kind ("ms" or "pan") and shape for other values.
    """

    order: str = "056078906010_01"
    product: str = "P001"
    level: str = "2A"
    stamps: tuple[str, str] = ("16JUN23095330", "16JUN23095329")  # MS, PAN
    sat: str = "WV02"
    cats: tuple[str, str] = ("1030010000000001", "1030010000000001")
    codes: tuple[str, ...] = EIGHT
    rows: tuple[int, ...] = (48, 16)
    cols: tuple[int, ...] = (64, 32)
    pixel: float = 2.0
    rpcs: tuple[tuple[float, ...], tuple[float, ...]] = ((31.625, 32.0, 47.625, 48.0), (128.0, 128.0, 192.0, 192.0))
    abs_cal: tuple[float, float] = (1.23e-2, 1.23e-2)  # of MS bands, of PAN
    metadata: tuple[str, ...] = ("imd", "xml", "til", "rpb")
    imd_size: tuple[int, int] | None = None
    has_ulx: bool = True
    ulx_shift: float = 0.0  # MS pixels
    cloud: str = "0.010"
    eol: str = "\n"
    bits_per_pixel: int = 16
    sharpened: str = "None"
    enhancement: str = "Off"
    descriptor: str = "ORStandard2A"
    product_level: str = "LV2A"
    kinds: tuple[str, ...] = ("M", "P")
    prefix: str = ""
    is_lower: bool = False
    is_tiled: bool = True
    pixels: object = None

    @property
    def product_id(self):
        return f"{self.order}_{self.product}"

    def stem(self, kind, tile=""):
        stamp = self.stamps[kind == "P"]
        return f"{self.prefix}{stamp}-{kind}{self.level}S{tile}-{self.product_id}"


def write_bundle(folder, bundle):
    """Write the folders of one product below that of its order; return the latter."""
    for kind in bundle.kinds:
        _write_layer(folder / bundle.order / f"{bundle.product_id}_{'PAN' if kind == 'P' else 'MUL'}", bundle, kind)
    return folder / bundle.order


def wv2_2a_til(folder, **variant):
    root = write_bundle(folder, Bundle(**variant))
    (root / "GIS_FILES").mkdir(exist_ok=True)
    (root / "GIS_FILES" / "README.TXT").write_text("shapes of the order")
    return root


def wv3_1b(folder, **variant):
    usual = {
        "order": "058800100010_01",
        "level": "1B",
        "stamps": ("17AUG05101112", "17AUG05101112"),
        "sat": "WV03",
        "rows": (120,),
        "cols": (160,),
        "rpcs": ((59.875, 60.0, 79.225, 80.0), (240.0, 240.0, 320.0, 320.0)),
        "metadata": ("imd", "rpb"),
        "is_tiled": False,
        "descriptor": "Basic1B",
        "product_level": "LV1B",
    }
    return write_bundle(folder, Bundle(**(usual | variant)))


def qb2_2a(folder, **variant):
    usual = {
        "order": "005511223010_01",
        "stamps": ("05MAY12103015", "05MAY12103015"),
        "sat": "QB02",
        "codes": FOUR,
        "rows": (60,),
        "cols": (80,),
        "pixel": 2.4,
        "metadata": ("imd", "til", "rpb"),
    }
    return write_bundle(folder, Bundle(**(usual | variant)))


def ge1_2a(folder, **variant):
    usual = {
        "order": "055112230100_01",
        "stamps": ("11JUL04102233", "11JUL04102233"),
        "sat": "GE01",
        "codes": FOUR,
        "rows": (64,),
        "cols": (64,),
        "abs_cal": (0.0017, 0.0018),
        "metadata": ("imd", "til", "rpb"),
    }
    return write_bundle(folder, Bundle(**(usual | variant)))


def wv1_pan_only(folder):
    return wv2_2a_til(folder, sat="WV01", kinds=("P",))


def wv2_two_products(folder):
    """P001 and P002 of one order."""
    wv2_2a_til(folder)
    return wv2_2a_til(folder, product="P002")


def wv2_renamed(folder, *, with_order=True):
    """One raster each, under names that tell nothing, all in one folder."""
    root = wv2_2a_til(folder, rows=(64,), cols=(96,), metadata=("imd", "rpb"), is_tiled=False)
    shutil.rmtree(root / "GIS_FILES")
    flat = folder / "town"
    flat.mkdir()
    for path in sorted(root.rglob("*.*")):
        new = flat / f"{'colour' if '-M2AS' in path.name else 'grey'}{path.suffix}"
        path.rename(new)
        if new.suffix == ".IMD" and not with_order:
            lines = new.read_text().splitlines(keepends=True)
            new.write_text("".join(line for line in lines if "productOrderId" not in line))
    return flat


def bad_imd_small(folder):
    return wv2_2a_til(folder, imd_size=(40, 80))


def bad_imd_large(folder):
    return wv2_2a_til(folder, imd_size=(80, 120))


def bad_no_pan(folder):
    return wv2_2a_til(folder, kinds=("M",))


def bad_tile(folder):
    root = wv2_2a_til(folder)
    next(root.rglob("*M2AS_R2C2*.TIF")).unlink()
    return root


def bad_empty(folder, **variant):
    """A zero-byte IMD of MS; its XML twin is whole."""
    root = wv2_2a_til(folder, **variant)
    next(root.rglob("*-M2AS-*.IMD")).write_bytes(b"")
    return root


def bad_link(folder):
    """A tile of MS is a link to a file outside the delivery."""
    root = wv2_2a_til(folder)
    tile = next(root.rglob("*M2AS_R1C1*.TIF"))
    outside = folder / "outside.TIF"
    tile.rename(outside)
    tile.symlink_to(outside)
    return root


def bad_til_path(folder, target="../../other.TIF"):
    root = wv2_2a_til(folder)
    til = next(root.rglob("*-M2AS-*.TIL"))
    tile = next(root.rglob("*M2AS_R1C1*.TIF"))
    shutil.copy(tile, root.parent / "other.TIF")
    til.write_text(til.read_text().replace(tile.name, target))
    return root


def bad_sharpened(folder):
    return wv2_2a_til(folder, sharpened="UNB")


def bad_mixed(folder):
    return wv2_2a_til(folder, cats=("1030010000000001", "1030010000000002"))


def _write_layer(folder, bundle, kind):
    scale = 4 if kind == "P" else 1
    codes = ("P",) if kind == "P" else bundle.codes
    rows, cols = [n * scale for n in bundle.rows], [n * scale for n in bundle.cols]
    draw = bundle.pixels or (lambda _, *shape: formula(*shape))
    values = draw("pan" if kind == "P" else "ms", len(codes), sum(rows), sum(cols))
    tiles = list(_cut(bundle, kind, rows, cols)) if bundle.is_tiled else []
    if tiles:
        for name, row, col, n_row, n_col in tiles:
            _write_raster(folder / name, values[:, row : row + n_row, col : col + n_col], bundle, scale, (row, col))
    else:
        _write_raster(folder / f"{bundle.stem(kind)}.TIF", values, bundle, scale, (0, 0))
    _write_metadata(folder, bundle, kind, codes, values.shape[1:], tiles)
    for path in list(folder.iterdir()) if bundle.is_lower else ():
        path.rename(path.with_name(path.name.lower()))


def _cut(bundle, kind, rows, cols):
    starts = [list(itertools.accumulate(sizes, initial=0))[:-1] for sizes in (rows, cols)]
    for (i, row), (j, col) in itertools.product(enumerate(starts[0]), enumerate(starts[1])):
        yield f"{bundle.stem(kind, f'_R{i + 1}C{j + 1}')}.TIF", row, col, rows[i], cols[j]


def _write_raster(path, values, bundle, scale, place):
    if bundle.level == "1B":
        write_tiff(path, values)
        return
    size = bundle.pixel / scale
    write_tiff(path, values, size=size, corner=(500000.0 + place[1] * size, 4640000.0 - place[0] * size))


def _write_metadata(folder, bundle, kind, codes, shape, tiles):
    stem = folder / bundle.stem(kind)
    imd, til = imd_items(bundle, kind, codes, shape), til_items(codes, tiles)
    rpc = linear_rpc(*bundle.rpcs[kind == "P"])
    band_id = "P" if kind == "P" else "Multi"
    texts = {"imd": pvl_text(imd, bundle.eol)}
    if tiles:
        texts["til"] = pvl_text(til, bundle.eol)
    texts["rpb"] = rpb_text(rpc, bundle.sat, band_id, bundle.eol)
    texts["xml"] = isd_text(imd, til if tiles else [], rpc, bundle)
    for name in bundle.metadata:
        if name in texts:
            stem.with_name(f"{stem.name}.{name.upper()}").write_bytes(texts[name].encode())


def imd_items(bundle, kind, codes, shape):
    """Statements of an IMD in order: (key, value), or (group, items)."""
    is_pan = kind == "P"
    size = (bundle.imd_size or shape) if not is_pan else shape
    stamp = datetime.strptime(bundle.stamps[is_pan].title(), "%y%b%d%H%M%S")  # noqa: DTZ007
    items = [
        ("version", "28.4"),
        ("generationTime", Bare("2016-07-02T08:15:42.000000Z")),
        ("productOrderId", bundle.product_id),
        ("imageDescriptor", bundle.descriptor),
        ("bandId", "P" if is_pan else "Multi"),
        ("panSharpenAlgorithm", "None" if is_pan else bundle.sharpened),
        ("numRows", size[0]),
        ("numColumns", size[1]),
        ("productLevel", bundle.product_level),
        ("productType", "Ortho Ready Standard"),
        ("radiometricLevel", "Corrected"),
        ("radiometricEnhancement", bundle.enhancement),
        ("bitsPerPixel", bundle.bits_per_pixel),
        *((f"BAND_{code}", _band(bundle.abs_cal[is_pan])) for code in codes),
        (
            "IMAGE_1",
            [
                ("satId", bundle.sat),
                ("CatId", bundle.cats[is_pan]),
                ("firstLineTime", Bare(f"{stamp.isoformat()}.046000Z")),
                *((key, Bare(value)) for key, value in _ANGLES.items()),
                ("cloudCover", Bare(bundle.cloud)),
                ("numTLC", 2),
                ("TLCList", [(0, Bare("0.000000")), (10240, Bare("0.512000"))]),
            ],
        ),
    ]
    return items if bundle.level == "1B" else [*items, ("MAP_PROJECTED_PRODUCT", _map(bundle, is_pan))]


_ANGLES = {"meanSunAz": "136.9", "meanSunEl": "66.6", "meanSatAz": "211.5", "meanOffNadirViewAngle": "12.3"}


def _band(abs_cal):
    return [
        ("ULLon", Bare("15.0")),
        ("ULLat", Bare("41.91")),
        ("ULHAE", Bare("120.00")),
        ("absCalFactor", Bare(f"{abs_cal:.6e}")),
        ("effectiveBandwidth", Bare("5.430000e-02")),
        ("TDILevel", 24),
    ]


def _map(bundle, is_pan):
    size = bundle.pixel / (4 if is_pan else 1)
    shift = 0.0 if is_pan else bundle.ulx_shift * size
    x, y = Bare(repr(500000 + size / 2 + shift)), Bare(repr(4640000 - size / 2))
    corner = [("originX", x), ("originY", y), ("productGSD", size), ("ULX", x), ("ULY", y)]
    return [
        ("datumName", "WE"),
        ("mapProjName", "UTM"),
        ("mapZone", 33),
        ("mapHemisphere", "N"),
        ("productUnits", "M"),
        ("colSpacing", size),
        ("rowSpacing", size),
        *(corner if bundle.has_ulx else [("productGSD", size)]),
        ("DEMCorrection", "Base Elevation"),
    ]


def til_items(codes, tiles):
    """Statements of a TIL."""
    items = [
        ("bandId", "P" if codes == ("P",) else "Multi"),
        ("numTiles", len(tiles)),
        ("tileSizeX", max((tile[4] for tile in tiles), default=0)),
        ("tileSizeY", max((tile[3] for tile in tiles), default=0)),
        ("tileUnits", "Pixels"),
        ("tileOverlap", 0),
    ]
    for number, (name, row, col, n_row, n_col) in enumerate(tiles, 1):
        rows, cols = (row, row + n_row - 1), (col, col + n_col - 1)
        corners = {"UL": (cols[0], rows[0]), "UR": (cols[1], rows[0]), "LR": (cols[1], rows[1])}
        corners["LL"] = (cols[0], rows[1])
        offsets = [
            (f"{c}{axis}Offset", v) for c, cr in corners.items() for axis, v in zip(("Col", "Row"), cr, strict=True)
        ]
        items.append((f"TILE_{number}", [("filename", name), *offsets]))
    return items


def pvl_text(items, eol="\n"):
    """Write statements as IMD and TIL files have them, one a line."""
    return eol.join([*_pvl_lines(items, ""), "END;", ""])


def _pvl_lines(items, indent):
    for key, value in items:
        if _is_group(key):
            yield from (f"BEGIN_GROUP = {key}", *_pvl_lines(value, "\t"), f"END_GROUP = {key}")
        elif isinstance(value, list):
            yield f"{indent}{key} = ( "
            yield from (f"{indent}({a}, {b})," for a, b in value[:-1])
            yield f"{indent}({value[-1][0]}, {value[-1][1]}) );"
        else:
            quoted = f'"{value}"' if isinstance(value, str) and not isinstance(value, Bare) else value
            yield f"{indent}{key} = {quoted};"


def _is_group(key):
    return key.startswith(("BAND_", "IMAGE_", "TILE_", "MAP_"))


def isd_text(imd, til, rpc, bundle):
    """Write the XML twin."""
    rpb = [("SATID", bundle.sat), ("SPECID", "RPC00B"), ("IMAGE_1", list(rpc.items()))]
    parts = [f"<IMD>{_xml(imd)}</IMD>", f"<TIL>{_xml(til)}</TIL>" if til else "", f"<RPB>{_xml(rpb)}</RPB>"]
    return f'<?xml version="1.0" encoding="utf-8"?>\n<isd>{"".join(parts)}</isd>\n'


def _xml(items):
    return "".join(_xml_item(key.upper(), value) for key, value in items)


def _xml_item(tag, value):
    if tag.startswith(("IMAGE_", "TILE_")):
        return f"<{tag.split('_')[0]}>{_xml(value)}</{tag.split('_')[0]}>"
    if _is_group(tag):
        return f"<{tag}>{_xml(value)}</{tag}>"
    if tag.endswith("COEF"):
        return f"<{tag}List><{tag}>{' '.join(f'{number:.15E}' for number in value)}</{tag}></{tag}List>"
    if isinstance(value, list):
        return f"<{tag}List>{''.join(f'<{tag}>{a} {b}</{tag}>' for a, b in value)}</{tag}List>"
    return f"<{tag}>{value}</{tag}>"
