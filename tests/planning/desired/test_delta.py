"""Sources that carry only what is new: what they do not carry stays, and stays ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import ConfigError
from imgmigrate.foreign.load import load_config
from imgmigrate.planning.pin_sources import pin_sources
from imgmigrate.planning.planner import PlanOptions, resolve
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

DELTA = f"- {{source: {OLD}/team/api, destination: {NEW}/team/api, source_is_delta: true}}"
MANY = f'- {{source: "{OLD}/team/**", destination: "{NEW}/{{repository}}", source_is_delta: true}}'
KEPT = ("keep", "not_in_delta")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One rule, of a source that carries only what is new."""
    world = World(tmp_path)
    world.rules = DELTA
    return world


def swap(world: World) -> None:
    """Put an empty disk in the old one's place."""
    world.old.tags.clear()
    world.old.manifests.clear()
    world.old.blobs.clear()


@pytest.mark.parametrize(
    "options", [{}, {"allow_delete": True}, {"allow_delete_gone": True}, {"refresh": False}]
)
async def test_what_is_not_carried_is_kept(world: World, options: dict[str, bool]) -> None:
    """The new is copied, the rest stays as it is, whatever the command line allows."""
    world.seed("1")
    world.seed("2")
    await world.migrate()
    swap(world)
    world.seed("3")
    plan = await world.plan(**options)
    assert rows(plan) == {
        f"{NEW}/team/api:1": KEPT,
        f"{NEW}/team/api:2": KEPT,
        f"{NEW}/team/api:3": ("copy", "new"),
    }
    await world.apply(plan)
    assert {tag for _, tag in world.new.tags} == {"1", "2", "3"}
    assert sum(1 for _ in world.state.live()) == 3


@pytest.mark.parametrize("options", [{}, {"allow_delete": True, "allow_delete_gone": True}])
@pytest.mark.parametrize("rules", [DELTA, MANY], ids=["one", "many"])
async def test_a_repository_that_is_not_carried_is_kept(
    world: World, rules: str, options: dict[str, bool]
) -> None:
    """As a whole: no row of it is an error, and none lets it go."""
    world.rules = rules
    world.seed("1")
    world.seed("1", repo="team/web")
    await world.migrate()
    known = {str(record.address) for record in world.state.live()}
    swap(world)
    if rules is MANY:
        world.seed("2", repo="team/web")
    plan = await world.plan(**options)
    assert {address: row for address, row in rows(plan).items() if row[0] != "copy"} == (
        dict.fromkeys(known, KEPT)
    )
    assert not plan.summary.error


async def test_nothing_new_at_all_is_no_error(world: World) -> None:
    """The wildcard matches nothing on this disk."""
    world.rules = MANY
    world.seed("1")
    await world.migrate()
    swap(world)
    assert rows(await world.plan()) == {f"{NEW}/team/api:1": KEPT}


ONE_FOLDER = f"- {{source: {OLD}/disk-11/api, destination: {NEW}/team/api, source_is_delta: true}}"
MANY_FOLDERS = MANY.replace("team/**", "disk-11/*").replace("{repository}", "team/{match}")


@pytest.mark.parametrize("allow_delete", [False, True])
@pytest.mark.parametrize("rules", [ONE_FOLDER, MANY_FOLDERS], ids=["one", "many"])
async def test_each_month_may_have_a_folder_of_its_own(
    world: World, rules: str, allow_delete: bool
) -> None:
    """Rules are found by where they write to, so last month's images are not orphans."""
    world.rules = rules
    world.seed("1", repo="disk-11/api")
    world.seed("1", repo="disk-11/web")
    await world.migrate()
    swap(world)
    world.rules = rules.replace("disk-11", "disk-12")
    world.seed("2", repo="disk-12/api")
    plan = await world.plan(allow_delete=allow_delete, allow_delete_gone=allow_delete, forget=True)
    assert rows(plan).pop(f"{NEW}/team/api:2") == ("copy", "new")
    assert {row for address, row in rows(plan).items() if not address.endswith(":2")} == {KEPT}


async def test_a_named_tag_that_was_carried_once_is_kept(world: World) -> None:
    """It is named, and it is ours."""
    world.rules = DELTA.replace("team/api,", 'team/api, tags: ["1", "2"],', 1)
    world.seed("1")
    world.seed("2")
    await world.migrate()
    swap(world)
    world.seed("2")
    assert rows(await world.plan()) == {f"{NEW}/team/api:1": KEPT}
    swap(world)
    assert rows(await world.plan()) == dict.fromkeys(
        (f"{NEW}/team/api:1", f"{NEW}/team/api:2"), KEPT
    )


