from __future__ import annotations

import pytest
from deliveries import geoeye as deliveries
from deliveries.pixels import linear_rpc

from ship_geo.errors import ProductError
from ship_geo.products import geoeye
from ship_geo.products.geoeye_texts import number_of, parse_lines, read_rpc_text, time_of
from ship_geo.products.product import OpenOptions
from ship_geo.products.tree import open_tree

FOUR = ("blue", "green", "red", "nir")


def opened(root):
    tree = open_tree(root)
    (candidate,) = geoeye.match(tree)
    return geoeye.open(tree, candidate, OpenOptions())


def refusal(root):
    with pytest.raises(ProductError) as caught:
        opened(root)
    return str(caught.value)


def files(layer):
    return [path.rsplit("/", 1)[1] for path in layer.paths]


def test_four_files_are_stacked_by_their_names(tmp_path):
    product = opened(deliveries.ge1_old(tmp_path))
    assert (product.name, product.family) == ("po_2620001_0000000", "geoeye")
    assert (product.sensor.name, product.warnings) == ("geoeye-1", ())
    assert product.ms.roles == product.sensor.roles == FOUR
    assert files(product.ms) == [f"po_2620001_{code}_0000000.tif" for code in ("blu", "grn", "red", "nir")]
    assert files(product.pan) == ["po_2620001_pan_0000000.tif"]
    assert (product.ms.nodata, product.pan.nodata) == (0, 0)
    seen = product.acquisition
    assert (seen.platform, seen.level, seen.bits) == ("GE01", "Standard Geometrically Corrected", 11)
    assert (seen.time, seen.cloud) == ("2011-07-04T10:22:00Z", 0.02)
    assert (seen.sun_azimuth, seen.sun_elevation, seen.view_azimuth) == (136.1, 62.6, 158.4)
    assert product.calibration is None
    assert "calibration factors" in product.uncalibrated


def test_models_are_read_whatever_their_units(tmp_path):
    product = opened(deliveries.ge1_old(tmp_path))
    assert (product.ms.rpc.line_offset, product.ms.rpc.line_scale) == (31.625, 32)
    assert (product.pan.rpc.sample_offset, product.pan.rpc.err_rand) == (128, 0.1)
    assert product.pan.rpc.line_num[:4] == (0, 0, -1, 0)
    # PAN edge 4 r is MS edge r: the models are an exact 4 : 1.
    lon, lat = product.pan.rpc.locate(100.0, 40.0, 100.0)
    row, col = product.ms.rpc.project(lon, lat, 100.0)
    assert (float(row), float(col)) == pytest.approx((25, 10), abs=1e-6)


@pytest.mark.parametrize(("code", "roles"), [("bgrn", FOUR), ("msi", FOUR), ("rgb", ("red", "green", "blue"))])
def test_stacked_files_have_the_bands_of_their_name(tmp_path, code, roles):
    product = opened(deliveries.ge1_old(tmp_path, files=("pan", code)))
    assert product.ms.roles == roles
    assert files(product.ms) == [f"po_2620001_{code}_0000000.tif"]


def test_single_bands_go_before_a_picture_of_three(tmp_path):
    product = opened(deliveries.ge1_old(tmp_path, files=("pan", "blu", "grn", "red", "nir", "rgb")))
    assert product.ms.roles == FOUR


def test_ikonos_is_known_by_its_name(tmp_path):
    product = opened(deliveries.ge1_old(tmp_path, sensor="IKONOS-2"))
    assert (product.sensor.name, product.acquisition.platform) == ("ikonos", "IK01")


def test_unknown_sensor_opens_with_a_warning(tmp_path):
    product = opened(deliveries.ge1_old(tmp_path, sensor="OrbView-3"))
    assert product.sensor is None
    assert "OrbView-3" in product.warnings[0]


def test_products_without_models_open_without(tmp_path):
    product = opened(deliveries.ge1_old(tmp_path, rpc=False))
    assert (product.ms.rpc, product.pan.rpc, product.warnings) == (None, None, ())


