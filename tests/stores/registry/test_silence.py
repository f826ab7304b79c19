"""Servers that keep silent: what is said meanwhile, and how long they are waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import OutOfReach, TransientError
from imgmigrate.events import Waiting
from imgmigrate.stores.registry.http.limits import Timeouts
from imgmigrate.stores.registry.http.silence import WORTH_SAYING
from tests.fakes.registry import FakeRegistry, User
from tests.support.clock import ManualClock, settle
from tests.support.images import image

if TYPE_CHECKING:
    from tests.stores.registry.conftest import Clock, Connect, Recorder

ME = User("me", "swordfish")
MIB = 1024 * 1024


async def passes(clock: Clock, seconds: float) -> None:
    """Let time go by for every timer of the loop."""
    clock.advance(seconds)
    await asyncio.sleep(0)
    await settle()


async def test_a_silent_server_is_named_with_what_was_asked_of_it(
    fake_registry: FakeRegistry, connect: Connect, sink: Recorder, clock: Clock
) -> None:
    """After a while a line says what is waited for, and for how long at most."""
    fake_registry.put_image("a", "1", image())
    stall = fake_registry.stall("GET", "/tags/list")
    task = asyncio.create_task(connect(fake_registry.host).list_tags("a"))
    await stall.reached.wait()
    await passes(clock, WORTH_SAYING - 1)
    assert not [each for each in sink.events if isinstance(each, Waiting)]
    await passes(clock, 2)
    [said] = [each for each in sink.events if isinstance(each, Waiting)]
    assert said.subject == fake_registry.host
    assert said.cause == f"no answer for 15 s to GET {fake_registry.host}/a"
    assert said.delay == Timeouts().answer - WORTH_SAYING
    stall.release()
    assert await task == ["1"]


async def test_a_crowd_that_waits_is_one_line(
    fake_registry: FakeRegistry, connect: Connect, sink: Recorder, clock: Clock
) -> None:
    """A hundred requests to one server that hangs tell nothing more than one of them."""
    fake_registry.put_image("a", "1", image())
    stall = fake_registry.stall("GET", "/tags/list", times=None)
    store = connect(fake_registry.host)
    tasks = [asyncio.create_task(store.list_tags("a")) for _ in range(10)]
    await stall.reached.wait()
    await settle()
    await passes(clock, WORTH_SAYING + 1)
    assert len([each for each in sink.events if isinstance(each, Waiting)]) == 1
    stall.release()
    assert await asyncio.gather(*tasks) == [["1"]] * 10


async def test_each_server_is_told_of_in_its_own_time(
    fake_registry: FakeRegistry,
    other_fake_registry: FakeRegistry,
    connect: Connect,
    sink: Recorder,
    clock: Clock,
) -> None:
    """Who is asked later is spoken of later, whether or not the first has answered by then."""
    stalls, tasks = [], []
    for fake in (fake_registry, other_fake_registry):
        fake.put_image("a", "1", image())
        stalls.append(fake.stall("GET", "/tags/list"))
        tasks.append(asyncio.create_task(connect(fake.host).list_tags("a")))
        await stalls[-1].reached.wait()
        await passes(clock, 10)
    told = [each.subject for each in sink.events if isinstance(each, Waiting)]
    assert told == [fake_registry.host]
    stalls[0].release()
    await tasks[0]
    await passes(clock, 6)
    told = [each.subject for each in sink.events if isinstance(each, Waiting)]
    assert told == [fake_registry.host, other_fake_registry.host]
    stalls[1].release()
    await tasks[1]


@pytest.mark.parametrize(
    ("size", "seconds"),
    [(148, 60), (400 * MIB, 160), (100_000 * MIB, 600)],
)
def test_patience_grows_with_what_has_to_be_stored(size: int, seconds: float) -> None:
    """A config of some bytes is stored at once or never; a layer of gigabytes takes minutes."""
    assert round(Timeouts().patience(size)) == seconds


@pytest.mark.parametrize("outage", [0, 300])
async def test_a_silent_token_server_is_asked_twice_for_all_who_wait(
    connect: Connect, outage: float
) -> None:
    """Every repository needs a token: the failure of one is told to all, and stands for a while.

    However long is waited for registries that are down: this one is not.
    """
    async with FakeRegistry(auth="token", users=[ME]) as registry:
        registry.private = ("*",)
        registry.stall("GET", "/token", times=None)
        config = RegistryConfig(plain_http=True, username=ME.name, password=ME.password)
        clock = ManualClock()
        timeouts = Timeouts(token=0.02, first_retry=0.001, longest_retry=0.001, outage=outage)
        store = connect(registry.host, config, clock=clock, timeouts=timeouts)
        wanted = [f"team/{number}" for number in range(8)]
        asked = [store.list_tags(repo) for repo in wanted]
        for error in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(error, TransientError)
            assert "/token did not answer in 0.02 s" in error.cause
        assert len(registry.matching("GET", "/token")) == 2
        with pytest.raises(TransientError):
            await store.list_tags("team/again")
        assert len(registry.matching("GET", "/token")) == 2


async def tokens_of(
    connect: Connect, registry: FakeRegistry, seconds: float, count: int
) -> tuple[list[object], float]:
    """Ask for tokens of many repositories while the token server is down for so many seconds."""
    registry.private = ("*",)
    for number in range(count):
        registry.put_image(f"team/{number}", "1", image())
    registry.drop("GET", "/token", times=None)
    clock = ManualClock()
    config = RegistryConfig(plain_http=True, username=ME.name, password=ME.password)
    store = connect(registry.host, config, clock=clock, timeouts=Timeouts(outage=300))
    asking = asyncio.gather(
        *(store.list_tags(f"team/{number}") for number in range(count)), return_exceptions=True
    )
    while not asking.done():
        if clock.now >= seconds:
            registry.clear()
        assert not clock.now or store.is_resting or clock.now >= seconds
        await clock.advance(1)
    return list(await asking), clock.now


async def test_a_token_server_that_is_down_is_waited_for_as_its_registry_is(
    connect: Connect,
) -> None:
    """Twenty seconds without tokens cost no repository; one request alone looks meanwhile."""
    async with FakeRegistry(auth="token", users=[ME]) as registry:
        found, now = await tokens_of(connect, registry, 20, 12)
        assert found == [["1"]] * 12
        assert now < 30


async def test_a_token_server_that_stays_down_is_given_up_for_the_run(connect: Connect) -> None:
    """All who wait fail together, and whoever comes later fails at once."""
    async with FakeRegistry(auth="token", users=[ME]) as registry:
        found, now = await tokens_of(connect, registry, 1e9, 12)
        assert 300 <= now < 310
        for error in found:
            assert isinstance(error, OutOfReach)
            assert error.host == registry.host
            assert "(token server): out of reach for 5 min" in str(error)
        assert len(registry.matching("GET", "/token")) < 100
