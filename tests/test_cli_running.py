"""What surrounds `ship-geo pansharpen`: a record, a log of events, a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from deliveries.scenes import DrawnPair, write_pair
from distributed import LocalCluster

from ship_geo.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> DrawnPair:
    return write_pair(tmp_path_factory.mktemp("scene"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line and return exit code, standard output and standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_record_and_log_tell_what_was_done(run: Run, scene: DrawnPair, tmp_path: Path) -> None:
    record, log = tmp_path / "record.json", tmp_path / "events.jsonl"
    words = ("pansharpen", "--pan", scene.pan, "--ms", scene.ms, "--model", "brovey", "-q")
    code, _, err = run(*words, "-o", tmp_path / "a.tif", "--record", record, "--log-json", log)
    assert (code, err) == (0, "")
    told = json.loads(record.read_text())
    assert told["status"] == "done"
    assert told["started"] < told["ended"]
    assert told["n_byte"] == (tmp_path / "a.tif").stat().st_size
    assert (told["n_pixel"], told["n_retry"], told["n_invalid"]) == (128 * 128, 0, 0)
    assert told["n_clipped"] >= 0
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events] == ["start", "statistics", "block", "finish", "done"]
    assert events[0]["blocks"] == told["n_block"] == 1

    code, _, err = run(*words, "-o", tmp_path / "b.tif", "--record", record)
    assert code == 1
    assert "the output must not exist" in err
    assert not (tmp_path / "b.tif").exists()


def test_record_and_log_tell_why_a_run_failed(run: Run, scene: DrawnPair, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("mine")
    words = ("--model", "brovey", "-o", tmp_path / "a.tif", "--record", tmp_path / "record.json", "--log-json", "-")
    code, _, err = run("pansharpen", "--pan", scene.pan, "--ms", scene.ms, *words)
    assert code == 1
    told = json.loads((tmp_path / "record.json").read_text())
    assert (told["status"], told["error"]["type"]) == ("failed", "OutputError")
    event = json.loads(err.splitlines()[0])
    assert (event["event"], event["level"], event["type"]) == ("failed", "error", "OutputError")
    assert event["message"] == told["error"]["message"]


@pytest.mark.parametrize("option", ["--record", "--log-json", "--save-weights"])
@pytest.mark.parametrize("taken", ["pan", "ms", "out", "item"])
def test_no_file_of_a_run_takes_the_place_of_another(
    run: Run, scene: DrawnPair, tmp_path: Path, option: str, taken: str
) -> None:
    output, item = tmp_path / "a.tif", tmp_path / "a.json"
    place = {"pan": scene.pan, "ms": scene.ms, "out": output, "item": item}[taken]
    before = [path.read_bytes() for path in (scene.pan, scene.ms)]
    words = ("--overwrite", "--stac", "--time", "2024-05-01", "-o", output, option, place)
    for more in ((), ("--dry-run",)):
        code, _, err = run("pansharpen", "--pan", scene.pan, "--ms", scene.ms, "--model", "exp", *words, *more)
        assert code == 2, err
        assert f"{place} for {option}" in err
    assert before == [path.read_bytes() for path in (scene.pan, scene.ms)]
    assert not list(tmp_path.iterdir())


def test_names_that_are_relative_are_compared_too(
    run: Run, scene: DrawnPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("pansharpen", "--pan", scene.pan, "--ms", scene.ms, "--model", "exp", "-o", "a.tif")
    for more in (("--record", "./a.tif"), ("--log-json", tmp_path / "a.tif"), ("--stac", "--record", "a.json")):
        code, _, err = run(*words, *more)
        assert (code, "files to be written need a name each" in err) == (2, True), err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["mine", '{\n  "my": "json"\n}'])
def test_log_is_not_added_to_what_is_no_log(run: Run, scene: DrawnPair, tmp_path: Path, text: str) -> None:
    log = tmp_path / "notes.txt"
    log.write_text(text)
    words = ("--pan", scene.pan, "--ms", scene.ms, "--model", "exp", "-o", tmp_path / "a.tif")
    code, _, err = run("pansharpen", *words, "--log-json", log)
    assert (code, "events are added to a log of events only" in err) == (2, True), err
    assert log.read_text() == text


def test_record_replaces_no_file_of_another_kind_whatever_is_asked_for(
    run: Run, scene: DrawnPair, tmp_path: Path
) -> None:
    (tmp_path / "scene.imd").write_text('satId = "WV02";')
    words = ("--model", "exp", "-o", tmp_path / "a.tif", "--record", tmp_path / "scene.imd", "--overwrite")
    code, _, err = run("pansharpen", "--pan", scene.pan, "--ms", scene.ms, *words)
    assert (code, "a record replaces a JSON file only" in err) == (2, True), err
    assert (tmp_path / "scene.imd").read_text() == 'satId = "WV02";'


def test_record_of_a_run_that_failed_does_not_stand_in_the_way(run: Run, scene: DrawnPair, tmp_path: Path) -> None:
    output, record = tmp_path / "a.tif", tmp_path / "record.json"
    words = ("pansharpen", "--pan", scene.pan, "--ms", scene.ms, "--model", "exp", "-o", output, "--record", record)
    output.write_text("mine")
    for _ in range(2):
        assert run(*words)[0] == 1
        assert json.loads(record.read_text())["error"]["message"].startswith("the output must not exist")
    output.unlink()
    assert run(*words)[0] == 0
    assert json.loads(record.read_text())["status"] == "done"
    output.unlink()
    assert run(*words)[0] == 1
    assert not output.exists()


def test_log_on_the_standard_error_is_nothing_but_events(run: Run, scene: DrawnPair, tmp_path: Path) -> None:
    words = ("--model", "exp", "-o", tmp_path / "a.tif", "--log-json", "-", "--json")
    code, out, err = run("pansharpen", "--pan", scene.pan, "--ms", scene.ms, *words)
    assert code == 0
    assert json.loads(out)["model"] == "exp"
    assert {json.loads(line)["event"] for line in err.splitlines()} >= {"start", "block", "done"}


def test_cluster_by_its_address_makes_the_same_file_under_names_for_the_dashboard(
    run: Run, scene: DrawnPair, tmp_path: Path
) -> None:
    words = ("pansharpen", "--pan", scene.pan, "--ms", scene.ms, "--model", "brovey")
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=":0"
    ) as one:
        code, _, err = run(*words, "-o", tmp_path / "there.tif", "--cluster", one.scheduler_address)
        assert code == 0, err
        assert {"ship-statistics", "ship-sharpen", "ship-job"} <= set(one.scheduler.task_prefixes)
    assert f"cluster: scheduler {one.scheduler_address}" in err
    assert run(*words, "-o", tmp_path / "here.tif")[0] == 0
    assert (tmp_path / "there.tif").read_bytes() == (tmp_path / "here.tif").read_bytes()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--cluster", "moon"), "a cluster must be local, cuda, slurm"),
        (("--cluster-config", "a.toml"), "say which, e.g. --cluster slurm"),
        (("--cluster", "local", "--cluster-config", "gone.toml"), "must be a TOML file"),
    ],
)
def test_cluster_that_cannot_be_is_wrong_usage(
    run: Run, scene: DrawnPair, tmp_path: Path, words: tuple[str, ...], text: str
) -> None:
    code, _, err = run("pansharpen", "--pan", scene.pan, "--ms", scene.ms, "-o", tmp_path / "a.tif", *words)
    assert (code, text in err) == (2, True), err
