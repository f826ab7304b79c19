"""What changes the rows of a plan, one after another, once the diff has made them.

A pass sees all rows and gives all rows back: it may alter, add and drop some. Whoever plans lists
the passes in one tuple; their order there is the order in which they run, and nothing else
touches the rows in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from imgmigrate.oci.reference import Reference
    from imgmigrate.plan import Change
    from imgmigrate.planning.desired.desired import Asked

__all__ = ["Pass", "run_passes"]


class Pass(Protocol):
    """One step from rows to rows; what it needs it was made with."""

    async def settle(
        self, changes: Sequence[Change], asked: Mapping[Reference, Asked], /
    ) -> list[Change]:
        """Give the rows as they are to be; `asked` is what the rules ask for, by its address."""


async def run_passes(
    passes: Iterable[Pass], changes: Sequence[Change], asked: Mapping[Reference, Asked]
) -> list[Change]:
    """Let each pass in its turn settle what the one before it gave."""
    settled = list(changes)
    for each in passes:
        settled = await each.settle(settled, asked)
    return settled
