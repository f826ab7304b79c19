"""A server below HTTP libraries: answers each request with exactly the bytes a test gives it."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    # From method and target to what is sent; endless if the test wants it so.
    Script = Callable[[str, str], Iterable[bytes]]

_UNREAD = (asyncio.IncompleteReadError, asyncio.LimitOverrunError)
_LENGTH = re.compile(rb"(?i)^content-length: *([0-9]+)\r?$", re.MULTILINE)


@asynccontextmanager
async def raw_server(script: Script, *, seen: list[bytes] | None = None) -> AsyncIterator[str]:
    """Serve on a free loopback port and give host:port; what arrives is added to `seen`.

    A connection is closed after its answer; at an empty piece it stays open and silent.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.CancelledError, *_UNREAD):
                head = await reader.readuntil(b"\r\n\r\n")
                found = _LENGTH.search(head)
                body = await reader.readexactly(int(found[1])) if found else b""
                if seen is not None:
                    seen.append(head + body)
                method, target, _ = head.decode("latin-1").split(" ", 2)
                for piece in script(method, target):
                    writer.write(piece)
                    await writer.drain()
                    # On loopback draining seldom waits: let the other side read meanwhile.
                    await (asyncio.sleep(0) if piece else asyncio.Event().wait())
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answer(body: bytes = b"", *headers: str, status: int = 200, length: int | None = None) -> bytes:
    """Put an answer together; `length` is what it says of its body, if that is not true."""
    lines = [f"HTTP/1.1 {status} X", *headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def chunked(*headers: str, status: int = 200) -> bytes:
    """Begin an answer that does not say how long it is."""
    lines = [f"HTTP/1.1 {status} X", *headers, "Transfer-Encoding: chunked", "", ""]
    return "\r\n".join(lines).encode()


def chunk(data: bytes) -> bytes:
    """One chunk of such an answer."""
    return b"%x\r\n%s\r\n" % (len(data), data)
