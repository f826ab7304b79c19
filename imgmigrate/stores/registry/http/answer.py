"""An answer and its body, whole or in pieces; whatever a server sends is bounded here.

Bounded in bytes and in time: a body may be endless, or come a byte at a time.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import aiohttp

from imgmigrate.errors import ProtocolError, TransientError
from imgmigrate.stores.registry.http.coding import decoded
from imgmigrate.stores.registry.http.failures import connection_failure
from imgmigrate.stores.registry.http.limits import ERROR_BODY, LEAST_PROGRESS, LONGEST_NUMBER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from imgmigrate.stores.registry.http.limits import Timeouts
    from imgmigrate.stores.registry.http.session import Request

__all__ = ["Answer"]


class Answer:
    """An answer: status, headers, the URL that gave it; then its body, whole or in pieces.

    `body` is filled by `load`, and for an error before anyone sees it. Leaving `async with`
    returns the connection if the body was read to its end, and closes it otherwise. `is_relayed`:
    a proxy that reads along handed it over, or made it.
    """

    def __init__(
        self,
        raw: aiohttp.ClientResponse,
        request: Request,
        timeouts: Timeouts,
        *,
        is_relayed: bool = False,
    ) -> None:
        self._raw, self._request, self._timeouts = raw, request, timeouts
        self.is_relayed = is_relayed
        self.status = raw.status
        self.url = request.url
        self.body = b""
        self._is_closed = False

    def header(self, name: str) -> str | None:
        """The first header of that name, whatever its case."""
        return self._raw.headers.get(name)

    def headers(self, name: str) -> list[str]:
        """Every header of that name."""
        found = self._raw.headers
        return list(found.getall(name)) if name in found else []

    @property
    def length(self) -> int | None:
        """What `Content-Length` says; None if it is absent or not a number."""
        return self.number("Content-Length")

    def number(self, name: str) -> int | None:
        """A header that is a count; None if it is absent or no sane number."""
        text = self.header(name) or ""
        is_number = text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER
        return int(text) if is_number else None

    async def load(self, limit: int) -> None:
        """Read the whole body; ProtocolError above `limit` bytes."""
        body = await self._read(limit, self._timeouts.commit)
        if body is None:
            cause = f"the answer is longer than {limit} bytes"
            raise ProtocolError(self._request.subject, cause, status=self.status)
        try:
            self.body = decoded(body, self.header("Content-Encoding"), limit)
        except ValueError as error:
            raise ProtocolError(self._request.subject, str(error), status=self.status) from None

    async def settle(self) -> None:
        """Read an error's body if it is short, so that the connection can serve again."""
        body = await self._read(ERROR_BODY, self._timeouts.read) or b""
        with suppress(ValueError):
            body = decoded(body, self.header("Content-Encoding"), ERROR_BODY)
        self.body = body

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; TransientError if it breaks, stalls or only trickles.

        Time that the caller takes for a piece is not held against the server.
        """
        loop, waited, arrived = asyncio.get_running_loop(), 0.0, 0
        while True:
            began = loop.time()
            try:
                # A limit of aiohttp's would start again with every byte, also with those of an
                # endless chunk extension that no piece ever comes from.
                async with asyncio.timeout(self._timeouts.read):
                    piece = await self._raw.content.readany()
            except (aiohttp.ClientError, OSError) as error:
                raise connection_failure(self._request.subject, self.url, error) from error
            if not piece:
                return
            waited, arrived = waited + loop.time() - began, arrived + len(piece)
            if waited >= self._timeouts.read:
                if arrived < LEAST_PROGRESS:
                    cause = f"it sent only {arrived} bytes in {waited:.0f} s"
                    raise TransientError(self._request.subject, cause)
                waited, arrived = 0.0, 0
            yield piece

    async def _read(self, limit: int, seconds: float) -> bytes | None:
        """The whole body; None, and the connection is closed, if it is longer than `limit`."""
        if self._is_closed:
            return self.body
        if self._raw.content.is_eof():
            return self._arrived(limit)
        parts, size = [], 0
        try:
            async with asyncio.timeout(seconds):
                async for piece in self.pieces():
                    parts.append(piece)
                    size += len(piece)
                    if size > limit:
                        self._raw.close()
                        return None
        except TimeoutError:
            cause = f"the answer did not arrive whole in {seconds:g} s"
            raise TransientError(self._request.subject, cause) from None
        return b"".join(parts)

    def _arrived(self, limit: int) -> bytes | None:
        """A body that came with its headers, as small ones do: there is nothing to wait for."""
        try:
            body = self._raw.content.read_nowait()
        except (aiohttp.ClientError, OSError) as error:
            raise connection_failure(self._request.subject, self.url, error) from error
        return body if len(body) <= limit else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection up, unless it is free or about to be."""
        self._is_closed = True
        # A whole answer's connection may still wait for the task that has sent the body to end;
        # `close` would cut it (aiohttp `ClientResponse._release_connection`).
        if self._raw.content.is_eof():
            self._raw.release()
        else:
            self._raw.close()
