"""Time that `ship_geo.find_scenes` takes for a folder of synthetic deliveries of all families.

Usage: ``python pipelines/bench/catalog.py [--scenes 500] [--repeat 1] [--limit 30] [--json]``. Folders, archives and
plain pairs are made in a temporary folder, each kind once, and copied until there are as many as asked for; the fastest
search counts, without the imports. With ``--limit`` the exit code is 1 if it takes longer. The images are small: with
large ones the time is that of the disk, since headers, metadata and one block of MS are read, whatever the size.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import click
from common import json_option, show, write_scene

from ship_geo.catalog import find_scenes

ROOT = Path(__file__).resolve().parents[2]


def write_kinds(folder: Path) -> list[Path]:
    """Write one scene of each kind into a folder of its own below `folder`."""
    sys.path.insert(0, str(ROOT / "tests"))  # the synthetic deliveries of the tests
    from deliveries import digitalglobe, dimap, gaofen, geoeye, landsat

    makers = {
        "worldview-2": digitalglobe.wv2_2a_til,
        "worldview-3": digitalglobe.wv3_1b,
        "quickbird": digitalglobe.qb2_2a,
        "geoeye": geoeye.ge1_old,
        "gaofen-2": gaofen.gf2_dir_old,
        "gaofen-6": gaofen.gf6_dir,
        "landsat-7": landsat.l7_c1,
        "landsat-8": landsat.l8_c2,
        "pleiades": dimap.phr_dimap,
        "pleiades-neo": dimap.pneo_dimap,
        **{kind: lambda place, kind=kind: gaofen.gf2_tar_new(place, kind=kind) for kind in ("tar", "tar.gz", "zip")},
        "pair": lambda place: write_scene(place, 256),
    }
    for name, make in makers.items():
        (folder / name).mkdir(parents=True)
        make(folder / name)
    return [folder / name for name in makers]


def measure(folder: Path, n_scene: int, repeat: int) -> dict[str, Any]:
    """Return the row of `n_scene` scenes."""
    kinds = write_kinds(folder / "kinds")
    for number, kind in enumerate(islice(cycle(kinds), n_scene)):
        shutil.copytree(kind, folder / "scenes" / f"{number:05d} {kind.name}")
    find_scenes(folder / "kinds")  # imports, caches
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        found = find_scenes(folder / "scenes")
        seconds.append(time.perf_counter() - start)
    return {
        "scenes": len(found),
        "problems": int((found.problem != "").sum()),
        "seconds": round(min(seconds), 3),
        "scenes_per_second": round(len(found) / min(seconds), 1),
    }


@click.command()
@click.option("--scenes", "n_scene", type=click.IntRange(1), default=500, show_default=True, help="How many.")
@click.option("--repeat", type=click.IntRange(1), default=1, show_default=True, help="Searches.")
@click.option("--limit", type=float, help="Fail if the search takes more seconds.")
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="For the scenes.")
@json_option
def main(n_scene: int, repeat: int, limit: float | None, folder: Path | None, as_json: bool) -> None:
    """Measure the search for scenes."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        row = measure(Path(made), n_scene, repeat)
    show([row], as_json=as_json, about={"python": sys.version.split()[0], "repeat": repeat, "limit_s": limit})
    if limit is not None and row["seconds"] > limit:
        msg = f"the search must take at most {limit} s, got {row['seconds']} s"
        raise click.ClickException(msg)


if __name__ == "__main__":
    main()
