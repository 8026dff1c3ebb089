"""Sharpen many scenes: ``python pipelines/pansharpen_batch.py IN OUT``, on this machine or on a Dask cluster.

IN is a folder, or a table that ``ship-geo find IN -o scenes.parquet`` made. Every scene gives one GeoTIFF in OUT; one
that fails is noted with the reason, and the others go on. The same command continues where a batch was stopped, by
Ctrl-C, SIGTERM or a crash, and leaves alone what is finished as long as files, model and parameters are the same.
``OUT/batch.jsonl`` is the account of it, ``OUT/catalog.parquet`` the table of all scenes, and with ``--stac``
``OUT/collection.json`` a STAC collection of the outputs.

Exit codes: 0 all is well, 1 a scene failed, 2 wrong usage, 130 or 143 interrupted. Two conventions could surprise. A
scene that failed is tried again only when its files or the parameters change, or with ``--retry-failed``. And the
filters look at the table of scenes: a scene that does not tell what is asked for is left out, and counted.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from clusters import Recipe, open_cluster, size_recipe

from ship_geo.cli.shell import INTERRUPTED, TERMINATED, Command, Terminated, echo_json, show_warning, terminating
from ship_geo.errors import ArgumentError, CheckpointError

_FAILED = 1


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="IN", type=click.Path(exists=True, path_type=Path))
@click.argument("folder", metavar="OUT", type=click.Path(file_okay=False, path_type=Path))
@click.option("--aoi", type=click.Path(exists=True, path_type=Path), help="Area that footprints touch.")
@click.option("--sensor", "sensors", multiple=True, metavar="NAME", help="Part of sensor or platform; may be repeated.")
@click.option("--from", "first", metavar="DATE", help="Taken at or after it, ISO 8601, UTC.")
@click.option("--to", "last", metavar="DATE", help="Taken at or before it; a date alone includes the day.")
@click.option("--max-cloud", type=click.FloatRange(0, 1), help="Largest share of the scene under cloud, 0 to 1.")
@click.option("--unpack", is_flag=True, help="Look into compressed archives, too.")
@click.option("--model", default="auto", show_default=True, help="See `ship-geo models`; or the path of a checkpoint.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1.")
@click.option("--precision", default="auto", show_default=True, help="auto, float32 or bfloat16.")
@click.option("--radiometry", type=click.Choice(["dn", "radiance", "toa"]), default="dn", show_default=True)
@click.option("--register", type=click.Choice(["auto", "report", "off"]), default="report", show_default=True)
@click.option("--cluster", default="none", show_default=True, help="none, local, cuda, slurm, ADDRESS or RECIPE.toml.")
@click.option("--workers", type=click.IntRange(1), help="Worker processes, or Slurm jobs.")
@click.option("--max-memory", metavar="SIZE", help="Memory of the workers of this machine together, e.g. 8GiB.")
@click.option("--scenes-at-once", type=click.IntRange(1), default=1, show_default=True, help="On a cluster.")
@click.option("--retry-failed", is_flag=True, help="Only those that failed before.")
@click.option("--stac", is_flag=True, help="Write a STAC Item beside each output, and a collection of them.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the summary as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, /, source: Path, folder: Path, **options: Any) -> None:
    """Sharpen every scene of IN, a folder or a table of scenes, into OUT."""
    from batch.run import Batch
    from batch.selection import read_scenes, select_scenes
    from batch.state import State, make_entries

    start = time.perf_counter()
    recipe = _check(source, folder, options)
    identity, filters = _identity(options), _filters(options)
    table = read_scenes(source, unpack=options["unpack"])
    chosen, left_out = select_scenes(table, filters)
    with State(folder) as state:
        every = make_entries(table, source, state)
        entries = [every[place] for place in chosen.index]
        is_shown = not options["quiet"] and options["scenes_at_once"] == 1
        how = {name: options[name] for name in ("model", "device", "precision", "radiometry", "register")}
        job = Batch(folder, state, how, identity, options["stac"], is_shown, options["quiet"])
        todo = job.choose(entries, retry_failed=options["retry_failed"])
        told = {"output": str(folder), "scenes": len(entries), "left_out": left_out, "run": len(todo)}
        try:
            if todo:
                with open_cluster(recipe) as job.client:
                    job.run(todo, options["scenes_at_once"])
        except BaseException as error:
            made = _finish(job, entries, start, is_whole=False)
            if not isinstance(error, Exception):  # an error says itself what happened
                _report({**told, **made}, options)
            raise
        summary = {**told, **_finish(job, entries, start, is_whole=True)}
    _report(summary, options)
    if summary["failed"]:
        ctx.exit(_FAILED)


def _check(source: Path, folder: Path, options: Mapping[str, Any]) -> Recipe:
    """Refuse what cannot work before anything is read; return how the cluster is put up."""
    if source.is_dir() and folder.resolve().is_relative_to(source.resolve()):
        msg = f"outputs must not lie among the scenes, got {folder} in {source}; choose another OUT"
        raise ArgumentError(msg)
    if importlib.util.find_spec("pyarrow") is None:
        msg = "the table of a batch is GeoParquet, got no pyarrow; install it: pip install pyarrow"
        raise ArgumentError(msg)
    recipe = Recipe.of(options["cluster"])
    if options["scenes_at_once"] > 1 and recipe.kind == "none":
        msg = f"several scenes at once need a cluster, got {options['scenes_at_once']} and none; pass `cluster='local'`"
        raise ArgumentError(msg)
    return size_recipe(recipe, options["workers"], _size(options["max_memory"]))


def _identity(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes two outputs of one scene the same."""
    from ship_geo.fusers import ModelSpec

    try:
        spec = ModelSpec.resolve(options["model"])
    except CheckpointError as error:
        raise ArgumentError(str(error)) from error
    shared = {name: options[name] for name in ("precision", "radiometry", "register")}
    return {"model": spec.name, "model_digest": spec.digest, **shared}


