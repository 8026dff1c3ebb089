"""The mark of invalid pixels in the output, and how valid values are kept apart from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ship_geo.raster import Mask, Values, to_dtype

if TYPE_CHECKING:
    from ship_geo.scene import Scene


def choose_nodata(scene: Scene) -> float | None:
    """Return the nodata value of the output: that of MS, tagged or inferred, or None: a mask tells, where needed."""
    nodata = scene.ms.nodata
    if nodata is None or np.isnan(nodata):
        return nodata
    return nodata if to_dtype(nodata, scene.ms.dtype) is not None else None


def apply_nodata(fused: Values, valid: Mask, nodata: float | None) -> tuple[Values, int]:
    """Mark invalid pixels, and keep valid values apart from the mark.

    Parameters
    ----------
    fused
        (band, row, col), data type of the output.
    valid
        (row, col) of bool.
    nodata
        Mark; None writes 0 (NaN for floats), which only the mask can tell.

    Returns
    -------
    values
        A new array.
    n_moved
        Valid values that equalled the mark: they are moved to the next value towards 0, and a 0 to the least value
        above it.
    """
    values = fused.copy()
    is_float = fused.dtype.kind == "f"
    marker = to_dtype(nodata, fused.dtype)
    if marker is None:
        values[:, ~valid] = np.nan if is_float else 0
        return values, 0
    equal = (values == marker) & valid
    values[equal] = _neighbour(marker, fused.dtype)
    values[:, ~valid] = marker
    return values, int(equal.sum())


def mask_bytes(block: Values, valid: Mask | None) -> Values:
    """Return the mask of a block as GDAL wants it, (row, col) of 0 and 255; None: all pixels are valid."""
    shape = block.shape[1:]
    return np.full(shape, 255, np.uint8) if valid is None else np.where(valid, 255, 0).astype(np.uint8)


def _neighbour(marker: Any, dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        # The least normal number: a subnormal one may be flushed to the 0 that it must differ from.
        return np.finfo(dtype).tiny if marker == 0 else np.nextafter(marker, dtype.type(0))
    return dtype.type(int(marker) - 1 if marker > 0 else int(marker) + 1)
