"""DIMAP v2 deliveries: Pleiades, SPOT and Pleiades Neo bundles of a volume, components, images and RPC models."""

from __future__ import annotations

from deliveries.pixels import CORNER, UTM33, formula, linear_rpc, write_tiff

PAN_FOLDER, MS_FOLDER = "IMG_PHR1A_P_001", "IMG_PHR1A_MS_002"
ORDER = ("B2", "B1", "B0", "B3")
GAIN = {"P": 11.0, "B0": 9.5, "B1": 9.25, "B2": 10.0, "B3": 16.0}
IRRADIANCE = {"P": 1548.0, "B0": 1915.0, "B1": 1830.0, "B2": 1594.0, "B3": 1060.0}
TIME = ("2019-05-01", "10:30:15.2Z")


def phr_dimap(folder, *, level="ORTHO", tiles=1, order=ORDER, changes=None, pixels=formula):
    """Write `phr_dimap`.

    `level` SENSOR: images without georeference, with `RPC_*.XML`; `tiles` 2: MS in two tiles, one above the other;
    `order`: BAND_ID of the radiometric list; `changes`: {"pan" or "ms" or "volume": callable on the XML text}.
    """
    changes = changes or {}
    for kind in ("pan", "ms"):
        _component(folder, kind, level, tiles if kind == "ms" else 1, order, changes, pixels)
    names = (f"{PAN_FOLDER}/DIM_PHR1A_P.XML", f"{MS_FOLDER}/DIM_PHR1A_MS.XML")
    _write(folder / "VOL_PHR.XML", volume_xml(names), changes.get("volume"))
    return folder


def phr_pms(folder, *, beside=False):
    """Write a product that is sharpened already; `beside` the bundle it was made from."""
    if beside:
        phr_dimap(folder, changes={"volume": lambda text: _with_component(text, "IMG_PHR1A_PMS_003/DIM_PHR1A_PMS.XML")})
    else:
        _write(folder / "VOL_PHR.XML", volume_xml(("IMG_PHR1A_PMS_003/DIM_PHR1A_PMS.XML",)))
    place = folder / "IMG_PHR1A_PMS_003"
    write_tiff(place / "IMG_PHR1A_PMS_R1C1.TIF", formula(4, 32, 32), size=0.5)
    text = dimap_xml("PMS", (32, 32), 0.5, (data_files(["IMG_PHR1A_PMS_R1C1.TIF"]),), ORDER, "ORTHO")
    _write(place / "DIM_PHR1A_PMS.XML", text)
    return folder


