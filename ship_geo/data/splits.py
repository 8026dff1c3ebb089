"""Splitting scenes into training and validation so that no ground is in both.

Scenes whose footprints share ground, or touch, belong together, and so do their neighbours in turn: such a connected
piece of ground goes to one side as a whole. Pieces are drawn in an order made of the outlines and the seed alone: it
does not matter in which order scenes are listed, nor where their files lie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import shapely
from shapely.geometry.base import BaseGeometry

from ship_geo.errors import ArgumentError

_DIGITS = 6
"""Of a degree or metre in the key of a piece: rounding of a projection must not change the draw."""

_ROUNDING = 1e-9
"""Of all ground: what sums of areas may be off."""


class Split(NamedTuple):
    """Positions of the scenes to train on and to validate on, ascending."""

    train: tuple[int, ...]
    val: tuple[int, ...]


def pieces_of_ground(footprints: Sequence[BaseGeometry]) -> list[tuple[int, ...]]:
    """Positions of the footprints of each connected piece of ground, ascending."""
    tree = shapely.STRtree(footprints)
    piece = list(range(len(footprints)))

    def root(position: int) -> int:
        while piece[position] != position:
            piece[position] = piece[piece[position]]
            position = piece[position]
        return position

    for one, other in tree.query(footprints, predicate="intersects").T:
        piece[root(int(one))] = root(int(other))
    members: dict[int, list[int]] = {}
    for position in range(len(footprints)):
        members.setdefault(root(position), []).append(position)
    return [tuple(positions) for positions in members.values()]


def split_by_ground(footprints: Sequence[BaseGeometry], val_share: float, seed: int = 0) -> Split:
    """Draw pieces of ground for validation.

    Parameters
    ----------
    footprints
        Of the scenes, all in one CRS. Longitude and latitude will do: areas are compared, not measured.
    val_share
        Largest share of the area to validate on, 0 to below 1. At least one piece is taken where it is not 0, the
        smallest if all are larger, and one piece at least is left to train on.
    seed
        Of the draw.

    Raises
    ------
    ArgumentError
        If `val_share` is out of range, or all ground is connected and none can be held back.
    """
    if not 0 <= val_share < 1:
        msg = f"the share of the ground to validate on is from 0 to below 1, got {val_share}; correct it"
        raise ArgumentError(msg)
    pieces = pieces_of_ground(footprints)
    if val_share == 0:
        return Split(tuple(range(len(footprints))), ())
    if len(pieces) == 1:
        msg = (
            "scenes to validate on share no ground with those to train on, got one connected piece of ground with "
            f"{len(footprints)} scenes; add scenes from elsewhere, or validate on none of them"
        )
        raise ArgumentError(msg)
    areas = {piece: shapely.unary_union([footprints[i] for i in piece]).area for piece in pieces}
    total = sum(areas.values())
    room, held = (val_share + _ROUNDING) * total, list[tuple[int, ...]]()
    for piece in sorted(pieces, key=lambda one: _key([footprints[i] for i in one], seed)):
        if areas[piece] <= room:
            held.append(piece)
            room -= areas[piece]
    held = held or [min(pieces, key=lambda one: (areas[one], _key([footprints[i] for i in one], seed)))]
    val = sorted(position for piece in held for position in piece)
    return Split(tuple(sorted(set(range(len(footprints))) - set(val))), tuple(val))


def _key(footprints: Sequence[BaseGeometry], seed: int) -> str:
    outlines = sorted(str([round(number, _DIGITS) for number in one.bounds]) for one in footprints)
    return hashlib.sha256(f"{seed} {outlines}".encode()).hexdigest()
