"""Keep what was seen at sources in the folder of a state, beside it and without its lock.

Blocking. Each file is whole once it has its name, and never changes: two processes that add at
once make two, and one that dies on the way makes none. Whoever finds too many merges them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.errors import StateError
from imgmigrate.files import make_folder, write_atomically
from imgmigrate.state.local.trouble import unreadable, unwritable
from imgmigrate.state.sightings import (
    FOLDER,
    MOST_FILES,
    Sightings,
    file_name,
    print_sightings,
    read_files,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime
    from pathlib import Path

    from imgmigrate.state.sightings import Key, Sighting

__all__ = ["add_sightings", "read_sightings"]

# Files that are merged while they are read are followed by one; nobody is unlucky this often.
READ_ATTEMPTS = 5


def read_sightings(folder: Path, now: datetime, keys: Collection[Key] | None = None) -> Sightings:
    """Read what is known, of these keys or of all; nothing where nobody added anything yet."""
    place = folder / FOLDER
    for _ in range(READ_ATTEMPTS):
        try:
            return read_files(_files(place), now, keys)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise unreadable(place, error) from None
    message = f"state {place}: its files are replaced all the time"
    raise StateError(message, hint="run the same command again")


def add_sightings(folder: Path, batch: Iterable[Sighting], now: datetime) -> None:
    """Add a file, and merge all where there are too many."""
    place = folder / FOLDER
    try:
        make_folder(folder)  # a parent that is made on the way would be everybody's to look into
        make_folder(place)
        write_atomically(place / file_name(now), print_sightings(batch, now))
        _merge(place, now)
    except OSError as error:
        raise unwritable(place, error) from None


def _merge(place: Path, now: datetime) -> None:
    """Put one file in the place of too many, which go once it is there."""
    if len(_names(place)) <= MOST_FILES:
        return
    try:
        files = _files(place)
    except FileNotFoundError:
        return  # another merges them at this moment
    write_atomically(place / file_name(now), print_sightings(read_files(files, now), now))
    for name in files:
        (place / name).unlink(missing_ok=True)


def _files(place: Path) -> dict[str, bytes]:
    return {name: (place / name).read_bytes() for name in _names(place)}


def _names(place: Path) -> list[str]:
    return sorted(each.name for each in place.glob("[0-9]*.jsonl"))
