from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ship_geo.errors import ArgumentError
from ship_geo.sensors import SENSORS, Band, Sensor, find_sensor

WORLDVIEW_ROLES = ("coastal", "blue", "green", "yellow", "red", "rededge", "nir", "nir2")


def test_table_holds_every_sensor_under_its_name() -> None:
    assert set(SENSORS) == {
        "worldview-2",
        "worldview-3",
        "worldview-4",
        "geoeye-1",
        "quickbird-2",
        "ikonos",
        "legion",
        "gaofen-1",
        "gaofen-1b",
        "gaofen-1c",
        "gaofen-1d",
        "gaofen-2",
        "gaofen-6",
        "gaofen-7",
        "landsat-7",
        "landsat-8",
        "landsat-9",
        "pleiades",
        "pleiades-neo",
        "spot-6",
        "spot-7",
    }
    assert all(name == sensor.name for name, sensor in SENSORS.items())


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("WV02", "worldview-2"),
        ("wv2", "worldview-2"),
        ("WorldView-2", "worldview-2"),
        ("worldview 3", "worldview-3"),
        ("GE01", "geoeye-1"),
        ("QuickBird", "quickbird-2"),
        ("QB02", "quickbird-2"),
        ("GF2_PMS1", "gaofen-2"),
        ("GF1", "gaofen-1"),
        ("gaofen-1b", "gaofen-1b"),
        ("LANDSAT_8", "landsat-8"),
        ("LC09", "landsat-9"),
        ("LE07", "landsat-7"),
        ("PHR1B", "pleiades"),
        ("PNEO3", "pleiades-neo"),
        ("SPOT7", "spot-7"),
        ("LG02", "legion"),
    ],
)
def test_sensor_is_found_by_name_and_by_platform_id(called: str, name: str) -> None:
    assert find_sensor(called).name == name


def test_no_platform_id_means_two_sensors() -> None:
    for sensor in SENSORS.values():
        assert all(find_sensor(word) is sensor for word in (sensor.name, sensor.title, *sensor.platform_ids))


def test_unknown_sensor_is_refused_with_the_legal_names() -> None:
    with pytest.raises(ArgumentError, match=r"must be one of worldview-2, .*, got 'Sputnik'; .*generic"):
        find_sensor("Sputnik")


@pytest.mark.parametrize("called", ["WV01", "WorldView-1", "wv1"])
def test_worldview_1_is_refused_because_it_has_no_ms(called: str) -> None:
    with pytest.raises(ArgumentError, match="multispectral bands, got WorldView-1, which records PAN only"):
        find_sensor(called)


@pytest.mark.parametrize(
    ("name", "gnyq_ms", "gnyq_pan"),
    [
        ("quickbird-2", (0.34, 0.32, 0.30, 0.22), 0.15),
        ("ikonos", (0.26, 0.28, 0.29, 0.28), 0.17),
        ("geoeye-1", (0.23,) * 4, 0.16),
        ("worldview-4", (0.23,) * 4, 0.16),
        ("worldview-2", (0.35,) * 7 + (0.27,), 0.11),
        ("worldview-3", (0.325, 0.355, 0.360, 0.350, 0.365, 0.360, 0.335, 0.315), 0.14),
        ("gaofen-2", (0.30,) * 4, 0.15),
        ("pleiades", (0.30,) * 4, 0.15),
        ("legion", (0.30,) * 8, 0.15),
    ],
)
def test_gains_are_the_published_ones(name: str, gnyq_ms: tuple[float, ...], gnyq_pan: float) -> None:
    assert SENSORS[name].gnyq_ms == gnyq_ms
    assert SENSORS[name].gnyq_pan == gnyq_pan


def test_gains_of_oli_are_those_of_the_measured_bands() -> None:
    measured = SENSORS["landsat-8"].select(["blue", "green", "red", "nir"])
    assert measured.gnyq_ms == (0.55, 0.55, 0.55, 0.53)


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("worldview-3", WORLDVIEW_ROLES),
        ("legion", ("coastal", "blue", "green", "yellow", "red", "rededge", "rededge2", "nir")),
        ("gaofen-2", ("blue", "green", "red", "nir")),
        ("landsat-8", ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")),
        ("landsat-7", ("blue", "green", "red", "nir", "swir1", "swir2")),
        ("pleiades-neo", ("coastal", "blue", "green", "red", "rededge", "nir")),
    ],
)
def test_roles_come_in_file_order(name: str, roles: tuple[str, ...]) -> None:
    assert SENSORS[name].roles == roles


