"""Keep a state in a database that a team and its CI share.

Whoever writes holds a lease, a row with a number that grows with every holder (the fence): each
transaction sees first that it is still its own, so one who slept through it writes nothing. A look
takes no lock. One at a small state reads it all at once; one at a large state keeps a transaction
open until the state that it gave is gone, for all questions to be answered as of one moment: as
long, the server keeps the rows that were replaced meanwhile.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from imgmigrate.clock import now
from imgmigrate.errors import StateError
from imgmigrate.machine import cache_folder
from imgmigrate.state.groups.pusher import Pusher, boottime
from imgmigrate.state.groups.spool import Spool
from imgmigrate.state.groups.taking_up import take_up
from imgmigrate.state.holder import Holder, Lock, leased
from imgmigrate.state.postgres.database import Database, Session
from imgmigrate.state.postgres.lease import Lease, acquire, read_lock, release, take_away
from imgmigrate.state.postgres.plans import list_plans, note_run, read_plan, save_plans
from imgmigrate.state.postgres.reader import Reader
from imgmigrate.state.postgres.records import MOST_KEPT_BY_WRITER, DistantRecords
from imgmigrate.state.postgres.rows import (
    append,
    forget_lines,
    known_lines,
    put_all,
    read_all,
    read_view,
    remembers,
)
from imgmigrate.state.postgres.sightings import (
    forget_sightings,
    put_sightings,
    read_sightings,
)
from imgmigrate.state.postgres.tables import make_tables
from imgmigrate.state.saved import new_plan
from imgmigrate.state.writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from imgmigrate.config.values.backends import Backend
    from imgmigrate.state.groups.spool import Pending
    from imgmigrate.state.holder import Progress
    from imgmigrate.state.lines.journal import Line
    from imgmigrate.state.memory import StateInMemory
    from imgmigrate.state.saved import SavedPlan
    from imgmigrate.state.sightings import Key, Sighting, Sightings
    from imgmigrate.state.view import View

__all__ = ["PostgresState"]

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
        patience: float | None = None,
    ) -> None:
        """`lease_clock` is this machine's, for how long it may rely on its lease.

        `patience` is for how many seconds the database may be away while it is written.
        """
        self._database, self._lease = Database(backend.url), backend.lease
        self._clock, self._lease_clock, self._patience = clock, lease_clock, patience

    @property
    def _spools(self) -> Path | None:
        """The folder of this machine that keeps what the database does not have yet."""
        return cache_folder(self.identity)

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
        async with self._session() as session, session.transaction(snapshot=True):
            view, _ = await read_view(session)
            await read_all(session, view)
        return view

    async def remembers(self, sequence: int, head: str) -> bool:
        """Tell whether a line is in its history: all of the last 30 days, and the last 50 runs."""
        if sequence == 0:
            return head == ""
        async with self._session() as session:
            return await remembers(session, sequence, head)

    async def lock(self) -> Lock:
        """Tell who has the lease, by the server's clock."""
        async with self._session() as session:
            return await read_lock(session)

    async def break_lock(self) -> Lock:
        """Take the lease from whoever has it, who can write no more."""
        async with self._session() as session:
            await make_tables(session)
            holder = await take_away(session)
        return Lock(holder is not None, holder)

    async def backups(self) -> tuple[str, ...]:
        """None: what a database is saved by is the business of who runs it."""
        return ()

    async def sightings(self, keys: Collection[Key] | None = None) -> Sightings:
        """Read what was seen of some digests, or of all."""
        async with self._session() as session:
            return await read_sightings(session, keys, self._clock())

    async def add_sightings(self, batch: Sequence[Sighting]) -> None:
        """Add what was seen."""
        async with self._session() as session:
            await make_tables(session)
            await put_sightings(session, batch)

    async def save_plan(self, data: bytes, *, plan_id: str, config: str | None) -> str:
        """Save a plan, and remove those whose time is over."""
        plan = new_plan(data, plan_id=plan_id, config=config, now=self._clock())
        await self.bring_plans({plan: data})
        return plan.sha256

    async def bring_plans(self, plans: Mapping[SavedPlan, bytes]) -> None:
        """Save plans as another place knew them, and remove those whose time is over."""
        async with self._session() as session:
            await save_plans(session, plans, now=self._clock())

    async def read_plan(self, sha256: str) -> bytes:
        """Read and verify a plan."""
        async with self._session() as session:
            return await read_plan(session, sha256)

    async def plans(self) -> list[SavedPlan]:
        """Those that are kept, the oldest first."""
        async with self._session() as session:
            return await list_plans(session)

    async def note_run(self, sha256: str, run: str) -> None:
        """Note the run that applied a plan."""
        async with self._session() as session:
            await note_run(session, sha256, run, self._clock())

    @asynccontextmanager
    async def writer(self, *, command: str, lock_timeout: float = 0) -> AsyncIterator[Writer]:
        """Take the lease and write; StateLocked if another still has it after `lock_timeout` s.

        On leaving, however that happens, what was recorded is in, or in the spool of this machine,
        and the lease is free.
        """
        async with self._session() as session:
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
                        await take_up(
                            self._spools,
                            view,
                            journal,
                            writer,
                            known=journal.known,
                            place=self.place,
                        )
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

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        session = Session(self._database)
        try:
            yield session
        finally:
            await session.close()

    @asynccontextmanager
    async def _opened(
        self, session: Session, lease: Lease, renewed: float
    ) -> AsyncIterator[tuple[View, GroupJournal]]:
        """Read what is there, under the lease, and begin to renew that."""
        async with session.transaction(snapshot=True):
            view, is_large = await read_view(session)
            if not is_large:
                await read_all(session, view)
        reader = None
        if is_large:
            reader = Reader(self._database, is_snapshot=False)
            view.records = DistantRecords(reader, most=MOST_KEPT_BY_WRITER)
        spool = Spool(self._spools, lease.token)
        spool.lineage = view.lineage
        try:
            yield (
                view,
                GroupJournal(
                    session,
                    lease,
                    view,
                    spool,
                    renewed=renewed,
                    clock=self._lease_clock,
                    patience=self._patience,
                ),
            )
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
                raise leased(self.place, other, self._lease, self._clock())
            await asyncio.sleep(min(POLL, wait))


