"""Many scenes in one call: what fails stays alone, what is done is not done again, and nothing of others is touched."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
from pystac.validation import JsonSchemaSTACValidator
from shapely.geometry import Point, box

import ship_geo
from ship_geo.errors import ArgumentError, OutputError

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "pipelines" / "pansharpen_batch.py"
DONE, FAILED, USAGE = 0, 1, 2


@dataclass(frozen=True)
class Outcome:
    code: int
    summary: dict[str, Any]
    said: str


Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def pipelines_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the script in this process with a cheap method."""

    def call(*words: object) -> Outcome:
        from pansharpen_batch import main

        code = main(["--model", "exp", "--register", "off", "--json", "--quiet", *map(str, words)])
        out, err = capsys.readouterr()
        return Outcome(code, json.loads(out) if out.startswith("{") else {}, err)

    return call


@pytest.fixture
def scenes(tmp_path: Path, write_pair) -> Path:
    """Three scenes of three days, the last of them in the next UTM zone."""
    folder = tmp_path / "scenes"
    for number, zone in enumerate((33, 33, 34), start=1):
        write_scene(write_pair, folder, number, crs=f"EPSG:326{zone}")
    return folder


def write_scene(write_pair, folder: Path, number: int, crs: str = "EPSG:32633") -> Path:
    stem = name_of(number)
    return write_pair(folder / stem, (48, 48), seed=number, stem=stem, crs=crs, pan_crs=crs).pan


def name_of(number: int) -> str:
    """A name that tells the day."""
    return f"GF2_PMS1_E15.0_N41.9_202406{number:02d}_L1A00{number:02d}"


def pan_of(folder: Path, number: int) -> Path:
    return folder / name_of(number) / f"{name_of(number)}_PAN.tif"


def break_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:700])


def records(folder: Path) -> list[dict[str, Any]]:
    path = folder / "batch.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.tif")}


def test_corrupt_scene_among_twenty_fails_alone(tmp_path: Path, write_pair, run: Run) -> None:
    folder, out = tmp_path / "scenes", tmp_path / "out"
    files = [write_scene(write_pair, folder, number) for number in range(1, 21)]
    break_off(files[6])
    outcome = run(folder, out, "--report", tmp_path / "report.json")
    assert outcome.code == FAILED
    assert json.loads((tmp_path / "report.json").read_text()) == outcome.summary
    assert (outcome.summary["scenes"], outcome.summary["done"], outcome.summary["unfinished"]) == (20, 19, 0)
    (failed,) = outcome.summary["failed"]
    assert failed["source"] == str(files[6])
    assert "truncated" in failed["reason"]
    assert outcome.summary["megapixels"] == pytest.approx(19 * 48 * 48 / 1e6)

    table = gpd.read_parquet(out / "catalog.parquet")
    assert len(table) == 20
    assert table.crs == "EPSG:4326"
    made = table[table["status"] == "done"]
    assert sorted(made["output"]) == sorted(path.name for path in out.glob("*.tif"))
    assert made.geometry.intersects(Point(15.0001, 41.9119)).all()
    assert (made["seconds"] > 0).all()
    (lost,) = table[table["status"] == "failed"].itertuples()
    assert (lost.output, lost.reason) == ("", failed["reason"])

    one = made.iloc[4]
    wanted = ship_geo.pansharpen_scene(one["source"], model="exp", register="off")
    with rasterio.open(out / one["output"]) as got:
        np.testing.assert_array_equal(got.read(), wanted.compute())


def test_second_call_does_only_what_changed(scenes: Path, tmp_path: Path, write_pair, run: Run) -> None:
    out = tmp_path / "out"
    assert run(scenes, out).summary["run"] == 3
    before = times(out)
    assert run(scenes, out).summary["run"] == 0
    assert times(out) == before

    write_scene(write_pair, scenes, 4)
    (out / f"{name_of(1)}.tif").unlink()
    pan = pan_of(scenes, 2)
    os.utime(pan, (1, 1))
    outcome = run(scenes, out)
    assert (outcome.code, outcome.summary["run"], outcome.summary["done"]) == (DONE, 3, 4)
    after = times(out)
    assert {name for name in before if before[name] != after[name]} == {
        f"{name_of(1)}.tif",
        f"{name_of(2)}.tif",
    }
    outcome = run(scenes, out, "--from", "2024-06-04", "--register", "report")
    assert (outcome.summary["scenes"], outcome.summary["run"]) == (1, 1)


