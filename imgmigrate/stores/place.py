"""One repository in one store, and reading manifests and small blobs from it."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import (
    AccessDenied,
    IntegrityError,
    NotFound,
    StoreError,
    TransientError,
    on_side,
)
from imgmigrate.events import NoSink
from imgmigrate.oci.reference import Repository
from imgmigrate.stores.base import Damaged
from imgmigrate.stores.retries import Policy, retrying
from imgmigrate.stores.slots import hold

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgmigrate.oci.manifest import Descriptor, Manifest
    from imgmigrate.oci.reference import Digest
    from imgmigrate.stores.base import Store
    from imgmigrate.stores.cache import ManifestCache

__all__ = ["Place", "is_empty", "read_blob", "read_manifest", "shown"]

# A small blob that breaks midway is read anew, once and at once.
ONCE_MORE = Policy(attempts=2, first_wait=0.0, longest_wait=0.0)


class Place(Struct, frozen=True):
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


async def read_blob(place: Place, blob: Descriptor, what: str) -> bytes:
    """Read a blob that the caller knows to be small, and verify it; `what` it is, for people.

    StoreError if the store does not give it, IntegrityError for other bytes.
    """
    return await retrying(partial(_read, place, blob, what), NoSink(), ONCE_MORE)


async def _read(place: Place, blob: Descriptor, what: str) -> bytes:
    subject = f"{place.repository}@{blob.digest}"
    raw = bytearray()
    async with (
        hold(place.store.budget.read),
        aclosing(place.store.open_blob(place.repo, blob)) as pieces,
    ):
        async for piece in pieces:
            raw += piece
            if len(raw) > blob.size:
                break
    if len(raw) < blob.size:
        raise TransientError(subject, f"it ended at byte {len(raw)} of {blob.size}")
    if len(raw) != blob.size or not blob.digest.matches(bytes(raw)):
        raise IntegrityError(subject, f"the bytes of {what} do not match its digest")
    return bytes(raw)