@pytest.mark.parametrize("is_empty", [True, False])
def test_missing_text_costs_the_facts_and_not_the_pixels(tmp_path, is_empty):
    root = deliveries.ge1_old(tmp_path)
    text = root / "po_2620001_metadata.txt"
    text.write_text("") if is_empty else text.unlink()
    product = opened(root)
    assert (product.sensor, product.acquisition.time, product.ms.roles) == (None, None, FOUR)
    assert "metadata.txt" in product.warnings[0]


@pytest.mark.parametrize(
    ("files", "lacking"), [(("pan",), "no multispectral product"), (("blu", "grn", "red", "nir"), "no PAN product")]
)
def test_missing_partner_is_refused(tmp_path, files, lacking):
    message = refusal(deliveries.ge1_old(tmp_path, files=files))
    assert lacking in message
    assert f"po_2620001_{files[0]}_0000000.tif" in message


def test_sharpened_orders_are_refused(tmp_path):
    message = refusal(deliveries.ge1_old(tmp_path, image_type="Pan-sharpened"))
    assert "po_2620001_metadata.txt" in message
    assert "bundle it was made from" in message


def test_an_image_with_other_bands_than_its_name_is_refused(tmp_path):
    root = deliveries.ge1_old(tmp_path, files=("pan", "rgb"))
    (root / "po_2620001_rgb_0000000.tif").rename(root / "po_2620001_bgrn_0000000.tif")
    message = refusal(root)
    assert "po_2620001_bgrn_0000000.tif" in message
    assert "(4), got 3" in message


def test_every_component_is_a_candidate_and_every_file_a_member(tmp_path):
    deliveries.ge1_old(tmp_path)
    root = deliveries.ge1_old(tmp_path, component="0010000")
    (root / "readme.pdf").write_text("words")
    first, second = geoeye.match(open_tree(root))
    assert (first.name, second.name) == ("po_2620001_0000000", "po_2620001_0010000")
    names = {path.name for path in root.iterdir()} - {"readme.pdf"}
    assert set(first.members) | set(second.members) == names
    assert set(first.members) & set(second.members) == {"po_2620001_metadata.txt"}
    assert all(geoeye.root_of(name, (root.name,)) == 1 for name in names)
    assert geoeye.root_of("readme.pdf", (root.name,)) is None
    assert any("readme.pdf" in note for note in first.plan.notes)


def test_case_of_names_does_not_matter(tmp_path):
    root = deliveries.ge1_old(tmp_path)
    for path in list(root.iterdir()):
        path.rename(path.with_name(path.name.upper()))
    assert opened(root).ms.roles == FOUR


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("LINE_DEN_COEFF_7: ", "LINE_DEN_COEFF_X: ", "LINE_DEN_COEFF_7"),
        ("LAT_OFF: ", "LAT: ", "LAT_OFF"),
        ("SAMP_NUM_COEFF_2: +1", "SAMP_NUM_COEFF_2: one", "SAMP_NUM_COEFF"),
    ],
)
def test_damaged_models_are_refused_by_name(tmp_path, old, new, said):
    root = deliveries.ge1_old(tmp_path)
    path = root / "po_2620001_blu_0000000_rpc.txt"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    message = refusal(root)
    assert said in message
    assert path.name in message


def test_texts_keep_the_first_value_of_a_key():
    values = parse_lines("Title\n  Sun Angle Elevation: 62.6 degrees\r\nEmpty:\nSun Angle Elevation: 1\nA: b: c\n")
    assert values == {"Sun Angle Elevation": "62.6 degrees", "A": "b: c"}
    assert number_of(values, "Sun Angle Elevation") == 62.6
    assert number_of(values, "A") is None
    assert number_of(values, "B") is None


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2011-07-04 10:22 GMT", "2011-07-04T10:22:00Z"),
        ("2011-07-04 10:22:33 GMT", "2011-07-04T10:22:33Z"),
        ("2011-17-04 10:22 GMT", None),
        ("unknown", None),
    ],
)
def test_times_are_utc_or_none(text, time):
    assert time_of(text) == time


def test_offsets_stay_those_of_pixel_centres():
    rpc = read_rpc_text(deliveries.rpc_text(linear_rpc(16, 20, 16, 20)), source="a")
    row, _ = rpc.project(15.0, 41.9, 100.0)
    assert (rpc.line_offset, float(row)) == (16, 16.5)
