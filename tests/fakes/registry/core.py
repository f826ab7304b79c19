"""The machinery under the fake: sockets, the request log, faults at their moments, kills."""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Self

from aiohttp import web

from tests.fakes.registry.calls import Call, HungUp, Refusal, Request, make_call, target_of
from tests.fakes.registry.faults import Answer, Cut, Drop, Faults, Rewrite, Stall, Swap

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

# What the log keeps of a request's headers; never a credential.
LOGGED = ("accept", "content-length", "content-range", "content-type", "range", "user-agent")
# Real registries and load balancers send and take long signed URLs.
LONGEST_LINE = 64 * 1024
PIECE = 64 * 1024


class Core(Faults):
    """Serve on loopback, log, misbehave when told to; the routes are in the subclasses."""

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, log: Path | None = None, port: int = 0
    ) -> None:
        super().__init__()
        self._port = port
        self.host = ""
        self.cdn_host = ""
        self.requests: list[Request] = []
        self.cdn_requests: list[Request] = []
        self.arrivals = 0
        # The other ends of the connections that brought a request.
        self.peers: set[object] = set()
        # Most requests for blobs at once: `read` of their bytes, `write` of uploads' bytes.
        self.peak: Counter[str] = Counter()
        # What must never happen; leaving the `async with` block raises it.
        self.leaks: list[str] = []
        self._tls = tls
        self._log = log
        self._busy: Counter[str] = Counter()
        self._kills: dict[int, Callable[[], object]] = {}
        self._crashes: list[Exception] = []
        self._servers: list[web.Server] = []
        self._runners: list[web.ServerRunner] = []

    @property
    def url(self) -> str:
        """The root of its URLs."""
        return f"{'https' if self._tls else 'http'}://{self.host}"

    def count(self, method: str, path: str, *, status: int | None = None) -> int:
        """Count finished requests whose path and query the regex `path` is found in."""
        return len(self.matching(method, path, status=status))

    def matching(self, method: str, path: str, *, status: int | None = None) -> list[Request]:
        """List finished requests whose path and query the regex `path` is found in."""
        return [
            one
            for one in self.requests
            if method in ("*", one.method)
            and status in (None, one.status)
            and re.search(path, target_of(one.path, one.query))
        ]

    def kill_at(self, number: int, callback: Callable[[], object]) -> None:
        """Call back when the `number`-th request (from 1) arrives.

        The request is worked on, as a server does that cannot know; its answer is not sent.
        """
        self._kills[number] = callback

    async def __aenter__(self) -> Self:
        self.host = await self._listen(self._port, self._serve)
        self.cdn_host = await self._listen(0, self._serve_cdn)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clear()
        for server in self._servers:
            for connection in server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
        for runner in self._runners:
            await runner.cleanup()
        if error is None:
            assert not self._crashes, f"the fake registry failed: {self._crashes!r}"
            assert not self.leaks, self.leaks

    async def answer(self, call: Call) -> web.StreamResponse:
        """Do the work of a request to the registry."""
        raise NotImplementedError

    async def answer_cdn(self, call: Call) -> web.StreamResponse:
        """Do the work of a request to the storage host."""
        raise NotImplementedError

    def refuse(self, call: Call, refusal: Refusal) -> web.Response:
        """Put an error into the form that clients are told of it in."""
        return web.Response(
            status=refusal.status,
            body=refusal.body,
            headers={"Content-Type": "application/json", **refusal.headers},
        )

    async def read_body(self, call: Call) -> AsyncIterator[bytes]:
        """Read the body of a request, piece by piece, as far as the faults let it come."""
        request = call.request
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        cut = next(self.struck(call.method, call.target, "received"), None)
        async for piece in request.content.iter_any():
            call.received += len(piece)
            if isinstance(cut, Cut) and call.received >= cut.at:
                yield piece[: len(piece) - (call.received - cut.at)]
                call.hang_up()
                raise HungUp
            yield piece

    async def send_blob(
        self, call: Call, data: bytes, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Serve a blob's bytes, or the part asked for, with what the faults do to them."""
        if call.muted:
            raise HungUp
        stops: list[tuple[int, Cut | Stall]] = []
        for action in self.struck(call.method, call.target, "served"):
            if isinstance(action, Swap):
                data = action.data
            elif isinstance(action, Cut | Stall) and action.at is not None:
                stops.append((action.at, action))
            if isinstance(action, Cut):
                break
        status, start, end = _range(call.request.headers.get("Range"), len(data))
        response = web.StreamResponse(status=status, headers={"Accept-Ranges": "bytes", **headers})
        if status == 206:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        response.content_length = end - start
        response.content_type = "application/octet-stream"
        rewrite(response, call.rewrites)
        await response.prepare(call.request)
        with self.busy("read"):
            place = start
            for at, action in sorted(stops, key=lambda stop: stop[0]):
                place = await self._send(call, response, data, place, min(end, start + at))
                if isinstance(action, Stall):
                    await action.hold()
                else:
                    call.hang_up()
                    raise HungUp
            place = await self._send(call, response, data, place, max(place, end - PIECE))
            # In the log before the client can have it all: a test may look at once.
            call.sent = end - start
            self._record(call, status)
            await response.write(data[place:end])
        await response.write_eof()
        return response

    @contextmanager
    def busy(self, kind: str) -> Iterator[None]:
        """Count a stream of blob bytes for `peak` while it lasts."""
        self._busy[kind] += 1
        self.peak[kind] = max(self.peak[kind], self._busy[kind])
        try:
            yield
        finally:
            self._busy[kind] -= 1

    async def _send(
        self, call: Call, response: web.StreamResponse, data: bytes, place: int, end: int
    ) -> int:
        while place < end:
            piece = data[place : min(end, place + PIECE)]
            await response.write(piece)
            call.sent += len(piece)
            place += len(piece)
        return place

    async def _listen(
        self, port: int, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    ) -> str:
        server = web.Server(
            handler,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
        )
        runner = web.ServerRunner(server)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=self._tls)
        await site.start()
        self._servers.append(server)
        self._runners.append(runner)
        return f"127.0.0.1:{runner.addresses[0][1]}"

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.arrivals += 1
        if request.transport is not None:
            self.peers.add(request.transport.get_extra_info("peername"))
        call = make_call(self.arrivals, request)
        kill = self._kills.pop(call.number, None)
        if kill is not None:
            call.muted = True
            kill()
        return await self._logged(call, self.answer)

    async def _serve_cdn(self, request: web.BaseRequest) -> web.StreamResponse:
        if "Authorization" in request.headers:
            self.leaks.append(f"Authorization reached the storage host: {request.path}")
        return await self._logged(make_call(0, request), self.answer_cdn)

    async def _logged(
        self, call: Call, work: Callable[[Call], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        status = 0
        try:
            response = await self._misbehaving(call, work)
            if call.muted:
                raise HungUp
            status = response.status
        except (HungUp, ConnectionError):
            # What is returned to a closed connection is not sent; aiohttp logs nothing then.
            call.hang_up()
            return web.Response()
        except Exception as error:
            self._crashes.append(error)
            raise
        finally:
            self._record(call, status)
        return response

    async def _misbehaving(
        self, call: Call, work: Callable[[Call], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        for action in self.struck(call.method, call.target, "arrival"):
            if isinstance(action, Stall):
                await action.hold()
            elif isinstance(action, Drop):
                raise HungUp
            elif isinstance(action, Answer):
                return web.Response(
                    status=action.status, body=action.body, headers=dict(action.headers)
                )
        for action in self.struck(call.method, call.target, "headers"):
            if isinstance(action, Rewrite):
                call.rewrites.append(action)
        try:
            response = await work(call)
        except Refusal as refusal:
            response = self.refuse(call, refusal)
        for action in self.struck(call.method, call.target, "answer"):
            if isinstance(action, Drop):
                raise HungUp
            if isinstance(action, Stall):
                await action.hold()
        if not response.prepared:
            rewrite(response, call.rewrites)
        if isinstance(response, web.Response) and call.method != "HEAD":
            call.sent = response.content_length or call.sent
        return response

    def _record(self, call: Call, status: int) -> None:
        if call.recorded:
            return
        call.recorded = True
        headers = call.request.headers
        record = Request(
            number=call.number,
            method=call.method,
            path=call.path,
            query=call.query,
            status=status,
            headers={name: headers[name] for name in LOGGED if name in headers},
            authorised="Authorization" in headers,
            received=call.received,
            sent=call.sent,
        )
        (self.requests if call.number else self.cdn_requests).append(record)
        if self._log is not None and call.number:
            with self._log.open("a") as file:
                file.write(json.dumps(asdict(record)) + "\n")


def rewrite(response: web.StreamResponse, rewrites: list[Rewrite]) -> None:
    """Change the headers of an answer as the faults want."""
    for each in rewrites:
        for name, value in each.headers.items():
            response.headers.popall(name, None)
            if value is not None:
                response.headers[name] = value


def _range(header: str | None, size: int) -> tuple[int, int, int]:
    """Read a Range header: the status, the first byte and the one after the last."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", header or "")
    if not found:
        return 200, 0, size
    start, end = int(found[1]), int(found[2] or size - 1) + 1
    if start >= size:
        raise Refusal(416, "RANGE_INVALID", headers={"Content-Range": f"bytes */{size}"})
    return 206, start, min(end, size)
