"""What surrounds a run on the command line: a cluster, a log of events, and a record of how it ended."""

from __future__ import annotations

import datetime as dt
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from ship_geo._typing import PathLike
from ship_geo.cli.shell import show_warning

Note = Callable[[Mapping[str, Any]], None]
"""Called with the result of a run, for its record."""

_ENDED = frozenset({"status", "error", "started", "ended"})
"""What the record of a run that did not come to its end holds."""


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
    ArgumentError
        When log or record would spoil a file that is none.
    OutputError
        When the log or the record cannot be written.
    """
    from ship_geo.events import json_log
    from ship_geo.writer.texts import write_json

    path = options.get("record")
    may_replace = path is not None and check_record(path, overwrite=options["overwrite"])
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
                write_json(ended, path, overwrite=may_replace)


def check_written(options: Mapping[str, Any], chosen: Mapping[str, Any]) -> None:
    """Check that the files that a run writes are not one another, and none of those that it is told to read.

    Parameters
    ----------
    options
        Of the command.
    chosen
        What `ship_geo.cli.options.selection` took of them.

    Raises
    ------
    ArgumentError
        When they are.
    """
    from ship_geo.writer.checks import check_names

    names = ("output", "report", "record", "log_json", "save_weights")
    written = {name: options[name] for name in names if options[name] != "-"}
    if options["stac"] and options["output"]:
        from ship_geo.stac import item_path

        written["stac"] = item_path(options["output"])
    ms = chosen["ms"] if isinstance(chosen["ms"], list) else [chosen["ms"]]
    dem = chosen.get("dem")
    inputs = [chosen["source"], chosen["pan"], *ms, options["model"], options["cluster_config"]]
    check_names(written, [*inputs, dem if isinstance(dem, str) else None])


def check_record(path: PathLike, *, overwrite: bool) -> bool:
    """Check that a record can be written, and return whether it may replace the file that is there.

    The record of a run that was stopped or failed may always be replaced: the same command goes on.

    Raises
    ------
    ArgumentError
        When the file is there and is no JSON, so that it cannot be a record.
    OutputError
        When the file exists and must stay, or cannot be written.
    """
    from ship_geo.errors import ArgumentError
    from ship_geo.writer.checks import check_output

    there = Path(path)
    if there.is_file() and there.stat().st_size:
        told = _read_json(there)
        if told is None and overwrite:
            msg = f"a record replaces a JSON file only, got {path} that is none; choose another name"
            raise ArgumentError(msg)
        is_unfinished = told is not None and told.get("status") in ("failed", "stopped") and set(told) == _ENDED
        overwrite = overwrite or is_unfinished
    check_output(path, overwrite=overwrite)
    return overwrite


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


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
