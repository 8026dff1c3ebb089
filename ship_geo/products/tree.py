"""The files of a delivery, alike for folders and archives: names below a root, small reads, and paths for GDAL.

Not a file system: a tree is listed once when it is opened, and only what was listed can be reached. Conventions that
could surprise: hidden files and what lies deeper than 4 folders are left out; a link to a file is listed, but its
target must lie below the root unless the caller follows links; a link to a folder is entered only then.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

from ship_geo.errors import ProductError
from ship_geo.products import members
from ship_geo.products.archives import DEFAULT_MAX_UNPACKED, archive_kind, open_archive

if TYPE_CHECKING:
    from ship_geo.products.archives import Scratch

_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")


class Tree(Protocol):
    """Files below a folder or in an archive.

    Attributes
    ----------
    root
        Folder or archive, for messages.
    names
        Relative POSIX names of the files, sorted, at most 4 folders deep, without hidden ones.
    notes
        What was left out of the names, as sentences.
    scratch
        Folder of unpacked files, which must be held as long as their paths are used; None without one.
    """

    @property
    def root(self) -> str: ...  # noqa: D102

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def notes(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def scratch(self) -> Scratch | None: ...  # noqa: D102

    def read(self, name: str) -> bytes:
        """Read a metadata file; an empty one is ``b""``.

        Raises
        ------
        ProductError
            When it has more than 32 MiB, cannot be read, or is a link that leaves the root.
        """

    def path(self, name: str) -> str:
        """Where GDAL opens a file: a local path, ``/vsizip/...`` or ``/vsitar/...``.

        Raises
        ------
        ProductError
            When there is no such file, or it is a link that leaves the root.
        """

    def size(self, name: str) -> int:
        """Bytes of a file."""

    def resolve(self, base: str, relative: str) -> str | None:
        """Look up an untrusted name found in the metadata file `base`, relative to its folder and ignoring case.

        Returns
        -------
        str or None
            The name in the tree; None when there is no such file.

        Raises
        ------
        ProductError
            When `relative` is absolute or leaves the root.
        """

    def close(self) -> None:
        """Remove the scratch folder, if any; paths into it are no longer valid."""


@dataclass(frozen=True)
class FolderTree:
    """The files of a folder; see `Tree` for what the methods promise.

    Attributes
    ----------
    root
        The folder, absolute; it may be a link.
    names
        Its files.
    notes
        What was left out of the names.
    follow_links
        Whether links may leave the root.
    scratch
        Always None.
    """

    root: str
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    follow_links: bool = False
    scratch: Scratch | None = None

    def path(self, name: str) -> str:
        """Where GDAL opens a file."""
        if name not in self.names:
            msg = f"a file must be in the delivery, got {members.shown(name)}, which is not in {self.root}"
            raise ProductError(f"{msg}; list the folder")
        path = str(Path(self.root, name))
        root = os.path.realpath(self.root)
        target = os.path.realpath(path)
        if not self.follow_links and os.path.commonpath([root, target]) != root:
            got = f"{members.shown(name)} to {members.shown(target)} in {self.root}"
            msg = f"links must stay inside the delivery, got {got}; pass `follow_links=True` if you trust it"
            raise ProductError(msg)
        return path

    def size(self, name: str) -> int:
        """Bytes of a file."""
        try:
            return Path(self.path(name)).stat().st_size
        except OSError as error:
            _refuse_reading(str(Path(self.root, name)), error)

    def read(self, name: str) -> bytes:
        """Read a metadata file of at most 32 MiB."""
        path = self.path(name)
        try:
            with Path(path).open("rb") as file:
                raw = file.read(members.MAX_BYTES + 1)
        except OSError as error:
            _refuse_reading(path, error)
        if len(raw) > members.MAX_BYTES:
            msg = f"a metadata file must have at most {members.MAX_BYTES // 2**20} MiB, got more in {path}"
            raise ProductError(f"{msg}; fetch the delivery again")
        return raw

    def resolve(self, base: str, relative: str) -> str | None:
        """Look up a name found in the metadata file `base`."""
        return members.resolve(self.names, base, relative)

    def close(self) -> None:
        """Do nothing: a folder is left as it is."""


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an archive that `open_tree` takes, by its suffix or its content; False where there is none."""
    if not Path(path).is_file():
        return False
    if Path(path).name.lower().endswith(_SUFFIXES):
        return True
    try:
        return archive_kind(path) is not None
    except OSError:
        return False


