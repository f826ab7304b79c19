"""Run changes: at most so many images open, each isolated, every one answered by a receipt.

The seam where another executor plugs in: `async with engine.run(changes) as receipts`.
Leaving the block cancels and awaits everything. The engine never prints and never writes the
state: it emits events and yields receipts.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from imgmigrate.applying.blobs.board import BlobBoard, Trust
from imgmigrate.applying.blobs.fanout import Party
from imgmigrate.applying.blobs.known import Known
from imgmigrate.applying.engine.copy_graph import Transfer
from imgmigrate.applying.engine.delete_tag import Deleter
from imgmigrate.applying.engine.order import Queue, size_of
from imgmigrate.applying.engine.policy import FailurePolicy, Watch
from imgmigrate.applying.engine.seats import Seats
from imgmigrate.applying.engine.stopping import Stop, ends
from imgmigrate.applying.engine.turns import Turns
from imgmigrate.concurrency import both
from imgmigrate.errors import ImgmigrateError, QuotaExhausted, on_side
from imgmigrate.events import ImageStarted, Outcome, Receipt
from imgmigrate.oci.platforms import choose
from imgmigrate.plan import Action, Reason
from imgmigrate.stores.base import TagMoved
from imgmigrate.stores.gate import image_rank
from imgmigrate.stores.place import Place, shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Sequence

    from imgmigrate.events import Refusal, Sink
    from imgmigrate.oci.manifest import Manifest
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.plan import Change
    from imgmigrate.state.record import Source, State
    from imgmigrate.stores.base import Store, Stores
    from imgmigrate.stores.cache import ManifestCache

__all__ = ["Engine"]

logger = logging.getLogger(__name__)

# Bytes that cost more than a round trip to find out that they are not needed.
EARLY_LOOK_PAYS_FROM = 1024 * 1024


class Engine:
    """Carry out the rows of a plan that need a registry, those that delete last."""

    def __init__(
        self,
        stores: Stores,
        cache: ManifestCache,
        state: State,
        *,
        parallelism: int,
        sink: Sink,
        plan_id: str = "",
        base: Path | None = None,
        policy: FailurePolicy | None = None,
        login: Callable[[Repository], Hashable] | None = None,
        doubted: Iterable[Repository] = (),
    ) -> None:
        """Hold what the rows share; of `doubted` repositories nothing is believed."""
        self._stores = stores
        self._cache = cache
        self._known = Known(state, cache, doubted)
        self._state = state
        self._deleter = Deleter(plan_id, sink)
        self._rows: set[Reference] = set()
        self._base = base or Path()
        self._turns = Turns((), self._base)
        self._done: set[Reference] = set()
        self._hosts: dict[str, Store] = {}
        self._parallelism = parallelism
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
        self._rows = {change.address for change in changes}
        self._known.wants(change.after for change in changes if change.after is not None)
        self._turns = Turns(changes, self._base)
        self._hosts = {
            each.store: self._stores.of(each) for change in changes for each in ends(change)
        }
        failure: Exception | None = None
        # Flights outlive the images that wait for them, so theirs is the outer group: when it is
        # told to end, no image is left that could start another.
        async with asyncio.TaskGroup() as flights:
            board = BlobBoard(flights, self._sink, waits=self._waits)
            transfer = Transfer(board, self._cache, self._known)
            async with asyncio.TaskGroup() as images:
                work = images.create_task(self._work(changes, board, transfer, finished))
                try:
                    yield _take(finished, len(changes))
                except Exception as error:  # noqa: BLE001 - kept out of the groups, raised below
                    failure = error
                finally:
                    work.cancel()
            board.cancel()
        if failure is not None:
            raise failure

    async def _work(
        self,
        changes: Sequence[Change],
        board: BlobBoard,
        transfer: Transfer,
        finished: asyncio.Queue[Receipt],
    ) -> None:
        """Open images as others are done with and their receipts taken."""
        seats, opened = Seats(self._parallelism, self._needs, self._waits), count()

        async def answer(change: Change, party: Party) -> None:
            image_rank.set((size_of(change).bit_length(), next(opened)))
            try:
                one = self._one(change, transfer)
                receipt = await self._stop.guard(change, one)
            finally:
                # Whatever became of it: others may be waiting for its blobs to come along.
                board.meetings.leave(party)
            # Before a place is free: no image begins that this failure forbids.
            self._watch.look(change, receipt)
            if receipt.outcome.is_done:
                self._done.add(change.address)
            await finished.put(receipt)
            # Last: an image is open until its receipt can be taken.
            seats.leave(change)

        news = self._stores.news
        listeners = (seats.look, board.meetings.look_again, self._stop.look)
        with news.heard_by(*listeners):
            # A part is over before the next begins, so `_done` is whole for what depends on it.
            for part in _in_order(changes, self._turns):
                queue = Queue(part, self._parallelism, self._is_narrow, self._needs, self._waits)
                async with asyncio.TaskGroup() as images:
                    async for batch in seats.opened(queue):
                        for change, party in self._parties(batch, board):
                            images.create_task(answer(change, party))

    def _needs(self, change: Change) -> frozenset[str]:
        """The registries that a row needs; whoever waits for a layout waits for a disk."""
        return frozenset(each.store for each in ends(change) if not each.is_layout)

    def _waits(self, host: str) -> bool:
        """Tell whether a registry is only waited for now."""
        found = self._hosts.get(host)
        return found is not None and found.is_waiting

    def _is_narrow(self, change: Change) -> bool:
        """Tell whether the line to a destination is the limit, as far as is known."""
        try:
            return self._stores.of(change.address.repository).budget.gate.is_narrow
        except ImgmigrateError:
            return False  # the image itself will say

    def _rests(self, change: Change) -> bool:
        """Tell whether a row can do nothing now but wait for a registry."""
        return any(self._hosts[each.store].is_resting for each in ends(change))

    def _parties(self, batch: list[Change], board: BlobBoard) -> list[tuple[Change, Party]]:
        """Tell the board which images are opened together, so that their blobs can meet."""
        stores = [change.address.repository.store for change in batch]
        first = batch[0]
        if first.source is None or first.after is None:
            return [(first, Party(stores[0], 1))]
        source = self._place(first.source.reference.repository)
        parties = board.meetings.expect(source, first.after, stores)
        return [(change, parties[store]) for change, store in zip(batch, stores, strict=True)]

    async def _one(self, change: Change, transfer: Transfer) -> Receipt:
        """The boundary of one image: whatever goes wrong in it becomes its receipt."""
        self._sink.emit(ImageStarted(change.address))
        try:
            return await self._carry_out(change, transfer)
        except QuotaExhausted as error:
            self.stop(error.message, hint=error.hint)
            return Receipt(change.address, Outcome.CANCELLED, error=error)
        except ImgmigrateError as error:
            return Receipt(change.address, Outcome.FAILED, error=error)
        except Exception as error:
            logger.exception("unexpected failure of %s", change.address)
            wrapped = ImgmigrateError(f"{change.address}: {type(error).__name__}: {error}")
            return Receipt(change.address, Outcome.FAILED, error=wrapped)

    async def _carry_out(self, change: Change, transfer: Transfer) -> Receipt:
        self._check_kept(change)
        if change.action is Action.DELETE:
            self._check_moved(change)
            return await self._delete(change)
        if change.source is None or change.after is None:
            message = f"{change.address}: the plan does not say what to write"
            raise ImgmigrateError(message, hint="plan again")
        destination = self._place(change.address.repository)
        if change.action is Action.ADOPT:
            return await self._adopt(change, change.after, destination)
        return await self._copy(change, change.source, change.after, destination, transfer)

    async def _delete(self, change: Change) -> Receipt:
        before = self._state.behind(change.address, change.before)
        if change.moved_to is not None:
            await self._look_for_heir(change, change.moved_to, change.recorded)
        if change.kept_as is not None:
            await self._look_for_heir(change, change.kept_as, before)
        place = self._place(change.address.repository)
        namesakes = {each: self._place(each.repository) for each in change.namesakes or ()}
        async with self._turns.of(change.address):
            return await self._deleter.delete(change, place, before, namesakes)

    def _check_moved(self, change: Change) -> None:
        """Keep what is to be deleted because it moved until it is at its new place."""
        if change.moved_to is None or change.moved_to in self._done:
            return
        if not self._is_at(change.moved_to, change.recorded):
            message = f"{change.address}: not deleted: it has not been moved to {change.moved_to}"
            raise ImgmigrateError(message, hint="see that row; then apply the same plan again")

    def _check_kept(self, change: Change) -> None:
        """Replace only what has its own tag, where the plan says that it gets one."""
        if change.kept_as is None or change.kept_as in self._done:
            return
        if not self._is_at(change.kept_as, self._state.behind(change.address, change.before)):
            message = f"{change.address}: not touched: {change.kept_as} does not keep it yet"
            raise ImgmigrateError(message, hint="see that row; then apply the same plan again")

    def _is_at(self, address: Reference, digest: Digest | None) -> bool:
        """Tell whether an earlier run put a digest there and this one has no need to.

        A row of this run says that the destination no longer shows what the state records.
        """
        record = self._state.record(address)
        is_recorded = record is not None and record.is_live and record.digest == digest
        return is_recorded and address not in self._rows

    async def _look_for_heir(self, change: Change, heir: Reference, digest: Digest | None) -> None:
        """See with our own eyes what is to stand in an image's stead, just before that goes.

        Whoever recorded it there, somebody may have taken it away since.
        """
        place = self._place(heir.repository)
        with on_side("destination"):
            there = await shown(place, heir.target)
            found = there.digest if there else None
            missing = await place.store.missing_parts(place.repo, heir.target) if found else ()
        if found != digest or found is None:
            shows = found.short if found else "nothing"
            message = f"{change.address}: not touched: {heir}, which is to hold it, shows {shows}"
            raise ImgmigrateError(message, hint="somebody changed it since; plan again")
        if missing:
            message = f"{change.address}: not touched: {heir}, which is to hold it, has lost "
            message += f"{missing[0].short} of its parts"
            raise ImgmigrateError(message, hint="plan again: it is brought again, or an error")

    async def _adopt(self, change: Change, after: Digest, destination: Place) -> Receipt:
        found = await self._look(change, destination, to_write=False)
        if found != after:
            return _conflict(change, found)
        with on_side("destination"):
            missing = await destination.store.missing_parts(destination.repo, change.address.target)
        if missing:
            message = f"destination {change.address}: lost {missing[0].short} since the plan"
            raise ImgmigrateError(message, hint="plan again: its parts are brought then")
        return Receipt(change.address, Outcome.APPLIED, after)

    async def _copy(
        self,
        change: Change,
        origin: Source,
        after: Digest,
        destination: Place,
        transfer: Transfer,
    ) -> Receipt:
        """Copy the graph, then write the tag if the destination is still as planned.

        The destination is read just before the tag, and where that can spare something also
        at the start: a conflict or a copy that is already there then costs no bytes.
        """
        source = self._place(origin.reference.repository)
        if self._is_worth_a_look(change):
            found, manifest = await both(
                self._look(change, destination, is_early=True),
                transfer.read(source, origin.digest),
            )
            early = self._judge(change, after, found)
            if early is not None:
                return early
        else:
            manifest = await transfer.read(source, origin.digest)
        manifest = self._chosen(change, after, manifest)
        trust = _trust(change)
        is_believed = trust is Trust.ALL and not self._known.doubts(destination.repository)
        moved = 0
        if source != destination:  # else it is a tag of a manifest that is there
            moved = await transfer.bring_parts(manifest, source, destination, trust)
        is_last = False
        while True:
            # Held from the last look to the write, and no longer: what has to be brought may take
            # minutes, is brought without it, and the tag is looked at again.
            async with self._turns.of(change.address):
                found = await self._look(change, destination)
                is_in_doubt = is_believed and self._known.doubts(destination.repository)
                if not is_in_doubt:
                    late = self._late(change, after, found, destination, moved)
                    if late is not None:
                        return late
                    if change.kept_as is not None:
                        before = self._state.behind(change.address, change.before)
                        await self._look_for_heir(change, change.kept_as, before)
                    try:
                        if await transfer.try_write(
                            manifest,
                            change.address.target,
                            destination,
                            is_last=is_last,
                            still={found},
                        ):
                            break
                    except TagMoved as moved_on:
                        return _conflict(change, moved_on.found)
            if is_in_doubt:
                is_believed = False  # what was taken to be there is asked for
                if source != destination:
                    moved += await transfer.bring_parts(manifest, source, destination, Trust.BLOBS)
            else:  # once: the destination turned out to lack parts
                is_last = True
                moved += await transfer.bring_parts(manifest, source, destination, Trust.NOTHING)
        was_there = found == after != change.before and not moved
        outcome = Outcome.ALREADY if was_there else Outcome.APPLIED
        return Receipt(change.address, outcome, after, moved)

    async def _look(
        self,
        change: Change,
        destination: Place,
        *,
        to_write: bool = True,
        is_early: bool = False,
    ) -> Digest | None:
        """Read what is at the address now; whatever was listed before confirms nothing here.

        An early look only spares bytes, and another one follows: no counted read is spent on it.
        """
        store, repo, target = destination.store, destination.repo, change.address.target
        is_new = change.before is None
        with on_side("destination"):
            if is_early and is_new and store.is_metered:
                found = await store.head(repo, target, to_write=to_write)
            else:
                found = await shown(destination, target, is_new=is_new, to_write=to_write)
        digest = found.digest if found else None
        self._known.saw(change.address, digest)
        return digest

    def _late(
        self,
        change: Change,
        after: Digest,
        found: Digest | None,
        destination: Place,
        moved: int,
    ) -> Receipt | None:
        """Apply rule 7 just before the tag is written; None is "go"."""
        if found == after and not self._is_written_again(change, after, destination):
            return Receipt(change.address, Outcome.ALREADY, after, moved)
        return None if found in (change.before, after) else _conflict(change, found)

    def _judge(self, change: Change, after: Digest, found: Digest | None) -> Receipt | None:
        """Apply rule 7 before anything is brought; None is "go".

        As `after` is done already, but where nothing is believed only its parts tell that.
        """
        if found == change.before:
            return None
        if found != after:
            return _conflict(change, found)
        if self._known.doubts(change.address.repository):
            return None
        return Receipt(change.address, Outcome.ALREADY, after)

    def _is_written_again(self, change: Change, after: Digest, destination: Place) -> bool:
        """Tell whether a tag that shows `after` is written all the same: to look at its parts."""
        return change.before == after or destination.repository.is_layout

    def _chosen(self, change: Change, after: Digest, manifest: Manifest) -> Manifest:
        """Rebuild what the row's platforms leave of an index; it must be what was planned."""
        if change.filter is None:
            return manifest
        subject = f"{change.address}: the source {manifest.digest.short}"
        hint = "plan again with this version of imgmigrate"
        try:
            rebuilt = choose(manifest, change.filter.platforms, change.filter.version)
        except ValueError as error:
            message = f"{subject} cannot be cut to its platforms: {error}"
            raise ImgmigrateError(message, hint=hint) from None
        if rebuilt.digest != after:
            message = f"{subject} cut to its platforms is {rebuilt.digest}, planned was {after}"
            raise ImgmigrateError(message, hint=hint)
        if rebuilt is not manifest:
            self._cache.put(rebuilt)  # what a later run asks about its own work
        return rebuilt

    def _is_worth_a_look(self, change: Change) -> bool:
        size = change.transfer_bytes
        is_large = size is None or size > EARLY_LOOK_PAYS_FROM
        return is_large or self._known.may_be_done(change.address)

    def _place(self, repository: Repository) -> Place:
        return Place(self._stores.of(repository), repository.path)


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


def _trust(change: Change) -> Trust:
    """How much a row believes: what is written again is there to be checked."""
    if change.before != change.after:
        return Trust.ALL
    return Trust.BYTES if change.reason == Reason.REPLACE else Trust.BLOBS


def _conflict(change: Change, found: Digest | None) -> Receipt:
    planned = change.before.short if change.before else "nothing"
    shows = found.short if found else "nothing"
    message = f"destination {change.address}: shows {shows}, planned from {planned}"
    error = ImgmigrateError(message, hint="somebody changed it since the plan; plan again")
    return Receipt(change.address, Outcome.CONFLICT, error=error)


async def _take(finished: asyncio.Queue[Receipt], count: int) -> AsyncIterator[Receipt]:
    for _ in range(count):
        yield await finished.get()
