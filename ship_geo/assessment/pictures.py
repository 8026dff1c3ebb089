"""Pixels of an assessed scene for people: parts as they are, and the whole made small.

Not for measuring. The convention that could surprise: a pixel of an overview is the mean of the valid pixels under it,
and valid where at least half of them are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ship_geo._typing import Box
from ship_geo.assessment.sources import Sources, read_image_window, read_window
from ship_geo.assessment.tiles import READ
from ship_geo.assessment.value import View
from ship_geo.errors import ArgumentError
from ship_geo.ops.resample import upsample


@dataclass(frozen=True, eq=False)
class ScenePixels:
    """Reads the images of an assessment again; see `ship_geo.assessment.Pixels`."""

    sources: Sources

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the output grid."""
        return self.sources.scene.pair.output.shape

    def read(self, row0: int, row1: int, col0: int, col1: int) -> View:
        """Read a part of the output grid, cut to it.

        Raises
        ------
        ArgumentError
            When nothing of the part lies on the grid.
        """
        n_row, n_col = self.shape
        box = max(row0, 0), min(row1, n_row), max(col0, 0), min(col1, n_col)
        if box[0] >= box[1] or box[2] >= box[3]:
            msg = f"a part lies on the output grid of {n_row} x {n_col}, got {(row0, row1, col0, col1)}; choose another"
            raise ArgumentError(msg)
        window = read_window(self.sources, box)
        fused, known = read_image_window(self.sources.fused, box)
        valid = window.valid & known
        shape = (box[1] - box[0], box[3] - box[2])
        ms_up = upsample(torch.from_numpy(window.ms), shape, self.sources.scene.pair.ratio, window.phase).numpy()
        stack = np.where(valid, np.concatenate([fused, ms_up, window.pan]), 0).astype(np.float32)
        return _view(stack, valid, box)

    def overview(self, max_size: int = 1024) -> View:
        """Read the whole as means over squares of pixels, so that no side is longer than `max_size`."""
        n_row, n_col = self.shape
        step = max(1, -(-max(n_row, n_col) // max_size))
        side = -(-READ // step) * step
        shape = -(-n_row // step), -(-n_col // step)
        n_layer = 2 * self.sources.scene.ms.n_band + 1
        stack, share = np.zeros((n_layer, *shape), np.float32), np.zeros(shape)
        for row in range(0, n_row, side):
            for col in range(0, n_col, side):
                part = self.read(row, row + side, col, col + side)
                layers = np.concatenate([part.fused, part.ms_up, part.pan[None]])
                means, valid = _reduced(layers, part.valid, step)
                place = np.s_[row // step : row // step + len(valid), col // step : col // step + valid.shape[1]]
                stack[:, *place], share[place] = means, valid
        return _view(np.where(share >= 0.5, stack, 0), share >= 0.5, (0, n_row, 0, n_col))  # noqa: PLR2004  half


def _reduced(
    layers: NDArray[np.float32], valid: NDArray[np.bool_], step: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Means of the valid pixels of squares, and the share of valid pixels in each (of those that exist)."""
    pad = [(0, -n % step) for n in valid.shape]
    known, exists = np.pad(valid, pad), np.pad(np.ones(valid.shape), pad)
    filled = np.pad(layers, [(0, 0), *pad])

    def total(values: NDArray[np.generic]) -> NDArray[np.float64]:
        n_row, n_col = values.shape[-2] // step, values.shape[-1] // step
        summed = values.reshape(*values.shape[:-2], n_row, step, n_col, step).sum(axis=(-3, -1), dtype=np.float64)
        return np.asarray(summed)

    count = total(known)
    return (total(filled) / np.maximum(count, 1)).astype(np.float32), count / total(exists)


def _view(stack: NDArray[np.float32], valid: NDArray[np.bool_], box: Box) -> View:
    n_band = (len(stack) - 1) // 2
    return View(stack[:n_band], stack[n_band : 2 * n_band], stack[-1], valid, box)
