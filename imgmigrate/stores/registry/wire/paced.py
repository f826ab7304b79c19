"""Requests to one registry at the pace that it allows.

Each is held back until limits let it, and asked again for as long as the registry only says
"not so fast". Waiting is outside of every timeout, and holds no slot.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from imgmigrate.errors import RateLimited, TransientError
from imgmigrate.stores.registry.http.failures import failure
from imgmigrate.stores.registry.http.session import FIRST_ERROR
from imgmigrate.stores.registry.pace.limits import Limits, Refused
from imgmigrate.stores.registry.quotas import Kind, kind_of
from imgmigrate.stores.registry.wire.wire import READS, Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from imgmigrate.stores.registry.auth.access import Grant
    from imgmigrate.stores.registry.http.answer import Answer
    from imgmigrate.stores.registry.http.limits import Timeouts
    from imgmigrate.stores.registry.pace.limits import Passage
    from imgmigrate.stores.registry.wire.calls import Call

__all__ = ["Paced"]


class Paced:
    """The wire to a registry behind its limits; `look` HEADs what is about to be pulled."""

    def __init__(
        self,
        host: str,
        wire: Wire,
        limits: Limits,
        timeouts: Timeouts,
        look: Callable[[Call], Awaitable[object]],
    ) -> None:
        self._host, self._wire, self._limits = host, wire, limits
        self._timeouts, self._look = timeouts, look

    async def whole(self, call: Call, grant: Grant | None) -> Answer:
        """Send and read the whole answer; a server that trickles is given up in the end."""
        # What sends no body is bounded on its way: its headers and its body each have their time.
        limit = call.patience
        if limit is None and call.data is not None:
            limit = self._timeouts.patience(len(call.data))
        refused = Refused()
        while True:
            try:
                # The time begins when there is a slot: limits are no fault of the server's.
                async with (
                    self._slot(call) as passage,
                    asyncio.timeout(limit),
                    await self._wire.follow(call, grant) as answer,
                ):
                    self.note(passage, answer)
                    if answer.status < FIRST_ERROR:
                        await answer.load(call.limit)
            except TimeoutError:
                cause = f"{self._host} did not answer whole in {limit or self._timeouts.commit:g} s"
                raise TransientError(call.subject, cause) from None
            # The slot is given back by now: this may wait, and a slot waits for nothing.
            if not await self.is_paced(passage, answer, call, refused):
                return answer

    async def opened(self, call: Call, grant: Grant | None) -> Answer:
        """Send and read the headers; a body that streams for long holds no slot."""
        refused = Refused()
        while True:
            async with self._slot(call) as passage:
                answer = await self._wire.follow(call, grant)
                self.note(passage, answer)
            if not await self.is_paced(passage, answer, call, refused):
                return answer
            answer.close()

    async def is_paced(
        self, passage: Passage, answer: Answer, call: Call, refused: Refused
    ) -> bool:
        """Tell whether the registry itself only asks to wait; what is in vain is not tried again.

        RateLimited if it has asked for nothing else for too long.
        """
        if answer.status < FIRST_ERROR or answer.status in call.accepts | call.hopeless:
            return False
        is_own = self._wire.is_own(answer.url)
        if not is_own or not await self._limits.paces(passage, answer, call.subject, refused):
            return False
        # Pulp goes on with what it answers 429 to: who writes looks first.
        if passage.kind is Kind.MANIFEST_WRITE:
            raise self.refusal(call, answer)
        return True

    def refusal(self, call: Call, answer: Answer) -> RateLimited:
        """What is said of a request that only whoever made it can send again."""
        writes = call.method not in READS
        error = failure(call.subject, answer.status, answer.body, writes=writes)
        return RateLimited.paced(error)

    def note(self, passage: Passage, answer: Answer) -> None:
        """Learn about limits from the registry itself, not from the storage behind it."""
        if self._wire.is_own(answer.url):
            self._limits.note(passage, answer)

    def _slot(self, call: Call) -> AbstractAsyncContextManager[Passage]:
        kind = kind_of(call.method, call.target)
        return self._limits.request(kind, partial(self._look, call))
