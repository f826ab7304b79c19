"""How much of a thing there may be: what no real image has, and an attack would.

Pure. Whoever reads what a server sent asks here before it costs memory or requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgmigrate.oci.manifest import Descriptor, Manifest

__all__ = ["Graph"]

# Deeper than any real index of indexes (protocol 5).
DEEPEST_INDEX = 8
# One image with all that it reaches. The largest official ones have some 30 manifests.
MOST_MANIFESTS = 10_000
MOST_PARTS = 100_000
MOST_MANIFEST_BYTES = 64 * 1024 * 1024


class Graph:
    """What one image is made of, counted while it is walked.

    Every index may list thousands of others: without a bound on the whole, a few kilobytes
    would make millions of requests. Layers that are not to be distributed belong to it only where
    it `takes_foreign` ones.
    """

    def __init__(self, *, takes_foreign: bool = False) -> None:
        self.takes_foreign = takes_foreign
        self._manifests, self._parts, self._bytes = 0, 0, 0

    def blobs(self, manifest: Manifest) -> list[Descriptor]:
        """List the blobs of a manifest that belong to it."""
        return [blob for blob in manifest.blobs if self.takes_foreign or not blob.is_foreign]

    def enter(self, manifest: Manifest, depth: int) -> None:
        """Count a manifest and what it lists; ValueError if the image is out of bounds."""
        children = [child for child in manifest.children if child.is_manifest]
        if depth > DEEPEST_INDEX or (depth == DEEPEST_INDEX and children):
            msg = f"its indexes are nested deeper than {DEEPEST_INDEX}"
            raise ValueError(msg)
        self._manifests += len(children)
        self._parts += len(manifest.children) + len(manifest.blobs)
        self._bytes += len(manifest.raw) if depth == 0 else 0
        self._bytes += sum(child.size for child in children)
        if self._manifests > MOST_MANIFESTS or self._parts > MOST_PARTS:
            msg = f"it consists of more than {MOST_MANIFESTS} manifests or {MOST_PARTS} parts"
            raise ValueError(msg)
        if self._bytes > MOST_MANIFEST_BYTES:
            msg = f"its manifests are longer than {MOST_MANIFEST_BYTES} bytes together"
            raise ValueError(msg)
