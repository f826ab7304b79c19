"""An image that is there without all that refers to it: what is told, kept, and tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.applying.worker import referring
from imgmigrate.errors import Rejected, TransientError
from imgmigrate.events import Outcome
from imgmigrate.oci import referrers
from imgmigrate.oci.companions import fallback_tag
from tests.applying.signed import API, NOTATION, REPO, SPDX, cosign, errors, listed, sign
from tests.fakes.memory import image, index
from tests.support.world import NEW, OLD, World

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.oci.reference import Digest

REQUIRING = f"- {{source: {OLD}/{REPO}, destination: {API}, referrers: {{required: [signature]}}}}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The old registry has the API, the new one has not."""
    world = World(tmp_path)
    world.old.has_referrers = True
    return world


async def test_an_update_that_ended_partly_is_tried_again(world: World) -> None:
    """Only what refers to it: what the image replaced is as the first run recorded it."""
    former = world.seed("1")
    await world.migrate()
    digest = world.seed("1", b"new")
    tag, signature = cosign(world, digest)
    in_the_way, blobs = image(b"other")
    world.new.seed(REPO, tag, in_the_way, blobs)
    plan = await world.plan()
    assert (await world.apply(plan)).counts == {Outcome.PARTLY: 1}
    assert (await world.apply(plan)).counts == {Outcome.PARTLY: 1}
    assert (await world.migrate()).counts == {Outcome.PARTLY: 1}
    del world.new.tags[REPO, tag]
    finished = await world.apply(plan)
    assert finished.unfinished == ()
    record = world.state.records[f"{API}:1"]
    assert (record.digest, record.previous) == (digest, former)
    finished = await world.migrate()
    assert finished.unfinished == ()
    assert world.new.tags[REPO, tag] == signature
    assert (await world.plan()).changes == ()


async def test_the_same_plan_can_still_be_rolled_back(world: World) -> None:
    """What was tried again is a part of the row that it was left of."""
    former = world.seed("1")
    await world.migrate()
    tag, _ = cosign(world, world.seed("1", b"new"))
    in_the_way, blobs = image(b"other")
    world.new.seed(REPO, tag, in_the_way, blobs)
    plan = await world.plan()
    await world.apply(plan)
    del world.new.tags[REPO, tag]
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    [back] = (await world.rollback(plan.plan_id)).changes
    assert back.after == former


async def test_what_nobody_could_look_for_is_not_done_again(world: World) -> None:
    """The plan knows no more than it did: the row is done, and a later plan asks."""
    world.seed("1")
    await world.migrate()
    world.seed("1", b"new")
    plan = await world.plan()
    [change] = plan.changes
    unread = change.model_copy(update={"referrers": None, "referrers_unread": "denied (403)"})
    plan = type(plan).of(plan.header, [unread])
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    assert (await world.apply(plan)).counts == {Outcome.ALREADY: 1}
    assert world.state.records[f"{API}:1"].referrers_pending


def refuse(world: World, *refused: Digest) -> None:
    """Have the new registry take none of these manifests."""

    def answer(_: str, what: str) -> None:
        if what in refused:
            raise Rejected(f"{NEW}/{REPO}@{what}", "MANIFEST_INVALID: unknown type")

    world.new.hooks["put_manifest"] = answer


def recorded(world: World) -> set[Digest]:
    """What the state says went along."""
    return {each.digest for each in world.state.records[f"{API}:1"].referrers or ()}


