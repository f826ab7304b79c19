"""The engine: order, isolation, one travel per blob, cancellation."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING

import pytest

from imgmigrate.applying.engine.order import Queue
from imgmigrate.errors import AccessDenied, IntegrityError, StoreError
from imgmigrate.events import BlobFinished, Outcome
from imgmigrate.oci.manifest import Manifest
from imgmigrate.oci.reference import Digest
from tests.applying.support import NEW, copy, make_engine, run, stores
from tests.fakes.memory import broken, fail_times, image, index
from tests.support.world import Recorder

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.plan import Change

BASE, APP, EXTRA = b"base layer bytes", b"application", b"x" * 41


async def test_copy_keeps_every_byte(tmp_path: Path) -> None:
    """A copied image has the source's manifest bytes and blobs, and its tag."""
    found, old, new = stores()
    manifest, blobs = image(BASE, APP)
    digest = old.seed("team/api", "1", manifest, blobs)
    receipts = await run(found, tmp_path, copy("team/api", "1", digest))
    assert receipts[f"{NEW}/team/api:1"].outcome is Outcome.APPLIED
    assert receipts[f"{NEW}/team/api:1"].moved == sum(len(data) for data in blobs.values())
    assert new.manifests["team/api", digest].raw == manifest.raw
    assert {key[1]: data for key, data in new.blobs.items()} == blobs
    assert new.tags["team/api", "1"] == digest


async def test_blobs_come_before_children_before_index_before_tag(tmp_path: Path) -> None:
    """A destination never sees a manifest whose parts are missing, and the tag comes last."""
    found, old, new = stores()
    one, one_blobs = image(BASE, APP)
    two, two_blobs = image(BASE, EXTRA)
    inner = index(two)
    top = index(one, inner)
    digest = old.seed("r", "t", top, one_blobs | two_blobs, one, two, inner)
    receipts = await run(found, tmp_path, copy("r", "t", digest))
    assert receipts[f"{NEW}/r:t"].error is None
    puts = [what for verb, _, what in new.log if verb == "put_manifest"]
    assert puts.index(two.digest) < puts.index(inner.digest) < puts.index("t")
    assert puts[-1] == "t"
    assert new.manifests["r", digest].raw == top.raw


async def test_shared_blob_travels_once_and_is_mounted_elsewhere(tmp_path: Path) -> None:
    """However many repositories share a layer, its bytes reach the destination once."""
    found, old, new = stores()
    changes = []
    for number in range(12):
        manifest, blobs = image(BASE, f"own {number // 2}".encode())
        digest = old.seed(f"r{number % 6}", f"t{number}", manifest, blobs)
        changes.append(copy(f"r{number % 6}", f"t{number}", digest))
    sink = Recorder()
    receipts = await run(found, tmp_path, *changes, sink=sink)
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.APPLIED}
    uploads = [what for verb, _, what in new.log if verb == "start_upload"]
    assert len(uploads) == len(set(uploads)) == 8
    assert sum(1 for verb, _, what in new.log if verb == "mount" and what == Digest.of(BASE)) == 5
    hows = [event.how for event in sink.events if isinstance(event, BlobFinished)]
    assert hows.count("uploaded") == 8
    assert "failed" not in hows


async def test_refused_mount_falls_back_to_its_own_session(tmp_path: Path) -> None:
    """A registry that mounts nothing gets the blob once per repository, without a new POST."""
    found, old, new = stores(refuses_mounts=True)
    manifest, blobs = image(BASE)
    changes = [copy(repo, "t", old.seed(repo, "t", manifest, blobs)) for repo in ("a", "b")]
    receipts = await run(found, tmp_path, *changes)
    assert all(receipt.outcome is Outcome.APPLIED for receipt in receipts.values())
    assert new.calls["mount"] == new.calls["start_upload"] == len(blobs)


async def test_source_on_the_same_store_is_mounted_without_a_byte(tmp_path: Path) -> None:
    """A copy within one registry moves nothing."""
    found, _, new = stores()
    manifest, blobs = image(BASE, APP)
    digest = new.seed("from", "t", manifest, blobs)
    receipts = await run(found, tmp_path, copy("from", "t", digest, to="to", source_host=NEW))
    assert receipts[f"{NEW}/to:t"].moved == 0
    assert new.calls["start_upload"] == new.calls["open_blob"] == 0


async def test_failing_image_does_not_stop_its_neighbours(tmp_path: Path) -> None:
    """One image's failure is its own receipt; all others are done."""
    found, old, new = stores()
    good, good_blobs = image(BASE, APP)
    bad, bad_blobs = image(BASE, EXTRA)
    old.seed("r", "bad", bad, bad_blobs)
    del old.blobs["r", Digest.of(EXTRA)]
    changes = [copy("r", "good", old.seed("r", "good", good, good_blobs))]
    changes.append(copy("r", "bad", bad.digest))
    receipts = await run(found, tmp_path, *changes)
    assert receipts[f"{NEW}/r:good"].outcome is Outcome.APPLIED
    failed = receipts[f"{NEW}/r:bad"]
    assert failed.outcome is Outcome.FAILED
    assert isinstance(failed.error, StoreError)
    assert failed.error.side == "source"
    assert ("r", "bad") not in new.tags


