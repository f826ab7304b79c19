"""A destination whose rules were not all read whole: nobody knows what is unwanted there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.errors import AccessDenied, NotFound, StoreError, TransientError
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

API = f"{NEW}/team/api"
EVERYTHING: dict[str, Any] = {"allow_delete": True, "allow_delete_gone": True, "forget": True}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def migrated(world: World) -> None:
    """Three tags came from `team/api`, by a rule that the tests replace."""
    for tag in ("1", "2", "3"):
        world.seed(tag)
    await world.migrate()


def refusing(repo: str, error: StoreError) -> Callable[[str, str], None]:
    """Make a hook that raises for one repository."""

    def fail(name: str, _: str) -> None:
        if name == repo:
            raise error

    return fail


def leaves(found: dict[str, tuple[str, str]]) -> set[str]:
    """The actions of a plan that take something away, or let it go."""
    return {action for action, _ in found.values()} & {"delete", "forget"}


@pytest.mark.parametrize(
    "error",
    [
        NotFound(f"{OLD}/new/api", "not found (404)", status=404),
        AccessDenied(f"{OLD}/new/api", "denied (403)", status=403),
        TransientError(f"{OLD}/new/api", "connection reset"),
    ],
    ids=["absent", "denied", "broken"],
)
@pytest.mark.parametrize("refresh", [True, False])
async def test_a_renamed_source_that_cannot_be_listed_lets_nothing_go(
    world: World, error: StoreError, refresh: bool
) -> None:
    """The rule still goes to that destination, whatever its source is called now."""
    await migrated(world)
    world.rules = f"- {{source: {OLD}/new/api, destination: {API}}}"
    world.old.hooks["list_tags"] = refusing("new/api", error)
    plan = await world.plan(refresh=refresh, **EVERYTHING)
    assert set(rows(plan)) == {API}
    assert plan.summary.unwanted == 0


async def test_a_renamed_source_that_lists_nothing_lets_nothing_go(world: World) -> None:
    """An empty listing never means that there is nothing to do."""
    await migrated(world)
    world.rules = f"- {{source: {OLD}/new/api, destination: {API}}}"
    world.seed("x", repo="new/api")
    del world.old.tags["new/api", "x"]
    found = rows(await world.plan(**EVERYTHING))
    assert not leaves(found)
    assert found[API] == ("error", "source_missing")


async def test_a_renamed_source_that_selects_nothing_lets_nothing_go(world: World) -> None:
    """Another repository, with other tags, is more likely a typing error than a wish."""
    await migrated(world)
    world.rules = f"- {{source: {OLD}/new/api, destination: {API}, tags: ['v*']}}"
    world.seed("latest", repo="new/api")
    found = rows(await world.plan(**EVERYTHING))
    assert not leaves(found)
    assert found[API] == ("error", "source_missing")


async def test_a_renamed_source_has_lost_what_it_does_not_have(world: World) -> None:
    """The rule would ask for the tag, were it there: it is gone at its source, not unwanted."""
    await migrated(world)
    world.rules = f"- {{source: {OLD}/new/api, destination: {API}}}"
    for tag in ("1", "2"):
        world.seed(tag, repo="new/api")
    assert rows(await world.plan(allow_delete=True)) == {f"{API}:3": ("keep", "source_gone")}
    found = rows(await world.plan(allow_delete_gone=True))
    assert found == {f"{API}:3": ("delete", "source_gone")}


async def test_one_of_two_rules_that_was_not_read_is_enough(world: World) -> None:
    """Another rule to the same destination may want what the readable one does not."""
    world.rules = (
        f"- {{source: {OLD}/team/api, destination: {API}, tags: ['1*']}}\n"
        f"- {{source: {OLD}/new/api, destination: {API}, tags: ['2*', '3*']}}"
    )
    for repo, tag in (("team/api", "1"), ("new/api", "2"), ("new/api", "3")):
        world.seed(tag, repo=repo)
    await world.migrate()
    world.rules = world.rules.replace("['2*', '3*']", "['2*']")
    assert rows(await world.plan(allow_delete=True)) == {f"{API}:3": ("delete", "deselected")}
    world.seed("10")
    gone = TransientError(f"{OLD}/team/api", "connection reset")
    world.old.hooks["list_tags"] = refusing("team/api", gone)
    found = rows(await world.plan(**EVERYTHING))
    assert found == {API: ("error", "unreadable")}


async def test_an_image_that_cannot_be_read_is_not_read_whole(world: World) -> None:
    """Its tag may be the one that is to stand at an address which looks unwanted."""
    await migrated(world)
    world.rules = f"- {{source: {OLD}/team/api, destination: {API}, tags: ['1', '2']}}"

    def fail(_: str, what: str) -> None:
        if what == "2":
            raise TransientError(f"{OLD}/team/api:2", "connection reset")

    world.old.hooks["head"] = fail
    world.old.hooks["manifest"] = fail
    assert rows(await world.plan(**EVERYTHING)) == {f"{API}:2": ("error", "unreadable")}


@pytest.mark.parametrize("destination", ["{repository}", "team/{name}", "{namespace}/{name}"])
@pytest.mark.parametrize("matches", [False, True], ids=["matches nothing", "is refused"])
async def test_a_glob_that_was_not_expanded_may_go_anywhere_it_can(
    world: World, destination: str, matches: bool
) -> None:
    """What it would have matched is not known, so its template tells."""
    await migrated(world)
    world.rules = f"- {{source: '{OLD}/nobody/*', destination: '{NEW}/{destination}'}}"
    if matches:
        error = TransientError(OLD, "connection reset")
        world.old.hooks["list_repositories"] = refusing("nobody/*", error)
    assert not leaves(rows(await world.plan(**EVERYTHING)))


async def test_a_glob_says_nothing_of_where_it_never_goes(world: World) -> None:
    """Elsewhere a rule that is gone is gone."""
    await migrated(world)
    world.rules = f"- {{source: '{OLD}/nobody/*', destination: '{NEW}/mirror/{{name}}'}}"
    found = rows(await world.plan(allow_delete=True))
    assert found[f"{API}:1"] == ("delete", "rule_removed")


async def test_an_unread_rule_counts_under_every_name_of_its_destination(world: World) -> None:
    """The same path at another host may be the same place, unless the config knows better."""
    await migrated(world)
    world.rules = f"- {{source: {OLD}/new/api, destination: alias.example/team/api}}"
    assert not leaves(rows(await world.plan(**EVERYTHING)))
    world.extra = f"distinct: [alias.example, {NEW}]\n"
    found = rows(await world.plan(allow_delete=True))
    assert found[f"{API}:1"] == ("delete", "rule_removed")


async def test_a_list_that_was_cut_short_loses_nothing(world: World) -> None:
    """A tag that the list leaves out and that answers is not gone."""
    await migrated(world)
    tags = dict(world.old.tags)

    def cut(*_: str) -> None:
        world.old.tags = {key: each for key, each in tags.items() if key[1] == "3"}

    world.old.hooks["list_tags"] = cut
    world.old.hooks["head"] = world.old.hooks["manifest"] = lambda *_: world.old.tags.update(tags)
    for refresh in (True, False):
        plan = await world.plan(refresh=refresh, **EVERYTHING)
        assert rows(plan) == {f"{API}:{tag}": ("error", "unreadable") for tag in ("1", "2")}
        details = [change.detail or "" for change in plan.changes]
        assert all("though its list of tags leaves it out" in detail for detail in details)


async def test_a_source_that_does_not_answer_for_its_tag_proves_nothing(world: World) -> None:
    """Not listed, and nobody knows more: the image stays, and the plan says why."""
    await migrated(world)
    del world.old.tags["team/api", "1"]

    def fail(_: str, what: str) -> None:
        if what == "1":
            raise TransientError(f"{OLD}/team/api:1", "connection reset")

    world.old.hooks["head"] = world.old.hooks["manifest"] = fail
    (change,) = (await world.plan(**EVERYTHING)).changes
    assert (change.action.value, change.reason) == ("error", "unreadable")
    assert "connection reset" in (change.detail or "")


async def test_no_option_deletes_the_other_kind(world: World) -> None:
    """What is gone and what is unwanted are allowed apart, and limited together."""
    await migrated(world)
    del world.old.tags["team/api", "1"]
    world.rules = f"- {{source: {OLD}/team/api, destination: {API}, tags: {{exclude: ['2']}}}}"
    one, two = f"{API}:1", f"{API}:2"
    assert rows(await world.plan()) == {one: ("keep", "source_gone")}
    assert rows(await world.plan(allow_delete=True)) == {
        one: ("keep", "source_gone"),
        two: ("delete", "deselected"),
    }
    gone = await world.plan(allow_delete_gone=True)
    assert (rows(gone), gone.summary.unwanted) == ({one: ("delete", "source_gone")}, 1)
    world.extra = "max_delete: 1\n"
    both = await world.plan(allow_delete=True, allow_delete_gone=True)
    assert rows(both) == {
        one: ("blocked", "max_delete_gone"),
        two: ("blocked", "max_delete"),
    }


async def test_a_plan_without_a_config_lets_nothing_go(world: World) -> None:
    """It asks for what it names: nothing tells what is not wanted, or gone for good."""
    from dataclasses import replace

    from imgmigrate.planning.planner import PlanOptions, make_plan

    await migrated(world)
    del world.old.tags["team/api", "1"]
    oneshot = replace(world.config, sha256="")
    found = rows(await make_plan(world.over(oneshot), PlanOptions(**EVERYTHING)))
    assert not leaves(found)
