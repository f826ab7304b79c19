"""What the state knows: one record an address, open claims, runs; and what may be asked of it.

Pure. Where a state is kept is `base.py`, one that is in memory `memory.py`.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Protocol, Self

from msgspec import Struct
from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

# Pydantic needs these at run time.
from imgmigrate.causes import Cause  # noqa: TC001
from imgmigrate.oci.platforms import IndexForm, choose
from imgmigrate.oci.reference import Digest, Reference  # noqa: TC001
from imgmigrate.schemas.models import LATER, LENIENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from imgmigrate.oci.manifest import Manifest
    from imgmigrate.oci.reference import Repository
    from imgmigrate.oci.referrers import Referrer

__all__ = [
    "RECORDS",
    "Carried",
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

# As `LENIENT` is, but for what a dataclass says itself.
_LENIENT = ConfigDict(**LATER, extra="ignore")
# The same few words stand in every record of a run.
_Word = Annotated[str, AfterValidator(sys.intern)]


class _Frozen(BaseModel):
    model_config = LENIENT


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
    """Which platforms were kept, by which version of the rebuilding function, in which form.

    No platforms are all of them. Earlier versions knew no form, and rebuilt every index.
    """

    platforms: tuple[str, ...]
    version: int
    form: IndexForm = IndexForm.TRIM

    def chosen(self, manifest: Manifest) -> Manifest:
        """Say what it leaves of a source's manifest (`choose`); ValueError if that cannot be."""
        return choose(manifest, self.platforms, self.version, self.form)

    def present(self, manifest: Manifest) -> Manifest:
        """Leave out of what an address shows the children that are absent on purpose."""
        if self.form is not IndexForm.KEEP:
            return manifest
        try:
            return self.chosen(manifest)
        except ValueError:  # then all of it should be there
            return manifest

    @property
    def of_itself(self) -> Filter | None:
        """Say what is left to say where what was written is the source: what is absent of it."""
        return self if self.is_sparse else None

    @property
    def is_sparse(self) -> bool:
        """Tell whether an index stays as it is, whatever of it is not there."""
        return self.form is IndexForm.KEEP

    def chooses_as(self, other: Filter | None) -> bool:
        """Tell whether another one chooses the same, in whichever form."""
        if other is None:
            return False
        return (self.platforms, self.version) == (other.platforms, other.version)


