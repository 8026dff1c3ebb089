"""The options that several commands share, and what they mean together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_OPENING = (
    "product",
    "time",
    "missing",
    "follow_links",
    "scratch",
    "max_unpacked",
    "geometry",
    "dem",
    "geoid",
    "crs",
    "resolution",
    "ratio",
    "assume_aligned",
)


def _decorate(function: F, *decorators: Callable[[F], F]) -> F:
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def common_options(function: F) -> F:
    """Options of every command."""
    return _decorate(
        function,
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
        click.option("--debug", is_flag=True, help="Show the traceback of an error."),
    )


def pair_options(function: F) -> F:
    """Options that say which scene is meant."""
    return _decorate(
        function,
        click.argument("source", required=False),
        click.option("--pan", metavar="P", help="PAN file, instead of SOURCE."),
        click.option("--ms", metavar="M", multiple=True, help="MS file; several files of one band each: repeat."),
        sensor_option,
        click.option("--bands", metavar="B,G,…", help="Roles of the MS bands in file order, e.g. blue,green,red,nir."),
        click.option("--product", metavar="NAME", help="Part of the name of the product, where there are several."),
        click.option("--time", metavar="TIME", help="Acquisition, ISO 8601, where the files do not tell it."),
        click.option("--missing", type=click.Choice(["raise", "mask"]), help="Missing tiles: refuse, or mask."),
        click.option("--follow-links", is_flag=True, help="Allow links that leave the delivery."),
        click.option("--scratch", metavar="DIR", help="Where a .tar.gz is unpacked."),
        click.option("--max-unpacked", type=int, metavar="BYTES", help="Most that may be unpacked; 64 GiB."),
        click.option(
            "--geometry",
            type=click.Choice(["auto", "sensor", "ortho"]),
            help="Products with RPC only: as seen by PAN (auto), or brought onto a map (ortho).",
        ),
        click.option("--dem", metavar="FILE|M", help="Heights for --geometry: a raster, or metres."),
        click.option("--geoid", type=float, metavar="M", help="Metres added to the heights of the DEM."),
        click.option("--crs", metavar="CRS", help="CRS for --geometry ortho; UTM by default."),
        click.option("--resolution", type=float, metavar="SIZE", help="PAN pixel size for --geometry ortho."),
        click.option("--ratio", type=int, metavar="K", help="Original ratio of MS that was interpolated to PAN."),
        click.option("--assume-aligned", is_flag=True, help="A raster without CRS covers the ground of the other."),
    )


def running_options(function: F) -> F:
    """Options that say where a run works, and what is told of it meanwhile; see `ship_geo.cli.running`."""
    return _decorate(
        function,
        click.option(
            "--cluster", metavar="WHERE", help="local, cuda, slurm, pbs, …, tcp://HOST:PORT, or a scheduler's .json."
        ),
        click.option("--cluster-config", metavar="TOML", help="How the cluster is made: [cluster], [scale], [adapt]."),
        click.option("--log-json", metavar="FILE|-", help="Add events to FILE, a JSON object a line; -: to stderr."),
    )


sensor_option: Callable[[F], F] = click.option(
    "--sensor", metavar="NAME", help="Sensor, where the files do not tell, e.g. WorldView-2."
)


compare_option: Callable[[F], F] = click.option(
    "--compare",
    metavar="A,B,…",
    callback=lambda _, __, text: method_list(text),
    help="Classical methods to compare with; see `ship-geo models`.",
)


def method_list(text: str | None) -> list[str] | None:
    """Take names apart at their commas; None where nothing was given."""
    names = None if text is None else [part.strip() for part in text.split(",")]
    if names is not None and not all(names):
        msg = f"--compare takes names with commas between them, got {text!r}; for instance exp,mtf-glp-fs"
        raise click.UsageError(msg)
    return names


def selection(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of `pair_options` out of all options, as `open_scene` wants them."""
    source, pan, ms, bands = (options.pop(name) for name in ("source", "pan", "ms", "bands"))
    if (source is None) == (pan is None and not ms):
        msg = "say which scene: either SOURCE, or --pan and --ms"
        raise click.UsageError(msg)
    roles = None if bands is None else [role.strip() for role in bands.split(",")]
    opening = {name: options.pop(name) for name in _OPENING}
    return {
        "source": source,
        "pan": pan,
        "ms": one_or_many(ms),
        "sensor": options.pop("sensor"),
        "bands": roles,
        **{name: value for name, value in opening.items() if value is not None and value is not False},
        **({} if opening["dem"] is None else {"dem": _height_or_path(opening["dem"])}),
    }


def _height_or_path(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def one_or_many(paths: tuple[str, ...]) -> str | list[str] | None:
    """Give what `ms=` takes for the files of a repeated option."""
    return None if not paths else paths[0] if len(paths) == 1 else list(paths)
