"""Real pixels for synthetic deliveries: one drawn ground, seen by any sensor through its own MTF, noise and bits.

A `View` is what a delivery writer takes as `pixels=`; `by_number` and `without_kind` fit those that call it otherwise.
Every sensor sees the same place, with PAN pixels of 0.5 m whatever its orbit, and its truth is known on the PAN grid.
`write_pair` writes a pair without a delivery around it. The ground knows no light beyond 1 micrometre: the short-wave
infrared shows what the longest band does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import rasterio
import torch

from deliveries.pixels import write_tiff
from ship_geo.demo.acquire import GSD_PAN, RATIO, Ground, acquire, digitise, see_ms, see_pan, see_reference
from ship_geo.sensors import Sensor, find_sensor

SIDE = 384
"""Rows and columns of PAN that are drawn; a larger delivery gets a larger ground, which is another place."""

FOUR = ("blue", "green", "red", "nir")
_SEED = 11
_LONGEST = "nir2"


@dataclass(frozen=True)
class View:
    """How a sensor sees the ground; `roles` are its MS bands in file order, all of them by default.

    `ratio` and `phase` relate MS to PAN as in `ship_geo.grids`, both axes alike; `bits` differs from the sensor's where
    a product is scaled.
    """

    name: str
    roles: tuple[str, ...] = ()
    ratio: float = 4.0
    phase: float = 0.0
    bits: int | None = None

    @property
    def sensor(self):
        known = find_sensor(self.name)
        return replace(known.select(self.roles or known.roles), bits=self.bits or known.bits)

    def __call__(self, kind, n_band, n_row, n_col):
        """DN of PAN or MS, (band, row, col)."""
        side = max(SIDE, *(round((1 if kind == "pan" else self.ratio) * n) for n in (n_row, n_col)))
        if kind == "pan":
            exact = _pan(self.name, side)[:, :n_row, :n_col]
        else:
            ratios, phases = (self.ratio,) * 2, (self.phase,) * 2
            exact = see_ms(self._reference(side), self.sensor, (n_row, n_col), ratios, phases)
        if len(exact) != n_band:
            raise ValueError(f"{self.name} has {len(exact)} {kind} bands, not {n_band}")
        return self._written(exact, np.random.default_rng([_SEED, n_band, n_row, n_col]))

    def truth(self, n_row, n_col):
        """The MS bands on the PAN grid, without noise, (band, row, col)."""
        return self._written(self._reference(max(SIDE, n_row, n_col))[:, :n_row, :n_col], None)

    def by_number(self, numbers):
        """For writers of one file a band: called with the band's number instead of the number of bands."""

        def draw(kind, number, n_row, n_col):
            if kind == "pan":
                return self(kind, 1, n_row, n_col)
            place = numbers.index(number) if number in numbers else -1
            return self(kind, len(numbers), n_row, n_col)[[place]]

        return draw

    def without_kind(self, *shape):
        """For writers that do not say which of the two they write."""
        return self("pan" if shape[0] == 1 else "ms", *shape)

    def _reference(self, side):
        return torch.cat([_band(self.name, role, side) for role in self.sensor.roles])

    def _written(self, exact, rng):
        return digitise(exact, self.sensor, rng).astype(np.uint8 if self.sensor.bits <= 8 else np.uint16)


@dataclass(frozen=True)
class DrawnPair:
    """Files of a pair, and the sensor with exactly its bands."""

    folder: Path
    pan: Path
    ms: Path
    reference: Path
    sensor: Sensor


def write_pair(folder, *, size=128, n_band=4, seed=0):
    """Write ``demo_PAN.tif``, ``demo_MS.tif`` and ``demo_reference.tif``: the pixels of the demo, no delivery."""
    sensor = find_sensor("worldview-2") if n_band == 8 else find_sensor("worldview-2").select(FOUR)
    ms, pan, ref = acquire(size, sensor, np.random.default_rng(seed))
    pair = DrawnPair(folder, *(folder / f"demo_{kind}.tif" for kind in ("PAN", "MS", "reference")), sensor)
    for path, values, gsd, names in (
        (pair.pan, pan, GSD_PAN, ("pan",)),
        (pair.ms, ms, GSD_PAN * RATIO, sensor.roles),
        (pair.reference, ref, GSD_PAN, sensor.roles),
    ):
        write_tiff(path, values, size=gsd, corner=(500000.0, 4650000.0), descriptions=names)
        with rasterio.open(path, "r+") as file:
            file.update_tags(SATID="WV02")
    return pair


@cache
def _ground(side):
    return Ground.random(side, np.random.default_rng(_SEED))


@cache
def _band(name, role, side):
    sensor = find_sensor(name).select([role])
    seen = _LONGEST if role.startswith("swir") else role
    return see_reference(_ground(side), replace(sensor, bands=(replace(sensor.bands[0], role=seen),)), (side, side))


@cache
def _pan(name, side):
    return see_pan(_ground(side), find_sensor(name), (side, side))
