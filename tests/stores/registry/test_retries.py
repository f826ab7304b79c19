"""Trying again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import ProtocolError, RateLimited, Rejected, TransientError
from imgmigrate.events import NoSink, Retrying
from imgmigrate.stores.registry.http.limits import Timeouts
from imgmigrate.stores.retries import Policy, retrying
from tests.support.images import image

if TYPE_CHECKING:
    from tests.fakes.registry import FakeRegistry
    from tests.stores.registry.conftest import Clock, Connect, Recorder


@pytest.mark.parametrize("status", [408, 425, 499, 500, 502, 504, 522])
async def test_what_may_heal_is_tried_again(
    fake_registry: FakeRegistry, connect: Connect, sink: Recorder, status: int
) -> None:
    """Twice failed, once done; each retry is an event that names the object."""
    fake_registry.put_image("a", "1", image())
    fake_registry.fail("GET", "/tags/", status=status, times=2, headers={"Retry-After": "1"})
    assert await connect(fake_registry.host).list_tags("a") == ["1"]
    retried = [each for each in sink.events if isinstance(each, Retrying)]
    assert [each.subject for each in retried] == [f"{fake_registry.host}/a"] * 2
    assert all(str(status) in each.cause for each in retried)


async def test_broken_connection_is_tried_again(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """A server that hangs up may do so once."""
    fake_registry.put_image("a", "1", image())
    fake_registry.drop("GET", "/tags/", times=3)
    assert await connect(fake_registry.host).list_tags("a") == ["1"]


@pytest.mark.parametrize("status", [400, 405, 413, 501])
async def test_what_cannot_heal_is_not_tried_again(
    fake_registry: FakeRegistry, connect: Connect, sink: Recorder, status: int
) -> None:
    """One request, one error."""
    fake_registry.fail("GET", "/tags/", status=status)
    with pytest.raises(Rejected):
        await connect(fake_registry.host).list_tags("a")
    assert fake_registry.arrivals == 1
    assert not sink.events


async def test_retries_end_with_the_last_error(
    fake_registry: FakeRegistry, connect: Connect, sink: Recorder
) -> None:
    """Five attempts, four announcements."""
    fake_registry.fail("GET", "/tags/", status=500)
    with pytest.raises(TransientError, match="500"):
        await connect(fake_registry.host).list_tags("a")
    assert fake_registry.arrivals == 5
    assert len(sink.events) == 4


async def test_unreachable_host_is_named_with_a_hint(connect: Connect) -> None:
    """A refused connection is told in words."""
    found = r"127\.0\.0\.1:1 cannot be reached.*check the name"
    with pytest.raises(TransientError, match=found) as caught:
        await connect("127.0.0.1:1").list_tags("a")
    assert caught.value.is_unreachable


async def test_a_connection_that_breaks_was_one(
    connect: Connect, fake_registry: FakeRegistry
) -> None:
    """Whoever cuts a connection is there."""
    fake_registry.drop("*", ".", times=None)
    with pytest.raises(TransientError, match="broke") as caught:
        await connect(fake_registry.host).list_tags("a")
    assert not caught.value.is_unreachable


async def test_server_that_speaks_something_else_is_an_error(connect: Connect) -> None:
    """Bytes that are no HTTP name the host."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(ProtocolError, match=f"{host}.*not HTTP"):
            await connect(host).list_tags("a")


async def test_tls_to_a_plain_server_names_the_setting(
    fake_registry: FakeRegistry, connect: Connect
) -> None:
    """The commonest mistake with a test registry has its own hint."""
    with pytest.raises(Rejected, match=r"does not speak TLS.*plain_http: true"):
        await connect(fake_registry.host, RegistryConfig()).list_tags("a")


async def test_retry_after_is_waited_for(sink: Recorder) -> None:
    """The server's own delay replaces ours, and is what the event says."""
    outcomes = iter([RateLimited("x", "busy", retry_after=7.0), None])

    async def once() -> str:
        error = next(outcomes)
        if error is not None:
            raise error
        return "done"

    assert await retrying(once, sink, Timeouts().retries) == "done"
    assert sink.events == [Retrying("x", "busy", 7.0)]
    delay = Policy().spread(RateLimited("x", "busy", retry_after=7.0))
    assert 7 <= delay <= 8


async def test_server_that_trickles_is_given_up(
    fake_registry: FakeRegistry, connect: Connect, clock: Clock
) -> None:
    """An answer that is read whole has an end, however lively its connection."""
    fake_registry.put_image("a", "1", image())
    stall = fake_registry.stall("GET", "/tags/")
    store = connect(fake_registry.host, timeouts=Timeouts(read=10_000, commit=600))
    async with asyncio.TaskGroup() as tasks:
        listing = tasks.create_task(store.list_tags("a"))
        await stall.reached.wait()
        clock.advance(601)
    assert listing.result() == ["1"]
    assert fake_registry.arrivals == 2


async def test_what_was_tried_often_enough_is_tried_no_more_further_out() -> None:
    """Retries within retries do not multiply: five attempts are five."""
    calls = 0

    async def fails() -> None:
        nonlocal calls
        calls += 1
        raise TransientError("it", "connection reset")

    async def inner() -> None:
        await retrying(fails, NoSink(), Timeouts().retries)

    with pytest.raises(TransientError) as caught:
        await retrying(inner, NoSink(), Timeouts().retries)
    assert calls == 5
    assert caught.value.is_spent
