"""Bring what refers to an image: by digest, into the fallback list, and under cosign's tags.

An image's own tag is written when all of this is there. So whoever pulls by it never meets an
image without its signatures, and a tag that shows the image says that they have arrived.

A list under the fallback tag belongs to nobody: it is read, added to, written and read again, by
one writer for each subject within a run, until it has all that is to be there.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.errors import IntegrityError, NotFound, RowConflict, TransientError, on_side
from imgmigrate.oci.companions import cosign_tags, fallback_tag
from imgmigrate.oci.manifest import OCI_INDEX, Descriptor, Manifest
from imgmigrate.oci.referrers import merged_list
from imgmigrate.stores.base import TagMoved
from imgmigrate.stores.place import shown

if TYPE_CHECKING:
    from imgmigrate.applying.blobs.board import Trust
    from imgmigrate.applying.executor.base import RowFacts
    from imgmigrate.applying.worker.copy_graph import Transfer
    from imgmigrate.oci.reference import Digest
    from imgmigrate.plan import Carried, Change
    from imgmigrate.stores.place import Place

__all__ = ["Referring"]

# Each time somebody else was quicker.
ATTEMPTS = 5


class Referring:
    """Brings the referrers of the rows of one run."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        # Held from the read of a companion tag to the last read after its write: by no one who
        # holds another, or a row's turn.
        self._writing: defaultdict[tuple[str, str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def bring(
        self, change: Change, source: Place, destination: Place, facts: RowFacts, trust: Trust
    ) -> int:
        """Bring what a row says, each behind what it refers to; return the bytes sent.

        `trust` is how much is believed of what the destination has. RowConflict where a companion
        tag shows what is neither this nor ours.
        """
        moved = 0
        listed: defaultdict[Digest, list[Manifest]] = defaultdict(list)
        for each in change.referrers or ():
            manifest = await self._transfer.read(source, each.digest)
            _check(each, manifest, source)
            wanted = Descriptor(each.media_type, each.digest, each.size)
            moved += await self._transfer.bring(wanted, source, destination, trust)
            if each.tag is None:
                listed[each.refers_to].append(manifest)
            else:
                ours = {digest for tag, digest in facts.companions if tag == each.tag}
                await self._write_tag(each.tag, manifest, destination, ours)
        for refers_to, manifests in listed.items():
            with on_side("destination"):
                lists = await destination.store.lists_referrers(destination.repo, refers_to)
            if not lists:
                await self._list(refers_to, manifests, destination)
        return moved

    async def _write_tag(
        self, tag: str, manifest: Manifest, destination: Place, ours: set[Digest]
    ) -> None:
        """Write one of cosign's tags, unless it shows what is not ours."""
        async with self._lock(destination, tag):
            with on_side("destination"):
                found = await shown(destination, tag, to_write=True)
            there = found.digest if found else None
            if there == manifest.digest:
                return
            if there is not None and there not in ours:
                raise _conflict(destination, tag, there)
            try:
                await self._transfer.try_write(
                    manifest, tag, destination, is_last=True, still={there}
                )
            except TagMoved as moved_on:
                raise _conflict(destination, tag, moved_on.found) from None

    async def _list(self, refers_to: Digest, manifests: list[Manifest], place: Place) -> None:
        """Add referrers to the list under the fallback tag; what others put there stays."""
        tag = fallback_tag(refers_to)
        async with self._lock(place, tag):
            for _ in range(ATTEMPTS + 1):
                shows, there = await _read_list(place, tag, refers_to)
                merged = merged_list(there, manifests)
                if merged is None:
                    return
                try:
                    await self._transfer.try_write(merged, tag, place, is_last=True, still={shows})
                except TagMoved:
                    continue  # it is read anew
        cause = f"others keep changing the list of referrers {tag}"
        raise TransientError(f"{place.repository}:{tag}", cause, hint="apply the same plan again")

    def _lock(self, place: Place, tag: str) -> asyncio.Lock:
        return self._writing[place.store.identity, place.repo, tag]


async def _read_list(
    place: Place, tag: str, refers_to: Digest
) -> tuple[Digest | None, Manifest | None]:
    """Read what a fallback tag shows, and the list that it is; RowConflict if it is none."""
    try:
        with on_side("destination"):
            found = await place.store.manifest(place.repo, tag)
    except NotFound:
        return None, None
    if found.digest == refers_to:
        # GitLab takes the tag for the digest (protocol 3.5): it lists no such tag.
        with on_side("destination"):
            is_tag = tag in await place.store.list_tags(place.repo)
        if not is_tag:
            return found.digest, None
    if found.media_type != OCI_INDEX or found.digest == refers_to:
        raise _conflict(place, tag, found.digest)
    return found.digest, found


def _check(each: Carried, manifest: Manifest, source: Place) -> None:
    """Refuse what does not refer to what the plan says."""
    about = manifest.subject.digest if manifest.subject else None
    is_right = (
        about == each.refers_to if each.tag is None else each.tag in cosign_tags(each.refers_to)
    )
    if not is_right or len(manifest.raw) != each.size:
        name, cause = f"{source.repository}@{each.digest}", f"it is no {each.kind} of"
        raise IntegrityError(name, f"{cause} {each.refers_to.short}", hint="plan again")


def _conflict(place: Place, tag: str, found: Digest | None) -> RowConflict:
    shows = found.short if found else "nothing"
    hint = "delete that tag there, or leave such referrers out of the rule (referrers: exclude)"
    return RowConflict(
        f"the companion tag shows {shows}, which imgmigrate did not write",
        subject=f"destination {place.repository}:{tag}",
        hint=hint,
    )
