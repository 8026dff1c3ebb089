"""Scenes as Zarr stores: the bytes of the GeoTIFF, as xarray and rioxarray read them, whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  the accessor .rio
import xarray as xr
import zarr
from distributed import Client, LocalCluster

from ship_geo.api import pansharpen_scene
from ship_geo.errors import ArgumentError, OutputError
from ship_geo.jobs import Job
from ship_geo.runner import RunRecord, run_job
from ship_geo.scene import Scene, open_scene
from ship_geo.writer import OutputProfile, Staging, format_of
from ship_geo.writer.chunks import ZarrPixels

SHAPE = (150, 133)
BLOCK = (50, 60)
MODEL = "mtf-glp-fs"
ROOT = Path(__file__).resolve().parents[1]

DRIVER = f"""
import os, signal, sys
from ship_geo.jobs import Job
from ship_geo.runner import run_job
from ship_geo.scene import open_scene
from ship_geo.writer import OutputProfile, Staging

scene = open_scene(sys.argv[1])
job = Job.of(scene, "{MODEL}", "cpu", "float32")
blocks = job.plan.blocks({BLOCK})
seen = []

def advance(n_pixel):
    seen.append(n_pixel)
    if len(seen) == 6:
        os.kill(os.getpid(), signal.SIGKILL)

with Staging(sys.argv[2], OutputProfile.from_scene(scene), job.facts, blocks, to="zarr") as staging:
    run_job(job, staging, blocks, advance=advance)
"""


@pytest.fixture(scope="module")
def pairs(write_pair: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Pairs that differ in how invalid pixels are told."""
    folder = tmp_path_factory.mktemp("zarr")
    plain = write_pair(folder / "plain", SHAPE, dtype="float32")
    holes = plain.pan_values[0].copy()
    holes[48:70, 36:90] = np.nan
    whole = write_pair(folder / "whole", SHAPE)
    zeros = whole.pan_values[0].copy()
    zeros[48:70, 36:90] = 0
    return {
        "float32 with NaN": write_pair(folder / "nan", ms=plain.ms_values, pan=holes + 0.25, dtype="float32"),
        "uint16 with nodata": write_pair(folder / "zero", ms=whole.ms_values, pan=zeros, nodata=0),
        "uint16 all valid": whole,
    }


@pytest.fixture(params=["float32 with NaN", "uint16 with nodata", "uint16 all valid"])
def scene(request: pytest.FixtureRequest, pairs: dict[str, Any]) -> Scene:
    return open_scene(pairs[request.param].pan, sensor="WorldView-2")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
            Client(cluster, set_as_default=False) as made,
        ):
            yield made


def write(scene: Scene, path: Path, block: tuple[int, int] = BLOCK, **options: Any) -> RunRecord:
    job = Job.of(scene, MODEL, "cpu", "float32")
    blocks = job.plan.blocks(block)
    with Staging(path, OutputProfile.from_scene(scene), job.facts, blocks, to=format_of(path)) as staging:
        return run_job(job, staging, blocks, **options)


def raw(path: Path) -> np.ndarray:
    if path.suffix == ".zarr":
        values: np.ndarray = zarr.open_array(path / "pansharpened", mode="r")[:]
        return values
    with rasterio.open(path) as dataset:
        return np.asarray(dataset.read())


def test_store_has_the_bytes_of_the_geotiff_and_all_that_is_said_of_them(scene: Scene, tmp_path: Path) -> None:
    fused = pansharpen_scene(scene, model=MODEL, output=tmp_path / "fused.tif", progress=False)
    store = pansharpen_scene(scene, model=MODEL, output=tmp_path / "fused.zarr", progress=False)
    assert raw(tmp_path / "fused.zarr").tobytes() == raw(tmp_path / "fused.tif").tobytes()
    assert store.to_numpy().tobytes() == fused.to_numpy().tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fused.tif", "fused.zarr"]
    found = xr.open_zarr(tmp_path / "fused.zarr", decode_coords="all").pansharpened
    assert (found.rio.crs, found.rio.transform()) == (fused.rio.crs, fused.rio.transform())
    for axis in ("y", "x"):
        np.testing.assert_array_equal(found[axis], fused[axis])
    assert found.band.to_numpy().tolist() == list(scene.ms.roles)
    assert found.attrs["long_name"] == list(fused.attrs["long_name"])
    limits = [band.wavelength for band in scene.sensor.bands]
    np.testing.assert_allclose(found.wavelength, [sum(pair) / 2 for pair in limits])
    nodata = found.rio.encoded_nodata
    assert nodata == fused.rio.nodata or (nodata is not None and np.isnan([nodata, fused.rio.nodata]).all())
    group = zarr.open_group(tmp_path / "fused.zarr", mode="r")
    assert group.metadata.zarr_format == 3
    assert group.metadata.consolidated_metadata is not None
    with rasterio.open(tmp_path / "fused.tif") as dataset:
        known = {key: text for key, text in dataset.tags().items() if key.startswith("SHIP_GEO")}
    assert known
    assert {key: group.attrs[key] for key in known} == known


