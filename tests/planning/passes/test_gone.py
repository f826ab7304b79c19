"""What a list no longer names: gone if its tag says so, else an error that names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Outcome
from tests.support.world import NEW, World, rows

if TYPE_CHECKING:
    from pathlib import Path

API = f"{NEW}/team/api"


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """Three images that were migrated."""
    made = World(tmp_path)
    for tag in ("1", "2", "3"):
        made.seed(tag)
    await made.migrate()
    return made


def cut(world: World, *left: str) -> None:
    """Let the source's list name these tags alone, while all of them answer."""
    tags = dict(world.old.tags)

    def shorten(*_: str) -> None:
        world.old.tags = {key: each for key, each in tags.items() if key[1] in left}

    world.old.hooks["list_tags"] = shorten
    for verb in ("head", "manifest"):
        world.old.hooks[verb] = lambda *_: world.old.tags.update(tags)


@pytest.mark.parametrize("refresh", [True, False])
async def test_an_image_that_moved_behind_a_list_cut_short_is_no_silence(
    world: World, refresh: bool
) -> None:
    """Nobody would tell that it is not copied; what the list names goes on."""
    world.seed("1", b"again")
    world.seed("4")
    cut(world, "3", "4")
    plan = await world.plan(refresh=refresh)
    unread = ("error", "unreadable")
    assert rows(plan) == {f"{API}:1": unread, f"{API}:2": unread, f"{API}:4": ("copy", "new")}
    details = [change.detail or "" for change in plan.changes if change.detail]
    assert all("is there, though its list of tags leaves it out" in each for each in details)
    assert (await world.apply(plan)).counts[Outcome.APPLIED] == 1


async def test_what_is_gone_is_asked_for_once_and_kept(world: World) -> None:
    """Only a read says so; that a list lacks it is where to begin."""
    del world.old.tags["team/api", "1"]
    world.old.log.clear()
    assert rows(await world.plan()) == {f"{API}:1": ("keep", "source_gone")}
    asked = [each for each in world.old.log if each[1:] == ("team/api", "1")]
    assert [verb for verb, *_ in asked if verb == "manifest"] == ["manifest"]


async def test_the_same_list_whole_again_mends_it(world: World) -> None:
    """The row is for another run to mend, and that one has nothing to say of it."""
    tags = dict(world.old.tags)
    cut(world, "3")
    assert len((await world.plan()).changes) == 2
    world.old.hooks.clear()
    world.old.tags = tags
    assert rows(await world.plan()) == {}
