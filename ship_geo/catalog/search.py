"""Looking for scenes: deliveries, then archives, then plain pairs of what is left; each of them once.

Deliveries begin where the readers of the families say so for some file. Names are matched one after the other, scenes
are opened by some threads, as waiting for disks takes a good part of the time. Two conventions could surprise. The
innermost beginnings come first, so that a delivery inside another one counts by itself. And what lacks PAN or MS is
joined with what its neighbour folder lacks, as after somebody sorted a delivery by hand.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath

from ship_geo.catalog.entries import Entry, lost, match, open_archive, open_candidate, open_pair
from ship_geo.catalog.listing import Listing, list_files
from ship_geo.errors import ProductError
from ship_geo.products import PairFiles
from ship_geo.products.discovery import FAMILIES
from ship_geo.products.members import shown
from ship_geo.products.pairs import RASTER_SUFFIXES, find_pairs, has_pan_name
from ship_geo.products.product import Candidate
from ship_geo.products.tree import Tree

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")

_THREADS = 4

_Task = Callable[[], list[Entry]]


def search(root: str, *, unpack: bool = False) -> list[Entry]:
    """Look for scenes below a folder.

    Parameters
    ----------
    root
        Absolute path of an existing folder.
    unpack
        Whether large compressed archives are looked into, one at a time.
    """
    pool = ThreadPoolExecutor(1 if unpack else _THREADS)
    try:
        found = pool.map(_run, _tasks(list_files(root), unpack=unpack))
        return [entry for entries in found for entry in entries]
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C nothing waits any more


def _run(task: _Task) -> list[Entry]:
    return task()


def _known(*entries: Entry) -> _Task:
    return partial(list, entries)


def _tasks(listing: Listing, *, unpack: bool) -> Iterator[_Task]:
    used: set[str] = set()
    lacking: dict[str, list[_Part]] = {}
    for start in _starts(listing):
        yield from _deliveries(start, listing, used, lacking)
    for folder, parts in lacking.items():
        yield from _joined(folder, parts)
    for folder, names in listing.folders.items():
        archives = [str(Path(folder, name)) for name in names if name.lower().endswith(ARCHIVES)]
        yield from (partial(open_archive, path, unpack=unpack) for path in archives)
        rasters = [path for name in names if _is_raster(name) and str(path := Path(folder, name)) not in used]
        yield from (partial(_single, pan, partner) for pan, partner in find_pairs(rasters).items())
    yield _known(*_unreached(listing))


def _unreached(listing: Listing) -> Iterator[Entry]:
    for folder, reason in listing.unreadable.items():
        yield lost(folder, f"a folder must be readable, got {shown(folder)} ({reason}); check its permissions")
    for link in listing.dangling:
        if _is_raster(link) and has_pan_name(Path(link)):
            problem = f"a raster file must exist, got the link {shown(link)} to no file; restore what it points to"
            yield lost(link, problem, "pair")


def _single(pan: Path, partner: PairFiles | ProductError | None) -> list[Entry]:
    return [open_pair(pan, partner)]


def _starts(listing: Listing) -> list[str]:
    """Return the folders in which deliveries begin, the innermost first: their own names tell most."""
    starts: set[str] = set()
    for folder, names in listing.folders.items():
        parents = tuple(reversed(PurePath(folder).parts[1:]))
        levels = {found for name in names if (found := _levels_above(name, parents)) is not None}
        if _has_twins(names):
            levels.add(1)
        for level in levels:
            start = folder if level == 1 else str(PurePath(folder).parents[level - 2])
            starts.add(start if len(start) > len(listing.root) else listing.root)
    return sorted(starts, key=lambda start: (-len(PurePath(start).parts), start))


def _levels_above(name: str, parents: tuple[str, ...]) -> int | None:
    return next((found for family in FAMILIES if (found := family.root_of(name, parents)) is not None), None)


def _has_twins(names: Sequence[str]) -> bool:
    """Whether an image has an XML named like it: renamed products are told by these alone."""
    texts = {name[:-4].lower() for name in names if name.lower().endswith(".xml")}
    return bool(texts) and any(_is_raster(name) and PurePath(name).stem.lower() in texts for name in names)


def _is_raster(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in RASTER_SUFFIXES  # noqa: PTH122 (of every file)


@dataclass(frozen=True)
class _Part:
    """A product that cannot be opened as it stands, and the paths of its files."""

    entry: Entry
    members: frozenset[str]


def _deliveries(start: str, listing: Listing, used: set[str], lacking: dict[str, list[_Part]]) -> Iterator[_Task]:
    """Open the products of a delivery; those with a problem go to `lacking`, by the folder above."""
    try:
        tree, candidates = match(start)
    except ProductError as error:
        used |= listing.files_below(start)
        yield _known(lost(start, error))
        return
    above = start if start == listing.root else str(PurePath(start).parent)
    for candidate in candidates:
        members = _paths(tree, candidate)
        # Archives beside a delivery are looked into by themselves.
        if members <= used or (candidate.problem and any(name.lower().endswith(ARCHIVES) for name in members)):
            continue
        used |= members
        if candidate.problem:
            entry = Entry(candidate.name, tree.root, candidate.family, problem=candidate.problem)
            lacking.setdefault(above, []).append(_Part(entry, members))
        else:
            yield partial(_opened, tree, candidate, candidates)


def _joined(folder: str, parts: Sequence[_Part]) -> Iterator[_Task]:
    """Open the products that make use of everything in some of these parts; the others are left as they are."""
    left = list(parts)
    if len({part.entry.source for part in parts}) > 1:
        try:
            tree, candidates = match(folder)
        except ProductError:
            candidates = ()  # the problems of the parts tell more
        for candidate in candidates:
            members = _paths(tree, candidate)
            inside = [part for part in left if part.members <= members]
            if inside and not candidate.problem and members == frozenset().union(*(part.members for part in inside)):
                left = [part for part in left if part not in inside]
                yield partial(_opened, tree, candidate, candidates)
    yield _known(*(part.entry for part in left))


def _opened(tree: Tree, candidate: Candidate, candidates: Sequence[Candidate]) -> list[Entry]:
    return [open_candidate(tree, candidate, candidates)]


def _paths(tree: Tree, candidate: Candidate) -> frozenset[str]:
    return frozenset(f"{tree.root}/{name}" for name in candidate.members)
