"""Crashes and damage: every earlier record is recovered, or the state is refused by name."""

from __future__ import annotations

import asyncio
import json
import shutil
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmigrate.errors import StateError
from imgmigrate.state.lines.journal import UNSYNCED_LINES
from imgmigrate.state.lines.sealing import seal
from imgmigrate.state.local.compaction import Places, compact
from imgmigrate.state.local.loading import load
from tests.state.samples import a_run, address, claim, draft, local, same

if TYPE_CHECKING:
    from pathlib import Path

    from imgmigrate.state.memory import StateInMemory


async def journal_of(folder: Path, records: int) -> bytes:
    """Write a run of so many records that nobody ends; return the journal."""
    async with a_run(local(folder), claim(0)) as writer:
        for number in range(records):
            await writer.record(draft(number))
    return (folder / "journal.jsonl").read_bytes()


def state_of(folder: Path, journal: bytes) -> StateInMemory:
    """Read a state that consists of this journal."""
    folder.mkdir(exist_ok=True)
    (folder / "journal.jsonl").write_bytes(journal)
    return local(folder).read()


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal of 5 lines: begin, claims, 3 records."""
    return asyncio.run(journal_of(tmp_path_factory.mktemp("short"), 3))


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal of 42 lines."""
    return asyncio.run(journal_of(tmp_path_factory.mktemp("long"), 40))


@pytest.mark.slow
def test_a_journal_cut_anywhere_gives_every_earlier_line(tmp_path: Path, short: bytes) -> None:
    """Wherever a crash cuts the last write, all whole lines before it count."""
    for cut in range(len(short) + 1):
        state = state_of(tmp_path, short[:cut])
        assert state.sequence == short[:cut].count(b"\n")
        assert len(state.records) == max(0, state.sequence - 2)


@given(data=st.data())
def test_a_flipped_byte_is_refused_or_a_torn_tail(
    tmp_path_factory: pytest.TempPathFactory, long: bytes, data: st.DataObject
) -> None:
    """Damage near the end costs only what follows it; earlier damage is refused by offset."""
    folder = tmp_path_factory.getbasetemp() / "flipped"
    index = data.draw(st.integers(0, len(long) - 1))
    flipped = bytes([long[index] ^ data.draw(st.integers(1, 255))])
    damaged = long[:index] + flipped + long[index + 1 :]
    whole = long[:index].count(b"\n")
    start = long.rfind(b"\n", 0, index) + 1
    after = damaged[start:].count(b"\n") - 1
    if after <= UNSYNCED_LINES:
        assert state_of(folder, damaged).sequence == whole
    else:
        with pytest.raises(
            StateError, match=f"journal.jsonl: damaged at line {whole + 1}, byte {start}:"
        ):
            state_of(folder, damaged)


@pytest.mark.parametrize("after", [0, 1, UNSYNCED_LINES])
def test_damage_with_few_lines_after_it_is_a_torn_tail(
    tmp_path: Path, long: bytes, after: int
) -> None:
    """As many lines as a writer may have unsynced can be lost at once."""
    lines = long.splitlines(keepends=True)
    lines[-1 - after] = b"\0" * len(lines[-1 - after][:-1]) + b"\n"
    assert state_of(tmp_path, b"".join(lines)).sequence == len(lines) - 1 - after


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda lines: [*lines[:5], *lines[6:]], id="a line left out"),
        pytest.param(lambda lines: [*lines[:5], lines[4], *lines[5:]], id="a line twice"),
        pytest.param(lambda lines: [*lines[:5], b"{}\n", *lines[5:]], id="a foreign line"),
        pytest.param(
            lambda lines: [*lines[:5], seal({"sequence": 6, "prev": "0" * 32})[0], *lines[5:]],
            id="a sealed line of another history",
        ),
        pytest.param(lambda lines: [b"\n", *lines], id="an empty line in front"),
    ],
)
def test_a_journal_that_was_edited_is_refused(tmp_path: Path, long: bytes, change: object) -> None:
    """Lines cannot be removed, repeated or slipped in unnoticed."""
    assert callable(change)
    edited = b"".join(change(long.splitlines(keepends=True)))
    with pytest.raises(StateError, match="damaged at line"):
        state_of(tmp_path, edited)


