"""What the journal is told of a plan's rows: what will be written, and what was.

Pure but for the clock. It looks at the state as it is at that moment: rows of one run follow one
another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.applying.protection import is_protected
from imgmigrate.applying.worker.delete_tag import placeholder
from imgmigrate.clock import now, timestamp
from imgmigrate.errors import RowFailed
from imgmigrate.events import Outcome
from imgmigrate.plan import Action, Reason
from imgmigrate.state.record import Claim, Former, ImageRecord, Source, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgmigrate.config.guards import Guards
    from imgmigrate.events import Receipt
    from imgmigrate.oci.reference import Digest, Reference
    from imgmigrate.plan import Change
    from imgmigrate.state.record import Carried, State
    from imgmigrate.state.writer import Writer

__all__ = ["Recording"]

# Companion tags of former images that a record goes on knowing: a nightly tag has a new one a day.
MOST_LEFT = 20
_TOMBSTONES = {Action.FORGET: Status.FORGOTTEN, Action.DELETE: Status.DELETED}


class Recording(Struct, frozen=True):
    """Makes the claims and records of one run of a plan."""

    writer: Writer
    guards: Guards
    run: str
    plan_id: str

    def claims(self, todo: Iterable[Change]) -> list[Claim]:
        """Say what a run is about to write: what it replaces stays ours until it is recorded."""
        claims, deletes = [], []
        for change in todo:
            if change.action is Action.DELETE:
                stand_in = placeholder(self.plan_id, change.address).digest
                before = self._before(change)
                deletes.append(
                    Claim(address=change.address, after=stand_in, before=before, stands_in=True)
                )
            elif change.action.writes and change.after is not None:
                before = self._before(change)
                tags = tuple((e.tag, e.digest) for e in change.referrers or () if e.tag is not None)
                claims.append(
                    Claim(
                        address=change.address, after=change.after, before=before, companions=tags
                    )
                )
        return claims + deletes

    def record(self, change: Change, receipt: Receipt) -> ImageRecord:
        """Make the record of a row whose image is there; ImgmigrateError if none can be made."""
        record = self._state.record(change.address)
        change, is_partly = _brought(change, receipt), receipt.outcome is Outcome.PARTLY
        at = timestamp(now())
        if (status := _TOMBSTONES.get(change.action)) is not None and record is not None:
            return replace(
                self._gone(change, record),
                status=status,
                at=at,
                plan_id=self.plan_id,
                action=change.action.value,
            )
        if change.source is None or change.after is None:
            cause = "the plan does not say what was to be written"
            raise RowFailed(cause, subject=str(change.address), hint="plan again")
        if change.action is Action.REFER and record is not None:
            # Of the image nothing has changed: also not what it had replaced.
            return replace(
                record,
                referrers=_along(change.referrers or (), record.referrers or ()),
                referrers_pending=True if is_partly or change.referrers_unread else None,
                at=at,
                run=self.run,
                plan_id=self.plan_id,
                # What is tried again of a row of this very plan is still that row's.
                action=record.action if record.plan_id == self.plan_id else change.action.value,
            )
        origin = self._origin(change)
        if change.reason == Reason.ROLLBACK:
            origin = _before_it(record, change.address, change.after)
        before = self._before(change)
        previous = before if before != change.after else None
        source = origin.source if origin else change.source
        told = origin if change.action is Action.MOVE else record
        along = _carried(change, told)
        is_pending = is_partly or _is_pending(change, told)
        return ImageRecord(
            address=change.address,
            source=source,
            filter=origin.filter if origin else change.filter,
            digest=change.after,
            previous=previous,
            former=_former_of(record, previous, source.reference),
            undid=record.digest if record and change.reason == Reason.ROLLBACK else None,
            media_type=change.media_type or "",
            size=change.size,
            at=at,
            sequence=0,
            run=self.run,
            plan_id=self.plan_id,
            action=change.action.value,
            referrers=along,
            left=_left(record, change, along or ()),
            referrers_pending=True if is_pending else None,
            copies_foreign=_copied_foreign(change, record, origin),
            protected=is_protected(self.guards, change.address, record, origin),
        )

    def _gone(self, change: Change, record: ImageRecord) -> ImageRecord:
        """Tell of what a delete took away, also where that was ours by a claim alone.

        A crash may have lost the record of it, and it is what a rollback has to bring back.
        """
        before = self._before(change)
        if change.action is not Action.DELETE or before in (None, record.digest):
            return record
        told = _before_it(record, change.address, before)
        return replace(told, digest=before, previous=None, former=None, media_type="", size=None)

    @property
    def _state(self) -> State:
        return self.writer.state

    def _before(self, change: Change) -> Digest | None:
        """What a row replaces: behind the placeholder of a delete that was cut off, its image."""
        return self._state.behind(change.address, change.before)

    def _origin(self, change: Change) -> ImageRecord | None:
        """The record that a move takes along: where its image once came from."""
        if change.action is not Action.MOVE or change.source is None:
            return None
        record = self._state.record(change.source.reference)
        if record is None:
            cause = f"the record of {change.source.reference} is gone"
            raise RowFailed(cause, subject=str(change.address), hint="plan again")
        return record


def _is_pending(change: Change, told: ImageRecord | None) -> bool:
    """Tell whether what refers to an image is left for a plan to come."""
    if change.referrers_unread is not None or change.referrers_later is not None:
        return True
    is_as_told = change.referrers is None or change.action is Action.MOVE
    return is_as_told and _is_of(told, change) and bool(told and told.referrers_pending)


def _carried(change: Change, told: ImageRecord | None) -> tuple[Carried, ...] | None:
    """Say what went along: what the row says, else what is known of the very same image.

    `told` is the record of its address, or of where a move takes it from.
    """
    earlier = told.referrers if told is not None and _is_of(told, change) else None
    if change.referrers is not None:
        is_from_there = change.action is Action.MOVE  # then they are not here for that
        return change.referrers if is_from_there else _along(change.referrers, earlier or ())
    brings = change.action in (Action.COPY, Action.UPDATE) and not change.is_near
    is_told = earlier is not None or change.referrers_unread is not None
    return () if brings and not is_told else earlier


def _left(
    record: ImageRecord | None, change: Change, along: tuple[Carried, ...]
) -> tuple[Carried, ...] | None:
    """Say what stays under tags of its own of the images that were here: it stays ours."""
    if record is None:
        return None
    told = () if _is_of(record, change) else record.referrers or ()
    tags = {each.tag for each in along}
    left = {each.tag: each for each in (*(record.left or ()), *told) if each.tag not in tags}
    left.pop(None, None)
    return tuple(left.values())[-MOST_LEFT:] or None


def _brought(change: Change, receipt: Receipt) -> Change:
    """Leave out of a row which referrers did not go along: they are not ours."""
    if not receipt.lacking:
        return change
    there = tuple(each for each in change.referrers or () if each.key not in receipt.lacking)
    return change.model_copy(update={"referrers": there})


def _along(brought: tuple[Carried, ...], earlier: tuple[Carried, ...]) -> tuple[Carried, ...]:
    """Add what went along earlier and is still there, whatever the source lists by now."""
    there = {each.key for each in brought}
    tags = {each.tag for each in brought if each.tag is not None}
    kept = (each for each in earlier if each.key not in there)
    return (*brought, *(each for each in kept if each.tag not in tags))


def _is_of(told: ImageRecord | None, change: Change) -> bool:
    return told is not None and told.is_live and told.digest == change.after


def _copied_foreign(
    change: Change, record: ImageRecord | None, origin: ImageRecord | None
) -> bool | None:
    """Say whether the image's foreign layers are there: by this row, or as they were before."""
    if change.copies_foreign or origin is not None:
        return change.copies_foreign or (origin.copies_foreign if origin is not None else None)
    if change.reason == Reason.REPLACE:
        return None  # written again, as the rule has it now
    return record.copies_foreign if record is not None and _is_of(record, change) else None


def _before_it(record: ImageRecord | None, address: Reference, digest: Digest) -> ImageRecord:
    """Say where the image that is put back came from: from where the address always did.

    Which digest it had there, and which platforms of it were kept, is known where the record
    tells of this very image, or of what it replaced. Elsewhere its own digest stands for it, so
    that the next plan sees that the source shows something else.
    """
    if record is None:
        cause = "its record is gone, so it is not known where the image came from"
        raise RowFailed(cause, subject=str(address), hint="plan the rollback again")
    if record.digest == digest:
        return record
    if record.previous == digest and record.former is not None:
        told = record.former
        return replace(record, source=told.source, filter=told.filter, copies_foreign=None)
    source = Source(reference=record.source.reference, digest=digest)
    return replace(record, source=source, filter=None, copies_foreign=None)


def _former_of(
    record: ImageRecord | None, previous: Digest | None, source: Reference
) -> Former | None:
    """Say where the image that is replaced came from, unless its digest and `source` tell it."""
    if record is None or previous is None or record.digest != previous:
        return None
    told = Source(reference=source, digest=previous)
    if record.filter is None and record.source == told:
        return None
    return Former(source=record.source, filter=record.filter)
