from __future__ import annotations

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from deliveries import digitalglobe as deliveries
from deliveries.pixels import write_tiff

from ship_geo.errors import ProductError
from ship_geo.products import digitalglobe
from ship_geo.products.product import OpenOptions
from ship_geo.products.tree import open_tree
from ship_geo.raster import inspect_mosaic

EIGHT = ("coastal", "blue", "green", "yellow", "red", "rededge", "nir", "nir2")
FOUR = ("blue", "green", "red", "nir")
MS_STEM = "16JUN23095330-M2AS-056078906010_01_P001"
TILES = {"R1C1": (0, 0, (48, 64)), "R1C2": (0, 64, (48, 32)), "R2C1": (48, 0, (16, 64)), "R2C2": (48, 64, (16, 32))}


def candidates(root, **options):
    return digitalglobe.match(open_tree(root, **options))


def opened(root, missing="raise", **options):
    tree = open_tree(root, **options)
    (candidate,) = digitalglobe.match(tree)
    return digitalglobe.open(tree, candidate, OpenOptions(missing))


def refusal(root, **options):
    with pytest.raises(ProductError) as caught:
        opened(root, **options)
    return str(caught.value)


def edit(root, pattern, *changes):
    path = next(root.rglob(pattern))
    text = path.read_bytes().decode()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_bytes(text.encode())


def places(layer):
    return {re.search(r"R\dC\d", tile.path).group(): (tile.row, tile.col, tile.shape) for tile in layer.tiles}


def facts(product):
    """All but paths and notes, which name the sidecars that were read."""
    layers = [replace(layer, paths=()) for layer in (product.ms, product.pan)]
    return replace(product, ms=layers[0], pan=layers[1], notes=())


def test_worldview_mosaic_is_what_its_metadata_say(tmp_path):
    product = opened(deliveries.wv2_2a_til(tmp_path))
    assert (product.name, product.family, product.warnings) == ("056078906010_01_P001", "digitalglobe", ())
    assert product.ms.roles == product.sensor.roles == EIGHT
    assert product.sensor.name == "worldview-2"
    assert product.ms.shape == (64, 96)
    assert product.pan.shape == (256, 384)
    assert product.pan.roles == ("pan",)
    assert (product.ms.nodata, product.pan.nodata) == (0, 0)
    assert product.ms.time == "2016-06-23T09:53:30.046Z"
    assert product.pan.time == "2016-06-23T09:53:29.046Z"
    seen = product.acquisition
    assert (seen.platform, seen.product_id, seen.level) == ("WV02", "056078906010_01_P001", "2A")
    assert (seen.time, seen.cloud, seen.bits) == ("2016-06-23T09:53:30.046Z", 0.01, 11)
    assert (seen.sun_azimuth, seen.sun_elevation, seen.view_azimuth, seen.off_nadir) == (136.9, 66.6, 211.5, 12.3)
    assert any("README.TXT" in note for note in product.notes)
    assert any("differ by 1 s" in note for note in product.notes)


def test_tiles_lie_where_the_index_says(tmp_path):
    product = opened(deliveries.wv2_2a_til(tmp_path))
    assert places(product.ms) == TILES
    four = {key: (row * 4, col * 4, (n_row * 4, n_col * 4)) for key, (row, col, (n_row, n_col)) in TILES.items()}
    assert places(product.pan) == four
    for layer, size in ((product.ms, 2.0), (product.pan, 0.5)):
        grid = inspect_mosaic(layer.paths[0], layer.tiles, layer.shape).grid
        assert (grid.transform.c, grid.transform.f, grid.transform.a) == (500000, 4640000, size)


def test_ortho_ready_keeps_its_rpc_and_rectified_does_not(tmp_path):
    ready = opened(deliveries.wv2_2a_til(tmp_path / "a"))
    assert (ready.ms.rpc.line_offset, ready.pan.rpc.line_offset) == (31.625, 128)
    for number, variant in enumerate(({"descriptor": "Standard2A"}, {"level": "3D", "product_level": "LV3D"})):
        flat = opened(deliveries.wv2_2a_til(tmp_path / str(number), **variant))
        assert (flat.ms.rpc, flat.pan.rpc, flat.warnings) == (None, None, ())
        assert any("RPC" in note and "ignored" in note for note in flat.notes)
    assert flat.acquisition.level == "3D"


