"""What is known of a destination repository before the first question about its blobs.

Two facts spare a HEAD for each blob: that the repository is new, and that the state records
images in it whose manifests are in the cache. A third spares the blob itself: that the state
records an image with it in another repository of the same store, to mount it from. All are only
beliefs: a destination that lost a blob refuses the manifest, and then its parts are sent again
(`Transfer.write`); one that refuses a mount has opened an upload.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.errors import AccessDenied, NotFound, StoreError, on_side
from imgmigrate.oci.reference import Reference
from imgmigrate.stores.place import Place

if TYPE_CHECKING:
    from imgmigrate.applying.blobs import BlobBoard
    from imgmigrate.oci.reference import Digest, Repository
    from imgmigrate.state.record import ImageRecord, State
    from imgmigrate.stores.cache import ManifestCache

__all__ = ["Known"]

# Enough to know the bases that a repository's images share; more would cost a start its speed.
MOST_MANIFESTS = 200
# Of so many repositories the newest image is looked at for what can be mounted: some 0.1 s.
MOST_REPOSITORIES = 1000


class Known:
    """Tell a board what is known of each destination repository, once a run.

    The state is looked at when this is made: before the run writes its own claims.
    """

    def __init__(self, state: State, cache: ManifestCache) -> None:
        self._cache = cache
        self._locks: defaultdict[Repository, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._told: set[Repository] = set()
        self._records: defaultdict[Repository, list[ImageRecord]] = defaultdict(list)
        for record in state.live():
            self._records[record.address.repository].append(record)
        self._recalling = asyncio.Lock()
        self._recalled: set[str] = set()
        self._claims = frozenset(state.claims)
        self._claimed = {Reference.parse(key).repository for key in self._claims}

    def may_be_done(self, address: Reference) -> bool:
        """Tell whether an earlier run was about to write here and left no record of it."""
        return str(address) in self._claims

    async def tell(self, destination: Place, board: BlobBoard) -> None:
        """Learn about a repository before its first image is copied there."""
        repository = destination.repository
        if repository in self._told:
            return
        await self._recall(destination, board)
        async with self._locks[repository]:
            if repository in self._told:
                return
            records = self._records.get(repository, [])
            if records:
                board.believe(destination, self._blobs(records))
            elif repository not in self._claimed and await _is_new(destination):
                board.is_new(destination)
            self._told.add(repository)

    async def _recall(self, destination: Place, board: BlobBoard) -> None:
        """Learn what the newest images of the store's repositories are made of, once a store."""
        name = destination.repository.store
        async with self._recalling:
            if name in self._recalled:
                return
            self._recalled.add(name)
            newest = [
                max(records, key=lambda record: record.sequence)
                for repository, records in self._records.items()
                if repository.store == name
            ]
            if not newest:
                return
            newest.sort(key=lambda record: record.sequence, reverse=True)
            found = await asyncio.to_thread(self._blobs_of_each, newest[:MOST_REPOSITORIES])
            for repository, blobs in found.items():
                board.believe(Place(destination.store, repository.path), blobs)

    def _blobs_of_each(self, records: list[ImageRecord]) -> dict[Repository, set[Digest]]:
        return {record.address.repository: self._blobs([record]) for record in records}

    def _blobs(self, records: list[ImageRecord]) -> set[Digest]:
        """List the blobs of recorded images, as far as their manifests are at hand."""
        waiting = [record.digest for record in records[-MOST_MANIFESTS:]]
        seen: set[Digest] = set()
        blobs: set[Digest] = set()
        while waiting and len(seen) < MOST_MANIFESTS:
            digest = waiting.pop()
            manifest = None if digest in seen else self._cache.get(digest)
            seen.add(digest)
            if manifest is not None:
                blobs.update(blob.digest for blob in manifest.blobs if not blob.is_foreign)
                waiting += [child.digest for child in manifest.children if child.is_manifest]
        return blobs


async def _is_new(destination: Place) -> bool:
    """Ask one question that spares many: whether the repository holds anything at all."""
    try:
        with on_side("destination"):
            return not await destination.store.list_tags(destination.repo)
    except (NotFound, AccessDenied):
        return True
    except StoreError:  # then each blob is asked for, and says what is wrong
        return False
