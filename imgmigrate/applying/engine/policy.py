"""When failures, or the clock, end a run, and what a refused login ends.

By default a run goes on whatever fails. It never prints and never records: it looks at receipts
and tells the engine's `Stop`.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field

from imgmigrate.applying.engine.stopping import Barrier, ends
from imgmigrate.concurrency import ungrouped
from imgmigrate.errors import AuthenticationError, OutOfReach, StoreError
from imgmigrate.events import Outcome, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imgmigrate.applying.engine.stopping import Stop
    from imgmigrate.clock import Clock
    from imgmigrate.config.values.shares import Share
    from imgmigrate.events import Receipt
    from imgmigrate.oci.reference import Reference, Repository
    from imgmigrate.plan import Change

__all__ = ["FailurePolicy", "Watch", "time_limit"]

_GO_ON = "mend what failed; the same plan goes on where this ended"


class FailurePolicy(Struct, frozen=True):
    """How many rows may fail before the run ends: with `fail_fast` none, else `most`.

    `most` None is no limit. A conflict is no failure, and a refused login is one, however many
    rows it stops.
    """

    fail_fast: bool = False
    most: Share | None = None

    def limit(self, rows: int) -> int | None:
        """How many of so many rows may fail."""
        if self.fail_fast:
            return 0
        return self.most.of(rows) if self.most is not None else None


class Watch(Struct):
    """Looks at each receipt of a run of `rows` rows, before the next image begins."""

    policy: FailurePolicy
    stop: Stop
    rows: int = 0
    _failed: int = 0
    _errors: dict[str, StoreError] = field(default_factory=dict)
    _rows: dict[str, list[Reference]] = field(default_factory=dict)

    def look(self, change: Change, receipt: Receipt) -> None:
        """Judge one receipt."""
        if isinstance(receipt.error, AuthenticationError):
            self._refused(change, receipt, receipt.error)
        elif isinstance(receipt.error, OutOfReach):
            self._out_of_reach(receipt, receipt.error)
        elif receipt.outcome is Outcome.FAILED:
            self._fail()

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """What refused our login or was down, by name, with the rows not done because of it."""
        return tuple(
            Refusal(name, self._errors[name], tuple(sorted(rows, key=str)))
            for name, rows in sorted(self._rows.items())
        )

    def _fail(self) -> None:
        self._failed += 1
        most = self.policy.limit(self.rows)
        if most is None or self._failed <= most:
            return
        if self.policy.fail_fast:
            reason = "`fail_fast`: a row failed"
        else:
            reason = f"`max_failures` {self.policy.most}: {self._failed} of {self.rows} rows failed"
        self.stop.order(reason, hint=_GO_ON, now=False)

    def _out_of_reach(self, receipt: Receipt, error: OutOfReach) -> None:
        """A registry that is down is one failure, however many rows need it."""
        if error.host not in self._errors:
            self._fail()
            self._errors[error.host] = error.of_all()
        self._rows.setdefault(error.host, []).append(receipt.address)

    def _refused(self, change: Change, receipt: Receipt, error: AuthenticationError) -> None:
        """Stop what the refusal is about; the same refusal is one failure."""
        barrier = self.stop.barrier(change)
        if barrier is None:
            barrier = self._bar(change, error)
            self._fail()
        self._errors.setdefault(barrier.name, barrier.error)
        self._rows.setdefault(barrier.name, []).append(receipt.address)

    def _bar(self, change: Change, error: AuthenticationError) -> Barrier:
        end = _end(change, error)
        # Where we have no login at all, another source repository may well be public.
        alone = error.side != "destination" and error.repo is not None
        name = str(end) if end is not None and alone else error.host or error.subject
        barrier = Barrier(name, error)
        if end is not None:
            self.stop.bar(end, barrier, alone=alone)
        return barrier


def _end(change: Change, error: AuthenticationError) -> Repository | None:
    """The end of a row that an error is about."""
    by_host = [end for end in ends(change) if end.store == error.host]
    if error.side == "source":
        by_host.reverse()
    return by_host[0] if by_host else None


class Stoppable(Protocol):
    """What a clock can end."""

    def stop(self, reason: str, *, hint: str | None = None, now: bool = False) -> None:
        """End it."""


@asynccontextmanager
async def time_limit(run: Stoppable, seconds: float | None, clock: Clock) -> AsyncIterator[None]:
    """Cut a run short after so many seconds, as a first signal does; None is no limit."""
    if seconds is None:
        yield
        return
    if seconds <= 0:
        _time_is_over(run)
        yield
        return
    with ungrouped():
        async with asyncio.TaskGroup() as tasks:
            timer = tasks.create_task(_count_down(run, seconds, clock))
            try:
                yield
            finally:
                timer.cancel()


async def _count_down(run: Stoppable, seconds: float, clock: Clock) -> None:
    await clock.sleep(seconds)
    _time_is_over(run)


def _time_is_over(run: Stoppable) -> None:
    hint = "the same plan goes on where this ended"
    run.stop("`max_duration`: the time is over", hint=hint, now=True)
