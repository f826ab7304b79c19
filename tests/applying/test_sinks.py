"""One source, several destinations: a blob is read once, and nobody suffers for another."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.applying.blobs.delivery import PIECE_SIZE, PIECES_BEHIND
from imgmigrate.applying.blobs.fanout import Meetings
from imgmigrate.config.model import RegistryConfig
from imgmigrate.errors import AccessDenied, NotFound
from imgmigrate.events import BlobFinished, NoSink, Outcome
from imgmigrate.oci.reference import Digest, Repository
from imgmigrate.stores.place import Place
from imgmigrate.stores.registry.http.session import Http
from imgmigrate.stores.registry.store import RegistryStore
from tests.applying.support import OLD, copy, make_engine, run
from tests.fakes.memory import MemoryStore, MemoryStores, broken, fail_times, image, index
from tests.fakes.registry import FakeRegistry
from tests.support import images
from tests.support.clock import settle
from tests.support.world import Recorder

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.plan import Change

A, B, C = "a.example", "b.example", "c.example"
BASE, APP = b"base layer bytes", b"application"


def world(**options: object) -> tuple[MemoryStores, MemoryStore, list[MemoryStore]]:
    """An old registry and three new ones."""
    old = MemoryStore(OLD, **options)  # type: ignore[arg-type]
    new = [MemoryStore(host, **options) for host in (A, B, C)]  # type: ignore[arg-type]
    return MemoryStores({OLD: old} | {each.identity: each for each in new}), old, new


@dataclass(frozen=True)
class Traveller:
    """Somebody who wants to leave."""

    source: Place
    destination: Place


class Stores(MemoryStores):
    """Stores of any kind, by host."""

    def __init__(self, found: dict[str, RegistryStore]) -> None:
        super().__init__()
        self._found = found

    def of(self, repository: Repository) -> Any:
        return self._found[repository.store]


def everywhere(repo: str, tag: str, digest: Digest, *, to: str | None = None) -> list[Change]:
    """Plan to copy one image to all three."""
    return [copy(repo, tag, digest, to=to, host=host) for host in (A, B, C)]


def reads(old: MemoryStore) -> Counter[str]:
    """Count how often each blob was opened."""
    return Counter(what for verb, _, what in old.log if verb == "open_blob")


@pytest.mark.parametrize("streams", [1, 2, 16])
async def test_image_for_three_stores_is_read_once(tmp_path: Path, streams: int) -> None:
    """Every blob is opened once at the source and written once to each destination."""
    found, old, new = world(streams=streams)
    one, one_blobs = image(BASE, APP)
    two, two_blobs = image(BASE, b"for another platform")
    digest = old.seed("r", "t", index(one, two), one_blobs | two_blobs, one, two)
    receipts = await run(found, tmp_path, *everywhere("r", "t", digest))
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.APPLIED}
    blobs = one_blobs | two_blobs
    assert reads(old) == {f"{blob}+0": 1 for blob in blobs}
    for store in new:
        assert {blob: store.blobs["r", blob] for blob in blobs} == blobs
        assert store.calls["start_upload"] == len(blobs)
    assert sum(receipt.moved for receipt in receipts.values()) == 3 * sum(map(len, blobs.values()))


async def test_images_that_share_a_base_read_it_once_for_all_stores(tmp_path: Path) -> None:
    """Many tags of several repositories on one base: each unique blob is read once."""
    found, old, new = world()
    changes, unique = [], set()
    for number in range(9):
        manifest, blobs = image(BASE, f"own {number}".encode())
        unique |= set(blobs)
        digest = old.seed(f"r{number % 3}", f"t{number}", manifest, blobs)
        changes += everywhere(f"r{number % 3}", f"t{number}", digest)
    # One of them answers late, always.
    new[1].hooks["list_tags"] = lambda *_: settle()
    receipts = await run(found, tmp_path, *changes, parallelism=12)
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.APPLIED}
    assert reads(old) == {f"{blob}+0": 1 for blob in unique}


async def test_one_image_at_a_time_needs_no_company(tmp_path: Path) -> None:
    """Where images may not be open together each reads for itself, and nobody waits."""
    found, old, _ = world(streams=1)
    manifest, blobs = image(BASE)
    digest = old.seed("r", "t", manifest, blobs)
    receipts = await run(found, tmp_path, *everywhere("r", "t", digest), parallelism=1)
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.APPLIED}
    assert set(reads(old).values()) == {3}


async def test_sink_that_fails_drops_out_and_comes_again(tmp_path: Path) -> None:
    """The others take their bytes from the same read; it gets one of its own."""
    found, old, new = world()
    manifest, blobs = image(BASE)
    digest = old.seed("r", "t", manifest, blobs)
    new[1].hooks["write"] = fail_times(1, broken)
    receipts = await run(found, tmp_path, *everywhere("r", "t", digest))
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.APPLIED}
    assert set(reads(old).values()) == {2}
    assert [store.calls["start_upload"] for store in new] == [
        len(blobs),
        2 * len(blobs),
        len(blobs),
    ]
    assert [store.aborted for store in new] == [0, len(blobs), 0]


@pytest.mark.parametrize("verb", ["start_upload", "write", "commit"])
async def test_sink_that_refuses_fails_alone(tmp_path: Path, verb: str) -> None:
    """What one destination never takes is its own image's failure, and costs no second read."""
    found, old, new = world()
    manifest, blobs = image(BASE)
    digest = old.seed("r", "t", manifest, blobs)

    def deny(*_: str) -> None:
        raise AccessDenied(A, "you may not push")

    new[0].hooks[verb] = deny
    receipts = await run(found, tmp_path, *everywhere("r", "t", digest))
    outcomes = [receipts[f"{host}/r:t"].outcome for host in (A, B, C)]
    assert outcomes == [Outcome.FAILED, Outcome.APPLIED, Outcome.APPLIED]
    assert reads(old) == {f"{blob}+0": 1 for blob in blobs}


