"""Coefficients against the published formulas worked by hand, and the rules for what is not known."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest

from ship_geo import calibration
from ship_geo.calibration import Calibration, sun_distance
from ship_geo.errors import ArgumentError

EIGHT = ("coastal", "blue", "green", "yellow", "red", "rededge", "nir", "nir2")
FOUR = ("blue", "green", "red", "nir")


def ellipse(time):
    """Earth-Sun distance by Kepler's equation, with the elements of Meeus (Astronomical Algorithms, chapter 25)."""
    centuries = (datetime.fromisoformat(time) - datetime(2000, 1, 1, 12, tzinfo=UTC)).total_seconds() / 86400 / 36525
    eccentricity = 0.016708634 - 0.000042037 * centuries
    mean = math.radians(357.52911 + 35999.05029 * centuries)
    eccentric = mean
    for _ in range(9):
        eccentric = mean + eccentricity * math.sin(eccentric)
    return 1.000001018 * (1 - eccentricity * math.cos(eccentric))


@pytest.mark.parametrize(
    ("time", "distance"),
    [  # the ends of the orbit as almanacs list them: 147,091,144 km, 152,095,295 km and 147,098,925 km
        ("2020-01-05T07:48:00Z", 147091144 / 149597870.7),
        ("2020-07-04T11:35:00Z", 152095295 / 149597870.7),
        ("2023-01-04T16:17:00Z", 147098925 / 149597870.7),
    ],
)
def test_distance_at_the_ends_of_the_orbit(time, distance):
    assert sun_distance(time) == pytest.approx(distance, abs=1e-4)


@pytest.mark.parametrize("month", range(1, 13))
def test_distance_agrees_with_keplers_equation(month):
    time = f"2017-{month:02d}-17T10:00:00Z"
    assert sun_distance(time) == pytest.approx(ellipse(time), abs=1e-4)


def test_time_without_zone_is_utc_and_a_zone_counts():
    assert sun_distance("2020-07-06 10:17:42.1661960") == sun_distance("2020-07-06T10:17:42.166196Z")
    assert sun_distance("2020-04-06T18:00:00+08:00") == sun_distance("2020-04-06T10:00:00Z")


def test_time_that_is_none_is_refused():
    with pytest.raises(ArgumentError, match="ISO 8601, got 'yesterday'"):
        sun_distance("yesterday")


def test_worldview_radiance_and_reflectance_by_the_published_formula():
    time = "2016-06-23T09:53:30.046Z"
    found, notes = calibration.worldview("WV02", EIGHT, [0.0123] * 8, [0.0543] * 8, time, 66.6)
    gain, offset = found.coefficients("radiance")
    assert gain[1] == pytest.approx(1.002 * 0.0123 / 0.0543)
    assert offset[1] == -9.835
    toa_gain, toa_offset = found.coefficients("toa")
    factor = math.pi * sun_distance(time) ** 2 / (1053.21 * math.cos(math.radians(90 - 66.6)))
    assert (toa_gain[6], toa_offset[6]) == pytest.approx((0.966 * 0.0123 / 0.0543 * factor, -5.096 * factor))
    assert notes == ()
    assert "WorldView-2" in found.source


def test_worldview_rows_follow_roles_not_places():
    found, _ = calibration.worldview("WV03", ("nir", "red", "blue"), [1.0] * 3, [1.0] * 3, None, None)
    assert found.radiance_gain == (0.977, 0.969, 0.946)


@pytest.mark.parametrize(("role", "factor"), [("blue", 0.0017), ("pan", 0.0018)])
def test_geoeye_factors_in_the_old_unit_are_ten_times_larger(role, factor):
    roles = ("pan",) if role == "pan" else FOUR
    found, notes = calibration.worldview("GE01", roles, [factor] * len(roles), [1.0] * len(roles), None, None)
    expected = {"pan": 1.001, "blue": 1.041}[role] * factor * 10
    assert found.radiance_gain[0] == pytest.approx(expected)
    assert notes[0].startswith("GE01 unit x10")


def test_geoeye_factors_in_the_usual_unit_stay():
    found, notes = calibration.worldview("GE01", FOUR, [0.017] * 4, [1.0] * 4, "2011-07-04T10:22:33Z", 60.0)
    assert found.radiance_gain[0] == pytest.approx(1.041 * 0.017)
    assert notes == ()


