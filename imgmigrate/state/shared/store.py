"""Keep a state where several machines share it: any depot, with one holder at a time.

One head says what there is. Whoever swaps it for another writes the state, so the lease and the
lines are one step: a holder whose lease was taken over can never add a line, as the head that it
saw is not there any more. Readers take no lock, and see the ends of groups only.
"""

from __future__ import annotations

import contextlib
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from imgmigrate.clock import LoopClock, now
from imgmigrate.errors import StateError
from imgmigrate.state.groups.pusher import boottime
from imgmigrate.state.groups.taking_up import take_up
from imgmigrate.state.holder import Lock, leased
from imgmigrate.state.saved import new_plan
from imgmigrate.state.shared.depot import Missing, Overtaken
from imgmigrate.state.shared.head import lease_of
from imgmigrate.state.shared.held import Held, SharedJournal
from imgmigrate.state.shared.lease import Silence
from imgmigrate.state.shared.plans import list_plans, note_run, read_plan, save_plans
from imgmigrate.state.shared.reading import head_of, latest, marks_of, read_view
from imgmigrate.state.shared.sightings import add_sightings, read_sightings
from imgmigrate.state.writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from imgmigrate.clock import Clock
    from imgmigrate.state.lines.journal import Line
    from imgmigrate.state.memory import StateInMemory
    from imgmigrate.state.saved import SavedPlan
    from imgmigrate.state.shared.depot import Depot
    from imgmigrate.state.shared.head import Head
    from imgmigrate.state.sightings import Key, Sighting, Sightings
    from imgmigrate.state.view import View

__all__ = ["SharedState"]

# Seconds between the looks of who waits for a holder.
POLL = 1.0


