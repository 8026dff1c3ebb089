"""Landsat deliveries: one TIFF for each band and an MTL, of collections 1 and 2 and of the time before them."""

from __future__ import annotations

import numpy as np

from deliveries.pixels import formula, write_tiff

L8_C2 = "LC08_L1TP_195025_20200706_20200913_02_T1"
L8_C2_LEVEL2 = "LC08_L2SP_195025_20200706_20200913_02_T1"
L7_C1 = "LE07_L1TP_195025_20010730_20170204_01_T1"
L8_BEFORE = "LC81950252014202LGN00"
UTM32 = "EPSG:32632"

RADIANCE_MULT = {1: 1.2e-2, 2: 1.25e-2, 3: 1.15e-2, 4: 9.7e-3, 5: 5.9e-3, 6: 1.4e-3, 7: 4.9e-4, 8: 1.1e-2, 9: 2.3e-3}
ETM_MULT = {1: 0.779, 2: 0.799, 3: 0.622, 4: 0.969, 5: 0.126, 7: 0.044, 8: 0.975}
FILL_ROWS = 12  # legs of the triangle without data, MS pixels


def l8_c2(folder, *, level="L1TP", metadata=("txt",), pixels=None, without=(), cropped=False, mtl=None):
    """Write `l8_c2`; `level` L2SP: surface values, no PAN, names of level 1 files in the record of their processing.

    `metadata` says which MTL files are written (txt, xml), `without` band numbers whose files are left out, `cropped`
    cuts the rasters while the MTL keeps its sizes, `mtl` changes the groups of the MTL: callable on the nested dict.
    """
    scene = L8_C2 if level == "L1TP" else L8_C2_LEVEL2
    root = folder / scene
    ms_shape, pan_shape = ((31, 41), (61, 81)) if cropped else ((51, 61), (101, 121))
    numbers = [1, 2, 3, 4, 5, 6, 7, *([9] if level == "L1TP" else [])]
    names = {number: _c2_name(scene, number, level) for number in [*numbers, *([8] if level == "L1TP" else [])]}
    for number in numbers:
        if number not in without:
            _band(root / names[number], number, ms_shape, 30, (389985.0, 5689215.0), pixels=pixels)
    if level == "L1TP" and 8 not in without:
        _band(root / names[8], 8, pan_shape, 15, (389992.5, 5689207.5), pixels=pixels)
    quality = np.ones((1, *ms_shape), np.uint16)
    write_tiff(root / f"{scene}_QA_PIXEL.TIF", quality, size=30, corner=(389985.0, 5689215.0), crs=UTM32)
    groups = {"LANDSAT_METADATA_FILE": _c2_groups(scene, names, level)}
    if mtl is not None:
        mtl(groups)
    _write_mtl(root / f"{scene}_MTL", groups, metadata)
    return root


def l7_c1(folder, *, pixels=None, without=(), mtl=None):
    """Write `l7_c1`: 8 bit, two thermal bands that are to be ignored."""
    root, corner = folder / L7_C1, (380385.0, 5681115.0)
    for number in (1, 2, 3, 4, 5, 7):
        if number not in without:
            values = pixels if pixels is not None else None
            _band(root / f"{L7_C1}_B{number}.TIF", number, (41, 41), 30, corner, pixels=values, bits=8)
    if 8 not in without:
        _band(root / f"{L7_C1}_B8.TIF", 8, (81, 81), 15, (380392.5, 5681107.5), pixels=pixels, bits=8)
    for extra in ("B6_VCID_1", "B6_VCID_2"):
        write_tiff(root / f"{L7_C1}_{extra}.TIF", np.full((1, 41, 41), 90, np.uint8), size=30, corner=corner, crs=UTM32)
    write_tiff(root / f"{L7_C1}_BQA.TIF", np.full((1, 41, 41), 672, np.uint16), size=30, corner=corner, crs=UTM32)
    groups = {"L1_METADATA_FILE": _c1_groups(L7_C1)}
    if mtl is not None:
        mtl(groups)
    _write_mtl(root / f"{L7_C1}_MTL", groups, ("txt",))
    return root


def l8_before(folder, *, pixels=None):
    """Write a Landsat-8 scene from before the collections: an id without underscores, no product id in its MTL."""
    root, corner = folder / L8_BEFORE, (389985.0, 5689215.0)
    names = {number: f"{L8_BEFORE}_B{number}.TIF" for number in range(1, 10)}
    for number, name in names.items():
        if number != 8:
            _band(root / name, number, (21, 31), 30, corner, pixels=pixels)
    _band(root / names[8], 8, (41, 61), 15, (389992.5, 5689207.5), pixels=pixels)
    write_tiff(root / f"{L8_BEFORE}_BQA.TIF", np.ones((1, 21, 31), np.uint16), size=30, corner=corner, crs=UTM32)
    _write_mtl(root / f"{L8_BEFORE}_MTL", {"L1_METADATA_FILE": _before_groups(names)}, ("txt",))
    return root


