"""Pictures as text that a page can hold: quicklooks of the whole, and the worst tiles pixel by pixel.

JPEG without colour subsampling, since the colours are what is judged; masks are PNG. The convention that could
surprise: pictures share what room the page has, and lose first quality, then size, until they fit.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ship_geo.report.colour import Painter, choose_bands
from ship_geo.report.judged import Pixels, View

MAX_SIDE = 1600
"""Longest side of a quicklook, pixels."""

TILE_SIDE = 256
"""Longest side of the picture of a tile, pixels of the output; of a larger tile its middle is shown."""

_TRIALS = ((1600, 90), (1600, 82), (1280, 82), (1024, 80), (768, 78), (512, 75), (256, 70))
_TILE_QUALITY = 90
_HATCH = 8


@dataclass(frozen=True)
class Quicklook:
    """The whole scene as pictures of one size, each a ``data:`` address.

    Attributes
    ----------
    width, height
        Of the pictures.
    step
        Output pixels (row, col) that a pixel of the pictures stands for.
    ms, pan, fused
        JPEG.
    mask
        PNG, transparent where the scene is valid; empty where it is valid everywhere.
    """

    width: int
    height: int
    step: tuple[float, float]
    ms: str
    pan: str
    fused: str
    mask: str

    @property
    def n_byte(self) -> int:
        """Bytes in the page."""
        return len(self.ms) + len(self.pan) + len(self.fused) + len(self.mask)


@dataclass(frozen=True)
class TilePicture:
    """A tile, pixel by pixel: its place among the tiles, the pixels that are shown, and three ``data:`` addresses."""

    row: int
    col: int
    box: tuple[int, int, int, int]
    ms: str
    pan: str
    fused: str


def draw_quicklook(view: View, painter: Painter, shape: tuple[int, int], room: int) -> Quicklook:
    """Draw a view of the whole scene in at most `room` bytes, if the smallest picture fits.

    Parameters
    ----------
    view
        See `Pixels.overview`.
    painter
        Bands and limits.
    shape
        Rows and columns of the output grid.
    room
        Bytes of text.
    """
    images = [Image.fromarray(picture) for picture in painter.paint(view)]
    mask = _mask(view.valid)
    drawn: Quicklook | None = None
    for side, quality in _TRIALS:
        drawn = _encode_quicklook(images, mask, shape, side, quality)
        if drawn.n_byte <= room:
            break
    if drawn is None:  # never: there are trials
        raise ValueError(room)
    return drawn


def draw_tiles(
    pixels: Pixels, tiles: Sequence[Mapping[str, Any]], scene: Painter, max_side: int = TILE_SIDE
) -> list[TilePicture]:
    """Draw tiles pixel by pixel.

    Parameters
    ----------
    pixels
        Where they are read.
    tiles
        See `Judged.worst_tiles`.
    scene
        Bands and limits of the whole scene.
    max_side
        Pixels shown at most.
    """
    return [_draw_tile(pixels, tile, scene, max_side) for tile in tiles]


def painter_of(view: View, roles: Sequence[str]) -> Painter:
    """Choose bands and limits for a scene."""
    return Painter.of(view, choose_bands(roles))


def _draw_tile(pixels: Pixels, tile: Mapping[str, Any], scene: Painter, max_side: int) -> TilePicture:
    row0, row1, col0, col1 = tile["box"]
    (row0, row1), (col0, col1) = _middle(row0, row1, max_side), _middle(col0, col1, max_side)
    view = pixels.read(row0, row1, col0, col1)
    ms, pan, fused = (
        as_data(Image.fromarray(picture), "JPEG", quality=_TILE_QUALITY, subsampling=0)
        for picture in scene.tightened(view).paint(view)
    )
    return TilePicture(int(tile["row"]), int(tile["col"]), (row0, row1, col0, col1), ms, pan, fused)


def _middle(start: int, stop: int, longest: int) -> tuple[int, int]:
    first = start + max(0, stop - start - longest) // 2
    return first, min(stop, first + longest)


def _encode_quicklook(
    images: Sequence[Image.Image], mask: Image.Image | None, shape: tuple[int, int], side: int, quality: int
) -> Quicklook:
    width, height = images[0].size
    share = min(1.0, side / max(width, height))
    size = max(1, round(width * share)), max(1, round(height * share))
    ms, pan, fused = (
        as_data(_resize(image, size), "JPEG", quality=quality, subsampling=0, optimize=True, progressive=True)
        for image in images
    )
    return Quicklook(
        width=size[0],
        height=size[1],
        step=(shape[0] / size[1], shape[1] / size[0]),
        ms=ms,
        pan=pan,
        fused=fused,
        mask="" if mask is None else as_data(_resize(mask, size, Image.Resampling.NEAREST), "PNG", optimize=True),
    )


def _resize(image: Image.Image, size: tuple[int, int], how: Image.Resampling = Image.Resampling.BOX) -> Image.Image:
    return image if image.size == size else image.resize(size, how)


def _mask(valid: NDArray[np.bool_]) -> Image.Image | None:
    """Draw invalid pixels as grey hatching, which is neither a colour of the scene nor that of a frame."""
    if valid.all():
        return None
    rows, cols = np.indices(valid.shape)
    shade = np.where((rows + cols) // (_HATCH // 2) % 2, 2, 1).astype(np.uint8)
    drawn = Image.fromarray(np.where(valid, 0, shade).astype(np.uint8), mode=None)
    drawn.putpalette([0, 0, 0, 110, 116, 124, 140, 146, 154])
    drawn.info["transparency"] = 0
    return drawn


def as_data(image: Image.Image, kind: str, **options: Any) -> str:
    """Encode a picture as a ``data:`` address."""
    file = io.BytesIO()
    if "transparency" in image.info:
        options["transparency"] = image.info["transparency"]
    image.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
