"""The line between commands and what keeps their state: a relay that is cut at a chosen moment.

It runs in a thread of its own, so that whoever cuts it may run a command meanwhile.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

__all__ = ["Line", "lined"]

PIECE = 64 * 1024
# SO_LINGER on, with no time: closing resets the connection.
_RESET = struct.pack("ii", 1, 0)


class Line:
    """A relay to a port of this machine; what passes it is counted in pieces, of both directions.

    What was cut in the middle of an answer the server has done; in the middle of a request, not.
    """

    def __init__(self, behind: int) -> None:
        self.behind, self.port = behind, 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()
        # How many pieces are left until it is cut; None: it stays.
        self._left: int | None = None
        self._seconds = 0.0
        self._meanwhile: Callable[[], None] | None = None
        self._whole = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.cuts = 0

    def cut(self, left: int, seconds: float, meanwhile: Callable[[], None] | None = None) -> None:
        """Let so many pieces pass, end all connections, and let none come about for a while.

        `meanwhile` something else may happen, as to the server behind; it is waited for.
        """

        async def arm() -> None:
            self._left, self._seconds, self._meanwhile = left, seconds, meanwhile

        self._do(arm())

    def mend(self) -> None:
        """Let it stay from now on; return when it is whole."""

        async def stay() -> None:
            self._left = None
            await self._whole.wait()

        self._do(stay())

    def end(self) -> None:
        """Stop relaying."""

        async def over() -> None:
            self._over.set()

        self._do(over())

    async def serve(self, ready: threading.Event) -> None:
        """Relay until its end."""
        self._loop = asyncio.get_running_loop()
        self._whole.set()
        server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await self._over.wait()
        while self._tasks:
            for each in self._writers:
                self._reset(each)
            await asyncio.wait(self._tasks)

    def _do(self, work: Coroutine[None, None, None]) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._keep(asyncio.current_task())
        self._writers.add(writer)
        far_writer = None
        try:
            if not self._whole.is_set():
                self._reset(writer)
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.behind)
            self._writers.add(far_writer)
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
        except OSError:
            self._reset(writer)
        finally:
            for each in (writer, far_writer):
                if each is not None:
                    self._writers.discard(each)
                    each.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE):
            if self._left is not None:
                self._left -= 1
                if self._left <= 0:
                    self._break()
                    return
            writer.write(piece)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()

    def _break(self) -> None:
        self._left = None
        self.cuts += 1
        self._whole.clear()
        for each in self._writers:
            self._reset(each)
        self._keep(asyncio.ensure_future(self._mended()))

    def _keep(self, task: asyncio.Task[None] | None) -> None:
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _mended(self) -> None:
        try:
            if self._meanwhile is not None:
                await asyncio.to_thread(self._meanwhile)
            await asyncio.sleep(self._seconds)
        finally:
            self._whole.set()

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        found = writer.get_extra_info("socket")
        with suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()


@contextmanager
def lined(behind: int) -> Iterator[Line]:
    """Relay to a port."""
    line, ready = Line(behind), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(line.serve(ready)), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield line
    finally:
        line.end()
        thread.join()
