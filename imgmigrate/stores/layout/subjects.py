"""Which manifests that a layout's index lists are about another one: its referrers.

Tools that write layouts list them without a name (oras), or under the tags of a registry without
the referrers API (regctl). The latter are read as tags.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.errors import ProtocolError
from imgmigrate.oci.manifest import MANIFESTS, Manifest
from imgmigrate.oci.referrers import MOST_REFERRERS, referrer_of

if TYPE_CHECKING:
    from imgmigrate.oci.reference import Digest
    from imgmigrate.oci.referrers import Referrer
    from imgmigrate.stores.layout.folder import LayoutFolder
    from imgmigrate.stores.layout.index import Index

__all__ = ["Subjects"]


class Subjects:
    """The referrers of layouts by what they are about; each manifest is read once."""

    def __init__(self) -> None:
        self._read: dict[Digest, Referrer | None] = {}
        # Of each layout, for the very index that they were found in.
        self._found: dict[str, tuple[Index, dict[Digest, list[Referrer]]]] = {}

    def of(self, folder: LayoutFolder, index: Index, digest: Digest) -> tuple[Referrer, ...]:
        """List what the index has about a manifest; ProtocolError if that is more than any has."""
        known = self._found.get(folder.name)
        if known is None or known[0] is not index:
            known = self._found[folder.name] = index, self._all(folder, index)
        found = tuple(known[1].get(digest, ()))
        if len(found) > MOST_REFERRERS:
            cause = f"its index lists more than {MOST_REFERRERS} referrers of {digest.short}"
            raise ProtocolError(folder.name, cause)
        return found

    def _all(self, folder: LayoutFolder, index: Index) -> dict[Digest, list[Referrer]]:
        found: defaultdict[Digest, list[Referrer]] = defaultdict(list)
        for digest, media_type in index.types():
            if digest not in self._read:
                self._read[digest] = _look(folder, digest, media_type)
            referrer = self._read[digest]
            if referrer is not None:
                found[referrer.refers_to].append(referrer)
        return found


def _look(folder: LayoutFolder, digest: Digest, media_type: str) -> Referrer | None:
    """Read what a manifest is about; what is none, or damaged, is about nothing.

    Whoever copies it as an image is told what is wrong with it.
    """
    if media_type not in MANIFESTS:
        return None
    try:
        raw = folder.read_blob(digest)
        manifest = None if raw is None else Manifest.parse(raw, media_type, expected=digest)
    except (ProtocolError, ValueError):
        return None
    return None if manifest is None else referrer_of(manifest)
