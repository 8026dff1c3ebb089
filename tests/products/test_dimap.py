"""DIMAP deliveries: what each synthetic product must be read as, and what must be refused."""

from __future__ import annotations

import shutil

import pytest
from deliveries import dimap as deliveries
from deliveries.pixels import formula, write_tiff

from ship_geo.errors import ProductError
from ship_geo.products import dimap
from ship_geo.products.product import OpenOptions
from ship_geo.products.tree import open_tree
from ship_geo.raster import inspect, inspect_mosaic


def read(folder, options=None):
    """Open the only product of a folder."""
    tree = open_tree(folder)
    (candidate,) = dimap.match(tree)
    assert candidate.problem == ""
    return dimap.open(tree, candidate, options or OpenOptions())


def problem_of(folder):
    """Return the message of the only candidate of a folder."""
    (candidate,) = dimap.match(open_tree(folder))
    return candidate.problem


def replaced(old, new):
    """Return a change of XML text that must find its place."""

    def change(text):
        assert old in text
        return text.replace(old, new)

    return change


def test_pleiades_bundle(tmp_path):
    product = read(deliveries.phr_dimap(tmp_path))
    assert product.name == "DS_PHR1A_MS"
    assert product.family == "dimap"
    assert product.sensor.name == "pleiades"
    assert product.ms.roles == ("red", "green", "blue", "nir")
    assert product.pan.roles == ("pan",)
    assert [path.rsplit("/", 1)[1] for path in (*product.ms.paths, *product.pan.paths)] == [
        "IMG_PHR1A_MS_R1C1.TIF",
        "IMG_PHR1A_P_R1C1.TIF",
    ]
    assert (product.ms.nodata, product.pan.nodata) == (0.0, 0.0)
    assert (product.ms.tiles, product.ms.rpc, product.pan.rpc) == ((), None, None)
    assert product.ms.time == product.pan.time == "2019-05-01T10:30:15.2Z"
    assert any("nodata is 0 by its metadata" in note for note in product.notes)


def test_acquisition_comes_from_the_centre_of_the_scene(tmp_path):
    found = read(deliveries.phr_dimap(tmp_path)).acquisition
    assert (found.platform, found.product_id, found.level) == ("PHR 1A", "DS_PHR1A_MS", "ORTHO")
    assert found.time == "2019-05-01T10:30:15.2Z"
    assert (found.sun_azimuth, found.sun_elevation, found.view_azimuth, found.off_nadir) == (151.0, 60.0, 180.5, 12.5)
    assert (found.bits, found.cloud) == (12, 0.025)


def test_half_pixel_between_image_and_metadata_is_told_and_the_image_kept(tmp_path):
    product = read(deliveries.phr_dimap(tmp_path))
    assert len(product.warnings) == 2
    assert "PAN begins at (500000, 4640000) by its image, and at (500000.25, 4639999.75)" in product.warnings[0]
    assert "MS begins at (500000, 4640000) by its image, and at (500001, 4639999)" in product.warnings[1]
    assert all("half a pixel apart" in warning for warning in product.warnings)
    assert inspect(product.ms.paths[0]).grid.transform[2:6:3] == (500000.0, 4640000.0)


def test_same_corner_in_image_and_metadata_is_not_odd(tmp_path):
    corner = replaced(">500001.0<", ">500000.0<"), replaced(">4639999.0<", ">4640000.0<")
    product = read(deliveries.phr_dimap(tmp_path, changes={"ms": lambda text: corner[1](corner[0](text))}))
    assert len(product.warnings) == 1


def test_other_distance_between_image_and_metadata_is_told_in_pixels(tmp_path):
    product = read(deliveries.phr_dimap(tmp_path, changes={"ms": replaced(">500001.0<", ">500006.0<")}))
    assert "0.5 rows and 3 columns apart" in product.warnings[1]


def test_gains_follow_the_order_of_the_raster(tmp_path):
    found = read(deliveries.phr_dimap(tmp_path)).calibration
    assert found.radiance_gain == pytest.approx((1 / 10.0, 1 / 9.25, 1 / 9.5, 1 / 16.0))
    assert found.toa_gain is not None
    ratio = found.toa_gain[0] / found.toa_gain[1]
    assert ratio == pytest.approx((9.25 * 1830) / (10.0 * 1594))
    assert "unverified" in found.source


def test_band_index_goes_before_the_radiometric_list(tmp_path):
    index = deliveries.raster_index(("B2", "B1", "B0", "B3"))
    change = {"ms": replaced("<Raster_Display>", f"<Raster_Display>{index}")}
    product = read(deliveries.phr_dimap(tmp_path, order=("B0", "B1", "B2", "B3"), changes=change))
    assert product.ms.roles == ("red", "green", "blue", "nir")
    assert product.calibration.radiance_gain[0] == pytest.approx(1 / 10.0)
    assert not any("order of bands" in warning for warning in product.warnings)


