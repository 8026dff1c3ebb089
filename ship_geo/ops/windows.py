"""One window of a pair as every method needs it: both images on the PAN grid, PAN through each band's MTF, validity.

Pure tensor code between reading and fusing. Not for reading, statistics or blending. The convention that could
surprise: a window is read with a halo, which is used by the filters and cut off here; invalid pixels are filled
before any filter, from their valid neighbours and else from the window's own mean, so no fill value of a file counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ship_geo.ops.masks import fill_invalid, ms_mask_on_pan
from ship_geo.ops.resample import apply_axes, axis_decimate, blur, degrade, ms_centres, shrink, upsample
from ship_geo.ops.views import BandView

RowCol = tuple[float, float]

PLAIN_GNYQ = 0.30
"""Gain at the MS Nyquist frequency of the low-pass that knows no sensor (Lolli et al. 2017)."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """Layers that are known at some pixels of a window: at every one of `rows` and `cols`.

    Attributes
    ----------
    layers
        (layer, row, col), DN as float32.
    rows, cols
        Row (column) of the window, without its halo, of each; may lie outside.
    """

    layers: Tensor
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PreparedWindow:
    """One window without its halo, DN as float32.

    Attributes
    ----------
    ms_up, pan, pan_low
        (band, row, col), (1, row, col) and (band, row, col); `pan_low` has no band where none was asked for. All show
        the ground where PAN shows it.
    valid
        (row, col) bool: PAN and all MS bands are valid.
    ms_placed
        (band, row, col): `ms_up` with each band where its georeferencing puts it; the same image where bands were
        taken to lie on PAN.
    coarse
        [ms of every band, ms_low of every band, pan_lr] at the MS pixel centres, where it was asked for: MS as read, MS
        through the MTF of its bands once more, and PAN by antialiased cubic decimation.
    plain
        [ms_up of every band, pan_plain] at every third pixel or so, where it was asked for: PAN through a Gaussian of
        gain `PLAIN_GNYQ`.
    """

    ms_up: Tensor
    pan: Tensor
    pan_low: Tensor
    valid: Tensor
    ms_placed: Tensor
    coarse: Lattice | None = None
    plain: Lattice | None = None


def fill(values: NDArray[np.generic], valid: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    """Fill an image (band, row, col) from its valid pixels; return it as float32, and its mask."""
    mask = torch.from_numpy(valid)
    image = torch.from_numpy(values.astype(np.float32, copy=False))
    if valid.all():
        return image, mask
    # NumPy: a sum by torch depends, in its last bits, on the number of threads.
    means = values[:, valid].mean(axis=1, dtype=np.float64) if valid.any() else np.zeros(len(values))
    return fill_invalid(image, mask, torch.from_numpy(means.astype(np.float32))), mask


def prepare_window(  # noqa: PLR0913  one window, its options by keyword
    ms: tuple[NDArray[np.generic], NDArray[np.bool_]],
    pan: tuple[NDArray[np.generic], NDArray[np.bool_]],
    *,
    ratio: RowCol,
    phase: RowCol,
    gnyq_ms: tuple[float, ...],
    halo: int,
    with_low: bool = True,
    for_stats: bool = False,
    views: Sequence[BandView] = (),
) -> PreparedWindow:
    """Bring one window to the PAN grid.

    Parameters
    ----------
    ms, pan
        Values (band, row, col) and validity (row, col) of what was read: PAN with the halo on every side, MS with
        enough pixels to cover it.
    ratio, phase
        (row, col); phase of ``ms[0][:, 0, 0]`` in PAN pixels of ``pan[0]``.
    gnyq_ms
        MTF gain at Nyquist of each band.
    halo
        PAN pixels to cut off on every side.
    with_low
        Whether low-passed PAN is made, which takes half of the time.
    for_stats
        Whether `coarse` and `plain` are made, of which only statistics are taken.
    views
        How each band of the scene sees what PAN sees: bands are brought to where PAN shows the same ground, and PAN is
        blurred as they are. Without, bands lie where `phase` says, and `gnyq_ms` holds.

    Returns
    -------
    PreparedWindow
    """
    ms_image, ms_valid = fill(*ms)
    pan_image, pan_valid = fill(*pan)
    n_row, n_col = (n - 2 * halo for n in pan_image.shape[-2:])
    inner = (..., slice(halo, halo + n_row), slice(halo, halo + n_col))
    core = (phase[0] - halo, phase[1] - halo)
    placed = upsample(ms_image, (n_row, n_col), ratio, core)
    ms_up, pan_low = placed, pan_image.new_empty((0, n_row, n_col))
    if views:
        on_pan = [
            _on_pan(band, pan_image, (n_row, n_col), ratio, phase, halo, view)
            for band, view in zip(ms_image[:, None], views, strict=True)
        ]
        ms_up, pan_low = (torch.cat(bands) for bands in zip(*on_pan, strict=True))
    elif with_low:
        coarse = degrade(pan_image, (ms_image.shape[-2], ms_image.shape[-1]), ratio, phase, gnyq_ms)
        pan_low = upsample(coarse, (n_row, n_col), ratio, core)
    return PreparedWindow(
        ms_up=ms_up,
        pan=pan_image[inner].contiguous(),
        pan_low=pan_low,
        valid=pan_valid[inner] & ms_mask_on_pan(ms_valid, (n_row, n_col), ratio, core),
        ms_placed=placed,
        coarse=_coarse(ms_image, pan_image, ratio, phase, gnyq_ms, halo) if for_stats else None,
        plain=_plain(placed, pan_image, ratio, halo) if for_stats else None,
    )


def _on_pan(
    band: Tensor, pan: Tensor, shape: tuple[int, int], ratio: RowCol, phase: RowCol, halo: int, view: BandView
) -> tuple[Tensor, Tensor]:
    """Interpolate a band (1, row, col) where PAN shows its ground, and PAN through the band's blur likewise."""
    seen = phase[0] + view.row, phase[1] + view.col
    core = seen[0] - halo, seen[1] - halo
    coarse = degrade(pan, (band.shape[-2], band.shape[-1]), ratio, seen, (view.gnyq,))
    both = upsample(torch.cat([band, coarse]), shape, ratio, core)
    return both[:1], both[1:]


