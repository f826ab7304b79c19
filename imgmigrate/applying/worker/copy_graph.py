"""Copy one image graph: blobs before children before index before tag.

What a graph consists of comes from the source's manifests, each read by its digest; their
bytes go to the destination as they are. Children that several images of a repository share
are written once a run.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

from imgmigrate.applying.blobs.board import DELETE_IT, Trust
from imgmigrate.concurrency import together
from imgmigrate.errors import (
    IntegrityError,
    NotFound,
    ProtocolError,
    Rejected,
    StoreError,
    on_side,
)
from imgmigrate.oci.bounds import Graph
from imgmigrate.oci.manifest import INDEXES
from imgmigrate.stores.place import read_manifest

if TYPE_CHECKING:
    from collections.abc import Collection

    from imgmigrate.applying.blobs.board import BlobBoard
    from imgmigrate.oci.manifest import Descriptor, Manifest
    from imgmigrate.oci.reference import Digest
    from imgmigrate.stores.cache import ManifestCache
    from imgmigrate.stores.place import Place

__all__ = ["Transfer"]

# What registries answer when they know less than their own HEAD said (protocol 3.5).
_MISSING_PARTS = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"})


class Transfer:
    """Copy image graphs of one run; shares the blob board and what was already written."""

    def __init__(self, board: BlobBoard, cache: ManifestCache) -> None:
        self.board = board
        self._cache = cache
        # Children that were written with all that is below them, as far as their row believed: what
        # failed is left for the next image to try. Those that the destination said to have are
        # there for whoever believes that.
        self._written: dict[tuple[str, str, Digest, bool], Trust] = {}
        # Held while a child and all below it is brought. Taken from the top of a graph downwards,
        # and no digest is below itself, so nobody waits in a circle; flights hold none of them.
        self._locks: defaultdict[tuple[str, str, Digest, bool], asyncio.Lock] = defaultdict(
            asyncio.Lock
        )
        # The innermost locks: whoever holds one only reads.
        self._reading: defaultdict[Digest, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def read(self, source: Place, digest: Digest) -> Manifest:
        """Read a manifest of the source, once however many images wait: a read may be metered."""
        async with self._reading[digest]:
            with on_side("source"):
                manifest = await read_manifest(source, digest, self._cache)
            self._reading.pop(digest, None)  # it is in the cache now
            return manifest

    async def bring_parts(
        self,
        manifest: Manifest,
        source: Place,
        destination: Place,
        trust: Trust = Trust.ALL,
        *,
        takes_foreign: bool = False,
    ) -> int:
        """Bring everything that a manifest refers to; return the bytes sent for it.

        Layers that are not to be distributed only where it `takes_foreign` ones.
        """
        graph = Graph(takes_foreign=takes_foreign)
        return await self._parts(manifest, source, destination, trust, graph=graph, depth=0)

    async def bring(
        self, wanted: Descriptor, source: Place, destination: Place, trust: Trust
    ) -> int:
        """Bring a manifest with all that it refers to, and write it by its digest."""
        return await self._child(wanted, source, destination, trust, graph=Graph(), depth=0)

    async def write(
        self, manifest: Manifest, target: str, source: Place, destination: Place
    ) -> int:
        """Write a manifest whose parts are in place; heal once if the destination disagrees.

        Some registries answer HEAD from a cache and refuse the parent (oras-go#1212): then
        the parts are brought again without believing it. Returns the bytes that cost.
        """
        # A sparse index is refused for what is not to be there.
        is_last = bool(manifest.absent)
        if await self.try_write(manifest, target, destination, is_last=is_last):
            return 0
        moved = await self.bring_parts(manifest, source, destination, Trust.NOTHING)
        await self.try_write(manifest, target, destination, is_last=True)
        return moved

    async def try_write(
        self,
        manifest: Manifest,
        target: str,
        destination: Place,
        *,
        is_last: bool,
        still: Collection[Digest | None] | None = None,
    ) -> bool:
        """Write a manifest; False, or if it `is_last` the error, if parts are missing after all.

        `still` is what the tag may show when it is tried again.
        """
        try:
            with on_side("destination"):
                store, repo = destination.store, destination.repo
                await store.put_manifest(repo, target, manifest, still=still)
        except (Rejected, NotFound) as error:
            if is_last or error.code not in _MISSING_PARTS:
                raise
            return False
        self.board.committed(destination)
        return True

    async def below(self, digest: Digest, source: Place, destination: Place) -> set[Digest]:
        """Find all manifests below one that the destination has, with what is absent on purpose."""
        graph = Graph()
        found: set[Digest] = set()
        with on_side("destination"):
            waiting = [(await read_manifest(destination, digest, self._cache), 0)]
        while waiting:
            manifest, depth = waiting.pop()
            _enter(graph, manifest, depth, source)
            new = [each for each in manifest.children if each.digest not in found]
            found |= {each.digest for each in new if each.is_manifest}
            waiting += [
                (await self._read_child(each, source, destination), depth + 1)
                for each in new
                if each.media_type in INDEXES
            ]
        return found

    async def prove(self, digest: Digest, destination: Place) -> None:
        """Read a manifest that was written again: what was damaged may have been kept as it was."""
        try:
            with on_side("destination"):
                await destination.store.manifest(destination.repo, digest)
        except (IntegrityError, ProtocolError) as error:
            error.hint = f"{DELETE_IT}, then plan again"
            raise

    async def _parts(
        self,
        manifest: Manifest,
        source: Place,
        destination: Place,
        trust: Trust,
        *,
        graph: Graph,
        depth: int,
    ) -> int:
        _enter(graph, manifest, depth, source)
        self.board.meetings.announce(manifest, source)
        blobs = (self._blob(blob, source, destination, trust) for blob in graph.blobs(manifest))
        children = (
            self._child(child, source, destination, trust, graph=graph, depth=depth + 1)
            for child in manifest.children
        )
        return sum(await together([*blobs, *children]))

    async def _blob(self, blob: Descriptor, source: Place, destination: Place, trust: Trust) -> int:
        try:
            return await self.board.ensure(blob, source, destination, trust)
        except NotFound as error:
            if blob.is_foreign:
                error.hint = "its source does not serve a layer that is not to be distributed: "
                error.hint += "write foreign_layers: skip in the rule, and plan again"
            raise

    async def _child(
        self,
        child: Descriptor,
        source: Place,
        destination: Place,
        trust: Trust,
        *,
        graph: Graph,
        depth: int,
    ) -> int:
        key = (destination.store.identity, destination.repo, child.digest, graph.takes_foreign)
        async with self._locks[key]:
            if key in self._written and _is_enough(self._written[key], trust):
                self.board.meetings.spare(child.digest, source, destination.store.identity)
                return 0
            # An index that is there may be a sparse one, of another choice of platforms.
            # And of an image that is there, nobody tells whether its foreign layers are.
            is_told = child.media_type not in INDEXES and not graph.takes_foreign
            if trust is Trust.ALL and is_told:
                with on_side("destination"):
                    found = await destination.store.head(
                        destination.repo, child.digest, to_write=True
                    )
                if found is not None:
                    self._written[key] = trust
                    self.board.meetings.spare(child.digest, source, destination.store.identity)
                    return 0
            try:
                manifest = await self._read_child(child, source, destination)
            except (NotFound, ProtocolError) as error:
                if child.is_manifest:
                    error.hint = error.hint or _sparse(error, child)
                    raise
                # An index may list blobs (BuildKit caches): what is no manifest is one.
                return await self.board.ensure(child, source, destination, trust)
            _check_size(child, manifest, source)
            moved = await self._parts(
                manifest, source, destination, trust, graph=graph, depth=depth
            )
            moved += await self.write(manifest, child.digest, source, destination)
            if trust is Trust.BYTES:
                await self.prove(child.digest, destination)
            self._written[key] = trust
            return moved

    async def _read_child(self, child: Descriptor, source: Place, destination: Place) -> Manifest:
        """Read a manifest of the source, or its like in a layout, which costs no request."""
        if destination.repository.is_layout and child.is_manifest:
            with suppress(StoreError):
                return await destination.store.manifest(destination.repo, child.digest)
        return await self.read(source, child.digest)


def _enter(graph: Graph, manifest: Manifest, depth: int, source: Place) -> None:
    try:
        graph.enter(manifest, depth)
    except ValueError as error:
        raise ProtocolError(f"{source.repository}@{manifest.digest}", str(error)) from None


def _is_enough(done: Trust, wanted: Trust) -> bool:
    """Tell whether what was done for a row that believed so much is enough for another."""
    order = (Trust.ALL, Trust.BLOBS, Trust.BYTES)
    return wanted is not Trust.NOTHING and (
        done is Trust.NOTHING or order.index(done) >= order.index(wanted)
    )


def _sparse(error: StoreError, child: Descriptor) -> str | None:
    """Say what to do about an index that lists more than its registry has."""
    if not isinstance(error, NotFound):
        return None
    which = f" ({child.platform})" if child.platform else ""
    return f"the source's index lists it{which}, but it is not there; copy other platforms only"


def _check_size(child: Descriptor, manifest: Manifest, source: Place) -> None:
    if child.size != len(manifest.raw):
        raise IntegrityError(
            f"{source.repository}@{child.digest}",
            f"its index says {child.size} bytes, it has {len(manifest.raw)}",
            hint="the source image is damaged; push it there again",
        )
