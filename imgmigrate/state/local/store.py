"""Keep a state in a folder of this machine: snapshot, journal, lock, backups, plans.

Reading takes no lock and is consistent at any time; writing takes the lock, and only then is
a torn tail cut. Everything else about the files is told by the modules it joins, of which those
that a plain plan has no use for are loaded when they are asked.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from imgmigrate.clock import now
from imgmigrate.errors import StateError
from imgmigrate.events import Warned
from imgmigrate.files import in_thread, make_folder, sync_data
from imgmigrate.state.local.appender import Appender
from imgmigrate.state.local.compaction import Places, compact, retire_journal, save_torn
from imgmigrate.state.local.loading import fingerprint, history, load
from imgmigrate.state.local.trouble import grown, torn, unwritable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from imgmigrate.state.holder import Holder, Lock
    from imgmigrate.state.local.loading import Loaded
    from imgmigrate.state.local.lock import StateLock
    from imgmigrate.state.local.repair import Survey
    from imgmigrate.state.memory import StateInMemory
    from imgmigrate.state.saved import SavedPlan
    from imgmigrate.state.sightings import Key, Sighting, Sightings
    from imgmigrate.state.view import View
    from imgmigrate.state.writer import Writer

__all__ = ["LocalState"]

# A reader that met a writer at work looks again; it cannot be unlucky this often.
READ_ATTEMPTS = 5
# A journal beyond this, in bytes, is compacted before the next run; replay stays a second or two.
LONGEST_JOURNAL = 64 * 1024 * 1024


class LocalState:
    """The state in `folder`, which need not exist yet: the kind `path` of a `base.StateStore`.

    What blocks stands beside what does the same off the event loop.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], datetime] = now) -> None:
        self.folder = folder
        self._places, self._clock = Places(folder), clock

    @property
    def place(self) -> str:
        """Its folder."""
        return str(self.folder)

    @property
    def identity(self) -> str:
        """Its folder by real path."""
        return os.path.realpath(self.folder)

    async def look(self) -> StateInMemory:
        """Read one consistent view (`read`)."""
        return await asyncio.to_thread(self.read)

    async def load(self) -> View:
        """Read all that is in it (`view`)."""
        return await asyncio.to_thread(self.view)

    async def remembers(self, sequence: int, head: str) -> bool:
        """Tell whether a line is in its history (`knows`)."""
        return await asyncio.to_thread(self.knows, sequence, head)

    async def lock(self) -> Lock:
        """Tell who writes it now (`is_locked`, `holder`)."""
        from imgmigrate.state.holder import Lock

        is_held = self.is_locked()
        return Lock(is_held, self.holder() if is_held else None)

    async def backups(self) -> tuple[str, ...]:
        """The files of former snapshots, the oldest first."""
        found = await asyncio.to_thread(self._places.backup, "snapshot")
        return tuple(map(str, found))

    async def save_plan(self, data: bytes, *, plan_id: str, config: str | None) -> str:
        """Save a plan, and remove those whose time is over."""
        from imgmigrate.state.saved import new_plan

        plan = new_plan(data, plan_id=plan_id, config=config, now=self._clock())
        await self.bring_plans({plan: data})
        return plan.sha256

    async def bring_plans(self, plans: Mapping[SavedPlan, bytes]) -> None:
        """Save plans as another place knew them, and remove those whose time is over."""
        from imgmigrate.state.local.plans import save_plans

        await in_thread(lambda: save_plans(self.folder, plans, now=self._clock()))

    async def read_plan(self, sha256: str) -> bytes:
        """Read and verify a plan."""
        from imgmigrate.state.local.plans import read_plan

        return await asyncio.to_thread(read_plan, self.folder, sha256)

    async def plans(self) -> list[SavedPlan]:
        """Those that are kept, the oldest first."""
        from imgmigrate.state.local.plans import list_plans

        return await asyncio.to_thread(list_plans, self.folder)

    async def note_run(self, sha256: str, run: str) -> None:
        """Note the run that applied a plan."""
        from imgmigrate.state.local.plans import note_run

        await in_thread(lambda: note_run(self.folder, sha256, run, self._clock()))

    async def sightings(self, keys: Collection[Key] | None = None) -> Sightings:
        """Read what was seen at sources."""
        from imgmigrate.state.local.sightings import read_sightings

        return await asyncio.to_thread(read_sightings, self.folder, self._clock(), keys)

    async def add_sightings(self, batch: Sequence[Sighting]) -> None:
        """Add what was seen."""
        from imgmigrate.state.local.sightings import add_sightings

        await in_thread(lambda: add_sightings(self.folder, batch, self._clock()))

    def read(self) -> StateInMemory:
        """Read one consistent view without a lock; an empty one where no state exists yet.

        StateError if the state is damaged or cannot be read. Blocking: about 15 us a record.
        """
        return self.view().state()

    def view(self) -> View:
        """Read one consistent view without a lock, as `read` does, with all that is in it."""
        # A writer may move the files while they are read. What was read is consistent or damaged;
        # damage is believed only if the files are the same after it as before.
        for _ in range(READ_ATTEMPTS):
            before = fingerprint(self._places)
            try:
                return load(self._places).view
            except StateError:
                if fingerprint(self._places) == before:
                    raise
        return load(self._places).view

    def knows(self, sequence: int, head: str) -> bool:
        """Tell whether line `sequence` with the hash `head` is in this state's history.

        Nothing, sequence 0, is in every history. Looks at the snapshot, the journal, the last
        50 runs and the backups; older lines are forgotten.
        """
        if sequence == 0:
            return head == ""
        return any((sequence, head) == known for known in history(self._places))

    @asynccontextmanager
    async def writer(self, *, command: str, lock_timeout: float = 0) -> AsyncIterator[Writer]:
        """Lock the state and write it; StateLocked if another still does after `lock_timeout` s.

        On leaving, however that happens, what was recorded is durable and the lock is free.
        """
        from imgmigrate.state.writer import Writer

        try:
            make_folder(self.folder)
        except OSError as error:
            raise unwritable(self.folder, error) from None
        lock = self._lock()
        async with lock.held(command, timeout=lock_timeout):
            # Read only under the lock: before it another writer may still add lines.
            opened = await in_thread(self._open, discard=lambda opened: opened[1].drop())
            view, journal, cut = opened
            writer = Writer(view, journal, command=command, clock=self._clock, tell=lock.tell)
            if cut is not None:
                writer.warn(Warned("state_torn", cut))
            try:
                yield writer
            except BaseException:
                # What ended the block says more than a failure to close after it.
                with suppress(StateError):
                    await writer.close()
                raise
            # Before the lock is free: no line of ours may come after the next writer's first.
            await writer.close()

    def survey(self) -> Survey:
        """Say what is wrong with the files and what a repair would make of them, without a lock.

        StateError where nothing can be had back, or only another version may touch them.
        """
        from imgmigrate.state.local.repair import survey

        for _ in range(READ_ATTEMPTS):
            before = fingerprint(self._places)
            found = survey(self._places)
            if fingerprint(self._places) == before:
                return found
        return survey(self._places)

    async def repair(
        self, seen: Survey, *, command: str, lock_timeout: float = 0
    ) -> tuple[Path, ...]:
        """Do what a survey said; return where the bytes that were taken away are kept.

        StateError if the files no longer are as they were when they were surveyed.
        """
        async with self._lock().held(command, timeout=lock_timeout):
            return await in_thread(lambda: self._mend(seen))

    def holder(self) -> Holder | None:
        """Name who writes this state now; None if nobody does, or nobody said who."""
        return self._lock().holder() if self.is_locked() else None

    def is_locked(self) -> bool:
        """Tell whether somebody writes this state now."""
        return self._lock().is_held()

    def _lock(self) -> StateLock:
        from imgmigrate.state.local.lock import StateLock

        return StateLock(self.folder, clock=self._clock)

    def _mend(self, seen: Survey) -> tuple[Path, ...]:
        from imgmigrate.state.local.repair import mend, survey

        if survey(self._places) != seen:
            message = f"state {self.folder}: it has changed since it was looked at"
            raise StateError(message, hint="run the same command again")
        try:
            kept = [path for path in mend(self._places, seen) if path is not None]
        except OSError as error:
            raise unwritable(self.folder, error) from None
        return tuple(kept)

    def _open(self) -> tuple[View, HeldJournal, str | None]:
        """Mend what a crash left, as the holder of the lock, and open the journal's end.

        Says what was cut off, if something was.
        """
        loaded, path = load(self._places), self._places.journal
        cut = None
        try:
            # The tail first: the journal may be moved away next, and is a backup then.
            if loaded.damage:
                cut = self._cut(loaded)
            if loaded.is_covered:
                # A compaction stopped before its last step.
                retire_journal(self._places, loaded.last)
            return loaded.view, HeldJournal(self._places), cut
        except OSError as error:
            raise unwritable(path, error) from None

    def _cut(self, loaded: Loaded) -> str:
        """Keep the torn tail beside, then cut it; both are durable in this order."""
        with self._places.journal.open("r+b") as file:
            file.seek(loaded.end)
            following = (loaded.last or loaded.view.sequence) + 1
            kept = save_torn(self._places, following, file.read())
            file.truncate(loaded.end)
            sync_data(file.fileno())
        return torn(self._places.journal, kept)


class HeldJournal(Appender):
    """The journal in the hands of the one process that holds its lock (`writer.Journal`).

    An appender that can also turn the journal into a snapshot.
    """

    def __init__(self, places: Places) -> None:
        super().__init__(places.journal)
        self._places = places

    @property
    def is_long(self) -> bool:
        """Whether reading it takes seconds."""
        return self.size > LONGEST_JOURNAL

    async def replace(self, view: View) -> None:
        """Write the view as the snapshot; what was there is a backup."""
        await self.flush()
        try:
            await self.run(lambda: list(compact(self._places, view)))
        except OSError as error:
            raise unwritable(self._places.folder, error) from None
        finally:
            await self.reopen()

    async def compact(self, view: View) -> str | None:
        """Compact if there is anything to compact; a failure costs nothing but tidiness."""
        if self.size == 0:
            return None
        # What moves away with the journal has to be durable; and however that ended, its name may
        # stand for another file now.
        await self.flush()
        try:
            await self.run(lambda: list(compact(self._places, view)))
        except (OSError, ValueError) as error:
            return grown(self._places.folder, error)
        finally:
            await self.reopen()
        return None
