"""Peak memory and time of ``ship-geo quality`` on a synthetic scene of any size, measured from outside.

Usage: ``python pipelines/bench/assess_memory.py [--size 16384] [--ref] [--compare exp,gsa] [--limit 1500]``. The judged
image is PAN in other colours, written block by block beside the pair, so that making it is not measured; most of the
scene is plain, so that the files stay small, which makes reading cheaper than in practice and nothing else. With
``--limit`` the exit code is 1 if the peak is above so many MB.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import rasterio
from common import SENSOR, BenchScene, json_option, show
from memory import MEGABYTE, RUN, watch, write_sparse_scene

STRIPE = 1024

SILENT = f"import os; os.dup2(os.open(os.devnull, os.O_WRONLY), 1); {RUN}"
"""The command line without its table."""


def write_fused(scene: BenchScene, path: Path) -> None:
    """Write an image on the grid of PAN whose bands follow PAN."""
    gains = np.linspace(0.7, 1.2, len(scene.roles))[:, np.newaxis, np.newaxis]
    with rasterio.open(scene.pan) as pan:
        profile = pan.profile | {"count": len(scene.roles)}
        with rasterio.open(path, "w", **profile) as made:
            for row in range(0, pan.height, STRIPE):
                for col in range(0, pan.width, STRIPE):
                    size = min(STRIPE, pan.width - col), min(STRIPE, pan.height - row)
                    window = rasterio.windows.Window(col, row, *size)
                    made.write((pan.read(window=window) * gains).round().astype(np.uint16), window=window)
            made.descriptions = scene.roles


def measure(size: int, bands: int, compare: str | None, *, with_ref: bool, folder: Path | None) -> dict[str, Any]:
    """Make a scene, judge it, and say what that took."""
    with tempfile.TemporaryDirectory(prefix="ship-geo-bench-", dir=folder) as held:
        scene, fused = write_sparse_scene(Path(held), size, bands), Path(held) / "fused.tif"
        write_fused(scene, fused)
        words = ["--fused", fused, "--ms", scene.ms, "--pan", scene.pan, "--sensor", SENSOR, "--quiet"]
        words += ["--bands", ",".join(scene.roles)]
        words += (["--compare", compare] if compare else []) + (["--ref", fused] if with_ref else [])
        usage = watch([sys.executable, "-c", SILENT, "quality", *map(str, words)], 0.05)
    return {
        "size": size,
        "peak_mb": round(usage.peak / MEGABYTE, 1),
        "seconds": round(usage.seconds, 1),
        "megapixels_per_second": round(size * size / 1e6 / usage.seconds, 3),
        "processes": usage.n_process,
    }


@click.command()
@click.option("--size", "sizes", default=[16384], show_default=True, multiple=True, help="Rows and columns of PAN.")
@click.option("--bands", default=4, show_default=True, help="MS bands, 1 to 8.")
@click.option("--ref", "with_ref", is_flag=True, help="Against a reference, too.")
@click.option("--compare", metavar="A,B", help="Baselines to compare with.")
@click.option("--limit", type=float, help="Fail if a peak is above so many MB (10^6 bytes).")
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where scenes are put.")
@json_option
def main(sizes: tuple[int, ...], bands: int, with_ref: bool, compare: str | None, **options: Any) -> None:
    """Measure the peak memory of assessments."""
    rows = [measure(size, bands, compare, with_ref=with_ref, folder=options["folder"]) for size in sizes]
    show(rows, as_json=options["as_json"], about={"bands": bands, "reference": with_ref, "compare": compare})
    peak, limit = max(row["peak_mb"] for row in rows), options["limit"]
    if limit is not None and peak > limit:
        msg = f"the peak must be at most {limit:.0f} MB, got {peak:.0f} MB"
        raise click.ClickException(msg)


if __name__ == "__main__":
    main()
