"""Cost of a SHIP++ network: multiply-adds per PAN pixel, parameters, memory of a window, receptive field.

Usage: ``python pipelines/bench/network_cost.py [WEIGHTS.safetensors] [--window 256]``; without weights the default
network with random ones. Multiply-adds are counted by `ship_geo.nn.cost`. Memory is the largest sum of tensors alive in
one float32 window without gradients; what kernels use inside comes on top.

The receptive field is the box of input pixels with a gradient to the central output pixel. The Fourier correlation and
the pooled means see the whole window; their gradients are cut for the box, and their share is printed beside it.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ship_geo.nn.checkpoint import build_model, load_checkpoint
from ship_geo.nn.cost import multiply_adds
from ship_geo.nn.ship_plus_plus import ShipPlusPlus


@dataclass(frozen=True)
class ReceptiveField:
    """Half width of the local box, half width that holds 95 % of its gradient, share of the global parts."""

    radius: int
    radius_95: int
    global_share: float


def streams(network: ShipPlusPlus, window: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    config = network.config
    ms_stream, guide_stream = (
        torch.randn(1, n, window, window, generator=generator) for n in (config.n_in, config.n_guide)
    )
    return ms_stream, guide_stream


class LiveMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Largest sum of bytes in storages that were made inside and are alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._now = 0
        self._known: set[int] = set()

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                key, size = storage.data_ptr(), storage.nbytes()
                if size and key not in self._known:
                    self._known.add(key)
                    self._now += size
                    weakref.finalize(storage, self._release, key, size)
        self.peak = max(self.peak, self._now)
        return result


def peak_memory(network: ShipPlusPlus, window: int) -> int:
    """Bytes of the tensors alive at once, input included."""
    inputs = streams(network, window)
    with torch.no_grad(), LiveMemory() as memory:
        network(*inputs)
    return int(memory.peak) + sum(part.nbytes for part in inputs)


def _gradient(network: ShipPlusPlus, window: int, *, local: bool) -> Tensor:
    """(row, col) absolute gradient of the central output pixel over all input channels."""

    def cut(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(part.detach() for part in inputs)

    ends = ("spatial.first_norm", "channel.gate")
    handles = [
        module.register_forward_pre_hook(cut)
        for name, module in network.named_modules()
        if local and (name.endswith(ends[0]) or (ends[1] in name and isinstance(module, nn.Linear)))
    ]
    inputs = [part.requires_grad_() for part in streams(network, window)]
    middle = window // 2
    network(*inputs)[..., middle, middle].sum().backward()
    for handle in handles:
        handle.remove()
    return torch.cat([part.grad for part in inputs if part.grad is not None], 1).abs().sum((0, 1))


def receptive_field(network: ShipPlusPlus, window: int) -> ReceptiveField:
    """Measure on random streams."""
    near, whole = (_gradient(network, window, local=local) for local in (True, False))
    middle = window // 2
    distance = torch.maximum((torch.arange(window) - middle).abs()[:, None], (torch.arange(window) - middle).abs())
    radius = int(distance[near > 0].max())
    within = [float(near[distance <= r].sum() / near.sum()) for r in range(radius + 1)]
    radius_95 = next(r for r, share in enumerate(within) if share >= 0.95)  # noqa: PLR2004
    return ReceptiveField(radius, radius_95, float(whole[distance > radius].sum() / whole.sum()))


@click.command()
@click.argument("weights", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--window", default=256, show_default=True, help="Rows and columns of a window.")
def main(weights: Path | None, window: int) -> None:
    """Print what a network costs."""
    torch.manual_seed(0)
    network = build_model(load_checkpoint(weights)) if weights else ShipPlusPlus()
    if not isinstance(network, ShipPlusPlus):
        msg = f"the cost is measured of SHIP++ networks, got {type(network).__name__}; pass other weights"
        raise click.UsageError(msg)
    if not weights:
        for values in network.parameters():
            if not values.any():  # zero at first: nothing would reach the output
                nn.init.normal_(values, std=0.02)
    network.eval()
    layers, fourier = multiply_adds(network, window)
    field = receptive_field(network, min(window, 128))
    print(f"parameters                 {sum(p.numel() for p in network.parameters()):>10,}")
    print(f"multiply-adds per pixel    {layers:>10,.0f}  convolutions and linear layers")
    print(f"                           {fourier:>10,.0f}  Fourier transforms, window {window}")
    print(
        f"memory of a window         {peak_memory(network, window) / 2**20:>10,.0f}  MiB, float32, {window} x {window}"
    )
    width, width_95 = (2 * radius + 1 for radius in (field.radius, field.radius_95))
    print(f"receptive field, local     {width:>10}  pixels; 95 % of the gradient in {width_95}")
    print(f"gradient beyond it         {field.global_share:>10.1%}  through correlation and pooling")


if __name__ == "__main__":
    main()
