"""What refers to an image arrives before its tag, beside whatever others have put there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import PlanRefused, Rejected, TransientError
from imgmigrate.events import Outcome
from imgmigrate.oci.companions import fallback_tag
from imgmigrate.oci.manifest import OCI_INDEX, OCI_MANIFEST
from imgmigrate.oci.reference import Digest
from imgmigrate.plan import Action
from tests.applying.signed import API, REPO, errors, listed, sign
from tests.fakes.memory import image, index
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The old registry has the API, the new one has not."""
    world = World(tmp_path)
    world.old.has_referrers = True
    return world


async def test_the_tag_comes_last(world: World) -> None:
    """Whoever pulls by it, and asks for a signature, finds one: subject, referrer, list, tag."""
    digest = world.seed("1")
    found = sign(world, digest)
    await world.migrate()
    written = [what for verb, _, what in world.new.log if verb == "put_manifest"]
    assert written == [digest, found.digest, fallback_tag(digest), "1"]
    assert world.new.manifests[REPO, found.digest].raw == found.raw


async def test_another_writer_of_a_list_loses_nothing(world: World) -> None:
    """What somebody adds between our read and our write stays, and so does ours."""
    digest = world.seed("1")
    ours, theirs = sign(world, digest, "ours"), image(b"theirs")[0]
    world.new.manifests[REPO, theirs.digest] = theirs
    puts = 0

    def overwrite(_: str, what: str) -> None:
        nonlocal puts
        if what == fallback_tag(digest):
            puts += 1

    def read(_: str, what: str) -> None:
        # They had read what was there before us, and write just behind us.
        if what == fallback_tag(digest) and puts == 1:
            world.new.seed(REPO, what, index(theirs), {})

    world.new.hooks |= {"put_manifest": overwrite, "manifest": read}
    await world.migrate()
    assert listed(world, digest) == [theirs.digest, ours.digest]


REQUIRING = f"- {{source: {OLD}/{REPO}, destination: {API}, referrers: {{required: [signature]}}}}"


class TestInTheWay:
    """What somebody else has under the tag of a list is not overwritten."""

    @pytest.fixture
    def digest(self, world: World) -> Digest:
        """A signed image, whose list has no place."""
        digest = world.seed("1")
        sign(world, digest)
        other, blobs = image(b"other")
        world.new.seed(REPO, fallback_tag(digest), other, blobs)
        return digest

    async def test_the_image_goes_without(self, world: World, digest: Digest) -> None:
        """It is there and recorded; that its signature is not is told, and tried again."""
        there = world.new.tags[REPO, fallback_tag(digest)]
        plan = await world.plan()
        finished = await world.apply(plan)
        assert finished.counts == {Outcome.PARTLY: 1}
        assert "the companion tag shows" in errors(finished)
        assert world.new.tags[REPO, "1"] == digest
        assert world.new.tags[REPO, fallback_tag(digest)] == there
        record = world.state.records[f"{API}:1"]
        assert (record.digest, record.referrers_pending) == (digest, True)
        assert rows(await world.plan()) == {f"{API}:1": ("refer", "new_referrers")}
        assert (await world.apply(plan)).counts == {Outcome.PARTLY: 1}
        del world.new.tags[REPO, fallback_tag(digest)]
        assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
        assert listed(world, digest)
        assert (await world.plan()).changes == ()

    async def test_what_is_required_holds_the_image(self, world: World, digest: Digest) -> None:
        """Then there is no image without its signature."""
        world.rules = REQUIRING
        finished = await world.migrate()
        assert finished.counts == {Outcome.CONFLICT: 1}
        assert (REPO, "1") not in world.new.tags
        assert digest not in world.state.records


@pytest.mark.parametrize("requires", [False, True])
async def test_a_refused_signature_stops_its_image_only_where_it_is_required(
    world: World, requires: bool
) -> None:
    """Some registries take no type that they do not know."""
    found = sign(world, world.seed("1"))

    def refuse(_: str, what: str) -> None:
        if what == found.digest:
            raise Rejected(f"{NEW}/{REPO}@{what}", "MANIFEST_INVALID: unknown type")

    world.new.hooks["put_manifest"] = refuse
    world.rules = REQUIRING if requires else world.rules
    finished = await world.migrate()
    assert finished.counts == {Outcome.FAILED if requires else Outcome.PARTLY: 1}
    assert "unknown type" in errors(finished)
    assert ((REPO, "1") in world.new.tags) is not requires


async def test_a_registry_that_is_down_meanwhile_fails_the_row(world: World) -> None:
    """What may pass is no reason to go without a signature."""
    found = sign(world, world.seed("1"))

    def fail(_: str, what: str) -> None:
        if what == found.digest:
            raise TransientError(f"{NEW}/{REPO}@{what}", "unavailable (503)")

    world.new.hooks["put_manifest"] = fail
    assert (await world.migrate()).counts == {Outcome.FAILED: 1}
    assert (REPO, "1") not in world.new.tags


