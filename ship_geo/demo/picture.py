"""A picture of MS, PAN and the fused result side by side, for people.

Stretched for the eye: not for measuring. MS and fused share one stretch, so that colours can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from ship_geo.errors import OutputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIDE = 640
_BAR = 34
_GAP = 6
_PERCENTILES = (2, 98)
_GAMMA = 0.8


def save_picture(
    path: Path,
    ms: NDArray[Any],
    pan: NDArray[Any],
    fused: NDArray[Any],
    *,
    roles: Sequence[str],
    labels: tuple[str, str, str] = ("MS", "PAN", "fused"),
    description: str = "",
) -> None:
    """Save the middle of a scene as MS (nearest neighbour), PAN and fused.

    Parameters
    ----------
    path
        A PNG file.
    ms, pan, fused
        (band, row, col), (1, row, col) and (band, row, col) DN; PAN rows and columns are a multiple of those of MS.
    roles
        Role of each MS band; red, green and blue are shown where there are such bands.
    labels
        Words above the three.
    description
        Kept in the file as text.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    rgb = _visible(roles)
    ratio = pan.shape[-1] // ms.shape[-1]
    limits = [np.percentile(ms[band], _PERCENTILES) for band in rgb]
    nearest = ms[rgb].repeat(ratio, axis=1).repeat(ratio, axis=2)
    panels = [
        _stretch(nearest, limits),
        _stretch(pan[[0, 0, 0]], [np.percentile(pan, _PERCENTILES)] * 3),
        _stretch(fused[rgb], limits),
    ]
    sheet = _arrange([_middle(panel, ratio) for panel in panels], labels)
    text = PngInfo()
    if description:
        text.add_text("Description", description)
    try:
        sheet.save(path, optimize=True, pnginfo=text)
    except OSError as error:
        path.unlink(missing_ok=True)
        msg = f"the picture must be writable, got {path} ({error.strerror}); choose another folder"
        raise OutputError(msg) from error


def _visible(roles: Sequence[str]) -> list[int]:
    wanted = ("red", "green", "blue")
    if set(wanted) <= set(roles):
        return [list(roles).index(role) for role in wanted]
    return [min(band, len(roles) - 1) for band in (2, 1, 0)]


def _stretch(values: NDArray[Any], limits: Sequence[NDArray[np.float64]]) -> NDArray[np.uint8]:
    """(3, row, col) DN -> (row, col, 3) for the screen."""
    low, high = (np.array([pair[side] for pair in limits])[:, None, None] for side in (0, 1))
    scaled = np.clip((values.astype(np.float64) - low) / np.maximum(high - low, 1e-9), 0, 1) ** _GAMMA
    return np.asarray(np.rint(scaled * 255), dtype=np.uint8).transpose(1, 2, 0)


def _middle(panel: NDArray[np.uint8], ratio: int) -> NDArray[np.uint8]:
    rows, cols = (
        slice(start, start + min(n, _SIDE))
        for n, start in ((n, max(0, n - _SIDE) // 2 // ratio * ratio) for n in panel.shape[:2])
    )
    return panel[rows, cols]


def _arrange(panels: Sequence[NDArray[np.uint8]], labels: Sequence[str]) -> Image.Image:
    n_row, n_col = panels[0].shape[:2]
    sheet = Image.new("RGB", (len(panels) * n_col + (len(panels) - 1) * _GAP, n_row + _BAR), (24, 26, 30))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for number, (panel, label) in enumerate(zip(panels, labels, strict=True)):
        left = number * (n_col + _GAP)
        sheet.paste(Image.fromarray(panel), (left, _BAR))
        draw.text((left + 10, _BAR // 2), label, fill=(240, 240, 240), font=font, anchor="lm")
    return sheet
