"""Small text files that are whole or absent, as outputs are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ship_geo._typing import PathLike
from ship_geo.errors import OutputError
from ship_geo.writer.aside import aside
from ship_geo.writer.checks import check_output


def write_json(value: Any, path: PathLike, *, overwrite: bool = False) -> Path:
    """Write a value as JSON, whole or not at all; infinity and NaN become null.

    Returns
    -------
    Path
        The file, links resolved.

    Raises
    ------
    OutputError
        When the file exists or cannot be written.
    """
    target = check_output(path, overwrite=overwrite)
    text = json.dumps(as_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    try:
        with aside(target, overwrite=overwrite) as made:
            made.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        msg = f"the file must be writable, got {error} for {path}; check the disk and its permissions"
        raise OutputError(msg) from error
    return target


def as_plain(value: Any) -> Any:
    """Return a value as JSON can hold it: keys are text, tuples lists, infinity and NaN null."""
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(item) for item in value]
    is_finite = not isinstance(value, float) or value - value == 0
    return value if is_finite else None
