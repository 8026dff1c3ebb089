from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from value_scenes import plain_rpc, sensor_scene, value_scene

import ship_geo.writer.cog
import ship_geo.writer.folder
from ship_geo.errors import ArgumentError, OutputError
from ship_geo.grids import Grid
from ship_geo.rpc import Rpc
from ship_geo.scene import open_scene
from ship_geo.writer import GeoTiffWriter, OutputProfile, WriteRecord, apply_nodata, check_output, choose_nodata
from ship_geo.writer.folder import STALE, StagingFolder

TRANSFORM = Affine(0.5, 0, 500000, 0, -0.5, 4640000)
BLOCK = 300


class WriteRaster(Protocol):
    def __call__(self, name: str, array: np.ndarray, *args: Any, **options: Any) -> Path: ...


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make_profile(
    n_row: int = 700, n_col: int = 900, n_band: int = 3, dtype: str = "uint16", **options: Any
) -> OutputProfile:
    names = ("blue", "green", "red", "nir", "b5")[:n_band]
    return OutputProfile(Grid((n_row, n_col), TRANSFORM, "EPSG:32633"), dtype, names, **options)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 2000, shape).astype(np.uint16)


def blocks_of(array: np.ndarray) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
    for row in range(0, array.shape[1], BLOCK):
        for col in range(0, array.shape[2], BLOCK):
            yield row, col, np.s_[row : row + BLOCK, col : col + BLOCK]


def write_all(
    path: Path, array: np.ndarray, valid: np.ndarray | None = None, profile: OutputProfile | None = None, **options: Any
) -> WriteRecord:
    profile = profile or make_profile(*array.shape[1:], array.shape[0], array.dtype.name)
    with GeoTiffWriter(path, profile, **options) as writer:
        for row, col, at in blocks_of(array):
            writer.write(array[(slice(None), *at)], row, col, None if valid is None else valid[at])
        return writer.finish()


def test_written_blocks_come_back_as_a_cog(tmp_path: Path) -> None:
    array = noise(3, 700, 900)
    record = write_all(tmp_path / "out.tif", array)
    assert names_in(tmp_path) == ["out.tif"]
    assert (record.n_byte, record.n_invalid, record.n_moved) == ((tmp_path / "out.tif").stat().st_size, 0, 0)
    with rasterio.open(tmp_path / "out.tif") as made:
        assert np.array_equal(made.read(), array)
        assert (made.transform, made.crs.to_epsg(), made.nodata) == (TRANSFORM, 32633, None)
        assert made.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert made.overviews(1) == [2]
        assert made.block_shapes[0] == (512, 512)
        assert made.profile["compress"] == "deflate"
        assert made.mask_flag_enums[0] == [rasterio.enums.MaskFlags.all_valid]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_data_type_is_kept(tmp_path: Path, dtype: str) -> None:
    array = (noise(2, 40, 50) % 250).astype(dtype)
    write_all(tmp_path / "out.tif", array)
    with rasterio.open(tmp_path / "out.tif") as made:
        assert made.dtypes[0] == dtype
        assert np.array_equal(made.read(), array)


def test_names_colours_scales_and_tags_survive(tmp_path: Path) -> None:
    profile = make_profile(
        40,
        50,
        4,
        "uint8",
        colours=("blue", "green", "red", "nir"),
        scales=(0.1, 0.2, 0.3, 0.4),
        offsets=(1.0, 0.0, 0.0, 0.0),
        tags={"MODEL": "ship++", "AREA_OR_POINT": "Point", "METADATATYPE": "DG"},
    )
    write_all(tmp_path / "out.tif", (noise(4, 40, 50) % 250).astype(np.uint8), profile=profile)
    with rasterio.open(tmp_path / "out.tif") as made:
        assert made.descriptions == ("blue", "green", "red", "nir")
        assert [colour.name for colour in made.colorinterp] == ["blue", "green", "red", "nir"]
        assert (made.scales, made.offsets) == ((0.1, 0.2, 0.3, 0.4), (1.0, 0.0, 0.0, 0.0))
        assert made.tags()["MODEL"] == "ship++"
        assert made.tags()["AREA_OR_POINT"] == "Area"
        assert "METADATATYPE" not in made.tags()
    assert names_in(tmp_path) == ["out.tif"]


