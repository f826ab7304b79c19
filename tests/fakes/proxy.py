"""A small HTTP proxy: CONNECT for https, absolute URLs for plain http, Basic if asked to.

It dials where `dials` says, so that a test can give any name to a server on loopback.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from contextlib import suppress
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["FakeProxy"]

LONGEST_HEAD = 64 * 1024
PIECE = 64 * 1024


class FakeProxy:
    """A proxy on a free loopback port, for the length of an `async with`.

    `requests` are the first lines it got, `refused` those without the right credentials.
    """

    def __init__(self, user: str | None = None, password: str = "", *, answers: int = 0) -> None:
        userinfo = b64encode(f"{user}:{password}".encode()).decode()
        self._wanted = f"Basic {userinfo}" if user is not None else None
        # Answer everything with this status instead of passing it on.
        self.answers = answers
        self.dials: dict[str, str] = {}
        self.requests: list[str] = []
        self.refused: list[str] = []
        self.host = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=LONGEST_HEAD)
        self.host = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._pass_on(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in map(_parted, lines)}
        method, target, _ = first.split(" ")
        self.requests.append(f"{method} {target}")
        status = self.answers
        if self._wanted is not None and headers.get("proxy-authorization") != self._wanted:
            self.refused.append(f"{method} {target}")
            status = 407
        if status:
            writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return
        host = target if method == "CONNECT" else urlsplit(target).netloc
        name, _, port = self.dials.get(host, host).rpartition(":")
        there_reads, there_writes = await asyncio.open_connection(name, int(port))
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = target.partition(host)[2] or "/"
                kept = [line for line in lines if not line.lower().startswith("proxy-")]
                head = "\r\n".join([f"{method} {path} HTTP/1.1", *kept, "Connection: close"])
                there_writes.write(f"{head}\r\n\r\n".encode())
            async with asyncio.TaskGroup() as both:
                up = both.create_task(_copy(reader, there_writes))
                await _copy(there_reads, writer)
                up.cancel()
        finally:
            there_writes.close()


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(":")


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await source.read(PIECE):
            target.write(piece)
            await target.drain()
