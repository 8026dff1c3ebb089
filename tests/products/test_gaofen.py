from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from deliveries import gaofen as deliveries

from ship_geo.errors import ProductError
from ship_geo.products import gaofen
from ship_geo.products.gaofen_metadata import Place, scene_gains, scene_time
from ship_geo.products.product import OpenOptions, Product
from ship_geo.products.tree import open_tree
from ship_geo.raster import inspect

FOUR = ("blue", "green", "red", "nir")
GUANGXI = Place(21.7, 108.3, "the centre")


def only(path: Path, **options: object) -> Product:
    tree = open_tree(path, **options)
    (candidate,) = gaofen.match(tree)
    product = gaofen.open(tree, candidate, OpenOptions())
    HELD.append(tree)  # what was unpacked lives as long as its tree
    return product


HELD: list[object] = []


@pytest.fixture(autouse=True)
def _released():
    yield
    for tree in HELD:
        tree.close()
    HELD.clear()


def problems(path: Path) -> dict[str, str]:
    return {candidate.name: candidate.problem for candidate in gaofen.match(open_tree(path))}


@pytest.mark.parametrize("kind", ["tar.gz", "tar", "zip", "dir"])
def test_new_scene_is_known_from_folder_and_archives(tmp_path: Path, kind: str) -> None:
    product = only(deliveries.gf2_tar_new(tmp_path, kind=kind), scratch=tmp_path)
    taken = product.acquisition
    assert (product.name, product.family, product.sensor.name) == (deliveries.GF2_NEW, "gaofen", "gaofen-2")
    assert (taken.platform, taken.product_id, taken.level) == ("GF2", deliveries.GF2_NEW, "LEVEL1A")
    assert (taken.bits, taken.cloud, taken.sun_azimuth) == (10, 0.01, 128.1)
    assert (taken.sun_elevation, taken.off_nadir) == pytest.approx((64.5, 4.1))
    assert taken.time == product.ms.time == product.pan.time == "2025-04-02T03:30:58Z"
    assert (product.ms.roles, product.ms.nodata, product.pan.nodata) == (FOUR, 0, 0)
    assert product.calibration.radiance_gain == (0.1374, 0.1784, 0.1723, 0.1894)
    assert product.calibration.source == "AbsCeof of the scene"
    assert (product.uncalibrated, product.warnings) == ("", ())
    assert "UTM zone from the centre: EPSG:32649" in product.notes
    assert "preview images are ignored: 4" in product.notes
    (time_note,) = [note for note in product.notes if note.startswith("CenterTime")]
    assert "is Beijing time" in time_note
    assert "25.5" in time_note
    assert "97.5" in time_note
    assert inspect(product.ms.paths[0]).grid.shape == (80, 96)
    assert inspect(product.pan.paths[0]).grid.shape == (320, 384)


def test_members_in_a_folder_of_the_archive_are_found(tmp_path: Path) -> None:
    product = only(deliveries.gf2_tar_new(tmp_path, kind="zip", inside=deliveries.GF2_NEW))
    assert product.acquisition.platform == "GF2"


def test_pan_and_ms_models_agree_four_to_one(tmp_path: Path) -> None:
    product = only(deliveries.gf2_tar_new(tmp_path, kind="dir"))
    lat, lon = 21.7 + np.array([-0.004, 0.0, 0.0031]), 108.3 + np.array([0.002, 0.0, -0.0042])
    ms = np.array(product.ms.rpc.project(lon, lat, 250.0))
    pan = np.array(product.pan.rpc.project(lon, lat, 250.0))
    np.testing.assert_allclose(pan, 4 * ms, atol=1e-9)  # ratio 4, phase 0
    np.testing.assert_allclose(ms[:, 1], (40, 48))  # the scene centre is the middle of the image


@pytest.mark.parametrize(("corners", "source"), [(True, "the corners"), (False, "the file name")])
def test_old_scene_falls_back_step_by_step(tmp_path: Path, corners: bool, source: str) -> None:
    product = only(deliveries.gf2_dir_old(tmp_path, corners=corners))
    assert product.acquisition.time == "2016-05-11T14:40:00Z"
    assert f"UTM zone from {source}: EPSG:32719" in product.notes
    assert product.calibration is None
    assert "GF2 PMS2 of 2016" in product.uncalibrated
    assert "CRESDA" in product.uncalibrated
    assert product.warnings == ()


