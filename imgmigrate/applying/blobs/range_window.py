"""The chunks of one blob that are read ahead of the one that is handed out, in order.

Each chunk is a range of its own, read by a task of the run into memory. A window never waits
for a slot or for memory: what is not free is not used.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from imgmigrate.stores.resumed import read_resumed

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.applying.blobs.parallel_read import Lanes
    from imgmigrate.events import Sink
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.stores.place import Place

__all__ = ["Window"]


class _Chunk:
    """A part of a blob on its way; pieces are taken while others still arrive."""

    def __init__(self, start: int, end: int, give_back: Callable[[], None]) -> None:
        self.start, self.end = start, end
        self._slot: Callable[[], None] | None = give_back
        self._pieces: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._is_whole = False
        self._error: Exception | None = None

    def put(self, piece: bytes) -> None:
        """Add what arrived."""
        self._pieces.append(piece)
        self._news.set()

    def end_with(self, error: Exception | None) -> None:
        """Note that nothing more comes; its slot is free before anyone wakes."""
        self.give_back()
        self._is_whole, self._error = True, error
        self._news.set()

    def give_back(self) -> None:
        """Give its slot back, once: also what is cancelled before it begins has one."""
        slot, self._slot = self._slot, None
        if slot is not None:
            slot()

    async def arrived(self) -> None:
        """Wait for the first piece; raises what the reading ended with instead."""
        while not self._pieces and not self._is_whole:
            self._news.clear()
            await self._news.wait()
        if not self._pieces and self._error is not None:
            raise self._error

    async def next(self) -> bytes:
        """Take the next piece; nothing at the end."""
        await self.arrived()
        return self._pieces.popleft() if self._pieces else b""


class Window:
    """At most `width` chunks from `start` on. Whoever makes one closes it.

    What it holds, it gives back, each once, whatever ends first:

    - a place in memory (`Lanes.free`) from when a chunk is asked for until it is handed out whole,
      or the window is closed: as many as there are chunks in `_chunks`;
    - a slot of the source from then until its chunk has arrived, failed or been cancelled. The
      transfer's own slot, which the window inherits, goes back to the window and to nobody else.
    """

    def __init__(
        self, source: Place, blob: Descriptor, sink: Sink, lanes: Lanes, *, start: int
    ) -> None:
        self.start = self._next = start
        self.width = 0
        self._source, self._blob, self._sink, self._lanes = source, blob, sink, lanes
        self._chunks: deque[_Chunk] = deque()
        self._reading: set[asyncio.Task[None]] = set()
        # The transfer's own slot: its first stream has it until that is closed.
        self._has_own_slot = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on its way."""
        return not self._chunks

    def inherit_slot(self) -> None:
        """Use the transfer's own slot, which its stream or a chunk had."""
        self._has_own_slot = True

    async def fill(self) -> None:
        """Ask for chunks up to the width, as far as slots and memory are free."""
        while (
            len(self._chunks) < self.width
            and self._next < self._blob.size
            and self._lanes.free
            and (self._has_own_slot or await self._source.store.budget.read.take_free())
        ):
            budget = self._source.store.budget
            give_back = self.inherit_slot if self._has_own_slot else budget.read.give_back
            self._has_own_slot = False
            self._lanes.free -= 1
            end = min(self._next + self._lanes.pace.chunk, self._blob.size)
            chunk = _Chunk(self._next, end, give_back)
            self._next = end
            self._chunks.append(chunk)
            task = self._lanes.tasks.create_task(self._read(chunk))
            self._reading.add(task)
            task.add_done_callback(partial(self._ended, chunk))

    async def is_served(self) -> None:
        """Wait until the first chunk begins to arrive; raises why it does not."""
        await self._chunks[0].arrived()

    async def next(self) -> bytes:
        """Take the next piece in order; nothing when all chunks are taken."""
        while self._chunks:
            if piece := await self._chunks[0].next():
                return piece
            self._chunks.popleft()
            self._lanes.free += 1
            await self.fill()
        return b""

    async def close(self) -> None:
        """End all reading and give everything back."""
        # Their memory is free only when nothing writes into it any more.
        reading = list(self._reading)
        for task in reading:
            task.cancel()
        if reading:
            await asyncio.wait(reading)
        self._lanes.free += len(self._chunks)
        self._chunks.clear()

    async def _read(self, chunk: _Chunk) -> None:
        """Read one chunk; its error is a result, for who comes to take it."""
        part = read_resumed(self._source, self._blob, self._sink, chunk.start, chunk.end)
        try:
            async with aclosing(part) as pieces:
                async for piece in pieces:
                    chunk.put(piece)
        except Exception as error:  # noqa: BLE001 - raised where the chunk is taken
            chunk.end_with(error)
        else:
            chunk.end_with(None)

    def _ended(self, chunk: _Chunk, task: asyncio.Task[None]) -> None:
        # A task that is cancelled before its first step runs no line of `_read`.
        self._reading.discard(task)
        chunk.give_back()
