"""Delete one tag, and nothing but that tag.

Where a registry deletes only by digest, all tags of that digest would go: so a placeholder, a
tiny manifest that no other tag can name, is put on the tag first and is what is deleted. The
old manifest stays in its repository, for other tags and for a rollback. The run's claim names
the placeholder's digest, so what a crash leaves on the tag is known to be ours, and the same
plan goes on from there.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

from imgmigrate.errors import (
    NotFound,
    ProtocolError,
    Rejected,
    RowConflict,
    RowFailed,
    StoreError,
    on_side,
)
from imgmigrate.events import Outcome, Receipt
from imgmigrate.oci.manifest import OCI_MANIFEST, Descriptor, Manifest
from imgmigrate.oci.reference import Digest
from imgmigrate.stores.base import Mounted, NoDeletes, OtherForm, TagMoved
from imgmigrate.stores.place import Place, shown
from imgmigrate.stores.retries import attempts
from imgmigrate.stores.slots import hold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgmigrate.events import Sink
    from imgmigrate.oci.reference import Reference
    from imgmigrate.plan import Change

__all__ = ["Deleter", "placeholder"]

_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
# All that image-spec config.md requires: some registries read the configs of images.
_CONFIG = b'{"architecture":"unknown","os":"unknown","rootfs":{"type":"layers","diff_ids":[]}}'
_ANNOTATION = "com.imgmigrate.placeholder"
# A blob that is asked for in yet another form has been sent in all that exist.
MOST_FORMS = 4


def placeholder(plan_id: str, address: Reference) -> Manifest:
    """Make the manifest that stands on a tag while it is deleted: one for each plan and address."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": _CONFIG_TYPE,
            "digest": Digest.of(_CONFIG),
            "size": len(_CONFIG),
        },
        "layers": [],
        "annotations": {_ANNOTATION: f"{plan_id} {address}: being deleted"},
    }
    return Manifest.parse(json.dumps(document, separators=(",", ":")).encode())


class Deleter:
    """Carry out `delete` rows; shares what it knows of each repository."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        # Held while the config is brought to a repository, so that it is brought once; whoever
        # waits for it may be at its tag, which it reads again then.
        self._configs: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._has_config: set[tuple[str, str]] = set()

    async def delete(
        self,
        change: Change,
        destination: Place,
        plan_id: str,
        image: Digest | None = None,
        namesakes: Mapping[Reference, Place] | None = None,
    ) -> Receipt:
        """Delete the tag if it still shows what the plan saw there, or our own placeholder.

        `image` is what belongs there if that is refused, where the plan saw the placeholder of
        another plan. A conflict if one of `namesakes`, which are wanted, turns out to be the
        same tag, or where nothing can tell.
        """
        tag = change.address.tag
        if tag is None or change.before is None:
            cause = "the plan does not say what to delete"
            raise RowFailed(cause, subject=str(change.address), hint="plan again")
        stand_in = placeholder(plan_id, change.address)
        with on_side("destination"):
            found = await self._look(destination, tag)
            if found not in (change.before, stand_in.digest):
                return _moved_on(change, found)
            if destination.store.deletes_tags:
                # Nothing was written that could tell one registry from two.
                other = await _shared(found, namesakes or {})
                if other is not None:
                    return _wanted(change, other, "may be")
                await _delete(destination, tag)
            else:
                before = await self._to_put_back(image or change.before, change.before, destination)
                late = await self._replace(
                    change, before, found, stand_in, destination, tag, namesakes or {}
                )
                if late is not None:
                    return late
            left = await self._look(destination, tag, is_new=True)
        if left is not None:
            subject, cause = str(change.address), f"it was deleted and still shows {left.short}"
            raise ProtocolError(subject, cause, hint="apply the same plan again")
        return Receipt(change.address, Outcome.APPLIED)

    async def _to_put_back(self, image: Digest, seen: Digest, destination: Place) -> Digest:
        """Choose what to put back: the image, or what was seen where that is gone."""
        if image != seen and await self._look(destination, image) is None:
            return seen
        return image

    async def _replace(
        self,
        change: Change,
        before: Digest,
        found: Digest,
        stand_in: Manifest,
        destination: Place,
        tag: str,
        namesakes: Mapping[Reference, Place],
    ) -> Receipt | None:
        """Put the placeholder on the tag and delete that; on refusal put the old one back.

        A receipt if the tag is no longer what was found when the placeholder is ready.
        """
        store, repo = destination.store, destination.repo
        old = None
        if found == stand_in.digest:  # after a crash
            wanted = await self._prove(change, before, old, stand_in, destination, tag, namesakes)
            if wanted is not None:
                return wanted
        # Mostly it is not there yet: this asks whether deleting is offered before anything is
        # touched. After a crash it is there, and then this is all there is to do.
        refusal = await _try(destination, stand_in.digest, change.address)
        if found != stand_in.digest:
            if isinstance(refusal, NoDeletes) or not isinstance(refusal, Rejected | None):
                raise refusal
            # Read now: who cannot have the old manifest back does not begin.
            old = await store.manifest(repo, before)
            if await self._bring_config(destination):
                # That took its time: rule 7 wants the tag read just before it is written.
                now = await self._look(destination, tag)
                if now != found:
                    return _moved_on(change, now)
            try:
                await store.put_manifest(repo, tag, stand_in, still={found})
            except TagMoved as error:
                return _moved_on(change, error.found)
            wanted = await self._prove(change, before, old, stand_in, destination, tag, namesakes)
            if wanted is not None:
                return wanted
            refusal = await _try(destination, stand_in.digest, change.address)
        if refusal is not None:
            await self._put_back(before, old, stand_in, destination, tag)
            raise refusal
        return None

    async def _prove(
        self,
        change: Change,
        before: Digest,
        old: Manifest | None,
        stand_in: Manifest,
        destination: Place,
        tag: str,
        namesakes: Mapping[Reference, Place],
    ) -> Receipt | None:
        """See that the placeholder on the tag shows under no other name; else put the old back.

        So too, and raises, where another name cannot be read.
        """
        try:
            other = await _shared(stand_in.digest, namesakes)
        except StoreError:
            await self._put_back(before, old, stand_in, destination, tag)
            raise
        if other is None:
            return None
        await self._put_back(before, old, stand_in, destination, tag)
        return _wanted(change, other, "is")

    async def _put_back(
        self,
        before: Digest,
        old: Manifest | None,
        stand_in: Manifest,
        destination: Place,
        tag: str,
    ) -> None:
        """Put the old manifest on the tag again, unless somebody else has moved it since."""
        store, repo = destination.store, destination.repo
        try:
            if await self._look(destination, tag) == stand_in.digest:
                old = old or await store.manifest(repo, before)
                await store.put_manifest(repo, tag, old, still={stand_in.digest})
        except TagMoved:
            return
        except StoreError as error:
            error.hint = (
                f"the tag shows the placeholder {stand_in.digest.short} of its deletion, it was "
                f"{before}; apply the same plan again"
            )
            raise

    async def _look(self, destination: Place, tag: str, *, is_new: bool = False) -> Digest | None:
        found = await shown(destination, tag, is_new=is_new, to_write=True)
        return found.digest if found else None

    async def _bring_config(self, destination: Place) -> bool:
        """Upload the placeholder's config, once a repository; tell whether that was waited for."""
        key = (destination.store.identity, destination.repo)
        if key in self._has_config:
            return False
        async with self._configs[key]:
            if key in self._has_config:
                return True
            blob = Descriptor(_CONFIG_TYPE, Digest.of(_CONFIG), len(_CONFIG))
            if not await destination.store.blob_exists(destination.repo, blob.digest):
                async for attempt in attempts(self._sink, "destination"):
                    with attempt, on_side("destination"):
                        await _upload(destination, blob)
            self._has_config.add(key)
            return True


