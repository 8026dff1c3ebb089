"""Looking for scenes: deliveries, then archives, then plain pairs of what is left; each of them once.

Deliveries begin where the readers of the families say so for some file. Names are matched one after the other, scenes
are opened by some threads, as waiting for disks takes a good part of the time. The convention that could surprise: the
innermost beginnings come first, so that a delivery inside another one counts by itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

from ship_geo.catalog.glance import look, pair_product
from ship_geo.catalog.listing import Listing, list_files
from ship_geo.catalog.outlines import footprint, on_globe
from ship_geo.errors import ProductError, ShipGeoError
from ship_geo.products import PairFiles
from ship_geo.products.archives import archive_kind
from ship_geo.products.discovery import FAMILIES, Search, choose, family_of, find_candidates, root_of
from ship_geo.products.members import is_text, shown
from ship_geo.products.pairs import RASTER_SUFFIXES, find_pairs, has_pan_name
from ship_geo.products.product import Candidate, OpenOptions
from ship_geo.products.tree import Tree, open_tree
from ship_geo.scene import Scene, open_scene

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
LARGE_ARCHIVE = 32 * 2**20
"""Bytes of a compressed archive above which it is not looked into unless asked for: below it takes a second."""

_MOST_UNPACKED = 2**30  # of such an archive; more is an attack
_THREADS = 4


@dataclass(frozen=True)
class Found:
    """A scene, or why there is none.

    Attributes
    ----------
    name, source, family
        How it is called, what `open_scene` takes, and who reads it.
    facts
        What is known of it, by the names of the columns; empty where it cannot be opened.
    problem
        Why it cannot be opened; empty where it can.
    """

    name: str
    source: str
    family: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


_Task = Callable[[], "list[Found]"]


def search(root: str, *, unpack: bool = False) -> list[Found]:
    """Look for scenes below a folder.

    Parameters
    ----------
    root
        Absolute path of an existing folder.
    unpack
        Whether large compressed archives are looked into, one at a time.
    """
    listing = list_files(root)
    unreadable = [
        _lost(folder, f"a folder must be readable, got {shown(folder)} ({reason}); check its permissions")
        for folder, reason in listing.unreadable.items()
    ]
    pool = ThreadPoolExecutor(1 if unpack else _THREADS)
    try:
        return [*unreadable, *chain.from_iterable(pool.map(_run, _tasks(listing, unpack=unpack)))]
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C nothing waits any more


def _run(task: _Task) -> list[Found]:
    return task()


def _tasks(listing: Listing, *, unpack: bool) -> Iterator[_Task]:
    used: set[str] = set()
    for start in _starts(listing):
        yield from _deliveries(start, listing, used)
    for folder, names in listing.folders.items():
        for name in names:
            if name.lower().endswith(ARCHIVES):
                yield partial(_archive, os.path.join(folder, name), unpack=unpack)  # noqa: PTH118 (of every file)
    for folder, names in listing.folders.items():
        rasters = [path for name in names if _is_raster(name) and str(path := Path(folder, name)) not in used]
        for pan, partner in find_pairs(rasters).items():
            yield partial(_pair, pan, partner)
    for link in listing.dangling:
        if _is_raster(link) and has_pan_name(Path(link)):
            problem = f"a raster file must exist, got the link {shown(link)} to no file; restore what it points to"
            yield partial(list, [_lost(link, problem, "pair")])


def _lost(path: str, problem: str, family: str = "") -> Found:
    name = PurePath(path)
    return Found(name.stem if family else name.name, path, family, problem=problem)


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


def _deliveries(start: str, listing: Listing, used: set[str]) -> Iterator[_Task]:
    matched = _attempt(partial(_match, start, Search().max_unpacked), start)
    if isinstance(matched, str):
        used |= listing.files_below(start)
        yield partial(list, [_lost(start, matched)])
        return
    tree, candidates = matched
    for candidate in candidates:
        members = {f"{tree.root}/{name}" for name in candidate.members}
        # Archives beside a delivery are looked into by themselves.
        if members <= used or (candidate.problem and any(name.lower().endswith(ARCHIVES) for name in members)):
            continue
        used |= members
        yield partial(_opened, tree, [candidate], candidates)


def _match(source: str, max_unpacked: int) -> tuple[Tree, tuple[Candidate, ...]]:
    tree = open_tree(source, max_unpacked=max_unpacked)
    return tree, find_candidates(tree)


def _archive(path: str, *, unpack: bool) -> list[Found]:
    size = _attempt(lambda: 0 if unpack else _compressed_bytes(path), path)
    if not isinstance(size, str) and size > LARGE_ARCHIVE:
        size = (
            f"a compressed archive of more than {LARGE_ARCHIVE // 2**20} MiB is not looked into, got {size // 2**20} "
            f"MiB in {shown(path)}; pass `unpack=True`, or open it by itself"
        )
    limit = Search().max_unpacked if unpack else _MOST_UNPACKED
    matched = size if isinstance(size, str) else _attempt(partial(_match, path, limit), path)
    if isinstance(matched, str):
        return [_lost(path, matched)]
    tree, candidates = matched
    try:
        return _opened(tree, candidates, candidates)
    finally:
        tree.close()


def _compressed_bytes(path: str) -> int:
    """Return the size of an archive that is slow to look into; 0 of a plain tar, whatever its size."""
    return 0 if archive_kind(path) == "tar" else Path(path).stat().st_size


def _pair(pan: Path, partner: PairFiles | ProductError | None) -> list[Found]:
    def facts() -> dict[str, Any]:
        if isinstance(partner, ProductError):
            raise partner
        return _facts(open_scene(pan) if partner is None else look(pair_product(partner)))

    known = _attempt(facts, str(pan))
    if isinstance(known, str):
        return [_lost(str(pan), known, "pair")]
    return [Found(known.pop("name"), str(pan), known.pop("family"), known)]


def _opened(tree: Tree, wanted: Sequence[Candidate], candidates: Sequence[Candidate]) -> list[Found]:
    return [_open(tree, candidate, candidates) for candidate in wanted]


def _open(tree: Tree, candidate: Candidate, candidates: Sequence[Candidate]) -> Found:
    def facts() -> tuple[str, dict[str, Any]]:
        if candidate.problem:
            raise ProductError(candidate.problem)
        product = family_of(candidate).open(tree, candidate, OpenOptions())
        return _source_of(tree, candidate, candidates), _facts(look(product, tree.scratch))

    found = _attempt(facts, tree.root)
    if isinstance(found, str):
        return Found(candidate.name, tree.root, candidate.family, problem=found)
    source, known = found
    if tree.scratch is not None:  # which goes, while the archive stays
        known |= {key: known[key].replace(tree.scratch.path, f"/vsitar/{tree.root}") for key in ("ms", "pan")}
    return Found(candidate.name, source, candidate.family, known)


def _source_of(tree: Tree, candidate: Candidate, candidates: Sequence[Candidate]) -> str:
    """Return what leads to a candidate by its name: the whole tree, else a file that is its own.

    Raises
    ------
    ProductError
        When its name is that of another one, too, and no file leads to it alone.
    """
    try:
        if choose(candidates, candidate.name, tree.root) is candidate:
            return tree.root
    except ProductError:
        others = {name for one in candidates if one is not candidate for name in one.members}
        for name in candidate.members if Path(tree.root).is_dir() else ():
            path = Path(tree.root, name)
            if name not in others and root_of([path]) == Path(tree.root).resolve():
                return str(path)
        raise
    msg = f"a product must be told by its name, got another one for {candidate.name} in {tree.root}; unpack it"
    raise ProductError(msg)


def _facts(scene: Scene) -> dict[str, Any]:
    known, ring = scene.acquisition, footprint(scene)
    return {
        "name": scene.name,
        "family": scene.family,
        "sensor": scene.sensor.title,
        **{name: getattr(known, name) for name in ("platform", "product_id", "level", "time", "cloud")},
        **{name: getattr(known, name) for name in ("sun_elevation", "off_nadir")},
        "resolution": scene.pair.output.resolution[0],
        "bands": ",".join(scene.ms.roles),
        "ms": "\n".join(scene.ms.paths),
        "pan": "\n".join(scene.pan.paths),
        "geometry": None if ring is None else on_globe(ring),
    }


def _attempt(action: Callable[[], Any], path: str) -> Any:
    """Return what an action gives, or why it fails: whatever is wrong with one scene must not hide the others."""
    if not is_text(path):
        return f"a path must be text in UTF-8, got {shown(path)}; rename it"
    try:
        return action()
    except ShipGeoError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 (see above)
        told = f"{type(error).__name__}: {error}"
        return f"a scene must be readable, got {told} for {path}; open it by itself to see where it fails"
