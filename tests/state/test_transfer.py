"""A state moves from one place to another whole, or not at all."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.clock import now
from imgmigrate.errors import StateAway, StateError, StateLocked, UsageError
from imgmigrate.state import transfer
from imgmigrate.state.base import SightingsKeeper, StateStore
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.shared.store import SharedState
from imgmigrate.state.sightings import BEFORE
from imgmigrate.state.transfer import copy_state
from tests.fakes.depot import Bucket, MemoryDepot
from tests.state.samples import NOON, SOURCE, address, claim, digest, draft, same, sighting

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from tests.state.plan_suite import KeepingState

KINDS = ("folder", "bucket")


class Places:
    """Folders and buckets by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.buckets: dict[str, Bucket] = {}

    def open(self, kind: str, name: str, *, days: float = 0) -> KeepingState:
        """Open the state of that name, by a clock that is so many days behind."""

        def clock() -> datetime:
            return now() - timedelta(days=days)

        if kind == "folder":
            return LocalState(self.folder / name, clock=clock)
        bucket = self.buckets.setdefault(name, Bucket())
        return SharedState(MemoryDepot(bucket, f"memory://{name}"), lease=60, clock=clock)

    async def save(self, kind: str, name: str, data: bytes, *, days: float = 0) -> str:
        """Save a plan beside the state of that name, so many days ago."""
        state = self.open(kind, name, days=days)
        return await state.save_plan(data, plan_id="p" * 16, config="imgmigrate.yaml")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Nothing is there yet."""
    return Places(tmp_path)


async def fill(state: StateStore, *names: str, run: str = "run-1") -> None:
    """A run that records images, and leaves a claim open."""
    async with state.writer(command="imgmigrate apply") as writer:
        await writer.begin(run, "plan", [claim(name) for name in (*names, "open")])
        for name in names:
            await writer.record(draft(name))
        await writer.end({"applied": len(names)})


@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("new", KINDS)
async def test_what_was_seen_at_sources_comes_along(places: Places, old: str, new: str) -> None:
    """Its first sightings are the first at the new place too, beside what was seen there."""
    source, target = places.open(old, "old"), places.open(new, "new")
    assert isinstance(source, SightingsKeeper)
    assert isinstance(target, SightingsKeeper)
    await fill(source, "a")
    await source.add_sightings([sighting("a", BEFORE), sighting("b", NOON, is_planned=True)])
    await target.add_sightings([sighting("c", NOON)])
    await copy_state(source, target, command="imgmigrate state migrate")
    found = await target.sightings()
    firsts = [found.first_seen(SOURCE, digest(name)) for name in "abc"]
    assert firsts == [BEFORE, NOON, NOON]
    assert found.is_planned


@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("new", KINDS)
async def test_a_state_is_copied_and_goes_on(places: Places, old: str, new: str) -> None:
    """Records, claims, runs and history: a plan made at the old place is good at the new one."""
    source, target = places.open(old, "old"), places.open(new, "new")
    await fill(source, "a", "b")
    await fill(source, "c", run="run-2")
    await copy_state(source, target, command="imgmigrate state migrate")
    before, after = (await source.load()).state(), (await target.load()).state()
    assert same(before, after)
    for run in before.runs:
        assert await target.remembers(run.sequence, run.head)
    await fill(target, "d", run="run-3")
    state = await target.look()
    assert (state.live_count, state.lineage) == (4, before.lineage)
    assert state.owns(address("open"), draft("open").digest)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_copy_that_goes_on_takes_the_place_of_an_older_one(
    places: Places, kind: str
) -> None:
    """Back again, after the other place was used: nothing is lost on the way."""
    source, target = places.open("folder", "old"), places.open(kind, "new")
    await fill(source, "a")
    await copy_state(source, target, command="c")
    await fill(target, "b", run="run-2")
    await copy_state(target, source, command="c")
    assert (await source.look()).live_count == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_what_would_be_lost_is_not_replaced(places: Places, kind: str) -> None:
    """A state with lines of its own, another lineage, or nothing at all: both stay as they are."""
    source, target = places.open("folder", "old"), places.open(kind, "new")
    with pytest.raises(UsageError, match="holds no state"):
        await copy_state(source, target, command="c")
    await fill(source, "a")
    await copy_state(source, target, command="c")
    await fill(target, "b", run="run-2")
    with pytest.raises(UsageError, match="which the copy, at 4, lacks"):
        await copy_state(source, target, command="c")
    other = places.open("folder", "other")
    await fill(other, "x")
    with pytest.raises(UsageError, match="and the copy is of"):
        await copy_state(other, target, command="c")
    assert (await target.look()).live_count == 2


async def test_neither_side_is_written_meanwhile(places: Places) -> None:
    """Whoever holds one of them is not disturbed."""
    source, target = places.open("folder", "old"), places.open("bucket", "new")
    await fill(source, "a")
    async with source.writer(command="imgmigrate apply"):
        with pytest.raises(StateLocked):
            await copy_state(source, target, command="c")
    async with target.writer(command="imgmigrate apply"):
        with pytest.raises(StateLocked):
            await copy_state(source, target, command="c")
    assert (await target.look()).lineage is None


async def test_a_copy_that_reads_otherwise_is_no_copy(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there is read back and compared before anybody is told that it moved."""
    source, target = places.open("folder", "old"), places.open("bucket", "new")
    await fill(source, "a", "b")
    whole = target.load

    async def forgetful() -> object:
        view = await whole()
        view.records.drop(str(address("a")))
        return view

    monkeypatch.setattr(target, "load", forgetful)
    with pytest.raises(StateError, match="does not hold what"):
        await copy_state(source, target, command="c")


