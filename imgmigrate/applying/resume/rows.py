"""Sort the rows of a plan before anything runs: whose receipt is known already, what is left.

Pure. Rows are bound to the state one by one (DESIGN section 7), in this order: done, stale, to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.applying.protection import is_protected
from imgmigrate.applying.resume.plan_checks import stale
from imgmigrate.errors import GuardError, RowConflict, RowFailed
from imgmigrate.events import Outcome, Receipt
from imgmigrate.plan import Action, Reason
from imgmigrate.state.record import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgmigrate.config.guards import Guards
    from imgmigrate.plan import Change, Plan
    from imgmigrate.state.record import ImageRecord, State

__all__ = ["overtaken", "sort_rows"]


def sort_rows(plan: Plan, state: State, guards: Guards) -> tuple[list[Change], list[Receipt]]:
    """Split a plan into rows to do and the receipts of rows that are settled already."""
    todo, settled = [], []
    settler = _Settler(plan, state, guards)
    for change in plan.changes:
        if change.action.is_told:
            continue
        receipt = settler.settle(change)
        if receipt is not None:
            settled.append(receipt)
        elif settler.lacks_referrers(change):
            todo.append(_only_referrers(change))
        else:
            todo.append(change)
    return todo, settled


def overtaken(plan: Plan, settled: Sequence[Receipt]) -> list[Receipt]:
    """The receipts of rows under which the state has moved since the plan was made."""
    planned = {c.address for c in plan.changes if c.action is Action.CONFLICT}
    return [
        receipt
        for receipt in settled
        if receipt.outcome is Outcome.CONFLICT and receipt.address not in planned
    ]


class _Settler(Struct, frozen=True):
    plan: Plan
    state: State
    guards: Guards

    def settle(self, change: Change) -> Receipt | None:
        """The receipt of a row that is not to be done; None for one that is."""
        if not change.is_understood:
            what = f"the reason {change.reason} of a {change.action}"
            if not change.action.is_understood:
                what = f"the action {change.action}"
            hint = "apply it with the imgmigrate that planned it"
            cause = f"this version does not know {what}"
            error = RowFailed(cause, subject=str(change.address), hint=hint)
            return Receipt(change.address, Outcome.FAILED, error=error)
        if change.action is Action.ERROR:
            subject = None if change.detail else str(change.address)
            error = RowFailed(change.detail or str(change.reason), subject=subject)
            return Receipt(change.address, Outcome.FAILED, error=error)
        if change.is_known:
            return Receipt(change.address, Outcome.KNOWN)
        if change.action in (Action.CONFLICT, Action.UNKNOWN):
            # A later version may have further reasons: then the reason is all there is to say.
            cause = change.reason.traits.cause or f"is a conflict ({change.reason})"
            hint = "plan again with `allow_overwrite` to replace it, or exclude it"
            if self.plan.header.undoes:
                hint = "roll back what wrote it last, or exclude it"
            conflict = RowConflict(cause, subject=f"destination {change.address}", hint=hint)
            return Receipt(change.address, Outcome.CONFLICT, error=conflict)
        record = self.state.record(change.address)
        if self.lacks_referrers(change):
            return None
        if record is not None and self._is_done(change, record):
            return Receipt(change.address, Outcome.ALREADY, record.digest)
        if self._is_stale(change, record):
            return stale(change, record)
        if change.action is Action.DELETE and is_protected(self.guards, change.address, record):
            cause = "not deleted: it has been protected since the plan"
            hint = "take it out of protect, then imgmigrate state unprotect lets it go"
            refused = GuardError(cause, subject=str(change.address), hint=hint)
            return Receipt(change.address, Outcome.FAILED, error=refused)
        return self._settle_move(change)

    def lacks_referrers(self, change: Change) -> bool:
        """Tell whether this plan brought a row's image, and not all that was to go along.

        Of what nobody could look for it knows no more than it did.
        """
        record = self.state.record(change.address)
        if record is None or record.plan_id != self.plan.plan_id or not record.referrers_pending:
            return False
        there = {each.key for each in record.referrers or ()}
        lacks = any(each.key not in there for each in change.referrers or ())
        return lacks and _shows(record, change)

    def _settle_move(self, change: Change) -> Receipt | None:
        """A move takes its origin's record along: without it there is nothing to record."""
        if change.action is not Action.MOVE or change.source is None:
            return None
        origin = self.state.record(change.source.reference)
        if origin is not None and origin.digest == change.source.digest:
            return None
        cause = f"the record of {change.source.reference} moved since the plan"
        hint = "plan again for this image"
        error = RowConflict(cause, subject=str(change.address), hint=hint)
        return Receipt(change.address, Outcome.CONFLICT, error=error)

    def _is_done(self, change: Change, record: ImageRecord) -> bool:
        # A record of this very plan may have come from another of its addresses (`state mv`).
        is_own = record.plan_id == self.plan.plan_id
        is_newer = record.sequence > self.plan.header.state.sequence
        return (is_own or is_newer) and _shows(record, change)

    def _is_stale(self, change: Change, record: ImageRecord | None) -> bool:
        bound = self.plan.header.state
        if record is not None and (bound.lineage is None or record.sequence > bound.sequence):
            return True
        return (record.digest if record else None) != change.recorded


def _only_referrers(change: Change) -> Change:
    """Leave of a row whose image is there what refers to it.

    A move goes on as it is: its origin is warranted by a record, and not by a rule.
    """
    if change.action is Action.MOVE:
        return change
    left = {
        "action": Action.REFER,
        "reason": Reason.NEW_REFERRERS,
        "before": change.after,
        "recorded": change.after,
        "kept_as": None,
        "transfer_bytes": change.referrer_bytes,
        "unsure_bytes": change.referrer_bytes,
        "spared_bytes": None,
    }
    return change.model_copy(update=left)


def _shows(record: ImageRecord, change: Change) -> bool:
    """Tell whether a record shows what the row asks for."""
    if change.action is Action.FORGET:
        return not record.is_live
    if change.action is Action.DELETE:
        return record.status is Status.DELETED
    return record.is_live and record.digest == change.after
