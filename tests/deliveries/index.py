"""Every synthetic delivery by its name: who writes it, and the whole record that its opening must give.

Expected values are facts of the formats (band tables, published coefficients, closed forms), never what the code says.
Notes and warnings are patterns, one for each, in order.
"""

from __future__ import annotations

import math
import tarfile
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from deliveries import digitalglobe, dimap, gaofen, geoeye, landsat
from deliveries.pixels import CORNER, UTM33, formula, write_tiff

NAMES = ("blue", "green", "red", "nir")
EIGHT = ("coastal", "blue", "green", "yellow", "red", "rededge", "nir", "nir2")

_WORLDVIEW = [(400, 450), (450, 510), (510, 580), (585, 625), (630, 690), (705, 745), (770, 895), (860, 1040)]
_GEOEYE = [(450, 510), (510, 580), (655, 690), (780, 920)]
_QUICKBIRD = [(430, 545), (466, 620), (590, 710), (715, 918)]
_GAOFEN_2 = [(450, 520), (520, 590), (630, 690), (770, 890)]
_GAOFEN_6 = [(450, 520), (520, 600), (630, 690), (760, 900)]
_OLI = [(435, 451), (452, 512), (533, 590), (636, 673), (851, 879), (1566, 1651), (2107, 2294)]
_ETM = [(450, 520), (520, 600), (630, 690), (770, 900), (1550, 1750), (2080, 2350)]
_PLEIADES = [(590, 710), (500, 620), (430, 550), (740, 940)]  # red, green, blue, nir

MAXAR_SUN = 66.6
MAXAR_BANDWIDTH = 0.0543


@dataclass(frozen=True)
class Delivery:
    """A delivery: `write(folder)` returns what a user passes, `small` are keywords for a small one with equal facts."""

    write: object
    record: dict
    small: dict = field(default_factory=dict)


