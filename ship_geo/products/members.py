"""Names of files inside a delivery: which are listed, which are refused, and how an untrusted name is looked up.

Names only: nothing here touches a disk. Every name comes from an archive or a metadata file, and may be hostile.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from ship_geo.errors import ProductError

MAX_NAMES = 200_000
MAX_DEPTH = 4
MAX_BYTES = 32 * 2**20

_DRIVE = re.compile(r"[A-Za-z]:")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")


def shown(name: str) -> str:
    """Return a name as it may stand in a message: control characters and lone surrogates are escaped."""
    return name if name.isprintable() else ascii(name)


def is_absolute(name: str) -> bool:
    """Whether a name with ``/`` between its parts is absolute: of a file system, of Windows, or a URL."""
    return name.startswith("/") or bool(_DRIVE.match(name) or _SCHEME.match(name))


def is_hidden(name: str) -> bool:
    """Whether a file or one of its folders begins with a dot."""
    return any(part.startswith(".") for part in name.split("/"))


def is_deep(name: str) -> bool:
    """Whether a file lies more than `MAX_DEPTH` folders below the root."""
    return name.count("/") > MAX_DEPTH


def plain_name(raw: str) -> str | None:
    """Return the relative POSIX name of a member of an archive; None when it is unsafe.

    Unsafe are absolute names, ``..`` in any place, empty parts and NUL. Backslashes count as ``/``, as Windows wrote
    them and GDAL reads them.
    """
    name = raw.replace("\\", "/")
    while name.startswith("./"):
        name = name[2:]
    name = name.removesuffix("/")
    if is_absolute(name) or "\0" in name:
        return None
    if name in {"", "."}:
        return "" if raw else None
    return None if any(part in {"", ".", ".."} for part in name.split("/")) else name


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8: GDAL knows no other names."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def stays_inside(folder: str, target: str) -> bool:
    """Whether a link in this folder of an archive points below the root."""
    target = target.replace("\\", "/")
    if not target or "\0" in target or is_absolute(target):
        return False
    joined = posixpath.normpath(posixpath.join(folder, target))
    return joined != ".." and not joined.startswith("../")


def resolve(names: Iterable[str], base: str, relative: str) -> str | None:
    r"""Look up a name found in the metadata file `base`, relative to its folder and ignoring case.

    Parameters
    ----------
    names
        Files of the delivery.
    base
        Name of the metadata file among them.
    relative
        What it says; ``\`` counts as ``/``.

    Returns
    -------
    str or None
        The name in the delivery; None when there is no such file.

    Raises
    ------
    ProductError
        When `relative` is absolute or leaves the root, or fits two names that differ in case only.
    """
    path = relative.strip().replace("\\", "/")
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(base), path)) if path else ""
    if is_absolute(path) or joined == ".." or joined.startswith("../"):
        msg = (
            f"a name in metadata must stay inside the delivery, got {shown(relative)} in {shown(base)}; "
            "correct it if you trust the delivery"
        )
        raise ProductError(msg)
    wanted = joined.casefold()
    found = [name for name in names if name.casefold() == wanted]
    if joined in found:
        return joined
    if len(found) > 1:
        msg = (
            f"a name in metadata must mean one file, got {shown(relative)} in {shown(base)} for "
            f"{', '.join(map(shown, found))}; keep the right one"
        )
        raise ProductError(msg)
    return found[0] if found else None
