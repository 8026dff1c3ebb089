"""Stacks: PAN and MS as bands of one raster, MS therefore on the PAN grid already.

MS that was *replicated* to the PAN grid (every k x k block constant) is recognised, also in a file of its own, so that
it can be read at its native size. MS that was interpolated shows no trace of its ratio; where that is stated, the MS
values are taken from where the centres of the MS pixels lay, which is close and not exact: see `centre_lattice`.
The convention that could surprise: blocks need not start at pixel (0, 0); an incomplete block at an edge is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from os import fspath

import numpy as np

from ship_geo.errors import ArgumentError, ProductError
from ship_geo.products import PairFiles
from ship_geo.products.names import PAN_ROLE, find_role
from ship_geo.raster import Mask, RasterInfo, Values

_LARGEST_STEP = 16
_RATIOS = (2, 8)  # of integers, those that a pair may have
_FEWEST_EDGES = 4  # fewer edges in a row or column prove no lattice: a coastline has one, too


@dataclass(frozen=True)
class Lattice:
    """Blocks of pixels that were one MS pixel each, and what is read of each.

    Attributes
    ----------
    step
        Size of a block (row, col); (1, 1) where nothing was resampled.
    origin
        Upper-left pixel (row, col) of the first complete block.
    inset
        First pixel (row, col) of a block that is read.
    pool
        Pixels (row, col) from there on whose mean is read; (1, 1): that pixel itself.
    """

    step: tuple[int, int] = (1, 1)
    origin: tuple[int, int] = (0, 0)
    inset: tuple[int, int] = (0, 0)
    pool: tuple[int, int] = (1, 1)

    @property
    def is_trivial(self) -> bool:
        """Whether every pixel is its own block."""
        return self.step == (1, 1)

    def count(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return how many complete blocks (row, col) a raster of this shape holds."""
        rows, cols = ((n - first) // size for n, size, first in zip(shape, self.step, self.origin, strict=True))
        return rows, cols


def find_stack(info: RasterInfo) -> PairFiles | None:
    """Return the pair inside one file whose PAN band is named.

    Parameters
    ----------
    info
        The file.

    Returns
    -------
    PairFiles or None
        None when no band is named PAN, or there is no other band.

    Raises
    ------
    ProductError
        When several bands are named PAN.
    """
    named = [i for i, text in enumerate(info.descriptions, 1) if find_role(text) == PAN_ROLE]
    named = named or [i for i, colour in enumerate(info.colours, 1) if colour == PAN_ROLE]
    if not named or info.n_band == 1:
        return None
    if len(named) > 1:
        msg = f"a stack must have one PAN band, got bands {named} in {info.path}; correct the band descriptions"
        raise ProductError(msg)
    path = fspath(info.path)
    return PairFiles((path,), path, named[0], (f"band {named[0]} of the stack is PAN",))


def find_lattice(blocks: list[tuple[int, int, Values]]) -> Lattice:
    """Find the lattice of replicated pixels in samples of a raster.

    Parameters
    ----------
    blocks
        Samples as (first row, first column, values (band, row, col)).

    Returns
    -------
    Lattice
        Trivial unless all edges between different neighbours lie on one lattice of at least 2 x 2, and there are
        enough of them to tell.
    """
    rows: set[int] = set()
    cols: set[int] = set()
    for row0, col0, values in blocks:
        rows.update(row0 + 1 + np.flatnonzero(_is_edge(values[:, :-1], values[:, 1:]).any(axis=(0, 2))))
        cols.update(col0 + 1 + np.flatnonzero(_is_edge(values[:, :, :-1], values[:, :, 1:]).any(axis=(0, 1))))
    row_step, col_step = _spacing(rows), _spacing(cols)
    if row_step == 1 or col_step == 1:
        return Lattice()
    return Lattice((row_step, col_step), (int(min(rows)) % row_step, int(min(cols)) % col_step))


def centre_lattice(ratio: int) -> Lattice:
    """Return the lattice of MS that was interpolated from a grid `ratio` times coarser, with the same outer corner.

    Interpolation gives back the original value where it meets the centre of an original pixel. For an odd ratio a
    pixel lies there. For an even one the centre is the corner of four pixels, whose mean is taken: it differs from the
    original along each axis by ``d / (4 ratio)`` for bilinear MS and by about ``d / (8 ratio**2)`` for cubic MS, `d`
    being the second difference of neighbouring MS pixels (both by putting the kernel in).

    Parameters
    ----------
    ratio
        Original MS pixel size / pixel size now.

    Raises
    ------
    ArgumentError
        When the ratio is no integer from 2 to 8.
    """
    low, high = _RATIOS
    if ratio not in range(low, high + 1):
        msg = (
            f"the original ratio of MS must be an integer from {low} to {high}, got {ratio!r}; read it from the product"
        )
        raise ArgumentError(msg)
    ratio = int(ratio)  # 4.0 is 4
    n_pixel = 2 - ratio % 2
    first = (ratio - n_pixel) // 2
    return Lattice((ratio, ratio), inset=(first, first), pool=(n_pixel, n_pixel))


def _is_edge(left: Values, right: Values) -> Mask:
    differs: Mask = left != right
    if left.dtype.kind == "f":
        differs &= ~(np.isnan(left) & np.isnan(right))
    return differs


def _spacing(edges: set[int]) -> int:
    if len(edges) < _FEWEST_EDGES:
        return 1
    first = min(edges)
    step = gcd(*(int(edge) - int(first) for edge in edges))
    return step if step <= _LARGEST_STEP else 1
