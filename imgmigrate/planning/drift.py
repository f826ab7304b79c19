"""Find out who has moved since the record: the source, the destination, or both.

Looks at what the state records, not at what the rules ask for. What has moved becomes a `drift`
row, which an apply skips. Only two kinds of row touch the state, and neither makes a digest ours
that is not: a record whose image is gone becomes a tombstone (`forget`), and one whose
destination holds exactly what its source shows now is brought up to date (`adopt`, DESIGN
section 5: only where D = S).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import NotFound, StoreError
from imgmigrate.observing.globs import Globs
from imgmigrate.observing.problems import Problems, merged
from imgmigrate.observing.scope import choose_recorded
from imgmigrate.oci.manifest import Descriptor
from imgmigrate.plan import Action, Change, Reason
from imgmigrate.planning.passes.wholeness import lacking
from imgmigrate.state.record import Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imgmigrate.observing.observe import Observer
    from imgmigrate.oci.reference import Digest, Reference, Repository
    from imgmigrate.planning.desired.delta import Deltas
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.state.record import ImageRecord, State

__all__ = ["OnlyTold", "decide_drift", "find_drift"]


async def find_drift(
    observer: Observer,
    state: State,
    target: tuple[str, ...],
    exclude: tuple[str, ...],
    *,
    deltas: Deltas | None = None,
) -> tuple[list[Change], int]:
    """Compare every live record with both sides; return what moved and how many did not.

    That the source of `deltas` does not carry an image says nothing of it.
    """
    targets, excludes = (
        Globs(parameter, texts, of="the state")
        for parameter, texts in (("target", target), ("exclude", exclude))
    )
    records = list(choose_recorded(state, targets, excludes))
    targets.check()
    excludes.check()
    sources = await observer.head_sources({record.source.reference for record in records})
    there = await observer.look_at_destinations(record.address for record in records)
    vanished = await _vanished(observer, records, sources)
    problems, changes, unchanged = Problems(state), [], 0
    for record in records:
        reference = record.source.reference
        found = vanished.get(reference.repository) or sources[reference]
        is_delta = deltas is not None and deltas.covers(record.address, reference)
        if is_delta and (found is None or isinstance(found, NotFound)):
            found = _as_recorded(record)
        seen = there[record.address]
        if isinstance(found, StoreError):
            problems.add(record.address, found)
        elif isinstance(seen, StoreError):
            problems.add(record.address, seen)
        else:
            missing = await observer.missing_parts(record.address, record.filter) if seen else ()
            if isinstance(missing, StoreError):
                problems.add(record.address, missing)
                continue
            change = decide_drift(
                record,
                found.digest if found else None,
                seen.digest if seen else None,
                missing,
            )
            if change is None:
                unchanged += 1
            else:
                changes.append(_described(change, found))
    return merged([*changes, *problems.changes()]), unchanged


def _as_recorded(record: ImageRecord) -> Descriptor:
    """Describe a source as it was: only its digest is asked for."""
    return Descriptor(record.media_type, record.source.digest, record.size or 0)


def decide_drift(
    record: ImageRecord,
    source: Digest | None,
    destination: Digest | None,
    missing: tuple[Digest, ...] = (),
) -> Change | None:
    """Decide one live record, pure; None where both sides are as recorded.

    `source` and `destination` are what the two sides show now, None where there is nothing, and
    `missing` what is not there of the destination's image.
    """
    source_moved = source != record.source.digest
    if destination == record.digest and not source_moved and not missing:
        return None
    told = [_told(record, source)] if source_moved else []
    told += [lacking(missing)] if missing else []
    now = Source(reference=record.source.reference, digest=source or record.source.digest)

    def change(action: Action, reason: Reason) -> Change:
        return Change(
            address=record.address,
            action=action,
            reason=reason,
            source=now,
            before=destination,
            after=destination if action is Action.ADOPT else None,
            recorded=record.digest,
            media_type=record.media_type,
            filter=record.filter,
            detail="; ".join(told) or None,
        )

    if destination is None:
        return change(Action.FORGET, Reason.DESTINATION_GONE)
    if missing:
        return change(Action.DRIFT, Reason.INCOMPLETE)
    # What a filter leaves of the source is not known without reading it: then it stays drift.
    if destination != record.digest and destination == source and record.filter is None:
        return change(Action.ADOPT, Reason.ALREADY_THERE)
    if destination == record.digest and source is not None:
        # Undone, and not moved since: the source shows what was there before the rollback.
        is_undone = source == record.undid
        return change(Action.DRIFT, Reason.ROLLED_BACK if is_undone else Reason.SOURCE_MOVED)
    if destination == record.digest:
        return change(Action.DRIFT, Reason.SOURCE_GONE)
    return change(Action.DRIFT, Reason.BOTH_MOVED if source_moved else Reason.CHANGED_HERE)


class OnlyTold(Struct, frozen=True):
    """Tells of records whose image is gone and lets none go, where nobody owns the state."""

    is_owned: bool

    async def settle(self, changes: Sequence[Change], _: Mapping[Reference, Asked]) -> list[Change]:
        """Turn rows that let go into rows that tell."""
        if self.is_owned:
            return list(changes)
        return [
            change.model_copy(update={"action": Action.DRIFT})
            if change.action is Action.FORGET
            else change
            for change in changes
        ]


def _told(record: ImageRecord, source: Digest | None) -> str:
    """Say how the source moved: its recorded digest stands in no other field of the row."""
    now = source.short if source else "gone"
    return f"source {record.source.reference}: recorded {record.source.digest.short}, now {now}"


def _described(change: Change, found: Descriptor | None) -> Change:
    """Name the type of what is adopted, which may be another than the recorded image's."""
    if change.action is not Action.ADOPT or found is None:
        return change
    return change.model_copy(update={"media_type": found.media_type})


async def _vanished(
    observer: Observer,
    records: list[ImageRecord],
    sources: dict[Reference, Descriptor | StoreError | None],
) -> dict[Repository, StoreError]:
    """Find source repositories that cannot even be listed: their images are unreadable, not gone.

    A tag that is not there does not tell whether its repository is.
    """
    doubtful = {
        record.source.reference.repository
        for record in records
        if sources[record.source.reference] is None
    }
    listings = await observer.relist_sources(doubtful)
    return {repo: found for repo, found in listings.items() if isinstance(found, StoreError)}
