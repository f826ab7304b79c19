"""Registries that are down: waited for together, given up together."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from imgmigrate.errors import NotFound, OutOfReach, RateLimited, TransientError
from imgmigrate.events import Waiting
from imgmigrate.stores.registry.pace.breaker import ENOUGH, STRANGER, Breaker
from tests.stores.registry.conftest import Recorder
from tests.support.clock import ManualClock, settle

HOST = "reg.example.com"


class Host:
    """A registry that is down at some times, seen through a breaker."""

    def __init__(
        self,
        *,
        longest: float = 300,
        down: tuple[float, float] = (0, 0),
        is_met: bool = True,
        is_unreachable: bool = False,
    ) -> None:
        self.clock, self.sink, self.down = ManualClock(hurried=True), Recorder(), down
        self.probes: list[float] = []
        self.asked, self.is_unreachable = 0, is_unreachable
        self.breaker = Breaker(
            HOST, longest, self.probe, self.clock, self.sink, is_met=lambda: is_met
        )

    async def probe(self) -> None:
        """Ask whether it is up."""
        self.probes.append(self.clock.now)
        await self.answer()

    async def answer(self) -> str:
        """Answer, if it is up."""
        self.asked += 1
        await asyncio.sleep(0)
        if self.down[0] <= self.clock.now < self.down[1]:
            error = TransientError(HOST, "connection reset")
            if self.is_unreachable:
                error = TransientError(f"{HOST}/app", "refused", hint="check the name")
            error.is_unreachable = self.is_unreachable
            raise error
        return "done"

    async def ask(self, attempts: int = 5) -> str:
        """Ask as often as a request is."""
        for left in reversed(range(attempts)):
            try:
                return await self.breaker.through(self.answer, f"{HOST}/app")
            except TransientError as error:
                if error.is_spent or not left:
                    raise
        raise AssertionError


async def test_who_waits_for_an_outage_uses_up_no_attempts() -> None:
    """Twenty requests to a host that is down for 20 s are all answered soon after it is back."""
    host = Host(down=(0, 20))
    assert await asyncio.gather(*(host.ask() for _ in range(20))) == ["done"] * 20
    assert host.clock.now < 27
    assert host.asked < 80


async def test_one_alone_asks_whether_it_is_back() -> None:
    """While it is down nobody asks but the probe, in pauses that grow."""
    host = Host(down=(0, 200))
    await asyncio.gather(*(host.ask() for _ in range(50)))
    assert host.asked <= 50 + ENOUGH + len(host.probes) + 50
    pauses = [later - then for then, later in zip(host.probes, host.probes[1:], strict=False)]
    assert pauses == sorted(pauses)
    assert len(host.probes) < 40


async def test_all_are_given_up_together() -> None:
    """After the limit every request fails at once, also those that come later."""
    host = Host(longest=60, down=(0, 1e9))
    errors = await asyncio.gather(*(host.ask() for _ in range(10)), return_exceptions=True)
    assert {type(each) for each in errors} == {OutOfReach}
    assert 60 <= host.clock.now < 61
    asked = host.asked
    with pytest.raises(OutOfReach, match=r"out of reach for 1 min: connection reset.*is up"):
        await host.ask()
    assert host.asked == asked
    waits = [each for each in host.sink.events if isinstance(each, Waiting)]
    assert waits[0].subject == HOST


async def test_where_nobody_ever_was_nobody_is_waited_for() -> None:
    """A name that is wrong is given up within seconds by all, in the words of what happened."""
    host = Host(down=(0, 1e9), is_met=False, is_unreachable=True)
    errors = await asyncio.gather(*(host.ask() for _ in range(10)), return_exceptions=True)
    assert {str(each) for each in errors} == {f"{HOST}/app: refused; check the name"}
    assert all(isinstance(each, OutOfReach) and each.host == HOST for each in errors)
    assert 0 < host.clock.now <= STRANGER
    assert len(host.probes) > ENOUGH


async def test_a_stranger_that_does_not_even_refuse_is_given_up_by_one_request() -> None:
    """Whose attempts take longer than the whole patience is not asked for all of them."""
    host = Host(is_met=False)
    error = TransientError(HOST, "no answer in 15 s")
    error.is_unreachable = True
    for _ in range(2):
        host.breaker.failed(error)
        host.clock.now += 15
    host.down, host.is_unreachable = (0, 1e9), True
    with pytest.raises(OutOfReach):
        await host.breaker.ready(HOST)
    assert len(host.probes) == 1


@pytest.mark.parametrize("how", ["told", "answered before", "somebody cuts connections"])
async def test_who_was_there_is_waited_for_also_when_no_connection_comes_about(how: str) -> None:
    """What a plan has read, and what answered in this run, is down and no typing error."""
    host = Host(down=(10, 40), is_met=how == "told", is_unreachable=True)
    if how == "answered before":
        assert await host.ask() == "done"
    elif how != "told":
        host.breaker.failed(TransientError(HOST, "connection reset"))
    host.clock.now = 10
    assert await host.ask() == "done"
    assert host.clock.now >= 40


async def test_a_request_that_fails_alone_is_no_outage() -> None:
    """What answers the probe is up: the failure is raised, and nobody waits."""
    host = Host()

    async def cut() -> None:
        raise TransientError(HOST, "connection reset")

    for _ in range(3 * ENOUGH):
        with pytest.raises(TransientError) as caught:
            await host.breaker.through(cut, HOST)
        assert not isinstance(caught.value, OutOfReach)
    assert host.clock.now == 0
    assert len(host.probes) == 3


async def test_answers_between_and_refusals_are_no_outage() -> None:
    """A 404 is an answer, and so is a limiter's refusal."""
    host = Host(down=(0, 1e9))

    errors = [TransientError(HOST, "x"), TransientError(HOST, "x"), NotFound(HOST, "no such tag")]
    for error in [*errors * 3, *[RateLimited(HOST, "too many requests")] * 9]:
        with pytest.raises(type(error)):
            await host.breaker.through(partial(_fail, error), HOST)
    assert not host.probes


async def _fail(error: Exception) -> None:
    raise error


async def test_waiting_can_be_switched_off() -> None:
    """With 0 each request fails for itself."""
    host = Host(longest=0, down=(0, 1e9))
    for _ in range(3):
        with pytest.raises(TransientError, match="connection reset"):
            await host.ask()
    assert not host.probes


async def test_whoever_is_cancelled_hands_the_probe_on() -> None:
    """The one that asks may be cut short; the next goes on with it."""
    host = Host(down=(0, 20))
    host.clock = clock = ManualClock()
    host.breaker = Breaker(HOST, 300, host.probe, clock, host.sink)
    tasks = [asyncio.create_task(host.ask()) for _ in range(6)]
    await settle()
    for task in tasks[:4]:
        task.cancel()
    await clock.advance(40)
    assert [task.result() for task in tasks[4:]] == ["done", "done"]
