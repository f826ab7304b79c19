"""Lines go on in groups, the lease is kept, and what is not in is in the spool."""

from __future__ import annotations

import asyncio
import stat
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.errors import StateAway, StateError, StateLost
from imgmigrate.state.groups import pusher
from imgmigrate.state.groups.pusher import Pusher
from imgmigrate.state.groups.spool import Pending, Spool, left_over
from imgmigrate.state.lines.journal import print_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Backend:
    """What is pushed to; it may be away, or end."""

    def __init__(self) -> None:
        self.lines: list[Pending] = []
        self.pushes: list[int] = []
        self.error: StateError | None = None
        self.is_asked, self.answers = asyncio.Event(), asyncio.Event()
        self.answers.set()

    async def push(self, lines: Sequence[Pending]) -> None:
        self.pushes.append(len(lines))
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        self.is_asked.set()
        self.lines += [line for line in lines if line not in self.lines]


@cache
def line(number: int) -> Pending:
    """A line of one chain."""
    previous = line(number - 1).hash if number > 1 else ""
    text, digest = print_line(number, previous, {"kind": "x", "n": number})
    return Pending(number, previous, digest, text, {"kind": "x", "n": number})


class Time:
    """The clock of the lease."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def made(backend: Backend, folder: Path | None = None, **more: Any) -> tuple[Pusher, Time]:
    time = Time()
    spool = Spool(folder, "me")
    return Pusher(backend.push, spool, lease=60, renewed=0, clock=time, **more), time


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_lines_wait_for_a_group() -> None:
    """Until it is full, or somebody asks; then all that wait go, in order."""
    backend = Backend()
    pusher_, _ = made(backend)
    for number in range(1, pusher.GROUP):
        pusher_.add(line(number))
    await settle()
    assert not backend.pushes
    pusher_.add(line(pusher.GROUP))
    await settle()
    assert backend.pushes == [pusher.GROUP]
    pusher_.add(line(501))
    await pusher_.flush()
    await pusher_.flush()
    assert backend.pushes == [pusher.GROUP, 1]
    pusher_.add(line(502))
    await pusher_.close()
    assert [each.sequence for each in backend.lines] == list(range(1, 503))


async def test_lines_do_not_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not more come."""
    monkeypatch.setattr(pusher, "LONGEST_WAIT", 0.01)
    backend = Backend()
    pusher_, _ = made(backend)
    pusher_.add(line(1))
    await asyncio.wait_for(backend.is_asked.wait(), 10)
    await pusher_.close()


async def test_there_is_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes more waits until a group is in."""
    monkeypatch.setattr(pusher, "ROOM", 3)
    backend = Backend()
    backend.answers.clear()
    pusher_, _ = made(backend)
    for number in range(1, 4):
        await pusher_.room()
        pusher_.add(line(number))
    waiting = asyncio.create_task(pusher_.room())
    flushing = asyncio.create_task(pusher_.flush())
    await settle()
    assert not waiting.done()
    backend.answers.set()
    await asyncio.gather(waiting, flushing)
    await pusher_.close()


async def test_the_lease_is_renewed_after_a_third_and_relied_on_until_its_last_sixth() -> None:
    """Counted from before the renewal was sent; a machine that slept asks first."""
    backend = Backend()
    pusher_, time = made(backend)
    time.now = 49
    await pusher_.hold()
    time.now = 50.5
    backend.answers.clear()
    holding = asyncio.create_task(pusher_.hold())
    await settle()
    assert backend.pushes == [0]
    time.now = 70
    assert not holding.done()
    backend.answers.set()
    await holding
    # It began at 50.5: good until 100.5.
    time.now = 100
    await pusher_.hold()
    assert backend.pushes[0] == 0
    await pusher_.close()


async def test_whoever_lost_the_lease_is_told_at_every_turn(tmp_path: Path) -> None:
    """And what was not in stays in the spool."""
    backend = Backend()
    pusher_, time = made(backend, tmp_path)
    pusher_.add(line(1))
    backend.error = StateLost("gone")
    time.now = 1000
    with pytest.raises(StateLost):
        await pusher_.hold()
    with pytest.raises(StateLost):
        pusher_.add(line(2))
    with pytest.raises(StateLost):
        await pusher_.flush()
    with pytest.raises(StateLost):
        await pusher_.close()
    (left,) = left_over(tmp_path)
    assert [each.sequence for each in left.lines] == [1]


async def test_a_backend_that_is_away_is_asked_again_for_a_while(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every try has all that wait by then; after that all ends."""
    monkeypatch.setattr(pusher, "SHORTEST_PAUSE", 0.01)
    backend = Backend()
    pusher_, _ = made(backend, tmp_path, patience=0.2)
    backend.error = StateAway("away")
    pusher_.add(line(1))
    flushing = asyncio.create_task(pusher_.flush())
    await asyncio.sleep(0.005)
    pusher_.add(line(2))
    backend.error = None
    await flushing
    assert backend.pushes[-1] == 2
    backend.error = StateAway("away")
    pusher_.add(line(3))
    with pytest.raises(StateAway):
        await pusher_.flush()
    with pytest.raises(StateAway):
        await pusher_.close()
    (left,) = left_over(tmp_path)
    assert [each.sequence for each in left.lines] == [3]