def test_failures_are_tried_again_when_asked_for_and_nothing_else(scenes: Path, tmp_path: Path, run: Run) -> None:
    table, out = tmp_path / "scenes.parquet", tmp_path / "out"
    ship_geo.find_scenes(scenes).to_parquet(table)
    pan = pan_of(scenes, 2)
    whole, taken = pan.read_bytes(), pan.stat().st_mtime_ns
    break_off(pan)
    outcome = run(table, out)
    assert (outcome.code, outcome.summary["done"], len(outcome.summary["failed"])) == (FAILED, 2, 1)
    assert run(table, out).summary["run"] == 0
    (out / f"{name_of(1)}.tif").unlink()
    assert run(table, out, "--retry-failed").summary["run"] == 1

    pan.write_bytes(whole)
    os.utime(pan, ns=(taken, taken))
    outcome = run(table, out, "--retry-failed")
    assert (outcome.code, outcome.summary["run"], outcome.summary["done"]) == (DONE, 1, 3)
    assert (out / f"{name_of(2)}.tif").exists()
    assert not (out / f"{name_of(1)}.tif").exists()


@pytest.mark.parametrize("suffix", [".tif", ".json"])
def test_file_of_somebody_else_is_not_replaced(scenes: Path, tmp_path: Path, run: Run, suffix: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    theirs = out / f"{name_of(1)}{suffix}"
    theirs.write_text("precious")
    for options in (("--to", "2024-06-01", "--stac"), ("--to", "2024-06-01", "--stac", "--retry-failed")):
        outcome = run(scenes, out, *options)
        assert outcome.code == FAILED
        assert "is not of this batch" in outcome.summary["failed"][0]["reason"]
        assert theirs.read_text() == "precious"


def test_crash_is_continued(scenes: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    run(scenes, out)
    lines = (out / "batch.jsonl").read_bytes().splitlines(keepends=True)
    (out / "batch.jsonl").write_bytes(b"".join(lines[:-1]) + lines[-1][:40])  # the last "done" was torn by a crash
    outcome = run(scenes, out)
    assert (outcome.code, outcome.summary["run"], outcome.summary["done"]) == (DONE, 1, 3)
    assert run(scenes, out).summary["run"] == 0


def test_terminated_batch_stops_at_once_and_the_same_command_continues(tmp_path: Path, write_pair, run: Run) -> None:
    folder, out = tmp_path / "scenes", tmp_path / "out"
    for number in range(1, 9):
        write_scene(write_pair, folder, number)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, SCRIPT, folder, out, "--model", "exp", "--register", "off", "--quiet"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and "done" not in {record["status"] for record in records(out)}:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    start = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - start < 10
    assert process.returncode == 143, said
    assert "the same command continues" in said
    before = times(out)
    done = {record["output"] for record in records(out) if record["status"] == "done"}
    assert 1 <= len(done) < 8
    table = gpd.read_parquet(out / "catalog.parquet")
    assert table["status"].value_counts().to_dict() == {"unfinished": 8 - len(done), "done": len(done)}

    outcome = run(folder, out)
    assert (outcome.code, outcome.summary["run"], outcome.summary["done"]) == (DONE, 8 - len(done), 8)
    assert all(before[name] == times(out)[name] for name in done)


def test_collection_and_items_are_valid_and_relative(scenes: Path, tmp_path: Path, write_pair, run: Run) -> None:
    out = tmp_path / "out"
    write_pair(scenes / "undated", (48, 48), stem="undated")
    run(scenes, out)  # without Items: they are made afterwards
    before = times(out)
    outcome = run(scenes, out, "--stac")
    assert (outcome.code, outcome.summary["run"], outcome.summary["without_time"]) == (DONE, 0, 1)
    assert times(out) == before

    shutil.move(out, tmp_path / "moved")
    collection = json.loads((tmp_path / "moved" / "collection.json").read_text())
    assert JsonSchemaSTACValidator().validate_core(collection, pystac.STACObjectType.COLLECTION, "1.1.0")
    links = [link["href"] for link in collection["links"] if link["rel"] == "item"]
    assert links == [f"./{name_of(day)}.json" for day in (1, 2, 3)]
    assert collection["extent"]["temporal"]["interval"] == [["2024-06-01T00:00:00Z", "2024-06-03T23:59:59.999000Z"]]
    (west, _, east, _) = collection["extent"]["spatial"]["bbox"][0]
    assert (west, east) == pytest.approx((15, 21), abs=0.001)  # central meridians of zones 33 and 34

    read = pystac.Collection.from_file(str(tmp_path / "moved" / "collection.json"))
    for item in read.get_items():
        plain = item.to_dict(include_self_link=False)
        assert JsonSchemaSTACValidator().validate_core(plain, pystac.STACObjectType.ITEM, "1.1.0")
        assert item.get_collection() is read
        assert Path(item.assets["data"].get_absolute_href()).exists()
    texts = [path.read_text() for path in (tmp_path / "moved").glob("*.json")]
    assert not any(str(tmp_path) in text for text in texts)


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".geojson"])
def test_table_of_scenes_is_taken_for_its_folder(scenes: Path, tmp_path: Path, suffix: str) -> None:
    from batch.selection import read_scenes

    broken = pan_of(scenes, 1)
    break_off(broken)
    found = ship_geo.find_scenes(scenes)
    path = tmp_path / f"scenes{suffix}"
    found.to_parquet(path) if suffix == ".parquet" else found.to_file(path)
    table = read_scenes(path)
    assert sorted(table["source"]) == sorted(found["source"])
    assert table.set_index("name")["problem"].to_dict() == found.set_index("name")["problem"].to_dict()
    assert sorted(table["time"].dropna()) == sorted(found["time"].dropna())


