"""Append to the journal: one write a line at once, made durable in groups off the event loop.

A line survives the death of the process when `write` returns, and a power cut when the next
`flush` does: after at most 16 lines or 200 ms. Only the holder of the state's lock opens one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from imgmigrate.files import PRIVATE_FILE, in_thread, sync_data, sync_folder, write_all
from imgmigrate.state.lines.journal import UNSYNCED_LINES, print_line
from imgmigrate.state.local.trouble import intruded, unwritable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

__all__ = ["Appender"]

# A power cut costs at most this many seconds of records, each of which one HEAD finds again.
LONGEST_UNSYNCED = 0.2

T = TypeVar("T")


class Appender:
    """The end of a journal file. Every method but `open` belongs to one event loop.

    Lines are counted: `_synced <= _covered <= _written`. At most one sync runs; it covers the lines
    that were written when it began (`_covered`), and those that come meanwhile get the next one.
    A failed sync is final (`_failure`): no later success says anything of what it lost. Syncs and
    compactions share one thread, so that none runs beside another.
    """

    def __init__(self, path: Path, sync: Callable[[int], None] = sync_data) -> None:
        self._path = path
        self._sync = sync
        # Its own thread: a sync must not queue behind the layouts' file work.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")
        self._timer: asyncio.TimerHandle | None = None
        self._syncing: asyncio.Future[None] | None = None
        self._failure: OSError | None = None
        self._written = self._covered = self._synced = 0
        self._descriptor, self._end, self._is_torn = -1, 0, False
        self.open()

    def open(self) -> None:
        """Open the file, or create it durably; OSError if that fails."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, PRIVATE_FILE)
        try:
            self._end = os.fstat(descriptor).st_size
            sync_folder(self._path.parent)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor, self._is_torn = descriptor, False

    @property
    def size(self) -> int:
        """The bytes of the journal file."""
        return self._end

    async def reopen(self) -> None:
        """Go on in the file that has the journal's name now; StateError if there can be none."""
        await self.flush()
        try:
            self._let_go()
            self.open()
        except OSError as error:
            self._failure = error
            raise unwritable(self._path, error) from None

    async def run(self, work: Callable[[], T]) -> T:
        """Do blocking work in the journal's thread, which `close` waits for.

        StateError, before it begins, if another process has written the journal.
        """
        # Queued behind a sync that is under way, so no file moves while it is synced.
        self._refuse_intruders()
        return await in_thread(work, self._thread)

    async def room(self) -> None:
        """Wait while as many lines are unsynced as a power cut may damage."""
        while self._written - self._synced >= UNSYNCED_LINES:
            await self._wait()

    def write(self, sequence: int, previous: str, entry: dict[str, Any]) -> str:
        """Append one line at once and return its hash; StateError leaves the journal as it was."""
        # No coroutine: whoever took the number has written its line before anybody else looks.
        line, digest = print_line(sequence, previous, entry)
        try:
            if self._failure:
                raise self._failure
            if self._is_torn:
                self._cut()
            self._refuse_intruders()
            # Until it is whole: if the cut below fails too, the next write begins with it.
            self._is_torn = True
            write_all(self._descriptor, line)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._cut()
            raise unwritable(self._path, error) from None
        self._is_torn = False
        self._end += len(line)
        self._written += 1
        self._schedule()
        return digest

    async def hold(self) -> None:
        """Be sure at once: the lock ends with this process."""

    async def flush(self) -> None:
        """Return when every line written before is durable; StateError if it cannot be."""
        # Only these: lines that come meanwhile are others', and would be waited for without end.
        target = self._written
        while self._synced < target or self._failure:
            await self._wait()

    async def close(self) -> None:
        """Make everything durable and close; also when cancelled meanwhile, then blocking."""
        try:
            await self.flush()
        finally:
            if self._timer:
                self._timer.cancel()
            # First the thread, which may be in a sync: then the descriptor is nobody else's.
            self._thread.shutdown(wait=True)
            if self._synced < self._written and not self._failure:
                with contextlib.suppress(OSError):
                    self._sync(self._descriptor)
            try:
                self._let_go()
            except OSError as error:
                raise unwritable(self._path, error) from None

    def drop(self) -> None:
        """Close a journal into which nothing was written."""
        self._thread.shutdown(wait=False)
        with contextlib.suppress(OSError):
            self._let_go()

    def _let_go(self) -> None:
        """Close the file; some file systems tell only then that they kept nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _refuse_intruders(self) -> None:
        """Stop before a line of ours breaks the chain of another writer's.

        The lock keeps them out, unless the file system grants it to everybody who asks.
        """
        found = os.stat(self._path, follow_symlinks=False)
        if found.st_size != self._end or not os.path.samestat(found, os.fstat(self._descriptor)):
            raise intruded(self._path)

    def _cut(self) -> None:
        """Take back what a failed write left behind the last whole line."""
        os.ftruncate(self._descriptor, self._end)
        self._is_torn = False

    def _schedule(self) -> None:
        if self._syncing:
            return
        if self._written - self._synced >= UNSYNCED_LINES:
            self._start()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(LONGEST_UNSYNCED, self._start)

    async def _wait(self) -> None:
        if self._failure:
            raise unwritable(self._path, self._failure)
        # Shielded: the sync belongs to everybody who waits, not to the one that is cancelled.
        syncing = self._start()
        try:
            await asyncio.shield(syncing)
        except OSError as error:
            raise unwritable(self._path, error) from None
        finally:
            # A future that is done is awaited without a turn of the loop, in which it would
            # have called this: waiting again would spin for ever.
            if syncing.done():
                self._finished(syncing)

    def _start(self) -> asyncio.Future[None]:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._syncing is None:
            # Now, not when it is done: of lines that come meanwhile this sync says nothing.
            self._covered = self._written
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(self._thread, self._sync, self._descriptor)
            future.add_done_callback(self._finished)
            self._syncing = future
        return self._syncing

    def _finished(self, done: asyncio.Future[None]) -> None:
        """Take the result of a sync, once, whoever sees it first."""
        if done is not self._syncing:
            return
        self._syncing = None
        if done.cancelled():
            return
        error = done.exception()
        if isinstance(error, OSError):
            # After a failed sync the kernel may have dropped the pages: nothing is sure again.
            self._failure = error
            return
        self._synced = self._covered
        if self._written > self._synced:
            self._schedule()
