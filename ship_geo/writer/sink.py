"""How a worker writes its own blocks: a few names that travel with the job, and the folder that both sides see.

The convention that could surprise: a sink is bound to one run. When that run has ended, or another took its folder
over, the sink refuses to write, so a worker that was forgotten somewhere does no harm.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ship_geo._typing import Box
from ship_geo.errors import OutputError
from ship_geo.ledger import Entry, append
from ship_geo.raster import Mask, Values
from ship_geo.writer.chunks import ZarrPixels
from ship_geo.writer.faults import failures
from ship_geo.writer.tiles import StagedPixels

_TOKEN = "token"  # noqa: S105  a file name


@dataclass(frozen=True)
class BlockSink:
    """Writes blocks of one run, from any thread of any process that sees its folder.

    Attributes
    ----------
    pixels
        Where they go.
    token
        Of the run; the folder has the same while the run lasts.
    """

    pixels: StagedPixels | ZarrPixels
    token: str

    def can_see(self) -> bool:
        """Whether this process sees the folder of the run and may write there."""
        return self._is_current() and os.access(self.pixels.path, os.W_OK)

    def write(
        self, box: Box, values: Values, valid: Mask | None = None, counts: Mapping[str, int] | None = None
    ) -> Entry:
        """Write a block and note it as finished.

        Parameters
        ----------
        box
            (row0, row1, col0, col1) on the output; one of the blocks of the run.
        values
            (band, row, col), data type of the output, with nodata in place.
        valid
            (row, col) of bool, for the mask; None: all pixels are valid.
        counts
            Small whole numbers by name, to be summed over all blocks; ``n_invalid`` is added from `valid`.

        Returns
        -------
        Entry
            What was noted; a driver that gets it by another way may hand it to `Staging.accept`.

        Raises
        ------
        ArgumentError
            When the block does not fit.
        OutputError
            When it cannot be written, or the run is over.
        """
        self.pixels.check(box, values, valid)
        n_invalid = 0 if valid is None else int(np.count_nonzero(~valid))
        with failures(self.pixels.path, self.pixels.folder, 0):
            if not self._is_current():
                msg = f"blocks must go to the run that asked for them, got one for {self.pixels.folder}; it has ended"
                raise OutputError(msg)
            checksum = self.pixels.write(box, values, valid)
            entry = Entry(box, checksum, {**(counts or {}), "n_invalid": n_invalid})
            append(self.pixels.folder, entry)
        return entry

    def open(self) -> None:
        """Make the run known in its folder: from now on sinks of earlier runs refuse."""
        (self.pixels.folder / _TOKEN).write_text(self.token)

    def _is_current(self) -> bool:
        try:
            return (self.pixels.folder / _TOKEN).read_text() == self.token
        except (OSError, ValueError):
            return False
