"""Keep what was seen at sources in a depot, beside the state and without a hold on it.

Each file has a name of its own, which no head has: whoever adds one needs neither the lease nor a
swap, and no two are in each other's way. The holder of the state merges them (`held.py`).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from imgmigrate.errors import StateError
from imgmigrate.state.shared.depot import Overtaken
from imgmigrate.state.shared.head import Head
from imgmigrate.state.shared.reading import latest, read_all
from imgmigrate.state.sightings import (
    FOLDER,
    MOST_FILES,
    Sightings,
    file_name,
    print_sightings,
    read_files,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from imgmigrate.state.shared.depot import Depot, Seen
    from imgmigrate.state.sightings import Key, Sighting

__all__ = ["add_sightings", "merge_sightings", "read_sightings"]


async def read_sightings(
    depot: Depot, now: datetime, keys: Collection[Key] | None = None
) -> Sightings:
    """Read what is known, of these keys or of all; nothing where no state exists yet."""

    async def read(seen: Seen | None) -> Sightings:
        if seen is None:
            return Sightings(now)
        return read_files(await _files(depot, await depot.names(FOLDER)), now, keys)

    message = f"state {depot.place}: its sightings are replaced all the time"
    return await latest(depot, read, gone=StateError(message, hint="run the same command again"))


async def add_sightings(depot: Depot, batch: Iterable[Sighting], now: datetime) -> None:
    """Add a file; where no state exists yet a head comes first, which names nothing."""
    if await depot.fetch() is None:
        await depot.prove()
        with contextlib.suppress(Overtaken):
            await depot.swap(None, Head().printed())
    await depot.add(f"{FOLDER}/{file_name(now)}", print_sightings(batch, now))


async def merge_sightings(
    depot: Depot, now: datetime
) -> tuple[dict[str, bytes], Sequence[str]] | None:
    """Give the file to put in the place of all that are there, and those; None if they are few."""
    names = await depot.names(FOLDER)
    if len(names) <= MOST_FILES:
        return None
    found = read_files(await _files(depot, names), now)
    return {f"{FOLDER}/{file_name(now)}": print_sightings(found, now)}, names


async def _files(depot: Depot, names: Sequence[str]) -> dict[str, bytes]:
    return dict(zip(names, await read_all(depot, names), strict=True))
