"""Repair: what is damaged is cut or rebuilt, what is lost is told before, every byte is kept."""

from __future__ import annotations

import shutil
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import StateError, StateLocked
from imgmigrate.state.local.compaction import Places
from imgmigrate.state.local.repair import mend, survey
from tests.state.samples import a_run, address, claim, draft, local, same

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MANY = 40


async def a_state(folder: Path, runs: int = 2, records: int = 5, tail: int = 0) -> None:
    """Ended runs, so that there are a snapshot and backups, then a run that is not ended."""
    for run in range(runs):
        async with a_run(local(folder), claim("open"), run=f"run-{run}") as writer:
            for number in range(records):
                await writer.record(draft(f"{run}-{number}", run))
            await writer.end({"applied": records})
    if tail:
        async with a_run(local(folder), run="tail") as writer:
            for number in range(tail):
                await writer.record(draft(f"tail-{number}", "tail"))


def flip(path: Path, offset: int) -> None:
    """Damage one byte."""
    data = path.read_bytes()
    path.write_bytes(data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :])


def ruin(folder: Path) -> None:
    """Damage every file, the backups too; the snapshot is gone."""
    for path in (*folder.rglob("*.snapshot.jsonl"), *folder.rglob("*journal.jsonl")):
        path.write_bytes(b"{}\n" * MANY)
    (folder / "snapshot.jsonl").unlink(missing_ok=True)


async def repair(folder: Path) -> tuple[Path, ...]:
    state = local(folder)
    return await state.repair(state.survey(), command="imgmigrate state repair")


async def test_a_whole_state_needs_nothing(tmp_path: Path) -> None:
    """A survey of a good state, of an empty one and of none finds nothing to do."""
    assert local(tmp_path / "none").survey().is_whole
    await a_state(tmp_path, tail=3)
    assert local(tmp_path).survey().is_whole


async def test_a_journal_damaged_in_the_middle_is_cut_there(tmp_path: Path) -> None:
    """The survey names line, offset, what goes and whose records; the cut loses only those."""
    await a_state(tmp_path, tail=MANY)
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    offset = sum(len(line) for line in lines[:11])
    flip(path, offset + 5)
    damaged = path.read_bytes()
    with pytest.raises(StateError, match="line 12"):
        local(tmp_path).read()
    found = local(tmp_path).survey()
    assert found.cut
    assert (found.cut.line, found.cut.offset, found.cut.lines) == (12, offset, len(lines) - 11)
    # Line 1 is the begin, so line 12 holds the record with number 10.
    assert {str(each.address) for each in found.lost} == {
        str(address(f"tail-{number}")) for number in range(11, MANY)
    }
    assert found.illegible == 1
    (kept,) = await repair(tmp_path)
    assert path.read_bytes() + kept.read_bytes() == damaged
    state = local(tmp_path).read()
    assert state.record(address("tail-9"))
    assert state.record(address("tail-10")) is None
    assert same(state, found.view.state())


@pytest.mark.parametrize("tail", [0, 3])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: flip(path, 700), id="flipped"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:300]), id="truncated"),
        pytest.param(lambda path: path.write_bytes(b""), id="emptied"),
        pytest.param(lambda path: path.unlink(), id="deleted"),
    ],
)
@pytest.mark.parametrize("runs", [1, 2, 5])
async def test_a_damaged_snapshot_is_rebuilt_without_loss(
    tmp_path: Path, damage: Callable[[Path], object], runs: int, tail: int
) -> None:
    """The backups and the journals that followed them give back every record and claim."""
    await a_state(tmp_path, runs=runs, tail=tail)
    whole = local(tmp_path).read()
    damage(tmp_path / "snapshot.jsonl")
    with pytest.raises(StateError, match="state repair `dry_run`"):
        local(tmp_path).read()
    found = local(tmp_path).survey()
    assert (found.lost, found.cut) == ((), None)
    assert found.sources
    await repair(tmp_path)
    assert same(local(tmp_path).read(), whole)
    assert local(tmp_path).survey().is_whole
    assert local(tmp_path).knows(whole.sequence, whole.head)


async def test_what_only_the_damaged_snapshot_knew_is_told(tmp_path: Path) -> None:
    """Where the journal that made it is gone, its legible newer records count as lost."""
    await a_state(tmp_path)
    places = Places(tmp_path)
    places.backup("journal")[-1].unlink()
    path = tmp_path / "snapshot.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    flip(path, len(lines[0]) + len(lines[1]) - 5)
    found = local(tmp_path).survey()
    assert [str(each.address) for each in found.lost] == [
        str(address(f"1-{number}")) for number in range(5)
    ]
    (kept,) = await repair(tmp_path)
    assert kept.name.startswith("damaged-")
    assert set(local(tmp_path).read().records) == {str(address(f"0-{n}")) for n in range(5)}


