"""How fast one registry may be asked, and what its answers say about that.

One `Limits` for each registry: windows and rates for the kinds of request that it counts
apart (`quirks.py`), the user's `rate_limit` and `bandwidth`, the pause that `Retry-After`
asks for, and the pull count of a metered registry. How many blob streams are open at once is
`Store.budget`'s.

A slot is held for one request and its answer's headers, never while waiting for anything
else; whoever waits for a slot holds only its place in the queue. So no two requests can wait
for each other, whatever the numbers are.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from imgmigrate.clock import LoopClock
from imgmigrate.events import Waiting
from imgmigrate.stores.registry.http.failures import retry_after
from imgmigrate.stores.registry.pace.metering import PullMeter
from imgmigrate.stores.registry.pace.pacing import Bucket, Window
from imgmigrate.stores.registry.quotas import Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from imgmigrate.clock import Clock
    from imgmigrate.config.model import RegistryConfig
    from imgmigrate.events import Sink
    from imgmigrate.stores.registry.pace.metering import OnRateLimit
    from imgmigrate.stores.registry.quirks import Quirks

__all__ = ["Limits", "Passage"]

# Requests at once in each window, for each blob stream that the config allows: 64 by default,
# which many registries' front ends bear from one client without answering 429.
REQUESTS_PER_STREAM = 4
# A fraction of a second's worth may go at once: smooth enough for any registry, and large
# enough that the loop's timers, which are exact to a millisecond, cost no throughput.
BURST_SECONDS = 0.1
# A shorter wait needs no explanation, in seconds.
WORTH_SAYING = 5.0
# The registry asks for less.
CONGESTION = frozenset({429, 503})
FIRST_ERROR = 400


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


@dataclass(slots=True)
class _Gate:
    """What the requests of one quota pass through."""

    window: Window
    rate: Bucket | None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Passage:
    """One request's way through a gate, to note what became of it."""

    kind: Kind
    epoch: int


class _Slot:
    """One slot of a gate, taken on entering. A class: every request takes one."""

    def __init__(self, kind: Kind, enter: Callable[[Kind], Awaitable[_Gate]]) -> None:
        self._kind, self._enter = kind, enter
        self._gate: _Gate | None = None

    async def __aenter__(self) -> Passage:
        self._gate = gate = await self._enter(self._kind)
        gate.window.enter()
        return Passage(self._kind, gate.window.epoch)

    async def __aexit__(self, *_: object) -> None:
        if self._gate is not None:
            self._gate.window.leave()


@asynccontextmanager
async def _metered(pull: AbstractAsyncContextManager[None], slot: _Slot) -> AsyncIterator[Passage]:
    async with pull, slot as passage:
        yield passage


class Limits:
    """The limits of one registry; `host` is for messages, a pause lasts `longest_pause` seconds."""

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
    ) -> None:
        self._host, self._sink, self._longest_pause = host, sink, longest_pause
        self._clock = clock = clock or LoopClock()
        self._until = clock.time()
        most = config.concurrency * REQUESTS_PER_STREAM
        self._gates: dict[Kind, _Gate] = {}
        for quota in quirks.quotas:
            names = " and ".join(kind.value for kind in Kind if kind in quota.kinds)
            rate = quota.rate and self._bucket(
                quota.rate, quota.burst, f"its own limit for {names}"
            )
            gate = _Gate(Window(most), rate or None)
            self._gates |= dict.fromkeys(quota.kinds, gate)
        self._rate = self._configured("rate_limit", config.rate_limit, least=1.0)
        self._reads = self._configured("bandwidth", config.bandwidth, least=1.0)
        self._writes = self._configured("bandwidth", config.bandwidth, least=1.0)
        self.meter = PullMeter(host, on_rate_limit, clock, sink) if quirks.is_metered else None

    def request(
        self, kind: Kind, look: Callable[[], Awaitable[object]] | None = None
    ) -> AbstractAsyncContextManager[Passage]:
        """Hold a slot for one request; `look` asks a metered registry what is left.

        QuotaExhausted if nothing is and the user does not want to wait.
        """
        slot = _Slot(kind, self._pass)
        meter = self.meter if kind is Kind.MANIFEST_READ else None
        return _metered(meter.pull(look), slot) if meter and look else slot

    async def admit(self, kind: Kind) -> Passage:
        """Wait until a request may begin, without a slot: for a body that streams for long.

        Its bytes may depend on another request to this registry.
        """
        return Passage(kind, (await self._pass(kind)).window.epoch)

    def note(self, passage: Passage, answer: Answered) -> None:
        """Learn from the registry's own answer."""
        window = self._gates[passage.kind].window
        if answer.status in CONGESTION:
            window.congested(passage.epoch)
            after = retry_after(answer.header("Retry-After"), self._longest_pause)
            if after:
                self.pause(after, f"it answered {answer.status} and asks for a pause")
        elif answer.status < FIRST_ERROR:
            window.succeeded()
        if self.meter and passage.kind in (Kind.MANIFEST_READ, Kind.MANIFEST_HEAD):
            self.meter.note(answer.header, is_success=answer.status < FIRST_ERROR)
            # The limit itself, not the guard against abuse (protocol 3.7).
            if answer.status == 429 and b"increase-rate-limit" in answer.body:
                self.meter.exhaust()

    def pause(self, seconds: float, cause: str) -> None:
        """Let every request to this registry wait; a longer pause stands."""
        now = self._clock.time()
        until = now + seconds
        # Those who were refused together say it together.
        if seconds >= 1 and until - max(self._until, now) >= min(1.0, seconds):
            self._sink.emit(Waiting(self._host, f"all requests wait: {cause}", seconds))
        self._until = max(self._until, until)

    async def read(self, size: int) -> None:
        """Wait until so many bytes of a blob may be passed on; the next ones wait behind them."""
        if self._reads:
            await self._reads.take(size)

    async def write(self, size: int) -> None:
        """Wait until so many bytes of a blob may be sent."""
        if self._writes:
            await self._writes.take(size)

    async def _pass(self, kind: Kind) -> _Gate:
        gate = self._gates[kind]
        is_open = not (gate.turn.locked() or gate.rate or self._rate)
        if is_open and gate.window.has_room and self._clock.time() >= self._until:
            return gate  # nobody waits, and nothing is to be waited for
        async with gate.turn:
            for bucket in (gate.rate, self._rate):
                if bucket:
                    await gate.window.room()
                    await bucket.take()
            while not gate.window.has_room or self._clock.time() < self._until:
                await gate.window.room()
                # It may grow meanwhile.
                await self._clock.sleep(max(0.0, self._until - self._clock.time()))
        return gate

    def _configured(self, key: str, rate: float | None, *, least: float) -> Bucket | None:
        if rate is None:
            return None
        return self._bucket(rate, max(least, rate * BURST_SECONDS), f"{key} in the config")

    def _bucket(self, rate: float, burst: float, name: str) -> Bucket:
        def waits(seconds: float) -> None:
            if seconds >= WORTH_SAYING:
                self._sink.emit(Waiting(self._host, f"kept slow by {name}", seconds))

        return Bucket(rate, burst, self._clock, waits)
