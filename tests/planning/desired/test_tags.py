"""Selection within a plan: rows, records, guards, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import GuardError, TransientError
from tests.planning.dated import dated, seed
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

API = f"{NEW}/team/api"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def select(world: World, tags: str) -> None:
    world.rules = f"- {{source: {OLD}/team/api, destination: {NEW}/team/api, tags: {tags}}}"


async def test_only_selected_tags_are_planned(world: World) -> None:
    """A plan copies what the mapping selects; names alone cost no request a tag."""
    seed(world, v1_0=None, v1_1=None, v1_2=None, latest=None)
    select(world, "{include: ['v*'], newest: 2}")
    assert rows(await world.plan(sizes="never")) == {
        f"{API}:v1.1": ("copy", "new"),
        f"{API}:v1.2": ("copy", "new"),
    }
    assert world.old.calls == {"list_tags": 1, "manifest": 2, "referrers": 2}


async def test_dates_cost_one_look_a_tag(world: World) -> None:
    """What dates a tag is what describes it and its manifest; a second plan reads no blob."""
    seed(world, a="2026-05-03T00:00:00Z", b="2026-05-01T00:00:00Z", c="2026-05-02T00:00:00Z")
    select(world, "{newest: 2, by: created}")
    expected = {f"{API}:a": ("copy", "new"), f"{API}:c": ("copy", "new")}
    assert rows(await world.plan(sizes="never")) == expected
    assert (world.old.calls["open_blob"], world.old.calls["manifest"]) == (3, 3)
    assert rows(await world.plan(sizes="never")) == expected
    assert (world.old.calls["open_blob"], world.old.calls["manifest"]) == (3, 6)
    assert world.old.calls["head"] == 0


async def test_a_displaced_image_is_deselected_and_a_vanished_one_is_kept(world: World) -> None:
    """A newer tag pushes the oldest out; a tag that only vanished stays ours."""
    seed(world, v1=None, v2=None)
    select(world, "{newest: 2}")
    await world.migrate()
    seed(world, v3=None)
    plan = await world.plan(forget=True)
    assert rows(plan) == {
        f"{API}:v1": ("forget", "deselected"),
        f"{API}:v3": ("copy", "new"),
    }
    await world.apply(plan)
    del world.old.tags["team/api", "v3"]
    del world.old.tags["team/api", "v1"]
    assert rows(await world.plan()) == {f"{API}:v3": ("keep", "source_gone")}


async def test_a_vanished_image_is_judged_by_the_date_that_was_read(world: World) -> None:
    """By creation date too: what would still be among the newest is kept."""
    seed(world, a="2026-05-01T00:00:00Z", b="2026-05-02T00:00:00Z", c="2026-05-03T00:00:00Z")
    select(world, "{newest: 2, by: created}")
    await world.migrate()
    seed(world, d="2026-05-04T00:00:00Z", e="2026-05-05T00:00:00Z")
    del world.old.tags["team/api", "c"]
    assert rows(await world.plan(forget=True)) == {
        f"{API}:b": ("forget", "deselected"),
        f"{API}:c": ("forget", "deselected"),
        f"{API}:d": ("copy", "new"),
        f"{API}:e": ("copy", "new"),
    }
    del world.old.tags["team/api", "d"]
    assert rows(await world.plan())[f"{API}:c"] == ("keep", "source_gone")


async def test_too_few_tags_are_refused(world: World) -> None:
    """`min` guards against a listing that is not what it was: exit 6, every such rule named."""
    seed(world, v1=None)
    world.old.seed("empty", "x", *dated(None))
    del world.old.tags["empty", "x"]
    world.rules = (
        f"- {{source: {OLD}/team/api, destination: {NEW}/a, tags: {{newest: 5, min: 2}}}}\n"
        f"- {{source: {OLD}/empty, destination: {NEW}/b, tags: {{min: 1}}}}\n"
        f"- {{source: {OLD}/team/api, destination: {NEW}/c, tags: {{min: 1}}}}"
    )
    with pytest.raises(GuardError) as caught:
        await world.plan()
    assert caught.value.exit_code == 6
    first, second = caught.value.message.split("\n")
    assert first.endswith(f"imgmigrate.yaml:3: {OLD}/team/api: 1 selected, and min is 2")
    assert second.endswith(f"imgmigrate.yaml:4: {OLD}/empty: 0 selected, and min is 1")
    assert "`explain` 1" in (caught.value.hint or "")


async def test_what_cannot_be_listed_is_an_error_row_and_no_shortage(world: World) -> None:
    """An unreadable source is said as what it is, and its records stay."""
    seed(world, v1=None)
    select(world, "{newest: 1, min: 1}")
    await world.migrate()

    def fail(repo: str, what: str) -> None:
        raise TransientError(f"{OLD}/{repo}", "connection refused")

    world.old.hooks["list_tags"] = fail
    assert rows(await world.plan()) == {API: ("error", "unreadable")}


async def test_what_cannot_be_dated_is_an_error_row(world: World) -> None:
    """Without all dates nobody knows the newest: one row, and no record is touched."""
    seed(world, a="2026-05-03T00:00:00Z", b="2026-05-01T00:00:00Z")
    select(world, "{newest: 1, by: created}")
    await world.migrate()
    seed(world, c="2026-05-04T00:00:00Z")

    def fail(repo: str, what: str) -> None:
        raise TransientError(f"{OLD}/{repo}", "connection reset")

    world.old.hooks["open_blob"] = fail
    assert rows(await world.plan()) == {API: ("error", "unreadable")}


async def test_a_tag_that_vanished_since_the_listing_takes_no_place(world: World) -> None:
    """It is not among the newest, so another is."""
    seed(world, a="2026-05-01T00:00:00Z", b="2026-05-02T00:00:00Z", c="2026-05-03T00:00:00Z")
    select(world, "{newest: 1, by: created}")

    def vanish(repo: str, what: str) -> None:
        world.old.tags.pop((repo, "c"), None)

    world.old.hooks["manifest"] = vanish
    assert rows(await world.plan()) == {f"{API}:b": ("copy", "new")}


async def test_a_tag_that_a_mapping_only_names_must_be_there(world: World) -> None:
    """As in a list: a named tag that the source lacks is an error row."""
    seed(world, v1=None)
    select(world, "{include: [v1, v9]}")
    assert rows(await world.plan()) == {
        f"{API}:v1": ("copy", "new"),
        f"{API}:v9": ("error", "source_missing"),
    }
    assert world.old.log.index(("manifest", "team/api", "v1")) < world.old.log.index(
        ("list_tags", "team/api", "")
    )
