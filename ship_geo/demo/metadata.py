"""The texts of the demo delivery: IMD, TIL, RPB and README, written as DigitalGlobe writes them.

Invented where the ground is: catalogue id, order and time stand for no real image, and the time is one at which the sun
stands where the shadows say. The conventions that could surprise: ``ULX / ULY`` of an IMD are the *centre* of the upper
left pixel, offsets in a TIL are inclusive, and those of an RPB count from the centre of pixel 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from pyproj import Transformer

from ship_geo.calibration import worldview
from ship_geo.demo.acquire import DN_PER_REFLECTANCE, GSD_PAN, PAN_DELAY, RATIO
from ship_geo.demo.canvas import SHADOW_LENGTH, SUN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ship_geo._typing import Shape

Value: TypeAlias = "str | int | float | datetime | Sequence[float] | Mapping[str, Value]"

CRS = "EPSG:32633"
ORIGIN = (500000.0, 4650000.0)
"""Easting and northing of the upper left corner, m."""

ORDER = "000000000000_01"
PRODUCT = f"{ORDER}_P001"
"""No order of the vendor has number 0: the name of what the demo makes."""

TIME = datetime(2016, 4, 25, 9, 55, 10, 46000, tzinfo=UTC)
"""MS; PAN is a little later."""

_PLATFORM = "WV02"
_ZONE = 33
_CODES = {
    "pan": "P",
    "coastal": "C",
    "blue": "B",
    "green": "G",
    "yellow": "Y",
    "red": "R",
    "rededge": "RE",
    "nir": "N",
    "nir2": "N2",
}
# Micrometres; published by the vendor for WorldView-2.
_BANDWIDTHS = {
    "pan": 0.2846,
    "coastal": 0.0473,
    "blue": 0.0543,
    "green": 0.0630,
    "yellow": 0.0374,
    "red": 0.0574,
    "rededge": 0.0393,
    "nir": 0.0989,
    "nir2": 0.0996,
}
_N_ALL = 8
_SUN_AZIMUTH = round(math.degrees(math.atan2(SUN[0], -SUN[1])), 1)
_SUN_ELEVATION = round(math.degrees(math.atan(1 / SHADOW_LENGTH)), 1)
_USUAL = 0.2  # reflectance that comes out exactly
_TERMS = (0, 1, 2, 4, 7, 8)  # of RPC00B: 1, L, P, LP, LL, PP
_N_TERM = 20


class TilePlace(NamedTuple):
    """Name of a tile and its rows and columns on the mosaic, half open."""

    name: str
    row0: int
    row1: int
    col0: int
    col1: int


class Half(NamedTuple):
    """PAN or MS: roles of its bands, rows and columns."""

    roles: tuple[str, ...]
    shape: Shape

    @property
    def is_pan(self) -> bool:
        """Whether it is PAN."""
        return self.roles == ("pan",)

    @property
    def gsd(self) -> float:
        """Pixel, m."""
        return GSD_PAN if self.is_pan else GSD_PAN * RATIO

    @property
    def band_id(self) -> str:
        """The vendor's word for the bands."""
        return "P" if self.is_pan else "Multi" if len(self.roles) == _N_ALL else "MS1"

    def file_name(self, suffix: str, tile: str = "") -> str:
        """Name of a file; `tile` is for instance ``"_R1C2"``."""
        return f"{TIME:%y%b%d%H%M%S}-{'P' if self.is_pan else 'M'}2AS{tile}-{PRODUCT}{suffix}".upper()


def imd_text(half: Half) -> str:
    """Return an IMD; its calibration gives a usual ground the reflectance that it was drawn with."""
    items: dict[str, Value] = {
        "version": "28.4",
        "generationTime": TIME + timedelta(days=1),
        "productOrderId": PRODUCT,
        "imageDescriptor": "ORStandard2A",
        "bandId": half.band_id,
        "panSharpenAlgorithm": "None",
        "numRows": half.shape[0],
        "numColumns": half.shape[1],
        "productLevel": "LV2A",
        "productType": "Ortho Ready Standard",
        "radiometricLevel": "Corrected",
        "radiometricEnhancement": "Off",
        "bitsPerPixel": 16,
    }
    corners = _corners(half)
    for role, factor in zip(half.roles, _factors(half.roles), strict=True):
        numbers = {"absCalFactor": factor, "effectiveBandwidth": _BANDWIDTHS[role]}
        items[f"BAND_{_CODES[role]}"] = {**corners, **numbers}
    return _text({**items, "IMAGE_1": _image(half), "MAP_PROJECTED_PRODUCT": _map(half)})


def til_text(half: Half, tiles: Sequence[TilePlace]) -> str:
    """Return the index of the tiles."""
    items: dict[str, Value] = {
        "bandId": half.band_id,
        "numTiles": len(tiles),
        "tileSizeX": max(tile.col1 - tile.col0 for tile in tiles),
        "tileSizeY": max(tile.row1 - tile.row0 for tile in tiles),
        "tileUnits": "Pixels",
        "tileOverlap": 0,
    }
    for number, tile in enumerate(tiles, 1):
        up, down, left, right = tile.row0, tile.row1 - 1, tile.col0, tile.col1 - 1
        places = {"UL": (left, up), "UR": (right, up), "LR": (right, down), "LL": (left, down)}
        offsets = {
            f"{c}{axis}Offset": v for c, cr in places.items() for axis, v in zip(("Col", "Row"), cr, strict=True)
        }
        items[f"TILE_{number}"] = {"filename": tile.name, **offsets}
    return _text(items)


