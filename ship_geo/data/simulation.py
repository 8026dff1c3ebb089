"""Training pairs simulated from multi-band imagery: what a sensor would have delivered of a known reference.

Torch alone, so that it runs where no geospatial library is installed, and on the device of its input. Every random
number comes from the generator that is passed in. Not for degrading real pairs: see `ship_geo.degrade`.

A sample draws its own sensor: ratio 2 or 4, an MTF gain per band, a PAN response that mixes the bands, bends with land
cover and sees wavelengths which no band sees, blur, noise and haze. MTF gain and place of each band are told to the
network as a scene's are estimated (`ship_geo.ops.views`): nearly right. The reference is as blurred on the PAN grid
as the bands are on theirs, give or take, since that is what a scene at reduced resolution looks like.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ship_geo.errors import ArgumentError
from ship_geo.nn.inputs import BandStatistics, network_streams
from ship_geo.ops.mtf import mtf_sigma
from ship_geo.ops.resample import upsample
from ship_geo.ops.sharpness import detail_energy, sharpness
from ship_geo.stats import HAZE, RIDGE

MARGIN = 32
"""Border of a simulated region whose filters have seen its edge; cut off, PAN pixels."""

BLUR_RADIUS = 12
HAZE_STEP = 8
"""Every so many pixels are looked at for it."""
DARKEST = 1e-3
CRISP_WIDTH = 0.7
"""Standard deviation of the blur that is undone, pixels."""


@dataclass(frozen=True)
class SimulationConfig:
    """Ranges from which every sample draws its sensor.

    Attributes
    ----------
    ratios, ratio_weights
        Ratios and how often each is drawn.
    gnyq
        Range of the MTF gain at Nyquist; bands of a sample lie within `gnyq_spread` of each other.
    gnyq_error
        Standard deviation of the gain which the network is told against the true one.
    shift, band_shift
        Largest PAN/MS shift that is not told, of all bands and of single ones, PAN pixels.
    crispness
        Largest share of its finest detail that is added to the imagery, whose own blur it undoes.
    ref_blur
        Standard deviation of the logarithm of the reference's blur about that of the bands, each in pixels of its grid.
    pan_blur
        Largest standard deviation of the blur of PAN, PAN pixels; half of all samples have less than a quarter of it.
    nir_blind
        How often PAN hardly sees the last band of the imagery, which is near infrared.
    hidden, cover, bend
        Largest weight of the wavelengths that no band sees; standard deviations of the land-cover response and of the
        logarithm of the response's exponent.
    noise
        Largest standard deviation of the noise of MS and PAN, in units of the band's own.
    haze
        Root of the largest offset added to PAN and to every band, in units of their means.
    repeat
        How often the last band repeats the one before it, as a group of three bands does.
    """

    ratios: tuple[int, ...] = (4, 2)
    ratio_weights: tuple[float, ...] = (0.8, 0.2)
    gnyq: tuple[float, float] = (0.12, 0.55)
    gnyq_spread: float = 0.04
    gnyq_error: float = 0.03
    shift: float = 0.06
    band_shift: float = 0.06
    crispness: float = 0.8
    ref_blur: float = 0.2
    pan_blur: float = 0.65
    nir_blind: float = 0.4
    hidden: float = 0.3
    cover: float = 0.1
    bend: float = 0.1
    noise: float = 0.02
    haze: float = 0.7
    repeat: float = 0.1

    def __post_init__(self) -> None:
        """Refuse ratios that cannot be drawn, and gains that no filter has."""
        weights = self.ratio_weights
        if min(self.ratios) < 1 or len(weights) != len(self.ratios) or min(weights) < 0 or sum(weights) <= 0:
            msg = f"every ratio has a weight, and one weight is above 0, got {self}; correct the config"
            raise ArgumentError(msg)
        if not 0 < self.gnyq[0] <= self.gnyq[1] < 1:
            msg = f"gnyq is a range of gains between 0 and 1, got {self.gnyq}; correct the config"
            raise ArgumentError(msg)


@dataclass(frozen=True)
class SimulatedBatch:
    """Network streams and reference of a batch, standardised, without the margin."""

    ms_stream: Tensor
    guide_stream: Tensor
    ref: Tensor
    statistics: BandStatistics


class _Draw:
    """Random numbers of one batch from one generator, on the CPU for equal numbers on every device."""

    def __init__(self, generator: torch.Generator, device: torch.device) -> None:
        self.generator, self.device = generator, device

    def uniform(self, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Tensor:
        return (torch.rand(shape, generator=self.generator) * (high - low) + low).to(self.device)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self.generator).to(self.device)

    def choice(self, weights: tuple[float, ...]) -> int:
        return int(torch.multinomial(torch.tensor(weights), 1, generator=self.generator))


def _filter_axis(values: Tensor, taps: Tensor) -> Tensor:
    """Filter the last axis of (n, band, row, col) with taps (n, band, 2 BLUR_RADIUS + 1), edges repeated."""
    n, band, row, col = values.shape
    radius = taps.shape[-1] // 2
    padded = functional.pad(values, (radius, radius, 0, 0), mode="replicate").reshape(1, n * band, row, -1)
    return functional.conv2d(padded, taps.reshape(n * band, 1, 1, -1), groups=n * band).reshape(n, band, row, col)


def gaussian_filter(values: Tensor, sigma: Tensor, shift: Tensor | None = None) -> Tensor:
    """Blur and shift every band of every sample by its own Gaussian.

    Parameters
    ----------
    values
        (n, band, row, col).
    sigma
        (n, band) standard deviations, pixels.
    shift
        (n, band, 2) row and column by which the output samples the input further on, pixels.

    Returns
    -------
    torch.Tensor
        Like `values`.
    """
    offset = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=values.device, dtype=values.dtype)
    zero = torch.zeros_like(sigma)
    for axis in (1, 0):
        centre = zero if shift is None else shift[..., axis]
        width = sigma.clamp(min=0.3)[..., None]
        taps = torch.exp(-0.5 * ((offset - centre[..., None]) / width) ** 2)
        values = _filter_axis(values, taps / taps.sum(-1, keepdim=True)).mT
    return values


def _pan_response(ref: Tensor, visible: Tensor, draw: _Draw, config: SimulationConfig) -> Tensor:
    """PAN as a random mix of the bands that bends with land cover and sees what no band sees; (n, 1, row, col).

    `visible` (band, 1, 1) scales the weights of the bands.
    """
    n, band = ref.shape[:2]
    weights = -torch.log(draw.uniform((n, band, 1, 1), 1e-6, 1.0)) * visible
    mix = (ref * weights / weights.sum(1, keepdim=True)).sum(1, keepdim=True)
    one, other = ref[:, 0:1], ref[:, 1:2]
    third, fourth = ref[:, -1:], ref[:, -2:-1]
    index = (one - other) / (one + other).clamp(min=DARKEST)
    unseen = torch.sqrt((third * fourth).clamp(min=DARKEST)) * (1 + 0.5 * draw.normal((n, 1, 1, 1)) * index)
    share = draw.uniform((n, 1, 1, 1), 0, config.hidden)
    bent = ((1 - share) * mix + share * unseen) * (1 + config.cover * draw.normal((n, 1, 1, 1)) * index)
    power = torch.exp(config.bend * draw.normal((n, 1, 1, 1)))
    return bent.clamp(min=DARKEST) ** power


def _spatial(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.mean((-2, -1), keepdim=True), values.std((-2, -1), keepdim=True).clamp(min=DARKEST)


def band_statistics(ms_up: Tensor, pan: Tensor, pan_low: Tensor, blur: Tensor) -> tuple[BandStatistics, Tensor, Tensor]:
    """Statistics of each sample over its own pixels, its intensity (n, 1, row, col) and weights (n, band, 1, 1).

    `blur` (n, band, 1, 1) is what the network is told of the bands'.
    """
    ms_mean, ms_std = _spatial(ms_up)
    pan_mean, pan_std = _spatial(pan)
    low_mean = pan_low.mean((-2, -1), keepdim=True)
    deviation, low = pan - pan_mean, pan_low - low_mean
    shared = (low * deviation).mean((-2, -1), keepdim=True).clamp(min=DARKEST**2)
    gain = ((ms_up - ms_mean) * deviation).mean((-2, -1), keepdim=True) / shared
    low_variance = low.square().mean((-2, -1), keepdim=True).clamp(min=DARKEST**2)
    low_gain = ((ms_up - ms_mean) * low).mean((-2, -1), keepdim=True) / low_variance
    weight, intensity_gain = _intensity(ms_up - ms_mean, (pan_low - low_mean).mean(1))
    intensity = (weight * (ms_up - ms_mean)).sum(1, keepdim=True) + pan_mean
    haze = ms_up.flatten(2)[..., ::HAZE_STEP].quantile(HAZE, -1)[..., None, None]
    intensity_haze = (weight * (haze - ms_mean)).sum(1, keepdim=True) + pan_mean
    sharp = sharpness(detail_energy(pan).mean((-2, -1)))[..., None, None]
    statistics = BandStatistics(
        ms_mean,
        ms_std,
        pan_mean,
        pan_std,
        low_mean,
        low_gain,
        gain,
        intensity_gain,
        haze,
        intensity_haze,
        blur,
        sharp,
    )
    return statistics, intensity, weight


def _intensity(ms: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and injection gains of the intensity, (n, band, 1, 1), from centred bands and a centred target."""
    bands = ms.flatten(2)
    cov = bands @ bands.mT / bands.shape[-1]
    crossed = bands @ target.flatten(1)[..., None] / bands.shape[-1]
    ridge = RIDGE * cov.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None] + DARKEST**4
    weight = torch.linalg.solve(cov + ridge * torch.eye(cov.shape[-1], device=cov.device), crossed)
    along = cov @ weight
    gain = along / (weight.mT @ along).clamp(min=DARKEST**2)
    return weight[..., None], gain[..., None]


