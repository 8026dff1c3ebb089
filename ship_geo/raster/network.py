"""Files behind a network: GDAL's options for them, patience where connections drop, and errors that name a cause.

GDAL repeats requests that a server answers with an error, or whose connection is reset. A connection that ends in the
middle of an answer it does not notice: it keeps the short answer in its cache, so that every later try fails, too, and
a header that was cut may even lose tags and masks without an error. Hence two conventions that could surprise. After
any failure a file is opened anew with what GDAL remembers of it forgotten. And a warning that something could not be
read while a file is opened counts as a failure. Names that people get to see never hold a password or a query, which
may be a signature.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import unquote

import rasterio
import rasterio.env
from rasterio.errors import RasterioIOError

_T = TypeVar("_T")

_NETWORK = re.compile(r"(?:https?|ftp|s3|gs|az|oss|swift)://|/vsi(?:curl|s3|gs|az|adls|oss|swift|webhdfs)\b")
_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "2",
    "GDAL_HTTP_RETRY_DELAY": "0.2",  # seconds, doubled each time
    "GDAL_HTTP_RETRY_CODES": "408,425,429,500,502,503,504",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",  # byte per second
}
_FORGETFUL = {
    "CPL_VSIL_CURL_NON_CACHED": ":".join(
        f"/vsi{kind}/" for kind in ("curl", "s3", "gs", "az", "adls", "oss", "swift", "webhdfs")
    )
}
_WAITS = (0.1, 0.2, 0.4, 0.8, 1.5, 2.0)  # seconds between tries
_SHORTEST_SECRET = 4  # characters; less would spoil the message
_STATUS = re.compile(r"HTTP (?:response code|error code)\s*:\s*(\d{3})", re.IGNORECASE)
_MISSING = re.compile(r"does not exist|NoSuchKey|NoSuchBucket|No such file", re.IGNORECASE)
_REFUSED = re.compile(
    r"Access ?Denied|Forbidden|Unauthorized|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|credentials",
    re.IGNORECASE,
)
_UNREAD = re.compile(r"IO error|read error|(?:failed|cannot|can't|could not) (?:to )?read", re.IGNORECASE)


def is_network(path: str) -> bool:
    """Whether a path leads over a network; not so for archives on a local disk."""
    return _NETWORK.search(path) is not None


def public_name(path: str) -> str:
    """Return a path as people may see it: an URL without user, password and query."""
    return re.sub(r"(://)[^/@\s]+@", r"\1", path.split("?", maxsplit=1)[0]) if is_network(path) else path


def network_options() -> dict[str, str]:
    """Return GDAL's options for files behind a network; what the user has set stays."""
    active = rasterio.env.getenv() if rasterio.env.hasenv() else {}
    return {name: value for name, value in _OPTIONS.items() if name not in active and name not in os.environ}


def forgetting(*, enabled: bool = True) -> rasterio.Env:
    """Return an environment in which GDAL forgets, as it closes a file behind a network, what it remembers of it.

    To open a raster opens and closes its file once to look at it, so that it is forgotten before it is read.
    """
    return rasterio.Env(**_FORGETFUL) if enabled else rasterio.Env()


def persist(path: str, work: Callable[[], _T]) -> _T:
    """Do work that reads a file, and do it again where the file is behind a network and the work failed.

    Parameters
    ----------
    path
        The file.
    work
        Opens the file, so that a second call starts anew.

    Raises
    ------
    RasterioIOError
        The error of the last try; at once where the server says that there is no such file, or that it gives none.
    """
    if not is_network(path):
        return work()
    for i, wait in enumerate(_WAITS):
        try:
            with forgetting(enabled=i > 0):
                return work()
        except RasterioIOError as error:
            if i > 0 and is_final(error):  # the first answer may be a remembered one
                raise
        time.sleep(wait)
    with forgetting():
        return work()


def is_final(error: Exception) -> bool:
    """Whether another try can give nothing else."""
    return _verdict(error) is not None


@contextmanager
def whole_header() -> Iterator[None]:
    """Make an error of what GDAL only warns of: that something in the header of a file could not be read.

    Raises
    ------
    RasterioIOError
        At the end of the block, when that happened in this thread.
    """
    heard: list[str] = []
    thread = threading.get_ident()
    log = logging.getLogger("rasterio._env")
    level, is_silent = log.level, not log.isEnabledFor(logging.WARNING)

    def hear(record: logging.LogRecord) -> bool:
        if record.thread == thread and _UNREAD.search(record.getMessage()):
            heard.append(record.getMessage())
            return False  # it is told as an error, or the next try succeeds
        return not is_silent

    log.addFilter(hear)
    if is_silent:
        log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.removeFilter(hear)
        log.setLevel(level)
    if heard:
        raise RasterioIOError(heard[0])


def network_message(path: str, error: Exception) -> str:
    """Return the message for a file behind a network that cannot be read; without secrets."""
    name, verdict, reason = public_name(path), _verdict(error), _reason(path, error)
    if verdict == "missing":
        return f"a raster file must exist, got {name} ({reason}); check the address"
    if verdict == "refused":
        return (
            f"a raster file must be open to you, got {name} ({reason}); "
            "check the credentials, or ask for a new link if this one has expired"
        )
    tries = len(_WAITS) + 1
    return (
        f"a raster must be readable, got {name} ({reason}, after {tries} tries); "
        "check the network and the server, then run it again"
    )


def _verdict(error: Exception) -> str | None:
    text = f"{error} {error.__cause__ or ''}"
    status = _STATUS.search(text)
    code = int(status[1]) if status else 0
    if code in {404, 410} or _MISSING.search(text):
        return "missing"
    return "refused" if code in {401, 403} or _REFUSED.search(text) else None


def _reason(path: str, error: Exception) -> str:
    cause = error.__cause__
    text = str(getattr(cause, "errmsg", cause) if cause is not None else error)
    secrets = [path.partition("?")[2], *re.findall(r"://([^/@\s]+)@", path)]
    for secret in (*secrets, *map(unquote, secrets)):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "...")
    return " ".join(text.split())
