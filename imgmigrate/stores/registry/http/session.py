"""One HTTP client for a whole run: single requests in, answers or `StoreError`s out.

No retries, no authentication and no redirects: those are decisions, and are made by
`remote.py` and `stores/retries.py`. The way to an answer's headers is bounded in time here, its
body in `answer.py`, and no connection goes deeper into a network than `addresses.py` allows. The
settings below are each a trap of aiohttp's that a migration falls into (requoted URLs, silent
decompression, a total timeout of 300 s, cookies).
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
from msgspec import Struct
from yarl import URL

from imgmigrate import __version__
from imgmigrate.errors import ProtocolError, Rejected, TransientError
from imgmigrate.events import NoSink
from imgmigrate.stores.registry.http.addresses import Depth, Map, Refused, Resolver, sockets
from imgmigrate.stores.registry.http.answer import Answer
from imgmigrate.stores.registry.http.certificates import describe
from imgmigrate.stores.registry.http.failures import connection_failure
from imgmigrate.stores.registry.http.limits import (
    HEADER_LINE,
    Timeouts,
)
from imgmigrate.stores.registry.http.line import Line, Poured, shallow
from imgmigrate.stores.registry.http.silence import Silence
from imgmigrate.stores.registry.http.trace import is_traced, traced
from imgmigrate.stores.registry.http.trust import Proxies

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable, Mapping
    from contextlib import AbstractContextManager

    from imgmigrate.events import Sink
    from imgmigrate.stores.registry.http.trust import Proxy, Trust

__all__ = ["Body", "Http", "Request"]

FIRST_ERROR = 400
# aiohttp's cheapest piece; a manifest of megabytes would block the loop.
PIECE = 256 * 1024
# Longer than aiohttp's 15 s: a repository's next blob often follows after a while.
KEEP_ALIVE = 60
DNS_CACHE = 300
_ALWAYS = {
    "User-Agent": f"imgmigrate/{__version__}",
    # Anything else makes lengths and digests lie (protocol 0.2).
    "Accept-Encoding": "identity",
}


class Body(Struct, frozen=True):
    """What to send: its pieces, and how many bytes they are together; `line` watches them."""

    pieces: AsyncIterable[bytes]
    length: int
    line: Line | None = None

    @classmethod
    def of(cls, data: bytes) -> Body:
        """Send `data`, as often as it takes."""
        return cls(_Whole(data), len(data))

    @property
    def is_whole(self) -> bool:
        """Whether it can be sent more than once."""
        return isinstance(self.pieces, _Whole)


@dataclass(frozen=True, slots=True)
class _Whole:
    """Bytes that can be sent again, since every iteration starts over."""

    data: bytes = field(repr=False)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), PIECE):
            yield self.data[start : start + PIECE]


@dataclass(frozen=True, slots=True)
class Request:
    """One request to one URL, sent as it stands. `subject` is the object it is about.

    `headers` may hold credentials and are never shown. A `patient` request waits long for
    its answer, which comes only when the registry has stored the whole body. `patience` is told
    to people where who asks gives up earlier than usual, in seconds.
    """

    method: str
    url: str
    subject: str
    trust: Trust
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Body | None = None
    patient: bool = False
    patience: float | None = None


class _Way(Struct, frozen=True):
    """Through which proxy, and how deep into a network, a server may be reached."""

    proxy: Proxy | None
    limit: Depth


class Http:
    """The client: one for a run, shared by all registries, made while the loop runs.

    `named` are the hosts of the config that every registry may point at, wherever they lie.
    Connections of different depths are never shared: a registry must not get inside through
    one that was opened for another. `sink` is told of servers that keep silent. `is_confined`:
    a stranger chose what is asked, so tokens are asked for at a registry's own server and at
    the `named` hosts alone.
    """

    def __init__(
        self,
        timeouts: Timeouts | None = None,
        named: Iterable[str] = (),
        sink: Sink | None = None,
        *,
        is_confined: bool = False,
    ) -> None:
        self.is_confined = is_confined
        # Requests that were sent, each attempt counted.
        self.sent = 0
        self.timeouts = timeouts = timeouts or Timeouts()
        self.silence = Silence(sink or NoSink())
        self._map = Map(named)
        # A pool of connections for each depth, made without an await: never two of one depth.
        self._sessions: dict[Depth, aiohttp.ClientSession] = {}
        self._ways: dict[tuple[Trust, str], _Way] = {}
        self._proxies = Proxies()
        # Nothing but the connection is timed by aiohttp: that costs two timers a request and one
        # a piece. `_send` bounds the way to the headers, `Answer` a body, who sends one its way.
        self._limits = aiohttp.ClientTimeout(
            total=None, connect=None, sock_connect=timeouts.connect, sock_read=None
        )

    def names(self, url: str) -> bool:
        """Tell whether a URL leads to one of the hosts that the config names."""
        return self._map.names(url)

    def send(self, request: Request) -> Coroutine[Any, Any, Answer]:
        """Send one request and return its answer, an error's body already read.

        TransientError, or what `connection_failure` makes of it, if there is no answer.
        """
        self.sent += 1
        return traced(request, self._send) if is_traced() else self._send(request)

    async def _send(self, request: Request) -> Answer:
        headers = {**_ALWAYS, **request.headers}
        if request.body is not None:
            # Without it aiohttp sends chunks, which storage behind registries refuses.
            headers["Content-Length"] = str(request.body.length)
        way = self._way(request)
        proxy, is_tls = way.proxy, request.url.startswith("https:")
        authorization = (
            {"Proxy-Authorization": proxy.authorization} if proxy and proxy.authorization else None
        )
        if authorization and not is_tls:
            headers |= authorization
        try:
            # A patient request sends a body first, which may take hours; who sends it watches.
            limit = None if request.patient else self.timeouts.answer
            async with asyncio.timeout(limit):
                with self._watched(request):
                    raw = await self._session(way.limit).request(
                        request.method,
                        URL(request.url, encoded=True),
                        headers=headers,
                        data=_data(request.body),
                        allow_redirects=False,
                        ssl=request.trust.context(request.url) if is_tls else True,
                        proxy=proxy.url if proxy else None,
                        proxy_headers=authorization if is_tls else None,
                        timeout=self._limits,
                    )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(getattr(error, "os_error", None), Refused):
                raise _too_deep(request) from None
            failed = connection_failure(request.subject, request.url, error)
            code = getattr(getattr(error, "certificate_error", None), "verify_code", None)
            if code is not None and proxy is None and request.trust.is_own(request.url):
                seen = await describe(request.url, request.trust, code)
                if seen is not None:
                    cause = f"{failed.cause}: {seen}"
                    failed = failed.remade(Rejected, cause=cause, hint=failed.hint)
            raise failed from error
        is_relayed = proxy is not None and not is_tls
        # The answer owns a connection from here on. Nothing is awaited before it has an owner: an
        # error's is closed here, however reading it ends, any other by whoever gets the answer.
        answer = Answer(raw, request, self.timeouts, is_relayed=is_relayed)
        if answer.status >= FIRST_ERROR:
            await _settle(answer)
        return answer

    def _watched(self, request: Request) -> AbstractContextManager[None]:
        """Say so if no answer comes; who sends a body in pieces knows when the last one left."""
        body, patience = request.body, request.patience or self.timeouts.answer
        if body is not None and request.patient:
            if not isinstance(body.pieces, _Whole):
                return nullcontext()
            patience = self.timeouts.patience(body.length)
        return self.silence.waiting(request.method, request.url, request.subject, patience)

    async def aclose(self) -> None:
        """Close every connection."""
        async with AsyncExitStack() as stack:
            for session in self._sessions.values():
                stack.push_async_callback(session.close)

    def _way(self, request: Request) -> _Way:
        """How to reach the server of a URL; looked up once for a registry's own.

        How deep other servers may lie depends on what is looked up meanwhile.
        """
        key = (request.trust, "/".join(request.url.split("/", 3)[:3]))
        way = self._ways.get(key)
        if way is None:
            is_own = request.trust.is_own(request.url)
            proxy = self._proxies.of(request.url, request.trust)
            way = _Way(proxy, self._limit(request, proxy, is_own=is_own))
            if is_own:
                self._ways[key] = way
        return way

    def _limit(self, request: Request, proxy: Proxy | None, *, is_own: bool) -> Depth:
        """How deep this request may connect; a proxy, which the user chose, may be anywhere."""
        limit = self._map.limit(request.url, request.trust.name, is_own=is_own)
        if proxy is None:
            return limit
        if self._map.is_literal_too_deep(urlsplit(request.url).hostname or "", limit):
            raise _too_deep(request)
        return Depth.LOCAL

    def _session(self, limit: Depth) -> aiohttp.ClientSession:
        if limit not in self._sessions:
            self._sessions[limit] = _session(limit, Resolver(self._map))
        return self._sessions[limit]


def _too_deep(request: Request) -> ProtocolError:
    parts = urlsplit(request.url)
    if request.trust.is_own(request.url):
        cause = f"{parts.netloc} is at an address where no registry can be"
        return ProtocolError(request.subject, cause, hint="check its name, and what DNS says of it")
    cause = f"it points to {parts.netloc}, which lies inside a network that it is not part of"
    hint = f'if that is intended, add to the config: registries: {{"{parts.netloc}": {{}}}}'
    return ProtocolError(request.subject, cause, hint=hint)


async def _settle(answer: Answer) -> None:
    """Read an error's body; that it breaks off does not make the error another one."""
    try:
        # 2.8.2 sends a wrong Content-Length with 416 (protocol 2.3).
        if answer.status != 416:
            await answer.settle()
    except TransientError:
        answer.body = b""
    finally:
        answer.close()


def _data(body: Body | None) -> AsyncIterable[bytes] | Poured | bytes | None:
    if body is None or not body.length:
        return None
    if isinstance(body.pieces, _Whole) and body.length <= PIECE:
        return body.pieces.data  # aiohttp sends bytes in fewer steps, but all at once
    return Poured(body.pieces, body.line) if body.line else body.pieces


def _session(limit: Depth, resolver: Resolver) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=0,  # budgets and the pace decide, not a pool whose queue counts as connecting
        limit_per_host=0,
        keepalive_timeout=KEEP_ALIVE,
        ttl_dns_cache=DNS_CACHE,
        resolver=resolver,
        socket_factory=shallow(sockets(limit)),
    )
    return aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        requote_redirect_url=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        max_line_size=HEADER_LINE,
        max_field_size=HEADER_LINE,
    )
