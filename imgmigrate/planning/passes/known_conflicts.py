"""Tell conflicts that the config knows from those that nobody has decided about.

Pure but for the day, which is an argument. A plan says what was known when it was made; whoever
applies it later asks the config again, because a day may have passed and an entry may have gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.plan import Action, Known, Plan, Summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from imgmigrate.config.known import KnownConflict
    from imgmigrate.oci.reference import Digest, Reference
    from imgmigrate.plan import Change
    from imgmigrate.planning.desired.desired import Asked

__all__ = ["KnownConflicts", "mark_known", "marked"]


class KnownConflicts(Struct, frozen=True):
    """Marks the conflicts that an entry of the config covers on a day."""

    known: Sequence[KnownConflict]
    today: date

    async def settle(self, changes: Sequence[Change], _: Mapping[Reference, Asked]) -> list[Change]:
        """Mark them in their rows."""
        return mark_known(changes, self.known, self.today)


def mark_known(
    changes: Iterable[Change], known: Sequence[KnownConflict], today: date
) -> list[Change]:
    """Mark the conflicts that an entry covers today; say of the others why an entry does not."""
    return [
        _mark(change, known, today) if change.action is Action.CONFLICT else change
        for change in changes
    ]


def marked(plan: Plan, known: Sequence[KnownConflict], today: date) -> Plan:
    """The same plan with its conflicts as they are known today; it keeps its id.

    Not for a file: what it says does not match the hash.
    """
    if plan.header.undoes or not (known or any(change.known for change in plan.changes)):
        return plan
    changes = tuple(mark_known(plan.changes, known, today))
    summary = Summary.of(changes, plan.summary.unchanged)
    header = plan.header.model_copy(update={"summary": summary})
    return plan.model_copy(update={"header": header, "changes": changes})


def _mark(change: Change, known: Sequence[KnownConflict], today: date) -> Change:
    about = [each for each in known if each.concerns(change.address)]
    covering = [each for each in about if each.covers(change.address, change.before, today)]
    if covering:
        # Of several the one that holds longest, the last of them: it may renew the others.
        best = max(reversed(covering), key=lambda each: each.until)
        found = Known(until=best.until.isoformat(), because=best.because)
        return change.model_copy(update={"known": found, "detail": None})
    if not about and change.known is None:
        return change
    told = _lapsed(about, change.before) if about else change.detail
    return change.model_copy(update={"known": None, "detail": told})


def _lapsed(about: Sequence[KnownConflict], shown: Digest | None) -> str:
    same = [each for each in about if each.digest == shown]
    if same:
        return f"it was known until {max(each.until for each in same)}, which is past"
    return f"another image is known there: {about[-1].digest.short}"
