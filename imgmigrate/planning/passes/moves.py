"""Find the images that `moved:` lets go to another address without a byte from the source.

A copy becomes a move where the same image, written by us, is at the old address of the same
store and nobody asks for it there any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from imgmigrate.errors import StoreError
from imgmigrate.events import Warned
from imgmigrate.oci.companions import subject_of_tag
from imgmigrate.plan import Action, Change, Reason
from imgmigrate.rules.moves import applied
from imgmigrate.state.record import Source, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from imgmigrate.events import Sink
    from imgmigrate.observing.observe import Observer
    from imgmigrate.oci.reference import Reference
    from imgmigrate.planning.desired.desired import Asked
    from imgmigrate.rules.moves import Move
    from imgmigrate.state.record import ImageRecord, State

__all__ = ["Moving"]


class Moving(Struct, frozen=True):
    """Turns copies into moves; a `sink` hears of each pair that moves nothing."""

    observer: Observer
    state: State
    moves: tuple[Move, ...]
    sink: Sink | None = None

    async def settle(
        self, changes: Sequence[Change], asked: Mapping[Reference, Asked]
    ) -> list[Change]:
        """Turn copies into moves, and say of what lets the old address go that it moved."""
        if not self.moves:
            return list(changes)
        copies = {change.address: change for change in changes if _may_move(change)}
        origins: dict[Reference, ImageRecord] = {}
        heirs: dict[Reference, Reference] = {}
        leaving = {change.address for change in changes if change.action is Action.FORGET}
        movable = self._movable()
        for record in movable:
            new = self._target(record.address)
            if new is None or record.address in asked or record.status is Status.DELETED:
                continue
            if new in copies and _is_same(record, copies[new]):
                origins[new] = record
            elif new not in leaving and self._has_moved(record, new):
                heirs[record.address] = new
        there = await self.observer.look_at_destinations(
            record.address for record in origins.values()
        )
        found = {}
        for new, record in origins.items():
            shown = there[record.address]
            if shown is None or isinstance(shown, StoreError) or shown.digest != record.digest:
                continue
            if await self.observer.missing_parts(record.address, record.filter):
                continue  # its source has them
            found[new] = record
            heirs[record.address] = new
        if self.sink is not None:
            for move in self.moves:
                about = [each for each in movable if self._move_of(each.address) is move]
                if (why := self._idle(about, asked, heirs, copies)) is not None:
                    message = f"moved: {move.old} to {move.new} moves nothing: {why}"
                    self.sink.emit(Warned("nothing_moved", message))
        return [self._row(change, found, heirs) for change in changes]

    def _row(
        self,
        change: Change,
        found: dict[Reference, ImageRecord],
        heirs: dict[Reference, Reference],
    ) -> Change:
        if (record := found.get(change.address)) is not None:
            origin = Source(reference=record.address, digest=record.digest)
            return change.model_copy(
                update={
                    "action": Action.MOVE,
                    "reason": Reason.MOVED,
                    "source": origin,
                    "filter": change.filter and change.filter.of_itself,
                    "transfer_bytes": 0,
                }
            )
        if change.action is Action.FORGET and change.address in heirs:
            return change.model_copy(
                update={"reason": Reason.MOVED, "moved_to": heirs[change.address]}
            )
        return change

    def _movable(self) -> list[ImageRecord]:
        """The records of the repositories that some pair is about, by address."""
        found = [
            record
            for repository in self.state.repositories(tombstones=True)
            if any(move.may_apply(repository) for move in self.moves)
            for record in self.state.of(repository, tombstones=True)
        ]
        return sorted(found, key=lambda record: str(record.address))

    def _target(self, old: Reference) -> Reference | None:
        """Where an address goes by the first pair that is about it; within its store only."""
        move = self._move_of(old)
        new = applied(move, old) if move is not None else None
        if new is None or new == old or new.repository.store != old.repository.store:
            return None
        return new

    def _move_of(self, old: Reference) -> Move | None:
        """The first pair that is about an address."""
        return next((move for move in self.moves if applied(move, old) is not None), None)

    def _idle(
        self,
        about: Iterable[ImageRecord],
        asked: Mapping[Reference, Asked],
        heirs: Mapping[Reference, Reference],
        copies: Mapping[Reference, Change],
    ) -> str | None:
        """Say why a pair moves none of the records that it is about; None if it does, or did."""
        # What belongs to an image may stay where an earlier version had copied it as a tag.
        live = [
            record.address
            for record in about
            if record.is_live
            and (record.address in heirs or not subject_of_tag(record.address.tag or ""))
        ]
        if any(address in heirs for address in live) or (not live and any(about)):
            return None
        if not live:
            return "nothing that is recorded is there; correct it, or remove it if that is done"
        if (still := next((each for each in live if each in asked), None)) is not None:
            return f"a rule still asks for {still}, so it stays where it is"
        new = self._target(live[0])
        if new in copies:
            return f"{live[0]} has not the image that {new} gets, so that is copied"
        return f"no rule asks for a new {new}, where {live[0]} would go"

    def _has_moved(self, record: ImageRecord, new: Reference) -> bool:
        """Tell whether the same image is recorded at the new address already."""
        heir = self.state.record(new)
        return heir is not None and heir.is_live and heir.digest == record.digest


def _may_move(change: Change) -> bool:
    return change.action is Action.COPY and change.reason == Reason.NEW


def _is_same(record: ImageRecord, copy: Change) -> bool:
    """Tell whether a record tells of the image that is to be copied, from the same source."""
    if copy.source is None or record.digest != copy.after or record.filter != copy.filter:
        return False
    return record.source == copy.source and record.copies_foreign == copy.copies_foreign
