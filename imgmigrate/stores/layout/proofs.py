"""Which blob files were hashed and found right, and how they looked then.

A file with the file system, inode, size and time of then is not read again; any other is, once.
So a layout that is copied, restored or swapped for another is hashed once, and one that comes
back is known again. The list stands in this machine's cache, where its user alone can write, and
not in the layout: layouts come from others, and nothing that a layout says of itself is believed.
Losing it costs reads.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, NamedTuple

from imgmigrate.files import make_folder, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.oci.reference import Digest

__all__ = ["Proofs", "Stamp"]

logger = logging.getLogger(__name__)

# Some 140 bytes each: the newest half is kept of more.
MOST_LINES = 200_000


class Stamp(NamedTuple):
    """How a file looks from outside: what a rewritten, copied or restored one has otherwise.

    `system` is the file system's own id, which unlike a device's number outlives its mount.
    """

    system: int
    inode: int
    size: int
    time: int  # of the last change of its bytes, in nanoseconds

    @classmethod
    def of(cls, file: int) -> Stamp:
        """Look at an open file."""
        found = os.fstat(file)
        system = os.fstatvfs(file).f_fsid
        return cls(system, found.st_ino, found.st_size, found.st_mtime_ns)


class Proofs:
    """The list, in memory and in a file; without a `path` only this process knows it.

    Every method blocks, and any thread may call it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: set[str] | None = None
        self._fresh: list[str] = []

    def has(self, digest: Digest, stamp: Stamp) -> bool:
        """Tell whether a file that looks so was seen to have this digest."""
        with self._lock:
            return _line(digest, stamp) in self._all()

    def add(self, digest: Digest, stamp: Stamp) -> None:
        """Note a file whose bytes were hashed, and are durable."""
        line = _line(digest, stamp)
        with self._lock:
            known = self._all()
            if line not in known:
                known.add(line)
                self._fresh.append(line)

    def save(self) -> None:
        """Add what is new to the file."""
        with self._lock:
            fresh, self._fresh = self._fresh, []
            if not fresh or self._path is None:
                return
            try:
                make_folder(self._path.parent)
                # One write: another process that appends does not come in between.
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                with os.fdopen(os.open(self._path, flags, 0o600), "ab", buffering=0) as file:
                    file.write("".join(fresh).encode())
            except OSError as error:
                logger.debug("%s is not kept: %s", self._path, error)

    def _all(self) -> set[str]:
        if self._known is None:
            self._known = self._read()
        return self._known

    def _read(self) -> set[str]:
        """Read the file; a line that makes no sense is one that no file looks like."""
        if self._path is None:
            return set()
        try:
            lines = self._path.read_text("utf-8").splitlines(keepends=True)
        except (OSError, ValueError):
            return set()
        if len(lines) > MOST_LINES:
            lines = lines[-MOST_LINES // 2 :]
            try:
                write_atomically(self._path, "".join(lines).encode(), durable=False)
            except OSError as error:
                logger.debug("%s is not cut: %s", self._path, error)
        return set(lines)


def _line(digest: Digest, stamp: Stamp) -> str:
    # A killed process may leave a line that is cut within a number: it lacks its end.
    return f"{digest} {stamp.system} {stamp.inode} {stamp.size} {stamp.time}\n"