async def test_next_waiters_source_is_tried_when_one_fails(tmp_path: Path) -> None:
    """A source that lacks a shared blob does not fail the image whose own source has it."""
    found, old, new = stores()
    manifest, blobs = image(BASE)
    for repo in ("a", "b"):
        old.seed(repo, "t", manifest, blobs)
    del old.blobs["a", Digest.of(BASE)]
    changes = [copy(repo, "t", manifest.digest) for repo in ("a", "b")]
    receipts = await run(found, tmp_path, *changes)
    assert receipts[f"{NEW}/a:t"].outcome in (Outcome.APPLIED, Outcome.FAILED)
    assert receipts[f"{NEW}/b:t"].outcome is Outcome.APPLIED
    assert new.blobs["b", Digest.of(BASE)] == BASE


async def test_refusal_by_one_repository_says_nothing_about_another(tmp_path: Path) -> None:
    """A repository that may not be written fails alone, also for the blob it was to bring."""
    found, old, new = stores()
    manifest, blobs = image(BASE)
    changes = [copy(repo, "t", old.seed(repo, "t", manifest, blobs)) for repo in ("a", "b")]

    def refuse(repo: str, what: str) -> None:
        if repo == "a":
            raise AccessDenied(f"{NEW}/a", "denied (403)", status=403)

    new.hooks = {"start_upload": refuse, "mount": refuse, "put_manifest": refuse}
    receipts = await run(found, tmp_path, *changes)
    assert receipts[f"{NEW}/a:t"].outcome is Outcome.FAILED
    assert receipts[f"{NEW}/b:t"].outcome is Outcome.APPLIED
    error = receipts[f"{NEW}/a:t"].error
    assert isinstance(error, AccessDenied)
    assert error.side == "destination"


async def test_broken_source_is_reopened_at_its_offset(tmp_path: Path) -> None:
    """A source that breaks midway continues into the same upload where it stopped."""
    found, old, new = stores()
    manifest, blobs = image(EXTRA)
    digest = old.seed("r", "t", manifest, blobs)
    fails_once = fail_times(1, broken)
    old.hooks["read"] = lambda repo, what: fails_once(repo, what) if what.endswith("+20") else None
    receipts = await run(found, tmp_path, copy("r", "t", digest))
    assert receipts[f"{NEW}/r:t"].outcome is Outcome.APPLIED
    opened = [what for verb, _, what in old.log if verb == "open_blob" and Digest.of(EXTRA) in what]
    assert opened == [f"{Digest.of(EXTRA)}+0", f"{Digest.of(EXTRA)}+20"]
    assert new.calls["start_upload"] == len(blobs)
    assert new.blobs["r", Digest.of(EXTRA)] == EXTRA


async def test_broken_destination_gets_a_new_session_after_a_head(tmp_path: Path) -> None:
    """An upload that breaks is looked for, then sent again from the start."""
    found, old, new = stores()
    manifest, blobs = image(EXTRA)
    digest = old.seed("r", "t", manifest, blobs)
    new.hooks["commit"] = fail_times(1, broken)
    receipts = await run(found, tmp_path, copy("r", "t", digest))
    assert receipts[f"{NEW}/r:t"].outcome is Outcome.APPLIED
    assert receipts[f"{NEW}/r:t"].moved == sum(len(data) for data in blobs.values())
    assert new.aborted == len(blobs)
    verbs = [verb for verb, _, what in new.log if what == Digest.of(EXTRA)]
    assert verbs == [
        "start_upload", "write", "commit", "blob_exists", "start_upload", "write", "commit",
    ]  # fmt: skip


@pytest.mark.parametrize("served", [EXTRA + b"more", EXTRA[:-1], b"y" * len(EXTRA)])
async def test_wrong_blob_is_never_committed(tmp_path: Path, served: bytes) -> None:
    """Bytes that are too many, too few or other than the digest says end before the commit."""
    found, old, new = stores(piece=8)
    manifest, blobs = image(EXTRA)
    digest = old.seed("r", "t", manifest, blobs)
    old.blobs["r", Digest.of(EXTRA)] = served
    receipts = await run(found, tmp_path, copy("r", "t", digest))
    failed = receipts[f"{NEW}/r:t"]
    assert failed.outcome is Outcome.FAILED
    assert isinstance(failed.error, StoreError)
    assert failed.error.side == "source"
    assert ("commit", "r", Digest.of(EXTRA)) not in new.log
    assert ("r", Digest.of(EXTRA)) not in new.blobs
    assert ("r", "t") not in new.tags


