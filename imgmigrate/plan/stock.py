"""Where a destination store has blobs, as far as records tell: the one knowledge of both sides.

Planning says by it what has to be sent, and whoever carries a row out goes by it: what is counted
as there, or as mounted from elsewhere, is looked for exactly there. Which records are asked, and
how many, is decided here and nowhere else.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

# Pydantic needs these at run time.
from imgmigrate.oci.reference import Digest, Reference, Repository
from imgmigrate.state.record import Filter  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from imgmigrate.oci.manifest import Manifest
    from imgmigrate.plan.model import Change
    from imgmigrate.state.record import ImageRecord, State
    from imgmigrate.stores.cache import ManifestCache

__all__ = ["MOST_MANIFESTS", "Recorded", "Stock", "Stocks", "blobs_of"]

# Enough to know the bases that a repository's images share; more would cost a start its speed.
MOST_MANIFESTS = 200
MOST_IMAGES = 200
# Of so many repositories the newest image is looked at for what can be mounted: some 0.1 s.
MOST_REPOSITORIES = 1000


@dataclass(frozen=True, slots=True)
class Recorded:
    """An image that an earlier run left at an address, by its live record."""

    address: Reference
    digest: Digest
    # Of a sparse index: what of it is there.
    filter: Filter | None = None

    def parts(self, manifest: Manifest) -> list[Digest]:
        """List what one of its manifests lists, without what is absent on purpose."""
        if self.filter is not None and manifest.digest == self.digest:
            manifest = self.filter.present(manifest)
        return [child.digest for child in manifest.children if child.is_manifest]


@dataclass(frozen=True, slots=True)
class Stock:
    """What is recorded of a destination repository; one object for all rows of it.

    `images` are its own, by address, and `elsewhere` some of other repositories of its store, from
    which blobs can be mounted, the most telling last. Records are believed only as far as the
    destination confirms them, and in nothing where the plan saw something gone (`is_doubted`). A
    repository with claims of runs that were cut off (`is_claimed`) may hold what nothing records.
    """

    images: tuple[Recorded, ...] = ()
    elsewhere: tuple[Recorded, ...] = ()
    is_doubted: bool = False
    is_claimed: bool = False


class Stocks:
    """The stock of each repository as it was when this was made; of `doubted` nothing is believed.

    `expect` tells it of the rows that are to come: what they consist of may be elsewhere.
    """

    def __init__(
        self,
        state: State,
        doubted: Iterable[Repository],
        *,
        of: Iterable[Repository] | None = None,
    ) -> None:
        """Look at all live records, or at those of some repositories alone."""
        self._wanted: frozenset[Digest | None] = frozenset()
        self._written: frozenset[Repository] = frozenset()
        self._doubted = frozenset(doubted)
        self._records: defaultdict[Repository, list[ImageRecord]] = defaultdict(list)
        records = state.live() if of is None else (each for one in of for each in state.of(one))
        for record in records:
            self._records[record.address.repository].append(record)
        self._claimed = {Reference.parse(key).repository for key in state.claims}
        self._made: dict[Repository, Stock] = {}
        self._elsewhere: dict[str, tuple[Recorded, ...]] = {}

    def __contains__(self, repository: Repository) -> bool:
        return repository in self._records

    def expect(self, changes: Collection[Change]) -> None:
        """Learn which rows there are, before anything is asked."""
        self._wanted = frozenset(change.after for change in changes)
        writing = (change.address.repository for change in changes if change.action.writes)
        self._written = frozenset(writing)

    def of(self, repository: Repository) -> Stock:
        """Say what is recorded of a repository and its store: made once."""
        found = self._made.get(repository)
        if found is None:
            found = self._made[repository] = Stock(
                _recorded(self._records.get(repository, [])[-MOST_IMAGES:]),
                self._of_store(repository.store),
                is_doubted=repository in self._doubted,
                is_claimed=repository in self._claimed,
            )
        return found

    def _of_store(self, store: str) -> tuple[Recorded, ...]:
        """Choose the images of a store whose blobs are the likeliest to be mounted: made once.

        The newest of each repository, which has the bases that the others share, those of the
        repositories that are written, and the very images that are to come.
        """
        found = self._elsewhere.get(store)
        if found is None:
            newest, same = [], []
            for repository, records in self._records.items():
                if repository.store == store and repository not in self._doubted:
                    newest.append(max(records, key=_sequence))
                    own = records[-MOST_IMAGES:] if repository in self._written else ()
                    same += own or [each for each in records if each.digest in self._wanted]
            # The newest last: their word for a shared base stands longer than that of a tag
            # which this run may be about to move.
            chosen = sorted(same, key=_sequence, reverse=True)[:MOST_REPOSITORIES]
            chosen += sorted(newest, key=_sequence, reverse=True)[:MOST_REPOSITORIES]
            found = self._elsewhere[store] = _recorded(chosen)
        return found


def blobs_of(records: Sequence[Recorded], cache: ManifestCache) -> dict[Digest, Recorded]:
    """List the blobs of recorded images, as far as their manifests are at hand.

    Each with the newest image that has it, so that few are asked whether they are still there.
    """
    seen: set[Digest] = set()
    blobs: dict[Digest, Recorded] = {}
    for record in reversed(records):
        waiting = [record.digest]
        while waiting and len(seen) < MOST_MANIFESTS:
            digest = waiting.pop()
            manifest = None if digest in seen else cache.get(digest)
            seen.add(digest)
            if manifest is not None:
                for blob in manifest.blobs:
                    if not blob.is_foreign:
                        blobs.setdefault(blob.digest, record)
                waiting += record.parts(manifest)
    return blobs


def _recorded(records: Iterable[ImageRecord]) -> tuple[Recorded, ...]:
    return tuple(
        Recorded(record.address, record.digest, record.filter and record.filter.of_itself)
        for record in records
    )


def _sequence(record: ImageRecord) -> int:
    return record.sequence
