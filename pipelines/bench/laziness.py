"""What a lazy scene costs: seconds and computations until its graph stands, and bytes that one window of it reads.

Usage: ``python pipelines/bench/laziness.py [--size 16384] [--graph-size 45056] [--model mtf-glp-fs] [--window 512]``.
A synthetic scene is made; a fresh process with all libraries loaded opens it, builds the lazy result and computes one
window in its middle, the statistics of the scene included. Two figures are given: the pixels of PAN and MS that are
asked for, and what the system was asked to read (``rchar`` of ``/proc/self/io``), which is more, since whole tiles of
the files are read. Both as a share of all bytes of the scene. The graph of ``--graph-size`` is of a scene that does
not exist, so that nothing can be read for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from common import SENSOR, json_option, show, write_scene

ROOT = Path(__file__).resolve().parents[2]


def n_read() -> int:
    """Bytes that this process has asked the system to read."""
    with Path("/proc/self/io").open() as file:
        return int(file.readline().split()[1])


def one_window() -> None:
    """Compute the window that is described on the command line, and print what it cost."""
    import ship_geo.data.dataset  # noqa: F401  loads torchgeo
    from ship_geo.api import open_scene, pansharpen_scene
    from ship_geo.raster import RasterReader

    facts = json.loads(sys.argv[1])
    asked = [0]
    read = RasterReader.read

    def counted(self: Any, row0: int, row1: int, col0: int, col1: int) -> Any:
        values, valid = read(self, row0, row1, col0, col1)
        asked[0] += values.nbytes
        return values, valid

    RasterReader.read = counted  # type: ignore[method-assign]
    scene = open_scene(pan=facts["pan"], ms=facts["ms"], sensor=SENSOR, bands=facts["roles"])
    before, asked[0], start = n_read(), 0, time.perf_counter()
    fused = pansharpen_scene(scene, model=facts["model"])
    built, n_built = time.perf_counter() - start, n_read() - before
    n_graph = asked[0]
    middle, size = facts["size"] // 2, facts["window"]
    part = fused[:, middle : middle + size, middle : middle + size].compute(scheduler="synchronous")
    known = {"seconds_graph": built, "bytes_graph": n_built, "asked_graph": n_graph, "shape": list(part.shape)}
    print(json.dumps({**known, "asked": asked[0], "read": n_read() - before}))


def graph_alone() -> None:
    """Build the graph of a scene of empty sparse files, computing forbidden, and print its seconds."""
    import dask

    import ship_geo.data.dataset  # noqa: F401  loads torchgeo
    from ship_geo.api import open_scene, pansharpen_scene

    def refuse(*_: Any, **__: Any) -> None:
        msg = "something was computed"
        raise AssertionError(msg)

    facts = json.loads(sys.argv[1])
    scene = open_scene(pan=facts["pan"], ms=facts["ms"], sensor=SENSOR, bands=facts["roles"])
    with dask.config.set(scheduler=refuse):
        start = time.perf_counter()
        fused = pansharpen_scene(scene, model=facts["model"])
        seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "chunks": fused.data.npartitions, "shape": list(fused.shape)}))


def told(function: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Run a function of this file in a fresh process and return what it printed."""
    paths = [str(Path(__file__).parent), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-c", f"import laziness; laziness.{function}()", json.dumps(facts)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def sparse_scene(folder: Path, size: int, n_band: int) -> dict[str, Any]:
    """Make files of which no block was ever written."""
    from common import CRS, GSD_PAN, RATIO, ROLES, TILE
    from rasterio import open as create
    from rasterio.transform import from_origin

    paths = {}
    for name, count, factor in (("pan", 1, 1), ("ms", n_band, RATIO)):
        paths[name] = str(folder / f"empty_{name.upper()}.tif")
        place = {"crs": CRS, "transform": from_origin(500000.0, 4650000.0, GSD_PAN * factor, GSD_PAN * factor)}
        side = {"height": size // factor, "width": size // factor, "blockxsize": TILE, "blockysize": TILE}
        options = {"tiled": True, "SPARSE_OK": True, "BIGTIFF": "YES", "nodata": 65535}
        with create(paths[name], "w", driver="GTiff", dtype="uint16", count=count, **place, **side, **options) as made:
            if count > 1:
                made.descriptions = ROLES[:n_band]
    return {**paths, "roles": ROLES[:n_band]}


@click.command()
@click.option("--size", default=16384, show_default=True, help="Rows and columns of PAN of the scene that is read.")
@click.option("--graph-size", default=45056, show_default=True, help="The same of the scene of which a graph is built.")
@click.option("--bands", default=4, show_default=True, help="MS bands, 1 to 8.")
@click.option("--model", default="mtf-glp-fs", show_default=True)
@click.option("--window", default=512, show_default=True, help="Rows and columns that are asked for.")
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where files are put.")
@json_option
def main(size: int, graph_size: int, bands: int, model: str, window: int, folder: Path | None, as_json: bool) -> None:
    """Measure what a lazy scene costs."""
    with tempfile.TemporaryDirectory(prefix="ship-geo-bench-", dir=folder) as held:
        graph = told("graph_alone", {**sparse_scene(Path(held), graph_size, bands), "model": model})
        scene = write_scene(Path(held), size, bands)
        n_byte = scene.pan.stat().st_size + scene.ms.stat().st_size
        facts = {"pan": str(scene.pan), "ms": str(scene.ms), "roles": scene.roles}
        cost = told("one_window", {**facts, "model": model, "size": size, "window": window})
    row = {
        "graph_s": round(graph["seconds"], 3),
        "graph_chunks": graph["chunks"],
        "scene_bytes": n_byte,
        "asked_bytes": cost["asked"],
        "asked_percent": round(100 * cost["asked"] / n_byte, 3),
        "read_bytes": cost["read"],
        "read_percent": round(100 * cost["read"] / n_byte, 3),
        "asked_while_building": cost["asked_graph"],
    }
    show([row], as_json=as_json, about={"size": size, "graph_size": graph_size, "model": model, "window": window})


if __name__ == "__main__":
    main()
