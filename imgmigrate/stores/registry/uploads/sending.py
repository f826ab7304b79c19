"""One request whose body is handed over piece by piece, while it is on its way.

The request runs as a task of its own from the first piece on; whatever fails ends it. A stall
is time that the registry takes no bytes, never time that nobody had any for it, nor time that
a piece takes to leave over a slow line. A small body that is there as a whole needs none of
that: it is sent at the end, like a manifest.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from imgmigrate.errors import StoreError, TransientError
from imgmigrate.stores.registry.http.line import Line
from imgmigrate.stores.registry.http.session import Body
from imgmigrate.stores.registry.uploads.forms import SMALL_BODY

if TYPE_CHECKING:
    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.pace.shares import Share
    from imgmigrate.stores.registry.wire.calls import Admission, Call
    from imgmigrate.stores.registry.wire.remote import Remote

__all__ = ["Sending"]

# Bytes that are handed over at once while the line is, or may be, slow; first of all, before a
# body has its turns; and to show that a body which waits still lives.
SMALL_PART, FIRST_PART, SIGN_OF_LIFE = 64 * 1024, 32 * 1024, 8 * 1024
# Bytes of a body that go in such parts in any case: many bodies that begin together must not
# hand over more than a slow line carries in seconds.
BEGINNING = 128 * 1024
# How often a body that waits is looked at before it is called stalled.
LOOKS = 4


class _Pipe:
    """Hands one piece at a time from `Sending` to the request's body.

    `wanted` is set while the request waits for a piece, that is when all before it went out,
    and at the end. The body ends with its last byte, not when somebody says so: a server may
    answer at once, and a request that is still being sent then loses its connection.
    """

    def __init__(self, length: int) -> None:
        # One writer and one reader. The piece is the writer's until it is given, and the request's
        # until `wanted` is set again: so at most one piece is in memory here.
        self.wanted, self._given = asyncio.Event(), asyncio.Event()
        self._piece, self._left = b"", length

    def give(self, piece: bytes) -> None:
        """Hand over the next piece."""
        self.wanted.clear()
        self._piece = piece
        self._given.set()

    def __aiter__(self) -> _Pipe:
        return self

    async def __anext__(self) -> bytes:
        self.wanted.set()
        if not self._left:
            raise StopAsyncIteration
        await self._given.wait()
        self._given.clear()
        self._left -= len(self._piece)
        return self._piece


class Sending:
    """A request with a body of `length` bytes. Its user ends it: `finish`, or `end`.

    `write` and `finish` raise what became of the request, and leave no task behind then.
    """

    def __init__(self, remote: Remote, call: Call, length: int) -> None:
        self._remote, self._call, self._length = remote, call, length
        self._pipe, self._line = _Pipe(length), Line()
        self._task: asyncio.Task[Answer | StoreError] | None = None
        self._whole: bytes | None = None if length else b""
        self._patience = remote.timeouts.patience(length)
        self._share: Share | None = None
        self.has_begun = False  # the registry may have seen something of it

    async def write(self, piece: bytes) -> None:
        """Send the next piece; returns when the registry has taken those before it.

        A piece goes in parts, of which each waits for its turn.
        """
        self._remote.limits.bandwidth.announce(len(piece))
        if self._task is None and len(piece) == self._length <= SMALL_BODY:
            await self._remote.limits.bandwidth.write(len(piece))
            self._whole = piece
            return
        start = 0
        while start < len(piece):
            part = piece[start : start + await self._part_size()]
            # Bandwidth first, for the first part even before there is a request that could stall by
            # it; and a part is given only when the one before has left.
            await self._remote.limits.bandwidth.write(len(part))
            await self._start()
            await self._ready()
            self._pipe.give(part)
            start += len(part)
            if self._share is None:
                self._share = self._remote.shares.open(self._line, self._length)
            self._share.sent(len(part))

    async def _part_size(self) -> int:
        """Wait for a turn; the bytes to hand over in it.

        What a transport was given cannot be held back: little, until the line is known.
        """
        if self._share is None:
            return min(FIRST_PART, self._remote.limits.bandwidth.turn)
        if not await self._share.turn():
            return SIGN_OF_LIFE
        is_free = self._remote.shares.is_free and self._length - self._share.left >= BEGINNING
        turn = self._remote.limits.bandwidth.turn
        return turn if is_free else min(SMALL_PART, turn)

    async def finish(self) -> Answer:
        """Wait for the answer; all bytes have been written."""
        if self._whole is not None:
            return await self._at_once(self._whole)
        task = await self._start()
        try:
            await self._ready(at_end=True)
            await self._answered(task)
        except BaseException:
            await self.end()
            raise
        return self._outcome(task)

    async def _answered(self, task: asyncio.Task[Answer | StoreError]) -> None:
        """Wait for the end; a registry has its time from when it took the last byte."""
        look = self._remote.timeouts.stall / LOOKS
        while not task.done() and not self._line.is_clear:
            await asyncio.wait({task}, timeout=look)
            if not self._line.has_moved():
                break
        is_patient = True
        while not task.done() and is_patient:
            with self._remote.wire.watched(self._call, self._patience):
                await asyncio.wait({task}, timeout=self._patience)
            is_patient = self._line.has_moved()
        if not task.done():
            raise self._unanswered()

    async def _at_once(self, whole: bytes) -> Answer:
        admission = await self._remote.admit(self._call)
        self.has_begun = True
        try:
            body = Body.of(whole)
            answer = await self._remote.stream(self._call, body, admission, self._patience)
        except TimeoutError:
            raise self._unanswered() from None
        self._remote.shares.landed()
        return answer

    def _unanswered(self) -> TransientError:
        cause = f"the registry did not answer all that was sent in {self._patience:.0f} s"
        return TransientError(self._call.subject, cause)

    async def end(self) -> None:
        """Stop the request, which closes its connection, and see it end."""
        if self._task is None:
            return
        self._task.cancel()
        # Waited for and not awaited: its cancellation is not ours. No task outlives who began it.
        await asyncio.wait({self._task})

    async def _start(self) -> asyncio.Task[Answer | StoreError]:
        if self._task is None:
            # Before the stall guard looks: a pause that the registry asked for is no stall.
            admission = await self._remote.admit(self._call)
            self.has_begun = True
            self._task = asyncio.create_task(self._send(admission))
            # Wake whoever waits to write: the answer may come before the last byte.
            self._task.add_done_callback(self._over)
        return self._task

    def _over(self, _: asyncio.Task[Answer | StoreError]) -> None:
        self._pipe.wanted.set()
        if self._share is not None:
            self._share.close()

    async def _send(self, admission: Admission) -> Answer | StoreError:
        """The request; its error is a result, so that it is never lost nor reported twice."""
        try:
            body = Body(self._pipe, self._length, self._line)
            return await self._remote.stream(self._call, body, admission)
        except StoreError as error:
            return error

    async def _ready(self, *, at_end: bool = False) -> None:
        """Wait until the next piece is wanted; raise what ended the request, if something did."""
        try:
            await self._wanted()
        except BaseException:
            await self.end()
            raise
        if self._task is None or not self._task.done():
            return
        self._outcome(self._task)
        if not at_end:
            cause = "the registry answered before it had everything"
            raise TransientError(self._call.subject, cause)

    async def _wanted(self) -> None:
        """Wait as long as bytes leave; TransientError after a stall."""
        stall, quiet = self._remote.timeouts.stall, 0
        while not self._pipe.wanted.is_set():
            try:
                async with asyncio.timeout(stall / LOOKS):
                    await self._pipe.wanted.wait()
            except TimeoutError:
                quiet = 0 if self._line.has_moved() else quiet + 1
                if quiet >= LOOKS:
                    cause = f"the registry took no byte for {stall:g} s"
                    raise TransientError(self._call.subject, cause) from None

    def _outcome(self, task: asyncio.Task[Answer | StoreError]) -> Answer:
        """What a finished request came to."""
        if task.cancelled():
            raise TransientError(self._call.subject, "its upload was given up")
        found = task.result()
        if isinstance(found, StoreError):
            raise found
        return found
