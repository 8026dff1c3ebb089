"""Facts about sensors: bands in file order, ratio, bit depth, resolution and MTF gain at Nyquist.

For everything that must know which instrument made a scene. Not for one delivery: its bands, grid and bit depth come
from its own metadata, a row here is the fallback. The convention that could surprise: bands are known by role
(``"red"``), never by position, and a gain without a published measurement is the default 0.30 (MS) or 0.15 (PAN).

The gains are those that open toolboxes carry for the sensor, unless a row cites a measurement: published, not verified.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from ship_geo.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Wavelength: TypeAlias = tuple[float, float]
"""Lower and upper limit of a band, nm."""

DEFAULT_GNYQ_MS = 0.30
"""MTF gain at MS Nyquist where no measurement is published."""

DEFAULT_GNYQ_PAN = 0.15
"""MTF gain at PAN Nyquist where no measurement is published."""


@dataclass(frozen=True, slots=True)
class Band:
    """One MS band.

    Attributes
    ----------
    role : str
        What the band is: ``coastal blue green yellow red rededge rededge2 nir nir2 swir1 swir2``, or a free name.
    wavelength : tuple of float, optional
        Lower and upper limit, nm.
    gnyq : float
        MTF gain at the Nyquist frequency of the MS grid, between 0 and 1, exclusive.
    """

    role: str
    wavelength: Wavelength | None = None
    gnyq: float = DEFAULT_GNYQ_MS

    def __post_init__(self) -> None:
        if not self.role:
            message = "a band needs a role, got an empty name; name it, for example 'red'"
            raise ArgumentError(message)
        _check_gain(f"band {self.role!r}", self.gnyq)


@dataclass(frozen=True, slots=True)
class Sensor:
    """What is known of an instrument.

    Attributes
    ----------
    name : str
        Key in `SENSORS`, lower case.
    title : str
        Name for people.
    platform_ids : tuple of str
        Names by which metadata and people call it.
    bands : tuple of Band
        MS bands in file order.
    ratio : float
        Nominal MS pixel size divided by PAN pixel size; the ratio of a scene comes from its grids.
    gnyq_pan : float
        MTF gain of PAN at its own Nyquist frequency.
    bits : int
        Bits of a pixel value as recorded; 16 where the depth is not known.
    pan_wavelength : tuple of float, optional
        Lower and upper limit of PAN, nm.
    gsd_pan, gsd_ms : float, optional
        Native ground sampling distance at nadir, m.
    source : str
        Where the facts come from.
    notes : tuple of str
        What a user should know before trusting the row.

    Examples
    --------
    >>> find_sensor("WV03").select(["red", "green", "blue"]).gnyq_ms
    (0.36, 0.36, 0.355)
    """

    name: str
    title: str
    platform_ids: tuple[str, ...]
    bands: tuple[Band, ...]
    ratio: float = 4.0
    gnyq_pan: float = DEFAULT_GNYQ_PAN
    bits: int = 16
    pan_wavelength: Wavelength | None = None
    gsd_pan: float | None = None
    gsd_ms: float | None = None
    source: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.bands:
            message = f"a sensor needs at least one MS band, got none for {self.name!r}; name its bands"
            raise ArgumentError(message)
        _check_unique(self.roles)
        _check_gain("PAN", self.gnyq_pan)
        if self.bits not in range(1, 33):
            message = f"pixel values have 1 to 32 bits, got {self.bits}; pass the bit depth of the sensor"
            raise ArgumentError(message)
        if not self.ratio >= 1:
            message = f"MS pixels are at least as large as PAN pixels, got ratio {self.ratio}; pass MS size / PAN size"
            raise ArgumentError(message)

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of the MS bands in file order."""
        return tuple(band.role for band in self.bands)

    @property
    def gnyq_ms(self) -> tuple[float, ...]:
        """MTF gains at MS Nyquist in file order."""
        return tuple(band.gnyq for band in self.bands)

    def select(self, roles: Iterable[str]) -> Sensor:
        """Return the sensor with these bands only, in this order.

        Parameters
        ----------
        roles : iterable of str
            Roles to keep, each at most once.

        Returns
        -------
        Sensor
            The same sensor with fewer or reordered bands.

        Raises
        ------
        ArgumentError
            If a role is unknown or named twice, or if there is none.
        """
        wanted = tuple(roles)
        by_role = {band.role: band for band in self.bands}
        unknown = [role for role in wanted if role not in by_role]
        if unknown:
            message = f"{self.title} has the bands {', '.join(self.roles)}, got {', '.join(unknown)}; choose among them"
            raise ArgumentError(message)
        return replace(self, bands=tuple(by_role[role] for role in wanted))

    @classmethod
    def generic(cls, bands: Sequence[str] | int, *, bits: int = 16) -> Sensor:
        """Return a sensor of which only the bands are known; every gain is the default.

        Parameters
        ----------
        bands : sequence of str, or int
            Roles in file order, or their number; numbered bands are called ``band1``, ``band2`` and so on.
        bits : int
            Bits of a pixel value.

        Returns
        -------
        Sensor
            Named ``"generic"``.

        Raises
        ------
        ArgumentError
            If there is no band, a role occurs twice, or `bits` is outside 1 to 32.
        """
        roles = [f"band{number}" for number in range(1, bands + 1)] if isinstance(bands, int) else list(bands)
        return cls(
            name="generic",
            title="unknown sensor",
            platform_ids=(),
            bands=tuple(Band(role) for role in roles),
            bits=bits,
            source="defaults",
            notes=("no measured MTF: gains are defaults",),
        )