def open_tree(
    path: str | os.PathLike[str],
    *,
    follow_links: bool = False,
    scratch: str | os.PathLike[str] | None = None,
    max_unpacked: int = DEFAULT_MAX_UNPACKED,
) -> Tree:
    """List a folder, or a zip, tar or tar.gz.

    Parameters
    ----------
    path
        Folder or archive; the kind of an archive is told by its content.
    follow_links
        Whether links in a folder may leave it, and links to folders are entered.
    scratch
        Folder in which to unpack what cannot be read in place; None: the usual one for temporary files.
    max_unpacked
        Bytes that an archive may have when unpacked.

    Returns
    -------
    Tree
        Its files.

    Raises
    ------
    ProductError
        When there is no such folder or archive, it cannot be read, is damaged, unsafe or too large.
    ArgumentError
        When `scratch` cannot be written.
    """
    place = Path(path).absolute()
    root = str(place)
    if place.is_dir():
        names, notes = _list_folder(root, follow_links)
        return FolderTree(root, names, notes, follow_links)
    if not place.exists():
        msg = f"a delivery must exist, got {members.shown(root)}; check the path"
        raise ProductError(msg)
    if not place.is_file():
        msg = f"a delivery must be a folder or an archive, got the special file {members.shown(root)}; pass a folder"
        raise ProductError(msg)
    return open_archive(root, scratch=scratch, max_unpacked=max_unpacked)


@dataclass
class _Found:
    """What the walk through a folder collects."""

    names: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folders: deque[str] = field(default_factory=deque)
    links: deque[str] = field(default_factory=deque)
    count: int = 0


def _list_folder(root: str, follow_links: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = _Found(folders=deque([""]))
    entered: set[tuple[int, int]] = set()
    while found.folders or (found.links and follow_links):
        # Real folders first, so that a link never takes the name from what it points to.
        folder = found.folders.popleft() if found.folders else found.links.popleft()
        try:
            status = Path(root, folder).stat()
            if (status.st_dev, status.st_ino) not in entered:  # a link back is not entered twice
                entered.add((status.st_dev, status.st_ino))
                _scan(root, folder, found)
        except OSError as error:
            _refuse_reading(str(Path(root, folder)), error)
    if found.links:
        found.notes.append(f"{len(found.links)} links to folders are not followed, among them {min(found.links)}")
    return tuple(sorted(found.names)), tuple(found.notes)


def _scan(root: str, folder: str, found: _Found) -> None:
    with os.scandir(Path(root, folder)) as entries:
        for entry in entries:
            found.count += 1
            if found.count > members.MAX_NAMES:
                msg = f"a delivery must have at most {members.MAX_NAMES} files, got more in {root}"
                raise ProductError(f"{msg}; pass the folder of one delivery")
            name = f"{folder}/{entry.name}" if folder else entry.name
            if members.is_hidden(entry.name):
                continue
            if not members.is_text(entry.name):
                found.notes.append(f"a file is left out, its name is no text: {members.shown(name)}")
            elif _is_looped(entry):
                found.notes.append(f"a link that leads to itself is left out: {members.shown(name)}")
            elif entry.is_file():
                found.names.append(name)
            elif entry.is_dir():
                _add_folder(name, found, entry.is_symlink())


def _is_looped(entry: os.DirEntry[str]) -> bool:
    if not entry.is_symlink():
        return False
    try:
        entry.is_file()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _add_folder(name: str, found: _Found, is_link: bool) -> None:
    if members.is_deep(f"{name}/"):
        found.notes.append(f"folders deeper than {members.MAX_DEPTH} are left out: {members.shown(name)}")
    else:
        (found.links if is_link else found.folders).append(name)


def _refuse_reading(path: str, error: OSError) -> NoReturn:
    msg = f"a delivery must be readable, got {members.shown(path)} ({error.strerror}); check its permissions"
    raise ProductError(msg) from error
