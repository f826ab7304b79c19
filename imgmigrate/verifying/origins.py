"""Ask the sources of recorded images what they show now: the same, another, or nothing any more.

And what refers to it there now, by the rule that brought it: what came later, or was never carried,
is told. What the destination has is not asked here.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imgmigrate.errors import NotFound, ProtocolError, StoreError, on_side
from imgmigrate.observing.referrers import find_referrers
from imgmigrate.oci.manifest import INDEXES
from imgmigrate.rules.joins import Joins
from imgmigrate.rules.referrers import USUAL
from imgmigrate.state.record import Carried
from imgmigrate.stores.place import Place
from imgmigrate.verifying.verdict import Fault, Findings, Kind

if TYPE_CHECKING:
    from imgmigrate.config.model import Config
    from imgmigrate.oci.reference import Repository
    from imgmigrate.rules.referrers import ReferrerPolicy
    from imgmigrate.state.record import ImageRecord
    from imgmigrate.stores.base import Stores
    from imgmigrate.stores.cache import ManifestCache

__all__ = ["Origins"]


@dataclass(slots=True)
class Origins:
    """The sources of one run; `slots` limits their requests."""

    config: Config
    stores: Stores
    cache: ManifestCache
    slots: asyncio.Semaphore
    _joins: Joins = field(init=False)
    _tags: dict[Repository, frozenset[str]] = field(default_factory=dict)
    _listing: defaultdict[Repository, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )

    def __post_init__(self) -> None:
        self._joins = Joins((*self.config.rules, *self.config.globs), self.config.base)

    async def look(self, record: ImageRecord) -> Findings:
        """Compare what a record says of its source with what that shows now.

        What came from within its own repository, as a kept former image did, has no source.
        """
        findings, source = Findings(), record.source
        if record.keeps_previous:
            return findings
        place = self._place(source.reference.repository)
        try:
            async with self.slots:
                with on_side("source"):
                    found = await place.store.look(place.repo, source.reference.target)
            if found is None or found.digest != source.digest:
                shown = found.digest if found else None
                findings.add(Fault(Kind.MOVED, "manifest", source.digest, found=shown))
                return findings
            for one in await self._missing(record, place):
                findings.add(Fault(Kind.MOVED, "manifest", one.digest, one.size, referrer=one))
        except StoreError as error:
            findings.error = error
        return findings

    async def _missing(self, record: ImageRecord, place: Place) -> list[Carried]:
        """What refers to an image at its source, by its rule, and did not go along."""
        policy = self._policy(record)
        if not policy.is_on:
            return []
        tags = await self._tags_of(place)
        async with self.slots:
            try:
                found = await find_referrers(
                    place,
                    record.source.digest,
                    tags,
                    policy,
                    self.cache,
                    is_index=record.media_type in INDEXES,
                    choice=record.filter,
                )
            except ValueError as error:
                name = f"{place.repository}@{record.source.digest}"
                raise ProtocolError(name, str(error)) from None
        there = {one.key for one in record.referrers or ()}
        return [Carried.of(one) for one in found.whole() if one.key not in there]

    def _policy(self, record: ImageRecord) -> ReferrerPolicy:
        origin = record.source.reference.repository
        rules = self._joins.find(origin, record.address.repository)
        return rules[0].referrers if rules else USUAL

    async def _tags_of(self, place: Place) -> frozenset[str]:
        """All tags of a source, listed once."""
        async with self._listing[place.repository]:
            if place.repository not in self._tags:
                try:
                    async with self.slots:
                        with on_side("source"):
                            found = await place.store.list_tags(place.repo)
                except NotFound:
                    found = []
                self._tags[place.repository] = frozenset(found)
            return self._tags[place.repository]

    def _place(self, repository: Repository) -> Place:
        return Place(self.stores.source_of(repository), repository.path)
