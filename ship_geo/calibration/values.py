"""Gains and offsets of one layer, and the arithmetic between radiance and reflectance.

For any product: nothing here knows a vendor. The convention that could surprise: gain and offset are always meant as
``value = gain * DN + offset``, whatever form the vendor uses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from ship_geo.errors import ArgumentError

Numbers: TypeAlias = tuple[float, ...]
"""One value for each band, in file order."""

KINDS = ("radiance", "toa")
"""What `Calibration.coefficients` knows."""

REMEDY = "pass your own gains with Calibration.from_gains, or stay with DN"
"""What to do without coefficients."""

_J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Calibration:
    """Gains and offsets of the bands of one layer, in file order.

    Attributes
    ----------
    radiance_gain, radiance_offset
        Radiance in W m-2 sr-1 um-1 is ``gain * DN + offset``; None where not known.
    toa_gain, toa_offset
        Reflectance at the top of the atmosphere, 0 to 1, is ``gain * DN + offset``; None where not known.
    source
        Where the numbers come from, as a sentence.
    missing
        Why one of the two is None; empty where both are known.

    Raises
    ------
    ArgumentError
        When nothing is known, the lengths differ, or a number is not finite or a gain not positive.
    """

    radiance_gain: Numbers | None
    radiance_offset: Numbers | None
    toa_gain: Numbers | None
    toa_offset: Numbers | None
    source: str
    missing: str = ""

    def __post_init__(self) -> None:
        _check_pair("radiance", self.radiance_gain, self.radiance_offset)
        _check_pair("toa", self.toa_gain, self.toa_offset)
        if len({len(gains) for gains in (self.radiance_gain, self.toa_gain) if gains is not None}) != 1:
            message = f"a calibration needs as many radiance as toa gains, got {self}; pass one gain for each band"
            raise ArgumentError(message)

    @classmethod
    def from_gains(
        cls,
        gains: Sequence[float],
        offsets: Sequence[float] | None = None,
        *,
        irradiances: Sequence[float] | None = None,
        time: str | None = None,
        sun_elevation: float | None = None,
        source: str = "gains given by the user",
    ) -> Calibration:
        """Return a calibration from radiance gains of your own.

        Parameters
        ----------
        gains, offsets
            Radiance in W m-2 sr-1 um-1 is ``gain * DN + offset``, in file order; without offsets they are 0.
        irradiances
            Of the sun at one astronomical unit, W m-2 um-1, in file order.
        time
            Acquisition, ISO 8601, UTC where it names no zone.
        sun_elevation
            Degrees.
        source
            Where the numbers come from.

        Returns
        -------
        Calibration
            Without toa where `irradiances`, `time` or `sun_elevation` is missing.

        Raises
        ------
        ArgumentError
            When the lengths differ, or a number is not finite or a gain not positive.
        """
        gain: Numbers = tuple(map(float, gains))
        offset: Numbers = (0.0,) * len(gain) if offsets is None else tuple(map(float, offsets))
        _check_pair("radiance", gain, offset)
        factors, missing = _toa_factors(len(gain), irradiances, time, sun_elevation)
        if factors is None:
            return cls(gain, offset, None, None, source, missing)
        return cls(gain, offset, _product(factors, gain), _product(factors, offset), source)

    def select(self, places: Iterable[int]) -> Calibration:
        """Return the calibration of some bands.

        Parameters
        ----------
        places
            Places in file order, from 0, in the order wanted.

        Raises
        ------
        ArgumentError
            When there is no band at a place.
        """
        wanted = tuple(places)
        count = len(self.radiance_gain or self.toa_gain or ())
        if not wanted or not all(0 <= place < count for place in wanted):
            message = f"places must lie between 0 and {count - 1}, got {wanted}; choose among the {count} bands"
            raise ArgumentError(message)

        def pick(values: Numbers | None) -> Numbers | None:
            return None if values is None else tuple(values[place] for place in wanted)

        return replace(
            self,
            radiance_gain=pick(self.radiance_gain),
            radiance_offset=pick(self.radiance_offset),
            toa_gain=pick(self.toa_gain),
            toa_offset=pick(self.toa_offset),
        )

    def coefficients(self, kind: str) -> tuple[Numbers, Numbers]:
        """Return gains and offsets of one kind.

        Parameters
        ----------
        kind
            ``"radiance"`` or ``"toa"``.

        Raises
        ------
        ArgumentError
            When the kind is unknown or its coefficients are; the message says what is missing.
        """
        if kind not in KINDS:
            message = f"kind must be one of {', '.join(KINDS)}, got {kind!r}; choose one, or stay with DN"
            raise ArgumentError(message)
        pairs = {
            "radiance": (self.radiance_gain, self.radiance_offset),
            "toa": (self.toa_gain, self.toa_offset),
        }
        gain, offset = pairs[kind]
        if gain is None or offset is None:
            reason = self.missing or "the metadata have no coefficients"
            message = f"{kind} needs coefficients of every band, got none because {reason}; {REMEDY}"
            raise ArgumentError(message)
        return gain, offset

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and texts, as JSON has them; `from_dict` reads them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Return the calibration that `to_dict` wrote.

        Raises
        ------
        ArgumentError
            When a key is unknown or missing, or a value cannot be a calibration.
        """
        try:
            plain: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
            }
            return cls(**plain)
        except TypeError as error:
            message = (
                f"a calibration has the keys {', '.join(cls.__dataclass_fields__)}, got {dict(values)}; pass those"
            )
            raise ArgumentError(message) from error


