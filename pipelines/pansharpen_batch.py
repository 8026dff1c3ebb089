"""Sharpen many scenes: one output each, a table and a STAC Collection of them, and a job that can be stopped any time.

Usage: ``python pipelines/pansharpen_batch.py SCENES OUT [options]``. SCENES is a folder with deliveries, or a table of
scenes from ``ship-geo find`` (GeoParquet, GeoPackage, …), perhaps edited since. Into the folder OUT go ``NAME.tif``
(COG) and ``NAME.json`` (STAC Item) of each scene, ``records/NAME.json`` (what the run did, or why it failed),
``catalog.parquet``, ``collection.json`` and ``summary.json``.

A scene that fails is listed, and the others go on; the exit code is 1 then. The same command again does what is not
done: what is done and unchanged is skipped, a scene that was stopped goes on in its middle, one that failed is tried
again when its files or the options changed, or with ``--retry-failed``. Changed files, model or parameters make a scene
anew. Ctrl-C and SIGTERM stop the batch, and so does the loss of the cluster.

``--cluster`` lets the workers of a Dask cluster make the blocks: ``local`` (processes), ``cuda`` (a process per GPU),
``slurm`` and other batch systems with ``--cluster-config pipelines/configs/slurm.toml``, or the address of a scheduler.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from batch_progress import BatchProgress
from batch_records import DONE, FAILED, PENDING, STOPPED, SUMMARY, Row, now, owning, write_tables
from batch_scenes import drop_repeated, find_rows, select, stems
from batch_work import CURRENT, LEAVE, MAKE, Batch, Log, run_all

from ship_geo.cli.options import common_options, running_options
from ship_geo.cli.running import client_of
from ship_geo.cli.shell import Command, echo_json, run_command
from ship_geo.errors import ProductError, ShipGeoError
from ship_geo.raster import is_remote

REPEATED = "repetition"
"""Why entries of a scene that is listed already are left out."""

_SUMMED = ("seconds", "n_pixel", "n_byte", "n_clipped", "n_moved", "n_invalid", "n_retry")


def filter_of(options: Mapping[str, Any]) -> Any:
    """Return the filter that options ask for."""
    from ship_geo.catalog import SceneFilter, parse_moment, read_area

    return SceneFilter(
        aoi=None if options["aoi"] is None else read_area(options["aoi"]),
        sensors=options["sensor"],
        start=None if options["start"] is None else parse_moment(options["start"]),
        end=None if options["end"] is None else parse_moment(options["end"], is_end=True),
        max_cloud=None if options["max_cloud"] is None else options["max_cloud"] / 100,
        keep_unknown=options["keep_unknown"],
    )


def tell_of(record: Row) -> str:
    """Return a clause on how a scene ended."""
    if record["status"] == FAILED:
        return f"{record.get('why', 'FAILED')}: {record['error']['message']}"
    if "why" in record:
        return f"left out by {record['why']}" if record["status"] == LEAVE else str(record["why"])
    resumed = f", {record['n_resumed']} of {record['n_block']} blocks from before" if record["n_resumed"] else ""
    return f"{record['seconds']:.1f} s, {record['megapixels_per_second']:.2f} megapixels/s{resumed}"


def summarise(rows: Sequence[Row], ended: Mapping[str, Row], left_out: Mapping[str, int], started: str) -> Row:
    """Return what a batch did, for programs."""
    made = [one for one in ended.values() if one["status"] == DONE and "why" not in one]
    failed = {stem: one for stem, one in ended.items() if one["status"] == FAILED}
    late = Counter(one["why"] for one in ended.values() if one["status"] == LEAVE)
    return {
        "started": started,
        "ended": now(),
        "n_found": len(rows),
        "left_out": dict(Counter(left_out) + late),
        "n_done": len(made),
        "n_skipped": sum(one["status"] == DONE for one in ended.values()) - len(made),
        "n_failed": len(failed),
        **{name: sum(one.get(name) or 0 for one in made) for name in _SUMMED},
        "failed": [
            {
                **{name: one[name] for name in ("name", "source", "why") if name in one},
                "record": f"records/{stem}.json",
                **one["error"],
            }
            for stem, one in failed.items()
        ],
    }


@click.command(cls=Command)
@click.argument("scenes")
@click.argument("out")
@click.option("--aoi", metavar="FILE", help="Only scenes that touch this area; anything that GeoPandas reads.")
@click.option("--sensor", metavar="NAME", multiple=True, help="Only scenes of this sensor; may be repeated.")
@click.option("--from", "start", metavar="DATE", help="Only scenes from this day, or moment, on (UTC).")
@click.option("--to", "end", metavar="DATE", help="Only scenes up to this day, or moment (UTC).")
@click.option("--max-cloud", type=float, metavar="PERCENT", help="Only scenes with at most so much cloud.")
@click.option("--keep-unknown", is_flag=True, help="Take scenes that do not tell what a filter asks for, too.")
@click.option("--unpack", is_flag=True, help="Look into compressed archives of more than 32 MiB, too.")
@click.option("--model", default="auto", show_default=True, help="See `ship-geo models`; or the path of a checkpoint.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1.")
@click.option("--precision", default="auto", show_default=True, help="auto, float32 or bfloat16.")
@click.option("--register", type=click.Choice(["auto", "report", "off"]), default="report", show_default=True)
@click.option("--radiometry", type=click.Choice(["dn", "radiance", "toa"]), default="dn", show_default=True)
@click.option("--pair-sensor", metavar="NAME", help="Sensor of plain pairs; deliveries tell theirs.")
@click.option("--geometry", type=click.Choice(["auto", "sensor", "ortho"]), help="As in `ship-geo pansharpen`.")
@click.option("--dem", metavar="FILE|M", help="Heights for --geometry: a raster, or metres.")
@click.option("--geoid", type=float, metavar="M", help="Metres added to the heights of the DEM.")
@click.option("--crs", metavar="CRS", help="CRS for --geometry ortho; UTM by default.")
@click.option("--resolution", type=float, metavar="SIZE", help="PAN pixel size for --geometry ortho.")
@click.option("--missing", type=click.Choice(["raise", "mask"]), help="Missing tiles: refuse, or mask.")
@click.option("--scratch", metavar="DIR", help="Where a .tar.gz is unpacked; workers must see it.")
@click.option("--max-memory", metavar="SIZE", help="Most that a process may take, e.g. 2GiB.")
@click.option("--max-gpu-memory", metavar="SIZE", help="The same for the memory of the GPU.")
@click.option("--block", "chunks", type=click.IntRange(1), metavar="PIXELS", help="Rows and columns of a block.")
@click.option("--jobs", type=click.IntRange(1), help="Scenes at a time; 1 here, 3 on a cluster.")
@click.option("--retry-failed", is_flag=True, help="Try again what failed before.")
@click.option("--restart", is_flag=True, help="Make everything anew.")
@click.option("--overwrite", is_flag=True, help="Replace files in OUT that no batch made.")
@click.option("--dry-run", is_flag=True, help="Show what would be done.")
@click.option("-q", "--quiet", is_flag=True, help="Show neither progress nor a summary.")
@running_options
@common_options
def main(scenes: str, out: str, **options: Any) -> int:
    """Sharpen SCENES (a folder, or a table of scenes) into the folder OUT."""
    folder = Path(out)
    _check(scenes, folder, options)
    _check_run(options)
    batch = Batch(folder, options, filter_of(options))
    rows = find_rows(scenes, folder, unpack=options["unpack"])
    if not rows:
        msg = f"scenes must be found to be sharpened, got none in {scenes}; see what `ship-geo find` lists there"
        raise ProductError(msg)
    once, n_repeated = drop_repeated(rows)
    tasks, left_out = select(once, stems(once, batch.records), batch.wanted)
    left_out += Counter({REPEATED: n_repeated})
    if options["dry_run"]:
        return show_plan(batch, tasks, left_out, as_json=options["as_json"])
    summary = run_batch(batch, rows, tasks, left_out)
    if options["as_json"]:
        echo_json(summary)
    elif not options["quiet"]:
        click.echo(sentence(summary, folder))
    return 1 if summary["n_failed"] else 0


def _check(scenes: str, folder: Path, options: dict[str, Any]) -> None:
    from importlib.util import find_spec

    _check_there("SCENES", scenes, "a folder of deliveries or a table of scenes")
    _check_there("--aoi", options["aoi"], "a file that GeoPandas reads")
    source, target = Path(scenes).resolve(), folder.resolve()
    if Path(scenes).is_dir() and target in (source, *source.parents):
        msg = f"the outputs need a folder of their own, got {folder} that holds the scenes of {scenes}; choose another"
        raise click.UsageError(msg)
    if options["max_cloud"] is not None and not 0 <= options["max_cloud"] <= 100:  # noqa: PLR2004  percent
        msg = f"--max-cloud must be a percentage from 0 to 100, got {options['max_cloud']:g}; 20 are 20 percent"
        raise click.UsageError(msg)
    if options["dem"] is not None:
        try:
            options["dem"] = float(options["dem"])
        except ValueError:
            _check_there("--dem", options["dem"], "a raster of heights, or a number of metres")
            options["dem"] = str(Path(options["dem"]).absolute())
    if options["jobs"] not in (None, 1) and options["cluster"] is None:
        msg = "several scenes at a time need workers: pass --cluster local, or leave --jobs out"
        raise click.UsageError(msg)
    if find_spec("pyarrow") is None:
        msg = "catalog.parquet needs pyarrow, which is not installed; pip install 'ship-geo[catalog]'"
        raise ShipGeoError(msg)
    if folder.exists() and not folder.is_dir():
        msg = f"the outputs go to a folder, got the file {folder}; choose another name"
        raise click.UsageError(msg)


def _check_there(name: str, path: str | None, what: str) -> None:
    if path is not None and not is_remote(path) and not Path(path).exists():
        msg = f"{name} must exist, got {path} that does not; pass {what}"
        raise click.UsageError(msg)


def _check_run(options: Mapping[str, Any]) -> None:
    """Refuse at once what no scene can be made with."""
    from ship_geo.budget import parse_size
    from ship_geo.fusers import pick_device, pick_precision

    for name in ("max_memory", "max_gpu_memory"):
        parse_size(options[name], name)
    pick_precision(options["precision"], pick_device(options["device"]))


def run_batch(batch: Batch, rows: Sequence[Row], tasks: Sequence[tuple[Row, str]], left_out: Mapping[str, int]) -> Row:
    """Run a batch, and leave tables of what is done however it ends."""
    from ship_geo.events import json_log
    from ship_geo.writer import write_json

    options, ended, started = batch.options, dict[str, Row](), now()
    is_shown = not options["quiet"] and options["log_json"] != "-"
    with ExitStack() as stack:
        stack.enter_context(owning(batch.folder))
        log = stack.enter_context(json_log(options["log_json"]))
        progress = stack.enter_context(BatchProgress(len(tasks), enabled=is_shown))
        _tell_warnings(log, progress, is_shown=is_shown)
        client = stack.enter_context(client_of(options, log))
        log("batch", found=len(rows), selected=len(tasks), left_out=dict(left_out))
        try:
            for stem, record in run_all(batch, tasks, client, log, progress):
                ended[stem] = record
                progress.end(stem, tell_of(record))
        finally:
            known = batch.records.all({stem: row for row, stem in tasks if ended.get(stem, {}).get("status") != LEAVE})
            write_tables(batch.folder, known)
            summary = summarise(rows, ended, left_out, started)
            summary["n_pending"] = sum(
                known[stem]["status"] in (PENDING, STOPPED) for _, stem in tasks if stem in known
            )
            write_json(summary, batch.folder / SUMMARY, overwrite=True)
            log("summary", **{name: value for name, value in summary.items() if name != "failed"})
    return summary


def _tell_warnings(log: Log, progress: BatchProgress, *, is_shown: bool) -> None:
    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        scene = CURRENT.get()
        log("warning", message=str(message), **({"scene": scene} if scene else {}))
        if is_shown:
            progress.say(f"Warning: {f'{scene}: ' if scene else ''}{message}")

    warnings.simplefilter("always", UserWarning)  # or the second scene would be told of nothing
    warnings.showwarning = show


def sentence(summary: Mapping[str, Any], folder: Path) -> str:
    """Return a summary for people."""
    parts = [f"{summary['n_done']} scenes done", f"{summary['n_skipped']} skipped", f"{summary['n_failed']} failed"]
    parts += _left_out(summary["left_out"])
    lines = [f"{', '.join(parts)}; {summary['n_pixel'] / 1e6:.2f} megapixels, see {folder / SUMMARY}"]
    for one in summary["failed"]:
        why = f"{one['why']}: " if "why" in one else ""
        lines.append(f"  {one['name']} ({one['source']}): {why}{one['message']}")
    return "\n".join(lines)


def _left_out(reasons: Mapping[str, int]) -> list[str]:
    return [f"{number} left out by {reason}" for reason, number in reasons.items()]


def show_plan(batch: Batch, tasks: Sequence[tuple[Row, str]], left_out: Mapping[str, int], *, as_json: bool) -> int:
    """Show what would be done, and do nothing."""
    from ship_geo.api import plan_scene

    shown: list[Row] = []
    for row, stem in tasks:
        line: Row = {"name": row["name"], "source": row["source"], "output": f"{stem}.tif"}
        shown.append(line)
        try:
            step = batch.decide(row, stem)
            line |= {"action": step.action, "why": step.why}
            if step.action == MAKE:
                plan = plan_scene(step.scene, **batch.how)
                names = ("output_shape", "dtype", "windows", "output_bytes")
                line |= {name: plan[name] for name in names}
        except Exception as error:  # noqa: BLE001  one bad scene must not hide the others
            line |= {"action": "fail", "why": str(error)}
    n_byte = sum(line.get("output_bytes", 0) for line in shown)
    if as_json:
        echo_json({"scenes": shown, "left_out": dict(left_out), "output_bytes": n_byte})
    else:
        for line in shown:
            click.echo(f"{line['action']:<9}  {line['output']}  {line['why']}  ({line['source']})")
        n_make = sum(line["action"] == MAKE for line in shown)
        parts = [f"{n_make} of {len(shown)} scenes to be made", f"{n_byte / 1e9:.3f} GB before compression"]
        click.echo(", ".join([*parts, *_left_out(left_out)]))
    return 1 if any(line["action"] == "fail" for line in shown) else 0


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:], "pansharpen_batch.py"))
