"""Rules of many repositories: one rule each, and never nothing to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import AccessDenied, ConfigError
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

GLOB = f"- {{source: '{OLD}/team/**', destination: '{NEW}/{{repository}}'%s}}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.rules = GLOB % ""
    return world


def forbid(world: World) -> None:
    def hook(repo: str, _: str) -> None:
        raise AccessDenied(f"{OLD} (list of repositories)", "denied (403)")

    world.old.hooks["list_repositories"] = hook


async def test_every_matching_repository_is_planned(world: World) -> None:
    """One rule becomes as many as there are repositories, each with all its tags."""
    for repo in ("team/a", "team/b/c"):
        world.seed("1", repo=repo)
        world.seed("2", repo=repo)
    world.seed("1", repo="other/x")
    plan = await world.plan()
    assert sorted(rows(plan)) == [
        f"{NEW}/team/a:1",
        f"{NEW}/team/a:2",
        f"{NEW}/team/b/c:1",
        f"{NEW}/team/b/c:2",
    ]
    assert plan.header.complete


async def test_after_apply_nothing_is_left_and_new_repositories_appear(world: World) -> None:
    """The list is read anew by every plan."""
    world.seed("1", repo="team/a")
    await world.migrate()
    assert (await world.plan()).changes == ()
    world.seed("1", repo="team/new")
    assert rows(await world.plan()) == {f"{NEW}/team/new:1": ("copy", "new")}


async def test_excluded_repositories_are_left_out(world: World) -> None:
    """What a rule excludes is not listed, and nobody asks for what came from it before."""
    world.seed("1", repo="team/a")
    world.seed("1", repo="team/tmp-1")
    await world.migrate()
    world.rules = GLOB % f", exclude_repositories: ['{OLD}/team/tmp-*']"
    world.old.calls.clear()
    assert rows(await world.plan(forget=True)) == {
        f"{NEW}/team/tmp-1:1": ("forget", "rule_removed")
    }
    assert world.old.calls["list_tags"] == 1


async def test_a_list_that_is_refused_is_one_error_row(world: World) -> None:
    """The row stands where a match would go, and says which rule asked."""
    forbid(world)
    plan = await world.plan()
    assert rows(plan) == {f"{NEW}/team/any": ("error", "unreadable")}
    assert "denied (403)" in (plan.changes[0].detail or "")
    assert "imgmigrate.yaml:3" in (plan.changes[0].detail or "")
    assert not plan.header.complete


async def test_records_survive_a_list_that_is_refused(world: World) -> None:
    """Without the list nothing is kept, forgotten or taken for gone."""
    world.seed("1", repo="team/a")
    await world.migrate()
    forbid(world)
    assert rows(await world.plan()) == {f"{NEW}/team/any": ("error", "unreadable")}


async def test_a_glob_that_matches_nothing_is_an_error_row(world: World) -> None:
    """Nothing there is a mistake of the rule, or of rights."""
    world.seed("1", repo="other/x")
    assert rows(await world.plan()) == {f"{NEW}/team/any": ("error", "source_missing")}


async def test_everything_excluded_is_an_error_row(world: World) -> None:
    """A rule that cannot do anything is said."""
    world.seed("1", repo="team/a")
    world.rules = GLOB % f", exclude_repositories: ['{OLD}/team/*']"
    plan = await world.plan()
    assert rows(plan) == {f"{NEW}/team/any": ("error", "source_missing")}
    assert "excluded" in (plan.changes[0].detail or "")


async def test_a_vanished_repository_is_unreadable_and_its_records_stay(world: World) -> None:
    """What is missing from the list is not gone: its images are neither kept nor forgotten."""
    for repo in ("team/a", "team/b"):
        world.seed("1", repo=repo)
    await world.migrate()
    del world.old.tags["team/b", "1"]
    for key in [key for key in world.old.manifests if key[0] == "team/b"]:
        del world.old.manifests[key]
    plan = await world.plan()
    assert rows(plan) == {f"{NEW}/team/b": ("error", "unreadable")}
    assert plan.summary.unchanged == 1


async def test_all_repositories_vanished_is_unreadable(world: World) -> None:
    """An empty list where images came from is never taken at its word."""
    world.seed("1", repo="team/a")
    await world.migrate()
    world.old.tags.clear()
    world.old.manifests.clear()
    assert rows(await world.plan()) == {f"{NEW}/team/any": ("error", "unreadable")}


async def test_a_rule_that_names_its_repository_beats_a_glob(world: World) -> None:
    """Its own rule says all about a repository and where it goes; elsewhere the glob still does."""
    for tag in ("1", "2"):
        world.seed(tag, repo="team/a")
    world.seed("1", repo="team/b")
    world.rules = "\n".join(
        (
            f"- source: '{OLD}/team/*'",
            f"  destination: ['{NEW}/{{repository}}', '{NEW}/all/{{name}}']",
            f"- {{source: {OLD}/team/a, destination: {NEW}/team/a, tags: ['2']}}",
        )
    )
    assert sorted(rows(await world.plan())) == [
        f"{NEW}/all/a:1",
        f"{NEW}/all/a:2",
        f"{NEW}/all/b:1",
        f"{NEW}/team/a:2",
        f"{NEW}/team/b:1",
    ]


async def test_an_address_that_a_named_repository_fills_is_not_the_globs(world: World) -> None:
    """Two sources for one address are an error, unless only one of them is named."""
    mine = world.seed("1", b"mine", repo="own/a")
    world.seed("1", b"other", repo="team/a")
    named = f"- {{source: {OLD}/own/a, destination: {NEW}/team/a}}"
    world.rules = f"{GLOB % ''}\n{named}"
    (change,) = (await world.plan()).changes
    assert change.source is not None
    assert change.source.digest == mine


async def test_two_matches_for_one_address_are_an_error_naming_the_rule(world: World) -> None:
    """Flattened names may meet; then nothing is done there, and the rest is planned."""
    world.seed("1", repo="team/a/b")
    world.seed("1", repo="team/a-b")
    world.seed("1", repo="team/c")
    world.rules = GLOB % ", flatten: '-'"
    plan = await world.plan()
    assert rows(plan) == {
        f"{NEW}/team-a-b:1": ("error", "contested"),
        f"{NEW}/team-c:1": ("copy", "new"),
    }
    (said,) = (change.detail or "" for change in plan.changes if change.detail)
    assert said.count("imgmigrate.yaml:3") == 2
    assert f"{OLD}/team/a-b:1 (" in said
    assert f"{OLD}/team/a/b:1 (" in said


async def test_what_two_sources_ask_for_is_not_let_go(world: World) -> None:
    """Nobody knows what is wanted there: a record of it is neither forgotten nor deleted."""
    world.seed("1", repo="team/a-b")
    world.rules = GLOB % ", flatten: '-'"
    await world.migrate()
    world.seed("1", repo="team/a/b")
    plan = await world.plan(allow_delete=True, allow_delete_gone=True)
    assert rows(plan) == {f"{NEW}/team-a-b:1": ("error", "contested")}


async def test_a_named_repository_beats_two_matches_that_meet(world: World) -> None:
    """It fills the address, whichever rule comes first."""
    mine = world.seed("1", b"mine", repo="own/a")
    world.seed("1", b"other", repo="team/a/b")
    world.seed("1", b"third", repo="team/a-b")
    named = f"- {{source: {OLD}/own/a, destination: {NEW}/team-a-b}}"
    flat = GLOB % ", flatten: '-'"
    for world.rules in (f"{flat}\n{named}", f"{named}\n{flat}"):
        (change,) = (await world.plan()).changes
        assert change.source is not None
        assert change.source.digest == mine


@pytest.mark.parametrize("tags", ["", ", tags: [v1]"])
async def test_a_name_that_the_destination_refuses_is_an_error(world: World, tags: str) -> None:
    """Docker Hub's names have two parts: what has more is refused before anything is sent."""
    world.seed("v1", repo="team/a/b")
    world.rules = f"- {{source: '{OLD}/**', destination: 'docker.io/{{repository}}'{tags}}}"
    with pytest.raises(ConfigError, match=r"docker.io/team/a/b; names .* at most 2 parts; join"):
        await world.plan()


