"""Say of each row what has to be sent for it, by what apply will know of where blobs are.

Apply goes by `plan/stock.py`, and so does this. What apply asks the destination for is asked here
as well, as long as that is few questions; what then is not known is counted as sent, and said to be
at most.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING

from msgspec import Struct, field

from imgmigrate.concurrency import together
from imgmigrate.errors import AccessDenied, NotFound, StoreError
from imgmigrate.plan import Reason
from imgmigrate.plan.model import doubted_by
from imgmigrate.plan.stock import MOST_MANIFESTS, Stocks, blobs_of
from imgmigrate.stores.place import is_empty, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.plan import Change
    from imgmigrate.plan.stock import Recorded
    from imgmigrate.state.record import State
    from imgmigrate.stores.base import Store
    from imgmigrate.stores.cache import ManifestCache
    from imgmigrate.stores.place import Place

__all__ = ["Load", "loads_of"]

# Questions to destinations in one plan: about blobs, and whether a repository holds anything at
# all. They cost a second or two, and a plan of more images says "at most" of some of them.
MOST_BLOBS_ASKED = 200
MOST_REPOSITORIES_ASKED = 200


class _At(Enum):
    """What is known of a blob in the repository that needs it."""

    THERE = "there"
    ABSENT = "not there"
    DOUBT = "it may be there"


class _From(Enum):
    """What is known of a mount of a blob from another repository of the store."""

    SURE = "it is mounted"
    MAYBE = "it may be mounted"
    NOWHERE = "there is nothing to mount it from"


class Load(Struct):
    """The bytes of a row's blobs: `sent` is the most, of which `unsure` ones may be spared."""

    sent: int = 0
    unsure: int = 0
    spared: int = 0


async def loads_of(
    rows: Sequence[tuple[Change, Mapping[Digest, int]]],
    changes: Iterable[Change],
    place: Callable[[Repository], Place],
    cache: ManifestCache,
    state: State,
    parallelism: int,
    *,
    is_part: bool,
) -> list[Load]:
    """Say what each row sends, of those whose blobs and their sizes are known, in their order.

    `changes` are all rows of the plan: what they saw of records counts. Where they are a part of
    what the rules ask for (`is_part`), only the records of their own repositories are looked at:
    apply may know of more to mount.
    """
    traffic = _Traffic(place, cache, asyncio.Semaphore(parallelism), is_part)
    if rows:
        await traffic.learn(rows, tuple(changes), state)
    return [traffic.load(change, blobs) for change, blobs in rows]


