"""Scratch folders, and how the members of a tar get into one; nothing is written before every member was judged.

Judging names is up to `ship_geo.products.archives`. The convention that could surprise: a scratch folder dies with the
handle that made it, not with its copies.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ship_geo.errors import ArgumentError, ProductError
from ship_geo.products import members

_CHUNK = 2**20
# tarfile reads a header whole: longer ones exist in attacks only.
_MAX_HEADER = 2 * _CHUNK
_MAX_HEADERS = 2**30
_SPARE_DISK = 2**28


class Scratch:
    """A folder that lives as long as this handle: until `close`, garbage collection or the end of the process.

    A copy, and what another process unpickles, only knows the path and never removes the folder: the handle that made
    it must outlive them.

    Parameters
    ----------
    parent
        Existing folder in which to make it; None: the usual one for temporary files.

    Attributes
    ----------
    path
        The folder.

    Raises
    ------
    ArgumentError
        When `parent` is no folder that can be written.
    """

    def __init__(self, parent: str | os.PathLike[str] | None = None) -> None:
        try:
            self.path = tempfile.mkdtemp(prefix="ship_geo_", dir=None if parent is None else Path(parent).absolute())
        except OSError as error:
            msg = f"`scratch` must be a folder that can be written, got {parent} ({error.strerror}); pass another one"
            raise ArgumentError(msg) from error
        # A fork inherits the handle and runs finalizers, too; only the process that made the folder removes it.
        self._finalizer: weakref.finalize[..., Scratch] | None = weakref.finalize(self, _remove, self.path, os.getpid())

    @classmethod
    def _borrowed(cls, path: str) -> Scratch:
        scratch = cls.__new__(cls)
        scratch.path = path
        scratch._finalizer = None  # noqa: SLF001 (a constructor of its own class)
        return scratch

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Scratch._borrowed, (self.path,)

    def __repr__(self) -> str:
        return f"Scratch({self.path!r})"

    @property
    def is_owner(self) -> bool:
        """Whether this handle removes the folder."""
        return self._finalizer is not None and self._finalizer.alive

    def close(self) -> None:
        """Remove the folder if this handle made it; calling it again does nothing."""
        if self._finalizer is not None:
            self._finalizer()


def _remove(path: str, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(path, ignore_errors=True)


class _Stream:
    """What tarfile reads from: headers of limited size, and no more bytes in all than allowed."""

    def __init__(self, file: Any, limit: int | None, root: str) -> None:
        self._file = file
        self._limit = limit
        self._root = root

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            msg = f"a header of a tar must have at most {_MAX_HEADER} bytes, got {size} in {self._root}; fetch it again"
            raise ProductError(msg)
        self._check(self._file.tell() + size)
        return bytes(self._file.read(size))

    def seek(self, offset: int, whence: int = 0) -> int:
        self._check(offset)
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def _check(self, end: int) -> None:
        if self._limit is not None and end > self._limit:
            got = f"more than {self._limit} bytes in {self._root}"
            msg = f"an archive must not grow beyond `max_unpacked`, got {got}; raise `max_unpacked` if you trust it"
            raise ProductError(msg)


@contextmanager
def tar_members(root: str, max_unpacked: int) -> Iterator[Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]]:
    """Give the members of a tar or tar.gz one by one, for one pass in a `with` block.

    Parameters
    ----------
    root
        The archive.
    max_unpacked
        Bytes that a tar.gz may grow to.

    Raises
    ------
    ProductError
        When it grows beyond the limit, or has a header of absurd length; what the archive libraries raise for damage
        is passed on.
    """
    with Path(root).open("rb") as raw:
        is_gzip = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file = gzip.GzipFile(fileobj=raw) if is_gzip else raw
        stream = _Stream(file, max_unpacked + _MAX_HEADERS if is_gzip else None, root)
        with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8") as archive:  # type: ignore[call-overload]
            yield _members(archive, stream, is_gzip)


def _members(
    archive: tarfile.TarFile, stream: _Stream, is_gzip: bool
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    while (info := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]  # else it keeps them all, with their headers
        yield archive, info
    # The sum of a gzip file is checked where it ends.
    while is_gzip and stream.read(_CHUNK):
        pass


def tar_name(info: tarfile.TarInfo) -> str:
    """Return the name of a member: tar does not say in which encoding it is, so it is UTF-8, else GB18030."""
    if members.is_text(info.name):
        return info.name
    try:
        return info.name.encode("utf-8", "surrogateescape").decode("gb18030")
    except UnicodeError:
        return info.name


def unpack(root: str, sizes: Mapping[str, int], *, parent: str | os.PathLike[str] | None, max_unpacked: int) -> Scratch:
    """Unpack some members of a tar or tar.gz.

    Parameters
    ----------
    root
        The archive.
    sizes
        Bytes of the wanted files by their relative POSIX names, which must have been judged as safe.
    parent
        Folder in which to make the scratch folder; None: the usual one for temporary files.
    max_unpacked
        Bytes that a tar.gz may grow to.

    Returns
    -------
    Scratch
        Holds the files.

    Raises
    ------
    ProductError
        When the disk has no room, or a file is not there or shorter than its header says.
    ArgumentError
        When `parent` cannot be written.
    """
    scratch = Scratch(parent)
    try:
        _check_disk(root, sum(sizes.values()), scratch)
        _unpack_into(scratch.path, root, dict(sizes), max_unpacked)
    except BaseException:
        scratch.close()
        raise
    return scratch


def _unpack_into(folder: str, root: str, left: dict[str, int], max_unpacked: int) -> None:
    with tar_members(root, max_unpacked) as found:
        for archive, info in found:
            name = members.plain_name(tar_name(info))
            if name in left and info.isreg():
                _unpack_member(archive, info, left.pop(name), Path(folder, name))
            if not left:
                return
    msg = f"an archive must not change while it is read, got {root} without {members.shown(min(left))}; try again"
    raise ProductError(msg)


def _check_disk(root: str, size: int, scratch: Scratch) -> None:
    free = shutil.disk_usage(scratch.path).free
    if size + _SPARE_DISK > free:
        got = f"{free} free in {Path(scratch.path).parent}"
        msg = f"the scratch folder must have room for {size} bytes of {root}, got {got}; pass another one as `scratch`"
        raise ProductError(msg)


def _unpack_member(archive: tarfile.TarFile, info: tarfile.TarInfo, size: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    source, left = archive.extractfile(info), size
    # `x`: nothing that lies there is replaced or followed.
    with path.open("xb") as file:
        while left and source is not None and (chunk := source.read(min(_CHUNK, left))):
            file.write(chunk)
            left -= len(chunk)
    if left or info.size != size:
        got = f"{size - left} of {members.shown(info.name)}"
        raise tarfile.ReadError(f"a member must have {size} bytes, got {got}")