def test_filters_keep_what_passes_and_count_the_rest(tmp_path: Path) -> None:
    from batch.selection import Filters, parse_moment, read_aoi, select_scenes

    table = gpd.GeoDataFrame(
        {
            "name": ["a", "b", "c", "d", "e", "bad"],
            "sensor": ["WorldView-2", "WorldView-3", "WorldView-2", "WorldView-2", "WorldView-2", None],
            "platform": ["WV02", "WV03", "WV02", "WV02", "WV02", None],
            "time": pd.to_datetime(["2024-06-01T00:00:00Z"] * 3 + ["2024-06-30T23:59:59Z", None, None]),
            "cloud": [0.1, 0.1, np.nan, 0.2, 0.1, np.nan],
            "problem": ["", "", "", "", "", "truncated"],
        },
        geometry=[box(15, 41, 16, 42)] * 5 + [None],
        crs="EPSG:4326",
    )

    def names(**asked: Any) -> list[str]:
        return list(select_scenes(table, Filters(**asked))[0]["name"])

    assert names() == ["a", "b", "c", "d", "e", "bad"]
    assert names(sensors=("wv02",)) == names(sensors=("worldview 2",)) == ["a", "c", "d", "e", "bad"]
    assert names(sensors=("WV02", "worldview-3")) == names()
    assert names(max_cloud=0.1) == ["a", "b", "e", "bad"]
    assert names(first=parse_moment("2024-06-02")) == ["d", "bad"]
    assert names(last=parse_moment("2024-06-30", is_end=True)) == ["a", "b", "c", "d", "bad"]
    assert names(last=parse_moment("2024-06-30")) == ["a", "b", "c", "bad"]
    assert names(first=parse_moment("2024-06-01T02:00+02:00")) == ["a", "b", "c", "d", "bad"]

    zone = gpd.GeoSeries([Point(500010, 4630000)], crs="EPSG:32633").buffer(5)  # 15 degrees east, 41.8 north
    zone.to_file(tmp_path / "aoi.gpkg")
    (tmp_path / "far.geojson").write_text(gpd.GeoSeries([box(0, 0, 1, 1)], crs="EPSG:4326").to_json())
    assert names(aoi=read_aoi(tmp_path / "aoi.gpkg")) == names()
    only, left_out = select_scenes(table, Filters(aoi=read_aoi(tmp_path / "far.geojson"), max_cloud=0.1))
    assert list(only["name"]) == ["bad"]
    assert left_out == {"aoi": 5, "max_cloud": 0}
    with pytest.raises(ArgumentError, match="a batch needs a scene at least, got 5 in all, 5 left out by aoi"):
        select_scenes(table[:5], Filters(aoi=read_aoi(tmp_path / "far.geojson")))


