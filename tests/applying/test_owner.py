"""A state belongs to one config: bound by its first apply, refused to others, at any place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from imgmigrate.applying.apply import ApplyOptions, apply_plan
from imgmigrate.applying.resume.books import keep_books
from imgmigrate.errors import PlanRefused, UsageError
from imgmigrate.events import Outcome, Warned
from imgmigrate.foreign.load import load_config
from imgmigrate.planning.planner import PlanOptions, make_plan
from imgmigrate.planning.rollback.rollback import make_rollback
from imgmigrate.state.lines.sealing import seal, unseal
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.owner import owner_of
from imgmigrate.state.record import Status
from tests.support.forging import forged, row
from tests.support.world import NEW, OLD, World

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.config.model import Config
    from imgmigrate.plan import Plan
    from imgmigrate.state.memory import StateInMemory

API = f"{NEW}/team/api"
RULE = f"{{source: {OLD}/team/api, destination: {NEW}/team/api}}"
OTHER = f"{{source: {OLD}/team/web, destination: {NEW}/team/web}}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.seed("1")
    world.seed("1", b"web", repo="team/web")
    return world


def config(world: World, file: str, rule: str = RULE, extra: str = "") -> Config:
    """Write and load a config of one rule."""
    path = world.folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"version: 1\nimages:\n- {rule}\n{extra}")
    return load_config(path, environ={})


def read(config: Config) -> StateInMemory:
    return LocalState(config.state).read()


async def plan_of(config: Config, world: World, **options: object) -> Plan:
    return await make_plan(world.over(config), PlanOptions(**options), sink=world.sink)  # type: ignore[arg-type]


async def migrate(config: Config, world: World) -> None:
    await apply_plan(world.over(config), await plan_of(config, world), sink=world.sink)


async def unbind(config: Config) -> None:
    """Make of a state one that an earlier version wrote: it knows no names."""
    snapshot = config.state / "snapshot.jsonl"
    first, _, body = snapshot.read_bytes().partition(b"\n")
    header = {
        key: value
        for key, value in unseal(first + b"\n")[0].items()
        if key not in ("name", "place", "hash")
    }
    header["runs"] = [{k: v for k, v in run.items() if k != "name"} for run in header["runs"]]
    snapshot.write_bytes(seal({**header, "format_version": "1.0"})[0] + body)
    assert read(config).name is None


async def test_the_first_apply_binds_the_state_to_the_config(world: World) -> None:
    """By its file's name with the suffix; later applies leave that as it is."""
    team = config(world, "team.yaml")
    await migrate(team, world)
    assert (read(team).name, read(team).place) == ("team.yaml", "state/team")
    world.seed("2")
    await migrate(team, world)
    assert read(team).name == "team.yaml"
    assert [run.name for run in read(team).runs] == ["team.yaml", None]


async def test_a_config_may_say_its_name(world: World) -> None:
    """Then its file may be called anything, such as a pipe of a generator."""
    team = config(world, "team.yaml", extra="name: our team\n")
    await migrate(team, world)
    assert read(team).name == "our team"
    moved = config(world, "other/generated-17.yaml", extra="name: our team\n")
    again = replace(moved, state=team.state)
    assert (await plan_of(again, world)).changes == ()


@pytest.mark.parametrize("file", ["team.yml", "team.json", "other.yaml", "Team.yaml"])
async def test_another_config_is_refused(world: World, file: str) -> None:
    """For every plan and for every apply; whoever was first keeps the state."""
    team = config(world, "team.yaml")
    await migrate(team, world)
    before = read(team)
    other = replace(config(world, file, OTHER), state=team.state)
    for options in ({}, {"allow_delete": True}, {"refresh_only": True}):
        with pytest.raises(UsageError, match=r"it belongs to team\.yaml, and this is") as caught:
            await plan_of(other, world, **options)
        assert "imgmigrate state rebind" in str(caught.value)
        assert "state: {path: DIR}" in str(caught.value)
    with pytest.raises(UsageError, match="belongs to"):
        await make_rollback(world.over(other), before.runs[0].run)
    free = replace(other, state=world.folder / "free")
    plan = await plan_of(free, world)
    with pytest.raises(UsageError, match="belongs to"):
        await apply_plan(world.over(other), plan)
    with pytest.raises(UsageError, match="belongs to"):
        await keep_books(other, command="imgmigrate apply", lock_timeout=0)
    assert (read(team).head, set(world.new.tags)) == (before.head, {("team/api", "1")})


