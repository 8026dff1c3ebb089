"""Speed in PAN megapixels per second, end to end and of the network alone, beside `Ship` and GDAL.

Usage: ``python pipelines/bench/speed.py [--size 2048] [--bands 4] [--model auto] [--repeat 3] [--json]``. A synthetic
scene is made in a temporary folder; contestants take turns, so that a busy moment of the machine hits all of them, and
the median of the turns counts. Nothing is compared that does not do the same work:

- *end to end*: files in, compressed COG with overviews out, each turn in a process of its own with libraries loaded,
  as nothing that an earlier turn left in a cache must help; ``model``, Brovey, and GDAL's pan-sharpening (weighted
  Brovey, cubic, all threads) of the same files as a ``VRTPansharpenedDataset``, whose blocks go the same way to disk.
- *windows*: the prepared windows of the scene through the model, and through the published `Ship` in float32 with
  random weights. Pixels are those of windows; with their overlap an image has fewer.

The last column divides by the speed of the contestant below.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import rasterio
import torch
from common import BenchScene, json_option, show, write_scene
from rasterio.windows import Window

from ship_geo.api import open_scene, pansharpen_scene
from ship_geo.fusers import Fuser, ModelSpec, load_fuser, pick_device, pick_precision
from ship_geo.inference import prepare
from ship_geo.jobs import Job, measure, open_source
from ship_geo.nn import Ship
from ship_geo.nn.ship import ShipConfig
from ship_geo.ops.windows import PreparedWindow
from ship_geo.writer import GeoTiffWriter, OutputProfile

ROOT = Path(__file__).resolve().parents[2]
BLOCK = 1024
VRT = """<VRTDataset subClass="VRTPansharpenedDataset">
  <PansharpeningOptions>
    <Algorithm>WeightedBrovey</Algorithm>
    <AlgorithmOptions><Weights>{weights}</Weights></AlgorithmOptions>
    <Resampling>Cubic</Resampling>
    <NumThreads>ALL_CPUS</NumThreads>
    <BitDepth>11</BitDepth>
    <PanchroBand><SourceFilename>{pan}</SourceFilename><SourceBand>1</SourceBand></PanchroBand>
{bands}
  </PansharpeningOptions>
</VRTDataset>
"""
SPECTRAL = (
    '    <SpectralBand dstBand="{0}"><SourceFilename>{1}</SourceFilename><SourceBand>{0}</SourceBand></SpectralBand>'
)


@dataclass(frozen=True)
class Contestant:
    """Something that is timed: its name, one turn that gives its seconds, its pixels, and whom it is compared with."""

    name: str
    turn: Callable[[], float]
    n_pixel: int
    against: str | None = None


def write_vrt(path: Path, scene: BenchScene) -> Path:
    """Write the text that makes GDAL pan-sharpen a scene with equal weights."""
    n_band = len(scene.roles)
    bands = "\n".join(SPECTRAL.format(band, scene.ms) for band in range(1, n_band + 1))
    path.write_text(VRT.format(weights=",".join([str(1 / n_band)] * n_band), pan=scene.pan, bands=bands))
    return path


def sharpen_by_gdal(vrt: Path, scene: BenchScene, output: Path) -> None:
    """Read GDAL's result block by block and write it as the package writes its own."""
    profile = OutputProfile.from_scene(open_scene(**scene.arguments))
    n_row, n_col = profile.grid.shape
    with rasterio.open(vrt) as source, GeoTiffWriter(output, profile, overwrite=True) as writer:
        for row in range(0, n_row, BLOCK):
            for col in range(0, n_col, BLOCK):
                window = Window(col, row, min(BLOCK, n_col - col), min(BLOCK, n_row - row))
                writer.write(source.read(window=window), row, col)
        writer.finish()


def sharpen_by_package(model: str, how: dict[str, str], scene: BenchScene, output: Path) -> None:
    """Do what a user does."""
    pansharpen_scene(**scene.arguments, **how, model=model, output=output, overwrite=True, progress=False).close()


def in_fresh_process(folder: Path, scene: BenchScene, model: str, how: dict[str, str]) -> float:
    """Seconds of one turn from file to file in a process of its own; the model ``gdal`` is GDAL."""
    facts = {"folder": str(folder), "roles": scene.roles, "model": model, "how": how}
    paths = [str(Path(__file__).parent), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-c", "import speed; speed.one_turn()", json.dumps(facts)]
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)  # noqa: S603
    return float(told.stdout)


def one_turn() -> None:
    """Take the turn that is described on the command line, and print its seconds."""
    import ship_geo.data.dataset  # noqa: F401  loads torchgeo

    facts = json.loads(sys.argv[1])
    folder, model = Path(facts["folder"]), facts["model"]
    scene = BenchScene(folder / "scene_PAN.tif", folder / "scene_MS.tif", tuple(facts["roles"]))
    output = folder / "fused.tif"
    start = time.perf_counter()
    if model == "gdal":
        sharpen_by_gdal(folder / "gdal.vrt", scene, output)
    else:
        sharpen_by_package(model, facts["how"], scene, output)
    print(time.perf_counter() - start)


