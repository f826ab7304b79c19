"""Get a bearer token from the server that a challenge names.

Source: docker's token specification (GET) and its OAuth2 form (POST). What may be asked of
whom is decided here, before anything is sent; when to ask is `authenticator.py`.

A token server that is down is waited for as its registry is (`breaker.py`), once for all who
need it, and given up for the run. One that takes requests and never answers is not waited for:
it is given up after two silences, and asked again minutes later.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from msgspec import Struct

from imgmigrate.clock import LoopClock
from imgmigrate.errors import (
    AuthenticationError,
    LeftBehind,
    NotFound,
    OutOfReach,
    ProtocolError,
    RateLimited,
    Rejected,
    TransientError,
)
from imgmigrate.redaction import hide, printable, redact
from imgmigrate.stores.registry.auth.realms import may_receive_credentials
from imgmigrate.stores.registry.http.failures import failure, is_web_page, retry_after
from imgmigrate.stores.registry.http.limits import TOKEN_BODY
from imgmigrate.stores.registry.http.session import Body, Request
from imgmigrate.stores.registry.http.urls import append_query, resolve, same_origin
from imgmigrate.stores.registry.pace.breaker import Breaker, look
from imgmigrate.stores.registry.pace.limits import LONGEST_REFUSAL
from imgmigrate.stores.registry.pace.rates import Rate
from imgmigrate.stores.retries import retrying

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.clock import Clock
    from imgmigrate.events import Sink
    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.http.session import Http
    from imgmigrate.stores.registry.http.trust import Trust
    from imgmigrate.stores.registry.logins.credentials import Credential

__all__ = ["Realm", "Token", "TokenServer", "life_of"]

logger = logging.getLogger(__name__)

# The specification's least, and what counts if a server says nothing or less.
SHORTEST_LIFE = 60.0
# The longest of any registry is ECR's twelve hours; what claims more is asked for again anyhow.
LONGEST_LIFE = 24 * 3600.0
# A token is replaced this long before it ends: a request has to arrive with it.
MARGIN = 15.0
# What an answer holds that any later one may repeat.
_SECRET_KEYS = ("access_token", "token", "refresh_token", "id_token")
# A realm may move once or twice (a login page after that is no token server).
MOST_HOPS = 3
# Quay takes three at one moment from one user, then 120 a second (protocol 1.3).
REQUESTS_AT_ONCE = 3
# Whoever keeps silent so often is not waited for a third time...
MOST_SILENCES = 2
# ... nor asked again for so many seconds: all repositories of a registry need its tokens.
FAILURE_RESTS = 300.0
# Where one way of asking is not offered: ACR 400, Artifactory 401, GCR 404 (protocol 1.2).
_NO_POST = frozenset({400, 401, 404, 405, 415, 501})
# Not 401: a wrong password must not be tried twice.
_NO_GET = frozenset({404, 405, 501})


class Realm(Struct, frozen=True):
    """Where tokens are issued and for which service; part of what a token is cached by."""

    url: str
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token; `expires` is a time of the clock, the margin already taken off."""

    value: str = field(repr=False)
    expires: float


