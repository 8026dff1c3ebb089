"""Batches: a scene that fails does not disturb the others, and whatever ends a batch, the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio
from deliveries import gaofen
from pystac.validation import JsonSchemaSTACValidator

from ship_geo import pansharpen_scene
from ship_geo.catalog import find_scenes, write_catalog
from ship_geo.cli.shell import run_command

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "pipelines" / "pansharpen_batch.py"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
N_SCENE, BAD = 20, 7
QUICK = ("--model", "brovey", "--register", "off")


def stem(number: int) -> str:
    """Tells sensor and day as vendors do."""
    return f"GF2_PMS1_E15.0_N41.9_201606{number + 1:02}_L1A{number:010}"


def write(folder: Path, write_pair: Callable[..., Any], number: int, shape: tuple[int, int] = (64, 64)) -> Any:
    return write_pair(folder / f"{number:02}", shape, seed=number, stem=stem(number), nodata=0)


def corrupt(path: Path) -> bytes:
    """Let a file open as ever, and fail where pixels are read; return what it was."""
    whole = path.read_bytes()
    with rasterio.open(path) as source:
        values, profile = source.read(), source.profile
    with rasterio.open(path, "w", **(profile | {"compress": "deflate"})) as target:
        target.write(values)
    with rasterio.open(path) as source:
        offset = int(source.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    packed = bytearray(path.read_bytes())
    packed[offset : offset + 64] = bytes(64)
    path.write_bytes(packed)
    return whole


def start(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True)


def pixels(path: Path) -> bytes:
    with rasterio.open(path) as dataset:
        values: bytes = dataset.read().tobytes()
    return values


def table(folder: Path) -> gpd.GeoDataFrame:
    return gpd.read_parquet(folder / "catalog.parquet").set_index("name")


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the script in this process and return exit code, standard output and standard error."""
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import pansharpen_batch

    def call(*words: object) -> tuple[int, str, str]:
        code = run_command(pansharpen_batch.main, [str(word) for word in words], "pansharpen_batch.py")
        out, err = capsys.readouterr()
        return code, out, err

    return call


# One bad scene ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_corrupt_scene_among_twenty_is_listed_and_the_others_are_made(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    pairs = [write(source, write_pair, number) for number in range(N_SCENE)]
    whole = corrupt(pairs[BAD].pan)
    process = start(source, out, *QUICK, "--json")
    said, err = process.communicate(timeout=240)
    assert process.returncode == 1, err
    summary = json.loads(said)
    assert (summary["n_done"], summary["n_failed"], summary["n_skipped"]) == (N_SCENE - 1, 1, 0)
    assert summary["n_pixel"] == (N_SCENE - 1) * 64 * 64
    (failure,) = summary["failed"]
    assert failure["name"] == stem(BAD)
    assert str(pairs[BAD].pan) in failure["message"]
    assert summary == json.loads((out / "summary.json").read_text())
    assert f"{stem(BAD)}: FAILED" in err
    others = [number for number in range(N_SCENE) if number != BAD]
    assert sorted(path.stem for path in out.glob("*.tif")) == [stem(number) for number in others]
    assert [path.name for path in out.glob(".*")] == []

    found = table(out)
    assert found.status.to_dict() == {stem(number): "failed" if number == BAD else "done" for number in range(N_SCENE)}
    assert found.crs == "EPSG:4326"
    assert found.geometry.is_valid.all()
    assert found.error[stem(BAD)] == failure["message"]
    assert (found.n_byte.dropna() == [(out / f"{stem(number)}.tif").stat().st_size for number in others]).all()

    # A second start does nothing; after a repair only the scene that failed is made.
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.tif")}
    code, said, _ = batch(source, out, *QUICK, "--json")
    again = json.loads(said)
    assert (code, again["n_done"], again["n_skipped"], again["n_failed"]) == (1, 0, N_SCENE - 1, 1)
    pairs[BAD].pan.write_bytes(whole)
    code, said, _ = batch(source, out, *QUICK, "--json", "--retry-failed")
    last = json.loads(said)
    assert (code, last["n_done"], last["n_skipped"], last["failed"]) == (0, 1, N_SCENE - 1, [])
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pansharpen_scene(pairs[BAD].pan, model="brovey") as alone:
        assert pixels(out / f"{stem(BAD)}.tif") == alone.to_numpy().tobytes()
    assert set(table(out).status) == {"done"}
    check_collection(out, N_SCENE)