async def test_a_first_plan_is_applied_by_its_own_config_alone(world: World) -> None:
    """Made when no state existed, it would fit any: with another config it is refused by name."""
    team, other = config(world, "team.yaml"), config(world, "imgmigrate.yaml", f"{OTHER}\n- {RULE}")
    plan = await plan_of(team, world)
    assert (plan.header.state.lineage, plan.header.state.name) == (None, "team.yaml")
    assert plan.header.state.place == "state/team"
    for once in range(2):
        with pytest.raises(PlanRefused, match=r"made for team\.yaml.*this is") as caught:
            await apply_plan(world.over(other), plan, ApplyOptions(file="ci/plan.out"))
        assert "imgmigrate apply `config` team.yaml ci/plan.out" in str(caught.value)
        if not once:  # nor where the other has a state already
            await migrate(other, world)
            world.new.tags.clear()
    assert not world.new.tags


async def test_two_first_plans_of_one_config_are_applied_one_after_the_other(world: World) -> None:
    """What the first of them made of the state is the second one's state too."""
    team = config(world, "team.yaml", f"{RULE}\n- {OTHER}")
    one = await plan_of(team, world, target=(f"{API}:1",))
    two = await plan_of(team, world, target=(f"{NEW}/team/web:1",))
    for plan in (one, two):
        assert (await apply_plan(world.over(team), plan)).counts == {Outcome.APPLIED: 1}
    assert len(read(team).records) == 2


async def test_a_first_plan_knows_its_place(world: World) -> None:
    """Relative to the config, so a checkout elsewhere is the same place; another folder is not."""
    team = config(world, "a/team.yaml")
    plan = await plan_of(team, world)
    elsewhere = replace(team, state=world.folder / "x", place="../x")
    with pytest.raises(PlanRefused, match=r"the state state/team of team\.yaml") as caught:
        await apply_plan(world.over(elsewhere), plan)
    assert "imgmigrate apply `config` team.yaml plan.out" in str(caught.value)
    checkout = config(world, "b/deeper/team.yaml")
    assert (await apply_plan(world.over(checkout), plan)).counts == {Outcome.APPLIED: 1}
    back = await plan_of(elsewhere, world)
    with pytest.raises(PlanRefused) as caught:
        await apply_plan(world.over(team), back)
    assert "imgmigrate apply `config` team.yaml `state` ../x plan.out" in str(caught.value)


async def test_one_place_by_two_names_is_one_place(world: World, tmp_path: Path) -> None:
    """A link to the state's folder, or its absolute path, is the same state."""
    team = config(world, "team.yaml")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    plan = await plan_of(replace(team, state=tmp_path / "real", place="real"), world)
    linked = replace(team, state=tmp_path / "link", place=str(tmp_path / "link"))
    assert (await apply_plan(world.over(linked), plan)).counts == {Outcome.APPLIED: 1}


async def test_a_state_may_move(world: World) -> None:
    """Its lineage is what it is, and its place only tells people where it was."""
    team = config(world, "team.yaml")
    await migrate(team, world)
    world.seed("2")
    plan = await plan_of(team, world)
    there = team.state.rename(world.folder / "moved")
    moved = replace(team, state=there, place="moved")
    assert (await apply_plan(world.over(moved), plan)).counts == {Outcome.APPLIED: 1}
    assert read(moved).name == "team.yaml"


