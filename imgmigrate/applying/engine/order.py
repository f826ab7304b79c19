"""In which order images are opened, and which together: pure.

Largest first, so that no large one is left alone at the end; but smallest first where the line
is the limit, which cannot be idle at the end and should have finished something by then. As
long as nobody knows which it is, few of the smallest go ahead: they cost the others nothing.
Images whose registries are down are passed by while there are others. Images that go from one
manifest to several stores are opened at the same time: their blobs are read once then.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from imgmigrate.oci.reference import Digest, Repository
    from imgmigrate.plan import Change

__all__ = ["Needs", "Queue", "size_of"]

# Images: as many as a slow line carries at once (`shares.py`), and half of what is opened.
FIRST_SMALL = 2


# The stores that a row needs.
Needs = frozenset[str]
_Entry = tuple[int, list["Change"]]


class Queue:
    """All changes, in batches of at most `largest`; more than one only for several stores.

    `is_narrow` tells of a change whether the line to its destination is known to be the limit.
    Batches that need a store which is only waited for now are passed by (`needs`, `waits`).
    """

    def __init__(
        self,
        changes: Sequence[Change],
        largest: int,
        is_narrow: Callable[[Change], bool],
        needs: Callable[[Change], Needs] = lambda _: frozenset(),
        waits: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._is_narrow, self._needs, self._waits = is_narrow, needs, waits
        self._ahead = min(FIRST_SMALL, largest // 2)
        self._queues: dict[Needs, _Both] = {}
        batches: defaultdict[Needs, list[_Entry]] = defaultdict(list)
        for number, batch in enumerate(_batches(changes, largest)):
            batches[self._all(batch)].append((number, batch))
        self._queues = {stores: _Both(entries) for stores, entries in batches.items()}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def first(self) -> tuple[Needs, _Entry, bool]:
        """Where the next batch stands, it, and whether it will only wait: as all others do.

        Rows that were to be opened together go apart if some of them would wait.
        """
        waiting = {each for stores in self._queues for each in stores if self._waits(each)}
        in_order = sorted(self._queues, key=lambda stores: self._queues[stores].largest()[0])
        for stores in in_order:
            number, whole = self._queues[stores].largest()
            batch = [each for each in whole if waiting.isdisjoint(self._needs(each))]
            if batch:
                return *self._smallest(waiting, stores, (number, batch)), False
        return in_order[0], self._queues[in_order[0]].largest(), True

    def take(self, stores: Needs, entry: _Entry) -> None:
        """Take away what `first` gave; the rest of its batch stays at its place."""
        number, batch = entry
        self._ahead = max(0, self._ahead - 1)
        queue = self._queues[stores]
        taken = {id(change) for change in batch}
        rest = [change for change in queue.take(number) if id(change) not in taken]
        if not queue:
            del self._queues[stores]
        if rest:
            self._queues.setdefault(self._all(rest), _Both([])).put((number, rest))

    def next(self) -> list[Change]:
        """Take the batch that is to be opened now."""
        stores, entry, _ = self.first()
        self.take(stores, entry)
        return entry[1]

    def _smallest(self, waiting: set[str], stores: Needs, entry: _Entry) -> tuple[Needs, _Entry]:
        """Give a smaller batch instead, if small ones go first now."""
        free = [each for each in self._queues if waiting.isdisjoint(each)]
        if not free or not (self._ahead or self._is_narrow(entry[1][0])):
            return stores, entry
        stores = min(free, key=lambda each: _smallest_first(self._queues[each].smallest()))
        return stores, self._queues[stores].smallest()

    def _all(self, batch: list[Change]) -> Needs:
        return frozenset().union(*map(self._needs, batch))


class _Both:
    """Batches that need the same stores, in both orders; of equals the first goes first in both."""

    def __init__(self, entries: list[_Entry]) -> None:
        self._left = dict(entries)
        self._largest = deque(entries)
        self._smallest = deque(sorted(entries, key=_smallest_first))

    def __bool__(self) -> bool:
        return bool(self._left)

    def largest(self) -> _Entry:
        """The batch with the lowest number."""
        return self._head(self._largest)

    def smallest(self) -> _Entry:
        """The batch of the smallest image."""
        return self._head(self._smallest)

    def take(self, number: int) -> list[Change]:
        """Take a batch away."""
        return self._left.pop(number)

    def put(self, entry: _Entry) -> None:
        """Add a batch."""
        self._left[entry[0]] = entry[1]
        insort(self._largest, entry, key=lambda each: each[0])
        insort(self._smallest, entry, key=_smallest_first)

    def _head(self, order: deque[_Entry]) -> _Entry:
        """What was taken in one order is passed by in the other."""
        while self._left.get(order[0][0]) is not order[0][1]:
            order.popleft()
        return order[0]


def _smallest_first(entry: _Entry) -> tuple[int, int]:
    return size_of(entry[1][0]), entry[0]


def size_of(change: Change) -> int:
    """How many bytes an image has to send, as far as is known: what is unknown may be any."""
    known = change.transfer_bytes if change.transfer_bytes is not None else change.size
    return known if known is not None else 1 << 62


def _batches(changes: Sequence[Change], largest: int) -> Iterator[list[Change]]:
    groups: defaultdict[tuple[Repository, Digest] | str, list[Change]] = defaultdict(list)
    for change in sorted(changes, key=_largest_first):
        groups[_key(change)].append(change)
    for group in groups.values():
        if len({change.address.repository.store for change in group}) == 1:
            yield from ([change] for change in group)
            continue
        mixed = _mixed(group)
        for start in range(0, len(mixed), largest):
            yield mixed[start : start + largest]


def _key(change: Change) -> tuple[Repository, Digest] | str:
    """What images share that consist of the same blobs of the same source."""
    if change.source is None or change.after is None:
        return str(change.address)
    return change.source.reference.repository, change.after


def _mixed(group: list[Change]) -> list[Change]:
    """Put one image of each store first, then the second ones: a part of them still shares."""
    seen: defaultdict[str, int] = defaultdict(int)
    order: list[tuple[int, Change]] = []
    for change in group:
        store = change.address.repository.store
        order.append((seen[store], change))
        seen[store] += 1
    return [change for _, change in sorted(order, key=lambda each: each[0])]


def _largest_first(change: Change) -> tuple[int, str]:
    """Unknown sizes come first."""
    return (-size_of(change), str(change.address))
