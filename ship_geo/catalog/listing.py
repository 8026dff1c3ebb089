"""The files below a folder, by folder; not more than their names.

Links to folders are not followed, hidden files and folders are left out, and what cannot be listed is told instead of
passed over.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ship_geo.products.members import is_hidden


@dataclass(frozen=True)
class Listing:
    """What lies below a folder.

    Attributes
    ----------
    root
        The folder.
    folders
        Names of the files of each folder, sorted, by its path.
    dangling
        Paths of links to files that are not there.
    unreadable
        Folders that could not be listed, and why.
    """

    root: str
    folders: dict[str, list[str]] = field(default_factory=dict)
    dangling: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    def files_below(self, folder: str) -> set[str]:
        """Return the paths of all files in a folder and its subfolders."""
        inside = [one for one in self.folders if one == folder or one.startswith(f"{folder.rstrip(os.sep)}{os.sep}")]
        return {os.path.join(one, name) for one in inside for name in self.folders[one]}  # noqa: PTH118 (many)


def list_files(root: str) -> Listing:
    """List a folder with all its subfolders."""
    listing = Listing(root)
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                waiting += _sort_in(folder, [entry for entry in entries if not is_hidden(entry.name)], listing)
        except OSError as error:
            listing.unreadable[folder] = error.strerror or str(error)
    return listing


def _sort_in(folder: str, entries: list[os.DirEntry[str]], listing: Listing) -> list[str]:
    """Keep the files of a folder; return its subfolders, the last one first."""
    folders, names = [], []
    for entry in sorted(entries, key=lambda one: one.name, reverse=True):
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.path)
        elif os.path.isfile(entry.path):  # noqa: PTH113 (of every file; unlike the entry, it bears links to themselves)
            names.append(entry.name)
        elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
            listing.dangling.append(entry.path)
    listing.folders[folder] = names[::-1]
    return folders
