"""Find what refers to an image and is to go along: its own, its children's, and theirs in turn.

Lists are read, and the manifests of what they name. Nothing is believed because a list says it:
what refers to something else is left out, and so is what is listed and not there. Anybody may
attach something to an image: what cannot be read is left out alone, and told.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from imgmigrate.errors import (
    AuthenticationError,
    LeftBehind,
    NotFound,
    OutOfReach,
    ProtocolError,
    QuotaExhausted,
    RateLimited,
    StoreError,
    on_side,
)
from imgmigrate.oci.bounds import DEEPEST_INDEX
from imgmigrate.oci.companions import subject_of_tag
from imgmigrate.oci.manifest import INDEXES
from imgmigrate.oci.platforms import IndexForm
from imgmigrate.oci.referrers import MOST_REFERRERS, referrer_of
from imgmigrate.stores.place import read_manifest

if TYPE_CHECKING:
    from collections.abc import Collection

    from imgmigrate.errors import Side
    from imgmigrate.oci.reference import Digest, Repository
    from imgmigrate.oci.referrers import Referrer
    from imgmigrate.rules.referrers import ReferrerPolicy
    from imgmigrate.state.record import Filter
    from imgmigrate.stores.cache import ManifestCache
    from imgmigrate.stores.place import Place

__all__ = ["Found", "Listings", "find_referrers"]

# What these say holds for all questions to a registry, not for one manifest.
_OF_ALL = (AuthenticationError, LeftBehind, OutOfReach, QuotaExhausted, RateLimited)


class Found(Struct, frozen=True):
    """What is to go along, each behind what it refers to; `size` is None if not all is known.

    `left` is what refers to an index as it is at the source, where it is cut on its way, and
    `excluded` what the rule leaves out. `missing` is listed and not there, and `unread` says why
    something is not known.
    """

    referrers: tuple[Referrer, ...] = ()
    size: int | None = 0
    left: tuple[Referrer, ...] = ()
    excluded: tuple[Referrer, ...] = ()
    missing: tuple[Referrer, ...] = ()
    unread: tuple[StoreError, ...] = ()

    def whole(self) -> tuple[Referrer, ...]:
        """What is to go along, where only all of it is an answer; StoreError if some is unread."""
        if self.unread:
            raise self.unread[0]
        return self.referrers


class Listings:
    """What is listed for manifests, each asked for once by all who share this."""

    def __init__(self) -> None:
        self._known: dict[tuple[Repository, Digest], tuple[Referrer, ...]] = {}
        self._asking: defaultdict[tuple[Repository, Digest], asyncio.Lock] = defaultdict(
            asyncio.Lock
        )

    async def of(self, place: Place, digest: Digest, tags: Collection[str]) -> tuple[Referrer, ...]:
        """List what refers to a manifest; what fails is asked again by the next."""
        key = place.repository, digest
        async with self._asking[key]:
            if key not in self._known:
                self._known[key] = await place.store.referrers(place.repo, digest, tags)
        return self._known[key]


async def find_referrers(
    place: Place,
    top: Digest,
    tags: frozenset[str],
    policy: ReferrerPolicy,
    cache: ManifestCache,
    *,
    is_index: bool,
    choice: Filter | None = None,
    reads: bool = True,
    side: Side = "source",
    listings: Listings | None = None,
) -> Found:
    """Walk from an image to all that a rule lets go along; StoreError if some answer is missing.

    `tags` are all of its repository. Children are asked for only where something could come of
    it: by an API, or some companion tag. `choice` is what is taken of the image: what refers to an
    index goes along only with the index as it is. Without `reads` the manifests of what is found
    stay unread, and its size unknown, unless something is required: no list is proof of that.
    """
    reads = reads or bool(policy.required)
    walk = _Walk(place, tags, policy, cache, reads, listings or Listings())
    with on_side(side):
        first = await walk.ask(top)
        children: list[Digest] = []
        if is_index and await walk.may_have_more(top):
            children, is_whole = await _children(place, top, cache, choice)
            if not is_whole:
                await walk.follow(deque((child, 0) for child in children), ())
                left = tuple(each for each in first if policy.takes(each))
                return walk.all_found(left)
        await walk.follow(deque((child, 0) for child in children), first)
    return walk.all_found()


async def _children(
    place: Place,
    top: Digest,
    cache: ManifestCache,
    choice: Filter | None,
) -> tuple[list[Digest], bool]:
    """All manifests below an index, and whether it goes along as it is."""
    whole = await read_manifest(place, top, cache)
    kept = choice.chosen(whole) if choice is not None else whole
    is_whole = kept.digest == top and (choice is None or choice.form is not IndexForm.UNWRAP)
    children: list[Digest] = []
    waiting = deque((child, 1) for child in kept.children if child.is_manifest)
    while waiting:
        child, depth = waiting.popleft()
        if child.digest in children:
            continue
        children.append(child.digest)
        if depth > DEEPEST_INDEX or len(children) > MOST_REFERRERS:
            raise _endless(place, top)
        if child.media_type in INDEXES:
            inner = await read_manifest(place, child.digest, cache)
            waiting += [(each, depth + 1) for each in inner.children if each.is_manifest]
    return children, is_whole


class _Walk:
    """Goes from manifests to their referrers, each asked for once."""

    def __init__(
        self,
        place: Place,
        tags: frozenset[str],
        policy: ReferrerPolicy,
        cache: ManifestCache,
        reads: bool,
        listings: Listings,
    ) -> None:
        self._place, self._tags, self._policy = place, tags, policy
        self._cache, self._reads, self._listings = cache, reads, listings
        self._asked: set[Digest] = set()
        self.found: dict[tuple[Digest, str | None], Referrer] = {}
        self.size: int | None = 0
        self._excluded: dict[tuple[Digest, str | None], Referrer] = {}
        self._missing: dict[tuple[Digest, str | None], Referrer] = {}
        self._unread: list[StoreError] = []

    def all_found(self, left: tuple[Referrer, ...] = ()) -> Found:
        """Sum up the walk."""
        return Found(
            tuple(self.found.values()),
            self.size,
            left,
            tuple(self._excluded.values()),
            tuple(self._missing.values()),
            tuple(self._unread),
        )

    async def ask(self, digest: Digest) -> tuple[Referrer, ...]:
        """List what refers to a manifest, once."""
        if digest in self._asked:
            return ()
        self._asked.add(digest)
        return await self._listings.of(self._place, digest, self._tags)

    async def may_have_more(self, top: Digest) -> bool:
        """Tell whether anything can refer to other manifests of the repository."""
        if self._place.repository.is_layout or _has_companions(self._tags):
            return True
        return await self._place.store.lists_referrers(self._place.repo, top)

    async def follow(
        self, waiting: deque[tuple[Digest, int]], listed: tuple[Referrer, ...]
    ) -> None:
        """Take what is listed, then what refers to all that waits, and to that in turn."""
        await self._take(listed, waiting, 0)
        while waiting:
            digest, depth = waiting.popleft()
            try:
                listed = await self.ask(digest)
            except _OF_ALL:
                raise
            except StoreError as error:
                self._unread.append(error)
            else:
                await self._take(listed, waiting, depth)

    async def _take(
        self, listed: tuple[Referrer, ...], waiting: deque[tuple[Digest, int]], depth: int
    ) -> None:
        for entry in listed:
            key = entry.key
            if key in self.found or key in self._excluded:
                continue
            each, size = await self._read(entry)
            if each is None:
                continue
            if not self._policy.takes(each):
                self._excluded[key] = each
                continue
            if depth >= DEEPEST_INDEX or len(self.found) >= MOST_REFERRERS:
                self._unread.append(_endless(self._place, each.refers_to))
                return
            self.found[key] = each
            waiting.append((each.descriptor.digest, depth + 1))
            self.size = None if self.size is None or size is None else self.size + size

    async def _read(self, entry: Referrer) -> tuple[Referrer | None, int | None]:
        """Say what it is by its own manifest, and its size in bytes with all its parts.

        None if it is not there, cannot be read, or refers to something else. Where nothing is to
        be read a list is believed that says what it is.
        """
        is_told = entry.tag is not None or entry.artifact_type is not None
        if is_told and not self._reads:
            return entry, None
        try:
            manifest = await read_manifest(self._place, entry.descriptor.digest, self._cache)
        except _OF_ALL:
            raise
        except StoreError as error:
            if not is_told or self._policy.takes(entry):
                if isinstance(error, NotFound):
                    self._missing[entry.key] = entry
                else:
                    self._unread.append(error)
            return None, None
        size = len(manifest.raw) + sum(blob.size for blob in manifest.blobs)
        if entry.tag is not None:
            return replace(entry, descriptor=manifest.descriptor), size
        each = referrer_of(manifest)
        is_right = each is not None and each.refers_to == entry.refers_to
        return (each if is_right else None), size


@lru_cache(maxsize=64)
def _has_companions(tags: frozenset[str]) -> bool:
    """Tell whether some tag belongs to an image; once for each list, which thousands share."""
    return any(map(subject_of_tag, tags))


def _endless(place: Place, digest: Digest) -> ProtocolError:
    cause = "more refers to it, and to that in turn, than to any real image"
    return ProtocolError(f"{place.repository}@{digest}", cause)
