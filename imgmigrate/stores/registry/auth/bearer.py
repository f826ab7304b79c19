"""Keep bearer tokens: each fetched once however many wait for it, and replaced before it ends.

Also tells what it means when a token server denies one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from imgmigrate.errors import AccessDenied, AuthenticationError
from imgmigrate.stores.registry.auth.access import Grant
from imgmigrate.stores.registry.auth.tokens import Realm

if TYPE_CHECKING:
    from imgmigrate.clock import Clock
    from imgmigrate.errors import StoreError
    from imgmigrate.stores.registry.auth.lockout import Standing
    from imgmigrate.stores.registry.auth.tokens import Token, TokenServer
    from imgmigrate.stores.registry.logins.credentials import Credential

__all__ = ["BearerTokens", "Locks"]

# A run over a hundred thousand repositories must not keep a token of 2 KB for each.
MOST_TOKENS = 2000

Scopes = tuple[str, ...]
_Key = tuple["Credential | None", Realm, Scopes]


class Locks:
    """A lock for each key, which is forgotten when nobody holds or wants it."""

    def __init__(self) -> None:
        # Who holds or awaits a lock refers to it, so it lives as long as it matters: nobody can be
        # given a second lock for a key of which the first is still held.
        self._locks: WeakValueDictionary[object, asyncio.Lock] = WeakValueDictionary()

    def of(self, key: object) -> asyncio.Lock:
        """The lock of a key."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock


class BearerTokens:
    """The tokens of one registry, by credential, realm and scopes."""

    def __init__(
        self, host: str, tokens: TokenServer, standing: Standing, locks: Locks, clock: Clock
    ) -> None:
        self._host, self._tokens, self._standing = host, tokens, standing
        self._locks, self._clock = locks, clock
        self._cache: dict[_Key, Token] = {}

    async def grant(
        self,
        credential: Credential | None,
        realm: Realm,
        scopes: Scopes,
        stale: Grant | None,
        *,
        wider: Scopes = (),
        is_decisive: bool = True,
    ) -> Grant:
        """A token for these scopes, or a kept one for `wider` ones; never the `stale` one.

        AuthenticationError if the credential is refused, AccessDenied if only the scope is. What
        a refusal means is unknown, and not remembered, where it is not `decisive`.
        """
        found = self._kept(credential, realm, wider, stale) if wider else None
        found = found or self._kept(credential, realm, scopes, stale)
        if found is not None:
            return found
        if credential is None or self._standing.is_accepted(credential):
            return await self._fetch(credential, realm, scopes, stale, is_decisive)
        # By one request until it is proved (lockout.py). The locks are always taken in this order,
        # the credential's, the scopes', a slot of the token server: so no two requests can wait
        # for each other.
        async with self._locks.of(credential):
            self._standing.check(credential)
            return await self._fetch(credential, realm, scopes, stale, is_decisive)

    def forget(self, grant: Grant) -> None:
        """Give a token to nobody any more; one that came after it stays."""
        for key, token in self._cache.items():
            if grant.header == f"Bearer {token.value}":
                del self._cache[key]
                return

    def _kept(
        self, credential: Credential | None, realm: Realm, scopes: Scopes, stale: Grant | None
    ) -> Grant | None:
        token = self._cache.get((credential, realm, scopes))
        if token is None or self._clock.time() >= token.expires:
            return None
        header = f"Bearer {token.value}"
        return None if stale is not None and stale.header == header else Grant(header)

    async def _fetch(
        self,
        credential: Credential | None,
        realm: Realm,
        scopes: Scopes,
        stale: Grant | None,
        is_decisive: bool,
    ) -> Grant:
        async with self._locks.of((credential, realm, scopes)):
            # Again: who waited finds what who held the lock has fetched.
            found = self._kept(credential, realm, scopes, stale)
            if found is not None:
                return found
            try:
                token = await self._tokens.token(realm, scopes, credential)
            except (AccessDenied, AuthenticationError) as error:
                if not is_decisive:
                    raise
                raise await self._explained(error, realm, scopes, credential) from None
            self._keep((credential, realm, scopes), token)
            if credential is not None:
                self._standing.accept(credential)
            return Grant(f"Bearer {token.value}", is_new=True)

    async def _explained(
        self, error: StoreError, realm: Realm, scopes: Scopes, credential: Credential | None
    ) -> StoreError:
        """Tell whether a token server refuses us, or only the scope.

        It is asked about the credentials alone where that can be: GitLab answers 403 to both.
        A first 401 is taken as it is, since a wrong password must not be tried twice.
        """
        standing = self._standing
        if credential is None:
            return standing.unauthenticated(error, f"there are no credentials for {self._host}")
        is_denied, is_accepted = isinstance(error, AccessDenied), standing.is_accepted(credential)
        if not (is_denied and is_accepted):
            if not scopes or not (is_denied or is_accepted):
                return standing.refuse(credential, error)
            try:
                await self._tokens.token(realm, (), credential)
            except (AccessDenied, AuthenticationError):
                return standing.refuse(credential, error)
            standing.accept(credential)
        subject = f"{self._host} ({' '.join(scopes)})"
        denied = AccessDenied(subject, error.cause, status=error.status)
        return standing.without_right(denied, credential, "lack this right")

    def _keep(self, key: _Key, token: Token) -> None:
        if len(self._cache) >= MOST_TOKENS:
            now = self._clock.time()
            fresh = [(each, kept) for each, kept in self._cache.items() if now < kept.expires]
            # Where none has ended, the older half goes: what it was for is mostly done.
            self._cache = dict(fresh if len(fresh) < MOST_TOKENS else fresh[MOST_TOKENS // 2 :])
        self._cache[key] = token
