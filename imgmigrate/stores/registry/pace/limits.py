"""How fast one registry may be asked, and what its answers say about that.

One `Limits` for each registry: windows and rates for the kinds of request that it counts
apart (`quirks.py`), the user's `rate_limit` and `bandwidth` (`bandwidth.py`), the pause that
`Retry-After` asks for, and the pull count of a metered registry. How many blob streams are open
at once is `Store.budget`'s.

What is refused for its rate (429, and a 503 of the same kind) is no failure: it teaches the
rate of its quota (`rates.py`) and is asked again when that allows it, which costs no attempt
and no timeout, until nothing has got through for `LONGEST_REFUSAL` seconds. A 503 is a
limiter's if its body says so, or if the registry answers others meanwhile (`RECENT`):
an outage lets nobody through, and is a failure.

A slot is held for one request and its answer's headers, never while waiting for anything
else; whoever waits for a slot holds only its place in the queue. So no two requests can wait
for each other, whatever the numbers are.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, nullcontext
from math import inf
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field

from imgmigrate.clock import LoopClock
from imgmigrate.errors import RateLimited
from imgmigrate.events import Waiting
from imgmigrate.stores.registry.http.failures import failure, is_throttling, retry_after
from imgmigrate.stores.registry.pace.bandwidth import (
    SAY_AGAIN,
    WORTH_SAYING,
    Bandwidth,
    configured,
    told_bucket,
)
from imgmigrate.stores.registry.pace.metering import PullMeter
from imgmigrate.stores.registry.pace.pacing import Bucket, Window
from imgmigrate.stores.registry.pace.rates import Rate
from imgmigrate.stores.registry.quirks import NO_PULLS
from imgmigrate.stores.registry.quotas import USUAL, Kind
from imgmigrate.stores.slots import lent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from imgmigrate.clock import Clock
    from imgmigrate.config.model import RegistryConfig
    from imgmigrate.events import Sink
    from imgmigrate.stores.registry.pace.metering import OnRateLimit
    from imgmigrate.stores.registry.quirks import Quirks

__all__ = ["Limits", "Passage", "Refused"]

# Requests at once in each window, for each blob stream that the config allows: 64 by default,
# which many registries' front ends bear from one client without answering 429.
REQUESTS_PER_STREAM = 4
# Seconds that those who wait already take to pass: whoever comes then would only wait too.
BACKLOG = 2.0
# The registry asks for less.
CONGESTION = frozenset({429, 503})
# Errors that come from behind a limiter: it has let the request through.
PASSED = frozenset({400, 401, 403, 404, 405, 409, 412, 416})
FIRST_ERROR = 400
# A registry that let something through so many seconds ago is not down.
RECENT = 30.0
# Seconds after which refusals without one success between are an error of their own.
LONGEST_REFUSAL = 1800.0
# A request that is refused more often in a row waits by itself as well, in seconds.
USUAL_REFUSALS, FIRST_DELAY, LONGEST_DELAY = 4, 0.125, 2.0
# What is "unavailable" so often while others get through is what is asked for. Few, as each
# attempt at it is refused so often.
MOST_UNAVAILABLE = 6
# Quotas that are refused within so many seconds of each other are taken for one, in seconds.
TOGETHER = 10.0


class Answered(Protocol):
    """The part of an answer that tells about limits."""

    @property
    def status(self) -> int:
        """The status."""

    @property
    def body(self) -> bytes:
        """An error's body."""

    def header(self, name: str) -> str | None:
        """The first header of that name."""


class _Gate(Struct):
    """What the requests of one quota pass through."""

    window: Window
    rate: Bucket | None
    learnt: Rate
    refused: float = -inf
    waiting: int = 0
    # Held by the one who is next, and by nobody who has a slot: those inside never wait for it, so
    # it comes to an end. First come, first served, as asyncio's locks are.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Passage(Struct, frozen=True):
    """One request's way through a gate, to note what became of it."""

    kind: Kind
    epoch: int
    sent: float = 0.0


class Refused(Struct):
    """How often, and since when, one request was told to come again."""

    times: int = 0
    since: float = 0.0


class _Slot:
    """One slot of a gate, taken on entering. A class: every request takes one."""

    def __init__(self, kind: Kind, enter: Callable[[Kind], Awaitable[_Gate]], clock: Clock) -> None:
        self._kind, self._enter, self._clock = kind, enter, clock
        self._gate: _Gate | None = None

    async def __aenter__(self) -> Passage:
        # No await from the room that was found to the slot that is taken: it would be another's.
        self._gate = gate = await self._enter(self._kind)
        gate.window.enter()
        return Passage(self._kind, gate.window.epoch, self._clock.time())

    async def __aexit__(self, *_: object) -> None:
        if self._gate is not None:
            self._gate.window.leave()


@asynccontextmanager
async def _metered(pull: AbstractAsyncContextManager[None], slot: _Slot) -> AsyncIterator[Passage]:
    # The slot last: who waits for pulls, for hours perhaps, looks by a request of its own, which
    # could not pass if those who wait held all slots.
    async with pull, slot as passage:
        yield passage


