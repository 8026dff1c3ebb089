"""Tile maps of an index with matplotlib, which is asked for only here (extra ``plot``).

Not the report, which draws its own. The convention that could surprise: all methods share one scale of colours, and
tiles without a value stay blank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ship_geo.errors import ArgumentError
from ship_geo.metrics.facts import INDICES

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


def draw_tiles(dataset: xr.Dataset, index: str) -> Figure:
    """Draw the map of an index for every method of an assessment.

    Parameters
    ----------
    dataset
        See `ship_geo.assessment.Assessment`.
    index
        Name of an index that has values per tile.

    Raises
    ------
    ArgumentError
        When matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # no pyplot: nothing global, no window
    except ImportError as error:
        msg = "`plot` needs matplotlib, got no such package; pip install 'ship-geo[plot]'"
        raise ArgumentError(msg) from error

    fact, values = INDICES[index], dataset[index]
    methods = [str(name) for name in values.coords["product"].to_numpy()]
    figure = Figure(figsize=(4 * len(methods) + 1, 4), layout="constrained")
    axes = figure.subplots(1, len(methods), squeeze=False)[0]
    known = values.values[np.isfinite(values.values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    colours = "viridis" if fact.direction == "up" else "viridis_r"  # bright is good, both ways
    drawn: Any = None
    for place, method in zip(axes, methods, strict=True):
        drawn = place.imshow(values.sel(product=method).values, vmin=low, vmax=high, cmap=colours)
        total = float(dataset[f"{index}_total"].sel(product=method))
        place.set_title(f"{method}: {total:.4g}")
        place.set_axis_off()
    figure.colorbar(drawn, ax=list(axes), label=f"{fact.title} ({fact.meaning})")
    return figure
