"""A shared state in the hands of the one process that holds it: every word to its depot.

One at a time, each made of the head that the one before left: so none needs a lock, and the first
that meets another's head ends the hold. A head with its own lease is none: who saves a plan beside
the state puts one there that has all of it.
"""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from imgmigrate.clock import timestamp
from imgmigrate.errors import StateError, StateLost
from imgmigrate.state.groups.pusher import Pusher
from imgmigrate.state.groups.spool import Spool
from imgmigrate.state.lines.snapshot import print_snapshot
from imgmigrate.state.shared.depot import Missing, Overtaken
from imgmigrate.state.shared.head import (
    MOST_SEGMENTS,
    Former,
    Mark,
    Segment,
    Shelf,
    named,
)
from imgmigrate.state.shared.reading import head_of, marks_of, segments_of
from imgmigrate.state.shared.sightings import merge_sightings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from imgmigrate.clock import Clock
    from imgmigrate.state.groups.spool import Pending
    from imgmigrate.state.holder import Progress
    from imgmigrate.state.shared.depot import Depot, Seen
    from imgmigrate.state.shared.head import Head, Lease
    from imgmigrate.state.view import View

__all__ = ["Held", "SharedJournal"]

# Days that the end of a group is remembered, whatever is compacted.
REMEMBERED_DAYS = 30
# Former snapshots that are kept, with the lines that followed each.
KEPT_FORMER = 3
# Lines that make a journal long; and those that are worth a snapshot, as a share of its records.
LONGEST_JOURNAL, SHORTEST_JOURNAL, SHARE = 100_000, 1_000, 0.25


class _Word(Struct, frozen=True):
    """A head to put there, with the files that it needs and those that it leaves."""

    head: Head
    add: Mapping[str, bytes] | None = None
    drop: Collection[str] = ()


# Makes a word of the head that is there; None is said already.
_Saying: TypeAlias = "Callable[[Head], _Word | None]"


