"""Look again at what this very plan did to layouts: a record is no proof that the disk has it.

A disk may have been swapped, emptied or damaged since, and looking costs no request. What is
recorded in a registry is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgmigrate.concurrency import together
from imgmigrate.errors import StoreError
from imgmigrate.events import Outcome
from imgmigrate.stores.place import Place, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgmigrate.events import Receipt
    from imgmigrate.oci.reference import Reference
    from imgmigrate.plan import Change, Plan
    from imgmigrate.stores.base import Stores

__all__ = ["look_again"]

# Layouts looked at together; each waits for a thread.
AT_ONCE = 256


async def look_again(
    plan: Plan, todo: Sequence[Change], settled: Sequence[Receipt], stores: Stores
) -> tuple[list[Change], list[Receipt]]:
    """Return the rows to do, with those that are recorded and not there, and the other receipts."""
    done = {each.address for each in settled if each.outcome is Outcome.ALREADY}
    rows = [change for change in plan.changes if change.address in done and _is_in_layout(change)]
    if not rows:
        return list(todo), list(settled)
    gone: set[Reference] = set()
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE]
        there = await together(_is_there(row, stores) for row in part)
        gone |= {row.address for row, is_there in zip(part, there, strict=True) if not is_there}
    again = [row for row in rows if row.address in gone]
    return [*todo, *again], [each for each in settled if each.address not in gone]


def _is_in_layout(change: Change) -> bool:
    return change.address.repository.is_layout and change.after is not None


async def _is_there(row: Change, stores: Stores) -> bool:
    """Tell whether a layout shows the image with all its parts; else carrying it out tells."""
    address = row.address
    place = Place(stores.of(address.repository), address.repository.path)
    try:
        found = await shown(place, address.target)
        if found is None or found.digest != row.after:
            return False
        present = row.filter.present if row.filter else None
        return not await place.store.missing_parts(place.repo, address.target, present)
    except StoreError:
        return False
