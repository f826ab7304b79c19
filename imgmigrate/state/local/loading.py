"""Read a state's files into a view, without a lock; refuse what is damaged beyond its tail.

Reads only. The journal is opened before the snapshot is read: a compaction in between moves
the journal away, but its lines are all in the snapshot by then, and are skipped.
"""

from __future__ import annotations

import contextlib
import gc
from io import BytesIO
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.remedies import remedy
from imgmigrate.state.entries import decode
from imgmigrate.state.lines.journal import Scan
from imgmigrate.state.lines.sealing import explain
from imgmigrate.state.lines.snapshot import NewerFormat, read_header, read_snapshot
from imgmigrate.state.local.trouble import damaged, damaged_journal, unreadable
from imgmigrate.state.view import View

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from imgmigrate.errors import StateError
    from imgmigrate.state.lines.journal import Damage, Line
    from imgmigrate.state.local.compaction import Places

__all__ = ["Loaded", "fingerprint", "history", "load"]


class Loaded(Struct, frozen=True):
    """A view, and how the journal lay on disk.

    `end` is the offset behind its last good line and `last` that line's sequence (0: none).
    `is_covered`: the journal has lines, and the snapshot holds them all.
    """

    view: View
    end: int = 0
    last: int = 0
    is_covered: bool = False
    damage: Damage | None = None


def load(places: Places) -> Loaded:
    """Read the state; StateError says what is damaged, or why it cannot be read."""
    try:
        journal: BinaryIO = places.journal.open("rb")
    except FileNotFoundError:
        journal = BytesIO()
    except OSError as error:
        raise unreadable(places.journal, error) from None
    with journal, _collector_paused():
        return _replay(places, _snapshot(places), journal)


def fingerprint(places: Places) -> tuple[tuple[int, int, int] | None, ...]:
    """Tell versions of the files apart, to know whether a second look is worth it."""
    return tuple(_stamp(path) for path in (places.snapshot, places.journal))


def history(places: Places) -> Iterator[tuple[int, str]]:
    """Every (sequence, hash) that this state is known to have had, the newest files first.

    Files that cannot be read are left out: `load` is who complains.
    """
    for path in (places.snapshot, *reversed(places.backup("snapshot"))):
        with contextlib.suppress(OSError, ValueError), path.open("rb") as file:
            header = read_header(file)
            yield header.sequence, header.head
            for run in header.runs:
                yield run.sequence, run.head
                if run.end_sequence is not None and run.end_head is not None:
                    yield run.end_sequence, run.end_head
    for path in (places.journal, *reversed(places.backup("journal"))):
        with contextlib.suppress(OSError), path.open("rb") as file:
            for line in Scan(file):
                yield line.sequence, line.hash


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    # It would walk 100,000 new records again and again, which doubles the time, and find nothing.
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _snapshot(places: Places) -> View | None:
    path = places.snapshot
    try:
        with path.open("rb") as file:
            return read_snapshot(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from None
    except NewerFormat as error:
        raise damaged(path, str(error), "use the imgmigrate that wrote it") from None
    except ValueError as error:
        raise damaged(path, f"damaged: {explain(error)}", _restore(places)) from None


def _nothing(places: Places) -> View:
    """Begin with nothing, unless the backups tell that there was something."""
    if places.backup("snapshot") or places.backup("journal"):
        raise damaged(places.snapshot, "it is missing", _restore(places))
    return View()


def _replay(places: Places, snapshot: View | None, journal: BinaryIO) -> Loaded:
    view = snapshot or View()
    start, start_head, last = view.sequence, view.head, 0
    scan = Scan(journal)
    for number, line in enumerate(scan, 1):
        last = line.sequence
        if line.sequence > start:
            _apply(places, view, number, line)
        elif line.sequence == start and line.hash != start_head:
            raise _mismatch(places, number)
    if scan.damage and not scan.damage.is_torn_tail:
        raise damaged_journal(places.journal, scan.damage)
    if snapshot is None and not last:
        view = _nothing(places)
    return Loaded(view, scan.end, last, 0 < last <= start, scan.damage)


def _apply(places: Places, view: View, number: int, line: Line) -> None:
    if line.sequence != view.sequence + 1 or line.previous != view.head:
        raise _mismatch(places, number)
    try:
        view.apply(line.sequence, line.hash, decode(line.document))
    except ValueError as error:
        cause = f"line {number} cannot be understood: {explain(error)}"
        raise damaged(places.journal, cause, "use the imgmigrate that wrote it") from None


def _mismatch(places: Places, number: int) -> StateError:
    if not places.snapshot.exists():
        return damaged(places.snapshot, "it is missing, the journal goes on", _restore(places))
    return damaged(
        places.journal, f"line {number} does not continue the snapshot", _restore(places)
    )


def _restore(places: Places) -> str:
    snapshots, journals = places.backup("snapshot"), places.backup("journal")
    if snapshots:
        newest = f"the newest backup is {snapshots[-1]}"
    elif journals:
        newest = f"what it was made of is {journals[-1]}"
    else:
        return "there is no backup of it; restore the folder from your own"
    return f"{newest}; {remedy('state', 'repair', dry_run=True)} shows what it gives back"


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