async def test_sparse_source_index_names_the_child(tmp_path: Path) -> None:
    """An index whose child the source lacks fails with the child's digest."""
    found, old, new = stores()
    child, blobs = image(BASE)
    digest = old.seed("r", "t", index(child), blobs)
    receipts = await run(found, tmp_path, copy("r", "t", digest))
    assert receipts[f"{NEW}/r:t"].outcome is Outcome.FAILED
    error = str(receipts[f"{NEW}/r:t"].error)
    assert child.digest in error
    assert "the source's index lists it" in error
    assert new.tags == {}


async def test_blob_listed_by_an_index_is_copied_as_a_blob(tmp_path: Path) -> None:
    """An index entry that is no manifest, as in BuildKit caches, travels as a blob."""
    found, old, new = stores()
    child, blobs = image(BASE)
    entry = {
        "mediaType": "application/vnd.buildkit.cacheconfig.v0",
        "digest": Digest.of(APP),
        "size": len(APP),
    }
    top = index(child)
    document = {**top.document, "manifests": [*top.document["manifests"], entry]}
    top = Manifest.parse(json.dumps(document).encode())
    digest = old.seed("r", "t", top, {**blobs, Digest.of(APP): APP}, child)
    receipts = await run(found, tmp_path, copy("r", "t", digest))
    assert receipts[f"{NEW}/r:t"].error is None
    assert new.blobs["r", Digest.of(APP)] == APP


async def test_destination_that_lies_about_a_child_is_healed_once(tmp_path: Path) -> None:
    """A child that HEAD reports but the index write misses is sent again, then all is well."""
    found, old, new = stores()
    child, blobs = image(BASE)
    top = index(child)
    digest = old.seed("r", "t", top, blobs, child)
    new.manifests["r", child.digest] = child  # claimed, as after an interrupted garbage collection

    def lose(repo: str, ref: str) -> None:
        if ref == "t" and ("r", Digest.of(BASE)) not in new.blobs:
            new.manifests.pop(("r", child.digest), None)

    new.hooks["put_manifest"] = lose
    receipts = await run(found, tmp_path, copy("r", "t", digest))
    assert receipts[f"{NEW}/r:t"].outcome is Outcome.APPLIED
    assert new.blobs["r", Digest.of(BASE)] == BASE


async def test_manifest_with_other_bytes_than_its_digest_fails(tmp_path: Path) -> None:
    """An index that gives its child a wrong size is refused before the child is written."""
    found, old, new = stores()
    child, blobs = image(BASE)
    top = index(child)
    document = {**top.document}
    document["manifests"] = [{**document["manifests"][0], "size": 3}]
    top = Manifest.parse(json.dumps(document).encode())
    digest = old.seed("r", "t", top, blobs, child)
    receipts = await run(found, tmp_path, copy("r", "t", digest))
    assert isinstance(receipts[f"{NEW}/r:t"].error, IntegrityError)
    assert new.calls["put_manifest"] == 0


async def test_no_more_images_are_open_than_asked(tmp_path: Path) -> None:
    """At most `parallelism` images are worked on at once, and streams keep to their budget."""
    found, old, new = stores(streams=2)
    open_uploads, most = 0, 0

    def begin(repo: str, what: str) -> None:
        nonlocal open_uploads, most
        open_uploads += 1
        most = max(most, open_uploads)

    def end(repo: str, what: str) -> None:
        nonlocal open_uploads
        open_uploads -= 1

    new.hooks = {"start_upload": begin, "commit": end}
    changes = []
    for number in range(10):
        manifest, blobs = image(f"layer {number}".encode())
        changes.append(copy("r", f"t{number}", old.seed("r", f"t{number}", manifest, blobs)))
    receipts = await run(found, tmp_path, *changes, parallelism=5)
    assert all(receipt.outcome is Outcome.APPLIED for receipt in receipts.values())
    assert most == 2


async def test_one_stream_on_one_host_cannot_deadlock(tmp_path: Path) -> None:
    """Reads and writes of one host with one stream each finish: slots are taken in one order."""
    found, _, new = stores(streams=1, refuses_mounts=True)
    changes = []
    for number in range(8):
        manifest, blobs = image(f"layer {number}".encode(), BASE)
        digest = new.seed(f"from{number}", "t", manifest, blobs)
        changes.append(copy(f"from{number}", "t", digest, to=f"to{7 - number}", source_host=NEW))
    receipts = await run(found, tmp_path, *changes)
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.APPLIED}


