from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from ship_geo import progress
from ship_geo.progress import format_duration, track_blocks


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_disabled_progress_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with track_blocks(100, enabled=False) as advance:
        advance(100)
    assert capsys.readouterr() == ("", "")


def test_log_gets_a_line_at_most_every_ten_seconds(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with track_blocks(100_000_000, enabled=True) as advance:
        for _ in range(100):
            clock.now += 1.0
            advance(1_000_000)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 10
    assert lines[0] == "sharpening: 10%, 1.00 megapixels/s, 1:30 left"
    assert lines[-1] == "sharpening: 100%, 1.00 megapixels/s, 1:40 in all"


def test_short_run_leaves_one_line_in_a_log(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with track_blocks(1_000_000, enabled=True) as advance:
        for _ in range(4):
            clock.now += 0.5
            advance(250_000)
    assert capsys.readouterr().err == "sharpening: 100%, 0.50 megapixels/s, 0:02 in all\n"


def test_failed_run_does_not_claim_to_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with track_blocks(10, enabled=True) as advance:
            advance(5)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert capsys.readouterr().err == ""


def test_advance_may_be_called_from_many_threads(capsys: pytest.CaptureFixture[str]) -> None:
    with track_blocks(8000, enabled=True) as advance, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: [advance(1) for _ in range(1000)], range(8)))
    assert "sharpening: 100%" in capsys.readouterr().err


def test_terminal_gets_a_bar_with_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with track_blocks(4_000_000, enabled=True) as advance:
        for _ in range(4):
            advance(1_000_000)
    shown = terminal.getvalue()
    assert "100%" in shown
    assert "megapixels/s" in shown


def test_scene_without_pixels_does_not_divide_by_zero(capsys: pytest.CaptureFixture[str]) -> None:
    with track_blocks(0, enabled=True):
        pass
    assert "0%" in capsys.readouterr().err


def test_rich_is_loaded_for_terminals_only() -> None:
    code = (
        "import sys; from ship_geo.progress import track_blocks\n"
        "with track_blocks(1, enabled=True) as advance: advance(1)\n"
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")])
def test_durations_read_like_a_clock(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown
