"""Wald's protocol: a PAN and MS pair degraded once more by its own ratio, so that the delivered MS is the reference.

For measuring at reduced resolution and for adapting weights to a scene; training pairs from other imagery come from
`ship_geo.data.simulation`. Works on whole arrays in memory with dense matrices per axis: cut large scenes into
windows of some thousand PAN pixels first.

The convention that could surprise: the phase is that of full resolution, so half a pixel between the grids of a sensor
(as Landsat has it) is there again at reduced resolution, and PAN is sampled at the MS pixel centres, never at its own
block averages. Where MS juts out of PAN by more than half a PAN pixel, or the last degraded pixel is not whole, rows
and columns are cut off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from ship_geo.errors import ArgumentError
from ship_geo.ops.masks import fill_invalid
from ship_geo.ops.resample import degrade, shrink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PanFilter = Literal["mtf", "bicubic"]
"""How PAN comes to MS resolution: through its own MTF, or by antialiased cubic convolution without any."""

MASKED_SHARE = 0.05
"""A degraded pixel is invalid when more than this share of its filter's weight lies on invalid pixels."""

_JUT = 0.5
_ROUNDING = 1e-6
_AXES = 3


@dataclass(frozen=True, eq=False)
class ReducedPair:
    """A pair at reduced resolution with its reference; float32 tensors in DN, masks True where valid.

    Attributes
    ----------
    ms_lr
        (band, row / ratio, col / ratio), the MS degraded once more.
    pan_lr
        (1, row, col), PAN on the MS grid.
    ref
        (band, row, col), the delivered MS; invalid pixels hold a fill.
    ratio, phase
        (row, col) of `ms_lr` on the grid of `pan_lr`, as in `ship_geo.ops.resample`.
    ms_lr_valid, pan_lr_valid, ref_valid
        (row, col) bool on the grid of each.
    """

    ms_lr: Tensor
    pan_lr: Tensor
    ref: Tensor
    ratio: tuple[float, float]
    phase: tuple[float, float]
    ms_lr_valid: Tensor
    pan_lr_valid: Tensor
    ref_valid: Tensor


def degrade_pair(  # noqa: PLR0913  what defines the observation is passed by keyword
    ms: NDArray[np.generic] | Tensor,
    pan: NDArray[np.generic] | Tensor,
    *,
    ratio: tuple[float, float],
    phase: tuple[float, float],
    gnyq_ms: Sequence[float],
    gnyq_pan: float,
    pan_filter: PanFilter = "bicubic",
    ms_valid: NDArray[np.bool_] | Tensor | None = None,
    pan_valid: NDArray[np.bool_] | Tensor | None = None,
) -> ReducedPair:
    """Degrade a pair by Wald's protocol.

    Parameters
    ----------
    ms
        (band, row, col), any real dtype, NumPy or torch, DN.
    pan
        (1, row, col) likewise.
    ratio, phase
        (row, col) of the pair: MS pixel size / PAN pixel size, and the outer corner of MS pixel (0, 0) in PAN pixels.
    gnyq_ms
        MTF gain at Nyquist of each MS band.
    gnyq_pan
        MTF gain at Nyquist of PAN; used by ``pan_filter="mtf"``.
    pan_filter
        ``"bicubic"`` as the usual benchmarks, or ``"mtf"``; name the choice beside every figure.
    ms_valid, pan_valid
        (row, col) bool, True where valid in every band; everything when left out. NaN and infinity are invalid anyway.

    Returns
    -------
    ReducedPair
        On the device of the input. MS pixels stay that lie on PAN and under whole degraded pixels, both up to half a
        pixel of the finer grid; the phase changes by the whole pixels that were cut off.

    Raises
    ------
    ArgumentError
        If the shapes, gains, ratio or filter do not fit, or the pair is smaller than one degraded pixel.

    References
    ----------
    L. Wald, T. Ranchin, M. Mangolini, "Fusion of satellite images of different spatial resolutions: assessing the
    quality of resulting images", PE&RS 63(6), 1997.
    """
    ms, pan = _as_float(ms), _as_float(pan)
    _check(ms, pan, ratio, gnyq_ms, pan_filter)
    ms_valid, pan_valid = _validity(ms, ms_valid), _validity(pan, pan_valid)
    ms, pan = _filled(ms, ms_valid), _filled(pan, pan_valid)

    axes = [_solve_axis(ms.shape[i - 2], pan.shape[i - 2], ratio[i], phase[i]) for i in (0, 1)]
    rows, cols = (slice(axis.start, axis.stop) for axis in axes)
    ref, ref_valid = ms[..., rows, cols].contiguous(), ms_valid[rows, cols]
    pan_phase = axes[0].pan_phase, axes[1].pan_phase
    ms_phase = axes[0].phase + axes[0].start, axes[1].phase + axes[1].start  # filters see what is cut off
    shape, shape_lr = (ref.shape[-2], ref.shape[-1]), (axes[0].n_lr, axes[1].n_lr)

    def reduce_pan(values: Tensor) -> Tensor:
        if pan_filter == "bicubic":
            return shrink(values, shape, ratio, pan_phase)
        return degrade(values, shape, ratio, pan_phase, (gnyq_pan,))

    widest = (min(gnyq_ms),)
    return ReducedPair(
        ms_lr=degrade(ms, shape_lr, ratio, ms_phase, tuple(gnyq_ms)),
        pan_lr=reduce_pan(pan),
        ref=ref,
        ratio=ratio,
        phase=(axes[0].phase, axes[1].phase),
        ms_lr_valid=_is_seen(degrade(ms_valid[None].float(), shape_lr, ratio, ms_phase, widest)),
        pan_lr_valid=_is_seen(reduce_pan(pan_valid[None].float())),
        ref_valid=ref_valid,
    )


