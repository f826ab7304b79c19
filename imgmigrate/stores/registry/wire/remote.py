"""One registry: authenticated requests at the pace that it allows, tried again, and their errors.

Knows authentication and limits, but no verb of the distribution API: those are in `listing/`,
`manifests.py`, `blobs.py` and `uploads/`. How a request goes out is `wire.py`'s.
"""

from __future__ import annotations

import asyncio
import dataclasses
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from msgspec.structs import replace

from imgmigrate.clock import LoopClock
from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    Rejected,
    StoreError,
    TransientError,
    at_host,
)
from imgmigrate.stores.registry.auth.authenticator import Authenticator
from imgmigrate.stores.registry.auth.guests import Guests
from imgmigrate.stores.registry.auth.tokens import TokenServer
from imgmigrate.stores.registry.http.failures import (
    failure,
    is_web_page,
    proxy_refusal,
    retry_after,
    says_expired,
    web_page,
)
from imgmigrate.stores.registry.http.session import FIRST_ERROR, Body, Http, Request
from imgmigrate.stores.registry.http.trust import Trust
from imgmigrate.stores.registry.known.kept import improved_here
from imgmigrate.stores.registry.logins.keyring import Keyring
from imgmigrate.stores.registry.pace.bandwidth import streams_of
from imgmigrate.stores.registry.pace.breaker import Breaker, look
from imgmigrate.stores.registry.pace.limits import Limits, Refused
from imgmigrate.stores.registry.pace.shares import Shares
from imgmigrate.stores.registry.quirks import quirks_of
from imgmigrate.stores.registry.quotas import Kind, kind_of
from imgmigrate.stores.registry.wire.calls import Admission
from imgmigrate.stores.registry.wire.notices import Notices
from imgmigrate.stores.registry.wire.paced import Paced
from imgmigrate.stores.registry.wire.redirects import (
    REDIRECTS,
    astray,
    is_of_proxy,
    is_page,
    of_storage,
    strangers_login,
)
from imgmigrate.stores.registry.wire.scheme import Scheme
from imgmigrate.stores.registry.wire.wire import READS, Wire
from imgmigrate.stores.retries import ATTEMPTS, retrying
from imgmigrate.stores.slots import Budget

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractContextManager

    from imgmigrate.clock import Clock
    from imgmigrate.config.model import RegistryConfig
    from imgmigrate.events import Event, Sink
    from imgmigrate.stores.registry.auth.access import Grant
    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.pace.metering import OnRateLimit
    from imgmigrate.stores.registry.wire.calls import Call, Signing
    from imgmigrate.stores.slots import News

__all__ = ["Remote"]

# First without anything, then with a token, then with a renewed or a wider one.
_MOST_ROUNDS = 3
T = TypeVar("T")


