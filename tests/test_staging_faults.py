from __future__ import annotations

import multiprocessing
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import staging_jobs
from staging_jobs import BLOCKS, FACTS, PROFILE, make_whole, mask, part, staging, values, write_parts

import ship_geo.writer.assembly
from ship_geo import ledger
from ship_geo.errors import ArgumentError, OutputError
from ship_geo.ledger import Entry
from ship_geo.writer import Staging, check_free, describe, discard

pytestmark = pytest.mark.slow

FOLDER = ".out.tif.ship-geo"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def process(work: Callable[..., None], *args: Any) -> Iterator[BaseProcess]:
    """Run something in a process of its own, which takes no part of this one but its arguments."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ship_geo.writer"])
    child = context.Process(target=work, args=args)
    child.start()
    try:
        yield child
    finally:
        child.kill()
        child.join()


def wait_until(is_so: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.005)


def n_done(target: Path) -> int:
    known = describe(target)
    return 0 if known is None else known["n_done"]


def assert_whole(target: Path) -> None:
    assert names_in(target.parent) == [target.name]
    with rasterio.open(target) as made:
        assert np.array_equal(made.dataset_mask() > 0, mask())
        assert np.array_equal(made.read(), np.where(mask(), values(), 0))


def leave_some(target: Path, n_block: int = 20, **options: Any) -> None:
    with staging(target, **options) as made:
        write_parts(made, BLOCKS[:n_block])


def test_undisturbed_run_is_whole_and_leaves_nothing(tmp_path: Path) -> None:
    with staging(tmp_path / "out.tif") as made:
        assert (made.done, made.todo, made.restarted_because, made.resume_hint) == (frozenset(), BLOCKS, "", "")
        write_parts(made, BLOCKS)
        assert made.done == frozenset(BLOCKS)
        made.add_tags({"LATE": "yes"})
        record = made.finish()
    n_invalid = int((~mask()).sum())
    assert made.totals() == {"n_invalid": n_invalid, "n_clipped": 2 * len(BLOCKS), "n_moved": len(BLOCKS)}
    assert (record.n_invalid, record.n_moved, record.nodata) == (n_invalid, len(BLOCKS), None)
    assert record.n_byte == (tmp_path / "out.tif").stat().st_size
    assert_whole(tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.tags()["LATE"] == "yes"


def test_run_that_is_killed_again_and_again_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    target, chance = tmp_path / "out.tif", random.Random(3)
    for _ in range(10):
        before = n_done(target)
        with process(staging_jobs.work_for_a_while, str(target), 15) as child:
            wait_until(lambda before=before: n_done(target) > before)
            time.sleep(chance.uniform(0, 0.03))
            child.kill()
            child.join()
            assert child.exitcode == -9
        assert n_done(target) > before
        assert names_in(tmp_path) == [FOLDER]
    n_noted = n_done(target)
    with staging(target) as made:
        assert len(made.done) == n_noted
        assert made.restarted_because == ""
        write_parts(made, made.todo)
        made.finish()
        assert made.totals()["n_clipped"] == 2 * len(BLOCKS)
    assert_whole(target)
    make_whole(tmp_path / "undisturbed.tif")
    assert target.read_bytes() == (tmp_path / "undisturbed.tif").read_bytes()


def test_run_that_is_killed_while_the_cog_is_made_has_no_block_to_do(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    with process(staging_jobs.finish_for_ever, str(target)):
        wait_until((tmp_path / FOLDER / "cog.tif").exists)
    assert names_in(tmp_path) == [FOLDER]
    with staging(target) as made:
        assert made.todo == ()
        made.finish()
    assert_whole(target)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError, SystemExit])
def test_what_is_finished_is_kept_whatever_ends_the_run(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "out.tif"

    def fail_halfway() -> None:
        with staging(target) as made:
            write_parts(made, BLOCKS[:20])
            raise error

    with pytest.raises(error) as caught:
        fail_halfway()
    hint = f"20 of {len(BLOCKS)} blocks are finished and kept in {tmp_path / FOLDER}, and the same call goes on"
    assert caught.value.__notes__[0].startswith(hint)
    with staging(target) as made:
        assert made.done == frozenset(BLOCKS[:20])
        write_parts(made, made.todo)
        made.finish()
        assert made.totals()["n_clipped"] == 2 * len(BLOCKS)
    assert_whole(target)


def test_run_without_a_finished_block_leaves_nothing(tmp_path: Path) -> None:
    def fail_early() -> None:
        with staging(tmp_path / "out.tif") as made:
            assert made.sink().can_see()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        fail_early()
    assert not hasattr(caught.value, "__notes__")
    assert names_in(tmp_path) == []


def test_tags_without_end_are_refused_before_any_work(tmp_path: Path) -> None:
    told = replace(PROFILE, tags={"A": "x" * 2**21})
    with pytest.raises(ArgumentError, match=r"tags of the output must fit in 1,048,576 bytes, got 2,0"):
        Staging(tmp_path / "out.tif", told, FACTS, BLOCKS).__enter__()
    assert names_in(tmp_path) == []


def test_torn_line_costs_its_block_only(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    leave_some(target)
    (lines,) = (tmp_path / FOLDER).glob("blocks-*.jsonl")
    lines.write_bytes(lines.read_bytes()[:-9])
    with staging(target) as made:
        assert made.done == frozenset(BLOCKS[:19])
        write_parts(made, made.todo)
        made.finish()
    assert_whole(target)


@pytest.mark.parametrize("name", ["staged.tif", "mask.tif"])
def test_flipped_byte_is_found_and_its_block_done_again(tmp_path: Path, name: str) -> None:
    target = tmp_path / "out.tif"
    leave_some(target)
    with staging(target) as made:
        pixels = made.sink().pixels
        file = {"staged.tif": pixels.raster, "mask.tif": pixels.mask}[name]
    n_byte = file.tile_bytes // (512 * 512)
    with file.path.open("r+b") as staged:
        staged.seek(file.start + (70 * 512 + 130) * n_byte)  # pixel (70, 130)
        flipped = staged.read(1)[0] ^ 1
        staged.seek(-1, 1)
        staged.write(bytes([flipped]))
    with staging(target) as made:
        assert set(BLOCKS[:20]) - made.done == {(60, 120, 120, 180)}
        write_parts(made, made.todo)
        made.finish()
    assert_whole(target)


def test_lost_pixels_are_found(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    leave_some(target)
    (tmp_path / FOLDER / "staged.tif").unlink()
    with staging(target) as made:
        assert made.done == frozenset()
        write_parts(made, made.todo)
        made.finish()
    assert_whole(target)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"facts": {**FACTS, "bits": 12}}, "bits (11, now 12) changed"),
        ({"facts": {**FACTS, "model_digest": "b" * 64, "new": 1}}, "model_digest and new changed"),
        ({"restart": True}, "a restart was asked for"),
    ],
)
def test_other_facts_start_anew_and_say_why(tmp_path: Path, changed: dict[str, Any], why: str) -> None:
    target = tmp_path / "out.tif"
    leave_some(target)
    with staging(target, **changed) as made:
        assert (made.done, made.restarted_because) == (frozenset(), why)
    assert names_in(tmp_path) == []


def test_other_blocks_and_other_pixels_start_anew(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    leave_some(target)
    with Staging(target, PROFILE, FACTS, BLOCKS[::-1]) as made:
        assert made.restarted_because == "blocks changed; the size of blocks follows from `max_memory` and `chunks`"
        write_parts(made, BLOCKS[:2])
    with Staging(target, replace(PROFILE, nodata=0), FACTS, BLOCKS[::-1]) as made:
        assert made.restarted_because == "nodata (null, now 0) changed"


def test_what_is_only_said_of_the_output_may_change(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    leave_some(target)
    with Staging(target, replace(PROFILE, tags={"A": "new"}, compress="zstd"), FACTS, BLOCKS) as made:
        assert len(made.done) == 20
        write_parts(made, made.todo)
        made.finish()
    assert_whole(target)
    with rasterio.open(target) as file:
        assert (file.tags()["A"], file.profile["compress"]) == ("new", "zstd")


def test_unreadable_facts_start_anew(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    leave_some(target)
    (tmp_path / FOLDER / "facts.json").write_text("{")
    with staging(target) as made:
        assert (made.done, made.restarted_because) == (frozenset(), "the record of the earlier run cannot be read")


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    with staging(target) as made:
        sink = made.sink()
        assert len(pickle.dumps(sink)) < 1000
        with (
            process(staging_jobs.write_with, sink, BLOCKS[::2]) as one,
            process(staging_jobs.write_with, sink, BLOCKS[1::2]) as two,
        ):
            for child in (one, two):
                child.join(30)
                assert child.exitcode == 0
        record = made.finish()
        assert made.totals()["n_clipped"] == 2 * len(BLOCKS)
    assert record.n_invalid == (~mask()).sum()
    assert_whole(target)


def test_worker_that_is_killed_loses_only_what_it_did_not_note(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    with staging(target) as made:
        with process(staging_jobs.write_with, made.sink(), BLOCKS[:100]):
            wait_until(lambda: n_done(target) > 5)
        with pytest.raises(ArgumentError, match=r"every block must be written, got \d+ of 180"):
            made.finish()
        assert len(made.done) > 5
        write_parts(made, made.todo)
        made.finish()
    assert_whole(target)


def test_block_that_is_not_as_its_worker_noted_it_is_found_before_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"

    def write_and_lose() -> None:
        with staging(target) as made:
            write_parts(made, BLOCKS[1:])
            noted = made.sink().write(BLOCKS[0], *part(BLOCKS[0]))
            made.accept(noted)
            assert made.todo == ()
            made.sink().pixels.write(BLOCKS[0], part(BLOCKS[0])[0] + np.uint16(1), part(BLOCKS[0])[1])
            made.finish()

    with pytest.raises(OutputError, match=r"on the disk as workers wrote them, got 1 that differ, \(0, 60, 0, 60\) "):
        write_and_lose()
    with staging(target) as made:
        assert made.todo == BLOCKS[:1]
        write_parts(made, made.todo)
        made.finish()
    assert_whole(target)


def test_sink_of_a_run_that_has_ended_refuses(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    with staging(target) as first:
        old = first.sink()
        write_parts(first, BLOCKS[:1])
    assert old.can_see()  # the folder is kept, and what a worker still brings is welcome
    with staging(target) as second:
        assert not old.can_see()
        with pytest.raises(OutputError, match="must go to the run that asked for them, got one for"):
            write_parts(old, BLOCKS[1:2])
        assert second.sink().can_see()
        write_parts(second, second.todo)
        second.finish()
        with pytest.raises(ArgumentError, match="until it is finished"):
            second.sink()
    with pytest.raises(OutputError, match="it has ended"):
        write_parts(old, BLOCKS[1:2])
    assert_whole(target)


def test_sink_elsewhere_does_not_see_the_folder(tmp_path: Path) -> None:
    with staging(tmp_path / "out.tif") as made:
        sink = made.sink()
        (tmp_path / "elsewhere").mkdir()
        assert not replace(sink, pixels=replace(sink.pixels, folder=tmp_path / "elsewhere")).can_see()


def test_second_job_is_refused_while_the_first_lives_and_goes_on_after_it_was_killed(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    with process(staging_jobs.work_for_a_while, str(target), 5) as child:
        wait_until(lambda: n_done(target) == 5)
        with pytest.raises(OutputError, match=rf"one job at a time, got .* in use by process {child.pid} on "):
            staging(target).__enter__()
        for look in (discard, check_free):
            with pytest.raises(OutputError, match="one job at a time"):
                look(target)
        assert n_done(target) == 5
    check_free(target)
    made = make_whole(target)
    assert made.restarted_because == ""
    assert_whole(target)


def test_run_whose_folder_was_taken_away_does_not_publish(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    with staging(target) as made:
        write_parts(made, BLOCKS)
        (tmp_path / FOLDER / "owner.json").unlink()
        with pytest.raises(OutputError, match="taken over by another"):
            made.finish()
    assert not target.exists()


def test_failure_at_the_end_keeps_old_file_and_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.tif"
    target.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(ship_geo.writer.assembly, "copy_to_cog", fail)
        with pytest.raises(OutputError, match=r"Input/output error for .*; check the disk.*; 180 of 180 blocks are"):
            make_whole(target, overwrite=True)
    assert target.read_bytes() == b"old"
    with staging(target, overwrite=True) as made:
        assert made.todo == ()
        made.finish()
    assert_whole(target)


def test_target_that_appears_meanwhile_stays_and_so_do_the_blocks(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"

    def lose_the_race() -> None:
        with staging(target) as made:
            write_parts(made, BLOCKS)
            target.write_text("of another job")
            made.finish()

    with pytest.raises(OutputError, match=r"must not exist, got .*out.tif, made while this job ran; choose"):
        lose_the_race()
    assert target.read_text() == "of another job"
    with staging(target, overwrite=True) as made:
        assert made.todo == ()


def test_block_that_is_none_of_the_jobs_is_refused(tmp_path: Path) -> None:
    with staging(tmp_path / "out.tif") as made:
        with pytest.raises(ArgumentError, match=r"one of the job's 180, got \(0, 60, 0, 61\); cut the output"):
            made.write((0, 60, 0, 61), np.ones((3, 60, 61), np.uint16))
        with pytest.raises(ArgumentError, match=r"one of the job's 180, got \(0, 1, 0, 1\)"):
            made.accept(Entry((0, 1, 0, 1), 0))
        with pytest.raises(ArgumentError, match="a block must be uint16 with 3 bands"):
            made.sink().write(BLOCKS[0], np.ones((3, 60, 60), np.int16))


def test_what_is_left_can_be_described_and_discarded(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    assert (describe(target), discard(target)) == (None, False)
    leave_some(target)
    known = describe(target)
    assert known is not None
    assert (known["folder"], known["n_done"], known["n_block"]) == (str(tmp_path / FOLDER), 20, len(BLOCKS))
    assert (known["facts"]["scene"], known["owner"]) == ("one", {})
    assert 20 * 60 * 60 * 7 <= known["n_byte"] < 20 * 2**20
    assert discard(target)
    assert names_in(tmp_path) == []


SMALL_DISK = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from staging_jobs import make_whole, staging
from test_staging_faults import assert_whole, n_done
from ship_geo.errors import OutputError
target = Path({folder!r}) / "out.tif"
filler = target.with_name("filler")
filler.write_bytes(bytes({filler}))
if {late!r}:
    # As if another program took the room after the check.
    import ship_geo.writer.staging
    ship_geo.writer.staging.check_output = lambda path, **_: Path(path)
try:
    make_whole(target)
except OutputError as error:
    print(error)
print(n_done(target), target.exists())
filler.unlink()
made = make_whole(target)
print(repr(made.restarted_because))
assert_whole(target)
"""