def test_any_file_of_a_product_is_a_member_and_leads_to_its_folder(tmp_path):
    root = deliveries.wv2_2a_til(tmp_path)
    (candidate,) = candidates(root)
    files = {path.relative_to(root).as_posix() for path in root.rglob("*.*") if path.is_file()}
    assert set(candidate.members) == files - {"GIS_FILES/README.TXT"}
    for name in candidate.members:
        folder, file = name.split("/")
        assert digitalglobe.root_of(file, (folder, root.name)) == 2
    assert digitalglobe.root_of(f"{MS_STEM}.TIF", ("flat",)) == 1
    assert digitalglobe.root_of("renamed.imd", ("flat",)) == 1
    assert digitalglobe.root_of("town_PAN.tif", ("town_PAN",)) is None
    assert digitalglobe.root_of(f"{MS_STEM}-BROWSE.JPG", ("flat",)) is None


def test_basic_strips_are_single_rasters_tied_to_the_ground_by_rpc(tmp_path):
    product = opened(deliveries.wv3_1b(tmp_path))
    assert (product.sensor.name, product.acquisition.level, product.warnings) == ("worldview-3", "1B", ())
    assert product.ms.tiles == product.pan.tiles == ()
    assert product.ms.shape is None
    assert product.ms.paths[0].endswith("17AUG05101112-M1BS-058800100010_01_P001.TIF")
    # The models say ms = pan / 4 + (0.25, -0.40) in edge coordinates.
    lon, lat = product.pan.rpc.locate(np.array([0.0, 200.0]), np.array([0.0, 300.0]), 100.0)
    row, col = product.ms.rpc.project(lon, lat, 100.0)
    np.testing.assert_allclose(row, [0.25, 50.25], atol=1e-3)
    np.testing.assert_allclose(col, [-0.40, 74.60], atol=1e-3)


def test_basic_strip_may_be_nitf(tmp_path):
    root = deliveries.wv3_1b(tmp_path)
    for path in list(root.rglob("*.TIF")):
        path.rename(path.with_suffix(".NTF"))
    # TIFF bytes under a NITF name will do: the first bytes decide how GDAL reads.
    assert opened(root).ms.paths[0].endswith("17AUG05101112-M1BS-058800100010_01_P001.NTF")


def test_basic_strip_takes_its_rpc_from_the_xml_or_is_refused(tmp_path):
    assert opened(deliveries.wv3_1b(tmp_path / "a", metadata=("imd", "xml"))).ms.rpc.line_offset == 59.875
    message = refusal(deliveries.wv3_1b(tmp_path / "b", metadata=("imd",)))
    assert "1B must have an RPC" in message
    assert "copy its .RPB or .XML" in message


def test_damaged_rpb_is_named(tmp_path):
    root = deliveries.wv3_1b(tmp_path)
    edit(root, "*-M1BS-*.RPB", ("lineScale = 60.0", "lineScale = 0"))
    message = refusal(root)
    assert "linescale" in message
    assert "M1BS-058800100010_01_P001.RPB" in message


@pytest.mark.parametrize(
    ("write", "sensor", "shape"), [("qb2_2a", "quickbird-2", (60, 80)), ("ge1_2a", "geoeye-1", (64, 64))]
)
def test_four_band_products_of_one_tile(tmp_path, write, sensor, shape):
    product = opened(getattr(deliveries, write)(tmp_path))
    assert (product.sensor.name, product.ms.roles, product.ms.shape) == (sensor, FOUR, shape)
    assert [(tile.row, tile.col, tile.shape) for tile in product.ms.tiles] == [(0, 0, shape)]
    assert (product.acquisition.bits, product.warnings) == (11, ())


def test_geoeye_factors_in_the_other_unit_are_found_out(tmp_path):
    product = opened(deliveries.ge1_2a(tmp_path))
    gain = 10 * 0.0017 / 5.43e-2
    np.testing.assert_allclose(product.calibration.radiance_gain, gain * np.array([1.041, 0.972, 0.979, 0.951]))
    assert any("GE01 unit x10" in note for note in product.notes)


def test_radiance_follows_the_published_formula(tmp_path):
    calibration = opened(deliveries.wv2_2a_til(tmp_path)).calibration
    np.testing.assert_allclose(calibration.radiance_gain[1], 1.002 * 1.23e-2 / 5.43e-2)
    assert calibration.radiance_offset[1] == -9.835


