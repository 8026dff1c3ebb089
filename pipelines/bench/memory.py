"""Peak memory and time of ``ship-geo pansharpen`` on synthetic scenes of any size, measured from outside.

Usage: ``python pipelines/bench/memory.py [--size 16384] [--model mtf-glp-fs] [--max-memory 2GiB] [--limit 1500]``.
Several sizes show how the peak grows: ``--size 4096 --size 45056 --sparse --max-growth 1.2``. With ``--kill-after``
each run is first killed by SIGKILL after so many seconds, and the run that goes on is measured. ``--constants``
measures what `ship_geo.budget` reckons with instead, on a scene of 4096 x 4096.

A scene is made first, so that making it is not measured. The command runs in a process of its own; every few
milliseconds the resident memory of that process and all its children is summed up, so pages that they share count
more than once. Where the system keeps the peak of a process, a peak between two looks is not missed. Pages of files in
the system's cache do not count. The output is then compared with the lazy result at some places. With ``--limit`` or
``--max-growth`` the exit code is 1 if that is exceeded. A scene of 16384 x 16384 x 4 needs 4 GB of disk in
``--folder``, one of 45056 x 45056 x 4 with ``--sparse`` 20 GB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
import rasterio
from common import CRS, GSD_PAN, PATCH, RATIO, ROLES, SENSOR, TILE, BenchScene, json_option, show, write_scene
from rasterio.transform import from_origin
from rasterio.windows import Window

from ship_geo.api import pansharpen_scene

MEGABYTE = 1e6
RUN = "import sys; from ship_geo.cli import main; sys.exit(main())"
ROOT = Path(__file__).resolve().parents[2]
SPARSE_STEP = 3
"""Of a sparse scene every third patch along each axis has content; the rest is a plain 300 DN."""

LEVEL = 300

CHECKED = 512
"""Rows and columns of each place at which an output is compared with the lazy result."""

CONSTANTS = """
import gc, json, sys
from ship_geo.inference import forget_windows, measure_window
from ship_geo.jobs import Job, open_source, sharpen
from ship_geo.scene import open_scene
from ship_geo.stats import SceneStats

def status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))

