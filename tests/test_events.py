"""Structured logs: a line is an event, whole lines from any thread, and no run ends for a log."""

from __future__ import annotations

import datetime as dt
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ship_geo.errors import OutputError
from ship_geo.events import json_log


def test_line_is_an_object_with_time_level_and_facts(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for event in ("start", "retry", "failed"):
        with json_log(path) as log:
            log(event, blocks=4, share=float("nan"), path=tmp_path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("start", "info"),
        ("retry", "warning"),
        ("failed", "error"),
    ]
    assert {(line["blocks"], line["share"], line["path"]) for line in lines} == {(4, None, str(tmp_path))}
    ages = [dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(line["time"]) for line in lines]
    assert all(dt.timedelta() <= age < dt.timedelta(minutes=1) for age in ages)


def test_lines_of_threads_do_not_mix(tmp_path: Path) -> None:
    with json_log(tmp_path / "log") as log, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: log("block", number=number, text="x" * 5000), range(200)))
    numbers = [json.loads(line)["number"] for line in (tmp_path / "log").read_text().splitlines()]
    assert sorted(numbers) == list(range(200))


def test_minus_is_the_standard_error_and_none_is_no_log(capsys: pytest.CaptureFixture[str]) -> None:
    for where in ("-", None):
        with json_log(where) as log:
            log("start")
    out, err = capsys.readouterr()
    assert out == ""
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["start"]


def test_log_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="a log must be writable"), json_log(tmp_path / "gone" / "log"):
        pass


def test_log_that_nobody_reads_any_more_is_given_up_with_a_warning(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    with json_log(tmp_path / "log") as log:
        os.close(reader)
        with pytest.warns(UserWarning, match=r"the log must be writable, got .*Broken pipe"):
            log("start")
        log("block")


def test_log_never_replaces_an_older_one(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"event": "older"}\n')
    with json_log(tmp_path / "log") as log:
        log("start")
    assert [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()] == ["older", "start"]