async def test_source_that_fails_fails_all(tmp_path: Path) -> None:
    """A blob that is not to be had is asked for once, and nothing is left open anywhere."""
    found, old, new = world()
    manifest, blobs = image(BASE)
    digest = old.seed("r", "t", manifest, blobs)
    del old.blobs["r", Digest.of(BASE)]
    receipts = await run(found, tmp_path, *everywhere("r", "t", digest))
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.FAILED}
    assert all(isinstance(receipt.error, NotFound) for receipt in receipts.values())
    assert reads(old)[f"{Digest.of(BASE)}+0"] == 1
    for store in new:
        assert ("r", Digest.of(BASE)) not in store.blobs
        assert store.aborted == store.calls["start_upload"] - store.calls["commit"]


async def test_wrong_bytes_reach_no_destination(tmp_path: Path) -> None:
    """A blob whose digest is wrong is committed nowhere."""
    found, old, new = world()
    manifest, blobs = image(BASE)
    digest = old.seed("r", "t", manifest, blobs)
    old.blobs["r", Digest.of(BASE)] = BASE.upper()
    receipts = await run(found, tmp_path, *everywhere("r", "t", digest))
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.FAILED}
    for store in new:
        assert ("commit", "r", Digest.of(BASE)) not in store.log


async def test_other_repository_of_the_source_may_lack_the_blob(tmp_path: Path) -> None:
    """What is read on behalf of another image, and fails, is read again from one's own place."""
    found, old, new = world()
    one, blobs = image(BASE, APP)
    two, more = image(BASE, b"other")
    first, second = old.seed("r1", "t", one, blobs), old.seed("r2", "t", two, more)
    # Two images that lead at different stores, so that one reads for both.
    new[0].hooks["list_tags"] = lambda repo, _: settle() if repo == "r2" else None
    new[1].hooks["list_tags"] = lambda repo, _: settle() if repo == "r1" else None
    del old.blobs["r1", Digest.of(BASE)]
    receipts = await run(
        found, tmp_path, *everywhere("r1", "t", first), *everywhere("r2", "t", second)
    )
    outcomes = {str(address): receipt.outcome for address, receipt in receipts.items()}
    assert {outcomes[f"{host}/r2:t"] for host in (A, B, C)} == {Outcome.APPLIED}
    assert all(store.blobs["r2", Digest.of(BASE)] == BASE for store in new)


