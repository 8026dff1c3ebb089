from __future__ import annotations

import math
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from deliveries import landsat as deliveries

from ship_geo.errors import ProductError
from ship_geo.products import landsat
from ship_geo.products.product import OpenOptions, Product
from ship_geo.products.tree import open_tree
from ship_geo.raster import inspect

OLI = ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")
ETM = ("blue", "green", "red", "nir", "swir1", "swir2")


def only(path: Path) -> Product:
    tree = open_tree(path)
    (candidate,) = landsat.match(tree)
    return landsat.open(tree, candidate, OpenOptions())


def problem(path: Path) -> str:
    (candidate,) = landsat.match(open_tree(path))
    return candidate.problem


def in_group(group: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change of an MTL: keys of one group; None takes a key away."""

    def change(groups: dict[str, Any]) -> None:
        (root,) = groups.values()
        for key, value in values.items():
            if value is None:
                del root[group][key]
            else:
                root[group][key] = value

    return change


def phase(ms: Affine, pan: Affine) -> tuple[float, float]:
    """Row and column on the PAN grid of the outer upper-left corner of MS."""
    return (ms.f - pan.f) / pan.e, (ms.c - pan.c) / pan.a


def bands(product: Product) -> list[str]:
    return [Path(path).stem.rsplit("_", 1)[1] for path in (*product.ms.paths, *product.pan.paths)]


def test_collection_2_scene_is_what_its_mtl_says(tmp_path: Path) -> None:
    product = only(deliveries.l8_c2(tmp_path))
    taken = product.acquisition
    assert (product.name, product.family, product.sensor.name) == (deliveries.L8_C2, "landsat", "landsat-8")
    assert (taken.platform, taken.product_id, taken.level) == ("LANDSAT_8", deliveries.L8_C2, "L1TP")
    assert taken.time == product.ms.time == product.pan.time == "2020-07-06T10:17:42.166196Z"
    assert (taken.cloud, taken.sun_azimuth, taken.sun_elevation, taken.bits) == (0.0325, 148.6, 57.9, 16)
    assert (product.ms.roles, product.ms.nodata, product.pan.nodata) == (OLI, 0, 0)
    assert bands(product) == ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8"]
    assert (product.uncalibrated, product.warnings) == ("", ())
    sight = "PAN of Landsat-8 sees green, red; sees in part blue; does not see coastal, nir, swir1, swir2"
    assert sight in product.notes
    (ignored,) = [note for note in product.notes if "ignored" in note]
    assert "_B9.TIF" in ignored
    assert "_QA_PIXEL.TIF" in ignored


def test_layers_share_pixel_centres(tmp_path: Path) -> None:
    product = only(deliveries.l8_c2(tmp_path))
    ms, pan = inspect(product.ms.paths[0]).grid, inspect(product.pan.paths[0]).grid
    assert (ms.shape, pan.shape) == ((51, 61), (101, 121))
    assert phase(ms.transform, pan.transform) == (-0.5, -0.5)
    assert ms.transform.a / pan.transform.a == 2


def test_fill_is_an_untagged_zero(tmp_path: Path) -> None:
    product = only(deliveries.l8_c2(tmp_path))
    with rasterio.open(product.pan.paths[0]) as file:
        values = file.read(1)
        assert file.nodata is None
    np.testing.assert_array_equal(values == product.pan.nodata, deliveries.fill_triangle(101, 121, 24))


def test_factors_of_the_mtl_become_radiance_and_reflectance(tmp_path: Path) -> None:
    calibration = only(deliveries.l8_c2(tmp_path)).calibration
    gain = [deliveries.RADIANCE_MULT[number] for number in range(1, 8)]
    assert calibration.radiance_gain == pytest.approx(gain)
    assert calibration.radiance_offset == pytest.approx([-5 * value for value in gain])
    sine = math.sin(math.radians(57.9))
    assert calibration.toa_gain == pytest.approx([2.0e-05 / sine] * 7)
    assert calibration.toa_offset == pytest.approx([-0.1 / sine] * 7)


def test_collection_1_scene_of_landsat_7(tmp_path: Path) -> None:
    product = only(deliveries.l7_c1(tmp_path))
    taken = product.acquisition
    assert (product.name, product.sensor.name, taken.level) == (deliveries.L7_C1, "landsat-7", "L1TP")
    assert (taken.time, taken.cloud, taken.bits) == ("2001-07-30T10:10:23.945122Z", 0.12, 8)
    assert product.ms.roles == ETM
    assert bands(product) == ["B1", "B2", "B3", "B4", "B5", "B7", "B8"]
    assert "PAN of Landsat-7 sees green, red, nir; does not see blue, swir1, swir2" in product.notes
    (ignored,) = [note for note in product.notes if "ignored" in note]
    assert all(name in ignored for name in ("B6_VCID_1", "B6_VCID_2", "BQA"))
    ms, pan = inspect(product.ms.paths[0]).grid, inspect(product.pan.paths[0]).grid
    assert phase(ms.transform, pan.transform) == (-0.5, -0.5)
    assert inspect(product.pan.paths[0]).dtype == "uint8"
    assert product.calibration.radiance_gain[0] == 0.779


@pytest.mark.parametrize(("date", "gaps"), [("2003-05-30", False), ("2003-06-01", True), ("2019-01-01", True)])
def test_gaps_of_landsat_7_are_told_from_their_first_day(tmp_path: Path, date: str, gaps: bool) -> None:
    change = in_group("PRODUCT_METADATA", DATE_ACQUIRED=deliveries.Bare(date))
    product = only(deliveries.l7_c1(tmp_path, mtl=change))
    assert any("stripes without data" in note for note in product.notes) == gaps


def test_scene_from_before_the_collections(tmp_path: Path) -> None:
    product = only(deliveries.l8_before(tmp_path))
    taken = product.acquisition
    assert (product.name, taken.product_id, taken.level) == (deliveries.L8_BEFORE, deliveries.L8_BEFORE, "L1T")
    assert (taken.time, taken.cloud) == ("2014-07-21T10:16:35.291438Z", None)  # -1: not assessed
    assert product.ms.roles == OLI


def test_xml_serves_alone_and_says_the_same(tmp_path: Path) -> None:
    text, xml = only(deliveries.l8_c2(tmp_path / "a")), only(deliveries.l8_c2(tmp_path / "b", metadata=("xml",)))
    assert (xml.acquisition, xml.calibration, xml.notes) == (text.acquisition, text.calibration, text.notes)
    assert bands(xml) == bands(text)


def test_text_and_xml_are_one_scene(tmp_path: Path) -> None:
    tree = open_tree(deliveries.l8_c2(tmp_path, metadata=("txt", "xml")))
    (candidate,) = landsat.match(tree)
    assert set(candidate.members) == set(tree.names)


def test_empty_text_falls_back_to_xml(tmp_path: Path) -> None:
    folder = deliveries.l8_c2(tmp_path, metadata=("txt", "xml"))
    (folder / f"{deliveries.L8_C2}_MTL.txt").write_bytes(b"")
    product = only(folder)
    assert product.acquisition.sun_elevation == 57.9
    assert product.warnings == (f"{deliveries.L8_C2}_MTL.txt is ignored: file is empty",)


def test_empty_mtl_is_named(tmp_path: Path) -> None:
    folder = deliveries.l8_c2(tmp_path)
    (folder / f"{deliveries.L8_C2}_MTL.txt").write_bytes(b"")
    assert f"{deliveries.L8_C2}_MTL.txt: file is empty; fetch the delivery again" in problem(folder)


def test_truncated_mtl_is_named(tmp_path: Path) -> None:
    folder = deliveries.l8_c2(tmp_path)
    mtl = folder / f"{deliveries.L8_C2}_MTL.txt"
    mtl.write_text(mtl.read_text()[:900])
    assert f"{mtl.name}, line" in problem(folder)


def test_level_2_has_no_pan_whatever_its_processing_record_names(tmp_path: Path) -> None:
    folder = deliveries.l8_c2(tmp_path, level="L2SP")
    said = problem(folder)
    assert "no PAN in level 2; pass the level 1 product" in said
    assert f"{deliveries.L8_C2_LEVEL2}_MTL.txt" in said
    (candidate,) = landsat.match(open_tree(folder))
    with pytest.raises(ProductError, match="no PAN in level 2"):
        landsat.open(open_tree(folder), candidate, OpenOptions())


def test_both_levels_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    for level in ("L1TP", "L2SP"):
        for file in deliveries.l8_c2(tmp_path / "in", level=level).iterdir():
            file.rename(tmp_path / file.name)
    tree = open_tree(tmp_path)
    first, second = landsat.match(tree)
    assert (bool(first.problem), bool(second.problem)) == (False, True)
    assert not set(first.members) & set(second.members)
    assert all("L1TP" in path for path in landsat.open(tree, first, OpenOptions()).ms.paths)


def test_sizes_of_a_cropped_scene_are_those_of_its_files(tmp_path: Path) -> None:
    product = only(deliveries.l8_c2(tmp_path, cropped=True))
    assert inspect(product.ms.paths[0]).grid.shape == (31, 41)
    assert inspect(product.pan.paths[0]).grid.shape == (61, 81)
    assert product.warnings == ()


def test_bands_that_are_not_delivered_are_left_out(tmp_path: Path) -> None:
    product = only(deliveries.l8_c2(tmp_path, without=(1, 5)))
    assert product.ms.roles == ("blue", "green", "red", "swir1", "swir2")
    assert "bands that are not delivered are left out: B1 (coastal), B5 (nir)" in product.notes
    assert len(product.calibration.radiance_gain) == 5


@pytest.mark.parametrize("write", [deliveries.l8_c2, deliveries.l7_c1])
def test_missing_pan_is_named(tmp_path: Path, write: Callable[..., Path]) -> None:
    folder = write(tmp_path, without=(8,))
    assert f"{folder.name}_MTL.txt without its PAN file {folder.name}_B8.TIF; add it" in problem(folder)


def test_scene_without_any_ms_is_refused(tmp_path: Path) -> None:
    said = problem(deliveries.l8_c2(tmp_path, without=range(1, 8)))
    assert "without the file of any MS band; add them" in said


@pytest.mark.parametrize("platform", ["LANDSAT_5", "EO1", ""])
def test_satellites_without_pan_are_refused(tmp_path: Path, platform: str) -> None:
    said = problem(deliveries.l7_c1(tmp_path, mtl=in_group("PRODUCT_METADATA", SPACECRAFT_ID=platform)))
    assert f"LANDSAT_7, LANDSAT_8, LANDSAT_9, got SPACECRAFT_ID {platform}" in said
    assert f"{deliveries.L7_C1}_MTL.txt; pass" in said


def test_mtl_that_names_no_pan_is_refused(tmp_path: Path) -> None:
    said = problem(deliveries.l8_c2(tmp_path, mtl=in_group("PRODUCT_CONTENTS", FILE_NAME_BAND_8=None)))
    assert "which names no PAN (band 8); pass a scene with it" in said


@pytest.mark.parametrize("name", ["../../other.TIF", "/etc/x.TIF"])
def test_names_that_leave_the_delivery_are_refused(tmp_path: Path, name: str) -> None:
    said = problem(deliveries.l8_c2(tmp_path, mtl=in_group("PRODUCT_CONTENTS", FILE_NAME_BAND_3=name)))
    assert name in said
    assert "_MTL.txt" in said


def test_link_out_of_the_delivery_is_refused_at_opening(tmp_path: Path) -> None:
    folder = deliveries.l8_c2(tmp_path)
    band = folder / f"{deliveries.L8_C2}_B4.TIF"
    band.rename(tmp_path / "outside.tif")
    band.symlink_to(tmp_path / "outside.tif")
    with pytest.raises(ProductError, match=r"_B4\.TIF"):
        only(folder)


def test_file_names_are_matched_ignoring_case(tmp_path: Path) -> None:
    folder = deliveries.l8_c2(tmp_path)
    for file in list(folder.iterdir()):
        file.rename(folder / file.name.lower())
    assert [band.upper() for band in bands(only(folder))][-1] == "B8"


def test_folder_without_an_mtl_is_left_to_plain_pairs(tmp_path: Path) -> None:
    assert landsat.match(open_tree(deliveries.no_mtl(tmp_path))) == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [("notes_MTL.txt", "GROUP = X\n A = 1\nEND_GROUP = X\nEND\n"), ("notes_MTL.xml", "<x><y>1</y></x>")],
)
def test_metadata_of_something_else_is_not_landsat(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert landsat.match(open_tree(tmp_path)) == ()


def test_xml_with_a_document_type_is_refused(tmp_path: Path) -> None:
    folder = deliveries.l8_c2(tmp_path, metadata=("xml",))
    xml = folder / f"{deliveries.L8_C2}_MTL.xml"
    xml.write_text(xml.read_text().replace("?>", '?><!DOCTYPE x [<!ENTITY y "z">]>', 1))
    assert "DOCTYPE" in problem(folder)
    assert xml.name in problem(folder)


def test_archive_opens_as_its_folder(tmp_path: Path) -> None:
    folder = deliveries.l8_c2(tmp_path)
    path = tmp_path / f"{deliveries.L8_C2}.tar"
    with tarfile.open(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, file.name)
    packed, plain = only(path), only(folder)
    assert (packed.acquisition, packed.calibration) == (plain.acquisition, plain.calibration)
    assert inspect(packed.pan.paths[0]).grid == inspect(plain.pan.paths[0]).grid


@pytest.mark.parametrize(
    ("group", "values", "field", "expected"),
    [
        ("IMAGE_ATTRIBUTES", {"CLOUD_COVER": -1}, "cloud", None),
        ("IMAGE_ATTRIBUTES", {"CLOUD_COVER": None}, "cloud", None),
        ("IMAGE_ATTRIBUTES", {"CLOUD_COVER": 100}, "cloud", 1.0),
        ("IMAGE_ATTRIBUTES", {"SUN_AZIMUTH": None}, "sun_azimuth", None),
        ("IMAGE_ATTRIBUTES", {"SUN_ELEVATION": "n/a"}, "sun_elevation", None),
        ("IMAGE_ATTRIBUTES", {"SCENE_CENTER_TIME": None}, "time", "2020-07-06"),
        ("IMAGE_ATTRIBUTES", {"SCENE_CENTER_TIME": "noon"}, "time", "2020-07-06"),
        ("IMAGE_ATTRIBUTES", {"SCENE_CENTER_TIME": "10:17:42Z"}, "time", "2020-07-06T10:17:42Z"),
        ("IMAGE_ATTRIBUTES", {"DATE_ACQUIRED": None}, "time", None),
        ("PRODUCT_CONTENTS", {"PROCESSING_LEVEL": None}, "level", None),
        ("LEVEL1_MIN_MAX_PIXEL_VALUE", {f"QUANTIZE_CAL_MAX_BAND_{n}": 4095 for n in range(1, 10)}, "bits", 12),
        ("LEVEL1_MIN_MAX_PIXEL_VALUE", {f"QUANTIZE_CAL_MAX_BAND_{n}": None for n in range(1, 10)}, "bits", None),
    ],
)
def test_missing_or_odd_values_are_none(
    tmp_path: Path, group: str, values: dict[str, Any], field: str, expected: object
) -> None:
    product = only(deliveries.l8_c2(tmp_path, mtl=in_group(group, **values)))
    assert getattr(product.acquisition, field) == expected


def test_missing_factors_are_a_reason_not_an_error(tmp_path: Path) -> None:
    def change(groups: dict[str, Any]) -> None:
        del groups["LANDSAT_METADATA_FILE"]["LEVEL1_RADIOMETRIC_RESCALING"]

    product = only(deliveries.l8_c2(tmp_path, mtl=change))
    assert product.calibration is None
    assert product.uncalibrated == f"{deliveries.L8_C2}_MTL.txt has no rescaling factors of these bands"


def test_impossible_factors_are_a_reason_not_an_error(tmp_path: Path) -> None:
    change = in_group("LEVEL1_RADIOMETRIC_RESCALING", RADIANCE_MULT_BAND_2=0)
    product = only(deliveries.l8_c2(tmp_path, mtl=change))
    assert product.calibration is None
    assert "cannot be used" in product.uncalibrated


def test_night_scene_keeps_radiance_and_says_why_not_reflectance(tmp_path: Path) -> None:
    product = only(deliveries.l8_c2(tmp_path, mtl=in_group("IMAGE_ATTRIBUTES", SUN_ELEVATION=-20.5)))
    assert product.calibration.toa_gain is None
    assert product.calibration.radiance_gain is not None
    assert any("horizon" in note for note in product.notes)


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        (f"{deliveries.L8_C2}_B8.TIF", 1),
        (f"{deliveries.L8_C2}_MTL.txt", 1),
        (f"{deliveries.L7_C1}_B6_VCID_1.TIF", 1),
        (f"{deliveries.L8_BEFORE}_B8.TIF", 1),
        (f"{deliveries.L8_BEFORE}_MTL.txt", 1),
        ("own name_MTL.xml", 1),
        (f"{deliveries.L8_C2}.tar", None),
        ("scene_B8.TIF", None),
        ("16JUN23095330-M2AS-056078906010_01_P001.TIF", None),
    ],
)
def test_folder_of_a_file_is_known_by_its_name(name: str, levels: int | None) -> None:
    assert landsat.root_of(name, ("a", "b")) == levels
