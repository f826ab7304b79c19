"""Run changes: at most so many images open, each isolated, every one answered by a receipt.

The engine decides: which row comes when, what holds across rows, when to stop. An executor carries
out each row (`executor/base.py`), in this process or elsewhere. Whoever applies a plan runs it by
`async with engine.run(changes) as receipts`; leaving the block cancels and awaits everything. The
engine never prints and never writes the state: it emits events and yields receipts.

All of it runs on one event loop. A row's task goes from the rules across rows to its executor and
back to the policy, in this order:

- its facts are said when it begins: what it depends on was done in an earlier part;
- the policy looks at its receipt before its seat is free: no row begins that a failure forbids;
- its receipt waits for whoever records before its seat is free: what is done and not recorded is
  bounded, however slow recording is.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from imgmigrate.applying.engine.ledger import Ledger
from imgmigrate.applying.engine.order import Queue, size_of
from imgmigrate.applying.engine.policy import FailurePolicy, Watch
from imgmigrate.applying.engine.seats import Seats
from imgmigrate.applying.engine.stopping import Stop, ends
from imgmigrate.errors import ImgmigrateError, QuotaExhausted
from imgmigrate.events import ImageStarted, Outcome, Receipt
from imgmigrate.plan import Action, Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Sequence

    from imgmigrate.applying.engine.turns import Turns
    from imgmigrate.applying.executor.base import Executor, Opener
    from imgmigrate.events import Refusal, Sink
    from imgmigrate.oci.reference import Repository
    from imgmigrate.plan import Change
    from imgmigrate.state.record import State
    from imgmigrate.stores.gate import Rank

__all__ = ["Engine"]


class Engine:
    """Have the rows of a plan that need a registry carried out, those that delete last."""

    def __init__(
        self,
        opener: Opener,
        state: State,
        *,
        parallelism: int,
        sink: Sink,
        plan_id: str = "",
        base: Path | None = None,
        policy: FailurePolicy | None = None,
        login: Callable[[Repository], Hashable] | None = None,
        doubted: Iterable[Repository] = (),
        guard: Callable[[Change], Awaitable[None]] | None = None,
    ) -> None:
        """Look at the state as earlier runs left it; of `doubted` repositories nothing is believed.

        `opener` opens what carries rows out, when the run begins. A row that `guard` raises an
        ImgmigrateError for is not handed to it.
        """
        self._opener = opener
        self._executor: Executor | None = None
        self._ledger = Ledger(state, plan_id, base or Path(), doubted)
        self._parallelism = parallelism
        self._guard = guard
        self._sink = sink
        self._stop = Stop(login, self._rests)
        self._watch = Watch(policy or FailurePolicy(), self._stop)

    @property
    def stopped(self) -> str | None:
        """Why the run ended before it had tried every row; None if it did not."""
        return self._stop.reason

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """What refused our login, and the rows that are not done because of it."""
        return self._watch.refusals

    def stop(self, reason: str, *, hint: str | None = None, now: bool = False) -> None:
        """End the run: no new image begins; with `now`, open ones are cut short as well.

        Every row that is left gets a receipt: CANCELLED, with the reason. The first one stands.
        """
        self._stop.order(reason, hint=hint, now=now)

    @asynccontextmanager
    async def run(self, changes: Sequence[Change]) -> AsyncIterator[AsyncIterator[Receipt]]:
        """Yield the receipts of `changes` as they are done, largest images mostly first.

        A receipt that nobody takes slows the run down: what is done is recorded before much
        more is begun.
        """
        # As many receipts may wait as images are open: what is done and not recorded is bounded.
        finished: asyncio.Queue[Receipt] = asyncio.Queue(self._parallelism)
        self._watch.rows = len(changes)
        self._ledger.open(changes)
        failure: Exception | None = None
        # What the executor has under way outlives the rows that wait for it, so it is the outer
        # block: when it is told to end, no row is left that could ask it for more.
        async with self._opener(each for change in changes for each in ends(change)) as executor:
            self._executor = executor
            async with asyncio.TaskGroup() as images:
                work = images.create_task(self._work(changes, executor, finished))
                try:
                    yield _take(finished, len(changes))
                except Exception as error:  # noqa: BLE001 - kept out of the groups, raised below
                    failure = error
                finally:
                    work.cancel()
        if failure is not None:
            raise failure

    async def _work(
        self, changes: Sequence[Change], executor: Executor, finished: asyncio.Queue[Receipt]
    ) -> None:
        """Open images as others are done with and their receipts taken."""
        seats, opened = Seats(self._parallelism, _needs, executor.waits), count()

        async def answer(change: Change) -> None:
            rank = (size_of(change).bit_length(), next(opened))
            try:
                one = self._one(change, executor, rank)
                receipt = await self._stop.guard(change, one)
            finally:
                # Whatever became of it: others may be waiting for its blobs to come along.
                executor.leave(change.address)
            # Before a place is free: no image begins that this failure forbids.
            self._watch.look(change, receipt)
            if receipt.outcome.is_done:
                self._ledger.done(change.address)
            elif receipt.outcome is Outcome.PARTLY:
                self._ledger.done_partly(change.address)
            await finished.put(receipt)
            # Last: an image is open until its receipt can be taken.
            seats.leave(change)

        def is_narrow(change: Change) -> bool:
            return executor.is_narrow(change.address.repository)

        with executor.heard_by(seats.look, self._stop.look):
            # A part is over before the next begins, so all is done that the next depends on.
            for part in _in_order(changes, self._ledger.turns):
                queue = Queue(part, self._parallelism, is_narrow, _needs, executor.waits)
                async with asyncio.TaskGroup() as images:
                    async for batch in seats.opened(queue):
                        executor.expect(batch)
                        for change in batch:
                            images.create_task(answer(change))

    async def _one(self, change: Change, executor: Executor, rank: Rank) -> Receipt:
        """Begin a row if those that it depends on are done, and have it carried out."""
        self._sink.emit(ImageStarted(change.address))
        try:
            if self._guard is not None:
                await self._guard(change)
            facts = self._ledger.facts(change, rank)
        except QuotaExhausted as error:
            receipt = Receipt(change.address, Outcome.CANCELLED, error=error)
        except ImgmigrateError as error:
            return Receipt(change.address, Outcome.FAILED, error=error)
        else:
            receipt = await executor.carry_out(change, facts)
        if isinstance(receipt.error, QuotaExhausted):
            # While this row is open still: none begins between its end and the stop.
            self.stop(receipt.error.message, hint=receipt.error.hint)
        return receipt

    def _rests(self, change: Change) -> bool:
        """Tell whether a row can do nothing now but wait for a registry."""
        executor = self._executor
        return executor is not None and any(executor.rests(each.store) for each in ends(change))


def _needs(change: Change) -> frozenset[str]:
    """The registries that a row needs; whoever waits for a layout waits for a disk."""
    return frozenset(each.store for each in ends(change) if not each.is_layout)


def _in_order(changes: Sequence[Change], turns: Turns) -> tuple[list[Change], ...]:
    """Split changes into parts, each to be done before the next.

    What is to be replaced is kept first, and nothing goes before all is in place that may come
    in its stead. What only records a tag that another row may write comes after that.
    """
    keeping: list[Change] = []
    writing: list[Change] = []
    looking: list[Change] = []
    deleting: list[Change] = []
    for change in changes:
        if change.action is Action.DELETE:
            deleting.append(change)
        elif change.reason == Reason.KEEP_PREVIOUS:
            keeping.append(change)
        else:
            (looking if turns.waits(change) else writing).append(change)
    return keeping, writing, looking, deleting


async def _take(finished: asyncio.Queue[Receipt], count: int) -> AsyncIterator[Receipt]:
    for _ in range(count):
        yield await finished.get()