def test_declared_gb2312_with_chinese_text_is_read(tmp_path: Path) -> None:
    folder = deliveries.gf2_dir_old(tmp_path)
    xml = folder / f"{deliveries.GF2_OLD}-MSS2.xml"
    text = xml.read_text("utf-8").replace("</ProductMetaData>", "<Station>密云</Station></ProductMetaData>")
    xml.write_bytes(text.encode("gb2312"))
    assert only(folder).acquisition.time == "2016-05-11T14:40:00Z"


def test_gf6_is_paired_by_mux_and_offers_undated_gains(tmp_path: Path) -> None:
    product = only(deliveries.gf6_dir(tmp_path))
    assert (product.sensor.name, product.sensor.gsd_pan, product.sensor.gsd_ms) == ("gaofen-6", 2.0, 8.0)
    assert [Path(path).stem[-3:] for path in (*product.ms.paths, *product.pan.paths)] == ["MUX", "PAN"]
    assert product.acquisition.bits is None
    assert product.acquisition.time == "2020-06-10T03:05:00Z"
    assert product.calibration.radiance_gain == (0.082, 0.0645, 0.0489, 0.0286)
    assert any("year unverified" in note for note in product.notes)
    assert "UTM zone from the centre: EPSG:32650" in product.notes


@pytest.mark.parametrize("one_name", [False, True])
def test_two_cameras_are_two_products_never_mixed(tmp_path: Path, one_name: bool) -> None:
    tree = open_tree(deliveries.gf1_cameras(tmp_path, one_name=one_name))
    candidates = gaofen.match(tree)
    assert len({candidate.name for candidate in candidates}) == 2
    for candidate, camera in zip(candidates, "12", strict=True):
        product = gaofen.open(tree, candidate, OpenOptions())
        stems = [Path(path).stem.rsplit("-", 1)[1] for path in (*product.ms.paths, *product.pan.paths)]
        assert stems == [f"MSS{camera}", f"PAN{camera}"]
        gains = {"1": 0.1424, "2": 0.1460}  # PMS1 and PMS2 have tables of their own
        assert product.calibration.radiance_gain[0] == gains[camera]
        assert product.acquisition.bits == 10


@pytest.mark.parametrize("one_name", [False, True])
def test_cameras_are_not_paired_across(tmp_path: Path, one_name: bool) -> None:
    folder = deliveries.gf1_cameras(tmp_path, layers=("MSS1", "PAN2"), one_name=one_name)
    ms, pan = problems(folder).values()
    assert "MSS1.tiff without its partner PAN1" in ms
    assert "-PAN1.tiff, or pass a pair with `ms=` and `pan=`" in ms
    assert "PAN2.tiff without its partner MSS2" in pan
    assert ("beside PAN2, which is not of its camera" in ms) == one_name
    candidate = gaofen.match(open_tree(folder))[0]
    with pytest.raises(ProductError, match="without its partner PAN1"):
        gaofen.open(open_tree(folder), candidate, OpenOptions())


def test_forward_camera_of_gf7_is_left_beside_the_pair(tmp_path: Path) -> None:
    tree = open_tree(deliveries.gf7_dir(tmp_path))
    pair, forward = gaofen.match(tree)
    product = gaofen.open(tree, pair, OpenOptions())
    assert [Path(path).stem[-6:] for path in (*product.ms.paths, *product.pan.paths)] == ["BWDMUX", "BWDPAN"]
    assert "the forward camera records no MS; use the layers BWDMUX and BWDPAN" in forward.problem
    assert not set(pair.members) & set(forward.members)


def test_camera_without_pan_is_refused_with_the_reason(tmp_path: Path) -> None:
    ((name, problem),) = problems(deliveries.wfv(tmp_path)).items()
    assert name == deliveries.WFV
    assert "WFV2 of GF1 records no PAN; pass a scene of a PMS camera" in problem
    assert f"{deliveries.WFV}.tiff" in problem


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("GF4_PMI_E116.5_N39.9_20170610_L1A0001.tiff", "sensor PMI without a layer is not known"),
        ("GF2_PMS1_E116.5_N39.9_20170610_L1A0001-FUS1.tiff", "layer FUS1 is not known"),
        ("GF2_PMS1_E116.5_N39.9_20170610_L1A0001-PAN1.xml", "needs its images"),
        ("GF2_PMS1_E116.5_N39.9_20170610_L1A0001.tar.gz", "inside one; pass it alone"),
    ],
)
def test_what_cannot_be_paired_says_why(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).touch()
    (problem,) = problems(tmp_path).values()
    assert said in problem
    assert name.split("-", maxsplit=1)[0].removesuffix(".tiff") in problem


