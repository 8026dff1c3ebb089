"""The command `ship-geo find`: what it prints, writes and refuses."""

from __future__ import annotations

import json

import geopandas as gpd
import pytest
from deliveries import digitalglobe, landsat

from ship_geo.cli import main


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A good WorldView-2 delivery and a Landsat scene of level 2."""
    root = tmp_path_factory.mktemp("archive")
    digitalglobe.wv2_2a_til(root, rows=(16,), cols=(16,), is_tiled=False)
    landsat.l8_c2(root, level="L2SP")
    return root


@pytest.fixture
def run(capsys):
    """Run the command line and return exit code, standard output and standard error."""

    def call(*words):
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_good_scenes_and_reasons_are_listed(run, archive):
    code, out, err = run("find", archive)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].startswith("056078906010_01_P001  WorldView-2, 2016-06-23")
    assert lines[1].startswith(f"{landsat.L8_C2_LEVEL2}  cannot be opened: a Landsat scene needs PAN and MS")
    assert lines[-1] == "2 scenes, 1 of them cannot be opened"


def test_json_is_geojson(run, archive):
    code, out, _ = run("find", archive, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["type"] == "FeatureCollection"
    good, bad = found["features"]
    assert good["geometry"]["type"] == "Polygon"
    assert good["properties"]["name"] == "056078906010_01_P001"
    assert good["properties"]["time"] == "2016-06-23T09:53:30.046Z"
    assert bad["geometry"] is None
    assert "no PAN in level 2" in bad["properties"]["problem"]


def test_a_scene_without_a_time_says_so(run, tmp_path):
    from deliveries.pixels import formula, write_tiff

    write_tiff(tmp_path / "town_PAN.tif", formula(1, 128, 128), size=0.5)
    write_tiff(tmp_path / "town_MS.tif", formula(4, 32, 32), size=2.0)
    code, out, _ = run("find", tmp_path)
    assert code == 0
    assert "time not known" in out
    assert "NaT" not in out


def test_the_table_is_written_and_not_replaced(run, archive, tmp_path):
    path = tmp_path / "scenes.gpkg"
    assert run("find", archive, "-o", path)[0] == 0
    assert gpd.read_file(path).name.tolist() == ["056078906010_01_P001", landsat.L8_C2_LEVEL2]
    code, _, err = run("find", archive, "-o", path)
    assert code == 1
    assert "the output must not exist" in err
    assert run("find", archive, "-o", path, "--overwrite")[0] == 0


def test_an_output_that_cannot_be_written_is_refused_before_the_search(run, tmp_path):
    code, _, err = run("find", tmp_path / "gone", "-o", tmp_path / "scenes.shp")
    assert code == 2
    assert "choose one of these suffixes" in err


def test_a_missing_folder_is_an_error_with_a_remedy(run, tmp_path):
    code, out, err = run("find", tmp_path / "gone", "--json")
    assert code == 1
    assert "pass an existing folder" in err
    assert json.loads(out)["error"]["type"] == "ProductError"
