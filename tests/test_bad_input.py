"""Bad input ends in one sentence that says what is wrong and what to do, and leaves every file as it was."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from ship_geo.api import pansharpen, pansharpen_scene
from ship_geo.cli import main
from ship_geo.errors import ArgumentError, CheckpointError, GridError, OutputError, ProductError, ShipGeoError
from ship_geo.writer import discard

Write = Callable[..., Any]


@dataclass
class Case:
    """A call that must fail, and how."""

    error: type[ShipGeoError]
    text: str
    source: Any = None
    options: dict[str, Any] = field(default_factory=dict)
    output: Path | None = None


@dataclass(frozen=True)
class Kitchen:
    """Where cases are cooked."""

    folder: Path
    write: Write
    checkpoint: Path

    def pair(self, **options: Any) -> Any:
        return self.write(self.folder, **options)


def missing_source(kitchen: Kitchen) -> Case:
    return Case(ProductError, r"the source must exist, got .*nothing; check the path", kitchen.folder / "nothing")


def missing_file(kitchen: Kitchen) -> Case:
    pair = kitchen.pair()
    options = {"ms": kitchen.folder / "gone_MS.tif", "pan": pair.pan}
    return Case(ProductError, r"a raster file must exist, got .*gone_MS.tif; check the path", options=options)


def missing_partner(kitchen: Kitchen) -> Case:
    pair = kitchen.pair()
    pair.ms.unlink()
    return Case(ProductError, r"one file must have a partner .*no MS partner lies beside it.*pass both", pair.pan)


def folder_without_rasters(kitchen: Kitchen) -> Case:
    (kitchen.folder / "readme.txt").write_text("hello")
    return Case(ProductError, r"a folder must hold a PAN / MS pair, got no GeoTIFF", kitchen.folder)


def unreadable_file(kitchen: Kitchen) -> Case:
    pair = kitchen.pair()
    pair.ms.write_text("no picture at all")
    return Case(ProductError, r"a raster must be GeoTIFF, JPEG 2000 or NITF, got .*convert it", pair.pan)


def damaged_header(kitchen: Kitchen) -> Case:
    pair = kitchen.pair()
    pair.ms.write_bytes(b"II*\x00" + b"\xff" * 300)
    return Case(ProductError, r"a raster must be readable, got .*town_MS.tif .*copy or download it again", pair.pan)


def empty_file(kitchen: Kitchen) -> Case:
    pair = kitchen.pair()
    pair.pan.write_bytes(b"")
    return Case(ProductError, r"a raster must have content, got the empty file .*town_PAN.tif; copy", pair.ms)


def truncated_file(kitchen: Kitchen) -> Case:
    pair = kitchen.pair()
    whole = pair.pan.read_bytes()
    pair.pan.write_bytes(whole[: len(whole) * 9 // 10])
    return Case(ProductError, r"a TIFF must hold all its blocks, got \d+ of at least \d+ bytes .*truncated", pair.pan)


def vrt_in_disguise(kitchen: Kitchen) -> Case:
    pair = kitchen.pair()
    pair.ms.write_text(f'<VRTDataset rasterXSize="9" rasterYSize="9"><SourceFilename>{pair.pan}</SourceFilename>')
    return Case(ProductError, r"got VRT text, which names other files, in .*town_MS.tif", pair.pan)


def no_crs_on_ms(kitchen: Kitchen) -> Case:
    text = r"must both have a CRS or both have none, got no CRS for MS beside EPSG:32633; write the CRS"
    return Case(GridError, text, kitchen.pair(crs=None).pan)


def no_crs_on_pan(kitchen: Kitchen) -> Case:
    text = r"must both have a CRS or both have none, got no CRS for PAN beside EPSG:32633; write the CRS"
    return Case(GridError, text, kitchen.pair(pan_crs=None).pan)


def other_crs(kitchen: Kitchen) -> Case:
    text = r"PAN and MS must .*EPSG:3263[23].*"
    return Case(GridError, text, kitchen.pair(crs="EPSG:32632").pan)


def no_overlap(kitchen: Kitchen) -> Case:
    text = r"PAN and MS must overlap by a whole PAN pixel, got PAN \(.*\) and MS \(.*\) .* in EPSG:32633; check"
    return Case(GridError, text, kitchen.pair(offset=(0, 5000)).pan)


def pan_with_three_bands(kitchen: Kitchen) -> Case:
    text = r"PAN must have one band, got 3 in .*town_PAN.tif; pass the panchromatic file"
    return Case(ProductError, text, kitchen.pair(pan=np.random.default_rng(0).integers(1, 999, (3, 96, 96))).pan)


def ms_finer_than_pan(kitchen: Kitchen) -> Case:
    pair = kitchen.pair(ms=np.random.default_rng(0).integers(1, 999, (4, 96, 96)), ratio=0.5)
    return Case(GridError, r"PAN must be finer than MS, got ratio \(0.5, 0.5\); check whether", pair.pan)


def ms_as_fine_as_pan(kitchen: Kitchen) -> Case:
    pair = kitchen.pair(ms=np.random.default_rng(0).integers(1, 999, (4, 96, 96)), ratio=1)
    return Case(
        GridError, r"pixel size ratio must be from 1.5 to 8.*, got ratio \(1, 1\); pass MS at its native", pair.pan
    )


def unknown_sensor(kitchen: Kitchen) -> Case:
    text = r"got 'Sputnik'.*"
    return Case(ArgumentError, text, kitchen.pair().pan, {"sensor": "Sputnik"})


def wrong_bands(kitchen: Kitchen) -> Case:
    text = r"`bands` must name each of the 4 MS bands once, got \['red', 'green'\]; list them in file order"
    return Case(ArgumentError, text, kitchen.pair().pan, {"bands": ("red", "green")})


def unknown_model(kitchen: Kitchen) -> Case:
    text = r"the model is one of auto, exp, .*, got 'sharpest'; choose one of them"
    return Case(ArgumentError, text, kitchen.pair().pan, {"model": "sharpest"})


def unknown_device(kitchen: Kitchen) -> Case:
    return Case(ArgumentError, r"the device is .* got 'tpu'.*; use device='cpu'", kitchen.pair().pan, {"device": "tpu"})


def missing_checkpoint(kitchen: Kitchen) -> Case:
    options = {"model": kitchen.folder / "gone.safetensors"}
    return Case(CheckpointError, r"gone.safetensors", kitchen.pair().pan, options)


def corrupt_checkpoint(kitchen: Kitchen) -> Case:
    path = kitchen.folder / "corrupt.safetensors"
    content = bytearray(kitchen.checkpoint.read_bytes())
    content[100:140] = b"?" * 40
    path.write_bytes(content)
    return Case(CheckpointError, r"got .*corrupt.safetensors.*; fetch", kitchen.pair().pan, {"model": path})


def truncated_checkpoint(kitchen: Kitchen) -> Case:
    path = kitchen.folder / "short.safetensors"
    path.write_bytes(kitchen.checkpoint.read_bytes()[:-500])
    return Case(CheckpointError, r"got .*short.safetensors.*; fetch", kitchen.pair().pan, {"model": path})


def checkpoint_that_is_a_pickle(kitchen: Kitchen) -> Case:
    import torch

    path = kitchen.folder / "pickle.safetensors"
    torch.save({"weight": torch.ones(3)}, path)
    return Case(CheckpointError, r"got .*pickle.safetensors.*; fetch", kitchen.pair().pan, {"model": path})


def output_exists(kitchen: Kitchen) -> Case:
    path = kitchen.folder / "old.tif"
    path.write_bytes(b"old")
    text = r"the output must not exist, got .*old.tif; choose another name or pass overwrite=True"
    return Case(OutputError, text, kitchen.pair().pan, output=path)


def output_folder_missing(kitchen: Kitchen) -> Case:
    path = kitchen.folder / "no" / "such" / "fused.tif"
    text = r"the folder of the output must exist, got .*such; make it first"
    return Case(OutputError, text, kitchen.pair().pan, output=path)


def output_is_a_folder(kitchen: Kitchen) -> Case:
    text = r"the output must be a file, got the folder .*; add a file name"
    return Case(OutputError, text, kitchen.pair().pan, output=kitchen.folder)


def output_is_an_input(kitchen: Kitchen) -> Case:
    pair = kitchen.pair()
    text = r"the output must not be one of the inputs, got .*town_MS.tif for both; choose another name"
    return Case(OutputError, text, pair.pan, {"overwrite": True}, output=pair.ms)


def output_links_to_an_input(kitchen: Kitchen) -> Case:
    pair = kitchen.pair()
    link = kitchen.folder / "fused.tif"
    link.symlink_to(pair.pan)
    text = r"the output must not be one of the inputs, got .*fused.tif for both; choose another name"
    return Case(OutputError, text, pair.pan, {"overwrite": True}, output=link)


def all_nodata(kitchen: Kitchen) -> Case:
    pair = kitchen.pair(ms=np.zeros((4, 24, 24)), pan=np.zeros((96, 96)), nodata=0)
    text = r"pixels that are valid in PAN and in all MS bands, got none among 9216; check the nodata values"
    return Case(ProductError, text, pair.pan)


def nothing_valid_in_both(kitchen: Kitchen) -> Case:
    ms, pan = np.full((4, 24, 24), 500.0), np.full((96, 96), 500.0)
    ms[:, :, :12], pan[:, 48:] = 0, 0
    text = r"pixels that are valid in PAN and in all MS bands, got none among 9216; check the nodata values"
    return Case(ProductError, text, kitchen.pair(ms=ms, pan=pan, nodata=0).pan)


def all_nan(kitchen: Kitchen) -> Case:
    pair = kitchen.pair(ms=np.full((4, 24, 24), np.nan), pan=np.full((96, 96), np.inf), dtype="float32")
    return Case(ProductError, r"valid in PAN and in all MS bands, got none among 9216", pair.pan)


def complex_values(kitchen: Kitchen) -> Case:
    pair = kitchen.pair()
    with rasterio.open(pair.ms) as source:
        profile = source.profile | {"dtype": "complex64"}
    with rasterio.open(pair.ms, "w", **profile) as target:
        target.write(pair.ms_values.astype(np.complex64))
    return Case(ProductError, r"must have one integer or float data type, got complex64", pair.pan)


def no_source(kitchen: Kitchen) -> Case:
    del kitchen
    return Case(ArgumentError, r"a scene needs one source, got .*; pass `source`, or `ms` and `pan`")


def odd_chunks(kitchen: Kitchen) -> Case:
    return Case(
        ArgumentError, r"chunks are a number of pixels, .*got 0; for instance", kitchen.pair().pan, {"chunks": 0}
    )


CASES = [
    missing_source,
    missing_file,
    missing_partner,
    folder_without_rasters,
    unreadable_file,
    damaged_header,
    empty_file,
    truncated_file,
    vrt_in_disguise,
    no_crs_on_ms,
    no_crs_on_pan,
    other_crs,
    no_overlap,
    pan_with_three_bands,
    ms_finer_than_pan,
    ms_as_fine_as_pan,
    unknown_sensor,
    wrong_bands,
    unknown_model,
    unknown_device,
    missing_checkpoint,
    corrupt_checkpoint,
    truncated_checkpoint,
    checkpoint_that_is_a_pickle,
    output_exists,
    output_folder_missing,
    output_is_a_folder,
    output_is_an_input,
    output_links_to_an_input,
    all_nodata,
    nothing_valid_in_both,
    all_nan,
    complex_values,
    no_source,
    odd_chunks,
]


@pytest.fixture
def kitchen(write_pair: Write, tmp_path: Path, tiny_checkpoint: Path) -> Kitchen:
    return Kitchen(tmp_path, write_pair, tiny_checkpoint)


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("cook", CASES, ids=lambda cook: cook.__name__)
def test_bad_input_is_named_and_leaves_no_file(kitchen: Kitchen, cook: Callable[[Kitchen], Case]) -> None:
    case = cook(kitchen)
    before = snapshot(kitchen.folder)
    output = case.output or kitchen.folder / "made.tif"
    with pytest.raises(case.error, match=case.text) as caught:
        pansharpen_scene(case.source, output=output, progress=False, **{"model": "mtf-glp-fs", **case.options})
    message = str(caught.value)
    assert "; " in message  # the remedy
    assert "\n" not in message
    assert snapshot(kitchen.folder) == before


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_some_nan_and_infinity_are_holes_and_no_error(kitchen: Kitchen, dtype: str) -> None:
    plain = kitchen.write(kitchen.folder / "plain", dtype=dtype)
    ms, pan = plain.ms_values.copy(), plain.pan_values[0].copy()
    ms[0, 1, 2], ms[3, 9, 9] = np.nan, -np.inf
    pan[0, 0], pan[95, 95] = np.inf, np.nan
    pair = kitchen.pair(ms=ms, pan=pan, dtype=dtype)
    output = kitchen.folder / "fused.tif"
    with pansharpen_scene(pair.pan, model="gsa", output=output, progress=False) as fused:
        assert json.loads(fused.attrs["ship_geo_record"])["n_invalid"] == 16 + 16 + 2
    with rasterio.open(output) as made:
        valid = made.dataset_mask() > 0
        assert int((~valid).sum()) == 34
        assert np.isfinite(made.read()[:, valid]).all()


# Full disk ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3.4 MB, for which a test must be root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("a small disk is mounted by root only")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3400k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_disk_that_is_too_small_is_refused_at_once(kitchen: Kitchen, small_disk: Path) -> None:
    pair = kitchen.pair(shape=(800, 800))
    with pytest.raises(
        OutputError, match=r"the disk of the output must have room, got [\d,]+ bytes free of at least 5,"
    ):
        pansharpen_scene(pair.pan, model="exp", output=small_disk / "fused.tif", progress=False)
    assert list(small_disk.iterdir()) == []


def test_disk_that_fills_up_while_writing_leaves_no_output(kitchen: Kitchen, small_disk: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65535, (4, 150, 150))
    pair = kitchen.pair(ms=noise, pan=np.random.default_rng(1).integers(1, 65535, (600, 600)))
    (small_disk / "old.tif").write_bytes(b"old")
    for name in ("fused.tif", "old.tif"):  # 2.9 MB before, and hardly less after compression
        with pytest.raises(OutputError, match=r"the disk of the output must have room, got .*; free some, or choose"):
            pansharpen_scene(
                pair.pan, model="mtf-glp-fs", output=small_disk / name, overwrite=True, progress=False, chunks=200
            )
        files = {path.name: path.read_bytes() for path in small_disk.iterdir() if not path.name.startswith(".")}
        assert files == {"old.tif": b"old"}
        discard(small_disk / name)  # what is finished stays for a resumed run, unless it is thrown away
        assert [path.name for path in small_disk.iterdir()] == ["old.tif"]


# Command line -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cook", "code"),
    [
        (missing_source, 1),
        (truncated_file, 1),
        (no_overlap, 2),
        (unknown_sensor, 2),
        (unknown_model, 2),
        (corrupt_checkpoint, 1),
        (output_exists, 1),
        (output_is_an_input, 1),
        (all_nodata, 1),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_command_line_says_it_and_sets_the_exit_code(
    kitchen: Kitchen, capsys: pytest.CaptureFixture[str], cook: Callable[[Kitchen], Case], code: int
) -> None:
    case = cook(kitchen)
    before = snapshot(kitchen.folder)
    options = {"model": "exp", "output": case.output or kitchen.folder / "made.tif", **case.options}
    words = ["pansharpen", str(case.source), "--json", "--quiet"]
    for name, value in options.items():
        words += ["--overwrite"] if value is True else [f"--{name}", str(value)]
    assert main(words) == code
    out, err = capsys.readouterr()
    assert err.startswith("Error: ")
    assert len(err.splitlines()) == 1
    error = json.loads(out)["error"]
    assert (error["type"], error["exit_code"]) == (case.error.__name__, code)
    assert error["message"] in err
    assert snapshot(kitchen.folder) == before


def test_device_or_pipe_is_no_output(kitchen: Kitchen) -> None:
    pair = kitchen.pair()
    pipe = kitchen.folder / "pipe.tif"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match=r"the output must be a plain file, got the device or pipe .*pipe.tif"):
        pansharpen_scene(pair.pan, model="brovey", output=pipe, overwrite=True, progress=False)
    assert pipe.is_fifo()


def test_existing_file_that_is_no_checkpoint_is_not_called_an_unknown_name(kitchen: Kitchen) -> None:
    pair = kitchen.pair()
    weights = kitchen.folder / "weights.ckpt"
    weights.write_bytes(b"\x80\x04garbage")
    with pytest.raises(CheckpointError, match=r"weights\.ckpt"):
        pansharpen_scene(pair.pan, model=str(weights), progress=False)


def test_arrays_without_georeference_are_refused() -> None:
    plain: Any = np.zeros((4, 8, 8), np.uint16)
    with pytest.raises(ArgumentError, match=r"ms must be an xarray.DataArray or Dataset with .rio .*, got ndarray"):
        pansharpen(plain, plain)