async def test_slowest_sink_is_waited_for_within_the_window(tmp_path: Path) -> None:
    """The source runs ahead of the slowest by a bounded number of pieces, then waits."""
    layer = bytes(24 * PIECE_SIZE)
    found, old, new = world(piece=PIECE_SIZE)
    manifest, blobs = image(layer)
    digest = old.seed("r", "t", manifest, blobs)
    slow, held = asyncio.Event(), asyncio.Event()

    async def wait(repo: str, what: str) -> None:
        if what == Digest.of(layer):
            held.set()
            await slow.wait()

    new[2].hooks["write"] = wait
    running = asyncio.create_task(run(found, tmp_path, *everywhere("r", "t", digest)))
    await held.wait()
    for _ in range(10):
        await settle()
    read = [what for verb, _, what in old.log if verb == "read" and Digest.of(layer) in what]
    written = [what for verb, _, what in new[0].log if (verb, what) == ("write", Digest.of(layer))]
    # One piece is with the slow sink, one in hand.
    assert len(read) <= PIECES_BEHIND + 3
    assert len(written) >= PIECES_BEHIND
    slow.set()
    receipts = await running
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.APPLIED}


async def test_store_that_has_a_part_is_not_waited_for(tmp_path: Path) -> None:
    """A child, or a whole image, that a store has already keeps no other store."""
    found, old, new = world()
    one, one_blobs = image(BASE)
    two, two_blobs = image(APP)
    top = index(index(one), two)
    inner = index(one)
    digest = old.seed("r", "t", top, one_blobs | two_blobs, one, two, inner)
    new[0].seed("r", "before", inner, one_blobs, one)
    new[1].seed("r", "t", top, one_blobs | two_blobs, one, two, inner)
    held = asyncio.Event()
    new[0].hooks["put_manifest"] = lambda *_: held.wait()  # its image stays open
    running = asyncio.create_task(run(found, tmp_path, *everywhere("r", "t", digest)))
    await settle()
    await settle()
    assert new[2].tags == {("r", "t"): digest}
    held.set()
    receipts = await running
    outcomes = [receipts[f"{host}/r:t"].outcome for host in (A, B, C)]
    assert outcomes == [Outcome.APPLIED, Outcome.ALREADY, Outcome.APPLIED]


async def test_image_that_ends_early_is_not_waited_for(tmp_path: Path) -> None:
    """A store that fails before it asks for a blob lets the others go."""
    found, old, new = world()
    manifest, blobs = image(BASE)
    digest = old.seed("r", "t", manifest, blobs)

    async def refuse(*_: str) -> None:
        await settle()
        raise AccessDenied(B, "you may not look")

    new[1].hooks["manifest"] = refuse
    receipts = await run(found, tmp_path, *everywhere("r", "t", digest))
    outcomes = [receipts[f"{host}/r:t"].outcome for host in (A, B, C)]
    assert outcomes == [Outcome.APPLIED, Outcome.FAILED, Outcome.APPLIED]
    assert reads(old) == {f"{blob}+0": 1 for blob in blobs}


