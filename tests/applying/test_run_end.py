"""A state that fails at the end of a run: images moved, so exit 8, and every row is told of."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.errors import StateError, StateUnsaved
from imgmigrate.events import ImageFinished, Outcome, RunFinished
from imgmigrate.state.entries import End
from imgmigrate.state.local.appender import Appender
from imgmigrate.state.writer import Writer
from tests.fakes.memory import image
from tests.support.world import NEW, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Break = Callable[[pytest.MonkeyPatch], None]

API = f"{NEW}/team/api"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    for tag in ("1", "2", "3"):
        made.seed(tag)
    return made


def full(*_: object, **__: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def no_end_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when the run's end is written."""
    real = Writer._append

    async def append(self: Writer, entry: Any) -> None:
        if isinstance(entry, End):
            raise StateError("journal.jsonl: No space left on device")
        await real(self, entry)

    monkeypatch.setattr(Writer, "_append", append)


def no_second_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal cannot be opened again after it was made a snapshot."""
    real, count = Appender.open, 0

    def opened(self: Appender) -> None:
        nonlocal count
        count += 1
        if count == 2:
            full()
        real(self)

    monkeypatch.setattr(Appender, "open", opened)


def no_last_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last lines cannot be made durable."""
    real = Writer.end

    async def end(self: Writer, counts: Any) -> None:
        assert isinstance(self._journal, Appender)
        self._journal._sync = full
        await real(self, counts)

    monkeypatch.setattr(Writer, "end", end)


def no_closing_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only closing the state, behind its end, fails: a network disk tells late."""
    real = Appender.close

    async def close(self: Appender) -> None:
        await real(self)
        raise StateError("journal.jsonl: Input/output error")

    monkeypatch.setattr(Appender, "close", close)


def no_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses to close the journal."""
    real = os.close

    def let_go(self: Appender) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        real(descriptor)
        full()

    monkeypatch.setattr(Appender, "_let_go", let_go)


WAYS = [no_end_line, no_second_opening, no_last_sync, no_closing_sync, no_close]


@pytest.mark.parametrize("broken", WAYS, ids=[each.__name__ for each in WAYS])
async def test_a_state_that_fails_at_the_end_is_exit_8_and_all_rows_are_told(
    world: World, monkeypatch: pytest.MonkeyPatch, broken: Break
) -> None:
    """Conflicts and failures stand in the summary; the same plan then has nothing to move."""
    plan = await world.plan()
    world.new.seed("team/api", "2", *image(b"theirs"))
    (lost,) = (each for each in world.old.blobs if world.old.blobs[each] == b"3")
    world.old.blobs.pop(lost)
    with monkeypatch.context() as during:
        broken(during)
        with pytest.raises(StateUnsaved) as caught:
            await world.apply(plan)
    assert caught.value.exit_code == 8
    assert "the run's end is not" in caught.value.message
    (finished,) = (each for each in world.sink.events if isinstance(each, RunFinished))
    assert finished.counts == {Outcome.APPLIED: 1, Outcome.CONFLICT: 1, Outcome.FAILED: 1}
    assert [str(each.address) for each in finished.unfinished] == [f"{API}:2", f"{API}:3"]
    assert [record.address.tag for record in world.state.live()] == ["1"]
    again = await world.apply(plan)
    assert again.counts[Outcome.ALREADY] == 1
    assert again.moved == 0


async def test_nothing_written_and_no_end_is_an_error_that_changed_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1, and the conflicts are told of all the same."""
    plan = await world.plan()
    for tag in ("1", "2", "3"):
        world.new.seed("team/api", tag, *image(b"theirs"))
    no_end_line(monkeypatch)
    with pytest.raises(StateError) as caught:
        await world.apply(plan)
    assert caught.value.exit_code == 1
    (finished,) = (each for each in world.sink.events if isinstance(each, RunFinished))
    assert finished.counts == {Outcome.CONFLICT: 3}


async def test_a_run_that_cannot_record_tells_of_every_row(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded, not recorded, conflict or not reached: each row has one receipt."""
    plan = await world.plan()
    world.new.seed("team/api", "1", *image(b"theirs"))

    async def refuse(*_: object) -> None:
        raise StateError("journal.jsonl: No space left on device")

    monkeypatch.setattr(Writer, "record", refuse)
    with pytest.raises(StateUnsaved):
        await world.apply(plan, parallelism=1)
    (finished,) = (each for each in world.sink.events if isinstance(each, RunFinished))
    assert finished.counts == {Outcome.CONFLICT: 1, Outcome.FAILED: 1, Outcome.CANCELLED: 1}
    assert "cannot be written" in (finished.stopped or "")
    told = [each.receipt.address for each in world.sink.events if isinstance(each, ImageFinished)]
    assert len(told) == len(set(told)) == 3