class TokenServer:
    """Asks token servers on behalf of one registry at `origin`; `pinned` hosts are trusted."""

    def __init__(
        self,
        host: str,
        origin: str,
        http: Http,
        trust: Trust,
        sink: Sink,
        pinned: frozenset[str],
        *,
        clock: Clock | None = None,
        is_met: Callable[[], bool] = lambda: True,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self._is_met, self._changed = is_met, changed
        # By the server and its path, as some hosts issue tokens for many registries.
        self._breakers: dict[str, Breaker] = {}
        self._host, self.origin, self._pinned = host, origin, pinned
        self._http, self._trust, self._sink = http, trust, sink
        self._clock = clock or LoopClock()
        # Held from before a request until its answer, also while its server is down. A registry
        # has one as a rule, so those behind would wait there instead of here.
        self._slots = asyncio.Semaphore(REQUESTS_AT_ONCE)
        # Token servers count their requests apart from the registry.
        self._rate = Rate(self._clock, lambda _: None)
        # Realms that were found to have only one of the two forms.
        self._only_get: set[str] = set()
        self._only_post: set[str] = set()
        # Realms that could not be reached: what happened, and until when that stands.
        self._down: dict[str, tuple[TransientError, float]] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether all requests that need a token wait for one that is down."""
        return any(breaker.is_waiting for breaker in self._breakers.values())

    async def token(
        self, realm: Realm, scopes: tuple[str, ...], credential: Credential | None
    ) -> Token:
        """Fetch a token; the errors are the answer's, ProtocolError for a realm that is not safe.

        With an identity token the OAuth2 form comes first, with a password GET, as for most
        clients; whatever is not offered is tried in the other form, and not tried again.
        """
        if not self._may_ask(realm, credential):
            if credential is None:
                cause = f"its token server {_server(realm.url)} is not its own, and not trusted"
                hint = f"name {urlsplit(realm.url).netloc} among the trusted registries"
            else:
                cause = f"it asks for its credentials to be sent to {realm.url}, "
                cause += "which is not its own"
                hint = "if that is intended, this registry cannot be used with credentials"
            raise ProtocolError(self._host, cause, hint=hint)
        self._check(realm)
        async with self._slots:
            self._check(realm)  # those who waited share the failure of those who asked
            try:
                if credential is not None and credential.identity_token:
                    token = await self._post_first(realm, scopes, credential)
                else:
                    token = await self._get_first(realm, scopes, credential)
            except (RateLimited, OutOfReach, LeftBehind):
                raise
            except TransientError as error:
                self._down[realm.url] = (error, self._clock.time() + FAILURE_RESTS)
                raise
            self._tell(realm, scopes, credential, token)
            return token

    def _tell(
        self, realm: Realm, scopes: tuple[str, ...], credential: Credential | None, token: Token
    ) -> None:
        if logger.isEnabledFor(logging.INFO):
            who = "with a login" if credential is not None else "without a login"
            what = " ".join(scopes) or "no scope"
            life = token.expires - self._clock.time()
            text = (
                f"{self._host}: token for {what} from {_server(realm.url)}, {who}, for {life:.0f} s"
            )
            logger.info("%s", printable(redact(text)))

    def _check(self, realm: Realm) -> None:
        """Raise what a token server that is down was found to be, as long as that stands."""
        error, until = self._down.get(realm.url, (None, 0.0))
        if error is None or self._clock.time() >= until:
            return
        again = error.remade(TransientError, hint=error.hint)
        again.is_spent = True
        raise again

    async def _post_first(
        self, realm: Realm, scopes: tuple[str, ...], credential: Credential
    ) -> Token:
        if realm.url in self._only_get:
            return await self._ask(self._get(realm, scopes, credential))
        try:
            return await self._ask(self._post(realm, scopes, credential))
        except (AuthenticationError, NotFound, Rejected) as error:
            if error.status not in _NO_POST:
                raise
        token = await self._ask(self._get(realm, scopes, credential))
        self._only_get.add(realm.url)
        return token

    async def _get_first(
        self, realm: Realm, scopes: tuple[str, ...], credential: Credential | None
    ) -> Token:
        if credential is not None and realm.url in self._only_post:
            return await self._ask(self._post(realm, scopes, credential))
        try:
            return await self._ask(self._get(realm, scopes, credential))
        except (NotFound, Rejected) as error:
            if credential is None or error.status not in _NO_GET:
                raise
        token = await self._ask(self._post(realm, scopes, credential))
        self._only_post.add(realm.url)
        return token

    def _may_ask(self, realm: Realm, credential: Credential | None) -> bool:
        if credential is not None or (self._http.is_confined and not self._http.names(realm.url)):
            return may_receive_credentials(realm.url, self.origin, self._pinned)
        return realm.url.startswith("https:") or self.origin.startswith("http:")

    def _get(self, realm: Realm, scopes: tuple[str, ...], credential: Credential | None) -> Request:
        pairs = [("service", realm.service)] if realm.service else []
        pairs += [("scope", scope) for scope in scopes]
        url = append_query(realm.url, urlencode(pairs, quote_via=quote)) if pairs else realm.url
        headers = {"Authorization": credential.basic} if credential is not None else {}
        patience = self._http.timeouts.token
        return Request("GET", url, self._host, self._trust, headers, patience=patience)

    def _post(self, realm: Realm, scopes: tuple[str, ...], credential: Credential) -> Request:
        form = {
            "service": realm.service or self._host,
            "client_id": "imgmigrate",
            "scope": " ".join(scopes),
        }
        if credential.identity_token:
            form |= {"grant_type": "refresh_token", "refresh_token": credential.identity_token}
        else:
            form |= {
                "grant_type": "password",
                "username": credential.username,
                "password": credential.password,
            }
        data = urlencode({key: value for key, value in form.items() if value}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body, patience = Body.of(data), self._http.timeouts.token
        return Request("POST", realm.url, self._host, self._trust, headers, body, patience=patience)

    async def _ask(self, request: Request) -> Token:
        silences = 0

        async def once() -> Token | TransientError:
            began = self._clock.time()
            while True:
                await self._rate.take()
                sent = self._clock.time()
                try:
                    token = await attempt()
                except TimeoutError:
                    return silence()
                except RateLimited as error:
                    self._rate.refused(sent)
                    if self._clock.time() - began >= LONGEST_REFUSAL:
                        error.is_spent = True
                        raise
                    # It may ask for a pause beside.
                    await self._clock.sleep(error.retry_after or 0.0)
                else:
                    self._rate.succeeded()
                    return token

        def silence() -> TransientError:
            """Not raised where it would be taken for an outage."""
            nonlocal silences
            silences += 1
            limit = self._http.timeouts.token
            cause = f"{_server(request.url)} did not answer in {limit:g} s"
            error = TransientError(f"{self._host} (token server)", cause)
            error.is_spent = silences >= MOST_SILENCES
            return error

        async def attempt() -> Token:
            asked, limit = self._clock.time(), self._http.timeouts.token
            async with asyncio.timeout(limit), await self._follow(request) as answer:
                await answer.load(TOKEN_BODY)
            if answer.status != 200:
                after = retry_after(answer.header("Retry-After"), self._http.timeouts.longest_pause)
                subject = f"{self._host} (token server)"
                raise failure(subject, answer.status, answer.body, after=after)
            return self._read(answer, asked)

        breaker = self._breaker(_server(request.url))

        async def through() -> Token:
            found = await breaker.through(once, f"{self._host} (token server)")
            if isinstance(found, TransientError):
                raise found
            return found

        return await retrying(through, self._sink, self._http.timeouts.retries)

    def _breaker(self, server: str) -> Breaker:
        breaker = self._breakers.get(server)
        if breaker is None:
            breaker = self._breakers[server] = Breaker(
                urlsplit(server).netloc,
                self._http.timeouts.outage,
                # What was asked without a query may well be an error of any kind.
                partial(look, self._http, server, self._trust, up=frozenset({500, 501})),
                self._clock,
                self._sink,
                is_met=self._is_met,
                changed=self._changed,
            )
        return breaker

    async def _follow(self, request: Request) -> Answer:
        """Follow a realm that moved, but never away from the server that may have credentials."""
        for _ in range(MOST_HOPS):
            answer = await self._http.send(request)
            location = answer.header("Location")
            if request.method != "GET" or answer.status not in (301, 302, 307, 308) or not location:
                return answer
            answer.close()
            try:
                target = resolve(request.url, location)
            except ValueError as error:
                raise ProtocolError(self._host, f"its token server: {error}") from None
            if not same_origin(target, request.url):
                cause = "its token server redirects to another host, which may not be asked"
                raise ProtocolError(self._host, cause)
            request = replace(request, url=target)
        raise ProtocolError(self._host, "its token server redirects in a circle")

    def _read(self, answer: Answer, asked: float) -> Token:
        try:
            document = json.loads(answer.body)
            for key in _SECRET_KEYS:
                hide(document[key] if isinstance(document.get(key), str) else None, "token")
            value = document.get("access_token") or document.get("token")
        except (ValueError, AttributeError, RecursionError):
            value = None
        # It becomes a header's value.
        if not value or not isinstance(value, str) or not (value.isascii() and value.isprintable()):
            is_page = is_web_page(answer.header("Content-Type"))
            what = "with a web page" if is_page else "without a token"
            cause = f"its token server {_server(answer.url)} answered {what}"
            hint = "see what answers there, or mend the realm that the registry names"
            raise ProtocolError(self._host, cause, hint=hint)
        return Token(value, asked + life_of(document, time.time()) - MARGIN)


def _server(url: str) -> str:
    """A token server without what it is asked."""
    return url.partition("?")[0]


def life_of(document: dict[str, Any], now: float) -> float:
    """Seconds that a token is good for, by its `expires_in` and `issued_at`.

    `now` is the time of day. An `issued_at` in the future, or so long ago that the token would
    have ended, only shows that the clocks differ: then it is as if issued now (protocol 1.2).
    """
    life = min(max(_seconds(document.get("expires_in")), SHORTEST_LIFE), LONGEST_LIFE)
    try:
        issued = datetime.fromisoformat(str(document.get("issued_at")))
        issued = issued if issued.tzinfo else issued.replace(tzinfo=UTC)
        age = now - issued.timestamp()
    except (ValueError, OverflowError):
        return life
    return life - age if 0 <= age < life - MARGIN else life


def _seconds(stated: Any) -> float:
    """A number, which some servers write as a text; 0 if it is none."""
    try:
        found = 0.0 if isinstance(stated, bool) else float(stated)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return found if isfinite(found) else 0.0
