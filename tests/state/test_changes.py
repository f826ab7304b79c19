"""What `state mv`, `state unprotect` and the progress of runs do to the view."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.state.samples import a_run, address, claim, digest, draft, local, same

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_moved_record_takes_its_claims_along(tmp_path: Path) -> None:
    """At the new address it is ours as it was at the old one, where nothing is left."""
    state = local(tmp_path)
    async with a_run(state, claim("old", "2")) as writer:
        before = await writer.record(draft("other"))
    async with state.writer(command="state mv") as writer:
        await writer.move([(address("old"), address("new")), (address("other"), address("moved"))])
        after = writer.state
        assert same(after, state.read())
        assert after.owns(address("new"), digest("2"))
        assert not after.owns(address("old"), digest("2"))
        assert after.record(address("other")) is None
        moved = replace(before, address=address("moved"), sequence=after.sequence)
        assert after.record(address("moved")) == moved


async def test_moving_what_is_unknown_writes_nothing(tmp_path: Path) -> None:
    """An address without record and claim leaves the history as it is."""
    state = local(tmp_path)
    async with a_run(state):
        pass
    before = state.read()
    async with state.writer(command="state mv") as writer:
        await writer.move([(address("unknown"), address("new"))])
    assert same(state.read(), before)


async def test_lifting_a_protection_changes_nothing_else(tmp_path: Path) -> None:
    """The record keeps its sequence, so that plans about it stay true; claims stay open."""
    state = local(tmp_path)
    async with a_run(state, claim("open")) as writer:
        kept = await writer.record(replace(draft("a"), protected=True))
        plain = await writer.record(draft("b"))
        assert state.read().record(address("a")) == kept
        await writer.unprotect([address("a"), address("b"), address("open"), address("none")])
        found = state.read()
        assert found.sequence == plain.sequence + 1
        assert found.record(address("a")) == replace(kept, protected=False)
        assert found.owns(address("open"), digest("1"))


async def test_a_run_tells_how_far_it_is(tmp_path: Path) -> None:
    """Rows, done ones and conflicts can be read while it goes on, and survive compaction."""
    state = local(tmp_path)
    async with state.writer(command="imgmigrate apply plan.out") as writer:
        await writer.begin("run", "plan", [claim("a"), claim("b"), claim("c")], rows=4)
        await writer.record(draft("a"))
        await writer.conflict(address("b"))
        (run,) = state.read().runs
        assert (run.rows, run.done, run.conflicts, run.left) == (4, 1, 1, 2)
        assert (run.command, run.last_at) == ("imgmigrate apply plan.out", "2026-03-01T12:00:00Z")
        await writer.record(draft("c"))
        await writer.end({"applied": 2, "conflict": 1})
    (run,) = state.read().runs
    assert (run.rows, run.done, run.conflicts, run.ended_at) == (4, 2, 1, run.last_at)


async def test_records_outside_of_a_run_do_not_count(tmp_path: Path) -> None:
    """What a later command records under an ended run's name is not its progress."""
    state = local(tmp_path)
    async with a_run(state) as writer:
        record = await writer.record(draft("a"))
        await writer.end({"applied": 1})
        await writer.record(record)
    (run,) = state.read().runs
    assert run.done == 1
