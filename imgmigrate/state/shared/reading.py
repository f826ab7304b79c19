"""Read a shared state: from its head, the snapshot and every line after it. Verifies all of it."""

from __future__ import annotations

import asyncio
import contextlib
from io import BytesIO
from typing import TYPE_CHECKING, TypeVar

from imgmigrate.concurrency import together
from imgmigrate.errors import StateError
from imgmigrate.state.entries import decode
from imgmigrate.state.lines.journal import Scan
from imgmigrate.state.lines.sealing import explain
from imgmigrate.state.lines.snapshot import NewerFormat, read_snapshot
from imgmigrate.state.shared.depot import Missing
from imgmigrate.state.shared.head import Head, Shelf, parse_head
from imgmigrate.state.view import View

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from imgmigrate.state.shared.depot import Depot, Seen
    from imgmigrate.state.shared.head import Mark, Segment

__all__ = [
    "head_of",
    "latest",
    "marks_of",
    "read_all",
    "read_shelf",
    "read_view",
    "segments_of",
]

T = TypeVar("T")

# A reader whose files go while it reads them looks again; it cannot be unlucky this often.
READ_ATTEMPTS = 5
# Files that are read at once.
STREAMS = 16


async def latest(
    depot: Depot, read: Callable[[Seen | None], Awaitable[T]], *, gone: StateError
) -> T:
    """Read by the head that is there; raise `gone` where its files are not, time and again."""
    for _ in range(READ_ATTEMPTS):
        seen = await depot.fetch()
        with contextlib.suppress(Missing):
            return await read(seen)
    raise gone


def head_of(depot: Depot, seen: Seen | None) -> Head:
    """The head that was seen; an empty one where there is none. StateError if it is damaged."""
    if seen is None:
        return Head()
    try:
        return parse_head(seen.head)
    except ValueError as error:
        raise _damaged(depot, "its head", error) from None


async def read_view(depot: Depot, head: Head) -> View:
    """Read all that a head names; Missing if a file is gone, as when the head is old by now."""
    names = [each.name for each in await segments_of(depot, head)]
    if head.snapshot is not None:
        names.insert(0, head.snapshot)
    files = await read_all(depot, names)
    return await asyncio.to_thread(_replay, depot, head, files)


async def segments_of(depot: Depot, head: Head) -> list[Segment]:
    """Every segment since the snapshot, in order."""
    shelves = [await read_shelf(depot, name) for name in head.shelves]
    return [*(each for shelf in shelves for each in shelf.segments), *head.segments]


async def marks_of(depot: Depot, head: Head) -> AsyncIterator[Mark]:
    """Every end of a group that is remembered, the newest files first."""
    for each in head.segments:
        yield each
    for name in (*reversed(head.shelves), *((head.history,) if head.history else ())):
        shelf = await read_shelf(depot, name)
        for mark in (*shelf.segments, *shelf.marks):
            yield mark


async def read_shelf(depot: Depot, name: str) -> Shelf:
    """Read one list of segments or marks."""
    data = await depot.read(name)
    try:
        return Shelf.model_validate_json(data)
    except ValueError as error:
        raise _damaged(depot, name, error) from None


async def read_all(depot: Depot, names: Sequence[str]) -> list[bytes]:
    """Read files, some at once, in the order of their names here; Missing if one is gone."""
    streams = asyncio.Semaphore(STREAMS)

    async def read(name: str) -> bytes:
        async with streams:
            return await depot.read(name)

    return await together(read(name) for name in names)


def _replay(depot: Depot, head: Head, files: list[bytes]) -> View:
    """Make the view, which must end where the head says."""
    view = View()
    try:
        if head.snapshot is not None:
            view = read_snapshot(BytesIO(files.pop(0)))
        for data in files:
            scan = Scan(BytesIO(data))
            for line in scan:
                if line.sequence != view.sequence + 1 or line.previous != view.head:
                    msg = f"line {line.sequence} does not continue what is before it"
                    raise ValueError(msg)
                view.apply(line.sequence, line.hash, decode(line.document))
            if scan.damage:
                raise ValueError(scan.damage.cause)
    except NewerFormat as error:
        message = f"state {depot.place}: {error}"
        raise StateError(message, hint="use the imgmigrate that wrote it") from None
    except ValueError as error:
        raise _damaged(depot, "a file of it", error) from None
    if (view.sequence, view.head) != (head.sequence, head.head):
        cause = f"its files end at {view.sequence}, its head says {head.sequence}"
        raise _damaged(depot, "it", ValueError(cause))
    return view


def _damaged(depot: Depot, what: str, error: ValueError) -> StateError:
    return StateError(
        f"state {depot.place}: {what} is damaged: {explain(error)}",
        hint="somebody else wrote there; restore the place's own older version of it",
    )