def check_collection(out: Path, n_item: int) -> None:
    """The Collection is valid, has the extent of its Items, and each of them links back."""
    plain = json.loads((out / "collection.json").read_text())
    JsonSchemaSTACValidator().validate_core(plain, pystac.STACObjectType.COLLECTION, plain["stac_version"])
    collection = pystac.Collection.from_file(str(out / "collection.json"))
    items = list(collection.get_items())
    assert len(items) == n_item
    assert {item.get_collection().id for item in items} == {collection.id}
    assert plain["extent"]["temporal"]["interval"] == [["2016-06-01T00:00:00Z", "2016-06-20T23:59:59.999000Z"]]
    west, south, east, north = plain["extent"]["spatial"]["bbox"][0]
    for item in items:
        assert west <= item.bbox[0] < item.bbox[2] <= east
        assert south <= item.bbox[1] < item.bbox[3] <= north
        assert (out / item.assets["data"].href).is_file()


# Stopping and going on ----------------------------------------------------------------------------------------------


def stop(words: tuple[object, ...], log: Path, sign: signal.Signals) -> int:
    """Stop a batch in the middle of its second scene, five blocks further than it was, and return its exit code."""

    def n_block() -> int:
        return sum(event["event"] == "block" and event["scene"] == stem(1) for event in events(log))

    wanted = n_block() + 5
    process = start(*words)
    deadline = time.monotonic() + 240
    while n_block() < wanted:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(sign)
    process.communicate(timeout=60)
    return process.returncode


