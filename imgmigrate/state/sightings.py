"""What sources were seen to show, and since when: a record beside a state. Pure.

It has no sequence and no head, and nobody takes turns for it: what is known of a digest is the
earliest time at which it was seen and the latest of the others, so lines may come in any order,
and more than once. Its files never change; a merged one takes the place of others once it is
there, and says what they said: whoever reads, or merges, at the same time loses nothing.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, field
from pydantic import AwareDatetime, BaseModel

from imgmigrate.oci.reference import Digest  # noqa: TC001 - pydantic needs it at run time
from imgmigrate.schemas.models import LENIENT
from imgmigrate.state.lines.sealing import explain, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from imgmigrate.oci.reference import Repository

__all__ = [
    "BEFORE",
    "FOLDER",
    "MOST_FILES",
    "Key",
    "Sighting",
    "Sightings",
    "file_name",
    "joined",
    "key_of",
    "merged",
    "news",
    "print_sightings",
    "read_files",
]

# When a digest was seen first that was at its destination before anybody looked: no wait is left.
BEFORE = datetime.min.replace(tzinfo=UTC)
# Days that a digest is known after it was seen last; and those after which that is said again, so
# that few lines are written of what is always there.
KEPT_DAYS, TOLD_DAYS = 400, 30
# The folder of the files beside a state, and how many there are before they are merged.
FOLDER, MOST_FILES = "sightings", 16

# What is in a printed line, and in no text within one: there quotes are escaped.
_DIGEST, _PLANNED = b'"digest":"', b'"is_planned":true'

# A source repository, as it is printed, and a digest that it showed.
Key: TypeAlias = "tuple[str, Digest]"


class Sighting(BaseModel):
    """One line: a source repository showed a digest. A minor version may add fields.

    `asked_at` is when the digest's referrers were last asked for. `is_planned` says that a plan
    was asked to record it.
    """

    model_config = LENIENT

    source: str
    digest: Digest
    first_seen: AwareDatetime
    last_seen: AwareDatetime
    asked_at: AwareDatetime | None = None
    is_planned: bool = False

    @property
    def key(self) -> Key:
        """What it is of."""
        return self.source, self.digest


class Sightings(Struct, frozen=True):
    """What is known `now`; `trouble` says what could not be read, and counts as never seen."""

    now: datetime
    known: Mapping[Key, Sighting] = field(default_factory=dict)
    is_planned: bool = False
    trouble: str | None = None

    @classmethod
    def of(
        cls,
        found: Iterable[Sighting],
        now: datetime,
        *,
        is_planned: bool = False,
        trouble: str | None = None,
    ) -> Sightings:
        """Join lines; a time in the future is the present: some machine's clock is ahead."""
        known = {key: _until(each, now) for key, each in merged(found).items()}
        is_planned = is_planned or any(each.is_planned for each in known.values())
        return cls(now, known, is_planned, trouble)

    def __iter__(self) -> Iterator[Sighting]:
        """Every sighting, in no order."""
        return iter(self.known.values())

    def first_seen(self, source: Repository, digest: Digest) -> datetime | None:
        """Tell when a source repository was first seen to show a digest; None if never."""
        found = self.known.get(key_of(source, digest))
        return None if found is None else found.first_seen

    def asked(self, source: Repository, digest: Digest) -> datetime | None:
        """Tell when the referrers of a digest were last asked for; None if never."""
        found = self.known.get(key_of(source, digest))
        return None if found is None else found.asked_at


def key_of(source: Repository, digest: Digest) -> Key:
    """What is known of a digest is found by this; a layout's path may hold what is no UTF-8."""
    return str(source).encode("utf-8", "backslashreplace").decode(), digest


def joined(one: Sighting, other: Sighting) -> Sighting:
    """Say what two lines about one digest say together."""
    asked = [each.asked_at for each in (one, other) if each.asked_at is not None]
    changed = {
        "first_seen": min(one.first_seen, other.first_seen),
        "last_seen": max(one.last_seen, other.last_seen),
        "asked_at": max(asked, default=None),
        "is_planned": one.is_planned or other.is_planned,
    }
    return one.model_copy(update=changed)


def merged(found: Iterable[Sighting]) -> dict[Key, Sighting]:
    """Join lines into one a digest."""
    known: dict[Key, Sighting] = {}
    for each in found:
        before = known.get(each.key)
        known[each.key] = each if before is None else joined(before, each)
    return known


def news(batch: Iterable[Sighting], before: Sightings) -> list[Sighting]:
    """Leave out what is known; that a digest is still seen is news once in `TOLD_DAYS` days."""
    earliest = before.now - timedelta(days=TOLD_DAYS)
    found = []
    for key, each in merged(batch).items():
        known = before.known.get(key)
        if known is not None and known.last_seen > earliest:
            both = joined(known, each)
            if both.model_copy(update={"last_seen": known.last_seen}) == known:
                continue
        found.append(each)
    return found


def file_name(now: datetime) -> str:
    """Name a file as no other is named."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(6)}.jsonl"


def print_sightings(found: Iterable[Sighting], now: datetime) -> bytes:
    """Print a file: a sealed line for each digest that was not seen too long ago, by its key."""
    earliest = now - timedelta(days=KEPT_DAYS)
    lines = (each for each in merged(found).values() if each.last_seen > earliest)
    documents = (
        each.model_dump(mode="json", exclude_defaults=True)
        for each in sorted(lines, key=lambda each: each.key)
    )
    return b"".join(seal(document)[0] for document in documents)


def read_files(
    files: Mapping[str, bytes], now: datetime, keys: Collection[Key] | None = None
) -> Sightings:
    """Read files by their names, for these keys alone; of a damaged one what stands before.

    Lines that are surely about others are neither opened nor proved: of a hundred thousand a plan
    asks for few.
    """
    wanted = None if keys is None else {str(digest).encode() for _, digest in keys}
    found: list[Sighting] = []
    is_planned, trouble = False, None
    for name, data in files.items():
        is_planned = is_planned or _PLANNED in data
        for number, line in enumerate(data.splitlines(keepends=True), 1):
            if wanted is not None and not _is_about(line, wanted):
                continue
            try:
                found.append(Sighting.model_validate(unseal(line)[0]))
            except ValueError as error:
                trouble = f"{name} is damaged at line {number}: {explain(error)}"
                break
    return Sightings.of(found, now, is_planned=is_planned, trouble=trouble)


def _is_about(line: bytes, digests: set[bytes]) -> bool:
    """Tell whether a line may be about one of them; one that is torn may be."""
    _, mark, rest = line.partition(_DIGEST)
    digest, end, _ = rest.partition(b'"')
    return digest in digests or not (mark and end)


def _until(sighting: Sighting, now: datetime) -> Sighting:
    """Take what is in the future for the present."""
    times = {name: getattr(sighting, name) for name in ("first_seen", "last_seen", "asked_at")}
    ahead = {name: now for name, at in times.items() if at is not None and at > now}
    return sighting.model_copy(update=ahead) if ahead else sighting
