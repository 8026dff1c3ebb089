"""Which product a source means: asks every delivery family, and chooses only where there is nothing to choose.

A source is a folder, an archive, or any file of a delivery; a file leads to the folder its delivery begins in. Nothing
is picked silently: several products are an error that lists them. Sources that no family knows are left to the generic
pairs and stacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ship_geo.errors import ProductError
from ship_geo.products import digitalglobe, dimap, gaofen, geoeye, landsat
from ship_geo.products.archives import Scratch
from ship_geo.products.product import Candidate, Family, OpenOptions, Product
from ship_geo.products.tree import Tree, is_archive, open_tree

FAMILIES: tuple[Family, ...] = (digitalglobe, geoeye, gaofen, landsat, dimap)
"""In the order in which they are asked; their names exclude each other."""

_MOST_LISTED = 20


@dataclass(frozen=True)
class Search:
    """How a delivery is looked through.

    Attributes
    ----------
    product
        Part of the name of the product that is meant, where there are several.
    missing
        See `OpenOptions`.
    follow_links
        Whether files may be links that leave the delivery.
    scratch
        Folder for what must be unpacked; by default that of the system for temporary files.
    max_unpacked
        Bytes that may be unpacked.
    """

    product: str | None = None
    missing: str = "raise"
    follow_links: bool = False
    scratch: Path | None = None
    max_unpacked: int = 64 * 2**30


def find_product(paths: Sequence[Path], search: Search) -> tuple[Product, Scratch | None] | None:
    """Open the product that a source means.

    Parameters
    ----------
    paths
        Folder, archive, or one or more files of one delivery.
    search
        How to look.

    Returns
    -------
    product
        What its family reads.
    scratch
        Holds what was unpacked, to be kept as long as the product is read; None where nothing was.
    None
        In the place of both, where no family knows the source.

    Raises
    ------
    ProductError
        When there are several products, or the one that is meant cannot be opened.
    """
    root = root_of(paths)
    if root is None:
        return None
    tree = _open(root, search)
    candidates = find_candidates(tree)
    if not root.samefile(paths[0]):
        names = {path.resolve().relative_to(root.resolve()).as_posix() for path in paths}
        candidates = tuple(one for one in candidates if names <= set(one.members))
    if not candidates:
        return None
    chosen = choose(candidates, search.product, str(root))
    product = family_of(chosen).open(tree, chosen, OpenOptions(search.missing))
    others = [one.name for one in candidates if one is not chosen]
    notes = (f"other products beside it: {', '.join(others[:_MOST_LISTED])}",) if others else ()
    return replace(product, notes=(*product.notes, *tree.notes, *notes)), tree.scratch


def find_candidates(tree: Tree) -> tuple[Candidate, ...]:
    """Return the products of a tree, those that cannot be opened included."""
    return tuple(candidate for family in FAMILIES for candidate in family.match(tree))


def family_of(candidate: Candidate) -> Family:
    """Return the reader of a candidate."""
    return next(family for family in FAMILIES if candidate.family == family.NAME)


def _open(root: Path, search: Search) -> Tree:
    return open_tree(root, follow_links=search.follow_links, scratch=search.scratch, max_unpacked=search.max_unpacked)


def root_of(paths: Sequence[Path]) -> Path | None:
    """Return where the delivery of some files begins; None where no family knows their names.

    Parameters
    ----------
    paths
        Folder, archive (returned as they are), or one or more files.
    """
    first = paths[0]
    if first.is_dir() or is_archive(first):
        return first
    parents = tuple(parent.name for parent in first.resolve().parents)
    for family in FAMILIES:
        levels = family.root_of(first.name, parents)
        if levels is not None:
            root = first.resolve().parents[levels - 1]
            return root if all(root in path.resolve().parents for path in paths) else None
    return None


def choose(candidates: Sequence[Candidate], product: str | None, root: str) -> Candidate:
    """Return the product that is meant.

    Parameters
    ----------
    candidates
        Those of a delivery.
    product
        Name of one, or a part of it that no other one has; None where there is nothing to choose.
    root
        Where they are, for messages.

    Raises
    ------
    ProductError
        When none or several are meant, or the one that is meant has a problem.
    """
    wanted = [one for one in candidates if product is None or product.lower() in one.name.lower()]
    # Names may begin alike: who says all of one means that one.
    wanted = [one for one in wanted if product is not None and product.lower() == one.name.lower()] or wanted
    usable = [one for one in wanted if not one.problem]
    if len(usable) == 1:
        return usable[0]
    listed = ", ".join(one.name for one in (usable or candidates)[:_MOST_LISTED])
    if not wanted:
        msg = f"`product` must name one of the products, got {product!r} and {listed} in {root}; pass a part of a name"
        raise ProductError(msg)
    if usable:
        msg = f"a delivery must hold one PAN / MS pair, got {len(usable)} in {root}: {listed}; choose with `product=`"
        raise ProductError(msg)
    raise ProductError("\n".join(dict.fromkeys(one.problem for one in wanted)))
