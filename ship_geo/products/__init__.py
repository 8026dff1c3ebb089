"""Delivery families: which files make one PAN / MS pair, one module per family.

A module of this package finds files and says what their names and bands mean; `ship_geo.scene` makes a `Scene` of it.
Nothing here decides whether two grids fit each other.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PairFiles:
    """The files of one pair.

    Attributes
    ----------
    ms
        Paths of the MS files in band order: one with all bands, or several.
    pan
        Path of the PAN file.
    pan_band
        Number of the PAN band, from 1, where one file holds PAN and MS; None where PAN has its own file.
    notes
        What was found and is worth telling.
    """

    ms: tuple[str, ...]
    pan: str
    pan_band: int | None = None
    notes: tuple[str, ...] = ()