def test_stretched_values_are_not_calibrated_and_keep_their_depth(tmp_path):
    product = opened(deliveries.wv2_2a_til(tmp_path, enhancement="DRA"))
    assert product.calibration is None
    assert "DRA" in product.uncalibrated
    assert product.acquisition.bits == 16


def test_bytes_have_eight_bits(tmp_path):
    assert opened(deliveries.wv2_2a_til(tmp_path, bits_per_pixel=8)).acquisition.bits == 8


@pytest.mark.parametrize("factor", ["0.0", "-999", "none"])
def test_a_factor_that_makes_no_sense_leaves_dn_with_a_reason(tmp_path, factor):
    root = deliveries.wv2_2a_til(tmp_path)
    edit(root, f"{MS_STEM}.IMD", ("absCalFactor = 1.230000e-02", f"absCalFactor = {factor}"))
    product = opened(root)
    assert product.calibration is None
    assert "absCalFactor" in product.uncalibrated


@pytest.mark.parametrize(
    "variant",
    [
        {"metadata": ("xml",)},
        {"metadata": ("imd", "til", "rpb")},
        {"metadata": ("imd", "xml")},
        {"has_ulx": False},
        {"eol": "\r\n"},
        {"is_lower": True},
        {"prefix": "WV02_20160623_1030010000000001_"},
    ],
    ids=["xml", "texts", "imd-xml", "no-ulx", "crlf", "lower", "prefix"],
)
def test_the_same_product_however_it_is_written(tmp_path, variant):
    usual = opened(deliveries.wv2_2a_til(tmp_path / "usual"))
    other = opened(deliveries.wv2_2a_til(tmp_path / "other", **variant))
    assert [len(other.ms.tiles), len(other.pan.tiles)] == [4, 4]

    def stripped(product):
        layers = [
            replace(layer, tiles=tuple(replace(tile, path="") for tile in layer.tiles))
            for layer in (product.ms, product.pan)
        ]
        return facts(replace(product, ms=layers[0], pan=layers[1]))

    assert stripped(other) == stripped(usual)


def test_empty_imd_falls_back_to_its_twin(tmp_path):
    usual = opened(deliveries.wv2_2a_til(tmp_path))
    root = deliveries.bad_empty(tmp_path)
    product = opened(root)
    assert facts(product) == facts(usual)
    assert f"IMD of {MS_STEM} is empty: read from its XML twin" in product.notes


def test_without_imd_and_xml_the_file_is_named(tmp_path):
    root = deliveries.bad_empty(tmp_path, metadata=("imd", "til", "rpb"))
    message = refusal(root)
    assert f"empty file {root}" in message
    assert f"{MS_STEM}.IMD" in message
    next(root.rglob("*-M2AS-*.IMD")).unlink()
    message = refusal(root)
    assert MS_STEM in message
    assert "copy the metadata" in message


def test_a_twin_that_cannot_be_read_matters_only_where_it_is_needed(tmp_path):
    root = deliveries.wv2_2a_til(tmp_path, metadata=("imd", "xml", "til"))
    twin = next(root.rglob("*-M2AS-*.XML"))
    twin.write_text('<!DOCTYPE isd [<!ENTITY a "b">]><isd>&a;</isd>')
    product = opened(root)
    assert product.ms.rpc is None
    assert any(twin.name in note and "DOCTYPE" in note for note in product.notes)
    next(root.rglob("*-M2AS-*.IMD")).unlink()
    assert "DOCTYPE" in refusal(root)


@pytest.mark.parametrize(("write", "size"), [("bad_imd_small", "40 x 80"), ("bad_imd_large", "80 x 120")])
def test_size_comes_from_the_tiles_and_not_from_the_imd(tmp_path, write, size):
    product = opened(getattr(deliveries, write)(tmp_path))
    assert product.ms.shape == (64, 96)
    (warning,) = product.warnings
    assert size in warning
    assert "64 x 96" in warning


@pytest.mark.parametrize(("shift", "count"), [(0.0, 0), (0.009, 0), (0.011, 1), (-0.5, 1)])
def test_origin_comes_from_the_tile_and_the_imd_is_a_check(tmp_path, shift, count):
    product = opened(deliveries.wv2_2a_til(tmp_path, ulx_shift=shift))
    assert len(product.warnings) == count
    assert all(f"{abs(shift):.3g} pixels" in warning for warning in product.warnings)


