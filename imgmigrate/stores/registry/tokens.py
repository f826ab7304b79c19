"""Get a bearer token from the server that a challenge names.

Source: docker's token specification (GET) and its OAuth2 form (POST). What may be asked of
whom is decided here, before anything is sent; when to ask is `auth.py`.
"""

from __future__ import annotations

import json
import time
from base64 import b64encode
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from imgmigrate.errors import AuthenticationError, NotFound, ProtocolError, Rejected
from imgmigrate.stores.registry.http.failures import failure, retry_after
from imgmigrate.stores.registry.http.limits import TOKEN_BODY
from imgmigrate.stores.registry.http.retries import retrying
from imgmigrate.stores.registry.http.session import Body, Request
from imgmigrate.stores.registry.http.urls import append_query, resolve, same_origin
from imgmigrate.stores.registry.realms import may_receive_credentials

if TYPE_CHECKING:
    from imgmigrate.events import Sink
    from imgmigrate.stores.registry.credentials import Credential
    from imgmigrate.stores.registry.http.session import Answer, Http
    from imgmigrate.stores.registry.http.trust import Trust

__all__ = ["Realm", "Token", "TokenServer", "basic"]

# The specification's least, and what counts if a server says nothing or less.
SHORTEST_LIFE = 60.0
# A token is replaced this long before it ends: a request has to arrive with it.
MARGIN = 15.0
# A realm may move once or twice (a login page after that is no token server).
MOST_HOPS = 3


@dataclass(frozen=True, slots=True)
class Realm:
    """Where tokens are issued and for which service; part of what a token is cached by."""

    url: str
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token; `expires` on the monotonic clock, the margin already taken off."""

    value: str = field(repr=False)
    expires: float

    @property
    def is_fresh(self) -> bool:
        """Tell whether it will still be good when a request arrives."""
        return time.monotonic() < self.expires


class TokenServer:
    """Asks token servers on behalf of one registry at `origin`; `pinned` hosts are trusted."""

    def __init__(
        self, host: str, origin: str, http: Http, trust: Trust, sink: Sink, pinned: frozenset[str]
    ) -> None:
        self._host, self._origin, self._pinned = host, origin, pinned
        self._http, self._trust, self._sink = http, trust, sink

    async def token(
        self, realm: Realm, scopes: tuple[str, ...], credential: Credential | None
    ) -> Token:
        """Fetch a token; the errors are the answer's, ProtocolError for a realm that is not safe.

        With an identity token the OAuth2 form comes first; not every server has it.
        """
        if not self._may_ask(realm, credential):
            cause = f"it asks for its credentials to be sent to {realm.url}, which is not its own"
            hint = "if that is intended, this registry cannot be used with credentials"
            raise ProtocolError(self._host, cause, hint=hint)
        if credential is not None and credential.identity_token:
            try:
                return await self._ask(self._post(realm, scopes, credential.identity_token))
            except (AuthenticationError, NotFound, Rejected) as error:
                if error.status not in (400, 401, 404, 405):
                    raise
        return await self._ask(self._get(realm, scopes, credential))

    def _may_ask(self, realm: Realm, credential: Credential | None) -> bool:
        if credential is not None:
            return may_receive_credentials(realm.url, self._origin, self._pinned)
        return realm.url.startswith("https:") or self._origin.startswith("http:")

    def _get(self, realm: Realm, scopes: tuple[str, ...], credential: Credential | None) -> Request:
        pairs = [("service", realm.service)] if realm.service else []
        pairs += [("scope", scope) for scope in scopes]
        url = append_query(realm.url, urlencode(pairs, quote_via=quote)) if pairs else realm.url
        headers = {"Authorization": basic(credential)} if credential is not None else {}
        return Request("GET", url, self._host, self._trust, headers)

    def _post(self, realm: Realm, scopes: tuple[str, ...], identity_token: str) -> Request:
        form = {
            "grant_type": "refresh_token",
            "service": realm.service or self._host,
            "client_id": "imgmigrate",
            "scope": " ".join(scopes),
            "refresh_token": identity_token,
        }
        data = urlencode({key: value for key, value in form.items() if value}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Request("POST", realm.url, self._host, self._trust, headers, Body.of(data))

    async def _ask(self, request: Request) -> Token:
        async def once() -> Token:
            asked = time.monotonic()
            async with await self._follow(request) as answer:
                await answer.load(TOKEN_BODY)
            if answer.status != 200:
                after = retry_after(answer.header("Retry-After"), self._http.timeouts.longest_pause)
                subject = f"{self._host} (token server)"
                raise failure(subject, answer.status, answer.body, after=after)
            return self._read(answer, asked)

        return await retrying(once, self._sink, self._http.timeouts)

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
            value = document.get("access_token") or document.get("token")
        except (ValueError, AttributeError, RecursionError):
            value = None
        # It becomes a header's value.
        if not value or not isinstance(value, str) or not (value.isascii() and value.isprintable()):
            raise ProtocolError(self._host, "its token server answered without a token")
        return Token(value, asked + _life(document) - MARGIN)


def basic(credential: Credential) -> str:
    """The `Authorization` of user and password; an identity token stands in for the password."""
    username = credential.username or "<token>"
    password = credential.password or credential.identity_token or ""
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"


def _life(document: dict[str, Any]) -> float:
    """Seconds that the token is good for; a clock that contradicts ours is not believed."""
    stated = document.get("expires_in")
    is_number = isinstance(stated, (int, float)) and not isinstance(stated, bool)
    life = max(float(stated), SHORTEST_LIFE) if is_number and stated else SHORTEST_LIFE
    try:
        age = time.time() - datetime.fromisoformat(str(document.get("issued_at"))).timestamp()
    except (ValueError, OverflowError):
        return life
    return life - age if 0 <= age < life - MARGIN else life
