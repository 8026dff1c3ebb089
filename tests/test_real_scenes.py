"""Seven real pairs from end to end: grid, names, data type and mask as they came, by Python and by the command line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from ship_geo.api import pansharpen_scene
from ship_geo.cli import main
from ship_geo.nn.weights import ShipPlusPlus_Weights
from ship_geo.scene import Scene, open_scene

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.filterwarnings("ignore:MS should lie on PAN:UserWarning"),  # the Rotterdam scenes are off, and say so
]


@dataclass(frozen=True)
class Known:
    """What is known of a pair: facts of its files, and roles of its bands."""

    shape: tuple[int, int]
    dtype: str
    crs: str
    roles: tuple[str, ...]
    ratio: float
    phase: tuple[float, float]
    nodata: float | None = None


BGRN = ("blue", "green", "red", "nir")
SCENES = {
    "L7_marburg": Known((81, 81), "int16", "EPSG:32632", BGRN, 2, (-0.5, 0.5)),
    "L8_017051_momotombo": Known((667, 935), "uint16", "EPSG:32616", (*BGRN, "swir1", "swir2"), 2, (0.5, -0.5)),
    "L8_elkton_va": Known((337, 371), "uint16", "EPSG:32617", BGRN, 1.9943, (0, 0)),
    "L8_madrid": Known((1197, 1498), "uint16", "EPSG:32630", ("red", "green", "blue"), 2, (-0.5, -1.5)),
    "L8_marburg": Known((81, 81), "int16", "EPSG:32632", BGRN, 2, (-0.5, 0.5)),
    "WV2_rotterdam_1": Known((600, 600), "uint16", "EPSG:32631", BGRN, 4.00025, (0, 0), 0),
    "WV2_rotterdam_2": Known((600, 600), "uint16", "EPSG:32631", BGRN, 4.00025, (0, 0), 0),
}
each_scene = pytest.mark.parametrize("name", SCENES)


@pytest.fixture(scope="module")
def folder(data_root: Path) -> Path:
    return data_root / "scenes" / "open"


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with rasterio.open(path) as dataset:
        return dataset.read(), dataset.dataset_mask() > 0


def expected_mask(scene: Scene, folder: Path, name: str) -> np.ndarray:
    """PAN and the MS pixel over the centre of each output pixel hold data, pixel by pixel from the files."""
    with rasterio.open(folder / f"{name}_PAN.tif") as pan, rasterio.open(folder / f"{name}_MS.tif") as ms:
        pan_values, ms_values = pan.read(1), ms.read()
        to_ms = ~ms.transform @ pan.transform
    row0, row1, col0, col1 = scene.pair.overlap
    pan_valid, ms_valid = pan_values != 0, (ms_values != 0).any(axis=0)
    if scene.pan.nodata is None:
        return np.ones((row1 - row0, col1 - col0), bool)
    ms_rows = [min(math.floor((to_ms @ (0, row + 0.5))[1]), ms_valid.shape[0] - 1) for row in range(row0, row1)]
    ms_cols = [min(math.floor((to_ms @ (col + 0.5, 0))[0]), ms_valid.shape[1] - 1) for col in range(col0, col1)]
    mask: np.ndarray = pan_valid[row0:row1, col0:col1] & ms_valid[np.ix_(ms_rows, ms_cols)]
    return mask


@each_scene
def test_pair_is_understood(folder: Path, name: str) -> None:
    known, scene = SCENES[name], open_scene(folder / f"{name}_MS.tif")
    pair = scene.pair
    assert (pair.output.shape, scene.ms.dtype, pair.output.crs) == (known.shape, known.dtype, known.crs)
    assert scene.ms.roles == known.roles
    assert pair.ratio == pytest.approx((known.ratio, known.ratio), abs=1e-3)
    assert pair.phase == pytest.approx(known.phase, abs=1e-3)
    assert scene.ms.nodata == known.nodata


@each_scene
def test_python_and_command_line_write_the_same_sharpened_scene(folder: Path, name: str, tmp_path: Path) -> None:
    known, pan_path = SCENES[name], folder / f"{name}_PAN.tif"
    output, other = tmp_path / "python.tif", tmp_path / "command.tif"
    with pansharpen_scene(pan_path, model="mtf-glp-fs", output=output, progress=False) as fused:
        record = json.loads(fused.attrs["ship_geo_record"])
    scene = open_scene(pan_path)
    assert main(["pansharpen", str(pan_path), "-o", str(other), "--model", "mtf-glp-fs", "--quiet"]) == 0
    assert other.read_bytes() == output.read_bytes()
    row0, _, col0, _ = scene.pair.overlap
    with rasterio.open(output) as made, rasterio.open(pan_path) as pan, rasterio.open(folder / f"{name}_MS.tif") as ms:
        assert made.shape == known.shape
        assert made.transform == pan.transform @ rasterio.Affine.translation(col0, row0)
        assert made.crs == pan.crs == rasterio.CRS.from_user_input(known.crs)
        assert (made.dtypes, made.nodata) == (ms.dtypes, known.nodata)
        names = [text or role for text, role in zip(ms.descriptions, known.roles, strict=True)]
        assert list(made.descriptions) == names
    values, valid = read(output)
    np.testing.assert_array_equal(valid, expected_mask(scene, folder, name))
    assert record["n_invalid"] == int((~valid).sum())
    # Rotterdam's shadows and water are so dark that details reach below zero.
    assert record["n_clipped"] < (0.03 if name.startswith("WV2") else 0.001) * values.size
    _check_bands(scene, values, valid)


def _check_bands(scene: Scene, values: np.ndarray, valid: np.ndarray) -> None:
    """The sharpened bands keep the colours of MS, and show what PAN shows."""
    blurred = pansharpen_scene(scene, model="exp").compute().to_numpy()
    pan = scene.pan.open()
    with pan:
        row0, row1, col0, col1 = scene.pair.overlap
        seen = pan.read(row0, row1, col0, col1)[0][0].astype(float)
    for fused, low in zip(values.astype(float), blurred.astype(float), strict=True):
        assert fused[valid].mean() == pytest.approx(low[valid].mean(), rel=0.01)
        assert np.corrcoef(fused[valid], low[valid])[0, 1] > 0.8
        assert fused[valid].std() >= 0.99 * low[valid].std()
    red = scene.ms.roles.index("red")
    assert _likeness(values[red], seen, valid) > _likeness(blurred[red], seen, valid)


def _likeness(band: np.ndarray, pan: np.ndarray, valid: np.ndarray) -> float:
    """Correlation of a band with PAN at the place where it is best: bands stay where the delivery puts them."""
    places = [(row, col) for row in range(-2, 3) for col in range(-2, 3)]
    return max(float(np.corrcoef(band[valid], np.roll(pan, place, (0, 1))[valid])[0, 1]) for place in places)


@pytest.mark.parametrize("name", ["L7_marburg", "WV2_rotterdam_2", "L8_elkton_va"])
def test_chunks_change_no_byte(folder: Path, name: str, tiny_checkpoint: Path) -> None:
    scene = open_scene(folder / f"{name}_PAN.tif")
    for model in ("mtf-glp-fs", tiny_checkpoint):
        small = {"chunks": 61} if name == "L7_marburg" else {"chunks": (256, 1000)}
        if model == tiny_checkpoint and name != "L7_marburg":
            continue  # hundreds of windows; the tiny network is run on the tiny scene
        one, many = (
            pansharpen_scene(scene, model=model, precision="float32", **options).compute()
            for options in ({"chunks": None}, small)
        )
        assert one.to_numpy().tobytes() == many.to_numpy().tobytes()


@pytest.mark.parametrize("model", ["mtf-glp-fs", "mtf-glp-hpm", "gsa", "brovey", "bt-h", "bdsd-pc"])
def test_nothing_beside_the_wedge_is_darkened(folder: Path, model: str) -> None:
    scene = open_scene(folder / "WV2_rotterdam_2_PAN.tif")
    fused = pansharpen_scene(scene, model=model).compute().to_numpy().astype(float)
    valid = expected_mask(scene, folder, "WV2_rotterdam_2")
    assert 0.01 < (~valid).mean() < 0.9
    np.testing.assert_array_equal((fused != 0).any(axis=0), valid)
    near = valid & ~_shrink(valid, 6)
    inside = _shrink(valid, 6) & ~_shrink(valid, 30)
    with rasterio.open(folder / "WV2_rotterdam_2_MS.tif") as ms:
        coarse = np.kron(ms.read(), np.ones((1, 4, 4)))
    # A rim that fill values darkened would be darker than MS there; what is bright or dark on the ground is in both.
    for band, blocks in zip(fused, coarse, strict=True):
        assert band[near].mean() / blocks[near].mean() == pytest.approx(
            band[inside].mean() / blocks[inside].mean(), abs=0.02
        )
        assert (band[near] <= 1).mean() <= (band[inside] <= 1).mean() + 0.01


def _shrink(mask: np.ndarray, n: int) -> np.ndarray:
    """Pixels whose neighbours up to `n` rows and columns away are all set; the world goes on beyond the image."""
    from scipy.ndimage import binary_erosion

    shrunk: np.ndarray = binary_erosion(mask, np.ones((2 * n + 1, 2 * n + 1)), border_value=1)
    return shrunk


def test_default_network_sharpens_a_real_scene(folder: Path, tmp_path: Path, run_default: Callable[..., Any]) -> None:
    values, valid = run_default(folder / "WV2_rotterdam_2_PAN.tif", tmp_path / "fused.tif")
    scene = open_scene(folder / "WV2_rotterdam_2_PAN.tif")
    np.testing.assert_array_equal(valid, expected_mask(scene, folder, "WV2_rotterdam_2"))
    _check_bands(scene, values, valid)
    assert values[:, valid].max() <= 2047


@pytest.fixture
def run_default() -> Callable[..., Any]:
    if not ShipPlusPlus_Weights.DEFAULT.path.exists():
        pytest.skip("the weights are not built")

    def run(source: Path, output: Path) -> tuple[np.ndarray, np.ndarray]:
        with pansharpen_scene(source, output=output, progress=False) as fused:
            assert fused.attrs["model"] == ShipPlusPlus_Weights.DEFAULT.name
        return read(output)

    return run