def test_fourth_band_of_bytes_is_no_alpha(tmp_path: Path) -> None:
    profile = make_profile(40, 50, 4, "uint8", colours=("red", "green", "blue", "undefined"))
    write_all(tmp_path / "out.tif", (noise(4, 40, 50) % 250).astype(np.uint8), profile=profile)
    with rasterio.open(tmp_path / "out.tif") as made:
        assert [colour.name for colour in made.colorinterp] == ["red", "green", "blue", "undefined"]
        assert made.mask_flag_enums[0] == [rasterio.enums.MaskFlags.all_valid]


def test_invalid_pixels_get_nodata_and_valid_zeros_are_moved(tmp_path: Path) -> None:
    array = noise(3, 400, 500)
    valid = np.ones((400, 500), bool)
    valid[:50, :70] = False
    array[2, 60, 60] = 0
    record = write_all(tmp_path / "out.tif", array, valid, make_profile(400, 500, nodata=0))
    assert (record.n_invalid, record.n_moved, record.nodata) == (3500, 1, 0)
    with rasterio.open(tmp_path / "out.tif") as made:
        values = made.read()
        assert made.nodata == 0
        assert np.array_equal(made.dataset_mask() > 0, valid)
    assert values[2, 60, 60] == 1
    assert np.array_equal(values[:, valid], np.maximum(array[:, valid], 1))


def test_mask_is_written_where_there_is_no_nodata(tmp_path: Path) -> None:
    array = noise(2, 700, 900)
    valid = np.random.default_rng(1).random((700, 900)) > 0.1
    array[0, 5, 5] = 0
    valid[5, 5] = True
    record = write_all(tmp_path / "out.tif", array, valid)
    assert (record.n_invalid, record.nodata) == ((~valid).sum(), None)
    assert names_in(tmp_path) == ["out.tif"]
    with rasterio.open(tmp_path / "out.tif") as made:
        assert made.nodata is None
        assert np.array_equal(made.read_masks(1) > 0, valid)
        assert np.array_equal(made.read()[:, valid], array[:, valid])


def test_overviews_honour_the_mask(tmp_path: Path) -> None:
    array = np.full((1, 1024, 1024), 1000, np.uint16)
    valid = np.ones((1024, 1024), bool)
    valid[:301, :301] = False
    array[:, ~valid] = 60000
    write_all(tmp_path / "out.tif", array, valid)
    with rasterio.open(tmp_path / "out.tif", overview_level=0) as half:
        mask, values = half.read_masks(1), half.read(1)
    assert set(np.unique(values[mask > 0])) == {1000}
    assert np.array_equal(mask[:150, :150] > 0, np.zeros((150, 150), bool))
    assert (mask[151:] > 0).all()


@pytest.mark.parametrize("nodata", [None, 0])
def test_overview_is_valid_where_any_of_its_pixels_is(tmp_path: Path, nodata: float | None) -> None:
    array = noise(2, 1100, 1300)
    valid = np.random.default_rng(1).random((1100, 1300)) > 0.6
    write_all(tmp_path / "out.tif", array, valid, make_profile(1100, 1300, 2, nodata=nodata))
    parts = valid.reshape(550, 2, 650, 2)
    with rasterio.open(tmp_path / "out.tif", overview_level=0) as half:
        assert np.array_equal(half.dataset_mask() > 0, parts.any(axis=(1, 3)))
        values = half.read(1)
    total = np.where(valid, array[0], 0).reshape(550, 2, 650, 2).sum(axis=(1, 3))
    mean = total / np.maximum(parts.sum(axis=(1, 3)), 1)
    at = parts.any(axis=(1, 3))
    assert np.abs(values[at] - mean[at]).max() <= 0.5