@pytest.mark.parametrize(
    ("name", "bits"),
    [("worldview-2", 11), ("gaofen-2", 10), ("gaofen-7", 16), ("landsat-7", 8), ("landsat-8", 16), ("spot-6", 12)],
)
def test_bits_are_those_of_the_recorder(name: str, bits: int) -> None:
    assert SENSORS[name].bits == bits


@pytest.mark.parametrize("name", list(SENSORS))
def test_ratio_agrees_with_native_resolution(name: str) -> None:
    sensor = SENSORS[name]
    assert sensor.gsd_pan is not None
    assert sensor.gsd_ms is not None
    assert sensor.ratio == (2 if name.startswith("landsat") else 4)
    assert math.isclose(sensor.gsd_ms / sensor.gsd_pan, sensor.ratio, rel_tol=0.03)


@pytest.mark.parametrize("name", list(SENSORS))
def test_every_row_is_sourced_and_its_wavelengths_ascend(name: str) -> None:
    sensor = SENSORS[name]
    assert sensor.source
    limits = [band.wavelength for band in sensor.bands if band.wavelength is not None]
    assert all(low < high for low, high in limits)
    assert limits == sorted(limits)
    assert sensor.pan_wavelength is not None
    assert sensor.pan_wavelength[0] < sensor.pan_wavelength[1]


@given(st.lists(st.sampled_from(WORLDVIEW_ROLES), min_size=1, unique=True))
def test_select_keeps_each_band_with_its_facts_in_the_order_asked(roles: list[str]) -> None:
    whole = SENSORS["worldview-3"]
    part = whole.select(roles)
    assert part.roles == tuple(roles)
    assert all(whole.bands[whole.roles.index(band.role)] == band for band in part.bands)
    assert (part.name, part.gnyq_pan, part.bits) == (whole.name, whole.gnyq_pan, whole.bits)


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        (["red", "thermal"], "WorldView-2 has the bands coastal, .*, got thermal; choose among them"),
        (["red", "red"], "each role names one band, got red more than once"),
        ([], "at least one MS band, got none"),
    ],
)
def test_select_refuses_what_the_sensor_cannot_give(roles: list[str], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        SENSORS["worldview-2"].select(roles)


def test_generic_sensor_has_the_named_bands_and_default_gains() -> None:
    sensor = Sensor.generic(["red", "green", "blue"], bits=8)
    assert sensor.roles == ("red", "green", "blue")
    assert sensor.gnyq_ms == (0.30, 0.30, 0.30)
    assert (sensor.gnyq_pan, sensor.bits) == (0.15, 8)


def test_generic_sensor_numbers_bands_without_names() -> None:
    assert Sensor.generic(3).roles == ("band1", "band2", "band3")


@pytest.mark.parametrize(
    ("bands", "bits", "message"),
    [
        (0, 16, "at least one MS band"),
        ([], 16, "at least one MS band"),
        (["red", "red"], 16, "each role names one band"),
        (["red", ""], 16, "a band needs a role"),
        (["red"], 0, "1 to 32 bits, got 0"),
    ],
)
def test_generic_sensor_refuses_impossible_bands(bands: list[str] | int, bits: int, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Sensor.generic(bands, bits=bits)


@pytest.mark.parametrize("gnyq", [0.0, 1.0, -0.3, math.nan])
def test_gain_outside_zero_to_one_is_refused(gnyq: float) -> None:
    with pytest.raises(ArgumentError, match="an MTF gain lies between 0 and 1"):
        Band("red", gnyq=gnyq)


@pytest.mark.parametrize("ratio", [0.25, 0.0, math.nan])
def test_ratio_below_one_is_refused(ratio: float) -> None:
    with pytest.raises(ArgumentError, match="MS pixels are at least as large as PAN pixels"):
        Sensor(name="odd", title="Odd", platform_ids=(), bands=(Band("red"),), ratio=ratio)


def test_sensor_travels_to_other_processes_unchanged() -> None:
    sensor = SENSORS["worldview-2"].select(["red"])
    assert pickle.loads(pickle.dumps(sensor)) == sensor
    assert len({sensor, pickle.loads(pickle.dumps(sensor))}) == 1
