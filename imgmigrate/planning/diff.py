"""Decide what to change: desired x observed x recorded -> one change.

Pure: no I/O and no clock. Everything it needs is an argument, so every row of the table in
DESIGN section 5 is one parametrised test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.observing.problems import failed
from imgmigrate.plan import Action, Change, Reason
from imgmigrate.rules.rule import Overwrite
from imgmigrate.state.record import Source

if TYPE_CHECKING:
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.platforms import IndexForm
    from imgmigrate.oci.reference import Digest, Reference
    from imgmigrate.state.record import Filter, ImageRecord, State
    from imgmigrate.vocabulary.forms import FormReason

__all__ = ["Exceptions", "Wish", "decide", "decide_unwanted"]


class Wish(Struct, frozen=True):
    """What the rules ask for at one address. `found` is None if the source does not have it.

    Where a rule names platforms, `filter` says which and `kept` is the digest of what they leave;
    a chart, or a signature, `runs_nowhere`, as far as that is known. `form` is what the rule says
    becomes of an index, and `form_reason` what decided it, where some of one is left out. With
    `copies_foreign` layers that are not to be distributed go along.
    """

    address: Reference
    source: Reference
    found: Descriptor | None
    overwrite: Overwrite
    explicit: bool
    filter: Filter | None = None
    kept: Digest | None = None
    runs_nowhere: bool = False
    form: IndexForm | None = None
    form_reason: FormReason | None = None
    copies_foreign: bool = False


class Exceptions(Struct, frozen=True):
    """What the command line asked for at this address, and what only a look inside tells.

    `equivalent`: both sides are indexes that list the same children in other bytes.
    `incomplete`: the destination shows the image, and has lost some of its parts.
    """

    replace: bool = False
    allow_overwrite: bool = False
    equivalent: bool = False
    incomplete: bool = False


def decide(
    wish: Wish, destination: Digest | None, state: State, exceptions: Exceptions
) -> Change | None:
    """Decide one address that the rules ask for; None is "nothing to say": unchanged or no row."""
    record = state.record(wish.address)
    recorded = record.digest if record else None
    live = record is not None and record.is_live
    if wish.found is None:
        return _source_gone(wish, destination, record, state)
    origin = wish.found.digest
    wanted = wish.kept or origin

    def change(action: Action, reason: Reason) -> Change:
        writes = action.writes or action is Action.ADOPT
        return Change(
            address=wish.address,
            action=action,
            reason=reason,
            source=Source(reference=wish.source, digest=origin),
            before=destination,
            after=wanted if writes else None,
            recorded=recorded,
            media_type=wish.found.media_type if wish.found else None,
            filter=wish.filter,
            platforms=() if wish.runs_nowhere else None,
            form_reason=wish.form_reason,
            copies_foreign=True if wish.copies_foreign and action.writes else None,
        )

    if destination is None:
        return change(Action.COPY, Reason.DESTINATION_LOST if live else Reason.NEW)
    # What was let go is as sparse as it was.
    if destination == wanted and recorded == wanted and _is_other_part(record, wish):
        return change(Action.UPDATE, Reason.PLATFORMS_CHANGED)
    if destination == wanted:
        # A record of the same bytes may tell of another choice, or of an index that has moved
        # in parts that are not chosen: then only the record changes.
        is_recorded = live and recorded == wanted and _tells(record, wish, origin)
        # Whether it is recorded too, only a state tells.
        is_settled = is_recorded or not state.is_known
        if is_settled and exceptions.replace:
            return change(Action.UPDATE, Reason.REPLACE)
        if exceptions.incomplete:
            return change(Action.UPDATE, Reason.INCOMPLETE)
        return None if is_settled else change(Action.ADOPT, Reason.ALREADY_THERE)
    return change(*_differing(wish, destination, state, exceptions, live=live))


def _differing(
    wish: Wish, destination: Digest, state: State, exceptions: Exceptions, *, live: bool
) -> tuple[Action, Reason]:
    """Decide what to do about a destination that shows something else."""
    if exceptions.allow_overwrite and not state.owns(wish.address, destination):
        return Action.UPDATE, Reason.OVERWRITE_ALLOWED
    if wish.overwrite is Overwrite.NEVER:
        return Action.KEEP, Reason.OVERWRITE_NEVER
    if state.owns(wish.address, destination):
        return Action.UPDATE, _why_ours(wish, destination, state.record(wish.address))
    if wish.overwrite is Overwrite.ALWAYS:
        return Action.UPDATE, Reason.OVERWRITE_ALWAYS
    if exceptions.equivalent and wish.overwrite is Overwrite.EQUIVALENT:
        return Action.UPDATE, Reason.OVERWRITE_EQUIVALENT
    if not state.is_known:
        return Action.UNKNOWN, Reason.NO_STATE
    if exceptions.equivalent:
        return Action.CONFLICT, Reason.EQUIVALENT
    return Action.CONFLICT, Reason.CHANGED_HERE if live else Reason.FOREIGN


def _why_ours(wish: Wish, destination: Digest, record: ImageRecord | None) -> Reason:
    if record is None or wish.found is None:
        return Reason.SOURCE_MOVED
    if record.source.digest == wish.found.digest and record.filter != wish.filter:
        is_same = record.filter is not None and record.filter.chooses_as(wish.filter)
        return Reason.FORM_CHANGED if is_same else Reason.PLATFORMS_CHANGED
    wanted = wish.kept or wish.found.digest
    is_undone = record.undid == wanted and record.digest == destination
    return Reason.ROLLED_BACK if is_undone else Reason.SOURCE_MOVED


def _is_other_part(record: ImageRecord | None, wish: Wish) -> bool:
    """Tell whether an index is there, by its record, without all that is wanted of it now."""
    choice = record.filter if record is not None else None
    return choice is not None and choice.is_sparse and choice != wish.filter


def _tells(record: ImageRecord | None, wish: Wish, origin: Digest) -> bool:
    """Tell whether a record names the filter and the source's digest that are wanted now."""
    if record is None:
        return False
    return record.filter == wish.filter and record.source.digest == origin


def _source_gone(
    wish: Wish, destination: Digest | None, record: ImageRecord | None, state: State
) -> Change | None:
    if record is not None and record.is_live:
        return Change(
            address=wish.address,
            action=Action.KEEP,
            reason=Reason.SOURCE_GONE,
            source=record.source,
            before=destination,
            recorded=record.digest,
            media_type=record.media_type,
        )
    if not wish.explicit:
        return None
    detail = f"source {wish.source}: not found; correct the config, or remove it there"
    row = failed(wish.address, Reason.SOURCE_MISSING, detail, record)
    if destination is not None and not state.is_known:
        # It may be ours, and kept although its source is gone: no mistake then.
        return row.model_copy(update={"action": Action.UNKNOWN, "before": destination})
    return row


def decide_unwanted(record: ImageRecord, *, still_selected: bool, rule_exists: bool) -> Change:
    """Decide a live record whose address the rules, as the source lists it now, do not ask for."""
    if still_selected:
        action, reason = Action.KEEP, Reason.SOURCE_GONE
    else:
        action, reason = Action.FORGET, Reason.DESELECTED if rule_exists else Reason.RULE_REMOVED
    return Change(
        address=record.address,
        action=action,
        reason=reason,
        source=record.source,
        recorded=record.digest,
        media_type=record.media_type,
    )
