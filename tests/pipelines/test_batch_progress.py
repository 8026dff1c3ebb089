"""Progress of a batch: a line for each scene in a log, a bar for each in a terminal."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(PIPELINES)
    import batch_progress

    return batch_progress


def run(progress: Any, clock: list[float] | None = None) -> None:
    with progress:
        progress.event("town", "start", {"blocks": 4, "done": 1})
        for _ in range(3):
            if clock is not None:
                clock[0] += 6
            progress.event("town", "block", {"block": [0, 1, 0, 1]})
        progress.event("town", "finish", {})
        progress.end("town", "2.0 s")
        progress.end("city", "FAILED: no PAN")


def test_log_has_a_line_for_each_scene_and_one_every_ten_seconds(
    module: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    run(module.BatchProgress(2, enabled=True), clock)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "[0/2] town: 3 of 4 blocks, 0:12 since the start",
        "[1/2] town: 2.0 s",
        "[2/2] city: FAILED: no PAN",
    ]


def test_nothing_is_shown_unless_wanted(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(module.BatchProgress(2, enabled=False))
    assert capsys.readouterr() == ("", "")


def test_terminal_gets_bars(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    run(module.BatchProgress(2, enabled=True))
    shown = terminal.getvalue()
    assert "2/2" in shown
    assert "[2/2] city: FAILED: no PAN" in shown
