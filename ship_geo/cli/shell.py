"""What all commands share: how errors end, how warnings look, and how results are printed."""

from __future__ import annotations

import errno
import json
import re
import signal
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from ship_geo.errors import ArgumentError, ShipGeoError

USAGE, FAILURE, INTERRUPTED, TERMINATED = 2, 1, 130, 143

_ARGUMENT = re.compile(r"(?P<tick>`?)\b(?P<name>[a-z_]+)=(?P<value>(?:'[^']*'|\"[^\"]*\"|True)?)(?P=tick)(?![\w.])")
_NAME = re.compile(r"`(?P<name>[a-z_]+)`")
_BUG_HINT = "this is a fault of ship-geo: run again with --debug, and please report what it shows"


class Terminated(BaseException):
    """SIGTERM arrived: everything that was begun is cleaned up on the way out, as after Ctrl-C."""


@contextmanager
def terminating() -> Iterator[None]:
    """Let SIGTERM raise `Terminated`, where signals can be handled: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_command(command: click.Command, words: Sequence[str], name: str) -> int:
    """Run a command, and return its exit code.

    Parameters
    ----------
    command
        The command, or a group of them.
    words
        Words after the name of the program.
    name
        Of the program, for its help.
    """
    with warnings.catch_warnings(), terminating():
        warnings.showwarning = show_warning
        try:
            return int(command.main(list(words), prog_name=name, standalone_mode=False) or 0)
        except click.ClickException as error:
            error.show()
            if "--json" in words:
                message = error.format_message()
                echo_json({"error": {"type": "UsageError", "message": message, "exit_code": error.exit_code}})
            return error.exit_code
        except click.Abort as error:
            click.echo("interrupted", err=True)
            show_notes(error.__cause__)  # click raises it from the KeyboardInterrupt
            return INTERRUPTED
        except Terminated as error:
            click.echo("terminated", err=True)
            show_notes(error)
            return TERMINATED


def show_notes(error: BaseException | None) -> None:
    """Show what an error was told on its way out, such as what is kept of a run and goes on later."""
    for note in getattr(error, "__notes__", ()):
        click.echo(note, err=True)


class Command(click.Command):
    """A command whose errors end in one paragraph and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, click.ClickException):
            raise
        except ShipGeoError as error:
            _fail(ctx, error, str(error), USAGE if isinstance(error, ArgumentError) else FAILURE)
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader has gone, as `head` does
            _fail(ctx, error, f"{type(error).__name__}: {error}; {_BUG_HINT}", FAILURE)


def _fail(ctx: click.Context, error: Exception, message: str, code: int) -> NoReturn:
    message = _in_options(message, {param.name: param for param in ctx.command.params})
    if ctx.params.get("debug"):
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    click.echo(f"Error: {message}", err=True)
    show_notes(None if ctx.params.get("debug") else error)  # a traceback holds them
    if ctx.params.get("as_json"):
        echo_json({"error": {"type": type(error).__name__, "message": message, "exit_code": code}})
    ctx.exit(code)


def _in_options(message: str, options: Mapping[str | None, click.Parameter]) -> str:
    """Write the arguments that a message names as the options of the command."""

    def option(match: re.Match[str]) -> str:
        name, value = match.group("name"), match.group("value").strip("'\"")
        known = options.get(name)
        if known is None or not isinstance(known, click.Option):
            return match.group()
        return known.opts[-1] if value in ("", "True") or known.is_flag else f"{known.opts[-1]} {value}"

    def named(match: re.Match[str]) -> str:
        known = options.get(match.group("name"))
        return known.opts[-1] if isinstance(known, click.Option) else match.group()

    return _NAME.sub(named, _ARGUMENT.sub(option, message))


def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Show a warning as one line; in the place of `warnings.showwarning`."""
    context = click.get_current_context(silent=True)
    params = [] if context is None else context.command.params
    options: dict[str | None, click.Parameter] = {param.name: param for param in params}
    click.echo(f"Warning: {_in_options(str(message), options)}", err=True)


def echo_json(value: Any) -> None:
    """Print a value as JSON; infinity and NaN become null."""
    from ship_geo.writer.texts import as_plain  # loads rasterio, which help does not need

    click.echo(json.dumps(as_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def echo_pairs(pairs: Mapping[str, Any]) -> None:
    """Print names and values in two columns."""
    width = max(map(len, pairs))
    for key, value in pairs.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
        click.echo(f"{key.replace('_', ' '):<{width}}  {shown}")
