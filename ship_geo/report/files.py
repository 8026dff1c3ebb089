"""Writing a report: whole or not at all, and never over a file without being told so."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ship_geo._typing import PathLike
from ship_geo.errors import ArgumentError, OutputError
from ship_geo.report.judged import Judged
from ship_geo.report.page import fill_page
from ship_geo.report.sheet import Sheet
from ship_geo.writer.aside import aside
from ship_geo.writer.checks import check_output

_SUFFIXES = (".html", ".htm")


def check_report(path: PathLike, *, overwrite: bool = False, inputs: Iterable[str] = ()) -> Path:
    """Check that a report can be written, before any work is done for it.

    Parameters
    ----------
    path
        File to be written, .html or .htm.
    overwrite
        Whether an existing file may be replaced.
    inputs
        Files that must never be replaced.

    Returns
    -------
    Path
        The target, links resolved.

    Raises
    ------
    ArgumentError
        When the suffix is another one.
    OutputError
        When the file exists, or its folder is missing or not writable.
    """
    if Path(path).suffix.lower() not in _SUFFIXES:
        msg = f"a report must be named {' or '.join(_SUFFIXES)}, got {path}; choose one of these suffixes"
        raise ArgumentError(msg)
    return check_output(path, overwrite=overwrite, inputs=inputs)


def write_report(judged: Judged, path: PathLike, *, overwrite: bool = False) -> Path:
    """Write an assessment as one HTML file that needs no other.

    Parameters
    ----------
    judged
        An `ship_geo.assessment.Assessment`.
    path
        File to be written, .html or .htm.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        See `check_report`; a file that was there is then left as it was.
    """
    target = check_report(path, overwrite=overwrite)
    text = fill_page(Sheet.of(judged))
    try:
        with aside(target, overwrite=overwrite) as made:
            made.write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"the report must be writable, got {error} for {path}; check the disk and its permissions"
        raise OutputError(msg) from error
    return Path(path)
