"""The command line ``ship-geo``: parses, calls the public verbs, prints, and sets the exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. Results go to the standard output, progress and errors to
the standard error. The convention that could surprise: with ``--json`` an error is JSON on the standard output, too, as
``{"error": {"type", "message", "exit_code"}}``, so that a script reads one stream. Libraries load with the command that
needs them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ship_geo.cli.options import common_options, compare_option, pair_options, running_options, selection
from ship_geo.cli.quality import quality
from ship_geo.cli.running import check_written, running
from ship_geo.cli.shell import Command, echo_json, echo_pairs, run_command, show_warning

__all__ = ["cli", "main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    args
        Words after the name of the program; those of the process by default.

    Returns
    -------
    int
        Exit code.
    """
    return run_command(cli, sys.argv[1:] if args is None else args, "ship-geo")


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import ship_geo

        click.echo(f"ship-geo {ship_geo.__version__}")
        ctx.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show it.")
def cli() -> None:
    """Pan-sharpen satellite scenes with SHIP++: PAN and MS go in, a GeoTIFF on the PAN grid comes out."""


@cli.command(cls=Command)
@pair_options
@click.option("-o", "--output", metavar="OUT", help="GeoTIFF or Zarr store to write.")
@click.option(
    "--to",
    type=click.Choice(["auto", "cog", "zarr"]),
    default="auto",
    show_default=True,
    help="What OUT is; auto: a Zarr store if it ends in .zarr.",
)
@click.option("--model", default="auto", show_default=True, help="See `ship-geo models`; or the path of a checkpoint.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1.")
@click.option("--precision", default="auto", show_default=True, help="auto, float32 or bfloat16.")
@click.option(
    "--register",
    type=click.Choice(["auto", "report", "off"]),
    default="report",
    show_default=True,
    help="The shift between PAN and MS: correct it, report it, or do not look.",
)
@click.option(
    "--radiometry",
    type=click.Choice(["dn", "radiance", "toa"]),
    default="dn",
    show_default=True,
    help="Values of the result: DN, W m-2 sr-1 um-1, or reflectance.",
)
@click.option("--stac", is_flag=True, help="Write a STAC Item beside OUT.")
@click.option("--report", metavar="PAGE.html", help="Write a page with pictures and indices of the result, too.")
@compare_option
@click.option("--max-memory", metavar="SIZE", help="Most that a process may take, e.g. 2GiB.")
@click.option("--max-gpu-memory", metavar="SIZE", help="The same for the memory of the GPU.")
@click.option("--adapt", default="off", show_default=True, help="Fit the network to the scene: off, auto, or steps.")
@click.option("--adapt-time", type=float, metavar="S", help="Seconds after which fitting stops; 200.")
@click.option("--save-weights", metavar="FILE", help="Keep the fitted weights, to use them as --model.")
@click.option("--restart", is_flag=True, help="Start anew where an interrupted run to OUT could go on.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
@click.option("--dry-run", is_flag=True, help="Show what would be done.")
@click.option("--record", metavar="FILE", help="Write what the run did, or why it failed, as JSON, too.")
@click.option("-q", "--quiet", is_flag=True, help="Show neither progress nor a summary.")
@running_options
@common_options
def pansharpen(**options: Any) -> None:
    """Sharpen SOURCE: a delivery (folder, archive or any file of it), either file of a pair, or a stack."""
    chosen = selection(options)
    names = ("model", "device", "precision", "radiometry", "register", "max_memory", "max_gpu_memory")
    how = {name: options[name] for name in names}
    check_written(options, chosen)
    if options["compare"] is not None:
        if options["report"] is None:
            msg = "--compare is for the page of --report; leave it out, or name the page, too"
            raise click.UsageError(msg)
        how["compare"] = options["compare"]
    if options["dry_run"]:
        _plan(
            {**chosen, **how, **{name: options[name] for name in ("output", "to", "overwrite", "stac", "report")}},
            as_json=options["as_json"],
        )
        return
    output = options["output"]
    if output is None:
        msg = "say where the result goes: -o OUT (or see what would be done: --dry-run)"
        raise click.UsageError(msg)
    with running(options) as (run, note):
        from ship_geo.api import pansharpen_scene

        with pansharpen_scene(
            **chosen,
            **how,
            **run,
            output=output,
            to=options["to"],
            adapt=int(options["adapt"]) if options["adapt"].isdecimal() else options["adapt"],
            adapt_time=options["adapt_time"],
            save_weights=options["save_weights"],
            overwrite=options["overwrite"],
            restart=options["restart"],
            stac=options["stac"],
            report=options["report"],
        ) as fused:
            record = json.loads(fused.attrs["ship_geo_record"])
            result = {
                "output": output,
                "shape": list(fused.shape),
                "dtype": str(fused.dtype),
                "bands": [str(name) for name in fused.coords["band"].to_numpy()],
                **{
                    key: fused.attrs[key] for key in ("sensor", "scene_geometry", "radiometry", "model", "model_digest")
                },
                **record,
            }
        note(result)
    for text in record["warnings"]:
        show_warning(text)
    if options["as_json"]:
        echo_json(result)
    elif not options["quiet"]:
        click.echo(_summary(result))


def _plan(arguments: dict[str, Any], *, as_json: bool) -> None:
    from ship_geo.api import plan_scene

    plan = plan_scene(**arguments, measured=True)
    if as_json:
        echo_json(plan)
    else:
        echo_pairs(plan)


def _summary(result: Mapping[str, Any]) -> str:
    n_band, n_row, n_col = result["shape"]
    parts = [
        f"{result['output']}: {n_row} x {n_col} x {n_band} {result['dtype']}, {result['sensor']} by {result['model']}",
        f"{result['seconds']:.1f} s, {result['megapixels_per_second']:.2f} megapixels/s",
    ]
    counts = {"n_clipped": "values clipped", "n_moved": "values moved off nodata", "n_invalid": "pixels without data"}
    parts += [f"{result[key]} {text}" for key, text in counts.items() if result.get(key)]
    shift = result["shift"]
    if shift is not None:
        parts.append(f"MS lay ({-shift['row']:+.2f}, {-shift['col']:+.2f}) MS pixels off PAN")
        parts[-1] += f", confidence {shift['confidence']:.2f}"
    return "; ".join(parts)


@cli.command(cls=Command)
@pair_options
@click.option("--shift", is_flag=True, help="Measure the shift between PAN and MS, too.")
@common_options
def info(**options: Any) -> None:
    """Show what SOURCE is: bands, grids, sensor, and what is odd about it."""
    from ship_geo.scene import open_scene

    scene = open_scene(**selection(options))
    if options["shift"]:
        from ship_geo.alignment import register_scene  # loads torch

        scene = register_scene(scene, "report")
    if options["as_json"]:
        echo_json(scene.record())
    else:
        click.echo(scene.describe())


@cli.command(cls=Command)
@click.argument("folder")
@click.option("-o", "--output", metavar="OUT", help="Write the table, too: .gpkg, .geojson or .parquet.")
@click.option("--unpack", is_flag=True, help="Look into compressed archives of more than 32 MiB, too.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
@common_options
def find(folder: str, **options: Any) -> None:
    """List the scenes below FOLDER, and those that cannot be opened with the reason."""
    import pandas as pd

    from ship_geo.catalog import as_geojson, check_catalog, find_scenes, write_catalog

    output = options["output"]
    if output:
        check_catalog(output, overwrite=options["overwrite"])
    found = find_scenes(folder, unpack=options["unpack"])
    if output:
        write_catalog(found, output, overwrite=options["overwrite"])
    if options["as_json"]:
        click.echo(as_geojson(found))
        return
    for row in found.itertuples():
        time = "time not known" if pd.isna(row.time) else row.time
        click.echo(f"{row.name}  {f'cannot be opened: {row.problem}' if row.problem else f'{row.sensor}, {time}'}")
    click.echo(f"{len(found)} scenes, {int((found.problem != '').sum())} of them cannot be opened")


cli.add_command(quality)


@cli.command(cls=Command)
@common_options
def models(**options: Any) -> None:
    """List what --model takes."""
    from ship_geo.api import list_models

    found = list_models()
    if options["as_json"]:
        echo_json(found)
        return
    width = max(len(model["name"]) for model in found)
    for model in found:
        size = f", {model['bytes'] / 1e6:.1f} MB" if model["bytes"] else ""
        licence = f", {model['licence']}" if model["licence"] else ""
        click.echo(f"{model['name']:<{width}}  {model['title']} ({model['kind']}{licence}{size}); {model['citation']}")
        if "problem" in model:
            click.echo(f"{'':<{width}}  cannot be used: {model['problem']}")


@cli.command(cls=Command)
@click.argument("folder", metavar="[DIR]", default="ship-geo-demo")
@click.option("--size", default=1024, show_default=True, help="Rows and columns of PAN.")
@click.option("--n-band", default=4, show_default=True, help="MS bands: 4 or 8.")
@click.option("--seed", default=0, show_default=True, help="Another seed, another town.")
@click.option("--model", default="auto", show_default=True, help="See `ship-geo models`.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:1.")
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier demo; others are never replaced.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@common_options
def demo(folder: str, **options: Any) -> None:
    """Make a synthetic WorldView-2 delivery in DIR, sharpen it, and compare the result with classical methods."""
    from ship_geo.demo.run import format_table, run_demo

    names = ("size", "n_band", "seed", "model", "device", "overwrite")
    report = run_demo(folder, **{name: options[name] for name in names}, progress=not options["quiet"])
    if options["as_json"]:
        echo_json(report)
        return
    click.echo(format_table(report["quality"]))
    click.echo()
    echo_pairs(report["files"])
