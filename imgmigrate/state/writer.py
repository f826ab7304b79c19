"""Record what a run intends and does, line by line, while the view stays up to date.

Only who holds the state has one (`base.StateStore.writer`). A failed write is a StateError and
leaves every earlier line intact; what to do then is the caller's to decide. Where the lines go is
the `Journal`'s matter, which each kind of state has its own of.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import secrets
import socket
import uuid
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from imgmigrate.clock import now, timestamp
from imgmigrate.errors import UsageError
from imgmigrate.events import Warned
from imgmigrate.redaction import printable, redact
from imgmigrate.state.entries import (
    Begin,
    Claims,
    Conflict,
    End,
    Failed,
    Intent,
    Move,
    Protect,
    Remove,
    Unprotect,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from imgmigrate.causes import Cause
    from imgmigrate.oci.reference import Reference
    from imgmigrate.state.entries import Entry
    from imgmigrate.state.holder import Progress
    from imgmigrate.state.memory import StateInMemory
    from imgmigrate.state.record import Claim, ImageRecord, Owner
    from imgmigrate.state.view import View

__all__ = ["Journal", "Writer", "check_continues", "run_name"]

logger = logging.getLogger(__name__)

# A line of about 100 KB: long enough to be cheap, short enough for one write.
CLAIMS_PER_LINE = 500
# Characters of why a row failed: the whole of it is in the output of its run.
LONGEST_CAUSE = 300


class Journal(Protocol):
    """The end of a state's history, open for the one who holds the state.

    Lines become durable in groups: of those that were written and not flushed a crash of the
    machine may lose the last few, and never one from between others. Every failure is a
    StateError, and every line before the one that failed stays.
    """

    @property
    def is_long(self) -> bool:
        """Whether it would take a reader seconds to read: then it is compacted between runs."""

    async def room(self) -> None:
        """Wait while as many lines are not durable as may be lost at once."""

    def write(self, sequence: int, previous: str, entry: dict[str, Any]) -> str:
        """Append one line after the one whose hash is `previous`, and return its hash.

        The entry is encoded (`entries.encode`) and lacks its number, which is decoded with it. It
        does not wait: whoever takes the number `sequence` has written its line before anybody
        else looks at the view.
        """

    async def flush(self) -> None:
        """Return when every line written before is durable: the end of a group."""

    async def hold(self) -> None:
        """Return when the state is surely held: what is done at once is no other's to undo.

        StateLost if another has it, or may have it. A hold that only the process's end ends is
        sure at once.
        """

    async def compact(self, view: View) -> str | None:
        """Put the view in the place of its lines, and keep what was there as a backup.

        In steps of which each leaves a state that reads the same. One that cannot be done costs
        nothing but tidiness: then it says what is in the way, in words, and what to do.
        """

    async def replace(self, view: View) -> None:
        """Put a view in the place of all that is there, durably; that is kept as a backup.

        StateError leaves what was there.
        """

    async def close(self) -> None:
        """Make everything durable and let go; also when cancelled meanwhile."""


class Writer:
    """The pen of one process. Methods may be called by many tasks of one event loop at once.

    Not so `begin`, `end` and `bind`: they may compact, and a line that is written while the
    snapshot is made of the view would leave with the journal that it was written to.
    """

    def __init__(
        self,
        view: View,
        journal: Journal,
        *,
        command: str,
        clock: Callable[[], datetime] = now,
        tell: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """`tell` lets whoever asks who writes this state know how far it is."""
        self._view, self._journal = view, journal
        self._listener: Callable[[Warned], None] | None = None
        self._unheard: list[Warned] = []
        self._command, self._clock, self.tell = command, clock, tell
        self._run: Begin | None = None

    def listen(self, listener: Callable[[Warned], None]) -> None:
        """Let somebody hear what is worth knowing of the state and stops nothing, from now on.

        What was said before is said again. What nobody hears is logged at the end.
        """
        self._listener = listener
        unheard, self._unheard = self._unheard, []
        for each in unheard:
            listener(each)

    def warn(self, warning: Warned) -> None:
        """Tell whoever listens."""
        if self._listener is None:
            self._unheard.append(warning)
        else:
            self._listener(warning)

    @property
    def state(self) -> StateInMemory:
        """The state with every line written so far; its records and claims stay live."""
        return self._view.state()

    async def begin(
        self,
        run: str,
        plan_id: str,
        claims: Sequence[Claim],
        *,
        rows: int | None = None,
        owner: Owner | None = None,
    ) -> None:
        """Begin a run; on return its claims are durable, so its first tag may be written.

        `rows` is how many it sets out to do, `owner` whom it binds the state to. The first run
        of a state gives it its lineage.
        """
        if self._journal.is_long:
            await self._compact()
        self._run = Begin(
            run=run,
            plan_id=plan_id,
            at=timestamp(self._clock()),
            command=redact(self._command),
            pid=os.getpid(),
            host=socket.gethostname(),
            lineage=None if self._view.lineage else str(uuid.uuid4()),
            rows=rows,
            name=owner.name if owner else None,
            place=owner.place if owner else None,
        )
        await self._append(self._run)
        for batch in _batches(claims):
            await self._append(Claims(run=run, claims=batch))
        await self._journal.flush()

    async def record(self, record: ImageRecord) -> ImageRecord:
        """Record what happened at an address and return it with its sequence and run.

        An empty `at` or `plan_id` is filled in too. It is durable after 16 lines or 200 ms.
        """
        await self._journal.room()
        # From here on without an await: the sequence in the record is that of its line.
        filled = dataclasses.replace(
            record,
            sequence=self._view.sequence + 1,
            run=self._run.run if self._run else record.run,
            plan_id=record.plan_id or (self._run.plan_id if self._run else ""),
            at=record.at or timestamp(self._clock()),
        )
        self._write(filled)
        return filled

    async def conflict(self, address: Reference) -> None:
        """Drop this run's claim on an address: its row turned out to be a conflict."""
        run = self._run.run if self._run else ""
        if self._view.has_claim(run, address):
            await self._append(Conflict(run=run, address=str(address)))

    async def failed(self, address: Reference, cause: str, why: Cause | None = None) -> None:
        """Note that this run could not do its row, for whoever asks how far it is."""
        if self._run is None:
            return
        cause = printable(redact(cause), LONGEST_CAUSE)
        if why is not None:
            why = why.model_copy(update={"text": printable(why.text, LONGEST_CAUSE)})
        entry = Failed(run=self._run.run, address=str(address), cause=cause, why=why)
        await self._append(entry)

    async def remove(self, addresses: Sequence[Reference]) -> None:
        """Erase the records of addresses, and all claims on them; unknown ones are ignored."""
        for address in addresses:
            if self._view.knows(address):
                await self._append(Remove(address=str(address)))
        await self._journal.flush()

    async def move(
        self, pairs: Sequence[tuple[Reference, Reference]], *, same_place: bool = False
    ) -> None:
        """Give records other addresses, with the claims on them; unknown ones are ignored.

        What was recorded at a new address is replaced: the caller has looked. Where both names
        are of the `same_place` nothing has moved, and plans made before hold on.
        """
        is_other_name = True if same_place else None
        for old, new in pairs:
            if self._view.knows(old):
                await self._append(Move(address=str(old), to=new, is_other_name=is_other_name))
        await self._journal.flush()

    async def protect(self, addresses: Sequence[Reference]) -> None:
        """Note that records are protected; those that are already are left as they are."""
        for address in addresses:
            record = self.state.record(address)
            if record is not None and not record.protected:
                await self._append(Protect(address=str(address)))
        await self._journal.flush()

    async def unprotect(self, addresses: Sequence[Reference]) -> None:
        """Lift the protection of records; those without one are left as they are."""
        for address in addresses:
            record = self.state.record(address)
            if record is not None and record.protected:
                await self._append(Unprotect(address=str(address)))
        await self._journal.flush()

    async def bind(self, owner: Owner) -> None:
        """Bind the state to a config by a run of its own that does no row; durable on return."""
        await self.begin(run_name(self._clock()), "", (), rows=0, owner=owner)
        await self.end({})

    async def end(self, counts: Mapping[str, int]) -> None:
        """End the run durably, then compact; without a begun run it only compacts."""
        if self._run:
            at = timestamp(self._clock())
            await self._append(End(run=self._run.run, at=at, counts=dict(counts)))
            self._run = None
        await self._journal.flush()
        await self._compact()

    async def sync(self) -> None:
        """Return when everything recorded so far is durable."""
        await self._journal.flush()

    async def restore(self, view: View) -> None:
        """Become what a copy of this state says, or any state where nothing is; durable on return.

        UsageError where that would lose something: another lineage, or lines that the copy lacks.
        """
        check_continues(self._view, view)
        await self._journal.flush()
        await self._journal.replace(view)
        self._view = view

    async def hold(self) -> None:
        """Return when this process surely holds the state, as it must before it writes a tag.

        StateLost if another may hold it by now.
        """
        await self._journal.hold()

    async def close(self) -> None:
        """Make everything durable and close the journal; also when cancelled meanwhile."""
        for each in self._unheard:
            logger.warning("%s", each.message)
        self._unheard.clear()
        await self._journal.close()

    async def _append(self, entry: Entry) -> None:
        await self._journal.room()
        self._write(entry)

    def _write(self, entry: Entry) -> None:
        """Write and apply in one go: nobody else may take the sequence in between."""
        sequence = self._view.sequence + 1
        head = self._journal.write(sequence, self._view.head, encode(entry))
        self._view.apply(sequence, head, entry)

    async def _compact(self) -> None:
        """Compact what there is; a state without a lineage has nothing yet."""
        if self._view.lineage is not None:
            trouble = await self._journal.compact(self._view)
            if trouble is not None:
                self.warn(Warned("state_not_compacted", trouble))