@pytest.mark.slow
def test_a_batch_that_was_killed_and_terminated_goes_on_in_the_middle_of_a_scene(
    write_pair: Callable[..., Any], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    source, out, log = tmp_path / "in", tmp_path / "out", tmp_path / "events.jsonl"
    write(source, write_pair, 0)
    pair = write(source, write_pair, 1, (480, 480))
    words = (source, out, "--model", tiny_checkpoint, "--register", "off", "--block", 48, "--log-json", log, "-q")
    assert stop(words, log, signal.SIGKILL) == -signal.SIGKILL
    assert [path.name for path in out.glob("*.tif")] == [f"{stem(0)}.tif"]
    assert stop(words, log, signal.SIGTERM) == 143
    assert [path.name for path in out.glob("*.tif")] == [f"{stem(0)}.tif"]
    assert table(out).status.to_dict() == {stem(0): "done", stem(1): "stopped"}
    assert json.loads((out / "summary.json").read_text())["n_pending"] == 1

    process = start(*words)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    found = table(out)
    assert set(found.status) == {"done"}
    assert 10 <= found.n_resumed[stem(1)] < found.n_block[stem(1)] == 100
    assert [path.name for path in out.glob(".*")] == []
    with pansharpen_scene(pair.pan, model=tiny_checkpoint) as alone:
        assert pixels(out / f"{stem(1)}.tif") == alone.to_numpy().tobytes()


def test_two_batches_do_not_work_in_one_folder(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path
) -> None:
    write(tmp_path / "in", write_pair, 0)
    import batch_records

    with batch_records.owning(tmp_path / "out"):
        code, _, err = batch(tmp_path / "in", tmp_path / "out", *QUICK)
    assert code == 1
    assert "one batch at a time works in a folder" in err
    assert batch(tmp_path / "in", tmp_path / "out", *QUICK)[0] == 0


# What is done anew --------------------------------------------------------------------------------------------------


def test_changed_files_parameters_and_lost_outputs_are_made_anew_and_say_why(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    pair = write(source, write_pair, 0)
    name = stem(0)
    assert batch(source, out, *QUICK)[0] == 0
    first = pixels(out / f"{name}.tif")

    def why(*words: object) -> str:
        code, said, err = batch(source, out, *words, "--dry-run", "--json")
        assert code == 0, err
        (scene,) = json.loads(said)["scenes"]
        return f"{scene['action']}: {scene['why']}"

    assert why(*QUICK) == "skip: done and unchanged"
    assert why("--model", "exp", "--register", "off") == 'make: model ("brovey", now "exp") changed'
    assert batch(source, out, "--model", "exp", "--register", "off")[0] == 0
    second = pixels(out / f"{name}.tif")
    assert first != second
    (out / f"{name}.tif").unlink()
    assert why("--model", "exp", "--register", "off") == "make: its output is not there any more"
    assert batch(source, out, "--model", "exp", "--register", "off")[0] == 0
    assert pixels(out / f"{name}.tif") == second
    write_pair(pair.pan.parent, (64, 64), seed=99, stem=name, nodata=0)
    assert why("--model", "exp", "--register", "off") == "make: scene changed"
    assert why("--model", "exp", "--register", "off", "--restart") == "make: a restart was asked for"


def test_what_was_made_is_not_made_again_because_its_source_was_away(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    pair = write(source, write_pair, 0)
    assert batch(source, out, *QUICK)[0] == 0
    write_catalog(find_scenes(source), tmp_path / "scenes.gpkg")
    before = (out / f"{stem(0)}.tif").stat().st_mtime_ns
    pair.pan.rename(tmp_path / "away.tif")
    assert batch(tmp_path / "scenes.gpkg", out, *QUICK)[0] == 1
    assert set(table(out).status) == {"failed"}
    (tmp_path / "away.tif").rename(pair.pan)
    assert batch(tmp_path / "scenes.gpkg", out, *QUICK, "--retry-failed")[0] == 0
    assert set(table(out).status) == {"done"}
    assert (out / f"{stem(0)}.tif").stat().st_mtime_ns == before


def test_stopping_while_looking_at_what_is_done_leaves_it_done(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in", write_pair, 0)
    assert batch(tmp_path / "in", tmp_path / "out", *QUICK)[0] == 0
    import batch_work

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(batch_work.Batch, "_open", interrupt)
        assert batch(tmp_path / "in", tmp_path / "out", *QUICK)[0] == 130
    assert set(table(tmp_path / "out").status) == {"done"}
    code, said, _ = batch(tmp_path / "in", tmp_path / "out", *QUICK, "--json")
    assert (code, json.loads(said)["n_skipped"]) == (0, 1)


def test_a_file_of_somebody_else_is_not_replaced(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path
) -> None:
    write(tmp_path / "in", write_pair, 0)
    out = tmp_path / "out"
    out.mkdir()
    (out / f"{stem(0)}.tif").write_text("mine")
    for words in ((), ("--retry-failed",)):
        code, said, _ = batch(tmp_path / "in", out, *QUICK, *words)
        assert code == 1
        assert "the output must not exist" in said
        assert (out / f"{stem(0)}.tif").read_text() == "mine"
    assert batch(tmp_path / "in", out, *QUICK, "--retry-failed", "--overwrite")[0] == 0


def test_dry_run_tells_what_would_be_done_and_writes_nothing(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path
) -> None:
    for number in range(2):
        write(tmp_path / "in", write_pair, number)
    code, said, _ = batch(tmp_path / "in", tmp_path / "out", *QUICK, "--dry-run", "--to", "2016-06-01")
    assert code == 0
    assert said.splitlines() == [
        f"make       {stem(0)}.tif  not done yet  ({tmp_path}/in/00/{stem(0)}_PAN.tif)",
        "1 of 1 scenes to be made, 0.000 GB before compression, 1 left out by time",
    ]
    assert not (tmp_path / "out").exists()


def test_what_failed_is_tried_again_when_its_files_or_the_options_changed(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path
) -> None:
    pair = write(tmp_path / "in", write_pair, 0)
    words = (tmp_path / "in", tmp_path / "out", *QUICK)
    small = ("--max-memory", "1MiB")
    code, said, _ = batch(*words, *small)
    assert (code, "must be at least" in said) == (1, True), said
    code, said, err = batch(*words, *small)
    assert code == 1
    assert f"{stem(0)}: failed before, not tried again; pass --retry-failed: " in err
    assert "not tried again; pass --retry-failed: " in said
    code, said, _ = batch(*words, "--dry-run")
    assert 'failed before; max_memory ("1MiB", now null) changed' in said
    assert batch(*words)[0] == 0

    whole = corrupt(pair.pan)
    assert batch(*words)[0] == 1
    assert "not tried again" in batch(*words)[2]
    assert "not tried again" not in batch(*words, "--restart")[2]
    pair.pan.write_bytes(whole)
    assert batch(*words)[0] == 0


# Which scenes -------------------------------------------------------------------------------------------------------


def test_scenes_of_one_name_get_outputs_that_depend_on_nothing_but_their_source(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path
) -> None:
    source = tmp_path / "in"
    for number, place in enumerate(("a", "b", "c")):
        write_pair(source / place, (64, 64), seed=number, stem="town" if place != "c" else "collection")
    names = set()
    for out in ("first", "second"):
        assert batch(source, tmp_path / out, *QUICK, "-q")[0] == 0
        names.add(tuple(sorted(path.name for path in (tmp_path / out).glob("*.tif"))))
    ((one, other, third),) = names
    assert one.startswith("collection-")
    assert {other[:5], third[:5]} == {"town-"}
    found = gpd.read_parquet(tmp_path / "first" / "catalog.parquet")
    for row in found.itertuples():
        with pansharpen_scene(row.source, model="brovey") as alone:
            assert pixels(tmp_path / "first" / row.output) == alone.to_numpy().tobytes()


def test_a_scene_keeps_its_name_when_another_of_that_name_comes(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    write_pair(source / "b", (64, 64), stem="town")
    assert batch(source, out, *QUICK)[0] == 0
    write_pair(source / "a", (64, 64), seed=1, stem="town")
    code, said, _ = batch(source, out, *QUICK, "--json")
    assert code == 0
    assert (json.loads(said)["n_done"], json.loads(said)["n_skipped"]) == (1, 1)
    found = gpd.read_parquet(out / "catalog.parquet")
    assert sorted(Path(row.source).parent.name + row.output[4:5] for row in found.itertuples()) == ["a-", "b."]


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg"])
def test_a_table_of_scenes_may_be_moved_filtered_and_completed(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path, suffix: str
) -> None:
    source = tmp_path / "in"
    for number in range(3):
        write_pair(source / f"{number}", (64, 64), seed=number, stem=f"town{number}")
    found = find_scenes(source).iloc[:2].copy()
    found["source"] = [str(Path(path).relative_to(tmp_path)) for path in found.source]
    found["time"] = np.array(["2020-01-02T03:04:05", "2021-01-02T03:04:05"], "datetime64[ms]")
    found["time"] = found.time.dt.tz_localize("UTC")
    write_catalog(found, tmp_path / f"scenes{suffix}")
    words = ("--from", "2020-06-01", "--max-cloud", "20", "--keep-unknown", "--json")
    code, said, _ = batch(tmp_path / f"scenes{suffix}", tmp_path / "out", *QUICK, *words)
    assert code == 0
    assert json.loads(said)["left_out"] == {"time": 1}
    item = pystac.Item.from_file(str(tmp_path / "out" / "town1.json"))
    assert item.datetime.isoformat() == "2021-01-02T03:04:05+00:00"


def test_a_scene_that_a_table_lists_twice_is_made_once(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path
) -> None:
    write(tmp_path / "in", write_pair, 0)
    found = find_scenes(tmp_path / "in")
    write_catalog(found.loc[[0, 0, 0]].reset_index(drop=True), tmp_path / "scenes.gpkg")
    code, said, _ = batch(tmp_path / "scenes.gpkg", tmp_path / "out", *QUICK)
    assert code == 0
    assert "1 scenes done, 0 skipped, 0 failed, 2 left out by repetition" in said
    assert [path.name for path in (tmp_path / "out").glob("*.tif")] == [f"{stem(0)}.tif"]


def test_an_area_selects_the_scenes_that_touch_it(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path
) -> None:
    pair = write(tmp_path / "in", write_pair, 0)
    far = write(tmp_path / "in", write_pair, 1)
    for path in (far.pan, far.ms):
        with rasterio.open(path, "r+") as file:
            file.transform = rasterio.Affine.translation(9000, 0) @ file.transform
    with rasterio.open(pair.pan) as file:
        area = gpd.GeoSeries.from_wkt([f"POINT ({file.bounds.left + 5} {file.bounds.top - 5})"], crs=file.crs)
    area.to_file(tmp_path / "aoi.gpkg")
    code, said, _ = batch(tmp_path / "in", tmp_path / "out", *QUICK, "--aoi", tmp_path / "aoi.gpkg", "--json")
    assert code == 0
    assert json.loads(said)["left_out"] == {"aoi": 1}
    assert [path.stem for path in (tmp_path / "out").glob("*.tif")] == [stem(0)]


def test_what_cannot_be_opened_is_a_failure_whatever_the_filters(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path
) -> None:
    pair = write(tmp_path / "in", write_pair, 0)
    whole = pair.ms.read_bytes()
    pair.ms.write_bytes(whole[:900])
    words = (tmp_path / "in", tmp_path / "out", *QUICK, "--from", "2016-06-02", "--json")
    code, said, _ = batch(*words)
    assert code == 1
    assert json.loads(said)["n_failed"] == 1
    pair.ms.write_bytes(whole)
    code, said, _ = batch(*words, "--retry-failed")
    assert code == 0
    assert json.loads(said)["left_out"] == {"time": 1}
    assert not list((tmp_path / "out").glob("*.tif"))


def test_archives_that_nobody_looked_into_are_opened_and_later_skipped_by_their_size_and_time(
    batch: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    gaofen.gf2_tar_new(tmp_path / "in", kind="tar.gz")
    monkeypatch.setattr("ship_geo.catalog.entries.LARGE_ARCHIVE", 0)
    code, said, err = batch(tmp_path / "in", tmp_path / "out", *QUICK, "--json")
    assert code == 0, err + said
    (output,) = (tmp_path / "out").glob("*.tif")
    assert not output.stem.endswith("tar.gz")
    import batch_work

    monkeypatch.setattr(batch_work.Batch, "_open", None)
    code, said, err = batch(tmp_path / "in", tmp_path / "out", *QUICK, "--json")
    assert (code, json.loads(said)["n_skipped"]) == (0, 1), err


# Wrong usage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--sensor", "Sputnik"), 2, "sensor must be one of"),
        (("--from", "yesterday"), 2, "a time must be ISO 8601"),
        (("--max-cloud", "200"), 2, "--max-cloud must be a percentage from 0 to 100, got 200"),
        (("--aoi", "gone.gpkg"), 2, "--aoi must exist, got gone.gpkg"),
        (("--dem", "gone.tif"), 2, "--dem must exist, got gone.tif"),
        (("--max-memory", "abc"), 2, "for instance --max-memory 2GiB"),
        (("--max-gpu-memory", "0"), 2, "for instance --max-gpu-memory 2GiB"),
        (("--device", "abacus"), 2, "use --device cpu"),
        (("--precision", "half"), 2, "the precision is"),
        (("--model", "gone"), 2, "gone"),
        (("--jobs", "2"), 2, "pass --cluster local"),
        (("--cluster-config", "x.toml"), 2, "say which, e.g. --cluster slurm"),
        (("--cluster", "moon"), 2, "a cluster must be local, cuda, slurm"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_made(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path, words: Any, code: int, text: str
) -> None:
    write(tmp_path / "in", write_pair, 0)
    options = words if "--model" in words else (*QUICK, *words)
    got, _, err = batch(tmp_path / "in", tmp_path / "out", *options)
    assert (got, text in err) == (code, True), err
    assert not list(tmp_path.glob("out/*.tif"))
    assert not list(tmp_path.glob("out/records/*.json"))


def test_outputs_need_a_folder_of_their_own(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path
) -> None:
    write(tmp_path / "in", write_pair, 0)
    before = sorted(tmp_path.rglob("*"))
    for out in (tmp_path / "in", tmp_path):
        code, _, err = batch(tmp_path / "in", out, *QUICK)
        assert (code, "the outputs need a folder of their own" in err) == (2, True), err
    (tmp_path / "none").mkdir()
    code, _, err = batch(tmp_path / "none", tmp_path / "out", *QUICK)
    assert (code, f"got none in {tmp_path}/none" in err) == (1, True), err
    (tmp_path / "none").rmdir()
    assert sorted(tmp_path.rglob("*")) == before
    assert batch(tmp_path / "in", tmp_path / "in" / "out", *QUICK)[0] == 0


def test_neither_folder_nor_table_is_an_error_with_a_remedy(batch: Callable[..., Any], tmp_path: Path) -> None:
    code, _, err = batch(tmp_path / "gone.parquet", tmp_path / "out", *QUICK)
    assert code == 2
    assert f"SCENES must exist, got {tmp_path}/gone.parquet" in err
    (tmp_path / "text.gpkg").write_text("none")
    code, _, err = batch(tmp_path / "text.gpkg", tmp_path / "out", *QUICK)
    assert code == 1
    assert "a table of scenes must be a file that GeoPandas reads" in err
    gpd.GeoDataFrame({"id": [1]}, geometry=gpd.GeoSeries.from_wkt(["POINT (0 0)"]), crs=4326).to_file(
        tmp_path / "a.gpkg"
    )
    code, _, err = batch(tmp_path / "a.gpkg", tmp_path / "out", *QUICK)
    assert code == 1
    assert "got none name, source" in err


# Clusters -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_workers_over_tcp_make_the_same_files(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path
) -> None:
    source, file = tmp_path / "in", tmp_path / "scheduler.json"
    for number in range(4):
        write(source, write_pair, number, (96, 96))
    common = ("--scheduler-file", str(file), "--no-dashboard")
    commands = [("scheduler", "--host", "127.0.0.1", "--port", "0")]
    commands += [("worker", "--no-nanny", "--nthreads", "1", "--memory-limit", "0")] * 2
    quiet = subprocess.DEVNULL
    started = [
        subprocess.Popen([sys.executable, "-m", "dask", *words, *common], env=ENVIRONMENT, stdout=quiet, stderr=quiet)
        for words in commands
    ]
    try:
        deadline = time.monotonic() + 120
        while not file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        words = (source, tmp_path / "there", *QUICK, "--block", 48, "--json")
        code, said, err = batch(*words, "--cluster", file, "--log-json", tmp_path / "log")
        assert code == 0, err
        assert json.loads(said)["n_done"] == 4
        # Once the cluster has gone, scenes are not to blame.
        for process in started:
            process.kill()
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert batch(source, tmp_path / "here", *QUICK, "--block", 96)[0] == 0
    for number in range(4):
        assert pixels(tmp_path / "there" / f"{stem(number)}.tif") == pixels(tmp_path / "here" / f"{stem(number)}.tif")
    told = events(tmp_path / "log")
    assert {event["scene"] for event in told if event["event"] == "block"} == {stem(number) for number in range(4)}
    assert sum(event["event"] == "block" for event in told) == 16


def test_loss_of_the_cluster_stops_the_batch_and_blames_no_scene(
    write_pair: Callable[..., Any], batch: Callable[..., Any], tmp_path: Path
) -> None:
    from distributed import LocalCluster

    for number in range(3):
        write(tmp_path / "in", write_pair, number)
    import batch_work

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=":0"
    ) as one:
        make = batch_work.Batch.make

        def lose(self: Any, step: Any, client: Any, log: Any) -> Any:
            if step.stem == stem(1):
                client.close()
            return make(self, step, client, log)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batch_work.Batch, "make", lose)
            words = (tmp_path / "in", tmp_path / "out", *QUICK, "--cluster", one.scheduler_address, "--jobs", 1)
            code, _, err = batch(*words)
        assert code == 1
        assert "the cluster must stay while a batch runs" in err
        assert table(tmp_path / "out").status.to_dict() == {
            stem(0): "done",
            stem(1): "stopped",
            stem(2): "pending",
        }
        assert batch(*words)[0] == 0
    assert set(table(tmp_path / "out").status) == {"done"}
