"""How exactly the shift between PAN and MS is found, and how long it takes.

Synthetic pairs with known shifts first: the demo's ground, seen by WorldView-2, with its noise or more of it. Scenes
given as arguments follow, whose own shift nobody knows: there the grid of MS is moved by known amounts, which the
estimate must follow. "Largest of bands" is the largest error of a single band for the demo, and the largest distance
between two bands for the others. Errors and spreads are in MS pixels.

Run: python pipelines/bench/register_accuracy.py [PAN.tif ...]
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import rasterio
import torch
from common import json_option, show

from ship_geo.alignment import measure_scene_shift, measure_shift
from ship_geo.data.reader import ArrayPairReader
from ship_geo.demo import make_scene
from ship_geo.ops.resample import degrade
from ship_geo.register import Shift, moved_grid
from ship_geo.scene import Scene, open_scene

RATIO = 4
OWN_SHIFT = (-0.12 / RATIO, 0.18 / RATIO)  # of the demo's pairs, MS pixels
EDGE = 12  # MS pixels at the edge of the demo that see beyond it once it is shifted
MOVES = ((0.3, -0.4), (1.37, 2.81), (-2.6, 0.55), (5.2, -7.1))


def measure_demo(pan: np.ndarray, ref: np.ndarray, shift: tuple[float, float], noise: float) -> tuple[Shift, float]:
    """Make MS from the reference, `shift` further than it lies already, and measure; seconds, too."""
    n, rng = ref.shape[1] // RATIO, np.random.default_rng(0)
    phase = (RATIO * shift[0], RATIO * shift[1])
    ms = degrade(torch.from_numpy(ref), (n, n), (RATIO, RATIO), phase, (0.35,) * len(ref)).numpy()
    valid = np.zeros((n, n), np.bool_)
    valid[EDGE:-EDGE, EDGE:-EDGE] = True
    ms, pan = (image + noise * rng.standard_normal(image.shape) for image in (ms, pan))
    start = time.perf_counter()
    found = measure_shift(ArrayPairReader(ms, pan, ms_valid=valid), (RATIO, RATIO), (0.3,) * len(ms))
    return found, time.perf_counter() - start


def demo_rows(size: int) -> list[dict[str, Any]]:
    """One row for each level of noise, over a grid of shifts."""
    with tempfile.TemporaryDirectory() as folder:
        files = make_scene(folder, size=size)
        images = []
        for path in (files.pan, files.reference):
            with rasterio.open(path) as source:
                images.append(source.read().astype(np.float64))
    steps = np.linspace(-3, 3, 5) + 0.11
    rows = []
    for noise in (0.0, 20.0, 60.0):
        errors, bands, seconds, found = [], [], [], None
        for shift in [(row, col) for row in steps for col in steps]:
            found, took = measure_demo(images[0], images[1], shift, noise)
            true = (shift[0] + OWN_SHIFT[0], shift[1] + OWN_SHIFT[1])
            errors.append((found.row - true[0], found.col - true[1]))
            bands += [(row - true[0], col - true[1]) for row, col, _ in found.per_band]
            seconds.append(took)
        rows.append(
            {
                "scene": f"demo, noise {noise:g} DN",
                "largest error": round(float(np.abs(errors).max()), 4),
                "largest of bands": round(float(np.abs(bands).max()), 4),
                "confidence": round(found.confidence, 2) if found else 0,
                "spread": round(found.spread, 3) if found else 0,
                "seconds": round(float(np.median(seconds)), 2),
            }
        )
    return rows


def scene_row(scene: Scene) -> dict[str, Any]:
    """Measure a scene, and how well the estimate follows the moves of its grid."""
    start = time.perf_counter()
    found = measure_scene_shift(scene)
    took = time.perf_counter() - start
    errors = []
    for move in MOVES:
        moved = measure_scene_shift(replace(scene, ms=replace(scene.ms, grid=moved_grid(scene.ms.grid, move))))
        errors.append((moved.row + move[0] - found.row, moved.col + move[1] - found.col))
    return {
        "scene": f"{scene.name} ({found.row:+.3f}, {found.col:+.3f})",
        "largest error": round(float(np.abs(errors).max()), 4),
        "largest of bands": round(found.band_spread, 4),
        "confidence": round(found.confidence, 2),
        "spread": round(found.spread, 3),
        "seconds": round(took, 2),
    }


@click.command(help=__doc__)
@click.argument("scenes", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--size", default=1024, show_default=True, help="Rows and columns of the demo's PAN.")
@json_option
def main(scenes: tuple[Path, ...], size: int, *, as_json: bool) -> None:
    rows = [*demo_rows(size), *(scene_row(open_scene(path)) for path in scenes)]
    show(rows, as_json=as_json, about={"ratio of the demo": RATIO, "threads": torch.get_num_threads()})


if __name__ == "__main__":
    main()
