"""What `moved:` in the config makes of copies, and of the addresses that they came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Outcome, Warned
from imgmigrate.state.record import Status
from tests.fakes.memory import image
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

TEAM, CREW = f"{NEW}/team/api", f"{NEW}/crew/api"
BEFORE = f"- {{source: {OLD}/team/api, destination: {TEAM}}}"
AFTER = f"- {{source: {OLD}/team/api, destination: {CREW}}}"
MOVED = f"moved: [{{from: '{NEW}/team/*', to: '{NEW}/crew/*'}}]\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def renamed(world: World) -> None:
    """An image is at the old address, and the rules ask for it at the new one."""
    world.rules = BEFORE
    world.seed("1")
    await world.migrate()
    world.rules, world.extra = AFTER, MOVED


async def test_an_old_address_stays_ours_until_somebody_lets_it_go(world: World) -> None:
    """A move alone is one row; the old tag is counted, and neither deleted nor forgotten."""
    await renamed(world)
    plan = await world.plan()
    assert rows(plan) == {f"{CREW}:1": ("move", "moved")}
    assert plan.summary.unwanted == 1
    await world.apply(plan)
    assert world.state.records[f"{TEAM}:1"].is_live
    again = await world.plan(allow_delete=True)
    assert rows(again) == {f"{TEAM}:1": ("delete", "moved")}


@pytest.mark.parametrize(
    ("option", "old"), [("forget", ("forget", "moved")), ("allow_delete", ("delete", "moved"))]
)
async def test_a_renamed_image_moves(world: World, option: str, old: tuple[str, str]) -> None:
    """It is planned from where we put it; the old address is let go, or deleted, as asked."""
    await renamed(world)
    plan = await world.plan(**{option: True})
    assert rows(plan) == {f"{CREW}:1": ("move", "moved"), f"{TEAM}:1": old}
    move, gone = plan.changes
    assert move.source is not None
    assert str(move.source.reference) == f"{TEAM}:1"
    assert (move.before, move.after) == (None, move.source.digest)
    assert gone.moved_to == move.address
    assert plan.summary.transfer_bytes == 0


@pytest.mark.parametrize("allow_delete", [False, True])
async def test_a_move_reads_nothing_from_the_source(world: World, allow_delete: bool) -> None:
    """Blobs are mounted; the record moves with its source, and nothing is left to do."""
    await renamed(world)
    plan = await world.plan(allow_delete=allow_delete, forget=True)
    world.old.calls.clear()
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.APPLIED: 2}
    assert finished.moved == 0
    # Where a tag was deleted, a look that the source is not the same tag under another name.
    assert world.old.calls == ({"manifest": 1} if allow_delete else {})
    state = world.state
    new, old = state.records[f"{CREW}:1"], state.records[f"{TEAM}:1"]
    assert str(new.source.reference) == f"{OLD}/team/api:1"
    assert new.is_live
    assert old.status is (Status.DELETED if allow_delete else Status.FORGOTTEN)
    assert (("team/api", "1") in world.new.tags) is not allow_delete
    assert world.new.tags["crew/api", "1"] == new.digest
    assert rows(await world.plan(allow_delete=True)) == {}


async def test_a_tag_is_renamed_within_its_repository(world: World) -> None:
    """A single address moves to another tag of the same repository, without a blob touched."""
    world.rules = f"- {{source: '{OLD}/team/api:1', destination: '{TEAM}:1'}}"
    digest = world.seed("1")
    await world.migrate()
    world.rules = f"- {{source: '{OLD}/team/api:1', destination: '{TEAM}:one'}}"
    world.extra = f"moved: [{{from: '{TEAM}:1', to: '{TEAM}:one'}}]\n"
    plan = await world.plan(allow_delete=True)
    assert rows(plan) == {f"{TEAM}:1": ("delete", "moved"), f"{TEAM}:one": ("move", "moved")}
    world.new.calls.clear()
    await world.apply(plan)
    assert world.new.tags == {("team/api", "one"): digest}
    assert world.new.calls["mount"] == 0


async def test_an_old_tag_stays_until_its_image_has_moved(world: World) -> None:
    """A move that fails leaves the old tag; the same plan does both later."""
    await renamed(world)
    plan = await world.plan(allow_delete=True)

    def refuse(repo: str, _: str) -> None:
        if repo == "crew/api":
            message = "not today"
            raise RuntimeError(message)

    world.new.hooks["put_manifest"] = refuse
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.FAILED: 2}
    assert ("team/api", "1") in world.new.tags
    world.new.hooks.clear()
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 2}
    assert set(world.new.tags) == {("crew/api", "1")}


async def test_a_moved_source_is_copied(world: World) -> None:
    """What has another image now is no move: it comes from the source."""
    await renamed(world)
    world.seed("1", b"newer")
    planned = rows(await world.plan(forget=True))
    assert planned == {f"{CREW}:1": ("copy", "new"), f"{TEAM}:1": ("forget", "rule_removed")}


async def test_an_image_that_is_still_asked_for_does_not_move(world: World) -> None:
    """Both addresses are wanted: the second one is a copy."""
    await renamed(world)
    world.rules = f"{BEFORE}\n{AFTER}"
    assert rows(await world.plan(allow_delete=True)) == {f"{CREW}:1": ("copy", "new")}


async def test_what_was_overwritten_at_the_old_address_is_no_move(world: World) -> None:
    """Only our own work is moved, and what is not ours is not deleted."""
    await renamed(world)
    manifest, blobs = image(b"theirs")
    world.new.seed("team/api", "1", manifest, blobs)
    assert rows(await world.plan(allow_delete=True)) == {
        f"{CREW}:1": ("copy", "new"),
        f"{TEAM}:1": ("keep", "rule_removed"),
    }


async def test_protection_moves_along(world: World) -> None:
    """A record that is protected is so at its new address, and keeps the old tag."""
    world.extra = f"protect: ['{TEAM}']\n"
    world.rules = BEFORE
    world.seed("1")
    await world.migrate()
    world.rules, world.extra = AFTER, MOVED
    plan = await world.plan(allow_delete=True)
    assert rows(plan) == {f"{CREW}:1": ("move", "moved"), f"{TEAM}:1": ("blocked", "protected")}
    await world.apply(plan)
    assert world.state.records[f"{CREW}:1"].protected


def idle(world: World) -> list[str]:
    """The warnings about pairs that move nothing, since they were last asked for."""
    found = [
        each.message
        for each in world.sink.events
        if isinstance(each, Warned) and each.code == "nothing_moved"
    ]
    world.sink.events.clear()
    return found


async def test_a_pair_that_moves_is_no_warning_and_neither_is_one_that_did(world: World) -> None:
    """Also long after, when the old tag is gone: the line may stay in the config."""
    await renamed(world)
    await world.migrate()
    await world.apply(await world.plan(allow_delete=True))
    assert rows(await world.plan()) == {}
    assert idle(world) == []


@pytest.mark.parametrize(
    ("before", "after", "pair", "why"),
    [
        (BEFORE, AFTER, "tema/*, crew/*", "nothing that is recorded is there"),
        (BEFORE, f"{BEFORE}\n{AFTER}", "team/*, crew/*", f"a rule still asks for {TEAM}:1"),
        (BEFORE, AFTER, "team/*, corw/*", "no rule asks for a new new.example/corw/api:1"),
    ],
)
async def test_a_pair_that_moves_nothing_is_a_warning(
    world: World, before: str, after: str, pair: str, why: str
) -> None:
    """A mistyped address, or one that a rule still asks for, would be copied without a word."""
    world.rules = before
    world.seed("1")
    await world.migrate()
    old, new = pair.split(", ")
    world.rules = after
    world.extra = f"moved: [{{from: '{NEW}/{old}', to: '{NEW}/{new}'}}]\n"
    plan = await world.plan()
    assert "move" not in [action for action, _ in rows(plan).values()]
    (said,) = idle(world)
    assert said.startswith(f"moved: {NEW}/{old} to {NEW}/{new} moves nothing: {why}")
    await world.plan(target=("**:1",))
    assert idle(world) == []  # of a part nobody knows


async def test_a_pair_whose_image_is_another_by_now_says_that_it_is_copied(world: World) -> None:
    """The source moved together with the address: what is there is not what is wanted."""
    await renamed(world)
    world.seed("1", b"newer")
    assert rows(await world.plan()) == {f"{CREW}:1": ("copy", "new")}
    (said,) = idle(world)
    assert f"{TEAM}:1 has not the image that {CREW}:1 gets" in said
