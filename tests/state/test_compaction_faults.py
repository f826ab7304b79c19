"""Compaction, killed between any two file operations and read at each: nothing changes.

Every system call that changes a file or a name is counted; a process that "dies" at the n-th
does nothing any more, not even tidy up.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from imgmigrate.state.local import loading
from imgmigrate.state.local.compaction import Places, compact
from imgmigrate.state.local.loading import load
from tests.state.samples import a_run, claim, draft, local, same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from imgmigrate.state.memory import StateInMemory

CALLS = ("mkdir", "open", "link", "replace", "rename", "unlink", "fchmod", "fsync", "fdatasync")


class Killed(BaseException):
    """The process is gone."""


class Process:
    """Counts the calls of a process, tells somebody before each, and dies at the n-th."""

    def __init__(
        self, dies_at: int | None = None, before: Callable[[], None] | None = None
    ) -> None:
        self.calls = 0
        self._dies_at, self._before = dies_at, before
        self._is_watched = False

    def step(self) -> None:
        """Take one call."""
        if self._is_watched:
            return
        if self._before is not None:
            self._is_watched = True
            try:
                self._before()
            finally:
                self._is_watched = False
        if self._dies_at is not None and self.calls >= self._dies_at:
            raise Killed
        self.calls += 1


@contextmanager
def calls_of(process: Process) -> Iterator[None]:
    """Let a process see every call that changes something."""
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, _watched(process, name))
        yield


def _watched(process: Process, name: str) -> Callable[..., Any]:
    real = getattr(os, name)

    def call(*arguments: Any, **options: Any) -> Any:
        process.step()
        return real(*arguments, **options)

    return call


@pytest.fixture
async def full(tmp_path: Path) -> Path:
    """A state with more backups than are kept, and a journal that waits for compaction."""
    folder = tmp_path / "full"
    for run in range(11):
        async with a_run(local(folder), claim("open"), run=f"run-{run}") as writer:
            await writer.record(draft(run))
            await writer.end({"applied": 1})
    async with a_run(local(folder), claim("late"), run="tail") as writer:
        await writer.record(draft("tail"))
    return folder


def compacted(folder: Path, process: Process) -> bool:
    """Compact as one process; tell whether it lived."""
    places = Places(folder)
    view = load(places).view
    try:
        with calls_of(process):
            for _ in compact(places, view):
                pass
    except Killed:
        return False
    return True


async def write_on(folder: Path, expected: StateInMemory) -> None:
    """Open the state as the next writer does, and record something."""
    async with local(folder).writer(command="next") as writer:
        assert same(writer.state, expected)
        await writer.record(draft("next"))
        await writer.end({})
    state = local(folder).read()
    assert set(state.records) - set(expected.records) == {"registry.new/team/app:next"}
    assert local(folder).knows(expected.sequence, expected.head)


async def test_a_compaction_may_be_killed_at_any_call(full: Path, tmp_path: Path) -> None:
    """Whatever was done by then, readers see the same and the next writer goes on."""
    expected, calls, lived = local(full).read(), 0, False
    while not lived:
        folder = tmp_path / f"killed-{calls}"
        shutil.copytree(full, folder)
        lived = compacted(folder, Process(dies_at=calls))
        assert same(local(folder).read(), expected), calls
        assert local(folder).knows(expected.sequence, expected.head), calls
        await write_on(folder, expected)
        shutil.rmtree(folder)
        calls += 1
    assert calls > len(CALLS)


def test_a_reader_at_every_call_sees_the_same(full: Path) -> None:
    """A plan that reads while the files are replaced reads one whole state, and knows its past."""
    state = local(full)
    expected = state.read()

    def read() -> None:
        assert same(state.read(), expected)
        assert state.knows(expected.sequence, expected.head)

    process = Process(before=read)
    assert compacted(full, process)
    assert process.calls > len(CALLS)
    read()


def test_a_reader_between_journal_and_snapshot_sees_the_same(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that has opened the journal meets the snapshot of any later moment."""
    expected, calls, lived = local(full).read(), 0, False
    real = loading._snapshot
    while not lived:
        folder = tmp_path / f"read-{calls}"
        shutil.copytree(full, folder)
        outcome: list[bool] = []

        def late(
            places: Places, folder: Path = folder, outcome: list[bool] = outcome, calls: int = calls
        ) -> Any:
            if not outcome:
                outcome.append(True)  # the compaction itself reads: only the first is the reader
                outcome.append(compacted(folder, Process(dies_at=calls)))
            return real(places)

        monkeypatch.setattr(loading, "_snapshot", late)
        assert same(local(folder).read(), expected), calls
        monkeypatch.setattr(loading, "_snapshot", real)
        lived = outcome[1]
        shutil.rmtree(folder)
        calls += 1
    assert calls > len(CALLS)