class Remote:
    """A registry by its host[:port], as users write it; `settings` looks up its config.

    `written_at` says where the login for a repository stands in the config.
    """

    def __init__(
        self,
        host: str,
        settings: Callable[[str | None], RegistryConfig],
        http: Http,
        sink: Sink,
        *,
        on_rate_limit: OnRateLimit = "wait",
        clock: Clock | None = None,
        is_met: Callable[[], bool] = lambda: True,
        news: News,
        known: Mapping[frozenset[Kind], float] | None = None,
        written_at: Callable[[str | None], str | None] = lambda _: None,
    ) -> None:
        own = settings(None)
        self.host, self.quirks = host, quirks_of(host)
        if not http.is_confined:
            # What a stranger has asked for touches nothing of this machine's own.
            self.quirks = improved_here(host, self.quirks)
        self.timeouts = http.timeouts
        # Repositories that it said it does not have.
        self.lacking: set[str] = set()
        scheme = "http" if own.plain_http else "https"
        origin = f"{scheme}://{self.quirks.api_host or host}"
        self._http, self._sink = http, sink
        self.limits = Limits(
            host,
            own,
            self.quirks,
            sink,
            longest_pause=http.timeouts.longest_pause,
            on_rate_limit=on_rate_limit,
            clock=clock,
            changed=news.tell,
            known=known,
        )
        self.budget = Budget(host, streams_of(own))
        self.shares = Shares(self.budget.gate, streams_of(own))
        self._notices = Notices(host, sink)
        tls = own.tls.model_copy(update={"verify": False}) if own.insecure else own.tls
        self._trust = Trust(self.quirks.api_host or host, tls, own.proxy)
        authority = self.quirks.api_host or host
        self._scheme = Scheme(authority, http, self._trust, sink) if own.insecure else None
        clock = clock or LoopClock()
        self._breaker = Breaker(
            host,
            http.timeouts.outage,
            lambda: look(http, f"{self.origin}/v2/", self._trust),
            clock,
            sink,
            is_met=is_met,
            changed=news.tell,
        )
        patience = http.timeouts.helper
        keyring = Keyring(
            host,
            settings,
            login_key=self.quirks.login_key,
            patience=patience,
            clock=clock,
            written_at=written_at,
        )
        self._tokens = tokens = TokenServer(
            host,
            origin,
            http,
            self._trust,
            sink,
            self.quirks.token_hosts,
            clock=clock,
            is_met=is_met,
            changed=news.tell,
        )
        guests = Guests(host, tokens, clock)
        self.wire = Wire(host, origin, http, self._trust, guests, self._notices)
        self._paced = Paced(host, self.wire, self.limits, http.timeouts, self._look)
        self.auth = Authenticator(host, keyring, tokens, self._ping, clock=clock)

    @property
    def origin(self) -> str:
        """The scheme and host that requests go to."""
        return self.wire.origin

    @property
    def is_waiting(self) -> bool:
        """Whether whoever asks now waits for long."""
        return self._is_down or self.limits.is_waiting

    @property
    def is_resting(self) -> bool:
        """Whether nothing is asked now, for long."""
        return self._is_down or self.limits.is_resting

    @property
    def _is_down(self) -> bool:
        return self._breaker.is_waiting or self._tokens.is_waiting

    async def call(self, call: Call, *, attempts: int = ATTEMPTS) -> Answer:
        """Send something that can be sent again, until it is answered; the body is read whole."""

        async def once() -> Answer:
            answer, grant = await self._authenticated(call, self._paced.whole)
            if answer.status in call.accepts:
                if call.document and is_page(answer):
                    raise web_page(call.subject, answer.status)
                return answer
            raise await self.failure(call, answer, grant)

        with self._at(call):
            return await self._steadily(once, call.subject, attempts)

    async def ask(
        self, call: Call, authorization: str | None, *, sign: Signing | None = None
    ) -> Answer:
        """Send with exactly this authorization to the host of a vendor's own API; read it whole.

        No challenge is answered and no redirect followed: whoever calls knows whom it asks.
        What `sign` gives is sent too, anew with every attempt: a signature holds once.
        """

        async def once() -> Answer:
            await self._find_origin()
            headers = dict(call.headers)
            if authorization is not None:
                headers["Authorization"] = authorization
            body = Body.of(call.data) if call.data is not None else None
            refused = Refused()
            while True:
                async with self.limits.request(Kind.LISTING) as passage:
                    # Not before it may be sent: a signature holds for minutes only.
                    if sign is not None:
                        headers |= await sign()
                    url = self.wire.url(call)
                    request = Request(call.method, url, call.subject, self._trust, headers, body)
                    async with await self._http.send(request) as answer:
                        if answer.status in call.accepts:
                            await answer.load(call.limit)
                        else:
                            await answer.settle()
                self._paced.note(passage, answer)
                if not await self._paced.is_paced(passage, answer, call, refused):
                    break
            if answer.status not in call.accepts:
                after = retry_after(answer.header("Retry-After"), self.timeouts.longest_pause)
                raise failure(call.subject, answer.status, answer.body, after=after)
            if call.document and is_web_page(answer.header("Content-Type")):
                raise web_page(call.subject, answer.status)
            return answer

        with self._at(call):
            return await self._steadily(once, call.subject)

    async def again(self, once: Callable[[], Awaitable[T]]) -> T:
        """Call `once` until it succeeds, fails for good or has failed too often.

        For what has to be prepared before it is tried again; `call` suffices for the rest.
        """
        return await retrying(once, self._sink, self.timeouts.retries)

    def warn(self, code: str, message: str) -> None:
        """Tell the user something that stops nothing, once."""
        self._notices.warn(code, message)

    def emit(self, event: Event) -> None:
        """Tell whoever listens what happened."""
        self._sink.emit(event)

    async def open(self, call: Call) -> Answer:
        """Send once and return the answer with its body unread; the caller closes it."""

        async def once() -> Answer:
            answer, grant = await self._authenticated(call, self._paced.opened)
            if answer.status in call.accepts:
                return answer
            answer.close()
            raise await self.failure(call, answer, grant)

        with self._at(call):
            return await self._breaker.through(once, call.subject)

    async def admit(self, call: Call) -> Admission:
        """Wait until a body may be sent, as limits and token servers have it."""
        # The token last: it would grow old while the registry or its limits are waited for.
        with self._at(call):
            await self._find_origin()
            await self._breaker.ready(call.subject)
            passage = await self.limits.admit(kind_of(call.method, call.target))
            return Admission(passage, await self._grant(call))

    async def stream(
        self, call: Call, body: Body, admission: Admission, patience: float | None = None
    ) -> Answer:
        """Send a body, mostly one that exists only once; its answer is read as far as errors are.

        TimeoutError after `patience` seconds, in which no limit is waited for.

        The session was opened with the same credentials a moment ago, so a 401 here mostly means
        that a token ended in between: TransientError if there is a new one, for a new session.
        """
        with self._at(call):
            return await self._stream(call, body, admission, patience)

    async def _stream(
        self, call: Call, body: Body, admission: Admission, patience: float | None
    ) -> Answer:
        grant, passage, refused = admission.grant, admission.passage, Refused()
        while True:
            request = self.wire.request(call, self.wire.url(call), grant, body)
            async with (
                self._breaker.heard(),
                asyncio.timeout(patience),
                await self.wire.send(request) as answer,
            ):
                await answer.settle()
            self.wire.heed(answer)
            self._paced.note(passage, answer)
            if not await self._paced.is_paced(passage, answer, call, refused):
                break
            if not body.is_whole:
                raise self._paced.refusal(call, answer)
            passage = await self.limits.admit(passage.kind)
        if answer.status in call.accepts:
            return answer
        if answer.status in REDIRECTS:
            raise astray(self.host, call.subject, answer)
        if await self._better(call, answer, grant) is not None:
            cause = f"what proved who we are ended during the upload ({answer.status})"
            raise TransientError(call.subject, cause, status=answer.status)
        raise await self.failure(call, answer, grant)

    def _at(self, call: Call) -> AbstractContextManager[None]:
        """Let errors know where they happened."""
        return at_host(self.host, call.access.repo)

    async def failure(self, call: Call, answer: Answer, grant: Grant | None = None) -> StoreError:
        """The error that an answer means."""
        after = retry_after(answer.header("Retry-After"), self.timeouts.longest_pause)
        body = answer.body
        if grant is not None:
            # Some servers repeat what they refuse.
            body = body.replace(grant.header.partition(" ")[2].encode(), b"***")
        host = urlsplit(answer.url).netloc
        if is_of_proxy(answer):
            return proxy_refusal(call.subject, host, answer.status)
        writes = call.method not in READS
        error = failure(call.subject, answer.status, body, after=after, writes=writes)
        is_login = answer.status == 401 and bool(answer.headers("WWW-Authenticate"))
        if answer.status in call.hopeless and isinstance(error, TransientError):
            error = error.remade(Rejected, hint=error.hint)
        if not self.wire.is_own(answer.url):
            if is_login:
                return strangers_login(call.subject, self.host, host, call.access.repo)
            return of_storage(error)
        if isinstance(error, (AccessDenied, AuthenticationError)):
            return await self.auth.judge(error, call.access, is_read=call.method in READS)
        return error

    async def _authenticated(
        self, call: Call, send: Callable[[Call, Grant | None], Awaitable[Answer]]
    ) -> tuple[Answer, Grant | None]:
        await self._find_origin()
        grant = await self._grant(call)
        answer = await send(call, grant)
        rounds = 1
        while rounds < _MOST_ROUNDS or (grant is not None and grant.is_instead):
            better = await self._better(call, answer, grant)
            if better is None:
                break
            grant = better
            answer = await send(call, grant)
            rounds += 1
        if answer.status < FIRST_ERROR:
            await self.auth.note_success(call.access, grant)
        return answer, grant

    async def _better(self, call: Call, answer: Answer, grant: Grant | None) -> Grant | None:
        """What to send instead after a refusal for lack of authentication; None if nothing."""
        if answer.status == 404 and grant is None and self.wire.is_own(answer.url):
            return await self.auth.offer(call.access)
        is_refusal = answer.status == 401 or (
            answer.status == 403 and (grant is None or says_expired(answer.body))
        )
        if not is_refusal or not self.wire.is_own(answer.url):
            return None
        answer.close()
        lines = answer.headers("WWW-Authenticate")
        return await self.auth.answer(lines, answer.url, call.access, grant)

    async def _find_origin(self) -> None:
        """Ask a registry that may be insecure which scheme it speaks, before all else."""
        if self._scheme is None:
            return
        origin = await self._scheme.origin()
        self._scheme = None
        if origin != self.origin:
            self.wire.move(origin)
            self._tokens.origin = origin
            message = f"{self.host} speaks no TLS: passwords and images travel in the clear"
            self.warn("no_tls", message)

    async def _grant(self, call: Call) -> Grant | None:
        if not self.auth.is_known or not self.wire.is_own(self.wire.url(call)):
            return None
        return await self.auth.authorization(call.access)

    async def _look(self, call: Call) -> None:
        """HEAD what is about to be pulled: it costs no pull and tells how many are left."""
        await self._authenticated(dataclasses.replace(call, method="HEAD"), self._paced.whole)

    async def _ping(self, header: str | None) -> Answer:
        """GET /v2/ with exactly this authorization, to learn of challenges and credentials."""

        async def once() -> Answer:
            headers = {"Authorization": header} if header else {}
            url = f"{self.origin}/v2/"
            request = Request("GET", url, self.host, self._trust, headers)
            refused = Refused()
            while True:
                async with (
                    self.limits.request(Kind.OTHER) as passage,
                    await self._http.send(request) as answer,
                ):
                    await answer.settle()
                    self.limits.note(passage, answer)
                if not await self.limits.paces(passage, answer, self.host, refused):
                    break
            after = retry_after(answer.header("Retry-After"), self.timeouts.longest_pause)
            error = failure(self.host, answer.status, answer.body, after=after)
            if isinstance(error, TransientError):
                raise error
            return answer

        await self._find_origin()
        return await self._steadily(once, self.host)

    async def _steadily(
        self, once: Callable[[], Awaitable[T]], subject: str, attempts: int = ATTEMPTS
    ) -> T:
        """Call `once` until it succeeds or has failed too often while the registry was up."""
        through = partial(self._breaker.through, once, subject)
        policy = self.timeouts.retries
        if policy.attempts != attempts:
            policy = replace(policy, attempts=attempts)
        return await retrying(through, self._sink, policy)
