"""Weighted Brovey against GDAL's pansharpened VRT, where the definitions agree: given weights, cubic, nested grids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from ship_geo.baselines import METHODS, BroveyCoefficients
from ship_geo.data.reader import FilePairReader
from ship_geo.fusers import ClassicalFuser
from ship_geo.inference import ReaderSource, fuse_block, gather_stats, to_dtype
from ship_geo.sampling import statistics_plan
from ship_geo.scene import Scene, open_scene
from ship_geo.tiling import Plan, halo_for

MARGIN = 16
"""PAN pixels at the border: GDAL renormalises its kernel there, we continue the image."""

VRT = """<VRTDataset subClass="VRTPansharpenedDataset">
  <PansharpeningOptions>
    <Algorithm>WeightedBrovey</Algorithm>
    <AlgorithmOptions><Weights>{weights}</Weights></AlgorithmOptions>
    <Resampling>Cubic</Resampling>
    <PanchroBand><SourceFilename>{pan}</SourceFilename><SourceBand>1</SourceBand></PanchroBand>
    {bands}
  </PansharpeningOptions>
</VRTDataset>"""
BAND = '<SpectralBand dstBand="{0}"><SourceFilename>{1}</SourceFilename><SourceBand>{0}</SourceBand></SpectralBand>'


def by_gdal(pair: Any, weights: tuple[float, ...]) -> np.ndarray:
    bands = "".join(BAND.format(index, pair.ms) for index in range(1, len(weights) + 1))
    with rasterio.open(VRT.format(weights=",".join(map(str, weights)), pan=pair.pan, bands=bands)) as fused:
        return fused.read()


def by_engine(scene: Scene, weights: tuple[float, ...], monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    told = replace(METHODS["brovey"], fit=lambda _: BroveyCoefficients(weights, 0.0))  # GDAL fits nothing
    monkeypatch.setattr("ship_geo.fusers.get_method", lambda _: told)
    shape, halo = scene.pair.output.shape, halo_for(scene.pair.ratio)
    source = ReaderSource(FilePairReader(scene))
    stats = gather_stats(source, statistics_plan(shape, halo), scene.sensor)
    fused, _ = fuse_block(
        source,
        Plan(shape, 64, 0, halo),
        (0, shape[0], 0, shape[1]),
        ClassicalFuser("brovey"),
        stats,
        gnyq_ms=scene.sensor.gnyq_ms,
        groups=(tuple(range(len(weights))),),
    )
    return fused


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0.01), ("uint16", 1)])
@pytest.mark.parametrize("weights", [(0.25,) * 4, (0.1, 0.2, 0.3, 0.4)])
@pytest.mark.parametrize("ratio", [4, 2])
def test_brovey_is_that_of_gdal(
    write_pair: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
    tolerance: float,
    weights: tuple[float, ...],
    ratio: int,
) -> None:
    pair = write_pair(tmp_path, (144, 160), dtype=dtype, ratio=ratio)
    ours = by_engine(open_scene(pair.pan), weights, monkeypatch)
    if dtype == "uint16":
        ours, _ = to_dtype(ours, dtype, (0, 65535))
    inner = np.s_[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    theirs = by_gdal(pair, weights)
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(float) - theirs.astype(float))[inner].max() <= tolerance
