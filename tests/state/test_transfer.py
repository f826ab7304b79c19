"""A state moves from one place to another whole, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import StateError, StateLocked, UsageError
from imgmigrate.state.base import SightingsKeeper, StateStore, copy_state
from imgmigrate.state.local.store import LocalState
from imgmigrate.state.shared.store import SharedState
from imgmigrate.state.sightings import BEFORE
from tests.fakes.depot import Bucket, MemoryDepot
from tests.state.samples import NOON, SOURCE, address, claim, digest, draft, same, sighting

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("folder", "bucket")


class Places:
    """Folders and buckets by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.buckets: dict[str, Bucket] = {}

    def open(self, kind: str, name: str) -> StateStore:
        """Open the state of that name."""
        if kind == "folder":
            return LocalState(self.folder / name)
        bucket = self.buckets.setdefault(name, Bucket())
        return SharedState(MemoryDepot(bucket, f"memory://{name}"), lease=60)


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