@pytest.mark.parametrize(
    ("cloud", "expected"), [("0.12", 0.12), ("-999", None), ("-999.000", None), ("1", 1.0), ("0", 0.0)]
)
@pytest.mark.parametrize("sidecar", ["imd", "xml"])
def test_cloud_is_a_fraction_or_not_assessed(tmp_path, cloud, expected, sidecar):
    product = opened(deliveries.wv3_1b(tmp_path, cloud=cloud, metadata=(sidecar, "rpb")))
    assert product.acquisition.cloud == expected
    assert product.warnings == ()


def test_cloud_in_percent_is_ignored_with_a_warning(tmp_path):
    product = opened(deliveries.wv3_1b(tmp_path, cloud="12"))
    assert product.acquisition.cloud is None
    assert "cloudCover is 12" in product.warnings[0]


@pytest.mark.parametrize(("second", "warns"), [("30", False), ("31", False), ("28", True), ("32", True)])
def test_stamps_may_differ_by_a_second(tmp_path, second, warns):
    product = opened(deliveries.wv2_2a_til(tmp_path, stamps=("16JUN23095330", f"16JUN230953{second}")))
    assert bool(product.warnings) == warns
    assert all("differ by 2 s" in warning for warning in product.warnings)


def test_every_product_of_an_order_is_a_candidate(tmp_path):
    root = deliveries.wv2_two_products(tmp_path)
    first, second = candidates(root)
    assert (first.name, second.name) == ("056078906010_01_P001", "056078906010_01_P002")
    assert not first.problem
    assert not second.problem
    assert all("P002" in name for name in second.members)
    tree = open_tree(root)
    assert digitalglobe.open(tree, second, OpenOptions()).acquisition.product_id == second.name


@pytest.mark.parametrize("with_order", [True, False])
def test_renamed_files_are_paired_by_their_metadata(tmp_path, with_order):
    root = deliveries.wv2_renamed(tmp_path, with_order=with_order)
    product = opened(root)
    assert product.ms.paths[0].endswith("colour.TIF")
    assert product.pan.paths[0].endswith("grey.TIF")
    assert (product.ms.roles, product.acquisition.level, product.warnings) == (EIGHT, "2A", ())
    assert product.name == ("056078906010_01_P001" if with_order else "colour")
    assert set(candidates(root)[0].members) == {path.name for path in root.iterdir()}


def test_renamed_files_far_apart_in_time_are_no_pair(tmp_path):
    root = deliveries.wv2_renamed(tmp_path, with_order=False)
    edit(root, "grey.IMD", ("09:53:29.046", "09:53:20.046"))
    assert all("found in" in candidate.problem for candidate in candidates(root))
    assert len(candidates(root)) == 2


def test_a_foreign_xml_beside_an_image_is_no_product(tmp_path):
    write_tiff(tmp_path / "a.tif", np.ones((1, 4, 4), "uint8"))
    (tmp_path / "a.xml").write_text("<ProductMetaData/>")
    (tmp_path / "b.imd").write_text("no metadata")
    assert candidates(tmp_path) == ()


def test_bare_images_are_left_to_the_generic_pairs(tmp_path):
    root = deliveries.wv2_2a_til(tmp_path, rows=(64,), cols=(96,), metadata=(), is_tiled=False)
    assert candidates(root) == ()


def test_missing_partner_names_what_was_found(tmp_path):
    message = refusal(deliveries.bad_no_pan(tmp_path / "a"))
    assert f"MS product {MS_STEM}" in message
    assert "no PAN product found" in message
    assert "_PAN folder" in message
    message = refusal(deliveries.wv2_2a_til(tmp_path / "b", kinds=("P",)))
    assert "no multispectral product found" in message
    assert "_MUL folder" in message


def test_worldview_1_is_refused_politely(tmp_path):
    message = refusal(deliveries.wv1_pan_only(tmp_path))
    assert "no multispectral product found" in message
    assert "WorldView-1 records PAN only" in message
    assert "16JUN23095329-P2AS" in message


def test_missing_tile_is_refused_or_masked(tmp_path):
    root = deliveries.bad_tile(tmp_path)
    tile = "16JUN23095330-M2AS_R2C2-056078906010_01_P001.TIF"
    message = refusal(root)
    assert tile in message
    assert 'missing="mask"' in message
    product = opened(root, missing="mask")
    assert product.ms.shape == (64, 96)
    assert places(product.ms) == {key: place for key, place in TILES.items() if key != "R2C2"}
    (warning,) = product.warnings
    assert tile in warning