def test_sensor_geometry_keeps_its_model_and_no_transform(tmp_path: Path) -> None:
    rpc = replace(plain_rpc(700, 900), long_offset=15 + 1 / 3, lat_scale=1 / 700)
    profile = OutputProfile(Grid((700, 900), Affine.translation(30, 20), None), "uint16", ("red", "nir"), rpc=rpc)
    valid = np.ones((700, 900), bool)
    valid[:9] = False
    write_all(tmp_path / "out.tif", noise(2, 700, 900), valid, profile)
    assert names_in(tmp_path) == ["out.tif"]
    with rasterio.open(tmp_path / "out.tif") as made:
        assert (made.crs, made.transform) == (None, Affine.identity())
        # GDAL gives 15 digits of what the file holds in full.
        read, meant = (model.to_dict() for model in (Rpc.from_tags(made.tags(ns="RPC")), rpc))
        assert all(read[name] == pytest.approx(meant[name], rel=1e-14) for name in meant)
        assert (made.rpcs.line_off, made.rpcs.err_bias) == (349.5, 1.5)
        assert made.rpcs.line_num_coeff == list(rpc.line_num)
        assert np.array_equal(made.dataset_mask() > 0, valid)


def test_output_on_a_map_keeps_its_model_beside_it(tmp_path: Path) -> None:
    profile = make_profile(rpc=plain_rpc())
    write_all(tmp_path / "out.tif", noise(profile.n_band, *profile.grid.shape), profile=profile)
    with rasterio.open(tmp_path / "out.tif") as made:
        assert (made.crs.to_epsg(), made.transform) == (32633, profile.grid.transform)
        assert made.rpcs is not None


def test_zstd_is_written_when_asked_for(tmp_path: Path) -> None:
    array = noise(2, 600, 700)
    write_all(tmp_path / "out.tif", array, profile=make_profile(600, 700, 2, compress="zstd"))
    with rasterio.open(tmp_path / "out.tif") as made:
        assert made.profile["compress"] == "zstd"
        assert made.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "2"
        assert np.array_equal(made.read(), array)


def test_other_compression_is_refused() -> None:
    with pytest.raises(ArgumentError, match="must be one of deflate, zstd, got 'jpeg'"):
        make_profile(compress="jpeg")


def test_wavelengths_go_to_the_bands(tmp_path: Path) -> None:
    profile = make_profile(40, 50, 2, wavelengths=((450, 510), None))
    write_all(tmp_path / "out.tif", noise(2, 40, 50), profile=profile)
    with rasterio.open(tmp_path / "out.tif") as made:
        assert made.tags(1, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "0.48", "FWHM_UM": "0.06"}
        assert made.tags(2, ns="IMAGERY") == {}


def test_tags_may_come_late(tmp_path: Path) -> None:
    with GeoTiffWriter(tmp_path / "out.tif", make_profile(40, 50, 2, tags={"A": "1", "B": "1"})) as writer:
        writer.write(noise(2, 40, 50), 0, 0)
        writer.add_tags({"B": "2", "C": "高 <&>"})
        writer.finish()
        with pytest.raises(ArgumentError, match="until it is finished"):
            writer.add_tags({"D": "1"})
    with rasterio.open(tmp_path / "out.tif") as made:
        assert {key: made.tags().get(key) for key in "ABCD"} == {"A": "1", "B": "2", "C": "高 <&>", "D": None}


def test_blocks_in_any_order_from_threads(tmp_path: Path) -> None:
    array = noise(2, 700, 900)
    profile = make_profile(700, 900, 2)
    with GeoTiffWriter(tmp_path / "out.tif", profile) as writer, ThreadPoolExecutor(4) as pool:
        parts = list(blocks_of(array))[::-1]
        list(pool.map(lambda part: writer.write(array[(slice(None), *part[2])], part[0], part[1]), parts))
        writer.finish()
    with rasterio.open(tmp_path / "out.tif") as made:
        assert np.array_equal(made.read(), array)


@pytest.mark.parametrize(
    ("block", "at", "valid"),
    [
        (noise(2, 10, 10), (0, 0), None),
        (noise(3, 10, 10).astype(np.int16), (0, 0), None),
        (noise(3, 10, 10), (695, 0), None),
        (noise(3, 10, 10), (-1, 0), None),
        (noise(3, 10, 10)[0], (0, 0), None),
        (noise(3, 10, 10), (0, 0), np.ones((10, 9), bool)),
    ],
)
def test_block_that_does_not_fit_is_refused(
    tmp_path: Path, block: np.ndarray, at: tuple[int, int], valid: np.ndarray | None
) -> None:
    with (
        GeoTiffWriter(tmp_path / "out.tif", make_profile()) as writer,
        pytest.raises(ArgumentError, match=r"a block must be uint16 with 3 bands inside \(700, 900\)"),
    ):
        writer.write(block, *at, valid)
    assert names_in(tmp_path) == []