class Limits:
    """The limits of one registry; `host` is for messages, a pause lasts `longest_pause` seconds.

    `changed` is called when `is_waiting` may have changed. `known` are rates of earlier runs, in
    requests a second, by the kinds that were counted together.
    """

    def __init__(
        self,
        host: str,
        config: RegistryConfig,
        quirks: Quirks,
        sink: Sink,
        *,
        longest_pause: float,
        on_rate_limit: OnRateLimit = "wait",
        clock: Clock | None = None,
        changed: Callable[[], object] = lambda: None,
        known: Mapping[frozenset[Kind], float] | None = None,
    ) -> None:
        self._host, self._sink, self._longest_pause = host, sink, longest_pause
        self._changed, self._was_waiting = changed, False
        self._clock = clock = clock or LoopClock()
        self._until = -inf  # as long as no pause was asked for, no clock is
        most = config.concurrency * REQUESTS_PER_STREAM
        self._gates: dict[Kind, _Gate] = {}
        before = {kinds: self._estimate(kinds, rate) for kinds, rate in (known or {}).items()}
        for quota in quirks.quotas:
            names = _named(quota.kinds)
            learnt = next((each for kinds, each in before.items() if quota.kinds <= kinds), None)
            rate = quota.rate and told_bucket(
                quota.rate, quota.burst, f"its own limit for {names}", host, clock, sink
            )
            gate = _Gate(Window(most), rate or None, learnt or self._estimate(quota.kinds))
            self._gates |= dict.fromkeys(quota.kinds, gate)
        # Where nothing is known of separate quotas, refusals tell whether there are any.
        self._may_be_one = quirks.quotas == USUAL
        self._through = self._refused = self._said = -inf
        self._rate = configured("rate_limit", config.rate_limit, host, clock, sink)
        self.bandwidth = Bandwidth(host, config, clock, sink)
        self.meter = (
            PullMeter(host, on_rate_limit, clock, sink, self._look) if quirks.is_metered else None
        )

    @property
    def is_waiting(self) -> bool:
        """Whether whoever comes now waits for long, be it only for all who wait already."""
        if self.is_resting:
            return True
        return any(gate.waiting and self._backlog(gate) >= BACKLOG for gate in self._gates.values())

    @property
    def is_resting(self) -> bool:
        """Whether all wait for the end of a pause, or for pulls."""
        has_no_pulls = self.meter is not None and self.meter.is_waiting
        if has_no_pulls or self._until == -inf:
            return has_no_pulls
        return self._until - self._clock.time() >= WORTH_SAYING

    def _backlog(self, gate: _Gate) -> float:
        """Seconds until all who wait at a gate have passed."""
        buckets = (bucket.rate for bucket in (gate.rate, self._rate) if bucket)
        return gate.waiting / min((*buckets, gate.learnt.value or inf))

    def _look(self) -> None:
        """Tell it if all wait from now on, or do no more."""
        is_waiting = self.is_waiting
        if is_waiting != self._was_waiting:
            self._was_waiting = is_waiting
            self._changed()

    def request(
        self, kind: Kind, look: Callable[[], Awaitable[object]] | None = None
    ) -> AbstractAsyncContextManager[Passage]:
        """Hold a slot for one request; `look` asks a metered registry what is left.

        QuotaExhausted if nothing is and the user does not want to wait.
        """
        slot = _Slot(kind, self._pass, self._clock)
        meter = self.meter if kind is Kind.MANIFEST_READ else None
        return _metered(meter.pull(look), slot) if meter and look else slot

    async def admit(self, kind: Kind) -> Passage:
        """Wait until a request may begin, without a slot: for a body that streams for long.

        Its bytes may depend on another request to this registry.
        """
        epoch = (await self._pass(kind)).window.epoch
        return Passage(kind, epoch, self._clock.time())

    def note(self, passage: Passage, answer: Answered) -> None:
        """Learn from the registry's own answer."""
        gate = self._gates[passage.kind]
        if answer.status in CONGESTION:
            gate.window.congested(passage.epoch)
            after = retry_after(answer.header("Retry-After"), self._longest_pause)
            if after:
                self.pause(after, f"it answered {answer.status} and asks for a pause")
        if answer.status < FIRST_ERROR or answer.status in PASSED:
            self._through = self._clock.time()
            gate.learnt.succeeded()
        if answer.status < FIRST_ERROR:
            gate.window.succeeded()
        if self.meter and passage.kind in (Kind.MANIFEST_READ, Kind.MANIFEST_HEAD):
            self.meter.note(answer.header, is_success=answer.status < FIRST_ERROR)
            # The limit itself, not the guard against abuse (protocol 3.7).
            if answer.status == 429 and NO_PULLS.encode() in answer.body:
                self.meter.exhaust()

    async def paces(
        self, passage: Passage, answer: Answered, subject: str, refused: Refused
    ) -> bool:
        """Tell whether an answer only says "not so fast"; then it is to be asked for again.

        RateLimited if nothing has got through for too long, or this request alone did not. A
        pull limit that is used up is the meter's.
        """
        if not self._is_pace(answer, refused):
            return False
        now, gate = self._clock.time(), self._gates[passage.kind]
        # First: the refusal teaches the estimate that is shared from now on, not the one before.
        self._join(gate, now)
        gate.refused = now
        gate.learnt.refused(passage.sent)
        # `_refused` is the first refusal since something got through, be it of another request.
        if self._through >= self._refused:
            self._refused = self._said = now
        if not refused.times:
            refused.since = now
        refused.times += 1
        if now - refused.since >= LONGEST_REFUSAL:
            minutes = LONGEST_REFUSAL / 60
            said = failure(subject, answer.status, answer.body).cause
            cause = f"{said}, and nothing else for {minutes:.0f} min"
            hint = "wait, or log in: registries allow more to those whom they know"
            error = RateLimited(subject, cause, hint=hint, status=answer.status)
            error.is_spent = True
            raise error
        if now - self._said >= SAY_AGAIN:
            self._said = now
            left = LONGEST_REFUSAL - (now - self._refused)
            cause = f"it refuses all requests ({answer.status}) and is asked more rarely"
            self._sink.emit(Waiting(self._host, cause, left))
        if refused.times > USUAL_REFUSALS:
            # Others get through: it may well be about what is asked for.
            doubled = FIRST_DELAY * 2 ** min(refused.times - USUAL_REFUSALS, 10)
            await self._clock.sleep(min(doubled, LONGEST_DELAY))
        return True

    def _is_pace(self, answer: Answered, refused: Refused) -> bool:
        if answer.status == 429:
            return NO_PULLS.encode() not in answer.body or self.meter is None
        if answer.status < FIRST_ERROR:
            return False
        if is_throttling(answer.body):
            return True
        is_alive = self._clock.time() - self._through < RECENT
        return answer.status == 503 and is_alive and refused.times < MOST_UNAVAILABLE

    def _join(self, gate: _Gate, now: float) -> None:
        """Take what is refused together for one budget: most limiters count all requests."""
        if not self._may_be_one or gate.learnt.is_known:
            return
        for other in self._gates.values():
            if other is not gate and now - other.refused < TOGETHER:
                gate.learnt = other.learnt

    def _estimate(self, kinds: frozenset[Kind], known: float | None = None) -> Rate:
        return Rate(self._clock, self._told(_named(kinds)), known)

    def learnt(self) -> dict[frozenset[Kind], Rate]:
        """The estimate for each set of kinds that is counted together, where there is one."""
        found: dict[int, tuple[Rate, set[Kind]]] = {}
        for kind, gate in self._gates.items():
            if gate.learnt.is_known:
                found.setdefault(id(gate.learnt), (gate.learnt, set()))[1].add(kind)
        return {frozenset(kinds): rate for rate, kinds in found.values()}

    def _told(self, names: str) -> Callable[[float], None]:
        def waits(seconds: float) -> None:
            if seconds >= WORTH_SAYING:
                cause = f"kept to the rate at which it lets {names} through"
                self._sink.emit(Waiting(self._host, cause, seconds))

        return waits

    def pause(self, seconds: float, cause: str) -> None:
        """Let every request to this registry wait; a longer pause stands."""
        now = self._clock.time()
        until = now + seconds
        # Those who were refused together say it together.
        if seconds >= 1 and until - max(self._until, now) >= min(1.0, seconds):
            self._sink.emit(Waiting(self._host, f"all requests wait: {cause}", seconds))
        self._until = max(self._until, until)
        self._look()

    async def _pass(self, kind: Kind) -> _Gate:
        gate = self._gates[kind]
        is_paced = gate.rate or self._rate or gate.learnt.is_known
        is_open = not (gate.turn.locked() or is_paced)
        if is_open and gate.window.has_room and self._clock.time() >= self._until:
            return gate  # nobody waits, and nothing is to be waited for
        # Counted before the first await: whoever is told that all wait has to see this one too.
        gate.waiting += 1
        self._look()
        try:
            with lent(self._host) if self._was_waiting else nullcontext():
                await self._take_turn(gate)
        finally:
            gate.waiting -= 1
            self._look()
        return gate

    async def _take_turn(self, gate: _Gate) -> None:
        # Only who holds the turn may enter (`_pass` lets nobody by meanwhile), so the room found
        # at the end is there when it is taken. Before each token there has to be room as well: a
        # token that waits for a slot is a request too few in its second. The window may have
        # shrunk, and a pause begun, while tokens were waited for: hence the last look at both.
        async with gate.turn:
            for bucket in (gate.rate, self._rate):
                if bucket:
                    await gate.window.room()
                    await bucket.take()
            await gate.window.room()
            await gate.learnt.take()
            while not gate.window.has_room or self._clock.time() < self._until:
                await gate.window.room()
                # It may grow meanwhile.
                await self._clock.sleep(max(0.0, self._until - self._clock.time()))


def _named(kinds: frozenset[Kind]) -> str:
    return " and ".join(kind.value for kind in Kind if kind in kinds)