def test_platform_without_a_row_keeps_the_factory_calibration():
    found, notes = calibration.worldview("WV04", FOUR, [0.02] * 4, [0.05] * 4, "2018-07-04T10:22:33Z", 60.0)
    assert found.radiance_gain == pytest.approx((0.4,) * 4)
    assert found.radiance_offset == (0.0,) * 4
    assert notes[0].startswith("factory calibration, no adjustment")
    assert notes[1] == "no reflectance: the solar irradiance of a band is not known"
    with pytest.raises(ArgumentError, match="solar irradiance of a band is not known"):
        found.coefficients("toa")


@pytest.mark.parametrize(
    ("time", "elevation", "reason"),
    [
        (None, 50.0, "time is not known"),
        ("2016-06-23", None, "elevation is not known"),
        ("2016-06-23", -3.0, "horizon"),
    ],
)
def test_reflectance_needs_time_and_sun(time, elevation, reason):
    found, notes = calibration.worldview("QB02", FOUR, [0.02] * 4, [0.05] * 4, time, elevation)
    assert found.toa_gain is None
    assert len(notes) == 1
    assert reason in notes[0]


@pytest.mark.parametrize(("factors", "widths"), [([0.02] * 3, [0.05] * 4), ([0.0] * 4, [0.05] * 4), ([1] * 4, [0] * 4)])
def test_worldview_refuses_factors_that_cannot_be(factors, widths):
    with pytest.raises(ArgumentError, match="positive absCalFactor"):
        calibration.worldview("QB02", FOUR, factors, widths, None, None)


def test_gaofen_scene_coefficients_go_first():
    gains = (0.1, 0.2, 0.3, 0.4)
    found, reason, notes = calibration.gaofen("GF2", "PMS1", FOUR, "2025-04-02", gains, 25.5, "2025-04-02T03:30:58Z")
    assert found.radiance_gain == gains
    assert found.source == "AbsCeof of the scene"
    factor = math.pi * sun_distance("2025-04-02T03:30:58Z") ** 2 / (1523.19 * math.cos(math.radians(25.5)))
    assert found.toa_gain[2] == pytest.approx(0.3 * factor)
    assert (reason, notes) == ("", ())


def test_gaofen_scene_coefficients_of_another_count_are_ignored():
    found, _, notes = calibration.gaofen("GF2", "PMS2", FOUR, "20240402", (0.1, 0.2), 25.5, None)
    assert found.radiance_gain == (0.1743, 0.1784, 0.1668, 0.1912)
    assert notes[0].startswith("AbsCeof ignored: 0.1, 0.2")


@pytest.mark.parametrize(
    ("platform", "instrument", "year", "blue", "word"),
    [
        ("GF1", "PMS1", 2017, 0.1424, "2017"),
        ("GF-1", "PMS2", 2017, 0.1460, "2017"),
        ("GF2", "PMS1", 2023, 0.1374, "AbsCeof"),
        ("GF2", "PMS1", 2016, 0.1585, "year unverified"),
        ("GF6", "PMS", 2020, 0.082, "year unverified"),
        ("GF1B", "PMS", 2020, 0.0757, "year unverified"),
        ("GF1D", "PMS", 2020, 0.0738, "year unverified"),
    ],
)
def test_gaofen_table(platform, instrument, year, blue, word):
    found, reason, notes = calibration.gaofen(platform, instrument, FOUR, f"{year}-06-10", None, None, None)
    assert found.radiance_gain[0] == blue
    assert word in notes[0]
    assert word in found.source
    assert reason == ""


def test_gaofen_older_row_has_biases():
    found, *_ = calibration.gaofen("GF2", "PMS1", ("pan",), "2016-05-11", None, None, None)
    assert (found.radiance_gain, found.radiance_offset) == ((0.163,), (-0.6077,))


@pytest.mark.parametrize(
    ("platform", "instrument", "date", "roles"),
    [
        ("GF2", "PMS2", "2016-05-11", FOUR),
        ("GF1", "PMS1", "2016-12-31", FOUR),
        ("GF1", "PMS1", "2018-01-01", FOUR),
        ("GF1C", "PMS", "2020-01-01", FOUR),
        ("GF2", "PMS1", "2024-01-01", ("pan",)),
        ("GF2", "PMS1", None, FOUR),
    ],
)
def test_gaofen_without_a_row_for_the_year_says_why(platform, instrument, date, roles):
    found, reason, _ = calibration.gaofen(platform, instrument, roles, date, None, 30.0, None)
    assert found is None
    assert f"{platform} {instrument} of {date or 'an unknown date'}" in reason
    assert "Calibration.from_gains" in reason


