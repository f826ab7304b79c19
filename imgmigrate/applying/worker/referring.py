"""Bring what refers to an image: by digest, into the fallback list, and under cosign's tags.

An image's own tag is written when all of this is there. So whoever pulls by it never meets an
image without its signatures, and a tag that shows the image says that they have arrived.

Each is brought on its own: one that will not be had costs no other one its place.

A list under the fallback tag belongs to nobody: it is read, added to, written and read again, by
one writer for each subject within a run, until it has all that is to be there.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from imgmigrate.errors import (
    AccessDenied,
    AuthenticationError,
    IntegrityError,
    LeftBehind,
    NotFound,
    OutOfReach,
    ProtocolError,
    QuotaExhausted,
    Rejected,
    RowConflict,
    StoreError,
    TransientError,
    on_side,
)
from imgmigrate.oci.companions import cosign_tags, fallback_tag
from imgmigrate.oci.manifest import OCI_INDEX, Descriptor
from imgmigrate.oci.referrers import MOST_REFERRERS, entry_of, merged_list
from imgmigrate.stores.base import TagMoved
from imgmigrate.stores.place import shown

if TYPE_CHECKING:
    from imgmigrate.applying.blobs.board import Trust
    from imgmigrate.applying.executor.base import RowFacts
    from imgmigrate.applying.worker.copy_graph import Transfer
    from imgmigrate.errors import ImgmigrateError
    from imgmigrate.oci.manifest import Manifest
    from imgmigrate.oci.reference import Digest
    from imgmigrate.plan import Carried, Change
    from imgmigrate.stores.place import Place

__all__ = ["Brought", "Referring"]

# Each time somebody else was quicker.
ATTEMPTS = 5
# What every registry has to accept (protocol 2.1), and far more than a signature or an SBOM's
# manifest has; of one image there may be a thousand of them.
LARGEST_REFERRER = 4 * 1024 * 1024
_LIST_REFUSED = "the registry does not take this list of referrers: let its tag be overwritten, or "
_LIST_REFUSED += "see whether it still has all that the list there names"
# What will not be had by trying again now. Anything else may pass, or is about more than these (a
# login, a registry that is down), and ends the row.
_GIVEN_UP = (RowConflict, AccessDenied, IntegrityError, NotFound, ProtocolError, Rejected)


class Brought(Struct):
    """What became of a row's referrers: the bytes sent, and why which are lacking."""

    moved: int = 0
    lacking: list[tuple[Carried, ImgmigrateError]] = field(default_factory=list)


class _Known:
    """The manifests that a row's referrers may be about: its image, what is below it, each other.

    What is below it is read only if something is about neither of the others.
    """

    def __init__(
        self, transfer: Transfer, change: Change, source: Place, destination: Place
    ) -> None:
        self._transfer, self._after = transfer, change.after
        self._source, self._destination = source, destination
        self._known = {change.after}
        self._is_whole = False

    def add(self, digest: Digest) -> None:
        """Take a referrer that is what the plan says: others may be about it."""
        self._known.add(digest)

    async def has(self, digest: Digest) -> bool:
        """Tell whether something may be about a manifest."""
        if digest not in self._known and not self._is_whole and self._after is not None:
            self._known |= await self._transfer.below(self._after, self._source, self._destination)
            self._is_whole = True
        return digest in self._known


