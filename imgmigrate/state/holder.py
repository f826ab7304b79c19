"""Who writes a state now, for the others to read. It only informs: what excludes them is a lock."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
from datetime import datetime, timedelta

from msgspec import Struct
from pydantic import BaseModel

from imgmigrate.clock import timestamp
from imgmigrate.errors import StateLocked
from imgmigrate.redaction import redact
from imgmigrate.remedies import remedy
from imgmigrate.schemas.models import LENIENT

__all__ = ["Holder", "Lock", "Progress", "leased"]


class Progress(BaseModel):
    """How far the bytes of a run are: sent, left to send at most, and a second in the last minute.

    What is not known is None.
    """

    model_config = LENIENT

    run: str
    moved: int
    left: int | None = None
    rate: float | None = None


class Holder(BaseModel):
    """Who holds a lock, for people."""

    model_config = LENIENT

    pid: int
    host: str
    user: str
    command: str
    since: datetime
    job: str | None = None
    progress: Progress | None = None

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


class Lock(Struct, frozen=True):
    """Whether somebody writes a state, and who; None if nobody said so."""

    is_held: bool
    holder: Holder | None = None


def leased(place: str, holder: Holder, seconds: float, at: datetime) -> StateLocked:
    """Say who has a shared state, seen from `at`; the lease is `seconds` long."""
    hint = (
        f"wait until it ends (`lock_timeout`): one that is silent for {seconds:.0f} s is taken"
        f" over; one that is surely gone: {remedy('state', 'lock')} `break`"
    )
    return StateLocked(f"locked by {holder.describe(at)}", subject=f"state {place}", hint=hint)


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
