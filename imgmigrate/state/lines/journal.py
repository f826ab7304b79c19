"""Read the journal: one sealed line an event, each carrying the hash of the line before.

Reads and never writes; `appender.py` writes, and only who holds the lock cuts a torn tail.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from msgspec import Struct

from imgmigrate.state.lines.sealing import seal, unseal

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["UNSYNCED_LINES", "Damage", "Line", "Scan", "print_line"]

# Of each line, what is not of its entry.
_SEALED = frozenset({"sequence", "prev", "hash"})
# A writer never has more lines than these under way, so a power cut cannot damage more.
UNSYNCED_LINES = 16


@dataclass(frozen=True, slots=True)
class Line:
    """One verified line; what it says is decoded by who needs it."""

    sequence: int
    previous: str
    hash: str
    document: dict[str, Any]

    @property
    def entry(self) -> dict[str, Any]:
        """What was printed: the document without what seals it."""
        return {key: each for key, each in self.document.items() if key not in _SEALED}


class Damage(Struct, frozen=True):
    """Where a journal stops making sense; `after` counts the lines that follow (17 is more)."""

    line: int
    offset: int
    cause: str
    after: int

    @property
    def is_torn_tail(self) -> bool:
        """Tell what a crash leaves behind from what only a fault or an editor does."""
        return self.after <= UNSYNCED_LINES


class Scan:
    """The verified lines of a journal in order; `damage` and `end` are known when it is through.

    `end` is the offset behind the last good line. What the first line follows is the reader's
    to check: it depends on the snapshot.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.end = 0
        self.damage: Damage | None = None
        self._file = file

    def __iter__(self) -> Iterator[Line]:
        previous: Line | None = None
        for number, raw in enumerate(self._file, 1):
            try:
                line = _verify(raw, previous)
            except ValueError as error:
                after = sum(1 for _ in islice(self._file, UNSYNCED_LINES + 1))
                self.damage = Damage(number, self.end, str(error), after)
                return
            self.end += len(raw)
            yield line
            previous = line


def print_line(sequence: int, previous: str, entry: dict[str, Any]) -> tuple[bytes, str]:
    """Print an encoded entry as the line after `previous`; return it and its hash."""
    return seal({"sequence": sequence, "prev": previous, **entry})


def _verify(raw: bytes, previous: Line | None) -> Line:
    document, digest = unseal(raw)
    sequence, before = document.get("sequence"), document.get("prev")
    if type(sequence) is not int or sequence < 1 or not isinstance(before, str):
        msg = "it has no sequence or no hash of the line before"
        raise ValueError(msg)
    if previous and (sequence != previous.sequence + 1 or before != previous.hash):
        msg = "it does not follow the line before it"
        raise ValueError(msg)
    return Line(sequence, before, digest, document)
