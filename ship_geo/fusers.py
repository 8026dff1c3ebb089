"""What turns prepared windows and scene statistics into sharpened windows, networks and classical methods alike.

A `ModelSpec` is the small value that travels to workers; `load_fuser` builds the fuser there, once per process. Not for
tiling or blending. The convention that could surprise: windows are fused in batches of a fixed size, because libraries
may choose another algorithm for another shape; a short batch is padded.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from ship_geo.baselines.registry import METHODS, get_method
from ship_geo.errors import ArgumentError, CheckpointError
from ship_geo.nn.checkpoint import Checkpoint, build_model
from ship_geo.nn.inputs import N_GUIDE, N_STREAM, BandStatistics, injected_details, mixture_parts, network_streams
from ship_geo.nn.sharpener import Sharpener, SharpenerConfig
from ship_geo.nn.weights import ShipPlusPlus_Weights, resolve_weights
from ship_geo.ops.resample import move
from ship_geo.ops.windows import PreparedWindow
from ship_geo.stats import SceneStats

Precision = Literal["auto", "float32", "bfloat16"]

CLASSICAL_WINDOW = 512
"""Window of the classical methods, which need no overlap; small enough for a processor's cache, large for reading."""

GROUPS = (("blue", "green", "red", "nir"), ("coastal", "yellow", "rededge", "nir2"))
"""Bands that a network of four bands sees together, by role; what is left over is grouped in file order."""

GPU_BATCH = 16
"""Windows of a call on a GPU unless a budget says otherwise."""

GPU_CONTEXT_BYTES = 600 * 2**20
"""Of a GPU, for what libraries take beside PyTorch's own memory."""

_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1  # of glibc's malloc.h

_MODEL_LOCKS: dict[str, threading.Lock] = {}  # by device
_LOAD_LOCK = threading.Lock()  # a cached function runs twice when two threads miss at once


@dataclass(frozen=True)
class ModelSpec:
    """Names a model on every machine that sees the same files.

    Attributes
    ----------
    name
        For people and tags.
    kind
        ``"classical"`` or ``"network"``.
    path
        Checkpoint of a network, else empty.
    digest
        SHA-256 of the checkpoint; of a classical method its name.
    window, overlap
        Of the windows it is used with.
    n_band
        Bands it fuses at once; 0 for any number.
    """

    name: str
    kind: Literal["classical", "network"]
    path: str
    digest: str
    window: int
    overlap: int
    n_band: int

    @classmethod
    def resolve(cls, model: Any) -> ModelSpec:
        """Find a model by ``"auto"``, the name of a classical method or of shipped weights, a path or a checkpoint.

        Raises
        ------
        ArgumentError
            If there is no such model, or a network is not for pan-sharpening.
        CheckpointError
            If its file is missing or corrupt.
        """
        if isinstance(model, str) and model.lower() in METHODS:
            name = model.lower()
            return cls(name, "classical", "", name, CLASSICAL_WINDOW, 0, 0)
        checkpoint = _resolve_checkpoint(model)
        config = checkpoint.config
        if not isinstance(config, SharpenerConfig) or (config.n_in, config.n_guide) != (
            N_STREAM * config.n_band,
            N_GUIDE,
        ):
            msg = (
                f"a pan-sharpening network reads streams of {N_STREAM} channels per band and {N_GUIDE} guiding "
                f"channels, got {checkpoint.kind} with {config}; pass weights trained for pan-sharpening"
            )
            raise ArgumentError(msg)
        # Shipped weights travel by name: other machines have them elsewhere.
        shipped = [member.name for member in ShipPlusPlus_Weights if member.path == checkpoint.path]
        path = shipped[0] if shipped else str(checkpoint.path.absolute())
        name = shipped[0] if shipped else checkpoint.path.stem
        window, overlap = checkpoint.window, checkpoint.overlap
        return cls(name, "network", path, checkpoint.digest, window, overlap, config.n_band)


