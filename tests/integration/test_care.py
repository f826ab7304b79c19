"""What is written or deleted is looked at first, and what depends on another row waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import GuardError, Rejected
from imgmigrate.events import Outcome
from imgmigrate.oci.reference import Reference
from imgmigrate.planning.adopting import sort_for_adoption
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.record import Claim
from tests.fakes.memory import image, index
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.plan import Plan

REPO = "team/api"
API = f"{NEW}/{REPO}"
KEEP = 'keep_previous: "{tag}-before"\n'
ALL = f"- {{source: {OLD}/{REPO}, destination: {API}}}"
CREW = f"- {{source: {OLD}/{REPO}, destination: {NEW}/crew/api}}"
WEB = f"- {{source: {OLD}/team/web, destination: {NEW}/team/web}}"
MOVED = f"moved: [{{from: '{NEW}/team/*', to: '{NEW}/crew/*'}}]\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def edit(world: World, *moves: tuple[str, str], remove: tuple[str, ...] = ()) -> None:
    """Do what `state mv` and `state rm` do."""
    async with LocalState(world.config.state).writer(command="imgmigrate state") as writer:
        await writer.move([(Reference.parse(old), Reference.parse(new)) for old, new in moves])
        await writer.remove([Reference.parse(each) for each in remove])


def outcomes(plan: Plan, world: World) -> dict[str, Outcome]:
    """What the last run said of each row of a plan."""
    receipts = [getattr(event, "receipt", None) for event in world.sink.events]
    found = {str(receipt.address): receipt.outcome for receipt in receipts if receipt}
    return {str(c.address): found[str(c.address)] for c in plan.changes}


async def test_a_tag_is_read_again_after_its_parts_were_brought_again(world: World) -> None:
    """A tag that somebody writes while missing parts are sent again is not overwritten."""
    child, blobs = image(b"a layer")
    world.old.seed(REPO, "1", index(child), blobs, child)
    world.new.manifests[REPO, child.digest] = child  # as after an interrupted collection
    alien = image(b"somebody else's")

    def interfere(_: str, ref: str) -> None:
        if ref == "1":
            world.new.manifests.pop((REPO, child.digest), None)
            world.new.hooks["commit"] = lambda *_: world.new.seed(REPO, "1", *alien)

    world.new.hooks["put_manifest"] = interfere
    assert (await world.migrate()).counts == {Outcome.CONFLICT: 1}
    assert world.new.tags[REPO, "1"] == alien[0].digest


@pytest.mark.parametrize("gone", [False, True], ids=["overwritten", "deleted"])
async def test_a_tag_is_read_again_once_its_placeholder_is_ready(world: World, gone: bool) -> None:
    """A tag that somebody writes while the placeholder's config is sent is not deleted."""
    world.seed("keep")
    world.seed("1")
    await world.migrate()
    world.rules = f"- {{source: {OLD}/{REPO}, destination: {API}, tags: [keep]}}"
    plan = await world.plan(allow_delete=True)
    alien = image(b"somebody else's")

    def interfere(*_: str) -> None:
        if gone:
            world.new.tags.pop((REPO, "1"))
        else:
            world.new.seed(REPO, "1", *alien)

    world.new.hooks["commit"] = interfere
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.ALREADY if gone else Outcome.CONFLICT: 1}
    assert world.new.tags.get((REPO, "1")) == (None if gone else alien[0].digest)
    assert world.new.calls["put_manifest"] == 2  # the first migration's


@pytest.mark.parametrize("by", ["config", "record"])
async def test_what_was_protected_since_the_plan_is_not_deleted(world: World, by: str) -> None:
    """A plan that deletes does not outlast the guard, whether config or state tells of it."""
    world.seed("1")
    await world.migrate()
    world.seed("1", repo="team/web")
    world.rules = WEB
    plan = await world.plan(allow_delete=True)
    assert rows(plan)[f"{API}:1"] == ("delete", "rule_removed")
    if by == "config":
        world.extra = f"protect: ['{API}:1']\n"
    else:
        async with LocalState(world.config.state).writer(command="another run") as writer:
            await writer.protect([Reference.parse(f"{API}:1")])
    finished = await world.apply(plan)
    assert [type(receipt.error) for receipt in finished.unfinished] == [GuardError]
    assert (REPO, "1") in world.new.tags
    assert world.state.records[f"{API}:1"].is_live
    assert f"{API}:1" not in world.state.claims


@pytest.mark.parametrize("action", ["rm", "mv"])
async def test_a_move_needs_the_record_of_its_origin(world: World, action: str) -> None:
    """Without it the row is a conflict before anything is written, and the others are done."""
    world.seed("1")
    world.seed("2")
    await world.migrate()
    world.rules, world.extra = CREW, MOVED
    plan = await world.plan()
    if action == "rm":
        await edit(world, remove=(f"{API}:1",))
    else:
        await edit(world, (f"{API}:1", f"{NEW}/other/api:1"))
    await world.apply(plan)
    found = outcomes(plan, world)
    assert found[f"{NEW}/crew/api:1"] is Outcome.CONFLICT
    assert found[f"{NEW}/crew/api:2"] is Outcome.APPLIED
    assert ("crew/api", "1") not in world.new.tags