def test_without_any_tile_nothing_can_be_masked(tmp_path):
    root = deliveries.wv2_2a_til(tmp_path)
    for path in list(root.rglob("*M2AS_R*.TIF")):
        path.unlink()
    assert "of the 4 tiles" in refusal(root, missing="mask")


def test_link_out_of_the_delivery_is_refused_unless_followed(tmp_path):
    root = deliveries.bad_link(tmp_path)
    message = refusal(root)
    assert "R1C1" in message
    assert "follow_links" in message
    assert len(opened(root, follow_links=True).ms.tiles) == 4


@pytest.mark.parametrize("target", ["../../other.TIF", "/etc/hostname", "..\\\\..\\\\other.TIF"])
def test_tile_outside_the_delivery_is_refused(tmp_path, target):
    message = refusal(deliveries.bad_til_path(tmp_path, target))
    assert "inside the delivery" in message
    assert f"{MS_STEM}.TIL" in message


def test_sharpened_products_are_refused(tmp_path):
    message = refusal(deliveries.bad_sharpened(tmp_path / "a"))
    assert "UNB" in message
    assert f"{MS_STEM}.IMD" in message
    assert "bundle it was made from" in message
    root = deliveries.wv2_2a_til(tmp_path / "b", kinds=("M",))
    for path in list(root.rglob("*M2AS*")):
        path.rename(path.with_name(path.name.replace("M2AS", "S2AS")))
    assert "pan-sharpened already" in refusal(root)


def test_images_of_different_passes_or_satellites_are_refused(tmp_path):
    message = refusal(deliveries.bad_mixed(tmp_path / "a"))
    assert "CatId 1030010000000001" in message
    assert "1030010000000002" in message
    root = deliveries.wv2_2a_til(tmp_path / "b")
    edit(root, "*-P2AS-*.IMD", ("WV02", "WV03"))
    assert "satId WV02" in refusal(root)


def test_swir_beside_a_pair_is_named_and_not_fused(tmp_path):
    root = deliveries.wv2_2a_til(tmp_path)
    folder = root / "056078906010_01_P001_SWR"
    folder.mkdir()
    name = MS_STEM.replace("M2AS", "A2AS")
    shutil.copy(next(root.rglob(f"{MS_STEM}.IMD")), folder / f"{name}.IMD")
    product = opened(root)
    assert f"SWIR product {name} is not fused" in product.notes


def test_two_ms_images_of_one_product_are_refused(tmp_path):
    root = deliveries.wv2_2a_til(tmp_path)
    deliveries.wv2_2a_til(tmp_path, stamps=("16JUN23095331", "16JUN23095329"), kinds=("M",))
    message = refusal(root)
    assert "16JUN23095330-M2AS" in message
    assert "16JUN23095331-M2AS" in message


def test_different_levels_make_no_pair(tmp_path):
    root = deliveries.wv2_2a_til(tmp_path, kinds=("P",))
    deliveries.wv2_2a_til(tmp_path, kinds=("M",), level="3D")
    assert "same processing level" in refusal(root)


def test_two_complete_levels_are_two_candidates(tmp_path):
    root = deliveries.wv2_2a_til(tmp_path)
    deliveries.wv2_2a_til(tmp_path, level="3D", product_level="LV3D")
    assert [one.name for one in candidates(root)] == ["056078906010_01_P001 2A", "056078906010_01_P001 3D"]


@pytest.mark.parametrize(
    ("codes", "roles"),
    [(("R", "G", "B"), ("red", "green", "blue")), (("N", "R", "G", "B"), ("nir", "red", "green", "blue"))],
)
def test_roles_follow_the_order_of_the_file(tmp_path, codes, roles):
    product = opened(deliveries.wv3_1b(tmp_path, codes=codes))
    assert product.ms.roles == product.sensor.roles == roles


def test_legion_has_two_red_edges(tmp_path):
    codes = ("C", "B", "G", "Y", "R", "RE", "RE2", "N")
    product = opened(deliveries.wv2_2a_til(tmp_path, sat="LG01", codes=codes))
    assert product.sensor.name == "legion"
    assert product.ms.roles[5:] == ("rededge", "rededge2", "nir")
    assert any("factory calibration" in note for note in product.notes)


