"""Replay: a snapshot and the lines after it, as one view that each further line updates.

Pure. A line costs O(1), however many records there are; `state()` copies nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

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
)
from imgmigrate.state.memory import Records, StateInMemory
from imgmigrate.state.record import Failure, ImageRecord, Run, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from imgmigrate.oci.reference import Digest, Reference
    from imgmigrate.state.entries import Entry

__all__ = ["KEPT_RUNS", "View"]

# Enough for `state log` and to know any plan that is still worth applying.
KEPT_RUNS = 50
# Of one run, the latest: enough to see what goes wrong, and few enough for every snapshot.
KEPT_FAILURES = 5


class View(Struct):
    """The state as of line `sequence`; whoever holds it keeps it up to date with `apply`."""

    lineage: str | None = None
    sequence: int = 0
    head: str = ""
    # Whose state it is, and where that config saw it.
    name: str | None = None
    place: str | None = None
    runs: list[Run] = field(default_factory=list)
    records: Records = field(default_factory=Records)
    # Whose claims are open on an address, and the same without the runs' names.
    _open: dict[str, dict[str, Intent]] = field(default_factory=dict)
    _claims: dict[str, frozenset[Digest]] = field(default_factory=dict)
    _stand_ins: dict[str, dict[Digest, Digest]] = field(default_factory=dict)
    _companions: dict[str, frozenset[tuple[str, Digest]]] = field(default_factory=dict)

    def state(self) -> StateInMemory:
        """Show the view; `records`, and all that is of claims, stay live in what was shown."""
        return StateInMemory(
            self.lineage,
            self.sequence,
            self.head,
            self.records,
            self._claims,
            tuple(self.runs),
            self._stand_ins,
            self.name,
            self.place,
            companions=self._companions,
        )

    def apply(self, sequence: int, head: str, entry: Entry) -> None:
        """Take the next line."""
        match entry:
            case ImageRecord():
                address = str(entry.address)
                self.records.put(entry)
                # A forget writes nothing, so it settles no claim (DESIGN section 5).
                if entry.status is not Status.FORGOTTEN:
                    self._settle(address)
                self._count(entry.run, at=entry.at, done=1)
            case Claims(run=run, claims=claims):
                for intent in claims:
                    self.claim(run, intent)
            case Conflict(run=run, address=address):
                self._settle(address, run)
                self._count(run, conflicts=1)
            case Failed(run=run):
                failure = Failure(address=entry.address, cause=entry.cause, why=entry.why)
                self._count(run, failure=failure)
            case Remove(address=address):
                self.records.drop(address)
                self._settle(address)
            case Move(address=address, to=to):
                self._move(address, to, None if entry.is_other_name else sequence)
            case Protect(address=address):
                if address in self.records:
                    self.records.put(replace(self.records[address], protected=True))
            case Unprotect(address=address):
                if address in self.records:
                    self.records.put(replace(self.records[address], protected=False))
            case Begin():
                self._begin(entry)
            case End():
                self._end(sequence, head, entry)
        self.sequence, self.head = sequence, head

    def claim(self, run: str, intent: Intent) -> None:
        """Open a run's claim on an address."""
        self._open.setdefault(intent.address, {})[run] = intent
        self._show_claims(intent.address)

    def has_claim(self, run: str, address: Reference) -> bool:
        """Tell whether this run's claim on the address is open."""
        return run in self._open.get(str(address), {})

    def claims_on(self, address: str) -> Mapping[str, Intent]:
        """The open claims on an address, by their runs."""
        return self._open.get(address, {})

    def knows(self, address: Reference) -> bool:
        """Tell whether the address has a record or an open claim."""
        return str(address) in self.records or str(address) in self._open

    def open_claims(self) -> Iterator[tuple[str, Intent]]:
        """Every open claim with its run, by address and then in the order of the runs."""
        for address in sorted(self._open):
            yield from self._open[address].items()

    def _begin(self, entry: Begin) -> None:
        self.lineage = self.lineage or entry.lineage
        if entry.name is not None:
            self.name, self.place = entry.name, entry.place
        self.runs.append(
            Run(
                run=entry.run,
                plan_id=entry.plan_id,
                began_at=entry.at,
                sequence=self.sequence,
                head=self.head,
                command=entry.command,
                pid=entry.pid,
                host=entry.host,
                rows=entry.rows,
                name=entry.name,
            )
        )
        del self.runs[:-KEPT_RUNS]

    def _end(self, sequence: int, head: str, entry: End) -> None:
        ended = {"ended_at": entry.at, "end_sequence": sequence, "end_head": head}
        for index, run in enumerate(self.runs):
            if run.run == entry.run:
                self.runs[index] = run.model_copy(update={**ended, "counts": entry.counts})

    def _count(
        self,
        name: str,
        at: str | None = None,
        done: int = 0,
        conflicts: int = 0,
        failure: Failure | None = None,
    ) -> None:
        """Note the progress of the run that is going on; the lock allows only one."""
        run = self.runs[-1] if self.runs else None
        if run is None or run.run != name or run.ended_at is not None:
            return
        counted: dict[str, Any] = {
            "done": run.done + done,
            "conflicts": run.conflicts + conflicts,
            "last_at": at or run.last_at,
        }
        if failure is not None:
            counted["failed"] = run.failed + 1
            counted["failures"] = (*run.failures, failure)[-KEPT_FAILURES:]
        self.runs[-1] = run.model_copy(update=counted)

    def _move(self, address: str, to: Reference, sequence: int | None) -> None:
        """Move a record and the claims; it is as old as it was where `sequence` is None."""
        if address == str(to):
            return
        record = self.records.drop(address)
        if record is not None:
            age = record.sequence if sequence is None else sequence
            moved = replace(record, address=to, sequence=age)
            if record.keeps_previous:  # of the repository that it is in, wherever that goes
                origin = to.repository.at(record.source.digest)
                moved = replace(moved, source=replace(record.source, reference=origin))
            self.records.put(moved)
        for run, intent in self._open.get(address, {}).items():
            self.claim(run, intent.model_copy(update={"address": str(to)}))
        self._settle(address)

    def _settle(self, address: str, run: str | None = None) -> None:
        claims = self._open.get(address)
        if not claims:
            return
        if run is None:
            claims.clear()
        else:
            claims.pop(run, None)
        self._show_claims(address)

    def _show_claims(self, address: str) -> None:
        claims = self._open[address]
        self._stand_ins.pop(address, None)
        self._companions.pop(address, None)
        if not claims:
            del self._open[address]
            self._claims.pop(address, None)
            return
        self._claims[address] = frozenset(intent.after for intent in claims.values())
        stand_ins = {
            intent.after: intent.before
            for intent in claims.values()
            if intent.stands_in and intent.before is not None
        }
        if stand_ins:
            self._stand_ins[address] = stand_ins
        companions = frozenset(
            each for intent in claims.values() for each in intent.companions or ()
        )
        if companions:
            self._companions[address] = companions
