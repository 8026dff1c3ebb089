"""All indices of one image over one part of a scene, as sums that merge.

Not for reading or filtering: images come in as they are compared. The convention that could surprise: `compute` is the
only place where sums become indices, for a tile as for the scene, so that both mean the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ship_geo.assessment.tiles import BLOCK
from ship_geo.metrics import (
    DistortionAccumulator,
    ErrorAccumulator,
    LaplacianAccumulator,
    Q2nAccumulator,
    RhoAccumulator,
    SamAccumulator,
    SobelAccumulator,
    SsimAccumulator,
    UqiAccumulator,
    qnr,
)


@dataclass(frozen=True)
class Settings:
    """What indices depend on beside the pixels.

    Attributes
    ----------
    ratio
        Mean MS pixel size / PAN pixel size.
    peak
        Largest value, DN.
    has_ref
        Whether there is a reference.
    n_ms
        Fewest MS pixels along an axis for which the MTF has room; without any, indices on the MS grid are left out, and
        without a whole block those of blocks.
    """

    ratio: float
    peak: float
    has_ref: bool
    n_ms: int

    @property
    def left_out(self) -> tuple[str, ...]:
        """Indices for which the images are too small."""
        return (() if self.n_ms > 0 else ("r_sam", "r_ergas")) + (() if self.n_ms >= BLOCK else ("r_q2n", "r_q"))


class Scores:
    """Accumulators of every index.

    Parameters
    ----------
    settings
        What indices depend on.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.sam, self.errors, self.q2n, self.q = (
            SamAccumulator(),
            ErrorAccumulator(),
            Q2nAccumulator(BLOCK),
            UqiAccumulator(BLOCK),
        )
        self.ssim, self.sobel, self.laplacian = (
            SsimAccumulator(settings.peak),
            SobelAccumulator(),
            LaplacianAccumulator(),
        )
        self.distortion, self.khan, self.rho = (
            DistortionAccumulator(BLOCK),
            Q2nAccumulator(BLOCK, name="D_lambda,K"),
            RhoAccumulator(settings.ratio),
        )
        self.r_sam, self.r_errors, self.r_q2n, self.r_q = (
            SamAccumulator(),
            ErrorAccumulator(),
            Q2nAccumulator(BLOCK, name="R-Q2n"),
            UqiAccumulator(BLOCK, name="R-Q"),
        )

    def merge(self, other: Scores) -> None:
        """Add what another part of the scene has given."""
        for name, accumulator in vars(self).items():
            if name != "settings":
                accumulator.merge(getattr(other, name))

    def compute(self) -> dict[str, float]:
        """Every index by name; NaN, and a warning, where nothing could be counted."""
        return {**(self._against_reference() if self.settings.has_ref else {}), **self._against_pair()}

    def _against_reference(self) -> dict[str, float]:
        return {
            "sam": self.sam.compute(),
            "ergas": self.errors.ergas(self.settings.ratio),
            "q2n": self.q2n.compute(),
            "q": self.q.compute(),
            "psnr": self.errors.psnr(self.settings.peak),
            "rmse": self.errors.rmse(),
            "cc": self.errors.cc(),
            "ssim": self.ssim.compute(),
            "scc_sobel": self.sobel.compute(),
            "scc_laplacian": self.laplacian.compute(),
        }

    def _against_pair(self) -> dict[str, float]:
        spectral, spatial = self.distortion.d_lambda(), self.distortion.d_s()
        khan = 1 - self.khan.compute()
        values = {
            "d_lambda": spectral,
            "d_s": spatial,
            "qnr": qnr(spectral, spatial),
            "d_lambda_k": khan,
            "hqnr": qnr(khan, spatial),
            "d_rho": self.rho.compute(),
        }
        consistent: dict[str, Callable[[], float]] = {
            "r_sam": self.r_sam.compute,
            "r_ergas": partial(self.r_errors.ergas, self.settings.ratio),
            "r_q2n": self.r_q2n.compute,
            "r_q": self.r_q.compute,
        }
        return values | {name: value() for name, value in consistent.items() if name not in self.settings.left_out}

    def bands(self) -> dict[str, list[float]]:
        """Per index that has them the values of the bands; indices of which nothing was counted are left out."""
        found: dict[str, list[float]] = {}
        if self.settings.has_ref and self.errors.count:
            found |= {**self.errors.bands(self.settings.peak), "q": self.q.bands(), "ssim": self.ssim.bands()}
        found |= {**self.distortion.bands(), "d_rho": self.rho.bands(), "r_q": self.r_q.bands()}
        if self.r_errors.count:
            errors = self.r_errors.bands(self.settings.peak)
            found |= {f"r_{name}": errors[name] for name in ("rmse", "cc", "bias")}
        return {name: values for name, values in found.items() if values}

    @property
    def counts(self) -> dict[str, int]:
        """What the indices rest on: pixels, blocks and windows that counted, and blocks that were left out."""
        own = {"blocks": self.distortion.count, "blocks_mtf": self.khan.count, "blocks_constant": self.khan.excluded}
        consistent = {"ms_pixels": self.r_errors.count, "ms_blocks": self.r_q2n.count}
        reference = {"pixels": self.errors.count, "blocks_reference": self.q2n.count} if self.settings.has_ref else {}
        return {**reference, **own, **consistent}


def histogram(values: NDArray[np.float64], valid: NDArray[np.bool_], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count the valid values of each band of (band, row, col) between even edges; what lies beyond goes to the ends."""
    n_bin = len(edges) - 1
    scaled: Any = (values[:, valid] - edges[0]) * (n_bin / (edges[-1] - edges[0]))
    places = scaled.clip(0, n_bin - 1).astype(np.int64)
    return np.stack([np.bincount(band, minlength=n_bin) for band in places])
