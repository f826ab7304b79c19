"""Look inside the images of both sides, where their digests alone do not tell enough.

Reads manifests only, through the cache; what cannot be read leaves the row as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import StoreError
from imgmigrate.oci.manifest import INDEXES, same_images
from imgmigrate.plan import Action
from imgmigrate.planning.passes.differences import explain
from imgmigrate.planning.passes.platforms import chosen
from imgmigrate.stores.place import read_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imgmigrate.observing.observe import Observer
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Reference
    from imgmigrate.plan import Change
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.planning.diff import Wish
    from imgmigrate.planning.passes.sizes import Sizes
    from imgmigrate.stores.cache import ManifestCache

__all__ = ["Comparing", "Explain"]


class Comparing(Struct, frozen=True):
    """Compares the manifests of a source with those of its destination."""

    observer: Observer
    cache: ManifestCache

    async def are_equivalent(self, wish: Wish, there: Descriptor | None) -> bool:
        """Tell whether both sides are indexes of the same children in other bytes."""
        found = wish.found
        if found is None or there is None:
            return False
        if found.media_type not in INDEXES or there.media_type not in INDEXES:
            return False
        try:
            source = await read_manifest(
                self.observer.place(wish.source.repository), found.digest, self.cache
            )
            destination = await read_manifest(
                self.observer.place(wish.address.repository), there.digest, self.cache
            )
            source = chosen(source, wish.filter)
        except (StoreError, ValueError):  # then it stays the conflict that it is
            return False
        return same_images(source, destination)


class Explain(Struct, frozen=True):
    """Adds what changes inside updated images, where both manifests are to be had free."""

    observer: Observer
    cache: ManifestCache
    sizes: Sizes

    async def settle(self, changes: Sequence[Change], _: Mapping[Reference, Asked]) -> list[Change]:
        """Read what is there, unless nothing is to be read for what is only told."""
        if self.sizes == "never":
            return list(changes)
        return await self.observer.each(changes, self._explained)

    async def _explained(self, change: Change) -> Change:
        source, before = change.source, change.before
        if change.action is not Action.UPDATE or source is None or before in (None, change.after):
            return change
        new = self.cache.get(source.digest)
        place = self.observer.place(change.address.repository)
        if source.reference.repository.is_layout:
            origin = self.observer.place(source.reference.repository)
            new = await read_manifest(origin, source.digest, self.cache)
        if new is None or before is None or place.store.is_metered:
            return change
        try:
            old = await read_manifest(place, before, self.cache)
            new = chosen(new, change.filter)
        except (StoreError, ValueError):  # an explanation is not worth an error
            return change
        if new.digest != change.after:  # the one image of an index, which nobody has read
            new = self.cache.get(change.after) if change.after else None
        if new is None:
            return change
        return change.model_copy(update={"inside": explain(old, new)})