async def test_only_the_writer_cuts_a_torn_tail_and_keeps_it(tmp_path: Path) -> None:
    """Readers leave the file alone; the holder of the lock cuts, having kept the bytes."""
    whole = await journal_of(tmp_path, 2)
    torn = b'{"sequence":5,"prev":'
    path = tmp_path / "journal.jsonl"
    path.write_bytes(whole + torn)
    local(tmp_path).read()
    assert path.read_bytes() == whole + torn
    async with local(tmp_path).writer(command="next") as writer:
        assert path.read_bytes() == whole
        await writer.record(draft("next"))
    assert (tmp_path / "backups" / "torn-5").read_bytes() == torn
    assert local(tmp_path).read().record(address("next"))


async def test_a_second_torn_tail_does_not_replace_the_first(tmp_path: Path) -> None:
    """Two crashes at the same line leave both tails."""
    whole = await journal_of(tmp_path, 2)
    for torn in (b"one", b"two"):
        (tmp_path / "journal.jsonl").write_bytes(whole + torn)
        async with local(tmp_path).writer(command="next"):
            pass
    kept = {path.read_bytes() for path in (tmp_path / "backups").iterdir()}
    assert kept == {b"one", b"two"}


async def test_a_damaged_middle_is_refused_to_the_writer_too(tmp_path: Path) -> None:
    """What cannot be recovered surely is never cut."""
    whole = await journal_of(tmp_path, 40)
    damaged = whole[:100] + b"?" + whole[101:]
    (tmp_path / "journal.jsonl").write_bytes(damaged)
    with pytest.raises(StateError) as caught:
        async with local(tmp_path).writer(command="next"):
            pytest.fail("opened all the same")
    assert "line 1, byte 0" in caught.value.message
    assert caught.value.hint
    assert (tmp_path / "journal.jsonl").read_bytes() == damaged


def test_a_line_of_a_later_version_is_refused(tmp_path: Path) -> None:
    """A sealed line that this version does not know is not skipped: it may matter."""
    line, _ = seal({"sequence": 1, "prev": "", "kind": "future"})
    with pytest.raises(StateError, match="line 1 cannot be understood: its kind 'future'"):
        state_of(tmp_path, line)


async def snapshot_of(folder: Path, records: int = 5) -> Path:
    """Two ended runs, so that there is a snapshot and a backup of one."""
    for run in ("run-1", "run-2"):
        async with a_run(local(folder), claim("open"), run=run) as writer:
            for number in range(records):
                await writer.record(draft(number, run))
            await writer.end({})
    return folder / "snapshot.jsonl"


@pytest.mark.slow
async def test_a_snapshot_with_any_flipped_byte_is_refused(tmp_path: Path) -> None:
    """Header and body are both sealed; the error names the newest backup."""
    path = await snapshot_of(tmp_path, 2)
    whole = path.read_bytes()
    backup = max((tmp_path / "backups").glob("*.snapshot.jsonl"))
    for index in range(len(whole)):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        with pytest.raises(StateError, match=r"snapshot.jsonl: ") as caught:
            local(tmp_path).read()
        assert caught.value.hint
        assert str(backup) in caught.value.hint or "wrote it" in caught.value.hint


@pytest.mark.slow
async def test_a_truncated_snapshot_is_refused(tmp_path: Path) -> None:
    """No prefix of a snapshot passes for one."""
    path = await snapshot_of(tmp_path, 2)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(StateError, match=r"snapshot\.jsonl: damaged"):
            local(tmp_path).read()


async def test_a_snapshot_of_a_newer_major_is_refused(tmp_path: Path) -> None:
    """A format we do not know is left to the version that wrote it; a minor one is read."""
    path = await snapshot_of(tmp_path)
    header, body = path.read_bytes().split(b"\n", 1)
    document = json.loads(header)
    del document["hash"]
    path.write_bytes(seal({**document, "format_version": "2.0"})[0] + body)
    with pytest.raises(StateError, match=r"format is 2.0, this imgmigrate reads 1\.1"):
        local(tmp_path).read()
    path.write_bytes(seal({**document, "format_version": "1.99", "new": {"key": 1}})[0] + body)
    assert len(local(tmp_path).read().records) == 5


