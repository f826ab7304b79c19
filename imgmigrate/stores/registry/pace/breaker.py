"""Wait for a registry that is down, all its requests together, and give it up together.

A few failures in a row with no answer between are a suspicion. Then one request alone asks
whether anything answers there at all (`probe`), with growing pauses, while all others wait.
What failed while it was down is asked again and has used up no attempt. A registry that
answers the probe at once is not down: then each failure is that of its request.

Waiting mends what was there. Where no connection comes about at all (the name is not known, it
is refused, no way leads there), most often nobody is there: a typing error, a wrong port, a
proxy that is missing. So that counts as an outage only of a registry that we have met:

- something came from it in this run, be it an error of its own or a cut connection; or
- whoever opened it knows that it was there (`is_met`): apply, from what its plan has read;
  planning, from the records of the state; the user, who says how long to wait.

A stranger is given up after `STRANGER` seconds, for all who need it at once.

Who probes is one of those who wait, so nothing runs that nobody waits for; whoever is
cancelled meanwhile hands it to the next.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, TypeVar

from imgmigrate.errors import LeftBehind, OutOfReach, RateLimited, StoreError, TransientError
from imgmigrate.events import Waiting
from imgmigrate.stores.registry.http.failures import FIRST_SERVER_ERROR, failure
from imgmigrate.stores.registry.http.session import Request
from imgmigrate.stores.slots import is_in_company, lent

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
# Seconds for a stranger: as long as the attempts of one request take.
STRANGER = 5.0
# A pause between probes is a part of how long it has been down, in seconds at least and at most:
# what comes back after 20 s is noticed within 5.
PART, SHORTEST, LONGEST = 0.25, 0.5, 15.0
# Seconds between two lines that say what is waited for.
SAY_AGAIN = 60.0


class Breaker:
    """One registry's; waits `longest` seconds for it, 0 switches it off.

    `probe` returns if anything answers there, and raises TransientError if not. `is_met` is
    asked once, when it has not answered yet: whether it was there before this run. `changed` is
    called when it begins or ceases to be waited for.
    """

    def __init__(
        self,
        host: str,
        longest: float,
        probe: Callable[[], Awaitable[object]],
        clock: Clock,
        sink: Sink,
        *,
        is_met: Callable[[], bool] = lambda: True,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self._host, self._longest, self._probe = host, longest, probe
        self._clock, self._sink, self._is_met = clock, sink, is_met
        self._changed, self._met = changed, False
        self._in_a_row = 0
        self._since = 0.0
        self._is_open = False
        self._in_vain = -inf  # when a probe failed last
        self._said = -inf
        # Held by the one who probes, the others queue for it: there is never a second probe.
        self._turn = asyncio.Lock()
        # Why it was given up. Final: once set it stays for the run, and nobody waits any more.
        self._end: TransientError | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether all requests wait for it."""
        return self._is_open and self._end is None

    async def ready(self, subject: str) -> None:
        """Return once the registry may be asked about a subject; OutOfReach after too long.

        What the task holds of other stores is lent out meanwhile. LeftBehind at once for one of
        several that travel together.
        """
        if self._end is None and not self._is_open:
            return
        if self._end is None and is_in_company():
            raise LeftBehind(subject, "it is down: the others go on without it")
        # Lent before the queue, not in it: those behind hold as much of other stores.
        with lent(self._host):
            async with self._turn:
                # Who was woken after the first found it up goes through without a look.
                while self.is_waiting:
                    await self._look()
        if self._end is not None:
            raise self._given_up(self._end, subject)

    def answered(self) -> None:
        """Note that it answers, whatever it says."""
        self._in_a_row, self._met = 0, True

    def failed(self, error: TransientError) -> None:
        """Note a failure."""
        # While it is open only the probe decides: late failures are of requests sent before.
        if not self._longest or error.is_spent or isinstance(error, RateLimited) or self._is_open:
            return
        now = self._clock.time()
        if not self._in_a_row:
            self._since = now
        self._met = self._met or not error.is_unreachable
        self._in_a_row += 1
        # A connection that is not even refused takes longer than the whole patience.
        is_long = not self._met and now - self._since >= STRANGER
        self._is_open = self._in_a_row >= ENOUGH or is_long
        if self._is_open:
            self._changed()

    @asynccontextmanager
    async def heard(self) -> AsyncIterator[None]:
        """Note a failure of what only its user can send again."""
        try:
            yield
        except TransientError as error:
            self.failed(error)
            raise

    async def through(self, once: Callable[[], Awaitable[T]], subject: str) -> T:
        """Call `once` while the registry is up; what fails then is raised."""
        while True:
            await self.ready(subject)
            # Before it is sent: a probe that failed after this moment excuses its failure.
            sent = self._clock.time()
            try:
                result = await once()
            except TransientError as error:
                self.failed(error)
                await self.ready(subject)
                # Down in the meantime and no more: then it is as if never sent.
                if self._in_vain < sent:
                    raise
            except StoreError:
                self.answered()
                raise
            else:
                self.answered()
                return result

    async def _look(self) -> None:
        try:
            await self._probe()
        except TransientError as error:
            self._in_vain = now = self._clock.time()
            left = self._since + self._patience(error) - now
            if left <= 0:
                self._end = error
                self._changed()
                return
            if now - self._said >= SAY_AGAIN:
                self._said = now
                self._sink.emit(Waiting(self._host, f"it is down: {error.cause}", left))
            pause = min(max((now - self._since) * PART, SHORTEST), LONGEST, left)
            await self._clock.sleep(pause)
        else:
            self._is_open, self._in_a_row, self._said = False, 0, -inf
            self._met = True
            self._changed()

    def _patience(self, error: TransientError) -> float:
        """Seconds to wait for it in all, by why a probe failed."""
        self._met = self._met or not error.is_unreachable or self._is_met()
        return self._longest if self._met else min(self._longest, STRANGER)

    def _given_up(self, error: TransientError, subject: str) -> OutOfReach:
        if not self._met:
            return OutOfReach(
                subject, error.cause, host=self._host, hint=error.hint, status=error.status
            )
        longest = self._longest
        span = f"{longest / 60:g} min" if longest % 60 == 0 else f"{longest:g} s"
        cause = f"out of reach for {span}: {error.cause}"
        hint = "see whether it is up; `outage` says how long to wait for one"
        return OutOfReach(subject, cause, host=self._host, hint=hint, status=error.status)


async def look(http: Http, url: str, trust: Trust, *, up: frozenset[int] = frozenset()) -> None:
    """Ask for anything at all, past all limits; TransientError if there is no answer.

    An error of the server's is none, but those that are `up`.
    """
    request = Request("GET", url, trust.name, trust)
    patience = http.timeouts.connect
    try:
        async with asyncio.timeout(patience), await http.send(request) as answer:
            await answer.settle()
    except TimeoutError:
        error = TransientError(trust.name, f"it did not answer in {patience:g} s")
        error.is_unreachable = True  # as far as can be told
        raise error from None
    if answer.status >= FIRST_SERVER_ERROR and answer.status not in up:
        raise failure(trust.name, answer.status, answer.body)
