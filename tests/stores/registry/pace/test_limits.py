"""The limits of one registry: windows by kind of request, rates, pauses, bandwidth."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.model import RegistryConfig
from imgmigrate.events import Waiting
from imgmigrate.stores.registry import quirks as table
from imgmigrate.stores.registry.pace.limits import Limits
from imgmigrate.stores.registry.quirks import Quirks, quirks_of
from imgmigrate.stores.registry.quotas import ALL, READS, WRITES, Kind, Quota, kind_of
from tests.stores.registry.conftest import Recorder
from tests.support.clock import ManualClock, settle

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = "reg.example.com"
DIGEST = "sha256:" + "a" * 64
ECR_HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
ECR = quirks_of(ECR_HOST)


@dataclass
class Told:
    """What an answer tells about limits."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        return self.headers.get(name)


@dataclass
class Registry:
    """Limits on a clock that stands still."""

    config: RegistryConfig = field(default_factory=RegistryConfig)
    quirks: Quirks = field(default_factory=Quirks)
    clock: ManualClock = field(default_factory=ManualClock)
    sink: Recorder = field(default_factory=Recorder)
    known: Mapping[frozenset[Kind], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.limits = Limits(
            HOST,
            self.config,
            self.quirks,
            self.sink,
            longest_pause=900,
            clock=self.clock,
            known=self.known,
        )
        self.passed: list[tuple[Kind, float]] = []
        self.tasks: list[asyncio.Task[None]] = []

    def ask(self, kind: Kind, count: int = 1, status: int = 200) -> None:
        """Send requests that are answered at once."""
        self.tasks += [asyncio.create_task(self._ask(kind, status)) for _ in range(count)]

    async def _ask(self, kind: Kind, status: int) -> None:
        async with self.limits.request(kind) as passage:
            self.passed.append((kind, self.clock.now))
            self.limits.note(passage, Told(status))

    async def open_at_once(self, kind: Kind) -> int:
        """Count how many requests of a kind may be open."""
        async with AsyncExitStack() as stack:
            count = 0
            while True:
                entering = asyncio.create_task(stack.enter_async_context(self.limits.request(kind)))
                await settle()
                if not entering.done():
                    entering.cancel()
                    await settle()
                    return count
                count += 1

    @property
    def waits(self) -> list[Waiting]:
        return [each for each in self.sink.events if isinstance(each, Waiting)]


@pytest.mark.parametrize(
    ("method", "target", "kind"),
    [
        ("GET", "/v2/", Kind.OTHER),
        ("GET", "/v2/a/b/tags/list?n=1000", Kind.LISTING),
        ("GET", "/v2/_catalog", Kind.LISTING),
        ("GET", f"/v2/a/referrers/{DIGEST}", Kind.REFERRERS),
        ("HEAD", "/v2/a/manifests/latest", Kind.MANIFEST_HEAD),
        ("GET", f"/v2/a/manifests/{DIGEST}", Kind.MANIFEST_READ),
        ("PUT", "/v2/a/manifests/latest", Kind.MANIFEST_WRITE),
        ("DELETE", f"/v2/a/manifests/{DIGEST}", Kind.MANIFEST_WRITE),
        ("GET", f"/v2/a/blobs/{DIGEST}", Kind.BLOB_READ),
        ("HEAD", f"/v2/a/blobs/{DIGEST}", Kind.BLOB_READ),
        ("POST", "/v2/a/blobs/uploads/", Kind.UPLOAD_START),
        ("POST", f"/v2/a/blobs/uploads/?mount={DIGEST}&from=b", Kind.UPLOAD_START),
        ("PATCH", "/v2/a/blobs/uploads/x?_state=y", Kind.UPLOAD_DATA),
        ("PUT", f"https://other.example/up/x?digest={DIGEST}", Kind.UPLOAD_DATA),
        ("GET", "/v2/a/blobs/uploads/x", Kind.UPLOAD_DATA),
        ("DELETE", "/v2/a/blobs/uploads/x", Kind.UPLOAD_DATA),
    ],
)
def test_every_request_has_its_kind(method: str, target: str, kind: Kind) -> None:
    """Method and path tell which quota a request counts against."""
    assert kind_of(method, target) is kind


def test_every_row_of_the_table_has_each_kind_once() -> None:
    """No request is without a window, and none is counted twice."""
    for quirks in [Quirks(), *(row for _, row in table._ROWS)]:
        counted = Counter(kind for quota in quirks.quotas for kind in quota.kinds)
        assert counted == Counter(ALL)


@pytest.mark.parametrize(
    ("host", "together", "apart"),
    [
        ("reg.example.com", READS, WRITES),
        ("ghcr.io", ALL, frozenset()),
        ("europe-docker.pkg.dev", ALL, frozenset()),
        ("docker.io", {Kind.MANIFEST_READ}, ALL - {Kind.MANIFEST_READ}),
        (ECR_HOST, {Kind.UPLOAD_START}, WRITES - {Kind.UPLOAD_START}),
        (ECR_HOST, {Kind.MANIFEST_WRITE}, READS),
        (ECR_HOST, {Kind.REFERRERS}, ALL - {Kind.REFERRERS}),
        ("team.azurecr.io", {Kind.REFERRERS}, ALL - {Kind.REFERRERS}),
        ("docker.io", {Kind.MANIFEST_HEAD}, ALL - {Kind.MANIFEST_HEAD}),
        ("quay.io", {Kind.LISTING}, ALL - {Kind.LISTING}),
    ],
)
def test_congestion_of_one_kind_spares_those_that_are_counted_apart(
    host: str, together: frozenset[Kind], apart: frozenset[Kind]
) -> None:
    """A 429 shrinks the window of its own quota and of no other."""

    async def run() -> None:
        registry = Registry(quirks=quirks_of(host))
        first = next(iter(together))
        async with registry.limits.request(first) as passage:
            registry.limits.note(passage, Told(429))
        windows = {kind: gate.window.size for kind, gate in registry.limits._gates.items()}
        assert {windows[kind] for kind in together} == {32}
        assert {windows[kind] for kind in apart} <= {64}

    asyncio.run(run())


async def test_windows_follow_the_concurrency_of_the_config() -> None:
    """Few streams mean few requests; reads and writes have a window each."""
    registry = Registry(RegistryConfig(concurrency=1))
    assert await registry.open_at_once(Kind.MANIFEST_READ) == 4
    assert await registry.open_at_once(Kind.MANIFEST_WRITE) == 4


async def test_refusals_of_one_burst_are_one_event() -> None:
    """Ten 429s for requests that were open together halve the window once."""
    registry = Registry()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        passages = [await enter(registry.limits.request(Kind.OTHER)) for _ in range(10)]
        for passage in passages:
            registry.limits.note(passage, Told(429))
    assert await registry.open_at_once(Kind.OTHER) == 32


@pytest.mark.parametrize("status", [400, 401, 404, 500, 502])
async def test_other_failures_say_nothing_about_congestion(status: int) -> None:
    """Only 429 and 503 ask for less."""
    registry = Registry(RegistryConfig(concurrency=2))
    registry.ask(Kind.OTHER, status=status)
    await settle()
    assert await registry.open_at_once(Kind.OTHER) == 8


async def test_rate_limit_is_for_all_kinds_together() -> None:
    """However requests are mixed, the registry sees no more of them a second."""
    registry = Registry(RegistryConfig.model_validate({"rate_limit": "2/s"}))
    for kind in (Kind.MANIFEST_READ, Kind.UPLOAD_START, Kind.LISTING):
        registry.ask(kind, 4)
    await registry.clock.advance(60)
    moments = sorted(round(moment, 6) for _, moment in registry.passed)
    assert moments == [number / 2 for number in range(12)]
    kinds = [kind for kind, _ in registry.passed]
    assert kinds[:9].count(Kind.UPLOAD_START) == 4  # reads do not starve writes


async def test_a_registrys_own_rate_is_kept() -> None:
    """ECR takes ten manifests a second, and many more parts of uploads."""
    registry = Registry(quirks=ECR)
    registry.ask(Kind.MANIFEST_WRITE, 30)
    registry.ask(Kind.UPLOAD_DATA, 50)
    await registry.clock.advance(0)
    assert Counter(kind for kind, _ in registry.passed) == {
        Kind.MANIFEST_WRITE: 10,
        Kind.UPLOAD_DATA: 50,
    }
    await registry.clock.advance(2.01)
    assert len(registry.passed) == 80


async def test_a_pause_holds_every_request_until_it_is_over() -> None:
    """One Retry-After is enough for all, the longer one stands, and it is told once."""
    registry = Registry()
    registry.limits.pause(600, "too many requests (429)")
    registry.limits.pause(1, "too many requests (429)")
    registry.limits.pause(600.01, "too many requests (429)")
    for kind in Kind:
        registry.ask(kind)
    body = asyncio.create_task(registry.limits.admit(Kind.UPLOAD_DATA))
    await registry.clock.advance(599)
    assert not registry.passed
    assert not body.done()
    await registry.clock.advance(2)
    assert len(registry.passed) == len(Kind)
    assert body.done()
    cause = "all requests wait: too many requests (429)"
    assert registry.waits == [Waiting(HOST, cause, 600)]


@pytest.mark.parametrize(
    ("status", "text", "seconds"),
    [(429, "30", 30), (503, "7", 7), (429, "100000", 900), (429, "0", 0), (429, "soon", 0)],
)
async def test_retry_after_is_a_pause_for_all(status: int, text: str, seconds: float) -> None:
    """Any answer may ask for one; it is bounded, and what is no time is no pause."""
    registry = Registry()
    async with registry.limits.request(Kind.OTHER) as passage:
        registry.limits.note(passage, Told(status, headers={"Retry-After": text}))
    registry.ask(Kind.UPLOAD_START)
    await registry.clock.advance(1000)
    assert registry.passed == [(Kind.UPLOAD_START, seconds)]
    said = f"all requests wait: it answered {status} and asks for a pause"
    assert registry.waits == ([Waiting(HOST, said, seconds)] if seconds else [])


async def test_retry_after_with_another_answer_is_none_of_a_limit() -> None:
    """A 404 or a 301 may carry the header for its own reasons."""
    registry = Registry()
    async with registry.limits.request(Kind.OTHER) as passage:
        registry.limits.note(passage, Told(404, headers={"Retry-After": "30"}))
    registry.ask(Kind.OTHER)
    await settle()
    assert len(registry.passed) == 1


async def test_a_pause_that_grows_meanwhile_is_waited_for() -> None:
    """Whoever wakes looks again before it goes."""
    registry = Registry()
    registry.limits.pause(10, "busy")
    registry.ask(Kind.OTHER)
    await registry.clock.advance(5)
    registry.limits.pause(20, "busy")
    await registry.clock.advance(10)
    assert not registry.passed
    await registry.clock.advance(10)
    assert len(registry.passed) == 1


async def test_no_request_holds_a_slot_while_it_waits() -> None:
    """Requests that wait for a rate leave the window open to those already on their way."""
    registry = Registry(RegistryConfig.model_validate({"rate_limit": "1", "concurrency": "1"}))
    registry.ask(Kind.OTHER, 30)
    await settle()
    assert registry.limits._gates[Kind.OTHER].window._open == 0
    await registry.clock.advance(60)
    assert len(registry.passed) == 30


async def test_a_streamed_body_holds_no_slot() -> None:
    """However many uploads stream, the requests that their bytes depend on find a slot."""
    registry = Registry(RegistryConfig(concurrency=1), quirks_of("ghcr.io"))
    for _ in range(20):
        await registry.limits.admit(Kind.UPLOAD_DATA)
    assert await registry.open_at_once(Kind.BLOB_READ) == 4


async def test_bandwidth_is_for_each_direction() -> None:
    """Reads and writes have the configured bytes a second each, a tenth of a second at once."""
    registry = Registry(RegistryConfig.model_validate({"bandwidth": "1MB/s"}))
    moments: list[tuple[str, float]] = []

    async def move(way: str) -> None:
        bandwidth = registry.limits.bandwidth
        for _ in range(4):
            await (bandwidth.read if way == "read" else bandwidth.write)(500_000)
            moments.append((way, round(registry.clock.now, 6)))

    moves = [asyncio.create_task(move(way)) for way in ("read", "write")]
    await registry.clock.advance(10)
    assert all(each.done() for each in moves)
    for way in ("read", "write"):
        assert [at for one, at in moments if one == way] == [0.4, 0.9, 1.4, 1.9]


@pytest.mark.parametrize(
    ("key", "value"), [("rate_limit", "0.1"), ("bandwidth", "1000"), ("quotas", "")]
)
async def test_a_long_wait_says_why(key: str, value: str) -> None:
    """Nobody has to guess why nothing moves: the wait names what makes it."""
    quirks = Quirks(quotas=(Quota(ALL, rate=0.1),)) if key == "quotas" else Quirks()
    config = {} if key == "quotas" else {key: value}
    registry = Registry(RegistryConfig.model_validate(config), quirks)
    registry.ask(Kind.OTHER, 2)
    for _ in range(2):
        registry.tasks.append(asyncio.create_task(registry.limits.bandwidth.read(10_000)))
    await registry.clock.advance(30)
    (wait,) = registry.waits
    assert wait.subject == HOST
    assert wait.delay == pytest.approx(10)
    assert ("its own limit for listings" if key == "quotas" else f"{key} in the con") in wait.cause


async def test_without_settings_nothing_waits() -> None:
    """No limit, no wait, no event."""
    registry = Registry()
    registry.ask(Kind.BLOB_READ, 200)
    await registry.limits.bandwidth.read(10**12)
    await registry.limits.bandwidth.write(10**12)
    await settle()
    assert len(registry.passed) == 200
    assert not registry.clock.slept
    assert not registry.waits