async def test_rates_in_an_older_snapshot_are_let_go(tmp_path: Path) -> None:
    """Earlier versions wrote `rates` into the header; that is read, and not written."""
    path = await snapshot_of(tmp_path)
    header, body = path.read_bytes().split(b"\n", 1)
    document = json.loads(header)
    del document["hash"]
    assert "rates" not in document
    path.write_bytes(seal({**document, "rates": {"registry.new": 1.5}})[0] + body)
    assert len(local(tmp_path).read().records) == 5


@pytest.mark.parametrize("with_journal", [True, False])
async def test_a_missing_snapshot_is_noticed(tmp_path: Path, with_journal: bool) -> None:
    """A state whose snapshot was deleted is damaged, not empty."""
    path = await snapshot_of(tmp_path)
    if with_journal:
        async with a_run(local(tmp_path), run="run-3"):
            pass
    path.unlink()
    with pytest.raises(StateError, match=r"snapshot.jsonl: it is missing"):
        local(tmp_path).read()


async def test_a_journal_that_does_not_continue_the_snapshot_is_refused(tmp_path: Path) -> None:
    """Files of two states, or with a gap between them, are no state."""
    await snapshot_of(tmp_path / "one")
    await journal_of(tmp_path / "two", 40)
    shutil.copy(tmp_path / "two" / "journal.jsonl", tmp_path / "one" / "journal.jsonl")
    with pytest.raises(StateError, match="line 16 does not continue the snapshot"):
        local(tmp_path / "one").read()


async def test_a_compaction_may_stop_anywhere(tmp_path: Path) -> None:
    """After each step the files say the same, and the next writer goes on from there."""
    await snapshot_of(tmp_path / "whole")
    async with a_run(local(tmp_path / "whole"), claim("a"), run="run-3") as writer:
        await writer.record(draft("b"))
    expected = local(tmp_path / "whole").read()
    steps = 0
    while True:
        folder = tmp_path / f"stopped-{steps}"
        shutil.copytree(tmp_path / "whole", folder)
        places = Places(folder)
        done = list(islice(compact(places, load(places).view), steps))
        assert same(local(folder).read(), expected), done
        assert local(folder).knows(expected.sequence, expected.head)
        async with local(folder).writer(command="next") as writer:
            assert same(writer.state, expected)
            await writer.record(draft("c"))
        assert local(folder).read().sequence == expected.sequence + 1
        if len(done) < steps:
            break
        steps += 1
    assert steps > 4


async def test_the_last_ten_backups_are_kept(tmp_path: Path) -> None:
    """Backups do not pile up; the newest survive, in the order of their numbers."""
    for number in range(13):
        async with a_run(local(tmp_path), run=f"run-{number}") as writer:
            await writer.end({})
    names = {path.name for path in (tmp_path / "backups").iterdir()}
    assert names == {f"{2 * n}.snapshot.jsonl" for n in range(3, 13)} | {
        f"{2 * n}.journal.jsonl" for n in range(4, 14)
    }


async def test_a_reader_beside_a_writer_always_sees_a_whole_state(tmp_path: Path) -> None:
    """While lines are appended and files replaced, no reader meets damage or goes back."""
    reader, finished = local(tmp_path), asyncio.Event()

    async def read() -> list[int]:
        seen = []
        while not finished.is_set():
            state = await asyncio.to_thread(reader.read)
            assert len(state.records) == len({record.address for record in state.live()})
            seen.append(state.sequence)
        return seen

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read())
        for run in range(20):
            async with a_run(local(tmp_path), claim("a"), run=f"run-{run}") as writer:
                for number in range(10):
                    await writer.record(draft(number, run))
                await writer.end({})
        finished.set()
    assert reading.result() == sorted(reading.result())
