"""Look whether the source of an image is gone before a row says so.

A list may be cut short, or stale: that it does not name a tag says little, for the tag itself may
answer all the while, and show another image by now. Nothing would then tell that it is not copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import StoreError
from imgmigrate.observing.problems import unreadable
from imgmigrate.plan import Action, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imgmigrate.observing.observe import Observer
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Reference
    from imgmigrate.plan import Change
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.state.record import State

__all__ = ["Gone"]


class Gone(Struct, frozen=True):
    """Make an error row of what is said to be gone, and is there or cannot be read."""

    observer: Observer
    state: State

    async def settle(
        self, changes: Sequence[Change], _asked: Mapping[Reference, Asked], /
    ) -> list[Change]:
        """Ask each source that a list no longer names, once."""
        sources = {
            change.source.reference for change in changes if change.source and _is_gone(change)
        }
        answers = await self.observer.head_sources(sources)
        return [self._judge(change, answers) for change in changes]

    def _judge(
        self, change: Change, answers: Mapping[Reference, Descriptor | StoreError | None]
    ) -> Change:
        if change.source is None or not _is_gone(change):
            return change
        source = change.source.reference
        answer = answers[source]
        if answer is None:
            return change
        detail = f"source {source} is there, though its list of tags leaves it out"
        error = answer if isinstance(answer, StoreError) else None
        record = self.state.record(change.address)
        return unreadable(change.address, error, record, detail=None if error else detail)


def _is_gone(change: Change) -> bool:
    return change.action is Action.KEEP and change.reason == Reason.SOURCE_GONE
