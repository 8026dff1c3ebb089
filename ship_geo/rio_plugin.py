"""The rasterio command ``rio ship``: ``rio ship PAN MS OUT`` sharpens a pair inside rasterio's command line.

Found by ``rio`` through the entry point group ``rasterio.rio_plugins``. Thin: the options are those of ``ship-geo
pansharpen``, and so is what they mean. From ``rio`` come the environment (``--aws-profile`` and the like) and the
verbosity: ``rio -q ship`` shows neither progress nor a summary. The convention that could surprise: PAN comes first, as
``ship`` takes any number of MS files, which are the bands in that order.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import Any

import click

from ship_geo.cli import pansharpen
from ship_geo.cli.shell import TERMINATED, Command, Terminated, show_notes, show_warning, terminating

__all__ = ["ship"]

_ASKED_OTHERWISE = frozenset({"source", "pan", "ms", "output", "quiet"})


@click.pass_context
def _sharpen(ctx: click.Context, /, **options: Any) -> None:
    """Sharpen MS with PAN and write OUT, a Cloud Optimized GeoTIFF on the grid of PAN.

    MS may be several files of one band each.
    """
    given = ctx.obj or {}
    env = given.get("env") or nullcontext()
    is_quiet = given.get("verbosity", 0) < 0
    try:
        with warnings.catch_warnings(), terminating(), env:
            warnings.showwarning = show_warning
            ctx.invoke(pansharpen, source=None, quiet=is_quiet, **options)
    except Terminated as error:
        click.echo("terminated", err=True)
        show_notes(error)
        ctx.exit(TERMINATED)


ship = Command(
    "ship",
    callback=_sharpen,
    help=_sharpen.__doc__,
    short_help="Pan-sharpen a PAN / MS pair.",
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[
        click.Argument(["pan"], metavar="PAN"),
        click.Argument(["ms"], metavar="MS...", nargs=-1, required=True),
        click.Argument(["output"], metavar="OUT"),
        *(param for param in pansharpen.params if param.name not in _ASKED_OTHERWISE),
    ],
)
