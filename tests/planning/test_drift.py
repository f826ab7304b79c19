"""Who has moved since the record, and what an apply may do about it: never take over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import NotFound, TransientError, UsageError
from imgmigrate.events import Outcome
from imgmigrate.oci.reference import Digest, Reference
from imgmigrate.planning.drift import decide_drift
from imgmigrate.state.record import Filter, Source, Status
from tests.fakes.memory import image
from tests.render import samples
from tests.support.world import NEW, OLD, World, rows

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = f"{NEW}/team/api:1"
R, S, D = (Digest.of(name.encode()) for name in "rsd")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize(
    ("source", "destination", "action", "reason"),
    [
        (R, R, None, None),
        (S, R, "drift", "source_moved"),
        (None, R, "drift", "source_gone"),
        (R, D, "drift", "changed_here"),
        (S, D, "drift", "both_moved"),
        (None, D, "drift", "both_moved"),
        (S, S, "adopt", "already_there"),
        (R, None, "forget", "destination_gone"),
        (S, None, "forget", "destination_gone"),
        (None, None, "forget", "destination_gone"),
    ],
)
def test_every_way_to_move_has_its_row(
    source: Digest | None, destination: Digest | None, action: str | None, reason: str | None
) -> None:
    """The table of what both sides can show about a record of the digest R."""
    origin = Source(reference=Reference.parse(f"{OLD}/team/api:1"), digest=R)
    record = samples.record(ADDRESS, source=origin, digest=R)
    change = decide_drift(record, source, destination)
    if change is None:
        assert action is None
        return
    assert (change.action.value, change.reason) == (action, reason)
    assert (change.before, change.recorded) == (destination, R)
    assert change.after == (destination if action == "adopt" else None)
    assert change.source is not None
    assert change.source.digest == (source or R)
    assert (change.detail is not None) == (source != R)


def test_a_filtered_image_is_never_adopted_unread() -> None:
    """What a choice of platforms leaves of the source is unknown here: it stays drift."""
    chosen = Filter(platforms=("linux/amd64",), version=1)
    change = decide_drift(samples.record(ADDRESS, filter=chosen, digest=R), S, S)
    assert change is not None
    assert change.action.value == "drift"


async def test_what_nobody_moved_is_no_row(world: World) -> None:
    """Both sides as recorded: nothing to say, each counted; forgotten records are not looked at."""
    for tag in ("1", "2"):
        world.seed(tag)
    await world.migrate()
    plan = await world.plan(refresh_only=True)
    assert (plan.changes, plan.summary.unchanged) == ((), 2)
    assert plan.header.refresh_only
    world.rules = f"- {{source: {OLD}/team/api:2, destination: {NEW}/team/api}}"
    await world.apply(await world.plan(forget=True))
    assert (await world.plan(refresh_only=True)).summary.unchanged == 1


async def test_a_moved_destination_never_becomes_ours(world: World) -> None:
    """Somebody overwrote the tag: an apply of the drift writes nothing and owns nothing."""
    world.seed("1")
    await world.migrate()
    recorded = world.state
    manifest, blobs = image(b"theirs")
    theirs = world.new.seed("team/api", "1", manifest, blobs)
    plan = await world.plan(refresh_only=True)
    assert rows(plan) == {ADDRESS: ("drift", "changed_here")}
    assert plan.summary.writes == 0
    finished = await world.apply(plan)
    assert (finished.counts, finished.unfinished) == ({}, ())
    assert world.state.records == recorded.records
    assert not world.state.owns(Reference.parse(ADDRESS), theirs)
    assert rows(await world.plan()) == {ADDRESS: ("conflict", "changed_here")}


async def test_a_lost_destination_is_forgotten_and_stays_recognisable(world: World) -> None:
    """The record becomes a tombstone; the image is new to the next plan, and ours if it returns."""
    digest = world.seed("1")
    await world.migrate()
    world.new.tags.clear()
    plan = await world.plan(refresh_only=True)
    assert rows(plan) == {ADDRESS: ("forget", "destination_gone")}
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.APPLIED: 1}
    assert world.state.records[ADDRESS].status is Status.FORGOTTEN
    assert world.state.owns(Reference.parse(ADDRESS), digest)
    assert rows(await world.plan()) == {ADDRESS: ("copy", "new")}


async def test_sides_that_moved_to_one_digest_are_adopted(world: World) -> None:
    """D = S: the record is brought up to date without a byte, and then nothing is to do."""
    world.seed("1")
    await world.migrate()
    manifest, blobs = image(b"next")
    for store in (world.old, world.new):
        store.seed("team/api", "1", manifest, blobs)
    plan = await world.plan(refresh_only=True)
    assert rows(plan) == {ADDRESS: ("adopt", "already_there")}
    finished = await world.apply(plan)
    assert (finished.counts, finished.moved) == ({Outcome.APPLIED: 1}, 0)
    assert rows(await world.plan()) == {}
    assert rows(await world.plan(refresh_only=True)) == {}


async def test_an_adoption_looks_again(world: World) -> None:
    """A destination that moves on after the plan is a conflict, and is not recorded."""
    world.seed("1")
    await world.migrate()
    before = world.state.records
    manifest, blobs = image(b"next")
    for store in (world.old, world.new):
        store.seed("team/api", "1", manifest, blobs)
    plan = await world.plan(refresh_only=True)
    manifest, blobs = image(b"theirs")
    world.new.seed("team/api", "1", manifest, blobs)
    finished = await world.apply(plan)
    assert finished.counts == {Outcome.CONFLICT: 1}
    assert world.state.records == before


async def test_a_source_that_moved_or_went_is_only_told(world: World) -> None:
    """The row says from what to what; the next plan decides what to do about it."""
    for tag in ("1", "2", "3"):
        world.seed(tag)
    await world.migrate()
    moved = world.seed("1", b"moved")
    del world.old.tags["team/api", "2"]
    plan = await world.plan(refresh_only=True)
    assert [(c.address.tag, c.reason) for c in plan.changes] == [
        ("1", "source_moved"),
        ("2", "source_gone"),
    ]
    assert plan.changes[0].detail is not None
    assert plan.changes[0].detail.endswith(f"now {moved.short}")
    assert (await world.apply(plan)).counts == {}


@pytest.mark.parametrize("side", ["old", "new"])
async def test_what_cannot_be_read_is_an_error_and_not_drift(world: World, side: str) -> None:
    """A registry that fails has not moved: its images are errors, the records stay."""
    world.seed("1")
    await world.migrate()
    world.new.tags.clear()

    def fail(repo: str, what: str) -> None:
        raise TransientError(repo, "unavailable (503)")

    getattr(world, side).hooks["head"] = fail
    plan = await world.plan(refresh_only=True)
    assert rows(plan) == {ADDRESS: ("error", "unreadable")}
    assert not plan.header.complete


async def test_a_source_repository_that_is_gone_is_unreadable(world: World) -> None:
    """A whole repository that answers 404 is not taken for images that were deleted."""
    world.seed("1")
    await world.migrate()
    world.old.tags.clear()

    def fail(repo: str, what: str) -> None:
        raise NotFound(repo, "not found (404)")

    world.old.hooks["list_tags"] = fail
    assert rows(await world.plan(refresh_only=True)) == {ADDRESS: ("error", "unreadable")}


async def test_globs_limit_what_is_looked_at(world: World) -> None:
    """`--target` and `--exclude` choose among the records; one that matches none is an error."""
    for tag in ("1", "2", "3"):
        world.seed(tag)
    await world.migrate()
    world.new.tags.clear()
    plan = await world.plan(refresh_only=True, target=("**:1", "**:2"), exclude=("**:2",))
    assert set(rows(plan)) == {f"{NEW}/team/api:1"}
    assert not plan.header.complete
    with pytest.raises(UsageError, match="matches no address of the state"):
        await world.plan(refresh_only=True, target=("**:9",))
