"""What all quality indices do before they measure: check shapes, form the joint mask, go to float64.

Not public. The convention that could surprise: a pixel counts if the mask allows it and it is finite in every band of
every input; values elsewhere are set to zero, so that NaN never spreads.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from ship_geo.errors import ArgumentError
from ship_geo.metrics._windows import box_sum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_BAND_ROW_COL = 3


def prepare(
    images: Sequence[ArrayLike], valid: ArrayLike | None
) -> tuple[list[NDArray[np.float64]], NDArray[np.bool_]]:
    """Images as (band, row, col) float64 with zeros where invalid, and the joint (row, col) mask.

    Raises
    ------
    ArgumentError
        If an image has not three axes or the images' and mask's rows and columns differ.
    """
    arrays = [np.asarray(image, dtype=np.float64) for image in images]
    shapes = {array.shape[-2:] for array in arrays}
    if any(array.ndim != _BAND_ROW_COL for array in arrays) or len(shapes) > 1:
        msg = (
            f"images are (band, row, col) on one grid, got shapes {[array.shape for array in arrays]}; "
            "put them on the same grid first"
        )
        raise ArgumentError(msg)
    shape = shapes.pop()
    mask = np.ones(shape, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    if mask.shape != shape:
        msg = f"the mask is (row, col) of the images, got {mask.shape} and {shape}; pass one mask for all bands"
        raise ArgumentError(msg)
    for array in arrays:
        mask = mask & np.isfinite(array).all(axis=0)
    return [np.where(mask, array, 0.0) for array in arrays], mask


def prepare_pair(
    fused: ArrayLike, ref: ArrayLike, valid: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """`prepare` for an image and its reference, which must have the same bands."""
    (first, second), mask = prepare((fused, ref), valid)
    if first.shape != second.shape:
        msg = f"fused and reference have the same bands, got {first.shape[0]} and {second.shape[0]}; select bands first"
        raise ArgumentError(msg)
    return first, second, mask


def crop(border: int | tuple[int, int], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Slices that cut (leading, trailing) pixels off both axes.

    Raises
    ------
    ArgumentError
        If nothing would be left.
    """
    lead, trail = (border, border) if isinstance(border, int) else border
    if min(lead, trail) < 0 or min(shape) <= lead + trail:
        msg = f"the border is not negative and leaves pixels, got {border} of {shape}; choose a smaller one"
        raise ArgumentError(msg)
    return slice(lead, shape[0] - trail), slice(lead, shape[1] - trail)


def erode(valid: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Pixels whose square neighbourhood holds no invalid pixel; beyond the array counts as valid."""
    if radius <= 0 or valid.all():
        return valid
    padded = np.pad((~valid).astype(np.float64), radius)
    return np.asarray(box_sum(padded, 2 * radius + 1) < 0.5)  # noqa: PLR2004  half a pixel


def fill_mean(image: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Put the mean of the valid pixels where there is none; what it influences is not counted later."""
    if mask.all() or not mask.any():
        return image
    return np.where(mask, image, image[:, mask].mean(axis=1)[:, None, None])


def mean_or_nan(total: float, count: int, name: str, unit: str = "pixels") -> float:
    """``total / count``; NaN and a warning if nothing was counted."""
    return total / count if count else nan_because(f"{name} needs at least one of its {unit} to count, got none")


def nan_because(reason: str) -> float:
    """NaN, and a warning that tells why."""
    warnings.warn(f"{reason}; it is NaN", UserWarning, stacklevel=4)
    return float("nan")