def _towards_scene(s: BandStatistics, weight: Tensor, mean_step: Tensor, spread: Tensor, draw: _Draw) -> BandStatistics:
    """Move a region's statistics towards those of the scene around it, which a network is given in the field."""
    n, band = s.ms_mean.shape[:2]
    share = draw.uniform((n, 1, 1, 1))
    step, factor = share * mean_step * s.ms_std, spread**share
    step_pan, factor_pan = (weight * step).sum(1, keepdim=True), factor.mean(1, keepdim=True)
    jitter = torch.exp(0.1 * draw.normal((n, 1, 1, 1)) + 0.05 * draw.normal((n, band, 1, 1)))
    darker = draw.uniform((n, 1, 1, 1), 0, 0.4) * share * (s.haze - s.ms_mean)
    return BandStatistics(
        s.ms_mean + step,
        s.ms_std * factor,
        s.pan_mean + step_pan,
        s.pan_std * factor_pan,
        s.pan_low_mean + step_pan,
        s.low_gain * jitter,
        s.gain * jitter,
        s.intensity_gain * jitter,
        s.haze + darker,
        s.intensity_haze + (weight * darker).sum(1, keepdim=True),
        s.blur,
        s.sharpness + 0.1 * draw.normal((n, 1, 1, 1)),
    )


