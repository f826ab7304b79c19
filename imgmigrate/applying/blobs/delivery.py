"""Carry one blob from one source to one or several destinations: it is read and hashed once.

Nothing is buffered whole (DESIGN section 8 rule 3): memory is a few pieces for each blob. The
last piece is held back until size and digest are right, so a wrong blob is never committed.
A destination that fails drops out and the others go on; a source that fails fails all.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Literal, Protocol

from imgmigrate.applying.blobs.parallel_read import read_ahead
from imgmigrate.concurrency import both, together, ungrouped
from imgmigrate.errors import IntegrityError, NotReached, on_side
from imgmigrate.events import BlobMoved, BlobStarted
from imgmigrate.stores.base import Mounted
from imgmigrate.stores.resumed import chain
from imgmigrate.stores.slots import hold, in_company

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from imgmigrate.applying.blobs.parallel_read import Lanes
    from imgmigrate.events import Sink
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.stores.base import Upload
    from imgmigrate.stores.place import Place

__all__ = ["Delivery", "carry"]

# Smaller pieces cost CPU (TLS records, loop turns), larger ones memory.
PIECE_SIZE = 512 * 1024
# Pieces that the slowest of several destinations may be behind the source: enough to even out
# short pauses, 2 MiB for each blob on its way.
PIECES_BEHIND = 4


class _Nobody(Exception):
    """No destination is left to read for."""


class Delivery:
    """One blob on its way to one destination; `over` is set when its outcome is known.

    `source` is what is read for it, which may be another repository of the store asked for.
    It owns its upload session and ends it, by a commit or by `fail`, which both its flight and who
    carries it may call. Once it is over, `begin`, `write`, `finish` and `fail` do nothing, so that
    whoever carries several need not know which of them are left; a session that is opened
    meanwhile is aborted by who opened it, as `fail` could not know of it.
    One that `has_company` fails rather than let the others wait for a registry that is down.
    """

    def __init__(
        self,
        source: Place,
        destination: Place,
        blob: Descriptor,
        session: Upload | None,
        sink: Sink,
    ) -> None:
        self.source, self.destination = source, destination
        self.over = asyncio.Event()
        self.sent = self.spared = self._handed = 0
        self.has_company = False
        self.error: Exception | None = None
        self._blob, self._session, self._sink = blob, session, sink
        self._how: Literal["uploaded", "mounted"] = "uploaded"

    def result(self) -> Literal["uploaded", "mounted"]:
        """Say how it got there; raises what stopped it."""
        if self.error is not None:
            raise self.error
        return self._how

    async def begin(self) -> None:
        """Open a session if there is none yet, unless this delivery is over."""
        if self._session is None and not self.over.is_set():
            await self._step(self._open())

    async def write(self, piece: bytes) -> None:
        """Send a piece, unless this delivery is over."""
        if not self.over.is_set() and self._session is not None:
            await self._step(self._session.write(piece))
            if not self.over.is_set():
                # A session has let go of what it was given before; this piece is on its way yet.
                self._moved(self._handed)
                self._handed = len(piece)

    async def finish(self, last: bytes) -> None:
        """Send what is left and have the destination accept the blob."""
        if not self.over.is_set() and self._session is not None:
            await self._step(self._commit(self._session, last))

    def started(self) -> None:
        """Tell that its bytes begin to flow."""
        self._sink.emit(
            BlobStarted(self.destination.repository, self._blob.digest, self._blob.size)
        )

    async def fail(self, error: Exception) -> None:
        """End it, unless it is over, and leave nothing behind."""
        if self.over.is_set():
            return
        self.error = error
        self._moved(-self.sent)
        session, self._session = self._session, None
        try:
            if session is not None:
                await session.abort()
        finally:
            # After the abort: whoever waits for this may begin a new session at once.
            self.over.set()

    async def _step(self, step: Awaitable[None]) -> None:
        """Do one thing at the destination; what goes wrong is this delivery's alone."""
        try:
            with on_side("destination"), in_company() if self.has_company else nullcontext():
                await step
        except Exception as error:  # noqa: BLE001 - the boundary of one destination
            await self.fail(error)

    async def _open(self) -> None:
        answer = await self.destination.store.start_upload(self.destination.repo, self._blob)
        if isinstance(answer, Mounted):
            self._how = "mounted"
            self.over.set()
        elif self.over.is_set():  # its flight was cancelled while the answer was on its way
            await answer.abort()
        else:
            self._session = answer

    async def _commit(self, session: Upload, last: bytes) -> None:
        if last:
            await session.write(last)
        await session.commit()
        self.spared = session.held
        self._moved(self._handed + len(last))
        self.over.set()

    def _moved(self, count: int) -> None:
        if not count:
            return
        self.sent += count
        self._sink.emit(BlobMoved(self.destination.repository, self._blob.digest, count))