class TestOneOfMany:
    """Each referrer is brought on its own."""

    @pytest.fixture
    def digest(self, world: World) -> Digest:
        """An image at the old registry."""
        return world.seed("1")

    async def test_a_refused_one_costs_no_other_its_place(
        self, world: World, digest: Digest
    ) -> None:
        """Whichever comes first: what could be brought is listed, and recorded; the rest waits."""
        bad, good = sign(world, digest, kind=SPDX), sign(world, digest)
        tag, cosigned = cosign(world, digest)
        refuse(world, bad.digest)
        finished = await world.migrate()
        assert finished.counts == {Outcome.PARTLY: 1}
        assert "unknown type" in errors(finished)
        assert listed(world, digest) == [good.digest]
        assert world.new.tags[REPO, tag] == cosigned
        assert recorded(world) == {good.digest, cosigned}
        world.new.hooks.clear()
        await world.migrate()
        assert recorded(world) == {good.digest, cosigned, bad.digest}
        assert (await world.plan()).changes == ()

    @pytest.mark.parametrize("refused", [SPDX, NOTATION])
    async def test_only_what_is_required_holds_the_image(
        self, world: World, digest: Digest, refused: str
    ) -> None:
        """An SBOM that nobody requires is no reason to stay behind."""
        world.rules = REQUIRING
        found = {kind: sign(world, digest, kind=kind) for kind in (SPDX, NOTATION)}
        refuse(world, found[refused].digest)
        plan = await world.plan()
        [change] = plan.changes
        assert (change.needs_referrers, change.needed_kinds) == (True, ("signature",))
        finished = await world.apply(plan)
        is_held = refused == NOTATION
        assert finished.counts == {Outcome.FAILED if is_held else Outcome.PARTLY: 1}
        assert ((REPO, "1") in world.new.tags) is not is_held

    async def test_a_tag_that_is_not_ours_never_becomes_so(
        self, world: World, digest: Digest
    ) -> None:
        """What was not written is not recorded, also if it is the very same by chance later."""
        tag, _ = cosign(world, digest)
        theirs, blobs = image(b"theirs")
        world.new.seed(REPO, tag, theirs, blobs)
        assert (await world.migrate()).counts == {Outcome.PARTLY: 1}
        assert recorded(world) == set()
        cosign(world, digest, b"signed again")
        world.new.tags[REPO, tag] = theirs.digest
        assert (await world.migrate()).counts == {Outcome.PARTLY: 1}
        assert world.new.tags[REPO, tag] == theirs.digest

    async def test_what_went_along_stays_recorded(self, world: World, digest: Digest) -> None:
        """It is at the destination, whatever the source lists by now."""
        first = sign(world, digest, "first")
        await world.migrate()
        del world.old.manifests[REPO, first.digest]
        second = sign(world, digest, "second")
        await world.apply(await world.plan(refresh_referrers=True))
        assert recorded(world) == {first.digest, second.digest}


