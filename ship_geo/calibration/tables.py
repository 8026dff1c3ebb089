"""Published radiometric coefficients by satellite, sensor and role, each row with its source.

Facts only. The convention that could surprise: a dated row serves only the years it was published for. A year between
two rows, or before the first, gets none, because sensors drift and a neighbour's numbers would be a guess. A row whose
year is not known is offered for the years before the first dated row of its sensor (all years where there is none),
and its source says ``year unverified``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

YEAR_UNVERIFIED = "year unverified"
"""What sources and notes say of a row of unknown year."""

_EIGHT = ("pan", "coastal", "blue", "green", "yellow", "red", "rededge", "nir", "nir2")
_FOUR = ("pan", "blue", "green", "red", "nir")
_WORLDVIEW_SOURCE = (
    "adjustment factors of {} (calibration tables 2016v0 / 2018v0 of the vendor, which one is unverified)"
)


@dataclass(frozen=True)
class Row:
    """Published numbers of one sensor.

    Attributes
    ----------
    values
        By role.
    source
        Where they come from.
    years
        First and last year they are valid for; last None: since; None: not known.
    """

    values: Mapping[str, tuple[float, ...]]
    source: str
    years: tuple[int, int | None] | None = None

    def covers(self, year: int) -> bool:
        """Whether the row was published for a year."""
        return self.years is not None and self.years[0] <= year <= (self.years[1] or year)


def _worldview(title: str, roles: Sequence[str], *columns: Sequence[float]) -> Row:
    """Row from adjustment gains, adjustment offsets and irradiances in the order of `roles`."""
    return Row(dict(zip(roles, zip(*columns, strict=True), strict=True)), _WORLDVIEW_SOURCE.format(title))


# fmt: off
WORLDVIEW: Mapping[str, Row] = MappingProxyType({
    "WV02": _worldview(
        "WorldView-2", _EIGHT,
        (0.949, 1.203, 1.002, 0.953, 0.946, 0.955, 0.980, 0.966, 1.010),
        (-5.523, -11.839, -9.835, -7.218, -5.675, -5.046, -6.114, -5.096, -4.059),
        (1571.36, 1773.81, 2007.27, 1829.62, 1701.85, 1538.85, 1346.09, 1053.21, 856.6),
    ),
    "WV03": _worldview(
        "WorldView-3", _EIGHT,
        (0.955, 0.938, 0.946, 0.958, 0.979, 0.969, 1.027, 0.977, 1.007),
        (-5.505, -13.099, -9.409, -7.771, -5.489, -4.579, -5.552, -6.508, -3.699),
        (1574.41, 1757.89, 2004.61, 1830.18, 1712.07, 1535.33, 1348.08, 1055.94, 858.77),
    ),
    "QB02": _worldview(
        "QuickBird-2", _FOUR,
        (0.870, 1.105, 1.071, 1.060, 1.020),
        (-1.491, -2.820, -3.338, -2.954, -4.722),
        (1370.92, 1949.59, 1823.64, 1553.78, 1102.85),
    ),
    "GE01": _worldview(
        "GeoEye-1", _FOUR,
        (1.001, 1.041, 0.972, 0.979, 0.951),
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (1610.73, 1993.18, 1828.83, 1491.49, 1022.58),
    ),
    "IK01": _worldview(
        "IKONOS", _FOUR,
        (0.907, 1.073, 0.990, 0.940, 1.043),
        (-4.461, -9.699, -7.937, -4.767, -8.869),
        (1353.25, 1921.26, 1803.28, 1517.76, 1145.8),
    ),
})
# fmt: on
"""Adjustment gain, adjustment offset (W m-2 sr-1 um-1) and solar irradiance (W m-2 um-1) by ``satId`` and role."""

GE01_LIMITS: Mapping[str, float] = MappingProxyType({"blue": 0.004, "pan": 0.01})
"""A GeoEye-1 product whose ``absCalFactor`` lies below states all of them in a unit ten times larger."""


def _gaofen(
    source: str, years: tuple[int, int | None] | None, gain: Sequence[float], bias: Sequence[float] | None = None
) -> Row:
    """Row from gains and biases (0 unless given), PAN first where there are five, then B, G, R, N."""
    if years is None:
        source = f"{source}, {YEAR_UNVERIFIED}"
    pairs = zip(gain, bias or [0.0] * len(gain), strict=True)
    return Row(dict(zip(_FOUR[-len(gain) :], pairs, strict=True)), source, years)


_GF2_2023 = "table of the values that GF-2 scenes since 2023 carry as AbsCeof"
_GF1_2017 = "table for GF-1 of 2017 (CRESDA)"
# fmt: off
GAOFEN: Mapping[tuple[str, str], tuple[Row, ...]] = MappingProxyType({
    ("GF2", "PMS1"): (
        _gaofen(_GF2_2023, (2023, None), (0.1374, 0.1784, 0.1723, 0.1894)),
        _gaofen(
            "an older public table for GF-2 PMS1", None,
            (0.163, 0.1585, 0.1883, 0.174, 0.1897),
            (-0.6077, -0.8765, -0.9742, -0.7652, -0.7233),
        ),
    ),
    ("GF2", "PMS2"): (_gaofen(_GF2_2023, (2023, None), (0.1743, 0.1784, 0.1668, 0.1912)),),
    ("GF1", "PMS1"): (_gaofen(_GF1_2017, (2017, 2017), (0.1228, 0.1424, 0.1177, 0.1194, 0.1135)),),
    ("GF1", "PMS2"): (_gaofen(_GF1_2017, (2017, 2017), (0.1365, 0.1460, 0.1248, 0.1274, 0.1255)),),
    ("GF1B", "PMS"): (_gaofen("a public table for GF-1B", None, (0.0687, 0.0757, 0.0618, 0.0545, 0.0572)),),
    ("GF1D", "PMS"): (_gaofen("a public table for GF-1D", None, (0.0715, 0.0738, 0.0656, 0.0590, 0.0585)),),
    ("GF6", "PMS"): (_gaofen("a public table for GF-6", None, (0.0537, 0.082, 0.0645, 0.0489, 0.0286)),),
})
# fmt: on
"""Radiance gain and bias by satellite, sensor and role; the rows of one sensor in the order of trust."""

GAOFEN_ESUN: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "PMS1": dict(zip(_FOUR, (1361.43, 1966.81, 1822.61, 1523.19, 1066.55), strict=True)),
        "PMS2": dict(zip(_FOUR, (1363.49, 1967.31, 1822.16, 1524.10, 1067.72), strict=True)),
    }
)
"""Solar irradiance, W m-2 um-1, of GF-1 and GF-2: one public table serves both, their difference is not known."""
