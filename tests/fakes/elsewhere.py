"""A kind of state that is in no folder: what an object store or a database would be.

It keeps the promises of `state.base.StateStore` in the memory of this process, by the name in
its address, `memory://NAME`. Its lines are durable in groups, as those of the others are.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgmigrate.clock import now
from imgmigrate.errors import StateError, StateLocked
from imgmigrate.state.entries import decode
from imgmigrate.state.holder import Holder, Lock, Progress
from imgmigrate.state.sightings import Sighting, Sightings
from imgmigrate.state.view import View
from imgmigrate.state.writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence
    from pathlib import Path

    from imgmigrate.state.memory import StateInMemory
    from imgmigrate.state.sightings import Key

__all__ = ["Kept", "StateElsewhere"]

# Lines that a crash may lose at once.
GROUP = 4


@dataclass
class Kept:
    """What is there of one state: its lines, those that it began with, and who holds it."""

    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    durable: int = 0
    holder: Holder | None = None
    compacted: list[int] = field(default_factory=list)
    flushes: int = 0
    sightings: list[Sighting] = field(default_factory=list)


class StateElsewhere:
    """One state of `everything`, by name."""

    def __init__(self, place: Path | str, everything: dict[str, Kept]) -> None:
        self.place = str(place)
        self.identity = self.place
        self.kept = everything.setdefault(self.place, Kept())

    async def load(self) -> View:
        """Replay the lines; a reader needs no lock."""
        await asyncio.sleep(0)
        view = View()
        for sequence, (head, entry) in enumerate(list(self.kept.lines), 1):
            view.apply(sequence, head, decode({"sequence": sequence, **entry}))
        return view

    async def look(self) -> StateInMemory:
        """Show what was replayed."""
        return (await self.load()).state()

    async def remembers(self, sequence: int, head: str) -> bool:
        """Every line is remembered."""
        await asyncio.sleep(0)
        if sequence == 0:
            return head == ""
        lines = self.kept.lines
        return sequence <= len(lines) and lines[sequence - 1][0] == head

    async def lock(self) -> Lock:
        """Tell who has the lease."""
        return Lock(self.kept.holder is not None, self.kept.holder)

    async def backups(self) -> tuple[str, ...]:
        """Name the points at which it was compacted."""
        return tuple(f"{self.place}@{each}" for each in self.kept.compacted)

    def _tell(self, progress: Progress) -> None:
        if self.kept.holder is not None:
            self.kept.holder = self.kept.holder.model_copy(update={"progress": progress})

    async def sightings(self, keys: Collection[Key] | None = None) -> Sightings:
        """What was seen at sources."""
        await asyncio.sleep(0)
        return Sightings.of(self.kept.sightings, now())

    async def add_sightings(self, batch: Sequence[Sighting]) -> None:
        """Keep it."""
        await asyncio.sleep(0)
        self.kept.sightings += batch

    @asynccontextmanager
    async def writer(self, *, command: str, lock_timeout: float = 0) -> AsyncIterator[Writer]:
        """Take the lease."""
        deadline = asyncio.get_running_loop().time() + lock_timeout
        while self.kept.holder is not None:
            if asyncio.get_running_loop().time() >= deadline:
                who = self.kept.holder.describe(now())
                raise StateLocked(f"locked by {who}", subject=f"state {self.place}")
            await asyncio.sleep(0)
        self.kept.holder = Holder.me(command, now())
        try:
            journal = _Journal(self.kept)
            writer = Writer(await self.load(), journal, command=command, tell=self._tell)
            try:
                yield writer
            except BaseException:
                with suppress(StateError):
                    await writer.close()
                raise
            await writer.close()
        finally:
            self.kept.holder = None


class _Journal:
    """Appends to the lines."""

    is_long = False

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    async def room(self) -> None:
        if len(self._kept.lines) - self._kept.durable >= GROUP:
            await self.flush()

    def write(self, sequence: int, previous: str, entry: dict[str, Any]) -> str:
        lines = self._kept.lines
        assert sequence == len(lines) + 1
        assert previous == (lines[-1][0] if lines else "")
        head = hashlib.sha256((previous + json.dumps(entry)).encode()).hexdigest()[:32]
        lines.append((head, json.loads(json.dumps(entry))))
        return head

    async def replace(self, view: View) -> None:
        """Not needed here."""
        raise NotImplementedError

    async def hold(self) -> None:
        """Be held until the end."""

    async def flush(self) -> None:
        await asyncio.sleep(0)
        self._kept.flushes += self._kept.durable < len(self._kept.lines)
        self._kept.durable = len(self._kept.lines)

    async def compact(self, view: View) -> str | None:
        await self.flush()
        if view.sequence not in self._kept.compacted:
            self._kept.compacted.append(view.sequence)
        return None

    async def close(self) -> None:
        await self.flush()
