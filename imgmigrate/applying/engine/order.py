"""In which order images are opened, and which together: pure.

Largest first, so that no large one is left alone at the end; but smallest first where the line
is the limit, which cannot be idle at the end and should have finished something by then. As
long as nobody knows which it is, few of the smallest go ahead: they cost the others nothing.
Images that go from one manifest to several stores are opened at the same time: their blobs are
read once then.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from imgmigrate.oci.reference import Digest, Repository
    from imgmigrate.plan import Change

__all__ = ["Queue", "size_of"]

# Images: as many as a slow line carries at once (`shares.py`), and half of what is opened.
FIRST_SMALL = 2


class Queue:
    """All changes, in batches of at most `largest`; more than one only for several stores.

    `is_narrow` tells of a change whether the line to its destination is known to be the limit.
    """

    def __init__(
        self, changes: Sequence[Change], largest: int, is_narrow: Callable[[Change], bool]
    ) -> None:
        batches = list(_batches(changes, largest))
        self._left = len(batches)
        # The same in both orders, each taken once; of equals the first goes first in both.
        self._largest = deque(enumerate(batches))
        self._smallest = deque(sorted(enumerate(batches), key=lambda each: size_of(each[1][0])))
        self._taken: set[int] = set()
        self._is_narrow = is_narrow
        self._ahead = min(FIRST_SMALL, largest // 2)

    def __bool__(self) -> bool:
        return self._left > 0

    def next(self) -> list[Change]:
        """Take the batch that is to be opened now."""
        self._left -= 1
        if self._ahead:
            self._ahead -= 1
            return self._take(self._smallest)
        while self._largest[0][0] in self._taken:
            self._largest.popleft()
        is_narrow = self._is_narrow(self._largest[0][1][0])
        return self._take(self._smallest if is_narrow else self._largest)

    def _take(self, order: deque[tuple[int, list[Change]]]) -> list[Change]:
        while True:
            number, batch = order.popleft()
            if number not in self._taken:
                self._taken.add(number)
                return batch


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
