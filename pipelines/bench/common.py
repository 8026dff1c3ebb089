"""What the benchmarks share: a synthetic scene of any size on disk, and small tables.

The scene is cheap to make and as large as wanted: one textured patch of PAN, put down again and again with another
brightness, and MS as its block mean in other colours. Written block by block, so that memory does not grow with it.
Good for measuring speed and memory; its content says nothing about quality.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

RATIO = 4
PATCH = 1024
TILE = 256
SENSOR = "worldview-2"
ROLES = ("blue", "green", "red", "nir", "coastal", "yellow", "rededge", "nir2")
CRS = "EPSG:32633"
GSD_PAN = 0.5


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@dataclass(frozen=True)
class BenchScene:
    """Files of a synthetic scene, and what must be said of them."""

    pan: Path
    ms: Path
    roles: tuple[str, ...]

    @property
    def arguments(self) -> dict[str, Any]:
        """Keywords of `ship_geo.open_scene`."""
        return {"pan": self.pan, "ms": self.ms, "sensor": SENSOR, "bands": self.roles}


def write_scene(folder: Path, size: int, n_band: int = 4) -> BenchScene:
    """Write ``scene_PAN.tif`` of `size` x `size` pixels and ``scene_MS.tif``, tiled uint16 of 11 bits."""
    if size < RATIO or size % RATIO or not 1 <= n_band <= len(ROLES):
        msg = f"sizes are multiples of {RATIO} and bands 1 to {len(ROLES)}, got {size} and {n_band}; choose others"
        raise click.UsageError(msg)
    scene = BenchScene(folder / "scene_PAN.tif", folder / "scene_MS.tif", ROLES[:n_band])
    rng = np.random.default_rng(0)
    pan_patch = _texture(rng)
    low = pan_patch.reshape(PATCH // RATIO, RATIO, PATCH // RATIO, RATIO).mean((1, 3))
    colours = rng.uniform(0.6, 1.2, (n_band, 1, 1))
    with (
        _create(scene.pan, size, 1, GSD_PAN) as pan,
        _create(scene.ms, size // RATIO, n_band, GSD_PAN * RATIO) as ms,
    ):
        for row, col in _corners(size):
            n_row, n_col = min(PATCH, size - row), min(PATCH, size - col)
            level = rng.uniform(0.5, 1.5)
            _put(pan, (pan_patch * level)[None, :n_row, :n_col], row, col)
            _put(ms, (low * level * colours)[:, : n_row // RATIO, : n_col // RATIO], row // RATIO, col // RATIO)
        ms.descriptions = scene.roles
    return scene


def _texture(rng: np.random.Generator) -> np.ndarray:
    """Blocks of several sizes and noise, (PATCH, PATCH) DN."""
    total = np.full((PATCH, PATCH), 300.0)
    for step in (64, 16, 4, 1):
        total += np.kron(rng.uniform(0, 200, (PATCH // step, PATCH // step)), np.ones((step, step)))
    return total


def _create(path: Path, size: int, n_band: int, gsd: float) -> Any:
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype="uint16",
        count=n_band,
        height=size,
        width=size,
        crs=CRS,
        transform=from_origin(500000.0, 4650000.0, gsd, gsd),
        tiled=True,
        blockxsize=TILE,
        blockysize=TILE,
        BIGTIFF="IF_SAFER",
    )


def _corners(size: int) -> Iterator[tuple[int, int]]:
    return ((row, col) for row in range(0, size, PATCH) for col in range(0, size, PATCH))


def _put(target: Any, values: np.ndarray, row: int, col: int) -> None:
    window = Window(col, row, values.shape[2], values.shape[1])
    target.write(values.round().clip(1, 2047).astype(np.uint16), window=window)


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool, about: Mapping[str, Any]) -> None:
    """Print rows of equal keys as a table under what they are about, or all of it as JSON."""
    if as_json:
        click.echo(json.dumps({**about, "results": list(rows)}, indent=2))
        return
    click.echo(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in about.items()))
    cells = [[name.replace("_", " ") for name in rows[0]], *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *others in cells:
        parts = [first.ljust(widths[0]), *(part.rjust(width) for part, width in zip(others, widths[1:], strict=True))]
        click.echo("  ".join(parts).rstrip())


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value)) or None
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
