"""The executor of this process: its rows share connections, a board, and what was seen.

What is shared is the worker's own, made when it is opened and ended with it. Nothing of it is the
engine's, and everything that one row leaves for the next (blobs on their way, tags that were seen)
only spares requests: a row comes to the same end in a worker that knows of no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from imgmigrate.applying.blobs.board import BlobBoard
from imgmigrate.applying.blobs.known import Known
from imgmigrate.applying.worker.copy_graph import Transfer
from imgmigrate.applying.worker.delete_tag import Deleter
from imgmigrate.applying.worker.heir import check_heir
from imgmigrate.applying.worker.write_tag import TagWriter
from imgmigrate.errors import ImgmigrateError, QuotaExhausted, RowFailed
from imgmigrate.events import Outcome, Receipt
from imgmigrate.plan import Action
from imgmigrate.stores.gate import image_rank
from imgmigrate.stores.permit import tag_permit
from imgmigrate.stores.place import Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from imgmigrate.applying.blobs.fanout import Party
    from imgmigrate.applying.executor.base import RowFacts
    from imgmigrate.events import Sink
    from imgmigrate.oci.reference import Reference, Repository
    from imgmigrate.plan import Change
    from imgmigrate.stores.base import Store, Stores
    from imgmigrate.stores.cache import ManifestCache
    from imgmigrate.stores.permit import Permit

__all__ = ["Worker", "open_worker"]

logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_worker(
    stores: Stores,
    cache: ManifestCache,
    sink: Sink,
    repositories: Iterable[Repository],
    *,
    permit: Permit | None = None,
) -> AsyncIterator[Worker]:
    """Hold a worker for rows of these repositories; leaving it ends all flights.

    `permit` is asked before each tag; what it raises ends the row there.

    Flights outlive the rows that asked for them, and no row outlives this block: when its flights
    are told to end, nobody is left that could start another.
    """
    hosts = {each.store: stores.of(each) for each in repositories}
    async with asyncio.TaskGroup() as flights:
        worker = Worker(stores, hosts, cache, sink, flights, permit)
        # Who waits at a meeting is asked again as soon as a store is not to be waited for.
        with stores.news.heard_by(worker.board.meetings.look_again):
            yield worker
        worker.board.cancel()


class Worker:
    """Carries out rows by the stores it is given (`Executor`); `flights` is its run's."""

    def __init__(
        self,
        stores: Stores,
        hosts: dict[str, Store],
        cache: ManifestCache,
        sink: Sink,
        flights: asyncio.TaskGroup,
        permit: Permit | None,
    ) -> None:
        self._stores, self._hosts, self._permit = stores, hosts, permit
        self.board = BlobBoard(flights, sink, waits=self.waits)
        known = Known(cache)
        self._known = known
        self._writer = TagWriter(
            Transfer(self.board, cache), known, cache, place=self._place, turn_of=self._turn_of
        )
        self._deleter = Deleter(sink)
        self._parties: dict[Reference, Party] = {}
        # Held from a row's last look at its tag to its write, by rows that may be about one tag.
        # Who holds one waits for requests alone: never for a flight, and for no other turn.
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def carry_out(self, change: Change, facts: RowFacts) -> Receipt:
        """Carry out one row: the boundary of one image."""
        image_rank.set(facts.rank)
        tag_permit.set(self._permit)
        self._known.take(change.address.repository, facts.stock)
        try:
            return await self._carry_out(change, facts)
        except QuotaExhausted as error:
            return Receipt(change.address, Outcome.CANCELLED, error=error)
        except ImgmigrateError as error:
            return Receipt(change.address, Outcome.FAILED, error=error)
        except Exception as error:
            logger.exception("unexpected failure of %s", change.address)
            wrapped = RowFailed(f"{type(error).__name__}: {error}", subject=str(change.address))
            return Receipt(change.address, Outcome.FAILED, error=wrapped)

    def expect(self, batch: Sequence[Change]) -> None:
        """Tell the board which images are opened together, so that their blobs can meet."""
        first = batch[0]
        if len(batch) == 1 or first.source is None or first.after is None:
            return
        stores = [change.address.repository.store for change in batch]
        source = self._place(first.source.reference.repository)
        parties = self.board.meetings.expect(source, first.after, stores)
        self._parties |= {
            change.address: parties[change.address.repository.store] for change in batch
        }

    def leave(self, address: Reference) -> None:
        """Let nobody wait for the blobs of a row to come along, whatever became of it."""
        party = self._parties.pop(address, None)
        if party is not None:
            self.board.meetings.leave(party)

    def waits(self, store: str) -> bool:
        """Tell whether a store is only waited for now."""
        found = self._hosts.get(store)
        return found is not None and found.is_waiting

    def rests(self, store: str) -> bool:
        """Tell whether nothing at all is done at a store now."""
        found = self._hosts.get(store)
        return found is not None and found.is_resting

    def is_narrow(self, repository: Repository) -> bool:
        """Tell whether the line to a repository is the limit, as far as is known."""
        try:
            return self._stores.of(repository).budget.gate.is_narrow
        except ImgmigrateError:
            return False  # the image itself will say

    def heard_by(self, *listeners: Callable[[], object]) -> AbstractContextManager[None]:
        """Pass on what stores tell of their waits."""
        return self._stores.news.heard_by(*listeners)

    async def _carry_out(self, change: Change, facts: RowFacts) -> Receipt:
        if change.action is Action.DELETE:
            return await self._delete(change, facts)
        if change.source is None or change.after is None:
            cause = "the plan does not say what to write"
            raise RowFailed(cause, subject=str(change.address), hint="plan again")
        if change.action is Action.ADOPT:
            return await self._writer.adopt(change, change.after, facts)
        origin, digest = change.source.reference.repository, change.source.digest
        return await self._writer.copy(change, origin, digest, change.after, facts)

    async def _delete(self, change: Change, facts: RowFacts) -> Receipt:
        for heir, digest in ((change.moved_to, change.recorded), (change.kept_as, facts.behind)):
            if heir is not None:
                place = self._place(heir.repository)
                await check_heir(change, heir, digest, place, facts.behind_filter)
        place = self._place(change.address.repository)
        namesakes = {each: self._place(each.repository) for each in change.namesakes or ()}
        async with self._turn_of(facts):
            return await self._deleter.delete(change, place, facts.plan_id, facts.behind, namesakes)

    def _turn_of(self, facts: RowFacts) -> AbstractAsyncContextManager[object]:
        """Hold the row's tag; free at once where no other row may be about it."""
        return nullcontext() if facts.turn is None else self._turns[facts.turn]

    def _place(self, repository: Repository) -> Place:
        return Place(self._stores.of(repository), repository.path)
