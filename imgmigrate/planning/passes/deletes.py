"""Decide which images go that the rules no longer ask for, and which of them a guard keeps.

What no rule asks for goes only with `allow_delete`, what its source has lost only with
`allow_delete_gone`. A tag goes if the destination shows what is ours there, if every rule that
writes there was read, and if its source is known to be well: one that answers with an empty or
broken listing proves nothing, and a tag that is not listed is gone only if it does not answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import StoreError
from imgmigrate.observing.problems import unreadable
from imgmigrate.plan import Action, Change, Reason
from imgmigrate.planning.desired.unread import Unread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from imgmigrate.config.guards import Guards
    from imgmigrate.config.values.shares import Share
    from imgmigrate.observing.observe import Observer
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.rules.rule import Rule
    from imgmigrate.state.record import State

__all__ = [
    "CutOff",
    "DeleteLimit",
    "Deleting",
    "Release",
    "decide_delete",
    "limit_deletes",
    "told_limit",
]

# Stands for what a source that nobody asked shows.
_THERE = object()


class Deleting(Struct, frozen=True):
    """Turns rows that nobody asks for, or that keep what its source lost, into deletes.

    `unwanted` and `gone` say which of the two may become deletes; the places that `rules` write
    to count under all their names, with layouts relative to `base`.
    """

    observer: Observer
    state: State
    guards: Guards
    unread: Unread
    rules: Sequence[Rule]
    base: Path
    unwanted: bool
    gone: bool

    async def settle(self, changes: Sequence[Change], _: Mapping[Reference, Asked]) -> list[Change]:
        """Look at the destinations of what may go, and at the sources, and decide."""
        candidates = {change.address: change for change in changes if self._may_go(change)}
        if not candidates:
            return list(changes)
        there = await self.observer.look_at_destinations(candidates)
        told = [c for c in candidates.values() if c.source and c.reason.traits.is_by_source]
        listings = await self.observer.list_sources(
            change.source.reference.repository for change in told if change.source
        )
        answers = await self.observer.head_sources(
            change.source.reference
            for change in told
            if change.source and change.reason.traits.is_source_lost
        )
        written = Unread(self.base, self.guards)
        for rule in self.rules:
            written.add_rule(rule)
        renamed = [c for c in candidates.values() if c.source and self._is_renamed(c, written)]
        lost = await self.observer.head_sources(c.source.reference for c in renamed if c.source)
        doubts = _Doubts(self.unread, listings, answers, lost)
        decided = []
        for change in changes:
            if change.address in candidates:
                doubt = doubts.of(change)
                change = (
                    # What may be wanted is not let go either.
                    _kept(change, f"not deleted: {doubt}")
                    if doubt
                    else self._decide(change, there[change.address])
                )
            decided.append(change)
        return decided

    def _is_renamed(self, change: Change, written: Unread) -> bool:
        """Tell whether a rule writes to the place of an image that no rule asks for by its name.

        Then it may be all that is left of what its source has lost, which `unwanted` is not for.
        """
        is_by_config = not change.reason.traits.is_by_source and change.reason not in (
            Reason.MOVED,
            Reason.KEPT_LONG_ENOUGH,
        )
        return is_by_config and not self.gone and written.covers(change.address.repository)

    def _may_go(self, change: Change) -> bool:
        if not _is_tag(change.address):
            return False
        return (self.unwanted and _is_unwanted(change)) or (self.gone and _is_gone(change))

    def _decide(self, change: Change, there: Descriptor | StoreError | None) -> Change:
        if isinstance(there, StoreError):
            record = self.state.record(change.address)
            return unreadable(change.address, there, record)
        digest = there.digest if there else None
        return decide_delete(
            change, digest, self.state, is_protected=self.guards.protects(change.address)
        )


class _Doubts(Struct, frozen=True):
    """Why what was read does not bear out that an image is unwanted.

    `listings` are of source repositories, `answers` what the sources' tags themselves show, and
    `lost` what those show whose images are where rules write to under another name.
    """

    unread: Unread
    listings: dict[Repository, list[str] | StoreError]
    answers: dict[Reference, Descriptor | StoreError | None]
    lost: dict[Reference, Descriptor | StoreError | None]

    def of(self, change: Change) -> str | None:
        """Say why an image does not go; None where nothing is against it."""
        if self.unread.covers(change.address.repository):
            return f"not all rules that write to {change.address.repository} could be read"
        if change.source is None:
            return None
        source = change.source.reference
        if not change.reason.traits.is_by_source:
            found = self.lost.get(source, _THERE)
            if isinstance(found, StoreError):
                return str(found)
            return None if found else f"its source {source} is gone: that takes `allow_delete_gone`"
        listing = self.listings[source.repository]
        if isinstance(listing, StoreError):
            return str(listing)
        if not listing:
            return f"source {source.repository} lists no tags at all"
        if not change.reason.traits.is_source_lost:
            return None
        if source.tag in listing:
            return f"source {source.repository} still lists {source.tag}"
        answer = self.answers[source]
        if isinstance(answer, StoreError):
            return str(answer)
        if answer is not None:
            return f"source {source} is there, though its list of tags leaves it out"
        return None


def decide_delete(
    change: Change, destination: Digest | None, state: State, *, is_protected: bool
) -> Change:
    """Decide a row of an image of ours that is no longer asked for; it may stay as it is.

    What somebody else has put there since is never deleted. `is_protected` is what the config
    says; the record may say so too.
    """
    seen = change.model_copy(update={"before": destination})
    if destination is None:
        return seen
    if not state.owns(change.address, destination):
        detail = f"not deleted: it shows {destination.short}, which is not ours"
        return seen.model_copy(update={"detail": detail})
    record = state.record(change.address)
    if is_protected or (record is not None and record.protected):
        return seen.model_copy(update={"action": Action.BLOCKED, "reason": Reason.PROTECTED})
    return seen.model_copy(update={"action": Action.DELETE})


class DeleteLimit(Struct, frozen=True):
    """Blocks all deletes if they are more than `most` of what is recorded."""

    most: Share | None
    state: State

    async def settle(self, changes: Sequence[Change], _: Mapping[Reference, Asked]) -> list[Change]:
        """Count them against the images that are ours, if there are any."""
        if not any(change.action is Action.DELETE for change in changes):
            return list(changes)
        return limit_deletes(changes, self.most, self.state.live_count)


def limit_deletes(changes: Sequence[Change], most: Share | None, images: int) -> list[Change]:
    """Block every delete if they are more than `most` of all recorded images allows."""
    deletes = sum(change.action is Action.DELETE for change in changes)
    if most is None or deletes <= most.of(images):
        return list(changes)
    return [_limited(change) if change.action is Action.DELETE else change for change in changes]


def told_limit(
    changes: Sequence[Change], given: Share | None, guards: Guards, state: State
) -> tuple[str, ...]:
    """Say which limit kept the deletes, where it stands, and how many it allows; once, if any."""
    over, most = sum(change.is_over_limit for change in changes), given or guards.max_delete
    if not over or most is None:
        return ()
    limit = f"`max_delete` {most}" if given else f"max_delete: {most} ({guards.max_delete_at})"
    images, deletes = state.live_count, "1 delete" if over == 1 else f"{over:,} deletes"
    return (
        f"{deletes} of {images:,} images, and {limit} allows {most.of(images):,}: none is done",
    )


def _limited(change: Change) -> Change:
    is_lost = change.reason.traits.is_source_lost
    reason = Reason.MAX_DELETE_GONE if is_lost else Reason.MAX_DELETE
    return change.model_copy(update={"action": Action.BLOCKED, "reason": reason})


class CutOff(Struct, frozen=True):
    """Says of what nobody asks for, or what is kept, that a delete of it was cut off."""

    state: State

    async def settle(self, changes: Sequence[Change], _: Mapping[Reference, Asked]) -> list[Change]:
        """Tell it in the rows that say nothing else."""
        return [
            _cut_off(change)
            if (_is_unwanted(change) or _is_gone(change)) and _was_cut_off(change, self.state)
            else change
            for change in changes
        ]


def _cut_off(change: Change) -> Change:
    allowed_by = "allow_delete_gone" if _is_gone(change) else "allow_delete"
    detail = (
        "a delete of it was cut off, so the tag may show its placeholder; "
        f"apply that plan again, or plan with `{allowed_by}`"
    )
    return change.model_copy(update={"detail": detail})


class Release(Struct):
    """Lets go of what nobody asks for, if that is wanted; else it stays ours, and is counted.

    Of what there is more to say, such as why it was not deleted, there is a row, and it is kept.
    """

    forget: bool
    # How many rows the last plan left out.
    unwanted: int = 0

    async def settle(self, changes: Sequence[Change], _: Mapping[Reference, Asked]) -> list[Change]:
        """Leave out what stays ours without a row."""
        rows: list[Change] = []
        for change in changes:
            if self.forget or not _is_unwanted(change):
                rows.append(change)
            elif change.detail:
                rows.append(_kept(change, change.detail))
        self.unwanted = len(changes) - len(rows)
        return rows


def _is_unwanted(change: Change) -> bool:
    return change.action is Action.FORGET and change.reason.traits.is_unwanted


def _is_gone(change: Change) -> bool:
    return change.action is Action.KEEP and change.reason.traits.is_source_lost


def _kept(change: Change, detail: str) -> Change:
    return change.model_copy(update={"action": Action.KEEP, "detail": detail})


def _was_cut_off(change: Change, state: State) -> bool:
    is_told = change.detail is not None
    return not is_told and _is_tag(change.address) and str(change.address) in state.stand_ins


def _is_tag(address: Reference) -> bool:
    """A digest is not deleted: every tag of it would go."""
    return address.tag is not None and address.digest is None
