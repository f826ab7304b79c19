"""A folder of this process's own, which goes with it; what killed processes left goes as well.

Whoever lives holds the lock in their folder, also in another container that has the same disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

__all__ = ["Temporary"]

_PREFIX = "imgmigrate-git-"
_LOCK = "held"
# Seconds that a new folder may be without its lock.
_YOUNG = 60.0


class Temporary:
    """A private folder at `path` until `drop`; OSError if there can be none."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._lock = os.open(self.path / _LOCK, flags, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def drop(self) -> None:
        """Delete it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def drop_abandoned(self) -> None:
        """Delete those beside it that are ours and nobody's any more."""
        for folder in self.path.parent.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                found = folder.lstat()
                if found.st_uid == os.geteuid() and time.time() - found.st_mtime > _YOUNG:
                    _drop_unheld(folder)


def _drop_unheld(folder: Path) -> None:
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
