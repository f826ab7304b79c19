"""Let one process write a state, and tell the others who that is.

The lock is the operating system's, so it ends with its process, however that ends; a file
system without locks is refused. Who holds it stands in a file beside it, which only informs.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import getpass
import os
import socket
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from imgmigrate.clock import now, timestamp
from imgmigrate.errors import StateLocked
from imgmigrate.files import PRIVATE_FILE, write_atomically
from imgmigrate.lockfile import HELD, NoLocks, try_lock
from imgmigrate.redaction import redact
from imgmigrate.state.local.trouble import unlockable, unwritable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

__all__ = ["Holder", "StateLock"]

# How often a waiter looks again, in seconds: a lock is held for minutes.
POLL = 0.1
# Seconds after which a refused lock is tried once more: `is_held` may have been looking.
SECOND_LOOK = 0.01


class Holder(BaseModel):
    """Who holds a lock, for people."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    host: str
    user: str
    command: str
    since: datetime
    job: str | None = None

    @classmethod
    def me(cls, command: str, since: datetime) -> Holder:
        """Describe this process; in a CI job also the page of the job."""
        return cls(
            pid=os.getpid(),
            host=socket.gethostname(),
            user=_user(),
            command=redact(command),
            since=since,
            job=_job(),
        )

    def describe(self, at: datetime) -> str:
        """Name the holder and since when, seen from `at`."""
        age = timedelta(seconds=max(0, int((at - self.since).total_seconds())))
        where = f" ({self.job})" if self.job else ""
        return (
            f"process {self.pid} of {self.user} on {self.host}, running {self.command!r}"
            f" since {timestamp(self.since)} ({age} ago){where}"
        )


class StateLock:
    """The right to write the state in `folder`, which must exist."""

    def __init__(self, folder: Path, *, clock: Callable[[], datetime] = now) -> None:
        self._folder, self._clock = folder, clock
        self._file, self._info = folder / "lock", folder / "lock.json"

    @asynccontextmanager
    async def held(self, command: str, *, timeout: float = 0) -> AsyncIterator[None]:
        """Hold the lock; StateLocked if another process still does after `timeout` seconds."""
        descriptor = await self._acquire(timeout)
        try:
            # It only informs: a full disk is reported by the journal, which matters.
            with contextlib.suppress(OSError):
                holder = Holder.me(command, self._clock())
                write_atomically(self._info, holder.model_dump_json().encode() + b"\n")
            yield
        finally:
            # While it is still locked: the next holder's own word must not be taken away.
            with contextlib.suppress(OSError):
                self._info.unlink()
            os.close(descriptor)

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
            f"state {self._folder}: locked by {who}",
            hint="wait until it ends; the lock ends with its process, so never delete the file",
        )


def _user() -> str:
    # In containers a user may have no name.
    with contextlib.suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return str(os.getuid())


def _job() -> str | None:
    """Find the page of the CI job: GitLab and Jenkins say it, GitHub's is put together."""
    found = os.environ.get("CI_JOB_URL") or os.environ.get("BUILD_URL")
    parts = [os.environ.get(f"GITHUB_{name}") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
    if found is None and all(parts):
        found = f"{parts[0]}/{parts[1]}/actions/runs/{parts[2]}"
    return found