@pytest.mark.parametrize(
    ("filler", "late", "said"),
    [
        (7_000_000, False, "0 False"),  # refused before any work
        (6_500_000, True, "blocks"),  # in the midst of the blocks
        (2_300_000, True, "180 False"),  # while the COG is made
    ],
)
def test_job_on_a_full_disk_goes_on_when_there_is_room(tmp_path: Path, filler: int, late: bool, said: str) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["unshare", "-Urm", "sh", "-c", f'mount -t tmpfs -o size=10m t {folder} && exec "$@"', "sh"]
    try:
        can_mount = subprocess.run([*mount, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        can_mount = False
    if not can_mount:
        pytest.skip("a small disk cannot be mounted here: no unprivileged user namespaces")
    code = SMALL_DISK.format(tests=str(Path(__file__).parent), folder=str(folder), filler=filler, late=late)
    done = subprocess.run([*mount, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    message, state, restarted = done.stdout.strip().splitlines()
    assert message.startswith("the disk of the output must have room, got ")
    assert restarted == "''"
    if said == "blocks":
        count = int(state.split()[0])
        assert 0 < count < 180
        assert f"; {count} of 180 blocks are finished and kept in " in message
    else:
        assert state == said


def test_ledger_of_a_finished_block_says_where_and_what(tmp_path: Path) -> None:
    with staging(tmp_path / "out.tif") as made:
        noted = made.sink().write(BLOCKS[0], *part(BLOCKS[0]), {"n_clipped": 4})
        assert ledger.read(tmp_path / FOLDER) == (noted,)
    n_invalid = int((~mask()[:60, :60]).sum())
    assert (noted.box, noted.counts) == (BLOCKS[0], {"n_clipped": 4, "n_invalid": n_invalid})