def test_order_of_the_list_that_is_not_the_order_of_display_is_told(tmp_path):
    product = read(deliveries.phr_dimap(tmp_path, order=("B0", "B1", "B2", "B3")))
    assert product.ms.roles == ("blue", "green", "red", "nir")
    assert any("the order of bands is not sure" in warning for warning in product.warnings)


def test_unknown_bands_have_no_roles(tmp_path):
    product = read(deliveries.phr_dimap(tmp_path, order=("B2", "B1", "B0", "B9")))
    assert product.ms.roles is None
    assert any("B9" in warning for warning in product.warnings)


@pytest.mark.parametrize(("clock", "time"), [("10:30:99Z", "2019-05-01"), ("10:30:15", "2019-05-01T10:30:15Z")])
def test_clock_that_makes_no_sense_leaves_the_date(tmp_path, clock, time):
    product = read(deliveries.phr_dimap(tmp_path, changes={"ms": replaced("10:30:15.2Z", clock)}))
    assert product.acquisition.time == time
    assert product.calibration.toa_gain is not None


def test_namespaces_are_ignored(tmp_path):
    change = replaced("<Dimap_Document xmlns:xsi", '<Dimap_Document xmlns="urn:x" xmlns:xsi')
    product = read(deliveries.phr_dimap(tmp_path, changes={"pan": change, "ms": change}))
    assert product.ms.roles == ("red", "green", "blue", "nir")


@pytest.mark.parametrize(
    ("mission", "index", "sensor"), [("SPOT", "6", "spot-6"), ("SPOT", "7", "spot-7"), ("PHR", "1B", "pleiades")]
)
def test_satellites_are_known_by_mission_and_index(tmp_path, mission, index, sensor):
    old = "<MISSION>PHR</MISSION><MISSION_INDEX>1A</MISSION_INDEX>"
    change = replaced(old, f"<MISSION>{mission}</MISSION><MISSION_INDEX>{index}</MISSION_INDEX>")
    product = read(deliveries.phr_dimap(tmp_path, changes={"pan": change, "ms": change}))
    assert product.sensor.name == sensor


def test_stretched_values_have_no_calibration(tmp_path):
    change = {"ms": replaced(">BASIC<", ">LINEAR_STRETCH<")}
    product = read(deliveries.phr_dimap(tmp_path, changes=change))
    assert product.calibration is None
    assert "LINEAR_STRETCH" in product.uncalibrated


def test_missing_gain_gives_a_reason(tmp_path):
    change = {"ms": replaced("<GAIN>16.0</GAIN>", "<GAIN></GAIN>")}
    product = read(deliveries.phr_dimap(tmp_path, changes=change))
    assert product.calibration is None
    assert "GAIN and BIAS of every band" in product.uncalibrated


def test_sensor_level_has_models_that_count_from_zero(tmp_path):
    product = read(deliveries.phr_dimap(tmp_path, level="SENSOR"))
    assert product.acquisition.level == "SENSOR"
    assert (product.pan.rpc.line_offset, product.pan.rpc.sample_offset) == (128.0, 128.0)
    assert (product.ms.rpc.line_offset, product.ms.rpc.sample_offset) == (31.625, 31.625)
    assert product.pan.rpc.sample_num[:2] == (0.0, 1.0)  # of the model from ground to image
    assert product.warnings == ()


def test_models_lay_ms_on_pan_four_to_one(tmp_path):
    product = read(deliveries.phr_dimap(tmp_path, level="SENSOR"))
    row, col = product.pan.rpc.project(15.001, 41.902, 150.0)
    ms_row, ms_col = product.ms.rpc.project(15.001, 41.902, 150.0)
    assert (ms_row, ms_col) == pytest.approx((row / 4, col / 4))


def test_damaged_model_is_refused(tmp_path):
    deliveries.phr_dimap(tmp_path, level="SENSOR")
    path = tmp_path / "IMG_PHR1A_MS_002" / "RPC_PHR1A_MS.XML"
    path.write_text(path.read_text().replace("<LINE_NUM_COEFF_3>", "<X>").replace("</LINE_NUM_COEFF_3>", "</X>"))
    with pytest.raises(ProductError, match="RPC_PHR1A_MS"):
        read(tmp_path)


def test_two_tiles_make_one_image(tmp_path):
    product = read(deliveries.phr_dimap(tmp_path, tiles=2))
    assert product.ms.shape == (64, 64)
    assert [(tile.row, tile.col, tile.shape) for tile in product.ms.tiles] == [(0, 0, (40, 64)), (40, 0, (24, 64))]
    assert product.ms.paths[0].endswith("DIM_PHR1A_MS.XML")
    assert "half a pixel apart" in product.warnings[1]
    info = inspect_mosaic(product.ms.paths[0], product.ms.tiles, product.ms.shape)
    assert info.grid.transform[2:6:3] == (500000.0, 4640000.0)