def test_invalid_pixels_are_nan_to_readers_that_mask(pairs: dict[str, Any], tmp_path: Path) -> None:
    scene = open_scene(pairs["uint16 with nodata"].pan)
    write(scene, tmp_path / "fused.zarr")
    found = xr.open_zarr(tmp_path / "fused.zarr", decode_coords="all").pansharpened
    values = raw(tmp_path / "fused.zarr")
    assert (values == 0).any()
    np.testing.assert_array_equal(found.fillna(0), values)
    assert int(found.isnull().sum()) == (values == 0).sum()


def test_without_nodata_an_array_tells_what_is_valid_where_something_is_not(
    write_pair: Callable[..., Any], tmp_path: Path
) -> None:
    pair = write_pair(tmp_path / "in", SHAPE, dtype="float32")
    scene = open_scene(pair.pan)
    write(scene, tmp_path / "whole.zarr")
    assert "valid" not in zarr.open_group(tmp_path / "whole.zarr", mode="r")
    pan = pair.pan_values[0].copy()
    pan[48:70, 36:90] = np.inf
    holed = open_scene(write_pair(tmp_path / "holed", ms=pair.ms_values, pan=pan, dtype="float32").pan)
    write(holed, tmp_path / "holed.zarr")
    write(holed, tmp_path / "holed.tif")
    with rasterio.open(tmp_path / "holed.tif") as dataset:
        expected = dataset.dataset_mask() > 0
    held = xr.open_zarr(tmp_path / "holed.zarr", decode_coords="all")
    assert held.pansharpened.attrs["ancillary_variables"] == "valid"
    np.testing.assert_array_equal(held["valid"] == 1, expected)
    assert not expected.all()


@pytest.mark.slow
def test_blocks_of_any_shape_and_workers_of_a_cluster_change_no_byte(
    pairs: dict[str, Any], client: Client, tmp_path: Path
) -> None:
    scene = open_scene(pairs["float32 with NaN"].pan)
    write(scene, tmp_path / "fused.tif")
    expected = raw(tmp_path / "fused.tif").tobytes()
    for number, block in enumerate([BLOCK, (37, 133), (150, 41), (150, 133), (128, 64)]):
        write(scene, tmp_path / f"{number}.zarr", block)
        assert raw(tmp_path / f"{number}.zarr").tobytes() == expected
    record = write(scene, tmp_path / "cluster.zarr", client=client)
    assert raw(tmp_path / "cluster.zarr").tobytes() == expected
    assert record.n_byte == sum(
        file.stat().st_size for file in (tmp_path / "cluster.zarr").rglob("*") if file.is_file()
    )


def test_each_block_is_one_object(pairs: dict[str, Any], tmp_path: Path) -> None:
    profile = OutputProfile.from_scene(open_scene(pairs["uint16 all valid"].pan))
    job_blocks = [(row, min(row + 100, 150), col, min(col + 60, 133)) for row in (0, 100) for col in (0, 60, 120)]
    pixels = ZarrPixels.of(tmp_path, profile, job_blocks)
    pixels.allocate()
    assert (pixels.shard, pixels.chunk) == ((100, 60), (100, 60))
    for count, box in enumerate(job_blocks, start=1):
        values = np.full((profile.n_band, box[1] - box[0], box[3] - box[2]), count, np.uint16)
        assert pixels.write(box, values, None) == pixels.checksum(box)
        objects = [path for path in (pixels.path / "pansharpened" / "c").rglob("*") if path.is_file()]
        assert len(objects) == count
    objects[0].write_bytes(b"damaged")
    assert -1 in [pixels.checksum(box) for box in job_blocks]
    with pytest.raises(ArgumentError, match="must be a regular grid"):
        ZarrPixels.of(tmp_path, profile, [(0, 150, 0, 60), (0, 150, 60, 100), (0, 150, 100, 133)])


