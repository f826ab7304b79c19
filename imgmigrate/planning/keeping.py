"""Give what is about to be replaced a tag of its own, in rows of the same plan (`keep_previous`).

A manifest that no tag names is soon collected by many registries, and then there is no way back.
Such a tag is recorded as ours with its own repository as the source: no rule asks for it, and
none lets it go. What cannot be kept is not replaced: its row becomes an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imgmigrate.errors import StoreError
from imgmigrate.oci.reference import is_tag
from imgmigrate.plan import KEEP_PREVIOUS, Action, Change
from imgmigrate.planning.diff import failed
from imgmigrate.state.record import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from imgmigrate.config.kept import KeptName
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest, Reference
    from imgmigrate.planning.observe import Observer
    from imgmigrate.state.record import State

__all__ = ["Keeping"]

# A tag that moves more often in a day is kept by {digest}, not by numbers.
MOST_A_DAY = 99

_Seen = dict["Reference", "Descriptor | StoreError | None"]


class _Unkept(Exception):
    """Why something cannot be kept."""


@dataclass(slots=True)
class Keeping:
    """Adds the rows that keep what updates and deletes replace; `day` is the plan's, in UTC."""

    observer: Observer
    state: State
    name: KeptName
    day: datetime
    _chosen: set[Reference] = field(default_factory=set)

    async def settle(self, changes: Sequence[Change], asked: Iterable[Reference]) -> list[Change]:
        """Return the changes with a row more for each that replaces something."""
        self._chosen.clear()
        taken = {change.address for change in changes} | set(asked)
        settled: list[Change] = []
        pairs: list[tuple[Change, Digest, Reference]] = []
        for change in changes:
            tag, before = change.address.tag, change.before
            if tag is None or before is None or not self._replaces(change):
                settled.append(change)
                continue
            try:
                kept = self._choose(change, self.name.of(tag, self.day, before), before, taken)
            except _Unkept as error:
                settled.append(self._failed(change, str(error)))
            else:
                pairs.append((change, before, kept))
        seen = await self.observer.look_at_destinations(
            address for _, before, kept in pairs for address in (kept, kept.repository.at(before))
        )
        for change, before, kept in pairs:
            settled += self._rows(change, before, kept, seen)
        return settled

    def _replaces(self, change: Change) -> bool:
        """Tell whether a row takes a tag from a digest that nothing else has to name."""
        record = self.state.record(change.address)
        is_kept = record is not None and record.keeps_previous
        is_other = change.before != change.after and not is_kept
        return change.action in (Action.UPDATE, Action.DELETE) and is_other

    def _choose(
        self, change: Change, name: str, before: Digest, taken: set[Reference]
    ) -> Reference:
        """Find the tag: numbered where that day's is kept already, with another digest."""
        for number in range(1, MOST_A_DAY + 1):
            text = name if number == 1 else f"{name}-{number}"
            if not is_tag(text):
                msg = f"{text} would be its name, which is too long for a tag"
                raise _Unkept(msg)
            kept = change.address.with_tag(text)
            record = self.state.record(kept)
            is_kept = record is not None and record.is_live and record.keeps_previous
            if kept in taken and not is_kept:
                msg = f"{kept} would be its name, and that is an address of this plan"
                raise _Unkept(msg)
            # In a rollback the kept tag may have a row of its own, to stay or to go.
            is_other = is_kept and (kept in taken or record is None or record.digest != before)
            if not is_other and kept not in self._chosen:
                self._chosen.add(kept)
                return kept
        msg = f"{name} and {MOST_A_DAY - 1} numbers after it are taken"
        raise _Unkept(msg)

    def _rows(
        self, change: Change, before: Digest, kept: Reference, seen: _Seen
    ) -> tuple[Change, ...]:
        there, origin = seen[kept], seen[kept.repository.at(before)]
        if isinstance(there, StoreError):
            return (self._failed(change, str(there)),)
        if isinstance(origin, StoreError):
            return (self._failed(change, str(origin)),)
        if origin is None:
            return (self._failed(change, f"{before} is not to be had by its digest"),)
        shown = there.digest if there else None
        if shown is not None and shown != before:
            return (self._failed(change, f"{kept} shows something else, {shown.short}"),)
        replaced = change.model_copy(update={"kept_as": kept})
        record = self.state.record(kept)
        if shown and record is not None and record.is_live and record.digest == before:
            return (replaced,)
        row = Change(
            address=kept,
            action=Action.ADOPT if shown else Action.COPY,
            reason=KEEP_PREVIOUS,
            source=Source(reference=kept.repository.at(before), digest=before),
            before=shown,
            after=before,
            recorded=record.digest if record else None,
            media_type=origin.media_type,
            transfer_bytes=0,
        )
        return replaced, row

    def _failed(self, change: Change, why: str) -> Change:
        detail = f"keep_previous: what {change.address} shows cannot be kept: {why}"
        return failed(change.address, "not_kept", detail, self.state.record(change.address))