class SharedState:
    """The state in a depot (`base.StateStore`); `lease` is in seconds.

    `spools` is the folder of this machine that keeps what the depot does not have yet.
    """

    def __init__(
        self,
        depot: Depot,
        *,
        lease: float,
        spools: Path | None = None,
        clock: Callable[[], datetime] = now,
        waits: Clock | None = None,
        counts: Callable[[], float] = boottime,
    ) -> None:
        self._depot, self._lease, self._spools = depot, lease, spools
        self._clock, self._waits, self._counts = clock, waits or LoopClock(), counts

    @property
    def place(self) -> str:
        """Its URL."""
        return self._depot.place

    @property
    def identity(self) -> str:
        """What its depot is told from others by."""
        return self._depot.identity

    async def look(self) -> StateInMemory:
        """Read one consistent view."""
        return (await self.load()).state()

    async def load(self) -> View:
        """Read all of it."""
        message = f"state {self.place}: a file that its head names is not there"
        gone = StateError(message, hint="restore the place's own older version of it")
        async with self._asked() as depot:
            return await latest(
                depot, lambda seen: read_view(depot, head_of(depot, seen)), gone=gone
            )

    async def remembers(self, sequence: int, head: str) -> bool:
        """Tell whether a line is the end of a group in the last 30 days, or of one of the runs."""
        if sequence == 0:
            return head == ""
        async with self._asked() as depot:
            seen = head_of(depot, await depot.fetch())
            if seen.knows(sequence, head):
                return True
            with contextlib.suppress(Missing):
                async for mark in marks_of(depot, seen):
                    if (mark.sequence, mark.head) == (sequence, head):
                        return True
        runs = (await self.load()).runs
        ends = {(run.sequence, run.head) for run in runs}
        return (sequence, head) in ends | {(run.end_sequence, run.end_head) for run in runs}

    async def lock(self) -> Lock:
        """Tell who holds it, or held it last and has not let go."""
        async with self._asked() as depot:
            seen = await depot.fetch()
            lease = head_of(depot, seen).lease
            if seen is None or lease is None:
                return Lock(False, None)
            age = await depot.age(seen)
        return Lock(age is None or age < lease.seconds, lease.holder)

    async def backups(self) -> Sequence[str]:
        """The former snapshots, the oldest first."""
        async with self._asked() as depot:
            head = head_of(depot, await depot.fetch())
        return [each.files[0] for each in head.former if each.files]

    async def break_lock(self) -> Lock:
        """Take the state from its holder, who can write no more; return who that was."""
        async with self._asked() as depot:
            while True:
                seen = await depot.fetch()
                head = head_of(depot, seen)
                if seen is None or head.lease is None:
                    return Lock(False, None)
                with contextlib.suppress(Overtaken):
                    await depot.swap(seen, head.free().printed())
                    return Lock(True, head.lease.holder)

    async def save_plan(self, data: bytes, *, plan_id: str, config: str | None) -> str:
        """Save a plan, and remove those whose time is over."""
        plan = new_plan(data, plan_id=plan_id, config=config, now=self._clock())
        await self.bring_plans({plan: data})
        return plan.sha256

    async def bring_plans(self, plans: Mapping[SavedPlan, bytes]) -> None:
        """Save plans as another place knew them, and remove those whose time is over."""
        async with self._asked() as depot:
            await save_plans(depot, plans, now=self._clock())

    async def read_plan(self, sha256: str) -> bytes:
        """Read and verify a plan."""
        async with self._asked() as depot:
            return await read_plan(depot, sha256)

    async def plans(self) -> Sequence[SavedPlan]:
        """Those that are kept, the oldest first."""
        async with self._asked() as depot:
            return await list_plans(depot)

    async def note_run(self, sha256: str, run: str) -> None:
        """Note the run that applied a plan."""
        async with self._asked() as depot:
            await note_run(depot, sha256, run, self._clock())

    async def sightings(self, keys: Collection[Key] | None = None) -> Sightings:
        """Read what was seen at sources."""
        async with self._asked() as depot:
            return await read_sightings(depot, self._clock(), keys)

    async def add_sightings(self, batch: Sequence[Sighting]) -> None:
        """Add what was seen."""
        async with self._asked() as depot:
            await add_sightings(depot, batch, self._clock())

    @asynccontextmanager
    async def writer(self, *, command: str, lock_timeout: float = 0) -> AsyncIterator[Writer]:
        """Hold it for writing; StateLocked if another still does after `lock_timeout` seconds.

        On leaving what was recorded is at its place, and the state is free. A process that dies
        leaves the state to whoever has waited for its lease to run out.
        """
        async with self._asked():
            held, renewed = await self._take(command, lock_timeout)
            journal = SharedJournal(
                held, self._spools, renewed=renewed, clock=self._counts, waits=self._waits
            )
            try:
                # Only now: before it another writer might still have added lines.
                view = await self._opened(held.head)
                journal.spool.lineage = view.lineage
                writer = Writer(view, journal, command=command, clock=self._clock, tell=held.tell)
                known = partial(self._known, held.head)
                await take_up(self._spools, view, journal, writer, known=known, place=self.place)
                yield writer
            except BaseException:
                # What ended the block says more than a failure to close after it.
                with contextlib.suppress(StateError):
                    await journal.close()
                raise
            await journal.close()

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[Depot]:
        """The place, which has nothing open any more when whoever asked it has gone."""
        try:
            yield self._depot
        finally:
            await self._depot.close()

    async def _opened(self, head: Head) -> View:
        try:
            return await read_view(self._depot, head)
        except Missing as error:
            message = f"state {self.place}: {error} is not there"
            raise StateError(message, hint="restore the place's own older version of it") from None

    async def _take(self, command: str, timeout: float) -> tuple[Held, float]:
        """Become the holder, with a fence above every former one's; say when that was asked for."""
        deadline, silence, is_proven = self._waits.time() + timeout, Silence(), False
        while True:
            seen = await self._depot.fetch()
            head = head_of(self._depot, seen)
            lease = head.lease
            is_free = seen is None or lease is None
            if not is_free and seen is not None and lease is not None:
                is_free = silence.is_over(lease, seen.version, await self._depot.age(seen))
            if is_free:
                if seen is None and not is_proven:
                    await self._depot.prove()
                    is_proven = True
                mine = lease_of(command, head.fence + 1, self._lease, self._clock())
                began = self._counts()
                with contextlib.suppress(Overtaken):
                    taken = await self._depot.swap(seen, head.held(mine).printed())
                    return Held(self._depot, taken, head, mine, self._clock), began
                continue
            left = deadline - self._waits.time()
            if left <= 0 and lease is not None:
                raise leased(self.place, lease.holder, lease.seconds, self._clock())
            await self._waits.sleep(min(POLL, self._lease / 10, left))

    async def _known(self, head: Head, lines: Sequence[Line]) -> set[str]:
        """Tell which lines are there: whole groups only, so of the last one all before it are."""
        ends = {(mark.sequence, mark.head) async for mark in marks_of(self._depot, head)}
        ends.add((head.sequence, head.head))
        there = [at for at, line in enumerate(lines, 1) if (line.sequence, line.hash) in ends]
        return {line.hash for line in lines[: there[-1] if there else 0]}
