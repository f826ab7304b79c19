"""Look at both sides: list and HEAD, concurrently, each question once.

Nothing is decided here: answers and failures are handed on as they are. One rule of
reading belongs to looking, though: many registries answer 401 or 403 for a destination
repository that does not exist yet (DESIGN section 4), and only the state tells absent from
forbidden.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from imgmigrate.errors import AccessDenied, NotFound, StoreError, on_side
from imgmigrate.events import Listed, Observed
from imgmigrate.stores.place import Place, shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from imgmigrate.events import Sink
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.state.record import State
    from imgmigrate.stores.pool import Stores

__all__ = ["Observer"]

T = TypeVar("T")
A = TypeVar("A")

# With this many addresses in a destination repository one listing, which tells which of them
# exist at all, is cheaper than as many HEADs.
LISTING_PAYS_FROM = 4


@dataclass(slots=True)
class Observer:
    """Ask the stores, at most `parallelism` questions at a time."""

    stores: Stores
    state: State
    sink: Sink
    parallelism: int
    _done: int = 0
    _total: int = 0
    _slots: asyncio.Semaphore = field(init=False)
    _live: set[Repository] = field(init=False)
    _heads: dict[Reference, Descriptor | StoreError | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.parallelism)
        self._live = {record.address.repository for record in self.state.live()}

    def place(self, repository: Repository) -> Place:
        """Open the store of a repository."""
        return Place(self.stores.of(repository), repository.path)

    async def list_sources(
        self, repositories: Iterable[Repository]
    ) -> dict[Repository, list[str] | StoreError]:
        """List the tags of source repositories."""
        wanted = sorted(set(repositories))
        answers = await self.each(wanted, self._list_source)
        return dict(zip(wanted, answers, strict=True))

    async def head_sources(
        self, references: Iterable[Reference]
    ) -> dict[Reference, Descriptor | StoreError | None]:
        """Describe source images; None where the source answers 404. Each is asked once."""
        references = set(references)
        wanted = sorted(references - self._heads.keys())
        self._expect(len(wanted))
        answers = await self.each(wanted, self._head_source)
        self._heads.update(zip(wanted, answers, strict=True))
        return {each: self._heads[each] for each in sorted(references)}

    async def look_at_destinations(
        self, addresses: Iterable[Reference]
    ) -> dict[Reference, Descriptor | StoreError | None]:
        """Describe what is at the addresses now; None where nothing is.

        Where a repository's listing failed, its failure stands at every address of it.
        """
        wanted = sorted(set(addresses))
        self._expect(len(wanted))
        counts = Counter(address.repository for address in wanted)
        worthwhile = sorted(repo for repo, count in counts.items() if count >= LISTING_PAYS_FROM)
        listed = await self.each(worthwhile, self._list_destination)
        listings = dict(zip(worthwhile, listed, strict=True))

        async def look(address: Reference) -> Descriptor | StoreError | None:
            listing = listings.get(address.repository)
            if isinstance(listing, StoreError):
                return self._seen(listing)
            if listing is not None and address.tag is not None and address.tag not in listing:
                return self._seen(None)
            return self._seen(await self._head_destination(address))

        return dict(zip(wanted, await self.each(wanted, look), strict=True))

    async def missing_parts(self, address: Reference) -> tuple[Digest, ...] | StoreError:
        """List what a layout has lost of the image at an address; a registry is believed."""
        if not address.repository.is_layout:
            return ()
        place = self.place(address.repository)
        try:
            async with self._slots:
                with on_side("destination"):
                    return await place.store.missing_parts(place.repo, address.target)
        except StoreError as error:
            return error

    async def _list_source(self, repository: Repository) -> list[str] | StoreError:
        place = self.place(repository)
        try:
            async with self._slots:
                with on_side("source"):
                    tags = await place.store.list_tags(place.repo)
        except StoreError as error:
            return error
        self.sink.emit(Listed(repository, len(tags)))
        return tags

    async def _head_source(self, reference: Reference) -> Descriptor | StoreError | None:
        place = self.place(reference.repository)
        try:
            async with self._slots:
                with on_side("source"):
                    return self._seen(await place.store.head(place.repo, reference.target))
        except NotFound:
            return self._seen(None)
        except StoreError as error:
            return self._seen(error)

    async def _list_destination(self, repository: Repository) -> frozenset[str] | StoreError:
        place = self.place(repository)
        try:
            async with self._slots:
                with on_side("destination"):
                    return frozenset(await place.store.list_tags(place.repo))
        except StoreError as error:
            return frozenset() if self._means_absent(error, repository) else error

    async def _head_destination(self, address: Reference) -> Descriptor | StoreError | None:
        place = self.place(address.repository)
        try:
            async with self._slots:
                with on_side("destination"):
                    return await shown(place, address.target)
        except StoreError as error:
            return None if self._means_absent(error, address.repository) else error

    def _means_absent(self, error: StoreError, repository: Repository) -> bool:
        if isinstance(error, NotFound):
            return True
        return isinstance(error, AccessDenied) and repository not in self._live

    def _expect(self, count: int) -> None:
        self._total += count
        self.sink.emit(Observed(self._done, self._total))

    def _seen(self, answer: T) -> T:
        self._done += 1
        self.sink.emit(Observed(self._done, self._total))
        return answer

    async def each(self, questions: Sequence[T], ask: Callable[[T], Awaitable[A]]) -> list[A]:
        """Ask all questions at full concurrency; the first unexpected error cancels the others."""
        answers: dict[int, A] = {}
        waiting = iter(enumerate(questions))

        async def work() -> None:
            for number, question in waiting:
                answers[number] = await ask(question)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.parallelism, len(questions))):
                group.create_task(work())
        return [answers[number] for number in range(len(questions))]