def test_large_blocks_are_shards_of_smaller_chunks(write_pair: Callable[..., Any], tmp_path: Path) -> None:
    scene = open_scene(write_pair(tmp_path, (1100, 1030)).pan)
    profile = OutputProfile.from_scene(scene)
    job = Job.of(scene, MODEL, "cpu", "float32")
    for block, shard, chunk in (
        ((1024, 1024), (1024, 1024), (512, 512)),
        ((1100, 1030), (1536, 1536), (512, 512)),
        ((600, 521), (600, 521), (300, 521)),
    ):
        pixels = ZarrPixels.of(tmp_path, profile, job.plan.blocks(block))
        assert (pixels.shard, pixels.chunk) == (shard, chunk)


@pytest.mark.slow
def test_killed_run_leaves_no_store_and_the_next_goes_on(pairs: dict[str, Any], tmp_path: Path) -> None:
    pair, path = pairs["float32 with NaN"], tmp_path / "fused.zarr"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DRIVER, str(pair.pan), str(path)]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    assert [found.name for found in tmp_path.iterdir()] == [".fused.zarr.ship-geo"]
    damaged = next(
        file for file in (tmp_path / ".fused.zarr.ship-geo/made.zarr/pansharpened/c").rglob("*") if file.is_file()
    )
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    scene = open_scene(pair.pan)
    record = write(scene, path)
    assert 3 <= record.n_resumed < record.n_block
    write(scene, tmp_path / "fused.tif")
    assert raw(path).tobytes() == raw(tmp_path / "fused.tif").tobytes()
    assert sorted(found.name for found in tmp_path.iterdir()) == ["fused.tif", "fused.zarr"]


def test_second_job_is_refused_and_a_failure_keeps_the_old_store(
    pairs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, path = open_scene(pairs["uint16 all valid"].pan), tmp_path / "fused.zarr"
    options: dict[str, Any] = {"model": "exp", "progress": False}
    pansharpen_scene(scene, output=path, **options)
    before = raw(path)
    with pytest.raises(OutputError, match=r"must not exist, got .*fused\.zarr"):
        pansharpen_scene(scene, output=path, **options)
    job = Job.of(scene, "exp", "cpu", "float32")
    blocks = job.plan.blocks(BLOCK)
    profile = OutputProfile.from_scene(scene)
    with (
        Staging(path, profile, job.facts, blocks, overwrite=True, to="zarr"),
        pytest.raises(OutputError, match="one job at a time"),
    ):
        pansharpen_scene(scene, output=path, overwrite=True, **options)

    rename = Path.rename

    def fail(self: Path, target: Any) -> Path:
        if self.name == "made.zarr":
            raise OSError(5, "the cable came off")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        with pytest.raises(OutputError):
            write_over(scene, path)
    np.testing.assert_array_equal(raw(path), before)
    write_over(scene, path)
    assert not np.array_equal(raw(path), before)
    assert [found.name for found in tmp_path.iterdir()] == ["fused.zarr"]


def write_over(scene: Scene, path: Path) -> None:
    pansharpen_scene(scene, model=MODEL, output=path, overwrite=True, progress=False)


def test_nothing_but_a_store_is_replaced_by_a_store(pairs: dict[str, Any], tmp_path: Path) -> None:
    pan = pairs["uint16 all valid"].pan
    photos = tmp_path / "photos.zarr"
    photos.mkdir()
    (photos / "one.jpg").write_bytes(b"dear")
    (tmp_path / "file.zarr").write_bytes(b"file")
    for path in (photos, tmp_path / "file.zarr"):
        with pytest.raises(OutputError, match="only a Zarr store is replaced"):
            pansharpen_scene(pan, model="exp", output=path, overwrite=True, progress=False)
    with pytest.raises(OutputError, match="must not hold an input"):
        pansharpen_scene(pan, model="exp", output=Path(pan).parent, to="zarr", overwrite=True, progress=False)
    assert (photos / "one.jpg").read_bytes() == b"dear"


@pytest.mark.parametrize(
    ("path", "to", "expected"),
    [
        ("a.tif", "auto", "cog"),
        ("a.ZARR", "auto", "zarr"),
        ("a", "auto", "cog"),
        ("scene.2020", "auto", "cog"),
        ("s", "zarr", "zarr"),
        ("a.json", "auto", None),
        ("a.png", "cog", None),
        ("a.zarr", "cog", None),
        ("a.tif", "zarr", None),
        ("a.tif", "hdf", None),
    ],
)
def test_suffix_and_format_must_agree(path: str, to: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(ArgumentError, match="got"):
            format_of(path, to)
    else:
        assert format_of(path, to) == expected
