"""Which rows say that their destination repository is not there yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.memory import image
from tests.support.world import World

if TYPE_CHECKING:
    from pathlib import Path

REPO = "team/api"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def seed(world: World, tags: int) -> None:
    for number in range(tags):
        world.seed(f"t{number}")


async def test_rows_of_a_repository_that_cannot_be_listed_say_so(world: World) -> None:
    """Where enough tags are asked for, the list tells that there is none."""
    seed(world, 5)
    plan = await world.plan()
    assert [row.new_repository for row in plan.changes] == [True] * 5


async def test_a_repository_with_other_tags_is_there(world: World) -> None:
    """Nobody has to create it."""
    seed(world, 5)
    world.new.seed(REPO, "theirs", *image(b"somebody else's"))
    plan = await world.plan()
    assert [row.new_repository for row in plan.changes] == [None] * 5


async def test_a_registry_that_says_so_of_one_tag_is_believed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that create none answer NAME_UNKNOWN for any tag: it needs no further question."""
    seed(world, 1)
    monkeypatch.setattr(type(world.new), "lacks", lambda _, repo: repo == REPO)
    plan = await world.plan()
    assert [row.new_repository for row in plan.changes] == [True]


async def test_few_tags_cost_no_question_more(world: World) -> None:
    """Whether a repository is there is not worth a request for each of thousands."""
    seed(world, 1)
    plan = await world.plan(sizes="never")
    assert [row.new_repository for row in plan.changes] == [None]
    assert world.new.calls["list_tags"] == 0
