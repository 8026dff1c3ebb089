"""Statistics of a scene, gathered once from windows spread over it, and handed to every window as numbers.

Not for statistics of a tile: normalisation and injection gains taken from tiles would show as seams. The convention
that could surprise: everything derives from one set of moments over [ms_up of every band, pan, pan_low of every band]
on the PAN grid (`ship_geo.baselines.layout.StackLayout`), so networks and classical methods see the same scene.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ship_geo.baselines.layout import StackLayout
from ship_geo.errors import ProductError
from ship_geo.nn.inputs import BandStatistics
from ship_geo.ops.moments import Moments
from ship_geo.ops.windows import PreparedWindow

MAX_SAMPLES = 96
"""Windows that are read of a large scene: 96 of 256 x 256 pixels see 6 megapixels."""


@dataclass(frozen=True, eq=False)
class SceneStats:
    """What every window of a scene is told.

    Attributes
    ----------
    moments
        Of [ms_up, pan, pan_low], DN.
    ms_max
        Largest MS value seen, DN: tells whether the nominal bit depth holds.
    valid_fraction
        Share of valid pixels among those looked at.
    """

    moments: Moments
    ms_max: float
    valid_fraction: float

    @classmethod
    def from_windows(cls, windows: Iterable[PreparedWindow], n_band: int) -> SceneStats:
        """Measure windows one by one.

        Raises
        ------
        ProductError
            If no pixel is valid in PAN and in all MS bands.
        """
        return cls.merged((cls.of_window(window) for window in windows), n_band)

    @classmethod
    def of_window(cls, window: PreparedWindow) -> SceneStats:
        """Measure one window; it may hold no valid pixel."""
        layout = StackLayout(len(window.ms_up))
        stack = layout.stack(window.ms_up, window.pan, window.pan_low)[:, window.valid]
        if not stack.shape[1]:
            return cls(Moments.empty(layout.n_variable), -np.inf, 0.0)
        highest = float(stack[: layout.n_band].max())
        return cls(Moments.from_samples(stack.numpy()), highest, float(window.valid.float().mean()))

    @classmethod
    def merged(cls, parts: Iterable[SceneStats], n_band: int) -> SceneStats:
        """Join the statistics of parts of equal size.

        Raises
        ------
        ProductError
            If no part holds a valid pixel.
        """
        moments, highest, fractions = Moments.empty(StackLayout(n_band).n_variable), -np.inf, []
        for part in parts:
            moments = moments.merge(part.moments)
            highest = max(highest, part.ms_max)
            fractions.append(part.valid_fraction)
        if not moments.count:
            msg = (
                f"a scene needs pixels that are valid in PAN and in all MS bands, got none in {len(fractions)} windows; "
                "check the nodata values of both files and whether they show the same ground"
            )
            raise ProductError(msg)
        return cls(moments, highest, float(np.mean(fractions)))

    def select(self, bands: Sequence[int]) -> SceneStats:
        """Statistics of some bands, in the order given; a band may come twice."""
        layout = StackLayout.of(self.moments)
        indices = [*bands, layout.pan, *(layout.pan_low[band] for band in bands)]
        return SceneStats(self.moments.select(indices), self.ms_max, self.valid_fraction)

    def network_statistics(self) -> BandStatistics:
        """Statistics as the network reads them, (1, band or 1, 1, 1) float32."""
        layout, mean, cov = StackLayout.of(self.moments), self.moments.mean, self.moments.cov
        std = np.maximum(np.sqrt(np.maximum(np.diag(cov), 0)), np.maximum(1e-3 * np.abs(mean), 1e-6))
        shared = cov[layout.pan, list(layout.pan_low)]
        crossed = cov[layout.pan, list(layout.ms_up)]
        gain = np.divide(crossed, shared, out=np.zeros_like(shared), where=shared > 0)

        def shaped(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Tensor:
            return torch.from_numpy(np.asarray(values, np.float32).reshape(1, -1, 1, 1))

        ms, low, pan = list(layout.ms_up), list(layout.pan_low), [layout.pan]
        return BandStatistics(
            ms_mean=shaped(mean[ms]),
            ms_std=shaped(std[ms]),
            pan_mean=shaped(mean[pan]),
            pan_std=shaped(std[pan]),
            pan_low_mean=shaped(mean[low]),
            pan_low_std=shaped(std[low]),
            gain=shaped(gain),
        )


def spread(n_window: int, n_sample: int = MAX_SAMPLES) -> list[int]:
    """Indices of at most `n_sample` of `n_window` windows, in order and evenly spread over both axes of the scene.

    Steps of the golden ratio, which fall into no rhythm with the rows of windows.
    """
    if n_window <= n_sample:
        return list(range(n_window))
    step = max(1, round(n_window * 0.6180339887498949))
    while np.gcd(step, n_window) != 1:
        step += 1
    return sorted(index * step % n_window for index in range(n_sample))
