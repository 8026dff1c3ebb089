"""The options that several commands share, and what they mean together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


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
    )


sensor_option: Callable[[F], F] = click.option(
    "--sensor", metavar="NAME", help="Sensor, where the files do not tell, e.g. WorldView-2."
)


def selection(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of `pair_options` out of all options, as `open_scene` wants them."""
    source, pan, ms, bands = (options.pop(name) for name in ("source", "pan", "ms", "bands"))
    if (source is None) == (pan is None and not ms):
        msg = "say which scene: either SOURCE, or --pan and --ms"
        raise click.UsageError(msg)
    roles = None if bands is None else [role.strip() for role in bands.split(",")]
    return {"source": source, "pan": pan, "ms": one_or_many(ms), "sensor": options.pop("sensor"), "bands": roles}


def one_or_many(paths: tuple[str, ...]) -> str | list[str] | None:
    """Give what `ms=` takes for the files of a repeated option."""
    return None if not paths else paths[0] if len(paths) == 1 else list(paths)
