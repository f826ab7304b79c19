"""Decide how to undo what a run did at one address: record x destination -> one change.

Pure. What was overwritten or deleted comes back by its digest, from the destination's own
repository; what was new stays, unless deleting is allowed. Only our own work is touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from imgmigrate.observing.problems import failed
from imgmigrate.plan import Action, Change, Reason
from imgmigrate.state.record import Source, Status

if TYPE_CHECKING:
    from imgmigrate.oci.manifest import Descriptor
    from imgmigrate.oci.reference import Digest, Reference
    from imgmigrate.state.record import Filter, ImageRecord, State

__all__ = ["Deed", "decide_undo", "overtaken"]

# What put an image where there was none.
_NEW = (Action.COPY, Action.MOVE)


class Deed(Struct, frozen=True):
    """What a run did at one address; `action` is None where nobody remembers."""

    record: ImageRecord
    action: Action | None

    @classmethod
    def of(cls, record: ImageRecord, planned: Action | None = None) -> Deed:
        """Read a record; `planned` is what the plan's own row says, if the plan is at hand."""
        if record.status is Status.DELETED:
            return cls(record, Action.DELETE)
        if record.status is Status.FORGOTTEN:
            return cls(record, Action.FORGET)
        if planned is not None:
            return cls(record, planned)
        if record.action in list(Action):
            return cls(record, Action(record.action))
        # Of an earlier version, or of a later one.
        return cls(record, Action.UPDATE if record.previous else None)

    @property
    def former(self) -> Digest | None:
        """The digest that has to come back; None if there is none."""
        if self.action is Action.DELETE:
            return self.record.digest
        return self.record.previous if self.action is Action.UPDATE else None

    @property
    def absent(self) -> Filter | None:
        """Say what is not there on purpose of the image that has to come back."""
        told = self.record if self.action is Action.DELETE else self.record.former
        return told.filter.of_itself if told is not None and told.filter is not None else None

    @property
    def wanted(self) -> Reference | None:
        """Where `former` still is, if it is."""
        former = self.former
        return self.record.address.repository.at(former) if former else None


def decide_undo(
    deed: Deed,
    there: Digest | None,
    former: Descriptor | None,
    state: State,
    *,
    allow_delete: bool = False,
    is_protected: bool = False,
) -> Change | None:
    """Decide one address; None where there is nothing to undo.

    `there` is what the destination shows, `former` what it has by the former digest.
    `is_protected` is what the config says; the record may say so too.
    """
    record, wanted = deed.record, deed.wanted
    if wanted is not None:
        return _put_back(deed, wanted, there, former, state)
    if deed.action is Action.FORGET:
        if there != record.digest:
            return None
        return _row(record, Action.ADOPT, before=there, after=there, source=record.source)
    if deed.action is None:
        detail = "the state does not tell whether the run brought it or found it there; "
        return _row(record, Action.KEEP, Reason.STAYS, detail=f"{detail}name the plan's file")
    if deed.action not in _NEW:  # adopted, or written again as it was
        return None
    if not allow_delete or record.address.tag is None or record.address.digest is not None:
        return _row(record, Action.KEEP, Reason.STAYS)
    if there is None:
        return _row(record, Action.FORGET, Reason.DESTINATION_GONE)
    if not state.owns(record.address, there):
        return _row(record, Action.CONFLICT, Reason.CHANGED_HERE, before=there)
    if is_protected or record.protected:
        return _row(record, Action.BLOCKED, Reason.PROTECTED, before=there)
    return _row(record, Action.DELETE, before=there, source=record.source)


def overtaken(record: ImageRecord) -> Change:
    """Say that another run has written an address since: that one has to be undone first."""
    what = "deleted it" if record.status is Status.DELETED else f"recorded {record.digest.short}"
    detail = f"run {record.run} {what} at {record.at}; roll that back first"
    return _row(record, Action.CONFLICT, Reason.WRITTEN_SINCE, detail=detail)


def _put_back(
    deed: Deed,
    wanted: Reference,
    there: Digest | None,
    former: Descriptor | None,
    state: State,
) -> Change:
    record, digest = deed.record, wanted.digest
    if there is not None and there != digest and not state.owns(record.address, there):
        reason = Reason.CHANGED_HERE if record.is_live else Reason.FOREIGN
        source = Source(reference=wanted, digest=digest) if digest else None
        return _row(record, Action.CONFLICT, reason, before=there, source=source)
    if former is None or digest is None:
        detail = f"destination {wanted}: it is not there any more, so it cannot be put back"
        return failed(record.address, Reason.PREVIOUS_GONE, detail, record)
    action = Action.UPDATE if there else Action.COPY
    return _row(
        record,
        Action.ADOPT if there == digest else action,
        source=Source(reference=wanted, digest=digest),
        before=there,
        after=digest,
        media_type=former.media_type,
        filter=deed.absent,
        transfer_bytes=0,
    )


def _row(
    record: ImageRecord, action: Action, reason: Reason = Reason.ROLLBACK, **fields: Any
) -> Change:
    fields.setdefault("media_type", record.media_type or None)
    return Change(
        address=record.address, action=action, reason=reason, recorded=record.digest, **fields
    )