def no_mtl(folder):
    """Write `l8_c2` without its MTL."""
    return l8_c2(folder, metadata=())


def fill_triangle(n_row, n_col, leg):
    """Where a band has no data: the upper-left corner, `leg` pixels along both sides."""
    return np.add.outer(np.arange(n_row), np.arange(n_col)) < leg


def odl(groups, depth=0):
    """Lines of nested groups as an MTL writes them; texts are quoted, other values (with dates as `Bare`) are not."""
    indent, lines = "  " * depth, []
    for key, value in groups.items():
        if isinstance(value, dict):
            lines += [f"{indent}GROUP = {key}", *odl(value, depth + 1), f"{indent}END_GROUP = {key}"]
        else:
            quoted = isinstance(value, str) and not isinstance(value, Bare)
            lines.append(f'{indent}{key} = "{value}"' if quoted else f"{indent}{key} = {value}")
    return lines


class Bare(str):
    """A value that an MTL writes without quotes, as dates are."""

    __slots__ = ()


def _write_mtl(stem, groups, kinds):
    stem.parent.mkdir(parents=True, exist_ok=True)
    if "txt" in kinds:
        stem.with_name(f"{stem.name}.txt").write_text("\n".join([*odl(groups), "END", ""]))
    if "xml" in kinds:
        text = "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', *_xml(groups), ""])
        stem.with_name(f"{stem.name}.xml").write_text(text)


def _xml(groups):
    for key, value in groups.items():
        if isinstance(value, dict):
            yield from (f"<{key}>", *_xml(value), f"</{key}>")
        else:
            yield f"<{key}>{value}</{key}>"


