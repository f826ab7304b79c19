"""One HTTP session for a whole run: single requests in, answers or `StoreError`s out.

No retries, no authentication and no redirects: those are decisions, and are made by
`exchange.py` and `retries.py`. The settings below are each a trap of aiohttp's that a
migration falls into (requoted URLs, silent decompression, a total timeout of 300 s, cookies).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import aiohttp
from yarl import URL

from imgmigrate import __version__
from imgmigrate.errors import ProtocolError, TransientError
from imgmigrate.stores.registry.http.failures import connection_failure
from imgmigrate.stores.registry.http.limits import ERROR_BODY, HEADER_LINE, Timeouts
from imgmigrate.stores.registry.http.trust import Proxies

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Mapping
    from types import TracebackType

    from imgmigrate.stores.registry.http.trust import Trust

__all__ = ["Answer", "Body", "Http", "Request"]

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


@dataclass(frozen=True, slots=True)
class Body:
    """What to send: its pieces, and how many bytes they are together."""

    pieces: AsyncIterable[bytes]
    length: int

    @classmethod
    def of(cls, data: bytes) -> Body:
        """Send `data`, as often as it takes."""
        return cls(_Whole(data), len(data))


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
    its answer, which comes only when the registry has stored the whole body.
    """

    method: str
    url: str
    subject: str
    trust: Trust
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Body | None = None
    patient: bool = False


class Answer:
    """An answer: status, headers, the URL that gave it; then its body, whole or in pieces.

    `body` is filled by `load`, and for an error before anyone sees it. Leaving `async with`
    returns the connection if the body was read to its end, and closes it otherwise.
    """

    def __init__(self, raw: aiohttp.ClientResponse, request: Request) -> None:
        self._raw, self._request = raw, request
        self.status = raw.status
        self.url = request.url
        self.body = b""
        self._is_closed = False

    def header(self, name: str) -> str | None:
        """The first header of that name, whatever its case."""
        return self._raw.headers.get(name)

    def headers(self, name: str) -> list[str]:
        """Every header of that name."""
        return list(self._raw.headers.getall(name, ()))

    @property
    def length(self) -> int | None:
        """What `Content-Length` says; None if it is absent or not a number."""
        text = self.header("Content-Length") or ""
        return int(text) if text.isascii() and text.isdigit() else None

    async def load(self, limit: int) -> None:
        """Read the whole body; ProtocolError above `limit` bytes."""
        await self._load(limit)
        if len(self.body) > limit:
            cause = f"the answer is longer than {limit} bytes"
            raise ProtocolError(self._request.subject, cause, status=self.status)

    async def settle(self) -> None:
        """Read the beginning of an error's body, so that the connection can serve again."""
        await self._load(ERROR_BODY)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; TransientError if it breaks or stalls."""
        try:
            async for piece in self._raw.content.iter_any():
                yield piece
        except (aiohttp.ClientError, OSError) as error:
            raise connection_failure(self._request.subject, self.url, error) from error

    async def _load(self, limit: int) -> None:
        if self._is_closed:
            return
        parts, size = [], 0
        async for piece in self.pieces():
            parts.append(piece)
            size += len(piece)
            if size > limit:
                self._raw.close()
                break
        self.body = b"".join(parts)[: limit + 1]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection up, unless it is already free."""
        self._is_closed = True
        self._raw.close()


class Http:
    """The session: one for a run, shared by all registries, made while the loop runs."""

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        self.timeouts = timeouts = timeouts or Timeouts()
        self._session = _session()
        self._proxies = Proxies()
        self._usual = aiohttp.ClientTimeout(
            total=None, connect=None, sock_connect=timeouts.connect, sock_read=timeouts.read
        )
        self._patient = aiohttp.ClientTimeout(
            total=None, connect=None, sock_connect=timeouts.connect, sock_read=timeouts.commit
        )

    async def send(self, request: Request) -> Answer:
        """Send one request and return its answer, an error's body already read.

        TransientError, or what `connection_failure` makes of it, if there is no answer.
        """
        headers = {**_ALWAYS, **request.headers}
        if request.body is not None:
            # Without it aiohttp sends chunks, which storage behind registries refuses.
            headers["Content-Length"] = str(request.body.length)
        proxy = self._proxies.of(request.url)
        is_tls = request.url.startswith("https:")
        authorization = (
            {"Proxy-Authorization": proxy.authorization} if proxy and proxy.authorization else None
        )
        if authorization and not is_tls:
            headers |= authorization
        try:
            raw = await self._session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=headers,
                data=_data(request.body),
                allow_redirects=False,
                ssl=request.trust.context(request.url) if is_tls else True,
                proxy=proxy.url if proxy else None,
                proxy_headers=authorization if is_tls else None,
                timeout=self._patient if request.patient else self._usual,
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise connection_failure(request.subject, request.url, error) from error
        answer = Answer(raw, request)
        if answer.status >= FIRST_ERROR:
            await _settle(answer)
        return answer

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()


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


def _data(body: Body | None) -> AsyncIterable[bytes] | None:
    return body.pieces if body is not None and body.length else None


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=0,  # budgets and the pace decide, not a pool whose queue counts as connecting
        limit_per_host=0,
        keepalive_timeout=KEEP_ALIVE,
        ttl_dns_cache=DNS_CACHE,
        resolver=aiohttp.ThreadedResolver(),
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
