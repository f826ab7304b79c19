"""The head of a shared state: what there is, in which files, and who holds it. Pure.

It is small whatever the state holds: files since the last snapshot are named here up to
`MOST_SEGMENTS`, and older ones in lists of their own (`Shelf`), which are files as well.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel

from imgmigrate.schemas.models import LENIENT
from imgmigrate.state.holder import Holder
from imgmigrate.state.lines.sealing import explain, seal, unseal

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "Former",
    "Head",
    "Lease",
    "Mark",
    "Segment",
    "Shelf",
    "lease_of",
    "named",
    "parse_head",
]

FORMAT_VERSION = "1.0"
KIND: Final = "imgmigrate.shared-state"
MOST_SEGMENTS = 64


class _Frozen(BaseModel):
    """Unknown fields are left out but not refused: a minor version may add some."""

    model_config = LENIENT


class Mark(_Frozen):
    """The end of a group: a plan that was made of it stays good for as long as it is known."""

    sequence: int
    head: str
    at: str


class Segment(Mark):
    """A file of lines; `sequence` and `head` are of its last, `first` is the first one's."""

    name: str
    first: int


class Lease(_Frozen):
    """Who holds the state, and for how many seconds without a word; `fence` grows with each."""

    id: str
    fence: int
    seconds: float
    holder: Holder


class Former(_Frozen):
    """A snapshot that another took the place of, and the files of lines that followed it."""

    sequence: int
    head: str
    files: tuple[str, ...]


class Shelf(_Frozen):
    """What the head has no room for: segments since the snapshot, or marks before it."""

    segments: tuple[Segment, ...] = ()
    marks: tuple[Mark, ...] = ()


class Head(_Frozen):
    """One version of the state. `nonce` makes its bytes differ from those of every other.

    `fence` is that of the last lease, also when none is held. `history` is the file of the marks
    before the snapshot, `plans` that of the plans which are kept beside the state.
    """

    format_version: str = FORMAT_VERSION
    kind: Literal["imgmigrate.shared-state"] = KIND
    sequence: int = 0
    head: str = ""
    snapshot: str | None = None
    segments: tuple[Segment, ...] = ()
    shelves: tuple[str, ...] = ()
    lines: int = 0
    history: str | None = None
    plans: str | None = None
    former: tuple[Former, ...] = ()
    fence: int = 0
    lease: Lease | None = None
    nonce: str = ""

    def printed(self) -> bytes:
        """Print it as one sealed line, which no other head has."""
        fresh = self.model_copy(update={"nonce": secrets.token_hex(8)})
        return seal(fresh.model_dump(mode="json", exclude_none=True))[0]

    def held(self, lease: Lease) -> Head:
        """The same, held."""
        return self.model_copy(update={"lease": lease, "fence": lease.fence})

    def free(self) -> Head:
        """The same, held by nobody; whoever held it notices at its next word."""
        return self.model_copy(update={"lease": None})

    def knows(self, sequence: int, head: str) -> bool:
        """Tell whether it is a group's end that this head itself names."""
        own = ((self.sequence, self.head), *((each.sequence, each.head) for each in self.segments))
        return (sequence, head) in own


def parse_head(data: bytes) -> Head:
    """Read and verify a head; ValueError says what is wrong."""
    document, _ = unseal(data)
    version = str(document.get("format_version", ""))
    if version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        msg = f"its format is {version}, this imgmigrate reads {FORMAT_VERSION}"
        raise ValueError(msg)
    try:
        return Head.model_validate(document)
    except ValueError as error:
        raise ValueError(explain(error)) from None


def named(kind: str, sequence: int, suffix: str) -> str:
    """Name a file as no other is named: it sorts by sequence, and two writers never meet."""
    return f"{kind}/{sequence:012d}-{secrets.token_hex(6)}.{suffix}"


def lease_of(command: str, fence: int, seconds: float, since: datetime) -> Lease:
    """Make this process's own lease."""
    return Lease(
        id=secrets.token_hex(16), fence=fence, seconds=seconds, holder=Holder.me(command, since)
    )
