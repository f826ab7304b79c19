"""Run one command of imgmigrate and write down what its journal and its events cost.

`python -m tests.benchmarks.bookkeeping apply plan.out` does what `imgmigrate apply plan.out`
does, and leaves CPU seconds in `bookkeeping.json`: of the state's writer (its tasks and its
thread, which syncs), of the sinks of events, and of the whole process from its start.
"""

from __future__ import annotations

import functools
import json
import time
import types
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from imgmigrate.cli import main as imgmigrate
from imgmigrate.render.lines import LineProgress
from imgmigrate.render.tally import Tally
from imgmigrate.state import appender
from imgmigrate.state.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

REPORT = "bookkeeping.json"
# Enough empty calls to know what the measuring itself adds to each, in a few milliseconds.
TRIALS = 10_000


@dataclass(slots=True)
class Spent:
    """CPU seconds, and those of the wall for the whole process."""

    journal: float = 0.0
    syncs: float = 0.0
    events: float = 0.0
    process: float = 0.0
    wall: float = 0.0

    @property
    def bookkeeping(self) -> float:
        """All that a tool without state and progress would not spend."""
        return self.journal + self.syncs + self.events


class Clock:
    """Adds up CPU seconds of the thread that it runs in; what runs inside itself counts once."""

    def __init__(self) -> None:
        self._depth = self._calls = 0
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """What was counted, without what counting costs."""
        empty = Clock()
        for _ in range(TRIALS):
            empty.run(int)
        return self._seconds - self._calls * empty._seconds / TRIALS

    def call(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Count every call of a function."""

        @functools.wraps(function)
        def counted(*args: Any, **options: Any) -> Any:
            return self.run(lambda: function(*args, **options))

        return counted

    def task(self, function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        """Count every step of a coroutine function, and nothing while it waits."""

        @functools.wraps(function)
        async def counted(*args: Any, **options: Any) -> Any:
            return await self._steps(function(*args, **options))

        return counted

    @types.coroutine
    def _steps(self, job: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        step: Callable[[], Any] = functools.partial(job.send, None)
        while True:
            try:
                waiting = self.run(step)
            except StopIteration as end:
                return end.value
            try:
                step = functools.partial(job.send, (yield waiting))
            except BaseException as error:  # noqa: BLE001  # handed on to the coroutine
                step = functools.partial(job.throw, error)

    def run(self, work: Callable[[], Any]) -> Any:
        """Count one piece of work."""
        began = time.thread_time()
        self._depth += 1
        try:
            return work()
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._calls += 1
                self._seconds += time.thread_time() - began


def main() -> None:
    """Run the command, whatever becomes of it."""
    began = time.monotonic()
    journal, thread, events = Clock(), Clock(), Clock()

    class Executor(ThreadPoolExecutor):
        """The journal's own thread."""

        def submit(self, work: Any, /, *args: Any, **options: Any) -> Future[Any]:
            return super().submit(thread.call(work), *args, **options)

    try:
        with ExitStack() as stack:
            stack.enter_context(patch.object(appender, "ThreadPoolExecutor", Executor))
            for name in ("begin", "record", "conflict", "end"):
                counted = journal.task(getattr(Writer, name))
                stack.enter_context(patch.object(Writer, name, counted))
            for sink in (LineProgress, Tally):
                stack.enter_context(patch.object(sink, "emit", events.call(sink.emit)))
            imgmigrate()
    finally:
        process, wall = time.process_time(), time.monotonic() - began
        spent = Spent(journal.seconds, thread.seconds, events.seconds, process, wall)
        Path(REPORT).write_text(json.dumps(asdict(spent)))


if __name__ == "__main__":
    main()
