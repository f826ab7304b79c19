"""Keep a state in a database that a team and its CI share.

Whoever writes holds a lease, a row with a number that grows with every holder (the fence): each
transaction sees first that it is still its own, so one who slept through it writes nothing. A look
takes no lock. One at a small state reads it all at once; one at a large state keeps a transaction
open until the state that it gave is gone, for all questions to be answered as of one moment: as
long, the server keeps the rows that were replaced meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from imgmigrate.clock import now
from imgmigrate.errors import StateError, StateLocked
from imgmigrate.machine import cache_folder
from imgmigrate.state.entries import decode, encode
from imgmigrate.state.holder import Holder, Lock
from imgmigrate.state.lines.journal import print_line
from imgmigrate.state.postgres.database import Database, Session
from imgmigrate.state.postgres.pusher import PATIENCE, Pusher, boottime
from imgmigrate.state.postgres.records import MOST_KEPT_BY_WRITER, DistantRecords, Reader
from imgmigrate.state.postgres.rows import (
    Lease,
    acquire,
    append,
    forget_lines,
    known_lines,
    make_tables,
    put_all,
    read_all,
    read_lock,
    read_view,
    release,
    remembers,
    take_away,
)
from imgmigrate.state.postgres.spool import Pending, Spool, left_over
from imgmigrate.state.record import ImageRecord
from imgmigrate.state.writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from imgmigrate.config.values.backends import Backend
    from imgmigrate.state.entries import Entry
    from imgmigrate.state.holder import Progress
    from imgmigrate.state.memory import StateInMemory
    from imgmigrate.state.postgres.spool import Left
    from imgmigrate.state.view import View

__all__ = ["PostgresState"]

logger = logging.getLogger(__name__)

# Seconds after which a waiter looks again whether the lease is free.
POLL = 0.5


class PostgresState:
    """The state in a schema of a database, which need not exist yet: a `base.StateStore`."""

    def __init__(
        self,
        backend: Backend,
        *,
        clock: Callable[[], datetime] = now,
        lease_clock: Callable[[], float] = boottime,
        patience: float = PATIENCE,
    ) -> None:
        """`lease_clock` is this machine's, for how long it may rely on its lease.

        `patience` is for how many seconds the database may be away while it is written.
        """
        self._database, self._lease = Database(backend.url), backend.lease
        self._clock, self._lease_clock, self._patience = clock, lease_clock, patience

    @property
    def place(self) -> str:
        """Its URL."""
        return self._database.place

    @property
    def identity(self) -> str:
        """Its server, database and schema, however it is logged into."""
        return self._database.identity

    async def look(self) -> StateInMemory:
        """Look at it as it is now; the records of a large one are fetched when asked for."""
        reader = Reader(self._database, is_snapshot=True)
        try:
            view, is_large = await reader.answer(read_view)
            if is_large:
                view.records = DistantRecords(reader)
                return view.state()
            await reader.answer(lambda session: read_all(session, view))
        except BaseException:
            reader.stop()
            raise
        reader.stop()
        return view.state()

    async def load(self) -> View:
        """Read all that is in it."""
        session = Session(self._database)
        try:
            async with session.transaction(snapshot=True):
                view, _ = await read_view(session)
                await read_all(session, view)
        finally:
            await session.close()
        return view

    async def remembers(self, sequence: int, head: str) -> bool:
        """Tell whether a line is in its history: all of the last 30 days, and the last 50 runs."""
        if sequence == 0:
            return head == ""
        session = Session(self._database)
        try:
            return await remembers(session, sequence, head)
        finally:
            await session.close()

    async def lock(self) -> Lock:
        """Tell who has the lease, by the server's clock."""
        session = Session(self._database)
        try:
            return await read_lock(session)
        finally:
            await session.close()

    async def break_lock(self) -> Lock:
        """Take the lease from whoever has it, who can write no more."""
        session = Session(self._database)
        try:
            await make_tables(session)
            holder = await take_away(session)
        finally:
            await session.close()
        return Lock(holder is not None, holder)

    async def backups(self) -> tuple[str, ...]:
        """None: what a database is saved by is the business of who runs it."""
        return ()

    @asynccontextmanager
    async def writer(self, *, command: str, lock_timeout: float = 0) -> AsyncIterator[Writer]:
        """Take the lease and write; StateLocked if another still has it after `lock_timeout` s.

        On leaving, however that happens, what was recorded is in, or in the spool of this machine,
        and the lease is free.
        """
        session = Session(self._database)
        try:
            await make_tables(session)
            holder = Holder.me(command, self._clock())
            lease = Lease(secrets.token_hex(16), self._lease, holder)
            renewed = await self._acquire(session, lease, lock_timeout)
            try:
                async with self._opened(session, lease, renewed) as (view, journal):
                    writer = Writer(
                        view, journal, command=command, clock=self._clock, tell=journal.tell
                    )
                    try:
                        yield writer
                    except BaseException:
                        # What ended the block says more than a failure to close after it.
                        with suppress(StateError):
                            await writer.close()
                        raise
                    await writer.close()
            finally:
                # Where nobody answers it runs out by itself.
                with suppress(StateError):
                    await release(session, lease)
        finally:
            await session.close()

    @asynccontextmanager
    async def _opened(
        self, session: Session, lease: Lease, renewed: float
    ) -> AsyncIterator[tuple[View, GroupJournal]]:
        """Read what is there, under the lease, and add what earlier writers here left over."""
        async with session.transaction(snapshot=True):
            view, is_large = await read_view(session)
            if not is_large:
                await read_all(session, view)
        reader = None
        if is_large:
            reader = Reader(self._database, is_snapshot=False)
            view.records = DistantRecords(reader, most=MOST_KEPT_BY_WRITER)
        folder = cache_folder(self.identity)
        left = await asyncio.to_thread(left_over, folder)
        spool = Spool(folder, lease.token)
        journal = GroupJournal(session, lease, view, spool)
        journal.start(renewed, clock=self._lease_clock, patience=self._patience)
        try:
            try:
                await self._take_up(left, view, journal)
            except BaseException:
                with suppress(StateError):
                    await journal.close()
                raise
            yield view, journal
        finally:
            if reader is not None:
                reader.stop()

    async def _acquire(self, session: Session, lease: Lease, timeout: float) -> float:
        """Take the lease, and say when that was asked for."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            began = self._lease_clock()
            other = await acquire(session, lease)
            if other is None:
                return began
            wait = deadline - loop.time()
            if wait <= 0:
                raise StateLocked(
                    f"locked by {other.describe(self._clock())}",
                    subject=f"state {self.place}",
                    hint="wait until it ends; if it is gone, its lease runs out within"
                    f" {self._lease:.0f} s, and the next run takes over",
                )
            await asyncio.sleep(min(POLL, wait))

    async def _take_up(self, left: Sequence[Left], view: View, journal: GroupJournal) -> None:
        """Write what earlier writers on this machine could not; their files go when it is in.

        Lines that follow the last of the history exactly are written as they were. Where others
        have written since, only records are, and none over a newer one.
        """
        for each in left:
            known = await journal.known(each.lines)
            lines = [line for line in each.lines if line.hash not in known]
            if lines and each.lineage != view.lineage and view.lineage is not None:
                kept = each.path.with_suffix(".other")
                each.path.rename(kept)
                logger.warning(
                    "state %s: it is another one than before; what was not saved of that is in %s",
                    self.place,
                    kept,
                )
                continue
            number = _append_left(lines, view, journal)
            await journal.flush()
            with suppress(OSError):
                each.path.unlink()
            if number:
                logger.warning(
                    "state %s: lines of an earlier run, which it could not save, were added: %d",
                    self.place,
                    number,
                )


class GroupJournal:
    """The end of a history in a database, written in groups (`writer.Journal`)."""

    is_long = False

    def __init__(self, session: Session, lease: Lease, view: View, spool: Spool) -> None:
        self._session, self._lease, self._view, self._spool = session, lease, view, spool
        self._runs: dict[int, str] = {}
        self._turn = asyncio.Lock()
        self._pusher: Pusher

    def start(self, renewed: float, *, clock: Callable[[], float], patience: float) -> None:
        """Begin to renew the lease."""
        self._pusher = Pusher(
            self._push,
            self._spool,
            lease=self._lease.seconds,
            renewed=renewed,
            clock=clock,
            patience=patience,
        )

    async def known(self, lines: Sequence[Pending]) -> set[str]:
        """Tell which lines are in the history, by their hashes."""
        async with self._turn:
            return await known_lines(self._session, lines) if lines else set()

    def tell(self, progress: Progress) -> None:
        """Say how far the run is, with the next renewal."""
        self._lease.holder = self._lease.holder.model_copy(update={"progress": progress})

    async def room(self) -> None:
        """Wait while as many lines are on their way as may be."""
        await self._pusher.room()

    def write(self, sequence: int, previous: str, entry: dict[str, Any]) -> str:
        """Put a line on its way, and into the spool; return its hash."""
        text, digest = print_line(sequence, previous, entry)
        self._spool.lineage = self._view.lineage or entry.get("lineage")
        self._pusher.add(Pending(sequence, previous, digest, text, entry))
        return digest

    async def hold(self) -> None:
        """Return when the lease surely is ours; StateLost if it is another's."""
        await self._pusher.hold()

    async def flush(self) -> None:
        """Return when every line written before is in the database."""
        await self._pusher.flush()

    async def compact(self, view: View) -> str | None:
        """Let go of lines that nobody needs to know of; the tables are compact by themselves."""
        await self.flush()
        try:
            async with self._turn:
                await forget_lines(self._session, self._lease)
        except StateError as error:
            return f"{error}; its oldest lines stay"
        return None

    async def replace(self, view: View) -> None:
        """Put the view in the place of all rows."""
        await self.flush()
        async with self._turn:
            await put_all(self._session, self._lease, view)
        self._view = view
        self._runs.clear()

    async def close(self) -> None:
        """Push what is on its way, and stop."""
        await self._pusher.close()

    async def _push(self, lines: Sequence[Pending]) -> None:
        """Append lines and renew the lease.

        The view is read before this waits for its turn: `rows.append` says why, so it is handed a
        change that has been made already.
        """
        await append(self._session, self._lease, lines, self._view, self._runs, self._turn)


def _append_left(lines: Sequence[Pending], view: View, journal: GroupJournal) -> int:
    """Write again what is left over; return how many lines that were."""
    if not lines:
        return 0
    first, number = lines[0], 0
    is_next = (first.sequence - 1, first.previous) == (view.sequence, view.head)
    for line in lines:
        sequence = view.sequence + 1
        entry: Entry = decode({**line.entry, "sequence": line.sequence})
        fields = line.entry
        if not is_next:
            if not isinstance(entry, ImageRecord):
                continue
            there = view.records.get(str(entry.address))
            if there is not None and there.sequence >= first.sequence:
                continue
            entry = replace(entry, sequence=sequence)
            fields = encode(entry)
        view.apply(sequence, journal.write(sequence, view.head, fields), entry)
        number += 1
    return number
