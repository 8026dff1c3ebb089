"""Time that ``import ship_geo`` takes in a fresh interpreter, and which heavy packages come with it.

Usage: ``python pipelines/bench/import_time.py [--module ship_geo.cli] [--repeat 9] [--limit 0.3] [--json]``. Timed is
the import statement, without the start of Python; the median of several interpreters counts, after one that fills
the caches. With ``--limit`` the exit code is 1 if ``ship_geo`` takes longer.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
from common import json_option, show

PACKAGE = "ship_geo"
HEAVY = (
    "torch", "torchgeo", "torchvision", "lightning", "matplotlib", "rasterio", "rioxarray", "xarray", "dask",
    "distributed", "geopandas", "pandas", "shapely", "pyproj", "numpy", "rich",
)  # fmt: skip
CODE = """
import importlib, json, sys, time
start = time.perf_counter()
importlib.import_module({module!r})
seconds = time.perf_counter() - start
print(json.dumps([seconds, len(sys.modules), [name for name in {heavy!r} if name in sys.modules]]))
"""
ROOT = Path(__file__).resolve().parents[2]


def import_once(module: str) -> tuple[float, int, list[str]]:
    """Return seconds, number of loaded modules and heavy ones among them, of a fresh interpreter."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-c", CODE.format(module=module, heavy=HEAVY)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        msg = f"the module must be importable, got {done.stderr.strip().splitlines()[-1]}; check its name"
        raise click.ClickException(msg)
    seconds, n_module, heavy = json.loads(done.stdout)
    return seconds, n_module, heavy


def measure(module: str, repeat: int) -> dict[str, Any]:
    """Return the row of one module."""
    import_once(module)
    runs = [import_once(module) for _ in range(repeat)]
    seconds = [run[0] for run in runs]
    return {
        "module": module,
        "median_s": round(statistics.median(seconds), 4),
        "fastest_s": round(min(seconds), 4),
        "modules": runs[0][1],
        "heavy": runs[0][2],
    }


@click.command()
@click.option("--module", "more", multiple=True, help="Another module to measure; may be repeated.")
@click.option("--repeat", default=9, show_default=True, help="Interpreters per module.")
@click.option("--limit", type=float, help="Fail if the median of ship_geo is above so many seconds.")
@json_option
def main(more: tuple[str, ...], repeat: int, limit: float | None, as_json: bool) -> None:
    """Measure imports."""
    rows = [measure(module, repeat) for module in (PACKAGE, *more)]
    show(rows, as_json=as_json, about={"python": sys.version.split()[0], "repeat": repeat, "limit_s": limit})
    if limit is not None and rows[0]["median_s"] > limit:
        msg = f"the import must take at most {limit} s, got {rows[0]['median_s']} s"
        raise click.ClickException(msg)


if __name__ == "__main__":
    main()