def test_zy3_without_a_sensor_row_still_opens(tmp_path: Path) -> None:
    base = "ZY302_TMS_W71.6_S33.1_20170505_L1A0000708820"
    deliveries.write_scene(tmp_path, base, ("MUX", "NAD"), deliveries.old_tags, ms_shape=(16, 16), lat=-33.1, lon=-71.6)
    for layer in ("MUX", "NAD"):
        xml = tmp_path / f"{base}-{layer}.xml"
        xml.write_text(xml.read_text().replace("GF2", "ZY3-02").replace("PMS2", "TMS"))
    product = only(tmp_path)
    assert (product.sensor, product.acquisition.bits, product.calibration) == (None, None, None)
    assert product.acquisition.platform == "ZY3-02"
    assert product.warnings == ()


def test_one_product_in_two_folders_is_two_candidates(tmp_path: Path) -> None:
    scene = deliveries.gf6_dir(tmp_path / "a")
    shutil.copytree(scene, tmp_path / "b" / scene.name)
    assert list(problems(tmp_path)) == [deliveries.GF6]
    first, second = gaofen.match(open_tree(tmp_path))
    assert {len(first.members), len(second.members)} == {6}
    assert not set(first.members) & set(second.members)


def test_layers_in_folders_of_their_own_are_one_product(tmp_path: Path) -> None:
    scene = deliveries.gf6_dir(tmp_path)
    for layer in ("MUX", "PAN"):
        (scene / layer).mkdir()
        for file in scene.glob(f"*-{layer}.*"):
            file.rename(scene / layer / file.name)
    assert only(scene).pan.rpc is not None


def test_every_file_of_a_delivery_may_be_passed(tmp_path: Path) -> None:
    tree = open_tree(deliveries.gf2_tar_new(tmp_path, kind="dir"))
    (candidate,) = gaofen.match(tree)
    assert set(candidate.members) == set(tree.names)
    assert {gaofen.root_of(name, ("x", "y")) for name in tree.names} == {1}


@pytest.mark.parametrize(
    "name", ["16JUN23095330-M2AS-056078906010_01_P001.TIF", "a_MSS1.tiff", f"{deliveries.GF2_NEW}.tar.gz", "MSS1.xml"]
)
def test_other_names_are_of_no_gaofen_folder(name: str) -> None:
    assert gaofen.root_of(name, ()) is None


def test_missing_model_warns_and_leaves_none(tmp_path: Path) -> None:
    product = only(deliveries.gf6_dir(tmp_path, without=[f"{deliveries.GF6}-MUX.rpb"]))
    assert product.ms.rpc is None
    assert product.pan.rpc is not None
    assert product.warnings == (f"{deliveries.GF6}-MUX.tiff has no RPB, so its place on the ground is not known",)


@pytest.mark.parametrize(
    "content", ["", "lineOffset = ;", "BEGIN_GROUP = IMAGE\n\tlineOffset = 1;\nEND_GROUP = IMAGE\nEND;\n"]
)
def test_damaged_model_is_refused_by_name(tmp_path: Path, content: str) -> None:
    folder = deliveries.gf6_dir(tmp_path)
    (folder / f"{deliveries.GF6}-PAN.rpb").write_text(content)
    with pytest.raises(ProductError, match=r"-PAN\.rpb.*fetch the delivery again"):
        only(folder)


def test_truncated_image_is_refused_by_name(tmp_path: Path) -> None:
    folder = deliveries.gf6_dir(tmp_path)
    image = folder / f"{deliveries.GF6}-PAN.tiff"
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    with pytest.raises(ProductError, match=r"-PAN\.tiff"):
        only(folder)


def test_projected_product_needs_no_model(tmp_path: Path) -> None:
    georeference = {"size": 8.0, "corner": (440000.0, 4420000.0), "crs": "EPSG:32650"}
    rpb = [f"{deliveries.GF6}-{layer}.rpb" for layer in ("MUX", "PAN")]
    product = only(deliveries.gf6_dir(tmp_path, georeference=georeference, without=rpb))
    assert (product.ms.rpc, product.pan.rpc, product.warnings) == (None, None, ())
    assert not any("UTM" in note for note in product.notes)


def test_model_of_a_projected_image_is_ignored(tmp_path: Path) -> None:
    product = only(deliveries.gf6_dir(tmp_path, georeference={"size": 8.0, "crs": "EPSG:32650"}))
    assert product.ms.rpc is None
    assert f"{deliveries.GF6}-MUX.rpb is ignored: the image is on a map grid" in product.notes


