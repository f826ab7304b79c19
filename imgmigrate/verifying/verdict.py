"""What was found out about images: whole, not whole and why, or not to be read.

Pure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgmigrate.errors import StoreError
    from imgmigrate.oci.reference import Digest, Reference
    from imgmigrate.state.record import Carried

__all__ = ["Fault", "Kind", "Part", "Standing", "Verdict", "Verified", "joined", "most_severe"]

# A thousand missing layers say no more than the first hundred; the number is kept.
MOST_FAULTS = 100

Part = Literal["index", "manifest", "blob"]


class Kind(StrEnum):
    """What is wrong with an image, or with one of its parts."""

    ABSENT = "absent"  # nothing is at the address
    CHANGED = "changed"  # another image than the recorded one is at the address
    MISSING = "missing"  # the image names it, and it is not there
    SIZE = "size"  # it is there with another size
    DAMAGED = "damaged"  # its bytes are not those of its digest, or it cannot be served
    UNLISTED = "unlisted"  # it is there, and nobody finds it: no list or tag names it
    MOVED = "moved"  # its source shows another one now, or has something more that refers to it


class Standing(StrEnum):
    """What became of one image."""

    WHOLE = "whole"
    MOVED = "moved"
    CHANGED = "changed"
    INCOMPLETE = "incomplete"
    UNREAD = "unread"  # a part of it could not be read: nobody knows


class Fault(Struct, frozen=True):
    """One thing that is wrong; sizes are bytes, `digest` is what should be there.

    `referrer` is what goes along with the image that it is of, if it is of one.
    """

    kind: Kind
    part: Part
    digest: Digest | None = None
    size: int | None = None
    found: str | None = None
    referrer: Carried | None = None


class Verdict(Struct, frozen=True):
    """What was found out about one image; `digest` is what should be at its address.

    `more` counts faults beyond those that are listed. `error` is the first failure to read.
    """

    address: Reference
    digest: Digest | None
    faults: tuple[Fault, ...] = ()
    more: int = 0
    error: StoreError | None = None

    @property
    def standing(self) -> Standing:
        """What became of it; what could not be read leaves the rest in doubt."""
        if self.error is not None:
            return Standing.UNREAD
        if not self.faults:
            return Standing.WHOLE
        kinds = {fault.kind for fault in self.faults}
        if kinds == {Kind.MOVED}:
            return Standing.MOVED
        return Standing.CHANGED if kinds <= {Kind.CHANGED, Kind.MOVED} else Standing.INCOMPLETE


class Verified(Struct, frozen=True):
    """What was found out about all of them. `verdicts` are those that are not whole, by address.

    `blobs` counts distinct blobs of each repository, `size` their bytes; `deep` says that every
    byte of them was read and hashed. `referrers` are what was looked at of signatures and the
    like, `requests` how many requests it took, `sample_of` how many a sample was chosen from. Of
    `pending` images what refers to them could not be asked for when they were copied.
    """

    images: int
    blobs: int
    size: int
    deep: bool
    verdicts: tuple[Verdict, ...] = ()
    referrers: int = 0
    requests: int = 0
    sample_of: int | None = None
    pending: int = 0

    def sampled_of(self, total: int) -> Verified:
        """The same, said of a sample of so many images."""
        return replace(self, sample_of=total)

    def count(self, standing: Standing) -> int:
        """How many images stand so."""
        if standing is Standing.WHOLE:
            return self.images - len(self.verdicts)
        return sum(verdict.standing is standing for verdict in self.verdicts)


class Findings(Struct):
    """What is wrong with a part and all below it, collected."""

    faults: list[Fault] = field(default_factory=list)
    more: int = 0
    error: StoreError | None = None

    def add(self, fault: Fault) -> None:
        """Note a fault, once."""
        if fault in self.faults:
            return
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(fault)
        else:
            self.more += 1

    def of(self, referrer: Carried) -> Findings:
        """The same, said of something that goes along with an image."""
        faults = [replace(fault, referrer=referrer) for fault in self.faults]
        return Findings(faults, self.more, self.error)

    def with_others(self, along: Findings) -> Findings:
        """Add what was found of all that goes along.

        What lists nothing because it is missing itself is named as that alone.
        """
        gone = {fault.digest for fault in self.faults if fault.kind is Kind.MISSING}
        found = Findings()
        found.join(self)
        for fault in along.faults:
            refers_to = fault.referrer.refers_to if fault.referrer else None
            if fault.kind is not Kind.UNLISTED or refers_to not in gone:
                found.add(fault)
        found.more += along.more
        found.error = found.error or along.error
        return found

    def join(self, other: Findings) -> None:
        """Take over what was found below."""
        for fault in other.faults:
            self.add(fault)
        self.more += other.more
        self.error = self.error or other.error


def joined(parts: Sequence[Verified]) -> Verified:
    """Sum up several."""
    return Verified(
        images=sum(part.images for part in parts),
        blobs=sum(part.blobs for part in parts),
        size=sum(part.size for part in parts),
        deep=all(part.deep for part in parts),
        verdicts=tuple(verdict for part in parts for verdict in part.verdicts),
        referrers=sum(part.referrers for part in parts),
        requests=sum(part.requests for part in parts),
        pending=sum(part.pending for part in parts),
    )


def most_severe(verified: Verified) -> Standing:
    """The standing that decides how the whole ended: what is not known comes first."""
    for standing in (Standing.UNREAD, Standing.INCOMPLETE, Standing.CHANGED, Standing.MOVED):
        if verified.count(standing):
            return standing
    return Standing.WHOLE
