"""One registry on the wire: authenticated requests, redirects by hand, retries, errors.

Knows HTTP and authentication, but no verb of the distribution API: those are in `listing.py`,
`manifests.py`, `blobs.py` and `uploads.py`. Credentials are sent to the registry's own origin
only, wherever it points.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    ProtocolError,
    StoreError,
    TransientError,
)
from imgmigrate.stores.registry.auth import Authenticator
from imgmigrate.stores.registry.credentials import Keyring
from imgmigrate.stores.registry.http.failures import failure, retry_after
from imgmigrate.stores.registry.http.limits import ATTEMPTS, ERROR_BODY, MOST_REDIRECTS
from imgmigrate.stores.registry.http.retries import Pace, retrying
from imgmigrate.stores.registry.http.session import FIRST_ERROR, Answer, Body, Http, Request
from imgmigrate.stores.registry.http.trust import Trust
from imgmigrate.stores.registry.http.urls import resolve, same_origin
from imgmigrate.stores.registry.quirks import quirks_of
from imgmigrate.stores.registry.tokens import TokenServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from imgmigrate.config.model import RegistryConfig
    from imgmigrate.events import Sink
    from imgmigrate.stores.registry.auth import Access, Grant

__all__ = ["Call", "Remote"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# First without anything, then with a token, then with a renewed or a wider one.
_MOST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Call:
    """A request to the registry, about `subject`. `target` is a path, or a URL it gave us.

    Any status but those of `accepts` is raised as an error; the answer may be `limit` bytes.
    """

    method: str
    target: str
    subject: str
    access: Access
    accepts: frozenset[int] = frozenset({200})
    headers: Mapping[str, str] = field(default_factory=dict)
    data: bytes | None = field(default=None, repr=False)
    limit: int = ERROR_BODY


class Remote:
    """A registry by its host[:port], as users write it; `settings` looks up its config."""

    def __init__(
        self, host: str, settings: Callable[[str | None], RegistryConfig], http: Http, sink: Sink
    ) -> None:
        own = settings(None)
        self.host, self.quirks = host, quirks_of(host)
        self.timeouts = http.timeouts
        scheme = "http" if own.plain_http else "https"
        self.origin = f"{scheme}://{self.quirks.api_host or host}"
        self._http, self._sink, self._pace = http, sink, Pace()
        self._trust = Trust(self.quirks.api_host or host, own.tls)
        keyring = Keyring(
            host, settings, login_key=self.quirks.login_key, patience=http.timeouts.helper
        )
        tokens = TokenServer(host, self.origin, http, self._trust, sink, self.quirks.token_hosts)
        self.auth = Authenticator(host, keyring, tokens, self._ping)

    async def call(self, call: Call, *, attempts: int = ATTEMPTS) -> Answer:
        """Send something that can be sent again, until it is answered; the body is read whole."""

        async def once() -> Answer:
            answer, grant = await self._authenticated(call, self._whole)
            if answer.status in call.accepts:
                return answer
            raise await self.failure(call, answer, grant)

        return await retrying(once, self._sink, self.timeouts, attempts=attempts)

    async def open(self, call: Call) -> Answer:
        """Send once and return the answer with its body unread; the caller closes it."""
        await self._pace.wait()
        answer, grant = await self._authenticated(call, self._follow)
        if answer.status in call.accepts:
            return answer
        answer.close()
        raise await self.failure(call, answer, grant)

    async def put(self, call: Call, body: Body) -> None:
        """Send a body that exists only once.

        The session was opened with the same credentials a moment ago, so a 401 here means
        that a token ended in between: TransientError, a new session gets a new one.
        """
        await self._pace.wait()
        grant = await self._grant(call)
        async with await self._http.send(
            self._request(call, self._url(call), grant, body)
        ) as answer:
            await answer.settle()
        if answer.status in call.accepts:
            return
        if answer.status == 401 and grant is not None and grant.header.startswith("Bearer "):
            cause = "the token ended during the upload (401)"
            raise TransientError(call.subject, cause, status=401)
        raise await self.failure(call, answer, grant)

    async def failure(self, call: Call, answer: Answer, grant: Grant | None = None) -> StoreError:
        """The error that an answer means."""
        after = retry_after(answer.header("Retry-After"), self.timeouts.longest_pause)
        body = answer.body
        if grant is not None:
            # Some servers repeat what they refuse.
            body = body.replace(grant.header.partition(" ")[2].encode(), b"***")
        error = failure(call.subject, answer.status, body, after=after)
        if not same_origin(answer.url, self.origin):
            return _of_storage(error, answer)
        if after and answer.status in (429, 503):
            self._pace.pause(after)
        if isinstance(error, (AccessDenied, AuthenticationError)):
            return await self.auth.judge(error, call.access)
        return error

    async def _authenticated(
        self, call: Call, send: Callable[[Call, Grant | None], Awaitable[Answer]]
    ) -> tuple[Answer, Grant | None]:
        grant = await self._grant(call)
        answer = await send(call, grant)
        for _ in range(_MOST_ROUNDS - 1):
            is_refusal = answer.status == 401 or (answer.status == 403 and grant is None)
            if not is_refusal or not same_origin(answer.url, self.origin):
                break
            answer.close()
            lines = answer.headers("WWW-Authenticate")
            better = await self.auth.answer(lines, answer.url, call.access, grant)
            if better is None:
                break
            grant = better
            answer = await send(call, grant)
        if answer.status < FIRST_ERROR:
            await self.auth.note_success(call.access, grant)
        return answer, grant

    async def _grant(self, call: Call) -> Grant | None:
        if not same_origin(self._url(call), self.origin):
            return None
        return await self.auth.authorization(call.access)

    async def _whole(self, call: Call, grant: Grant | None) -> Answer:
        """Send and read the whole answer; a server that trickles is given up in the end."""
        limit = self.timeouts.commit
        try:
            async with (
                self._pace,
                asyncio.timeout(limit),
                await self._follow(call, grant) as answer,
            ):
                if answer.status < FIRST_ERROR:
                    await answer.load(call.limit)
                return answer
        except TimeoutError:
            cause = f"{self.host} did not answer whole in {limit:g} s"
            raise TransientError(call.subject, cause) from None

    async def _follow(self, call: Call, grant: Grant | None) -> Answer:
        """Send, and follow redirects of reads; storage behind a registry is a stranger."""
        url = self._url(call)
        body = Body.of(call.data) if call.data is not None else None
        for _ in range(MOST_REDIRECTS + 1):
            own = same_origin(url, self.origin)
            answer = await self._http.send(self._request(call, url, grant if own else None, body))
            location = answer.header("Location")
            is_read = call.method in ("GET", "HEAD")
            if answer.status not in _REDIRECTS or not is_read or not location:
                return answer
            async with answer:
                await answer.settle()
            url = self.resolve(call.subject, answer.url, location)
        raise ProtocolError(call.subject, f"{self.host} redirects more than {MOST_REDIRECTS} times")

    def resolve(self, subject: str, base: str, location: str) -> str:
        """Resolve what the registry points at; ProtocolError if it must not be followed."""
        try:
            return resolve(base, location)
        except ValueError as error:
            raise ProtocolError(subject, str(error)) from None

    def _request(self, call: Call, url: str, grant: Grant | None, body: Body | None) -> Request:
        headers = dict(call.headers)
        if grant is not None:
            headers["Authorization"] = grant.header
        is_patient = body is not None
        return Request(call.method, url, call.subject, self._trust, headers, body, is_patient)

    def _url(self, call: Call) -> str:
        return f"{self.origin}{call.target}" if call.target.startswith("/") else call.target

    async def _ping(self, header: str | None) -> Answer:
        """GET /v2/ with exactly this authorization, to learn of challenges and credentials."""

        async def once() -> Answer:
            headers = {"Authorization": header} if header else {}
            url = f"{self.origin}/v2/"
            request = Request("GET", url, self.host, self._trust, headers)
            async with self._pace, await self._http.send(request) as answer:
                await answer.settle()
            error = failure(self.host, answer.status, answer.body)
            if isinstance(error, TransientError):
                raise error
            return answer

        return await retrying(once, self._sink, self.timeouts)


def _of_storage(error: StoreError, answer: Answer) -> StoreError:
    """A signed URL that is refused has run out: the registry gives a new one (protocol 2.3)."""
    if error.status not in (400, 401, 403):
        return error
    cause = f"the storage behind the registry refused its signed URL ({answer.status})"
    return TransientError(error.subject, cause, status=error.status, code=error.code)