def find_sensor(name: str) -> Sensor:
    """Return the sensor called `name`.

    Parameters
    ----------
    name : str
        Name, title or platform id; case, blanks, hyphens and underscores do not matter
        (``"WV02"``, ``"WorldView-2"``, ``"wv2"``, ``"LANDSAT_8"``).

    Returns
    -------
    Sensor
        Row of `SENSORS`.

    Raises
    ------
    ArgumentError
        If the sensor is unknown, or has no multispectral bands.
    """
    key = _normalised(name)
    if key in _PAN_ONLY:
        message = (
            f"pan-sharpening needs multispectral bands, got {_PAN_ONLY[key]}, which records PAN only; "
            "use it with the MS of another sensor and name that one"
        )
        raise ArgumentError(message)
    if key not in _BY_KEY:
        message = (
            f"sensor must be one of {', '.join(SENSORS)}, or a platform id of theirs, got {name!r}; "
            "describe any other by Sensor.generic(bands)"
        )
        raise ArgumentError(message)
    return _BY_KEY[key]


def _normalised(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _check_gain(owner: str, gnyq: float) -> None:
    if not 0 < gnyq < 1:
        message = f"an MTF gain lies between 0 and 1, exclusive, got {gnyq} for {owner}; pass the gain at Nyquist"
        raise ArgumentError(message)


def _check_unique(roles: tuple[str, ...]) -> None:
    twice = sorted({role for role in roles if roles.count(role) > 1})
    if twice:
        message = f"each role names one band, got {', '.join(twice)} more than once; give every band its own name"
        raise ArgumentError(message)


def _bands(gains: Sequence[float] | None = None, /, **limits: Wavelength | None) -> tuple[Band, ...]:
    """Bands in file order from ``role=(lower, upper)``; default gains unless given."""
    chosen = gains or [DEFAULT_GNYQ_MS] * len(limits)
    return tuple(Band(role, wavelength, gnyq) for (role, wavelength), gnyq in zip(limits.items(), chosen, strict=True))


_TOOLBOX = "vendor band table; MTF gains as carried by DLPan-Toolbox (Vivone et al. 2021, IEEE GRSM) and descendants"
_NO_MTF = "vendor band table; no published MTF found, gains are defaults"
_WORLDVIEW_8 = {
    "coastal": (400, 450),
    "blue": (450, 510),
    "green": (510, 580),
    "yellow": (585, 625),
    "red": (630, 690),
    "rededge": (705, 745),
    "nir": (770, 895),
    "nir2": (860, 1040),
}
_GEOEYE_4 = {"blue": (450, 510), "green": (510, 580), "red": (655, 690), "nir": (780, 920)}
_GAOFEN_4 = {"blue": (450, 520), "green": (520, 590), "red": (630, 690), "nir": (770, 890)}
_OLI_7 = {
    "coastal": (435, 451),
    "blue": (452, 512),
    "green": (533, 590),
    "red": (636, 673),
    "nir": (851, 879),
    "swir1": (1566, 1651),
    "swir2": (2107, 2294),
}
_SPOT_4 = {"blue": (450, 520), "green": (530, 590), "red": (625, 695), "nir": (760, 890)}
_OLI_GAINS = (DEFAULT_GNYQ_MS, 0.55, 0.55, 0.55, 0.53, DEFAULT_GNYQ_MS, DEFAULT_GNYQ_MS)
_OLI_PAN_NOTE = "PAN sees blue in part, green and red; not coastal, nir, swir1, swir2"
_ORDER_NOTE = "files may hold the bands in another order: take it from the metadata"


def _gaofen(number: str, gsd: tuple[float, float], pan: Wavelength = (450, 900), **changes: object) -> Sensor:
    """Row of a GaoFen satellite with two PAN/MS cameras or one."""
    row = Sensor(
        name=f"gaofen-{number.lower()}",
        title=f"GaoFen-{number}",
        platform_ids=(f"GF{number}", f"GF{number}_PMS", f"GF{number}_PMS1", f"GF{number}_PMS2"),
        bands=_bands(**_GAOFEN_4),
        bits=10,
        pan_wavelength=pan,
        gsd_pan=gsd[0],
        gsd_ms=gsd[1],
        source=_NO_MTF,
    )
    return replace(row, **changes)  # type: ignore[arg-type]  # replace checks the names


def _landsat_oli(number: int, **changes: object) -> Sensor:
    """Row of a Landsat with OLI or OLI-2."""
    row = Sensor(
        name=f"landsat-{number}",
        title=f"Landsat-{number}",
        platform_ids=(f"LC0{number}", f"LO0{number}", f"LC{number}"),
        bands=_bands(_OLI_GAINS, **_OLI_7),
        ratio=2.0,
        bits=16,
        pan_wavelength=(503, 676),
        gsd_pan=15.0,
        gsd_ms=30.0,
        source="USGS band table; MTF of blue, green, red, nir: Lee et al. 2014, other gains are defaults",
        notes=(_OLI_PAN_NOTE,),
    )
    return replace(row, **changes)  # type: ignore[arg-type]  # replace checks the names


_ROWS: tuple[Sensor, ...] = (
    Sensor(
        name="worldview-2",
        title="WorldView-2",
        platform_ids=("WV02", "WV2"),
        bands=_bands([0.35] * 7 + [0.27], **_WORLDVIEW_8),
        gnyq_pan=0.11,
        bits=11,
        pan_wavelength=(450, 800),
        gsd_pan=0.46,
        gsd_ms=1.8,
        source=_TOOLBOX,
    ),
    Sensor(
        name="worldview-3",
        title="WorldView-3",
        platform_ids=("WV03", "WV3"),
        bands=_bands([0.325, 0.355, 0.360, 0.350, 0.365, 0.360, 0.335, 0.315], **_WORLDVIEW_8),
        gnyq_pan=0.14,
        bits=11,
        pan_wavelength=(450, 800),
        gsd_pan=0.31,
        gsd_ms=1.24,
        source=_TOOLBOX,
    ),
    Sensor(
        name="worldview-4",
        title="WorldView-4",
        platform_ids=("WV04", "WV4"),
        bands=_bands([0.23] * 4, **_GEOEYE_4),
        gnyq_pan=0.16,
        bits=11,
        pan_wavelength=(450, 800),
        gsd_pan=0.31,
        gsd_ms=1.24,
        source=_TOOLBOX,
        notes=("MTF gains borrowed from GeoEye-1; another toolbox has .355 .360 .365 .335", _ORDER_NOTE),
    ),
    Sensor(
        name="geoeye-1",
        title="GeoEye-1",
        platform_ids=("GE01", "GE1"),
        bands=_bands([0.23] * 4, **_GEOEYE_4),
        gnyq_pan=0.16,
        bits=11,
        pan_wavelength=(450, 800),
        gsd_pan=0.41,
        gsd_ms=1.64,
        source=_TOOLBOX,
    ),
    Sensor(
        name="quickbird-2",
        title="QuickBird-2",
        platform_ids=("QB02", "QB2", "QuickBird"),
        bands=_bands([0.34, 0.32, 0.30, 0.22], blue=(430, 545), green=(466, 620), red=(590, 710), nir=(715, 918)),
        gnyq_pan=0.15,
        bits=11,
        pan_wavelength=(405, 1053),
        gsd_pan=0.61,
        gsd_ms=2.4,
        source=_TOOLBOX,
    ),
    Sensor(
        name="ikonos",
        title="IKONOS",
        platform_ids=("IK01", "IK02", "IKONOS-2"),
        bands=_bands([0.26, 0.28, 0.29, 0.28], blue=(445, 516), green=(506, 595), red=(632, 698), nir=(757, 853)),
        gnyq_pan=0.17,
        bits=11,
        pan_wavelength=(526, 929),
        gsd_pan=0.82,
        gsd_ms=3.28,
        source=_TOOLBOX,
        notes=("wavelengths and the order of the gains are not verified",),
    ),
    Sensor(
        name="legion",
        title="WorldView Legion",
        platform_ids=("LG01", "LG02", "LG03", "LG04", "LG05", "LG06", "WorldView-Legion"),
        bands=_bands(
            coastal=None,
            blue=None,
            green=None,
            yellow=None,
            red=None,
            rededge=(695, 715),
            rededge2=(730, 750),
            nir=(770, 895),
        ),
        bits=11,
        pan_wavelength=(450, 800),
        gsd_pan=0.29,
        gsd_ms=1.16,
        source=_NO_MTF,
    ),
    _gaofen("1", (2.0, 8.0)),
    _gaofen("1B", (2.0, 8.0)),
    _gaofen("1C", (2.0, 8.0)),
    _gaofen("1D", (2.0, 8.0)),
    _gaofen("2", (0.81, 3.24), (450, 890)),
    _gaofen(
        "6",
        (2.0, 8.0),
        bands=_bands(**{**_GAOFEN_4, "green": (520, 600), "nir": (760, 900)}),
        bits=16,
        notes=("limits of green and nir are not verified", "bit depth is not known: take the observed maximum"),
    ),
    _gaofen(
        "7",
        (0.65, 2.6),
        bits=16,
        notes=("resolution is not verified", "bit depth is not known: take the observed maximum"),
    ),
    Sensor(
        name="landsat-7",
        title="Landsat-7",
        platform_ids=("LE07", "LE7"),
        bands=_bands(
            blue=(450, 520), green=(520, 600), red=(630, 690), nir=(770, 900), swir1=(1550, 1750), swir2=(2080, 2350)
        ),
        ratio=2.0,
        bits=8,
        pan_wavelength=(520, 900),
        gsd_pan=15.0,
        gsd_ms=30.0,
        source="USGS band table; no published MTF found, gains are defaults",
        notes=("PAN does not see blue, swir1, swir2", "scenes after May 2003 have gaps"),
    ),
    _landsat_oli(8),
    _landsat_oli(9, notes=(_OLI_PAN_NOTE, "MTF gains borrowed from Landsat-8, whose instrument is of the same design")),
    Sensor(
        name="pleiades",
        title="Pleiades",
        platform_ids=("PHR", "PHR1A", "PHR1B", "Pleiades-1A", "Pleiades-1B", "Pleiades-HR"),
        bands=_bands(blue=(430, 550), green=(500, 620), red=(590, 710), nir=(740, 940)),
        bits=12,
        pan_wavelength=(470, 830),
        gsd_pan=0.5,
        gsd_ms=2.0,
        source=_NO_MTF,
        notes=("limits are not verified", _ORDER_NOTE),
    ),
    Sensor(
        name="pleiades-neo",
        title="Pleiades Neo",
        platform_ids=("PNEO", "PNEO3", "PNEO4"),
        bands=_bands(
            coastal=(400, 450), blue=(450, 520), green=(530, 590), red=(620, 690), rededge=(700, 750), nir=(770, 880)
        ),
        bits=12,
        pan_wavelength=(450, 800),
        gsd_pan=0.3,
        gsd_ms=1.2,
        source=_NO_MTF,
        notes=("limits are not verified", _ORDER_NOTE),
    ),
    *(
        Sensor(
            name=f"spot-{number}",
            title=f"SPOT-{number}",
            platform_ids=(f"SPOT0{number}",),
            bands=_bands(**_SPOT_4),
            bits=12,
            pan_wavelength=(450, 745),
            gsd_pan=1.5,
            gsd_ms=6.0,
            source=_NO_MTF,
            notes=("limits are not verified", _ORDER_NOTE),
        )
        for number in (6, 7)
    ),
)

SENSORS: Mapping[str, Sensor] = MappingProxyType({row.name: row for row in _ROWS})
"""Every known sensor by name."""

_BY_KEY: Mapping[str, Sensor] = MappingProxyType(
    {_normalised(word): row for row in _ROWS for word in (row.name, row.title, *row.platform_ids)}
)

_PAN_ONLY: Mapping[str, str] = MappingProxyType(dict.fromkeys(("worldview1", "wv01", "wv1"), "WorldView-1"))
