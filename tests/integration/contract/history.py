"""What is ours by the lines of the journal alone: the reference replays all of them each time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgmigrate.oci.reference import Reference

if TYPE_CHECKING:
    from imgmigrate.plan import Plan

__all__ = ["History", "Kept", "Past", "Record"]


@dataclass
class Record:
    """What the last line about an address says, and the number of the line that put it there."""

    digest: str
    status: str
    sequence: int
    run: str
    plan_id: str
    source: tuple[str, str]
    platforms: tuple[str, ...]
    protected: bool
    keeps: bool
    undid: str | None

    @classmethod
    def of(cls, line: dict[str, Any], sequence: int) -> Record:
        """Read a line."""
        source = line["source"]["reference"]
        repository = str(Reference.parse(line["address"]).repository)
        return cls(
            digest=line["digest"],
            status=line.get("status", "live"),
            sequence=sequence,
            run=line["run"],
            plan_id=line["plan_id"],
            source=(source, line["source"]["digest"]),
            platforms=tuple(line.get("filter", {}).get("platforms", ())),
            protected=line.get("protected", False),
            keeps=source.startswith(f"{repository}@"),
            undid=line.get("undid"),
        )

    @property
    def is_live(self) -> bool:
        """Tell it from a tombstone."""
        return self.status == "live"


@dataclass
class Past:
    """What follows from all lines: records, and open claims by address and run."""

    records: dict[str, Record] = field(default_factory=dict)
    claims: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def take(self, line: dict[str, Any], sequence: int) -> None:
        """Take the next line."""
        name = line.get("address", "")
        match line["kind"]:
            case "record":
                self.records[name] = Record.of(line, sequence)
                if self.records[name].status != "forgotten":
                    self.claims.pop(name, None)
            case "claims":
                for claim in line["claims"]:
                    self.claims.setdefault(claim["address"], {})[line["run"]] = claim
            case "conflict":
                self.claims.get(name, {}).pop(line["run"], None)
            case "remove":
                self.records.pop(name, None)
                self.claims.pop(name, None)
            case "move":
                record = self.records.pop(name, None)
                if record is not None:
                    record.sequence = sequence
                    if record.keeps:
                        repository = Reference.parse(line["to"]).repository
                        record.source = (f"{repository}@{record.source[1]}", record.source[1])
                    self.records[line["to"]] = record
                self.claims.setdefault(line["to"], {}).update(self.claims.pop(name, {}))
            case "protect" | "unprotect":
                if name in self.records:
                    self.records[name].protected = line["kind"] == "protect"


@dataclass
class History:
    """Every line that is in the journal, as it was written."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    _past: Past = field(default_factory=Past)
    _seen: tuple[int, int] = (0, 0)

    @property
    def past(self) -> Past:
        """Replay all lines, unless nothing has changed."""
        seen = (len(self.lines), id(self.lines[-1]) if self.lines else 0)
        if seen != self._seen:
            self._past, self._seen = Past(), seen
            for number, line in enumerate(self.lines, 1):
                self._past.take(line, number)
        return self._past

    @property
    def live(self) -> dict[str, Record]:
        """Records that are no tombstones."""
        return {name: record for name, record in self.past.records.items() if record.is_live}

    def record(self, name: str) -> Record | None:
        """The record of an address."""
        return self.past.records.get(name)

    def is_at(self, name: str, digest: str | None) -> bool:
        """Tell whether a live record has this digest."""
        record = self.record(name)
        return record is not None and record.is_live and record.digest == digest

    def claims(self, name: str) -> set[str]:
        """What a begun run was about to write at an address, and nothing has settled since."""
        return {claim["after"] for claim in self.past.claims.get(name, {}).values()}

    def behind(self, name: str, digest: str | None) -> str | None:
        """The image that a placeholder stands in for; anything else is itself."""
        for claim in self.past.claims.get(name, {}).values():
            if claim.get("stands_in") and claim["after"] == digest:
                return str(claim["before"])
        return digest

    def is_cut_off(self, name: str) -> bool:
        """Tell whether a delete of the address began and never ended."""
        claims = self.past.claims.get(name, {}).values()
        return any(claim.get("stands_in") and claim.get("before") for claim in claims)

    def ours(self, name: str) -> set[str]:
        """Every digest at an address that may be overwritten or deleted."""
        record = self.record(name)
        recorded = {record.digest} if record and record.status != "deleted" else set()
        return recorded | self.claims(name)


@dataclass(frozen=True)
class Kept:
    """A plan, and the last line of the history that it was made from."""

    plan: Plan
    last: dict[str, Any] | None

    def fits(self, history: History) -> bool:
        """Tell whether the history still contains that line at its place."""
        bound = self.plan.header.state
        if bound.lineage is None:
            return True
        place = bound.sequence - 1
        return place < len(history.lines) and history.lines[place] is self.last
