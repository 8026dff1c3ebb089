"""Quality indices with and without reference, on NumPy arrays, masked, and streaming where a scene needs it.

All take (band, row, col) DN and a (row, col) mask and measure in float64. Not for infrared-visible fusion. The
convention that could surprise: what is scored is what would be written, so clip and round to the output dtype first;
nothing valid gives NaN and a warning, never a good value.
"""

from __future__ import annotations

from ship_geo.metrics.consistency import consistency
from ship_geo.metrics.correlation import RhoAccumulator, d_rho
from ship_geo.metrics.facts import INDICES, Index
from ship_geo.metrics.full_reference import full_reference
from ship_geo.metrics.no_reference import DistortionAccumulator, d_lambda_k, no_reference, qnr
from ship_geo.metrics.pointwise import ErrorAccumulator, SamAccumulator, cc, ergas, psnr, rmse, sam
from ship_geo.metrics.q2n import Q2nAccumulator, q2n
from ship_geo.metrics.structure import (
    LaplacianAccumulator,
    SobelAccumulator,
    SsimAccumulator,
    scc_laplacian,
    scc_sobel,
    ssim,
)
from ship_geo.metrics.uqi import BlockUqiAccumulator, UqiAccumulator, q

__all__ = [
    "INDICES",
    "BlockUqiAccumulator",
    "DistortionAccumulator",
    "ErrorAccumulator",
    "Index",
    "LaplacianAccumulator",
    "Q2nAccumulator",
    "RhoAccumulator",
    "SamAccumulator",
    "SobelAccumulator",
    "SsimAccumulator",
    "UqiAccumulator",
    "cc",
    "consistency",
    "d_lambda_k",
    "d_rho",
    "ergas",
    "full_reference",
    "no_reference",
    "psnr",
    "q",
    "q2n",
    "qnr",
    "rmse",
    "sam",
    "scc_laplacian",
    "scc_sobel",
    "ssim",
]
