"""One block of a scene: what all methods are compared with, made once, and the scores of each method in its tiles.

Arrays in, scores out; files are read by `ship_geo.assessment.sources`. The convention that could surprise: a block is
read with so much around it that every filter, window and MS block that starts in it is whole; what starts elsewhere is
counted there, so that blocks share nothing and leave nothing out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from ship_geo._typing import Box, RowCol
from ship_geo.assessment.scores import Scores, Settings
from ship_geo.assessment.sources import PairWindow, Sources, read_image_window, read_window
from ship_geo.assessment.tiles import BLOCK, Tile
from ship_geo.metrics._filters import pan_on_ms_grid_and_back, through_mtf
from ship_geo.metrics._inputs import erode, fill_mean
from ship_geo.metrics.consistency import margin, owned, seen_on_ms_grid
from ship_geo.metrics.structure import SSIM_SIDE
from ship_geo.ops.mtf import RADIUS
from ship_geo.ops.resample import upsample

Image = NDArray[np.float64]
Mask = NDArray[np.bool_]


def read_box(box: Box, shape: tuple[int, int], ratio: RowCol) -> Box:
    """Return what must be read for a block: reach of the filters before it, an MS block and that reach after it."""
    longest = max(ratio)
    before = max(RADIUS, math.ceil(4 * longest) + 4)  # PAN to the MS grid and back reaches four MS pixels
    after = max(before, math.ceil((BLOCK + 0.5) * longest) + RADIUS + 2)
    (row0, row1, col0, col1), (n_row, n_col) = box, shape
    return max(row0 - before, 0), min(row1 + after, n_row), max(col0 - before, 0), min(col1 + after, n_col)


def ms_span(region: Box, axis: int, ratio: float, phase: float) -> tuple[int, int]:
    """MS pixels of a region along an axis for which the MTF has room, half open; may be empty."""
    first, last = owned(region[2 * axis], region[2 * axis + 1], ratio, phase)
    return first + margin(ratio), last - margin(ratio)


@dataclass(frozen=True, eq=False)
class Frame:
    """What a block of any method is compared with, DN as float64.

    Attributes
    ----------
    box
        Pixels of the output grid that were read.
    pair
        PAN and MS.
    valid
        (row, col): the judged image, PAN and MS are valid.
    ref, ref_valid
        (band, row, col) and (row, col), where there is a reference.
    ratio, gnyq
        (row, col) of the grids, and MTF gain of each band.
    """

    box: Box
    pair: PairWindow
    valid: Mask
    ref: Image | None
    ref_valid: Mask | None
    ratio: RowCol
    gnyq: tuple[float, ...]

    @cached_property
    def ms_up(self) -> Image:
        """MS interpolated, (band, row, col)."""
        return upsample(torch.from_numpy(self.pair.ms), self.shape, self.ratio, self.pair.phase).numpy()

    @cached_property
    def pan_low_up(self) -> Image:
        """PAN brought to the MS grid and back, (1, row, col)."""
        filled = fill_mean(self.pair.pan, self.valid)
        shape = (self.pair.ms.shape[1], self.pair.ms.shape[2])
        return pan_on_ms_grid_and_back(filled, shape, self.ratio, self.pair.phase)

    @cached_property
    def valid_up(self) -> Mask:
        """Where `ms_up` and `pan_low_up` rest on valid pixels alone."""
        return erode(self.valid, 2 * math.ceil(2 * max(self.ratio)))

    @cached_property
    def valid_mtf(self) -> Mask:
        """Where an image filtered by the MTF, and `ms_up`, rest on valid pixels alone."""
        return erode(self.valid, max(RADIUS, math.ceil(2 * max(self.ratio))))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.box[1] - self.box[0], self.box[3] - self.box[2]

    def inside(self, box: Box, overlap: int = 0, region: Box | None = None) -> tuple[slice, slice]:
        """Slices of a box of the output grid, which goes on by `overlap` as far as `region` does."""
        row1, col1 = box[1] + overlap, box[3] + overlap
        if region is not None:
            row1, col1 = min(row1, region[1]), min(col1, region[3])
        return slice(box[0] - self.box[0], row1 - self.box[0]), slice(box[2] - self.box[2], col1 - self.box[2])


def read_frame(sources: Sources, box: Box) -> tuple[Frame, Image]:
    """Read what a block needs, and the judged image there."""
    grids = sources.scene.pair
    wide = read_box(box, grids.output.shape, grids.ratio)
    pair = read_window(sources, wide)
    fused, fused_valid = read_image_window(sources.fused, wide)
    valid = pair.valid & fused_valid
    ref = ref_valid = None
    if sources.ref is not None:
        ref, known = read_image_window(sources.ref, wide)
        ref_valid = valid & known
    return Frame(wide, pair, valid, ref, ref_valid, grids.ratio, sources.scene.sensor.gnyq_ms), fused


class BlockScorer:
    """Scores one method in the tiles of a block.

    Parameters
    ----------
    frame
        What the block is compared with.
    fused
        (band, row, col) DN of the method, as large as the frame.
    region
        Pixels of the output grid that count.
    phase
        Outer corner of MS pixel (0, 0) on the output grid, PAN pixels.
    settings
        What indices depend on.
    """

    def __init__(self, frame: Frame, fused: Image, region: Box, phase: RowCol, settings: Settings) -> None:
        self.frame, self.region, self.phase, self.settings = frame, region, phase, settings
        self.fused = fill_mean(fused, frame.valid)
        shape = (frame.pair.ms.shape[1], frame.pair.ms.shape[2])
        self._low, supported = seen_on_ms_grid(
            self.fused, frame.valid, shape, ratio=frame.ratio, phase=frame.pair.phase, gnyq=frame.gnyq
        )
        self._low_valid = supported & frame.pair.ms_valid

    def score(self, tile: Tile) -> Scores:
        """Score one tile."""
        scores = Scores(self.settings)
        if self.frame.ref is not None:
            self._against_reference(scores, tile.box, self.frame.ref)
        self._at_full_scale(scores, tile.box)
        self._on_ms_grid(scores, tile.box)
        return scores

    def _against_reference(self, scores: Scores, box: Box, ref: Image) -> None:
        def parts(overlap: int) -> tuple[Image, Image, Mask | None]:
            rows, cols = self.frame.inside(box, overlap, self.region)
            known = self.frame.ref_valid
            return self.fused[:, rows, cols], ref[:, rows, cols], None if known is None else known[rows, cols]

        pixels = parts(0)
        scores.sam.update(*pixels)
        scores.errors.update(*pixels)
        scores.q2n.update(*pixels)
        scores.q.update(*parts(BLOCK - 1))
        scores.ssim.update(*parts(SSIM_SIDE - 1))
        row0, row1, col0, col1 = self.region
        ends = box[0] == row0, box[1] + 2 >= row1, box[2] == col0, box[3] + 2 >= col1
        around = parts(2)
        if min(around[0].shape[1:]) > 2:  # noqa: PLR2004  a pixel and its neighbours
            scores.sobel.update(*around, edges=ends)
            scores.laplacian.update(*around)

    def _at_full_scale(self, scores: Scores, box: Box) -> None:
        frame, core = self.frame, (slice(None), *self.frame.inside(box))
        pan = frame.pair.pan
        scores.distortion.update(
            self.fused[core], frame.ms_up[core], pan[core], frame.pan_low_up[core], frame.valid_up[core[1:]]
        )
        scores.khan.update(self._blurred(box), frame.ms_up[core], frame.valid_mtf[core[1:]])
        wide = (slice(None), *frame.inside(box, scores.rho.support - 1, self.region))
        scores.rho.update(self.fused[wide], pan[wide], frame.valid[wide[1:]])

    def _blurred(self, box: Box) -> Image:
        """Return the tile as seen through the MTF of each band."""
        rows, cols = self.frame.inside(box)
        around = [slice(max(part.start - RADIUS, 0), part.stop + RADIUS) for part in (rows, cols)]
        blurred = through_mtf(self.fused[:, *around], self.frame.ratio, self.frame.gnyq)
        first = rows.start - around[0].start, cols.start - around[1].start
        n_row, n_col = rows.stop - rows.start, cols.stop - cols.start
        return blurred[:, first[0] : first[0] + n_row, first[1] : first[1] + n_col]

    def _on_ms_grid(self, scores: Scores, box: Box) -> None:
        (pixels, blocks, windows) = zip(*(self._ms_spans(axis, box) for axis in (0, 1)), strict=True)
        for part, accumulators in (
            (pixels, (scores.r_sam, scores.r_errors)),
            (blocks, (scores.r_q2n,)),
            (windows, (scores.r_q,)),
        ):
            low, ms, valid = self._low[:, *part], self.frame.pair.ms[:, *part], self._low_valid[part]
            for accumulator in accumulators if valid.any() else ():
                accumulator.update(low, ms, valid)

    def _ms_spans(self, axis: int, box: Box) -> tuple[slice, slice, slice]:
        """MS pixels of a tile along an axis, those of the blocks and those of the windows that start in it."""
        ratio, phase = self.frame.ratio[axis], self.phase[axis]
        first, last = ms_span(self.region, axis, ratio, phase)
        start, stop = owned(box[2 * axis], box[2 * axis + 1], ratio, phase)
        start, stop = max(start, first), min(stop, last)
        block0, block1 = (first + -(-(edge - first) // BLOCK) * BLOCK for edge in (start, stop))
        offset = self.frame.pair.ms_start[axis]

        def span(begin: int, end: int) -> slice:
            return slice(begin - offset, max(min(end, last), begin) - offset)

        return span(start, stop), span(block0, block1), span(start, stop + BLOCK - 1 if stop > start else start)
