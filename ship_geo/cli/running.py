"""What surrounds a run on the command line: a cluster, a log of events, and a record of how it ended."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from ship_geo.cli.shell import show_warning

Note = Callable[[Mapping[str, Any]], None]
"""Called with the result of a run, for its record."""


@contextmanager
def running(options: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Note]]:
    """Surround a run as `running_options` and ``--record`` ask for.

    Parameters
    ----------
    options
        Of the command.

    Yields
    ------
    tuple
        Arguments of `pansharpen_scene`, and what is to be called with the result.

    Raises
    ------
    OutputError
        When the log or the record cannot be written.
    """
    from ship_geo.events import json_log
    from ship_geo.writer.checks import check_output
    from ship_geo.writer.texts import write_json

    path = options.get("record")
    if path is not None:
        check_output(path, overwrite=options["overwrite"])
    started, result = _now(), dict[str, Any]()
    with ExitStack() as stack:
        log = stack.enter_context(json_log(options["log_json"]))
        stack.enter_context(warnings.catch_warnings())
        _tell_warnings(log, is_shown=options["log_json"] != "-")
        try:
            client = stack.enter_context(client_of(options, log))
            is_shown = not options["quiet"] and options["log_json"] != "-"
            yield {"client": client, "log": log, "progress": is_shown}, result.update
        except BaseException as error:
            told = {"type": type(error).__name__, "message": str(error)}
            log("failed" if isinstance(error, Exception) else "stopped", **told)
            result |= {"status": "failed" if isinstance(error, Exception) else "stopped", "error": told}
            raise
        finally:
            if path is not None:
                ended = {"status": "done", **result, "started": started, "ended": _now()}
                write_json(ended, path, overwrite=options["overwrite"])


@contextmanager
def client_of(options: Mapping[str, Any], log: Any = None) -> Iterator[Any]:
    """Give the client of the cluster that options ask for, None where they ask for none.

    Raises
    ------
    UsageError
        When a cluster is configured that is not asked for.
    """
    if options["cluster"] is None:
        if options["cluster_config"] is not None:
            msg = "--cluster-config says how a cluster is made: say which, e.g. --cluster slurm"
            raise click.UsageError(msg)
        yield None
        return
    from ship_geo.clusters import ClusterConfig, open_client

    def tell(event: str, /, **facts: Any) -> None:
        if log is not None:
            log(event, **facts)
        if not options["quiet"] and options["log_json"] != "-":
            click.echo(f"{event}: {', '.join(f'{name} {value}' for name, value in facts.items() if value)}", err=True)

    config = None if options["cluster_config"] is None else ClusterConfig.from_toml(options["cluster_config"])
    with open_client(options["cluster"], config, log=tell) as client:
        yield client


def _tell_warnings(log: Any, *, is_shown: bool) -> None:
    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        log("warning", message=str(message))
        if is_shown:
            show_warning(message)

    warnings.showwarning = show


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