def test_aoi_chooses_by_footprint(scenes: Path, tmp_path: Path, run: Run) -> None:
    aoi = tmp_path / "aoi.parquet"
    gpd.GeoSeries([Point(21, 41.9119)], crs="EPSG:4326").to_frame("geometry").to_crs(3857).to_parquet(aoi)
    outcome = run(scenes, tmp_path / "out", "--aoi", aoi, "--from", "2024-06-02")
    assert (outcome.code, outcome.summary["scenes"]) == (DONE, 1)
    assert outcome.summary["left_out"] == {"aoi": 2, "from": 0}
    assert [path.name for path in (tmp_path / "out").glob("*.tif")] == [f"{name_of(3)}.tif"]
    outcome = run(scenes, tmp_path / "out")
    assert (outcome.summary["run"], outcome.summary["done"]) == (2, 3)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"geometry": []}, "must have a geometry, got 0 features"),
        ({"geometry": [None]}, "must have a geometry, got 1 features"),
        ({"geometry": [box(0, 0, 1, 1)], "crs": None}, "must say its CRS, got none"),
    ],
)
def test_area_without_a_place_is_refused(tmp_path: Path, features: dict[str, Any], message: str) -> None:
    from batch.selection import read_aoi

    gpd.GeoDataFrame(**{"crs": "EPSG:4326", **features}).to_parquet(tmp_path / "aoi.parquet")
    with pytest.raises(ArgumentError, match=message):
        read_aoi(tmp_path / "aoi.parquet")


def test_names_of_outputs_never_collide_and_stay() -> None:
    from batch.state import name_outputs

    names = {"1": "Town", "2": "town", "3": "Catalog", "4": "a/b: c", "5": "", "6": "x" * 300, "7": "новый"}
    made = name_outputs(names, {})
    assert (made["4"], made["5"], made["7"]) == ("a_b_c.tif", "scene.tif", "новый.tif")
    assert len(made["6"]) < 200
    assert len({name.casefold() for name in made.values()}) == 7
    assert not {Path(name).stem.casefold() for name in made.values()} & {"town", "catalog"}
    assert name_outputs(dict(reversed(names.items())), {}) == made
    more = name_outputs({**names, "8": "a b"}, {"4": "a_b.tif", "9": "scene.tif"})
    assert more["4"] == "a_b.tif"
    assert more["8"].startswith("a_b-")
    assert more["5"].startswith("scene-")


def test_two_batches_do_not_write_into_one_folder(tmp_path: Path) -> None:
    from batch.state import State

    with State(tmp_path), pytest.raises(OutputError, match="one batch at a time"), State(tmp_path):
        pass
    with State(tmp_path) as state:
        assert state.latest == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-cloud", "20"], "--max-cloud"),
        (["--from", "June"], "a date must be ISO 8601, got 'June'"),
        (["--model", "no-such"], "no-such"),
        (["--cluster", "moon"], "a cluster must be none, local, cuda, slurm"),
        (["--scenes-at-once", "2"], "several scenes at once need a cluster"),
        (["--workers", "2"], "workers are counted where they start"),
        (["--max-memory", "2 loaves"], "a size must be a number with a unit"),
        (["--sensor", "no-such"], "a batch needs a scene at least"),
    ],
)
def test_usage_errors_end_with_two_and_write_no_output(
    scenes: Path, tmp_path: Path, run: Run, words: list[str], message: str
) -> None:
    outcome = run(scenes, tmp_path / "out", *words)
    assert outcome.code == USAGE
    assert message in outcome.said
    assert not list(tmp_path.glob("out/*.tif"))


def test_outputs_among_the_scenes_are_refused(scenes: Path, run: Run) -> None:
    outcome = run(scenes, scenes / "out")
    assert outcome.code == USAGE
    assert "outputs must not lie among the scenes" in outcome.said


def test_moments_are_utc() -> None:
    from batch.selection import parse_moment

    assert parse_moment("2024-06-01") == dt.datetime(2024, 6, 1, tzinfo=dt.UTC)
    assert parse_moment("2024-06-01", is_end=True) == dt.datetime(2024, 6, 1, 23, 59, 59, 999999, dt.UTC)
    assert parse_moment("2024-06-01T12:00:00", is_end=True) == dt.datetime(2024, 6, 1, 12, tzinfo=dt.UTC)
