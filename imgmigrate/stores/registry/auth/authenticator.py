"""Say what to send as `Authorization` to one registry, and what a refusal means.

Knows challenges, credentials and tokens; sends nothing to the registry itself except, through
`ping`, a question about the credentials alone. Tokens are kept in `bearer.py`; a credential that
was refused is not tried again, so that no account is locked for it (`lockout.py`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from imgmigrate.clock import LoopClock
from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    NotFound,
    ProtocolError,
    Rejected,
    StoreError,
    Symptom,
)
from imgmigrate.stores.registry.auth.access import Access, Grant
from imgmigrate.stores.registry.auth.bearer import BearerTokens, Locks
from imgmigrate.stores.registry.auth.challenges import Challenge, parse_challenges
from imgmigrate.stores.registry.auth.lockout import Standing
from imgmigrate.stores.registry.auth.tokens import Realm
from imgmigrate.stores.registry.http.failures import says_expired
from imgmigrate.stores.registry.http.urls import origin_of, resolve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from imgmigrate.clock import Clock
    from imgmigrate.stores.registry.auth.tokens import TokenServer
    from imgmigrate.stores.registry.logins.credentials import Credential
    from imgmigrate.stores.registry.logins.keyring import Keyring

__all__ = ["Authenticator", "Grant", "Pong"]

# ECR Public asks for one scope that nobody could guess; a challenge of hundreds is an attack.
MOST_EXTRA_SCOPES = 8


class Pong(Protocol):
    """The answer to GET /v2/: its status, challenges, URL and, of an error, the body."""

    @property
    def status(self) -> int:
        """The status."""

    @property
    def url(self) -> str:
        """Who answered."""

    @property
    def body(self) -> bytes:
        """The beginning of an error's body."""

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
        *,
        clock: Clock | None = None,
    ) -> None:
        self._host, self._keyring, self._ping = host, keyring, ping
        clock = clock or LoopClock()
        self._standing = Standing(host, keyring, clock)
        self._locks = Locks()
        self._bearers = BearerTokens(host, tokens, self._standing, self._locks, clock)
        self._is_basic = False
        self._realm: Realm | None = None
        # What needs Basic although the registry has tokens (Harbor's catalog).
        self._basic_for: set[tuple[str, ...]] = set()
        # What a challenge asked for beyond what we would have asked.
        self._extra: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._no_mount_scope: set[Access] = set()
        # Held while a registry that has asked for nothing is asked whether it knows a login.
        self._knocking = asyncio.Lock()
        self._has_no_login = False

    @property
    def is_known(self) -> bool:
        """Whether the registry has said how to authenticate."""
        return self._is_basic or self._realm is not None

    async def greet(self) -> Pong:
        """Ask GET /v2/ as nobody, to see whether a registry is there."""
        return await self._ping(None)

    async def credential(self, repo: str | None = None) -> Credential | None:
        """The credential that is used for a repository; None means anonymous."""
        return await self._keyring.of(repo)

    async def authorization(self, access: Access) -> Grant | None:
        """What to send at once; None before the registry has asked for anything."""
        return await self._grant(access, stale=None) if self.is_known else None

    async def answer(
        self, lines: list[str], url: str, access: Access, sent: Grant | None
    ) -> Grant | None:
        """What to send after a 401 (or a first 403) from `url`; None if nothing better is left.

        AuthenticationError if the credentials turn out to be wrong, in the words of the first
        time that they did.
        """
        challenges = parse_challenges(lines)
        if not challenges and not self.is_known:
            pong = await self._ping(None)
            challenges, url = _challenges(pong), pong.url
        chosen = self._learn(challenges, url, access, sent)
        is_wider = self._note_extra(chosen, access)
        if not self.is_known:
            return None
        is_invalid = chosen is not None and chosen.get("error") == "invalid_token"
        if sent is not None and sent.is_new and not is_wider and not is_invalid:
            return await self._basic_instead(challenges, access, sent)
        grant = await self._grant(access, stale=sent)
        if grant is None or sent is None or grant.header != sent.header:
            return grant
        return await self._after_refusal(access, sent)

    async def offer(self, access: Access) -> Grant | None:
        """What to send after a 404 to nobody in particular; None if there is no login to offer.

        Some registries hide what not everybody may see, and say at GET /v2/ alone that there is a
        login (containerd/containerd#3291). A registry that asks for none is asked once.
        """
        if self._has_no_login or await self._keyring.of(access.repo) is None:
            return None
        async with self._knocking:
            # Again: who waited may know by now.
            if not self.is_known and not self._has_no_login:
                pong = await self._ping(None)
                self._learn(_challenges(pong), pong.url, access, None)
                self._has_no_login = not self.is_known
        return await self.authorization(access)

    async def note_success(self, access: Access, sent: Grant | None) -> None:
        """Learn that the registry let this through: Basic credentials are proved by it."""
        if sent is None or not sent.header.startswith("Basic "):
            return
        if not self._is_basic:
            self._basic_for.add(access.scopes)
            return
        credential = await self._keyring.of(access.repo)
        if credential is not None and credential.basic == sent.header:
            self._standing.accept(credential)

    async def same_credential(self, one: str, other: str) -> bool:
        """Tell whether two repositories are reached as the same user, as a mount needs."""
        return await self._keyring.of(one) == await self._keyring.of(other)

    async def judge(
        self, error: StoreError, access: Access, *, is_read: bool = False
    ) -> StoreError:
        """Tell from a 401 or 403 whether the credentials or the rights are what is missing.

        `is_read`: only looked at, though it may be with the right to push.
        """
        credential = await self._keyring.of(access.repo)
        if credential is None:
            reason = f"it is private or absent, and there are no credentials for {self._host}"
            return self._standing.unauthenticated(error, reason, access.repo)
        refused = self._standing.refusal(credential)
        if refused is not None:
            return refused
        if Symptom.EXPIRED in error.symptoms:
            reason = f"those of {credential.found} have expired"
            return self._standing.unauthenticated(error, reason, access.repo, credential)
        if self._standing.is_accepted(credential) or await self._proves(credential):
            is_pull = is_read or not access.push
            right = "pull" if is_pull else "delete" if access.delete else "push"
            lacking = f"lack {right} there, or it does not exist"
            return self._standing.without_right(error, credential, lacking)
        if not self.is_known:
            reason = f"the credentials of {credential.found} were not asked for"
            return self._standing.unauthenticated(error, reason, access.repo)
        reason = f"the credentials of {credential.found} were refused"
        return self._standing.unauthenticated(error, reason, access.repo, credential)

    def _learn(
        self, challenges: tuple[Challenge, ...], url: str, access: Access, sent: Grant | None
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
        if "basic" in offered and self._realm is None:
            self._is_basic = True
        elif "basic" in offered and sent is None:
            self._basic_for.add(access.scopes)
        return None

    def _note_extra(self, challenge: Challenge | None, access: Access) -> bool:
        """Remember the scopes that a challenge asks for beyond ours; tell whether there are any.

        They replace those before: tokens of ever more scopes outgrow what front ends accept as
        a header (Azure/acr#797).
        """
        ours = self._scopes(access)
        asked = challenge.scopes[:MOST_EXTRA_SCOPES] if challenge is not None else ()
        new = tuple(scope for scope in asked if not any(_covers(one, scope) for one in ours))
        if new:
            self._extra[access.scopes] = new
        return bool(new)

    def _scopes(self, access: Access) -> tuple[str, ...]:
        return access.scopes + self._extra.get(access.scopes, ())

    async def _grant(self, access: Access, stale: Grant | None) -> Grant | None:
        """What the credential gives; where it is refused, what its source gives when asked anew."""
        credential = await self._keyring.of(access.repo)
        try:
            return await self._grant_to(credential, access, stale)
        except AuthenticationError:
            better = await self._standing.renewed(access.repo, credential)
            if better is None:
                raise
        return await self._grant_to(better, access, stale)

    async def _grant_to(
        self, credential: Credential | None, access: Access, stale: Grant | None
    ) -> Grant | None:
        if credential is not None:
            self._standing.check(credential)
            if credential.registry_token:
                return Grant(f"Bearer {credential.registry_token}")
            if self._is_basic or access.scopes in self._basic_for:
                return await self._basic(credential)
        if self._realm is None:
            return None
        if access.mount_from is not None and access not in self._no_mount_scope:
            scopes = self._scopes(access)
            try:
                return await self._bearers.grant(
                    credential, self._realm, scopes, stale, is_decisive=False
                )
            except (AccessDenied, AuthenticationError, NotFound, Rejected):
                # Docker Hub has no token at all for what names a repository it does not like:
                # then the mount is tried without (google/go-containerregistry#1679).
                self._no_mount_scope.add(access)
        scopes = self._scopes(replace(access, mount_from=None))
        # A token to push also reads.
        can_be_wider = access.repo is not None and not access.push
        wider = self._scopes(Access(access.repo, push=True)) if can_be_wider else ()
        return await self._bearers.grant(credential, self._realm, scopes, stale, wider=wider)

    async def _basic(self, credential: Credential) -> Grant:
        """Basic credentials, tried once before all requests that wait may send them."""
        if self._standing.is_untried(credential):
            async with self._locks.of(credential):
                # Both again: the one who held the lock before has tried it, well or in vain.
                self._standing.check(credential)
                if self._standing.is_untried(credential):
                    if (reason := await self._refusal(credential.basic)) is not None:
                        raise self._standing.refuse(credential, reason)
                    self._standing.note_tried(credential)
        return Grant(credential.basic)

    async def _basic_instead(
        self, challenges: tuple[Challenge, ...], access: Access, sent: Grant
    ) -> Grant | None:
        """Basic where even a fresh token was refused and nothing else is offered (Harbor)."""
        offered = {challenge.scheme for challenge in challenges}
        credential = await self._keyring.of(access.repo)
        if credential is None or not credential.password or "basic" not in offered:
            return None
        if not sent.header.startswith("Bearer ") or "bearer" in offered:
            return None
        # Or the token has ended already, of which Harbor says nothing: then a next one is better
        # than it, should the password be refused too.
        self._bearers.forget(sent)
        return Grant(credential.basic, is_instead=True)

    async def _after_refusal(self, access: Access, sent: Grant) -> Grant | None:
        """A refusal of what is always the same: the right is missing, or it is good no more."""
        credential = await self._keyring.of(access.repo)
        reason = await self._refusal(sent.header) if credential is not None else None
        if credential is None or reason is None:
            return None
        self._standing.refuse(credential, reason)
        return await self._grant(access, stale=sent)

    async def _refusal(self, header: str) -> StoreError | None:
        """What GET /v2/ answers to an authorization that it refuses; None if it does not."""
        try:
            pong = await self._ping(header)
        except StoreError:
            return None
        offered = {challenge.scheme for challenge in _challenges(pong)}
        is_other = header.startswith("Basic ") and "bearer" in offered and "basic" not in offered
        if says_expired(pong.body) and pong.status in (401, 403):
            return AuthenticationError(self._host, f"expired ({pong.status})", status=pong.status)
        if pong.status != 401 or is_other:
            return None
        return AuthenticationError(self._host, "not authenticated (401)", status=401)

    async def _proves(self, credential: Credential) -> bool:
        """Ask GET /v2/ about credentials; proof only if it refuses those who have none."""
        if not self._is_basic and not credential.registry_token:
            return False
        token = credential.registry_token
        header = f"Bearer {token}" if token else credential.basic
        if (await self._ping(None)).status != 401 or (await self._ping(header)).status != 200:
            return False
        self._standing.accept(credential)
        return True


def _challenges(pong: Pong) -> tuple[Challenge, ...]:
    return parse_challenges(pong.headers("WWW-Authenticate"))


def _covers(ours: str, asked: str) -> bool:
    """Tell whether a scope of ours includes the one asked for."""
    name, _, actions = ours.rpartition(":")
    asked_name, _, asked_actions = asked.rpartition(":")
    return name == asked_name and set(asked_actions.split(",")) <= set(actions.split(","))
