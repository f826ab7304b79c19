"""End a run before its end, for one reason that every row it leaves undone then gives.

What is done stays done and recorded, and the same plan goes on later. A signal is another
matter: it cancels the run from outside.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from imgmigrate.errors import ImgmigrateError
from imgmigrate.events import Outcome, Receipt

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from imgmigrate.oci.reference import Reference

__all__ = ["Stop"]


class Stop:
    """Whether a run is to end, and why; the first reason stands."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._hint: str | None = None
        self._open: set[asyncio.Task[Receipt]] = set()

    def order(self, reason: str, *, hint: str | None, now: bool) -> None:
        """Let no new image begin; with `now` also cut short those that are open."""
        if self.reason is None:
            self.reason, self._hint = reason, hint
        if now:
            for task in self._open:
                task.cancel()

    def receipt(self, address: Reference) -> Receipt:
        """The receipt of an image that was not reached or not finished."""
        error = ImgmigrateError(f"{address}: not reached: {self.reason}", hint=self._hint)
        return Receipt(address, Outcome.CANCELLED, error=error)

    async def guard(self, address: Reference, work: Coroutine[object, object, Receipt]) -> Receipt:
        """Work on one image unless the run is to end; being cut short is its receipt then."""
        if self.reason is not None:
            work.close()
            return self.receipt(address)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        return self.receipt(address) if task.cancelled() else task.result()
