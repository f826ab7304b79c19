"""Move the bytes of one blob: ordered source -> hash -> upload, in bounded pieces.

Nothing is buffered whole (DESIGN section 8 rule 3): memory per stream is a few pieces. The
last piece is held back until size and digest are right, so a wrong blob is never committed.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from imgmigrate.applying.retrying import ATTEMPTS, attempts
from imgmigrate.errors import IntegrityError, TransientError, on_side
from imgmigrate.events import Retrying

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from imgmigrate.events import Sink
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.stores.base import Upload
    from imgmigrate.stores.place import Place

__all__ = ["chain", "pour", "read_resumed"]

# Smaller pieces cost CPU (TLS records, loop turns), larger ones memory (reference: measured).
PIECE_SIZE = 512 * 1024
# A source that breaks again before it has delivered this much is not healing.
PROGRESS_THAT_COUNTS = 1024 * 1024


async def read_resumed(source: Place, blob: Descriptor, sink: Sink) -> AsyncGenerator[bytes, None]:
    """Yield a blob's bytes in order; a source that breaks or stalls is reopened at the offset."""
    offset, breaks, last_break = 0, 0, 0
    while offset < blob.size:
        async with aclosing(await _open(source, blob, offset, sink)) as pieces:
            try:
                with on_side("source"):
                    async for piece in pieces:
                        offset += len(piece)
                        yield piece
            except TransientError as error:
                breaks = breaks + 1 if offset - last_break < PROGRESS_THAT_COUNTS else 1
                last_break = offset
                if breaks >= ATTEMPTS:
                    raise
                sink.emit(Retrying(error.subject, error.cause, 0.0))


async def _open(
    source: Place, blob: Descriptor, offset: int, sink: Sink
) -> AsyncGenerator[bytes, None]:
    """Open a blob at an offset, trying again with backoff; the first piece proves that it works."""
    async for attempt in attempts(sink, "source"):
        with attempt, on_side("source"):
            pieces = source.store.open_blob(source.repo, blob, offset)
            first = await anext(pieces, b"")
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


async def pour(
    pieces: AsyncIterator[bytes],
    upload: Upload,
    blob: Descriptor,
    source: Place,
    moved: Callable[[int], None],
) -> None:
    """Hash and send every piece, then commit; IntegrityError before the last byte has left.

    `moved` is told of every count of bytes that the destination has taken.
    """
    subject = f"{source.repository}@{blob.digest}"
    hasher = blob.digest.hasher()
    received, held, held_size = 0, [], 0
    async for piece in pieces:
        received += len(piece)
        if received > blob.size:
            break
        hasher.update(piece)
        held.append(piece)
        held_size += len(piece)
        if held_size >= PIECE_SIZE and received < blob.size:
            with on_side("destination"):
                await upload.write(b"".join(held))
            moved(held_size)
            held, held_size = [], 0
    with on_side("source"):
        _check(subject, blob, received, f"{blob.digest.algorithm}:{hasher.hexdigest()}")
    with on_side("destination"):
        if held:
            await upload.write(b"".join(held))
        await upload.commit()
    moved(held_size)


def _check(subject: str, blob: Descriptor, received: int, digest: str) -> None:
    if received != blob.size:
        raise IntegrityError(
            subject,
            f"the manifest says {blob.size} bytes, the source sent "
            + (f"{received}" if received < blob.size else "more"),
            hint="the source image is damaged; push it there again",
        )
    if digest != blob.digest:
        raise IntegrityError(
            subject,
            f"its bytes have the digest {digest}",
            hint="the source image is damaged; push it there again",
        )