async def test_a_named_tag_that_was_never_recorded_is_an_error(world: World) -> None:
    """Nobody knows it: the name may be wrong, or a disk was left out."""
    world.rules = DELTA.replace("team/api,", 'team/api, tags: ["1", "2"],', 1)
    world.seed("1")
    plan = await world.plan()
    assert rows(plan)[f"{NEW}/team/api:2"] == ("error", "source_missing")


async def test_a_delta_that_never_brought_anything_is_an_error(world: World) -> None:
    """An empty source is not known to be well before it has carried something."""
    for rules in (DELTA, MANY):
        world.rules = rules
        (row,) = rows(await world.plan()).values()
        assert row == ("error", "source_missing")


async def test_what_the_delta_carries_and_the_rule_leaves_out_is_unwanted(world: World) -> None:
    """That is said, and not only not carried."""
    world.seed("1")
    world.seed("2")
    await world.migrate()
    world.rules = DELTA.replace("team/api,", 'team/api, tags: {exclude: ["1"]},', 1)
    plan = await world.plan(allow_delete=True)
    assert rows(plan) == {f"{NEW}/team/api:1": ("delete", "deselected")}


async def test_without_the_rule_nothing_of_it_is_kept(world: World) -> None:
    """A rule that is gone keeps nothing."""
    world.seed("1")
    await world.migrate()
    world.rules = f"- {{source: {OLD}/other, destination: {NEW}/other}}"
    world.seed("1", repo="other")
    plan = await world.plan(allow_delete=True)
    assert rows(plan)[f"{NEW}/team/api:1"] == ("delete", "rule_removed")


@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize("rules", [DELTA, MANY], ids=["one", "many"])
async def test_a_destination_counts_under_all_its_names(
    world: World, rules: str, distinct: bool
) -> None:
    """A registry that got another name keeps its images; `distinct` says that it is another."""
    other = "other.example"
    world.rules = rules
    world.seed("1")
    await world.migrate()
    swap(world)
    world.rules = rules.replace(NEW, other)
    world.stores.stores[other] = world.new
    world.seed("2")
    world.extra = f"distinct: [{NEW}, {other}]" if distinct else ""
    plan = await world.plan(allow_delete=True)
    assert rows(plan)[f"{other}/team/api:2"] == ("copy", "new")
    action, reason = rows(plan)[f"{NEW}/team/api:1"]
    assert (action, reason) == (("delete", "rule_removed") if distinct else KEPT)


async def test_a_refresh_does_not_miss_what_is_not_carried(world: World) -> None:
    """The source has not moved: it carries something else now."""
    world.seed("1")
    world.seed("2")
    await world.migrate()
    swap(world)
    assert rows(await world.plan(refresh_only=True)) == {}
    del world.new.tags["team/api", "2"]
    assert rows(await world.plan(refresh_only=True)) == {
        f"{NEW}/team/api:2": ("forget", "destination_gone")
    }


@pytest.mark.parametrize("rules", [DELTA, MANY], ids=["one", "many"])
async def test_pins_of_what_is_not_carried_stay(world: World, rules: str) -> None:
    """A lock file is of all that is wanted, and not of this disk."""
    world.rules = rules
    world.seed("1")
    await world.migrate()
    first = await pin_sources(world.workspace, {}, PlanOptions())
    swap(world)
    world.seed("2")
    second = await pin_sources(world.workspace, first.pins, PlanOptions())
    assert {str(address) for address in second.pins} == {
        f"{NEW}/team/api:1",
        f"{NEW}/team/api:2",
    }
    found = await resolve(world.workspace)
    assert found.problems == ()


@pytest.mark.parametrize(
    "other",
    [
        f"- {{source: {OLD}/a, destination: {NEW}/a}}",
        f"- {{source: {OLD}/a, destination: {NEW}/a, source_is_delta: false}}",
    ],
)
def test_two_rules_do_not_differ_about_one_source(tmp_path: Path, other: str) -> None:
    """Whether what is missing is gone has one answer."""
    path = tmp_path / "imgmigrate.yaml"
    delta = f"- {{source: {OLD}/a, destination: {NEW}/a, source_is_delta: true}}"
    path.write_text(f"version: 1\nimages:\n{delta}\n{other}\n")
    with pytest.raises(ConfigError, match="source_is_delta"):
        load_config(path, environ={})
