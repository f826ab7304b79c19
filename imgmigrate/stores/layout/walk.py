"""Find the layouts below a folder, whose names and contents come from others.

No link is followed, so there is no way round in circles and none out of the folder; depth and
number are bounded by what the glob can match and by `MOST_FOLDERS`. Blocking.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec import Struct, field

from imgmigrate.errors import ProtocolError
from imgmigrate.oci.reference import LAYOUTS, Repository, is_layout_path

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.matching import Pattern

__all__ = ["Walk"]

# More than any disk of images has; some 20 seconds to read.
MOST_FOLDERS = 500_000


class Walk(Struct):
    """Walks from a folder; `found` and `skipped` are paths relative to `base`, or absolute.

    `found` has every layout that the `pattern` matches, and every folder that it matches and
    that cannot be read: it may be one, and whoever reads it is told why it cannot be. `skipped`
    has those whose names cannot be addressed, and links to folders, which it calls so.
    """

    base: Path | None
    pattern: Pattern
    name: str
    found: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    _waiting: list[tuple[str, int]] = field(default_factory=list)
    _folders: int = 0

    def below(self, root: Path, deepest: int | None) -> None:
        """Look at `root` and at most `deepest` levels below it, at all if that is None.

        OSError for a folder that cannot be read if the pattern might match what is in it alone.
        """
        self._waiting.append((str(root), 0))
        while self._waiting:
            folder, depth = self._waiting.pop()
            self._folders += 1
            if self._folders > MOST_FOLDERS:
                cause = f"there are more than {MOST_FOLDERS} folders below {root}"
                raise ProtocolError(self.name, cause, hint="name a narrower glob")
            try:
                self._look(folder, depth, is_last=depth == deepest)
            except OSError:
                # A list without it is not whole.
                if not self._add(folder):
                    raise

    def _look(self, folder: str, depth: int, *, is_last: bool) -> None:
        """Tell what a folder is, and line up what is in it."""
        names, folders, links = set(), [], []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name in ("oci-layout", "index.json", "blobs"):
                    names.add(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif not is_last and entry.is_symlink() and _leads_to_folder(entry):
                    links.append(entry.path)
        # Without its first file it is a damaged one: to be told, not to be left out.
        is_layout = "oci-layout" in names or {"index.json", "blobs"} <= names
        if is_layout:
            self._add(folder)
        for link in links:
            self._skip(link, " (a link)")
        if not is_last:
            self._waiting += [
                (os.path.join(folder, name), depth + 1)
                for name in folders
                if not (is_layout and name == "blobs")
            ]

    def _add(self, folder: str) -> bool:
        """Take a folder if the pattern does; tell whether that settles it."""
        path = self._relative(folder)
        if not is_layout_path(path):
            self._skip(folder)
            return True
        if not self._matches(path):
            return False
        self.found.append(path)
        return True

    def _skip(self, folder: str, remark: str = "") -> None:
        path = os.fsencode(self._relative(folder)).decode(errors="backslashreplace")
        if self._matches(path):
            self.skipped.append(path + remark)

    def _matches(self, path: str) -> bool:
        return self.pattern.matches_reference(Repository(LAYOUTS, path).at("x"))

    def _relative(self, folder: str) -> str:
        path = folder if self.base is None else os.path.relpath(folder, self.base)
        return path.replace(os.sep, "/")


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # in a circle, or into what cannot be read