class _Traffic(Struct):
    place: Callable[[Repository], Place]
    cache: ManifestCache
    slots: asyncio.Semaphore
    is_part: bool
    # Of each repository that is written, what is known of the blobs that it needs.
    at: dict[Repository, dict[Digest, _At]] = field(default_factory=dict)
    # Of each store, the repositories that records say have a blob.
    elsewhere: defaultdict[str, dict[Digest, set[Repository]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    # Those of `elsewhere` that a run learns of only when it comes to their own rows.
    later: defaultdict[str, dict[Digest, set[Repository]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    # Of each store and blob, the repositories that need it, and those that a row brings it to.
    needed: defaultdict[tuple[str, Digest], set[Repository]] = field(
        default_factory=lambda: defaultdict(set)
    )
    brought: defaultdict[tuple[str, Digest], set[Repository]] = field(
        default_factory=lambda: defaultdict(set)
    )

    async def learn(
        self,
        rows: Sequence[tuple[Change, Mapping[Digest, int]]],
        changes: Sequence[Change],
        state: State,
    ) -> None:
        """Find out where the blobs of rows are: by records first, then by what may be asked."""
        wanted: defaultdict[Repository, dict[Digest, int]] = defaultdict(dict)
        # What is written again is looked for blob by blob, and in a layout byte by byte.
        again: defaultdict[Repository, set[Digest]] = defaultdict(set)
        proved: defaultdict[Repository, set[Digest]] = defaultdict(set)
        for change, blobs in rows:
            repository = change.address.repository
            if change.is_near:
                continue
            wanted[repository].update(blobs)
            for digest in blobs:
                self.needed[repository.store, digest].add(repository)
            if change.before == change.after:
                again[repository].update(blobs)
                if repository.is_layout and change.reason == Reason.REPLACE:
                    proved[repository].update(blobs)
        stocks = Stocks(state, doubted_by(changes), of=sorted(wanted) if self.is_part else None)
        stocks.expect([change for change in changes if change.action.is_carried_out])
        moved = {change.address for change in changes if change.before != change.recorded}
        for repository, blobs in wanted.items():
            self.at[repository] = dict.fromkeys(blobs, _At.DOUBT)
        await self._recall(stocks, wanted, again, moved)
        await together(
            self._look(repository, blobs, proved[repository])
            for repository, blobs in wanted.items()
            if repository.is_layout
        )
        self.is_part = self.is_part and bool(state.live_count)
        await self._ask(stocks, rows)

    def load(self, change: Change, blobs: Mapping[Digest, int]) -> Load:
        """Charge a row with each blob that nothing before it brings."""
        if change.is_near:  # its parts are where they have to be
            return Load(spared=sum(blobs.values()))
        repository, load = change.address.repository, Load()
        for digest, size in blobs.items():
            brought = self.brought[repository.store, digest]
            at = _At.THERE if repository in brought else self.at[repository][digest]
            origin = self._origin(change, digest)
            if at is _At.THERE or (origin is _From.SURE and self._mounts(repository)):
                load.spared += size
            else:
                load.sent += size
                if at is _At.DOUBT or origin is not _From.NOWHERE:
                    load.unsure += size
            brought.add(repository)
        return load

    async def _recall(
        self,
        stocks: Stocks,
        wanted: Mapping[Repository, Mapping[Digest, int]],
        again: Mapping[Repository, set[Digest]],
        moved: set[Reference],
    ) -> None:
        """Go through the records of the repositories and of their stores."""

        def is_shown(record: Recorded) -> bool:
            return record.address not in moved

        await together(
            self._read(self.place(repository), [each for each in stock.images if is_shown(each)])
            for repository in wanted
            if not (stock := stocks.of(repository)).is_doubted
        )
        for repository, blobs in wanted.items():
            stock = stocks.of(repository)
            images = [each for each in stock.images if is_shown(each)]
            if stock.is_doubted or repository.is_layout or not images:
                continue
            for digest in await asyncio.to_thread(blobs_of, images, self.cache):
                self.later[repository.store].setdefault(digest, set()).add(repository)
                if digest in blobs and digest not in again.get(repository, ()):
                    self.at[repository][digest] = _At.THERE
        lacking: defaultdict[str, dict[Digest, int]] = defaultdict(dict)
        chosen: dict[str, tuple[Recorded, ...]] = {}
        for repository, blobs in wanted.items():
            known = self.at[repository]
            lacks = {each: size for each, size in blobs.items() if known[each] is not _At.THERE}
            if lacks:
                lacking[repository.store].update(lacks)
                chosen[repository.store] = stocks.of(repository).elsewhere
        for store, records in chosen.items():
            await self._elsewhere([each for each in records if is_shown(each)], lacking[store])

    async def _elsewhere(self, chosen: list[Recorded], blobs: Mapping[Digest, int]) -> None:
        """Note from where blobs can be mounted; of a layout, what its files say is there."""
        places = [self.place(record.address.repository) for record in chosen]
        await together(
            self._read(place, [record]) for place, record in zip(places, chosen, strict=True)
        )
        for place, record in zip(places, chosen, strict=True):
            repository = record.address.repository
            told = await asyncio.to_thread(blobs_of, [record], self.cache)
            found = blobs.keys() & told.keys()
            if repository.is_layout and found:
                found &= await self._held(place, {each: blobs[each] for each in found})
            for digest in found:
                self.elsewhere[repository.store].setdefault(digest, set()).add(repository)

    async def _read(self, place: Place, records: Sequence[Recorded]) -> None:
        """Read the manifests of recorded images that nobody has read: adopted ones."""
        if place.store.is_metered or place.repository.is_layout:
            return
        count = 0
        for record in reversed(records):
            waiting = [record.digest]
            while waiting and count < MOST_MANIFESTS:
                count += 1
                try:
                    async with self.slots:
                        manifest = await read_manifest(place, waiting.pop(), self.cache)
                except StoreError:  # then it says nothing, here and when it is applied
                    continue
                waiting += record.parts(manifest)

    async def _look(
        self, repository: Repository, blobs: Mapping[Digest, int], proved: set[Digest]
    ) -> None:
        """See which files of their size a layout holds; what is to be read again may be wrong."""
        held = await self._held(self.place(repository), blobs)
        for digest in blobs:
            self.at[repository][digest] = _At.THERE if digest in held else _At.ABSENT
        for digest in proved & held:
            self.at[repository][digest] = _At.DOUBT

    async def _held(self, place: Place, blobs: Mapping[Digest, int]) -> set[Digest]:
        try:
            sizes = await place.store.sizes(place.repo, blobs)
        except StoreError:  # applying will say it
            return set()
        return {each for each, size in sizes.items() if blobs[each] == size}

    async def _ask(
        self, stocks: Stocks, rows: Sequence[tuple[Change, Mapping[Digest, int]]]
    ) -> None:
        """Ask destinations what apply will ask, up to some number of questions."""
        open_ = {
            (change.address.repository, digest): None
            for change, blobs in rows
            if not change.is_near and not change.address.repository.is_layout
            for digest in blobs
            if self.at[change.address.repository][digest] is _At.DOUBT
            and self._origin(change, digest) is not _From.SURE
        }
        # Where records are believed, or a run was cut off, apply asks for each blob.
        fresh = dict.fromkeys(
            repository
            for repository, _ in open_
            if not (stock := stocks.of(repository)).is_claimed
            and (stock.is_doubted or not stock.images)
        )
        new = await together(self._is_new(each) for each in islice(fresh, MOST_REPOSITORIES_ASKED))
        empty = {each for each, is_new in zip(fresh, new, strict=False) if is_new}
        for repository, digest in open_:
            if repository in empty:
                self.at[repository][digest] = _At.ABSENT
        asked = [each for each in open_ if each[0] not in empty][:MOST_BLOBS_ASKED]
        await together(self._ask_for(repository, digest) for repository, digest in asked)

    async def _is_new(self, repository: Repository) -> bool:
        place = self.place(repository)
        if place.store.lacks(place.repo):  # it said so of a tag
            return True
        async with self.slots:
            return await is_empty(place)

    async def _ask_for(self, repository: Repository, digest: Digest) -> None:
        place = self.place(repository)
        try:
            async with self.slots:
                is_there = await place.store.blob_exists(place.repo, digest)
        except (NotFound, AccessDenied):
            is_there = False
        except StoreError:
            return
        self.at[repository][digest] = _At.THERE if is_there else _At.ABSENT

    def _origin(self, change: Change, digest: Digest) -> _From:
        """Say where a blob is mounted from, as apply chooses it."""
        repository = change.address.repository
        key = repository.store, digest
        if change.source is not None and change.source.reference.repository.store == key[0]:
            return _From.SURE
        if self.elsewhere[key[0]].get(digest, set()) - {repository}:
            return _From.SURE
        brought = self.brought[key] - {repository}
        if brought:
            # Whatever is first: who comes later finds it where the first has brought it.
            is_late = self._store(repository).mounts_need_manifest
            others = all(self.at[each][digest] is _At.THERE for each in brought)
            return _From.MAYBE if is_late or others else _From.SURE
        others_have = any(
            self.at[each][digest] is not _At.ABSENT for each in self.needed[key] - {repository}
        )
        is_later = bool(self.later[key[0]].get(digest, set()) - {repository})
        is_open = others_have or is_later or self.is_part
        return _From.MAYBE if is_open else _From.NOWHERE

    def _mounts(self, repository: Repository) -> bool:
        return repository.is_layout or self._store(repository).mounts

    def _store(self, repository: Repository) -> Store:
        return self.place(repository).store
