"""Whole moves through the limits: nothing can wait for itself, whatever the numbers are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from imgmigrate import apply_plan, load_config, make_plan
from imgmigrate.config.model import RegistryConfig
from imgmigrate.events import Outcome, Retrying
from imgmigrate.oci.manifest import Descriptor
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import Mounted
from imgmigrate.stores.registry.http.limits import Timeouts
from imgmigrate.stores.registry.http.session import Http
from imgmigrate.stores.registry.pace import limits
from imgmigrate.stores.registry.pace.bandwidth import streams_of
from imgmigrate.stores.registry.quirks import Quirks
from imgmigrate.stores.registry.quotas import ALL, USUAL, Kind, Quota
from imgmigrate.stores.registry.store import RegistryStore
from imgmigrate.stores.registry.uploads.start import WholeUpload
from imgmigrate.stores.registry.wire import remote
from tests.stores.registry.conftest import Recorder
from tests.support.clock import ManualClock
from tests.support.images import OCI_LAYER, image, index, layer
from tests.support.registries import assert_equal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from imgmigrate.events import RunFinished
    from tests.fakes.registry import FakeRegistry

# A hang guard, in seconds; each move takes a fraction of one.
HANG = 500
TOGETHER = (Quota(ALL),)
APART = tuple(Quota(frozenset({kind})) for kind in Kind)


async def move(folder: Path, old: FakeRegistry, new: FakeRegistry, sink: Recorder) -> RunFinished:
    """Move everything of `app` to `mirror/app`, with one stream for each registry."""
    hosts = "\n".join(
        f'  "{host}": {{plain_http: true, concurrency: 1}}' for host in {old.host, new.host}
    )
    rules = "\n".join(
        f"  - {{source: {old.host}/{repo}, destination: {new.host}/mirror/{repo}}}"
        for repo in ("app", "other")
    )
    path = folder / "imgmigrate.yaml"
    path.write_text(f"version: 1\nregistries:\n{hosts}\nimages:\n{rules}\n")
    config = load_config(path)
    async with asyncio.timeout(HANG):
        plan = await make_plan(config, sink=sink)
        return await apply_plan(config, plan, sink=sink)


@pytest.mark.parametrize("quotas", [USUAL, TOGETHER, APART])
@pytest.mark.parametrize("same_host", [True, False])
async def test_no_cycle_with_one_stream_and_windows_of_one(
    tmp_path: Path,
    fake_registry: FakeRegistry,
    other_fake_registry: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    sink: Recorder,
    quotas: tuple[Quota, ...],
    same_host: bool,
) -> None:
    """One request at once, one stream at once, one host on both ends, broken streams: it ends."""
    monkeypatch.setattr(limits, "REQUESTS_PER_STREAM", 1)
    monkeypatch.setattr(remote, "quirks_of", lambda _: Quirks(quotas=quotas))
    old = fake_registry
    new = old if same_host else other_fake_registry
    shared = image("shared", size=300_000)
    made = {f"v{number}": image(f"v{number}", size=300_000) for number in range(4)}
    made |= {"all": index(shared, made["v0"]), "shared": shared}
    for tag, each in made.items():
        for repo in ("app", "other"):
            old.put_image(repo, tag, each)
    # No mount, so that every blob streams; some streams break while their upload is open.
    new.fail("POST", "mount=", status=405)
    old.cut("/v2/(app|other)/blobs/", at=100_000, times=3)
    result = await move(tmp_path, old, new, sink)
    assert result.counts == {Outcome.APPLIED: 2 * len(made)}
    for tag, each in made.items():
        assert_equal(new.image("mirror/app", tag), each)
    assert new.peak["write"] == 1
    assert old.peak["read"] == 1


@pytest.mark.parametrize("quotas", [USUAL, TOGETHER])
async def test_windows_shrink_to_one_and_everything_arrives(
    tmp_path: Path,
    fake_registry: FakeRegistry,
    other_fake_registry: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    sink: Recorder,
    quotas: tuple[Quota, ...],
) -> None:
    """A registry that refuses again and again is asked less, and gets every image."""
    monkeypatch.setattr(remote, "quirks_of", lambda _: Quirks(quotas=quotas))
    made = {f"v{number}": image(f"v{number}") for number in range(6)}
    for tag, each in made.items():
        for repo in ("app", "other"):
            fake_registry.put_image(repo, tag, each)
    for registry in (fake_registry, other_fake_registry):
        for pattern in ("/manifests/", "/blobs/", "/tags/"):
            registry.fail("*", pattern, status=429, times=3)
    result = await move(tmp_path, fake_registry, other_fake_registry, sink)
    assert result.counts == {Outcome.APPLIED: 2 * len(made)}
    for tag, each in made.items():
        assert_equal(other_fake_registry.image("mirror/app", tag), each)
    # A refusal for the rate is no failure.
    assert not any(isinstance(event, Retrying) for event in sink.events)


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    """A session that obeys pauses, whose stall guards are quick."""
    http = Http(Timeouts(stall=5))
    yield http
    await http.aclose()


def open_store(
    registry: FakeRegistry, http: Http, clock: ManualClock, **keys: str
) -> RegistryStore:
    """A store of the fake whose limits run on a clock of the test."""
    config = RegistryConfig.model_validate({"plain_http": True, **keys})
    return RegistryStore(registry.host, lambda _: config, http, Recorder(), clock=clock)


async def test_retry_after_holds_the_whole_queue(fake_registry: FakeRegistry, http: Http) -> None:
    """One 429 with Retry-After: no other request leaves before the time is over."""
    fake_registry.put_image("a", "1", image())
    clock = ManualClock()
    store = open_store(fake_registry, http, clock)
    fake_registry.fail("GET", "/tags/", status=429, times=1, headers={"Retry-After": "30"})
    listing = asyncio.create_task(store.list_tags("a"))
    async with asyncio.timeout(HANG):
        await clock.asleep.wait()
        looks = [asyncio.create_task(store.head("a", "1")) for _ in range(5)]
        await clock.advance(29)
        assert fake_registry.arrivals == 1
        await clock.advance(2)
        assert all(await asyncio.gather(*looks))
        assert await listing == ["1"]


async def test_uploads_that_wait_for_a_pause_are_not_stalled(
    fake_registry: FakeRegistry, http: Http
) -> None:
    """Time that the registry asked for is not time in which it took no bytes."""
    data = layer("x", 50_000)
    blob = Descriptor(OCI_LAYER, Digest.of(data), len(data))
    clock = ManualClock(hurried=True)
    store = open_store(fake_registry, http, clock)
    upload = await store.start_upload("a", blob)
    assert not isinstance(upload, Mounted)
    store._remote.limits.pause(600, "busy")
    await upload.write(data)
    await upload.commit()
    assert clock.slept == [600]
    assert await store.blob_exists("a", blob.digest)


async def test_bandwidth_paces_both_directions_of_a_client(
    fake_registry: FakeRegistry, http: Http
) -> None:
    """The bytes of blobs take their time, and are neither kept nor lost."""
    data = layer("x", 400_000)
    blob = Descriptor(OCI_LAYER, Digest.of(data), len(data))
    fake_registry.put_image("a", "1", image(layers=[data]))
    clock = ManualClock(hurried=True)
    store = open_store(fake_registry, http, clock, bandwidth="100KB/s")
    read = b"".join([piece async for piece in store.open_blob("a", blob)])
    assert read == data
    assert clock.now >= len(data) / 100_000 - 1
    before = clock.now
    upload = await store.start_upload("b", blob)
    assert not isinstance(upload, Mounted)
    for start in range(0, len(data), 50_000):
        await upload.write(data[start : start + 50_000])
    await upload.commit()
    assert before + len(data) / 100_000 - 1 <= clock.now <= before + len(data) / 100_000 + 1
    assert await store.blob_exists("b", blob.digest)


async def test_streams_that_share_a_bandwidth_are_never_silent_for_long(
    fake_registry: FakeRegistry, http: Http
) -> None:
    """Each open body gets a small part in every round, and no stream a whole piece."""
    data = [layer(name, 400_000) for name in "ab"]
    clock = ManualClock(hurried=True)
    store = open_store(fake_registry, http, clock, bandwidth="20KB/s")
    order: list[tuple[str, int]] = []

    async def send(name: str, body: bytes) -> None:
        blob = Descriptor(OCI_LAYER, Digest.of(body), len(body))
        upload = await store.start_upload(name, blob)
        assert isinstance(upload, WholeUpload)
        give = upload._sending._pipe.give

        def given(piece: bytes) -> None:
            order.append((name, len(piece)))
            give(piece)

        upload._sending._pipe.give = given  # type: ignore[method-assign]
        await upload.write(body)
        await upload.commit()

    async with asyncio.TaskGroup() as tasks:
        for name, body in zip("ab", data, strict=True):
            tasks.create_task(send(name, body))
    assert max(size for _, size in order) == 10_000
    # Both are at it: neither has two parts more than the other in any beginning of the run.
    for count in range(4, len(order)):
        sent = [name for name, _ in order[:count]]
        assert abs(sent.count("a") - sent.count("b")) <= 2


@pytest.mark.parametrize(
    ("bandwidth", "streams"),
    [(None, 16), ("200MiB/s", 16), ("1MiB/s", 16), ("512KiB/s", 8), ("100KiB/s", 2), ("1", 2)],
)
def test_a_narrow_line_has_fewer_streams(bandwidth: str | None, streams: int) -> None:
    """Each stream is worth its place, so that some blob is done soon."""
    assert streams_of(RegistryConfig.model_validate({"bandwidth": bandwidth})) == streams


async def test_a_blob_that_is_sent_at_once_keeps_nobody_waiting(
    fake_registry: FakeRegistry, http: Http
) -> None:
    """It pays in turns too: a small one takes longer than a turn over a narrow line."""
    clock = ManualClock(hurried=True)
    store = open_store(fake_registry, http, clock, bandwidth="10KB/s")
    data = layer("small", 60_000)
    blob = Descriptor(OCI_LAYER, Digest.of(data), len(data))
    upload = await store.start_upload("a", blob)
    assert not isinstance(upload, Mounted)
    await upload.write(data)
    await upload.commit()
    assert max(clock.slept) <= 1.0
    assert clock.now >= 5
