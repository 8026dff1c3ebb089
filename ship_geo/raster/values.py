"""Valid values: nodata compared exactly, in the data type of the source.

The convention that could surprise: a nodata value that a measurement can have, too (zero or positive), marks a pixel
only where *all* bands have it, so that a true zero in one band stays valid; a negative one marks it in any band.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ship_geo.raster.facts import Mask, Values


def find_valid(values: Values, nodata: float | None) -> Mask:
    """Tell valid from invalid values of all bands of a layer.

    Parameters
    ----------
    values
        (band, row, col) in the data type of the source.
    nodata
        Marks a pixel where all bands have it when it is zero or positive, in any band when it is negative.

    Returns
    -------
    Mask
        (band, row, col) of bool. NaN and infinity are never valid.

    """
    valid = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, np.bool_)
    marker = to_dtype(nodata, values.dtype)
    if marker is not None:
        marked = values == marker
        if marker >= 0:
            marked = np.broadcast_to(marked.all(axis=0), values.shape)
        else:
            marked = np.broadcast_to(marked.any(axis=0), values.shape)
        valid &= ~marked
    return valid


def pooled(values: Values, valid: Mask, step: tuple[int, int], pool: tuple[int, int]) -> tuple[Values, Mask]:
    """Return means of small blocks of pixels.

    Parameters
    ----------
    values, valid
        (band, row, col).
    step
        Rows and columns from the first pixel of one block to that of the next; the first block starts at (0, 0).
    pool
        Rows and columns of a block.

    Returns
    -------
    values
        (band, block row, block col) in the same data type, integers rounded.
    valid
        Where all pixels of a block are valid.
    """
    total: Values = np.zeros(1)
    is_whole: Mask = np.ones(1, np.bool_)
    n_row, n_col = values.shape[1] - pool[0] + 1, values.shape[2] - pool[1] + 1
    for row in range(pool[0]):
        for col in range(pool[1]):
            part = np.s_[:, row : row + n_row : step[0], col : col + n_col : step[1]]
            known = np.where(valid[part], values[part], 0)  # NaN and infinity would only warn
            total = total + known.astype(np.float64)
            is_whole = is_whole & valid[part]
    mean = total / (pool[0] * pool[1])
    mean = np.rint(mean) if values.dtype.kind in "ui" else mean
    return mean.astype(values.dtype), is_whole


def to_dtype(nodata: float | None, dtype: npt.DTypeLike) -> Any | None:
    """Return a nodata value as a scalar of a data type, or None when that type cannot hold it (or it is not finite)."""
    kind = np.dtype(dtype)
    if nodata is None or not np.isfinite(nodata):
        return None
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            scalar = np.float64(nodata).astype(kind)
        return scalar if np.isfinite(scalar) else None
    limits = np.iinfo(kind)
    is_held = float(nodata).is_integer() and limits.min <= nodata <= limits.max
    return kind.type(int(nodata)) if is_held else None
