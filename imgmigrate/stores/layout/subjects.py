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
        # Never of a damaged copy: another layout may have a whole one.
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
            if media_type not in MANIFESTS:
                continue
            if digest not in self._read:
                try:
                    self._read[digest] = _look(folder, digest, media_type)
                except (ProtocolError, ValueError):
                    continue  # whoever copies it as an image is told what is wrong with it
            referrer = self._read[digest]
            if referrer is not None:
                found[referrer.refers_to].append(referrer)
        return found


def _look(folder: LayoutFolder, digest: Digest, media_type: str) -> Referrer | None:
    """Read what a manifest is about; ProtocolError or ValueError if it is damaged, or not there."""
    raw = folder.read_blob(digest)
    if raw is None:
        raise ProtocolError(folder.name, f"its index lists {digest.short}, which is not there")
    return referrer_of(Manifest.parse(raw, media_type, expected=digest))
