"""Verifying against the sources: what they show now, and what refers to it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.config.values.shares import read_share
from imgmigrate.errors import TransientError
from imgmigrate.oci.companions import fallback_tag
from imgmigrate.oci.reference import Repository
from imgmigrate.verifying.sample import sampled
from imgmigrate.verifying.verdict import Standing, most_severe
from imgmigrate.verifying.verify import VerifyOptions, verify_changes, verify_records
from tests.fakes.memory import image
from tests.support.world import NEW, World

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.verifying.verdict import Verified

API = f"{NEW}/team/api"


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """Two images, moved and recorded."""
    world = World(tmp_path)
    for tag in ("1", "2"):
        world.seed(tag)
    await world.migrate()
    return world


async def verified(world: World) -> Verified:
    """Verify all records, and what their sources show."""
    return await verify_records(world.workspace, world.state.live(), VerifyOptions(sources=True))


def told(found: Verified) -> dict[str, list[str]]:
    """What is wrong, by address."""
    return {str(v.address): [fault.kind.value for fault in v.faults] for v in found.verdicts}


async def test_sources_that_are_as_recorded_are_no_fault(world: World) -> None:
    """Each is asked for its digest once, and its tags are listed once."""
    world.old.calls.clear()
    assert (await verified(world)).verdicts == ()
    assert (world.old.calls["head"], world.old.calls["list_tags"]) == (2, 1)


async def test_a_moved_source_is_told_as_such(world: World) -> None:
    """The destination is whole, and no longer what the source shows: not incomplete."""
    new = world.seed("1", b"new")
    del world.old.tags["team/api", "2"]
    found = await verified(world)
    assert told(found) == {f"{API}:1": ["moved"], f"{API}:2": ["moved"]}
    assert [v.faults[0].found for v in found.verdicts] == [new, None]
    assert most_severe(found) is Standing.MOVED


async def test_what_lacks_a_part_as_well_is_incomplete(world: World) -> None:
    """A pull fails: that comes before what the source shows."""
    world.seed("1", b"new")
    del world.new.blobs["team/api", image(b"1")[0].blobs[1].digest]
    found = await verified(world)
    assert [v.standing for v in found.verdicts] == [Standing.INCOMPLETE]


async def test_a_signature_that_did_not_go_along_is_named(world: World) -> None:
    """It came later, or was lost on the way; by the rule's own `referrers`."""
    tag = f"{fallback_tag(image(b'1')[0].digest)}.sig"
    signature = world.seed(tag, b"signature")
    [verdict] = (await verified(world)).verdicts
    [fault] = verdict.faults
    assert (fault.kind.value, fault.digest) == ("moved", signature)
    assert fault.referrer is not None
    assert fault.referrer.tag == tag
    world.rules = world.rules.replace("}", ", referrers: none}")
    assert (await verified(world)).verdicts == ()


async def test_a_source_that_is_down_leaves_it_unread(world: World) -> None:
    """Whether it has moved, nobody knows; against the state alone it may be gone for good."""

    def down(*_: str) -> None:
        raise TransientError("it", "503")

    world.old.hooks["head"] = down
    found = await verified(world)
    assert [v.standing for v in found.verdicts] == [Standing.UNREAD] * 2
    assert (await verify_records(world.workspace, world.state.live())).verdicts == ()


async def test_a_plan_says_what_should_be_there(tmp_path: Path) -> None:
    """Before it is applied all of it is absent, afterwards it is whole; no state is asked."""
    world = World(tmp_path)
    world.seed("1")
    plan = await world.plan()
    found = await verify_changes(world.workspace, plan.changes)
    assert told(found) == {f"{API}:1": ["absent"]}
    await world.apply(plan)
    assert (await verify_changes(world.workspace, plan.changes)).verdicts == ()


@pytest.mark.parametrize(("share", "number"), [("10%", 10), ("25", 25), ("1%", 1), ("500", 100)])
def test_a_sample_is_the_same_each_time(share: str, number: int) -> None:
    """By the hash of addresses, at least one; one address more changes one at most."""
    repository = Repository(NEW, "app")
    rows = [repository.at(f"v{each}") for each in range(100)]
    kept = sampled(rows, read_share(share), lambda row: row)
    assert (len(kept), kept) == (number, sampled(rows, read_share(share), lambda row: row))
    turned = sampled(rows[::-1], read_share(share), lambda row: row)
    assert sorted(turned, key=str) == sorted(kept, key=str)
    more = sampled([*rows, repository.at("new")], read_share(share), lambda row: row)
    assert len(set(kept) - set(more)) <= 1
