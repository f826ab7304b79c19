"""The pull count of a metered registry: read from its answers, never overdrawn, waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import NotFound, QuotaExhausted, TransientError
from imgmigrate.events import Retrying, Waiting
from imgmigrate.stores.registry.http.limits import Timeouts
from imgmigrate.stores.registry.http.session import Http
from imgmigrate.stores.registry.pace.metering import LOOK_AGAIN, OnRateLimit, PullMeter, Pulls
from imgmigrate.stores.registry.quirks import Quirks
from imgmigrate.stores.registry.store import RegistryStore
from imgmigrate.stores.registry.wire import remote
from tests.stores.registry.conftest import Recorder
from tests.support.clock import ManualClock, settle
from tests.support.images import image

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.registry import FakeRegistry

HOST = "docker.io"
HOUR = 3600.0


@pytest.mark.parametrize(
    ("headers", "pulls"),
    [
        ({}, None),
        ({"ratelimit-limit": "100;w=21600"}, None),
        ({"ratelimit-remaining": "many"}, None),
        ({"ratelimit-remaining": "-1"}, None),
        ({"ratelimit-remaining": "7"}, Pulls(7)),
        ({"ratelimit-remaining": "7;w=3600"}, Pulls(7, window=HOUR)),
        (
            {
                "ratelimit-limit": "100;w=21600",
                "ratelimit-remaining": "20;w=21600",
                "docker-ratelimit-source": "203.0.113.7",
            },
            Pulls(20, 100, 6 * HOUR, "203.0.113.7"),
        ),
        ({"ratelimit-limit": "9 ; w = 0", "ratelimit-remaining": " 0 "}, Pulls(0, 9, 60.0)),
        ({"ratelimit-limit": "9;w=999999999", "ratelimit-remaining": "0"}, Pulls(0, 9, 604_800.0)),
    ],
)
def test_headers_are_read(headers: dict[str, str], pulls: Pulls | None) -> None:
    """Counts and window as Docker Hub writes them; anything else does not count."""
    assert Pulls.read(headers.get) == pulls


class Hub:
    """A meter, and a registry that counts as Docker Hub does."""

    def __init__(self, left: int, policy: OnRateLimit = "wait") -> None:
        self.left, self.clock, self.sink = left, ManualClock(), Recorder()
        self.meter = PullMeter(HOST, policy, self.clock, self.sink)
        self.pulled: list[float] = []
        self.looked: list[float] = []
        self.broken = False

    def headers(self) -> dict[str, str]:
        return {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": f"{self.left};w=21600"}

    async def look(self) -> None:
        self.looked.append(self.clock.now)
        if self.broken:
            raise TransientError(HOST, "down")
        self.meter.note(self.headers().get, is_success=True)

    async def pull(self, answer: asyncio.Event | None = None) -> None:
        async with self.meter.pull(self.look):
            if answer is not None:
                await answer.wait()
            assert self.left > 0, "overdrawn"
            self.left -= 1
            self.pulled.append(self.clock.now)
            self.meter.note(self.headers().get, is_success=True)


async def test_pulls_at_once_never_overdraw_the_count() -> None:
    """What is on its way is spent: nothing is sent that would be refused."""
    hub = Hub(left=3)
    hub.meter.note(hub.headers().get, is_success=True)
    answer = asyncio.Event()
    pulls = [asyncio.create_task(hub.pull(answer)) for _ in range(5)]
    await settle()
    answer.set()
    await settle()
    assert [pull.done() for pull in pulls] == [True, True, True, False, False]
    hub.left = 10
    await hub.clock.advance(LOOK_AGAIN)
    assert all(pull.done() for pull in pulls)


async def test_answers_that_overtake_each_other_do_not_raise_the_count() -> None:
    """While several pulls are open the least that was said is right."""
    hub = Hub(left=5)
    async with hub.meter.pull(hub.look), hub.meter.pull(hub.look):
        for left in (3, 4):
            hub.left = left
            hub.meter.note(hub.headers().get, is_success=True)
        assert hub.meter.pulls == Pulls(3, 100, 6 * HOUR)
    hub.left = 9
    hub.meter.note(hub.headers().get, is_success=True)
    assert hub.meter.pulls == Pulls(9, 100, 6 * HOUR)


async def test_wait_says_until_when_and_looks_again() -> None:
    """The user learns why and how long at most; a free HEAD finds out that it is over."""
    hub = Hub(left=1)
    await hub.pull()
    waiting = [asyncio.create_task(hub.pull()) for _ in range(3)]
    await hub.clock.advance(LOOK_AGAIN * 2.5)
    assert hub.looked == [LOOK_AGAIN, LOOK_AGAIN * 2]
    (told,) = hub.sink.events
    assert isinstance(told, Waiting)
    assert (told.subject, told.delay) == (HOST, 6 * HOUR)
    assert told.cause.startswith("its pull limit (100 in 6 h) is used up; waiting until 2")
    assert told.cause.endswith("UTC at the latest")
    hub.left, hub.broken = 50, True
    await hub.clock.advance(LOOK_AGAIN)
    assert not any(each.done() for each in waiting)  # a look that fails is only a look
    hub.broken = False
    await hub.clock.advance(LOOK_AGAIN)
    assert all(each.done() for each in waiting)


async def test_a_window_that_brought_nothing_is_announced_anew() -> None:
    """Somebody else may use up what comes back: the new end is told, and the wait goes on."""
    hub = Hub(left=0)
    hub.meter.note(hub.headers().get, is_success=True)
    waiting = asyncio.create_task(hub.pull())
    await hub.clock.advance(7 * HOUR)
    assert len(hub.sink.events) == 2
    assert not waiting.done()
    hub.left = 1
    await hub.clock.advance(LOOK_AGAIN)
    assert waiting.done()


async def test_stop_raises_what_ends_the_run() -> None:
    """The error says what is used up, for whom, and when to go on; it is no passing failure."""
    hub = Hub(left=0, policy="stop")
    source = {"docker-ratelimit-source": "203.0.113.7"}
    hub.meter.note((hub.headers() | source).get, is_success=True)
    for _ in range(2):
        with pytest.raises(QuotaExhausted) as raised:
            await hub.pull()
    assert not isinstance(raised.value, TransientError)
    assert raised.value.message == (
        "docker.io: its pull limit (100 in 6 h, counted for 203.0.113.7) is used up"
    )
    assert "go on after 2" in str(raised.value.hint)
    assert not hub.clock.slept


async def test_no_header_is_no_limit() -> None:
    """An account without a limit gets answers without headers."""
    hub = Hub(left=0, policy="stop")
    hub.meter.note(hub.headers().get, is_success=True)
    hub.meter.note(lambda _: None, is_success=False)  # an error says nothing
    assert hub.meter.pulls == Pulls(0, 100, 6 * HOUR)
    hub.meter.note(lambda _: None, is_success=True)
    assert hub.meter.pulls is None


async def test_refused_pull_empties_the_count() -> None:
    """A 429 that names the limit is as good as a header."""
    hub = Hub(left=40)
    hub.meter.exhaust()
    assert hub.meter.pulls == Pulls(0)
    hub.meter.note(hub.headers().get, is_success=True)
    hub.meter.exhaust()
    assert hub.meter.pulls == Pulls(0, 100, 6 * HOUR)


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    """A session whose retries are not waited for."""
    http = Http(Timeouts(longest_pause=0))
    yield http
    await http.aclose()


def hub_store(
    registry: FakeRegistry,
    http: Http,
    monkeypatch: pytest.MonkeyPatch,
    clock: ManualClock,
    sink: Recorder,
    policy: OnRateLimit = "wait",
) -> RegistryStore:
    """A store of the fake that is metered as Docker Hub is."""
    monkeypatch.setattr(remote, "quirks_of", lambda _: Quirks(is_metered=True))
    config = RegistryConfig(plain_http=True)
    return RegistryStore(
        registry.host, lambda _: config, http, sink, on_rate_limit=policy, clock=clock
    )


async def test_client_reads_the_count_from_head_and_get(
    fake_registry: FakeRegistry, http: Http, monkeypatch: pytest.MonkeyPatch, sink: Recorder
) -> None:
    """Both carry the headers; answers to other requests do not say that there is no limit."""
    fake_registry.put_image("a", "1", image())
    store = hub_store(fake_registry, http, monkeypatch, ManualClock(), sink)
    meter = store._remote.limits.meter
    assert meter is not None
    limits = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "20;w=21600"}
    fake_registry.rewrite("HEAD", "/manifests/", limits)
    await store.head("a", "1")
    assert meter.pulls == Pulls(20, 100, 6 * HOUR)
    await store.list_tags("a")
    assert meter.pulls == Pulls(20, 100, 6 * HOUR)
    fake_registry.rewrite("GET", "/manifests/", limits | {"ratelimit-remaining": "19"})
    await store.manifest("a", "1")
    assert meter.pulls == Pulls(19, 100, 6 * HOUR)


async def test_client_waits_and_looks_with_head(
    fake_registry: FakeRegistry, http: Http, monkeypatch: pytest.MonkeyPatch, sink: Recorder
) -> None:
    """At zero no GET is sent; HEADs, which are no pulls, tell when to go on."""
    fake_registry.put_image("a", "1", image())
    fake_registry.rewrite("HEAD", "/manifests/", {"ratelimit-remaining": "0"}, times=3)
    clock = ManualClock(hurried=True)
    store = hub_store(fake_registry, http, monkeypatch, clock, sink)
    await store.head("a", "1")
    await store.manifest("a", "1")
    assert fake_registry.count("GET", "/manifests/") == 1
    assert fake_registry.count("HEAD", "/manifests/") == 4
    assert clock.slept == [LOOK_AGAIN] * 3
    assert [type(each) for each in sink.events] == [Waiting]


async def test_client_that_is_refused_waits_instead_of_failing(
    fake_registry: FakeRegistry, http: Http, monkeypatch: pytest.MonkeyPatch, sink: Recorder
) -> None:
    """A 429 of the pull limit is not tried again until there is something left."""
    fake_registry.put_image("a", "1", image())
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"https://www.docker.com/increase-rate-limit"}]}'
    fake_registry.fail("GET", "/manifests/", status=429, body=body, times=1)
    fake_registry.rewrite("HEAD", "/manifests/", {"ratelimit-remaining": "0"}, times=8)
    clock = ManualClock(hurried=True)
    store = hub_store(fake_registry, http, monkeypatch, clock, sink)
    await store.manifest("a", "1")
    assert fake_registry.count("GET", "/manifests/") == 2
    assert [type(each) for each in sink.events] == [Retrying, Waiting]


async def test_client_stops_without_a_request(
    fake_registry: FakeRegistry, http: Http, monkeypatch: pytest.MonkeyPatch, sink: Recorder
) -> None:
    """With `stop` the pull that would be refused is not even sent."""
    fake_registry.put_image("a", "1", image())
    fake_registry.rewrite("HEAD", "/manifests/", {"ratelimit-remaining": "0"})
    store = hub_store(fake_registry, http, monkeypatch, ManualClock(), sink, "stop")
    await store.head("a", "1")
    with pytest.raises(QuotaExhausted):
        await store.manifest("a", "1")
    assert fake_registry.count("GET", "/manifests/") == 0


async def test_other_registries_are_not_metered(
    fake_registry: FakeRegistry, http: Http, sink: Recorder
) -> None:
    """GitLab's `RateLimit-Remaining` counts requests a minute: it is no pull limit."""
    config = RegistryConfig(plain_http=True)
    store = RegistryStore(fake_registry.host, lambda _: config, http, sink)
    fake_registry.rewrite("*", "/manifests/", {"RateLimit-Remaining": "0"})
    for _ in range(2):
        with pytest.raises(NotFound):
            await store.manifest("a", "1")