def test_missing_block_is_refused_and_nothing_stays(tmp_path: Path) -> None:
    with (
        GeoTiffWriter(tmp_path / "out.tif", make_profile()) as writer,
        pytest.raises(ArgumentError, match="every pixel must be written once, got 0 of 630000"),
    ):
        writer.finish()
    assert names_in(tmp_path) == []


def test_writer_outside_its_context_is_refused(tmp_path: Path) -> None:
    writer = GeoTiffWriter(tmp_path / "out.tif", make_profile())
    with pytest.raises(ArgumentError, match="must be used inside its context"):
        writer.write(noise(3, 10, 10), 0, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_failure_in_the_middle_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "out.tif"
    path.write_bytes(b"old")

    def fail_halfway() -> None:
        with GeoTiffWriter(path, make_profile(), overwrite=True) as writer:
            writer.write(noise(3, 10, 10), 0, 0)
            assert len(names_in(tmp_path)) == 2
            raise error

    with pytest.raises(error):
        fail_halfway()
    assert names_in(tmp_path) == ["out.tif"]
    assert path.read_bytes() == b"old"


def test_failure_at_the_end_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.tif"
    path.write_bytes(b"old")

    def fail(*_args: object, **_options: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(ship_geo.writer.cog.rasterio.shutil, "copy", fail)
    with pytest.raises(OutputError, match=r"must be writable, got .*Input/output error for .*out\.tif; check the disk"):
        write_all(path, noise(1, 20, 20), overwrite=True)
    assert names_in(tmp_path) == ["out.tif"]
    assert path.read_bytes() == b"old"


def test_file_that_appears_while_writing_is_not_replaced(tmp_path: Path) -> None:
    target, array = tmp_path / "out.tif", noise(2, 40, 50)
    with GeoTiffWriter(target, make_profile(40, 50, 2)) as writer:
        writer.write(array, 0, 0)
        target.write_text("of another job")
        with pytest.raises(OutputError, match=r"must not exist, got .*out.tif, made while this job ran; choose"):
            writer.finish()
    assert target.read_text() == "of another job"
    assert names_in(tmp_path) == ["out.tif"]


def test_overwriting_replaces_the_file_and_its_stale_sidecars(tmp_path: Path) -> None:
    path = tmp_path / "out.tif"
    for name in ("out.tif", "out.tif.aux.xml", "out.tif.ovr", "other.tif.ovr"):
        (tmp_path / name).write_bytes(b"old")
    write_all(path, noise(1, 20, 20), overwrite=True)
    assert names_in(tmp_path) == ["other.tif.ovr", "out.tif"]
    with rasterio.open(path) as made:
        assert made.shape == (20, 20)


def test_link_to_the_output_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "out.tif").write_bytes(b"old")
    (tmp_path / "out.tif").symlink_to(tmp_path / "real" / "out.tif")
    write_all(tmp_path / "out.tif", noise(1, 20, 20), overwrite=True)
    assert (tmp_path / "out.tif").is_symlink()
    assert (tmp_path / "real" / "out.tif").stat().st_size > 100


def test_existing_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out.tif").touch()
    with pytest.raises(OutputError, match=r"must not exist, got .*out\.tif; choose another name or pass overwrite"):
        check_output(tmp_path / "out.tif")


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"folder of the output must exist, got .*nowhere; make it first"):
        check_output(tmp_path / "nowhere" / "out.tif")


def test_folder_as_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"must be a file, got the folder .*; add a file name"):
        check_output(tmp_path, overwrite=True)


def test_remote_output_is_refused() -> None:
    with pytest.raises(OutputError, match=r"file on a local disk, got s3://bucket/out.tif"):
        check_output("s3://bucket/out.tif")


def test_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # tests may run as root, who may write anywhere
    with pytest.raises(OutputError, match=r"must be writable, got .*; change its permissions"):
        check_output(tmp_path / "out.tif")