def _resolve_checkpoint(model: Any) -> Checkpoint:
    try:
        return resolve_weights(None if model == "auto" else model)
    except ArgumentError as error:
        legal = ", ".join(["auto", *METHODS, *(member.name for member in ShipPlusPlus_Weights)])
        msg = f"the model is one of {legal} or the path of a checkpoint, got {model!r}; choose one of them"
        raise ArgumentError(msg) from error


class Fuser(Protocol):
    """Anything that sharpens windows."""

    @property
    def batch_size(self) -> int:
        """Windows that are best fused together."""

    @property
    def reads_pan_low(self) -> bool:
        """Whether windows need low-passed PAN."""

    @property
    def device_type(self) -> str:
        """``"cpu"`` or ``"cuda"``."""

    def fuse(self, windows: Sequence[PreparedWindow], stats: SceneStats, groups: BandGroups) -> list[Tensor]:
        """Sharpen windows of one shape: (band, row, col) float32 DN each, on the CPU."""


BandGroups = tuple[tuple[int, ...], ...]


def band_groups(roles: Sequence[str], n_band: int) -> BandGroups:
    """Divide bands into groups for a network of `n_band` bands; a short group repeats its last band.

    Parameters
    ----------
    roles
        Of all MS bands, in order.
    n_band
        Bands of the network; 0 puts all bands into one group.

    Returns
    -------
    tuple of tuple of int
        Band indices; each band occurs in one group, apart from repetitions at the end of a group.
    """
    if n_band in (0, len(roles)):
        return (tuple(range(len(roles))),)
    known = [[roles.index(role) for role in group if role in roles] for group in GROUPS]
    ordered = [index for group in known for index in group]
    ordered += [index for index in range(len(roles)) if index not in ordered]
    groups = [ordered[start : start + n_band] for start in range(0, len(ordered), n_band)]
    return tuple(tuple(group + group[-1:] * (n_band - len(group))) for group in groups)


@dataclass(frozen=True)
class ClassicalFuser:
    """A method of `ship_geo.baselines` with the coefficients of the scene."""

    name: str
    batch_size: int = 1
    device_type: str = "cpu"

    @property
    def reads_pan_low(self) -> bool:
        """Whether the method looks at low-passed PAN."""
        return get_method(self.name).reads_pan_low

    def fuse(self, windows: Sequence[PreparedWindow], stats: SceneStats, groups: BandGroups) -> list[Tensor]:
        """Sharpen each window with the scene's coefficients."""
        del groups  # a classical method takes all bands at once
        method = get_method(self.name)
        coefficients = method.fit(stats)
        return [method.apply(window.ms_up, window.pan, window.pan_low, coefficients) for window in windows]


