"""In which order images are opened, and which together: pure.

Largest first, so that no large one is left alone at the end. Images that go from one manifest
to several stores are opened at the same time: their blobs are read once then.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgmigrate.oci.reference import Digest, Repository
    from imgmigrate.plan import Change

__all__ = ["batches"]


def batches(changes: Sequence[Change], largest: int) -> Iterator[list[Change]]:
    """Yield all changes, at most `largest` at once; more than one only for several stores."""
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
    known = change.transfer_bytes if change.transfer_bytes is not None else change.size
    return (-known if known is not None else -(1 << 62), str(change.address))
