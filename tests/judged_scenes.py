"""Assessments for tests of the report, made of numbers and pixels at once: nothing is judged for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import rioxarray  # noqa: F401  the accessor .rio
import xarray as xr
from affine import Affine

from ship_geo.assessment import Assessment, View

METHODS = ("fused", "exp", "gsa")
INDICES = ("d_lambda", "d_s", "qnr", "d_lambda_k", "hqnr", "r_sam", "r_ergas")
ROLES = ("blue", "green", "red", "nir")


@dataclass(frozen=True, eq=False)
class Pixels:
    """Images in memory."""

    fused: np.ndarray
    ms_up: np.ndarray
    pan: np.ndarray
    valid: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return self.pan.shape

    def read(self, row0: int, row1: int, col0: int, col1: int) -> View:
        part = np.s_[..., row0:row1, col0:col1]
        return View(self.fused[part], self.ms_up[part], self.pan[part], self.valid[part], (row0, row1, col0, col1))

    def overview(self, max_size: int = 1024) -> View:
        assert max(self.shape) <= max_size
        return self.read(0, self.shape[0], 0, self.shape[1])


def judged_scene(side: int = 256, n_tile: int = 4, hole: bool = False) -> Assessment:
    """An assessment of a noisy square scene with `n_tile` x `n_tile` tiles; the tile at (0, 0) has no values."""
    random = np.random.default_rng(7)
    ms_up = random.uniform(200, 900, (len(ROLES), side // 8, side // 8)).repeat(8, 1).repeat(8, 2)
    fused = np.clip(ms_up + random.normal(0, 60, (len(ROLES), side, side)), 0, 2047)
    valid = np.ones((side, side), bool)
    if hole:
        valid[: side // 4, : side // 4] = False
    pixels = Pixels(fused.astype(np.float32), ms_up.astype(np.float32), fused.mean(0).astype(np.float32), valid)
    tiles = random.uniform(0.02, 0.98, (len(INDICES), len(METHODS), n_tile, n_tile))
    tiles[:, :, 0, 0] = np.nan
    step = side / n_tile
    totals = random.uniform(0.02, 0.98, (len(INDICES), len(METHODS)))
    edges = np.linspace(0, 2048, 257)
    images = {"ms": ms_up, "fused": fused}
    counts = [[np.histogram(band[valid], edges)[0] for band in image] for image in images.values()]
    dataset = xr.Dataset(
        {
            **{name: (("product", "y", "x"), tiles[order]) for order, name in enumerate(INDICES)},
            **{f"{name}_total": (("product",), totals[order]) for order, name in enumerate(INDICES)},
            "d_s_band": (("product", "band"), random.uniform(0, 0.2, (len(METHODS), len(ROLES)))),
            "valid_fraction": (("y", "x"), np.full((n_tile, n_tile), valid.mean())),
            "valid_fraction_total": ((), valid.mean()),
            "histogram": (("image", "band", "bin"), np.array(counts)),
        },
        coords={
            "product": list(METHODS),
            "band": list(ROLES),
            "image": list(images),
            "bin": edges[:-1],
            "y": 5e6 - step * (np.arange(n_tile) + 0.5),
            "x": 5e5 + step * (np.arange(n_tile) + 0.5),
        },
    ).rio.write_crs("EPSG:32633")
    scene = {
        "name": "town <b>1</b> & co",
        "sensor": "WorldView-2",
        "time": "2020-05-01T10:00:00Z",
        "files": ["town_MS.tif", "town_PAN.tif"],
        "fused": "town.tif",
        "bands": list(ROLES),
        "shape": [side, side],
        "ratio": [4.0, 4.0],
        "crs": "EPSG:32633",
        "transform": list(Affine(1, 0, 5e5, 0, -1, 5e6))[:6],
        "shift": {"row": 0.21, "col": -0.4, "confidence": 0.8},
        "warnings": ["<img src=x onerror=alert(1)>"],
        "notes": [],
        "tags": {"SHIP_GEO_MODEL": "gsa", "SHIP_GEO_MODEL_DIGEST": "gsa"},
    }
    return Assessment(dataset, {"tile": side // n_tile, "region": [0, side, 0, side], "block": 32}, scene, pixels)