async def test_a_tag_that_only_some_repositories_have_is_no_error(world: World) -> None:
    """A glob names a tag in no repository in particular."""
    world.seed("latest", repo="team/a")
    world.seed("1", repo="team/b")
    world.rules = GLOB % ", tags: [latest]"
    assert rows(await world.plan()) == {f"{NEW}/team/a:latest": ("copy", "new")}


async def test_renamed_tags_that_meet_are_an_error(world: World) -> None:
    """Two tags never overwrite each other in one plan; the others are planned."""
    world.seed("v1")
    world.seed("1")
    world.rules = (
        f"- {{source: {OLD}/team/api, destination: {NEW}/team/api, rename: {{'/^v/': ''}}}}"
    )
    assert rows(await world.plan()) == {f"{NEW}/team/api:1": ("error", "contested")}


async def test_renamed_tags_are_recorded_under_their_new_names(world: World) -> None:
    """A second plan knows them again."""
    world.seed("v1", repo="team/a")
    world.rules = GLOB % ", rename: {'/^v/': ''}"
    await world.migrate()
    assert world.new.tags.keys() == {("team/a", "1")}
    assert (await world.plan()).changes == ()


async def test_a_whole_registry_costs_few_requests(world: World) -> None:
    """At most two requests a tag and three a repository, and one list of repositories."""
    repositories, tags = 30, 20
    for repo in range(repositories):
        for tag in range(tags):
            world.seed(f"v{tag}", repo=f"team/r{repo:02}")
    plan = await world.plan(sizes="never")
    assert len(plan.changes) == repositories * tags
    made = sum((world.old.calls + world.new.calls).values())
    assert made <= repositories * tags * 2 + repositories * 3 + 1
    assert world.old.calls["list_repositories"] == 1
