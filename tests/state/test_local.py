"""A state in a folder: what is written is read, by anybody, at any time."""

from __future__ import annotations

import asyncio
import json
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import StateError, StateLocked
from imgmigrate.state import writer as writing
from imgmigrate.state.local import store as local_store
from imgmigrate.state.memory import StateInMemory
from imgmigrate.state.record import Status
from tests.state.samples import (
    NOON,
    PLAN,
    RUN,
    a_run,
    address,
    claim,
    digest,
    draft,
    local,
    same,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_that_does_not_exist_is_an_empty_state(tmp_path: Path) -> None:
    """Reading creates nothing and finds no lineage."""
    assert local(tmp_path / "state").read() == StateInMemory()
    assert list(tmp_path.iterdir()) == []


async def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """The writer adds sequence, run, plan and time; the reader sees the same record."""
    state = local(tmp_path / "state")
    async with a_run(state, claim("a")) as writer:
        written = await writer.record(draft("a"))
        read = state.read()
    assert (written.sequence, written.run, written.plan_id) == (3, RUN, PLAN)
    assert written.at == "2026-03-01T12:00:00Z"
    assert read.record(address("a")) == written
    assert read.claims == {}


async def test_a_record_keeps_what_its_caller_knows(tmp_path: Path) -> None:
    """A time and a plan that were given stay; without a begun run, the run too."""
    state = local(tmp_path)
    known = replace(draft("a"), at="then", plan_id="theirs", run="theirs")
    async with state.writer(command="adopt") as writer:
        written = await writer.record(known)
    assert (written.at, written.plan_id, written.run) == ("then", "theirs", "theirs")


async def test_the_writer_sees_what_a_reader_sees(tmp_path: Path) -> None:
    """The live view and a replay of the files are equal after every line."""
    state = local(tmp_path)
    async with a_run(state, claim("a"), claim("b")) as writer:
        for step in (
            lambda: writer.record(draft("a")),
            lambda: writer.conflict(address("b")),
            lambda: writer.record(draft("c", status=Status.FORGOTTEN)),
            lambda: writer.remove([address("a"), address("never")]),
            lambda: writer.end({"applied": 2}),
        ):
            await step()
            assert same(writer.state, state.read())


async def test_an_ended_run_leaves_a_snapshot_and_an_empty_journal(tmp_path: Path) -> None:
    """Compaction changes the files and not what they say."""
    state = local(tmp_path)
    async with a_run(state, claim("a"), claim("open")) as writer:
        await writer.record(draft("a"))
        await writer.end({"applied": 1})
        live = writer.state
    assert (tmp_path / "journal.jsonl").read_bytes() == b""
    assert same(state.read(), live)
    assert state.read().owns(address("open"), digest("1"))
    header, *rest = (tmp_path / "snapshot.jsonl").read_bytes().splitlines()
    assert json.loads(header)["format_version"] == "1.1"
    assert [json.loads(line)["address"] for line in rest] == [
        str(address("a")),
        str(address("open")),
    ]


async def test_files_are_private(tmp_path: Path) -> None:
    """Only their owner may read a state: folders 0700, files 0600."""
    state = local(tmp_path / "state")
    async with a_run(state) as writer:
        await writer.end({})
        paths = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
        modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in paths}
    folders = {"state": 0o700, "backups": 0o700}
    assert modes == {name: folders.get(name, 0o600) for name in modes}


async def test_the_first_run_mints_the_lineage_and_later_ones_keep_it(tmp_path: Path) -> None:
    """A lineage names a state for life, across compactions."""
    state = local(tmp_path)
    lineages = set()
    for number in range(3):
        async with a_run(state, run=f"run-{number}") as writer:
            lineages.add(writer.state.lineage)
            await writer.end({})
        lineages.add(state.read().lineage)
    assert len(lineages) == 1
    assert None not in lineages


async def test_two_states_have_two_lineages(tmp_path: Path) -> None:
    """A plan for one state is not mistaken for one of another."""
    for name in ("one", "two"):
        async with a_run(local(tmp_path / name)):
            pass
    assert local(tmp_path / "one").read().lineage != local(tmp_path / "two").read().lineage


async def test_a_second_writer_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    """The state is locked for as long as it is written."""
    async with a_run(local(tmp_path)):
        with pytest.raises(StateLocked, match=r"running 'imgmigrate apply plan\.out' since 2026"):
            async with local(tmp_path).writer(command="other"):
                pytest.fail("two writers at once")
    async with local(tmp_path).writer(command="other") as writer:
        assert writer.state.lineage


