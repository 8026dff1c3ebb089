"""Statistics of a scene, gathered once from windows spread over it, and handed to every window as numbers.

Not for statistics of a tile: normalisation and injection gains taken from tiles would show as seams. The convention
that could surprise: everything derives from one set of moments over [ms_up of every band, pan, pan_low of every band]
on the PAN grid (`ship_geo.baselines.layout.StackLayout`), so networks and classical methods see the same scene; what
some methods need beside them comes from the same windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ship_geo.baselines.layout import StackLayout
from ship_geo.errors import ArgumentError, ProductError
from ship_geo.nn.inputs import BandStatistics
from ship_geo.ops.moments import Moments
from ship_geo.ops.sharpness import REACH, detail_energy, sharpness
from ship_geo.ops.views import BandView, blur_of
from ship_geo.ops.windows import Lattice, PreparedWindow

RIDGE = 1e-4
"""Ridge of the intensity regression, in units of the mean band variance: equal bands share a weight."""

SAMPLE_SIZE = 512
"""MS values of a window that are looked at for haze."""

HAZE = 0.005
"""Quantile of a band that is taken for its haze."""

DARK = 0.01
"""Quantile of a band of which a share is haze after Lolli et al. 2017."""


@dataclass(frozen=True, eq=False)
class WindowStats:
    """What one window adds to the statistics of its scene.

    Attributes
    ----------
    moments
        Of [ms_up, pan, pan_low] over the valid pixels, DN.
    ms_max
        Largest MS value, DN.
    n_pixel
        Pixels looked at, valid or not.
    sample
        (band, at most `SAMPLE_SIZE`) MS values, evenly spread over the valid pixels, DN.
    energy
        (2,) sums of `ship_geo.ops.sharpness.detail_energy` of PAN where all it is made from is valid, DN squared.
    ms_min
        Smallest value of each band of ms_up, DN; empty where no pixel is valid.
    coarse, plain
        Moments of [ms, ms_low, pan_lr] on the MS grid and of [ms_up, pan_plain], over the valid ones of the pixels at
        which they are known, DN; None where the window was prepared without them.
    """

    moments: Moments
    ms_max: float
    n_pixel: int
    sample: NDArray[np.float32]
    energy: NDArray[np.float64]
    ms_min: tuple[float, ...] = ()
    coarse: Moments | None = None
    plain: Moments | None = None

    @classmethod
    def measure(cls, window: PreparedWindow, inside: tuple[slice, slice], ms_max: float) -> WindowStats:
        """Measure one window; it may hold no valid pixel.

        Parameters
        ----------
        window
            The window.
        inside
            Its rows and columns that belong to the scene; PAN may go on beyond, the scene does not.
        ms_max
            Largest valid MS value that was read for it, DN; interpolation overshoots.
        """
        layout = StackLayout(len(window.ms_up))
        valid = window.valid[inside]
        stack = layout.stack(window.ms_up, window.pan, window.pan_low)[(slice(None), *inside)]
        stack = stack.reshape(len(stack), -1) if valid.all() else stack[:, valid]
        ms, energy = stack[: layout.n_band], _energy(window.pan[(slice(None), *inside)], valid)
        coarse, plain = (
            None if lattice is None else _measure_lattice(lattice, window.valid, inside)
            for lattice in (window.coarse, window.plain)
        )
        if not stack.shape[1]:
            nothing = Moments.empty(layout.n_variable)
            return cls(nothing, ms_max, valid.numel(), ms.numpy(), energy, coarse=coarse, plain=plain)
        step = -(-stack.shape[1] // SAMPLE_SIZE)
        return cls(
            moments=Moments.from_samples(stack.numpy()),
            ms_max=ms_max,
            n_pixel=valid.numel(),
            sample=ms[:, ::step].numpy().copy(),
            energy=energy,
            ms_min=tuple(ms.amin(1).tolist()),
            coarse=coarse,
            plain=plain,
        )


def _energy(pan: Tensor, valid: Tensor) -> NDArray[np.float64]:
    """Sums of fine and coarse detail of PAN (1, row, col) over pixels whose neighbourhood is valid."""
    if min(valid.shape) <= 2 * REACH:
        return np.zeros(2)
    lost = torch.nn.functional.max_pool2d((~valid)[None].float(), 2 * REACH + 1, stride=1)[0]
    energy = detail_energy(pan[0].double())[:, lost < 0.5]  # noqa: PLR2004  half a pixel
    return np.asarray(energy.numpy().sum(axis=1))


@dataclass(frozen=True, eq=False)
class SceneStats:
    """What every window of a scene is told.

    Attributes
    ----------
    moments
        Of [ms_up, pan, pan_low], DN.
    ms_max
        Largest MS value seen, DN: tells whether the nominal bit depth holds.
    n_pixel
        Pixels looked at, valid or not.
    haze
        Value of the darkest pixels of each band (quantile `HAZE`), DN.
    first_percentile
        Quantile `DARK` of each band, DN.
    ms_min
        Smallest value of each band of ms_up, DN.
    energy
        (fine, coarse) detail of PAN, see `WindowStats`.
    coarse, plain
        Moments of [ms, ms_low, pan_lr] on the MS grid and of [ms_up, pan_plain], DN; None where windows were prepared
        without them.
    roles
        Of the bands; empty where unknown.
    views
        How each band sees what PAN sees; empty where nobody looked. The moments are of images brought together so.
    mixture
        Per band: weights of the classical details and of the network's residual (`ship_geo.mixture`); empty: the
        residual alone.
    onto_pan
        Whether results show the ground where PAN shows it, and not where the georeferencing of each band puts it.
    """

    moments: Moments
    ms_max: float
    n_pixel: int
    haze: tuple[float, ...]
    first_percentile: tuple[float, ...]
    ms_min: tuple[float, ...]
    energy: tuple[float, float]
    coarse: Moments | None = None
    plain: Moments | None = None
    roles: tuple[str, ...] = ()
    views: tuple[BandView, ...] = ()
    mixture: tuple[tuple[float, ...], ...] = ()
    onto_pan: bool = False

    @property
    def valid_fraction(self) -> float:
        """Share of valid pixels among those looked at."""
        return self.moments.count / max(1, self.n_pixel)

    @classmethod
    def merged(
        cls, parts: Sequence[WindowStats], roles: Sequence[str] = (), views: Sequence[BandView] = ()
    ) -> SceneStats:
        """Join the statistics of windows.

        Parameters
        ----------
        parts
            Of windows that do not overlap.
        roles
            Of the bands, where known.
        views
            What the windows were prepared with.

        Raises
        ------
        ProductError
            If no window holds a valid pixel.
        """
        moments = _merged([part.moments for part in parts])
        n_pixel = sum(part.n_pixel for part in parts)
        if moments is None or not moments.count:
            msg = (
                f"a scene needs pixels that are valid in PAN and in all MS bands, got none among {n_pixel}; "
                "check the nodata values of both files and whether they show the same ground"
            )
            raise ProductError(msg)
        sample = np.concatenate([part.sample for part in parts], axis=1).astype(np.float64)
        haze, dark = (tuple(levels) for levels in np.quantile(sample, (HAZE, DARK), axis=1).tolist())
        fine, coarse = (float(value) for value in np.sum([part.energy for part in parts], axis=0))
        return cls(
            moments=moments,
            ms_max=max(part.ms_max for part in parts),
            n_pixel=n_pixel,
            haze=haze,
            first_percentile=dark,
            ms_min=tuple(min(values) for values in zip(*(part.ms_min for part in parts if part.ms_min), strict=True)),
            energy=(fine, coarse),
            coarse=_merged([part.coarse for part in parts]),
            plain=_merged([part.plain for part in parts]),
            roles=tuple(roles),
            views=tuple(views),
        )

    @cached_property
    def intensity(self) -> tuple[NDArray[np.float64], float]:
        """Weights of all bands, and offset, of the intensity that comes nearest to the low-passed PAN (GSA)."""
        layout, mean, cov = StackLayout.of(self.moments), self.moments.mean, self.moments.cov
        ms, low = list(layout.ms_up), list(layout.pan_low)
        weight = intensity_weights(cov[np.ix_(ms, ms)], cov[np.ix_(ms, low)].mean(1))
        return weight, float(mean[layout.pan] - weight @ mean[ms])

    def network_statistics(self, bands: Sequence[int]) -> BandStatistics:
        """Statistics of some bands as the network reads them, (1, band or 1, 1, 1) float32; a band may come twice.

        Raises
        ------
        ArgumentError
            If the scene was measured without views.
        """
        if not self.views:
            msg = "a network reads how bands see PAN, got statistics without views; gather them with `observe`"
            raise ArgumentError(msg)
        layout, mean, cov = StackLayout.of(self.moments), self.moments.mean, self.moments.cov
        std = np.maximum(np.sqrt(np.maximum(np.diag(cov), 0)), np.maximum(1e-3 * np.abs(mean), 1e-6))
        ms, low, pan = [layout.ms_up[i] for i in bands], [layout.pan_low[i] for i in bands], layout.pan
        weight, offset = self.intensity
        crossed = cov[: layout.n_band, : layout.n_band] @ weight
        haze = np.asarray(self.haze)

        def shaped(values: ArrayLike) -> Tensor:
            return torch.from_numpy(np.asarray(values, np.float32).reshape(1, -1, 1, 1))

        return BandStatistics(
            ms_mean=shaped(mean[ms]),
            ms_std=shaped(std[ms]),
            pan_mean=shaped(mean[pan]),
            pan_std=shaped(std[pan]),
            pan_low_mean=shaped(mean[low]),
            low_gain=shaped(_divide(cov[ms, low], cov[low, low])),
            gain=shaped(_divide(cov[pan, ms], cov[pan, low])),
            intensity_gain=shaped(_divide(crossed[ms], np.full(len(ms), weight @ crossed))),
            haze=shaped(haze[ms]),
            intensity_haze=shaped(weight @ haze + offset),
            blur=shaped([blur_of(self.views[band].gnyq) for band in bands]),
            sharpness=sharpness(torch.tensor(self.energy, dtype=torch.float64)).float().reshape(1, 1, 1, 1),
        )


def _measure_lattice(lattice: Lattice, valid: Tensor, inside: tuple[slice, slice]) -> Moments:
    """Moments over those places of a lattice that lie on a valid pixel inside the scene."""
    spans = [range(n)[part] for n, part in zip(valid.shape, inside, strict=True)]
    rows, cols = (
        np.flatnonzero((places >= span.start) & (places < span.stop))
        for places, span in zip((lattice.rows, lattice.cols), spans, strict=True)
    )
    known = valid[lattice.rows[rows]][:, lattice.cols[cols]]
    return Moments.from_samples(lattice.layers[:, rows][:, :, cols][:, known].numpy())


def _merged(parts: Sequence[Moments | None]) -> Moments | None:
    """Join moments; None if any part has none."""
    whole: Moments | None = None
    for part in parts:
        if part is None:
            return None
        whole = part if whole is None else whole.merge(part)
    return whole


def intensity_weights(cov: NDArray[np.float64], crossed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares weights of the bands for a target, stable where bands repeat each other.

    Parameters
    ----------
    cov
        (..., band, band) covariance of the bands.
    crossed
        (..., band) covariance of each band with the target.

    Returns
    -------
    numpy.ndarray
        (..., band).
    """
    n_band = cov.shape[-1]
    ridge = RIDGE * np.trace(cov, axis1=-2, axis2=-1)[..., None, None] / n_band + np.finfo(np.float64).tiny
    return np.asarray(np.linalg.solve(cov + ridge * np.eye(n_band), crossed[..., None])[..., 0])


def _divide(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