def rpb_text(half: Half) -> str:
    """Return an RPB that says the same as the map: the ground is flat and seen from straight above."""
    n_row, n_col = half.shape
    rows, cols = (part.ravel() for part in np.mgrid[0:n_row:9j, 0:n_col:9j])
    lon, lat = _locate(half, rows, cols)
    lon0, lat0 = (float(part.min() + part.max()) / 2 for part in (lon, lat))
    lon_scale, lat_scale = (float(np.ptp(part)) / 2 for part in (lon, lat))
    x, y = (lon - lon0) / lon_scale, (lat - lat0) / lat_scale
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=1)
    one = [1.0] + [0.0] * (_N_TERM - 1)
    image: dict[str, Value] = {
        "errBias": 0.0,
        "errRand": 0.0,
        "lineOffset": (n_row - 1) / 2,
        "sampOffset": (n_col - 1) / 2,
        "latOffset": lat0,
        "longOffset": lon0,
        "heightOffset": 0.0,
        "lineScale": n_row / 2,
        "sampScale": n_col / 2,
        "latScale": lat_scale,
        "longScale": lon_scale,
        "heightScale": 500.0,
        "lineNumCoef": _polynomial(terms, rows / (n_row / 2) - 1),
        "lineDenCoef": one,
        "sampNumCoef": _polynomial(terms, cols / (n_col / 2) - 1),
        "sampDenCoef": one,
    }
    return _text({"satId": _PLATFORM, "bandId": half.band_id, "SpecId": "RPC00B", "IMAGE": image})


def readme_text() -> str:
    """Return what a person should read first."""
    return (
        f"Order {ORDER}: a synthetic delivery of WorldView-2.\n\n"
        "Made by the demo of ship_geo, which drew the ground and looked at it through the sensor's MTF and noise.\n"
        "No image of any place; order, catalogue id and time are invented.\n"
    )


def _factors(roles: Sequence[str]) -> list[float]:
    """Calibration factors by which the published adjustment leads from DN to the reflectance of a usual ground."""
    ones = [1.0] * len(roles)
    unit, _ = worldview(_PLATFORM, roles, ones, ones, TIME.isoformat(), _SUN_ELEVATION)
    gains, offsets = unit.toa_gain or (), unit.toa_offset or ()
    value = DN_PER_REFLECTANCE * _USUAL
    return [
        float(f"{(_USUAL - offset) / (gain * value) * _BANDWIDTHS[role]:.6e}")
        for role, gain, offset in zip(roles, gains, offsets, strict=True)
    ]


def _image(half: Half) -> dict[str, Value]:
    return {
        "satId": _PLATFORM,
        "CatId": "1030010000000000",
        "firstLineTime": TIME + timedelta(seconds=PAN_DELAY if half.is_pan else 0.0),
        "meanSunAz": _SUN_AZIMUTH,
        "meanSunEl": _SUN_ELEVATION,
        "meanSatAz": 0.0,
        "meanSatEl": 90.0,
        "meanOffNadirViewAngle": 0.0,
        "cloudCover": 0.0,
    }


def _map(half: Half) -> dict[str, Value]:
    x, y = ORIGIN[0] + half.gsd / 2, ORIGIN[1] - half.gsd / 2
    return {
        "datumName": "WE",
        "mapProjName": "UTM",
        "mapZone": _ZONE,
        "mapHemisphere": "N",
        "productUnits": "M",
        "originX": x,
        "originY": y,
        "colSpacing": half.gsd,
        "rowSpacing": half.gsd,
        "productGSD": half.gsd,
        "ULX": x,
        "ULY": y,
        "DEMCorrection": "Base Elevation",
    }


def _corners(half: Half) -> dict[str, Value]:
    n_row, n_col = half.shape
    places = {"UL": (0, 0), "UR": (0, n_col), "LR": (n_row, n_col), "LL": (n_row, 0)}
    found: dict[str, Value] = {}
    for name, (row, col) in places.items():
        lon, lat = _locate(half, np.array(float(row)), np.array(float(col)))
        found |= {f"{name}Lon": round(float(lon), 8), f"{name}Lat": round(float(lat), 8), f"{name}HAE": 0.0}
    return found


def _locate(half: Half, row: NDArray[np.float64], col: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Longitude and latitude of edge coordinates."""
    to_degrees = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(ORIGIN[0] + col * half.gsd, ORIGIN[1] - row * half.gsd)
    return np.asarray(lon), np.asarray(lat)


def _polynomial(terms: NDArray[np.float64], wanted: NDArray[np.float64]) -> list[float]:
    found = np.zeros(_N_TERM)
    found[list(_TERMS)] = np.linalg.lstsq(terms, wanted, rcond=None)[0]
    return found.tolist()


def _text(items: Mapping[str, Value]) -> str:
    return "\n".join([*_lines(items, ""), "END;", ""])


def _lines(items: Mapping[str, Value], indent: str) -> list[str]:
    lines = []
    for key, value in items.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}BEGIN_GROUP = {key}", *_lines(value, indent + "\t"), f"{indent}END_GROUP = {key}"]
        else:
            lines.append(f"{indent}{key} = {_written(value, indent)};")
    return lines


def _written(value: str | float | datetime | Sequence[float], indent: str) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S.%fZ}"
    if isinstance(value, Sequence):
        numbers = f",\n{indent}\t\t".join(f"{number:.15E}" for number in value)
        return f"(\n{indent}\t\t{numbers})"
    return repr(value)