class Referring:
    """Brings the referrers of the rows of one run."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        # Held from the read of a companion tag to the last read after its write: by no one who
        # holds another, or a row's turn.
        self._writing: defaultdict[tuple[str, str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def bring(
        self, change: Change, source: Place, destination: Place, facts: RowFacts, trust: Trust
    ) -> Brought:
        """Bring what a row says, each behind what it refers to.

        `trust` is how much is believed of what the destination has.
        """
        brought = Brought()
        # Of each only what a list says of it: a thousand manifests would fill the memory.
        listed: defaultdict[Digest, list[tuple[Carried, dict[str, Any]]]] = defaultdict(list)
        known = _Known(self._transfer, change, source, destination)
        for each in change.referrers or ():
            try:
                if not await known.has(each.refers_to):
                    raise _not_about(each, source)
                manifest = await self._read(each, source)
                known.add(each.digest)
                wanted = Descriptor(each.media_type, each.digest, each.size)
                brought.moved += await self._transfer.bring(wanted, source, destination, trust)
                if each.tag is None:
                    listed[each.refers_to].append((each, entry_of(manifest)))
                else:
                    ours = {digest for tag, digest in facts.companions if tag == each.tag}
                    await self._write_tag(each.tag, manifest, destination, ours)
            except _GIVEN_UP as error:
                brought.lacking.append((each, error))
        for refers_to, found in listed.items():
            untold = await self._tell(refers_to, [entry for _, entry in found], destination)
            if untold is not None:
                brought.lacking += [(each, untold) for each, _ in found]
        return brought

    async def _read(self, each: Carried, source: Place) -> Manifest:
        """Read a referrer, which must be what the plan says."""
        if each.size > LARGEST_REFERRER:
            cause = f"it has {each.size} bytes; the limit of a referrer is {LARGEST_REFERRER}"
            raise ProtocolError(f"{source.repository}@{each.digest}", cause)
        manifest = await self._transfer.read(source, each.digest)
        about = manifest.subject.digest if manifest.subject else None
        is_right = (
            about == each.refers_to if each.tag is None else each.tag in cosign_tags(each.refers_to)
        )
        if not is_right or len(manifest.raw) != each.size:
            raise _not_about(each, source)
        return manifest

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

    async def _tell(
        self, refers_to: Digest, entries: list[dict[str, Any]], place: Place
    ) -> ImgmigrateError | None:
        """See that who asks the destination is told of referrers; say why if that cannot be."""
        try:
            with on_side("destination"):
                is_told = await place.store.lists_referrers(place.repo, refers_to)
        except (AuthenticationError, OutOfReach, LeftBehind, QuotaExhausted):
            raise
        except StoreError as error:  # it is there, and whether it is found is not known
            return error
        if is_told:
            return None
        try:
            await self._list(refers_to, entries, place)
        except _GIVEN_UP as error:
            return error
        return None

    async def _list(self, refers_to: Digest, entries: list[dict[str, Any]], place: Place) -> None:
        """Add referrers to the list under the fallback tag; what others put there stays.

        But for what is gone: there are registries that take no list with such an entry.
        """
        tag = fallback_tag(refers_to)
        gone: frozenset[Digest] = frozenset()
        name = f"{place.repository}:{tag}"
        async with self._lock(place, tag):
            for _ in range(ATTEMPTS + 1):
                shows, there = await _read_list(place, tag, refers_to)
                try:
                    merged = merged_list(there.without(gone) if there else None, entries)
                except ValueError as error:
                    raise ProtocolError(name, f"the list of referrers is full: {error}") from None
                if merged is None:
                    return
                try:
                    await self._transfer.try_write(merged, tag, place, is_last=True, still={shows})
                except TagMoved:
                    continue  # it is read anew
                except (Rejected, NotFound) as error:
                    if gone or there is None or not (gone := await _gone_of(there, place)):
                        error.hint = _LIST_REFUSED
                        raise
        cause = f"others keep changing the list of referrers {tag}"
        raise TransientError(name, cause, hint="apply the same plan again")

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


async def _gone_of(listed: Manifest, place: Place) -> frozenset[Digest]:
    """Find which entries of a list the destination does not have any more."""
    gone: set[Digest] = set()
    for each in listed.children[:MOST_REFERRERS]:
        try:
            await place.store.manifest(place.repo, each.digest)
        except NotFound:
            gone.add(each.digest)
        except StoreError:
            continue  # it is not known to be gone
    return frozenset(gone)


def _not_about(each: Carried, source: Place) -> IntegrityError:
    name = f"{source.repository}@{each.digest}"
    cause = f"it is no {each.kind} of {each.refers_to.short}, or that is no part of the image"
    return IntegrityError(name, cause, hint="plan again")


def _conflict(place: Place, tag: str, found: Digest | None) -> RowConflict:
    shows = found.short if found else "nothing"
    hint = "delete that tag there, or leave such referrers out of the rule (referrers: exclude)"
    return RowConflict(
        f"the companion tag shows {shows}, which imgmigrate did not write for this image",
        subject=f"destination {place.repository}:{tag}",
        hint=hint,
    )
