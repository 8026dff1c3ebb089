"""Deliveries in archives: zip and tar are read in place, tar.gz is unpacked into a scratch folder.

Every member is judged by its name and kind before a byte is written: an archive with one unsafe member is refused as a
whole. Links that stay inside are not followed, they are left out of the names with a note. Nothing here knows product
families. The convention that could surprise: of a tar.gz only images and metadata are unpacked, though `names` lists
everything; and a tar whose names GDAL cannot see in place (PAX headers) is unpacked, too.
"""

from __future__ import annotations

import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NoReturn

from ship_geo.errors import ArgumentError, ProductError
from ship_geo.products import members
from ship_geo.products.unpacking import Scratch, tar_members, tar_name, unpack

__all__ = ["DEFAULT_MAX_UNPACKED", "ArchiveTree", "Scratch", "archive_kind", "is_needed", "open_archive"]

DEFAULT_MAX_UNPACKED = 64 * 2**30

_NEEDED = frozenset(
    {".tif", ".tiff", ".jp2", ".j2k", ".ntf", ".nitf", ".xml", ".rpb", ".imd", ".til", ".txt", ".rpc", ".tfw", ".prj"}
)
_MAX_LINK = 4096
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP_MAGIC = b"\x1f\x8b"
_TAR_BLOCK = 512
_READABLE = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, ValueError, NotImplementedError, OSError)


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Attributes
    ----------
    name
        Relative POSIX name.
    raw
        Name as the archive's library knows it.
    size
        Bytes that the archive declares.
    offset
        Where they begin in an uncompressed tar, else -1.
    """

    name: str
    raw: str
    size: int
    offset: int = -1


@dataclass(frozen=True)
class ArchiveTree:
    """The files of a zip or tar; see `ship_geo.products.tree.Tree` for what the methods promise.

    Attributes
    ----------
    root
        Path of the archive.
    kind
        ``"zip"``, ``"tar"`` or ``"tar.gz"``.
    table
        Files by name.
    notes
        What was left out of the names.
    scratch
        Holds the unpacked files; None where the archive is read in place.
    """

    root: str
    kind: str
    table: dict[str, Member]
    notes: tuple[str, ...] = ()
    scratch: Scratch | None = None
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """List the names."""
        object.__setattr__(self, "names", tuple(sorted(self.table)))

    def _member(self, name: str) -> Member:
        if name not in self.table:
            msg = f"a file must be in the archive, got {members.shown(name)}, which is not in {self.root}"
            raise ProductError(f"{msg}; list its content")
        return self.table[name]

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return self._member(name).size

    def path(self, name: str) -> str:
        """Where GDAL opens a file."""
        member = self._member(name)
        if self.scratch is not None:
            if not is_needed(name):
                msg = f"only images and metadata are unpacked, got {members.shown(name)} of {self.root}"
                raise ProductError(f"{msg}; unpack the archive and pass the folder")
            return str(Path(self.scratch.path, name))
        handler = "vsizip" if self.kind == "zip" else "vsitar"
        # In braces the archive may have any suffix, but GDAL counts the braces of the path, too.
        archive = f"{{{self.root}}}" if self.root.count("{") == self.root.count("}") else self.root
        return f"/{handler}/{archive}/{member.name}"

    def read(self, name: str) -> bytes:
        """Read a metadata file of at most 32 MiB."""
        member = self._member(name)
        if member.size > members.MAX_BYTES:
            _refuse_metadata(name, self.root)
        with _reading(self.root):
            if self.scratch is not None:
                raw = self._head(self.path(name), 0, members.MAX_BYTES + 1)
            elif self.kind == "zip":
                with zipfile.ZipFile(self.root) as archive, archive.open(member.raw) as file:
                    raw = file.read(members.MAX_BYTES + 1)
            else:
                raw = self._head(self.root, member.offset, member.size)
        if len(raw) != member.size:
            _refuse(self.root, f"the file {members.shown(name)} must have {member.size} bytes", f"{len(raw)}")
        return raw

    @staticmethod
    def _head(path: str, offset: int, size: int) -> bytes:
        with Path(path).open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def resolve(self, base: str, relative: str) -> str | None:
        """Look up a name found in the metadata file `base`."""
        return members.resolve(self.names, base, relative)

    def close(self) -> None:
        """Remove the scratch folder, if any."""
        if self.scratch is not None:
            self.scratch.close()


def is_needed(name: str) -> bool:
    """Whether a file is an image or metadata, by its suffix: what is unpacked of a tar.gz."""
    return PurePosixPath(name).suffix.lower() in _NEEDED


def archive_kind(path: str | os.PathLike[str]) -> str | None:
    """Say by its content what archive a file is: ``"zip"``, ``"tar"``, ``"tar.gz"``, or None.

    A gzip file counts as ``"tar.gz"``; what it holds is found when it is opened.
    """
    with Path(path).open("rb") as file:
        head = file.read(_TAR_BLOCK)
    if head.startswith(_ZIP_MAGIC):
        return "zip"
    if head.startswith(_GZIP_MAGIC):
        return "tar.gz"
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return None
    return "tar"


def open_archive(
    path: str | os.PathLike[str],
    *,
    scratch: str | os.PathLike[str] | None = None,
    max_unpacked: int = DEFAULT_MAX_UNPACKED,
) -> ArchiveTree:
    """Open a zip, tar or tar.gz as a tree of files.

    Parameters
    ----------
    path
        The archive; its kind is told by its content, whatever its suffix.
    scratch
        Folder in which to unpack what cannot be read in place; None: the usual one for temporary files.
    max_unpacked
        Bytes that the archive may have when unpacked.

    Returns
    -------
    ArchiveTree
        Its files.

    Raises
    ------
    ProductError
        When it is empty, truncated, damaged or encrypted, has an unsafe or repeated member, or is larger than allowed
        or than the disk.
    ArgumentError
        When `scratch` cannot be written.
    """
    root = str(Path(path).absolute())
    with _reading(root):
        if Path(root).stat().st_size == 0:
            _refuse(root, "an archive must have files", "no byte, the file is empty")
        kind = archive_kind(root)
        if kind is None:
            _refuse(root, "an archive must be a zip, tar or tar.gz", "another kind of file or a damaged one")
        if kind == "zip":
            return _open_zip(root, max_unpacked)
        return _open_tar(root, kind, scratch, max_unpacked)


@contextmanager
def _reading(root: str) -> Iterator[None]:
    """Turn what the archive libraries raise into one error that names the archive."""
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, ArgumentError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else f"{error}"
        msg = f"an archive must be whole and readable, got {root} ({reason or type(error).__name__})"
        raise ProductError(f"{msg}; fetch it again") from error


def _refuse(root: str, rule: str, got: str, remedy: str = "fetch it again") -> NoReturn:
    msg = f"{rule}, got {got} in {root}; {remedy}"
    raise ProductError(msg)


def _refuse_metadata(name: str, root: str) -> NoReturn:
    limit = members.MAX_BYTES // 2**20
    _refuse(root, f"a metadata file must have at most {limit} MiB", f"more in {members.shown(name)}")


class _Listing:
    """Collects the members of one archive and refuses what must not be there."""

    def __init__(self, root: str, max_unpacked: int) -> None:
        self.root = root
        self.limit = max_unpacked
        self.table: dict[str, Member] = {}
        self._seen: set[str] = set()
        self._count = 0
        self._total = 0
        self._links = 0
        self._deep = 0
        self._unnamed = 0

    def name(self, raw: str) -> str:
        """Check a raw name, count it, and return the plain one; empty for the root itself."""
        name = members.plain_name(raw)
        if name is None:
            got = f"the member {members.shown(raw)}"
            _refuse(self.root, "members must have relative names without '..'", got, "do not use this archive")
        self._count += 1
        if self._count > members.MAX_NAMES:
            _refuse(self.root, f"an archive must have at most {members.MAX_NAMES} members", "more", "split it")
        return name

    def add(self, member: Member) -> None:
        """Add a file."""
        self._claim(member.name)
        self._total += member.size
        if member.size < 0 or self._total > self.limit:
            got = f"{self._total} up to {members.shown(member.name)}"
            rule = f"an archive must have at most {self.limit} bytes unpacked"
            _refuse(self.root, rule, got, "raise `max_unpacked` if you trust it")
        if members.is_hidden(member.name):
            return
        if members.is_deep(member.name):
            self._deep += 1
        elif not members.is_text(member.name):
            self._unnamed += 1
        else:
            self.table[member.name] = member

    def link(self, name: str, target: str, folder: str | None = None) -> None:
        """Check a link, whose target counts from its own folder unless told; it is not followed."""
        self._claim(name)
        if not members.stays_inside(posixpath.dirname(name) if folder is None else folder, target):
            got = f"{members.shown(name)} to {members.shown(target[:200])}"
            _refuse(self.root, "links must stay inside the archive", got, "do not use this archive")
        self._links += 1

    def _claim(self, name: str) -> None:
        if name in self._seen:
            got = f"{members.shown(name)} twice"
            _refuse(self.root, "a member must occur once", got, "unpack it and pass the folder")
        self._seen.add(name)

    def special(self, name: str) -> NoReturn:
        """Refuse a device, a pipe or a socket."""
        got = f"the special file {members.shown(name)}"
        _refuse(self.root, "members must be files, folders or links", got, "do not use this archive")

    def notes(self) -> tuple[str, ...]:
        """Say what was left out."""
        notes = []
        if self._links:
            notes.append(f"{self._links} links in the archive are not followed")
        if self._deep:
            notes.append(f"{self._deep} files deeper than {members.MAX_DEPTH} folders are left out")
        if self._unnamed:
            notes.append(f"{self._unnamed} files are left out, their names are no text")
        return tuple(notes)


def _open_zip(root: str, max_unpacked: int) -> ArchiveTree:
    listing = _Listing(root, max_unpacked)
    with zipfile.ZipFile(root) as archive:
        for info in archive.infolist():
            _list_zip_member(archive, info, listing)
    return ArchiveTree(root, "zip", listing.table, listing.notes())


def _list_zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, listing: _Listing) -> None:
    # zipfile cuts a name at NUL, GDAL need not.
    name = listing.name(info.filename if "\0" not in info.orig_filename else info.orig_filename)
    if info.is_dir() or not name:
        return
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
        listing.special(name)
    if info.flag_bits & 0x1:
        got = f"the encrypted member {members.shown(name)}"
        _refuse(listing.root, "an archive must not be encrypted", got, "unpack it with its password, pass the folder")
    if kind == stat.S_IFLNK:
        with archive.open(info) as file:
            listing.link(name, file.read(_MAX_LINK + 1).decode("utf-8", "surrogateescape"))
        return
    if info.compress_type not in _READABLE and is_needed(name):
        got = f"method {info.compress_type} for {members.shown(name)}"
        _refuse(listing.root, "members of a zip must be stored or deflated", got, "unpack it and pass the folder")
    listing.add(Member(name, info.filename, info.file_size))


def _open_tar(root: str, kind: str, scratch: str | os.PathLike[str] | None, max_unpacked: int) -> ArchiveTree:
    listing = _Listing(root, max_unpacked)
    in_place = kind == "tar"
    with tar_members(root, max_unpacked) as found:
        for _, info in found:
            _list_tar_member(info, listing)
            # GDAL reads neither names nor sizes from PAX headers, and knows names in UTF-8 only.
            in_place = in_place and members.is_text(info.name) and not info.pax_headers.keys() & {"path", "size"}
    folder = None
    if not in_place:
        sizes = {name: member.size for name, member in listing.table.items() if is_needed(name)}
        folder = unpack(root, sizes, parent=scratch, max_unpacked=max_unpacked)
    return ArchiveTree(root, kind, listing.table, listing.notes(), folder)


def _list_tar_member(info: tarfile.TarInfo, listing: _Listing) -> None:
    name = listing.name(tar_name(info))
    if not name or info.isdir():
        return
    if info.issym():
        listing.link(name, info.linkname)
    elif info.islnk():
        listing.link(name, info.linkname, folder="")  # hard links count from the root
    elif not info.isreg():
        listing.special(name)
    elif info.issparse():
        got = f"the sparse member {members.shown(name)}"
        _refuse(listing.root, "members must be plain files", got, "unpack it and pass the folder")
    else:
        listing.add(Member(name, info.name, info.size, info.offset_data))
