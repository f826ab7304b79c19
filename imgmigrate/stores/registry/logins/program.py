"""A program that prints credentials: asked by one at a time, and again before its answer ends."""

from __future__ import annotations

import asyncio
import dataclasses
from math import inf
from typing import TYPE_CHECKING

from msgspec.structs import replace

from imgmigrate.errors import AuthenticationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from imgmigrate.clock import Clock
    from imgmigrate.stores.registry.logins.credentials import Credential
    from imgmigrate.stores.registry.logins.helpers import Answer

__all__ = ["Program"]

# Seconds before its end that a credential is replaced, at most half its life: a program may take
# a while, and what it gave before serves meanwhile.
RENEWED_BEFORE = 60.0
# Seconds that a program which failed is left alone, so that a thousand repositories do not each
# wait for it.
FAILURE_RESTS = 30.0


class Program:
    """What a program answered: asked by one at a time, and again before that ends.

    `place` and `mend` are what its credentials say of themselves.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[Answer]],
        clock: Clock,
        place: str | None = None,
        mend: str | None = None,
    ) -> None:
        self._ask, self._clock = ask, clock
        self._place, self._mend = place, mend
        self._lock = asyncio.Lock()
        self._answer: Answer | None = None
        self._failure: AuthenticationError | None = None
        # When the answer ends, and when the program may or must be asked again.
        self._ends = self._next = -inf

    async def credential(self) -> Credential | None:
        """The credential that holds now; AuthenticationError if the program fails."""
        # Held while the program runs: it may ask a person, and all others want the same answer.
        async with self._lock:
            now = self._clock.time()
            if now >= self._next:
                await self._renew(now)
            elif self._failure is not None:
                failed = self._failure
                raise failed.remade(AuthenticationError, hint=failed.hint)
            return self._answer.credential if self._answer is not None else None

    def forget(self) -> None:
        """Ask again when a credential is wanted next."""
        self._answer = None
        if self._failure is None:
            self._ends = self._next = -inf

    def _placed(self, answer: Answer) -> Answer:
        if answer.credential is None:
            return answer
        placed = dataclasses.replace(answer.credential, place=self._place, mend=self._mend)
        return replace(answer, credential=placed)

    async def _renew(self, now: float) -> None:
        try:
            self._answer = self._placed(await self._ask())
        except AuthenticationError as error:
            self._next = self._clock.time() + FAILURE_RESTS
            if self._answer is None or now >= self._ends:
                self._answer, self._failure = None, error
                raise
            self._next = min(self._next, self._ends)
            return
        self._failure = None
        life = self._answer.life or inf
        self._ends = now + life
        self._next = self._ends - min(RENEWED_BEFORE, life / 2)