async def test_claims_are_written_in_lines_of_bounded_length(tmp_path: Path) -> None:
    """However many claims a run has, no line is longer than one write should be."""
    count = 2 * writing.CLAIMS_PER_LINE + 1
    async with a_run(local(tmp_path), *(claim(number) for number in range(count))):
        lines = (tmp_path / "journal.jsonl").read_bytes().splitlines()
    sizes = [len(json.loads(line)["claims"]) for line in lines[1:]]
    assert sizes == [writing.CLAIMS_PER_LINE, writing.CLAIMS_PER_LINE, 1]
    assert len(local(tmp_path).read().claims) == count


async def test_records_of_many_tasks_form_one_chain(tmp_path: Path) -> None:
    """Images land at the same time; their lines never interleave or share a number."""
    state = local(tmp_path)
    async with a_run(state) as writer, asyncio.TaskGroup() as group:
        tasks = [group.create_task(writer.record(draft(number))) for number in range(100)]
    assert sorted(task.result().sequence for task in tasks) == list(range(2, 102))
    assert len(state.read().records) == 100


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
async def test_what_was_recorded_survives_an_error(
    tmp_path: Path, error: type[BaseException]
) -> None:
    """An exception that ends the block travels on, and costs no record and no lock."""
    state = local(tmp_path)

    async def fail() -> None:
        async with a_run(state) as writer:
            await writer.record(draft("a"))
            raise error

    with pytest.raises(error):
        await fail()
    assert state.read().record(address("a"))
    async with state.writer(command="next"):
        pass


async def test_removing_what_is_unknown_writes_nothing(tmp_path: Path) -> None:
    """`state rm` of an address without record and claim leaves the history as it is."""
    state = local(tmp_path)
    async with a_run(state):
        pass
    before = state.read()
    async with state.writer(command="state rm") as writer:
        await writer.remove([address("unknown")])
    assert same(state.read(), before)


async def test_a_long_journal_is_compacted_before_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that never end properly do not make replay slow for ever."""
    state = local(tmp_path)
    async with a_run(state) as writer:
        await writer.record(draft("a"))
    monkeypatch.setattr(local_store, "LONGEST_JOURNAL", 10)
    async with a_run(state, run="run-2"):
        assert len((tmp_path / "journal.jsonl").read_bytes().splitlines()) == 1
    assert state.read().record(address("a"))


class TestKnows:
    """A plan is bound to a point in the history; `knows` tells whether it is in ours."""

    async def test_every_point_of_the_history_is_known(self, tmp_path: Path) -> None:
        """Heads in the journal, in the snapshot, between runs and in the backups are known."""
        state = local(tmp_path)
        points = [(0, "")]
        for number in range(4):
            async with a_run(state, claim("b"), run=f"run-{number}") as writer:
                for name in range(3):
                    await writer.record(draft(name))
                    points.append((writer.state.sequence, writer.state.head))
                await writer.end({})
                points.append((writer.state.sequence, writer.state.head))
        async with a_run(state, run="open") as writer:
            points.append((writer.state.sequence, writer.state.head))
        assert [point for point in points if not state.knows(*point)] == []

    async def test_another_history_is_not_known(self, tmp_path: Path) -> None:
        """Neither another hash, nor another number, nor the future."""
        state = local(tmp_path)
        async with a_run(state) as writer:
            await writer.record(draft("a"))
            sequence, head = writer.state.sequence, writer.state.head
        assert state.knows(sequence, head)
        assert not state.knows(sequence, "0" * 32)
        assert not state.knows(sequence - 1, head)
        assert not state.knows(sequence + 1, head)
        assert not state.knows(0, head)

    def test_nothing_is_in_every_history(self, tmp_path: Path) -> None:
        """A plan made before any state existed fits every state."""
        assert local(tmp_path / "none").knows(0, "")


@pytest.mark.parametrize(
    ("name", "content"),
    [("snapshot.jsonl", None), ("journal.jsonl", None), ("lock", None), ("", b"a file")],
)
async def test_a_state_that_cannot_be_used_is_named(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    """Where something else is in the way, the error names the path and the fix."""
    folder = tmp_path / "state"
    path = folder / name if name else folder
    if content is None:
        path.mkdir(parents=True)
    else:
        path.write_bytes(content)
    with pytest.raises(StateError) as caught:
        async with a_run(local(folder)):
            pytest.fail("written all the same")
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_the_clock_is_only_the_callers(tmp_path: Path) -> None:
    """Times in the files come from the clock that was given."""

    async def run() -> None:
        async with a_run(local(tmp_path)) as writer:
            await writer.end({})

    asyncio.run(run())
    (found,) = local(tmp_path).read().runs
    assert found.began_at == found.ended_at == NOON.isoformat().replace("+00:00", "Z")
