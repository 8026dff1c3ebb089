"""The Collection over the Items of a folder: valid, relative, and spanning what they span."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pystac
import pytest
from pystac.validation import JsonSchemaSTACValidator
from value_scenes import value_scene

from ship_geo.errors import OutputError
from ship_geo.stac import write_collection, write_item

FACTS = {"model": "brovey", "model_digest": "brovey", "kind": "classical"}


def write(folder: Path, name: str, corner: tuple[float, float], time: str, crs: str = "EPSG:32633") -> Path:
    output = folder / f"{name}.tif"
    output.write_bytes(b"pixels")
    scene = value_scene(folder, corner=corner, crs=crs)
    return write_item(output, replace(scene, acquisition=replace(scene.acquisition, time=time)), FACTS)


def read(path: Path) -> dict:
    plain = json.loads(path.read_text())
    kind = pystac.STACObjectType.COLLECTION if plain["type"] == "Collection" else pystac.STACObjectType.ITEM
    JsonSchemaSTACValidator().validate_core(plain, kind, plain["stac_version"])
    return plain


def test_collection_spans_its_items_and_they_link_back(tmp_path: Path) -> None:
    items = [
        write(tmp_path, "b", (500000, 4640000), "2023-07-05T10:20:30Z"),
        write(tmp_path, "a", (600000, 4640000), "2021-01-02"),
    ]
    path = write_collection(tmp_path, items, name="towns", description="Two of them.")
    plain, each = read(path), [read(item) for item in items]
    boxes = [item["bbox"] for item in each]
    around = [*(min(box[i] for box in boxes) for i in (0, 1)), *(max(box[i] for box in boxes) for i in (2, 3))]
    assert plain["extent"]["spatial"]["bbox"] == [around, boxes[1], boxes[0]]
    assert plain["extent"]["temporal"]["interval"] == [["2021-01-02T00:00:00Z", "2023-07-05T10:20:30Z"]]
    assert plain["summaries"] == {"platform": ["worldview-2"], "gsd": [0.5], "proj:code": ["EPSG:32633"]}
    assert [(link["rel"], link["href"]) for link in plain["links"]] == [
        ("root", "./collection.json"),
        ("item", "./a.json"),
        ("item", "./b.json"),
    ]
    for item in each:
        assert item["collection"] == "towns"
        assert sum(link["rel"] == "collection" for link in item["links"]) == 1
        assert sum(link["rel"] == "derived_from" for link in item["links"]) == 2
    before = {path: path.stat().st_mtime_ns for path in items}
    write_collection(tmp_path, items, name="towns", description="Two of them.")
    assert {path: path.stat().st_mtime_ns for path in items} == before
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert len(list(pystac.Collection.from_file(str(moved / "collection.json")).get_items())) == 2


def test_items_on_both_sides_of_the_antimeridian_are_spanned_by_the_whole_turn(tmp_path: Path) -> None:
    across = write(tmp_path, "a", (833978.55 - 10, 10000), "2023-07-05T10:20:30Z", crs="EPSG:32660")
    other = write(tmp_path, "b", (500000, 10000), "2023-07-05T10:20:30Z", crs="EPSG:32660")
    plain = read(write_collection(tmp_path, [across, other], name="a", description="b"))
    assert json.loads(across.read_text())["bbox"][0] > json.loads(across.read_text())["bbox"][2]
    around = plain["extent"]["spatial"]["bbox"][0]
    assert (around[0], around[2]) == (-180, 180)
    assert 0 < around[1] < around[3] < 1


def test_without_items_there_is_no_collection(tmp_path: Path) -> None:
    item = write(tmp_path, "a", (500000, 4640000), "2023-07-05")
    assert write_collection(tmp_path, [item], name="a", description="b").exists()
    assert write_collection(tmp_path, [], name="a", description="b") is None
    assert not (tmp_path / "collection.json").exists()


def test_item_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(OutputError, match="a STAC Item must be readable"):
        write_collection(tmp_path, [tmp_path / "a.json"], name="a", description="b")
    assert not (tmp_path / "collection.json").exists()
