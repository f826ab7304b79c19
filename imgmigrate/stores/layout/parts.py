"""Whether a layout holds a blob, and all that an image is made of: nothing is taken on trust.

Other tools, power cuts and people take blobs away, and leave files that are cut short or hold
other bytes. A file of another size is not the blob. One of the right size is it if it was hashed
and looks as it did then (`proofs.py`); else it is read, once.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from imgmigrate.errors import ProtocolError
from imgmigrate.files import in_thread, sync_data
from imgmigrate.oci.bounds import Graph
from imgmigrate.oci.manifest import Manifest
from imgmigrate.stores.layout.indexfile import CLOCK_GRAIN
from imgmigrate.stores.layout.proofs import Stamp

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Iterable

    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest
    from imgmigrate.stores.layout.folder import LayoutFolder

__all__ = ["Prover", "missing_by_size", "parts"]

# Disks read a few files at once as fast as many.
HASHED_AT_ONCE = 4
# What a thread reads before it may be told to stop, and at once: bytes.
TURN, PIECE = 16 * 1024 * 1024, 1024 * 1024


class Prover:
    """Tell whether blobs are there, byte for byte; a file is read once at a time."""

    def __init__(self) -> None:
        # Taken inside a file's lock, for the hashing alone: whoever waits for a file that is being
        # hashed takes up no place, and mostly finds it proved when its turn comes.
        self._reading = asyncio.Semaphore(HASHED_AT_ONCE)
        self._locks: defaultdict[tuple[str, Digest], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def has(
        self, folder: LayoutFolder, digest: Digest, size: int | None = None, *, anew: bool = False
    ) -> bool:
        """Tell whether the layout has the blob, of this `size` if that is known.

        With `anew` its bytes are read whatever is remembered of them. OSError, and
        ProtocolError for what is no file.
        """
        async with self._locks[folder.name, digest]:
            return await self._has(folder, digest, size, anew=anew)

    async def _has(
        self, folder: LayoutFolder, digest: Digest, size: int | None, *, anew: bool
    ) -> bool:
        opened: list[int] = []  # by a thread, whose result a cancelled caller does not get

        def look() -> Stamp | bool:
            file = folder.open_blob(digest) if folder.exists() else None
            if file is None:
                return False
            opened.append(file)
            stamp = Stamp.of(file)
            if size is not None and stamp.size != size:
                return False
            return stamp if anew or not folder.proofs.has(digest, stamp) else True

        try:
            found = await in_thread(look)
            if isinstance(found, bool):
                return found
            async with self._reading:
                if not await _is_right(opened[0], digest):
                    return False
            await in_thread(lambda: _note(folder, opened[0], digest, found))
            return True
        finally:
            for file in opened:
                os.close(file)

    async def missing(
        self, folder: LayoutFolder, blobs: Iterable[Descriptor]
    ) -> tuple[Descriptor, ...]:
        """List the blobs that the layout does not have."""
        return tuple([blob for blob in blobs if not await self.has(folder, blob.digest, blob.size)])


def parts(
    folder: LayoutFolder, manifest: Manifest
) -> tuple[tuple[Descriptor, ...], tuple[Descriptor, ...]]:
    """List the blobs that a manifest reaches, and the manifests that are not there for it.

    Layers that are not to be distributed do not count. ProtocolError for a graph out of bounds.
    """
    blobs: dict[Digest, Descriptor] = {}
    lacking: dict[Digest, Descriptor] = {}
    seen, graph = {manifest.digest}, Graph()
    waiting = [(manifest, 0)]
    while waiting:
        each, depth = waiting.pop()
        try:
            graph.enter(each, depth)
            blobs.update((blob.digest, blob) for blob in each.blobs if not blob.is_foreign)
            for child in each.children:
                if child.digest in seen:
                    continue
                seen.add(child.digest)
                if not child.is_manifest:  # an index may list blobs (BuildKit caches)
                    blobs[child.digest] = child
                    continue
                found = _child(folder, child)
                if found is None:
                    lacking[child.digest] = child
                else:
                    waiting.append((found, depth + 1))
        except ValueError as error:
            raise ProtocolError(f"{folder.name}@{each.digest}", str(error)) from None
    return tuple(blobs.values()), tuple(lacking.values())


def missing_by_size(folder: LayoutFolder, manifest: Manifest) -> tuple[Digest, ...]:
    """List what a manifest reaches and is not there, or has another size. Blocking."""
    blobs, lacking = parts(folder, manifest)
    sizes = folder.sizes(blob.digest for blob in blobs)
    absent = (blob for blob in blobs if sizes.get(blob.digest) != blob.size)
    return tuple(each.digest for each in (*lacking, *absent))


def _child(folder: LayoutFolder, child: Descriptor) -> Manifest | None:
    """Read a manifest that an index lists; None if it is not there whole."""
    if folder.sizes([child.digest]).get(child.digest) != child.size:
        return None
    raw = folder.read_blob(child.digest)
    if raw is None or not child.digest.matches(raw):
        return None
    return Manifest.parse(raw, child.media_type, expected=child.digest)


async def _is_right(file: int, digest: Digest) -> bool:
    """Hash a file; every turn of a thread is short, so that a run that ends need not wait."""
    hasher = digest.hasher()
    offset = 0
    while True:
        count = await in_thread(partial(_read_on, file, offset, hasher))
        if count == 0:
            return hasher.hexdigest() == digest.hex
        offset += count


def _read_on(file: int, start: int, hasher: hashlib._Hash) -> int:
    done = 0
    while done < TURN and (piece := os.pread(file, PIECE, start + done)):
        hasher.update(piece)
        done += len(piece)
    return done


def _note(folder: LayoutFolder, file: int, digest: Digest, before: Stamp) -> None:
    """Remember a file that did not change while it was read, once its bytes are durable.

    One that was written just now may be changed within the clock's grain, and look the same.
    """
    sync_data(file)
    if Stamp.of(file) == before and time.time_ns() - before.time > CLOCK_GRAIN:
        folder.proofs.add(digest, before)
