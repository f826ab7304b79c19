"""What the state knows: one record an address, open claims, runs; a view for readers.

Pure. How it lies on disk is `journal.py`; who may write is `lock.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

# Pydantic needs these at run time.
from imgmigrate.oci.reference import Digest, Reference  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Claim", "Filter", "ImageRecord", "Run", "Source", "State", "Status"]


class _Frozen(BaseModel):
    """Unknown fields are kept out but not refused: a minor version may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Status(StrEnum):
    """Whether a record is live, or which kind of tombstone it is."""

    LIVE = "live"
    FORGOTTEN = "forgotten"  # still ours if the destination shows its digest
    DELETED = "deleted"  # keeps its digest for rollback and owns nothing


class Source(_Frozen):
    """Where an image came from: the reference as planned, and its digest there."""

    reference: Reference
    digest: Digest


class Filter(_Frozen):
    """Which platforms were kept, and by which version of the rebuilding function."""

    platforms: tuple[str, ...]
    version: int


class ImageRecord(_Frozen):
    """What we last wrote or adopted at an address. `digest` is the destination's."""

    address: Reference
    source: Source
    filter: Filter | None = None
    digest: Digest
    previous: Digest | None = None
    media_type: str
    size: int | None = None
    at: str
    sequence: int
    run: str
    plan_id: str
    status: Status = Status.LIVE

    @property
    def is_live(self) -> bool:
        """Tell a live record from a tombstone."""
        return self.status is Status.LIVE


class Claim(_Frozen):
    """What a begun run is about to write at an address: ours if a crash loses the record."""

    address: Reference
    after: Digest
    before: Digest | None = None


class Run(_Frozen):
    """One apply: which plan, when, and how the history looked when it began and ended."""

    run: str
    plan_id: str
    began_at: str
    sequence: int
    head: str
    ended_at: str | None = None
    end_sequence: int | None = None
    end_head: str | None = None
    counts: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class State:
    """One consistent view: everything up to line `sequence`, whose hash is `head`.

    `lineage` is None where no state exists yet. Keys are printed addresses.
    """

    lineage: str | None = None
    sequence: int = 0
    head: str = ""
    records: Mapping[str, ImageRecord] = field(default_factory=dict)
    claims: Mapping[str, frozenset[Digest]] = field(default_factory=dict)
    runs: tuple[Run, ...] = ()

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