async def _shared(digest: Digest, namesakes: Mapping[Reference, Place]) -> Reference | None:
    """Find another name under which a digest shows; StoreError where one cannot be read."""
    for other, place in namesakes.items():
        if await _shows(place, other.target) == digest:
            return other
    return None


async def _shows(place: Place, target: str) -> Digest | None:
    """Read what is under another name, as who pulls it would: a HEAD may say less than is there."""
    found = await place.store.look(place.repo, target, is_new=True)
    return found.digest if found else None


def _wanted(change: Change, other: Reference, verb: str) -> Receipt:
    """Say that the tag is wanted under another name, or may be."""
    cause = f"not deleted: {other}, which is wanted, {verb} the same tag"
    hint = f"if only its record shall go: imgmigrate state rm {change.address}"
    if verb != "is":
        hosts = f"{change.address.repository.store}, {other.repository.store}"
        hint = f"if these are two registries, say so in the config: distinct: [{hosts}]"
    error = RowConflict(cause, subject=str(change.address), hint=hint)
    return Receipt(change.address, Outcome.CONFLICT, error=error)


async def _try(destination: Place, digest: Digest, address: Reference) -> StoreError | None:
    """Delete a placeholder; return why it was refused, in words about the tag it stands on.

    Its own digest says nothing to anybody. What is not there is deleted.
    """
    try:
        await _delete(destination, digest)
    except StoreError as error:
        cause = f"not deleted: {error.cause}"
        return error.remade(type(error), subject=str(address), cause=cause, hint=error.hint)
    return None


async def _delete(destination: Place, ref: str) -> None:
    with suppress(NotFound):
        await destination.store.delete(destination.repo, ref)


async def _upload(destination: Place, blob: Descriptor) -> None:
    async with hold(destination.store.budget.write):
        for form in range(MOST_FORMS):
            session = await destination.store.start_upload(destination.repo, blob)
            if isinstance(session, Mounted):
                return
            try:
                await session.write(_CONFIG)
                await session.commit()
            except OtherForm:
                await session.abort()
                if form + 1 == MOST_FORMS:
                    raise
            except BaseException:
                await session.abort()
                raise
            else:
                return


def _moved_on(change: Change, found: Digest | None) -> Receipt:
    """Say what became of a tag that no longer shows what is to be deleted."""
    if found is None:
        return Receipt(change.address, Outcome.ALREADY)
    planned = change.before.short if change.before else "nothing"
    cause = f"shows {found.short}, planned to delete {planned}"
    hint = "somebody changed it since the plan; plan again"
    error = RowConflict(cause, subject=f"destination {change.address}", hint=hint)
    return Receipt(change.address, Outcome.CONFLICT, error=error)
