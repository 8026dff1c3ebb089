"""What a report wants of an assessment: the part of `ship_geo.assessment.Assessment` that it uses, as protocols."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ship_geo._typing import Box


class View(Protocol):
    """Part of a scene as pixels; see `ship_geo.assessment.View`."""

    @property
    def fused(self) -> NDArray[np.float32]:
        """(band, row, col) DN of the judged image."""

    @property
    def ms_up(self) -> NDArray[np.float32]:
        """(band, row, col) DN of MS, interpolated."""

    @property
    def pan(self) -> NDArray[np.float32]:
        """(row, col) DN."""

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(row, col): fused, PAN and MS are valid."""

    @property
    def box(self) -> Box:
        """Pixels (row0, row1, col0, col1) of the output grid that are seen."""


class Pixels(Protocol):
    """The images of an assessment, read on demand."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the output grid."""

    def read(self, row0: int, row1: int, col0: int, col1: int) -> View:
        """Read a part, pixel by pixel."""

    def overview(self, max_size: int = 1024) -> View:
        """Read the whole, so that no side is longer than `max_size`."""


class Judged(Protocol):
    """An assessment."""

    @property
    def dataset(self) -> Any:
        """Dataset of xarray; ``histogram(image, band, bin)`` is drawn where there is one."""

    @property
    def pixels(self) -> Pixels | None:
        """Where pictures come from; a report without them has numbers only."""

    def record(self, *, tiles: bool = True) -> dict[str, Any]:
        """Return everything as values that JSON can hold."""

    def worst_tiles(self, index: str | None = None, n: int = 6) -> list[dict[str, Any]]:
        """Tiles in which an index is worst."""
