"""``ship-geo quality``: judges a sharpened file and prints a table, JSON or a report.

Not a place for measuring. The convention that could surprise: everything that can be refused, the place of the report
included, is refused before the first pixel is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from ship_geo.cli.options import common_options, compare_option, pair_options, selection
from ship_geo.cli.shell import Command, echo_json


def _border(_: click.Context, __: click.Parameter, text: str) -> int | tuple[int, int]:
    """One number of pixels, or two with a comma."""
    parts = text.split(",")
    if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):  # noqa: PLR2004  leading and trailing
        msg = f"{text!r} is neither a number of pixels nor two with a comma, such as 20,21"
        raise click.BadParameter(msg)
    return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))


def _tile(_: click.Context, __: click.Parameter, text: str) -> int | str:
    """A number of pixels, or auto."""
    if text != "auto" and not text.isdecimal():
        msg = f"{text!r} is neither a number of pixels nor 'auto'"
        raise click.BadParameter(msg)
    return text if text == "auto" else int(text)


@click.command(cls=Command)
@click.option("--fused", metavar="F", required=True, help="Sharpened file.")
@pair_options
@click.option("--source", "delivery", metavar="DELIVERY", help="What F was made from; the same as SOURCE.")
@click.option("--ref", metavar="R", help="Reference on the same grid, for SAM, ERGAS, Q2n, PSNR and others.")
@compare_option
@click.option("--report", metavar="OUT.html", help="Write a page with maps and pictures, too.")
@click.option(
    "--tile",
    metavar="N",
    callback=_tile,
    default="auto",
    show_default=True,
    help="Side of the tiles, a multiple of 32.",
)
@click.option(
    "--border", metavar="N", callback=_border, default="0", show_default=True, help="Pixels not counted: N, or N,M."
)
@click.option("--peak", type=float, metavar="DN", help="Largest value; 2^bits - 1 of the sensor by default.")
@click.option("--tiles", "with_tiles", is_flag=True, help="Print the values of tiles in JSON, too.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.html if it exists.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@common_options
def quality(**options: Any) -> None:
    """Judge a sharpened file: against a reference if there is one, and against the pair it was made from.

    That is SOURCE, a delivery, or --pan and --ms.
    """
    delivery = options.pop("delivery")
    if delivery is not None and options["source"] is not None:
        msg = "say which scene once: SOURCE or --source"
        raise click.UsageError(msg)
    options["source"] = delivery if options["source"] is None else options["source"]
    chosen = selection(options)
    report, fused, ref = options["report"], options["fused"], options["ref"]
    from ship_geo.api import assess  # loads torch

    if report is not None:
        from ship_geo.report import check_report

        inputs = [fused, *filter(None, (ref, chosen["pan"])), *_listed(chosen["ms"])]
        check_report(report, overwrite=options["overwrite"], inputs=inputs)
    judged = assess(
        fused,
        **chosen,
        ref=ref,
        baselines=options["compare"] or (),
        **{name: options[name] for name in ("tile", "border", "peak")},
        progress=not options["quiet"],
    )
    if report is not None:
        judged.to_html(report, overwrite=options["overwrite"])
    if options["as_json"]:
        echo_json(judged.record(tiles=options["with_tiles"]))
    else:
        click.echo(_table(judged.comparison))
        if report is not None:
            click.echo(f"report  {report}")


def _listed(paths: str | list[str] | None) -> list[str]:
    return [] if paths is None else [paths] if isinstance(paths, str) else paths


def _table(totals: Mapping[str, Mapping[str, float]]) -> str:
    """Indices down, methods across, and what each index means."""
    from ship_geo.metrics.facts import INDICES

    methods = list(totals)
    widths = [max(len(method), 9) for method in methods]
    name_width = max(map(len, totals[methods[0]]))
    lines = [] if len(methods) == 1 else [" ".join([" " * (name_width + 1), *map(str.ljust, methods, widths)]).rstrip()]
    for name in totals[methods[0]]:
        cells = [f"{totals[method][name]:<{width}.5g}" for method, width in zip(methods, widths, strict=True)]
        meaning = INDICES[name].meaning if name in INDICES else "of the pixels were judged"
        lines.append(f"{name.replace('_', ' '):<{name_width}}  {' '.join(cells)} {meaning}")
    return "\n".join(lines)