class GroupJournal(Pusher):
    """The end of a history in a database (`writer.Journal`)."""

    is_long = False

    def __init__(
        self,
        session: Session,
        lease: Lease,
        view: View,
        spool: Spool,
        *,
        renewed: float,
        clock: Callable[[], float],
        patience: float | None,
    ) -> None:
        super().__init__(
            self._append,
            spool,
            lease=lease.seconds,
            renewed=renewed,
            clock=clock,
            patience=patience,
        )
        self._session, self._hold, self._view = session, lease, view
        self._runs: dict[int, str] = {}

    async def known(self, lines: Sequence[Line]) -> set[str]:
        """Tell which lines are in the history, by their hashes."""
        if not lines:
            return set()
        return await self.alone(lambda: known_lines(self._session, lines))

    def tell(self, progress: Progress) -> None:
        """Say how far the run is, with the next renewal."""
        self._hold.holder = self._hold.holder.model_copy(update={"progress": progress})

    async def compact(self, view: View) -> str | None:
        """Let go of lines that nobody needs to know of; the tables are compact by themselves."""
        await self.flush()
        try:
            await self.alone(lambda: forget_lines(self._session, self._hold))
            await self.alone(lambda: forget_sightings(self._session))
        except StateError as error:
            return f"{error}; its oldest lines stay"
        return None

    async def replace(self, view: View) -> None:
        """Put the view in the place of all rows."""
        await self.flush()
        await self.alone(lambda: put_all(self._session, self._hold, view), renews=True)
        self._view = view
        self._runs.clear()

    async def _append(self, lines: Sequence[Pending]) -> None:
        """Append lines and renew the lease; what they make of the tables is taken at once."""
        await append(self._session, self._hold, lines, self._view, self._runs)