def _band(path, number, shape, size, corner, *, pixels, bits=16):
    modulus, dtype = (250, "uint8") if bits == 8 else (2000, "uint16")
    kind = "pan" if number == 8 else "ms"
    if pixels is not None:
        values = pixels(kind, number, *shape)
    else:
        values = formula(number, *shape, modulus=modulus, dtype=dtype)[number - 1 :]
    if pixels is None and bits == 16:
        values[:, fill_triangle(*shape, FILL_ROWS * 30 // size)] = 0
    write_tiff(path, values, size=size, corner=corner, crs=UTM32)


def _c2_name(scene, number, level):
    return f"{scene}_B{number}.TIF" if level == "L1TP" else f"{scene}_SR_B{number}.TIF"


def _scaling(kind, values, mult="RADIANCE_MULT", add="RADIANCE_ADD"):
    table = {f"{mult}_{kind}_{number}": value for number, value in values.items()}
    return table | {f"{add}_{kind}_{number}": -5 * value for number, value in values.items()}


def _reflectance(numbers, mult, add):
    table = {f"REFLECTANCE_MULT_BAND_{number}": mult for number in numbers}
    return table | {f"REFLECTANCE_ADD_BAND_{number}": add for number in numbers}


def _limits(numbers, most):
    table = {}
    for number in numbers:
        table |= {f"QUANTIZE_CAL_MAX_BAND_{number}": most, f"QUANTIZE_CAL_MIN_BAND_{number}": 1}
    return table


_SIZES = {
    "PANCHROMATIC_LINES": 101,
    "PANCHROMATIC_SAMPLES": 121,
    "REFLECTIVE_LINES": 51,
    "REFLECTIVE_SAMPLES": 61,
}
_ANGLES = {"SUN_AZIMUTH": 148.6, "SUN_ELEVATION": 57.9, "EARTH_SUN_DISTANCE": 1.0166943}


def _c2_groups(scene, names, level):
    contents = {
        "ORIGIN": "Image courtesy of the U.S. Geological Survey",
        "LANDSAT_PRODUCT_ID": scene,
        "PROCESSING_LEVEL": level,
        "COLLECTION_NUMBER": Bare("02"),
        "OUTPUT_FORMAT": "GEOTIFF",
        **{f"FILE_NAME_BAND_{number}": name for number, name in names.items()},
        "FILE_NAME_QUALITY_L1_PIXEL": f"{scene}_QA_PIXEL.TIF",
    }
    image = {
        "SPACECRAFT_ID": "LANDSAT_8",
        "SENSOR_ID": "OLI_TIRS",
        "WRS_PATH": 195,
        "DATE_ACQUIRED": Bare("2020-07-06"),
        "SCENE_CENTER_TIME": "10:17:42.1661960Z",
        "CLOUD_COVER": 3.25,
        **_ANGLES,
    }
    projection = {
        "MAP_PROJECTION": "UTM",
        "UTM_ZONE": 32,
        **_SIZES,
        "CORNER_UL_PROJECTION_X_PRODUCT": "390000.000",
        "CORNER_UL_PROJECTION_Y_PRODUCT": "5689200.000",
    }
    groups = {"PRODUCT_CONTENTS": contents, "IMAGE_ATTRIBUTES": image, "PROJECTION_ATTRIBUTES": projection}
    if level != "L1TP":
        numbers = range(1, 8)
        groups["LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"] = _reflectance(numbers, 2.75e-05, -0.2)
        groups["LEVEL1_PROCESSING_RECORD"] = {
            "LANDSAT_PRODUCT_ID": L8_C2,
            "PROCESSING_LEVEL": "L1TP",
            **{f"FILE_NAME_BAND_{number}": f"{L8_C2}_B{number}.TIF" for number in range(1, 10)},
        }
    groups["LEVEL1_MIN_MAX_PIXEL_VALUE"] = _limits(range(1, 10), 65535)
    rescaling = _scaling("BAND", RADIANCE_MULT) | _reflectance(range(1, 10), 2.0e-05, -0.1)
    groups["LEVEL1_RADIOMETRIC_RESCALING"] = rescaling
    return groups


def _c1_groups(scene):
    product = {
        "DATA_TYPE": "L1TP",
        "COLLECTION_CATEGORY": "T1",
        "SPACECRAFT_ID": "LANDSAT_7",
        "SENSOR_ID": "ETM",
        "DATE_ACQUIRED": Bare("2001-07-30"),
        "SCENE_CENTER_TIME": "10:10:23.9451220Z",
        "CORNER_UL_PROJECTION_X_PRODUCT": "380400.000",
        "CORNER_UL_PROJECTION_Y_PRODUCT": "5681100.000",
        "PANCHROMATIC_LINES": 81,
        "PANCHROMATIC_SAMPLES": 81,
        "REFLECTIVE_LINES": 41,
        "REFLECTIVE_SAMPLES": 41,
        **{f"FILE_NAME_BAND_{number}": f"{scene}_B{number}.TIF" for number in (1, 2, 3, 4, 5)},
        **{f"FILE_NAME_BAND_6_VCID_{number}": f"{scene}_B6_VCID_{number}.TIF" for number in (1, 2)},
        **{f"FILE_NAME_BAND_{number}": f"{scene}_B{number}.TIF" for number in (7, 8)},
        "FILE_NAME_BAND_QUALITY": f"{scene}_BQA.TIF",
    }
    numbers = (1, 2, 3, 4, 5, 7, 8)
    return {
        "METADATA_FILE_INFO": {"LANDSAT_SCENE_ID": "LE71950252001211EDC00", "LANDSAT_PRODUCT_ID": scene},
        "PRODUCT_METADATA": product,
        "IMAGE_ATTRIBUTES": {"CLOUD_COVER": 12.0, "SUN_AZIMUTH": 142.9, "SUN_ELEVATION": 53.7},
        "MIN_MAX_PIXEL_VALUE": _limits(numbers, 255),
        "RADIOMETRIC_RESCALING": _scaling("BAND", ETM_MULT) | _reflectance(numbers, 1.5e-03, -0.01),
    }


def _before_groups(names):
    product = {
        "DATA_TYPE": "L1T",
        "SPACECRAFT_ID": "LANDSAT_8",
        "SENSOR_ID": "OLI_TIRS",
        "DATE_ACQUIRED": Bare("2014-07-21"),
        "SCENE_CENTER_TIME": Bare("10:16:35.2914380Z"),
        **_SIZES,
        **{f"FILE_NAME_BAND_{number}": name for number, name in names.items()},
        "FILE_NAME_BAND_QUALITY": f"{L8_BEFORE}_BQA.TIF",
    }
    return {
        "METADATA_FILE_INFO": {"LANDSAT_SCENE_ID": L8_BEFORE},
        "PRODUCT_METADATA": product,
        "IMAGE_ATTRIBUTES": {"CLOUD_COVER": -1.0, "SUN_AZIMUTH": 145.1, "SUN_ELEVATION": 56.2},
        "MIN_MAX_PIXEL_VALUE": _limits(names, 65535),
        "RADIOMETRIC_RESCALING": _scaling("BAND", RADIANCE_MULT) | _reflectance(names, 2.0e-05, -0.1),
    }
