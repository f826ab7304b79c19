"""Records that stay in the database answer as those in memory do, with far fewer questions."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.config.values.backends import Backend
from imgmigrate.oci.reference import Reference, Repository
from imgmigrate.state.memory import StateInMemory
from imgmigrate.state.postgres import records, rows
from imgmigrate.state.postgres.store import PostgresState
from imgmigrate.state.record import ImageRecord, Source, Status
from tests.state.samples import digest, draft

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.state.record import State

pytestmark = pytest.mark.heavy

# Names that sort otherwise where letters count and signs do not.
PATHS = ["a", "a-b", "a/b", "a0", "a_b", "ab", "b", *(f"many/{n:02}" for n in range(20))]
TAGS = ["1", "1.0", "A", "_x", "a"]


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every state is large, and every answer short."""
    monkeypatch.setattr(rows, "SMALL", 0)
    monkeypatch.setattr(records, "BATCH", 7)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that the database was asked."""
    found: list[str] = []
    real = records.DistantRecords._rows

    def note(self: Any, statement: str, *values: Any) -> Any:
        found.append(statement)
        return real(self, statement, *values)

    monkeypatch.setattr(records.DistantRecords, "_rows", note)
    return found


def opened(url: str) -> PostgresState:
    return PostgresState(Backend(url, Path("/")))


def made(chance: random.Random) -> ImageRecord:
    """Some record or other."""
    at = f"registry.new/{chance.choice(PATHS)}:{chance.choice(TAGS)}"
    if chance.random() < 0.1:
        at = f"oci:disk/{chance.choice('ab')}:1"
    source = Reference.parse(f"registry.old/{chance.choice(PATHS)}:{chance.choice(TAGS)}")
    status = chance.choice([Status.LIVE, Status.LIVE, Status.DELETED, Status.FORGOTTEN])
    return replace(
        draft("x", chance.random(), status),
        address=Reference.parse(at),
        source=Source(reference=source, digest=digest(1)),
    )


def answers(state: State) -> list[object]:
    """Ask everything of it."""
    here = [Repository("registry.new", each) for each in PATHS] + [Repository("oci:", "disk/a")]
    there = [Repository("registry.old", each) for each in PATHS]
    return [
        list(state.every()),
        list(state.live()),
        *(list(state.every(f"registry.new/{each}")) for each in ("a", "a/", "many/0", "z")),
        (state.live_count, state.record_count),
        sorted(state.repositories()),
        sorted(state.repositories(tombstones=True)),
        sorted(state.sources()),
        [list(state.of(each)) for each in here],
        [list(state.of(each, tombstones=True)) for each in here],
        [state.holds(each) for each in here],
        [list(state.from_source(each)) for each in there],
        [state.has_source(each) for each in there],
        list(state.with_layouts()),
        [list(state.written_by(each)) for each in ("run-0", "plan-1", "none")],
        [state.record(each.at(tag)) for each in here for tag in TAGS],
    ]


@pytest.mark.parametrize("seed", range(3))
async def test_the_answers_are_those_of_records_in_memory(url: str, seed: int) -> None:
    """For a writer, before and after its lines are in, and for whoever looks then."""
    chance = random.Random(seed)
    expected = StateInMemory()
    for number in range(3):
        async with opened(url).writer(command="c") as writer:
            await writer.begin(f"run-{number}", f"plan-{number}", ())
            for _ in range(60):
                record = made(chance)
                if chance.random() < 0.2:
                    await writer.remove([record.address])
                    expected.records.drop(str(record.address))  # type: ignore[attr-defined]
                else:
                    record = await writer.record(record)
                    expected.records.put(record)  # type: ignore[attr-defined]
                if chance.random() < 0.1:
                    assert answers(writer.state) == answers(expected)
            assert answers(writer.state) == answers(expected)
        look = await opened(url).look()
        assert answers(look) == answers(expected)
        assert answers(look) == answers(expected)


async def test_who_asks_for_one_after_another_gets_many_at_once(
    url: str, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the sources that a wildcard matches, and of the repositories that are listed."""
    monkeypatch.setattr(records, "BATCH", 100)
    async with opened(url).writer(command="c") as writer:
        for number in range(60):
            path = f"many/{number:03}"
            record = replace(
                draft("x"),
                address=Reference.parse(f"registry.new/{path}:1"),
                source=Source(
                    reference=Reference.parse(f"registry.old/{path}:1"), digest=digest(1)
                ),
            )
            await writer.record(record)
    look = await opened(url).look()
    ask: list[tuple[Any, Callable[[Repository], Any]]] = [
        (list(look.sources()), look.has_source),
        (list(look.repositories()), look.holds),
    ]
    for names, question in ask:
        assert len(names) == 60
        asked.clear()
        assert all(question(each) for each in names)
        assert len(asked) <= 5


async def test_what_was_read_long_ago_is_let_go(url: str, asked: list[str]) -> None:
    """A plan of everything takes no more memory than one of a part."""
    async with opened(url).writer(command="c") as writer:
        for path in PATHS:
            at = Reference.parse(f"registry.new/{path}:1")
            await writer.record(replace(draft("x"), address=at))
    look = await opened(url).look()
    look.records._most = 10  # type: ignore[attr-defined]
    for path in PATHS:
        assert look.holds(Repository("registry.new", path))
    assert len(look.records._read) <= 5  # type: ignore[attr-defined]
    asked.clear()
    assert look.holds(Repository("registry.new", PATHS[0]))
    assert len(asked) == 1
