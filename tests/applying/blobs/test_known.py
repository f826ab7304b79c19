"""What is known already: which blobs the engine neither asks for nor sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Outcome
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.cache import ManifestCache
from tests.applying.support import NEW, OLD, copy, make_engine, recorded, run, stores
from tests.fakes.memory import broken, image, index
from tests.support.world import World

if TYPE_CHECKING:
    from pathlib import Path

BASE, APP, EXTRA = b"base layer bytes", b"application", b"x" * 41


async def test_new_repository_is_asked_once_and_no_blob_is_looked_for(tmp_path: Path) -> None:
    """One listing that says "nothing here" spares a HEAD for every blob."""
    found, old, new = stores()
    changes = []
    for number in range(5):
        manifest, blobs = image(BASE, f"own {number}".encode())
        changes.append(
            copy("r", f"t{number}", old.seed("r", f"t{number}", manifest, blobs), size=9)
        )
    receipts = await run(found, tmp_path, *changes)
    assert {receipt.outcome for receipt in receipts.values()} == {Outcome.APPLIED}
    assert new.calls["list_tags"] == 1
    assert new.calls["blob_exists"] == 0
    assert (new.calls["head"], new.calls["manifest"]) == (0, 5)


async def test_repository_with_images_is_asked_for_each_blob(tmp_path: Path) -> None:
    """Where something is and the state knows nothing, blobs that are there are not sent."""
    found, old, new = stores()
    manifest, blobs = image(BASE, APP)
    digest = old.seed("r", "t", manifest, blobs)
    there, there_blobs = image(BASE)
    new.seed("r", "other", there, there_blobs)
    receipts = await run(found, tmp_path, copy("r", "t", digest))
    assert receipts[f"{NEW}/r:t"].moved == len(APP)
    assert new.calls["blob_exists"] == 3


async def test_recorded_images_vouch_for_their_blobs(tmp_path: Path) -> None:
    """A blob of a recorded image, whose manifest is cached, is neither asked for nor sent."""
    found, old, new = stores()
    first, first_blobs = image(BASE)
    second, second_blobs = image(BASE, APP)
    new.seed("r", "one", first, first_blobs)
    digest = old.seed("r", "two", second, second_blobs)
    ManifestCache(tmp_path / "cache").put(first)
    engine = make_engine(found, tmp_path, state=recorded("r", "one", first.digest))
    async with engine.run([copy("r", "two", digest, size=9)]) as stream:
        (receipt,) = [each async for each in stream]
    assert (receipt.outcome, receipt.moved) == (Outcome.APPLIED, len(APP))
    assert new.calls["blob_exists"] == 1
    assert new.calls["list_tags"] == 0


async def test_blob_that_the_state_believed_in_is_sent_when_it_is_gone(tmp_path: Path) -> None:
    """A belief that the destination refutes costs one refused manifest, never the image."""
    found, old, new = stores()
    first, _ = image(BASE)
    second, second_blobs = image(BASE, APP)
    digest = old.seed("r", "two", second, second_blobs)
    ManifestCache(tmp_path / "cache").put(first)
    engine = make_engine(found, tmp_path, state=recorded("r", "one", first.digest))
    async with engine.run([copy("r", "two", digest)]) as stream:
        (receipt,) = [each async for each in stream]
    assert receipt.outcome is Outcome.APPLIED
    assert new.blobs["r", Digest.of(BASE)] == BASE


@pytest.mark.parametrize("needs_manifest", [False, True])
async def test_blob_of_an_earlier_run_is_mounted_from_where_it_is_recorded(
    tmp_path: Path, needs_manifest: bool
) -> None:
    """A new repository takes a base that another one of the store got in an earlier run."""
    found, old, new = stores()
    new.mounts_need_manifest = needs_manifest
    first, first_blobs = image(BASE)
    second, second_blobs = image(BASE, APP)
    new.seed("r", "one", first, first_blobs)
    digest = old.seed("other", "two", second, second_blobs)
    ManifestCache(tmp_path / "cache").put(first)
    engine = make_engine(found, tmp_path, state=recorded("r", "one", first.digest))
    async with engine.run([copy("other", "two", digest)]) as stream:
        (receipt,) = [each async for each in stream]
    assert (receipt.outcome, receipt.moved) == (Outcome.APPLIED, len(APP))
    assert ("mount", "other", Digest.of(BASE)) in new.log
    assert ("start_upload", "other", Digest.of(BASE)) not in new.log


async def test_image_that_is_recorded_elsewhere_in_its_store_is_not_sent_again(
    tmp_path: Path,
) -> None:
    """Also where it is not the newest there: all of it is mounted."""
    found, old, new = stores()
    first, first_blobs = image(BASE, APP)
    last, last_blobs = image(EXTRA)
    new.seed("r", "one", first, first_blobs)
    new.seed("r", "last", last, last_blobs)
    digest = old.seed("other", "two", first, first_blobs)
    ManifestCache(tmp_path / "cache").put(first)
    ManifestCache(tmp_path / "cache").put(last)
    engine = make_engine(
        found, tmp_path, state=recorded("r", "one", first.digest, last=last.digest)
    )
    async with engine.run([copy("other", "two", digest)]) as stream:
        (receipt,) = [each async for each in stream]
    assert (receipt.outcome, receipt.moved) == (Outcome.APPLIED, 0)
    assert new.calls["start_upload"] == 0


class TestBelief:
    """At a registry that checks no manifest, what is believed wrongly is missing for good."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        """Two images on one base, copied by an earlier run."""
        found = World(tmp_path)
        found.new.checks_parts = False
        for tag in "12":
            found.seed(tag, BASE, tag.encode())
        return found

    async def test_a_tag_that_was_seen_gone_makes_its_repository_doubtful(
        self, world: World
    ) -> None:
        """A registry that lost its storage gets every blob again."""
        await world.migrate()
        wipe(world)
        assert (await world.migrate()).counts == {Outcome.APPLIED: 2}
        assert_whole(world)

    @pytest.mark.parametrize("target", ["2", "3"])
    async def test_a_part_of_a_plan_knows_what_the_whole_saw_gone(
        self, world: World, target: str
    ) -> None:
        """Rows that wait for another apply tell of losses all the same."""
        await world.migrate()
        world.seed("3", BASE, b"3")
        del world.new.tags["team/api", "1"]
        del world.new.blobs["team/api", Digest.of(BASE)]
        world.new.tags.pop(("team/api", target), None)
        plan = await world.plan()
        rows = [change for change in plan.changes if change.address.tag == target]
        await world.apply(plan.only(rows, target=(target,), exclude=()))
        assert_whole(world, target)

    async def test_a_plan_that_looked_at_nothing_confirms_nothing(self, world: World) -> None:
        """With recorded images taken as recorded, the run asks before it believes."""
        await world.migrate()
        wipe(world)
        world.seed("3", BASE, b"3")
        plan = await world.plan(refresh=False)
        assert [change.address.tag for change in plan.changes] == ["3"]
        await world.apply(plan)
        assert_whole(world, "3")

    async def test_what_is_wiped_after_the_plan_is_noticed(self, world: World) -> None:
        """What a plan saw is not what is there."""
        await world.migrate()
        world.seed("3", BASE, b"3")
        plan = await world.plan()
        wipe(world)
        await world.apply(plan)
        assert_whole(world, "3")

    async def test_a_tag_that_others_overwrote_vouches_for_nothing(self, world: World) -> None:
        """What it showed may have been collected since."""
        world.stores.stores[OLD].tags.pop(("team/api", "2"))
        await world.migrate()
        world.new.seed("team/api", "1", *image(b"somebody else's"))
        world.new.blobs.pop(("team/api", Digest.of(BASE)))
        world.seed("3", BASE, b"3")
        await world.apply(await world.plan(refresh=False))
        assert_whole(world, "3")

    async def test_a_tag_that_is_gone_when_it_is_written_makes_the_rest_doubtful(
        self, world: World
    ) -> None:
        """An update that finds nothing is a conflict, and no other row relies on the repository."""
        await world.migrate()
        world.seed("2", BASE, b"2 anew")
        world.seed("3", BASE, b"3")
        plan = await world.plan()
        wipe(world)
        finished = await world.apply(plan, parallelism=1)
        assert finished.counts == {Outcome.APPLIED: 1, Outcome.CONFLICT: 1}
        assert_whole(world, "3")

    async def test_what_is_there_again_is_looked_at_in_full(self, world: World) -> None:
        """A tag that somebody restored without its blobs is no image yet."""
        await world.migrate()
        wipe(world)
        plan = await world.plan()
        for tag in "12":
            top, _ = image(BASE, tag.encode())
            world.new.seed("team/api", tag, top, {})
        assert (await world.apply(plan)).counts == {Outcome.ALREADY: 2}
        assert_whole(world)

    async def test_children_of_a_doubtful_repository_are_walked(self, world: World) -> None:
        """That a child is there says nothing about its blobs where something was lost."""
        child, blobs = image(BASE, b"child")
        world.old.seed("team/api", "all", index(child), blobs, child)
        await world.migrate()
        wipe(world)
        world.new.manifests["team/api", child.digest] = child
        await world.migrate()
        assert all(("team/api", digest) in world.new.blobs for digest in blobs)

    async def test_one_question_answers_for_all_blobs_of_an_image(self, world: World) -> None:
        """A witness is asked once a run, however many images rely on it."""
        await world.migrate()
        for tag in "345":
            world.seed(tag, BASE, tag.encode())
        plan = await world.plan()
        world.new.calls.clear()
        world.new.log.clear()
        await world.apply(plan)
        asked = [what for verb, _, what in world.new.log if verb == "head" and what in "12"]
        assert len(asked) == 1
        assert ("blob_exists", "team/api", Digest.of(BASE)) not in world.new.log

    async def test_a_witness_that_cannot_be_asked_is_none(self, world: World) -> None:
        """Then each blob is asked for."""
        await world.migrate()
        world.seed("3", BASE, b"3")
        plan = await world.plan()

        def refuse(_: str, what: str) -> None:
            if what in "12":
                raise broken()

        world.new.hooks["head"] = refuse
        await world.apply(plan)
        assert ("blob_exists", "team/api", Digest.of(BASE)) in world.new.log
        assert_whole(world, "3")


def wipe(world: World) -> None:
    """Lose the registry's storage."""
    world.new.blobs.clear()
    world.new.manifests.clear()
    world.new.tags.clear()


def assert_whole(world: World, *tags: str) -> None:
    """Check that the new registry has all that its images refer to."""
    for tag in tags or ("1", "2"):
        top = world.new.manifests["team/api", world.new.tags["team/api", tag]]
        for blob in top.blobs:
            assert ("team/api", blob.digest) in world.new.blobs, (tag, blob.digest)
