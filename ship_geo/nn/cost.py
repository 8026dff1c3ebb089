"""What a network costs to run: multiply-adds per pixel, counted while it runs.

Convolutions and linear layers are counted exactly; a Fourier transform of a real N-pixel channel counts 2.5 N log2 N
floating-point operations, two of which make a multiply-add. Pointwise operations are left out.
"""

from __future__ import annotations

import math

import torch
from torch.utils.flop_counter import FlopCounterMode

from ship_geo.nn.sharpener import Sharpener

N_TRANSFORM = 3
"""Two forward and one inverse transform per channel that is correlated, or convolved circularly."""


def multiply_adds(network: Sharpener, window: int) -> tuple[float, float]:
    """Multiply-adds per pixel of the layers, and of the Fourier transforms at this window.

    Parameters
    ----------
    network
        One product of Fourier transforms in every stage, of all features.
    window
        Rows and columns.
    """
    config = network.config
    device = network.out.weight.device
    streams = (torch.zeros(1, n, window, window, device=device) for n in (config.n_in, config.n_guide))
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(*streams)
    fourier = config.n_stage * config.n_feature * N_TRANSFORM * 2.5 * math.log2(window**2) / 2
    return counter.get_total_flops() / 2 / window**2, fourier