def test_empty_xml_of_ms_is_replaced_by_that_of_pan(tmp_path: Path) -> None:
    folder = deliveries.gf6_dir(tmp_path)
    (folder / f"{deliveries.GF6}-MUX.xml").write_bytes(b"")
    product = only(folder)
    assert product.acquisition.time == "2020-06-10T03:05:00Z"
    assert f"{deliveries.GF6}-MUX.xml is ignored: file is empty" in product.warnings
    assert any("that of PAN is used" in warning for warning in product.warnings)


def test_without_xml_the_name_tells(tmp_path: Path) -> None:
    without = [f"{deliveries.GF2_OLD}-{layer}.xml" for layer in ("MSS2", "PAN2")]
    product = only(deliveries.gf2_dir_old(tmp_path, without=without))
    taken = product.acquisition
    assert (taken.platform, taken.level, taken.time, taken.cloud) == ("GF2", "L1A", "2016-05-11", None)
    assert (product.sensor.name, product.ms.roles) == ("gaofen-2", FOUR)
    assert "UTM zone from the file name: EPSG:32719" in product.notes
    assert product.warnings == (f"{deliveries.GF2_OLD} has no XML; only its name tells of it",)


@pytest.mark.parametrize(
    "tag",
    [
        "SatelliteID", "SensorID", "ProductLevel", "Bands", "ReceiveTime", "CenterTime", "ImageGSD", "WidthInPixels",
        "CloudPercent", "RollViewingAngle", "SolarAzimuth", "SolarZenith", "AbsCeof", "ZoneNo", "CenterLatitude",
    ],
)  # fmt: skip
def test_any_tag_may_be_missing_or_nonsense(tmp_path: Path, tag: str) -> None:
    for number, value in enumerate((None, "n/a")):
        product = only(deliveries.gf6_dir(tmp_path / str(number), tags={tag: value}, ms_shape=(4, 4)))
        assert product.ms.roles == FOUR


def test_tags_are_found_at_any_depth_under_another_root(tmp_path: Path) -> None:
    folder = deliveries.gf6_dir(tmp_path, root="product")
    for xml in folder.glob("*.xml"):
        xml.write_text(
            xml.read_text()
            .replace("<SolarZenith>", "<sun><SolarZenith>")
            .replace("</SolarZenith>", "</SolarZenith></sun>")
        )
    product = only(folder)
    assert product.acquisition.time == "2020-06-10T03:05:00Z"
    assert any("has the root product, not ProductMetaData" in warning for warning in product.warnings)


def test_contradictions_are_told(tmp_path: Path) -> None:
    product = only(deliveries.gf6_dir(tmp_path, tags={"HeightInPixels": 65, "SensorID": "PMS1"}))
    assert f"{deliveries.GF6}-MUX.tiff has 64 x 64 pixels, its XML says 65 x 64" in product.warnings
    assert any("is PMS by its name, but its XML says SensorID PMS1" in warning for warning in product.warnings)


@pytest.mark.parametrize(
    ("n_ms", "n_pan", "said"), [(1, 1, "MS must have several bands"), (4, 3, "PAN must have one band")]
)
def test_wrong_band_counts_are_refused(tmp_path: Path, n_ms: int, n_pan: int, said: str) -> None:
    def pixels(kind: str, _n_band: int, n_row: int, n_col: int) -> np.ndarray:
        return np.ones((n_ms if kind == "ms" else n_pan, n_row, n_col), np.uint16)

    with pytest.raises(ProductError, match=rf"{said}, got \d in GF6.*; fetch"):
        only(deliveries.gf6_dir(tmp_path, pixels=pixels))


def test_other_band_count_leaves_roles_open(tmp_path: Path) -> None:
    def pixels(kind: str, _n_band: int, n_row: int, n_col: int) -> np.ndarray:
        return np.ones((3 if kind == "ms" else 1, n_row, n_col), np.uint16)

    product = only(deliveries.gf6_dir(tmp_path, pixels=pixels))
    assert (product.ms.roles, product.calibration) == (None, None)
    assert "roles of the bands are not known" in product.uncalibrated
    assert any("has 3 bands in place of 4" in warning for warning in product.warnings)


