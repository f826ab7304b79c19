"""Copy one image graph: blobs before children before index before tag.

What a graph consists of comes from the source's manifests, each read by its digest; their
bytes go to the destination as they are. Children that several images of a repository share
are written once a run.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.applying.blobs import Trust
from imgmigrate.applying.concurrent import together
from imgmigrate.errors import IntegrityError, NotFound, ProtocolError, Rejected, on_side
from imgmigrate.stores.place import read_manifest

if TYPE_CHECKING:
    from imgmigrate.applying.blobs import BlobBoard
    from imgmigrate.applying.known import Known
    from imgmigrate.oci.manifest import Descriptor, Manifest
    from imgmigrate.oci.reference import Digest
    from imgmigrate.stores.cache import ManifestCache
    from imgmigrate.stores.place import Place

__all__ = ["Transfer"]

# Deeper than any real index of indexes; an attack stops here.
DEEPEST_INDEX = 8
# What registries answer when they know less than their own HEAD said (protocol 3.5).
_MISSING_PARTS = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"})


class Transfer:
    """Copy image graphs of one run; shares the blob board and what was already written."""

    def __init__(self, board: BlobBoard, cache: ManifestCache, known: Known) -> None:
        self._board = board
        self._cache = cache
        self._known = known
        self._written: set[tuple[str, str, Digest]] = set()
        self._locks: defaultdict[tuple[str, str, Digest], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def read(self, source: Place, digest: Digest) -> Manifest:
        """Read a manifest of the source."""
        with on_side("source"):
            return await read_manifest(source, digest, self._cache)

    async def bring_parts(
        self, manifest: Manifest, source: Place, destination: Place, trust: Trust = Trust.ALL
    ) -> int:
        """Bring everything that a manifest refers to; return the bytes sent for it."""
        if trust is Trust.ALL:
            await self._known.tell(destination, self._board)
        return await self._parts(manifest, source, destination, trust, depth=0)

    async def write(
        self, manifest: Manifest, target: str, source: Place, destination: Place
    ) -> int:
        """Write a manifest whose parts are in place; heal once if the destination disagrees.

        Some registries answer HEAD from a cache and refuse the parent (oras-go#1212): then
        the parts are brought again without believing it. Returns the bytes that cost.
        """
        moved = 0
        try:
            with on_side("destination"):
                await destination.store.put_manifest(destination.repo, target, manifest)
        except (Rejected, NotFound) as error:
            if error.code not in _MISSING_PARTS:
                raise
            moved = await self.bring_parts(manifest, source, destination, Trust.NOTHING)
            with on_side("destination"):
                await destination.store.put_manifest(destination.repo, target, manifest)
        self._board.committed(destination)
        return moved

    async def _parts(
        self,
        manifest: Manifest,
        source: Place,
        destination: Place,
        trust: Trust,
        *,
        depth: int,
    ) -> int:
        if depth > DEEPEST_INDEX:
            subject = f"{source.repository}@{manifest.digest}"
            raise ProtocolError(subject, f"its indexes are nested deeper than {DEEPEST_INDEX}")
        blobs = (
            self._board.ensure(blob, source, destination, trust)
            for blob in manifest.blobs
            if not blob.is_foreign
        )
        children = (
            self._child(child, source, destination, trust, depth=depth + 1)
            for child in manifest.children
        )
        return sum(await together([*blobs, *children]))

    async def _child(
        self,
        child: Descriptor,
        source: Place,
        destination: Place,
        trust: Trust,
        *,
        depth: int,
    ) -> int:
        key = (destination.store.identity, destination.repo, child.digest)
        async with self._locks[key]:
            if trust is not Trust.NOTHING and key in self._written:
                return 0
            if trust is Trust.ALL:
                with on_side("destination"):
                    if await destination.store.head(destination.repo, child.digest) is not None:
                        self._written.add(key)
                        return 0
            try:
                manifest = await self.read(source, child.digest)
            except (NotFound, ProtocolError):
                if child.is_manifest:
                    raise
                # An index may list blobs (BuildKit caches): what is no manifest is one.
                return await self._board.ensure(child, source, destination)
            _check_size(child, manifest, source)
            moved = await self._parts(manifest, source, destination, trust, depth=depth)
            moved += await self.write(manifest, child.digest, source, destination)
            self._written.add(key)
            return moved


def _check_size(child: Descriptor, manifest: Manifest, source: Place) -> None:
    if child.size != len(manifest.raw):
        raise IntegrityError(
            f"{source.repository}@{child.digest}",
            f"its index says {child.size} bytes, it has {len(manifest.raw)}",
            hint="the source image is damaged; push it there again",
        )