def check_continues(present: View, copy: View) -> None:
    """Refuse a copy that is of another state, or that lacks what is there; UsageError says which.

    A copy goes on where the present state ends if it has that very line in its history.
    """
    if copy.lineage is None:
        message = "what is to take its place holds no state"
        raise UsageError(message, hint="name a copy that was made with imgmigrate state pull")
    if present.lineage is None:
        return
    if present.lineage != copy.lineage:
        message = f"it is the state {present.lineage}, and the copy is of {copy.lineage}"
        raise UsageError(message, hint="two states never become one; name an empty place")
    end = (present.sequence, present.head)
    known: set[tuple[int | None, str | None]] = {(copy.sequence, copy.head)}
    for run in copy.runs:
        known |= {(run.sequence, run.head), (run.end_sequence, run.end_head)}
    if end not in known:
        message = f"it is at line {present.sequence:,}, which the copy, at {copy.sequence:,}, lacks"
        raise UsageError(message, hint="somebody wrote it since the copy was made: pull it again")


def run_name(now: datetime) -> str:
    """Name a run so that names sort by time and never meet; `now` is in UTC."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def _batches(claims: Sequence[Claim]) -> Iterator[tuple[Intent, ...]]:
    intents = (
        Intent(
            address=str(claim.address),
            after=claim.after,
            before=claim.before,
            stands_in=True if claim.stands_in else None,
            companions=claim.companions or None,
        )
        for claim in claims
    )
    while batch := tuple(islice(intents, CLAIMS_PER_LINE)):
        yield batch