def sun_distance(time: str) -> float:
    """Distance between Earth and sun.

    Parameters
    ----------
    time
        ISO 8601, UTC where it names no zone.

    Returns
    -------
    float
        Astronomical units, within 1e-4: 1.00014 - 0.01671 cos a - 0.00014 cos 2a with the mean anomaly
        a = 357.529 + 0.98560028 (JD - 2451545) degrees (Astronomical Almanac).

    Raises
    ------
    ArgumentError
        When the text is no time.
    """
    try:
        moment = datetime.fromisoformat(time)
    except (TypeError, ValueError) as error:
        message = f"time must be ISO 8601, got {time!r}; write it like 2020-07-06T10:17:42Z"
        raise ArgumentError(message) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    days = (moment - _J2000).total_seconds() / 86400
    anomaly = math.radians(357.529 + 0.98560028 * days)
    return 1.00014 - 0.01671 * math.cos(anomaly) - 0.00014 * math.cos(2 * anomaly)


def _toa_factors(
    count: int, irradiances: Sequence[float] | None, time: str | None, sun_elevation: float | None
) -> tuple[Numbers | None, str]:
    """Reflectance per radiance of each band, or why it is not known."""
    if irradiances is None:
        return None, "the solar irradiance of a band is not known"
    if len(irradiances) != count or not all(map(is_positive, irradiances)):
        message = f"every band needs a positive irradiance, got {list(irradiances)} for {count} bands; pass W m-2 um-1"
        raise ArgumentError(message)
    if time is None:
        return None, "the acquisition time is not known"
    if sun_elevation is None:
        return None, "the sun elevation is not known"
    if not sun_is_up(sun_elevation):
        return None, f"the sun is not above the horizon (elevation {sun_elevation:g} degrees)"
    scale = math.pi * sun_distance(time) ** 2 / math.sin(math.radians(sun_elevation))
    return tuple(scale / value for value in irradiances), ""


def _product(left: Numbers, right: Numbers) -> Numbers:
    return tuple(one * other for one, other in zip(left, right, strict=True))


def is_positive(value: float) -> bool:
    """Whether a number is finite and above 0."""
    return math.isfinite(value) and value > 0


def sun_is_up(elevation: float | None) -> bool:
    """Whether an elevation, degrees, is known and above the horizon."""
    return elevation is not None and 0 < elevation <= 90  # noqa: PLR2004


def _check_pair(kind: str, gain: Numbers | None, offset: Numbers | None) -> None:
    if gain is None and offset is None:
        return
    fits = (
        gain and offset and len(gain) == len(offset) and all(map(is_positive, gain)) and all(map(math.isfinite, offset))
    )
    if not fits:
        message = (
            f"{kind} needs one positive gain and one finite offset for each band, got {gain} and {offset}; "
            "pass two lists of the same length"
        )
        raise ArgumentError(message)