def _coarse(ms: Tensor, pan: Tensor, ratio: RowCol, phase: RowCol, gnyq_ms: tuple[float, ...], halo: int) -> Lattice:
    shape = (ms.shape[-2], ms.shape[-1])
    layers = torch.cat([ms, blur(ms, ratio, gnyq_ms), shrink(pan, shape, ratio, phase)])
    rows, cols = (np.floor(ms_centres(shape[i], ratio[i], phase[i] - halo) + 0.5).astype(np.int64) for i in (0, 1))
    return Lattice(layers, rows, cols)


def _plain(ms_up: Tensor, pan: Tensor, ratio: RowCol, halo: int) -> Lattice:
    """Filter at some pixels only, in steps that fall into no rhythm with the MS pixels."""
    step = 5 if round(max(ratio)) % 3 == 0 else 3
    shape = [n // step for n in ms_up.shape[-2:]]
    rows, cols = (
        # A Gaussian of gain G at 1 / (2 r) has gain G ** (r / step)² at 1 / (2 step).
        axis_decimate(shape[i], pan.shape[i - 2], step, halo, PLAIN_GNYQ ** ((ratio[i] / step) ** 2))
        for i in (0, 1)
    )
    places = [step * np.arange(n) + step // 2 for n in shape]
    there = ms_up[:, step // 2 :: step, step // 2 :: step][:, : shape[0], : shape[1]]
    return Lattice(torch.cat([there, apply_axes(pan, rows, cols)]), *places)
