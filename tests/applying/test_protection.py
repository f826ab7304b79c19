"""Protection goes from the config into the state, and stays there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.applying.resume.books import keep_books
from imgmigrate.errors import StateLocked
from imgmigrate.state.local.store import LocalState
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

API = f"{NEW}/team/api"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_records_that_are_there_are_protected_without_a_run(world: World) -> None:
    """With nothing to apply the state still learns it, once, and no plan becomes stale by it."""
    for tag in ("1", "2"):
        world.seed(tag)
    await world.migrate()
    world.seed("2", b"newer")
    plan = await world.plan()
    before = world.state.records
    world.extra = f"protect: ['{API}:1', '{API}:2']\n"
    await keep_books(world.workspace, command="imgmigrate apply", lock_timeout=0)
    after = world.state
    assert [record.protected for record in after.live()] == [True, True]
    assert {key: each.sequence for key, each in after.records.items()} == {
        key: each.sequence for key, each in before.items()
    }
    await keep_books(world.workspace, command="imgmigrate apply", lock_timeout=0)
    assert world.state.sequence == after.sequence
    assert len((await world.apply(plan, strict=True)).counts) == 1
    assert [record.protected for record in world.state.live()] == [True, True]


async def test_a_run_protects_what_it_does_not_touch(world: World) -> None:
    """Any apply notes the protection of every record that the config names, for good."""
    world.seed("1")
    await world.migrate()
    world.seed("2")
    world.extra = f"protect: ['{API}:1']\n"
    await world.migrate()
    world.extra = ""
    assert {key: each.protected for key, each in world.state.records.items()} == {
        f"{API}:1": True,
        f"{API}:2": False,
    }
    world.seed("1", repo="team/web")
    world.rules = f"- {{source: {OLD}/team/web, destination: {NEW}/team/web}}"
    planned = rows(await world.plan(allow_delete=True))
    assert planned[f"{API}:1"] == ("blocked", "protected")
    assert planned[f"{API}:2"] == ("delete", "rule_removed")


async def test_nothing_to_note_takes_no_lock(world: World) -> None:
    """A config that protects nothing new does not wait for another run."""
    world.seed("1")
    world.extra = f"protect: ['{API}:1']\n"
    await world.migrate()
    async with LocalState(world.config.state).writer(command="another run"):
        await keep_books(world.workspace, command="imgmigrate apply", lock_timeout=0)
        world.extra = "protect: ['**']\n"
        world.rules = f"- {{source: {OLD}/team/api, destination: {NEW}/team/api}}"
        await keep_books(world.workspace, command="imgmigrate apply", lock_timeout=0)


async def test_a_lock_in_the_way_is_said(world: World) -> None:
    """What cannot be noted is an error, not a protection that is silently missing."""
    world.seed("1")
    await world.migrate()
    world.extra = f"protect: ['{API}']\n"
    async with LocalState(world.config.state).writer(command="another run"):
        with pytest.raises(StateLocked):
            await keep_books(world.workspace, command="imgmigrate apply", lock_timeout=0)
