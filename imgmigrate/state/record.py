"""What the state knows: one record an address, open claims, runs; a view for readers.

Pure. How it lies on disk is `journal.py`; who may write is `lock.py`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

# Pydantic needs these at run time.
from imgmigrate.oci.reference import Digest, Reference  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "RECORDS",
    "Claim",
    "Failure",
    "Filter",
    "Former",
    "ImageRecord",
    "Owner",
    "Run",
    "Source",
    "State",
    "Status",
]

# Unknown fields are kept out but not refused: a minor version may add some.
_LENIENT = ConfigDict(extra="ignore")
# The same few words stand in every record of a run.
_Word = Annotated[str, AfterValidator(sys.intern)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Status(StrEnum):
    """Whether a record is live, or which kind of tombstone it is."""

    LIVE = "live"
    FORGOTTEN = "forgotten"  # still ours if the destination shows its digest
    DELETED = "deleted"  # keeps its digest for rollback and owns nothing


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_LENIENT)
class Source:
    """Where an image came from: the reference as planned, and its digest there."""

    reference: Reference
    digest: Digest


class Filter(_Frozen):
    """Which platforms were kept, and by which version of the rebuilding function."""

    platforms: tuple[str, ...]
    version: int


class Former(_Frozen):
    """Where a record's `previous` came from, where its digest alone does not tell."""

    source: Source
    filter: Filter | None = None


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_LENIENT)
class ImageRecord:
    """What we last wrote or adopted at an address. `digest` is the destination's.

    A state may hold a hundred thousand: slots, and no model's overhead for each.
    """

    address: Reference
    source: Source
    filter: Filter | None = None
    digest: Digest
    previous: Digest | None = None
    former: Former | None = None
    media_type: _Word
    size: int | None = None
    at: _Word
    sequence: int
    run: _Word
    plan_id: _Word
    status: Status = Status.LIVE
    # What the run did, as its plan's rows say it; None in records of earlier versions.
    action: _Word | None = None
    # Set by apply where the config protects the address; lifted by `state unprotect` alone.
    protected: bool = False

    @property
    def is_live(self) -> bool:
        """Tell a live record from a tombstone."""
        return self.status is Status.LIVE

    @property
    def keeps_previous(self) -> bool:
        """Tell whether it is what `keep_previous` made: a tag of its own repository's digest.

        No rule asks for such a tag, and none lets it go. A rule that gives a tag of this very
        repository another name has that tag as its source.
        """
        origin = self.source.reference
        return origin.repository == self.address.repository and origin.tag is None


# Reads and writes records as JSON.
RECORDS: TypeAdapter[ImageRecord] = TypeAdapter(ImageRecord)


class Claim(_Frozen):
    """What a begun run is about to write at an address: ours if a crash loses the record.

    With `stands_in` it is the placeholder of a delete, and no image that anybody wants back.
    """

    address: Reference
    after: Digest
    before: Digest | None = None
    stands_in: bool = False


class Failure(_Frozen):
    """A row that a run could not do, and why."""

    address: str
    cause: str


class Run(_Frozen):
    """One apply: which plan, when, and how the history looked when it began and ended.

    `rows` is how many rows it set out to do; `done`, `conflicts` and `failed` how many of them
    have been journaled, the last that was done at `last_at`. `failures` are the latest few.
    `counts` are its own words at its end. `name` is of the config that it bound the state to.
    """

    run: str
    plan_id: str
    began_at: str
    sequence: int
    head: str
    ended_at: str | None = None
    end_sequence: int | None = None
    end_head: str | None = None
    counts: dict[str, int] = {}
    command: str = ""
    pid: int | None = None
    host: str = ""
    rows: int | None = None
    done: int = 0
    conflicts: int = 0
    failed: int = 0
    failures: tuple[Failure, ...] = ()
    last_at: str | None = None
    name: str | None = None

    @property
    def left(self) -> int | None:
        """How many rows have not been tried to their end; None if that was never said."""
        if self.rows is None:
            return None
        return max(0, self.rows - self.done - self.conflicts - self.failed)


@dataclass(frozen=True, slots=True)
class Owner:
    """The config that a state belongs to: its name, and where it sees the state (for people)."""

    name: str
    place: str | None = None


@dataclass(frozen=True, slots=True)
class State:
    """One consistent view: everything up to line `sequence`, whose hash is `head`.

    `lineage` is None where no state exists yet. Keys are printed addresses. `stand_ins` tells of
    each placeholder of a delete what it stands in for. `name` is of the config that it belongs
    to, None where it belongs to none yet; `place`, only for people, is where it was seen from
    that config. Of one that could not be read, as its place is not known here, `is_known` is
    False: it says nothing of whose anything is.
    """

    lineage: str | None = None
    sequence: int = 0
    head: str = ""
    records: Mapping[str, ImageRecord] = field(default_factory=dict)
    claims: Mapping[str, frozenset[Digest]] = field(default_factory=dict)
    runs: tuple[Run, ...] = ()
    stand_ins: Mapping[str, Mapping[Digest, Digest]] = field(default_factory=dict)
    name: str | None = None
    place: str | None = None
    is_known: bool = True

    def record(self, address: Reference) -> ImageRecord | None:
        """The record at an address, live or tombstone."""
        return self.records.get(str(address))

    def live(self) -> Iterator[ImageRecord]:
        """Every live record, by address."""
        return (self.records[key] for key in sorted(self.records) if self.records[key].is_live)

    def owns(self, address: Reference, digest: Digest) -> bool:
        """Tell whether `digest` at `address` is our own work (DESIGN section 5, "ours")."""
        record = self.record(address)
        if record and record.status is not Status.DELETED and record.digest == digest:
            return True
        return digest in self.claims.get(str(address), frozenset())

    def behind(self, address: Reference, digest: Digest | None) -> Digest | None:
        """The image that a placeholder of ours stands in for; anything else is itself."""
        stand_ins = self.stand_ins.get(str(address), {})
        return stand_ins.get(digest, digest) if digest is not None else None