async def test_snapshot_and_journal_may_both_be_damaged(tmp_path: Path) -> None:
    """One repair mends both."""
    await a_state(tmp_path, tail=MANY)
    flip(tmp_path / "snapshot.jsonl", 700)
    flip(tmp_path / "journal.jsonl", 3000)
    kept = await repair(tmp_path)
    assert len(kept) == 2
    state = local(tmp_path).read()
    assert state.record(address("1-4"))
    assert state.record(address("tail-0"))
    assert state.record(address(f"tail-{MANY - 1}")) is None


async def test_a_gap_is_bridged_from_the_backups(tmp_path: Path) -> None:
    """An older snapshot that somebody put back is brought forward by the kept journals."""
    await a_state(tmp_path, runs=4, tail=3)
    whole = local(tmp_path).read()
    shutil.copy(Places(tmp_path).backup("snapshot")[0], tmp_path / "snapshot.jsonl")
    with pytest.raises(StateError):
        local(tmp_path).read()
    await repair(tmp_path)
    assert same(local(tmp_path).read(), whole)


async def test_a_journal_of_another_state_is_set_aside(tmp_path: Path) -> None:
    """A journal that no kept file leads to is cut as a whole, its records named as lost."""
    await a_state(tmp_path / "one")
    await a_state(tmp_path / "two", runs=3, tail=MANY)
    shutil.copy(tmp_path / "two" / "journal.jsonl", tmp_path / "one" / "journal.jsonl")
    found = local(tmp_path / "one").survey()
    assert found.cut
    assert (found.cut.offset, len(found.lost)) == (0, MANY)
    await repair(tmp_path / "one")
    assert len(local(tmp_path / "one").read().records) == 10


@pytest.mark.parametrize("with_backup", [True, False])
async def test_what_nothing_gives_back_is_refused(tmp_path: Path, with_backup: bool) -> None:
    """A repair never makes an empty state of a full one; the hint is to adopt."""
    await a_state(tmp_path, runs=2 if with_backup else 0, tail=MANY)
    ruin(tmp_path)
    with pytest.raises(StateError) as caught:
        local(tmp_path).survey()
    assert caught.value.hint
    assert "adopt '**'" in caught.value.hint


async def test_a_first_write_that_was_cut_short_is_repaired(tmp_path: Path) -> None:
    """Half a first line is no state yet, and none is lost."""
    await a_state(tmp_path, runs=0, tail=1)
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:50])
    (kept,) = await repair(tmp_path)
    assert len(kept.read_bytes()) == 50
    assert path.read_bytes() == b""


async def test_a_repair_may_stop_anywhere(tmp_path: Path) -> None:
    """After each step the state is whole, or the next repair ends where this one would have."""
    await a_state(tmp_path / "damaged", tail=MANY)
    flip(tmp_path / "damaged" / "snapshot.jsonl", 700)
    flip(tmp_path / "damaged" / "journal.jsonl", 3000)
    expected = survey(Places(tmp_path / "damaged")).view.state()
    steps = 0
    while True:
        folder = tmp_path / f"stopped-{steps}"
        shutil.copytree(tmp_path / "damaged", folder)
        places = Places(folder)
        done = list(islice(mend(places, survey(places)), steps))
        await repair(folder)
        assert same(local(folder).read(), expected), steps
        if len(done) < steps:
            break
        steps += 1
    assert steps > 4


async def test_a_state_that_changed_since_the_survey_is_left_alone(tmp_path: Path) -> None:
    """Only what was shown and approved is cut."""
    await a_state(tmp_path, tail=MANY)
    path = tmp_path / "journal.jsonl"
    flip(path, 3000)
    state = local(tmp_path)
    seen = state.survey()
    flip(path, 2000)
    before = path.read_bytes()
    with pytest.raises(StateError, match="has changed since it was looked at"):
        await state.repair(seen, command="repair")
    assert path.read_bytes() == before


async def test_a_repair_waits_for_nobody(tmp_path: Path) -> None:
    """While another process writes, a repair is refused and named by whom."""
    await a_state(tmp_path)
    state = local(tmp_path)
    seen = state.survey()
    async with a_run(state, run="now"):
        with pytest.raises(StateLocked, match="imgmigrate apply"):
            await state.repair(seen, command="repair")
