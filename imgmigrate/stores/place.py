"""One repository in one store, and reading manifests from it once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgmigrate.errors import AccessDenied, NotFound, StoreError, on_side
from imgmigrate.oci.reference import Repository
from imgmigrate.stores.base import Damaged

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.oci.manifest import Descriptor, Manifest
    from imgmigrate.oci.reference import Digest
    from imgmigrate.stores.base import Store
    from imgmigrate.stores.cache import ManifestCache

__all__ = ["Place", "is_empty", "read_manifest", "shown"]


@dataclass(frozen=True, slots=True)
class Place:
    """A repository together with the store that holds it."""

    store: Store
    repo: str

    @property
    def repository(self) -> Repository:
        """Its name, for messages and events."""
        return Repository(self.store.identity, self.repo)


async def shown(
    place: Place,
    ref: str,
    *,
    is_new: bool = False,
    to_write: bool = False,
    keep: Callable[[Manifest], object] | None = None,
) -> Descriptor | None:
    """Look at a destination (`Store.look`), also where a layout has lost the manifest itself."""
    try:
        return await place.store.look(place.repo, ref, is_new=is_new, to_write=to_write, keep=keep)
    except Damaged as error:
        return error.names


async def is_empty(destination: Place) -> bool:
    """Ask one question that spares many: whether a destination holds nothing at all."""
    try:
        with on_side("destination"):
            return not await destination.store.list_tags(destination.repo)
    except (NotFound, AccessDenied):
        return True
    except StoreError:  # then each blob is asked for, and says what is wrong
        return False


async def read_manifest(place: Place, digest: Digest, cache: ManifestCache) -> Manifest:
    """Read a manifest by its digest, from the cache if it was ever read before."""
    if place.repository.is_layout:  # as near as the cache
        return await place.store.manifest(place.repo, digest)
    manifest = cache.get(digest)
    if manifest is None:
        manifest = await place.store.manifest(place.repo, digest)
        cache.put(manifest)
    return manifest
