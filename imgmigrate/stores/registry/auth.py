"""Say what to send as `Authorization` to one registry, and what a refusal means.

Knows challenges, credentials and tokens; sends nothing to the registry itself except, through
`ping`, a question about the credentials alone. Tokens are cached for each credential and set
of scopes, fetched once however many wait, and replaced before they end.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from imgmigrate.errors import AccessDenied, AuthenticationError, ProtocolError, StoreError
from imgmigrate.stores.registry.challenges import Challenge, parse_challenges
from imgmigrate.stores.registry.http.urls import origin_of, resolve
from imgmigrate.stores.registry.tokens import Realm, basic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from imgmigrate.stores.registry.credentials import Credential, Keyring
    from imgmigrate.stores.registry.tokens import Token, TokenServer

__all__ = ["Access", "Authenticator", "Grant", "Pong"]

# ECR answers 403 DENIED when its twelve hours are over: the right is not what is missing.
_EXPIRED = "token has expired"


@dataclass(frozen=True, slots=True)
class Access:
    """What a request needs: to read or to write `repo`, and to mount from a second one."""

    repo: str | None = None
    push: bool = False
    mount_from: str | None = None

    @property
    def scopes(self) -> tuple[str, ...]:
        """The token scopes; push first, since some servers honour only the first (protocol 1.3)."""
        if self.repo is None:
            return ()
        own = f"repository:{self.repo}:{'pull,push' if self.push else 'pull'}"
        return (own, f"repository:{self.mount_from}:pull") if self.mount_from else (own,)


@dataclass(frozen=True, slots=True)
class Grant:
    """A value for `Authorization`; `is_new` if its token was fetched for this very request."""

    header: str = field(repr=False)
    is_new: bool = False


class Pong(Protocol):
    """The answer to GET /v2/: its status, challenges and URL."""

    @property
    def status(self) -> int:
        """The status."""

    @property
    def url(self) -> str:
        """Who answered."""

    def headers(self, name: str) -> list[str]:
        """Every header of that name."""


class Authenticator:
    """Authenticates to one registry; learns from its challenges how."""

    def __init__(
        self,
        host: str,
        keyring: Keyring,
        tokens: TokenServer,
        ping: Callable[[str | None], Awaitable[Pong]],
    ) -> None:
        self._host, self._keyring, self._tokens, self._ping = host, keyring, tokens, ping
        self._is_basic = False
        self._realm: Realm | None = None
        # What a challenge asked for beyond what we would have asked.
        self._extra: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._cache: dict[tuple[Credential | None, Realm, tuple[str, ...]], Token] = {}
        self._locks: defaultdict[object, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._accepted: set[Credential] = set()

    async def authorization(self, access: Access) -> Grant | None:
        """What to send at once; None before the registry has asked for anything."""
        if not self._is_basic and self._realm is None:
            return None
        return await self._grant(access, stale=None)

    async def answer(
        self, lines: list[str], url: str, access: Access, sent: Grant | None
    ) -> Grant | None:
        """What to send after a 401 (or a first 403) from `url`; None if nothing better is left."""
        challenges = parse_challenges(lines)
        is_known = self._is_basic or self._realm is not None
        if not challenges and not is_known:
            pong = await self._ping(None)
            challenges, url = parse_challenges(pong.headers("WWW-Authenticate")), pong.url
        chosen = self._learn(challenges, url, sent)
        scopes = self._note_extra(chosen, access)
        if not self._is_basic and self._realm is None:
            return None
        if sent is not None and sent.is_new and not scopes:
            return None
        grant = await self._grant(access, stale=sent)
        return None if sent and grant and sent.header == grant.header else grant

    async def note_success(self, access: Access, sent: Grant | None) -> None:
        """Learn that the registry let this through: Basic credentials are proved by it."""
        if self._is_basic and sent is not None and sent.header.startswith("Basic "):
            credential = await self._keyring.of(access.repo)
            if credential is not None:
                self._accepted.add(credential)

    async def same_credential(self, one: str, other: str) -> bool:
        """Tell whether two repositories are reached as the same user, as a mount needs."""
        return await self._keyring.of(one) == await self._keyring.of(other)

    async def judge(self, error: StoreError, access: Access) -> StoreError:
        """Tell from a 401 or 403 whether the credentials or the rights are what is missing."""
        credential = await self._keyring.of(access.repo)
        if credential is None:
            reason = f"it is private or absent, and there are no credentials for {self._host}"
            return self._unauthenticated(error, reason)
        if _EXPIRED in error.cause:
            return self._unauthenticated(error, f"those of {credential.found} have expired")
        if credential in self._accepted or await self._is_accepted(credential):
            right = "push" if access.push else "pull"
            hint = f"the credentials of {credential.found} lack {right} there, or it does not exist"
            return AccessDenied(
                error.subject, error.cause, hint=hint, status=error.status, code=error.code
            )
        return self._unauthenticated(error, f"the credentials of {credential.found} were refused")

    def _learn(
        self, challenges: tuple[Challenge, ...], url: str, sent: Grant | None
    ) -> Challenge | None:
        """Remember how to authenticate; Bearer is preferred.

        Harbor challenges with Basic once something was sent, so a scheme that works is not
        given up for one that is offered later (protocol 1.1).
        """
        offered = {challenge.scheme: challenge for challenge in reversed(challenges)}
        bearer = offered.get("bearer")
        if bearer is not None and (realm := bearer.get("realm")):
            try:
                target = resolve(url, realm)
                origin_of(target)
            except ValueError as error:
                cause = f"its token server cannot be used: {error}"
                raise ProtocolError(self._host, cause) from None
            self._realm = Realm(target, bearer.get("service"))
            self._is_basic = False
            return bearer
        if "basic" in offered and (sent is None or self._realm is None):
            self._is_basic, self._realm = True, None
        return None

    def _note_extra(self, challenge: Challenge | None, access: Access) -> tuple[str, ...]:
        """Remember the scopes that the challenge asks for beyond ours, and return new ones."""
        ours = self._scopes(access)
        asked = challenge.scopes if challenge is not None else ()
        new = tuple(scope for scope in asked if not any(_covers(one, scope) for one in ours))
        if new:
            self._extra[access.scopes] = (*self._extra.get(access.scopes, ()), *new)
        return new

    def _scopes(self, access: Access) -> tuple[str, ...]:
        return access.scopes + self._extra.get(access.scopes, ())

    async def _grant(self, access: Access, stale: Grant | None) -> Grant | None:
        credential = await self._keyring.of(access.repo)
        if credential is not None and credential.registry_token:
            return Grant(f"Bearer {credential.registry_token}")
        if self._is_basic:
            return Grant(basic(credential)) if credential is not None else None
        if self._realm is None:
            return None
        found = self._cached(credential, self._realm, access, stale)
        return found or await self._fetch(credential, self._realm, self._scopes(access), stale)

    def _cached(
        self, credential: Credential | None, realm: Realm, access: Access, stale: Grant | None
    ) -> Grant | None:
        """A token that is good enough: one for pushing also reads."""
        wanted = (
            [access] if access.push or not access.repo else [Access(access.repo, push=True), access]
        )
        for each in wanted:
            token = self._cache.get((credential, realm, self._scopes(each)))
            if token is not None and token.is_fresh and not _is(token, stale):
                return Grant(f"Bearer {token.value}")
        return None

    async def _fetch(
        self,
        credential: Credential | None,
        realm: Realm,
        scopes: tuple[str, ...],
        stale: Grant | None,
    ) -> Grant:
        key = (credential, realm, scopes)
        async with self._locks[key]:
            token = self._cache.get(key)
            if token is not None and token.is_fresh and not _is(token, stale):
                return Grant(f"Bearer {token.value}")
            try:
                token = await self._tokens.token(realm, scopes, credential)
            except (AccessDenied, AuthenticationError) as error:
                raise await self._refused(error, realm, scopes, credential) from None
            self._cache[key] = token
            if credential is not None:
                self._accepted.add(credential)
            return Grant(f"Bearer {token.value}", is_new=True)

    async def _refused(
        self,
        error: StoreError,
        realm: Realm,
        scopes: tuple[str, ...],
        credential: Credential | None,
    ) -> StoreError:
        """A token server that denies (403) may mean the scope: ask whether it knows us at all."""
        if credential is None:
            return self._unauthenticated(error, f"there are no credentials for {self._host}")
        if isinstance(error, AccessDenied) and scopes and credential not in self._accepted:
            try:
                await self._tokens.token(realm, (), credential)
                self._accepted.add(credential)
            except (AccessDenied, AuthenticationError):
                pass
        if isinstance(error, AccessDenied) and credential in self._accepted:
            subject = f"{self._host} ({' '.join(scopes)})"
            hint = f"the credentials of {credential.found} lack this right"
            return AccessDenied(subject, error.cause, hint=hint, status=error.status)
        return self._unauthenticated(error, f"the credentials of {credential.found} were refused")

    async def _is_accepted(self, credential: Credential) -> bool:
        """Ask GET /v2/ about Basic credentials; proof only if it refuses those who have none."""
        if not self._is_basic and not credential.registry_token:
            return False
        header = (
            f"Bearer {credential.registry_token}"
            if credential.registry_token
            else basic(credential)
        )
        if (await self._ping(None)).status != 401 or (await self._ping(header)).status != 200:
            return False
        self._accepted.add(credential)
        return True

    def _unauthenticated(self, error: StoreError, reason: str) -> AuthenticationError:
        hint = f'docker login {self._host}, or set registries."{self._host}" in the config'
        cause = f"{error.cause}: {reason}"
        return AuthenticationError(
            error.subject, cause, hint=hint, status=error.status, code=error.code
        )


def _is(token: Token, grant: Grant | None) -> bool:
    return grant is not None and grant.header == f"Bearer {token.value}"


def _covers(ours: str, asked: str) -> bool:
    """Tell whether a scope of ours includes the one asked for."""
    name, _, actions = ours.rpartition(":")
    asked_name, _, asked_actions = asked.rpartition(":")
    return name == asked_name and set(asked_actions.split(",")) <= set(actions.split(","))