class NetworkFuser:
    """A network on a device, which it has to itself while it runs: others read and prepare windows meanwhile.

    Parameters
    ----------
    network
        In evaluation mode.
    device
        Where it runs.
    precision
        Of the convolutions; Fourier transforms stay in float32.
    batch_size
        Largest number of windows at once; halved for good when memory does not suffice.
    """

    reads_pan_low = True

    def __init__(self, network: Sharpener, device: torch.device, precision: str, batch_size: int) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last).eval()
        self.device, self.precision, self.batch_size = device, precision, batch_size
        self._lock = _MODEL_LOCKS.setdefault(_device_name(device), threading.Lock())

    @property
    def device_type(self) -> str:
        """``"cpu"`` or ``"cuda"``."""
        return self.device.type

    def with_batch(self, batch_size: int) -> NetworkFuser:
        """Return the same network with another batch size."""
        return NetworkFuser(self.network, self.device, self.precision, batch_size)

    def fuse(self, windows: Sequence[PreparedWindow], stats: SceneStats, groups: BandGroups) -> list[Tensor]:
        """Sharpen windows group by group.

        Raises
        ------
        torch.OutOfMemoryError
            If a single window does not fit on the device.
        """
        fused = [torch.empty_like(window.ms_up) for window in windows]
        for group in groups:
            run = partial(self._run, bands=list(group), stats=stats)
            for target, values in zip(fused, self._in_batches(windows, run), strict=True):
                target[list(group)] = values
        return fused

    def _in_batches(
        self, windows: Sequence[PreparedWindow], run: Callable[[Sequence[PreparedWindow]], Tensor]
    ) -> list[Tensor]:
        """Run fixed batches; halve them when the device runs out of memory, and go on."""
        fused: list[Tensor] = []
        while len(fused) < len(windows):
            size = self.batch_size
            part = list(windows[len(fused) : len(fused) + size])
            padded = part + part[-1:] * (size - len(part))
            try:
                with self._lock:
                    result = run(padded)
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                self.batch_size = size // 2
                torch.cuda.empty_cache()
                continue
            fused.extend(result[: len(part)])
        return fused

    @torch.inference_mode()
    def _run(self, windows: Sequence[PreparedWindow], bands: list[int], stats: SceneStats) -> Tensor:
        ms_up, pan, pan_low = (
            torch.stack([getattr(window, name) for window in windows]).to(self.device)
            for name in ("ms_up", "pan", "pan_low")
        )
        weights, offset = stats.intensity
        weight = torch.from_numpy(weights.astype(np.float32)).to(self.device)
        intensity = (weight[:, None, None] * ms_up).sum(1, keepdim=True) + offset
        statistics = _on(stats.network_statistics(bands), self.device)
        inputs = ms_up[:, bands], pan, pan_low[:, bands], intensity, statistics
        added = self._residual(*network_streams(*inputs)) * statistics.ms_std
        if stats.mixture:
            shares = torch.tensor([stats.mixture[band] for band in bands], device=self.device).mT[:, :, None, None]
            parts = mixture_parts(injected_details(*inputs), added)
            added = sum((share * part for share, part in zip(shares, parts, strict=True)), torch.zeros_like(added))
        if stats.onto_pan:
            return (inputs[0] + added).contiguous().cpu()
        # What was added to each band where PAN shows its ground is taken to where the band has it.
        placed = torch.stack([window.ms_placed for window in windows]).to(self.device)[:, bands]
        shifts = [(stats.views[band].row, stats.views[band].col) for band in bands]
        return (placed + move(added, shifts)).contiguous().cpu()

    @torch.inference_mode()
    def residual(self, ms_stream: Tensor, guide_stream: Tensor) -> Tensor:
        """Return what the network adds to streams of one window, (1, band, row, col) standardised, on the CPU."""
        with self._lock:
            return self._residual(ms_stream.to(self.device), guide_stream.to(self.device)).cpu()

    def _residual(self, ms_stream: Tensor, guide_stream: Tensor) -> Tensor:
        settle_threads(self.device)  # every thread of this process has a number of its own
        last = torch.channels_last
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            fused = self.network(ms_stream.contiguous(memory_format=last), guide_stream.contiguous(memory_format=last))
        residual: Tensor = fused.float() - ms_stream[:, : fused.shape[1]]
        if not bool(residual.isfinite().all()):
            msg = (
                f"a network gives numbers, got NaN or infinity with {self.precision}; its weights are damaged or were "
                "made for other values: pass others"
            )
            raise CheckpointError(msg)
        return residual


def _on(statistics: BandStatistics, device: torch.device) -> BandStatistics:
    return BandStatistics(**{name: value.to(device) for name, value in vars(statistics).items()})


