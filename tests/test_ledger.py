from __future__ import annotations

import math
import multiprocessing
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ship_geo import ledger
from ship_geo.ledger import Entry, append, changes, kept, read, read_facts, rewrite, write_facts

ONE, TWO = Entry((0, 10, 0, 20), 7, {"n_clipped": 3}), Entry((10, 20, 0, 20), 2**32 - 1, {})


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("blocks-*.jsonl")
    return path


def test_noted_blocks_come_back(tmp_path: Path) -> None:
    assert read(tmp_path) == ()
    append(tmp_path, ONE)
    append(tmp_path, TWO)
    assert read(tmp_path) == (ONE, TWO)


def test_several_lines_of_one_block_are_all_given(tmp_path: Path) -> None:
    append(tmp_path, ONE)
    append(tmp_path, Entry(ONE.box, 8))
    assert [entry.checksum for entry in read(tmp_path)] == [7, 8]


@pytest.mark.parametrize("n_lost", range(1, 20))
def test_torn_line_is_left_out_and_the_next_one_is_not_lost(tmp_path: Path, n_lost: int) -> None:
    append(tmp_path, ONE)
    append(tmp_path, TWO)
    path = only_file(tmp_path)
    path.write_bytes(path.read_bytes()[: -1 - n_lost])
    assert read(tmp_path) == (ONE,)
    append(tmp_path, TWO)
    assert read(tmp_path) == (ONE, TWO)


@given(st.binary(max_size=60))
def test_any_bytes_in_between_do_no_harm(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    append(folder, ONE)
    with only_file(folder).open("ab") as file:
        file.write(noise)
    append(folder, TWO)
    assert read(folder) == (ONE, TWO)


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "1",
        '{"box": [0, 1, 2], "checksum": 1, "counts": {}}',
        '{"box": [0, 1, 2, 3], "checksum": null, "counts": {}}',
        '{"box": [0, 1, 2, 3], "checksum": 1, "counts": [1]}',
        '{"box": [0, 1, 2, 3], "checksum": 1}',
    ],
)
def test_line_of_another_shape_is_left_out(tmp_path: Path, line: str) -> None:
    append(tmp_path, ONE)
    with only_file(tmp_path).open("a") as file:
        file.write(f"{line}\n")
    assert read(tmp_path) == (ONE,)


def append_many(folder: Path, start: int) -> None:
    for number in range(start, start + 50):
        append(folder, Entry((number, number + 1, 0, 1), number, {"n_invalid": number}))


def test_lines_of_threads_do_not_mix(tmp_path: Path) -> None:
    threads = [threading.Thread(target=append_many, args=(tmp_path, start)) for start in range(0, 200, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entry.checksum for entry in read(tmp_path)) == list(range(200))


def test_processes_have_files_of_their_own(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    children = [context.Process(target=append, args=(tmp_path, entry)) for entry in (ONE, TWO)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert set(map(str, read(tmp_path))) == {str(ONE), str(TWO)}
    assert len(list(tmp_path.glob("blocks-*.jsonl"))) == 2


def test_rewriting_leaves_the_given_blocks_alone(tmp_path: Path) -> None:
    (tmp_path / "blocks-other-1.jsonl").write_text('{"box": [0, 1, 2, 3], "checksum": 1, "counts": {}}\n')
    append(tmp_path, ONE)
    rewrite(tmp_path, [TWO])
    assert read(tmp_path) == (TWO,)
    append(tmp_path, ONE)
    assert read(tmp_path) == (TWO, ONE)


def test_line_that_is_cut_short_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.os, "write", lambda _descriptor, data: len(data) - 1)
    with pytest.raises(OSError, match="cut short"):
        append(tmp_path, ONE)


def test_facts_come_back(tmp_path: Path) -> None:
    facts = {"scene": "高", "nodata": None, "shape": [3, 4]}
    assert read_facts(tmp_path) is None
    write_facts(tmp_path, facts)
    assert read_facts(tmp_path) == facts
    assert [path.name for path in tmp_path.iterdir()] == ["facts.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_facts_that_cannot_be_read_are_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "facts.json").write_text(content)
    assert read_facts(tmp_path) is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"a": 1}, {"a": 1}, ""),
        ({"nodata": math.nan, "shape": (1, 2)}, {"nodata": math.nan, "shape": [1, 2]}, ""),
        ({"bits": 11}, {"bits": 12}, "bits (11, now 12) changed"),
        ({"digest": "a" * 64}, {"digest": "b" * 64}, "digest changed"),
        ({"digest": "a" * 64, "b": 1}, {"digest": "b" * 64, "c": 1}, "digest, c and b changed"),
    ],
)
def test_changes_are_named(old: dict[str, object], new: dict[str, object], said: str) -> None:
    assert changes(old, new) == said


def test_what_is_kept_is_said(tmp_path: Path) -> None:
    assert kept(tmp_path) == ""
    write_facts(tmp_path, {"n_block": 40})
    assert kept(tmp_path) == ""
    for entry in (ONE, TWO, Entry(ONE.box, 9)):
        append(tmp_path, entry)
    assert kept(tmp_path) == f"2 of 40 blocks are finished and kept in {tmp_path}, and the same call goes on from there"
