from __future__ import annotations

from pathlib import Path

import pytest

from ship_geo.errors import ProductError
from ship_geo.products.names import find_platform, find_role, find_time
from ship_geo.products.pairs import find_pair, scene_name
from ship_geo.sensors import find_sensor


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


@pytest.mark.parametrize(
    ("pan", "ms"),
    [
        ("city_PAN.tif", "city_MS.tif"),
        ("city_pan.tif", "city_MUL.TIF"),
        ("city-PAN1.tiff", "city-MSS1.tiff"),
        ("city-PAN2.tiff", "city-MSS2.tiff"),
        (
            "GF6_PMS_E116.5_N39.9_20200610_L1A1120010001-PAN.tiff",
            "GF6_PMS_E116.5_N39.9_20200610_L1A1120010001-MUX.tiff",
        ),
        ("pan.tif", "ms.tif"),
        ("city.pan.tif", "city.ms.tif"),
        ("PAN_city.jp2", "MS_city.jp2"),
        ("x-P2AS-y.tif", "x-M2AS-y.tif"),
        ("16JUN23095329-P2AS-056078906010_01_P001.TIF", "16JUN23095330-M2AS-056078906010_01_P001.TIF"),
    ],
)
def test_partner_is_found_from_either_side(tmp_path: Path, pan: str, ms: str) -> None:
    touch(tmp_path, pan, ms, "notes.txt", f"{ms}.aux.xml")
    for source in (tmp_path, tmp_path / pan, tmp_path / ms):
        pair = find_pair(source)
        assert pair is not None
        assert (Path(pair.pan).name, [Path(path).name for path in pair.ms]) == (pan, [ms])


def test_landsat_bands_make_one_ms(tmp_path: Path) -> None:
    stem = "LC08_L1TP_195025_20200706_20200913_02_T1"
    touch(tmp_path, *(f"{stem}_B{number}.TIF" for number in range(1, 12)), f"{stem}_QA_PIXEL.TIF")
    for source in (tmp_path, tmp_path / f"{stem}_B8.TIF", tmp_path / f"{stem}_B4.TIF"):
        pair = find_pair(source)
        assert pair is not None
        assert Path(pair.pan).stem == f"{stem}_B8"
        assert [Path(path).stem[-2:] for path in pair.ms] == ["B2", "B3", "B4", "B5", "B6", "B7"]


def test_thermal_band_of_landsat_7_is_left_out(tmp_path: Path) -> None:
    stem = "LE07_L1TP_195025_20010730_20170204_01_T1"
    touch(tmp_path, *(f"{stem}_B{number}.TIF" for number in range(1, 9)), f"{stem}_B6_VCID_1.TIF")
    pair = find_pair(tmp_path)
    assert pair is not None
    assert [Path(path).stem[-2:] for path in pair.ms] == ["B1", "B2", "B3", "B4", "B5", "B7"]


def test_cameras_are_never_paired_across(tmp_path: Path) -> None:
    touch(tmp_path, "city-PAN1.tiff", "city-MSS2.tiff")
    assert find_pair(tmp_path / "city-PAN1.tiff") is None


def test_folder_with_two_pairs_lists_both(tmp_path: Path) -> None:
    touch(tmp_path, "a_PAN.tif", "a_MS.tif", "b_PAN.tif", "b_MS.tif")
    with pytest.raises(
        ProductError, match=r"one PAN / MS pair, got 2 in .*: a_PAN.tif with a_MS.tif; b_PAN.tif with b_MS"
    ):
        find_pair(tmp_path)


def test_two_candidates_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a_PAN.tif", "a_MS.tif", "a_MUL.tif")
    with pytest.raises(ProductError, match=r"one MS file, got the candidates a_MS\.tif, a_MUL\.tif"):
        find_pair(tmp_path / "a_PAN.tif")


def test_folder_without_a_pair_lists_what_it_holds(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "b.tif")
    with pytest.raises(ProductError, match=r"must hold a PAN / MS pair, got a\.tif, b\.tif"):
        find_pair(tmp_path)


def test_folder_without_rasters_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="got no GeoTIFF, JPEG 2000 or NITF file"):
        find_pair(tmp_path)