def test_landsat_reflectance_is_divided_by_the_sine_of_the_sun_elevation():
    found = calibration.landsat([0.0125, 0.011], [-62.0, -57.0], [2e-5, 2e-5], [-0.1, -0.1], 30.0)
    assert found.coefficients("radiance") == ((0.0125, 0.011), (-62.0, -57.0))
    assert found.coefficients("toa")[0] == pytest.approx((4e-5, 4e-5))
    assert found.coefficients("toa")[1] == pytest.approx((-0.2, -0.2))


def test_landsat_with_one_kind_of_factors_says_what_is_missing():
    found = calibration.landsat([0.0125], [-62.0], None, None, 30.0)
    with pytest.raises(ArgumentError, match="no reflectance factors"):
        found.coefficients("toa")
    found = calibration.landsat(None, None, [2e-5], [-0.1], 30.0)
    with pytest.raises(ArgumentError, match="no radiance factors"):
        found.coefficients("radiance")
    assert calibration.landsat(None, None, [2e-5], [-0.1], None) is None


def test_dimap_divides_by_the_gain():
    found = calibration.dimap([10.0, 8.0], [0.0, 1.0], [1500.0, 1800.0], "2019-05-01T10:30:00Z", 45.0)
    assert found.radiance_gain == (0.1, 0.125)
    assert found.radiance_offset == (0.0, 1.0)
    factor = math.pi * sun_distance("2019-05-01T10:30:00Z") ** 2 / math.sin(math.radians(45))
    assert found.toa_gain == pytest.approx((0.1 * factor / 1500, 0.125 * factor / 1800))
    assert "unverified" in found.source


def test_dimap_without_gains_gives_none():
    assert calibration.dimap(None, [0.0], None, None, None) is None
    assert calibration.dimap([0.0], [0.0], None, None, None) is None


def test_own_gains_have_no_offset_unless_given():
    found = Calibration.from_gains([0.5, 2.0])
    assert found.coefficients("radiance") == ((0.5, 2.0), (0.0, 0.0))
    assert found.source == "gains given by the user"


@pytest.mark.parametrize("gains", [[], [0.0], [-1.0], [math.nan], [math.inf]])
def test_gains_that_cannot_be_are_refused(gains):
    with pytest.raises(ArgumentError, match="one positive gain"):
        Calibration.from_gains(gains)


def test_lengths_must_agree():
    with pytest.raises(ArgumentError, match="same length"):
        Calibration.from_gains([1.0, 2.0], [0.0])
    with pytest.raises(ArgumentError, match="positive irradiance"):
        Calibration.from_gains([1.0, 2.0], irradiances=[1500.0], time="2019-05-01", sun_elevation=45.0)
    with pytest.raises(ArgumentError, match="as many radiance as toa"):
        Calibration((1.0,), (0.0,), (1.0, 2.0), (0.0, 0.0), "test")
    with pytest.raises(ArgumentError, match="as many radiance as toa"):
        Calibration(None, None, None, None, "test")


def test_select_takes_bands_in_the_order_asked_for():
    found = Calibration.from_gains([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]).select([2, 0])
    assert found.coefficients("radiance") == ((3.0, 1.0), (6.0, 4.0))
    assert found.toa_gain is None


@pytest.mark.parametrize("places", [[3], [-1], []])
def test_select_refuses_places_without_a_band(places):
    with pytest.raises(ArgumentError, match="between 0 and 2"):
        Calibration.from_gains([1.0, 2.0, 3.0]).select(places)


def test_unknown_kind_is_refused():
    with pytest.raises(ArgumentError, match="radiance, toa, got 'dn'"):
        Calibration.from_gains([1.0]).coefficients("dn")


def test_json_round_trip():
    found, _ = calibration.worldview("WV02", EIGHT, [0.0123] * 8, [0.0543] * 8, "2016-06-23T09:53:30Z", 66.6)
    assert Calibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    plain = Calibration.from_gains([1.0])
    assert Calibration.from_dict(json.loads(json.dumps(plain.to_dict()))) == plain


@pytest.mark.parametrize("change", [{"colour": 1}, {"radiance_gain": ["a"]}, {"radiance_gain": 3}])
def test_dict_that_is_no_calibration_is_refused(change):
    with pytest.raises(ArgumentError):
        Calibration.from_dict(Calibration.from_gains([1.0]).to_dict() | change)
