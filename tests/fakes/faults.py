"""A proxy before a real server that records what passes and breaks some of it.

It knows of HTTP/1.1 where a request and an answer end, and no more: every byte passes as it
is, so that signed URLs, digests and upload sessions stay what they are. What breaks, and
where, is a script's to say for each request; `Storm` is one that draws from a seed.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from types import TracebackType

__all__ = ["Break", "Fault", "FaultProxy", "Refusal", "Relayed", "Storm"]

PIECE = 64 * 1024
# Signed URLs and upload states make long heads.
LONGEST_HEAD = 256 * 1024
# A client tries a request five times; one that meets fewer faults must get through.
MOST_FAULTS = 2
# Requests that a burst of 503 strikes.
BURST = 5
# Each costs the client's whole patience, in real time.
MOST_STALLS = 3
# SO_LINGER on, with no time: closing resets the connection.
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer in place of the server's, which never sees the request."""

    status: int
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Break:
    """The connection ends, or stands still, at some point of an exchange.

    `request`: when `share` of its body has passed on. `answer`: the server has done the work,
    not a byte of its answer passes. `body`: when `share` of the answer's body has passed.
    """

    how: Literal["reset", "close", "stall"]
    part: Literal["request", "answer", "body"]
    share: float = 0.0


Fault = Refusal | Break


@dataclass(slots=True)
class Relayed:
    """A request that came by, its headers by lower-case name, and what became of it."""

    method: str
    target: str
    headers: Mapping[str, str]
    head: bytes = field(repr=False)
    status: int | None = None
    fault: Fault | None = None

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def length(self) -> int | None:
        """The size of the body; None if only its end will tell."""
        return _length(self.headers)


class Storm:
    """Faults by chance, drawn from the seed and the request, whatever the order of all requests.

    Each meets at most `MOST_FAULTS`. Only bursts of 503, which strike whatever comes next, and
    the few stalls depend on the order.
    """

    def __init__(self, seed: int, *, chance: float = 0.12) -> None:
        self._seed, self._chance = seed, chance
        self._met: Counter[str] = Counter()
        self._burst = self._stalls = 0

    def __call__(self, request: Relayed) -> Fault | None:
        """Draw a fault, or none, for a request."""
        digest = parse_qs(urlsplit(request.target).query).get("digest", [""])[0]
        # A session's URL is new each time; its blob is not.
        name = f"{request.method} {digest or request.target}"
        if self._met[name] >= MOST_FAULTS:
            return None
        drawn = self._draw(name, request)
        if drawn is None and self._burst:
            self._burst -= 1
            drawn = Refusal(503)
        self._met[name] += drawn is not None
        return drawn

    def _draw(self, name: str, request: Relayed) -> Fault | None:
        dice = random.Random(f"{self._seed} {name} {self._met[name]}")
        if dice.random() >= self._chance:
            return None
        share = dice.random()
        faults: list[Fault] = [Refusal(503), Refusal(429, 0), Break("reset", "answer")]
        if request.method == "GET":
            faults += [Break(how, "body", share) for how in ("reset", "reset", "close")]
        elif request.length:
            faults += [Break("reset", "request", share), Break("close", "request", share)]
        is_slow = request.method in ("GET", "HEAD", "PUT") and dice.random() < 0.05
        if is_slow and self._stalls < MOST_STALLS:
            self._stalls += 1
            faults = [Break("stall", "body" if request.method == "GET" else "answer", share)]
        fault = dice.choice(faults)
        if fault == Refusal(503):
            self._burst = BURST
        return fault


