"""What is known of a destination repository before the first question about its blobs.

Two facts spare a HEAD for each blob: that the repository is new, and that an image is recorded in
it whose manifest is in the cache. A third spares the blob itself: that an image with it is recorded
in another repository of the same store, to mount it from. What is recorded comes with each row
(`Stock`); no state is looked at here.

What is recorded is believed only where the destination confirms it: a blob that an image
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

from imgmigrate.errors import StoreError, on_side
from imgmigrate.plan.stock import blobs_of
from imgmigrate.stores.place import Place, is_empty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgmigrate.applying.blobs.board import BlobBoard, Witness
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.plan.stock import Recorded, Stock
    from imgmigrate.stores.base import Store
    from imgmigrate.stores.cache import ManifestCache

__all__ = ["Known"]


class Known:
    """Tell a board what is known of each destination repository, once a run.

    Many rows ask at once, on one event loop. Doubt only grows, and whoever believes looks at it
    after the last await before: a tag that is seen gone meanwhile counts. Whoever holds a lock only
    reads from the destination or the cache, and takes no other: no circle can form.
    """

    def __init__(self, cache: ManifestCache) -> None:
        self._cache = cache
        self._doubted: set[Repository] = set()
        self._shown: dict[Reference, Digest | StoreError | None] = {}
        # Each held while one address is asked about: all blobs of an image ask at once.
        self._looking: defaultdict[Reference, asyncio.Lock] = defaultdict(asyncio.Lock)
        # Each held while one repository is learnt about: no row goes on before all of it is told.
        self._locks: defaultdict[Repository, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._told: set[Repository] = set()
        self._recalling = asyncio.Lock()
        self._recalled: set[str] = set()

    def take(self, repository: Repository, stock: Stock) -> None:
        """Note, before a row of a repository begins, if the plan saw something gone there."""
        if stock.is_doubted:
            self._doubted.add(repository)

    def doubts(self, repository: Repository) -> bool:
        """Tell whether nothing is believed of a repository but what it says of each blob."""
        return repository.is_layout or repository in self._doubted

    def saw(self, address: Reference, digest: Digest | None, *, is_recorded: bool) -> None:
        """Note what an address shows now: a record whose tag is gone makes the rest doubtful."""
        self._shown[address] = digest
        if digest is None and is_recorded:
            self._doubted.add(address.repository)

    async def tell(self, destination: Place, stock: Stock, board: BlobBoard) -> None:
        """Learn about a repository before its first image is copied there."""
        repository = destination.repository
        if repository in self._told:
            return
        await self._recall(destination.store, stock, board)
        async with self._locks[repository]:
            if repository in self._told:  # by who held the lock before
                return
            if repository.is_layout:
                pass
            elif stock.images and repository not in self._doubted:
                board.believe(destination, self._blobs(stock.images, destination))
            elif not stock.is_claimed and await is_empty(destination):
                board.is_new(destination)
            # Last: who is cancelled, or fails, leaves it to the next image.
            self._told.add(repository)

    async def _recall(self, store: Store, stock: Stock, board: BlobBoard) -> None:
        """Learn of which blobs a store's repositories may give, once a store."""
        async with self._recalling:
            if store.identity in self._recalled:
                return
            self._recalled.add(store.identity)
            chosen = [
                each for each in stock.elsewhere if each.address.repository not in self._doubted
            ]
            if chosen:
                found = await asyncio.to_thread(self._blobs_of_each, chosen, store)
                for place, blobs in found:
                    board.believe(place, blobs)

    def _blobs_of_each(
        self, chosen: Sequence[Recorded], store: Store
    ) -> list[tuple[Place, dict[Digest, Witness]]]:
        places = [Place(store, record.address.repository.path) for record in chosen]
        return [
            (place, self._blobs([record], place))
            for place, record in zip(places, chosen, strict=True)
        ]

    def _blobs(self, records: Sequence[Recorded], destination: Place) -> dict[Digest, Witness]:
        """List the blobs of recorded images, each with the image that speaks for it."""
        witnesses: dict[Recorded, Witness] = {}
        return {
            digest: witnesses.setdefault(record, partial(self._is_there, destination, record))
            for digest, record in blobs_of(records, self._cache).items()
        }

    async def _is_there(self, destination: Place, record: Recorded) -> bool:
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
                    self.saw(address, found.digest if found else None, is_recorded=True)
        return self._shown[address] == record.digest and not self.doubts(address.repository)