async def carry(
    source: Place, blob: Descriptor, deliveries: Sequence[Delivery], sink: Sink, lanes: Lanes
) -> None:
    """Bring a blob to all destinations; on return each delivery is over, and tells how it went.

    Slots are taken in the one global order before anything opens.
    """
    for each in deliveries:
        each.source, each.has_company = source, len(deliveries) > 1
    # One of each store, as a group has at most one delivery to each (`fanout.py`).
    budgets = [each.destination.store.budget for each in deliveries]
    writes = (slots for each in budgets for slots in (each.gate, each.write))
    try:
        async with (
            hold(source.store.budget.read, *writes),
            aclosing(read_ahead(source, blob, sink, lanes)) as pieces,
        ):
            # A round trip each, at the same time.
            _, first = await both(_begin(deliveries), _next(pieces))
            await _pour(chain(first, pieces), deliveries, blob, source)
    except _Nobody:
        pass
    except Exception as error:  # noqa: BLE001 - every delivery tells its own flight
        for each in deliveries:
            await each.fail(error)
    except asyncio.CancelledError:
        for each in deliveries:
            name = f"{each.destination.repository}@{blob.digest}"
            await each.fail(NotReached(f"{name}: cancelled"))
        raise


async def _begin(deliveries: Sequence[Delivery]) -> None:
    if len(deliveries) == 1:
        await deliveries[0].begin()
    else:
        await together(each.begin() for each in deliveries)
    _check_somebody(deliveries)


def _check_somebody(deliveries: Sequence[Delivery]) -> None:
    if all(each.over.is_set() for each in deliveries):
        raise _Nobody


async def _next(pieces: AsyncIterator[bytes]) -> bytes:
    """Open a stream by reading its first piece; nothing if the blob is empty."""
    return await anext(pieces, b"")


async def _pour(
    pieces: AsyncIterator[bytes],
    deliveries: Sequence[Delivery],
    blob: Descriptor,
    source: Place,
) -> None:
    """Hash and send every piece, then commit; IntegrityError before the last byte has left."""
    subject = f"{source.repository}@{blob.digest}"
    hasher = blob.digest.hasher()
    received, held, held_size = 0, [], 0
    goals = [each for each in deliveries if not each.over.is_set()]
    for each in goals:
        each.started()
    async with _outlet(goals) as outlet:
        async for piece in pieces:
            received += len(piece)
            if received > blob.size:
                break
            hasher.update(piece)
            held.append(piece)
            held_size += len(piece)
            if held_size >= PIECE_SIZE and received < blob.size:
                whole = b"".join(held)
                held, held_size = [], 0  # before the wait: every stream would have it twice
                await outlet.write(whole)
                _check_somebody(goals)
        with on_side("source"):
            _check(subject, blob, received, f"{blob.digest.algorithm}:{hasher.hexdigest()}")
        await outlet.finish(b"".join(held))


class _Outlet(Protocol):
    """Where pieces go: a delivery, or several."""

    async def write(self, piece: bytes) -> None:
        """Take a piece; returns when there is room for the next."""

    async def finish(self, last: bytes) -> None:
        """Take the last one, and commit."""


class _Several:
    """Deliveries that each go at their own pace, at most `PIECES_BEHIND` behind the source."""

    def __init__(self, deliveries: Sequence[Delivery], tasks: asyncio.TaskGroup) -> None:
        self._queues: list[asyncio.Queue[tuple[bytes, bool]]] = []
        for each in deliveries:
            queue: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue(PIECES_BEHIND)
            self._queues.append(queue)
            tasks.create_task(_pump(each, queue))

    async def write(self, piece: bytes) -> None:
        """Hand a piece to each; waits for the slowest."""
        for queue in self._queues:
            await queue.put((piece, False))

    async def finish(self, last: bytes) -> None:
        """Hand the last piece to each."""
        for queue in self._queues:
            await queue.put((last, True))


async def _pump(delivery: Delivery, queue: asyncio.Queue[tuple[bytes, bool]]) -> None:
    """Take pieces to the end, also when the delivery failed: nobody must wait for it."""
    is_last = False
    while not is_last:
        piece, is_last = await queue.get()
        await (delivery.finish(piece) if is_last else delivery.write(piece))


@asynccontextmanager
async def _outlet(deliveries: Sequence[Delivery]) -> AsyncIterator[_Outlet]:
    if len(deliveries) == 1:
        yield deliveries[0]
        return
    with ungrouped():
        async with asyncio.TaskGroup() as tasks:
            yield _Several(deliveries, tasks)


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