def _filters(options: Mapping[str, Any]) -> Any:
    from batch.selection import Filters, parse_moment, read_aoi

    return Filters(
        aoi=None if options["aoi"] is None else read_aoi(options["aoi"]),
        sensors=options["sensors"],
        first=None if options["first"] is None else parse_moment(options["first"]),
        last=None if options["last"] is None else parse_moment(options["last"], is_end=True),
        max_cloud=options["max_cloud"],
    )


def _size(text: str | None) -> int | None:
    from dask.utils import parse_bytes

    if text is None:
        return None
    try:
        return int(parse_bytes(text))
    except ValueError as error:
        msg = f"a size must be a number with a unit, got {text!r}; write it like 8GiB"
        raise ArgumentError(msg) from error


def _finish(job: Any, entries: Sequence[Any], start: float, *, is_whole: bool) -> dict[str, Any]:
    """Write the table, and the collection of a batch that came to its end; return what became of the scenes."""
    from batch.results import catalog_rows, write_catalog, write_collection

    job.state.read()
    latest = job.state.latest
    waiting = {"status": "waiting", "output": ""}
    others = [{**waiting, "facts": one.facts, "source": one.source} for one in entries if one.key not in latest]
    made = {"catalog": str(write_catalog(job.folder, catalog_rows([*latest.values(), *others])))}
    if job.with_stac and is_whole:
        made["collection"] = str(write_collection(job.folder, job.items()))
    known = [latest.get(one.key, waiting) for one in entries]
    failed = [record for record in known if record["status"] == "failed"]
    return {
        "done": sum(record["status"] == "done" for record in known),
        "failed": [{"name": one["facts"]["name"], "source": one["source"], "reason": one["reason"]} for one in failed],
        "unfinished": sum(record["status"] not in ("done", "failed") for record in known),
        "without_time": sum(one.facts["time"] is None and not one.problem for one in entries),
        "megapixels": round(sum(job.made), 6),
        "seconds": round(time.perf_counter() - start, 3),
        **made,
    }


def _report(summary: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    from batch.results import replacing

    if options["report"] is not None:
        with replacing(options["report"]) as made:
            made.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if options["as_json"]:
        echo_json(summary)
    elif not options["quiet"]:
        failed = summary["failed"]
        for one in failed:
            click.echo(f"failed: {one['name']} ({one['source']}): {one['reason']}")
        counts = f"{summary['done']} done, {len(failed)} failed, {summary['unfinished']} unfinished"
        if options["stac"] and summary["without_time"]:
            show_warning(f"{summary['without_time']} outputs have no STAC Item: nobody knows when they were taken")
        click.echo(f"{summary['scenes']} scenes, {summary['run']} of them run now: {counts}; {summary['catalog']}")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = sys.argv[1:] if args is None else list(args)
    with warnings.catch_warnings(), terminating():
        warnings.showwarning = show_warning
        try:
            return int(cli.main(words, prog_name="pansharpen_batch.py", standalone_mode=False) or 0)
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except click.Abort:
            click.echo("interrupted; the same command continues", err=True)
            return INTERRUPTED
        except Terminated:
            click.echo("terminated; the same command continues", err=True)
            return TERMINATED


if __name__ == "__main__":
    sys.exit(main())
