"""Find what refers to an image and is to go along: its own, its children's, and theirs in turn.

Lists are read, and the manifests of what a rule asks for. Nothing is believed because a list says
it: what refers to something else is left out, and so is what is listed and not there.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imgmigrate.errors import NotFound, ProtocolError, on_side
from imgmigrate.oci.bounds import DEEPEST_INDEX
from imgmigrate.oci.companions import subject_of_tag
from imgmigrate.oci.platforms import IndexForm
from imgmigrate.oci.referrers import MOST_REFERRERS, referrer_of
from imgmigrate.stores.place import read_manifest

if TYPE_CHECKING:
    from collections.abc import Collection

    from imgmigrate.errors import Side
    from imgmigrate.oci.reference import Digest
    from imgmigrate.oci.referrers import Referrer
    from imgmigrate.rules.referrers import ReferrerPolicy
    from imgmigrate.state.record import Filter
    from imgmigrate.stores.cache import ManifestCache
    from imgmigrate.stores.place import Place

__all__ = ["Found", "find_referrers"]


@dataclass(frozen=True, slots=True)
class Found:
    """What is to go along, each behind what it refers to; `size` is None if not all is known.

    `left` is what refers to an index as it is at the source, where it is cut on its way, and
    `excluded` what the rule leaves out.
    """

    referrers: tuple[Referrer, ...] = ()
    size: int | None = 0
    left: tuple[Referrer, ...] = ()
    excluded: tuple[Referrer, ...] = ()


async def find_referrers(
    place: Place,
    top: Digest,
    tags: Collection[str],
    policy: ReferrerPolicy,
    cache: ManifestCache,
    *,
    is_index: bool,
    choice: Filter | None = None,
    reads: bool = True,
    side: Side = "source",
) -> Found:
    """Walk from an image to all that a rule lets go along; StoreError if some answer is missing.

    `tags` are all of its repository. Children are asked for only where something could come of
    it: by an API, or some companion tag. `choice` is what is taken of the image: what refers to an
    index goes along only with the index as it is. Without `reads` the manifests of what is found
    stay unread, and its size unknown.
    """
    walk = _Walk(place, tags, policy, cache, reads)
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
        if child.media_type == whole.media_type:  # an index of indexes
            inner = await read_manifest(place, child.digest, cache)
            waiting += [(each, depth + 1) for each in inner.children if each.is_manifest]
    return children, is_whole


class _Walk:
    """Goes from manifests to their referrers, each asked for once."""

    def __init__(
        self,
        place: Place,
        tags: Collection[str],
        policy: ReferrerPolicy,
        cache: ManifestCache,
        reads: bool,
    ) -> None:
        self._place, self._tags, self._policy = place, tags, policy
        self._cache, self._reads = cache, reads
        self._asked: set[Digest] = set()
        self.found: dict[tuple[Digest, str | None], Referrer] = {}
        self.size: int | None = 0
        self._excluded: dict[tuple[Digest, str | None], Referrer] = {}

    def all_found(self, left: tuple[Referrer, ...] = ()) -> Found:
        """Sum up the walk."""
        excluded = tuple(self._excluded.values())
        return Found(tuple(self.found.values()), self.size, left, excluded)

    async def ask(self, digest: Digest) -> tuple[Referrer, ...]:
        """List what refers to a manifest, once."""
        if digest in self._asked:
            return ()
        self._asked.add(digest)
        return await self._place.store.referrers(self._place.repo, digest, self._tags)

    async def may_have_more(self, top: Digest) -> bool:
        """Tell whether anything can refer to other manifests of the repository."""
        if self._place.repository.is_layout or any(map(subject_of_tag, self._tags)):
            return True
        return await self._place.store.lists_referrers(self._place.repo, top)

    async def follow(
        self, waiting: deque[tuple[Digest, int]], listed: tuple[Referrer, ...]
    ) -> None:
        """Take what is listed, then what refers to all that waits, and to that in turn."""
        await self._take(listed, waiting, 0)
        while waiting:
            digest, depth = waiting.popleft()
            await self._take(await self.ask(digest), waiting, depth)

    async def _take(
        self, listed: tuple[Referrer, ...], waiting: deque[tuple[Digest, int]], depth: int
    ) -> None:
        for entry in listed:
            each = await self._typed(entry)
            key = each.descriptor.digest, each.tag
            if key in self.found:
                continue
            if not self._policy.takes(each):
                self._excluded[key] = each
                continue
            if self._reads and not await self._is_right(each):
                continue
            if depth >= DEEPEST_INDEX or len(self.found) >= MOST_REFERRERS:
                raise _endless(self._place, each.refers_to)
            self.found[key] = each
            waiting.append((each.descriptor.digest, depth + 1))
            if not self._reads:
                self.size = None

    async def _typed(self, each: Referrer) -> Referrer:
        """Say what it is where a list does not: then its own manifest tells."""
        if each.tag is not None or each.artifact_type is not None:
            return each
        try:
            manifest = await read_manifest(self._place, each.descriptor.digest, self._cache)
        except NotFound:
            return each
        told = referrer_of(manifest)
        return each if told is None else replace(told, refers_to=each.refers_to)

    async def _is_right(self, each: Referrer) -> bool:
        """Read it, and count what it consists of; False if it is not there, or is another thing."""
        try:
            manifest = await read_manifest(self._place, each.descriptor.digest, self._cache)
        except NotFound:
            return False
        about = manifest.subject.digest if manifest.subject else None
        if len(manifest.raw) != each.descriptor.size:
            return False
        if each.tag is None and about != each.refers_to:
            return False
        if self.size is not None:
            self.size += len(manifest.raw) + sum(blob.size for blob in manifest.blobs)
        return True


def _endless(place: Place, digest: Digest) -> ProtocolError:
    cause = "more refers to it, and to that in turn, than to any real image"
    return ProtocolError(f"{place.repository}@{digest}", cause)
