"""PAN and MS as an order of WorldView-2 holds them: a folder for each, tiles, their index, and metadata.

For arrays of the demo; the layout is that of a 2A product. The convention that could surprise: the names of the files
do not depend on the size of the scene (there are always two by two tiles), so that a demo that is made again replaces
exactly the files of the earlier one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import rasterio
from rasterio.transform import from_origin

from ship_geo.demo.acquire import RATIO
from ship_geo.demo.metadata import (
    CRS,
    ORDER,
    ORIGIN,
    PRODUCT,
    Half,
    TilePlace,
    imd_text,
    readme_text,
    rpb_text,
    til_text,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

README = f"{ORDER}_README.TXT"
_SIDECARS = (".IMD", ".TIL", ".RPB")
_FIRST_TILE = (5, 8)  # 5 of 8 rows and columns are in the first tile


def write_delivery(root: Path, ms: NDArray[np.uint16], pan: NDArray[np.uint16], roles: tuple[str, ...]) -> None:
    """Write an order.

    Parameters
    ----------
    root
        Its folder, to be named `ORDER`; made here.
    ms, pan
        (band, row, col) and (1, 4 row, 4 col) uint16, from 1; 0 would mean no data.
    roles
        Of the MS bands: those of WorldView-2, or blue, green, red and nir.

    Raises
    ------
    OSError, rasterio.errors.RasterioError
        When a file cannot be written; what was written stays.
    """
    root.mkdir()
    for values, names in ((ms, roles), (pan, ("pan",))):
        half = Half(names, (values.shape[1], values.shape[2]))
        _folder(root, half).mkdir()
        tiles = tuple(_cut(half))
        for tile in tiles:
            _write_tile(_folder(root, half) / tile.name, values, tile, half.gsd)
        texts = (imd_text(half), til_text(half, tiles), rpb_text(half))
        for suffix, text in zip(_SIDECARS, texts, strict=True):
            _sidecar(root, half, suffix).write_text(text, encoding="ascii")
    (root / README).write_text(readme_text(), encoding="ascii")


def index_of(root: Path, *, is_pan: bool) -> Path:
    """Return the TIL of PAN or MS of an order."""
    return _sidecar(root, _any_half(is_pan=is_pan), ".TIL")


def files_of(root: Path) -> tuple[Path, ...]:
    """Return all files of an order, whether they are there or not."""
    found = [root / README]
    for half in (_any_half(is_pan=False), _any_half(is_pan=True)):
        found += [_folder(root, half) / tile.name for tile in _cut(half)]
        found += [_sidecar(root, half, suffix) for suffix in _SIDECARS]
    return tuple(found)


def write_raster(
    path: Path, values: NDArray[np.uint16], corner: tuple[float, float], gsd: float, names: tuple[str, ...] = ()
) -> None:
    """Write a GeoTIFF whose description says what it is.

    Parameters
    ----------
    path
        File.
    values
        (band, row, col).
    corner
        Easting and northing of the upper left corner, m.
    gsd
        Pixel, m.
    names
        Descriptions of the bands; none by default, as in a delivery.
    """
    n_band, n_row, n_col = values.shape
    profile = {
        "driver": "GTiff",
        "dtype": "uint16",
        "count": n_band,
        "height": n_row,
        "width": n_col,
        "crs": CRS,
        "transform": from_origin(*corner, gsd, gsd),
        "compress": "deflate",
        "predictor": 2,
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(values)
        for number, name in enumerate(names, 1):
            target.set_band_description(number, name)
        target.update_tags(TIFFTAG_IMAGEDESCRIPTION=f"synthetic scene of ship_geo, {PRODUCT}")


def _any_half(*, is_pan: bool) -> Half:
    """PAN or MS of any size, for its names."""
    return Half(("pan",) if is_pan else (), (_FIRST_TILE[1], _FIRST_TILE[1]))


def _folder(root: Path, half: Half) -> Path:
    return root / f"{PRODUCT}_{'PAN' if half.is_pan else 'MUL'}"


def _sidecar(root: Path, half: Half, suffix: str) -> Path:
    return _folder(root, half) / half.file_name(suffix)


def _cut(half: Half) -> Iterator[TilePlace]:
    share, whole = _FIRST_TILE
    scale = RATIO if half.is_pan else 1  # tiles of PAN and MS end at the same place on the ground
    rows, cols = ((0, n // scale * share // whole * scale, n) for n in half.shape)
    for i, j in product((0, 1), (0, 1)):
        name = half.file_name(".TIF", f"_R{i + 1}C{j + 1}")
        yield TilePlace(name, rows[i], rows[i + 1], cols[j], cols[j + 1])


def _write_tile(path: Path, values: NDArray[np.uint16], tile: TilePlace, gsd: float) -> None:
    part = values[:, tile.row0 : tile.row1, tile.col0 : tile.col1]
    write_raster(path, part, (ORIGIN[0] + tile.col0 * gsd, ORIGIN[1] - tile.row0 * gsd), gsd)
