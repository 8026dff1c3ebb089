"""Peak memory and time of ``ship-geo pansharpen`` on a synthetic scene of any size, measured from outside.

Usage: ``python pipelines/bench/memory.py [--size 16384] [--bands 4] [--model mtf-glp-fs] [--limit 1500] [--json]``.
The scene is made first, so that making it is not measured. The command runs in a process of its own; every few
milliseconds the resident memory of that process and all its children is summed up, so pages that they share count
more than once. Where the system keeps the peak of a process, a peak between two looks is not missed. Pages of files in
the system's cache do not count. With ``--limit`` the exit code is 1 if the peak is above it. A scene of 16384 x 16384
x 4 needs 4 GB of disk in ``--folder``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import psutil
from common import SENSOR, BenchScene, json_option, show, write_scene

MEGABYTE = 1e6
RUN = "import sys; from ship_geo.cli import main; sys.exit(main())"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Usage:
    """What a process tree took: bytes of its peak, seconds, and the largest number of processes."""

    peak: int
    seconds: float
    n_process: int


def command_of(scene: BenchScene, model: str, output: Path) -> list[str]:
    """Return the command that sharpens a scene."""
    pair = ["--pan", scene.pan, "--ms", scene.ms, "--sensor", SENSOR, "--bands", ",".join(scene.roles)]
    return [sys.executable, "-c", RUN, "pansharpen", *map(str, pair), "-o", str(output), "--model", model, "--quiet"]


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
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    start = time.perf_counter()
    peak = n_process = 0
    with subprocess.Popen(command, env=environment) as child:  # noqa: S603  our own command
        seen = psutil.Process(child.pid)
        while child.poll() is None:
            total, count = resident(seen)
            peak, n_process = max(peak, total), max(n_process, count)
            time.sleep(interval)
    if child.returncode:
        msg = f"the measured command must succeed, got exit code {child.returncode} of {' '.join(command)}"
        raise click.ClickException(msg)
    return Usage(max(peak, largest_child()), time.perf_counter() - start, n_process)


def largest_child() -> int:
    """Peak of the largest child so far as the system kept it, bytes; 0 where it keeps none."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit


@click.command()
@click.option("--size", default=16384, show_default=True, help="Rows and columns of PAN, a multiple of 4.")
@click.option("--bands", default=4, show_default=True, help="MS bands, 1 to 8.")
@click.option("--model", default="mtf-glp-fs", show_default=True)
@click.option("--interval", default=0.02, show_default=True, help="Seconds between two looks.")
@click.option("--limit", type=float, help="Fail if the peak is above so many MB (10^6 bytes).")
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where the scene is put.")
@json_option
def main(
    size: int, bands: int, model: str, interval: float, limit: float | None, folder: Path | None, as_json: bool
) -> None:
    """Measure the peak memory of one run."""
    with tempfile.TemporaryDirectory(prefix="ship-geo-bench-", dir=folder) as held:
        scene = write_scene(Path(held), size, bands)
        usage = watch(command_of(scene, model, Path(held) / "fused.tif"), interval)
    peak = usage.peak / MEGABYTE
    row = {
        "model": model,
        "peak_mb": round(peak, 1),
        "seconds": round(usage.seconds, 2),
        "megapixels_per_second": round(size * size / 1e6 / usage.seconds, 4),
        "processes": usage.n_process,
    }
    show([row], as_json=as_json, about={"size": size, "bands": bands, "limit_mb": limit})
    if limit is not None and peak > limit:
        msg = f"the peak must be at most {limit:.0f} MB, got {peak:.0f} MB"
        raise click.ClickException(msg)


if __name__ == "__main__":
    main()
