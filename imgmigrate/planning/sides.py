"""Look at both sides of what the rules ask for: source and destination, or the state instead."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import Archived, Dangling, StoreError
from imgmigrate.observing.problems import Problems
from imgmigrate.oci.manifest import SCHEMA1, Descriptor
from imgmigrate.planning.diff import Wish
from imgmigrate.planning.passes.platforms import filter_of, is_same_choice
from imgmigrate.rules.rule import ForeignLayers

if TYPE_CHECKING:
    from imgmigrate.observing.observe import Observer
    from imgmigrate.observing.scope import Scope
    from imgmigrate.oci.reference import Reference, Repository
    from imgmigrate.plan import Change
    from imgmigrate.planning.desired.desired import Asked, Asking
    from imgmigrate.planning.passes.wholeness import Wholeness
    from imgmigrate.state.record import ImageRecord, State

__all__ = ["Sides"]


class Sides(Struct, frozen=True):
    """What both sides show; without `refresh` the state answers for what it records."""

    observer: Observer
    state: State
    scope: Scope
    asking: Asking
    wholeness: Wholeness
    refresh: bool

    async def doubtful(self, asked: dict[Reference, Asked]) -> dict[Reference, Asked]:
        """Leave out what the state answers for, and in a layout is there."""
        believed = [a for a, each in asked.items() if self._is_as_recorded(a, each)]
        records = [record for a in believed if (record := self.state.record(a)) is not None]
        there = await self.observer.each(records, self.wholeness.shows)
        whole = {
            record.address for record, is_there in zip(records, there, strict=True) if is_there
        }
        return {address: each for address, each in asked.items() if address not in whole}

    def _is_as_recorded(self, address: Reference, asked: Asked) -> bool:
        """Tell whether the state answers for an address, so that no registry is asked."""
        record = self.state.record(address)
        if record is None or not record.is_live or record.source.reference != asked.named:
            return False
        if not is_same_choice(record.filter, filter_of(asked.rule)):
            return False
        if asked.source.digest not in (None, record.source.digest):
            return False
        if self.scope.replace.match(address):
            return False
        return not self.refresh or asked.rule.is_immutable(asked.source.tag)

    async def look(
        self, asked: dict[Reference, Asked]
    ) -> tuple[list[tuple[Wish, Descriptor | None]], list[Change]]:
        """Look at both sides of every address; what cannot be read becomes an error row."""
        moving = {each.source for each in asked.values() if each.source.digest is None}
        async with asyncio.TaskGroup() as group:
            heads = group.create_task(self.observer.head_sources(moving))
            looks = group.create_task(self.observer.look_at_destinations(asked))
        destinations = looks.result()
        there_already = self._held(asked, destinations)
        pinned = {each.source for a, each in asked.items() if a not in there_already} - moving
        heads_of = heads.result() | await self.observer.head_sources(pinned)
        sources = {a: there_already.get(a) or heads_of[each.source] for a, each in asked.items()}
        vanished = await self._vanished(asked, sources)
        wishes, problems = [], Problems(self.state)
        for address, each in asked.items():
            gone = None if address in there_already else vanished.get(each.source.repository)
            found = gone or sources[address]
            there = destinations[address]
            if isinstance(found, StoreError):
                problems.add(address, found)
                if isinstance(found, (Archived, Dangling)):
                    self.asking.miss(each.rule)
            elif isinstance(there, StoreError):
                problems.add(address, there)
            elif found is not None and found.media_type in SCHEMA1:
                problems.add_unsupported(address, each.source)
            else:
                overwrite = each.rule.overwrite
                choice = filter_of(each.rule)
                origin = each.named if found else each.source
                wish = Wish(
                    address,
                    origin,
                    found,
                    overwrite,
                    each.explicit,
                    choice,
                    form=each.rule.index,
                    copies_foreign=each.rule.foreign_layers is ForeignLayers.COPY,
                )
                wishes.append((wish, there))
        return wishes, problems.changes()

    def _held(
        self,
        asked: dict[Reference, Asked],
        destinations: dict[Reference, Descriptor | StoreError | None],
    ) -> dict[Reference, Descriptor]:
        """Find the pinned images that their destinations tell all of, so that no source has to."""
        found: dict[Reference, Descriptor] = {}
        for address, each in asked.items():
            there = destinations[address]
            if isinstance(there, StoreError) or self.scope.replace.match(address):
                continue
            image = _told_by(each, there, self.state.record(address))
            if image is not None:
                found[address] = image
        return found

    async def _vanished(
        self,
        asked: dict[Reference, Asked],
        sources: dict[Reference, Descriptor | StoreError | None],
    ) -> dict[Repository, StoreError]:
        """Find source repositories that are gone as a whole although something was there.

        A tag that is not there does not tell whether its repository is; images came from it, or
        its own list named the tag.
        """
        doubtful = {
            each.source.repository
            for address, each in asked.items()
            if sources[address] is None
            and not each.rule.is_delta
            and (
                ((record := self.state.record(address)) is not None and record.is_live)
                or not (each.explicit or each.source.digest)
            )
        }
        listings = await self.observer.relist_sources(doubtful)
        return {repo: found for repo, found in listings.items() if isinstance(found, StoreError)}


def _told_by(
    asked: Asked, there: Descriptor | None, record: ImageRecord | None
) -> Descriptor | None:
    """Describe the source's image by what its destination holds; None if that does not tell.

    Bytes of one digest are the same everywhere, so a source that is away, or that has dropped
    what it once had, says nothing about what is there. Of an index that was cut to some
    platforms only the record knows what it was cut from.
    """
    pinned, choice = asked.source.digest, filter_of(asked.rule)
    if pinned is None or there is None:
        return None
    if choice is None:
        return there if there.digest == pinned else None
    if record is None or not record.is_live or record.digest != there.digest:
        return None
    if record.source.digest != pinned or not is_same_choice(record.filter, choice):
        return None
    return Descriptor(record.media_type, pinned, there.size)
