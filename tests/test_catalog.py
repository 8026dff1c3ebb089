"""The index of scenes: what it says of good ones, of broken ones, and how it is written."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from deliveries import digitalglobe, dimap, gaofen, geoeye, landsat
from deliveries.pixels import formula, write_tiff
from rasterio.warp import transform

from ship_geo.catalog import (
    check_catalog,
    entries,
    find_scenes,
    footprint,
    listing,
    on_globe,
    read_catalog,
    table,
    write_catalog,
)
from ship_geo.errors import ArgumentError, OutputError, ProductError
from ship_geo.scene import open_scene

WV2 = "056078906010_01_P001"
COLUMNS = [
    "name", "family", "sensor", "platform", "product_id", "level", "time", "cloud", "sun_elevation", "off_nadir",
    "resolution", "bands", "source", "ms", "pan", "problem", "geometry",
]  # fmt: skip


def write_pair(folder, stem="town", *, ms=None, pan=None, **place):
    """PAN 128 x 128 at 0.5 m, MS 32 x 32 at 2 m."""
    ms, pan = formula(4, 32, 32) if ms is None else ms, formula(1, 128, 128) if pan is None else pan
    write_tiff(folder / f"{stem}_MS.tif", ms, size=128 * 0.5 / ms.shape[1], **place)
    return write_tiff(folder / f"{stem}_PAN.tif", pan, size=0.5, **place)


def replicated(values, step=4):
    return np.kron(values, np.ones((1, step, step), values.dtype))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """One delivery of every kind, each in its own folder."""
    root = tmp_path_factory.mktemp("mixed")
    digitalglobe.wv2_2a_til(root / "wv2")
    digitalglobe.wv3_1b(root / "wv3")
    digitalglobe.wv2_renamed(root / "renamed")
    gaofen.gf2_dir_old(root / "gf2")
    gaofen.gf1_cameras(root / "gf1")
    for kind in ("tar", "tar.gz", "zip"):
        (root / kind).mkdir()
        gaofen.gf2_tar_new(root / kind, kind=kind)
    landsat.l8_c2(root / "l8")
    landsat.no_mtl(root / "bare")
    dimap.phr_dimap(root / "phr", tiles=2)
    dimap.pneo_dimap(root / "pneo")
    geoeye.ge1_old(root / "ge1")
    write_pair(root / "pair")
    write_pair(root / "replicated", ms=replicated(formula(4, 32, 32)))
    alpha = np.concatenate([formula(3, 32, 32), np.full((1, 32, 32), 65535, np.uint16)])
    write_pair(root / "alpha", ms=alpha)
    return root


@pytest.fixture(scope="module")
def scenes(mixed):
    return find_scenes(mixed)


def row_of(scenes, folder):
    (row,) = [row for row in scenes.itertuples() if f"/{folder}/" in f"{row.source}/"]
    return row


# Good scenes --------------------------------------------------------------------------------------------------------


def test_every_kind_of_scene_is_found_once(scenes):
    assert scenes.problem.eq("").all()
    assert scenes.family.value_counts().to_dict() == {
        "gaofen": 6, "digitalglobe": 3, "pair": 4, "dimap": 2, "landsat": 1, "geoeye": 1,
    }  # fmt: skip
    assert list(scenes.columns) == COLUMNS
    assert scenes.crs.to_epsg() == 4326


def test_a_row_says_what_the_opened_scene_says(scenes):
    for row in scenes.itertuples():
        scene = open_scene(row.source, product=row.name)
        known = scene.acquisition
        assert (row.name, row.family, row.sensor) == (scene.name, scene.family, scene.sensor.title)
        assert (row.platform, row.product_id, row.level) == (known.platform, known.product_id, known.level)
        assert row.bands.split(",") == list(scene.ms.roles)
        assert row.resolution == scene.pair.output.resolution[0]
        for have, want in ((row.cloud, known.cloud), (row.off_nadir, known.off_nadir)):
            assert have == want or (pd.isna(have) and want is None)
        if known.time is None:
            assert pd.isna(row.time)
        else:
            wanted = pd.to_datetime(known.time, utc=True)
            assert abs(row.time - wanted) < pd.Timedelta("1ms")
        if scene.scratch is None:
            assert row.ms.split("\n") == list(scene.ms.paths)
            assert row.pan.split("\n") == list(scene.pan.paths)
        ring = footprint(scene)
        assert row.geometry == on_globe(ring)


def test_facts_of_worldview_are_those_of_its_metadata(scenes, mixed):
    row = row_of(scenes, "wv2")
    assert row.source == str(mixed / "wv2" / "056078906010_01")
    assert (row.platform, row.level, row.resolution) == ("WV02", "2A", 0.5)
    assert row.time == pd.Timestamp("2016-06-23T09:53:30.046Z")
    assert (row.cloud, row.sun_elevation, row.off_nadir) == (0.01, 66.6, 12.3)
    assert row.bands == "coastal,blue,green,yellow,red,rededge,nir,nir2"
    assert len(row.ms.split("\n")) == len(row.pan.split("\n")) == 4


def test_paths_in_an_archive_that_was_unpacked_name_the_archive(scenes, mixed):
    row = row_of(scenes, "tar.gz")
    archive = mixed / "tar.gz" / f"{gaofen.GF2_NEW}.tar.gz"
    assert row.source == str(archive)
    assert row.pan == f"/vsitar/{archive}/{gaofen.GF2_NEW}-PAN1.tiff"


def test_rows_are_sorted_by_time(scenes):
    known = scenes.time.dropna()
    assert known.is_monotonic_increasing
    assert scenes.time[: len(known)].notna().all()
    assert str(scenes.time.dtype) == "datetime64[ms, UTC]"


def test_links_and_relative_folders_give_the_same_rows(mixed, tmp_path, monkeypatch):
    expected = find_scenes(mixed / "pair").drop(columns="geometry")
    monkeypatch.chdir(mixed)
    pd.testing.assert_frame_equal(find_scenes("pair").drop(columns="geometry"), expected)
    (tmp_path / "link").symlink_to(mixed / "pair")
    assert find_scenes(tmp_path / "link").source.tolist() == [str(tmp_path / "link" / "town_PAN.tif")]


# Footprints ---------------------------------------------------------------------------------------------------------


def test_footprint_of_a_map_product_has_the_corners_of_its_grid(scenes):
    # MS is 64 x 96 pixels of 2 m from (500000, 4640000)
    xs, ys = (500000, 500192, 500192, 500000), (4640000, 4640000, 4639872, 4639872)
    lon, lat = transform("EPSG:32633", "EPSG:4326", xs, ys)
    ring = np.array(row_of(scenes, "wv2").geometry.exterior.coords)
    for corner in zip(lon, lat, strict=True):
        assert np.abs(ring - corner).max(axis=1).min() < 1e-9
    assert row_of(scenes, "wv2").geometry.area == pytest.approx(shapely.Polygon(zip(lon, lat, strict=True)).area, 1e-4)


def test_footprint_of_a_sensor_product_follows_its_model(scenes):
    # lon = 15 + 0.005 (col - 320.5) / 320 and lat = 41.9 - 0.005 (row - 240.5) / 240 for edges of PAN, 480 x 640.
    # By its own model MS begins at PAN column 1.6 and row -1 and ends at column 641.6 and row 479.
    west, south, east, north = row_of(scenes, "wv3").geometry.bounds
    assert west == pytest.approx(15 + 0.005 * (2 - 320.5) / 320, abs=1e-12)
    assert east == pytest.approx(15 + 0.005 * (640 - 320.5) / 320, abs=1e-12)
    assert north == pytest.approx(41.9 - 0.005 * (0 - 240.5) / 240, abs=1e-12)
    assert south == pytest.approx(41.9 - 0.005 * (479 - 240.5) / 240, abs=1e-12)


def test_footprint_across_the_antimeridian_is_cut_in_two(tmp_path):
    write_pair(tmp_path, corner=(826_000.0 - 64, 200_000.0), crs="EPSG:32660")
    (lon,), _ = transform("EPSG:32660", "EPSG:4326", [826_000.0 - 64], [200_000.0])
    write_pair(tmp_path, "over", corner=(_easting_of_180() - 32, 200_000.0), crs="EPSG:32660")
    scenes = find_scenes(tmp_path).set_index("name")
    assert lon < 180
    outline = scenes.loc["over"].geometry
    assert outline.geom_type == "MultiPolygon"
    east, west = sorted(outline.geoms, key=lambda part: part.bounds[0], reverse=True)
    assert east.bounds[2] == 180
    assert west.bounds[0] == -180
    assert east.bounds[0] > 179.99
    assert west.bounds[2] < -179.99
    assert outline.area == pytest.approx(scenes.loc["town"].geometry.area, rel=1e-3)


def _easting_of_180():
    (x,), _ = transform("EPSG:4326", "EPSG:32660", [180.0], [1.8])
    return x


@pytest.mark.parametrize(
    ("ring", "bounds"),
    [
        (shapely.box(170, 10, 175, 12), (170, 10, 175, 12)),
        (shapely.Polygon([(181, 0), (181, 1), (184, 1), (184, 0)]), (-179, 0, -176, 1)),
        (shapely.Polygon([(0, 80), (90, 81), (180, 80), (-90, 80)]), (-180, 80, 180, 90)),
        (shapely.Polygon([(0, -80), (-90, -80), (180, -80), (90, -79)]), (-180, -90, 180, -79)),
    ],
    ids=["plain", "beyond 180", "north pole", "south pole"],
)
def test_outlines_stay_on_the_globe(ring, bounds):
    outline = on_globe(ring)
    assert outline.geom_type == "Polygon"
    assert outline.bounds == bounds
    assert outline.is_valid
    assert outline.exterior.is_ccw


def test_a_scene_without_a_place_has_no_footprint(tmp_path):
    write_tiff(tmp_path / "x_PAN.tif", formula(1, 64, 64))
    write_tiff(tmp_path / "x_MS.tif", formula(4, 16, 16))
    scenes = find_scenes(tmp_path)
    assert scenes.problem.tolist() == [""]
    assert scenes.geometry[0] is None


# Broken scenes ------------------------------------------------------------------------------------------------------


def level_2(folder):
    landsat.l8_c2(folder, level="L2SP")


def truncated(folder):
    path = write_pair(folder, "cut")
    path.write_bytes(path.read_bytes()[:-2000])


def text_as_tiff(folder):
    write_pair(folder, "cut").write_text("see the other disk")


def empty_tiff(folder):
    write_pair(folder, "cut").write_bytes(b"")


def no_partner(folder):
    write_pair(folder, "cut")
    (folder / "cut_MS.tif").unlink()


def two_partners(folder):
    write_pair(folder, "cut")
    shutil.copy(folder / "cut_MS.tif", folder / "cut_MUL.tif")


def elsewhere(folder):
    write_pair(folder, "cut")
    write_tiff(folder / "cut_MS.tif", formula(4, 32, 32), size=2.0, corner=(600000.0, 4640000.0))


def dangling(folder):
    folder.mkdir()
    (folder / "cut_PAN.tif").symlink_to("gone.tif")


def corrupt_zip(folder):
    folder.mkdir()
    (folder / "cut.zip").write_bytes(b"PK\x03\x04 and nothing else")


def empty_tar(folder):
    folder.mkdir()
    gaofen.bad_empty_tar(folder)


def hostile_tar(folder):
    gaofen.bad_tar(folder, "parent")


def two_alike_in_a_zip(folder):
    scene = gaofen.gf2_tar_new(folder, kind="dir")
    with zipfile.ZipFile(folder / "two.zip", "w") as archive:
        for path in scene.iterdir():
            archive.write(path, f"a/{path.name}")
            archive.write(path, f"b/{path.name}")
    shutil.rmtree(scene)


@pytest.mark.parametrize(
    ("write", "name", "reason"),
    [
        (digitalglobe.wv1_pan_only, WV2, "WorldView-1 records PAN only"),
        (digitalglobe.bad_tile, WV2, "every tile of a mosaic must be there"),
        (digitalglobe.bad_link, WV2, "links must stay inside the delivery"),
        (digitalglobe.bad_sharpened, WV2, "must not be pan-sharpened"),
        (level_2, landsat.L8_C2_LEVEL2, "there is no PAN in level 2"),
        (gaofen.bad_xml_bomb, gaofen.GF2_OLD, "must not declare DOCTYPE or ENTITY"),
        (gaofen.wfv, gaofen.WFV, "WFV2 of GF1 records no PAN"),
        (dimap.phr_pms, "DS_PHR1A_PMS", "pan-sharpened product"),
        (truncated, "cut", "a TIFF must hold all its blocks"),
        (text_as_tiff, "cut", "a raster must be GeoTIFF, JPEG 2000 or NITF"),
        (empty_tiff, "cut", "a raster must have content"),
        (no_partner, "cut", "no MS partner lies beside it"),
        (two_partners, "cut", "a pair must have one MS file"),
        (elsewhere, "cut", "PAN and MS must overlap"),
        (dangling, "cut", "a raster file must exist, got the link"),
        (corrupt_zip, "cut.zip", "an archive must be whole"),
        (empty_tar, f"{gaofen.GF2_NEW}.tar.gz", "an archive must have files"),
        (hostile_tar, f"{gaofen.GF2_NEW}.tar.gz", "members must have relative names"),
        (two_alike_in_a_zip, gaofen.GF2_NEW, "a product must be told by its name"),
    ],
)
def test_a_broken_scene_is_a_row_with_its_reason(tmp_path, write, name, reason):
    write(tmp_path / "broken")
    good = write_pair(tmp_path / "good")
    scenes = find_scenes(tmp_path)
    broken = scenes[scenes.problem != ""]
    assert set(broken.name) == {name}
    assert broken.problem.str.contains(reason, regex=False).all()
    assert broken.geometry.isna().all()
    assert scenes[scenes.problem == ""].source.tolist() == [str(good)]


def test_names_that_are_no_text_are_told(tmp_path):
    pan = write_pair(tmp_path / "a")
    pan.parent.rename(tmp_path / os.fsdecode(b"fold\xff"))
    scenes = find_scenes(tmp_path)
    assert scenes.name.tolist() == ["town"]
    assert scenes.source[0] == str(pan.parents[1] / "fold\\udcff" / pan.name)
    assert "a path must be text in UTF-8" in scenes.problem[0]
    write_catalog(scenes, tmp_path / "scenes.gpkg")


def test_a_folder_that_cannot_be_listed_is_told(tmp_path, monkeypatch):
    write_pair(tmp_path)
    (tmp_path / "locked").mkdir()
    real = os.scandir

    def scan(path):
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    monkeypatch.setattr(listing.os, "scandir", scan)
    scenes = find_scenes(tmp_path)
    assert scenes.name.tolist() == ["locked", "town"]
    assert "a folder must be readable" in scenes.problem[0]
    assert "Permission denied" in scenes.problem[0]


def test_an_unexpected_error_ends_one_scene_and_not_the_list(tmp_path, monkeypatch):
    write_pair(tmp_path, "a")
    write_pair(tmp_path, "b")
    real = entries.look

    def look(product, scratch=None):
        if product.name == "a":
            raise ZeroDivisionError("no")
        return real(product, scratch)

    monkeypatch.setattr(entries, "look", look)
    scenes = find_scenes(tmp_path)
    assert scenes.name.tolist() == ["a", "b"]
    assert "ZeroDivisionError: no" in scenes.problem[0]
    assert scenes.problem[1] == ""


def test_a_time_that_is_none_does_not_end_the_list():
    found = [entries.Entry("x", "/x", facts={"time": "2016-13-45T99:00"}), entries.Entry("y", "/y")]
    assert table._table(found).time.isna().all()


# What is looked at --------------------------------------------------------------------------------------------------


def test_an_empty_folder_gives_an_empty_table(tmp_path):
    scenes = find_scenes(tmp_path)
    assert len(scenes) == 0
    assert list(scenes.columns) == COLUMNS
    assert scenes.crs.to_epsg() == 4326
    assert str(scenes.time.dtype) == "datetime64[ms, UTC]"
    assert scenes.cloud.dtype == "float64"


@pytest.mark.parametrize("make", [lambda path: path / "gone", write_pair], ids=["missing", "file"])
def test_what_is_no_folder_is_refused(tmp_path, make):
    with pytest.raises(ProductError, match=r"looked for in a folder, got .*; pass an existing folder"):
        find_scenes(make(tmp_path))


def test_files_of_other_things_are_passed_over(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(300):
        (folder / f"note {number}.txt").write_text("no scene")
        (folder / f"photo_{number}.tif").write_bytes(b"")
    with zipfile.ZipFile(folder / "letters.zip", "w") as archive:
        archive.writestr("a.txt", "no scene")
    os.mkfifo(folder / "pipe_PAN.tif")
    os.mkfifo(folder / "pipe.zip")
    (folder / "folder_PAN.tif").mkdir()
    write_pair(folder / ".trash")
    shutil.copy(write_pair(tmp_path), folder / "._town_PAN.tif")
    assert find_scenes(tmp_path).source.tolist() == [str(tmp_path / "town_PAN.tif")]


def test_loops_of_links_end(tmp_path):
    write_pair(tmp_path / "a")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    assert find_scenes(tmp_path).name.tolist() == ["town"]


def test_a_very_deep_folder_does_not_end_the_list(tmp_path):
    write_pair(tmp_path)
    folders = [f"{tmp_path}{'/d' * depth}" for depth in range(1, 1101)]
    for folder in folders:
        os.mkdir(folder)  # noqa: PTH102 (no path is taken apart a thousand times)
    try:
        assert find_scenes(tmp_path).name.tolist() == ["town"]
    finally:
        for folder in reversed(folders):  # deeper than what pytest can remove
            os.rmdir(folder)  # noqa: PTH106


def test_copies_of_one_product_are_rows_of_their_own(tmp_path):
    for name in ("a", "b"):
        digitalglobe.ge1_2a(tmp_path / name, cols=(16,), rows=(16,))
    (tmp_path / "c").mkdir()
    gaofen.gf2_tar_new(tmp_path / "c", kind="dir")
    gaofen.gf2_tar_new(tmp_path / "c", kind="zip")
    scenes = find_scenes(tmp_path)
    assert scenes.problem.eq("").all()
    assert [len(same) for _, same in scenes.groupby("name")] == [2, 2]
    assert scenes.source.is_unique


def test_nested_deliveries_and_pairs_are_rows_of_their_own(tmp_path):
    root = digitalglobe.wv2_2a_til(tmp_path)
    inner = landsat.l8_c2(root / "more")
    pan = write_pair(next(root.glob("*_MUL")))
    scenes = find_scenes(tmp_path)
    assert scenes.problem.eq("").all()
    assert set(scenes.source) == {str(root), str(inner), str(pan)}
    assert [open_scene(row.source, product=row.name).family for row in scenes.itertuples()] == [
        *scenes.family,
    ]


def test_products_of_one_folder_are_told_by_their_names(tmp_path):
    root = digitalglobe.wv2_two_products(tmp_path)
    scenes = find_scenes(tmp_path)
    assert scenes.name.tolist() == [WV2, WV2.replace("P001", "P002")]
    assert set(scenes.source) == {str(root)}
    for row in scenes.itertuples():
        assert open_scene(row.source, product=row.name).name == row.name


def test_an_archive_beside_a_delivery_is_looked_into(tmp_path):
    root = gaofen.gf6_dir(tmp_path)
    archive = gaofen.gf2_tar_new(tmp_path / "new", kind="zip")
    shutil.move(archive, root)
    (root / f"{gaofen.GF2_NEW}-MSS1.jpg").write_bytes(b"\xff\xd8\xff\xd9")
    scenes = find_scenes(tmp_path)
    assert scenes.problem.eq("").all()
    assert set(scenes.source) == {str(root), str(root / archive.name)}


def test_a_plain_pair_in_an_archive_is_found(tmp_path):
    pan = write_pair(tmp_path)
    with zipfile.ZipFile(tmp_path / "town.zip", "w") as archive:
        for path in (pan, tmp_path / "town_MS.tif"):
            archive.write(path, path.name)
            path.unlink()
    scenes = find_scenes(tmp_path)
    assert scenes.source.tolist() == [str(tmp_path / "town.zip")]
    assert scenes.problem.tolist() == [""]
    assert open_scene(scenes.source[0], product=scenes.name[0]).name == scenes.name[0] == "town"


def test_pan_and_ms_that_were_sorted_into_two_folders_are_joined(tmp_path):
    root = digitalglobe.wv2_2a_til(tmp_path)
    next(root.glob("*_MUL")).rename(root / "colour")
    next(root.glob("*_PAN")).rename(root / "grey")
    digitalglobe.wv1_pan_only(tmp_path / "other")
    scenes = find_scenes(tmp_path)
    assert scenes.source.tolist() == [str(root), str(tmp_path / "other" / "056078906010_01")]
    assert scenes.problem.ne("").tolist() == [False, True]
    assert open_scene(scenes.source[0], product=scenes.name[0]).ms.n_band == 8


def test_products_named_by_an_xml_twin_alone_are_found(tmp_path):
    root = digitalglobe.wv2_2a_til(tmp_path, rows=(16,), cols=(16,), metadata=("xml",), is_tiled=False)
    for path in sorted(root.rglob("*AS-*")):
        path.rename(tmp_path / f"{'colour' if '-M2AS' in path.name else 'grey'}{path.suffix}")
    shutil.rmtree(root)
    scenes = find_scenes(tmp_path)
    assert scenes.family.tolist() == ["digitalglobe"]
    assert scenes.problem.tolist() == [""]


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_large_compressed_archives_are_listed_and_looked_into_when_asked_for(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(entries, "LARGE_ARCHIVE", 1000)
    archive = gaofen.gf2_tar_new(tmp_path, kind=kind)
    scenes = find_scenes(tmp_path)
    assert scenes.name.tolist() == [archive.name]
    assert "is not looked into" in scenes.problem[0]
    assert "pass `unpack=True`" in scenes.problem[0]
    assert find_scenes(tmp_path, unpack=True).problem.tolist() == [""]


def test_a_large_tar_is_looked_into_where_gdal_reads_it_in_place(tmp_path, monkeypatch):
    monkeypatch.setattr(entries, "LARGE_ARCHIVE", 1000)
    (tmp_path / "a").mkdir()
    gaofen.gf2_tar_new(tmp_path / "a", kind="tar")
    (tmp_path / "b").mkdir()
    gaofen.gf2_tar_new(tmp_path / "b", kind="tar", inside="x" * 60)  # names of more than 100 bytes: PAX headers
    problems = find_scenes(tmp_path).problem.tolist()
    assert problems[0] == ""
    assert "is not looked into" in problems[1]


def test_nothing_is_left_of_what_was_unpacked(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    (tmp_path / "scenes").mkdir()
    gaofen.gf2_tar_new(tmp_path / "scenes")
    assert find_scenes(tmp_path / "scenes").problem.tolist() == [""]
    assert not list(scratch.iterdir())


# A look that is lighter than that of `open_scene` ---------------------------------------------------------------------


def test_one_block_of_pixels_is_read_where_it_proves_enough(tmp_path, monkeypatch):
    write_pair(tmp_path)
    monkeypatch.setattr("ship_geo.catalog.glance.build_scene", None)  # would fail
    assert find_scenes(tmp_path).bands.tolist() == ["band1,band2,band3,band4"]


@pytest.mark.parametrize(
    ("ms", "n_band"),
    [
        (np.concatenate([formula(3, 32, 32), np.full((1, 32, 32), 65535, np.uint16)]), 3),
        (replicated(formula(4, 16, 16), 2), 4),
        (np.full((4, 32, 32), 7, np.uint16), 4),
    ],
    ids=["alpha", "replicated", "constant"],
)
def test_what_one_block_does_not_prove_is_left_to_the_samples(tmp_path, monkeypatch, ms, n_band):
    from ship_geo.catalog import glance

    calls = []
    real = glance.build_scene
    monkeypatch.setattr(glance, "build_scene", lambda *args, **kwargs: calls.append(1) or real(*args, **kwargs))
    write_pair(tmp_path, ms=ms)
    assert len(find_scenes(tmp_path).bands[0].split(",")) == n_band
    assert calls == [1]


def test_a_pair_named_the_wrong_way_round_is_turned(tmp_path):
    write_pair(tmp_path)
    for old, new in (("MS", "x"), ("PAN", "MS"), ("x", "PAN")):
        (tmp_path / f"town_{old}.tif").rename(tmp_path / f"town_{new}.tif")
    scenes = find_scenes(tmp_path)
    assert scenes.problem.tolist() == [""]
    assert scenes.resolution.tolist() == [0.5]


# Files --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def varied(scenes):
    """Rows of all kinds: cut in two, without a footprint, with a problem, with texts that are hard to write."""
    broken = table._table([entries.Entry('\u574f "x" <y>\n', "/x", problem="why; \u00fc")])
    rows = pd.concat([scenes, broken], ignore_index=True)
    rows.loc[0, "geometry"] = on_globe(shapely.Polygon([(179, 0), (179, 1), (181, 1), (181, 0)]))
    return rows


def read(path):
    return gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path)


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".parquet"])
def test_what_is_read_back_is_what_was_written(varied, tmp_path, suffix):
    assert write_catalog(varied, tmp_path / f"scenes{suffix}") == tmp_path / f"scenes{suffix}"
    found = read_catalog(tmp_path / f"scenes{suffix}")
    assert list(found.columns) == COLUMNS
    assert found.crs.to_epsg() == 4326
    assert str(found.time.dtype) == "datetime64[ms, UTC]"
    for name in COLUMNS[:-1]:
        pairs = zip(found[name], varied[name], strict=True)
        assert all(have == want or (pd.isna(have) and pd.isna(want)) for have, want in pairs), name
    for have, want in zip(found.geometry, varied.geometry, strict=True):
        assert (have is None) == (want is None)
        assert have is None or shapely.hausdorff_distance(have, want) < 1e-9


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet"])
def test_an_empty_table_keeps_its_columns(tmp_path, suffix):
    (tmp_path / "empty").mkdir()
    write_catalog(find_scenes(tmp_path / "empty"), tmp_path / f"scenes{suffix}")
    found = read(tmp_path / f"scenes{suffix}")
    assert len(found) == 0
    assert set(found.columns) == set(COLUMNS)


def test_plain_geopandas_writes_it_too(scenes, tmp_path):
    scenes.to_file(tmp_path / "scenes.gpkg")
    scenes.to_parquet(tmp_path / "scenes.parquet")
    assert len(read(tmp_path / "scenes.gpkg")) == len(read(tmp_path / "scenes.parquet")) == len(scenes)


@pytest.mark.skipif(shutil.which("ogrinfo") is None, reason="needs ogrinfo of gdal-bin")
def test_plain_gdal_reads_places_and_times(scenes, tmp_path):
    write_catalog(scenes, tmp_path / "scenes.gpkg")
    query = f"SELECT time FROM scenes WHERE name = '{WV2}' AND ST_MinX(geom) > 14.9 AND ST_MaxX(geom) < 15.1"
    command = ["ogrinfo", "-q", tmp_path / "scenes.gpkg", "-sql", query]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "time (DateTime) = 2016/06/23 09:53:30.046+00" in said


def test_a_table_is_replaced_only_when_asked_for(scenes, tmp_path):
    path = tmp_path / "scenes.geojson"
    path.write_text("mine")
    with pytest.raises(OutputError, match=r"must not exist, got .*; choose another name or pass overwrite"):
        write_catalog(scenes, path)
    assert path.read_text() == "mine"
    write_catalog(scenes, path, overwrite=True)
    assert len(read(path)) == len(scenes)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["scenes.shp", "scenes", "scenes.tif", "no/scenes.gpkg"])
def test_what_cannot_be_written_is_refused_beforehand(tmp_path, name):
    kind = OutputError if name.startswith("no/") else ArgumentError
    with pytest.raises(kind, match=r"; (choose one of these suffixes|make it first)"):
        check_catalog(tmp_path / name)
    assert check_catalog(tmp_path / "SCENES.GPKG") == (tmp_path / "SCENES.GPKG").resolve()


def test_a_failure_leaves_the_old_file_and_nothing_else(scenes, tmp_path, monkeypatch):
    path = tmp_path / "scenes.gpkg"
    path.write_text("mine")

    def fail(_, made, **__):
        Path(made).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gpd.GeoDataFrame, "to_file", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        write_catalog(scenes, path, overwrite=True)
    assert path.read_text() == "mine"
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_geoparquet_without_pyarrow_says_what_to_install(scenes, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ImportError("Missing optional dependency 'pyarrow'")

    monkeypatch.setattr(gpd.GeoDataFrame, "to_parquet", fail)
    with pytest.raises(OutputError, match=r"GeoParquet needs pyarrow.*; install ship-geo\[catalog\]"):
        write_catalog(scenes, tmp_path / "scenes.parquet")


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".parquet"])
def test_what_is_no_table_of_scenes_is_refused(tmp_path, suffix):
    path = tmp_path / f"scenes{suffix}"
    with pytest.raises(ProductError, match="a table of scenes must be a file that GeoPandas reads, got"):
        read_catalog(path)
    other = gpd.GeoDataFrame({"town": ["a"]}, geometry=[shapely.Point(1, 2)], crs=4326)
    other.to_parquet(path) if suffix == ".parquet" else other.to_file(path)
    with pytest.raises(ProductError, match=r"has the columns name, source, got none name, source in .*; write it with"):
        read_catalog(path)
    path.write_bytes(b"no table")
    with pytest.raises(ProductError, match="a table of scenes must be a file that GeoPandas reads, got"):
        read_catalog(path)
