"""The result of judging a scene: indices per tile, per band and in total, for one image and those compared with it.

A value: nothing here computes an index. Tables go to xarray, JSON, HTML or a plot. The convention that could surprise:
a total is made of the sums behind the tiles and is not the mean of their values; indices that need the whole scene
(D_lambda takes an absolute value last) would come out larger.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ship_geo._typing import PathLike
from ship_geo.errors import ArgumentError, OutputError
from ship_geo.metrics.facts import INDICES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = "ship-geo-assessment/1"

TOTAL, BAND = "_total", "_band"
"""Ends of the names of variables that hold totals, and values per band."""

_DIGITS = 7


@dataclass(frozen=True, eq=False)
class View:
    """Part of a scene as pixels, DN, on the output grid or on a coarser one.

    Attributes
    ----------
    fused, ms_up
        (band, row, col) float32: the judged image, and MS interpolated.
    pan
        (row, col) float32.
    valid
        (row, col) bool: fused, PAN and MS are valid; values elsewhere are 0.
    box
        (row0, row1, col0, col1) of the output grid that is seen.
    """

    fused: NDArray[np.float32]
    ms_up: NDArray[np.float32]
    pan: NDArray[np.float32]
    valid: NDArray[np.bool_]
    box: tuple[int, int, int, int]


class Pixels(Protocol):
    """Where pictures of an assessment come from: the images themselves, read again on demand."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the output grid."""

    def read(self, row0: int, row1: int, col0: int, col1: int) -> View:
        """Read a part of the output grid, cut to it, pixel by pixel."""

    def overview(self, max_size: int = 1024) -> View:
        """Read the whole as means over squares of pixels, so that no side is longer than `max_size`."""


