"""Find out whether a registry that may be insecure speaks TLS, before any credential is sent.

Only for a registry whose entry says `insecure: true`, as image-syncer's does. In the clear only
goes what the registry could not have taken over TLS: it answers a handshake with something
else, or nobody listens there. A handshake that fails in any other way is an error: nothing that
passes may move passwords into the clear (protocol 5, "Transport downgrade").
"""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

from imgmigrate.errors import Rejected, StoreError
from imgmigrate.stores.registry.http.failures import speaks_no_tls
from imgmigrate.stores.registry.http.session import Request
from imgmigrate.stores.retries import retrying

if TYPE_CHECKING:
    from imgmigrate.events import Sink
    from imgmigrate.stores.registry.http.session import Http
    from imgmigrate.stores.registry.http.trust import Trust

__all__ = ["Scheme"]


class Scheme:
    """Asks GET /v2/ at `authority`, without credentials, by https and then perhaps by http."""

    def __init__(self, authority: str, http: Http, trust: Trust, sink: Sink) -> None:
        self._authority, self._http, self._trust, self._sink = authority, http, trust, sink
        self._lock = asyncio.Lock()
        self._found: str | None = None

    async def origin(self) -> str:
        """The origin that answers; asked for once, however many wait."""
        async with self._lock:
            if self._found is None:
                self._found = await retrying(self._ask, self._sink, self._http.timeouts.retries)
        return self._found

    async def _ask(self) -> str:
        try:
            return await self._answering("https")
        except StoreError as error:
            if not speaks_no_tls(error) and not _is_refused(error):
                raise
            try:
                return await self._answering("http")
            except StoreError as second:
                raise (second if speaks_no_tls(error) else error) from None

    async def _answering(self, scheme: str) -> str:
        origin = f"{scheme}://{self._authority}"
        request = Request("GET", f"{origin}/v2/", self._authority, self._trust)
        async with await self._http.send(request) as answer:
            await answer.settle()
        return origin


def _is_refused(error: StoreError) -> bool:
    """Tell that nobody listens: the registry has no port for TLS."""
    if isinstance(error, Rejected):
        return False
    inner = getattr(error.__cause__, "os_error", None)
    return isinstance(inner, OSError) and inner.errno == errno.ECONNREFUSED
