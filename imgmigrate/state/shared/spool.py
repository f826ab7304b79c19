"""Keep on this machine's disk the lines that a shared state does not have yet.

They are written as they come, so that neither the death of the process nor a backend that stays
away loses one; what is at its place leaves the file. It is private, as the state may be.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from imgmigrate.files import PRIVATE_FILE, make_folder, write_all, write_atomically
from imgmigrate.state.lines.journal import Scan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgmigrate.state.lines.journal import Line

__all__ = ["Spool", "read_spool", "set_aside"]


class Spool:
    """The file at `path`; None keeps nothing. One process at a time has it: who holds the state."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._descriptor = -1

    def append(self, line: bytes) -> None:
        """Write one more line; OSError if that fails."""
        if self.path is None:
            return
        if self._descriptor < 0:
            make_folder(self.path.parent)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self.path, flags, PRIVATE_FILE)
        write_all(self._descriptor, line)

    def keep(self, lines: Sequence[bytes]) -> None:
        """Let go of all but these; what cannot be written stays as it was, and does no harm."""
        self.close()
        if self.path is None:
            return
        with contextlib.suppress(OSError):
            if lines:
                write_atomically(self.path, b"".join(lines))
            else:
                self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def set_aside(path: Path | None) -> Path | None:
    """Give the file another name, which nobody reads by themselves; None if that fails."""
    if path is None:
        return None
    with contextlib.suppress(OSError):
        return path.rename(path.with_suffix(f".{time.time_ns()}.other"))
    return None


def read_spool(path: Path | None) -> list[Line]:
    """Read the lines that were left behind, up to one that is torn; none where there is no file.

    OSError if there is one that cannot be read.
    """
    if path is None:
        return []
    try:
        with path.open("rb") as file:
            return list(Scan(file))
    except FileNotFoundError:
        return []