@dataclass(frozen=True)
class _Axis:
    """MS range that is kept, the phase of its first pixel on PAN, and degraded axis and phase on that range."""

    start: int
    stop: int
    pan_phase: float
    n_lr: int
    phase: float


def _solve_axis(n_ms: int, n_pan: int, ratio: float, phase: float) -> _Axis:
    """Cut one axis to MS pixels on PAN, then to those under whole degraded pixels, up to half a finer pixel."""
    jut = _JUT + _ROUNDING
    start = max(0, math.ceil((-jut - phase) / ratio))
    stop = min(n_ms, math.floor((n_pan + jut - phase) / ratio))
    phase_lr = phase + ratio * start
    n_lr = math.floor((stop - start + jut - phase_lr) / ratio)
    if n_lr < 1:
        msg = (
            f"a pair holds at least one degraded pixel, got {max(0, stop - start)} MS pixels on {n_pan} PAN pixels at "
            f"ratio {ratio:g}; pass a larger part of the scene"
        )
        raise ArgumentError(msg)
    lead = max(0, math.ceil(phase_lr - jut))
    end = min(stop - start, math.floor(phase_lr + ratio * n_lr + jut))
    return _Axis(start + lead, start + end, phase_lr + ratio * lead, n_lr, phase_lr - lead)


def _as_float(values: NDArray[np.generic] | Tensor) -> Tensor:
    if isinstance(values, Tensor):
        return values.float()
    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))


def _validity(values: Tensor, valid: NDArray[np.bool_] | Tensor | None) -> Tensor:
    """(row, col) bool: what the caller calls valid and is finite in every band."""
    finite = torch.isfinite(values).all(0)
    if valid is None:
        return finite
    told = valid if isinstance(valid, Tensor) else torch.from_numpy(np.array(valid, dtype=bool, order="C"))
    if told.shape != finite.shape:
        msg = f"a mask has the rows and columns of its image, got {tuple(told.shape)} and {tuple(finite.shape)}"
        raise ArgumentError(f"{msg}; pass one mask for all bands")
    return finite & told.to(finite.device, torch.bool)


def _filled(values: Tensor, valid: Tensor) -> Tensor:
    """Invalid pixels from their valid neighbours, far from any from the mean of all valid ones."""
    mean = torch.where(valid, values, 0).double().sum((-2, -1)) / valid.sum().clamp(min=1)
    return fill_invalid(values, valid, mean.to(values.dtype))


def _is_seen(share: Tensor) -> Tensor:
    """(row, col) bool from the (1, row, col) share of a filter's weight on valid pixels; cubic lobes may exceed one."""
    return (share[0] - 1).abs() <= MASKED_SHARE


def _check(ms: Tensor, pan: Tensor, ratio: tuple[float, float], gnyq_ms: Sequence[float], pan_filter: str) -> None:
    if ms.ndim != _AXES or pan.ndim != _AXES or pan.shape[0] != 1:
        msg = (
            f"MS is (band, row, col) and PAN (1, row, col), got {tuple(ms.shape)} and {tuple(pan.shape)}; "
            "add or remove an axis"
        )
        raise ArgumentError(msg)
    if len(gnyq_ms) != ms.shape[0]:
        msg = f"every MS band has one MTF gain, got {len(gnyq_ms)} gains for {ms.shape[0]} bands; take sensor.gnyq_ms"
        raise ArgumentError(msg)
    if min(ratio) < 1:
        msg = f"MS is not finer than PAN, got ratio {ratio}; check which image is which"
        raise ArgumentError(msg)
    if pan_filter not in ("mtf", "bicubic"):
        msg = f"PAN is degraded by 'mtf' or 'bicubic', got {pan_filter!r}; choose one of them"
        raise ArgumentError(msg)
