"""An image that is there without all that refers to it: what is told, kept, and tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.events import Outcome
from tests.applying.signed import API, REPO, cosign
from tests.fakes.memory import image
from tests.support.world import World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The old registry has the API, the new one has not."""
    world = World(tmp_path)
    world.old.has_referrers = True
    return world


async def test_an_update_that_ended_partly_is_tried_again(world: World) -> None:
    """Only what refers to it: what the image replaced is as the first run recorded it."""
    former = world.seed("1")
    await world.migrate()
    digest = world.seed("1", b"new")
    tag, signature = cosign(world, digest)
    in_the_way, blobs = image(b"other")
    world.new.seed(REPO, tag, in_the_way, blobs)
    plan = await world.plan()
    assert (await world.apply(plan)).counts == {Outcome.PARTLY: 1}
    assert (await world.apply(plan)).counts == {Outcome.PARTLY: 1}
    assert (await world.migrate()).counts == {Outcome.PARTLY: 1}
    del world.new.tags[REPO, tag]
    finished = await world.apply(plan)
    assert finished.unfinished == ()
    record = world.state.records[f"{API}:1"]
    assert (record.digest, record.previous) == (digest, former)
    finished = await world.migrate()
    assert finished.unfinished == ()
    assert world.new.tags[REPO, tag] == signature
    assert (await world.plan()).changes == ()


async def test_the_same_plan_can_still_be_rolled_back(world: World) -> None:
    """What was tried again is a part of the row that it was left of."""
    former = world.seed("1")
    await world.migrate()
    tag, _ = cosign(world, world.seed("1", b"new"))
    in_the_way, blobs = image(b"other")
    world.new.seed(REPO, tag, in_the_way, blobs)
    plan = await world.plan()
    await world.apply(plan)
    del world.new.tags[REPO, tag]
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    [back] = (await world.rollback(plan.plan_id)).changes
    assert back.after == former


async def test_what_nobody_could_look_for_is_not_done_again(world: World) -> None:
    """The plan knows no more than it did: the row is done, and a later plan asks."""
    world.seed("1")
    await world.migrate()
    world.seed("1", b"new")
    plan = await world.plan()
    [change] = plan.changes
    unread = change.model_copy(update={"referrers": None, "referrers_unread": "denied (403)"})
    plan = type(plan).of(plan.header, [unread])
    assert (await world.apply(plan)).counts == {Outcome.APPLIED: 1}
    assert (await world.apply(plan)).counts == {Outcome.ALREADY: 1}
    assert world.state.records[f"{API}:1"].referrers_pending
