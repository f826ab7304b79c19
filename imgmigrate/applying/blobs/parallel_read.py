"""Read a large blob over several connections at once, where one connection is the bottleneck.

A blob begins as one stream. If its source is what is waited for, the next chunks of it are
asked for as ranges beside it, and handed out in order. What that gains is measured: more
connections are opened while they help, and given up again where they do not, or where the
source gives no ranges. Memory is bounded twice: by chunks for each blob, and for a run.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.applying.blobs.range_window import Window
from imgmigrate.errors import StoreError, TransientError
from imgmigrate.stores.base import NoRanges
from imgmigrate.stores.resumed import read_resumed

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from imgmigrate.events import Sink
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.stores.place import Place

__all__ = ["Lanes", "Pace", "read_ahead"]

MIB = 1024 * 1024


class Pace(Struct, frozen=True):
    """When and how far to read ahead; sizes in bytes."""

    # Long enough to be past a connection's slow start, and to even out a pause.
    trial: int = 16 * MIB
    # Less is through before several connections have paid for themselves.
    worth: int = 64 * MIB
    # What is recommended for container layers (protocol 4: 8 to 16 MiB).
    chunk: int = 8 * MIB
    # Chunks of one blob at once, tried in this order: 48 MiB at most.
    widths: tuple[int, ...] = (2, 4, 6)
    # Chunks of all blobs of a run, 48 MiB.
    most: int = 6
    # Blobs being read at once beyond which none is read ahead: they are many connections already,
    # and sixteen of them with TLS, without chunks, keep a run below 150 MiB.
    crowd: int = 8
    # The source is the bottleneck if it is waited for so many times as long as the sinks: far
    # above what a busy machine makes of two that are equal. With several connections its
    # chunks come in bursts.
    slow: float = 4.0
    still_slow: float = 1.0
    # Wider must be faster by this factor: a fifth of what the first step promises.
    gain: float = 1.2


class Lanes:
    """What a run may read ahead; `tasks` is the run's.

    `free` counts the chunks that memory is left for, of all blobs together, and `readers` the
    blobs that are being read. Neither is ever waited for: that could make two transfers, each
    with its own slot, wait for each other.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        *,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tasks, self.clock, self.pace = tasks, clock, pace or Pace()
        self.free = self.pace.most
        self.readers = 0
        self.without_ranges: set[str] = set()  # stores that gave none


async def read_ahead(
    source: Place, blob: Descriptor, sink: Sink, lanes: Lanes
) -> AsyncGenerator[bytes, None]:
    """Yield a blob's bytes in order, over as many connections as help."""
    lanes.readers += 1
    try:
        if blob.size < lanes.pace.trial + lanes.pace.worth:
            async with aclosing(read_resumed(source, blob, sink)) as stream:
                async for piece in stream:
                    yield piece
            return
        async with aclosing(_Reader(source, blob, sink, lanes)) as reader:
            while piece := await reader.next():
                yield piece
    finally:
        lanes.readers -= 1


class _Meter:
    """How fast bytes come, and who is waited for."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Begin to count anew."""
        self.taken, self._source, self._sinks = 0, 0.0, 0.0
        self._last = self._clock()

    async def wait(self, piece: Awaitable[bytes]) -> bytes:
        """Wait for the source; the time since the last piece was the sinks'."""
        began = self._clock()
        self._sinks += began - self._last
        found = await piece
        self._last = self._clock()
        self._source += self._last - began
        self.taken += len(found)
        return found

    def is_source_slow(self, factor: float) -> bool:
        """Tell whether the source is what is waited for."""
        return self._source > factor * self._sinks

    @property
    def rate(self) -> float:
        """Bytes a second, all waiting included."""
        return self.taken / max(self._source + self._sinks, 1e-9)


class _Reader:
    """One large blob: a single stream, a window of chunks, or one after the other."""

    def __init__(self, source: Place, blob: Descriptor, sink: Sink, lanes: Lanes) -> None:
        self._source, self._blob, self._sink, self._lanes = source, blob, sink, lanes
        self._offset = 0
        self._stream: AsyncGenerator[bytes, None] | None = None
        self._rest = b""  # what the stream gave beyond the window's start
        self._window: Window | None = None
        self._meter = _Meter(lanes.clock)
        self._rate = 0.0  # before the window had its width
        self._step = 0  # of `Pace.widths`
        self._is_settled = False
        self._span = lanes.pace.trial  # bytes to judge by

    async def next(self) -> bytes:
        """Take the next piece; nothing at the end."""
        if self._offset >= self._blob.size:
            return b""
        piece = await self._meter.wait(self._take())
        self._offset += len(piece)
        if not self._is_settled and self._meter.taken >= self._span:
            await self._judge()
        return piece

    async def aclose(self) -> None:
        """End all reading."""
        try:
            await self._close_window()
        finally:
            await self._close_stream()

    async def _take(self) -> bytes:
        if self._window is not None and self._offset >= self._window.start:
            try:
                if self._stream is not None:
                    await self._window.is_served()  # else the stream just goes on
                    await self._close_stream()
                    self._window.inherit_slot()
                    await self._window.fill()
                if piece := await self._window.next():
                    return piece
            except TransientError:
                raise
            except StoreError as error:
                # What is wrong with the blob itself, its stream will say.
                if isinstance(error, NoRanges):
                    self._lanes.without_ranges.add(self._source.store.identity)
                self._is_settled = True
            await self._close_window()
        return await self._from_stream()

    async def _from_stream(self) -> bytes:
        if self._stream is None:
            self._stream = read_resumed(self._source, self._blob, self._sink, self._offset)
        piece, self._rest = self._rest or await anext(self._stream, b""), b""
        if self._window is None:
            return piece
        room = self._window.start - self._offset
        self._rest = piece[room:]
        return piece[:room]

    async def _judge(self) -> None:
        """Widen what helps, give up what does not."""
        pace, meter, window = self._lanes.pace, self._meter, self._window
        if window is not None and meter.rate < self._rate * pace.gain:
            # Back to the width before; without one, what is on its way is the last of it.
            window.width = pace.widths[self._step - 1] if self._step else 0
            self._is_settled = True
        elif self._may_pay(pace.worth) and meter.is_source_slow(
            pace.slow if window is None else pace.still_slow
        ):
            await self._widen()
        window = self._window
        self._span = pace.trial if window is None else 2 * window.width * pace.chunk
        meter.restart()

    def _may_pay(self, worth: int) -> bool:
        lanes = self._lanes
        if self._source.store.identity in lanes.without_ranges:
            return False
        return self._blob.size - self._offset >= worth and lanes.readers <= lanes.pace.crowd

    async def _widen(self) -> None:
        pace = self._lanes.pace
        if self._window is None:
            start = self._offset + pace.chunk
            window = Window(self._source, self._blob, self._sink, self._lanes, start=start)
            window.width = pace.widths[0] - 1  # the stream is one of them for now
            await window.fill()
            if window.is_empty:
                return  # no slot or memory is free; perhaps later
            self._window, self._step = window, 0
        elif self._step + 1 < len(pace.widths):
            self._step += 1
        else:
            self._is_settled = True
            return
        self._rate = self._meter.rate
        self._window.width = pace.widths[self._step]

    async def _close_window(self) -> None:
        window, self._window = self._window, None
        if window is not None:
            await window.close()

    async def _close_stream(self) -> None:
        stream, self._stream, self._rest = self._stream, None, b""
        if stream is not None:
            await stream.aclose()
