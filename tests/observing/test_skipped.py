"""Listed names that cannot be taken are named once, counted in the plan, and stop nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import NamesSkipped, Warned
from imgmigrate.observing.skipped import MOST_APART, SkippedNames
from imgmigrate.oci.reference import Repository
from imgmigrate.planning.desired import explain as explain_selection
from imgmigrate.render.json import JsonStream
from imgmigrate.render.reports.selection import selection_lines, write_selection
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path


API, REPO = f"{NEW}/team/api", "team/api"
ODD = ("-0.2.0", "1.0+b1")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def skips(world: World) -> list[NamesSkipped]:
    """What was told of names that are left out."""
    return [each for each in world.sink.events if isinstance(each, NamesSkipped)]


async def test_names_are_told_once_and_noted_in_the_plan(world: World) -> None:
    """However often a source is listed, a reader sees it once, and a reviewer in the plan."""
    world.seed("v1")
    world.seed("v2")
    world.old.odd_names[REPO] = ODD
    await world.migrate()
    del world.old.tags[REPO, "v2"]
    world.sink.events.clear()
    plan = await world.plan(allow_delete_gone=True)
    assert world.old.calls["list_tags"] > 2
    assert skips(world) == [NamesSkipped(Repository(OLD, REPO), ODD, 2)]
    said = f"{OLD}/{REPO}: 2 listed names are no valid tags, and left out: -0.2.0, 1.0+b1"
    assert plan.header.notes == (said,)
    assert skips(world)[0].warning == Warned("names_skipped", said)


async def test_names_at_a_destination_are_nobodys_business(world: World) -> None:
    """What is listed where we write to is neither copied nor left out."""
    for number in range(5):
        world.seed(f"t{number}")
    world.new.odd_names[REPO] = ODD
    plan = await world.plan()
    await world.apply(plan)
    assert skips(world) == []
    assert plan.header.notes == ()


async def test_every_source_has_its_own_note(world: World) -> None:
    """Two sources, two notes, in the order of their names; the rows are as without them."""
    world.rules = (
        f"- {{source: {OLD}/b, destination: {NEW}/b}}\n- {{source: {OLD}/a, destination: {NEW}/a}}"
    )
    for repo in ("a", "b"):
        world.seed("v1", repo=repo)
        world.old.odd_names[repo] = (f"+{repo}",)
    plan = await world.plan()
    assert rows(plan) == {f"{NEW}/{repo}:v1": ("copy", "new") for repo in ("a", "b")}
    assert [note.partition(":")[0] for note in plan.header.notes] == [f"{OLD}/a", f"{OLD}/b"]


async def test_explain_counts_them(world: World) -> None:
    """The listing is told as it was: what is a tag, and what is not."""
    world.seed("v1")
    world.old.odd_names[REPO] = ODD
    explained = await explain_selection.explain_selection(
        world.workspace, "1", sink=world.sink, parallelism=4
    )
    said = "  2 listed names are no valid tags, and left out: -0.2.0, 1.0+b1"
    assert list(selection_lines(explained))[-3:-1] == ["  1 tag listed", said]
    written: list[str] = []
    write_selection(explained, JsonStream(written.append, now=lambda: "now"))
    assert '"skipped":2,"skipped_names":["-0.2.0","1.0+b1"]' in written[1]


def test_a_hostile_list_is_counted_in_bounded_memory() -> None:
    """A name that is read again is the same name; of very many only some are kept."""
    skipped = SkippedNames()
    for number in (*range(MOST_APART + 10), *range(MOST_APART)):
        skipped.add(f"+{number}")
    assert (len(skipped.names), skipped.total) == (MOST_APART, MOST_APART + 10)