def test_tiles_without_a_stated_size_are_measured(tmp_path):
    change = {"ms": replaced('nrows="40" ncols="64"', "")}
    product = read(deliveries.phr_dimap(tmp_path, tiles=2, changes=change))
    assert [(tile.row, tile.shape) for tile in product.ms.tiles] == [(0, (40, 64)), (40, (24, 64))]


def test_missing_tile_is_refused_or_masked(tmp_path):
    deliveries.phr_dimap(tmp_path, tiles=2)
    (tmp_path / "IMG_PHR1A_MS_002" / "IMG_PHR1A_MS_R1C1.TIF").unlink()
    with pytest.raises(ProductError, match=r"IMG_PHR1A_MS_R1C1\.TIF"):
        read(tmp_path)
    product = read(tmp_path, OpenOptions(missing="mask"))
    assert [(tile.row, tile.shape) for tile in product.ms.tiles] == [(40, (24, 64))]
    assert "half a pixel apart" in product.warnings[1]
    assert any("tiles are missing" in note for note in product.notes)


def test_tile_that_is_not_listed_is_missing(tmp_path):
    change = {"ms": replaced('tile_R="2"', 'tile_R="3"')}
    with pytest.raises(ProductError, match="R2C1"):
        read(deliveries.phr_dimap(tmp_path, tiles=2, changes=change))


def test_overlapping_tiles_are_refused(tmp_path):
    change = {"ms": replaced("<OVERLAP_ROW>0<", "<OVERLAP_ROW>8<")}
    with pytest.raises(ProductError, match="must not overlap"):
        read(deliveries.phr_dimap(tmp_path, tiles=2, changes=change))


def test_missing_image_is_refused(tmp_path):
    deliveries.phr_dimap(tmp_path)
    (tmp_path / "IMG_PHR1A_P_001" / "IMG_PHR1A_P_R1C1.TIF").unlink()
    with pytest.raises(ProductError, match=r"IMG_PHR1A_P_R1C1\.TIF"):
        read(tmp_path)


def test_image_with_other_bands_than_stated_is_refused(tmp_path):
    with pytest.raises(ProductError, match="list each band"):
        read(deliveries.phr_dimap(tmp_path, order=("B2", "B1", "B0")))


def test_size_of_the_image_goes_before_that_of_the_metadata(tmp_path):
    product = read(deliveries.phr_dimap(tmp_path, changes={"ms": replaced("<NROWS>64<", "<NROWS>80<")}))
    assert any("(80, 64)" in warning and "(64, 64)" in warning for warning in product.warnings)


def test_image_without_georeference_is_told(tmp_path):
    deliveries.phr_dimap(tmp_path)
    path = tmp_path / "IMG_PHR1A_MS_002" / "IMG_PHR1A_MS_R1C1.TIF"
    path.unlink()  # written over, GDAL would take the metadata beside it away, too
    write_tiff(path, formula(4, 64, 64))
    assert any("no georeference in its image" in warning for warning in read(tmp_path).warnings)


def test_neo_bands_lie_in_two_files(tmp_path):
    product = read(deliveries.pneo_dimap(tmp_path))
    assert product.sensor.name == "pleiades-neo"
    assert product.ms.roles == ("red", "green", "blue", "nir", "rededge", "coastal")
    assert [path.rsplit("_", 2)[1] for path in product.ms.paths] == ["RGB", "NED"]
    assert product.acquisition.platform == "PNEO 4"
    assert (product.pan.rpc.line_offset, product.ms.rpc.line_offset) == (32.0, 7.625)
    assert len(product.calibration.radiance_gain) == 6


def test_neo_bands_are_known_by_the_names_of_their_files(tmp_path):
    product = read(deliveries.pneo_dimap(tmp_path, parts=("NED", "RGB"), index_list=False))
    assert product.ms.roles == ("nir", "rededge", "coastal", "red", "green", "blue")


def test_neo_tiles_in_two_sets_are_refused_with_a_way_out(tmp_path):
    with pytest.raises(ProductError, match="gdal_translate"):
        read(deliveries.pneo_dimap(tmp_path, tiles=2))


def test_sharpened_product_is_refused(tmp_path):
    assert "got the pan-sharpened product DIM_PHR1A_PMS.XML" in problem_of(deliveries.phr_pms(tmp_path))