def simulate(
    chips: Tensor,
    generator: torch.Generator,
    scene_mean: Tensor,
    scene_std: Tensor,
    config: SimulationConfig | None = None,
) -> SimulatedBatch:
    """Turn chips into what a random sensor would have seen of them.

    Parameters
    ----------
    chips
        (n, band, row, col) uint8 or float, DN; rows and columns are multiples of 4 and exceed twice `MARGIN`.
    generator
        Source of every random number, on the CPU.
    scene_mean, scene_std
        (n, band) of the imagery around each chip, DN.
    config
        Ranges; the defaults trained the shipped weights.

    Returns
    -------
    SimulatedBatch
        Rows and columns shorter by twice `MARGIN`.
    """
    config = config or SimulationConfig()
    draw = _Draw(generator, chips.device)
    n, band, row, col = chips.shape
    values = (chips.float() + 1) / 256
    visible = torch.ones(band, 1, 1, device=chips.device)
    if draw.uniform((1,)).item() < config.nir_blind:
        visible[-1] = 0.2
    order = torch.randperm(band, generator=generator).to(chips.device)
    values, around_mean, around_std = values[:, order], scene_mean[:, order] / 256, scene_std[:, order] / 256
    visible = visible[order]
    if draw.uniform((1,)).item() < config.repeat:
        kept = [*range(band - 1), band - 2]
        values, around_mean, around_std = (part[:, kept] for part in (values, around_mean, around_std))
        visible = visible[kept]
    if draw.uniform((1,)).item() < 0.5:  # noqa: PLR2004  a fair coin
        values = values.mT
    values = values.flip([axis for axis in (-2, -1) if draw.uniform((1,)).item() < 0.5])  # noqa: PLR2004
    values = _crisp(values, draw, config)
    own_mean, own_std = _spatial(values)
    mean_step = ((around_mean[..., None, None] - own_mean) / own_std).clamp(-3, 3)
    spread = (around_std[..., None, None] / own_std).clamp(0.5, 5)

    low, high = config.gnyq
    gnyq = draw.uniform((n, 1), low, high) + draw.uniform((n, band), -config.gnyq_spread, config.gnyq_spread)
    gnyq = gnyq.clamp(0.08, 0.6)
    told = (gnyq + config.gnyq_error * draw.normal((n, band))).clamp(0.08, 0.6)
    pan = _pan_response(values, visible, draw, config)
    pan = gaussian_filter(pan, config.pan_blur * draw.uniform((n, 1)) ** 2)
    ref = gaussian_filter(values, _ref_blur(gnyq, draw, config))
    ref = ref + draw.uniform((n, 1, 1, 1), 0, config.haze) ** 2 * draw.uniform((n, band, 1, 1)) * own_mean
    pan = pan + draw.uniform((n, 1, 1, 1), 0, config.haze) ** 2 * pan.mean((-2, -1), keepdim=True)

    ratio = config.ratios[draw.choice(config.ratio_weights)]
    ms_up, pan_low = _observe(ref, pan, ratio, (gnyq, told), draw, config)
    pan = pan + _noise_like(pan, draw, config)
    own, intensity, weight = band_statistics(ms_up, pan, pan_low, blur_of(told)[..., None, None])
    intensity = intensity + _bias(intensity - own.pan_mean, draw)
    statistics = _towards_scene(own, weight, mean_step, spread, draw)
    inner = (..., slice(MARGIN, row - MARGIN), slice(MARGIN, col - MARGIN))
    ms_stream, guide_stream = network_streams(ms_up[inner], pan[inner], pan_low[inner], intensity[inner], statistics)
    target = (ref[inner] - statistics.ms_mean) / statistics.ms_std
    return SimulatedBatch(ms_stream, guide_stream, target, statistics)


