"""Calibration of each vendor's products, from what its metadata say and the published tables.

Readers bring numbers; what cannot be known stays None and is said in a note. Not for reading metadata. Formulas, with
L in W m-2 sr-1 um-1: L = g DN absCalFactor / effectiveBandwidth + o (DigitalGlobe), L = Gain DN + Bias (GaoFen),
L = DN / GAIN + BIAS (DIMAP), L = MULT DN + ADD (Landsat).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ship_geo.calibration.tables import GAOFEN, GAOFEN_ESUN, GE01_LIMITS, WORLDVIEW
from ship_geo.calibration.values import REMEDY, Calibration, Numbers, is_positive, sun_is_up
from ship_geo.errors import ArgumentError


def worldview(
    platform: str,
    roles: Sequence[str],
    abs_cal: Sequence[float],
    bandwidth: Sequence[float],
    time: str | None,
    sun_elevation: float | None,
) -> tuple[Calibration, tuple[str, ...]]:
    """Return the calibration of a DigitalGlobe product, and what is to be said about it.

    Parameters
    ----------
    platform
        ``satId``, for instance ``"WV02"``.
    roles
        Of the bands in file order; ``"pan"`` for PAN.
    abs_cal, bandwidth
        ``absCalFactor`` and ``effectiveBandwidth`` of each band in the product's own metadata.
    time
        Acquisition, ISO 8601.
    sun_elevation
        ``meanSunEl``, degrees.

    Returns
    -------
    tuple of Calibration and notes
        Without toa where the irradiance of a band, the time or a sun above the horizon is not known.

    Raises
    ------
    ArgumentError
        When the lengths differ, or a factor or bandwidth is not a positive number.
    """
    if not len(roles) == len(abs_cal) == len(bandwidth) or not all(is_positive(v) for v in (*abs_cal, *bandwidth)):
        message = (
            "every band needs a positive absCalFactor and effectiveBandwidth, "
            f"got {list(abs_cal)} and {list(bandwidth)} for {', '.join(roles)}; {REMEDY}"
        )
        raise ArgumentError(message)
    row = WORLDVIEW.get(platform.strip().upper())
    table = row.values if row else {}
    unit, notes = _geoeye_unit(platform, roles, abs_cal)
    plain = [role for role in roles if role not in table]
    if plain:
        which = platform if row is None else f"{platform} {', '.join(plain)}"
        notes = (*notes, f"factory calibration, no adjustment: no published row for {which}")
    adjust = [table.get(role, (1.0, 0.0)) for role in roles]
    gains = [a[0] * unit * factor / width for a, factor, width in zip(adjust, abs_cal, bandwidth, strict=True)]
    calibration = Calibration.from_gains(
        gains,
        [a[1] for a in adjust],
        irradiances=None if plain else [table[role][2] for role in roles],
        time=time,
        sun_elevation=sun_elevation,
        source=f"absCalFactor of the product with the {row.source}" if row else "absCalFactor of the product alone",
    )
    return calibration, (*notes, *_toa_note(calibration))


def gaofen(
    platform: str,
    instrument: str,
    roles: Sequence[str],
    date: str | None,
    abs_coef: Sequence[float] | None,
    sun_zenith: float | None,
    time: str | None,
) -> tuple[Calibration | None, str, tuple[str, ...]]:
    """Return the calibration of a GaoFen product, the reason where there is none, and what is to be said about it.

    Parameters
    ----------
    platform, instrument
        ``SatelliteID`` and ``SensorID``, for instance ``"GF2"`` and ``"PMS1"``.
    roles
        Of the bands in file order; ``"pan"`` for PAN.
    date
        Of the acquisition, beginning with the year; None where not known.
    abs_coef
        ``AbsCeof`` of the scene, one gain for each band; it goes before every table. Other counts are ignored with a
        note.
    sun_zenith
        Degrees.
    time
        Acquisition, ISO 8601 UTC, for the Earth-Sun distance.

    Returns
    -------
    tuple of Calibration or None, str and notes
        The reason is empty where there is a calibration.
    """
    satellite, sensor = platform.strip().upper().replace("-", ""), instrument.strip().upper()
    found = _scene_gains(roles, abs_coef)
    notes: tuple[str, ...] = ()
    if abs_coef and found is None:
        listed = ", ".join(f"{value:g}" for value in abs_coef)
        notes = (f"AbsCeof ignored: {listed} is not one positive gain for each of the {len(roles)} bands",)
    if found is None:
        found, said = _table_gains(satellite, sensor, roles, date)
        notes += said
    if found is None:
        reason = (
            f"no coefficients are known for {satellite} {sensor} of {date or 'an unknown date'}: "
            "its metadata have none and no table covers the year; "
            "pass those that CRESDA publishes for the year with Calibration.from_gains"
        )
        return None, reason, notes
    esun = GAOFEN_ESUN.get(sensor, {}) if satellite in {"GF1", "GF2"} else {}
    calibration = Calibration.from_gains(
        found[0],
        found[1],
        irradiances=[esun[role] for role in roles] if all(role in esun for role in roles) else None,
        time=time,
        sun_elevation=None if sun_zenith is None else 90.0 - sun_zenith,
        source=found[2],
    )
    return calibration, "", (*notes, *_toa_note(calibration))


def landsat(
    radiance_mult: Sequence[float] | None,
    radiance_add: Sequence[float] | None,
    reflectance_mult: Sequence[float] | None,
    reflectance_add: Sequence[float] | None,
    sun_elevation: float | None,
) -> Calibration | None:
    """Return the calibration of a Landsat level 1 product: the rescaling factors of its MTL.

    Parameters
    ----------
    radiance_mult, radiance_add, reflectance_mult, reflectance_add
        One value for each band in file order; None where the MTL lacks that of a band.
    sun_elevation
        ``SUN_ELEVATION``, degrees: reflectance is divided by its sine.

    Returns
    -------
    Calibration or None
        None where the MTL has neither; without toa where there are no factors or the sun is not above the horizon.
    """
    radiance = _both(radiance_mult, radiance_add)
    reflectance = _both(reflectance_mult, reflectance_add)
    missing = "" if reflectance else "the MTL has no reflectance factors of these bands"
    if reflectance and not sun_is_up(sun_elevation):
        reflectance, missing = None, f"the sun is not known to be above the horizon (SUN_ELEVATION {sun_elevation})"
    if radiance is None and reflectance is None:
        return None
    if radiance is None:
        missing = "the MTL has no radiance factors of these bands"
    toa: tuple[Numbers | None, Numbers | None] = (None, None)
    if reflectance:
        sine = math.sin(math.radians(sun_elevation or 0.0))
        toa = (tuple(value / sine for value in reflectance[0]), tuple(value / sine for value in reflectance[1]))
    gain, offset = radiance or (None, None)
    return Calibration(gain, offset, toa[0], toa[1], "rescaling factors of the MTL", missing)


def dimap(
    gains: Sequence[float] | None,
    biases: Sequence[float] | None,
    irradiances: Sequence[float] | None,
    time: str | None,
    sun_elevation: float | None,
) -> Calibration | None:
    """Return the calibration of a DIMAP product: L = DN / GAIN + BIAS, a reading that no sample has confirmed.

    Parameters
    ----------
    gains, biases
        ``GAIN`` and ``BIAS`` of each band in raster order; None where that of a band is missing.
    irradiances
        ``Band_Solar_Irradiance``, W m-2 um-1, in raster order.
    time
        Acquisition, ISO 8601.
    sun_elevation
        Degrees.

    Returns
    -------
    Calibration or None
        None where a gain is missing or not positive.
    """
    values = _both(gains, biases)
    if values is None or not all(map(is_positive, values[0])):
        return None
    return Calibration.from_gains(
        [1.0 / gain for gain in values[0]],
        values[1],
        irradiances=irradiances,
        time=time,
        sun_elevation=sun_elevation,
        source="GAIN and BIAS of the product, read as L = DN / GAIN + BIAS (unverified)",
    )


def _geoeye_unit(platform: str, roles: Sequence[str], abs_cal: Sequence[float]) -> tuple[float, tuple[str, ...]]:
    """Factor to the usual unit: old GeoEye-1 products state ten times smaller numbers."""
    if platform.strip().upper() != "GE01":
        return 1.0, ()
    for role, factor in zip(roles, abs_cal, strict=True):
        if factor < GE01_LIMITS.get(role, 0.0):
            return 10.0, (f"GE01 unit x10: absCalFactor {factor:g} of {role} is in a unit ten times larger",)
    return 1.0, ()


def _scene_gains(roles: Sequence[str], abs_coef: Sequence[float] | None) -> tuple[Numbers, Numbers, str] | None:
    if abs_coef is None or len(abs_coef) != len(roles) or not all(map(is_positive, abs_coef)):
        return None
    return tuple(abs_coef), (0.0,) * len(roles), "AbsCeof of the scene"


def _table_gains(
    satellite: str, sensor: str, roles: Sequence[str], date: str | None
) -> tuple[tuple[Numbers, Numbers, str] | None, tuple[str, ...]]:
    """Gains, offsets and source of the row for a date (rule: module docstring), and a note for an undated row."""
    rows = [row for row in GAOFEN.get((satellite, sensor), ()) if all(role in row.values for role in roles)]
    year = _year(date)
    dated = [row for row in rows if year is not None and row.covers(year)]
    first = min((row.years[0] for row in GAOFEN.get((satellite, sensor), ()) if row.years), default=None)
    too_late = first is not None and (year is None or year >= first)
    chosen = dated or [row for row in rows if row.years is None and not too_late]
    if not chosen:
        return None, ()
    row = chosen[0]
    gains, offsets = zip(*(row.values[role] for role in roles), strict=True)
    said = "" if row.years is None else ", because the scene has no AbsCeof"
    return (gains, offsets, row.source), (f"gains of {satellite} {sensor} from {row.source}{said}",)


def _year(date: str | None) -> int | None:
    digits = (date or "").strip()[:4]
    return int(digits) if len(digits) == 4 and digits.isdecimal() else None  # noqa: PLR2004


def _toa_note(calibration: Calibration) -> tuple[str, ...]:
    return (f"no reflectance: {calibration.missing}",) if calibration.toa_gain is None else ()


def _both(gains: Sequence[float] | None, offsets: Sequence[float] | None) -> tuple[Numbers, Numbers] | None:
    return None if gains is None or offsets is None else (tuple(gains), tuple(offsets))