class Held:
    """What the holder knows of the place: `seen` and `head` are what it put there last itself."""

    def __init__(
        self,
        depot: Depot,
        seen: Seen,
        head: Head,
        lease: Lease,
        clock: Callable[[], datetime],
    ) -> None:
        self._depot, self._seen, self.head, self.lease = depot, seen, head, lease
        self._clock = clock

    def tell(self, progress: Progress) -> None:
        """Say with the next word how far the run is."""
        told = self.lease.holder.model_copy(update={"progress": progress})
        self.lease = self.lease.model_copy(update={"holder": told})

    async def push(self, group: Sequence[Pending]) -> None:
        """Add a group, which may be empty, and renew the lease; StateLost if it was taken over."""
        if not group:
            await self._swap(_Word)
            return

        def word(head: Head) -> _Word | None:
            # Of a group whose answer was lost all or the first lines are there.
            rest = [line for line in group if line.sequence > head.sequence]
            return self._with_lines(head, rest) if rest else None

        await self._swap(word)

    def _with_lines(self, head: Head, group: Sequence[Pending]) -> _Word:
        """The head with one more segment; a full list of them goes on the shelf."""
        first, last = group[0].sequence, group[-1]
        name = named("journal", first, "jsonl")
        at = timestamp(self._clock())
        segment = Segment(sequence=last.sequence, head=last.hash, at=at, name=name, first=first)
        add = {name: b"".join(line.text for line in group)}
        segments, shelves = (*head.segments, segment), head.shelves
        if len(segments) > MOST_SEGMENTS:
            shelf = named("shelf", first, "json")
            add[shelf] = Shelf(segments=segments).model_dump_json(exclude_none=True).encode()
            segments, shelves = (), (*shelves, shelf)
        changed = {
            "sequence": last.sequence,
            "head": last.hash,
            "segments": segments,
            "shelves": shelves,
            "lines": head.lines + len(group),
        }
        return _Word(head.model_copy(update=changed), add)

    async def bring(self, view: View) -> _Saying:
        """Bring a snapshot that no head names yet; return the word that puts it in its place.

        What is there is kept as the newest former one. That may take as long as the snapshot is
        large, so it is no word itself, and others are said meanwhile: but none that adds lines.
        StateError leaves everything as it was.
        """
        head = self.head
        since = await segments_of(self._depot, head)
        earliest = timestamp(self._clock() - timedelta(days=REMEMBERED_DAYS))
        marks = {
            (mark.sequence, mark.head): Mark(sequence=mark.sequence, head=mark.head, at=mark.at)
            async for mark in marks_of(self._depot, head)
            if mark.at >= earliest
        }
        snapshot = named("snapshot", view.sequence, "jsonl")
        history = named("history", view.sequence, "json")
        shelf = Shelf(marks=tuple(sorted(marks.values(), key=lambda mark: mark.sequence)))
        add = {
            snapshot: b"".join(print_snapshot(view)),
            history: shelf.model_dump_json(exclude_none=True).encode(),
        }
        gone = Former(
            sequence=head.sequence,
            head=head.head,
            files=(
                *((head.snapshot,) if head.snapshot else ()),
                *(each.name for each in since),
            ),
        )
        formers = (*head.former, gone)
        drop = [name for each in formers[:-KEPT_FORMER] for name in each.files]
        drop += [*head.shelves, *((head.history,) if head.history else ())]
        changed = {
            "sequence": view.sequence,
            "head": view.head,
            "snapshot": snapshot,
            "segments": (),
            "shelves": (),
            "lines": 0,
            "history": history,
            "former": formers[-KEPT_FORMER:],
        }

        left = await self._depot.bring(add)

        def word(now: Head) -> _Word | None:
            if now.snapshot == snapshot:
                return None
            if (now.sequence, now.head) != (head.sequence, head.head):
                message = f"state {self._depot.place}: lines were added to it meanwhile"
                raise StateError(message)
            return _Word(now.model_copy(update=changed), left, drop)

        return word

    async def say(self, word: _Saying) -> None:
        """Say a word that was made before; StateLost if the lease was taken over."""
        await self._swap(word)

    async def merge_sightings(self) -> None:
        """Put one file in the place of those that were added beside the state, if they are many."""
        files = await merge_sightings(self._depot, self._clock())
        if files is None:
            return
        add, drop = files
        is_said = False

        def word(head: Head) -> _Word | None:
            nonlocal is_said
            is_first, is_said = not is_said, True
            return _Word(head, add, drop) if is_first else None

        await self._swap(word)

    async def release(self) -> None:
        """Let go of the state; if that fails, others wait for the lease to run out."""
        with contextlib.suppress(StateError):
            while True:
                try:
                    self._seen = await self._depot.swap(self._seen, self.head.free().printed())
                except Overtaken:
                    await self._catch_up()
                else:
                    return

    async def _swap(self, word: _Saying) -> None:
        """Say a word; an answer may have been lost, or a plan saved beside the state."""
        while (said := word(self.head)) is not None:
            printed = said.head.held(self.lease).printed()
            try:
                self._seen = await self._depot.swap(self._seen, printed, said.add, said.drop)
            except Overtaken:
                await self._catch_up()
            else:
                self.head = said.head
                return

    async def _catch_up(self) -> None:
        """Go on from the head that is there: one with this very lease holds what is our own."""
        seen = await self._depot.fetch()
        found = head_of(self._depot, seen)
        if seen is None or found.lease is None or found.lease.id != self.lease.id:
            raise self._lost(found.lease) from None
        self._seen, self.head = seen, found

    def _lost(self, lease: Lease | None) -> StateLost:
        """Say who has the state now."""
        who = f"it is held by {lease.holder.describe(self._clock())}" if lease else "it was freed"
        return StateLost(
            f"the hold on it was lost, and {who}",
            subject=f"state {self._depot.place}",
            hint="this process was silent for longer than its lease; what it recorded before is"
            " there: see what the other run does, then apply the same plan again",
        )


class SharedJournal(Pusher):
    """The end of a shared state's history (`writer.Journal`)."""

    def __init__(
        self,
        held: Held,
        folder: Path | None,
        *,
        renewed: float,
        clock: Callable[[], float],
        waits: Clock,
    ) -> None:
        super().__init__(
            held.push,
            Spool(folder, held.lease.id),
            lease=held.lease.seconds,
            renewed=renewed,
            clock=clock,
            waits=waits,
        )
        self._held = held

    @property
    def is_long(self) -> bool:
        """Whether reading it takes seconds."""
        return self._held.head.lines > LONGEST_JOURNAL

    async def compact(self, view: View) -> str | None:
        """Compact where that is worth its bytes; a failure costs nothing but tidiness."""
        try:
            await self.alone(self._held.merge_sightings)
        except StateLost:
            raise
        except (StateError, Missing) as error:
            return f"{error}; its sightings stay in as many files"
        lines = self._held.head.lines
        if lines < max(SHORTEST_JOURNAL, SHARE * len(view.records)) and not self.is_long:
            return None
        try:
            await self.replace(view)
        except StateLost:
            raise
        except (StateError, Missing) as error:
            return f"{error}; its journal stays as it is"
        return None

    async def replace(self, view: View) -> None:
        """Put the view there as a snapshot; the lease is renewed while that is brought."""
        await self.flush()
        word = await self._held.bring(view)
        await self.alone(lambda: self._held.say(word), renews=True)

    async def close(self) -> None:
        """Bring what is left and let go of the state; also when cancelled meanwhile."""
        try:
            await super().close()
        finally:
            if not self.is_lost:
                await self._held.release()
