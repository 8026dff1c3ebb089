"""Small files: complete or absent, and nothing of killed processes stays beside them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ship_geo.errors import OutputError
from ship_geo.writer.aside import STALE_SECONDS, aside


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "made.json"
    with aside(target, overwrite=False) as made:
        made.write_text("{")
        assert not target.exists()
        made.write_text("{}")
    assert target.read_text() == "{}"
    assert names(tmp_path) == ["made.json"]


def test_error_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    target = tmp_path / "made.json"
    target.write_text("old")

    def fail() -> None:
        with aside(target, overwrite=True) as made:
            made.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["made.json"]


def test_file_that_appeared_meanwhile_is_not_replaced_unasked(tmp_path: Path) -> None:
    target = tmp_path / "made.json"

    def write_both() -> None:
        with aside(target, overwrite=False) as made:
            made.write_text("mine")
            target.write_text("theirs")

    with pytest.raises(OutputError, match="made while this job ran"):
        write_both()
    assert target.read_text() == "theirs"


def test_what_a_killed_process_left_is_removed_and_what_another_is_writing_is_not(tmp_path: Path) -> None:
    target = tmp_path / "made[1].json"
    left, busy, foreign = (
        tmp_path / name for name in (".made[1].json.part-old", ".made[1].json.part-new", ".made1.json.part-old")
    )
    for folder in (left, busy, foreign):
        folder.mkdir()
        (folder / "half").write_text("half")
    past = time.time() - STALE_SECONDS - 60
    for folder in (left, foreign):
        os.utime(folder, (past, past))
    with aside(target, overwrite=False) as made:
        made.write_text("whole")
    assert names(tmp_path) == sorted([busy.name, foreign.name, target.name])
