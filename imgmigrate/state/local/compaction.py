"""Turn the journal into a snapshot, in steps of which each leaves a state that reads the same.

Blocking; done by the holder of the lock alone. A reader opens the journal before it reads the
snapshot, so it never misses a line: those that the snapshot holds already are skipped.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from imgmigrate.files import copy_or_link, make_folder, sync_folder, write_atomically
from imgmigrate.state.lines.snapshot import print_snapshot, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imgmigrate.state.view import View

__all__ = ["Places", "compact", "retire_journal", "save_torn"]

# Snapshots, journals and torn tails, each.
KEPT_BACKUPS = 10
_BACKUP = re.compile(r"(?:(\d+)\.(snapshot|journal)\.jsonl|(torn)-(\d+)(?:\.\d+)?)")


class Places:
    """Where the files of a state are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.snapshot = folder / "snapshot.jsonl"
        self.journal = folder / "journal.jsonl"
        self.backups = folder / "backups"

    def backup(self, kind: str) -> list[Path]:
        """The backups of a kind (`snapshot`, `journal`, `torn`), the oldest first."""
        found: list[tuple[int, str, Path]] = []
        with contextlib.suppress(FileNotFoundError):
            for path in self.backups.iterdir():
                match = _BACKUP.fullmatch(path.name)
                if match and (match[2] or match[3]) == kind:
                    found.append((int(match[1] or match[4]), path.name, path))
        return [path for *_, path in sorted(found)]


def compact(places: Places, view: View) -> Iterator[str]:
    """Carry out the steps, yielding after each; every line of the journal is durable before.

    OSError leaves what the steps before it made.
    """
    make_folder(places.backups)
    yield "folder"
    # First, or what the backups could give back would have a gap where this one was.
    if _keep_snapshot(places):
        yield "old snapshot kept"
    # From here on the journal's lines are in both; readers skip those that the snapshot has.
    write_atomically(places.snapshot, print_snapshot(view))
    yield "new snapshot"
    # Last: until the new snapshot is durable, the journal alone has these lines.
    retire_journal(places, view.sequence)
    yield "journal retired"
    for kind in ("snapshot", "journal", "torn"):
        for path in places.backup(kind)[:-KEPT_BACKUPS]:
            path.unlink(missing_ok=True)
    yield "old backups removed"


def retire_journal(places: Places, sequence: int) -> None:
    """Move a journal whose lines are all in the snapshot to the backups."""
    make_folder(places.backups)
    with contextlib.suppress(FileNotFoundError):
        places.journal.rename(places.backups / f"{sequence}.journal.jsonl")
    # The new name first: a power cut may leave both names, never neither.
    sync_folder(places.backups)
    sync_folder(places.folder)


def save_torn(places: Places, sequence: int, tail: bytes) -> Path:
    """Keep a torn tail, before it is cut, under the number that its first line had."""
    make_folder(places.backups)
    path, copies = places.backups / f"torn-{sequence}", 0
    while path.exists():
        copies += 1
        path = places.backups / f"torn-{sequence}.{copies}"
    write_atomically(path, tail)
    return path


def _keep_snapshot(places: Places) -> bool:
    """Give the present snapshot a second name that outlives its replacement."""
    try:
        with places.snapshot.open("rb") as file:
            sequence = read_header(file).sequence
    except FileNotFoundError:
        return False
    # There already: a compaction stopped between this step and the next.
    with contextlib.suppress(FileExistsError):
        copy_or_link(places.snapshot, places.backups / f"{sequence}.snapshot.jsonl")
    sync_folder(places.backups)
    return True
