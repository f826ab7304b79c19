"""Carrying out deletes: one tag goes, and nothing but that tag, whatever fails midway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.applying.worker.delete_tag import placeholder
from imgmigrate.errors import AccessDenied, OutOfReach, Rejected, TransientError
from imgmigrate.events import Outcome
from imgmigrate.oci.reference import Reference
from imgmigrate.plan import Action
from imgmigrate.render.changes.text import plan_text
from imgmigrate.render.options import spoken
from imgmigrate.state.record import Status
from imgmigrate.stores.base import NoDeletes
from tests.fakes.memory import image
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imgmigrate.errors import StoreError
    from imgmigrate.oci.reference import Digest
    from imgmigrate.plan import Plan

API = f"{NEW}/team/api"
REPO = "team/api"
ONLY_KEPT = f"- {{source: {OLD}/team/api, destination: {NEW}/team/api, tags: [keep]}}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def planned(world: World, *tags: str) -> tuple[Plan, Digest]:
    """Three tags on one digest are here, and all but `keep` are no longer wanted."""
    digest = world.seed("keep", b"the same")
    for tag in tags:
        world.seed(tag, b"the same")
    await world.migrate()
    world.rules = ONLY_KEPT
    return await world.plan(allow_delete=True), digest


@pytest.mark.parametrize("by_tag", [True, False], ids=["by tag", "by digest"])
async def test_other_tags_of_the_digest_stay(world: World, by_tag: bool) -> None:
    """Deleting one of three tags leaves the other two, and the manifest."""
    world.new.deletes_tags = by_tag
    manifest, blobs = image(b"the same")
    plan, digest = await planned(world, "1")
    world.new.seed(REPO, "theirs", manifest, blobs)
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.APPLIED: 1}
    assert world.new.tags == {(REPO, "keep"): digest, (REPO, "theirs"): digest}
    assert set(world.new.manifests) == {(REPO, digest)}
    assert finished.moved == 0


async def test_a_delete_leaves_a_tombstone_that_owns_nothing(world: World) -> None:
    """The record keeps digest and source for the way back; the claim on the placeholder ends."""
    plan, digest = await planned(world, "1")
    await world.apply(plan)
    record = world.state.records[f"{API}:1"]
    assert (record.status, record.digest) == (Status.DELETED, digest)
    assert str(record.source.reference) == f"{OLD}/team/api:1"
    assert record.plan_id == plan.plan_id
    assert world.state.claims == {}
    assert not world.state.owns(record.address, digest)


async def test_the_same_plan_again_asks_nobody(world: World) -> None:
    """A delete that is done is done, and after it the plan has nothing left."""
    plan, _ = await planned(world, "1")
    await world.apply(plan)
    world.new.calls.clear()
    assert (await world.apply(plan)).counts == {Outcome.ALREADY: 1}
    assert not world.new.calls
    assert rows(await world.plan(allow_delete=True)) == {}


async def test_what_is_gone_already_is_recorded(world: World) -> None:
    """A tag that somebody else deleted since the plan needs no deleting."""
    plan, _ = await planned(world, "1")
    del world.new.tags[REPO, "1"]
    world.new.calls.clear()
    assert (await world.apply(plan)).counts == {Outcome.ALREADY: 1}
    assert world.new.calls["delete"] == 0
    assert world.state.records[f"{API}:1"].status is Status.DELETED


async def test_what_changed_since_the_plan_is_not_deleted(world: World) -> None:
    """Rule 7 holds for deletes: another digest there is a conflict, and nothing is touched."""
    plan, _ = await planned(world, "1")
    manifest, blobs = image(b"theirs")
    theirs = world.new.seed(REPO, "1", manifest, blobs)
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.CONFLICT: 1}
    assert world.new.tags[REPO, "1"] == theirs
    assert world.state.records[f"{API}:1"].is_live
    assert world.state.claims == {}


async def test_the_intent_is_durable_before_the_act(world: World) -> None:
    """When the placeholder is written, the journal on disk names its digest as ours."""
    plan, _ = await planned(world, "1")
    seen = []

    def look(_: str, ref: str) -> None:
        if ref == "1":
            seen.append(world.state.claims[f"{API}:1"])

    world.new.hooks["put_manifest"] = look
    await world.apply(plan)
    assert seen == [{placeholder(plan.plan_id, Reference.parse(f"{API}:1")).digest}]


async def test_a_store_that_deletes_nothing_is_not_touched(world: World) -> None:
    """Where deleting is refused at all, the tag never shows a placeholder."""
    plan, digest = await planned(world, "1")
    world.new.refuses_deletes = NoDeletes(f"{API}:1", "unsupported (405)", hint="allow it")
    world.new.calls.clear()
    finished = await world.apply(plan)
    (receipt,) = finished.unfinished
    assert receipt.outcome is Outcome.FAILED
    assert str(receipt.error).endswith("allow it")
    assert world.new.calls["put_manifest"] == 0
    assert world.new.tags[REPO, "1"] == digest
    assert world.state.records[f"{API}:1"].is_live


@pytest.mark.parametrize(
    "error",
    [
        lambda: NoDeletes(f"{API}:1", "unsupported (405)"),
        lambda: Rejected(f"{API}:1", "refused (400)", status=400),
        lambda: AccessDenied(f"{API}:1", "denied (403)", status=403),
        lambda: TransientError(f"{API}:1", "unavailable (503)", status=503),
        lambda: OutOfReach(f"{API}:1", "out of reach for 5 min", host=NEW),
    ],
    ids=["never", "rejected", "denied", "unavailable", "out of reach"],
)
async def test_a_refused_delete_puts_the_old_image_back(
    world: World, error: Callable[[], StoreError]
) -> None:
    """What refuses only once the placeholder is on the tag finds the old manifest there again."""
    plan, digest = await planned(world, "1")

    def refuse(_: str, ref: str) -> None:
        if world.new.tags[REPO, "1"] != digest:
            raise error()

    world.new.hooks["delete"] = refuse
    finished = await world.apply(plan)
    (receipt,) = finished.unfinished
    assert receipt.outcome is Outcome.FAILED
    assert world.new.tags[REPO, "1"] == digest
    assert world.state.records[f"{API}:1"].is_live
    del world.new.hooks["delete"]
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    assert (REPO, "1") not in world.new.tags


async def test_an_old_image_that_cannot_be_put_back_is_named(world: World) -> None:
    """The row says what the tag shows now and what it was; the same plan ends the delete."""
    plan, digest = await planned(world, "1")
    stand_in = placeholder(plan.plan_id, Reference.parse(f"{API}:1")).digest

    def refuse(_: str, ref: str) -> None:
        if world.new.tags[REPO, "1"] == stand_in:
            raise TransientError(f"{API}:1", "unavailable (503)")

    world.new.hooks |= {"delete": refuse, "put_manifest": refuse}
    (receipt,) = (await world.apply(plan)).unfinished
    assert receipt.error is not None
    assert receipt.error.hint is not None
    assert stand_in.short in receipt.error.hint
    assert digest in receipt.error.hint
    assert world.new.tags[REPO, "1"] == stand_in
    world.new.hooks.clear()
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    assert world.new.tags == {(REPO, "keep"): digest}


async def test_a_rejected_question_is_no_answer(world: World) -> None:
    """A store that dislikes to be asked about an absent manifest may still delete one."""
    plan, _ = await planned(world, "1")

    def refuse(repo: str, ref: str) -> None:
        if (repo, ref) not in world.new.manifests:
            raise Rejected(f"{API}@{ref}", "manifest unknown (400)", status=400)

    world.new.hooks["delete"] = refuse
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("verb", ["put_manifest", "delete"])
async def test_a_crash_around_the_placeholder_resumes(world: World, verb: str) -> None:
    """Cut off with the placeholder on the tag, the same plan finishes and calls it ours."""
    plan, digest = await planned(world, "1")
    stand_in = placeholder(plan.plan_id, Reference.parse(f"{API}:1"))

    def cut(_: str, ref: str) -> None:
        if world.new.tags[REPO, "1"] == stand_in.digest:
            raise Crash

    def write_and_die(_: str, ref: str) -> None:
        if ref == "1":
            world.new.manifests[REPO, stand_in.digest] = stand_in
            world.new.tags[REPO, "1"] = stand_in.digest
            raise Crash

    world.new.hooks[verb] = write_and_die if verb == "put_manifest" else cut
    with pytest.raises((Crash, BaseExceptionGroup)):
        await world.apply(plan)
    world.new.hooks.clear()
    assert world.new.tags[REPO, "1"] == stand_in.digest
    assert world.state.owns(Reference.parse(f"{API}:1"), stand_in.digest)
    resumed = await world.apply(plan)
    assert resumed.counts == {Outcome.APPLIED: 1}
    assert world.new.tags == {(REPO, "keep"): digest}
    assert (REPO, digest) in world.new.manifests


async def cut_off(world: World) -> tuple[Digest, Digest]:
    """A delete that a crash cut off: what the tag shows now, and what it showed before."""
    plan, digest = await planned(world, "1")
    stand_in = placeholder(plan.plan_id, Reference.parse(f"{API}:1")).digest

    def cut(*_: str) -> None:
        if world.new.tags[REPO, "1"] == stand_in:
            raise Crash

    world.new.hooks["delete"] = cut
    with pytest.raises((Crash, BaseExceptionGroup)):
        await world.apply(plan)
    world.new.hooks.clear()
    assert world.new.tags[REPO, "1"] == stand_in
    return stand_in, digest


async def test_another_plan_takes_a_left_placeholder_for_ours(world: World) -> None:
    """After a crash a new plan deletes the placeholder, or puts a wanted image in its place."""
    _, digest = await cut_off(world)
    again = await world.plan(allow_delete=True)
    assert rows(again) == {f"{API}:1": ("delete", "deselected")}
    world.rules = f"- {{source: {OLD}/team/api, destination: {NEW}/team/api}}"
    wanted = await world.plan()
    assert rows(wanted) == {f"{API}:1": ("update", "source_moved")}
    assert (await world.apply(wanted)).counts == {Outcome.APPLIED: 1}
    assert world.new.tags[REPO, "1"] == digest


@pytest.mark.parametrize("forget", [False, True])
async def test_a_plan_tells_of_a_left_placeholder(world: World, forget: bool) -> None:
    """Without --allow-delete the tag would keep it, which nobody could guess."""
    await cut_off(world)
    plan = await world.plan(forget=forget)
    assert rows(plan) == {f"{API}:1": ("forget" if forget else "keep", "deselected")}
    assert plan.summary.unwanted == 0
    detail = plan.changes[0].detail
    assert detail is not None
    assert spoken(detail) in " ".join(plan_text(plan).split())
    assert "`allow_delete`" in detail
    assert (await world.plan(allow_delete=True)).changes[0].detail is None


async def test_a_left_placeholder_is_never_a_former_image(world: World) -> None:
    """Updated after a crash, the tag's former image is the one that was to be deleted."""
    _, digest = await cut_off(world)
    world.rules = f"- {{source: {OLD}/team/api, destination: {NEW}/team/api}}"
    world.seed("1", b"newer")
    await world.migrate()
    record = world.state.records[f"{API}:1"]
    assert record.previous == digest
    assert world.state.stand_ins == {}
    await world.apply(await world.rollback(record.run))
    assert world.new.tags[REPO, "1"] == digest