@pytest.mark.parametrize("name", ["16JUN23095330-S2AS-056078906010_01_P001.TIF", "IMG_PHR1A_PMS_001_R1C1.TIF"])
def test_sharpened_product_is_refused(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    for source in (tmp_path / name, tmp_path):
        with pytest.raises(ProductError, match=r"got the pan-sharpened product .*; pass the bundle"):
            find_pair(source)


def test_result_beside_its_inputs_does_not_disturb(tmp_path: Path) -> None:
    touch(tmp_path, "a_PAN.tif", "a_MS.tif", "a_pansharpened.tif")
    assert find_pair(tmp_path) is not None


@pytest.mark.parametrize(
    ("pan", "name"),
    [("a/city_PAN.tif", "city"), ("city-PAN1.tiff", "city"), ("LC08_x_B8.TIF", "LC08_x"), ("pan.tif", "pan")],
)
def test_scene_is_named_after_its_files(pan: str, name: str) -> None:
    assert scene_name(pan) == name


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("Blue", "blue"),
        ("B", "blue"),
        ("BAND_R", "red"),
        ("NIR1", "nir"),
        ("NIR-1", "nir"),
        ("nir 2", "nir2"),
        ("N2", "nir2"),
        ("red edge", "rededge"),
        ("RedEdge", "rededge"),
        ("RE", "rededge"),
        ("Near Infrared (NIR)", "nir"),
        ("near-infrared", "nir"),
        ("Coastal aerosol", "coastal"),
        ("b4 nir", "nir"),
        ("B4 red", "red"),
        ("B02", "blue"),
        ("SWIR1", "swir1"),
        ("Panchromatic", "pan"),
        ("B4", None),
        ("b1", None),
        ("", None),
        ("red minus green", None),
    ],
)
def test_role_is_read_only_where_it_is_certain(text: str, role: str | None) -> None:
    assert find_role(text) == role


@pytest.mark.parametrize(
    ("sensor", "text", "role"), [("LC08", "B4", "red"), ("LE07", "B4", "nir"), ("WV02", "B4", None)]
)
def test_band_numbers_mean_something_for_landsat_only(sensor: str | None, text: str, role: str | None) -> None:
    assert find_role(text, find_sensor(sensor)) == role


@pytest.mark.parametrize(
    ("name", "sensor"),
    [
        ("WV2_rotterdam_1_PAN.tif", "worldview-2"),
        ("WV03_city_PAN.tif", "worldview-3"),
        ("L8_madrid_PAN.tif", "landsat-8"),
        ("LC08_L1TP_195025_20200706_20200913_02_T1_B8.TIF", "landsat-8"),
        ("LC81950252020188LGN00_B8.TIF", "landsat-8"),
        ("LE07_L1TP_195025_20010730_20170204_01_T1_B8.TIF", "landsat-7"),
        ("GF2_PMS1_E108.0_N21.7_20250402_L1A14547899001-PAN1.tiff", "gaofen-2"),
        ("city_PAN.tif", None),
        ("WV02_and_WV03_PAN.tif", None),
    ],
)
def test_sensor_is_known_from_a_name(name: str, sensor: str | None) -> None:
    found = find_platform([name], {})
    assert (found and found.name) == sensor


def test_sensor_is_known_from_tags() -> None:
    found = find_platform(["a.tif"], {"SPACECRAFT_ID": '"LANDSAT_8"'})
    assert found is not None
    assert found.name == "landsat-8"


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("16JUN23095329-P2AS-056078906010_01_P001.TIF", "2016-06-23T09:53:29Z"),
        ("LC08_L1TP_195025_20200706_20200913_02_T1_B8.TIF", "2020-07-06"),
        ("GF2_PMS1_E108.0_N21.7_20250402_L1A14547899001-PAN1.tiff", "2025-04-02"),
        ("99XXX99999999-P2AS-056078906010_01_P001.TIF", None),
        ("city_20200101.tif", None),
    ],
)
def test_time_is_read_from_known_names(name: str, time: str | None) -> None:
    assert find_time([name]) == time


def test_hidden_files_are_no_second_pair(tmp_path: Path) -> None:
    touch(tmp_path, "city_PAN.tif", "city_MS.tif", "._city_PAN.tif", "._city_MS.tif")
    pair = find_pair(tmp_path)
    assert pair is not None
    assert Path(pair.pan).name == "city_PAN.tif"
