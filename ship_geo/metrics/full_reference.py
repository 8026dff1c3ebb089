"""Every index against a reference in one call.

For reduced-resolution tests, where the MS as delivered is the reference. Not streaming: for scenes use the
accumulators. The convention that could surprise: a border is cut before anything is measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ship_geo.metrics._inputs import crop, prepare_pair
from ship_geo.metrics.pointwise import ErrorAccumulator, sam
from ship_geo.metrics.q2n import Tail, q2n
from ship_geo.metrics.structure import scc_laplacian, scc_sobel, ssim
from ship_geo.metrics.uqi import q

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def full_reference(
    fused: ArrayLike,
    ref: ArrayLike,
    *,
    ratio: float,
    peak: float,
    valid: ArrayLike | None = None,
    border: int | tuple[int, int] = 0,
    tail: Tail = "drop",
) -> dict[str, float]:
    """Score a fused image against its reference.

    Clip and round `fused` to the output's range and dtype before.

    Parameters
    ----------
    fused, ref
        (band, row, col) DN.
    ratio
        MS pixel size / PAN pixel size.
    peak
        2**bits - 1, DN.
    valid
        (row, col) bool; None for all.
    border
        Pixels to cut off each side, or (leading, trailing); published tables cut (20, 21).
    tail
        What Q2n does with incomplete blocks: "drop" them or "mirror", as published tables do.

    Returns
    -------
    dict
        sam (degrees), ergas, q2n, q, psnr (dB), rmse (DN), cc, ssim, scc_sobel, scc_laplacian, and valid_fraction.

    Raises
    ------
    ArgumentError
        If shapes do not fit or the border leaves nothing.
    """
    first, second, mask = prepare_pair(fused, ref, valid)
    rows, cols = crop(border, mask.shape)
    first, second, mask = first[:, rows, cols], second[:, rows, cols], mask[rows, cols]
    errors = ErrorAccumulator()
    errors.update(first, second, mask)
    return {
        "sam": sam(first, second, mask),
        "ergas": errors.ergas(ratio),
        "q2n": q2n(first, second, mask, tail=tail),
        "q": q(first, second, mask),
        "psnr": errors.psnr(peak),
        "rmse": errors.rmse(),
        "cc": errors.cc(),
        "ssim": ssim(first, second, mask, peak=peak),
        "scc_sobel": scc_sobel(first, second, mask),
        "scc_laplacian": scc_laplacian(first, second, mask),
        "valid_fraction": float(mask.mean()),
    }
