"""Buckets and windows: rates on a clock that stands still, and congestion as an event."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmigrate.clock import LoopClock
from imgmigrate.stores.registry.pace.pacing import Bucket, Window
from tests.support.clock import ManualClock, settle


class Passers:
    """Tasks that each take some units of a bucket and note when they got through."""

    def __init__(self, bucket: Bucket, clock: ManualClock) -> None:
        self.bucket, self.clock = bucket, clock
        self.moments: list[float] = []
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, *units: float) -> None:
        """Start one for each."""
        self.tasks += [asyncio.create_task(self._pass(each)) for each in units]

    async def _pass(self, units: float) -> None:
        await self.bucket.take(units)
        self.moments.append(round(self.clock.now, 6))


@pytest.mark.parametrize(
    ("rate", "burst", "units", "moments"),
    [
        (2.0, 1.0, [1] * 4, [0.0, 0.5, 1.0, 1.5]),
        (10.0, 3.0, [1] * 5, [0.0, 0.0, 0.0, 0.1, 0.2]),
        (0.01, 1.0, [1] * 2, [0.0, 100.0]),
        (100.0, 10.0, [250, 250, 250], [0.0, 2.5, 5.0]),
        (100.0, 10.0, [4, 4, 4], [0.0, 0.0, 0.02]),
    ],
)
async def test_no_more_than_the_rate_goes_through(
    rate: float, burst: float, units: list[float], moments: list[float]
) -> None:
    """After the burst each waits for its share; what is larger than the burst leaves a debt."""
    clock = ManualClock()
    passers = Passers(Bucket(rate, burst, clock, lambda _: None), clock)
    passers.start(*units)
    await clock.advance(1000)
    assert passers.moments == moments


@given(
    rate=st.floats(0.1, 1e9),
    burst=st.floats(1, 1e6),
    units=st.lists(st.integers(1, 2_000_000), min_size=1, max_size=20),
)
def test_a_bucket_never_lets_more_through_than_its_rate(
    rate: float, burst: float, units: list[int]
) -> None:
    """Whatever the pieces are, what went through before a moment fits into rate and burst."""

    async def run() -> None:
        clock = ManualClock(hurried=True)
        bucket = Bucket(rate, burst, clock, lambda _: None)
        gone = 0.0
        for each in units:
            await bucket.take(each)
            most = clock.now * rate + burst
            assert gone + min(each, burst) <= most * (1 + 1e-6)
            gone += each

    asyncio.run(run())


async def test_whoever_gives_up_leaves_the_queue_as_it_was() -> None:
    """A cancelled waiter takes nothing, and those behind it go at its moment."""
    clock = ManualClock()
    passers = Passers(Bucket(1.0, 1.0, clock, lambda _: None), clock)
    passers.start(1, 1, 1)
    await settle()
    passers.tasks[1].cancel()
    await clock.advance(10)
    assert passers.moments == [0.0, 1.0]


async def test_every_wait_of_a_bucket_is_told() -> None:
    """Whoever explains waits hears how long each is."""
    clock, waits = ManualClock(), list[float]()
    passers = Passers(Bucket(0.1, 1.0, clock, waits.append), clock)
    passers.start(1, 1)
    await clock.advance(20)
    assert waits == [pytest.approx(10.0)]


async def test_loop_clock_is_the_loops() -> None:
    """The real clock is monotonic and sleeps."""
    clock = LoopClock()
    before = clock.time()
    await clock.sleep(0)
    assert clock.time() >= before


def test_a_burst_of_refusals_halves_a_window_once() -> None:
    """Ten requests that were open together are one event of congestion, not ten."""
    window = Window(64)
    for _ in range(10):
        window.congested(epoch=0)
    assert window.size == 32
    assert window.epoch == 1
    window.congested(epoch=1)  # sent after the decrease, and still too many
    assert window.size == 16


def test_a_window_never_closes_and_never_outgrows_its_maximum() -> None:
    """The least is two requests, so that one which stalls holds nobody; unless fewer may be."""
    window = Window(4)
    for epoch in range(10):
        window.congested(epoch)
    assert window.size == 2
    for _ in range(100):
        window.succeeded()
    assert window.size == 4


def test_a_window_grows_by_about_one_for_each_round_of_successes() -> None:
    """Additive increase: 1/size for each success."""
    window = Window(64)
    window.congested(0)
    for _ in range(32):
        window.succeeded()
    assert 32.9 < window.size < 33


async def test_room_is_made_by_leaving_and_by_growing() -> None:
    """Whoever waits for room gets it when a request ends or the window grows."""
    window = Window(4)
    window.congested(0)
    window.enter()
    window.enter()
    waiting = asyncio.create_task(window.room())
    await settle()
    assert not waiting.done()
    window.leave()
    await waiting
    window.enter()
    waiting = asyncio.create_task(window.room())
    await settle()
    for _ in range(3):
        window.succeeded()
    await waiting
