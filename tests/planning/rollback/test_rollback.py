"""The way back from a run and from a plan, planned and applied over stores in memory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import UsageError
from imgmigrate.events import Outcome, Warned
from imgmigrate.plan import Action
from imgmigrate.render.facts import facts_of
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.record import Status
from tests.fakes.memory import image
from tests.support.world import NEW, OLD, RULE, World, rows

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.oci.reference import Digest
    from imgmigrate.plan import Plan

API = f"{NEW}/team/api"
ONLY = f"- {{source: {OLD}/team/api, destination: {API}, tags: [TAGS]}}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def changed(world: World) -> tuple[dict[str, Digest], Plan]:
    """A plan that copies `new`, updates `moved` and deletes `gone`, applied; what was before."""
    before = {tag: world.seed(tag) for tag in ("moved", "gone", "same")}
    await world.migrate()
    world.seed("moved", b"newer")
    world.seed("new")
    world.rules = ONLY.replace("TAGS", "moved, new, same")
    plan = await world.plan(allow_delete=True)
    assert rows(plan) == {
        f"{API}:gone": ("delete", "deselected"),
        f"{API}:moved": ("update", "source_moved"),
        f"{API}:new": ("copy", "new"),
    }
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 3}
    return before, plan


def shown(world: World) -> dict[str, Digest]:
    return {tag: digest for (repo, tag), digest in world.new.tags.items() if repo == "team/api"}


@pytest.mark.parametrize("named", ["run", "plan id", "plan"])
async def test_every_tag_gets_its_former_digest_back(world: World, named: str) -> None:
    """Named by its run, its plan's id or its plan, a run is undone; what was new stays."""
    before, plan = await changed(world)
    new = world.new.tags["team/api", "new"]
    names: dict[str, str | Plan] = {"run": world.state.runs[-1].run, "plan id": plan.plan_id}
    what = names.get(named, plan)
    back = await world.rollback(what)
    assert rows(back) == {
        f"{API}:gone": ("copy", "rollback"),
        f"{API}:moved": ("update", "rollback"),
        f"{API}:new": ("keep", "stays"),
    }
    assert back.summary.transfer_bytes == 0
    assert back.header.undoes == (what if isinstance(what, str) else plan.plan_id)
    assert (await world.apply(back)).counts == {Outcome.APPLIED: 2}
    assert shown(world) == {**before, "new": new}


async def test_what_was_new_is_deleted_if_that_is_allowed(world: World) -> None:
    """With --allow-delete the destination is exactly as it was."""
    before, plan = await changed(world)
    back = await world.rollback(plan, allow_delete=True)
    assert rows(back)[f"{API}:new"] == ("delete", "rollback")
    await world.apply(back)
    assert shown(world) == before


async def test_the_way_back_moves_no_byte(world: World) -> None:
    """The destination has all of it: manifests are read and written, blobs are not asked for."""
    _, plan = await changed(world)
    back = await world.rollback(plan)
    for store in (world.old, world.new):
        store.calls.clear()
    finished = await world.apply(back)
    assert finished.moved == 0
    assert not world.old.calls
    assert set(world.new.calls) <= {"head", "manifest", "put_manifest"}
    assert world.new.calls["put_manifest"] == 2


async def test_a_rollback_can_be_rolled_back(world: World) -> None:
    """It is a run like any other, so the way back from it is a plan too."""
    _, plan = await changed(world)
    after = shown(world)
    back = await world.rollback(plan, allow_delete=True)
    await world.apply(back)
    again = await world.rollback(back, allow_delete=True)
    assert rows(again) == {
        f"{API}:gone": ("delete", "rollback"),
        f"{API}:moved": ("update", "rollback"),
        f"{API}:new": ("copy", "rollback"),
    }
    await world.apply(again)
    assert shown(world) == after
    assert rows(await world.plan(allow_delete=True)) == {}


async def test_records_keep_their_source_and_the_next_plan_is_honest(world: World) -> None:
    """What was undone is planned again as what it is: rolled back, and the tag is unwanted."""
    before, plan = await changed(world)
    await world.apply(await world.rollback(plan))
    moved, gone = (world.state.records[f"{API}:{tag}"] for tag in ("moved", "gone"))
    assert str(moved.source.reference) == f"{OLD}/team/api:moved"
    assert moved.source.digest == before["moved"]
    assert str(gone.source.reference) == f"{OLD}/team/api:gone"
    assert gone.status is Status.LIVE
    assert rows(await world.plan(forget=True)) == {
        f"{API}:gone": ("forget", "deselected"),
        f"{API}:moved": ("update", "rolled_back"),
    }
    assert rows(await world.plan(refresh_only=True))[f"{API}:moved"] == ("drift", "rolled_back")
    world.seed("moved", b"newest")
    assert rows(await world.plan())[f"{API}:moved"] == ("update", "source_moved")
    assert rows(await world.plan(refresh_only=True))[f"{API}:moved"] == ("drift", "source_moved")


