"""Names for the plain tuples that travel between layers.

Not for array shapes, which are written where the array is. The convention that could surprise: everything is
(row, col), never (x, y), and ranges are half open.
"""

from __future__ import annotations

import os
from typing import TypeAlias

PathLike: TypeAlias = str | os.PathLike[str]
"""A local path, or a URL or ``/vsi…`` name as text."""

Shape: TypeAlias = tuple[int, int]
"""(row, col) counts of pixels."""

RowCol: TypeAlias = tuple[float, float]
"""(row, col) of a position, a ratio or a phase, in pixels."""

Box: TypeAlias = tuple[int, int, int, int]
"""(row0, row1, col0, col1), half open, in pixels."""