@pytest.mark.parametrize(
    ("is_narrow", "order"), [(False, (500, 300, 50, 5)), (True, (5, 50, 300, 500))]
)
async def test_largest_images_are_opened_first(
    tmp_path: Path, is_narrow: bool, order: tuple[int, ...]
) -> None:
    """No large one is left alone at the end; but where the line is the limit, the smallest go."""
    found, old, new = stores()
    new.budget.gate.is_narrow = is_narrow
    changes = []
    for number, size in enumerate((5, 500, 50, 300)):
        manifest, blobs = image(f"layer {number}".encode())
        digest = old.seed("r", f"t{size}", manifest, blobs)
        changes.append(copy("r", f"t{size}", digest, size=size))
    receipts = await run(found, tmp_path, *changes, parallelism=1)
    assert list(receipts) == [f"{NEW}/r:t{size}" for size in order]


@pytest.mark.parametrize(
    ("parallelism", "order"), [(1, "abcdef"), (2, "fabcde"), (4, "feabcd"), (50, "feabcd")]
)
def test_few_of_the_smallest_go_ahead(parallelism: int, order: str) -> None:
    """Nobody knows yet what the line is: at most two, and half of what is opened."""
    digest = Digest.of(b"")
    changes = [copy("r", tag, digest, size=100 - number) for number, tag in enumerate("abcdef")]
    queue, found = Queue(changes, parallelism, lambda _: False), ""
    while queue:
        (change,) = queue.next()
        found += str(change.address.tag)
    assert found == order


def test_line_that_is_found_narrow_changes_the_order_at_once() -> None:
    """And back; each image is opened once, and of equals the first goes first."""
    digest, answers = Digest.of(b""), iter([False, True, True, False])
    sizes = {"a": 9, "b": 1, "c": 1, "d": 7}
    changes = [copy("r", tag, digest, size=size) for tag, size in sizes.items()]
    queue, found = Queue(changes, 1, lambda _: next(answers)), ""
    while queue:
        (change,) = queue.next()
        found += str(change.address.tag)
    assert found == "abcd"


def _goes_to(path: str, change: Change) -> bool:
    return change.address.repository.path == path


def test_what_would_only_wait_is_passed_by_in_both_orders() -> None:
    """Neither the largest nor the smallest image of a registry that is down goes first."""
    digest = Digest.of(b"")
    sizes = {"a": 9, "b": 1, "c": 8, "d": 2, "e": 7}
    changes = [copy("r", tag, digest, size=size) for tag, size in sizes.items()]
    down = {"a", "b"}

    def needs(change: Change) -> frozenset[str]:
        return frozenset({"down" if change.address.tag in down else "up"})

    for narrow, order in (("", "dceab"), ("r", "decab")):
        is_narrow = partial(_goes_to, narrow)
        queue, found = Queue(changes, 2, is_narrow, needs, "down".__eq__), ""
        while queue:
            (change,) = queue.next()
            found += str(change.address.tag)
        assert found == order


async def test_leaving_the_block_cancels_and_awaits_everything(tmp_path: Path) -> None:
    """Whoever leaves early finds no task running and every open upload aborted."""
    found, old, new = stores()
    manifest, blobs = image(BASE)
    digest = old.seed("r", "t", manifest, blobs)
    never = asyncio.Event()
    begun = asyncio.Event()

    async def hang(repo: str, what: str) -> None:
        begun.set()
        await never.wait()

    new.hooks["write"] = hang
    engine = make_engine(found, tmp_path)
    async with engine.run([copy("r", "t", digest)]):
        await begun.wait()
    assert new.aborted == new.calls["start_upload"] > 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert new.tags == {}


async def test_an_error_inside_the_block_comes_out_as_itself(tmp_path: Path) -> None:
    """What the caller raises while taking receipts is not wrapped in a group."""
    found, old, _ = stores()
    manifest, blobs = image(BASE)
    digest = old.seed("r", "t", manifest, blobs)
    engine = make_engine(found, tmp_path)

    async def take_one_and_fail() -> None:
        async with engine.run([copy("r", "t", digest)]) as receipts:
            async for receipt in receipts:
                raise KeyError(str(receipt.address))

    with pytest.raises(KeyError, match="r:t"):
        await take_one_and_fail()


async def test_cancelled_image_leaves_its_neighbours_blob_in_the_air(tmp_path: Path) -> None:
    """A flight belongs to the run: the image that asked first may go without it."""
    found, old, new = stores()
    manifest, blobs = image(BASE)
    other, other_blobs = image(BASE, APP)
    old.seed("a", "t", manifest, blobs)
    old.seed("b", "t", other, other_blobs)
    del old.blobs["a", Digest.of(b"{}")]  # image a fails while the shared layer is under way
    receipts = await run(
        found, tmp_path, copy("a", "t", manifest.digest), copy("b", "t", other.digest)
    )
    assert receipts[f"{NEW}/b:t"].outcome is Outcome.APPLIED
    assert new.calls["start_upload"] <= 4