def test_sharpened_product_beside_its_bundle_does_not_hide_it(tmp_path):
    bundle, sharpened = dimap.match(open_tree(deliveries.phr_pms(tmp_path, beside=True)))
    assert bundle.problem == ""
    assert "pan-sharpened" in sharpened.problem
    assert "IMG_PHR1A_PMS_003/DIM_PHR1A_PMS.XML" not in bundle.members


def test_components_without_a_volume_pair_by_name(tmp_path):
    deliveries.phr_dimap(tmp_path)
    (tmp_path / "VOL_PHR.XML").unlink()
    assert read(tmp_path).ms.roles == ("red", "green", "blue", "nir")


def test_two_bundles_make_two_candidates(tmp_path):
    deliveries.phr_dimap(tmp_path / "one")
    deliveries.phr_dimap(tmp_path / "two")
    candidates = dimap.match(open_tree(tmp_path))
    assert [candidate.problem for candidate in candidates] == ["", ""]
    assert all(name.startswith("one/") for name in candidates[0].members)


def test_two_bundles_in_one_volume_pair_by_name(tmp_path):
    def renamed(text, stamp):
        return text.replace("DIM_PHR1A_P", f"DIM_PHR1A_P_{stamp}").replace("DIM_PHR1A_MS", f"DIM_PHR1A_MS_{stamp}")

    hrefs = []
    for stamp in ("201905011030152", "201905011030452"):
        folder = deliveries.phr_dimap(tmp_path / stamp)
        (folder / "VOL_PHR.XML").unlink()
        moved = [path.rename(path.with_name(renamed(path.name, stamp))) for path in sorted(folder.glob("*/DIM*.XML"))]
        hrefs += [str(path.relative_to(tmp_path)) for path in moved]
    (tmp_path / "VOL_PHR.XML").write_text(deliveries.volume_xml(hrefs))
    candidates = dimap.match(open_tree(tmp_path))
    assert [candidate.problem for candidate in candidates] == ["", ""]


@pytest.mark.parametrize(("gone", "word"), [("IMG_PHR1A_P_001", "panchromatic"), ("IMG_PHR1A_MS_002", "multispectral")])
def test_product_without_its_partner_is_a_problem(tmp_path, gone, word):
    deliveries.phr_dimap(tmp_path)
    shutil.rmtree(tmp_path / gone)
    assert f"no {word} product found, got DIM_PHR1A" in problem_of(tmp_path)


def test_any_file_of_a_product_is_a_member(tmp_path):
    tree = open_tree(deliveries.phr_dimap(tmp_path, level="SENSOR", tiles=2))
    (candidate,) = dimap.match(tree)
    assert candidate.members == tree.names


def test_partners_of_two_satellites_are_refused(tmp_path):
    change = {"pan": replaced("<MISSION_INDEX>1A<", "<MISSION_INDEX>1B<")}
    with pytest.raises(ProductError, match="one satellite, got PHR 1B"):
        read(deliveries.phr_dimap(tmp_path, changes=change))


def test_partners_of_two_days_are_odd(tmp_path):
    change = {"pan": replaced("<IMAGING_DATE>2019-05-01<", "<IMAGING_DATE>2019-05-02<")}
    product = read(deliveries.phr_dimap(tmp_path, changes=change))
    assert "another day" in product.warnings[0]


def test_image_outside_the_delivery_is_refused(tmp_path):
    with pytest.raises(ProductError, match=r"must stay inside the delivery, got \.\./\.\./outside"):
        read(deliveries.bad_href(tmp_path))


def test_component_outside_the_delivery_is_refused(tmp_path):
    assert "must stay inside the delivery" in problem_of(deliveries.bad_href(tmp_path, volume=True))


@pytest.mark.parametrize("which", ["pan", "ms", "volume"])
def test_document_type_is_refused(tmp_path, which):
    assert "DOCTYPE" in problem_of(deliveries.bad_doctype(tmp_path, which=which))


def test_xml_of_another_kind_is_no_product(tmp_path):
    (tmp_path / "DIM_OTHER.XML").write_text("<Catalogue/>")
    assert dimap.match(open_tree(tmp_path)) == ()


@pytest.mark.parametrize(
    ("name", "parent", "levels"),
    [
        ("VOL_PHR.XML", "order", 1),
        ("DIM_PHR1A_P.XML", "IMG_PHR1A_P_001", 2),
        ("DIM_PHR1A_P.XML", "order", 1),
        ("rpc_phr1a_p.xml", "IMG_PHR1A_P_001", 2),
        ("IMG_PHR1A_P_R1C1.JP2", "IMG_PHR1A_P_001", 2),
        ("IMG_0001.TIF", "photos", None),
        ("16JUN23095330-M2AS_R1C1-056078906010_01_P001.TIF", "order", None),
    ],
)
def test_root_of_a_delivery(name, parent, levels):
    assert dimap.root_of(name, (parent, "home")) == levels