async def test_an_overwrite_that_was_undone_is_not_said_to_come_from_the_source(
    world: World,
) -> None:
    """The image that another had put there is back, and the plan says why it goes again."""
    world.seed("1")
    theirs = world.new.seed("team/api", "1", *image(b"theirs"))
    forced = await world.plan(allow_overwrite=("**",))
    await world.apply(forced)
    await world.apply(await world.rollback(forced))
    assert shown(world) == {"1": theirs}
    again = await world.plan()
    assert rows(again) == {f"{API}:1": ("update", "rolled_back")}
    await world.apply(again)
    assert rows(await world.plan()) == {}
    world.seed("1", b"newer")
    assert rows(await world.plan()) == {f"{API}:1": ("update", "source_moved")}


async def test_what_is_written_since_is_not_said_to_hold_nothing(world: World) -> None:
    """Of a row that another run has written since, only that is said."""
    _, first = await changed(world)
    world.seed("moved", b"third")
    await world.migrate()
    (row,) = [c for c in (await world.rollback(first)).changes if c.reason == "written_since"]
    said = facts_of(row)
    assert [fact.key for fact in said.beside] == ["reason"]
    assert [fact.key for fact in said.below] == ["detail"]


async def test_the_same_rollback_twice_is_a_no_op(world: World) -> None:
    """Applied again it does nothing, and planned again there is nothing left but the way forth."""
    _, plan = await changed(world)
    back = await world.rollback(plan)
    await world.apply(back)
    assert (await world.apply(back)).counts == {Outcome.ALREADY: 2}


async def test_what_others_wrote_since_is_a_conflict(world: World) -> None:
    """Neither an overwritten tag nor one that came anew is touched."""
    _, plan = await changed(world)
    manifest, blobs = image(b"theirs")
    for tag in ("moved", "gone", "new"):
        world.new.seed("team/api", tag, manifest, blobs)
    back = await world.rollback(plan, allow_delete=True)
    assert rows(back) == {
        f"{API}:gone": ("conflict", "foreign"),
        f"{API}:moved": ("conflict", "changed_here"),
        f"{API}:new": ("conflict", "changed_here"),
    }
    assert (await world.apply(back)).counts == {Outcome.CONFLICT: 3}
    assert set(shown(world).values()) >= {manifest.digest}


async def test_what_a_later_run_wrote_is_left_to_its_own_rollback(world: World) -> None:
    """The plan's file knows the address, so the row names the run that has to be undone first."""
    _, plan = await changed(world)
    first = world.state.runs[-1].run
    world.seed("moved", b"newest")
    await world.migrate()
    last = world.state.runs[-1].run
    back = await world.rollback(plan)
    assert rows(back)[f"{API}:moved"] == ("conflict", "written_since")
    (row,) = (each for each in back.changes if each.action is Action.CONFLICT)
    assert row.detail is not None
    assert last in row.detail
    assert (await world.apply(back)).counts == {Outcome.APPLIED: 1, Outcome.CONFLICT: 1}
    world.sink.events.clear()
    assert f"{API}:moved" not in rows(await world.rollback(first))
    warned = [each.message for each in world.sink.events if isinstance(each, Warned)]
    assert any("written again since" in message for message in warned)


async def test_a_manifest_that_is_gone_is_an_error_row(world: World) -> None:
    """It names the digest; the rest can be applied, and ends as a plan with errors does."""
    before, plan = await changed(world)
    del world.new.manifests["team/api", before["moved"]]
    back = await world.rollback(plan)
    assert rows(back)[f"{API}:moved"] == ("error", "previous_gone")
    assert not back.header.complete
    (row,) = (each for each in back.changes if each.action is Action.ERROR)
    assert before["moved"] in str(row.detail)
    finished = await world.apply(back)
    assert finished.counts == {Outcome.APPLIED: 1, Outcome.FAILED: 1}
    assert shown(world)["gone"] == before["gone"]


async def test_globs_choose_what_is_undone(world: World) -> None:
    """--target and --exclude work as elsewhere: a glob that matches nothing is refused."""
    _, plan = await changed(world)
    back = await world.rollback(plan, target=(f"{API}:*o*",), exclude=(f"{API}:gone",))
    assert rows(back) == {f"{API}:moved": ("update", "rollback")}
    assert not back.header.complete
    with pytest.raises(UsageError, match="matches no address of what is to be undone"):
        await world.rollback(plan, target=(f"{API}:same",))