def test_bands_that_do_not_fit_the_image_are_refused(tmp_path):
    root = deliveries.wv2_2a_til(tmp_path)
    edit(root, f"{MS_STEM}.IMD", ("BAND_N2", "BLOCK_N2"))
    message = refusal(root)
    assert "for the 8 bands" in message
    assert f"{MS_STEM}.IMD" in message


def test_unknown_band_codes_are_refused(tmp_path):
    root = deliveries.wv2_2a_til(tmp_path)
    edit(root, f"{MS_STEM}.IMD", ("BAND_N2", "BAND_XY"))
    assert "XY" in refusal(root)


def test_unknown_satellite_opens_with_a_warning(tmp_path):
    product = opened(deliveries.wv2_2a_til(tmp_path, sat="WV09"))
    assert product.sensor is None
    assert product.ms.roles == EIGHT
    assert any("WV09" in warning for warning in product.warnings)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("LRColOffset = 95", "LRColOffset = 2", "whole offsets"),
        ("ULRowOffset = 48", "ULRowOffset = -48", "whole offsets"),
        ("ULRowOffset = 48", "ULRowOffset = 48.5", "whole offsets"),
        ("LRRowOffset = 63", "LRRowOffset = 1e300", "whole offsets"),
        ("numTiles = 4", "numTiles = 5", "as many tiles"),
        ('tileUnits = "Pixels"', 'tileUnits = "Metres"', "in pixels"),
        ("filename", "file", "file name"),
        ("TILE_", "PART_", "describe a tile"),
    ],
)
def test_damaged_index_is_refused_by_name(tmp_path, old, new, said):
    root = deliveries.wv2_2a_til(tmp_path)
    changes = [(old, new)] if old != "TILE_" else [(old, new), ("numTiles = 4;", "")]
    edit(root, f"{MS_STEM}.TIL", *changes)
    message = refusal(root)
    assert said in message
    assert f"{MS_STEM}.TIL" in message


def test_tiles_without_an_index_are_refused(tmp_path):
    root = deliveries.wv2_2a_til(tmp_path, metadata=("imd", "til", "rpb"))
    next(root.rglob("*-M2AS-*.TIL")).unlink()
    message = refusal(root)
    assert "R1C1" in message
    assert "copy the .TIL or .XML" in message


def test_the_only_image_is_taken_although_the_index_names_another(tmp_path):
    root = deliveries.qb2_2a(tmp_path)
    image = next(root.rglob("*-M2AS_R1C1*.TIF"))
    image.rename(image.with_name(image.name.replace("_R1C1", "")))
    product = opened(root)
    assert product.ms.tiles == ()
    assert product.ms.paths[0].endswith("05MAY12103015-M2AS-005511223010_01_P001.TIF")
    assert any("names another file" in note for note in product.notes)


def test_metadata_without_an_image_are_refused(tmp_path):
    root = deliveries.wv3_1b(tmp_path)
    next(root.rglob("*-M1BS-*.TIF")).unlink()
    assert "got none for 17AUG05101112-M1BS" in refusal(root)


def test_old_imd_without_means_and_time(tmp_path):
    root = deliveries.wv3_1b(tmp_path)
    edit(root, "*-M1BS-*.IMD", ("meanSunEl", "sunEl"), ("firstLineTime", "someOtherTime"))
    product = opened(root)
    assert product.acquisition.sun_elevation == 66.6
    assert product.ms.time == "2017-08-05T10:11:12.000Z"


def test_a_product_of_several_strips_says_so(tmp_path):
    root = deliveries.wv2_2a_til(tmp_path)
    edit(
        root,
        f"{MS_STEM}.IMD",
        ("END_GROUP = IMAGE_1", "END_GROUP = IMAGE_1\nBEGIN_GROUP = IMAGE_2\nEND_GROUP = IMAGE_2"),
    )
    assert any("joins 2 strips" in note for note in opened(root).notes)


def test_archive_gives_the_same_product(tmp_path):
    root = deliveries.wv2_2a_til(tmp_path)
    archive = shutil.make_archive(str(tmp_path / "order"), "zip", tmp_path, root.name)
    product = opened(archive)
    assert product.ms.tiles[0].path.startswith("/vsizip/")
    assert (product.ms.shape, product.warnings) == ((64, 96), ())