class FaultProxy:
    """Relay every request to `upstream`, a host[:port], as `script` allows.

    `script` may be changed while it runs; without one everything passes.
    """

    def __init__(self, upstream: str, script: Callable[[Relayed], Fault | None] | None = None):
        self.script = script
        self.requests: list[Relayed] = []
        self._name, _, port = upstream.rpartition(":")
        self._port = int(port)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self.host = ""

    @property
    def faults(self) -> list[Fault]:
        """The faults that struck so far."""
        return [request.fault for request in self.requests if request.fault is not None]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", 0, limit=LONGEST_HEAD)
        self.host = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        ends = [_End(reader, writer)]
        try:
            await self._serve(ends)
        except (OSError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            for end in ends:
                end.writer.transport.abort()
            raise
        finally:
            self._tasks.discard(task)
            for end in ends:
                await end.close()

    async def _serve(self, ends: list[_End]) -> None:
        """Serve the client at `ends[0]`; the other end is dialled when it is needed."""
        near = ends[0]
        while (request := await _read_request(near)) is not None:
            self.requests.append(request)
            request.fault = self.script(request) if self.script else None
            if isinstance(request.fault, Refusal):
                await self._refuse(request, request.fault, near)
                continue
            if len(ends) == 1:
                dialled = await asyncio.open_connection(self._name, self._port, limit=LONGEST_HEAD)
                ends.append(_End(*dialled))
            if not await self._relay(request, near, ends[1]):
                return

    async def _refuse(self, request: Relayed, refusal: Refusal, near: _End) -> None:
        async for _ in near.body(request.length):
            pass
        request.status = refusal.status
        after = "" if refusal.retry_after is None else f"Retry-After: {refusal.retry_after}\r\n"
        head = f"HTTP/1.1 {refusal.status} Refused\r\n{after}Content-Length: 0\r\n\r\n"
        await near.send(head.encode())

    async def _relay(self, request: Relayed, near: _End, far: _End) -> bool:
        """Pass one request and its answer on; False if the connection cannot serve another."""
        fault = request.fault if isinstance(request.fault, Break) else None
        await far.send(request.head)
        if not await far.take(near, request.length, fault if _at(fault, "request") else None):
            return await self._break(fault, near, far)
        head = await far.reader.readuntil(b"\r\n\r\n")
        line, headers = _parse(head)
        request.status = int(line.split(" ")[1])
        if _at(fault, "answer"):
            return await self._break(fault, near, far)
        await near.send(head)
        is_bare = request.method == "HEAD" or request.status in (204, 304)
        length = 0 if is_bare else _length(headers)
        if not await near.take(far, length, fault if _at(fault, "body") else None):
            return await self._break(fault, near, far)
        return headers.get("connection", "").lower() != "close"

    async def _break(self, fault: Break | None, near: _End, far: _End) -> bool:
        assert fault is not None
        if fault.how == "stall":
            # Until the proxy ends and cancels this; the client has given up long before.
            await asyncio.Event().wait()
        far.reset()
        if fault.how == "reset":
            near.reset()
        return False


class _End:
    """One side of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def take(self, other: _End, length: int | None, fault: Break | None) -> bool:
        """Send on the body that the other end has; False if the fault broke it off."""
        left = int(fault.share * (length or 0)) if fault is not None else None
        async for piece in other.body(length):
            if left is not None and len(piece) > left:
                await self.send(piece[:left])
                return False
            left = None if left is None else left - len(piece)
            await self.send(piece)
        return fault is None

    async def body(self, length: int | None) -> AsyncIterator[bytes]:
        """Yield a body as it is on the wire: of a length, or in chunks with their sizes."""
        if length is not None:
            while length:
                piece = await self.reader.read(min(PIECE, length))
                if not piece:
                    raise asyncio.IncompleteReadError(b"", length)
                length -= len(piece)
                yield piece
            return
        size = -1
        while size != 0:
            line = await self.reader.readuntil(b"\r\n")
            size = int(line.partition(b";")[0], 16)
            yield line + await self.reader.readexactly(size + 2)

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        with suppress(OSError):
            self.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _RESET
            )
        self.writer.transport.abort()


async def _read_request(end: _End) -> Relayed | None:
    """Read the next request's head; None if the client is done with the connection."""
    try:
        head = await end.reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    line, headers = _parse(head)
    method, target, _ = line.split(" ")
    return Relayed(method, target, headers, head)


def _parse(head: bytes) -> tuple[str, Mapping[str, str]]:
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.lower(): value.strip() for name, _, value in pairs}


def _length(headers: Mapping[str, str]) -> int | None:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return None
    return int(headers.get("content-length", "0"))


def _at(fault: Break | None, part: str) -> bool:
    return fault is not None and fault.part == part
