"""Registries that are down: which are waited for, and who goes on meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from imgmigrate import apply_plan, load_config, make_plan
from imgmigrate.applying.apply import ApplyOptions
from imgmigrate.events import Outcome
from imgmigrate.planning.planner import PlanOptions
from imgmigrate.workspace import open_workspace
from tests.fakes.registry import FakeRegistry
from tests.support.cli import write_config
from tests.support.clock import ManualClock, settle
from tests.support.images import sharing
from tests.support.world import NEW, OLD, Recorder, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


HOSTS = (OLD, NEW, "typo.example")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two registries in memory, a config, a state on disk."""
    world = World(tmp_path)
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


COUNT = 6


class Three:
    """A source, and two destinations of which one goes down; time stands still."""

    def __init__(self, folder: Path, *registries: FakeRegistry) -> None:
        self.old, self.up, self.down = registries
        self.clock, self.sink = ManualClock(), Recorder()
        for number, image in enumerate(sharing(COUNT)):
            self.old.put_image("app", f"t{number}", image)
        rules = (
            f"  - {{source: {self.old.host}/app, destination: {each.host}/app}}"
            for each in (self.down, self.up)
        )
        hosts = [each.host for each in registries]
        config = load_config(write_config(folder, "\n".join(rules), *hosts))
        self.workspace = open_workspace(config, clock=self.clock)

    async def until_all_are_at(self, registry: FakeRegistry) -> None:
        """Wait until every image has arrived."""
        while "app" not in registry.repositories or len(registry.tags("app")) < COUNT:
            await settle()


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Three]:
    """Real stores over fake registries."""
    async with FakeRegistry() as old, FakeRegistry() as up, FakeRegistry() as down:
        yield Three(tmp_path, old, up, down)


@pytest.mark.parametrize("parallelism", [1, 2, 32])
async def test_images_for_other_registries_go_on(three: Three, parallelism: int) -> None:
    """All that one waits for holds nothing that the others need, however few may be open."""
    plan = await make_plan(three.workspace)
    three.down.drop("*", ".", times=None)
    options = ApplyOptions(parallelism=parallelism, outage=300)
    applying = asyncio.create_task(apply_plan(three.workspace, plan, options))
    await three.until_all_are_at(three.up)
    assert not applying.done()
    three.down.clear()
    while not applying.done():
        await three.clock.advance(5)
    assert applying.result().counts == {Outcome.APPLIED: 2 * COUNT}


async def test_an_outage_in_the_middle_loses_no_image(three: Three) -> None:
    """What was on its way to a registry that goes down arrives when it is back."""
    plan = await make_plan(three.workspace)
    three.down.drop("PUT", "/manifests/", times=None)
    three.down.drop("GET", "^/v2/$", times=None)
    applying = asyncio.create_task(apply_plan(three.workspace, plan, ApplyOptions(outage=300)))
    await three.until_all_are_at(three.up)
    three.down.clear()
    while not applying.done():
        await three.clock.advance(5)
    assert applying.result().counts == {Outcome.APPLIED: 2 * COUNT}


async def test_who_looks_asks_others_meanwhile(three: Three) -> None:
    """A plan asks all that it can of the other registries while one is waited for."""
    three.down.drop("*", ".", times=None)
    options = PlanOptions(parallelism=1, outage=300, awaits_strangers=True)
    planning = asyncio.create_task(make_plan(three.workspace, options))
    while not three.up.count("GET", "/app/tags/list"):
        await settle()
    assert not planning.done()
    three.down.clear()
    while not planning.done():
        await three.clock.advance(5)
    assert planning.result().summary.writes == 2 * COUNT


@pytest.mark.parametrize("how", ["down", "paused"])
async def test_a_run_that_is_to_end_does_not_wait_for_a_registry(three: Three, how: str) -> None:
    """--max-duration ends a wait for a registry that is down or wants a pause; nothing is lost."""
    plan = await make_plan(three.workspace)
    if how == "down":
        three.down.drop("*", ".", times=None)
    else:
        three.down.fail("*", ".", status=429, headers={"Retry-After": "600"}, times=None)
    options = ApplyOptions(outage=300, max_duration=20)
    applying = asyncio.create_task(apply_plan(three.workspace, plan, options, sink=three.sink))
    await three.until_all_are_at(three.up)
    assert not applying.done()
    await three.clock.advance(20)
    result = await applying
    assert three.clock.now == 20
    assert result.stopped == "`max_duration`: the time is over"
    assert result.counts == {Outcome.APPLIED: COUNT, Outcome.CANCELLED: COUNT}
    three.down.clear()
    again = await apply_plan(three.workspace, plan, clock=ManualClock(hurried=True))
    assert again.counts == {Outcome.ALREADY: COUNT, Outcome.APPLIED: COUNT}


@pytest.mark.parametrize("how", ["down", "paused"])
async def test_a_run_that_is_interrupted_does_not_wait_for_a_registry(
    three: Three, how: str
) -> None:
    """A signal cancels the run: it ends without a second of waiting."""
    plan = await make_plan(three.workspace)
    if how == "down":
        three.down.drop("*", ".", times=None)
    else:
        three.down.fail("*", ".", status=429, headers={"Retry-After": "600"}, times=None)
    applying = asyncio.create_task(apply_plan(three.workspace, plan, ApplyOptions(outage=300)))
    await three.until_all_are_at(three.up)
    applying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await applying
    assert three.clock.now == 0


@pytest.mark.parametrize("parallelism", [1, 32])
async def test_fail_fast_ends_what_only_waits(three: Three, parallelism: int) -> None:
    """After a failure nothing is begun, and no row of a registry that is down is waited for."""
    plan = await make_plan(three.workspace)
    three.down.drop("*", ".", times=None)
    options = ApplyOptions(parallelism=parallelism, outage=300, fail_fast=True)
    three.up.fail("PUT", "/manifests/t5", status=400, times=None)
    result = await apply_plan(three.workspace, plan, options, sink=three.sink)
    assert result.stopped == "`fail_fast`: a row failed"
    assert result.counts[Outcome.FAILED] == 1
    assert result.counts[Outcome.CANCELLED] >= COUNT
    assert three.clock.now == 0


@pytest.mark.parametrize("is_stranger", [False, True])
async def test_a_dead_source_is_waited_for_once_by_all_rules(
    three: Three, tmp_path: Path, is_stranger: bool
) -> None:
    """A thousand rules wait together, then each is an error row that names the registry."""
    clock = ManualClock(hurried=True)
    host, rules = "127.0.0.1:9" if is_stranger else three.old.host, 1000
    if not is_stranger:
        three.old.drop("*", ".", times=None)
    lines = (
        f"  - {{source: '{host}/r{number}:1', destination: '{three.up.host}/r{number}'}}"
        for number in range(rules)
    )
    config = load_config(write_config(tmp_path, "\n".join(lines), host, three.up.host))
    plan = await make_plan(open_workspace(config, clock=clock), PlanOptions(outage=300))
    assert clock.now == (5 if is_stranger else 300)
    assert plan.summary.error == rules
    assert {change.out_of_reach for change in plan.changes} == {host}
    assert three.old.arrivals < 300