async def test_a_move_takes_them_along(world: World) -> None:
    """From where they were brought to: the source is not asked."""
    digest = world.seed("1")
    found = sign(world, digest)
    await world.migrate()
    new = f"{NEW}/team/moved"
    world.rules = f"- {{source: {OLD}/{REPO}, destination: {new}}}"
    world.extra = f"moved: [{{from: {API}, to: {new}}}]"
    world.old.calls.clear()
    plan = await world.plan()
    [change] = [each for each in plan.changes if each.action is Action.MOVE]
    assert [each.digest for each in change.referrers or ()] == [found.digest]
    await world.apply(plan)
    assert ("team/moved", found.digest) in world.new.manifests
    assert world.state.records[f"{new}:1"].referrers == change.referrers
    assert world.old.calls["referrers"] == 0


async def test_a_move_takes_along_only_what_is_recorded(world: World) -> None:
    """A plan's file decides nothing."""
    sign(world, world.seed("1"))
    await world.migrate()
    world.rules = f"- {{source: {OLD}/{REPO}, destination: {NEW}/team/moved}}"
    world.extra = f"moved: [{{from: {API}, to: {NEW}/team/moved}}]"
    plan = await world.plan()
    changes = [
        each.model_copy(
            update={"referrers": (replace(each.referrers[0], digest=Digest.of(b"another")),)}
        )
        if each.referrers
        else each
        for each in plan.changes
    ]
    with pytest.raises(PlanRefused, match="takes along"):
        await world.apply(type(plan).of(plan.header, changes))


async def test_an_adopted_image_gets_them_by_the_next_plan(world: World) -> None:
    """An adoption writes nothing, and what is not there is not forgotten."""
    digest = world.seed("1")
    found = sign(world, digest)
    manifest = world.old.manifests[REPO, digest]
    blobs = {blob: data for (_, blob), data in world.old.blobs.items()}
    world.new.seed(REPO, "1", manifest, blobs)
    plan = await world.plan()
    assert rows(plan) == {f"{API}:1": ("adopt", "already_there")}
    assert plan.changes[0].referrers_later == ("signature",)
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    assert (REPO, found.digest) not in world.new.manifests
    await world.migrate()
    assert listed(world, digest) == [found.digest]
    assert (await world.plan()).changes == ()


async def test_a_registry_that_takes_the_tag_for_the_digest_gets_its_list(world: World) -> None:
    """GitLab gives the image itself under a tag that it does not list (protocol 3.5)."""
    digest = world.seed("1")
    found = sign(world, digest)
    tag = fallback_tag(digest)
    world.new.tags[REPO, tag] = digest
    world.new.unlisted.add((REPO, tag))
    await world.migrate()
    assert listed(world, digest) == [found.digest]


async def test_a_list_that_changes_for_ever_fails_its_row(world: World) -> None:
    """Nobody waits for a registry without end; the image is tried again by the next apply."""
    digest = world.seed("1")
    sign(world, digest)

    def forget(_: str, what: str) -> None:
        if what == fallback_tag(digest):
            world.new.tags.pop((REPO, what), None)

    world.new.hooks["manifest"] = forget
    plan = await world.plan()
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.FAILED: 1}
    assert "keep changing the list of referrers" in errors(finished)
    world.new.hooks.clear()
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}


async def test_a_source_that_gives_something_else_is_not_believed(world: World) -> None:
    """Between plan and apply the manifest was replaced by one about another image."""
    digest = world.seed("1")
    found = sign(world, digest)
    plan = await world.plan()
    [change] = plan.changes
    [each] = change.referrers or ()
    other = sign(world, Digest.of(b"other"))
    forged = change.model_copy(
        update={
            "referrers": (
                type(each)(
                    refers_to=digest,
                    digest=other.digest,
                    media_type=OCI_MANIFEST,
                    size=len(other.raw),
                    kind="signature",
                ),
            )
        }
    )
    finished = await world.apply(type(plan).of(plan.header, [forged]))
    assert finished.counts == {Outcome.PARTLY: 1}
    assert "it is no signature of" in errors(finished)
    assert (REPO, other.digest) not in world.new.manifests
    assert found.digest != other.digest


async def test_an_api_at_the_destination_needs_no_list(world: World) -> None:
    """And a list of the source is not copied as a tag."""
    world.new.has_referrers, world.old.has_referrers = True, False
    digest = world.seed("1")
    found = sign(world, digest)
    world.old.seed(REPO, fallback_tag(digest), index(found), {})
    await world.migrate()
    assert (REPO, found.digest) in world.new.manifests
    assert {tag for _, tag in world.new.tags} == {"1"}


async def test_rollback_and_delete_leave_them(world: World) -> None:
    """A run that only brought signatures has nothing to undo; a delete takes the image's tag."""
    digest = world.seed("1")
    await world.migrate()
    sign(world, digest)
    finished = await world.apply(await world.plan(refresh_referrers=True))
    assert finished.counts == {Outcome.APPLIED: 1}
    assert (await world.rollback(finished.run, allow_delete=True)).changes == ()
    world.new.deletes_tags = True
    world.seed("2")
    await world.migrate()
    world.rules = world.rules.replace("}", ", tags: ['2']}")
    plan = await world.plan(allow_delete=True)
    assert rows(plan) == {f"{API}:1": ("delete", "deselected")}
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    assert {tag for _, tag in world.new.tags} == {"2", fallback_tag(digest)}


async def test_a_list_keeps_its_type(world: World) -> None:
    """Readers take nothing else for a list."""
    digest = world.seed("1")
    sign(world, digest)
    await world.migrate()
    made = world.new.manifests[REPO, world.new.tags[REPO, fallback_tag(digest)]]
    assert made.media_type == OCI_INDEX