def pack(root, path):
    """Put a folder into a zip, tar or tar.gz, as the suffix of `path` says; its name is the first part of members."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(root.rglob("*")):
                archive.write(file, file.relative_to(root.parent))
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
            archive.add(root, root.name)
    return path


def sun_factor(time, elevation):
    """pi d^2 / sin(elevation), d from the closed form of the Astronomical Almanac."""
    days = (datetime.fromisoformat(time) - datetime(2000, 1, 1, 12, tzinfo=UTC)).total_seconds() / 86400
    a = math.radians(357.529 + 0.98560028 * days)
    d = 1.00014 - 0.01671 * math.cos(a) - 0.00014 * math.cos(2 * a)
    return math.pi * d**2 / math.sin(math.radians(elevation))


def _calibration(rows, time, elevation, source):
    """`rows`: radiance gain, offset and irradiance (None: not known) of each band."""
    gain, offset = [row[0] for row in rows], [row[1] for row in rows]
    known = rows[0][2] is not None
    scale = [sun_factor(time, elevation) / row[2] for row in rows] if known else []
    return {
        "radiance_gain": gain,
        "radiance_offset": offset,
        "toa_gain": [g * s for g, s in zip(gain, scale, strict=True)] if known else None,
        "toa_offset": [o * s for o, s in zip(offset, scale, strict=True)] if known else None,
        "source": source,
        "missing": "" if known else "the solar irradiance of a band is not known",
    }


def _maxar(rows, abs_cal, time, title):
    """`rows`: published adjustment gain, offset and irradiance; L = g DN absCalFactor / effectiveBandwidth + o."""
    gains = [(g * abs_cal / MAXAR_BANDWIDTH, o, e) for g, o, e in rows]
    which = "(calibration tables 2016v0 / 2018v0 of the vendor, which one is unverified)"
    source = f"absCalFactor of the product with the adjustment factors of {title} {which}"
    return _calibration(gains, time, MAXAR_SUN, source)


WV02 = [
    (1.203, -11.839, 1773.81), (1.002, -9.835, 2007.27), (0.953, -7.218, 1829.62), (0.946, -5.675, 1701.85),
    (0.955, -5.046, 1538.85), (0.980, -6.114, 1346.09), (0.966, -5.096, 1053.21), (1.010, -4.059, 856.6),
]  # fmt: skip
WV03 = [
    (0.938, -13.099, 1757.89), (0.946, -9.409, 2004.61), (0.958, -7.771, 1830.18), (0.979, -5.489, 1712.07),
    (0.969, -4.579, 1535.33), (1.027, -5.552, 1348.08), (0.977, -6.508, 1055.94), (1.007, -3.699, 858.77),
]  # fmt: skip
QB02 = [(1.105, -2.820, 1949.59), (1.071, -3.338, 1823.64), (1.060, -2.954, 1553.78), (1.020, -4.722, 1102.85)]
GE01 = [(1.041, 0.0, 1993.18), (0.972, 0.0, 1828.83), (0.979, 0.0, 1491.49), (0.951, 0.0, 1022.58)]
GF2_PMS1 = [(0.1374, 0.0, 1966.81), (0.1784, 0.0, 1822.61), (0.1723, 0.0, 1523.19), (0.1894, 0.0, 1066.55)]
GF6_PMS = [(0.082, 0.0, None), (0.0645, 0.0, None), (0.0489, 0.0, None), (0.0286, 0.0, None)]
PHR = [(1 / 10.0, 0.0, 1594.0), (1 / 9.25, 0.0, 1830.0), (1 / 9.5, 0.0, 1915.0), (1 / 16.0, 0.0, 1060.0)]


def _landsat(mult, reflectance, elevation):
    """MULT and ADD of the MTL (ADD is -5 MULT in ours); reflectance is divided by the sine of the sun elevation."""
    sine, n_band = math.sin(math.radians(elevation)), len(mult)
    return {
        "radiance_gain": mult,
        "radiance_offset": [-5 * value for value in mult],
        "toa_gain": [reflectance[0] / sine] * n_band,
        "toa_offset": [reflectance[1] / sine] * n_band,
        "source": "rescaling factors of the MTL",
        "missing": "",
    }


def _bands(roles, wavelengths, gains, descriptions=None):
    texts = descriptions or [None] * len(roles)
    return [
        {"role": role, "description": text, "wavelength": None if limits is None else list(limits), "gnyq": gain}
        for role, text, limits, gain in zip(roles, texts, wavelengths, gains, strict=True)
    ]


def _grid(shape, size, corner=CORNER):
    """North up, `corner` outer upper left."""
    return {
        "shape": list(shape),
        "transform": [size, 0.0, corner[0], 0.0, -size, corner[1]],
        "resolution": [size, size],
    }


def _pixels(shape, size=1.0, corner=(0.0, 0.0)):
    """Rows count downwards, in PAN pixels; `corner` (col, row)."""
    return {
        "shape": list(shape),
        "transform": [size, 0.0, corner[0], 0.0, size, corner[1]],
        "resolution": [size, size],
    }


def _layer(files, grid, gsd, dtype="uint16", nodata=0):
    return {"files": files, "dtype": dtype, "nodata": nodata, "mask": False, "gsd": gsd, **grid}


def _record(name, family, sensor, *, ms, pan, **changes):
    """The record of a scene on a map without overhang, of which the metadata say nothing; `changes` say the rest."""
    unknown = ("platform", "product_id", "level", "time", "cloud", "sun_azimuth", "sun_elevation", "view_azimuth")
    unknown += ("off_nadir", "heights", "shift", "calibration", "uncalibrated")
    known = {
        "name": name, "family": family, "sensor": sensor, "geometry": "map", "crs": UTM33, "rpc": False, "bits": 11,
        "ms": ms, "pan": pan, "ratio": [4.0, 4.0], "phase": [0.0, 0.0],
        "overlap": [0, pan["shape"][0], 0, pan["shape"][1]],
        "output": {key: pan[key] for key in ("shape", "transform", "resolution")}, "notes": [], "warnings": [],
    }  # fmt: skip
    return {**dict.fromkeys(unknown), **known, **changes}


_MAXAR = {
    "cloud": 0.01,
    "sun_azimuth": 136.9,
    "sun_elevation": MAXAR_SUN,
    "view_azimuth": 211.5,
    "off_nadir": 12.3,
    "rpc": True,
}


def _maxar_files(product, stamp, level, tiles=("",)):
    return [f"{stamp}-{level}S{tile}-{product}.TIF" for tile in tiles]


_WV2 = "056078906010_01_P001"
_WV2_TILES = ("_R1C1", "_R1C2", "_R2C1", "_R2C2")
_WV2_TIME = "2016-06-23T09:53:30.046Z"
_WV3 = "058800100010_01_P001"
_WV3_TIME = "2017-08-05T10:11:12.046Z"
_QB2 = "005511223010_01_P001"
_QB2_TIME = "2005-05-12T10:30:15.046Z"
_GE1 = "055112230100_01_P001"
_GE1_TIME = "2011-07-04T10:22:33.046Z"

wv2_2a_til = _record(
    _WV2, "digitalglobe", "WorldView-2", platform="WV02", product_id=_WV2, level="2A", time=_WV2_TIME, **_MAXAR,
    bands=_bands(EIGHT, _WORLDVIEW, [0.35] * 7 + [0.27]),
    ms=_layer(_maxar_files(_WV2, "16JUN23095330", "M2A", _WV2_TILES), _grid((64, 96), 2.0), 2.0),
    pan=_layer(_maxar_files(_WV2, "16JUN23095329", "P2A", _WV2_TILES), _grid((256, 384), 0.5), 0.5),
    calibration=_maxar(WV02, 1.23e-2, _WV2_TIME, "WorldView-2"),
    notes=["MS is 16JUN23095330-M2AS", "ignored files: GIS_FILES/README.TXT", "stamps .* differ by 1 s"],
)  # fmt: skip

wv3_1b = _record(
    _WV3, "digitalglobe", "WorldView-3", platform="WV03", product_id=_WV3, level="1B", time=_WV3_TIME, **_MAXAR,
    geometry="sensor", crs=None, heights="100 m above the ellipsoid",
    bands=_bands(EIGHT, _WORLDVIEW, [0.325, 0.355, 0.360, 0.350, 0.365, 0.360, 0.335, 0.315]),
    ms=_layer(_maxar_files(_WV3, "17AUG05101112", "M1B"), _pixels((120, 160), 4.0, (1.6, -1.0)), 1.24),
    pan=_layer(_maxar_files(_WV3, "17AUG05101112", "P1B"), _pixels((480, 640)), 0.31),
    phase=[-1.0, 1.6], overlap=[0, 479, 2, 640], output=_pixels((479, 638), 1.0, (2.0, 0.0)),
    calibration=_maxar(WV03, 1.23e-2, _WV3_TIME, "WorldView-3"),
    notes=["MS is 17AUG05101112-M1BS", "MS is laid on PAN through both RPC models at 100 m"],
)  # fmt: skip

qb2_2a = _record(
    _QB2, "digitalglobe", "QuickBird-2", platform="QB02", product_id=_QB2, level="2A", time=_QB2_TIME, **_MAXAR,
    bands=_bands(NAMES, _QUICKBIRD, [0.34, 0.32, 0.30, 0.22]),
    ms=_layer(_maxar_files(_QB2, "05MAY12103015", "M2A", ("_R1C1",)), _grid((60, 80), 2.4), 2.4),
    pan=_layer(_maxar_files(_QB2, "05MAY12103015", "P2A", ("_R1C1",)), _grid((240, 320), 0.6), 0.6),
    calibration=_maxar(QB02, 1.23e-2, _QB2_TIME, "QuickBird-2"),
    notes=["MS is 05MAY12103015-M2AS"],
)  # fmt: skip

ge1_2a = _record(
    _GE1, "digitalglobe", "GeoEye-1", platform="GE01", product_id=_GE1, level="2A", time=_GE1_TIME, **_MAXAR,
    bands=_bands(NAMES, _GEOEYE, [0.23] * 4),
    ms=_layer(_maxar_files(_GE1, "11JUL04102233", "M2A", ("_R1C1",)), _grid((64, 64), 2.0), 2.0),
    pan=_layer(_maxar_files(_GE1, "11JUL04102233", "P2A", ("_R1C1",)), _grid((256, 256), 0.5), 0.5),
    calibration=_maxar(GE01, 0.017, _GE1_TIME, "GeoEye-1"),  # ten times what the IMD says
    notes=["MS is 11JUL04102233-M2AS", "GE01 unit x10: absCalFactor 0.0017 of blue"],
)  # fmt: skip

ge1_old = _record(
    "po_2620001_0000000", "geoeye", "GeoEye-1", platform="GE01", product_id="po_2620001_0000000",
    level="Standard Geometrically Corrected", time="2011-07-04T10:22:00Z", cloud=0.02, sun_azimuth=136.1,
    sun_elevation=62.6, view_azimuth=158.4, rpc=True,
    bands=_bands(NAMES, _GEOEYE, [0.23] * 4),
    ms=_layer([f"po_2620001_{band}_0000000.tif" for band in geoeye.BANDS], _grid((64, 64), 2.0), 2.0),
    pan=_layer(["po_2620001_pan_0000000.tif"], _grid((256, 256), 0.5), 0.5),
    uncalibrated="the metadata of the old layout have no calibration factors",
    notes=["MS is po_2620001_blu.*, as blue, green, red, nir; PAN is po_2620001_pan"],
)  # fmt: skip


def _gaofen(base, sensor, platform, layers, shape, gsd, **changes):
    """Exact 4:1 through the models, in pixels of PAN; names end in -<layer>.tiff."""
    rows, cols = shape
    common = {
        "platform": platform, "product_id": base, "level": "LEVEL1A", "cloud": 0.01, "sun_azimuth": 128.1,
        "off_nadir": 4.1, "geometry": "sensor", "crs": None, "heights": "100 m above the ellipsoid", "rpc": True,
        "ms": _layer([f"{base}-{layers[0]}.tiff"], _pixels(shape, 4.0), gsd[1]),
        "pan": _layer([f"{base}-{layers[1]}.tiff"], _pixels((4 * rows, 4 * cols)), gsd[0]),
    }  # fmt: skip
    return _record(base, "gaofen", sensor, **{**common, **changes})


_COUNTS = "RPC offsets are taken to count pixels from 0"
_LAID = "MS is laid on PAN through both RPC models at 100 m"

gf2_tar_new = _gaofen(
    gaofen.GF2_NEW, "GaoFen-2", "GF2", ("MSS1", "PAN1"), (80, 96), (0.81, 3.24), bits=10,
    time="2025-04-02T03:30:58Z", sun_elevation=64.5,
    bands=_bands(NAMES, _GAOFEN_2, [0.30] * 4),
    calibration=_calibration(GF2_PMS1, "2025-04-02T03:30:58Z", 64.5, "AbsCeof of the scene"),
    notes=[
        _COUNTS, "Beijing time: its solar zenith is 25.5 degrees as stated, the other reading has 97.5",
        "UTM zone from the centre: EPSG:32649", "preview images are ignored: 4", _LAID,
    ],
)  # fmt: skip

gf2_dir_old = _gaofen(
    gaofen.GF2_OLD, "GaoFen-2", "GF2", ("MSS2", "PAN2"), (80, 96), (0.81, 3.24), bits=10,
    time="2016-05-11T14:40:00Z", sun_elevation=31.0,
    bands=_bands(NAMES, _GAOFEN_2, [0.30] * 4),
    uncalibrated=(
        "no coefficients are known for GF2 PMS2 of 2016-05-11T14:40:00Z: its metadata have none and no table covers "
        "the year; pass those that CRESDA publishes for the year with Calibration.from_gains"
    ),
    notes=[_COUNTS, "Beijing time: its solar zenith is 59.0", "UTM zone from the corners: EPSG:32719", _LAID],
)  # fmt: skip

gf6_dir = _gaofen(
    gaofen.GF6, "GaoFen-6", "GF6", ("MUX", "PAN"), (64, 64), (2.0, 8.0), bits=16,
    time="2020-06-10T03:05:00Z", sun_elevation=67.8,
    bands=_bands(NAMES, _GAOFEN_6, [0.30] * 4),
    calibration=_calibration(GF6_PMS, None, None, "a public table for GF-6, year unverified"),
    notes=[
        _COUNTS, "Beijing time: its solar zenith is 22.2", "gains of GF6 PMS .* year unverified", "no reflectance",
        "UTM zone from the centre: EPSG:32650", _LAID,
    ],
)  # fmt: skip

l8_c2 = _record(
    landsat.L8_C2, "landsat", "Landsat-8", platform="LANDSAT_8", product_id=landsat.L8_C2, level="L1TP",
    time="2020-07-06T10:17:42.166196Z", cloud=0.0325, sun_azimuth=148.6, sun_elevation=57.9, crs="EPSG:32632", bits=16,
    bands=_bands(("coastal", *NAMES, "swir1", "swir2"), _OLI, [0.30, 0.55, 0.55, 0.55, 0.53, 0.30, 0.30]),
    ms=_layer(
        [f"{landsat.L8_C2}_B{n}.TIF" for n in range(1, 8)], _grid((51, 61), 30.0, (389985.0, 5689215.0)), 30.0
    ),
    pan=_layer([f"{landsat.L8_C2}_B8.TIF"], _grid((101, 121), 15.0, (389992.5, 5689207.5)), 15.0),
    ratio=[2.0, 2.0], phase=[-0.5, -0.5],
    calibration=_landsat([1.2e-2, 1.25e-2, 1.15e-2, 9.7e-3, 5.9e-3, 1.4e-3, 4.9e-4], (2.0e-05, -0.1), 57.9),
    notes=[
        "sees green, red; sees in part blue; does not see coastal, nir, swir1, swir2", "ignored: .*_B9.TIF, .*QA_PIXEL"
    ],
)  # fmt: skip

l7_c1 = _record(
    landsat.L7_C1, "landsat", "Landsat-7", platform="LANDSAT_7", product_id=landsat.L7_C1, level="L1TP",
    time="2001-07-30T10:10:23.945122Z", cloud=0.12, sun_azimuth=142.9, sun_elevation=53.7, crs="EPSG:32632", bits=8,
    bands=_bands((*NAMES, "swir1", "swir2"), _ETM, [0.30] * 6),
    ms=_layer(
        [f"{landsat.L7_C1}_B{n}.TIF" for n in (1, 2, 3, 4, 5, 7)], _grid((41, 41), 30.0, (380385.0, 5681115.0)), 30.0,
        "uint8",
    ),
    pan=_layer([f"{landsat.L7_C1}_B8.TIF"], _grid((81, 81), 15.0, (380392.5, 5681107.5)), 15.0, "uint8"),
    ratio=[2.0, 2.0], phase=[-0.5, -0.5],
    calibration=_landsat([0.779, 0.799, 0.622, 0.969, 0.126, 0.044], (1.5e-03, -0.01), 53.7),
    notes=["sees green, red, nir; does not see blue, swir1, swir2", "ignored: .*B6_VCID_1.TIF, .*B6_VCID_2.TIF, .*BQA"],
)  # fmt: skip

phr_dimap = _record(
    "DS_PHR1A_MS", "dimap", "Pleiades", platform="PHR 1A", product_id="DS_PHR1A_MS", level="ORTHO",
    time="2019-05-01T10:30:15.2Z", cloud=0.025, sun_azimuth=151.0, sun_elevation=60.0, view_azimuth=180.5,
    off_nadir=12.5, bits=12,
    bands=_bands(("red", "green", "blue", "nir"), _PLEIADES, [0.30] * 4),
    ms=_layer(["IMG_PHR1A_MS_R1C1.TIF"], _grid((64, 64), 2.0), 2.0),
    pan=_layer(["IMG_PHR1A_P_R1C1.TIF"], _grid((256, 256), 0.5), 0.5),
    calibration=_calibration(
        PHR, "2019-05-01T10:30:15.2Z", 60.0,
        "GAIN and BIAS of the product, read as L = DN / GAIN + BIAS (unverified)",
    ),
    notes=[
        "paired by VOL_PHR.XML", "PAN nodata is 0", "PAN pixels of 4095 are saturated", "MS nodata is 0",
        "MS pixels of 4095 are saturated", "order of bands .*: B2, B1, B0, B3",
    ],
    warnings=["PAN begins at .* half a pixel apart: the image is right", "MS begins at .* half a pixel apart"],
)  # fmt: skip


def _generic(name, ms, pan, **changes):
    changes.setdefault("notes", ["the sensor is not known"])
    bands = _bands(NAMES, [None] * 4, [0.30] * 4, NAMES)
    return _record(
        name, changes.pop("family", "pair"), "unknown sensor", ms=ms, pan=pan, bits=16, bands=bands, **changes
    )


pair_4_0004 = _generic(
    "pan",
    _layer(["ms.tif"], _grid((240, 250), 2.0002, (500003.25, 4639994.75)), 2.0002, nodata=None),
    _layer(["pan.tif"], _grid((1024, 1024), 0.5), 0.5, nodata=None),
    ratio=[4.0004, 4.0004], phase=[10.5, 6.5], overlap=[11, 970, 7, 1006],
    output=_grid((959, 999), 0.5, (500003.5, 4639994.5)),
)  # fmt: skip

pair_counts = _generic(
    "pan",
    _layer(["ms.tif"], _grid((256, 256), 2.0), 2.0, nodata=None),
    _layer(["pan.tif"], _grid((1027, 1027), 0.5), 0.5, nodata=None),
    overlap=[0, 1024, 0, 1024],
    output=_grid((1024, 1024), 0.5),
)

stack_rep = _generic(
    "stack",
    _layer(["stack.tif"], _grid((64, 64), 2.0), 2.0, nodata=None),
    _layer(["stack.tif"], _grid((256, 256), 0.5), 0.5, nodata=None),
    family="stack",
    notes=["band 1 of the stack is PAN", "MS is replicated: every block of 4 x 4", "the sensor is not known"],
)


def write_pair_4_0004(folder, *, pan_shape=(1024, 1024), ms_shape=(240, 250)):
    """An MS pixel that is no multiple of that of PAN, and corners that do not meet."""
    write_tiff(folder / "pan.tif", formula(1, *pan_shape), size=0.5)
    ms = {"size": 2.0002, "corner": (500003.25, 4639994.75), "descriptions": NAMES}
    write_tiff(folder / "ms.tif", formula(4, *ms_shape), **ms)
    return folder


def write_pair_counts(folder, *, pan_shape=(1027, 1027), ms_shape=(256, 256), pan=None, ms=None):
    """More PAN pixels than MS covers; `pan` and `ms` change the arguments of `write_tiff`."""
    write_tiff(folder / "pan.tif", formula(1, *pan_shape), **{"size": 0.5, **(pan or {})})
    write_tiff(folder / "ms.tif", formula(4, *ms_shape), **{"size": 2.0, "descriptions": NAMES, **(ms or {})})
    return folder


def write_stack(folder, values):
    """PAN and MS, (band, row, col) on one grid."""
    write_tiff(folder / "stack.tif", values, size=0.5, descriptions=("pan", *NAMES))
    return folder


def write_stack_rep(folder):
    ms = formula(4, 64, 64).repeat(4, axis=1).repeat(4, axis=2)
    return write_stack(folder, np.concatenate([formula(1, 256, 256), ms]))


DELIVERIES = {
    "wv2_2a_til": Delivery(digitalglobe.wv2_2a_til, wv2_2a_til, {"rows": (12, 4), "cols": (16, 8)}),
    "wv3_1b": Delivery(
        digitalglobe.wv3_1b,
        wv3_1b,
        {"rows": (30,), "cols": (40,), "rpcs": ((14.875, 15.0, 19.225, 20.0), (60.0, 60.0, 80.0, 80.0))},
    ),
    "qb2_2a": Delivery(digitalglobe.qb2_2a, qb2_2a, {"rows": (15,), "cols": (20,)}),
    "ge1_2a": Delivery(digitalglobe.ge1_2a, ge1_2a, {"rows": (16,), "cols": (16,)}),
    "ge1_old": Delivery(geoeye.ge1_old, ge1_old),
    "gf2_tar_new": Delivery(gaofen.gf2_tar_new, gf2_tar_new, {"kind": "dir", "ms_shape": (20, 24)}),
    "gf2_dir_old": Delivery(gaofen.gf2_dir_old, gf2_dir_old, {"ms_shape": (20, 24)}),
    "gf6_dir": Delivery(gaofen.gf6_dir, gf6_dir, {"ms_shape": (16, 16)}),
    "l8_c2": Delivery(landsat.l8_c2, l8_c2),
    "l7_c1": Delivery(landsat.l7_c1, l7_c1),
    "phr_dimap": Delivery(dimap.phr_dimap, phr_dimap),
    "pair_4_0004": Delivery(write_pair_4_0004, pair_4_0004, {"pan_shape": (128, 128), "ms_shape": (26, 27)}),
    "pair_counts": Delivery(write_pair_counts, pair_counts, {"pan_shape": (107, 107), "ms_shape": (26, 26)}),
    "stack_rep": Delivery(write_stack_rep, stack_rep),
}
"""Valid deliveries by the name of their facts."""
