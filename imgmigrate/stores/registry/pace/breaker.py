"""Wait for a registry that is down, all its requests together, and give it up together.

A few failures in a row with no answer between are a suspicion. Then one request alone asks
whether anything answers there at all (`probe`), with growing pauses, while all others wait.
What failed while it was down is asked again and has used up no attempt. A registry that
answers the probe at once is not down: then each failure is that of its request.

Who probes is one of those who wait, so nothing runs that nobody waits for; whoever is
cancelled meanwhile hands it to the next.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, TypeVar

from imgmigrate.errors import OutOfReach, RateLimited, StoreError, TransientError
from imgmigrate.events import Waiting
from imgmigrate.stores.registry.http.failures import FIRST_SERVER_ERROR, failure
from imgmigrate.stores.registry.http.session import Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from imgmigrate.clock import Clock
    from imgmigrate.events import Sink
    from imgmigrate.stores.registry.http.session import Http
    from imgmigrate.stores.registry.http.trust import Trust

__all__ = ["Breaker", "look"]

T = TypeVar("T")

# Failures in a row: one that passes at once costs an attempt and no probe.
ENOUGH = 3
# A pause between probes is a part of how long it has been down, in seconds at least and at most:
# what comes back after 20 s is noticed within 5.
PART, SHORTEST, LONGEST = 0.25, 0.5, 15.0
# Seconds between two lines that say what is waited for.
SAY_AGAIN = 60.0


class Breaker:
    """One registry's; waits `longest` seconds for it, 0 switches it off.

    `probe` returns if anything answers there, and raises TransientError if not.
    """

    def __init__(
        self,
        host: str,
        longest: float,
        probe: Callable[[], Awaitable[object]],
        clock: Clock,
        sink: Sink,
    ) -> None:
        self._host, self._longest, self._probe = host, longest, probe
        self._clock, self._sink = clock, sink
        self._in_a_row = 0
        self._since = 0.0
        self._is_open = False
        self._in_vain = -inf  # when a probe failed last
        self._said = -inf
        self._turn = asyncio.Lock()
        self._end: TransientError | None = None

    async def ready(self) -> None:
        """Return once the registry may be asked; OutOfReach if it was waited for too long."""
        if self._end is None and not self._is_open:
            return
        async with self._turn:
            while self._is_open and self._end is None:
                await self._look()
        if self._end is not None:
            raise self._given_up(self._end)

    def answered(self) -> None:
        """Note that it answers, whatever it says."""
        self._in_a_row = 0

    def failed(self, error: TransientError) -> None:
        """Note a failure."""
        if not self._longest or error.is_spent or isinstance(error, RateLimited) or self._is_open:
            return
        if not self._in_a_row:
            self._since = self._clock.time()
        self._in_a_row += 1
        self._is_open = self._in_a_row >= ENOUGH

    @asynccontextmanager
    async def heard(self) -> AsyncIterator[None]:
        """Note a failure of what only its user can send again."""
        try:
            yield
        except TransientError as error:
            self.failed(error)
            raise

    async def through(self, once: Callable[[], Awaitable[T]]) -> T:
        """Call `once` while the registry is up; what fails then is raised."""
        while True:
            await self.ready()
            sent = self._clock.time()
            try:
                result = await once()
            except TransientError as error:
                if not await self.excuses(error, sent):
                    raise
            except StoreError:
                self.answered()
                raise
            else:
                self.answered()
                return result

    async def excuses(self, error: TransientError, sent: float) -> bool:
        """Note a failure of what was `sent` at a time of the clock; wait if it is down.

        True if it was down in the meantime and is no more: then it is as if never sent.
        """
        self.failed(error)
        await self.ready()
        return self._in_vain >= sent

    async def _look(self) -> None:
        try:
            await self._probe()
        except TransientError as error:
            self._in_vain = now = self._clock.time()
            left = self._since + self._longest - now
            if left <= 0:
                self._end = error
                return
            if now - self._said >= SAY_AGAIN:
                self._said = now
                self._sink.emit(Waiting(self._host, f"it is down: {error.cause}", left))
            pause = min(max((now - self._since) * PART, SHORTEST), LONGEST, left)
            await self._clock.sleep(pause)
        else:
            self._is_open, self._in_a_row, self._said = False, 0, -inf

    def _given_up(self, error: TransientError) -> OutOfReach:
        longest = self._longest
        span = f"{longest / 60:g} min" if longest % 60 == 0 else f"{longest:g} s"
        cause = f"out of reach for {span}: {error.cause}"
        hint = "see whether it is up; --wait-for-registries says how long to wait for one"
        return OutOfReach(self._host, cause, hint=hint, status=error.status)


async def look(http: Http, origin: str, trust: Trust) -> None:
    """Ask a registry for anything at all, past all limits; TransientError if it does not answer."""
    request = Request("GET", f"{origin}/v2/", trust.name, trust)
    patience = http.timeouts.connect
    try:
        async with asyncio.timeout(patience), await http.send(request) as answer:
            await answer.settle()
    except TimeoutError:
        cause = f"it did not answer in {patience:g} s"
        raise TransientError(trust.name, cause) from None
    if answer.status >= FIRST_SERVER_ERROR:
        raise failure(trust.name, answer.status, answer.body)