@pytest.mark.parametrize("link", ["same", "symbolic", "hard"])
def test_input_as_output_is_refused(tmp_path: Path, link: str) -> None:
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    source.write_bytes(b"input")
    if link == "symbolic":
        target.symlink_to(source)
    elif link == "hard":
        target.hardlink_to(source)
    else:
        target = tmp_path / "." / "in.tif"
    with pytest.raises(OutputError, match=r"must not be one of the inputs, got .* for both; choose another name"):
        check_output(target, overwrite=True, inputs=[str(source)])
    assert source.read_bytes() == b"input"


def test_too_small_disk_is_refused_before_any_work(tmp_path: Path) -> None:
    profile = make_profile(10_000_000, 10_000_000)
    with pytest.raises(
        OutputError, match=r"must have room, got [\d,]+ bytes free of at least 700,000,000,000,000 needed"
    ):
        GeoTiffWriter(tmp_path / "out.tif", profile, inputs=()).__enter__()
    assert names_in(tmp_path) == []


FILL_DISK = """
import os, sys
import numpy as np
from pathlib import Path
sys.path.insert(0, {tests!r})
import ship_geo.writer.geotiff
from test_writer import make_profile, noise, write_all
from ship_geo.errors import OutputError
folder = Path({folder!r})
(folder / "old.tif").write_bytes(b"old")
if {late!r} == "early":
    # As if another program took the room after the check.
    ship_geo.writer.geotiff.check_output = lambda path, **_: Path(path)
try:
    write_all(folder / "old.tif", noise(1, 1000, 1000), overwrite=True)
except OutputError as error:
    print(error)
print(os.listdir(folder), (folder / "old.tif").read_bytes())
"""


