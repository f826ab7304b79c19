"""Which registries are waited for when they are down: those that were there before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.world import NEW, OLD, World, make_world

if TYPE_CHECKING:
    from pathlib import Path

HOSTS = (OLD, NEW, "typo.example")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Two registries in memory, a config, a state on disk."""
    world = make_world(tmp_path, monkeypatch)
    world.seed("1")
    return world


def known(world: World) -> list[str]:
    """The registries that whoever opened the stores last takes for being there."""
    return [host for host in HOSTS if world.opened["is_met"](host)]


async def test_what_a_plan_has_read_was_there_before_its_apply(world: World) -> None:
    """Both ends of the rows that apply carries out, and nobody else."""
    plan = await world.plan()
    await world.apply(plan, outage=60)
    assert known(world) == [OLD, NEW]
    assert world.opened["outage"] == 60


async def test_a_row_that_could_not_be_planned_tells_of_nobody(world: World) -> None:
    """An error row may be one of a name that is wrong."""
    world.rules = "  - {source: old.example/team/none, destination: new.example/team/none}"
    await world.apply(await world.plan())
    assert known(world) == []


async def test_what_the_state_records_was_there_before_a_plan(world: World) -> None:
    """A first plan knows nobody; a later one knows where its images are, and came from."""
    await world.plan()
    assert known(world) == []
    await world.migrate()
    await world.plan()
    assert known(world) == [OLD, NEW]
    await world.plan(refresh_only=True)
    assert known(world) == [OLD, NEW]


async def test_whoever_says_how_long_to_wait_has_all_waited_for(world: World) -> None:
    """Also what is not there yet: it may be about to start."""
    plan = await world.plan(awaits_strangers=True)
    assert known(world) == list(HOSTS)
    await world.apply(plan, awaits_strangers=True)
    assert known(world) == list(HOSTS)