def end_to_end(folder: Path, scene: BenchScene, size: int, model: str, how: dict[str, str]) -> list[Contestant]:
    """Contestants from file to file."""
    write_vrt(folder / "gdal.vrt", scene)
    turns = {name: partial(in_fresh_process, folder, scene, name, how) for name in (model, "brovey", "gdal")}
    n_pixel = size * size
    mine = [] if model == "brovey" else [Contestant(f"end to end, {model}", turns[model], n_pixel)]
    return [
        *mine,
        Contestant("end to end, brovey", turns["brovey"], n_pixel, "end to end, GDAL"),
        Contestant("end to end, GDAL", turns["gdal"], n_pixel),
    ]


def windows_alone(scene: BenchScene, model: str, how: dict[str, str], n_window: int) -> list[Contestant]:
    """Contestants on prepared windows."""
    job = Job.of(open_scene(**scene.arguments), model, how["device"], how["precision"])
    fuser, stats, source = load_fuser(job.spec, job.device, job.precision), measure(job), open_source(job)
    chosen = job.plan.windows()[:n_window]
    prepared = [prepare(sample, job.gnyq_ms, job.plan.halo) for sample in source.samples(job.plan, chosen)]
    n_pixel = len(prepared) * job.plan.window**2
    name = f"windows of {job.plan.window}, {job.spec.name}"
    return [
        Contestant(name, timed(partial(fuser.fuse, prepared, stats, job.groups)), n_pixel, "windows, Ship float32"),
        Contestant("windows, Ship float32", timed(ship_turn(prepared, fuser, how["device"])), n_pixel),
    ]


def timed(turn: Callable[[], object]) -> Callable[[], float]:
    """Let a turn give its seconds."""

    def take() -> float:
        start = time.perf_counter()
        turn()
        return time.perf_counter() - start

    return take


def ship_turn(prepared: Sequence[PreparedWindow], fuser: Fuser, device: str) -> Callable[[], object]:
    """One turn of the published network in float32, in batches as those of the other network."""
    torch.manual_seed(0)
    place = pick_device(device)
    network = (
        Ship(ShipConfig(n_band=len(prepared[0].ms_up), n_pan=1)).eval().to(place, memory_format=torch.channels_last)
    )

    @torch.inference_mode()
    def turn() -> None:
        for start in range(0, len(prepared), fuser.batch_size):
            part = prepared[start : start + fuser.batch_size]
            ms_up, pan = (torch.stack([getattr(one, name) for one in part]).to(place) for name in ("ms_up", "pan"))
            last = torch.channels_last
            network(ms_up.contiguous(memory_format=last) / 1000, pan.contiguous(memory_format=last) / 1000).cpu()

    return turn


def race(contestants: Sequence[Contestant], repeat: int) -> list[dict[str, Any]]:
    """Let contestants take turns, and return a row for each."""
    taken: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for _ in range(repeat):
        for contestant in contestants:
            taken[contestant.name].append(contestant.turn())
    speed = {one.name: one.n_pixel / 1e6 / statistics.median(taken[one.name]) for one in contestants}
    return [
        {
            "contestant": one.name,
            "seconds": [round(seconds, 3) for seconds in taken[one.name]],
            "median_s": round(statistics.median(taken[one.name]), 4),
            "megapixels_per_second": round(speed[one.name], 4),
            "ratio": None if one.against is None else round(speed[one.name] / speed[one.against], 3),
        }
        for one in contestants
    ]


def circumstances(size: int, bands: int, model: str, how: dict[str, str], repeat: int) -> dict[str, Any]:
    """Return what the figures depend on."""
    place = pick_device(how["device"])
    is_network = ModelSpec.resolve(model).kind == "network"
    return {
        "size": size,
        "bands": bands,
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else str(place),
        "precision": pick_precision(how["precision"], place) if is_network else "float32",
        "threads": torch.get_num_threads(),
        "repeat": repeat,
        "torch": torch.__version__,
        "gdal": rasterio.__gdal_version__,
    }


@click.command()
@click.option("--size", default=2048, show_default=True, help="Rows and columns of PAN, a multiple of 4.")
@click.option("--bands", default=4, show_default=True, help="MS bands, 1 to 8.")
@click.option("--model", default="auto", show_default=True, help="Name or path of weights.")
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option(
    "--windows", "n_window", default=16, show_default=True, help="Windows for the network alone; 0: leave it out."
)
@click.option("--repeat", default=3, show_default=True, help="Turns of every contestant.")
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where files are put.")
@json_option
def main(  # noqa: PLR0913, PLR0917  options
    size: int,
    bands: int,
    model: str,
    device: str,
    precision: str,
    n_window: int,
    repeat: int,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Measure speed side by side."""
    how = {"device": device, "precision": precision}
    with tempfile.TemporaryDirectory(prefix="ship-geo-bench-", dir=folder) as held:
        place = Path(held)
        scene = write_scene(place, size, bands)
        rows = race(end_to_end(place, scene, size, model, how), repeat)
        if n_window:
            alone = windows_alone(scene, model, how, n_window)
            race(alone, 1)  # kernels are chosen
            rows += race(alone, repeat)
    show(rows, as_json=as_json, about=circumstances(size, bands, model, how, repeat))


if __name__ == "__main__":
    main()