@pytest.mark.parametrize(
    ("text", "gains"),
    [
        ("0.1,0.2,0.3,0.4", (0.1, 0.2, 0.3, 0.4)),
        ("0.1; 0.2;0.3 ;0.4", (0.1, 0.2, 0.3, 0.4)),
        (" 0.1 0.2\t0.3\n0.4 ", (0.1, 0.2, 0.3, 0.4)),
        ("0.1,0.2,", (0.1, 0.2)),
        ("", None),
        ("0.1,none", None),
    ],
)
def test_gains_are_read_with_any_separator(text: str, gains: tuple[float, ...] | None) -> None:
    assert scene_gains({"AbsCeof": text}) == gains
    assert scene_gains({}) is None


@pytest.mark.parametrize(
    ("tags", "named", "expected"),
    [
        ({"ZoneNo": "49"}, GUANGXI, (32649, "ZoneNo")),
        ({"ZoneNo": "19"}, Place(-33.1, -71.6, "the file name"), (32719, "ZoneNo")),
        ({"ZoneNo": "19S"}, None, (32719, "ZoneNo")),
        ({"ZoneNo": "-19"}, None, (32719, "ZoneNo")),
        ({"ZoneNo": "48"}, GUANGXI, (32648, "ZoneNo")),  # a neighbour: products may be cut at the border
        ({"ZoneNo": "19"}, GUANGXI, (32649, "the centre")),  # a Gauss-Krueger number
        ({"ZoneNo": "61"}, None, None),
        ({"ZoneNo": ""}, None, None),
        ({"CenterLatitude": "-1", "CenterLongitude": "-180"}, GUANGXI, (32701, "the centre")),
        ({"CenterLatitude": "0", "CenterLongitude": "180"}, None, (32601, "the centre")),
        ({"CenterLatitude": "85", "CenterLongitude": "10"}, None, None),
        ({"CenterLatitude": "999", "CenterLongitude": "10"}, GUANGXI, (32649, "the centre")),
        ({"CenterLatitude": "30"}, GUANGXI, (32649, "the centre")),
        ({}, GUANGXI, (32649, "the centre")),
        ({}, None, None),
    ],
)
def test_utm_zone_comes_from_the_first_source_that_tells(
    tags: dict[str, str], named: Place | None, expected: tuple[int, str] | None
) -> None:
    assert gaofen.utm_epsg(tags, named) == expected


def test_corners_across_the_date_line_are_averaged_on_their_own_side() -> None:
    corners = [("TopLeft", 10, 179.6), ("TopRight", 10, -179.8), ("BottomRight", 9, -179.8), ("BottomLeft", 9, 179.6)]
    tags = {f"{name}Latitude": str(lat) for name, lat, _ in corners} | {
        f"{name}Longitude": str(lon) for name, _, lon in corners
    }
    assert gaofen.utm_epsg(tags) == (32660, "the corners")
    del tags["BottomLeftLatitude"]
    assert gaofen.utm_epsg(tags) is None  # three corners have no mean


@pytest.mark.parametrize(
    ("moment", "lat", "lon", "zenith"),
    [
        ((2025, 4, 2, 3, 30, 58), 21.7, 108.3, 25.5),
        ((2025, 4, 2, 11, 30, 58), 21.7, 108.3, 97.5),
        ((2016, 5, 11, 14, 40, 0), -33.1, -71.6, 59.0),
        ((2020, 6, 10, 3, 5, 0), 39.9, 116.5, 22.2),
    ],
)
def test_solar_zenith_of_the_reference_scenes(moment: tuple[int, ...], lat: float, lon: float, zenith: float) -> None:
    assert gaofen.solar_zenith(datetime(*moment, tzinfo=UTC), lat, lon) == pytest.approx(zenith, abs=0.06)


@pytest.mark.parametrize(
    ("moment", "declination"),
    [
        ((2020, 3, 20, 3, 50), 0.0),  # equinoxes and solstices by their known minutes, tilt 23.437
        ((2020, 6, 20, 21, 44), 23.437),
        ((2020, 9, 22, 13, 31), 0.0),
        ((2020, 12, 21, 10, 2), -23.437),
    ],
)
def test_sun_stands_at_its_declination(moment: tuple[int, ...], declination: float) -> None:
    at = datetime(*moment, tzinfo=UTC)
    assert gaofen.solar_zenith(at, 90.0, 0.0) == pytest.approx(90 - declination, abs=0.02)
    noon = min(gaofen.solar_zenith(at, 50.0, lon) for lon in np.arange(-180, 180, 0.25))
    assert noon == pytest.approx(50 - declination, abs=0.02)


