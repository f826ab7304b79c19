"""Keep what is not in the shared state yet in a file of this machine, for the next writer here.

A line is in its file before anybody is told that it was written, so the death of the process
loses none. The death of the machine may, and each of those records is found again by one HEAD.
Only a help: what cannot be kept here is no error, for it is on its way.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from imgmigrate.files import PRIVATE_FILE, make_folder, write_all, write_atomically
from imgmigrate.state.lines.journal import Scan
from imgmigrate.state.lines.sealing import seal, unseal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from imgmigrate.state.lines.journal import Line

__all__ = ["Left", "Pending", "Spool", "left_over"]

logger = logging.getLogger(__name__)

_PREFIX, _END = "spool-", ".jsonl"


class Pending(Struct, frozen=True):
    """A sealed line on its way, and the entry that it says."""

    sequence: int
    previous: str
    hash: str
    text: bytes
    entry: dict[str, Any]


class Left(Struct, frozen=True):
    """What one writer left over, and the lineage of the state that it wrote."""

    path: Path
    lineage: str | None
    lines: tuple[Line, ...]


class Spool:
    """The file of one writer, which has a `token`; None for a folder keeps nothing."""

    def __init__(self, folder: Path | None, token: str) -> None:
        self.path = folder / f"{_PREFIX}{token}{_END}" if folder else None
        self._descriptor, self._is_empty = -1, True
        self.lineage: str | None = None

    def add(self, line: Pending) -> None:
        """Keep a line behind those that are kept."""
        if self.path is None:
            return
        try:
            if self._descriptor < 0:
                make_folder(self.path.parent)
                self._open()
            write_all(self._descriptor, (self._header() if self._is_empty else b"") + line.text)
            self._is_empty = False
        except OSError as error:
            self._give_up(error)

    def keep(self, lines: Iterable[Pending]) -> None:
        """Keep only these."""
        if self.path is None or self._descriptor < 0:
            return
        texts = [line.text for line in lines]
        try:
            if texts:
                write_atomically(self.path, [self._header(), *texts], durable=False)
                self._open()
            else:
                os.ftruncate(self._descriptor, 0)
            self._is_empty = not texts
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Let go of the file, and take it away if nothing is left in it."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = -1
        if self.path is not None and self._is_empty:
            with suppress(OSError):
                self.path.unlink()

    def _open(self) -> None:
        assert self.path is not None  # noqa: S101 - whoever calls has looked
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self.path, flags, PRIVATE_FILE)

    def _header(self) -> bytes:
        return seal({"lineage": self.lineage})[0]

    def _give_up(self, error: OSError) -> None:
        logger.warning("%s: what is not saved yet is not kept here: %s", self.path, error)
        self._is_empty = False  # what is there is true, and stays for the next writer
        self.close()
        self.path = None


def left_over(folder: Path | None) -> list[Left]:
    """Read what writers on this machine left, the oldest first; what is damaged ends a file."""
    found: list[tuple[float, Left]] = []
    with suppress(OSError):
        for path in folder.glob(f"{_PREFIX}*{_END}") if folder else ():
            with path.open("rb") as file, suppress(ValueError):
                lineage = unseal(file.readline())[0].get("lineage")
                found.append((path.stat().st_mtime, Left(path, lineage, tuple(Scan(file)))))
    return [left for _, left in sorted(found, key=lambda each: each[0])]