async def test_max_delete_blocks_the_deletes_of_a_rollback(world: World) -> None:
    """The config's guards hold here, too."""
    _, plan = await changed(world)
    world.extra = "max_delete: 0\n"
    back = await world.rollback(plan, allow_delete=True)
    assert rows(back)[f"{API}:new"] == ("blocked", "max_delete")
    (note,) = back.header.notes
    assert re.fullmatch(
        r"1 delete of 3 images, and max_delete: 0 \(imgmigrate\.yaml:\d+\) allows 0: none is done",
        note,
    )


async def test_a_forgotten_image_is_ours_again(world: World) -> None:
    """Undoing a forget only records; the next plan lets it go again."""
    world.seed("1")
    await world.migrate()
    world.rules = RULE.replace("team/api", "team/web")
    world.old.seed("team/web", "1", *image(b"web"))
    plan = await world.plan(forget=True)
    await world.apply(plan)
    assert not world.state.records[f"{API}:1"].is_live
    back = await world.rollback(plan, target=(API,))
    assert rows(back) == {f"{API}:1": ("adopt", "rollback")}
    await world.apply(back)
    record = world.state.records[f"{API}:1"]
    assert record.is_live
    assert str(record.source.reference) == f"{OLD}/team/api:1"
    assert rows(await world.plan(forget=True)) == {f"{API}:1": ("forget", "rule_removed")}


async def test_what_was_only_adopted_has_nothing_to_undo(world: World) -> None:
    """It was there before the run, so not even --allow-delete takes it away."""
    world.seed("1")
    manifest, blobs = image(b"1")
    world.new.seed("team/api", "1", manifest, blobs)
    plan = await world.plan()
    assert rows(plan) == {f"{API}:1": ("adopt", "already_there")}
    await world.apply(plan)
    back = await world.rollback(world.state.runs[-1].run, allow_delete=True)
    assert rows(back) == {}
    assert back.summary.unchanged == 1


async def test_an_unknown_run_is_refused_and_the_last_ones_named(world: World) -> None:
    """So is a plan that was never applied here."""
    with pytest.raises(UsageError, match="no such run") as caught:
        await world.rollback("nothing")
    assert "nothing was applied" in str(caught.value.hint)
    _, _ = await changed(world)
    with pytest.raises(UsageError) as caught:
        await world.rollback("nothing")
    assert world.state.runs[-1].run in caught.value.message
    world.seed("new", b"again")
    with pytest.raises(UsageError, match="never applied"):
        await world.rollback(await world.plan())


async def test_a_move_and_its_delete_are_undone_together(world: World) -> None:
    """The old tag comes back from its own repository; the new one goes if that is allowed."""
    digest = world.seed("1")
    await world.migrate()
    world.rules = f"- {{source: {OLD}/team/api, destination: {NEW}/crew/api}}"
    world.extra = f"moved: [{{from: '{NEW}/team/*', to: '{NEW}/crew/*'}}]\n"
    plan = await world.plan(allow_delete=True)
    await world.apply(plan)
    back = await world.rollback(plan, allow_delete=True)
    assert rows(back) == {
        f"{API}:1": ("copy", "rollback"),
        f"{NEW}/crew/api:1": ("delete", "rollback"),
    }
    await world.apply(back)
    assert world.new.tags == {("team/api", "1"): digest}


async def test_a_run_that_has_not_ended_is_warned_of(world: World) -> None:
    """What it wrote without a record is only known once its plan was applied again."""
    _, plan = await changed(world)
    backend = LocalState(world.config.state)
    async with backend.writer(command="imgmigrate apply") as writer:
        await writer.begin("cut short", plan.plan_id, [])
    await world.rollback(plan)
    warned = [each for each in world.sink.events if isinstance(each, Warned)]
    assert [each.code for each in warned] == ["not_undone"]
    assert "run cut short has not ended" in warned[0].message


async def test_a_plan_of_the_past_is_bound_to_the_state(world: World) -> None:
    """Like any plan: what another run records meanwhile makes its row stale."""
    before, plan = await changed(world)
    back = await world.rollback(plan)
    world.seed("moved", b"newest")
    await world.migrate()
    newest = shown(world)["moved"]
    assert (await world.apply(back)).counts == {Outcome.APPLIED: 1, Outcome.CONFLICT: 1}
    assert shown(world)["moved"] == newest
    assert shown(world)["gone"] == before["gone"]