@pytest.mark.parametrize(("day", "minutes"), [((2021, 11, 3), 16.45), ((2021, 2, 11), -14.2), ((2021, 6, 13), 0.0)])
def test_sun_culminates_by_the_equation_of_time(day: tuple[int, ...], minutes: float) -> None:
    at = datetime(*day, 12, tzinfo=UTC)
    lons = np.arange(-8, 8, 0.01)
    culmination = lons[np.argmin([gaofen.solar_zenith(at, 0.0, lon) for lon in lons])]
    assert culmination == pytest.approx(-minutes / 4, abs=0.1)  # 4 minutes are a degree


def test_utc_reading_is_kept_where_it_fits() -> None:
    tags = {"CenterTime": "2025-04-02 03:30:58", "SolarZenith": "25.5"}
    found = scene_time(tags, [GUANGXI])
    assert (found.text, found.warning) == ("2025-04-02T03:30:58Z", "")
    assert "is UTC" in found.note


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-04-02 11:30:58.25", "2025-04-02T03:30:58.250000Z"),
        ("2025-04-02T11:30:58.1234567", "2025-04-02T03:30:58.123456Z"),
        ("2025/4/2 11:30:58", "2025-04-02T03:30:58Z"),
        ("2025-04-02T03:30:58Z", "2025-04-02T03:30:58Z"),
        ("2025-13-02 11:30:58", None),
        ("yesterday", None),
    ],
)
def test_times_are_read_in_the_forms_that_occur(text: str, expected: str | None) -> None:
    assert scene_time({"CenterTime": text, "SolarZenith": "25.5"}, [GUANGXI]).text == expected


def test_next_time_counts_where_the_centre_is_missing() -> None:
    tags = {"EndTime": "2025-04-02 11:31:01", "ReceiveTime": "2025-04-02 11:40:00", "SolarZenith": "25.5"}
    assert scene_time(tags, [GUANGXI]).text == "2025-04-02T03:31:01Z"


@pytest.mark.parametrize(
    ("tags", "known", "said"),
    [
        ({"SolarZenith": "60"}, [GUANGXI], "60.0 degrees, computed are 97.5 and 25.5"),  # fits neither
        ({}, [GUANGXI], "no SolarZenith"),
        ({"SolarZenith": "25.5"}, [], "no place"),
    ],
)
def test_time_without_a_fitting_sun_has_no_zone(tags: dict[str, str], known: list[Place], said: str) -> None:
    found = scene_time({"CenterTime": "2025-04-02 11:30:58", **tags}, known)
    assert (found.text, found.note) == ("2025-04-02T11:30:58", "")
    assert said in found.warning


def test_time_stays_open_where_both_readings_fit() -> None:
    # Four hours before and after noon the sun is equally high.
    place = Place(0.0, 120.0, "the centre")
    zenith = gaofen.solar_zenith(datetime(2025, 4, 2, 0, 4, tzinfo=UTC), 0.0, 120.0)
    found = scene_time({"CenterTime": "2025-04-02 08:04:00", "SolarZenith": f"{zenith:.2f}"}, [place])
    assert found.text == "2025-04-02T08:04:00"
    assert "left without zone" in found.warning


@pytest.mark.parametrize("kind", ["bomb", "entity"])
def test_entities_are_refused_at_once_and_nothing_outside_is_read(tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "secret.txt"
    outside.write_text("hidden text")
    folder = deliveries.bad_xml_bomb(tmp_path) if kind == "bomb" else deliveries.bad_xml_entity(tmp_path, outside)
    start = time.perf_counter()
    with pytest.raises(ProductError, match=r"DOCTYPE.*-MSS2\.xml.*;") as caught:
        only(folder)
    assert time.perf_counter() - start < 1
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
@pytest.mark.parametrize("hostile", deliveries.HOSTILE)
def test_hostile_member_is_refused_and_nothing_is_left(tmp_path: Path, hostile: str, kind: str) -> None:
    scratch = tmp_path / "deep" / "scratch"
    scratch.mkdir(parents=True)
    path, member = deliveries.bad_tar(tmp_path, hostile, kind=kind)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ProductError) as caught:
        open_tree(path, scratch=scratch)
    assert member in str(caught.value)
    assert path.name in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", ["tar.gz", "tar", "zip"])
def test_empty_archive_is_named_as_such(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ProductError, match=r"empty"):
        open_tree(deliveries.bad_empty_tar(tmp_path, kind=kind))
