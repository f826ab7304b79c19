"""What a row that is not done is told by: a code of its own, never that of all errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.render.json import JsonStream
from tests.fakes.memory import image
from tests.support.world import NEW, World

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.plan import Plan

API = f"{NEW}/team/api"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def told(world: World, plan: Plan, **options: Any) -> set[tuple[str, str, str]]:
    """Apply a plan; outcome, code and kind of each row that is not done, as JSON has them."""
    written: list[str] = []
    JsonStream(written.append).emit(await world.apply(plan, **options))
    (summary,) = [line for line in map(json.loads, written) if line["type"] == "run_summary"]
    return {(each["outcome"], each["code"], each["kind"]) for each in summary["unfinished"]}


async def test_a_conflict_of_the_plan_and_one_of_the_apply_have_one_code(world: World) -> None:
    """Not ours to overwrite, overwritten since, or recorded since: a person decides."""
    for tag in ("1", "2", "3"):
        world.seed(tag)
    world.new.seed("team/api", "1", *image(b"theirs"))
    plan = await world.plan()
    world.new.seed("team/api", "2", *image(b"theirs too"))
    await world.apply(await world.plan(target=("**:3",), replace=("**:3",)))
    world.seed("3", b"newer")
    await world.apply(await world.plan(target=("**:3",)))
    assert await told(world, plan) == {("conflict", "IM302", "RowConflict")}


async def test_what_a_run_did_not_reach_has_a_code(world: World) -> None:
    """It ended at the first failure; the same plan goes on."""
    for tag in ("1", "2"):
        world.seed(tag)
    plan = await world.plan()
    world.old.blobs.clear()
    found = await told(world, plan, parallelism=1, fail_fast=True)
    assert ("cancelled", "IM304", "NotReached") in found
    assert "IM301" not in {code for _, code, _ in found}