class Former(_Frozen):
    """Where a record's `previous` came from, where its digest alone does not tell."""

    source: Source
    filter: Filter | None = None


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_LENIENT)
class Carried:
    """A referrer that goes along with an image: a signature, an SBOM, an attestation.

    It `refers_to` the image, a child of it, or another referrer. `tag` is cosign's, of what is
    found by that; `size` is in bytes, of the manifest alone.
    """

    refers_to: Digest
    digest: Digest
    media_type: _Word
    size: int
    kind: _Word
    tag: str | None = None

    @classmethod
    def of(cls, found: Referrer) -> Self:
        """Say of what was found what a row and a record keep."""
        wanted = found.descriptor
        return cls(
            refers_to=found.refers_to,
            digest=wanted.digest,
            media_type=wanted.media_type,
            size=wanted.size,
            kind=found.kind,
            tag=found.tag,
        )

    @property
    def key(self) -> tuple[Digest, str | None]:
        """What tells it from others, as of a `Referrer`."""
        return self.digest, self.tag


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
    # Of what a rollback put back: the digest of what the run had left that it undid.
    undid: Digest | None = None
    # What went along with it; None where nobody has looked, as in records of earlier versions.
    referrers: tuple[Carried, ...] | None = None
    # What went along, under tags of its own, with images that were here before: it is still there.
    left: tuple[Carried, ...] | None = None
    # They could not be looked for, so the next plan does.
    referrers_pending: bool | None = None
    # Layers that are not to be distributed were copied with it.
    copies_foreign: bool | None = None
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
    `companions` are tags of cosign's that are written first, with what they are to show.
    """

    address: Reference
    after: Digest
    before: Digest | None = None
    stands_in: bool = False
    companions: tuple[tuple[str, Digest], ...] = ()


class Failure(_Frozen):
    """A row that a run could not do, and why: in words, and in what it shares with others."""

    address: str
    cause: str
    why: Cause | None = None


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


class Owner(Struct, frozen=True):
    """The config that a state belongs to: its name, and where it sees the state (for people)."""

    name: str
    place: str | None = None


class State(Protocol):
    """One consistent view: everything up to line `sequence`, whose hash is `head`.

    It is asked for what is wanted: a kind of state that is elsewhere need not bring all of it
    here. `claims`, `companions` and `stand_ins` alone are whole: they are of runs that were cut
    off, or of the one that goes on. `lineage` is None where no state exists yet. `stand_ins` tells
    of each placeholder of a delete what it stands in for. `name` is of the config that it belongs
    to, None where it belongs to none yet; `place`, only for people, is where it was seen from that
    config. Of one that could not be read, as its place is not known here, `is_known` is False: it
    says nothing of whose anything is.
    """

    @property
    def lineage(self) -> str | None:
        """What tells this state from every other."""

    @property
    def sequence(self) -> int:
        """The number of the last line of its history; 0 where there is none."""

    @property
    def head(self) -> str:
        """The hash of that line, and so of all before it."""

    @property
    def name(self) -> str | None:
        """The name of the config that it belongs to."""

    @property
    def place(self) -> str | None:
        """Where it was seen from that config."""

    @property
    def is_known(self) -> bool:
        """Whether it could be looked at."""

    @property
    def runs(self) -> Sequence[Run]:
        """The latest runs, the oldest first."""

    @property
    def claims(self) -> Mapping[str, frozenset[Digest]]:
        """Of each address with open claims, what may be there by them."""

    @property
    def companions(self) -> Mapping[str, frozenset[tuple[str, Digest]]]:
        """Of each address with open claims, what may be under tags of cosign's by them."""

    @property
    def stand_ins(self) -> Mapping[str, Mapping[Digest, Digest]]:
        """Of each address with placeholders, what each of them stands in for."""

    @property
    def live_count(self) -> int:
        """How many records are live."""

    @property
    def record_count(self) -> int:
        """How many records there are, live and tombstones."""

    def record(self, address: Reference) -> ImageRecord | None:
        """The record at an address, live or tombstone."""

    def owns(self, address: Reference, digest: Digest) -> bool:
        """Tell whether `digest` at `address` is our own work (DESIGN section 5, "ours")."""

    def behind(self, address: Reference, digest: Digest | None) -> Digest | None:
        """The image that a placeholder of ours stands in for; anything else is itself."""

    def of(self, repository: Repository, *, tombstones: bool = False) -> Sequence[ImageRecord]:
        """The live records of a destination repository, by address."""

    def from_source(self, source: Repository) -> Iterator[ImageRecord]:
        """The live records whose images came from a source repository, by address."""

    def holds(self, repository: Repository) -> bool:
        """Tell whether a live record is of a destination repository."""

    def has_source(self, source: Repository) -> bool:
        """Tell whether a live record's image came from a source repository."""

    def repositories(self, *, tombstones: bool = False) -> Iterable[Repository]:
        """The destination repositories of live records, each once, in no order."""

    def sources(self) -> Iterable[Repository]:
        """The source repositories of live records, each once, in no order."""

    def with_layouts(self) -> Sequence[ImageRecord]:
        """The records, live and tombstones, that name a layout at either end, by address."""

    def written_by(self, what: str) -> Sequence[ImageRecord]:
        """What a run, or the runs of a plan, recorded last at its address, by address."""

    def close(self) -> None:
        """End the look, of which nothing more is asked: it may keep a connection until it ends.

        One that is garbage ends as well, whenever that is collected.
        """

    def live(self, prefix: str = "") -> Iterator[ImageRecord]:
        """The live records whose printed addresses begin with a prefix, by address."""

    def every(self, prefix: str = "") -> Iterator[ImageRecord]:
        """The records, live and tombstones, whose addresses begin with a prefix, by address."""
