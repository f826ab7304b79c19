"""Group sync and failing writes: bounded loss, no half line, nobody misled."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest

from imgmigrate.errors import StateError
from imgmigrate.state.lines.journal import UNSYNCED_LINES, Scan
from imgmigrate.state.local import appender as appending
from imgmigrate.state.local.appender import Appender
from tests.state.samples import a_run, local

if TYPE_CHECKING:
    from pathlib import Path


class Disk:
    """A sync that waits until it is let go, counts, and may fail."""

    def __init__(self, *, open_: bool = True) -> None:
        self.let_go, self.synced = threading.Event(), threading.Event()
        self.count = 0
        self.error: OSError | None = None
        if open_:
            self.let_go.set()

    def sync(self, _: int) -> None:
        self.let_go.wait()
        if self.error:
            raise self.error
        self.count += 1
        self.synced.set()


class Chain:
    """An appender and where its chain stands."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.appender = Appender(path, disk.sync)
        self.sequence, self.head = 0, ""

    async def append(self) -> None:
        """Write the next line when there is room."""
        await self.appender.room()
        self.write()

    def write(self) -> None:
        """Write the next line at once."""
        self.head = self.appender.write(self.sequence + 1, self.head, {"kind": "test"})
        self.sequence += 1


def lines(path: Path) -> int:
    """Count the lines of a journal that has no damage."""
    with path.open("rb") as file:
        scan = Scan(file)
        count = sum(1 for _ in scan)
    assert scan.damage is None
    return count


async def test_a_line_is_in_the_file_when_write_returns(tmp_path: Path) -> None:
    """A killed process has lost nothing that it wrote, synced or not."""
    path, disk = tmp_path / "journal", Disk(open_=False)
    chain = Chain(path, disk)
    chain.write()
    assert (lines(path), disk.count) == (1, 0)
    disk.let_go.set()
    await chain.appender.close()


async def test_a_writer_waits_once_sixteen_lines_are_unsynced(tmp_path: Path) -> None:
    """A power cut never damages more than 16 lines, however slow the disk is."""
    path, disk = tmp_path / "journal", Disk(open_=False)
    chain = Chain(path, disk)
    async with asyncio.TaskGroup() as group:
        for _ in range(3 * UNSYNCED_LINES):
            group.create_task(chain.append())
        # More than enough turns for every task to go as far as it can.
        for _ in range(10 * UNSYNCED_LINES):
            await asyncio.sleep(0)
        assert chain.sequence == UNSYNCED_LINES
        disk.let_go.set()
    assert lines(path) == 3 * UNSYNCED_LINES
    await chain.appender.close()


async def test_syncs_are_grouped(tmp_path: Path) -> None:
    """A hundred lines cost far fewer than a hundred syncs."""
    path, disk = tmp_path / "journal", Disk()
    chain = Chain(path, disk)
    for _ in range(100):
        await chain.append()
    await chain.appender.close()
    assert disk.count <= 1 + -(-100 // UNSYNCED_LINES)


async def test_a_lonely_line_is_synced_by_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without further lines, the time limit makes the last ones durable."""
    monkeypatch.setattr(appending, "LONGEST_UNSYNCED", 0)
    disk = Disk()
    chain = Chain(tmp_path / "journal", disk)
    chain.write()
    await asyncio.to_thread(disk.synced.wait)
    await chain.appender.close()
    assert disk.count == 1


async def test_flush_covers_what_was_written_while_a_sync_ran(tmp_path: Path) -> None:
    """A sync that began before a line was written does not count for it."""
    disk = Disk(open_=False)
    chain = Chain(tmp_path / "journal", disk)
    async with asyncio.TaskGroup() as group:
        chain.write()
        group.create_task(chain.appender.flush())
        await asyncio.sleep(0)
        chain.write()
        group.create_task(chain.appender.flush())
        await asyncio.sleep(0)
        disk.let_go.set()
    assert disk.count == 2
    await chain.appender.close()


async def test_a_cancelled_waiter_takes_no_sync_along(tmp_path: Path) -> None:
    """The sync belongs to all who wait for it."""
    disk = Disk(open_=False)
    chain = Chain(tmp_path / "journal", disk)
    chain.write()
    async with asyncio.TaskGroup() as group:
        cancelled, patient = (group.create_task(chain.appender.flush()) for _ in range(2))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.sleep(0)
        disk.let_go.set()
        await patient
    assert cancelled.cancelled()
    assert disk.count == 1
    await chain.appender.close()


async def test_a_failed_sync_is_told_to_everybody_from_then_on(tmp_path: Path) -> None:
    """After it nothing is sure: waiting, writing and closing all fail, and name the file."""
    disk = Disk()
    disk.error = OSError(errno.EIO, "Input/output error")
    chain = Chain(tmp_path / "journal", disk)
    chain.write()
    for attempt in (chain.appender.flush, chain.append, chain.appender.close):
        with pytest.raises(StateError, match="journal: cannot be written: Input/output error"):
            await attempt()


@pytest.mark.parametrize("allowed", [0, 1, 20])
async def test_a_failed_write_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    """The part that a full disk took is cut again, and writing goes on when there is room."""
    path = tmp_path / "journal"
    chain = Chain(path, Disk())
    chain.write()
    before = path.read_bytes()

    def full(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[:allowed])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(appending, "write_all", full)
        with pytest.raises(StateError, match="No space left") as caught:
            chain.write()
    assert caught.value.hint
    assert "free some space" in caught.value.hint
    assert path.read_bytes() == before
    chain.write()
    await chain.appender.close()
    assert lines(path) == 2


async def test_a_half_line_that_could_not_be_cut_is_cut_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if cutting fails at first, no line is ever written behind a half one."""
    path = tmp_path / "journal"
    chain = Chain(path, Disk())
    chain.write()

    def full(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    def broken(*_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(appending, "write_all", full)
        patch.setattr(os, "ftruncate", broken)
        with pytest.raises(StateError):
            chain.write()
    chain.write()
    await chain.appender.close()
    assert lines(path) == 2


@pytest.mark.parametrize("how", ["appended", "cut", "replaced", "removed"])
async def test_a_second_writer_is_found_before_the_next_line(tmp_path: Path, how: str) -> None:
    """Where a lock is granted to several, neither breaks the chain that the other has begun."""
    path = tmp_path / "journal"
    chain = Chain(path, Disk())
    chain.write()
    whole = path.read_bytes()
    if how == "appended":
        with path.open("ab") as file:
            file.write(b"another writer's\n")
    elif how == "cut":
        os.truncate(path, 0)
    else:
        path.unlink()
        if how == "replaced":
            path.write_bytes(whole)
    left = path.read_bytes() if path.exists() else None
    with pytest.raises(StateError, match=r"another process writes it|cannot be written"):
        chain.write()
    assert (path.read_bytes() if path.exists() else None) == left
    await chain.appender.close()


async def test_nothing_is_compacted_over_a_second_writer(tmp_path: Path) -> None:
    """A journal that somebody else has gone on writing is not put aside."""
    path = tmp_path / "journal.jsonl"
    async with a_run(local(tmp_path)):
        pass
    async with local(tmp_path).writer(command="imgmigrate state") as writer:
        with path.open("ab") as file:
            file.write(b"another writer's\n")
        with pytest.raises(StateError, match="another process writes it"):
            await writer.end({})  # of no run: it only compacts
    assert path.read_bytes().endswith(b"another writer's\n")