async def test_store_that_never_comes_is_waited_for_only_so_long() -> None:
    """When patience ends those who are there leave together, and a late one by itself."""
    _, old, new = world()
    manifest, _ = image(BASE)
    source = Place(old, "r")
    meetings: Meetings[Traveller] = Meetings(lambda *_: False, patience=0)
    meetings.expect(source, manifest.digest, [A, B, C])
    meetings.announce(manifest, source)
    one, two, late = (Traveller(source, Place(store, "r")) for store in new)
    blob = Digest.of(BASE)
    first, second = await asyncio.gather(meetings.meet(blob, one), meetings.meet(blob, two))
    assert (first, second) == ([one, two], [])
    assert await meetings.meet(blob, late) == [late]


async def test_two_repositories_of_one_store_go_separately() -> None:
    """A reading takes one write slot of each store, so it carries one blob to each."""
    _, old, new = world()
    manifest, _ = image(BASE)
    source = Place(old, "r")
    meetings: Meetings[Traveller] = Meetings(lambda *_: False)
    parties = meetings.expect(source, manifest.digest, [A, A, B])
    meetings.announce(manifest, source)
    places = [Place(new[0], "r1"), Place(new[0], "r2"), Place(new[1], "r1")]
    who = [Traveller(source, place) for place in places]
    blob = Digest.of(BASE)
    groups = await asyncio.gather(*(meetings.meet(blob, each) for each in who))
    assert groups == [[who[0], who[2]], [who[1]], []]
    for party in (parties[A], parties[A], parties[B]):
        meetings.leave(party)
    assert await meetings.meet(blob, who[0]) == [who[0]]


async def test_leaving_while_flights_meet_leaves_nothing_behind(tmp_path: Path) -> None:
    """A run that is given up while its flights wait or carry ends every upload and task."""
    for verb in ("list_tags", "write"):
        found, old, new = world()
        manifest, blobs = image(BASE)
        digest = old.seed("r", "t", manifest, blobs)
        begun = asyncio.Event()

        async def hang(*_: str, begun: asyncio.Event = begun) -> None:
            begun.set()
            await asyncio.Event().wait()

        new[1].hooks[verb] = hang
        async with make_engine(found, tmp_path).run(everywhere("r", "t", digest)):
            await begun.wait()
            await settle()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        for store in new:
            assert store.aborted == store.calls["start_upload"] - len(store.blobs)


async def test_each_destination_tells_its_own_progress(tmp_path: Path) -> None:
    """Every store's blob is started, moved and finished as if it had travelled alone."""
    found, old, _ = world()
    manifest, blobs = image(BASE)
    digest = old.seed("r", "t", manifest, blobs)
    sink = Recorder()
    await run(found, tmp_path, *everywhere("r", "t", digest), sink=sink)
    ends = Counter(
        event.repository.store
        for event in sink.events
        if isinstance(event, BlobFinished) and event.how == "uploaded"
    )
    assert ends == {host: len(blobs) for host in (A, B, C)}


async def test_three_registries_cost_one_request_for_each_blob(tmp_path: Path) -> None:
    """Over the wire: one GET at the source, and one upload at each destination."""
    made = images.image("one", layers=[images.layer("base", 200_000), images.layer("app", 70_000)])
    async with (
        FakeRegistry() as old,
        FakeRegistry() as first,
        FakeRegistry() as second,
        FakeRegistry() as third,
    ):
        old.put_image("r", "t", made)
        http = Http()
        new = (first, second, third)
        stores = {
            each.host: RegistryStore(
                each.host, lambda _: RegistryConfig(plain_http=True), http, NoSink()
            )
            for each in (old, *new)
        }
        changes = [
            copy("r", "t", Digest(made.top), source_host=old.host, host=each.host) for each in new
        ]
        try:
            receipts = await run(Stores(stores), tmp_path, *changes)
        finally:
            await http.aclose()
        assert {receipt.outcome for receipt in receipts.values()} == {Outcome.APPLIED}
        for digest in made.blobs:
            assert old.count("GET", f"/blobs/{digest}") == 1
            assert [each.uploads_of(digest) for each in new] == [1, 1, 1]
        assert all(each.image("r", "t") == old.image("r", "t") for each in new)
