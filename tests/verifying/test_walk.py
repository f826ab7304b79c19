"""What a walk finds: every part as a puller would get it, what is shared asked for once."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import AccessDenied, ConfigError, IntegrityError
from imgmigrate.oci.manifest import OCI_INDEX, Manifest
from imgmigrate.oci.reference import Digest, Repository
from imgmigrate.stores.place import Place
from imgmigrate.verifying.verdict import MOST_FAULTS, Fault, Findings, Kind
from imgmigrate.verifying.walk import Walk, each
from tests.fakes.memory import MemoryStore, broken, fail_times, image, index
from tests.support.world import Recorder

if TYPE_CHECKING:
    from imgmigrate.oci.reference import Reference

HOST = "new.example"
REPO = Repository(HOST, "app")


def walk(store: MemoryStore, *, deep: bool = False) -> Walk:
    return Walk(Place(store, "app"), asyncio.Semaphore(4), Recorder(), deep)


def two_platforms(store: MemoryStore, tag: str = "1") -> tuple[Manifest, Manifest, Manifest]:
    """Seed an index of two images that share a base; return it and its children."""
    first, blobs = image(b"base", b"amd64")
    second, others = image(b"base", b"arm64")
    top = index(first, second)
    store.seed("app", tag, top, {**blobs, **others}, first, second)
    return top, first, second


def address(tag: str = "1") -> Reference:
    return REPO.at(tag)


def kinds(findings: Findings) -> list[tuple[str, str]]:
    return [(fault.kind.value, fault.part) for fault in findings.faults]


async def test_a_whole_image_has_no_fault_and_each_part_is_asked_for_once() -> None:
    """The base that both platforms share, and the config of all, are one question each."""
    store = MemoryStore(HOST)
    top, _, _ = two_platforms(store)
    found = await walk(store).image(address(), top.digest)
    assert found == Findings()
    assert store.calls == {"manifest": 3, "blob_size": 4}


async def test_what_a_repository_shares_is_asked_for_once_beside_each_other() -> None:
    """Two tags of one repository that are walked at the same time."""
    store = MemoryStore(HOST)
    top, _, _ = two_platforms(store)
    two_platforms(store, "2")
    one = walk(store)
    found = await asyncio.gather(one.image(address(), top.digest), one.image(address("2"), None))
    assert list(found) == [Findings(), Findings()]
    assert store.calls == {"manifest": 4, "blob_size": 4}
    assert (one.blobs, one.size) == (4, len(b"{}" + b"base" + b"amd64" + b"arm64"))


@pytest.mark.parametrize("deep", [False, True])
async def test_every_missing_part_is_named(deep: bool) -> None:
    """A child and a blob of the other child: both are told, each with its digest and size."""
    store = MemoryStore(HOST)
    top, first, second = two_platforms(store)
    del store.manifests["app", second.digest]
    gone = Digest.of(b"amd64")
    del store.blobs["app", gone]
    found = await walk(store, deep=deep).image(address(), top.digest)
    assert set(found.faults) == {
        Fault(Kind.MISSING, "manifest", second.digest, len(second.raw)),
        Fault(Kind.MISSING, "blob", gone, 5),
    }
    assert first.digest not in {fault.digest for fault in found.faults}


async def test_the_tag_that_is_gone_is_absent() -> None:
    """Nothing below it is asked for."""
    store = MemoryStore(HOST)
    wanted = Digest.of(b"any")
    found = await walk(store).image(address(), wanted)
    assert found.faults == [Fault(Kind.ABSENT, "manifest", wanted)]


async def test_another_image_at_the_tag_is_changed() -> None:
    """What is not ours is not looked into."""
    store = MemoryStore(HOST)
    top, _, _ = two_platforms(store)
    found = await walk(store).image(address(), Digest.of(b"other"))
    assert kinds(found) == [("changed", "index")]
    assert found.faults[0].found == top.digest
    assert store.calls == {"manifest": 1}


async def test_a_blob_of_another_size_is_told() -> None:
    """Without reading it."""
    store = MemoryStore(HOST)
    top, _, _ = two_platforms(store)
    digest = Digest.of(b"arm64")
    store.blobs["app", digest] = b"arm"
    found = await walk(store).image(address(), top.digest)
    assert found.faults == [Fault(Kind.SIZE, "blob", digest, 5, "3")]
    assert not store.calls["open_blob"]


async def test_only_deep_finds_other_bytes_of_the_same_size() -> None:
    """The size alone says nothing of them."""
    store = MemoryStore(HOST)
    top, _, _ = two_platforms(store)
    digest = Digest.of(b"arm64")
    store.blobs["app", digest] = b"ARM64"
    assert await walk(store).image(address(), top.digest) == Findings()
    found = await walk(store, deep=True).image(address(), top.digest)
    assert kinds(found) == [("damaged", "blob")]
    assert found.faults[0].digest == digest


async def test_deep_goes_on_where_a_stream_broke() -> None:
    """A connection that is reset is no fault of the image."""
    store = MemoryStore(HOST)
    top, _, _ = two_platforms(store)
    store.hooks["read"] = fail_times(1, broken)
    assert await walk(store, deep=True).image(address(), top.digest) == Findings()


async def test_an_empty_blob_has_to_be_there_too() -> None:
    """Deep reads none of its bytes, so it asks for it."""
    store = MemoryStore(HOST)
    manifest, blobs = image(b"")
    store.seed("app", "1", manifest, blobs)
    del store.blobs["app", Digest.of(b"")]
    found = await walk(store, deep=True).image(address(), manifest.digest)
    assert found.faults == [Fault(Kind.MISSING, "blob", Digest.of(b""), 0)]


async def test_layers_that_nobody_distributes_are_left_out() -> None:
    """A foreign layer is fetched from elsewhere, and its absence is no fault."""
    store = MemoryStore(HOST)
    document = json.loads(image(b"windows")[0].raw)
    document["layers"][0]["mediaType"] = (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    )
    manifest = Manifest.parse(json.dumps(document).encode())
    store.seed("app", "1", manifest, {Digest.of(b"{}"): b"{}"})
    assert await walk(store).image(address(), manifest.digest) == Findings()


async def test_an_index_may_list_blobs() -> None:
    """What is no manifest by its type, and is none, is a blob: there or missing."""
    store = MemoryStore(HOST)
    entry = {
        "mediaType": "application/vnd.buildkit.cacheconfig.v0",
        "digest": Digest.of(b"cache"),
        "size": 5,
    }
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    top = Manifest.parse(raw)
    store.seed("app", "1", top, {Digest.of(b"cache"): b"cache"})
    assert await walk(store).image(address(), top.digest) == Findings()
    store.blobs.clear()
    found = await walk(store).image(address(), top.digest)
    assert found.faults == [Fault(Kind.MISSING, "blob", Digest.of(b"cache"), 5)]


async def test_what_cannot_be_read_is_no_fault_and_hides_none() -> None:
    """The first failure is kept; the other parts are looked at all the same."""
    store = MemoryStore(HOST)
    top, first, _ = two_platforms(store)
    del store.blobs["app", Digest.of(b"arm64")]

    def refuse(_: str, what: str) -> None:
        if what == first.digest:
            raise AccessDenied("new.example/app", "denied (403)")

    store.hooks["manifest"] = refuse
    found = await walk(store).image(address(), top.digest)
    assert isinstance(found.error, AccessDenied)
    assert found.error.side == "destination"
    assert kinds(found) == [("missing", "blob")]


async def test_a_registry_that_serves_other_bytes_is_a_damaged_image() -> None:
    """It was read, and is wrong: nothing that another try would mend."""
    store = MemoryStore(HOST)
    top, first, _ = two_platforms(store)

    def lie(_: str, what: str) -> None:
        if what == first.digest:
            raise IntegrityError("new.example/app", "the registry sent bytes of another digest")

    store.hooks["manifest"] = lie
    found = await walk(store).image(address(), top.digest)
    assert kinds(found) == [("damaged", "manifest")]
    assert found.error is None


async def test_indexes_without_end_are_refused() -> None:
    """Deeper than any real image: an error, after a bounded number of requests."""
    store = MemoryStore(HOST)
    manifest, blobs = image(b"x")
    nested = [manifest]
    for _ in range(20):
        nested.append(index(nested[-1]))
    store.seed("app", "1", nested[-1], blobs, *nested)
    found = await walk(store).image(address(), nested[-1].digest)
    assert found.error is not None
    assert "nested deeper" in found.error.cause
    assert store.calls["manifest"] < 12


async def test_a_failure_that_is_no_finding_reaches_everyone() -> None:
    """A wrong setting ends the run, also for those who wait for the same answer."""
    store = MemoryStore(HOST)
    top, _, _ = two_platforms(store)
    two_platforms(store, "2")

    def fail(*_: str) -> None:
        raise ConfigError("no such variable")

    store.hooks["blob_size"] = fail
    one = walk(store)
    results = await asyncio.gather(
        one.image(address(), top.digest),
        one.image(address("2"), top.digest),
        return_exceptions=True,
    )
    assert all(isinstance(each, ExceptionGroup) for each in results)


def test_faults_are_kept_up_to_a_bound_and_counted_beyond() -> None:
    """An image of a hundred thousand missing parts costs no memory."""
    findings = Findings()
    for number in range(MOST_FAULTS + 7):
        findings.add(Fault(Kind.MISSING, "blob", Digest.of(str(number).encode()), 1))
    findings.add(findings.faults[0])
    assert (len(findings.faults), findings.more) == (MOST_FAULTS, 7)
    whole = Findings()
    whole.join(findings)
    assert (len(whole.faults), whole.more) == (MOST_FAULTS, 7)


async def test_jobs_are_done_so_many_at_a_time_and_answer_in_order() -> None:
    """Never more than that are open."""
    active, most = 0, 0

    async def job(number: int) -> int:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await asyncio.sleep(0)
        active -= 1
        return number

    numbers = list(range(20))
    assert await each([partial(job, number) for number in numbers], 3) == numbers
    assert most == 3
