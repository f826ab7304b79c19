"""What happens while planning and applying, as data; nobody here prints.

Pure. Whoever works calls `sink.emit(event)`; a progress display, a JSON stream or a test
listens. Events carry no time: a sink that wants one reads its own clock.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct, field

from imgmigrate.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgmigrate.errors import ImgmigrateError
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.vocabulary.actions import Action

__all__ = [
    "BlobFinished",
    "BlobMoved",
    "BlobStarted",
    "Checked",
    "Event",
    "ImageFinished",
    "ImageStarted",
    "Listed",
    "NamesSkipped",
    "NoSink",
    "Observed",
    "Outcome",
    "RateLearnt",
    "Receipt",
    "Refusal",
    "Retrying",
    "RunFinished",
    "RunStarted",
    "Sink",
    "Waiting",
    "Warned",
]


# So many names, of so many characters, show what they have in common.
MOST_NAMED = 5
LONGEST_NAMED = 60


class Outcome(StrEnum):
    """What became of one row of a plan."""

    APPLIED = "applied"  # the destination or the state was changed as the row says
    # The image is there and recorded; what refers to it is not, or not all of it.
    PARTLY = "partly"
    ALREADY = "already"  # it was so: by an earlier run of the same plan, or by somebody else
    CONFLICT = "conflict"  # the destination or the state moved since the plan; nothing was done
    KNOWN = "known_conflict"  # the plan's own conflict, which the config knows; nothing was done
    FAILED = "failed"  # tried, and not done; the destination's tag is as it was
    CANCELLED = "cancelled"  # the run ended before this row was done

    @property
    def is_done(self) -> bool:
        """Tell whether the row needs no further run."""
        return self in (Outcome.APPLIED, Outcome.ALREADY, Outcome.KNOWN)

    @property
    def is_recorded(self) -> bool:
        """Tell whether the destination shows what the row says, so that a record says so too."""
        return self.is_done or self is Outcome.PARTLY


class Receipt(Struct, frozen=True):
    """What became of one change. `moved` counts bytes of blobs sent to the destination.

    `lacking` are the referrers that did not go along, by their digests and cosign's tags.
    `action` is what its row asked for; `spared` bytes were mounted or there already, as far as the
    plan knows what the image consists of. Both are known where a whole plan is applied.
    """

    address: Reference
    outcome: Outcome
    digest: Digest | None = None
    moved: int = 0
    error: ImgmigrateError | None = None
    action: Action | None = None
    spared: int = 0
    lacking: tuple[tuple[Digest, str | None], ...] = ()


class Refusal(Struct, frozen=True):
    """A registry, or one repository of it, refused our login or was down: `rows` are not done."""

    name: str
    error: ImgmigrateError
    rows: tuple[Reference, ...]


class Listed(Struct, frozen=True):
    """A repository's tags were listed while planning."""

    repository: Repository
    tags: int


class Observed(Struct, frozen=True):
    """Planning has looked at `done` of `total` addresses known so far."""

    done: int
    total: int


class Checked(Struct, frozen=True):
    """Verifying has looked at `done` of `total` images; `read` bytes, where it reads them all."""

    done: int
    total: int
    read: int | None = None


class RunStarted(Struct, frozen=True):
    """An apply began; `images` rows are to be done, `size` bytes at most if known.

    `loads` tells of each row that writes, where it is known, what is sent at most and what spared.
    Rows whose outcome was known before get an `ImageFinished` too, without `ImageStarted`.
    """

    run: str
    plan_id: str
    images: int
    size: int | None
    loads: Mapping[Reference, tuple[int, int]] = field(default_factory=dict)


class ImageStarted(Struct, frozen=True):
    """Work on one address began."""

    address: Reference


class BlobStarted(Struct, frozen=True):
    """A blob of `size` bytes begins to stream to `repository`."""

    repository: Repository
    digest: Digest
    size: int


