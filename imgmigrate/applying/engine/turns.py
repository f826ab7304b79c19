"""Say which rows may be about one tag of one place: they take turns.

A registry may have two names, and rules may write other images to one tag under each. Both find
it as planned as long as neither has written, so from the last look to the write only one row of a
turn is at a tag (`worker/worker.py` holds it): the other then sees what was written, and is a
conflict. Rows that want one and the same image there need none: whichever comes last, it is what
both want, and none waits for the other's registry.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from imgmigrate.plan import Action
from imgmigrate.stores.alias import place_key

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable
    from pathlib import Path

    from imgmigrate.oci.reference import Reference, Repository
    from imgmigrate.plan import Change

__all__ = ["Turns"]


class Turns:
    """The turns of the rows of one run; `base` is what layouts are relative to."""

    def __init__(self, changes: Iterable[Change], base: Path) -> None:
        keys: dict[Repository, Hashable] = {}
        groups: defaultdict[tuple[Hashable, str], list[Change]] = defaultdict(list)
        for change in changes:
            repository = change.address.repository
            if repository not in keys:
                keys[repository] = place_key(repository, base)
            groups[keys[repository], change.address.target].append(change)
        self._numbers: dict[Reference, int] = {}
        self._written: set[Reference] = set()
        for number, group in enumerate(groups.values()):
            if len(group) > 1:
                wanted = {change.after for change in group}
                if len(wanted) > 1 or None in wanted:
                    self._numbers.update((change.address, number) for change in group)
                if any(change.action.writes for change in group):
                    self._written.update(change.address for change in group)

    def of(self, address: Reference) -> int | None:
        """Name the turn of a row; None where no other row may be about its tag."""
        return self._numbers.get(address)

    def waits(self, change: Change) -> bool:
        """Tell whether a row only looks at what another may write: it looks after that."""
        return change.action is Action.ADOPT and change.address in self._written
