"""Making an output in blocks that are kept: an interrupted job goes on where it stopped, workers write themselves.

Blocks go to tiles, or to shards of a Zarr store, in a hidden folder beside the target, each noted with its checksum;
`Staging.finish` makes the COG, or describes the store, and gives it its name. A run that finds the folder of another
with the same facts verifies the blocks that are noted and does the rest; with other facts it starts anew and says why.
The scene is never held in memory. Two conventions could surprise. However a run ends, the folder is kept if there is a
finished block in it, else it goes; a finished job leaves none. And blocks come with nodata in place: nothing here
changes a value.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ship_geo import ledger
from ship_geo._typing import Box, PathLike
from ship_geo.errors import ArgumentError, OutputError
from ship_geo.ledger import Entry
from ship_geo.provenance import software_version
from ship_geo.raster import Mask, Values
from ship_geo.writer.assembly import WriteRecord, lay_out, prepare, publish
from ship_geo.writer.checks import Format, check_output
from ship_geo.writer.chunks import ZarrPixels
from ship_geo.writer.faults import disk_use, failures
from ship_geo.writer.folder import StagingFolder, folder_of
from ship_geo.writer.profile import OutputProfile
from ship_geo.writer.sink import BlockSink
from ship_geo.writer.tiles import StagedPixels

Pixels = StagedPixels | ZarrPixels

_N_THREAD = 4  # that verify blocks
_LAYOUT = 1  # of the staged pixels; another number makes what older versions left useless


class Staging:
    """Where the blocks of a job go until its output is whole; a context.

    Entering it finds out what is `done`. Leaving it, however that comes, keeps what is finished for the next run with
    the same arguments; without a finished block, nothing stays. `finish` puts the output at the target and leaves
    nothing beside it.

    Parameters
    ----------
    target
        The output.
    profile
        What it looks like. Only what concerns pixels must be the same when a job is resumed; tags may differ.
    facts
        All that the pixels depend on: scene, model, parameters; values that JSON can hold, one key per cause, since
        keys are what a user is told. The version of the package, data type, shape and blocks are added.
    blocks
        (row0, row1, col0, col1), every output pixel in exactly one.
    overwrite
        Whether an existing file may be replaced, at the very end.
    inputs
        Files that must never be replaced.
    restart
        Whether to drop what an earlier run left.
    to
        ``"cog"`` or ``"zarr"``, of which each block becomes one shard.

    Attributes
    ----------
    restarted_because
        Why what an earlier run left could not be used, as a clause without a final stop; empty if it was, or if
        nothing was there.

    Raises
    ------
    OutputError
        When entering the context: see `check_output`; also when another run makes the same output.

    Examples
    --------
    >>> with Staging("fused.tif", profile, facts, blocks) as staging:  # doctest: +SKIP
    ...     for box in staging.todo:
    ...         staging.write(box, *sharpen(box))
    ...     record = staging.finish()
    """

    def __init__(
        self,
        target: PathLike,
        profile: OutputProfile,
        facts: Mapping[str, Any],
        blocks: Sequence[Box],
        *,
        overwrite: bool = False,
        inputs: Iterable[str] = (),
        restart: bool = False,
        to: Format = "cog",
    ) -> None:
        self.path = Path(target)
        self.profile = profile
        self.blocks = tuple(blocks)
        self.overwrite, self.inputs, self.restart = overwrite, tuple(inputs), restart
        self.to = to
        self.restarted_because = ""
        self._facts = _complete(facts, profile, self.blocks)
        self._known = frozenset(self.blocks)
        self._lock = threading.Lock()
        self._done: dict[Box, Entry] = {}
        self._trusted: set[Box] = set()
        self._folder: StagingFolder | None = None
        self._sink: BlockSink | None = None
        self._tags: dict[str, str] = {}

    def __enter__(self) -> Self:
        target = check_output(self.path, overwrite=self.overwrite, inputs=self.inputs, to=self.to)
        try:
            with failures(self.path, folder_of(target), self.profile.n_staged):
                self._folder = StagingFolder(target)
                self._sink = self._open(self._folder)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        if error is not None and self.resume_hint:
            error.add_note(self.resume_hint)

    @property
    def done(self) -> frozenset[Box]:
        """Blocks that are finished: found on entering, or written or accepted since, by this object."""
        with self._lock:
            return frozenset(self._done)

    @property
    def todo(self) -> tuple[Box, ...]:
        """Blocks that are not `done`, in the order given."""
        done = self.done
        return tuple(box for box in self.blocks if box not in done)

    @property
    def resume_hint(self) -> str:
        """What is kept of a run that was left before its end, as a sentence; empty when nothing is."""
        return ledger.kept(folder_of(self.path.resolve()))

    def sink(self) -> BlockSink:
        """Return what worker processes that see the folder write their blocks with."""
        return self._opened[1]

    def write(
        self, box: Box, values: Values, valid: Mask | None = None, counts: Mapping[str, int] | None = None
    ) -> None:
        """Write a block, from any thread of this process; see `BlockSink.write`.

        Raises
        ------
        ArgumentError
            When the block does not fit, or is none of the job's.
        OutputError
            When it cannot be written; blocks that are finished are kept.
        """
        _, sink = self._opened
        self._check_known(box)
        self._add(sink.write(box, values, valid, counts))

    def accept(self, entry: Entry) -> None:
        """Take note of a block that a worker wrote, from what its `BlockSink.write` returned.

        Not needed for the result, since `finish` reads what workers noted; it keeps `done` and `totals` up to date.
        """
        self._check_known(entry.box)
        with self._lock:
            self._done[entry.box] = entry

    def totals(self) -> dict[str, int]:
        """Sum the counts of all blocks that are `done`, of earlier runs too; ``n_invalid`` is always there."""
        with self._lock:
            total: Counter[str] = Counter(n_invalid=0)
            for entry in self._done.values():
                total.update(entry.counts)
            return dict(total)

    def add_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags to the default domain of the output; those of the same name are replaced."""
        _ = self._opened
        self._tags.update(tags)

    def finish(self) -> WriteRecord:
        """Make the output, put it at the target, remove the folder, and return what was written.

        Raises
        ------
        ArgumentError
            When blocks are missing.
        OutputError
            When the output cannot be written, another file has taken its name, or a block that a worker wrote is not
            on the disk as it noted; what is finished is kept.
        """
        folder, sink = self._opened
        needed = self.profile.n_staged + (self.profile.n_byte * 4 // 3 if self.to == "cog" else 0)  # with overviews
        with failures(self.path, folder.path, needed):
            self._gather(sink.pixels)
            self._check_whole(folder)
            totals = self.totals()
            target = self.path.resolve()
            size = publish(
                sink.pixels,
                self.profile,
                self._tags,
                target,
                overwrite=self.overwrite,
                is_masked=totals["n_invalid"] > 0,
            )
        folder.remove()
        self._folder = self._sink = None
        return WriteRecord(self.path, size, totals["n_invalid"], totals.get("n_moved", 0), self.profile.nodata)

    @property
    def _opened(self) -> tuple[StagingFolder, BlockSink]:
        if self._folder is None or self._sink is None:
            msg = f"a staging must be used inside its context and until it is finished, got {self.path}; use `with`"
            raise ArgumentError(msg)
        return self._folder, self._sink

    def _open(self, folder: StagingFolder) -> BlockSink:
        pixels = lay_out(folder.path, self.profile, self.to, self.blocks)
        self.restarted_because = self._why_anew(folder.path)
        if self.restarted_because or not ledger.read(folder.path):
            folder.empty()
        room = max(self.profile.n_staged - disk_use(folder.path), 0)
        check_output(self.path, overwrite=self.overwrite, inputs=self.inputs, n_byte=room, to=self.to)
        prepare(pixels, self.profile)
        ledger.write_facts(folder.path, self._facts)
        self._resume(pixels)
        sink = BlockSink(pixels, uuid.uuid4().hex)
        sink.open()
        return sink

    def _why_anew(self, folder: Path) -> str:
        if not ledger.read(folder):
            return ""
        if self.restart:
            return "a restart was asked for"
        facts = ledger.read_facts(folder)
        if facts is None:
            return "the record of the earlier run cannot be read"
        told = ledger.changes(facts, self._facts)
        is_cut_otherwise = facts.get("shape") == self._facts["shape"] and facts.get("blocks") != self._facts["blocks"]
        return f"{told}; the size of blocks follows from `max_memory` and `chunks`" if is_cut_otherwise else told

    def _resume(self, pixels: Pixels) -> None:
        """Take what is on the disk as an earlier run noted it; forget the rest."""
        self._verify(pixels, ledger.read(pixels.folder))
        ledger.rewrite(pixels.folder, self._done.values())

    def _gather(self, pixels: Pixels) -> None:
        """Take what workers wrote if it is on the disk, as this process sees it, as they noted it."""
        with self._lock:
            accepted = [entry for box, entry in self._done.items() if box not in self._trusted]
            for entry in accepted:
                del self._done[entry.box]
        self._verify(pixels, [*accepted, *ledger.read(pixels.folder)])

    def _verify(self, pixels: Pixels, entries: Iterable[Entry]) -> None:
        claimed: dict[Box, list[Entry]] = {}
        for entry in entries:
            if entry.box in self._known and entry.box not in self._trusted:
                claimed.setdefault(entry.box, []).append(entry)
        with ThreadPoolExecutor(_N_THREAD, thread_name_prefix="ship-geo-verify") as pool:
            for found, checksum in zip(claimed.values(), pool.map(pixels.checksum, claimed), strict=True):
                for entry in found:
                    if entry.checksum == checksum:
                        self._add(entry)

    def _check_whole(self, folder: StagingFolder) -> None:
        if not folder.is_owned:
            msg = f"an output must be made by one job at a time, got {folder.path} taken over by another; wait for it"
            raise OutputError(msg)
        missing = self.todo
        lost = {entry.box for entry in ledger.read(folder.path)}.intersection(missing)
        if lost:
            msg = (
                f"blocks must be on the disk as workers wrote them, got {len(lost)} that differ, {min(lost)} first; "
                "run again, which does these alone, or let blocks come back to the driver"
            )
            raise OutputError(msg)
        if missing:
            n_block = len(self.blocks)
            msg = (
                f"every block must be written, got {n_block - len(missing)} of {n_block}; write {missing[0]} and others"
            )
            raise ArgumentError(msg)

    def _check_known(self, box: Box) -> None:
        if box not in self._known:
            msg = f"a block must be one of the job's {len(self.blocks)}, got {box}; cut the output as it was planned"
            raise ArgumentError(msg)

    def _add(self, entry: Entry) -> None:
        with self._lock:
            self._done[entry.box] = entry
            self._trusted.add(entry.box)

    def _leave(self) -> None:
        folder, self._folder, self._sink = self._folder, None, None
        if folder is None:
            return
        if ledger.read(folder.path):
            folder.leave()
        else:
            folder.remove()


def _complete(facts: Mapping[str, Any], profile: OutputProfile, blocks: Sequence[Box]) -> dict[str, Any]:
    """Add to the facts of a job what the staged pixels depend on beside them."""
    known = {
        "layout": _LAYOUT,
        "version": software_version(),
        "shape": [profile.n_band, *profile.grid.shape],
        "dtype": profile.dtype,
        "nodata": profile.nodata,
        "blocks": hashlib.sha256(json.dumps(list(blocks)).encode()).hexdigest(),
        ledger.N_BLOCK: len(blocks),
    }
    return {**facts, **known}
