"""Let one process write a state, and tell the others who that is.

The lock is the operating system's, so it ends with its process, however that ends; a file
system without locks is refused. Who holds it stands in a file beside it, which only informs.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from imgmigrate.clock import now
from imgmigrate.errors import StateLocked
from imgmigrate.files import PRIVATE_FILE, write_atomically
from imgmigrate.lockfile import HELD, NoLocks, try_lock
from imgmigrate.state.holder import Holder
from imgmigrate.state.local.trouble import unlockable, unwritable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime
    from pathlib import Path

    from imgmigrate.state.holder import Progress

__all__ = ["StateLock"]

# How often a waiter looks again, in seconds: a lock is held for minutes.
POLL = 0.1
# Seconds after which a refused lock is tried once more: `is_held` may have been looking.
SECOND_LOOK = 0.01


class StateLock:
    """The right to write the state in `folder`, which must exist."""

    def __init__(self, folder: Path, *, clock: Callable[[], datetime] = now) -> None:
        self._folder, self._clock = folder, clock
        # `lock` is never removed: who locked a file that is gone, and who makes it anew, would both
        # hold the lock. `lock.json` is there while it is held, and proves nothing.
        self._file, self._info = folder / "lock", folder / "lock.json"
        self._me: Holder | None = None

    @asynccontextmanager
    async def held(self, command: str, *, timeout: float = 0) -> AsyncIterator[None]:
        """Hold the lock; StateLocked if another process still does after `timeout` seconds."""
        descriptor = await self._acquire(timeout)
        try:
            # It only informs: a full disk is reported by the journal, which matters.
            with contextlib.suppress(OSError):
                self._me = Holder.me(command, self._clock())
                write_atomically(self._info, _printed(self._me))
            yield
        finally:
            # While it is still locked: the next holder's own word must not be taken away.
            with contextlib.suppress(OSError):
                self._info.unlink()
            os.close(descriptor)

    def tell(self, progress: Progress) -> None:
        """Say how far the holder's run is, beside who it is; nothing is lost if that fails."""
        if self._me is not None:
            told = self._me.model_copy(update={"progress": progress})
            with contextlib.suppress(OSError):
                write_atomically(self._info, _printed(told), durable=False)

    def is_held(self) -> bool:
        """Tell whether some process holds the lock, without a writer being refused for it.

        It is shared with other lookers for microseconds; whoever wants it tries twice.
        """
        try:
            descriptor = os.open(self._file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            # Where there are no locks nobody writes, for he would have been refused.
            return error.errno in HELD
        finally:
            os.close(descriptor)
        return False

    def holder(self) -> Holder | None:
        """Read who holds, or last held, the lock; None if nobody said so."""
        try:
            return Holder.model_validate_json(self._info.read_bytes())
        except (OSError, ValueError):
            return None

    async def _acquire(self, timeout: float) -> int:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + max(timeout, SECOND_LOOK)
        # Asked again and again: a lock that blocks would hold a thread that nobody can cancel.
        while (descriptor := self._try()) is None:
            left = deadline - loop.time()
            if left <= 0:
                raise self._locked()
            await asyncio.sleep(min(POLL, left))
        return descriptor

    def _try(self) -> int | None:
        try:
            return try_lock(self._file, mode=PRIVATE_FILE)
        except NoLocks as error:
            raise unlockable(self._file, error) from None
        except OSError as error:
            raise unwritable(self._file, error) from None

    def _locked(self) -> StateLocked:
        holder = self.holder()
        who = holder.describe(self._clock()) if holder else "another process"
        return StateLocked(
            f"locked by {who}",
            subject=f"state {self._folder}",
            hint="wait until it ends; the lock ends with its process, so never delete the file",
        )


def _printed(holder: Holder) -> bytes:
    return holder.model_dump_json(exclude_none=True).encode() + b"\n"
