"""Let a blob's flights to several stores leave together, so that its source is read once.

Who opens images that go from one manifest to several stores says so first (`expect`); every
manifest below it then says which blobs those stores will want (`announce`). A flight that is
about to open its source waits until each of these stores has come too, has the blob, or
needs it no more. Nothing is held meanwhile, and nobody waits longer than `PATIENCE`: then the
stores that are there leave, and a late one reads the source again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from imgmigrate.oci.manifest import Manifest
    from imgmigrate.oci.reference import Digest
    from imgmigrate.stores.place import Place

__all__ = ["Meetings", "Party"]

# Seconds: stores that answer come within a few round trips, and a store that is down or asks
# for a pause must not keep the others.
PATIENCE = 10.0


class Traveller(Protocol):
    """Who wants to leave: from where, and to where."""

    @property
    def source(self) -> Place:
        """What would be read."""

    @property
    def destination(self) -> Place:
        """What would be written."""


T = TypeVar("T", bound=Traveller)


@dataclass(eq=False, slots=True)
class Party:
    """The open images at one store of those that come from one manifest."""

    store: str
    images: int
    without: set[Digest] = field(default_factory=set)  # manifests that the store has
    below: set[tuple[str, Digest]] = field(default_factory=set)  # keys of what it expects
    blobs: set[Digest] = field(default_factory=set)


@dataclass(slots=True)
class _Gate(Generic[T]):
    """Where the flights of one blob wait; `awaited` may still come, because of a manifest."""

    awaited: set[tuple[Party, Digest]] = field(default_factory=set)
    waiting: list[tuple[T, asyncio.Future[list[T]]]] = field(default_factory=list)
    patience: asyncio.TimerHandle | None = None


class Meetings(Generic[T]):
    """All gates of a run; `is_under_way` tells that a store has a blob or is already reading it.

    Whoever is in `_Gate.waiting` and is not cancelled gets one answer: of each group that departs
    one is given the whole group and carries it, the others are given nothing and wait for their
    delivery. A gate is emptied before anybody is answered, so who comes while a group leaves
    begins another.
    """

    def __init__(
        self, is_under_way: Callable[[str, Digest], bool], *, patience: float = PATIENCE
    ) -> None:
        self._is_under_way, self._patience = is_under_way, patience
        self._parties: defaultdict[tuple[str, Digest], list[Party]] = defaultdict(list)
        self._children: dict[tuple[str, Digest], tuple[Digest, ...]] = {}
        self._gates: dict[Digest, _Gate[T]] = {}

    def expect(self, source: Place, manifest: Digest, stores: Iterable[str]) -> dict[str, Party]:
        """Say that images of a manifest are opened now: a party for each distinct store.

        A store is named once for each of its images; each of them ends with `leave`.
        """
        parties: dict[str, Party] = {}
        for store in stores:
            parties.setdefault(store, Party(store, 0)).images += 1
        if len(parties) > 1:
            for party in parties.values():
                self._await(party, (source.store.identity, manifest))
        return parties

    def announce(self, manifest: Manifest, source: Place) -> None:
        """Say what a manifest consists of, before any of it is asked for."""
        key = (source.store.identity, manifest.digest)
        if key not in self._parties:
            return
        self._children[key] = tuple(child.digest for child in manifest.children)
        for party in self._parties[key]:
            if manifest.digest in party.without:
                continue
            for child in self._children[key]:
                self._await(party, (source.store.identity, child))
            for blob in manifest.blobs:
                if not blob.is_foreign:
                    gate = self._gates.setdefault(blob.digest, _Gate())
                    gate.awaited.add((party, manifest.digest))
                    party.blobs.add(blob.digest)

    def spare(self, manifest: Digest, source: Place, store: str) -> None:
        """Say that a store has a manifest and will ask for nothing below it."""
        key = (source.store.identity, manifest)
        for party in self._parties.get(key, ()):
            if party.store == store and manifest not in party.without:
                party.without.add(manifest)
                self._drop(party, {manifest})
        for child in self._children.get(key, ()):
            self.spare(child, source, store)

    def leave(self, party: Party) -> None:
        """Say that one image of a party is done, whatever became of it."""
        party.images -= 1
        if party.images:
            return
        for key in party.below:
            self._parties[key].remove(party)
            if not self._parties[key]:
                del self._parties[key]
                self._children.pop(key, None)
        self._drop(party, {digest for _, digest in party.below})

    async def meet(self, blob: Digest, who: T) -> list[T]:
        """Wait for the others; who is given a list takes all of it along, the rest nothing."""
        gate = self._gates.get(blob)
        if gate is None:
            return [who]
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[T]] = loop.create_future()
        gate.waiting.append((who, future))
        if gate.patience is None:
            gate.patience = loop.call_later(self._patience, self._depart, blob)
        self.look(blob)
        try:
            return await future
        finally:
            # Cancelled while waiting: nobody must be made to carry a delivery that is over.
            gate.waiting = [each for each in gate.waiting if each[1] is not future]

    def look(self, blob: Digest) -> None:
        """Let those who wait for a blob go, if nobody is to come any more."""
        gate = self._gates.get(blob)
        if gate is None or not gate.waiting:
            return
        here = {who.destination.store.identity for who, _ in gate.waiting}
        missing = {party.store for party, _ in gate.awaited} - here
        if all(self._is_under_way(store, blob) for store in missing):
            self._depart(blob)

    def look_again(self) -> None:
        """Let all go who wait for nobody any more: some store may not be awaited now."""
        for blob in tuple(self._gates):
            self.look(blob)

    def _await(self, party: Party, key: tuple[str, Digest]) -> None:
        if key not in party.below:
            party.below.add(key)
            self._parties[key].append(party)

    def _drop(self, party: Party, manifests: set[Digest]) -> None:
        """Await a party no more because of these manifests."""
        for blob in party.blobs:
            gate = self._gates.get(blob)
            if gate is None:
                continue
            gate.awaited.difference_update((party, digest) for digest in manifests)
            self.look(blob)
            if not gate.awaited and not gate.waiting:
                del self._gates[blob]

    def _depart(self, blob: Digest) -> None:
        gate = self._gates.get(blob)
        if gate is None:
            return
        waiting, gate.waiting = gate.waiting, []
        if gate.patience is not None:
            gate.patience.cancel()
            gate.patience = None
        for group in _groups(waiting):
            for number, (_, future) in enumerate(group):
                future.set_result([] if number else [who for who, _ in group])


def _groups(
    waiting: list[tuple[T, asyncio.Future[list[T]]]],
) -> Iterator[list[tuple[T, asyncio.Future[list[T]]]]]:
    """Put together who reads the same store; one for each destination store, for its slots."""
    groups: defaultdict[tuple[str, int], list[tuple[T, asyncio.Future[list[T]]]]]
    groups = defaultdict(list)
    seen: defaultdict[tuple[str, str], int] = defaultdict(int)
    for who, future in waiting:
        if future.done():  # cancelled, and not yet gone from the list
            continue
        source, store = who.source.store.identity, who.destination.store.identity
        groups[source, seen[source, store]].append((who, future))
        seen[source, store] += 1
    yield from groups.values()
