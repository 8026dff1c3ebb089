"""Colour of a visible image around the fusion of its luma: BT.601 luma and chroma, values in [0, 1].

Infrared-visible fusion replaces the luma and copies the chroma. Source: ITU-R BT.601-7, section 2.5.1, with the exact
scale factors 0.5 / (1 - 0.299) and 0.5 / (1 - 0.114) of its table, full range, chroma centred on 0.5.

What could surprise: the order is Y, Cr, Cb as in the fusion literature, and libraries that round the factors to 0.713
and 0.564 differ in the chroma by up to 2e-4. Nothing is clipped.
"""

from __future__ import annotations

import torch
from torch import Tensor

_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114  # weights of the luma, which sum to one
_CR_SCALE = 0.5 / (1.0 - _RED)
_CB_SCALE = 0.5 / (1.0 - _BLUE)
_CENTRE = 0.5


def luma(rgb: Tensor) -> Tensor:
    """Return the BT.601 luma.

    Parameters
    ----------
    rgb : Tensor
        ``(..., 3, row, col)``, red green blue in [0, 1].

    Returns
    -------
    Tensor
        ``(..., 1, row, col)`` in [0, 1], ``0.299 R + 0.587 G + 0.114 B``.
    """
    red, green, blue = torch.split(rgb, 1, dim=-3)
    return _RED * red + _GREEN * green + _BLUE * blue


def ycrcb_from_rgb(rgb: Tensor) -> Tensor:
    """Convert red green blue to luma and chroma.

    Parameters
    ----------
    rgb : Tensor
        ``(..., 3, row, col)`` in [0, 1].

    Returns
    -------
    Tensor
        ``(..., 3, row, col)``, Y Cr Cb in [0, 1]; grey has Cr = Cb = 0.5.
    """
    red, _, blue = torch.split(rgb, 1, dim=-3)
    luminance = luma(rgb)
    red_difference = (red - luminance) * _CR_SCALE + _CENTRE
    blue_difference = (blue - luminance) * _CB_SCALE + _CENTRE
    return torch.cat((luminance, red_difference, blue_difference), dim=-3)


def rgb_from_ycrcb(ycrcb: Tensor) -> Tensor:
    """Convert luma and chroma to red green blue, the inverse of `ycrcb_from_rgb`.

    Parameters
    ----------
    ycrcb : Tensor
        ``(..., 3, row, col)``, Y Cr Cb.

    Returns
    -------
    Tensor
        ``(..., 3, row, col)``; in [0, 1] only where the colour exists.
    """
    luminance, red_difference, blue_difference = torch.split(ycrcb, 1, dim=-3)
    red = luminance + (red_difference - _CENTRE) / _CR_SCALE
    blue = luminance + (blue_difference - _CENTRE) / _CB_SCALE
    green = (luminance - _RED * red - _BLUE * blue) / _GREEN
    return torch.cat((red, green, blue), dim=-3)


def replace_luma(rgb: Tensor, new_luma: Tensor) -> Tensor:
    """Give an image another luma and leave its chroma.

    With Cr and Cb copied, every channel moves by the same amount: ``rgb + (Y' - Y)``.

    Parameters
    ----------
    rgb : Tensor
        ``(..., 3, row, col)`` in [0, 1].
    new_luma : Tensor
        ``(..., 1, row, col)``, such as the fused image.

    Returns
    -------
    Tensor
        ``(..., 3, row, col)``, not clipped.
    """
    return rgb + (new_luma - luma(rgb))
