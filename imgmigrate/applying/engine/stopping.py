"""End a run before its end, or what is left of one registry: every row left says why.

What is done stays done and recorded, and the same plan goes on later. A signal is another
matter: it cancels the run from outside.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import AuthenticationError, NotReached
from imgmigrate.events import Outcome, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

    from imgmigrate.oci.reference import Reference, Repository
    from imgmigrate.plan import Change

__all__ = ["Barrier", "Stop", "ends"]


class Barrier(Struct, frozen=True):
    """Why no further row that needs `name`, a registry or a repository, begins."""

    name: str
    error: AuthenticationError


class Stop:
    """Whether a run is to end, and why; the first reason stands.

    `login` tells which repositories are reached with the same credentials, and `rests` of a row
    whether it only waits for a registry: then there is nothing to be finished.
    """

    def __init__(
        self,
        login: Callable[[Repository], Hashable] | None = None,
        rests: Callable[[Change], bool] = lambda _: False,
    ) -> None:
        self.reason: str | None = None
        self._hint: str | None = None
        self._login = login or (lambda repository: repository.store)
        self._barred: dict[Hashable, Barrier] = {}
        self._rests = rests
        self._open: dict[asyncio.Task[Receipt], Change] = {}

    def order(self, reason: str, *, hint: str | None, now: bool) -> None:
        """Let no new image begin, and cut short those that only wait; with `now` all open ones."""
        if self.reason is None:
            self.reason, self._hint = reason, hint
        for task, change in tuple(self._open.items()):
            # Whoever orders it may be one of them, about to end by itself.
            if now or (self._rests(change) and task is not asyncio.current_task()):
                task.cancel()

    def look(self) -> None:
        """Look again who only waits, if the run is to end."""
        if self.reason is not None:
            self.order(self.reason, hint=self._hint, now=False)

    def bar(self, repository: Repository, barrier: Barrier, *, alone: bool) -> None:
        """Begin no further row that needs what refused us: a login, or one repository alone."""
        key = repository if alone else self._login(repository)
        self._barred.setdefault(key, barrier)

    def barrier(self, change: Change) -> Barrier | None:
        """The refusal that keeps a row from beginning."""
        if not self._barred:
            return None
        keys = [key for end in ends(change) for key in (end, self._login(end))]
        return next((self._barred[key] for key in keys if key in self._barred), None)

    def receipt(self, address: Reference) -> Receipt:
        """The receipt of an image that was not reached or not finished."""
        cause = f"not reached: {self.reason}"
        error = NotReached(cause, subject=str(address), hint=self._hint)
        return Receipt(address, Outcome.CANCELLED, error=error)

    async def guard(self, change: Change, work: Coroutine[object, object, Receipt]) -> Receipt:
        """Work on one image unless the run is to end; being cut short is its receipt then."""
        address = change.address
        if self.reason is not None:
            work.close()
            return self.receipt(address)
        barrier = self.barrier(change)
        if barrier is not None:
            work.close()
            return _barred(address, barrier.error)
        # A task of its own, so that `order` can end it and not whoever waits for its receipt. A
        # cancellation from outside leaves this block as itself and makes no receipt.
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            self._open[task] = change
            task.add_done_callback(self._open.pop)
        return self.receipt(address) if task.cancelled() else task.result()


def ends(change: Change) -> tuple[Repository, ...]:
    """The repositories that a row needs: its destination, and what a write reads."""
    if change.source is None or not change.action.writes:
        return (change.address.repository,)
    return (change.address.repository, change.source.reference.repository)


def _barred(address: Reference, refusal: AuthenticationError) -> Receipt:
    cause = f"not begun: {refusal.subject}: {refusal.cause}"
    error = refusal.remade(
        AuthenticationError, subject=str(address), cause=cause, hint=refusal.hint
    )
    return Receipt(address, Outcome.CANCELLED, error=error)
