"""Decide which images go that the rules no longer ask for, and which of them a guard keeps.

Only with `--allow-delete`. A tag goes if the destination shows what is ours there, and if its
source is known to be well: one that answers with an empty or broken listing proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgmigrate.errors import StoreError
from imgmigrate.plan import Action, Change
from imgmigrate.planning.diff import failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgmigrate.config.guards import Guards
    from imgmigrate.config.shares import Share
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.planning.observe import Observer
    from imgmigrate.state.record import State

__all__ = ["Deleting", "decide_delete", "limit_deletes", "tell_cut_off"]

# Reasons that say something about the source; the others are about the config alone.
_BY_SOURCE = ("source_gone", "deselected")
_REASONS = {
    Action.FORGET: ("rule_removed", "deselected", "moved"),
    Action.KEEP: ("source_gone",),
}


@dataclass(frozen=True, slots=True)
class Deleting:
    """Turns rows that let an image go, or keep what its source lost, into deletes."""

    observer: Observer
    state: State
    guards: Guards
    most: Share | None

    async def settle(self, changes: Sequence[Change]) -> list[Change]:
        """Look at the destinations of what may go, and decide."""
        candidates = {change.address for change in changes if _may_go(change)}
        there = await self.observer.look_at_destinations(candidates)
        sources = await self.observer.list_sources(
            change.source.reference.repository
            for change in changes
            if change.address in candidates and change.source and change.reason in _BY_SOURCE
        )
        decided = []
        for change in changes:
            if _may_go(change):
                doubt = _doubt(change, sources)
                change = (
                    change.model_copy(update={"detail": doubt})
                    if doubt
                    else self._decide(change, there[change.address])
                )
            decided.append(change)
        return limit_deletes(decided, self.most, sum(1 for _ in self.state.live()))

    def _decide(self, change: Change, there: Descriptor | StoreError | None) -> Change:
        if isinstance(there, StoreError):
            record = self.state.record(change.address)
            return failed(change.address, "unreadable", str(there), record)
        digest = there.digest if there else None
        return decide_delete(
            change, digest, self.state, is_protected=self.guards.protects(change.address)
        )


def decide_delete(
    change: Change, destination: Digest | None, state: State, *, is_protected: bool
) -> Change:
    """Decide a row of an image of ours that is no longer asked for; it may stay as it is.

    What somebody else has put there since is never deleted. `is_protected` is what the config
    says; the record may say so too.
    """
    seen = change.model_copy(update={"before": destination})
    if destination is None or not state.owns(change.address, destination):
        return seen
    record = state.record(change.address)
    if is_protected or (record is not None and record.protected):
        return seen.model_copy(update={"action": Action.BLOCKED, "reason": "protected"})
    return seen.model_copy(update={"action": Action.DELETE})


def limit_deletes(changes: Sequence[Change], most: Share | None, images: int) -> list[Change]:
    """Block every delete if they are more than `most` of all recorded images allows."""
    deletes = sum(change.action is Action.DELETE for change in changes)
    if most is None or deletes <= most.of(images):
        return list(changes)
    blocked = {"action": Action.BLOCKED, "reason": "max_delete"}
    return [
        change.model_copy(update=blocked) if change.action is Action.DELETE else change
        for change in changes
    ]


def tell_cut_off(changes: Sequence[Change], state: State) -> list[Change]:
    """Say of what is let go, or kept, that a delete of it was cut off and never ended."""
    detail = (
        "a delete of it was cut off, so the tag may show its placeholder; "
        "apply that plan again, or plan with --allow-delete"
    )
    return [
        change.model_copy(update={"detail": detail})
        if _may_go(change) and str(change.address) in state.stand_ins
        else change
        for change in changes
    ]


def _may_go(change: Change) -> bool:
    """A digest is not deleted: every tag of it would go."""
    return change.reason in _REASONS.get(change.action, ()) and _is_tag(change.address)


def _is_tag(address: Reference) -> bool:
    return address.tag is not None and address.digest is None


def _doubt(change: Change, sources: dict[Repository, list[str] | StoreError]) -> str | None:
    """Say why the source's own listing does not bear out that an image is unwanted."""
    if change.source is None or change.reason not in _BY_SOURCE:
        return None
    source = change.source.reference
    listing = sources[source.repository]
    if isinstance(listing, StoreError):
        return f"not deleted: {listing}"
    if not listing:
        return f"not deleted: source {source.repository} lists no tags at all"
    if change.reason == "source_gone" and source.tag in listing:
        return f"not deleted: source {source.repository} still lists {source.tag}"
    return None
