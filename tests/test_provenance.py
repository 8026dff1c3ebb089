from __future__ import annotations

import json
from pathlib import Path

import pytest
from value_scenes import sensor_scene, unknown_scene, value_scene

from ship_geo.provenance import TAGS, software_version, source_name, tags_of

FACTS = {
    "model": "ship++",
    "model_digest": "ab" * 32,
    "parameters": {"chunks": "auto", "bands": None},
    "shift": {"row": 0.25, "col": -0.5},
    "radiometry": "toa",
    "window": 512,
}


def test_known_scene_has_every_tag_in_the_listed_order(tmp_path: Path) -> None:
    tags = tags_of(value_scene(tmp_path), FACTS)
    assert list(tags) == list(TAGS)
    assert tags == {
        "ACQUISITION_TIME": "2023-07-05T10:20:30.123456Z",
        "SENSOR": "WorldView-2",
        "PLATFORM": "WV02",
        "LEVEL": "LV2A",
        "PRODUCT_ID": "054001",
        "CLOUD_COVER": "12.5",
        "SUN_AZIMUTH": "150.5",
        "SUN_ELEVATION": "60.25",
        "VIEW_AZIMUTH": "-10",
        "OFF_NADIR": "12.5",
        "SOURCE_FILES": '["a_MS.TIF", "a_PAN.TIF"]',
        "RADIOMETRY": "toa",
        "UNITS": "1",
        "TIFFTAG_SOFTWARE": f"ship_geo {software_version()}",
        "SHIP_GEO_MODEL": "ship++",
        "SHIP_GEO_MODEL_DIGEST": "ab" * 32,
        "SHIP_GEO_PARAMETERS": '{"bands": null, "chunks": "auto"}',
        "SHIP_GEO_SHIFT": '{"col": -0.5, "row": 0.25}',
        "SHIP_GEO_GEOMETRY": "map",
    }


def test_what_is_not_known_has_no_tag(tmp_path: Path) -> None:
    tags = tags_of(unknown_scene(tmp_path), {"model": "brovey", "model_digest": "brovey", "shift": None})
    assert set(TAGS) - set(tags) == {
        "ACQUISITION_TIME", "PLATFORM", "LEVEL", "PRODUCT_ID", "CLOUD_COVER", "SUN_AZIMUTH", "SUN_ELEVATION",
        "VIEW_AZIMUTH", "OFF_NADIR", "SHIP_GEO_PARAMETERS", "SHIP_GEO_SHIFT",
    }  # fmt: skip
    assert (tags["RADIOMETRY"], tags["UNITS"], tags["SENSOR"]) == ("dn", "DN", "unknown sensor")


def test_geometry_names_the_heights_behind_a_model(tmp_path: Path) -> None:
    assert tags_of(sensor_scene(tmp_path), {})["SHIP_GEO_GEOMETRY"] == "sensor, ellipsoidal height 100 m"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/home/someone/in/a_MS.TIF", "a_MS.TIF"),
        ("/vsizip/{/home/someone/d.zip}/054/a_MS.TIF", "a_MS.TIF"),
        ("/vsicurl/https://host/a.tif?sig=secret/part", "a.tif"),
        ("s3://bucket/key/a.tif", "a.tif"),
    ],
)
def test_sources_are_named_without_folders_and_secrets(path: str, name: str) -> None:
    assert source_name(path) == name


def test_odd_text_of_a_vendor_becomes_one_printable_line(tmp_path: Path) -> None:
    tags = tags_of(value_scene(tmp_path), {"model": "a\n b\x00\x07c  高"})
    assert tags["SHIP_GEO_MODEL"] == "a bc 高"
    assert json.loads(tags["SOURCE_FILES"]) == ["a_MS.TIF", "a_PAN.TIF"]
