"""Real Landsat pixels under the names of their products, with an MTL, as they come from the archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from deliveries import landsat

from ship_geo import open_scene, pansharpen_scene
from ship_geo.scene import Scene

pytestmark = pytest.mark.real_data

CASES = {
    "L8_marburg": (landsat.l8_c2, (2, 3, 4, 5), (1, 6, 7, 9), "2020-07-06T10:17:42.166196Z"),
    "L7_marburg": (landsat.l7_c1, (1, 2, 3, 4), (5, 7), "2001-07-30T10:10:23.945122Z"),
}


def deliver(folder: Path, root: Path, name: str) -> Path:
    """Write a delivery and put the bands of a real scene in the place of its own."""
    write, numbers, without, _ = CASES[name]
    delivery = write(folder, without=without)
    with rasterio.open(root / "scenes" / "open" / f"{name}_MS.tif") as ms:
        bands, profile = ms.read(), ms.profile | {"count": 1}
    for number, band in zip(numbers, bands, strict=True):
        with rasterio.open(emptied(delivery, number), "w", **profile) as target:
            target.write(band, 1)
    with rasterio.open(root / "scenes" / "open" / f"{name}_PAN.tif") as pan:
        values, profile = pan.read(), pan.profile
    with rasterio.open(emptied(delivery, 8), "w", **profile) as target:
        target.write(values)
    return delivery


def emptied(delivery: Path, number: int) -> Path:
    """Remove the file of a band by hand: GDAL would take the MTL away with it."""
    path = next(delivery.glob(f"*_B{number}.TIF"))
    path.unlink()
    return path


@pytest.mark.parametrize("name", CASES)
def test_marburg_opens_under_its_product_name(name: str, data_root: Path, tmp_path: Path) -> None:
    delivery = deliver(tmp_path, data_root, name)
    scene: Scene = open_scene(delivery)
    plain = open_scene(data_root / "scenes" / "open" / f"{name}_PAN.tif")
    assert (scene.family, scene.name) == ("landsat", delivery.name)
    assert scene.time == CASES[name][3]
    assert (scene.ms.roles, scene.pair.ratio, scene.pair.phase) == (plain.ms.roles, plain.pair.ratio, plain.pair.phase)
    assert scene.pair.output == plain.pair.output
    assert scene.sensor.name == plain.sensor.name


@pytest.mark.parametrize("name", CASES)
def test_marburg_is_sharpened_as_its_plain_pair(name: str, data_root: Path, tmp_path: Path) -> None:
    delivery = deliver(tmp_path, data_root, name)
    made = pansharpen_scene(delivery, model="mtf-glp-fs").compute()
    plain = pansharpen_scene(data_root / "scenes" / "open" / f"{name}_PAN.tif", model="mtf-glp-fs").compute()
    np.testing.assert_array_equal(made, plain)
