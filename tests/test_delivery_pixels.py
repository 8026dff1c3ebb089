"""Deliveries with real pixels: they give what the same arrays give as plain files, and better than resampling."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import rasterio
from deliveries.digitalglobe import ge1_2a, qb2_2a, wv2_2a_til
from deliveries.dimap import phr_dimap
from deliveries.gaofen import gf2_dir_old, gf6_dir
from deliveries.geoeye import ge1_old
from deliveries.landsat import l7_c1, l8_c2
from deliveries.pixels import write_tiff
from deliveries.scenes import FOUR, SIDE, View

from ship_geo.api import pansharpen_scene
from ship_geo.metrics import ergas

pytestmark = pytest.mark.slow

OLI, ETM = View("landsat-8", ratio=2, phase=-0.5), View("landsat-7", ratio=2, phase=-0.5, bits=8)


class Case(NamedTuple):
    """A delivery, the view of its pixels, how its writer calls that, and rows and columns of MS and PAN."""

    write: Callable[..., Path]
    view: View
    pixels: Any
    ms: tuple[int, int]
    pan: tuple[int, int]
    is_map: bool = True


def case(write: Callable[..., Path], view: View, ms: tuple[int, int], *, is_map: bool = True) -> Case:
    return Case(write, view, view, ms, (4 * ms[0], 4 * ms[1]), is_map)


PLEIADES = View("pleiades", ("red", "green", "blue", "nir"))
CASES = {
    "wv2_2a_til": case(partial(wv2_2a_til, rows=(28, 12), cols=(32, 16)), View("worldview-2"), (40, 48)),
    "qb2_2a": case(qb2_2a, View("quickbird-2"), (60, 80)),
    "ge1_2a": case(ge1_2a, View("geoeye-1"), (64, 64)),
    "ge1_old": case(ge1_old, View("geoeye-1"), (64, 64)),
    "gf2_dir_old": case(gf2_dir_old, View("gaofen-2"), (80, 96), is_map=False),
    "gf6_dir": case(gf6_dir, View("gaofen-6"), (64, 64), is_map=False),
    "phr_dimap": case(phr_dimap, PLEIADES, (64, 64))._replace(pixels=PLEIADES.without_kind),
    "l8_c2": Case(l8_c2, OLI, OLI.by_number((1, 2, 3, 4, 5, 6, 7)), (51, 61), (101, 121)),
    "l7_c1": Case(l7_c1, ETM, ETM.by_number((1, 2, 3, 4, 5, 7)), (41, 41), (81, 81)),
}


def write_plain(folder: Path, chosen: Case) -> dict[str, Any]:
    """Write the arrays of a delivery as two files; return how they are to be opened."""
    roles = chosen.view.sensor.roles
    arrays = chosen.view("ms", len(roles), *chosen.ms), chosen.view("pan", 1, *chosen.pan)
    ratio, corner = chosen.view.ratio, (500000.0, 4640000.0)
    shift = chosen.view.phase * 0.5
    places = ((0.5 * ratio, (corner[0] + shift, corner[1] - shift)), (0.5, corner))
    paths = []
    for name, values, (size, place) in zip(("MS", "PAN"), arrays, places, strict=True):
        place_on_map = {"size": size, "corner": place} if chosen.is_map else {}
        paths.append(write_tiff(folder / f"plain_{name}.tif", values, nodata=0, **place_on_map))
    return {"ms": paths[0], "pan": paths[1], "sensor": chosen.view.name, "bands": roles}


@pytest.mark.parametrize("name", CASES)
def test_a_delivery_gives_what_its_arrays_give_and_beats_resampling(tmp_path: Path, name: str) -> None:
    chosen = CASES[name]
    root = chosen.write(tmp_path / "delivery", pixels=chosen.pixels)
    fused = pansharpen_scene(root, model="mtf-glp-fs").to_numpy()
    plain = pansharpen_scene(**write_plain(tmp_path / "plain", chosen), model="mtf-glp-fs").to_numpy()
    assert fused.dtype == plain.dtype
    assert fused.tobytes() == plain.tobytes()
    truth = chosen.view.truth(*chosen.pan)
    exp = pansharpen_scene(root, model="exp").to_numpy()
    inner = np.s_[:, 8:-8, 8:-8]
    errors = [ergas(result[inner], truth[inner], ratio=chosen.view.ratio) for result in (fused, exp)]
    assert errors[0] < 0.8 * errors[1]


def test_written_files_hold_the_same_pixels_as_those_of_a_plain_pair(tmp_path: Path) -> None:
    chosen = CASES["wv2_2a_til"]
    sources: list[dict[str, Any]] = [
        {"source": chosen.write(tmp_path / "delivery", pixels=chosen.pixels)},
        write_plain(tmp_path / "plain", chosen),
    ]
    found = []
    for number, source in enumerate(sources):
        output = tmp_path / f"{number}.tif"
        with pansharpen_scene(**source, model="gsa", output=output, progress=False), rasterio.open(output) as file:
            found.append((file.transform, file.crs, file.nodata, file.descriptions, file.read().tobytes()))
    assert found[0] == found[1]


def test_views_are_alike_and_use_the_bits_of_their_sensor() -> None:
    view = View("gaofen-2")
    first, second = (view("ms", 4, 32, 40) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert first.min() >= 1
    assert 256 < first.max() < 1024
    assert ETM.truth(40, 40).dtype == np.uint8


def test_ms_of_a_view_is_its_truth_seen_from_farther_away() -> None:
    view = View("quickbird-2", FOUR)
    ms, truth = view("ms", 4, 32, 32).astype(float), view.truth(128, 128).astype(float)
    boxes = truth.reshape(4, 32, 4, 32, 4).mean((2, 4))
    for band in range(4):
        assert np.corrcoef(ms[band, 2:-2, 2:-2].ravel(), boxes[band, 2:-2, 2:-2].ravel())[0, 1] > 0.97


def test_a_delivery_larger_than_the_usual_ground_gets_a_larger_one() -> None:
    assert View("gaofen-2")("pan", 1, 16, SIDE + 8).shape == (1, 16, SIDE + 8)