async def test_a_plan_outlives_a_rename(world: World) -> None:
    """It was made from this very state, whatever that was called then."""
    team = config(world, "team.yaml")
    await migrate(team, world)
    world.seed("2")
    plan = await plan_of(team, world)
    crew = replace(config(world, "crew.yaml"), state=team.state)
    owner = owner_of(crew)
    assert owner is not None
    async with LocalState(team.state).writer(command="imgmigrate state rebind") as writer:
        await writer.bind(owner)
    assert (await apply_plan(world.over(crew), plan)).counts == {Outcome.APPLIED: 1}
    with pytest.raises(UsageError, match=r"belongs to crew\.yaml, and this is team\.yaml"):
        await plan_of(team, world)


def told(world: World, code: str) -> list[str]:
    """What was said under a code."""
    events = [each for each in world.sink.events if isinstance(each, Warned)]
    return [each.message for each in events if each.code == code]


@pytest.mark.parametrize("work", [True, False], ids=["with work", "with none"])
async def test_a_state_of_an_earlier_version_is_bound_by_its_next_apply(
    world: World, work: bool
) -> None:
    """To the config that applies; plan and apply say so. After that it is nobody else's."""
    team = config(world, "team.yaml")
    first = await plan_of(team, world)
    await apply_plan(world.over(team), first)
    await unbind(team)
    if work:
        world.seed("2")
    plan = await plan_of(team, world)
    said = "state state/team: it belongs to no config yet; the next apply makes it that of "
    assert told(world, "state_unbound") == [f"{said}team.yaml"]
    await apply_plan(world.over(team), plan if work else first, sink=world.sink)
    said = "state state/team: it belonged to no config; now it is that of team.yaml"
    assert told(world, "state_bound") == [said]
    assert read(team).name == "team.yaml"
    with pytest.raises(UsageError, match="belongs to"):
        await plan_of(replace(config(world, "team.yml"), state=team.state), world)


async def test_an_apply_that_finds_all_in_order_binds_too(world: World) -> None:
    """A state of an earlier version waits for no change to get its owner."""
    team = config(world, "team.yaml")
    await migrate(team, world)
    await unbind(team)
    said = await keep_books(team, command="imgmigrate apply", lock_timeout=0)
    assert said == "state state/team: it belonged to no config; now it is that of team.yaml"
    assert read(team).name == "team.yaml"
    assert await keep_books(team, command="imgmigrate apply", lock_timeout=0) is None


async def test_nothing_is_made_where_there_is_nothing_to_bind(world: World) -> None:
    """No state comes to be by an apply that has nothing to record."""
    team = config(world, "team.yaml")
    assert await keep_books(team, command="imgmigrate apply", lock_timeout=0) is None
    assert not team.state.exists()


async def test_what_no_config_asks_for_may_use_any_state(world: World) -> None:
    """It binds none, is refused none, and lets nothing of it go."""
    team = config(world, "team.yaml")
    await migrate(team, world)
    shot = replace(config(world, "x", OTHER), sha256="", name="", place="", state=team.state)
    plan = await plan_of(shot, world, allow_delete=True)
    assert [change.action.value for change in plan.changes] == ["copy"]
    assert (await apply_plan(world.over(shot), plan)).counts == {Outcome.APPLIED: 1}
    assert read(team).name == "team.yaml"
    del world.new.tags["team/api", "1"]
    refreshed = await plan_of(shot, world, refresh_only=True)
    assert [change.action.value for change in refreshed.changes] == ["drift"]
    free = replace(shot, state=world.folder / "free")
    await migrate(free, world)
    assert read(free).name is None


@pytest.mark.parametrize("action", ["delete", "forget"])
async def test_a_forged_plan_without_a_config_deletes_nothing(world: World, action: str) -> None:
    """Whoever seals such a row as one of no config gets no further."""
    team = config(world, "team.yaml")
    await migrate(team, world)
    record = read(team).records[f"{API}:1"]
    shot = replace(config(world, "x", OTHER), sha256="", name="", place="", state=team.state)
    plan = await plan_of(shot, world)
    bad = row(f"{API}:1", action, "rule_removed", before=record.digest, recorded=record.digest)
    with pytest.raises(PlanRefused, match="what no config asks for"):
        await apply_plan(world.over(shot), forged(plan, [bad]))
    assert read(team).records[f"{API}:1"].status is Status.LIVE
