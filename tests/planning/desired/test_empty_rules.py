"""Rules and patterns that select nothing: errors, warnings, and when neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Warned
from tests.fakes.memory import image
from tests.planning.dated import seed
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

API = f"{NEW}/team/api"
MISSING = {API: ("error", "source_missing")}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def select(world: World, tags: str | None, *, source: str = "team/api") -> None:
    said = f", tags: {tags}" if tags else ""
    repository = "{repository}" if "*" in source else source
    world.rules = f"- {{source: '{OLD}/{source}', destination: '{NEW}/{repository}'{said}}}"


def empty(world: World, repo: str = "team/api") -> None:
    """Leave a repository that has images and no tag."""
    for name, tag in [key for key in world.old.tags if key[0] == repo]:
        del world.old.tags[name, tag]
    manifest, _ = image(b"untagged")
    world.old.manifests[repo, manifest.digest] = manifest


def warned(world: World) -> list[str]:
    return [each.code for each in world.sink.events if isinstance(each, Warned)]


@pytest.mark.parametrize(
    "tags",
    [
        "'v9*'",
        "['v9*', '/^x/']",
        "{include: ['v9*']}",
        "{semver: '>=9'}",
        "{exclude: ['*']}",
        "{any: [{include: ['v9*']}, {semver: '^9'}]}",
    ],
)
async def test_a_rule_whose_patterns_match_no_tag_is_an_error(world: World, tags: str) -> None:
    """Nothing to do is not what a rule was written for: a row names cause, line and fix."""
    seed(world, v1=None, latest=None)
    select(world, tags)
    plan = await world.plan()
    assert rows(plan) == MISSING
    detail = plan.changes[0].detail or ""
    for part in (f"source {OLD}/team/api: ", "latest, v1", "imgmigrate.yaml:3", "min: 0"):
        assert part in detail


@pytest.mark.parametrize("tags", [None, "'v*'", "{semver: '>=1'}"])
async def test_an_empty_listing_is_an_error(world: World, tags: str | None) -> None:
    """A source without a single tag is never nothing to do."""
    empty(world)
    select(world, tags)
    plan = await world.plan()
    assert rows(plan) == MISSING
    assert "no tags are listed at all" in (plan.changes[0].detail or "")


async def test_an_emptied_source_is_unreadable(world: World) -> None:
    """Where images came from, a list without a tag is an error; their records stay."""
    world.seed("1")
    select(world, None)
    await world.migrate()
    empty(world)
    assert rows(await world.plan()) == {
        API: ("error", "unreadable"),
        f"{API}:1": ("keep", "source_gone"),
    }


@pytest.mark.parametrize(
    "tags",
    [
        "{include: ['v9*'], min: 0}",
        "{min: 0}",
        "{any: [{semver: '^9'}, {include: ['v9*']}], min: 0}",
        "{any: [{semver: '^9', min: 0}, {include: ['v9*']}]}",
    ],
)
@pytest.mark.parametrize("is_empty", [False, True])
async def test_min_0_says_that_none_is_fine(world: World, tags: str, is_empty: bool) -> None:
    """Whoever says so gets neither an error nor a warning."""
    seed(world, latest=None)
    if is_empty:
        empty(world)
    select(world, tags)
    plan = await world.plan()
    assert all(change.action.value == "copy" for change in plan.changes)
    assert warned(world) == []


async def test_nothing_new_enough_only_warns(world: World) -> None:
    """What time decides may select nothing today."""
    seed(world, v1="2020-01-01T00:00:00Z")
    select(world, "{created_after: 2026-01-01}")
    assert (await world.plan()).changes == ()
    assert warned(world) == ["rule_matches_nothing"]


async def test_a_rule_that_once_selected_only_warns(world: World) -> None:
    """That images went from a source that lists others is told by their rows."""
    seed(world, v1=None, latest=None)
    select(world, "'v*'")
    await world.migrate()
    del world.old.tags["team/api", "v1"]
    assert rows(await world.plan()) == {f"{API}:v1": ("keep", "source_gone")}
    assert warned(world) == ["rule_matches_nothing"]


@pytest.mark.parametrize("tags", ["['v*', 'x*']", "{include: ['v*', 'x*']}", "{any: [v*, x*]}"])
async def test_an_idle_pattern_is_warned_of(world: World, tags: str) -> None:
    """One of several patterns that matches nothing is named with the number of tags there are."""
    seed(world, v1=None, latest=None)
    select(world, tags.replace("v*, x*", "{include: ['v*']}, {include: ['x*']}"))
    assert rows(await world.plan()) == {f"{API}:v1": ("copy", "new")}
    (event,) = [each for each in world.sink.events if isinstance(each, Warned)]
    assert event.code == "pattern_matches_nothing"
    said = f"imgmigrate.yaml:3: {OLD}/team/api: x* matches none of its 2 tags; "
    assert said in event.message


async def test_the_repositories_of_a_glob_are_judged_together(world: World) -> None:
    """A repository without a match is nothing; none in any of them is one error."""
    for repo, tag in (("team/a", "v1"), ("team/b", "latest")):
        world.seed(tag, repo=repo)
    select(world, "'v*'", source="team/*")
    assert rows(await world.plan()) == {f"{NEW}/team/a:v1": ("copy", "new")}
    assert warned(world) == []
    select(world, "['x*', v9]", source="team/*")
    plan = await world.plan()
    assert rows(plan) == {f"{NEW}/team/a": ("error", "source_missing")}
    assert "(and 1 more repository)" in (plan.changes[0].detail or "")


@pytest.mark.parametrize("out", [{"target": (f"{NEW}/b",)}, {"exclude": (f"{NEW}/team/*",)}])
async def test_what_the_command_line_leaves_out_is_no_error(
    world: World, out: dict[str, tuple[str, ...]]
) -> None:
    """An error row of a repository that is not asked for is not shown."""
    world.seed("v1")
    world.seed("1", repo="b")
    select(world, "'x*'")
    world.rules += f"\n- {{source: '{OLD}/b', destination: {NEW}/b}}"
    assert rows(await world.plan(**out)) == {f"{NEW}/b:1": ("copy", "new")}