# The plans beside it


@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("new", KINDS)
async def test_plans_come_along_with_what_is_known_of_them(
    places: Places, old: str, new: str
) -> None:
    """When each was saved and what applied it; what the other place keeps of its own stays."""
    source, target = places.open(old, "old"), places.open(new, "new")
    await fill(source, "a")
    own = await places.save(new, "new", b"own", days=5)
    applied = await places.save(old, "old", b"applied", days=20)
    waiting = await places.save(old, "old", b"waiting", days=10)
    await places.open(old, "old", days=9).note_run(applied, "run-1")
    copied = await copy_state(source, target, command="c")
    assert (copied.plans, copied.left) == (2, {})
    there = {plan.sha256: plan for plan in await target.plans()}
    assert set(there) == {own, applied, waiting}
    assert [there[plan.sha256] for plan in await source.plans()] == list(await source.plans())
    assert await target.read_plan(applied) == b"applied"
    assert await target.read_plan(waiting) == b"waiting"
    again = await copy_state(source, target, command="c")
    assert again.plans == 2
    assert len(await target.plans()) == 3


async def test_a_plan_whose_time_is_over_stays(places: Places) -> None:
    """Also the newest of its place, where the other has had a newer one for 30 days."""
    source, target = places.open("folder", "old"), places.open("bucket", "new")
    await fill(source, "a")
    await places.save("folder", "old", b"over", days=50)
    last = await places.save("folder", "old", b"last", days=45)
    copied = await copy_state(source, places.open("bucket", "other"), command="c")
    assert copied.plans == 1
    assert [each.sha256 for each in await places.open("bucket", "other").plans()] == [last]
    own = await places.save("bucket", "new", b"own", days=40)
    copied = await copy_state(source, target, command="c")
    assert (copied.plans, copied.left) == (0, {})
    assert [each.sha256 for each in await target.plans()] == [own]


async def test_a_plan_that_is_damaged_stops_nothing(places: Places) -> None:
    """It stays where it is, and what is wrong with it is told."""
    source, target = places.open("folder", "old"), places.open("bucket", "new")
    await fill(source, "a")
    damaged = await places.save("folder", "old", b"damaged")
    whole = await places.save("folder", "old", b"whole")
    (places.folder / f"old/plans/{damaged}.plan").write_bytes(b"edited")
    copied = await copy_state(source, target, command="c")
    assert copied.plans == 1
    assert list(copied.left) == [damaged]
    assert "not those that were saved" in str(copied.left[damaged])
    assert [each.sha256 for each in await target.plans()] == [whole]


async def test_plans_go_in_groups(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place is written once for several; what one group cannot do another does."""
    monkeypatch.setattr(transfer, "GROUP", 10)
    source, target = places.open("folder", "old"), places.open("bucket", "new")
    await fill(source, "a")
    await copy_state(source, target, command="c")
    data = [b"four", b"five5", b"much more than ten", b"x", b"y", b"z"]
    saved = [await places.save("folder", "old", each) for each in data]
    groups: list[int] = []
    real = target.bring_plans

    async def count(plans: Any) -> None:
        groups.append(len(plans))
        if any(len(each) > 10 for each in plans.values()):
            raise StateError("too large")
        await real(plans)

    monkeypatch.setattr(target, "bring_plans", count)
    copied = await copy_state(source, target, command="c")
    assert sum(groups) == len(data)
    assert len(groups) < len(data)
    assert set(copied.left) >= {saved[2]}
    assert {each.sha256 for each in await target.plans()} == {*saved} - {*copied.left}
    assert copied.plans == len(data) - len(copied.left)


async def test_a_plan_that_reads_otherwise_is_not_said_to_be_there(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is read back, and compared with its sha256."""
    source, target = places.open("folder", "old"), places.open("bucket", "new")
    await fill(source, "a")
    saved = await places.save("folder", "old", b"plan")
    real = target.bring_plans

    async def forget(plans: Any) -> None:
        await real(plans)
        places.buckets["new"].files[f"plans/{saved}.plan"] = b"edited"

    monkeypatch.setattr(target, "bring_plans", forget)
    copied = await copy_state(source, target, command="c")
    assert copied.plans == 0
    assert list(copied.left) == [saved]


async def test_a_place_that_goes_away_among_the_plans_is_told(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state is there by then; the same command brings the rest."""
    source, target = places.open("folder", "old"), places.open("bucket", "new")
    await fill(source, "a")
    await places.save("folder", "old", b"plan")
    real = target.bring_plans

    async def leave(plans: Any) -> None:
        places.buckets["new"].is_away = True
        await real(plans)

    with monkeypatch.context() as patch:
        patch.setattr(target, "bring_plans", leave)
        with pytest.raises(StateAway):
            await copy_state(source, target, command="c")
    places.buckets["new"].is_away = False
    assert (await target.look()).live_count == 1
    assert (await copy_state(source, target, command="c")).plans == 1
