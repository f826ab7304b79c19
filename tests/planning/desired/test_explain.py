"""Explaining a selection: rules by number, addresses, and what became of their tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import ImgmigrateError, StoreError, TransientError, UsageError
from imgmigrate.planning.desired.explain import Explained, Loss, explain_selection
from tests.planning.dated import dated, seed
from tests.support.world import NEW, OLD, World

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.planning.desired.select import Choice

RULES = f"""\
- {{source: {OLD}/team/api, destination: {NEW}/a, tags: {{semver: '>=1.1', newest: 1}}}}
- {{source: {OLD}/team/api, destination: [{NEW}/b, {NEW}/a], tags: ['1.0', '9.9', 'l*']}}
- {{source: 'oci:images', destination: 'oci:copy', tags: {{newest: 1}}}}
- {{source: '{OLD}/team/api:1.0', destination: '{NEW}/c:stable'}}"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    seed(world, **{"1_0": None, "1_1": None, "1_2": None, "latest": None})
    world.rules = RULES
    return world


async def explain(world: World, what: str) -> list[Explained]:
    return await explain_selection(world.workspace, what, sink=world.sink, parallelism=4)


def chosen(explained: Explained) -> Choice:
    assert not isinstance(explained.choice, StoreError)
    return explained.choice


async def test_a_rule_is_explained_stage_by_stage(world: World) -> None:
    """By its number: what is listed, what each stage leaves, what is selected."""
    (found,) = await explain(world, "1")
    choice = chosen(found)
    assert (found.rule.number, len(choice.listing), choice.tags) == (1, 4, ("1.2",))
    assert [(stage.name, len(stage.left)) for stage in choice.filters[0]] == [
        ("semver", 2),
        ("newest", 1),
    ]
    assert set(world.old.calls) == {"list_tags"}
    assert not world.new.calls


async def test_an_address_is_explained_through_every_rule_that_writes_there(world: World) -> None:
    """Each rule says which source tag goes there, and where that dropped out."""
    one, two = await explain(world, f"{NEW}/a:1.0")
    assert [(fate.tag, fate.is_selected, fate.losses) for fate in one.fates] == [
        ("1.0", False, (Loss(0, "semver", "too old", ""),))
    ]
    assert [(fate.tag, fate.is_selected, fate.losses) for fate in two.fates] == [("1.0", True, ())]


@pytest.mark.parametrize(
    ("what", "fates"),
    [
        (f"{NEW}/b:9.9", [("9.9", True, False)]),
        (f"{NEW}/b:1.1", [("1.1", False, True)]),
        (f"{NEW}/b:7", []),
        (f"{NEW}/b", []),
        (f"{NEW}/c:stable", [("1.0", True, False)]),
    ],
)
async def test_an_address_has_the_fate_of_its_source_tag(
    world: World, what: str, fates: list[tuple[str, bool, bool]]
) -> None:
    """Named but not listed, dropped, not there at all, renamed; without a tag nobody is meant."""
    (found,) = await explain(world, what)
    assert [(fate.tag, fate.is_selected, fate.is_listed) for fate in found.fates] == fates


async def test_a_layout_is_found_however_it_is_written(world: World) -> None:
    """Addresses are normalised as a config's are."""
    (found,) = await explain(world, "oci:./x/../copy:1")
    assert found.rule.number == 3
    assert isinstance(found.choice, StoreError)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("0", "no such rule; they count from 1 to 4"),
        ("5", "no such rule"),
        (f"{NEW}/d:1", f"no rule writes to {NEW}/d"),
        ("no where", "`explain` no where: "),
    ],
)
async def test_what_does_not_exist_is_a_usage_error(world: World, what: str, message: str) -> None:
    """A typing error never reads as "nothing drops out"."""
    with pytest.raises(UsageError) as caught:
        await explain(world, what)
    assert message in caught.value.message
    assert caught.value.hint


async def test_what_cannot_be_listed_is_an_error_in_its_place(world: World) -> None:
    """The other rules are explained all the same."""

    def fail(repo: str, what: str) -> None:
        raise TransientError(f"{OLD}/{repo}", "connection refused")

    world.old.hooks["list_tags"] = fail
    (found,) = await explain(world, "1")
    assert isinstance(found.choice, TransientError)


async def test_a_glob_is_explained_for_each_repository(world: World) -> None:
    """A rule of many repositories has an answer for each, and an address finds its own."""
    top, blobs = dated(None)
    world.old.seed("team/web", "2.0", top, blobs)
    world.rules = (
        f"- {{source: '{OLD}/team/*', destination: '{NEW}/{{name}}', tags: {{newest: 1}}}}\n"
        f"- {{source: '{OLD}/none/*', destination: '{NEW}/none/{{name}}'}}"
    )
    found = await explain(world, "1")
    assert [(str(each.rule.source), chosen(each).tags) for each in found] == [
        (f"{OLD}/team/api", ("1.2",)),
        (f"{OLD}/team/web", ("2.0",)),
    ]
    (found_one,) = await explain(world, f"{NEW}/api:1.0")
    assert [fate.is_selected for fate in found_one.fates] == [False]
    with pytest.raises(ImgmigrateError, match="matches no repository"):
        await explain(world, "2")


async def test_a_repository_that_is_left_out_is_explained(world: World) -> None:
    """An address that a rule would write, did it not exclude the source, names the pattern."""
    world.rules = (
        f"- {{source: '{OLD}/team/*', destination: '{NEW}/{{name}}',"
        f" exclude_repositories: ['{OLD}/x/*', '{OLD}/team/w*']}}"
    )
    top, blobs = dated(None)
    world.old.seed("team/web", "2.0", top, blobs)
    with pytest.raises(UsageError) as caught:
        await explain(world, f"{NEW}/web:2.0")
    said = f"rule 1 leaves out {OLD}/team/web, by exclude_repositories: {OLD}/team/w*"
    assert said in caught.value.message
    with pytest.raises(UsageError, match="no rule writes to"):
        await explain(world, f"{NEW}/other:2.0")


async def test_too_few_tags_are_explained_and_not_refused(world: World) -> None:
    """Who asks why a guard refused gets an answer, not the guard again."""
    world.rules = RULES.replace("newest: 1", "newest: 1, min: 2", 1)
    (found,) = await explain(world, "1")
    assert chosen(found).shortages == ("1 selected, and min is 2",)
