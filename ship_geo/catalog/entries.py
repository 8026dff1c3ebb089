"""What an index tells of one scene, or why there is nothing to tell: opening, of which nothing fails aloud.

Deliveries in folders and archives, and plain pairs; where they lie is found by `ship_geo.catalog.search`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, TypeVar

from ship_geo.catalog.glance import look, pair_product
from ship_geo.catalog.outlines import footprint, on_globe
from ship_geo.errors import ProductError, ShipGeoError
from ship_geo.products import PairFiles
from ship_geo.products.archives import Scratch, archive_kind
from ship_geo.products.discovery import Search, choose, family_of, find_candidates, root_of
from ship_geo.products.members import is_text, shown
from ship_geo.products.pairs import RASTER_SUFFIXES, find_pair_among, has_pan_name, scene_name
from ship_geo.products.product import Candidate, OpenOptions
from ship_geo.products.tree import Tree, open_tree
from ship_geo.products.unpacking import tar_members
from ship_geo.scene import Scene, open_scene

LARGE_ARCHIVE = 32 * 2**20
"""Bytes of a compressed archive above which it is not looked into unless asked for: below it takes a second."""

_MOST_UNPACKED = 2**30  # of such an archive; more is an attack
_T = TypeVar("_T")


@dataclass(frozen=True)
class Entry:
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


def lost(path: str, problem: object, family: str = "") -> Entry:
    """Return the entry of a path that nothing more is known of than a problem."""
    return Entry(scene_name(path) if family else PurePath(path).name, path, family, problem=str(problem))


def match(source: str, max_unpacked: int | None = None) -> tuple[Tree, tuple[Candidate, ...]]:
    """Return the files of a folder or archive and the products among them.

    Raises
    ------
    ProductError
        Whatever goes wrong.
    """

    def find() -> tuple[Tree, tuple[Candidate, ...]]:
        tree = open_tree(source, max_unpacked=Search().max_unpacked if max_unpacked is None else max_unpacked)
        return tree, find_candidates(tree)

    return _told(find, source)


def open_candidate(tree: Tree, candidate: Candidate, candidates: Sequence[Candidate]) -> Entry:
    """Open one of the products of a delivery."""

    def facts() -> tuple[str, dict[str, Any]]:
        if candidate.problem:
            raise ProductError(candidate.problem)
        product = family_of(candidate).open(tree, candidate, OpenOptions())
        return _source_of(tree, candidate, candidates), _facts(look(product, tree.scratch))

    try:
        source, known = _told(facts, tree.root)
    except ProductError as error:
        return Entry(candidate.name, tree.root, candidate.family, problem=str(error))
    return Entry(candidate.name, source, candidate.family, _kept(known, tree.root, tree.scratch))


def open_archive(path: str, *, unpack: bool) -> list[Entry]:
    """Open all products of an archive; none where it is of something else.

    Parameters
    ----------
    path
        The archive.
    unpack
        Whether it may be large and compressed.
    """
    try:
        if not unpack:
            _told(lambda: _check_is_quick(path), path)
        tree, candidates = match(path, None if unpack else _MOST_UNPACKED)
    except ProductError as error:
        return [lost(path, error)]
    try:
        if not candidates:
            return _pair_inside(tree)
        return [open_candidate(tree, candidate, candidates) for candidate in candidates]
    finally:
        tree.close()


def _pair_inside(tree: Tree) -> list[Entry]:
    """Open the plain pair of an archive, if it holds any."""
    rasters = [name for name in tree.names if PurePath(name).suffix.lower() in RASTER_SUFFIXES]
    if not any(has_pan_name(Path(name)) for name in rasters):
        return []

    def open_it() -> Scene:
        files = find_pair_among([Path(tree.path(name)) for name in rasters], tree.root)
        return open_scene(tree.root) if files is None else look(pair_product(files), tree.scratch)

    return [_entry(tree.root, open_it, tree.scratch)]


def open_pair(pan: Path, partner: PairFiles | ProductError | None) -> Entry:
    """Open a plain pair.

    Parameters
    ----------
    pan
        File whose name says PAN.
    partner
        What names tell of its partner, see `ship_geo.products.pairs.find_pairs`.
    """

    def open_it() -> Scene:
        if isinstance(partner, ProductError):
            raise partner
        return open_scene(pan) if partner is None else look(pair_product(partner))

    return _entry(str(pan), open_it)


def _entry(source: str, open_it: Callable[[], Scene], scratch: Scratch | None = None) -> Entry:
    try:
        scene, known = _told(lambda: (scene := open_it(), _facts(scene)), source)
    except ProductError as error:
        return lost(source, error, "pair")
    return Entry(scene.name, source, scene.family, _kept(known, source, scratch))


def _kept(facts: dict[str, Any], archive: str, scratch: Scratch | None) -> dict[str, Any]:
    """Let paths name the archive in place of the folder where it was unpacked, which goes."""
    if scratch is None:
        return facts
    return facts | {key: facts[key].replace(scratch.path, f"/vsitar/{archive}") for key in ("ms", "pan")}


def _check_is_quick(path: str) -> None:
    size = Path(path).stat().st_size
    if size > LARGE_ARCHIVE and not _is_read_in_place(path):
        msg = (
            f"a compressed archive of more than {LARGE_ARCHIVE // 2**20} MiB is not looked into, got {size // 2**20} "
            f"MiB in {path}; pass `unpack=True`, or open it by itself"
        )
        raise ProductError(msg)


def _is_read_in_place(path: str) -> bool:
    """Whether an archive is a tar that GDAL reads in place: without names or sizes in PAX headers."""
    if archive_kind(path) != "tar":
        return False
    with tar_members(path, 0) as found:
        return not any(info.pax_headers.keys() & {"path", "size"} for _, info in found)


def _source_of(tree: Tree, candidate: Candidate, candidates: Sequence[Candidate]) -> str:
    """Return what leads to a candidate by its name: the whole tree, else a file that is its own.

    Raises
    ------
    ProductError
        When its name is that of another one, too, and no file leads to it alone.
    """
    with suppress(ProductError):
        if choose(candidates, candidate.name, tree.root) is candidate:
            return tree.root
    others = {name for one in candidates if one is not candidate for name in one.members}
    root = Path(tree.root).resolve()
    for path in (Path(tree.root, name) for name in candidate.members if name not in others and root.is_dir()):
        if root_of([path]) == root:
            return str(path)
    msg = f"a product must be told by its name, got two named {candidate.name} in {tree.root}; keep them in two places"
    raise ProductError(msg)


def _facts(scene: Scene) -> dict[str, Any]:
    known, ring = scene.acquisition, footprint(scene)
    return {
        "sensor": scene.sensor.title,
        **{name: getattr(known, name) for name in ("platform", "product_id", "level", "time", "cloud")},
        **{name: getattr(known, name) for name in ("sun_elevation", "off_nadir")},
        "resolution": scene.pair.output.resolution[0],
        "bands": ",".join(scene.ms.roles),
        "ms": "\n".join(scene.ms.paths),
        "pan": "\n".join(scene.pan.paths),
        "geometry": None if ring is None else on_globe(ring),
    }


def _told(action: Callable[[], _T], path: str) -> _T:
    """Return what an action gives; whatever is wrong with one scene must not hide the others.

    Raises
    ------
    ProductError
        In place of every error.
    """
    if not is_text(path):
        msg = f"a path must be text in UTF-8, got {shown(path)}; rename it"
        raise ProductError(msg)
    try:
        return action()
    except ShipGeoError as error:
        raise ProductError(str(error)) from error
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        msg = f"a scene must be readable, got {told} for {path}; open it by itself to see where it fails"
        raise ProductError(msg) from error