@pytest.mark.parametrize("twice", [False, True], ids=["one crash", "two crashes"])
async def test_a_left_placeholder_is_never_kept(world: World, twice: bool) -> None:
    """`keep_previous` keeps the image that it stands in for, after any number of crashes."""
    _, digest = await cut_off(world)
    world.extra = 'keep_previous: "{tag}-before"\n'
    if twice:
        plan = await world.plan(allow_delete=True)

        def cut(_: str, ref: str) -> None:
            if world.new.tags[REPO, "1"] == ref:
                raise Crash

        world.new.hooks["delete"] = cut
        with pytest.raises((Crash, BaseExceptionGroup)):
            await world.apply(plan)
        world.new.hooks.clear()
    plan = await world.plan(allow_delete=True)
    assert (await world.apply(plan)).counts[Outcome.APPLIED] == len(plan.changes)
    assert world.new.tags == {(REPO, tag): digest for tag in ("keep", "1-before")}


async def test_nothing_is_kept_where_the_same_image_comes_back(world: World) -> None:
    """An image that replaces its own placeholder replaces nothing."""
    await cut_off(world)
    world.extra = 'keep_previous: "{tag}-before"\n'
    world.rules = f"- {{source: {OLD}/team/api, destination: {NEW}/team/api}}"
    assert rows(await world.plan()) == {f"{API}:1": ("update", "source_moved")}


