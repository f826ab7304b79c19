"""Look at both sides: list and describe, concurrently, each question once.

Nothing is decided here: answers and failures are handed on as they are. One rule of
reading belongs to looking, though: many registries answer 401 or 403 for a destination
repository that does not exist yet (DESIGN section 4), and only the state tells absent from
forbidden.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from imgmigrate.errors import AccessDenied, Dangling, NotFound, Rejected, StoreError, on_side
from imgmigrate.events import Listed, NamesSkipped, Observed
from imgmigrate.observing.skipped import SkippedNames
from imgmigrate.oci.companions import cosign_tags, fallback_tag
from imgmigrate.oci.reference import Repository
from imgmigrate.stores.place import Place, shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from imgmigrate.events import Sink
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest, Reference
    from imgmigrate.state.record import Filter, State
    from imgmigrate.stores.base import Store, Stores
    from imgmigrate.stores.cache import ManifestCache

__all__ = ["Observer"]

T = TypeVar("T")
A = TypeVar("A")

# With this many addresses in a destination repository one listing, which tells which of them
# exist at all, is cheaper than as many looks.
LISTING_PAYS_FROM = 4


@dataclass(slots=True)
class Observer:
    """Ask the stores, at most `parallelism` questions at a time.

    Those to a store that is down, or that limits its rate, come last and count for nothing while
    they wait: the others go on.

    What the state knows is described by the cheapest question; what it does not know is read,
    and its manifest kept in the `cache`. Nothing is absent unless reading it said so (`look`),
    but for what no record tells of and its destination does not list: apply looks again.
    """

    stores: Stores
    state: State
    sink: Sink
    parallelism: int
    cache: ManifestCache | None = None
    _done: int = 0
    _total: int = 0
    _slots: defaultdict[str, asyncio.Semaphore] = field(init=False)
    _opened: dict[str, Store] = field(default_factory=dict)
    _sources: dict[Repository, frozenset[Reference]] = field(default_factory=dict)
    _heads: dict[Reference, Descriptor | StoreError | None] = field(default_factory=dict)
    _listed: set[Repository] = field(default_factory=set)
    _absent: set[Repository] = field(default_factory=set)
    _relisted: dict[Repository, list[str] | StoreError] = field(default_factory=dict)
    _tags: dict[Repository, frozenset[str]] = field(default_factory=dict)
    _unlisted: set[Repository] = field(default_factory=set)
    _listing: defaultdict[Repository, asyncio.Lock] = field(init=False)

    def __post_init__(self) -> None:
        self._listing = defaultdict(asyncio.Lock)
        self._slots = defaultdict(lambda: asyncio.Semaphore(self.parallelism))

    def place(self, repository: Repository) -> Place:
        """Open the store of a repository."""
        store = self._opened[repository.store] = self.stores.of(repository)
        return Place(store, repository.path)

    def source(self, repository: Repository) -> Place:
        """Open the store of a repository to read its names as those of a source."""
        store = self._opened[repository.store] = self.stores.source_of(repository)
        return Place(store, repository.path)

    async def list_sources(
        self, repositories: Iterable[Repository]
    ) -> dict[Repository, list[str] | StoreError]:
        """List the tags of source repositories."""
        wanted = sorted(set(repositories))
        answers = await self.each(wanted, self._list_source, _store_of)
        self._listed.update(wanted)
        listings = dict(zip(wanted, answers, strict=True))
        for repository, found in listings.items():
            if not isinstance(found, StoreError):
                self._tags[repository] = frozenset(found)
        return listings

    def listing(self, repository: Repository) -> frozenset[str] | None:
        """The tags of a source that was listed, as they were then; asks nothing."""
        return self._tags.get(repository)

    async def tags_about(
        self, repository: Repository, digest: Digest
    ) -> frozenset[str] | StoreError:
        """The tags among which those are that belong to an image: all of a source, listed once.

        Where these may not be listed, the names that they would have: each is asked for then.
        """
        async with self._listing[repository]:
            if repository not in self._tags and repository not in self._unlisted:
                found = await self._list_source(repository)
                if isinstance(found, AccessDenied | Rejected):
                    self._unlisted.add(repository)
                elif isinstance(found, StoreError):
                    return found
                else:
                    self._tags[repository] = frozenset(found)
        if repository in self._unlisted:
            return frozenset({fallback_tag(digest), *cosign_tags(digest)})
        return self._tags[repository]

    async def relist_sources(
        self, repositories: Iterable[Repository]
    ) -> dict[Repository, list[str] | StoreError]:
        """List source repositories again, each once: what a look did not find may have gone."""
        repositories = set(repositories)
        found = await self.list_sources(repositories - self._relisted.keys())
        self._relisted |= found
        return {each: self._relisted[each] for each in sorted(repositories)}

    async def head_sources(
        self, references: Iterable[Reference]
    ) -> dict[Reference, Descriptor | StoreError | None]:
        """Describe source images; None only where reading one says that it is not there.

        Dangling where its repository, listed once more, names the tag all the same. Each is
        asked once.
        """
        references = set(references)
        wanted = sorted(references - self._heads.keys(), key=str)
        self._expect(len(wanted))
        answers = await self.each(wanted, self._head_source, _store_of)
        self._heads.update(zip(wanted, answers, strict=True))
        await self._tell_dangling([each for each in wanted if self._heads[each] is None])
        return {each: self._heads[each] for each in sorted(references, key=str)}

    async def _tell_dangling(self, absent: Sequence[Reference]) -> None:
        """Tell tags that a list still names from those that went since it was read.

        A repository of which nothing was listed or recorded is not listed for this.
        """
        absent = [each for each in absent if each.tag is not None and each.digest is None]
        listings = await self.relist_sources(
            each.repository
            for each in absent
            if each.repository in self._listed or self._is_source(each)
        )
        for each in absent:
            listing = listings.get(each.repository, ())
            if not isinstance(listing, StoreError) and each.tag in listing:
                self._heads[each] = _dangling(each)

    async def look_at_destinations(
        self, addresses: Iterable[Reference]
    ) -> dict[Reference, Descriptor | StoreError | None]:
        """Describe what is at the addresses now; None where nothing is.

        Where a repository's listing failed, its failure stands at every address of it.
        """
        wanted = sorted(set(addresses), key=str)
        self._expect(len(wanted))
        counts = Counter(address.repository for address in wanted)
        worthwhile = sorted(repo for repo, count in counts.items() if count >= LISTING_PAYS_FROM)
        listed = await self.each(worthwhile, self._list_destination, _store_of)
        listings = dict(zip(worthwhile, listed, strict=True))

        async def look(address: Reference) -> Descriptor | StoreError | None:
            listing = listings.get(address.repository)
            if isinstance(listing, StoreError):
                return self._seen(listing)
            is_new = not self._is_recorded(address)
            if listing is not None and address.tag is not None and address.tag not in listing:
                if is_new:
                    return self._seen(None)
                is_new = True  # it is likely gone: one request that tells all
            return self._seen(await self._look_at_destination(address, is_new=is_new))

        return dict(zip(wanted, await self.each(wanted, look, _store_of), strict=True))

    def lacks(self, repository: Repository) -> bool:
        """Tell whether a destination repository was seen not to be there; a layout is made."""
        if repository.is_layout:
            return False
        return repository in self._absent or self.place(repository).store.lacks(repository.path)

    async def missing_parts(
        self, address: Reference, choice: Filter | None = None
    ) -> tuple[Digest, ...] | StoreError:
        """List what a layout has lost of the image at an address; a registry is believed.

        What `choice` leaves out of a sparse index is not lost.
        """
        if not address.repository.is_layout:
            return ()
        place = self.place(address.repository)
        try:
            async with self._slots[address.repository.store]:
                with on_side("destination"):
                    present = choice.present if choice else None
                    return await place.store.missing_parts(place.repo, address.target, present)
        except StoreError as error:
            return error

    async def _list_source(self, repository: Repository) -> list[str] | StoreError:
        place, skipped = self.source(repository), SkippedNames()
        try:
            async with self._slots[repository.store]:
                with on_side("source"):
                    tags = await place.store.list_tags(place.repo, skip=skipped.add)
        except StoreError as error:
            return error
        self.sink.emit(Listed(repository, len(tags)))
        if skipped.names:
            self.sink.emit(NamesSkipped(repository, tuple(skipped.names), skipped.total))
        return tags

    async def _head_source(self, reference: Reference) -> Descriptor | StoreError | None:
        place, is_new = self.source(reference.repository), not self._is_source(reference)
        keep = self.cache.put if self.cache else None
        try:
            async with self._slots[reference.repository.store]:
                with on_side("source"):
                    found = await place.store.look(
                        place.repo, reference.target, is_new=is_new, keep=keep
                    )
        except StoreError as error:
            return self._seen(error)
        return self._seen(found)

    async def _list_destination(self, repository: Repository) -> frozenset[str] | StoreError:
        place = self.place(repository)
        try:
            async with self._slots[repository.store]:
                with on_side("destination"):
                    return frozenset(await place.store.list_tags(place.repo))
        except StoreError as error:
            if not self._means_absent(error, repository):
                return error
            self._absent.add(repository)
            return frozenset()

    async def _look_at_destination(
        self, address: Reference, *, is_new: bool
    ) -> Descriptor | StoreError | None:
        place = self.place(address.repository)
        keep = self.cache.put if self.cache else None
        try:
            async with self._slots[address.repository.store]:
                with on_side("destination"):
                    return await shown(place, address.target, is_new=is_new, keep=keep)
        except StoreError as error:
            return None if self._means_absent(error, address.repository) else error

    def _is_recorded(self, address: Reference) -> bool:
        record = self.state.record(address)
        return record is not None and record.is_live

    def _is_source(self, reference: Reference) -> bool:
        """Tell whether the image of a live record came from here."""
        repository = reference.repository
        if repository not in self._sources:
            records = self.state.from_source(repository)
            self._sources[repository] = frozenset(each.source.reference for each in records)
        return reference in self._sources[repository]

    def _means_absent(self, error: StoreError, repository: Repository) -> bool:
        if isinstance(error, NotFound):
            return True
        return isinstance(error, AccessDenied) and not self.state.holds(repository)

    def _expect(self, count: int) -> None:
        self._total += count
        self.sink.emit(Observed(self._done, self._total))

    def _seen(self, answer: T) -> T:
        self._done += 1
        self.sink.emit(Observed(self._done, self._total))
        return answer

    async def each(
        self,
        questions: Sequence[T],
        ask: Callable[[T], Awaitable[A]],
        store_of: Callable[[T], str] | None = None,
    ) -> list[A]:
        """Ask all questions at full concurrency; the first unexpected error cancels the others.

        With `store_of` those to stores that are waited for come last, and while they wait others
        are asked in their place.
        """
        answers: dict[int, A] = {}
        queues: dict[str, deque[int]] = {}
        for number, question in enumerate(questions):
            queues.setdefault(store_of(question) if store_of else "", deque()).append(number)
        busy: Counter[str] = Counter()
        workers = 0

        async def work() -> None:
            while queues:
                store = self._first(queues)
                number = queues[store].popleft()
                if not queues[store]:
                    del queues[store]
                busy[store] += 1
                try:
                    answers[number] = await ask(questions[number])
                except BaseException:
                    queues.clear()  # the group ends: nobody more is to work
                    raise
                busy[store] -= 1

        def look() -> None:
            nonlocal workers
            stuck = sum(count for store, count in busy.items() if self._waits(store))
            most = min(self.parallelism + stuck, len(questions)) if queues else 0
            for _ in range(workers, most):
                workers += 1
                group.create_task(work())

        with self.stores.news.heard_by(look):
            async with asyncio.TaskGroup() as group:
                look()
        return [answers[number] for number in range(len(questions))]

    def _first(self, queues: dict[str, deque[int]]) -> str:
        """Whose question is next: the first in order, of a store that is not waited for."""
        if len(queues) == 1:
            return next(iter(queues))
        free = [store for store in queues if not self._waits(store)]
        return min(free or queues, key=lambda store: queues[store][0])

    def _waits(self, store: str) -> bool:
        """Tell whether a store is only waited for now; what was never asked is not."""
        found = self._opened.get(store)
        return found is not None and found.is_waiting


def _store_of(question: Repository | Reference) -> str:
    repository = question if isinstance(question, Repository) else question.repository
    return repository.store


def _dangling(reference: Reference) -> Dangling:
    cause = "its repository lists the tag, and has no manifest for it"
    hint = "push it there again, delete the tag, or leave it out of the rule (exclude)"
    error = Dangling(str(reference), cause, hint=hint)
    error.side = "source"
    return error