def _bias(intensity: Tensor, draw: _Draw) -> Tensor:
    """Error of an intensity whose weights were fitted to a whole scene: a slope and an offset of this region."""
    n = len(intensity)
    spread = intensity.std((-2, -1), keepdim=True)
    return 0.05 * draw.normal((n, 1, 1, 1)) * intensity + 0.05 * draw.normal((n, 1, 1, 1)) * spread


def _noise_like(values: Tensor, draw: _Draw, config: SimulationConfig) -> Tensor:
    amount = draw.uniform((values.shape[0], 1, 1, 1), 0, config.noise) * values.std((-2, -1), keepdim=True)
    return amount * draw.normal(tuple(values.shape))


def blur_of(gnyq: Tensor) -> Tensor:
    """Standard deviation of the Gaussian whose gain at the Nyquist frequency is `gnyq`, pixels of the band's grid."""
    blur: Tensor = mtf_sigma(torch.e**-0.5, 1.0) * torch.sqrt(-2 * torch.log(gnyq))
    return blur


def _crisp(values: Tensor, draw: _Draw, config: SimulationConfig) -> Tensor:
    """Undo some of the imagery's own blur; what PAN and reference lose later is lost from this."""
    soft = gaussian_filter(values, torch.full(values.shape[:2], CRISP_WIDTH, device=values.device))
    return (values + config.crispness * draw.uniform((len(values), 1, 1, 1)) * (values - soft)).clamp(min=DARKEST)


def _ref_blur(gnyq: Tensor, draw: _Draw, config: SimulationConfig) -> Tensor:
    """Blur of the reference, which is about as sharp on its grid as the bands are on theirs; (n, band), pixels."""
    return blur_of(gnyq) * torch.exp(config.ref_blur * draw.normal((len(gnyq), 1)))


def _observe(
    ref: Tensor,
    pan: Tensor,
    ratio: int,
    gains: tuple[Tensor, Tensor],
    draw: _Draw,
    config: SimulationConfig,
) -> tuple[Tensor, Tensor]:
    """MS through the true MTF and shift, interpolated back; PAN through the MTF the network is told."""
    n, band, row, col = ref.shape
    gnyq, told = gains
    shift = draw.uniform((n, 1, 2), -config.shift, config.shift) + draw.uniform(
        (n, band, 2), -config.band_shift, config.band_shift
    )
    half = torch.full_like(shift, (ratio - 1) / 2)

    def decimate(values: Tensor, gains: Tensor, offset: Tensor) -> Tensor:
        return gaussian_filter(values, ratio * blur_of(gains), offset)[..., ::ratio, ::ratio]

    ms = decimate(ref, gnyq, half + shift)
    ms = ms + _noise_like(ms, draw, config)
    shape, steps = (row, col), (float(ratio), float(ratio))
    ms_up = upsample(ms, shape, steps, (0.0, 0.0))
    pan_low = upsample(decimate(pan.expand(-1, band, -1, -1), told, half), shape, steps, (0.0, 0.0))
    return ms_up, pan_low