pan, ms, sensor, bands, model, *sizes = sys.argv[1:]
job = Job.of(open_scene(pan=pan, ms=ms, sensor=sensor, bands=bands.split(",")), model, "cpu", "auto")
windows = job.sample_plan.windows()[:6]
parts = [measure_window(open_source(job), job.sample_plan, one, job.scene.sensor) for one in windows]
stats = SceneStats.merged(parts, job.scene.sensor.roles)
made = []
for size in map(int, sizes):
    forget_windows()
    gc.collect()
    before = status("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    block = sharpen(job, stats, (0, size, 0, size))
    added = status("VmHWM") - before
    made.append({"block": size, "before_mb": round(before / 1e6, 1), "added_mb": round(added / 1e6, 1)})
    del block
print(json.dumps(made))
"""
"""What a block adds to a process in which blocks were made before; Linux can forget a peak."""


@dataclass(frozen=True)
class Usage:
    """What a process tree took: bytes of its peak, seconds, and the largest number of processes."""

    peak: int
    seconds: float
    n_process: int


def command_of(scene: BenchScene, model: str, output: Path, max_memory: str | None = None) -> list[str]:
    """Return the command that sharpens a scene."""
    pair = ["--pan", scene.pan, "--ms", scene.ms, "--sensor", SENSOR, "--bands", ",".join(scene.roles)]
    budget = [] if max_memory is None else ["--max-memory", max_memory]
    options = ["-o", output, "--model", model, "--quiet", *budget]
    return [sys.executable, "-c", RUN, "pansharpen", *map(str, [*pair, *options])]


def resident(process: psutil.Process) -> tuple[int, int]:
    """Resident bytes of a process and its descendants, and how many they are."""
    total = count = 0
    try:
        members = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0, 0
    for member in members:
        try:
            total += member.memory_info().rss
            count += 1
        except psutil.Error:  # it ended in between
            continue
    return total, count


def watch(command: list[str], interval: float) -> Usage:
    """Run a command to its end and watch what it takes."""
    start = time.perf_counter()
    peak = n_process = 0
    with subprocess.Popen(command, env=_environment()) as child:  # noqa: S603  our own command
        seen = psutil.Process(child.pid)
        while (ended := os.wait4(child.pid, os.WNOHANG) if hasattr(os, "wait4") else _ended(child))[0] == 0:
            total, count = resident(seen)
            peak, n_process = max(peak, total), max(n_process, count)
            time.sleep(interval)
        child.returncode = os.waitstatus_to_exitcode(ended[1])
    if child.returncode:
        msg = f"the measured command must succeed, got exit code {child.returncode} of {' '.join(command)}"
        raise click.ClickException(msg)
    return Usage(max(peak, _own_peak(ended[2])), time.perf_counter() - start, n_process)


def _ended(child: subprocess.Popen[bytes]) -> tuple[int, int, Any]:
    code = child.poll()
    return (0, 0, None) if code is None else (child.pid, code << 8, None)


def _own_peak(usage: Any) -> int:
    """Peak of a process that has ended as the system kept it, bytes; 0 where it keeps none."""
    if usage is None:  # Windows
        return 0
    return int(usage.ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def kill_after(command: list[str], seconds: float) -> None:
    """Start a command and kill it in the middle, so that it cannot clean up."""
    with subprocess.Popen(command, env=_environment()) as child:  # noqa: S603  our own command
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            return
    msg = f"the command must last longer than it is left alone, got {seconds} s; pass a smaller --kill-after"
    raise click.ClickException(msg)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}


def write_sparse_scene(folder: Path, size: int, n_band: int) -> BenchScene:
    """Write a scene like that of `write_scene`, in which most is plain and takes next to no room once compressed."""
    scene = BenchScene(folder / "scene_PAN.tif", folder / "scene_MS.tif", ROLES[:n_band])
    rng = np.random.default_rng(0)
    low = rng.uniform(300, 1200, (n_band, PATCH // RATIO, PATCH // RATIO))
    pan = np.kron(low.mean(0), np.ones((RATIO, RATIO))) + rng.uniform(-50, 50, (PATCH, PATCH))
    for path, patch, factor in ((scene.pan, pan[np.newaxis], 1), (scene.ms, low, RATIO)):
        _write_sparse(path, patch.round().astype(np.uint16), size // factor, GSD_PAN * factor, scene.roles)
    return scene


def _write_sparse(path: Path, patch: np.ndarray, size: int, gsd: float, roles: Sequence[str]) -> None:
    step = patch.shape[1]
    plain = np.full_like(patch, LEVEL)
    options = {"tiled": True, "blockxsize": TILE, "blockysize": TILE, "compress": "deflate", "BIGTIFF": "IF_SAFER"}
    place = {"crs": CRS, "transform": from_origin(500000.0, 4650000.0, gsd, gsd)}
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=len(patch), height=size, width=size, **place, **options
    ) as made:
        for number_row, row in enumerate(range(0, size, step)):
            for number_col, col in enumerate(range(0, size, step)):
                n_row, n_col = min(step, size - row), min(step, size - col)
                chosen = plain if number_row % SPARSE_STEP or number_col % SPARSE_STEP else patch
                made.write(chosen[:, :n_row, :n_col], window=Window(col, row, n_col, n_row))
        if len(patch) > 1:
            made.descriptions = roles


def measure_constants(folder: Path, bands: int, model: str) -> list[dict[str, Any]]:
    """Measure what blocks of several sizes add to a process."""
    scene = write_scene(folder, 4096, bands)
    sizes = ["384", "384", "768"] if model not in ("exp", "brovey", "gsa") and "mtf" not in model else []
    sizes = sizes or ["512", "512", "1024", "2048", "4096"]
    facts = [str(scene.pan), str(scene.ms), SENSOR, ",".join(scene.roles), model, *sizes]
    command = [sys.executable, "-c", CONSTANTS, *facts]
    told = subprocess.run(command, env=_environment(), check=True, capture_output=True, text=True)  # noqa: S603
    rows: list[dict[str, Any]] = json.loads(told.stdout)
    for row in rows:
        row["bytes_per_pixel_and_band"] = round(row["added_mb"] * 1e6 / row["block"] ** 2 / bands, 2)
    return rows


def check_output(scene: BenchScene, model: str, output: Path) -> int:
    """Compare an output with the scene and with what the lazy result computes at some places; return how many."""
    with rasterio.open(scene.pan) as pan, rasterio.open(output) as made:
        placed = [(image.shape, image.transform, image.crs, image.dtypes[0]) for image in (pan, made)]
        has_overviews = bool(made.overviews(1)) or max(made.shape) <= CHECKED
        is_whole = placed[0] == placed[1] and made.count == len(scene.roles) and has_overviews
        if not is_whole or made.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") != "COG":
            msg = f"the output must be a COG of {len(scene.roles)} bands on the grid of PAN, got {made.profile}"
            raise click.ClickException(msg)
        lazy = pansharpen_scene(**scene.arguments, model=model)
        side = min(CHECKED, *made.shape)
        starts = sorted({int(share * (made.height - side)) for share in (0, 0.21, 0.5, 0.83, 1)})
        corners = list(zip(starts, [*starts[1:], starts[0]], strict=True))
        for row, col in corners:
            expected = lazy[:, row : row + side, col : col + side].compute()
            if not np.array_equal(made.read(window=Window(col, row, side, side)), expected):
                msg = f"the output must be what the lazy result computes, got other values at ({row}, {col})"
                raise click.ClickException(msg)
    return len(corners)


@dataclass(frozen=True)
class Settings:
    """How scenes are run."""

    bands: int
    model: str
    interval: float
    max_memory: str | None
    kill_seconds: float | None
    is_sparse: bool


def measure_size(size: int, settings: Settings, folder: Path | None) -> dict[str, Any]:
    """Make a scene, sharpen it, and say what that took."""
    with tempfile.TemporaryDirectory(prefix="ship-geo-bench-", dir=folder) as held:
        make = write_sparse_scene if settings.is_sparse else write_scene
        scene = make(Path(held), size, settings.bands)
        command = command_of(scene, settings.model, Path(held) / "fused.tif", settings.max_memory)
        if settings.kill_seconds is not None:
            kill_after(command, settings.kill_seconds)
        usage = watch(command, settings.interval)
        n_checked = check_output(scene, settings.model, Path(held) / "fused.tif")
    return {
        "size": size,
        "model": settings.model,
        "peak_mb": round(usage.peak / MEGABYTE, 1),
        "peak_mib": round(usage.peak / 2**20, 1),
        "seconds": round(usage.seconds, 2),
        "megapixels_per_second": round(size * size / 1e6 / usage.seconds, 4),
        "processes": usage.n_process,
        "checked": n_checked,
    }


@click.command()
@click.option("--size", "sizes", default=[16384], show_default=True, multiple=True, help="Rows and columns of PAN.")
@click.option("--bands", default=4, show_default=True, help="MS bands, 1 to 8.")
@click.option("--model", default="mtf-glp-fs", show_default=True)
@click.option("--max-memory", help="Budget that the command is given, such as 2GiB.")
@click.option(
    "--kill-after", "kill_seconds", type=float, help="Kill a first run after so many seconds, and measure the next."
)
@click.option("--sparse", is_flag=True, help="Most of the scene is plain, so that it needs less room.")
@click.option("--constants", is_flag=True, help="Measure what the memory model reckons with.")
@click.option("--interval", default=0.02, show_default=True, help="Seconds between two looks.")
@click.option("--limit", type=float, help="Fail if a peak is above so many MB (10^6 bytes).")
@click.option("--max-growth", type=float, help="Fail if the last peak is more than so many times the first.")
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where scenes are put.")
@json_option
def main(sizes: tuple[int, ...], **options: Any) -> None:
    """Measure the peak memory of runs."""
    folder, as_json = options["folder"], options["as_json"]
    bands, model, max_memory = options["bands"], options["model"], options["max_memory"]
    limit, max_growth = options["limit"], options["max_growth"]
    if options["constants"]:
        with tempfile.TemporaryDirectory(prefix="ship-geo-bench-", dir=folder) as held:
            rows = measure_constants(Path(held), bands, model)
        show(rows, as_json=as_json, about={"model": model, "bands": bands})
        return
    settings = Settings(bands, model, options["interval"], max_memory, options["kill_seconds"], options["sparse"])
    rows = [measure_size(size, settings, folder) for size in sizes]
    show(rows, as_json=as_json, about={"bands": bands, "limit_mb": limit, "max_memory": max_memory})
    peak = max(row["peak_mb"] for row in rows)
    if limit is not None and peak > limit:
        msg = f"the peak must be at most {limit:.0f} MB, got {peak:.0f} MB"
        raise click.ClickException(msg)
    growth = rows[-1]["peak_mb"] / rows[0]["peak_mb"]
    if max_growth is not None and growth > max_growth:
        msg = f"the last peak must be at most {max_growth} times the first, got {growth:.2f}"
        raise click.ClickException(msg)


if __name__ == "__main__":
    main()
