"""When images were made, by digest: read once, kept for ever in this machine's cache.

A digest never changes what it names, so neither does its date. Dates are read only where a rule
asks for them: a look a tag, and for each new digest its manifest and one small blob (of an index
one for each child, of which the newest counts).
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imgmigrate.errors import Archived, Dangling, NotFound, StoreError
from imgmigrate.files import in_thread
from imgmigrate.oci.bounds import Graph
from imgmigrate.oci.manifest import SCHEMA1, Manifest
from imgmigrate.stores.configs import read_config
from imgmigrate.stores.facts import Facts
from imgmigrate.stores.place import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from imgmigrate.observing.observe import Observer
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest, Repository
    from imgmigrate.stores.cache import ManifestCache
    from imgmigrate.stores.place import Place

__all__ = ["CreatedDates", "created_of", "parse_created"]

# What stands for "it does not say", which holds for ever too.
UNKNOWN = "-"
CREATED = "org.opencontainers.image.created"
# Go's zero time, which tools write that do not know the date.
ZERO_YEAR = 1


class CreatedDates:
    """Dates by digest, in one file of `digest date` lines; losing it costs requests."""

    def __init__(self, observer: Observer, cache: ManifestCache, path: Path | None) -> None:
        self._observer, self._cache = observer, cache
        self._facts = Facts(path, _parse, _show)
        self._known: dict[Digest, datetime | None] | None = None
        self._fresh: dict[Digest, datetime | None] = {}
        self._slots = asyncio.Semaphore(observer.parallelism)

    async def known(self, digest: Digest) -> tuple[bool, datetime | None]:
        """Say whether a digest's date was ever read, and what it is; asks no store."""
        if self._known is None:
            self._known = await asyncio.to_thread(self._facts.read)
        return digest in self._known, self._known.get(digest)

    def recall(self, digest: Digest) -> datetime | None:
        """Give a date that was read or looked up before; asks nobody."""
        return (self._known or {}).get(digest)

    async def of(
        self, repository: Repository, tags: Iterable[str]
    ) -> dict[str, datetime | None] | StoreError:
        """Date tags of a source; one failure fails all.

        A tag that is gone, or that is listed and not to be had, is left out.
        """
        references = [repository.at(tag) for tag in tags]
        heads = await self._observer.head_sources(references)
        found: dict[str, Descriptor] = {}
        for reference, head in heads.items():
            if isinstance(head, (Archived, Dangling)):
                continue
            if isinstance(head, StoreError):
                return head
            if head is not None and reference.tag is not None:
                found[reference.tag] = head
        unread = {
            head.digest: head for head in found.values() if not (await self.known(head.digest))[0]
        }
        place = self._observer.place(repository)

        async def read(head: Descriptor) -> StoreError | None:
            return await self._read_one(place, head)

        failures = await self._observer.each(list(unread.values()), read)
        failure = next((each for each in failures if each is not None), None)
        if failure is not None:
            return failure
        return {tag: (await self.known(head.digest))[1] for tag, head in found.items()}

    async def save(self) -> None:
        """Keep what was read; a folder that cannot be used is no error."""
        fresh, self._fresh = self._fresh, {}
        if fresh:
            await in_thread(lambda: self._facts.add(fresh))

    async def _read_one(self, place: Place, head: Descriptor) -> StoreError | None:
        try:
            async with self._slots:
                if head.media_type in SCHEMA1:
                    date = None
                else:
                    date = await created_of(place, head.digest, self._cache)
        except StoreError as error:
            error.side = error.side or "source"
            return error
        self._fresh[head.digest] = date
        if self._known is not None:
            self._known[head.digest] = date
        return None


def _parse(text: str) -> datetime | None:
    date = parse_created(text)
    if date is None and text != UNKNOWN:
        msg = f"not a date: {text!r}"
        raise ValueError(msg)
    return date


def _show(date: datetime | None) -> str:
    return date.isoformat() if date else UNKNOWN


async def created_of(place: Place, digest: Digest, cache: ManifestCache) -> datetime | None:
    """Read when an image was made, an index when its newest child was; None if none of it says."""
    graph, dates = Graph(), []
    waiting, seen = [(digest, 0)], {digest}
    top: Manifest | None = None
    while waiting:
        current, depth = waiting.pop()
        try:
            manifest = await read_manifest(place, current, cache)
        except NotFound:
            if depth == 0:
                raise
            continue  # some indexes list children that nobody pushed
        top = top or manifest
        try:
            graph.enter(manifest, depth)
        except ValueError:
            return None
        config = await read_config(place, manifest)
        said = parse_created(config.get("created")) if config else None
        dates.append(said or _annotated(manifest))
        for child in manifest.children:
            is_attestation = child.platform is not None and child.platform.os == "unknown"
            if child.is_manifest and not is_attestation and child.digest not in seen:
                seen.add(child.digest)
                waiting.append((child.digest, depth + 1))
    known = [date for date in dates[1:] if date] or [date for date in dates if date]
    return max(known, default=None)


def _annotated(manifest: Manifest) -> datetime | None:
    annotations = manifest.document.get("annotations")
    return parse_created(annotations.get(CREATED)) if isinstance(annotations, dict) else None


def parse_created(value: object) -> datetime | None:
    """Read a date as images carry it (RFC 3339); None if it is none, or nobody's."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment.year > ZERO_YEAR else None