@pytest.mark.parametrize("is_there", [True, False], ids=["there", "collected"])
async def test_a_refused_delete_of_a_left_placeholder_brings_the_image_back(
    world: World, is_there: bool
) -> None:
    """What another plan's crash left is not put back, unless the image itself is gone."""
    stand_in, digest = await cut_off(world)
    del world.new.tags[REPO, "keep"]
    world.rules = f"- {{source: {OLD}/team/web, destination: {NEW}/team/web, tags: [x]}}"
    world.seed("x", repo="team/web")
    plan = await world.plan(allow_delete=True, target=(f"{API}:1",))
    if not is_there:
        del world.new.manifests[REPO, digest]

    def refuse(_: str, ref: str) -> None:
        if world.new.tags[REPO, "1"] not in (digest, stand_in):
            raise AccessDenied(f"{API}:1", "denied (403)", status=403)

    world.new.hooks["delete"] = refuse
    assert (await world.apply(plan)).counts == {Outcome.FAILED: 1}
    assert world.new.tags[REPO, "1"] == (digest if is_there else stand_in)


async def test_deletes_come_last(world: World) -> None:
    """Nothing goes before everything that comes is in place, or has failed."""
    await planned(world, "1")
    world.seed("keep", b"newer")
    plan = await world.plan(allow_delete=True)
    assert {change.action for change in plan.changes} == {Action.UPDATE, Action.DELETE}
    world.new.log.clear()
    await world.apply(plan)
    verbs = [(verb, what) for verb, _, what in world.new.log if verb in ("put_manifest", "delete")]
    assert verbs[0] == ("put_manifest", "keep")
    assert [what for verb, what in verbs if verb == "put_manifest"] == ["keep", "1"]


async def test_protection_is_kept_by_what_is_applied(world: World) -> None:
    """A record that was written under `protect` stays protected when the line is gone."""
    world.extra = f"protect: ['{API}:1']\n"
    await planned(world, "1")
    record = world.state.records[f"{API}:1"]
    assert record.protected
    assert not world.state.records[f"{API}:keep"].protected
    world.extra = ""
    plan = await world.plan(allow_delete=True)
    assert rows(plan) == {f"{API}:1": ("blocked", "protected")}
    assert plan.summary.alters == 0
    world.new.calls.clear()
    assert (await world.apply(plan)).counts == {}
    assert not world.new.calls


async def test_max_delete_blocks_all_and_the_rest_is_done(world: World) -> None:
    """More deletes than the config allows are none; other rows of the plan are carried out."""
    await planned(world, "1", "2")
    world.extra = "max_delete: 1\n"
    world.seed("keep", b"newer")
    plan = await world.plan(allow_delete=True)
    assert rows(plan) == {
        f"{API}:1": ("blocked", "max_delete"),
        f"{API}:2": ("blocked", "max_delete"),
        f"{API}:keep": ("update", "source_moved"),
    }
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    assert (REPO, "1") in world.new.tags
    assert world.state.records[f"{API}:1"].is_live
