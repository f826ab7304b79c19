"""Mark the rows whose destination repository is not there yet: some registries create none.

Only what was asked anyway tells: a list that is not there, or a registry that answers for a tag
that it has no such repository, as those do that create none. A few tags at one that says less are
not marked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imgmigrate.observing.observe import Observer
    from imgmigrate.oci.reference import Reference
    from imgmigrate.plan import Change
    from imgmigrate.planning.desired.desired import Asked

__all__ = ["NewRepositories"]


class NewRepositories(Struct, frozen=True):
    """Marks what is written to repositories that are not there."""

    observer: Observer

    async def settle(self, changes: Sequence[Change], _: Mapping[Reference, Asked]) -> list[Change]:
        """Mark them in their rows."""
        return [
            change.model_copy(update={"new_repository": True})
            if change.action.writes and self.observer.lacks(change.address.repository)
            else change
            for change in changes
        ]