def pneo_dimap(folder, *, parts=("RGB", "NED"), tiles=1, index_list=True):
    """Write a Pleiades Neo bundle in sensor geometry without a volume: MS-FS in an RGB and a NED file."""
    stamp = "202207110043428"
    pan = folder / "IMG_10_PNEO4_PAN"
    base = f"PNEO4_{stamp}_PAN_SEN_000028295_1_10_F_1"
    write_tiff(pan / f"IMG_{base}_P_R1C1.TIF", formula(1, 64, 64))
    text = dimap_xml(
        "PAN", (64, 64), None, (data_files([f"IMG_{base}_P_R1C1.TIF"]),), ("P",), "SENSOR", mission="PNEO", index="4"
    )
    _write(pan / f"DIM_{base}.XML", text)
    _write(pan / f"RPC_{base}.XML", rpc_xml(linear_rpc(32.0, 32.0, 32.0, 32.0), neo=True))
    ms, base = folder / "IMG_10_PNEO4_MS-FS", f"PNEO4_{stamp}_MS-FS_SEN_000028295_1_10_F_1"
    bands = {"RGB": ("R", "G", "B"), "NED": ("NIR", "RE", "DB")}
    groups = []
    for part in parts:
        names = [f"IMG_{base}_{part}_R{row + 1}C1.TIF" for row in range(tiles)]
        for name in names:
            write_tiff(ms / name, formula(3, 16 // tiles, 16))
        groups.append(data_files(names, bands[part] if index_list else ()))
    radiometric = ("B", "DB", "G", "NIR", "R", "RE")
    text = dimap_xml("MS-FS", (16, 16), None, groups, radiometric, "SENSOR", mission="PNEO", index="4")
    _write(ms / f"DIM_{base}.XML", text)
    _write(ms / f"RPC_{base}.XML", rpc_xml(linear_rpc(7.625, 8.0, 7.625, 8.0), neo=True))
    return folder


def bad_href(folder, *, volume=False):
    """Write `phr_dimap` of which the MS component (or the volume) names a file outside the delivery."""
    write_tiff(folder / "outside" / "IMG_X_R1C1.TIF", formula(4, 64, 64), size=2)
    if volume:
        change = {"volume": lambda text: text.replace(MS_FOLDER, "../outside")}
    else:
        change = {"ms": lambda text: text.replace("IMG_PHR1A_MS_R1C1.TIF", "../../outside/IMG_X_R1C1.TIF")}
    return phr_dimap(folder / "delivery", changes=change)


def bad_doctype(folder, *, which="ms"):
    """Write `phr_dimap` of which one XML file (pan, ms, volume) declares an external entity."""

    def declare(text):
        head, body = text.split("\n", 1)
        return f'{head}\n<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>\n{body}'

    return phr_dimap(folder, changes={which: declare})


def volume_xml(hrefs):
    """Text of a volume."""
    items = "".join(f'<Component><COMPONENT_PATH href="{href}"/></Component>\n' for href in hrefs)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Dimap_Document>\n<Dataset_Content><Dataset_Components>\n'
        f"{items}</Dataset_Components></Dataset_Content>\n</Dimap_Document>\n"
    )


def data_files(names, bands=()):
    """Text of the images that hold the same bands, named ..._R<r>C<c>; with BAND_INDEX where `bands` are given."""
    items = []
    for name in names:
        place = name.rsplit("_R", 1)[1].split(".")[0].split("C")
        items.append(f'<Data_File tile_R="{place[0]}" tile_C="{place[1]}"><DATA_FILE_PATH href="{name}"/></Data_File>')
    return "<Data_Files>" + "".join(items) + raster_index(bands) + "</Data_Files>"


def raster_index(bands):
    """Text of the list of raster bands, written last band first."""
    items = [
        f"<Raster_Index><BAND_ID>{band}</BAND_ID><BAND_INDEX>{number}</BAND_INDEX></Raster_Index>"
        for number, band in enumerate(bands, 1)
    ]
    return f"<Raster_Index_List>{''.join(reversed(items))}</Raster_Index_List>" if items else ""


def dimap_xml(spectral, shape, size, groups, order, level, *, mission="PHR", index="1A", tile_rows=None):
    """Text of a component; `size` None: no map; ULXMAP / ULYMAP are the centre of the first pixel."""
    radiance = "".join(
        f"<Band_Radiance><BAND_ID>{band}</BAND_ID><GAIN>{GAIN.get(band, 10.0)}</GAIN><BIAS>0</BIAS></Band_Radiance>\n"
        for band in order
    )
    irradiance = "".join(
        f"<Band_Solar_Irradiance><BAND_ID>{band}</BAND_ID><VALUE>{IRRADIANCE.get(band, 1500.0)}</VALUE>"
        "</Band_Solar_Irradiance>\n"
        for band in order
    )
    place = "" if size is None else (
        "<Coordinate_Reference_System><Projected_CRS><PROJECTED_CRS_CODE>urn:ogc:def:crs:EPSG::32633"
        "</PROJECTED_CRS_CODE></Projected_CRS></Coordinate_Reference_System>\n<Geoposition><Geoposition_Insert>"
        f'<ULXMAP unit="m">{CORNER[0] + size / 2}</ULXMAP><ULYMAP unit="m">{CORNER[1] - size / 2}</ULYMAP>'
        f'<XDIM unit="m">{size}</XDIM><YDIM unit="m">{size}</YDIM></Geoposition_Insert></Geoposition>\n'
    )  # fmt: skip
    tiling = "" if tile_rows is None else (
        f'<Tile_Set><NTILES>2</NTILES><Regular_Tiling><NTILES_SIZE nrows="{tile_rows}" ncols="{shape[1]}"/>'
        "<OVERLAP_ROW>0</OVERLAP_ROW><OVERLAP_COL>0</OVERLAP_COL></Regular_Tiling></Tile_Set>"
    )  # fmt: skip
    display = ""
    if "B2" in order:
        display = (
            "<Band_Display_Order><RED_CHANNEL>B2</RED_CHANNEL><GREEN_CHANNEL>B1</GREEN_CHANNEL>"
            "<BLUE_CHANNEL>B0</BLUE_CHANNEL></Band_Display_Order>"
        )
    angles = "".join(
        f"<Located_Geometric_Values><LOCATION_TYPE>{where}</LOCATION_TYPE><Acquisition_Angles><AZIMUTH_ANGLE>180.5"
        f"</AZIMUTH_ANGLE><VIEWING_ANGLE>{view}</VIEWING_ANGLE><INCIDENCE_ANGLE>{view + 1.5}</INCIDENCE_ANGLE>"
        f"</Acquisition_Angles><Solar_Incidences><SUN_AZIMUTH>151.0</SUN_AZIMUTH><SUN_ELEVATION>{sun}</SUN_ELEVATION>"
        "</Solar_Incidences></Located_Geometric_Values>\n"
        for where, view, sun in (("Top Center", 12.0, 59.0), ("Center", 12.5, 60.0), ("Bottom Center", 13.0, 61.0))
    )
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Dimap_Document xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<Metadata_Identification><METADATA_FORMAT version="2.15">DIMAP</METADATA_FORMAT></Metadata_Identification>
<Dataset_Identification><DATASET_NAME>DS_{mission}{index}_{spectral}</DATASET_NAME></Dataset_Identification>
<Dataset_Content><CLOUD_COVERAGE unit="percent">2.5</CLOUD_COVERAGE></Dataset_Content>
{place}<Processing_Information><Product_Settings><PROCESSING_LEVEL>{level}</PROCESSING_LEVEL>
<SPECTRAL_PROCESSING>{spectral}</SPECTRAL_PROCESSING>
<Radiometric_Settings><RADIOMETRIC_PROCESSING>BASIC</RADIOMETRIC_PROCESSING></Radiometric_Settings>
</Product_Settings></Processing_Information>
<Raster_Data><Data_Access>{"".join(groups)}</Data_Access>
<Raster_Dimensions><NROWS>{shape[0]}</NROWS><NCOLS>{shape[1]}</NCOLS><NBANDS>{len(order)}</NBANDS>{tiling}</Raster_Dimensions>
<Raster_Encoding><NBITS>16</NBITS></Raster_Encoding>
<Raster_Display>{display}
<Special_Value><SPECIAL_VALUE_COUNT>0</SPECIAL_VALUE_COUNT><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT></Special_Value>
<Special_Value><SPECIAL_VALUE_COUNT>4095</SPECIAL_VALUE_COUNT><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT></Special_Value>
</Raster_Display></Raster_Data>
<Radiometric_Data><Dynamic_Range><PRODUCT_RANGE>12</PRODUCT_RANGE></Dynamic_Range>
{radiance}{irradiance}</Radiometric_Data>
<Geometric_Data><Use_Area>{angles}</Use_Area></Geometric_Data>
<Dataset_Sources><Source_Identification><Strip_Source><MISSION>{mission}</MISSION><MISSION_INDEX>{index}</MISSION_INDEX>
<IMAGING_DATE>{TIME[0]}</IMAGING_DATE><IMAGING_TIME>{TIME[1]}</IMAGING_TIME></Strip_Source></Source_Identification></Dataset_Sources>
</Dimap_Document>
"""


def rpc_xml(values, *, neo=False):
    """Text of an RPC file for a model whose offsets count from 0; `neo`: as Pleiades Neo writes it."""
    first = 0 if neo else 1
    inverse, direct = ("GroundtoImage_Values", "ImagetoGround_Values") if neo else ("Inverse_Model", "Direct_Model")
    domain = "ImagetoGround_Validity_Domain" if neo else "Direct_Model_Validity_Domain"
    coefficients = "".join(
        f"<{tag}_{number}>{value!r}</{tag}_{number}>"
        for key, tag in (
            ("lineNumCoef", "LINE_NUM_COEFF"),
            ("lineDenCoef", "LINE_DEN_COEFF"),
            ("sampNumCoef", "SAMP_NUM_COEFF"),
            ("sampDenCoef", "SAMP_DEN_COEFF"),
        )
        for number, value in enumerate(values[key], 1)
    )
    scales = "".join(
        f"<{tag}_SCALE>{values[f'{key}Scale']!r}</{tag}_SCALE>"
        f"<{tag}_OFF>{values[f'{key}Offset'] + (first if key in ('line', 'samp') else 0)!r}</{tag}_OFF>"
        for key, tag in (("long", "LONG"), ("lat", "LAT"), ("height", "HEIGHT"), ("samp", "SAMP"), ("line", "LINE"))
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Dimap_Document><Rational_Function_Model><Global_RFM>
<{direct}><SAMP_NUM_COEFF_1>7</SAMP_NUM_COEFF_1></{direct}>
<{inverse}>{coefficients}</{inverse}>
<RFM_Validity><{domain}><FIRST_ROW>{first}</FIRST_ROW><FIRST_COL>{first}</FIRST_COL></{domain}>{scales}</RFM_Validity>
</Global_RFM></Rational_Function_Model></Dimap_Document>
"""


def _component(folder, kind, level, tiles, order, changes, pixels):
    pan = kind == "pan"
    place, word = (folder / PAN_FOLDER, "P") if pan else (folder / MS_FOLDER, "MS")
    n_band, side, size = (1, 256, 0.5) if pan else (4, 64, 2.0)
    values = pixels(n_band, side, side)
    edges = (0, side) if tiles == 1 else (0, 40, side)
    names = [f"IMG_PHR1A_{word}_R{number}C1.TIF" for number in range(1, len(edges))]
    is_map = level == "ORTHO"
    for name, start, stop in zip(names, edges, edges[1:], strict=False):
        corner = (CORNER[0], CORNER[1] - start * size)
        profile = {"size": size, "corner": corner, "crs": UTM33} if is_map else {}
        write_tiff(place / name, values[:, start:stop], **profile)
    bands = ("P",) if pan else order
    tile_rows = edges[1] if tiles > 1 else None
    groups = (data_files(names),)
    text = dimap_xml(word, (side, side), size if is_map else None, groups, bands, level, tile_rows=tile_rows)
    _write(place / f"DIM_PHR1A_{word}.XML", text, changes.get(kind))
    if not is_map:
        # "exact 4:1": MS offsets are (PAN offset + 0.5) / 4 - 0.5
        values = linear_rpc(128.0, 128.0, 128.0, 128.0) if pan else linear_rpc(31.625, 32.0, 31.625, 32.0)
        _write(place / f"RPC_PHR1A_{word}.XML", rpc_xml(values))


def _with_component(text, href):
    return text.replace(
        "</Dataset_Components>", f'<Component><COMPONENT_PATH href="{href}"/></Component></Dataset_Components>'
    )


def _write(path, text, change=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if change is None else change(text), encoding="utf-8")