@dataclass(frozen=True, eq=False)
class Assessment:
    """How good a sharpened image is.

    Attributes
    ----------
    dataset
        Dims ``product`` (the judged one, then the baselines), ``y`` and ``x`` (tiles, with the coordinates of their
        centres and the CRS), ``band``, ``bin``. Per tile ``<index>(product, y, x)``, in total
        ``<index>_total(product)``, per band ``<index>_band(product, band)``; ``valid_fraction(y, x)``; counts of pixels
        ``histogram(image, band, bin)``, where the images are the products and ``"ms"``, interpolated.
    conventions
        All that the numbers depend on: kernel, border, block size, phase, peak, tile.
    scene
        What was judged: files, sensor, bands, grids, shift, what is odd; values that JSON can hold.
    pixels
        Where pictures come from; None where they are not at hand.
    """

    dataset: xr.Dataset
    conventions: Mapping[str, Any]
    scene: Mapping[str, Any]
    pixels: Pixels | None = field(default=None, repr=False)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of what was judged: ``"fused"`` first, then the baselines."""
        return tuple(str(name) for name in self.dataset.coords["product"].to_numpy())

    @property
    def indices(self) -> tuple[str, ...]:
        """Names of the indices, in the order of tables."""
        return tuple(name for name in INDICES if name + TOTAL in self.dataset)

    @property
    def totals(self) -> dict[str, float]:
        """Indices of the judged image over the whole scene, and its ``valid_fraction``."""
        return self.comparison[self.methods[0]]

    @property
    def comparison(self) -> dict[str, dict[str, float]]:
        """Totals of every method."""
        share = float(self.dataset["valid_fraction_total"])
        return {
            method: {
                **{name: float(self.dataset[name + TOTAL].sel(product=method)) for name in self.indices},
                "valid_fraction": share,
            }
            for method in self.methods
        }

    @property
    def bands(self) -> dict[str, dict[str, list[float]]]:
        """Per method and index the values of the bands."""
        names = [name for name in self.dataset.data_vars if str(name).endswith(BAND)]
        return {
            method: {
                str(name).removesuffix(BAND): self.dataset[name].sel(product=method).values.tolist() for name in names
            }
            for method in self.methods
        }

    def record(self, *, tiles: bool = True) -> dict[str, Any]:
        """Return everything as values that JSON can hold; NaN and infinity become None.

        Parameters
        ----------
        tiles
            Whether the values of tiles are told, too, which are most of it.
        """
        names = [str(name) for name in self.dataset.coords["band"].to_numpy()]
        told: dict[str, Any] = {
            "schema": SCHEMA,
            "scene": dict(self.scene),
            "conventions": dict(self.conventions),
            "methods": list(self.methods),
            "bands": names,
            "indices": {
                name: {
                    "title": fact.title,
                    "ideal": fact.ideal,
                    "direction": fact.direction,
                    "unit": fact.unit,
                    "kind": fact.kind,
                    "caveat": fact.caveat,
                }
                for name, fact in INDICES.items()
                if name in self.indices
            },
            "totals": self.comparison,
            "per_band": self.bands,
        }
        if tiles:
            told["tiles"] = {
                "shape": [self.dataset.sizes["y"], self.dataset.sizes["x"]],
                "y": self.dataset.coords["y"].values.tolist(),
                "x": self.dataset.coords["x"].values.tolist(),
                "valid_fraction": self.dataset["valid_fraction"].values.tolist(),
                "values": {
                    method: {
                        name: self.dataset[name].sel(product=method).values.tolist()
                        for name in self.indices
                        if name in self.dataset
                    }
                    for method in self.methods
                },
            }
        plain: dict[str, Any] = _plain(told)
        return plain

    def to_json(self, path: PathLike | None = None, *, tiles: bool = True, overwrite: bool = False) -> str:
        """Return `record` as JSON text, and write it to a file if there is a path.

        Parameters
        ----------
        path
            File to be written.
        tiles
            As in `record`.
        overwrite
            Whether an existing file may be replaced.

        Raises
        ------
        OutputError
            When the file exists.
        OSError
            When the file cannot be written; a file that was there is then left as it was.
        """
        text = json.dumps(self.record(tiles=tiles), ensure_ascii=False, allow_nan=False)
        if path is not None:
            target = Path(path)
            if target.exists() and not overwrite:
                msg = f"the record must not exist, got {path}; choose another name or pass overwrite=True"
                raise OutputError(msg)
            aside = target.with_name(f".{target.name}.part")
            try:
                aside.write_text(text, encoding="utf-8")
                aside.replace(target)
            finally:
                aside.unlink(missing_ok=True)
        return text

    def to_html(self, path: PathLike, *, overwrite: bool = False) -> Path:
        """Write one self-contained HTML page; see `ship_geo.report.write_report`.

        Parameters
        ----------
        path
            File to be written.
        overwrite
            Whether an existing file may be replaced.
        """
        report = importlib.import_module("ship_geo.report")  # by name: it loads when asked for, and knows no assessment
        return Path(report.write_report(self, path, overwrite=overwrite))

    def plot(self, index: str | None = None) -> Figure:
        """Draw the tile map of an index for every method, with one scale.

        Parameters
        ----------
        index
            Name of an index; by default the first that there is.

        Raises
        ------
        ArgumentError
            When there is no such index, or matplotlib is not installed.
        """
        from ship_geo.assessment.plot import draw_tiles  # asks for matplotlib

        return draw_tiles(self.dataset, self._known(index))

    def worst_tiles(self, index: str | None = None, n: int = 6) -> list[dict[str, Any]]:
        """Tiles of the judged image in which an index is worst.

        Parameters
        ----------
        index
            Name of an index; by default the first that there is.
        n
            At most so many.

        Returns
        -------
        list of dict
            ``row``, ``col`` of the tile, ``box`` on the output grid and ``value``, the worst first.
        """
        name = self._known(index)
        values = self.dataset[name].isel(product=0).values
        sign = 1 if INDICES[name].direction == "up" else -1
        order = np.argsort(np.where(np.isnan(values), np.inf, sign * values), axis=None, kind="stable")
        places = [np.unravel_index(place, values.shape) for place in order[: max(n, 0)]]
        return [
            {"row": int(row), "col": int(col), "box": self._box(int(row), int(col)), "value": float(values[row, col])}
            for row, col in places
            if not math.isnan(values[row, col])
        ]

    def _box(self, row: int, col: int) -> tuple[int, int, int, int]:
        """Pixels (row0, row1, col0, col1) of the output grid that a tile covers."""
        tile = self.conventions["tile"]
        row0, row1, col0, col1 = self.conventions["region"]
        first = row0 + row * tile, col0 + col * tile
        return first[0], min(first[0] + tile, row1), first[1], min(first[1] + tile, col1)

    def _known(self, index: str | None) -> str:
        legal = [name for name in self.indices if name in self.dataset]
        if index is None:
            return legal[0]
        if index not in legal:
            msg = f"an index of tiles is one of {', '.join(legal)}, got {index!r}; choose one of them"
            raise ArgumentError(msg)
        return index


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value