async def test_a_record_from_elsewhere_does_not_make_a_row_done(world: World) -> None:
    """`state mv` onto the address of a failed row: the same plan does not call it done."""
    world.seed("1")
    world.seed("2")
    plan = await world.plan()

    def refuse(_: str, ref: str) -> None:
        if ref == "2":
            raise Rejected(f"{API}:2", "not today", status=400)

    world.new.hooks["put_manifest"] = refuse
    await world.apply(plan)
    world.new.hooks.clear()
    await edit(world, (f"{API}:1", f"{API}:2"))
    await world.apply(plan)
    assert outcomes(plan, world)[f"{API}:2"] is Outcome.CONFLICT


async def test_a_kept_tag_that_was_lost_is_kept_again_or_nothing_is_replaced(world: World) -> None:
    """A record of a kept tag that the destination lost does not stand for the tag."""
    first = world.seed("1")
    await world.migrate()
    world.extra = KEEP
    world.seed("1", b"newer")
    await world.migrate()
    await world.apply(await world.rollback(world.state.runs[-1].run))
    assert world.new.tags[REPO, "1"] == first
    del world.new.tags[REPO, "1-before"]
    plan = await world.plan()
    assert rows(plan)[f"{API}:1-before"] == ("copy", "keep_previous")

    def refuse(_: str, ref: str) -> None:
        if ref == "1-before":
            raise Rejected(f"{API}:1-before", "not today", status=400)

    world.new.hooks["put_manifest"] = refuse
    assert (await world.apply(plan)).counts == {Outcome.FAILED: 2}
    assert world.new.tags[REPO, "1"] == first


async def test_an_old_address_stays_while_the_new_one_is_lost(world: World) -> None:
    """A record at the new address does not stand for the image that the destination lost."""
    world.seed("1")
    await world.migrate()
    world.rules, world.extra = CREW, MOVED
    await world.apply(await world.plan(target=(f"{NEW}/crew/**",)))
    del world.new.tags["crew/api", "1"]
    plan = await world.plan(allow_delete=True)
    assert rows(plan) == {
        f"{NEW}/crew/api:1": ("copy", "destination_lost"),
        f"{API}:1": ("delete", "moved"),
    }

    def refuse(repo: str, _: str) -> None:
        if repo == "crew/api":
            raise Rejected(f"{NEW}/crew/api:1", "not today", status=400)

    world.new.hooks["put_manifest"] = refuse
    assert (await world.apply(plan)).counts == {Outcome.FAILED: 2}
    assert (REPO, "1") in world.new.tags


async def test_two_addresses_that_nobody_asks_for_do_not_wait_for_each_other(world: World) -> None:
    """What moved and is unwanted at its new address too goes from both, in any order."""
    world.seed("1")
    world.seed("1", repo="team/web")
    await world.migrate()
    world.rules, world.extra = CREW, MOVED
    await world.apply(await world.plan(target=(f"{NEW}/crew/**",)))
    world.rules = WEB
    plan = await world.plan(allow_delete=True)
    assert {str(c.address): (c.reason, c.moved_to) for c in plan.changes if c.before} == {
        f"{NEW}/crew/api:1": ("rule_removed", None),
        f"{API}:1": ("rule_removed", None),
    }


async def test_a_tag_renamed_within_its_repository_is_let_go_like_any_other(world: World) -> None:
    """Only what `keep_previous` made is kept for good, not every tag of its own repository."""
    world.new.seed(REPO, "1", *image(b"one"))
    world.seed("1", repo="team/web")
    world.rules = f"- {{source: '{API}:1', destination: '{API}:stable'}}"
    await world.migrate()
    world.rules = WEB
    planned = rows(await world.plan(forget=True))
    assert planned[f"{API}:stable"] == ("forget", "rule_removed")


async def test_a_kept_tag_stays_kept_when_its_record_moves(world: World) -> None:
    """`state mv` of a whole repository takes the kept tags along as kept tags."""
    world.extra = KEEP
    world.seed("1")
    await world.migrate()
    world.seed("1", b"newer")
    await world.migrate()
    for tag, layer in (("1", b"newer"), ("1-before", b"1")):
        world.new.seed("crew/api", tag, *image(layer))
        await edit(world, (f"{API}:{tag}", f"{NEW}/crew/api:{tag}"))
    world.rules = CREW
    assert rows(await world.plan(allow_delete=True)) == {}
    assert world.state.records[f"{NEW}/crew/api:1-before"].keeps_previous


async def test_an_adoption_keeps_nothing(world: World) -> None:
    """What `keep_previous` would keep before an update is not part of taking ownership."""
    world.extra = KEEP
    world.seed("1")
    await world.migrate()
    world.seed("1", b"newer")
    adoption = sort_for_adoption(await world.plan(), take_ownership=False)
    assert (adoption.missing, adoption.same, adoption.differing) == ((), (), ())
    assert not adoption.has_work


async def test_a_delete_of_a_claimed_image_can_be_undone(world: World) -> None:
    """A rollback brings back what was deleted, also where a crash had lost its record."""
    world.seed("keep")
    world.seed("1")
    await world.migrate()
    newer = world.seed("1", b"newer")
    plan = await world.plan()
    async with LocalState(world.config.state).writer(command="a run that dies") as writer:
        claim = Claim(address=Reference.parse(f"{API}:1"), after=newer)
        await writer.begin("dead", plan.plan_id, [claim])
    world.new.seed(REPO, "1", *image(b"newer"))
    world.rules = f"- {{source: {OLD}/{REPO}, destination: {API}, tags: [keep]}}"
    await world.apply(await world.plan(allow_delete=True))
    assert (REPO, "1") not in world.new.tags
    assert world.state.records[f"{API}:1"].digest == newer
    await world.apply(await world.rollback(world.state.runs[-1].run))
    assert world.new.tags[REPO, "1"] == newer