async def test_the_spool_has_what_is_on_its_way_and_nothing_else(tmp_path: Path) -> None:
    """For nobody else to read; it goes with its writer if all is in."""
    folder = tmp_path / "cache"
    backend = Backend()
    pusher_, _ = made(backend, folder)
    pusher_.spool.lineage = "L"
    for number in (1, 2):
        pusher_.add(line(number))
    (left,) = left_over(folder)
    assert left.lineage == "L"
    assert [each.entry for each in left.lines] == [{"kind": "x", "n": 1}, {"kind": "x", "n": 2}]
    assert stat.S_IMODE(left.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    backend.answers.clear()
    flushing = asyncio.create_task(pusher_.flush())
    await settle()
    pusher_.add(line(3))
    backend.answers.set()
    await flushing
    (left,) = left_over(folder)
    assert [each.sequence for each in left.lines] == [3]
    await pusher_.close()
    assert not list(folder.iterdir())


def test_of_a_spool_that_is_damaged_the_good_lines_are_read(tmp_path: Path) -> None:
    """A machine that died may have torn its end; what is none is left alone."""
    spool = Spool(tmp_path, "me")
    spool.add(line(1))
    path = tmp_path / "spool-me.jsonl"
    with path.open("ab") as file:
        file.write(b'{"sequence":2,"prev"')
    (tmp_path / "spool-other.jsonl").write_bytes(b"nothing of ours\n")
    (left,) = left_over(tmp_path)
    assert [each.sequence for each in left.lines] == [1]
    assert left_over(None) == []
    spool.close()


def test_a_spool_that_cannot_be_written_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its lines are on their way; that nothing is kept meanwhile is said once."""
    (tmp_path / "file").write_text("")
    spool = Spool(tmp_path / "file", "me")
    for number in (1, 2):
        spool.add(line(number))
    spool.keep([line(2)])
    spool.close()
    assert len(caplog.records) == 1


async def test_whoever_closes_is_not_left_waiting_for_the_lease(tmp_path: Path) -> None:
    """Nobody holds what was let go of: a row that asks too late is told, and waits for nothing."""
    backend = Backend()
    pusher_, time = made(backend, tmp_path)
    await pusher_.close()
    time.now = 1000
    with pytest.raises(StateLost, match="not held any more"):
        await pusher_.hold()


async def test_work_between_two_pushes_renews_only_what_it_says() -> None:
    """A look renews no lease, so nobody relies on it for longer."""
    backend = Backend()
    pusher_, time = made(backend)

    async def look() -> int:
        return len(backend.lines)

    time.now = 15
    assert await pusher_.alone(look) == 0
    assert await pusher_.alone(look, renews=True) == 0
    time.now = 64
    await pusher_.hold()
    assert not backend.pushes
    await pusher_.close()
