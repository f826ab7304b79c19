"""Rates that are learnt from refusals: simulated limiters on a clock that moves by itself."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import RateLimited
from imgmigrate.events import Retrying, Waiting
from imgmigrate.stores.registry.pace.limits import LONGEST_REFUSAL, MOST_UNAVAILABLE, Refused
from imgmigrate.stores.registry.pace.rates import START, Rate
from imgmigrate.stores.registry.quotas import Kind
from tests.stores.registry.pace.test_limits import Registry, Told
from tests.support.clock import ManualClock
from tests.support.images import image

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.registry import FakeRegistry
    from tests.stores.registry.conftest import Connect, Recorder

ROUND_TRIP = 0.02


class Nginx:
    """`limit_req rate=... burst=... nodelay`: what it refuses costs nothing."""

    def __init__(self, clock: ManualClock, rate: float, burst: float) -> None:
        self._clock, self.rate, self._burst = clock, rate, burst
        self._level, self._then = burst, 0.0

    def lets_through(self) -> bool:
        """Tell whether a request of now is answered."""
        now = self._clock.now
        self._level = min(self._burst, self._level + (now - self._then) * self.rate)
        self._then = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


async def ask(rate: Rate, clock: ManualClock, count: int, lets_through: Callable[[], bool]) -> int:
    """Ask for so much, one after the other as the rate has it; how many were refused."""
    refused = 0
    for _ in range(count):
        while True:
            await rate.take()
            sent = clock.now
            clock.now += ROUND_TRIP / 8  # several at once
            if lets_through():
                rate.succeeded()
                break
            refused += 1
            rate.refused(sent)
    return refused


@pytest.mark.parametrize(
    ("allowed", "burst", "count"),
    [
        (10, 20, 300),
        (10, 20, 2000),
        (100, 50, 3000),
        (300, 10, 6000),
        (1.67, 5, 300),
        (0.5, 5, 60),
        (25, 1, 1000),
        (5, 1, 200),
    ],
)
async def test_a_limiter_is_used_up_and_hardly_overrun(
    allowed: float, burst: int, count: int
) -> None:
    """All is done within 1.3 times what the limit allows; refusals are the lesser part."""
    clock = ManualClock(hurried=True)
    rate = Rate(clock, lambda _: None)
    refused = await ask(rate, clock, count, Nginx(clock, allowed, burst).lets_through)
    assert clock.now <= 1.3 * (count - burst) / allowed + 1
    assert refused <= 150 + count / 10


async def test_a_known_rate_spares_the_refusals() -> None:
    """Who starts from what the last run learnt overruns little, and still finds a higher limit."""
    clock = ManualClock(hurried=True)
    rate = Rate(clock, lambda _: None, known=10)
    assert await ask(rate, clock, 300, Nginx(clock, 10, 20).lets_through) <= 15
    refused = await ask(rate, clock, 3000, Nginx(clock, 100, 20).lets_through)
    assert rate.value is not None
    assert rate.value > 50
    assert refused <= 300


@pytest.mark.parametrize(("allowed", "count"), [(10, 300), (100, 3000)])
async def test_what_was_found_is_what_the_limit_allows(allowed: float, count: int) -> None:
    """Also if a run ends just when nothing gets through any more."""
    clock = ManualClock(hurried=True)
    rate = Rate(clock, lambda _: None)
    assert rate.found is None
    await ask(rate, clock, count, Nginx(clock, allowed, 20).lets_through)
    for _ in range(100):
        await rate.take()
        rate.refused(clock.now)
    assert rate.found is not None
    assert 0.45 * allowed <= rate.found <= 1.25 * allowed


async def test_refusals_before_anything_was_measured_tell_no_rate() -> None:
    """A guess is not kept, and nothing is advised."""
    clock = ManualClock(hurried=True)
    rate = Rate(clock, lambda _: None)
    for _ in range(5):
        await rate.take()
        rate.refused(clock.now)
    assert rate.found is None


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.6, 0.8])
@pytest.mark.parametrize("seed", range(3))
async def test_dice_are_not_taken_for_a_limit(share: float, seed: int) -> None:
    """Refusals that get no rarer when less is asked do not slow everything down for good."""
    clock, dice = ManualClock(hurried=True), random.Random(seed)
    rate, asked = Rate(clock, lambda _: None), 3000
    await ask(rate, clock, round(asked * (1 - share)), lambda: dice.random() > share)
    assert clock.now < 10 + 4 * asked * ROUND_TRIP / 8


@pytest.mark.parametrize(("allowed", "share"), [(50, 0.05), (50, 0.2), (20, 0.1), (20, 0.3)])
async def test_a_limit_is_found_among_dice(allowed: float, share: float) -> None:
    """Also a limiter that refuses some requests whatever their rate is used up."""
    clock, dice = ManualClock(hurried=True), random.Random(1)
    rate, limiter = Rate(clock, lambda _: None), Nginx(clock, allowed, 20)
    count = 40 * int(allowed)
    refused = await ask(
        rate, clock, count, lambda: dice.random() > share and limiter.lets_through()
    )
    assert clock.now <= 1.3 * (count - 20) / allowed + 5
    assert refused <= 5 * count


@pytest.mark.parametrize("allowed", [80, 50, 20])
async def test_a_limit_that_falls_is_followed(allowed: float) -> None:
    """What was learnt before does not stand in the way."""
    clock = ManualClock(hurried=True)
    rate, limiter = Rate(clock, lambda _: None), Nginx(clock, 100, 20)
    await ask(rate, clock, 2000, limiter.lets_through)
    began, limiter.rate = clock.now, allowed
    refused = await ask(rate, clock, 2000, limiter.lets_through)
    assert clock.now - began <= 1.2 * 2000 / allowed
    assert refused <= 300


async def test_a_storm_is_waited_out() -> None:
    """Forty seconds of refusals only cost a few requests, and what came before comes back."""
    clock = ManualClock(hurried=True)
    rate = Rate(clock, lambda _: None)
    refused = await ask(rate, clock, 2000, lambda: not 2 < clock.now < 42)
    assert refused <= 200
    assert clock.now < 65


async def test_refusals_of_one_epoch_are_one_event() -> None:
    """What was sent before a cut says nothing about the rate since."""
    clock = ManualClock()
    rate = Rate(clock, lambda _: None)
    for _ in range(200):
        rate.refused(0.0)
    assert rate.value == START
    clock.now = 5.0
    rate.refused(0.0)
    assert rate.value == START
    rate.refused(4.0)
    assert rate.value == START / 4


async def test_refused_together_are_counted_together() -> None:
    """Most limiters count reads and writes alike: then both share one estimate."""
    registry = Registry()
    limits = registry.limits
    for kind in (Kind.LISTING, Kind.UPLOAD_START):
        async with limits.request(kind) as passage:
            assert await limits.paces(passage, Told(429), "it", Refused())
    gates = limits._gates
    assert gates[Kind.LISTING].learnt is gates[Kind.UPLOAD_START].learnt


async def test_a_503_is_a_limiters_if_others_get_through() -> None:
    """An outage lets nobody through; one request that never gets through is a failure."""
    registry = Registry(clock=ManualClock(hurried=True))
    limits, refused = registry.limits, Refused()
    async with limits.request(Kind.LISTING) as passage:
        pass
    assert not await limits.paces(passage, Told(503), "it", refused)
    assert await limits.paces(passage, Told(503, b'{"code":"Throttling"}'), "it", Refused())
    limits.note(passage, Told(200))
    while await limits.paces(passage, Told(503), "it", refused):
        limits.note(passage, Told(200))
    assert refused.times == MOST_UNAVAILABLE


async def test_refusals_alone_are_an_error_in_the_end() -> None:
    """Half an hour without a success is told, and long before that somebody says so."""
    registry = Registry(clock=ManualClock(hurried=True))
    limits, refused = registry.limits, Refused()

    async def ask_for_ever() -> None:
        while True:
            async with limits.request(Kind.LISTING) as passage:
                await limits.paces(passage, Told(429), "it", refused)

    with pytest.raises(RateLimited, match=r"too many requests .429., and nothing else for 30 min"):
        await ask_for_ever()
    assert registry.clock.now >= LONGEST_REFUSAL
    waits = [each for each in registry.sink.events if isinstance(each, Waiting)]
    assert any("asked more rarely" in each.cause for each in waits)


@pytest.mark.parametrize("pattern", ["/tags/", "/manifests/", "/v2/"])
async def test_refusals_use_up_no_attempt(
    fake_registry: FakeRegistry, connect: Connect, sink: Recorder, pattern: str
) -> None:
    """More refusals than there are attempts, and nothing was tried again."""
    written = image()
    fake_registry.put_image("a", "1", written)
    fake_registry.fail("GET", pattern, status=429, times=9)
    clock = ManualClock(hurried=True)
    store = connect(fake_registry.host, RegistryConfig(plain_http=True), clock=clock)
    assert await store.list_tags("a") == ["1"]
    assert (await store.manifest("a", "1")).digest == written.top
    assert not [each for each in sink.events if isinstance(each, Retrying)]


async def test_others_go_on_while_one_waits() -> None:
    """Who is refused alone again and again waits by itself, without a slot."""
    registry = Registry()
    limits, refused = registry.limits, Refused(times=8)
    async with limits.request(Kind.LISTING) as passage:
        pass
    waiting = asyncio.create_task(limits.paces(passage, Told(429), "it", refused))
    async with limits.request(Kind.UPLOAD_START):
        assert not waiting.done()
    await registry.clock.advance(16)
    assert waiting.result()
