"""Where an assessment looks: the part of the output grid that counts, its tiles, and the blocks that are read.

Plans only. The convention that could surprise: tiles are multiples of the side of the indices' blocks and start where
the counted part starts, so that no block of an index lies in two tiles; blocks that are read are whole tiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral

from ship_geo._typing import Box
from ship_geo.errors import ArgumentError

BLOCK = 32
"""Side of the blocks of Q2n, D_lambda and D_S, and of the windows of Q, pixels."""

READ = 1024
"""Side of what is read and filtered at once, PAN pixels without halo; a tile of this side is the largest."""

_FEWEST, _MOST_TILES = 128, 64


@dataclass(frozen=True)
class Tile:
    """One tile: its place (row, col) among all, and its pixels on the output grid."""

    row: int
    col: int
    box: Box


@dataclass(frozen=True)
class TileGrid:
    """Tiles of a region of the output grid.

    Attributes
    ----------
    region
        (row0, row1, col0, col1) of the output grid.
    tile
        Rows and columns of a tile, pixels; the last ones are smaller.
    """

    region: Box
    tile: int

    @classmethod
    def of(cls, shape: tuple[int, int], tile: int | str = "auto", border: int | tuple[int, int] = 0) -> TileGrid:
        """Choose region and tiles.

        Parameters
        ----------
        shape
            Rows and columns of the output grid.
        tile
            Rows and columns of a tile, or ``"auto"``: 128 pixels, more where there would be over 64 tiles a side.
        border
            Pixels to cut off each side, or (leading, trailing).

        Raises
        ------
        ArgumentError
            When `tile` is not a multiple of 32 up to 1024, or the border leaves less than one block.
        """
        lead, trail = _sides(border)
        if min(lead, trail) < 0 or min(shape) - lead - trail < BLOCK:
            msg = (
                f"`border` is not negative and leaves at least {BLOCK} x {BLOCK} pixels, got {border} of "
                f"{shape[0]} x {shape[1]}; choose a smaller one, or a larger image"
            )
            raise ArgumentError(msg)
        region = (lead, shape[0] - trail, lead, shape[1] - trail)
        if tile == "auto":
            longest = max(region[1] - region[0], region[3] - region[2])
            tile = min(READ, max(_FEWEST, -(-longest // (_MOST_TILES * BLOCK)) * BLOCK))
        if not isinstance(tile, int) or not BLOCK <= tile <= READ or tile % BLOCK:
            msg = f"`tile` is 'auto' or a multiple of {BLOCK} up to {READ} pixels, got {tile!r}; for instance 256"
            raise ArgumentError(msg)
        return cls(region, tile)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        row0, row1, col0, col1 = self.region
        return -(-(row1 - row0) // self.tile), -(-(col1 - col0) // self.tile)

    def box(self, row: int, col: int, n: int = 1) -> Box:
        """Pixels of `n` x `n` tiles from a tile on, as far as the region goes."""
        row0, row1, col0, col1 = self.region
        first = row0 + row * self.tile, col0 + col * self.tile
        side = n * self.tile
        return first[0], min(first[0] + side, row1), first[1], min(first[1] + side, col1)

    def blocks(self, read: int = READ) -> Iterator[tuple[Box, list[Tile]]]:
        """Give blocks of about `read` pixels a side, row by row, with their tiles."""
        step = max(1, read // self.tile)
        n_row, n_col = self.shape
        for row in range(0, n_row, step):
            for col in range(0, n_col, step):
                tiles = [
                    Tile(r, c, self.box(r, c))
                    for r in range(row, min(row + step, n_row))
                    for c in range(col, min(col + step, n_col))
                ]
                yield self.box(row, col, step), tiles


def _sides(border: int | tuple[int, int]) -> tuple[int, int]:
    """Return (leading, trailing) pixels."""
    sides = tuple(border) if isinstance(border, Sequence) else (border, border)
    if len(sides) != 2 or not all(isinstance(side, Integral) for side in sides):  # noqa: PLR2004  leading and trailing
        msg = f"`border` is a number of pixels, or (leading, trailing), got {border!r}; for instance (20, 21)"
        raise ArgumentError(msg)
    return int(sides[0]), int(sides[1])
