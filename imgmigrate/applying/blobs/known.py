"""What is known of a destination repository before the first question about its blobs.

Two facts spare a HEAD for each blob: that the repository is new, and that the state records
images in it whose manifests are in the cache. A third spares the blob itself: that the state
records an image with it in another repository of the same store, to mount it from.

What the state records is believed only where the destination confirms it: a blob that an image
brought is taken to be there if that image's tag still shows it, which is asked once for all
blobs of the image. A repository of which some image of ours was seen gone, by the plan or since,
is believed in nothing, and neither is a layout, whose files can be looked at. A registry that
refuses a mount has opened an upload.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from imgmigrate.errors import AccessDenied, NotFound, StoreError, on_side
from imgmigrate.oci.reference import Reference
from imgmigrate.stores.place import Place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgmigrate.applying.blobs.board import BlobBoard, Witness
    from imgmigrate.oci.reference import Digest, Repository
    from imgmigrate.state.record import ImageRecord, State
    from imgmigrate.stores.base import Store
    from imgmigrate.stores.cache import ManifestCache

__all__ = ["Known"]

# Enough to know the bases that a repository's images share; more would cost a start its speed.
MOST_MANIFESTS = 200
# Of so many repositories the newest image is looked at for what can be mounted: some 0.1 s.
MOST_REPOSITORIES = 1000


class Known:
    """Tell a board what is known of each destination repository, once a run.

    The state is looked at when this is made: before the run writes its own claims. `doubted`
    are the repositories of which the plan saw something gone.
    """

    def __init__(
        self, state: State, cache: ManifestCache, doubted: Iterable[Repository] = ()
    ) -> None:
        self._cache = cache
        self._doubted = set(doubted)
        self._shown: dict[Reference, Digest | StoreError | None] = {}
        self._looking: defaultdict[Reference, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._locks: defaultdict[Repository, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._told: set[Repository] = set()
        self._records: defaultdict[Repository, list[ImageRecord]] = defaultdict(list)
        self._live: set[Reference] = set()
        for record in state.live():
            self._records[record.address.repository].append(record)
            self._live.add(record.address)
        self._wanted: frozenset[Digest] = frozenset()
        self._recalling = asyncio.Lock()
        self._recalled: set[str] = set()
        self._claims = frozenset(state.claims)
        self._claimed = {Reference.parse(key).repository for key in self._claims}

    def wants(self, digests: Iterable[Digest]) -> None:
        """Note which images the run brings: each may be somewhere else in its store already."""
        self._wanted = frozenset(digests)

    def may_be_done(self, address: Reference) -> bool:
        """Tell whether an earlier run was about to write here and left no record of it."""
        return str(address) in self._claims

    def doubts(self, repository: Repository) -> bool:
        """Tell whether nothing is believed of a repository but what it says of each blob."""
        return repository.is_layout or repository in self._doubted

    def saw(self, address: Reference, digest: Digest | None) -> None:
        """Note what an address shows now: a record whose tag is gone makes the rest doubtful."""
        self._shown[address] = digest
        if digest is None and address in self._live:
            self._doubted.add(address.repository)

    async def tell(self, destination: Place, board: BlobBoard) -> None:
        """Learn about a repository before its first image is copied there."""
        repository = destination.repository
        if repository in self._told:
            return
        await self._recall(destination, board)
        async with self._locks[repository]:
            if repository in self._told:  # by who held the lock before
                return
            records = self._records.get(repository, [])
            if repository.is_layout:
                pass
            elif records and repository not in self._doubted:
                board.believe(destination, self._blobs(records, destination))
            elif repository not in self._claimed and await _is_new(destination):
                board.is_new(destination)
            # Last: who is cancelled, or fails, leaves it to the next image.
            self._told.add(repository)

    async def _recall(self, destination: Place, board: BlobBoard) -> None:
        """Learn of which blobs a store's repositories may give, once a store.

        Those of the newest image of each, which has the bases that the others share, and those
        of the very images that are to come.
        """
        name = destination.repository.store
        async with self._recalling:
            if name in self._recalled:
                return
            self._recalled.add(name)
            newest, same = [], []
            for repository, records in self._records.items():
                if repository.store == name and repository not in self._doubted:
                    newest.append(max(records, key=_sequence))
                    same += [each for each in records if each.digest in self._wanted]
            if not newest:
                return
            # The newest last: their word for a shared base stands longer than that of a tag
            # which this run may be about to move.
            chosen = sorted(same, key=_sequence, reverse=True)[:MOST_REPOSITORIES]
            chosen += sorted(newest, key=_sequence, reverse=True)[:MOST_REPOSITORIES]
            found = await asyncio.to_thread(self._blobs_of_each, chosen, destination.store)
            for place, blobs in found:
                board.believe(place, blobs)

    def _blobs_of_each(
        self, records: list[ImageRecord], store: Store
    ) -> list[tuple[Place, dict[Digest, Witness]]]:
        places = [Place(store, record.address.repository.path) for record in records]
        return [
            (place, self._blobs([record], place))
            for place, record in zip(places, records, strict=True)
        ]

    def _blobs(self, records: list[ImageRecord], destination: Place) -> dict[Digest, Witness]:
        """List the blobs of recorded images, as far as their manifests are at hand.

        The witness of each is the newest image that has it, so that few are asked.
        """
        seen: set[Digest] = set()
        blobs: dict[Digest, Witness] = {}
        for record in reversed(records[-MOST_MANIFESTS:]):
            witness = partial(self._is_there, destination, record)
            waiting = [record.digest]
            while waiting and len(seen) < MOST_MANIFESTS:
                digest = waiting.pop()
                manifest = None if digest in seen else self._cache.get(digest)
                seen.add(digest)
                if manifest is not None:
                    for blob in manifest.blobs:
                        if not blob.is_foreign:
                            blobs.setdefault(blob.digest, witness)
                    waiting += [child.digest for child in manifest.children if child.is_manifest]
        return blobs

    async def _is_there(self, destination: Place, record: ImageRecord) -> bool:
        """Ask whether a record's address still shows its image; the answer holds for the run."""
        address = record.address
        if self.doubts(address.repository):
            return False
        # All blobs of an image ask at once: the first asks the registry, the others wait here.
        async with self._looking[address]:
            if address not in self._shown:
                try:
                    with on_side("destination"):
                        found = await destination.store.head(
                            destination.repo, address.target, to_write=True
                        )
                except StoreError as error:  # then each blob is asked for
                    self._shown[address] = error
                else:
                    self.saw(address, found.digest if found else None)
        return self._shown[address] == record.digest and not self.doubts(address.repository)


def _sequence(record: ImageRecord) -> int:
    return record.sequence


async def _is_new(destination: Place) -> bool:
    """Ask one question that spares many: whether the repository holds anything at all."""
    try:
        with on_side("destination"):
            return not await destination.store.list_tags(destination.repo)
    except (NotFound, AccessDenied):
        return True
    except StoreError:  # then each blob is asked for, and says what is wrong
        return False
