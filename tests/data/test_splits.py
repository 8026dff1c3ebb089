"""Scenes for training and validation: no ground on both sides, whatever the order of the list."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from ship_geo.data.splits import pieces_of_ground, split_by_ground
from ship_geo.errors import ArgumentError

corner = st.integers(0, 30)
boxes = st.lists(
    st.builds(
        lambda x, y, width, height: shapely.box(x, y, x + width, y + height), corner, corner, *[st.integers(1, 6)] * 2
    ),
    min_size=1,
    max_size=14,
)


def row_of(*starts: float) -> list[shapely.Polygon]:
    """Unit squares with their left sides at `starts`."""
    return [shapely.box(start, 0, start + 1, 1) for start in starts]


def connected(footprints: list[shapely.Polygon]) -> set[frozenset[int]]:
    """Pieces by repeated closure of the matrix of neighbours: the slow way."""
    near = np.array([[one.intersects(other) for other in footprints] for one in footprints])
    for _ in footprints:
        near = (near.astype(int) @ near.astype(int)) > 0
    return {frozenset(np.flatnonzero(row).tolist()) for row in near}


@given(boxes)
def test_pieces_are_the_connected_components(footprints: list[shapely.Polygon]) -> None:
    assert {frozenset(piece) for piece in pieces_of_ground(footprints)} == connected(footprints)


@given(boxes, st.floats(0.05, 0.9), st.integers(0, 3), st.randoms(use_true_random=False))
def test_no_ground_is_on_both_sides_and_the_order_is_no_matter(footprints, share, seed, random) -> None:
    if len(pieces_of_ground(footprints)) == 1:
        with pytest.raises(ArgumentError, match="one connected piece of ground"):
            split_by_ground(footprints, share, seed)
        return
    split = split_by_ground(footprints, share, seed)
    assert sorted((*split.train, *split.val)) == list(range(len(footprints)))
    assert split.train
    assert split.val
    sides = [shapely.unary_union([footprints[i] for i in side]) for side in split]
    assert not sides[0].intersects(sides[1])
    areas = {piece: shapely.unary_union([footprints[i] for i in piece]).area for piece in pieces_of_ground(footprints)}
    total = sum(areas.values())
    assert sides[1].area <= share * total + 1e-9 or sides[1].area == min(areas.values())
    order = list(range(len(footprints)))
    random.shuffle(order)
    again = split_by_ground([footprints[i] for i in order], share, seed)
    outlines = [{footprints[i].wkt for i in split.val}, {footprints[order[i]].wkt for i in again.val}]
    assert outlines[0] == outlines[1]


def test_chain_of_neighbours_stays_together() -> None:
    chain, lone = row_of(0, 0.9, 1.8, 2.8), row_of(9)  # the last touches its neighbour only
    split = split_by_ground([*chain, *lone], 0.3)
    assert split == ((0, 1, 2, 3), (4,))


def test_another_seed_draws_another_piece() -> None:
    footprints = row_of(*range(0, 40, 2))
    assert len({split_by_ground(footprints, 0.1, seed).val for seed in range(8)}) > 1
    assert all(len(split_by_ground(footprints, 0.1, seed).val) == 2 for seed in range(8))


def test_nothing_is_held_back_of_no_share() -> None:
    assert split_by_ground(row_of(0, 0.5), 0) == ((0, 1), ())


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ArgumentError, match="from 0 to below 1, got"):
        split_by_ground(row_of(0, 2), share)
