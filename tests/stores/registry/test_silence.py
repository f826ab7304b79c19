"""Servers that keep silent: what is said meanwhile, and how long they are waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import TransientError
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


@pytest.mark.parametrize(
    ("size", "seconds"),
    [(148, 60), (400 * MIB, 160), (100_000 * MIB, 600)],
)
def test_patience_grows_with_what_has_to_be_stored(size: int, seconds: float) -> None:
    """A config of some bytes is stored at once or never; a layer of gigabytes takes minutes."""
    assert round(Timeouts().patience(size)) == seconds


async def test_a_silent_token_server_is_asked_twice_for_all_who_wait(connect: Connect) -> None:
    """Every repository needs a token: the failure of one is told to all, and stands for a while."""
    async with FakeRegistry(auth="token", users=[ME]) as registry:
        registry.private = ("*",)
        registry.stall("GET", "/token", times=None)
        config = RegistryConfig(plain_http=True, username=ME.name, password=ME.password)
        clock = ManualClock()
        timeouts = Timeouts(token=0.02, first_retry=0.001, longest_retry=0.001)
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