@pytest.mark.parametrize(("late", "size"), [("early", "1500k"), ("late", "3400k")])
def test_disk_that_fills_up_leaves_nothing(tmp_path: Path, late: str, size: str) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["unshare", "-Urm", "sh", "-c", f'mount -t tmpfs -o size={size} t {folder} && exec "$@"', "sh"]
    try:
        can_mount = subprocess.run([*mount, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        can_mount = False
    if not can_mount:
        pytest.skip("a small disk cannot be mounted here: no unprivileged user namespaces")
    code = FILL_DISK.format(tests=str(Path(__file__).parent), folder=str(folder), late=late)
    done = subprocess.run([*mount, sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, after = done.stdout.strip().splitlines()
    assert message.startswith("the disk of the output must have room, got ")
    assert "bytes free of at least" in message
    assert after == "['old.tif'] b'old'"


@given(
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32"]),
    nodata=st.sampled_from([0, 1, 7, 255, -5, -32768, 65535]),
    seed=st.integers(0, 99),
)
def test_mark_means_invalid_and_nothing_else(dtype: str, nodata: float | None, seed: int) -> None:
    rng = np.random.default_rng(seed)
    low, high = (0, 12) if dtype.startswith("u") else (-6, 12)
    fused = rng.integers(low, high, (2, 8, 9)).astype(dtype)
    limits = np.iinfo(dtype) if dtype != "float32" else np.finfo(dtype)
    nodata = nodata if limits.min <= nodata <= limits.max else 0
    fused[0, 0, :4] = nodata
    valid = rng.random((8, 9)) > 0.3
    values, n_moved = apply_nodata(fused, valid, nodata)
    assert values.dtype == fused.dtype
    assert np.array_equal((values == nodata).all(axis=0), ~valid)
    assert not (values[:, valid] == nodata).any()
    moved = values[:, valid] != fused[:, valid]
    assert moved.sum() == n_moved == (fused[:, valid] == nodata).sum()
    assert np.abs(values[:, valid].astype(float) - fused[:, valid]).max(initial=0) <= 1


def test_without_a_mark_invalid_floats_are_nan() -> None:
    values, n_moved = apply_nodata(np.ones((1, 1, 2), np.float32), np.array([[True, False]]), None)
    assert n_moved == 0
    assert values[0, 0, 0] == 1
    assert np.isnan(values[0, 0, 1])


def test_profile_of_a_scene_keeps_what_ms_has(raster: WriteRaster) -> None:
    ms = raster("a_MS.tif", noise(2, 8, 8), Affine(2, 0, 500000, 0, -2, 4640000), nodata=0, descriptions=("b1 red", ""))
    raster("a_PAN.tif", noise(1, 32, 32), TRANSFORM)
    scene = open_scene(ms, bands=["red", "nir"])
    profile = OutputProfile.from_scene(scene, {"MODEL": "brovey"})
    assert (profile.grid, profile.dtype, profile.nodata) == (scene.pan.grid, "uint16", 0)
    assert profile.descriptions == ("b1 red", "nir")
    assert profile.tags["MODEL"] == "brovey"
    assert choose_nodata(scene) == 0


def test_known_roles_have_their_colours_and_none_is_alpha(tmp_path: Path) -> None:
    scene = value_scene(tmp_path)
    assert OutputProfile.from_scene(scene).colours == ("blue", "green", "red", "nir")
    roles = ("coastal", "band2", "yellow", "nir2")
    odd = replace(scene.ms, roles=roles, colours=("gray", "alpha", "red", "alpha"))
    assert OutputProfile.from_scene(replace(scene, ms=odd)).colours == ("coastal", "undefined", "undefined", "nir")


def test_profile_of_sensor_geometry_has_the_model_of_the_output(tmp_path: Path) -> None:
    scene = sensor_scene(tmp_path)
    profile = OutputProfile.from_scene(scene)
    assert profile.rpc == scene.output_rpc
    assert profile.band_tags(0) == {"CENTRAL_WAVELENGTH_UM": "0.48", "FWHM_UM": "0.06"}


def test_room_needed_counts_the_mask_where_there_is_no_nodata() -> None:
    assert make_profile(10, 20, 3, nodata=0).n_staged == 10 * 20 * 3 * 2
    assert make_profile(10, 20, 3).n_staged == 10 * 20 * (3 * 2 + 1)


KILLED = """
import os, signal
import numpy as np
from affine import Affine
from ship_geo.grids import Grid
from ship_geo.writer import GeoTiffWriter, OutputProfile
profile = OutputProfile(Grid((40, 50), Affine(1, 0, 0, 0, -1, 0), "EPSG:32633"), "uint16", ("red",))
with GeoTiffWriter({target!r}, profile) as writer:
    writer.write(np.ones((1, 40, 50), np.uint16), 0, 0)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    target = tmp_path / "out.tif"
    code = KILLED.format(target=str(target))
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert names_in(tmp_path) == [".out.tif.ship-geo"]
    write_all(tmp_path / "other.tif", noise(1, 20, 20))
    assert names_in(tmp_path) == [".out.tif.ship-geo", "other.tif"]
    write_all(target, noise(1, 20, 20))
    assert names_in(tmp_path) == ["other.tif", "out.tif"]


def leave_folder(folder: Path, age: float = 0, **owner: Any) -> Path:
    """What a run of this host leaves whose process is gone, or as `owner` says; touched so many seconds ago."""
    left = folder / ".out.tif.ship-geo"
    left.mkdir()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    facts = {"pid": gone.pid, "host": socket.gethostname(), "start": "boot 1", **owner}
    (left / "owner.json").write_text(json.dumps(facts))
    os.utime(left / "owner.json", (time.time() - age,) * 2)
    (left / "pixels").write_text("of another run")
    return left


@pytest.mark.parametrize(
    ("age", "owner"),
    [
        (0, {}),
        (0, {"pid": os.getpid()}),  # the number went to another process since
        (STALE + 5, {"host": "elsewhere", "pid": os.getpid(), "start": None}),
    ],
)
def test_folder_whose_owner_is_gone_is_taken_over(tmp_path: Path, age: float, owner: dict[str, Any]) -> None:
    left = leave_folder(tmp_path, age, **owner)
    folder = StagingFolder(tmp_path / "out.tif")
    assert (left / "pixels").exists()  # for the new owner to judge
    assert json.loads((left / "owner.json").read_text())["pid"] == os.getpid()
    folder.remove()
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"pid": "x", "host": 1}', '{"host": null}'])
def test_folder_of_an_unknown_owner_is_taken_over(tmp_path: Path, content: str | None) -> None:
    left = leave_folder(tmp_path)
    (left / "owner.json").unlink()
    if content is not None:
        (left / "owner.json").write_text(content)
        os.utime(left / "owner.json", (time.time() - STALE - 5,) * 2)
    StagingFolder(tmp_path / "out.tif").remove()
    assert names_in(tmp_path) == []


def test_owner_on_another_host_is_given_time(tmp_path: Path) -> None:
    leave_folder(tmp_path, 30, host="elsewhere", pid=77)
    with pytest.raises(
        OutputError,
        match=r"in use by process 77 on elsewhere, 3\d s ago; .*; if that was killed, try again in [56]\d s",
    ):
        StagingFolder(tmp_path / "out.tif")
    assert names_in(tmp_path) == [".out.tif.ship-geo"]
    assert names_in(tmp_path / ".out.tif.ship-geo") == ["owner.json", "pixels"]


def test_living_owner_counts_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    first = StagingFolder(tmp_path / "out.tif")
    with pytest.raises(OutputError, match=f"in use by process {os.getpid()} on "):
        StagingFolder(tmp_path / "out.tif")
    first.leave()
    StagingFolder(tmp_path / "out.tif").remove()


def test_lock_counts_even_if_the_owner_cannot_be_seen(tmp_path: Path) -> None:
    folder = StagingFolder(tmp_path / "out.tif")
    # As seen from another container: the number is no process there.
    facts = json.loads((folder.path / "owner.json").read_text())
    (folder.path / "owner.json").write_text(json.dumps({**facts, "start": "boot 1"}))
    with pytest.raises(OutputError, match="one job at a time"):
        StagingFolder(tmp_path / "out.tif")
    folder.remove()
    assert names_in(tmp_path) == []


def test_living_owner_touches_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ship_geo.writer.folder, "BEAT", 0.01)
    folder = StagingFolder(tmp_path / "out.tif")
    owner = folder.path / "owner.json"
    os.utime(owner, (0, 0))
    limit = time.monotonic() + 5
    while owner.stat().st_mtime == 0 and time.monotonic() < limit:
        time.sleep(0.01)
    assert owner.stat().st_mtime > 0
    folder.remove()
    assert not any(thread.name == "ship-geo-owner" for thread in threading.enumerate())


def test_link_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").touch()
    (tmp_path / ".out.tif.ship-geo").symlink_to(tmp_path / "other")
    with pytest.raises(OutputError, match=r"must be this user's own, got .*\.out\.tif\.ship-geo; remove it"):
        write_all(tmp_path / "out.tif", noise(1, 20, 20))
    assert names_in(tmp_path / "other") == ["precious"]


def test_second_run_to_one_target_is_refused_and_does_not_disturb_the_first(tmp_path: Path) -> None:
    target, array = tmp_path / "out.tif", noise(2, 40, 50)
    profile = make_profile(40, 50, 2)
    with GeoTiffWriter(target, profile) as first:
        first.write(array, 0, 0)
        with pytest.raises(
            OutputError, match=rf"one job at a time, got .* in use by process {os.getpid()} on .*; wait for the other"
        ):
            GeoTiffWriter(target, profile).__enter__()
        first.finish()
    with rasterio.open(target) as made:
        assert np.array_equal(made.read(), array)
    write_all(target, array, overwrite=True)
    assert names_in(tmp_path) == ["out.tif"]


# Memory -------------------------------------------------------------------------------------------------------------

LARGE = """
import sys
import numpy as np
from affine import Affine
from ship_geo.grids import Grid
from ship_geo.writer import GeoTiffWriter, OutputProfile

def status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))

grid = Grid((6144, 6144), Affine(1, 0, 0, 0, -1, 0), "EPSG:32633")
profile = OutputProfile(grid, "uint16", ("a", "b", "c", "d"))
block = np.arange(4 * 512 * 512, dtype=np.uint16).reshape(4, 512, 512)

def write(path):
    with GeoTiffWriter(path, profile) as writer:
        for row in range(0, 6144, 512):
            for col in range(0, 6144, 512):
                writer.write(block, row, col)
        writer.finish()

before = status("VmRSS")
write(sys.argv[1])
print(status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell the peak of a process")
def test_memory_of_writing_is_a_part_of_the_scene(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LARGE, str(tmp_path / "out.tif")]
    added = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    n_byte = 6144 * 6144 * 4 * 2  # without its overviews
    assert added < 0.7 * n_byte