class BlobMoved(Struct, frozen=True):
    """`count` further bytes of a started blob reached the destination; negative: start over."""

    repository: Repository
    digest: Digest
    count: int


class BlobFinished(Struct, frozen=True):
    """A blob is in place. Only `uploaded` was preceded by `BlobStarted`."""

    repository: Repository
    digest: Digest
    size: int
    how: Literal["uploaded", "mounted", "exists", "failed"]


class ImageFinished(Struct, frozen=True):
    """One row of the plan has its receipt, and its record is written."""

    receipt: Receipt


class Retrying(Struct, frozen=True):
    """Something failed in a way that may pass and is tried again after `delay` seconds."""

    subject: str
    cause: str
    delay: float


class Waiting(Struct, frozen=True):
    """Requests to a registry are held back for at most `delay` seconds; nothing has failed."""

    subject: str
    cause: str
    delay: float


class Warned(Struct, frozen=True):
    """Something the user should know that stops nothing; `code` is stable."""

    code: str
    message: str


class RateLearnt(Struct, frozen=True):
    """A registry refused `refused` requests and let about `rate` a second through.

    `kinds` names the requests that it counts together; empty where it is all of them.
    """

    registry: str
    kinds: str
    rate: float
    refused: int

    @property
    def advice(self) -> str:
        """The line of the config that would spare the refusals."""
        # Rounded down: above what is let through all would be as before.
        floor = int(self.rate) if self.rate >= 10 else int(self.rate * 10) / 10
        return f"rate_limit: {max(floor, 0.1):g}"


class NamesSkipped(Struct, frozen=True):
    """A source lists `total` names that nothing can be copied under; `names` are some of them.

    They are tags of `repository`, or, where its path has a wildcard, repositories.
    """

    repository: Repository
    names: tuple[str, ...]
    total: int

    @property
    def what(self) -> str:
        """Say it of the source, with the first few names."""
        shown = [printable(name, LONGEST_NAMED) or "''" for name in self.names[:MOST_NAMED]]
        more = self.total - len(shown)
        names = ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")
        kind = "repository name" if "*" in self.repository.path else "tag"
        listed = f"1 listed name is no valid {kind}"
        if self.total != 1:
            listed = f"{self.total:,} listed names are no valid {kind}s"
        return f"{listed}, and left out: {names}"

    @property
    def warning(self) -> Warned:
        """Say it of all that is read."""
        return Warned("names_skipped", f"{self.repository}: {self.what}")


class RunFinished(Struct, frozen=True):
    """An apply ended. `counts` says how many rows had which outcome; `moved` is in bytes.

    `actions` tells of the rows that were carried out what they did, and `spared` how many bytes of
    theirs were mounted or there already.

    `unfinished` holds the receipts of the rows that are not done, by address; `stopped` says
    why the run ended before it had tried them all, `refusals` which logins were refused, `rates`
    which registries refused requests for their rate.
    """

    run: str
    plan_id: str
    counts: dict[Outcome, int]
    moved: int
    seconds: float
    unfinished: tuple[Receipt, ...] = ()
    stopped: str | None = None
    refusals: tuple[Refusal, ...] = ()
    rates: tuple[RateLearnt, ...] = ()
    actions: Mapping[Action, int] = field(default_factory=dict)
    spared: int = 0


Event = (
    Listed
    | Observed
    | Checked
    | RunStarted
    | ImageStarted
    | BlobStarted
    | BlobMoved
    | BlobFinished
    | ImageFinished
    | Retrying
    | Waiting
    | Warned
    | NamesSkipped
    | RateLearnt
    | RunFinished
)


class Sink(Protocol):
    """Whoever wants to know; called on the event loop, so it must be quick."""

    def emit(self, event: Event) -> None:
        """Take one event."""


class NoSink:
    """A sink for callers that do not want to know."""

    def emit(self, event: Event) -> None:
        """Drop it."""
