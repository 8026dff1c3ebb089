"""Options that a hostile or unlucky user passes: each is refused with a remedy, none is silently without effect."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from deliveries import digitalglobe, generic
from deliveries.pixels import write_tiff

from ship_geo.cli import main
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.scene import open_scene

SMALL = {"rows": (24, 8), "cols": (32, 16), "rpcs": ((15.625, 16.0, 23.625, 24.0), (64.0, 64.0, 96.0, 96.0))}


@pytest.fixture(scope="module")
def on_map(tmp_path_factory):
    return digitalglobe.wv2_2a_til(tmp_path_factory.mktemp("map"), **SMALL)


@pytest.fixture(scope="module")
def by_rpc(tmp_path_factory):
    return digitalglobe.wv3_1b(tmp_path_factory.mktemp("rpc"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return generic.pair(tmp_path_factory.mktemp("pair"), (16, 20), (64, 80))


@pytest.mark.parametrize("options", [
    {"dem": 120.0}, {"crs": "EPSG:3857"}, {"resolution": 3.0}, {"geoid": 45.0},
])  # fmt: skip
def test_options_of_a_geometry_by_rpc_are_refused_for_a_map_product(on_map, options):
    with pytest.raises(ArgumentError, match=f"`{next(iter(options))}` is .*; "):
        open_scene(on_map, **options)


@pytest.mark.parametrize(("options", "text"), [
    ({"crs": "EPSG:32633"}, "`crs` is for an ortho image"),
    ({"dem": float("nan")}, "`dem` must be a finite number"),
    ({"geometry": "ortho", "dem": float("inf")}, "`dem` must be a finite number"),
    ({"geometry": "ortho", "geoid": float("nan")}, "`geoid` must be a finite number"),
    ({"geometry": "ortho", "dem": 120.0, "geoid": 45.0}, "`geoid` is added to a raster of heights"),
    ({"geometry": "ortho", "crs": "EPSG:4978"}, "`crs` must be projected or geographic"),
    ({"geometry": "ortho", "crs": "garbage"}, "`crs` must be readable by PROJ, got 'garbage'"),
    ({"geometry": "ortho", "resolution": 1e-9}, "`resolution` must be near that of PAN"),
    ({"geometry": "ortho", "resolution": 1e9}, "`resolution` must be near that of PAN"),
    ({"geometry": "ortho", "crs": "EPSG:4326", "resolution": 0.5}, "pass the pixel size in degrees"),
])  # fmt: skip
def test_nonsense_for_a_geometry_by_rpc_is_refused(by_rpc, options, text):
    with pytest.raises(ArgumentError, match=text):
        open_scene(by_rpc, **options)


def test_a_name_that_is_no_text_is_refused(tmp_path):
    folder = generic.pair(tmp_path / "pair", (16, 20), (64, 80))
    for kind in ("MS", "PAN"):
        (folder / f"{kind.lower()}.tif").rename(folder / os.fsdecode(b"x\xff_" + kind.encode() + b".tif"))
    with pytest.raises(ProductError, match="names of files must be UTF-8"):
        open_scene(folder)


def test_an_ortho_image_may_be_in_degrees(by_rpc):
    scene = open_scene(by_rpc, geometry="ortho", crs="EPSG:4326")
    assert scene.pair.output.resolution[0] < 1e-4


@pytest.mark.parametrize("time", ["yesterday", "2020-13-45", ""])
def test_a_time_that_is_none_is_refused(pair, time):
    with pytest.raises(ArgumentError, match="a time must be ISO 8601"):
        open_scene(pair, time=time)


def test_a_plain_pair_is_no_other_product(pair):
    assert open_scene(pair, product="PAN").name == "pan"
    with pytest.raises(ProductError, match="`product` must name one of the products, got 'zzz' and pan"):
        open_scene(pair, product="zzz")


def test_a_sensor_that_contradicts_the_metadata_is_told(on_map):
    assert not open_scene(on_map, sensor="WorldView-2").warnings
    assert any("the metadata say WorldView-2" in text for text in open_scene(on_map, sensor="WorldView-3").warnings)


@pytest.mark.parametrize(("words", "text"), [
    (["--product", "zzz"], "--product must name"),
    (["--geometry", "ortho"], "leave --geometry out"),
    (["--bands", "blue,green"], "--bands must name"),
    (["--resolution", "0", "--geometry", "ortho"], "leave --geometry out"),
    (["--ratio", "0"], "got 0; "),
])  # fmt: skip
def test_messages_name_options_and_zero_is_a_value(on_map, capsys, words, text):
    assert main(["info", str(on_map), *words, "--json"]) in (1, 2)
    out, err = capsys.readouterr()
    assert text in json.loads(out)["error"]["message"]
    assert "`" not in err


def test_a_resolution_of_zero_is_refused(by_rpc, capsys):
    assert main(["info", str(by_rpc), "--geometry", "ortho", "--resolution", "0"]) == 2
    assert "the resolution must be positive, got 0" in capsys.readouterr().err


def write_dem(path, corner, side=0.2):
    values = np.full((1, 20, 20), 100, "float32")
    return write_tiff(path, values, size=side / 20, corner=corner, crs="EPSG:4326")


@pytest.mark.parametrize("geometry", ["sensor", "ortho"])
def test_a_height_beyond_the_model_is_told(by_rpc, geometry):
    (text,) = open_scene(by_rpc, geometry=geometry, dem=2000.0).warnings
    assert text.startswith("the height 2000 m is outside the -400 to 600 m")


def test_a_dem_must_cover_the_scene(by_rpc, tmp_path):
    whole = write_dem(tmp_path / "whole.tif", (14.9, 42.0))
    assert open_scene(by_rpc, geometry="ortho", dem=whole).warnings == ()
    half = write_dem(tmp_path / "half.tif", (15.0, 42.0))
    (text,) = open_scene(by_rpc, geometry="ortho", dem=half).warnings
    assert text.startswith("the DEM half.tif does not cover the whole scene")
    elsewhere = write_dem(tmp_path / "elsewhere.tif", (20.0, 42.0))
    with pytest.raises(ProductError, match=r"must cover the scene, got .*elsewhere\.tif"):
        open_scene(by_rpc, geometry="ortho", dem=elsewhere)
