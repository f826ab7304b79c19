"""Read a blob, or a part of it, in order: a source that breaks or stalls is opened again there.

The pieces are as they arrive; who takes them verifies them.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from imgmigrate.errors import NotFound, TransientError, on_side
from imgmigrate.stores.retries import Policy, attempts, heals

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from imgmigrate.errors import Side
    from imgmigrate.events import Sink
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.stores.place import Place

__all__ = ["chain", "is_right", "read_resumed"]

# A source that breaks again before it has delivered this much is not healing.
PROGRESS_THAT_COUNTS = 1024 * 1024


async def read_resumed(
    source: Place,
    blob: Descriptor,
    sink: Sink,
    start: int = 0,
    end: int | None = None,
    *,
    side: Side = "source",
) -> AsyncGenerator[bytes, None]:
    """Yield a blob's bytes from `start` on; with `end`, only those before it, asked for as such.

    NoRanges if an `end` is given and the source does not give parts. A loop of its own, as what
    was read counts: only breaks without progress between them are attempts at one thing. To open
    again is what waits.
    """
    policy = Policy(side=side)
    offset, breaks, last_break = start, 0, start
    while offset < (blob.size if end is None else end):
        async with aclosing(await _open(source, blob, sink, offset, end, side)) as pieces:
            try:
                with on_side(side):
                    async for piece in pieces:
                        offset += len(piece)
                        yield piece
            except TransientError as error:
                breaks = breaks + 1 if offset - last_break < PROGRESS_THAT_COUNTS else 1
                last_break = offset
                if not heals(error, policy, sink, tried=breaks, usual=0.0):
                    raise


async def is_right(place: Place, blob: Descriptor, sink: Sink, *, side: Side) -> bool:
    """Read a blob, and tell whether its bytes are those of its digest; keeps a piece at a time.

    IntegrityError if it has another size.
    """
    hasher = blob.digest.hasher()
    async with aclosing(read_resumed(place, blob, sink, side=side)) as pieces:
        async for piece in pieces:
            hasher.update(piece)
    return hasher.hexdigest() == blob.digest.hex


async def _open(
    source: Place, blob: Descriptor, sink: Sink, offset: int, end: int | None, side: Side
) -> AsyncGenerator[bytes, None]:
    """Open a blob at an offset, trying again with backoff; the first piece proves that it works."""
    length = None if end is None else end - offset
    async for attempt in attempts(sink, side):
        with attempt, on_side(side):
            pieces = source.store.open_blob(source.repo, blob, offset, length)
            try:
                first = await anext(pieces, b"")
            except NotFound as error:
                error.hint = error.hint or f"the {side} image lacks it; push it there again"
                raise
            if not first:
                subject = f"{source.repository}@{blob.digest}"
                raise TransientError(subject, f"it ended at byte {offset} of {blob.size}")
            return chain(first, pieces)
    raise AssertionError


async def chain(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Put a piece that was already read before the others; closing it closes them."""
    async with aclosing(rest):
        if first:
            yield first
        async for piece in rest:
            yield piece
