"""Read as nobody in particular where a registry redirects to another one.

A front host may send reads on to a registry with tokens of its own (containerd/containerd#5503).
Our credentials never go there; a token that everybody gets is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.errors import StoreError
from imgmigrate.stores.registry.auth.access import Grant
from imgmigrate.stores.registry.auth.challenges import parse_challenges
from imgmigrate.stores.registry.auth.tokens import Realm
from imgmigrate.stores.registry.http.urls import origin_of, resolve

if TYPE_CHECKING:
    from imgmigrate.clock import Clock
    from imgmigrate.stores.registry.auth.tokens import Token, TokenServer
    from imgmigrate.stores.registry.http.answer import Answer

__all__ = ["Guests"]

# As many repositories are read at once at the most; older tokens are asked for again.
MOST_TOKENS = 200


class Guests:
    """The anonymous tokens of the registries that one registry redirects to."""

    def __init__(self, host: str, tokens: TokenServer, clock: Clock) -> None:
        self._host, self._tokens, self._clock = host, tokens, clock
        self._kept: dict[tuple[Realm, tuple[str, ...]], Token] = {}

    async def grant(self, subject: str, answer: Answer) -> Grant | None:
        """What to send to whoever answered 401; None if it has no tokens for everybody."""
        found = next(
            (
                each
                for each in parse_challenges(answer.headers("WWW-Authenticate"))
                if each.scheme == "bearer" and each.get("realm")
            ),
            None,
        )
        if found is None:
            return None
        try:
            url = resolve(answer.url, found.get("realm") or "")
            origin_of(url)
            key = (Realm(url, found.get("service")), found.scopes)
            # Without a lock: two that come at once ask twice, and either token is good.
            token = self._kept.get(key)
            if token is None or self._clock.time() >= token.expires:
                token = await self._tokens.token(*key, None)
        except (StoreError, ValueError):
            return None  # the refusal itself says what is wrong
        if len(self._kept) >= MOST_TOKENS:
            self._kept.clear()
        self._kept[key] = token
        return Grant(f"Bearer {token.value}")