class TestLists:
    """What the list of a destination cannot take is no unexpected failure."""

    @pytest.fixture
    def digest(self, world: World) -> Digest:
        """A signed image."""
        digest = world.seed("1")
        sign(world, digest)
        return digest

    async def test_an_api_that_fails_stops_no_image(
        self, world: World, digest: Digest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The manifests are there; each plan asks whether they are found, until that is known."""

        async def fail(*_: object) -> bool:
            raise TransientError(NEW, "internal error (500)")

        with monkeypatch.context() as patch:
            patch.setattr(world.new, "lists_referrers", fail)
            finished = await world.migrate()
        assert finished.counts == {Outcome.PARTLY: 1}
        assert world.new.tags[REPO, "1"] == digest
        assert world.state.records[f"{API}:1"].referrers_pending
        await world.migrate()
        assert len(listed(world, digest)) == 1

    async def test_a_full_list_is_told(
        self, world: World, digest: Digest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Somebody filled it: the image goes, and the cause says why nothing is listed."""
        monkeypatch.setattr("imgmigrate.oci.manifest.MOST_ENTRIES", 2)
        others = [image(data)[0] for data in (b"a", b"b")]
        world.new.seed(REPO, fallback_tag(digest), index(*others), {}, *others)
        finished = await world.migrate()
        assert finished.counts == {Outcome.PARTLY: 1}
        assert "the list of referrers is full" in errors(finished)

    async def test_long_annotations_stay_out_of_the_list(
        self, world: World, digest: Digest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They are in the manifest; nobody fills a list with them."""
        monkeypatch.setattr(referrers, "LONGEST_ANNOTATIONS", 20)
        long = sign(world, digest, "a text that is longer than twenty characters")
        await world.migrate()
        tag = world.new.tags[REPO, fallback_tag(digest)]
        entries = world.new.manifests[REPO, tag].document["manifests"]
        told = {entry["digest"]: "annotations" in entry for entry in entries}
        assert told.pop(long.digest) is False
        assert list(told.values()) == [True]

    async def test_an_entry_that_is_gone_does_not_block_the_list(
        self, world: World, digest: Digest
    ) -> None:
        """A registry that checks what a list names refuses it for what was deleted there."""
        gone, there = image(b"gone")[0], image(b"there")[0]
        world.new.seed(REPO, fallback_tag(digest), index(gone, there), {}, there)
        finished = await world.migrate()
        assert finished.counts == {Outcome.APPLIED: 1}
        assert listed(world, digest)[0] == there.digest
        assert len(listed(world, digest)) == 2

    async def test_a_huge_manifest_is_not_read(
        self, world: World, digest: Digest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A thousand of them would fill the memory of whoever brings them."""
        huge = sign(world, digest, "x" * 400)
        monkeypatch.setattr(referring, "LARGEST_REFERRER", len(huge.raw) - 1)
        finished = await world.migrate()
        assert finished.counts == {Outcome.PARTLY: 1}
        assert "the limit of a referrer" in errors(finished)
        assert len(listed(world, digest)) == 1
        assert (REPO, huge.digest) not in world.new.manifests


async def test_a_signature_of_another_source_is_not_replaced(world: World) -> None:
    """Two repositories have the same image, and go to one: each has a signature of its own."""
    world.rules += f"\n- {{source: {OLD}/team/other, destination: {API}, tags: ['2']}}"
    digest = world.seed("1")
    assert world.seed("2", b"1", repo="team/other") == digest
    tag = f"{fallback_tag(digest)}.sig"
    manifest, blobs = image(b"sig of the other")
    world.old.seed("team/other", tag, manifest, blobs)
    assert (await world.migrate()).unfinished == ()
    cosign(world, digest, b"a late one")
    finished = await world.migrate()
    assert finished.counts == {Outcome.PARTLY: 1}
    assert world.new.tags[REPO, tag] == manifest.digest


async def test_what_a_run_wrote_that_was_cut_off_is_ours(world: World) -> None:
    """A signature is there before its image: if the run ends between, the next may replace it."""
    digest = world.seed("1")
    tag, first = cosign(world, digest, b"first")

    def fail(_: str, what: str) -> None:
        if what == "1":
            raise TransientError(f"{NEW}/{REPO}:1", "gone away")

    world.new.hooks["put_manifest"] = fail
    assert (await world.migrate()).counts == {Outcome.FAILED: 1}
    assert world.new.tags[REPO, tag] == first
    world.new.hooks.clear()
    _, second = cosign(world, digest, b"second")
    assert (await world.migrate()).counts == {Outcome.APPLIED: 1}
    assert world.new.tags[REPO, tag] == second
    assert world.state.companions == {}


async def test_what_was_written_for_a_former_image_stays_ours(world: World) -> None:
    """An image's tag went on, its signature stayed; when it comes back it is replaced by a new one.

    So it is of an image whose tag was deleted, or let go.
    """
    tag, _ = cosign(world, world.seed("1"), b"first")
    await world.migrate()
    cosign(world, world.seed("1", b"another"), b"of another")
    await world.migrate()
    _, again = cosign(world, world.seed("1"), b"second")
    assert (await world.migrate()).unfinished == ()
    assert world.new.tags[REPO, tag] == again
    world.new.deletes_tags = True
    rules, world.rules = world.rules, world.rules.replace("}", ", tags: ['2']}")
    world.seed("2")
    assert (await world.apply(await world.plan(allow_delete=True))).unfinished == ()
    assert (REPO, "1") not in world.new.tags
    _, last = cosign(world, world.seed("1"), b"third")
    world.rules = rules
    assert (await world.migrate()).unfinished == ()
    assert world.new.tags[REPO, tag] == last


async def test_a_delete_says_what_lacks_at_the_new_place(world: World) -> None:
    """An image that has moved without its signature is not deleted at its old place."""
    digest = world.seed("1")
    sign(world, digest)
    await world.migrate()
    new = f"{NEW}/team/moved"
    in_the_way, blobs = image(b"other")
    world.new.seed("team/moved", fallback_tag(digest), in_the_way, blobs)
    world.new.deletes_tags = True
    world.rules = f"- {{source: {OLD}/{REPO}, destination: {new}}}"
    world.extra = f"moved: [{{from: {API}, to: {new}}}]"
    finished = await world.apply(await world.plan(allow_delete=True))
    assert finished.counts == {Outcome.PARTLY: 1, Outcome.FAILED: 1}
    assert f"not deleted: at {new}:1 not all is there that refers to it" in errors(finished)
    assert world.new.tags[REPO, "1"] == digest
