"""Histograms as few enough bins to draw: how many pixels of each band have which values, before and after.

The convention that could surprise: the rarest 0.1 % of the values at each end are not drawn, or one bright roof would
leave no room for the ground.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_BIN = 96
"""Bins that are drawn at most."""

Values = NDArray[np.float64]

_RARE = 0.001


@dataclass(frozen=True)
class Histogram:
    """How many pixels of a band have which values.

    Attributes
    ----------
    band
        Name.
    edges
        Left edges of the bins and the right edge of the last one, DN.
    ms, fused
        Share of the valid pixels in each bin.
    """

    band: str
    edges: tuple[float, ...]
    ms: tuple[float, ...]
    fused: tuple[float, ...]

    @classmethod
    def of(
        cls, band: str, starts: NDArray[np.float64], ms: NDArray[np.float64], fused: NDArray[np.float64]
    ) -> Histogram:
        """Merge bins of one width.

        Parameters
        ----------
        band
            Name.
        starts
            Left edges of the bins, DN.
        ms, fused
            Pixels in each.
        """
        reached = np.cumsum(ms + fused) / max(float((ms + fused).sum()), 1.0)
        first, last = np.searchsorted(reached, [_RARE, 1 - _RARE]).clip(max=len(starts) - 1).tolist()
        step = max(1, math.ceil((last + 1 - first) / N_BIN))
        n_bin = math.ceil((last + 1 - first) / step)
        width = float(starts[1] - starts[0]) if len(starts) > 1 else 1.0
        edges = starts[first] + width * step * np.arange(n_bin + 1)
        return cls(band, _short(edges), *(_short(_merge(counts[first:], n_bin, step)) for counts in (ms, fused)))


def histograms_of(dataset: Any) -> tuple[Histogram, ...]:
    """Return the histograms of an assessment, one per band; none where it has none."""
    if "histogram" not in dataset:
        return ()
    counts = dataset["histogram"]
    starts = counts.coords["bin"].to_numpy().astype(np.float64)
    return tuple(
        Histogram.of(
            str(band),
            starts,
            *(counts.sel(band=band, image=image).to_numpy().astype(np.float64) for image in ("ms", "fused")),
        )
        for band in counts.coords["band"].to_numpy()
    )


def _merge(counts: Values, n_bin: int, step: int) -> Values:
    padded = np.zeros(n_bin * step)
    kept = counts[: n_bin * step]
    padded[: len(kept)] = kept
    shares: Values = padded.reshape(n_bin, step).sum(1) / max(float(counts.sum()), 1.0)
    return shares


def _short(values: Values) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