def pick_device(device: str) -> torch.device:
    """Return the device of a name; ``"auto"`` is CUDA where there is one, else the CPU.

    Raises
    ------
    ArgumentError
        If this machine has no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        msg = f"the device is 'auto', 'cpu' or 'cuda[:n]' of this machine, got {device!r} ({error}); use device='cpu'"
        raise ArgumentError(msg.replace("\n", " ")) from error
    return chosen


def pick_precision(precision: str, device: torch.device) -> str:
    """Return ``"float32"`` or ``"bfloat16"``; ``"auto"`` is bfloat16 where hardware multiplies it faster.

    Raises
    ------
    ArgumentError
        If `precision` is unknown.
    """
    if precision in ("float32", "bfloat16"):
        return precision
    if precision != "auto":
        msg = f"the precision is 'auto', 'float32' or 'bfloat16', got {precision!r}; choose one of them"
        raise ArgumentError(msg)
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if device.type == "cpu" and _cpu_multiplies_bfloat16() else "float32"


def _keep_freed_memory() -> None:
    """Let glibc keep freed buffers: giving every activation back to the system costs a seventh of a window's time."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**25)
        mallopt(_M_TRIM_THRESHOLD, 2**29)


def _cpu_multiplies_bfloat16() -> bool:
    """Whether the CPU has AMX or AVX512-BF16; asked by names that torch may move, so absence means no."""
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in checks)


def load_fuser(
    spec: ModelSpec, device: str = "auto", precision: str = "auto", *, batch_size: int = 0, max_gpu_memory: int = 0
) -> Fuser:
    """Build the fuser of a model; once per process and model, whatever number of threads asks for it.

    Parameters
    ----------
    spec, device, precision
        The model and where it runs.
    batch_size
        Windows at once on a GPU; 0 for `GPU_BATCH`. A processor always takes one.
    max_gpu_memory
        Bytes that this process may take of the GPU, what libraries take included; 0 for all there are.

    Raises
    ------
    CheckpointError
        If the checkpoint is not the one that was named.
    ArgumentError
        If device or precision are unknown.
    """
    with _LOAD_LOCK:
        fuser = _load_fuser(spec, device, precision)
        if not isinstance(fuser, NetworkFuser) or fuser.device.type == "cpu":
            return fuser
        _limit_gpu(_device_name(fuser.device), max_gpu_memory)
        return _with_batch(fuser, batch_size) if batch_size else fuser


@lru_cache(maxsize=4)
def _with_batch(fuser: NetworkFuser, batch_size: int) -> NetworkFuser:
    return fuser.with_batch(batch_size)  # remembered, since a batch is halved for good when memory does not suffice


def _limit_gpu(device: str, max_gpu_memory: int) -> None:
    """Let PyTorch run out of memory where the budget ends, upon which batches are halved; 0 lifts the limit."""
    total = torch.cuda.get_device_properties(device).total_memory
    share = max(max_gpu_memory - GPU_CONTEXT_BYTES, 1) / total if max_gpu_memory else 1.0
    torch.cuda.set_per_process_memory_fraction(min(1.0, share), device)


def settle_threads(device: torch.device) -> None:
    """Keep torch from running a network on the CPU with one thread.

    With one it takes other convolution kernels, whose last bits differ from those of all other thread counts.
    """
    if device.type == "cpu" and torch.get_num_threads() == 1:
        torch.set_num_threads(2)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda" and device.index is None:
        return f"cuda:{torch.cuda.current_device()}"
    return str(device)


@lru_cache(maxsize=4)
def _load_fuser(spec: ModelSpec, device: str, precision: str) -> Fuser:
    if spec.kind == "classical":
        return ClassicalFuser(spec.name)
    checkpoint = resolve_weights(spec.path)
    if checkpoint.digest != spec.digest:
        msg = (
            f"all workers use the same weights, got {checkpoint.digest[:12]} instead of {spec.digest[:12]} in "
            f"{spec.path}; put the same file there"
        )
        raise CheckpointError(msg)
    chosen = pick_device(device)
    network = build_model(checkpoint)
    if not isinstance(network, Sharpener):
        msg = f"a pan-sharpening network reads streams, as ShipPlusPlus does, got {checkpoint.kind}; pass other weights"
        raise CheckpointError(msg)
    settle_threads(chosen)
    if chosen.type == "cpu":
        _keep_freed_memory()
    return NetworkFuser(network, chosen, pick_precision(precision, chosen), 1 if chosen.type == "cpu" else GPU_BATCH)
